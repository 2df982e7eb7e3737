/* record: hides how a batch is laid out in bytes. */
#include "record.h"

#include <assert.h>
#include <string.h>

#include "bytes.h"
#include "mem.h"

#define OP_HEADER_SIZE 40u

static uint64_t round_up8(uint64_t size)
{
    return (size + 7) & ~(uint64_t)7;
}

static struct hti_record *new_record(size_t room)
{
    struct hti_record *record = hti_mem_zalloc(sizeof *record);

    if (!record)
        return NULL;
    hti_buf_init(&record->buf);
    if (hti_buf_reserve(&record->buf, HTI_RECORD_HEADER_SIZE + room) != 0) {
        hti_mem_free(record);
        return NULL;
    }
    memset(record->buf.data, 0, HTI_RECORD_HEADER_SIZE);
    record->buf.size = HTI_RECORD_HEADER_SIZE;
    return record;
}

struct hti_record *hti_record_new(void)
{
    return new_record(192);
}

void hti_record_free(struct hti_record *record)
{
    if (!record)
        return;
    hti_buf_release(&record->buf);
    hti_mem_free(record);
}

void hti_record_free_list(struct hti_record *list)
{
    while (list) {
        struct hti_record *next = list->next;
        hti_record_free(list);
        list = next;
    }
}

uint64_t hti_record_size(const struct hti_record *record)
{
    return round_up8(record->buf.size);
}

static void store_op_header(uint8_t *out, const struct hti_op *op)
{
    hti_store_le64(out, op->table_id);
    hti_store_le32(out + 8, op->kind);
    hti_store_le32(out + 12, op->n_rows);
    hti_store_le32(out + 16, op->key_size);
    hti_store_le32(out + 20, op->value_size);
    hti_store_le64(out + 24, op->keys_size);
    hti_store_le64(out + 32, op->values_size);
}

/* Room for one more operation: header and both columns, zeroed where padding will be. Sets the columns' places. */
static int open_op(struct hti_record *record, struct hti_op *op, uint8_t **keys, uint8_t **values,
                   struct htstore_error *error)
{
    const uint64_t keys_room = round_up8(op->keys_size), values_room = round_up8(op->values_size);
    const uint64_t extra = OP_HEADER_SIZE + keys_room + values_room;

    if (op->keys_size > HTSTORE_MAX_BATCH_SIZE || op->values_size > HTSTORE_MAX_BATCH_SIZE ||
        record->buf.size + extra > HTSTORE_MAX_BATCH_SIZE || record->n_rows + op->n_rows > HTSTORE_MAX_BATCH_ROWS)
        return hti_fail(error, HTSTORE_EINVAL, "the batch is larger than %u bytes or %u rows", HTSTORE_MAX_BATCH_SIZE,
                        HTSTORE_MAX_BATCH_ROWS);
    if (hti_buf_reserve(&record->buf, (size_t)extra) != 0)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a batch of %llu bytes", (unsigned long long)extra);

    uint8_t *place = record->buf.data + record->buf.size;
    store_op_header(place, op);
    *keys = place + OP_HEADER_SIZE;
    *values = *keys + keys_room;
    memset(*keys + op->keys_size, 0, (size_t)(keys_room - op->keys_size));
    memset(*values + op->values_size, 0, (size_t)(values_room - op->values_size));
    record->buf.size += (size_t)extra;
    record->n_ops++;
    record->n_rows += op->n_rows;
    return 0;
}

static const uint8_t *value_at(const struct hti_op_source *source, uint64_t i)
{
    const size_t row = (size_t)source->type->n_elements * htstore_dtype_size(source->type->value_dtype);
    return (const uint8_t *)source->values + (source->shared_value ? 0 : i * row);
}

static int row_too_large(struct htstore_error *error, uint64_t index)
{
    hti_fail(error, HTSTORE_EINVAL, "row %llu is larger than %u bytes", (unsigned long long)index,
             HTSTORE_MAX_ROW_SIZE);
    hti_error_set_index(error, index);
    return HTSTORE_EINVAL;
}

static int measure_fixed(const struct hti_op_source *source, struct hti_op *op, bool put, struct htstore_error *error)
{
    const struct hti_row_type *type = source->type;
    const uint64_t value_size = put ? type->value_size : 0;

    if (source->n_rows > 0 && type->key_size + value_size > HTSTORE_MAX_ROW_SIZE)
        return row_too_large(error, 0);
    op->keys_size = source->n_rows * type->key_size;
    op->values_size = source->n_rows * value_size;
    return 0;
}

/* Sizes of both columns; every row is checked against the limit before anything is read from it. */
static int measure(const struct hti_op_source *source, struct hti_op *op, struct htstore_error *error)
{
    const struct hti_row_type *type = source->type;
    const struct htstore_bytes *strings = source->keys;
    const bool variable_value = source->kind != HTI_OP_REMOVE && source->kind != HTI_OP_CLEAR && !type->value_is_fixed;
    const bool put = source->kind == HTI_OP_PUT || source->kind == HTI_OP_PUT_NEW;
    uint64_t keys = 0, values = 0;

    assert(!put || source->values || type->n_elements == 0 || source->n_rows == 0);
    if (type->key_size && !variable_value)
        return measure_fixed(source, op, put, error);
    for (uint64_t i = 0; i < source->n_rows; i++) {
        const uint64_t key_size = type->key_size ? type->key_size : strings[i].size;
        uint64_t value_size = put && type->value_is_fixed ? type->value_size : 0;
        if (variable_value) {
            value_size = hti_codec_value_size(type, value_at(source, i));
            if (value_size == HTI_SIZE_OVERFLOW)
                return row_too_large(error, i);
        }
        if (key_size > HTSTORE_MAX_ROW_SIZE || value_size > HTSTORE_MAX_ROW_SIZE ||
            key_size + value_size > HTSTORE_MAX_ROW_SIZE)
            return row_too_large(error, i);
        keys += key_size + (type->key_size ? 0 : 4);
        values += value_size + (variable_value ? 4 : 0);
        if (keys > HTSTORE_MAX_BATCH_SIZE || values > HTSTORE_MAX_BATCH_SIZE)
            break; /* open_op() refuses it */
    }
    op->keys_size = keys;
    op->values_size = values;
    return 0;
}

static void pack_keys(const struct hti_op_source *source, uint8_t *out)
{
    const struct hti_row_type *type = source->type;
    const struct htstore_bytes *strings = source->keys;

    if (type->key_size) {
        hti_codec_pack_keys(type, source->keys, (size_t)source->n_rows, out);
        return;
    }
    uint8_t *bytes = out + source->n_rows * 4;
    for (uint64_t i = 0; i < source->n_rows; i++) {
        hti_store_le32(out + i * 4, (uint32_t)strings[i].size);
        if (strings[i].size)
            memcpy(bytes, strings[i].data, strings[i].size);
        bytes += strings[i].size;
    }
}

static void pack_values(const struct hti_op_source *source, uint8_t *out)
{
    const struct hti_row_type *type = source->type;
    uint8_t *bytes = type->value_is_fixed ? out : out + source->n_rows * 4;

    if (type->value_is_fixed && !source->shared_value) {
        hti_codec_pack_values(type, source->values, (size_t)source->n_rows, out);
        return;
    }
    for (uint64_t i = 0; i < source->n_rows; i++) {
        const size_t size = type->value_is_fixed ? type->value_size : hti_codec_value_size(type, value_at(source, i));
        if (!type->value_is_fixed)
            hti_store_le32(out + i * 4, (uint32_t)size);
        if (size)
            hti_codec_pack_value(type, value_at(source, i), bytes);
        bytes += size;
    }
}

static uint32_t op_value_size(const struct hti_row_type *type, uint32_t kind)
{
    if (kind == HTI_OP_REMOVE || kind == HTI_OP_CLEAR)
        return 0;
    return type->value_is_fixed ? type->value_size : HTI_OP_VARIABLE;
}

int hti_record_add(struct hti_record *record, const struct hti_op_source *source, struct htstore_error *error)
{
    struct hti_op op = { .table_id = source->table_id, .kind = source->kind, .key_size = source->type->key_size };
    uint8_t *keys, *values;
    int rc;

    if (source->n_rows > HTSTORE_MAX_BATCH_ROWS)
        return hti_fail(error, HTSTORE_EINVAL, "the batch has more than %u rows", HTSTORE_MAX_BATCH_ROWS);
    op.n_rows = (uint32_t)source->n_rows;
    op.value_size = op_value_size(source->type, source->kind);
    rc = measure(source, &op, error);
    if (rc == 0)
        rc = open_op(record, &op, &keys, &values, error);
    if (rc != 0)
        return rc;
    pack_keys(source, keys);
    if (source->kind == HTI_OP_PUT || source->kind == HTI_OP_PUT_NEW)
        pack_values(source, values);
    return 0;
}

void hti_op_builder_init(struct hti_op_builder *builder, uint64_t table_id, const struct hti_row_type *type,
                         uint32_t kind)
{
    memset(builder, 0, sizeof *builder);
    hti_buf_init(&builder->key_sizes);
    hti_buf_init(&builder->keys);
    hti_buf_init(&builder->value_sizes);
    hti_buf_init(&builder->values);
    builder->table_id = table_id;
    builder->type = type;
    builder->kind = kind;
}

int hti_op_builder_row(struct hti_op_builder *builder, const struct hti_row *row)
{
    int rc = hti_buf_append(&builder->keys, row->key, row->key_size);

    if (rc == 0 && builder->type->key_size == 0)
        rc = hti_buf_append_u32(&builder->key_sizes, (uint32_t)row->key_size);
    if (rc == 0 && builder->kind == HTI_OP_PUT)
        rc = hti_buf_append(&builder->values, row->value, row->value_size);
    if (rc == 0 && builder->kind == HTI_OP_PUT && !builder->type->value_is_fixed)
        rc = hti_buf_append_u32(&builder->value_sizes, (uint32_t)row->value_size);
    if (rc == 0)
        builder->n_rows++;
    return rc;
}

static void copy_column(uint8_t *out, const struct hti_buf *sizes, const struct hti_buf *bytes)
{
    if (sizes->size)
        memcpy(out, sizes->data, sizes->size);
    if (bytes->size)
        memcpy(out + sizes->size, bytes->data, bytes->size);
}

int hti_op_builder_finish(struct hti_op_builder *builder, struct hti_record *record, struct htstore_error *error)
{
    struct hti_op op = {
        .table_id = builder->table_id,
        .kind = builder->kind,
        .n_rows = builder->n_rows,
        .key_size = builder->type->key_size,
        .value_size = op_value_size(builder->type, builder->kind),
        .keys_size = builder->key_sizes.size + builder->keys.size,
        .values_size = builder->value_sizes.size + builder->values.size,
    };
    uint8_t *keys, *values;
    int rc = open_op(record, &op, &keys, &values, error);

    if (rc != 0)
        return rc;
    copy_column(keys, &builder->key_sizes, &builder->keys);
    copy_column(values, &builder->value_sizes, &builder->values);
    return 0;
}

void hti_op_builder_release(struct hti_op_builder *builder)
{
    hti_buf_release(&builder->key_sizes);
    hti_buf_release(&builder->keys);
    hti_buf_release(&builder->value_sizes);
    hti_buf_release(&builder->values);
}

static const uint8_t *payload_of(const struct hti_record *record, uint64_t *size)
{
    *size = record->buf.size - HTI_RECORD_HEADER_SIZE;
    return record->buf.data + HTI_RECORD_HEADER_SIZE;
}

void hti_record_seal(struct hti_record *record)
{
    uint64_t size;
    const uint8_t *payload = payload_of(record, &size);

    record->payload_hash = hti_hash64(payload, (size_t)size, 0);
}

void hti_record_stamp(struct hti_record *record, uint64_t lsn, uint64_t durable_lsn, uint64_t binding)
{
    uint8_t *h = record->buf.data;
    uint64_t size;

    payload_of(record, &size);
    record->lsn = lsn;
    memset(h, 0, HTI_RECORD_HEADER_SIZE);
    hti_store_le32(h, HTI_RECORD_MAGIC);
    hti_store_le32(h + 4, HTI_RECORD_TYPE_BATCH);
    hti_store_le64(h + 8, lsn);
    hti_store_le64(h + 16, durable_lsn);
    hti_store_le64(h + 24, size);
    hti_store_le64(h + 32, record->payload_hash);
    hti_store_le32(h + 40, record->n_ops);
    hti_store_le64(h + 56, hti_hash64(h, 56, binding));
}

bool hti_record_parse_header(const uint8_t *data, uint64_t binding, struct hti_record_header *header)
{
    if (hti_load_le32(data) != HTI_RECORD_MAGIC || hti_load_le64(data + 56) != hti_hash64(data, 56, binding))
        return false;
    header->type = hti_load_le32(data + 4);
    header->lsn = hti_load_le64(data + 8);
    header->durable_lsn = hti_load_le64(data + 16);
    header->payload_size = hti_load_le64(data + 24);
    header->payload_hash = hti_load_le64(data + 32);
    header->n_ops = hti_load_le32(data + 40);
    return header->payload_size <= HTI_RECORD_MAX_SIZE;
}

static int count_rows(const uint8_t *payload, const struct hti_record_header *header, uint64_t *n_rows)
{
    struct hti_op_walk walk = { .left = header->n_ops };
    struct hti_op op;
    int rc;

    *n_rows = 0;
    hti_reader_init(&walk.reader, payload, (size_t)header->payload_size);
    while ((rc = hti_op_walk_next(&walk, &op)) == 0) {
        if (op.kind == HTI_OP_PUT_NEW)
            return HTSTORE_ECORRUPT; /* never written */
        *n_rows += op.n_rows;
    }
    return rc == 1 ? 0 : rc;
}

int hti_record_verify(const struct hti_record_header *header, const uint8_t *payload, uint64_t *n_rows)
{
    if (hti_hash64(payload, (size_t)header->payload_size, 0) != header->payload_hash)
        return HTSTORE_ECORRUPT;
    return count_rows(payload, header, n_rows);
}

int hti_record_load(const struct hti_record_header *header, const uint8_t *payload, struct hti_record **out)
{
    struct hti_record *record;
    uint64_t n_rows;
    int rc;

    *out = NULL;
    rc = hti_record_verify(header, payload, &n_rows);
    if (rc != 0)
        return rc;
    record = new_record((size_t)header->payload_size);
    if (!record)
        return HTSTORE_ENOMEM;
    record->n_ops = header->n_ops;
    record->n_rows = n_rows;
    record->lsn = header->lsn;
    record->durable_lsn = header->durable_lsn;
    record->payload_hash = header->payload_hash;
    if (header->payload_size > 0)
        memcpy(record->buf.data + HTI_RECORD_HEADER_SIZE, payload, (size_t)header->payload_size);
    record->buf.size += (size_t)header->payload_size;
    *out = record;
    return 0;
}

void hti_op_walk_init(struct hti_op_walk *walk, const struct hti_record *record)
{
    uint64_t size;
    const uint8_t *payload = payload_of(record, &size);

    hti_reader_init(&walk->reader, payload, (size_t)size);
    walk->left = record->n_ops;
}

/* A column of variable sizes: n sizes, then exactly their sum of bytes. */
static bool column_adds_up(const uint8_t *column, uint64_t size, uint32_t n)
{
    const uint64_t sizes = (uint64_t)n * 4;
    uint64_t sum = 0;

    if (size < sizes)
        return false;
    for (uint32_t i = 0; i < n; i++)
        sum += hti_load_le32(column + (uint64_t)i * 4);
    return sum == size - sizes;
}

static bool op_is_well_formed(const struct hti_op *op)
{
    switch (op->kind) {
    case HTI_OP_CLEAR:
        return op->n_rows == 0 && op->keys_size == 0 && op->values_size == 0;
    case HTI_OP_REMOVE:
        if (op->values_size != 0 || op->value_size != 0)
            return false;
        break;
    case HTI_OP_PUT:
    case HTI_OP_PUT_NEW:
        if (op->value_size == HTI_OP_VARIABLE ? !column_adds_up(op->values, op->values_size, op->n_rows)
                                              : op->values_size != (uint64_t)op->value_size * op->n_rows)
            return false;
        break;
    default:
        return false;
    }
    return op->key_size ? op->keys_size == (uint64_t)op->key_size * op->n_rows
                        : column_adds_up(op->keys, op->keys_size, op->n_rows);
}

int hti_op_walk_next(struct hti_op_walk *walk, struct hti_op *op)
{
    struct hti_reader *r = &walk->reader;

    if (walk->left == 0)
        return hti_reader_left(r) == 0 ? 1 : HTSTORE_ECORRUPT;
    memset(op, 0, sizeof *op);
    op->table_id = hti_reader_u64(r);
    op->kind = hti_reader_u32(r);
    op->n_rows = hti_reader_u32(r);
    op->key_size = hti_reader_u32(r);
    op->value_size = hti_reader_u32(r);
    op->keys_size = hti_reader_u64(r);
    op->values_size = hti_reader_u64(r);
    if (!hti_reader_ok(r) || op->keys_size > HTI_RECORD_MAX_SIZE || op->values_size > HTI_RECORD_MAX_SIZE ||
        op->n_rows > HTSTORE_MAX_BATCH_ROWS)
        return HTSTORE_ECORRUPT;
    op->keys = hti_reader_bytes(r, (size_t)round_up8(op->keys_size));
    op->values = hti_reader_bytes(r, (size_t)round_up8(op->values_size));
    if (!hti_reader_ok(r) || !op_is_well_formed(op))
        return HTSTORE_ECORRUPT;
    walk->left--;
    return 0;
}

void hti_row_walk_init(struct hti_row_walk *walk, const struct hti_op *op)
{
    walk->op = op;
    walk->index = 0;
    walk->key_offset = op->key_size ? 0 : (uint64_t)op->n_rows * 4;
    walk->value_offset = op->value_size == HTI_OP_VARIABLE ? (uint64_t)op->n_rows * 4 : 0;
}

bool hti_row_walk_next(struct hti_row_walk *walk, struct hti_row *row)
{
    const struct hti_op *op = walk->op;
    const uint32_t i = walk->index;

    if (i >= op->n_rows)
        return false;
    row->key_size = op->key_size ? op->key_size : hti_load_le32(op->keys + (uint64_t)i * 4);
    row->value_size = op->value_size == HTI_OP_VARIABLE ? hti_load_le32(op->values + (uint64_t)i * 4) : op->value_size;
    row->key = op->keys + walk->key_offset;
    row->value = op->values + walk->value_offset;
    walk->key_offset += row->key_size;
    walk->value_offset += row->value_size;
    walk->index++;
    return true;
}

bool hti_op_is_valid(const struct hti_op *op, const struct hti_row_type *type)
{
    struct hti_row_walk walk;
    struct hti_row row;

    if (op->kind == HTI_OP_CLEAR)
        return true;
    if ((op->kind != HTI_OP_PUT && op->kind != HTI_OP_REMOVE) || op->key_size != type->key_size ||
        op->value_size != op_value_size(type, op->kind))
        return false;
    if (hti_codec_is_always_valid(type))
        return true;
    hti_row_walk_init(&walk, op);
    while (hti_row_walk_next(&walk, &row)) {
        if (!hti_codec_key_is_valid(type, row.key, row.key_size))
            return false;
        if (op->kind == HTI_OP_PUT && !hti_codec_value_is_valid(type, row.value, row.value_size))
            return false;
    }
    return true;
}
