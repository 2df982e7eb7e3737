/* progress: hides rates, times and terminal lines. */
#include "progress.h"

#include "buffer.h"
#include "escape.h"
#include "json.h"
#include "tool.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define TERMINAL_MS 100
#define PLAIN_MS 5000

static atomic_bool line_shown;

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void write_stderr(struct buffer *text)
{
    if (write(STDERR_FILENO, text->data, text->size) < 0)
        text->size = 0;
    buffer_release(text);
}

void progress_start(struct progress *progress, const struct tool *tool, uint64_t total)
{
    progress->terminal = isatty(STDERR_FILENO) == 1 && !tool->json;
    progress->json = tool->json;
    progress->on = tool->progress == TOOL_PROGRESS_ON ||
                   (tool->progress == TOOL_PROGRESS_AUTO && progress->terminal && !tool->quiet);
    progress->counts_rows = false;
    progress->phase = NULL;
    progress->total = total;
    progress->start_ms = now_ms();
    progress->shown_ms = progress->start_ms;
}

void progress_phase(struct progress *progress, const char *phase, uint64_t total)
{
    progress->phase = phase;
    progress->total = total;
    progress->start_ms = now_ms();
}

static void describe(struct buffer *text, const struct progress *progress, uint64_t rows, uint64_t done,
                     int64_t elapsed_ms)
{
    char size[32];
    uint64_t rate = elapsed_ms > 0 ? rows * 1000 / (uint64_t)elapsed_ms : 0;

    if (progress->phase != NULL)
        buffer_printf(text, "%s: ", progress->phase);
    buffer_printf(text, "%" PRIu64 " rows, %" PRIu64 " rows/s", rows, rate);
    if (done > 0 && !progress->counts_rows)
        buffer_printf(text, ", %s", escape_size(size, done));
    if (progress->total > 0 && done > 0 && done <= progress->total) {
        double left = (double)elapsed_ms / 1000 * (double)(progress->total - done) / (double)done;

        buffer_printf(text, ", %d %%, %d s left", (int)(100 * (double)done / (double)progress->total),
                      (int)(left + 0.5));
    }
}

static void describe_json(struct buffer *text, const struct progress *progress, uint64_t rows, uint64_t done,
                          int64_t elapsed_ms)
{
    struct json json = { text, false };

    json_document(&json);
    json_name(&json, "level");
    json_string(&json, "progress");
    json_name(&json, "rows");
    json_count(&json, rows);
    if (progress->phase != NULL) {
        json_name(&json, "phase");
        json_string(&json, progress->phase);
    }
    if (!progress->counts_rows) {
        json_name(&json, "bytes");
        json_count(&json, done);
    }
    json_name(&json, progress->counts_rows ? "total_rows" : "total_bytes");
    json_count(&json, progress->total);
    json_name(&json, "elapsed_ms");
    json_count(&json, (uint64_t)elapsed_ms);
    json_close(&json, '}');
}

void progress_update(struct progress *progress, uint64_t rows, uint64_t done)
{
    struct buffer text = { 0 };
    int64_t now;

    if (!progress->on)
        return;
    now = now_ms();
    if (now - progress->shown_ms < (progress->terminal ? TERMINAL_MS : PLAIN_MS))
        return;
    progress->shown_ms = now;
    if (progress->terminal)
        buffer_text(&text, "\r\033[K");
    if (progress->json)
        describe_json(&text, progress, rows, done, now - progress->start_ms);
    else
        describe(&text, progress, rows, done, now - progress->start_ms);
    if (!progress->terminal)
        buffer_add(&text, '\n');
    atomic_store(&line_shown, progress->terminal);
    write_stderr(&text);
}

void progress_end(struct progress *progress)
{
    progress->on = false;
    progress_make_way();
}

void progress_make_way(void)
{
    struct buffer text = { 0 };

    if (!atomic_exchange(&line_shown, false))
        return;
    buffer_text(&text, "\r\033[K");
    write_stderr(&text);
}
