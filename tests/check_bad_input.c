/* check_bad_input: arguments that are wrong: each gives its code and a sentence, and changes nothing (semantics.md 1.10, 1.11). */
#include "api_util.h"

#include <sys/mman.h>

#define MIB ((size_t)1 << 20)

/* ---- every call that takes keys ---- */

enum call {
    CALL_INSERT,
    CALL_INSERT_NEW,
    CALL_IMPORT,
    CALL_BATCH_INSERT,
    CALL_BATCH_INSERT_NEW,
    CALL_FIND_OR_INSERT,
    CALL_LOOKUP,
    CALL_REMOVE,
    CALL_BATCH_REMOVE,
    N_CALLS
};
#define N_STORING CALL_LOOKUP /* calls before it store values */
#define N_VALUED CALL_REMOVE /* calls before it take values, candidates or defaults */

static struct htstore_batch *batch;

struct arguments {
    struct htstore_table *table;
    struct htstore_array *keys, *values, *outputs;
    uint32_t flags;
};

static int attempt(int call, struct arguments a)
{
    struct htstore_error *e = &api.error;
    switch (call) {
    case CALL_INSERT:
        return htstore_table_insert(a.table, a.keys, a.values, a.flags, e);
    case CALL_INSERT_NEW:
        return htstore_table_insert_new(a.table, a.keys, a.values, NULL, a.flags, e);
    case CALL_IMPORT:
        return htstore_table_import(a.table, a.keys, a.values, a.flags, e);
    case CALL_BATCH_INSERT:
        return htstore_batch_insert(batch, a.table, a.keys, a.values, e);
    case CALL_BATCH_INSERT_NEW:
        return htstore_batch_insert_new(batch, a.table, a.keys, a.values, e);
    case CALL_FIND_OR_INSERT:
        return htstore_table_find_or_insert(a.table, a.keys, a.values, a.outputs, NULL, a.flags, e);
    case CALL_LOOKUP:
        return htstore_table_lookup(a.table, a.keys, a.values, a.outputs, NULL, e);
    case CALL_REMOVE:
        return htstore_table_remove(a.table, a.keys, NULL, a.flags, e);
    default:
        return htstore_batch_remove(batch, a.table, a.keys, e);
    }
}

static struct htstore_array keys, values, outputs;
static struct arguments good;

/* A table of one row under the first key; `good` would change it. */
static void begin(uint32_t key_dtype, const char *keys_text, uint32_t value_dtype, const char *values_text)
{
    api_open_store();
    keys = api_array(key_dtype, keys_text);
    values = api_array(value_dtype, values_text);
    struct htstore_array first_key = api_row(&keys, 0), first_value = api_row(&values, 0);
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = key_dtype, .default_value = first_value };
    OK(htstore_table_create(api.store, "t1", &schema, &api.table, &api.error));
    api.name = "t1";
    outputs = api_outputs(&keys);
    OK(htstore_table_insert(api.table, &first_key, &first_value, 0, &api.error));
    OK(htstore_batch_new(api.store, &batch, &api.error));
    good = (struct arguments){ api.table, &keys, &values, &outputs, 0 };
}

static struct arguments with_keys(struct htstore_array *other)
{
    struct arguments a = good;
    a.keys = other;
    return a;
}

static struct arguments with_values(struct htstore_array *other)
{
    struct arguments a = good;
    a.values = other;
    return a;
}

static struct arguments with_outputs(struct htstore_array *other)
{
    struct arguments a = good;
    a.outputs = other;
    return a;
}

static void teardown(void)
{
    htstore_batch_free(batch);
    batch = NULL;
    api_teardown();
}

/* Nothing of what was refused is in the batch, the table or the outputs. */
static void expect_nothing_happened(struct api_state before)
{
    OK(htstore_batch_commit(batch, 0, &api.error));
    UNCHANGED(before);
    ck_assert(api_is_untouched(&outputs));
}

START_TEST(the_arguments_of_these_tests_are_accepted_when_right)
{
    begin(HTSTORE_INT64, "[1 2 3]", HTSTORE_INT64, "[[1 1][2 2][3 3]]");
    for (int call = 0; call < N_CALLS; call++)
        OK(attempt(call, good));
    REFUSED(htstore_batch_commit(batch, 0, &api.error), HTSTORE_EEXIST, "");
}
END_TEST

/* ---- NULL ---- */

START_TEST(null_arguments_are_refused)
{
    begin(HTSTORE_INT64, "[1 2 3]", HTSTORE_INT64, "[[1 1][2 2][3 3]]");
    struct api_state before = api_state();
    struct htstore_array hollow_keys = keys, hollow_values = values, hollow_outputs = outputs;
    hollow_keys.data = hollow_values.data = hollow_outputs.data = NULL;
    for (int call = 0; call < N_CALLS; call++) {
        struct arguments no_table = good;
        no_table.table = NULL;
        REFUSED(attempt(call, no_table), HTSTORE_EINVAL, "");
        REFUSED(attempt(call, with_keys(NULL)), HTSTORE_EINVAL, "");
        REFUSED(attempt(call, with_keys(&hollow_keys)), HTSTORE_EINVAL, "");
        if (call < CALL_FIND_OR_INSERT)
            REFUSED(attempt(call, with_values(NULL)), HTSTORE_EINVAL, "");
        if (call < N_VALUED)
            REFUSED(attempt(call, with_values(&hollow_values)), HTSTORE_EINVAL, "");
    }
    REFUSED(attempt(CALL_LOOKUP, with_outputs(NULL)), HTSTORE_EINVAL, "");
    REFUSED(attempt(CALL_LOOKUP, with_outputs(&hollow_outputs)), HTSTORE_EINVAL, "");
    REFUSED(attempt(CALL_FIND_OR_INSERT, with_outputs(NULL)), HTSTORE_EINVAL, "");
    REFUSED(attempt(CALL_FIND_OR_INSERT, with_outputs(&hollow_outputs)), HTSTORE_EINVAL, "");
    expect_nothing_happened(before);
}
END_TEST

START_TEST(null_handles_and_outputs_are_refused)
{
    struct htstore_error *e = &api.error;
    struct htstore *store = (struct htstore *)&api;
    struct htstore_batch *none = (struct htstore_batch *)&api;
    struct htstore_table *table;
    const struct htstore_object *objects;
    struct htstore_stats stats = { .size = sizeof stats };
    struct htstore_schema schema = api_schema(HTSTORE_INT64, "1", HTSTORE_INT64);
    uint64_t n;
    begin(HTSTORE_INT64, "[1 2 3]", HTSTORE_INT64, "[1 2 3]");
    REFUSED(htstore_sync(NULL, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_flush(NULL, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_refresh(NULL, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_stats(NULL, &stats, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_list(NULL, api.arena, &objects, &n, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_list(api.store, NULL, &objects, &n, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_list(api.store, api.arena, NULL, &n, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_list(api.store, api.arena, &objects, NULL, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_create(NULL, "t2", &schema, &table, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_create(api.store, "t2", &schema, NULL, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_open(NULL, "t1", NULL, &table, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_open(api.store, "t1", NULL, NULL, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_get_or_create(NULL, "t2", &schema, &table, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_get_or_create(api.store, "t2", &schema, NULL, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_drop(NULL, "t1", e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_clear(NULL, 0, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_size(NULL, &n, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_size(api.table, NULL, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_open(NULL, NULL, &store, e), HTSTORE_EINVAL, "");
    ck_assert_ptr_null(store);
    REFUSED(htstore_open(api.path, NULL, NULL, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_batch_new(NULL, &none, e), HTSTORE_EINVAL, "");
    ck_assert_ptr_null(none);
    REFUSED(htstore_batch_new(api.store, NULL, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_arena_new(NULL, e), HTSTORE_EINVAL, "");
    ck_assert_ptr_null(htstore_table_name(NULL));
    ck_assert_uint_eq(htstore_table_id(NULL) + htstore_table_key_dtype(NULL) + htstore_table_value_dtype(NULL), 0);
    htstore_arena_reset(NULL);
    htstore_arena_free(NULL);
}
END_TEST

START_TEST(the_error_argument_may_be_null)
{
    struct htstore_table *table;
    begin(HTSTORE_INT64, "[1 2 3]", HTSTORE_INT64, "[1 2 3]");
    struct htstore_array flat = api_values("[1 2]");
    ck_assert_int_eq(htstore_table_insert(api.table, &keys, &flat, 0, NULL), HTSTORE_ESHAPE);
    ck_assert_int_eq(htstore_table_lookup(api.table, &keys, &flat, &outputs, NULL, NULL), HTSTORE_ESHAPE);
    ck_assert_int_eq(htstore_table_open(api.store, "none", NULL, &table, NULL), HTSTORE_ENOTFOUND);
    ck_assert_int_eq(htstore_close(api.store, NULL), HTSTORE_EBUSY);
    ck_assert_int_eq(htstore_table_insert(api.table, &keys, &values, 0, NULL), 0);
    ck_assert_int_eq(htstore_flush(api.store, NULL), 0);
}
END_TEST

/* ---- handles ---- */

static void refuse_table(struct htstore_table *table)
{
    struct htstore_error *e = &api.error;
    struct htstore_cursor *cursor;
    struct htstore_array k, v;
    struct htstore_schema schema = { .size = sizeof schema };
    struct arguments a = good;
    uint64_t n;
    a.table = table;
    for (int call = 0; call < N_CALLS; call++)
        REFUSED(attempt(call, a), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_clear(table, 0, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_size(table, &n, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_export(table, api.arena, &k, &v, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_cursor_open(table, &cursor, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_batch_clear(batch, table, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_schema(table, &schema, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_close(table, e), HTSTORE_EINVAL, "");
    ck_assert_ptr_null(htstore_table_name(table));
    ck_assert_uint_eq(htstore_table_id(table), 0);
    ck_assert_uint_eq(htstore_table_key_dtype(table) + htstore_table_value_dtype(table), 0);
}

START_TEST(closed_table_handles_are_refused)
{
    struct htstore_table *closed;
    begin(HTSTORE_INT64, "[1 2 3]", HTSTORE_INT64, "[1 2 3]");
    OK(htstore_table_open(api.store, "t1", NULL, &closed, &api.error));
    OK(htstore_table_close(closed, &api.error));
    struct api_state before = api_state();
    refuse_table(closed);
    UNCHANGED(before);
}
END_TEST

START_TEST(handles_of_another_kind_are_refused)
{
    struct htstore_error *e = &api.error;
    begin(HTSTORE_INT64, "[1 2 3]", HTSTORE_INT64, "[1 2 3]");
    struct api_state before = api_state();
    refuse_table((struct htstore_table *)api.store);
    refuse_table((struct htstore_table *)batch);
    REFUSED(htstore_flush((struct htstore *)api.table, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_close((struct htstore *)api.table, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_batch_clear((struct htstore_batch *)api.table, api.table, e), HTSTORE_EINVAL, "");
    ck_assert_uint_eq(htstore_cursor_count((struct htstore_cursor *)batch), 0);
    UNCHANGED(before);
}
END_TEST

START_TEST(closed_stores_are_refused)
{
    struct htstore_error *e = &api.error;
    struct htstore_table *table;
    struct htstore_batch *none;
    const struct htstore_object *objects;
    struct htstore_stats stats = { .size = sizeof stats };
    struct htstore_schema schema = api_schema(HTSTORE_INT64, "1", HTSTORE_INT64);
    uint64_t n;
    api_open_store();
    struct htstore *closed = api.store;
    api_close_store();
    REFUSED(htstore_close(closed, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_sync(closed, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_flush(closed, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_refresh(closed, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_stats(closed, &stats, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_list(closed, api.arena, &objects, &n, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_create(closed, "t1", &schema, &table, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_open(closed, "t1", NULL, &table, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_get_or_create(closed, "t1", &schema, &table, e), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_drop(closed, "t1", e), HTSTORE_EINVAL, "");
    REFUSED(htstore_batch_new(closed, &none, e), HTSTORE_EINVAL, "");
    ck_assert_ptr_null(none);
}
END_TEST

/* ---- dtypes, shapes, flags ---- */

START_TEST(unknown_dtypes_of_arrays_are_refused)
{
    static const uint32_t unknown[] = { 0, HTSTORE_STRING + 1, 77, UINT32_MAX };
    begin(HTSTORE_INT64, "[1 2 3]", HTSTORE_INT64, "[1 2 3]");
    struct api_state before = api_state();
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        struct htstore_array odd_keys = keys, odd_values = values;
        odd_keys.dtype = odd_values.dtype = unknown[i];
        for (int call = 0; call < N_CALLS; call++) {
            REFUSED(attempt(call, with_keys(&odd_keys)), HTSTORE_EINVAL, "dtype");
            if (call < N_VALUED)
                REFUSED(attempt(call, with_values(&odd_values)), HTSTORE_EINVAL, "dtype");
        }
    }
    expect_nothing_happened(before);
}
END_TEST

START_TEST(impossible_shapes_are_refused)
{
    static const char *const shapes[] = { "-1",
                                          "3,-2",
                                          "-3,-1",
                                          "9223372036854775807",
                                          "4611686018427387904",
                                          "4294967296,4294967296",
                                          "3,2147483648,2147483648,4" };
    begin(HTSTORE_INT64, "[1 2 3]", HTSTORE_INT64, "[1 2 3]");
    struct api_state before = api_state();
    for (size_t i = 0; i <= sizeof shapes / sizeof shapes[0]; i++) {
        struct htstore_array odd_keys = keys, odd_values = values;
        if (i < sizeof shapes / sizeof shapes[0]) {
            odd_keys = api_shaped(HTSTORE_INT64, shapes[i], keys.data);
            odd_values = api_shaped(HTSTORE_INT64, shapes[i], values.data);
        } else {
            odd_keys.rank = odd_values.rank = HTSTORE_MAX_RANK + 1;
        }
        for (int call = 0; call < N_CALLS; call++) {
            REFUSED(attempt(call, with_keys(&odd_keys)), HTSTORE_ESHAPE, "");
            if (call < N_VALUED)
                REFUSED(attempt(call, with_values(&odd_values)), HTSTORE_ESHAPE, "");
        }
    }
    expect_nothing_happened(before);
}
END_TEST

START_TEST(shapes_are_compared_not_element_counts)
{
    static const char *const wrong[] = { "6", "2,3", "3", "1,3,2", "3,2,1", "3,1", "" };
    begin(HTSTORE_INT64, "[1 2 3]", HTSTORE_INT64, "[[1 1][2 2][3 3]]");
    struct api_state before = api_state();
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct htstore_array odd = api_shaped(HTSTORE_INT64, wrong[i], values.data);
        for (int call = 0; call < N_VALUED; call++)
            REFUSED(attempt(call, with_values(&odd)), HTSTORE_ESHAPE,
                    call < CALL_FIND_OR_INSERT ? "Expected shape [3,2] for value, got ["
                                               : "Expected shape [2] or [3,2] for default value, got [");
    }
    expect_nothing_happened(before);
}
END_TEST

START_TEST(unknown_flags_are_refused)
{
    static const uint32_t odd[] = { 4, 5, 0x08, 0x0F, 0x20, 0x40, 0x80000000, HTSTORE_SYNC | 0x100 };
    begin(HTSTORE_INT64, "[1 2 3]", HTSTORE_INT64, "[1 2 3]");
    struct api_state before = api_state();
    struct arguments a = good;
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        a.flags = odd[i];
        REFUSED(attempt(CALL_INSERT, a), HTSTORE_EINVAL, "");
        REFUSED(attempt(CALL_INSERT_NEW, a), HTSTORE_EINVAL, "");
        REFUSED(attempt(CALL_FIND_OR_INSERT, a), HTSTORE_EINVAL, "");
        REFUSED(attempt(CALL_REMOVE, a), HTSTORE_EINVAL, "");
        REFUSED(attempt(CALL_IMPORT, a), HTSTORE_EINVAL, "");
        REFUSED(htstore_table_clear(api.table, odd[i], &api.error), HTSTORE_EINVAL, "");
        REFUSED(htstore_batch_commit(batch, odd[i], &api.error), HTSTORE_EINVAL, "");
    }
    a.flags = HTSTORE_ALL_OR_NOTHING;
    REFUSED(attempt(CALL_INSERT, a), HTSTORE_EINVAL, "");
    REFUSED(attempt(CALL_FIND_OR_INSERT, a), HTSTORE_EINVAL, "");
    REFUSED(attempt(CALL_REMOVE, a), HTSTORE_EINVAL, "");
    REFUSED(attempt(CALL_IMPORT, a), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_clear(api.table, a.flags, &api.error), HTSTORE_EINVAL, "");
    expect_nothing_happened(before);
}
END_TEST

/* ---- contents ---- */

START_TEST(bools_are_zero_or_one)
{
    static const char *const bad[] = { "[1 2]", "[0 255]", "[1 128]" };
    begin(HTSTORE_BOOL, "[1 0]", HTSTORE_BOOL, "[1 0]");
    struct api_state before = api_state();
    for (size_t i = 0; i < 3; i++) {
        struct htstore_array odd = api_array(HTSTORE_BOOL, bad[i]);
        for (int call = 0; call < N_CALLS; call++) {
            REFUSED(attempt(call, with_keys(&odd)), HTSTORE_EINVAL, "");
            ck_assert_int_eq(api.error.index, 1);
            if (call < N_VALUED) {
                REFUSED(attempt(call, with_values(&odd)), HTSTORE_EINVAL, "");
                ck_assert_int_eq(api.error.index, 1);
            }
        }
    }
    expect_nothing_happened(before);
}
END_TEST

START_TEST(the_index_counts_rows_not_elements)
{
    begin(HTSTORE_INT64, "[1 2 3]", HTSTORE_BOOL, "[[0 1][1 0][1 1]]");
    struct api_state before = api_state();
    struct htstore_array odd = api_values("[[0 1][1 0][1 7]]");
    for (int call = 0; call < N_VALUED; call++) {
        REFUSED(attempt(call, with_values(&odd)), HTSTORE_EINVAL, "");
        ck_assert_int_eq(api.error.index, 2);
    }
    expect_nothing_happened(before);
}
END_TEST

START_TEST(strings_without_data_are_refused)
{
    begin(HTSTORE_STRING, "[a b]", HTSTORE_STRING, "[x y]");
    struct api_state before = api_state();
    struct htstore_bytes hollow[2] = { { "a", 1 }, { NULL, 1 } };
    struct htstore_array odd = htstore_vector(HTSTORE_STRING, hollow, 2);
    for (int call = 0; call < N_CALLS; call++) {
        REFUSED(attempt(call, with_keys(&odd)), HTSTORE_EINVAL, "");
        ck_assert_int_eq(api.error.index, 1);
        if (call < N_VALUED)
            REFUSED(attempt(call, with_values(&odd)), HTSTORE_EINVAL, "");
    }
    outputs.arena = NULL;
    REFUSED(attempt(CALL_LOOKUP, good), HTSTORE_EINVAL, "arena");
    REFUSED(attempt(CALL_FIND_OR_INSERT, good), HTSTORE_EINVAL, "arena");
    expect_nothing_happened(before);
}
END_TEST

START_TEST(the_first_of_several_faults_is_told)
{
    begin(HTSTORE_FLOAT64, "[1 2 3]", HTSTORE_INT64, "[1 2 3]");
    struct api_state before = api_state();
    struct htstore_array other_keys = api_array(HTSTORE_INT32, "[[1][2]]"),
                         other_values = api_array(HTSTORE_STRING, "[a]");
    struct htstore_array flat = api_values("[1 2]"), nan = api_keys("[1 nan 3]");
    struct htstore_array negative = api_shaped(HTSTORE_FLOAT64, "-3", keys.data);
    struct arguments a = good;
    for (int call = 0; call < N_VALUED; call++) {
        a.keys = &other_keys;
        a.values = &other_values;
        REFUSED(attempt(call, a), HTSTORE_ETYPE, "Key must be type float64 but got int32");
        a.keys = &negative;
        REFUSED(attempt(call, a), HTSTORE_ETYPE, "alue must be type int64 but got string");
        a.keys = &nan;
        REFUSED(attempt(call, a), HTSTORE_ETYPE, "alue must be type int64 but got string");
        a.values = &flat;
        REFUSED(attempt(call, a), HTSTORE_ESHAPE, "Expected shape");
        a.values = NULL;
        a.keys = &other_keys;
        if (call < CALL_FIND_OR_INSERT)
            REFUSED(attempt(call, a), HTSTORE_EINVAL, "");
    }
    expect_nothing_happened(before);
}
END_TEST

/* ---- sizes ---- */

/* Memory of that size which must not be touched, or which reads as zeros. */
static void *map_memory(size_t size, int protection)
{
    void *memory = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(memory, MAP_FAILED);
    return memory;
}

START_TEST(rows_above_the_limit_are_refused_before_they_are_read)
{
    static const size_t sizes[][2] = { { 1, 300 * MIB }, { 300 * MIB, 1 }, { 200 * MIB, 100 * MIB },
                                       { 1, SIZE_MAX },  { SIZE_MAX, 1 },  { SIZE_MAX / 2, SIZE_MAX / 2 + 2 } };
    begin(HTSTORE_STRING, "[a b]", HTSTORE_STRING, "[x y]");
    struct api_state before = api_state();
    void *untouchable = map_memory(300 * MIB, PROT_NONE);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct htstore_bytes k[2] = { { "b", 1 }, { untouchable, sizes[i][0] } };
        struct htstore_bytes v[2] = { { "y", 1 }, { untouchable, sizes[i][1] } };
        struct htstore_array long_keys = htstore_vector(HTSTORE_STRING, k, 2);
        struct htstore_array long_values = htstore_vector(HTSTORE_STRING, v, 2);
        struct arguments a = good;
        a.keys = &long_keys;
        a.values = &long_values;
        for (int call = 0; call < N_STORING; call++) {
            REFUSED(attempt(call, a), HTSTORE_EINVAL, "");
            ck_assert_int_eq(api.error.index, 1);
        }
    }
    expect_nothing_happened(before);
    munmap(untouchable, 300 * MIB);
}
END_TEST

START_TEST(a_row_of_several_strings_is_measured_as_a_whole)
{
    begin(HTSTORE_INT64, "[1 2]", HTSTORE_STRING, "[[x y][z w]]");
    struct api_state before = api_state();
    void *untouchable = map_memory(130 * MIB, PROT_NONE);
    struct htstore_bytes v[4] = { { "a", 1 }, { "b", 1 }, { untouchable, 130 * MIB }, { untouchable, 130 * MIB } };
    struct htstore_array long_values = htstore_matrix(HTSTORE_STRING, v, 2, 2);
    for (int call = 0; call < N_STORING; call++) {
        REFUSED(attempt(call, with_values(&long_values)), HTSTORE_EINVAL, "");
        ck_assert_int_eq(api.error.index, 1);
    }
    expect_nothing_happened(before);
    munmap(untouchable, 130 * MIB);
}
END_TEST

START_TEST(tables_of_rows_above_the_limit_are_not_created)
{
    struct htstore_table *table;
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_INT64 };
    void *untouchable = map_memory(400 * MIB, PROT_NONE);
    api_open_store();
    schema.default_value = api_shaped(HTSTORE_INT64, "50,1048576", untouchable);
    REFUSED(htstore_table_create(api.store, "t1", &schema, &table, &api.error), HTSTORE_EINVAL, "");
    schema.default_value = htstore_scalar(HTSTORE_STRING, &(struct htstore_bytes){ untouchable, 400 * MIB });
    REFUSED(htstore_table_create(api.store, "t1", &schema, &table, &api.error), HTSTORE_EINVAL, "");
    ck_assert_uint_eq(api_stats().n_tables, 0);
    munmap(untouchable, 400 * MIB);
}
END_TEST

START_TEST(batches_above_the_limit_are_refused_before_they_are_read)
{
    begin(HTSTORE_STRING, "[a b c]", HTSTORE_STRING, "[x y z]");
    struct api_state before = api_state();
    void *zeros = map_memory(200 * MIB, PROT_READ);
    struct htstore_bytes v[3] = { { zeros, 200 * MIB }, { zeros, 200 * MIB }, { zeros, 200 * MIB } };
    struct htstore_array long_values = htstore_vector(HTSTORE_STRING, v, 3);
    for (int call = 0; call < N_STORING; call++)
        REFUSED(attempt(call, with_values(&long_values)), HTSTORE_EINVAL, "");
    expect_nothing_happened(before);
    munmap(zeros, 200 * MIB);
}
END_TEST

START_TEST(more_rows_than_a_batch_holds_are_refused)
{
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_INT8 };
    size_t n = (size_t)HTSTORE_MAX_BATCH_ROWS + 1;
    api_open_store();
    schema.default_value = api_shaped(HTSTORE_INT8, "0", NULL);
    OK(htstore_table_create(api.store, "t1", &schema, &api.table, &api.error));
    void *zeros = map_memory(n, PROT_READ);
    struct htstore_array many = htstore_vector(HTSTORE_INT8, zeros, n), none = htstore_matrix(HTSTORE_INT8, NULL, n, 0);
    REFUSED(htstore_table_insert(api.table, &many, &none, 0, &api.error), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_remove(api.table, &many, NULL, 0, &api.error), HTSTORE_EINVAL, "");
    SIZE_IS(0);
    munmap(zeros, n);
}
END_TEST

/* ---- read-only stores ---- */

static void refuse_all_writes(struct arguments a)
{
    static const int writing[] = { CALL_INSERT, CALL_INSERT_NEW, CALL_IMPORT, CALL_FIND_OR_INSERT, CALL_REMOVE };
    for (size_t i = 0; i < sizeof writing / sizeof writing[0]; i++)
        REFUSED(attempt(writing[i], a), HTSTORE_EREADONLY, "");
}

START_TEST(a_read_only_store_refuses_every_write)
{
    struct htstore_error *e = &api.error;
    struct htstore_table *table = (struct htstore_table *)&api;
    struct htstore_schema schema = api_schema(HTSTORE_INT64, "1", HTSTORE_INT64);
    begin(HTSTORE_INT64, "[1 2 3]", HTSTORE_INT64, "[1 2 3]");
    htstore_batch_free(batch);
    batch = NULL;
    api_close_store();
    api.options.flags = HTSTORE_READONLY;
    api_open_store();
    OK(htstore_table_get_or_create(api.store, "t1", &schema, &api.table, e));
    ck_assert_uint_eq(api_stats().readonly, 1);
    struct api_state before = api_state();
    struct htstore_array none = api_shaped(HTSTORE_INT64, "0", NULL), strings = api_array(HTSTORE_STRING, "[a]");
    struct arguments a = good;
    a.table = api.table;
    refuse_all_writes(a);
    a.keys = a.values = a.outputs = &none;
    refuse_all_writes(a);
    a.keys = &strings;
    refuse_all_writes(a);
    REFUSED(htstore_table_clear(api.table, 0, e), HTSTORE_EREADONLY, "");
    REFUSED(htstore_table_create(api.store, "t2", &schema, &table, e), HTSTORE_EREADONLY, "");
    ck_assert_ptr_null(table);
    REFUSED(htstore_table_get_or_create(api.store, "t2", &schema, &table, e), HTSTORE_EREADONLY, "");
    REFUSED(htstore_table_drop(api.store, "t1", e), HTSTORE_EREADONLY, "");
    REFUSED(htstore_flush(api.store, e), HTSTORE_EREADONLY, "");
    OK(htstore_sync(api.store, e));
    ck_assert_int_eq(htstore_refresh(api.store, e), 1);
    schema = api_schema(HTSTORE_INT64, "2", HTSTORE_INT64);
    REFUSED(htstore_table_get_or_create(api.store, "t1", &schema, &table, e), HTSTORE_ECONFLICT,
            "Conflicting default values");
    UNCHANGED(before);
    GET_OR_IS("[1 2]", "9", "[1 9]", "[1 0]");
    EXPORT_IS("[1]", "[1]");
}
END_TEST

static void add_argument_tests(TCase *tests)
{
    tcase_add_test(tests, the_arguments_of_these_tests_are_accepted_when_right);
    tcase_add_test(tests, null_arguments_are_refused);
    tcase_add_test(tests, null_handles_and_outputs_are_refused);
    tcase_add_test(tests, the_error_argument_may_be_null);
    tcase_add_test(tests, closed_table_handles_are_refused);
    tcase_add_test(tests, handles_of_another_kind_are_refused);
    tcase_add_test(tests, closed_stores_are_refused);
    tcase_add_test(tests, unknown_dtypes_of_arrays_are_refused);
    tcase_add_test(tests, impossible_shapes_are_refused);
    tcase_add_test(tests, shapes_are_compared_not_element_counts);
    tcase_add_test(tests, unknown_flags_are_refused);
    tcase_add_test(tests, bools_are_zero_or_one);
    tcase_add_test(tests, the_index_counts_rows_not_elements);
    tcase_add_test(tests, strings_without_data_are_refused);
    tcase_add_test(tests, the_first_of_several_faults_is_told);
}

int main(void)
{
    Suite *suite = suite_create("bad_input");
    TCase *tests = tcase_create("bad_input");
    tcase_add_checked_fixture(tests, api_setup, teardown);
    add_argument_tests(tests);
    tcase_add_test(tests, rows_above_the_limit_are_refused_before_they_are_read);
    tcase_add_test(tests, a_row_of_several_strings_is_measured_as_a_whole);
    tcase_add_test(tests, tables_of_rows_above_the_limit_are_not_created);
    tcase_add_test(tests, batches_above_the_limit_are_refused_before_they_are_read);
    tcase_add_test(tests, more_rows_than_a_batch_holds_are_refused);
    tcase_add_test(tests, a_read_only_store_refuses_every_write);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
