/* snapgraph: hides the bytes of the graph record, and the rules that a graph must keep. */
#include "snapgraph.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "text.h"
#include "varlayout.h"

#define GRAPH_MAGIC 0x47535448u /* "HTSG" */
#define MIN_NODE_SIZE 8u
#define MIN_EDGE_SIZE 8u
#define NO_EDGE UINT64_MAX

void hti_snap_graph_init(struct hti_snap_graph *graph)
{
    memset(graph, 0, sizeof *graph);
    hti_buf_init(&graph->text);
}

void hti_snap_graph_release(struct hti_snap_graph *graph)
{
    hti_mem_free(graph->nodes);
    hti_mem_free(graph->edges);
    hti_buf_release(&graph->text);
    hti_snap_graph_init(graph);
}

/* --- building --- */

int hti_snap_graph_add_node(struct hti_snap_graph *graph, const struct hti_snap_node *node, uint32_t *number)
{
    if (graph->n_nodes == HTI_SNAP_MAX_NODES)
        return HTSTORE_EINVAL;
    if (graph->n_nodes == graph->node_capacity) {
        const uint32_t capacity = graph->node_capacity ? 2 * graph->node_capacity : 8;
        struct hti_snap_node *nodes = hti_mem_realloc_array(graph->nodes, capacity, sizeof *nodes);
        if (!nodes)
            return HTSTORE_ENOMEM;
        graph->nodes = nodes;
        graph->node_capacity = capacity;
    }
    struct hti_snap_node *added = &graph->nodes[graph->n_nodes];
    *added = *node;
    added->parent = added->n_edges = 0;
    added->first_edge = graph->n_edges;
    added->via_edge = NO_EDGE;
    added->default_offset = added->default_size = 0;
    *number = graph->n_nodes++;
    return 0;
}

int hti_snap_graph_set_default(struct hti_snap_graph *graph, uint32_t node, const void *data, size_t size)
{
    assert(node < graph->n_nodes && graph->nodes[node].default_size == 0);
    if (hti_buf_append(&graph->text, data, size) != 0)
        return HTSTORE_ENOMEM;
    graph->nodes[node].default_offset = graph->text.size - size;
    graph->nodes[node].default_size = size;
    return 0;
}

static int push_edge(struct hti_snap_graph *graph, struct hti_snap_edge edge, const void *name)
{
    if (graph->n_edges == graph->edge_capacity) {
        const uint64_t capacity = graph->edge_capacity ? 2 * graph->edge_capacity : 8;
        struct hti_snap_edge *edges = hti_mem_realloc_array(graph->edges, capacity, sizeof *edges);
        if (!edges)
            return HTSTORE_ENOMEM;
        graph->edges = edges;
        graph->edge_capacity = capacity;
    }
    edge.name_offset = graph->text.size;
    if (hti_buf_append(&graph->text, name, edge.name_size) != 0)
        return HTSTORE_ENOMEM;
    graph->edges[graph->n_edges++] = edge;
    return 0;
}

/* The first edge that leads to a node is the way by which it is named. */
static void note_way(struct hti_snap_graph *graph, uint32_t parent, uint64_t edge)
{
    struct hti_snap_node *child = &graph->nodes[graph->edges[edge].child];

    if (child == graph->nodes || child->via_edge != NO_EDGE)
        return;
    child->via_edge = edge;
    child->parent = parent;
}

int hti_snap_graph_add_edge(struct hti_snap_graph *graph, uint32_t parent, const void *name, size_t name_size,
                            uint32_t child)
{
    if (parent >= graph->n_nodes || parent < graph->last_parent || child >= graph->n_nodes ||
        name_size > HTSTORE_MAX_NAME_SIZE || graph->nodes[parent].n_edges == UINT32_MAX)
        return HTSTORE_EINVAL;
    const struct hti_snap_edge edge = { .name_size = (uint32_t)name_size, .child = child };
    if (push_edge(graph, edge, name) != 0)
        return HTSTORE_ENOMEM;
    if (graph->nodes[parent].n_edges++ == 0)
        graph->nodes[parent].first_edge = graph->n_edges - 1;
    graph->last_parent = parent;
    note_way(graph, parent, graph->n_edges - 1);
    return 0;
}

/* --- rules --- */

static bool has_rows(const struct hti_snap_node *node)
{
    return node->kind == HTI_SNAP_TABLE || node->kind == HTI_SNAP_VARIABLE;
}

static bool is_shape_valid(const struct hti_snap_node *node)
{
    struct htstore_array view = htstore_scalar(node->value_dtype, NULL);
    struct hti_shape shape;

    view.rank = node->shape.rank;
    if (view.rank > HTSTORE_MAX_RANK)
        return false;
    memcpy(view.shape, node->shape.dim, sizeof view.shape);
    return hti_shape_of(&view, &shape, NULL) == 0;
}

/* Returns what is wrong, or NULL. */
static const char *check_rows(const struct hti_snap_node *node)
{
    uint64_t expected = node->n_rows;

    if (!hti_dtype_is_valid(node->value_dtype))
        return "unknown dtype";
    if (!is_shape_valid(node))
        return "impossible shape";
    if (node->kind == HTI_SNAP_VARIABLE)
        expected = hti_varlayout_rows(node->value_dtype, hti_shape_count(&node->shape));
    else if (!(node->flags & HTI_SNAP_HAS_CONTENTS))
        expected = 0;
    if (node->n_rows != expected)
        return "impossible number of rows";
    if (node->n_rows == 0 && (node->digest.low | node->digest.high) != 0)
        return "a digest of no rows";
    return NULL;
}

static const char *check_table(const struct hti_snap_graph *graph, uint32_t number)
{
    const struct hti_snap_node *node = &graph->nodes[number];
    const char *wrong = check_rows(node);
    struct hti_row_type type;

    if (wrong)
        return wrong;
    if ((node->flags & ~(HTI_SNAP_HAS_CONTENTS | HTI_SNAP_NO_CHECKPOINT)) != 0 || node->role != 0)
        return "impossible flags of a table";
    if (!hti_dtype_is_valid(node->key_dtype) || !hti_dtype_is_key(node->key_dtype))
        return "unknown dtype of keys";
    hti_snap_node_row_type(node, &type);
    if (!hti_codec_value_is_valid(&type, hti_snap_graph_default(graph, number), (size_t)node->default_size))
        return "malformed default value";
    return NULL;
}

static const char *check_variable(const struct hti_snap_node *node)
{
    const char *wrong = check_rows(node);

    if (wrong)
        return wrong;
    if ((node->flags & HTI_SNAP_COUNTER) && (node->value_dtype != HTSTORE_INT64 || node->shape.rank != 0))
        return "a save counter of another type";
    if ((node->flags & ~(HTI_SNAP_NOT_TRAINABLE | HTI_SNAP_COUNTER)) != HTI_SNAP_HAS_CONTENTS ||
        node->role < HTI_SNAP_WEIGHT || node->role > HTI_SNAP_UPDATE || node->key_dtype != 0 || node->default_size != 0)
        return "impossible flags of a variable";
    return NULL;
}

static const char *check_holder(const struct hti_snap_node *node)
{
    const uint32_t flags = node->kind == HTI_SNAP_MAPPING ? HTI_SNAP_LAYER | HTI_SNAP_NOT_TRAINABLE : 0;

    if ((node->flags & ~flags) != 0 || node->role != 0)
        return "impossible flags of a mapping";
    if ((node->key_dtype | node->value_dtype | node->shape.rank) != 0 || node->n_rows != 0 || node->default_size != 0 ||
        (node->digest.low | node->digest.high) != 0)
        return "a mapping with rows";
    return NULL;
}

static const char *check_node(const struct hti_snap_graph *graph, uint32_t number)
{
    const struct hti_snap_node *node = &graph->nodes[number];

    if (node->kind < HTI_SNAP_TABLE || node->kind > HTI_SNAP_ROOT)
        return "unknown kind";
    if ((number == 0) != (node->kind == HTI_SNAP_ROOT) && (number > 0 || node->kind != HTI_SNAP_MAPPING))
        return "a root at the wrong place";
    if (node->kind == HTI_SNAP_TABLE)
        return check_table(graph, number);
    if (node->kind == HTI_SNAP_VARIABLE)
        return check_variable(node);
    return check_holder(node);
}

/* `n_found` nodes have been met so far: the next new one must have that number. */
static const char *check_edges(const struct hti_snap_graph *graph, uint32_t number, uint32_t *n_found)
{
    const struct hti_snap_node *node = &graph->nodes[number];
    const struct hti_snap_edge *edges = hti_snap_graph_edges(graph, number);

    if (number >= *n_found)
        return "not reachable";
    if (node->n_edges > 0 && has_rows(node))
        return "a table or variable that holds others";
    for (uint32_t i = 0; i < node->n_edges; i++) {
        if (edges[i].child > *n_found || edges[i].child >= graph->n_nodes)
            return "an edge to a node that is not the next";
        if (edges[i].child == 0 && graph->nodes[0].kind == HTI_SNAP_ROOT)
            return "an edge to the root";
        if (!hti_text_is_valid(hti_snap_graph_name(graph, &edges[i]), edges[i].name_size))
            return "a name that is not UTF-8";
        *n_found += edges[i].child == *n_found;
    }
    return NULL;
}

static int compare_names(const void *a, const void *b, void *user)
{
    const struct hti_snap_graph *graph = user;
    const struct hti_snap_edge *x = &graph->edges[*(const uint64_t *)a], *y = &graph->edges[*(const uint64_t *)b];
    const size_t size = x->name_size < y->name_size ? x->name_size : y->name_size;
    const int order = size == 0 ? 0 : memcmp(hti_snap_graph_name(graph, x), hti_snap_graph_name(graph, y), size);

    return order ? order : (x->name_size > y->name_size) - (x->name_size < y->name_size);
}

/* 0, 1 for two equal names, HTSTORE_ENOMEM. */
static int check_names(const struct hti_snap_graph *graph, const struct hti_snap_node *node)
{
    struct hti_snap_graph *user = (struct hti_snap_graph *)(uintptr_t)graph;
    uint64_t *order = hti_mem_alloc_array(node->n_edges, sizeof *order);
    int rc = 0;

    if (!order)
        return HTSTORE_ENOMEM;
    for (uint32_t i = 0; i < node->n_edges; i++)
        order[i] = node->first_edge + i;
    if (node->n_edges > 1)
        qsort_r(order, node->n_edges, sizeof *order, compare_names, user);
    for (uint32_t i = 1; rc == 0 && i < node->n_edges; i++)
        rc = compare_names(&order[i - 1], &order[i], user) == 0;
    hti_mem_free(order);
    return rc;
}

/* 0 or `code`, or HTSTORE_ENOMEM. */
static int check_graph(const struct hti_snap_graph *graph, int code, struct htstore_error *error)
{
    const char *wrong = graph->n_nodes == 0 ? "no root" : NULL;
    uint32_t n_found = 1, i = 0;
    int rc = 0;

    for (; !wrong && i < graph->n_nodes; i++) {
        wrong = check_node(graph, i);
        if (!wrong)
            wrong = check_edges(graph, i, &n_found);
        if (wrong)
            break;
        rc = check_names(graph, &graph->nodes[i]);
        if (rc < 0)
            return hti_fail(error, rc, "no memory for the graph of objects");
        if (rc > 0)
            wrong = "two equal names";
        if (wrong)
            break;
    }
    return wrong ? hti_fail(error, code, "node %" PRIu32 " of the graph of objects: %s", i, wrong) : 0;
}

/* --- bytes --- */

static int encode_rows(const struct hti_snap_graph *graph, uint32_t number, struct hti_buf *out)
{
    const struct hti_snap_node *node = &graph->nodes[number];
    int rc = hti_buf_append_u32(out, node->key_dtype);

    rc = rc ? rc : hti_buf_append_u32(out, node->value_dtype);
    rc = rc ? rc : hti_buf_append_u32(out, node->shape.rank);
    for (uint32_t i = 0; rc == 0 && i < node->shape.rank; i++)
        rc = hti_buf_append_u64(out, (uint64_t)node->shape.dim[i]);
    rc = rc ? rc : hti_buf_append_u64(out, node->n_rows);
    rc = rc ? rc : hti_buf_append_u64(out, node->digest.low);
    rc = rc ? rc : hti_buf_append_u64(out, node->digest.high);
    if (rc != 0 || node->kind != HTI_SNAP_TABLE)
        return rc;
    rc = hti_buf_append_u64(out, node->default_size);
    return rc ? rc : hti_buf_append(out, hti_snap_graph_default(graph, number), (size_t)node->default_size);
}

static int encode_node(const struct hti_snap_graph *graph, uint32_t number, struct hti_buf *out)
{
    const struct hti_snap_node *node = &graph->nodes[number];
    const struct hti_snap_edge *edges = hti_snap_graph_edges(graph, number);
    int rc = hti_buf_append_u8(out, (uint8_t)node->kind);

    rc = rc ? rc : hti_buf_append_u8(out, (uint8_t)node->role);
    rc = rc ? rc : hti_buf_append_u16(out, (uint16_t)node->flags);
    rc = rc ? rc : hti_buf_append_u32(out, node->n_edges);
    if (rc == 0 && has_rows(node))
        rc = encode_rows(graph, number, out);
    for (uint32_t i = 0; rc == 0 && i < node->n_edges; i++) {
        rc = hti_buf_append_u32(out, edges[i].child);
        rc = rc ? rc : hti_buf_append_u32(out, edges[i].name_size);
        rc = rc ? rc : hti_buf_append(out, hti_snap_graph_name(graph, &edges[i]), edges[i].name_size);
    }
    return rc;
}

int hti_snap_graph_encode(const struct hti_snap_graph *graph, struct hti_buf *out, struct htstore_error *error)
{
    const size_t start = out->size;
    int rc = check_graph(graph, HTSTORE_EINVAL, error);

    if (rc != 0)
        return rc;
    rc = hti_buf_append_u32(out, GRAPH_MAGIC);
    rc = rc ? rc : hti_buf_append_u32(out, graph->n_nodes);
    rc = rc ? rc : hti_buf_append_u64(out, graph->n_edges);
    for (uint32_t i = 0; rc == 0 && i < graph->n_nodes; i++)
        rc = encode_node(graph, i, out);
    if (rc != 0)
        hti_fail(error, rc, "no memory for the graph of objects");
    else if (out->size - start > HTI_SNAP_MAX_GRAPH)
        rc = hti_fail(error, HTSTORE_EINVAL, "the graph of objects is too large");
    if (rc != 0)
        out->size = start;
    return rc;
}

static void decode_rows(struct hti_reader *reader, struct hti_snap_node *node)
{
    node->key_dtype = hti_reader_u32(reader);
    node->value_dtype = hti_reader_u32(reader);
    node->shape.rank = hti_reader_u32(reader);
    if (node->shape.rank > HTSTORE_MAX_RANK) {
        reader->failed = true;
        return;
    }
    for (uint32_t i = 0; i < node->shape.rank; i++)
        node->shape.dim[i] = (int64_t)hti_reader_u64(reader);
    node->n_rows = hti_reader_u64(reader);
    node->digest.low = hti_reader_u64(reader);
    node->digest.high = hti_reader_u64(reader);
}

static int decode_default(struct hti_snap_graph *graph, uint32_t number, struct hti_reader *reader)
{
    const uint64_t size = hti_reader_u64(reader);
    const uint8_t *data = size <= hti_reader_left(reader) ? hti_reader_bytes(reader, (size_t)size) : NULL;

    return data ? hti_snap_graph_set_default(graph, number, data, (size_t)size) : HTSTORE_ECORRUPT;
}

static int decode_edges(struct hti_snap_graph *graph, uint32_t number, uint32_t n, struct hti_reader *reader)
{
    int rc = 0;

    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        struct hti_snap_edge edge = { .child = hti_reader_u32(reader) };
        edge.name_size = hti_reader_u32(reader);
        const uint8_t *name = hti_reader_bytes(reader, edge.name_size);
        if (!name || edge.name_size > HTSTORE_MAX_NAME_SIZE)
            return HTSTORE_ECORRUPT;
        rc = push_edge(graph, edge, name);
    }
    graph->nodes[number].n_edges = n;
    return rc;
}

static int decode_node(struct hti_snap_graph *graph, struct hti_reader *reader)
{
    struct hti_snap_node node = { .kind = hti_reader_u8(reader) };
    uint32_t number, n_edges;
    int rc;

    node.role = hti_reader_u8(reader);
    node.flags = hti_reader_u16(reader);
    n_edges = hti_reader_u32(reader);
    if (has_rows(&node))
        decode_rows(reader, &node);
    if (!hti_reader_ok(reader))
        return HTSTORE_ECORRUPT;
    rc = hti_snap_graph_add_node(graph, &node, &number);
    if (rc == 0 && node.kind == HTI_SNAP_TABLE)
        rc = decode_default(graph, number, reader);
    return rc ? rc : decode_edges(graph, number, n_edges, reader);
}

/* Nothing is allocated for a count: memory grows with what was really read. */
static int decode_nodes(struct hti_snap_graph *graph, struct hti_reader *reader)
{
    const uint32_t magic = hti_reader_u32(reader), n_nodes = hti_reader_u32(reader);
    const uint64_t n_edges = hti_reader_u64(reader);
    int rc = 0;

    if (!hti_reader_ok(reader) || magic != GRAPH_MAGIC || n_nodes > HTI_SNAP_MAX_NODES ||
        n_nodes > hti_reader_left(reader) / MIN_NODE_SIZE || n_edges > hti_reader_left(reader) / MIN_EDGE_SIZE)
        return HTSTORE_ECORRUPT;
    for (uint32_t i = 0; rc == 0 && i < n_nodes; i++)
        rc = decode_node(graph, reader);
    if (rc == 0 && (hti_reader_left(reader) != 0 || graph->n_edges != n_edges))
        rc = HTSTORE_ECORRUPT;
    return rc;
}

static void note_ways(struct hti_snap_graph *graph)
{
    for (uint32_t i = 0; i < graph->n_nodes; i++)
        for (uint32_t k = 0; k < graph->nodes[i].n_edges; k++)
            note_way(graph, i, graph->nodes[i].first_edge + k);
}

int hti_snap_graph_decode(struct hti_snap_graph *graph, const void *data, size_t size, struct htstore_error *error)
{
    struct hti_reader reader;
    int rc;

    hti_snap_graph_init(graph);
    hti_reader_init(&reader, data, size);
    rc = size > HTI_SNAP_MAX_GRAPH ? HTSTORE_ECORRUPT : decode_nodes(graph, &reader);
    if (rc == HTSTORE_ENOMEM)
        hti_fail(error, rc, "no memory for the graph of objects");
    else if (rc != 0)
        rc =
            hti_fail(error, HTSTORE_ECORRUPT, "the graph of objects is malformed at its node %" PRIu32, graph->n_nodes);
    else
        rc = check_graph(graph, HTSTORE_ECORRUPT, error);
    if (rc == 0)
        note_ways(graph);
    else
        hti_snap_graph_release(graph);
    return rc;
}

struct hti_hash128 hti_snap_graph_id(const void *record, size_t size)
{
    return hti_hash128(record, size);
}

/* --- looking --- */

const struct hti_snap_edge *hti_snap_graph_edges(const struct hti_snap_graph *graph, uint32_t node)
{
    return graph->nodes[node].n_edges > 0 ? &graph->edges[graph->nodes[node].first_edge] : NULL;
}

static const uint8_t *text_at(const struct hti_snap_graph *graph, uint64_t offset)
{
    static const uint8_t nothing[1];

    return graph->text.size > 0 ? graph->text.data + offset : nothing;
}

const uint8_t *hti_snap_graph_name(const struct hti_snap_graph *graph, const struct hti_snap_edge *edge)
{
    return text_at(graph, edge->name_offset);
}

const uint8_t *hti_snap_graph_default(const struct hti_snap_graph *graph, uint32_t node)
{
    return text_at(graph, graph->nodes[node].default_offset);
}

int hti_snap_graph_find(const struct hti_snap_graph *graph, uint32_t node, const void *name, size_t name_size,
                        uint32_t *child)
{
    const struct hti_snap_edge *edges = hti_snap_graph_edges(graph, node);

    for (uint32_t i = 0; i < graph->nodes[node].n_edges; i++) {
        if (edges[i].name_size == name_size &&
            (name_size == 0 || memcmp(hti_snap_graph_name(graph, &edges[i]), name, name_size) == 0)) {
            *child = edges[i].child;
            return 0;
        }
    }
    return 1;
}

void hti_snap_node_row_type(const struct hti_snap_node *node, struct hti_row_type *type)
{
    assert(has_rows(node));
    if (node->kind == HTI_SNAP_TABLE)
        hti_row_type_init(type, node->key_dtype, node->value_dtype, hti_shape_count(&node->shape));
    else
        hti_varlayout_init(type, node->value_dtype, hti_shape_count(&node->shape));
}

/* --- paths --- */

typedef int (*append_fn)(struct hti_buf *out, bool first, const uint8_t *name, size_t size);

static int append_name(struct hti_buf *out, bool first, const uint8_t *name, size_t size)
{
    (void)first;
    const int rc = hti_buf_append_u8(out, '.');
    return rc ? rc : hti_buf_append(out, name, size);
}

static int append_file_name(struct hti_buf *out, bool first, const uint8_t *name, size_t size)
{
    int rc = first ? 0 : hti_buf_append_u8(out, '/');

    for (size_t i = 0; rc == 0 && i < size; i++) {
        if (name[i] == '.' || name[i] == '/')
            rc = hti_buf_append_u8(out, '.');
        rc = rc ? rc : hti_buf_append_u8(out, name[i] == '/' ? 'S' : name[i]);
    }
    return rc;
}

static int append_path(const struct hti_snap_graph *graph, uint32_t node, append_fn append, struct hti_buf *out)
{
    const size_t start = out->size;
    uint32_t depth = 0;
    int rc = 0;

    for (uint32_t at = node; at != 0; at = graph->nodes[at].parent)
        depth++;
    uint32_t *way = hti_mem_alloc_array(depth, sizeof *way);
    if (!way)
        return HTSTORE_ENOMEM;
    for (uint32_t at = node, i = depth; at != 0; at = graph->nodes[at].parent)
        way[--i] = at;
    for (uint32_t i = 0; rc == 0 && i < depth; i++) {
        const struct hti_snap_edge *edge = &graph->edges[graph->nodes[way[i]].via_edge];
        rc = append(out, i == 0, hti_snap_graph_name(graph, edge), edge->name_size);
    }
    hti_mem_free(way);
    if (rc != 0)
        out->size = start;
    return rc;
}

int hti_snap_graph_path(const struct hti_snap_graph *graph, uint32_t node, struct hti_buf *out)
{
    const size_t start = out->size;
    int rc = hti_buf_append(out, "(root)", 6);

    rc = rc ? rc : append_path(graph, node, append_name, out);
    if (rc != 0)
        out->size = start;
    return rc;
}

int hti_snap_graph_file_path(const struct hti_snap_graph *graph, uint32_t node, struct hti_buf *out)
{
    return append_path(graph, node, append_file_name, out);
}

void hti_snap_graph_label(const struct hti_snap_graph *graph, uint32_t node, char out[HTI_SNAP_LABEL_SIZE])
{
    static const char root[] = "(root)", more[] = ".…";
    char tail[HTI_SNAP_LABEL_SIZE], name[56];
    size_t at = sizeof tail - 1; /* `tail` is filled from its end */

    tail[at] = '\0';
    for (; node != 0; node = graph->nodes[node].parent) {
        const struct hti_snap_edge *edge = &graph->edges[graph->nodes[node].via_edge];
        hti_text_escape(name, sizeof name, hti_snap_graph_name(graph, edge), edge->name_size);
        const size_t size = strlen(name);
        if (at < size + 1 + sizeof root + sizeof more)
            break;
        at -= size;
        memcpy(tail + at, name, size);
        tail[--at] = '.';
    }
    snprintf(out, HTI_SNAP_LABEL_SIZE, "%s%s%s", root, node ? more : "", tail + at);
}
