/* engine_tkrzw: HashDBM of Tkrzw, two buckets a row, updated in place. */
#include "engine.hpp"
#include "measure.hpp"

#include <tkrzw_dbm_hash.h>
#include <tkrzw_lib_common.h>

namespace bench
{
namespace
{

void check(const tkrzw::Status &status)
{
    if (!status.IsOK())
        fail("Tkrzw: %s", status.GetMessage().c_str());
}

class TkrzwSession : public Session
{
  public:
    TkrzwSession(const Shape &s, tkrzw::HashDBM &d, bool h) : shape(s), db(d), hard(h)
    {
    }

    void put(const RowSpan &rows) override
    {
        for (size_t i = 0; i < rows.keys.n; i++)
            check(db.Set(std::string_view(rows.keys.at(i), shape.key_size),
                         std::string_view(rows.value(i), shape.value_size)));
        if (hard)
            check(db.Synchronize(true));
    }

    void get(const KeySpan &keys, char *values, uint8_t *found) override
    {
        for (size_t i = 0; i < keys.n; i++) {
            char *out = values + i * shape.value_size;
            found[i] = db.Get(std::string_view(keys.at(i), shape.key_size), &value).IsOK();
            if (found[i])
                memcpy(out, value.data(), shape.value_size);
            else
                memset(out, 0, shape.value_size);
        }
    }

  private:
    Shape shape;
    tkrzw::HashDBM &db;
    bool hard;
    std::string value;
};

class TkrzwEngine : public Engine
{
  public:
    explicit TkrzwEngine(const EngineOptions &options) : shape(options.shape), hard(options.sync == Sync::each)
    {
        tkrzw::HashDBM::TuningParameters tuning;

        tuning.update_mode = tkrzw::HashDBM::UPDATE_IN_PLACE;
        tuning.num_buckets = (int64_t)(2 * options.rows);
        check(db.OpenAdvanced(options.folder + "/rows.tkh", true, tkrzw::File::OPEN_DEFAULT, tuning));
    }
    ~TkrzwEngine() override
    {
        check(db.Close());
    }
    std::unique_ptr<Session> session() override
    {
        return std::make_unique<TkrzwSession>(shape, db, hard);
    }
    void finish() override
    {
        check(db.Synchronize(true));
    }

  private:
    Shape shape;
    bool hard;
    tkrzw::HashDBM db;
};

std::unique_ptr<Engine> open_tkrzw(const EngineOptions &options)
{
    return std::make_unique<TkrzwEngine>(options);
}

const Registration registration({ "Tkrzw", 21, true, true, Order::any, 6000000,
                                  std::string("Tkrzw ") + tkrzw::PACKAGE_VERSION, open_tkrzw });

} // namespace
} // namespace bench
