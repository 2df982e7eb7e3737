/* lookup: what is known of a key: in memory first, then in LMDB. */
#ifndef HTI_LOOKUP_H
#define HTI_LOOKUP_H

#include "state.h"

enum hti_found {
    HTI_FOUND_ABSENT = 0,
    HTI_FOUND_PRESENT = 1,
    HTI_FOUND_COLLISION = 2, /* absent, and a row of another long key stands where its row would stand */
    HTI_FOUND_ASK = 3 /* memory does not tell: ask LMDB */
};

/* What memory tells of a packed key. With the section. */
enum hti_found hti_lookup_memory(const struct hti_core *core, const void *key, size_t key_size, const void **value,
                                 size_t *value_size);
/* The same without the recent rows, which readers change: with write_mutex while no leader is at work, or the section. */
enum hti_found hti_lookup_written(const struct hti_core *core, const void *key, size_t key_size, const void **value,
                                  size_t *value_size);

/*
 * What LMDB tells. *found is never HTI_FOUND_ASK; the value is valid until the read ends. 0, or HTSTORE_ECORRUPT (the row's checksum
 * differs: the sentence names the table), HTSTORE_EIO.
 */
int hti_lookup_stored(const struct hti_core *core, struct hti_kv_read *read, uint64_t database, const void *key,
                      size_t key_size, enum hti_found *found, const void **value, size_t *value_size,
                      struct htstore_error *error);

/* The same of up to HTI_LOOKUP_KEYS keys at once, which is faster from some on; `search` is of the database. */
struct hti_lookup_key {
    const void *key;
    size_t key_size;
    enum hti_found found;
    const void *value;
    size_t value_size;
};
#define HTI_LOOKUP_KEYS HTI_KVSEARCH_KEYS
int hti_lookup_many(const struct hti_core *core, const struct hti_kvsearch *search, struct hti_kv_read *read,
                    uint64_t database, struct hti_lookup_key *keys, unsigned n, struct htstore_error *error);

#endif
