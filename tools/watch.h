/* watch: what the tool does during a long call of the library: it shows progress, and stops the call at a signal. */
#ifndef TOOLS_WATCH_H
#define TOOLS_WATCH_H

#include "htstore.h"
#include "progress.h"

#include <stdint.h>

struct tool;

struct watch {
    struct tool *tool;
    struct progress progress;
    char phase[32];
};

/* From now on signals are caught. */
void watch_start(struct watch *watch, struct tool *tool);

/* An htstore_progress_fn, with a struct watch as its user. */
int watch_report(void *user, const char *phase, uint64_t done, uint64_t total);

/* Remove the line of progress. */
void watch_end(struct watch *watch);

/*
 * The call failed. If a signal stopped it, `left` says how things are now, and the signal is raised at the end of the
 * program; otherwise as tool_fail_library(). Returns a status, with a message.
 */
int watch_fail(struct watch *watch, const struct htstore_error *error, const char *left);

/* Options for writing and reading snapshots, with the progress of `watch`. */
void watch_snapshot_options(struct watch *watch, struct htstore_snapshot_options *options);

#endif
