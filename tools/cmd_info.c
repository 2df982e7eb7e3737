/* cmd_info: one screen about a store. */
#include "commands.h"

#include "escape.h"
#include "object.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

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

/* ---- snapshots ---- */

#define MOST_OBJECTS 20 /* a screen */

static void write_snapshot_text(struct tool *tool, const struct htstore_snapshot_info *info)
{
    struct buffer *out = &tool->out.pending;
    uint64_t n_objects, n_rows, n_shown = 0, most = tool->verbose ? UINT64_MAX : MOST_OBJECTS;
    char id[33];

    write_id(id, info->snapshot_id);
    buffer_text(out, "snapshot ");
    escape_bytes(out, tool->store, strlen(tool->store));
    buffer_printf(out, "\nid       %s\nformat   %" PRIu32 "\nLSN      %" PRIu64 "\n", id, info->version, info->lsn);
    if (info->save_counter >= 0)
        buffer_printf(out, "save     %" PRId64 "\n", info->save_counter);
    object_snapshot_counts(info, &n_objects, &n_rows);
    buffer_printf(out, "objects  %" PRIu64 "\nrows     %" PRIu64 "\nblocks   %" PRIu64 "\n", n_objects, n_rows,
                  info->n_blocks);
    write_size(out, "bytes", info->bytes);
    for (uint64_t i = 0; i < info->n_objects && n_shown < most; i++) {
        const struct htstore_snapshot_object *object = &info->objects[i];

        if (object->object.kind == 0) /* a root that is no object */
            continue;
        n_shown++;
        buffer_text(out, "  ");
        escape_bytes(out, object->path, strlen(object->path));
        buffer_add(out, '\t');
        object_type_text(out, &object->object);
        buffer_add(out, '\t');
        object_count_text(out, &object->object);
        buffer_text(out, object->has_contents != 0 || object->object.kind == HTSTORE_KIND_MAPPING
                             ? "\n"
                             : "\tdescription only\n");
        output_drain(&tool->out);
    }
    if (n_objects > n_shown)
        buffer_printf(out, "  and %" PRIu64 " more; -v shows them\n", n_objects - n_shown);
}

static void write_json_object(struct json *json, const struct htstore_snapshot_object *object)
{
    char digest[33];

    snprintf(digest, sizeof digest, "%016" PRIx64 "%016" PRIx64, object->digest[1], object->digest[0]);
    json_open(json, '{');
    json_name(json, "path");
    json_string(json, object->path);
    object_json(json, &object->object);
    json_name(json, "blocks");
    json_count(json, object->n_blocks);
    json_name(json, "snapshot_bytes");
    json_count(json, object->bytes);
    json_name(json, "has_contents");
    json_bool(json, object->has_contents != 0);
    json_name(json, "digest");
    json_string(json, digest);
    json_name(json, "entries");
    json_open(json, '[');
    for (size_t i = 0; i < 2 && object->entries[i] != NULL; i++)
        json_string(json, object->entries[i]);
    json_close(json, ']');
    json_close(json, '}');
}

static void write_snapshot_json(struct tool *tool, const struct htstore_snapshot_info *info)
{
    uint64_t n_objects, n_rows;
    const char *const names[] = { "version", "lsn", "rows", "blocks", "bytes" };
    uint64_t values[] = { info->version, info->lsn, 0, info->n_blocks, info->bytes };
    struct json json = { &tool->out.pending, false };
    char id[33];

    object_snapshot_counts(info, &n_objects, &n_rows);
    values[2] = n_rows;
    write_id(id, info->snapshot_id);
    json_document(&json);
    json_name(&json, "snapshot");
    json_string(&json, tool->store);
    json_name(&json, "id");
    json_string(&json, id);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        json_name(&json, names[i]);
        json_count(&json, values[i]);
    }
    if (info->save_counter >= 0) {
        json_name(&json, "save_counter");
        json_count(&json, (uint64_t)info->save_counter);
    }
    json_name(&json, "objects");
    json_open(&json, '[');
    for (uint64_t i = 0; i < info->n_objects; i++) {
        write_json_object(&json, &info->objects[i]);
        output_drain(&tool->out);
    }
    json_close(&json, ']');
    json_close(&json, '}');
    tool_end_json(&tool->out);
}

static int tell_snapshot(struct tool *tool)
{
    struct htstore_snapshot_info info = { .size = sizeof info };
    struct htstore_arena *arena = NULL;
    struct htstore_error error;
    int status = STATUS_DONE;

    if (htstore_arena_new(&arena, &error) < 0 || htstore_snapshot_info(tool->store, arena, &info, &error) < 0)
        status = tool_fail_library(tool, NULL, &error);
    else if (tool->json)
        write_snapshot_json(tool, &info);
    else
        write_snapshot_text(tool, &info);
    htstore_arena_free(arena);
    return status;
}

static int run(struct tool *tool, void *settings, int n, char **arguments)
{
    struct stat file;
    struct htstore_stats stats = { .size = sizeof stats };
    struct htstore *store;
    struct htstore_error error;
    int status;

    (void)settings;
    (void)n;
    tool->store = arguments[0];
    if (stat(tool->store, &file) == 0 && !S_ISDIR(file.st_mode))
        return tell_snapshot(tool);
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
    .synopsis = "STORE|FILE",
    .summary = "one screen about a store or a snapshot",
    .details = "Works beside a process that owns the store, and creates nothing. What it tells is the state\n"
               "of the last flush. If the owner ended in a way that only another owner can clean up, it says so\n"
               "(status 6). Of a snapshot nothing is decoded: `htstore check` reads all of it.",
    .example = "htstore info S\n"
               "htstore info s.snap",
    .min_arguments = 1,
    .max_arguments = 1,
    .statuses = statuses,
    .run = run,
};
