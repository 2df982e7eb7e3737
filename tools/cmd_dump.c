/* cmd_dump: writes a whole store, as of one instant, into one file or pipe. */
#include "commands.h"

#include "mdbdump.h"
#include "object.h"
#include "watch.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ID_FORMAT = OPTIONS_OWN, ID_COMPAT, ID_LEVEL };

enum format { FORMAT_SNAPSHOT, FORMAT_MDB };

struct settings {
    int format;
    int compat; /* 1: bdb */
    uint64_t level; /* of Zstandard; 0: not given */
};

static int set(struct tool *tool, void *user, int id, const char *value)
{
    static const char *const formats[] = { "snapshot", "mdb", NULL };
    static const char *const compats[] = { "mdb", "bdb", NULL };
    static const uint64_t bounds[2] = { 1, 19 };
    struct settings *settings = user;

    if (id == ID_FORMAT)
        return tool_parse_word(tool, "--format", value, formats, &settings->format);
    if (id == ID_COMPAT)
        return tool_parse_word(tool, "--compat", value, compats, &settings->compat);
    return tool_parse_count(tool, "--level", value, bounds, &settings->level);
}

struct dump {
    struct tool *tool;
    const struct settings *settings;
    struct htstore *store;
    struct output *output;
    uint64_t lsn;
};

/* ---- formats ---- */

static int write_snapshot(struct dump *dump)
{
    struct tool *tool = dump->tool;
    struct htstore_checkpoint *checkpoint;
    struct htstore_snapshot_options options;
    struct htstore_error error;
    struct watch watch;
    int status = STATUS_DONE;

    if (htstore_checkpoint_new(dump->store, NULL, &checkpoint, &error) < 0)
        return tool_fail_library(tool, NULL, &error);
    watch_start(&watch, tool);
    watch_snapshot_options(&watch, &options);
    options.flags = HTSTORE_ALL_CONTENTS;
    options.level = (int32_t)dump->settings->level;
    if (htstore_checkpoint_write_fd(checkpoint, dump->output->fd, &options, &error) < 0) {
        if (error.sys_errno == EPIPE) {
            tool->signal = SIGPIPE;
            status = STATUS_FAILED;
        } else {
            status = watch_fail(&watch, &error, "no snapshot is left");
        }
    }
    watch_end(&watch);
    htstore_checkpoint_close(checkpoint, NULL);
    return status;
}

static int write_mdb(struct dump *dump)
{
    struct mdbdump_options options = { .is_bdb = dump->settings->compat == 1 };

    return mdbdump_write_store(dump->tool, dump->store, dump->output, &options);
}

/* ---- outputs ---- */

/* What the snapshot that was written says of itself; false for pipes, devices and text. */
static bool read_back(const struct dump *dump, struct htstore_arena **arena, struct htstore_snapshot_info *info)
{
    const char *path = dump->tool->output_path;
    struct stat file;

    *arena = NULL;
    return dump->settings->format == FORMAT_SNAPSHOT && !tool_writes_stdout(dump->tool) && stat(path, &file) == 0 &&
           S_ISREG(file.st_mode) && htstore_arena_new(arena, NULL) == 0 &&
           htstore_snapshot_info(path, *arena, info, NULL) == 0;
}

static void report(struct dump *dump)
{
    struct tool *tool = dump->tool;
    struct htstore_snapshot_info info = { .size = sizeof info };
    struct htstore_arena *arena;
    struct buffer line = { 0 };
    struct json json = { &line, false };
    bool is_known = read_back(dump, &arena, &info);

    if (tool->json) {
        json_document(&json);
        json_name(&json, "lsn");
        json_count(&json, dump->lsn);
        if (is_known)
            object_snapshot_json(&json, &info);
        json_close(&json, '}');
        tool_end_report(tool, &line);
    } else if (is_known || tool->verbose) {
        if (is_known) {
            object_snapshot_text(&line, &info);
            buffer_add(&line, ' ');
        }
        tool_note(tool, tool->store, "%sas of LSN %" PRIu64, buffer_string(&line), dump->lsn);
        buffer_release(&line);
    }
    htstore_arena_free(arena);
}

/* Is this output a terminal, which would not survive a snapshot? */
static int check_terminal(const struct dump *dump)
{
    if (dump->settings->format != FORMAT_SNAPSHOT || isatty(dump->output->fd) != 1)
        return STATUS_DONE;
    return tool_fail_usage(dump->tool, "a snapshot is not for terminals: give -o FILE, or pipe it");
}

static int write_output(struct dump *dump)
{
    struct tool *tool = dump->tool;
    bool to_stdout = tool_writes_stdout(tool);
    struct output file;
    int status = STATUS_DONE;

    dump->output = to_stdout ? &tool->out : &file;
    if (!to_stdout)
        status = tool_create_output(tool, tool->output_path, &file);
    if (status != STATUS_DONE)
        return status;
    status = check_terminal(dump);
    if (status == STATUS_DONE)
        status = dump->settings->format == FORMAT_MDB ? write_mdb(dump) : write_snapshot(dump);
    if (!to_stdout && status == STATUS_DONE)
        status = tool_finish_output(tool, &file, STATUS_DONE);
    else if (!to_stdout)
        output_abandon(&file);
    if (status == STATUS_DONE && tool->signal == 0)
        report(dump);
    return status;
}

static int run(struct tool *tool, void *user, int n, char **arguments)
{
    struct dump dump = { .tool = tool, .settings = user };
    int status;

    (void)n;
    tool->store = arguments[0];
    status = tool_open(tool, HTSTORE_READONLY | HTSTORE_NO_PRELOAD, &dump.store);
    if (status != STATUS_DONE)
        return status;
    dump.lsn = tool_lsn(dump.store);
    return tool_close(tool, dump.store, write_output(&dump));
}

static const struct option_entry options[] = {
    { ID_FORMAT, 0, "format", "snapshot|mdb", "mdb: the text of mdb_dump, for mdb_load; default snapshot" },
    { ID_COMPAT, 0, "compat", "mdb|bdb", "with --format=mdb; bdb: without words that db_load refuses" },
    { ID_LEVEL, 0, "level", "N", "of Zstandard, 1 to 19; default 1" },
    { 0 },
};

static const uint8_t statuses[] = { STATUS_DONE,     STATUS_FAILED,      STATUS_USAGE, STATUS_MISSING,
                                    STATUS_CONFLICT, STATUS_DAMAGED,     STATUS_BUSY,  STATUS_TYPE,
                                    STATUS_SPACE,    STATUS_INTERRUPTED, 255 };

const struct command command_dump = {
    .name = "dump",
    .synopsis = "STORE",
    .summary = "write the whole store, as of one instant, as one snapshot",
    .details =
        "Everything that a name reaches, also the rows of tables without checkpoints. `htstore restore` makes a\n"
        "store of it; `zstd -t` verifies its frames. Written to stdout without -o, never to a terminal. With -o\n"
        "the file is there whole or not at all. Works beside a process that owns the store; the state is that\n"
        "of the last flush. With --json the report is a line on stdout, or on stderr if the snapshot is on\n"
        "stdout. Also installed as htstore-dump.",
    .example = "htstore dump S -o s.snap\n"
               "htstore dump S | ssh host htstore restore - S\n"
               "htstore dump S --format=mdb | mdb_load -n s.mdb",
    .options = options,
    .takes = OPTIONS_OUTPUT | OPTIONS_FORCE | OPTIONS_TIMEOUT | OPTIONS_PROGRESS | OPTIONS_THREADS,
    .statuses = statuses,
    .min_arguments = 1,
    .max_arguments = 1,
    .settings_size = sizeof(struct settings),
    .set = set,
    .run = run,
};
