/* api_array: hides how arrays of every dtype are parsed, printed and made by number. */
#include "api_array.h"

#include <check.h>
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

struct block {
    struct block *next;
    max_align_t memory[];
};

static struct block *blocks;

void *api_alloc(size_t size)
{
    struct block *block = calloc(1, sizeof *block + size);
    ck_assert_ptr_nonnull(block);
    block->next = blocks;
    blocks = block;
    return block->memory;
}

void api_forget(void)
{
    while (blocks) {
        struct block *next = blocks->next;
        free(blocks);
        blocks = next;
    }
}

static char *keep_text(char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = api_alloc(size);
    memcpy(copy, text, size);
    free(text);
    return copy;
}

/* ---- text to array ---- */

struct parser {
    const char *at;
    uint32_t dtype;
    int64_t shape[HTSTORE_MAX_RANK];
    uint32_t rank;
    uint8_t *elements;
    size_t n;
};

static void skip_blanks(struct parser *p)
{
    while (isspace((unsigned char)*p->at))
        p->at++;
}

static bool at_delimiter(const char *at)
{
    return !*at || *at == '[' || *at == ']' || isspace((unsigned char)*at);
}

static struct htstore_bytes parse_bytes(struct parser *p)
{
    char *bytes = api_alloc(strlen(p->at) + 1);
    size_t size = 0;
    while (!at_delimiter(p->at)) {
        char c = *p->at++;
        if (c != '\\') {
            bytes[size++] = c;
            continue;
        }
        c = *p->at++;
        if (c == '0')
            bytes[size++] = '\0';
        else if (c == 's')
            bytes[size++] = ' ';
        else if (c != 'e')
            ck_abort_msg("unknown escape \\%c", c);
    }
    return (struct htstore_bytes){ .data = bytes, .size = size };
}

static void store_integer(uint64_t bits, size_t size, void *out)
{
    if (size == 1)
        *(uint8_t *)out = (uint8_t)bits;
    else if (size == 2)
        *(uint16_t *)out = (uint16_t)bits;
    else if (size == 4)
        *(uint32_t *)out = (uint32_t)bits;
    else
        *(uint64_t *)out = bits;
}

static void parse_integer(struct parser *p, char **end, void *out)
{
    size_t size = htstore_dtype_size(p->dtype);
    uint64_t bits;
    if (p->dtype == HTSTORE_FLOAT16 || p->dtype == HTSTORE_BFLOAT16)
        bits = strtoull(p->at, end, 16);
    else if (*p->at == '-')
        bits = (uint64_t)strtoll(p->at, end, 10);
    else
        bits = strtoull(p->at, end, 10);
    store_integer(bits, size, out);
}

static void parse_atom(struct parser *p)
{
    void *out = p->elements + p->n++ * htstore_dtype_size(p->dtype);
    char *end = NULL;
    if (p->dtype == HTSTORE_STRING) {
        *(struct htstore_bytes *)out = parse_bytes(p);
        return;
    }
    if (p->dtype == HTSTORE_FLOAT32)
        *(float *)out = strtof(p->at, &end);
    else if (p->dtype == HTSTORE_FLOAT64)
        *(double *)out = strtod(p->at, &end);
    else
        parse_integer(p, &end, out);
    ck_assert_msg(end != p->at && at_delimiter(end), "not an element: '%s'", p->at);
    p->at = end;
}

static void parse_value(struct parser *p, uint32_t depth)
{
    skip_blanks(p);
    if (*p->at != '[') {
        ck_assert_uint_eq(depth, p->rank);
        parse_atom(p);
        return;
    }
    if (depth == p->rank) {
        ck_assert_msg(p->n == 0, "elements beside arrays");
        p->shape[p->rank++] = -1;
    }
    int64_t count = 0;
    for (p->at++, skip_blanks(p); *p->at != ']'; skip_blanks(p), count++) {
        ck_assert_msg(*p->at != '\0', "missing ']'");
        parse_value(p, depth + 1);
    }
    p->at++;
    ck_assert_msg(p->shape[depth] == -1 || p->shape[depth] == count, "rows of different length");
    p->shape[depth] = count;
}

struct htstore_array api_array(uint32_t dtype, const char *text)
{
    struct parser p = { .at = text, .dtype = dtype };
    p.elements = api_alloc((strlen(text) + 1) * htstore_dtype_size(dtype));
    parse_value(&p, 0);
    skip_blanks(&p);
    ck_assert_msg(*p.at == '\0', "text after the array: '%s'", p.at);
    struct htstore_array array = htstore_scalar(dtype, p.elements);
    array.rank = p.rank;
    memcpy(array.shape, p.shape, sizeof array.shape);
    return array;
}

/* ---- array to text ---- */

static void print_bytes(FILE *out, const struct htstore_bytes *bytes)
{
    const unsigned char *data = bytes->data;
    if (!bytes->size)
        fputs("\\e", out);
    for (size_t i = 0; i < bytes->size; i++) {
        if (data[i] == 0)
            fputs("\\0", out);
        else if (data[i] == ' ')
            fputs("\\s", out);
        else
            fputc(data[i], out);
    }
}

static void print_element(FILE *out, uint32_t dtype, const void *element)
{
    switch (dtype) {
    case HTSTORE_INT8:
        fprintf(out, "%" PRId8, *(const int8_t *)element);
        break;
    case HTSTORE_INT16:
        fprintf(out, "%" PRId16, *(const int16_t *)element);
        break;
    case HTSTORE_INT32:
        fprintf(out, "%" PRId32, *(const int32_t *)element);
        break;
    case HTSTORE_INT64:
        fprintf(out, "%" PRId64, *(const int64_t *)element);
        break;
    case HTSTORE_UINT8:
    case HTSTORE_BOOL:
        fprintf(out, "%" PRIu8, *(const uint8_t *)element);
        break;
    case HTSTORE_UINT16:
        fprintf(out, "%" PRIu16, *(const uint16_t *)element);
        break;
    case HTSTORE_UINT32:
        fprintf(out, "%" PRIu32, *(const uint32_t *)element);
        break;
    case HTSTORE_UINT64:
        fprintf(out, "%" PRIu64, *(const uint64_t *)element);
        break;
    case HTSTORE_FLOAT16:
    case HTSTORE_BFLOAT16:
        fprintf(out, "%04" PRIx16, *(const uint16_t *)element);
        break;
    case HTSTORE_FLOAT32:
        fprintf(out, "%.9g", (double)*(const float *)element);
        break;
    case HTSTORE_FLOAT64:
        fprintf(out, "%.17g", *(const double *)element);
        break;
    default:
        print_bytes(out, element);
    }
}

/* Prints the part of the array that `*element` starts and moves it behind that part. */
static void print_part(FILE *out, const struct htstore_array *array, uint32_t depth, const uint8_t **element)
{
    if (depth == array->rank) {
        print_element(out, array->dtype, *element);
        *element += htstore_dtype_size(array->dtype);
        return;
    }
    fputc('[', out);
    for (int64_t i = 0; i < array->shape[depth]; i++) {
        if (i > 0 && depth + 1 == array->rank)
            fputc(' ', out);
        print_part(out, array, depth + 1, element);
    }
    fputc(']', out);
}

const char *api_text(const struct htstore_array *array)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    ck_assert_ptr_nonnull(out);
    const uint8_t *element = array->data;
    print_part(out, array, 0, &element);
    fclose(out);
    return keep_text(text);
}

/* ---- shapes ---- */

struct htstore_array api_shaped(uint32_t dtype, const char *shape, const void *data)
{
    struct htstore_array array = htstore_scalar(dtype, data);
    for (const char *at = shape; *at; at += *at == ',') {
        char *end;
        ck_assert_uint_lt(array.rank, HTSTORE_MAX_RANK);
        array.shape[array.rank++] = strtoll(at, &end, 10);
        ck_assert_msg(end != at, "not a shape: %s", shape);
        at = end;
    }
    return array;
}

size_t api_count(const struct htstore_array *array)
{
    size_t n = 1;
    for (uint32_t i = 0; i < array->rank; i++)
        n *= (size_t)array->shape[i];
    return n;
}

const char *api_shape(const struct htstore_array *array)
{
    size_t room = HTSTORE_MAX_RANK * 24;
    char *text = api_alloc(room);
    size_t size = 0;
    for (uint32_t i = 0; i < array->rank; i++)
        size += (size_t)snprintf(text + size, room - size, "%s%" PRId64, i ? "," : "", array->shape[i]);
    return text;
}

struct htstore_array api_room(uint32_t dtype, const struct htstore_array *keys, const char *shape)
{
    struct htstore_array array = *keys;
    struct htstore_array tail = api_shaped(dtype, shape, NULL);
    array.dtype = dtype;
    array.arena = NULL;
    for (uint32_t i = 0; i < tail.rank; i++) {
        ck_assert_uint_lt(array.rank, HTSTORE_MAX_RANK);
        array.shape[array.rank++] = tail.shape[i];
    }
    size_t size = api_count(&array) * htstore_dtype_size(dtype);
    array.data = api_alloc(size + 1);
    memset(array.data, 0xA5, size);
    return array;
}

/* ---- elements made by number ---- */

/* Bits of an integer of `size` bytes: a bijection for the small types, with their limits first. */
static uint64_t integer_bits(uint32_t dtype, size_t size, uint64_t number)
{
    static const uint64_t limits[] = { 0, UINT64_MAX, INT64_MAX, (uint64_t)INT64_MIN, 1, 0x7f, 0x80, 0x100 };
    static const uint32_t limits4[] = { 0, UINT32_MAX, INT32_MAX, 0x80000000, 1, 0x7f, 0x80, 0x100 };
    if (size == 8)
        return number < 8 ? limits[number] : number * UINT64_C(0x9E3779B97F4A7C15);
    if (size == 4)
        return number < 8 ? limits4[number] : number * 0x9E3779B1U;
    uint64_t bits = number % 2 ? ~(number / 2) : number / 2;
    bool is_signed = dtype == HTSTORE_INT8 || dtype == HTSTORE_INT16;
    return is_signed ? bits ^ UINT64_C(1) << (size * 8 - 1) : bits;
}

static void make_bytes(uint64_t number, struct htstore_bytes *out)
{
    size_t size = number ? 8 + (size_t)(number % 5) * 7 : 0;
    uint8_t *data = api_alloc(size + 1);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(number >> 8 * (i % 8));
    *out = (struct htstore_bytes){ .data = data, .size = size };
}

static void make_float32(uint64_t number, float *out)
{
    static const float limits[] = { 0.0F, 1.0F / 0.0F, -1.0F / 0.0F, 1e-45F, -1e-45F, 3.4e38F, -3.4e38F, 0.1F };
    *out = number < 8 ? limits[number] : (float)(int64_t)number * (number % 2 ? 0.5F : -0.5F);
}

static void make_float64(uint64_t number, double *out)
{
    static const double limits[] = { 0.0, 1.0 / 0.0, -1.0 / 0.0, 5e-324, -5e-324, 1.7e308, -1.7e308, 0.1 };
    *out = number < 8 ? limits[number] : (double)(int64_t)number * (number % 2 ? 0.1 : -0.1);
}

static void make_element(uint32_t dtype, uint64_t number, void *out)
{
    size_t size = htstore_dtype_size(dtype);
    if (dtype == HTSTORE_STRING)
        make_bytes(number, out);
    else if (dtype == HTSTORE_FLOAT32)
        make_float32(number, out);
    else if (dtype == HTSTORE_FLOAT64)
        make_float64(number, out);
    else if (dtype == HTSTORE_BOOL)
        *(uint8_t *)out = number % 2;
    else
        store_integer(integer_bits(dtype, size, number), size, out);
}

struct htstore_array api_numbered(uint32_t dtype, const char *shape, uint64_t first)
{
    struct htstore_array array = api_shaped(dtype, shape, NULL);
    size_t n = api_count(&array);
    size_t size = htstore_dtype_size(dtype);
    uint8_t *data = api_alloc(n * size + 1);
    for (size_t i = 0; i < n; i++)
        make_element(dtype, first + i, data + i * size);
    array.data = data;
    return array;
}

size_t api_distinct(uint32_t dtype, size_t wanted)
{
    size_t all = dtype == HTSTORE_BOOL ? 2 : htstore_dtype_size(dtype) == 1 ? 256 : 65536;
    return wanted < all ? wanted : all;
}

/* ---- comparing ---- */

bool api_element_equal(const struct htstore_array *a, size_t i, const struct htstore_array *b, size_t j)
{
    size_t size = htstore_dtype_size(a->dtype);
    if (a->dtype != HTSTORE_STRING)
        return memcmp((const uint8_t *)a->data + i * size, (const uint8_t *)b->data + j * size, size) == 0;
    const struct htstore_bytes *x = (const struct htstore_bytes *)a->data + i;
    const struct htstore_bytes *y = (const struct htstore_bytes *)b->data + j;
    return x->size == y->size && (x->size == 0 || memcmp(x->data, y->data, x->size) == 0);
}

bool api_equal(const struct htstore_array *a, const struct htstore_array *b)
{
    if (a->dtype != b->dtype || a->rank != b->rank || memcmp(a->shape, b->shape, a->rank * sizeof a->shape[0]) != 0)
        return false;
    size_t n = api_count(a);
    for (size_t i = 0; i < n; i++)
        if (!api_element_equal(a, i, b, i))
            return false;
    return true;
}

struct htstore_array api_row(const struct htstore_array *array, size_t i)
{
    struct htstore_array row = *array;
    ck_assert_uint_ge(array->rank, 1);
    row.rank = array->rank - 1;
    for (uint32_t d = 0; d < row.rank; d++)
        row.shape[d] = array->shape[d + 1];
    row.data = (uint8_t *)array->data + i * api_count(&row) * htstore_dtype_size(array->dtype);
    return row;
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char *api_pairs(const struct htstore_array *keys, const struct htstore_array *values)
{
    size_t n = api_count(keys), total = 1;
    const char **lines = api_alloc((n + 1) * sizeof *lines);
    for (size_t i = 0; i < n; i++) {
        struct htstore_array key = api_row(keys, i), value = api_row(values, i);
        const char *key_text = api_text(&key), *value_text = api_text(&value);
        size_t size = strlen(key_text) + strlen(value_text) + 3;
        char *line = api_alloc(size);
        (void)snprintf(line, size, "%s=%s\n", key_text, value_text);
        lines[i] = line;
        total += size;
    }
    qsort(lines, n, sizeof *lines, compare_lines);
    char *text = api_alloc(total), *end = text;
    for (size_t i = 0; i < n; i++)
        end = stpcpy(end, lines[i]);
    return text;
}
