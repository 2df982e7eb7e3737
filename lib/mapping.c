/* mapping: hides how entries are checked, added for good and found again. */
#include "mapping.h"

#include <stdio.h>
#include <string.h>

#include "arena.h"
#include "mem.h"
#include "object.h"
#include "schema.h"
#include "structure.h"
#include "text.h"

#define SHOWN_SIZE 64
#define MAX_SUFFIX_SIZE 24

/* --- what may be put --- */

static int refuse_object(const void *object, struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_EINVAL,
                    "Only objects of this store (tables, variables, mappings) may be stored in a mapping. Got %s",
                    object ? "something else, or a closed or foreign handle" : "NULL");
}

int hti_mapping_check_entry(const struct htstore *store, const struct htstore_entry *entry, struct htstore_error *error)
{
    const struct hti_handle *handle = entry->object;
    const int rc = hti_catalog_check_key(&entry->key, error);

    if (rc != 0)
        return rc;
    if (!hti_is_handle(handle) || handle->store != store)
        return refuse_object(handle, error);
    return 0;
}

int hti_mapping_refuse_overwrite(const struct htstore_bytes *key, const struct hti_core *wanted,
                                 const struct hti_core *present, struct htstore_error *error)
{
    char shown[SHOWN_SIZE], a[HTI_CORE_LABEL_SIZE], b[HTI_CORE_LABEL_SIZE];

    hti_text_escape(shown, sizeof shown, key->data, key->size);
    return hti_fail(error, HTSTORE_EEXIST,
                    "Mappings are an append-only data structure. Tried to overwrite the key '%s' with value %s, but it "
                    "already contains %s",
                    shown, hti_core_label(wanted, a), hti_core_label(present, b));
}

/* The members that the additions will make: what the store has is not changed before all are known to fit. */
struct pending {
    struct hti_addition *additions;
    struct hti_members index; /* of their names, when there are many */
    size_t n;
};

static void release_pending(struct pending *p)
{
    hti_members_release(&p->index);
    hti_mem_free(p->additions);
}

static int start_pending(struct pending *p, uint64_t n, struct htstore_error *error)
{
    memset(p, 0, sizeof *p);
    p->additions = hti_mem_zalloc_array((size_t)n + 1, sizeof *p->additions);
    if (p->additions && hti_members_reserve(&p->index, n) == 0)
        return 0;
    release_pending(p);
    return hti_fail(error, HTSTORE_ENOMEM, "no memory for the entries");
}

/* Queue one entry. 0 (also if it is there already, with this object), HTSTORE_EEXIST, HTSTORE_ENOMEM. */
static int add_pending(struct pending *p, struct hti_core *mapping, const struct htstore_entry *entry,
                       struct htstore_error *error)
{
    struct hti_core *object = ((const struct hti_handle *)entry->object)->core;
    const struct hti_member *present = hti_members_find(&mapping->members, entry->key.data, entry->key.size);
    char *name;

    if (!present)
        present = hti_members_find(&p->index, entry->key.data, entry->key.size);
    if (present)
        return present->core == object ? 0 : hti_mapping_refuse_overwrite(&entry->key, object, present->core, error);
    name = hti_mem_alloc(entry->key.size + 1);
    if (!name)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for the entries");
    if (entry->key.size > 0)
        memcpy(name, entry->key.data, entry->key.size);
    name[entry->key.size] = 0;
    hti_members_add(&p->index, name, entry->key.size, object);
    p->additions[p->n++] =
        (struct hti_addition){ .mapping = mapping, .name = name, .name_size = entry->key.size, .object = object };
    return 0;
}

static int add_all(struct pending *p, struct hti_core *mapping, const struct htstore_entry *entries, uint64_t n,
                   struct htstore_error *error)
{
    int rc = 0;

    for (uint64_t i = 0; rc == 0 && i < n; i++) {
        rc = add_pending(p, mapping, &entries[i], error);
        if (rc != 0 && error)
            error->index = (int64_t)i;
    }
    return rc;
}

static int check_entries(const struct htstore *store, const struct htstore_entry *entries, uint64_t n,
                         struct htstore_error *error)
{
    int rc = 0;

    if (!entries && n > 0)
        return hti_fail(error, HTSTORE_EINVAL, "entries is NULL");
    for (uint64_t i = 0; rc == 0 && i < n; i++) {
        rc = hti_mapping_check_entry(store, &entries[i], error);
        if (rc != 0 && error)
            error->index = (int64_t)i;
    }
    return rc;
}

/* --- creating and opening --- */

struct first_entries {
    const struct htstore_entry *entries;
    uint64_t n;
};

static int make_mapping(struct htstore *store, struct hti_object_record *record, void *user, struct hti_core **out,
                        struct htstore_error *error)
{
    const struct first_entries *first = user;
    struct hti_object_record copy;
    struct hti_core *core;
    struct hti_change change = { .created = &core, .n_created = 1 };
    struct pending p;
    int rc = start_pending(&p, first->n, error);

    if (rc != 0)
        return rc;
    record->id = hti_structure_new_id(store);
    copy = *record;
    core = hti_core_new(&copy);
    if (!core) {
        release_pending(&p);
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a mapping");
    }
    *record = (struct hti_object_record){ 0 };
    rc = add_all(&p, core, first->entries, first->n, error);
    change.additions = p.additions;
    change.n_additions = p.n;
    if (rc == 0)
        rc = hti_structure_commit(store, &change, error);
    release_pending(&p);
    if (rc != 0)
        hti_core_free(core);
    else
        *out = core;
    return rc;
}

static int open_mapping(struct htstore *store, struct hti_opening *opening, struct htstore_mapping **mapping,
                        struct htstore_error *error)
{
    void *handle;
    const int rc = hti_object_open(store, opening, &handle, error);

    if (rc == 0)
        *mapping = handle;
    return rc;
}

static int check_call(struct htstore *store, bool write, struct htstore_mapping **mapping, struct htstore_error *error)
{
    int rc;

    if (mapping)
        *mapping = NULL;
    rc = hti_check_store(store, write, error);
    if (rc != 0)
        return rc;
    return mapping ? 0 : hti_fail(error, HTSTORE_EINVAL, "the place for the mapping is NULL");
}

int htstore_mapping_create(struct htstore *store, const char *name, const struct htstore_mapping_schema *schema,
                           const struct htstore_entry *entries, uint64_t n, struct htstore_mapping **mapping,
                           struct htstore_error *error)
{
    struct hti_object_record record;
    struct first_entries first = { entries, n };
    struct hti_opening opening = { .name = name,
                                   .kind = HTSTORE_KIND_MAPPING,
                                   .mode = HTI_OPEN_CREATE,
                                   .record = &record,
                                   .make = make_mapping,
                                   .user = &first };
    int rc = check_call(store, true, mapping, error);

    if (rc == 0)
        rc = check_entries(store, entries, n, error);
    if (rc != 0)
        return rc;
    rc = hti_schema_check_mapping(name, schema, &record, error);
    if (rc == 0)
        rc = open_mapping(store, &opening, mapping, error);
    hti_object_record_release(&record);
    return rc;
}

int htstore_mapping_open(struct htstore *store, const char *name, const struct htstore_mapping_schema *expected,
                         struct htstore_mapping **mapping, struct htstore_error *error)
{
    struct hti_object_record record;
    struct hti_opening opening = { .name = name, .kind = HTSTORE_KIND_MAPPING, .mode = HTI_OPEN_EXISTING };
    int rc = check_call(store, false, mapping, error);

    if (rc != 0)
        return rc;
    if (expected && (expected->flags & HTSTORE_ANONYMOUS))
        return hti_fail(error, HTSTORE_EINVAL, "an anonymous mapping cannot be opened by name");
    rc = hti_schema_check_mapping(name, expected, &record, error);
    opening.record = expected ? &record : NULL;
    if (rc == 0)
        rc = open_mapping(store, &opening, mapping, error);
    hti_object_record_release(&record);
    return rc;
}

int htstore_mapping_get_or_create(struct htstore *store, const char *name, const struct htstore_mapping_schema *schema,
                                  struct htstore_mapping **mapping, struct htstore_error *error)
{
    struct hti_object_record record;
    struct hti_opening opening = {
        .name = name, .kind = HTSTORE_KIND_MAPPING, .mode = HTI_OPEN_OR_CREATE, .record = &record
    };
    int rc = check_call(store, false, mapping, error);

    if (rc == 0 && !store->readonly)
        rc = hti_check_store(store, true, error);
    if (rc != 0)
        return rc;
    rc = hti_schema_check_mapping(name, schema, &record, error);
    if (rc == 0)
        rc = open_mapping(store, &opening, mapping, error);
    hti_object_record_release(&record);
    return rc;
}

int htstore_mapping_close(struct htstore_mapping *mapping, struct htstore_error *error)
{
    int rc;

    if (!mapping)
        return 0;
    rc = hti_check_mapping(mapping, false, error);
    return rc ? rc : hti_object_close(&mapping->handle, error);
}

/* --- adding --- */

int htstore_mapping_update(struct htstore_mapping *mapping, const struct htstore_entry *entries, uint64_t n,
                           struct htstore_error *error)
{
    struct hti_change change = { 0 };
    struct htstore *store;
    struct pending p;
    int rc = hti_check_mapping(mapping, true, error);

    if (rc != 0)
        return rc;
    store = mapping->handle.store;
    rc = check_entries(store, entries, n, error);
    if (rc == 0)
        rc = start_pending(&p, n, error);
    if (rc != 0)
        return rc;
    hti_structure_lock(store);
    rc = add_all(&p, mapping->handle.core, entries, n, error);
    change.additions = p.additions;
    change.n_additions = p.n;
    if (rc == 0 && p.n > 0)
        rc = hti_structure_commit(store, &change, error);
    hti_structure_unlock(store);
    release_pending(&p);
    return rc;
}

int htstore_mapping_put(struct htstore_mapping *mapping, const struct htstore_bytes *key, const void *object,
                        struct htstore_error *error)
{
    struct htstore_entry entry = { .object = object };
    const int rc = hti_check_mapping(mapping, true, error);

    if (rc != 0)
        return rc;
    if (!key)
        return hti_fail(error, HTSTORE_EINVAL, "the key is NULL");
    entry.key = *key;
    return htstore_mapping_update(mapping, &entry, 1, error);
}

/* base, base_1, base_2, …: the first that is free. `space` has room for all of them. With flush_mutex. */
static struct htstore_bytes free_key(const struct hti_members *members, const struct htstore_bytes *base, char *space)
{
    struct htstore_bytes key = { space, base->size };

    if (base->size > 0)
        memcpy(space, base->data, base->size);
    space[base->size] = 0;
    for (uint64_t i = 1; hti_members_find(members, key.data, key.size); i++)
        key.size = base->size + (size_t)snprintf(space + base->size, MAX_SUFFIX_SIZE, "_%llu", (unsigned long long)i);
    return key;
}

static int track(struct htstore_mapping *mapping, const struct htstore_entry *base, char *space,
                 struct htstore_bytes *key, struct htstore_error *error)
{
    struct htstore *store = mapping->handle.store;
    struct hti_core *core = mapping->handle.core;
    struct hti_addition addition = { .mapping = core, .object = ((const struct hti_handle *)base->object)->core };
    struct hti_change change = { .additions = &addition, .n_additions = 1 };
    int rc;

    hti_structure_lock(store);
    *key = free_key(&core->members, &base->key, space);
    addition.name = key->data;
    addition.name_size = key->size;
    rc = hti_catalog_check_key(key, error);
    if (rc == 0)
        rc = hti_structure_commit(store, &change, error);
    hti_structure_unlock(store);
    return rc;
}

int htstore_mapping_track(struct htstore_mapping *mapping, const struct htstore_bytes *base, const void *object,
                          struct htstore_arena *arena, struct htstore_bytes *key, struct htstore_error *error)
{
    struct htstore_entry entry = { .object = object };
    struct htstore_bytes taken;
    char *space;
    int rc = hti_check_mapping(mapping, true, error);

    if (rc != 0)
        return rc;
    if (!base || (key && !hti_arena_is_valid(arena)))
        return hti_fail(error, HTSTORE_EINVAL, base ? "the arena is NULL" : "the key is NULL");
    entry.key = *base;
    rc = hti_mapping_check_entry(mapping->handle.store, &entry, error);
    if (rc != 0)
        return rc;
    space = key ? hti_arena_alloc(arena, base->size + MAX_SUFFIX_SIZE, 1) : hti_mem_alloc(base->size + MAX_SUFFIX_SIZE);
    if (!space)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for the key");
    rc = track(mapping, &entry, space, &taken, error);
    if (rc == 0 && key)
        *key = taken;
    if (!key)
        hti_mem_free(space);
    return rc;
}

int htstore_mapping_set_trainable(struct htstore_mapping *mapping, int trainable, struct htstore_error *error)
{
    struct hti_change change = { 0 };
    struct htstore *store;
    int rc = hti_check_mapping(mapping, true, error);

    if (rc != 0)
        return rc;
    if (trainable != 0 && trainable != 1)
        return hti_fail(error, HTSTORE_EINVAL, "trainable is neither 0 nor 1");
    store = mapping->handle.store;
    pthread_mutex_lock(&store->flush_mutex);
    change.flagged = mapping->handle.core;
    change.flags = (change.flagged->record.flags & ~HTSTORE_NOT_TRAINABLE) | (trainable ? 0 : HTSTORE_NOT_TRAINABLE);
    if (change.flags != change.flagged->record.flags)
        rc = hti_structure_commit(store, &change, error);
    pthread_mutex_unlock(&store->flush_mutex);
    return rc;
}

/* --- reading --- */

static int check_key(struct htstore_mapping *mapping, const struct htstore_bytes *key, struct htstore_error *error)
{
    const int rc = hti_check_mapping(mapping, false, error);

    if (rc != 0)
        return rc;
    return key && (key->data || key->size == 0) ? 0 : hti_fail(error, HTSTORE_EINVAL, "the key is NULL");
}

int htstore_mapping_get(struct htstore_mapping *mapping, const struct htstore_bytes *key, uint32_t *kind, void **object,
                        struct htstore_error *error)
{
    const struct hti_member *member;
    struct htstore *store;
    void *handle;
    int rc = check_key(mapping, key, error);

    if (rc != 0)
        return rc;
    if (!object)
        return hti_fail(error, HTSTORE_EINVAL, "the place for the object is NULL");
    store = mapping->handle.store;
    pthread_mutex_lock(hti_graph_mutex(store));
    rc = hti_object_check_alive(mapping->handle.core, error);
    member = hti_members_find(&mapping->handle.core->members, key->data, key->size);
    if (rc == 0)
        rc = member ? hti_object_open_core(store, member->core, &handle, error) : 1;
    if (rc == 0 && kind)
        *kind = member->core->record.kind;
    pthread_mutex_unlock(hti_graph_mutex(store));
    if (rc == 0)
        *object = handle;
    return rc;
}

int htstore_mapping_at(struct htstore_mapping *mapping, const struct htstore_bytes *key, uint32_t *kind, void **object,
                       struct htstore_error *error)
{
    char shown[SHOWN_SIZE], label[HTI_CORE_LABEL_SIZE];
    int rc;

    if (object)
        *object = NULL;
    rc = htstore_mapping_get(mapping, key, kind, object, error);
    if (rc != 1)
        return rc;
    hti_text_escape(shown, sizeof shown, key->data, key->size);
    return hti_fail(error, HTSTORE_ENOTFOUND, "%s has no key '%s'", hti_core_label(mapping->handle.core, label), shown);
}

int htstore_mapping_contains(struct htstore_mapping *mapping, const struct htstore_bytes *key,
                             struct htstore_error *error)
{
    struct htstore *store;
    int rc = check_key(mapping, key, error);

    if (rc != 0)
        return rc;
    store = mapping->handle.store;
    struct hti_section_line *line = hti_section_enter(&store->section);
    rc = hti_object_check_alive(mapping->handle.core, error);
    if (rc == 0)
        rc = hti_members_find(&mapping->handle.core->members, key->data, key->size) != NULL;
    hti_section_leave(line);
    return rc;
}

uint64_t htstore_mapping_size(const struct htstore_mapping *mapping)
{
    uint64_t n;

    if (hti_check_mapping(mapping, false, NULL) != 0)
        return 0;
    struct hti_section_line *line = hti_section_enter(&mapping->handle.store->section);
    n = mapping->handle.core->members.n;
    hti_section_leave(line);
    return n;
}

/* With the section: entries are only added, so what is copied is what was there at one instant. */
static int copy_items(const struct hti_members *members, struct htstore_arena *arena, struct htstore_item *items)
{
    for (uint64_t i = 0; i < members->n; i++) {
        const struct hti_member *member = &members->list[i];
        char *key = hti_arena_alloc(arena, member->name_size + 1, 1);
        if (!key)
            return HTSTORE_ENOMEM;
        memcpy(key, member->name, member->name_size + 1);
        items[i] = (struct htstore_item){ .key = { key, member->name_size },
                                          .id = member->core->record.id,
                                          .kind = member->core->record.kind };
    }
    return 0;
}

int htstore_mapping_items(struct htstore_mapping *mapping, struct htstore_arena *arena,
                          const struct htstore_item **items, uint64_t *n, struct htstore_error *error)
{
    const struct hti_members *members;
    struct htstore_item *list;
    uint64_t count;
    int rc = hti_check_mapping(mapping, false, error);

    if (rc != 0)
        return rc;
    if (!hti_arena_is_valid(arena) || !items || !n)
        return hti_fail(error, HTSTORE_EINVAL, "arena, items or n is NULL");
    struct hti_section_line *line = hti_section_enter(&mapping->handle.store->section);
    rc = hti_object_check_alive(mapping->handle.core, error);
    members = &mapping->handle.core->members;
    count = members->n;
    list = hti_arena_alloc(arena, (size_t)count, sizeof *list);
    if (rc == 0 && (!list || copy_items(members, arena, list) != 0))
        rc = hti_fail(error, HTSTORE_ENOMEM, "no memory for the entries");
    hti_section_leave(line);
    if (rc != 0)
        return rc;
    *items = list;
    *n = count;
    return 0;
}

/* --- what a handle tells --- */

const char *htstore_mapping_name(const struct htstore_mapping *mapping)
{
    return hti_check_mapping(mapping, false, NULL) == 0 ? mapping->handle.core->record.name : NULL;
}

static uint32_t flags_of(const struct htstore_mapping *mapping)
{
    uint32_t flags;

    struct hti_section_line *line = hti_section_enter(&mapping->handle.store->section);
    flags = mapping->handle.core->record.flags;
    hti_section_leave(line);
    return flags;
}

int htstore_mapping_is_layer(const struct htstore_mapping *mapping)
{
    return hti_check_mapping(mapping, false, NULL) == 0 && (flags_of(mapping) & HTSTORE_LAYER) != 0;
}

int htstore_mapping_is_trainable(const struct htstore_mapping *mapping)
{
    return hti_check_mapping(mapping, false, NULL) == 0 && (flags_of(mapping) & HTSTORE_NOT_TRAINABLE) == 0;
}
