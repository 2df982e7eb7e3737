/* engine_leveldb: LevelDB. Cache for all rows or the budget, bloom filters of 10 bits, WriteBatch; no compression. */
#include "engine.hpp"
#include "measure.hpp"

#include <leveldb/cache.h>
#include <leveldb/db.h>
#include <leveldb/filter_policy.h>
#include <leveldb/write_batch.h>

namespace bench
{
namespace
{

using leveldb::Slice;

void check(const leveldb::Status &status)
{
    if (!status.ok())
        fail("LevelDB: %s", status.ToString().c_str());
}

class LevelSession : public Session
{
  public:
    LevelSession(const Shape &s, leveldb::DB *d, bool sync) : shape(s), db(d)
    {
        write_options.sync = sync;
    }

    void put(const RowSpan &rows) override
    {
        leveldb::WriteBatch batch;

        for (size_t i = 0; i < rows.keys.n; i++)
            batch.Put(Slice(rows.keys.at(i), shape.key_size), Slice(rows.value(i), shape.value_size));
        check(db->Write(write_options, &batch));
    }

    void get(const KeySpan &keys, char *values, uint8_t *found) override
    {
        for (size_t i = 0; i < keys.n; i++) {
            const leveldb::Status status = db->Get(read_options, Slice(keys.at(i), shape.key_size), &value);
            found[i] = status.ok();
            if (status.ok())
                memcpy(values + i * shape.value_size, value.data(), shape.value_size);
            else if (status.IsNotFound())
                memset(values + i * shape.value_size, 0, shape.value_size);
            else
                check(status);
        }
    }

  private:
    Shape shape;
    leveldb::DB *db;
    leveldb::WriteOptions write_options;
    leveldb::ReadOptions read_options;
    std::string value;
};

class LevelEngine : public Engine
{
  public:
    explicit LevelEngine(const EngineOptions &options)
        : shape(options.shape), sync(options.sync == Sync::each),
          cache(leveldb::NewLRUCache(options.budget((uint64_t)256 << 20))), filter(leveldb::NewBloomFilterPolicy(10))
    {
        leveldb::Options open;
        leveldb::DB *opened;

        open.create_if_missing = true;
        open.block_cache = cache.get();
        open.filter_policy = filter.get();
        open.compression = leveldb::kNoCompression;
        open.write_buffer_size = (size_t)64 << 20;
        check(leveldb::DB::Open(open, options.folder, &opened));
        db.reset(opened);
    }

    std::unique_ptr<Session> session() override
    {
        return std::make_unique<LevelSession>(shape, db.get(), sync);
    }

    /* A synced write makes all before it durable, in the log. */
    void finish() override
    {
        leveldb::WriteOptions options;
        leveldb::WriteBatch nothing;

        options.sync = true;
        check(db->Write(options, &nothing));
    }

  private:
    Shape shape;
    bool sync;
    std::unique_ptr<leveldb::Cache> cache;
    std::unique_ptr<const leveldb::FilterPolicy> filter;
    std::unique_ptr<leveldb::DB> db; /* is destroyed first */
};

std::unique_ptr<Engine> open_leveldb(const EngineOptions &options)
{
    return std::make_unique<LevelEngine>(options);
}

const Registration registration({ "LevelDB", 13, true, true, Order::bytes, 6000000,
                                  "LevelDB " + std::to_string(leveldb::kMajorVersion) + "." +
                                      std::to_string(leveldb::kMinorVersion),
                                  open_leveldb });

} // namespace
} // namespace bench
