/*
 * columns: rows of one table, gathered column by column. Keys and packed values of fixed width stand one behind the other;
 * those of variable size too, with their sizes beside them. Nothing is checked here.
 */
#ifndef HTI_COLUMNS_H
#define HTI_COLUMNS_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "codec.h"

struct hti_columns {
    struct hti_row_type type;
    uint32_t n_rows;
    struct hti_buf keys;
    struct hti_buf key_sizes; /* u32 little-endian each; empty if all keys have type.key_size bytes */
    struct hti_buf values; /* packed */
    struct hti_buf value_sizes; /* the same; empty if type.value_is_fixed */
};

void hti_columns_init(struct hti_columns *columns); /* then reset it */
void hti_columns_release(struct hti_columns *columns);
/* No rows, of this type. Keeps the memory. */
void hti_columns_reset(struct hti_columns *columns, const struct hti_row_type *type);

/* Append a packed row of the type. 0 or HTSTORE_ENOMEM; the columns are then as before. */
int hti_columns_append(struct hti_columns *columns, const struct hti_row *row);

/* Bytes of all keys and packed values. */
size_t hti_columns_size(const struct hti_columns *columns);

/* Walk the rows; they point into the columns. False at the end. */
struct hti_columns_walk {
    const struct hti_columns *columns;
    uint32_t index; /* of the row that comes next */
    const uint8_t *key, *value;
};
void hti_columns_walk_init(struct hti_columns_walk *walk, const struct hti_columns *columns);
bool hti_columns_walk_next(struct hti_columns_walk *walk, struct hti_row *row);

#endif
