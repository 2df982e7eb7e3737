/* setting: what the command line says, and the folder that all engines write to. */
#ifndef BENCH_SETTING_HPP
#define BENCH_SETTING_HPP

#include <cstdint>
#include <string>
#include <vector>

namespace bench
{

struct Setting {
    std::vector<std::string> only; /* benchmarks; empty: all */
    std::vector<std::string> engines; /* peers; empty: all */
    std::vector<uint64_t> rows; /* instead of the sizes of a benchmark */
    std::string folder; /* made for this run, removed at the end */
    std::string csv; /* empty: none */
    double seconds = 0.1; /* of one run of a benchmark that goes on for a time */
    unsigned runs = 5;
    uint64_t seed = 1;
    uint64_t limit_bytes = 1ull << 30; /* largest memory for the limits of the machine */
    bool full = false;
    bool fresh = false; /* htstore as it was loaded, instead of closed and opened again */

    /* `sizes`, or what --rows says. */
    std::vector<uint64_t> sizes(const std::vector<uint64_t> &usual) const;
    /* `usual`, or the first of --rows. */
    uint64_t size(uint64_t usual) const;
    bool wants(const std::string &benchmark) const;
    /* Every peer, also those that take long: in the full version, or named. */
    bool wants_all() const;
    bool wants_engine(const std::string &name) const;
    /* An empty folder inside the folder of this run. */
    std::string make_folder(const std::string &name) const;
};

Setting read_arguments(int argc, char **argv, const std::vector<std::string> &benchmarks);
void remove_folder(const std::string &path);
uint64_t folder_bytes(const std::string &path); /* allocated on the disk */

} // namespace bench

#endif
