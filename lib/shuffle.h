/*
 * shuffle: elements of fixed width to planes and back. Plane j of a column holds byte j (0 = lowest) of each element, or of the
 * difference of each element to the one before. The idea is that of the byte shuffle of HDF5.
 */
#ifndef HTI_SHUFFLE_H
#define HTI_SHUFFLE_H

#include <stddef.h>
#include <stdint.h>

#define HTI_SHUFFLE_MAX_WIDTH 8u

/*
 * All functions: elements are little-endian numbers of `width` bytes, which is 1, 2, 4 or 8; n > 0 of them. With `deltas`,
 * a number is element[i] - element[i - 1] modulo 2^(8 width): element[-1] must be readable.
 */
struct hti_shuffle_form {
    unsigned width;
    unsigned deltas; /* 0 or 1 */
};

/* Bit j is set if plane j has more than one value. */
unsigned hti_shuffle_varying(struct hti_shuffle_form form, const uint8_t *elements, size_t n);

/* Fill planes[0 .. width - 1] of n bytes each; those that are NULL are not wanted. */
void hti_shuffle_split(struct hti_shuffle_form form, const uint8_t *elements, size_t n, uint8_t *const *planes);

/* The inverse. Where planes[j] is NULL, all its bytes are constants[j]. With `deltas`, element[-1] is what is added to. */
void hti_shuffle_join(struct hti_shuffle_form form, const uint8_t *const *planes, const uint8_t *constants, size_t n,
                      uint8_t *elements);

#endif
