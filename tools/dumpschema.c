/* dumpschema: hides how objects are kept, how their records are written, and what must hold among them. */
#include "dumpschema.h"

#include "escape.h"
#include "json.h"
#include "mdbwrite.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the list ---- */

static char *copy_text(const char *text)
{
    size_t size = strlen(text) + 1;

    return memcpy(memory_resize(NULL, size, 1), text, size);
}

/* Where the object is or belongs: the list is ordered by number. */
static size_t position(const struct dump_objects *objects, uint64_t id)
{
    size_t low = 0, high = objects->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (objects->list[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct dump_object *dumpschema_find(const struct dump_objects *objects, uint64_t id)
{
    size_t at = position(objects, id);

    return at < objects->n && objects->list[at]->id == id ? objects->list[at] : NULL;
}

struct dump_object *dumpschema_add(struct dump_objects *objects, uint64_t id)
{
    size_t at = position(objects, id);
    struct dump_object *object = memory_new(1, sizeof *object);

    if (objects->n == objects->capacity) {
        objects->capacity = objects->capacity == 0 ? 64 : 2 * objects->capacity;
        objects->list = memory_resize(objects->list, objects->capacity, sizeof(struct dump_object *));
    }
    memmove(objects->list + at + 1, objects->list + at, (objects->n - at) * sizeof(struct dump_object *));
    objects->list[at] = object;
    objects->n++;
    object->id = id;
    return object;
}

struct dump_entry *dumpschema_add_entry(struct dump_object *object)
{
    if (object->n_entries == object->entries_capacity) {
        object->entries_capacity = object->entries_capacity == 0 ? 16 : 2 * object->entries_capacity;
        object->entries = memory_resize(object->entries, object->entries_capacity, sizeof *object->entries);
    }
    memset(&object->entries[object->n_entries], 0, sizeof *object->entries);
    return &object->entries[object->n_entries++];
}

void dumpschema_release(struct dump_objects *objects)
{
    for (size_t i = 0; i < objects->n; i++) {
        struct dump_object *object = objects->list[i];

        for (size_t j = 0; j < object->n_entries; j++)
            buffer_release(&object->entries[j].key);
        free(object->entries);
        free(object->name);
        free(object->section);
        buffer_release(&object->default_value);
        free(object);
    }
    free(objects->list);
    free(objects->by_section);
    memset(objects, 0, sizeof *objects);
}

/*
 * mdb_dump writes sections by name: what sorts before !htstore must not be one. A name that starts with # could be that of
 * another object.
 */
char *dumpschema_section_name(uint32_t kind, uint64_t id, const char *name)
{
    char number[32];

    if (kind == HTSTORE_KIND_TABLE && name != NULL && (unsigned char)name[0] > '!' && name[0] != '#' &&
        strlen(name) <= MDBWRITE_MAX_KEY_SIZE && strchr(name, '\n') == NULL)
        return copy_text(name);
    (void)snprintf(number, sizeof number, "#%" PRIu64, id);
    return copy_text(number);
}

const char *dumpschema_show(const struct dump_object *object, char shown[400])
{
    static const char *const kinds[] = { "object", "table", "variable", "mapping" };
    const char *kind = kinds[object->kind <= HTSTORE_KIND_MAPPING ? object->kind : 0];
    char name[ESCAPE_SHOWN_SIZE];

    if (object->name != NULL)
        (void)snprintf(shown, 400, "%s %s", kind, escape_show(name, object->name, strlen(object->name)));
    else
        (void)snprintf(shown, 400, "%s #%" PRIu64, kind, object->id);
    return shown;
}

/* ---- writing ---- */

static void write_name(struct json *json, const char *member, const char *value)
{
    if (value == NULL)
        return;
    json_name(json, member);
    json_string(json, value);
}

static void write_count(struct json *json, const char *member, uint64_t value)
{
    json_name(json, member);
    json_count(json, value);
}

static void write_bool(struct json *json, const char *member, bool value)
{
    json_name(json, member);
    json_bool(json, value);
}

static void write_shape(struct json *json, const struct rows_layout *layout)
{
    json_name(json, "shape");
    json_open(json, '[');
    for (uint32_t i = 0; i < layout->value_rank; i++)
        json_count(json, (uint64_t)layout->value_shape[i]);
    json_close(json, ']');
}

static void write_rows(struct json *json, const struct dump_object *object)
{
    char digest[DIGEST_TEXT_SIZE];

    digest_print(&object->digest, digest);
    write_name(json, "section", object->section);
    write_count(json, "rows", object->n_rows);
    write_name(json, "digest", digest);
}

static void write_table(struct json *json, const struct dump_object *object)
{
    write_name(json, "key_dtype", htstore_dtype_name(object->layout.key_dtype));
    write_name(json, "value_dtype", htstore_dtype_name(object->layout.value_dtype));
    write_shape(json, &object->layout);
    json_name(json, "default");
    json_base64(json, object->default_value.data, object->default_value.size);
    write_bool(json, "checkpoint", (object->flags & HTSTORE_NO_CHECKPOINT) == 0);
    write_rows(json, object);
}

static void write_variable(struct json *json, const struct dump_object *object)
{
    static const char *const roles[] = { "weight", "weight", "loss", "update" };

    write_name(json, "value_dtype", htstore_dtype_name(object->layout.value_dtype));
    write_shape(json, &object->layout);
    write_name(json, "role", roles[object->role <= HTSTORE_UPDATE ? object->role : 0]);
    write_bool(json, "trainable", (object->flags & HTSTORE_NOT_TRAINABLE) == 0);
    write_rows(json, object);
}

static void write_mapping(struct json *json, const struct dump_object *object)
{
    write_bool(json, "layer", (object->flags & HTSTORE_LAYER) != 0);
    write_bool(json, "trainable", (object->flags & HTSTORE_NOT_TRAINABLE) == 0);
    write_count(json, "entries", object->n_entries);
}

static void write_object(struct json *json, const struct dump_object *object)
{
    static const char *const kinds[] = { NULL, "table", "variable", "mapping" };

    json_open(json, '{');
    write_count(json, "id", object->id);
    write_name(json, "kind", kinds[object->kind]);
    write_name(json, "name", object->name);
    if (object->kind == HTSTORE_KIND_TABLE)
        write_table(json, object);
    else if (object->kind == HTSTORE_KIND_VARIABLE)
        write_variable(json, object);
    else
        write_mapping(json, object);
    json_close(json, '}');
}

static void write_entry(struct json *json, const struct dump_entry *entry)
{
    json_open(json, '{');
    json_name(json, "key");
    json_bytes(json, entry->key.data != NULL ? entry->key.data : "", entry->key.size);
    write_count(json, "id", entry->id);
    json_close(json, '}');
}

static void write_store(struct json *json, const struct dump_objects *objects)
{
    char id[33];

    for (size_t i = 0; i < sizeof objects->store_id; i++)
        (void)snprintf(id + 2 * i, 3, "%02x", objects->store_id[i]);
    json_open(json, '{');
    write_count(json, "format", DUMPSCHEMA_FORMAT);
    write_name(json, "writer", htstore_version());
    write_name(json, "store_id", id);
    write_count(json, "lsn", objects->lsn);
    write_count(json, "objects", objects->n);
    json_close(json, '}');
}

/* One row: the record is in `record`, which is emptied. */
static void write_record(struct buffer *text, struct buffer *record, const char *key)
{
    mdbwrite_bytes(text, key, strlen(key));
    mdbwrite_bytes(text, record->data, record->size);
    record->size = 0;
}

void dumpschema_write(struct buffer *text, const struct dump_objects *objects)
{
    struct buffer record = { 0 };
    char key[80];

    for (size_t i = 0; i < objects->n; i++) {
        const struct dump_object *object = objects->list[i];

        write_object(&(struct json){ &record, false }, object);
        (void)snprintf(key, sizeof key, "object/%020" PRIu64, object->id);
        write_record(text, &record, key);
        for (size_t j = 0; j < object->n_entries; j++) {
            write_entry(&(struct json){ &record, false }, &object->entries[j]);
            (void)snprintf(key, sizeof key, "object/%020" PRIu64 "/entry/%020zu", object->id, j);
            write_record(text, &record, key);
        }
    }
    write_store(&(struct json){ &record, false }, objects);
    write_record(text, &record, "store");
    buffer_release(&record);
}

/* ---- what must hold ---- */

static int refuse(struct buffer *reason, const struct dump_object *object, const char *what)
{
    char shown[400];

    buffer_printf(reason, "%s %s", dumpschema_show(object, shown), what);
    return -1;
}

static int compare_sections(const void *a, const void *b)
{
    const struct dump_object *const *left = a, *const *right = b;

    return strcmp((*left)->section, (*right)->section);
}

static int compare_names(const void *a, const void *b)
{
    const struct dump_object *const *left = a, *const *right = b;

    return strcmp((*left)->name, (*right)->name);
}

/* No two objects have one name. */
static int check_names(const struct dump_objects *objects, struct buffer *reason)
{
    struct dump_object **named = memory_resize(NULL, objects->n, sizeof(struct dump_object *));
    size_t n = 0;
    int result = 0;

    for (size_t i = 0; i < objects->n; i++) {
        if (objects->list[i]->name != NULL)
            named[n++] = objects->list[i];
    }
    qsort(named, n, sizeof(struct dump_object *), compare_names);
    for (size_t i = 1; i < n && result == 0; i++) {
        if (strcmp(named[i - 1]->name, named[i]->name) == 0)
            result = refuse(reason, named[i], "has the name of another object");
    }
    free(named);
    return result;
}

static int index_sections(struct dump_objects *objects, struct buffer *reason)
{
    objects->by_section = memory_resize(objects->by_section, objects->n, sizeof(struct dump_object *));
    objects->n_sections = 0;
    for (size_t i = 0; i < objects->n; i++) {
        if (objects->list[i]->section != NULL)
            objects->by_section[objects->n_sections++] = objects->list[i];
    }
    qsort(objects->by_section, objects->n_sections, sizeof(struct dump_object *), compare_sections);
    for (size_t i = 1; i < objects->n_sections; i++) {
        if (compare_sections(&objects->by_section[i - 1], &objects->by_section[i]) == 0)
            return refuse(reason, objects->by_section[i], "has the section of another object");
    }
    return 0;
}

struct dump_object *dumpschema_find_section(const struct dump_objects *objects, const char *section)
{
    size_t low = 0, high = objects->n_sections;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(objects->by_section[middle]->section, section);

        if (order == 0)
            return objects->by_section[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static int check_entries(const struct dump_objects *objects, const struct dump_object *object, struct buffer *reason)
{
    if (object->kind != HTSTORE_KIND_MAPPING && object->n_entries > 0)
        return refuse(reason, object, "has entries, which only mappings have");
    if (object->n_entries != object->entries_expected)
        return refuse(reason, object, "has not as many entries as its record says");
    for (size_t i = 0; i < object->n_entries; i++) {
        if (dumpschema_find(objects, object->entries[i].id) == NULL)
            return refuse(reason, object, "has an entry whose object has no record");
    }
    return 0;
}

/* A named object must reach each anonymous one, or it would not live. */
static int check_reach(const struct dump_objects *objects, struct buffer *reason)
{
    struct dump_object **stack = memory_resize(NULL, objects->n, sizeof(struct dump_object *));
    size_t depth = 0;
    int result = 0;

    for (size_t i = 0; i < objects->n; i++) {
        objects->list[i]->is_read = objects->list[i]->name != NULL;
        if (objects->list[i]->is_read)
            stack[depth++] = objects->list[i];
    }
    while (depth > 0) {
        const struct dump_object *from = stack[--depth];

        for (size_t i = 0; i < from->n_entries; i++) {
            struct dump_object *to = dumpschema_find(objects, from->entries[i].id);

            if (!to->is_read)
                stack[depth++] = to;
            to->is_read = true;
        }
    }
    for (size_t i = 0; i < objects->n && result == 0; i++) {
        if (!objects->list[i]->is_read)
            result = refuse(reason, objects->list[i], "is anonymous and in no mapping that a name leads to");
        objects->list[i]->is_read = false;
    }
    free(stack);
    return result;
}

int dumpschema_check(struct dump_objects *objects, struct buffer *reason)
{
    if (!objects->has_store) {
        buffer_text(reason, "the record of the store is missing");
        return -1;
    }
    if (objects->n != objects->expected) {
        buffer_printf(reason, "there are records of %zu objects, the store has %" PRIu64, objects->n,
                      objects->expected);
        return -1;
    }
    for (size_t i = 0; i < objects->n; i++) {
        if (objects->list[i]->kind == 0)
            return refuse(reason, objects->list[i], "has entries, but no record");
        if (check_entries(objects, objects->list[i], reason) != 0)
            return -1;
    }
    if (check_names(objects, reason) != 0 || index_sections(objects, reason) != 0)
        return -1;
    return check_reach(objects, reason);
}
