/* Tests of section: who is inside together, who waits, and that nothing is lost or torn; all by counting, nothing by time. */
#include "section.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <unistd.h>

#include "check_util.h"
#include "mem.h"

#define SECONDS 100 /* a test that takes longer hangs */
#define N_WORDS 64
#define N_COUNTS UINT64_C(400000)
#define MAX_THREADS 100
#define MANY (HTI_SECTION_LINES + 1) /* threads: the first and the last of them share a line */

static struct hti_section section;
static uint64_t
    words[N_WORDS]; /* of no atomic kind: whoever is inside at the wrong time is seen by ThreadSanitizer too */
static _Atomic uint64_t n_reading, n_writing, n_wrong, n_writers_left, n_reads;

struct worker {
    pthread_t thread;
    uint64_t n_steps;
};

static struct worker workers[MAX_THREADS];

static void set_up(void)
{
    alarm(SECONDS);
    ck_assert_int_eq(hti_section_init(&section), 0);
    for (int i = 0; i < N_WORDS; i++)
        words[i] = 0;
    n_reading = n_writing = n_wrong = n_writers_left = n_reads = 0;
}

static void tear_down(void)
{
    hti_section_release(&section);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
    alarm(0);
}

static void expect(bool holds)
{
    if (!holds)
        atomic_fetch_add(&n_wrong, 1);
}

static void start(unsigned first, unsigned n, void *(*run)(void *), uint64_t n_steps)
{
    for (unsigned i = first; i < first + n; i++) {
        workers[i].n_steps = n_steps;
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
    }
}

static void finish(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        ck_assert_int_eq(pthread_join(workers[i].thread, NULL), 0);
    ck_assert_uint_eq(n_wrong, 0);
}

/* ---- threads on the first line, on the last, and one that shares the first; the others only take numbers ---- */

static _Atomic unsigned n_numbered;
static _Atomic bool gate_is_open;
static void *(*run_at_gate)(void *);

static void *take_number(void *argument)
{
    const struct worker *worker = argument;
    const size_t i = (size_t)(worker - workers);

    hti_section_leave(hti_section_enter(&section));
    atomic_fetch_add(&n_numbered, 1);
    while (!atomic_load(&gate_is_open))
        sched_yield();
    return i == 0 || i >= MANY - 2 ? run_at_gate(argument) : NULL;
}

static void start_sharing(void *(*run)(void *), uint64_t n_steps)
{
    atomic_store(&n_numbered, 0);
    atomic_store(&gate_is_open, false);
    run_at_gate = run;
    for (unsigned i = 0; i < MANY; i++) {
        start(i, 1, take_number, n_steps);
        while (atomic_load(&n_numbered) <= i)
            sched_yield();
    }
    atomic_store(&gate_is_open, true);
}

/* ---- who is inside ---- */

static void read_once(uint64_t *last)
{
    struct hti_section_line *line = hti_section_enter(&section);

    atomic_fetch_add(&n_reading, 1);
    expect(atomic_load(&n_writing) == 0);
    const uint64_t first = words[0];
    for (int i = 1; i < N_WORDS; i++)
        expect(words[i] == first);
    expect(first >= *last);
    *last = first;
    expect(atomic_load(&n_writing) == 0);
    atomic_fetch_sub(&n_reading, 1);
    hti_section_leave(line);
    atomic_fetch_add(&n_reads, 1);
}

static void *read_until_writers_are_done(void *argument)
{
    uint64_t last = 0;
    (void)argument;
    do
        read_once(&last);
    while (atomic_load(&n_writers_left) > 0);
    return NULL;
}

/* Lest a writer be done before readers come. */
static void wait_for_a_reader(void)
{
    const uint64_t before = atomic_load(&n_reads);
    while (atomic_load(&n_reads) == before)
        sched_yield();
}

static void *write_words(void *argument)
{
    const struct worker *worker = argument;

    for (uint64_t i = 0; i < worker->n_steps; i++) {
        hti_section_close(&section);
        expect(atomic_load(&n_reading) == 0);
        expect(atomic_fetch_add(&n_writing, 1) == 0);
        for (int k = 0; k < N_WORDS; k++)
            words[k]++;
        expect(atomic_load(&n_reading) == 0);
        atomic_fetch_sub(&n_writing, 1);
        hti_section_open(&section);
        if (i % 8 == 7)
            wait_for_a_reader();
    }
    atomic_fetch_sub(&n_writers_left, 1);
    return NULL;
}

START_TEST(a_writer_is_alone_and_readers_see_no_half_state)
{
    n_writers_left = 1;
    start(0, 3, read_until_writers_are_done, 0);
    start(3, 1, write_words, 2000);
    finish(4);
    ck_assert_uint_eq(words[0], 2000);
}
END_TEST

START_TEST(writers_exclude_each_other)
{
    n_writers_left = 3;
    start(0, 2, read_until_writers_are_done, 0);
    start(2, 3, write_words, 1000);
    finish(5);
    ck_assert_uint_eq(words[0], 3 * 1000);
}
END_TEST

START_TEST(threads_that_share_a_line_do_not_let_a_writer_in_early)
{
    n_writers_left = 2;
    start_sharing(read_until_writers_are_done, 0);
    start(MANY, 2, write_words, 2000);
    finish(MANY + 2);
    ck_assert_uint_eq(words[0], 2 * 2000);
}
END_TEST

/* ---- who waits ---- */

static void *read_together(void *argument)
{
    struct hti_section_line *line = hti_section_enter(&section);
    (void)argument;
    atomic_fetch_add(&n_reading, 1);
    while (atomic_load(&n_reading) < 4)
        sched_yield();
    hti_section_leave(line);
    return NULL;
}

START_TEST(readers_are_inside_together)
{
    start(0, 4, read_together, 0);
    finish(4);
}
END_TEST

static void wait_until_closed(void)
{
    while (atomic_load(&section.closed) == 0)
        sched_yield();
}

static void *see_what_was_written(void *argument)
{
    struct hti_section_line *line = hti_section_enter(&section);
    (void)argument;
    expect(words[0] == 1);
    hti_section_leave(line);
    return NULL;
}

/* The main thread is inside, a writer waits for it to leave, readers come: the writer has its turn before them. */
START_TEST(readers_that_come_after_a_waiting_writer_see_what_it_wrote)
{
    for (int round = 0; round < 50; round++) {
        words[0] = 0;
        struct hti_section_line *line = hti_section_enter(&section);
        start(0, 1, write_words, 1);
        wait_until_closed();
        start(1, 3, see_what_was_written, 0);
        for (int i = 0; i < round; i++)
            sched_yield();
        expect(words[0] == 0);
        hti_section_leave(line);
        finish(4);
    }
}
END_TEST

/* A writer never waits for ever for a line on which nobody is left. */
START_TEST(the_section_opens_and_closes_without_readers)
{
    for (int i = 0; i < 10000; i++) {
        hti_section_close(&section);
        hti_section_open(&section);
        hti_section_leave(hti_section_enter(&section));
    }
}
END_TEST

START_TEST(each_line_has_a_cache_line_of_its_own)
{
    ck_assert_uint_eq(sizeof(struct hti_section_line), HTI_SECTION_LINE_SIZE);
    ck_assert_uint_eq((uintptr_t)section.lines % HTI_SECTION_LINE_SIZE, 0);
}
END_TEST

START_TEST(a_section_without_memory_is_refused)
{
    struct hti_section other;

    hti_mem_test_fail(0, false);
    ck_assert_int_eq(hti_section_init(&other), ENOMEM);
    hti_mem_test_fail(UINT64_MAX, false);
}
END_TEST

/* ---- counters ---- */

static void *count_keys(void *argument)
{
    const struct worker *worker = argument;

    for (uint64_t i = 0; i < worker->n_steps; i++) {
        hti_section_note(&section, (struct hti_section_counts){ 2, i % 2, 3 });
        struct hti_section_line *line = hti_section_enter(&section);
        hti_section_leave(line);
    }
    return NULL;
}

START_TEST(no_count_is_lost_on_a_line_that_threads_share)
{
    struct hti_section_counts now = hti_section_count(&section), last = now;

    ck_assert(now.n_hits == 0 && now.n_misses == 0 && now.n_reads == 0);
    start_sharing(count_keys, N_COUNTS);
    for (int i = 0; i < 200; i++) {
        now = hti_section_count(&section);
        expect(now.n_hits >= last.n_hits && now.n_misses >= last.n_misses && now.n_reads >= last.n_reads);
        last = now;
    }
    finish(MANY);
    now = hti_section_count(&section);
    ck_assert_uint_eq(now.n_hits, 3 * N_COUNTS * 2);
    ck_assert_uint_eq(now.n_misses, 3 * N_COUNTS / 2);
    ck_assert_uint_eq(now.n_reads, 3 * N_COUNTS * 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("section");
    TCase *tests = tcase_create("section");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_writer_is_alone_and_readers_see_no_half_state);
    tcase_add_test(tests, writers_exclude_each_other);
    tcase_add_test(tests, threads_that_share_a_line_do_not_let_a_writer_in_early);
    tcase_add_test(tests, readers_are_inside_together);
    tcase_add_test(tests, readers_that_come_after_a_waiting_writer_see_what_it_wrote);
    tcase_add_test(tests, the_section_opens_and_closes_without_readers);
    tcase_add_test(tests, each_line_has_a_cache_line_of_its_own);
    tcase_add_test(tests, a_section_without_memory_is_refused);
    tcase_add_test(tests, no_count_is_lost_on_a_line_that_threads_share);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
