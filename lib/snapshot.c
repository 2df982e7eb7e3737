/* snapshot: hides how a snapshot file is opened and described. */
#include "snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena.h"
#include "bytes.h"
#include "file.h"
#include "graph.h"
#include "mem.h"
#include "unpack.h"

#define MAX_PATH_BYTES ((size_t)64 << 20) /* of a description, together */

/* A path is the user's: it may lead through links, and to a file of somebody else's. */
int hti_snapshot_open_path(const char *path, int *fd, struct htstore_error *error)
{
    struct stat st;

    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0)
        return hti_file_fail(error, errno, path, "cannot open the snapshot");
    if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode))
        return 0;
    close(*fd);
    *fd = -1;
    return hti_fail(error, HTSTORE_EFORMAT, "%s: not a regular file", path);
}

int hti_snapshot_open(int folder_fd, const char *name, const char *path, int *fd, struct hti_snapread **reader,
                      struct htstore_error *error)
{
    int rc = folder_fd == AT_FDCWD ? hti_snapshot_open_path(name, fd, error)
                                   : hti_file_open(folder_fd, name, O_RDONLY, path, fd, error);

    *reader = NULL;
    if (rc != 0)
        return rc;
    rc = hti_snapread_open(*fd, path, reader, error);
    if (rc != 0) {
        close(*fd);
        *fd = -1;
    }
    return rc;
}

static int open_in(int folder_fd, const char *name, const char *folder, int *fd, struct hti_snapread **reader,
                   struct htstore_error *error)
{
    char path[PATH_MAX];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return hti_snapshot_open(folder_fd, name, path, fd, reader, error);
}

int hti_snapshot_verify(int folder_fd, const char *name, const char *folder, uint32_t threads, uint64_t *lsn,
                        struct htstore_error *error)
{
    const struct hti_unpack_options options = { .threads = threads, .phase = "verify" };
    struct hti_snapread *reader;
    int fd, rc = open_in(folder_fd, name, folder, &fd, &reader, error);

    if (rc != 0)
        return rc;
    rc = hti_unpack_all(reader, &options, error);
    if (lsn)
        *lsn = hti_snapread_header(reader)->lsn;
    hti_snapread_close(reader);
    close(fd);
    return rc;
}

int hti_snapshot_lsn(int folder_fd, const char *name, const char *folder, uint64_t *lsn, struct htstore_error *error)
{
    struct hti_snapread *reader;
    int fd, rc = open_in(folder_fd, name, folder, &fd, &reader, error);

    if (rc != 0)
        return rc;
    *lsn = hti_snapread_header(reader)->lsn;
    hti_snapread_close(reader);
    close(fd);
    return 0;
}

/* --- the save counter --- */

uint32_t hti_snapshot_counter_node(const struct hti_snap_graph *graph)
{
    const struct hti_snap_edge *edges = hti_snap_graph_edges(graph, 0);

    for (uint32_t i = 0; i < graph->nodes[0].n_edges; i++)
        if (graph->nodes[edges[i].child].flags & HTI_SNAP_COUNTER)
            return edges[i].child;
    return HTI_GRAPH_NONE;
}

static int take_counter(void *user, const struct hti_unpacked *rows, struct htstore_error *error)
{
    const uint8_t *at = rows->stored;
    struct hti_unpacked_row row;

    (void)error;
    if (hti_unpacked_next(&at, rows->stored + rows->stored_size, &row) && row.value_size >= HTI_GRAPH_COUNTER_SIZE)
        *(int64_t *)user = (int64_t)hti_load_le64(row.value);
    return 0;
}

int hti_snapshot_counter(struct hti_snapread *reader, int64_t *counter, struct htstore_error *error)
{
    const struct hti_snap_graph *graph = hti_snapread_graph(reader);
    const uint32_t node = hti_snapshot_counter_node(graph);
    uint64_t *ids;
    int rc;

    if (node == HTI_GRAPH_NONE)
        return 1;
    ids = hti_mem_zalloc_array(graph->n_nodes, sizeof *ids);
    if (!ids)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory to read the snapshot");
    ids[node] = 1;
    const struct hti_unpack_options options = { .threads = 1, .ids = ids, .rows = take_counter, .user = counter };
    rc = hti_snapread_load_index(reader, error);
    if (rc == 0)
        rc = hti_unpack_node(reader, node, &options, error);
    hti_mem_free(ids);
    return rc;
}

/* --- what a file says of itself --- */

static const char *arena_text(struct htstore_arena *arena, const void *data, size_t size)
{
    char *copy = hti_arena_alloc(arena, size + 1, 1);

    if (!copy)
        return NULL;
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = 0;
    return copy;
}

/* Where descriptions go. A deep graph has paths of quadratic size: what is left of `room` bounds them. */
struct description {
    const struct hti_snap_graph *graph;
    struct htstore_arena *arena;
    size_t room;
};

/* 0; 1 = there is no room for it, nor for others; HTSTORE_ENOMEM. */
static int keep_text(struct description *d, const struct hti_buf *buf, const char **text)
{
    if (buf->size >= d->room) {
        d->room = 0;
        return 1;
    }
    d->room -= buf->size;
    *text = arena_text(d->arena, buf->data, buf->size);
    return *text ? 0 : HTSTORE_ENOMEM;
}

static int copy_path(struct description *d, uint32_t node, const char **path)
{
    char label[HTI_SNAP_LABEL_SIZE];
    struct hti_buf buf;
    int rc = 1;

    hti_buf_init(&buf);
    if (d->room > 0) {
        rc = hti_snap_graph_path(d->graph, node, &buf);
        rc = rc ? rc : keep_text(d, &buf, path);
    }
    hti_buf_release(&buf);
    if (rc != 1)
        return rc;
    hti_snap_graph_label(d->graph, node, label);
    *path = arena_text(d->arena, label, strlen(label));
    return *path ? 0 : HTSTORE_ENOMEM;
}

/* The path of a node as files write it, and what TensorFlow puts behind it. */
static int name_entry(struct description *d, uint32_t node, const char *what, const char **name)
{
    struct hti_buf buf;
    int rc;

    if (d->room == 0)
        return 0;
    hti_buf_init(&buf);
    rc = hti_snap_graph_file_path(d->graph, node, &buf);
    rc = rc ? rc : hti_buf_append(&buf, "/.ATTRIBUTES/", 13);
    rc = rc ? rc : hti_buf_append(&buf, what, strlen(what));
    rc = rc ? rc : keep_text(d, &buf, name);
    hti_buf_release(&buf);
    return rc < 0 ? rc : 0;
}

static int name_entries(struct description *d, uint32_t node, const char *names[2])
{
    const struct hti_snap_node *n = &d->graph->nodes[node];
    int rc;

    if (!(n->flags & HTI_SNAP_HAS_CONTENTS))
        return 0;
    if (n->kind == HTI_SNAP_VARIABLE)
        return name_entry(d, node, "VARIABLE_VALUE", &names[0]);
    rc = name_entry(d, node, "table-keys", &names[0]);
    return rc ? rc : name_entry(d, node, "table-values", &names[1]);
}

static void describe_node(const struct hti_snap_node *node, uint32_t number, struct htstore_object *object)
{
    const bool root = node->kind == HTI_SNAP_ROOT;

    object->id = number;
    object->kind = root ? 0 : node->kind;
    if (node->flags & HTI_SNAP_NO_CHECKPOINT)
        object->flags |= HTSTORE_NO_CHECKPOINT;
    if (node->flags & HTI_SNAP_LAYER)
        object->flags |= HTSTORE_LAYER;
    if (node->flags & HTI_SNAP_NOT_TRAINABLE)
        object->flags |= HTSTORE_NOT_TRAINABLE;
    object->key_dtype = node->key_dtype;
    object->value_dtype = node->value_dtype;
    object->value_rank = node->shape.rank;
    object->role = node->role;
    memcpy(object->value_shape, node->shape.dim, sizeof object->value_shape);
    object->n_rows = node->kind == HTI_SNAP_TABLE      ? node->n_rows
                     : node->kind == HTI_SNAP_VARIABLE ? hti_shape_count(&node->shape)
                                                       : node->n_edges;
}

static int describe(const struct hti_snapread *reader, uint32_t number, struct description *d,
                    struct htstore_snapshot_object *out)
{
    const struct hti_snap_graph *graph = d->graph;
    const struct hti_snap_node *node = &graph->nodes[number];
    uint64_t first, n;
    int rc;

    memset(out, 0, sizeof *out);
    describe_node(node, number, &out->object);
    if (graph->nodes[0].kind == HTI_SNAP_ROOT && number > 0 && node->parent == 0) {
        const struct hti_snap_edge *edge = &graph->edges[node->via_edge];
        out->object.name = arena_text(d->arena, hti_snap_graph_name(graph, edge), edge->name_size);
        if (!out->object.name)
            return HTSTORE_ENOMEM;
    }
    hti_snapread_node_blocks(reader, number, &first, &n);
    out->n_blocks = n;
    out->bytes = hti_snapread_blocks_size(reader, first, n);
    out->digest[0] = node->digest.low;
    out->digest[1] = node->digest.high;
    out->has_contents = (node->flags & HTI_SNAP_HAS_CONTENTS) != 0;
    rc = copy_path(d, number, &out->path);
    return rc ? rc : name_entries(d, number, out->entries);
}

static int describe_all(struct hti_snapread *reader, struct htstore_arena *arena, struct htstore_snapshot_info *info,
                        struct htstore_error *error)
{
    const struct hti_snap_header *header = hti_snapread_header(reader);
    const struct hti_snap_graph *graph = hti_snapread_graph(reader);
    const struct hti_snap_footer *footer = hti_snapread_footer(reader);
    struct htstore_snapshot_object *list = hti_arena_alloc(arena, graph->n_nodes, sizeof *list);
    struct description d = { .graph = graph, .arena = arena, .room = MAX_PATH_BYTES };
    int rc = list ? 0 : HTSTORE_ENOMEM;

    for (uint32_t i = 0; rc == 0 && i < graph->n_nodes; i++)
        rc = describe(reader, i, &d, &list[i]);
    if (rc != 0)
        return hti_fail(error, rc, "no memory for the list");
    info->version = header->version;
    hti_store_le64(info->snapshot_id, header->id.low);
    hti_store_le64(info->snapshot_id + 8, header->id.high);
    info->lsn = header->lsn;
    info->n_objects = graph->n_nodes;
    info->n_rows = footer->n_rows;
    info->n_blocks = footer->n_blocks;
    info->bytes = footer->file_size;
    info->objects = list;
    info->save_counter = -1;
    rc = hti_snapshot_counter(reader, &info->save_counter, error);
    return rc == 1 ? 0 : rc;
}

int htstore_snapshot_info(const char *path, struct htstore_arena *arena, struct htstore_snapshot_info *info,
                          struct htstore_error *error)
{
    struct htstore_snapshot_info own;
    struct hti_snapread *reader;
    int fd, rc;

    if (!path || !*path || !hti_arena_is_valid(arena) || !info || info->size == 0)
        return hti_fail(error, HTSTORE_EINVAL, "path, arena or info is NULL, or info.size is 0");
    rc = hti_snapshot_open(AT_FDCWD, path, path, &fd, &reader, error);
    if (rc != 0)
        return rc;
    memset(&own, 0, sizeof own);
    own.size = info->size;
    rc = hti_snapread_load_index(reader, error);
    if (rc == 0)
        rc = describe_all(reader, arena, &own, error);
    if (rc == 0)
        memcpy(info, &own, info->size < sizeof own ? info->size : sizeof own);
    hti_snapread_close(reader);
    close(fd);
    return rc;
}
