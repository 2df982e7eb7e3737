/* unpack: hides the pipeline from the frames of a snapshot to rows that can be stored. */
#include "unpack.h"

#include <string.h>

#include "block.h"
#include "bytes.h"
#include "fixedrows.h"
#include "frame.h"
#include "mem.h"
#include "piece.h"
#include "pool.h"
#include "save.h"

#define ROW_HEAD_SIZE 8u
#define MAX_JOBS (HTI_SAVE_MAX_THREADS + 2u)

struct key {
    uint8_t bytes[HTI_STORED_KEY_MAX];
    size_t size;
};

/* A block on its way. */
struct job {
    const struct hti_snapread *reader;
    struct hti_snap_block block;
    struct hti_row_type type;
    uint64_t id; /* 0: verify only */
    struct hti_buf frame;
    /* outcome */
    struct hti_buf plain; /* pieces only: their payload stays */
    struct hti_buf stored;
    uint32_t n_rows;
    struct hti_hash128 digest;
    struct key first, last;
    struct htstore_error error;
};

struct worker {
    struct hti_frame_decoder *decoder;
    struct hti_buf plain;
    struct hti_block_space space;
    struct hti_columns columns;
};

struct unpack {
    struct hti_snapread *reader;
    const struct hti_snap_graph *graph;
    const struct hti_unpack_options *options;
    struct hti_pool *pool;
    struct job jobs[MAX_JOBS];
    struct job *free[MAX_JOBS];
    unsigned n_free, n_jobs;
    bool one_node; /* by the index */
    uint64_t next_block, end_block;
    /* the node whose blocks come */
    uint32_t node;
    uint64_t n_rows;
    struct hti_hash128 digest;
    struct key last;
    struct hti_piece_joint joint;
    bool joining;
    uint64_t rows_done, rows_total;
    struct htstore_error *error;
};

bool hti_unpacked_next(const uint8_t **at, const uint8_t *end, struct hti_unpacked_row *row)
{
    if (*at >= end)
        return false;
    row->key_size = hti_load_le32(*at);
    row->value_size = hti_load_le32(*at + 4);
    row->key = *at + ROW_HEAD_SIZE;
    row->value = row->key + row->key_size;
    *at = row->value + row->value_size;
    return true;
}

static void copy_key(struct key *to, const struct key *from)
{
    memcpy(to->bytes, from->bytes, from->size);
    to->size = from->size;
}

static int compare_keys(const struct key *a, const struct key *b)
{
    const size_t n = a->size < b->size ? a->size : b->size;
    const int order = memcmp(a->bytes, b->bytes, n);

    return order ? order : (a->size > b->size) - (a->size < b->size);
}

/* --- workers --- */

static void release_worker(void *context)
{
    struct worker *w = context;

    hti_frame_decoder_free(w->decoder);
    hti_buf_release(&w->plain);
    hti_block_space_release(&w->space);
    hti_columns_release(&w->columns);
    hti_mem_free(w);
}

static int init_worker(void *user, void **context)
{
    struct worker *w = hti_mem_zalloc(sizeof *w);
    int rc;

    (void)user;
    if (!w)
        return HTSTORE_ENOMEM;
    hti_buf_init(&w->plain);
    hti_block_space_init(&w->space);
    hti_columns_init(&w->columns);
    rc = hti_frame_decoder_new(&w->decoder);
    if (rc != 0)
        release_worker(w);
    else
        *context = w;
    return rc;
}

static int no_memory(struct job *job)
{
    return hti_fail(&job->error, HTSTORE_ENOMEM, "no memory to read a block");
}

/* Append a row as it is stored. */
static int store_row(struct job *job, const struct hti_row *row, const struct key *key, struct hti_hash128 hash)
{
    const size_t value_size = hti_codec_stored_size(&job->type, row);
    const size_t size = ROW_HEAD_SIZE + key->size + value_size;
    uint8_t *at;

    if (job->stored.capacity - job->stored.size < size && hti_buf_reserve(&job->stored, size + (64u << 10)) != 0)
        return no_memory(job);
    at = job->stored.data + job->stored.size;
    hti_store_le32(at, (uint32_t)key->size);
    hti_store_le32(at + 4, (uint32_t)value_size);
    memcpy(at + ROW_HEAD_SIZE, key->bytes, key->size);
    hti_codec_store_row(&job->type, job->id, row, hash, at + ROW_HEAD_SIZE + key->size);
    job->stored.size += size;
    return 0;
}

static int take_row(struct job *job, const struct hti_row *row)
{
    const struct hti_hash128 hash = hti_hash_row(row->key, row->key_size, row->value, row->value_size);
    struct key key;

    key.size = hti_codec_store_key(&job->type, row->key, row->key_size, key.bytes);
    if (job->n_rows > 0 && compare_keys(&job->last, &key) >= 0)
        return hti_snapread_fail_block(job->reader, &job->block, "keys do not ascend", &job->error);
    if (job->n_rows == 0)
        copy_key(&job->first, &key);
    copy_key(&job->last, &key);
    job->n_rows++;
    hti_digest_add(&job->digest, hash);
    return job->id ? store_row(job, row, &key, hash) : 0;
}

static void edge_key(const struct job *job, const uint8_t *packed, struct key *key)
{
    key->size = hti_codec_store_key(&job->type, packed, job->type.key_size, key->bytes);
}

/* All rows of a block at once. */
static int take_fixed(const struct worker *w, struct job *job)
{
    const struct hti_columns *columns = &w->columns;
    const uint32_t key_size = job->type.key_size;
    const int rc = hti_fixedrows_store(job->id, columns, &job->stored, &job->digest);

    if (rc == 1)
        return hti_snapread_fail_block(job->reader, &job->block, "keys do not ascend", &job->error);
    if (rc != 0)
        return no_memory(job);
    edge_key(job, columns->keys.data, &job->first);
    edge_key(job, columns->keys.data + (size_t)(columns->n_rows - 1) * key_size, &job->last);
    job->n_rows = columns->n_rows;
    return 0;
}

static int decode_rows(struct worker *w, struct job *job, const struct hti_buf *plain)
{
    struct hti_columns_walk walk;
    struct hti_row row;
    int rc = hti_block_decode(&job->type, plain->data, plain->size, &w->space, &w->columns);

    if (rc == HTSTORE_ENOMEM)
        return no_memory(job);
    if (rc != 0 || w->columns.n_rows != job->block.n_rows)
        return hti_snapread_fail_block(job->reader, &job->block, "its contents are malformed", &job->error);
    if (hti_fixedrows_fit(&job->type))
        return take_fixed(w, job);
    hti_columns_walk_init(&walk, &w->columns);
    while (rc == 0 && hti_columns_walk_next(&walk, &row))
        rc = take_row(job, &row);
    return rc;
}

static int decode_job(void *context, void *user)
{
    struct worker *w = context;
    struct job *job = user;
    struct hti_buf *plain = job->block.kind == HTI_SNAP_PIECE ? &job->plain : &w->plain;
    int rc;

    plain->size = 0;
    if (hti_buf_reserve(plain, job->block.plain_size) != 0)
        return no_memory(job);
    rc = hti_frame_decode(w->decoder, job->frame.data, job->frame.size, plain->data, job->block.plain_size);
    if (rc == HTSTORE_ENOMEM)
        return no_memory(job);
    if (rc != 0)
        return hti_snapread_fail_block(job->reader, &job->block, "its frame is damaged", &job->error);
    plain->size = job->block.plain_size;
    rc = hti_snapread_verify(job->reader, &job->block, plain->data, plain->size, &job->error);
    return rc || job->block.kind == HTI_SNAP_PIECE ? rc : decode_rows(w, job, plain);
}

/* --- the caller's side, in order --- */

static uint64_t id_of(const struct unpack *u, uint32_t node)
{
    return u->options->ids ? u->options->ids[node] : 0;
}

static int report(const struct unpack *u)
{
    const struct hti_unpack_options *o = u->options;

    if (!o->progress || o->progress(o->progress_user, o->phase, u->rows_done, u->rows_total) == 0)
        return 0;
    return hti_fail(u->error, HTSTORE_ECANCELED, "stopped by the caller");
}

static int fail_node(const struct unpack *u, const char *what)
{
    return hti_snapread_fail_node(u->reader, u->node, what, u->error);
}

static int finish_node(struct unpack *u)
{
    const struct hti_snap_node *node = &u->graph->nodes[u->node];

    if (u->joining)
        return fail_node(u, "the last pieces of a row are missing");
    if (u->n_rows != node->n_rows)
        return fail_node(u, "rows are missing or too many");
    if (u->digest.low != node->digest.low || u->digest.high != node->digest.high)
        return fail_node(u, "the digest of its rows differs");
    return id_of(u, u->node) && u->options->end ? u->options->end(u->options->user, u->node, u->error) : 0;
}

static void start_node(struct unpack *u, uint32_t node)
{
    u->node = node;
    u->n_rows = 0;
    u->digest = (struct hti_hash128){ 0 };
    u->last.size = 0;
}

/* Finish all nodes before this one; those without blocks too. */
static int advance(struct unpack *u, uint32_t node)
{
    int rc = 0;

    while (rc == 0 && u->node < node) {
        if (u->graph->nodes[u->node].flags & HTI_SNAP_HAS_CONTENTS)
            rc = finish_node(u);
        start_node(u, u->node + 1);
    }
    return rc;
}

static int hand_out(struct unpack *u, const struct job *job)
{
    const struct hti_unpacked rows = { .node = u->node,
                                       .n_rows = job->n_rows,
                                       .digest = job->digest,
                                       .stored = job->stored.data,
                                       .stored_size = job->stored.size };

    if (job->n_rows == 0)
        return 0;
    if (u->last.size > 0 && compare_keys(&u->last, &job->first) >= 0)
        return hti_snapread_fail_block(u->reader, &job->block, "keys do not ascend", u->error);
    copy_key(&u->last, &job->last);
    u->n_rows += job->n_rows;
    u->rows_done += job->n_rows;
    hti_digest_add(&u->digest, job->digest);
    return job->id && u->options->rows ? u->options->rows(u->options->user, &rows, u->error) : 0;
}

/* A piece of a large row; the last one makes it a row like others. */
static int join(struct unpack *u, struct job *job)
{
    struct hti_piece piece;
    struct hti_row row;
    int rc = hti_piece_decode(&job->type, job->plain.data, job->plain.size, &piece);

    if (rc == 0 && !u->joining)
        hti_piece_joint_begin(&u->joint);
    if (rc == 0)
        rc = hti_piece_joint_next(&u->joint, &job->type, &piece, &row);
    u->joining = rc == 1;
    if (rc < 0 || (rc == 0) != (job->block.n_rows == 1)) {
        if (rc == HTSTORE_ENOMEM)
            return hti_fail(u->error, rc, "no memory for a large row");
        return hti_snapread_fail_block(u->reader, &job->block, "it is not the piece of a row that comes next",
                                       u->error);
    }
    if (rc == 1)
        return 0;
    rc = take_row(job, &row);
    if (rc != 0) {
        hti_error_copy(u->error, &job->error);
        return rc;
    }
    return hand_out(u, job);
}

static int take_block(struct unpack *u, struct job *job)
{
    int rc = advance(u, job->block.node);

    if (rc != 0)
        return rc;
    if (job->block.kind == HTI_SNAP_PIECE)
        return join(u, job);
    if (u->joining)
        return hti_snapread_fail_block(u->reader, &job->block, "pieces of a row are missing before it", u->error);
    return hand_out(u, job);
}

static int finish_one(struct unpack *u)
{
    int rc;
    struct job *job = hti_pool_take(u->pool, &rc);

    if (rc != 0)
        hti_error_copy(u->error, &job->error);
    else
        rc = take_block(u, job);
    if (rc == 0)
        rc = report(u);
    u->free[u->n_free++] = job;
    return rc;
}

static int read_block(struct unpack *u, struct job *job)
{
    if (!u->one_node)
        return hti_snapread_next(u->reader, &job->block, &job->frame, u->error);
    if (u->next_block == u->end_block)
        return 1;
    return hti_snapread_block(u->reader, u->next_block++, &job->block, &job->frame, u->error);
}

static int submit_next(struct unpack *u)
{
    struct job *job = u->free[u->n_free - 1];
    int rc = read_block(u, job);

    if (rc != 0)
        return rc;
    u->n_free--;
    job->reader = u->reader;
    hti_snap_node_row_type(&u->graph->nodes[job->block.node], &job->type);
    job->id = id_of(u, job->block.node);
    job->n_rows = 0;
    job->digest = (struct hti_hash128){ 0 };
    job->stored.size = job->plain.size = 0;
    hti_pool_submit(u->pool, job);
    return 0;
}

static int run(struct unpack *u)
{
    int rc = 0;

    while (rc == 0) {
        if (u->n_free == 0)
            rc = finish_one(u);
        if (rc == 0)
            rc = submit_next(u);
    }
    while (rc == 1 && u->n_free < u->n_jobs) {
        const int one = finish_one(u);
        rc = one ? one : 1;
    }
    if (rc != 1)
        return rc;
    return u->one_node ? finish_node(u) : advance(u, u->graph->n_nodes);
}

static int start(struct unpack *u, const struct hti_unpack_options *options)
{
    const struct hti_pool_options pool = { .name = "htstore-read",
                                           .n_workers = hti_save_threads(options->threads),
                                           .max_jobs = hti_save_threads(options->threads) + 2,
                                           .init = init_worker,
                                           .release = release_worker,
                                           .run = decode_job };
    const int rc = hti_pool_new(&pool, &u->pool);

    u->options = options;
    u->graph = hti_snapread_graph(u->reader);
    u->n_jobs = pool.max_jobs;
    for (unsigned i = 0; i < u->n_jobs; i++)
        u->free[u->n_free++] = &u->jobs[i];
    hti_piece_joint_init(&u->joint);
    return rc ? hti_fail(u->error, rc, "no memory, or no threads, to read the snapshot") : 0;
}

static void release(struct unpack *u)
{
    hti_pool_free(u->pool);
    hti_piece_joint_release(&u->joint);
    for (unsigned i = 0; i < u->n_jobs; i++) {
        hti_buf_release(&u->jobs[i].frame);
        hti_buf_release(&u->jobs[i].plain);
        hti_buf_release(&u->jobs[i].stored);
    }
}

int hti_unpack_all(struct hti_snapread *reader, const struct hti_unpack_options *options, struct htstore_error *error)
{
    struct unpack u = { .reader = reader, .error = error };
    int rc = start(&u, options);

    for (uint32_t i = 0; i < u.graph->n_nodes; i++)
        u.rows_total += u.graph->nodes[i].n_rows;
    if (rc == 0)
        rc = report(&u);
    if (rc == 0)
        rc = run(&u);
    release(&u);
    return rc;
}

int hti_unpack_node(struct hti_snapread *reader, uint32_t node, const struct hti_unpack_options *options,
                    struct htstore_error *error)
{
    struct unpack u = { .reader = reader, .one_node = true, .node = node, .error = error };
    uint64_t n;
    int rc = start(&u, options);

    u.rows_total = u.graph->nodes[node].n_rows;
    hti_snapread_node_blocks(reader, node, &u.next_block, &n);
    u.end_block = u.next_block + n;
    if (rc == 0)
        rc = run(&u);
    release(&u);
    return rc;
}
