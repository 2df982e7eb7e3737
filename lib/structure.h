/*
 * structure: changes of what objects there are, what mappings hold, and whose contents are whose: flush, then one durable
 * transaction, so that LMDB always holds a prefix of history. Everything here is called with flush_mutex.
 */
#ifndef HTI_STRUCTURE_H
#define HTI_STRUCTURE_H

#include "state.h"

/* An entry to be added to a mapping. The name must be free, and given once only. */
struct hti_addition {
    struct hti_core *mapping;
    const char *name;
    size_t name_size;
    struct hti_core *object;
    char *copy; /* of hti_structure_commit() */
    uint64_t index; /* likewise */
};

/* New contents for an object: what hti_build_finish() left. */
struct hti_switch {
    struct hti_core *core;
    struct hti_totals_record totals;
    uint64_t restore; /* number of the restore that they come from; 0: none */
    struct hti_cache *rows; /* of hti_structure_commit(): for tables in memory */
    struct hti_warming *warming; /* likewise: of a table that was warming up */
    bool acquired; /* likewise */
};

/* What is to be changed in one step; the lists are borrowed, zeros are nothing. */
struct hti_change {
    struct hti_core **created; /* not in the store's list yet; have ids of this store; owned by the store afterwards */
    size_t n_created;
    struct hti_core **dropped; /* without handles and holders that stay; freed afterwards */
    size_t n_dropped;
    struct hti_addition *additions;
    size_t n_additions;
    struct hti_switch *switches; /* writers wait while these are made */
    size_t n_switches;
    struct hti_core *flagged; /* a mapping whose flags change */
    uint32_t flags;
};

/*
 * Take and leave the locks under which changes are made that a waiting restore may serve: contents_mutex and flush_mutex.
 */
void hti_structure_lock(struct htstore *store);
void hti_structure_unlock(struct htstore *store);

/*
 * Make the change, durably, then in memory: readers see all of it or nothing. As hti_flush_locked(), and HTSTORE_ECONFLICT (two long
 * names collide); after HTSTORE_EIO and HTSTORE_ECORRUPT the store is poisoned. A change that failed has changed nothing.
 */
int hti_structure_commit(struct htstore *store, struct hti_change *change, struct htstore_error *error);

/* A number for a new object or database; durable with the next transaction. */
uint64_t hti_structure_new_id(struct htstore *store);

/*
 * Make a new object of a record (without id), whose memory is taken on success, with the contents of `totals` (NULL: none),
 * of which it already has the id. The caller knows that the name is free. Restores that wait for the name are served. The
 * object is loaded as for a handle, so that opening one cannot fail.
 */
int hti_structure_create(struct htstore *store, struct hti_object_record *record,
                         const struct hti_totals_record *totals, struct hti_core **core, struct htstore_error *error);
/* Take an object without handles and holders out of the store; its rows are deleted later. */
int hti_structure_drop(struct htstore *store, struct hti_core *core, struct htstore_error *error);
/* Delete the anonymous objects that neither a handle nor a named object reaches. */
int hti_structure_collect(struct htstore *store, struct htstore_error *error);

/*
 * Those who wait for keys of mappings and for names: asked before a change is made with additions or created objects, told
 * how it went. `claim` may append to the change's switches by replacing the list; what it allocated it frees in `settle`.
 */
struct hti_waiting {
    struct hti_waiting *next;
    int (*claim)(struct hti_waiting *waiting, struct htstore *store, struct hti_change *change,
                 struct htstore_error *error);
    void (*settle)(struct hti_waiting *waiting, struct htstore *store, int status);
};

#endif
