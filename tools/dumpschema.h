/* dumpschema: what a dump says of the objects of a store: the records of its section !htstore (docs/dump-format.md). */
#ifndef TOOLS_DUMPSCHEMA_H
#define TOOLS_DUMPSCHEMA_H

#include "buffer.h"
#include "digest.h"
#include "htstore.h"
#include "rows.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DUMPSCHEMA_SECTION "!htstore"
#define DUMPSCHEMA_FORMAT 1

/* An entry of a mapping. */
struct dump_entry {
    uint64_t id; /* of the object */
    struct buffer key;
};

/* An object; its memory belongs to the list. */
struct dump_object {
    uint64_t id;
    uint32_t kind; /* enum htstore_kind; 0: only entries of it were read so far */
    uint32_t flags; /* of htstore_object */
    char *name; /* NULL: anonymous */
    char *section; /* tables, variables */
    struct rows_layout layout; /* tables; of variables dtype, rank and shape of the value, its elements in `width` */
    uint32_t role; /* variables */
    struct buffer default_value; /* tables: packed */
    uint64_t n_rows; /* tables, variables: rows of the section */
    struct digest digest; /* of these rows */
    struct dump_entry *entries; /* mappings, in the order of insertion */
    size_t n_entries, entries_capacity;
    uint64_t entries_expected;
    void *handle; /* open object; not closed by dumpschema_release() */
    bool is_read; /* its section was */
};

/* Initialise with { 0 }. */
struct dump_objects {
    struct dump_object **list;
    size_t n, capacity;
    struct dump_object **by_section; /* after dumpschema_check(): those that have one, by its name */
    size_t n_sections;
    bool has_store; /* the record of the store was read */
    uint64_t expected; /* objects, by that record */
    uint64_t lsn;
    uint8_t store_id[16];
};

struct dump_object *dumpschema_add(struct dump_objects *objects, uint64_t id);

/* The object of that number, or NULL. Objects were added in any order. */
struct dump_object *dumpschema_find(const struct dump_objects *objects, uint64_t id);

/* The next entry of a mapping, empty. */
struct dump_entry *dumpschema_add_entry(struct dump_object *object);

/* The section for the rows of an object: its name, or # and its number where LMDB or the order of sections forbid it. */
char *dumpschema_section_name(uint32_t kind, uint64_t id, const char *name);

/* For messages: table "words", variable #7. */
const char *dumpschema_show(const struct dump_object *object, char shown[400]);

/* Append the rows of the section !htstore, as lines of data. */
void dumpschema_write(struct buffer *text, const struct dump_objects *objects);

/* Whether this program can read such rows: it is built with jansson. */
bool dumpschema_can_read(void);

/*
 * Take a row of the section. Returns 0; -1 and appends why to `reason`, as a sentence without its end; or 1 likewise if it
 * was written by a newer program.
 */
int dumpschema_read(struct dump_objects *objects, const struct htstore_bytes *key, const struct htstore_bytes *value,
                    struct buffer *reason);

/* Whether all rows together describe a store. Returns 0, or -1 and appends why not. */
int dumpschema_check(struct dump_objects *objects, struct buffer *reason);

/* The object whose rows are in that section, or NULL. After dumpschema_check(). */
struct dump_object *dumpschema_find_section(const struct dump_objects *objects, const char *section);

void dumpschema_release(struct dump_objects *objects);

#endif
