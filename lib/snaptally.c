/* snaptally: hides the rules by which blocks follow each other, and the sums over them. */
#include "snaptally.h"

#include <string.h>

void hti_snap_tally_init(struct hti_snap_tally *tally, const struct hti_snap_graph *graph, uint64_t offset,
                         uint64_t plain_size, bool keep)
{
    memset(tally, 0, sizeof *tally);
    tally->graph = graph;
    tally->offset = offset;
    tally->plain_size = plain_size;
    tally->keep = keep;
    hti_buf_init(&tally->blocks);
    hti_buf_init(&tally->nodes);
}

void hti_snap_tally_release(struct hti_snap_tally *tally)
{
    hti_buf_release(&tally->blocks);
    hti_buf_release(&tally->nodes);
}

static int keep_entry(const struct hti_snap_tally *tally, struct hti_buf *buf, const uint8_t *entry)
{
    return tally->keep ? hti_buf_append(buf, entry, HTI_SNAP_ENTRY_SIZE) : 0;
}

static int leave_node(struct hti_snap_tally *tally, const char **wrong)
{
    const struct hti_snap_node *node = &tally->graph->nodes[tally->node];
    const struct hti_snap_node_entry entry = { tally->node_blocks, tally->node_rows, node->digest };
    uint8_t bytes[HTI_SNAP_ENTRY_SIZE];

    if (tally->node_rows != node->n_rows || tally->in_row) {
        *wrong = "rows are missing";
        return HTSTORE_ECORRUPT;
    }
    hti_snap_encode_node_entry(&entry, bytes);
    tally->nodes_hash = hti_snap_chain(tally->nodes_hash, bytes);
    if (keep_entry(tally, &tally->nodes, bytes) != 0)
        return HTSTORE_ENOMEM;
    tally->node++;
    tally->number = 0;
    tally->node_blocks = tally->node_rows = 0;
    return 0;
}

static int reach_node(struct hti_snap_tally *tally, uint32_t node, const char **wrong)
{
    int rc = 0;

    if (node < tally->node || node >= tally->graph->n_nodes ||
        !(tally->graph->nodes[node].flags & HTI_SNAP_HAS_CONTENTS)) {
        *wrong = "a block that does not belong here";
        return HTSTORE_ECORRUPT;
    }
    while (rc == 0 && tally->node < node)
        rc = leave_node(tally, wrong);
    return rc;
}

static const char *check_entry(const struct hti_snap_tally *tally, const struct hti_snap_block_entry *entry)
{
    if (entry->offset != tally->offset)
        return "a block at the wrong place";
    if (entry->n_rows > tally->graph->nodes[entry->node].n_rows - tally->node_rows)
        return "more rows than the graph says";
    if (tally->n_blocks == HTI_SNAP_MAX_BLOCKS || tally->number == UINT32_MAX)
        return "too many blocks";
    return NULL;
}

int hti_snap_tally_add_entry(struct hti_snap_tally *tally, const struct hti_snap_block_entry *entry, const char **wrong)
{
    uint8_t bytes[HTI_SNAP_ENTRY_SIZE];
    int rc = reach_node(tally, entry->node, wrong);

    if (rc != 0)
        return rc;
    *wrong = check_entry(tally, entry);
    if (*wrong)
        return HTSTORE_ECORRUPT;
    hti_snap_encode_block_entry(entry, bytes);
    if (keep_entry(tally, &tally->blocks, bytes) != 0)
        return HTSTORE_ENOMEM;
    tally->blocks_hash = hti_snap_chain(tally->blocks_hash, bytes);
    tally->offset += HTI_SNAP_BLOCK_HEAD_SIZE + (uint64_t)entry->stored_size;
    tally->number++;
    tally->node_blocks++;
    tally->node_rows += entry->n_rows;
    tally->n_blocks++;
    tally->n_rows += entry->n_rows;
    tally->plain_size += entry->plain_size;
    return 0;
}

int hti_snap_tally_add(struct hti_snap_tally *tally, const struct hti_snap_block *block, uint64_t checksum,
                       const char **wrong)
{
    const struct hti_snap_block_entry entry = { block->offset,     block->node,        block->n_rows,
                                                block->plain_size, block->stored_size, checksum };
    int rc = reach_node(tally, block->node, wrong);

    if (rc != 0)
        return rc;
    if (block->number != tally->number || (tally->in_row && block->kind != HTI_SNAP_PIECE)) {
        *wrong = "a block that does not follow the one before it";
        return HTSTORE_ECORRUPT;
    }
    tally->in_row = block->kind == HTI_SNAP_PIECE && block->n_rows == 0;
    return hti_snap_tally_add_entry(tally, &entry, wrong);
}

int hti_snap_tally_finish(struct hti_snap_tally *tally, const char **wrong)
{
    int rc = 0;

    while (rc == 0 && tally->node < tally->graph->n_nodes)
        rc = leave_node(tally, wrong);
    return rc;
}

void hti_snap_tally_footer(const struct hti_snap_tally *tally, const struct hti_snap_header *header,
                           struct hti_snap_footer *footer)
{
    *footer = (struct hti_snap_footer){ .lsn = header->lsn,
                                        .version = header->version,
                                        .flags = header->flags,
                                        .incompatible = header->incompatible,
                                        .compatible = header->compatible,
                                        .graph_size = header->graph_size,
                                        .n_nodes = tally->graph->n_nodes,
                                        .n_blocks = tally->n_blocks,
                                        .n_rows = tally->n_rows,
                                        .plain_size = tally->plain_size,
                                        .lists_offset = tally->offset,
                                        .blocks_hash = tally->blocks_hash,
                                        .nodes_hash = tally->nodes_hash };
}

static uint64_t list_size(uint64_t n)
{
    const uint64_t n_lists = n / HTI_SNAP_MAX_LIST_ENTRIES + (n % HTI_SNAP_MAX_LIST_ENTRIES != 0);

    return n * HTI_SNAP_ENTRY_SIZE + n_lists * HTI_SNAP_LIST_OVERHEAD;
}

uint64_t hti_snap_tally_lists_size(const struct hti_snap_tally *tally)
{
    return list_size(tally->n_blocks) + list_size(tally->graph->n_nodes);
}
