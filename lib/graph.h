/* graph: everything reachable from a root, as the nodes of a snapshot, with what is needed to read and replace contents. */
#ifndef HTI_GRAPH_H
#define HTI_GRAPH_H

#include "snapgraph.h"
#include "state.h"

/* A name of the root, and the object under it. */
struct hti_root_entry {
    const char *name; /* borrowed */
    size_t name_size;
    struct hti_core *core;
};

/* Where a graph begins. */
struct hti_root {
    struct hti_core *mapping; /* NULL: the entries alone, or all named objects */
    const struct hti_root_entry *entries; /* ascending names; none of them is a key of the mapping */
    size_t n_entries;
    bool names; /* the store's root namespace */
};

/* What is behind a node. */
struct hti_graph_object {
    struct hti_core *core; /* valid as long as the graph's mutex is held; NULL: the root's list, the save counter */
    uint64_t id;
    struct hti_totals_record totals; /* as of the instant */
};

struct hti_graph {
    struct hti_snap_graph snap;
    struct hti_graph_object *objects; /* by node */
    uint32_t counter_node; /* the save counter's; HTI_GRAPH_NONE */
    int64_t counter;
};
#define HTI_GRAPH_NONE UINT32_MAX
#define HTI_GRAPH_COUNTER_NAME "save_counter"

/* With the graph's mutex, and everything flushed: totals are those of LMDB. `counter` NULL: without one. HTSTORE_ENOMEM, HTSTORE_EINVAL. */
int hti_graph_gather(struct htstore *store, const struct hti_root *root, bool all_contents, const int64_t *counter,
                     struct hti_graph *graph, struct htstore_error *error);
void hti_graph_release(struct hti_graph *graph);

/* The packed row that holds a save counter: key 0, the number. */
#define HTI_GRAPH_COUNTER_SIZE 8u
void hti_graph_counter_row(int64_t counter, uint8_t key[8], uint8_t value[8], struct hti_row *row);

/* The named objects in ascending order of names; the array is the caller's. With the graph's mutex. HTSTORE_ENOMEM. */
int hti_graph_list_names(struct htstore *store, struct hti_root_entry **entries, size_t *n);

/* The object that an edge leads to from a live object (NULL: the root's list). NULL: there is none. With the graph's mutex. */
struct hti_core *hti_graph_child(struct htstore *store, const struct hti_root *root, const struct hti_core *from,
                                 const void *name, size_t name_size);

#endif
