/* checkpoint_look: the verbs that only read: ls, verify, diff. They work beside an owner. */
#include "checkpoint.h"

#include "escape.h"
#include "managed.h"
#include "path.h"
#include "tool.h"
#include "verdict.h"
#include "watch.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* ---- ls ---- */

/* "2026-03-01T10:00:00Z"; empty if the time is not known. */
static const char *instant(char text[32], double seconds)
{
    time_t when = (time_t)seconds;
    struct tm parts;

    text[0] = '\0';
    if (seconds > 0 && gmtime_r(&when, &parts) != NULL)
        strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return text;
}

static void write_file(const struct tool *tool, struct buffer *out, const struct htstore_checkpoint_file *file,
                       bool managed)
{
    char when[32];

    (void)tool;
    buffer_printf(out, "%" PRId64 "\t%s\t%" PRIu64 " bytes\tLSN %" PRIu64, file->number, instant(when, file->time),
                  file->bytes, file->lsn);
    if (managed && file->listed == 0)
        buffer_text(out, "\tkept for good");
    buffer_add(out, '\n');
}

static void write_json_file(struct tool *tool, const struct htstore_checkpoint_file *file, bool managed)
{
    struct json json = { &tool->out.pending, false };
    char when[32];

    json_document(&json);
    json_name(&json, "number");
    json_count(&json, (uint64_t)file->number);
    json_name(&json, "path");
    json_string(&json, file->path);
    if (instant(when, file->time)[0] != '\0') {
        json_name(&json, "time");
        json_string(&json, when);
    }
    json_name(&json, "lsn");
    json_count(&json, file->lsn);
    json_name(&json, "bytes");
    json_count(&json, file->bytes);
    if (managed) {
        json_name(&json, "listed");
        json_bool(&json, file->listed != 0);
    }
    json_close(&json, '}');
    tool_end_json(&tool->out);
}

int checkpoint_list(struct tool *tool, const struct checkpoint_settings *settings, int n, char **arguments)
{
    struct managed managed = { .folder_argument = settings->folder, .prefix_argument = settings->prefix };
    int status = managed_look(&managed, tool);

    (void)n;
    (void)arguments;
    for (uint64_t i = 0; status == STATUS_DONE && i < managed.n_files; i++) {
        if (tool->json)
            write_json_file(tool, &managed.files[i], managed.manager != NULL);
        else
            write_file(tool, &tool->out.pending, &managed.files[i], managed.manager != NULL);
    }
    return managed_close(&managed, tool, status);
}

/* ---- verify ---- */

static void write_verdict(struct tool *tool, const char *path, const struct verdict *verdict)
{
    struct buffer *out = &tool->out.pending;
    struct json json = { out, false };

    if (tool->json) {
        json_document(&json);
        json_name(&json, "path");
        json_string(&json, path);
        verdict_json(&json, verdict);
        json_close(&json, '}');
        tool_end_json(&tool->out);
        return;
    }
    escape_bytes(out, path, strlen(path));
    buffer_printf(out, "\t%s\t", verdict->damaged ? "DAMAGED" : "OK");
    verdict_counts(out, verdict);
    buffer_add(out, '\n');
    buffer_append(out, verdict->damage.data, verdict->damage.size);
}

/* Check one file. Damage is STATUS_DAMAGED, without a message. */
static int verify_file(struct tool *tool, struct watch *watch, const char *path)
{
    struct verdict verdict = { 0 };
    int status = verdict_make(&verdict, watch, path, HTSTORE_CHECK_FULL);

    watch_end(watch);
    if (status == STATUS_DONE) {
        write_verdict(tool, path, &verdict);
        status = verdict.damaged ? STATUS_DAMAGED : STATUS_DONE;
    }
    verdict_release(&verdict);
    return status;
}

/* The path that an argument means: the number of a checkpoint, or a path. */
static void resolve(const struct tool *tool, const struct checkpoint_settings *settings, const char *argument,
                    struct buffer *path)
{
    struct managed managed = { .folder_argument = settings->folder, .prefix_argument = settings->prefix };
    int64_t number;

    if (managed_number(argument, &number))
        managed_path(&managed, tool, number, path);
    else
        buffer_text(path, argument);
    buffer_string(path);
}

/* The first status that is not 0 counts, but all files are checked. */
static int verify_arguments(struct tool *tool, const struct checkpoint_settings *settings, int n, char **arguments)
{
    int status = STATUS_DONE;

    for (int i = 0; i < n && tool->signal == 0; i++) {
        struct buffer path = { 0 };
        struct watch watch;
        int result;

        resolve(tool, settings, arguments[i], &path);
        watch_start(&watch, tool);
        result = verify_file(tool, &watch, path.data);
        if (status == STATUS_DONE)
            status = result;
        buffer_release(&path);
    }
    return status;
}

static int verify_all(struct tool *tool, const struct checkpoint_settings *settings)
{
    struct managed managed = { .folder_argument = settings->folder, .prefix_argument = settings->prefix };
    int status = managed_look(&managed, tool);

    for (uint64_t i = 0; i < managed.n_files && tool->signal == 0; i++) {
        struct watch watch;
        int result;

        watch_start(&watch, tool);
        result = verify_file(tool, &watch, managed.files[i].path);
        if (status == STATUS_DONE)
            status = result;
    }
    if (status == STATUS_DONE && managed.n_files == 0)
        tool_note(tool, tool->store, "there are no checkpoints");
    return managed_close(&managed, tool, status);
}

int checkpoint_verify(struct tool *tool, const struct checkpoint_settings *settings, int n, char **arguments)
{
    int status = n > 0 ? verify_arguments(tool, settings, n, arguments) : verify_all(tool, settings);

    if (status == STATUS_DAMAGED)
        tool_fail(tool, STATUS_DAMAGED, tool->store,
                  "damaged checkpoints; `htstore restore --salvage` writes what is intact into a new store");
    return status;
}

/* ---- diff ---- */

static const char *change_name(uint32_t change)
{
    static const char *const names[] = { "same", "added", "removed", "changed", "schema-changed" };

    return change < sizeof names / sizeof names[0] ? names[change] : "unknown";
}

static void write_difference(struct tool *tool, const struct htstore_difference *difference)
{
    struct buffer *out = &tool->out.pending;
    struct json json = { out, false };

    if (!tool->json) {
        escape_bytes(out, difference->path, strlen(difference->path));
        buffer_printf(out, "\t%s\t%s\t+%" PRIu64 " -%" PRIu64 " ~%" PRIu64 "\n", path_kind_name(difference->kind),
                      change_name(difference->change), difference->n_added, difference->n_removed,
                      difference->n_changed);
        output_drain(&tool->out);
        return;
    }
    json_document(&json);
    json_name(&json, "path");
    json_string(&json, difference->path);
    json_name(&json, "kind");
    json_string(&json, path_kind_name(difference->kind));
    json_name(&json, "change");
    json_string(&json, change_name(difference->change));
    json_name(&json, "added");
    json_count(&json, difference->n_added);
    json_name(&json, "removed");
    json_count(&json, difference->n_removed);
    json_name(&json, "changed");
    json_count(&json, difference->n_changed);
    json_close(&json, '}');
    tool_end_json(&tool->out);
}

static int compare(struct tool *tool, const char *first, const char *second, bool *differ)
{
    const struct htstore_difference *objects;
    struct htstore_snapshot_options options;
    struct htstore_arena *arena;
    struct htstore_error error;
    struct watch watch;
    uint64_t n = 0;
    int result, status = STATUS_DONE;

    if (htstore_arena_new(&arena, &error) < 0)
        return tool_fail_library(tool, NULL, &error);
    watch_start(&watch, tool);
    watch_snapshot_options(&watch, &options);
    result = htstore_diff(first, second, &options, arena, &objects, &n, &error);
    watch_end(&watch);
    if (result < 0)
        status = watch_fail(&watch, &error, "nothing was changed");
    for (uint64_t i = 0; result >= 0 && i < n; i++) {
        if (objects[i].change != HTSTORE_SAME || tool->verbose)
            write_difference(tool, &objects[i]);
    }
    htstore_arena_free(arena);
    *differ = result == 1;
    return status;
}

int checkpoint_diff(struct tool *tool, const struct checkpoint_settings *settings, int n, char **arguments)
{
    struct buffer first = { 0 }, second = { 0 };
    bool differ = false;
    int status;

    (void)n;
    resolve(tool, settings, arguments[0], &first);
    resolve(tool, settings, arguments[1], &second);
    status = compare(tool, first.data, second.data, &differ);
    if (status == STATUS_DONE && !differ && tool->verbose)
        tool_note(tool, NULL, "equal");
    if (status == STATUS_DONE && differ && settings->exit_code)
        status = STATUS_WARNINGS;
    buffer_release(&first);
    buffer_release(&second);
    return status;
}
