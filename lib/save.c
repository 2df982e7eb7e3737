/* save: hides the pipeline from the pages of data.mdb to the frames of a snapshot. */
#include "save.h"

#include <string.h>
#include <unistd.h>

#include "block.h"
#include "bytes.h"
#include "encode.h"
#include "file.h"
#include "fixedrows.h"
#include "frame.h"
#include "mem.h"
#include "piece.h"
#include "pool.h"
#include "snapwrite.h"

#define CHECKSUM_SIZE 4u /* of a stored row */
#define LONG_KEY_HEAD_SIZE 4u
#define MAX_JOBS (HTI_SAVE_MAX_THREADS + 2u)
#define DAMAGED_ROW "a row is damaged: its checksum differs"

struct save {
    struct hti_instant *instant;
    const struct htstore_snapshot_options *options;
    struct hti_snapwrite *writer;
    struct hti_pool *pool;
    struct hti_encode_job jobs[MAX_JOBS];
    struct hti_encode_job *free[MAX_JOBS];
    unsigned n_free, n_jobs;
    struct hti_encode_job *current; /* being filled */
    /* of the node that is being written */
    uint32_t node;
    uint32_t n_blocks;
    uint64_t n_rows;
    struct hti_hash128 digest;
    uint64_t rows_done, rows_total;
    struct htstore_error *error;
};

/* --- options --- */

unsigned hti_save_threads(uint32_t wanted)
{
    const long n = wanted ? (long)wanted : sysconf(_SC_NPROCESSORS_ONLN);

    if (n < 1)
        return 1;
    return n < (long)HTI_SAVE_MAX_THREADS ? (unsigned)n : HTI_SAVE_MAX_THREADS;
}

int hti_save_options(const struct htstore_snapshot_options *options, uint32_t known_flags,
                     struct htstore_snapshot_options *complete, struct htstore_error *error)
{
    memset(complete, 0, sizeof *complete);
    if (options && options->size == 0)
        return hti_fail(error, HTSTORE_EINVAL, "options.size is 0");
    if (options)
        memcpy(complete, options, options->size < sizeof *complete ? options->size : sizeof *complete);
    if (complete->flags & ~known_flags)
        return hti_fail(error, HTSTORE_EINVAL, "unknown flags %x", complete->flags & ~known_flags);
    if (complete->level == 0)
        complete->level = HTI_FRAME_DEFAULT_LEVEL;
    if (complete->level < 1 || complete->level > HTI_FRAME_MAX_LEVEL)
        return hti_fail(error, HTSTORE_EINVAL, "the level %d is not within 1 and %d", complete->level,
                        HTI_FRAME_MAX_LEVEL);
    return 0;
}

/* --- the caller's side --- */

static int fail_node(const struct save *s, uint32_t node, const char *what)
{
    char label[HTI_SNAP_LABEL_SIZE];

    hti_snap_graph_label(&s->instant->graph.snap, node, label);
    return hti_fail(s->error, HTSTORE_ECORRUPT, "%s: %s: %s; nothing was saved", s->instant->store->path, label, what);
}

static int report(const struct save *s)
{
    if (!s->options->progress ||
        s->options->progress(s->options->progress_user, "save", s->rows_done, s->rows_total) == 0)
        return 0;
    return hti_fail(s->error, HTSTORE_ECANCELED, "the save was stopped by its caller");
}

static int write_block(struct save *s, struct hti_encode_job *job)
{
    const struct hti_snap_block block = {
        .kind = job->is_piece ? HTI_SNAP_PIECE : HTI_SNAP_ROWS,
        .node = job->node,
        .number = s->n_blocks++,
        .n_rows = job->n_rows,
        .plain_size = job->plain_size,
        .stored_size = (uint32_t)job->frame.size,
        .plain_hash = job->plain_hash,
    };

    hti_digest_add(&s->digest, job->digest);
    s->n_rows += job->n_rows;
    s->rows_done += job->n_rows;
    return hti_snapwrite_block(s->writer, &block, job->frame.data, s->error);
}

/* The oldest job, written. */
static int finish_one(struct save *s)
{
    int rc;
    struct hti_encode_job *job = hti_pool_take(s->pool, &rc);

    if (rc == HTSTORE_ECORRUPT)
        rc = fail_node(s, job->node, DAMAGED_ROW);
    else if (rc != 0)
        hti_fail(s->error, rc, "no memory to save");
    if (rc == 0)
        rc = write_block(s, job);
    if (rc == 0)
        rc = report(s);
    s->free[s->n_free++] = job;
    return rc;
}

static int finish_all(struct save *s)
{
    int rc = 0;

    while (rc == 0 && s->n_free + (s->current != NULL) < s->n_jobs)
        rc = finish_one(s);
    return rc;
}

static int submit_current(struct save *s)
{
    if (!s->current)
        return 0;
    hti_pool_submit(s->pool, s->current);
    s->current = NULL;
    return hti_pool_is_full(s->pool) ? finish_one(s) : 0;
}

static int start_job(struct save *s, bool is_piece)
{
    struct hti_encode_job *job;
    int rc = 0;

    if (s->n_free == 0)
        rc = finish_one(s);
    if (rc != 0)
        return rc;
    job = s->free[--s->n_free];
    job->node = s->node;
    job->id = s->instant->graph.objects[s->node].id;
    hti_snap_node_row_type(&s->instant->graph.snap.nodes[s->node], &job->type);
    job->is_piece = is_piece;
    job->has_leaves = false;
    job->n_rows = 0;
    job->bytes = 0;
    job->raw.size = job->frame.size = 0;
    job->digest = (struct hti_hash128){ 0 };
    s->current = job;
    return 0;
}

/* --- rows --- */

static bool is_long_key(const struct hti_row_type *type, const struct hti_kvwalk_entry *entry)
{
    return type->key_size == 0 && entry->key_size == HTI_STORED_KEY_MAX;
}

/* Bytes of key and packed value, by the sizes alone. What is malformed is found when it is decoded. */
static uint64_t row_bytes(const struct hti_row_type *type, const struct hti_kvwalk_entry *entry)
{
    const uint64_t value_size = entry->value_size < CHECKSUM_SIZE ? 0 : entry->value_size - CHECKSUM_SIZE;

    if (type->key_size > 0)
        return type->key_size + value_size;
    if (is_long_key(type, entry))
        return value_size < LONG_KEY_HEAD_SIZE ? 0 : value_size - LONG_KEY_HEAD_SIZE;
    return entry->key_size - 1 + value_size;
}

static int append_entry(struct save *s, const struct hti_kvwalk_entry *entry, uint64_t bytes)
{
    const struct hti_kv_bytes key = { entry->key, entry->key_size }, value = { entry->value, entry->value_size };

    if (hti_encode_keep(s->current, key, value) != 0)
        return hti_fail(s->error, HTSTORE_ENOMEM, "no memory to save");
    s->current->n_rows++;
    s->current->bytes += bytes;
    return 0;
}

/* A row that is cut into pieces, as it lies in its pages: key and packed value, one behind the other. */
struct large_row {
    const struct hti_kvwalk_entry *entry;
    const void *key; /* NULL: it lies before the value, in the pages */
    size_t key_size;
    uint64_t start; /* of what lies in the pages, in the stored value */
    uint64_t size; /* of key and packed value */
    struct hti_row_hasher *hasher;
};

static int open_large(struct save *s, const struct hti_row_type *type, const struct hti_kvwalk_entry *entry,
                      uint8_t key_space[8], struct large_row *large)
{
    static const uint8_t NOTHING[CHECKSUM_SIZE];
    uint8_t head[LONG_KEY_HEAD_SIZE];
    struct hti_row row;
    int rc = 0;

    *large = (struct large_row){ .entry = entry, .size = row_bytes(type, entry) };
    if (is_long_key(type, entry)) {
        rc = hti_kvwalk_read_value(&s->instant->file, entry->value_page, 0, head, sizeof head, s->error);
        if (rc != 0)
            return rc;
        large->key_size = hti_load_le32(head);
        large->start = sizeof head;
    } else {
        hti_codec_peek_row(type, entry->key, entry->key_size, NOTHING, sizeof NOTHING, key_space, &row);
        large->key = row.key;
        large->key_size = row.key_size;
    }
    if (large->size > HTSTORE_MAX_ROW_SIZE || large->key_size > large->size)
        return fail_node(s, s->node, "a row is damaged: its size is impossible");
    large->hasher = hti_row_hasher_new(large->key_size);
    return large->hasher ? 0 : hti_fail(s->error, HTSTORE_ENOMEM, "no memory to save");
}

/* `size` bytes at `offset` of key and packed value. */
static int read_part(struct save *s, const struct large_row *large, uint64_t offset, uint8_t *out, size_t size)
{
    size_t in_key = 0;

    if (large->key && offset < large->key_size) {
        in_key = large->key_size - (size_t)offset < size ? large->key_size - (size_t)offset : size;
        memcpy(out, (const uint8_t *)large->key + offset, in_key);
    }
    if (size == in_key)
        return 0;
    offset += in_key - (large->key ? large->key_size : 0);
    return hti_kvwalk_read_value(&s->instant->file, large->entry->value_page, large->start + offset, out + in_key,
                                 size - in_key, s->error);
}

static int check_large(struct save *s, const struct large_row *large, struct hti_hash128 hash)
{
    const uint64_t id = s->instant->graph.objects[s->node].id;
    uint8_t stored[CHECKSUM_SIZE];
    const int rc = hti_kvwalk_read_value(&s->instant->file, large->entry->value_page,
                                         large->entry->value_size - CHECKSUM_SIZE, stored, sizeof stored, s->error);

    if (rc != 0)
        return rc;
    return hti_load_le32(stored) == hti_hash_row_checksum(hash, id) ? 0 : fail_node(s, s->node, DAMAGED_ROW);
}

static int add_piece(struct save *s, const struct large_row *large, uint64_t offset)
{
    struct hti_piece piece = { .key_size = (uint32_t)large->key_size,
                               .value_size = (uint32_t)(large->size - large->key_size),
                               .offset = (uint32_t)offset };
    struct hti_buf *raw;
    int rc = start_job(s, true);

    if (rc != 0)
        return rc;
    piece.size = large->size - offset < HTI_PIECE_MAX_BYTES ? (uint32_t)(large->size - offset) : HTI_PIECE_MAX_BYTES;
    raw = &s->current->raw;
    if (hti_buf_reserve(raw, HTI_PIECE_HEAD_SIZE + piece.size) != 0)
        return hti_fail(s->error, HTSTORE_ENOMEM, "no memory to save");
    hti_piece_store_head(&piece, raw->data);
    rc = read_part(s, large, offset, raw->data + HTI_PIECE_HEAD_SIZE, piece.size);
    if (rc != 0)
        return rc;
    raw->size = HTI_PIECE_HEAD_SIZE + piece.size;
    hti_row_hasher_add(large->hasher, raw->data + HTI_PIECE_HEAD_SIZE, piece.size);
    if (offset + piece.size == large->size) {
        s->current->n_rows = 1;
        s->current->digest = hti_row_hasher_result(large->hasher);
        rc = check_large(s, large, s->current->digest);
    }
    return rc ? rc : submit_current(s);
}

static int add_large(struct save *s, const struct hti_row_type *type, const struct hti_kvwalk_entry *entry)
{
    struct large_row large;
    uint8_t key_space[8];
    int rc = submit_current(s);

    if (rc != 0)
        return rc;
    rc = open_large(s, type, entry, key_space, &large);
    for (uint64_t offset = 0; rc == 0 && offset < large.size; offset += HTI_PIECE_MAX_BYTES)
        rc = add_piece(s, &large, offset);
    hti_row_hasher_free(large.hasher);
    return rc;
}

static int add_row(struct save *s, const struct hti_row_type *type, const struct hti_kvwalk_entry *entry)
{
    const uint64_t bytes = row_bytes(type, entry);
    int rc = 0;

    if (bytes > HTI_BLOCK_LARGE)
        return entry->value_page ? add_large(s, type, entry) : fail_node(s, s->node, "a row has an impossible size");
    if (s->current && (s->current->n_rows == HTI_BLOCK_MAX_ROWS || s->current->bytes + bytes > HTI_BLOCK_MAX_BYTES))
        rc = submit_current(s);
    if (rc == 0 && !s->current)
        rc = start_job(s, false);
    return rc ? rc : append_entry(s, entry, bytes);
}

/* --- whole leaves --- */

/* Entries of one size fill the end of their page. If not, the walk tells what is wrong, or else the row does. */
static int fail_leaf(const struct save *s, struct hti_kvwalk_cursor *cursor, const struct hti_kvwalk_leaf *leaf)
{
    struct hti_kvwalk_entry entry;
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < leaf->n_entries; i++)
        rc = hti_kvwalk_cursor_next(cursor, &entry, s->error);
    return rc < 0 ? rc : fail_node(s, s->node, DAMAGED_ROW);
}

/* As many rows of a leaf as there is room for in the block: where it ends depends on its rows alone. */
static int add_some(struct save *s, const struct hti_row_type *type, struct hti_fixedrows_leaf *leaf, uint32_t *n_left)
{
    const uint64_t row_size = type->key_size + type->value_size;
    struct hti_encode_job *job;
    uint32_t n;
    int rc = 0;

    if (s->current && (s->current->n_rows == HTI_BLOCK_MAX_ROWS || s->current->bytes + row_size > HTI_BLOCK_MAX_BYTES))
        rc = submit_current(s);
    if (rc == 0 && !s->current)
        rc = start_job(s, false);
    if (rc != 0)
        return rc;
    job = s->current;
    job->has_leaves = true;
    n = HTI_BLOCK_MAX_ROWS - job->n_rows;
    if (n > (HTI_BLOCK_MAX_BYTES - job->bytes) / row_size)
        n = (uint32_t)((HTI_BLOCK_MAX_BYTES - job->bytes) / row_size);
    leaf->n_rows = n < *n_left ? n : *n_left;
    if (hti_fixedrows_keep(leaf, &job->raw) != 0)
        return hti_fail(s->error, HTSTORE_ENOMEM, "no memory to save");
    job->n_rows += leaf->n_rows;
    job->bytes += leaf->n_rows * row_size;
    leaf->slots += 2 * (size_t)leaf->n_rows;
    *n_left -= leaf->n_rows;
    return 0;
}

static int add_leaf(struct save *s, const struct hti_row_type *type, struct hti_kvwalk_cursor *cursor,
                    const struct hti_kvwalk_leaf *page)
{
    struct hti_fixedrows_leaf leaf;
    uint32_t n_left = page->n_entries;
    int rc = 0;

    if (!hti_fixedrows_of_leaf(type, page, s->instant->file.file.meta.page_size, &leaf))
        return fail_leaf(s, cursor, page);
    while (rc == 0 && n_left > 0)
        rc = add_some(s, type, &leaf, &n_left);
    hti_kvwalk_cursor_skip_leaf(cursor);
    return rc;
}

/* --- nodes --- */

static int check_node(struct save *s)
{
    const struct hti_snap_node *node = &s->instant->graph.snap.nodes[s->node];

    if (s->n_rows != node->n_rows)
        return fail_node(s, s->node, "rows are missing or too many: the count differs from the catalogue's");
    if (s->digest.low != node->digest.low || s->digest.high != node->digest.high)
        return fail_node(s, s->node, "rows were lost or altered: the digest differs from the catalogue's");
    return 0;
}

/* 0, 1 = no more, or negative. */
static int add_next(struct save *s, const struct hti_row_type *type, struct hti_kvwalk_cursor *cursor)
{
    struct hti_kvwalk_entry entry;
    struct hti_kvwalk_leaf leaf;
    int rc;

    if (hti_fixedrows_fit(type)) {
        rc = hti_kvwalk_cursor_leaf(cursor, &leaf, s->error);
        return rc ? rc : add_leaf(s, type, cursor, &leaf);
    }
    rc = hti_kvwalk_cursor_next(cursor, &entry, s->error);
    return rc ? rc : add_row(s, type, &entry);
}

static int scan_rows(struct save *s)
{
    const struct hti_snap_node *node = &s->instant->graph.snap.nodes[s->node];
    struct hti_kvwalk_cursor *cursor;
    struct hti_row_type type;
    int rc =
        hti_instant_rows(s->instant, s->node, HTI_BLOCK_LARGE + CHECKSUM_SIZE + LONG_KEY_HEAD_SIZE, &cursor, s->error);

    if (rc != 0)
        return rc;
    hti_snap_node_row_type(node, &type);
    while (rc == 0)
        rc = add_next(s, &type, cursor);
    hti_kvwalk_cursor_close(cursor);
    return rc == 1 ? 0 : rc;
}

/* It lies in no database: one row, made here. */
static int write_counter(struct save *s)
{
    uint8_t key[8], value[8], stored_key[HTI_STORED_KEY_MAX], stored[8 + CHECKSUM_SIZE];
    struct hti_kvwalk_entry entry = { .key = stored_key, .value = stored, .value_size = sizeof stored };
    struct hti_row_type type;
    struct hti_row row;

    hti_snap_node_row_type(&s->instant->graph.snap.nodes[s->node], &type);
    hti_graph_counter_row(s->instant->graph.counter, key, value, &row);
    entry.key_size = hti_codec_store_key(&type, row.key, row.key_size, stored_key);
    hti_codec_store_row(&type, 0, &row, hti_hash_row(row.key, row.key_size, row.value, row.value_size), stored);
    return add_row(s, &type, &entry);
}

static int write_node(struct save *s, uint32_t node)
{
    int rc;

    s->node = node;
    s->n_blocks = 0;
    s->n_rows = 0;
    s->digest = (struct hti_hash128){ 0 };
    rc = node == s->instant->graph.counter_node ? write_counter(s) : scan_rows(s);
    if (rc == 0)
        rc = submit_current(s);
    if (rc == 0)
        rc = finish_all(s);
    return rc ? rc : check_node(s);
}

static int write_nodes(struct save *s)
{
    const struct hti_snap_graph *graph = &s->instant->graph.snap;
    int rc = report(s);

    for (uint32_t i = 0; rc == 0 && i < graph->n_nodes; i++)
        if (graph->nodes[i].flags & HTI_SNAP_HAS_CONTENTS)
            rc = write_node(s, i);
    return rc;
}

/* --- the whole --- */

static int start(struct save *s, int fd, const char *path)
{
    const struct hti_snap_graph *graph = &s->instant->graph.snap;
    const struct hti_pool_options options = { .name = "htstore-save",
                                              .n_workers = hti_save_threads(s->options->threads),
                                              .max_jobs = s->n_jobs - 1,
                                              .user = (void *)(uintptr_t)&s->options->level,
                                              .init = hti_encode_init,
                                              .release = hti_encode_release,
                                              .run = hti_encode_run };
    int rc;

    for (uint32_t i = 0; i < graph->n_nodes; i++)
        s->rows_total += graph->nodes[i].n_rows;
    for (unsigned i = 0; i < s->n_jobs; i++)
        s->free[s->n_free++] = &s->jobs[i];
    rc = hti_pool_new(&options, &s->pool);
    if (rc != 0)
        return hti_fail(s->error, rc, "no memory, or no threads, to save");
    return hti_snapwrite_begin(fd, path, graph, s->instant->lsn, 0, &s->writer, s->error);
}

int hti_save_write(struct hti_instant *instant, int fd, const char *path,
                   const struct htstore_snapshot_options *options, struct htstore_error *error)
{
    struct save s = { .instant = instant, .options = options, .error = error };
    int rc;

    s.n_jobs = hti_save_threads(options->threads) + 2;
    rc = start(&s, fd, path);
    if (rc == 0)
        rc = write_nodes(&s);
    if (rc == 0)
        rc = hti_snapwrite_end(s.writer, error);
    hti_pool_free(s.pool);
    hti_snapwrite_free(s.writer);
    for (unsigned i = 0; i < s.n_jobs; i++) {
        hti_buf_release(&s.jobs[i].raw);
        hti_buf_release(&s.jobs[i].frame);
    }
    return rc;
}
