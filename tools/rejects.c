/* rejects: hides how many reasons are told and the file of refused rows. */
#include "rejects.h"

#include "tool.h"

#include <inttypes.h>

#define MAX_TOLD 10

int rejects_open(struct rejects *rejects)
{
    if (rejects->path == NULL)
        return STATUS_DONE;
    return tool_create_output(rejects->tool, rejects->path, &rejects->output);
}

/* How to go on after the first row too many. */
static const char *advice(const struct rejects *rejects)
{
    if (rejects->limit > 0)
        return "; that is one more than --max-errors allows";
    return rejects->is_dump ? "; give --max-errors=N to pass over such rows"
                            : "; give --rejects=FILE to set such rows aside";
}

int rejects_add(struct rejects *rejects, const struct rejects_row *row)
{
    const struct tool *tool = rejects->tool;

    rejects->count++;
    if (rejects->count > rejects->limit)
        return tool_fail(tool, row->status, rejects->source, "row %" PRIu64 " (line %" PRIu64 "), %s%s", row->row,
                         row->line, row->reason, advice(rejects));
    if (rejects->count <= MAX_TOLD)
        tool_warn(tool, rejects->source, "row %" PRIu64 " (line %" PRIu64 "), %s", row->row, row->line, row->reason);
    if (rejects->path != NULL) {
        buffer_append(&rejects->output.pending, row->raw.data, row->raw.size);
        buffer_add(&rejects->output.pending, '\n');
        output_drain(&rejects->output);
    }
    return STATUS_DONE;
}

int rejects_close(struct rejects *rejects, int status)
{
    uint64_t aside = rejects->count < rejects->limit ? rejects->count : rejects->limit;

    if (aside > MAX_TOLD)
        tool_warn(rejects->tool, rejects->source, "%" PRIu64 " more rows were refused", aside - MAX_TOLD);
    if (rejects->path == NULL)
        return status;
    if (aside > 0)
        tool_note(rejects->tool, rejects->source, "refused rows are in %s", rejects->path);
    return tool_finish_output(rejects->tool, &rejects->output, status);
}
