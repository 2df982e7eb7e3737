/* engine_rocksdb: RocksDB. Block cache for all rows or the budget, bloom filters of 10 bits, MultiGet, WriteBatch. */
#include "engine.hpp"
#include "measure.hpp"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/version.h>
#include <rocksdb/write_batch.h>

#include <unistd.h>

namespace bench
{
namespace
{

using rocksdb::Slice;

void check(const rocksdb::Status &status)
{
    if (!status.ok())
        fail("RocksDB: %s", status.ToString().c_str());
}

class RocksSession : public Session
{
  public:
    RocksSession(const Shape &s, rocksdb::DB *d, const rocksdb::WriteOptions &w) : shape(s), db(d), write_options(w)
    {
    }

    void put(const RowSpan &rows) override
    {
        rocksdb::WriteBatch batch;

        for (size_t i = 0; i < rows.keys.n; i++)
            check(batch.Put(Slice(rows.keys.at(i), shape.key_size), Slice(rows.value(i), shape.value_size)));
        check(db->Write(write_options, &batch));
    }

    void get(const KeySpan &keys, char *values, uint8_t *found) override
    {
        if (keys.n > slices.size()) {
            slices.resize(keys.n);
            pinned = std::vector<rocksdb::PinnableSlice>(keys.n); /* one that pins does not survive being moved */
            states.resize(keys.n);
        }
        for (size_t i = 0; i < keys.n; i++) {
            slices[i] = Slice(keys.at(i), shape.key_size);
            pinned[i].Reset();
        }
        if (keys.n == 1)
            states[0] = db->Get(read_options, db->DefaultColumnFamily(), slices[0], &pinned[0]);
        else
            db->MultiGet(read_options, db->DefaultColumnFamily(), keys.n, slices.data(), pinned.data(), states.data());
        for (size_t i = 0; i < keys.n; i++) {
            found[i] = states[i].ok();
            if (found[i])
                memcpy(values + i * shape.value_size, pinned[i].data(), shape.value_size);
            else if (states[i].IsNotFound())
                memset(values + i * shape.value_size, 0, shape.value_size);
            else
                check(states[i]);
        }
    }

  private:
    Shape shape;
    rocksdb::DB *db;
    rocksdb::WriteOptions write_options;
    rocksdb::ReadOptions read_options;
    std::vector<Slice> slices;
    std::vector<rocksdb::PinnableSlice> pinned;
    std::vector<rocksdb::Status> states;
};

class RocksEngine : public Engine
{
  public:
    RocksEngine(const EngineOptions &options, rocksdb::CompressionType compression) : shape(options.shape)
    {
        rocksdb::BlockBasedTableOptions table;
        rocksdb::Options open;
        rocksdb::DB *opened;

        table.block_cache = rocksdb::NewLRUCache(options.budget((uint64_t)256 << 20));
        table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
        open.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
        open.create_if_missing = true;
        open.compression = compression;
        open.write_buffer_size = (size_t)64 << 20;
        open.max_write_buffer_number = 4;
        open.max_background_jobs = 2;
        check(rocksdb::DB::Open(open, options.folder, &opened));
        db.reset(opened);
        write_options.sync = options.sync == Sync::each;
        write_options.disableWAL = options.sync == Sync::off;
    }

    std::unique_ptr<Session> session() override
    {
        return std::make_unique<RocksSession>(shape, db.get(), write_options);
    }

    void finish() override
    {
        check(db->Flush(rocksdb::FlushOptions()));
    }

    void settle() override
    {
        while (number("rocksdb.num-running-compactions") || number("rocksdb.compaction-pending") ||
               number("rocksdb.num-running-flushes") || number("rocksdb.mem-table-flush-pending"))
            usleep(10000);
    }

  private:
    uint64_t number(const char *property) const
    {
        uint64_t value = 0;
        return db->GetIntProperty(property, &value) ? value : 0;
    }

    Shape shape;
    std::unique_ptr<rocksdb::DB> db;
    rocksdb::WriteOptions write_options;
};

std::unique_ptr<Engine> open_rocksdb(const EngineOptions &options)
{
    return std::make_unique<RocksEngine>(options, rocksdb::kNoCompression);
}

std::unique_ptr<Engine> open_zstd(const EngineOptions &options)
{
    return std::make_unique<RocksEngine>(options, rocksdb::kZSTD);
}

const std::string LIBRARY = "RocksDB " + std::to_string(ROCKSDB_MAJOR) + "." + std::to_string(ROCKSDB_MINOR) + "." +
                            std::to_string(ROCKSDB_PATCH);
const Registration plain({ "RocksDB", 12, true, true, Order::bytes, 0, LIBRARY, open_rocksdb });
const Registration zstd({ "RocksDB, zstd", 12, true, true, Order::bytes, 6000000, LIBRARY, open_zstd });

} // namespace
} // namespace bench
