/* cmd_ls: the tables of a store. */
#include "commands.h"

#include "escape.h"

#include <inttypes.h>
#include <string.h>

enum { ID_LONG = OPTIONS_OWN };

struct settings {
    bool is_long;
};

static int set(struct tool *tool, void *user, int id, const char *value)
{
    struct settings *settings = user;

    (void)tool;
    (void)value;
    if (id == ID_LONG)
        settings->is_long = true;
    return STATUS_DONE;
}

static void write_type(struct buffer *out, const struct htstore_object *object)
{
    struct rows_layout layout = { .key_dtype = object->key_dtype,
                                  .value_dtype = object->value_dtype,
                                  .value_rank = object->value_rank };

    memcpy(layout.value_shape, object->value_shape, sizeof layout.value_shape);
    rows_layout_text(out, &layout);
}

static void write_line(struct buffer *out, const struct htstore_object *object, bool is_long)
{
    escape_name(out, object->name);
    if (is_long) {
        buffer_add(out, '\t');
        write_type(out, object);
        buffer_printf(out, "\t%" PRIu64 " rows\t%" PRIu64 " bytes%s", object->n_rows, object->stored_bytes,
                      (object->flags & HTSTORE_NO_CHECKPOINT) != 0 ? "\tno-checkpoint" : "");
    }
    buffer_add(out, '\n');
}

static void write_json(struct tool *tool, const struct htstore_object *object, uint64_t lsn)
{
    struct json json = { &tool->out.pending, false };
    const char *key = htstore_dtype_name(object->key_dtype), *value = htstore_dtype_name(object->value_dtype);

    json_document(&json);
    json_name(&json, "lsn");
    json_count(&json, lsn);
    json_name(&json, "name");
    json_string(&json, object->name);
    json_name(&json, "kind");
    json_string(&json, "table");
    json_name(&json, "key_dtype");
    json_string(&json, key != NULL ? key : "unknown");
    json_name(&json, "value_dtype");
    json_string(&json, value != NULL ? value : "unknown");
    json_name(&json, "value_shape");
    json_open(&json, '[');
    for (uint32_t i = 0; i < object->value_rank && i < HTSTORE_MAX_RANK; i++)
        json_count(&json, (uint64_t)object->value_shape[i]);
    json_close(&json, ']');
    json_name(&json, "rows");
    json_count(&json, object->n_rows);
    json_name(&json, "bytes");
    json_count(&json, object->stored_bytes);
    json_name(&json, "checkpoint");
    json_bool(&json, (object->flags & HTSTORE_NO_CHECKPOINT) == 0);
    json_close(&json, '}');
    tool_end_json(&tool->out);
}

/* All objects, or the one of that name. */
static int list(struct tool *tool, struct htstore *store, const char *name, bool is_long)
{
    const struct htstore_object *objects;
    struct htstore_arena *arena;
    struct htstore_error error;
    char shown[ESCAPE_SHOWN_SIZE];
    uint64_t n = 0, n_shown = 0, lsn = tool_lsn(store);
    int status = STATUS_DONE;

    if (htstore_arena_new(&arena, &error) < 0)
        return tool_fail_library(tool, NULL, &error);
    if (htstore_list(store, arena, &objects, &n, &error) < 0)
        status = tool_fail_library(tool, NULL, &error);
    for (uint64_t i = 0; status == STATUS_DONE && i < n; i++) {
        if (objects[i].name == NULL || (name != NULL && strcmp(name, objects[i].name) != 0))
            continue;
        n_shown++;
        if (tool->json)
            write_json(tool, &objects[i], lsn);
        else
            write_line(&tool->out.pending, &objects[i], is_long);
    }
    if (status == STATUS_DONE && name != NULL && n_shown == 0)
        status = tool_fail(tool, STATUS_MISSING, tool->store, "no table %s", escape_show(shown, name, strlen(name)));
    if (status == STATUS_DONE && tool->verbose)
        tool_note(tool, tool->store, "as of LSN %" PRIu64, lsn);
    htstore_arena_free(arena);
    return status;
}

static int run(struct tool *tool, void *user, int n, char **arguments)
{
    const struct settings *settings = user;
    struct buffer name = { 0 };
    struct htstore *store;
    int status;

    tool->store = arguments[0];
    if (n > 1) {
        status = tool_table_name(tool, arguments[1], &name);
        if (status != STATUS_DONE)
            return status;
    }
    status = tool_open(tool, HTSTORE_READONLY, &store);
    if (status == STATUS_DONE)
        status = tool_close(tool, store, list(tool, store, n > 1 ? name.data : NULL, settings->is_long));
    buffer_release(&name);
    return status;
}

static const struct option_entry options[] = {
    { ID_LONG, 'l', "long", NULL, "with types, rows and bytes, separated by tabs" },
    { 0 },
};

static const uint8_t statuses[] = { STATUS_DONE,    STATUS_FAILED,  STATUS_USAGE,
                                    STATUS_MISSING, STATUS_DAMAGED, STATUS_BUSY,
                                    STATUS_TYPE,    STATUS_SPACE,   255 };

const struct command command_ls = {
    .name = "ls",
    .synopsis = "STORE [TABLE]",
    .summary = "list the tables of a store",
    .details = "Names are printed as they are typed in TABLE arguments. With --json: a line for each table.\n"
               "Works beside a process that owns the store, and creates nothing; the state is that of the last\n"
               "flush.",
    .example = "htstore ls -l S",
    .options = options,
    .min_arguments = 1,
    .max_arguments = 2,
    .statuses = statuses,
    .settings_size = sizeof(struct settings),
    .set = set,
    .run = run,
};
