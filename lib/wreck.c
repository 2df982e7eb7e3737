/* wreck: hides how the folder of a damaged store is opened, and where its catalogue is found if not where it should be. */
#include "wreck.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "kvfile.h"
#include "mem.h"
#include "text.h"
#include "varlayout.h"

/* --- log --- */

__attribute__((format(printf, 3, 0))) static void tell(const struct hti_wreck *wreck, int32_t level, const char *format,
                                                       va_list args)
{
    char message[1024];

    vsnprintf(message, sizeof message, format, args);
    wreck->options->log(wreck->options->log_user, level, "salvage", message);
}

void hti_wreck_warn(struct hti_wreck *wreck, const char *format, ...)
{
    va_list args;

    wreck->lossy = true;
    if (!wreck->options->log)
        return;
    va_start(args, format);
    tell(wreck, HTSTORE_LOG_WARNING, format, args);
    va_end(args);
}

void hti_wreck_note(const struct hti_wreck *wreck, const char *format, ...)
{
    va_list args;

    if (!wreck->options->log)
        return;
    va_start(args, format);
    tell(wreck, HTSTORE_LOG_INFO, format, args);
    va_end(args);
}

const char *hti_wreck_label(const struct hti_wreck_table *table, char out[HTI_WRECK_LABEL_SIZE])
{
    static const char *const kinds[] = { "object", "table", "variable", "mapping" };
    const char *kind = kinds[table->record.kind];
    char name[HTI_WRECK_LABEL_SIZE - 16];

    if (!table->record.name) {
        snprintf(out, HTI_WRECK_LABEL_SIZE, table->has_record ? "anonymous %s %llu" : "%s number %llu", kind,
                 (unsigned long long)table->id);
        return out;
    }
    hti_text_escape(name, sizeof name, table->record.name, strlen(table->record.name));
    snprintf(out, HTI_WRECK_LABEL_SIZE, "%s %s", kind, name);
    return out;
}

static int no_memory(struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_ENOMEM, "no memory to recover the store");
}

/* --- damaged pages --- */

static bool is_new_page(struct hti_wreck *wreck, uint64_t page)
{
    for (size_t i = 0; i < wreck->n_bad_pages; i++)
        if (wreck->bad_pages[i] == page)
            return false;
    if (wreck->n_bad_pages < HTI_WRECK_MAX_BAD_PAGES)
        wreck->bad_pages[wreck->n_bad_pages++] = page;
    return true;
}

void hti_wreck_note_page(void *user, uint64_t page, const char *reason)
{
    struct hti_wreck_damage *damage = user;

    if (is_new_page(damage->wreck, page))
        damage->wreck->found.n_damaged_pages++;
    if (damage->n_pages++ < HTI_WRECK_MAX_TOLD)
        hti_wreck_warn(damage->wreck, "%s: page %llu of data.mdb is damaged: %s", damage->what,
                       (unsigned long long)page, reason);
}

void hti_wreck_tell_pages(const struct hti_wreck_damage *damage)
{
    if (damage->n_pages > HTI_WRECK_MAX_TOLD)
        hti_wreck_warn(damage->wreck, "%s: %llu damaged pages in all", damage->what,
                       (unsigned long long)damage->n_pages);
}

/* --- what is known of tables --- */

static size_t place_of(const struct hti_wreck *wreck, uint64_t id)
{
    size_t low = 0, high = wreck->n_tables;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (wreck->tables[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The entry of that id, made if it is new. NULL: no memory. */
static struct hti_wreck_table *entry_of(struct hti_wreck *wreck, uint64_t id)
{
    const size_t at = place_of(wreck, id);
    struct hti_wreck_table *more;

    if (at < wreck->n_tables && wreck->tables[at].id == id)
        return &wreck->tables[at];
    more = hti_mem_realloc_array(wreck->tables, wreck->n_tables + 1, sizeof *more);
    if (!more)
        return NULL;
    wreck->tables = more;
    memmove(&more[at + 1], &more[at], (wreck->n_tables - at) * sizeof *more);
    memset(&more[at], 0, sizeof more[at]);
    more[at].id = id;
    wreck->n_tables++;
    return &more[at];
}

static void lose_table(struct hti_wreck *wreck, const struct hti_wreck_table *table)
{
    char label[HTI_WRECK_LABEL_SIZE];

    wreck->found.n_lost_tables++;
    hti_wreck_warn(wreck, "%s is lost: its description is missing or damaged", hti_wreck_label(table, label));
}

struct hti_wreck_table *hti_wreck_table(struct hti_wreck *wreck, uint64_t id)
{
    const size_t n = wreck->n_tables;
    struct hti_wreck_table *table = entry_of(wreck, id);

    if (wreck->n_tables > n)
        lose_table(wreck, table);
    return table;
}

/* --- the catalogue --- */

struct catalog_walk {
    struct hti_wreck_damage damage;
    unsigned state;
    uint64_t n_seen;
    uint64_t n_damaged;
    struct htstore_error *error;
};

/* A record that did not decode. 0: go on without it. */
static int skip_record(struct catalog_walk *c, int rc, const struct htstore_error *reason)
{
    if (rc == HTSTORE_ECORRUPT) {
        c->n_damaged++;
        hti_wreck_warn(c->damage.wreck, "%s", reason->message);
        return 0;
    }
    hti_error_copy(c->error, reason);
    return rc;
}

static int take_store(struct catalog_walk *c, struct hti_kv_bytes value)
{
    struct htstore_error reason;
    int rc;

    if (c->damage.wreck->has_store)
        return 0;
    rc = hti_catalog_decode_store(value, &c->damage.wreck->store, &reason);
    if (rc != 0)
        return skip_record(c, rc, &reason);
    c->damage.wreck->has_store = true;
    c->damage.wreck->store_is_exact = c->state == 0;
    return 0;
}

static int take_table(struct catalog_walk *c, struct hti_wreck_table *table, struct hti_kv_bytes value)
{
    struct hti_object_record record;
    struct htstore_error reason;
    int rc;

    if (table->has_record)
        return 0;
    rc = hti_catalog_decode_object(table->id, value, &record, &reason);
    if (rc != 0)
        return skip_record(c, rc, &reason);
    table->record = record;
    table->has_record = true;
    if (record.kind == HTSTORE_KIND_VARIABLE)
        hti_varlayout_init(&table->type, record.value_dtype, hti_shape_count(&record.value_shape));
    else if (record.kind == HTSTORE_KIND_TABLE)
        hti_row_type_init(&table->type, record.key_dtype, record.value_dtype, hti_shape_count(&record.value_shape));
    return 0;
}

static int take_totals(struct catalog_walk *c, struct hti_wreck_table *table, struct hti_kv_bytes value)
{
    struct htstore_error reason;
    int rc;

    if (table->has_totals)
        return 0;
    rc = hti_catalog_decode_totals(table->id, value, &table->totals, &reason);
    if (rc != 0)
        return skip_record(c, rc, &reason);
    table->has_totals = true;
    table->totals_state = c->state;
    return 0;
}

static int take_garbage(struct catalog_walk *c, uint64_t id, struct hti_kv_bytes value)
{
    struct hti_wreck *wreck = c->damage.wreck;
    struct hti_garbage_record record;
    struct htstore_error reason;
    uint64_t *more;
    const int rc = hti_catalog_decode_garbage(id, value, &record, &reason);

    if (rc != 0)
        return skip_record(c, rc, &reason);
    more = hti_mem_realloc_array(wreck->garbage, wreck->n_garbage + 1, sizeof *more);
    if (!more)
        return no_memory(c->error);
    wreck->garbage = more;
    more[wreck->n_garbage++] = record.database;
    return 0;
}

/* Both states may tell of it. */
static int take_entry(struct catalog_walk *c, struct hti_kv_bytes key, struct hti_kv_bytes value)
{
    struct hti_wreck *wreck = c->damage.wreck;
    struct hti_entry_record entry;
    struct htstore_error reason;
    char *name;
    const int rc = hti_catalog_decode_entry(key, value, &entry, &reason);

    if (rc != 0)
        return skip_record(c, rc, &reason);
    if (wreck->n_entries == wreck->max_entries) {
        const size_t wanted = wreck->max_entries * 2 + 16;
        struct hti_entry_record *more = hti_mem_realloc_array(wreck->entries, wanted, sizeof *more);
        if (!more)
            return no_memory(c->error);
        wreck->entries = more;
        wreck->max_entries = wanted;
    }
    name = hti_mem_dup(entry.name, entry.name_size);
    if (!name)
        return no_memory(c->error);
    entry.name = name;
    wreck->entries[wreck->n_entries++] = entry;
    return 0;
}

static int take_record(void *user, const uint8_t *key, size_t key_size, const uint8_t *data, size_t size)
{
    struct catalog_walk *c = user;
    const struct hti_kv_bytes value = { data, size };
    struct hti_wreck_table *table = NULL;
    enum hti_record_kind kind;
    uint64_t id;

    c->n_seen++;
    if (hti_catalog_decode_key((struct hti_kv_bytes){ key, key_size }, &kind, &id) != 0) {
        c->n_damaged++;
        hti_wreck_warn(c->damage.wreck, "a record of the catalogue stands under an unknown key");
        return 0;
    }
    if (kind == HTI_CATALOG_OBJECT || kind == HTI_CATALOG_TOTALS) {
        table = entry_of(c->damage.wreck, id);
        if (!table)
            return no_memory(c->error);
    }
    switch (kind) {
    case HTI_CATALOG_OBJECT:
        return take_table(c, table, value);
    case HTI_CATALOG_TOTALS:
        return take_totals(c, table, value);
    case HTI_CATALOG_GARBAGE:
        return take_garbage(c, id, value);
    case HTI_CATALOG_ENTRY:
        return take_entry(c, (struct hti_kv_bytes){ key, key_size }, value);
    case HTI_CATALOG_STORE:
        break;
    }
    return take_store(c, value);
}

/* --- the states --- */

struct listing {
    struct hti_wreck_damage damage;
    struct hti_wreck_state *state;
    struct htstore_error *error;
};

static int take_database(void *user, const uint8_t *name, size_t name_size, const struct hti_kvpage_tree *tree)
{
    struct listing *l = user;
    struct hti_wreck_state *state = l->state;
    struct hti_wreck_database *more;
    uint64_t number;

    if (!hti_kv_parse_name((struct hti_kv_bytes){ name, name_size }, &number))
        return 0;
    if (number == HTI_KV_CATALOG) {
        state->has_catalog = true;
        state->catalog = *tree;
        return 0;
    }
    more = hti_mem_realloc_array(state->databases, state->n_databases + 1, sizeof *more);
    if (!more)
        return no_memory(l->error);
    state->databases = more;
    more[state->n_databases++] = (struct hti_wreck_database){ .number = number, .tree = *tree };
    return 0;
}

/* 0 and whether nothing is missing. */
static int list_databases(struct hti_wreck *wreck, unsigned i, bool *whole, struct htstore_error *error)
{
    struct listing l = { .damage = { .wreck = wreck, .what = "list of databases" },
                         .state = &wreck->states[i],
                         .error = error };
    const int rc = hti_kvwalk_list_trees(wreck->states[i].file, take_database, hti_wreck_note_page, &l, error);

    hti_wreck_tell_pages(&l.damage);
    *whole = l.damage.n_pages == 0;
    return rc;
}

static bool is_complete(const struct hti_wreck *wreck)
{
    bool complete = wreck->has_store;

    for (size_t i = 0; i < wreck->n_tables; i++)
        complete = complete && wreck->tables[i].has_record && wreck->tables[i].has_totals;
    return complete;
}

/* Take from the catalogue of a state what is not known yet. *whole: it is there, and nothing of it is missing. */
static int read_state(struct hti_wreck *wreck, unsigned i, bool *whole, struct htstore_error *error)
{
    const struct hti_wreck_state *state = &wreck->states[i];
    struct catalog_walk c = { .damage = { .wreck = wreck, .what = "catalogue" }, .state = i, .error = error };
    int rc = list_databases(wreck, i, whole, error);

    if (rc != 0 || !state->has_catalog) {
        *whole = false;
        return rc;
    }
    rc = hti_kvwalk_walk(state->file, &state->catalog, take_record, hti_wreck_note_page, &c, error);
    if (rc != 0)
        return rc;
    hti_wreck_tell_pages(&c.damage);
    if (c.n_seen != state->catalog.n_entries)
        hti_wreck_warn(wreck, "catalogue: %llu of %llu records are readable", (unsigned long long)c.n_seen,
                       (unsigned long long)state->catalog.n_entries);
    *whole = *whole && c.damage.n_pages == 0 && c.n_damaged == 0 && c.n_seen == state->catalog.n_entries &&
             is_complete(wreck);
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    const struct hti_wreck_table *const *x = a, *const *y = b;
    const int order = strcmp((*x)->record.name, (*y)->record.name);

    return order ? order : ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

/* Of tables of one name the last one counts: the others are from before a drop. */
static int mark_replaced(struct hti_wreck *wreck, struct htstore_error *error)
{
    struct hti_wreck_table **named = hti_mem_alloc_array(wreck->n_tables, sizeof(struct hti_wreck_table *));
    size_t n = 0;

    if (!named)
        return no_memory(error);
    for (size_t i = 0; i < wreck->n_tables; i++)
        if (wreck->tables[i].record.name)
            named[n++] = &wreck->tables[i];
    if (n > 1)
        qsort(named, n, sizeof *named, compare_names);
    for (size_t i = 0; i + 1 < n; i++)
        named[i]->replaced = strcmp(named[i]->record.name, named[i + 1]->record.name) == 0;
    hti_mem_free(named);
    return 0;
}

static bool is_claimed(const struct hti_wreck *wreck, uint64_t number)
{
    for (size_t i = 0; i < wreck->n_tables; i++)
        if (wreck->tables[i].has_totals && wreck->tables[i].totals_state == 0 &&
            wreck->tables[i].totals.database == number)
            return true;
    for (size_t i = 0; i < wreck->n_garbage; i++)
        if (wreck->garbage[i] == number)
            return true;
    return false;
}

/* For tables without totals: their databases are among those that nobody claims. */
static void mark_claimed(struct hti_wreck *wreck)
{
    struct hti_wreck_state *newest = &wreck->states[0];

    for (size_t i = 0; i < newest->n_databases; i++)
        newest->databases[i].claimed = is_claimed(wreck, newest->databases[i].number);
}

static int judge_catalog(struct hti_wreck *wreck, bool whole, struct htstore_error *error)
{
    size_t n_readable = 0;

    for (size_t i = 0; i < wreck->n_tables; i++) {
        n_readable += wreck->tables[i].has_record;
        if (!wreck->tables[i].has_record)
            lose_table(wreck, &wreck->tables[i]);
    }
    if (!wreck->has_store)
        hti_wreck_warn(wreck, "the store's own record is missing or damaged: all of its journal counts");
    if (whole || n_readable > 0)
        return 0;
    hti_fail(error, HTSTORE_ECORRUPT, "%s: the description of no table is readable: nothing can be recovered",
             wreck->data_path);
    hti_error_set_path(error, wreck->data_path, 0);
    return HTSTORE_ECORRUPT;
}

/*
 * The state before the last transaction is whole as well, as LMDB does not reuse its pages at once: it fills the gaps of
 * the newest one.
 */
static int read_catalog(struct hti_wreck *wreck, struct htstore_error *error)
{
    const struct hti_wreck_state *newest = &wreck->states[0], *other = &wreck->states[1];
    bool whole, other_whole;
    int rc = read_state(wreck, 0, &whole, error);

    if (rc == 0 && !whole && wreck->n_states > 1) {
        hti_wreck_note(wreck, "the state before the last transaction is asked for what is missing in the catalogue");
        rc = read_state(wreck, 1, &other_whole, error);
    }
    if (rc != 0)
        return rc;
    if (!newest->has_catalog && !other->has_catalog && !wreck->lossy)
        return hti_fail(error, HTSTORE_EFORMAT, "%s: no libhtstore file: it has no catalogue", wreck->data_path);
    if (!newest->has_catalog)
        hti_wreck_warn(wreck, "the catalogue of the last transaction is not found");
    if (!newest->has_catalog && newest->n_databases == 0)
        wreck->store_is_exact = wreck->has_store; /* all of it is the older state's, and so are the rows */
    if (!whole)
        mark_claimed(wreck);
    rc = mark_replaced(wreck, error);
    return rc ? rc : judge_catalog(wreck, whole, error);
}

/* --- open and close --- */

static int open_folder(struct hti_wreck *wreck, const char *path, struct htstore_error *error)
{
    struct stat st;
    int rc;

    if (stat(path, &st) != 0)
        return hti_file_fail(error, errno, path, "%s: cannot open the store", wreck->path);
    if (!S_ISDIR(st.st_mode))
        return hti_fail(error, HTSTORE_EFORMAT, "%s: not a store: it is not a folder", wreck->path);
    rc = hti_folder_open(AT_FDCWD, path, path, &wreck->dir_fd, error);
    if (rc == 0 && faccessat(wreck->dir_fd, "data.mdb", F_OK, AT_SYMLINK_NOFOLLOW) != 0)
        return hti_fail(error, HTSTORE_EFORMAT, "%s: not a store: it has no data.mdb", wreck->path);
    if (rc == 0 && !(wreck->options->flags & HTSTORE_ALLOW_ANY_FILESYSTEM))
        rc = hti_folder_check_filesystem(wreck->dir_fd, path, error);
    if (rc == 0 && !(wreck->options->flags & HTSTORE_ALLOW_SHARED_FOLDER))
        rc = hti_folder_check_safe(wreck->dir_fd, path, error);
    return rc;
}

/* Byte 0 of LOCK stays locked, and the folder too: an owner also locks it, and LOCK may be gone. */
static int keep_owners_out(struct hti_wreck *wreck, struct htstore_error *error)
{
    bool owner_alive;
    const int rc =
        hti_lock_reader(&wreck->lock, wreck->dir_fd, wreck->path, wreck->options->lock_timeout_ms, &owner_alive, error);

    if (rc != 0)
        return rc;
    if (owner_alive || (flock(wreck->dir_fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK))
        return hti_lock_refuse(&wreck->lock, wreck->path, error);
    return 0;
}

/* One meta page that cannot be used is a damaged page: the last transaction may have been its. */
static int open_states(struct hti_wreck *wreck, struct htstore_error *error)
{
    struct htstore_error reason;
    int rc = hti_kvwalk_open(wreck->data_fd, false, wreck->data_path, &wreck->states[0].file, error);

    if (rc != 0)
        return rc;
    wreck->n_states = 1;
    rc = hti_kvfile_check(wreck->data_fd, wreck->data_path, &reason);
    if (rc != 0 && rc != HTSTORE_ENOMEM)
        hti_wreck_note(wreck, "data.mdb: %s", reason.message);
    if (rc != HTSTORE_ENOMEM)
        rc = hti_kvwalk_open(wreck->data_fd, true, wreck->data_path, &wreck->states[1].file, &reason);
    if (rc == HTSTORE_ENOMEM) {
        hti_error_copy(error, &reason);
        return rc;
    }
    if (rc == 0) {
        wreck->n_states = 2;
    } else {
        wreck->found.n_damaged_pages++;
        hti_wreck_warn(wreck, "data.mdb: %s: what the last transaction wrote may be missing", reason.message);
    }
    return 0;
}

int hti_wreck_open(struct hti_wreck *wreck, const char *path, const struct htstore_options *options,
                   struct htstore_error *error)
{
    int rc;

    memset(wreck, 0, sizeof *wreck);
    wreck->options = options;
    wreck->dir_fd = wreck->data_fd = wreck->lock.fd = -1;
    snprintf(wreck->path, sizeof wreck->path, "%s", path);
    snprintf(wreck->data_path, sizeof wreck->data_path, "%.240s/data.mdb", path);
    rc = open_folder(wreck, path, error);
    if (rc == 0)
        rc = keep_owners_out(wreck, error);
    if (rc == 0)
        rc = hti_file_open(wreck->dir_fd, "data.mdb", O_RDONLY, wreck->data_path, &wreck->data_fd, error);
    if (rc == 0)
        rc = open_states(wreck, error);
    if (rc == 0)
        rc = read_catalog(wreck, error);
    if (rc != 0)
        hti_wreck_close(wreck);
    return rc;
}

void hti_wreck_close(struct hti_wreck *wreck)
{
    for (unsigned i = 0; i < HTI_WRECK_STATES; i++) {
        hti_kvwalk_close(wreck->states[i].file);
        hti_mem_free(wreck->states[i].databases);
    }
    for (size_t i = 0; i < wreck->n_tables; i++)
        hti_object_record_release(&wreck->tables[i].record);
    for (size_t i = 0; i < wreck->n_entries; i++)
        hti_mem_free((char *)(uintptr_t)wreck->entries[i].name);
    hti_mem_free(wreck->entries);
    hti_mem_free(wreck->tables);
    hti_mem_free(wreck->garbage);
    hti_lock_release(&wreck->lock);
    if (wreck->data_fd >= 0)
        close(wreck->data_fd);
    if (wreck->dir_fd >= 0) {
        flock(wreck->dir_fd, LOCK_UN);
        close(wreck->dir_fd);
    }
    memset(wreck, 0, sizeof *wreck);
    wreck->dir_fd = wreck->data_fd = wreck->lock.fd = -1;
}
