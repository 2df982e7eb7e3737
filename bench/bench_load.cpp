/* bench_load: rows in random order into a new table, until they are acknowledged, and until all are in place and synced. */
#include "asking.hpp"

#include <algorithm>

namespace bench
{

constexpr uint64_t M = 1000000;
constexpr size_t BLOCK = 100000; /* rows made at once, and the largest batch */
constexpr double STORED = 24 + 34; /* bytes that htstore writes for an int64→int64 row: journal and data file */
constexpr double LEAST_INSERT = 20; /* ns a row in memory */
static const std::vector<std::string> FEW = { "LMDB", "RocksDB" };
static const std::vector<std::string> ALL = { "LMDB",          "LMDB, WRITEMAP", "RocksDB",
                                              "RocksDB, zstd", "LevelDB",        "WiredTiger",
                                              "SQLite",        "Kyoto Cabinet",  "Tkrzw" };

namespace
{

struct LoadTimes {
    double acknowledged, synced; /* ns a row */
};

struct Load {
    EngineOptions options;
    size_t batch;
    bool overwrite; /* rows that are there, at random, some of them twice */
    std::vector<RowBlock> blocks;
};

} // namespace

static void make_blocks(Load &load)
{
    const uint64_t rows = load.options.rows;

    for (uint64_t done = 0; done < rows; done += BLOCK) {
        auto numbers = sequence(done, std::min<uint64_t>(BLOCK, rows - done));
        if (load.overwrite)
            for (auto &number : numbers)
                number = mix(number) % rows;
        load.blocks.emplace_back();
        load.blocks.back().make(load.options.shape, numbers);
    }
}

static void check_loaded(Session &session, const Load &load)
{
    KeyBlock keys;

    keys.make(load.options.shape, uniform_numbers(7, 1u << 14, load.options.rows));
    time_lookups(session, load.options.shape, keys, keys.size(), 1024);
}

static LoadTimes time_load(const Setting &setting, const EngineKind &kind, const Load &load)
{
    Loaded loaded(setting, kind, load.options, "load");

    if (load.overwrite)
        loaded.fill(load.options.rows);
    const uint64_t start = now_ns();
    for (const auto &block : load.blocks) {
        const RowSpan span = block.span();
        for (size_t i = 0; i < span.keys.n; i += load.batch)
            loaded.session->put(span.sub(i, std::min(load.batch, span.keys.n - i)));
    }
    const uint64_t acknowledged = now_ns() - start;
    loaded.engine->finish();
    const uint64_t synced = now_ns() - start;
    check_loaded(*loaded.session, load);
    return { (double)acknowledged / (double)load.options.rows, (double)synced / (double)load.options.rows };
}

static Case measure(const Bench &bench, uint64_t rows, size_t batch, bool overwrite,
                    const std::vector<std::string> &peers)
{
    const auto kinds = pick(bench.setting, peers, rows);
    std::vector<Series> acknowledged(kinds.size());
    std::vector<Run> runs;
    Case c;
    Load load{ EngineOptions(), batch, overwrite, {} };

    load.options.shape = shape_of(Kind::int_int);
    load.options.rows = rows;
    make_blocks(load);
    for (size_t i = 0; i < kinds.size(); i++)
        runs.push_back([&, i](size_t) {
            const LoadTimes times = time_load(bench.setting, *kinds[i], load);
            acknowledged[i].add(times.acknowledged);
            return times.synced;
        });
    const auto series = interleave(runs, bench.setting.runs, false);
    const std::string name = count_text(rows) + (overwrite ? " overwritten" : " new") + ", batch " + count_text(batch);
    for (size_t i = 0; i < kinds.size(); i++)
        c.results.push_back(Result{ kinds[i]->name, acknowledged[i], "" });
    c.name = name + ", acknowledged";
    c.unit = "ns/row";
    bench.report.add(c);
    for (size_t i = 0; i < kinds.size(); i++)
        c.results[i].series = series[i];
    c.name = name + ", in place and synced";
    c.limit = STORED / bench.limits.durable_write_speed * 1e9 + LEAST_INSERT;
    bench.report.add(c);
    return c;
}

void bench_load(const Bench &bench)
{
    const Setting &setting = bench.setting;
    const uint64_t rows = setting.size(setting.full ? 20 * M : 2 * M), fewer = std::max(rows / 10, (uint64_t)1024);

    bench.report.begin(
        "load", "6. Insert, not durable one by one; until all is in place and synced",
        "int64→int64 rows in random order into a new table. htstore LAZY, then htstore_flush(); LMDB NOSYNC, a "
        "transaction a batch, then mdb_env_sync(); RocksDB without WAL, then Flush(); LevelDB one synced write at "
        "the end; WiredTiger without log, then a checkpoint; SQLite synchronous=OFF, then a checkpoint of the WAL; "
        "Kyoto Cabinet and Tkrzw hard synchronization at the end. No run is thrown away: each has a new folder. "
        "The limit: the bytes that htstore writes for a row at the speed of a synced file, and 20 ns.");
    const Case c = measure(bench, rows, BLOCK, false, FEW);
    bench.report.figure("load of " + count_text(rows) + " rows until synced: against LMDB", true, 2.5,
                        c.ratio({ "LMDB" }), "×");
    bench.report.figure("load of " + count_text(rows) + " rows until synced: against RocksDB", true, 4,
                        c.ratio({ "RocksDB" }), "×");
    measure(bench, fewer, BLOCK, false, ALL);
    measure(bench, fewer, 1000, false, FEW);
    measure(bench, fewer, 1, false, FEW);
    measure(bench, fewer, BLOCK, true, FEW);
}

} // namespace bench
