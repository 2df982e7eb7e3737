/* samples: hides how random rows are made and packed. */
#include "samples.h"

#include <stdlib.h>
#include <string.h>

#include "dtype.h"

#define MAX_SHORT_STRING 24
#define LONG_STRING 700

static uint64_t state = 1;

void sample_seed(uint64_t seed)
{
    state = seed;
}

/* SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators). */
uint64_t sample_random(void)
{
    uint64_t x = state += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

size_t sample_below(size_t limit)
{
    return (size_t)(sample_random() % limit);
}

static void *allocate(size_t size)
{
    void *memory = calloc(1, size > 0 ? size : 1);
    if (!memory)
        abort();
    return memory;
}

uint8_t *sample_copy(const void *data, size_t size)
{
    uint8_t *copy = allocate(size);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

void sample_type(unsigned which, struct hti_row_type *type)
{
    static const struct {
        uint32_t key, value;
        uint64_t n_elements;
    } types[N_SAMPLE_TYPES] = {
        { HTSTORE_INT64, HTSTORE_INT64, 1 },     { HTSTORE_INT32, HTSTORE_FLOAT32, 3 },
        { HTSTORE_BOOL, HTSTORE_BOOL, 1 },       { HTSTORE_FLOAT64, HTSTORE_STRING, 1 },
        { HTSTORE_STRING, HTSTORE_INT64, 1 },    { HTSTORE_STRING, HTSTORE_STRING, 2 },
        { HTSTORE_UINT16, HTSTORE_INT64, 40 },   { HTSTORE_UINT8, HTSTORE_INT8, 0 },
        { HTSTORE_STRING, HTSTORE_STRING, 0 },   { HTSTORE_INT64, HTSTORE_UINT8, 56 },
        { HTSTORE_INT64, HTSTORE_UINT8, 57 },    { HTSTORE_FLOAT32, HTSTORE_FLOAT16, 1 },
        { HTSTORE_UINT32, HTSTORE_BFLOAT16, 5 }, { HTSTORE_INT16, HTSTORE_UINT32, 2 },
        { HTSTORE_INT8, HTSTORE_FLOAT64, 1 },    { HTSTORE_UINT64, HTSTORE_STRING, 3 },
    };
    hti_row_type_init(type, types[which].key, types[which].value, types[which].n_elements);
}

static struct htstore_bytes make_string(size_t size)
{
    struct htstore_bytes string = { .data = NULL, .size = size };
    uint8_t *bytes;

    if (size == 0 && sample_below(2) == 0)
        return string;
    bytes = allocate(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = sample_below(4) == 0 ? 0 : (uint8_t)sample_random();
    string.data = bytes;
    return string;
}

static void make_element(uint32_t dtype, bool as_key, size_t string_size, void *out)
{
    const size_t size = htstore_dtype_size(dtype);
    uint8_t bytes[8];

    if (dtype == HTSTORE_STRING) {
        const struct htstore_bytes string = make_string(string_size);
        memcpy(out, &string, sizeof string);
        return;
    }
    do {
        const uint64_t bits = dtype == HTSTORE_BOOL ? sample_below(2) : sample_random();
        memcpy(bytes, &bits, sizeof bytes);
        if (dtype == HTSTORE_BOOL)
            bytes[0] = (uint8_t)bits;
    } while (hti_dtype_check_elements(dtype, bytes, 1, 1, as_key, "", NULL) != 0);
    memcpy(out, bytes, size);
}

static void pack_row(struct sample_rows *rows, size_t i)
{
    const struct hti_row_type *type = &rows->type;
    const uint8_t *key = (const uint8_t *)rows->keys + i * htstore_dtype_size(type->key_dtype);
    const uint8_t *value =
        (const uint8_t *)rows->values + i * (size_t)type->n_elements * htstore_dtype_size(type->value_dtype);
    struct hti_row *row = &rows->rows[i];
    uint8_t *packed;

    if (type->key_size == 0) {
        struct htstore_bytes string;
        memcpy(&string, key, sizeof string);
        row->key = sample_copy(string.data, string.size);
        row->key_size = string.size;
    } else {
        packed = allocate(type->key_size);
        hti_codec_pack_key(type, key, packed);
        row->key = packed;
        row->key_size = type->key_size;
    }
    row->value_size = hti_codec_value_size(type, value);
    packed = allocate(row->value_size);
    if (row->value_size > 0)
        hti_codec_pack_value(type, value, packed);
    row->value = packed;
}

void sample_rows_make(struct sample_rows *rows, const struct hti_row_type *type, size_t n, bool long_keys)
{
    const size_t key_size = htstore_dtype_size(type->key_dtype), value_size = htstore_dtype_size(type->value_dtype);
    const size_t n_elements = n * (size_t)type->n_elements;

    rows->type = *type;
    rows->n = n;
    rows->keys = allocate(n * key_size);
    rows->values = allocate(n_elements * value_size);
    rows->rows = allocate(n * sizeof *rows->rows);
    for (size_t i = 0; i < n; i++) {
        const bool is_long = long_keys && sample_below(4) == 0;
        const size_t size =
            is_long ? HTI_SHORT_KEY_MAX + 1 + sample_below(LONG_STRING) : sample_below(MAX_SHORT_STRING);
        make_element(type->key_dtype, true, size, (uint8_t *)rows->keys + i * key_size);
    }
    for (size_t i = 0; i < n_elements; i++)
        make_element(type->value_dtype, false, sample_below(MAX_SHORT_STRING),
                     (uint8_t *)rows->values + i * value_size);
    for (size_t i = 0; i < n; i++)
        pack_row(rows, i);
}

static void free_strings(uint32_t dtype, void *elements, size_t n)
{
    const struct htstore_bytes *strings = elements;

    for (size_t i = 0; dtype == HTSTORE_STRING && i < n; i++)
        free((void *)(uintptr_t)strings[i].data);
    free(elements);
}

void sample_rows_free(struct sample_rows *rows)
{
    for (size_t i = 0; i < rows->n; i++) {
        free((void *)(uintptr_t)rows->rows[i].key);
        free((void *)(uintptr_t)rows->rows[i].value);
    }
    free(rows->rows);
    free_strings(rows->type.key_dtype, rows->keys, rows->n);
    free_strings(rows->type.value_dtype, rows->values, rows->n * (size_t)rows->type.n_elements);
    memset(rows, 0, sizeof *rows);
}
