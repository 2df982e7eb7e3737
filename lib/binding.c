/* binding: hides the walk over two graphs at once: the saved one and the live one. */
#include "binding.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "text.h"

#define SCHEMA_TEXT_SIZE 480

static int no_memory(struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_ENOMEM, "no memory for a restore");
}

/* Edges the other way round: those that lead to node i are list[first[i]] to list[first[i + 1] - 1]. */
static void turn_edges(const struct hti_snap_graph *saved, uint64_t *first, uint32_t *list)
{
    memset(first, 0, ((size_t)saved->n_nodes + 2) * sizeof *first);
    for (uint64_t e = 0; e < saved->n_edges; e++)
        first[saved->edges[e].child + 2]++;
    for (uint32_t i = 0; i < saved->n_nodes; i++)
        first[i + 2] += first[i + 1];
    for (uint32_t i = 0; i < saved->n_nodes; i++)
        for (uint32_t k = 0; k < saved->nodes[i].n_edges; k++)
            list[first[saved->edges[saved->nodes[i].first_edge + k].child + 1]++] = i;
}

/* From the nodes with contents up along all edges. */
static int find_contents(struct hti_binding *binding)
{
    const struct hti_snap_graph *saved = binding->saved;
    uint64_t *first = hti_mem_alloc_array((size_t)saved->n_nodes + 2, sizeof *first);
    uint32_t *list = hti_mem_alloc_array((size_t)saved->n_edges + 1, sizeof *list);
    uint32_t *stack = hti_mem_alloc_array(saved->n_nodes, sizeof *stack);
    const bool failed = !first || !list || !stack;
    size_t n = 0;

    if (!failed)
        turn_edges(saved, first, list);
    for (uint32_t i = 0; !failed && i < saved->n_nodes; i++) {
        binding->has_contents[i] = (saved->nodes[i].flags & HTI_SNAP_HAS_CONTENTS) != 0;
        if (binding->has_contents[i])
            stack[n++] = i;
    }
    while (n > 0) {
        const uint32_t node = stack[--n];
        for (uint64_t k = first[node]; k < first[node + 1]; k++) {
            if (!binding->has_contents[list[k]])
                stack[n++] = list[k];
            binding->has_contents[list[k]] = 1;
        }
    }
    hti_mem_free(first);
    hti_mem_free(list);
    hti_mem_free(stack);
    return failed ? HTSTORE_ENOMEM : 0;
}

static int allocate(struct hti_binding *binding)
{
    const uint32_t n = binding->saved->n_nodes;

    binding->n_slots = 2;
    while (binding->n_slots < 2 * (uint64_t)n)
        binding->n_slots *= 2;
    binding->bound = hti_mem_zalloc_array(n, sizeof *binding->bound);
    binding->has_contents = hti_mem_zalloc_array(n, 1);
    binding->supplied = hti_mem_zalloc_array((size_t)binding->n_slots, sizeof *binding->supplied);
    return binding->bound && binding->has_contents && binding->supplied ? 0 : HTSTORE_ENOMEM;
}

int hti_binding_init(struct hti_binding *binding, struct htstore *store, const struct hti_snap_graph *saved,
                     uint32_t counter_node, struct htstore_error *error)
{
    memset(binding, 0, sizeof *binding);
    binding->store = store;
    binding->saved = saved;
    binding->counter_node = counter_node;
    if (allocate(binding) == 0 && find_contents(binding) == 0)
        return 0;
    hti_binding_release(binding);
    return no_memory(error);
}

void hti_binding_release(struct hti_binding *binding)
{
    hti_mem_free(binding->bound);
    hti_mem_free(binding->has_contents);
    hti_mem_free(binding->supplied);
    hti_mem_free(binding->missing);
    memset(binding, 0, sizeof *binding);
}

int hti_binding_copy(const struct hti_binding *binding, struct hti_binding *copy, struct htstore_error *error)
{
    const uint32_t n = binding->saved->n_nodes;

    *copy = *binding;
    copy->missing = hti_mem_alloc_array(binding->n_missing + 1, sizeof *copy->missing);
    copy->max_missing = binding->n_missing + 1;
    if (allocate(copy) != 0 || !copy->missing) {
        hti_binding_release(copy);
        return no_memory(error);
    }
    memcpy(copy->bound, binding->bound, n * sizeof *copy->bound);
    memcpy(copy->has_contents, binding->has_contents, n);
    memcpy(copy->supplied, binding->supplied, (size_t)binding->n_slots * sizeof *copy->supplied);
    if (binding->n_missing > 0)
        memcpy(copy->missing, binding->missing, binding->n_missing * sizeof *copy->missing);
    return 0;
}

void hti_binding_swap(struct hti_binding *a, struct hti_binding *b)
{
    const struct hti_binding was = *a;

    *a = *b;
    *b = was;
}

/* --- one object --- */

static void describe(char out[SCHEMA_TEXT_SIZE], uint32_t kind, uint32_t key_dtype, uint32_t value_dtype,
                     const struct hti_shape *shape)
{
    char text[HTI_SHAPE_TEXT_SIZE];

    hti_shape_format(text, shape, NULL);
    if (kind == HTSTORE_KIND_TABLE)
        snprintf(out, SCHEMA_TEXT_SIZE, "table %s->%s%s", htstore_dtype_name(key_dtype),
                 htstore_dtype_name(value_dtype), text);
    else if (kind == HTSTORE_KIND_VARIABLE)
        snprintf(out, SCHEMA_TEXT_SIZE, "variable %s%s", htstore_dtype_name(value_dtype), text);
    else
        snprintf(out, SCHEMA_TEXT_SIZE, "mapping");
}

static bool is_compatible(const struct hti_snap_node *node, const struct hti_object_record *record)
{
    if (node->kind != record->kind)
        return false;
    return record->kind == HTSTORE_KIND_MAPPING ||
           (node->key_dtype == record->key_dtype && node->value_dtype == record->value_dtype &&
            hti_shape_equal(&node->shape, &record->value_shape));
}

static int refuse(const struct hti_binding *binding, uint32_t number, const struct hti_core *core,
                  struct htstore_error *error)
{
    const struct hti_snap_node *node = &binding->saved->nodes[number];
    char label[HTI_SNAP_LABEL_SIZE], a[SCHEMA_TEXT_SIZE], b[SCHEMA_TEXT_SIZE];

    hti_snap_graph_label(binding->saved, number, label);
    describe(a, node->kind, node->key_dtype, node->value_dtype, &node->shape);
    describe(b, core->record.kind, core->record.key_dtype, core->record.value_dtype, &core->record.value_shape);
    return hti_fail(error, HTSTORE_ECONFLICT, "Conflicting schemas for %s: the checkpoint has a %s, the store a %s",
                    label, a, b);
}

/* Note that an object is supplied; false if it was already. There are twice as many slots as saved objects. */
static bool supply(struct hti_binding *binding, uint64_t id)
{
    uint64_t at = id * UINT64_C(0x9E3779B97F4A7C15) & (binding->n_slots - 1);

    while (binding->supplied[at] != 0 && binding->supplied[at] != id)
        at = (at + 1) & (binding->n_slots - 1);
    if (binding->supplied[at] == id)
        return false;
    binding->supplied[at] = id;
    return true;
}

static void decide_contents(struct hti_binding *binding, uint32_t number, const struct hti_core *core)
{
    struct hti_bound *bound = &binding->bound[number];

    if (!(binding->saved->nodes[number].flags & HTI_SNAP_HAS_CONTENTS))
        return;
    if ((core->record.flags & HTSTORE_NO_CHECKPOINT) || !supply(binding, core->record.id))
        bound->unused = true;
    else
        bound->supplies = true;
}

/* 0; 1 = the walk must go on below it; HTSTORE_ECONFLICT. */
static int bind(struct hti_binding *binding, uint32_t number, const struct hti_core *core, struct htstore_error *error)
{
    struct hti_bound *bound = &binding->bound[number];

    if (bound->id != 0) {
        binding->n_inconsistent += bound->id != core->record.id;
        return 0;
    }
    if (number == 0 && binding->saved->nodes[0].kind == HTI_SNAP_ROOT)
        return 0; /* a list is no object */
    if (!is_compatible(&binding->saved->nodes[number], &core->record))
        return refuse(binding, number, core, error);
    bound->id = core->record.id;
    decide_contents(binding, number, core);
    return 1;
}

/* --- the walk --- */

/* A saved node whose edges are to be followed from a live object. */
struct step {
    uint32_t node;
    const struct hti_core *core; /* NULL: the root's list */
};

struct walk {
    struct hti_binding *binding;
    const struct hti_root *root;
    struct step *queue;
    size_t n_steps, next;
    struct htstore_error *error;
};

static int note_missing(struct walk *w, const struct step *step, uint64_t edge)
{
    struct hti_binding *b = w->binding;
    const uint32_t node = b->saved->edges[edge].child;
    struct hti_missing *more;

    if (!b->has_contents[node] || (!step->core && !b->root_is_names))
        return 0; /* nothing to wait for, or a list that nothing can be added to */
    if (b->n_missing == b->max_missing) {
        more = hti_mem_realloc_array(b->missing, b->max_missing * 2 + 16, sizeof *more);
        if (!more)
            return no_memory(w->error);
        b->missing = more;
        b->max_missing = b->max_missing * 2 + 16;
    }
    b->missing[b->n_missing++] = (struct hti_missing){ step->core ? step->core->record.id : 0, edge, node };
    return 0;
}

static int follow_edge(struct walk *w, const struct step *step, uint64_t edge)
{
    struct hti_binding *b = w->binding;
    const struct hti_snap_edge *e = &b->saved->edges[edge];
    struct hti_core *child =
        hti_graph_child(b->store, w->root, step->core, hti_snap_graph_name(b->saved, e), e->name_size);
    int rc;

    if (e->child == b->counter_node && !child)
        return 0;
    if (!child)
        return note_missing(w, step, edge);
    if (e->child == b->counter_node)
        b->counter_node = HTI_GRAPH_NONE; /* the user's own object of that name */
    rc = bind(b, e->child, child, w->error);
    if (rc == 1)
        w->queue[w->n_steps++] = (struct step){ e->child, child };
    return rc < 0 ? rc : 0;
}

static int run(struct walk *w)
{
    int rc = 0;

    while (rc == 0 && w->next < w->n_steps) {
        const struct step step = w->queue[w->next++];
        const struct hti_snap_node *node = &w->binding->saved->nodes[step.node];
        for (uint64_t i = 0; rc == 0 && i < node->n_edges; i++)
            rc = follow_edge(w, &step, node->first_edge + i);
    }
    return rc;
}

static int start_walk(struct walk *w, struct hti_binding *binding, const struct hti_root *root,
                      struct htstore_error *error)
{
    *w = (struct walk){ .binding = binding, .root = root, .error = error };
    w->queue = hti_mem_alloc_array((size_t)binding->saved->n_nodes + 1, sizeof *w->queue);
    return w->queue ? 0 : no_memory(error);
}

int hti_binding_start(struct hti_binding *binding, const struct hti_root *root, struct htstore_error *error)
{
    struct walk w;
    int rc = start_walk(&w, binding, root, error);

    if (rc != 0)
        return rc;
    binding->root_is_names = root->names;
    if (root->mapping && binding->saved->nodes[0].kind == HTI_SNAP_MAPPING)
        binding->bound[0].id = root->mapping->record.id;
    w.queue[w.n_steps++] = (struct step){ 0, root->mapping };
    rc = run(&w);
    hti_mem_free(w.queue);
    return rc;
}

int hti_binding_add(struct hti_binding *binding, const struct hti_missing *missing, struct hti_core *core,
                    struct htstore_error *error)
{
    const struct hti_root nothing = { 0 }; /* below a mapping the root counts no more */
    struct walk w;
    int rc = start_walk(&w, binding, &nothing, error);

    if (rc != 0)
        return rc;
    rc = bind(binding, missing->node, core, error);
    if (rc == 1) {
        w.queue[w.n_steps++] = (struct step){ missing->node, core };
        rc = run(&w);
    }
    hti_mem_free(w.queue);
    return rc;
}

void hti_binding_remove_missing(struct hti_binding *binding, uint64_t mapping, uint64_t edge)
{
    size_t n = 0;

    for (size_t i = 0; i < binding->n_missing; i++)
        if (binding->missing[i].mapping != mapping || binding->missing[i].edge != edge)
            binding->missing[n++] = binding->missing[i];
    binding->n_missing = n;
}
