/* object: hides what is common to tables, variables and mappings: names, numbers, handles, the end of a life. */
#include "object.h"

#include <string.h>

#include "load.h"
#include "mem.h"
#include "schema.h"
#include "structure.h"
#include "text.h"

#define NAME_TEXT_SIZE 96

static const char *const KINDS[] = { "object", "table", "variable", "mapping" };

static int not_found(const char *name, uint32_t kind, struct htstore_error *error)
{
    char text[NAME_TEXT_SIZE];

    hti_text_escape(text, sizeof text, name, strlen(name));
    return hti_fail(error, HTSTORE_ENOTFOUND, "there is no %s %s", KINDS[kind], text);
}

int hti_object_check_alive(const struct hti_core *core, struct htstore_error *error)
{
    char label[HTI_CORE_LABEL_SIZE];

    if (!core->dropped)
        return 0;
    return hti_fail(error, HTSTORE_ENOTFOUND, "%s was dropped by the store's owner", hti_core_label(core, label));
}

static struct hti_core *find_core(struct htstore *store, const char *name)
{
    struct hti_core *core;

    pthread_mutex_lock(&store->objects_mutex);
    core = hti_core_by_name(store, name);
    pthread_mutex_unlock(&store->objects_mutex);
    return core;
}

int hti_object_open_core(struct htstore *store, struct hti_core *core, void **handle, struct htstore_error *error)
{
    struct hti_handle *new_handle;
    int rc = hti_handle_new(&new_handle, error);

    if (rc != 0)
        return rc;
    if (!store->readonly && core->record.kind != HTSTORE_KIND_MAPPING)
        rc = hti_load_table(store, core, error);
    if (rc != 0) {
        hti_mem_free(new_handle);
        return rc;
    }
    hti_handle_open(new_handle, store, core);
    *handle = new_handle;
    return 0;
}

/* A call that fails leaves nothing behind: all memory is there before the object is. */
static int make_core(struct htstore *store, const struct hti_opening *opening, void **handle,
                     struct htstore_error *error)
{
    struct hti_handle *new_handle;
    struct hti_core *core;
    int rc = hti_handle_new(&new_handle, error);

    if (rc != 0)
        return rc;
    if (opening->make)
        rc = opening->make(store, opening->record, opening->user, &core, error);
    else
        rc = hti_structure_create(store, opening->record, NULL, &core, error);
    if (rc != 0) {
        hti_mem_free(new_handle);
        return rc;
    }
    hti_handle_open(new_handle, store, core);
    *handle = new_handle;
    return 0;
}

static int open_found(struct htstore *store, struct hti_core *core, const struct hti_opening *opening, void **handle,
                      struct htstore_error *error)
{
    char text[NAME_TEXT_SIZE];
    int rc = 0;

    if (opening->mode == HTI_OPEN_CREATE) {
        hti_text_escape(text, sizeof text, opening->name, strlen(opening->name));
        return hti_fail(error, HTSTORE_EEXIST, "the name %s is already used", text);
    }
    if (core->record.kind != opening->kind)
        rc = hti_schema_kinds_differ(opening->kind, &core->record, error);
    else if (opening->record)
        rc = hti_schema_compare(opening->record, &core->record, error);
    return rc ? rc : hti_object_open_core(store, core, handle, error);
}

static int open_locked(struct htstore *store, const struct hti_opening *opening, void **handle,
                       struct htstore_error *error)
{
    struct hti_core *core = opening->name ? find_core(store, opening->name) : NULL;
    int rc;

    if (core)
        return open_found(store, core, opening, handle, error);
    if (opening->mode == HTI_OPEN_EXISTING)
        return not_found(opening->name, opening->kind, error);
    rc = hti_check_store(store, true, error);
    return rc ? rc : make_core(store, opening, handle, error);
}

int hti_object_open(struct htstore *store, const struct hti_opening *opening, void **handle,
                    struct htstore_error *error)
{
    const bool may_create = !store->readonly && opening->mode != HTI_OPEN_EXISTING;
    int rc;

    if (may_create)
        hti_structure_lock(store);
    else
        pthread_mutex_lock(hti_graph_mutex(store));
    rc = open_locked(store, opening, handle, error);
    if (may_create)
        hti_structure_unlock(store);
    else
        pthread_mutex_unlock(hti_graph_mutex(store));
    return rc;
}

static int drop_found(struct htstore *store, struct hti_core *core, uint32_t kind, struct htstore_error *error)
{
    char label[HTI_CORE_LABEL_SIZE];
    bool busy;

    if (core->record.kind != kind)
        return hti_schema_kinds_differ(kind, &core->record, error);
    if (core->n_holders > 0)
        return hti_fail(error, HTSTORE_EREFERENCED, "%s is held by a mapping", hti_core_label(core, label));
    pthread_mutex_lock(&store->objects_mutex);
    busy = core->n_handles > 0;
    pthread_mutex_unlock(&store->objects_mutex);
    if (busy)
        return hti_fail(error, HTSTORE_EBUSY, "%s is open", hti_core_label(core, label));
    return hti_structure_drop(store, core, error);
}

int hti_object_drop(struct htstore *store, const char *name, uint32_t kind, struct htstore_error *error)
{
    struct hti_core *core;
    int rc = hti_check_store(store, true, error);

    if (rc == 0)
        rc = hti_catalog_check_name(name, error);
    if (rc != 0)
        return rc;
    pthread_mutex_lock(&store->flush_mutex);
    core = find_core(store, name);
    rc = core ? drop_found(store, core, kind, error) : not_found(name, kind, error);
    pthread_mutex_unlock(&store->flush_mutex);
    return rc;
}

/* --- the end of a handle --- */

/*
 * The last handle is closed. Anonymous objects that nothing reaches any more are deleted, now or, if that fails, by the
 * next open. The memory of others is freed, unless a flush is under way, which does so at its end.
 */
static void forget_core(struct htstore *store, uint64_t id, bool anonymous)
{
    struct hti_core *core;

    if (anonymous)
        pthread_mutex_lock(&store->flush_mutex);
    else if (pthread_mutex_trylock(&store->flush_mutex) != 0)
        return;
    if (anonymous)
        hti_structure_collect(store, NULL);
    core = hti_core_by_id(store, id); /* it may be gone */
    if (core)
        hti_core_trim(store, core);
    pthread_mutex_unlock(&store->flush_mutex);
}

int hti_object_close(struct hti_handle *handle, struct htstore_error *error)
{
    struct htstore *store = handle->store;
    const uint64_t id = handle->core->record.id;
    const bool anonymous = !handle->core->record.name;
    bool last;

    pthread_mutex_lock(&store->objects_mutex);
    if (handle->n_users > 0) {
        pthread_mutex_unlock(&store->objects_mutex);
        return hti_fail(error, HTSTORE_EBUSY, "a cursor, a batch or a checkpoint object still uses this handle");
    }
    last = --handle->core->n_handles == 0;
    hti_handle_retire(handle);
    pthread_mutex_unlock(&store->objects_mutex);
    if (last && !store->readonly)
        forget_core(store, id, anonymous);
    return 0;
}

/* --- public: handles of any kind --- */

int htstore_object_open(struct htstore *store, uint64_t id, uint32_t *kind, void **object, struct htstore_error *error)
{
    struct hti_core *core;
    int rc;

    if (object)
        *object = NULL;
    rc = hti_check_store(store, false, error);
    if (rc != 0)
        return rc;
    if (!object)
        return hti_fail(error, HTSTORE_EINVAL, "the place for the object is NULL");
    pthread_mutex_lock(hti_graph_mutex(store));
    core = hti_core_by_id(store, id);
    if (!core)
        rc = hti_fail(error, HTSTORE_ENOTFOUND, "there is no object %llu", (unsigned long long)id);
    else
        rc = hti_object_open_core(store, core, object, error);
    if (rc == 0 && kind)
        *kind = core->record.kind;
    pthread_mutex_unlock(hti_graph_mutex(store));
    return rc;
}

uint64_t htstore_object_id(const void *object)
{
    return hti_is_handle(object) ? ((const struct hti_handle *)object)->core->record.id : 0;
}

uint32_t htstore_object_kind(const void *object)
{
    return hti_is_handle(object) ? ((const struct hti_handle *)object)->core->record.kind : 0;
}

int htstore_object_close(void *object, struct htstore_error *error)
{
    if (!object)
        return 0;
    if (!hti_is_handle(object))
        return hti_fail(error, HTSTORE_EINVAL,
                        "this is not an open table, variable or mapping, or it belongs to the parent process");
    return hti_object_close(object, error);
}
