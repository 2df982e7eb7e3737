/* bench_ycsb: workloads A, B and C of YCSB (Cooper et al., SoCC 2010): Zipf 0.99, 50, 95 and 100 % lookups, the rest updates. */
#include "asking.hpp"

#include <algorithm>

namespace bench
{

constexpr uint64_t M = 1000000;
constexpr double SKEW = 0.99;
constexpr size_t POPULAR = 1u << 19; /* keys of a run, taken round and round */

namespace
{

struct Workload {
    const char *name;
    double lookups;
};

struct Asked {
    KeyBlock keys;
    RowBlock rows; /* the same */
    std::vector<uint64_t> sums; /* expected of the first n batches */
};

} // namespace

static void make_asked(Asked &asked, const Shape &shape, const Zipf &zipf, uint64_t seed, size_t batch)
{
    std::vector<uint64_t> numbers(POPULAR);
    Random random(seed);

    for (auto &number : numbers)
        number = zipf.next(random);
    asked.keys.make(shape, numbers);
    asked.rows.make(shape, numbers);
    const RowSpan span = asked.rows.span();
    const std::vector<uint8_t> all(batch, 1);
    asked.sums.clear();
    for (size_t i = 0; i < POPULAR; i += batch)
        asked.sums.push_back(check_sum(span.value(i), all.data(), batch, shape.value_size));
}

/* ns for an operation: one key or row. Updates write the value that is there. */
static double time_workload(Loaded &engine, const Asked &asked, size_t batch, double lookups, double seconds,
                            uint64_t seed, Latencies &latencies)
{
    const RowSpan span = asked.rows.span();
    Answers answers(engine.options.shape, batch);
    Random random(seed);
    uint64_t wrong = 0, n = 0;

    const uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1e9);
    uint64_t before = start;
    for (size_t i = 0; before < end; i = (i + 1) % asked.sums.size(), n += batch) {
        const RowSpan part = span.sub(i * batch, batch);
        if (random.unit() < lookups) {
            engine.session->get(part.keys, answers.values.data(), answers.found.data());
            wrong += asked.sums[i] != check_sum(answers.values.data(), answers.found.data(), batch, part.value_size);
        } else {
            engine.session->put(part);
        }
        const uint64_t now = now_ns();
        latencies.add(now - before);
        before = now;
    }
    if (wrong)
        fail("%s: wrong values were found", engine.kind->name.c_str());
    engine.engine->settle();
    return (double)(before - start) / (double)n;
}

static void measure(const Bench &bench, std::vector<Loaded> &engines, const Zipf &zipf, const Workload &workload,
                    size_t batch)
{
    const double seconds = bench.setting.seconds * (bench.setting.full ? 48 : 2);
    std::vector<Latencies> latencies(engines.size());
    std::vector<Run> runs;
    Asked asked;
    Case c;

    for (size_t i = 0; i < engines.size(); i++)
        runs.push_back([&, i](size_t run) {
            const uint64_t seed = bench.setting.seed * 3000 + run;
            if (i == 0)
                make_asked(asked, engines[i].options.shape, zipf, seed, batch);
            latencies[i] = run == 1 ? Latencies() : latencies[i];
            return time_workload(engines[i], asked, batch, workload.lookups, run ? seconds : seconds / 4, seed,
                                 latencies[i]);
        });
    const auto series = interleave(runs, bench.setting.runs);
    for (size_t i = 0; i < engines.size(); i++) {
        char text[96];
        Latencies &l = latencies[i];
        snprintf(text, sizeof text, "p50 %.3g, p99 %.3g, p99.9 %.3g µs", l.percentile(0.5) / 1e3,
                 l.percentile(0.99) / 1e3, l.percentile(0.999) / 1e3);
        c.results.push_back(Result{ engines[i].kind->name, series[i], text });
    }
    c.name = std::string(workload.name) + ", batch " + std::to_string(batch);
    c.unit = "ns/operation";
    bench.report.add(c);
}

void bench_ycsb(const Bench &bench)
{
    static const Workload workloads[] = { { "A", 0.5 }, { "B", 0.95 }, { "C", 1 } };
    EngineOptions options;

    options.shape = shape_of(Kind::int_int);
    options.rows = bench.setting.size(bench.setting.full ? 10 * M : 2 * M);
    bench.report.begin(
        "ycsb", "8. YCSB A, B, C",
        "int64→int64, " + count_text(options.rows) +
            " rows, Zipf 0.99, one thread; operations in batches of one kind; percentiles are of batches. Nothing is "
            "synced: htstore LAZY, LMDB NOSYNC, RocksDB without WAL, Tkrzw as it is.");
    const Zipf zipf(options.rows, SKEW);
    auto stores =
        load_all(bench.setting, pick(bench.setting, { "LMDB", "RocksDB", "Tkrzw" }, options.rows), options, "ycsb");
    for (const auto &workload : workloads) {
        if (workload.lookups == 1) /* maps in memory only read */
            for (const auto *kind : pick(bench.setting, ABSL, options.rows))
                if (kind->rank != 0) {
                    stores.emplace_back(bench.setting, *kind, options, "ycsb");
                    stores.back().fill(options.rows);
                }
        for (const size_t batch : { 1u, 64u })
            measure(bench, stores, zipf, workload, batch);
    }
}

} // namespace bench
