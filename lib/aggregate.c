/* aggregate: hides the walks that gather layers, weights, losses and updates below a mapping. */
#include "aggregate.h"

#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "mem.h"
#include "object.h"
#include "state.h"

/* What a walk has done with an object. */
#define MARK_ENTERED 1u
#define MARK_TRAINABLE 2u /* expanded for its trainable weights */
#define MARK_OTHERS 4u /* expanded for the others */
#define MARK_EXCLUDED 8u /* must not be listed */
#define MARK_LISTED 16u

enum task_kind { TASK_LAYERS, TASK_ROLE, TASK_TRAINABLE, TASK_OTHERS, TASK_LIST_TRAINABLE, TASK_LIST_OTHERS };

struct task {
    enum task_kind kind;
    struct hti_core *core;
};

/* Depth first, by a stack of tasks: cycles and depth are the caller's. */
struct walk {
    struct task *stack;
    size_t n_tasks, max_tasks;
    uint64_t *ids;
    size_t n_ids, max_ids;
    uint32_t role; /* of TASK_ROLE */
};

static int push(struct walk *w, enum task_kind kind, struct hti_core *core)
{
    if (w->n_tasks == w->max_tasks) {
        const size_t wanted = w->max_tasks * 2 + 16;
        struct task *more = hti_mem_realloc_array(w->stack, wanted, sizeof *more);
        if (!more)
            return HTSTORE_ENOMEM;
        w->stack = more;
        w->max_tasks = wanted;
    }
    w->stack[w->n_tasks++] = (struct task){ kind, core };
    return 0;
}

static int list_object(struct walk *w, struct hti_core *core)
{
    if (core->marks & (MARK_LISTED | MARK_EXCLUDED))
        return 0;
    if (w->n_ids == w->max_ids) {
        const size_t wanted = w->max_ids * 2 + 16;
        uint64_t *more = hti_mem_realloc_array(w->ids, wanted, sizeof *more);
        if (!more)
            return HTSTORE_ENOMEM;
        w->ids = more;
        w->max_ids = wanted;
    }
    core->marks |= MARK_LISTED;
    w->ids[w->n_ids++] = core->record.id;
    return 0;
}

/* --- members of a mapping --- */

static int compare_members(const void *a, const void *b)
{
    const struct hti_member *const *x = a, *const *y = b;
    const size_t n = (*x)->name_size < (*y)->name_size ? (*x)->name_size : (*y)->name_size;
    const int order = memcmp((*x)->name, (*y)->name, n);

    return order ? order : ((*x)->name_size > (*y)->name_size) - ((*x)->name_size < (*y)->name_size);
}

/* The mappings directly in it, in ascending order of keys, as tasks: the first on top. */
static int push_subs(struct walk *w, enum task_kind kind, const struct hti_core *core)
{
    const struct hti_member **subs = hti_mem_alloc_array((size_t)core->members.n, sizeof *subs);
    size_t n = 0;
    int rc = subs ? 0 : HTSTORE_ENOMEM;

    for (uint64_t i = 0; rc == 0 && i < core->members.n; i++)
        if (core->members.list[i].core->record.kind == HTSTORE_KIND_MAPPING)
            subs[n++] = &core->members.list[i];
    if (n > 1)
        qsort(subs, n, sizeof *subs, compare_members);
    while (rc == 0 && n > 0)
        rc = push(w, kind, subs[--n]->core);
    hti_mem_free(subs);
    return rc;
}

static int list_variables(struct walk *w, const struct hti_core *mapping, uint32_t role, uint32_t flags)
{
    int rc = 0;

    for (uint64_t i = 0; rc == 0 && i < mapping->members.n; i++) {
        struct hti_core *core = mapping->members.list[i].core;
        if (core->record.kind == HTSTORE_KIND_VARIABLE && core->record.role == role &&
            (role != HTSTORE_WEIGHT || (core->record.flags & HTSTORE_NOT_TRAINABLE) == flags))
            rc = list_object(w, core);
    }
    return rc;
}

/* --- tasks --- */

/* A layer is listed and not entered; the mapping asked is neither. */
static int do_layers(struct walk *w, struct hti_core *core)
{
    if (core->marks & MARK_ENTERED)
        return 0;
    core->marks |= MARK_ENTERED;
    return core->record.flags & HTSTORE_LAYER ? list_object(w, core) : push_subs(w, TASK_LAYERS, core);
}

static int do_role(struct walk *w, struct hti_core *core)
{
    int rc = 0;

    if (core->marks & MARK_ENTERED)
        return 0;
    core->marks |= MARK_ENTERED;
    if (core->record.flags & HTSTORE_LAYER)
        rc = list_variables(w, core, w->role, 0);
    return rc ? rc : push_subs(w, TASK_ROLE, core);
}

static int do_trainable(struct walk *w, struct hti_core *core)
{
    int rc;

    if ((core->marks & MARK_TRAINABLE) || (core->record.flags & HTSTORE_NOT_TRAINABLE))
        return 0;
    core->marks |= MARK_TRAINABLE;
    rc = push(w, TASK_LIST_TRAINABLE, core);
    return rc ? rc : push_subs(w, TASK_TRAINABLE, core);
}

/* In reverse, since the last task pushed is done first. */
static int do_others(struct walk *w, struct hti_core *core)
{
    int rc;

    if (core->marks & MARK_OTHERS)
        return 0;
    core->marks |= MARK_OTHERS;
    rc = push(w, TASK_LIST_OTHERS, core);
    if (rc == 0)
        rc = push_subs(w, TASK_OTHERS, core);
    if (rc != 0 || !(core->record.flags & HTSTORE_NOT_TRAINABLE))
        return rc;
    rc = push(w, TASK_LIST_TRAINABLE, core);
    return rc ? rc : push_subs(w, TASK_TRAINABLE, core);
}

static int do_task(struct walk *w, struct task task)
{
    switch (task.kind) {
    case TASK_LAYERS:
        return do_layers(w, task.core);
    case TASK_ROLE:
        return do_role(w, task.core);
    case TASK_TRAINABLE:
        return do_trainable(w, task.core);
    case TASK_OTHERS:
        return do_others(w, task.core);
    case TASK_LIST_TRAINABLE:
        return list_variables(w, task.core, HTSTORE_WEIGHT, 0);
    case TASK_LIST_OTHERS:
        return list_variables(w, task.core, HTSTORE_WEIGHT, HTSTORE_NOT_TRAINABLE);
    }
    return 0;
}

static int run(struct walk *w, enum task_kind kind, struct hti_core *core)
{
    int rc = push(w, kind, core);

    while (rc == 0 && w->n_tasks > 0)
        rc = do_task(w, w->stack[--w->n_tasks]);
    return rc;
}

/* --- aggregates --- */

static void clear_marks(struct htstore *store, uint32_t kept)
{
    for (struct hti_core *core = store->cores; core; core = core->next)
        core->marks &= kept;
}

static int walk_layers(struct walk *w, struct hti_core *root)
{
    int rc;

    root->marks |= MARK_ENTERED;
    rc = push_subs(w, TASK_LAYERS, root);
    while (rc == 0 && w->n_tasks > 0)
        rc = do_task(w, w->stack[--w->n_tasks]);
    return rc;
}

/* The trainable ones, and behind them the others; *n_trainable tells where those begin. */
static int walk_weights(struct htstore *store, struct walk *w, struct hti_core *root, size_t *n_trainable)
{
    int rc = run(w, TASK_TRAINABLE, root);

    *n_trainable = w->n_ids;
    for (struct hti_core *core = store->cores; core; core = core->next)
        if (core->marks & MARK_LISTED)
            core->marks |= MARK_EXCLUDED;
    clear_marks(store, MARK_EXCLUDED);
    return rc ? rc : run(w, TASK_OTHERS, root);
}

static int gather(struct htstore *store, struct hti_core *root, uint32_t aggregate, struct walk *w, size_t *first)
{
    size_t n_trainable;
    int rc;

    clear_marks(store, 0);
    *first = 0;
    switch (aggregate) {
    case HTSTORE_LAYERS:
        return walk_layers(w, root);
    case HTSTORE_TRAINABLE_WEIGHTS:
        return run(w, TASK_TRAINABLE, root);
    case HTSTORE_NON_TRAINABLE_WEIGHTS:
        rc = walk_weights(store, w, root, &n_trainable);
        *first = n_trainable;
        return rc;
    case HTSTORE_WEIGHTS:
        return walk_weights(store, w, root, &n_trainable);
    default:
        w->role = aggregate == HTSTORE_LOSSES ? HTSTORE_LOSS : HTSTORE_UPDATE;
        return run(w, TASK_ROLE, root);
    }
}

static int no_memory(struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_ENOMEM, "no memory for the list");
}

int htstore_mapping_walk(struct htstore_mapping *mapping, uint32_t aggregate, struct htstore_arena *arena,
                         const uint64_t **ids, uint64_t *n, struct htstore_error *error)
{
    struct walk w = { 0 };
    struct htstore *store;
    uint64_t *list = NULL;
    size_t first = 0;
    int rc = hti_check_mapping(mapping, false, error);

    if (rc != 0)
        return rc;
    if (!hti_arena_is_valid(arena) || !ids || !n)
        return hti_fail(error, HTSTORE_EINVAL, "arena, ids or n is NULL");
    if (aggregate < HTSTORE_LAYERS || aggregate > HTSTORE_UPDATES)
        return hti_fail(error, HTSTORE_EINVAL, "unknown aggregate %u", aggregate);
    store = mapping->handle.store;
    pthread_mutex_lock(hti_graph_mutex(store));
    rc = hti_object_check_alive(mapping->handle.core, error);
    if (rc == 0 && gather(store, mapping->handle.core, aggregate, &w, &first) != 0)
        rc = no_memory(error);
    pthread_mutex_unlock(hti_graph_mutex(store));
    if (rc == 0)
        list = hti_arena_alloc(arena, w.n_ids - first, sizeof *list);
    if (rc == 0 && !list)
        rc = no_memory(error);
    if (rc == 0) {
        if (w.n_ids > first)
            memcpy(list, w.ids + first, (w.n_ids - first) * sizeof *list);
        *ids = list;
        *n = w.n_ids - first;
    }
    hti_mem_free(w.stack);
    hti_mem_free(w.ids);
    return rc;
}
