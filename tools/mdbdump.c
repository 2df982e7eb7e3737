/* mdbdump: hides how objects are found and in which order a store is written. */
#include "mdbdump.h"

#include "dumpschema.h"
#include "dumpwalk.h"
#include "mdbread.h"
#include "mdbwrite.h"
#include "packed.h"
#include "progress.h"
#include "signals.h"
#include "tool.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

bool mdbdump_is_dump(const void *data, size_t size)
{
    return mdbread_is_dump(data, size);
}

struct dumper {
    struct tool *tool;
    struct htstore *store;
    struct output *output;
    struct mdbdump_options *options;
    struct mdbwrite format;
    struct dump_objects objects;
    struct progress progress;
    uint64_t n_done; /* rows, read twice each */
    uint64_t n_bad_keys; /* that LMDB cannot hold */
};

/* ---- finding objects ---- */

static void set_layout(struct rows_layout *layout, const struct htstore_object *described)
{
    layout->key_dtype = described->key_dtype;
    layout->value_dtype = described->value_dtype;
    layout->value_rank = described->value_rank;
    layout->width = 1;
    for (uint32_t i = 0; i < described->value_rank; i++) {
        layout->value_shape[i] = described->value_shape[i];
        layout->width *= (size_t)described->value_shape[i];
    }
    layout->key_size = htstore_dtype_size(layout->key_dtype);
    layout->element_size = htstore_dtype_size(layout->value_dtype);
}

static int add_default(struct dumper *dumper, struct dump_object *object)
{
    struct htstore_schema schema = { .size = sizeof schema };
    struct htstore_error error;

    if (htstore_table_schema(object->handle, &schema, &error) < 0)
        return tool_fail_library(dumper->tool, object->name, &error);
    packed_append(&object->default_value, object->layout.value_dtype, object->layout.width, schema.default_value.data,
                  packed_has_sizes(&object->layout));
    return STATUS_DONE;
}

static int add_entries(struct dumper *dumper, struct dump_object *object, struct htstore_arena *arena)
{
    const struct htstore_item *items;
    struct htstore_error error;
    uint64_t n;

    if (htstore_mapping_items(object->handle, arena, &items, &n, &error) < 0)
        return tool_fail_library(dumper->tool, object->name, &error);
    for (uint64_t i = 0; i < n; i++) {
        struct dump_entry *entry = dumpschema_add_entry(object);

        entry->id = items[i].id;
        buffer_append(&entry->key, items[i].key.data, items[i].key.size);
    }
    return STATUS_DONE;
}

static int add_object(struct dumper *dumper, const struct htstore_object *described, struct htstore_arena *arena)
{
    struct dump_object *object = dumpschema_add(&dumper->objects, described->id);
    struct htstore_error error;

    object->kind = described->kind;
    object->flags = described->flags;
    object->role = described->role;
    if (described->name != NULL)
        object->name = strcpy(memory_resize(NULL, strlen(described->name) + 1, 1), described->name);
    if (htstore_object_open(dumper->store, object->id, NULL, &object->handle, &error) < 0)
        return tool_fail_library(dumper->tool, object->name, &error);
    if (object->kind == HTSTORE_KIND_MAPPING)
        return add_entries(dumper, object, arena);
    set_layout(&object->layout, described);
    object->section = dumpschema_section_name(object->kind, object->id, object->name);
    return object->kind == HTSTORE_KIND_TABLE ? add_default(dumper, object) : STATUS_DONE;
}

/* The objects that an object leads to and that are not yet known; they are put on the stack. */
static int add_children(struct dumper *dumper, uint64_t id, struct buffer *stack, struct htstore_arena *arena)
{
    size_t n = dumpschema_find(&dumper->objects, id)->n_entries;
    int status = STATUS_DONE;

    for (size_t i = 0; i < n && status == STATUS_DONE; i++) {
        uint64_t child = dumpschema_find(&dumper->objects, id)->entries[i].id;
        struct htstore_object described;
        struct htstore_error error;

        if (dumpschema_find(&dumper->objects, child) != NULL)
            continue;
        if (htstore_describe(dumper->store, child, arena, &described, &error) < 0)
            return tool_fail_library(dumper->tool, NULL, &error);
        status = add_object(dumper, &described, arena);
        buffer_append(stack, &child, sizeof child);
    }
    return status;
}

/* All named objects, and what is reached from them. */
static int find_objects(struct dumper *dumper, struct htstore_arena *arena)
{
    const struct htstore_object *list;
    struct htstore_error error;
    struct buffer stack = { 0 };
    uint64_t n, id;
    int status = STATUS_DONE;

    if (htstore_list(dumper->store, arena, &list, &n, &error) < 0)
        return tool_fail_library(dumper->tool, NULL, &error);
    for (uint64_t i = 0; i < n && status == STATUS_DONE; i++) {
        status = add_object(dumper, &list[i], arena);
        buffer_append(&stack, &list[i].id, sizeof list[i].id);
    }
    while (status == STATUS_DONE && stack.size > 0) {
        stack.size -= sizeof id;
        memcpy(&id, stack.data + stack.size, sizeof id);
        status = add_children(dumper, id, &stack, arena);
    }
    buffer_release(&stack);
    return status;
}

/* ---- rows ---- */

/* What is summed up, and where rows go. */
struct pass {
    struct dumper *dumper;
    struct digest digest;
    uint64_t n_rows;
    bool is_writing;
};

static int take_row(void *user, const struct htstore_bytes *key, const struct htstore_bytes *value, bool sized)
{
    struct pass *pass = user;
    struct dumper *dumper = pass->dumper;

    digest_add(&pass->digest, key, value, sized);
    pass->n_rows++;
    dumper->n_done++;
    progress_update(&dumper->progress, dumper->n_done, dumper->n_done);
    if (!pass->is_writing)
        return STATUS_DONE;
    if (key->size == 0 || key->size > MDBWRITE_MAX_KEY_SIZE)
        dumper->n_bad_keys++;
    mdbwrite_bytes(&dumper->output->pending, key->data, key->size);
    mdbwrite_bytes(&dumper->output->pending, value->data, value->size);
    return output_drain(dumper->output) != 0 ? STATUS_FAILED : STATUS_DONE; /* said when the output is closed */
}

/* The first pass: what the record of each object says of its rows. */
static int count_rows(struct dumper *dumper)
{
    for (size_t i = 0; i < dumper->objects.n; i++) {
        struct dump_object *object = dumper->objects.list[i];
        struct pass pass = { .dumper = dumper };
        int status;

        if (object->section == NULL)
            continue;
        status = dumpwalk_run(dumper->tool, object, take_row, &pass);
        if (status != STATUS_DONE)
            return status;
        object->n_rows = pass.n_rows;
        object->digest = pass.digest;
        dumper->options->n_rows += pass.n_rows;
    }
    return STATUS_DONE;
}

static int write_section(struct dumper *dumper, const struct dump_object *object)
{
    struct pass pass = { .dumper = dumper, .is_writing = true };
    char shown[400];
    int status;

    mdbwrite_begin(&dumper->output->pending, &dumper->format, object->section);
    status = dumpwalk_run(dumper->tool, object, take_row, &pass);
    if (status != STATUS_DONE)
        return status;
    if (pass.n_rows != object->n_rows || !digest_equal(&pass.digest, &object->digest))
        return tool_fail(dumper->tool, STATUS_DAMAGED, dumper->tool->store, "%s: its rows differ when read twice",
                         dumpschema_show(object, shown));
    mdbwrite_end(&dumper->output->pending);
    return STATUS_DONE;
}

/* The second pass: all sections, that of the records first. */
static int write_sections(struct dumper *dumper)
{
    int status = STATUS_DONE;

    mdbwrite_begin(&dumper->output->pending, &dumper->format, DUMPSCHEMA_SECTION);
    dumpschema_write(&dumper->output->pending, &dumper->objects);
    mdbwrite_end(&dumper->output->pending);
    for (size_t i = 0; i < dumper->objects.n && status == STATUS_DONE; i++) {
        if (dumper->objects.list[i]->section != NULL)
            status = write_section(dumper, dumper->objects.list[i]);
    }
    return status;
}

/* ---- the whole dump ---- */

static int read_stats(struct dumper *dumper, uint64_t *n_rows)
{
    struct htstore_stats stats = { .size = sizeof stats };
    struct htstore_error error;

    if (htstore_stats(dumper->store, &stats, &error) < 0)
        return tool_fail_library(dumper->tool, NULL, &error);
    if (stats.readonly == 0)
        return tool_fail(dumper->tool, STATUS_FAILED, dumper->tool->store,
                         "a store that is being written cannot be dumped as text: it has no one instant");
    dumper->objects.lsn = stats.applied_lsn;
    memcpy(dumper->objects.store_id, stats.store_id, sizeof stats.store_id);
    dumper->format.map_size = mdbwrite_map_size(stats.data_bytes);
    dumper->format.is_bdb = dumper->options->is_bdb;
    *n_rows = stats.n_rows;
    return STATUS_DONE;
}

static int end_dump(struct dumper *dumper, int status)
{
    struct tool *tool = dumper->tool;

    if (status == STATUS_INTERRUPTED) {
        tool->signal = signals_caught();
        return tool_fail(tool, status, tool->store, "interrupted; the store is as before, and the dump is not whole");
    }
    if (status == STATUS_DONE && dumper->n_bad_keys > 0)
        tool_warn(tool, tool->store,
                  "%" PRIu64
                  " keys are empty or longer than 511 bytes: `htstore restore` reads them, mdb_load stops there",
                  dumper->n_bad_keys);
    return dumper->output->error != 0 ? STATUS_DONE : status;
}

int mdbdump_write_store(struct tool *tool, struct htstore *store, struct output *output,
                        struct mdbdump_options *options)
{
    struct dumper dumper = { .tool = tool, .store = store, .output = output, .options = options };
    struct htstore_arena *arena;
    struct htstore_error error;
    uint64_t n_rows = 0;
    int status;

    options->n_rows = options->n_objects = 0;
    if (htstore_arena_new(&arena, &error) < 0)
        return tool_fail_library(tool, NULL, &error);
    signals_catch();
    status = read_stats(&dumper, &n_rows);
    if (status == STATUS_DONE)
        status = find_objects(&dumper, arena);
    progress_start(&dumper.progress, tool, 2 * n_rows);
    if (status == STATUS_DONE)
        status = count_rows(&dumper);
    if (status == STATUS_DONE)
        status = write_sections(&dumper);
    progress_end(&dumper.progress);
    options->n_objects = dumper.objects.n;
    for (size_t i = 0; i < dumper.objects.n; i++)
        (void)htstore_object_close(dumper.objects.list[i]->handle, NULL);
    dumpschema_release(&dumper.objects);
    htstore_arena_free(arena);
    return end_dump(&dumper, status);
}
