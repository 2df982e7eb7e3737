/* tree: the objects of a store, one after the other, mappings entered depth first; cycles are cut. */
#ifndef TOOLS_TREE_H
#define TOOLS_TREE_H

#include "htstore.h"

#include <stdbool.h>
#include <stddef.h>

struct tool;
struct path;

/* One object on the way. Valid during the call. */
struct tree_node {
    const struct htstore_object *object;
    const char *path; /* as it is typed, without a slash at its end */
    char *const *names; /* what the path is made of */
    size_t n_names;
    const char *same_as; /* a mapping that was listed under this path before, and is not entered again; else NULL */
};

/* Returns 0 to go on, anything else to stop. */
typedef int (*tree_fn)(void *user, const struct tree_node *node);

/*
 * See all objects of the root namespace by name; or, with `from`, the entries of that mapping in the order in which they
 * were added, or the one object that it names. With `deep` also what is below. Returns 0 or a status, with a message.
 */
int tree_walk(const struct tool *tool, struct htstore *store, const struct path *from, bool deep, tree_fn see,
              void *user);

#endif
