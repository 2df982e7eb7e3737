/*
 * restore: hides how contents are read, built beside the old ones, and switched in. Everything is verified before the first
 * switch; what fails leaves all old contents.
 */
#include "restore.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "build.h"
#include "bytes.h"
#include "mem.h"
#include "save.h"
#include "snapshot.h"
#include "unpack.h"

int hti_restore_check(const struct htstore_restore *restore, struct htstore_error *error)
{
    if (!restore)
        return hti_fail(error, HTSTORE_EINVAL, "the status is NULL");
    if (restore->magic != HTI_MAGIC_RESTORE)
        return hti_fail(error, HTSTORE_EINVAL, "this is not the status of a restore");
    return hti_check_store(restore->store, false, error);
}

/* --- building contents --- */

/* Nodes whose contents are built, and what they become. */
struct loader {
    struct htstore *store;
    const struct hti_snap_graph *saved;
    uint64_t *ids; /* by node; 0: not wanted */
    struct hti_row_type *types; /* of the builds */
    struct hti_build *builds; /* finished ones, then the one under way */
    uint32_t *nodes; /* of the builds */
    size_t n_builds;
    bool building;
    bool takes_lock;
    uint32_t counter_node;
    int64_t counter;
};

static int no_memory(struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_ENOMEM, "no memory for a restore");
}

/* The last one first: if it is under way, it holds flush_mutex, which the others take. */
static void release_loader(struct loader *l)
{
    for (size_t i = l->n_builds; i > 0; i--) {
        hti_build_abort(&l->builds[i - 1]);
        hti_build_release(&l->builds[i - 1]);
    }
    hti_mem_free(l->ids);
    hti_mem_free(l->types);
    hti_mem_free(l->builds);
    hti_mem_free(l->nodes);
    memset(l, 0, sizeof *l);
}

/*
 * What the binding says is to be loaded. `before` (NULL: nothing): what it said already, which others load. The caller has
 * flush_mutex while it loads, unless it says otherwise.
 */
static int init_loader(struct loader *l, const struct hti_binding *binding, const struct hti_binding *before,
                       struct htstore_error *error)
{
    const struct hti_snap_graph *saved = binding->saved;
    size_t n = 0;

    memset(l, 0, sizeof *l);
    l->store = binding->store;
    l->saved = saved;
    l->counter_node = HTI_GRAPH_NONE;
    l->ids = hti_mem_zalloc_array(saved->n_nodes, sizeof *l->ids);
    for (uint32_t i = 0; l->ids && i < saved->n_nodes; i++) {
        if (binding->bound[i].supplies && !binding->bound[i].loaded && !(before && before->bound[i].supplies)) {
            l->ids[i] = binding->bound[i].id;
            n++;
        }
    }
    l->types = hti_mem_zalloc_array(n + 1, sizeof *l->types);
    l->builds = hti_mem_zalloc_array(n + 1, sizeof *l->builds);
    l->nodes = hti_mem_zalloc_array(n + 1, sizeof *l->nodes);
    if (l->ids && l->types && l->builds && l->nodes)
        return 0;
    release_loader(l);
    return no_memory(error);
}

static struct hti_build *start_build(struct loader *l, uint32_t node)
{
    struct hti_build *build = &l->builds[l->n_builds];

    if (!l->building) {
        hti_snap_node_row_type(&l->saved->nodes[node], &l->types[l->n_builds]);
        hti_build_init(build, l->store, &l->types[l->n_builds], l->ids[node], l->takes_lock);
        l->nodes[l->n_builds] = node;
        l->building = true;
    }
    return build;
}

static int take_counter(struct loader *l, const struct hti_unpacked *rows)
{
    const uint8_t *at = rows->stored;
    struct hti_unpacked_row row;

    if (hti_unpacked_next(&at, rows->stored + rows->stored_size, &row) && row.value_size >= 8)
        l->counter = (int64_t)hti_load_le64(row.value);
    return 0;
}

static int take_rows(void *user, const struct hti_unpacked *rows, struct htstore_error *error)
{
    struct loader *l = user;
    const uint8_t *at = rows->stored, *end = at + rows->stored_size;
    struct hti_unpacked_row row;
    struct hti_build *build;
    int rc = 0;

    if (rows->node == l->counter_node)
        return take_counter(l, rows);
    build = start_build(l, rows->node);
    while (rc == 0 && hti_unpacked_next(&at, end, &row))
        rc = hti_build_stored(build, (struct hti_kv_bytes){ row.key, row.key_size },
                              (struct hti_kv_bytes){ row.value, row.value_size }, error);
    hti_digest_add(&build->totals.digest, rows->digest);
    return rc;
}

static int end_rows(void *user, uint32_t node, struct htstore_error *error)
{
    struct loader *l = user;
    int rc;

    if (node == l->counter_node)
        return 0;
    rc = hti_build_finish(start_build(l, node), error);
    if (rc == 0) {
        l->building = false;
        l->n_builds++;
    }
    return rc;
}

/* The build that failed in the middle is forgotten with the others. */
static void note_failed(struct loader *l)
{
    if (l->building)
        l->n_builds++;
    l->building = false;
}

/* --- switching --- */

/* New contents for objects that are still there, and have none of a later restore. */
static size_t make_switches(struct htstore *store, struct loader *l, uint64_t number, struct hti_switch *switches)
{
    size_t n = 0;

    for (size_t i = 0; i < l->n_builds; i++) {
        struct hti_core *core = hti_core_by_id(store, l->builds[i].totals.id);
        if (!core || core->restored_by > number)
            continue;
        switches[n++] = (struct hti_switch){ .core = core, .totals = l->builds[i].totals, .restore = number };
    }
    return n;
}

/* The databases that became somebody's are not to be collected. */
static void forget_switched(struct loader *l, const struct hti_switch *switches, size_t n)
{
    for (size_t s = 0; s < n; s++)
        for (size_t i = 0; i < l->n_builds; i++)
            if (l->builds[i].totals.id == switches[s].totals.id)
                l->builds[i].totals.database = 0;
}

static void mark_loaded(struct hti_binding *binding, const struct loader *l)
{
    for (size_t i = 0; i < l->n_builds; i++)
        binding->bound[l->nodes[i]].loaded = true;
}

/* --- what waits for keys --- */

static bool names_equal(const struct hti_snap_graph *saved, const struct hti_missing *missing, const char *name,
                        size_t name_size)
{
    const struct hti_snap_edge *edge = &saved->edges[missing->edge];

    return edge->name_size == name_size && memcmp(hti_snap_graph_name(saved, edge), name, name_size) == 0;
}

/* The first key that waits for this addition. */
static const struct hti_missing *find_missing(const struct htstore_restore *r, uint64_t mapping, const char *name,
                                              size_t name_size)
{
    for (size_t i = 0; i < r->binding.n_missing; i++)
        if (r->binding.missing[i].mapping == mapping &&
            names_equal(r->binding.saved, &r->binding.missing[i], name, name_size))
            return &r->binding.missing[i];
    return NULL;
}

/* Several saved mappings may be bound to the live one: each has a key that waits. */
static int add_object(struct htstore_restore *r, uint64_t mapping, const char *name, size_t name_size,
                      struct hti_core *core, struct htstore_error *error)
{
    const struct hti_missing *found;
    int rc = 0;

    while (rc == 0 && (found = find_missing(r, mapping, name, name_size))) {
        const struct hti_missing missing = *found;
        if (!r->changed)
            rc = hti_binding_copy(&r->binding, &r->before, error);
        r->changed = r->changed || rc == 0;
        if (rc == 0)
            rc = hti_binding_add(&r->binding, &missing, core, error);
        if (rc == 0)
            hti_binding_remove_missing(&r->binding, missing.mapping, missing.edge);
    }
    return rc;
}

static int bind_change(struct htstore_restore *r, const struct hti_change *change, struct htstore_error *error)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < change->n_created; i++) {
        struct hti_core *core = change->created[i];
        if (core->record.name)
            rc = add_object(r, 0, core->record.name, strlen(core->record.name), core, error);
    }
    for (size_t i = 0; rc == 0 && i < change->n_additions; i++) {
        const struct hti_addition *a = &change->additions[i];
        rc = add_object(r, a->mapping->record.id, a->name, a->name_size, a->object, error);
    }
    return rc;
}

/* Is this object part of the change itself, and so not in the store's list? */
static struct hti_core *find_object(struct htstore *store, const struct hti_change *change, uint64_t id)
{
    for (size_t i = 0; i < change->n_created; i++)
        if (change->created[i]->record.id == id)
            return change->created[i];
    return hti_core_by_id(store, id);
}

/* A restore with a higher number supplies it already, by what was loaded or by this very change. */
static bool is_newer(const struct hti_change *change, const struct hti_core *core, uint64_t number)
{
    for (size_t i = 0; i < change->n_switches; i++)
        if (change->switches[i].core == core)
            return change->switches[i].restore > number;
    return core->restored_by > number;
}

/* Nodes are known by their numbers: the file must be the one that was matched, and what was seen of another is forgotten. */
static int check_index(struct htstore_restore *r, struct htstore_error *error)
{
    const struct hti_hash128 was = hti_snapread_header(r->reader)->id, is = hti_snapread_header(r->index)->id;

    if (was.low != is.low || was.high != is.high)
        return hti_fail(error, HTSTORE_ECORRUPT, "%s: was changed since it was restored from", r->path);
    return hti_snapread_load_index(r->index, error);
}

/* A reader of its own: the first one may be at work in another thread. */
static int open_index(struct htstore_restore *r, struct htstore_error *error)
{
    int rc;

    if (r->index)
        return 0;
    rc = hti_snapread_open(r->fd, r->path, &r->index, error);
    if (rc == 0)
        rc = check_index(r, error);
    if (rc != 0) {
        hti_snapread_close(r->index);
        r->index = NULL;
    }
    return rc;
}

static int load_nodes(struct htstore_restore *r, struct loader *l, const struct hti_change *change,
                      struct htstore_error *error)
{
    struct hti_unpack_options options = {
        .threads = r->threads, .ids = l->ids, .rows = take_rows, .end = end_rows, .user = l
    };
    int rc = open_index(r, error);

    for (uint32_t i = 0; rc == 0 && i < l->saved->n_nodes; i++) {
        const struct hti_core *core = l->ids[i] ? find_object(r->store, change, l->ids[i]) : NULL;
        if (core && is_newer(change, core, r->binding.number))
            r->binding.bound[i].loaded = true; /* what it would load has been replaced already */
        else if (core)
            rc = hti_unpack_node(r->index, i, &options, error);
    }
    note_failed(l);
    return rc;
}

/* The change gets a list of switches that holds ours too. */
static int extend_change(struct htstore_restore *r, struct loader *l, struct hti_change *change,
                         struct htstore_error *error)
{
    struct hti_switch *list = hti_mem_zalloc_array(change->n_switches + l->n_builds + 1, sizeof *list);
    size_t n = change->n_switches;

    if (!list)
        return no_memory(error);
    if (n > 0)
        memcpy(list, change->switches, n * sizeof *list);
    for (size_t i = 0; i < l->n_builds; i++)
        list[n++] = (struct hti_switch){ .core = find_object(r->store, change, l->builds[i].totals.id),
                                         .totals = l->builds[i].totals,
                                         .restore = r->binding.number };
    change->switches = r->switches = list;
    change->n_switches = n;
    mark_loaded(&r->binding, l);
    return 0;
}

/* The change keeps no types: nothing is appended to a build that is finished. */
static void keep_builds(struct htstore_restore *r, struct loader *l)
{
    r->builds = l->builds;
    r->n_builds = l->n_builds;
    l->builds = NULL;
    l->n_builds = 0;
}

static int claim(struct hti_waiting *waiting, struct htstore *store, struct hti_change *change,
                 struct htstore_error *error)
{
    struct htstore_restore *r = (struct htstore_restore *)(void *)waiting;
    struct loader l;
    int rc = bind_change(r, change, error);

    (void)store;
    if (rc != 0 || !r->changed || r->loading)
        return rc;
    rc = init_loader(&l, &r->binding, &r->before, error);
    if (rc != 0)
        return rc;
    rc = load_nodes(r, &l, change, error);
    if (rc == 0)
        rc = extend_change(r, &l, change, error);
    if (rc == 0)
        keep_builds(r, &l);
    release_loader(&l);
    return rc;
}

static void settle(struct hti_waiting *waiting, struct htstore *store, int status)
{
    struct htstore_restore *r = (struct htstore_restore *)(void *)waiting;

    (void)store;
    if (status != 0 && r->changed)
        hti_binding_swap(&r->binding, &r->before);
    for (size_t i = 0; i < r->n_builds; i++) {
        if (status != 0)
            hti_build_abort(&r->builds[i]);
        hti_build_release(&r->builds[i]);
    }
    if (r->changed)
        hti_binding_release(&r->before);
    hti_mem_free(r->builds);
    hti_mem_free(r->switches);
    r->builds = NULL;
    r->switches = NULL;
    r->n_builds = 0;
    r->changed = false;
}

/* Newest first: the last restore supplies what several wait for. With flush_mutex. */
static void register_waiting(struct htstore_restore *r)
{
    r->waiting.claim = claim;
    r->waiting.settle = settle;
    r->waiting.next = r->store->waiting;
    r->store->waiting = &r->waiting;
    r->registered = true;
}

static void unregister_waiting(struct htstore_restore *r)
{
    if (!r->registered)
        return;
    for (struct hti_waiting **p = &r->store->waiting; *p; p = &(*p)->next) {
        if (*p == &r->waiting) {
            *p = r->waiting.next;
            break;
        }
    }
    r->registered = false;
}

/* --- a restore --- */

/* What was bound since the load began: as if it had been there before. With contents_mutex and flush_mutex. */
static int load_added(struct htstore_restore *r, const struct loader *loaded, struct loader *added,
                      struct htstore_error *error)
{
    const struct hti_change nothing = { 0 };
    int rc = init_loader(added, &r->binding, NULL, error);
    bool wanted = false;

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < loaded->n_builds; i++)
        added->ids[loaded->nodes[i]] = 0;
    for (uint32_t i = 0; i < added->saved->n_nodes; i++)
        wanted = wanted || added->ids[i] != 0;
    return wanted ? load_nodes(r, added, &nothing, error) : 0;
}

static int switch_locked(struct htstore_restore *r, struct loader *l, struct loader *added, struct htstore_error *error)
{
    struct hti_change change = { 0 };
    int rc = load_added(r, l, added, error);

    if (rc != 0)
        return rc;
    change.switches = hti_mem_zalloc_array(l->n_builds + added->n_builds + 1, sizeof *change.switches);
    if (!change.switches)
        return no_memory(error);
    change.n_switches = make_switches(r->store, l, r->binding.number, change.switches);
    change.n_switches += make_switches(r->store, added, r->binding.number, change.switches + change.n_switches);
    if (change.n_switches > 0)
        rc = hti_structure_commit(r->store, &change, error);
    if (rc == 0) {
        forget_switched(l, change.switches, change.n_switches);
        forget_switched(added, change.switches, change.n_switches);
        mark_loaded(&r->binding, l);
        mark_loaded(&r->binding, added);
    }
    hti_mem_free(change.switches);
    return rc;
}

static int switch_all(struct htstore_restore *r, struct loader *l, struct htstore_error *error)
{
    struct loader added = { 0 };
    int rc;

    hti_structure_lock(r->store);
    rc = switch_locked(r, l, &added, error);
    r->loading = rc != 0; /* a restore that failed gives nothing to what is added before it is out of the list */
    release_loader(&added);
    hti_structure_unlock(r->store);
    return rc;
}

/* From here on additions are seen; what is there now is bound. */
static int bind_all(struct htstore_restore *r, struct htstore_error *error)
{
    struct hti_root_entry *room = hti_checkpoint_room(r->checkpoint);
    struct hti_root root;
    int rc;

    if (!room)
        return no_memory(error);
    hti_structure_lock(r->store);
    r->binding.number = ++r->store->n_restores;
    rc = hti_checkpoint_root(r->checkpoint, room, &root, error);
    if (rc == 0)
        rc = hti_binding_start(&r->binding, &root, error);
    r->loading = rc == 0;
    if (rc == 0)
        register_waiting(r);
    hti_structure_unlock(r->store);
    hti_mem_free(room);
    return rc;
}

static int load_all(struct htstore_restore *r, const struct htstore_snapshot_options *options, bool with_counter,
                    struct htstore_error *error)
{
    struct hti_unpack_options unpack = { .threads = options->threads,
                                         .phase = "restore",
                                         .progress = options->progress,
                                         .progress_user = options->progress_user,
                                         .rows = take_rows,
                                         .end = end_rows };
    struct loader l;
    int rc;

    pthread_mutex_lock(&r->store->flush_mutex); /* an addition may change the binding at any time */
    rc = init_loader(&l, &r->binding, NULL, error);
    l.takes_lock = true;
    l.counter_node = r->binding.counter_node;
    pthread_mutex_unlock(&r->store->flush_mutex);
    if (rc != 0)
        return rc;
    l.counter = -1;
    if (l.counter_node != HTI_GRAPH_NONE)
        l.ids[l.counter_node] = 1;
    unpack.ids = l.ids;
    unpack.user = &l;
    rc = hti_unpack_all(r->reader, &unpack, error);
    note_failed(&l);
    if (rc == 0)
        rc = switch_all(r, &l, error);
    if (rc == 0 && with_counter && l.counter >= 0)
        hti_checkpoint_set_counter(r->checkpoint, l.counter);
    release_loader(&l);
    return rc;
}

static void close_file(struct htstore_restore *r)
{
    hti_binding_release(&r->binding);
    hti_snapread_close(r->reader);
    hti_snapread_close(r->index);
    if (r->fd >= 0)
        close(r->fd);
    r->reader = r->index = NULL;
    r->fd = -1;
}

static int restore_file(struct htstore_restore *r, const char *path, const struct htstore_snapshot_options *options,
                        bool with_counter, struct htstore_error *error)
{
    const struct hti_snap_graph *saved;
    int rc = hti_snapshot_open(AT_FDCWD, path, path, &r->fd, &r->reader, error);

    if (rc != 0)
        return rc;
    snprintf(r->path, sizeof r->path, "%s", path);
    saved = hti_snapread_graph(r->reader);
    rc = hti_binding_init(&r->binding, r->store, saved, hti_snapshot_counter_node(saved), error);
    if (rc == 0)
        rc = bind_all(r, error);
    if (rc == 0)
        rc = load_all(r, options, with_counter, error);
    if (rc != 0) {
        hti_structure_lock(r->store);
        unregister_waiting(r);
        hti_structure_unlock(r->store);
        close_file(r);
    }
    return rc;
}

static int restore(struct htstore_checkpoint *checkpoint, const char *path,
                   const struct htstore_snapshot_options *options, bool with_counter, struct htstore_restore **status,
                   struct htstore_error *error)
{
    struct htstore_snapshot_options complete;
    struct htstore_restore *r;
    int rc = hti_checkpoint_check(checkpoint, error);

    if (status)
        *status = NULL;
    if (rc == 0)
        rc = hti_check_store(checkpoint->store, true, error);
    if (rc == 0 && !status)
        rc = hti_fail(error, HTSTORE_EINVAL, "the place for the status is NULL");
    if (rc == 0)
        rc = hti_save_options(options, 0, &complete, error);
    if (rc != 0)
        return rc;
    r = hti_mem_zalloc(sizeof *r);
    if (!r)
        return no_memory(error);
    r->magic = HTI_MAGIC_RESTORE;
    r->checkpoint = checkpoint;
    r->store = checkpoint->store;
    r->threads = complete.threads;
    r->fd = -1;
    r->binding.number = UINT64_MAX; /* nothing was loaded by it */
    if (path)
        rc = restore_file(r, path, &complete, with_counter, error);
    if (rc != 0) {
        hti_mem_free(r);
        return rc;
    }
    hti_checkpoint_use(checkpoint, 1);
    hti_handle_count(r->store, 1);
    *status = r;
    return 0;
}

int htstore_checkpoint_restore(struct htstore_checkpoint *checkpoint, const char *path,
                               const struct htstore_snapshot_options *options, struct htstore_restore **status,
                               struct htstore_error *error)
{
    return restore(checkpoint, path, options, true, status, error);
}

int htstore_checkpoint_read(struct htstore_checkpoint *checkpoint, const char *path,
                            const struct htstore_snapshot_options *options, struct htstore_restore **status,
                            struct htstore_error *error)
{
    return restore(checkpoint, path, options, false, status, error);
}

void hti_restore_close(struct htstore_restore *restore)
{
    hti_structure_lock(restore->store);
    unregister_waiting(restore);
    hti_structure_unlock(restore->store);
    close_file(restore);
    hti_checkpoint_use(restore->checkpoint, -1);
    hti_handle_count(restore->store, -1);
    restore->magic = HTI_MAGIC_CLOSED;
    hti_mem_free(restore);
}
