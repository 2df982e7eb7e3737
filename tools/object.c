/* object: knows which parts of a description belong to which kind. */
#include "object.h"

#include "escape.h"
#include "path.h"
#include "rows.h"

#include <inttypes.h>
#include <stdbool.h>

static uint32_t bounded_rank(const struct htstore_object *object)
{
    return object->value_rank <= HTSTORE_MAX_RANK ? object->value_rank : HTSTORE_MAX_RANK;
}

void object_type_text(struct buffer *text, const struct htstore_object *object)
{
    if (object->kind == 0) {
        buffer_text(text, "root");
        return;
    }
    if (object->kind == HTSTORE_KIND_MAPPING) {
        buffer_text(text, (object->flags & HTSTORE_LAYER) != 0 ? "mapping, layer" : "mapping");
        return;
    }
    if (object->kind == HTSTORE_KIND_VARIABLE) {
        buffer_text(text, "variable ");
    } else {
        rows_type_text(text, object->key_dtype, 0, NULL);
        buffer_text(text, " -> ");
    }
    rows_type_text(text, object->value_dtype, bounded_rank(object), object->value_shape);
}

static const char *name_of_count(uint32_t kind)
{
    switch (kind) {
    case HTSTORE_KIND_TABLE:
        return "rows";
    case HTSTORE_KIND_VARIABLE:
        return "elements";
    default:
        return "entries";
    }
}

void object_count_text(struct buffer *text, const struct htstore_object *object)
{
    const char *what = name_of_count(object->kind);

    buffer_printf(text, "%" PRIu64 " %s", object->n_rows, what);
}

void object_snapshot_counts(const struct htstore_snapshot_info *info, uint64_t *n_objects, uint64_t *n_rows)
{
    *n_objects = *n_rows = 0;
    for (uint64_t i = 0; i < info->n_objects; i++) {
        *n_objects += info->objects[i].object.kind != 0;
        if (info->objects[i].object.kind == HTSTORE_KIND_TABLE)
            *n_rows += info->objects[i].object.n_rows;
    }
}

void object_snapshot_text(struct buffer *text, const struct htstore_snapshot_info *info)
{
    uint64_t n_objects, n_rows;
    char size[32];

    object_snapshot_counts(info, &n_objects, &n_rows);
    buffer_printf(text, "%" PRIu64 " objects, %" PRIu64 " rows, %s", n_objects, n_rows, escape_size(size, info->bytes));
}

void object_snapshot_json(struct json *json, const struct htstore_snapshot_info *info)
{
    uint64_t n_objects, n_rows;

    object_snapshot_counts(info, &n_objects, &n_rows);
    json_name(json, "objects");
    json_count(json, n_objects);
    json_name(json, "rows");
    json_count(json, n_rows);
    json_name(json, "bytes");
    json_count(json, info->bytes);
}

static void write_dtype(struct json *json, const char *name, uint32_t dtype)
{
    const char *text = htstore_dtype_name(dtype);

    json_name(json, name);
    json_string(json, text != NULL ? text : "unknown");
}

static void write_flag(struct json *json, const char *name, bool value)
{
    json_name(json, name);
    json_bool(json, value);
}

static const char *role_name(uint32_t role)
{
    return role == HTSTORE_LOSS ? "loss" : role == HTSTORE_UPDATE ? "update" : "weight";
}

void object_json(struct json *json, const struct htstore_object *object)
{
    const char *count = name_of_count(object->kind);

    bool holds_elements = object->kind == HTSTORE_KIND_TABLE || object->kind == HTSTORE_KIND_VARIABLE;

    json_name(json, "kind");
    json_string(json, object->kind == 0 ? "root" : path_kind_name(object->kind));
    if (object->kind == HTSTORE_KIND_TABLE)
        write_dtype(json, "key_dtype", object->key_dtype);
    if (holds_elements) {
        write_dtype(json, "value_dtype", object->value_dtype);
        json_name(json, "value_shape");
        json_open(json, '[');
        for (uint32_t i = 0; i < bounded_rank(object); i++)
            json_count(json, (uint64_t)object->value_shape[i]);
        json_close(json, ']');
    }
    json_name(json, count);
    json_count(json, object->n_rows);
    if (holds_elements) {
        json_name(json, "bytes");
        json_count(json, object->stored_bytes);
    }
    if (object->kind == HTSTORE_KIND_TABLE)
        write_flag(json, "checkpoint", (object->flags & HTSTORE_NO_CHECKPOINT) == 0);
    else if (object->kind != 0)
        write_flag(json, "trainable", (object->flags & HTSTORE_NOT_TRAINABLE) == 0);
    if (object->kind == HTSTORE_KIND_MAPPING)
        write_flag(json, "layer", (object->flags & HTSTORE_LAYER) != 0);
    if (object->kind == HTSTORE_KIND_VARIABLE) {
        json_name(json, "role");
        json_string(json, role_name(object->role));
    }
}
