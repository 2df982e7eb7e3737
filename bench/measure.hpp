/* measure: clocks, series of measured times, percentiles, threads that stay on a processor. */
#ifndef BENCH_MEASURE_HPP
#define BENCH_MEASURE_HPP

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <sched.h>

namespace bench
{

/* Print a formatted sentence and exit; the temporary folder is removed. */
[[noreturn]] void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

uint64_t now_ns(); /* of a clock that only rises */

/* Keeps the compiler from dropping what computed `value`. */
template <class T> inline void keep(const T &value)
{
    asm volatile("" : : "r,m"(value) : "memory");
}

/* The same quantity, measured several times. */
class Series
{
  public:
    void add(double value);
    bool empty() const;
    size_t size() const;
    double median() const; /* 0 without any */
    double min() const;
    double max() const;
    double spread() const; /* (max - min) / median */

  private:
    std::vector<double> values;
};

/* Times of single calls, ns. */
class Latencies
{
  public:
    void add(uint64_t ns);
    void add(const Latencies &other);
    size_t size() const;
    double percentile(double p); /* 0 < p <= 1 */

  private:
    std::vector<uint64_t> times;
    bool sorted = false;
};

/* While it lives, the calling thread runs on that processor only. Threads made meanwhile inherit it: make none. */
class Pin
{
  public:
    explicit Pin(unsigned cpu);
    ~Pin();
    Pin(const Pin &) = delete;
    Pin &operator=(const Pin &) = delete;

  private:
    cpu_set_t before;
};

/* Gives the time of one run; the argument counts runs, 0 is the one that is thrown away. */
using Run = std::function<double(size_t run)>;

/* Run all in turns, A B C A B C, `runs` + 1 times; the first round only warms up. Or `runs` times, none thrown away. */
std::vector<Series> interleave(const std::vector<Run> &sides, size_t runs, bool warm_up = true);

/* Run `work(i)` on `n` threads at once, thread i on processor i if pinned; the time from the common start to the last end, ns. */
uint64_t on_threads(unsigned n, const std::function<void(unsigned)> &work, bool pinned = true);

} // namespace bench

#endif
