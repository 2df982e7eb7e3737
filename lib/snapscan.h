/*
 * snapscan: finds what is intact in a damaged snapshot file, whatever is damaged, by looking for checksums that are
 * right.
 */
#ifndef HTI_SNAPSCAN_H
#define HTI_SNAPSCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "snapread.h"

struct hti_snapscan;

/* Bytes that were skipped. size 0: none. */
struct hti_snap_gap {
    uint64_t offset;
    uint64_t size;
    char reason[256]; /* a phrase such as "block 17 of (root).emb: the frame differs from its checksum" */
};

/*
 * Open a damaged file. The snapshot id is taken from the header, the trailer or the graph, whichever is intact; header
 * fields and graph are then read as far as possible. HTSTORE_EFORMAT (nothing of a snapshot), HTSTORE_EVERSION,
 * HTSTORE_EINVAL (not a regular file), HTSTORE_EIO, HTSTORE_ENOMEM.
 */
int hti_snapscan_open(int fd, const char *path, struct hti_snapscan **scan, struct htstore_error *error);
void hti_snapscan_close(struct hti_snapscan *scan); /* NULL does nothing */

const struct hti_snap_header *hti_snapscan_header(const struct hti_snapscan *scan); /* NULL: LSN and flags are lost */
const struct hti_snap_graph *
hti_snapscan_graph(const struct hti_snapscan *scan); /* NULL: lost, and with it all types */
/* Blocks that the footer promises; false if it is lost. */
bool hti_snapscan_promised(const struct hti_snapscan *scan, uint64_t *n_blocks);

/*
 * The next intact block, in file order. 0: *block and *frame are set as by hti_snapread_next(). 1: the end. Both: *gap
 * tells what was skipped just before. Blocks ascend by node and number; repeated ones are skipped. HTSTORE_EIO,
 * HTSTORE_ENOMEM. Decompressing and hti_snap_hash() of the payload are left to the caller.
 */
int hti_snapscan_next(struct hti_snapscan *scan, struct hti_snap_block *block, struct hti_buf *frame,
                      struct hti_snap_gap *gap, struct htstore_error *error);

#endif
