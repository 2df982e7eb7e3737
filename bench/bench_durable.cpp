/* bench_durable: inserts that are durable when the call returns, into a table that has millions of rows. */
#include "asking.hpp"

#include <algorithm>
#include <mutex>

namespace bench
{

constexpr uint64_t M = 1000000;
constexpr size_t MOST_ROWS = 400000, MOST_BATCHES = 20000; /* of a thread and run */
static const std::vector<std::string> FEW = { "LMDB", "RocksDB" };
static const std::vector<std::string> ALL = { "LMDB", "RocksDB", "LevelDB", "WiredTiger", "SQLite", "Tkrzw" };

namespace
{

/* One engine, and the rows that it got beyond those it started with. */
struct Side {
    Loaded *loaded;
    uint64_t next; /* number of the next new row */
    Latencies latencies;
};

} // namespace

/* Of `n` rows from that one on, some are read again. */
static void check_written(Side &side, const Shape &shape, uint64_t first, size_t n)
{
    auto numbers = uniform_numbers(first, 1024, n);
    KeyBlock keys;

    for (auto &number : numbers)
        number += first;
    keys.make(shape, numbers);
    time_lookups(*side.loaded->session, shape, keys, keys.size(), 1024);
}

/* New rows for each thread; the clock runs until the time is over, or the rows are. ns a batch, of all threads together. */
static double time_inserts(Side &side, const Shape &shape, size_t batch, unsigned threads, double seconds, bool count)
{
    const size_t batches = std::min(MOST_BATCHES, std::max(MOST_ROWS / batch, (size_t)1));
    std::vector<RowBlock> rows(threads);
    std::vector<Latencies> latencies(threads);
    std::vector<size_t> done(threads);

    for (auto &block : rows) {
        block.make(shape, sequence(side.next, batches * batch));
        side.next += batches * batch;
    }
    std::vector<std::unique_ptr<Session>> sessions;
    for (unsigned t = 0; t < threads; t++)
        sessions.push_back(side.loaded->engine->session());
    const auto work = [&](unsigned t) {
        const uint64_t start = now_ns();
        uint64_t before = start;
        while (done[t] < batches && (double)(before - start) < seconds * 1e9) {
            sessions[t]->put(rows[t].span().sub(done[t]++ * batch, batch));
            const uint64_t now = now_ns();
            latencies[t].add(now - before);
            before = now;
        }
    };
    const uint64_t ns = on_threads(threads, work, false);
    side.loaded->engine->settle();
    size_t all = 0;
    for (unsigned t = 0; t < threads; t++) {
        all += done[t];
        if (count)
            side.latencies.add(latencies[t]);
    }
    check_written(side, shape, side.next - batches * batch, done[threads - 1] * batch);
    return (double)ns / (double)all;
}

static std::string percentiles(Latencies &l)
{
    char text[96];

    snprintf(text, sizeof text, "p50 %.0f, p99 %.0f, p99.9 %.0f µs", l.percentile(0.5) / 1e3, l.percentile(0.99) / 1e3,
             l.percentile(0.999) / 1e3);
    return text;
}

static Case measure(const Bench &bench, std::vector<Side> &all, const Shape &shape, size_t batch, unsigned threads)
{
    std::vector<Run> runs;
    Case c;

    for (auto &side : all) {
        side.latencies = Latencies();
        runs.push_back([&](size_t run) {
            return time_inserts(side, shape, batch, threads, bench.setting.seconds, run > 0) / 1e3;
        });
    }
    const auto series = interleave(runs, bench.setting.runs);
    for (size_t i = 0; i < all.size(); i++)
        c.results.push_back(Result{ all[i].loaded->kind->name, series[i], percentiles(all[i].latencies) });
    c.name = "batch " + std::to_string(batch) + (threads == 1 ? ", 1 thread" : ", 2 threads");
    c.unit = "µs/batch";
    c.limit = bench.limits.durable(shape, batch) / 1e3 / threads;
    bench.report.add(c);
    return c;
}

void bench_durable(const Bench &bench)
{
    EngineOptions options;

    options.shape = shape_of(Kind::int_int);
    options.rows = bench.setting.size(5 * M);
    options.sync = Sync::each;
    bench.report.begin(
        "durable", "7. Durable insert",
        "New random int64→int64 rows into a table of " + count_text(options.rows) +
            ". Each batch is on the disk when the call returns: htstore SYNC, LMDB default commits, RocksDB and "
            "LevelDB sync, WiredTiger log with fsync, SQLite WAL FULL, Tkrzw hard synchronization. Flushes and "
            "compactions that go on after a run are waited for outside of it. The limit is one sync of the bytes, "
            "shared by both threads, and 20 ns a row.");
    auto engines = load_all(bench.setting, pick(bench.setting, bench.setting.wants_all() ? ALL : FEW, options.rows),
                            options, "durable");
    std::vector<Side> all;
    for (auto &engine : engines)
        all.push_back(Side{ &engine, options.rows, Latencies() });
    for (const size_t batch : { (size_t)1, (size_t)100, (size_t)1000 })
        for (const unsigned threads : { 1u, 2u }) {
            const Case c = measure(bench, all, options.shape, batch, threads);
            if (threads > 1 || batch == 1)
                continue;
            const std::string what = "durable insert, batch " + std::to_string(batch) + ": against ";
            bench.report.figure(what + "LMDB commits", true, batch == 100 ? 15 : 60, c.ratio({ "LMDB" }), "×");
            bench.report.figure(what + "RocksDB sync", true, batch == 100 ? 4 : 12, c.ratio({ "RocksDB" }), "×");
        }
}

} // namespace bench
