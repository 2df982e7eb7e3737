/* Tests of run: the rows of many batches in LMDB's order, each key once with what was said of it last; against a plain model. */
#include "run.h"

#include <stdlib.h>
#include <string.h>

#include "check_util.h"
#include "mem.h"
#include "record.h"
#include "samples.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define POOL_SIZE 24u
#define LONG_SIZE 600u

static struct htstore store;

static void set_up(void)
{
    sample_seed(1);
    memset(&store, 0, sizeof store);
    ck_assert_int_eq(pthread_mutex_init(&store.objects_mutex, NULL), 0);
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    hti_codec_test_hash_mask(UINT64_MAX);
    while (store.cores) {
        struct hti_core *core = store.cores;
        store.cores = core->next;
        hti_core_free(core);
    }
    pthread_mutex_destroy(&store.objects_mutex);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

static void add_table(uint64_t id, const struct hti_row_type *type)
{
    struct hti_object_record record = { .kind = HTSTORE_KIND_TABLE,
                                        .id = id,
                                        .flags = HTSTORE_ANONYMOUS,
                                        .key_dtype = type->key_dtype,
                                        .value_dtype = type->value_dtype };
    struct hti_core *core;

    record.value_shape.rank = 1;
    record.value_shape.dim[0] = (int64_t)type->n_elements;
    record.default_size = type->value_is_fixed ? type->value_size : (size_t)type->n_elements * 4;
    record.default_value = hti_mem_zalloc(record.default_size);
    core = hti_core_new(&record);
    ck_assert_ptr_nonnull(core);
    core->next = store.cores;
    store.cores = core;
}

/* --- the model: operations in the order of their arrival --- */

struct said {
    uint64_t table;
    const struct hti_row *row; /* NULL: a clear */
    bool put;
};

struct history {
    struct said *said;
    size_t n, capacity;
    struct hti_record *list, **end;
};

static void history_init(struct history *h)
{
    memset(h, 0, sizeof *h);
    h->end = &h->list;
}

static void history_free(struct history *h)
{
    hti_record_free_list(h->list);
    free(h->said);
}

static void say(struct history *h, uint64_t table, const struct hti_row *row, bool put)
{
    if (h->n == h->capacity) {
        h->capacity = h->capacity * 2 + 16;
        h->said = realloc(h->said, h->capacity * sizeof *h->said);
        ck_assert_ptr_nonnull(h->said);
    }
    h->said[h->n++] = (struct said){ table, row, put };
}

static struct hti_record *add_record(struct history *h)
{
    struct hti_record *record = hti_record_new();

    ck_assert_ptr_nonnull(record);
    *h->end = record;
    h->end = &record->next;
    return record;
}

/* An operation on rows of the pool, drawn at random: the same key may come twice in it. */
static void add_op(struct history *h, struct hti_record *record, uint64_t table, const struct sample_rows *pool,
                   uint32_t kind, size_t n)
{
    struct hti_op_builder builder;

    hti_op_builder_init(&builder, table, &pool->type, kind);
    if (kind == HTI_OP_CLEAR)
        say(h, table, NULL, false);
    for (size_t i = 0; kind != HTI_OP_CLEAR && i < n; i++) {
        const struct hti_row *row = &pool->rows[sample_below(pool->n)];
        ck_assert_int_eq(hti_op_builder_row(&builder, row), 0);
        say(h, table, row, kind == HTI_OP_PUT);
    }
    ck_assert_int_eq(hti_op_builder_finish(&builder, record, NULL), 0);
    hti_op_builder_release(&builder);
}

static int compare_stored(const struct hti_row_type *type, const void *a, size_t a_size, const void *b, size_t b_size)
{
    uint8_t x[HTI_STORED_KEY_MAX], y[HTI_STORED_KEY_MAX];
    const size_t m = hti_codec_store_key(type, a, a_size, x), n = hti_codec_store_key(type, b, b_size, y);
    const int order = memcmp(x, y, m < n ? m : n);

    return order ? order : (m > n) - (m < n);
}

/* What the history says of a key of a table at its end: the last operation after the last clear; NULL if none. */
static const struct said *last_said(const struct history *h, uint64_t table, const struct hti_row_type *type,
                                    const void *key, size_t key_size)
{
    for (size_t i = h->n; i-- > 0;) {
        const struct said *s = &h->said[i];
        if (s->table != table)
            continue;
        if (!s->row)
            return NULL;
        if (compare_stored(type, s->row->key, s->row->key_size, key, key_size) == 0)
            return s;
    }
    return NULL;
}

static bool was_cleared(const struct history *h, uint64_t table)
{
    for (size_t i = 0; i < h->n; i++)
        if (h->said[i].table == table && !h->said[i].row)
            return true;
    return false;
}

/* Keys that must be in the run: each counted at its last operation. */
static size_t count_keys(const struct history *h, uint64_t table, const struct hti_row_type *type)
{
    size_t n = 0;

    for (size_t i = 0; i < h->n; i++)
        if (h->said[i].table == table && h->said[i].row &&
            last_said(h, table, type, h->said[i].row->key, h->said[i].row->key_size) == &h->said[i])
            n++;
    return n;
}

static void check_row(const struct history *h, const struct hti_run_table *t, const struct hti_row *row)
{
    const struct said *said = last_said(h, t->core->record.id, &t->core->type, row->key, row->key_size);

    ck_assert_ptr_nonnull(said);
    ck_assert_uint_eq(row->key_size, said->row->key_size);
    ck_assert(memcmp(row->key, said->row->key, row->key_size) == 0);
    ck_assert(!row->value == !said->put);
    if (!said->put)
        return;
    ck_assert_uint_eq(row->value_size, said->row->value_size);
    ck_assert(memcmp(row->value, said->row->value, row->value_size) == 0);
}

static void check_table_of(const struct history *h, const struct hti_run *run, const struct hti_run_table *t)
{
    const struct hti_row_type *type = &t->core->type;
    uint8_t space[2][8];
    struct hti_row rows[2];

    ck_assert(t->cleared == was_cleared(h, t->core->record.id));
    ck_assert(t->is_fixed == (type->key_size != 0 && type->value_is_fixed));
    ck_assert_uint_eq(t->end - t->begin, count_keys(h, t->core->record.id, type));
    for (size_t at = t->begin; at < t->end; at++) {
        const struct hti_row *before = &rows[(at + 1) % 2];
        struct hti_row *row = &rows[at % 2];
        hti_run_row(run, t, at, space[at % 2], row);
        check_row(h, t, row);
        if (at > t->begin)
            ck_assert_int_lt(compare_stored(type, before->key, before->key_size, row->key, row->key_size), 0);
    }
}

static void check_run_of(const struct history *h, const struct hti_run *run)
{
    for (uint32_t i = 0; i < run->n_tables; i++) {
        const struct hti_run_table *t = &run->tables[i];
        check_table_of(h, run, t);
        for (uint32_t k = 0; k < i; k++) {
            ck_assert_ptr_ne(run->tables[k].core, t->core);
            ck_assert(run->tables[k].end <= t->begin);
        }
    }
}

static uint32_t random_kind(void)
{
    const size_t i = sample_below(20);
    return i == 0 ? HTI_OP_CLEAR : i < 14 ? HTI_OP_PUT : HTI_OP_REMOVE;
}

/* --- tests --- */

START_TEST(rows_are_ordered_and_coalesced_as_the_model_says)
{
    struct sample_rows pool;
    struct hti_row_type type;
    struct history h;
    struct hti_run run;

    sample_type((unsigned)_i, &type);
    add_table(7, &type);
    for (int round = 0; round < 30; round++) {
        sample_rows_make(&pool, &type, POOL_SIZE, true);
        history_init(&h);
        for (size_t n = sample_below(8); n > 0; n--) {
            struct hti_record *record = add_record(&h);
            for (size_t ops = sample_below(4); ops > 0; ops--)
                add_op(&h, record, 7, &pool, random_kind(), sample_below(12));
        }
        ck_assert_int_eq(hti_run_build(&store, h.list, &run, NULL), 0);
        ck_assert_uint_le(run.n_tables, 1);
        check_run_of(&h, &run);
        hti_run_release(&run);
        history_free(&h);
        sample_rows_free(&pool);
    }
}
END_TEST

START_TEST(many_tables_are_told_apart)
{
    struct sample_rows pools[N_SAMPLE_TYPES];
    struct hti_row_type type;
    struct history h;
    struct hti_run run;

    for (unsigned i = 0; i < N_SAMPLE_TYPES; i++) {
        sample_type(i, &type);
        add_table(1 + (i * 7) % N_SAMPLE_TYPES * 3, &type); /* not in the order of their numbers */
        sample_rows_make(&pools[i], &type, POOL_SIZE, true);
    }
    for (int round = 0; round < 10; round++) {
        history_init(&h);
        for (size_t n = 20; n > 0; n--) {
            struct hti_record *record = add_record(&h);
            for (size_t ops = sample_below(5); ops > 0; ops--) {
                const unsigned i = (unsigned)sample_below(N_SAMPLE_TYPES);
                add_op(&h, record, 1 + (i * 7) % N_SAMPLE_TYPES * 3, &pools[i], random_kind(), sample_below(30));
            }
        }
        ck_assert_int_eq(hti_run_build(&store, h.list, &run, NULL), 0);
        check_run_of(&h, &run);
        hti_run_release(&run);
        history_free(&h);
    }
    for (unsigned i = 0; i < N_SAMPLE_TYPES; i++)
        sample_rows_free(&pools[i]);
}
END_TEST

/* Keys around the size from which they are stored by their hash, with and without the same first bytes. */
START_TEST(string_keys_of_any_size_come_in_the_order_of_lmdb)
{
    static const size_t sizes[] = { 0, 1, 7, 8, 9, 488, 489, 490, 491, 492, 505, 506, 507, 600 };
    struct sample_rows pool;
    struct hti_row_type type;
    struct history h;
    struct hti_run run;

    sample_type(4, &type);
    add_table(7, &type);
    sample_rows_make(&pool, &type, 3 * COUNT(sizes), false);
    for (size_t i = 0; i < pool.n; i++) {
        struct hti_row *row = &pool.rows[i];
        free((void *)(uintptr_t)row->key);
        row->key_size = sizes[i % COUNT(sizes)];
        uint8_t *key = calloc(1, row->key_size + 1);
        ck_assert_ptr_nonnull(key);
        if (i >= COUNT(sizes)) /* else all zeros: each the beginning of the next */
            memset(key, i >= 2 * COUNT(sizes) ? 0xFF : 'k', row->key_size);
        if (row->key_size > 490)
            key[row->key_size - 1] = (uint8_t)i;
        else if (row->key_size > 16 && i % 2)
            key[16] = (uint8_t)i; /* another one behind the first 8 bytes, which are compared first */
        row->key = key;
    }
    for (int round = 0; round < 20; round++) {
        history_init(&h);
        add_op(&h, add_record(&h), 7, &pool, HTI_OP_PUT, 60);
        add_op(&h, add_record(&h), 7, &pool, HTI_OP_REMOVE, 10);
        ck_assert_int_eq(hti_run_build(&store, h.list, &run, NULL), 0);
        check_run_of(&h, &run);
        hti_run_release(&run);
        history_free(&h);
    }
    sample_rows_free(&pool);
}
END_TEST

/* More than are compared one by one, that share first bytes of many lengths, some of them being the beginning of others. */
START_TEST(strings_that_share_their_beginning_are_ordered)
{
    struct sample_rows pool;
    struct hti_row_type type;
    struct history h;
    struct hti_run run;

    sample_type(4, &type);
    add_table(7, &type);
    sample_rows_make(&pool, &type, 400, false);
    for (size_t i = 0; i < pool.n; i++) {
        struct hti_row *row = &pool.rows[i];
        const size_t shared = (size_t)_i * 8 + sample_below(2) * 8u, size = shared + sample_below(20);
        free((void *)(uintptr_t)row->key);
        uint8_t *key = calloc(1, size + 1);
        ck_assert_ptr_nonnull(key);
        memset(key, _i % 2 ? 0 : 'k', shared);
        for (size_t k = shared; k < size; k++)
            key[k] = (uint8_t)sample_below(3);
        row->key = key;
        row->key_size = size;
    }
    history_init(&h);
    add_op(&h, add_record(&h), 7, &pool, HTI_OP_PUT, 700);
    add_op(&h, add_record(&h), 7, &pool, HTI_OP_REMOVE, 100);
    ck_assert_int_eq(hti_run_build(&store, h.list, &run, NULL), 0);
    check_run_of(&h, &run);
    hti_run_release(&run);
    history_free(&h);
    sample_rows_free(&pool);
}
END_TEST

/* Two keys with one place in LMDB: what was said last is what stands there. */
START_TEST(colliding_long_keys_are_one_row)
{
    static uint8_t a[LONG_SIZE], b[LONG_SIZE];
    const int64_t values[2] = { 1, 2 };
    const struct hti_row rows[2] = { { a, LONG_SIZE, &values[0], 8 }, { b, LONG_SIZE, &values[1], 8 } };
    struct sample_rows pool = { .n = 1 };
    struct hti_run run;
    struct history h;

    hti_codec_test_hash_mask(0);
    b[LONG_SIZE - 1] = 'b';
    sample_type(4, &pool.type);
    add_table(7, &pool.type);
    history_init(&h);
    pool.rows = (struct hti_row *)(uintptr_t)&rows[0];
    add_op(&h, add_record(&h), 7, &pool, HTI_OP_PUT, 1);
    add_op(&h, add_record(&h), 7, &pool, HTI_OP_REMOVE, 1);
    pool.rows = (struct hti_row *)(uintptr_t)&rows[1];
    add_op(&h, add_record(&h), 7, &pool, HTI_OP_PUT, 1);
    ck_assert_int_eq(hti_run_build(&store, h.list, &run, NULL), 0);
    ck_assert_uint_eq(run.tables[0].end - run.tables[0].begin, 1);
    check_run_of(&h, &run);
    hti_run_release(&run);
    history_free(&h);
}
END_TEST

START_TEST(a_clear_takes_what_came_before_and_nothing_else)
{
    struct sample_rows pool;
    struct hti_row_type type;
    struct history h;
    struct hti_run run;

    sample_type(0, &type);
    add_table(7, &type);
    add_table(8, &type);
    sample_rows_make(&pool, &type, POOL_SIZE, false);
    history_init(&h);
    struct hti_record *record = add_record(&h);
    add_op(&h, record, 8, &pool, HTI_OP_PUT, 5);
    add_op(&h, record, 7, &pool, HTI_OP_PUT, 10);
    add_op(&h, record, 7, &pool, HTI_OP_CLEAR, 0);
    add_op(&h, record, 7, &pool, HTI_OP_CLEAR, 0);
    ck_assert_int_eq(hti_run_build(&store, h.list, &run, NULL), 0);
    ck_assert_uint_eq(run.n_tables, 2);
    check_run_of(&h, &run);
    ck_assert(!run.tables[0].cleared);
    ck_assert(run.tables[1].cleared);
    ck_assert_uint_eq(run.tables[1].begin, run.tables[1].end);
    hti_run_release(&run);
    add_op(&h, add_record(&h), 7, &pool, HTI_OP_PUT, 3); /* what comes after it stays */
    ck_assert_int_eq(hti_run_build(&store, h.list, &run, NULL), 0);
    check_run_of(&h, &run);
    hti_run_release(&run);
    history_free(&h);
    sample_rows_free(&pool);
}
END_TEST

START_TEST(nothing_makes_an_empty_run)
{
    struct hti_row_type type;
    struct hti_run run;
    struct history h;

    ck_assert_int_eq(hti_run_build(&store, NULL, &run, NULL), 0);
    ck_assert_uint_eq(run.n_tables, 0);
    hti_run_release(&run);
    sample_type(0, &type);
    add_table(7, &type);
    history_init(&h);
    add_record(&h);
    ck_assert_int_eq(hti_run_build(&store, h.list, &run, NULL), 0);
    ck_assert_uint_eq(run.n_tables, 0);
    hti_run_release(&run);
    hti_run_release(&run);
    history_free(&h);
}
END_TEST

START_TEST(a_table_that_does_not_exist_is_damage)
{
    struct sample_rows pool;
    struct hti_row_type type;
    struct htstore_error error;
    struct hti_run run;
    struct history h;
    static const uint64_t strange[] = { 0, 6, 8, UINT64_MAX };

    sample_type(0, &type);
    add_table(7, &type);
    sample_rows_make(&pool, &type, 1, false);
    for (size_t i = 0; i < COUNT(strange); i++) {
        history_init(&h);
        add_op(&h, add_record(&h), 7, &pool, HTI_OP_PUT, 1);
        add_op(&h, add_record(&h), strange[i], &pool, i % 2 ? HTI_OP_CLEAR : HTI_OP_PUT, 1);
        ck_assert_int_eq(hti_run_build(&store, h.list, &run, &error), HTSTORE_ECORRUPT);
        ck_assert_int_eq(error.code, HTSTORE_ECORRUPT);
        ck_assert_ptr_null(run.items);
        ck_assert_ptr_null(run.wide);
        ck_assert_ptr_null(run.tables);
        history_free(&h);
    }
    sample_rows_free(&pool);
}
END_TEST

START_TEST(without_memory_the_records_can_be_sorted_later)
{
    struct sample_rows pool;
    struct hti_row_type type;
    struct htstore_error error;
    struct hti_run run;
    struct history h;
    bool failed = true;

    sample_type(5, &type);
    add_table(7, &type);
    sample_rows_make(&pool, &type, POOL_SIZE, true);
    history_init(&h);
    for (int i = 0; i < 5; i++)
        add_op(&h, add_record(&h), 7, &pool, HTI_OP_PUT, 20);
    for (uint64_t after = 0; failed; after++) {
        hti_mem_test_fail(after, false);
        const int rc = hti_run_build(&store, h.list, &run, &error);
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_int_eq(rc, failed ? HTSTORE_ENOMEM : 0);
        if (!failed)
            check_run_of(&h, &run);
        hti_run_release(&run);
    }
    history_free(&h);
    sample_rows_free(&pool);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("run");
    TCase *tests = tcase_create("run");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, rows_are_ordered_and_coalesced_as_the_model_says, 0, N_SAMPLE_TYPES);
    tcase_add_test(tests, many_tables_are_told_apart);
    tcase_add_test(tests, string_keys_of_any_size_come_in_the_order_of_lmdb);
    tcase_add_loop_test(tests, strings_that_share_their_beginning_are_ordered, 0, 70);
    tcase_add_test(tests, colliding_long_keys_are_one_row);
    tcase_add_test(tests, a_clear_takes_what_came_before_and_nothing_else);
    tcase_add_test(tests, nothing_makes_an_empty_run);
    tcase_add_test(tests, a_table_that_does_not_exist_is_damage);
    tcase_add_test(tests, without_memory_the_records_can_be_sorted_later);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
