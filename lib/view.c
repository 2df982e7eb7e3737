/* view: hides how a reader finds a state between two flushes, and keeps it. */
#include "view.h"

#include <string.h>
#include <time.h>

#include "mem.h"
#include "objects.h"

#define PATIENCE_MS 1000

static void pause_1ms(void)
{
    const struct timespec ms = { .tv_nsec = 1000000 };
    nanosleep(&ms, NULL);
}

static int open_databases(struct htstore *store, const struct hti_objects *objects, struct htstore_error *error)
{
    uint64_t *numbers = hti_mem_alloc_array(objects->n_totals + 1, sizeof *numbers);
    size_t n = 0;
    int rc;

    if (!numbers)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for the catalogue");
    for (size_t i = 0; i < objects->n_totals; i++)
        if (objects->totals[i].database != 0)
            numbers[n++] = objects->totals[i].database;
    rc = hti_kv_open_all(store->kv, numbers, n, error);
    hti_mem_free(numbers);
    return rc;
}

/*
 * A handle opened in one transaction is good only for those that begin later. So: read the catalogue, open what it names,
 * begin the transaction to keep, and make sure that it sees the same state. 0, 1 = try again, negative = error.
 */
static int try_state(struct htstore *store, struct hti_kv_read **kept, struct hti_objects *objects,
                     struct htstore_error *error)
{
    struct hti_kv_read *read;
    uint64_t id;
    int rc = hti_kv_read_begin(store->kv, false, &read, error);

    if (rc != 0)
        return rc;
    id = hti_kv_read_id(read);
    rc = hti_objects_read(read, objects, error);
    hti_kv_read_end(read);
    if (rc != 0)
        return rc;
    rc = objects->store.flushing ? 1 : open_databases(store, objects, error);
    if (rc == 0)
        rc = hti_kv_read_begin(store->kv, true, kept, error);
    if (rc == 0 && hti_kv_read_id(*kept) != id) {
        hti_kv_read_end(*kept);
        rc = 1;
    }
    if (rc != 0)
        hti_objects_release(objects);
    return rc;
}

static int find_state(struct htstore *store, struct hti_kv_read **kept, struct hti_objects *objects,
                      struct htstore_error *error)
{
    const uint64_t deadline = hti_now_ms() + PATIENCE_MS;
    int rc;

    while ((rc = try_state(store, kept, objects, error)) == 1) {
        if (hti_now_ms() > deadline)
            return hti_fail(error, HTSTORE_EBUSY,
                            "%s: its owner is, or died, in the middle of a flush; try again, or open the store for "
                            "writing once to recover it",
                            store->path);
        pause_1ms();
    }
    return rc;
}

static int install(struct htstore *store, struct hti_kv_read *read, struct hti_objects *objects,
                   struct htstore_error *error)
{
    struct hti_view *view = hti_mem_zalloc(sizeof *view);
    int rc = view ? 0 : hti_fail(error, HTSTORE_ENOMEM, "no memory for a view");

    if (rc == 0)
        rc = hti_objects_install(store, objects, error);
    if (rc != 0) {
        hti_mem_free(view);
        hti_kv_read_end(read);
        return rc;
    }
    view->read = read;
    view->record = objects->store;
    view->n_users = 1;
    if (store->view)
        hti_view_leave(store->view);
    store->view = view;
    atomic_store(&store->visible_lsn, view->record.applied_lsn);
    atomic_store(&store->applied_lsn, view->record.applied_lsn);
    return 0;
}

/*
 * The owner's file may have outgrown our map, which cannot grow while our own view is in the way. Without cursors nobody
 * needs that view any more.
 */
static bool give_up_view(struct htstore *store)
{
    if (!store->view || !store->view->read || store->view->n_users > 1 || hti_kv_fits(store->kv))
        return false;
    hti_kv_read_end(store->view->read);
    store->view->read = NULL;
    return true;
}

int hti_view_read(struct htstore *store, struct hti_kv_read **read, struct htstore_error *error)
{
    *read = store->view->read;
    return *read ? 0
                 : hti_fail(error, HTSTORE_EBUSY,
                            "%s: no state could be seen when the file had outgrown the map; refresh", store->path);
}

int hti_view_refresh(struct htstore *store, struct htstore_error *error)
{
    struct hti_objects objects;
    struct hti_kv_read *read;
    int rc;

    pthread_mutex_lock(&store->view_mutex);
    if (store->view && store->view->read && hti_kv_last_id(store->kv) == hti_kv_read_id(store->view->read)) {
        pthread_mutex_unlock(&store->view_mutex);
        return 1;
    }
    rc = find_state(store, &read, &objects, error);
    if (rc == HTSTORE_EBUSY && give_up_view(store))
        rc = find_state(store, &read, &objects, error);
    if (rc == 0) {
        rc = install(store, read, &objects, error);
        hti_objects_release(&objects);
    }
    pthread_mutex_unlock(&store->view_mutex);
    return rc;
}

struct hti_view *hti_view_use(struct htstore *store)
{
    store->view->n_users++;
    return store->view;
}

void hti_view_leave(struct hti_view *view)
{
    if (--view->n_users > 0)
        return;
    hti_kv_read_end(view->read); /* NULL does nothing */
    hti_mem_free(view);
}
