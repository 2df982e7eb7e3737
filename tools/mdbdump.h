/* mdbdump: whole stores as text that mdb_load reads, and stores from such text: docs/dump-format.md. */
#ifndef TOOLS_MDBDUMP_H
#define TOOLS_MDBDUMP_H

#include "htstore.h"
#include "output.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tool;

enum mdbdump_verify {
    MDBDUMP_VERIFY_FULL, /* every row of the new store */
    MDBDUMP_VERIFY_QUICK, /* only the numbers of its rows */
    MDBDUMP_VERIFY_NONE
};

struct mdbdump_options {
    bool is_bdb; /* writing: for db_load */
    enum mdbdump_verify verify; /* restoring; the text is always compared with what it says of itself */
    const char *source; /* restoring: name of the input, for messages */
    uint64_t n_objects, n_rows; /* [out] what was written or restored */
};

/*
 * Append the dump of a whole store to an output. `store` was opened with HTSTORE_READONLY, and nobody refreshes it
 * meanwhile: all is of one instant. Returns a status, with messages; an error of the output is left to its end. After an
 * interruption tool->signal is set. What was written so far never ends in DATA=END, unless it is whole.
 */
int mdbdump_write_store(struct tool *tool, struct htstore *store, struct output *output,
                        struct mdbdump_options *options);

/*
 * Make a new store of a dump. It is built beside `target`, verified, and renamed into place without replacing anything.
 * Returns a status, with messages; tool->signal as above. Borrows the descriptor, which may be that of a pipe.
 */
int mdbdump_restore_store(struct tool *tool, int fd, const char *target, struct mdbdump_options *options);

/* Does a file that starts with these bytes hold a dump? At least 9 are needed to tell. */
bool mdbdump_is_dump(const void *data, size_t size);

#endif
