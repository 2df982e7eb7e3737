/* bench_util: hides where the kernel tells times, memory and names. */
#include "bench_util.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#define PART_SIZE ((size_t)1 << 20)
#define COPY_SIZE ((size_t)256 << 20)

void bench_stop(const struct htstore_error *error)
{
    bench_fail("%s", error->message);
}

void bench_fail(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)fputs("bench: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    exit(1);
}

double bench_now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu_of(int who)
{
    struct rusage usage;

    if (getrusage(who, &usage) != 0)
        return 0;
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

struct bench_span bench_begin(void)
{
    return (struct bench_span){ bench_now(), cpu_of(RUSAGE_SELF) + cpu_of(RUSAGE_CHILDREN) };
}

struct bench_span bench_end(struct bench_span begin)
{
    const struct bench_span end = bench_begin();

    return (struct bench_span){ end.seconds - begin.seconds, end.cpu - begin.cpu };
}

/* --- measured times --- */

void bench_add(struct bench_times *times, struct bench_span span)
{
    if (times->n == BENCH_MAX_RUNS)
        bench_fail("too many runs");
    times->v[times->n] = span.seconds;
    times->cpu[times->n++] = span.cpu;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void sort_times(const struct bench_times *times, struct bench_times *sorted)
{
    *sorted = *times;
    qsort(sorted->v, sorted->n, sizeof sorted->v[0], compare_doubles);
}

double bench_median(const struct bench_times *times)
{
    struct bench_times s;

    if (times->n == 0)
        return 0;
    sort_times(times, &s);
    return s.n % 2 ? s.v[s.n / 2] : (s.v[s.n / 2 - 1] + s.v[s.n / 2]) / 2;
}

double bench_median_cpu(const struct bench_times *times)
{
    struct bench_times cpu = *times;

    memcpy(cpu.v, times->cpu, sizeof cpu.v);
    return bench_median(&cpu);
}

double bench_min(const struct bench_times *times)
{
    struct bench_times s;

    if (times->n == 0)
        return 0;
    sort_times(times, &s);
    return s.v[0];
}

double bench_spread(const struct bench_times *times)
{
    struct bench_times s;

    if (times->n == 0)
        return 0;
    sort_times(times, &s);
    return (s.v[s.n - 1] - s.v[0]) / bench_median(times);
}

void bench_print(const char *name, const struct bench_times *times, uint64_t n_rows, const char *reason)
{
    const double spread = bench_spread(times);

    if (times->n == 0) {
        printf("  %-42s %s\n", name, reason);
        return;
    }
    printf("  %-42s median %7.3f s  min %7.3f s  %6.1f ns a row  processors %7.3f s  spread %3.0f %%%s\n", name,
           bench_median(times), bench_min(times), bench_median(times) * 1e9 / (double)n_rows, bench_median_cpu(times),
           spread * 100, spread > 0.1 ? " noisy" : "");
    (void)fflush(stdout);
}

/* --- the machine --- */

static void print_line_of(const char *path, const char *start)
{
    char line[512];
    FILE *f = fopen(path, "r");

    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, start, strlen(start)) == 0) {
            printf("  %s", line);
            break;
        }
    if (f)
        (void)fclose(f);
}

void bench_print_load(const char *when)
{
    double load[3] = { 0 };

    (void)getloadavg(load, 3);
    printf("  load average %s: %.2f %.2f %.2f\n", when, load[0], load[1], load[2]);
    (void)fflush(stdout);
}

void bench_print_machine(const char *folder)
{
    struct utsname system;
    struct statfs fs;

    printf("machine\n");
    print_line_of("/proc/cpuinfo", "model name");
    printf("  processors %ld\n", sysconf(_SC_NPROCESSORS_ONLN));
    if (uname(&system) == 0)
        printf("  kernel %s\n", system.release);
    print_line_of("/sys/kernel/mm/transparent_hugepage/enabled", "");
    if (statfs(folder, &fs) == 0)
        printf("  file system type %lx%s\n", (unsigned long)fs.f_type, fs.f_type == 0xEF53 ? " (ext4)" : "");
    printf("  %s\n", htstore_build_info());
    printf("  memcpy %.1f GB/s\n", bench_memcpy_speed() * 1e-9);
    bench_print_load("before");
}

bool bench_has_tool(const char *name)
{
    char command[128];

    (void)snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", name);
    return system(command) == 0; /* NOLINT: names of our own */
}

/* --- other programs and files --- */

struct bench_span bench_shell(const char *format, ...)
{
    char command[4096];
    struct bench_span start;
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(command, sizeof command, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof command)
        bench_fail("a command is too long");
    start = bench_begin();
    if (system(command) != 0) /* NOLINT: paths are quoted by the caller */
        bench_fail("failed: %s", command);
    return bench_end(start);
}

uint64_t bench_file_size(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        bench_fail("%s: %s", path, strerror(errno));
    return (uint64_t)st.st_size;
}

struct bench_span bench_read_file(const char *path)
{
    uint8_t *part = bench_alloc(PART_SIZE, 1);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const struct bench_span start = bench_begin();
    off_t offset = 0;
    ssize_t got;

    if (fd < 0)
        bench_fail("%s: %s", path, strerror(errno));
    while ((got = pread(fd, part, PART_SIZE, offset)) > 0)
        offset += got;
    close(fd);
    free(part);
    return bench_end(start);
}

double bench_memcpy_speed(void)
{
    uint8_t *from = bench_alloc(COPY_SIZE, 1), *to = bench_alloc(COPY_SIZE, 1);
    double best = 1e9;

    memset(from, 1, COPY_SIZE);
    memset(to, 2, COPY_SIZE);
    for (int i = 0; i < 3; i++) {
        const double start = bench_now();
        memcpy(to, from, COPY_SIZE);
        __asm__ volatile("" : : "r"(to) : "memory");
        if (bench_now() - start < best)
            best = bench_now() - start;
    }
    free(from);
    free(to);
    return (double)COPY_SIZE / best;
}

char *bench_path(const char *folder, const char *name)
{
    const size_t size = strlen(folder) + strlen(name) + 2;
    char *path = bench_alloc(size, 1);

    (void)snprintf(path, size, "%s/%s", folder, name);
    return path;
}

/* --- memory --- */

void bench_read_memory(struct bench_memory *memory)
{
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    unsigned long long kib;

    memset(memory, 0, sizeof *memory);
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "VmRSS: %llu", &kib) == 1)
            memory->rss = kib << 10;
        else if (sscanf(line, "RssAnon: %llu", &kib) == 1)
            memory->anonymous = kib << 10;
        else if (sscanf(line, "RssFile: %llu", &kib) == 1)
            memory->file = kib << 10;
        else if (sscanf(line, "RssShmem: %llu", &kib) == 1)
            memory->shared = kib << 10;
    }
    if (f)
        (void)fclose(f);
}

struct bench_sampler {
    pthread_t thread;
    atomic_bool stop;
    struct bench_memory peak;
};

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static void *sample(void *argument)
{
    struct bench_sampler *s = argument;
    const struct timespec pause = { .tv_nsec = 1000000 };
    struct bench_memory m;

    while (!atomic_load(&s->stop)) {
        bench_read_memory(&m);
        s->peak.rss = larger(s->peak.rss, m.rss);
        s->peak.anonymous = larger(s->peak.anonymous, m.anonymous);
        s->peak.file = larger(s->peak.file, m.file);
        s->peak.shared = larger(s->peak.shared, m.shared);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

struct bench_sampler *bench_sampler_start(void)
{
    struct bench_sampler *s = bench_alloc(1, sizeof *s);

    memset(s, 0, sizeof *s);
    if (pthread_create(&s->thread, NULL, sample, s) != 0)
        bench_fail("no thread");
    return s;
}

void bench_sampler_stop(struct bench_sampler *sampler, struct bench_memory *peak)
{
    atomic_store(&sampler->stop, true);
    pthread_join(sampler->thread, NULL);
    *peak = sampler->peak;
    free(sampler);
}

/* --- rows --- */

uint64_t bench_random(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9E3779B97F4A7C15);

    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

void *bench_alloc(size_t n, size_t size)
{
    void *p = size > 0 && n <= SIZE_MAX / size ? malloc(n * size) : NULL;

    if (!p)
        bench_fail("no memory");
    return p;
}
