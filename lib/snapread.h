/*
 * snapread: reads a snapshot: front to back from a file or pipe, or any block of a file by its index. Verifies all of
 * the container; the contents of blocks stay compressed. Layout: docs/snapshot-format.md.
 *
 * Every failure names the place: error->path, error->offset, and a sentence such as "s.snap: block 17 of (root).emb at
 * byte 1048576: checksum differs". Memory: the graph, the index if it is loaded (32 bytes a block), one frame.
 */
#ifndef HTI_SNAPREAD_H
#define HTI_SNAPREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "error.h"
#include "snapformat.h"
#include "snapgraph.h"

struct hti_snapread;

/*
 * Read header and graph. `fd` is borrowed; a regular file is read from its first byte by pread(), anything else by
 * read() from where it stands. `path` is for messages (copied). HTSTORE_EFORMAT (no snapshot), HTSTORE_EVERSION,
 * HTSTORE_ECORRUPT, HTSTORE_EIO, HTSTORE_ENOMEM; *reader is NULL then.
 */
int hti_snapread_open(int fd, const char *path, struct hti_snapread **reader, struct htstore_error *error);
void hti_snapread_close(struct hti_snapread *reader); /* NULL does nothing */

const struct hti_snap_header *hti_snapread_header(const struct hti_snapread *reader);
const struct hti_snap_graph *hti_snapread_graph(const struct hti_snapread *reader);
bool hti_snapread_is_seekable(const struct hti_snapread *reader);
uint64_t hti_snapread_position(const struct hti_snapread *reader); /* bytes read in order so far: for progress */

/*
 * The next block in file order. 0: *block is set and *frame holds its Zstandard frame (replaced), whose stored_hash is
 * verified. 1: all blocks were read and index, totals, trailer and length agree with them, and nothing follows.
 * Negative: HTSTORE_ECORRUPT, HTSTORE_EIO, HTSTORE_ENOMEM; later calls fail in the same way.
 */
int hti_snapread_next(struct hti_snapread *reader, struct hti_snap_block *block, struct hti_buf *frame,
                      struct htstore_error *error);

/* Compare the decompressed payload of a block with its head. HTSTORE_ECORRUPT. Any number of threads. */
int hti_snapread_verify(const struct hti_snapread *reader, const struct hti_snap_block *block, const void *plain,
                        size_t size, struct htstore_error *error);
/* Fail with HTSTORE_ECORRUPT: "PATH: block N of LABEL at byte OFFSET: what". For those who decode payloads. */
int hti_snapread_fail_block(const struct hti_snapread *reader, const struct hti_snap_block *block, const char *what,
                            struct htstore_error *error);

/* The same of an object: "PATH: LABEL: what". */
int hti_snapread_fail_node(const struct hti_snapread *reader, uint32_t node, const char *what,
                           struct htstore_error *error);

/* --- files only --- */

/*
 * Load the index from the end of the file, and check it against header, graph and length. No block is read.
 * HTSTORE_EINVAL (a pipe), HTSTORE_ECORRUPT, HTSTORE_EIO, HTSTORE_ENOMEM. Loading again does nothing.
 */
int hti_snapread_load_index(struct hti_snapread *reader, struct htstore_error *error);
const struct hti_snap_footer *
hti_snapread_footer(const struct hti_snapread *reader); /* NULL: neither loaded nor read */
/* Blocks of a node: numbers [*first, *first + *n) of the index. Loaded indexes only. */
void hti_snapread_node_blocks(const struct hti_snapread *reader, uint32_t node, uint64_t *first, uint64_t *n);
/* Bytes of these blocks in the file, heads included. */
uint64_t hti_snapread_blocks_size(const struct hti_snapread *reader, uint64_t first, uint64_t n);
/*
 * Read block `index` of the file, as hti_snapread_next() does. Any number of threads at once, each with its own
 * `frame`.
 */
int hti_snapread_block(const struct hti_snapread *reader, uint64_t index, struct hti_snap_block *block,
                       struct hti_buf *frame, struct htstore_error *error);

#endif
