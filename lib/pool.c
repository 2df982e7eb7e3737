/* pool: hides the ring of jobs, its lock and its threads. */
#include "pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdint.h>

#include "htstore.h"
#include "mem.h"
#include "thread.h"

struct slot {
    void *job;
    int status;
    bool done;
};

struct worker {
    struct hti_pool *pool;
    void *context;
    pthread_t thread;
    bool has_context, has_thread;
};

/* Jobs are numbered from 0; job i is in slot i % max_jobs. taken <= begun <= submitted <= taken + max_jobs. */
struct hti_pool {
    struct hti_pool_options options;
    struct slot *slots;
    struct worker *workers; /* with n_workers = 0 there is one, without a thread */
    pthread_mutex_t mutex;
    pthread_cond_t work; /* something to begin, or stopping */
    pthread_cond_t done; /* the oldest job is done */
    uint64_t n_taken, n_submitted; /* changed by the owner alone, with the mutex */
    uint64_t n_begun;
    bool cancelled, stopping;
};

static unsigned count_contexts(const struct hti_pool *pool)
{
    return pool->options.n_workers > 0 ? pool->options.n_workers : 1;
}

static struct slot *slot_of(struct hti_pool *pool, uint64_t index)
{
    return &pool->slots[index % pool->options.max_jobs];
}

/* With the mutex, which is released while the job runs. */
static void run_next(struct hti_pool *pool, void *context)
{
    const uint64_t index = pool->n_begun++;
    struct slot *slot = slot_of(pool, index);
    int status = HTSTORE_ECANCELED;
    if (!pool->cancelled) {
        pthread_mutex_unlock(&pool->mutex);
        status = pool->options.run(context, slot->job);
        pthread_mutex_lock(&pool->mutex);
    }
    slot->status = status;
    slot->done = true;
    if (index == pool->n_taken)
        pthread_cond_signal(&pool->done);
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct hti_pool *pool = worker->pool;
    pthread_mutex_lock(&pool->mutex);
    for (;;) {
        while (pool->n_begun == pool->n_submitted && !pool->stopping)
            pthread_cond_wait(&pool->work, &pool->mutex);
        if (pool->n_begun == pool->n_submitted)
            break;
        run_next(pool, worker->context);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

static int init_contexts(struct hti_pool *pool)
{
    for (unsigned i = 0; i < count_contexts(pool); i++) {
        struct worker *worker = &pool->workers[i];
        worker->pool = pool;
        worker->context = pool->options.user;
        int status = pool->options.init ? pool->options.init(pool->options.user, &worker->context) : HTSTORE_OK;
        if (status != 0)
            return status;
        worker->has_context = true;
    }
    return HTSTORE_OK;
}

static int start_threads(struct hti_pool *pool)
{
    for (unsigned i = 0; i < pool->options.n_workers; i++) {
        struct worker *worker = &pool->workers[i];
        if (hti_thread_start(&worker->thread, pool->options.name, work, worker) != 0)
            return HTSTORE_ENOMEM;
        worker->has_thread = true;
    }
    return HTSTORE_OK;
}

int hti_pool_new(const struct hti_pool_options *options, struct hti_pool **out)
{
    assert(options->max_jobs > 0 && options->run);
    *out = NULL;
    struct hti_pool *pool = hti_mem_zalloc(sizeof *pool);
    if (!pool)
        return HTSTORE_ENOMEM;
    pool->options = *options;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->slots = hti_mem_zalloc_array(options->max_jobs, sizeof *pool->slots);
    pool->workers = hti_mem_zalloc_array(count_contexts(pool), sizeof *pool->workers);
    int status = pool->slots && pool->workers ? init_contexts(pool) : HTSTORE_ENOMEM;
    if (status == 0)
        status = start_threads(pool);
    if (status != 0) {
        hti_pool_free(pool);
        return status;
    }
    *out = pool;
    return HTSTORE_OK;
}

static void stop_threads(struct hti_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    pool->cancelled = true;
    pool->stopping = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
    for (unsigned i = 0; i < pool->options.n_workers; i++)
        if (pool->workers[i].has_thread)
            pthread_join(pool->workers[i].thread, NULL);
}

void hti_pool_free(struct hti_pool *pool)
{
    if (!pool)
        return;
    if (pool->workers) {
        stop_threads(pool);
        for (unsigned i = 0; i < count_contexts(pool); i++)
            if (pool->workers[i].has_context && pool->options.release)
                pool->options.release(pool->workers[i].context);
    }
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->mutex);
    hti_mem_free(pool->workers);
    hti_mem_free(pool->slots);
    hti_mem_free(pool);
}

bool hti_pool_is_full(const struct hti_pool *pool)
{
    return pool->n_submitted - pool->n_taken == pool->options.max_jobs;
}

void hti_pool_submit(struct hti_pool *pool, void *job)
{
    assert(job && !hti_pool_is_full(pool));
    pthread_mutex_lock(&pool->mutex);
    *slot_of(pool, pool->n_submitted++) = (struct slot){ .job = job };
    if (pool->options.n_workers == 0)
        run_next(pool, pool->workers[0].context);
    else
        pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
}

void *hti_pool_take(struct hti_pool *pool, int *status)
{
    if (pool->n_taken == pool->n_submitted)
        return NULL;
    pthread_mutex_lock(&pool->mutex);
    struct slot *slot = slot_of(pool, pool->n_taken);
    while (!slot->done)
        pthread_cond_wait(&pool->done, &pool->mutex);
    void *job = slot->job;
    *status = slot->status;
    pool->n_taken++;
    pthread_mutex_unlock(&pool->mutex);
    return job;
}

void hti_pool_cancel(struct hti_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    pool->cancelled = true;
    pthread_mutex_unlock(&pool->mutex);
}
