/* asking: lookups that are timed and checked; what the benchmarks of reading share. */
#ifndef BENCH_ASKING_HPP
#define BENCH_ASKING_HPP

#include <functional>

#include "fill.hpp"
#include "limits.hpp"
#include "measure.hpp"
#include "report.hpp"

namespace bench
{

/* What all benchmarks get. */
struct Bench {
    const Setting &setting;
    const Limits &limits;
    Report &report;
};

/* Memory for the answers of one batch, touched. */
struct Answers {
    Answers(const Shape &shape, size_t batch) : values(shape.value_size * batch, 1), found(batch, 1)
    {
    }
    std::vector<char> values;
    std::vector<uint8_t> found;
};

/* Ask for the first `n` keys in batches; ns for a key. Exits if an answer is wrong. */
double time_lookups(Session &session, const Shape &shape, const KeyBlock &keys, size_t n, size_t batch,
                    Latencies *latencies = nullptr);

/* The numbers that are asked for in a run, so many. */
using Stream = std::function<std::vector<uint64_t>(uint64_t seed, size_t n)>;

using Prepare = std::function<void(Loaded &engine)>;

/* Ask all engines in turns, each for a time, each after `prepare`, if there is any, in each run. */
Case compare_lookups(const Bench &bench, std::vector<Loaded> &engines, const Shape &shape, size_t batch,
                     const Stream &stream, const Prepare &prepare = nullptr);

/* Ask one engine for so many keys, untimed, so that it holds in memory what it would after a while. */
void ask_ahead(Loaded &engine, const Shape &shape, size_t n, const Stream &stream);

/* "64 K", "10 M" */
std::string count_text(uint64_t n);

extern const std::vector<std::string> ABSL; /* both kinds of pages */

/* --- the benchmarks, in the order of docs/performance.md --- */
void bench_lookup(const Bench &bench);
void bench_single(const Bench &bench);
void bench_cold(const Bench &bench);
void bench_batch(const Bench &bench);
void bench_skew(const Bench &bench);
void bench_threads(const Bench &bench);
void bench_load(const Bench &bench);
void bench_durable(const Bench &bench);
void bench_ycsb(const Bench &bench);
void bench_checkpoint(const Bench &bench);
void bench_open(const Bench &bench);
void bench_memory(const Bench &bench);

} // namespace bench

#endif
