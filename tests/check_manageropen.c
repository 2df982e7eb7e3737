/* Tests of checkpoint managers: opening, also after a crash; the newest that is intact; restoring it; what is refused. */
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "manager.h"
#include "manager_util.h"

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
    ck_assert(manager_time_of(1) > 1e9);
    OK(htstore_manager_save(world.manager, NULL, NULL, NULL, &api.error));
    LISTED_IS("1 2");
    ZSTD_ACCEPTS(manager_path("ckpt-2"));
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
    manager_write_row();
    manager_save();
    world.step = 20;
    manager_write_row();
    manager_save();
    manager_write_row();
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
    SIZE_IS(2);
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
    manager_write_row();
    manager_save();
    manager_damage(2);
    OK(restore());
    SIZE_IS(0);
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
    Suite *suite = suite_create("manageropen");
    TCase *tcase = tcase_create("manageropen");

    tcase_add_checked_fixture(tcase, manager_setup, manager_teardown);
    add_opening(tcase);
    add_finding(tcase);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return check_run(make_suite());
}
