/* limits: memory and primitives. See limits.hpp. */
#include "limits.hpp"
#include "maps.hpp"
#include "measure.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <mutex>
#include <shared_mutex>

namespace bench
{

constexpr size_t LINE = 64;
constexpr unsigned DEPTH = 32; /* of the ring */
constexpr double LEAST_LOOKUP = 4; /* ns: hash, compare and copy */
constexpr double LEAST_INSERT = 20; /* ns a row in memory */
constexpr double LOAD = 0.8; /* of a hash table */
constexpr size_t ENVELOPE = 16; /* bytes of a journal record beside its rows, at least */
constexpr int REPEATS = 3;

/* --- memory --- */

namespace
{

/* Memory of a power of two of lines. */
class Memory
{
  public:
    Memory(size_t bytes, bool huge) : size(bytes)
    {
        start = static_cast<char *>(map_huge(size));
        if (!huge)
            madvise(start, size, MADV_NOHUGEPAGE);
        memset(start, 1, size);
    }
    ~Memory()
    {
        unmap_huge(start, size);
    }
    char *line(size_t i) const
    {
        return start + i * LINE;
    }
    size_t lines() const
    {
        return size / LINE;
    }

  private:
    size_t size;
    char *start;
};

} // namespace

/* A walk through all lines, in the order of a linear congruential generator of full period. */
static double chase(const Memory &memory, size_t steps)
{
    const size_t mask = memory.lines() - 1;
    double best = 1e9;

    for (size_t i = 0; i <= mask; i++) {
        const uint64_t next = (i * 0x2c1b3c6du + 0x297a2d39u) & mask;
        memcpy(memory.line(i), &next, sizeof next);
    }
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        uint64_t at = (uint64_t)repeat;
        const uint64_t start = now_ns();
        for (size_t i = 0; i < steps; i++)
            memcpy(&at, memory.line(at), sizeof at);
        keep(at);
        best = std::min(best, (double)(now_ns() - start) / (double)steps);
    }
    return best;
}

/* Random lines, each prefetched DEPTH steps before it is read. */
static uint64_t ring_lines(const Memory &memory, size_t steps, uint64_t seed)
{
    const unsigned shift = (unsigned)__builtin_clzll(memory.lines() - 1);
    size_t ring[DEPTH] = {};
    uint64_t sum = 0, state = seed;

    for (size_t i = 0; i < steps + DEPTH; i++) {
        size_t &slot = ring[i % DEPTH];
        if (i >= DEPTH) {
            uint64_t word;
            memcpy(&word, memory.line(slot), sizeof word);
            sum += word;
        }
        state = state * 6364136223846793005u + 1442695040888963407u;
        slot = state >> shift;
        __builtin_prefetch(memory.line(slot));
    }
    return sum;
}

static double ring(const Memory &memory, size_t steps)
{
    double best = 1e9;

    for (int repeat = 0; repeat <= REPEATS; repeat++) {
        const uint64_t start = now_ns();
        keep(ring_lines(memory, steps, (uint64_t)repeat));
        best = std::min(best, (double)(now_ns() - start) / (double)steps);
    }
    return best;
}

static double ring_on_two(const Memory &memory, size_t steps)
{
    double best = 1e9;

    for (int repeat = 0; repeat < REPEATS; repeat++) {
        const uint64_t ns = on_threads(2, [&](unsigned i) { keep(ring_lines(memory, steps, i + 11)); });
        best = std::min(best, (double)ns / (double)(2 * steps));
    }
    return best;
}

static void speeds(const Memory &memory, Limits &limits)
{
    const size_t bytes = memory.lines() * LINE, half = bytes / 2;

    for (int repeat = 0; repeat < REPEATS; repeat++) {
        uint64_t start = now_ns(), sum = 0;
        for (size_t i = 0; i < bytes; i += 8) {
            uint64_t word;
            memcpy(&word, memory.line(0) + i, 8);
            sum += word;
        }
        keep(sum);
        limits.read_speed = std::max(limits.read_speed, 1e9 * (double)bytes / (double)(now_ns() - start));
        start = now_ns();
        memcpy(memory.line(0), memory.line(0) + half, half);
        limits.copy_speed = std::max(limits.copy_speed, 1e9 * (double)half / (double)(now_ns() - start));
    }
}

static double touch(size_t pages)
{
    const size_t page = 4096, bytes = pages * page;
    char *start = static_cast<char *>(map_huge(bytes));

    madvise(start, bytes, MADV_NOHUGEPAGE);
    const uint64_t begin = now_ns();
    for (size_t i = 0; i < pages; i++)
        start[i * page] = 1;
    const uint64_t ns = now_ns() - begin;
    unmap_huge(start, bytes);
    return (double)ns / (double)pages;
}

/* --- primitives --- */

template <class Step> static double each_step(Step step)
{
    constexpr size_t steps = 1000000;
    double best = 1e9;

    for (int repeat = 0; repeat < REPEATS; repeat++) {
        const uint64_t start = now_ns();
        for (size_t i = 0; i < steps; i++)
            step();
        best = std::min(best, (double)(now_ns() - start) / (double)steps);
    }
    return best;
}

static void primitives(Limits &limits)
{
    std::mutex mutex;
    std::shared_mutex rwlock;
    std::atomic<uint64_t> word{ 0 };

    limits.mutex_pair = each_step([&] {
        mutex.lock();
        mutex.unlock();
    });
    limits.rwlock_pair = each_step([&] {
        rwlock.lock_shared();
        rwlock.unlock_shared();
    });
    limits.locked_add = each_step([&] { word.fetch_add(1); });
    limits.epoch_pair = each_step([&] {
        word.store(1, std::memory_order_seq_cst);
        word.store(0, std::memory_order_release);
    });
    limits.sequence_check = each_step([&] {
        const uint64_t before = word.load(std::memory_order_acquire);
        keep(before == word.load(std::memory_order_acquire));
    });
}

/* --- all of it --- */

static void memory_by_size(uint64_t largest, Limits &limits)
{
    for (uint64_t bytes : { 1ull << 18, 1ull << 20, 1ull << 22, 1ull << 24, 1ull << 26, 1ull << 28, 1ull << 30 }) {
        if (bytes > largest)
            break;
        const Memory memory(bytes, true);
        limits.chase.emplace_back(bytes, chase(memory, 200000));
        limits.ring.emplace_back(bytes, ring(memory, 2000000));
        if (bytes * 4 > largest) {
            limits.ring_two_threads = ring_on_two(memory, 2000000);
            speeds(memory, limits);
        }
    }
}

Limits measure_limits(const std::string &folder, uint64_t largest)
{
    Limits limits;

    {
        const Pin pin(0);
        limits.first_touch = touch(32768);
        limits.second_touch = touch(32768);
        memory_by_size(largest, limits);
        const Memory small((size_t)limits.ring.back().first, false);
        limits.chase_small_pages = chase(small, 200000);
        limits.ring_small_pages = ring(small, 2000000);
        primitives(limits);
    }
    measure_disk(folder, limits);
    return limits;
}

double Limits::ring_at(double bytes) const
{
    if (ring.empty())
        return 0;
    if (bytes <= ring.front().first)
        return ring.front().second;
    for (size_t i = 1; i < ring.size(); i++)
        if (bytes <= ring[i].first) {
            const double part = std::log(bytes / ring[i - 1].first) / std::log(ring[i].first / ring[i - 1].first);
            return ring[i - 1].second + part * (ring[i].second - ring[i - 1].second);
        }
    return ring.back().second;
}

/* Lines that a lookup cannot do without: tag; slot with the key; value or text where it is elsewhere. */
double Limits::lookup(const Shape &shape, uint64_t rows, bool present) const
{
    const double n = (double)rows / LOAD;
    double ns = ring_at(n);

    if (present) {
        ns += ring_at(n * (shape.kind == Kind::string_int ? 32 : 16));
        if (shape.kind == Kind::int_floats)
            ns += (double)shape.value_size / LINE * ring_at((double)(rows * shape.value_size));
        if (shape.kind == Kind::string_int)
            ns += ring_at((double)(rows * 24));
    }
    return std::max(ns, LEAST_LOOKUP);
}

double Limits::single_lookup(uint64_t rows) const
{
    const double bytes = (double)rows / LOAD * 16;
    double ns = chase.front().second;

    for (const auto &[size, time] : chase)
        if (size <= bytes)
            ns = time;
    return ns;
}

double Limits::durable(const Shape &shape, uint64_t batch) const
{
    const double bytes = (double)(batch * (shape.key_size + shape.value_size) + ENVELOPE);
    double ns = sync.front().p50;

    for (size_t i = 1; i < sync.size(); i++)
        if (bytes >= sync[i].bytes)
            ns = sync[i].p50;
        else if (bytes > sync[i - 1].bytes)
            ns = sync[i - 1].p50 +
                 (bytes - sync[i - 1].bytes) / (sync[i].bytes - sync[i - 1].bytes) * (sync[i].p50 - sync[i - 1].p50);
    return ns + (double)batch * LEAST_INSERT;
}

} // namespace bench
