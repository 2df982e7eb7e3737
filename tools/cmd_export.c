/* cmd_export: writes all rows of a table as text. */
#include "commands.h"

#include "escape.h"
#include "path.h"
#include "progress.h"
#include "signals.h"
#include "tsv.h"

#include <inttypes.h>
#include <string.h>

#define BLOCK_ROWS 8192

enum { ID_FORMAT = OPTIONS_OWN, ID_HEADER };

struct settings {
    int format; /* 0: tsv */
    int header; /* 0: no, 1: yes */
};

static int set(struct tool *tool, void *user, int id, const char *value)
{
    static const char *const formats[] = { "tsv", NULL };
    static const char *const headers[] = { "no", "yes", NULL };
    struct settings *settings = user;

    if (id == ID_FORMAT)
        return tool_parse_word(tool, "--format", value, formats, &settings->format);
    return tool_parse_word(tool, "--header", value, headers, &settings->header);
}

struct exporter {
    struct tool *tool;
    const struct settings *settings;
    struct htstore_table *table;
    struct rows_layout layout;
    struct htstore_cursor *cursor;
    struct htstore_arena *arena;
    struct output *output;
    uint64_t n_rows, lsn;
    struct progress progress;
};

static void write_block(struct exporter *exporter, const struct htstore_array *keys, const struct htstore_array *values)
{
    const struct rows_layout *layout = &exporter->layout;
    const char *key = keys->data, *value = values->data;

    for (int64_t i = 0; i < keys->shape[0]; i++) {
        tsv_write_row(&exporter->output->pending, layout, key, value);
        key += layout->key_size;
        value = value != NULL ? value + layout->width * layout->element_size : NULL;
        if (output_drain(exporter->output) != 0)
            return;
    }
    exporter->n_rows += (uint64_t)keys->shape[0];
}

static int write_rows(struct exporter *exporter)
{
    struct htstore_array keys, values;
    struct htstore_error error;
    int result;

    if (exporter->settings->header == 1)
        tsv_write_header(&exporter->output->pending, &exporter->layout);
    for (;;) {
        htstore_arena_reset(exporter->arena);
        result = htstore_cursor_next(exporter->cursor, BLOCK_ROWS, exporter->arena, &keys, &values, &error);
        if (result < 0)
            return tool_fail_library(exporter->tool, exporter->tool->table, &error);
        if (result > 0)
            return STATUS_DONE;
        write_block(exporter, &keys, &values);
        if (exporter->output->error != 0)
            return STATUS_DONE; /* said when the output is closed */
        progress_update(&exporter->progress, exporter->n_rows, exporter->n_rows);
        if (signals_caught() != 0) {
            exporter->tool->signal = signals_caught();
            return tool_fail(exporter->tool, STATUS_INTERRUPTED, exporter->tool->store,
                             "interrupted; the store is as before%s",
                             exporter->tool->output_path != NULL ? ", and no output is left" : "");
        }
    }
}

static void report(struct exporter *exporter, bool to_stdout)
{
    struct tool *tool = exporter->tool;
    struct buffer line = { 0 };
    struct json json = { to_stdout ? &line : &tool->out.pending, false };

    if (!tool->json) {
        if (!to_stdout || tool->verbose)
            tool_note(tool, tool->store, "%" PRIu64 " rows as of LSN %" PRIu64, exporter->n_rows, exporter->lsn);
        return;
    }
    json_document(&json);
    json_name(&json, "rows");
    json_count(&json, exporter->n_rows);
    json_name(&json, "lsn");
    json_count(&json, exporter->lsn);
    json_close(&json, '}');
    if (to_stdout)
        tool_say(tool, &line);
    else
        tool_end_json(&tool->out);
}

static int write_output(struct exporter *exporter)
{
    struct tool *tool = exporter->tool;
    bool to_stdout = tool_writes_stdout(tool);
    struct output file;
    int status = STATUS_DONE;

    exporter->output = to_stdout ? &tool->out : &file;
    if (!to_stdout)
        status = tool_create_output(tool, tool->output_path, &file);
    if (status != STATUS_DONE)
        return status;
    signals_catch();
    progress_start(&exporter->progress, tool, htstore_cursor_count(exporter->cursor));
    exporter->progress.counts_rows = true;
    status = write_rows(exporter);
    progress_end(&exporter->progress);
    if (!to_stdout && status == STATUS_DONE)
        status = tool_finish_output(tool, &file, STATUS_DONE);
    else if (!to_stdout)
        output_abandon(&file);
    if (status == STATUS_DONE && tool->signal == 0 && tool->out.error == 0)
        report(exporter, to_stdout);
    return status;
}

static int run(struct tool *tool, void *user, int n, char **arguments)
{
    struct exporter exporter = { .tool = tool, .settings = user };
    struct htstore *store;
    struct htstore_error error;
    int status;

    (void)n;
    tool->store = arguments[0];
    status = tool_open(tool, HTSTORE_READONLY | HTSTORE_NO_PRELOAD, &store);
    if (status != STATUS_DONE)
        return status;
    exporter.lsn = tool_lsn(store);
    status = path_open_table(tool, store, arguments[1], &exporter.table, &exporter.layout);
    if (status == STATUS_DONE && (htstore_arena_new(&exporter.arena, &error) < 0 ||
                                  htstore_cursor_open(exporter.table, &exporter.cursor, &error) < 0))
        status = tool_fail_library(tool, tool->table, &error);
    if (status == STATUS_DONE)
        status = write_output(&exporter);
    htstore_cursor_close(exporter.cursor);
    htstore_arena_free(exporter.arena);
    htstore_table_close(exporter.table, NULL);
    return tool_close(tool, store, status);
}

static const struct option_entry options[] = {
    { ID_FORMAT, 0, "format", "tsv", "the only one in this version" },
    { ID_HEADER, 0, "header", "yes|no", "a first line with the names of the columns; default no" },
    { 0 },
};

static const uint8_t statuses[] = { STATUS_DONE,     STATUS_FAILED,      STATUS_USAGE, STATUS_MISSING,
                                    STATUS_CONFLICT, STATUS_DAMAGED,     STATUS_BUSY,  STATUS_TYPE,
                                    STATUS_SPACE,    STATUS_INTERRUPTED, 255 };

const struct command command_export = {
    .name = "export",
    .synopsis = "STORE TABLE",
    .summary = "write all rows of a table as text",
    .details =
        "A row is a line: the key, then the elements of the value, separated by tabs, in ascending order of\n"
        "keys, all of one instant. Strings have the escapes \\\\ \\t \\n \\r, and \\xHH for other controls and for\n"
        "bytes that are not UTF-8. Numbers have the fewest digits that read back equal. With -o the file is\n"
        "there whole or not at all. Works beside a process that owns the store; the state is that of the last\n"
        "flush. With --json the report is a line on stdout, or on stderr if the rows are on stdout.",
    .example = "htstore export S words -o words.tsv\n"
               "htstore export S words | gzip >words.tsv.gz",
    .options = options,
    .takes = OPTIONS_OUTPUT | OPTIONS_FORCE | OPTIONS_PROGRESS,
    .statuses = statuses,
    .min_arguments = 2,
    .max_arguments = 2,
    .settings_size = sizeof(struct settings),
    .set = set,
    .run = run,
};
