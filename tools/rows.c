/* rows: hides how elements and the bytes of strings lie in memory. */
#include "rows.h"

#include "escape.h"
#include "number.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE (1u << 20)

struct rows_block {
    struct rows_block *next;
    size_t used, size;
    char data[];
};

void rows_layout_of_schema(struct rows_layout *layout, const struct htstore_schema *schema)
{
    memset(layout, 0, sizeof *layout);
    layout->key_dtype = schema->key_dtype;
    layout->value_dtype = schema->default_value.dtype;
    layout->value_rank = schema->default_value.rank;
    layout->width = 1;
    for (uint32_t i = 0; i < layout->value_rank; i++) {
        layout->value_shape[i] = schema->default_value.shape[i];
        layout->width *= (size_t)layout->value_shape[i];
    }
    layout->key_size = htstore_dtype_size(layout->key_dtype);
    layout->element_size = htstore_dtype_size(layout->value_dtype);
}

static const char *dtype_name(uint32_t dtype)
{
    const char *name = htstore_dtype_name(dtype);

    return name != NULL ? name : "unknown";
}

void rows_type_text(struct buffer *text, uint32_t dtype, uint32_t rank, const int64_t *shape)
{
    buffer_text(text, dtype_name(dtype));
    for (uint32_t i = 0; i < rank; i++)
        buffer_printf(text, "%s%" PRId64, i == 0 ? "[" : ",", shape[i]);
    if (rank > 0)
        buffer_add(text, ']');
}

void rows_layout_text(struct buffer *text, const struct rows_layout *layout)
{
    buffer_printf(text, "%s -> ", dtype_name(layout->key_dtype));
    rows_type_text(text, layout->value_dtype, layout->value_rank, layout->value_shape);
}

void rows_init(struct rows *rows, const struct rows_layout *layout, bool keys_only)
{
    memset(rows, 0, sizeof *rows);
    rows->layout = layout;
    rows->keys_only = keys_only;
}

static void free_blocks(struct rows_block *block)
{
    while (block != NULL) {
        struct rows_block *next = block->next;

        free(block);
        block = next;
    }
}

void rows_release(struct rows *rows)
{
    free_blocks(rows->blocks);
    free(rows->keys);
    free(rows->values);
    memset(rows, 0, sizeof *rows);
}

void rows_clear(struct rows *rows)
{
    struct rows_block *first = rows->blocks;

    rows->n = 0;
    rows->bytes = 0;
    if (first == NULL)
        return;
    free_blocks(first->next);
    first->next = NULL;
    first->used = 0;
    if (first->size > BLOCK_SIZE) {
        free(first);
        rows->blocks = NULL;
    }
}

const void *rows_keep(struct rows *rows, const void *data, size_t size)
{
    struct rows_block *block = rows->blocks;
    char *copy;

    if (size == 0)
        return "";
    if (block == NULL || block->size - block->used < size) {
        size_t room = size > BLOCK_SIZE ? size : BLOCK_SIZE;

        block = memory_resize(NULL, sizeof *block + room, 1);
        block->next = rows->blocks;
        block->used = 0;
        block->size = room;
        rows->blocks = block;
    }
    copy = block->data + block->used;
    memcpy(copy, data, size);
    block->used += size;
    rows->bytes += size;
    return copy;
}

void rows_make_room(struct rows *rows)
{
    const struct rows_layout *layout = rows->layout;
    size_t first = layout->width * layout->element_size > 65536 ? 1 : 64;

    if (rows->n < rows->capacity)
        return;
    rows->capacity = rows->capacity == 0 ? first : 2 * rows->capacity;
    rows->keys = memory_resize(rows->keys, rows->capacity, layout->key_size);
    if (!rows->keys_only)
        rows->values = memory_resize(rows->values, rows->capacity, layout->width * layout->element_size);
}

static enum rows_result set_element(struct rows *rows, uint32_t dtype, void *element, const struct htstore_bytes *text)
{
    if (dtype == HTSTORE_STRING) {
        struct htstore_bytes bytes = { rows_keep(rows, text->data, text->size), text->size };

        memcpy(element, &bytes, sizeof bytes);
        return ROWS_OK;
    }
    switch (number_parse(dtype, text->data, text->size, element)) {
    case NUMBER_OK:
        return ROWS_OK;
    case NUMBER_RANGE:
        return ROWS_RANGE;
    case NUMBER_SYNTAX:
    default:
        return ROWS_SYNTAX;
    }
}

enum rows_result rows_normalise_key(uint32_t dtype, void *key)
{
    float single;
    double value;

    if (dtype == HTSTORE_FLOAT32) {
        memcpy(&single, key, sizeof single);
        if (isnan(single))
            return ROWS_NAN_KEY;
        single += 0.0f;
        memcpy(key, &single, sizeof single);
    } else if (dtype == HTSTORE_FLOAT64) {
        memcpy(&value, key, sizeof value);
        if (isnan(value))
            return ROWS_NAN_KEY;
        value += 0.0;
        memcpy(key, &value, sizeof value);
    }
    return ROWS_OK;
}

static bool is_too_large(const struct rows_layout *layout, const struct htstore_bytes *key,
                         const struct htstore_bytes *values)
{
    size_t size = layout->key_dtype == HTSTORE_STRING ? key->size : layout->key_size;

    if (layout->value_dtype != HTSTORE_STRING)
        return size + layout->width * layout->element_size > HTSTORE_MAX_ROW_SIZE;
    for (size_t i = 0; values != NULL && i < layout->width && size <= HTSTORE_MAX_ROW_SIZE; i++)
        size += values[i].size;
    return size > HTSTORE_MAX_ROW_SIZE;
}

enum rows_result rows_append(struct rows *rows, const struct htstore_bytes *key, const struct htstore_bytes *values,
                             size_t *at)
{
    const struct rows_layout *layout = rows->layout;
    size_t bytes = rows->bytes;
    enum rows_result result;

    *at = 0;
    if (is_too_large(layout, key, rows->keys_only ? NULL : values))
        return ROWS_TOO_LARGE;
    rows_make_room(rows);
    result = set_element(rows, layout->key_dtype, rows_key(rows, rows->n), key);
    if (result == ROWS_OK)
        result = rows_normalise_key(layout->key_dtype, rows_key(rows, rows->n));
    for (size_t i = 0; result == ROWS_OK && !rows->keys_only && i < layout->width; i++) {
        char *element = (char *)rows_value(rows, rows->n) + i * layout->element_size;

        *at = 1 + i;
        result = set_element(rows, layout->value_dtype, element, &values[i]);
    }
    if (result != ROWS_OK) {
        rows->bytes = bytes;
        return result;
    }
    rows_accept(rows);
    return ROWS_OK;
}

void rows_accept(struct rows *rows)
{
    const struct rows_layout *layout = rows->layout;

    rows->n++;
    rows->bytes += layout->key_size + (rows->keys_only ? 0 : layout->width * layout->element_size);
}

void rows_explain(struct buffer *text, const struct rows_layout *layout, enum rows_result result, size_t at,
                  const struct htstore_bytes *element)
{
    const char *dtype = dtype_name(at == 0 ? layout->key_dtype : layout->value_dtype);
    char shown[ESCAPE_SHOWN_SIZE];

    escape_show(shown, element->data, element->size);
    switch (result) {
    case ROWS_SYNTAX:
        buffer_printf(text, "%s is not %s %s", shown, dtype[0] == 'i' ? "an" : "a", dtype);
        break;
    case ROWS_RANGE:
        buffer_printf(text, "%s is out of the range of %s", shown, dtype);
        break;
    case ROWS_NAN_KEY:
        buffer_text(text, "nan cannot be a key");
        break;
    case ROWS_TOO_LARGE:
        buffer_text(text, "the row is larger than 256 MiB");
        break;
    case ROWS_OK:
    default:
        break;
    }
}

void rows_write_element(struct buffer *text, uint32_t dtype, const void *element)
{
    struct htstore_bytes bytes;

    if (dtype != HTSTORE_STRING) {
        text->size += number_print(dtype, element, buffer_reserve(text, NUMBER_TEXT_SIZE));
        return;
    }
    memcpy(&bytes, element, sizeof bytes);
    escape_bytes(text, bytes.data, bytes.size);
}

void rows_show_element(struct buffer *text, uint32_t dtype, const void *element)
{
    struct htstore_bytes bytes;
    char shown[ESCAPE_SHOWN_SIZE];

    if (dtype != HTSTORE_STRING) {
        rows_write_element(text, dtype, element);
        return;
    }
    memcpy(&bytes, element, sizeof bytes);
    buffer_text(text, escape_show(shown, bytes.data, bytes.size));
}

void rows_append_row(struct rows *rows, const struct rows *from, size_t i)
{
    const struct rows_layout *layout = rows->layout;
    size_t value_size = layout->width * layout->element_size;

    rows_make_room(rows);
    memcpy(rows_key(rows, rows->n), rows_key(from, i), layout->key_size);
    if (value_size > 0)
        memcpy(rows_value(rows, rows->n), rows_value(from, i), value_size);
    rows->n++;
}

void *rows_key(const struct rows *rows, size_t i)
{
    return rows->keys + i * rows->layout->key_size;
}

void *rows_value(const struct rows *rows, size_t i)
{
    return rows->values + i * rows->layout->width * rows->layout->element_size;
}

struct htstore_array rows_keys(const struct rows *rows)
{
    return htstore_vector(rows->layout->key_dtype, rows->keys, rows->n);
}

struct htstore_array rows_array_of_values(const struct rows_layout *layout, size_t n, void *data)
{
    struct htstore_array array = htstore_vector(layout->value_dtype, data, n);

    array.rank = 1 + layout->value_rank;
    for (uint32_t i = 0; i < layout->value_rank && i + 1 < HTSTORE_MAX_RANK; i++)
        array.shape[i + 1] = layout->value_shape[i];
    return array;
}

struct htstore_array rows_values(const struct rows *rows)
{
    return rows_array_of_values(rows->layout, rows->n, rows->values);
}

bool rows_equal(uint32_t dtype, size_t n, const void *a, const void *b)
{
    const struct htstore_bytes *left = a, *right = b;

    if (n == 0)
        return true;
    if (dtype != HTSTORE_STRING)
        return memcmp(a, b, n * htstore_dtype_size(dtype)) == 0;
    for (size_t i = 0; i < n; i++) {
        if (left[i].size != right[i].size)
            return false;
        if (left[i].size > 0 && memcmp(left[i].data, right[i].data, left[i].size) != 0)
            return false;
    }
    return true;
}
