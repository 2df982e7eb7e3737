/* rows: batches of typed rows, filled from text, handed to the library as arrays. */
#ifndef TOOLS_ROWS_H
#define TOOLS_ROWS_H

#include "buffer.h"
#include "htstore.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the rows of a table look like. */
struct rows_layout {
    uint32_t key_dtype, value_dtype, value_rank;
    int64_t value_shape[HTSTORE_MAX_RANK];
    size_t width; /* elements of a value */
    size_t key_size; /* bytes of a key in arrays */
    size_t element_size; /* bytes of a value's element in arrays */
};

void rows_layout_of_schema(struct rows_layout *layout, const struct htstore_schema *schema);

/* Append the type of the rows: "string -> float32[2,3]". */
void rows_layout_text(struct buffer *text, const struct rows_layout *layout);

/* Append a dtype with a shape: "float32[2,3]". */
void rows_type_text(struct buffer *text, uint32_t dtype, uint32_t rank, const int64_t *shape);

struct rows_block;

struct rows {
    const struct rows_layout *layout;
    bool keys_only;
    size_t n, capacity;
    size_t bytes; /* memory of the elements and of the bytes of strings */
    char *keys;
    char *values;
    struct rows_block *blocks; /* bytes of strings */
};

/* Borrows the layout. */
void rows_init(struct rows *rows, const struct rows_layout *layout, bool keys_only);
void rows_release(struct rows *rows);

/* Forget all rows, keep most memory. */
void rows_clear(struct rows *rows);

/* Why a row was refused. */
enum rows_result {
    ROWS_OK = 0,
    ROWS_SYNTAX, /* not a number of the dtype */
    ROWS_RANGE, /* outside of the dtype */
    ROWS_NAN_KEY, /* nan is no key */
    ROWS_TOO_LARGE /* above HTSTORE_MAX_ROW_SIZE */
};

/*
 * Append a row from a key and `width` elements as text; strings are bytes already, and are copied. When the row is
 * refused nothing is appended and *at tells where: 0 is the key, 1 + i element i.
 */
enum rows_result rows_append(struct rows *rows, const struct htstore_bytes *key, const struct htstore_bytes *values,
                             size_t *at);

/*
 * Append a row whose elements the caller sets: make room, set rows_key() and rows_value() of row n, whose strings are
 * kept, then accept it. Without the last step nothing is appended.
 */
void rows_make_room(struct rows *rows);
const void *rows_keep(struct rows *rows, const void *data, size_t size); /* until the rows are cleared */
void rows_accept(struct rows *rows);

/* A nan is no key, and -0 is the key 0: equal keys then have equal bytes. ROWS_OK or ROWS_NAN_KEY. */
enum rows_result rows_normalise_key(uint32_t dtype, void *key);

/* Why the text of an element was refused, as a sentence without its end: "abc" is not an int64. */
void rows_explain(struct buffer *text, const struct rows_layout *layout, enum rows_result result, size_t at,
                  const struct htstore_bytes *element);

/* Append one element as text: strings with escapes. */
void rows_write_element(struct buffer *text, uint32_t dtype, const void *element);

/* The same for a message: strings in quotes, shortened. */
void rows_show_element(struct buffer *text, uint32_t dtype, const void *element);

/* Append row i of another buffer of the same layout; bytes of strings stay where they are. */
void rows_append_row(struct rows *rows, const struct rows *from, size_t i);

/* The elements of row i. */
void *rows_key(const struct rows *rows, size_t i);
void *rows_value(const struct rows *rows, size_t i);

/* All keys, and all values, as arrays; they point into the rows. */
struct htstore_array rows_keys(const struct rows *rows);
struct htstore_array rows_values(const struct rows *rows);

/* An array of n values over the caller's memory. */
struct htstore_array rows_array_of_values(const struct rows_layout *layout, size_t n, void *data);

/* Whether n elements are the same, bit for bit; strings by their bytes. */
bool rows_equal(uint32_t dtype, size_t n, const void *a, const void *b);

#endif
