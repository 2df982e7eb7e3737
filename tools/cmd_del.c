/* cmd_del: removes rows, all rows, or a table. */
#include "commands.h"

#include "escape.h"
#include "fetch.h"
#include "keys.h"
#include "path.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ID_ALL = OPTIONS_OWN, ID_DROP, ID_KEYS_FROM, ID_ESCAPE };

struct settings {
    bool all, drop;
    const char *keys_from;
    int escape; /* 0: tsv, 1: none */
};

static int set(struct tool *tool, void *user, int id, const char *value)
{
    static const char *const escapes[] = { "tsv", "none", NULL };
    struct settings *settings = user;

    switch (id) {
    case ID_ALL:
        settings->all = true;
        return STATUS_DONE;
    case ID_DROP:
        settings->drop = true;
        return STATUS_DONE;
    case ID_KEYS_FROM:
        settings->keys_from = value;
        return STATUS_DONE;
    case ID_ESCAPE:
    default:
        return tool_parse_word(tool, "--escape", value, escapes, &settings->escape);
    }
}

struct del {
    struct tool *tool;
    const struct settings *settings;
    const char *argument; /* TABLE as typed */
    struct htstore *store;
    struct htstore_table *table;
    struct rows_layout layout;
    uint64_t n_removed, n_absent;
};

static void report(const struct del *del, bool dropped)
{
    struct tool *tool = del->tool;
    struct json json = { &tool->out.pending, false };

    if (tool->json) {
        json_document(&json);
        json_name(&json, "dry_run");
        json_bool(&json, tool->dry_run);
        json_name(&json, "removed");
        json_count(&json, del->n_removed);
        json_name(&json, "absent");
        json_count(&json, del->n_absent);
        json_name(&json, "dropped");
        json_bool(&json, dropped);
        json_close(&json, '}');
        tool_end_json(&tool->out);
    } else if (tool->verbose && !tool->dry_run) {
        tool_note(tool, tool->store, "removed %" PRIu64 " rows%s", del->n_removed, dropped ? " and their table" : "");
    }
}

/* ---- single keys ---- */

static void tell_key(struct del *del, const void *key, bool present)
{
    struct tool *tool = del->tool;
    struct buffer text = { 0 };

    rows_show_element(&text, del->layout.key_dtype, key);
    if (!present)
        tool_fail(tool, STATUS_MISSING, tool->store, "table %s: no key %s", del->argument, buffer_string(&text));
    else if (tool->dry_run && !tool->json)
        buffer_printf(&tool->out.pending, "would remove %s\n", buffer_string(&text));
    buffer_release(&text);
}

/* Which keys of the batch were present: removed, or only found in a dry run. */
static int remove_batch(struct del *del, const struct rows *rows, uint8_t *present)
{
    struct htstore_array keys = rows_keys(rows);
    struct fetch fetch = { 0 };
    struct htstore_error error;
    int result;

    if (del->tool->dry_run) {
        result = fetch_run(&fetch, del->table, rows, &error);
        if (result == 0)
            memcpy(present, fetch.found, rows->n);
        fetch_release(&fetch);
    } else {
        result = htstore_table_remove(del->table, &keys, present, HTSTORE_SYNC, &error);
    }
    if (result < 0)
        return tool_fail_library(del->tool, del->argument, &error);
    for (size_t i = 0; i < rows->n; i++) {
        tell_key(del, rows_key(rows, i), present[i] != 0);
        if (present[i] != 0)
            del->n_removed++;
        else
            del->n_absent++;
    }
    return STATUS_DONE;
}

static int remove_keys(struct del *del, size_t n, char **arguments)
{
    struct keys_source source = { arguments, n, del->settings->keys_from, del->settings->escape == 1 };
    struct keys keys;
    uint8_t *present = NULL;
    int status = keys_open(&keys, del->tool, &source, &del->layout);

    if (status == STATUS_DONE)
        status = keys_next(&keys);
    while (status == STATUS_DONE && keys.rows.n > 0) {
        present = memory_resize(present, keys.rows.n, 1);
        status = remove_batch(del, &keys.rows, present);
        if (status == STATUS_DONE)
            status = keys_next(&keys);
    }
    keys_close(&keys);
    free(present);
    if (status == STATUS_DONE)
        report(del, false);
    return status == STATUS_DONE && del->n_absent > 0 ? STATUS_MISSING : status;
}

/* ---- all of it ---- */

static int confirm(const struct del *del)
{
    struct buffer question = { 0 };
    int status;

    buffer_printf(&question, "%s table %s with %" PRIu64 " rows", del->settings->drop ? "drop" : "empty", del->argument,
                  del->n_removed);
    status = tool_confirm(del->tool, buffer_string(&question), "rerun with -y to do it");
    buffer_release(&question);
    return status;
}

/* Drop the table. Only the root namespace lets go of one. */
static int drop_table(struct del *del)
{
    struct tool *tool = del->tool;
    struct htstore_error error;
    struct path path;
    int status = path_read(tool, del->argument, &path);

    if (status == STATUS_DONE) {
        htstore_table_close(del->table, NULL);
        del->table = NULL;
        if (htstore_table_drop(del->store, path.names[0], &error) < 0)
            status = tool_fail_library(tool, del->argument, &error);
    }
    path_release(&path);
    return status;
}

static int check_can_drop(const struct del *del)
{
    struct path path;
    int status = path_read(del->tool, del->argument, &path);

    if (status == STATUS_DONE && path.n > 1)
        status =
            tool_fail(del->tool, STATUS_CONFLICT, del->tool->store,
                      "%s is an entry of a mapping, which keeps it for good; --all removes its rows", del->argument);
    path_release(&path);
    return status;
}

static int destroy(struct del *del)
{
    struct tool *tool = del->tool;
    struct htstore_error error;
    bool drop = del->settings->drop;
    int status = drop ? check_can_drop(del) : STATUS_DONE;

    if (status != STATUS_DONE)
        return status;
    if (htstore_table_size(del->table, &del->n_removed, &error) < 0)
        return tool_fail_library(tool, tool->table, &error);
    if (tool->dry_run) {
        if (!tool->json)
            buffer_printf(&tool->out.pending, "would %s table %s with %" PRIu64 " rows\n", drop ? "drop" : "empty",
                          del->argument, del->n_removed);
        report(del, drop);
        return STATUS_DONE;
    }
    status = confirm(del);
    if (status != STATUS_DONE)
        return status;
    if (drop)
        status = drop_table(del);
    else if (htstore_table_clear(del->table, HTSTORE_SYNC, &error) < 0)
        status = tool_fail_library(tool, del->argument, &error);
    if (status == STATUS_DONE)
        report(del, drop);
    return status;
}

static int check_usage(const struct tool *tool, const struct settings *settings, int n)
{
    bool keys = n > 2 || settings->keys_from != NULL;

    if (settings->all && settings->drop)
        return tool_fail_usage(tool, "--all and --drop exclude each other");
    if (keys && (settings->all || settings->drop))
        return tool_fail_usage(tool, "%s takes no keys", settings->all ? "--all" : "--drop");
    if (!keys && !settings->all && !settings->drop)
        return tool_fail_usage(tool, "no KEY is given, and neither --all nor --drop");
    return STATUS_DONE;
}

static int run(struct tool *tool, void *user, int n, char **arguments)
{
    struct del del = { .tool = tool, .settings = user, .argument = arguments[1] };
    int status = check_usage(tool, del.settings, n);

    if (status != STATUS_DONE)
        return status;
    tool->store = arguments[0];
    status = tool_open(tool, (tool->dry_run ? HTSTORE_READONLY : 0) | HTSTORE_NO_PRELOAD, &del.store);
    if (status != STATUS_DONE)
        return status;
    status = path_open_table(tool, del.store, arguments[1], &del.table, &del.layout);
    if (status == STATUS_DONE && (del.settings->all || del.settings->drop))
        status = destroy(&del);
    else if (status == STATUS_DONE)
        status = remove_keys(&del, (size_t)n - 2, arguments + 2);
    htstore_table_close(del.table, NULL);
    return tool_close(tool, del.store, status);
}

static const struct option_entry options[] = {
    { ID_ALL, 0, "all", NULL, "remove all rows; asks" },
    { ID_DROP, 0, "drop", NULL, "remove the table itself; asks" },
    { ID_KEYS_FROM, 0, "keys-from", "FILE", "read keys from FILE, one a line; - is stdin" },
    { ID_ESCAPE, 0, "escape", "tsv|none", "none: a backslash in a key is a backslash" },
    { 0 },
};

static const uint8_t statuses[] = { STATUS_DONE,    STATUS_FAILED, STATUS_USAGE, STATUS_MISSING, STATUS_CONFLICT,
                                    STATUS_DAMAGED, STATUS_BUSY,   STATUS_TYPE,  STATUS_SPACE,   255 };

const struct command command_del = {
    .name = "del",
    .synopsis = "STORE TABLE [KEY...]",
    .summary = "remove rows, all rows, or a table",
    .details = "Keys that are present are removed, absent ones are told on stderr, with status 3. Put -- before a\n"
               "negative key. What the command did is on disk when it ends.",
    .example = "htstore del S words apple pear\n"
               "htstore del -y --drop S words",
    .options = options,
    .takes = OPTIONS_DRY_RUN | OPTIONS_YES | OPTIONS_TIMEOUT,
    .statuses = statuses,
    .min_arguments = 2,
    .max_arguments = -1,
    .settings_size = sizeof(struct settings),
    .set = set,
    .run = run,
};
