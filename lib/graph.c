/* graph: hides the walk that numbers the objects of a store breadth first. */
#include "graph.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "mem.h"

static int no_memory(struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_ENOMEM, "no memory for the graph of objects");
}

static int compare_names(const void *a, const void *b)
{
    const struct hti_root_entry *x = a, *y = b;
    const size_t n = x->name_size < y->name_size ? x->name_size : y->name_size;
    const int order = memcmp(x->name, y->name, n);

    return order ? order : (x->name_size > y->name_size) - (x->name_size < y->name_size);
}

int hti_graph_list_names(struct htstore *store, struct hti_root_entry **entries, size_t *n)
{
    struct hti_root_entry *list;

    *n = 0;
    for (const struct hti_core *core = store->cores; core; core = core->next)
        *n += core->record.name && !core->dropped;
    list = hti_mem_alloc_array(*n + 1, sizeof *list);
    if (!list)
        return HTSTORE_ENOMEM;
    *n = 0;
    for (struct hti_core *core = store->cores; core; core = core->next)
        if (core->record.name && !core->dropped)
            list[(*n)++] = (struct hti_root_entry){ core->record.name, strlen(core->record.name), core };
    qsort(list, *n, sizeof *list, compare_names);
    *entries = list;
    return 0;
}

void hti_graph_counter_row(int64_t counter, uint8_t key[8], uint8_t value[8], struct hti_row *row)
{
    memset(key, 0, 8);
    hti_store_le64(value, (uint64_t)counter);
    *row = (struct hti_row){ key, 8, value, HTI_GRAPH_COUNTER_SIZE };
}

/* --- nodes --- */

struct gather {
    struct htstore *store;
    struct hti_graph *graph;
    uint32_t capacity;
    bool all_contents;
};

static int push_object(struct gather *g, const struct hti_graph_object *object)
{
    const uint32_t n = g->graph->snap.n_nodes; /* this one's node comes next */

    if (n == g->capacity) {
        const uint32_t wanted = g->capacity * 2 + 64;
        struct hti_graph_object *more = hti_mem_realloc_array(g->graph->objects, wanted, sizeof *more);
        if (!more)
            return HTSTORE_ENOMEM;
        g->graph->objects = more;
        g->capacity = wanted;
    }
    g->graph->objects[n] = *object;
    return 0;
}

static void describe(const struct gather *g, const struct hti_core *core, struct hti_snap_node *node)
{
    const struct hti_object_record *record = &core->record;
    const bool has_rows =
        record->kind == HTSTORE_KIND_VARIABLE ||
        (record->kind == HTSTORE_KIND_TABLE && (g->all_contents || !(record->flags & HTSTORE_NO_CHECKPOINT)));

    memset(node, 0, sizeof *node);
    node->kind = record->kind;
    node->role = record->role;
    node->key_dtype = record->key_dtype;
    node->value_dtype = record->value_dtype;
    node->shape = record->value_shape;
    if (record->flags & HTSTORE_NO_CHECKPOINT)
        node->flags |= HTI_SNAP_NO_CHECKPOINT;
    if (record->flags & HTSTORE_LAYER)
        node->flags |= HTI_SNAP_LAYER;
    if (record->flags & HTSTORE_NOT_TRAINABLE)
        node->flags |= HTI_SNAP_NOT_TRAINABLE;
    if (has_rows) {
        node->flags |= HTI_SNAP_HAS_CONTENTS;
        node->n_rows = core->totals.n_rows;
        node->digest = core->totals.digest;
    }
}

/* The node of an object, made when it is met first. core->marks is its number + 1. */
static int find_node(struct gather *g, struct hti_core *core, uint32_t *number)
{
    struct hti_graph_object object = { .core = core, .id = core->record.id, .totals = core->totals };
    struct hti_snap_node node;
    int rc;

    if (core->marks != 0) {
        *number = core->marks - 1;
        return 0;
    }
    describe(g, core, &node);
    rc = push_object(g, &object);
    if (rc == 0)
        rc = hti_snap_graph_add_node(&g->graph->snap, &node, number);
    if (rc == 0 && core->record.kind == HTSTORE_KIND_TABLE)
        rc =
            hti_snap_graph_set_default(&g->graph->snap, *number, core->record.default_value, core->record.default_size);
    if (rc == 0)
        core->marks = *number + 1;
    return rc;
}

static int add_edge(struct gather *g, uint32_t parent, const char *name, size_t name_size, struct hti_core *core)
{
    uint32_t child;
    const int rc = find_node(g, core, &child);

    return rc ? rc : hti_snap_graph_add_edge(&g->graph->snap, parent, name, name_size, child);
}

static int add_members(struct gather *g, uint32_t number, const struct hti_core *core)
{
    int rc = 0;

    for (uint64_t i = 0; rc == 0 && i < core->members.n; i++) {
        const struct hti_member *member = &core->members.list[i];
        rc = add_edge(g, number, member->name, member->name_size, member->core);
    }
    return rc;
}

static int add_counter(struct gather *g, int64_t counter)
{
    const struct hti_graph_object none = { .totals = { .n_rows = 1 } };
    struct hti_snap_node node = { .kind = HTI_SNAP_VARIABLE,
                                  .flags = HTI_SNAP_HAS_CONTENTS | HTI_SNAP_NOT_TRAINABLE | HTI_SNAP_COUNTER,
                                  .role = HTI_SNAP_WEIGHT,
                                  .value_dtype = HTSTORE_INT64,
                                  .n_rows = 1 };
    uint8_t key[8], value[8];
    struct hti_row row;
    int rc = push_object(g, &none);

    hti_graph_counter_row(counter, key, value, &row);
    hti_digest_add(&node.digest, hti_hash_row(row.key, row.key_size, row.value, row.value_size));
    if (rc == 0)
        rc = hti_snap_graph_add_node(&g->graph->snap, &node, &g->graph->counter_node);
    g->graph->counter = counter;
    return rc ? rc
              : hti_snap_graph_add_edge(&g->graph->snap, 0, HTI_GRAPH_COUNTER_NAME, sizeof HTI_GRAPH_COUNTER_NAME - 1,
                                        g->graph->counter_node);
}

/* --- the root --- */

static bool has_counter_name(const struct hti_root_entry *entries, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (entries[i].name_size == sizeof HTI_GRAPH_COUNTER_NAME - 1 &&
            memcmp(entries[i].name, HTI_GRAPH_COUNTER_NAME, entries[i].name_size) == 0)
            return true;
    return false;
}

/* A key that the root mapping was given since the entries were listed is the mapping's: names occur once. */
static int add_entries(struct gather *g, const struct hti_core *mapping, const struct hti_root_entry *entries, size_t n)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < n; i++)
        if (!mapping || !hti_members_find(&mapping->members, entries[i].name, entries[i].name_size))
            rc = add_edge(g, 0, entries[i].name, entries[i].name_size, entries[i].core);
    return rc;
}

static int start_root(struct gather *g, const struct hti_root *root)
{
    const struct hti_graph_object none = { 0 };
    const struct hti_snap_node list = { .kind = HTI_SNAP_ROOT };
    uint32_t number;
    int rc;

    if (root->mapping)
        return find_node(g, root->mapping, &number);
    rc = push_object(g, &none);
    return rc ? rc : hti_snap_graph_add_node(&g->graph->snap, &list, &number);
}

static int add_root(struct gather *g, const struct hti_root *root, const int64_t *counter)
{
    struct hti_root_entry *names = NULL;
    size_t n = root->n_entries;
    const struct hti_root_entry *entries = root->entries;
    bool taken;
    int rc = start_root(g, root);

    if (rc == 0 && root->mapping)
        rc = add_members(g, 0, root->mapping);
    if (rc == 0 && root->names) {
        rc = hti_graph_list_names(g->store, &names, &n);
        entries = names;
    }
    if (rc == 0)
        rc = add_entries(g, root->mapping, entries, n);
    taken = rc == 0 && (has_counter_name(entries, n) ||
                        (root->mapping && hti_members_find(&root->mapping->members, HTI_GRAPH_COUNTER_NAME,
                                                           sizeof HTI_GRAPH_COUNTER_NAME - 1)));
    if (rc == 0 && counter && !taken)
        rc = add_counter(g, *counter);
    hti_mem_free(names);
    return rc;
}

int hti_graph_gather(struct htstore *store, const struct hti_root *root, bool all_contents, const int64_t *counter,
                     struct hti_graph *graph, struct htstore_error *error)
{
    struct gather g = { .store = store, .graph = graph, .all_contents = all_contents };
    int rc;

    memset(graph, 0, sizeof *graph);
    graph->counter_node = HTI_GRAPH_NONE;
    hti_snap_graph_init(&graph->snap);
    for (struct hti_core *core = store->cores; core; core = core->next)
        core->marks = 0;
    rc = add_root(&g, root, counter);
    for (uint32_t i = 1; rc == 0 && i < graph->snap.n_nodes; i++)
        if (graph->objects[i].core)
            rc = add_members(&g, i, graph->objects[i].core);
    if (rc != 0)
        hti_graph_release(graph);
    if (rc == HTSTORE_EINVAL)
        return hti_fail(error, rc, "the graph has more objects than a snapshot can hold");
    return rc ? no_memory(error) : 0;
}

void hti_graph_release(struct hti_graph *graph)
{
    hti_snap_graph_release(&graph->snap);
    hti_mem_free(graph->objects);
    memset(graph, 0, sizeof *graph);
}

/* --- the live graph, edge by edge --- */

static struct hti_core *find_entry(const struct hti_root *root, const void *name, size_t name_size)
{
    const struct hti_root_entry wanted = { .name = name, .name_size = name_size };
    const struct hti_root_entry *found =
        root->n_entries ? bsearch(&wanted, root->entries, root->n_entries, sizeof wanted, compare_names) : NULL;

    return found ? found->core : NULL;
}

static struct hti_core *find_named(struct htstore *store, const void *name, size_t name_size)
{
    for (struct hti_core *core = store->cores; core; core = core->next)
        if (!core->dropped && core->record.name && strlen(core->record.name) == name_size &&
            memcmp(core->record.name, name, name_size) == 0)
            return core;
    return NULL;
}

struct hti_core *hti_graph_child(struct htstore *store, const struct hti_root *root, const struct hti_core *from,
                                 const void *name, size_t name_size)
{
    const struct hti_member *member = from ? hti_members_find(&from->members, name, name_size) : NULL;

    if (member)
        return member->core;
    if (from && from != root->mapping)
        return NULL;
    return root->names ? find_named(store, name, name_size) : find_entry(root, name, name_size);
}
