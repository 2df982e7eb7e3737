/*
 * binding: which live object each object of a snapshot is bound to, matched by the names of edges from the root; and which
 * keys are still missing. No contents are touched here. Everything is called with the graph's mutex.
 */
#ifndef HTI_BINDING_H
#define HTI_BINDING_H

#include "graph.h"

/* What became of a saved object. */
struct hti_bound {
    uint64_t id; /* of the live object; 0: none */
    bool supplies; /* its contents are, or will be, those of the live object */
    bool loaded; /* they are */
    bool unused; /* they are not: the live table takes none, or another saved object came first */
};

/* A key that is missing in a live mapping: the object that is put there will be bound to `node`. */
struct hti_missing {
    uint64_t mapping; /* id; 0: a name of the store */
    uint64_t edge; /* of the snapshot's graph */
    uint32_t node;
};

struct hti_binding {
    struct htstore *store;
    const struct hti_snap_graph *saved;
    uint64_t number; /* of the restore: later ones have higher numbers */
    uint32_t counter_node; /* the save counter, which is bound to nothing; HTI_GRAPH_NONE */
    struct hti_bound *bound; /* by saved node */
    uint8_t *has_contents; /* by saved node: it, or anything below it, has some */
    uint64_t *supplied; /* ids of live objects whose contents come from a saved one: a table of hashes, 0 = free */
    uint64_t n_slots; /* of it: a power of two */
    bool root_is_names;
    uint64_t n_inconsistent; /* saved objects that were reached by paths to two live ones */
    struct hti_missing *missing;
    size_t n_missing, max_missing;
};

int hti_binding_init(struct hti_binding *binding, struct htstore *store, const struct hti_snap_graph *saved,
                     uint32_t counter_node, struct htstore_error *error);
void hti_binding_release(struct hti_binding *binding);

/*
 * Bind everything from the root on. HTSTORE_ECONFLICT (names path and both schemas), HTSTORE_ENOMEM: the binding is then to be released.
 */
int hti_binding_start(struct hti_binding *binding, const struct hti_root *root, struct htstore_error *error);
/*
 * An object is about to be added under a missing key: bind it, and what is below it. The missing key stays in the list until
 * it is removed. After a failure, or if the addition fails, the binding must be given back what hti_binding_copy() kept.
 */
int hti_binding_add(struct hti_binding *binding, const struct hti_missing *missing, struct hti_core *core,
                    struct htstore_error *error);
void hti_binding_remove_missing(struct hti_binding *binding, uint64_t mapping, uint64_t edge);

/* A copy, to go back to; swap exchanges contents. HTSTORE_ENOMEM. */
int hti_binding_copy(const struct hti_binding *binding, struct hti_binding *copy, struct htstore_error *error);
void hti_binding_swap(struct hti_binding *a, struct hti_binding *b);

#endif
