/* snapsalvage: hides how the intact blocks of a damaged snapshot become the rows of a new store. */
#include "snapsalvage.h"

#include <string.h>

#include "block.h"
#include "frame.h"
#include "mem.h"
#include "piece.h"
#include "snapscan.h"
#include "varlayout.h"

#define EMPTY_STRING_SIZE 4u /* packed */
#define REPORT_ROWS 256u /* that are filled up between two reports */

static int no_memory(struct hti_maker *m)
{
    return hti_fail(m->error, HTSTORE_ENOMEM, "no memory to restore");
}

struct salvage {
    struct hti_snapscan *scan;
    struct hti_frame_decoder *decoder;
    struct hti_block_space space;
    struct hti_columns columns;
    struct hti_piece_joint joint;
    struct hti_buf frame, plain;
    bool joining;
    uint32_t joined_node;
    /* the node whose blocks come */
    uint32_t node;
    uint32_t next_number; /* of its blocks */
    uint64_t n_rows, n_lost_blocks;
    uint64_t rows_done, rows_total; /* of all nodes */
    uint8_t last_key[HTI_STORED_KEY_MAX];
    size_t last_size;
};

static void leave_out(struct hti_maker *m, const struct hti_snap_block *block, const char *why)
{
    char label[HTI_SNAP_LABEL_SIZE];

    hti_snap_graph_label(m->saved, block->node, label);
    hti_maker_warn(m, "block %u of %s at byte %llu is lost: %s", block->number, label,
                   (unsigned long long)block->offset, why);
}

static void lose_block(struct hti_maker *m, struct salvage *s, const struct hti_snap_block *block, const char *why)
{
    s->n_lost_blocks++;
    leave_out(m, block, why);
}

static int report(struct hti_maker *m, const struct salvage *s)
{
    const struct htstore_snapshot_restore_options *o = m->options;

    if (!o->progress || o->progress(o->progress_user, "restore", s->rows_done, s->rows_total) == 0)
        return 0;
    return hti_fail(m->error, HTSTORE_ECANCELED, "stopped by the caller");
}

static int decode_block(struct hti_maker *m, struct salvage *s, const struct hti_snap_block *block)
{
    int rc;

    s->plain.size = 0;
    if (hti_buf_reserve(&s->plain, block->plain_size) != 0)
        return no_memory(m);
    rc = hti_frame_decode(s->decoder, s->frame.data, s->frame.size, s->plain.data, block->plain_size);
    s->plain.size = block->plain_size;
    if (rc == HTSTORE_ENOMEM)
        return no_memory(m);
    if (rc != 0 || hti_snap_hash(s->plain.data, s->plain.size) != block->plain_hash) {
        lose_block(m, s, block, "its contents are damaged");
        return 1;
    }
    return 0;
}

static bool comes_next(struct salvage *s, const uint8_t *key, size_t size)
{
    const size_t n = s->last_size < size ? s->last_size : size;
    const int order = s->last_size > 0 ? memcmp(s->last_key, key, n) : -1;
    const bool next = order < 0 || (order == 0 && s->last_size < size);

    if (next) {
        memcpy(s->last_key, key, size);
        s->last_size = size;
    }
    return next;
}

/* A variable has all its rows, or cannot be read: zeros and empty strings stand for those that are lost. */
static int fill_up(struct hti_maker *m, struct salvage *s, uint64_t n_rows)
{
    static const uint8_t ZEROS[HTI_VARLAYOUT_ROW_SIZE];
    const struct hti_row_type *type = m->builds[s->node].type;
    uint8_t key[8];
    const struct hti_row row = { key, sizeof key, ZEROS, type->value_is_fixed ? type->value_size : EMPTY_STRING_SIZE };
    int rc = 0;

    if (m->saved->nodes[s->node].kind != HTI_SNAP_VARIABLE)
        return 0;
    while (rc == 0 && m->builds[s->node].totals.n_rows < n_rows) {
        const uint64_t number = m->builds[s->node].totals.n_rows;
        hti_codec_pack_key(type, &number, key);
        rc = hti_build_row(&m->builds[s->node], &row, m->error);
        s->rows_done++;
        if (rc == 0 && ++m->n_filled % REPORT_ROWS == 0)
            rc = report(m, s);
    }
    return rc;
}

static bool is_in_range(const struct hti_maker *m, const struct salvage *s, const struct hti_row *row, uint64_t *number)
{
    const struct hti_snap_node *node = &m->saved->nodes[s->node];

    *number = 0;
    if (node->kind != HTI_SNAP_VARIABLE)
        return true;
    hti_codec_unpack_key(m->builds[s->node].type, row->key, number);
    return *number < node->n_rows;
}

static int salvage_row(struct hti_maker *m, struct salvage *s, const struct hti_row *row)
{
    uint8_t key[HTI_STORED_KEY_MAX];
    const size_t size = hti_codec_store_key(m->builds[s->node].type, row->key, row->key_size, key);
    uint64_t number;
    int rc;

    if (!is_in_range(m, s, row, &number) || !comes_next(s, key, size))
        return 0; /* it was there already */
    rc = fill_up(m, s, number);
    s->n_rows++;
    s->rows_done++;
    return rc ? rc : hti_build_row(&m->builds[s->node], row, m->error);
}

static int salvage_rows(struct hti_maker *m, struct salvage *s, const struct hti_snap_block *block)
{
    struct hti_columns_walk walk;
    struct hti_row row;
    int rc = hti_block_decode(m->builds[block->node].type, s->plain.data, s->plain.size, &s->space, &s->columns);

    if (rc == HTSTORE_ENOMEM)
        return no_memory(m);
    if (rc != 0 || s->columns.n_rows != block->n_rows) {
        lose_block(m, s, block, "its contents are malformed");
        return 0;
    }
    hti_columns_walk_init(&walk, &s->columns);
    while (rc == 0 && hti_columns_walk_next(&walk, &row))
        rc = salvage_row(m, s, &row);
    return rc;
}

static int salvage_piece(struct hti_maker *m, struct salvage *s, const struct hti_snap_block *block)
{
    const struct hti_row_type *type = m->builds[block->node].type;
    struct hti_piece piece;
    struct hti_row row;
    int rc = hti_piece_decode(type, s->plain.data, s->plain.size, &piece);

    if (rc == 0 && piece.offset == 0)
        hti_piece_joint_begin(&s->joint);
    if (rc == 0 && piece.offset != 0 && !(s->joining && s->joined_node == block->node))
        rc = HTSTORE_ECORRUPT;
    if (rc == 0)
        rc = hti_piece_joint_next(&s->joint, type, &piece, &row);
    s->joining = rc == 1;
    s->joined_node = block->node;
    if (rc == HTSTORE_ENOMEM)
        return no_memory(m);
    if (rc < 0) {
        leave_out(m, block, "other pieces of its row are lost");
        return 0;
    }
    return rc == 1 ? 0 : salvage_row(m, s, &row);
}

/* What an object lacks, now that all its blocks were there. */
static void count_losses(struct hti_maker *m, struct salvage *s)
{
    const uint64_t promised = m->saved->nodes[s->node].n_rows;
    char label[HTI_SNAP_LABEL_SIZE];

    if (s->n_rows < promised) {
        hti_snap_graph_label(m->saved, s->node, label);
        m->report.n_damaged_objects++;
        m->report.n_lost_rows += promised - s->n_rows;
        hti_maker_warn(m, "%s: %llu of %llu rows are lost", label, (unsigned long long)(promised - s->n_rows),
                       (unsigned long long)promised);
    }
    m->report.n_lost_blocks += s->n_rows < promised && s->n_lost_blocks == 0 ? 1 : s->n_lost_blocks;
}

/* Finish all nodes before this one: a build keeps flush_mutex from its first row to its end. */
static int advance(struct hti_maker *m, struct salvage *s, uint32_t node)
{
    int rc = 0;

    while (rc == 0 && s->node < node) {
        if (m->cores[s->node] && (m->saved->nodes[s->node].flags & HTI_SNAP_HAS_CONTENTS)) {
            count_losses(m, s);
            rc = fill_up(m, s, m->saved->nodes[s->node].n_rows);
            if (rc == 0)
                rc = hti_maker_end_rows(m, s->node, m->error);
        }
        s->node++;
        s->next_number = 0;
        s->n_rows = s->n_lost_blocks = 0;
        s->last_size = 0;
    }
    return rc;
}

static int salvage_block(struct hti_maker *m, struct salvage *s, const struct hti_snap_block *block)
{
    int rc;

    if (block->node >= m->saved->n_nodes || !m->cores[block->node] ||
        !(m->saved->nodes[block->node].flags & HTI_SNAP_HAS_CONTENTS))
        return 0; /* the save counter */
    rc = advance(m, s, block->node);
    if (rc != 0)
        return rc;
    s->n_lost_blocks += block->number - s->next_number;
    s->next_number = block->number + 1;
    rc = decode_block(m, s, block);
    if (rc != 0)
        return rc == 1 ? 0 : rc;
    return block->kind == HTI_SNAP_PIECE ? salvage_piece(m, s, block) : salvage_rows(m, s, block);
}

static int salvage_blocks(struct hti_maker *m, struct salvage *s)
{
    struct hti_snap_block block;
    struct hti_snap_gap gap;
    int rc;

    for (uint32_t i = 0; i < m->saved->n_nodes; i++)
        s->rows_total += m->saved->nodes[i].n_rows;
    rc = report(m, s);
    while (rc == 0) {
        rc = hti_snapscan_next(s->scan, &block, &s->frame, &gap, m->error);
        if (rc >= 0 && gap.size > 0)
            hti_maker_warn(m, "%llu bytes at byte %llu cannot be read: %s", (unsigned long long)gap.size,
                           (unsigned long long)gap.offset, gap.reason);
        if (rc == 0)
            rc = salvage_block(m, s, &block);
        if (rc == 0)
            rc = report(m, s);
    }
    return rc == 1 ? advance(m, s, m->saved->n_nodes) : rc;
}

static int fill_salvaged(struct hti_maker *m, void *source)
{
    struct salvage s = { .scan = source };
    int rc = hti_frame_decoder_new(&s.decoder);

    hti_block_space_init(&s.space);
    hti_columns_init(&s.columns);
    hti_piece_joint_init(&s.joint);
    hti_buf_init(&s.frame);
    hti_buf_init(&s.plain);
    rc = rc ? no_memory(m) : salvage_blocks(m, &s);
    hti_frame_decoder_free(s.decoder);
    hti_block_space_release(&s.space);
    hti_columns_release(&s.columns);
    hti_piece_joint_release(&s.joint);
    hti_buf_release(&s.frame);
    hti_buf_release(&s.plain);
    return rc;
}

int hti_snapsalvage_restore(struct hti_maker *m, int fd, const char *path)
{
    const struct hti_snap_header *header;
    struct hti_snapscan *scan;
    int rc = hti_snapscan_open(fd, path, &scan, m->error);

    if (rc != 0)
        return rc;
    m->saved = hti_snapscan_graph(scan);
    header = hti_snapscan_header(scan);
    if (!header)
        hti_maker_warn(m, "the header is damaged: the LSN of the state is lost");
    if (!m->saved)
        rc = hti_fail(m->error, HTSTORE_ECORRUPT,
                      "%s: the description of its objects is damaged: without it no block can be read", path);
    else
        rc = hti_maker_make(m, header ? header->lsn : 0, fill_salvaged, scan);
    hti_snapscan_close(scan);
    return rc;
}
