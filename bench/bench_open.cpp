/* bench_open: how long it takes until a store answers: after it was closed, after its process was killed, until it is warm. */
#include "asking.hpp"
#include "child.hpp"

#include <algorithm>

namespace bench
{

constexpr uint64_t M = 1000000;
constexpr size_t BATCH = 1024;
constexpr double WARM = 1.5; /* times of the speed before closing */
constexpr uint64_t PATIENCE = 60000000000u; /* ns until it is called warm in any case */

/* The engine answers for one row; ns since `start`. */
static double first_answer(Session &session, const Shape &shape, uint64_t rows, uint64_t start)
{
    KeyBlock keys;

    keys.make(shape, { rows / 2 });
    time_lookups(session, shape, keys, 1, 1);
    return (double)(now_ns() - start);
}

static void open_clean(const Bench &bench, std::vector<Loaded> &engines, const EngineOptions &options)
{
    std::vector<Run> runs;
    Case c;

    for (auto &engine : engines)
        runs.push_back([&](size_t) {
            engine.close();
            const uint64_t start = now_ns();
            engine.engine = engine.kind->open(engine.options);
            engine.session = engine.engine->session();
            return first_answer(*engine.session, options.shape, options.rows, start) / 1e6;
        });
    const auto series = interleave(runs, bench.setting.runs);
    for (size_t i = 0; i < engines.size(); i++)
        c.results.push_back(Result{ engines[i].kind->name, series[i], "" });
    c.name = count_text(options.rows) + ", clean open until the first lookup answers";
    c.unit = "ms";
    bench.report.add(c);
    bench.report.figure("clean open of " + count_text(options.rows) + " rows until the first lookup answers", false, 50,
                        c.results[0].series.median(), "ms");
}

/* Three batches in a row as fast as before it was closed. */
static double until_warm(Loaded &ours, const KeyBlock &keys, double hot)
{
    ours.close();
    const uint64_t start = now_ns();
    ours.engine = ours.kind->open(ours.options);
    ours.session = ours.engine->session();
    KeyBlock part;
    for (unsigned good = 0, i = 0; good < 3 && now_ns() - start < PATIENCE; i++) {
        const size_t n = 8 * BATCH;
        const KeySpan all = keys.span(), some = all.sub(i * n % (all.n - n), n);
        Answers answers(ours.options.shape, BATCH);
        const uint64_t begin = now_ns();
        for (size_t at = 0; at < n; at += BATCH)
            ours.session->get(some.sub(at, BATCH), answers.values.data(), answers.found.data());
        good = (double)(now_ns() - begin) / (double)n <= WARM * hot ? good + 1 : 0;
    }
    return (double)(now_ns() - start) / 1e6;
}

static void warm_up(const Bench &bench, std::vector<Loaded> &engines, const EngineOptions &options)
{
    std::vector<Loaded> only;
    std::vector<Run> runs;
    KeyBlock keys;
    Case c;

    only.push_back(std::move(engines[0]));
    only[0].engine->warm();
    const Case hot = compare_lookups(bench, only, options.shape, BATCH,
                                     [&](uint64_t seed, size_t n) { return uniform_numbers(seed, n, options.rows); });
    keys.make(options.shape, uniform_numbers(5, 1u << 20, options.rows));
    runs.push_back([&](size_t) { return until_warm(only[0], keys, hot.results[0].series.median()); });
    c.results.push_back(Result{ only[0].kind->name, interleave(runs, bench.setting.runs)[0], "" });
    c.name = count_text(options.rows) + ", open until lookups are as fast as when hot, within a half";
    c.unit = "ms";
    bench.report.add(c);
    engines[0] = std::move(only[0]);
}

/* --- after a kill --- */

static double recover(const Bench &bench, const EngineKind &kind, EngineOptions options)
{
    options.folder = bench.setting.make_folder("open-killed-" + kind.name);
    options.sync = Sync::each;
    {
        Child child({ "journal", kind.name, options.folder, std::to_string((int)options.shape.kind),
                      std::to_string(options.rows) });
        child.line();
        child.kill_it();
    }
    const uint64_t start = now_ns();
    double ns;
    {
        const auto engine = kind.open(options);
        const auto session = engine->session();
        ns = first_answer(*session, options.shape, options.rows, start);
        KeyBlock keys;
        keys.make(options.shape, uniform_numbers(11, std::min<uint64_t>(options.rows, 200000), options.rows));
        time_lookups(*session, options.shape, keys, keys.size(), BATCH);
    }
    remove_folder(options.folder);
    return ns / (double)options.rows;
}

static void after_kill(const Bench &bench, const EngineOptions &options)
{
    const std::vector<std::string> few = { "RocksDB" }, all = { "LMDB", "RocksDB", "LevelDB", "WiredTiger", "SQLite" };
    const auto kinds = pick(bench.setting, bench.setting.wants_all() ? all : few, options.rows);
    std::vector<Run> runs;
    Case c;

    for (const auto *kind : kinds)
        runs.push_back([&, kind](size_t) { return recover(bench, *kind, options); });
    const auto series = interleave(runs, bench.setting.runs, false);
    for (size_t i = 0; i < kinds.size(); i++)
        c.results.push_back(Result{ kinds[i]->name, series[i], "" });
    c.name = count_text(options.rows) + ", killed, open until the first lookup answers";
    c.unit = "ns/row";
    bench.report.add(c);
    const double ns = c.results[0].series.median();
    bench.report.figure("recovery of " + count_text(options.rows) + " rows in the journal", true, 5,
                        ns > 0 ? 1e3 / ns : 0, "M rows/s");
}

void bench_open(const Bench &bench)
{
    const Setting &setting = bench.setting;
    const auto sizes =
        setting.sizes(setting.full ? std::vector<uint64_t>{ M, 10 * M, 48 * M } : std::vector<uint64_t>{ 10 * M });
    EngineOptions options;

    options.shape = shape_of(Kind::int_int);
    bench.report.begin(
        "open", "10. Open, warm-up and recovery",
        "int64→int64. A store that was killed had all its rows in the journal, in synced batches of 1000, none "
        "flushed; the others recover what their own logs hold, and LMDB has none. All rows are looked for afterwards, "
        "outside of the clock.");
    for (const uint64_t rows : sizes) {
        options.rows = rows;
        auto engines = load_all(setting, pick(setting, { "LMDB", "RocksDB" }, rows), options, "open");
        open_clean(bench, engines, options);
        warm_up(bench, engines, options);
    }
    options.rows = setting.size(setting.full ? 10 * M : M);
    after_kill(bench, options);
}

} // namespace bench
