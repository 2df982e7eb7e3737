/* dumpload: hides batches of rows, elements of variables until they are whole, and the order in which objects are made. */
#include "dumpload.h"

#include "dumpwalk.h"
#include "packed.h"
#include "tool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_ROWS 8192
#define BATCH_BYTES (64u << 20)
#define BATCH_ENTRIES 1024

static const struct packed_order little_endian = { false, false };

/* What the library refuses here was wrong in the dump. */
static int fail(const struct tool *tool, const struct dump_object *object, const struct htstore_error *error)
{
    int status = tool_fail_library(tool, object->name, error);

    return status == STATUS_USAGE || status == STATUS_CONFLICT || status == STATUS_TYPE ? STATUS_DAMAGED : status;
}

static struct htstore_array array_of(const struct rows_layout *layout, void *data)
{
    struct htstore_array array = htstore_scalar(layout->value_dtype, data);

    array.rank = layout->value_rank;
    memcpy(array.shape, layout->value_shape, sizeof array.shape);
    return array;
}

/* ---- creating ---- */

/* No memory is asked for before the bytes that should fill it are there. */
static bool fits(const struct rows_layout *layout, size_t size)
{
    if (packed_has_sizes(layout))
        return layout->width <= size / 4;
    return layout->value_dtype == HTSTORE_STRING || layout->width * layout->element_size == size;
}

static int create_table(const struct tool *tool, struct htstore *store, struct dump_object *object)
{
    struct rows_layout layout = object->layout;
    struct htstore_bytes key = { "", 0 }, value = { object->default_value.data, object->default_value.size };
    struct htstore_schema schema = { .size = sizeof schema, .flags = object->flags };
    struct htstore_error error;
    struct buffer reason = { 0 };
    struct rows rows;
    int status = STATUS_DONE;
    char shown[400];

    layout.key_dtype = HTSTORE_STRING;
    layout.key_size = sizeof(struct htstore_bytes);
    rows_init(&rows, &layout, false);
    schema.key_dtype = object->layout.key_dtype;
    if (!fits(&layout, value.size))
        buffer_text(&reason, "it has another size than a value");
    if (reason.size > 0 || packed_read(&rows, &little_endian, &key, &value, &reason) != 0) {
        status = tool_fail(tool, STATUS_DAMAGED, tool->store, "%s: its default value is none: %s",
                           dumpschema_show(object, shown), buffer_string(&reason));
    } else {
        schema.default_value = array_of(&layout, rows_value(&rows, 0));
        if (htstore_table_create(store, object->name, &schema, (struct htstore_table **)&object->handle, &error) < 0)
            status = fail(tool, object, &error);
    }
    rows_release(&rows);
    buffer_release(&reason);
    return status;
}

int dumpload_create(const struct tool *tool, struct htstore *store, struct dump_object *object)
{
    struct htstore_mapping_schema schema = { .size = sizeof schema, .flags = object->flags };
    struct htstore_error error;

    if (object->kind == HTSTORE_KIND_TABLE)
        return create_table(tool, store, object);
    if (object->kind == HTSTORE_KIND_MAPPING &&
        htstore_mapping_create(store, object->name, &schema, NULL, 0, (struct htstore_mapping **)&object->handle,
                               &error) < 0)
        return fail(tool, object, &error);
    return STATUS_DONE;
}

/* ---- rows of tables ---- */

/* One row, whose value has the highest rank: an array of several would have one dimension too many. */
static int insert_one(struct htstore_table *table, const struct rows *rows, size_t i, struct htstore_error *error)
{
    struct htstore_array key = htstore_scalar(rows->layout->key_dtype, rows_key(rows, i));
    struct htstore_array value = array_of(rows->layout, rows_value(rows, i));

    return htstore_table_insert(table, &key, &value, HTSTORE_LAZY, error);
}

static int insert_rows(struct dumpload *load)
{
    struct rows *rows = &load->rows;
    struct htstore_array keys, values;
    struct htstore_error error;
    int result = 0;

    if (rows->n == 0)
        return STATUS_DONE;
    keys = rows_keys(rows);
    if (rows->layout->value_rank == HTSTORE_MAX_RANK) {
        for (size_t i = 0; i < rows->n && result == 0; i++)
            result = insert_one(load->object->handle, rows, i, &error);
    } else {
        values = rows_values(rows);
        result = htstore_table_insert(load->object->handle, &keys, &values, HTSTORE_LAZY, &error);
    }
    rows_clear(rows);
    return result < 0 ? fail(load->tool, load->object, &error) : STATUS_DONE;
}

static int take_table_row(struct dumpload *load, const struct htstore_bytes *key, const struct htstore_bytes *value,
                          struct buffer *reason)
{
    const struct rows_layout *layout = &load->object->layout;

    if (load->rows.layout == NULL)
        rows_init(&load->rows, layout, false);
    if (packed_read(&load->rows, &little_endian, key, value, reason) != 0)
        return -1;
    digest_add(&load->digest, key, value, layout->value_dtype == HTSTORE_STRING && !packed_has_sizes(layout));
    if (load->rows.n < BATCH_ROWS && load->rows.bytes < BATCH_BYTES)
        return 0;
    return insert_rows(load);
}

/* ---- rows of variables ---- */

static uint64_t index_of(const struct htstore_bytes *key)
{
    const unsigned char *bytes = key->data;
    uint64_t index = 0;

    for (size_t i = 0; i < DUMPWALK_INDEX_SIZE; i++)
        index = index << 8 | bytes[i];
    return index;
}

static int take_elements(struct dumpload *load, const struct htstore_bytes *key, const struct htstore_bytes *value,
                         struct buffer *reason)
{
    const struct rows_layout *layout = &load->object->layout;
    bool strings = layout->value_dtype == HTSTORE_STRING;
    size_t n = strings ? 1 : value->size / layout->element_size;

    if (key->size != DUMPWALK_INDEX_SIZE || index_of(key) != load->n_elements) {
        buffer_printf(reason, "the key is not the index of element %zu, which comes next", load->n_elements);
        return -1;
    }
    if (!strings && (value->size == 0 || value->size % layout->element_size != 0)) {
        buffer_printf(reason, "the value has %zu bytes, elements have %zu each", value->size, layout->element_size);
        return -1;
    }
    if (n > layout->width - load->n_elements) {
        buffer_printf(reason, "the variable has %zu elements, not more", layout->width);
        return -1;
    }
    digest_add(&load->digest, key, value, strings);
    buffer_append(&load->elements, value->data, value->size);
    if (strings)
        buffer_append(&load->sizes, &value->size, sizeof value->size);
    load->n_elements += n;
    return 0;
}

/* The strings of a variable as an array of its elements. */
static struct htstore_bytes *make_strings(const struct dumpload *load)
{
    struct htstore_bytes *strings = memory_new(load->n_elements, sizeof *strings);
    const char *at = load->elements.data;

    for (size_t i = 0; i < load->n_elements; i++) {
        memcpy(&strings[i].size, load->sizes.data + i * sizeof(size_t), sizeof(size_t));
        strings[i].data = at;
        at = at != NULL ? at + strings[i].size : NULL;
    }
    return strings;
}

static int create_variable(struct dumpload *load, struct buffer *reason)
{
    struct dump_object *object = load->object;
    struct htstore_variable_schema schema = { .size = sizeof schema, .flags = object->flags, .role = object->role };
    struct htstore_bytes *strings = NULL;
    struct htstore_error error;
    int status = STATUS_DONE;

    if (load->n_elements != object->layout.width) {
        buffer_printf(reason, "the variable has %zu elements, %zu are here", object->layout.width, load->n_elements);
        return -1;
    }
    if (object->layout.value_dtype == HTSTORE_STRING)
        strings = make_strings(load);
    schema.initial_value = array_of(&object->layout, strings != NULL ? (void *)strings : load->elements.data);
    if (htstore_variable_create(load->store, object->name, &schema, (struct htstore_variable **)&object->handle,
                                &error) < 0)
        status = fail(load->tool, object, &error);
    free(strings);
    return status;
}

/* ---- both ---- */

int dumpload_row(struct dumpload *load, const struct htstore_bytes *key, const struct htstore_bytes *value,
                 struct buffer *reason)
{
    load->n_rows++;
    if (load->object->kind == HTSTORE_KIND_TABLE)
        return take_table_row(load, key, value, reason);
    return take_elements(load, key, value, reason);
}

int dumpload_end(struct dumpload *load, struct buffer *reason)
{
    const struct dump_object *object = load->object;
    char shown[400];

    if (load->n_rows != object->n_rows) {
        buffer_printf(reason, "%s has %" PRIu64 " rows here, its record says %" PRIu64, dumpschema_show(object, shown),
                      load->n_rows, object->n_rows);
        return -1;
    }
    if (!digest_equal(&load->digest, &object->digest)) {
        buffer_printf(reason, "the rows of %s have another digest than its record", dumpschema_show(object, shown));
        return -1;
    }
    return object->kind == HTSTORE_KIND_TABLE ? insert_rows(load) : create_variable(load, reason);
}

void dumpload_release(struct dumpload *load)
{
    rows_release(&load->rows);
    buffer_release(&load->elements);
    buffer_release(&load->sizes);
}

/* ---- mappings ---- */

static int link_mapping(const struct tool *tool, const struct dump_objects *objects, const struct dump_object *mapping)
{
    struct htstore_entry entries[BATCH_ENTRIES];
    struct htstore_error error;

    for (size_t i = 0; i < mapping->n_entries; i += BATCH_ENTRIES) {
        size_t n = mapping->n_entries - i < BATCH_ENTRIES ? mapping->n_entries - i : BATCH_ENTRIES;

        for (size_t j = 0; j < n; j++) {
            const struct dump_entry *entry = &mapping->entries[i + j];

            entries[j].key = (struct htstore_bytes){ entry->key.data, entry->key.size };
            entries[j].object = dumpschema_find(objects, entry->id)->handle;
        }
        if (htstore_mapping_update(mapping->handle, entries, n, &error) < 0)
            return fail(tool, mapping, &error);
    }
    return STATUS_DONE;
}

int dumpload_link(const struct tool *tool, const struct dump_objects *objects)
{
    int status = STATUS_DONE;

    for (size_t i = 0; i < objects->n && status == STATUS_DONE; i++) {
        if (objects->list[i]->kind == HTSTORE_KIND_MAPPING)
            status = link_mapping(tool, objects, objects->list[i]);
    }
    return status;
}
