/* tool: what all commands share: settings, messages, questions, opening stores and tables. */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include "htstore.h"
#include "json.h"
#include "options.h"
#include "output.h"
#include "rows.h"
#include "status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum tool_progress { TOOL_PROGRESS_AUTO, TOOL_PROGRESS_ON, TOOL_PROGRESS_OFF };

/* One run of the program. */
struct tool {
    const struct command *command;
    const char *store; /* the STORE argument, for messages; NULL before it is known */
    const char *table; /* the TABLE argument, for messages; NULL before that table is open */
    bool json, quiet, verbose, dry_run, yes, force, help;
    enum tool_progress progress;
    uint32_t timeout_ms;
    uint32_t threads; /* 0: one for each processor */
    const char *output_path;
    const char *if_damaged; /* the next step when data is damaged, for messages; NULL: none */
    struct output out; /* stdout */
    int signal; /* raised again at the very end; 0: none */
};

/* A command: its page of help and what runs it. */
struct command {
    const char *name;
    const char *synopsis;
    const char *summary;
    const char *details; /* lines of the page, may be NULL */
    const char *example;
    const struct option_entry *options; /* its own; ends with an entry without a name; may be NULL */
    uint32_t takes; /* OPTIONS_… shared with other commands */
    const uint8_t *statuses; /* exit statuses, ascending, ends with 255; 130 is said by all that catch signals */
    int min_arguments, max_arguments; /* -1: any number */
    size_t settings_size; /* bytes of its settings, zeroed before the options are read */
    int (*set)(struct tool *tool, void *settings, int id, const char *value); /* an option of its own; 0 or a status */
    int (*run)(struct tool *tool, void *settings, int n, char **arguments); /* returns a status */
};

/* All commands, ended by one without a name; defined in htstore.c. */
extern const struct command *const tool_commands[];
const struct command *tool_find_command(const char *name);

/* ---- messages, all to stderr; JSON Lines with --json ---- */

/* "htstore: SUBJECT: text"; subject may be NULL. Returns `status`. */
int tool_fail(const struct tool *tool, int status, const char *subject, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* What the library refused. `table` is the table at work, or NULL. Returns the exit status for error->code. */
int tool_fail_library(const struct tool *tool, const char *table, const struct htstore_error *error);

/* Wrong use: as tool_fail(), with where to read more. Returns STATUS_USAGE. */
int tool_fail_usage(const struct tool *tool, const char *format, ...) __attribute__((format(printf, 2, 3)));

void tool_warn(const struct tool *tool, const char *subject, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Not with --quiet. */
void tool_note(const struct tool *tool, const char *subject, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A line that is not a message, such as a summary. Releases the buffer. Not with --quiet. */
void tool_say(const struct tool *tool, struct buffer *line);

/* htstore_options.log with a struct tool as its user: warnings, and with --verbose all. Any thread. */
void tool_log(void *user, int32_t level, const char *module, const char *message);

/* ---- questions ---- */

/* Ask before something is destroyed. Returns 0 to go on, or a status after a refusal. */
int tool_confirm(const struct tool *tool, const char *question, const char *otherwise);

/* ---- stores ---- */

/* Open tool->store; `flags` as for htstore_open(). Returns 0 or a status, with a message. */
int tool_open(const struct tool *tool, uint32_t flags, struct htstore **store);

/* Close it. Returns `status`, or that of the close if `status` is 0. */
int tool_close(const struct tool *tool, struct htstore *store, int status);

/* The LSN of the state that this store shows; 0 if that cannot be read. */
uint64_t tool_lsn(struct htstore *store);

/* ---- output ---- */

/* Open -o FILE: asks before it replaces one. Returns 0 or a status. */
int tool_create_output(const struct tool *tool, const char *path, struct output *output);

/* Finish an output; `status` is what the command would return. Returns the final status, with a message. */
int tool_finish_output(struct tool *tool, struct output *output, int status);

/* Finish a JSON document or line: LF, and write it. */
void tool_end_json(struct output *output);

/* Whether an output would go to stdout: -o was not given, or is "-". */
bool tool_writes_stdout(const struct tool *tool);

/* A report about an output: a JSON line on stdout, or on stderr if the output itself is on stdout. */
void tool_end_report(struct tool *tool, struct buffer *line);

/* ---- values of options ---- */

/* A whole number between least and most. Returns 0 or a status, with a message. */
int tool_parse_count(const struct tool *tool, const char *option, const char *text, const uint64_t bounds[2],
                     uint64_t *value);

/* The number of one of the words, which end with NULL. Returns 0 or a status, with a message. */
int tool_parse_word(const struct tool *tool, const char *option, const char *text, const char *const *words,
                    int *value);

#endif
