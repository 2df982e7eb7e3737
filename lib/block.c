/* block: hides how keys and values are laid out in a payload, and how strings are coded. */
#include "block.h"

#include <assert.h>
#include <string.h>

#include "bytes.h"
#include "dtype.h"
#include "htstore.h"
#include "planes.h"

#define HEAD_SIZE 16u
#define SIZE_SIZE 4u

void hti_block_space_init(struct hti_block_space *space)
{
    hti_buf_init(&space->sizes);
    hti_buf_init(&space->other_sizes);
}

void hti_block_space_release(struct hti_block_space *space)
{
    hti_buf_release(&space->sizes);
    hti_buf_release(&space->other_sizes);
}

bool hti_block_is_large(const struct hti_row *row)
{
    return row->key_size > HTI_BLOCK_LARGE || row->value_size > HTI_BLOCK_LARGE - row->key_size;
}

bool hti_block_has_room(const struct hti_columns *columns, const struct hti_row *row)
{
    return columns->n_rows < HTI_BLOCK_MAX_ROWS &&
           row->key_size + row->value_size <= HTI_BLOCK_MAX_BYTES - hti_columns_size(columns);
}

static size_t size_at(const struct hti_buf *sizes, size_t index)
{
    return hti_load_le32(sizes->data + index * SIZE_SIZE);
}

static void put_size(struct hti_buf *sizes, size_t size)
{
    hti_store_le32(sizes->data + sizes->size, (uint32_t)size);
    sizes->size += SIZE_SIZE;
}

/* --- encode --- */

/* How many bytes two strings share at their start. */
static size_t count_shared(const uint8_t *a, const uint8_t *b, size_t size)
{
    size_t n = 0;
    for (; size - n >= 8; n += 8) {
        const uint64_t difference = hti_load_le64(a + n) ^ hti_load_le64(b + n);
        if (difference != 0)
            return n + (size_t)__builtin_ctzll(difference) / 8;
    }
    while (n < size && a[n] == b[n])
        n++;
    return n;
}

/* Fill `shared` and `rest` with sizes; returns the sum of what is shared. */
static size_t compare_keys(const struct hti_columns *columns, struct hti_buf *shared, struct hti_buf *rest)
{
    const uint8_t *key = columns->keys.data, *before = key;
    size_t before_size = 0, sum = 0;
    for (uint32_t i = 0; i < columns->n_rows; i++) {
        const size_t size = size_at(&columns->key_sizes, i);
        const size_t n = count_shared(before, key, size < before_size ? size : before_size);
        put_size(shared, n);
        put_size(rest, size - n);
        sum += n;
        before = key;
        before_size = size;
        key += size;
    }
    return sum;
}

static int encode_front(const struct hti_columns *columns, const struct hti_block_space *space, struct hti_buf *plain)
{
    const uint32_t n = columns->n_rows;
    int status = hti_planes_encode(HTI_CODING_PLANES, space->sizes.data, n, SIZE_SIZE, plain);
    if (status == 0)
        status = hti_planes_encode(HTI_CODING_PLANES, space->other_sizes.data, n, SIZE_SIZE, plain);
    if (status == 0)
        status = hti_buf_reserve(plain, columns->keys.size);
    if (status != 0)
        return status;
    const uint8_t *key = columns->keys.data;
    for (uint32_t i = 0; i < n; i++) {
        const size_t shared = size_at(&space->sizes, i), rest = size_at(&space->other_sizes, i);
        (void)hti_buf_append(plain, key + shared, rest); /* there is room */
        key += shared + rest;
    }
    return HTSTORE_OK;
}

/* Front coding costs a size for each key: worth it from about two shared bytes on. */
static int encode_string_keys(const struct hti_columns *columns, struct hti_block_space *space, struct hti_buf *plain,
                              enum hti_coding *coding)
{
    const size_t sizes_size = (size_t)columns->n_rows * SIZE_SIZE;
    space->sizes.size = 0;
    space->other_sizes.size = 0;
    if (hti_buf_reserve(&space->sizes, sizes_size) != 0 || hti_buf_reserve(&space->other_sizes, sizes_size) != 0)
        return HTSTORE_ENOMEM;
    if (columns->keys.size > 0 && compare_keys(columns, &space->sizes, &space->other_sizes) / 2 >= columns->n_rows) {
        *coding = HTI_CODING_FRONT;
        return encode_front(columns, space, plain);
    }
    *coding = HTI_CODING_STRINGS;
    int status = hti_planes_encode(HTI_CODING_PLANES, columns->key_sizes.data, columns->n_rows, SIZE_SIZE, plain);
    return status != 0 ? status : hti_buf_append(plain, columns->keys.data, columns->keys.size);
}

/* Packed values are sizes, then bytes: sizes of all values come first here. */
static int encode_string_values(const struct hti_columns *columns, struct hti_block_space *space, struct hti_buf *plain)
{
    const size_t sizes_size = (size_t)columns->type.n_elements * SIZE_SIZE;
    const size_t all_sizes = sizes_size * columns->n_rows;
    const uint8_t *value = columns->values.data;
    if (all_sizes == 0)
        return HTSTORE_OK;
    space->sizes.size = 0;
    if (hti_buf_reserve(&space->sizes, all_sizes) != 0)
        return HTSTORE_ENOMEM;
    for (uint32_t i = 0; i < columns->n_rows; i++) {
        (void)hti_buf_append(&space->sizes, value, sizes_size); /* there is room */
        value += size_at(&columns->value_sizes, i);
    }
    int status = hti_planes_encode(HTI_CODING_PLANES, space->sizes.data, all_sizes / SIZE_SIZE, SIZE_SIZE, plain);
    if (status != 0 || hti_buf_reserve(plain, columns->values.size - all_sizes) != 0)
        return HTSTORE_ENOMEM;
    value = columns->values.data;
    for (uint32_t i = 0; i < columns->n_rows; i++) {
        const size_t size = size_at(&columns->value_sizes, i);
        (void)hti_buf_append(plain, value + sizes_size, size - sizes_size);
        value += size;
    }
    return HTSTORE_OK;
}

static int encode_fixed(const struct hti_buf *column, unsigned width, struct hti_buf *plain, enum hti_coding *coding)
{
    const size_t n = column->size / width;
    *coding = hti_planes_choose(column->data, n, width);
    return hti_planes_encode(*coding, column->data, n, width, plain);
}

static int encode_keys(const struct hti_columns *columns, struct hti_block_space *space, struct hti_buf *plain,
                       enum hti_coding *coding)
{
    if (columns->type.key_size == 0)
        return encode_string_keys(columns, space, plain, coding);
    return encode_fixed(&columns->keys, columns->type.key_size, plain, coding);
}

static int encode_values(const struct hti_columns *columns, struct hti_block_space *space, struct hti_buf *plain,
                         enum hti_coding *coding)
{
    if (columns->type.value_is_fixed)
        return encode_fixed(&columns->values, (unsigned)hti_dtype_packed_size(columns->type.value_dtype), plain,
                            coding);
    *coding = HTI_CODING_STRINGS;
    return encode_string_values(columns, space, plain);
}

int hti_block_encode(const struct hti_columns *columns, struct hti_block_space *space, struct hti_buf *plain)
{
    assert(columns->n_rows > 0 && columns->n_rows <= HTI_BLOCK_MAX_ROWS);
    assert(hti_columns_size(columns) <= HTI_BLOCK_MAX_BYTES);
    const size_t start = plain->size;
    enum hti_coding key_coding, value_coding;
    if (hti_buf_reserve(plain, HEAD_SIZE + hti_columns_size(columns)) != 0)
        return HTSTORE_ENOMEM;
    plain->size += HEAD_SIZE;
    int status = encode_keys(columns, space, plain, &key_coding);
    if (status == 0)
        status = encode_values(columns, space, plain, &value_coding);
    if (status != 0) {
        plain->size = start;
        return status;
    }
    uint8_t *head = plain->data + start;
    head[0] = HTI_BLOCK_ROWS_KIND;
    head[1] = (uint8_t)key_coding;
    head[2] = (uint8_t)value_coding;
    head[3] = 0;
    hti_store_le32(head + 4, columns->n_rows);
    hti_store_le32(head + 8, (uint32_t)columns->keys.size);
    hti_store_le32(head + 12, (uint32_t)columns->values.size);
    return HTSTORE_OK;
}

/* --- decode --- */

struct head {
    unsigned key_coding, value_coding;
    uint32_t n_rows, keys_size, values_size;
};

static bool fits_fixed(uint32_t width, uint32_t n_rows, uint32_t size)
{
    return (uint64_t)width * n_rows == size;
}

static bool read_head(const struct hti_row_type *type, struct hti_reader *in, struct head *head)
{
    const unsigned kind = hti_reader_u8(in);
    head->key_coding = hti_reader_u8(in);
    head->value_coding = hti_reader_u8(in);
    const unsigned reserved = hti_reader_u8(in);
    head->n_rows = hti_reader_u32(in);
    head->keys_size = hti_reader_u32(in);
    head->values_size = hti_reader_u32(in);
    if (!hti_reader_ok(in) || kind != HTI_BLOCK_ROWS_KIND || reserved != 0)
        return false;
    if (head->n_rows == 0 || head->n_rows > HTI_BLOCK_MAX_ROWS)
        return false;
    if (head->keys_size > HTI_BLOCK_MAX_BYTES || head->values_size > HTI_BLOCK_MAX_BYTES - head->keys_size)
        return false;
    if (type->key_size > 0 && !fits_fixed(type->key_size, head->n_rows, head->keys_size))
        return false;
    return !type->value_is_fixed || fits_fixed(type->value_size, head->n_rows, head->values_size);
}

/* Room for `size` bytes, which are there from now on. None have an address too, from which to count. */
static int set_size(struct hti_buf *buf, size_t size)
{
    buf->size = 0;
    if (hti_buf_reserve(buf, size > 0 ? size : 1) != 0)
        return HTSTORE_ENOMEM;
    buf->size = size;
    return HTSTORE_OK;
}

static int decode_fixed(unsigned coding, struct hti_reader *in, size_t size, unsigned width, struct hti_buf *column)
{
    if (set_size(column, size) != 0)
        return HTSTORE_ENOMEM;
    return hti_planes_decode(coding, in, size / width, width, column->data);
}

static int decode_sizes(struct hti_reader *in, size_t n, struct hti_buf *sizes)
{
    if (set_size(sizes, n * SIZE_SIZE) != 0)
        return HTSTORE_ENOMEM;
    return n > 0 ? hti_planes_decode(HTI_CODING_PLANES, in, n, SIZE_SIZE, sizes->data) : HTSTORE_OK;
}

static uint64_t sum_sizes(const struct hti_buf *sizes)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < sizes->size / SIZE_SIZE; i++)
        sum += size_at(sizes, i);
    return sum;
}

static void copy_bytes(uint8_t *out, const uint8_t *in, size_t size)
{
    if (size > 0)
        memcpy(out, in, size);
}

/* Put the keys together; on entry the columns hold the sizes of the rests, whose bytes follow in the payload. */
static int join_front(struct hti_reader *in, const struct hti_buf *shared_sizes, size_t keys_size,
                      struct hti_columns *columns)
{
    const uint64_t rests_size = sum_sizes(&columns->key_sizes);
    const uint8_t *rest = rests_size <= keys_size ? hti_reader_bytes(in, (size_t)rests_size) : NULL;
    if (!rest || set_size(&columns->keys, keys_size) != 0)
        return rest ? HTSTORE_ENOMEM : HTSTORE_ECORRUPT;
    uint8_t *key = columns->keys.data;
    size_t left = keys_size, before_size = 0;
    for (uint32_t i = 0; i < columns->n_rows; i++) {
        const size_t shared = size_at(shared_sizes, i), rest_size = size_at(&columns->key_sizes, i);
        if (shared > before_size || shared > left || rest_size > left - shared)
            return HTSTORE_ECORRUPT;
        copy_bytes(key, key - before_size, shared);
        copy_bytes(key + shared, rest, rest_size);
        rest += rest_size;
        before_size = shared + rest_size;
        left -= before_size;
        key += before_size;
        hti_store_le32(columns->key_sizes.data + (size_t)i * SIZE_SIZE, (uint32_t)before_size);
    }
    return left == 0 ? HTSTORE_OK : HTSTORE_ECORRUPT;
}

static int decode_string_keys(const struct head *head, struct hti_reader *in, struct hti_block_space *space,
                              struct hti_columns *columns)
{
    int status = HTSTORE_OK;
    if (head->key_coding == HTI_CODING_FRONT)
        status = decode_sizes(in, head->n_rows, &space->sizes);
    else if (head->key_coding != HTI_CODING_STRINGS)
        return HTSTORE_ECORRUPT;
    if (status == 0)
        status = decode_sizes(in, head->n_rows, &columns->key_sizes);
    if (status != 0)
        return status;
    if (head->key_coding == HTI_CODING_FRONT)
        return join_front(in, &space->sizes, head->keys_size, columns);
    if (sum_sizes(&columns->key_sizes) != head->keys_size)
        return HTSTORE_ECORRUPT;
    const uint8_t *bytes = hti_reader_bytes(in, head->keys_size);
    return bytes ? hti_buf_append(&columns->keys, bytes, head->keys_size) : HTSTORE_ECORRUPT;
}

/* Values from the sizes of all strings and their bytes, which add up. */
static void join_values(const uint8_t *sizes, const uint8_t *bytes, struct hti_columns *columns)
{
    const size_t n_elements = (size_t)columns->type.n_elements;
    uint8_t *value = columns->values.data;
    for (uint32_t i = 0; i < columns->n_rows; i++) {
        size_t size = 0;
        for (size_t k = 0; k < n_elements; k++)
            size += hti_load_le32(sizes + k * SIZE_SIZE);
        copy_bytes(value, sizes, n_elements * SIZE_SIZE);
        copy_bytes(value + n_elements * SIZE_SIZE, bytes, size);
        sizes += n_elements * SIZE_SIZE;
        bytes += size;
        size += n_elements * SIZE_SIZE;
        value += size;
        hti_store_le32(columns->value_sizes.data + (size_t)i * SIZE_SIZE, (uint32_t)size);
    }
}

static int decode_string_values(const struct head *head, struct hti_reader *in, struct hti_block_space *space,
                                struct hti_columns *columns)
{
    uint64_t all_sizes; /* bytes of the sizes of all strings */
    if (head->value_coding != HTI_CODING_STRINGS ||
        __builtin_mul_overflow(columns->type.n_elements, (uint64_t)head->n_rows * SIZE_SIZE, &all_sizes) ||
        all_sizes > head->values_size)
        return HTSTORE_ECORRUPT;
    int status = decode_sizes(in, (size_t)all_sizes / SIZE_SIZE, &space->sizes);
    if (status != 0)
        return status;
    const size_t bytes_size = head->values_size - (size_t)all_sizes;
    if (sum_sizes(&space->sizes) != bytes_size)
        return HTSTORE_ECORRUPT;
    const uint8_t *bytes = hti_reader_bytes(in, bytes_size);
    if (!bytes)
        return HTSTORE_ECORRUPT;
    if (set_size(&columns->values, head->values_size) != 0 ||
        set_size(&columns->value_sizes, (size_t)head->n_rows * SIZE_SIZE) != 0)
        return HTSTORE_ENOMEM;
    join_values(space->sizes.data, bytes, columns);
    return HTSTORE_OK;
}

static int decode_keys(const struct head *head, struct hti_reader *in, struct hti_block_space *space,
                       struct hti_columns *columns)
{
    if (columns->type.key_size == 0)
        return decode_string_keys(head, in, space, columns);
    return decode_fixed(head->key_coding, in, head->keys_size, columns->type.key_size, &columns->keys);
}

static int decode_values(const struct head *head, struct hti_reader *in, struct hti_block_space *space,
                         struct hti_columns *columns)
{
    if (!columns->type.value_is_fixed)
        return decode_string_values(head, in, space, columns);
    return decode_fixed(head->value_coding, in, head->values_size,
                        (unsigned)hti_dtype_packed_size(columns->type.value_dtype), &columns->values);
}

/* Sizes are right by now: is every key canonical, every bool 0 or 1, no row large? */
static bool are_valid(const struct hti_columns *columns)
{
    const struct hti_row_type *type = &columns->type;
    const uint32_t dtype = type->key_dtype;
    if (dtype == HTSTORE_BOOL || dtype == HTSTORE_FLOAT32 || dtype == HTSTORE_FLOAT64)
        for (uint32_t i = 0; i < columns->n_rows; i++)
            if (!hti_codec_key_is_valid(type, columns->keys.data + (size_t)i * type->key_size, type->key_size))
                return false;
    if (type->value_dtype == HTSTORE_BOOL) {
        struct hti_row_type all = *type; /* the whole column as one value */
        all.value_size = (uint32_t)columns->values.size;
        if (!hti_codec_value_is_valid(&all, columns->values.data, columns->values.size))
            return false;
    }
    for (uint32_t i = 0; i < columns->n_rows; i++) {
        const struct hti_row sizes = {
            .key_size = type->key_size > 0 ? type->key_size : size_at(&columns->key_sizes, i),
            .value_size = type->value_is_fixed ? type->value_size : size_at(&columns->value_sizes, i),
        };
        if (hti_block_is_large(&sizes))
            return false;
        if (type->key_size > 0 && type->value_is_fixed)
            break; /* all are alike */
    }
    return true;
}

int hti_block_decode(const struct hti_row_type *type, const void *plain, size_t size, struct hti_block_space *space,
                     struct hti_columns *columns)
{
    struct hti_reader in;
    struct head head;
    hti_columns_reset(columns, type);
    hti_reader_init(&in, plain, size);
    if (!read_head(type, &in, &head))
        return HTSTORE_ECORRUPT;
    columns->n_rows = head.n_rows;
    int status = decode_keys(&head, &in, space, columns);
    if (status == 0)
        status = decode_values(&head, &in, space, columns);
    if (status == 0 && (hti_reader_left(&in) != 0 || !are_valid(columns)))
        status = HTSTORE_ECORRUPT;
    if (status != 0)
        hti_columns_reset(columns, type);
    return status;
}
