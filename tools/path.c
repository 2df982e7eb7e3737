/* path: hides how names are told apart in an argument, and how objects are opened one below the other. */
#include "path.h"

#include "escape.h"
#include "tool.h"

#include <stdlib.h>
#include <string.h>

int path_read(const struct tool *tool, const char *argument, struct path *path)
{
    const char *at = argument;
    char shown[ESCAPE_SHOWN_SIZE];

    memset(path, 0, sizeof *path);
    for (;;) {
        struct buffer name = { 0 };
        size_t length;

        buffer_string(&name);
        if (escape_read_name(at, &name, &length) != 0) {
            buffer_release(&name);
            return tool_fail(tool, STATUS_USAGE, tool->store,
                             "%s is no name: a slash inside of a name is typed \\/, a backslash \\\\, "
                             "the empty key of a mapping \\e, and a name has no NUL",
                             escape_show(shown, argument, strlen(argument)));
        }
        buffer_string(&name);
        path->names = memory_resize(path->names, path->n + 1, sizeof *path->names);
        path->names[path->n++] = name.data;
        at += length;
        if (strcmp(at, "/") == 0)
            path->ends_with_slash = true;
        if (at[0] == '\0' || path->ends_with_slash)
            return STATUS_DONE;
        at++;
    }
}

void path_release(struct path *path)
{
    for (size_t i = 0; i < path->n; i++)
        free(path->names[i]);
    free(path->names);
    memset(path, 0, sizeof *path);
}

void path_write(struct buffer *text, const struct path *path, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buffer_add(text, '/');
        escape_name(text, path->names[i]);
    }
}

struct htstore_bytes path_key(const struct path *path, size_t i)
{
    return htstore_string(path->names[i]);
}

const char *path_kind_name(uint32_t kind)
{
    switch (kind) {
    case HTSTORE_KIND_TABLE:
        return "table";
    case HTSTORE_KIND_VARIABLE:
        return "variable";
    case HTSTORE_KIND_MAPPING:
        return "mapping";
    default:
        return "unknown";
    }
}

int path_open_root(struct htstore *store, const char *name, uint32_t *kind, void **object, struct htstore_error *error)
{
    struct htstore_variable *variable = NULL;
    struct htstore_mapping *mapping = NULL;
    struct htstore_table *table = NULL;
    int result = htstore_table_open(store, name, NULL, &table, error);

    *kind = HTSTORE_KIND_TABLE;
    *object = table;
    if (result == HTSTORE_ECONFLICT) {
        result = htstore_mapping_open(store, name, NULL, &mapping, error);
        *kind = HTSTORE_KIND_MAPPING;
        *object = mapping;
    }
    if (result == HTSTORE_ECONFLICT) {
        result = htstore_variable_open(store, name, NULL, &variable, error);
        *kind = HTSTORE_KIND_VARIABLE;
        *object = variable;
    }
    return result;
}

/* The first n names are something else than a mapping, so there is nothing below. */
static int fail_below(const struct tool *tool, const struct path *path, size_t n, uint32_t kind)
{
    struct buffer text = { 0 };

    path_write(&text, path, n);
    tool_fail(tool, STATUS_MISSING, tool->store, "%s is a %s: there is nothing below it", buffer_string(&text),
              path_kind_name(kind));
    buffer_release(&text);
    return STATUS_MISSING;
}

static int fail_absent(const struct tool *tool, const struct path *path, size_t n)
{
    char shown[ESCAPE_SHOWN_SIZE];
    struct buffer text = { 0 };

    path_write(&text, path, n);
    tool_fail(tool, STATUS_MISSING, tool->store, "mapping %s has no key %s; `htstore ls` lists what it has",
              buffer_string(&text), escape_show(shown, path->names[n], strlen(path->names[n])));
    buffer_release(&text);
    return STATUS_MISSING;
}

/* Go from the object under the first n names to the one below. */
static int descend(const struct tool *tool, const struct path *path, size_t n, uint32_t *kind, void **object)
{
    struct htstore_bytes key = path_key(path, n);
    struct htstore_error error;
    void *below = NULL;
    int result, status = STATUS_DONE;

    if (*kind != HTSTORE_KIND_MAPPING)
        return fail_below(tool, path, n, *kind);
    result = htstore_mapping_get(*object, &key, kind, &below, &error);
    if (result < 0)
        status = tool_fail_library(tool, path->names[n], &error);
    else if (result > 0)
        status = fail_absent(tool, path, n);
    if (status != STATUS_DONE)
        return status;
    htstore_object_close(*object, NULL);
    *object = below;
    return STATUS_DONE;
}

int path_open(const struct tool *tool, struct htstore *store, const struct path *path, uint32_t *kind, void **object)
{
    char shown[ESCAPE_SHOWN_SIZE];
    struct htstore_error error;
    int status = STATUS_DONE;

    int result = path_open_root(store, path->names[0], kind, object, &error);

    if (result == HTSTORE_ENOTFOUND)
        return tool_fail(tool, STATUS_MISSING, tool->store,
                         "there is no %s; `htstore ls` lists what there is, `htstore init` makes tables",
                         escape_show(shown, path->names[0], strlen(path->names[0])));
    if (result < 0)
        return tool_fail_library(tool, path->names[0], &error);
    for (size_t n = 1; status == STATUS_DONE && n < path->n; n++)
        status = descend(tool, path, n, kind, object);
    if (status == STATUS_DONE && path->ends_with_slash && *kind != HTSTORE_KIND_MAPPING)
        status = fail_below(tool, path, path->n, *kind);
    if (status != STATUS_DONE) {
        htstore_object_close(*object, NULL);
        *object = NULL;
    }
    return status;
}

int path_open_argument(const struct tool *tool, struct htstore *store, const char *argument, uint32_t *kind,
                       void **object)
{
    struct path path;
    int status = path_read(tool, argument, &path);

    *object = NULL;
    if (status == STATUS_DONE)
        status = path_open(tool, store, &path, kind, object);
    path_release(&path);
    return status;
}

int path_open_table(struct tool *tool, struct htstore *store, const char *argument, struct htstore_table **table,
                    struct rows_layout *layout)
{
    struct htstore_schema schema = { .size = sizeof schema };
    char shown[ESCAPE_SHOWN_SIZE];
    struct htstore_error error;
    void *object = NULL;
    uint32_t kind;
    int status = path_open_argument(tool, store, argument, &kind, &object);

    if (status != STATUS_DONE)
        return status;
    tool->table = argument;
    if (kind != HTSTORE_KIND_TABLE)
        status = tool_fail(tool, STATUS_TYPE, tool->store, "%s is a %s, not a table",
                           escape_show(shown, argument, strlen(argument)), path_kind_name(kind));
    else if (htstore_table_schema(object, &schema, &error) < 0)
        status = tool_fail_library(tool, argument, &error);
    else if (layout != NULL)
        rows_layout_of_schema(layout, &schema);
    if (status != STATUS_DONE)
        htstore_object_close(object, NULL);
    else
        *table = object;
    return status;
}
