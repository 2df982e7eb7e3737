/* cmd_put: inserts or replaces one row. */
#include "commands.h"

#include "escape.h"
#include "fetch.h"
#include "keys.h"
#include "path.h"

#include <stdlib.h>
#include <string.h>

enum { ID_NEW = OPTIONS_OWN, ID_ESCAPE };

struct settings {
    bool only_new;
    int escape; /* 0: tsv, 1: none */
};

static int set(struct tool *tool, void *user, int id, const char *value)
{
    static const char *const escapes[] = { "tsv", "none", NULL };
    struct settings *settings = user;

    if (id == ID_ESCAPE)
        return tool_parse_word(tool, "--escape", value, escapes, &settings->escape);
    settings->only_new = true;
    return STATUS_DONE;
}

/* The key and the elements of the value, as typed, into one row. */
static int read_row(const struct tool *tool, bool literal, char **arguments, size_t n, struct rows *rows)
{
    struct buffer *bytes = memory_new(n, sizeof *bytes);
    struct htstore_bytes *fields = memory_new(n, sizeof *fields);
    size_t at = 0;
    int status = STATUS_DONE;

    for (size_t i = 0; status == STATUS_DONE && i < n; i++) {
        status = keys_read_argument(tool, arguments[i], literal, &bytes[i]);
        fields[i] = (struct htstore_bytes){ bytes[i].data, bytes[i].size };
    }
    if (status == STATUS_DONE && n - 1 != rows->layout->width)
        status = tool_fail(tool, STATUS_TYPE, tool->store, "%zu elements are given, a value has %zu", n - 1,
                           rows->layout->width);
    if (status == STATUS_DONE) {
        enum rows_result result = rows_append(rows, &fields[0], &fields[1], &at);
        struct buffer reason = { 0 };

        if (result != ROWS_OK) {
            rows_explain(&reason, rows->layout, result, at, &fields[at]);
            status =
                tool_fail(tool, STATUS_TYPE, tool->store, "%s %s", at == 0 ? "key" : "value", buffer_string(&reason));
        }
        buffer_release(&reason);
    }
    for (size_t i = 0; i < n; i++)
        buffer_release(&bytes[i]);
    free(bytes);
    free(fields);
    return status;
}

static void report(struct tool *tool, const struct rows *rows, bool replaces)
{
    struct json json = { &tool->out.pending, false };
    struct buffer key = { 0 };

    rows_show_element(&key, rows->layout->key_dtype, rows_key(rows, 0));
    if (tool->json) {
        json_document(&json);
        json_name(&json, "dry_run");
        json_bool(&json, tool->dry_run);
        json_name(&json, "inserted");
        json_count(&json, replaces ? 0 : 1);
        json_name(&json, "replaced");
        json_count(&json, replaces ? 1 : 0);
        json_close(&json, '}');
        tool_end_json(&tool->out);
    } else if (tool->dry_run) {
        buffer_printf(&tool->out.pending, "would %s %s\n", replaces ? "replace" : "insert", buffer_string(&key));
    } else if (tool->verbose) {
        tool_note(tool, tool->store, "%s %s", replaces ? "replaced" : "inserted", buffer_string(&key));
    }
    buffer_release(&key);
}

static int refuse_present(const struct tool *tool, const struct rows *rows)
{
    struct buffer key = { 0 };

    rows_show_element(&key, rows->layout->key_dtype, rows_key(rows, 0));
    tool_fail(tool, STATUS_CONFLICT, tool->store, "key %s is there already; without --new its value is replaced",
              buffer_string(&key));
    buffer_release(&key);
    return STATUS_CONFLICT;
}

static int write_row(struct tool *tool, struct htstore_table *table, const struct rows *rows, bool only_new)
{
    struct htstore_array keys = rows_keys(rows), values = rows_values(rows);
    struct fetch fetch = { 0 };
    struct htstore_error error;
    int result = fetch_run(&fetch, table, rows, &error);
    bool present = result == 0 && fetch.found[0] != 0;

    fetch_release(&fetch);
    if (result == 0 && present && only_new)
        return refuse_present(tool, rows);
    if (result == 0 && !tool->dry_run && only_new)
        result = htstore_table_insert_new(table, &keys, &values, NULL, HTSTORE_SYNC | HTSTORE_ALL_OR_NOTHING, &error);
    else if (result == 0 && !tool->dry_run)
        result = htstore_table_insert(table, &keys, &values, HTSTORE_SYNC, &error);
    if (result < 0)
        return tool_fail_library(tool, tool->table, &error);
    report(tool, rows, present);
    return STATUS_DONE;
}

static int run(struct tool *tool, void *user, int n, char **arguments)
{
    const struct settings *settings = user;
    struct htstore_table *table = NULL;
    struct rows_layout layout;
    struct rows rows = { 0 };
    struct htstore *store;
    int status;

    tool->store = arguments[0];
    status = tool_open(tool, (tool->dry_run ? HTSTORE_READONLY : 0) | HTSTORE_NO_PRELOAD, &store);
    if (status != STATUS_DONE)
        return status;
    status = path_open_table(tool, store, arguments[1], &table, &layout);
    if (status == STATUS_DONE) {
        rows_init(&rows, &layout, false);
        status = read_row(tool, settings->escape == 1, arguments + 2, (size_t)n - 2, &rows);
    }
    if (status == STATUS_DONE)
        status = write_row(tool, table, &rows, settings->only_new);
    rows_release(&rows);
    htstore_table_close(table, NULL);
    return tool_close(tool, store, status);
}

static const struct option_entry options[] = {
    { ID_NEW, 0, "new", NULL, "never replace: status 4 if the key is there" },
    { ID_ESCAPE, 0, "escape", "tsv|none", "none: a backslash in strings is a backslash" },
    { 0 },
};

static const uint8_t statuses[] = { STATUS_DONE,    STATUS_FAILED, STATUS_USAGE, STATUS_MISSING, STATUS_CONFLICT,
                                    STATUS_DAMAGED, STATUS_BUSY,   STATUS_TYPE,  STATUS_SPACE,   255 };

const struct command command_put = {
    .name = "put",
    .synopsis = "STORE TABLE KEY [VALUE...]",
    .summary = "insert or replace one row",
    .details = "The elements of a vector are separate arguments, row by row. Put -- before a negative number. In\n"
               "strings \\\\ \\t \\n \\r \\xHH are escapes. The row is on disk when the command ends with status 0.",
    .example = "htstore put S words zyzzyva 7\n"
               "htstore put S offsets -- -5 0.25 -1e-3",
    .options = options,
    .takes = OPTIONS_DRY_RUN | OPTIONS_TIMEOUT,
    .statuses = statuses,
    .min_arguments = 3,
    .max_arguments = -1,
    .settings_size = sizeof(struct settings),
    .set = set,
    .run = run,
};
