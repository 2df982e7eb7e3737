/* cmd_link: adds objects to mappings, and makes the mappings on the way. */
#include "commands.h"

#include "path.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct link {
    struct tool *tool;
    struct htstore *store;
    struct path path; /* where to */
    void *object; /* what */
    void *place; /* the last mapping on the path that exists; NULL: none does */
    size_t depth; /* names of the path up to that mapping */
    size_t n_mappings; /* that must be made */
    bool present; /* the object is there already */
};

static int fail_no_mapping(const struct link *link, size_t n, uint32_t kind)
{
    struct buffer text = { 0 };

    path_write(&text, &link->path, n);
    tool_fail(link->tool, STATUS_CONFLICT, link->tool->store,
              "%s is a %s already: only mappings have entries; choose another PATH", buffer_string(&text),
              path_kind_name(kind));
    buffer_release(&text);
    return STATUS_CONFLICT;
}

/* The key at the end is used. By the same object: there is nothing to do. */
static int meet(struct link *link, void *there, uint32_t kind)
{
    struct buffer text = { 0 };
    bool same = htstore_object_id(there) == htstore_object_id(link->object);
    int status = STATUS_DONE;

    path_write(&text, &link->path, link->path.n);
    if (same)
        link->present = true;
    else
        status = tool_fail(link->tool, STATUS_CONFLICT, link->tool->store,
                           "%s is another object already, a %s: an entry of a mapping never changes",
                           buffer_string(&text), path_kind_name(kind));
    buffer_release(&text);
    return status;
}

/* Follow the path from the mapping `place` as far as it exists. */
static int follow(struct link *link)
{
    while (link->depth < link->path.n) {
        struct htstore_bytes key = path_key(&link->path, link->depth);
        struct htstore_error error;
        void *below = NULL;
        uint32_t kind;
        int status = STATUS_DONE, result = htstore_mapping_get(link->place, &key, &kind, &below, &error);

        if (result < 0)
            return tool_fail_library(link->tool, NULL, &error);
        if (result > 0)
            break;
        if (link->depth + 1 == link->path.n)
            status = meet(link, below, kind);
        else if (kind != HTSTORE_KIND_MAPPING)
            status = fail_no_mapping(link, link->depth + 1, kind);
        if (link->depth + 1 == link->path.n || status != STATUS_DONE) {
            htstore_object_close(below, NULL);
            return status;
        }
        htstore_object_close(link->place, NULL);
        link->place = below;
        link->depth++;
    }
    link->n_mappings = link->path.n - 1 - link->depth;
    return STATUS_DONE;
}

static int find_place(struct link *link)
{
    struct htstore_error error;
    uint32_t kind;
    int result = path_open_root(link->store, link->path.names[0], &kind, &link->place, &error);

    if (result == HTSTORE_ENOTFOUND) {
        link->n_mappings = link->path.n - 1;
        return STATUS_DONE;
    }
    if (result < 0)
        return tool_fail_library(link->tool, link->path.names[0], &error);
    link->depth = 1;
    if (kind != HTSTORE_KIND_MAPPING)
        return fail_no_mapping(link, 1, kind);
    return follow(link);
}

/*
 * Make the missing mappings from the last to the first, each with its entry, then add the first to what exists. Only that
 * last step is seen by others, and by a store that is opened after a crash.
 */
static int add(struct link *link, struct htstore_error *error)
{
    const struct htstore_mapping_schema anonymous = { .size = sizeof anonymous, .flags = HTSTORE_ANONYMOUS };
    const void *object = link->object;
    struct htstore_mapping **made = memory_new(link->n_mappings, sizeof *made);
    size_t n_made = 0, at = link->path.n - 1;
    int result = 0;

    for (; result == 0 && at > link->depth; at--) {
        struct htstore_entry entry = { .key = path_key(&link->path, at), .object = object };
        bool is_root = at == 1 && link->depth == 0;

        result = htstore_mapping_create(link->store, is_root ? link->path.names[0] : NULL, is_root ? NULL : &anonymous,
                                        &entry, 1, &made[n_made], error);
        if (result == 0)
            object = made[n_made++];
    }
    if (result == 0 && link->depth > 0) {
        struct htstore_bytes key = path_key(&link->path, link->depth);

        result = htstore_mapping_put((struct htstore_mapping *)link->place, &key, object, error);
    }
    while (n_made > 0)
        htstore_mapping_close(made[--n_made], NULL);
    free(made);
    return result;
}

static void report_text(const struct link *link, const char *from, const char *to)
{
    struct tool *tool = link->tool;

    if (link->present) {
        if (tool->dry_run)
            buffer_printf(&tool->out.pending, "nothing to do for %s\n", to);
        else if (tool->verbose)
            tool_note(tool, tool->store, "%s is there already", to);
        return;
    }
    if (tool->dry_run) {
        for (size_t i = 0; i < link->n_mappings; i++) {
            buffer_text(&tool->out.pending, "would make mapping ");
            path_write(&tool->out.pending, &link->path, link->path.n - link->n_mappings + i);
            buffer_text(&tool->out.pending, "/\n");
        }
        buffer_printf(&tool->out.pending, "would add %s as %s, which cannot be undone\n", from, to);
        return;
    }
    tool_note(tool, tool->store, "%s is now %s too; this cannot be undone: an entry of a mapping stays for good", from,
              to);
}

static void report(const struct link *link, const char *from)
{
    struct tool *tool = link->tool;
    struct json json = { &tool->out.pending, false };
    struct buffer to = { 0 };

    path_write(&to, &link->path, link->path.n);
    if (!tool->json) {
        report_text(link, from, buffer_string(&to));
    } else {
        json_document(&json);
        json_name(&json, "dry_run");
        json_bool(&json, tool->dry_run);
        json_name(&json, "path");
        json_string(&json, buffer_string(&to));
        json_name(&json, "id");
        json_count(&json, htstore_object_id(link->object));
        json_name(&json, "added");
        json_bool(&json, !link->present);
        json_name(&json, "mappings_created");
        json_count(&json, link->n_mappings);
        json_close(&json, '}');
        tool_end_json(&tool->out);
    }
    buffer_release(&to);
}

static int link_object(struct link *link, const char *from)
{
    struct htstore_error error;
    uint32_t kind;
    int status = path_open_argument(link->tool, link->store, from, &kind, &link->object);

    if (status == STATUS_DONE)
        status = find_place(link);
    if (status == STATUS_DONE && !link->present && !link->tool->dry_run && add(link, &error) < 0)
        status = tool_fail_library(link->tool, NULL, &error);
    if (status == STATUS_DONE)
        report(link, from);
    htstore_object_close(link->place, NULL);
    htstore_object_close(link->object, NULL);
    return status;
}

static int run(struct tool *tool, void *settings, int n, char **arguments)
{
    struct link link = { .tool = tool };
    int status;

    (void)settings;
    (void)n;
    tool->store = arguments[0];
    status = path_read(tool, arguments[2], &link.path);
    if (status == STATUS_DONE && (link.path.n < 2 || link.path.ends_with_slash))
        status = tool_fail_usage(tool, "PATH needs a mapping and a key, such as vocab/en");
    if (status == STATUS_DONE)
        status = tool_open(tool, (tool->dry_run ? HTSTORE_READONLY : 0) | HTSTORE_NO_PRELOAD, &link.store);
    if (status == STATUS_DONE)
        status = tool_close(tool, link.store, link_object(&link, arguments[1]));
    path_release(&link.path);
    return status;
}

static const uint8_t statuses[] = { STATUS_DONE,    STATUS_FAILED, STATUS_USAGE, STATUS_MISSING, STATUS_CONFLICT,
                                    STATUS_DAMAGED, STATUS_BUSY,   STATUS_TYPE,  STATUS_SPACE,   255 };

const struct command command_link = {
    .name = "link",
    .synopsis = "STORE TABLE PATH",
    .summary = "add a table, variable or mapping to a mapping; for good",
    .details = "PATH is a mapping of the root namespace, then keys, joined by slashes; the last one is the new key.\n"
               "Mappings that are missing are made. Mappings are append-only: an entry is never removed and never\n"
               "names another object, and a table in a mapping cannot be dropped. The same object under that key\n"
               "already: nothing to do. Another object: status 4. What the command did is on disk when it ends.",
    .example = "htstore link S words vocab/en\n"
               "htstore get S vocab/en apple",
    .takes = OPTIONS_DRY_RUN | OPTIONS_TIMEOUT,
    .statuses = statuses,
    .min_arguments = 3,
    .max_arguments = 3,
    .run = run,
};
