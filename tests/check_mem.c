/* Tests of mem: overflow checks, the failure hook and the count of live allocations. */
#include "mem.h"

#include <pthread.h>
#include <string.h>

#include "check_util.h"

static uint64_t live_at_start;

static void note_live(void)
{
    live_at_start = hti_mem_test_live();
}

static void expect_no_leak(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    ck_assert_uint_eq(hti_mem_test_live(), live_at_start);
}

START_TEST(a_size_of_zero_yields_a_unique_pointer)
{
    void *made[7] = {
        hti_mem_alloc(0),
        hti_mem_zalloc(0),
        hti_mem_alloc_array(0, 8),
        hti_mem_zalloc_array(8, 0),
        hti_mem_dup(NULL, 0),
        hti_mem_realloc_array(NULL, 0, 4),
        hti_mem_realloc_array(hti_mem_alloc(64), 0, 4),
    };
    for (size_t i = 0; i < 7; i++) {
        ck_assert_ptr_nonnull(made[i]);
        for (size_t j = 0; j < i; j++)
            ck_assert_ptr_ne(made[i], made[j]);
    }
    for (size_t i = 0; i < 7; i++)
        hti_mem_free(made[i]);
    hti_mem_free(NULL);
}
END_TEST

START_TEST(zalloc_gives_zeros)
{
    static const unsigned char zero[4096];
    for (int round = 0; round < 4; round++) {
        unsigned char *a = hti_mem_zalloc(4096);
        unsigned char *b = hti_mem_zalloc_array(64, 64);
        ck_assert_mem_eq(a, zero, sizeof zero);
        ck_assert_mem_eq(b, zero, sizeof zero);
        memset(a, 0xFF, 4096);
        memset(b, 0xFF, 4096);
        hti_mem_free(a);
        hti_mem_free(b);
    }
}
END_TEST

START_TEST(sizes_that_overflow_are_refused)
{
    const size_t half = SIZE_MAX / 2 + 1;
    ck_assert_ptr_null(hti_mem_alloc_array(half, 2));
    ck_assert_ptr_null(hti_mem_zalloc_array(2, half));
    ck_assert_ptr_null(hti_mem_alloc_array(SIZE_MAX, SIZE_MAX));
    ck_assert_ptr_null(hti_mem_realloc_array(NULL, half + 1, 2));

    char *old = hti_mem_strdup("old");
    ck_assert_ptr_null(hti_mem_realloc_array(old, half + 2, 2));
    ck_assert_str_eq(old, "old");
    hti_mem_free(old);
}
END_TEST

START_TEST(realloc_keeps_the_contents)
{
    uint32_t *numbers = NULL;
    for (uint32_t n = 1; n <= 1000; n++) {
        numbers = hti_mem_realloc_array(numbers, n, sizeof *numbers);
        ck_assert_ptr_nonnull(numbers);
        numbers[n - 1] = n;
    }
    for (uint32_t n = 1; n <= 1000; n++)
        ck_assert_uint_eq(numbers[n - 1], n);
    ck_assert_uint_eq(hti_mem_test_live(), live_at_start + 1);
    hti_mem_free(numbers);
}
END_TEST

START_TEST(copies_are_equal_and_separate)
{
    char bytes[] = "a\0b";
    char *copy = hti_mem_dup(bytes, sizeof bytes);
    char *text = hti_mem_strdup("text");
    ck_assert_mem_eq(copy, bytes, sizeof bytes);
    ck_assert_str_eq(text, "text");
    bytes[0] = 'x';
    ck_assert_int_eq(copy[0], 'a');
    hti_mem_free(copy);
    hti_mem_free(text);
}
END_TEST

START_TEST(the_hook_fails_the_nth_allocation_only)
{
    hti_mem_test_fail(2, false);
    void *made[5];
    for (size_t i = 0; i < 5; i++) {
        ck_assert_int_eq(hti_mem_test_failed(), i > 2);
        made[i] = hti_mem_alloc(8);
        ck_assert_int_eq(made[i] == NULL, i == 2);
    }
    for (size_t i = 0; i < 5; i++)
        hti_mem_free(made[i]);
}
END_TEST

START_TEST(the_sticky_hook_fails_all_until_it_is_switched_off)
{
    hti_mem_test_fail(1, true);
    void *first = hti_mem_alloc(8);
    ck_assert_ptr_nonnull(first);
    for (int i = 0; i < 5; i++)
        ck_assert_ptr_null(hti_mem_alloc(8));
    ck_assert(hti_mem_test_failed());

    hti_mem_test_fail(UINT64_MAX, true);
    ck_assert(!hti_mem_test_failed());
    void *second = hti_mem_alloc(8);
    ck_assert_ptr_nonnull(second);
    ck_assert(!hti_mem_test_failed());
    hti_mem_free(first);
    hti_mem_free(second);
}
END_TEST

START_TEST(the_hook_reaches_every_function)
{
    char *old = hti_mem_strdup("old");
    hti_mem_test_fail(0, true);
    ck_assert_ptr_null(hti_mem_alloc(1));
    ck_assert_ptr_null(hti_mem_zalloc(1));
    ck_assert_ptr_null(hti_mem_alloc_array(1, 1));
    ck_assert_ptr_null(hti_mem_zalloc_array(1, 1));
    ck_assert_ptr_null(hti_mem_realloc_array(NULL, 1, 1));
    ck_assert_ptr_null(hti_mem_realloc_array(old, 1000, 1000));
    ck_assert_ptr_null(hti_mem_dup("x", 1));
    ck_assert_ptr_null(hti_mem_strdup("x"));
    ck_assert_str_eq(old, "old");
    hti_mem_free(old);
}
END_TEST

START_TEST(realloc_counts_against_the_hook_once)
{
    hti_mem_test_fail(2, false);
    void *memory = hti_mem_realloc_array(NULL, 1, 8);
    memory = hti_mem_realloc_array(memory, 2, 8);
    ck_assert_ptr_nonnull(memory);
    ck_assert_ptr_null(hti_mem_realloc_array(memory, 3, 8));
    hti_mem_free(memory);
}
END_TEST

START_TEST(live_counts_what_is_not_yet_freed)
{
    void *a = hti_mem_alloc(1);
    void *b = hti_mem_zalloc(1);
    void *c = hti_mem_dup("x", 1);
    ck_assert_uint_eq(hti_mem_test_live(), live_at_start + 3);
    a = hti_mem_realloc_array(a, 100, 1);
    ck_assert_uint_eq(hti_mem_test_live(), live_at_start + 3);
    hti_mem_free(b);
    hti_mem_free(NULL);
    ck_assert_uint_eq(hti_mem_test_live(), live_at_start + 2);
    hti_mem_test_fail(0, false);
    ck_assert_ptr_null(hti_mem_alloc(1));
    ck_assert_uint_eq(hti_mem_test_live(), live_at_start + 2);
    hti_mem_free(a);
    hti_mem_free(c);
}
END_TEST

#define N_THREADS 4
#define ROUNDS 50000

static pthread_barrier_t start;

static void *allocate_and_count_failures(void *arg)
{
    unsigned *n_failed = arg;
    (void)pthread_barrier_wait(&start);
    for (int i = 0; i < ROUNDS; i++) {
        void *memory = hti_mem_alloc(16);
        *n_failed += memory == NULL;
        hti_mem_free(memory);
    }
    return NULL;
}

static unsigned count_failures_of_threads(void)
{
    pthread_t threads[N_THREADS];
    unsigned n_failed[N_THREADS] = { 0 };
    unsigned total = 0;
    ck_assert_int_eq(pthread_barrier_init(&start, NULL, N_THREADS), 0);
    for (size_t i = 0; i < N_THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, allocate_and_count_failures, &n_failed[i]), 0);
    for (size_t i = 0; i < N_THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        total += n_failed[i];
    }
    (void)pthread_barrier_destroy(&start);
    return total;
}

START_TEST(the_hook_counts_the_allocations_of_all_threads)
{
    hti_mem_test_fail(ROUNDS, false);
    ck_assert_uint_eq(count_failures_of_threads(), 1);
    hti_mem_test_fail(ROUNDS, true);
    ck_assert_uint_eq(count_failures_of_threads(), (N_THREADS - 1) * ROUNDS);
    hti_mem_test_fail(UINT64_MAX, false);
    ck_assert_uint_eq(count_failures_of_threads(), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mem");
    TCase *tcase = tcase_create("mem");
    tcase_add_checked_fixture(tcase, note_live, expect_no_leak);
    tcase_add_test(tcase, a_size_of_zero_yields_a_unique_pointer);
    tcase_add_test(tcase, zalloc_gives_zeros);
    tcase_add_test(tcase, sizes_that_overflow_are_refused);
    tcase_add_test(tcase, realloc_keeps_the_contents);
    tcase_add_test(tcase, copies_are_equal_and_separate);
    tcase_add_test(tcase, the_hook_fails_the_nth_allocation_only);
    tcase_add_test(tcase, the_sticky_hook_fails_all_until_it_is_switched_off);
    tcase_add_test(tcase, the_hook_reaches_every_function);
    tcase_add_test(tcase, realloc_counts_against_the_hook_once);
    tcase_add_test(tcase, live_counts_what_is_not_yet_freed);
    tcase_add_test(tcase, the_hook_counts_the_allocations_of_all_threads);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
