/*
 * bench: libhtstore and other stores and maps, on the same rows in the same run. Called by `make bench`; see --help.
 */
#include "asking.hpp"
#include "child.hpp"

#include <cstdio>

namespace bench
{

struct Benchmark {
    const char *name;
    void (*run)(const Bench &bench);
};

static const Benchmark benchmarks[] = {
    { "lookup", bench_lookup }, { "single", bench_single },
    { "cold", bench_cold },     { "batch", bench_batch },
    { "skew", bench_skew },     { "threads", bench_threads },
    { "load", bench_load },     { "durable", bench_durable },
    { "ycsb", bench_ycsb },     { "checkpoint", bench_checkpoint },
    { "open", bench_open },     { "memory", bench_memory },
};

static int run_all(int argc, char **argv)
{
    std::vector<std::string> names = { "limits" };

    for (const auto &benchmark : benchmarks)
        names.emplace_back(benchmark.name);
    const Setting setting = read_arguments(argc, argv, names);
    print_machine(setting.folder);
    const Limits limits = measure_limits(setting.folder, setting.limit_bytes);
    Report report(setting.csv);
    print_limits(limits);
    for (const auto &benchmark : benchmarks) {
        if (!setting.wants(benchmark.name))
            continue;
        const uint64_t start = now_ns();
        benchmark.run(Bench{ setting, limits, report });
        fprintf(stderr, "%s: %.0f s\n", benchmark.name, (double)(now_ns() - start) / 1e9);
    }
    report.print_figures();
    printf("\n| | |\n|---|---|\n");
    print_load("after");
    return 0;
}

} // namespace bench

int main(int argc, char **argv)
{
    bench::run_child(argc, argv);
    return bench::run_all(argc, argv);
}
