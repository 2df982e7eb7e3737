/* keys: hides where keys come from. */
#include "keys.h"

#include "escape.h"
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define BATCH_ROWS 8192
#define BATCH_BYTES (64u << 20)

int keys_open(struct keys *keys, const struct tool *tool, const struct keys_source *source,
              const struct rows_layout *layout)
{
    int fd = STDIN_FILENO;

    memset(keys, 0, sizeof *keys);
    keys->tool = tool;
    keys->source = *source;
    rows_init(&keys->rows, layout, true);
    if (source->path == NULL)
        return STATUS_DONE;
    if (strcmp(source->path, "-") != 0) {
        fd = open(source->path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return tool_fail(tool, status_from_errno(errno), source->path, "cannot open it: %s", strerror(errno));
    }
    lines_open(&keys->lines, fd);
    keys->has_file = true;
    return STATUS_DONE;
}

static int refuse_escape(const struct tool *tool, struct htstore_bytes text)
{
    char shown[ESCAPE_SHOWN_SIZE];

    return tool_fail(
        tool, STATUS_TYPE, tool->store,
        "%s has a backslash that starts no escape (\\\\ \\t \\n \\r \\xHH); give --escape=none to take it as it is",
        escape_show(shown, text.data, text.size));
}

static int unescape(const struct tool *tool, struct htstore_bytes text, bool literal, struct buffer *bytes)
{
    bytes->size = 0;
    buffer_reserve(bytes, text.size + 1);
    if (literal)
        buffer_append(bytes, text.data, text.size);
    else if (text.size > 0 && escape_read(text.data, text.size, bytes->data, &bytes->size) != 0)
        return refuse_escape(tool, text);
    return STATUS_DONE;
}

int keys_read_argument(const struct tool *tool, const char *argument, bool literal, struct buffer *bytes)
{
    return unescape(tool, htstore_string(argument), literal, bytes);
}

static int add_key(struct keys *keys, struct htstore_bytes text)
{
    struct buffer bytes = { 0 }, reason = { 0 };
    struct htstore_bytes key;
    size_t at;
    enum rows_result result;
    int status = unescape(keys->tool, text, keys->source.literal, &bytes);

    if (status == STATUS_DONE) {
        key = (struct htstore_bytes){ bytes.data, bytes.size };
        result = rows_append(&keys->rows, &key, NULL, &at);
        if (result != ROWS_OK) {
            rows_explain(&reason, keys->rows.layout, result, 0, &key);
            status = tool_fail(keys->tool, STATUS_TYPE, keys->tool->store, "key %s", buffer_string(&reason));
        }
    }
    buffer_release(&reason);
    buffer_release(&bytes);
    return status;
}

static int add_line(struct keys *keys, bool *ends)
{
    const struct tool *tool = keys->tool;
    struct htstore_bytes line;

    switch (lines_next(&keys->lines, &line)) {
    case LINES_LINE:
        return add_key(keys, line);
    case LINES_FAILED:
        return tool_fail(tool, status_from_errno(keys->lines.error), keys->source.path, "cannot read it: %s",
                         strerror(keys->lines.error));
    case LINES_TOO_LONG:
        return tool_fail(tool, STATUS_TYPE, keys->source.path, "line %" PRIu64 " is longer than 1 GiB",
                         keys->lines.number + 1);
    case LINES_END:
    case LINES_INTERRUPTED:
    default:
        *ends = true;
        return STATUS_DONE;
    }
}

int keys_next(struct keys *keys)
{
    bool ends = false;
    int status = STATUS_DONE;

    rows_clear(&keys->rows);
    while (status == STATUS_DONE && !ends && keys->rows.n < BATCH_ROWS && keys->rows.bytes < BATCH_BYTES) {
        if (keys->next_argument < keys->source.n_arguments)
            status = add_key(keys, htstore_string(keys->source.arguments[keys->next_argument++]));
        else if (keys->has_file)
            status = add_line(keys, &ends);
        else
            ends = true;
    }
    return status;
}

void keys_close(struct keys *keys)
{
    if (keys->has_file) {
        if (keys->lines.fd != STDIN_FILENO)
            close(keys->lines.fd);
        lines_close(&keys->lines);
    }
    rows_release(&keys->rows);
}
