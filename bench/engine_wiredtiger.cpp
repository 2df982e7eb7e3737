/* engine_wiredtiger: WiredTiger, a B-tree in its cache; with a log only where each batch must be durable. */
#include "engine.hpp"
#include "measure.hpp"

#include <wiredtiger.h>

namespace bench
{
namespace
{

void check(int status)
{
    if (status != 0)
        fail("WiredTiger: %s", wiredtiger_strerror(status));
}

class WiredSession : public Session
{
  public:
    WiredSession(const Shape &s, WT_CONNECTION *connection) : shape(s)
    {
        check(connection->open_session(connection, NULL, "isolation=snapshot", &session));
        check(session->open_cursor(session, "table:rows", NULL, "overwrite=true", &cursor));
    }
    ~WiredSession() override
    {
        session->close(session, NULL);
    }

    /* Transactions that meet in a page are rolled back and tried again. */
    void put(const RowSpan &rows) override
    {
        int status;

        do {
            status = try_put(rows);
        } while (status == WT_ROLLBACK);
        check(status);
    }

    void get(const KeySpan &keys, char *values, uint8_t *found) override
    {
        WT_ITEM item;

        check(session->begin_transaction(session, NULL));
        for (size_t i = 0; i < keys.n; i++) {
            char *value = values + i * shape.value_size;
            set_key(keys, i);
            const int status = cursor->search(cursor);
            found[i] = status == 0;
            if (status == 0) {
                check(cursor->get_value(cursor, &item));
                memcpy(value, item.data, shape.value_size);
            } else if (status == WT_NOTFOUND) {
                memset(value, 0, shape.value_size);
            } else {
                check(status);
            }
        }
        check(cursor->reset(cursor));
        check(session->commit_transaction(session, NULL));
    }

  private:
    void set_key(const KeySpan &keys, size_t i)
    {
        if (shape.kind == Kind::string_int) {
            key.data = keys.at(i);
            key.size = shape.key_size;
            cursor->set_key(cursor, &key);
        } else {
            cursor->set_key(cursor, keys.ints()[i]);
        }
    }

    int try_put(const RowSpan &rows)
    {
        WT_ITEM item = {};

        check(session->begin_transaction(session, NULL));
        item.size = shape.value_size;
        for (size_t i = 0; i < rows.keys.n; i++) {
            set_key(rows.keys, i);
            item.data = rows.value(i);
            cursor->set_value(cursor, &item);
            const int status = cursor->insert(cursor);
            if (status != 0) {
                check(session->rollback_transaction(session, NULL));
                return status;
            }
        }
        return session->commit_transaction(session, NULL);
    }

    Shape shape;
    WT_ITEM key = {};
    WT_SESSION *session = nullptr;
    WT_CURSOR *cursor = nullptr;
};

class WiredEngine : public Engine
{
  public:
    explicit WiredEngine(const EngineOptions &options) : shape(options.shape)
    {
        const uint64_t cache = options.budget((uint64_t)256 << 20) >> 20;
        std::string open = "create,cache_size=" + std::to_string(cache ? cache : 1) + "M";
        WT_SESSION *session;

        if (options.sync == Sync::each)
            open += ",log=(enabled=true),transaction_sync=(enabled=true,method=fsync)";
        check(wiredtiger_open(options.folder.c_str(), NULL, open.c_str(), &connection));
        check(connection->open_session(connection, NULL, NULL, &session));
        check(session->create(session, "table:rows",
                              shape.kind == Kind::string_int ? "key_format=u,value_format=u"
                                                             : "key_format=q,value_format=u"));
        check(session->close(session, NULL));
    }
    ~WiredEngine() override
    {
        check(connection->close(connection, "leak_memory=true"));
    }
    std::unique_ptr<Session> session() override
    {
        return std::make_unique<WiredSession>(shape, connection);
    }
    void finish() override
    {
        WT_SESSION *session;

        check(connection->open_session(connection, NULL, NULL, &session));
        check(session->checkpoint(session, NULL));
        check(session->close(session, NULL));
    }

  private:
    Shape shape;
    WT_CONNECTION *connection = nullptr;
};

std::unique_ptr<Engine> open_wiredtiger(const EngineOptions &options)
{
    return std::make_unique<WiredEngine>(options);
}

const Registration registration({ "WiredTiger", 14, true, true, Order::bytes, 6000000,
                                  std::string(WIREDTIGER_VERSION_STRING), open_wiredtiger });

} // namespace
} // namespace bench
