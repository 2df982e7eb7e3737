/* cmd_recover: writes what is readable of a damaged store into a new one. */
#include "commands.h"

#include <inttypes.h>

static void write_report(struct tool *tool, const struct htstore_recovery *report, bool whole)
{
    const struct {
        const char *name, *text;
        uint64_t value;
    } lines[] = {
        { "tables", "tables written", report->n_tables },
        { "rows", "rows written", report->n_rows },
        { "variables", "variables written", report->n_variables },
        { "mappings", "mappings written", report->n_mappings },
        { "entries", "entries written", report->n_entries },
        { "records", "journal records applied", report->n_records },
        { "lost_tables", "objects lost", report->n_lost_tables },
        { "lost_entries", "entries lost", report->n_lost_entries },
        { "damaged_tables", "objects with losses", report->n_damaged_tables },
        { "damaged_pages", "damaged pages", report->n_damaged_pages },
        { "damaged_rows", "damaged rows", report->n_damaged_rows },
        { "lost_records", "journal records lost", report->n_lost_records },
    };
    struct json json = { &tool->out.pending, false };

    if (tool->json) {
        json_document(&json);
        json_name(&json, "whole");
        json_bool(&json, whole);
    }
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (tool->json) {
            json_name(&json, lines[i].name);
            json_count(&json, lines[i].value);
        } else {
            buffer_printf(&tool->out.pending, "%-24s %" PRIu64 "\n", lines[i].text, lines[i].value);
        }
    }
    if (tool->json) {
        json_close(&json, '}');
        tool_end_json(&tool->out);
    } else {
        buffer_text(&tool->out.pending, whole ? "everything was readable\n" : "with losses: see the warnings\n");
    }
}

static int set(struct tool *tool, void *settings, int id, const char *value)
{
    const char **target = settings;

    (void)tool;
    (void)id;
    *target = value;
    return STATUS_DONE;
}

static int run(struct tool *tool, void *settings, int n, char **arguments)
{
    const char *const *target = settings;
    struct htstore_options options = { .size = sizeof options };
    struct htstore_recovery report = { .size = sizeof report };
    struct htstore_error error;
    int result;

    (void)n;
    tool->store = arguments[0];
    if (*target == NULL)
        return tool_fail_usage(tool, "-o NEW is missing: where the readable part is written");
    options.log = tool_log;
    options.log_user = tool;
    result = htstore_recover(tool->store, *target, &options, &report, &error);
    if (result < 0)
        return tool_fail_library(tool, NULL, &error);
    write_report(tool, &report, result == 0);
    return result == 0 ? STATUS_DONE : STATUS_WARNINGS;
}

static const struct option_entry own_options[] = {
    { OPTIONS_OWN, 'o', "output", "NEW", "the new store; it must not exist" },
    { 0 },
};

static const uint8_t statuses[] = { STATUS_DONE,     STATUS_FAILED,   STATUS_USAGE, STATUS_MISSING,
                                    STATUS_CONFLICT, STATUS_DAMAGED,  STATUS_BUSY,  STATUS_TYPE,
                                    STATUS_SPACE,    STATUS_WARNINGS, 255 };

const struct command command_recover = {
    .name = "recover",
    .synopsis = "-o NEW STORE",
    .summary = "write what is readable of a damaged store into a new one",
    .details = "STORE is never changed, and nobody may own it meanwhile. NEW must not exist. Every loss is a line on\n"
               "stderr; the status is then 10.",
    .example = "htstore recover S -o S.new",
    .options = own_options,
    .statuses = statuses,
    .min_arguments = 1,
    .max_arguments = 1,
    .settings_size = sizeof(const char *),
    .set = set,
    .run = run,
};
