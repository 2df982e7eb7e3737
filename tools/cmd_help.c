/* cmd_help: the pages of help, made of the table of commands. */
#include "commands.h"

#include "escape.h"

#include <string.h>

/* Append text with every line indented. */
static void write_lines(struct buffer *out, const char *indent, const char *text)
{
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");

        if (n > 0) {
            buffer_text(out, indent);
            buffer_append(out, text, n);
        }
        buffer_add(out, '\n');
        text += text[n] == '\n' ? n + 1 : n;
    }
}

static void write_option(void *user, const struct option_entry *entry)
{
    struct buffer *out = user;

    buffer_text(out, "    ");
    if (entry->letter != 0)
        buffer_printf(out, "-%c, ", entry->letter);
    buffer_printf(out, "--%s", entry->name);
    if (entry->argument != NULL)
        buffer_printf(out, "=%s", entry->argument);
    buffer_add(out, '\n');
    write_lines(out, "            ", entry->help);
}

static void write_page(struct buffer *out, const struct command *command)
{
    buffer_printf(out, "NAME\n    htstore %s - %s\n\n", command->name, command->summary);
    buffer_printf(out, "SYNOPSIS\n    htstore %s [options]%s%s\n", command->name,
                  command->synopsis[0] != '\0' ? " " : "", command->synopsis);
    if (command->details != NULL) {
        buffer_text(out, "\nDESCRIPTION\n");
        write_lines(out, "    ", command->details);
    }
    buffer_text(out, "\nOPTIONS\n");
    options_each(command, write_option, out);
    buffer_text(out, "\nEXIT STATUS\n");
    for (const uint8_t *status = command->statuses; *status != 255; status++)
        buffer_printf(out, "    %-3d %s\n", *status, status_meaning(*status));
    buffer_text(out, "    New ones may be added: treat an unknown status as a failure.\n\nEXAMPLE\n");
    write_lines(out, "    ", command->example);
}

static void write_list(struct buffer *out)
{
    buffer_text(out, "htstore - persistent, typed, batched hash tables\n\n"
                     "    htstore COMMAND [options] STORE ...\n\nCOMMANDS\n");
    for (size_t i = 0; tool_commands[i] != NULL; i++)
        buffer_printf(out, "    %-11s %s\n", tool_commands[i]->name, tool_commands[i]->summary);
    buffer_text(out,
                "\nSTORE is a directory. A TABLE or PATH is a name, or names joined by slashes: what a mapping has.\n"
                "A slash inside of a name is typed \\/, a backslash \\\\, the empty key of a mapping \\e. Keys and "
                "values are typed as they are printed: \\\\ \\t \\n \\r \\xHH are\n"
                "escapes. `htstore help COMMAND` tells more.\n");
}

static void see_option(void *user, const struct option_entry *entry)
{
    struct json *json = user;
    char letter[2] = { entry->letter, '\0' };

    json_open(json, '{');
    json_name(json, "name");
    json_string(json, entry->name);
    json_name(json, "letter");
    json_string(json, letter);
    json_name(json, "argument");
    json_string(json, entry->argument != NULL ? entry->argument : "");
    json_name(json, "help");
    json_string(json, entry->help);
    json_close(json, '}');
}

static void write_command_json(struct json *json, const struct command *command)
{
    json_name(json, "name");
    json_string(json, command->name);
    json_name(json, "synopsis");
    json_string(json, command->synopsis);
    json_name(json, "summary");
    json_string(json, command->summary);
    json_name(json, "options");
    json_open(json, '[');
    options_each(command, see_option, json);
    json_close(json, ']');
    json_name(json, "statuses");
    json_open(json, '[');
    for (const uint8_t *status = command->statuses; *status != 255; status++)
        json_count(json, *status);
    json_close(json, ']');
}

static void write_json(struct tool *tool, const struct command *command)
{
    struct json json = { &tool->out.pending, false };

    json_document(&json);
    if (command != NULL) {
        write_command_json(&json, command);
    } else {
        json_name(&json, "commands");
        json_open(&json, '[');
        for (size_t i = 0; tool_commands[i] != NULL; i++) {
            json_open(&json, '{');
            write_command_json(&json, tool_commands[i]);
            json_close(&json, '}');
        }
        json_close(&json, ']');
    }
    json_close(&json, '}');
    tool_end_json(&tool->out);
}

void command_help_page(struct tool *tool, const struct command *command)
{
    if (tool->json)
        write_json(tool, command);
    else if (command != NULL)
        write_page(&tool->out.pending, command);
    else
        write_list(&tool->out.pending);
}

static int run(struct tool *tool, void *settings, int n, char **arguments)
{
    const struct command *command = NULL;
    char shown[ESCAPE_SHOWN_SIZE];

    (void)settings;
    if (n > 0) {
        command = tool_find_command(arguments[0]);
        if (command == NULL)
            return tool_fail_usage(tool, "unknown command %s", escape_show(shown, arguments[0], strlen(arguments[0])));
    }
    command_help_page(tool, command);
    return STATUS_DONE;
}

static const uint8_t statuses[] = { STATUS_DONE, STATUS_FAILED, STATUS_USAGE, STATUS_SPACE, 255 };

const struct command command_help = {
    .name = "help",
    .synopsis = "[COMMAND]",
    .summary = "show the list of commands, or the page of one",
    .example = "htstore help import",
    .max_arguments = 1,
    .statuses = statuses,
    .run = run,
};
