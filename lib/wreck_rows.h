/* wreck_rows: the rows of a table in a damaged store, each of them verified. */
#ifndef HTI_WRECK_ROWS_H
#define HTI_WRECK_ROWS_H

#include "wreck.h"

/* Called for each intact row; it is valid during the call. Non-zero stops the walk, which then returns that value. */
typedef int (*hti_wreck_row_fn)(void *user, const struct hti_row *row);
/*
 * The rows of a table that has a record. What is missing or damaged is counted and told. 0, HTSTORE_EIO, HTSTORE_ENOMEM.
 */
int hti_wreck_rows_walk(struct hti_wreck *wreck, const struct hti_wreck_table *table, hti_wreck_row_fn row, void *user,
                        struct htstore_error *error);

#endif
