/* read: lookup and size; public, in htstore.h. And rows by their keys for those who know that they are there. */
#ifndef HTI_READ_H
#define HTI_READ_H

#include "state.h"

/* Takes the packed value of row i; valid during the call. 0, HTSTORE_ENOMEM, HTSTORE_ECORRUPT. */
typedef int (*hti_read_row_fn)(void *user, uint64_t i, const void *packed, size_t size);

/* Read the rows of these keys (shape [n]) as of one state. HTSTORE_ECORRUPT also if one is absent; otherwise as a lookup. */
int hti_read_rows(struct htstore *store, const struct hti_core *core, const struct htstore_array *keys,
                  hti_read_row_fn put, void *user, struct htstore_error *error);

#endif
