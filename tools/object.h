/* object: what is told of a table, variable or mapping, as text and as JSON. */
#ifndef TOOLS_OBJECT_H
#define TOOLS_OBJECT_H

#include "htstore.h"
#include "json.h"

/* Append the type: "string -> float32[2,3]", "variable float32[2,3]", "mapping". */
void object_type_text(struct buffer *text, const struct htstore_object *object);

/* Append how much is in it: "12 rows", "6 elements", "1 entry". */
void object_count_text(struct buffer *text, const struct htstore_object *object);

/* The rows of all tables in a snapshot; its own count has those of variables too. */
uint64_t object_table_rows(const struct htstore_snapshot_info *info);

/* Members for kind, type, flags and counts. */
void object_json(struct json *json, const struct htstore_object *object);

#endif
