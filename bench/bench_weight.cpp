/* bench_weight: bytes of memory and of files for a row, each in a process of its own; and the benchmarks in C. */
#include "asking.hpp"
#include "child.hpp"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <unistd.h>

namespace bench
{

namespace fs = std::filesystem;

constexpr uint64_t M = 1000000;
static const std::vector<std::string> PEERS = { "absl", "absl, huge pages", "std::unordered_map", "libcuckoo", "LMDB" };

/* Bytes that a process needs for the rows. */
static double weigh(const EngineKind &kind, const EngineOptions &options, const std::string &folder, const char *work)
{
    Child child({ work, kind.name, folder, std::to_string((int)options.shape.kind), std::to_string(options.rows) });
    return strtod(child.line().c_str(), nullptr) / (double)options.rows;
}

/* What holds the rows for good: not the journal, whose segments are made in advance. */
static double data_bytes(const std::string &folder)
{
    double bytes = 0;

    for (const auto &entry : fs::recursive_directory_iterator(folder))
        if (entry.is_regular_file() && entry.path().filename() == "data.mdb")
            bytes += (double)entry.file_size();
    return bytes;
}

static Case report_weights(const Bench &bench, const std::string &name, const std::vector<const EngineKind *> &kinds,
                           const std::vector<Series> &series)
{
    Case c;

    for (size_t i = 0; i < kinds.size(); i++)
        if (!series[i].empty())
            c.results.push_back(Result{ kinds[i]->name, series[i], "" });
    c.name = name;
    c.unit = "bytes/row";
    bench.report.add(c);
    return c;
}

static void weights_of(const Bench &bench, Kind row_kind, uint64_t rows, double memory_wanted, double file_wanted)
{
    const auto kinds = pick(bench.setting, PEERS, rows);
    std::vector<Series> fresh(kinds.size()), reopened(kinds.size()), files(kinds.size());
    EngineOptions options;

    options.shape = shape_of(row_kind);
    options.rows = rows;
    for (size_t i = 0; i < kinds.size(); i++) {
        const std::string folder = bench.setting.make_folder("memory-" + kinds[i]->name);
        const double loaded = weigh(*kinds[i], options, folder, "fill");
        const bool ours = kinds[i]->rank == 0, in_memory = !kinds[i]->persistent;
        if (ours || in_memory)
            fresh[i].add(loaded);
        if (ours || in_memory)
            reopened[i].add(in_memory ? loaded : weigh(*kinds[i], options, folder, "open"));
        if (!in_memory)
            files[i].add(data_bytes(folder) / (double)rows);
        remove_folder(folder);
    }
    const std::string name = std::string(options.shape.name) + ", " + count_text(rows);
    report_weights(bench, name + ", memory, as loaded", kinds, fresh);
    report_weights(bench, name + ", memory, reopened", kinds, reopened);
    report_weights(bench, name + ", data file", kinds, files);
    const std::string what = std::string("bytes of a row, ") + options.shape.name;
    bench.report.figure(what + ", in memory as loaded", false, memory_wanted, fresh[0].median(), "B");
    bench.report.figure(what + ", in memory reopened", false, memory_wanted, reopened[0].median(), "B");
    if (file_wanted > 0)
        bench.report.figure(what + ", data file", false, file_wanted, files[0].median(), "B");
}

void bench_memory(const Bench &bench)
{
    bench.report.begin("memory", "Memory and file for a row",
                       "Anonymous memory that the process gained, each engine in a process of its own, once; maps have "
                       "no file. LMDB's "
                       "memory is the kernel's, as pages of its file.");
    weights_of(bench, Kind::int_int, bench.setting.size(bench.setting.full ? 10 * M : 4 * M), 24, 34);
    weights_of(bench, Kind::string_int, bench.setting.size(bench.setting.full ? 5 * M : 2 * M), 66.5, 0);
    weights_of(bench, Kind::int_floats, bench.setting.size(bench.setting.full ? 2 * M : M), 279, 0);
}

/* --- the benchmarks in C --- */

/* They lie beside this program; libtool may have put that one folder deeper. */
static fs::path beside(const char *name)
{
    const fs::path folder = fs::read_symlink("/proc/self/exe").parent_path();
    return (folder.filename() == ".libs" ? folder.parent_path() : folder) / name;
}

/* The figures that bench_checkpoint tells of. */
static void take_figures(const Bench &bench, const char *line)
{
    double fast, small;

    if (sscanf(line, " => checkpoint: %lf x as fast (wanted %*d), %lf x smaller", &fast, &small) == 2) {
        bench.report.figure("checkpoint, as fast as mdb_copy -c \\| zstd -1 -T2", true, 3, fast, "×");
        bench.report.figure("checkpoint, smaller than that", true, 2.5, small, "×");
    } else if (sscanf(line, " => restore: %lf", &fast) == 1) {
        const bool loop = strstr(line, "MDB_APPEND"), load = strstr(line, "mdb_load");
        bench.report.figure("restore against a loop of MDB_APPEND", true, 1, loop ? fast : 0, "×");
        bench.report.figure("restore against mdb_load", true, 10, load ? fast : 0, "×");
    }
}

static void run_beside(const Bench &bench, const char *name, const std::string &arguments)
{
    const fs::path program = beside(name);
    char line[512];

    if (access(program.c_str(), X_OK) < 0) {
        bench.report.say("\n%s is not built: `make bench` builds it.\n", name);
        return;
    }
    bench.report.say("\n```\n");
    FILE *output = popen(("'" + program.string() + "' " + arguments).c_str(), "r");
    while (output && fgets(line, sizeof line, output)) {
        bench.report.say("%s", line);
        take_figures(bench, line);
    }
    const bool done = output && pclose(output) == 0;
    bench.report.say("```\n%s", done ? "" : "\nIt failed.\n");
}

void bench_checkpoint(const Bench &bench)
{
    const Setting &setting = bench.setting;
    const uint64_t rows = setting.size(setting.full ? 10 * M : 2 * M);
    const std::string folder = setting.make_folder("checkpoint");

    bench.report.say("\n## 9. Checkpoint, and 10. restore\n");
    run_beside(bench, "bench_checkpoint",
               "-n " + std::to_string(rows) + " -r " + std::to_string(setting.runs) + (setting.full ? " -f '" : " '") +
                   folder + "'");
    if (setting.full)
        run_beside(bench, "bench_memory", "");
    remove_folder(folder);
}

} // namespace bench
