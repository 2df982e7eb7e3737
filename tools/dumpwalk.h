/* dumpwalk: the rows of an object as a dump has them, one by one, of one instant. */
#ifndef TOOLS_DUMPWALK_H
#define TOOLS_DUMPWALK_H

#include "dumpschema.h"

#include <stdbool.h>

struct tool;

/* Told of one row, in packed bytes; `sized` as in digest_add(). Returns 0 to go on, or a status. */
typedef int (*dumpwalk_fn)(void *user, const struct htstore_bytes *key, const struct htstore_bytes *value, bool sized);

/*
 * All rows of a table or variable, by its open handle. Returns 0, what the function returned, or a status with a message.
 * Memory is bounded by a block of rows, and by a sub-array along the first dimension of a variable.
 */
int dumpwalk_run(const struct tool *tool, const struct dump_object *object, dumpwalk_fn function, void *user);

#define DUMPWALK_INDEX_SIZE 8 /* keys of variables: the index of their first element, big-endian */

#endif
