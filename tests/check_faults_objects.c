/*
 * check_faults_objects: changes of mappings and variables while writes and syncs fail: the documented code, nothing visible
 * that was refused, no more writes after an I/O error, and a store that opens with what was acknowledged.
 */
#include "api_objects.h"
#include "crash/folder.h"
#include "crash/mishap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define N_ELEMENTS 20000 /* three rows */

static struct htstore_mapping *mapping;
static struct htstore_variable *variable;
static int64_t elements[N_ELEMENTS];

static struct htstore_array numbers(int64_t first)
{
    for (int64_t i = 0; i < N_ELEMENTS; i++)
        elements[i] = first * 1000 + i;
    return htstore_vector(HTSTORE_INT64, elements, N_ELEMENTS);
}

/* ---- operations that add something, or change the variable to 2 ---- */

static int do_put(void)
{
    return objects_put(mapping, "new", variable);
}

static int do_update(void)
{
    const struct htstore_entry entries[] = { { bytes_of("new"), mapping }, { bytes_of("newer"), variable } };
    return htstore_mapping_update(mapping, entries, 2, &api.error);
}

static int do_create_mapping(void)
{
    const struct htstore_entry entry = { bytes_of("v"), variable };
    struct htstore_mapping *made;
    const int result = htstore_mapping_create(api.store, "made", NULL, &entry, 1, &made, &api.error);
    ck_assert((result == 0) == (made != NULL));
    OK(htstore_mapping_close(made, &api.error));
    return result;
}

static int do_create_variable(void)
{
    struct htstore_variable_schema schema = { .size = sizeof schema, .initial_value = numbers(7) };
    struct htstore_variable *made;
    const int result = htstore_variable_create(api.store, "made", &schema, &made, &api.error);
    ck_assert((result == 0) == (made != NULL));
    if (made)
        OK(htstore_variable_close(made, &api.error));
    return result;
}

static int do_create_variable_without_error(void)
{
    struct htstore_variable_schema schema = { .size = sizeof schema, .initial_value = numbers(7) };
    struct htstore_variable *made;
    const int result = htstore_variable_create(api.store, "made", &schema, &made, NULL);
    OK(htstore_variable_close(made, &api.error));
    return result;
}

static int do_assign(void)
{
    const struct htstore_array value = numbers(2);
    return htstore_variable_assign(variable, &value, &api.error);
}

static int do_flag(void)
{
    return htstore_mapping_set_trainable(mapping, 0, &api.error);
}

static int do_drop(void)
{
    return htstore_variable_drop(api.store, "dropped", &api.error);
}

static int (*const operations[])(void) = {
    do_put,    do_update, do_create_mapping, do_create_variable, do_create_variable_without_error,
    do_assign, do_flag,   do_drop,
};
#define N_OPERATIONS ((int)(sizeof operations / sizeof operations[0]))

/* ---- how the store looks ---- */

/* When LMDB could not write its meta page it does not read any more: then this is what was listed last. */
static const char *list_names(void)
{
    static char names[300];
    const struct htstore_object *list;
    uint64_t n;
    const int result = htstore_list(api.store, api.arena, &list, &n, &api.error);
    ck_assert_msg(result == 0 || result == HTSTORE_EIO, "%d: %s", result, api.error.message);
    char *end = names;
    for (uint64_t i = 0; result == 0 && i < n; i++)
        end += sprintf(end, "%s:%ju ", list[i].name, (uintmax_t)list[i].n_rows);
    return names;
}

static const char *take_picture(void)
{
    static int64_t out[N_ELEMENTS];
    struct htstore_array value = htstore_vector(HTSTORE_INT64, out, N_ELEMENTS);
    char *picture = api_alloc(1000), *end = stpcpy(picture, list_names());
    OK(htstore_variable_read(variable, &value, &api.error));
    for (int64_t i = 1; i < N_ELEMENTS; i++)
        ck_assert_int_eq(out[i], out[0] + i);
    (void)sprintf(end, "%jd %d %s", (intmax_t)out[0], htstore_mapping_is_trainable(mapping), keys_of(mapping));
    return picture;
}

static void open_objects(void)
{
    mapping = get_mapping("m");
    variable = get_variable("v");
}

static void begin(void)
{
    struct htstore_variable_schema schema = { .size = sizeof schema, .initial_value = numbers(1) };
    api_open_store();
    OK(htstore_variable_create(api.store, "v", &schema, &variable, &api.error));
    objects_keep(variable);
    mapping = new_mapping("m", 0);
    PUT(mapping, "old", mapping);
    new_variable("dropped", 0, 0, "1");
    objects_close();
    open_objects();
}

/* After reopening it all works again. */
static void expect_working(void)
{
    const struct htstore_array value = numbers(9);
    PUT(mapping, "afterwards", variable);
    OK(htstore_variable_assign(variable, &value, &api.error));
    OK(htstore_flush(api.store, &api.error));
    objects_reopen();
    open_objects();
    const char *picture = take_picture();
    ck_assert(strstr(picture, "afterwards") && strstr(picture, " 9000 "));
}

static void close_broken(void)
{
    objects_close();
    (void)htstore_close(api.store, &api.error);
    api.store = NULL;
}

static void expect_poisoned(const char *picture)
{
    struct htstore_error first;
    REFUSED(objects_put(mapping, "more", mapping), HTSTORE_EIO, "");
    first = api.error;
    REFUSED(do_assign(), HTSTORE_EIO, first.message);
    REFUSED(do_flag(), HTSTORE_EIO, first.message);
    REFUSED(do_create_mapping(), HTSTORE_EIO, first.message);
    ck_assert_str_eq(take_picture(), picture);
}

/* One call fails; true if it came to that. */
static bool survive(int operation, const struct mishap *mishap)
{
    begin();
    const char *before = take_picture();
    mishap_set(mishap);
    int result = operations[operation]();
    const unsigned hits = mishap_hits();
    mishap_set(NULL);
    const char *after = take_picture();
    if (result == 0 && hits == 0)
        ck_assert_str_ne(after, before);
    if (result != 0) {
        ck_assert_msg(result == (mishap->error == ENOSPC ? HTSTORE_ENOSPC : HTSTORE_EIO) || result == HTSTORE_EIO,
                      "result %d: %s", result, api.error.message);
        ck_assert_str_eq(after, before);
    }
    if (result == HTSTORE_ENOSPC) { /* it works now, unless it was LMDB's meta page: that is for good */
        result = operations[operation]();
        ck_assert_msg(result == 0 || result == HTSTORE_EIO, "%d: %s", result, api.error.message);
        after = take_picture();
        ck_assert_int_eq(strcmp(after, before) == 0, result != 0);
    }
    if (result == HTSTORE_EIO)
        expect_poisoned(before);
    close_broken();
    api_open_store();
    open_objects();
    const char *found = take_picture();
    ck_assert_msg(strcmp(found, after) == 0 || (result == HTSTORE_EIO && strlen(found) >= strlen(before)),
                  "found %s\nbefore %s\nafter %s", found, before, after);
    expect_working();
    objects_close();
    api_close_store();
    ck_assert(folder_remove(api.path));
    return hits > 0;
}

static const enum mishap_call calls[] = { MISHAP_WRITE, MISHAP_DATASYNC, MISHAP_SYNC };

START_TEST(a_change_that_fails_is_not_visible)
{
    const int operation = _i % N_OPERATIONS, kind = _i / N_OPERATIONS;
    for (unsigned after = 0;; after++) {
        const struct mishap mishap = {
            .call = calls[kind / 2], .file = "", .after = after, .error = kind % 2 ? ENOSPC : EIO
        };
        if (!survive(operation, &mishap))
            break;
        ck_assert_uint_lt(after, 100);
    }
}
END_TEST

static void setup(void)
{
    api_setup();
    api.options.flush_age_ms = 3600000;
    mishap_skip_syncs(true);
}

static void teardown(void)
{
    mishap_set(NULL);
    objects_teardown();
}

int main(void)
{
    Suite *suite = suite_create("faults_objects");
    TCase *tests = tcase_create("faults_objects");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, a_change_that_fails_is_not_visible, 0, 6 * N_OPERATIONS);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
