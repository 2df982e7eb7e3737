/* mdbrows: the rows of one section of a dump, found by its name. */
#ifndef TOOLS_MDBROWS_H
#define TOOLS_MDBROWS_H

#include "mdbread.h"

#include <stdbool.h>
#include <stdint.h>

struct mdbrows_settings {
    const char *database; /* name of the section; NULL: the first one */
    bool big_endian;
};

struct mdbrows {
    const struct mdbrows_settings *settings;
    struct mdbread read;
    bool is_found;
    bool is_missing; /* no section has the name */
    bool has_more; /* another section follows the first one, and no name was given */
    struct buffer names; /* of sections that were passed over, for a message */
};

/* Borrows both. */
void mdbrows_open(struct mdbrows *rows, const struct mdbrows_settings *settings, struct lines *lines);

/*
 * Read the next row of the section: read.key and read.value. MDBREAD_END: there are no more. MDBREAD_UNSUPPORTED also if the
 * section is not there.
 */
enum mdbread_result mdbrows_next(struct mdbrows *rows);

void mdbrows_close(struct mdbrows *rows);

#endif
