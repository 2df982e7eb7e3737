/* watch: hides how a call of the library learns of signals, and how its failure is told from an interruption. */
#include "watch.h"

#include "signals.h"
#include "tool.h"

#include <stdio.h>
#include <string.h>

void watch_start(struct watch *watch, struct tool *tool)
{
    memset(watch, 0, sizeof *watch);
    watch->tool = tool;
    signals_catch();
    progress_start(&watch->progress, tool, 0);
    watch->progress.counts_rows = true;
}

int watch_report(void *user, const char *phase, uint64_t done, uint64_t total)
{
    struct watch *watch = user;

    if (phase != NULL && strcmp(phase, watch->phase) != 0) {
        snprintf(watch->phase, sizeof watch->phase, "%s", phase);
        progress_phase(&watch->progress, watch->phase, total);
    }
    watch->progress.total = total;
    progress_update(&watch->progress, done, done);
    return signals_caught() != 0;
}

void watch_end(struct watch *watch)
{
    progress_end(&watch->progress);
}

int watch_fail(struct watch *watch, const struct htstore_error *error, const char *left)
{
    struct tool *tool = watch->tool;

    progress_end(&watch->progress);
    if (signals_caught() == 0)
        return tool_fail_library(tool, NULL, error);
    tool->signal = signals_caught();
    return tool_fail(tool, STATUS_INTERRUPTED, tool->store, "interrupted; %s", left);
}

void watch_snapshot_options(struct watch *watch, struct htstore_snapshot_options *options)
{
    memset(options, 0, sizeof *options);
    options->size = sizeof *options;
    options->threads = watch->tool->threads;
    options->progress = watch_report;
    options->progress_user = watch;
}
