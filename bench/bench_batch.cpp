/* bench_batch: lookups by the size of batches, and by the popularity of keys. */
#include "asking.hpp"

#include <algorithm>

namespace bench
{

constexpr uint64_t M = 1000000;
constexpr uint64_t ROW = 24; /* bytes of an int64→int64 row in memory */
constexpr double SKEW = 0.99;

void bench_batch(const Bench &bench)
{
    const Setting &setting = bench.setting;
    const std::vector<std::string> peers = { "absl", "absl, huge pages", "LMDB", "LMDB, sorted", "RocksDB" };
    const auto sizes =
        setting.sizes(setting.full ? std::vector<uint64_t>{ 10 * M, 48 * M } : std::vector<uint64_t>{ 2 * M });

    bench.report.begin(
        "batch", "3. Lookup by size of batches",
        "int64→int64, all present, one thread. LMDB, sorted: a cursor that visits the keys of a batch in their "
        "order, sorting included. RocksDB: MultiGet.");
    for (const uint64_t rows : sizes) {
        EngineOptions options;
        options.shape = shape_of(Kind::int_int);
        options.rows = rows;
        auto engines = load_all(setting, pick(setting, peers, rows), options, "batch");
        for (const size_t batch : { 1u, 8u, 64u, 1024u, 16384u }) {
            Case c = compare_lookups(bench, engines, options.shape, batch,
                                     [=](uint64_t seed, size_t n) { return uniform_numbers(seed, n, rows); });
            c.name = count_text(rows) + ", batch " + std::to_string(batch);
            c.limit = bench.limits.lookup(options.shape, rows, true);
            bench.report.add(c);
        }
    }
}

/* --- skew --- */

/* With drift the popular keys are other ones after every hundredth of a run. */
static Stream skewed(const Zipf &zipf, uint64_t rows, bool drift)
{
    return [&zipf, rows, drift](uint64_t seed, size_t n) {
        std::vector<uint64_t> numbers(n);
        Random random(seed);
        for (size_t i = 0; i < n; i++) {
            const uint64_t shift = drift ? seed * 100 + i * 100 / n : 0;
            numbers[i] = mix(zipf.rank(random) + shift) % rows;
        }
        return numbers;
    };
}

static void with_budget(const Bench &bench, std::vector<Loaded> &engines, const Zipf &zipf, unsigned percent)
{
    const EngineOptions &options = engines[0].options;
    const uint64_t rows = options.rows;
    const std::vector<std::pair<const char *, Stream>> streams = {
        { "uniform", [=](uint64_t seed, size_t n) { return uniform_numbers(seed, n, rows); } },
        { "Zipf 0.99", skewed(zipf, rows, false) },
        { "Zipf 0.99, drifting", skewed(zipf, rows, true) },
    };

    engines[0].options.cache_bytes = std::max(rows * ROW * percent / 100, (uint64_t)1 << 18);
    for (const auto &[name, stream] : streams) {
        engines[0].reopen();
        ask_ahead(engines[0], options.shape, rows, stream);
        Case c = compare_lookups(bench, engines, options.shape, 1024, stream);
        c.name = count_text(rows) + ", " + name + ", budget " + std::to_string(percent) + " %";
        bench.report.add(c);
    }
}

void bench_skew(const Bench &bench)
{
    EngineOptions options;

    options.shape = shape_of(Kind::int_int);
    options.rows = bench.setting.size(bench.setting.full ? 10 * M : 2 * M);
    bench.report.begin(
        "skew", "4. Lookup by popularity and budget",
        "int64→int64, all present, one thread, batches of 1024. The budget is that of the cache of htstore, in parts "
        "of 24 bytes for each row; LMDB has all the pages of its file in the kernel's cache.");
    const Zipf zipf(options.rows, SKEW);
    auto engines = load_all(bench.setting, pick(bench.setting, { "LMDB" }, options.rows), options, "skew");
    for (const unsigned percent : { 1u, 10u, 30u })
        with_budget(bench, engines, zipf, percent);
}

} // namespace bench
