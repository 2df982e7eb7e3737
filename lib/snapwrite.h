/*
 * snapwrite: writes a snapshot to a file or pipe, front to back, never seeking. Layout: docs/snapshot-format.md.
 *
 * Equal graphs, LSNs, flags and blocks give equal bytes. Not for use by two threads at once.
 */
#ifndef HTI_SNAPWRITE_H
#define HTI_SNAPWRITE_H

#include <stdint.h>

#include "error.h"
#include "snapformat.h"
#include "snapgraph.h"

struct hti_snapwrite;

/*
 * Write header and graph. `fd` is borrowed, writing starts where it stands; `path` is for messages (copied); the graph
 * is borrowed until free, and must not change. HTSTORE_EINVAL (graph), HTSTORE_ENOMEM, and as hti_file_fail() for
 * writes: a closed pipe is HTSTORE_EIO with EPIPE (the caller blocks or ignores SIGPIPE). *writer is NULL on failure.
 */
int hti_snapwrite_begin(int fd, const char *path, const struct hti_snap_graph *graph, uint64_t lsn, uint32_t flags,
                        struct hti_snapwrite **writer, struct htstore_error *error);

/*
 * Write a block: `frame` is one Zstandard frame of block->stored_size bytes that decompresses to block->plain_size
 * bytes. kind, node, number, n_rows, sizes and plain_hash must be set. Nodes come in ascending order, blocks of a node
 * by number from 0; only nodes with HTI_SNAP_HAS_CONTENTS have any. HTSTORE_EINVAL for a block out of range,
 * HTSTORE_ECORRUPT for one at the wrong place, or for more or fewer rows than the graph says; the first error is that
 * of all later calls.
 */
int hti_snapwrite_block(struct hti_snapwrite *writer, const struct hti_snap_block *block, const void *frame,
                        struct htstore_error *error);

/*
 * Write index, totals and trailer, and all that is buffered. Neither syncs nor closes. Errors as hti_snapwrite_block().
 */
int hti_snapwrite_end(struct hti_snapwrite *writer, struct htstore_error *error);

void hti_snapwrite_free(struct hti_snapwrite *writer); /* at any time; NULL does nothing */

uint64_t hti_snapwrite_size(const struct hti_snapwrite *writer); /* bytes so far, buffered ones included */
uint64_t hti_snapwrite_plain_size(const struct hti_snapwrite *writer); /* what they decompress to */
struct hti_hash128 hti_snapwrite_id(const struct hti_snapwrite *writer);

#endif
