/* engine: what the benchmarks ask of a store or a map. Each engine is one file that registers itself. */
#ifndef BENCH_ENGINE_HPP
#define BENCH_ENGINE_HPP

#include <memory>
#include <string>
#include <vector>

#include "rows.hpp"

namespace bench
{

/* When a put is durable. */
enum class Sync {
    off, /* at finish(): as fast as the engine can until then */
    each /* when put() returns */
};

struct EngineOptions {
    Shape shape{};
    std::string folder; /* of its own; there, and empty or as the engine left it */
    uint64_t rows = 0; /* expected */
    Sync sync = Sync::off;
    uint64_t cache_bytes = 0; /* budget for what is held in memory; 0: all rows fit */
    bool preload = true; /* htstore only */
    uint32_t flush_age_ms = 0; /* htstore only; 0: default */
    uint64_t delta_bytes = 0; /* htstore only; 0: default */

    uint64_t budget(uint64_t least) const /* bytes of cache: as told, or enough for all */
    {
        const uint64_t all = 2 * rows * (shape.key_size + shape.value_size + 32);
        return cache_bytes ? cache_bytes : all > least ? all : least;
    }
};

/* What one thread works with. */
class Session
{
  public:
    virtual ~Session() = default;

    /* Insert or replace rows, as one atomic batch if the engine has such. */
    virtual void put(const RowSpan &rows) = 0;
    /* As put(), in the order of keys and behind all that are stored: for engines that have a faster way for it. */
    virtual void append(const RowSpan &rows)
    {
        put(rows);
    }
    /* Copy the values of keys to `values`, zeros for absent ones, and tell which were found. */
    virtual void get(const KeySpan &keys, char *values, uint8_t *found) = 0;

    /* One key a call, int64→int64, all present; the sums of the values. Independent keys, and a chain in which each key
     * depends on the value before. */
    virtual uint64_t get_each(const KeySpan &keys);
    virtual uint64_t get_chain(const KeySpan &keys);
};

class Engine
{
  public:
    virtual ~Engine() = default;
    virtual std::unique_ptr<Session> session() = 0;
    /* All rows are where the engine keeps them for good, and on the disk. */
    virtual void finish()
    {
    }
    /* Nothing goes on behind the caller's back any more. */
    virtual void settle()
    {
    }
    /* All rows that the budget allows are in memory. */
    virtual void warm()
    {
    }
};

/* The order in which an engine likes rows to be loaded. */
enum class Order { any, numbers /* int64 as numbers; strings as bytes */, bytes };

struct EngineKind {
    std::string name;
    unsigned rank; /* in tables; htstore is 0 */
    bool persistent;
    bool durable; /* has Sync::each */
    Order order;
    uint64_t max_rows; /* more would take too long to load; 0: any number */
    std::string version;
    std::unique_ptr<Engine> (*open)(const EngineOptions &options);
};

struct Registration {
    explicit Registration(const EngineKind &kind);
};
const std::vector<EngineKind> &engine_kinds(); /* by rank */

/* Loops for get_each() and get_chain(); `one` maps an int64 key to its value. */
template <class One> inline uint64_t each_key(const KeySpan &keys, One one)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < keys.n; i++)
        sum += (uint64_t)one(keys.ints()[i]);
    return sum;
}

template <class One> inline uint64_t chain_of_keys(const KeySpan &keys, One one)
{
    volatile int64_t hidden = 0; /* the compiler must not know that the value changes nothing */
    const int64_t zero = hidden;
    uint64_t sum = 0;
    int64_t value = 0;

    for (size_t i = 0; i < keys.n; i++) {
        value = one(keys.ints()[i] ^ (value & zero));
        sum += (uint64_t)value;
    }
    return sum;
}

} // namespace bench

#endif
