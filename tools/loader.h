/* loader: brings the rows of a text file into a table, batch by batch. */
#ifndef TOOLS_LOADER_H
#define TOOLS_LOADER_H

#include "htstore.h"
#include "merge.h"
#include "reader.h"

#include <stdbool.h>
#include <stdint.h>

struct tool;

struct loader_settings {
    struct reader_settings reader;
    enum merge_policy policy;
    uint64_t max_errors;
    const char *rejects_path; /* NULL: none */
    bool replace_all;
    int ack_fd; /* -1: none */
    uint32_t durability;
};

/*
 * Import into an open table. Returns a status, with messages and the summary; tool->signal is set after an interruption.
 * With tool->dry_run nothing is written.
 */
int loader_run(struct tool *tool, const struct loader_settings *settings, struct htstore *store,
               struct htstore_table *table, const struct rows_layout *layout);

#endif
