/*
 * fixedrows: many rows at once between leaf pages, columns and their stored form (codec.h), where keys are integers and values
 * of fixed width and small: the usual tables. Everything is verified as it is row by row.
 */
#ifndef HTI_FIXEDROWS_H
#define HTI_FIXEDROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "codec.h"
#include "columns.h"
#include "kvwalk.h"
#include "radix.h"

#define HTI_FIXEDROWS_MAX_VALUE 256u

/* Are rows of this type such rows? */
bool hti_fixedrows_fit(const struct hti_row_type *type);
/* What one takes in a leaf, beside its slot. */
size_t hti_fixedrows_entry_size(const struct hti_row_type *type);

/* Some rows of a leaf page that bears nothing but such entries, by their sizes. The pointers are borrowed. */
struct hti_fixedrows_leaf {
    uint32_t n_rows;
    uint32_t start; /* of the entries in the page */
    uint32_t page_size;
    const uint8_t *slots; /* offsets of these rows in the page, u16 little-endian */
    const uint8_t *entries; /* all the page has */
};
/* The leaf at hand of a walk. False if its entries do not fill the end of the page as rows of this type do. */
bool hti_fixedrows_of_leaf(const struct hti_row_type *type, const struct hti_kvwalk_leaf *page, uint32_t page_size,
                           struct hti_fixedrows_leaf *leaf);
/* Append it to a buffer. 0 or HTSTORE_ENOMEM. */
int hti_fixedrows_keep(const struct hti_fixedrows_leaf *leaf, struct hti_buf *buf);
/* The next one that a buffer holds; false at the end. */
bool hti_fixedrows_next(const uint8_t **at, const uint8_t *end, struct hti_fixedrows_leaf *leaf);

/*
 * Append the rows to columns of this type, verified, and their hashes to a digest. 0, HTSTORE_ENOMEM, or HTSTORE_ECORRUPT: an entry
 * is not of the type or lies elsewhere, or a checksum is wrong.
 */
int hti_fixedrows_load(uint64_t table_id, const struct hti_fixedrows_leaf *leaf, struct hti_columns *columns,
                       struct hti_hash128 *digest);

#define HTI_FIXEDROWS_HEAD_SIZE 8u
/*
 * Append the rows of columns to a buffer, each as u32 size of the stored key, u32 size of the stored row, both; and their
 * hashes to a digest. Table 0: only the digest. 0, HTSTORE_ENOMEM, or 1: keys do not ascend.
 */
int hti_fixedrows_store(uint64_t table_id, const struct hti_columns *columns, struct hti_buf *buf,
                        struct hti_hash128 *digest);

/*
 * The stored forms and hashes of some rows of fixed width, of keys of any dtype, for those who have ordered keys (codec.h) and packed
 * values. Sizes of values up to HTI_FIXEDROWS_MAX_VALUE.
 */
#define HTI_FIXEDROWS_GROUP 64u
struct hti_fixedrows_sealed {
    uint8_t keys[HTI_FIXEDROWS_GROUP * 8]; /* stored keys, 8 bytes apart */
    uint8_t rows[HTI_FIXEDROWS_GROUP * (HTI_FIXEDROWS_MAX_VALUE + 4)]; /* stored rows, one behind the other */
    struct hti_hash128 hashes[HTI_FIXEDROWS_GROUP];
    uint8_t images[HTI_FIXEDROWS_GROUP * (4 + 8 + HTI_FIXEDROWS_MAX_VALUE)]; /* what is hashed */
};
/* Up to HTI_FIXEDROWS_GROUP items. One without a value gets its stored key only. */
void hti_fixedrows_seal(const struct hti_row_type *type, uint64_t table_id, const struct hti_radix_item *items,
                        uint32_t n, struct hti_fixedrows_sealed *sealed);

#endif
