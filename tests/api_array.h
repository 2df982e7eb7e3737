/* api_array: arrays for the tests of the public API: written as text, shown as text, made by number, compared. */
#ifndef API_ARRAY_H
#define API_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "htstore.h"

/* Zeroed memory that lives until api_forget(). Not for use by several threads at once. */
void *api_alloc(size_t size);
void api_forget(void);

/*
 * An array as semantics.md writes it: "[[0 1][2 3]]", "[brain salad]", "-1". Elements are separated by blanks; those of
 * float16 and bfloat16 are hexadecimal bits. In strings "\0" is a NUL, "\e" nothing (the empty string), "\s" a blank.
 */
struct htstore_array api_array(uint32_t dtype, const char *text);

/* The text of an array, in the same form; dimensions after the first 0 are not shown. */
const char *api_text(const struct htstore_array *array);

/* An array of that shape over `data`: "2,0,3"; "" is a scalar. */
struct htstore_array api_shaped(uint32_t dtype, const char *shape, const void *data);

/* An array of the shape of `keys` ++ `shape`, with memory for its elements, each byte of it 0xA5. */
struct htstore_array api_room(uint32_t dtype, const struct htstore_array *keys, const char *shape);

/* The elements of an array. */
size_t api_count(const struct htstore_array *array);

/* Shape "[2,3]" as "2,3", for the functions above. */
const char *api_shape(const struct htstore_array *array);

/*
 * `n` distinct legal elements, made from the numbers first, first + 1, …; equal numbers make equal elements. Types that
 * have fewer than `n` elements repeat them. The numbers 0 to 7 include the limits of the type.
 */
struct htstore_array api_numbered(uint32_t dtype, const char *shape, uint64_t first);

/* How many different elements api_numbered() can make: at most `wanted`. */
size_t api_distinct(uint32_t dtype, size_t wanted);

/* Same dtype, shape and bits. */
bool api_equal(const struct htstore_array *a, const struct htstore_array *b);

/* Is element `i` of `a` the same as element `j` of `b`? Both have the same dtype. */
bool api_element_equal(const struct htstore_array *a, size_t i, const struct htstore_array *b, size_t j);

/* The element `i` of a one-dimensional array, or row `i` of any other, as an array of its own over the same memory. */
struct htstore_array api_row(const struct htstore_array *array, size_t i);

/* Text of keys and their rows, "key=row" a line, ordered by the text of the keys. */
const char *api_pairs(const struct htstore_array *keys, const struct htstore_array *values);

#endif
