/* Tests of checkpoint managers: semantics.md 3.6, K1, K3, K6: numbers, what is kept, lists, intervals, the clock. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "manager.h"
#include "manager_util.h"

/* ---- conformance ---- */

START_TEST(K1_the_oldest_of_four_is_gone)
{
    manager_open(3, 0);
    for (int i = 0; i < 4; i++)
        manager_save();
    FILES_ARE("2 3 4");
    LISTED_IS("2 3 4");
    ck_assert_str_eq(manager_others(), "");
}
END_TEST

static void save_at(double now)
{
    world.now = now;
    manager_save();
}

static double last_preserved(void)
{
    return world.manager->state.last_preserved;
}

START_TEST(K3_one_in_every_n_hours_is_kept)
{
    world.now = 3;
    manager_open(2, 0);
    save_at(10000);
    save_at(13610);
    LISTED_IS("1 2");
    ck_assert(manager_time_of(1) == 10000 && manager_time_of(2) == 13610);
    ck_assert_int_eq(manager_latest(), 2);
    manager_close();
    manager_open(2, 1.5);
    LISTED_IS("1 2");
    ck_assert(manager_time_of(1) == 10000 && manager_time_of(2) == 13610);
    save_at(14330);
    LISTED_IS("2 3");
    FILES_ARE("1 2 3");
    ck_assert(last_preserved() == 10000);
    save_at(16130);
    LISTED_IS("3 4");
    FILES_ARE("1 3 4");
    save_at(17930);
    LISTED_IS("4 5");
    FILES_ARE("1 4 5");
    ck_assert(last_preserved() == 10000);
    manager_reopen();
    ck_assert_int_eq(manager_latest(), 5);
    save_at(17940);
    ck_assert(last_preserved() == 16130);
    FILES_ARE("1 4 5 6");
    LISTED_IS("5 6");
}
END_TEST

START_TEST(K6_explicit_numbers_follow_a_step)
{
    manager_open(2, 0);
    for (world.step = 0; world.step <= 8; world.step += 2) {
        char expected[32];
        manager_save_as(world.step);
        (void)snprintf(expected, sizeof expected, "ckpt-%d", (int)world.step);
        ck_assert_str_eq(world.path, manager_path(expected));
    }
    ck_assert_int_eq(htstore_checkpoint_save_counter(world.checkpoint), 5);
    LISTED_IS("6 8");
    manager_save_as(32);
    ck_assert_str_eq(world.path, manager_path("ckpt-32"));
    ck_assert_int_eq(manager_latest(), 32);
    LISTED_IS("8 32");
    FILES_ARE("8 32");
}
END_TEST

/* ---- numbers ---- */

START_TEST(a_taken_number_moves_the_counter_past_all)
{
    manager_open(0, 0);
    manager_save();
    manager_copy_file("ckpt-1", "ckpt-2");
    manager_copy_file("ckpt-1", "ckpt-17");
    manager_save();
    LISTED_IS("1 18");
    ck_assert_int_eq(htstore_checkpoint_save_counter(world.checkpoint), 18);
    manager_save();
    LISTED_IS("1 18 19");
}
END_TEST

START_TEST(an_explicit_number_replaces_and_moves_to_the_end)
{
    manager_open(3, 0);
    for (int i = 0; i < 3; i++)
        save_at(10 + i);
    manager_write_row();
    world.now = 20;
    manager_save_as(1);
    LISTED_IS("2 3 1");
    ck_assert(manager_time_of(1) == 20);
    ck_assert_int_eq(manager_latest(), 1);
    manager_save_as(9);
    LISTED_IS("3 1 9");
    FILES_ARE("1 3 9");
    REFUSED(manager_try_save(HTSTORE_EXPLICIT_NUMBER, -1), HTSTORE_EINVAL, "negative");
    REFUSED(manager_try_save(0x80, 0), HTSTORE_EINVAL, "flags");
}
END_TEST

START_TEST(what_is_no_regular_file_is_not_replaced)
{
    manager_open(0, 0);
    ck_assert_int_eq(mkdir(manager_path("ckpt-1"), 0700), 0);
    ck_assert_int_eq(symlink("elsewhere", manager_path("ckpt-2")), 0);
    REFUSED(manager_try_save(HTSTORE_EXPLICIT_NUMBER, 1), HTSTORE_EEXIST, "regular");
    REFUSED(manager_try_save(HTSTORE_EXPLICIT_NUMBER, 2), HTSTORE_EEXIST, "regular");
    ck_assert_int_eq(htstore_checkpoint_save_counter(world.checkpoint), 0);
    manager_save();
    LISTED_IS("3");
    ck_assert_int_eq(manager_latest(), 3);
}
END_TEST

/* ---- what is kept ---- */

START_TEST(what_is_not_listed_is_never_deleted)
{
    manager_open(1, 0);
    manager_save();
    manager_copy_file("ckpt-1", "ckpt-0");
    manager_copy_file("ckpt-1", "other-1");
    for (int i = 0; i < 3; i++)
        manager_save();
    FILES_ARE("0 4");
    ck_assert_str_eq(manager_others(), "other-1");
    ck_assert_str_eq(manager_unlisted(), "0");
    REFUSED(htstore_manager_remove(world.manager, 0, &api.error), HTSTORE_ENOTFOUND, "0");
    FILES_ARE("0 4");
}
END_TEST

START_TEST(everything_is_kept_without_a_limit)
{
    manager_open(0, 0);
    for (int i = 0; i < 20; i++)
        manager_save();
    LISTED_IS("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20");
}
END_TEST

START_TEST(remove_deletes_what_is_listed)
{
    manager_open(0, 0);
    for (int i = 0; i < 3; i++)
        manager_save();
    OK(htstore_manager_remove(world.manager, 2, &api.error));
    LISTED_IS("1 3");
    FILES_ARE("1 3");
    REFUSED(htstore_manager_remove(world.manager, 2, &api.error), HTSTORE_ENOTFOUND, "2");
    REFUSED(htstore_manager_remove(world.manager, -1, &api.error), HTSTORE_ENOTFOUND, "-1");
    manager_reopen();
    LISTED_IS("1 3");
    ck_assert_str_eq(world.log, "");
}
END_TEST

START_TEST(prune_deletes_without_a_save)
{
    world.now = 10;
    manager_open(0, 0);
    for (int i = 0; i < 4; i++)
        save_at(11 + i);
    manager_close();
    manager_open(2, 0);
    LISTED_IS("1 2 3 4");
    OK(htstore_manager_prune(world.manager, &api.error));
    LISTED_IS("3 4");
    FILES_ARE("3 4");
    OK(htstore_manager_prune(world.manager, &api.error));
    FILES_ARE("3 4");
}
END_TEST

START_TEST(prune_deletes_nothing_while_the_newest_is_damaged)
{
    manager_open(0, 0);
    world.now = 10;
    for (int i = 0; i < 3; i++)
        manager_save();
    manager_close();
    manager_damage(3);
    manager_open(1, 0);
    ck_assert_int_eq(htstore_manager_prune(world.manager, &api.error), HTSTORE_ECORRUPT);
    FILES_ARE("1 2 3");
    LISTED_IS("1 2 3");
}
END_TEST

START_TEST(a_listed_file_that_is_gone_is_told_and_does_not_count)
{
    manager_open(2, 0);
    world.now = 10;
    manager_save();
    manager_save();
    ck_assert_int_eq(unlink(manager_path("ckpt-2")), 0);
    ck_assert_int_eq(manager_latest(), 1);
    manager_save();
    ck_assert_ptr_nonnull(strstr(world.log, "ckpt-2 was listed, and is gone"));
    LISTED_IS("1 3");
    ck_assert_int_eq(unlink(manager_path("ckpt-3")), 0);
    manager_reopen();
    LISTED_IS("1");
    ck_assert_ptr_nonnull(strstr(world.log, "ckpt-3 was listed, and is gone"));
}
END_TEST

START_TEST(a_list_tells_what_is_known)
{
    const struct htstore_checkpoint_file *files;
    struct stat status;
    uint64_t n = 7;

    manager_open(0, 0);
    OK(htstore_manager_list(world.manager, api.arena, &files, &n, &api.error));
    ck_assert_uint_eq(n, 0);
    manager_write_row();
    save_at(5);
    manager_copy_file("ckpt-1", "ckpt-8");
    manager_write_row();
    save_at(6);
    OK(htstore_manager_list(world.manager, api.arena, &files, &n, &api.error));
    ck_assert_uint_eq(n, 3);
    ck_assert(files[0].number == 8 && files[0].listed == 0 && files[0].time == 0);
    ck_assert(files[1].number == 1 && files[1].listed == 1 && files[1].time == 5);
    ck_assert(files[2].number == 2 && files[2].listed == 1 && files[2].time == 6);
    ck_assert_uint_gt(files[1].lsn, 0);
    ck_assert_uint_eq(files[0].lsn, files[1].lsn);
    ck_assert_uint_gt(files[2].lsn, files[1].lsn);
    ck_assert_int_eq(stat(files[2].path, &status), 0);
    ck_assert_uint_eq(files[2].bytes, (uint64_t)status.st_size);
    ck_assert_str_eq(files[0].path, manager_path("ckpt-8"));
}
END_TEST

/* ---- threads ---- */

#define N_THREAD_SAVES 6

static void *save_often(void *user)
{
    int *n_failed = user;

    for (int i = 0; i < N_THREAD_SAVES; i++)
        *n_failed += htstore_manager_save(world.manager, NULL, NULL, NULL, NULL) != 0;
    return NULL;
}

START_TEST(saves_of_several_threads_take_turns)
{
    pthread_t threads[2];
    int n_failed[2] = { 0, 0 };

    manager_open(3, 0);
    manager_save();
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, save_often, &n_failed[i]), 0);
    for (int i = 0; i < 20; i++) {
        const struct htstore_checkpoint_file *files;
        uint64_t n;
        ck_assert_int_gt(manager_latest(), 0);
        OK(htstore_manager_list(world.manager, api.arena, &files, &n, &api.error));
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(n_failed[i], 0);
    }
    LISTED_IS("11 12 13");
    FILES_ARE("11 12 13");
    for (int i = 11; i <= 13; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "ckpt-%d", i);
        ZSTD_ACCEPTS(manager_path(name));
    }
}
END_TEST

/* ---- intervals ---- */

START_TEST(nothing_is_saved_before_the_interval_has_passed)
{
    world.options.interval = 10;
    world.options.step = &world.step;
    manager_open(0, 0);
    manager_save(); /* no last step */
    ck_assert_int_eq(manager_try_save(0, 0), 1);
    ck_assert_int_eq(manager_try_save(HTSTORE_IGNORE_INTERVAL, 0), 1);
    world.step = 9;
    ck_assert_int_eq(manager_try_save(0, 0), 1);
    ck_assert_int_eq(manager_try_save(HTSTORE_EXPLICIT_NUMBER, 7), 1);
    ck_assert_int_eq(htstore_checkpoint_save_counter(world.checkpoint), 1);
    FILES_ARE("1");
    OK(manager_try_save(HTSTORE_IGNORE_INTERVAL, 0));
    world.step = 18;
    ck_assert_int_eq(manager_try_save(0, 0), 1);
    world.step = 19;
    manager_save();
    FILES_ARE("1 2 3");
}
END_TEST

START_TEST(the_last_step_may_be_given)
{
    world.options.interval = 10;
    world.options.step = &world.step;
    world.options.last_step = 100;
    world.options.has_last_step = 1;
    world.step = 109;
    manager_open(0, 0);
    ck_assert_int_eq(manager_try_save(0, 0), 1);
    world.step = 110;
    manager_save();
    world.options.has_last_step = 0;
    manager_reopen();
    manager_save();
    FILES_ARE("1 2");
}
END_TEST

START_TEST(steps_do_not_matter_without_an_interval)
{
    world.options.step = &world.step;
    manager_open(0, 0);
    manager_save();
    manager_save();
    FILES_ARE("1 2");
}
END_TEST

START_TEST(a_failed_save_does_not_count_as_the_last)
{
    world.options.interval = 10;
    world.options.step = &world.step;
    manager_open(0, 0);
    ck_assert_int_eq(mkdir(manager_path("ckpt-4"), 0700), 0);
    REFUSED(manager_try_save(HTSTORE_EXPLICIT_NUMBER, 4), HTSTORE_EEXIST, "regular");
    OK(manager_try_save(0, 0));
}
END_TEST

/* ---- the clock ---- */

START_TEST(a_clock_that_went_back_is_told_and_nothing_is_deleted)
{
    world.now = 1000;
    manager_open(1, 0);
    save_at(2000);
    manager_close();
    world.now = 500;
    ck_assert_int_eq(manager_try_open(), 1);
    ck_assert_ptr_nonnull(world.manager);
    ck_assert_ptr_nonnull(strstr(world.log, "clock went back"));
    ck_assert_str_eq(manager_unlisted(), "1");
    LISTED_IS("");
    manager_save();
    manager_save();
    FILES_ARE("1 3");
    ck_assert(last_preserved() == 500);
}
END_TEST

START_TEST(times_that_are_yet_to_come_are_cut_to_now)
{
    world.now = 1000;
    manager_open(2, 0);
    save_at(2000);
    save_at(1500); /* went back while it was open */
    LISTED_IS("1 2");
    world.now = 1200;
    manager_reopen();
    LISTED_IS("1 2");
    ck_assert(manager_time_of(1) == 1200 && manager_time_of(2) == 1200);
}
END_TEST

static void add_keeping(TCase *tcase)
{
    tcase_add_test(tcase, K1_the_oldest_of_four_is_gone);
    tcase_add_test(tcase, K3_one_in_every_n_hours_is_kept);
    tcase_add_test(tcase, K6_explicit_numbers_follow_a_step);
    tcase_add_test(tcase, a_taken_number_moves_the_counter_past_all);
    tcase_add_test(tcase, an_explicit_number_replaces_and_moves_to_the_end);
    tcase_add_test(tcase, what_is_no_regular_file_is_not_replaced);
    tcase_add_test(tcase, what_is_not_listed_is_never_deleted);
    tcase_add_test(tcase, everything_is_kept_without_a_limit);
    tcase_add_test(tcase, remove_deletes_what_is_listed);
    tcase_add_test(tcase, prune_deletes_without_a_save);
    tcase_add_test(tcase, prune_deletes_nothing_while_the_newest_is_damaged);
    tcase_add_test(tcase, a_listed_file_that_is_gone_is_told_and_does_not_count);
    tcase_add_test(tcase, a_list_tells_what_is_known);
    tcase_add_test(tcase, saves_of_several_threads_take_turns);
    tcase_add_test(tcase, nothing_is_saved_before_the_interval_has_passed);
    tcase_add_test(tcase, the_last_step_may_be_given);
    tcase_add_test(tcase, steps_do_not_matter_without_an_interval);
    tcase_add_test(tcase, a_failed_save_does_not_count_as_the_last);
    tcase_add_test(tcase, a_clock_that_went_back_is_told_and_nothing_is_deleted);
    tcase_add_test(tcase, times_that_are_yet_to_come_are_cut_to_now);
}

static Suite *make_suite(void)
{
    Suite *suite = suite_create("manager");
    TCase *tcase = tcase_create("manager");

    tcase_add_checked_fixture(tcase, manager_setup, manager_teardown);
    add_keeping(tcase);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return check_run(make_suite());
}
