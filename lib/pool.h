/*
 * pool: worker threads for an ordered pipeline. Its one owner submits jobs in order and takes them back in that order, when
 * they are done; a bounded number is in flight. Only the job functions run in other threads.
 */
#ifndef HTI_POOL_H
#define HTI_POOL_H

#include <stdbool.h>
#include <stddef.h>

struct hti_pool_options {
    const char *name; /* of the threads: at most 15 bytes */
    unsigned n_workers; /* 0: jobs run in the caller, within hti_pool_submit() */
    unsigned max_jobs; /* in flight: submitted and not yet taken; at least 1 */
    void *user; /* handed to init */
    /*
     * Each worker has a context of its own. init makes it (in the thread of hti_pool_new(); 0, or a status that
     * hti_pool_new() returns), release ends it (NULL: nothing to do), after the last job. Without init, contexts are `user`.
     */
    int (*init)(void *user, void **context);
    void (*release)(void *context);
    int (*run)(void *context, void *job); /* the result is handed out with the job */
};

struct hti_pool;

/* 0, HTSTORE_ENOMEM (also: no thread can be started), or what init returned; nothing is left behind, *pool is NULL. */
int hti_pool_new(const struct hti_pool_options *options, struct hti_pool **pool);

/* Cancel, wait for the running jobs, join. Jobs that were not taken stay the caller's; take them before to free them. */
void hti_pool_free(struct hti_pool *pool);

bool hti_pool_is_full(const struct hti_pool *pool); /* take one before the next submit */
void hti_pool_submit(struct hti_pool *pool, void *job); /* never waits; not NULL; the pool is not full */

/*
 * The oldest job, once it is done; NULL if none is in flight. *status is what run returned, or HTSTORE_ECANCELED if it
 * was not begun.
 */
void *hti_pool_take(struct hti_pool *pool, int *status);

/* Jobs that have not begun will not; they can still be taken, and so do those that are submitted from now on. */
void hti_pool_cancel(struct hti_pool *pool);

#endif
