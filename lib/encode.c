/* encode: hides what a worker of a save has for itself, and how stored rows wait for it. */
#include "encode.h"

#include <string.h>

#include "block.h"
#include "bytes.h"
#include "columns.h"
#include "fixedrows.h"
#include "frame.h"
#include "mem.h"
#include "snapformat.h"

#define ENTRY_HEAD_SIZE 8u /* sizes of key and value */
#define RAW_CAPACITY ((size_t)1 << 20)

struct worker {
    struct hti_frame_encoder *encoder;
    int level;
    struct hti_columns columns;
    struct hti_block_space space;
    struct hti_buf plain;
};

int hti_encode_keep(struct hti_encode_job *job, struct hti_kv_bytes key, struct hti_kv_bytes value)
{
    struct hti_buf *raw = &job->raw;
    const size_t size = ENTRY_HEAD_SIZE + key.size + value.size;
    uint8_t *at;

    if (raw->capacity - raw->size < size && hti_buf_reserve(raw, size > RAW_CAPACITY ? size : RAW_CAPACITY) != 0)
        return HTSTORE_ENOMEM;
    at = raw->data + raw->size;
    hti_store_le32(at, (uint32_t)key.size);
    hti_store_le32(at + 4, (uint32_t)value.size);
    memcpy(at + ENTRY_HEAD_SIZE, key.data, key.size);
    if (value.size > 0)
        memcpy(at + ENTRY_HEAD_SIZE + key.size, value.data, value.size);
    raw->size += size;
    return 0;
}

void hti_encode_release(void *context)
{
    struct worker *w = context;

    hti_frame_encoder_free(w->encoder);
    hti_columns_release(&w->columns);
    hti_block_space_release(&w->space);
    hti_buf_release(&w->plain);
    hti_mem_free(w);
}

int hti_encode_init(void *user, void **context)
{
    struct worker *w = hti_mem_zalloc(sizeof *w);
    int rc;

    if (!w)
        return HTSTORE_ENOMEM;
    w->level = *(const int *)user;
    hti_columns_init(&w->columns);
    hti_block_space_init(&w->space);
    hti_buf_init(&w->plain);
    rc = hti_frame_encoder_new(&w->encoder);
    if (rc != 0)
        hti_encode_release(w);
    else
        *context = w;
    return rc;
}

/* Stored rows become columns. Every row is verified: a damaged store must not make a snapshot. */
static int gather_rows(struct worker *w, struct hti_encode_job *job)
{
    const uint8_t *at = job->raw.data, *end = at + job->raw.size;
    uint8_t key_space[8];
    struct hti_hash128 hash;
    struct hti_row row;
    int rc = 0;

    while (rc == 0 && at < end) {
        const uint32_t key_size = hti_load_le32(at), value_size = hti_load_le32(at + 4);
        const uint8_t *key = at + ENTRY_HEAD_SIZE, *value = key + key_size;
        rc = hti_codec_load_row(&job->type, job->id, key, key_size, value, value_size, key_space, &row, &hash);
        if (rc == 0)
            rc = hti_columns_append(&w->columns, &row);
        if (rc == 0)
            hti_digest_add(&job->digest, hash);
        at = value + value_size;
    }
    return rc;
}

/* The same, from leaves. */
static int gather_leaves(struct worker *w, struct hti_encode_job *job)
{
    const uint8_t *at = job->raw.data, *end = at + job->raw.size;
    struct hti_fixedrows_leaf leaf;
    int rc = 0;

    while (rc == 0 && hti_fixedrows_next(&at, end, &leaf))
        rc = hti_fixedrows_load(job->id, &leaf, &w->columns, &job->digest);
    return rc;
}

static int encode_rows(struct worker *w, struct hti_encode_job *job)
{
    int rc;

    w->plain.size = 0;
    hti_columns_reset(&w->columns, &job->type);
    rc = job->has_leaves ? gather_leaves(w, job) : gather_rows(w, job);
    return rc ? rc : hti_block_encode(&w->columns, &w->space, &w->plain);
}

int hti_encode_run(void *context, void *user)
{
    struct worker *w = context;
    struct hti_encode_job *job = user;
    const struct hti_buf *plain = job->is_piece ? &job->raw : &w->plain;
    const int rc = job->is_piece ? 0 : encode_rows(w, job);

    if (rc != 0)
        return rc;
    job->plain_size = (uint32_t)plain->size;
    job->plain_hash = hti_snap_hash(plain->data, plain->size);
    return hti_frame_encode(w->encoder, w->level, plain->data, plain->size, &job->frame);
}
