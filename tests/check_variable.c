/* check_variable: semantics.md 2: variables of all dtypes and shapes, whole and in slices, through the public header only. */
#include "api_objects.h"
#include "api_peer.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROW_SIZE 65500u /* bytes of elements in a row of fixed width, at most */

static struct peer peer;

static struct htstore_variable *create(const char *name, const struct htstore_array *value)
{
    struct htstore_variable_schema schema = { .size = sizeof schema, .initial_value = *value };
    struct htstore_variable *variable;
    if (!name)
        schema.flags = HTSTORE_ANONYMOUS;
    OK(htstore_variable_create(api.store, name, &schema, &variable, &api.error));
    return objects_keep(variable);
}

/* Room for an array like this one. */
static struct htstore_array room_like(const struct htstore_array *array)
{
    const struct htstore_array scalar = htstore_scalar(array->dtype, NULL);
    struct htstore_array out = api_room(array->dtype, &scalar, api_shape(array));
    out.arena = api.arena;
    return out;
}

static void expect_value(struct htstore_variable *variable, const struct htstore_array *value)
{
    struct htstore_array out = room_like(value);
    OK(htstore_variable_read(variable, &out, &api.error));
    ck_assert_msg(api_equal(&out, value), "%s of shape [%s] is not what was written", htstore_dtype_name(value->dtype),
                  api_shape(value));
}

static void assign(struct htstore_variable *variable, const struct htstore_array *value)
{
    OK(htstore_variable_assign(variable, value, &api.error));
}

/* Memory of one shape is reused: the large ones would add up. */
static void tidy(void)
{
    objects_close();
    htstore_arena_reset(api.arena);
    api_forget();
}

/* ---- dtypes and shapes ---- */

static const char *const shapes[] = { "", "1", "0", "7", "2,3", "0,5", "2,0,3", "3,1,2", "1,1,1,4", "2,1,3,1,2,1,2,1" };
#define N_SHAPES (sizeof shapes / sizeof shapes[0])

static void begin_store(int small_memory)
{
    if (!small_memory)
        return;
    api_close_store();
    api.options.flags |= HTSTORE_NO_PRELOAD;
    api.options.cache_bytes = 4096;
    api_open_store();
}

static void go_through(uint32_t dtype, const char *shape)
{
    struct htstore_array a = api_numbered(dtype, shape, 0), b = api_numbered(dtype, shape, 99);
    struct htstore_variable *v = create("v", &a);
    expect_value(v, &a);
    assign(v, &b);
    expect_value(v, &b);
    OK(htstore_flush(api.store, &api.error));
    expect_value(v, &b);
    assign(v, &a);
    objects_reopen();
    v = get_variable("v");
    expect_value(v, &a);
    assign(v, &b);
    assign(v, &b);
    expect_value(v, &b);
    objects_reopen();
    expect_value(get_variable("v"), &b);
    objects_close();
    OK(htstore_variable_drop(api.store, "v", &api.error));
    tidy();
}

START_TEST(variables_have_every_dtype_and_shape)
{
    begin_store(_i % 2);
    for (size_t i = 0; i < N_SHAPES; i++)
        go_through((uint32_t)_i / 2, shapes[i]);
}
END_TEST

START_TEST(variables_have_every_number_of_rows)
{
    const uint32_t dtype = (uint32_t)_i / 2;
    const size_t per_row = dtype == HTSTORE_STRING ? 1 : ROW_SIZE / htstore_dtype_size(dtype);
    const size_t counts[] = { per_row - 1, per_row, per_row + 1, 2 * per_row, 3 * per_row + 17 };
    begin_store(_i % 2);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        char shape[24];
        (void)snprintf(shape, sizeof shape, "%zu", counts[i]);
        go_through(dtype, shape);
    }
}
END_TEST

START_TEST(strings_may_be_empty_long_and_full_of_nul)
{
    struct htstore_bytes words[5] = { { NULL, 0 }, { "a\0b", 3 }, { "\0", 1 }, long_key('x', 70000), { "\xff", 1 } };
    struct htstore_array value = htstore_vector(HTSTORE_STRING, words, 5);
    struct htstore_variable *v = create("v", &value);
    expect_value(v, &value);
    objects_reopen();
    v = get_variable("v");
    expect_value(v, &value);
    words[0] = long_key('y', 200000);
    words[3] = (struct htstore_bytes){ "", 0 };
    assign(v, &value);
    expect_value(v, &value);
    struct htstore_array one = htstore_vector(HTSTORE_STRING, &words[1], 1);
    OK(htstore_variable_assign_slice(v, 4, &one, &api.error));
    words[4] = words[1];
    objects_reopen();
    expect_value(get_variable("v"), &value);
}
END_TEST

/* ---- slices ---- */

struct sliced {
    struct htstore_variable *variable;
    struct htstore_array all; /* what it holds; changed with it */
    size_t index_size; /* bytes of one index along the first dimension */
};

/* The elements from `begin` on of the model. */
static struct htstore_array part_of(const struct sliced *s, int64_t begin, int64_t n)
{
    struct htstore_array part = s->all;
    part.shape[0] = n;
    part.data = (uint8_t *)s->all.data + (size_t)begin * s->index_size;
    return part;
}

static void assign_part(struct sliced *s, int64_t begin, int64_t n, uint64_t seed)
{
    struct htstore_array part = part_of(s, begin, n);
    uint8_t *bytes = part.data;
    for (size_t i = 0; i < (size_t)n * s->index_size; i++)
        bytes[i] = (uint8_t)(seed + i * 7);
    OK(htstore_variable_assign_slice(s->variable, begin, &part, &api.error));
}

static void expect_part(const struct sliced *s, int64_t begin, int64_t n)
{
    const struct htstore_array part = part_of(s, begin, n);
    struct htstore_array out = part;
    out.data = malloc((size_t)n * s->index_size + 1);
    ck_assert_ptr_nonnull(out.data);
    OK(htstore_variable_read_slice(s->variable, begin, &out, &api.error));
    ck_assert_msg(api_equal(&out, &part), "slice of %jd at %jd", (intmax_t)n, (intmax_t)begin);
    free(out.data);
}

/* Indices at which rows of the variable begin, or that hold such a place, and their neighbours. */
static size_t list_places(int64_t dim, double per_row, int64_t places[32])
{
    size_t n = 0;
    for (double row = 0; row * per_row < (double)dim + per_row; row++)
        for (int64_t at = (int64_t)(row * per_row) - 1; at <= (int64_t)(row * per_row) + 1; at++)
            if (at >= 0 && at <= dim && (n == 0 || places[n - 1] < at))
                places[n++] = at;
    if (places[n - 1] != dim)
        places[n++] = dim;
    return n;
}

static const struct {
    uint32_t dtype;
    const char *shape;
    double per_row; /* indices of a row */
} sliced_shapes[] = {
    { HTSTORE_INT16, "65700", 32750 }, /* two rows and a bit */
    { HTSTORE_INT64, "2000,7", 8187.0 / 7 }, /* an index lies in two rows */
    { HTSTORE_UINT8, "3,65000", 65500.0 / 65000 }, /* one row of ours is almost one of its */
    { HTSTORE_FLOAT32, "5,40000", 16375.0 / 40000 }, /* an index has several rows */
    { HTSTORE_INT32, "100", 100 }, /* one row */
};
#define N_SLICED ((int)(sizeof sliced_shapes / sizeof sliced_shapes[0]))

START_TEST(slices_are_exact_around_the_limits_of_rows)
{
    struct sliced s;
    int64_t places[32];
    const int which = _i / 2;
    begin_store(_i % 2);
    api.options.durability = HTSTORE_LAZY;
    s.all = api_numbered(sliced_shapes[which].dtype, sliced_shapes[which].shape, 3);
    s.index_size = api_count(&s.all) / (size_t)s.all.shape[0] * htstore_dtype_size(s.all.dtype);
    s.variable = create("v", &s.all);
    const size_t n = list_places(s.all.shape[0], sliced_shapes[which].per_row, places);
    uint64_t seed = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++) {
            assign_part(&s, places[i], places[j] - places[i], ++seed);
            expect_part(&s, places[i], places[j] - places[i]);
            if (seed % 16 == 0) {
                OK(htstore_flush(api.store, &api.error));
                expect_value(s.variable, &s.all);
            }
        }
    expect_value(s.variable, &s.all);
    objects_reopen();
    s.variable = get_variable("v");
    expect_value(s.variable, &s.all);
    for (size_t i = 0; i < n; i++)
        for (size_t j = i; j < n; j++)
            expect_part(&s, places[i], places[j] - places[i]);
}
END_TEST

START_TEST(slices_of_strings_are_exact)
{
    struct htstore_array all = api_numbered(HTSTORE_STRING, "6,2", 0), part;
    struct htstore_variable *v = create("v", &all);
    for (int64_t begin = 0; begin <= 6; begin++)
        for (int64_t end = begin; end <= 6; end++) {
            char shape[16];
            (void)snprintf(shape, sizeof shape, "%d,2", (int)(end - begin));
            part = api_numbered(HTSTORE_STRING, shape, (uint64_t)(begin * 10 + end));
            OK(htstore_variable_assign_slice(v, begin, &part, &api.error));
            memcpy((struct htstore_bytes *)all.data + begin * 2, part.data,
                   api_count(&part) * sizeof(struct htstore_bytes));
            struct htstore_array out = room_like(&part);
            OK(htstore_variable_read_slice(v, begin, &out, &api.error));
            ck_assert(api_equal(&out, &part));
            expect_value(v, &all);
        }
    objects_reopen();
    expect_value(get_variable("v"), &all);
}
END_TEST

/* ---- refusals ---- */

static int assign_any(struct htstore_variable *v, int slice, const struct htstore_array *value)
{
    return slice ? htstore_variable_assign_slice(v, 0, value, &api.error)
                 : htstore_variable_assign(v, value, &api.error);
}

static int read_any(struct htstore_variable *v, int slice, struct htstore_array *value)
{
    return slice ? htstore_variable_read_slice(v, 0, value, &api.error) : htstore_variable_read(v, value, &api.error);
}

START_TEST(wrong_values_are_refused)
{
    struct htstore_array value = api_array(HTSTORE_INT64, "[[1 2][3 4][5 6]]"),
                         flat = api_array(HTSTORE_INT64, "[1 2 3]");
    struct htstore_array other = api_array(HTSTORE_INT32, "[[1 2][3 4][5 6]]"), none = value, out = room_like(&value);
    struct htstore_array scalar_value = api_array(HTSTORE_INT64, "1"), strings = api_array(HTSTORE_STRING, "[a b]");
    struct htstore_variable *v = create("v", &value), *scalar = create("s", &scalar_value);
    struct htstore_variable *words = create("w", &strings);
    none.data = NULL;
    for (int slice = 0; slice < 2; slice++) {
        REFUSED(assign_any(v, slice, &other), HTSTORE_ETYPE, "Value must be type int64 but got int32");
        REFUSED(assign_any(v, slice, &flat), HTSTORE_ESHAPE,
                slice ? "[3,2]" : "Expected shape [3,2] for value, got [3]");
        REFUSED(assign_any(v, slice, &none), HTSTORE_EINVAL, "");
        REFUSED(assign_any(v, slice, NULL), HTSTORE_EINVAL, "NULL");
        REFUSED(read_any(v, slice, &other), HTSTORE_ETYPE, "Value must be type int64 but got int32");
        REFUSED(read_any(v, slice, &flat), HTSTORE_ESHAPE, "got [3]");
        REFUSED(read_any(v, slice, &none), HTSTORE_EINVAL, "data");
        REFUSED(read_any(v, slice, NULL), HTSTORE_EINVAL, "NULL");
    }
    REFUSED(htstore_variable_assign_slice(v, 1, &value, &api.error), HTSTORE_ESHAPE,
            "a slice of 3 at 1 is not within the first dimension, 3");
    REFUSED(htstore_variable_assign_slice(v, -1, &value, &api.error), HTSTORE_ESHAPE, "a slice of 3 at -1 ");
    REFUSED(htstore_variable_assign_slice(v, INT64_MAX, &value, &api.error), HTSTORE_ESHAPE, "");
    REFUSED(htstore_variable_read_slice(v, 4, &out, &api.error), HTSTORE_ESHAPE, "");
    REFUSED(htstore_variable_read_slice(v, INT64_MIN, &out, &api.error), HTSTORE_ESHAPE, "");
    REFUSED(htstore_variable_assign_slice(scalar, 0, &scalar_value, &api.error), HTSTORE_ESHAPE, "scalar");
    REFUSED(htstore_variable_read_slice(scalar, 0, &scalar_value, &api.error), HTSTORE_ESHAPE, "scalar");
    struct htstore_array texts = room_like(&strings);
    texts.arena = NULL;
    REFUSED(htstore_variable_read(words, &texts, &api.error), HTSTORE_EINVAL, "arena");
    ck_assert(api_is_untouched(&out) && api_is_untouched(&texts));
    expect_value(v, &value);
}
END_TEST

START_TEST(a_bool_is_0_or_1)
{
    uint8_t bytes[3] = { 0, 1, 1 };
    struct htstore_array value = htstore_vector(HTSTORE_BOOL, bytes, 3), part = value;
    struct htstore_variable *v = create("v", &value);
    struct htstore_variable_schema schema = { .size = sizeof schema, .initial_value = value };
    bytes[1] = 2;
    REFUSED(htstore_variable_assign(v, &value, &api.error), HTSTORE_EINVAL, "");
    ck_assert_int_eq(api.error.index, 1);
    part.shape[0] = 2;
    REFUSED(htstore_variable_assign_slice(v, 1, &part, &api.error), HTSTORE_EINVAL, "");
    REFUSED(htstore_variable_create(api.store, "w", &schema, &v, &api.error), HTSTORE_EINVAL, "");
    ck_assert_ptr_null(v);
    bytes[1] = 1;
    expect_value(get_variable("v"), &value);
}
END_TEST

START_TEST(schemas_are_checked_and_compared)
{
    struct htstore_array value = api_array(HTSTORE_INT64, "[1 2]"), other = api_array(HTSTORE_INT32, "[1 2]");
    struct htstore_variable_schema schema = { .size = sizeof schema, .role = HTSTORE_LOSS, .initial_value = value }, s;
    struct htstore_variable *v, *w;
    OK(htstore_variable_get_or_create(api.store, "v", &schema, &v, &api.error));
    objects_keep(v);
    ck_assert_str_eq(htstore_variable_name(v), "v");
    s = (struct htstore_variable_schema){ .size = sizeof s };
    OK(htstore_variable_schema(v, &s, &api.error));
    ck_assert(s.role == HTSTORE_LOSS && s.flags == 0 && s.initial_value.dtype == HTSTORE_INT64);
    ck_assert(s.initial_value.rank == 1 && s.initial_value.shape[0] == 2 && !s.initial_value.data);
    s = schema;
    s.initial_value = api_array(HTSTORE_INT64, "[8 9]"); /* elements do not count, and change nothing */
    OK(htstore_variable_get_or_create(api.store, "v", &s, &w, &api.error));
    expect_value(w, &value);
    OK(htstore_variable_close(w, &api.error));
    s.initial_value.data = NULL;
    OK(htstore_variable_open(api.store, "v", &s, &w, &api.error));
    OK(htstore_variable_close(w, &api.error));
    s.initial_value = other;
    REFUSED(htstore_variable_get_or_create(api.store, "v", &s, &w, &api.error), HTSTORE_ECONFLICT,
            "Conflicting dtypes int32 with int64 for variable v");
    s.initial_value = api_array(HTSTORE_INT64, "[[1 2]]");
    REFUSED(htstore_variable_open(api.store, "v", &s, &w, &api.error), HTSTORE_ECONFLICT, "shapes [1,2] with [2]");
    s = schema;
    s.role = 0;
    REFUSED(htstore_variable_open(api.store, "v", &s, &w, &api.error), HTSTORE_ECONFLICT,
            "Conflicting roles weight with loss for variable v");
    s.role = 4;
    REFUSED(htstore_variable_create(api.store, "n", &s, &w, &api.error), HTSTORE_EINVAL, "role");
    s = schema;
    s.flags = HTSTORE_NOT_TRAINABLE;
    REFUSED(htstore_variable_open(api.store, "v", &s, &w, &api.error), HTSTORE_ECONFLICT, "v");
    s.flags = HTSTORE_LAYER;
    REFUSED(htstore_variable_create(api.store, "n", &s, &w, &api.error), HTSTORE_EINVAL, "flag");
    s = schema;
    s.initial_value.data = NULL;
    REFUSED(htstore_variable_create(api.store, "n", &s, &w, &api.error), HTSTORE_EINVAL, "nitial value");
    s.initial_value = (struct htstore_array){ 0 };
    ck_assert_int_lt(htstore_variable_create(api.store, "n", &s, &w, &api.error), 0);
    s = schema;
    s.initial_value.rank = 9;
    REFUSED(htstore_variable_create(api.store, "n", &s, &w, &api.error), HTSTORE_ESHAPE, "");
    REFUSED(htstore_variable_create(api.store, "v", &schema, &w, &api.error), HTSTORE_EEXIST, "v");
    REFUSED(htstore_variable_create(api.store, "n", NULL, &w, &api.error), HTSTORE_EINVAL, "");
    REFUSED(htstore_variable_create(api.store, NULL, &schema, &w, &api.error), HTSTORE_EINVAL, "name");
    REFUSED(htstore_variable_open(api.store, "n", NULL, &w, &api.error), HTSTORE_ENOTFOUND, "variable n");
    ck_assert_ptr_null(w);
    ck_assert_uint_eq(object_count(), 1);
}
END_TEST

/* ---- large values ---- */

#define N_LARGE 9000000 /* 72 MB: above what is written as one batch */

/* The value after step k, without a second copy of it. */
static int64_t large_element(int64_t step, size_t i)
{
    return step * 1000000007 + (int64_t)i;
}

static void fill_large(int64_t *data, int64_t step)
{
    for (size_t i = 0; i < N_LARGE; i++)
        data[i] = large_element(step, i);
}

static void expect_large(struct htstore_variable *v, int64_t *data, int64_t step)
{
    struct htstore_array out = htstore_vector(HTSTORE_INT64, data, N_LARGE);
    memset(data, 0xA5, N_LARGE * sizeof *data);
    OK(htstore_variable_read(v, &out, &api.error));
    for (size_t i = 0; i < N_LARGE; i++)
        if (data[i] != large_element(step, i))
            ck_abort_msg("element %zu of step %jd is %jd", i, (intmax_t)step, (intmax_t)data[i]);
}

START_TEST(a_value_above_the_limit_of_a_batch_is_replaced_in_one_step)
{
    int64_t *data = malloc(N_LARGE * sizeof *data), edge[3] = { 5, 6, 7 }, back[3];
    ck_assert_ptr_nonnull(data);
    begin_store(_i);
    struct htstore_array value = htstore_vector(HTSTORE_INT64, data, N_LARGE),
                         part = htstore_vector(HTSTORE_INT64, edge, 3);
    fill_large(data, 1);
    struct htstore_variable *v = create("v", &value);
    struct htstore_table *t = new_table("t");
    set_number(t, 1); /* a batch that is not flushed when contents are switched */
    fill_large(data, 2);
    assign(v, &value);
    ck_assert_int_eq(number_of(t), 1);
    OK(htstore_variable_assign_slice(v, N_LARGE - 3, &part, &api.error));
    part.data = back;
    OK(htstore_variable_read_slice(v, N_LARGE - 3, &part, &api.error));
    ck_assert_mem_eq(edge, back, sizeof edge);
    fill_large(data, 3);
    assign(v, &value);
    expect_large(v, data, 3);
    objects_reopen();
    expect_large(get_variable("v"), data, 3);
    OK(htstore_table_open(api.store, "t", NULL, &t, &api.error));
    ck_assert_int_eq(number_of(objects_keep(t)), 1);
    free(data);
}
END_TEST

/* ---- several threads ---- */

#define N_SLICES 6
#define N_ROUNDS 150

struct writer {
    struct htstore_variable *variable;
    int64_t index;
    int result;
    struct htstore_error error;
};

static void *write_own_index(void *argument)
{
    struct writer *w = argument;
    for (int64_t k = 1; w->result == 0 && k <= N_ROUNDS; k++) {
        const int64_t pair[] = { k, k * 3 };
        const struct htstore_array part = htstore_matrix(HTSTORE_INT64, pair, 1, 2);
        w->result = htstore_variable_assign_slice(w->variable, w->index, &part, &w->error);
    }
    return NULL;
}

static void *write_whole_of_another(void *argument)
{
    struct writer *w = argument;
    int64_t value[2] = { 0, 0 };
    const struct htstore_array whole = htstore_vector(HTSTORE_INT64, value, 2);
    for (int64_t k = 1; w->result == 0 && k <= N_ROUNDS; k++) {
        value[0] = value[1] = k;
        w->result = htstore_variable_assign(w->variable, &whole, &w->error);
    }
    return NULL;
}

START_TEST(slices_of_one_row_by_several_threads_are_never_lost)
{
    struct writer writers[N_SLICES + 1] = { 0 };
    pthread_t threads[N_SLICES + 1];
    int64_t all[N_SLICES][2] = { 0 };
    struct htstore_array value = htstore_matrix(HTSTORE_INT64, all, N_SLICES, 2),
                         pair = api_array(HTSTORE_INT64, "[0 0]");
    begin_store(_i);
    struct htstore_variable *v = create("v", &value), *other = create("w", &pair);
    for (int i = 0; i <= N_SLICES; i++) {
        writers[i] = (struct writer){ .variable = i < N_SLICES ? v : other, .index = i };
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, i < N_SLICES ? write_own_index : write_whole_of_another, &writers[i]), 0);
    }
    for (int64_t last = 0; last < N_ROUNDS;) { /* meanwhile every read shows one state */
        int64_t seen[2] = { 0, 0 };
        struct htstore_array out = htstore_vector(HTSTORE_INT64, seen, 2);
        OK(htstore_variable_read(other, &out, &api.error));
        ck_assert(seen[0] == seen[1] && seen[0] >= last);
        last = seen[0];
    }
    for (int i = 0; i <= N_SLICES; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert_msg(writers[i].result == 0, "%s", writers[i].error.message);
    }
    for (int i = 0; i < N_SLICES; i++) {
        all[i][0] = N_ROUNDS;
        all[i][1] = 3 * N_ROUNDS;
    }
    expect_value(v, &value);
    objects_reopen();
    expect_value(get_variable("v"), &value);
}
END_TEST

/* ---- a killed owner ---- */

START_TEST(what_was_assigned_survives_a_kill)
{
    int64_t value[10000];
    struct htstore_array out = htstore_vector(HTSTORE_INT64, value, 10000);
    api_close_store();
    ck_assert_str_eq(peer_start(&peer, "c"), "0");
    ck_assert_str_eq(peer_ask(&peer, "assign 5"), "0");
    if (_i)
        ck_assert_str_eq(peer_ask(&peer, "flush"), "0");
    ck_assert_str_eq(peer_ask(&peer, "assign 6"), "0");
    peer_finish(&peer, SIGKILL);
    api_open_store();
    OK(htstore_variable_read(get_variable("v"), &out, &api.error));
    for (size_t i = 0; i < 10000; i++)
        ck_assert_int_eq(value[i], 6);
}
END_TEST

static void teardown(void)
{
    peer_finish(&peer, SIGKILL);
    objects_teardown();
}

int main(void)
{
    Suite *suite = suite_create("variable");
    TCase *values = tcase_create("values"), *rules = tcase_create("rules");
    tcase_add_checked_fixture(values, objects_setup, teardown);
    tcase_add_loop_test(values, variables_have_every_dtype_and_shape, 2 * HTSTORE_INT8, 2 * HTSTORE_STRING + 2);
    tcase_add_loop_test(values, variables_have_every_number_of_rows, 2 * HTSTORE_INT8, 2 * HTSTORE_STRING + 2);
    tcase_add_test(values, strings_may_be_empty_long_and_full_of_nul);
    tcase_add_loop_test(values, slices_are_exact_around_the_limits_of_rows, 0, 2 * N_SLICED);
    tcase_add_test(values, slices_of_strings_are_exact);
    tcase_add_loop_test(values, a_value_above_the_limit_of_a_batch_is_replaced_in_one_step, 0, 2);
    suite_add_tcase(suite, values);
    tcase_add_checked_fixture(rules, objects_setup, teardown);
    tcase_add_test(rules, wrong_values_are_refused);
    tcase_add_test(rules, a_bool_is_0_or_1);
    tcase_add_test(rules, schemas_are_checked_and_compared);
    tcase_add_loop_test(rules, slices_of_one_row_by_several_threads_are_never_lost, 0, 2);
    tcase_add_loop_test(rules, what_was_assigned_survives_a_kill, 0, 2);
    suite_add_tcase(suite, rules);
    return check_run(suite);
}
