/* rowsource: hides whether rows come from blocks or from pages. */
#include "rowsource.h"

#include <string.h>

#include "block.h"
#include "frame.h"
#include "mem.h"
#include "piece.h"

struct hti_rowsource {
    struct hti_row_type type;
    /* of a snapshot */
    struct hti_snapread *reader;
    uint64_t next_block, end_block;
    struct hti_frame_decoder *decoder;
    struct hti_block_space space;
    struct hti_columns columns;
    struct hti_columns_walk walk;
    struct hti_piece_joint joint;
    struct hti_buf frame, plain;
    /* of a store */
    struct hti_instant *instant;
    uint64_t id;
    struct hti_kvwalk_cursor *cursor;
    uint8_t key_space[8];
};

static int no_memory(struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_ENOMEM, "no memory to read rows");
}

static struct hti_rowsource *new_source(const struct hti_snap_node *node)
{
    struct hti_rowsource *source = hti_mem_zalloc(sizeof *source);

    if (!source)
        return NULL;
    hti_snap_node_row_type(node, &source->type);
    hti_block_space_init(&source->space);
    hti_columns_init(&source->columns);
    hti_columns_reset(&source->columns, &source->type);
    hti_columns_walk_init(&source->walk, &source->columns);
    hti_piece_joint_init(&source->joint);
    hti_buf_init(&source->frame);
    hti_buf_init(&source->plain);
    return source;
}

int hti_rowsource_of_snapshot(struct hti_snapread *reader, uint32_t node, struct hti_rowsource **out,
                              struct htstore_error *error)
{
    struct hti_rowsource *source = new_source(&hti_snapread_graph(reader)->nodes[node]);
    uint64_t n;

    *out = NULL;
    if (!source || hti_frame_decoder_new(&source->decoder) != 0) {
        hti_rowsource_close(source);
        return no_memory(error);
    }
    source->reader = reader;
    hti_snapread_node_blocks(reader, node, &source->next_block, &n);
    source->end_block = source->next_block + n;
    *out = source;
    return 0;
}

int hti_rowsource_of_instant(struct hti_instant *instant, uint32_t node, struct hti_rowsource **out,
                             struct htstore_error *error)
{
    struct hti_rowsource *source = new_source(&instant->graph.snap.nodes[node]);
    int rc;

    *out = NULL;
    if (!source)
        return no_memory(error);
    source->instant = instant;
    source->id = instant->graph.objects[node].id;
    rc = hti_instant_rows(instant, node, 0, &source->cursor, error);
    if (rc != 0)
        hti_rowsource_close(source);
    else
        *out = source;
    return rc;
}

void hti_rowsource_close(struct hti_rowsource *source)
{
    if (!source)
        return;
    hti_frame_decoder_free(source->decoder);
    hti_block_space_release(&source->space);
    hti_columns_release(&source->columns);
    hti_piece_joint_release(&source->joint);
    hti_buf_release(&source->frame);
    hti_buf_release(&source->plain);
    hti_kvwalk_cursor_close(source->cursor);
    hti_mem_free(source);
}

/* --- snapshots --- */

static int read_plain(struct hti_rowsource *s, struct hti_snap_block *block, struct htstore_error *error)
{
    int rc = hti_snapread_block(s->reader, s->next_block++, block, &s->frame, error);

    if (rc != 0)
        return rc;
    s->plain.size = 0;
    if (hti_buf_reserve(&s->plain, block->plain_size) != 0)
        return no_memory(error);
    rc = hti_frame_decode(s->decoder, s->frame.data, s->frame.size, s->plain.data, block->plain_size);
    if (rc == HTSTORE_ENOMEM)
        return no_memory(error);
    if (rc != 0)
        return hti_snapread_fail_block(s->reader, block, "its frame is damaged", error);
    s->plain.size = block->plain_size;
    return hti_snapread_verify(s->reader, block, s->plain.data, s->plain.size, error);
}

/* 0: *row is a large row; 1: the columns hold rows, or the next block must be read; negative. */
static int take_block(struct hti_rowsource *s, struct hti_row *row, struct htstore_error *error)
{
    struct hti_snap_block block;
    struct hti_piece piece;
    int rc = read_plain(s, &block, error);

    if (rc != 0)
        return rc;
    if (block.kind == HTI_SNAP_PIECE) {
        rc = hti_piece_decode(&s->type, s->plain.data, s->plain.size, &piece);
        if (rc == 0 && piece.offset == 0)
            hti_piece_joint_begin(&s->joint);
        if (rc == 0)
            rc = hti_piece_joint_next(&s->joint, &s->type, &piece, row);
    } else {
        rc = hti_block_decode(&s->type, s->plain.data, s->plain.size, &s->space, &s->columns);
        hti_columns_walk_init(&s->walk, &s->columns);
        rc = rc ? rc : 1;
    }
    if (rc == HTSTORE_ENOMEM)
        return no_memory(error);
    return rc < 0 ? hti_snapread_fail_block(s->reader, &block, "its contents are malformed", error) : rc;
}

static int next_of_snapshot(struct hti_rowsource *s, struct hti_row *row, struct htstore_error *error)
{
    int rc = 1;

    while (rc == 1) {
        if (hti_columns_walk_next(&s->walk, row))
            return 0;
        if (s->next_block == s->end_block)
            return 1;
        rc = take_block(s, row, error);
    }
    return rc;
}

/* --- stores --- */

static int next_of_store(struct hti_rowsource *s, struct hti_row *row, struct htstore_error *error)
{
    struct hti_kvwalk_entry entry;
    struct hti_hash128 hash;
    int rc = hti_kvwalk_cursor_next(s->cursor, &entry, error);

    if (rc != 0)
        return rc;
    if (hti_codec_load_row(&s->type, s->id, entry.key, entry.key_size, entry.value, entry.value_size, s->key_space, row,
                           &hash) != 0)
        return hti_fail(error, HTSTORE_ECORRUPT, "%s: a row of object %llu is damaged: its checksum differs",
                        s->instant->store->path, (unsigned long long)s->id);
    return 0;
}

int hti_rowsource_next(struct hti_rowsource *source, struct hti_sourced_row *row, struct htstore_error *error)
{
    const int rc =
        source->reader ? next_of_snapshot(source, &row->row, error) : next_of_store(source, &row->row, error);

    if (rc == 0)
        row->key_size = hti_codec_store_key(&source->type, row->row.key, row->row.key_size, row->key);
    return rc;
}

int hti_rowsource_compare(const struct hti_sourced_row *a, const struct hti_sourced_row *b)
{
    const size_t n = a->key_size < b->key_size ? a->key_size : b->key_size;
    const int order = memcmp(a->key, b->key, n);

    return order ? order : (a->key_size > b->key_size) - (a->key_size < b->key_size);
}
