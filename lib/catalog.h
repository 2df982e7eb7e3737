/*
 * catalog: the records that describe a store and its objects, as bytes and in memory. Layout: docs/store-format.md.
 *
 * Every record ends with a checksum over its key and contents, so that a damaged one is never believed.
 */
#ifndef HTI_CATALOG_H
#define HTI_CATALOG_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "dtype.h"
#include "error.h"
#include "hash.h"
#include "kv.h"

#define HTI_STORE_VERSION 1u

/* The one record of the store. */
struct hti_store_record {
    uint8_t store_id[16];
    uint64_t applied_lsn; /* the rows in LMDB are those after this batch (if not `flushing`) */
    uint64_t next_id; /* for objects and databases; never goes back */
    uint64_t session; /* counts opens by an owner */
    uint64_t first_segment; /* journal segments of this session have this number or a higher one */
    bool clean; /* closed: the journal holds nothing that LMDB lacks */
    bool flushing; /* between the transactions of a flush: the rows are no prefix of history */
};

/* What never changes of a table. Owns its memory. */
struct hti_table_record {
    uint64_t id;
    char *name; /* NULL: anonymous */
    uint32_t flags;
    uint32_t key_dtype;
    uint32_t value_dtype;
    struct hti_shape value_shape;
    uint8_t *default_value; /* packed */
    size_t default_size;
};
void hti_table_record_release(struct hti_table_record *record);

/* What changes with every flush of a table, in the same transaction as its rows. */
struct hti_totals_record {
    uint64_t id;
    uint64_t database; /* of its rows; 0 = none yet */
    uint64_t n_rows;
    struct hti_hash128 digest;
};

/* A database whose rows nobody needs any more, to be deleted in slices. */
struct hti_garbage_record {
    uint64_t database;
};

enum hti_record_kind { HTI_CATALOG_STORE = 0, HTI_CATALOG_TABLE = 1, HTI_CATALOG_TOTALS = 2, HTI_CATALOG_GARBAGE = 3 };
#define HTI_CATALOG_KEY_SIZE 9
struct hti_kv_bytes hti_catalog_key(enum hti_record_kind kind, uint64_t id, uint8_t space[HTI_CATALOG_KEY_SIZE]);

/* Encoding appends to `out`: 0 or HTSTORE_ENOMEM. */
int hti_catalog_encode_store(const struct hti_store_record *record, struct hti_buf *out);
int hti_catalog_encode_table(const struct hti_table_record *record, struct hti_buf *out);
int hti_catalog_encode_totals(const struct hti_totals_record *record, struct hti_buf *out);
int hti_catalog_encode_garbage(const struct hti_garbage_record *record, struct hti_buf *out);

/* Decoding verifies everything: HTSTORE_ECORRUPT, HTSTORE_EVERSION and HTSTORE_EFORMAT (store), HTSTORE_ENOMEM (table). */
int hti_catalog_decode_store(struct hti_kv_bytes value, struct hti_store_record *record, struct htstore_error *error);
int hti_catalog_decode_table(uint64_t id, struct hti_kv_bytes value, struct hti_table_record *record,
                             struct htstore_error *error);
int hti_catalog_decode_totals(uint64_t id, struct hti_kv_bytes value, struct hti_totals_record *record,
                              struct htstore_error *error);
int hti_catalog_decode_garbage(uint64_t id, struct hti_kv_bytes value, struct hti_garbage_record *record,
                               struct htstore_error *error);
/* Take a key apart. HTSTORE_ECORRUPT if it is none. */
int hti_catalog_decode_key(struct hti_kv_bytes key, enum hti_record_kind *kind, uint64_t *id);

/* Put a record in a transaction, by the encoder's kind. Results as hti_kv_put(). */
int hti_catalog_put_store(struct hti_kv_write *write, const struct hti_store_record *record,
                          struct htstore_error *error);
int hti_catalog_put_table(struct hti_kv_write *write, const struct hti_table_record *record,
                          struct htstore_error *error);
int hti_catalog_put_totals(struct hti_kv_write *write, const struct hti_totals_record *record,
                           struct htstore_error *error);
int hti_catalog_put_garbage(struct hti_kv_write *write, const struct hti_garbage_record *record,
                            struct htstore_error *error);
int hti_catalog_remove(struct hti_kv_write *write, enum hti_record_kind kind, uint64_t id, struct htstore_error *error);

/* Read one record in a read transaction. HTSTORE_EFORMAT if it is missing: then this is no store. */
int hti_catalog_get_store(struct hti_kv_read *read, struct hti_store_record *record, struct htstore_error *error);

/* Is this a schema's worth of a name: 1 to HTSTORE_MAX_NAME_SIZE bytes of UTF-8? HTSTORE_EINVAL, HTSTORE_ETYPE. */
int hti_catalog_check_name(const char *name, struct htstore_error *error);

#endif
