/*
 * varlayout: how the elements of a variable become rows. Layout: docs/snapshot-format.md.
 *
 * The key of a row is its number (uint64, from 0). A variable of strings has one element in a row. Elements of fixed width
 * lie in rows of at most 65,500 bytes, all of one size; the last row is filled up with zeros. No elements: no rows.
 */
#ifndef HTI_VARLAYOUT_H
#define HTI_VARLAYOUT_H

#include <stdint.h>

#include "codec.h"

#define HTI_VARLAYOUT_ROW_SIZE 65500u /* bytes of a packed value of fixed width, at most */

/* The type of the rows of a variable with so many elements in all. `dtype` must be valid. */
void hti_varlayout_init(struct hti_row_type *type, uint32_t dtype, uint64_t n_elements);
uint64_t hti_varlayout_rows(uint32_t dtype, uint64_t n_elements);
uint64_t hti_varlayout_row_elements(uint32_t dtype, uint64_t n_elements); /* of each row; 0 if there are no rows */

#endif
