/* dtype: hides the table of element types and the wording of refusals. */
#include "dtype.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "error.h"

#define N_DTYPES (HTSTORE_STRING + 1)

struct dtype_info {
    const char *name;
    uint8_t size; /* of an element in the caller's arrays */
    uint8_t packed_size;
    bool is_key;
};

static const struct dtype_info dtypes[N_DTYPES] = {
    [HTSTORE_INT8] = { "int8", 1, 1, true },
    [HTSTORE_INT16] = { "int16", 2, 2, true },
    [HTSTORE_INT32] = { "int32", 4, 4, true },
    [HTSTORE_INT64] = { "int64", 8, 8, true },
    [HTSTORE_UINT8] = { "uint8", 1, 1, true },
    [HTSTORE_UINT16] = { "uint16", 2, 2, true },
    [HTSTORE_UINT32] = { "uint32", 4, 4, true },
    [HTSTORE_UINT64] = { "uint64", 8, 8, true },
    [HTSTORE_BOOL] = { "bool", 1, 1, true },
    [HTSTORE_FLOAT16] = { "float16", 2, 2, false },
    [HTSTORE_BFLOAT16] = { "bfloat16", 2, 2, false },
    [HTSTORE_FLOAT32] = { "float32", 4, 4, true },
    [HTSTORE_FLOAT64] = { "float64", 8, 8, true },
    [HTSTORE_STRING] = { "string", sizeof(struct htstore_bytes), 0, true },
};

bool hti_dtype_is_valid(uint32_t dtype)
{
    return dtype < N_DTYPES && dtypes[dtype].name;
}

bool hti_dtype_is_key(uint32_t dtype)
{
    return hti_dtype_is_valid(dtype) && dtypes[dtype].is_key;
}

size_t hti_dtype_packed_size(uint32_t dtype)
{
    return hti_dtype_is_valid(dtype) ? dtypes[dtype].packed_size : 0;
}

const char *htstore_dtype_name(uint32_t dtype)
{
    return hti_dtype_is_valid(dtype) ? dtypes[dtype].name : NULL;
}

uint32_t htstore_dtype_from_name(const char *name)
{
    if (!name)
        return 0;
    for (uint32_t dtype = 1; dtype < N_DTYPES; dtype++)
        if (strcmp(dtypes[dtype].name, name) == 0)
            return dtype;
    return 0;
}

size_t htstore_dtype_size(uint32_t dtype)
{
    return hti_dtype_is_valid(dtype) ? dtypes[dtype].size : 0;
}

/* Does an array of this shape fit into memory? One with a dimension of 0 does, whatever the others. */
static bool fits_memory(const struct hti_shape *shape, uint32_t dtype)
{
    size_t size = htstore_dtype_size(dtype);
    bool fits = true;
    if (size == 0)
        size = 1;
    for (uint32_t i = 0; i < shape->rank; i++) {
        if (shape->dim[i] == 0)
            return true;
        fits = fits && !__builtin_mul_overflow(size, (uint64_t)shape->dim[i], &size) && size <= PTRDIFF_MAX;
    }
    return fits;
}

int hti_shape_of(const struct htstore_array *array, struct hti_shape *shape, struct htstore_error *error)
{
    struct hti_shape found = { .rank = array->rank };
    char text[HTI_SHAPE_TEXT_SIZE];
    if (array->rank > HTSTORE_MAX_RANK)
        return hti_fail(error, HTSTORE_ESHAPE, "Rank %" PRIu32 " of an array is above %d", array->rank,
                        HTSTORE_MAX_RANK);
    for (uint32_t i = 0; i < array->rank; i++)
        found.dim[i] = array->shape[i];
    for (uint32_t i = 0; i < array->rank; i++) {
        if (found.dim[i] < 0) {
            hti_shape_format(text, &found, NULL);
            return hti_fail(error, HTSTORE_ESHAPE, "Shape %s has a negative dimension", text);
        }
    }
    if (!fits_memory(&found, array->dtype)) {
        hti_shape_format(text, &found, NULL);
        return hti_fail(error, HTSTORE_ESHAPE, "Shape %s is too large for memory", text);
    }
    *shape = found;
    return HTSTORE_OK;
}

uint64_t hti_shape_count(const struct hti_shape *shape)
{
    uint64_t count = 1;
    for (uint32_t i = 0; i < shape->rank; i++)
        count *= (uint64_t)shape->dim[i];
    return count;
}

bool hti_shape_equal(const struct hti_shape *a, const struct hti_shape *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, a->rank * sizeof a->dim[0]) == 0;
}

/* Two shapes of full rank take at most 2 * 8 * 20 digits, 15 commas, 2 brackets and a NUL. */
_Static_assert(HTI_SHAPE_TEXT_SIZE >= 2 * HTSTORE_MAX_RANK * 21 + 3, "room for a ++ b");

static size_t format_dimensions(char *out, size_t size, const struct hti_shape *shape)
{
    for (uint32_t i = 0; i < shape->rank; i++) {
        const char *comma = size > 1 ? "," : "";
        size += (size_t)snprintf(out + size, HTI_SHAPE_TEXT_SIZE - size, "%s%" PRId64, comma, shape->dim[i]);
    }
    return size;
}

void hti_shape_format(char out[HTI_SHAPE_TEXT_SIZE], const struct hti_shape *a, const struct hti_shape *b)
{
    size_t size = 0;
    out[size++] = '[';
    size = format_dimensions(out, size, a);
    if (b)
        size = format_dimensions(out, size, b);
    out[size++] = ']';
    out[size] = '\0';
}

/* Is `shape` a ++ b? */
static bool is_joined_shape(const struct hti_shape *shape, const struct hti_shape *a, const struct hti_shape *b)
{
    if (shape->rank != a->rank + b->rank)
        return false;
    return memcmp(shape->dim, a->dim, a->rank * sizeof a->dim[0]) == 0 &&
           memcmp(shape->dim + a->rank, b->dim, b->rank * sizeof b->dim[0]) == 0;
}

int hti_shape_expect(const struct htstore_array *array, const struct hti_shape *a, const struct hti_shape *b,
                     const char *what, struct htstore_error *error)
{
    static const struct hti_shape scalar = { .rank = 0 };
    struct hti_shape shape;
    int status = hti_shape_of(array, &shape, error);
    if (status != HTSTORE_OK)
        return status;
    if (is_joined_shape(&shape, a, b ? b : &scalar))
        return HTSTORE_OK;
    char expected[HTI_SHAPE_TEXT_SIZE];
    char got[HTI_SHAPE_TEXT_SIZE];
    hti_shape_format(expected, a, b);
    hti_shape_format(got, &shape, NULL);
    return hti_fail(error, HTSTORE_ESHAPE, "Expected shape %s for %s, got %s", expected, what, got);
}

int hti_dtype_expect(const struct htstore_array *array, uint32_t dtype, const char *what, struct htstore_error *error)
{
    assert(hti_dtype_is_valid(dtype));
    if (array->dtype == dtype)
        return HTSTORE_OK;
    if (!hti_dtype_is_valid(array->dtype))
        return hti_fail(error, HTSTORE_EINVAL, "%s has unknown dtype %" PRIu32, what, array->dtype);
    return hti_fail(error, HTSTORE_ETYPE, "%s must be type %s but got %s", what, htstore_dtype_name(dtype),
                    htstore_dtype_name(array->dtype));
}

/*
 * The finders return the flat index of the first bad element, n if there is none. The first loop has no exit, so that
 * compilers vectorize it; the second one runs only if there is something to find.
 */
static uint64_t find_bad_bool(const uint8_t *data, uint64_t n)
{
    uint8_t all = 0;
    for (uint64_t i = 0; i < n; i++)
        all |= data[i];
    if (all <= 1)
        return n;
    uint64_t at = 0;
    while (data[at] <= 1)
        at++;
    return at;
}

static bool is_nan32(const uint8_t *data)
{
    uint32_t bits;
    memcpy(&bits, data, sizeof bits);
    return (bits & 0x7FFFFFFFu) > 0x7F800000u;
}

static bool is_nan64(const uint8_t *data)
{
    uint64_t bits;
    memcpy(&bits, data, sizeof bits);
    return (bits & UINT64_C(0x7FFFFFFFFFFFFFFF)) > UINT64_C(0x7FF0000000000000);
}

static uint64_t find_nan32(const uint8_t *data, uint64_t n)
{
    unsigned n_bad = 0;
    for (uint64_t i = 0; i < n; i++)
        n_bad |= is_nan32(data + i * 4);
    if (n_bad == 0)
        return n;
    uint64_t at = 0;
    while (!is_nan32(data + at * 4))
        at++;
    return at;
}

static uint64_t find_nan64(const uint8_t *data, uint64_t n)
{
    unsigned n_bad = 0;
    for (uint64_t i = 0; i < n; i++)
        n_bad |= is_nan64(data + i * 8);
    if (n_bad == 0)
        return n;
    uint64_t at = 0;
    while (!is_nan64(data + at * 8))
        at++;
    return at;
}

static uint64_t find_null_string(const struct htstore_bytes *data, uint64_t n)
{
    uint64_t at = 0;
    while (at < n && (data[at].data || data[at].size == 0))
        at++;
    return at;
}

int hti_dtype_check_elements(uint32_t dtype, const void *data, uint64_t n, uint64_t elements_per_row, bool as_keys,
                             const char *what, struct htstore_error *error)
{
    if (n == 0)
        return HTSTORE_OK;
    if (!data)
        return hti_fail(error, HTSTORE_EINVAL, "%s has %" PRIu64 " elements but its data is NULL", what, n);

    uint64_t at = n;
    const char *fault = "";
    if (dtype == HTSTORE_BOOL) {
        at = find_bad_bool(data, n);
        fault = "is a bool that is neither 0 nor 1";
    } else if (dtype == HTSTORE_STRING) {
        at = find_null_string(data, n);
        fault = "is a string that has a size but no data";
    } else if (dtype == HTSTORE_FLOAT32 && as_keys) {
        at = find_nan32(data, n);
        fault = "is NaN";
    } else if (dtype == HTSTORE_FLOAT64 && as_keys) {
        at = find_nan64(data, n);
        fault = "is NaN";
    }
    if (at == n)
        return HTSTORE_OK;
    uint64_t row = at / (elements_per_row > 0 ? elements_per_row : 1);
    hti_fail(error, HTSTORE_EINVAL, "%s of row %" PRIu64 " %s", what, row, fault);
    hti_error_set_index(error, row);
    return HTSTORE_EINVAL;
}
