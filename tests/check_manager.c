/* Tests of checkpoint managers: semantics.md 3.6 and 3.7, K1, K3, K6; what opening makes of a crash; what is refused. */
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

static double time_of(int64_t number)
{
    const struct htstore_checkpoint_file *files;
    uint64_t n;

    OK(htstore_manager_list(world.manager, api.arena, &files, &n, &api.error));
    for (uint64_t i = 0; i < n; i++)
        if (files[i].number == number)
            return files[i].time;
    return -1;
}

START_TEST(K3_one_in_every_n_hours_is_kept)
{
    world.now = 3;
    manager_open(2, 0);
    save_at(10000);
    save_at(13610);
    LISTED_IS("1 2");
    ck_assert(time_of(1) == 10000 && time_of(2) == 13610);
    ck_assert_int_eq(manager_latest(), 2);
    manager_close();
    manager_open(2, 1.5);
    LISTED_IS("1 2");
    ck_assert(time_of(1) == 10000 && time_of(2) == 13610);
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

/* ---- opening ---- */

static void expect_refusal(const char *text)
{
    REFUSED(manager_try_open(), HTSTORE_EINVAL, text);
    ck_assert_ptr_null(world.manager);
    ck_assert_str_eq(manager_files(), "");
}

START_TEST(options_that_mean_nothing_are_refused)
{
    const struct htstore_manager_options good = world.options;

    world.options.size = 0;
    expect_refusal("size");
    world.options = good;
    world.options.flags = 1;
    expect_refusal("flags");
    world.options = good;
    world.options.max_to_keep = -1;
    expect_refusal("max_to_keep");
    world.options = good;
    world.options.keep_every_n_hours = -0.1;
    expect_refusal("keep_every_n_hours");
    world.options.keep_every_n_hours = (double)NAN;
    expect_refusal("keep_every_n_hours");
    world.options = good;
    world.options.interval = -1;
    world.options.step = &world.step;
    expect_refusal("interval");
    world.options.interval = 1;
    world.options.step = NULL;
    expect_refusal("step");
    world.options = good;
    world.options.prefix = "a/b";
    expect_refusal("prefix");
    world.options = good;
    world.options.folder = api.path;
    expect_refusal("own folder");
    REFUSED(htstore_manager_open(NULL, &good, &world.manager, &api.error), HTSTORE_EINVAL, "NULL");
    REFUSED(htstore_manager_open(world.checkpoint, &good, NULL, &api.error), HTSTORE_EINVAL, "manager is NULL");
}
END_TEST

START_TEST(a_clock_without_time_is_refused)
{
    world.now = (double)NAN;
    expect_refusal("clock");
    world.now = 1;
    manager_open(0, 0);
    world.now = (double)INFINITY;
    REFUSED(manager_try_save(0, 0), HTSTORE_EINVAL, "clock");
    FILES_ARE("");
    ck_assert_int_eq(htstore_checkpoint_save_counter(world.checkpoint), 0);
}
END_TEST

START_TEST(all_defaults_will_do)
{
    OK(htstore_manager_open(world.checkpoint, NULL, &world.manager, &api.error));
    manager_save();
    ck_assert_str_eq(world.path, manager_path("ckpt-1"));
    ck_assert(time_of(1) > 1e9);
    OK(htstore_manager_save(world.manager, NULL, NULL, NULL, &api.error));
    LISTED_IS("1 2");
}
END_TEST

START_TEST(a_second_manager_is_refused)
{
    struct htstore_manager *second = NULL;

    manager_open(0, 0);
    REFUSED(htstore_manager_open(world.checkpoint, &world.options, &second, &api.error), HTSTORE_EBUSY, "another");
    ck_assert_ptr_null(second);
    struct htstore_manager_options other = world.options;
    other.prefix = "other";
    REFUSED(htstore_manager_open(world.checkpoint, &other, &second, &api.error), HTSTORE_EBUSY, "another");
    ck_assert_str_eq(api.error.path, world.folder);
    other.folder = api_path("elsewhere");
    OK(htstore_manager_open(world.checkpoint, &other, &second, &api.error));
    htstore_manager_close(second);
    manager_reopen();
}
END_TEST

START_TEST(a_manager_keeps_its_checkpoint_open)
{
    manager_open(0, 0);
    REFUSED(htstore_checkpoint_close(world.checkpoint, &api.error), HTSTORE_EBUSY, "");
    manager_close();
    manager_open(0, 0);
}
END_TEST

static int use_in_child(void)
{
    const char *path;

    if (htstore_manager_save(world.manager, NULL, NULL, NULL, NULL) != HTSTORE_EINVAL)
        return __LINE__;
    if (htstore_manager_latest(world.manager, api.arena, &path, NULL) != HTSTORE_EINVAL)
        return __LINE__;
    if (htstore_manager_remove(world.manager, 1, NULL) != HTSTORE_EINVAL)
        return __LINE__;
    htstore_manager_close(world.manager);
    return 0;
}

START_TEST(a_forked_child_cannot_use_it_nor_release_the_lock)
{
    struct htstore_manager *second;

    manager_open(0, 0);
    manager_save();
    api_run_in_child(use_in_child);
    FILES_ARE("1");
    REFUSED(htstore_manager_open(world.checkpoint, &world.options, &second, &api.error), HTSTORE_EBUSY, "another");
    manager_save();
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
    ck_assert(time_of(1) == 20);
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
    ck_assert(time_of(1) == 1200 && time_of(2) == 1200);
}
END_TEST

/* ---- latest ---- */

START_TEST(there_may_be_no_latest)
{
    manager_open(0, 0);
    ck_assert_int_eq(manager_latest(), -1);
    manager_save();
    ck_assert_int_eq(manager_latest(), 1);
}
END_TEST

START_TEST(a_damaged_newest_is_skipped_and_told)
{
    manager_open(0, 0);
    for (int i = 0; i < 3; i++)
        manager_save();
    manager_damage(3);
    ck_assert_int_eq(manager_latest(), 2);
    ck_assert_ptr_nonnull(strstr(world.log, "ckpt-3 is skipped"));
    manager_write_file("ckpt-2", "nothing of ours", 15);
    ck_assert_int_eq(manager_latest(), 1);
    manager_write_file("ckpt-1", "", 0);
    ck_assert_int_eq(manager_latest(), HTSTORE_ECORRUPT - 100);
    ck_assert_ptr_nonnull(strstr(api.error.message, "none of the 3"));
    FILES_ARE("1 2 3");
}
END_TEST

START_TEST(listed_ones_come_before_others)
{
    manager_open(0, 0);
    manager_save();
    manager_write_row();
    manager_save();
    manager_write_row();
    manager_save();
    manager_copy_file("ckpt-3", "ckpt-90");
    OK(htstore_manager_remove(world.manager, 3, &api.error));
    ck_assert_int_eq(manager_latest(), 2);
    manager_damage(2);
    ck_assert_int_eq(manager_latest(), 1);
    manager_damage(1);
    ck_assert_int_eq(manager_latest(), 90);
}
END_TEST

/* Three files, whose LSNs go the other way than their numbers; two with the same. */
static void make_folder_without_state(void)
{
    manager_open(0, 0);
    manager_write_row();
    manager_save_as(30);
    manager_write_row();
    manager_save_as(20);
    manager_copy_file("ckpt-20", "ckpt-21");
    manager_write_row();
    manager_save_as(10);
    manager_close();
}

static void expect_folder_to_decide(void)
{
    LISTED_IS("");
    ck_assert_str_eq(manager_unlisted(), "30 20 21 10");
    ck_assert_int_eq(manager_latest(), 10);
    manager_damage(10);
    ck_assert_int_eq(manager_latest(), 21);
    manager_save();
    manager_save();
    FILES_ARE("2 10 20 21 30");
    LISTED_IS("2");
    ck_assert_int_eq(manager_latest(), 2);
}

START_TEST(without_a_state_the_folder_decides_and_nothing_in_it_is_deleted)
{
    make_folder_without_state();
    ck_assert_int_eq(unlink(manager_path("ckpt.state")), 0);
    OK(htstore_checkpoint_close(world.checkpoint, &api.error));
    OK(htstore_checkpoint_new(api.store, NULL, &world.checkpoint, &api.error));
    manager_open(1, 0);
    expect_folder_to_decide();
}
END_TEST

START_TEST(a_damaged_state_is_told_and_counts_as_none)
{
    make_folder_without_state();
    manager_write_file("ckpt.state", "HTCM\1\0\0\0............................", 36);
    OK(htstore_checkpoint_close(world.checkpoint, &api.error));
    OK(htstore_checkpoint_new(api.store, NULL, &world.checkpoint, &api.error));
    manager_open(1, 0);
    ck_assert_ptr_nonnull(strstr(world.log, "ckpt.state cannot be used"));
    expect_folder_to_decide();
}
END_TEST

START_TEST(a_state_of_a_newer_version_is_left_alone)
{
    static const uint8_t newer[] = { 'H', 'T', 'C', 'M', 2, 0, 0, 0, 'n', 'e', 'w' };
    uint8_t data[20];

    manager_open(1, 0);
    manager_save();
    manager_close();
    manager_write_file("ckpt.state", newer, sizeof newer);
    REFUSED(manager_try_open(), HTSTORE_EVERSION, "version 2");
    const int fd = open(manager_path("ckpt.state"), O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(read(fd, data, sizeof data), sizeof newer);
    close(fd);
    ck_assert_mem_eq(data, newer, sizeof newer);
    FILES_ARE("1");
}
END_TEST

/* ---- restore or initialize ---- */

static int n_initialized, initializer_result;

static int initialize(void *user)
{
    n_initialized++;
    ck_assert_ptr_eq(user, &world);
    manager_write_row(); /* no lock is held */
    ck_assert_int_eq(manager_latest(), -1);
    return initializer_result;
}

static int restore(void)
{
    (void)htstore_restore_release(world.status);
    world.status = NULL;
    world.path = "unset";
    n_initialized = 0;
    return htstore_manager_restore_or_initialize(world.manager, initialize, &world, &world.status, api.arena,
                                                 &world.path, &api.error);
}

START_TEST(without_a_checkpoint_the_initializer_is_called)
{
    manager_open(0, 0);
    initializer_result = 0;
    ck_assert_int_eq(restore(), 1);
    ck_assert_int_eq(n_initialized, 1);
    ck_assert_ptr_null(world.path);
    ck_assert_ptr_null(world.status);
    initializer_result = HTSTORE_ENOSPC;
    ck_assert_int_eq(restore(), HTSTORE_ENOSPC);
    ck_assert_int_eq(api.error.code, HTSTORE_ENOSPC);
    ck_assert_int_eq(
        htstore_manager_restore_or_initialize(world.manager, NULL, NULL, &world.status, NULL, NULL, &api.error), 1);
}
END_TEST

START_TEST(the_newest_is_restored_with_its_counter_and_step)
{
    world.options.interval = 10;
    world.options.step = &world.step;
    manager_open(0, 0);
    manager_save();
    world.step = 20;
    manager_save();
    OK(htstore_checkpoint_close(NULL, &api.error));
    manager_close();
    OK(htstore_checkpoint_close(world.checkpoint, &api.error));
    OK(htstore_checkpoint_new(api.store, NULL, &world.checkpoint, &api.error));
    world.step = 25;
    manager_open(0, 0);
    OK(restore());
    ck_assert_int_eq(n_initialized, 0);
    ck_assert_str_eq(world.path, manager_path("ckpt-2"));
    ck_assert_ptr_nonnull(world.status);
    ck_assert_int_eq(htstore_checkpoint_save_counter(world.checkpoint), 2);
    world.step = 34;
    ck_assert_int_eq(manager_try_save(0, 0), 1);
    world.step = 35;
    manager_save();
    LISTED_IS("1 2 3");
}
END_TEST

START_TEST(a_damaged_newest_is_not_restored)
{
    manager_open(0, 0);
    manager_save();
    manager_save();
    manager_damage(2);
    OK(restore());
    ck_assert_str_eq(world.path, manager_path("ckpt-1"));
    ck_assert_ptr_nonnull(strstr(world.log, "ckpt-2 is skipped"));
    ck_assert_int_eq(htstore_checkpoint_save_counter(world.checkpoint), 1);
}
END_TEST

START_TEST(damage_alone_initializes_nothing)
{
    manager_open(0, 0);
    manager_save();
    manager_damage(1);
    ck_assert_int_eq(restore(), HTSTORE_ECORRUPT);
    ck_assert_int_eq(n_initialized, 0);
    ck_assert_ptr_null(world.status);
    ck_assert_str_eq(world.path, "unset");
}
END_TEST

/* ---- after a crash ---- */

/* Write a state as a crash may leave it: marks and numbers such as "L1 D2 S3". */
static void write_state(const char *marks)
{
    struct hti_managerstate state;
    const int fd = open(world.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    hti_managerstate_init(&state);
    for (const char *c = marks; *c; c += 2 + (c[2] == ' ')) {
        const struct hti_managed entry = { c[1] - '0', 10, (uint32_t)(strchr(" LDS", c[0]) - " LDS") };
        OK(hti_managerstate_append(&state, &entry, &api.error));
    }
    OK(hti_managerstate_store(fd, "ckpt.state", ".ckpt.state.tmp", world.folder, &state, &api.error));
    hti_managerstate_release(&state);
    close(fd);
}

static void make_checkpoints(int n)
{
    world.now = 10;
    manager_open(0, 0);
    for (int i = 0; i < n; i++)
        manager_save();
    manager_close();
    world.options.max_to_keep = 2;
}

START_TEST(temporary_files_of_a_crash_are_removed)
{
    make_checkpoints(1);
    manager_write_file(".ckpt-2.tmp", "half", 4);
    manager_write_file(".ckpt.state.tmp", "half", 4);
    manager_write_file(".other-2.tmp", "half", 4);
    OK(manager_try_open());
    ck_assert_str_eq(manager_others(), ".other-2.tmp");
    LISTED_IS("1");
}
END_TEST

START_TEST(a_file_that_was_complete_when_the_crash_came_is_listed)
{
    make_checkpoints(3);
    write_state("L1 L2 S3");
    OK(manager_try_open());
    LISTED_IS("1 2 3");
    manager_reopen();
    LISTED_IS("1 2 3");
    manager_save();
    LISTED_IS("3 4");
    FILES_ARE("3 4");
}
END_TEST

START_TEST(a_file_that_was_not_complete_is_deleted)
{
    make_checkpoints(3);
    write_state("L1 L2 S3");
    manager_damage(3);
    OK(manager_try_open());
    LISTED_IS("1 2");
    FILES_ARE("1 2");
}
END_TEST

START_TEST(a_file_that_was_never_made_is_forgotten)
{
    make_checkpoints(2);
    write_state("L1 L2 S3");
    OK(manager_try_open());
    LISTED_IS("1 2");
    manager_copy_file("ckpt-1", "ckpt-3"); /* somebody else's */
    manager_reopen();
    LISTED_IS("1 2");
    manager_save();
    FILES_ARE("2 3 4");
}
END_TEST

START_TEST(a_deletion_that_the_crash_cut_off_is_finished)
{
    make_checkpoints(3);
    write_state("D1 D2 L3");
    ck_assert_int_eq(unlink(manager_path("ckpt-2")), 0);
    OK(manager_try_open());
    FILES_ARE("3");
    LISTED_IS("3");
    manager_copy_file("ckpt-3", "ckpt-1"); /* somebody else's */
    manager_reopen();
    FILES_ARE("1 3");
}
END_TEST

/* ---- read-only stores, bad handles ---- */

START_TEST(a_reader_may_look_and_change_nothing)
{
    make_checkpoints(2);
    manager_write_file(".ckpt-7.tmp", "half", 4);
    OK(htstore_checkpoint_close(world.checkpoint, &api.error));
    api_close_store();
    api.options.flags = HTSTORE_READONLY;
    api_open_store();
    OK(htstore_checkpoint_new(api.store, NULL, &world.checkpoint, &api.error));
    manager_open(1, 0);
    ck_assert_int_eq(manager_latest(), 2);
    LISTED_IS("1 2");
    REFUSED(manager_try_save(0, 0), HTSTORE_EREADONLY, "");
    REFUSED(htstore_manager_remove(world.manager, 1, &api.error), HTSTORE_EREADONLY, "");
    REFUSED(htstore_manager_prune(world.manager, &api.error), HTSTORE_EREADONLY, "");
    ck_assert_int_eq(restore(), HTSTORE_EREADONLY);
    FILES_ARE("1 2");
    ck_assert_str_eq(manager_others(), ".ckpt-7.tmp");
    manager_close();
    world.options.folder = api_path("missing");
    REFUSED(manager_try_open(), HTSTORE_ENOTFOUND, "");
    ck_assert_int_ne(access(world.options.folder, F_OK), 0);
}
END_TEST

START_TEST(arguments_are_checked)
{
    const struct htstore_manager_save_options no_size = { .size = 0 };
    const struct htstore_checkpoint_file *files;
    const char *path;
    uint64_t n;

    manager_open(0, 0);
    REFUSED(htstore_manager_save(NULL, NULL, NULL, NULL, &api.error), HTSTORE_EINVAL, "NULL");
    REFUSED(htstore_manager_save(world.manager, &no_size, NULL, NULL, &api.error), HTSTORE_EINVAL, "size");
    REFUSED(htstore_manager_save(world.manager, NULL, NULL, &path, &api.error), HTSTORE_EINVAL, "arena");
    REFUSED(htstore_manager_list(NULL, api.arena, &files, &n, &api.error), HTSTORE_EINVAL, "NULL");
    REFUSED(htstore_manager_list(world.manager, NULL, &files, &n, &api.error), HTSTORE_EINVAL, "arena");
    REFUSED(htstore_manager_list(world.manager, api.arena, NULL, &n, &api.error), HTSTORE_EINVAL, "NULL");
    REFUSED(htstore_manager_list(world.manager, api.arena, &files, NULL, &api.error), HTSTORE_EINVAL, "NULL");
    REFUSED(htstore_manager_remove(NULL, 1, &api.error), HTSTORE_EINVAL, "NULL");
    REFUSED(htstore_manager_prune(NULL, &api.error), HTSTORE_EINVAL, "NULL");
    REFUSED(htstore_manager_latest(NULL, api.arena, &path, &api.error), HTSTORE_EINVAL, "NULL");
    REFUSED(htstore_manager_latest(world.manager, NULL, &path, &api.error), HTSTORE_EINVAL, "arena");
    REFUSED(htstore_manager_latest(world.manager, api.arena, NULL, &api.error), HTSTORE_EINVAL, "NULL");
    REFUSED(htstore_manager_restore_or_initialize(NULL, NULL, NULL, &world.status, NULL, NULL, &api.error),
            HTSTORE_EINVAL, "NULL");
    REFUSED(htstore_manager_restore_or_initialize(world.manager, NULL, NULL, NULL, NULL, NULL, &api.error),
            HTSTORE_EINVAL, "status");
    REFUSED(htstore_manager_restore_or_initialize(world.manager, NULL, NULL, &world.status, NULL, &path, &api.error),
            HTSTORE_EINVAL, "arena");
    htstore_manager_close(NULL);
    FILES_ARE("");
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
    tcase_add_test(tcase, nothing_is_saved_before_the_interval_has_passed);
    tcase_add_test(tcase, the_last_step_may_be_given);
    tcase_add_test(tcase, steps_do_not_matter_without_an_interval);
    tcase_add_test(tcase, a_failed_save_does_not_count_as_the_last);
    tcase_add_test(tcase, a_clock_that_went_back_is_told_and_nothing_is_deleted);
    tcase_add_test(tcase, times_that_are_yet_to_come_are_cut_to_now);
}

static void add_opening(TCase *tcase)
{
    tcase_add_test(tcase, options_that_mean_nothing_are_refused);
    tcase_add_test(tcase, a_clock_without_time_is_refused);
    tcase_add_test(tcase, all_defaults_will_do);
    tcase_add_test(tcase, a_second_manager_is_refused);
    tcase_add_test(tcase, a_manager_keeps_its_checkpoint_open);
    tcase_add_test(tcase, a_forked_child_cannot_use_it_nor_release_the_lock);
    tcase_add_test(tcase, temporary_files_of_a_crash_are_removed);
    tcase_add_test(tcase, a_file_that_was_complete_when_the_crash_came_is_listed);
    tcase_add_test(tcase, a_file_that_was_not_complete_is_deleted);
    tcase_add_test(tcase, a_file_that_was_never_made_is_forgotten);
    tcase_add_test(tcase, a_deletion_that_the_crash_cut_off_is_finished);
    tcase_add_test(tcase, a_reader_may_look_and_change_nothing);
    tcase_add_test(tcase, arguments_are_checked);
}

static void add_finding(TCase *tcase)
{
    tcase_add_test(tcase, there_may_be_no_latest);
    tcase_add_test(tcase, a_damaged_newest_is_skipped_and_told);
    tcase_add_test(tcase, listed_ones_come_before_others);
    tcase_add_test(tcase, without_a_state_the_folder_decides_and_nothing_in_it_is_deleted);
    tcase_add_test(tcase, a_damaged_state_is_told_and_counts_as_none);
    tcase_add_test(tcase, a_state_of_a_newer_version_is_left_alone);
    tcase_add_test(tcase, without_a_checkpoint_the_initializer_is_called);
    tcase_add_test(tcase, the_newest_is_restored_with_its_counter_and_step);
    tcase_add_test(tcase, a_damaged_newest_is_not_restored);
    tcase_add_test(tcase, damage_alone_initializes_nothing);
}

static Suite *make_suite(void)
{
    Suite *suite = suite_create("manager");
    TCase *tcase = tcase_create("manager");

    tcase_add_checked_fixture(tcase, manager_setup, manager_teardown);
    add_keeping(tcase);
    add_opening(tcase);
    add_finding(tcase);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return check_run(make_suite());
}
