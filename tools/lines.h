/* lines: the lines of a file or pipe, of any length and with any bytes in them. */
#ifndef TOOLS_LINES_H
#define TOOLS_LINES_H

#include "htstore.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINES_MAX_SIZE (4u * HTSTORE_MAX_ROW_SIZE) /* the longest line: a row whose every byte is an escape */

enum lines_result {
    LINES_LINE = 0,
    LINES_END,
    LINES_INTERRUPTED, /* a signal was noted; see signals.h */
    LINES_TOO_LONG,
    LINES_FAILED, /* errno in `error` */
    LINES_DAMAGED, /* not given by lines_next(): the lines break the grammar of their format */
    LINES_UNSUPPORTED /* nor this: they are of another format */
};

struct lines {
    int fd;
    bool waits; /* not a regular file: a read may wait */
    bool at_end;
    int error;
    char *data;
    size_t start, end, capacity;
    uint64_t number; /* of the line that was returned last, from 1 */
    uint64_t consumed; /* bytes of all lines returned so far, ends of lines included */
    uint64_t total; /* bytes of the file; 0 if not known */
};

/* Borrows the descriptor. */
void lines_open(struct lines *lines, int fd);

/* The next line, without its LF; the last one need not have one. Valid until the next call. */
enum lines_result lines_next(struct lines *lines, struct htstore_bytes *line);

void lines_close(struct lines *lines);

#endif
