/* structure: hides the transactions that change which objects there are, and how memory follows them. */
#include "structure.h"

#include <string.h>

#include "commit.h"
#include "flush.h"
#include "load.h"
#include "mem.h"

void hti_structure_lock(struct htstore *store)
{
    pthread_mutex_lock(&store->contents_mutex);
    pthread_mutex_lock(&store->flush_mutex);
}

void hti_structure_unlock(struct htstore *store)
{
    pthread_mutex_unlock(&store->flush_mutex);
    pthread_mutex_unlock(&store->contents_mutex);
}

uint64_t hti_structure_new_id(struct htstore *store)
{
    return store->record.next_id++;
}

/* --- the transaction --- */

static int put_created(struct hti_kv_write *write, const struct hti_core *core, struct htstore_error *error)
{
    const struct hti_garbage_record built = { .database = core->totals.database };
    int rc = hti_catalog_put_object(write, &core->record, error);

    if (rc == 0)
        rc = hti_catalog_put_totals(write, &core->totals, error);
    if (rc == 0 && built.database != 0)
        rc = hti_catalog_remove(write, HTI_CATALOG_GARBAGE, built.database, error);
    return rc;
}

static int remove_entries(struct hti_kv_write *write, const struct hti_core *core, struct htstore_error *error)
{
    int rc = 0;

    for (uint64_t i = 0; rc == 0 && i < core->members.n; i++) {
        const struct hti_member *member = &core->members.list[i];
        const struct hti_entry_record entry = { .mapping = core->record.id,
                                                .name = member->name,
                                                .name_size = member->name_size };
        rc = hti_catalog_remove_entry(write, &entry, error);
    }
    return rc;
}

static int put_dropped(struct hti_kv_write *write, const struct hti_core *core, struct htstore_error *error)
{
    const struct hti_garbage_record garbage = { .database = core->totals.database };
    int rc = hti_catalog_remove(write, HTI_CATALOG_OBJECT, core->record.id, error);

    if (rc == 0)
        rc = hti_catalog_remove(write, HTI_CATALOG_TOTALS, core->record.id, error);
    if (rc == 0)
        rc = remove_entries(write, core, error);
    if (rc == 0 && garbage.database != 0)
        rc = hti_catalog_put_garbage(write, &garbage, error);
    return rc;
}

static int put_switch(struct hti_kv_write *write, const struct hti_switch *change, struct htstore_error *error)
{
    const struct hti_garbage_record old = { .database = change->core->totals.database };
    int rc = hti_catalog_put_totals(write, &change->totals, error);

    if (rc == 0 && change->totals.database != 0)
        rc = hti_catalog_remove(write, HTI_CATALOG_GARBAGE, change->totals.database, error);
    if (rc == 0 && old.database != 0)
        rc = hti_catalog_put_garbage(write, &old, error);
    return rc;
}

static struct hti_entry_record entry_of(const struct hti_addition *addition)
{
    return (struct hti_entry_record){ .mapping = addition->mapping->record.id,
                                      .index = addition->index,
                                      .object = addition->object->record.id,
                                      .name = addition->name,
                                      .name_size = addition->name_size };
}

/* That the change adds to a mapping. */
static uint64_t count_coming(const struct hti_core *mapping)
{
    return mapping->coming.n_rows - mapping->totals.n_rows;
}

static bool is_last_of_mapping(const struct hti_addition *addition)
{
    return addition->index + 1 == addition->mapping->members.n + count_coming(addition->mapping);
}

static int put_additions(struct hti_kv_write *write, const struct hti_change *change, struct htstore_error *error)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < change->n_additions; i++) {
        const struct hti_entry_record entry = entry_of(&change->additions[i]);
        rc = hti_catalog_put_entry(write, &entry, error);
        if (rc == 0 && is_last_of_mapping(&change->additions[i]))
            rc = hti_catalog_put_totals(write, &change->additions[i].mapping->coming, error);
    }
    return rc;
}

static int put_flags(struct hti_kv_write *write, const struct hti_change *change, struct htstore_error *error)
{
    struct hti_object_record record;

    if (!change->flagged)
        return 0;
    record = change->flagged->record;
    record.flags = change->flags;
    return hti_catalog_put_object(write, &record, error);
}

static int put_change(struct htstore *store, struct hti_kv_write *write, const struct hti_change *change,
                      struct htstore_error *error)
{
    int rc = hti_catalog_put_store(write, &store->record, error);

    for (size_t i = 0; rc == 0 && i < change->n_created; i++)
        rc = put_created(write, change->created[i], error);
    if (rc == 0)
        rc = put_additions(write, change, error);
    for (size_t i = 0; rc == 0 && i < change->n_switches; i++)
        rc = put_switch(write, &change->switches[i], error);
    if (rc == 0)
        rc = put_flags(write, change, error);
    for (size_t i = 0; rc == 0 && i < change->n_dropped; i++)
        rc = put_dropped(write, change->dropped[i], error);
    return rc;
}

static int try_change(struct htstore *store, const struct hti_change *change, struct htstore_error *error)
{
    struct hti_kv_write *write;
    int rc = hti_kv_begin(store->kv, &write, error);

    if (rc != 0)
        return rc;
    rc = put_change(store, write, change, error);
    if (rc == 0) {
        rc = hti_kv_commit(write, error);
        write = NULL;
    }
    hti_kv_abort(write);
    return rc;
}

static int commit_change(struct htstore *store, const struct hti_change *change, struct htstore_error *error)
{
    struct htstore_error own;
    int rc;

    while ((rc = try_change(store, change, &own)) == HTI_KV_MAP_FULL) {
        rc = hti_kv_grow(store->kv, &own);
        if (rc != 0)
            break;
    }
    if (rc == HTSTORE_EIO || rc == HTSTORE_ECORRUPT)
        hti_journal_poison(store->journal, &own);
    if (rc != 0)
        hti_error_copy(error, &own);
    return rc;
}

/* --- memory: all of it before the transaction, for what was committed must become visible --- */

static int no_memory(struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_ENOMEM, "no memory for the change");
}

static void count_addition(struct hti_totals_record *totals, const struct hti_addition *addition)
{
    const struct hti_entry_record entry = entry_of(addition);

    hti_digest_add(&totals->digest, hti_catalog_entry_hash(&entry));
    totals->n_rows++;
}

static int prepare_additions(struct hti_change *change, struct htstore_error *error)
{
    for (size_t i = 0; i < change->n_additions; i++)
        change->additions[i].mapping->coming = change->additions[i].mapping->totals;
    for (size_t i = 0; i < change->n_additions; i++) {
        struct hti_addition *a = &change->additions[i];
        a->index = a->mapping->members.n + count_coming(a->mapping);
        count_addition(&a->mapping->coming, a);
        a->copy = hti_mem_alloc(a->name_size + 1);
        if (!a->copy)
            return no_memory(error);
        if (a->name_size > 0)
            memcpy(a->copy, a->name, a->name_size);
        a->copy[a->name_size] = 0;
    }
    return 0;
}

/* The list of a mapping may move: readers must be out. */
static int reserve_members(struct htstore *store, const struct hti_change *change, struct htstore_error *error)
{
    int rc = 0;

    if (change->n_additions == 0)
        return 0;
    hti_section_close(&store->section);
    for (size_t i = 0; rc == 0 && i < change->n_additions; i++)
        rc = hti_members_reserve(&change->additions[i].mapping->members, count_coming(change->additions[i].mapping));
    hti_section_open(&store->section);
    return rc ? no_memory(error) : 0;
}

static bool is_used(struct htstore *store, const struct hti_core *core)
{
    bool used;

    pthread_mutex_lock(&store->objects_mutex);
    used = core->n_handles > 0 || core->pinned; /* a new object is pinned before it has a handle */
    pthread_mutex_unlock(&store->objects_mutex);
    return used;
}

/*
 * A table in memory stays in memory; one that is read through LMDB gets its new database pinned. For as long as the old
 * one is pinned too, that one does not count: the new database may exceed the number of those.
 */
static int prepare_switch(struct htstore *store, struct hti_switch *change, struct htstore_error *error)
{
    const struct hti_core *core = change->core;
    int rc;

    if (core->resident || core->warming)
        return hti_load_rows(store, core, &change->totals, &change->rows, error);
    if (change->totals.database == 0 || !is_used(store, core))
        return 0;
    rc = hti_kv_acquire(store->kv, change->totals.database, core->pinned, error);
    change->acquired = rc == 0;
    return rc == 1 ? hti_fail(error, HTSTORE_ECORRUPT, "a database that was just built is missing") : rc;
}

static int prepare(struct htstore *store, struct hti_change *change, struct htstore_error *error)
{
    int rc = prepare_additions(change, error);

    if (rc == 0)
        rc = reserve_members(store, change, error);
    for (size_t i = 0; rc == 0 && i < change->n_switches; i++)
        rc = prepare_switch(store, &change->switches[i], error);
    return rc;
}

static void release_prepared(struct htstore *store, struct hti_change *change)
{
    for (size_t i = 0; i < change->n_additions; i++) {
        hti_mem_free(change->additions[i].copy);
        change->additions[i].copy = NULL;
    }
    for (size_t i = 0; i < change->n_switches; i++) {
        struct hti_switch *s = &change->switches[i];
        hti_cache_free(s->rows);
        hti_mem_free(s->warming);
        if (s->acquired)
            hti_kv_release(store->kv, s->totals.database);
        s->rows = NULL;
        s->warming = NULL;
        s->acquired = false;
    }
}

/* --- making it visible. With the section and objects_mutex; nothing here fails --- */

/* The flushes since it was prepared may have taken a table without handles out of memory. */
static void show_switch(struct htstore *store, struct hti_switch *s)
{
    struct hti_core *core = s->core;
    struct hti_cache *old_rows = core->rows;
    const bool wanted = core->n_handles > 0 || core->pinned; /* as in is_used() */

    if (core->resident || core->warming) {
        core->rows = s->rows;
        s->rows = old_rows; /* freed later, as is how far it had come */
        s->warming = core->warming;
        core->warming = NULL;
        core->resident = true;
        store->over_budget = true; /* let it be looked at */
    } /* else they are empty: everything is flushed */
    if (core->recent)
        hti_cache_clear(core->recent);
    core->version++;
    core->damaged = false;
    core->rows_cleared = false;
    if (core->pinned)
        hti_kv_release(store->kv, core->totals.database);
    core->pinned = !core->resident && wanted && s->acquired;
    if (core->pinned)
        s->acquired = false;
    core->totals = s->totals;
    core->n_rows = s->totals.n_rows;
    if (s->restore > core->restored_by)
        core->restored_by = s->restore;
}

static void show_addition(struct hti_addition *a)
{
    count_addition(&a->mapping->totals, a);
    hti_members_add(&a->mapping->members, a->copy, a->name_size, a->object);
    a->mapping->n_rows++;
    a->object->n_holders++;
    a->copy = NULL;
}

static void unlink_dropped(struct htstore *store, const struct hti_change *change)
{
    for (size_t i = 0; i < change->n_dropped; i++)
        change->dropped[i]->dropped = true;
    for (struct hti_core **p = &store->cores; change->n_dropped > 0 && *p;) {
        if ((*p)->dropped)
            *p = (*p)->next;
        else
            p = &(*p)->next;
    }
}

static void show(struct htstore *store, struct hti_change *change)
{
    pthread_mutex_lock(&store->write_mutex); /* who commits looks at the modes of tables */
    hti_section_close(&store->section);
    pthread_mutex_lock(&store->objects_mutex);
    for (size_t i = 0; i < change->n_created; i++) {
        change->created[i]->n_rows = change->created[i]->totals.n_rows;
        change->created[i]->next = store->cores;
        store->cores = change->created[i];
    }
    for (size_t i = 0; i < change->n_additions; i++)
        show_addition(&change->additions[i]);
    for (size_t i = 0; i < change->n_switches; i++)
        show_switch(store, &change->switches[i]);
    if (change->flagged)
        change->flagged->record.flags = change->flags;
    unlink_dropped(store, change);
    pthread_mutex_unlock(&store->objects_mutex);
    hti_section_open(&store->section);
    if (change->n_switches > 0) {
        pthread_cond_broadcast(&store->warmed);
        pthread_cond_broadcast(&store->work);
    }
    pthread_mutex_unlock(&store->write_mutex);
}

/* Without memory for the note, the next open collects it. */
static void collect_later(struct htstore *store, uint64_t database)
{
    if (database != 0)
        hti_garbage_add(store, database);
}

static void free_dropped(struct htstore *store, struct hti_core *core)
{
    for (uint64_t i = 0; i < core->members.n; i++)
        core->members.list[i].core->n_holders--;
    if (core->pinned)
        hti_kv_release(store->kv, core->totals.database);
    collect_later(store, core->totals.database);
}

static int commit_prepared(struct htstore *store, struct hti_change *change, struct htstore_error *error)
{
    uint64_t *old = hti_mem_alloc_array(change->n_switches + 1, sizeof *old);
    int rc = old ? commit_change(store, change, error) : no_memory(error);

    if (rc == 0) {
        for (size_t i = 0; i < change->n_switches; i++)
            old[i] = change->switches[i].core->totals.database;
        show(store, change);
        for (size_t i = 0; i < change->n_switches; i++)
            collect_later(store, old[i]);
        for (size_t i = 0; i < change->n_dropped; i++)
            free_dropped(store, change->dropped[i]);
        for (size_t i = 0; i < change->n_dropped; i++)
            hti_core_free(change->dropped[i]);
    }
    hti_mem_free(old);
    return rc;
}

/*
 * Contents that are replaced have one place among all changes: nobody writes from the flush on that brings everything
 * before it into LMDB. The flush before that one keeps the wait short.
 */
static int commit_blocked(struct htstore *store, struct hti_change *change, struct htstore_error *error)
{
    int rc;

    hti_commit_block(store);
    rc = hti_flush_locked(store, error);
    if (rc == 0)
        rc = commit_prepared(store, change, error);
    hti_commit_unblock(store);
    return rc;
}

static int claim_waiting(struct htstore *store, struct hti_change *change, struct htstore_error *error)
{
    int rc = 0;

    if (change->n_additions == 0 && change->n_created == 0)
        return 0;
    for (struct hti_waiting *w = store->waiting; w && rc == 0; w = w->next)
        rc = w->claim(w, store, change, error);
    return rc;
}

static void settle_waiting(struct htstore *store, const struct hti_change *change, int status)
{
    if (change->n_additions == 0 && change->n_created == 0)
        return;
    for (struct hti_waiting *w = store->waiting; w; w = w->next)
        w->settle(w, store, status);
}

int hti_structure_commit(struct htstore *store, struct hti_change *change, struct htstore_error *error)
{
    int rc = claim_waiting(store, change, error);

    if (rc == 0)
        rc = hti_flush_locked(store, error);
    if (rc == 0)
        rc = prepare(store, change, error);
    if (rc == 0)
        rc = change->n_switches > 0 ? commit_blocked(store, change, error) : commit_prepared(store, change, error);
    release_prepared(store, change);
    settle_waiting(store, change, rc);
    return rc;
}

/* --- single changes --- */

int hti_structure_create(struct htstore *store, struct hti_object_record *record,
                         const struct hti_totals_record *totals, struct hti_core **out, struct htstore_error *error)
{
    struct hti_object_record copy;
    struct hti_core *core;
    struct hti_change change = { .created = &core, .n_created = 1 };
    int rc = 0;

    record->id = totals ? totals->id : hti_structure_new_id(store);
    copy = *record;
    core = hti_core_new(&copy);
    if (!core)
        return no_memory(error);
    if (totals)
        core->totals = *totals;
    if (core->record.kind != HTSTORE_KIND_MAPPING)
        rc = hti_load_table(store, core, error); /* as for a handle, while that may still fail */
    if (rc == 0)
        rc = hti_structure_commit(store, &change, error);
    if (rc != 0) {
        if (core->pinned)
            hti_kv_release(store->kv, core->totals.database);
        *record = core->record; /* the memory stays the caller's */
        core->record = (struct hti_object_record){ 0 };
        hti_core_free(core);
        return rc;
    }
    *record = (struct hti_object_record){ 0 };
    *out = core;
    return 0;
}

int hti_structure_drop(struct htstore *store, struct hti_core *core, struct htstore_error *error)
{
    struct hti_change change = { .dropped = &core, .n_dropped = 1 };

    return hti_structure_commit(store, &change, error);
}

/* --- what nobody reaches any more --- */

static size_t start_marks(struct htstore *store, struct hti_core **stack)
{
    size_t n = 0;

    pthread_mutex_lock(&store->objects_mutex);
    for (struct hti_core *core = store->cores; core; core = core->next) {
        core->marks = core->record.name != NULL || core->n_handles > 0;
        if (core->marks)
            stack[n++] = core;
    }
    pthread_mutex_unlock(&store->objects_mutex);
    return n;
}

static void mark_reached(struct hti_core **stack, size_t n)
{
    while (n > 0) {
        const struct hti_core *core = stack[--n];
        for (uint64_t i = 0; i < core->members.n; i++) {
            struct hti_core *member = core->members.list[i].core;
            if (!member->marks)
                stack[n++] = member;
            member->marks = 1;
        }
    }
}

int hti_structure_collect(struct htstore *store, struct htstore_error *error)
{
    struct hti_change change = { 0 };
    struct hti_core **list;
    size_t n = 0;
    int rc = 0;

    for (const struct hti_core *core = store->cores; core; core = core->next)
        n++;
    list = hti_mem_alloc_array(n, sizeof *list); /* first the stack of the walk, then what is dropped */
    if (!list)
        return no_memory(error);
    mark_reached(list, start_marks(store, list));
    for (struct hti_core *core = store->cores; core; core = core->next)
        if (!core->marks)
            list[change.n_dropped++] = core;
    change.dropped = list;
    if (change.n_dropped > 0)
        rc = hti_structure_commit(store, &change, error);
    hti_mem_free(list);
    return rc;
}
