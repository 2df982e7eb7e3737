/* engine_cuckoo: libcuckoo, with room for all rows from the start. */
#include "maps.hpp"

#include <libcuckoo/cuckoohash_map.hh>

namespace bench
{
namespace
{

template <class Key, class Value> class CuckooSession : public Session
{
  public:
    using Map = libcuckoo::cuckoohash_map<Key, Value>;

    explicit CuckooSession(Map &m) : map(m)
    {
    }

    void put(const RowSpan &rows) override
    {
        for (size_t i = 0; i < rows.keys.n; i++) {
            Value value;
            memcpy(&value, rows.value(i), sizeof value);
            map.insert_or_assign(key(rows.keys, i), value);
        }
    }

    void get(const KeySpan &keys, char *values, uint8_t *found) override
    {
        for (size_t i = 0; i < keys.n; i++) {
            char *value = values + i * sizeof(Value);
            found[i] = map.find_fn(key(keys, i), [value](const Value &v) { memcpy(value, &v, sizeof v); });
            if (!found[i])
                memset(value, 0, sizeof(Value));
        }
    }

  private:
    const Key &key(const KeySpan &keys, size_t i)
    {
        if constexpr (std::is_same_v<Key, int64_t>)
            return keys.ints()[i];
        else
            return scratch.assign(keys.text(i));
    }

    Map &map;
    std::string scratch;
};

template <class Key, class Value> class CuckooEngine : public Engine
{
  public:
    explicit CuckooEngine(const EngineOptions &options) : map(options.rows)
    {
    }
    std::unique_ptr<Session> session() override
    {
        return std::make_unique<CuckooSession<Key, Value>>(map);
    }

  private:
    libcuckoo::cuckoohash_map<Key, Value> map;
};

std::unique_ptr<Engine> open_cuckoo(const EngineOptions &options)
{
    switch (options.shape.kind) {
    case Kind::int_int:
        return std::make_unique<CuckooEngine<int64_t, int64_t>>(options);
    case Kind::int_floats:
        return std::make_unique<CuckooEngine<int64_t, Floats>>(options);
    default:
        return std::make_unique<CuckooEngine<std::string, int64_t>>(options);
    }
}

const Registration registration({ "libcuckoo", 4, false, false, Order::any, 0, "libcuckoo", open_cuckoo });

} // namespace
} // namespace bench
