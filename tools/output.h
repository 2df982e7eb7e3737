/* output: stdout and output files; a file appears whole or not at all, and every error is noticed. */
#ifndef TOOLS_OUTPUT_H
#define TOOLS_OUTPUT_H

#include "buffer.h"

#include <stdbool.h>
#include <stdint.h>

/* Append to `pending`, then call output_drain(). Initialise with output_stdout() or output_create(). */
struct output {
    struct buffer pending;
    int fd;
    int error; /* errno of the first failure; nothing is written after it */
    bool replace; /* an existing file may be replaced */
    uint64_t size; /* bytes handed to the system */
    char *path; /* NULL: stdout */
    char *temporary; /* NULL: written in place (stdout, devices, FIFOs) */
    struct output *next;
};

void output_stdout(struct output *output);

/* A file, built under a temporary name beside it. Returns 0 or an errno: EEXIST if it exists and `replace` is false. */
int output_create(struct output *output, const char *path, bool replace);

/* Write `pending` if it has grown large. Returns 0 or the errno of the first failure. */
int output_drain(struct output *output);

/* Write the rest, sync, rename, close. Returns 0 or an errno; after an error the file does not exist. */
int output_finish(struct output *output);

/* Remove what was written so far. Nothing to do after output_finish(). */
void output_abandon(struct output *output);

/* Remove all unfinished files of the program. */
void output_abandon_all(void);

#endif
