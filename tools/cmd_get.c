/* cmd_get: prints the rows of given keys. */
#include "commands.h"

#include "array.h"
#include "fetch.h"
#include "keys.h"
#include "path.h"
#include "tsv.h"

#include <inttypes.h>

enum { ID_OR_DEFAULT = OPTIONS_OWN, ID_KEYS_FROM, ID_ESCAPE };

struct settings {
    bool or_default;
    const char *keys_from;
    int escape; /* 0: tsv, 1: none */
};

static int set(struct tool *tool, void *user, int id, const char *value)
{
    static const char *const escapes[] = { "tsv", "none", NULL };
    struct settings *settings = user;

    switch (id) {
    case ID_OR_DEFAULT:
        settings->or_default = true;
        return STATUS_DONE;
    case ID_KEYS_FROM:
        settings->keys_from = value;
        return STATUS_DONE;
    case ID_ESCAPE:
    default:
        return tool_parse_word(tool, "--escape", value, escapes, &settings->escape);
    }
}

struct get {
    struct tool *tool;
    const struct settings *settings;
    const char *table_argument;
    struct htstore_table *table;
    struct rows_layout layout;
    uint64_t lsn;
    struct fetch fetch;
    uint64_t n_absent;
};

static void write_json_row(struct get *get, const void *key, const void *value, bool found)
{
    const struct rows_layout *layout = &get->layout;
    struct json json = { &get->tool->out.pending, false };

    json_document(&json);
    json_name(&json, "lsn");
    json_count(&json, get->lsn);
    json_name(&json, "key");
    json_element(&json, layout->key_dtype, key);
    json_name(&json, "value");
    json_value(&json, layout->value_dtype, layout->value_rank, layout->value_shape, value);
    json_name(&json, "found");
    json_bool(&json, found);
    json_close(&json, '}');
    tool_end_json(&get->tool->out);
}

static void tell_absent(struct get *get, const void *key)
{
    struct buffer text = { 0 };

    get->n_absent++;
    rows_show_element(&text, get->layout.key_dtype, key);
    tool_fail(get->tool, STATUS_MISSING, get->tool->store, "table %s: no key %s", get->table_argument,
              buffer_string(&text));
    buffer_release(&text);
}

static int write_batch(struct get *get, const struct rows *keys)
{
    struct htstore_error error;

    if (fetch_run(&get->fetch, get->table, keys, &error) < 0)
        return tool_fail_library(get->tool, get->table_argument, &error);
    for (size_t i = 0; i < keys->n; i++) {
        const void *key = rows_key(keys, i), *value = fetch_value(&get->fetch, &get->layout, i);
        bool found = get->fetch.found[i] != 0;

        if (!found && !get->settings->or_default)
            tell_absent(get, key);
        else if (get->tool->json)
            write_json_row(get, key, value, found);
        else
            tsv_write_row(&get->tool->out.pending, &get->layout, key, value);
        if (output_drain(&get->tool->out) != 0)
            break; /* said when stdout is closed */
    }
    return STATUS_DONE;
}

static int write_rows(struct get *get, size_t n, char **arguments)
{
    struct keys_source source = { arguments, n, get->settings->keys_from, get->settings->escape == 1 };
    struct keys keys;
    int status = keys_open(&keys, get->tool, &source, &get->layout);

    if (status != STATUS_DONE) {
        keys_close(&keys);
        return status;
    }
    do {
        status = keys_next(&keys);
        if (status == STATUS_DONE && keys.rows.n > 0)
            status = write_batch(get, &keys.rows);
    } while (status == STATUS_DONE && keys.rows.n > 0 && get->tool->out.error == 0);
    keys_close(&keys);
    fetch_release(&get->fetch);
    return status == STATUS_DONE && get->n_absent > 0 ? STATUS_MISSING : status;
}

static int write_variable(struct get *get, struct htstore_variable *variable, int n)
{
    if (n > 2 || get->settings->keys_from != NULL || get->settings->or_default)
        return tool_fail_usage(get->tool, "%s is a variable: it takes no keys", get->table_argument);
    return array_write_variable(get->tool, variable, get->lsn);
}

static int write_table(struct get *get, void *object, int n, char **arguments)
{
    struct htstore_schema schema = { .size = sizeof schema };
    struct htstore_error error;

    get->table = object;
    if (n == 2 && get->settings->keys_from == NULL)
        return tool_fail_usage(get->tool, "no KEY and no --keys-from is given");
    if (htstore_table_schema(get->table, &schema, &error) < 0)
        return tool_fail_library(get->tool, get->table_argument, &error);
    rows_layout_of_schema(&get->layout, &schema);
    return write_rows(get, (size_t)n - 2, arguments + 2);
}

static int run(struct tool *tool, void *user, int n, char **arguments)
{
    struct get get = { .tool = tool, .settings = user, .table_argument = arguments[1] };
    void *object = NULL;
    struct htstore *store;
    uint32_t kind;
    int status;

    tool->store = arguments[0];
    status = tool_open(tool, HTSTORE_READONLY | HTSTORE_NO_PRELOAD, &store);
    if (status != STATUS_DONE)
        return status;
    get.lsn = tool_lsn(store);
    status = path_open_argument(tool, store, arguments[1], &kind, &object);
    tool->table = arguments[1];
    if (status == STATUS_DONE && kind == HTSTORE_KIND_MAPPING)
        status =
            tool_fail(tool, STATUS_TYPE, tool->store, "%s is a mapping; `htstore ls` lists what it has", arguments[1]);
    else if (status == STATUS_DONE && kind == HTSTORE_KIND_VARIABLE)
        status = write_variable(&get, object, n);
    else if (status == STATUS_DONE)
        status = write_table(&get, object, n, arguments);
    if (tool->verbose)
        tool_note(tool, tool->store, "as of LSN %" PRIu64, get.lsn);
    htstore_object_close(object, NULL);
    return tool_close(tool, store, status);
}

static const struct option_entry options[] = {
    { ID_OR_DEFAULT, 0, "or-default", NULL, "print the default row for a key that is absent" },
    { ID_KEYS_FROM, 0, "keys-from", "FILE", "read keys from FILE, one a line; - is stdin" },
    { ID_ESCAPE, 0, "escape", "tsv|none", "none: a backslash in a key is a backslash" },
    { 0 },
};

static const uint8_t statuses[] = { STATUS_DONE,    STATUS_FAILED,  STATUS_USAGE,
                                    STATUS_MISSING, STATUS_DAMAGED, STATUS_BUSY,
                                    STATUS_TYPE,    STATUS_SPACE,   255 };

const struct command command_get = {
    .name = "get",
    .synopsis = "STORE TABLE [KEY...]",
    .summary = "print the rows of keys, or the value of a variable",
    .details = "A row is a line: the key, then the elements of the value, separated by tabs. In strings \\\\ \\t\n"
               "\\n \\r \\xHH are escapes, in keys that are given too. Absent keys are told on stderr, with status 3.\n"
               "Put -- before a negative key. A variable takes no keys: its elements are printed row-major, for two\n"
               "or more dimensions a line for each index of the first one. TABLE may be a path through mappings.\n"
               "With --json: a line for each row, or one for a variable. Works beside a process that owns the store;\n"
               "the state is that of the last flush.",
    .example = "htstore get S words apple pear\n"
               "htstore get S vocab/deltas -- -5",
    .options = options,
    .statuses = statuses,
    .min_arguments = 2,
    .max_arguments = -1,
    .settings_size = sizeof(struct settings),
    .set = set,
    .run = run,
};
