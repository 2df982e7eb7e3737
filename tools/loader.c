/* loader: hides batches: reading them, deciding about their rows, writing them, and going on after an interruption. */
#include "loader.h"

#include "escape.h"
#include "fetch.h"
#include "lines.h"
#include "progress.h"
#include "rejects.h"
#include "signals.h"
#include "tool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct counts {
    uint64_t read, inserted, replaced, kept, equal;
};

struct loader {
    struct tool *tool;
    const struct loader_settings *settings;
    struct htstore *store;
    struct htstore_table *table;
    const struct rows_layout *layout;
    bool in_one_step; /* all rows are one batch */
    struct reader reader;
    struct fetch old;
    struct merge merge;
    struct rejects rejects;
    struct counts counts;
    uint64_t done_row; /* all input rows up to this one are in the table, or were refused or skipped */
    struct progress progress;
};

/* ---- deciding ---- */

static void explain_conflict(const struct loader *load, size_t at, const void *present, struct buffer *reason)
{
    const struct rows_layout *layout = load->layout;

    buffer_text(reason, "key ");
    rows_show_element(reason, layout->key_dtype, rows_key(&load->reader.rows, at));
    buffer_text(reason, " has another value already");
    if (layout->value_rank > 0)
        return;
    buffer_text(reason, ": ");
    rows_show_element(reason, layout->value_dtype, present);
    buffer_text(reason, ", not ");
    rows_show_element(reason, layout->value_dtype, rows_value(&load->reader.rows, at));
}

/* A refused row. Returns 0, or `status` when it ends the import. */
static int refuse(struct loader *load, const struct reader_entry *entry, int status, const char *reason)
{
    struct rejects_row row = { entry->row, entry->line, reason, status, reader_raw(&load->reader, entry) };

    return rejects_add(&load->rejects, &row);
}

/* One row. Returns 0, or the status that ends the import. */
static int decide_row(struct loader *load, const struct reader_entry *entry)
{
    struct buffer reason = { 0 };
    const void *present;
    int status;

    load->counts.read++;
    if (entry->at == READER_NO_ROW)
        return refuse(load, entry, STATUS_TYPE, entry->reason);
    switch (merge_row(&load->merge, entry->at, &present)) {
    case MERGE_INSERTED:
        load->counts.inserted++;
        return STATUS_DONE;
    case MERGE_REPLACED:
        load->counts.replaced++;
        return STATUS_DONE;
    case MERGE_KEPT:
        load->counts.kept++;
        return STATUS_DONE;
    case MERGE_EQUAL:
        load->counts.equal++;
        return STATUS_DONE;
    case MERGE_CONFLICT:
    default:
        explain_conflict(load, entry->at, present, &reason);
        status = refuse(load, entry, STATUS_CONFLICT, buffer_string(&reason));
        buffer_release(&reason);
        return status;
    }
}

/* ---- writing ---- */

static int fail_batch(const struct loader *load, const struct htstore_error *error)
{
    int status = tool_fail_library(load->tool, load->tool->table, error);

    if (load->reader.n_entries > 0)
        tool_fail(load->tool, status, load->settings->reader.source,
                  "the batch of rows %" PRIu64 " to %" PRIu64 " was refused", load->reader.entries[0].row,
                  load->reader.entries[load->reader.n_entries - 1].row);
    return status;
}

static int write_batch(struct loader *load)
{
    const struct rows *out = &load->merge.out;
    struct htstore_array keys = rows_keys(out), values = rows_values(out);
    struct htstore_error error;
    int result = 0;

    if (load->tool->dry_run)
        return STATUS_DONE;
    if (load->settings->replace_all)
        result = htstore_table_import(load->table, &keys, &values, load->settings->durability, &error);
    else if (out->n > 0)
        result = htstore_table_insert(load->table, &keys, &values, load->settings->durability, &error);
    return result < 0 ? fail_batch(load, &error) : STATUS_DONE;
}

/* The number of input rows that are in, for whoever waits for it: one write(2) a line. */
static int acknowledge(const struct loader *load)
{
    struct buffer line = { 0 };
    int status = STATUS_DONE;

    if (load->settings->ack_fd < 0)
        return STATUS_DONE;
    buffer_printf(&line, "%" PRIu64 "\n", load->done_row);
    if (write(load->settings->ack_fd, line.data, line.size) != (ssize_t)line.size)
        status = tool_fail(load->tool, STATUS_FAILED, NULL, "cannot write to descriptor %d of --ack-fd: %s",
                           load->settings->ack_fd, strerror(errno));
    buffer_release(&line);
    return status;
}

/*
 * The batch that was read. A row that ends the import ends the batch too: what stands before it is written, so that
 * --skip-rows can go on exactly there.
 */
static int apply_batch(struct loader *load)
{
    bool fresh = load->settings->replace_all;
    struct counts before = load->counts;
    struct htstore_error error;
    uint64_t done_row = load->done_row;
    int ending = STATUS_DONE, status;

    if (!fresh && load->reader.rows.n > 0 && fetch_run(&load->old, load->table, &load->reader.rows, &error) < 0)
        return fail_batch(load, &error);
    merge_start(&load->merge, &load->reader.rows, fresh || load->reader.rows.n == 0 ? NULL : &load->old);
    for (size_t i = 0; i < load->reader.n_entries && ending == STATUS_DONE; i++) {
        ending = decide_row(load, &load->reader.entries[i]);
        if (ending == STATUS_DONE)
            done_row = load->reader.entries[i].row;
    }
    if (ending != STATUS_DONE && load->in_one_step)
        return ending;
    status = write_batch(load);
    if (status != STATUS_DONE) {
        load->counts = before;
        return status;
    }
    load->done_row = done_row;
    status = load->reader.n_entries > 0 ? acknowledge(load) : STATUS_DONE;
    return ending != STATUS_DONE ? ending : status;
}

/* ---- the whole import ---- */

/* What is wrong with the text of a dump. */
static int fail_dump(const struct loader *load)
{
    const struct mdbrows *mdb = &load->reader.mdb;
    const char *source = load->settings->reader.source;

    if (mdb->is_missing)
        return tool_fail(load->tool, STATUS_MISSING, source, "%s", mdb->read.why.data);
    return tool_fail(load->tool, load->reader.result == LINES_DAMAGED ? STATUS_DAMAGED : STATUS_TYPE, source,
                     "line %" PRIu64 ": %s", load->reader.lines.number, mdb->read.why.data);
}

static int fail_input(const struct loader *load)
{
    const char *source = load->settings->reader.source;

    if (load->reader.result == LINES_DAMAGED || load->reader.result == LINES_UNSUPPORTED)
        return fail_dump(load);
    if (load->reader.result == LINES_TOO_LONG)
        return tool_fail(load->tool, STATUS_TYPE, source, "line %" PRIu64 " is longer than 1 GiB",
                         load->reader.lines.number + 1);
    return tool_fail(load->tool, status_from_errno(load->reader.lines.error), source, "cannot read it: %s",
                     strerror(load->reader.lines.error));
}

static int run_batches(struct loader *load)
{
    int status;

    do {
        reader_next(&load->reader);
        if (load->reader.result == LINES_INTERRUPTED)
            return STATUS_INTERRUPTED; /* a batch that is read in part is not applied */
        if (load->in_one_step && load->reader.result != LINES_END)
            return fail_input(load);
        if (load->reader.n_entries > 0 || load->in_one_step) {
            status = apply_batch(load);
            if (status != STATUS_DONE)
                return status;
        }
        progress_update(&load->progress, load->reader.row, load->reader.lines.consumed);
        if (signals_caught() != 0)
            return STATUS_INTERRUPTED;
    } while (load->reader.result == LINES_LINE);
    return load->reader.result == LINES_END ? STATUS_DONE : fail_input(load);
}

static int make_durable(struct loader *load, int status)
{
    struct htstore_error error;

    if (load->tool->dry_run || htstore_flush(load->store, &error) == 0)
        return status;
    if (status == STATUS_DONE)
        return tool_fail_library(load->tool, NULL, &error);
    tool_fail_library(load->tool, NULL, &error);
    return status;
}

/* After an import that ended early: what is in, and how to go on. */
static void tell_where_it_ended(const struct loader *load, int status)
{
    const char *why = status == STATUS_INTERRUPTED ? "interrupted" : "the import ended early";
    struct buffer text = { 0 };

    buffer_printf(&text, "%s: ", why);
    if (load->done_row > load->settings->reader.skip_rows)
        buffer_printf(&text, "rows up to %" PRIu64 " are in table ", load->done_row);
    else
        buffer_text(&text, "nothing changed in table ");
    buffer_text(&text, load->tool->table);
    if (load->done_row > 0)
        buffer_printf(&text, "; go on with --skip-rows=%" PRIu64, load->done_row);
    tool_fail(load->tool, status, load->settings->reader.source, "%s", buffer_string(&text));
    buffer_release(&text);
}

static void summarise_json(struct loader *load)
{
    const struct counts *counts = &load->counts;
    struct json json = { &load->tool->out.pending, false };
    const char *const names[] = { "read", "inserted", "replaced", "kept", "equal", "rejected", "rows_done" };
    const uint64_t values[] = { counts->read,  counts->inserted,    counts->replaced, counts->kept,
                                counts->equal, load->rejects.count, load->done_row };

    json_document(&json);
    json_name(&json, "dry_run");
    json_bool(&json, load->tool->dry_run);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        json_name(&json, names[i]);
        json_count(&json, values[i]);
    }
    json_close(&json, '}');
    tool_end_json(&load->tool->out);
}

static void summarise(struct loader *load)
{
    const struct counts *counts = &load->counts;
    struct buffer line = { 0 };

    if (load->tool->json) {
        summarise_json(load);
        return;
    }
    buffer_printf(&line,
                  "read %" PRIu64 ", inserted %" PRIu64 ", replaced %" PRIu64 ", kept %" PRIu64 ", equal %" PRIu64
                  ", rejected %" PRIu64,
                  counts->read, counts->inserted, counts->replaced, counts->kept, counts->equal, load->rejects.count);
    tool_say(load->tool, &line);
}

static void release(struct loader *load)
{
    reader_close(&load->reader);
    fetch_release(&load->old);
    merge_release(&load->merge);
}

static void warn_of_dump(const struct loader *load)
{
    const struct mdbrows *mdb = &load->reader.mdb;

    if (load->settings->reader.mdb == NULL)
        return;
    if (mdb->read.is_ambiguous)
        tool_warn(load->tool, load->settings->reader.source, "%s", MDBREAD_AMBIGUOUS);
    if (mdb->has_more)
        tool_warn(load->tool, load->settings->reader.source,
                  "only the first section was read; --database=NAME picks another");
}

/* All batches, then what is to be said of them. */
static int import_rows(struct loader *load)
{
    struct tool *tool = load->tool;
    int status;

    signals_catch();
    progress_start(&load->progress, tool, load->reader.lines.total);
    load->reader.progress = &load->progress;
    status = make_durable(load, run_batches(load));
    progress_end(&load->progress);
    warn_of_dump(load);
    if (status == STATUS_INTERRUPTED)
        tool->signal = signals_caught();
    if (status == STATUS_DONE && load->rejects.count > 0)
        status = STATUS_WARNINGS;
    if (status != STATUS_DONE && status != STATUS_WARNINGS)
        tell_where_it_ended(load, status);
    status = rejects_close(&load->rejects, status);
    summarise(load);
    return status;
}

int loader_run(struct tool *tool, const struct loader_settings *settings, struct htstore *store,
               struct htstore_table *table, const struct rows_layout *layout)
{
    struct loader load = { .tool = tool, .settings = settings, .store = store, .table = table, .layout = layout };
    int status;

    load.in_one_step = settings->reader.batch_rows == UINT64_MAX;
    load.done_row = settings->reader.skip_rows;
    load.merge.policy = settings->policy;
    load.rejects.tool = tool;
    load.rejects.source = settings->reader.source;
    load.rejects.path = settings->rejects_path;
    load.rejects.is_dump = settings->reader.mdb != NULL;
    load.rejects.limit = settings->max_errors;
    status = rejects_open(&load.rejects);
    if (status != STATUS_DONE)
        return status;
    reader_open(&load.reader, &settings->reader, layout);
    status = import_rows(&load);
    release(&load);
    return status;
}
