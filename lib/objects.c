/* objects: hides how the catalogue of a whole store becomes tables in memory. */
#include "objects.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"

static int no_memory(struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_ENOMEM, "no memory for the catalogue");
}

static int read_object(struct hti_objects *objects, uint64_t id, struct hti_kv_bytes value, struct htstore_error *error)
{
    struct hti_object_record *more =
        hti_mem_realloc_array(objects->records, objects->n_records + 1, sizeof *objects->records);
    int rc;

    if (!more)
        return no_memory(error);
    objects->records = more;
    rc = hti_catalog_decode_object(id, value, &more[objects->n_records], error);
    if (rc == 0)
        objects->n_records++;
    return rc;
}

static int read_totals(struct hti_objects *objects, uint64_t id, struct hti_kv_bytes value, struct htstore_error *error)
{
    struct hti_totals_record *more =
        hti_mem_realloc_array(objects->totals, objects->n_totals + 1, sizeof *objects->totals);
    int rc;

    if (!more)
        return no_memory(error);
    objects->totals = more;
    rc = hti_catalog_decode_totals(id, value, &more[objects->n_totals], error);
    if (rc == 0)
        objects->n_totals++;
    return rc;
}

static int read_garbage(struct hti_objects *objects, uint64_t id, struct hti_kv_bytes value,
                        struct htstore_error *error)
{
    struct hti_garbage_record record;
    uint64_t *more = hti_mem_realloc_array(objects->garbage, objects->n_garbage + 1, sizeof *more);
    int rc;

    if (!more)
        return no_memory(error);
    objects->garbage = more;
    rc = hti_catalog_decode_garbage(id, value, &record, error);
    if (rc == 0)
        more[objects->n_garbage++] = record.database;
    return rc;
}

static int compare_entries(const void *a, const void *b)
{
    const struct hti_entry_record *x = a, *y = b;

    if (x->mapping != y->mapping)
        return x->mapping < y->mapping ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static int read_entry(struct hti_objects *objects, struct hti_kv_bytes key, struct hti_kv_bytes value,
                      struct htstore_error *error)
{
    struct hti_entry_record entry;
    char *name;
    int rc = hti_catalog_decode_entry(key, value, &entry, error);

    if (rc != 0)
        return rc;
    if (objects->n_entries == objects->max_entries) {
        const size_t wanted = objects->max_entries * 2 + 16;
        struct hti_entry_record *more = hti_mem_realloc_array(objects->entries, wanted, sizeof *more);
        if (!more)
            return no_memory(error);
        objects->entries = more;
        objects->max_entries = wanted;
    }
    name = hti_mem_alloc(entry.name_size + 1);
    if (!name)
        return no_memory(error);
    if (entry.name_size > 0)
        memcpy(name, entry.name, entry.name_size);
    name[entry.name_size] = 0;
    entry.name = name;
    objects->entries[objects->n_entries++] = entry;
    return 0;
}

static int read_record(struct hti_objects *objects, struct hti_kv_bytes key, struct hti_kv_bytes value,
                       struct htstore_error *error)
{
    enum hti_record_kind kind;
    uint64_t id;

    if (hti_catalog_decode_key(key, &kind, &id) != 0)
        return hti_fail(error, HTSTORE_ECORRUPT, "the catalogue holds a record under an unknown key");
    switch (kind) {
    case HTI_CATALOG_OBJECT:
        return read_object(objects, id, value, error);
    case HTI_CATALOG_TOTALS:
        return read_totals(objects, id, value, error);
    case HTI_CATALOG_GARBAGE:
        return read_garbage(objects, id, value, error);
    case HTI_CATALOG_ENTRY:
        return read_entry(objects, key, value, error);
    case HTI_CATALOG_STORE:
        break; /* read before */
    }
    return 0;
}

/* Both lists come in ascending order of ids: they must name the same objects. */
static int check_pairs(const struct hti_objects *objects, struct htstore_error *error)
{
    bool equal = objects->n_records == objects->n_totals;

    for (size_t i = 0; equal && i < objects->n_records; i++)
        equal = objects->records[i].id == objects->totals[i].id && objects->records[i].id < objects->store.next_id;
    return equal ? 0 : hti_fail(error, HTSTORE_ECORRUPT, "the catalogue's objects and totals do not match");
}

static const struct hti_object_record *find_record(const struct hti_objects *objects, uint64_t id)
{
    size_t low = 0, high = objects->n_records;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (objects->records[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < objects->n_records && objects->records[low].id == id ? &objects->records[low] : NULL;
}

/* The entries of one mapping, from `at` on: dense indices, known objects, count and digest. *at is moved behind them. */
static bool check_mapping(const struct hti_objects *objects, uint64_t id, const struct hti_totals_record *totals,
                          size_t *at)
{
    struct hti_hash128 digest = { 0 };
    uint64_t n = 0;

    for (; *at < objects->n_entries && objects->entries[*at].mapping == id; (*at)++, n++) {
        const struct hti_entry_record *entry = &objects->entries[*at];
        if (entry->index != n || !find_record(objects, entry->object))
            return false;
        hti_digest_add(&digest, hti_catalog_entry_hash(entry));
    }
    return n == totals->n_rows && digest.low == totals->digest.low && digest.high == totals->digest.high;
}

/* A mapping that lost an entry would let its key be given to another object. */
static int check_entries(struct hti_objects *objects, struct htstore_error *error)
{
    size_t at = 0;

    if (objects->n_entries > 0)
        qsort(objects->entries, objects->n_entries, sizeof *objects->entries, compare_entries);
    for (size_t i = 0; i < objects->n_records; i++) {
        if (objects->records[i].kind != HTSTORE_KIND_MAPPING)
            continue;
        if (!check_mapping(objects, objects->records[i].id, &objects->totals[i], &at))
            return hti_fail(error, HTSTORE_ECORRUPT, "entries of mapping %llu are missing, too many or wrong",
                            (unsigned long long)objects->records[i].id);
    }
    return at == objects->n_entries
               ? 0
               : hti_fail(error, HTSTORE_ECORRUPT, "the catalogue holds entries of mapping %llu, which does not exist",
                          (unsigned long long)objects->entries[at].mapping);
}

int hti_objects_read(struct hti_kv_read *read, struct hti_objects *objects, struct htstore_error *error)
{
    struct hti_kv_cursor *cursor;
    struct hti_kv_bytes key, value;
    int rc;

    memset(objects, 0, sizeof *objects);
    rc = hti_catalog_get_store(read, &objects->store, error);
    if (rc != 0)
        return rc;
    rc = hti_kv_cursor_open(read, HTI_KV_CATALOG, &cursor, error);
    if (rc != 0)
        return rc;
    while ((rc = hti_kv_cursor_next(cursor, &key, &value, error)) == 0) {
        rc = read_record(objects, key, value, error);
        if (rc != 0)
            break;
    }
    hti_kv_cursor_close(cursor);
    if (rc == 1)
        rc = check_pairs(objects, error);
    if (rc == 0)
        rc = check_entries(objects, error);
    if (rc != 0)
        hti_objects_release(objects);
    return rc;
}

/* --- databases that nobody knows --- */

static int compare_numbers(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* The databases that the catalogue names, in ascending order. NULL: no memory. */
static uint64_t *list_known(const struct hti_objects *objects, size_t *n)
{
    uint64_t *known = hti_mem_alloc_array(objects->n_totals + objects->n_garbage + 1, sizeof *known);

    if (!known)
        return NULL;
    *n = 0;
    known[(*n)++] = HTI_KV_CATALOG;
    for (size_t i = 0; i < objects->n_totals; i++)
        known[(*n)++] = objects->totals[i].database;
    for (size_t i = 0; i < objects->n_garbage; i++)
        known[(*n)++] = objects->garbage[i];
    qsort(known, *n, sizeof *known, compare_numbers);
    return known;
}

static int add_stray(struct hti_objects *objects, uint64_t database, struct htstore_error *error)
{
    uint64_t *more = hti_mem_realloc_array(objects->garbage, objects->n_garbage + 1, sizeof *more);

    if (!more)
        return no_memory(error);
    objects->garbage = more;
    more[objects->n_garbage++] = database;
    if (objects->store.next_id <= database)
        objects->store.next_id = database + 1;
    return 0;
}

int hti_objects_add_strays(struct hti_kv_read *read, struct hti_objects *objects, struct htstore_error *error)
{
    struct hti_kv_cursor *cursor;
    struct hti_kv_bytes name, value;
    uint64_t number, *known;
    size_t n = 0;
    int rc = hti_kv_cursor_open(read, HTI_KV_NAMES, &cursor, error);

    if (rc != 0)
        return rc;
    known = list_known(objects, &n);
    rc = known ? 0 : no_memory(error);
    while (rc == 0 && (rc = hti_kv_cursor_next(cursor, &name, &value, error)) == 0)
        if (hti_kv_parse_name(name, &number) && !bsearch(&number, known, n, sizeof number, compare_numbers))
            rc = add_stray(objects, number, error);
    hti_kv_cursor_close(cursor);
    hti_mem_free(known);
    return rc == 1 ? 0 : rc;
}

void hti_objects_release(struct hti_objects *objects)
{
    for (size_t i = 0; i < objects->n_records; i++)
        hti_object_record_release(&objects->records[i]);
    for (size_t i = 0; i < objects->n_entries; i++)
        hti_mem_free((char *)(uintptr_t)objects->entries[i].name);
    hti_mem_free(objects->entries);
    hti_mem_free(objects->records);
    hti_mem_free(objects->totals);
    hti_mem_free(objects->garbage);
    memset(objects, 0, sizeof *objects);
}

static void set_totals(struct hti_core *core, const struct hti_totals_record *totals)
{
    core->totals = *totals;
    core->n_rows = totals->n_rows;
}

/* The place of an object in the lists, which are in ascending order; their length if it is not there. */
static size_t place_of(const struct hti_objects *objects, uint64_t id)
{
    size_t low = 0, high = objects->n_totals;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (objects->totals[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < objects->n_totals && objects->totals[low].id == id ? low : objects->n_totals;
}

/* Objects that the store does not know yet, as a list of their own: nothing is changed until all memory is there. */
static int make_new_cores(struct htstore *store, struct hti_objects *objects, struct hti_core **list)
{
    bool *known = hti_mem_zalloc_array(objects->n_records + 1, sizeof *known);
    int rc = known ? 0 : HTSTORE_ENOMEM;

    *list = NULL;
    for (const struct hti_core *core = store->cores; rc == 0 && core; core = core->next)
        if (!core->dropped)
            known[place_of(objects, core->record.id)] = true;
    for (size_t i = 0; rc == 0 && i < objects->n_records; i++) {
        if (known[i])
            continue;
        struct hti_core *core = hti_core_new(&objects->records[i]);
        rc = core ? 0 : HTSTORE_ENOMEM;
        if (rc != 0)
            break;
        set_totals(core, &objects->totals[i]);
        core->next = *list;
        *list = core;
    }
    hti_mem_free(known);
    return rc;
}

static void free_cores(struct hti_core *list)
{
    while (list) {
        struct hti_core *next = list->next;
        hti_core_free(list);
        list = next;
    }
}

/* Returns the list of those that can be freed. What a mapping that is gone held may be freed too: it is emptied. */
static struct hti_core *drop_missing(struct htstore *store, const struct hti_objects *objects)
{
    struct hti_core *gone = NULL;

    for (struct hti_core **p = &store->cores; *p;) {
        struct hti_core *core = *p;
        if (place_of(objects, core->record.id) == objects->n_totals) {
            core->dropped = true;
            hti_members_release(&core->members);
            if (core->n_handles == 0) {
                *p = core->next;
                core->next = gone;
                gone = core;
                continue;
            }
        }
        p = &core->next;
    }
    return gone;
}

/* --- entries --- */

static int compare_cores(const void *a, const void *b)
{
    const struct hti_core *const *x = a, *const *y = b;

    return ((*x)->record.id > (*y)->record.id) - ((*x)->record.id < (*y)->record.id);
}

/* All objects, those of `added` too, by id. NULL: no memory. */
static struct hti_core **sort_cores(struct htstore *store, struct hti_core *added, size_t *n)
{
    struct hti_core **sorted;

    *n = 0;
    for (const struct hti_core *core = store->cores; core; core = core->next)
        *n += !core->dropped;
    for (const struct hti_core *core = added; core; core = core->next)
        ++*n;
    sorted = hti_mem_alloc_array(*n + 1, sizeof *sorted);
    if (!sorted)
        return NULL;
    *n = 0;
    for (struct hti_core *core = store->cores; core; core = core->next)
        if (!core->dropped)
            sorted[(*n)++] = core;
    for (struct hti_core *core = added; core; core = core->next)
        sorted[(*n)++] = core;
    qsort(sorted, *n, sizeof *sorted, compare_cores);
    return sorted;
}

static struct hti_core *find_sorted(struct hti_core **sorted, size_t n, uint64_t id)
{
    size_t low = 0, high = n;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (sorted[middle]->record.id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return sorted[low]; /* the catalogue was checked: it is there */
}

/* With the section: the lists of members may move. */
static int reserve_members(const struct hti_objects *objects, struct hti_core **sorted, size_t n)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < objects->n_entries; i++) {
        const struct hti_entry_record *last = &objects->entries[i];
        if (i + 1 < objects->n_entries && last[1].mapping == last->mapping)
            continue;
        struct hti_core *mapping = find_sorted(sorted, n, last->mapping);
        rc = hti_members_reserve(&mapping->members, last->index + 1 - mapping->members.n);
    }
    return rc;
}

static void add_members(struct hti_objects *objects, struct hti_core **sorted, size_t n)
{
    for (size_t i = 0; i < objects->n_entries; i++) {
        struct hti_entry_record *entry = &objects->entries[i];
        struct hti_core *mapping = find_sorted(sorted, n, entry->mapping);
        struct hti_core *object = find_sorted(sorted, n, entry->object);
        if (entry->index < mapping->members.n)
            continue; /* known: what is in a mapping stays */
        hti_members_add(&mapping->members, (char *)(uintptr_t)entry->name, entry->name_size, object);
        object->n_holders++;
        entry->name = NULL;
    }
}

static void update_cores(struct htstore *store, const struct hti_objects *objects)
{
    for (struct hti_core *core = store->cores; core; core = core->next) {
        const size_t i = place_of(objects, core->record.id);
        if (core->dropped || i == objects->n_totals)
            continue;
        set_totals(core, &objects->totals[i]);
        core->record.flags = objects->records[i].flags;
    }
}

int hti_objects_install(struct htstore *store, struct hti_objects *objects, struct htstore_error *error)
{
    struct hti_core *added, *gone = NULL, **sorted = NULL;
    size_t n = 0;
    int rc = make_new_cores(store, objects, &added);

    if (rc == 0) {
        sorted = sort_cores(store, added, &n);
        rc = sorted ? 0 : HTSTORE_ENOMEM;
    }
    hti_section_close(&store->section);
    pthread_mutex_lock(&store->objects_mutex);
    if (rc == 0)
        rc = reserve_members(objects, sorted, n);
    if (rc == 0) {
        update_cores(store, objects);
        add_members(objects, sorted, n);
        gone = drop_missing(store, objects);
        while (added) {
            struct hti_core *core = added;
            added = core->next;
            core->next = store->cores;
            store->cores = core;
        }
    }
    pthread_mutex_unlock(&store->objects_mutex);
    hti_section_open(&store->section);
    free_cores(rc == 0 ? gone : added);
    hti_mem_free(sorted);
    return rc ? no_memory(error) : 0;
}
