/* span: some elements of a variable: as rows to be written, and out of rows that are read. */
#ifndef HTI_SPAN_H
#define HTI_SPAN_H

#include "state.h"

/* Some elements of a variable, and the rows that they lie in. */
struct hti_span {
    const struct hti_core *core;
    uint64_t per_row; /* elements of a row */
    uint64_t n_all; /* elements of the variable */
    uint64_t begin, end; /* elements */
    uint64_t first_row, n_rows;
    size_t item_size; /* of an element in the caller's array */
};

/* Elements [begin, end) of a variable. */
void hti_span_init(struct hti_span *span, const struct hti_core *core, uint64_t begin, uint64_t end);

/*
 * Make a variable of a record, with its first value (`user`: a struct htstore_array). For struct hti_opening: with flush_mutex.
 * As hti_structure_create(), and HTSTORE_EINVAL (a string is too large).
 */
int hti_span_create(struct htstore *store, struct hti_object_record *record, void *user, struct hti_core **core,
                    struct htstore_error *error);
/* Copy elements into the caller's array, as of one state. As hti_read_rows(). */
int hti_span_read(struct htstore *store, const struct hti_span *span, struct htstore_array *out,
                  struct htstore_error *error);
/* Replace elements by those of the caller's array, in one durable step. As hti_commit() or hti_structure_commit(); HTSTORE_EINVAL. */
int hti_span_assign(struct htstore *store, const struct hti_span *span, const struct htstore_array *value,
                    struct htstore_error *error);

#endif
