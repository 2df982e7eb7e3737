/*
 * span: hides how elements become rows, and come back. A value that fits a batch is written as one: journalled, so durable
 * and atomic, like any other. A larger one, and the first one, is built beside and switched in.
 */
#include "span.h"

#include <string.h>

#include "arena.h"
#include "build.h"
#include "commit.h"
#include "mem.h"
#include "read.h"
#include "structure.h"
#include "varlayout.h"

#define MAX_BATCH_BYTES ((uint64_t)64 << 20) /* above it a value is built beside the old one */

void hti_span_init(struct hti_span *span, const struct hti_core *core, uint64_t begin, uint64_t end)
{
    memset(span, 0, sizeof *span);
    span->core = core;
    span->n_all = hti_shape_count(&core->record.value_shape);
    span->per_row = hti_varlayout_row_elements(core->record.value_dtype, span->n_all);
    span->begin = begin;
    span->end = end;
    span->item_size = htstore_dtype_size(core->record.value_dtype);
    if (begin == end)
        return;
    span->first_row = begin / span->per_row;
    span->n_rows = (end - 1) / span->per_row + 1 - span->first_row;
}

/* --- rows of a new value, one by one --- */

struct row_maker {
    const struct hti_span *span;
    const uint8_t *elements; /* the caller's, from span->begin on */
    const uint8_t *edges[2]; /* the first and the last row as they are, if the span does not cover them; unpacked */
    uint8_t *scratch; /* a row of elements */
    uint8_t *packed;
    size_t packed_capacity;
    uint8_t key[8];
};

static int init_maker(struct row_maker *maker, const struct hti_span *span, const void *elements,
                      struct htstore_error *error)
{
    memset(maker, 0, sizeof *maker);
    maker->span = span;
    maker->elements = elements;
    maker->scratch = hti_mem_alloc_array((size_t)span->per_row, span->item_size);
    return maker->scratch ? 0 : hti_fail(error, HTSTORE_ENOMEM, "no memory for a row");
}

static void release_maker(struct row_maker *maker)
{
    hti_mem_free(maker->scratch);
    hti_mem_free(maker->packed);
}

/* The elements of row i of the span, in scratch: old ones around the new ones, zeros behind the last. */
static void gather_elements(struct row_maker *maker, uint64_t i)
{
    const struct hti_span *span = maker->span;
    const uint64_t row_begin = (span->first_row + i) * span->per_row, row_end = row_begin + span->per_row;
    const uint64_t begin = span->begin > row_begin ? span->begin : row_begin;
    const uint64_t end = span->end < row_end ? span->end : row_end;
    const uint8_t *edge = i == 0 ? maker->edges[0] : NULL;

    if (i + 1 == span->n_rows && maker->edges[1])
        edge = maker->edges[1];
    if (edge)
        memcpy(maker->scratch, edge, (size_t)span->per_row * span->item_size);
    else
        memset(maker->scratch, 0, (size_t)span->per_row * span->item_size);
    memcpy(maker->scratch + (begin - row_begin) * span->item_size,
           maker->elements + (begin - span->begin) * span->item_size, (size_t)(end - begin) * span->item_size);
}

static int make_row(struct row_maker *maker, uint64_t i, struct hti_row *row, struct htstore_error *error)
{
    const struct hti_row_type *type = &maker->span->core->type;
    const uint64_t number = maker->span->first_row + i;
    size_t size;

    gather_elements(maker, i);
    size = type->value_is_fixed ? type->value_size : hti_codec_value_size(type, maker->scratch);
    if (size == HTI_SIZE_OVERFLOW || size + 16 > HTSTORE_MAX_ROW_SIZE) {
        hti_fail(error, HTSTORE_EINVAL, "a string is larger than a row may be");
        if (error)
            error->index = (int64_t)number;
        return HTSTORE_EINVAL;
    }
    if (size > maker->packed_capacity) {
        hti_mem_free(maker->packed);
        maker->packed_capacity = 0;
        maker->packed = hti_mem_alloc(size);
        if (!maker->packed)
            return hti_fail(error, HTSTORE_ENOMEM, "no memory for a row");
        maker->packed_capacity = size;
    }
    hti_codec_pack_value(type, maker->scratch, maker->packed);
    hti_codec_pack_key(type, &number, maker->key);
    *row = (struct hti_row){ maker->key, type->key_size, maker->packed, size };
    return 0;
}

/* --- ways to write --- */

static int add_rows(struct row_maker *maker, struct hti_op_builder *builder, struct htstore_error *error)
{
    struct hti_row row;
    int rc = 0;

    for (uint64_t i = 0; rc == 0 && i < maker->span->n_rows; i++) {
        rc = make_row(maker, i, &row, error);
        if (rc == 0 && hti_op_builder_row(builder, &row) != 0)
            rc = hti_fail(error, HTSTORE_ENOMEM, "no memory for the batch");
    }
    return rc;
}

/* As a batch like any other. */
static int write_batch(struct htstore *store, struct row_maker *maker, struct htstore_error *error)
{
    struct hti_core *core = (struct hti_core *)(uintptr_t)maker->span->core;
    struct hti_write write = { .durability = HTSTORE_SYNC };
    struct hti_op_builder builder;
    int rc;

    hti_op_builder_init(&builder, core->record.id, &core->type, HTI_OP_PUT);
    write.record = hti_record_new();
    write.cores = hti_mem_alloc_array(1, sizeof *write.cores);
    rc = write.record && write.cores ? 0 : hti_fail(error, HTSTORE_ENOMEM, "no memory for the batch");
    if (rc == 0)
        rc = add_rows(maker, &builder, error);
    if (rc == 0)
        rc = hti_op_builder_finish(&builder, write.record, error);
    if (rc == 0) {
        write.cores[0] = core;
        hti_record_seal(write.record);
        rc = hti_commit(store, &write, error);
    }
    hti_op_builder_release(&builder);
    hti_write_release(&write);
    return rc;
}

static int build_rows(struct row_maker *maker, struct hti_build *build, struct htstore_error *error)
{
    struct hti_row row;
    int rc = 0;

    for (uint64_t i = 0; rc == 0 && i < maker->span->n_rows; i++) {
        rc = make_row(maker, i, &row, error);
        if (rc == 0)
            rc = hti_build_row(build, &row, error);
    }
    return rc ? rc : hti_build_finish(build, error);
}

/* With flush_mutex. The whole value, beside the old one. */
static int switch_value(struct htstore *store, struct row_maker *maker, struct htstore_error *error)
{
    struct hti_core *core = (struct hti_core *)(uintptr_t)maker->span->core;
    struct hti_switch new_contents = { .core = core };
    struct hti_change change = { .switches = &new_contents, .n_switches = 1 };
    struct hti_build build;
    int rc;

    hti_build_init(&build, store, &core->type, core->record.id, false);
    rc = build_rows(maker, &build, error);
    new_contents.totals = build.totals;
    if (rc == 0)
        rc = hti_structure_commit(store, &change, error);
    if (rc != 0)
        hti_build_abort(&build);
    hti_build_release(&build);
    return rc;
}

static uint64_t batch_bytes(const struct hti_span *span, const struct htstore_array *value)
{
    const struct htstore_bytes *strings = value->data;
    uint64_t bytes = span->n_rows * 16;

    if (span->core->record.value_dtype != HTSTORE_STRING)
        return bytes + (span->end - span->begin) * span->item_size;
    for (uint64_t i = 0; i < span->end - span->begin && bytes <= MAX_BATCH_BYTES; i++)
        bytes += strings[i].size + 16;
    return bytes;
}

static int write_value(struct htstore *store, struct row_maker *maker, const struct htstore_array *value,
                       struct htstore_error *error)
{
    const struct hti_span *span = maker->span;
    const bool whole = span->end - span->begin == span->n_all;
    int rc;

    if (!whole || batch_bytes(span, value) <= MAX_BATCH_BYTES)
        return write_batch(store, maker, error);
    pthread_mutex_lock(&store->flush_mutex);
    rc = switch_value(store, maker, error);
    pthread_mutex_unlock(&store->flush_mutex);
    return rc;
}

int hti_span_create(struct htstore *store, struct hti_object_record *record, void *user, struct hti_core **out,
                    struct htstore_error *error)
{
    const struct htstore_array *value = user;
    struct hti_core layout = { .record = *record }; /* only to lay out the rows */
    struct row_maker maker;
    struct hti_build build;
    struct hti_span span;
    int rc;

    hti_varlayout_init(&layout.type, record->value_dtype, hti_shape_count(&record->value_shape));
    hti_span_init(&span, &layout, 0, hti_shape_count(&record->value_shape));
    rc = init_maker(&maker, &span, value->data, error);
    if (rc != 0)
        return rc;
    hti_build_init(&build, store, &layout.type, hti_structure_new_id(store), false);
    rc = build_rows(&maker, &build, error);
    if (rc == 0)
        rc = hti_structure_create(store, record, &build.totals, out, error);
    if (rc != 0)
        hti_build_abort(&build);
    hti_build_release(&build);
    release_maker(&maker);
    return rc;
}

/* --- reading --- */

/* Where rows go: a part of the caller's array. */
struct target {
    const struct hti_span *span;
    struct htstore_array *out;
    uint8_t *scratch; /* a row of elements */
};

static int own_strings(struct htstore_bytes *strings, uint64_t n, struct htstore_arena *arena)
{
    for (uint64_t i = 0; i < n; i++) {
        void *copy = hti_arena_alloc(arena, strings[i].size, 1);
        if (!copy)
            return HTSTORE_ENOMEM;
        if (strings[i].size > 0)
            memcpy(copy, strings[i].data, strings[i].size);
        strings[i].data = copy;
    }
    return 0;
}

static int put_row(void *user, uint64_t i, const void *packed, size_t size)
{
    const struct target *t = user;
    const struct hti_span *span = t->span;
    const uint64_t row_begin = (span->first_row + i) * span->per_row, row_end = row_begin + span->per_row;
    const uint64_t begin = span->begin > row_begin ? span->begin : row_begin;
    const uint64_t end = span->end < row_end ? span->end : row_end;
    uint8_t *at = (uint8_t *)t->out->data + (begin - span->begin) * span->item_size;
    int rc = hti_codec_unpack_value(&span->core->type, packed, size, t->scratch);

    if (rc != 0)
        return rc;
    memcpy(at, t->scratch + (begin - row_begin) * span->item_size, (size_t)(end - begin) * span->item_size);
    return span->core->record.value_dtype == HTSTORE_STRING
               ? own_strings((struct htstore_bytes *)(void *)at, end - begin, t->out->arena)
               : 0;
}

int hti_span_read(struct htstore *store, const struct hti_span *span, struct htstore_array *out,
                  struct htstore_error *error)
{
    uint64_t *keys = hti_mem_alloc_array((size_t)span->n_rows, sizeof *keys);
    struct target target = { .span = span, .out = out };
    int rc = 0;

    target.scratch = hti_mem_alloc_array((size_t)span->per_row, span->item_size);
    if (!keys || !target.scratch)
        rc = hti_fail(error, HTSTORE_ENOMEM, "no memory to read the variable");
    for (uint64_t i = 0; rc == 0 && i < span->n_rows; i++)
        keys[i] = span->first_row + i;
    if (rc == 0 && span->n_rows > 0) {
        const struct htstore_array list = htstore_vector(HTSTORE_UINT64, keys, (size_t)span->n_rows);
        rc = hti_read_rows(store, span->core, &list, put_row, &target, error);
    }
    hti_mem_free(keys);
    hti_mem_free(target.scratch);
    return rc;
}

static int assign_whole(struct htstore *store, struct row_maker *maker, const struct htstore_array *value,
                        struct htstore_error *error)
{
    int rc;

    pthread_mutex_lock(&store->contents_mutex);
    rc = write_value(store, maker, value, error);
    pthread_mutex_unlock(&store->contents_mutex);
    return rc;
}

/* A row that the slice covers in part, as it is. Strings have a row each: there is none. */
static int read_edge(struct htstore *store, const struct hti_span *span, uint64_t row, uint8_t *out,
                     struct htstore_error *error)
{
    struct htstore_array view = htstore_vector(span->core->record.value_dtype, out, (size_t)span->per_row);
    const uint64_t begin = row * span->per_row, end = begin + span->per_row;
    struct hti_span whole;

    memset(out, 0, (size_t)span->per_row * span->item_size);
    hti_span_init(&whole, span->core, begin, end < span->n_all ? end : span->n_all);
    return hti_span_read(store, &whole, &view, error);
}

static int read_edges(struct htstore *store, struct row_maker *maker, uint8_t *space, struct htstore_error *error)
{
    const struct hti_span *span = maker->span;
    const uint64_t last = span->first_row + span->n_rows - 1;
    const uint64_t last_end = (last + 1) * span->per_row < span->n_all ? (last + 1) * span->per_row : span->n_all;
    uint8_t *second = space + (size_t)span->per_row * span->item_size;
    int rc = 0;

    if (span->begin % span->per_row != 0) {
        rc = read_edge(store, span, span->first_row, space, error);
        maker->edges[0] = space;
    }
    if (rc == 0 && span->end != last_end) {
        rc = read_edge(store, span, last, second, error);
        maker->edges[1] = second;
    }
    return rc;
}

/* One step for all who write elements: what lies around the slice in its rows is read, and must not change meanwhile. */
static int assign_slice(struct htstore *store, struct row_maker *maker, const struct htstore_array *value,
                        struct htstore_error *error)
{
    const size_t row_size = (size_t)maker->span->per_row * maker->span->item_size;
    uint8_t *space = hti_mem_alloc_array(2, row_size);
    int rc;

    if (!space)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a row");
    pthread_mutex_lock(&store->contents_mutex);
    rc = read_edges(store, maker, space, error);
    if (rc == 0)
        rc = write_value(store, maker, value, error);
    pthread_mutex_unlock(&store->contents_mutex);
    hti_mem_free(space);
    return rc;
}

int hti_span_assign(struct htstore *store, const struct hti_span *span, const struct htstore_array *value,
                    struct htstore_error *error)
{
    const bool whole = span->end - span->begin == span->n_all;
    struct row_maker maker;
    int rc;

    if (span->n_rows == 0)
        return 0;
    rc = init_maker(&maker, span, value->data, error);
    if (rc == 0)
        rc = whole ? assign_whole(store, &maker, value, error) : assign_slice(store, &maker, value, error);
    release_maker(&maker);
    return rc;
}
