/* checkpoint: the verbs of the command checkpoint. */
#ifndef TOOLS_CHECKPOINT_H
#define TOOLS_CHECKPOINT_H

#include "retain.h"

#include <stdbool.h>
#include <stdint.h>

struct tool;

struct checkpoint_settings {
    const char *root, *folder, *prefix; /* NULL: not given */
    struct retain_rule rule;
    uint64_t level; /* of Zstandard; 0: not given */
    bool exit_code;
};

/* tool->store is set; `arguments` are those behind STORE. Each returns a status, with a message. */
int checkpoint_save(struct tool *tool, const struct checkpoint_settings *settings, int n, char **arguments);
int checkpoint_remove(struct tool *tool, const struct checkpoint_settings *settings, int n, char **arguments);
int checkpoint_prune(struct tool *tool, const struct checkpoint_settings *settings, int n, char **arguments);
int checkpoint_list(struct tool *tool, const struct checkpoint_settings *settings, int n, char **arguments);
int checkpoint_verify(struct tool *tool, const struct checkpoint_settings *settings, int n, char **arguments);
int checkpoint_diff(struct tool *tool, const struct checkpoint_settings *settings, int n, char **arguments);

#endif
