/* Tests of managerrules: numbers, what is kept, reopening, intervals; without files. */
#include "managerrules.h"

#include <math.h>
#include <stdio.h>

#include "check_util.h"
#include "mem.h"

static struct hti_managerstate state;
static struct htstore_error error;

static void set_up(void)
{
    hti_managerstate_init(&state);
}

static void tear_down(void)
{
    hti_managerstate_release(&state);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

static void add(int64_t number, double time, uint32_t mark)
{
    const struct hti_managed entry = { number, time, mark };
    ck_assert_int_eq(hti_managerstate_append(&state, &entry, &error), 0);
}

static size_t sweep(int64_t max_to_keep, double hours)
{
    const struct hti_manager_limits limits = { max_to_keep, hours };
    return hti_managerrules_sweep(&state, &limits);
}

/* "L3 D4": marks and numbers in order. */
static const char *show(void)
{
    static char text[256];
    size_t size = 0;

    text[0] = '\0';
    for (size_t i = 0; i < state.n_entries; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, "%s%c%d", i ? " " : "", " LDS"[state.entries[i].mark],
                                 (int)state.entries[i].number);
    return text;
}

static int check_limits(int64_t max_to_keep, double hours)
{
    const struct hti_manager_limits limits = { max_to_keep, hours };
    return hti_managerrules_check_limits(&limits, &error);
}

START_TEST(limits_that_mean_nothing_are_refused)
{
    ck_assert_int_eq(check_limits(0, 0), 0);
    ck_assert_int_eq(check_limits(5, 1.5), 0);
    ck_assert_int_eq(check_limits(5, INFINITY), 0);
    ck_assert_int_eq(check_limits(-1, 0), HTSTORE_EINVAL);
    ck_assert_int_eq(check_limits(INT64_MAX, 0), HTSTORE_EINVAL);
    ck_assert_int_eq(check_limits(1, -0.5), HTSTORE_EINVAL);
    ck_assert_int_eq(check_limits(1, (double)NAN), HTSTORE_EINVAL);
    ck_assert_int_eq(check_limits(1, (double)-INFINITY), HTSTORE_EINVAL);
}
END_TEST

START_TEST(a_new_folder_lists_nothing)
{
    hti_managerrules_begin(&state, 3);
    ck_assert(state.last_preserved == 2);
    ck_assert_str_eq(show(), "");
}
END_TEST

START_TEST(the_oldest_are_deleted_first)
{
    for (int i = 1; i <= 5; i++)
        add(i, i, HTI_MANAGED_LISTED);
    ck_assert_uint_eq(sweep(0, 0), 0);
    ck_assert_uint_eq(sweep(5, 0), 0);
    ck_assert_uint_eq(sweep(3, 0), 2);
    ck_assert_str_eq(show(), "D1 D2 L3 L4 L5");
    ck_assert_uint_eq(sweep(3, 0), 0);
    ck_assert_uint_eq(sweep(1, 0), 2);
    ck_assert_str_eq(show(), "D1 D2 D3 D4 L5");
}
END_TEST

START_TEST(what_is_not_listed_does_not_count)
{
    add(1, 1, HTI_MANAGED_DELETING);
    add(2, 2, HTI_MANAGED_LISTED);
    add(3, 3, HTI_MANAGED_SAVING);
    add(4, 4, HTI_MANAGED_LISTED);
    ck_assert_uint_eq(sweep(2, 0), 0);
    ck_assert_uint_eq(sweep(1, 0), 1);
    ck_assert_str_eq(show(), "D1 D2 S3 L4");
}
END_TEST

START_TEST(one_in_every_n_hours_is_kept_for_good)
{
    state.last_preserved = 2;
    add(1, 5402, HTI_MANAGED_LISTED); /* exactly 1.5 hours later */
    add(2, 10801, HTI_MANAGED_LISTED); /* a second too early */
    add(3, 10802, HTI_MANAGED_LISTED);
    add(4, 10803, HTI_MANAGED_LISTED);
    ck_assert_uint_eq(sweep(1, 1.5), 3);
    ck_assert_str_eq(show(), "D2 L4");
    ck_assert(state.last_preserved == 10802);
}
END_TEST

START_TEST(endless_hours_keep_nothing)
{
    state.last_preserved = -1;
    add(1, 1e12, HTI_MANAGED_LISTED);
    add(2, 1e12, HTI_MANAGED_LISTED);
    sweep(1, INFINITY);
    ck_assert_str_eq(show(), "D1 L2");
}
END_TEST

START_TEST(a_list_without_limit_stays_within_the_state)
{
    for (size_t i = 0; i < HTI_MANAGERSTATE_MAX / 2 + 2; i++)
        add((int64_t)i, 0, HTI_MANAGED_LISTED);
    ck_assert_uint_eq(sweep(0, 0), 2);
    ck_assert_uint_eq(state.n_entries, HTI_MANAGERSTATE_MAX / 2);
    ck_assert_int_eq(state.entries[0].number, 2);
    ck_assert_uint_eq(hti_managerstate_count(&state, HTI_MANAGED_DELETING), 0);
}
END_TEST

START_TEST(reopening_keeps_what_is_younger_than_the_last_preserved)
{
    state.last_preserved = 10;
    add(1, 9, HTI_MANAGED_LISTED);
    add(2, 10, HTI_MANAGED_LISTED);
    add(3, 11, HTI_MANAGED_LISTED);
    add(4, 5, HTI_MANAGED_DELETING);
    add(5, 30, HTI_MANAGED_LISTED);
    ck_assert(!hti_managerrules_reopen(&state, 20));
    ck_assert_str_eq(show(), "L3 D4 L5");
    ck_assert(state.entries[2].time == 20);
    ck_assert(state.last_preserved == 10);
    ck_assert(!hti_managerrules_reopen(&state, 10));
}
END_TEST

START_TEST(a_clock_that_went_back_is_told_and_keeps_everything)
{
    state.last_preserved = 100;
    add(1, 110, HTI_MANAGED_LISTED);
    add(2, 120, HTI_MANAGED_LISTED);
    ck_assert(hti_managerrules_reopen(&state, 50));
    ck_assert_str_eq(show(), "");
    ck_assert(state.last_preserved == 50);
}
END_TEST

static struct hti_manager_numbering numbering;

static int number(int64_t counter, const int64_t *taken, size_t n)
{
    numbering = (struct hti_manager_numbering){ .counter = counter, .taken = taken, .n_taken = n };
    return hti_managerrules_number(&numbering, &error);
}

static int number_explicitly(int64_t wanted, const int64_t *taken, size_t n)
{
    numbering = (struct hti_manager_numbering){
        .is_explicit = true, .wanted = wanted, .counter = 4, .taken = taken, .n_taken = n
    };
    return hti_managerrules_number(&numbering, &error);
}

START_TEST(the_number_is_the_counter_after_its_increment)
{
    static const int64_t taken[] = { 0, 3, 5, 9 };

    ck_assert_int_eq(number(0, NULL, 0), 0);
    ck_assert(numbering.number == 1 && numbering.new_counter == 1 && !numbering.replace);
    ck_assert_int_eq(number(5, taken, 4), 0); /* a gap is used */
    ck_assert(numbering.number == 6 && numbering.new_counter == 6);
}
END_TEST

START_TEST(a_taken_number_moves_the_counter_past_the_highest)
{
    static const int64_t taken[] = { 0, 3, 5, 9 };

    for (size_t i = 1; i < 4; i++) {
        ck_assert_int_eq(number(taken[i] - 1, taken, 4), 0);
        ck_assert(numbering.number == 10 && numbering.new_counter == 10 && !numbering.replace);
    }
}
END_TEST

START_TEST(an_explicit_number_counts_and_may_replace)
{
    static const int64_t taken[] = { 0, 3 };

    ck_assert_int_eq(number_explicitly(7, taken, 2), 0);
    ck_assert(numbering.number == 7 && numbering.new_counter == 5 && !numbering.replace);
    ck_assert_int_eq(number_explicitly(0, taken, 2), 0);
    ck_assert(numbering.number == 0 && numbering.new_counter == 5 && numbering.replace);
    ck_assert_int_eq(number_explicitly(-1, taken, 2), HTSTORE_EINVAL);
}
END_TEST

START_TEST(numbers_come_to_an_end)
{
    static const int64_t taken[] = { 1, INT64_MAX };

    ck_assert_int_eq(number(INT64_MAX, NULL, 0), HTSTORE_EINVAL);
    ck_assert_int_eq(number(0, taken, 2), HTSTORE_EEXIST);
    ck_assert_int_eq(number(INT64_MAX - 1, NULL, 0), 0);
    ck_assert(numbering.number == INT64_MAX);
}
END_TEST

START_TEST(a_save_is_due_when_the_interval_has_passed)
{
    const struct hti_manager_schedule off = { 0, true, 10 }, first = { 5, false, 0 }, later = { 5, true, 10 },
                                      last = { 5, true, INT64_MAX - 2 };

    ck_assert(hti_managerrules_is_due(&off, 10, false));
    ck_assert(hti_managerrules_is_due(&first, 0, false));
    ck_assert(!hti_managerrules_is_due(&later, 10, false));
    ck_assert(!hti_managerrules_is_due(&later, 10, true));
    ck_assert(!hti_managerrules_is_due(&later, 14, false));
    ck_assert(hti_managerrules_is_due(&later, 14, true));
    ck_assert(hti_managerrules_is_due(&later, 15, false));
    ck_assert(!hti_managerrules_is_due(&later, 3, false));
    ck_assert(hti_managerrules_is_due(&later, 3, true));
    ck_assert(!hti_managerrules_is_due(&last, INT64_MAX, false));
    ck_assert(hti_managerrules_is_due(&last, INT64_MAX, true));
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("managerrules");
    TCase *tcase = tcase_create("managerrules");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, limits_that_mean_nothing_are_refused);
    tcase_add_test(tcase, a_new_folder_lists_nothing);
    tcase_add_test(tcase, the_oldest_are_deleted_first);
    tcase_add_test(tcase, what_is_not_listed_does_not_count);
    tcase_add_test(tcase, one_in_every_n_hours_is_kept_for_good);
    tcase_add_test(tcase, endless_hours_keep_nothing);
    tcase_add_test(tcase, a_list_without_limit_stays_within_the_state);
    tcase_add_test(tcase, reopening_keeps_what_is_younger_than_the_last_preserved);
    tcase_add_test(tcase, a_clock_that_went_back_is_told_and_keeps_everything);
    tcase_add_test(tcase, the_number_is_the_counter_after_its_increment);
    tcase_add_test(tcase, a_taken_number_moves_the_counter_past_the_highest);
    tcase_add_test(tcase, an_explicit_number_counts_and_may_replace);
    tcase_add_test(tcase, numbers_come_to_an_end);
    tcase_add_test(tcase, a_save_is_due_when_the_interval_has_passed);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return check_run(make_suite());
}
