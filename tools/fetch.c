/* fetch: hides the memory that results of a lookup need. */
#include "fetch.h"

#include <stdlib.h>
#include <string.h>

int fetch_run(struct fetch *fetch, struct htstore_table *table, const struct rows *rows, struct htstore_error *error)
{
    const struct rows_layout *layout = rows->layout;
    struct htstore_array keys = rows_keys(rows);
    struct htstore_array values;
    int result;

    if (fetch->arena == NULL) {
        result = htstore_arena_new(&fetch->arena, error);
        if (result < 0)
            return result;
    }
    htstore_arena_reset(fetch->arena);
    if (fetch->capacity < rows->n || fetch->found == NULL) {
        fetch->found = memory_resize(fetch->found, rows->n, 1);
        fetch->values = memory_resize(fetch->values, rows->n, layout->width * layout->element_size);
        fetch->capacity = rows->n;
    }
    values = rows_array_of_values(layout, rows->n, fetch->values);
    values.arena = fetch->arena;
    return htstore_table_lookup(table, &keys, NULL, &values, fetch->found, error);
}

const void *fetch_value(const struct fetch *fetch, const struct rows_layout *layout, size_t i)
{
    return (const char *)fetch->values + i * layout->width * layout->element_size;
}

void fetch_release(struct fetch *fetch)
{
    free(fetch->found);
    free(fetch->values);
    htstore_arena_free(fetch->arena);
    memset(fetch, 0, sizeof *fetch);
}
