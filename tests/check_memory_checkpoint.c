/*
 * check_memory_checkpoint: saving, restoring, deferred puts, new stores, comparisons and checks with the first, second,
 * third … allocation failing, once or from then on: HTSTORE_ENOMEM and nothing changed, or success. Afterwards it works.
 */
#include "checkpoint_util.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"

#define MAX_ALLOCATIONS 5000

static struct htstore_table *t;
static struct htstore_variable *v;
static struct htstore_mapping *m;
static struct htstore_checkpoint *checkpoint;
static const char *path;

/* The state that no failed call may change. */
static void reset(void)
{
    set_rows(t, "[live]", "[5]");
    set_number(v, 8);
}

static void expect_reset(void)
{
    ROWS_ARE(t, "[live]", "[5]");
    ck_assert_int_eq(number_of(v), 8);
}

static void expect_restored(void)
{
    ROWS_ARE(t, "[a b]", "[1 2]");
    ck_assert_int_eq(number_of(v), 7);
}

static void setup(void)
{
    checkpoint_setup();
    api.options.durability = HTSTORE_LAZY;
    objects_reopen();
    m = new_mapping("m", 0);
    t = words_table("t", 0);
    v = new_variable("v", HTSTORE_WEIGHT, 0, "7");
    struct htstore_table *late = words_table("late", 0), *large;
    struct htstore_schema schema = api_schema(HTSTORE_INT64, "-", HTSTORE_STRING);
    OK(htstore_table_create(api.store, "large", &schema, &large, &api.error));
    objects_keep(large);
    const struct htstore_bytes value = long_key('x', 1200000);
    const struct htstore_array k = api_array(HTSTORE_INT64, "1"), row = htstore_scalar(HTSTORE_STRING, &value);
    OK(htstore_table_insert(large, &k, &row, 0, &api.error));
    set_rows(t, "[a b]", "[1 2]");
    set_rows(late, "[l]", "[3]");
    struct htstore_mapping *old = new_mapping(NULL, 0);
    PUT(old, "late", late);
    checkpoint = root_list("[large old t v]", large, old, t, v);
    path = save(checkpoint);
    close_checkpoint(checkpoint);
    checkpoint = root_list("[large old t v]", large, m, t, v);
    reset();
}

/* ---- the operations; each says itself what it must have left ---- */

static unsigned n_tries; /* for names that are not taken */
static uint64_t failing; /* allocation */
static bool sticky;
static bool failed; /* did it? */

static void arm(void)
{
    hti_mem_test_fail(failing, sticky);
}

static void disarm(void)
{
    failed = failed || hti_mem_test_failed();
    hti_mem_test_fail(UINT64_MAX, false);
}

static int run_save(void)
{
    char name[32];
    const char *made = NULL;
    const int64_t counter = htstore_checkpoint_save_counter(checkpoint);
    (void)snprintf(name, sizeof name, "s%u", n_tries++);
    const int rc = htstore_checkpoint_save(checkpoint, api_path(name), NULL, api.arena, &made, &api.error);
    disarm();
    ck_assert_int_eq(htstore_checkpoint_save_counter(checkpoint), counter + (rc == 0));
    if (rc == 0) {
        OK(htstore_check(made, NULL, NULL, &api.error));
        ZSTD_ACCEPTS(made);
    }
    return rc;
}

static int run_restore(void)
{
    struct htstore_restore *status = (struct htstore_restore *)&api;
    const int rc = htstore_checkpoint_restore(checkpoint, path, NULL, &status, &api.error);
    disarm();
    if (rc != 0) {
        ck_assert_ptr_null(status);
        expect_reset();
        return rc;
    }
    expect_restored();
    ck_assert_int_eq(htstore_restore_release(status), 1);
    reset();
    return 0;
}

static int run_checkpoint_new(void)
{
    const struct htstore_entry entries[] = { { bytes_of("a"), t }, { bytes_of("b"), v }, { bytes_of("a"), t } };
    const struct htstore_checkpoint_options options = {
        .size = sizeof options, .root = m, .entries = entries, .n_entries = 3
    };
    struct htstore_checkpoint *made = (struct htstore_checkpoint *)&api;
    const int rc = htstore_checkpoint_new(api.store, &options, &made, &api.error);
    if (rc != 0) {
        ck_assert_ptr_null(made);
        return rc;
    }
    return htstore_checkpoint_close(made, &api.error);
}

/* A put that is served. */
static int run_put(void)
{
    struct htstore_mapping *root = new_mapping(NULL, 0);
    struct htstore_table *table = words_table(NULL, 0);
    struct htstore_checkpoint *own = root_list("[old]", root);
    struct htstore_restore *status;
    set_rows(table, "[mine]", "[4]");
    OK(htstore_checkpoint_read(own, path, NULL, &status, &api.error));
    arm();
    const int rc = objects_put(root, "late", table);
    disarm();
    if (rc != 0) {
        ROWS_ARE(table, "[mine]", "[4]");
        KEYS_ARE(root, "");
        PUT(root, "late", table);
    }
    ROWS_ARE(table, "[l]", "[3]");
    ck_assert_int_eq(htstore_restore_release(status), 1);
    close_checkpoint(own);
    objects_forget(table);
    OK(htstore_table_close(table, &api.error));
    objects_forget(root);
    OK(htstore_mapping_close(root, &api.error));
    return rc;
}

static int run_status(void)
{
    struct htstore_restore *status;
    const char *const *saved, *const *live;
    uint64_t n, k;
    OK(htstore_checkpoint_read(checkpoint, path, NULL, &status, &api.error));
    arm();
    int rc = htstore_restore_assert_existing_objects_matched(status, &api.error);
    if (rc == 0)
        rc = htstore_restore_unmatched(status, api.arena, &saved, &n, &live, &k, &api.error);
    disarm();
    htstore_restore_release(status);
    reset();
    return rc;
}

static int make_store(uint32_t flags)
{
    const char *target = api_path("target");
    const struct htstore_snapshot_restore_options options = { .size = sizeof options,
                                                              .flags = flags,
                                                              .store = &api.options };
    const int rc = htstore_snapshot_restore(path, -1, target, &options, NULL, &api.error);
    disarm();
    if (rc == 0) {
        OK(htstore_check(target, NULL, NULL, &api.error));
        char *moved = api_alloc(strlen(target) + 32);
        (void)sprintf(moved, "%s%u", target, n_tries++);
        ck_assert_int_eq(rename(target, moved), 0);
    } else {
        ck_assert_int_ne(access(target, F_OK), 0);
    }
    return rc;
}

static int run_new_store(void)
{
    return make_store(0);
}

static int run_salvage(void)
{
    return make_store(HTSTORE_SALVAGE);
}

static int run_info(void)
{
    struct htstore_snapshot_info info = { .size = sizeof info };
    return htstore_snapshot_info(path, api.arena, &info, &api.error);
}

static int run_diff(void)
{
    const struct htstore_difference *list;
    uint64_t n;
    const int rc = htstore_diff(path, api_path("now"), NULL, api.arena, &list, &n, &api.error);
    return rc == 1 ? 0 : rc;
}

static int run_check(void)
{
    return htstore_check(path, NULL, NULL, &api.error);
}

static int run_compare(void)
{
    return htstore_compare_cache(api.store, NULL, &api.error);
}

static const struct {
    const char *name;
    int (*run)(void);
    bool arms; /* itself */
} operations[] = {
    { "save", run_save, false },
    { "restore", run_restore, false },
    { "checkpoint_new", run_checkpoint_new, false },
    { "put", run_put, true },
    { "status", run_status, true },
    { "snapshot_restore", run_new_store, false },
    { "salvage", run_salvage, false },
    { "info", run_info, false },
    { "diff", run_diff, false },
    { "check", run_check, false },
    { "compare", run_compare, false },
};
#define N_OPERATIONS ((int)(sizeof operations / sizeof *operations))

/* Did it do without that allocation? */
static bool attempt(int operation, uint64_t nth)
{
    const struct htstore_stats before = api_stats();
    failing = nth;
    failed = false;
    if (!operations[operation].arms)
        arm();
    const int rc = operations[operation].run();
    disarm();
    htstore_arena_reset(api.arena);
    ck_assert_msg(rc == 0 || (rc == HTSTORE_ENOMEM && failed), "%s, allocation %ju: %d: %s", operations[operation].name,
                  (uintmax_t)nth, rc, api.error.message);
    ck_assert_uint_eq(api_stats().open_handles, before.open_handles);
    expect_reset();
    return rc == 0 && !failed;
}

START_TEST(checkpoints_survive_failing_allocations)
{
    const int operation = _i % N_OPERATIONS;
    uint64_t nth = 0;
    write_as(checkpoint, "now");
    sticky = _i / N_OPERATIONS;
    while (!attempt(operation, nth))
        ck_assert_uint_lt(nth++, MAX_ALLOCATIONS);
    ck_assert(nth > 0 || operations[operation].run == run_compare);
    struct htstore_restore *status = restore(checkpoint, path);
    expect_restored();
    MATCHED(status);
    checkpoint_close_all();
    objects_reopen();
    api_close_store();
    OK(htstore_check(api.path, NULL, NULL, &api.error));
    api_open_store();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory_checkpoint");
    TCase *tests = tcase_create("memory");
    tcase_add_checked_fixture(tests, setup, checkpoint_teardown);
    tcase_add_loop_test(tests, checkpoints_survive_failing_allocations, 0, N_OPERATIONS * 2);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
