/* fill: tables made ready to be measured. */
#ifndef BENCH_FILL_HPP
#define BENCH_FILL_HPP

#include "engine.hpp"
#include "setting.hpp"

namespace bench
{

/* An engine that is open, in a folder of its own. */
class Loaded
{
  public:
    /* In a new folder. */
    Loaded(const Setting &setting, const EngineKind &kind, const EngineOptions &options, const std::string &name);
    /* In the folder of the options, which stays. */
    Loaded(const EngineKind &kind, const EngineOptions &options);
    ~Loaded(); /* removes its own folder */
    Loaded(Loaded &&) = default;
    Loaded &operator=(Loaded &&) = default;

    /* Rows 0 to `rows` - 1, in the order that the engine likes; finished and settled. */
    void fill(uint64_t rows);
    /* Close, and open again with other options; nothing for engines that keep nothing. */
    void reopen();
    void close();

    const EngineKind *kind;
    EngineOptions options;
    std::unique_ptr<Engine> engine;
    std::unique_ptr<Session> session;

  private:
    std::string own_folder; /* empty: none, or moved from */
};

/* htstore, and those of `names` that were found at configure time, are wanted, and can be loaded with so many rows. */
std::vector<const EngineKind *> pick(const Setting &setting, const std::vector<std::string> &names, uint64_t rows);

/* All of them with rows 0 to `rows` - 1; htstore reopened and warm, unless --fresh. */
std::vector<Loaded> load_all(const Setting &setting, const std::vector<const EngineKind *> &kinds,
                             const EngineOptions &options, const std::string &name);

} // namespace bench

#endif
