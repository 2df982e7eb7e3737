/* dumpwalk: hides cursors, blocks, tables whose values a cursor cannot give, and how variables are cut into rows. */
#include "dumpwalk.h"

#include "buffer.h"
#include "packed.h"
#include "signals.h"
#include "tool.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_ROWS 8192
#define CHUNK_SIZE (1u << 20) /* bytes of a row of a variable */
#define STRINGS_AT_ONCE 16 /* elements of dtype string that are read at once: each may be as large as a row */

struct walk {
    const struct tool *tool;
    const struct dump_object *object;
    const struct rows_layout *layout;
    dumpwalk_fn function;
    void *user;
    struct htstore_arena *arena;
    struct buffer key, value;
};

static int fail(const struct walk *walk, const struct htstore_error *error)
{
    return tool_fail_library(walk->tool, walk->object->name, error);
}

static int give_row(struct walk *walk, bool sized)
{
    struct htstore_bytes key = { walk->key.data, walk->key.size }, value = { walk->value.data, walk->value.size };

    if (signals_caught() != 0)
        return STATUS_INTERRUPTED;
    return walk->function(walk->user, &key, &value, sized);
}

/* ---- tables ---- */

static int give_table_row(struct walk *walk, const void *key, const void *value)
{
    const struct rows_layout *layout = walk->layout;
    bool sizes = packed_has_sizes(layout);

    walk->key.size = walk->value.size = 0;
    packed_append(&walk->key, layout->key_dtype, 1, key, false);
    packed_append(&walk->value, layout->value_dtype, layout->width, value, sizes);
    return give_row(walk, layout->value_dtype == HTSTORE_STRING && !sizes);
}

/* Values of the highest rank are looked up one by one: an array of several would have one dimension too many. */
static int look_up(struct walk *walk, struct htstore_table *table, const void *key, void *value)
{
    const struct rows_layout *layout = walk->layout;
    struct htstore_array keys = htstore_scalar(layout->key_dtype, key);
    struct htstore_array values = htstore_scalar(layout->value_dtype, value);
    struct htstore_error error;

    values.rank = layout->value_rank;
    memcpy(values.shape, layout->value_shape, sizeof values.shape);
    values.arena = walk->arena;
    return htstore_table_lookup(table, &keys, NULL, &values, NULL, &error) < 0 ? fail(walk, &error) : STATUS_DONE;
}

static int give_block(struct walk *walk, struct htstore_table *table, const struct htstore_array *keys,
                      const struct htstore_array *values)
{
    const struct rows_layout *layout = walk->layout;
    size_t value_size = layout->width * layout->element_size;
    const char *key = keys->data, *value = values != NULL ? values->data : NULL;
    void *looked_up = values == NULL ? memory_new(1, value_size) : NULL;
    int status = STATUS_DONE;

    for (int64_t i = 0; i < keys->shape[0] && status == STATUS_DONE; i++) {
        if (values == NULL)
            status = look_up(walk, table, key, looked_up);
        if (status == STATUS_DONE)
            status = give_table_row(walk, key, values == NULL ? looked_up : value);
        key += layout->key_size;
        value = value != NULL ? value + value_size : NULL;
    }
    free(looked_up);
    return status;
}

static int walk_table(struct walk *walk)
{
    bool keys_only = walk->layout->value_rank == HTSTORE_MAX_RANK;
    struct htstore_table *table = walk->object->handle;
    struct htstore_array keys, values;
    struct htstore_cursor *cursor;
    struct htstore_error error;
    int result, status = STATUS_DONE;

    if (htstore_cursor_open(table, &cursor, &error) < 0)
        return fail(walk, &error);
    while (status == STATUS_DONE) {
        htstore_arena_reset(walk->arena);
        result = htstore_cursor_next(cursor, BLOCK_ROWS, walk->arena, &keys, keys_only ? NULL : &values, &error);
        if (result > 0)
            break;
        status = result < 0 ? fail(walk, &error) : give_block(walk, table, &keys, keys_only ? NULL : &values);
    }
    htstore_cursor_close(cursor);
    return status;
}

/* ---- variables ---- */

static void set_index(struct walk *walk, size_t index)
{
    walk->key.size = 0;
    for (int i = DUMPWALK_INDEX_SIZE - 1; i >= 0; i--)
        buffer_add(&walk->key, (char)((uint64_t)index >> 8 * i));
}

/* n elements, of which the first has this index: strings one a row, numbers as many as a row holds. */
static int give_elements(struct walk *walk, size_t index, size_t n, const char *elements)
{
    bool strings = walk->layout->value_dtype == HTSTORE_STRING;
    size_t step = strings ? 1 : CHUNK_SIZE / walk->layout->element_size;
    int status = STATUS_DONE;

    for (size_t i = 0; i < n && status == STATUS_DONE; i += step) {
        size_t count = n - i < step ? n - i : step;

        set_index(walk, index + i);
        walk->value.size = 0;
        packed_append(&walk->value, walk->layout->value_dtype, count, elements + i * walk->layout->element_size, false);
        status = give_row(walk, strings);
    }
    return status;
}

static int read_scalar(struct walk *walk, void *element)
{
    struct htstore_array value = htstore_scalar(walk->layout->value_dtype, element);
    struct htstore_error error;

    value.arena = walk->arena;
    if (htstore_variable_read(walk->object->handle, &value, &error) < 0)
        return fail(walk, &error);
    return give_elements(walk, 0, 1, element);
}

/* `at_once` sub-arrays of `width` elements at a time. */
static int read_slices(struct walk *walk, size_t width, size_t at_once, char *elements)
{
    const struct rows_layout *layout = walk->layout;
    struct htstore_array value = htstore_scalar(layout->value_dtype, elements);
    struct htstore_error error;
    int status = STATUS_DONE;

    value.rank = layout->value_rank;
    memcpy(value.shape, layout->value_shape, sizeof value.shape);
    value.arena = walk->arena;
    for (size_t i = 0; i < (size_t)layout->value_shape[0] && status == STATUS_DONE; i += at_once) {
        size_t n = (size_t)layout->value_shape[0] - i < at_once ? (size_t)layout->value_shape[0] - i : at_once;

        htstore_arena_reset(walk->arena);
        value.shape[0] = (int64_t)n;
        if (htstore_variable_read_slice(walk->object->handle, (int64_t)i, &value, &error) < 0)
            return fail(walk, &error);
        status = give_elements(walk, i * width, n * width, elements);
    }
    return status;
}

static int walk_variable(struct walk *walk)
{
    const struct rows_layout *layout = walk->layout;
    size_t at_once = layout->value_dtype == HTSTORE_STRING ? STRINGS_AT_ONCE : CHUNK_SIZE / layout->element_size;
    size_t width;
    char *elements;
    int status;

    if (layout->width == 0)
        return STATUS_DONE;
    width = layout->value_rank == 0 ? 1 : layout->width / (size_t)layout->value_shape[0];
    at_once = at_once / width > 0 ? at_once / width : 1;
    elements = memory_new(at_once * width, layout->element_size);
    if (layout->value_rank == 0)
        status = read_scalar(walk, elements);
    else
        status = read_slices(walk, width, at_once, elements);
    free(elements);
    return status;
}

int dumpwalk_run(const struct tool *tool, const struct dump_object *object, dumpwalk_fn function, void *user)
{
    struct walk walk = {
        .tool = tool, .object = object, .layout = &object->layout, .function = function, .user = user
    };
    struct htstore_error error;
    int status;

    if (htstore_arena_new(&walk.arena, &error) < 0)
        return fail(&walk, &error);
    status = object->kind == HTSTORE_KIND_TABLE ? walk_table(&walk) : walk_variable(&walk);
    htstore_arena_free(walk.arena);
    buffer_release(&walk.key);
    buffer_release(&walk.value);
    return status;
}
