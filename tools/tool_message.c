/* tool_message: hides how messages are worded and written. */
#include "tool.h"

#include "escape.h"
#include "progress.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* One message with what belongs to it. */
struct message {
    const char *level;
    int status; /* 0: none */
    const char *subject;
    const char *text;
    const struct htstore_error *error; /* NULL: not from the library */
};

static void write_json_message(struct buffer *line, const struct message *message)
{
    struct json json = { line, false };

    json_document(&json);
    json_name(&json, "level");
    json_string(&json, message->level);
    if (message->status != 0) {
        json_name(&json, "status");
        json_count(&json, (uint64_t)message->status);
    }
    if (message->subject != NULL) {
        json_name(&json, "subject");
        json_string(&json, message->subject);
    }
    json_name(&json, "message");
    json_string(&json, message->text);
    if (message->error != NULL) {
        json_name(&json, "errno");
        json_count(&json, (uint64_t)message->error->sys_errno);
        json_name(&json, "path");
        json_string(&json, message->error->path);
        json_name(&json, "offset");
        json_count(&json, message->error->offset);
    }
    json_close(&json, '}');
}

/* One write(2) a line: lines of several threads and processes stay whole. */
static void write_message(const struct tool *tool, const struct message *message)
{
    struct buffer line = { 0 };

    progress_make_way();
    if (tool->json) {
        write_json_message(&line, message);
    } else {
        buffer_text(&line, "htstore: ");
        if (message->subject != NULL) {
            escape_bytes(&line, message->subject, strlen(message->subject));
            buffer_text(&line, ": ");
        }
        buffer_text(&line, message->text);
    }
    buffer_add(&line, '\n');
    if (write(STDERR_FILENO, line.data, line.size) < 0)
        line.size = 0;
    buffer_release(&line);
}

int tool_fail(const struct tool *tool, int status, const char *subject, const char *format, ...)
{
    struct buffer text = { 0 };
    va_list arguments;

    va_start(arguments, format);
    buffer_vprintf(&text, format, arguments);
    va_end(arguments);
    write_message(tool, &(struct message){ "error", status, subject, buffer_string(&text), NULL });
    buffer_release(&text);
    return status;
}

int tool_fail_usage(const struct tool *tool, const char *format, ...)
{
    struct buffer text = { 0 };
    va_list arguments;

    va_start(arguments, format);
    buffer_vprintf(&text, format, arguments);
    va_end(arguments);
    buffer_text(&text, "; try `htstore help");
    if (tool->command != NULL && strcmp(tool->command->name, "help") != 0)
        buffer_printf(&text, " %s", tool->command->name);
    buffer_add(&text, '`');
    write_message(tool, &(struct message){ "error", STATUS_USAGE, NULL, buffer_string(&text), NULL });
    buffer_release(&text);
    return STATUS_USAGE;
}

/* Not about another file, such as a snapshot. */
static bool is_about_store(const struct tool *tool, const struct htstore_error *error)
{
    return error->path[0] == '\0' || (tool->store != NULL && strcmp(error->path, tool->store) == 0);
}

/* The next step, where there is one that the tool knows better than the library. */
static const char *next_step(const struct tool *tool, const struct htstore_error *error, const char *table)
{
    switch (error->code) {
    case HTSTORE_ENOTFOUND:
        if (strcmp(tool->command->name, "init") == 0 || !is_about_store(tool, error))
            return "";
        return table != NULL ? "; `htstore ls` lists what there is, `htstore init` makes tables"
                             : "; `htstore init` makes one";
    case HTSTORE_EBUSY:
        return (tool->command->takes & OPTIONS_TIMEOUT) != 0 && tool->timeout_ms == 0 && table == NULL
                   ? "; stop it, or rerun with --timeout=30"
                   : "";
    case HTSTORE_ECORRUPT:
        return tool->if_damaged != NULL ? tool->if_damaged : "";
    default:
        return "";
    }
}

/*
 * The library names the file in `path`, and the store or a file in it at the start of some sentences: all is said once.
 * Returns the sentence without `*subject`; *subject is NULL if the sentence names a file in it.
 */
static const char *without_subject(const char *message, const char **subject)
{
    size_t size = *subject != NULL ? strlen(*subject) : 0;

    if (size == 0 || strncmp(message, *subject, size) != 0)
        return message;
    if (message[size] == '/')
        *subject = NULL;
    return strncmp(message + size, ": ", 2) == 0 ? message + size + 2 : message;
}

int tool_fail_library(const struct tool *tool, const char *table, const struct htstore_error *error)
{
    int status = status_from_code(error->code);
    const char *subject = error->path[0] != '\0' ? error->path : tool->store;
    const char *message = error->message[0] != '\0' ? error->message : htstore_strerror(error->code);
    struct buffer text = { 0 };

    buffer_text(&text, without_subject(message, &subject));
    if (error->code == HTSTORE_ECORRUPT && error->path[0] != '\0')
        buffer_printf(&text, ", at byte %" PRIu64, error->offset);
    buffer_text(&text, next_step(tool, error, table));
    write_message(tool, &(struct message){ "error", status, subject, buffer_string(&text), error });
    buffer_release(&text);
    return status;
}

void tool_warn(const struct tool *tool, const char *subject, const char *format, ...)
{
    struct buffer text = { 0 };
    va_list arguments;

    va_start(arguments, format);
    buffer_vprintf(&text, format, arguments);
    va_end(arguments);
    write_message(tool, &(struct message){ "warning", 0, subject, buffer_string(&text), NULL });
    buffer_release(&text);
}

void tool_note(const struct tool *tool, const char *subject, const char *format, ...)
{
    struct buffer text = { 0 };
    va_list arguments;

    if (tool->quiet)
        return;
    va_start(arguments, format);
    buffer_vprintf(&text, format, arguments);
    va_end(arguments);
    write_message(tool, &(struct message){ "info", 0, subject, buffer_string(&text), NULL });
    buffer_release(&text);
}

void tool_log(void *user, int32_t level, const char *module, const char *message)
{
    const struct tool *tool = user;
    const char *name = level == HTSTORE_LOG_ERROR ? "error" : level == HTSTORE_LOG_WARNING ? "warning" : "info";
    struct buffer text = { 0 };

    if (level > HTSTORE_LOG_WARNING && !tool->verbose)
        return;
    buffer_printf(&text, "%s: %s", module, message);
    write_message(tool, &(struct message){ name, 0, tool->store, buffer_string(&text), NULL });
    buffer_release(&text);
}

void tool_say(const struct tool *tool, struct buffer *line)
{
    if (!tool->quiet) {
        progress_make_way();
        buffer_add(line, '\n');
        if (write(STDERR_FILENO, line->data, line->size) < 0)
            line->size = 0;
    }
    buffer_release(line);
}
