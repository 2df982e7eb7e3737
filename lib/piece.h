/*
 * piece: a row too large for a block, as the payloads of several frames. The key and the packed value, one behind the other, are
 * cut every HTI_PIECE_MAX_BYTES; each piece tells the sizes, so that one alone says what it belongs to. Layout, little-endian
 * (docs/snapshot-blocks.md):
 *
 *   u8  2                 a piece of a row
 *   u8  0, u8 0, u8 0
 *   u32 size of the key   with the value at least HTI_BLOCK_LARGE + 1 and at most HTSTORE_MAX_ROW_SIZE
 *   u32 size of the packed value
 *   u32 offset            of this piece in key and value: a multiple of HTI_PIECE_MAX_BYTES
 *   bytes                 up to HTI_PIECE_MAX_BYTES, all that are left from the offset on
 */
#ifndef HTI_PIECE_H
#define HTI_PIECE_H

#include <stddef.h>
#include <stdint.h>

#include "block.h"
#include "buf.h"
#include "codec.h"

#define HTI_PIECE_MAX_BYTES (1u << 20)
#define HTI_PIECE_HEAD_SIZE 16u
#define HTI_PIECE_MAX_PLAIN (HTI_PIECE_HEAD_SIZE + HTI_PIECE_MAX_BYTES) /* below HTI_BLOCK_MAX_PLAIN */
#define HTI_PIECE_KIND 2u

struct hti_piece {
    uint32_t key_size, value_size; /* of the row */
    uint32_t offset, size; /* of these bytes */
    const uint8_t *bytes; /* borrowed from the payload */
};

/* Pieces that a large row has. */
uint32_t hti_piece_count(const struct hti_row *row);

/* Append the payload of piece `index` of a large row. 0 or HTSTORE_ENOMEM; `plain` is then as before. */
int hti_piece_encode(const struct hti_row *row, uint32_t index, struct hti_buf *plain);

/* Take the payload of a piece apart. 0 or HTSTORE_ECORRUPT; nothing is allocated. */
int hti_piece_decode(const struct hti_row_type *type, const void *plain, size_t size, struct hti_piece *piece);

/*
 * Put the pieces of one row together. next: 0 when the row is complete and well-formed; it points into the joint until that is
 * begun again; 1: it goes on; HTSTORE_ECORRUPT: not the piece that comes next, or the row is malformed; HTSTORE_ENOMEM.
 * Memory grows with what comes, not with what a head says.
 */
struct hti_piece_joint {
    struct hti_buf bytes;
    uint32_t key_size, value_size;
};
void hti_piece_joint_init(struct hti_piece_joint *joint);
void hti_piece_joint_release(struct hti_piece_joint *joint);
void hti_piece_joint_begin(struct hti_piece_joint *joint); /* another row; keeps the memory */
int hti_piece_joint_next(struct hti_piece_joint *joint, const struct hti_row_type *type, const struct hti_piece *piece,
                         struct hti_row *row);

#endif
