/* diff: hides how the objects of two sides are paired, and how far rows must be read to tell what differs. */
#include "diff.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena.h"
#include "mem.h"
#include "rowsource.h"
#include "save.h"
#include "snapshot.h"

#define REPORT_ROWS 65536u /* between calls of the progress function */

struct named_node {
    const char *path; /* in the arena */
    uint32_t node;
};

/* One of the two: a snapshot or a state of a store. */
struct side {
    int fd;
    struct hti_snapread *reader;
    struct htstore *store;
    struct hti_instant instant;
    bool has_instant;
    const struct hti_snap_graph *graph;
    uint32_t counter_node;
    const char **paths; /* by node; NULL: the save counter's */
    struct named_node *nodes; /* by path, without the save counter */
    size_t n_nodes;
};

struct diff {
    struct side a, b;
    const struct htstore_snapshot_options *options;
    struct htstore_arena *arena;
    struct htstore_difference *list;
    uint64_t n;
    uint64_t rows_done;
    bool differ;
    struct htstore_error *error;
};

static int no_memory(struct diff *d)
{
    return hti_fail(d->error, HTSTORE_ENOMEM, "no memory to compare");
}

/* --- sides --- */

static int open_store(struct diff *d, struct side *side, const char *path)
{
    const struct htstore_options options = {
        .size = sizeof options, .flags = HTSTORE_READONLY | HTSTORE_ALLOW_ANY_FILESYSTEM | HTSTORE_ALLOW_SHARED_FOLDER
    };
    const struct hti_root names = { .names = true };
    struct hti_buf record;
    int rc = htstore_open(path, &options, &side->store, d->error);

    if (rc == 0)
        rc = hti_instant_open(side->store, &names, true, NULL, &side->instant, d->error);
    if (rc != 0)
        return rc;
    side->has_instant = true;
    side->graph = &side->instant.graph.snap;
    side->counter_node = HTI_GRAPH_NONE;
    hti_buf_init(&record); /* encoding finds the paths */
    rc = hti_snap_graph_encode(side->graph, &record, d->error);
    hti_buf_release(&record);
    return rc;
}

static int open_snapshot(struct diff *d, struct side *side, const char *path)
{
    int rc = hti_snapshot_open(AT_FDCWD, path, path, &side->fd, &side->reader, d->error);

    if (rc == 0)
        rc = hti_snapread_load_index(side->reader, d->error);
    if (rc != 0)
        return rc;
    side->graph = hti_snapread_graph(side->reader);
    side->counter_node = hti_snapshot_counter_node(side->graph);
    return 0;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(((const struct named_node *)a)->path, ((const struct named_node *)b)->path);
}

static const char *path_of(struct diff *d, const struct hti_snap_graph *graph, uint32_t node)
{
    struct hti_buf buf;
    char *copy = NULL;

    hti_buf_init(&buf);
    if (hti_snap_graph_path(graph, node, &buf) == 0)
        copy = hti_arena_alloc(d->arena, buf.size + 1, 1);
    if (copy) {
        memcpy(copy, buf.data, buf.size);
        copy[buf.size] = 0;
    }
    hti_buf_release(&buf);
    return copy;
}

static int name_nodes(struct diff *d, struct side *side)
{
    side->nodes = hti_mem_alloc_array(side->graph->n_nodes, sizeof *side->nodes);
    side->paths = hti_mem_zalloc_array(side->graph->n_nodes, sizeof(const char *));
    if (!side->nodes || !side->paths)
        return no_memory(d);
    for (uint32_t i = 0; i < side->graph->n_nodes; i++) {
        if (i == side->counter_node)
            continue;
        const char *path = path_of(d, side->graph, i);
        if (!path)
            return no_memory(d);
        side->paths[i] = path;
        side->nodes[side->n_nodes++] = (struct named_node){ path, i };
    }
    qsort(side->nodes, side->n_nodes, sizeof *side->nodes, compare_paths);
    return 0;
}

static int open_side(struct diff *d, struct side *side, const char *path)
{
    struct stat st;
    int rc;

    side->fd = -1;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        rc = open_store(d, side, path);
    else
        rc = open_snapshot(d, side, path);
    return rc ? rc : name_nodes(d, side);
}

static void close_side(struct side *side)
{
    if (side->has_instant)
        hti_instant_close(&side->instant);
    htstore_close(side->store, NULL);
    hti_snapread_close(side->reader);
    if (side->fd >= 0)
        close(side->fd);
    hti_mem_free(side->nodes);
    hti_mem_free((void *)side->paths);
}

static int open_rows(struct diff *d, struct side *side, uint32_t node, struct hti_rowsource **source)
{
    return side->reader ? hti_rowsource_of_snapshot(side->reader, node, source, d->error)
                        : hti_rowsource_of_instant(&side->instant, node, source, d->error);
}

/* --- rows --- */

static int report(struct diff *d)
{
    if (++d->rows_done % REPORT_ROWS != 0 || !d->options->progress ||
        d->options->progress(d->options->progress_user, "diff", d->rows_done, 0) == 0)
        return 0;
    return hti_fail(d->error, HTSTORE_ECANCELED, "stopped by the caller");
}

static bool values_equal(const struct hti_row *a, const struct hti_row *b)
{
    return a->value_size == b->value_size && (a->value_size == 0 || memcmp(a->value, b->value, a->value_size) == 0);
}

/* Two ascending lists, merged. */
static int merge_rows(struct diff *d, struct hti_rowsource *a, struct hti_rowsource *b, struct htstore_difference *out)
{
    struct hti_sourced_row x, y;
    int more_a = hti_rowsource_next(a, &x, d->error), more_b = more_a < 0 ? 0 : hti_rowsource_next(b, &y, d->error);
    int rc = 0;

    while (rc == 0 && more_a >= 0 && more_b >= 0 && (more_a == 0 || more_b == 0)) {
        const int order = more_a ? 1 : more_b ? -1 : hti_rowsource_compare(&x, &y);
        out->n_removed += order < 0;
        out->n_added += order > 0;
        out->n_changed += order == 0 && !values_equal(&x.row, &y.row);
        if (order <= 0)
            more_a = hti_rowsource_next(a, &x, d->error);
        if (order >= 0 && more_a >= 0)
            more_b = hti_rowsource_next(b, &y, d->error);
        rc = report(d);
    }
    if (more_a < 0 || more_b < 0)
        return more_a < 0 ? more_a : more_b;
    return rc;
}

static bool digests_equal(const struct hti_snap_node *a, const struct hti_snap_node *b)
{
    return a->n_rows == b->n_rows && a->digest.low == b->digest.low && a->digest.high == b->digest.high;
}

static int compare_rows(struct diff *d, uint32_t a, uint32_t b, struct htstore_difference *out)
{
    struct hti_rowsource *x = NULL, *y = NULL;
    int rc;

    if (digests_equal(&d->a.graph->nodes[a], &d->b.graph->nodes[b]))
        return 0;
    out->change = HTSTORE_CHANGED;
    rc = open_rows(d, &d->a, a, &x);
    if (rc == 0)
        rc = open_rows(d, &d->b, b, &y);
    if (rc == 0)
        rc = merge_rows(d, x, y, out);
    hti_rowsource_close(x);
    hti_rowsource_close(y);
    return rc;
}

/* --- entries of mappings --- */

static const struct hti_snap_edge *find_edge(const struct side *side, uint32_t node, const struct side *other,
                                             const struct hti_snap_edge *edge)
{
    const struct hti_snap_edge *edges = hti_snap_graph_edges(side->graph, node);
    const uint8_t *name = hti_snap_graph_name(other->graph, edge);

    for (uint32_t i = 0; i < side->graph->nodes[node].n_edges; i++)
        if (edges[i].name_size == edge->name_size &&
            memcmp(hti_snap_graph_name(side->graph, &edges[i]), name, edge->name_size) == 0)
            return &edges[i];
    return NULL;
}

/* Entries that `from` has: how many of them the other lacks, and how many lead elsewhere. */
static void count_entries(const struct side *from, uint32_t node, const struct side *to, uint32_t other,
                          uint64_t *n_missing, uint64_t *n_elsewhere)
{
    const struct hti_snap_edge *edges = hti_snap_graph_edges(from->graph, node);

    for (uint32_t i = 0; i < from->graph->nodes[node].n_edges; i++) {
        if (edges[i].child == from->counter_node)
            continue;
        const struct hti_snap_edge *twin = find_edge(to, other, from, &edges[i]);
        const char *there = twin ? to->paths[twin->child] : NULL;
        *n_missing += !twin;
        *n_elsewhere += twin && (!there || strcmp(from->paths[edges[i].child], there) != 0);
    }
}

static void compare_entries(struct diff *d, uint32_t a, uint32_t b, struct htstore_difference *out)
{
    uint64_t again = 0;

    count_entries(&d->a, a, &d->b, b, &out->n_removed, &out->n_changed);
    count_entries(&d->b, b, &d->a, a, &out->n_added, &again);
    if (out->n_added + out->n_removed + out->n_changed > 0)
        out->change = HTSTORE_CHANGED;
}

/* --- objects --- */

static bool schemas_equal(const struct diff *d, uint32_t a, uint32_t b)
{
    const struct hti_snap_node *x = &d->a.graph->nodes[a], *y = &d->b.graph->nodes[b];
    const uint32_t flags = HTI_SNAP_NO_CHECKPOINT | HTI_SNAP_LAYER | HTI_SNAP_NOT_TRAINABLE;

    return x->kind == y->kind && ((x->flags ^ y->flags) & flags) == 0 && x->role == y->role &&
           x->key_dtype == y->key_dtype && x->value_dtype == y->value_dtype && hti_shape_equal(&x->shape, &y->shape) &&
           x->default_size == y->default_size &&
           (x->default_size == 0 || memcmp(hti_snap_graph_default(d->a.graph, a), hti_snap_graph_default(d->b.graph, b),
                                           (size_t)x->default_size) == 0);
}

static bool has_contents(const struct side *side, uint32_t node)
{
    return side->graph->nodes[node].flags & HTI_SNAP_HAS_CONTENTS;
}

static int compare_objects(struct diff *d, uint32_t a, uint32_t b, struct htstore_difference *out)
{
    if (!schemas_equal(d, a, b)) {
        out->change = HTSTORE_SCHEMA_CHANGED;
        return 0;
    }
    if (d->a.graph->nodes[a].kind == HTI_SNAP_MAPPING || d->a.graph->nodes[a].kind == HTI_SNAP_ROOT) {
        compare_entries(d, a, b, out);
        return 0;
    }
    if (!has_contents(&d->a, a) || !has_contents(&d->b, b))
        return 0; /* one of them saved only what it is */
    return compare_rows(d, a, b, out);
}

static struct htstore_difference *push(struct diff *d, const struct side *side, const struct named_node *named,
                                       uint32_t change)
{
    struct htstore_difference *out = &d->list[d->n++];
    const struct hti_snap_node *node = &side->graph->nodes[named->node];

    memset(out, 0, sizeof *out);
    out->path = named->path;
    out->kind = node->kind == HTI_SNAP_ROOT ? HTSTORE_KIND_MAPPING : node->kind;
    out->change = change;
    out->n_added = change == HTSTORE_ADDED ? node->n_rows : 0;
    out->n_removed = change == HTSTORE_REMOVED ? node->n_rows : 0;
    return out;
}

static int compare_all(struct diff *d)
{
    size_t i = 0, k = 0;
    int rc = 0;

    d->list = hti_arena_alloc(d->arena, d->a.n_nodes + d->b.n_nodes, sizeof *d->list);
    if (!d->list)
        return no_memory(d);
    while (rc == 0 && (i < d->a.n_nodes || k < d->b.n_nodes)) {
        const int order = i == d->a.n_nodes   ? 1
                          : k == d->b.n_nodes ? -1
                                              : compare_paths(&d->a.nodes[i], &d->b.nodes[k]);
        if (order < 0)
            push(d, &d->a, &d->a.nodes[i], HTSTORE_REMOVED);
        else if (order > 0)
            push(d, &d->b, &d->b.nodes[k], HTSTORE_ADDED);
        else
            rc = compare_objects(d, d->a.nodes[i].node, d->b.nodes[k].node,
                                 push(d, &d->a, &d->a.nodes[i], HTSTORE_SAME));
        d->differ = d->differ || d->list[d->n - 1].change != HTSTORE_SAME;
        i += order <= 0;
        k += order >= 0;
    }
    return rc;
}

int htstore_diff(const char *first, const char *second, const struct htstore_snapshot_options *options,
                 struct htstore_arena *arena, const struct htstore_difference **objects, uint64_t *n,
                 struct htstore_error *error)
{
    struct htstore_snapshot_options complete;
    struct diff d = { .options = &complete, .arena = arena, .error = error };
    int rc = hti_save_options(options, 0, &complete, error);

    if (rc != 0)
        return rc;
    if (!first || !*first || !second || !*second || !hti_arena_is_valid(arena) || !objects || !n)
        return hti_fail(error, HTSTORE_EINVAL, "a path, the arena, objects or n is NULL");
    d.a.fd = d.b.fd = -1;
    rc = open_side(&d, &d.a, first);
    if (rc == 0)
        rc = open_side(&d, &d.b, second);
    if (rc == 0)
        rc = compare_all(&d);
    close_side(&d.a);
    close_side(&d.b);
    if (rc != 0)
        return rc;
    *objects = d.list;
    *n = d.n;
    return d.differ;
}
