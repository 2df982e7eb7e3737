/* verdict: hides how findings become lines and JSON. */
#include "verdict.h"

#include "escape.h"
#include "status.h"
#include "tool.h"
#include "watch.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#define MOST_LINES 20
#define MOST_JSON 10000 /* findings; there is a count of all */

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void keep_line(struct buffer *lines, const struct htstore_finding *finding)
{
    const char *message = finding->message;
    size_t size = finding->path != NULL ? strlen(finding->path) : 0;

    buffer_text(lines, "  ");
    if (finding->path != NULL) {
        escape_bytes(lines, finding->path, strlen(finding->path));
        if (finding->is_damage != 0)
            buffer_printf(lines, ", byte %" PRIu64, finding->offset);
        buffer_text(lines, ": ");
    }
    if (finding->object != NULL && finding->object[0] != '\0') {
        escape_bytes(lines, finding->object, strlen(finding->object));
        buffer_text(lines, ": ");
    }
    if (size > 0 && strncmp(message, finding->path, size) == 0 && strncmp(message + size, ": ", 2) == 0)
        message += size + 2; /* the path is said already */
    escape_bytes(lines, message, strlen(message));
    buffer_add(lines, '\n');
}

static void keep_json(struct verdict *verdict, const struct htstore_finding *finding)
{
    struct json json = { &verdict->json, verdict->json_comma };

    json_open(&json, '{');
    json_name(&json, "damage");
    json_bool(&json, finding->is_damage != 0);
    json_name(&json, "path");
    json_string(&json, finding->path != NULL ? finding->path : "");
    if (finding->object != NULL) {
        json_name(&json, "object");
        json_string(&json, finding->object);
    }
    json_name(&json, "offset");
    json_count(&json, finding->offset);
    json_name(&json, "message");
    json_string(&json, finding->message);
    json_close(&json, '}');
    verdict->json_comma = json.comma;
}

static void see_finding(void *user, const struct htstore_finding *finding)
{
    struct verdict *verdict = user;
    bool damage = finding->is_damage != 0;
    uint64_t *n = damage ? &verdict->n_damage : &verdict->n_unread;

    (*n)++;
    if (*n <= verdict->most_lines)
        keep_line(damage ? &verdict->damage : &verdict->unread, finding);
    if (verdict->n_damage + verdict->n_unread <= MOST_JSON)
        keep_json(verdict, finding);
}

int verdict_make(struct verdict *verdict, struct watch *watch, const char *path, uint32_t level)
{
    const struct tool *tool = watch->tool;
    struct htstore_check_options options = { .size = sizeof options, .level = level, .threads = tool->threads };
    struct htstore_error error;
    int64_t start = now_ms();
    int result;

    verdict->most_lines = tool->verbose ? UINT64_MAX : MOST_LINES;
    verdict->report.size = sizeof verdict->report;
    options.lock_timeout_ms = tool->timeout_ms;
    options.finding = see_finding;
    options.finding_user = verdict;
    options.progress = watch_report;
    options.progress_user = watch;
    result = htstore_check(path, &options, &verdict->report, &error);
    verdict->elapsed_ms = now_ms() - start;
    if (result == 0 || (result == HTSTORE_ECORRUPT && verdict->n_damage > 0)) {
        verdict->damaged = result != 0;
        return STATUS_DONE;
    }
    return watch_fail(watch, &error, "nothing was changed");
}

void verdict_json(struct json *json, const struct verdict *verdict)
{
    const struct htstore_check_report *report = &verdict->report;
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        { "lsn", report->lsn },
        { "objects", report->n_objects },
        { "rows", report->n_rows },
        { "pages", report->n_pages },
        { "free_pages", report->n_free_pages },
        { "records", report->n_records },
        { "blocks", report->n_blocks },
        { "snapshots", report->n_snapshots },
        { "bytes", report->bytes },
        { "elapsed_ms", (uint64_t)verdict->elapsed_ms },
        { "damage", verdict->n_damage },
        { "unread", verdict->n_unread },
    };

    json_name(json, "ok");
    json_bool(json, !verdict->damaged);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        json_name(json, counts[i].name);
        json_count(json, counts[i].value);
    }
    json_name(json, "findings");
    json_open(json, '[');
    buffer_append(json->text, verdict->json.data, verdict->json.size);
    json_close(json, ']');
}

void verdict_counts(struct buffer *text, const struct verdict *verdict)
{
    const struct htstore_check_report *report = &verdict->report;
    const struct {
        const char *name;
        uint64_t value;
        bool always;
    } counts[] = {
        { "objects", report->n_objects, true },
        { "rows", report->n_rows, true },
        { "pages", report->n_pages, false },
        { "free pages", report->n_free_pages, false },
        { "journal records", report->n_records, false },
        { "blocks", report->n_blocks, false },
        { "snapshots", report->n_snapshots, false },
    };
    char size[32];

    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (counts[i].always || counts[i].value > 0)
            buffer_printf(text, "%s%" PRIu64 " %s", i > 0 ? ", " : "", counts[i].value, counts[i].name);
    }
    if (report->bytes > 0)
        buffer_printf(text, ", %s", escape_size(size, report->bytes));
}

void verdict_release(struct verdict *verdict)
{
    buffer_release(&verdict->damage);
    buffer_release(&verdict->unread);
    buffer_release(&verdict->json);
}
