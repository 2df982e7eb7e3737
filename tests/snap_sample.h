/* snap_sample: a graph of objects, and a snapshot file of it, for tests of snapshots. */
#ifndef SNAP_SAMPLE_H
#define SNAP_SAMPLE_H

#include "buf.h"
#include "snapformat.h"
#include "snapgraph.h"

/*
 * A graph with every kind of node and flag, a cycle, a shared child and odd names:
 *   0 (root) -> "m" 1, "t" 2, "save_counter" 3
 *   1 mapping, layer -> "" 4, "x.y/z" 2, "self" 1, "é" 5
 *   2 table int64 -> float[2], 3 rows      3 variable int64 scalar      4 table string -> string, no checkpoint
 *   5 mapping, not trainable -> "w" 6, "e" 7
 *   6 variable float32 [5,4000], 2 rows    7 table uint8 -> int64, 0 rows
 */
enum { SNAP_ROOT, SNAP_M, SNAP_T, SNAP_COUNTER, SNAP_WORDS, SNAP_INNER, SNAP_W, SNAP_EMPTY, N_SNAP_NODES };
int snap_sample_graph(struct hti_snap_graph *graph); /* 0 or HTSTORE_ENOMEM, and then released */

/*
 * The blocks of a snapshot of that graph: rows of 2, 3 and 6; the first row of 6 is in two pieces. The contents are no
 * rows: the container does not look into them.
 */
#define N_SNAP_BLOCKS 6u
struct snap_sample_block {
    struct hti_snap_block head; /* without offset and stored_hash */
    struct hti_buf plain;
    struct hti_buf frame;
};
int snap_sample_blocks(struct snap_sample_block blocks[N_SNAP_BLOCKS]); /* 0 or HTSTORE_ENOMEM, and then released */
void snap_sample_blocks_release(struct snap_sample_block blocks[N_SNAP_BLOCKS]);

#define SNAP_LSN 42u
/* Write the whole file where fd stands. As hti_snapwrite_end(). */
int snap_sample_write(int fd, struct htstore_error *error);

#endif
