/*
 * record: one batch of operations as bytes, built once and used three times: written to the journal, applied in memory,
 * sorted by the flusher. Layout of header and payload: docs/journal-format.md.
 */
#ifndef HTI_RECORD_H
#define HTI_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "codec.h"
#include "error.h"

#define HTI_RECORD_MAGIC 0x524A5448u /* "HTJR" */
#define HTI_RECORD_HEADER_SIZE 64u
#define HTI_RECORD_TYPE_BATCH 1u
#define HTI_RECORD_MAX_SIZE ((uint64_t)HTSTORE_MAX_BATCH_SIZE + (64u << 10))

enum hti_op_kind {
    HTI_OP_PUT = 1,
    HTI_OP_REMOVE = 2,
    HTI_OP_CLEAR = 3,
    HTI_OP_PUT_NEW = 16 /* in memory only: a request that the commit resolves to puts; never written */
};

/* What a record header says; all of it is covered by its checksum. */
struct hti_record_header {
    uint64_t lsn;
    uint64_t durable_lsn; /* highest LSN known to be synced when this was written */
    uint64_t payload_size;
    uint64_t payload_hash;
    uint32_t type;
    uint32_t n_ops;
};

/* One operation of a payload; the pointers are borrowed from it. */
struct hti_op {
    uint64_t table_id;
    uint32_t kind;
    uint32_t n_rows;
    uint32_t key_size; /* 0 = strings */
    uint32_t value_size; /* HTI_OP_VARIABLE = sizes are in the column */
    const uint8_t *keys;
    uint64_t keys_size;
    const uint8_t *values;
    uint64_t values_size;
};
#define HTI_OP_VARIABLE UINT32_MAX

struct hti_record {
    struct hti_buf buf; /* header and payload */
    uint32_t n_ops;
    uint64_t n_rows;
    uint64_t lsn; /* 0 until the journal has it */
    uint64_t durable_lsn; /* what its header says, if it was read from a journal */
    uint64_t payload_hash;
    struct hti_record *next; /* list of its owner */
};

struct hti_record *hti_record_new(void); /* NULL: no memory */
void hti_record_free(struct hti_record *record);
void hti_record_free_list(struct hti_record *list);
uint64_t hti_record_size(const struct hti_record *record); /* as written: a multiple of 8 */

/*
 * Add an operation on `n_rows` elements of the caller's arrays, already checked; values may be NULL for removals.
 * HTSTORE_EINVAL (a row or the batch is too large), HTSTORE_ENOMEM; the record is then as before.
 */
struct hti_op_source {
    uint64_t table_id;
    const struct hti_row_type *type;
    uint32_t kind;
    uint64_t n_rows;
    const void *keys; /* native elements */
    const void *values; /* native elements; NULL = none */
    bool shared_value; /* one row of values for all keys */
};
int hti_record_add(struct hti_record *record, const struct hti_op_source *source, struct htstore_error *error);

/*
 * Add an operation row by row, from packed keys and values: begin, any number of rows, end. A failed row or end leaves
 * the builder to be released; the record is as before.
 */
struct hti_op_builder {
    struct hti_buf key_sizes, keys, value_sizes, values;
    uint64_t table_id;
    const struct hti_row_type *type;
    uint32_t kind;
    uint32_t n_rows;
};
void hti_op_builder_init(struct hti_op_builder *builder, uint64_t table_id, const struct hti_row_type *type,
                         uint32_t kind);
int hti_op_builder_row(struct hti_op_builder *builder, const struct hti_row *row);
int hti_op_builder_finish(struct hti_op_builder *builder, struct hti_record *record, struct htstore_error *error);
void hti_op_builder_release(struct hti_op_builder *builder);

/* Complete the payload (its hash), before the record is queued. */
void hti_record_seal(struct hti_record *record);
/* Write the header into the record's first bytes. `binding` ties it to a store and a segment (segment.h). */
void hti_record_stamp(struct hti_record *record, uint64_t lsn, uint64_t durable_lsn, uint64_t binding);

/* Is this a header of that segment? Never reads beyond HTI_RECORD_HEADER_SIZE bytes. */
bool hti_record_parse_header(const uint8_t *data, uint64_t binding, struct hti_record_header *header);
/* Is this the header's payload, and well-formed? 0 or HTSTORE_ECORRUPT. */
int hti_record_verify(const struct hti_record_header *header, const uint8_t *payload, uint64_t *n_rows);
/* Make a record of a header and payload that were read; takes a copy. HTSTORE_ENOMEM, HTSTORE_ECORRUPT. */
int hti_record_load(const struct hti_record_header *header, const uint8_t *payload, struct hti_record **record);

/* Walk the operations: 0 and an op, 1 at the end, HTSTORE_ECORRUPT if the payload is malformed. */
struct hti_op_walk {
    struct hti_reader reader;
    uint32_t left;
};
void hti_op_walk_init(struct hti_op_walk *walk, const struct hti_record *record);
int hti_op_walk_next(struct hti_op_walk *walk, struct hti_op *op);

/* Walk the rows of an operation that hti_op_walk_next() has accepted. False at the end. */
struct hti_row_walk {
    const struct hti_op *op;
    uint32_t index; /* of the row that comes next */
    uint64_t key_offset, value_offset;
};
void hti_row_walk_init(struct hti_row_walk *walk, const struct hti_op *op);
bool hti_row_walk_next(struct hti_row_walk *walk, struct hti_row *row);

/* Does the operation fit the type: sizes, every key and value well-formed? For records that come from files. */
bool hti_op_is_valid(const struct hti_op *op, const struct hti_row_type *type);

#endif
