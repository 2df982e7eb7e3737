/* managed: the folder of numbered checkpoints of a store, seen through its manager or, where that is not possible, alone. */
#ifndef TOOLS_MANAGED_H
#define TOOLS_MANAGED_H

#include "buffer.h"
#include "htstore.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tool;

/* Initialise with { .folder_argument, .prefix_argument }. */
struct managed {
    const char *folder_argument; /* NULL: in the store's folder */
    const char *prefix_argument; /* NULL: the default one */
    struct buffer folder;
    struct htstore *store;
    void *root; /* object that is the root; NULL: the root namespace */
    struct htstore_checkpoint *checkpoint;
    struct htstore_manager *manager; /* NULL: `files` are what the folder holds, none known as listed */
    struct htstore_arena *arena;
    const struct htstore_checkpoint_file *files; /* those that are listed last, oldest first */
    uint64_t n_files;
};

/*
 * Open as the owner of tool->store, with a manager. `root` is a PATH, or NULL for the root namespace. Returns 0 or a status,
 * with a message.
 */
int managed_open(struct managed *managed, const struct tool *tool, const char *root);

/*
 * Open to look: beside an owner, and without making anything. If another process manages the folder, or there is none, the
 * files are those with the right names.
 */
int managed_look(struct managed *managed, const struct tool *tool);

/* Read the list again. Returns 0 or a status, with a message. */
int managed_list(struct managed *managed, const struct tool *tool);

/* Close all. Returns `status`, or that of the close if `status` is 0. */
int managed_close(struct managed *managed, const struct tool *tool, int status);

/* Append the path of a checkpoint: that of the file, by its number; nothing needs to be open. */
void managed_path(const struct managed *managed, const struct tool *tool, int64_t number, struct buffer *path);

/* The number that an argument is. Returns false if it is none. */
bool managed_number(const char *argument, int64_t *number);

#endif
