/* options: reads command lines; one table says what a command accepts and what its help tells. */
#ifndef TOOLS_OPTIONS_H
#define TOOLS_OPTIONS_H

#include <stdint.h>

struct tool;
struct command;
struct buffer;

/* One option. Ids of a command's own options are 1000 and above. */
struct option_entry {
    int id;
    char letter; /* 0: none */
    const char *name; /* NULL ends a table */
    const char *argument; /* NULL: takes none */
    const char *help; /* lines for the page, without indentation */
};

#define OPTIONS_OWN 1000

/* Shared options that a command may take; --json, -q, -v, -h and -V are for all. */
#define OPTIONS_DRY_RUN 0x01u /* -n */
#define OPTIONS_YES 0x02u /* -y */
#define OPTIONS_FORCE 0x04u /* -f */
#define OPTIONS_OUTPUT 0x08u /* -o */
#define OPTIONS_TIMEOUT 0x10u /* --timeout */
#define OPTIONS_PROGRESS 0x20u /* --progress, --no-progress */
#define OPTIONS_THREADS 0x40u /* -T */

/*
 * Read the options of tool->command; argv[0] is its name. Arguments move to the end of argv, *first is where they begin.
 * Returns 0 or a status, with a message.
 */
int options_read(struct tool *tool, void *settings, int argc, char **argv, int *first);

/* Call `see` for every option that a command accepts, in the order of its page. */
void options_each(const struct command *command, void (*see)(void *user, const struct option_entry *entry), void *user);

#endif
