/* bench_lookup: lookups of keys that are hot, one batch after the other, and one key after the other. */
#include "asking.hpp"

#include <algorithm>

namespace bench
{

constexpr size_t BATCH = 1024;
constexpr uint64_t M = 1000000;
static const std::vector<std::string> FEW = { "absl", "absl, huge pages", "LMDB" };
static const std::vector<std::string> ALL = {
    "absl", "absl, huge pages", "std::unordered_map", "libcuckoo", "LMDB", "Kyoto Cabinet", "Tkrzw"
};

/* All peers, but in the short version a few for tables that take long to load. */
static const std::vector<std::string> &peers_of(const Setting &setting, Kind kind, uint64_t rows)
{
    return setting.wants_all() || (kind == Kind::int_int && rows <= M) ? ALL : FEW;
}

static Case measure(const Bench &bench, std::vector<Loaded> &engines, const Shape &shape, uint64_t rows, double absent)
{
    Case c = compare_lookups(bench, engines, shape, BATCH,
                             [=](uint64_t seed, size_t n) { return uniform_numbers(seed, n, rows, absent); });

    c.name = std::string(shape.name) + ", " + count_text(rows) + (absent > 0 ? ", absent" : ", present");
    c.limit = bench.limits.lookup(shape, rows, absent == 0);
    bench.report.add(c);
    return c;
}

static void figures_of(const Bench &bench, const Case &hit, const Case &miss, const Shape &shape, uint64_t rows)
{
    const std::string what = std::string(shape.name) + ", " + count_text(rows) + " rows, batch 1024: ";
    const double wanted = shape.kind == Kind::int_int ? 1.4 : shape.kind == Kind::string_int ? 1.5 : 1.2;

    bench.report.figure(what + "against the better absl", true, wanted, hit.ratio(ABSL), "×");
    if (shape.kind != Kind::int_int)
        return;
    bench.report.figure(what + "absent, against the better absl", true, 1.2, miss.ratio(ABSL), "×");
    bench.report.figure(what + "against mdb_get", true, 35, hit.ratio({ "LMDB" }), "×");
    if (rows < 48 * M)
        return;
    const double ring = bench.limits.ring.back().second, ours = hit.results[0].series.median();
    bench.report.figure(what + "part of the bare prefetch ring", true, 75, ours > 0 ? 100 * ring / ours : 0, "%");
}

static void lookups_of(const Bench &bench, Kind kind, uint64_t rows, bool with_figures)
{
    EngineOptions options;

    options.shape = shape_of(kind);
    options.rows = rows;
    auto engines =
        load_all(bench.setting, pick(bench.setting, peers_of(bench.setting, kind, rows), rows), options, "lookup");
    const Case hit = measure(bench, engines, options.shape, rows, 0);
    const Case miss = measure(bench, engines, options.shape, rows, 1);
    if (with_figures)
        figures_of(bench, hit, miss, options.shape, rows);
}

void bench_lookup(const Bench &bench)
{
    const Setting &setting = bench.setting;
    const std::vector<uint64_t> few = { 65536, M, 10 * M }, all = { 65536, M, 5 * M, 10 * M, 48 * M };
    bench.report.begin(
        "lookup", "1. Lookup, hot, batches of 1024",
        "One thread. Keys in random order, other ones in each run; values copied to the caller and summed. "
        "Maps have room for all rows from the start; LMDB has one read transaction a batch.");
    for (const uint64_t rows : setting.sizes(setting.full ? all : few))
        lookups_of(bench, Kind::int_int, rows, rows >= 10 * M || !setting.rows.empty());
    lookups_of(bench, Kind::string_int, setting.size(5 * M), true);
    lookups_of(bench, Kind::int_floats, setting.size(2 * M), true);
}

/* --- one key a call --- */

static Case single(const Bench &bench, std::vector<Loaded> &engines, const Shape &shape, uint64_t rows, bool chain)
{
    constexpr size_t n = 200000;
    std::vector<Run> sides;
    KeyBlock keys;
    Case c;

    for (size_t i = 0; i < engines.size(); i++)
        sides.push_back([&, i](size_t run) {
            if (i == 0)
                keys.make(shape, uniform_numbers(bench.setting.seed * 2000 + run, n, rows));
            const Pin pin(1);
            const uint64_t start = now_ns();
            const uint64_t sum =
                chain ? engines[i].session->get_chain(keys.span()) : engines[i].session->get_each(keys.span());
            const uint64_t ns = now_ns() - start;
            /* check_value() of an int64 is four times the value, and one. */
            if (4 * sum + n != keys.expected_sum(n))
                fail("%s: wrong values were found", engines[i].kind->name.c_str());
            return (double)ns / (double)n;
        });
    const auto series = interleave(sides, bench.setting.runs);
    for (size_t i = 0; i < engines.size(); i++)
        c.results.push_back(Result{ engines[i].kind->name, series[i], "" });
    c.name = count_text(rows) + (chain ? ", each key depends on the value before" : ", independent keys");
    c.unit = "ns/key";
    c.limit = chain ? bench.limits.single_lookup(rows) : bench.limits.lookup(shape, rows, true);
    bench.report.add(c);
    return c;
}

void bench_single(const Bench &bench)
{
    bench.report.begin("single", "1b. Lookup, hot, one key a call",
                       "int64→int64, all present. The limit of the chain is one dependent load.");
    for (const uint64_t rows : bench.setting.sizes(bench.setting.full ? std::vector<uint64_t>{ M, 10 * M, 48 * M }
                                                                      : std::vector<uint64_t>{ 10 * M })) {
        EngineOptions options;
        options.shape = shape_of(Kind::int_int);
        options.rows = rows;
        auto engines = load_all(bench.setting, pick(bench.setting, peers_of(bench.setting, Kind::int_int, rows), rows),
                                options, "single");
        for (const bool chain : { true, false }) {
            const double ratio = single(bench, engines, options.shape, rows, chain).ratio(ABSL);
            bench.report.figure("one key a call, " + count_text(rows) + (chain ? ", chain" : ", independent") +
                                    ": against one absl find",
                                false, 1.25, ratio > 0 ? 1 / ratio : 0, "×");
        }
    }
}

} // namespace bench
