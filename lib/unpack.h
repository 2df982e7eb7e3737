/*
 * unpack: reads a snapshot block by block: workers decompress, verify and turn rows into what is stored; the caller gets
 * them in order. Proves on the way that each object has the rows, in order, that the graph promises.
 */
#ifndef HTI_UNPACK_H
#define HTI_UNPACK_H

#include "codec.h"
#include "htstore.h"
#include "snapread.h"

/* Rows in stored order. Valid during the call. */
struct hti_unpacked {
    uint32_t node;
    uint32_t n_rows;
    struct hti_hash128 digest; /* of these rows */
    /* each row: u32 size of its stored key, u32 size of its stored value, key, value (codec.h) */
    const uint8_t *stored;
    size_t stored_size;
};
struct hti_unpacked_row {
    const uint8_t *key, *value;
    uint32_t key_size, value_size;
};
/* Take the next row off `at`; false at the end. */
bool hti_unpacked_next(const uint8_t **at, const uint8_t *end, struct hti_unpacked_row *row);

struct hti_unpack_options {
    uint32_t threads; /* as in htstore_snapshot_options */
    const char *phase; /* for progress */
    htstore_progress_fn progress; /* may be NULL */
    void *progress_user;
    /*
     * By node: the id of the object that the rows are stored for; 0: they are only verified. NULL: all are only verified.
     */
    const uint64_t *ids;
    /* Gets the rows of nodes with an id; then `end` is called, once for each such node, when all its rows were there. May be NULL. */
    int (*rows)(void *user, const struct hti_unpacked *rows, struct htstore_error *error);
    int (*end)(void *user, uint32_t node, struct htstore_error *error);
    void *user;
};

/*
 * Read all blocks of the file, in order, to its end. HTSTORE_ECORRUPT names object, block and place; HTSTORE_ECANCELED; HTSTORE_EIO; HTSTORE_ENOMEM; or
 * what a callback returned.
 */
int hti_unpack_all(struct hti_snapread *reader, const struct hti_unpack_options *options, struct htstore_error *error);
/* The same of one node alone, by the index (hti_snapread_load_index()). */
int hti_unpack_node(struct hti_snapread *reader, uint32_t node, const struct hti_unpack_options *options,
                    struct htstore_error *error);

#endif
