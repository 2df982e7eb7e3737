/*
 * planes: a column of elements of fixed width as bytes, so that Zstandard finds what there is to find. What is written is
 * defined in docs/snapshot-blocks.md.
 */
#ifndef HTI_PLANES_H
#define HTI_PLANES_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"

enum hti_coding {
    HTI_CODING_PLAIN = 0, /* the elements */
    HTI_CODING_PLANES = 1, /* byte j of all elements together */
    HTI_CODING_DELTAS = 2, /* the first element, then planes of the differences; not for elements of one byte */
    HTI_CODING_STRINGS = 3, /* block.c: sizes, then bytes */
    HTI_CODING_FRONT = 4 /* block.c: sizes of what is shared with the string before, sizes of the rest, the rest */
};

/* All functions: n elements of `width` bytes (1, 2, 4 or 8), little-endian; n * width is at most HTI_BLOCK_MAX_BYTES. */

/* Which coding is likely to be the smallest after compression: looks at up to 1024 elements. No elements: plain. */
enum hti_coding hti_planes_choose(const uint8_t *elements, size_t n, unsigned width);

/* Append the column to `out`. 0 or HTSTORE_ENOMEM; `out` is then as before. n > 0 unless coding is plain. */
int hti_planes_encode(enum hti_coding coding, const uint8_t *elements, size_t n, unsigned width, struct hti_buf *out);

/* Read such a column. 0 or HTSTORE_ECORRUPT: a coding not allowed here, or malformed, or too few bytes. */
int hti_planes_decode(unsigned coding, struct hti_reader *in, size_t n, unsigned width, uint8_t *elements);

#endif
