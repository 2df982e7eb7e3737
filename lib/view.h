/* view: the state that a read-only store sees: one LMDB read transaction, kept until the next refresh. */
#ifndef HTI_VIEW_H
#define HTI_VIEW_H

#include "state.h"

/*
 * A view is shared by the store and by cursors, and used by one thread at a time: whoever reads from it holds the store's
 * view_mutex.
 */
struct hti_view {
    struct hti_kv_read *read;
    struct hti_store_record record;
    uint32_t n_users; /* view_mutex */
};

/*
 * Move the store to the newest state of the owner: 0; 1 = it is the one already seen; HTSTORE_EBUSY (in the middle of a
 * flush for a second), HTSTORE_ECORRUPT, HTSTORE_EIO, HTSTORE_ENOMEM. Takes view_mutex.
 */
int hti_view_refresh(struct htstore *store, struct htstore_error *error);
/* The transaction to read from. HTSTORE_EBUSY if a refresh had to give it up and found no other. With view_mutex. */
int hti_view_read(struct htstore *store, struct hti_kv_read **read, struct htstore_error *error);
struct hti_view *hti_view_use(struct htstore *store); /* with view_mutex */
void hti_view_leave(struct hti_view *view); /* with view_mutex */

#endif
