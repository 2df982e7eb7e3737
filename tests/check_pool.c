/* Tests of pool: order, bounds, errors, cancelling, and threads that cannot be started. */
#include "pool.h"

#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <unistd.h>

#include "check_util.h"
#include "htstore.h"
#include "mem.h"

#define N_JOBS 500u

struct context {
    unsigned n_runs;
};

struct job {
    unsigned number;
    unsigned result;
    unsigned sum; /* for work to have an effect */
    pthread_t thread;
};

static struct job jobs[N_JOBS];
static struct context contexts[8];
static unsigned n_contexts, n_released;
static unsigned init_fails_at; /* context that cannot be made */
static atomic_uint n_started;
static sem_t gate; /* jobs of run_gated() wait for it */
static sem_t begun;

static void set_up(void)
{
    n_contexts = n_released = 0;
    init_fails_at = UINT_MAX;
    atomic_store(&n_started, 0);
    for (unsigned i = 0; i < N_JOBS; i++)
        jobs[i] = (struct job){ .number = i };
    ck_assert_int_eq(sem_init(&gate, 0, 0), 0);
    ck_assert_int_eq(sem_init(&begun, 0, 0), 0);
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
    ck_assert_uint_eq(n_contexts, n_released);
}

static int init(void *user, void **context)
{
    ck_assert_ptr_eq(user, jobs);
    if (n_contexts == init_fails_at)
        return HTSTORE_EIO;
    contexts[n_contexts].n_runs = 0;
    *context = &contexts[n_contexts++];
    return 0;
}

static void release(void *context)
{
    (void)context;
    n_released++;
}

/* Uneven work, so that jobs overtake each other. */
static int run(void *context, void *job)
{
    struct job *own = job;
    unsigned sum = 0;
    for (unsigned i = 0; i < own->number * 7919 % 1000 * 20; i++)
        sum = sum * 31 + i;
    own->sum = sum;
    own->result = own->number * 3;
    own->thread = pthread_self();
    ((struct context *)context)->n_runs++;
    atomic_fetch_add(&n_started, 1);
    return own->number % 10 == 3 ? HTSTORE_ECORRUPT : 0;
}

static int run_gated(void *context, void *job)
{
    atomic_fetch_add(&n_started, 1);
    sem_post(&begun);
    while (sem_wait(&gate) != 0)
        ;
    return run(context, job);
}

static struct hti_pool *new_pool(unsigned n_workers, unsigned max_jobs, int (*function)(void *, void *))
{
    const struct hti_pool_options options = { .name = "test",
                                              .n_workers = n_workers,
                                              .max_jobs = max_jobs,
                                              .user = jobs,
                                              .init = init,
                                              .release = release,
                                              .run = function };
    struct hti_pool *pool;
    ck_assert_int_eq(hti_pool_new(&options, &pool), 0);
    return pool;
}

static void take_one(struct hti_pool *pool, unsigned number)
{
    int status = 1;
    struct job *job = hti_pool_take(pool, &status);
    ck_assert_ptr_eq(job, &jobs[number]);
    ck_assert_int_eq(status, number % 10 == 3 ? HTSTORE_ECORRUPT : 0);
    ck_assert_uint_eq(job->result, number * 3);
}

static const struct {
    unsigned n_workers, max_jobs;
} forms[] = { { 0, 1 }, { 0, 5 }, { 1, 1 }, { 1, 4 }, { 2, 1 }, { 2, 3 }, { 4, 8 }, { 8, 3 } };
#define N_FORMS 8

START_TEST(jobs_come_back_in_order_with_their_results)
{
    struct hti_pool *pool = new_pool(forms[_i].n_workers, forms[_i].max_jobs, run);
    unsigned n_taken = 0, n_runs = 0;
    int status;
    for (unsigned i = 0; i < N_JOBS; i++) {
        if (hti_pool_is_full(pool))
            take_one(pool, n_taken++);
        hti_pool_submit(pool, &jobs[i]);
        ck_assert_uint_le(i + 1 - n_taken, forms[_i].max_jobs);
    }
    while (n_taken < N_JOBS)
        take_one(pool, n_taken++);
    ck_assert_ptr_null(hti_pool_take(pool, &status));
    hti_pool_free(pool);
    for (unsigned i = 0; i < n_contexts; i++)
        n_runs += contexts[i].n_runs;
    ck_assert_uint_eq(n_runs, N_JOBS);
    ck_assert_uint_eq(n_contexts, forms[_i].n_workers ? forms[_i].n_workers : 1);
}
END_TEST

START_TEST(without_workers_jobs_run_in_the_caller)
{
    struct hti_pool *pool = new_pool(0, 2, run);
    hti_pool_submit(pool, &jobs[0]);
    ck_assert_uint_eq(atomic_load(&n_started), 1);
    ck_assert(pthread_equal(jobs[0].thread, pthread_self()));
    take_one(pool, 0);
    hti_pool_free(pool);
}
END_TEST

START_TEST(several_jobs_run_at_once)
{
    struct hti_pool *pool = new_pool(3, 4, run_gated);
    for (unsigned i = 0; i < 4; i++)
        hti_pool_submit(pool, &jobs[i]);
    ck_assert(hti_pool_is_full(pool));
    for (unsigned i = 0; i < 3; i++) /* none of them can end before all three have begun */
        while (sem_wait(&begun) != 0)
            ;
    for (unsigned i = 0; i < 4; i++)
        sem_post(&gate);
    for (unsigned i = 0; i < 4; i++)
        take_one(pool, i);
    hti_pool_free(pool);
}
END_TEST

START_TEST(what_is_cancelled_before_it_begins_does_not_run)
{
    struct hti_pool *pool = new_pool(1, 4, run_gated);
    int status = 0;
    for (unsigned i = 0; i < 3; i++)
        hti_pool_submit(pool, &jobs[i]);
    while (sem_wait(&begun) != 0)
        ;
    hti_pool_cancel(pool);
    hti_pool_submit(pool, &jobs[3]);
    sem_post(&gate);
    take_one(pool, 0);
    for (unsigned i = 1; i < 4; i++) {
        ck_assert_ptr_eq(hti_pool_take(pool, &status), &jobs[i]);
        ck_assert_int_eq(status, HTSTORE_ECANCELED);
        ck_assert_uint_eq(jobs[i].result, 0);
    }
    hti_pool_free(pool);
}
END_TEST

START_TEST(after_a_cancel_a_pool_without_workers_runs_nothing)
{
    struct hti_pool *pool = new_pool(0, 4, run);
    int status = 0;
    hti_pool_cancel(pool);
    hti_pool_submit(pool, &jobs[1]);
    ck_assert_ptr_eq(hti_pool_take(pool, &status), &jobs[1]);
    ck_assert_int_eq(status, HTSTORE_ECANCELED);
    ck_assert_uint_eq(jobs[1].result, 0);
    hti_pool_free(pool);
}
END_TEST

START_TEST(freeing_waits_for_running_jobs_and_begins_no_others)
{
    struct hti_pool *pool = new_pool(1, 4, run_gated);
    for (unsigned i = 0; i < 4; i++)
        hti_pool_submit(pool, &jobs[i + 1]);
    while (sem_wait(&begun) != 0)
        ;
    for (unsigned i = 0; i < 4; i++)
        sem_post(&gate);
    hti_pool_free(pool);
    ck_assert_uint_eq(jobs[1].result, 3);
    ck_assert_uint_eq(n_released, 1);
}
END_TEST

START_TEST(workers_get_no_signals)
{
    struct hti_pool *pool = new_pool(1, 1, run_gated);
    sigset_t usr1, pending;
    struct timespec no_time = { 0, 0 };
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &usr1, NULL), 0);
    hti_pool_submit(pool, &jobs[0]);
    while (sem_wait(&begun) != 0)
        ;
    ck_assert_int_eq(kill(getpid(), SIGUSR1), 0); /* a worker that took it would end the process */
    sem_post(&gate);
    take_one(pool, 0);
    hti_pool_free(pool);
    ck_assert_int_eq(sigpending(&pending), 0);
    ck_assert_int_eq(sigismember(&pending, SIGUSR1), 1);
    ck_assert_int_eq(sigtimedwait(&usr1, NULL, &no_time), SIGUSR1);
}
END_TEST

START_TEST(a_context_that_cannot_be_made_fails_the_pool)
{
    const struct hti_pool_options options = {
        .name = "test", .n_workers = 3, .max_jobs = 2, .user = jobs, .init = init, .release = release, .run = run
    };
    struct hti_pool *pool = (struct hti_pool *)jobs;
    init_fails_at = (unsigned)_i;
    ck_assert_int_eq(hti_pool_new(&options, &pool), HTSTORE_EIO);
    ck_assert_ptr_null(pool);
    ck_assert_uint_eq(n_released, (unsigned)_i);
}
END_TEST

START_TEST(without_memory_nothing_is_left)
{
    const struct hti_pool_options options = {
        .name = "test", .n_workers = 2, .max_jobs = 2, .user = jobs, .init = init, .release = release, .run = run
    };
    struct hti_pool *pool = (struct hti_pool *)jobs;
    hti_mem_test_fail((uint64_t)_i, true);
    ck_assert_int_eq(hti_pool_new(&options, &pool), HTSTORE_ENOMEM);
    ck_assert_ptr_null(pool);
}
END_TEST

/*
 * Stacks with so large a guard that one of them fits the address space, and two do not: the first thread starts, the
 * second does not. With sanitizers, which need the space themselves, none may start.
 */
START_TEST(a_thread_that_cannot_be_started_leaves_nothing)
{
    const struct hti_pool_options options = {
        .name = "test", .n_workers = 3, .max_jobs = 2, .user = jobs, .init = init, .release = release, .run = run
    };
    const size_t guard_size = (size_t)80 << 40;
    pthread_attr_t before, huge;
    struct hti_pool *pool = (struct hti_pool *)jobs;
    ck_assert_int_eq(pthread_getattr_default_np(&before), 0);
    ck_assert_int_eq(pthread_attr_init(&huge), 0);
    ck_assert_int_eq(pthread_attr_setguardsize(&huge, guard_size), 0);
    ck_assert_int_eq(pthread_attr_setstacksize(&huge, guard_size + ((size_t)1 << 20)), 0);
    ck_assert_int_eq(pthread_setattr_default_np(&huge), 0);
    ck_assert_int_eq(hti_pool_new(&options, &pool), HTSTORE_ENOMEM);
    ck_assert_ptr_null(pool);
    ck_assert_int_eq(pthread_setattr_default_np(&before), 0);
    ck_assert_uint_eq(n_released, 3);
    pthread_attr_destroy(&huge);
    pthread_attr_destroy(&before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool");
    TCase *tests = tcase_create("pool");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, jobs_come_back_in_order_with_their_results, 0, N_FORMS);
    tcase_add_test(tests, without_workers_jobs_run_in_the_caller);
    tcase_add_test(tests, several_jobs_run_at_once);
    tcase_add_test(tests, what_is_cancelled_before_it_begins_does_not_run);
    tcase_add_test(tests, after_a_cancel_a_pool_without_workers_runs_nothing);
    tcase_add_test(tests, freeing_waits_for_running_jobs_and_begins_no_others);
    tcase_add_test(tests, workers_get_no_signals);
    tcase_add_loop_test(tests, a_context_that_cannot_be_made_fails_the_pool, 0, 3);
    tcase_add_loop_test(tests, without_memory_nothing_is_left, 0, 3);
    tcase_add_test(tests, a_thread_that_cannot_be_started_leaves_nothing);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
