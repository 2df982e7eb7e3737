/* json: writes JSON text; nothing is read. */
#ifndef TOOLS_JSON_H
#define TOOLS_JSON_H

#include "buffer.h"
#include "htstore.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A writer that appends to `text` and places the commas. Initialise with { &buffer, false }. */
struct json {
    struct buffer *text;
    bool comma; /* the next member or element needs one */
};

void json_open(struct json *json, char bracket); /* '{' or '[' */
void json_close(struct json *json, char bracket); /* '}' or ']' */

/* The name of the next member. */
void json_name(struct json *json, const char *name);

void json_bool(struct json *json, bool value);

/* Always as a number: for counts and sizes of ours. */
void json_count(struct json *json, uint64_t value);

/* A string if the bytes are UTF-8, otherwise { "base64": "..." }. */
void json_bytes(struct json *json, const void *data, size_t size);
void json_string(struct json *json, const char *text);

/* { "base64": "..." }, whatever the bytes are. */
void json_base64(struct json *json, const void *data, size_t size);

/*
 * One element. Floats that are not finite are "NaN", "Infinity", "-Infinity"; integers above 2^63-1 are strings of their
 * digits, which many readers would otherwise refuse or round.
 */
void json_element(struct json *json, uint32_t dtype, const void *element);

/* One row's value: an element, or nested arrays by `rank` and `shape`. */
void json_value(struct json *json, uint32_t dtype, uint32_t rank, const int64_t *shape, const void *elements);

/* { "format": 1, every document begins so. */
void json_document(struct json *json);

#endif
