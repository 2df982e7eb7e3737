/* limits: what the machine can do at most, measured in the same run as everything else. */
#ifndef BENCH_LIMITS_HPP
#define BENCH_LIMITS_HPP

#include <string>
#include <utility>
#include <vector>

#include "rows.hpp"

namespace bench
{

/* ns by the bytes of memory that are touched; ascending. */
using Curve = std::vector<std::pair<double, double>>;

struct SyncTime {
    double bytes, p50, p99; /* ns */
};

struct Limits {
    Curve chase; /* a load that depends on the one before */
    Curve ring; /* independent lines, prefetched; one thread */
    double chase_small_pages = 0, ring_small_pages = 0; /* ns, the largest memory on pages of 4 KiB */
    double ring_two_threads = 0; /* ns a line of both together, the largest memory */
    double read_speed = 0, copy_speed = 0; /* bytes a second */
    double first_touch = 0, second_touch = 0; /* ns a page of 4 KiB: fresh memory, and memory just given back */
    std::vector<SyncTime> sync; /* pwrite + fdatasync into a file filled with zeros */
    double write_speed = 0, durable_write_speed = 0; /* bytes a second, to a new file */
    double mutex_pair = 0, rwlock_pair = 0, locked_add = 0, epoch_pair = 0, sequence_check = 0; /* ns */

    /* ns a line for a random line of that much memory. */
    double ring_at(double bytes) const;
    /* ns for a key: no lookup in a batch can be faster, whatever the code (docs/performance.md). */
    double lookup(const Shape &shape, uint64_t rows, bool present) const;
    /* ns for one key alone. */
    double single_lookup(uint64_t rows) const;
    /* ns for a durable batch. */
    double durable(const Shape &shape, uint64_t batch) const;
};

Limits measure_limits(const std::string &folder, uint64_t largest);
void measure_disk(const std::string &folder, Limits &limits); /* part of measure_limits() */
void print_limits(const Limits &limits);

} // namespace bench

#endif
