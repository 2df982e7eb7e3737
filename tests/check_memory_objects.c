/*
 * check_memory_objects: every call on mappings and variables with its first, second, third … allocation failing, once or
 * from then on: HTSTORE_ENOMEM and nothing changed, or success. Afterwards the call works.
 */
#include "api_objects.h"

#include <stdio.h>
#include <string.h>

#include "mem.h"

#define MAX_ALLOCATIONS 5000
#define N_ELEMENTS 20000 /* three rows */

static struct htstore_mapping *mapping;
static struct htstore_variable *variable, *words;
static int64_t elements[N_ELEMENTS];
static struct htstore_bytes texts[3];
static char name[16]; /* of what is created */
static struct htstore_bytes key; /* of what is put */

static struct htstore_array numbers(void)
{
    return htstore_vector(HTSTORE_INT64, elements, N_ELEMENTS);
}

static int close_made(int result, void *made)
{
    if (result != 0) {
        ck_assert_ptr_null(made);
        return result;
    }
    OK(htstore_object_close(made, &api.error));
    return 0;
}

static int create_variable(const char *wanted, uint32_t flags)
{
    struct htstore_variable_schema schema = { .size = sizeof schema, .flags = flags, .initial_value = numbers() };
    struct htstore_variable *made = (struct htstore_variable *)&api;
    const int result = htstore_variable_create(api.store, wanted, &schema, &made, &api.error);
    return close_made(result, made);
}

static int run_create_variable(void)
{
    return create_variable(name, 0);
}

static int run_create_anonymous_variable(void)
{
    return create_variable(NULL, HTSTORE_ANONYMOUS);
}

static int run_create_mapping(void)
{
    const struct htstore_entry entries[] = { { bytes_of("a"), mapping }, { key, variable } };
    struct htstore_mapping *made = (struct htstore_mapping *)&api;
    const int result = htstore_mapping_create(api.store, name, NULL, entries, 2, &made, &api.error);
    return close_made(result, made);
}

static int run_create_anonymous_mapping(void)
{
    const struct htstore_mapping_schema schema = { .size = sizeof schema, .flags = HTSTORE_ANONYMOUS };
    const struct htstore_entry entry = { bytes_of("a"), mapping };
    struct htstore_mapping *made = (struct htstore_mapping *)&api;
    const int result = htstore_mapping_create(api.store, NULL, &schema, &entry, 1, &made, &api.error);
    return close_made(result, made);
}

static int run_get_or_create(void)
{
    struct htstore_mapping *made = (struct htstore_mapping *)&api;
    const int result = htstore_mapping_get_or_create(api.store, "m", NULL, &made, &api.error);
    return close_made(result, made);
}

static int run_drop(void)
{
    return htstore_variable_drop(api.store, "dropped", &api.error);
}

static int run_assign(void)
{
    const struct htstore_array value = numbers();
    return htstore_variable_assign(variable, &value, &api.error);
}

static int run_assign_slice(void)
{
    const struct htstore_array value = htstore_vector(HTSTORE_INT64, elements, N_ELEMENTS / 2);
    return htstore_variable_assign_slice(variable, 100, &value, &api.error);
}

static int run_assign_strings(void)
{
    const struct htstore_array value = htstore_vector(HTSTORE_STRING, texts, 3);
    return htstore_variable_assign(words, &value, &api.error);
}

static int run_read(void)
{
    static int64_t out[N_ELEMENTS];
    struct htstore_array value = htstore_vector(HTSTORE_INT64, out, N_ELEMENTS);
    return htstore_variable_read(variable, &value, &api.error);
}

static int run_read_strings(void)
{
    struct htstore_bytes out[2];
    struct htstore_array value = htstore_vector(HTSTORE_STRING, out, 2);
    value.arena = api.arena;
    return htstore_variable_read_slice(words, 1, &value, &api.error);
}

static int run_put(void)
{
    return htstore_mapping_put(mapping, &key, variable, &api.error);
}

static int run_update(void)
{
    const struct htstore_entry entries[] = { { key, variable }, { bytes_of(name), words }, { bytes_of(""), mapping } };
    return htstore_mapping_update(mapping, entries, 3, &api.error);
}

static int run_track(void)
{
    struct htstore_bytes taken;
    return htstore_mapping_track(mapping, &key, words, api.arena, &taken, &api.error);
}

static int run_get(void)
{
    const struct htstore_bytes self = bytes_of("v");
    void *object = NULL;
    const int result = htstore_mapping_at(mapping, &self, NULL, &object, &api.error);
    return close_made(result, object);
}

static int run_items(void)
{
    const struct htstore_item *items;
    uint64_t n;
    return htstore_mapping_items(mapping, api.arena, &items, &n, &api.error);
}

static int run_walk(void)
{
    const uint64_t *ids;
    uint64_t n;
    int result = 0;
    for (uint32_t aggregate = HTSTORE_LAYERS; result == 0 && aggregate <= HTSTORE_UPDATES; aggregate++)
        result = htstore_mapping_walk(mapping, aggregate, api.arena, &ids, &n, &api.error);
    return result;
}

static int run_set_trainable(void)
{
    return htstore_mapping_set_trainable(mapping, !htstore_mapping_is_trainable(mapping), &api.error);
}

static const struct {
    const char *name;
    int (*run)(void);
    bool reads_only;
} operations[] = {
    { "variable_create", run_create_variable, false },
    { "variable_create, anonymous", run_create_anonymous_variable, true },
    { "mapping_create", run_create_mapping, false },
    { "mapping_create, anonymous", run_create_anonymous_mapping, true },
    { "mapping_get_or_create", run_get_or_create, true },
    { "variable_drop", run_drop, false },
    { "variable_assign", run_assign, false },
    { "variable_assign_slice", run_assign_slice, false },
    { "variable_assign, strings", run_assign_strings, false },
    { "variable_read", run_read, true },
    { "variable_read_slice", run_read_strings, true },
    { "mapping_put", run_put, false },
    { "mapping_update", run_update, false },
    { "mapping_track", run_track, false },
    { "mapping_at", run_get, true },
    { "mapping_items", run_items, true },
    { "mapping_walk", run_walk, true },
    { "mapping_set_trainable", run_set_trainable, false },
};
#define N_OPERATIONS ((int)(sizeof operations / sizeof operations[0]))

/* All that a call might change: names, entries, flags, contents. */
static const char *take_picture(void)
{
    static int64_t out[N_ELEMENTS];
    struct htstore_bytes strings[3];
    struct htstore_array value = htstore_vector(HTSTORE_INT64, out, N_ELEMENTS);
    struct htstore_array text = htstore_vector(HTSTORE_STRING, strings, 3);
    const struct htstore_object *list;
    uint64_t n, sum = 0;
    char *picture = api_alloc(16384), *end = picture;
    text.arena = api.arena;
    OK(htstore_list(api.store, api.arena, &list, &n, &api.error));
    for (uint64_t i = 0; i < n; i++)
        end += sprintf(end, "%s:%ju ", list[i].name, (uintmax_t)list[i].n_rows);
    OK(htstore_variable_read(variable, &value, &api.error));
    for (size_t i = 0; i < N_ELEMENTS; i++)
        sum = sum * 31 + (uint64_t)out[i];
    OK(htstore_variable_read(words, &text, &api.error));
    end += sprintf(end, "%ju %.100s %d ", (uintmax_t)sum, api_text(&text), htstore_mapping_is_trainable(mapping));
    (void)snprintf(end, 12000, "%.11900s", keys_of(mapping));
    htstore_arena_reset(api.arena);
    return picture;
}

/* Give each attempt something else to write. */
static void prepare(int operation, uint64_t nth)
{
    (void)snprintf(name, sizeof name, "n%ju", (uintmax_t)nth);
    key = bytes_of(name + 1);
    for (size_t i = 0; i < N_ELEMENTS; i++)
        elements[i] = (int64_t)(nth * 1000 + i);
    texts[0] = bytes_of(name);
    texts[1] = long_key('x', 3000);
    texts[2] = bytes_of("");
    if (operations[operation].run == run_drop) {
        const struct htstore_array one = htstore_scalar(HTSTORE_INT64, elements);
        struct htstore_variable_schema schema = { .size = sizeof schema, .initial_value = one };
        struct htstore_variable *made;
        OK(htstore_variable_get_or_create(api.store, "dropped", &schema, &made, &api.error));
        OK(htstore_variable_close(made, &api.error));
    }
}

/* What could not be deleted when its handle was closed is deleted with the next one. */
static void collect(void)
{
    struct htstore_mapping *anonymous = new_mapping(NULL, 0);
    objects_forget(anonymous);
    OK(htstore_mapping_close(anonymous, &api.error));
}

static bool attempt(int operation, uint64_t nth, bool sticky)
{
    prepare(operation, nth);
    const char *before = take_picture();
    const uint64_t n_handles = api_stats().open_handles;
    hti_mem_test_fail(nth, sticky);
    const int result = operations[operation].run();
    const bool failed = hti_mem_test_failed();
    hti_mem_test_fail(UINT64_MAX, false);
    ck_assert_msg(result == 0 || (result == HTSTORE_ENOMEM && failed), "%s, allocation %ju: %d: %s",
                  operations[operation].name, (uintmax_t)nth, result, api.error.message);
    ck_assert_uint_eq(api_stats().open_handles, n_handles);
    collect();
    const bool same = strcmp(take_picture(), before) == 0;
    ck_assert_msg(same == (result != 0 || operations[operation].reads_only),
                  "%s, allocation %ju, gave %d: %s\nbefore %s", operations[operation].name, (uintmax_t)nth, result,
                  take_picture(), before);
    return result == 0 && !failed;
}

static void begin(bool small_memory)
{
    struct htstore_variable_schema schema = { .size = sizeof schema };
    api_close_store();
    if (small_memory) {
        api.options.flags |= HTSTORE_NO_PRELOAD;
        api.options.cache_bytes = 4096;
    }
    api_open_store();
    prepare(0, 0);
    schema.initial_value = numbers();
    OK(htstore_variable_create(api.store, "v", &schema, &variable, &api.error));
    schema.initial_value = htstore_vector(HTSTORE_STRING, texts, 3);
    OK(htstore_variable_create(api.store, "w", &schema, &words, &api.error));
    mapping = new_mapping("m", 0);
    objects_keep(variable);
    objects_keep(words);
    PUT(mapping, "v", variable);
    PUT(mapping, "m", mapping);
}

/* Once, and from then on; objects in memory, and not. */
START_TEST(calls_survive_failing_allocations)
{
    const int operation = _i % N_OPERATIONS, kind = _i / N_OPERATIONS;
    uint64_t nth = 0;
    begin(kind & 2);
    while (!attempt(operation, nth, kind & 1))
        ck_assert_uint_lt(nth++, MAX_ALLOCATIONS);
    const char *picture = take_picture();
    const uint64_t n_objects = object_count();
    objects_reopen();
    mapping = get_mapping("m");
    variable = get_variable("v");
    words = get_variable("w");
    ck_assert_str_eq(take_picture(), picture);
    ck_assert_uint_eq(object_count(), n_objects);
}
END_TEST

START_TEST(opening_survives_failing_allocations)
{
    begin(false);
    const char *picture = take_picture();
    objects_close();
    api_close_store();
    for (uint64_t nth = 0;; nth++) {
        struct htstore *store = (struct htstore *)&api;
        ck_assert_uint_lt(nth, MAX_ALLOCATIONS);
        hti_mem_test_fail(nth, _i);
        const int result = htstore_open(api.path, &api.options, &store, &api.error);
        const bool failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_msg(result == 0 || (result == HTSTORE_ENOMEM && failed), "allocation %ju: %d: %s", (uintmax_t)nth,
                      result, api.error.message);
        if (result == 0)
            OK(htstore_close(store, &api.error));
        if (result == 0 && !failed)
            break;
    }
    api_open_store();
    mapping = get_mapping("m");
    variable = get_variable("v");
    words = get_variable("w");
    ck_assert_str_eq(take_picture(), picture);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory_objects");
    TCase *tests = tcase_create("memory_objects");
    tcase_add_checked_fixture(tests, objects_setup, objects_teardown);
    tcase_add_loop_test(tests, calls_survive_failing_allocations, 0, 4 * N_OPERATIONS);
    tcase_add_loop_test(tests, opening_survives_failing_allocations, 0, 2);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
