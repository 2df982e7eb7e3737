/*
 * bench_checkpoint: a checkpoint against `mdb_copy -c | zstd -1 -T2`, and its restore against `mdb_load` and a plain loop of
 * MDB_APPEND, all of the same rows on the same file system.
 *
 *     bench_checkpoint [-n ROWS] [-r RUNS] [-s SEED] [-l] [-f] [FOLDER]
 *
 * -l also measures mdb_load, which takes minutes for 10 M rows; -f also measures restores that verify all.
 */
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench_util.h"

#define BATCH 100000u
#define ID_BITS 40
#define MAX_COUNT 1000u
#define KEY_SIZE 8u
#define VALUE_SIZE 12u /* an int64 and the checksum of a row */
#define APPENDED_PAGES 45000u /* of one transaction */

struct setting {
    uint64_t n_rows, seed;
    unsigned runs;
    bool with_load, with_verify;
    const char *folder;
    char *store, *snapshot, *copy, *dump, *target;
};

static uint64_t stored_rows; /* some random ids are equal */

static void fill(const struct setting *s)
{
    struct htstore_options options = { .size = sizeof options, .flags = HTSTORE_CREATE, .durability = HTSTORE_LAZY };
    int64_t zero = 0, *keys = bench_alloc(BATCH, sizeof *keys), *values = bench_alloc(BATCH, sizeof *values);
    struct htstore_schema schema = { .size = sizeof schema,
                                     .key_dtype = HTSTORE_INT64,
                                     .default_value = htstore_scalar(HTSTORE_INT64, &zero) };
    struct htstore_error error;
    struct htstore_table *table;
    struct htstore *store;
    uint64_t state = s->seed;

    if (htstore_open(s->store, &options, &store, &error) < 0 ||
        htstore_table_get_or_create(store, "counts", &schema, &table, &error) < 0)
        bench_stop(&error);
    for (uint64_t done = 0; done < s->n_rows;) {
        const uint64_t n = s->n_rows - done < BATCH ? s->n_rows - done : BATCH;
        for (uint64_t i = 0; i < n; i++) {
            keys[i] = (int64_t)(bench_random(&state) >> (64 - ID_BITS));
            values[i] = (int64_t)(bench_random(&state) % MAX_COUNT);
        }
        struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, n), v = htstore_vector(HTSTORE_INT64, values, n);
        if (htstore_table_insert(table, &k, &v, 0, &error) < 0)
            bench_stop(&error);
        done += n;
    }
    if (htstore_flush(store, &error) < 0 || htstore_table_size(table, &stored_rows, &error) < 0 ||
        htstore_table_close(table, &error) < 0 || htstore_close(store, &error) < 0)
        bench_stop(&error);
    free(keys);
    free(values);
}

/* --- checkpoint --- */

static struct bench_span save(const struct setting *s, struct htstore_checkpoint *checkpoint)
{
    struct htstore_error error;
    struct bench_span start;

    (void)unlink(s->snapshot);
    start = bench_begin();
    if (htstore_checkpoint_write(checkpoint, s->snapshot, NULL, &error) < 0)
        bench_stop(&error);
    return bench_end(start);
}

static void print_ratios(const struct setting *s, const struct bench_times *ours, const struct bench_times *theirs)
{
    const uint64_t mine = bench_file_size(s->snapshot);

    printf("  checkpoint %llu bytes = %.2f a row\n", (unsigned long long)mine, (double)mine / (double)stored_rows);
    if (theirs->n == 0)
        return;
    const uint64_t copied = bench_file_size(s->copy);
    printf("  mdb_copy | zstd %llu bytes = %.2f a row\n", (unsigned long long)copied,
           (double)copied / (double)stored_rows);
    printf("  => checkpoint: %.2f x as fast (wanted 3), %.2f x smaller (wanted 2.5)\n",
           bench_median(theirs) / bench_median(ours), (double)copied / (double)mine);
    printf("     by time of processors: %.2f x\n", bench_median_cpu(theirs) / bench_median_cpu(ours));
}

static void measure_checkpoint(const struct setting *s)
{
    struct htstore_options options = { .size = sizeof options, .flags = HTSTORE_NO_PRELOAD };
    const char *missing = !bench_has_tool("mdb_copy") ? "not measured: mdb_copy missing"
                          : !bench_has_tool("zstd")   ? "not measured: zstd missing"
                                                      : NULL;
    struct bench_times ours = { 0 }, theirs = { 0 }, read = { 0 };
    char *data = bench_path(s->store, "data.mdb");
    struct htstore_checkpoint *checkpoint;
    struct htstore_error error;
    struct htstore *store;

    if (htstore_open(s->store, &options, &store, &error) < 0 ||
        htstore_checkpoint_new(store, NULL, &checkpoint, &error) < 0)
        bench_stop(&error);
    printf("checkpoint of %llu rows, data.mdb %llu bytes\n", (unsigned long long)stored_rows,
           (unsigned long long)bench_file_size(data));
    save(s, checkpoint); /* not counted: the first touch of memory and files */
    for (unsigned i = 0; i < s->runs; i++) {
        bench_add(&read, bench_read_file(data));
        bench_add(&ours, save(s, checkpoint));
        if (!missing)
            bench_add(&theirs, bench_shell("mdb_copy -c '%s' | zstd -1 -T2 -q -f -o '%s'", s->store, s->copy));
    }
    bench_print("read data.mdb (pread, 1 MiB)", &read, stored_rows, "");
    bench_print("htstore_checkpoint_write, synced", &ours, stored_rows, "");
    bench_print("mdb_copy -c | zstd -1 -T2, not synced", &theirs, stored_rows, missing);
    print_ratios(s, &ours, &theirs);
    if (htstore_checkpoint_close(checkpoint, &error) < 0 || htstore_close(store, &error) < 0)
        bench_stop(&error);
    free(data);
}

/* --- restore --- */

static void remove_target(const struct setting *s)
{
    bench_shell("rm -rf '%s'", s->target);
}

static struct bench_span restore(const struct setting *s, uint32_t flags)
{
    struct htstore_snapshot_restore_options options = { .size = sizeof options, .flags = flags };
    struct htstore_error error;
    struct bench_span start;

    remove_target(s);
    start = bench_begin();
    if (htstore_snapshot_restore(s->snapshot, -1, s->target, &options, NULL, &error) < 0)
        bench_stop(&error);
    return bench_end(start);
}

/* The rows as they are stored, in order, for the plain loop. */
static uint8_t *sort_rows(const struct setting *s)
{
    uint8_t *rows = bench_alloc(stored_rows, KEY_SIZE + VALUE_SIZE), *at = rows;
    MDB_val key, value;
    MDB_cursor *cursor;
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;

    if (mdb_env_create(&env) != 0 || mdb_env_set_maxdbs(env, 16) != 0 ||
        mdb_env_set_mapsize(env, (size_t)1 << 40) != 0 || mdb_env_open(env, s->store, MDB_RDONLY, 0600) != 0 ||
        mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0 || mdb_dbi_open(txn, NULL, 0, &dbi) != 0 ||
        mdb_cursor_open(txn, dbi, &cursor) != 0)
        bench_fail("cannot read %s", s->store);
    while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        char name[64];
        MDB_cursor *row;
        if (key.mv_size >= sizeof name || *(const char *)key.mv_data != 't')
            continue;
        memcpy(name, key.mv_data, key.mv_size);
        name[key.mv_size] = 0;
        if (mdb_dbi_open(txn, name, 0, &dbi) != 0 || mdb_cursor_open(txn, dbi, &row) != 0)
            bench_fail("cannot read %s", name);
        MDB_val k, v;
        while (mdb_cursor_get(row, &k, &v, MDB_NEXT) == 0) {
            if (k.mv_size != KEY_SIZE || v.mv_size != VALUE_SIZE || at == rows + stored_rows * (KEY_SIZE + VALUE_SIZE))
                bench_fail("unexpected rows in %s", name);
            memcpy(at, k.mv_data, KEY_SIZE);
            memcpy(at + KEY_SIZE, v.mv_data, VALUE_SIZE);
            at += KEY_SIZE + VALUE_SIZE;
        }
        mdb_cursor_close(row);
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    mdb_env_close(env);
    return rows;
}

/* As many rows as fill the pages of a transaction. */
static uint64_t append_some(MDB_env *env, uint64_t first, const uint8_t *rows)
{
    const uint64_t rows_of_page = 4080 / (8 + KEY_SIZE + VALUE_SIZE + 2);
    const uint64_t most = first + rows_of_page * APPENDED_PAGES;
    const uint64_t end = most < stored_rows ? most : stored_rows;
    MDB_cursor *cursor;
    MDB_txn *txn;
    MDB_dbi dbi;

    if (mdb_txn_begin(env, NULL, 0, &txn) != 0 || mdb_dbi_open(txn, "rows", MDB_CREATE, &dbi) != 0 ||
        mdb_cursor_open(txn, dbi, &cursor) != 0)
        bench_fail("cannot begin to append");
    for (uint64_t i = first; i < end; i++) {
        const uint8_t *row = rows + i * (KEY_SIZE + VALUE_SIZE);
        MDB_val k = { KEY_SIZE, (void *)(uintptr_t)row }, v = { VALUE_SIZE, (void *)(uintptr_t)(row + KEY_SIZE) };
        if (mdb_cursor_put(cursor, &k, &v, MDB_APPEND) != 0)
            bench_fail("cannot append");
    }
    mdb_cursor_close(cursor);
    if (mdb_txn_commit(txn) != 0)
        bench_fail("cannot commit");
    return end;
}

static struct bench_span append_all(const struct setting *s, const uint8_t *rows)
{
    MDB_env *env;
    struct bench_span start;

    remove_target(s);
    start = bench_begin();
    if (mkdir(s->target, 0700) != 0 || mdb_env_create(&env) != 0 || mdb_env_set_maxdbs(env, 4) != 0 ||
        mdb_env_set_mapsize(env, (size_t)1 << 40) != 0 || mdb_env_open(env, s->target, 0, 0600) != 0)
        bench_fail("cannot create %s", s->target);
    for (uint64_t i = 0; i < stored_rows;)
        i = append_some(env, i, rows);
    mdb_env_close(env);
    return bench_end(start);
}

static struct bench_span load(const struct setting *s)
{
    remove_target(s);
    bench_shell("mkdir '%s'", s->target);
    return bench_shell("mdb_load -f '%s' '%s'", s->dump, s->target);
}

static void measure_restore(const struct setting *s)
{
    const char *missing = !s->with_load                 ? "not measured: -l asks for it"
                          : !bench_has_tool("mdb_load") ? "not measured: mdb_load missing"
                          : !bench_has_tool("mdb_dump") ? "not measured: mdb_dump missing"
                                                        : NULL;
    struct bench_times none = { 0 }, full = { 0 }, append = { 0 }, loaded = { 0 };
    uint8_t *rows = sort_rows(s);

    printf("restore of %llu rows\n", (unsigned long long)stored_rows);
    if (!missing) { /* all databases, as one after the other: the order of the dump is that of the keys */
        bench_shell("mdb_dump -a '%s' >'%s'", s->store, s->dump);
        bench_add(&loaded, load(s));
    }
    restore(s, HTSTORE_VERIFY_NONE);
    for (unsigned i = 0; i < s->runs; i++) {
        bench_add(&none, restore(s, HTSTORE_VERIFY_NONE));
        bench_add(&append, append_all(s, rows));
        if (s->with_verify)
            bench_add(&full, restore(s, 0));
    }
    bench_print("htstore_snapshot_restore, no second reading", &none, stored_rows, "");
    bench_print("htstore_snapshot_restore, verified in full", &full, stored_rows, "not measured: -f asks for it");
    bench_print("MDB_APPEND loop, rows sorted in memory", &append, stored_rows, "");
    bench_print("mdb_load of mdb_dump -a", &loaded, stored_rows, missing);
    printf("  => restore: %.2f x as fast as the MDB_APPEND loop (wanted 1.0)\n",
           bench_median(&append) / bench_median(&none));
    printf("     by time of processors, the decoding included: %.2f x\n",
           bench_median_cpu(&append) / bench_median_cpu(&none));
    if (full.n > 0)
        printf("  => restore, verified in full: %.2f x as fast as the MDB_APPEND loop\n",
               bench_median(&append) / bench_median(&full));
    if (loaded.n > 0)
        printf("  => restore: %.1f x as fast as mdb_load (wanted 10)\n", bench_median(&loaded) / bench_median(&none));
    remove_target(s);
    free(rows);
}

/* --- the whole --- */

static void read_arguments(int argc, char **argv, struct setting *s)
{
    int c;

    while ((c = getopt(argc, argv, "n:r:s:lf")) != -1) {
        if (c == 'n')
            s->n_rows = strtoull(optarg, NULL, 0);
        else if (c == 'r')
            s->runs = (unsigned)strtoul(optarg, NULL, 0);
        else if (c == 's')
            s->seed = strtoull(optarg, NULL, 0);
        else if (c == 'l')
            s->with_load = true;
        else if (c == 'f')
            s->with_verify = true;
        else
            exit(2);
    }
    if (optind < argc)
        s->folder = argv[optind];
    if (s->n_rows == 0 || s->runs == 0 || s->runs > BENCH_MAX_RUNS)
        bench_fail("rows or runs are out of range");
}

int main(int argc, char **argv)
{
    struct setting s = { .n_rows = 10000000, .seed = 1, .runs = 5, .folder = getenv("TMPDIR") };
    char folder[512];

    read_arguments(argc, argv, &s);
    (void)snprintf(folder, sizeof folder, "%s/htstore-bench-XXXXXX", s.folder ? s.folder : "/tmp");
    if (!mkdtemp(folder))
        bench_fail("cannot create %s", folder);
    s.store = bench_path(folder, "store");
    s.snapshot = bench_path(folder, "snapshot");
    s.copy = bench_path(folder, "copy.zst");
    s.dump = bench_path(folder, "dump");
    s.target = bench_path(folder, "target");
    bench_print_machine(folder);
    printf("rows: int64 ids of %d random bits, int64 counts below %u, seed %llu\n", ID_BITS, MAX_COUNT,
           (unsigned long long)s.seed);
    fill(&s);
    measure_checkpoint(&s);
    measure_restore(&s);
    bench_print_load("after");
    bench_shell("rm -rf '%s'", folder);
    free(s.store);
    free(s.snapshot);
    free(s.copy);
    free(s.dump);
    free(s.target);
    return 0;
}
