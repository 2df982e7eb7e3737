/*
 * check_stress: everything at once, for some seconds: readers, two writers, the flusher, checkpoints, tables that grow, are
 * emptied and come back, handles that come and go; with hardly any memory for tables, and with plenty. What must hold all the
 * time: a batch is seen entirely or not at all, and nobody sees an older state after a newer one. For ThreadSanitizer above all.
 *
 * HTSTORE_STRESS_MS in the environment: how long each test runs, ms.
 */
#include "api_util.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_MS 1200
#define N_READERS 2
#define N_WRITERS 2
#define N_SET 40 /* keys of a writer that always change together */
#define N_FILL 6000 /* other keys, which come and go, so that the table grows */
#define N_BEHIND 8
#define MAX_THREADS 12

static _Atomic int wrong_line, wrong_result;
static _Atomic bool stop;
static _Atomic uint64_t n_lookups, n_batches, n_checkpoints, n_openings;
static _Atomic int64_t acknowledged[N_WRITERS]; /* version of each writer's set that its last call returned for */

static void note(int line, int result)
{
    int none = 0;
    if (atomic_compare_exchange_strong(&wrong_line, &none, line))
        atomic_store(&wrong_result, result);
    atomic_store(&stop, true);
}

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            note(__LINE__, 0);                                                                                         \
    } while (0)
#define DONE(call) expect_done(__LINE__, (call))

static void expect_done(int line, int result)
{
    if (result != 0)
        note(line, result);
}

/* ---- what a set of keys says ---- */

static struct htstore_table *words; /* string -> int64: the same versions, under other keys */

static int64_t key_of(int writer, size_t i)
{
    return (int64_t)(i * 1000003 + (size_t)writer + 1) * 7919;
}

/* Keys of a set, in an order that each caller may choose; `reversed` finds what one order would hide. */
static void fill_keys(int64_t *keys, int writer, bool reversed)
{
    for (size_t i = 0; i < N_SET; i++)
        keys[i] = key_of(writer, reversed ? N_SET - 1 - i : i);
}

struct word_space {
    char text[N_SET][40];
    struct htstore_bytes words[N_SET];
};

static struct htstore_array fill_words(struct word_space *space, int writer)
{
    for (size_t i = 0; i < N_SET; i++) {
        memset(space->text[i], 'a' + writer, sizeof space->text[i]);
        space->text[i][0] = (char)('A' + i);
        space->words[i] = (struct htstore_bytes){ .data = space->text[i], .size = i % 2 ? 6 : sizeof space->text[i] };
    }
    return htstore_vector(HTSTORE_STRING, space->words, N_SET);
}

static struct htstore_array vector(const int64_t *elements, size_t n)
{
    return htstore_vector(HTSTORE_INT64, elements, n);
}

/* All keys have one version, or none has any (-1); never an older one than before, or than was acknowledged before. */
static void expect_one_version(int line, const int64_t *versions, int writer, int64_t known, int64_t *last)
{
    for (size_t i = 1; i < N_SET; i++)
        if (versions[i] != versions[0])
            note(line, 1);
    if (versions[0] < known || versions[0] < *last)
        note(line, 2 + writer);
    *last = versions[0];
}

/* ---- readers ---- */

static void *read_sets(void *argument)
{
    const size_t number = (size_t)(uintptr_t)argument;
    int64_t last[N_WRITERS] = { 0 }, last_word[N_WRITERS] = { 0 }, keys[N_SET + N_FILL / 8], values[N_SET + N_FILL / 8];
    uint8_t found[N_SET + N_FILL / 8];
    struct word_space space;

    for (uint64_t round = number; !atomic_load(&stop); round++) {
        const int writer = (int)(round % N_WRITERS);
        const size_t n = round % 3 ? N_SET : N_SET + N_FILL / 8;
        int64_t known = atomic_load(&acknowledged[writer]);
        fill_keys(keys, writer, round % 4 < 2);
        for (size_t i = N_SET; i < n; i++)
            keys[i] = (int64_t)((round * 31 + i) % N_FILL); /* present or not: 1000000 + key, or the default */
        struct htstore_array k = vector(keys, n), v = vector(values, n), w;
        DONE(htstore_table_lookup(api.table, &k, NULL, &v, round % 2 ? found : NULL, NULL));
        expect_one_version(__LINE__, values, writer, known, &last[writer]);
        for (size_t i = N_SET; i < n; i++)
            EXPECT(values[i] == (round % 2 && found[i] ? 1000000 + keys[i] : values[i] == -1 ? -1 : 1000000 + keys[i]));
        k = htstore_scalar(HTSTORE_INT64, &keys[round % N_SET]); /* one key, as others see it afterwards */
        v = htstore_scalar(HTSTORE_INT64, values);
        DONE(htstore_table_lookup(api.table, &k, NULL, &v, NULL, NULL));
        EXPECT(values[0] >= last[writer]);
        last[writer] = values[0];
        known = atomic_load(&acknowledged[writer]);
        w = fill_words(&space, writer);
        v = vector(values, N_SET);
        DONE(htstore_table_lookup(words, &w, NULL, &v, NULL, NULL));
        expect_one_version(__LINE__, values, writer, known, &last_word[writer]);
        atomic_fetch_add(&n_lookups, 3);
    }
    return NULL;
}

/* Two halves of a set that do not change together: the second half follows the first one after some steps. */
static void *read_followers(void *argument)
{
    int64_t keys[N_SET], values[N_SET] = { 0 };
    (void)argument;

    fill_keys(keys, N_WRITERS, false);
    const struct htstore_array k = vector(keys, N_SET);
    struct htstore_array v = vector(values, N_SET);
    while (!atomic_load(&stop)) {
        DONE(htstore_table_lookup(api.table, &k, NULL, &v, NULL, NULL));
        const int64_t first = values[0], second = values[N_SET - 1];
        for (size_t i = 1; i < N_SET; i++)
            EXPECT(values[i] == (i < N_SET / 2 ? first : second));
        EXPECT(first >= second && first <= second + N_BEHIND);
    }
    return NULL;
}

/* ---- writers ---- */

/* Both tables get the next version in one step; sometimes all keys are removed and inserted within it. */
static void write_version(int writer, int64_t version)
{
    int64_t keys[N_SET], versions[N_SET];
    struct word_space space;
    struct htstore_batch *batch = NULL;

    fill_keys(keys, writer, version % 2);
    for (size_t i = 0; i < N_SET; i++)
        versions[i] = version;
    const struct htstore_array k = vector(keys, N_SET), v = vector(versions, N_SET), w = fill_words(&space, writer);
    DONE(htstore_batch_new(api.store, &batch, NULL));
    if (version % 5 == 0) {
        DONE(htstore_batch_remove(batch, api.table, &k, NULL));
        DONE(htstore_batch_remove(batch, words, &w, NULL));
    }
    DONE(version % 10 ? htstore_batch_insert(batch, api.table, &k, &v, NULL)
                      : htstore_batch_insert_new(batch, api.table, &k, &v, NULL));
    DONE(htstore_batch_insert(batch, words, &w, &v, NULL));
    DONE(htstore_batch_commit(batch, version % 100 ? 0 : HTSTORE_SYNC, NULL));
    htstore_batch_free(batch);
}

/* Keys beside the set come in and go, so that the arrays grow. */
static void write_fill(int writer, int64_t round)
{
    int64_t keys[100], values[100];
    uint8_t removed[100];

    for (size_t i = 0; i < 100; i++) {
        keys[i] = (round * 100 + (int64_t)i) * N_WRITERS % N_FILL + writer;
        values[i] = 1000000 + keys[i];
    }
    const struct htstore_array k = vector(keys, 100), v = vector(values, 100);
    if (round % 100 < 70)
        DONE(htstore_table_insert(api.table, &k, &v, 0, NULL));
    else
        DONE(htstore_table_remove(api.table, &k, removed, 0, NULL));
}

static void *write_sets(void *argument)
{
    const int writer = (int)(uintptr_t)argument;

    for (int64_t version = 2; !atomic_load(&stop); version++) {
        write_version(writer, version);
        atomic_store(&acknowledged[writer], version);
        atomic_fetch_add(&n_batches, 1);
        if (version % 2)
            write_fill(writer, version / 2);
    }
    return NULL;
}

static void *write_followers(void *argument)
{
    int64_t keys[N_SET], versions[N_SET];
    (void)argument;

    fill_keys(keys, N_WRITERS, false);
    for (int64_t version = 0; !atomic_load(&stop); version++) {
        for (size_t i = 0; i < N_SET; i++)
            versions[i] = version;
        struct htstore_array k = vector(keys, N_SET / 2), v = vector(versions, N_SET / 2);
        DONE(htstore_table_insert(api.table, &k, &v, 0, NULL));
        k.data = keys + N_SET / 2;
        if (version % N_BEHIND == 0)
            DONE(htstore_table_insert(api.table, &k, &v, 0, NULL));
    }
    return NULL;
}

/* ---- what else goes on ---- */

static void *write_checkpoints(void *argument)
{
    struct htstore_checkpoint_options options = { .size = sizeof options };
    const int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)argument;

    EXPECT(fd >= 0);
    while (!atomic_load(&stop)) {
        struct htstore_checkpoint *checkpoint = NULL;
        DONE(htstore_checkpoint_new(api.store, &options, &checkpoint, NULL));
        DONE(htstore_checkpoint_write_fd(checkpoint, fd, NULL, NULL));
        DONE(htstore_checkpoint_close(checkpoint, NULL));
        atomic_fetch_add(&n_checkpoints, 1);
    }
    close(fd);
    return NULL;
}

/* A handle more on each table, and a table of its own that is filled, read, emptied and closed. */
static void *open_and_close(void *argument)
{
    int64_t keys[500], values[500], unknown = -1;
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_INT64 };
    (void)argument;

    schema.default_value = htstore_scalar(HTSTORE_INT64, &unknown);
    for (int64_t round = 0; !atomic_load(&stop); round++) {
        struct htstore_table *again = NULL, *own = NULL;
        DONE(htstore_table_open(api.store, "numbers", NULL, &again, NULL));
        DONE(htstore_table_get_or_create(api.store, "own", &schema, &own, NULL));
        for (int64_t i = 0; i < 500; i++) {
            keys[i] = i * (1 + round % 7);
            values[i] = i + round;
        }
        const struct htstore_array k = vector(keys, 500), v = vector(values, 500);
        struct htstore_array out = vector(values, 500);
        DONE(htstore_table_insert(own, &k, &v, 0, NULL));
        if (round % 3 == 0)
            DONE(htstore_table_clear(own, 0, NULL));
        DONE(htstore_table_lookup(own, &k, NULL, &out, NULL, NULL));
        for (int64_t i = 0; i < 500; i++)
            EXPECT(values[i] == (round % 3 == 0 ? -1 : i + round));
        DONE(htstore_table_close(again, NULL));
        DONE(htstore_table_close(own, NULL));
        atomic_fetch_add(&n_openings, 1);
    }
    return NULL;
}

static void *export_sets(void *argument)
{
    struct htstore_arena *arena = NULL;
    int64_t last[N_WRITERS] = { 0 };
    (void)argument;

    DONE(htstore_arena_new(&arena, NULL));
    while (!atomic_load(&stop)) {
        struct htstore_array keys, values;
        int64_t version[N_WRITERS] = { 0 };
        size_t n[N_WRITERS] = { 0 };
        DONE(htstore_table_export(words, arena, &keys, &values, NULL));
        for (int64_t i = 0; !atomic_load(&stop) && i < keys.shape[0]; i++) {
            const struct htstore_bytes *word = (const struct htstore_bytes *)keys.data + i;
            const int writer = ((const char *)word->data)[1] - 'a';
            const int64_t own = ((const int64_t *)values.data)[i];
            EXPECT(n[writer]++ == 0 || own == version[writer]);
            version[writer] = own;
        }
        for (int writer = 0; writer < N_WRITERS && !atomic_load(&stop); writer++) {
            EXPECT(n[writer] == N_SET && version[writer] >= last[writer]);
            last[writer] = version[writer];
        }
        htstore_arena_reset(arena);
    }
    htstore_arena_free(arena);
    return NULL;
}

/* ---- tests ---- */

static pthread_t threads[MAX_THREADS];
static int n_threads;

static void start(int n, void *(*run)(void *))
{
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(pthread_create(&threads[n_threads++], NULL, run, (void *)(uintptr_t)i), 0);
}

static void run_for(double part)
{
    const char *text = getenv("HTSTORE_STRESS_MS");
    const double ms = part * (text && *text ? strtod(text, NULL) : DEFAULT_MS);
    struct timespec now, end;

    clock_gettime(CLOCK_MONOTONIC, &end);
    do {
        const struct timespec pause = { .tv_nsec = 5000000 };
        nanosleep(&pause, NULL);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (!atomic_load(&stop) &&
             (double)(now.tv_sec - end.tv_sec) * 1e3 + (double)(now.tv_nsec - end.tv_nsec) / 1e6 < ms);
    atomic_store(&stop, true);
    for (int i = 0; i < n_threads; i++)
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    n_threads = 0;
    ck_assert_msg(!wrong_line, "line %d of a thread, result %d", wrong_line, wrong_result);
}

static void setup(void)
{
    alarm(100);
    api_setup();
    atomic_store(&wrong_line, 0);
    atomic_store(&stop, false);
    n_lookups = n_batches = n_checkpoints = n_openings = 0;
    api.options.durability = HTSTORE_LAZY;
}

static void teardown(void)
{
    api_teardown();
    alarm(0);
}

/* Memory for tables, how they come into it, and memory for unflushed rows. */
static const struct {
    uint64_t cache_bytes, delta_bytes;
    uint32_t flags;
} variants[] = {
    { 0, 64u << 10, 0 }, /* all rows in memory, flushed all the time */
    { 16u << 10, 64u << 10, HTSTORE_NO_PRELOAD }, /* hardly any */
    { 128u << 10, 512u << 10, 0 }, /* less than the tables grow to */
};
#define N_VARIANTS 3

static void open_tables(void)
{
    struct htstore_schema schema = api_schema(HTSTORE_STRING, "-1", HTSTORE_INT64);

    api_open_store();
    OK(htstore_table_get_or_create(api.store, "words", &schema, &words, &api.error));
    schema.key_dtype = HTSTORE_INT64;
    OK(htstore_table_get_or_create(api.store, "numbers", &schema, &api.table, &api.error));
}

static void close_tables(void)
{
    OK(htstore_table_close(words, &api.error));
    api_close_store();
}

/* What was acknowledged last is there after the store was closed and opened. */
static void expect_versions(void)
{
    int64_t keys[N_SET], values[N_SET] = { 0 };

    for (int writer = 0; writer < N_WRITERS; writer++) {
        int64_t last = 0;
        fill_keys(keys, writer, false);
        const struct htstore_array k = vector(keys, N_SET);
        struct htstore_array v = vector(values, N_SET);
        OK(htstore_table_lookup(api.table, &k, NULL, &v, NULL, &api.error));
        expect_one_version(__LINE__, values, writer, acknowledged[writer], &last);
        ck_assert_int_eq(values[0], acknowledged[writer]);
    }
    ck_assert_msg(!wrong_line, "after reopening");
}

START_TEST(everything_at_once_shows_whole_batches_in_order)
{
    api.options.cache_bytes = variants[_i].cache_bytes;
    api.options.delta_bytes = variants[_i].delta_bytes;
    api.options.flags |= variants[_i].flags;
    open_tables();
    for (int writer = 0; writer < N_WRITERS; writer++) {
        write_version(writer, 1);
        atomic_store(&acknowledged[writer], 1);
    }
    close_tables(); /* so that there is something to load, or to be read from LMDB */
    open_tables();
    start(N_READERS, read_sets);
    start(N_WRITERS, write_sets);
    start(1, read_followers);
    start(1, write_followers);
    start(1, write_checkpoints);
    start(1, open_and_close);
    start(1, export_sets);
    run_for(1);
    ck_assert(n_lookups > 10 && n_batches > 10 && n_checkpoints > 0 && n_openings > 0);
    ck_assert_uint_gt(api_stats().flushes, 1);
    close_tables();
    open_tables();
    expect_versions();
    close_tables();
}
END_TEST

static void *look_for_rows(void *argument)
{
    int64_t keys[N_SET], values[N_SET] = { 0 };
    (void)argument;

    for (size_t i = 0; i < N_SET; i++)
        keys[i] = (int64_t)i;
    const struct htstore_array k = vector(keys, N_SET);
    struct htstore_array v = vector(values, N_SET);
    while (!atomic_load(&stop)) {
        DONE(htstore_table_lookup(api.table, &k, NULL, &v, NULL, NULL));
        for (size_t i = 0; i < N_SET; i++)
            EXPECT(values[i] == -1);
    }
    return NULL;
}

/* A flush that has nothing of a table but that it was cleared: until it has come to the end LMDB still has the rows. */
START_TEST(a_table_that_was_cleared_stays_empty_while_that_is_flushed)
{
    int64_t keys[5000];

    api.options.flags |= HTSTORE_NO_PRELOAD;
    open_tables();
    for (size_t i = 0; i < 5000; i++)
        keys[i] = (int64_t)i;
    const struct htstore_array k = vector(keys, 5000);
    for (int round = 0; round < 8; round++) {
        OK(htstore_table_insert(api.table, &k, &k, 0, &api.error));
        close_tables();
        open_tables();
        OK(htstore_table_clear(api.table, 0, &api.error));
        atomic_store(&stop, false);
        start(1, look_for_rows);
        OK(htstore_flush(api.store, &api.error));
        run_for(0);
    }
    close_tables();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("stress");
    TCase *tests = tcase_create("stress");

    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, everything_at_once_shows_whole_batches_in_order, 0, N_VARIANTS);
    tcase_add_test(tests, a_table_that_was_cleared_stays_empty_while_that_is_flushed);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
