/* columns: hides how rows are spread over the columns. */
#include "columns.h"

#include <assert.h>
#include <string.h>

#include "bytes.h"
#include "htstore.h"

#define SIZE_SIZE 4u

void hti_columns_init(struct hti_columns *columns)
{
    memset(columns, 0, sizeof *columns);
    hti_buf_init(&columns->keys);
    hti_buf_init(&columns->key_sizes);
    hti_buf_init(&columns->values);
    hti_buf_init(&columns->value_sizes);
}

void hti_columns_release(struct hti_columns *columns)
{
    hti_buf_release(&columns->keys);
    hti_buf_release(&columns->key_sizes);
    hti_buf_release(&columns->values);
    hti_buf_release(&columns->value_sizes);
    columns->n_rows = 0;
}

void hti_columns_reset(struct hti_columns *columns, const struct hti_row_type *type)
{
    columns->type = *type;
    columns->n_rows = 0;
    columns->keys.size = 0;
    columns->key_sizes.size = 0;
    columns->values.size = 0;
    columns->value_sizes.size = 0;
}

/* Calls hti_buf_reserve() only if it has something to do: this is once a row. */
static inline bool make_room(struct hti_buf *buf, size_t size)
{
    return size <= buf->capacity - buf->size || hti_buf_reserve(buf, size) == 0;
}

/* Behind what the buffer holds, where room is reserved. */
static inline void put_bytes(struct hti_buf *buf, const void *data, size_t size)
{
    if (size == 8) /* the usual sizes without a call of memcpy */
        memcpy(buf->data + buf->size, data, 8);
    else if (size == 4)
        memcpy(buf->data + buf->size, data, 4);
    else if (size > 0)
        memcpy(buf->data + buf->size, data, size);
    buf->size += size;
}

static void put_size(struct hti_buf *buf, size_t size)
{
    hti_store_le32(buf->data + buf->size, (uint32_t)size);
    buf->size += SIZE_SIZE;
}

int hti_columns_append(struct hti_columns *columns, const struct hti_row *row)
{
    const bool key_varies = columns->type.key_size == 0, value_varies = !columns->type.value_is_fixed;
    assert(key_varies || row->key_size == columns->type.key_size);
    assert(value_varies || row->value_size == columns->type.value_size);
    if (!make_room(&columns->keys, row->key_size) || !make_room(&columns->values, row->value_size))
        return HTSTORE_ENOMEM;
    if (key_varies && !make_room(&columns->key_sizes, SIZE_SIZE))
        return HTSTORE_ENOMEM;
    if (value_varies && !make_room(&columns->value_sizes, SIZE_SIZE))
        return HTSTORE_ENOMEM;
    put_bytes(&columns->keys, row->key, row->key_size);
    if (key_varies)
        put_size(&columns->key_sizes, row->key_size);
    put_bytes(&columns->values, row->value, row->value_size);
    if (value_varies)
        put_size(&columns->value_sizes, row->value_size);
    columns->n_rows++;
    return HTSTORE_OK;
}

size_t hti_columns_size(const struct hti_columns *columns)
{
    return columns->keys.size + columns->values.size;
}

void hti_columns_walk_init(struct hti_columns_walk *walk, const struct hti_columns *columns)
{
    static const uint8_t nothing[1];
    *walk = (struct hti_columns_walk){
        .columns = columns,
        .key = columns->keys.data ? columns->keys.data : nothing,
        .value = columns->values.data ? columns->values.data : nothing,
    };
}

static size_t size_at(const struct hti_buf *sizes, uint32_t index)
{
    return hti_load_le32(sizes->data + (size_t)index * SIZE_SIZE);
}

bool hti_columns_walk_next(struct hti_columns_walk *walk, struct hti_row *row)
{
    const struct hti_columns *columns = walk->columns;
    const struct hti_row_type *type = &columns->type;
    if (walk->index == columns->n_rows)
        return false;
    row->key = walk->key;
    row->key_size = type->key_size > 0 ? type->key_size : size_at(&columns->key_sizes, walk->index);
    row->value = walk->value;
    row->value_size = type->value_is_fixed ? type->value_size : size_at(&columns->value_sizes, walk->index);
    walk->key += row->key_size;
    walk->value += row->value_size;
    walk->index++;
    return true;
}
