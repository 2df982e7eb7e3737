/* htstore: the table of commands and the way from main() to one of them. */
#include "commands.h"
#include "signals.h"
#include "tool.h"

#include "escape.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct command *const tool_commands[] = {
    &command_init,
    &command_info,
    &command_ls,
    &command_get,
    &command_put,
    &command_del,
    &command_link,
    &command_import,
    &command_export,
    &command_dump,
    &command_restore,
    &command_checkpoint,
    &command_check,
    &command_recover,
    &command_help,
    &command_version,
    NULL,
};

/* Commands that are installed under names of their own. */
static const struct command *const own_names[] = { &command_dump, &command_restore };

const struct command *tool_find_command(const char *name)
{
    for (size_t i = 0; tool_commands[i] != NULL; i++) {
        if (strcmp(tool_commands[i]->name, name) == 0)
            return tool_commands[i];
    }
    return NULL;
}

/* A store must never be opened as descriptor 0, 1 or 2: messages would be written into it. */
static void occupy_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            _exit(STATUS_FAILED);
    }
}

/* --json holds for the messages about the options before it, too. */
static bool asks_for_json(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0)
            return true;
    }
    return false;
}

static int check_arguments(const struct tool *tool, int n, char **arguments)
{
    const struct command *command = tool->command;
    char shown[ESCAPE_SHOWN_SIZE];

    if (n < command->min_arguments)
        return tool_fail_usage(tool, "missing argument: htstore %s %s", command->name, command->synopsis);
    if (command->max_arguments >= 0 && n > command->max_arguments) {
        const char *extra = arguments[command->max_arguments];

        return tool_fail_usage(tool, "too many arguments: %s", escape_show(shown, extra, strlen(extra)));
    }
    return STATUS_DONE;
}

static int run_command(struct tool *tool, int argc, char **argv)
{
    const struct command *command = tool->command;
    void *settings = memory_new(1, command->settings_size);
    int first = 0;
    int status = options_read(tool, settings, argc, argv, &first);

    if (status == STATUS_DONE && tool->help)
        command_help_page(tool, command == &command_help ? NULL : command);
    else if (status == STATUS_DONE && tool->command != command)
        status = tool->command->run(tool, NULL, 0, NULL); /* --version */
    else if (status == STATUS_DONE)
        status = check_arguments(tool, argc - first, argv + first);
    if (status == STATUS_DONE && !tool->help && tool->command == command)
        status = command->run(tool, settings, argc - first, argv + first);
    free(settings);
    return status;
}

/* The command among the arguments, for a hint: options stand behind it. */
static const char *misplaced_command(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-')
            return tool_find_command(argv[i]) != NULL ? argv[i] : NULL;
    }
    return NULL;
}

/* The command that the program was called as; NULL: by the program's own name. The name may have another beginning. */
static const struct command *command_of_name(const char *program)
{
    for (size_t i = 0; i < sizeof own_names / sizeof own_names[0]; i++) {
        size_t size = strlen(own_names[i]->name), program_size = strlen(program);

        if (program_size > size && program[program_size - size - 1] == '-' &&
            strcmp(program + program_size - size, own_names[i]->name) == 0)
            return own_names[i];
    }
    return NULL;
}

static int dispatch(struct tool *tool, int argc, char **argv)
{
    char shown[ESCAPE_SHOWN_SIZE];
    const char *name = argc > 1 ? argv[1] : "";

    tool->command = argc > 0 ? command_of_name(argv[0]) : NULL;
    if (tool->command != NULL)
        return run_command(tool, argc, argv);
    if (argc < 2)
        return tool_fail_usage(tool, "no command given");
    if (name[0] == '-') { /* htstore --help, htstore --version --json */
        if (misplaced_command(argc, argv) != NULL)
            return tool_fail_usage(tool, "options stand behind the command: htstore %s %s",
                                   misplaced_command(argc, argv), name);
        tool->command = &command_help;
        return run_command(tool, argc, argv);
    }
    tool->command = tool_find_command(name);
    if (tool->command == NULL)
        return tool_fail_usage(tool, "unknown command %s", escape_show(shown, name, strlen(name)));
    return run_command(tool, argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    struct tool tool = { 0 };
    int status;

    occupy_standard_descriptors();
    signals_ignore_pipe();
    output_stdout(&tool.out);
    tool.json = asks_for_json(argc, argv);
    status = dispatch(&tool, argc, argv);
    status = tool_finish_output(&tool, &tool.out, status);
    if (tool.signal != 0)
        signals_raise(tool.signal);
    return status;
}
