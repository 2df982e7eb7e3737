/* api_objects: hides which handles a test has open. */
#include "api_objects.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_COUNTED_ID 300

static void **kept;
static size_t n_kept, max_kept;

void *objects_keep(void *handle)
{
    if (n_kept == max_kept) {
        max_kept = max_kept * 2 + 64;
        kept = realloc(kept, max_kept * sizeof *kept);
        ck_assert_ptr_nonnull(kept);
    }
    return kept[n_kept++] = handle;
}

void objects_forget(void *handle)
{
    for (size_t i = n_kept; i-- > 0;)
        if (kept[i] == handle)
            kept[i] = NULL;
}

void objects_close(void)
{
    while (n_kept > 0)
        OK(htstore_object_close(kept[--n_kept], &api.error));
}

void objects_setup(void)
{
    n_kept = 0;
    api_setup();
    api_open_store();
}

void objects_teardown(void)
{
    objects_close();
    free(kept);
    kept = NULL;
    max_kept = 0;
    api_teardown();
}

void objects_reopen(void)
{
    objects_close();
    api_reopen();
}

/* ---- making and opening ---- */

struct htstore_mapping *new_mapping(const char *name, uint32_t flags)
{
    struct htstore_mapping_schema schema = { .size = sizeof schema, .flags = flags | (name ? 0 : HTSTORE_ANONYMOUS) };
    struct htstore_mapping *mapping;
    OK(htstore_mapping_create(api.store, name, &schema, NULL, 0, &mapping, &api.error));
    return objects_keep(mapping);
}

struct htstore_variable *new_variable(const char *name, uint32_t role, uint32_t flags, const char *int64_value)
{
    struct htstore_variable_schema schema = { .size = sizeof schema,
                                              .role = role,
                                              .flags = flags | (name ? 0 : HTSTORE_ANONYMOUS) };
    struct htstore_variable *variable;
    schema.initial_value = api_array(HTSTORE_INT64, int64_value);
    OK(htstore_variable_create(api.store, name, &schema, &variable, &api.error));
    return objects_keep(variable);
}

struct htstore_table *new_table(const char *name)
{
    struct htstore_schema schema = api_schema(HTSTORE_INT64, "-1", HTSTORE_INT64);
    struct htstore_table *table;
    if (!name)
        schema.flags = HTSTORE_ANONYMOUS;
    OK(htstore_table_create(api.store, name, &schema, &table, &api.error));
    return objects_keep(table);
}

struct htstore_mapping *get_mapping(const char *name)
{
    struct htstore_mapping *mapping;
    OK(htstore_mapping_open(api.store, name, NULL, &mapping, &api.error));
    return objects_keep(mapping);
}

struct htstore_variable *get_variable(const char *name)
{
    struct htstore_variable *variable;
    OK(htstore_variable_open(api.store, name, NULL, &variable, &api.error));
    return objects_keep(variable);
}

void *get_by_id(uint64_t id)
{
    void *object;
    OK(htstore_object_open(api.store, id, NULL, &object, &api.error));
    return objects_keep(object);
}

/* ---- keys and contents ---- */

struct htstore_bytes bytes_of(const char *text)
{
    return htstore_string(text);
}

struct htstore_bytes long_key(char fill, size_t size)
{
    char *data = api_alloc(size + 1);
    memset(data, fill, size);
    return (struct htstore_bytes){ data, size };
}

int objects_put(struct htstore_mapping *mapping, const char *key, const void *object)
{
    const struct htstore_bytes bytes = bytes_of(key);
    return htstore_mapping_put(mapping, &bytes, object, &api.error);
}

void set_number(void *object, int64_t value)
{
    const int64_t zero = 0;
    const struct htstore_array key = htstore_scalar(HTSTORE_INT64, &zero), in = htstore_scalar(HTSTORE_INT64, &value);
    if (htstore_object_kind(object) == HTSTORE_KIND_TABLE)
        OK(htstore_table_insert(object, &key, &in, 0, &api.error));
    else
        OK(htstore_variable_assign(object, &in, &api.error));
}

int64_t number_of(void *object)
{
    const int64_t zero = 0;
    int64_t value = INT64_MIN;
    const struct htstore_array key = htstore_scalar(HTSTORE_INT64, &zero);
    struct htstore_array out = htstore_scalar(HTSTORE_INT64, &value);
    if (htstore_object_kind(object) == HTSTORE_KIND_TABLE)
        OK(htstore_table_lookup(object, &key, NULL, &out, NULL, &api.error));
    else
        OK(htstore_variable_read(object, &out, &api.error));
    return value;
}

const char *keys_of(struct htstore_mapping *mapping)
{
    const struct htstore_item *items;
    uint64_t n;
    size_t size = 1;
    OK(htstore_mapping_items(mapping, api.arena, &items, &n, &api.error));
    ck_assert_uint_eq(n, htstore_mapping_size(mapping));
    for (uint64_t i = 0; i < n; i++)
        size += items[i].key.size + 2;
    char *text = api_alloc(size), *end = text;
    for (uint64_t i = 0; i < n; i++) {
        ck_assert_int_eq(((const char *)items[i].key.data)[items[i].key.size], 0);
        end = stpcpy(end, i ? " " : "");
        end = stpcpy(end, items[i].key.size ? items[i].key.data : "-");
    }
    return text;
}

uint64_t id_under(struct htstore_mapping *mapping, const char *key)
{
    const struct htstore_bytes bytes = bytes_of(key);
    void *object = NULL;
    uint32_t kind = 0;
    const int result = htstore_mapping_get(mapping, &bytes, &kind, &object, &api.error);
    ck_assert_msg(result == 0 || result == 1, "%s: %d: %s", key, result, api.error.message);
    ck_assert_int_eq(htstore_mapping_contains(mapping, &bytes, &api.error), result == 0);
    if (result == 1)
        return 0;
    const uint64_t id = htstore_object_id(object);
    ck_assert_uint_eq(kind, htstore_object_kind(object));
    OK(htstore_object_close(object, &api.error));
    return id;
}

const char *walk_names(struct htstore_mapping *mapping, uint32_t aggregate)
{
    const uint64_t *ids;
    uint64_t n;
    OK(htstore_mapping_walk(mapping, aggregate, api.arena, &ids, &n, &api.error));
    char *text = api_alloc((size_t)n * 64 + 1), *end = text;
    for (uint64_t i = 0; i < n; i++) {
        struct htstore_object object;
        OK(htstore_describe(api.store, ids[i], api.arena, &object, &api.error));
        ck_assert_uint_eq(object.id, ids[i]);
        if (object.name)
            end += sprintf(end, "%s%.50s", i ? " " : "", object.name);
        else
            end += sprintf(end, "%s#%" PRIu64, i ? " " : "", ids[i]);
    }
    return text;
}

uint64_t object_count(void)
{
    struct htstore_object object;
    uint64_t n = 0;
    for (uint64_t id = 1; id <= MAX_COUNTED_ID; id++)
        n += htstore_describe(api.store, id, api.arena, &object, &api.error) == 0;
    return n;
}
