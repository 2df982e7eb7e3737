/* bench_cold: lookups of rows that are not in memory, in tables of which a part is, and of keys that are not stored. */
#include "asking.hpp"

#include <algorithm>

namespace bench
{

constexpr uint64_t M = 1000000;
constexpr size_t BATCH = 1024;
constexpr uint64_t LITTLE = 1u << 20; /* bytes of cache that are as good as none */
constexpr uint64_t ROW = 24; /* bytes of an int64→int64 row in memory */
static const std::vector<std::string> STORES = { "LMDB", "RocksDB", "LevelDB", "WiredTiger", "SQLite" };

/* The share `hot` of keys is asked from a twentieth of the rows, the others from all. */
static Stream partly_hot(uint64_t rows, double hot)
{
    return [=](uint64_t seed, size_t n) {
        std::vector<uint64_t> numbers(n);
        Random random(seed);
        for (auto &number : numbers)
            number = random.below(random.unit() < hot ? std::max(rows / 20, (uint64_t)1) : rows);
        return numbers;
    };
}

static Stream from_all(uint64_t rows, double absent)
{
    return [=](uint64_t seed, size_t n) { return uniform_numbers(seed, n, rows, absent); };
}

static Case measure(const Bench &bench, std::vector<Loaded> &engines, uint64_t rows, const std::string &name,
                    const Stream &stream, const Prepare &prepare)
{
    Case c = compare_lookups(bench, engines, shape_of(Kind::int_int), BATCH, stream, prepare);

    c.name = count_text(rows) + ", " + name;
    bench.report.add(c);
    return c;
}

/* htstore that has nothing in memory, beside an mdb_get loop. */
static void nothing_cached(const Bench &bench, const EngineOptions &options)
{
    auto engines =
        load_all(bench.setting, pick(bench.setting, { "LMDB", "LMDB, sorted" }, options.rows), options, "cold");
    Loaded &ours = engines[0];

    ours.options.preload = false;
    const Case opened = measure(bench, engines, options.rows, "present, just opened with HTSTORE_NO_PRELOAD",
                                from_all(options.rows, 0), [](Loaded &engine) {
                                    if (engine.kind->rank == 0)
                                        engine.reopen();
                                });
    ours.options.preload = true;
    ours.options.cache_bytes = LITTLE;
    ours.reopen();
    const Case little =
        measure(bench, engines, options.rows, "present, cache of 1 MiB", from_all(options.rows, 0), nullptr);
    bench.report.figure("cold lookup, HTSTORE_NO_PRELOAD: against mdb_get", true, 1, opened.ratio({ "LMDB" }), "×");
    bench.report.figure("cold lookup, cache of 1 MiB: against mdb_get", true, 1, little.ratio({ "LMDB" }), "×");
}

static void partly_cached(const Bench &bench, const EngineOptions &options)
{
    const uint64_t rows = options.rows;
    auto engines = load_all(bench.setting, pick(bench.setting, STORES, rows), options, "cold");

    for (auto &engine : engines) {
        engine.options.cache_bytes = std::max(rows * ROW / 10, LITTLE);
        engine.reopen();
    }
    for (const unsigned hot : { 100u, 90u, 50u, 0u }) {
        const Stream stream = partly_hot(rows, hot / 100.0);
        for (auto &engine : engines)
            ask_ahead(engine, options.shape, rows / 10, stream);
        measure(bench, engines, rows, std::to_string(hot) + " % hot, cache of 10 %", stream, nullptr);
    }
    measure(bench, engines, rows, "absent, cache of 10 %", from_all(rows, 1), nullptr);
}

void bench_cold(const Bench &bench)
{
    EngineOptions options;

    options.shape = shape_of(Kind::int_int);
    options.rows = bench.setting.size(bench.setting.full ? 5 * M : 2 * M);
    bench.report.begin(
        "cold", "2. Lookup, cold and partly cold",
        "int64→int64, one thread, batches of 1024. The pages of all files stay in the kernel's cache, for every "
        "engine; a budget is that of the engine's own cache. Hot keys are a twentieth of all: they fit.");
    nothing_cached(bench, options);
    options.rows = bench.setting.size(bench.setting.full ? 5 * M : M);
    partly_cached(bench, options);
}

} // namespace bench
