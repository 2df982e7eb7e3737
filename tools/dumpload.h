/* dumpload: makes the objects of a new store from records and from the rows of sections. */
#ifndef TOOLS_DUMPLOAD_H
#define TOOLS_DUMPLOAD_H

#include "dumpschema.h"
#include "rows.h"

struct tool;

/* One object whose section is being read. Initialise with { 0 }, fill the first three. */
struct dumpload {
    const struct tool *tool;
    struct htstore *store;
    struct dump_object *object; /* tables exist, variables do not */
    struct rows rows; /* tables: rows to be inserted */
    struct buffer elements; /* variables: numbers, or the bytes of strings */
    struct buffer sizes; /* variables: size_t of each string */
    size_t n_elements;
    struct digest digest;
    uint64_t n_rows;
};

/* Create a table or mapping, empty, and keep its handle; nothing is done for variables. Returns 0 or a status. */
int dumpload_create(const struct tool *tool, struct htstore *store, struct dump_object *object);

/* Take a row. Returns 0; -1 and appends to `reason` why it is none; or a status, with a message. */
int dumpload_row(struct dumpload *load, const struct htstore_bytes *key, const struct htstore_bytes *value,
                 struct buffer *reason);

/* All rows were taken: compare them with the record, insert the rest, make the variable. As dumpload_row(). */
int dumpload_end(struct dumpload *load, struct buffer *reason);

/* Release what dumpload_row() kept, whatever it returned. */
void dumpload_release(struct dumpload *load);

/* Put all entries into their mappings. Returns 0 or a status, with a message. */
int dumpload_link(const struct tool *tool, const struct dump_objects *objects);

#endif
