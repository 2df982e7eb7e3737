/*
 * instant: one state of a store, fixed: its graph of objects, and a read transaction that keeps all its pages. Everything
 * that reads a whole store begins here. Rows are read page by page, without LMDB, whose handles would not do for all
 * tables at once.
 */
#ifndef HTI_INSTANT_H
#define HTI_INSTANT_H

#include "graph.h"
#include "kvwalk.h"

struct hti_instant {
    struct htstore *store;
    struct hti_graph graph; /* its cores may be gone: only ids, totals and the snapshot's nodes count */
    uint64_t lsn; /* of the state */
    struct hti_kvwalk file; /* for walks */
    int data_fd;
    struct hti_kv_read *read; /* owned stores */
    struct hti_view *view; /* read-only ones */
    struct hti_kvpage_tree *trees; /* of the rows, by node */
    struct hti_slow slow;
};

/*
 * Flush, and fix the state; on a read-only store: the one that it sees. Handles that are open meanwhile count as one. As
 * hti_flush_locked() and hti_graph_gather(); HTSTORE_ECORRUPT.
 */
int hti_instant_open(struct htstore *store, const struct hti_root *root, bool all_contents, const int64_t *counter,
                     struct hti_instant *instant, struct htstore_error *error);
void hti_instant_close(struct hti_instant *instant);

/* Walk the rows of a node in stored order. Values above `max_value` are left out; see hti_kvwalk_options. */
int hti_instant_rows(struct hti_instant *instant, uint32_t node, size_t max_value, struct hti_kvwalk_cursor **cursor,
                     struct htstore_error *error);

#endif
