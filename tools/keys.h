/* keys: the keys that a command works on: arguments, then the lines of a file, in batches. */
#ifndef TOOLS_KEYS_H
#define TOOLS_KEYS_H

#include "lines.h"
#include "rows.h"

#include <stdbool.h>
#include <stddef.h>

struct tool;

struct keys_source {
    char **arguments;
    size_t n_arguments;
    const char *path; /* one key a line; "-" is stdin; NULL: no file */
    bool literal; /* backslashes are no escapes */
};

struct keys {
    const struct tool *tool;
    struct keys_source source;
    size_t next_argument;
    bool has_file;
    struct lines lines;
    struct rows rows; /* the batch; without values */
};

/* Borrows the layout and the source's strings. Returns 0 or a status, with a message. */
int keys_open(struct keys *keys, const struct tool *tool, const struct keys_source *source,
              const struct rows_layout *layout);

/* The next batch: 0 and rows.n keys, none at the end; or a status, with a message. */
int keys_next(struct keys *keys);

void keys_close(struct keys *keys);

/* Unescape an argument unless it is literal; `bytes` holds the result. Returns 0 or a status, with a message. */
int keys_read_argument(const struct tool *tool, const char *argument, bool literal, struct buffer *bytes);

#endif
