/* instant: hides how a state is fixed while others go on writing. */
#include "instant.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "flush.h"
#include "mem.h"
#include "view.h"

#define MAX_META_TRIES 16

/*
 * Between two flushes LMDB holds a prefix of history; flush_mutex keeps the next one from starting before the transaction
 * has begun. The map is grown before, since it cannot be while the instant is kept.
 */
static int fix_owned(struct hti_instant *instant, const struct hti_root *root, bool all_contents,
                     const int64_t *counter, struct htstore_error *error)
{
    struct htstore *store = instant->store;
    int rc = hti_flush_locked(store, error);

    if (rc != 0)
        return rc;
    if (hti_kv_is_tight(store->kv, store->options.delta_bytes) && hti_slow_age_ms(store) == 0)
        hti_kv_grow(store->kv, NULL); /* if it cannot grow now, the flusher will say so when it must */
    rc = hti_graph_gather(store, root, all_contents, counter, &instant->graph, error);
    if (rc != 0)
        return rc;
    instant->lsn = store->record.applied_lsn;
    return hti_kv_read_begin(store->kv, true, &instant->read, error);
}

static int fix_viewed(struct hti_instant *instant, const struct hti_root *root, bool all_contents,
                      const int64_t *counter, struct htstore_error *error)
{
    struct hti_kv_read *read;
    int rc = hti_view_read(instant->store, &read, error);

    if (rc == 0)
        rc = hti_graph_gather(instant->store, root, all_contents, counter, &instant->graph, error);
    if (rc != 0)
        return rc;
    instant->view = hti_view_use(instant->store);
    instant->lsn = instant->view->record.applied_lsn;
    return 0;
}

/* --- pages --- */

/* The metas tell the size of pages, and of the file at least as far as the state needs it. */
static int open_file(struct hti_instant *instant, struct htstore_error *error)
{
    struct htstore *store = instant->store;
    struct hti_kvpage_metas metas;
    unsigned newest = 0;
    uint64_t size;
    int rc = hti_file_open(store->dir_fd, "data.mdb", O_RDONLY, store->path, &instant->data_fd, error);

    if (rc != 0)
        return rc;
    /* a writer may be at work on one of them */
    for (int i = 0; i < MAX_META_TRIES; i++) {
        hti_kvpage_read_metas(instant->data_fd, &metas);
        newest = !metas.fault[0].code && !metas.fault[1].code ? hti_kvpage_newest(&metas) : metas.fault[0].code != 0;
        if (!metas.fault[newest].code)
            break;
    }
    if (metas.fault[newest].code)
        return hti_kvpage_fail_meta(&metas, newest, metas.fault[newest].code, store->path, error);
    rc = hti_file_size(instant->data_fd, &size);
    if (rc != 0)
        return hti_file_fail(error, rc, store->path, "cannot examine data.mdb");
    hti_kvpage_fill_file(&instant->file.file, instant->data_fd, store->path, &metas.meta[newest], size);
    return 0;
}

static int find_tree(struct hti_instant *instant, struct hti_kv_read *read, uint32_t node, struct htstore_error *error)
{
    const uint64_t database = instant->graph.objects[node].totals.database;
    int rc;

    instant->trees[node] = (struct hti_kvpage_tree){ .root = HTI_KVPAGE_NONE };
    if (database == 0)
        return 0;
    rc = hti_kv_read_tree(read, database, &instant->trees[node], error);
    if (rc != 1)
        return rc;
    return hti_fail(error, HTSTORE_ECORRUPT, "%s: the rows of object %llu are missing", instant->store->path,
                    (unsigned long long)instant->graph.objects[node].id);
}

static int find_trees(struct hti_instant *instant, struct hti_kv_read *read, struct htstore_error *error)
{
    const uint32_t n = instant->graph.snap.n_nodes;
    int rc = 0;

    instant->trees = hti_mem_alloc_array(n, sizeof *instant->trees);
    if (!instant->trees)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for the graph of objects");
    for (uint32_t i = 0; rc == 0 && i < n; i++)
        rc = find_tree(instant, read, i, error);
    return rc;
}

static int prepare(struct hti_instant *instant, struct htstore_error *error)
{
    struct hti_kv_read *read = instant->read;
    int rc = 0;

    if (instant->view)
        rc = hti_view_read(instant->store, &read, error);
    if (rc == 0)
        rc = find_trees(instant, read, error);
    return rc ? rc : open_file(instant, error);
}

int hti_instant_open(struct htstore *store, const struct hti_root *root, bool all_contents, const int64_t *counter,
                     struct hti_instant *instant, struct htstore_error *error)
{
    int rc;

    memset(instant, 0, sizeof *instant);
    instant->store = store;
    instant->data_fd = -1;
    pthread_mutex_lock(hti_graph_mutex(store));
    rc = store->readonly ? fix_viewed(instant, root, all_contents, counter, error)
                         : fix_owned(instant, root, all_contents, counter, error);
    if (rc == 0)
        rc = prepare(instant, error);
    pthread_mutex_unlock(hti_graph_mutex(store));
    hti_slow_enter(store, &instant->slow);
    if (rc != 0)
        hti_instant_close(instant);
    return rc;
}

void hti_instant_close(struct hti_instant *instant)
{
    struct htstore *store = instant->store;

    hti_kv_read_end(instant->read);
    if (instant->view) {
        pthread_mutex_lock(&store->view_mutex);
        hti_view_leave(instant->view);
        pthread_mutex_unlock(&store->view_mutex);
    }
    if (instant->data_fd >= 0)
        close(instant->data_fd);
    hti_graph_release(&instant->graph);
    hti_mem_free(instant->trees);
    hti_slow_leave(store, &instant->slow);
}

int hti_instant_rows(struct hti_instant *instant, uint32_t node, size_t max_value, struct hti_kvwalk_cursor **cursor,
                     struct htstore_error *error)
{
    const struct hti_kvwalk_options options = { .max_value = max_value };

    return hti_kvwalk_cursor_open(&instant->file, &instant->trees[node], &options, cursor, error);
}
