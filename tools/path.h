/* path: TABLE and PATH arguments: names joined by slashes, and the way through mappings that they describe. */
#ifndef TOOLS_PATH_H
#define TOOLS_PATH_H

#include "htstore.h"
#include "rows.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tool;

/* The first name is one of the root namespace, the others are keys of mappings. Initialise with { 0 }. */
struct path {
    char **names; /* without escapes */
    size_t n;
    bool ends_with_slash; /* what it names must be a mapping */
};

/* Returns 0 or a status, with a message. The caller releases the path in both cases. */
int path_read(const struct tool *tool, const char *argument, struct path *path);
void path_release(struct path *path);

/* Append the first n names as they are typed. */
void path_write(struct buffer *text, const struct path *path, size_t n);

/* The key at position i, for functions of mappings. */
struct htstore_bytes path_key(const struct path *path, size_t i);

/*
 * Open the object with this name in the root namespace, whatever its kind. Returns what htstore_table_open() returns, but
 * never HTSTORE_ECONFLICT.
 */
int path_open_root(struct htstore *store, const char *name, uint32_t *kind, void **object, struct htstore_error *error);

/* Open what a path names. Returns 0 or a status, with a message; *object is then NULL. */
int path_open(const struct tool *tool, struct htstore *store, const struct path *path, uint32_t *kind, void **object);

/* Open what an argument names: path_read() and path_open(). */
int path_open_argument(const struct tool *tool, struct htstore *store, const char *argument, uint32_t *kind,
                       void **object);

/*
 * Open a table by its argument, with the layout of its rows; `layout` may be NULL. Says so if it is no table. From now on
 * tool->table is the argument.
 */
int path_open_table(struct tool *tool, struct htstore *store, const char *argument, struct htstore_table **table,
                    struct rows_layout *layout);

/* "table", "variable", "mapping". */
const char *path_kind_name(uint32_t kind);

#endif
