/* maker: a new store that takes shape from the objects of a snapshot, wherever their rows come from. */
#ifndef HTI_MAKER_H
#define HTI_MAKER_H

#include "build.h"
#include "place.h"
#include "snapgraph.h"
#include "unpack.h"

/* A store that takes shape. */
struct hti_maker {
    const struct htstore_snapshot_restore_options *options;
    struct htstore_options store_options;
    const struct hti_snap_graph *saved;
    struct hti_place place;
    struct htstore *store;
    uint64_t *ids; /* of the new objects, by node; 0: none */
    struct hti_core **cores; /* the same */
    struct hti_build *builds; /* the same */
    bool *built;
    const char **names; /* NUL-terminated; NULL: anonymous */
    bool root_is_object; /* node 0 is a mapping of the new store */
    uint32_t counter_node;
    bool lossy;
    uint64_t n_filled; /* rows that are not the snapshot's */
    struct htstore_snapshot_report report;
    struct htstore_error *error;
};

/*
 * Make the store in its place, which is chosen, of the graph `saved`: with the LSN of the saved state, and the rows that `fill` gives
 * to the builds. The store is closed then, and synced; nobody has seen it. As hti_build_row() and hti_structure_commit(), or
 * what `fill` returned.
 */
int hti_maker_make(struct hti_maker *m, uint64_t lsn, int (*fill)(struct hti_maker *m, void *source), void *source);

/* For struct hti_unpack_options, with the maker as user: rows go to the build of their node; its end finishes it. */
int hti_maker_take_rows(void *user, const struct hti_unpacked *rows, struct htstore_error *error);
int hti_maker_end_rows(void *user, uint32_t node, struct htstore_error *error);

/* Tell options->store->log of a loss. */
void hti_maker_warn(struct hti_maker *m, const char *format, ...) HTI_PRINTF(2, 3);

#endif
