/* buf: a growable byte buffer, and the one bounded reader through which everything from files is decoded. */
#ifndef HTI_BUF_H
#define HTI_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hti_buf {
    uint8_t *data; /* owned */
    size_t size;
    size_t capacity;
};

void hti_buf_init(struct hti_buf *buf);
void hti_buf_release(struct hti_buf *buf);
/* All return 0 or HTSTORE_ENOMEM; on failure the buffer is as before. */
int hti_buf_reserve(struct hti_buf *buf, size_t extra); /* room for `extra` more bytes; grows geometrically */
int hti_buf_append(struct hti_buf *buf, const void *data, size_t size); /* size 0 with NULL data is legal */
int hti_buf_append_u8(struct hti_buf *buf, uint8_t v);
int hti_buf_append_u16(struct hti_buf *buf, uint16_t v); /* little-endian */
int hti_buf_append_u32(struct hti_buf *buf, uint32_t v);
int hti_buf_append_u64(struct hti_buf *buf, uint64_t v);

/*
 * Bounded reader. A read past the end sets `failed` for good and yields 0 / NULL: check once at the end with
 * hti_reader_ok().
 */
struct hti_reader {
    const uint8_t *data; /* borrowed */
    size_t size;
    size_t position;
    bool failed;
};

void hti_reader_init(struct hti_reader *reader, const void *data, size_t size);
uint8_t hti_reader_u8(struct hti_reader *reader);
uint16_t hti_reader_u16(struct hti_reader *reader); /* little-endian */
uint32_t hti_reader_u32(struct hti_reader *reader);
uint64_t hti_reader_u64(struct hti_reader *reader);
const uint8_t *hti_reader_bytes(struct hti_reader *reader, size_t size); /* NULL if fewer are left */
size_t hti_reader_left(const struct hti_reader *reader);
bool hti_reader_ok(const struct hti_reader *reader);

#endif
