/* buf: hides how the buffer grows and how the reader guards its bounds. */
#include "buf.h"

#include <string.h>

#include "bytes.h"
#include "htstore.h"
#include "mem.h"

#define MIN_CAPACITY 64

void hti_buf_init(struct hti_buf *buf)
{
    *buf = (struct hti_buf){ .data = NULL };
}

void hti_buf_release(struct hti_buf *buf)
{
    hti_mem_free(buf->data);
    hti_buf_init(buf);
}

static int grow_buffer(struct hti_buf *buf, size_t extra)
{
    size_t needed;
    if (__builtin_add_overflow(buf->size, extra, &needed) || needed > PTRDIFF_MAX)
        return HTSTORE_ENOMEM;
    size_t capacity = buf->capacity + buf->capacity / 2;
    if (capacity < MIN_CAPACITY)
        capacity = MIN_CAPACITY;
    if (capacity < needed)
        capacity = needed;
    uint8_t *data = hti_mem_realloc_array(buf->data, capacity, 1);
    if (!data)
        return HTSTORE_ENOMEM;
    buf->data = data;
    buf->capacity = capacity;
    return HTSTORE_OK;
}

int hti_buf_reserve(struct hti_buf *buf, size_t extra)
{
    if (extra <= buf->capacity - buf->size)
        return HTSTORE_OK;
    return grow_buffer(buf, extra);
}

int hti_buf_append(struct hti_buf *buf, const void *data, size_t size)
{
    if (size == 0)
        return HTSTORE_OK;
    int status = hti_buf_reserve(buf, size);
    if (status != HTSTORE_OK)
        return status;
    memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    return HTSTORE_OK;
}

int hti_buf_append_u8(struct hti_buf *buf, uint8_t v)
{
    return hti_buf_append(buf, &v, sizeof v);
}

int hti_buf_append_u16(struct hti_buf *buf, uint16_t v)
{
    uint8_t bytes[sizeof v];
    hti_store_le16(bytes, v);
    return hti_buf_append(buf, bytes, sizeof bytes);
}

int hti_buf_append_u32(struct hti_buf *buf, uint32_t v)
{
    uint8_t bytes[sizeof v];
    hti_store_le32(bytes, v);
    return hti_buf_append(buf, bytes, sizeof bytes);
}

int hti_buf_append_u64(struct hti_buf *buf, uint64_t v)
{
    uint8_t bytes[sizeof v];
    hti_store_le64(bytes, v);
    return hti_buf_append(buf, bytes, sizeof bytes);
}

void hti_reader_init(struct hti_reader *reader, const void *data, size_t size)
{
    static const uint8_t nothing[1];
    *reader = (struct hti_reader){ .data = size > 0 ? data : nothing, .size = size };
}

const uint8_t *hti_reader_bytes(struct hti_reader *reader, size_t size)
{
    if (reader->failed || size > reader->size - reader->position) {
        reader->failed = true;
        return NULL;
    }
    const uint8_t *bytes = reader->data + reader->position;
    reader->position += size;
    return bytes;
}

uint8_t hti_reader_u8(struct hti_reader *reader)
{
    const uint8_t *bytes = hti_reader_bytes(reader, 1);
    return bytes ? bytes[0] : 0;
}

uint16_t hti_reader_u16(struct hti_reader *reader)
{
    const uint8_t *bytes = hti_reader_bytes(reader, 2);
    return bytes ? hti_load_le16(bytes) : 0;
}

uint32_t hti_reader_u32(struct hti_reader *reader)
{
    const uint8_t *bytes = hti_reader_bytes(reader, 4);
    return bytes ? hti_load_le32(bytes) : 0;
}

uint64_t hti_reader_u64(struct hti_reader *reader)
{
    const uint8_t *bytes = hti_reader_bytes(reader, 8);
    return bytes ? hti_load_le64(bytes) : 0;
}

size_t hti_reader_left(const struct hti_reader *reader)
{
    return reader->failed ? 0 : reader->size - reader->position;
}

bool hti_reader_ok(const struct hti_reader *reader)
{
    return !reader->failed;
}
