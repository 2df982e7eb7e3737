/* progress: a line on the terminal that tells how far a long command is. */
#ifndef TOOLS_PROGRESS_H
#define TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct tool;

struct progress {
    bool on, terminal, json;
    bool counts_rows; /* `done` are rows, not bytes; set after progress_start() */
    const char *phase; /* shown if it is not NULL */
    uint64_t total; /* of `done` in progress_update(); 0: not known */
    int64_t start_ms, shown_ms;
};

/* Decides by the options and by whether stderr is a terminal. */
void progress_start(struct progress *progress, const struct tool *tool, uint64_t total);

/* Go on with another part of the work; its rate begins anew. */
void progress_phase(struct progress *progress, const char *phase, uint64_t total);

/* Cheap if nothing is due: at most 10 times a second on a terminal, else every 5 seconds. */
void progress_update(struct progress *progress, uint64_t rows, uint64_t done);

/* Remove the line from the terminal. */
void progress_end(struct progress *progress);

/* Remove the line before a message is written; it comes back with the next update. Any thread. */
void progress_make_way(void);

#endif
