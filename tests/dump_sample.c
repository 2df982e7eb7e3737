/* dump_sample: hides how a store of all kinds of objects is made, and how it is told. */
#include "dump_sample.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_array.h"
#include "check_util.h"
#include "htstore.h"

#define MUST(call) ck_assert_msg((call) == 0, "%s: %s", #call, error.message)

static struct htstore_error error;

/* ---- making ---- */

static struct htstore_table *make_table(struct htstore *store, const char *name, uint32_t key_dtype,
                                        const struct htstore_array *default_value, uint32_t flags)
{
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = key_dtype, .flags = flags };
    struct htstore_table *table;

    schema.default_value = *default_value;
    MUST(htstore_table_create(store, name, &schema, &table, &error));
    return table;
}

/* A table with n rows made by number; its values have that shape. */
static struct htstore_table *make_numbered(struct htstore *store, const char *name, const uint32_t dtypes[2],
                                           const char *shape, size_t n)
{
    struct htstore_array default_value = api_numbered(dtypes[1], shape, 5);
    struct htstore_table *table =
        make_table(store, name, dtypes[0], &default_value, name == NULL ? HTSTORE_ANONYMOUS : 0);
    uint64_t first = dtypes[0] == HTSTORE_STRING ? 1 : 0; /* string 0 is empty */

    for (size_t i = 0; i < n; i++) { /* one by one: values may have the highest rank */
        struct htstore_array key = api_numbered(dtypes[0], "1", first + i),
                             value = api_numbered(dtypes[1], shape, 100 + i);

        key.rank = 0;
        MUST(htstore_table_insert(table, &key, &value, HTSTORE_LAZY, &error));
    }
    return table;
}

static void make_tables(struct htstore *store)
{
    static const char *const shapes[] = { "", "3", "2,1,2", "2,0", "1,1,1,2,1,1,1,2", "1" };
    static const uint32_t plain[2] = { HTSTORE_INT64, HTSTORE_STRING };
    const char *names[] = { "#7", "!first", " blank", "two\nlines", "a/b\\c", "n\xc3\xa4me", NULL };
    char name[600];

    for (uint32_t dtype = HTSTORE_INT8; dtype <= HTSTORE_STRING; dtype++) {
        uint32_t key_dtype = dtype == HTSTORE_FLOAT16 || dtype == HTSTORE_BFLOAT16 ? HTSTORE_BOOL : dtype;
        uint32_t dtypes[2] = { key_dtype, dtype };

        (void)snprintf(name, sizeof name, "of %s", htstore_dtype_name(dtype));
        htstore_table_close(make_numbered(store, name, dtypes, shapes[dtype % 6], 2 * (dtype % 2) + 2), NULL);
        dtypes[1] = (dtype + 5) % HTSTORE_STRING + 1;
        (void)snprintf(name, sizeof name, "to %s", htstore_dtype_name(dtypes[1]));
        htstore_table_close(make_numbered(store, name, dtypes, shapes[(dtype + 2) % 6], 2), NULL);
    }
    memset(name, 'l', 599);
    name[599] = '\0';
    htstore_table_close(make_numbered(store, name, plain, "", 2), NULL);
    for (size_t i = 0; names[i] != NULL; i++)
        htstore_table_close(make_numbered(store, names[i], plain, i % 2 ? "2" : "", i), NULL);
}

static struct htstore_table *make_words(struct htstore *store, bool with_all)
{
    static char large[3u << 20];
    static char long_key[600];
    struct htstore_array none = api_array(HTSTORE_STRING, "\\e");
    struct htstore_table *table = make_table(store, "words", HTSTORE_STRING, &none, HTSTORE_NO_CHECKPOINT);
    struct htstore_bytes keys[] = { { "a\0b", 3 },  { "\xff\\\n", 3 }, { large, 511 },
                                    { "plain", 5 }, { "", 0 },         { long_key, sizeof long_key } };
    struct htstore_bytes values[] = { { "", 0 },  { "\0\xff", 2 }, { large, sizeof large },
                                      { "v", 1 }, { "empty", 5 },  { "long", 4 } };
    size_t n = with_all ? 6 : 4;
    struct htstore_array k = htstore_vector(HTSTORE_STRING, keys, n), v = htstore_vector(HTSTORE_STRING, values, n);

    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (char)(i * 7 % 251);
    memset(long_key, 'k', sizeof long_key);
    MUST(htstore_table_insert(table, &k, &v, 0, &error));
    return table;
}

/* Bits that text does not keep: not-a-numbers with payloads, and minus zero. */
static struct htstore_table *make_bits(struct htstore *store)
{
    static const uint64_t bits[] = { 0x7ff8000000000001, 0x8000000000000000, 0xfff0000000000123 };
    struct htstore_array default_value = htstore_scalar(HTSTORE_FLOAT64, &bits[2]);
    struct htstore_array keys = api_array(HTSTORE_UINT8, "[1 2 3]"), values = htstore_vector(HTSTORE_FLOAT64, bits, 3);
    struct htstore_table *table = make_table(store, "bits", HTSTORE_UINT8, &default_value, 0);

    MUST(htstore_table_insert(table, &keys, &values, 0, &error));
    return table;
}

static struct htstore_variable *make_variable(struct htstore *store, const char *name, uint32_t dtype,
                                              const char *shape)
{
    struct htstore_variable_schema schema = { .size = sizeof schema, .role = dtype % 3 + 1 };
    struct htstore_variable *variable;

    schema.flags = (name == NULL ? HTSTORE_ANONYMOUS : 0) | (dtype % 2 ? HTSTORE_NOT_TRAINABLE : 0);
    schema.initial_value = api_numbered(dtype, shape, 3);
    MUST(htstore_variable_create(store, name, &schema, &variable, &error));
    return variable;
}

static void make_variables(struct htstore *store)
{
    static const char *const shapes[] = { "", "3", "2,2,2", "0,4" };
    char name[80];

    for (uint32_t dtype = HTSTORE_INT8; dtype <= HTSTORE_STRING; dtype++) {
        (void)snprintf(name, sizeof name, "v %s", htstore_dtype_name(dtype));
        htstore_variable_close(make_variable(store, name, dtype, shapes[dtype % 4]), NULL);
    }
    htstore_variable_close(make_variable(store, "v large", HTSTORE_INT64, "150000,2"), NULL);
    htstore_variable_close(make_variable(store, "v strings", HTSTORE_STRING, "20,2"), NULL);
    htstore_variable_close(make_variable(store, "v one", HTSTORE_INT16, "1,700000"), NULL);
}

/* root { z: words, "": root, a: { v: variable, t: table, words: words }, again: a }, all but root and words anonymous. */
static void make_mappings(struct htstore *store, struct htstore_table *words)
{
    static const uint32_t dtypes[2] = { HTSTORE_INT32, HTSTORE_FLOAT32 };
    struct htstore_mapping_schema layer = { .size = sizeof layer, .flags = HTSTORE_LAYER | HTSTORE_NOT_TRAINABLE };
    struct htstore_mapping_schema anonymous = { .size = sizeof anonymous, .flags = HTSTORE_ANONYMOUS };
    struct htstore_table *table = make_numbered(store, NULL, dtypes, "2", 3);
    struct htstore_variable *variable = make_variable(store, NULL, HTSTORE_FLOAT32, "4");
    struct htstore_mapping *root, *inner, *many;
    struct htstore_bytes self = htstore_string("");
    char key[40];

    MUST(htstore_mapping_create(store, "root", &layer, NULL, 0, &root, &error));
    MUST(htstore_mapping_create(store, NULL, &anonymous, NULL, 0, &inner, &error));
    MUST(htstore_mapping_create(store, "many", NULL, NULL, 0, &many, &error));
    struct htstore_entry inside[] = { { htstore_string("v/\"\\\n"), variable },
                                      { htstore_string("t"), table },
                                      { htstore_string("words"), words } };
    struct htstore_entry entries[] = { { htstore_string("z"), words },
                                       { self, root },
                                       { htstore_string("a"), inner },
                                       { htstore_string("again"), inner } };
    MUST(htstore_mapping_update(inner, inside, 3, &error));
    MUST(htstore_mapping_update(root, entries, 4, &error));
    for (int i = 1099; i >= 0; i--) {
        (void)snprintf(key, sizeof key, "entry %d", i);
        struct htstore_bytes bytes = htstore_string(key);
        if (i % 100 == 0 || i < 20)
            MUST(htstore_mapping_put(many, &bytes, words, &error));
    }
    htstore_mapping_close(many, NULL);
    htstore_mapping_close(root, NULL);
    htstore_mapping_close(inner, NULL);
    htstore_variable_close(variable, NULL);
    htstore_table_close(table, NULL);
}

void dump_sample_make(const char *path, bool with_all)
{
    struct htstore_options options = { .size = sizeof options, .flags = HTSTORE_CREATE | HTSTORE_EXCLUSIVE };
    struct htstore_table *words;
    struct htstore *store;

    MUST(htstore_open(path, &options, &store, &error));
    make_tables(store);
    words = make_words(store, with_all);
    htstore_table_close(make_bits(store), NULL);
    make_variables(store);
    make_mappings(store, words);
    htstore_table_close(words, NULL);
    MUST(htstore_close(store, &error));
}

/* ---- telling ---- */

struct text {
    char *data;
    size_t size, capacity;
};

static void say(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct text *text, const char *format, ...)
{
    va_list arguments;
    int n;

    for (;;) {
        size_t room = text->capacity - text->size;

        va_start(arguments, format);
        n = vsnprintf(text->data + text->size, room, format, arguments);
        va_end(arguments);
        if ((size_t)n < room)
            break;
        char *larger = api_alloc(2 * text->capacity + (size_t)n + 1);
        memcpy(larger, text->data, text->size);
        text->data = larger;
        text->capacity = 2 * text->capacity + (size_t)n + 1;
    }
    text->size += (size_t)n;
}

/* Bits of all elements; of long ones a sum. */
static void say_bits(struct text *text, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    uint64_t sum = 14695981039346656037u; /* FNV-1a, by Fowler, Noll and Vo */

    for (size_t i = 0; i < size; i++)
        sum = (sum ^ bytes[i]) * 1099511628211u;
    for (size_t i = 0; i < size && size <= 24; i++)
        say(text, "%02x", bytes[i]);
    say(text, "(%zu,%" PRIx64 ")", size, sum);
}

static void say_elements(struct text *text, uint32_t dtype, size_t n, const void *data)
{
    const struct htstore_bytes *strings = data;

    if (dtype != HTSTORE_STRING)
        say_bits(text, data, n * htstore_dtype_size(dtype));
    for (size_t i = 0; dtype == HTSTORE_STRING && i < n; i++)
        say_bits(text, strings[i].data, strings[i].size);
}

static void say_shape(struct text *text, const struct htstore_array *array)
{
    say(text, "%s[%s]", htstore_dtype_name(array->dtype), api_shape(array));
}

static void say_table(struct text *text, struct htstore_table *table, struct htstore_arena *arena)
{
    struct htstore_schema schema = { .size = sizeof schema };
    struct htstore_array keys, value;

    MUST(htstore_table_schema(table, &schema, &error));
    say(text, " flags %u %s to ", schema.flags, htstore_dtype_name(schema.key_dtype));
    say_shape(text, &schema.default_value);
    say_elements(text, schema.default_value.dtype, api_count(&schema.default_value), schema.default_value.data);
    MUST(htstore_table_export(table, arena, &keys, NULL, &error));
    for (int64_t i = 0; i < keys.shape[0]; i++) {
        struct htstore_array key =
            htstore_scalar(keys.dtype, (char *)keys.data + (size_t)i * htstore_dtype_size(keys.dtype));

        value = schema.default_value;
        value.data = api_alloc(api_count(&value) * htstore_dtype_size(value.dtype) + 1);
        value.arena = arena;
        MUST(htstore_table_lookup(table, &key, NULL, &value, NULL, &error));
        say(text, "\n    ");
        say_elements(text, key.dtype, 1, key.data);
        say(text, " = ");
        say_elements(text, value.dtype, api_count(&value), value.data);
    }
}

static void say_variable(struct text *text, struct htstore_variable *variable, struct htstore_arena *arena)
{
    struct htstore_variable_schema schema = { .size = sizeof schema };
    struct htstore_array value;

    MUST(htstore_variable_schema(variable, &schema, &error));
    value = schema.initial_value;
    value.data = api_alloc(api_count(&value) * htstore_dtype_size(value.dtype) + 1);
    value.arena = arena;
    MUST(htstore_variable_read(variable, &value, &error));
    say(text, " flags %u role %u ", schema.flags, schema.role);
    say_shape(text, &value);
    say_elements(text, value.dtype, api_count(&value), value.data);
}

/* Numbers of objects in the order in which they were met. */
struct met {
    uint64_t ids[1000];
    size_t n;
};

static size_t place_of(struct met *met, uint64_t id)
{
    for (size_t i = 0; i < met->n; i++) {
        if (met->ids[i] == id)
            return i;
    }
    ck_assert_uint_lt(met->n, 1000);
    met->ids[met->n] = id;
    return met->n++;
}

static void say_mapping(struct text *text, struct htstore_mapping *mapping, struct met *met,
                        struct htstore_arena *arena)
{
    const struct htstore_item *items;
    uint64_t n;

    MUST(htstore_mapping_items(mapping, arena, &items, &n, &error));
    say(text, " layer %d trainable %d", htstore_mapping_is_layer(mapping), htstore_mapping_is_trainable(mapping));
    for (uint64_t i = 0; i < n; i++)
        say(text, "\n    \"%.*s\" %zu", (int)items[i].key.size, (const char *)items[i].key.data,
            place_of(met, items[i].id));
}

static void say_object(struct text *text, struct htstore *store, struct met *met, size_t place)
{
    struct htstore_arena *arena;
    uint32_t kind;
    void *object;

    MUST(htstore_arena_new(&arena, &error));
    MUST(htstore_object_open(store, met->ids[place], &kind, &object, &error));
    say(text, "%zu kind %u", place, kind);
    if (kind == HTSTORE_KIND_TABLE)
        say_table(text, object, arena);
    else if (kind == HTSTORE_KIND_VARIABLE)
        say_variable(text, object, arena);
    else
        say_mapping(text, object, met, arena);
    say(text, "\n");
    MUST(htstore_object_close(object, &error));
    htstore_arena_free(arena);
}

const char *dump_sample_text(const char *path)
{
    struct htstore_options options = { .size = sizeof options, .flags = HTSTORE_READONLY };
    struct text text = { api_alloc(4096), 0, 4096 };
    const struct htstore_object *list;
    struct htstore_arena *arena;
    struct htstore *store;
    struct met met = { .n = 0 };
    uint64_t n;

    MUST(htstore_open(path, &options, &store, &error));
    MUST(htstore_arena_new(&arena, &error));
    MUST(htstore_list(store, arena, &list, &n, &error));
    for (uint64_t i = 0; i < n; i++)
        say(&text, "%zu is \"%s\"\n", place_of(&met, list[i].id), list[i].name);
    for (size_t i = 0; i < met.n; i++)
        say_object(&text, store, &met, i);
    htstore_arena_free(arena);
    MUST(htstore_close(store, &error));
    return text.data;
}
