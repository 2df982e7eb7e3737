/* list: hides how the catalogue is shown to the caller. */
#include "list.h"

#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "flush.h"
#include "state.h"
#include "view.h"

static int compare_names(const void *a, const void *b)
{
    const struct htstore_object *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static bool is_listed(const struct hti_core *core)
{
    return !core->dropped && core->record.name;
}

static const char *copy_name(struct htstore_arena *arena, const char *name)
{
    const size_t size = strlen(name) + 1;
    char *copy = hti_arena_alloc(arena, size, 1);

    return copy ? memcpy(copy, name, size) : NULL;
}

static void describe(const struct hti_core *core, struct htstore_object *object)
{
    const struct hti_object_record *record = &core->record;

    memset(object, 0, sizeof *object);
    object->id = record->id;
    object->kind = record->kind;
    object->flags = record->flags;
    object->key_dtype = record->key_dtype;
    object->value_dtype = record->value_dtype;
    object->value_rank = record->value_shape.rank;
    object->role = record->role;
    memcpy(object->value_shape, record->value_shape.dim, sizeof object->value_shape);
    object->n_rows = record->kind == HTSTORE_KIND_VARIABLE ? hti_shape_count(&record->value_shape) : core->n_rows;
    object->stored_bytes = core->totals.database; /* the number of its database, until it is measured */
}

/* One instant: names and counts are copied with the section held. */
static int copy_objects(struct htstore *store, struct htstore_arena *arena, struct htstore_object **objects,
                        uint64_t *n)
{
    uint64_t count = 0;
    int rc = 0;

    struct hti_section_line *line = hti_section_enter(&store->section);
    pthread_mutex_lock(&store->objects_mutex);
    for (const struct hti_core *core = store->cores; core; core = core->next)
        count += is_listed(core);
    *objects = hti_arena_alloc(arena, (size_t)count, sizeof **objects);
    *n = 0;
    for (const struct hti_core *core = store->cores; core && *objects && rc == 0; core = core->next) {
        if (!is_listed(core))
            continue;
        struct htstore_object *object = &(*objects)[(*n)++];
        describe(core, object);
        object->name = copy_name(arena, core->record.name);
        rc = object->name ? 0 : HTSTORE_ENOMEM;
    }
    pthread_mutex_unlock(&store->objects_mutex);
    hti_section_leave(line);
    return *objects ? rc : HTSTORE_ENOMEM;
}

static int measure_owned(struct htstore *store, struct htstore_object *object, struct htstore_error *error)
{
    const uint64_t database = object->stored_bytes;
    struct hti_kv_shape shape = { 0 };
    struct hti_kv_read *read;
    int rc;

    object->stored_bytes = 0;
    if (database == 0)
        return 0;
    rc = hti_kv_acquire(store->kv, database, false, error);
    if (rc != 0)
        return rc == 1 ? 0 : rc; /* deleted meanwhile */
    rc = hti_kv_read_begin(store->kv, false, &read, error);
    if (rc == 0) {
        rc = hti_kv_read_shape(read, database, &shape, error);
        hti_kv_read_end(read);
    }
    hti_kv_release(store->kv, database);
    object->stored_bytes = shape.bytes;
    return rc;
}

static int measure_viewed(struct htstore *store, struct htstore_object *object, struct htstore_error *error)
{
    struct hti_kv_shape shape = { 0 };
    struct hti_kv_read *read;
    int rc = hti_view_read(store, &read, error);

    if (rc == 0 && object->stored_bytes != 0)
        rc = hti_kv_read_shape(read, object->stored_bytes, &shape, error);
    object->stored_bytes = shape.bytes;
    return rc;
}

static int measure(struct htstore *store, struct htstore_object *object, struct htstore_error *error)
{
    return store->readonly ? measure_viewed(store, object, error) : measure_owned(store, object, error);
}

static int list_objects(struct htstore *store, struct htstore_arena *arena, struct htstore_object **list,
                        uint64_t *count, struct htstore_error *error)
{
    int rc;

    pthread_mutex_lock(hti_graph_mutex(store));
    rc = copy_objects(store, arena, list, count);
    if (rc != 0)
        hti_fail(error, rc, "no memory for the list");
    for (uint64_t i = 0; rc == 0 && i < *count; i++)
        rc = measure(store, &(*list)[i], error);
    pthread_mutex_unlock(hti_graph_mutex(store));
    return rc;
}

int htstore_list(struct htstore *store, struct htstore_arena *arena, const struct htstore_object **objects, uint64_t *n,
                 struct htstore_error *error)
{
    struct htstore_object *list;
    uint64_t count;
    int rc = hti_check_store(store, false, error);

    if (rc != 0)
        return rc;
    if (!hti_arena_is_valid(arena) || !objects || !n)
        return hti_fail(error, HTSTORE_EINVAL, "arena, objects or n is NULL");
    rc = hti_flush_count(store, NULL, error);
    if (rc == 0)
        rc = list_objects(store, arena, &list, &count, error);
    if (rc != 0)
        return rc;
    qsort(list, (size_t)count, sizeof *list, compare_names);
    *objects = list;
    *n = count;
    return 0;
}

static int describe_one(struct htstore *store, uint64_t id, struct htstore_arena *arena, struct htstore_object *object,
                        struct htstore_error *error)
{
    const struct hti_core *core;

    struct hti_section_line *line = hti_section_enter(&store->section);
    pthread_mutex_lock(&store->objects_mutex);
    core = hti_core_by_id(store, id);
    if (core) {
        describe(core, object);
        object->name = core->record.name ? copy_name(arena, core->record.name) : NULL;
    }
    pthread_mutex_unlock(&store->objects_mutex);
    hti_section_leave(line);
    if (!core)
        return hti_fail(error, HTSTORE_ENOTFOUND, "there is no object %llu", (unsigned long long)id);
    if (core->record.name && !object->name)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for the name");
    return measure(store, object, error);
}

int htstore_describe(struct htstore *store, uint64_t id, struct htstore_arena *arena, struct htstore_object *object,
                     struct htstore_error *error)
{
    struct htstore_object found;
    int rc = hti_check_store(store, false, error);

    if (rc != 0)
        return rc;
    if (!hti_arena_is_valid(arena) || !object)
        return hti_fail(error, HTSTORE_EINVAL, "arena or object is NULL");
    pthread_mutex_lock(hti_graph_mutex(store));
    rc = describe_one(store, id, arena, &found, error);
    pthread_mutex_unlock(hti_graph_mutex(store));
    if (rc == 0)
        *object = found;
    return rc;
}
