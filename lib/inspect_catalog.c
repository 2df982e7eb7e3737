/* inspect_catalog: hides how records of the catalogue are collected, and what must hold between them. */
#include "inspect_catalog.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "text.h"
#include "varlayout.h"

#define CATALOG "the catalogue"

struct collection {
    struct hti_inspect *check;
    bool tell_pages;
    const char *what; /* is read */
    uint64_t n_seen;
    struct htstore_error *error;
};

static int no_memory(struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_ENOMEM, "no memory to check the catalogue");
}

static void note_page(void *user, uint64_t page, const char *reason)
{
    struct collection *c = user;

    c->check->is_whole = false;
    if (c->tell_pages)
        hti_inspect_tell(c->check, c->what, page, "%s", reason);
}

/* A list with room for one more, or NULL. It grows by half as much again: one by one would copy it for each. */
static void *grow_list(void *list, size_t n, size_t *capacity, size_t item_size)
{
    const size_t wanted = *capacity + *capacity / 2 + 16;
    void *more;

    if (n < *capacity)
        return list;
    more = hti_mem_realloc_array(list, wanted, item_size);
    if (more)
        *capacity = wanted;
    return more;
}

/* --- the list of databases --- */

static int compare_databases(const void *a, const void *b)
{
    const struct hti_inspect_database *x = a, *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static int take_database(void *user, const uint8_t *name, size_t name_size, const struct hti_kvpage_tree *tree)
{
    struct collection *c = user;
    struct hti_inspect *check = c->check;
    struct hti_inspect_database *more;
    uint64_t number;
    char shown[80];

    if (!hti_kv_parse_name((struct hti_kv_bytes){ name, name_size }, &number)) {
        hti_text_escape(shown, sizeof shown, name, name_size);
        hti_inspect_tell(check, "the main tree", HTI_INSPECT_NONE, "a database has a name of no known form: %s", shown);
        return 0;
    }
    if (number == HTI_KV_CATALOG) {
        check->has_catalog = true;
        check->catalog = *tree;
        return 0;
    }
    more = grow_list(check->databases, check->n_databases, &check->max_databases, sizeof *more);
    if (!more)
        return no_memory(c->error);
    check->databases = more;
    more[check->n_databases++] = (struct hti_inspect_database){ .number = number, .tree = *tree };
    return 0;
}

static int list_databases(struct hti_inspect *check, bool tell_pages, struct htstore_error *error)
{
    struct collection c = { .check = check, .tell_pages = tell_pages, .what = "the main tree", .error = error };
    const int rc = hti_kvwalk_list_trees(check->walk, take_database, note_page, &c, error);

    /* In the order of numbers already, unless the tree is damaged. */
    if (check->n_databases > 1)
        qsort(check->databases, check->n_databases, sizeof *check->databases, compare_databases);
    return rc;
}

/* --- records --- */

/* The entry of that id, made if it is new. NULL: no memory. */
static struct hti_inspect_object *object_of(struct hti_inspect *check, uint64_t id)
{
    struct hti_inspect_object *object = hti_inspect_find_object(check, id);
    size_t at = check->n_objects;

    if (object)
        return object;
    object = grow_list(check->objects, check->n_objects, &check->max_objects, sizeof *object);
    if (!object)
        return NULL;
    check->objects = object;
    for (; at > 0 && object[at - 1].id > id; at--)
        object[at] = object[at - 1];
    memset(&object[at], 0, sizeof object[at]);
    object[at].id = id;
    check->n_objects++;
    return &object[at];
}

/* Only a page that took the place of another one makes an object known twice: the first description counts. */
static int note_twin(struct collection *c, const struct hti_inspect_object *object)
{
    char label[HTI_INSPECT_LABEL_SIZE];

    c->check->is_whole = false;
    hti_inspect_tell(c->check, CATALOG, HTI_INSPECT_NONE, "%s: another one of its number was there before",
                     hti_inspect_label(object, label));
    return 0;
}

/* A record that did not decode is a finding; other failures end the check. */
static int judge_record(struct collection *c, int rc, const struct htstore_error *reason)
{
    if (rc == HTSTORE_ECORRUPT || rc == HTSTORE_EFORMAT) {
        c->check->is_whole = false;
        hti_inspect_tell(c->check, CATALOG, HTI_INSPECT_NONE, "%s", reason->message);
        return 0;
    }
    if (rc != 0)
        hti_error_copy(c->error, reason);
    return rc;
}

static int take_store(struct collection *c, struct hti_kv_bytes value)
{
    struct htstore_error reason;
    const int rc = hti_catalog_decode_store(value, &c->check->store, &reason);

    c->check->has_store = rc == 0;
    return judge_record(c, rc, &reason);
}

static int take_object(struct collection *c, uint64_t id, struct hti_kv_bytes value)
{
    struct hti_object_record record;
    struct htstore_error reason;
    struct hti_inspect_object *object = object_of(c->check, id);
    int rc;

    if (!object)
        return no_memory(c->error);
    if (object->has_record)
        return note_twin(c, object);
    rc = hti_catalog_decode_object(id, value, &record, &reason);
    if (rc != 0)
        return judge_record(c, rc, &reason);
    object->record = record;
    object->has_record = true;
    if (record.kind == HTSTORE_KIND_VARIABLE)
        hti_varlayout_init(&object->type, record.value_dtype, hti_shape_count(&record.value_shape));
    else if (record.kind == HTSTORE_KIND_TABLE)
        hti_row_type_init(&object->type, record.key_dtype, record.value_dtype, hti_shape_count(&record.value_shape));
    return 0;
}

static int take_totals(struct collection *c, uint64_t id, struct hti_kv_bytes value)
{
    struct htstore_error reason;
    struct hti_inspect_object *object = object_of(c->check, id);
    int rc;

    if (!object)
        return no_memory(c->error);
    rc = hti_catalog_decode_totals(id, value, &object->totals, &reason);
    object->has_totals = rc == 0;
    return judge_record(c, rc, &reason);
}

static int take_garbage(struct collection *c, uint64_t id, struct hti_kv_bytes value)
{
    struct hti_inspect *check = c->check;
    struct hti_inspect_database *database;
    struct hti_garbage_record record;
    struct htstore_error reason;
    const int rc = hti_catalog_decode_garbage(id, value, &record, &reason);

    if (rc != 0)
        return judge_record(c, rc, &reason);
    database = hti_inspect_find_database(check, record.database);
    if (database)
        database->is_claimed = true;
    return 0;
}

/* Entries come behind all objects. */
static int take_entry(struct collection *c, struct hti_kv_bytes key, struct hti_kv_bytes value)
{
    struct hti_inspect *check = c->check;
    struct hti_inspect_object *mapping;
    struct hti_entry_record record;
    struct htstore_error reason;
    char label[HTI_INSPECT_LABEL_SIZE];
    const int rc = hti_catalog_decode_entry(key, value, &record, &reason);

    if (rc != 0)
        return judge_record(c, rc, &reason);
    mapping = hti_inspect_find_object(check, record.mapping);
    if (mapping) {
        mapping->n_entries++;
        hti_digest_add(&mapping->entries_digest, hti_catalog_entry_hash(&record));
    }
    if (!check->is_whole)
        return 0;
    if (!mapping || !mapping->has_record || mapping->record.kind != HTSTORE_KIND_MAPPING)
        hti_inspect_tell(check, CATALOG, HTI_INSPECT_NONE, "an entry is of mapping %" PRIu64 ", which does not exist",
                         record.mapping);
    else if (!hti_inspect_find_object(check, record.object))
        hti_inspect_tell(check, hti_inspect_label(mapping, label), HTI_INSPECT_NONE,
                         "an entry names object %" PRIu64 ", which does not exist", record.object);
    return 0;
}

static int take_record(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size)
{
    struct collection *c = user;
    const struct hti_kv_bytes value = { data, size };
    enum hti_record_kind kind;
    uint64_t id;

    c->n_seen++;
    if (hti_catalog_decode_key((struct hti_kv_bytes){ key, key_size }, &kind, &id) != 0) {
        c->check->is_whole = false;
        hti_inspect_tell(c->check, CATALOG, HTI_INSPECT_NONE, "a record stands under an unknown key");
        return 0;
    }
    switch (kind) {
    case HTI_CATALOG_STORE:
        return take_store(c, value);
    case HTI_CATALOG_OBJECT:
        return take_object(c, id, value);
    case HTI_CATALOG_TOTALS:
        return take_totals(c, id, value);
    case HTI_CATALOG_ENTRY:
        return take_entry(c, (struct hti_kv_bytes){ key, key_size }, value);
    case HTI_CATALOG_GARBAGE:
        break;
    }
    return take_garbage(c, id, value);
}

static int peek_record(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size)
{
    struct collection *c = user;
    enum hti_record_kind kind;
    uint64_t id;

    if (hti_catalog_decode_key((struct hti_kv_bytes){ key, key_size }, &kind, &id) != 0 || kind != HTI_CATALOG_STORE)
        return 0;
    const int rc = hti_catalog_decode_store((struct hti_kv_bytes){ data, size }, &c->check->store, c->error);
    c->check->has_store = rc == 0;
    return rc == HTSTORE_EVERSION ? rc : 0;
}

int hti_inspect_catalog_peek(struct hti_inspect *check, struct htstore_error *error)
{
    struct collection c = { .check = check, .error = error };
    struct hti_kvpage_tree tree;
    int rc = hti_kvwalk_find_tree(check->walk, "!catalog", &tree, NULL, NULL, error);

    check->has_store = false;
    if (rc == 0)
        rc = hti_kvwalk_walk(check->walk, &tree, peek_record, NULL, &c, error);
    return rc == 1 ? 0 : rc;
}

int hti_inspect_catalog_read(struct hti_inspect *check, bool tell_pages, struct htstore_error *error)
{
    struct collection c = { .check = check, .tell_pages = tell_pages, .what = CATALOG, .error = error };
    int rc;

    check->is_whole = true;
    check->has_store = false;
    rc = list_databases(check, tell_pages, error);
    if (rc != 0)
        return rc;
    if (!check->has_catalog && check->is_whole && check->n_databases == 0)
        return hti_fail(error, HTSTORE_EFORMAT, "%s: no libhtstore file: it has no catalogue", check->data_path);
    if (!check->has_catalog) {
        check->is_whole = false;
        hti_inspect_tell(check, "the main tree", HTI_INSPECT_NONE, "it has no catalogue");
        return 0;
    }
    rc = hti_kvwalk_walk(check->walk, &check->catalog, take_record, note_page, &c, error);
    if (rc == 0 && c.n_seen != check->catalog.n_entries) {
        if (check->is_whole)
            hti_inspect_tell(check, CATALOG, HTI_INSPECT_NONE,
                             "%" PRIu64 " records are recorded, %" PRIu64 " are there", check->catalog.n_entries,
                             c.n_seen);
        check->is_whole = false;
    }
    return rc;
}

/* --- what must hold between them --- */

static void check_object(struct hti_inspect *check, const struct hti_inspect_object *object)
{
    char label[HTI_INSPECT_LABEL_SIZE];

    hti_inspect_label(object, label);
    /* What was not readable was told when it was read. */
    if (check->is_whole && !object->has_record)
        hti_inspect_tell(check, label, HTI_INSPECT_NONE, "its description is missing");
    if (check->is_whole && !object->has_totals)
        hti_inspect_tell(check, label, HTI_INSPECT_NONE, "its totals are missing");
    if (!check->has_store)
        return;
    if (object->id >= check->store.next_id)
        hti_inspect_tell(check, label, HTI_INSPECT_NONE, "its number was never given");
    if (object->has_totals && object->totals.database >= check->store.next_id)
        hti_inspect_tell(check, label, HTI_INSPECT_NONE, "the number of its database was never given");
}

/* The database of an object: is it there, nobody else's, and as full as the totals say? */
static void check_database(struct hti_inspect *check, const struct hti_inspect_object *object)
{
    const struct hti_totals_record *totals = &object->totals;
    struct hti_inspect_database *database = hti_inspect_find_database(check, totals->database);
    char label[HTI_INSPECT_LABEL_SIZE];
    uint64_t n_rows = 0;

    if (!object->has_totals)
        return;
    hti_inspect_label(object, label);
    if (totals->database != 0 && !database) {
        /* a list of databases that is not whole was told */
        if (check->is_whole)
            hti_inspect_tell(check, label, HTI_INSPECT_NONE, "the database of its rows is missing");
        return;
    }
    if (database && database->is_claimed)
        hti_inspect_tell(check, label, HTI_INSPECT_NONE, "another one has the same database");
    if (database) {
        database->is_claimed = true;
        n_rows = database->tree.n_entries;
    }
    if (n_rows != totals->n_rows)
        hti_inspect_tell(check, label, HTI_INSPECT_NONE,
                         "%" PRIu64 " rows are recorded, %" PRIu64 " are in its database", totals->n_rows, n_rows);
}

/* A mapping that lost an entry would let its key be given to another object. */
static void check_mapping(struct hti_inspect *check, const struct hti_inspect_object *mapping)
{
    const struct hti_totals_record *totals = &mapping->totals;
    char label[HTI_INSPECT_LABEL_SIZE];

    if (!mapping->has_totals || !check->is_whole)
        return;
    hti_inspect_label(mapping, label);
    if (totals->database != 0)
        hti_inspect_tell(check, label, HTI_INSPECT_NONE, "it has a database, though mappings have none");
    if (mapping->n_entries != totals->n_rows)
        hti_inspect_tell(check, label, HTI_INSPECT_NONE, "%" PRIu64 " entries are recorded, %" PRIu64 " are there",
                         totals->n_rows, mapping->n_entries);
    else if (mapping->entries_digest.low != totals->digest.low || mapping->entries_digest.high != totals->digest.high)
        hti_inspect_tell(check, label, HTI_INSPECT_NONE,
                         "its entries are not those that were written: their digest differs");
}

static int compare_names(const void *a, const void *b)
{
    const struct hti_inspect_object *const *x = a, *const *y = b;
    return strcmp((*x)->record.name, (*y)->record.name);
}

static int check_names(struct hti_inspect *check, struct htstore_error *error)
{
    struct hti_inspect_object **named = hti_mem_alloc_array(check->n_objects, sizeof(struct hti_inspect_object *));
    char label[HTI_INSPECT_LABEL_SIZE];
    size_t n = 0;

    if (!named)
        return no_memory(error);
    for (size_t i = 0; i < check->n_objects; i++)
        if (check->objects[i].has_record && check->objects[i].record.name)
            named[n++] = &check->objects[i];
    if (n > 1)
        qsort(named, n, sizeof *named, compare_names);
    for (size_t i = 0; i + 1 < n; i++)
        if (compare_names(&named[i], &named[i + 1]) == 0)
            hti_inspect_tell(check, hti_inspect_label(named[i], label), HTI_INSPECT_NONE,
                             "another object has the same name");
    hti_mem_free(named);
    return 0;
}

int hti_inspect_catalog_compare(struct hti_inspect *check, struct htstore_error *error)
{
    if (check->is_whole && !check->has_store)
        hti_inspect_tell(check, CATALOG, HTI_INSPECT_NONE, "the record of the store is missing");
    for (size_t i = 0; i < check->n_objects; i++) {
        const struct hti_inspect_object *object = &check->objects[i];
        check_object(check, object);
        if (object->has_record && object->record.kind == HTSTORE_KIND_MAPPING)
            check_mapping(check, object);
        else
            check_database(check, object);
    }
    /* An empty one is left by a flush that ended before its last commit, and used by the next one. */
    for (size_t i = 0; check->is_whole && i < check->n_databases; i++)
        if (!check->databases[i].is_claimed && check->databases[i].tree.root != HTI_KVPAGE_NONE)
            hti_inspect_tell(check, NULL, HTI_INSPECT_NONE,
                             "database t%016" PRIx64 " with %" PRIu64 " rows is no object's",
                             check->databases[i].number, check->databases[i].tree.n_entries);
    return check_names(check, error);
}

void hti_inspect_catalog_release(struct hti_inspect *check)
{
    for (size_t i = 0; i < check->n_objects; i++)
        hti_object_record_release(&check->objects[i].record);
    hti_mem_free(check->objects);
    hti_mem_free(check->databases);
    check->objects = NULL;
    check->databases = NULL;
    check->n_objects = check->n_databases = check->max_objects = check->max_databases = 0;
}
