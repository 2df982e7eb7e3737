/* outputs: checks of the arrays of one call, and rows written into the caller's arrays. */
#ifndef HTI_OUTPUTS_H
#define HTI_OUTPUTS_H

#include "lookup.h"
#include "state.h"

/* Arrays of a call on a table, checked in the order that semantics prescribe. NULL where a call has none. */
struct hti_arguments {
    const struct htstore_array *keys;
    const struct htstore_array *values; /* input */
    const struct htstore_array *defaults; /* input, or NULL: the table's */
    const struct htstore_array *outputs;
    bool defaults_optional; /* `defaults` may be NULL and belongs to the call */
    uint64_t n_rows; /* set by the check */
    bool shared_default; /* set by the check: one row for all */
};
/* HTSTORE_EINVAL, HTSTORE_ETYPE, HTSTORE_ESHAPE. `write` is as for hti_check_table(). */
int hti_arguments_check(const struct htstore_table *table, struct hti_arguments *arguments,
                        struct htstore_error *error);

/* Bytes of a row in the caller's arrays. */
size_t hti_output_row_size(const struct hti_row_type *type);
/*
 * Write a packed value as row i of an output. Strings are copied to the arena. HTSTORE_ENOMEM, HTSTORE_ECORRUPT.
 */
int hti_output_value(const struct hti_row_type *type, const void *packed, size_t size, struct htstore_array *out,
                     uint64_t i);
/* Write a row of elements (a default) as row i; strings are copied to the arena. HTSTORE_ENOMEM. */
int hti_output_elements(const struct hti_row_type *type, const void *elements, struct htstore_array *out, uint64_t i);

/* The packed form of the key at flat index i: in `space` (fixed width) or the caller's own bytes (strings). */
const void *hti_input_key(const struct hti_row_type *type, const struct htstore_array *keys, uint64_t i,
                          uint8_t space[8], size_t *size);

#endif
