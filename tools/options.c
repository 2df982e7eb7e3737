/* options: hides getopt_long() and the options that commands have in common. */
#include "options.h"

#include "buffer.h"
#include "number.h"
#include "tool.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 256

enum { ID_JSON = 256, ID_TIMEOUT, ID_PROGRESS, ID_NO_PROGRESS };

struct shared_option {
    uint32_t bit; /* 0: for all commands */
    struct option_entry entry;
};

static const struct shared_option shared[] = {
    { OPTIONS_OUTPUT, { 'o', 'o', "output", "FILE", "write to FILE; - is stdout" } },
    { OPTIONS_FORCE, { 'f', 'f', "force", NULL, "replace a file that exists" } },
    { OPTIONS_DRY_RUN, { 'n', 'n', "dry-run", NULL, "only say what would happen" } },
    { OPTIONS_YES, { 'y', 'y', "yes", NULL, "do not ask; needed without a terminal" } },
    { OPTIONS_TIMEOUT,
      { ID_TIMEOUT, 0, "timeout", "SEC", "wait so long for another process that owns the store; default 0" } },
    { OPTIONS_THREADS, { 'T', 'T', "threads", "N", "work with N threads; 0, the default: one for each processor" } },
    { OPTIONS_PROGRESS,
      { ID_PROGRESS, 0, "progress", NULL, "show progress without a terminal too: a line every 5 seconds" } },
    { OPTIONS_PROGRESS, { ID_NO_PROGRESS, 0, "no-progress", NULL, "show no progress" } },
    { 0, { ID_JSON, 0, "json", NULL, "results as JSON on stdout, messages as JSON Lines on stderr" } },
    { 0, { 'q', 'q', "quiet", NULL, "errors and warnings only, no questions" } },
    { 0, { 'v', 'v', "verbose", NULL, "say more on stderr" } },
    { 0, { 'h', 'h', "help", NULL, "show this page" } },
    { 0, { 'V', 'V', "version", NULL, "show the version" } },
};

void options_each(const struct command *command, void (*see)(void *user, const struct option_entry *entry), void *user)
{
    for (const struct option_entry *own = command->options; own != NULL && own->name != NULL; own++)
        see(user, own);
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++) {
        if (shared[i].bit == 0 || (shared[i].bit & command->takes) != 0)
            see(user, &shared[i].entry);
    }
}

/* What getopt_long() wants. */
struct accepted {
    struct option *options;
    size_t n;
    struct buffer letters;
};

static void accept_option(void *user, const struct option_entry *entry)
{
    struct accepted *accepted = user;
    struct option *option;

    accepted->options = memory_resize(accepted->options, accepted->n + 2, sizeof *accepted->options);
    option = &accepted->options[accepted->n++];
    option->name = entry->name;
    option->has_arg = entry->argument != NULL ? required_argument : no_argument;
    option->flag = NULL;
    option->val = entry->id;
    memset(option + 1, 0, sizeof *option);
    if (entry->letter != 0) {
        buffer_add(&accepted->letters, entry->letter);
        if (entry->argument != NULL)
            buffer_add(&accepted->letters, ':');
    }
}

static int set_timeout(struct tool *tool, const char *text)
{
    double seconds;

    if (number_parse(HTSTORE_FLOAT64, text, strlen(text), &seconds) != NUMBER_OK || !(seconds >= 0 && seconds <= 4e6))
        return tool_fail_usage(tool, "--timeout takes seconds from 0 to 4000000, not \"%s\"", text);
    tool->timeout_ms = (uint32_t)(seconds * 1000);
    return STATUS_DONE;
}

static int set_threads(struct tool *tool, const char *text)
{
    static const uint64_t bounds[2] = { 0, MAX_THREADS };
    uint64_t threads = 0;
    int status = tool_parse_count(tool, "--threads", text, bounds, &threads);

    if (status == STATUS_DONE)
        tool->threads = (uint32_t)threads;
    return status;
}

static int set_shared(struct tool *tool, int id, const char *value)
{
    switch (id) {
    case 'o':
        tool->output_path = value;
        break;
    case 'f':
        tool->force = true;
        break;
    case 'n':
        tool->dry_run = true;
        break;
    case 'y':
        tool->yes = true;
        break;
    case 'q':
        tool->quiet = true;
        break;
    case 'v':
        tool->verbose = true;
        break;
    case 'h':
        tool->help = true;
        break;
    case 'V':
        tool->command = tool_find_command("version");
        break;
    case ID_PROGRESS:
        tool->progress = TOOL_PROGRESS_ON;
        break;
    case ID_NO_PROGRESS:
        tool->progress = TOOL_PROGRESS_OFF;
        break;
    case 'T':
        return set_threads(tool, value);
    case ID_TIMEOUT:
        return set_timeout(tool, value);
    default: /* --json was seen before all others */
        break;
    }
    return STATUS_DONE;
}

/* getopt_long() has moved optind behind a long option, but not behind a letter that others follow. */
static int refuse_option(struct tool *tool, int result, char **argv)
{
    const char *word = argv[optind - 1];
    char letter[3] = { '-', (char)optopt, '\0' };

    if (optopt > 0 && optopt < 256 && strncmp(word, "--", 2) != 0)
        word = letter;
    if (result == ':')
        return tool_fail_usage(tool, "option %s needs a value", word);
    if (optopt >= '0' && optopt <= '9' && word == letter)
        return tool_fail_usage(tool, "unknown option %s; put -- before a negative number", word);
    if (strncmp(word, "--", 2) == 0 && strchr(word, '=') != NULL && optopt != 0)
        return tool_fail_usage(tool, "option %.*s takes no value", (int)strcspn(word, "="), word);
    return tool_fail_usage(tool, "unknown option %s", word);
}

/* A letter of the command's own; getopt_long() gives letters, not ids. */
static int own_id(const struct command *command, int id)
{
    for (const struct option_entry *own = command->options; own != NULL && own->name != NULL; own++) {
        if (own->letter != 0 && own->letter == id)
            return own->id;
    }
    return id;
}

int options_read(struct tool *tool, void *settings, int argc, char **argv, int *first)
{
    const struct command *command = tool->command;
    struct accepted accepted = { 0 };
    int status = STATUS_DONE;

    buffer_add(&accepted.letters, ':');
    options_each(command, accept_option, &accepted);
    opterr = 0;
    optind = 0; /* glibc: start anew */
    while (status == STATUS_DONE) {
        int id = getopt_long(argc, argv, buffer_string(&accepted.letters), accepted.options, NULL);

        if (id == -1)
            break;
        id = own_id(command, id);
        if (id == '?' || id == ':')
            status = refuse_option(tool, id, argv);
        else if (id >= OPTIONS_OWN)
            status = command->set(tool, settings, id, optarg);
        else
            status = set_shared(tool, id, optarg);
    }
    *first = optind;
    free(accepted.options);
    buffer_release(&accepted.letters);
    return status;
}
