/*
 * snapgraph: the graph of objects that a snapshot holds: in memory, as bytes, and how nodes are named in messages and
 * files. Layout: docs/snapshot-format.md.
 *
 * Nodes are numbered breadth first from node 0, the root, siblings in the order of the edges. Every edge names its
 * child; cycles are legal.
 */
#ifndef HTI_SNAPGRAPH_H
#define HTI_SNAPGRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "codec.h"
#include "dtype.h"
#include "error.h"
#include "hash.h"

#define HTI_SNAP_MAX_NODES (1u << 24)
#define HTI_SNAP_MAX_GRAPH (UINT64_C(1) << 30) /* bytes of an encoded graph */

/* Kinds of nodes; the values are those of enum htstore_kind, and stored. */
enum hti_snap_kind {
    HTI_SNAP_TABLE = 1,
    HTI_SNAP_VARIABLE = 2,
    HTI_SNAP_MAPPING = 3,
    HTI_SNAP_ROOT = 4 /* node 0 only: a list of names, or the root namespace of a store */
};

/* Flags of nodes, stored. */
#define HTI_SNAP_HAS_CONTENTS 0x01u /* tables, variables (always): its rows are in the file */
#define HTI_SNAP_NO_CHECKPOINT 0x02u /* tables: as their schema says; without HAS_CONTENTS only that is saved */
#define HTI_SNAP_LAYER 0x04u /* mappings */
#define HTI_SNAP_NOT_TRAINABLE 0x08u /* mappings, variables */
#define HTI_SNAP_COUNTER                                                                                               \
    0x10u /* a scalar int64 variable right below the root: the save counter, no object of the store */

/* Roles of variables, stored; 0 for other nodes. */
enum hti_snap_role { HTI_SNAP_WEIGHT = 1, HTI_SNAP_LOSS = 2, HTI_SNAP_UPDATE = 3 };

struct hti_snap_node {
    uint32_t kind;
    uint32_t flags;
    uint32_t role;
    uint32_t key_dtype; /* tables; else 0 */
    uint32_t value_dtype; /* tables, variables; else 0 */
    struct hti_shape shape; /* of a value, or of the variable; else rank 0 */
    uint64_t n_rows; /* 0 without HAS_CONTENTS; variables: hti_varlayout_rows() */
    struct hti_hash128 digest; /* 0 without rows */
    /* set by the graph */
    uint32_t parent; /* where it was found first; 0 for the root */
    uint32_t n_edges;
    uint64_t first_edge;
    uint64_t via_edge; /* the edge by which it was found first; UINT64_MAX: none */
    uint64_t default_offset; /* in `text` */
    uint64_t default_size;
};

struct hti_snap_edge {
    uint64_t name_offset; /* in `text` */
    uint32_t name_size;
    uint32_t child;
};

struct hti_snap_graph {
    struct hti_snap_node *nodes; /* owned */
    uint32_t n_nodes;
    uint32_t node_capacity;
    uint32_t last_parent; /* of the edge added last */
    struct hti_snap_edge *edges; /* owned; those of a node are neighbours, in order */
    uint64_t n_edges;
    uint64_t edge_capacity;
    struct hti_buf text; /* names and default values */
};

void hti_snap_graph_init(struct hti_snap_graph *graph);
void hti_snap_graph_release(struct hti_snap_graph *graph);

/*
 * Build: breadth first. Take node i for i = 0, 1, …, add its edges in order; add a child as a node before the first
 * edge to it. Edges of smaller nodes come first. The fields of a node that "the graph sets" are ignored.
 * HTSTORE_ENOMEM; HTSTORE_EINVAL if a limit is passed. What is wrong otherwise is found by encode.
 */
int hti_snap_graph_add_node(struct hti_snap_graph *graph, const struct hti_snap_node *node, uint32_t *number);
/* The packed default value of a table, once. */
int hti_snap_graph_set_default(struct hti_snap_graph *graph, uint32_t node, const void *data, size_t size);
int hti_snap_graph_add_edge(struct hti_snap_graph *graph, uint32_t parent, const void *name, size_t name_size,
                            uint32_t child);

/* Append the graph record. HTSTORE_EINVAL if the graph breaks a rule of the format, HTSTORE_ENOMEM. */
int hti_snap_graph_encode(const struct hti_snap_graph *graph, struct hti_buf *out, struct htstore_error *error);
/*
 * Decode and check everything. HTSTORE_ECORRUPT, HTSTORE_ENOMEM: the graph is then empty. `graph` need not be
 * initialised.
 */
int hti_snap_graph_decode(struct hti_snap_graph *graph, const void *data, size_t size, struct htstore_error *error);
/* The snapshot id: XXH3-128 of the graph record. */
struct hti_hash128 hti_snap_graph_id(const void *record, size_t size);

/* Names and default values are borrowed from the graph; valid until it is changed. */
const struct hti_snap_edge *hti_snap_graph_edges(const struct hti_snap_graph *graph, uint32_t node);
const uint8_t *hti_snap_graph_name(const struct hti_snap_graph *graph, const struct hti_snap_edge *edge);
const uint8_t *hti_snap_graph_default(const struct hti_snap_graph *graph, uint32_t node);
/* The child under that name: 0, or 1 if there is none. Linear in the number of edges of the node. */
int hti_snap_graph_find(const struct hti_snap_graph *graph, uint32_t node, const void *name, size_t name_size,
                        uint32_t *child);

/* The type of the rows of a table or variable. */
void hti_snap_node_row_type(const struct hti_snap_node *node, struct hti_row_type *type);

/* Paths: of graphs that were encoded or decoded. */
/* Append the first path to a node, as bytes: "(root).m.b". Not escaped. HTSTORE_ENOMEM. */
int hti_snap_graph_path(const struct hti_snap_graph *graph, uint32_t node, struct hti_buf *out);
/*
 * Append it as files have it: names joined by '/', in each '.' as "..", '/' as ".S". Empty for the root.
 * HTSTORE_ENOMEM.
 */
int hti_snap_graph_file_path(const struct hti_snap_graph *graph, uint32_t node, struct hti_buf *out);
/* The path for a message: escaped, shortened in the middle to the last names, NUL-terminated. Allocates nothing. */
#define HTI_SNAP_LABEL_SIZE 160
void hti_snap_graph_label(const struct hti_snap_graph *graph, uint32_t node, char out[HTI_SNAP_LABEL_SIZE]);

#endif
