/* tool: hides how commands open stores, ask questions and finish their output. */
#include "tool.h"

#include "escape.h"
#include "number.h"
#include "progress.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- questions ---- */

int tool_confirm(const struct tool *tool, const char *question, const char *otherwise)
{
    char answer[16] = "";

    if (tool->yes)
        return STATUS_DONE;
    if (tool->quiet || tool->json || isatty(STDIN_FILENO) != 1 || isatty(STDERR_FILENO) != 1)
        return tool_fail(tool, STATUS_CONFLICT, tool->store, "%s: refused without a terminal; %s", question, otherwise);
    progress_make_way();
    fprintf(stderr, "htstore: %s? (y/n) ", question);
    fflush(stderr);
    if (fgets(answer, sizeof answer, stdin) != NULL && (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0))
        return STATUS_DONE;
    return tool_fail(tool, STATUS_CONFLICT, tool->store, "nothing was changed");
}

/* ---- stores ---- */

int tool_open(const struct tool *tool, uint32_t flags, struct htstore **store)
{
    struct htstore_options options = { .size = sizeof options, .flags = flags };
    struct htstore_error error;

    options.lock_timeout_ms = tool->timeout_ms;
    options.log = tool_log;
    options.log_user = (void *)(uintptr_t)tool;
    if (htstore_open(tool->store, &options, store, &error) == 0)
        return STATUS_DONE;
    return tool_fail_library(tool, NULL, &error);
}

int tool_close(const struct tool *tool, struct htstore *store, int status)
{
    struct htstore_error error;

    if (htstore_close(store, &error) == 0)
        return status;
    if (status == STATUS_DONE)
        return tool_fail_library(tool, NULL, &error);
    tool_fail_library(tool, NULL, &error);
    return status;
}

uint64_t tool_lsn(struct htstore *store)
{
    struct htstore_stats stats = { .size = sizeof stats };

    if (htstore_stats(store, &stats, NULL) < 0)
        return 0;
    return stats.readonly != 0 ? stats.applied_lsn : stats.visible_lsn;
}

/* ---- output ---- */

int tool_create_output(const struct tool *tool, const char *path, struct output *output)
{
    struct tool asking = *tool;
    int error = output_create(output, path, tool->force);

    if (error == EEXIST) {
        struct buffer question = { 0 };
        int status;

        buffer_text(&question, "overwrite ");
        escape_bytes(&question, path, strlen(path));
        asking.yes = false;
        asking.store = NULL;
        status = tool_confirm(&asking, buffer_string(&question), "rerun with -f to replace the file");
        buffer_release(&question);
        if (status != STATUS_DONE)
            return status;
        error = output_create(output, path, true);
    }
    if (error == 0)
        return STATUS_DONE;
    return tool_fail(tool, status_from_errno(error), path, "cannot create it: %s", strerror(error));
}

int tool_finish_output(struct tool *tool, struct output *output, int status)
{
    struct buffer name = { 0 };
    int error;

    buffer_text(&name, output->path != NULL ? output->path : "standard output");
    error = output_finish(output);
    if (error == EPIPE) {
        tool->signal = SIGPIPE;
    } else if (error != 0) {
        int failure =
            tool_fail(tool, status_from_errno(error), buffer_string(&name), "cannot write it: %s", strerror(error));

        if (status == STATUS_DONE || status == STATUS_WARNINGS)
            status = failure;
    }
    buffer_release(&name);
    return status;
}

void tool_end_json(struct output *output)
{
    buffer_add(&output->pending, '\n');
    output_drain(output);
}

bool tool_writes_stdout(const struct tool *tool)
{
    return tool->output_path == NULL || strcmp(tool->output_path, "-") == 0;
}

void tool_end_report(struct tool *tool, struct buffer *line)
{
    if (tool_writes_stdout(tool)) {
        tool_say(tool, line);
        return;
    }
    buffer_append(&tool->out.pending, line->data, line->size);
    buffer_release(line);
    tool_end_json(&tool->out);
}

/* ---- values of options ---- */

int tool_parse_count(const struct tool *tool, const char *option, const char *text, const uint64_t bounds[2],
                     uint64_t *value)
{
    uint64_t number = 0;

    if (number_parse(HTSTORE_UINT64, text, strlen(text), &number) != NUMBER_OK || number < bounds[0] ||
        number > bounds[1])
        return tool_fail_usage(tool, "%s takes a number from %" PRIu64 " to %" PRIu64 ", not \"%s\"", option, bounds[0],
                               bounds[1], text);
    *value = number;
    return STATUS_DONE;
}

int tool_parse_word(const struct tool *tool, const char *option, const char *text, const char *const *words, int *value)
{
    struct buffer list = { 0 };

    for (int i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0) {
            *value = i;
            return STATUS_DONE;
        }
    }
    for (int i = 0; words[i] != NULL; i++)
        buffer_printf(&list, "%s%s", i > 0 ? ", " : "", words[i]);
    tool_fail_usage(tool, "%s takes one of %s, not \"%s\"", option, buffer_string(&list), text);
    buffer_release(&list);
    return STATUS_USAGE;
}
