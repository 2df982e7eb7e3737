/* maps: engines made of a hash map in memory, and memory of huge pages for them. */
#ifndef BENCH_MAPS_HPP
#define BENCH_MAPS_HPP

#include <array>
#include <cstdlib>
#include <new>
#include <string>

#include <sys/mman.h>

#include "engine.hpp"

namespace bench
{

using Floats = std::array<float, 64>;

inline const void *bytes_of(const int64_t &value)
{
    return &value;
}
inline const void *bytes_of(const Floats &value)
{
    return value.data();
}

constexpr size_t HUGE_PAGE = 2u << 20;

/* Memory on borders of huge pages, which the kernel is asked for. */
inline void *map_huge(size_t size)
{
    const size_t rounded = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    char *start = static_cast<char *>(
        mmap(nullptr, rounded + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (start == MAP_FAILED)
        throw std::bad_alloc();
    char *aligned =
        reinterpret_cast<char *>((reinterpret_cast<uintptr_t>(start) + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
    if (aligned > start)
        munmap(start, (size_t)(aligned - start));
    munmap(aligned + rounded, HUGE_PAGE - (size_t)(aligned - start));
    madvise(aligned, rounded, MADV_HUGEPAGE);
    return aligned;
}
inline void unmap_huge(void *start, size_t size)
{
    munmap(start, (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
}

/* An allocator whose large pieces lie on huge pages: as GLIBC_TUNABLES=glibc.malloc.hugetlb=1, for one map alone. */
template <class T> struct HugeAllocator {
    using value_type = T;

    HugeAllocator() = default;
    template <class U> HugeAllocator(const HugeAllocator<U> &)
    {
    }
    T *allocate(size_t n)
    {
        return static_cast<T *>(n * sizeof(T) < HUGE_PAGE ? ::operator new(n * sizeof(T)) : map_huge(n * sizeof(T)));
    }
    void deallocate(T *start, size_t n)
    {
        if (n * sizeof(T) < HUGE_PAGE)
            ::operator delete(start);
        else
            unmap_huge(start, n * sizeof(T));
    }
    template <class U> bool operator==(const HugeAllocator<U> &) const
    {
        return true;
    }
    template <class U> bool operator!=(const HugeAllocator<U> &) const
    {
        return false;
    }
};

/* The characters of strings, one behind the other on huge pages; they are never given back. */
template <class T> struct TextAllocator {
    using value_type = T;

    TextAllocator() = default;
    template <class U> TextAllocator(const TextAllocator<U> &)
    {
    }
    T *allocate(size_t n)
    {
        static constexpr size_t CHUNK = 16 * HUGE_PAGE;
        static thread_local char *next = nullptr, *end = nullptr;
        const size_t size = (n * sizeof(T) + 7) / 8 * 8;

        if ((size_t)(end - next) < size) {
            next = static_cast<char *>(map_huge(size > CHUNK ? size : CHUNK));
            end = next + (size > CHUNK ? size : CHUNK);
        }
        next += size;
        return reinterpret_cast<T *>(next - size);
    }
    void deallocate(T *, size_t)
    {
    }
    template <class U> bool operator==(const TextAllocator<U> &) const
    {
        return true;
    }
    template <class U> bool operator!=(const TextAllocator<U> &) const
    {
        return false;
    }
};

template <class Map> class MapSession : public Session
{
  public:
    using Key = typename Map::key_type;
    using Value = typename Map::mapped_type;

    explicit MapSession(Map &m) : map(m)
    {
    }

    void put(const RowSpan &rows) override
    {
        for (size_t i = 0; i < rows.keys.n; i++) {
            Value value;
            memcpy(&value, rows.value(i), sizeof value);
            if constexpr (std::is_same_v<Key, int64_t>)
                map.insert_or_assign(rows.keys.ints()[i], value);
            else
                map.insert_or_assign(Key(rows.keys.text(i)), value);
        }
    }

    void get(const KeySpan &keys, char *values, uint8_t *found) override
    {
        for (size_t i = 0; i < keys.n; i++) {
            const auto it = find(keys, i);
            found[i] = it != map.end();
            if (found[i])
                memcpy(values + i * sizeof(Value), bytes_of(it->second), sizeof(Value));
            else
                memset(values + i * sizeof(Value), 0, sizeof(Value));
        }
    }

    uint64_t get_each(const KeySpan &keys) override
    {
        if constexpr (std::is_same_v<Key, int64_t> && std::is_same_v<Value, int64_t>)
            return each_key(keys, [this](int64_t key) { return map.find(key)->second; });
        return Session::get_each(keys);
    }

    uint64_t get_chain(const KeySpan &keys) override
    {
        if constexpr (std::is_same_v<Key, int64_t> && std::is_same_v<Value, int64_t>)
            return chain_of_keys(keys, [this](int64_t key) { return map.find(key)->second; });
        return Session::get_chain(keys);
    }

  private:
    /* Maps that cannot be asked with a view (Map::View is void) get a string whose memory is used again and again. */
    auto find(const KeySpan &keys, size_t i)
    {
        if constexpr (std::is_same_v<Key, int64_t>) {
            return map.find(keys.ints()[i]);
        } else if constexpr (!std::is_void_v<typename Map::View>) {
            return map.find(typename Map::View(keys.text(i).data(), keys.text(i).size()));
        } else {
            scratch.assign(keys.text(i));
            return map.find(scratch);
        }
    }

    Map &map;
    std::conditional_t<std::is_same_v<Key, int64_t>, int, std::string> scratch{};
};

/* A map that has room for all rows from the start. */
template <class Map> class MapEngine : public Engine
{
  public:
    explicit MapEngine(const EngineOptions &options)
    {
        map.reserve(options.rows);
    }
    std::unique_ptr<Session> session() override
    {
        return std::make_unique<MapSession<Map>>(map);
    }

  private:
    Map map;
};

} // namespace bench

#endif
