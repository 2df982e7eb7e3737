/* cmd_checkpoint: the numbered checkpoints of a store: which verb does what with which options. */
#include "commands.h"

#include "checkpoint.h"
#include "escape.h"

#include <string.h>

enum { ID_ROOT = OPTIONS_OWN, ID_KEEP_LAST, ID_KEEP_EVERY, ID_FOLDER, ID_PREFIX, ID_LEVEL, ID_EXIT_CODE };

struct settings {
    struct checkpoint_settings own;
    uint32_t given; /* bit i: option OPTIONS_OWN + i */
};

#define BIT(id) (1u << ((id)-OPTIONS_OWN))
#define WHERE (BIT(ID_FOLDER) | BIT(ID_PREFIX))
#define KEEP (BIT(ID_KEEP_LAST) | BIT(ID_KEEP_EVERY))

struct verb {
    const char *name;
    const char *synopsis;
    int min_arguments, max_arguments; /* behind STORE; -1: any number */
    uint32_t takes; /* options of the command's own */
    bool can_be_dry;
    int (*run)(struct tool *tool, const struct checkpoint_settings *settings, int n, char **arguments);
};

static const struct verb verbs[] = {
    { "save", "STORE", 0, 0, WHERE | KEEP | BIT(ID_ROOT) | BIT(ID_LEVEL), true, checkpoint_save },
    { "ls", "STORE", 0, 0, WHERE, false, checkpoint_list },
    { "rm", "STORE N...", 1, -1, WHERE, true, checkpoint_remove },
    { "prune", "STORE", 0, 0, WHERE | KEEP, true, checkpoint_prune },
    { "verify", "STORE [N|FILE...]", 0, -1, WHERE, false, checkpoint_verify },
    { "diff", "STORE A B", 2, 2, WHERE | BIT(ID_EXIT_CODE), false, checkpoint_diff },
};

static int set(struct tool *tool, void *user, int id, const char *value)
{
    static const uint64_t counts[2] = { 1, 1000000 }, compression[2] = { 1, 19 };
    struct settings *settings = user;

    settings->given |= BIT(id);
    switch (id) {
    case ID_ROOT:
        settings->own.root = value;
        break;
    case ID_KEEP_LAST:
        return tool_parse_count(tool, "--keep-last", value, counts, &settings->own.rule.keep_last);
    case ID_KEEP_EVERY:
        if (retain_parse_span(value, &settings->own.rule.keep_every) != 0)
            return tool_fail_usage(tool, "--keep-every takes a time such as 30m, 6h, 1d or 2w, not \"%s\"", value);
        break;
    case ID_FOLDER:
        settings->own.folder = value;
        break;
    case ID_PREFIX:
        settings->own.prefix = value;
        break;
    case ID_LEVEL:
        return tool_parse_count(tool, "--level", value, compression, &settings->own.level);
    case ID_EXIT_CODE:
    default:
        settings->own.exit_code = true;
        break;
    }
    return STATUS_DONE;
}

static const struct option_entry options[] = {
    { ID_ROOT, 0, "root", "PATH", "save: only what this object reaches; default: all that has a name" },
    { ID_KEEP_LAST, 0, "keep-last", "N", "save, prune: of the listed checkpoints keep the N newest" },
    { ID_KEEP_EVERY, 0, "keep-every", "TIME",
      "save, prune: of older ones keep one for each such span: 30m, 6h, 1d, 2w" },
    { ID_FOLDER, 0, "folder", "DIR", "where the checkpoints are; default: STORE/checkpoints" },
    { ID_PREFIX, 0, "prefix", "NAME", "of file names, before -N; default: ckpt" },
    { ID_LEVEL, 0, "level", "N", "save: of Zstandard, 1 to 19; default 1" },
    { ID_EXIT_CODE, 0, "exit-code", NULL, "diff: status 10 if anything differs" },
    { 0 },
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    }
    return NULL;
}

static int check_usage(const struct tool *tool, const struct verb *verb, const struct settings *settings, int n)
{
    for (const struct option_entry *option = options; option->name != NULL; option++) {
        if ((settings->given & BIT(option->id)) != 0 && (verb->takes & BIT(option->id)) == 0)
            return tool_fail_usage(tool, "checkpoint %s takes no --%s", verb->name, option->name);
    }
    if (tool->dry_run && !verb->can_be_dry)
        return tool_fail_usage(tool, "checkpoint %s takes no -n: it changes nothing", verb->name);
    if (n < verb->min_arguments)
        return tool_fail_usage(tool, "missing argument: htstore checkpoint %s %s", verb->name, verb->synopsis);
    if (verb->max_arguments >= 0 && n > verb->max_arguments)
        return tool_fail_usage(tool, "too many arguments: htstore checkpoint %s %s", verb->name, verb->synopsis);
    if (settings->own.prefix != NULL && (settings->own.prefix[0] == '\0' || strchr(settings->own.prefix, '/') != NULL))
        return tool_fail_usage(tool, "--prefix takes the beginning of a file name");
    return STATUS_DONE;
}

static int run(struct tool *tool, void *user, int n, char **arguments)
{
    const struct settings *settings = user;
    const struct verb *verb = find_verb(arguments[0]);
    char shown[ESCAPE_SHOWN_SIZE];
    int status;

    if (verb == NULL)
        return tool_fail_usage(tool, "checkpoint does not know %s: it takes save, ls, rm, prune, verify or diff",
                               escape_show(shown, arguments[0], strlen(arguments[0])));
    tool->store = arguments[1];
    status = check_usage(tool, verb, settings, n - 2);
    if (status != STATUS_DONE)
        return status;
    return verb->run(tool, &settings->own, n - 2, arguments + 2);
}

static const uint8_t statuses[] = { STATUS_DONE,     STATUS_FAILED,   STATUS_USAGE,       STATUS_MISSING,
                                    STATUS_CONFLICT, STATUS_DAMAGED,  STATUS_BUSY,        STATUS_TYPE,
                                    STATUS_SPACE,    STATUS_WARNINGS, STATUS_INTERRUPTED, 255 };

const struct command command_checkpoint = {
    .name = "checkpoint",
    .synopsis = "save|ls|rm|prune|verify|diff STORE [ARGUMENT...]",
    .summary = "make, list, delete, verify and compare checkpoints",
    .details =
        "save STORE               a new checkpoint of one instant; its path is printed. With --keep-last or\n"
        "                         --keep-every it then deletes what prune -y would delete\n"
        "ls STORE                 number, time, bytes, LSN; those that are listed stand last, oldest first\n"
        "rm STORE N...            delete these; asks\n"
        "prune STORE              delete what the rules do not keep; asks. The newest is always kept\n"
        "verify STORE [N|FILE...] read every block of these, or of all; damage is status 5\n"
        "diff STORE A B           rows added (+), removed (-), changed (~): a line for each object that\n"
        "                         differs. A and B: numbers of checkpoints, snapshot files, or stores\n\n"
        "rm and prune touch only what is listed as the manager's own. ls, verify and diff work beside a process\n"
        "that owns the store, and make nothing; the others are that process.",
    .example = "htstore checkpoint save S --keep-last=5 --keep-every=6h\n"
               "htstore checkpoint prune S --keep-last=5 --keep-every=6h -n\n"
               "htstore checkpoint diff S 3 S --exit-code",
    .options = options,
    .takes = OPTIONS_DRY_RUN | OPTIONS_YES | OPTIONS_TIMEOUT | OPTIONS_PROGRESS | OPTIONS_THREADS,
    .statuses = statuses,
    .min_arguments = 2,
    .max_arguments = -1,
    .settings_size = sizeof(struct settings),
    .set = set,
    .run = run,
};
