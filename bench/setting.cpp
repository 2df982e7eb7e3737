/* setting: see setting.hpp. */
#include "setting.hpp"
#include "measure.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <getopt.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

namespace bench
{

namespace fs = std::filesystem;

static std::string own_folder; /* to be removed at the end */

static const char USAGE[] =
    "usage: bench [--only=NAME,...] [--engines=NAME,...] [--rows=N,...] [--runs=N] [--seconds=S] [--full]\n"
    "             [--dir=FOLDER] [--csv=FILE] [--seed=N] [--limit-bytes=N] [--fresh] [--list]\n"
    "\n"
    "  --only=NAME,...     these benchmarks; --list names them\n"
    "  --engines=NAME,...  these peers; without it the short version leaves out some that take long\n"
    "  --rows=N,...        sizes of tables; a benchmark of one size takes the first\n"
    "  --runs=N            measured runs of each engine, in turns, default 5\n"
    "  --seconds=S         of one run of a benchmark that goes on for a time, default 0.1\n"
    "  --full              the large sizes, 48 M rows among them, and runs of 0.25 s\n"
    "  --dir=FOLDER        where to make the folder of this run, default the current one\n"
    "  --csv=FILE          the figures for bench/plot\n"
    "  --seed=N            of the order in which keys are asked for, default 1\n"
    "  --limit-bytes=N     largest memory for the limits of the machine, default 1 GiB\n"
    "  --fresh             lookups in tables as they were loaded, not after reopening\n";

static std::vector<std::string> split(const std::string &text)
{
    std::vector<std::string> parts;

    for (size_t from = 0; from <= text.size();) {
        const size_t comma = std::min(text.find(',', from), text.size());
        if (comma > from)
            parts.push_back(text.substr(from, comma - from));
        from = comma + 1;
    }
    return parts;
}

static uint64_t number(const char *text)
{
    char *end;
    const double value = strtod(text, &end);

    if (end == text || *end || value < 0 || value > 1e18)
        fail("not a number: %s", text);
    return (uint64_t)value;
}

std::vector<uint64_t> Setting::sizes(const std::vector<uint64_t> &usual) const
{
    return rows.empty() ? usual : rows;
}

uint64_t Setting::size(uint64_t usual) const
{
    return rows.empty() ? usual : rows.front();
}

bool Setting::wants(const std::string &benchmark) const
{
    return only.empty() || std::find(only.begin(), only.end(), benchmark) != only.end();
}

bool Setting::wants_all() const
{
    return full || !engines.empty();
}

bool Setting::wants_engine(const std::string &name) const
{
    return engines.empty() || std::any_of(engines.begin(), engines.end(), [&](const std::string &wanted) {
               return strcasecmp(wanted.c_str(), name.substr(0, wanted.size()).c_str()) == 0;
           });
}

std::string Setting::make_folder(const std::string &name) const
{
    std::string path = folder + "/" + name;

    for (size_t i = folder.size() + 1; i < path.size(); i++)
        if (!isalnum((unsigned char)path[i]))
            path[i] = '_';
    remove_folder(path);
    if (mkdir(path.c_str(), 0755) < 0)
        fail("%s: %s", path.c_str(), strerror(errno));
    return path;
}

void remove_folder(const std::string &path)
{
    std::error_code ignored;

    fs::remove_all(path, ignored);
}

uint64_t folder_bytes(const std::string &path)
{
    uint64_t bytes = 0;

    for (const auto &entry : fs::recursive_directory_iterator(path)) {
        struct stat st;
        if (entry.is_regular_file() && stat(entry.path().c_str(), &st) == 0)
            bytes += (uint64_t)st.st_blocks * 512;
    }
    return bytes;
}

static void remove_own_folder()
{
    if (!own_folder.empty())
        remove_folder(own_folder);
}

/* std::filesystem allocates, which a handler must not; but the process is about to end, and the folder may be large. */
static void on_signal(int signal_number)
{
    signal(signal_number, SIG_DFL);
    remove_own_folder();
    raise(signal_number);
}

static void make_own_folder(Setting &setting, const std::string &dir)
{
    std::string pattern = dir + "/htstore-bench-XXXXXX";

    if (!mkdtemp(pattern.data()))
        fail("%s: %s", pattern.c_str(), strerror(errno));
    setting.folder = own_folder = fs::absolute(pattern);
    atexit(remove_own_folder);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
}

[[noreturn]] static void usage(int status)
{
    fputs(USAGE, status ? stderr : stdout);
    exit(status);
}

static void check_names(const Setting &setting, const std::vector<std::string> &benchmarks)
{
    for (const auto &name : setting.only)
        if (std::find(benchmarks.begin(), benchmarks.end(), name) == benchmarks.end())
            fail("no such benchmark: %s (see --list)", name.c_str());
}

Setting read_arguments(int argc, char **argv, const std::vector<std::string> &benchmarks)
{
    static const struct option options[] = {
        { "only", 1, nullptr, 'o' },        { "engines", 1, nullptr, 'e' }, { "rows", 1, nullptr, 'n' },
        { "runs", 1, nullptr, 'r' },        { "seconds", 1, nullptr, 't' }, { "full", 0, nullptr, 'f' },
        { "dir", 1, nullptr, 'd' },         { "csv", 1, nullptr, 'c' },     { "seed", 1, nullptr, 's' },
        { "limit-bytes", 1, nullptr, 'b' }, { "fresh", 0, nullptr, 'F' },   { "list", 0, nullptr, 'l' },
        { "help", 0, nullptr, 'h' },        { nullptr, 0, nullptr, 0 },
    };
    Setting setting;
    std::string dir = ".";

    for (int c; (c = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
        switch (c) {
        case 'o':
            setting.only = split(optarg);
            break;
        case 'e':
            setting.engines = split(optarg);
            break;
        case 'n':
            for (const auto &part : split(optarg))
                setting.rows.push_back(std::max(number(part.c_str()), (uint64_t)1024));
            break;
        case 'r':
            setting.runs = (unsigned)std::max(number(optarg), (uint64_t)1);
            break;
        case 't':
            setting.seconds = strtod(optarg, nullptr);
            break;
        case 'f':
            setting.full = true;
            setting.seconds = std::max(setting.seconds, 0.25);
            break;
        case 'd':
            dir = optarg;
            break;
        case 'c':
            setting.csv = optarg;
            break;
        case 's':
            setting.seed = number(optarg);
            break;
        case 'b':
            setting.limit_bytes = std::max(number(optarg), (uint64_t)1 << 22);
            break;
        case 'F':
            setting.fresh = true;
            break;
        case 'l':
            for (const auto &name : benchmarks)
                puts(name.c_str());
            exit(0);
        default:
            usage(c == 'h' ? 0 : 2);
        }
    }
    if (optind < argc)
        usage(2);
    check_names(setting, benchmarks);
    make_own_folder(setting, dir);
    return setting;
}

} // namespace bench
