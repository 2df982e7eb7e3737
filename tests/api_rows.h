/* api_rows: comparing a table with the rows that it should have: all of them, nothing else, in order. */
#ifndef API_ROWS_H
#define API_ROWS_H

#include "htstore.h"

/*
 * The table holds exactly the rows from `first` on: by lookup (the keys before it give a default row), and by size and
 * export. Keys are distinct, shape [n]; values have shape [n] ++ value shape.
 */
void api_expect_found(struct htstore_table *table, const struct htstore_array *keys, const struct htstore_array *values,
                      size_t first);
void api_expect_rows(struct htstore_table *table, const struct htstore_array *keys, const struct htstore_array *values,
                     size_t first);

/* Each key is greater than the one before it. */
void api_expect_ascending(const struct htstore_array *keys);

/* Where element `i` of `wanted` is in `keys`; their number if it is not. */
size_t api_find_key(const struct htstore_array *keys, const struct htstore_array *wanted, size_t i);

#endif
