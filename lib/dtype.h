/* dtype: element types, shapes, and the checks of the caller's arrays with the sentences that semantics prescribe. */
#ifndef HTI_DTYPE_H
#define HTI_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "htstore.h"

struct hti_shape {
    uint32_t rank;
    int64_t dim[HTSTORE_MAX_RANK];
};

bool hti_dtype_is_valid(uint32_t dtype);
bool hti_dtype_is_key(uint32_t dtype); /* everything but float16, bfloat16 */
size_t hti_dtype_packed_size(uint32_t dtype); /* bytes of an element in files; 0 for string */

/* The shape of an array view: HTSTORE_ESHAPE for rank > 8, a negative dimension, or a byte size that overflows. */
int hti_shape_of(const struct htstore_array *array, struct hti_shape *shape, struct htstore_error *error);
uint64_t hti_shape_count(const struct hti_shape *shape); /* elements; shape already checked */
bool hti_shape_equal(const struct hti_shape *a, const struct hti_shape *b);
#define HTI_SHAPE_TEXT_SIZE 400
void hti_shape_format(char out[HTI_SHAPE_TEXT_SIZE], const struct hti_shape *a,
                      const struct hti_shape *b); /* "[2,3]" of a ++ b; b may be NULL */

/*
 * Check that `array` has shape a ++ b (b may be NULL). The rank of the caller's arrays is at most 8, so keys of rank r
 * need value shapes of rank <= 8 - r; more is HTSTORE_ESHAPE. Message: "Expected shape [3,2] for value, got [6]",
 * where `what` is "value", "default value", "key".
 */
int hti_shape_expect(const struct htstore_array *array, const struct hti_shape *a, const struct hti_shape *b,
                     const char *what, struct htstore_error *error);

/*
 * Check dtype: "Key must be type int64 but got int32". `what` is "Key", "Value", "Default value", ….
 * An unknown dtype number is HTSTORE_EINVAL ("unknown dtype 77").
 */
int hti_dtype_expect(const struct htstore_array *array, uint32_t dtype, const char *what, struct htstore_error *error);

/*
 * Check elements [0, n): bool bytes are 0 or 1; strings have data unless their size is 0; with `as_keys` floats are not
 * NaN. HTSTORE_EINVAL with index = flat index / elements_per_row. Also: NULL data with n > 0.
 */
int hti_dtype_check_elements(uint32_t dtype, const void *data, uint64_t n, uint64_t elements_per_row, bool as_keys,
                             const char *what, struct htstore_error *error);

#endif
