/* engine_sqlite: SQLite. WAL, prepared statements, mapped; rowid tables for numbers, WITHOUT ROWID for strings. */
#include "engine.hpp"
#include "measure.hpp"

#include <sqlite3.h>

namespace bench
{
namespace
{

class SqliteSession : public Session
{
  public:
    SqliteSession(const EngineOptions &options) : shape(options.shape)
    {
        const bool sync = options.sync == Sync::each;
        const uint64_t cache_kib = options.budget((uint64_t)256 << 20) / 1024;

        check(sqlite3_open((options.folder + "/rows.sqlite").c_str(), &db));
        sqlite3_busy_timeout(db, 60000);
        run("PRAGMA journal_mode=WAL");
        run(sync ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=OFF");
        run("PRAGMA cache_size=-" + std::to_string(cache_kib));
        run("PRAGMA mmap_size=" + std::to_string((uint64_t)64 << 30));
        run(shape.kind == Kind::string_int
                ? "CREATE TABLE IF NOT EXISTS rows (k BLOB PRIMARY KEY, v BLOB) WITHOUT ROWID"
                : "CREATE TABLE IF NOT EXISTS rows (k INTEGER PRIMARY KEY, v BLOB)");
        check(sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO rows VALUES (?, ?)", -1, &insert, NULL));
        check(sqlite3_prepare_v2(db, "SELECT v FROM rows WHERE k = ?", -1, &select, NULL));
    }
    ~SqliteSession() override
    {
        sqlite3_finalize(insert);
        sqlite3_finalize(select);
        sqlite3_close(db);
    }

    void put(const RowSpan &rows) override
    {
        run("BEGIN IMMEDIATE");
        for (size_t i = 0; i < rows.keys.n; i++) {
            bind_key(insert, rows.keys, i);
            check(sqlite3_bind_blob(insert, 2, rows.value(i), (int)shape.value_size, SQLITE_STATIC));
            if (sqlite3_step(insert) != SQLITE_DONE)
                check(SQLITE_ERROR);
            sqlite3_reset(insert);
        }
        run("COMMIT");
    }

    void get(const KeySpan &keys, char *values, uint8_t *found) override
    {
        run("BEGIN");
        for (size_t i = 0; i < keys.n; i++) {
            char *value = values + i * shape.value_size;
            bind_key(select, keys, i);
            found[i] = sqlite3_step(select) == SQLITE_ROW;
            if (found[i])
                memcpy(value, sqlite3_column_blob(select, 0), shape.value_size);
            else
                memset(value, 0, shape.value_size);
            sqlite3_reset(select);
        }
        run("COMMIT");
    }

    /* With synchronous=FULL a checkpoint syncs the log and the file. */
    void checkpoint()
    {
        run("PRAGMA synchronous=FULL");
        run("PRAGMA wal_checkpoint(TRUNCATE)");
    }

  private:
    void check(int status) const
    {
        if (status != SQLITE_OK)
            fail("SQLite: %s", sqlite3_errmsg(db));
    }
    void run(const std::string &text) const
    {
        check(sqlite3_exec(db, text.c_str(), NULL, NULL, NULL));
    }
    void bind_key(sqlite3_stmt *statement, const KeySpan &keys, size_t i) const
    {
        if (shape.kind == Kind::string_int)
            check(sqlite3_bind_blob(statement, 1, keys.at(i), (int)shape.key_size, SQLITE_STATIC));
        else
            check(sqlite3_bind_int64(statement, 1, keys.ints()[i]));
    }

    Shape shape;
    sqlite3 *db = nullptr;
    sqlite3_stmt *insert = nullptr, *select = nullptr;
};

/* Each thread has a connection of its own. */
class SqliteEngine : public Engine
{
  public:
    explicit SqliteEngine(const EngineOptions &o) : options(o)
    {
    }
    std::unique_ptr<Session> session() override
    {
        return std::make_unique<SqliteSession>(options);
    }
    void finish() override
    {
        SqliteSession(options).checkpoint();
    }

  private:
    EngineOptions options;
};

std::unique_ptr<Engine> open_sqlite(const EngineOptions &options)
{
    return std::make_unique<SqliteEngine>(options);
}

const Registration registration({ "SQLite", 15, true, true, Order::bytes, 6000000,
                                  std::string("SQLite ") + SQLITE_VERSION, open_sqlite });

} // namespace
} // namespace bench
