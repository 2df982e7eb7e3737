/* engine_lmdb: LMDB. One read transaction a batch, numbers as MDB_INTEGERKEY, no read-ahead. */
#include "engine.hpp"
#include "measure.hpp"

#include <algorithm>
#include <cstring>

#include <lmdb.h>

namespace bench
{
namespace
{

constexpr size_t MAP_SIZE = (size_t)256 << 30;

void check(int status)
{
    if (status != MDB_SUCCESS)
        fail("LMDB: %s", mdb_strerror(status));
}

class LmdbSession : public Session
{
  public:
    LmdbSession(const Shape &s, MDB_env *e, MDB_dbi d) : shape(s), env(e), dbi(d)
    {
    }

    ~LmdbSession() override
    {
        mdb_txn_abort(reader);
    }

    void put(const RowSpan &rows) override
    {
        write(rows, 0);
    }

    void append(const RowSpan &rows) override
    {
        write(rows, MDB_APPEND);
    }

    void get(const KeySpan &keys, char *values, uint8_t *found) override
    {
        begin();
        for (size_t i = 0; i < keys.n; i++) {
            MDB_val key = { shape.key_size, const_cast<char *>(keys.at(i)) }, value;
            const int status = mdb_get(reader, dbi, &key, &value);
            found[i] = status == MDB_SUCCESS;
            if (status == MDB_SUCCESS)
                memcpy(values + i * shape.value_size, value.mv_data, shape.value_size);
            else if (status == MDB_NOTFOUND)
                memset(values + i * shape.value_size, 0, shape.value_size);
            else
                check(status);
        }
        mdb_txn_reset(reader);
    }

  protected:
    void begin()
    {
        check(reader ? mdb_txn_renew(reader) : mdb_txn_begin(env, NULL, MDB_RDONLY, &reader));
    }

    Shape shape;
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *reader = nullptr;

  private:
    void write(const RowSpan &rows, unsigned flags)
    {
        MDB_txn *txn;

        check(mdb_txn_begin(env, NULL, 0, &txn));
        for (size_t i = 0; i < rows.keys.n; i++) {
            MDB_val key = { shape.key_size, const_cast<char *>(rows.keys.at(i)) };
            MDB_val value = { shape.value_size, const_cast<char *>(rows.value(i)) };
            check(mdb_put(txn, dbi, &key, &value, flags));
        }
        check(mdb_txn_commit(txn));
    }
};

/* Visits the keys of a batch in their order, with one cursor: pages are shared by neighbours. */
class SortedSession : public LmdbSession
{
  public:
    using LmdbSession::LmdbSession;

    ~SortedSession() override
    {
        mdb_cursor_close(cursor);
    }

    void get(const KeySpan &keys, char *values, uint8_t *found) override
    {
        begin();
        check(cursor ? mdb_cursor_renew(reader, cursor) : mdb_cursor_open(reader, dbi, &cursor));
        order.resize(keys.n);
        for (size_t i = 0; i < keys.n; i++)
            order[i] = (uint32_t)i;
        if (shape.kind == Kind::string_int)
            std::sort(order.begin(), order.end(), [&](auto a, auto b) { return keys.text(a) < keys.text(b); });
        else
            std::sort(order.begin(), order.end(),
                      [&](auto a, auto b) { return (uint64_t)keys.ints()[a] < (uint64_t)keys.ints()[b]; });
        for (const auto i : order) {
            MDB_val key = { shape.key_size, const_cast<char *>(keys.at(i)) }, value;
            const int status = mdb_cursor_get(cursor, &key, &value, MDB_SET);
            found[i] = status == MDB_SUCCESS;
            if (found[i])
                memcpy(values + i * shape.value_size, value.mv_data, shape.value_size);
            else
                memset(values + i * shape.value_size, 0, shape.value_size);
        }
        mdb_txn_reset(reader);
    }

  private:
    MDB_cursor *cursor = nullptr;
    std::vector<uint32_t> order;
};

enum class Way {
    plain,
    sorted, /* SortedSession */
    write_map /* pages are changed in the map */
};

class LmdbEngine : public Engine
{
  public:
    LmdbEngine(const EngineOptions &options, Way w) : shape(options.shape), way(w)
    {
        const unsigned flags = MDB_NORDAHEAD | MDB_NOTLS | (options.sync == Sync::each ? 0 : MDB_NOSYNC) |
                               (way == Way::write_map ? MDB_WRITEMAP : 0);
        MDB_txn *txn;

        check(mdb_env_create(&env));
        check(mdb_env_set_mapsize(env, MAP_SIZE));
        check(mdb_env_open(env, options.folder.c_str(), flags, 0644));
        check(mdb_txn_begin(env, NULL, 0, &txn));
        check(mdb_dbi_open(txn, NULL, shape.kind == Kind::string_int ? 0 : MDB_INTEGERKEY, &dbi));
        check(mdb_txn_commit(txn));
    }

    ~LmdbEngine() override
    {
        mdb_env_close(env);
    }

    std::unique_ptr<Session> session() override
    {
        if (way == Way::sorted)
            return std::make_unique<SortedSession>(shape, env, dbi);
        return std::make_unique<LmdbSession>(shape, env, dbi);
    }

    void finish() override
    {
        check(mdb_env_sync(env, 1));
    }

  private:
    Shape shape;
    Way way;
    MDB_env *env = nullptr;
    MDB_dbi dbi = 0;
};

std::unique_ptr<Engine> open_lmdb(const EngineOptions &options)
{
    return std::make_unique<LmdbEngine>(options, Way::plain);
}

std::unique_ptr<Engine> open_sorted(const EngineOptions &options)
{
    return std::make_unique<LmdbEngine>(options, Way::sorted);
}

std::unique_ptr<Engine> open_write_map(const EngineOptions &options)
{
    return std::make_unique<LmdbEngine>(options, Way::write_map);
}

const std::string LIBRARY = MDB_VERSION_STRING;
const Registration plain({ "LMDB", 10, true, true, Order::numbers, 0, LIBRARY, open_lmdb });
const Registration write_map({ "LMDB, WRITEMAP", 11, true, true, Order::numbers, 0, LIBRARY, open_write_map });
const Registration by_cursor({ "LMDB, sorted", 11, true, true, Order::numbers, 0, LIBRARY, open_sorted });

} // namespace
} // namespace bench
