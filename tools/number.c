/* number: hides how numbers are read and printed exactly, in the C locale. */
#include "number.h"

#include "htstore.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The exact decimal text of the smallest double has 1077 characters; longer texts are not numbers of anybody. */
#define MAX_NUMBER_LENGTH 2000

/* ---- binary16 and bfloat16 ---- */

static uint32_t bits_of_float(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of_bits(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

uint16_t number_half_from_float(float value)
{
    uint32_t bits = bits_of_float(value);
    uint32_t sign = (bits >> 16) & 0x8000u;
    uint32_t magnitude = bits & 0x7fffffffu;

    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x47800000u) /* 65536 and above */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x33000000u) /* below half of the smallest subnormal */
        return (uint16_t)sign;
    if (magnitude < 0x38800000u) { /* subnormal: count units of 2^-24 */
        uint32_t shift = 126u - (magnitude >> 23);
        uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
        uint32_t units = mantissa >> shift;
        uint32_t rest = mantissa & ((1u << shift) - 1u);
        uint32_t middle = 1u << (shift - 1u);

        if (rest > middle || (rest == middle && (units & 1u) != 0))
            units++;
        return (uint16_t)(sign | units);
    }
    magnitude -= 0x38000000u; /* exponent bias 127 to 15 */
    magnitude += 0xfffu + ((magnitude >> 13) & 1u);
    return (uint16_t)(sign | (magnitude >> 13));
}

float number_float_from_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu;
    uint32_t mantissa = half & 0x3ffu;

    if (exponent == 0) {
        float value = (float)mantissa * 0x1p-24f;

        return sign != 0 ? -value : value;
    }
    if (exponent == 31)
        return float_of_bits(sign | 0x7f800000u | (mantissa << 13));
    return float_of_bits(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

uint16_t number_bfloat_from_float(float value)
{
    uint32_t bits = bits_of_float(value);

    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(((bits >> 16) & 0x8000u) | 0x7fc0u);
    bits += 0x7fffu + ((bits >> 16) & 1u);
    return (uint16_t)(bits >> 16);
}

float number_float_from_bfloat(uint16_t bfloat)
{
    return float_of_bits((uint32_t)bfloat << 16);
}

/* ---- reading ---- */

static enum number_result parse_magnitude(const char *text, size_t size, uint64_t *magnitude)
{
    uint64_t value = 0;
    enum number_result result = NUMBER_OK;

    if (size == 0)
        return NUMBER_SYNTAX;
    for (size_t i = 0; i < size; i++) {
        uint64_t digit = (uint64_t)(unsigned char)text[i] - '0';

        if (digit > 9)
            return NUMBER_SYNTAX;
        if (value > (UINT64_MAX - digit) / 10)
            result = NUMBER_RANGE;
        else
            value = value * 10 + digit;
    }
    *magnitude = value;
    return result;
}

static enum number_result parse_signed(const char *text, size_t size, uint64_t limit, int64_t *value)
{
    bool negative = size > 0 && text[0] == '-';
    uint64_t magnitude = 0;
    enum number_result result = parse_magnitude(text + negative, size - negative, &magnitude);

    if (result != NUMBER_OK)
        return result;
    if (magnitude > limit + (negative ? 1u : 0u))
        return NUMBER_RANGE;
    if (negative)
        *value = magnitude == 0 ? 0 : -(int64_t)(magnitude - 1) - 1;
    else
        *value = (int64_t)magnitude;
    return NUMBER_OK;
}

static enum number_result parse_integer(uint32_t dtype, const char *text, size_t size, void *element)
{
    size_t bytes = htstore_dtype_size(dtype);
    uint64_t limit = UINT64_MAX >> (64 - 8 * bytes);
    bool is_signed = dtype <= HTSTORE_INT64;
    uint64_t bits = 0;
    enum number_result result;

    if (is_signed) {
        int64_t value = 0;

        result = parse_signed(text, size, limit >> 1, &value);
        bits = (uint64_t)value;
    } else {
        /* "-1" is a number, only not one of these */
        bool negative = size > 0 && text[0] == '-';

        result = parse_magnitude(text + negative, size - negative, &bits);
        if (result == NUMBER_OK && (bits > limit || negative))
            result = NUMBER_RANGE;
    }
    if (result == NUMBER_OK) {
        uint8_t small = (uint8_t)bits;
        uint16_t medium = (uint16_t)bits;
        uint32_t large = (uint32_t)bits;
        const void *sources[] = { &small, &medium, &large, &bits };

        memcpy(element, sources[bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : 3], bytes);
    }
    return result;
}

static size_t skip_digits(const char *text, size_t at)
{
    while (text[at] >= '0' && text[at] <= '9')
        at++;
    return at;
}

/* Whether text is [-] digits [. digits] [e [+-] digits], with a digit before or after the point. */
static bool is_decimal(const char *text)
{
    size_t start = text[0] == '-' ? 1 : 0;
    size_t at = skip_digits(text, start);
    size_t n_digits = at - start;

    if (text[at] == '.') {
        size_t end = skip_digits(text, at + 1);

        n_digits += end - (at + 1);
        at = end;
    }
    if (n_digits == 0)
        return false;
    if (text[at] == 'e' || text[at] == 'E') {
        size_t exponent = at + 1;

        if (text[exponent] == '+' || text[exponent] == '-')
            exponent++;
        at = skip_digits(text, exponent);
        if (at == exponent)
            return false;
    }
    return text[at] == '\0';
}

static bool is_word(const char *text, const char *word)
{
    return strcasecmp(text, word) == 0;
}

static enum number_result finish_float32(uint32_t dtype, float value, bool finite, void *element)
{
    uint16_t half;

    if (dtype == HTSTORE_FLOAT32) {
        if (finite && isinf(value))
            return NUMBER_RANGE;
        memcpy(element, &value, sizeof value);
        return NUMBER_OK;
    }
    if (dtype == HTSTORE_FLOAT16) {
        half = number_half_from_float(value);
        if (finite && (half & 0x7fffu) == 0x7c00u)
            return NUMBER_RANGE;
    } else {
        half = number_bfloat_from_float(value);
        if (finite && (half & 0x7fffu) == 0x7f80u)
            return NUMBER_RANGE;
    }
    memcpy(element, &half, sizeof half);
    return NUMBER_OK;
}

/* Overflow shows as an infinite result of a finite text: errno is ERANGE for subnormals too. */
static enum number_result parse_float(uint32_t dtype, const char *text, size_t size, void *element)
{
    char copy[MAX_NUMBER_LENGTH + 1];
    const char *word = copy;
    double value;
    bool finite;

    if (size == 0 || size > MAX_NUMBER_LENGTH || memchr(text, '\0', size) != NULL)
        return NUMBER_SYNTAX;
    memcpy(copy, text, size);
    copy[size] = '\0';
    finite = is_decimal(copy);
    if (finite && dtype != HTSTORE_FLOAT64)
        return finish_float32(dtype, strtof(copy, NULL), true, element); /* strtod first would round twice */
    if (*word == '-')
        word++;
    if (finite)
        value = strtod(copy, NULL);
    else if (is_word(word, "nan"))
        value = (double)NAN;
    else if (is_word(word, "inf") || is_word(word, "infinity"))
        value = word > copy ? -(double)INFINITY : (double)INFINITY;
    else
        return NUMBER_SYNTAX;
    if (dtype != HTSTORE_FLOAT64)
        return finish_float32(dtype, (float)value, false, element);
    if (finite && isinf(value))
        return NUMBER_RANGE;
    memcpy(element, &value, sizeof value);
    return NUMBER_OK;
}

static enum number_result parse_bool(const char *text, size_t size, void *element)
{
    static const char *const words[] = { "false", "true", "0", "1" };

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strlen(words[i]) == size && memcmp(words[i], text, size) == 0) {
            *(uint8_t *)element = (uint8_t)(i & 1u);
            return NUMBER_OK;
        }
    }
    return NUMBER_SYNTAX;
}

enum number_result number_parse(uint32_t dtype, const char *text, size_t size, void *element)
{
    switch (dtype) {
    case HTSTORE_BOOL:
        return parse_bool(text, size, element);
    case HTSTORE_FLOAT16:
    case HTSTORE_BFLOAT16:
    case HTSTORE_FLOAT32:
    case HTSTORE_FLOAT64:
        return parse_float(dtype, text, size, element);
    case HTSTORE_STRING:
        return NUMBER_SYNTAX;
    default:
        return parse_integer(dtype, text, size, element);
    }
}

/* ---- printing ---- */

static size_t print_word(double value, char *text)
{
    strcpy(text, isnan(value) ? "nan" : value < 0 ? "-inf" : "inf");
    return strlen(text);
}

static size_t print_double(double value, char *text)
{
    int n = 0;

    if (!isfinite(value))
        return print_word(value, text);
    for (int digits = 15; digits <= 17; digits++) {
        n = snprintf(text, NUMBER_TEXT_SIZE, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return n > 0 ? (size_t)n : 0;
}

/* `digits` from least to most, until the text reads back as the same element. */
static size_t print_single(uint32_t dtype, float value, int least, int most, char *text)
{
    int n = 0;

    if (!isfinite(value))
        return print_word((double)value, text);
    for (int digits = least; digits <= most; digits++) {
        float back;

        n = snprintf(text, NUMBER_TEXT_SIZE, "%.*g", digits, (double)value);
        back = strtof(text, NULL);
        if (dtype == HTSTORE_FLOAT16)
            back = number_float_from_half(number_half_from_float(back));
        else if (dtype == HTSTORE_BFLOAT16)
            back = number_float_from_bfloat(number_bfloat_from_float(back));
        if (back == value)
            break;
    }
    return n > 0 ? (size_t)n : 0;
}

static size_t print_float(uint32_t dtype, const void *element, char *text)
{
    uint16_t half;
    float single;
    double value;

    switch (dtype) {
    case HTSTORE_FLOAT16:
        memcpy(&half, element, sizeof half);
        return print_single(dtype, number_float_from_half(half), 3, 5, text);
    case HTSTORE_BFLOAT16:
        memcpy(&half, element, sizeof half);
        return print_single(dtype, number_float_from_bfloat(half), 2, 4, text);
    case HTSTORE_FLOAT32:
        memcpy(&single, element, sizeof single);
        return print_single(dtype, single, 6, 9, text);
    default:
        memcpy(&value, element, sizeof value);
        return print_double(value, text);
    }
}

static int64_t load_signed(size_t bytes, const void *element)
{
    int8_t small;
    int16_t medium;
    int32_t large;
    int64_t value;

    switch (bytes) {
    case 1:
        memcpy(&small, element, sizeof small);
        return small;
    case 2:
        memcpy(&medium, element, sizeof medium);
        return medium;
    case 4:
        memcpy(&large, element, sizeof large);
        return large;
    default:
        memcpy(&value, element, sizeof value);
        return value;
    }
}

/* The digits of a magnitude, as printf would write them; export prints millions of these. */
static size_t print_magnitude(uint64_t magnitude, bool negative, char *text)
{
    char digits[NUMBER_TEXT_SIZE];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + magnitude % 10);
        magnitude /= 10;
    } while (magnitude > 0);
    if (negative)
        digits[--at] = '-';
    memcpy(text, digits + at, sizeof digits - at);
    text[sizeof digits - at] = '\0';
    return sizeof digits - at;
}

size_t number_print(uint32_t dtype, const void *element, char text[NUMBER_TEXT_SIZE])
{
    size_t bytes = htstore_dtype_size(dtype);
    int64_t value;

    if (dtype == HTSTORE_BOOL) {
        strcpy(text, *(const uint8_t *)element != 0 ? "true" : "false");
        return strlen(text);
    }
    if (dtype >= HTSTORE_FLOAT16)
        return print_float(dtype, element, text);
    value = load_signed(bytes, element);
    if (dtype <= HTSTORE_INT64)
        return print_magnitude(value < 0 ? 0 - (uint64_t)value : (uint64_t)value, value < 0, text);
    return print_magnitude((uint64_t)value & (UINT64_MAX >> (64 - 8 * bytes)), false, text);
}
