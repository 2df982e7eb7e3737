/* encode: the rows of a block, or a piece of a row, as stored, on their way to the frame of a snapshot. Run by the workers of a save. */
#ifndef HTI_ENCODE_H
#define HTI_ENCODE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "codec.h"
#include "kv.h"

/* Zeros are a job that holds nothing. The owner of a job releases both buffers. */
struct hti_encode_job {
    uint32_t node;
    uint64_t id; /* of the object */
    struct hti_row_type type;
    bool is_piece;
    bool has_leaves; /* `raw` is of fixedrows.h */
    uint32_t n_rows; /* of a piece: 1 in the last one */
    uint64_t bytes; /* of keys and packed values */
    struct hti_buf raw; /* what is kept; or the payload of a piece */
    /* outcome */
    struct hti_buf frame;
    uint32_t plain_size;
    uint64_t plain_hash;
    struct hti_hash128 digest; /* of a piece: the caller's */
};

/* Keep a stored row. 0 or HTSTORE_ENOMEM. */
int hti_encode_keep(struct hti_encode_job *job, struct hti_kv_bytes key, struct hti_kv_bytes value);

/* For a pool (pool.h): `user` is an int, the level of Zstandard. */
int hti_encode_init(void *user, void **context);
void hti_encode_release(void *context);
/* Every row is verified. 0, HTSTORE_ECORRUPT (a row is damaged), HTSTORE_ENOMEM. */
int hti_encode_run(void *context, void *job);

#endif
