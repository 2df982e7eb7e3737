/* checkpoint_change: the verbs that make and delete checkpoints: save, rm, prune. */
#include "checkpoint.h"

#include "escape.h"
#include "managed.h"
#include "object.h"
#include "tool.h"
#include "watch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- deleting ---- */

/* What is to be deleted. */
struct victims {
    const struct htstore_checkpoint_file **files;
    size_t n, n_kept;
    const struct htstore_checkpoint_file *newest; /* of those that are kept */
    uint64_t bytes;
};

static void add_victim(struct victims *victims, const struct htstore_checkpoint_file *file)
{
    victims->files = memory_resize(victims->files, victims->n + 1, sizeof *victims->files);
    victims->files[victims->n++] = file;
    victims->bytes += file->bytes;
}

/* What the rule does not keep of the listed checkpoints, and of one more if `saved_now`. */
static void apply_rule(const struct managed *managed, const struct retain_rule *rule, bool saved_now,
                       struct victims *victims)
{
    size_t n = 0, most = (size_t)managed->n_files + 1;
    const struct htstore_checkpoint_file **listed = memory_new(most, sizeof *listed);
    double *times = memory_new(most, sizeof *times);
    bool *keep = memory_new(most, sizeof *keep);

    for (uint64_t i = 0; i < managed->n_files; i++) {
        if (managed->files[i].listed == 0)
            continue;
        listed[n] = &managed->files[i];
        times[n++] = managed->files[i].time;
    }
    if (saved_now)
        times[n++] = (double)time(NULL);
    retain_plan(rule, times, n, keep);
    for (size_t i = 0; i < n; i++) {
        if (!keep[i]) {
            add_victim(victims, listed[i]);
            continue;
        }
        victims->n_kept++;
        victims->newest = listed[i];
    }
    free(listed);
    free(times);
    free(keep);
}

static void write_json_victim(struct tool *tool, const struct htstore_checkpoint_file *file)
{
    struct json json = { &tool->out.pending, false };

    json_document(&json);
    json_name(&json, "action");
    json_string(&json, "remove");
    json_name(&json, "dry_run");
    json_bool(&json, tool->dry_run);
    json_name(&json, "number");
    json_count(&json, (uint64_t)file->number);
    json_name(&json, "path");
    json_string(&json, file->path);
    json_name(&json, "bytes");
    json_count(&json, file->bytes);
    json_close(&json, '}');
    tool_end_json(&tool->out);
}

static void tell_victim(struct tool *tool, const struct htstore_checkpoint_file *file)
{
    char size[32];

    if (tool->json)
        write_json_victim(tool, file);
    else if (tool->dry_run)
        buffer_printf(&tool->out.pending, "would delete checkpoint %" PRId64 " (%s)\n", file->number,
                      escape_size(size, file->bytes));
    else
        tool_note(tool, tool->store, "deleted checkpoint %" PRId64 " (%s)", file->number,
                  escape_size(size, file->bytes));
}

static int confirm(const struct tool *tool, const struct victims *victims)
{
    struct buffer question = { 0 };
    char size[32];
    int status;

    buffer_printf(&question, "delete %zu checkpoints, %s", victims->n, escape_size(size, victims->bytes));
    status = tool_confirm(tool, buffer_string(&question), "rerun with -y to do it");
    buffer_release(&question);
    return status;
}

static int delete_victims(struct tool *tool, struct managed *managed, const struct victims *victims)
{
    struct htstore_error error;

    for (size_t i = 0; i < victims->n; i++) {
        if (!tool->dry_run && htstore_manager_remove(managed->manager, victims->files[i]->number, &error) < 0)
            return tool_fail_library(tool, NULL, &error);
        tell_victim(tool, victims->files[i]);
    }
    return STATUS_DONE;
}

/* As the owner with a manager; or, for a dry run, only to look. */
static int open_to_delete(struct managed *managed, const struct tool *tool)
{
    int status = tool->dry_run ? managed_look(managed, tool) : managed_open(managed, tool, NULL);

    if (status == STATUS_DONE && managed->manager == NULL && managed->n_files > 0)
        return tool_fail(tool, STATUS_BUSY, buffer_string(&managed->folder),
                         "another process manages these checkpoints and knows which may be deleted");
    return status;
}

static int check_numbers(const struct tool *tool, int n, char **arguments)
{
    int64_t number;

    for (int i = 0; i < n; i++) {
        if (!managed_number(arguments[i], &number))
            return tool_fail_usage(tool, "%s is no number of a checkpoint", arguments[i]);
    }
    return STATUS_DONE;
}

/* A number that is given twice is deleted once. */
static int find_victim(const struct tool *tool, const struct managed *managed, const char *argument,
                       struct victims *victims)
{
    int64_t number = -1;

    managed_number(argument, &number);
    for (size_t i = 0; i < victims->n; i++) {
        if (victims->files[i]->number == number)
            return STATUS_DONE;
    }
    for (uint64_t i = 0; i < managed->n_files; i++) {
        if (managed->files[i].number != number)
            continue;
        if (managed->files[i].listed == 0)
            return tool_fail(tool, STATUS_CONFLICT, managed->files[i].path,
                             "is kept for good, or not known to the manager: only rm(1) deletes it");
        add_victim(victims, &managed->files[i]);
        return STATUS_DONE;
    }
    return tool_fail(tool, STATUS_MISSING, tool->store, "no checkpoint %s; `htstore checkpoint ls` lists them",
                     argument);
}

int checkpoint_remove(struct tool *tool, const struct checkpoint_settings *settings, int n, char **arguments)
{
    struct managed managed = { .folder_argument = settings->folder, .prefix_argument = settings->prefix };
    struct victims victims = { 0 };
    int status = check_numbers(tool, n, arguments);

    if (status != STATUS_DONE)
        return status;
    status = open_to_delete(&managed, tool);
    for (int i = 0; status == STATUS_DONE && i < n; i++)
        status = find_victim(tool, &managed, arguments[i], &victims);
    if (status == STATUS_DONE && !tool->dry_run)
        status = confirm(tool, &victims);
    if (status == STATUS_DONE)
        status = delete_victims(tool, &managed, &victims);
    free(victims.files);
    return managed_close(&managed, tool, status);
}

/* The newest of those that stay must be good: otherwise the last good one might be among those that go. */
static int check_newest(struct tool *tool, const struct victims *victims)
{
    struct htstore_check_options options = { .size = sizeof options, .threads = tool->threads };
    const char *path = victims->newest->path;
    struct htstore_error error;
    struct watch watch;
    int result;

    watch_start(&watch, tool);
    options.progress = watch_report;
    options.progress_user = &watch;
    result = htstore_check(path, &options, NULL, &error);
    watch_end(&watch);
    if (result == 0)
        return STATUS_DONE;
    if (result == HTSTORE_ECORRUPT || result == HTSTORE_EFORMAT || result == HTSTORE_EVERSION)
        return tool_fail(tool, STATUS_DAMAGED, path,
                         "it would stay as the newest checkpoint, but is not intact: nothing was deleted; save another "
                         "one, or delete this one with `htstore checkpoint rm`");
    return watch_fail(&watch, &error, "nothing was deleted");
}

int checkpoint_prune(struct tool *tool, const struct checkpoint_settings *settings, int n, char **arguments)
{
    struct managed managed = { .folder_argument = settings->folder, .prefix_argument = settings->prefix };
    struct victims victims = { 0 };
    int status;

    (void)n;
    (void)arguments;
    if (settings->rule.keep_last == 0 && !(settings->rule.keep_every > 0))
        return tool_fail_usage(tool, "prune needs --keep-last=N or --keep-every=TIME");
    status = open_to_delete(&managed, tool);
    if (status == STATUS_DONE)
        apply_rule(&managed, &settings->rule, false, &victims);
    if (status == STATUS_DONE && victims.n > 0)
        status = check_newest(tool, &victims);
    if (status == STATUS_DONE && victims.n > 0 && !tool->dry_run)
        status = confirm(tool, &victims);
    if (status == STATUS_DONE)
        status = delete_victims(tool, &managed, &victims);
    if (status == STATUS_DONE && !tool->json && (tool->dry_run || tool->verbose))
        tool_note(tool, tool->store, "%zu checkpoints stay", victims.n_kept);
    free(victims.files);
    return managed_close(&managed, tool, status);
}

/* ---- saving ---- */

static void report_saved(struct tool *tool, const char *path)
{
    struct htstore_snapshot_info info = { .size = sizeof info };
    struct json json = { &tool->out.pending, false };
    struct htstore_arena *arena = NULL;
    bool known = htstore_arena_new(&arena, NULL) == 0 && htstore_snapshot_info(path, arena, &info, NULL) == 0;
    struct buffer text = { 0 };

    if (!tool->json) {
        buffer_printf(&tool->out.pending, "%s\n", path);
        if (known)
            object_snapshot_text(&text, &info);
        if (known)
            tool_note(tool, tool->store, "%s as of LSN %" PRIu64, buffer_string(&text), info.lsn);
        buffer_release(&text);
    } else {
        json_document(&json);
        json_name(&json, "action");
        json_string(&json, "save");
        json_name(&json, "path");
        json_string(&json, path);
        if (known) {
            json_name(&json, "lsn");
            json_count(&json, info.lsn);
            object_snapshot_json(&json, &info);
        }
        json_close(&json, '}');
        tool_end_json(&tool->out);
    }
    htstore_arena_free(arena);
}

/* Beyond all that the folder holds; -1 if there is none. */
static int64_t next_number(const struct managed *managed)
{
    int64_t number = 0;

    for (uint64_t i = 0; i < managed->n_files; i++) {
        if (managed->files[i].number > number)
            number = managed->files[i].number;
    }
    return number < INT64_MAX ? number + 1 : -1;
}

static int save(struct tool *tool, const struct checkpoint_settings *settings, struct managed *managed)
{
    struct htstore_snapshot_options snapshot;
    struct htstore_manager_save_options options = { .size = sizeof options, .snapshot = &snapshot };
    struct htstore_error error;
    const char *path = NULL;
    struct watch watch;

    watch_start(&watch, tool);
    watch_snapshot_options(&watch, &snapshot);
    snapshot.level = (int32_t)settings->level;
    options.flags = HTSTORE_EXPLICIT_NUMBER; /* the counter of a checkpoint object that is new begins anew */
    options.number = next_number(managed);
    if (options.number < 0)
        return tool_fail(tool, STATUS_CONFLICT, buffer_string(&managed->folder), "no number is left for a checkpoint");
    if (htstore_manager_save(managed->manager, &options, managed->arena, &path, &error) < 0)
        return watch_fail(&watch, &error, "no checkpoint was made");
    watch_end(&watch);
    report_saved(tool, path);
    return STATUS_DONE;
}

/* What a save would do. */
static int save_dry(struct tool *tool, const struct checkpoint_settings *settings, struct managed *managed)
{
    struct victims victims = { 0 };
    struct buffer path = { 0 };
    int status = managed_look(managed, tool);

    if (status != STATUS_DONE)
        return status;
    managed_path(managed, tool, next_number(managed), &path);
    if (!tool->json)
        buffer_printf(&tool->out.pending, "would save %s\n", buffer_string(&path));
    apply_rule(managed, &settings->rule, true, &victims);
    status = delete_victims(tool, managed, &victims);
    free(victims.files);
    buffer_release(&path);
    return status;
}

int checkpoint_save(struct tool *tool, const struct checkpoint_settings *settings, int n, char **arguments)
{
    struct managed managed = { .folder_argument = settings->folder, .prefix_argument = settings->prefix };
    struct victims victims = { 0 };
    int status;

    (void)n;
    (void)arguments;
    if (tool->dry_run)
        return managed_close(&managed, tool, save_dry(tool, settings, &managed));
    status = managed_open(&managed, tool, settings->root);
    if (status == STATUS_DONE)
        status = save(tool, settings, &managed);
    if (status == STATUS_DONE)
        status = managed_list(&managed, tool);
    if (status == STATUS_DONE) {
        apply_rule(&managed, &settings->rule, false, &victims);
        status = delete_victims(tool, &managed, &victims);
    }
    free(victims.files);
    return managed_close(&managed, tool, status);
}
