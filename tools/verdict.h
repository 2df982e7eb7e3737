/* verdict: runs htstore_check() and keeps what it found. */
#ifndef TOOLS_VERDICT_H
#define TOOLS_VERDICT_H

#include "buffer.h"
#include "htstore.h"
#include "json.h"

#include <stdbool.h>
#include <stdint.h>

struct tool;
struct watch;

/* Initialise with { 0 }. */
struct verdict {
    struct htstore_check_report report;
    bool damaged;
    int64_t elapsed_ms;
    struct buffer damage, unread; /* lines for people, the first ones only */
    uint64_t n_damage, n_unread; /* seen by the callback */
    uint64_t most_lines; /* of each kind that are kept */
    struct buffer json; /* findings as elements of an array */
    bool json_comma;
};

/*
 * Check a store or a snapshot at this level. Returns 0, with the verdict, or a status, with a message, if it could not be
 * checked. `watch` was started.
 */
int verdict_make(struct verdict *verdict, struct watch *watch, const char *path, uint32_t level);

/* Members: what was read, the findings, "ok". */
void verdict_json(struct json *json, const struct verdict *verdict);

/* Append what was read in one line: "3 objects, 100 rows, 12 pages, 64.0 KiB". */
void verdict_counts(struct buffer *text, const struct verdict *verdict);

void verdict_release(struct verdict *verdict);

#endif
