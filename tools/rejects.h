/* rejects: input rows that were refused: how many may be, why, and where they are set aside. */
#ifndef TOOLS_REJECTS_H
#define TOOLS_REJECTS_H

#include "htstore.h"
#include "output.h"

#include <stdbool.h>
#include <stdint.h>

struct tool;

struct rejects {
    struct tool *tool;
    const char *source; /* name of the input, for messages */
    const char *path; /* where refused rows are set aside; NULL: nowhere */
    bool is_dump; /* rows of a dump are never set aside: alone they are none */
    uint64_t limit; /* refused rows beyond it end the import */
    uint64_t count;
    struct output output;
};

/* Fill tool, source, path, is_dump and limit before. Returns 0 or a status, with a message. */
int rejects_open(struct rejects *rejects);

/* A row that was refused. */
struct rejects_row {
    uint64_t row, line; /* from 1 */
    const char *reason;
    int status; /* of an import that ends here */
    struct htstore_bytes raw; /* the line; only needed if there is a path */
};

/* Returns 0 if the row is set aside, its status if it ends the import; then it is not set aside, and that is said. */
int rejects_add(struct rejects *rejects, const struct rejects_row *row);

/* Say how many there were and keep the file. Returns `status`, or why the file cannot be written if that is 0. */
int rejects_close(struct rejects *rejects, int status);

#endif
