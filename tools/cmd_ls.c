/* cmd_ls: the objects of a store: tables, variables, mappings. */
#include "commands.h"

#include "object.h"
#include "path.h"
#include "tree.h"

#include <inttypes.h>
#include <string.h>

enum { ID_LONG = OPTIONS_OWN, ID_RECURSIVE };

struct settings {
    bool is_long, recursive;
};

static int set(struct tool *tool, void *user, int id, const char *value)
{
    struct settings *settings = user;

    (void)tool;
    (void)value;
    if (id == ID_LONG)
        settings->is_long = true;
    else
        settings->recursive = true;
    return STATUS_DONE;
}

struct listing {
    struct tool *tool;
    const struct settings *settings;
    uint64_t lsn;
};

static void write_line(const struct listing *listing, const struct tree_node *node)
{
    const struct htstore_object *object = node->object;
    struct buffer *out = &listing->tool->out.pending;

    buffer_text(out, node->path);
    if (object->kind == HTSTORE_KIND_MAPPING)
        buffer_add(out, '/');
    if (listing->settings->is_long) {
        buffer_add(out, '\t');
        object_type_text(out, object);
        buffer_add(out, '\t');
        object_count_text(out, object);
        if (object->kind != HTSTORE_KIND_MAPPING)
            buffer_printf(out, "\t%" PRIu64 " bytes", object->stored_bytes);
        if (object->kind == HTSTORE_KIND_TABLE && (object->flags & HTSTORE_NO_CHECKPOINT) != 0)
            buffer_text(out, "\tno-checkpoint");
    }
    if (node->same_as != NULL)
        buffer_printf(out, "\tsee %s/", node->same_as);
    buffer_add(out, '\n');
}

static void write_json(const struct listing *listing, const struct tree_node *node)
{
    const struct htstore_object *object = node->object;
    struct json json = { &listing->tool->out.pending, false };

    json_document(&json);
    json_name(&json, "lsn");
    json_count(&json, listing->lsn);
    if (object->name != NULL) {
        json_name(&json, "name");
        json_string(&json, object->name);
    }
    json_name(&json, "path");
    json_string(&json, node->path);
    json_name(&json, "names");
    json_open(&json, '[');
    for (size_t i = 0; i < node->n_names; i++)
        json_string(&json, node->names[i]);
    json_close(&json, ']');
    json_name(&json, "id");
    json_count(&json, object->id);
    object_json(&json, object);
    if (node->same_as != NULL) {
        json_name(&json, "same_as");
        json_string(&json, node->same_as);
    }
    json_close(&json, '}');
    tool_end_json(&listing->tool->out);
}

static int write_node(void *user, const struct tree_node *node)
{
    const struct listing *listing = user;

    if (listing->tool->json)
        write_json(listing, node);
    else
        write_line(listing, node);
    return output_drain(&listing->tool->out); /* said when stdout is closed */
}

static int run(struct tool *tool, void *user, int n, char **arguments)
{
    struct listing listing = { .tool = tool, .settings = user };
    struct path path = { 0 };
    struct htstore *store;
    int status = STATUS_DONE;

    tool->store = arguments[0];
    if (n > 1)
        status = path_read(tool, arguments[1], &path);
    if (status == STATUS_DONE)
        status = tool_open(tool, HTSTORE_READONLY | HTSTORE_NO_PRELOAD, &store);
    if (status == STATUS_DONE) {
        listing.lsn = tool_lsn(store);
        status = tree_walk(tool, store, n > 1 ? &path : NULL, listing.settings->recursive, write_node, &listing);
        if (status == STATUS_DONE && tool->verbose)
            tool_note(tool, tool->store, "as of LSN %" PRIu64, listing.lsn);
        status = tool_close(tool, store, status);
    }
    path_release(&path);
    return status;
}

static const struct option_entry options[] = {
    { ID_LONG, 'l', "long", NULL, "with types, counts and bytes, separated by tabs" },
    { ID_RECURSIVE, 'R', "recursive", NULL, "also what is in mappings, and in mappings in those" },
    { 0 },
};

static const uint8_t statuses[] = { STATUS_DONE,    STATUS_FAILED,  STATUS_USAGE,
                                    STATUS_MISSING, STATUS_DAMAGED, STATUS_BUSY,
                                    STATUS_TYPE,    STATUS_SPACE,   255 };

const struct command command_ls = {
    .name = "ls",
    .synopsis = "STORE [PATH]",
    .summary = "list tables, variables and mappings",
    .details =
        "Without PATH: the objects of the root namespace. With the PATH of a mapping: its entries, in the order\n"
        "in which they were added. A path is printed as it is typed in an argument; that of a mapping ends with\n"
        "a slash. With -R a mapping that was listed before is not entered again: `see` tells where it was.\n"
        "With --json: a line for each object. Works beside a process that owns the store, and creates nothing;\n"
        "the state is that of the last flush.",
    .example = "htstore ls -l S\n"
               "htstore ls -R S vocab",
    .options = options,
    .min_arguments = 1,
    .max_arguments = 2,
    .statuses = statuses,
    .settings_size = sizeof(struct settings),
    .set = set,
    .run = run,
};
