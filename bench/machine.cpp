/* machine: what the figures of a run depend on, printed with them. */
#include "engine.hpp"
#include "report.hpp"

#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <set>

#include <sys/utsname.h>
#include <unistd.h>

#ifndef BENCH_FLAGS_USED
#define BENCH_FLAGS_USED "unknown"
#endif

namespace bench
{

static std::string first_line(const char *path)
{
    std::ifstream file(path);
    std::string line;

    std::getline(file, line);
    return line.empty() ? "unknown" : line;
}

static std::string cpu_name()
{
    std::ifstream file("/proc/cpuinfo");

    for (std::string line; std::getline(file, line);)
        if (line.compare(0, 10, "model name") == 0)
            return line.substr(line.find(':') + 2);
    return "unknown";
}

/* The type of the file system that holds `folder`: the longest mount point that is a prefix of its path. */
static std::string file_system(const std::string &folder)
{
    std::ifstream file("/proc/mounts");
    std::string device, point, type, rest, best = "unknown";
    size_t length = 0;

    while (file >> device >> point >> type && std::getline(file, rest))
        if (folder.compare(0, point.size(), point) == 0 && point.size() >= length) {
            length = point.size();
            best = type;
        }
    return best;
}

static long cache_size(int name)
{
    const long bytes = sysconf(name);
    return bytes > 0 ? bytes / 1024 : 0;
}

void print_load(const char *when)
{
    double load[3] = {};

    if (getloadavg(load, 3) != 3)
        return;
    printf("| load average %s | %.2f, %.2f, %.2f |\n", when, load[0], load[1], load[2]);
    fflush(stdout);
}

void print_machine(const std::string &folder)
{
    struct utsname system = {};
    std::set<std::string> versions;
    const time_t now = time(nullptr);
    char date[32];

    uname(&system);
    strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", gmtime(&now));
    printf("# Benchmarks of libhtstore %s\n\n| | |\n|---|---|\n", htstore_version());
    printf("| date | %s |\n", date);
    printf("| processor | %s, %ld processors, L2 %ld KiB, L3 %ld KiB |\n", cpu_name().c_str(),
           sysconf(_SC_NPROCESSORS_ONLN), cache_size(_SC_LEVEL2_CACHE_SIZE), cache_size(_SC_LEVEL3_CACHE_SIZE));
    printf("| memory | %.1f GiB |\n", (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE) / (1 << 30));
    printf("| system | %s %s, file system %s |\n", system.sysname, system.release, file_system(folder).c_str());
    printf("| transparent huge pages | %s |\n", first_line("/sys/kernel/mm/transparent_hugepage/enabled").c_str());
    printf("| compiler | %s, %s |\n", __VERSION__, BENCH_FLAGS_USED);
    for (const auto &kind : engine_kinds())
        versions.insert(kind.version);
    for (const auto &version : versions)
        printf("| library | %s |\n", version.c_str());
    print_load("before");
}

} // namespace bench
