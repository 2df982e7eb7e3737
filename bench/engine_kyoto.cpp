/* engine_kyoto: HashDB of Kyoto Cabinet, two buckets a row, mapped as a whole. */
#include "engine.hpp"
#include "measure.hpp"

#include <kchashdb.h>

namespace bench
{
namespace
{

void check(bool done, const kyotocabinet::HashDB &db)
{
    if (!done)
        fail("Kyoto Cabinet: %s", db.error().message());
}

class KyotoSession : public Session
{
  public:
    KyotoSession(const Shape &s, kyotocabinet::HashDB &d) : shape(s), db(d)
    {
    }

    void put(const RowSpan &rows) override
    {
        for (size_t i = 0; i < rows.keys.n; i++)
            check(db.set(rows.keys.at(i), shape.key_size, rows.value(i), shape.value_size), db);
    }

    void get(const KeySpan &keys, char *values, uint8_t *found) override
    {
        for (size_t i = 0; i < keys.n; i++) {
            char *value = values + i * shape.value_size;
            found[i] = db.get(keys.at(i), shape.key_size, value, shape.value_size) == (int32_t)shape.value_size;
            if (!found[i])
                memset(value, 0, shape.value_size);
        }
    }

  private:
    Shape shape;
    kyotocabinet::HashDB &db;
};

class KyotoEngine : public Engine
{
  public:
    explicit KyotoEngine(const EngineOptions &options) : shape(options.shape)
    {
        const uint64_t row = 2 * 8 + 16 + shape.key_size + shape.value_size;

        db.tune_options(kyotocabinet::HashDB::TLINEAR);
        db.tune_buckets((int64_t)(2 * options.rows));
        db.tune_map((int64_t)(2 * options.rows * row + (64u << 20)));
        check(db.open(options.folder + "/rows.kch", kyotocabinet::HashDB::OWRITER | kyotocabinet::HashDB::OCREATE), db);
    }
    ~KyotoEngine() override
    {
        db.close();
    }
    std::unique_ptr<Session> session() override
    {
        return std::make_unique<KyotoSession>(shape, db);
    }
    void finish() override
    {
        check(db.synchronize(true), db);
    }

  private:
    Shape shape;
    kyotocabinet::HashDB db;
};

std::unique_ptr<Engine> open_kyoto(const EngineOptions &options)
{
    return std::make_unique<KyotoEngine>(options);
}

const Registration registration({ "Kyoto Cabinet", 20, true, false, Order::any, 6000000,
                                  std::string("Kyoto Cabinet ") + kyotocabinet::VERSION, open_kyoto });

} // namespace
} // namespace bench
