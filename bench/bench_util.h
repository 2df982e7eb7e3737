/* bench_util: what the benchmarks share: clocks, medians, other programs, memory, and rows to store. */
#ifndef BENCH_UTIL_H
#define BENCH_UTIL_H

#include <htstore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_MAX_RUNS 64

/* Print the sentence of `error`, or a formatted one, and exit. */
void bench_stop(const struct htstore_error *error);
void bench_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

double bench_now(void); /* seconds of a clock that only rises */

/* Seconds on the clock, and of processors, of this process and those it waited for: what others do shows less in the second. */
struct bench_span {
    double seconds, cpu;
};
struct bench_span bench_begin(void);
struct bench_span bench_end(struct bench_span begin);

/* --- measured times, seconds --- */
struct bench_times {
    double v[BENCH_MAX_RUNS];
    double cpu[BENCH_MAX_RUNS];
    unsigned n;
};
void bench_add(struct bench_times *times, struct bench_span span);
double bench_median_cpu(const struct bench_times *times);
double bench_median(const struct bench_times *times); /* 0 without any */
double bench_min(const struct bench_times *times);
double bench_spread(const struct bench_times *times); /* (largest - smallest) / median */
/* "name  median  min  ns a row  processor time  spread"; `reason` replaces the figures if nothing was measured. */
void bench_print(const char *name, const struct bench_times *times, uint64_t n_rows, const char *reason);

/* --- the machine --- */
void bench_print_machine(const char *folder);
void bench_print_load(const char *when);
bool bench_has_tool(const char *name); /* on $PATH */

/* --- other programs and files --- */
/* Run a shell command; exits if it fails. */
struct bench_span bench_shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
uint64_t bench_file_size(const char *path);
struct bench_span bench_read_file(const char *path); /* once by pread, 1 MiB at a time */
double bench_memcpy_speed(void); /* bytes a second that are copied */
char *bench_path(const char *folder, const char *name); /* freed by the caller */

/* --- memory of this process, bytes --- */
struct bench_memory {
    uint64_t rss, anonymous, file, shared;
};
void bench_read_memory(struct bench_memory *memory);
struct bench_sampler;
struct bench_sampler *bench_sampler_start(void); /* looks each millisecond */
void bench_sampler_stop(struct bench_sampler *sampler, struct bench_memory *peak);

/* --- rows --- */
uint64_t bench_random(uint64_t *state); /* splitmix64, of Steele, Lea and Flood */
void *bench_alloc(size_t n, size_t size);

#endif
