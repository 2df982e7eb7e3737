/*
 * check_liverestore: a restore is one step among all changes, for threads that read, write, and add objects meanwhile; and
 * nobody waits for ever.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "build.h"
#include "bytes.h"
#include "world.h"

/* ---- restores are one step ---- */

#define N_VERSIONS 25

static const char *version_path(int version)
{
    char name[32];
    (void)snprintf(name, sizeof name, "version-%d", version);
    return api_path(name);
}

static void write_versions(void)
{
    int64_t keys[N_ROWS], values[N_ROWS];

    for (int version = 0; version <= N_VERSIONS; version++) {
        for (int64_t i = 0; i < N_ROWS; i++) {
            keys[i] = i;
            values[i] = version;
        }
        world_put_both(keys, values, values, N_ROWS);
        world_assign_all(version);
        OK(htstore_checkpoint_write(w.checkpoint, version_path(version), NULL, &api.error));
        ZSTD_ACCEPTS(version_path(version));
    }
}

static int64_t read_weights(void)
{
    static _Thread_local int64_t elements[N_ELEMENTS];
    struct htstore_array value = htstore_vector(HTSTORE_INT64, elements, N_ELEMENTS);

    DONE(htstore_variable_read(w.weights, &value, NULL));
    for (size_t i = 1; i < N_ELEMENTS; i++)
        EXPECT(elements[i] == elements[0]);
    return elements[0];
}

/* Whoever reads the objects in turn never sees one go back behind another: they all switch at once. */
static void *read_versions(void *argument)
{
    int64_t last = 0;

    (void)argument;
    for (int i = 0; !world_is_over(); i++) {
        const int64_t version = i % 7 == 6 ? read_weights() : world_read_version(i % 2 ? w.right : w.left);
        EXPECT(version >= last);
        last = version;
    }
    return NULL;
}

START_TEST(a_restore_switches_all_objects_in_one_step)
{
    struct crew crew = { .n = 0 };

    if (_i) {
        api.options.flags |= HTSTORE_NO_PRELOAD;
        api.options.cache_bytes = 4096;
    }
    world_make();
    write_versions();
    if (_i)
        world_reopen();
    ck_assert_int_eq(world_restore(version_path(0)), 0);
    for (int i = 0; i < 3; i++)
        crew_begin(&crew, read_versions, 0);
    for (int version = 1; version <= N_VERSIONS; version++)
        ck_assert_int_eq(world_restore(version_path(version)), 0);
    crew_stop(&crew);
    ck_assert_int_eq(world_read_version(w.left), N_VERSIONS);
}
END_TEST

/* ---- one place among all changes ---- */

#define N_ROUNDS 30
#define N_AFTER 20 /* batches of each writer after the restore, at least */
#define MAX_BATCHES 3000 /* of a writer in a round */
#define OWN_KEY 1000000

static struct {
    _Atomic unsigned n_begun, n_done; /* restores */
    int64_t base; /* counts of this round begin above it */
    int64_t n_batches[N_WRITERS]; /* of this round */
} round_;

static int64_t count_in(struct htstore_table *table, int64_t writer)
{
    const int64_t key = COUNT_KEY + writer;
    int64_t value = -2;

    world_get(table, &key, &value, 1);
    return value;
}

/* Each batch also leaves a row of its own. While no restore runs, what this thread wrote last is there. */
static void *count_up(void *argument)
{
    const int64_t writer = (int64_t)(intptr_t)argument;
    const unsigned n_done = (unsigned)(round_.base / MAX_BATCHES);
    int n_after = 0;

    round_.n_batches[writer] = 0;
    for (int64_t n = round_.base + 1; n < round_.base + MAX_BATCHES && n_after < N_AFTER && !world_is_over(); n++) {
        n_after += atomic_load(&round_.n_done) > n_done;
        const unsigned done = atomic_load(&round_.n_done), begun = atomic_load(&round_.n_begun);
        const int64_t keys[2] = { COUNT_KEY + writer, OWN_KEY + writer * MAX_BATCHES + n - round_.base - 1 };
        const int64_t values[2] = { n, n };
        world_put_both(keys, values, values, 2);
        round_.n_batches[writer]++;
        atomic_store(&w.acknowledged[writer], (uint64_t)n);
        const int64_t seen = count_in(n % 2 ? w.left : w.right, writer);
        EXPECT(seen == n || seen == 0);
        if (begun == done && atomic_load(&round_.n_begun) == begun)
            EXPECT(seen == n);
    }
    return NULL;
}

/* What was acknowledged before the restore began is gone when it is done. */
static void restore_among_writers(const char *path)
{
    uint64_t before[N_WRITERS];

    atomic_fetch_add(&round_.n_begun, 1);
    world_acknowledged(before);
    ck_assert_int_eq(world_restore(path), 0);
    for (int i = 0; i < N_WRITERS; i++) {
        const int64_t left = count_in(w.left, i);
        ck_assert(left == 0 || (uint64_t)left > before[i]);
    }
    atomic_fetch_add(&round_.n_done, 1);
}

/* In both tables alike: what came before the restore is gone, what came after it is there, and nothing lies between. */
static void check_writer(int64_t writer)
{
    static int64_t keys[MAX_BATCHES], left[MAX_BATCHES], right[MAX_BATCHES];
    const int64_t count = count_in(w.left, writer), n = round_.n_batches[writer];

    for (int64_t i = 0; i < n; i++)
        keys[i] = OWN_KEY + writer * MAX_BATCHES + i;
    world_get(w.left, keys, left, (size_t)n);
    world_get(w.right, keys, right, (size_t)n);
    ck_assert_int_eq(memcmp(left, right, (size_t)n * sizeof *left), 0);
    ck_assert_int_eq(count, count_in(w.right, writer));
    ck_assert_int_eq(count, left[n - 1] == -1 ? 0 : round_.base + n);
    for (int64_t i = 1; i < n; i++)
        ck_assert(left[i - 1] == -1 || left[i] != -1);
}

static void check_round(uint64_t sizes[2])
{
    for (int64_t i = 0; i < N_WRITERS; i++)
        check_writer(i);
    sizes[0] = api_size(w.left);
    sizes[1] = api_size(w.right);
}

START_TEST(a_restore_has_one_place_among_all_changes)
{
    struct crew crew = { .n = 0 };
    uint64_t sizes[2];
    const int64_t none = 0;

    if (_i) {
        api.options.flags |= HTSTORE_NO_PRELOAD;
        api.options.cache_bytes = 4096;
        api.options.delta_bytes = 64u << 10;
    }
    memset(&round_, 0, sizeof round_);
    world_make();
    for (int64_t i = 0; i < N_WRITERS; i++) {
        const int64_t key = COUNT_KEY + i;
        world_put_both(&key, &none, &none, 1);
    }
    OK(htstore_checkpoint_write(w.checkpoint, api_path("file"), NULL, &api.error));
    ZSTD_ACCEPTS(api_path("file"));
    for (int i = 0; i < N_ROUNDS; i++) {
        round_.base = (int64_t)i * MAX_BATCHES;
        for (intptr_t k = 0; k < N_WRITERS; k++)
            crew_begin(&crew, count_up, k);
        restore_among_writers(api_path("file"));
        crew_join(&crew);
        world_check();
        check_round(sizes);
        world_reopen();
        ck_assert_uint_eq(api_size(w.left), sizes[0]); /* on disk too */
        ck_assert_uint_eq(api_size(w.right), sizes[1]);
        check_round(sizes);
    }
    world_check();
}
END_TEST

/* ---- additions while a restore loads ---- */

struct adder {
    struct htstore_mapping *root;
    struct htstore_table *late;
    unsigned n;
};

/* From another thread, as the callback's own must not call into the store. */
static void *add_late(void *argument)
{
    struct adder *adder = argument;
    const struct htstore_bytes key = bytes_of("late");

    DONE(htstore_mapping_put(adder->root, &key, adder->late, NULL));
    EXPECT(world_read_version(w.left) == 7); /* the restore is not over */
    return NULL;
}

static int add_while_loading(void *user, const char *phase, uint64_t done, uint64_t total)
{
    struct adder *adder = user;
    pthread_t thread;

    (void)phase;
    (void)done;
    (void)total;
    if (adder->n++ > 0)
        return 0;
    EXPECT(pthread_create(&thread, NULL, add_late, adder) == 0);
    EXPECT(pthread_join(thread, NULL) == 0);
    return 0;
}

static int add_and_cancel(void *user, const char *phase, uint64_t done, uint64_t total)
{
    struct adder *adder = user;
    if (adder->n > 0)
        return 1;
    return add_while_loading(user, phase, done, total);
}

static void fill(struct htstore_table *table, int64_t number)
{
    int64_t keys[N_ROWS], values[N_ROWS];

    for (int64_t i = 0; i < N_ROWS; i++) {
        keys[i] = i;
        values[i] = number;
    }
    world_put(table, keys, values, N_ROWS);
}

/* A file whose root has "early" with 3 and "late" with 4; and a live root with "early" alone, of 7. */
static void begin_late(struct adder *adder)
{
    struct htstore_mapping *full;
    struct htstore_checkpoint_options options = { .size = sizeof options };
    struct htstore_checkpoint *saver;

    api_open_store();
    w.left = new_table("early");
    adder->late = new_table("late");
    adder->n = 0;
    fill(w.left, 3);
    fill(adder->late, 4);
    full = new_mapping("full", 0);
    PUT(full, "early", w.left);
    PUT(full, "late", adder->late);
    options.root = full;
    OK(htstore_checkpoint_new(api.store, &options, &saver, &api.error));
    OK(htstore_checkpoint_write(saver, api_path("file"), NULL, &api.error));
    ZSTD_ACCEPTS(api_path("file"));
    OK(htstore_checkpoint_close(saver, &api.error));
    fill(w.left, 7);
    fill(adder->late, 8);
    adder->root = new_mapping("root", 0);
    PUT(adder->root, "early", w.left);
    options.root = adder->root;
    OK(htstore_checkpoint_new(api.store, &options, &w.checkpoint, &api.error));
}

START_TEST(what_is_added_while_a_restore_loads_is_restored_with_all_else)
{
    struct adder adder;
    struct htstore_snapshot_options options = { .size = sizeof options,
                                                .progress = add_while_loading,
                                                .progress_user = &adder };
    struct htstore_restore *status;

    begin_late(&adder);
    OK(htstore_checkpoint_restore(w.checkpoint, api_path("file"), &options, &status, &api.error));
    world_check();
    ck_assert_int_eq(world_read_version(w.left), 3);
    ck_assert_int_eq(world_read_version(adder.late), 4);
    OK(htstore_restore_assert_consumed(status, &api.error));
    ck_assert_int_eq(htstore_restore_release(status), 0);
}
END_TEST

START_TEST(a_restore_that_fails_leaves_what_was_added_meanwhile)
{
    struct adder adder;
    struct htstore_snapshot_options options = { .size = sizeof options,
                                                .progress = add_and_cancel,
                                                .progress_user = &adder };
    struct htstore_restore *status;

    begin_late(&adder);
    REFUSED(htstore_checkpoint_restore(w.checkpoint, api_path("file"), &options, &status, &api.error),
            HTSTORE_ECANCELED, "");
    world_check();
    ck_assert_int_eq(world_read_version(w.left), 7);
    ck_assert_int_eq(world_read_version(adder.late), 8);
    KEYS_ARE(adder.root, "early late");
}
END_TEST

/* ---- nobody waits for ever ---- */

#define N_BLOBS 40

/* Rows that fill the memory for unflushed ones again and again. */
static void *press(void *argument)
{
    const int64_t writer = (int64_t)(intptr_t)argument;
    int64_t keys[64], values[64];

    for (int64_t n = 0; n < N_BLOBS && !world_is_over(); n++) {
        for (int64_t i = 0; i < 64; i++) {
            keys[i] = COUNT_KEY + (n * 64 + i) * N_WRITERS + writer;
            values[i] = n;
        }
        world_put_both(keys, values, values, 64);
    }
    return NULL;
}

static void *find_or_insert(void *argument)
{
    const int64_t writer = (int64_t)(intptr_t)argument;
    int64_t values[16], keys[16];
    uint8_t found[16];
    const struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, 16);

    for (int64_t n = 0; n < 3 * N_BLOBS && !world_is_over(); n++) {
        struct htstore_array v = htstore_vector(HTSTORE_INT64, values, 16);
        for (int64_t i = 0; i < 16; i++)
            keys[i] = 100000 + n * 8 + i;
        DONE(htstore_table_find_or_insert(n % 2 ? w.left : w.right, &k, &k, &v, found, 0, NULL));
        for (int i = 0; i < 16; i++)
            EXPECT(values[i] == keys[i]);
        if (n % 10 == 9)
            DONE(htstore_table_remove(writer ? w.left : w.right, &k, found, 0, NULL));
    }
    return NULL;
}

static void *assign_slices(void *argument)
{
    int64_t elements[100] = { 0 };
    const struct htstore_array value = htstore_vector(HTSTORE_INT64, elements, 100);

    (void)argument;
    for (int64_t n = 0; n < N_BLOBS && !world_is_over(); n++)
        DONE(htstore_variable_assign_slice(w.weights, n * 100 % (N_ELEMENTS - 100), &value, NULL));
    return NULL;
}

static void *walk_slowly(void *argument)
{
    struct htstore_arena *arena;
    struct htstore_array k, v;

    (void)argument;
    DONE(htstore_arena_new(&arena, NULL));
    while (!world_is_over()) {
        struct htstore_cursor *cursor;
        int rc;
        DONE(htstore_cursor_open(w.left, &cursor, NULL));
        do {
            rc = htstore_cursor_next(cursor, 50, arena, &k, &v, NULL);
            EXPECT(rc >= 0);
            htstore_arena_reset(arena);
        } while (rc == 0 && !world_is_over());
        htstore_cursor_close(cursor);
    }
    htstore_arena_free(arena);
    return NULL;
}

static void *restore_often(void *argument)
{
    char path[300];

    (void)argument;
    (void)snprintf(path, sizeof path, "%s/file", api.directory);
    for (int i = 0; i < 15 && !world_is_over(); i++) {
        struct htstore_restore *status;
        DONE(htstore_checkpoint_restore(w.checkpoint, path, NULL, &status, NULL));
        if (!world_is_over())
            htstore_restore_release(status);
        DONE(htstore_flush(api.store, NULL));
    }
    return NULL;
}

START_TEST(writers_restores_cursors_and_flushes_never_wait_for_ever)
{
    struct crew crew = { .n = 0 }, cursor = { .n = 0 };

    if (_i) {
        api.options.flags |= HTSTORE_NO_PRELOAD;
        api.options.cache_bytes = 4096;
    }
    api.options.delta_bytes = 64u << 10;
    api.options.segment_bytes = 64u << 10;
    world_make();
    OK(htstore_checkpoint_write(w.checkpoint, api_path("file"), NULL, &api.error));
    ZSTD_ACCEPTS(api_path("file"));
    crew_begin(&cursor, walk_slowly, 0);
    for (intptr_t i = 0; i < 2; i++) {
        crew_begin(&crew, press, i);
        crew_begin(&crew, find_or_insert, i);
        crew_begin(&crew, restore_often, i);
    }
    crew_begin(&crew, assign_slices, 0);
    crew_join(&crew);
    crew_stop(&cursor);
    ck_assert_int_eq(world_restore(api_path("file")), 0);
    ck_assert_int_eq(world_read_version(w.left), START);
    ck_assert_uint_eq(api_size(w.left), N_ROWS);
    htstore_checkpoint_close(w.checkpoint, NULL);
    w.checkpoint = NULL;
    objects_reopen();
}
END_TEST

/* Without this, only a flusher that is lucky gets the lock while contents are built. */
START_TEST(a_build_flushes_for_writers_that_wait)
{
    enum { N_TEXTS = 60, TEXT_SIZE = 1 << 20 }; /* two transactions */
    struct htstore_schema schema = api_schema(HTSTORE_INT64, "''", HTSTORE_STRING);
    struct htstore_table *texts;
    struct hti_build build;
    char *value = calloc(1, TEXT_SIZE + 4);

    api.options.flush_age_ms = UINT32_MAX;
    api_open_store();
    w.left = new_table("left");
    OK(htstore_table_create(api.store, "texts", &schema, &texts, &api.error));
    objects_keep(texts);
    fill(w.left, 1);
    pthread_mutex_lock(&api.store->write_mutex);
    api.store->n_waiting++; /* nobody who wakes the flusher */
    pthread_mutex_unlock(&api.store->write_mutex);
    hti_store_le32((uint8_t *)value, TEXT_SIZE);
    hti_build_init(&build, api.store, &texts->handle.core->type, 1, true);
    for (uint64_t i = 0; i < N_TEXTS; i++) {
        uint8_t key[8];
        hti_store_le64(key, i);
        const struct hti_row row = { key, 8, value, TEXT_SIZE + 4 };
        OK(hti_build_row(&build, &row, &api.error));
        if (i == 0)
            fill(w.left, 2);
    }
    ck_assert_uint_eq(atomic_load(&api.store->applied_lsn), atomic_load(&api.store->visible_lsn));
    pthread_mutex_lock(&api.store->write_mutex);
    api.store->n_waiting--;
    pthread_mutex_unlock(&api.store->write_mutex);
    hti_build_abort(&build);
    hti_build_release(&build);
    free(value);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("liverestore");
    TCase *tests = tcase_create("liverestore");
    tcase_set_timeout(tests, 0); /* the alarm, which also works without a fork */
    tcase_add_checked_fixture(tests, world_setup, world_teardown);
    tcase_add_loop_test(tests, a_restore_switches_all_objects_in_one_step, 0, 2);
    tcase_add_loop_test(tests, a_restore_has_one_place_among_all_changes, 0, 2);
    tcase_add_test(tests, what_is_added_while_a_restore_loads_is_restored_with_all_else);
    tcase_add_test(tests, a_restore_that_fails_leaves_what_was_added_meanwhile);
    tcase_add_loop_test(tests, writers_restores_cursors_and_flushes_never_wait_for_ever, 0, 2);
    tcase_add_test(tests, a_build_flushes_for_writers_that_wait);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
