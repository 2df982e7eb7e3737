/* object: knows which parts of a description belong to which kind. */
#include "object.h"

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

void object_count_text(struct buffer *text, const struct htstore_object *object)
{
    const char *what = object->kind == HTSTORE_KIND_MAPPING    ? "entries"
                       : object->kind == HTSTORE_KIND_VARIABLE ? "elements"
                                                               : "rows";

    buffer_printf(text, "%" PRIu64 " %s", object->n_rows, what);
}

uint64_t object_table_rows(const struct htstore_snapshot_info *info)
{
    uint64_t n = 0;

    for (uint64_t i = 0; i < info->n_objects; i++) {
        if (info->objects[i].object.kind == HTSTORE_KIND_TABLE)
            n += info->objects[i].object.n_rows;
    }
    return n;
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
    const char *count = object->kind == HTSTORE_KIND_MAPPING    ? "entries"
                        : object->kind == HTSTORE_KIND_VARIABLE ? "elements"
                                                                : "rows";

    json_name(json, "kind");
    json_string(json, path_kind_name(object->kind));
    if (object->kind == HTSTORE_KIND_TABLE)
        write_dtype(json, "key_dtype", object->key_dtype);
    if (object->kind != HTSTORE_KIND_MAPPING) {
        write_dtype(json, "value_dtype", object->value_dtype);
        json_name(json, "value_shape");
        json_open(json, '[');
        for (uint32_t i = 0; i < bounded_rank(object); i++)
            json_count(json, (uint64_t)object->value_shape[i]);
        json_close(json, ']');
    }
    json_name(json, count);
    json_count(json, object->n_rows);
    if (object->kind != HTSTORE_KIND_MAPPING) {
        json_name(json, "bytes");
        json_count(json, object->stored_bytes);
    }
    if (object->kind == HTSTORE_KIND_TABLE)
        write_flag(json, "checkpoint", (object->flags & HTSTORE_NO_CHECKPOINT) == 0);
    else
        write_flag(json, "trainable", (object->flags & HTSTORE_NOT_TRAINABLE) == 0);
    if (object->kind == HTSTORE_KIND_MAPPING)
        write_flag(json, "layer", (object->flags & HTSTORE_LAYER) != 0);
    if (object->kind == HTSTORE_KIND_VARIABLE) {
        json_name(json, "role");
        json_string(json, role_name(object->role));
    }
}
