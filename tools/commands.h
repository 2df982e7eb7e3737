/* commands: one file for each, tools/cmd_<name>.c. */
#ifndef TOOLS_COMMANDS_H
#define TOOLS_COMMANDS_H

#include "tool.h"

extern const struct command command_check;
extern const struct command command_checkpoint;
extern const struct command command_del;
extern const struct command command_dump;
extern const struct command command_export;
extern const struct command command_get;
extern const struct command command_help;
extern const struct command command_import;
extern const struct command command_info;
extern const struct command command_init;
extern const struct command command_link;
extern const struct command command_ls;
extern const struct command command_put;
extern const struct command command_recover;
extern const struct command command_restore;
extern const struct command command_version;

/* The page of a command on tool->out; the list of all commands for NULL. */
void command_help_page(struct tool *tool, const struct command *command);

#endif
