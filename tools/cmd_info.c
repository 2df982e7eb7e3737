/* cmd_info: one screen about a store. */
#include "commands.h"

#include "escape.h"

#include <inttypes.h>
#include <string.h>

static void write_id(char text[33], const uint8_t id[16])
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < 16; i++) {
        text[2 * i] = hex[id[i] >> 4];
        text[2 * i + 1] = hex[id[i] & 15];
    }
    text[32] = '\0';
}

/* Bytes, for people too if there are many. */
static void write_size(struct buffer *out, const char *label, uint64_t size)
{
    char text[32];

    if (size < 1024)
        buffer_printf(out, "%-8s %" PRIu64 " bytes\n", label, size);
    else
        buffer_printf(out, "%-8s %s (%" PRIu64 " bytes)\n", label, escape_size(text, size), size);
}

static void write_text(struct tool *tool, const struct htstore_stats *stats)
{
    struct buffer *out = &tool->out.pending;
    char id[33];

    write_id(id, stats->store_id);
    buffer_text(out, "store    ");
    escape_bytes(out, tool->store, strlen(tool->store));
    buffer_printf(out, "\nid       %s\n", id);
    buffer_printf(out, "LSN      %" PRIu64 " applied: all that readers can see\n", stats->applied_lsn);
    buffer_printf(out, "tables   %" PRIu64 "\n", stats->n_tables);
    buffer_printf(out, "rows     %" PRIu64 "\n", stats->n_rows);
    write_size(out, "data", stats->data_bytes);
    write_size(out, "journal", stats->journal_bytes);
    if (stats->owner_pid != 0)
        buffer_printf(out, "owner    process %" PRIu64 "\n", stats->owner_pid);
    else if (stats->unreplayed)
        buffer_text(out, "owner    none; the last one died: the next to write replays what the journal holds\n");
    else
        buffer_text(out, "owner    none; closed\n");
    buffer_printf(out, "library  %s; %s\n", htstore_version(), htstore_build_info());
}

static void write_json(struct tool *tool, const struct htstore_stats *stats)
{
    const char *const names[] = { "applied_lsn",   "tables",   "rows",      "data_bytes",
                                  "journal_bytes", "map_size", "owner_pid", "unreplayed" };
    const uint64_t values[] = { stats->applied_lsn,   stats->n_tables, stats->n_rows,    stats->data_bytes,
                                stats->journal_bytes, stats->map_size, stats->owner_pid, stats->unreplayed };
    struct json json = { &tool->out.pending, false };
    char id[33];

    write_id(id, stats->store_id);
    json_document(&json);
    json_name(&json, "store");
    json_string(&json, tool->store);
    json_name(&json, "id");
    json_string(&json, id);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        json_name(&json, names[i]);
        json_count(&json, values[i]);
    }
    json_name(&json, "library");
    json_string(&json, htstore_version());
    json_name(&json, "build");
    json_string(&json, htstore_build_info());
    json_close(&json, '}');
    tool_end_json(&tool->out);
}

static int run(struct tool *tool, void *settings, int n, char **arguments)
{
    struct htstore_stats stats = { .size = sizeof stats };
    struct htstore *store;
    struct htstore_error error;
    int status;

    (void)settings;
    (void)n;
    tool->store = arguments[0];
    status = tool_open(tool, HTSTORE_READONLY, &store);
    if (status != STATUS_DONE)
        return status;
    if (htstore_stats(store, &stats, &error) < 0)
        status = tool_fail_library(tool, NULL, &error);
    else if (tool->json)
        write_json(tool, &stats);
    else
        write_text(tool, &stats);
    return tool_close(tool, store, status);
}

static const uint8_t statuses[] = { STATUS_DONE,    STATUS_FAILED,  STATUS_USAGE,
                                    STATUS_MISSING, STATUS_DAMAGED, STATUS_BUSY,
                                    STATUS_TYPE,    STATUS_SPACE,   255 };

const struct command command_info = {
    .name = "info",
    .synopsis = "STORE",
    .summary = "one screen about a store: state, tables, rows, bytes",
    .details = "Works beside a process that owns the store, and creates nothing. What it tells is the state\n"
               "of the last flush. If the owner ended in a way that only another owner can clean up, it says so\n"
               "(status 6).",
    .example = "htstore info S",
    .min_arguments = 1,
    .max_arguments = 1,
    .statuses = statuses,
    .run = run,
};
