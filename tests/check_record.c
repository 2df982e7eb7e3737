/* Tests of record: both ways to build a batch, its limits, and that no header or payload from a file is believed too soon. */
#include "record.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bytes.h"
#include "check_util.h"
#include "mem.h"
#include "samples.h"

#define TABLE_ID 42u
#define BINDING UINT64_C(0x1122334455667788)
#define OP_SIZE 40u
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* Memory that nobody may read or write, of any size that a test claims it has. */
static void *forbidden;

static void set_up(void)
{
    sample_seed(1);
    forbidden = mmap(NULL, 1 << 16, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert(forbidden != MAP_FAILED);
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    munmap(forbidden, 1 << 16);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

static struct hti_record *new_record(void)
{
    struct hti_record *record = hti_record_new();
    ck_assert_ptr_nonnull(record);
    return record;
}

static const uint8_t *payload_of(const struct hti_record *record)
{
    return record->buf.data + HTI_RECORD_HEADER_SIZE;
}

static size_t payload_size_of(const struct hti_record *record)
{
    return record->buf.size - HTI_RECORD_HEADER_SIZE;
}

static int add_rows(struct hti_record *record, uint32_t kind, const struct sample_rows *rows,
                    struct htstore_error *error)
{
    const struct hti_op_source source = {
        .table_id = TABLE_ID,
        .type = &rows->type,
        .kind = kind,
        .n_rows = rows->n,
        .keys = rows->keys,
        .values = kind == HTI_OP_REMOVE ? NULL : rows->values,
    };
    return hti_record_add(record, &source, error);
}

static int build_rows(struct hti_record *record, uint32_t kind, const struct sample_rows *rows)
{
    struct hti_op_builder builder;
    int rc = 0;

    hti_op_builder_init(&builder, TABLE_ID, &rows->type, kind);
    for (size_t i = 0; rc == 0 && i < rows->n; i++)
        rc = hti_op_builder_row(&builder, &rows->rows[i]);
    if (rc == 0)
        rc = hti_op_builder_finish(&builder, record, NULL);
    hti_op_builder_release(&builder);
    return rc;
}

static int add_clear(struct hti_record *record, const struct hti_row_type *type)
{
    const struct hti_op_source source = { .table_id = TABLE_ID, .type = type, .kind = HTI_OP_CLEAR };
    return hti_record_add(record, &source, NULL);
}

/* A record of three operations on tables of this type: n puts, a clear, n removals. */
static struct hti_record *sample_record(unsigned which, size_t n)
{
    struct hti_record *record = new_record();
    struct hti_row_type type;
    struct sample_rows rows;

    sample_type(which, &type);
    sample_rows_make(&rows, &type, n, true);
    ck_assert_int_eq(add_rows(record, HTI_OP_PUT, &rows, NULL), 0);
    ck_assert_int_eq(add_clear(record, &type), 0);
    ck_assert_int_eq(add_rows(record, HTI_OP_REMOVE, &rows, NULL), 0);
    sample_rows_free(&rows);
    hti_record_seal(record);
    hti_record_stamp(record, 7, 5, BINDING);
    return record;
}

/* --- building --- */

START_TEST(arrays_and_rows_give_the_same_bytes)
{
    static const size_t sizes[] = { 0, 1, 2, 17 };
    struct hti_row_type type;
    struct sample_rows rows;

    sample_type((unsigned)_i, &type);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct hti_record *a = new_record(), *b = new_record();
        sample_rows_make(&rows, &type, sizes[i], true);
        ck_assert_int_eq(add_rows(a, HTI_OP_PUT, &rows, NULL), 0);
        ck_assert_int_eq(build_rows(b, HTI_OP_PUT, &rows), 0);
        ck_assert_int_eq(add_rows(a, HTI_OP_REMOVE, &rows, NULL), 0);
        ck_assert_int_eq(build_rows(b, HTI_OP_REMOVE, &rows), 0);
        ck_assert_uint_eq(a->n_ops, 2);
        ck_assert_uint_eq(a->n_rows, 2 * sizes[i]);
        ck_assert_uint_eq(b->n_ops, 2);
        ck_assert_uint_eq(b->n_rows, 2 * sizes[i]);
        ck_assert_uint_eq(a->buf.size, b->buf.size);
        ck_assert_mem_eq(payload_of(a), payload_of(b), payload_size_of(a));
        ck_assert_uint_eq(a->buf.size % 8, 0);
        ck_assert_uint_eq(hti_record_size(a), a->buf.size);
        sample_rows_free(&rows);
        hti_record_free(a);
        hti_record_free(b);
    }
}
END_TEST

static void check_op(const struct hti_op *op, uint32_t kind, const struct sample_rows *expected)
{
    struct hti_row_walk walk;
    struct hti_row row;
    size_t n = 0;

    ck_assert_uint_eq(op->table_id, TABLE_ID);
    ck_assert_uint_eq(op->kind, kind);
    ck_assert_uint_eq(op->n_rows, expected->n);
    ck_assert_uint_eq(op->key_size, expected->type.key_size);
    for (hti_row_walk_init(&walk, op); hti_row_walk_next(&walk, &row); n++) {
        const struct hti_row *wanted = &expected->rows[n];
        ck_assert_uint_eq(row.key_size, wanted->key_size);
        ck_assert(memcmp(row.key, wanted->key, row.key_size) == 0);
        ck_assert_ptr_nonnull(row.value);
        ck_assert_uint_eq(row.value_size, kind == HTI_OP_REMOVE ? 0 : wanted->value_size);
        ck_assert(memcmp(row.value, wanted->value, row.value_size) == 0);
    }
    ck_assert_uint_eq(n, expected->n);
    ck_assert(hti_op_is_valid(op, &expected->type));
}

START_TEST(the_walk_gives_back_what_was_added)
{
    struct hti_record *record = new_record();
    struct hti_row_type type;
    struct sample_rows rows;
    struct hti_op_walk walk;
    struct hti_op op;

    sample_type((unsigned)_i, &type);
    sample_rows_make(&rows, &type, 9, true);
    ck_assert_int_eq(add_rows(record, HTI_OP_PUT, &rows, NULL), 0);
    ck_assert_int_eq(add_rows(record, HTI_OP_REMOVE, &rows, NULL), 0);
    ck_assert_int_eq(add_clear(record, &type), 0);

    hti_op_walk_init(&walk, record);
    ck_assert_int_eq(hti_op_walk_next(&walk, &op), 0);
    check_op(&op, HTI_OP_PUT, &rows);
    ck_assert_int_eq(hti_op_walk_next(&walk, &op), 0);
    check_op(&op, HTI_OP_REMOVE, &rows);
    ck_assert_int_eq(hti_op_walk_next(&walk, &op), 0);
    ck_assert_uint_eq(op.kind, HTI_OP_CLEAR);
    ck_assert_uint_eq(op.n_rows, 0);
    ck_assert(hti_op_is_valid(&op, &type));
    ck_assert_int_eq(hti_op_walk_next(&walk, &op), 1);
    ck_assert_int_eq(hti_op_walk_next(&walk, &op), 1);
    sample_rows_free(&rows);
    hti_record_free(record);
}
END_TEST

START_TEST(one_shared_value_is_stored_for_every_key)
{
    struct hti_record *shared = new_record(), *repeated = new_record();
    struct hti_row_type type;
    struct sample_rows rows;

    sample_type((unsigned)_i, &type);
    sample_rows_make(&rows, &type, 5, false);
    const struct hti_op_source source = {
        .table_id = TABLE_ID,
        .type = &type,
        .kind = HTI_OP_PUT,
        .n_rows = rows.n,
        .keys = rows.keys,
        .values = rows.values,
        .shared_value = true,
    };
    ck_assert_int_eq(hti_record_add(shared, &source, NULL), 0);

    struct hti_op_builder builder;
    hti_op_builder_init(&builder, TABLE_ID, &type, HTI_OP_PUT);
    for (size_t i = 0; i < rows.n; i++) {
        const struct hti_row row = { rows.rows[i].key, rows.rows[i].key_size, rows.rows[0].value,
                                     rows.rows[0].value_size };
        ck_assert_int_eq(hti_op_builder_row(&builder, &row), 0);
    }
    ck_assert_int_eq(hti_op_builder_finish(&builder, repeated, NULL), 0);
    hti_op_builder_release(&builder);
    ck_assert_uint_eq(shared->buf.size, repeated->buf.size);
    ck_assert_mem_eq(payload_of(shared), payload_of(repeated), payload_size_of(shared));
    sample_rows_free(&rows);
    hti_record_free(shared);
    hti_record_free(repeated);
}
END_TEST

START_TEST(negative_zero_keys_are_packed_as_zero)
{
    static const double keys[] = { -0.0, 0.0 };
    static const int8_t values[] = { 1, 2 };
    struct hti_record *record = new_record();
    struct hti_row_type type;

    hti_row_type_init(&type, HTSTORE_FLOAT64, HTSTORE_INT8, 1);
    const struct hti_op_source source = {
        .table_id = TABLE_ID, .type = &type, .kind = HTI_OP_PUT, .n_rows = 2, .keys = keys, .values = values
    };
    ck_assert_int_eq(hti_record_add(record, &source, NULL), 0);
    const uint8_t *column = payload_of(record) + OP_SIZE;
    ck_assert_uint_eq(hti_load_le64(column), 0);
    ck_assert_uint_eq(hti_load_le64(column + 8), 0);
    hti_record_free(record);
}
END_TEST

/* What a later reader of the file sees between the columns must not be the rest of somebody's memory. */
START_TEST(padding_is_zero_whatever_the_memory_held)
{
    static const uint8_t keys[] = { 1, 2, 3 };
    static const uint8_t values[] = { 4, 5, 6 };
    struct hti_record *record = new_record();
    struct hti_row_type type;

    ck_assert_int_eq(hti_buf_reserve(&record->buf, 1024), 0);
    memset(record->buf.data + record->buf.size, 0xEE, record->buf.capacity - record->buf.size);
    hti_row_type_init(&type, HTSTORE_UINT8, HTSTORE_UINT8, 1);
    const struct hti_op_source source = {
        .table_id = TABLE_ID, .type = &type, .kind = HTI_OP_PUT, .n_rows = 3, .keys = keys, .values = values
    };
    ck_assert_int_eq(hti_record_add(record, &source, NULL), 0);
    const uint8_t *column = payload_of(record) + OP_SIZE;
    ck_assert_uint_eq(hti_load_le64(column), 0x030201);
    ck_assert_uint_eq(hti_load_le64(column + 8), 0x060504);
    ck_assert_uint_eq(payload_size_of(record), OP_SIZE + 16);
    hti_record_free(record);
}
END_TEST

START_TEST(a_request_for_new_keys_is_no_operation_for_files)
{
    struct hti_record *record = new_record();
    struct hti_row_type type;
    struct sample_rows rows;
    struct hti_op_walk walk;
    struct hti_op op;

    sample_type(0, &type);
    sample_rows_make(&rows, &type, 3, false);
    ck_assert_int_eq(add_rows(record, HTI_OP_PUT_NEW, &rows, NULL), 0);
    hti_op_walk_init(&walk, record);
    ck_assert_int_eq(hti_op_walk_next(&walk, &op), 0);
    ck_assert_uint_eq(op.kind, HTI_OP_PUT_NEW);
    ck_assert_uint_eq(op.values_size, 24);
    ck_assert(!hti_op_is_valid(&op, &type));
    sample_rows_free(&rows);
    hti_record_free(record);
}
END_TEST

/* --- limits. Sizes are claimed: nothing may be read before they are refused --- */

static void expect_refused(const struct hti_op_source *source, int64_t index)
{
    struct hti_record *record = new_record();
    struct htstore_error error;

    ck_assert_int_eq(hti_record_add(record, source, &error), HTSTORE_EINVAL);
    ck_assert_int_eq(error.code, HTSTORE_EINVAL);
    ck_assert_int_eq(error.index, index);
    ck_assert_uint_eq(record->buf.size, HTI_RECORD_HEADER_SIZE);
    ck_assert_uint_eq(record->n_ops, 0);
    ck_assert_uint_eq(record->n_rows, 0);
    hti_record_free(record);
}

START_TEST(rows_above_the_limit_are_refused_unread)
{
    static const size_t key_sizes[] = { (size_t)HTSTORE_MAX_ROW_SIZE + 1, UINT32_MAX, (size_t)UINT32_MAX + 9,
                                        SIZE_MAX };
    struct hti_row_type type;
    struct htstore_bytes keys[3] = { { forbidden, 0 }, { forbidden, 0 }, { forbidden, 0 } };
    const uint8_t values[3] = { 1, 2, 3 };

    hti_row_type_init(&type, HTSTORE_STRING, HTSTORE_UINT8, 1);
    const struct hti_op_source source = {
        .table_id = TABLE_ID, .type = &type, .kind = HTI_OP_PUT, .n_rows = 3, .keys = keys, .values = values
    };
    for (size_t i = 0; i < COUNT(key_sizes); i++) {
        keys[2].size = key_sizes[i];
        expect_refused(&source, 2);
    }
    keys[2].size = 0;
    keys[0].size = HTSTORE_MAX_ROW_SIZE; /* the value makes it one byte too many */
    expect_refused(&source, 0);

    const struct hti_op_source removal = {
        .table_id = TABLE_ID, .type = &type, .kind = HTI_OP_REMOVE, .n_rows = 3, .keys = keys
    };
    keys[0].size = 0;
    keys[1].size = (size_t)HTSTORE_MAX_ROW_SIZE + 1;
    expect_refused(&removal, 1);
}
END_TEST

START_TEST(string_values_above_the_limit_are_refused_unread)
{
    struct hti_row_type type;
    const int64_t keys[2] = { 1, 2 };
    struct htstore_bytes values[4] = { { forbidden, 0 }, { forbidden, 0 }, { forbidden, 0 }, { forbidden, 0 } };
    const struct hti_op_source source = {
        .table_id = TABLE_ID, .type = &type, .kind = HTI_OP_PUT, .n_rows = 2, .keys = keys, .values = values
    };

    hti_row_type_init(&type, HTSTORE_INT64, HTSTORE_STRING, 2);
    values[3].size = SIZE_MAX;
    expect_refused(&source, 1);
    values[2].size = values[3].size = SIZE_MAX / 2 + 1;
    expect_refused(&source, 1);
    values[2].size = values[3].size = HTSTORE_MAX_ROW_SIZE / 2;
    expect_refused(&source, 1);
    values[2].size = 0;
    values[3].size = HTSTORE_MAX_ROW_SIZE - 8 - 8 + 1; /* two sizes and the key leave one byte less */
    expect_refused(&source, 1);
}
END_TEST

START_TEST(a_value_type_beyond_every_limit_is_refused)
{
    struct hti_row_type type;
    const struct hti_op_source source = {
        .table_id = TABLE_ID, .type = &type, .kind = HTI_OP_PUT, .n_rows = 1, .keys = forbidden, .values = forbidden
    };

    hti_row_type_init(&type, HTSTORE_INT64, HTSTORE_INT64, UINT64_C(1) << 40);
    expect_refused(&source, 0);
    hti_row_type_init(&type, HTSTORE_INT64, HTSTORE_INT64, UINT64_MAX / 4);
    expect_refused(&source, 0);
    hti_row_type_init(&type, HTSTORE_INT64, HTSTORE_STRING, UINT64_C(1) << 40);
    expect_refused(&source, 0);
}
END_TEST

START_TEST(a_row_of_exactly_the_limit_is_taken)
{
    const size_t size = HTSTORE_MAX_ROW_SIZE;
    void *zeros = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    const struct htstore_bytes key = { zeros, size };
    struct hti_record *record = new_record();
    struct hti_row_type type;

    ck_assert(zeros != MAP_FAILED);
    hti_row_type_init(&type, HTSTORE_STRING, HTSTORE_INT8, 0);
    const struct hti_op_source source = {
        .table_id = TABLE_ID, .type = &type, .kind = HTI_OP_PUT, .n_rows = 1, .keys = &key, .values = zeros
    };
    ck_assert_int_eq(hti_record_add(record, &source, NULL), 0);
    ck_assert_uint_eq(payload_size_of(record), OP_SIZE + size + 8);
    hti_record_free(record);
    munmap(zeros, size);
}
END_TEST

START_TEST(batches_above_the_size_limit_are_refused_unread)
{
    struct htstore_bytes strings[3];
    struct hti_row_type type;
    const uint8_t bytes[3] = { 1, 2, 3 };
    struct hti_op_source source = {
        .table_id = TABLE_ID, .type = &type, .kind = HTI_OP_PUT, .n_rows = 3, .keys = strings, .values = bytes
    };

    for (size_t i = 0; i < 3; i++)
        strings[i] = (struct htstore_bytes){ forbidden, (size_t)200 << 20 };
    hti_row_type_init(&type, HTSTORE_STRING, HTSTORE_UINT8, 1);
    expect_refused(&source, -1);

    source.keys = bytes;
    source.values = strings;
    hti_row_type_init(&type, HTSTORE_UINT8, HTSTORE_STRING, 1);
    expect_refused(&source, -1);
}
END_TEST

START_TEST(an_operation_that_does_not_fit_any_more_is_refused)
{
    struct hti_record *record = new_record();
    struct hti_row_type type;
    struct sample_rows rows;

    sample_type(0, &type);
    sample_rows_make(&rows, &type, 4, false);
    ck_assert_int_eq(add_rows(record, HTI_OP_PUT, &rows, NULL), 0);
    const struct hti_record before = *record;

    /* the sizes are what counts: the memory behind them is not needed to see the refusal */
    record->buf.size = HTSTORE_MAX_BATCH_SIZE - OP_SIZE - 2 * 32 + 1;
    ck_assert_int_eq(add_rows(record, HTI_OP_PUT, &rows, NULL), HTSTORE_EINVAL);
    ck_assert_int_eq(build_rows(record, HTI_OP_PUT, &rows), HTSTORE_EINVAL);
    record->buf.size = before.buf.size;
    record->n_rows = HTSTORE_MAX_BATCH_ROWS - 3;
    ck_assert_int_eq(add_rows(record, HTI_OP_PUT, &rows, NULL), HTSTORE_EINVAL);
    ck_assert_int_eq(build_rows(record, HTI_OP_PUT, &rows), HTSTORE_EINVAL);
    record->n_rows = HTSTORE_MAX_BATCH_ROWS - 4;
    ck_assert_int_eq(add_rows(record, HTI_OP_PUT, &rows, NULL), 0);
    ck_assert_uint_eq(record->n_ops, 2);
    sample_rows_free(&rows);
    hti_record_free(record);
}
END_TEST

START_TEST(too_many_rows_are_refused_unread)
{
    struct hti_row_type type;
    struct hti_op_source source = {
        .table_id = TABLE_ID, .type = &type, .kind = HTI_OP_PUT, .keys = forbidden, .values = forbidden
    };

    sample_type(0, &type);
    source.n_rows = (uint64_t)HTSTORE_MAX_BATCH_ROWS + 1;
    expect_refused(&source, -1);
    source.n_rows = UINT64_C(1) << 32; /* 0 in 32 bits */
    expect_refused(&source, -1);
    source.n_rows = UINT64_MAX;
    expect_refused(&source, -1);
}
END_TEST

START_TEST(a_builder_whose_columns_are_too_large_is_refused)
{
    struct hti_record *record = new_record();
    struct hti_op_builder builder;
    struct hti_row_type type;

    sample_type(4, &type);
    hti_op_builder_init(&builder, TABLE_ID, &type, HTI_OP_PUT);
    builder.values.size = (size_t)HTSTORE_MAX_BATCH_SIZE + 1;
    ck_assert_int_eq(hti_op_builder_finish(&builder, record, NULL), HTSTORE_EINVAL);
    builder.values.size = 0;
    builder.keys.size = SIZE_MAX - 7;
    ck_assert_int_eq(hti_op_builder_finish(&builder, record, NULL), HTSTORE_EINVAL);
    builder.keys.size = 0;
    ck_assert_uint_eq(record->buf.size, HTI_RECORD_HEADER_SIZE);
    ck_assert_uint_eq(record->n_ops, 0);
    hti_op_builder_release(&builder);
    hti_record_free(record);
}
END_TEST

START_TEST(without_memory_a_record_stays_as_it_was)
{
    struct hti_row_type type;
    struct sample_rows rows;
    bool failed = true;

    sample_type(5, &type);
    sample_rows_make(&rows, &type, 40, true);
    for (uint64_t after = 0; failed; after++) {
        struct hti_record *record = new_record();
        hti_mem_test_fail(after, false);
        const int rc = add_rows(record, HTI_OP_PUT, &rows, NULL);
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_int_eq(rc, failed ? HTSTORE_ENOMEM : 0);
        ck_assert_uint_eq(record->n_ops, failed ? 0 : 1);
        ck_assert(failed == (record->buf.size == HTI_RECORD_HEADER_SIZE));
        ck_assert_int_eq(add_rows(record, HTI_OP_PUT, &rows, NULL), 0);
        hti_record_free(record);
    }
    failed = true;
    for (uint64_t after = 0; failed; after++) {
        struct hti_record *record = new_record();
        hti_mem_test_fail(after, false);
        const int rc = build_rows(record, HTI_OP_PUT, &rows);
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_int_eq(rc, failed ? HTSTORE_ENOMEM : 0);
        ck_assert_uint_eq(record->n_ops, failed ? 0 : 1);
        hti_record_free(record);
    }
    hti_mem_test_fail(0, true);
    ck_assert_ptr_null(hti_record_new());
    hti_mem_test_fail(1, true);
    ck_assert_ptr_null(hti_record_new());
    sample_rows_free(&rows);
}
END_TEST

START_TEST(a_list_is_freed_whole)
{
    struct hti_record *list = NULL;

    for (int i = 0; i < 3; i++) {
        struct hti_record *record = new_record();
        record->next = list;
        list = record;
    }
    hti_record_free_list(list);
    hti_record_free_list(NULL);
    hti_record_free(NULL);
}
END_TEST

/* --- headers --- */

START_TEST(a_header_gives_back_what_was_stamped)
{
    struct hti_record *record = sample_record(0, 3);
    struct hti_record_header header;

    ck_assert(hti_record_parse_header(record->buf.data, BINDING, &header));
    ck_assert_uint_eq(header.lsn, 7);
    ck_assert_uint_eq(header.durable_lsn, 5);
    ck_assert_uint_eq(header.type, HTI_RECORD_TYPE_BATCH);
    ck_assert_uint_eq(header.n_ops, 3);
    ck_assert_uint_eq(header.payload_size, payload_size_of(record));
    ck_assert_uint_eq(header.payload_hash, hti_hash64(payload_of(record), payload_size_of(record), 0));
    ck_assert_uint_eq(record->lsn, 7);
    hti_record_stamp(record, UINT64_MAX, UINT64_MAX - 1, BINDING);
    ck_assert(hti_record_parse_header(record->buf.data, BINDING, &header));
    ck_assert_uint_eq(header.lsn, UINT64_MAX);
    ck_assert_uint_eq(header.durable_lsn, UINT64_MAX - 1);
    hti_record_free(record);
}
END_TEST

START_TEST(a_header_with_any_changed_bit_is_refused)
{
    struct hti_record *record = sample_record(0, 3);
    struct hti_record_header header;
    uint8_t *copy = sample_copy(record->buf.data, HTI_RECORD_HEADER_SIZE); /* no byte more may be read */

    ck_assert(hti_record_parse_header(copy, BINDING, &header));
    for (size_t bit = 0; bit < HTI_RECORD_HEADER_SIZE * 8; bit++) {
        copy[bit / 8] = (uint8_t)(copy[bit / 8] ^ 1u << bit % 8);
        ck_assert_msg(!hti_record_parse_header(copy, BINDING, &header), "bit %zu of byte %zu", bit % 8, bit / 8);
        copy[bit / 8] = (uint8_t)(copy[bit / 8] ^ 1u << bit % 8);
    }
    for (unsigned bit = 0; bit < 64; bit++)
        ck_assert(!hti_record_parse_header(copy, BINDING ^ UINT64_C(1) << bit, &header));
    memset(copy, 0, HTI_RECORD_HEADER_SIZE);
    ck_assert(!hti_record_parse_header(copy, BINDING, &header));
    free(copy);
    hti_record_free(record);
}
END_TEST

START_TEST(a_header_that_claims_too_much_is_refused)
{
    struct hti_record *record = sample_record(0, 3);
    struct hti_record_header header;
    uint8_t *h = record->buf.data;

    hti_store_le64(h + 24, HTI_RECORD_MAX_SIZE);
    hti_store_le64(h + 56, hti_hash64(h, 56, BINDING));
    ck_assert(hti_record_parse_header(h, BINDING, &header));
    hti_store_le64(h + 24, HTI_RECORD_MAX_SIZE + 1);
    hti_store_le64(h + 56, hti_hash64(h, 56, BINDING));
    ck_assert(!hti_record_parse_header(h, BINDING, &header));
    hti_store_le64(h + 24, UINT64_MAX);
    hti_store_le64(h + 56, hti_hash64(h, 56, BINDING));
    ck_assert(!hti_record_parse_header(h, BINDING, &header));
    hti_record_free(record);
}
END_TEST

/* --- payloads from files --- */

/* What the journal would hand to hti_record_load() if these bytes stood in it. Memory of exactly this size. */
static int load_payload(const uint8_t *payload, size_t size, uint32_t n_ops, struct hti_record **record)
{
    uint8_t *copy = sample_copy(payload, size);
    const struct hti_record_header header = {
        .lsn = 7, .payload_size = size, .payload_hash = hti_hash64(copy, size, 0), .type = 1, .n_ops = n_ops
    };
    const int rc = hti_record_load(&header, copy, record);

    free(copy);
    return rc;
}

START_TEST(a_loaded_record_equals_the_written_one)
{
    struct hti_record *record = sample_record((unsigned)_i, 11), *loaded;

    ck_assert_int_eq(load_payload(payload_of(record), payload_size_of(record), 3, &loaded), 0);
    ck_assert_uint_eq(loaded->n_ops, 3);
    ck_assert_uint_eq(loaded->n_rows, 22);
    ck_assert_uint_eq(loaded->lsn, 7);
    ck_assert_uint_eq(loaded->payload_hash, record->payload_hash);
    ck_assert_uint_eq(loaded->buf.size, record->buf.size);
    ck_assert_mem_eq(payload_of(loaded), payload_of(record), payload_size_of(record));
    hti_record_free(loaded);
    hti_record_free(record);

    ck_assert_int_eq(load_payload(NULL, 0, 0, &loaded), 0);
    ck_assert_uint_eq(loaded->n_ops, 0);
    hti_record_free(loaded);
}
END_TEST

START_TEST(a_payload_with_any_changed_bit_is_damaged)
{
    struct hti_record *record = sample_record(5, 3), *loaded;
    const size_t size = payload_size_of(record);
    struct hti_record_header header;
    uint8_t *copy = sample_copy(payload_of(record), size);

    ck_assert(hti_record_parse_header(record->buf.data, BINDING, &header));
    for (size_t bit = 0; bit < size * 8; bit++) {
        copy[bit / 8] = (uint8_t)(copy[bit / 8] ^ 1u << bit % 8);
        ck_assert_int_eq(hti_record_load(&header, copy, &loaded), HTSTORE_ECORRUPT);
        ck_assert_ptr_null(loaded);
        copy[bit / 8] = (uint8_t)(copy[bit / 8] ^ 1u << bit % 8);
    }
    ck_assert_int_eq(hti_record_load(&header, copy, &loaded), 0);
    hti_record_free(loaded);
    free(copy);
    hti_record_free(record);
}
END_TEST

START_TEST(loading_without_memory_fails_cleanly)
{
    struct hti_record *record = sample_record(5, 30), *loaded;
    bool failed = true;

    for (uint64_t after = 0; failed; after++) {
        hti_mem_test_fail(after, false);
        const int rc = load_payload(payload_of(record), payload_size_of(record), 3, &loaded);
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_int_eq(rc, failed ? HTSTORE_ENOMEM : 0);
        ck_assert(failed == !loaded);
        hti_record_free(loaded);
    }
    hti_record_free(record);
}
END_TEST

struct field {
    const char *name;
    size_t offset;
    size_t size;
};

/* Those of an operation's header that say how much there is. */
static const struct field fields[] = {
    { "kind", 8, 4 },        { "n_rows", 12, 4 },    { "key_size", 16, 4 },
    { "value_size", 20, 4 }, { "keys_size", 24, 8 }, { "values_size", 32, 8 },
};

static uint64_t load_field(const uint8_t *op, const struct field *f)
{
    return f->size == 4 ? hti_load_le32(op + f->offset) : hti_load_le64(op + f->offset);
}

static void store_field(uint8_t *op, const struct field *f, uint64_t v)
{
    if (f->size == 4)
        hti_store_le32(op + f->offset, (uint32_t)v);
    else
        hti_store_le64(op + f->offset, v);
}

static void expect_damaged(const uint8_t *payload, size_t size, uint32_t n_ops, const char *what, uint64_t value)
{
    struct hti_record *loaded;
    const int rc = load_payload(payload, size, n_ops, &loaded);

    ck_assert_msg(rc == HTSTORE_ECORRUPT, "%s = %llx gave %d", what, (unsigned long long)value, rc);
    ck_assert_ptr_null(loaded);
}

/* Every hostile value in one field of the operation at `offset`. */
static void change_field(struct hti_record *record, size_t offset, const struct field *f)
{
    static const uint64_t hostile[] = { 0,
                                        1,
                                        2,
                                        3,
                                        4,
                                        5,
                                        7,
                                        8,
                                        15,
                                        16,
                                        17,
                                        64,
                                        0x7FFFFFF8,
                                        0x80000000,
                                        0xFFFFFFF8,
                                        0xFFFFFFFF,
                                        0x10000000,
                                        0x10000001,
                                        0x20000000,
                                        0x20010000,
                                        0x20010008,
                                        UINT64_C(1) << 32,
                                        UINT64_C(1) << 61,
                                        INT64_MAX,
                                        UINT64_C(1) << 63,
                                        UINT64_MAX,
                                        UINT64_MAX - 7 };
    uint8_t *payload = record->buf.data + HTI_RECORD_HEADER_SIZE;
    const uint64_t right = load_field(payload + offset, f);

    for (size_t i = 0; i < COUNT(hostile) + 32; i++) {
        uint64_t v = i < COUNT(hostile) ? hostile[i] : right + (i - COUNT(hostile)) - 16;
        if (f->size == 4)
            v = (uint32_t)v;
        if (v == right || (f == &fields[0] && right == HTI_OP_REMOVE && v == HTI_OP_PUT))
            continue; /* the latter is one of rows without a value, which only their type can refuse */
        store_field(payload + offset, f, v);
        expect_damaged(payload, payload_size_of(record), 1, f->name, v);
    }
    store_field(payload + offset, f, right);
}

/*
 * One operation alone, so that what another one holds cannot make it right by chance. Strings hold no zeros and few bytes,
 * so that neither can they.
 */
START_TEST(a_payload_with_any_wrong_length_is_damaged)
{
    static const struct htstore_bytes strings[5] = {
        { "aaaaa", 5 }, { "bbbbbb", 6 }, { "c", 1 }, { "dddd", 4 }, { "ee", 2 }
    };
    static const int64_t numbers[5] = { -1, -2, -3, -4, -5 };
    static const struct {
        uint32_t key, value, kind;
    } forms[] = {
        { HTSTORE_INT64, HTSTORE_INT64, HTI_OP_PUT },    { HTSTORE_STRING, HTSTORE_STRING, HTI_OP_PUT },
        { HTSTORE_INT64, HTSTORE_STRING, HTI_OP_PUT },   { HTSTORE_STRING, HTSTORE_INT64, HTI_OP_PUT },
        { HTSTORE_INT64, HTSTORE_INT64, HTI_OP_REMOVE }, { HTSTORE_STRING, HTSTORE_INT64, HTI_OP_REMOVE },
    };
    struct hti_record *record = new_record(), *loaded;
    struct hti_row_type type;

    hti_row_type_init(&type, forms[_i].key, forms[_i].value, 1);
    const struct hti_op_source source = {
        .table_id = TABLE_ID,
        .type = &type,
        .kind = forms[_i].kind,
        .n_rows = 5,
        .keys = forms[_i].key == HTSTORE_STRING ? (const void *)strings : numbers,
        .values = forms[_i].value == HTSTORE_STRING ? (const void *)strings : numbers,
    };
    ck_assert_int_eq(hti_record_add(record, &source, NULL), 0);
    ck_assert_int_eq(load_payload(payload_of(record), payload_size_of(record), 1, &loaded), 0);
    hti_record_free(loaded);
    for (size_t i = 0; i < COUNT(fields); i++)
        change_field(record, 0, &fields[i]);

    /* the sizes of the strings */
    static const struct field size_field = { "string size", 0, 4 };
    if (forms[_i].key == HTSTORE_STRING)
        for (size_t i = 0; i < 5; i++)
            change_field(record, OP_SIZE + 4 * i, &size_field);
    if (forms[_i].value == HTSTORE_STRING && forms[_i].kind == HTI_OP_PUT)
        for (size_t i = 0; i < 5; i++)
            change_field(record, OP_SIZE + 40 + 4 * i, &size_field);
    hti_record_free(record);
}
END_TEST

START_TEST(a_clear_with_rows_or_bytes_is_damaged)
{
    struct hti_record *record = new_record(), *loaded;
    struct hti_row_type type;

    sample_type(0, &type);
    ck_assert_int_eq(add_clear(record, &type), 0);
    ck_assert_int_eq(load_payload(payload_of(record), OP_SIZE, 1, &loaded), 0);
    hti_record_free(loaded);
    for (size_t i = 0; i < COUNT(fields); i++)
        if (strcmp(fields[i].name, "key_size") != 0 && strcmp(fields[i].name, "value_size") != 0 &&
            strcmp(fields[i].name, "kind") != 0)
            change_field(record, 0, &fields[i]);
    hti_record_free(record);
}
END_TEST

START_TEST(a_wrong_number_of_operations_is_damaged)
{
    static const uint32_t wrong[] = { 0, 1, 2, 4, 5, 1000, UINT32_MAX };
    struct hti_record *record = sample_record((unsigned)_i, 5);

    for (size_t i = 0; i < COUNT(wrong); i++)
        expect_damaged(payload_of(record), payload_size_of(record), wrong[i], "n_ops", wrong[i]);
    hti_record_free(record);
}
END_TEST

START_TEST(a_payload_cut_or_grown_anywhere_is_damaged)
{
    struct hti_record *record = sample_record((unsigned)_i, 5);
    uint8_t more[16] = { 0 };

    for (size_t size = 0; size < payload_size_of(record); size++)
        expect_damaged(payload_of(record), size, 3, "size", size);
    const size_t size = payload_size_of(record);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(hti_buf_append(&record->buf, more, i ? 7 : 1), 0);
        expect_damaged(payload_of(record), payload_size_of(record), 3, "size", payload_size_of(record));
        record->buf.size = HTI_RECORD_HEADER_SIZE + size;
    }
    hti_record_free(record);
}
END_TEST

/* Sum of everything that a walk hands out: a pointer or size that is wrong is seen by the sanitizers. */
static volatile uint64_t sink; /* or the compiler would not read what nobody uses */

static void touch(const struct hti_record *record, const struct hti_row_type *type)
{
    struct hti_op_walk ops;
    struct hti_row_walk rows;
    struct hti_row row;
    struct hti_op op;
    uint64_t sum = 0, n_rows = 0;
    int rc;

    hti_op_walk_init(&ops, record);
    while ((rc = hti_op_walk_next(&ops, &op)) == 0) {
        n_rows += op.n_rows;
        for (hti_row_walk_init(&rows, &op); hti_row_walk_next(&rows, &row);) {
            for (size_t i = 0; i < row.key_size; i++)
                sum += ((const uint8_t *)row.key)[i];
            for (size_t i = 0; i < row.value_size; i++)
                sum += ((const uint8_t *)row.value)[i];
        }
        sum += hti_op_is_valid(&op, type);
    }
    ck_assert_int_eq(rc, 1);
    ck_assert_uint_eq(n_rows, record->n_rows);
    sink += sum;
}

START_TEST(random_damage_with_a_right_checksum_is_harmless)
{
    struct hti_record *record = sample_record((unsigned)_i, 4), *loaded;
    const size_t size = payload_size_of(record);
    struct hti_row_type type;
    unsigned n_loaded = 0;

    sample_type((unsigned)_i, &type);
    for (int round = 0; round < 3000; round++) {
        uint8_t *copy = sample_copy(payload_of(record), size);
        for (size_t n = 1 + sample_below(3); n > 0; n--) {
            const size_t at = sample_below(size);
            copy[at] = (uint8_t)(sample_below(2) ? sample_random() : copy[at] ^ 1u << sample_below(8));
        }
        if (load_payload(copy, size, 3, &loaded) == 0) {
            touch(loaded, &type);
            n_loaded++;
        }
        hti_record_free(loaded);
        free(copy);
    }
    ck_assert_uint_gt(n_loaded, 0); /* changed table ids and bytes of rows get through */
    hti_record_free(record);
}
END_TEST

/* --- does it fit the table? --- */

/* One operation whose columns are changed in place. */
static struct hti_op only_op(const struct hti_record *record)
{
    struct hti_op_walk walk;
    struct hti_op op;

    hti_op_walk_init(&walk, record);
    ck_assert_int_eq(hti_op_walk_next(&walk, &op), 0);
    return op;
}

START_TEST(an_operation_of_another_type_is_not_valid)
{
    struct hti_row_type types[N_SAMPLE_TYPES];
    struct hti_record *record = new_record();
    struct sample_rows rows;

    for (unsigned i = 0; i < N_SAMPLE_TYPES; i++)
        sample_type(i, &types[i]);
    sample_rows_make(&rows, &types[_i], 6, true);
    ck_assert_int_eq(add_rows(record, HTI_OP_PUT, &rows, NULL), 0);
    const struct hti_op op = only_op(record);
    for (unsigned i = 0; i < N_SAMPLE_TYPES; i++) {
        const bool same_sizes = types[i].key_size == types[_i].key_size &&
                                types[i].value_is_fixed == types[_i].value_is_fixed &&
                                (!types[i].value_is_fixed || types[i].value_size == types[_i].value_size);
        if (i == (unsigned)_i)
            ck_assert(hti_op_is_valid(&op, &types[i]));
        else if (!same_sizes)
            ck_assert_msg(!hti_op_is_valid(&op, &types[i]), "type %u as %d", i, _i);
    }
    sample_rows_free(&rows);
    hti_record_free(record);
}
END_TEST

static void expect_invalid_key(uint32_t dtype, uint64_t bits)
{
    struct hti_row_type type;
    struct hti_record *record = new_record();
    uint8_t key[8], value = 0;

    hti_row_type_init(&type, dtype, HTSTORE_INT8, 1);
    memset(key, 0, sizeof key);
    const struct hti_row row = { key, type.key_size, &value, 1 };
    struct hti_op_builder builder;
    for (uint32_t kind = HTI_OP_PUT; kind <= HTI_OP_REMOVE; kind++) {
        hti_op_builder_init(&builder, TABLE_ID, &type, kind);
        ck_assert_int_eq(hti_op_builder_row(&builder, &row), 0);
        ck_assert_int_eq(hti_op_builder_finish(&builder, record, NULL), 0);
        hti_op_builder_release(&builder);
        struct hti_op op = only_op(record);
        ck_assert(hti_op_is_valid(&op, &type));
        uint8_t *column = record->buf.data + HTI_RECORD_HEADER_SIZE + OP_SIZE;
        for (uint32_t i = 0; i < type.key_size; i++)
            column[i] = (uint8_t)(bits >> 8 * i);
        op = only_op(record);
        ck_assert(!hti_op_is_valid(&op, &type));
        hti_record_free(record);
        record = new_record();
    }
    hti_record_free(record);
}

START_TEST(keys_that_are_none_are_not_valid)
{
    expect_invalid_key(HTSTORE_BOOL, 2);
    expect_invalid_key(HTSTORE_FLOAT32, 0x7FC00000); /* NaN */
    expect_invalid_key(HTSTORE_FLOAT32, 0x80000000); /* -0.0 */
    expect_invalid_key(HTSTORE_FLOAT64, UINT64_C(0xFFF0000000000001)); /* NaN */
    expect_invalid_key(HTSTORE_FLOAT64, UINT64_C(0x8000000000000000)); /* -0.0 */
}
END_TEST

START_TEST(values_that_are_none_are_not_valid)
{
    static const uint8_t bad_bool[] = { 1, 2 };
    static const uint8_t bad_strings[] = { 2, 0, 0, 0, 0, 0, 0, 0, 'x' }; /* sizes 2 and 0, one byte */
    static const uint8_t key = 1;
    struct hti_row_type type;
    struct hti_row row = { &key, 1, bad_bool, 2 };
    struct hti_op_builder builder;

    for (int i = 0; i < 2; i++) {
        struct hti_record *record = new_record();
        hti_row_type_init(&type, HTSTORE_UINT8, i ? HTSTORE_STRING : HTSTORE_BOOL, 2);
        if (i)
            row = (struct hti_row){ &key, 1, bad_strings, sizeof bad_strings };
        hti_op_builder_init(&builder, TABLE_ID, &type, HTI_OP_PUT);
        ck_assert_int_eq(hti_op_builder_row(&builder, &row), 0);
        ck_assert_int_eq(hti_op_builder_finish(&builder, record, NULL), 0);
        hti_op_builder_release(&builder);
        const struct hti_op op = only_op(record);
        ck_assert(!hti_op_is_valid(&op, &type));
        hti_record_free(record);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("record");
    TCase *tests = tcase_create("record");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, arrays_and_rows_give_the_same_bytes, 0, N_SAMPLE_TYPES);
    tcase_add_loop_test(tests, the_walk_gives_back_what_was_added, 0, N_SAMPLE_TYPES);
    tcase_add_loop_test(tests, one_shared_value_is_stored_for_every_key, 0, N_SAMPLE_TYPES);
    tcase_add_test(tests, negative_zero_keys_are_packed_as_zero);
    tcase_add_test(tests, padding_is_zero_whatever_the_memory_held);
    tcase_add_test(tests, a_request_for_new_keys_is_no_operation_for_files);
    tcase_add_test(tests, rows_above_the_limit_are_refused_unread);
    tcase_add_test(tests, string_values_above_the_limit_are_refused_unread);
    tcase_add_test(tests, a_value_type_beyond_every_limit_is_refused);
    tcase_add_test(tests, a_row_of_exactly_the_limit_is_taken);
    tcase_add_test(tests, batches_above_the_size_limit_are_refused_unread);
    tcase_add_test(tests, an_operation_that_does_not_fit_any_more_is_refused);
    tcase_add_test(tests, too_many_rows_are_refused_unread);
    tcase_add_test(tests, a_builder_whose_columns_are_too_large_is_refused);
    tcase_add_test(tests, without_memory_a_record_stays_as_it_was);
    tcase_add_test(tests, a_list_is_freed_whole);
    tcase_add_test(tests, a_header_gives_back_what_was_stamped);
    tcase_add_test(tests, a_header_with_any_changed_bit_is_refused);
    tcase_add_test(tests, a_header_that_claims_too_much_is_refused);
    tcase_add_loop_test(tests, a_loaded_record_equals_the_written_one, 0, N_SAMPLE_TYPES);
    tcase_add_test(tests, a_payload_with_any_changed_bit_is_damaged);
    tcase_add_test(tests, loading_without_memory_fails_cleanly);
    tcase_add_loop_test(tests, a_payload_with_any_wrong_length_is_damaged, 0, 6);
    tcase_add_test(tests, a_clear_with_rows_or_bytes_is_damaged);
    tcase_add_loop_test(tests, a_wrong_number_of_operations_is_damaged, 0, N_SAMPLE_TYPES);
    tcase_add_loop_test(tests, a_payload_cut_or_grown_anywhere_is_damaged, 0, N_SAMPLE_TYPES);
    tcase_add_loop_test(tests, random_damage_with_a_right_checksum_is_harmless, 0, N_SAMPLE_TYPES);
    tcase_add_loop_test(tests, an_operation_of_another_type_is_not_valid, 0, N_SAMPLE_TYPES);
    tcase_add_test(tests, keys_that_are_none_are_not_valid);
    tcase_add_test(tests, values_that_are_none_are_not_valid);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
