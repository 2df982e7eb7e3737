/* cmd_restore: makes a new store of a snapshot, or of the text of mdb_dump. */
#include "commands.h"

#include "mdbdump.h"
#include "pump.h"
#include "signals.h"
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ID_VERIFY = OPTIONS_OWN, ID_SALVAGE, ID_IF_ABSENT };

static const char *const verifications[] = { "full", "quick", "none", NULL };

struct settings {
    int verify; /* place in `verifications` */
    bool salvage, if_absent;
};

static int set(struct tool *tool, void *user, int id, const char *value)
{
    struct settings *settings = user;

    switch (id) {
    case ID_VERIFY:
        return tool_parse_word(tool, "--verify", value, verifications, &settings->verify);
    case ID_SALVAGE:
        settings->salvage = true;
        return STATUS_DONE;
    case ID_IF_ABSENT:
    default:
        settings->if_absent = true;
        return STATUS_DONE;
    }
}

struct restore {
    struct tool *tool;
    const struct settings *settings;
    const char *path; /* NULL: read `fd` */
    int fd;
    struct watch watch;
};

/* ---- reports ---- */

static void report_absent(struct tool *tool)
{
    struct json json = { &tool->out.pending, false };

    if (!tool->json) {
        tool_note(tool, tool->store, "is there already: nothing was restored");
        return;
    }
    json_document(&json);
    json_name(&json, "restored");
    json_bool(&json, false);
    json_close(&json, '}');
    tool_end_json(&tool->out);
}

static void report(const struct restore *restore, const struct htstore_snapshot_report *counts, bool whole)
{
    struct tool *tool = restore->tool;
    const char *verified = verifications[restore->settings->verify];
    const char *const names[] = { "objects", "rows", "lost_blocks", "lost_rows", "damaged_objects" };
    const uint64_t values[] = { counts->n_objects, counts->n_rows, counts->n_lost_blocks, counts->n_lost_rows,
                                counts->n_damaged_objects };
    struct json json = { &tool->out.pending, false };

    if (!tool->json) {
        tool_note(tool, tool->store, "%" PRIu64 " objects, %" PRIu64 " rows; verified: %s", counts->n_objects,
                  counts->n_rows, verified);
        if (!whole)
            tool_warn(tool, tool->store,
                      "incomplete: %" PRIu64 " objects lost at least %" PRIu64 " rows in %" PRIu64 " blocks",
                      counts->n_damaged_objects, counts->n_lost_rows, counts->n_lost_blocks);
        return;
    }
    json_document(&json);
    json_name(&json, "restored");
    json_bool(&json, true);
    json_name(&json, "whole");
    json_bool(&json, whole);
    json_name(&json, "verified");
    json_string(&json, verified);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        json_name(&json, names[i]);
        json_count(&json, values[i]);
    }
    json_close(&json, '}');
    tool_end_json(&tool->out);
}

/* ---- formats ---- */

static int restore_snapshot(struct restore *restore)
{
    static const uint32_t verify_flags[] = { 0, HTSTORE_VERIFY_QUICK, HTSTORE_VERIFY_NONE };
    struct tool *tool = restore->tool;
    struct htstore_options store = { .size = sizeof store, .log = tool_log, .log_user = tool };
    struct htstore_snapshot_restore_options options = { .size = sizeof options, .store = &store };
    struct htstore_snapshot_report counts = { .size = sizeof counts };
    struct htstore_error error;
    int result;

    options.flags = verify_flags[restore->settings->verify] | (restore->settings->salvage ? HTSTORE_SALVAGE : 0);
    options.threads = tool->threads;
    options.progress = watch_report;
    options.progress_user = &restore->watch;
    if (!restore->settings->salvage)
        tool->if_damaged = "; rerun with --salvage to restore what is intact";
    result = htstore_snapshot_restore(restore->path, restore->fd, tool->store, &options, &counts, &error);
    if (result < 0)
        return watch_fail(&restore->watch, &error, "no store was made");
    watch_end(&restore->watch);
    report(restore, &counts, result == 0);
    return result == 0 ? STATUS_DONE : STATUS_WARNINGS;
}

/* The text of mdb_dump. */
static int restore_mdb(struct restore *restore, int fd, const char *name)
{
    static const enum mdbdump_verify levels[] = { MDBDUMP_VERIFY_FULL, MDBDUMP_VERIFY_QUICK, MDBDUMP_VERIFY_NONE };
    struct mdbdump_options options = { .verify = levels[restore->settings->verify], .source = name };
    struct htstore_snapshot_report counts = { 0 };
    int status;

    if (restore->settings->salvage)
        return tool_fail_usage(restore->tool, "--salvage is for snapshots: a dump of text is restored whole or not");
    status = mdbdump_restore_store(restore->tool, fd, restore->tool->store, &options);
    if (status != STATUS_DONE)
        return status;
    counts.n_objects = options.n_objects;
    counts.n_rows = options.n_rows;
    report(restore, &counts, true);
    return STATUS_DONE;
}

/* ---- inputs ---- */

static int fail_input(const struct tool *tool, const char *path, int error)
{
    return tool_fail(tool, status_from_errno(error), path, "cannot read it: %s", strerror(error));
}

/* What cannot be read twice: pipes, FIFOs. */
static int restore_stream(struct restore *restore, int from)
{
    struct tool *tool = restore->tool;
    const char *name = restore->path != NULL ? restore->path : "standard input";
    struct pump pump;
    int status, error = pump_open(&pump, from);

    if (error == 0)
        error = pump_start(&pump, &restore->fd);
    if (error == EINTR && signals_caught() != 0) {
        tool->signal = signals_caught();
        return tool_fail(tool, STATUS_INTERRUPTED, tool->store, "interrupted; no store was made");
    }
    if (error != 0)
        return fail_input(tool, name, error);
    restore->path = NULL;
    status = mdbdump_is_dump(pump.head, pump.head_size) ? restore_mdb(restore, restore->fd, name)
                                                        : restore_snapshot(restore);
    error = pump_end(&pump);
    if (error != 0 && status != STATUS_DONE)
        fail_input(tool, name, error);
    return status;
}

static int restore_path(struct restore *restore)
{
    char head[PUMP_HEAD_SIZE];
    struct stat file;
    int fd = open(restore->path, O_RDONLY | O_CLOEXEC);
    int status = STATUS_DONE;
    ssize_t n = 0;

    if (fd < 0)
        return fail_input(restore->tool, restore->path, errno);
    if (fstat(fd, &file) != 0 || S_ISDIR(file.st_mode))
        status = tool_fail(restore->tool, STATUS_TYPE, restore->path, "is a folder, not a snapshot");
    else if (!S_ISREG(file.st_mode))
        status = restore_stream(restore, fd);
    else if ((n = pread(fd, head, sizeof head, 0)) < 0)
        status = fail_input(restore->tool, restore->path, errno);
    else
        status = mdbdump_is_dump(head, (size_t)n) ? restore_mdb(restore, fd, restore->path) : restore_snapshot(restore);
    close(fd);
    return status;
}

static int run(struct tool *tool, void *user, int n, char **arguments)
{
    struct restore restore = { .tool = tool, .settings = user, .path = arguments[0], .fd = -1 };
    struct stat target;
    int status;

    (void)n;
    tool->store = arguments[1];
    if (lstat(tool->store, &target) == 0) { /* before the first byte of a pipe is waited for */
        if (!restore.settings->if_absent)
            return tool_fail(tool, STATUS_CONFLICT, tool->store, "exists already; a restore makes a new store");
        report_absent(tool);
        return STATUS_DONE;
    }
    if (strcmp(restore.path, "-") == 0) {
        if (isatty(STDIN_FILENO) == 1)
            return tool_fail_usage(tool, "a snapshot cannot come from a terminal: give FILE, or pipe it");
        restore.path = NULL;
    }
    watch_start(&restore.watch, tool);
    status = restore.path == NULL ? restore_stream(&restore, STDIN_FILENO) : restore_path(&restore);
    watch_end(&restore.watch);
    return status;
}

static const struct option_entry options[] = {
    { ID_VERIFY, 0, "verify", "none|quick|full", "how much of the new store is read again; default full: every row" },
    { ID_SALVAGE, 0, "salvage", NULL, "go on after damage: every intact block, and a warning for what is missing" },
    { ID_IF_ABSENT, 0, "if-absent", NULL, "nothing to do, and status 0, if STORE exists" },
    { 0 },
};

static const uint8_t statuses[] = { STATUS_DONE,     STATUS_FAILED,   STATUS_USAGE,       STATUS_MISSING,
                                    STATUS_CONFLICT, STATUS_DAMAGED,  STATUS_BUSY,        STATUS_TYPE,
                                    STATUS_SPACE,    STATUS_WARNINGS, STATUS_INTERRUPTED, 255 };

const struct command command_restore = {
    .name = "restore",
    .synopsis = "FILE STORE",
    .summary = "make a new store of a snapshot or a dump",
    .details =
        "FILE is a snapshot of `htstore dump`, a checkpoint, or the text that it writes for mdb_load; - is\n"
        "stdin. STORE must not exist: it is built beside that place, verified, and renamed: it is there whole or\n"
        "not at all. After --salvage with losses the status is 10. Also installed as htstore-restore.",
    .example = "htstore restore s.snap S2\n"
               "htstore restore --salvage damaged.snap S2",
    .options = options,
    .takes = OPTIONS_PROGRESS | OPTIONS_THREADS,
    .statuses = statuses,
    .min_arguments = 2,
    .max_arguments = 2,
    .settings_size = sizeof(struct settings),
    .set = set,
    .run = run,
};
