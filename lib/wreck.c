/* wreck: hides where catalogue and rows are found when not everything is where it should be. */
#include "wreck.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "file.h"
#include "mem.h"
#include "text.h"

#define MAX_TOLD 3 /* damaged pages and rows that are told one by one, for each table */
#define MAX_LEVELS 4096
#define MAX_PROBED_ROWS 16
#define KEY_TEXT_SIZE 96

/* --- log --- */

static void tell(const struct hti_wreck *wreck, int32_t level, const char *format, va_list args)
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
    char name[HTI_WRECK_LABEL_SIZE - 8];

    if (!table->record.name) {
        snprintf(out, HTI_WRECK_LABEL_SIZE, "%s %llu", table->has_record ? "anonymous table" : "table number",
                 (unsigned long long)table->id);
        return out;
    }
    hti_text_escape(name, sizeof name, table->record.name, strlen(table->record.name));
    snprintf(out, HTI_WRECK_LABEL_SIZE, "table %s", name);
    return out;
}

static int no_memory(struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_ENOMEM, "no memory to recover the store");
}

/* --- damaged pages --- */

/* What a walk met. */
struct damage {
    struct hti_wreck *wreck;
    const char *what; /* is walked */
    uint64_t n_pages;
};

static bool is_new_page(struct hti_wreck *wreck, uint64_t page)
{
    for (size_t i = 0; i < wreck->n_bad_pages; i++)
        if (wreck->bad_pages[i] == page)
            return false;
    if (wreck->n_bad_pages < HTI_WRECK_MAX_BAD_PAGES)
        wreck->bad_pages[wreck->n_bad_pages++] = page;
    return true;
}

static void note_bad_page(struct damage *damage, uint64_t page, const char *reason)
{
    if (is_new_page(damage->wreck, page))
        damage->wreck->found.n_damaged_pages++;
    damage->wreck->lossy = true;
    if (damage->n_pages++ < MAX_TOLD)
        hti_wreck_warn(damage->wreck, "%s: page %llu of data.mdb is damaged: %s", damage->what,
                       (unsigned long long)page, reason);
}

static void tell_more_pages(const struct damage *damage)
{
    if (damage->n_pages > MAX_TOLD)
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

static bool has_name(const struct hti_wreck *wreck, const char *name)
{
    for (size_t i = 0; i < wreck->n_tables; i++)
        if (wreck->tables[i].record.name && strcmp(wreck->tables[i].record.name, name) == 0)
            return true;
    return false;
}

/* --- the catalogue --- */

struct catalog_walk {
    struct hti_wreck *wreck;
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
        hti_wreck_warn(c->wreck, "%s", reason->message);
        return 0;
    }
    hti_error_copy(c->error, reason);
    return rc;
}

static int take_store(struct catalog_walk *c, struct hti_kv_bytes value)
{
    struct htstore_error reason;
    int rc;

    if (c->wreck->has_store)
        return 0;
    rc = hti_catalog_decode_store(value, &c->wreck->store, &reason);
    if (rc != 0)
        return skip_record(c, rc, &reason);
    c->wreck->has_store = true;
    c->wreck->store_is_exact = c->state == 0;
    return 0;
}

static int take_table(struct catalog_walk *c, struct hti_wreck_table *table, struct hti_kv_bytes value)
{
    struct hti_table_record record;
    struct htstore_error reason;
    int rc;

    if (table->has_record)
        return 0;
    rc = hti_catalog_decode_table(table->id, value, &record, &reason);
    if (rc != 0)
        return skip_record(c, rc, &reason);
    table->record = record;
    table->has_record = true;
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
    struct hti_wreck *wreck = c->wreck;
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
        hti_wreck_warn(c->wreck, "a record of the catalogue stands under an unknown key");
        return 0;
    }
    if (kind == HTI_CATALOG_TABLE || kind == HTI_CATALOG_TOTALS) {
        table = entry_of(c->wreck, id);
        if (!table)
            return no_memory(c->error);
    }
    switch (kind) {
    case HTI_CATALOG_TABLE:
        return take_table(c, table, value);
    case HTI_CATALOG_TOTALS:
        return take_totals(c, table, value);
    case HTI_CATALOG_GARBAGE:
        return take_garbage(c, id, value);
    case HTI_CATALOG_STORE:
        break;
    }
    return take_store(c, value);
}

/* --- the states --- */

struct listing {
    struct damage damage; /* first: it is what bad pages are told to */
    struct hti_wreck_state *state;
    struct htstore_error *error;
};

static void note_bad_listing(void *user, uint64_t page, const char *reason)
{
    struct listing *l = user;
    note_bad_page(&l->damage, page, reason);
}

static int take_database(void *user, const uint8_t *name, size_t name_size, const struct hti_kvfile_tree *tree)
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
    more[state->n_databases++] = (struct hti_wreck_database){ number, *tree };
    return 0;
}

static void note_bad(void *user, uint64_t page, const char *reason)
{
    note_bad_page(user, page, reason);
}
