/*
 * fuzz_block: payloads of blocks and of pieces, over any bytes. They have no checksum of their own, so that all of the input
 * reaches the decoders. The first bytes choose the type: key dtype, value dtype, number of elements u16. The rest is taken as it
 * is; behind a head that is right; and as changes of a valid payload.
 */
#include <stdlib.h>
#include <string.h>

#include "block.h"
#include "bytes.h"
#include "dtype.h"
#include "piece.h"
#include "samples.h"

#define TYPE_SIZE 4u
#define HEAD_SIZE 16u
#define MAX_SIZE ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Kept from input to input, as a restore keeps them from block to block. */
static struct hti_columns columns, again;
static struct hti_block_space space;
static struct hti_buf plain;

static void must(bool condition)
{
    if (!condition)
        abort();
}

static bool equal(const struct hti_buf *a, const struct hti_buf *b)
{
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

static void check_rows(const struct hti_row_type *type)
{
    struct hti_columns_walk walk;
    struct hti_row row;
    uint32_t n = 0;
    size_t size = 0;

    must(columns.n_rows > 0 && columns.n_rows <= HTI_BLOCK_MAX_ROWS);
    must(hti_columns_size(&columns) <= HTI_BLOCK_MAX_BYTES);
    hti_columns_walk_init(&walk, &columns);
    for (; hti_columns_walk_next(&walk, &row); n++) {
        must(hti_codec_key_is_valid(type, row.key, row.key_size));
        must(hti_codec_value_is_valid(type, row.value, row.value_size));
        must(!hti_block_is_large(&row));
        size += row.key_size + row.value_size;
    }
    must(n == columns.n_rows && size == hti_columns_size(&columns));
}

/* What was accepted is encoded in some way, and comes back. */
static void check_round_trip(const struct hti_row_type *type)
{
    plain.size = 0;
    must(hti_block_encode(&columns, &space, &plain) == 0);
    must(plain.size <= HTI_BLOCK_MAX_PLAIN);
    must(hti_block_decode(type, plain.data, plain.size, &space, &again) == 0);
    must(again.n_rows == columns.n_rows && equal(&again.keys, &columns.keys) && equal(&again.values, &columns.values));
    must(equal(&again.key_sizes, &columns.key_sizes) && equal(&again.value_sizes, &columns.value_sizes));
}

static bool try_block(const struct hti_row_type *type, const uint8_t *bytes, size_t size)
{
    const int status = hti_block_decode(type, bytes, size, &space, &columns);

    must(status == 0 || status == HTSTORE_ECORRUPT);
    must(status == 0 || (columns.n_rows == 0 && hti_columns_size(&columns) == 0));
    if (status != 0)
        return false;
    check_rows(type);
    check_round_trip(type);
    return true;
}

/* The last piece alone; its row is never complete. */
static void try_piece(const struct hti_row_type *type, const uint8_t *bytes, size_t size)
{
    struct hti_piece piece;
    const int status = hti_piece_decode(type, bytes, size, &piece);

    must(status == 0 || status == HTSTORE_ECORRUPT);
    if (status != 0)
        return;
    must(piece.bytes == bytes + HTI_PIECE_HEAD_SIZE && piece.size == size - HTI_PIECE_HEAD_SIZE);
    must((uint64_t)piece.key_size + piece.value_size <= HTSTORE_MAX_ROW_SIZE);
    must((uint64_t)piece.offset + piece.size <= (uint64_t)piece.key_size + piece.value_size);
}

/* Kind, reserved byte and what the type fixes are put right; the rest of the head stays as it came, but small. */
static void mend_head(const struct hti_row_type *type, uint8_t *bytes)
{
    const uint32_t n_rows = hti_load_le32(bytes + 4) % 1000 + 1;

    bytes[0] = HTI_BLOCK_ROWS_KIND;
    bytes[1] %= 5;
    bytes[2] %= 5;
    bytes[3] = 0;
    hti_store_le32(bytes + 4, n_rows);
    hti_store_le32(bytes + 8, type->key_size > 0 ? n_rows * type->key_size : hti_load_le32(bytes + 8) % 4096);
    hti_store_le32(bytes + 12, type->value_is_fixed ? n_rows * type->value_size : hti_load_le32(bytes + 12) % 4096);
}

static void try_mended(const struct hti_row_type *type, const uint8_t *data, size_t size)
{
    uint8_t *copy;

    if (size < HEAD_SIZE)
        return;
    copy = sample_copy(data, size);
    mend_head(type, copy);
    (void)try_block(type, copy, size);
    copy[1] = 0;
    copy[2] = type->value_is_fixed ? 0 : 3;
    (void)try_block(type, copy, size);
    free(copy);
}

/* Append a row; with `shared` string keys get a common start, so that they are front-coded. */
static void append_row(const struct hti_row *row, bool shared)
{
    uint8_t key[2048] = "a common start of all keys: ";
    const size_t start = shared && row->key_size + 28 <= sizeof key ? 28 : 0;
    struct hti_row longer = *row;

    if (columns.type.key_size == 0 && start > 0) {
        memcpy(key + start, row->key, row->key_size);
        longer.key = key;
        longer.key_size = start + row->key_size;
    }
    must(hti_columns_append(&columns, &longer) == 0);
}

/* A valid block, to see that the target is awake; then some of its bytes changed. */
static void try_sample(uint8_t choice, const uint8_t *data, size_t size)
{
    struct hti_row_type type;
    struct sample_rows rows;
    uint8_t *copy;
    size_t copy_size;

    sample_seed(choice / N_SAMPLE_TYPES);
    sample_type(choice % N_SAMPLE_TYPES, &type);
    sample_rows_make(&rows, &type, 12, choice >= 128);
    hti_columns_reset(&columns, &type);
    for (size_t i = 0; i < rows.n; i++)
        append_row(&rows.rows[i], choice / N_SAMPLE_TYPES % 2);
    plain.size = 0;
    must(hti_block_encode(&columns, &space, &plain) == 0);
    copy_size = plain.size;
    copy = sample_copy(plain.data, copy_size);
    must(type.key_size > 0 || choice / N_SAMPLE_TYPES % 2 == 0 || plain.data[1] == 4);
    must(try_block(&type, copy, copy_size));
    for (; size >= 3; data += 3, size -= 3) {
        const size_t at = hti_load_le16(data), room = at & 1 ? copy_size : 64; /* often where head and sizes are */
        copy[(at >> 1) % (room < copy_size ? room : copy_size)] ^= data[2];
    }
    (void)try_block(&type, copy, copy_size);
    free(copy);
    sample_rows_free(&rows);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hti_row_type type;
    uint32_t key_dtype;

    if (size < TYPE_SIZE || size > MAX_SIZE)
        return 0;
    key_dtype = HTSTORE_INT8 + data[0] % HTSTORE_STRING;
    if (!hti_dtype_is_key(key_dtype))
        key_dtype = HTSTORE_STRING;
    hti_row_type_init(&type, key_dtype, HTSTORE_INT8 + data[1] % HTSTORE_STRING, hti_load_le16(data + 2) % 300);
    (void)try_block(&type, data + TYPE_SIZE, size - TYPE_SIZE);
    try_piece(&type, data + TYPE_SIZE, size - TYPE_SIZE);
    try_mended(&type, data + TYPE_SIZE, size - TYPE_SIZE);
    try_sample(data[0], data + 1, size - 1 < 9 ? size - 1 : 9);
    return 0;
}
