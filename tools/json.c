/* json: hides the syntax of JSON (RFC 8259) and of base64 (RFC 4648). */
#include "json.h"

#include "escape.h"
#include "number.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void begin_item(struct json *json)
{
    if (json->comma)
        buffer_add(json->text, ',');
    json->comma = true;
}

void json_open(struct json *json, char bracket)
{
    begin_item(json);
    buffer_add(json->text, bracket);
    json->comma = false;
}

void json_close(struct json *json, char bracket)
{
    buffer_add(json->text, bracket);
    json->comma = true;
}

void json_name(struct json *json, const char *name)
{
    json_string(json, name);
    buffer_add(json->text, ':');
    json->comma = false;
}

void json_bool(struct json *json, bool value)
{
    begin_item(json);
    buffer_text(json->text, value ? "true" : "false");
}

void json_count(struct json *json, uint64_t value)
{
    begin_item(json);
    buffer_printf(json->text, "%" PRIu64, value);
}

static void write_character(struct buffer *text, const unsigned char *p, size_t length)
{
    static const char names[] = "btn\0fr"; /* U+0008 to U+000D; U+000B has none */

    if (length > 1 || (p[0] >= 0x20 && p[0] != '"' && p[0] != '\\')) {
        buffer_append(text, p, length);
        return;
    }
    if (p[0] == '"' || p[0] == '\\') {
        buffer_add(text, '\\');
        buffer_add(text, (char)p[0]);
    } else if (p[0] >= 8 && p[0] <= 13 && p[0] != 11) {
        buffer_add(text, '\\');
        buffer_add(text, names[p[0] - 8]);
    } else {
        buffer_printf(text, "\\u%04x", p[0]);
    }
}

static void write_base64(struct buffer *text, const unsigned char *p, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < size; i += 3) {
        size_t n = size - i < 3 ? size - i : 3;
        uint32_t bits = (uint32_t)p[i] << 16;

        if (n > 1)
            bits |= (uint32_t)p[i + 1] << 8;
        if (n > 2)
            bits |= p[i + 2];
        buffer_add(text, digits[bits >> 18]);
        buffer_add(text, digits[(bits >> 12) & 63]);
        buffer_add(text, n > 1 ? digits[(bits >> 6) & 63] : '=');
        buffer_add(text, n > 2 ? digits[bits & 63] : '=');
    }
}

static bool is_utf8(const unsigned char *p, size_t size)
{
    for (size_t i = 0, length; i < size; i += length) {
        length = escape_utf8_length(p + i, size - i);
        if (length == 0)
            return false;
    }
    return true;
}

void json_base64(struct json *json, const void *data, size_t size)
{
    begin_item(json);
    buffer_text(json->text, "{\"base64\":\"");
    write_base64(json->text, data, size);
    buffer_text(json->text, "\"}");
}

void json_bytes(struct json *json, const void *data, size_t size)
{
    const unsigned char *p = data;

    if (!is_utf8(p, size)) {
        json_base64(json, data, size);
        return;
    }
    begin_item(json);
    buffer_add(json->text, '"');
    for (size_t i = 0, length; i < size; i += length) {
        length = escape_utf8_length(p + i, size - i);
        write_character(json->text, p + i, length);
    }
    buffer_add(json->text, '"');
}

void json_string(struct json *json, const char *text)
{
    json_bytes(json, text, strlen(text));
}

/* The name of a float that is not finite; NULL for all other elements. */
static const char *name_of_number(uint32_t dtype, const char *text)
{
    if (dtype < HTSTORE_FLOAT16 || dtype > HTSTORE_FLOAT64)
        return NULL;
    if (strcmp(text, "nan") == 0)
        return "NaN";
    if (strcmp(text, "inf") == 0)
        return "Infinity";
    return strcmp(text, "-inf") == 0 ? "-Infinity" : NULL;
}

void json_element(struct json *json, uint32_t dtype, const void *element)
{
    char text[NUMBER_TEXT_SIZE];
    const char *name;
    uint64_t value;

    if (dtype == HTSTORE_STRING) {
        const struct htstore_bytes *bytes = element;

        json_bytes(json, bytes->data, bytes->size);
        return;
    }
    number_print(dtype, element, text);
    name = name_of_number(dtype, text);
    if (name != NULL) {
        json_string(json, name);
        return;
    }
    if (dtype == HTSTORE_UINT64) {
        memcpy(&value, element, sizeof value);
        if (value > INT64_MAX) {
            json_string(json, text);
            return;
        }
    }
    begin_item(json);
    buffer_text(json->text, text);
}

static size_t count_elements(uint32_t rank, const int64_t *shape)
{
    size_t n = 1;

    for (uint32_t i = 0; i < rank; i++)
        n *= (size_t)shape[i];
    return n;
}

void json_value(struct json *json, uint32_t dtype, uint32_t rank, const int64_t *shape, const void *elements)
{
    size_t step;

    if (rank == 0) {
        json_element(json, dtype, elements);
        return;
    }
    step = count_elements(rank - 1, shape + 1) * htstore_dtype_size(dtype);
    json_open(json, '[');
    for (int64_t i = 0; i < shape[0]; i++) {
        const char *at = elements;

        json_value(json, dtype, rank - 1, shape + 1, at != NULL ? at + (size_t)i * step : NULL);
    }
    json_close(json, ']');
}

void json_document(struct json *json)
{
    json_open(json, '{');
    json_name(json, "format");
    json_count(json, 1);
}
