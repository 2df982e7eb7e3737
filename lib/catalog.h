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
    bool incomplete; /* salvaged with losses: not all that once was */
    bool flushing; /* between the transactions of a flush: the rows are no prefix of history */
};

/* What describes an object. Of a mapping only the trainable flag ever changes; of others nothing. Owns its memory. */
struct hti_object_record {
    uint64_t id;
    uint32_t kind; /* enum htstore_kind */
    char *name; /* NULL: anonymous */
    uint32_t flags; /* as in schemas */
    uint32_t role; /* variables */
    uint32_t key_dtype; /* tables */
    uint32_t value_dtype; /* tables, variables */
    struct hti_shape value_shape; /* tables, variables */
    uint8_t *default_value; /* tables; packed */
    size_t default_size;
};
void hti_object_record_release(struct hti_object_record *record);

/* What changes with every change of an object's contents, in the same transaction. */
struct hti_totals_record {
    uint64_t id;
    uint64_t database; /* of its rows; 0 = none; always 0 for mappings */
    uint64_t n_rows; /* mappings: entries */
    struct hti_hash128 digest;
};

/* An entry of a mapping. The name is borrowed when it is encoded, and points into the record when it was decoded. */
struct hti_entry_record {
    uint64_t mapping;
    uint64_t index; /* in the order of their puts, from 0 */
    uint64_t object;
    const char *name; /* not NUL-terminated */
    size_t name_size;
};

/* A database whose rows nobody needs any more, to be deleted in slices. */
struct hti_garbage_record {
    uint64_t database;
};

enum hti_record_kind {
    HTI_CATALOG_STORE = 0,
    HTI_CATALOG_OBJECT = 1,
    HTI_CATALOG_TOTALS = 2,
    HTI_CATALOG_GARBAGE = 3,
    HTI_CATALOG_ENTRY = 4
};
#define HTI_CATALOG_KEY_SIZE 9 /* of all kinds but entries */
#define HTI_CATALOG_SHORT_NAME_MAX 480 /* bytes of an entry's name that are in its key as they are */
#define HTI_CATALOG_MAX_KEY_SIZE (HTI_CATALOG_KEY_SIZE + HTI_CATALOG_SHORT_NAME_MAX + 16)
struct hti_kv_bytes hti_catalog_key(enum hti_record_kind kind, uint64_t id, uint8_t space[HTI_CATALOG_KEY_SIZE]);
struct hti_kv_bytes hti_catalog_entry_key(uint64_t mapping, const char *name, size_t name_size,
                                          uint8_t space[HTI_CATALOG_MAX_KEY_SIZE]);
/* What an entry adds to the digest of its mapping. */
struct hti_hash128 hti_catalog_entry_hash(const struct hti_entry_record *record);

/* Encoding appends to `out`: 0 or HTSTORE_ENOMEM. */
int hti_catalog_encode_store(const struct hti_store_record *record, struct hti_buf *out);
int hti_catalog_encode_object(const struct hti_object_record *record, struct hti_buf *out);
int hti_catalog_encode_totals(const struct hti_totals_record *record, struct hti_buf *out);
int hti_catalog_encode_garbage(const struct hti_garbage_record *record, struct hti_buf *out);
int hti_catalog_encode_entry(const struct hti_entry_record *record, struct hti_buf *out);

/* Decoding verifies everything: HTSTORE_ECORRUPT, HTSTORE_EVERSION and HTSTORE_EFORMAT (store), HTSTORE_ENOMEM (objects). */
int hti_catalog_decode_store(struct hti_kv_bytes value, struct hti_store_record *record, struct htstore_error *error);
int hti_catalog_decode_object(uint64_t id, struct hti_kv_bytes value, struct hti_object_record *record,
                              struct htstore_error *error);
int hti_catalog_decode_totals(uint64_t id, struct hti_kv_bytes value, struct hti_totals_record *record,
                              struct htstore_error *error);
int hti_catalog_decode_garbage(uint64_t id, struct hti_kv_bytes value, struct hti_garbage_record *record,
                               struct htstore_error *error);
/* Of a record under `key`, which must be that of its mapping and name. */
int hti_catalog_decode_entry(struct hti_kv_bytes key, struct hti_kv_bytes value, struct hti_entry_record *record,
                             struct htstore_error *error);
/* Take a key apart; of an entry's, `id` is the mapping. HTSTORE_ECORRUPT if it is none. */
int hti_catalog_decode_key(struct hti_kv_bytes key, enum hti_record_kind *kind, uint64_t *id);

/* Put a record in a transaction, by the encoder's kind. Results as hti_kv_put(). */
int hti_catalog_put_store(struct hti_kv_write *write, const struct hti_store_record *record,
                          struct htstore_error *error);
int hti_catalog_put_object(struct hti_kv_write *write, const struct hti_object_record *record,
                           struct htstore_error *error);
int hti_catalog_put_totals(struct hti_kv_write *write, const struct hti_totals_record *record,
                           struct htstore_error *error);
int hti_catalog_put_garbage(struct hti_kv_write *write, const struct hti_garbage_record *record,
                            struct htstore_error *error);
/* HTSTORE_ECONFLICT: there is an entry of that name, or of one with the same stored form. */
int hti_catalog_put_entry(struct hti_kv_write *write, const struct hti_entry_record *record,
                          struct htstore_error *error);
int hti_catalog_remove(struct hti_kv_write *write, enum hti_record_kind kind, uint64_t id, struct htstore_error *error);
int hti_catalog_remove_entry(struct hti_kv_write *write, const struct hti_entry_record *record,
                             struct htstore_error *error);

/* Read one record in a read transaction. HTSTORE_EFORMAT if it is missing: then this is no store. */
int hti_catalog_get_store(struct hti_kv_read *read, struct hti_store_record *record, struct htstore_error *error);

/* 1 = there is none of that object. */
int hti_catalog_get_totals(struct hti_kv_read *read, uint64_t id, struct hti_totals_record *record,
                           struct htstore_error *error);

/* Is this a schema's worth of a name: 1 to HTSTORE_MAX_NAME_SIZE bytes of UTF-8? HTSTORE_EINVAL, HTSTORE_ETYPE. */
int hti_catalog_check_name(const char *name, struct htstore_error *error);
/*
 * Is this a mapping's worth of a key: at most HTSTORE_MAX_NAME_SIZE bytes of UTF-8 without NUL? HTSTORE_ETYPE, with the
 * bytes in the sentence; HTSTORE_EINVAL.
 */
int hti_catalog_check_key(const struct htstore_bytes *key, struct htstore_error *error);

#endif
