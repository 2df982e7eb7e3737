/* packed: keys and values of rows as the bytes that a dump holds: numbers little-endian, strings as they are. */
#ifndef TOOLS_PACKED_H
#define TOOLS_PACKED_H

#include "buffer.h"
#include "htstore.h"
#include "rows.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Append n elements. Strings: `sizes` puts the size of each, 4 bytes, before the bytes of all; without it there may be
 * one string.
 */
void packed_append(struct buffer *bytes, uint32_t dtype, size_t n, const void *elements, bool sizes);

/* Whether a value of these rows has the sizes of its strings: it has a shape. */
bool packed_has_sizes(const struct rows_layout *layout);

/* How bytes become rows. */
struct packed_order {
    bool big_endian;
    bool integer_keys; /* keys are unsigned whatever the dtype */
};

/*
 * Append a row. Returns 0, or -1 and appends to `reason` why its bytes are none, as a sentence without its end. Bytes of
 * strings are copied.
 */
int packed_read(struct rows *rows, const struct packed_order *order, const struct htstore_bytes *key,
                const struct htstore_bytes *value, struct buffer *reason);

#endif
