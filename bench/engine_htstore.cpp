/* engine_htstore: the library itself, through its public header. */
#include "engine.hpp"
#include "measure.hpp"

namespace bench
{
namespace
{

void check(int status, const struct htstore_error &error)
{
    if (status < 0)
        fail("htstore: %s", error.message);
}

struct htstore_array key_array(const Shape &shape, const KeySpan &keys)
{
    return shape.kind == Kind::string_int ? htstore_vector(HTSTORE_STRING, keys.views, keys.n)
                                          : htstore_vector(HTSTORE_INT64, keys.bytes, keys.n);
}

struct htstore_array value_array(const Shape &shape, const char *values, size_t n)
{
    return shape.kind == Kind::int_floats ? htstore_matrix(HTSTORE_FLOAT32, values, n, shape.value_size / sizeof(float))
                                          : htstore_vector(HTSTORE_INT64, values, n);
}

class HtstoreSession : public Session
{
  public:
    HtstoreSession(const Shape &s, struct htstore_table *t) : shape(s), table(t)
    {
    }

    void put(const RowSpan &rows) override
    {
        const struct htstore_array keys = key_array(shape, rows.keys);
        const struct htstore_array values = value_array(shape, rows.values, rows.keys.n);
        struct htstore_error error;

        check(htstore_table_insert(table, &keys, &values, 0, &error), error);
    }

    void get(const KeySpan &keys, char *values, uint8_t *found) override
    {
        const struct htstore_array in = key_array(shape, keys);
        struct htstore_array out = value_array(shape, values, keys.n);
        struct htstore_error error;

        check(htstore_table_lookup(table, &in, NULL, &out, found, &error), error);
    }

    /* A caller that asks for one key after the other describes its two variables once. */
    uint64_t get_each(const KeySpan &keys) override
    {
        int64_t key = 0, value = 0;
        const struct htstore_array in = htstore_vector(HTSTORE_INT64, &key, 1);
        struct htstore_array out = htstore_vector(HTSTORE_INT64, &value, 1);

        return each_key(keys, [&](int64_t k) { return one(k, &key, &value, &in, &out); });
    }

    uint64_t get_chain(const KeySpan &keys) override
    {
        int64_t key = 0, value = 0;
        const struct htstore_array in = htstore_vector(HTSTORE_INT64, &key, 1);
        struct htstore_array out = htstore_vector(HTSTORE_INT64, &value, 1);

        return chain_of_keys(keys, [&](int64_t k) { return one(k, &key, &value, &in, &out); });
    }

  private:
    int64_t one(int64_t k, int64_t *key, const int64_t *value, const struct htstore_array *in,
                struct htstore_array *out) const
    {
        *key = k;
        if (htstore_table_lookup(table, in, NULL, out, NULL, NULL) < 0)
            fail("htstore: a lookup failed");
        return *value;
    }

    Shape shape;
    struct htstore_table *table;
};

class HtstoreEngine : public Engine
{
  public:
    explicit HtstoreEngine(const EngineOptions &options) : shape(options.shape)
    {
        static const char zeros[256] = {};
        struct htstore_options open = {};
        struct htstore_schema schema = {};
        struct htstore_error error;

        open.size = sizeof open;
        open.flags = HTSTORE_CREATE | (options.preload ? 0 : HTSTORE_NO_PRELOAD);
        open.durability = options.sync == Sync::each ? HTSTORE_SYNC : HTSTORE_LAZY;
        open.cache_bytes = options.cache_bytes;
        open.flush_age_ms = options.flush_age_ms;
        open.delta_bytes = options.delta_bytes;
        check(htstore_open((options.folder + "/store").c_str(), &open, &store, &error), error);

        schema.size = sizeof schema;
        schema.key_dtype = shape.kind == Kind::string_int ? HTSTORE_STRING : HTSTORE_INT64;
        schema.default_value = shape.kind == Kind::int_floats
                                   ? htstore_vector(HTSTORE_FLOAT32, zeros, shape.value_size / sizeof(float))
                                   : htstore_scalar(HTSTORE_INT64, zeros);
        check(htstore_table_get_or_create(store, "rows", &schema, &table, &error), error);
    }

    ~HtstoreEngine() override
    {
        struct htstore_error error;

        check(htstore_table_close(table, &error), error);
        check(htstore_close(store, &error), error);
    }

    std::unique_ptr<Session> session() override
    {
        return std::make_unique<HtstoreSession>(shape, table);
    }

    void finish() override
    {
        struct htstore_error error;

        check(htstore_flush(store, &error), error);
    }

    void settle() override
    {
        finish();
    }

    void warm() override
    {
        struct htstore_error error;

        check(htstore_table_warm(table, &error), error);
    }

  private:
    Shape shape;
    struct htstore *store = nullptr;
    struct htstore_table *table = nullptr;
};

std::unique_ptr<Engine> open_htstore(const EngineOptions &options)
{
    return std::make_unique<HtstoreEngine>(options);
}

const Registration registration({ "htstore", 0, true, true, Order::any, 0,
                                  "htstore " HTSTORE_VERSION ", built on " + std::string(htstore_build_info()),
                                  open_htstore });

} // namespace
} // namespace bench
