/*
 * snaptally: what a snapshot holds so far, block by block, and whether the next block may follow. Writer and reader
 * keep the same tally; its sums are what the footer says.
 */
#ifndef HTI_SNAPTALLY_H
#define HTI_SNAPTALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "snapformat.h"
#include "snapgraph.h"

struct hti_snap_tally {
    const struct hti_snap_graph *graph; /* borrowed */
    uint64_t offset; /* where the next block must start */
    uint32_t node; /* of the last block; n_nodes: finished */
    uint32_t number; /* of the next block of that node */
    uint64_t node_blocks;
    uint64_t node_rows;
    bool in_row; /* the last block was a piece of a row that goes on */
    uint64_t n_blocks;
    uint64_t n_rows;
    uint64_t plain_size;
    uint64_t blocks_hash;
    uint64_t nodes_hash;
    bool keep; /* the entries */
    struct hti_buf blocks; /* entries of all blocks; empty unless kept */
    struct hti_buf nodes; /* entries of all finished nodes */
};

/* The first block starts at `offset`; `plain_size` bytes were in the frames before it. */
void hti_snap_tally_init(struct hti_snap_tally *tally, const struct hti_snap_graph *graph, uint64_t offset,
                         uint64_t plain_size, bool keep);
void hti_snap_tally_release(struct hti_snap_tally *tally);

/*
 * Add a block with the checksum of its head. HTSTORE_ECORRUPT: it may not stand here; *wrong says why. HTSTORE_ENOMEM.
 * After a failure the tally is of no more use.
 */
int hti_snap_tally_add(struct hti_snap_tally *tally, const struct hti_snap_block *block, uint64_t checksum,
                       const char **wrong);
/* The same, from what an entry of the index says: kind and number are not checked. */
int hti_snap_tally_add_entry(struct hti_snap_tally *tally, const struct hti_snap_block_entry *entry,
                             const char **wrong);
/* No more blocks. HTSTORE_ECORRUPT: some are missing, at tally->node; HTSTORE_ENOMEM. */
int hti_snap_tally_finish(struct hti_snap_tally *tally, const char **wrong);

/* The footer that belongs to a finished tally; all but the size of the file. Lists start where the blocks end. */
void hti_snap_tally_footer(const struct hti_snap_tally *tally, const struct hti_snap_header *header,
                           struct hti_snap_footer *footer);
/* Bytes of all lists of a finished tally. */
uint64_t hti_snap_tally_lists_size(const struct hti_snap_tally *tally);

#endif
