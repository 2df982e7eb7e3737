/*
 * maker: hides how the objects of a snapshot become those of a new store: rows are appended in order, and all objects with
 * their names and entries appear in one transaction.
 */
#include "maker.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"
#include "snapshot.h"
#include "structure.h"

#define ROOT_NAME "root" /* of a root that cannot be the namespace itself */

static int no_memory(struct hti_maker *m)
{
    return hti_fail(m->error, HTSTORE_ENOMEM, "no memory to restore");
}

void hti_maker_warn(struct hti_maker *m, const char *format, ...)
{
    const struct htstore_options *o = &m->store_options;
    char message[sizeof((struct htstore_error *)0)->message];
    va_list args;

    m->lossy = true;
    if (!o->log)
        return;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    o->log(o->log_user, HTSTORE_LOG_WARNING, "restore", message);
}

/* --- objects --- */

/* Can every edge of the root be a name: not empty, and one for each object? The save counter needs none. */
static bool is_namespace(const struct hti_maker *m)
{
    const struct hti_snap_graph *g = m->saved;
    const struct hti_snap_edge *edges = hti_snap_graph_edges(g, 0);
    bool fits = g->nodes[0].kind == HTI_SNAP_ROOT;

    for (uint32_t i = 0; fits && i < g->nodes[0].n_edges; i++) {
        fits = edges[i].name_size > 0 && edges[i].child != 0;
        if (fits && m->names[edges[i].child])
            fits = false;
        if (fits)
            m->names[edges[i].child] = "";
    }
    memset((void *)m->names, 0, g->n_nodes * sizeof *m->names);
    return fits;
}

static int copy_name(struct hti_maker *m, const struct hti_snap_edge *edge)
{
    char *name = hti_mem_alloc((size_t)edge->name_size + 1);

    if (!name)
        return no_memory(m);
    if (edge->name_size > 0)
        memcpy(name, hti_snap_graph_name(m->saved, edge), edge->name_size);
    name[edge->name_size] = 0;
    m->names[edge->child] = name;
    return 0;
}

static int name_objects(struct hti_maker *m)
{
    const struct hti_snap_edge *edges = hti_snap_graph_edges(m->saved, 0);
    int rc = 0;

    m->root_is_object = !is_namespace(m);
    if (m->root_is_object) {
        m->names[0] = hti_mem_strdup(ROOT_NAME);
        return m->names[0] ? 0 : no_memory(m);
    }
    for (uint32_t i = 0; rc == 0 && i < m->saved->nodes[0].n_edges; i++)
        if (edges[i].child != m->counter_node)
            rc = copy_name(m, &edges[i]);
    return rc;
}

static bool is_object(const struct hti_maker *m, uint32_t node)
{
    return node != m->counter_node && (node != 0 || m->root_is_object);
}

static int make_record(struct hti_maker *m, uint32_t number, struct hti_object_record *record)
{
    const struct hti_snap_node *node = &m->saved->nodes[number];
    const uint8_t *value = hti_snap_graph_default(m->saved, number);

    memset(record, 0, sizeof *record);
    record->id = m->ids[number];
    record->kind = node->kind == HTI_SNAP_ROOT ? HTSTORE_KIND_MAPPING : node->kind;
    record->flags = m->names[number] ? 0 : HTSTORE_ANONYMOUS;
    if (node->flags & HTI_SNAP_NO_CHECKPOINT)
        record->flags |= HTSTORE_NO_CHECKPOINT;
    if (node->flags & HTI_SNAP_LAYER)
        record->flags |= HTSTORE_LAYER;
    if (node->flags & HTI_SNAP_NOT_TRAINABLE)
        record->flags |= HTSTORE_NOT_TRAINABLE;
    record->role = node->role;
    record->key_dtype = node->key_dtype;
    record->value_dtype = node->value_dtype;
    record->value_shape = node->shape;
    if (m->names[number])
        record->name = hti_mem_strdup(m->names[number]);
    if (record->kind == HTSTORE_KIND_TABLE) {
        record->default_value = hti_mem_dup(value, (size_t)node->default_size);
        record->default_size = (size_t)node->default_size;
    }
    if ((m->names[number] && !record->name) || (record->kind == HTSTORE_KIND_TABLE && !record->default_value)) {
        hti_object_record_release(record);
        return no_memory(m);
    }
    return 0;
}

static int make_core(struct hti_maker *m, uint32_t node)
{
    struct hti_object_record record;
    int rc = make_record(m, node, &record);

    if (rc != 0)
        return rc;
    m->cores[node] = hti_core_new(&record);
    if (!m->cores[node]) {
        hti_object_record_release(&record);
        return no_memory(m);
    }
    hti_build_init(&m->builds[node], m->store, &m->cores[node]->type, m->ids[node], true);
    return 0;
}

static int make_cores(struct hti_maker *m)
{
    int rc = 0;

    pthread_mutex_lock(&m->store->flush_mutex);
    for (uint32_t i = 0; i < m->saved->n_nodes; i++)
        if (is_object(m, i))
            m->ids[i] = hti_structure_new_id(m->store);
    pthread_mutex_unlock(&m->store->flush_mutex);
    for (uint32_t i = 0; rc == 0 && i < m->saved->n_nodes; i++)
        if (is_object(m, i))
            rc = make_core(m, i);
    return rc;
}

/* --- rows --- */

int hti_maker_take_rows(void *user, const struct hti_unpacked *rows, struct htstore_error *error)
{
    struct hti_maker *m = user;
    struct hti_build *build = &m->builds[rows->node];
    const uint8_t *at = rows->stored, *end = at + rows->stored_size;
    struct hti_unpacked_row row;
    int rc = 0;

    while (rc == 0 && hti_unpacked_next(&at, end, &row))
        rc = hti_build_stored(build, (struct hti_kv_bytes){ row.key, row.key_size },
                              (struct hti_kv_bytes){ row.value, row.value_size }, error);
    hti_digest_add(&build->totals.digest, rows->digest);
    return rc;
}

int hti_maker_end_rows(void *user, uint32_t node, struct htstore_error *error)
{
    struct hti_maker *m = user;
    const int rc = hti_build_finish(&m->builds[node], error);

    if (rc == 0) {
        m->built[node] = true;
        m->cores[node]->totals = m->builds[node].totals;
    }
    return rc;
}

/* --- everything visible at once --- */

static int list_additions(struct hti_maker *m, struct hti_addition **list, size_t *n)
{
    const struct hti_snap_graph *g = m->saved;

    *n = 0;
    *list = hti_mem_zalloc_array((size_t)g->n_edges + 1, sizeof **list);
    if (!*list)
        return no_memory(m);
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const struct hti_snap_edge *edges = hti_snap_graph_edges(g, i);
        if (!m->cores[i])
            continue;
        for (uint32_t k = 0; k < g->nodes[i].n_edges; k++)
            if (m->cores[edges[k].child])
                (*list)[(*n)++] = (struct hti_addition){ .mapping = m->cores[i],
                                                         .name = (const char *)hti_snap_graph_name(g, &edges[k]),
                                                         .name_size = edges[k].name_size,
                                                         .object = m->cores[edges[k].child] };
    }
    return 0;
}

static int show_objects(struct hti_maker *m, uint64_t lsn)
{
    struct hti_change change = { 0 };
    struct hti_core **created = hti_mem_alloc_array(m->saved->n_nodes, sizeof *created);
    int rc = created ? list_additions(m, &change.additions, &change.n_additions) : no_memory(m);

    for (uint32_t i = 0; rc == 0 && i < m->saved->n_nodes; i++)
        if (m->cores[i])
            created[change.n_created++] = m->cores[i];
    change.created = created;
    pthread_mutex_lock(&m->store->flush_mutex);
    m->store->record.incomplete = m->lossy;
    if (rc == 0)
        rc = hti_structure_commit(m->store, &change, m->error);
    if (rc == 0) { /* the new store goes on counting where the saved one stood: nothing was written to it yet */
        m->store->record.applied_lsn = lsn;
        m->report.n_objects = change.n_created;
        m->report.n_rows -= m->n_filled; /* of those that are counted below */
    }
    pthread_mutex_unlock(&m->store->flush_mutex);
    for (uint32_t i = 0; rc == 0 && i < m->saved->n_nodes; i++) {
        if (m->cores[i] && m->saved->nodes[i].flags & HTI_SNAP_HAS_CONTENTS)
            m->report.n_rows += m->cores[i]->totals.n_rows;
        m->cores[i] = NULL; /* the store's */
    }
    hti_mem_free(change.additions);
    hti_mem_free(created);
    return rc;
}

static void release_maker(struct hti_maker *m)
{
    for (uint32_t i = 0; m->saved && i < m->saved->n_nodes; i++) {
        if (m->names)
            hti_mem_free((char *)(uintptr_t)m->names[i]);
        if (m->cores)
            hti_core_free(m->cores[i]);
    }
    hti_mem_free(m->ids);
    hti_mem_free(m->cores);
    hti_mem_free(m->builds);
    hti_mem_free(m->built);
    hti_mem_free((void *)m->names);
}

static void abort_builds(struct hti_maker *m)
{
    for (uint32_t i = 0; m->builds && i < m->saved->n_nodes; i++) {
        if (!m->builds[i].store)
            continue;
        if (!m->built[i])
            hti_build_abort(&m->builds[i]);
        hti_build_release(&m->builds[i]);
    }
}

static int close_store(struct hti_maker *m, int rc)
{
    struct htstore_error reason;
    int closed;

    if (!m->store)
        return rc;
    closed = htstore_close(m->store, &reason);
    m->store = NULL;
    if (rc == 0 && closed != 0)
        hti_error_copy(m->error, &reason);
    return rc ? rc : closed;
}

static int allocate(struct hti_maker *m)
{
    const uint32_t n = m->saved->n_nodes;

    m->ids = hti_mem_zalloc_array(n, sizeof *m->ids);
    m->cores = hti_mem_zalloc_array(n, sizeof(struct hti_core *));
    m->builds = hti_mem_zalloc_array(n, sizeof *m->builds);
    m->built = hti_mem_zalloc_array(n, sizeof *m->built);
    m->names = hti_mem_zalloc_array(n, sizeof(const char *));
    return m->ids && m->cores && m->builds && m->built && m->names ? 0 : no_memory(m);
}

/* Nobody sees the store yet: what it holds is synced once, when all is there. */
static int defer_syncs(struct hti_maker *m, bool defer)
{
    int rc;

    pthread_mutex_lock(&m->store->flush_mutex);
    rc = hti_kv_defer_syncs(m->store->kv, defer, m->error);
    pthread_mutex_unlock(&m->store->flush_mutex);
    return rc;
}

/* Rows come from `fill`: the whole snapshot, or what is intact of it. */
int hti_maker_make(struct hti_maker *m, uint64_t lsn, int (*fill)(struct hti_maker *m, void *source), void *source)
{
    int rc = allocate(m);

    m->counter_node = hti_snapshot_counter_node(m->saved);
    if (rc == 0)
        rc = name_objects(m);
    if (rc == 0)
        rc = hti_place_open(&m->place, &m->store_options, &m->store, m->error);
    if (rc == 0)
        rc = make_cores(m);
    if (rc == 0)
        rc = defer_syncs(m, true);
    if (rc == 0)
        rc = fill(m, source);
    if (m->store)
        abort_builds(m);
    if (rc == 0)
        rc = defer_syncs(m, false);
    if (rc == 0)
        rc = show_objects(m, lsn);
    rc = close_store(m, rc);
    release_maker(m);
    return rc;
}
