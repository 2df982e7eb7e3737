/* status: hides the comparison of what was saved, what is there, and what was loaded. */
#include "status.h"

#include <stdio.h>
#include <string.h>

#include "arena.h"
#include "mem.h"
#include "restore.h"

#define MAX_SHOWN 10

/* Paths for a message: the first ones, and how many there are. */
struct sentence {
    char text[400];
    size_t size;
    uint64_t n;
};

static void add_path(struct sentence *s, const char *path)
{
    if (s->n++ < MAX_SHOWN && s->size < sizeof s->text) {
        const int n = snprintf(s->text + s->size, sizeof s->text - s->size, "%s%s", s->size ? ", " : "", path);
        s->size += n > 0 ? (size_t)n : 0;
    }
}

static const char *more(const struct sentence *s)
{
    return s->n > MAX_SHOWN || s->size >= sizeof s->text ? ", …" : "";
}

/* --- the live graph --- */

static int gather_live(struct htstore_restore *r, struct hti_graph *graph, struct htstore_error *error)
{
    struct hti_root_entry *room = hti_checkpoint_room(r->checkpoint);
    struct hti_root root;
    struct hti_buf record;
    int rc;

    if (!room)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for the graph of objects");
    rc = hti_checkpoint_root(r->checkpoint, room, &root, error);
    if (rc == 0)
        rc = hti_graph_gather(r->store, &root, false, NULL, graph, error);
    hti_mem_free(room);
    if (rc != 0)
        return rc;
    hti_buf_init(&record); /* encoding finds the paths of nodes */
    rc = hti_snap_graph_encode(&graph->snap, &record, error);
    hti_buf_release(&record);
    if (rc != 0)
        hti_graph_release(graph);
    return rc;
}

/* Was it loaded by this restore or a later one, as far as it has contents to restore? */
static bool is_matched(const struct htstore_restore *r, const struct hti_graph *live, uint32_t node)
{
    const struct hti_core *core = live->objects[node].core;

    return !core || !(live->snap.nodes[node].flags & HTI_SNAP_HAS_CONTENTS) || core->restored_by >= r->binding.number;
}

static bool is_saved_matched(const struct htstore_restore *r, uint32_t node)
{
    const struct hti_bound *bound = &r->binding.bound[node];

    return !(r->binding.saved->nodes[node].flags & HTI_SNAP_HAS_CONTENTS) || node == r->binding.counter_node ||
           bound->loaded;
}

/* --- assertions. With the graph's mutex --- */

static int assert_live(struct htstore_restore *r, struct htstore_error *error)
{
    struct sentence missing = { .n = 0 };
    struct hti_graph live;
    char label[HTI_SNAP_LABEL_SIZE];
    int rc = gather_live(r, &live, error);

    if (rc != 0)
        return rc;
    for (uint32_t i = 0; i < live.snap.n_nodes; i++) {
        if (is_matched(r, &live, i))
            continue;
        hti_snap_graph_label(&live.snap, i, label);
        add_path(&missing, label);
    }
    hti_graph_release(&live);
    if (r->binding.n_inconsistent > 0)
        return hti_fail(error, HTSTORE_ECONFLICT,
                        "Inconsistent references when loading the checkpoint: %llu saved objects were reached by paths "
                        "to two live ones",
                        (unsigned long long)r->binding.n_inconsistent);
    if (missing.n > 0)
        return hti_fail(error, HTSTORE_ENOTFOUND, "Found %llu objects that were not bound to checkpointed values: %s%s",
                        (unsigned long long)missing.n, missing.text, more(&missing));
    return 0;
}

static int assert_saved(const struct htstore_restore *r, struct htstore_error *error)
{
    struct sentence unresolved = { .n = 0 }, unused = { .n = 0 };
    char label[HTI_SNAP_LABEL_SIZE];

    for (uint32_t i = 0; i < r->binding.saved->n_nodes; i++) {
        if (is_saved_matched(r, i))
            continue;
        hti_snap_graph_label(r->binding.saved, i, label);
        add_path(r->binding.bound[i].id ? &unused : &unresolved, label);
    }
    if (unresolved.n > 0)
        return hti_fail(error, HTSTORE_ENOTFOUND, "Unresolved object in checkpoint %s%s (%llu in all)", unresolved.text,
                        more(&unresolved), (unsigned long long)unresolved.n);
    if (unused.n > 0)
        return hti_fail(error, HTSTORE_ENOTFOUND, "Unused attributes in these objects: %s%s (%llu in all)", unused.text,
                        more(&unused), (unsigned long long)unused.n);
    return 0;
}

static int assert_consumed(struct htstore_restore *r, struct htstore_error *error)
{
    const int rc = assert_live(r, error);

    return rc ? rc : assert_saved(r, error);
}

static int assert_nontrivial(struct htstore_restore *r, struct htstore_error *error)
{
    struct hti_graph live;
    uint32_t n_live;
    int rc;

    for (uint32_t i = 1; i < r->binding.saved->n_nodes; i++)
        if (r->binding.bound[i].id)
            return 0;
    rc = gather_live(r, &live, error);
    if (rc != 0)
        return rc;
    n_live = live.snap.n_nodes;
    hti_graph_release(&live);
    return n_live <= 1
               ? 0
               : hti_fail(error, HTSTORE_ENOTFOUND, "Nothing except the root object matches a checkpointed value");
}

static int run_assertion(struct htstore_restore *r,
                         int (*assertion)(struct htstore_restore *r, struct htstore_error *error),
                         struct htstore_error *error)
{
    int rc = hti_restore_check(r, error);

    if (rc != 0)
        return rc;
    if (!r->reader)
        return hti_fail(error, HTSTORE_ENOTFOUND, "No checkpoint specified; nothing is being restored");
    pthread_mutex_lock(&r->store->flush_mutex);
    rc = assertion(r, error);
    r->asserted = r->asserted || rc == 0;
    pthread_mutex_unlock(&r->store->flush_mutex);
    return rc;
}

int htstore_restore_assert_existing_objects_matched(struct htstore_restore *status, struct htstore_error *error)
{
    return run_assertion(status, assert_live, error);
}

int htstore_restore_assert_consumed(struct htstore_restore *status, struct htstore_error *error)
{
    return run_assertion(status, assert_consumed, error);
}

int htstore_restore_assert_nontrivial_match(struct htstore_restore *status, struct htstore_error *error)
{
    return run_assertion(status, assert_nontrivial, error);
}

void htstore_restore_expect_partial(struct htstore_restore *status)
{
    if (hti_restore_check(status, NULL) != 0)
        return;
    pthread_mutex_lock(&status->store->flush_mutex);
    status->partial_expected = true;
    pthread_mutex_unlock(&status->store->flush_mutex);
}

int htstore_restore_release(struct htstore_restore *status)
{
    bool missing = false;

    if (hti_restore_check(status, NULL) != 0)
        return 0;
    pthread_mutex_lock(&status->store->flush_mutex);
    if (!status->asserted && !status->partial_expected && status->reader)
        missing = assert_consumed(status, NULL) != 0;
    pthread_mutex_unlock(&status->store->flush_mutex);
    hti_restore_close(status);
    return missing;
}

/* --- lists --- */

static int push_path(const struct hti_snap_graph *graph, uint32_t node, struct htstore_arena *arena, const char **list,
                     uint64_t *n)
{
    struct hti_buf buf;
    char *copy = NULL;

    hti_buf_init(&buf);
    if (hti_snap_graph_path(graph, node, &buf) == 0)
        copy = hti_arena_alloc(arena, buf.size + 1, 1);
    if (copy) {
        memcpy(copy, buf.data, buf.size);
        copy[buf.size] = 0;
        list[(*n)++] = copy;
    }
    hti_buf_release(&buf);
    return copy ? 0 : HTSTORE_ENOMEM;
}

static int list_saved(const struct htstore_restore *r, struct htstore_arena *arena, const char ***list, uint64_t *n)
{
    const struct hti_snap_graph *saved = r->binding.saved;
    int rc = 0;

    *n = 0;
    *list = hti_arena_alloc(arena, r->reader ? saved->n_nodes : 0, sizeof **list);
    if (!*list)
        return HTSTORE_ENOMEM;
    for (uint32_t i = 0; rc == 0 && r->reader && i < saved->n_nodes; i++)
        if (!is_saved_matched(r, i))
            rc = push_path(saved, i, arena, *list, n);
    return rc;
}

static int list_live(struct htstore_restore *r, struct htstore_arena *arena, const char ***list, uint64_t *n,
                     struct htstore_error *error)
{
    struct hti_graph live;
    int rc = gather_live(r, &live, error);

    if (rc != 0)
        return rc;
    *n = 0;
    *list = hti_arena_alloc(arena, live.snap.n_nodes, sizeof **list);
    rc = *list ? 0 : HTSTORE_ENOMEM;
    for (uint32_t i = 0; rc == 0 && i < live.snap.n_nodes; i++)
        if (!is_matched(r, &live, i))
            rc = push_path(&live.snap, i, arena, *list, n);
    hti_graph_release(&live);
    return rc;
}

int htstore_restore_unmatched(struct htstore_restore *status, struct htstore_arena *arena, const char *const **saved,
                              uint64_t *n_saved, const char *const **live, uint64_t *n_live,
                              struct htstore_error *error)
{
    const char **saved_list, **live_list;
    uint64_t n_a, n_b;
    int rc = hti_restore_check(status, error);

    if (rc != 0)
        return rc;
    if (!hti_arena_is_valid(arena) || !saved || !n_saved || !live || !n_live)
        return hti_fail(error, HTSTORE_EINVAL, "arena or a place for the lists is NULL");
    pthread_mutex_lock(&status->store->flush_mutex);
    rc = list_saved(status, arena, &saved_list, &n_a);
    if (rc == 0)
        rc = list_live(status, arena, &live_list, &n_b, error);
    pthread_mutex_unlock(&status->store->flush_mutex);
    if (rc == HTSTORE_ENOMEM)
        return hti_fail(error, rc, "no memory for the lists");
    if (rc != 0)
        return rc;
    *saved = saved_list;
    *n_saved = n_a;
    *live = live_list;
    *n_live = n_b;
    return 0;
}
