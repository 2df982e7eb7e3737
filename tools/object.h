/* object: what is told of a table, variable or mapping, as text and as JSON. */
#ifndef TOOLS_OBJECT_H
#define TOOLS_OBJECT_H

#include "htstore.h"
#include "json.h"

/* Append the type: "string -> float32[2,3]", "variable float32[2,3]", "mapping". */
void object_type_text(struct buffer *text, const struct htstore_object *object);

/* Append how much is in it: "12 rows", "6 elements", "1 entry". */
void object_count_text(struct buffer *text, const struct htstore_object *object);

/* Append "2 objects, 30 rows, 1.5 KiB" of a snapshot, counted as object_snapshot_json() does. */
void object_snapshot_text(struct buffer *text, const struct htstore_snapshot_info *info);

/* Members for objects (without a root that is none), rows (of tables, not those that hold variables) and bytes. */
void object_snapshot_json(struct json *json, const struct htstore_snapshot_info *info);

/* These counts. */
void object_snapshot_counts(const struct htstore_snapshot_info *info, uint64_t *n_objects, uint64_t *n_rows);

/* Members for kind, type, flags and counts. */
void object_json(struct json *json, const struct htstore_object *object);

#endif
