/* bench_threads: readers side by side, and beside a writer. */
#include "asking.hpp"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>

namespace bench
{

constexpr uint64_t M = 1000000;
constexpr size_t BATCH = 1024, WRITTEN = 100; /* keys of a lookup, rows of a write */
constexpr size_t ASKED = 1u << 20; /* keys of a reader; it starts again after them */

/* --- readers and a writer --- */

namespace
{

struct Mix {
    unsigned readers;
    bool writer;
    const char *name;
};

struct ReadersTimes {
    double ns; /* a key, of all readers together */
    double batches; /* written a second */
};

/* One engine, its readers and its writer, for the time of one run. */
class Crowd
{
  public:
    Crowd(Loaded &l, const Shape &s, Latencies &w) : loaded(l), shape(s), waits(w)
    {
    }
    ReadersTimes run(const Mix &mix, const std::vector<KeyBlock> &keys, const RowBlock &rows, double seconds);

  private:
    void read(const KeyBlock &keys, unsigned i);
    void write(const RowBlock &rows);

    Loaded &loaded;
    const Shape &shape;
    Latencies &waits;
    std::atomic<bool> stop{ false };
    std::vector<size_t> asked;
    std::vector<Latencies> latencies;
    uint64_t end_ns = 0;
    size_t written = 0;
};

} // namespace

void Crowd::read(const KeyBlock &keys, unsigned i)
{
    const auto session = loaded.engine->session();
    const KeySpan span = keys.span();
    Answers answers(shape, BATCH);
    uint64_t sum = 0, before = now_ns();
    size_t at = 0;

    while (before < end_ns) {
        session->get(span.sub(at, BATCH), answers.values.data(), answers.found.data());
        sum += check_sum(answers.values.data(), answers.found.data(), BATCH, shape.value_size);
        at += BATCH;
        asked[i] += BATCH;
        if (at + BATCH > span.n) {
            if (sum != keys.expected_sum(at))
                fail("%s: wrong values were found", loaded.kind->name.c_str());
            sum = at = 0;
        }
        const uint64_t now = now_ns();
        latencies[i].add(now - before);
        before = now;
    }
    if (sum != keys.expected_sum(at))
        fail("%s: wrong values were found", loaded.kind->name.c_str());
}

void Crowd::write(const RowBlock &rows)
{
    const auto session = loaded.engine->session();
    const RowSpan span = rows.span();

    for (size_t at = 0; !stop.load(); at = at + 2 * WRITTEN > span.keys.n ? 0 : at + WRITTEN, written++)
        session->put(span.sub(at, WRITTEN));
}

/* The time that readers take to compute expected sums is not theirs: it is rare, once in a million keys. */
ReadersTimes Crowd::run(const Mix &mix, const std::vector<KeyBlock> &keys, const RowBlock &rows, double seconds)
{
    std::optional<std::thread> writer;

    asked.assign(mix.readers, 0);
    latencies.assign(mix.readers, Latencies());
    if (mix.writer)
        writer.emplace([&] { write(rows); });
    const uint64_t start = now_ns();
    end_ns = start + (uint64_t)(seconds * 1e9);
    on_threads(mix.readers, [&](unsigned i) { read(keys[i], i); });
    const double ns = (double)(end_ns - start);
    stop.store(true);
    if (writer)
        writer->join();
    loaded.engine->settle();
    size_t all = 0;
    for (unsigned i = 0; i < mix.readers; i++) {
        all += asked[i];
        waits.add(latencies[i]);
    }
    return { ns / (double)all, (double)written / seconds };
}

static std::string waits_text(Latencies &waits, const Series &written)
{
    char text[128];
    const int n = snprintf(text, sizeof text, "batch p99 %.0f, p99.9 %.0f, longest %.0f µs",
                           waits.percentile(0.99) / 1e3, waits.percentile(0.999) / 1e3, waits.percentile(1) / 1e3);

    if (written.median() > 0)
        snprintf(text + n, sizeof text - (size_t)n, ", %.0f writes/s", written.median());
    return text;
}

/* Half of what is written is there already, with the same value, so that readers know what they must find. */
static RowBlock rows_to_write(const Shape &shape, uint64_t rows)
{
    std::vector<uint64_t> numbers;
    Random random(99);
    RowBlock block;

    for (uint64_t i = 0; i < 200000; i++)
        numbers.push_back(i % 2 ? rows + i : random.below(rows));
    block.make(shape, numbers);
    return block;
}

static Case measure_mix(const Bench &bench, std::vector<Loaded> &engines, const Mix &mix,
                        const std::vector<KeyBlock> &keys, const RowBlock &rows)
{
    std::vector<Latencies> waits(engines.size());
    std::vector<Series> written(engines.size());
    std::vector<Run> runs;
    Case c;

    for (size_t i = 0; i < engines.size(); i++)
        runs.push_back([&, i](size_t) {
            const ReadersTimes times = Crowd(engines[i], engines[i].options.shape, waits[i])
                                           .run(mix, keys, rows, std::max(bench.setting.seconds, 0.05));
            written[i].add(times.batches);
            return times.ns;
        });
    const auto series = interleave(runs, bench.setting.runs);
    for (size_t i = 0; i < engines.size(); i++)
        c.results.push_back(Result{ engines[i].kind->name, series[i], waits_text(waits[i], written[i]) });
    c.name = mix.name;
    c.unit = "ns/key of all";
    const uint64_t n = engines[0].options.rows;
    c.limit = bench.limits.lookup(engines[0].options.shape, n, true);
    if (mix.readers == 2)
        c.limit *= bench.limits.ring_two_threads / bench.limits.ring.back().second;
    bench.report.add(c);
    return c;
}

void bench_threads(const Bench &bench)
{
    static const Mix mixes[] = { { 1, false, "1 reader" },
                                 { 2, false, "2 readers" },
                                 { 1, true, "1 reader, 1 writer" },
                                 { 2, true, "2 readers, 1 writer" } };
    EngineOptions options;
    std::vector<KeyBlock> keys(2);
    double ours[4] = {};

    options.shape = shape_of(Kind::int_int);
    options.rows = bench.setting.size(bench.setting.full ? 10 * M : 5 * M);
    options.sync = Sync::each;
    bench.report.begin(
        "threads", "5. Threads",
        "int64→int64, " + count_text(options.rows) +
            " rows, lookups in batches of 1024, all present. The writer puts batches of 100 rows, half of them new, as "
            "fast as it can; htstore SYNC, LMDB and Tkrzw synced, maps in memory. Times are of all readers together: "
            "half "
            "the time with two is twice the speed. The limit of two is that of the prefetch ring on two threads.");
    for (unsigned i = 0; i < 2; i++)
        keys[i].make(options.shape, uniform_numbers(bench.setting.seed * 10 + i, ASKED, options.rows));
    const RowBlock rows = rows_to_write(options.shape, options.rows);
    auto engines = load_all(bench.setting, pick(bench.setting, { "libcuckoo", "LMDB", "Tkrzw" }, options.rows), options,
                            "threads");
    for (unsigned i = 0; i < 4; i++)
        ours[i] = measure_mix(bench, engines, mixes[i], keys, rows).results[0].series.median();
    bench.report.figure("two reader threads: against one", true, 1.8, ours[0] / ours[1], "×");
    bench.report.figure("two readers beside a busy writer: against one reader alone", true, 1.5, ours[0] / ours[3],
                        "×");
    bench.report.figure("two readers beside a busy writer: against one beside it", true, 1.5, ours[2] / ours[3], "×");
}

} // namespace bench
