/*
 * block: up to 65536 rows of one table as the bytes that one Zstandard frame of a snapshot holds. Layout, all integers
 * little-endian (docs/snapshot-blocks.md has it in full, with examples):
 *
 *   u8  1                 a block of rows
 *   u8  coding of keys    0 to 4
 *   u8  coding of values  0 to 3
 *   u8  0
 *   u32 rows              1 to HTI_BLOCK_MAX_ROWS
 *   u32 size of keys      bytes of all packed keys
 *   u32 size of values    bytes of all packed values; both together at most HTI_BLOCK_MAX_BYTES
 *   column of keys, column of values, and nothing behind them
 *
 * A column of N elements of fixed width W (the elements of all values, in order, are one column) is coded as
 *   0 plain   N * W bytes. The only coding of a column without elements.
 *   1 planes  planes(N, W)
 *   2 deltas  the first element, W bytes; planes(N - 1, W) of each element minus the one before, modulo 2^(8 W). Not for W = 1.
 * where planes(N, W) is nothing for N = 0, else: u8 mask of W bits; for each j from 0 to W - 1: N bytes, byte j of each number in
 * turn, if bit j of the mask is set; else one byte, which byte j of all numbers has.
 *
 * A column of strings (keys; or the elements of all values, in order) is coded as
 *   3 strings planes(N, 4) of their sizes; their bytes
 *   4 front   keys only: planes(N, 4) of how many bytes each key shares with the key before, 0 for the first; planes(N, 4) of
 *             the sizes of the rest; the bytes of the rest
 *
 * Nothing here is checksummed: the frame's checksum, and those of the file, are above. Order of keys is not checked either.
 */
#ifndef HTI_BLOCK_H
#define HTI_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "codec.h"
#include "columns.h"

#define HTI_BLOCK_MAX_ROWS 65536u
#define HTI_BLOCK_MAX_BYTES (2u << 20) /* keys and packed values */
#define HTI_BLOCK_MAX_PLAIN (HTI_BLOCK_MAX_BYTES + 8u * HTI_BLOCK_MAX_ROWS + 64u) /* what encode appends at most */
#define HTI_BLOCK_LARGE (1u << 20) /* rows above that are written in pieces (piece.h), never in a block */
#define HTI_BLOCK_ROWS_KIND 1u

/* Memory that is used again and again; one for each thread. Zero it, or init. */
struct hti_block_space {
    struct hti_buf sizes, other_sizes;
};
void hti_block_space_init(struct hti_block_space *space);
void hti_block_space_release(struct hti_block_space *space);

/* Is this row too large for any block? */
bool hti_block_is_large(const struct hti_row *row);
/* May this row, not large, join these? Always, if there are none. */
bool hti_block_has_room(const struct hti_columns *columns, const struct hti_row *row);

/*
 * Append the payload of a block. The columns hold at least one row, none large, within the limits; keys in stored order give
 * small blocks, but no order is needed. Equal rows give equal bytes. 0 or HTSTORE_ENOMEM; `plain` is then as before.
 */
int hti_block_encode(const struct hti_columns *columns, struct hti_block_space *space, struct hti_buf *plain);

/*
 * Decode a payload of rows of this type into `columns`, which are reset first. 0, HTSTORE_ENOMEM, or HTSTORE_ECORRUPT: not a
 * block of such rows; malformed anywhere; a key or value that is not canonical (as by hti_codec_key_is_valid() and
 * hti_codec_value_is_valid()); the columns are empty then. Whatever the payload says, columns and space together grow to no more
 * than HTI_BLOCK_MAX_DECODE bytes of use (buffers keep up to half as much in reserve).
 */
#define HTI_BLOCK_MAX_DECODE (2u * HTI_BLOCK_MAX_BYTES + 12u * HTI_BLOCK_MAX_ROWS)
int hti_block_decode(const struct hti_row_type *type, const void *plain, size_t size, struct hti_block_space *space,
                     struct hti_columns *columns);

#endif
