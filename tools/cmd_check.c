/* cmd_check: reads a store or a snapshot and says whether it is whole. */
#include "commands.h"

#include "escape.h"
#include "verdict.h"
#include "watch.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

enum { ID_LEVEL = OPTIONS_OWN };

static const char *const levels[] = { "quick", "full", "deep", NULL };

struct settings {
    int level; /* 0: not given; else its place in `levels` + 1, which is enum htstore_check_level */
};

static int set(struct tool *tool, void *user, int id, const char *value)
{
    struct settings *settings = user;
    int level = 0;
    int status = tool_parse_word(tool, "--level", value, levels, &level);

    (void)id;
    if (status == STATUS_DONE)
        settings->level = level + 1;
    return status;
}

static void write_findings(struct buffer *out, const char *label, const struct buffer *lines, uint64_t n, uint64_t most)
{
    if (n == 0)
        return;
    buffer_printf(out, "%-8s %" PRIu64 "\n", label, n);
    buffer_append(out, lines->data, lines->size);
    if (n > most)
        buffer_printf(out, "  and %" PRIu64 " more; -v shows them\n", n - most);
}

static void write_text(struct tool *tool, struct verdict *verdict, uint32_t level)
{
    struct buffer *out = &tool->out.pending;

    buffer_text(out, "checked  ");
    escape_bytes(out, tool->store, strlen(tool->store));
    buffer_printf(out, "\nlevel    %s\nLSN      %" PRIu64 "\nread     ", levels[level - 1], verdict->report.lsn);
    verdict_counts(out, verdict);
    buffer_printf(out, "\ntime     %.3f s\n", (double)verdict->elapsed_ms / 1000);
    write_findings(out, "not read", &verdict->unread, verdict->n_unread, verdict->most_lines);
    write_findings(out, "damage", &verdict->damage, verdict->n_damage, verdict->most_lines);
    if (level == HTSTORE_CHECK_QUICK)
        buffer_text(out, "         structure only; row data not read\n");
    buffer_printf(out, "verdict  %s\n", verdict->damaged ? "DAMAGED" : "OK");
}

static void write_json(struct tool *tool, const struct verdict *verdict, uint32_t level)
{
    struct json json = { &tool->out.pending, false };

    json_document(&json);
    json_name(&json, "path");
    json_string(&json, tool->store);
    json_name(&json, "level");
    json_string(&json, levels[level - 1]);
    json_name(&json, "row_data_read");
    json_bool(&json, level != HTSTORE_CHECK_QUICK);
    verdict_json(&json, verdict);
    json_close(&json, '}');
    tool_end_json(&tool->out);
}

static int run(struct tool *tool, void *user, int n, char **arguments)
{
    const struct settings *settings = user;
    uint32_t level = settings->level != 0 ? (uint32_t)settings->level : HTSTORE_CHECK_FULL;
    struct verdict verdict = { 0 };
    struct watch watch;
    struct stat file;
    int status;

    (void)n;
    tool->store = arguments[0];
    watch_start(&watch, tool);
    status = verdict_make(&verdict, &watch, tool->store, level);
    watch_end(&watch);
    if (status == STATUS_DONE && tool->json)
        write_json(tool, &verdict, level);
    else if (status == STATUS_DONE)
        write_text(tool, &verdict, level);
    if (status == STATUS_DONE && verdict.damaged) {
        bool is_file = stat(tool->store, &file) == 0 && S_ISREG(file.st_mode);

        status = tool_fail(tool, STATUS_DAMAGED, tool->store, "damaged: %" PRIu64 " findings; %s", verdict.n_damage,
                           is_file ? "`htstore restore --salvage` writes what is intact into a new store"
                                   : "`htstore recover` writes what is readable into a new store");
    }
    verdict_release(&verdict);
    return status;
}

static const struct option_entry options[] = {
    { ID_LEVEL, 0, "level", "quick|full|deep",
      "quick: sizes, heads, catalogue and counts; row data is not read\n"
      "full, the default: also every page, row, digest, journal record and block\n"
      "deep: also free pages, and every checkpoint in the store's folder" },
    { 0 },
};

static const uint8_t statuses[] = { STATUS_DONE, STATUS_FAILED, STATUS_USAGE, STATUS_MISSING,     STATUS_DAMAGED,
                                    STATUS_BUSY, STATUS_TYPE,   STATUS_SPACE, STATUS_INTERRUPTED, 255 };

const struct command command_check = {
    .name = "check",
    .synopsis = "STORE|FILE",
    .summary = "read a store or a snapshot, and say whether it is whole",
    .details =
        "Changes nothing, and works beside a process that owns the store. What it tells fits a screen: what was\n"
        "read, how much, how long it took, the first findings (all with -v), and OK or DAMAGED. Damage is\n"
        "status 5.",
    .example = "htstore check S --level=quick\n"
               "htstore check s.snap",
    .options = options,
    .takes = OPTIONS_TIMEOUT | OPTIONS_PROGRESS | OPTIONS_THREADS,
    .statuses = statuses,
    .min_arguments = 1,
    .max_arguments = 1,
    .settings_size = sizeof(struct settings),
    .set = set,
    .run = run,
};
