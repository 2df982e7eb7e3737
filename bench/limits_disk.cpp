/* limits_disk: the limits of the disk, and all limits as a table. */
#include "limits.hpp"
#include "measure.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include <fcntl.h>
#include <unistd.h>

namespace bench
{

constexpr size_t MIB = 1u << 20;

namespace
{

/* A file that is removed at the end. */
class File
{
  public:
    explicit File(const std::string &p) : path(p)
    {
        fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0644);
        if (fd < 0)
            fail("%s: %s", path.c_str(), strerror(errno));
    }
    ~File()
    {
        close(fd);
        unlink(path.c_str());
    }
    void write_at(const char *bytes, size_t size, size_t offset) const
    {
        if (pwrite(fd, bytes, size, (off_t)offset) != (ssize_t)size)
            fail("%s: %s", path.c_str(), strerror(errno));
    }
    void sync() const
    {
        if (fdatasync(fd) < 0)
            fail("%s: %s", path.c_str(), strerror(errno));
    }

  private:
    std::string path;
    int fd;
};

} // namespace

static SyncTime sync_time(const File &file, size_t bytes)
{
    const std::vector<char> record(bytes, 'x');
    Latencies times;
    size_t offset = 0;

    for (int i = 0; i < 300; i++) {
        const uint64_t start = now_ns();
        file.write_at(record.data(), bytes, offset);
        file.sync();
        times.add(now_ns() - start);
        offset += bytes;
    }
    return SyncTime{ (double)bytes, times.percentile(0.5), times.percentile(0.99) };
}

static void measure_syncs(const std::string &folder, Limits &limits)
{
    const std::vector<char> zeros(16 * MIB);
    const File file(folder + "/sync");

    file.write_at(zeros.data(), zeros.size(), 0);
    file.sync();
    for (size_t bytes : { 100u, 4096u, 24576u })
        limits.sync.push_back(sync_time(file, bytes));
}

static void measure_writes(const std::string &folder, Limits &limits)
{
    const std::vector<char> bytes(MIB, 'x');
    const size_t pieces = 256;
    const File file(folder + "/write");
    const uint64_t start = now_ns();

    for (size_t i = 0; i < pieces; i++)
        file.write_at(bytes.data(), MIB, i * MIB);
    const uint64_t written = now_ns();
    file.sync();
    limits.write_speed = 1e9 * (double)(pieces * MIB) / (double)(written - start);
    limits.durable_write_speed = 1e9 * (double)(pieces * MIB) / (double)(now_ns() - start);
}

void measure_disk(const std::string &folder, Limits &limits)
{
    measure_syncs(folder, limits);
    measure_writes(folder, limits);
}

/* --- the table --- */

static void print_curve(const char *name, const Curve &curve)
{
    printf("| %s |", name);
    for (const auto &[bytes, ns] : curve)
        printf(" %.0f KiB: %.1f;", bytes / 1024, ns);
    printf(" |\n");
}

void print_limits(const Limits &l)
{
    printf("\n## Limits of the machine\n\n| what | measured |\n|---|---|\n");
    print_curve("dependent load, huge pages, ns", l.chase);
    printf("| the same, 4 KiB pages, largest memory, ns | %.0f |\n", l.chase_small_pages);
    print_curve("independent lines, prefetch ring, ns", l.ring);
    printf("| the same, 4 KiB pages, largest memory, ns | %.1f |\n", l.ring_small_pages);
    printf("| the same, huge pages, two threads together, ns | %.1f (%.2f × one) |\n", l.ring_two_threads,
           l.ring.back().second / l.ring_two_threads);
    printf("| sequential read, memcpy, GB/s | %.1f, %.1f |\n", l.read_speed / 1e9, l.copy_speed / 1e9);
    printf("| first touch of 4 KiB, fresh, again, µs | %.2f, %.2f |\n", l.first_touch / 1e3, l.second_touch / 1e3);
    for (const auto &s : l.sync)
        printf("| pwrite + fdatasync of %.0f bytes, zero-filled file, p50, p99, µs | %.0f, %.0f |\n", s.bytes,
               s.p50 / 1e3, s.p99 / 1e3);
    printf("| file write, to the page cache, with fdatasync, GB/s | %.2f, %.2f |\n", l.write_speed / 1e9,
           l.durable_write_speed / 1e9);
    printf("| mutex pair, rwlock pair, locked add, epoch enter + exit, sequence check, ns | "
           "%.1f, %.1f, %.1f, %.1f, %.2f |\n",
           l.mutex_pair, l.rwlock_pair, l.locked_add, l.epoch_pair, l.sequence_check);
    fflush(stdout);
}

} // namespace bench
