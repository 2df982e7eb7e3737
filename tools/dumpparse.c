/* dumpparse: hides jansson: reads the records that dumpschema.c writes. */
#include "dumpschema.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#ifndef HAVE_JANSSON

bool dumpschema_can_read(void)
{
    return false;
}

int dumpschema_read(struct dump_objects *objects, const struct htstore_bytes *key, const struct htstore_bytes *value,
                    struct buffer *reason)
{
    (void)objects;
    (void)key;
    (void)value;
    buffer_text(reason, "this program was built without jansson, which reads JSON");
    return -1;
}

#else

#include <jansson.h>

bool dumpschema_can_read(void)
{
    return true;
}

/* A record while it is read; the first failure is kept. */
struct record {
    json_t *json;
    struct buffer *reason;
    bool failed;
};

static void fail(struct record *record, const char *member, const char *expected)
{
    if (!record->failed)
        buffer_printf(record->reason, "its \"%s\" is not %s", member, expected);
    record->failed = true;
}

static uint64_t get_count(struct record *record, const char *member)
{
    json_t *value = json_object_get(record->json, member);

    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        fail(record, member, "a count");
        return 0;
    }
    return (uint64_t)json_integer_value(value);
}

/* A NUL-terminated text without a NUL in it, of the record; NULL after a failure. */
static const char *get_text(struct record *record, const char *member)
{
    json_t *value = json_object_get(record->json, member);

    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value)) {
        fail(record, member, "a text without NUL");
        return NULL;
    }
    return json_string_value(value);
}

/* HTSTORE_… if the member is `value`. */
static uint32_t get_flag(struct record *record, const char *member, bool value, uint32_t flag)
{
    json_t *given = json_object_get(record->json, member);

    if (!json_is_boolean(given))
        fail(record, member, "true or false");
    return json_is_true(given) == value ? flag : 0;
}

static uint32_t get_dtype(struct record *record, const char *member)
{
    uint32_t dtype = htstore_dtype_from_name(get_text(record, member));

    if (dtype == 0)
        fail(record, member, "a dtype");
    return dtype;
}

/* The place of a text in a list that ends with NULL. */
static uint32_t get_word(struct record *record, const char *member, const char *const *words)
{
    const char *text = get_text(record, member);

    for (uint32_t i = 0; text != NULL && words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0)
            return i;
    }
    fail(record, member, "one of the words that are known");
    return 0;
}

static void get_shape(struct record *record, struct rows_layout *layout)
{
    json_t *shape = json_object_get(record->json, "shape");
    size_t rank = json_array_size(shape), bytes = htstore_dtype_size(layout->value_dtype);
    bool empty = false;

    if (!json_is_array(shape) || rank > HTSTORE_MAX_RANK) {
        fail(record, "shape", "a list of at most 8 dimensions");
        return;
    }
    layout->value_rank = (uint32_t)rank;
    for (size_t i = 0; i < rank; i++) {
        json_t *dimension = json_array_get(shape, i);

        layout->value_shape[i] = json_integer_value(dimension);
        if (!json_is_integer(dimension) || layout->value_shape[i] < 0)
            fail(record, "shape", "a list of dimensions");
        empty |= layout->value_shape[i] == 0;
    }
    layout->width = empty || record->failed ? 0 : 1;
    for (size_t i = 0; i < rank && layout->width > 0; i++) {
        if (__builtin_mul_overflow(bytes, (size_t)layout->value_shape[i], &bytes) || bytes > SIZE_MAX / 4) {
            fail(record, "shape", "a shape that fits memory");
            return;
        }
        layout->width *= (size_t)layout->value_shape[i];
    }
}

static void get_digest(struct record *record, struct digest *digest)
{
    const char *text = get_text(record, "digest");
    uint64_t halves[2] = { 0, 0 };

    if (text == NULL || strlen(text) != 32 || strspn(text, "0123456789abcdef") != 32) {
        fail(record, "digest", "32 hexadecimal digits");
        return;
    }
    for (size_t i = 0; i < 32; i++)
        halves[i / 16] = halves[i / 16] << 4 | (uint64_t)(text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10);
    digest->high = halves[0];
    digest->low = halves[1];
}

static int sextet(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;

    return at != NULL ? (int)(at - digits) : -1;
}

/* Base64 (RFC 4648), padded, without bits that are left over. */
static bool read_base64(const char *text, size_t size, struct buffer *bytes)
{
    size_t padding = 0;

    while (padding < 2 && padding < size && text[size - 1 - padding] == '=')
        padding++;
    if (size % 4 != 0)
        return false;
    for (size_t i = 0; i < size; i += 4) {
        size_t n = i + 4 == size ? 4 - padding : 4;
        uint32_t bits = 0;

        for (size_t j = 0; j < 4; j++) {
            int digit = j < n ? sextet(text[i + j]) : 0;

            if (digit < 0)
                return false;
            bits = bits << 6 | (uint32_t)digit;
        }
        if ((bits & (n == 4 ? 0 : n == 3 ? 0xffu : 0xffffu)) != 0)
            return false;
        for (size_t j = 0; j + 1 < n; j++)
            buffer_add(bytes, (char)(bits >> (16 - 8 * j)));
    }
    return true;
}

static void get_base64(struct record *record, const char *member, struct buffer *bytes)
{
    json_t *text = json_object_get(json_object_get(record->json, member), "base64");

    if (!json_is_string(text) || !read_base64(json_string_value(text), json_string_length(text), bytes))
        fail(record, member, "base64");
}

static char *copy_text(const char *text)
{
    size_t size = strlen(text != NULL ? text : "") + 1;

    return memcpy(memory_resize(NULL, size, 1), text != NULL ? text : "", size);
}

static void get_rows(struct record *record, struct dump_object *object)
{
    object->section = copy_text(get_text(record, "section"));
    object->n_rows = get_count(record, "rows");
    get_digest(record, &object->digest);
    object->layout.key_size = htstore_dtype_size(object->layout.key_dtype);
    object->layout.element_size = htstore_dtype_size(object->layout.value_dtype);
    if (strcmp(object->section, DUMPSCHEMA_SECTION) == 0)
        fail(record, "section", "a section of rows");
}

static void get_object(struct record *record, struct dump_object *object)
{
    static const char *const kinds[] = { "", "table", "variable", "mapping", NULL };
    static const char *const roles[] = { "", "weight", "loss", "update", NULL };

    object->kind = get_word(record, "kind", kinds);
    if (json_object_get(record->json, "name") != NULL)
        object->name = copy_text(get_text(record, "name"));
    else
        object->flags = HTSTORE_ANONYMOUS;
    if (object->kind == HTSTORE_KIND_TABLE) {
        object->layout.key_dtype = get_dtype(record, "key_dtype");
        object->layout.value_dtype = get_dtype(record, "value_dtype");
        get_shape(record, &object->layout);
        get_base64(record, "default", &object->default_value);
        object->flags |= get_flag(record, "checkpoint", false, HTSTORE_NO_CHECKPOINT);
        get_rows(record, object);
    } else if (object->kind == HTSTORE_KIND_VARIABLE) {
        object->layout.value_dtype = get_dtype(record, "value_dtype");
        get_shape(record, &object->layout);
        object->role = get_word(record, "role", roles);
        object->flags |= get_flag(record, "trainable", false, HTSTORE_NOT_TRAINABLE);
        get_rows(record, object);
    } else if (object->kind == HTSTORE_KIND_MAPPING) {
        object->flags |= get_flag(record, "layer", true, HTSTORE_LAYER);
        object->flags |= get_flag(record, "trainable", false, HTSTORE_NOT_TRAINABLE);
        object->entries_expected = get_count(record, "entries");
    } else {
        fail(record, "kind", "table, variable or mapping");
    }
}

/* The object of that number; entries may come before its record. */
static struct dump_object *object_of(struct dump_objects *objects, uint64_t id)
{
    struct dump_object *object = dumpschema_find(objects, id);

    return object != NULL ? object : dumpschema_add(objects, id);
}

static void get_store(struct record *record, struct dump_objects *objects)
{
    objects->has_store = true;
    objects->expected = get_count(record, "objects");
    objects->lsn = get_count(record, "lsn");
}

static void get_entry(struct record *record, struct dump_object *object, uint64_t at)
{
    json_t *key = json_object_get(record->json, "key");
    struct dump_entry *entry;

    if (!json_is_string(key)) {
        fail(record, "key", "a text");
        return;
    }
    if (at != object->n_entries) {
        buffer_printf(record->reason, "entry %zu of the mapping is expected", object->n_entries);
        record->failed = true;
        return;
    }
    entry = dumpschema_add_entry(object);
    entry->id = get_count(record, "id");
    buffer_append(&entry->key, json_string_value(key), json_string_length(key));
    buffer_string(&entry->key);
}

/* Twenty decimal digits. */
static bool take_number(const char **at, const char *end, uint64_t *number)
{
    *number = 0;
    if (end - *at < 20)
        return false;
    for (int i = 0; i < 20; i++, (*at)++) {
        if (**at < '0' || **at > '9' || __builtin_mul_overflow(*number, 10, number) ||
            __builtin_add_overflow(*number, (uint64_t)(**at - '0'), number))
            return false;
    }
    return true;
}

static bool take_word(const char **at, const char *end, const char *word)
{
    size_t size = strlen(word);

    if ((size_t)(end - *at) < size || memcmp(*at, word, size) != 0)
        return false;
    *at += size;
    return true;
}

/* Where the record belongs, by its key: object/NUMBER or object/NUMBER/entry/NUMBER. */
static void take_object(struct record *record, struct dump_objects *objects, const char *at, const char *end)
{
    struct dump_object *object;
    uint64_t id, number;

    if (!take_word(&at, end, "object/") || !take_number(&at, end, &id) || id == 0) {
        buffer_text(record->reason, "the key is that of no record");
        record->failed = true;
        return;
    }
    object = object_of(objects, id);
    if (at == end && object->kind != 0) {
        buffer_text(record->reason, "a second record of one object");
        record->failed = true;
    } else if (at == end) {
        if (get_count(record, "id") != id)
            fail(record, "id", "the number in its key");
        get_object(record, object);
    } else if (take_word(&at, end, "/entry/") && take_number(&at, end, &number) && at == end) {
        get_entry(record, object, number);
    } else {
        buffer_text(record->reason, "the key is that of no record");
        record->failed = true;
    }
}

int dumpschema_read(struct dump_objects *objects, const struct htstore_bytes *key, const struct htstore_bytes *value,
                    struct buffer *reason)
{
    struct record record = { NULL, reason, false };
    const char *text = value->size > 0 ? value->data : "";
    json_error_t error;
    int result = 0;

    record.json = json_loadb(text, value->size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!json_is_object(record.json)) {
        buffer_printf(reason, "the value is no JSON object: %s",
                      record.json == NULL ? error.text : "it is of another kind");
        json_decref(record.json);
        return -1;
    }
    if (key->size == 5 && memcmp(key->data, "store", 5) == 0) {
        uint64_t format = get_count(&record, "format");

        get_store(&record, objects);
        if (format > DUMPSCHEMA_FORMAT) {
            reason->size = 0;
            buffer_printf(reason, "format %" PRIu64 " of the dump is newer than this program", format);
            result = 1;
        }
    } else {
        take_object(&record, objects, key->data, (const char *)key->data + key->size);
    }
    json_decref(record.json);
    return record.failed && result == 0 ? -1 : result;
}

#endif
