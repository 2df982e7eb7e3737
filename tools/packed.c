/* packed: hides byte order, and how the strings of one value lie behind each other. */
#include "packed.h"

#include <inttypes.h>
#include <string.h>

/* Elements in memory are little-endian: the library runs on no other machine. */

static size_t load_size(const unsigned char *bytes)
{
    return (size_t)bytes[0] | (size_t)bytes[1] << 8 | (size_t)bytes[2] << 16 | (size_t)bytes[3] << 24;
}

static void append_size(struct buffer *bytes, size_t size)
{
    for (int i = 0; i < 4; i++)
        buffer_add(bytes, (char)(size >> 8 * i));
}

bool packed_has_sizes(const struct rows_layout *layout)
{
    return layout->value_dtype == HTSTORE_STRING && layout->value_rank > 0;
}

void packed_append(struct buffer *bytes, uint32_t dtype, size_t n, const void *elements, bool sizes)
{
    const struct htstore_bytes *strings = elements;

    if (dtype != HTSTORE_STRING) {
        buffer_append(bytes, elements, n * htstore_dtype_size(dtype));
        return;
    }
    for (size_t i = 0; sizes && i < n; i++)
        append_size(bytes, strings[i].size);
    for (size_t i = 0; i < n; i++)
        buffer_append(bytes, strings[i].data, strings[i].size);
}

static const char *dtype_text(uint32_t dtype)
{
    const char *name = htstore_dtype_name(dtype);

    return name != NULL ? name : "unknown";
}

static void copy_elements(char *to, const struct htstore_bytes *from, size_t element_size, bool big_endian)
{
    const char *bytes = from->data;

    if (from->size > 0 && !big_endian)
        memcpy(to, bytes, from->size);
    for (size_t i = 0; big_endian && i < from->size; i++)
        to[i] = bytes[i - i % element_size + element_size - 1 - i % element_size];
}

/* A bool is a byte 0 or 1. */
static int check_bools(uint32_t dtype, const struct htstore_bytes *bytes, const char *what, struct buffer *reason)
{
    const unsigned char *byte = bytes->data;

    for (size_t i = 0; dtype == HTSTORE_BOOL && i < bytes->size; i++) {
        if (byte[i] > 1) {
            buffer_printf(reason, "the %s has the byte %u, which is no bool", what, byte[i]);
            return -1;
        }
    }
    return 0;
}

static bool is_signed(uint32_t dtype)
{
    return dtype >= HTSTORE_INT8 && dtype <= HTSTORE_INT64;
}

/* An unsigned number of 4 or 8 bytes, as LMDB has them, for an integer key of the same size. */
static int check_integer_key(const struct rows_layout *layout, const char *key, struct buffer *reason)
{
    uint32_t dtype = layout->key_dtype;

    if ((!is_signed(dtype) && (dtype < HTSTORE_UINT8 || dtype > HTSTORE_UINT64)) || layout->key_size < 4) {
        buffer_printf(reason, "integerkey=1: the keys are unsigned numbers of 4 or 8 bytes, not %s", dtype_text(dtype));
        return -1;
    }
    if (is_signed(dtype) && (key[layout->key_size - 1] & 0x80) != 0) {
        buffer_printf(reason, "integerkey=1: the unsigned key is out of the range of %s", dtype_text(dtype));
        return -1;
    }
    return 0;
}

static int read_key(struct rows *rows, const struct packed_order *order, const struct htstore_bytes *key,
                    struct buffer *reason)
{
    const struct rows_layout *layout = rows->layout;
    char *element = rows_key(rows, rows->n);

    if (layout->key_dtype == HTSTORE_STRING) {
        struct htstore_bytes bytes = { rows_keep(rows, key->data, key->size), key->size };

        memcpy(element, &bytes, sizeof bytes);
        return 0;
    }
    if (key->size != layout->key_size) {
        buffer_printf(reason, "the key has %zu bytes, %s has %zu", key->size, dtype_text(layout->key_dtype),
                      layout->key_size);
        return -1;
    }
    if (check_bools(layout->key_dtype, key, "key", reason) != 0)
        return -1;
    copy_elements(element, key, layout->key_size, order->big_endian);
    if (rows_normalise_key(layout->key_dtype, element) != ROWS_OK) {
        buffer_text(reason, "nan cannot be a key");
        return -1;
    }
    return order->integer_keys ? check_integer_key(layout, element, reason) : 0;
}

/* The sizes of all strings, then their bytes, without a rest. */
static int read_strings(struct rows *rows, const struct htstore_bytes *value, struct buffer *reason)
{
    const struct rows_layout *layout = rows->layout;
    const unsigned char *sizes = value->data;
    char *elements = rows_value(rows, rows->n);
    size_t rest, at = 4 * layout->width;

    if (value->size / 4 < layout->width) {
        buffer_printf(reason, "the value has %zu bytes, the sizes of %zu strings have %zu", value->size, layout->width,
                      4 * layout->width);
        return -1;
    }
    rest = value->size - at;
    for (size_t i = 0; i < layout->width; i++) {
        struct htstore_bytes bytes = { NULL, load_size(sizes + 4 * i) };

        if (bytes.size > rest) {
            buffer_printf(reason, "string %zu of the value has %zu bytes, %zu are left", i, bytes.size, rest);
            return -1;
        }
        bytes.data = rows_keep(rows, sizes + at, bytes.size);
        memcpy(elements + i * sizeof bytes, &bytes, sizeof bytes);
        at += bytes.size;
        rest -= bytes.size;
    }
    if (rest > 0)
        buffer_printf(reason, "%zu bytes are left behind the last string of the value", rest);
    return rest > 0 ? -1 : 0;
}

static int read_value(struct rows *rows, const struct packed_order *order, const struct htstore_bytes *value,
                      struct buffer *reason)
{
    const struct rows_layout *layout = rows->layout;
    size_t size = layout->width * layout->element_size;

    if (packed_has_sizes(layout))
        return read_strings(rows, value, reason);
    if (layout->value_dtype == HTSTORE_STRING) {
        struct htstore_bytes bytes = { rows_keep(rows, value->data, value->size), value->size };

        memcpy(rows_value(rows, rows->n), &bytes, sizeof bytes);
        return 0;
    }
    if (value->size != size) {
        buffer_printf(reason, "the value has %zu bytes, %zu of %s have %zu", value->size, layout->width,
                      dtype_text(layout->value_dtype), size);
        return -1;
    }
    if (check_bools(layout->value_dtype, value, "value", reason) != 0)
        return -1;
    copy_elements(rows_value(rows, rows->n), value, layout->element_size, order->big_endian);
    return 0;
}

int packed_read(struct rows *rows, const struct packed_order *order, const struct htstore_bytes *key,
                const struct htstore_bytes *value, struct buffer *reason)
{
    size_t bytes = rows->bytes;

    if (key->size + value->size > HTSTORE_MAX_ROW_SIZE) {
        buffer_text(reason, "the row is larger than 256 MiB");
        return -1;
    }
    rows_make_room(rows);
    if (read_key(rows, order, key, reason) != 0 || read_value(rows, order, value, reason) != 0) {
        rows->bytes = bytes;
        return -1;
    }
    rows_accept(rows);
    return 0;
}
