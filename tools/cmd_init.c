/* cmd_init: makes stores and tables. */
#include "commands.h"

#include "escape.h"
#include "number.h"
#include "path.h"

#include <stdlib.h>
#include <string.h>

#define MAX_RANK (HTSTORE_MAX_RANK - 1) /* a batch of values has one dimension more */

enum { ID_KEY = OPTIONS_OWN, ID_VALUE, ID_SHAPE, ID_DEFAULT, ID_NO_CHECKPOINT };

struct settings {
    const char *key, *value, *shape, *default_value; /* NULL: not given */
    bool no_checkpoint;
};

/* A schema with the memory of its default value. */
struct wanted {
    struct rows_layout layout;
    struct rows rows; /* one row; its value is the default */
    struct htstore_schema schema;
};

static int set(struct tool *tool, void *user, int id, const char *value)
{
    struct settings *settings = user;

    (void)tool;
    switch (id) {
    case ID_KEY:
        settings->key = value;
        break;
    case ID_VALUE:
        settings->value = value;
        break;
    case ID_SHAPE:
        settings->shape = value;
        break;
    case ID_DEFAULT:
        settings->default_value = value;
        break;
    case ID_NO_CHECKPOINT:
    default:
        settings->no_checkpoint = true;
        break;
    }
    return STATUS_DONE;
}

static int parse_dtype(const struct tool *tool, const char *option, const char *text, uint32_t *dtype)
{
    *dtype = htstore_dtype_from_name(text);
    if (*dtype != 0)
        return STATUS_DONE;
    return tool_fail_usage(
        tool,
        "%s takes int8 to int64, uint8 to uint64, bool, float16, bfloat16, float32, float64 or string, "
        "not \"%s\"",
        option, text);
}

/* The part of `text` up to the next comma; moves *text behind it, to NULL after the last. */
static struct htstore_bytes next_part(const char **text)
{
    struct htstore_bytes part = { *text, strcspn(*text, ",") };

    *text = (*text)[part.size] == ',' ? *text + part.size + 1 : NULL;
    return part;
}

static int parse_shape(const struct tool *tool, const char *text, struct rows_layout *layout)
{
    uint64_t width = 1;

    layout->element_size = htstore_dtype_size(layout->value_dtype);
    while (text != NULL) {
        struct htstore_bytes part = next_part(&text);
        int64_t length;

        if (number_parse(HTSTORE_INT64, part.data, part.size, &length) != NUMBER_OK || length < 0)
            return tool_fail_usage(tool, "--shape takes lengths such as 50 or 2,3");
        if (layout->value_rank == MAX_RANK)
            return tool_fail(tool, STATUS_TYPE, NULL, "--shape has more than %d dimensions", MAX_RANK);
        layout->value_shape[layout->value_rank++] = length;
        if (__builtin_mul_overflow(width, (uint64_t)length, &width) || width > HTSTORE_MAX_ROW_SIZE)
            return tool_fail(tool, STATUS_TYPE, NULL, "--shape makes rows that are larger than 256 MiB");
    }
    if (width * layout->element_size > HTSTORE_MAX_ROW_SIZE)
        return tool_fail(tool, STATUS_TYPE, NULL, "--shape makes rows that are larger than 256 MiB");
    layout->width = (size_t)width;
    return STATUS_DONE;
}

/* The elements of --default as text: as many as there are parts. A scalar string is one part, commas included. */
static size_t split_default(const struct rows_layout *layout, const char *text, struct htstore_bytes *parts,
                            size_t most)
{
    size_t n = 0;

    if (layout->value_dtype == HTSTORE_STRING && layout->value_rank == 0) {
        parts[0] = htstore_string(text);
        return 1;
    }
    while (text != NULL) {
        struct htstore_bytes part = next_part(&text);

        if (n < most)
            parts[n] = part;
        n++;
    }
    return n;
}

/* In place: strings may hold escapes, numbers never do. */
static int unescape_parts(const struct tool *tool, struct htstore_bytes *parts, size_t n)
{
    char shown[ESCAPE_SHOWN_SIZE];

    for (size_t i = 0; i < n; i++) {
        char *text = (char *)(uintptr_t)parts[i].data;

        escape_show(shown, text, parts[i].size);
        if (escape_read(text, parts[i].size, text, &parts[i].size) != 0)
            return tool_fail_usage(tool, "--default: %s has a backslash that starts no escape (\\\\ \\t \\n \\r \\xHH)",
                                   shown);
    }
    return STATUS_DONE;
}

/* The default row; one part stands for all elements. */
static int make_default(const struct tool *tool, const char *given, struct wanted *wanted)
{
    const struct rows_layout *layout = &wanted->layout;
    const char *zero = layout->value_dtype == HTSTORE_STRING ? "" : "0";
    struct htstore_bytes key = htstore_string("0");
    struct htstore_bytes *parts = memory_new(layout->width + 1, sizeof *parts);
    char *text = strcpy(memory_new(strlen(given != NULL ? given : zero) + 1, 1), given != NULL ? given : zero);
    size_t most = layout->width > 0 ? layout->width : 1, at;
    size_t n = split_default(layout, text, parts, most);
    int status = STATUS_DONE;
    enum rows_result result;

    if (n != 1 && n != layout->width)
        status = tool_fail(tool, STATUS_TYPE, NULL, "--default has %zu elements, expected %zu or 1", n, layout->width);
    if (status == STATUS_DONE)
        status = unescape_parts(tool, parts, n);
    for (size_t i = 1; status == STATUS_DONE && n == 1 && i < layout->width; i++)
        parts[i] = parts[0];
    if (status == STATUS_DONE) {
        result = rows_append(&wanted->rows, &key, parts, &at);
        if (result != ROWS_OK) {
            struct buffer reason = { 0 };

            rows_explain(&reason, layout, result, at, &parts[at > 0 ? at - 1 : 0]);
            status = tool_fail(tool, STATUS_TYPE, NULL, "--default: %s", buffer_string(&reason));
            buffer_release(&reason);
        }
    }
    free(parts);
    free(text);
    return status;
}

static int make_schema(const struct tool *tool, const struct settings *settings, struct wanted *wanted)
{
    struct rows_layout *layout = &wanted->layout;
    uint32_t key_dtype = 0;
    int status;

    if (settings->key == NULL || settings->value == NULL)
        return tool_fail_usage(tool, "a table needs --key=DTYPE and --value=DTYPE");
    status = parse_dtype(tool, "--key", settings->key, &key_dtype);
    if (status == STATUS_DONE)
        status = parse_dtype(tool, "--value", settings->value, &layout->value_dtype);
    if (status == STATUS_DONE)
        status = parse_shape(tool, settings->shape, layout);
    if (status != STATUS_DONE)
        return status;
    layout->key_dtype = HTSTORE_INT8; /* of the one row that holds the default */
    layout->key_size = 1;
    rows_init(&wanted->rows, layout, false);
    status = make_default(tool, settings->default_value, wanted);
    wanted->schema.size = sizeof wanted->schema;
    wanted->schema.flags = settings->no_checkpoint ? HTSTORE_NO_CHECKPOINT : 0;
    wanted->schema.key_dtype = key_dtype;
    wanted->schema.value_dtype = layout->value_dtype;
    wanted->schema.default_value = htstore_scalar(layout->value_dtype, wanted->rows.values);
    wanted->schema.default_value.rank = layout->value_rank;
    memcpy(wanted->schema.default_value.shape, layout->value_shape, sizeof layout->value_shape);
    return status;
}

static void report(struct tool *tool, const char *table, bool new_store, bool new_table)
{
    struct buffer *out = &tool->out.pending;
    struct json json = { out, false };

    if (tool->json) {
        json_document(&json);
        json_name(&json, "dry_run");
        json_bool(&json, tool->dry_run);
        json_name(&json, "store_created");
        json_bool(&json, new_store);
        json_name(&json, "table_created");
        json_bool(&json, new_table);
        json_close(&json, '}');
        tool_end_json(&tool->out);
        return;
    }
    if (tool->dry_run) {
        buffer_printf(out, "%s store %s\n", new_store ? "would create" : "nothing to do for", tool->store);
        if (table != NULL)
            buffer_printf(out, "%s table %s\n", new_table ? "would create" : "nothing to do for", table);
    } else if (tool->verbose) {
        tool_note(tool, tool->store, "%s", new_store ? "created" : "is there already");
        if (table != NULL)
            tool_note(tool, tool->store, "table %s %s", table, new_table ? "created" : "is there already");
    }
}

static int dry_run(struct tool *tool, const char *name, const struct wanted *wanted)
{
    struct htstore_options options = { .size = sizeof options, .flags = HTSTORE_READONLY };
    struct htstore_table *table = NULL;
    struct htstore *store;
    struct htstore_error error;
    bool new_table = false;
    int status = STATUS_DONE, result = htstore_open(tool->store, &options, &store, &error);

    if (result == HTSTORE_ENOTFOUND) {
        report(tool, name, true, name != NULL);
        return STATUS_DONE;
    }
    if (result < 0)
        return tool_fail_library(tool, NULL, &error);
    if (name != NULL) {
        result = htstore_table_open(store, name, &wanted->schema, &table, &error);
        new_table = result == HTSTORE_ENOTFOUND;
        if (result < 0 && !new_table)
            status = tool_fail_library(tool, name, &error);
        htstore_table_close(table, NULL);
    }
    if (status == STATUS_DONE)
        report(tool, name, false, new_table);
    return tool_close(tool, store, status);
}

/* Create the store, or open the one that is there. */
static int open_or_create(struct tool *tool, struct htstore **store, bool *is_new)
{
    struct htstore_options options = { .size = sizeof options,
                                       .flags = HTSTORE_CREATE | HTSTORE_EXCLUSIVE | HTSTORE_NO_PRELOAD };
    struct htstore_error error;
    int result = htstore_open(tool->store, &options, store, &error);

    *is_new = result == 0;
    if (result == 0)
        return STATUS_DONE;
    if (result != HTSTORE_EEXIST)
        return tool_fail_library(tool, NULL, &error);
    return tool_open(tool, HTSTORE_NO_PRELOAD, store);
}

static int create(struct tool *tool, const char *name, const struct wanted *wanted)
{
    struct htstore_table *table = NULL;
    struct htstore *store;
    struct htstore_error error;
    bool new_store, new_table = false;
    int status = open_or_create(tool, &store, &new_store);

    if (status != STATUS_DONE)
        return status;
    if (name != NULL) {
        int result = htstore_table_create(store, name, &wanted->schema, &table, &error);

        new_table = result == 0;
        if (result == HTSTORE_EEXIST)
            result = htstore_table_open(store, name, &wanted->schema, &table, &error);
        if (result < 0)
            status = tool_fail_library(tool, name, &error);
        htstore_table_close(table, NULL);
    }
    if (status == STATUS_DONE)
        report(tool, name, new_store, new_table);
    return tool_close(tool, store, status);
}

/* TABLE is a name of the root namespace. */
static int read_name(const struct tool *tool, const char *argument, struct path *path)
{
    int status = path_read(tool, argument, path);

    if (status != STATUS_DONE || (path->n == 1 && !path->ends_with_slash))
        return status;
    return tool_fail_usage(tool, "tables are made with a name, and added to mappings with `htstore link`; a slash "
                                 "inside of a name is typed \\/");
}

static int run(struct tool *tool, void *user, int n, char **arguments)
{
    const struct settings *settings = user;
    struct wanted wanted = { 0 };
    struct path path = { 0 };
    const char *name;
    int status = STATUS_DONE;

    tool->store = arguments[0];
    if (n > 1) {
        status = read_name(tool, arguments[1], &path);
        if (status == STATUS_DONE)
            status = make_schema(tool, settings, &wanted);
    } else if (settings->key != NULL || settings->value != NULL || settings->shape != NULL ||
               settings->default_value != NULL || settings->no_checkpoint) {
        status = tool_fail_usage(tool, "no TABLE is given for these options");
    }
    name = n > 1 && status == STATUS_DONE ? path.names[0] : NULL;
    if (status == STATUS_DONE)
        status = tool->dry_run ? dry_run(tool, name, &wanted) : create(tool, name, &wanted);
    rows_release(&wanted.rows);
    path_release(&path);
    return status;
}

static const struct option_entry options[] = {
    { ID_KEY, 0, "key", "DTYPE", "type of the keys: int8 to int64, uint8 to uint64, bool, float32, float64, string" },
    { ID_VALUE, 0, "value", "DTYPE", "type of the values' elements: as above, or float16, bfloat16" },
    { ID_SHAPE, 0, "shape", "N[,N...]", "shape of a value, up to 7 dimensions; default: one element" },
    { ID_DEFAULT, 0, "default", "V[,V...]",
      "what a lookup gives for an absent key: one element for all, or all\n"
      "elements; default 0, false or the empty string. Strings may hold\n"
      "escapes; in a vector of strings a comma is \\x2c" },
    { ID_NO_CHECKPOINT, 0, "no-checkpoint", NULL, "checkpoints hold only the schema of this table" },
    { 0 },
};

static const uint8_t statuses[] = { STATUS_DONE,    STATUS_FAILED, STATUS_USAGE, STATUS_MISSING, STATUS_CONFLICT,
                                    STATUS_DAMAGED, STATUS_BUSY,   STATUS_TYPE,  STATUS_SPACE,   255 };

const struct command command_init = {
    .name = "init",
    .synopsis = "STORE [TABLE]",
    .summary = "create a store, or a table in it",
    .details = "The store is created if it does not exist. A table that exists with the same types, shape,\n"
               "default and options is left as it is, with status 0; with others the status is 4.",
    .example = "htstore init S words --key=string --value=int64 --default=-1\n"
               "htstore init S emb --key=int64 --value=float32 --shape=50",
    .options = options,
    .takes = OPTIONS_DRY_RUN | OPTIONS_TIMEOUT,
    .statuses = statuses,
    .min_arguments = 1,
    .max_arguments = 2,
    .settings_size = sizeof(struct settings),
    .set = set,
    .run = run,
};
