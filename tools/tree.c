/* tree: hides how mappings are walked without recursion, and which were seen before. */
#include "tree.h"

#include "escape.h"
#include "path.h"
#include "tool.h"

#include <stdlib.h>
#include <string.h>

/* The entries of one mapping, or the root namespace, on the way. */
struct level {
    struct htstore_arena *arena;
    const struct htstore_item *items;
    struct htstore_item *own_items; /* memory of the items, if it is not the arena's */
    uint64_t n, next;
    size_t path_size; /* of the path of the mapping itself */
};

/* A mapping that was listed: its number and its path. Number 0 is a free place. */
struct listed {
    uint64_t id;
    char *path;
};

struct tree {
    const struct tool *tool;
    struct htstore *store;
    bool deep, stopped;
    tree_fn see;
    void *user;
    struct level *levels;
    size_t n_levels, capacity;
    struct buffer path; /* as typed */
    char **names; /* unescaped; room for n_before + capacity */
    size_t n_names, n_before; /* all of them; those above the first level */
    struct listed *listed; /* hash table with n_listed_places places, a power of two */
    size_t n_listed, n_listed_places;
};

/* ---- mappings that were listed ---- */

static struct listed *find_place(const struct tree *tree, uint64_t id)
{
    size_t at = (size_t)(id * UINT64_C(0x9e3779b97f4a7c15) >> 20);

    while (tree->listed[at & (tree->n_listed_places - 1)].id != 0 &&
           tree->listed[at & (tree->n_listed_places - 1)].id != id)
        at++;
    return &tree->listed[at & (tree->n_listed_places - 1)];
}

static void grow_listed(struct tree *tree)
{
    struct listed *old = tree->listed;
    size_t n_old = tree->n_listed_places;

    tree->n_listed_places = n_old == 0 ? 64 : 2 * n_old;
    tree->listed = memory_new(tree->n_listed_places, sizeof *tree->listed);
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].id != 0)
            *find_place(tree, old[i].id) = old[i];
    }
    free(old);
}

/* The path under which the mapping was listed before; NULL, and it is listed now, if it was not. */
static const char *list_mapping(struct tree *tree, uint64_t id)
{
    struct listed *place;

    if (2 * tree->n_listed >= tree->n_listed_places)
        grow_listed(tree);
    place = find_place(tree, id);
    if (place->id == id)
        return place->path;
    place->id = id;
    place->path = memory_new(tree->path.size + 1, 1);
    memcpy(place->path, buffer_string(&tree->path), tree->path.size);
    tree->n_listed++;
    return NULL;
}

/* ---- levels ---- */

static struct level *add_level(struct tree *tree)
{
    struct level *level;

    if (tree->n_levels == tree->capacity) {
        tree->capacity = tree->capacity == 0 ? 16 : 2 * tree->capacity;
        tree->levels = memory_resize(tree->levels, tree->capacity, sizeof *tree->levels);
        tree->names = memory_resize(tree->names, tree->n_before + tree->capacity, sizeof *tree->names);
    }
    level = &tree->levels[tree->n_levels++];
    memset(level, 0, sizeof *level);
    level->path_size = tree->path.size;
    return level;
}

static void remove_level(struct tree *tree)
{
    struct level *level = &tree->levels[--tree->n_levels];

    free(level->own_items);
    htstore_arena_free(level->arena);
}

/* The objects of the root namespace as items. */
static int list_root(struct tree *tree, struct level *level, struct htstore_error *error)
{
    const struct htstore_object *objects;
    struct htstore_item *items;
    int result = htstore_list(tree->store, level->arena, &objects, &level->n, error);

    if (result < 0)
        return result;
    items = memory_new((size_t)level->n, sizeof *items);
    for (uint64_t i = 0; i < level->n; i++) {
        items[i].key = htstore_string(objects[i].name);
        items[i].id = objects[i].id;
        items[i].kind = objects[i].kind;
    }
    level->items = level->own_items = items;
    return 0;
}

static int list_entries(struct tree *tree, struct level *level, uint64_t id, struct htstore_error *error)
{
    void *mapping;
    int result = htstore_object_open(tree->store, id, NULL, &mapping, error);

    if (result < 0)
        return result;
    result = htstore_mapping_items(mapping, level->arena, &level->items, &level->n, error);
    htstore_object_close(mapping, NULL);
    return result;
}

/* Enter a mapping, or the root namespace for id 0. */
static int enter(struct tree *tree, uint64_t id)
{
    struct level *level = add_level(tree);
    struct htstore_error error;
    int result = htstore_arena_new(&level->arena, &error);

    if (result == 0)
        result = id == 0 ? list_root(tree, level, &error) : list_entries(tree, level, id, &error);
    return result < 0 ? tool_fail_library(tree->tool, NULL, &error) : STATUS_DONE;
}

/* Tell of the object that the path names, and enter it. */
static int visit(struct tree *tree, uint64_t id, bool enter_it)
{
    struct htstore_object object;
    struct tree_node node = { .object = &object, .names = tree->names, .n_names = tree->n_names };
    struct htstore_arena *arena = NULL;
    struct htstore_error error;
    int status = STATUS_DONE;

    if (htstore_arena_new(&arena, &error) < 0 || htstore_describe(tree->store, id, arena, &object, &error) < 0)
        status = tool_fail_library(tree->tool, NULL, &error);
    if (status == STATUS_DONE) {
        node.path = buffer_string(&tree->path);
        if (object.kind == HTSTORE_KIND_MAPPING && enter_it)
            node.same_as = list_mapping(tree, id);
        tree->stopped = tree->see(tree->user, &node) != 0;
        if (object.kind == HTSTORE_KIND_MAPPING && enter_it && node.same_as == NULL && !tree->stopped)
            status = enter(tree, id);
    }
    htstore_arena_free(arena);
    return status;
}

/* The next object of the deepest level. */
static int step(struct tree *tree)
{
    struct level *level = &tree->levels[tree->n_levels - 1];
    const struct htstore_item *item = &level->items[level->next++];

    tree->path.size = level->path_size;
    tree->n_names = tree->n_before + tree->n_levels - 1;
    if (tree->path.size > 0)
        buffer_add(&tree->path, '/');
    escape_name(&tree->path, item->key.data);
    tree->names[tree->n_names++] = (char *)(uintptr_t)item->key.data;
    return visit(tree, item->id, tree->deep);
}

static int walk(struct tree *tree)
{
    int status = STATUS_DONE;

    while (status == STATUS_DONE && tree->n_levels > 0 && !tree->stopped) {
        const struct level *level = &tree->levels[tree->n_levels - 1];

        if (level->next == level->n)
            remove_level(tree);
        else
            status = step(tree);
    }
    return status;
}

/* Begin at what `from` names: its entries, or it alone. */
static int begin_at(struct tree *tree, const struct path *from)
{
    void *object = NULL;
    uint32_t kind;
    uint64_t id;
    int status = path_open(tree->tool, tree->store, from, &kind, &object);

    if (status != STATUS_DONE)
        return status;
    id = htstore_object_id(object);
    htstore_object_close(object, NULL);
    tree->n_before = tree->n_names = from->n;
    tree->names = memory_resize(tree->names, from->n, sizeof *tree->names);
    memcpy(tree->names, from->names, from->n * sizeof *tree->names);
    path_write(&tree->path, from, from->n);
    if (kind != HTSTORE_KIND_MAPPING)
        return visit(tree, id, false);
    list_mapping(tree, id);
    return enter(tree, id);
}

int tree_walk(const struct tool *tool, struct htstore *store, const struct path *from, bool deep, tree_fn see,
              void *user)
{
    struct tree tree = { .tool = tool, .store = store, .deep = deep, .see = see, .user = user };
    int status = from != NULL ? begin_at(&tree, from) : enter(&tree, 0);

    if (status == STATUS_DONE)
        status = walk(&tree);
    while (tree.n_levels > 0)
        remove_level(&tree);
    for (size_t i = 0; i < tree.n_listed_places; i++)
        free(tree.listed[i].path);
    free(tree.listed);
    free(tree.levels);
    free(tree.names);
    buffer_release(&tree.path);
    return status;
}
