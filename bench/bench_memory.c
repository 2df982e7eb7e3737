/*
 * bench_memory: what a checkpoint adds to the memory of its process. RssFile is the map of data.mdb, pages of the kernel's
 * cache: RssAnon is what the library takes.
 *
 *     bench_memory [-n ROWS] [-d FLOATS] [-m MIB] [FOLDER]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench_util.h"

#define BATCH 10000u
#define LIMIT ((uint64_t)64 << 20) /* what may be added */

struct setting {
    uint64_t n_rows, n_floats, cache_bytes;
    const char *folder;
    char *store, *snapshot;
};

static void fill(const struct setting *s)
{
    struct htstore_options options = { .size = sizeof options,
                                       .flags = HTSTORE_CREATE | HTSTORE_NO_PRELOAD,
                                       .durability = HTSTORE_LAZY,
                                       .cache_bytes = s->cache_bytes };
    int64_t *keys = bench_alloc(BATCH, sizeof *keys);
    float *values = bench_alloc(BATCH * s->n_floats, sizeof *values);
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_INT64 };
    struct htstore_error error;
    struct htstore_table *table;
    struct htstore *store;
    uint64_t state = 1;

    memset(values, 0, s->n_floats * sizeof *values);
    schema.default_value = htstore_vector(HTSTORE_FLOAT32, values, s->n_floats);
    if (htstore_open(s->store, &options, &store, &error) < 0 ||
        htstore_table_get_or_create(store, "vectors", &schema, &table, &error) < 0)
        bench_stop(&error);
    for (uint64_t done = 0; done < s->n_rows; done += BATCH) {
        for (uint64_t i = 0; i < BATCH; i++)
            keys[i] = (int64_t)(done + i);
        for (uint64_t i = 0; i < BATCH * s->n_floats; i++)
            values[i] = (float)(int32_t)bench_random(&state) * 0x1p-31f;
        struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, BATCH);
        struct htstore_array v = htstore_matrix(HTSTORE_FLOAT32, values, BATCH, s->n_floats);
        if (htstore_table_insert(table, &k, &v, 0, &error) < 0)
            bench_stop(&error);
    }
    if (htstore_table_close(table, &error) < 0 || htstore_close(store, &error) < 0)
        bench_stop(&error);
    free(keys);
    free(values);
}

/* In a process of its own: what it frees must not hide what the save takes. */
static void fill_elsewhere(const struct setting *s)
{
    const pid_t child = fork();
    int status;

    if (child == 0) {
        fill(s);
        _exit(0);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        bench_fail("the store was not filled");
}

static double mib(uint64_t size)
{
    return (double)size / (1 << 20);
}

static void print_memory(const char *name, const struct bench_memory *m)
{
    printf("  %-18s RSS %8.1f MiB  RssAnon %8.1f MiB  RssFile %8.1f MiB\n", name, mib(m->rss), mib(m->anonymous),
           mib(m->file));
}

static uint64_t measure(const struct setting *s)
{
    struct htstore_options options = { .size = sizeof options,
                                       .flags = HTSTORE_NO_PRELOAD,
                                       .cache_bytes = s->cache_bytes };
    struct htstore_checkpoint *checkpoint;
    struct bench_sampler *sampler;
    struct bench_memory before, peak;
    struct htstore_error error;
    struct htstore *store;
    double start, seconds;

    if (htstore_open(s->store, &options, &store, &error) < 0 ||
        htstore_checkpoint_new(store, NULL, &checkpoint, &error) < 0)
        bench_stop(&error);
    bench_read_memory(&before);
    sampler = bench_sampler_start();
    start = bench_now();
    if (htstore_checkpoint_write(checkpoint, s->snapshot, NULL, &error) < 0)
        bench_stop(&error);
    seconds = bench_now() - start;
    bench_sampler_stop(sampler, &peak);
    print_memory("before", &before);
    print_memory("peak of the save", &peak);
    printf("  save %.3f s, checkpoint %.1f MiB\n", seconds, mib(bench_file_size(s->snapshot)));
    if (htstore_checkpoint_close(checkpoint, &error) < 0 || htstore_close(store, &error) < 0)
        bench_stop(&error);
    return peak.anonymous > before.anonymous ? peak.anonymous - before.anonymous : 0;
}

int main(int argc, char **argv)
{
    struct setting s = {
        .n_rows = 4200000, .n_floats = 128, .cache_bytes = (uint64_t)1 << 20, .folder = getenv("TMPDIR")
    };
    char folder[512], *data;
    uint64_t added;
    int c;

    while ((c = getopt(argc, argv, "n:d:m:")) != -1) {
        if (c == 'n')
            s.n_rows = strtoull(optarg, NULL, 0);
        else if (c == 'd')
            s.n_floats = strtoull(optarg, NULL, 0);
        else if (c == 'm')
            s.cache_bytes = strtoull(optarg, NULL, 0) << 20;
        else
            return 2;
    }
    if (optind < argc)
        s.folder = argv[optind];
    if (s.n_rows == 0 || s.n_floats == 0)
        bench_fail("rows or floats are out of range");
    s.n_rows = (s.n_rows + BATCH - 1) / BATCH * BATCH;
    (void)snprintf(folder, sizeof folder, "%s/htstore-bench-XXXXXX", s.folder ? s.folder : "/tmp");
    if (!mkdtemp(folder))
        bench_fail("cannot create %s", folder);
    s.store = bench_path(folder, "store");
    s.snapshot = bench_path(folder, "snapshot");
    bench_print_machine(folder);
    fill_elsewhere(&s);
    data = bench_path(s.store, "data.mdb");
    printf("memory of a checkpoint: %llu rows of int64 -> float32[%llu], data.mdb %.1f MiB\n",
           (unsigned long long)s.n_rows, (unsigned long long)s.n_floats, mib(bench_file_size(data)));
    added = measure(&s);
    printf("  => added: %.1f MiB of RssAnon (wanted at most %.0f): %s\n", mib(added), mib(LIMIT),
           added <= LIMIT ? "reached" : "missed");
    bench_print_load("after");
    bench_shell("rm -rf '%s'", folder);
    free(data);
    free(s.store);
    free(s.snapshot);
    return 0;
}
