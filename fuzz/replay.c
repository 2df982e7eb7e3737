/*
 * replay: runs a fuzz target without a fuzzer: over the files and folders on the command line, or over the seeds that the
 * target makes and the corpus of the target that the program is named after; then over every shorter length of each small
 * input, and over a fixed number of changed copies of it. Equal from run to run.
 *
 *     replay_NAME [FILE|FOLDER]...
 *     replay_NAME --seeds FOLDER       write the seeds, for the fuzzer to start from
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_INPUT_SIZE (1u << 20)
#define MAX_CUT_SIZE 512u /* larger inputs are cut at this many places at most */
#define N_CHANGED_COPIES 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Of targets whose formats are no text: seed number `i`, in memory of the target; 0 = there are no more. */
__attribute__((weak)) size_t fuzz_seed(unsigned i, const uint8_t **data);

static uint64_t random_state = 0x9E3779B97F4A7C15u;
static unsigned long n_runs;

/* splitmix64, by Sebastiano Vigna, public domain: prng.di.unimi.it/splitmix64.c */
static uint64_t next_random(void)
{
    random_state += 0x9E3779B97F4A7C15u;
    uint64_t x = random_state;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/* The target gets memory of exactly this size, so that sanitizers and valgrind see a read behind its end. */
static void run_input(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) {
        perror("replay");
        exit(1);
    }
    if (size)
        memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    n_runs++;
}

static void run_shorter(const uint8_t *data, size_t size)
{
    size_t step = size / MAX_CUT_SIZE + 1;
    for (size_t cut = 0; cut < size; cut += step)
        run_input(data, cut);
}

/* One to four changes: a bit, a byte, or an extreme 32-bit number. */
static void change(uint8_t *data, size_t size)
{
    static const uint32_t extremes[] = { 0, 1, 0x7FFFFFFFu, 0x80000000u, 0xFFFFFFFFu };
    for (uint64_t left = next_random() % 4 + 1; left > 0; left--) {
        size_t at = (size_t)(next_random() % size);
        switch (next_random() % 3) {
        case 0:
            data[at] = (uint8_t)(data[at] ^ (1u << next_random() % 8));
            break;
        case 1:
            data[at] = (uint8_t)next_random();
            break;
        default:
            if (size - at >= sizeof extremes[0])
                memcpy(data + at, &extremes[next_random() % 5], sizeof extremes[0]);
        }
    }
}

static void run_changed(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    for (int i = 0; copy && size > 0 && i < N_CHANGED_COPIES; i++) {
        memcpy(copy, data, size);
        change(copy, size);
        run_input(copy, size);
    }
    free(copy);
}

static void run_all(const uint8_t *data, size_t size)
{
    run_input(data, size);
    run_shorter(data, size);
    run_changed(data, size);
}

static int run_file(const char *path)
{
    static uint8_t data[MAX_INPUT_SIZE];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    size_t size = fread(data, 1, sizeof data, file);
    int failed = ferror(file);
    (void)fclose(file);
    if (failed) {
        (void)fprintf(stderr, "%s: cannot be read\n", path);
        return 1;
    }
    run_all(data, size);
    return 0;
}

static int run_path(const char *path);

static int run_folder(const char *path)
{
    struct dirent **entries;
    int failed = 0;
    int n = scandir(path, &entries, NULL, alphasort);
    if (n < 0) {
        perror(path);
        return 1;
    }
    for (int i = 0; i < n; i++) {
        char child[4096];
        int length = snprintf(child, sizeof child, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && length > 0 && (size_t)length < sizeof child)
            failed |= run_path(child);
        free(entries[i]);
    }
    free(entries);
    return failed;
}

static int run_path(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        perror(path);
        return 1;
    }
    return S_ISDIR(status.st_mode) ? run_folder(path) : run_file(path);
}

/* Inputs that need no file. */
static void run_built_in(void)
{
    static uint8_t data[4096];
    for (size_t size = 0; size <= sizeof data; size = size * 2 + 1) {
        memset(data, 0, sizeof data);
        run_input(data, size);
        memset(data, 0xFF, sizeof data);
        run_input(data, size);
    }
    for (int i = 0; i < N_CHANGED_COPIES; i++) {
        size_t size = (size_t)(next_random() % sizeof data);
        for (size_t at = 0; at < size; at++)
            data[at] = (uint8_t)next_random();
        run_input(data, size);
    }
}

static size_t get_seed(unsigned i, const uint8_t **data)
{
    return fuzz_seed ? fuzz_seed(i, data) : 0;
}

static void run_seeds(void)
{
    const uint8_t *data;
    size_t size;
    for (unsigned i = 0; (size = get_seed(i, &data)) > 0; i++)
        run_all(data, size);
}

static int write_seeds(const char *folder)
{
    const uint8_t *data;
    size_t size;
    for (unsigned i = 0; (size = get_seed(i, &data)) > 0; i++) {
        char path[4096];
        int length = snprintf(path, sizeof path, "%s/seed-%02u", folder, i);
        FILE *file = length > 0 && (size_t)length < sizeof path ? fopen(path, "wb") : NULL;
        int failed = !file || fwrite(data, 1, size, file) != size;
        if (file)
            failed |= fclose(file) != 0;
        if (failed) {
            perror(path);
            return 1;
        }
    }
    return 0;
}

/* $srcdir/fuzz/corpus/<name> for a program called replay_<name>; $srcdir as Automake sets it, or the working folder. */
static int run_own_corpus(const char *program)
{
    const char *source = getenv("srcdir");
    const char *name = strrchr(program, '_');
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/fuzz/corpus/%s", source ? source : ".", name ? name + 1 : "");
    if (!name || length < 0 || (size_t)length >= sizeof path)
        return 1;
    struct stat status;
    if (stat(path, &status) != 0 && errno == ENOENT)
        return 0;
    return run_path(path);
}

int main(int argc, char **argv)
{
    int failed = 0;
    if (argc == 3 && strcmp(argv[1], "--seeds") == 0)
        return write_seeds(argv[2]);
    if (argc > 1) {
        for (int i = 1; i < argc; i++)
            failed |= run_path(argv[i]);
    } else {
        run_built_in();
        run_seeds();
        failed = run_own_corpus(argv[0]);
    }
    (void)printf("%lu inputs\n", n_runs);
    return failed;
}
