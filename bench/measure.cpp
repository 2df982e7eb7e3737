/* measure: see measure.hpp. */
#include "measure.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <optional>
#include <thread>

#include <unistd.h>

namespace bench
{

void fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    std::fflush(stdout);
    std::fputs("bench: ", stderr);
    std::vfprintf(stderr, format, args);
    std::fputc('\n', stderr);
    va_end(args);
    std::exit(1);
}

uint64_t now_ns()
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- series --- */

void Series::add(double value)
{
    values.insert(std::upper_bound(values.begin(), values.end(), value), value);
}

bool Series::empty() const
{
    return values.empty();
}

size_t Series::size() const
{
    return values.size();
}

double Series::median() const
{
    const size_t n = values.size();
    return n == 0 ? 0 : n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

double Series::min() const
{
    return values.empty() ? 0 : values.front();
}

double Series::max() const
{
    return values.empty() ? 0 : values.back();
}

double Series::spread() const
{
    return median() > 0 ? (max() - min()) / median() : 0;
}

/* --- latencies --- */

void Latencies::add(uint64_t ns)
{
    times.push_back(ns);
    sorted = false;
}

void Latencies::add(const Latencies &other)
{
    times.insert(times.end(), other.times.begin(), other.times.end());
    sorted = false;
}

size_t Latencies::size() const
{
    return times.size();
}

double Latencies::percentile(double p)
{
    if (times.empty())
        return 0;
    if (!sorted)
        std::sort(times.begin(), times.end());
    sorted = true;
    const size_t rank = (size_t)std::ceil(p * (double)times.size());
    return (double)times[std::min(rank ? rank - 1 : 0, times.size() - 1)];
}

/* --- processors --- */

Pin::Pin(unsigned cpu)
{
    cpu_set_t one;
    unsigned seen = 0;

    sched_getaffinity(0, sizeof before, &before);
    const unsigned n = (unsigned)std::max(CPU_COUNT(&before), 1);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &before) && seen++ == cpu % n)
            CPU_SET(i, &one);
    sched_setaffinity(0, sizeof one, &one);
}

Pin::~Pin()
{
    sched_setaffinity(0, sizeof before, &before);
}

std::vector<Series> interleave(const std::vector<Run> &sides, size_t runs, bool warm_up)
{
    std::vector<Series> series(sides.size());

    for (size_t run = warm_up ? 0 : 1; run <= runs; run++)
        for (size_t i = 0; i < sides.size(); i++) {
            const double value = sides[i](run);
            if (run > 0)
                series[i].add(value);
        }
    return series;
}

uint64_t on_threads(unsigned n, const std::function<void(unsigned)> &work, bool pinned)
{
    std::atomic<unsigned> ready{ 0 };
    std::atomic<bool> go{ false };
    std::vector<std::thread> threads;

    for (unsigned i = 0; i < n; i++)
        threads.emplace_back([&, i] {
            std::optional<Pin> pin;
            if (pinned)
                pin.emplace(i);
            ready.fetch_add(1);
            while (!go.load(std::memory_order_acquire))
                std::this_thread::yield();
            work(i);
        });
    while (ready.load() < n)
        std::this_thread::yield();
    const uint64_t start = now_ns();
    go.store(true, std::memory_order_release);
    for (auto &thread : threads)
        thread.join();
    return now_ns() - start;
}

} // namespace bench
