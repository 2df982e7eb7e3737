/* piece: hides how a large row is cut, and what pieces of one row have in common. */
#include "piece.h"

#include <assert.h>
#include <stdbool.h>

#include "bytes.h"
#include "htstore.h"

static uint32_t left_from(uint64_t total, uint64_t offset)
{
    return total - offset < HTI_PIECE_MAX_BYTES ? (uint32_t)(total - offset) : HTI_PIECE_MAX_BYTES;
}

uint32_t hti_piece_count(const struct hti_row *row)
{
    return (uint32_t)((row->key_size + row->value_size + HTI_PIECE_MAX_BYTES - 1) / HTI_PIECE_MAX_BYTES);
}

/* Bytes [offset, offset + size) of key and value together; there is room. */
static void put_part(const struct hti_row *row, size_t offset, size_t size, struct hti_buf *out)
{
    size_t of_key = 0;
    if (offset < row->key_size) {
        of_key = size < row->key_size - offset ? size : row->key_size - offset;
        (void)hti_buf_append(out, (const uint8_t *)row->key + offset, of_key);
        offset = row->key_size;
    }
    if (of_key < size)
        (void)hti_buf_append(out, (const uint8_t *)row->value + (offset - row->key_size), size - of_key);
}

int hti_piece_encode(const struct hti_row *row, uint32_t index, struct hti_buf *plain)
{
    assert(hti_block_is_large(row) && index < hti_piece_count(row));
    const size_t offset = (size_t)index * HTI_PIECE_MAX_BYTES;
    const uint32_t size = left_from(row->key_size + row->value_size, offset);
    if (hti_buf_reserve(plain, HTI_PIECE_HEAD_SIZE + size) != 0)
        return HTSTORE_ENOMEM;
    uint8_t *head = plain->data + plain->size;
    hti_store_le32(head, HTI_PIECE_KIND);
    hti_store_le32(head + 4, (uint32_t)row->key_size);
    hti_store_le32(head + 8, (uint32_t)row->value_size);
    hti_store_le32(head + 12, (uint32_t)offset);
    plain->size += HTI_PIECE_HEAD_SIZE;
    put_part(row, offset, size, plain);
    return HTSTORE_OK;
}

/* May a row of the type have these sizes, and be large? */
static bool fits(const struct hti_row_type *type, const struct hti_piece *piece)
{
    const struct hti_row sizes = { .key_size = piece->key_size, .value_size = piece->value_size };
    if ((uint64_t)piece->key_size + piece->value_size > HTSTORE_MAX_ROW_SIZE || !hti_block_is_large(&sizes))
        return false;
    if (type->key_size > 0 && piece->key_size != type->key_size)
        return false;
    return !type->value_is_fixed || piece->value_size == type->value_size;
}

int hti_piece_decode(const struct hti_row_type *type, const void *plain, size_t size, struct hti_piece *out)
{
    struct hti_reader in;
    hti_reader_init(&in, plain, size);
    const uint32_t kind = hti_reader_u32(&in);
    struct hti_piece piece = { .key_size = hti_reader_u32(&in) };
    piece.value_size = hti_reader_u32(&in);
    piece.offset = hti_reader_u32(&in);
    if (!hti_reader_ok(&in) || kind != HTI_PIECE_KIND || !fits(type, &piece))
        return HTSTORE_ECORRUPT;
    const uint64_t total = (uint64_t)piece.key_size + piece.value_size;
    if (piece.offset % HTI_PIECE_MAX_BYTES != 0 || piece.offset >= total)
        return HTSTORE_ECORRUPT;
    piece.size = left_from(total, piece.offset);
    piece.bytes = hti_reader_bytes(&in, piece.size);
    if (!piece.bytes || hti_reader_left(&in) != 0)
        return HTSTORE_ECORRUPT;
    *out = piece;
    return HTSTORE_OK;
}

void hti_piece_joint_init(struct hti_piece_joint *joint)
{
    *joint = (struct hti_piece_joint){ .key_size = 0 };
    hti_buf_init(&joint->bytes);
}

void hti_piece_joint_release(struct hti_piece_joint *joint)
{
    hti_buf_release(&joint->bytes);
}

void hti_piece_joint_begin(struct hti_piece_joint *joint)
{
    joint->bytes.size = 0;
}

static bool is_next(const struct hti_piece_joint *joint, const struct hti_piece *piece)
{
    if (piece->offset != joint->bytes.size)
        return false;
    return piece->offset == 0 || (piece->key_size == joint->key_size && piece->value_size == joint->value_size);
}

int hti_piece_joint_next(struct hti_piece_joint *joint, const struct hti_row_type *type, const struct hti_piece *piece,
                         struct hti_row *row)
{
    if (!is_next(joint, piece))
        return HTSTORE_ECORRUPT;
    if (hti_buf_append(&joint->bytes, piece->bytes, piece->size) != 0)
        return HTSTORE_ENOMEM;
    joint->key_size = piece->key_size;
    joint->value_size = piece->value_size;
    if (joint->bytes.size < (size_t)piece->key_size + piece->value_size)
        return 1;
    const uint8_t *key = joint->bytes.data, *value = key + piece->key_size;
    if (!hti_codec_key_is_valid(type, key, piece->key_size) ||
        !hti_codec_value_is_valid(type, value, piece->value_size))
        return HTSTORE_ECORRUPT;
    *row = (struct hti_row){ key, piece->key_size, value, piece->value_size };
    return HTSTORE_OK;
}
