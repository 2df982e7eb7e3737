/*
 * Tests of checkpoint managers under power cuts and failing system calls: at every instant the promised checkpoints are there
 * and intact, the newest is found, and nothing is left over that nobody would ever delete.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crash/folder.h"
#include "cuts.h"
#include "manager.h"
#include "manager_util.h"
#include "mem.h"
#include "snapshot.h"

#define FOREIGN "ckpt-0" /* a checkpoint that is not the manager's */
#define KEPT 2 /* max_to_keep */

static uint64_t n_made;

static void set_up(void)
{
    manager_setup();
    world.now = 10;
    n_made = 0;
}

static void tear_down(void)
{
    cuts_stop();
    hti_mem_test_fail(UINT64_MAX, false);
    manager_teardown();
}

/* ---- what must hold after a cut ---- */

static uint64_t count_valid(const char *path)
{
    DIR *listing = opendir(path);
    const struct dirent *entry;
    uint64_t lsn, n = 0;

    ck_assert_ptr_nonnull(listing);
    while ((entry = readdir(listing)) != NULL)
        if (strncmp(entry->d_name, "ckpt-", 5) == 0 && strcmp(entry->d_name, FOREIGN) != 0)
            n += hti_snapshot_verify(dirfd(listing), entry->d_name, path, 1, &lsn, NULL) == 0;
    closedir(listing);
    return n;
}

static void check_list(struct htstore_manager *manager, uint64_t n_wanted, const char *what)
{
    const struct htstore_checkpoint_file *files;
    uint64_t n, n_listed = 0;

    OK(htstore_manager_list(manager, api.arena, &files, &n, &api.error));
    for (uint64_t i = 0; i < n; i++) {
        n_listed += files[i].listed;
        ck_assert_msg(files[i].listed || files[i].number == 0, "nobody will delete %s: %s", files[i].path, what);
    }
    ck_assert_msg(n_listed >= n_wanted, "%d listed: %s", (int)n_listed, what);
    ck_assert_uint_eq(hti_managerstate_count(&manager->state, HTI_MANAGED_LISTED), n_listed);
}

/* The manager of the world works elsewhere for a while. Opening it twice gives the same. */
static void check_cut(const char *path, const struct cut_promise *promise, const char *what)
{
    const uint64_t n_wanted = promise->n_made < KEPT ? promise->n_made : KEPT;
    struct htstore_manager_options options = world.options;
    struct htstore_manager *manager;
    const char *latest;

    ck_assert_msg(count_valid(path) >= n_wanted, "fewer than %d intact: %s", (int)n_wanted, what);
    options.folder = path;
    for (int again = 0; again < 2; again++) {
        ck_assert_msg(htstore_manager_open(world.checkpoint, &options, &manager, &api.error) == 0, "%s: %s", what,
                      api.error.message);
        check_list(manager, n_wanted, what);
        OK(htstore_manager_latest(manager, api.arena, &latest, &api.error));
        ck_assert_msg(strtoll(strrchr(latest, '-') + 1, NULL, 10) >= promise->newest, "%s: %s", latest, what);
        htstore_manager_close(manager);
        htstore_arena_reset(api.arena);
    }
}

/* Whatever is deleted, the durable state says so already. */
static void check_unlink(const char *name, const void *data, size_t size)
{
    struct hti_managerstate state;

    hti_managerstate_init(&state);
    OK(hti_managerstate_decode(data, size, "", &state, &api.error));
    const struct hti_managed *entry = hti_managerstate_find(&state, strtoll(name + 5, NULL, 10));
    ck_assert_msg(entry && entry->mark == HTI_MANAGED_DELETING, "%s is deleted too early", name);
    hti_managerstate_release(&state);
}

static void check_all(void)
{
    const int64_t counter = htstore_checkpoint_save_counter(world.checkpoint);

    cuts_each_unlink("ckpt-", "ckpt.state", check_unlink);
    cuts_check(api.directory, check_cut);
    ck_assert_int_eq(htstore_checkpoint_save_counter(world.checkpoint), counter);
}

/* ---- work ---- */

/* Nothing is promised of a save before it has returned. */
static int save(void)
{
    const int rc = manager_try_save(0, 0);

    if (rc == 0)
        cuts_promise(++n_made, htstore_checkpoint_save_counter(world.checkpoint));
    return rc;
}

static void save_as(int64_t number)
{
    cuts_promise(n_made, 0);
    manager_save_as(number);
    cuts_promise(++n_made, 0);
}

/* A folder with a checkpoint of somebody else and so many of ours, from 2. */
static void begin(int n_saves)
{
    manager_open(KEPT, 0);
    manager_save_as(1);
    ck_assert_int_eq(rename(manager_path("ckpt-1"), manager_path(FOREIGN)), 0);
    for (int i = 0; i < n_saves; i++)
        manager_save_as(2 + i);
    n_made = (uint64_t)n_saves;
    cuts_start(world.folder);
    cuts_promise(n_made, n_saves ? 1 + n_saves : 0);
}

START_TEST(a_cut_while_saving_and_sweeping_loses_nothing)
{
    begin(0);
    for (int i = 0; i < 5; i++)
        OK(save());
    check_all();
}
END_TEST

START_TEST(a_cut_while_replacing_loses_nothing)
{
    begin(2);
    save_as(2);
    save_as(2);
    save_as(9);
    check_all();
}
END_TEST

START_TEST(a_cut_while_removing_and_pruning_loses_nothing)
{
    begin(2);
    save_as(4);
    cuts_promise(n_made = 1, 0);
    OK(htstore_manager_remove(world.manager, 3, &api.error));
    save_as(5);
    cuts_promise(n_made = 1, 0);
    cuts_pause(true); /* opening changes nothing */
    manager_close();
    manager_open(1, 0);
    cuts_pause(false);
    OK(htstore_manager_prune(world.manager, &api.error));
    FILES_ARE("0 5");
    world.options.max_to_keep = KEPT;
    check_all();
}
END_TEST

/* A save of which one call fails. Whatever comes of it, nothing is lost, and the next saves work. */
static bool save_with_fault(unsigned at, bool for_good, int sys_errno)
{
    const int64_t counter = htstore_checkpoint_save_counter(world.checkpoint);
    const char *listed = manager_listed();

    cut_fault = (struct cut_fault){ .at = at, .for_good = for_good, .sys_errno = sys_errno };
    const int rc = save();
    const bool struck = cut_fault.n_calls >= at;
    cut_fault.at = 0;
    if (rc != 0) {
        ck_assert_int_eq(rc, sys_errno == ENOSPC ? HTSTORE_ENOSPC : HTSTORE_EIO);
        ck_assert_int_eq(htstore_checkpoint_save_counter(world.checkpoint), counter);
        ck_assert_str_eq(manager_listed(), listed);
        ck_assert(for_good || manager_others()[0] == '\0');
    }
    OK(save());
    OK(save());
    ck_assert_uint_eq(world.manager->state.n_entries, KEPT);
    ck_assert_str_eq(manager_others(), "");
    cut_fault.at = at; /* for messages */
    return struck;
}

START_TEST(a_cut_after_any_failure_loses_nothing)
{
    static const struct {
        bool for_good;
        int sys_errno;
    } kinds[] = { { false, EIO }, { true, ENOSPC } };
    bool struck = true;
    unsigned at;

    for (at = 1; struck; at++) {
        begin(2);
        struck = save_with_fault(at, kinds[_i].for_good, kinds[_i].sys_errno);
        cuts_check(api.directory, check_cut);
        cuts_stop();
        manager_close();
        ck_assert(folder_remove(world.folder));
    }
    ck_assert_uint_gt(at, 20);
}
END_TEST

/* ---- failures that are no cuts ---- */

static void damage_checkpoint(const char *name)
{
    if (strncmp(name, "ckpt-", 5) == 0)
        manager_damage(strtoll(name + 5, NULL, 10));
}

START_TEST(a_checkpoint_that_reads_back_damaged_is_taken_back)
{
    manager_open(KEPT, 0);
    manager_save();
    manager_save();
    cut_hooks.on_renamed = damage_checkpoint;
    ck_assert_int_eq(manager_try_save(0, 0), HTSTORE_ECORRUPT);
    FILES_ARE("1 2");
    LISTED_IS("1 2");
    ck_assert_int_eq(htstore_checkpoint_save_counter(world.checkpoint), 2);
    /* What has been replaced is lost; nothing else is. */
    ck_assert_int_eq(manager_try_save(HTSTORE_EXPLICIT_NUMBER, 2), HTSTORE_ECORRUPT);
    cut_hooks.on_renamed = NULL;
    FILES_ARE("1 2");
    LISTED_IS("1 2");
    ck_assert_int_eq(manager_latest(), 1);
    ck_assert_int_eq(htstore_checkpoint_save_counter(world.checkpoint), 2);
    manager_save();
    LISTED_IS("2 3");
}
END_TEST

START_TEST(an_old_file_that_cannot_be_deleted_is_deleted_later)
{
    begin(2);
    cut_fault = (struct cut_fault){ .at = 1, .for_good = true, .only_unlinks = "ckpt-", .sys_errno = EPERM };
    manager_save_as(4);
    ck_assert_ptr_nonnull(strstr(world.log, "not all deleted yet"));
    FILES_ARE("0 2 3 4");
    LISTED_IS("3 4");
    ck_assert_int_eq(htstore_manager_remove(world.manager, 3, &api.error), HTSTORE_EREADONLY);
    FILES_ARE("0 2 3 4");
    LISTED_IS("4");
    manager_save_as(3);
    LISTED_IS("4 3");
    cut_fault.at = 0;
    OK(htstore_manager_remove(world.manager, 2, &api.error));
    FILES_ARE("0 3 4");
    LISTED_IS("4 3");
}
END_TEST

START_TEST(the_name_of_a_new_folder_is_durable_before_anything_in_it)
{
    struct stat status;

    ck_assert_int_eq(stat(api.path, &status), 0);
    cut_hooks.counted = status.st_ino;
    manager_open(0, 0);
    ck_assert_uint_eq(cut_hooks.n_syncs, 1);
    manager_reopen(); /* nobody knows whether the first sync succeeded */
    ck_assert_uint_eq(cut_hooks.n_syncs, 2);
    manager_save();
    cut_hooks.n_syncs = 0;
    manager_reopen();
    ck_assert_uint_eq(cut_hooks.n_syncs, 0);
}
END_TEST

static unsigned opens_left; /* of checkpoints, until one is preceded by a save */

static void save_before_open(const char *name)
{
    if (strncmp(name, "ckpt-", 5) != 0 || --opens_left > 0)
        return;
    cut_hooks.on_open = NULL;
    manager_save();
}

START_TEST(a_newest_that_is_deleted_meanwhile_gives_way_to_a_newer_one)
{
    manager_open(1, 0);
    manager_save();
    for (unsigned at = 1; at <= 3; at++) {
        opens_left = at;
        cut_hooks.on_open = save_before_open;
        ck_assert_int_gt(manager_latest(), 0);
        cut_hooks.on_open = NULL;
    }
    ck_assert_int_ge(htstore_checkpoint_save_counter(world.checkpoint), 3);
}
END_TEST

START_TEST(no_memory_during_a_save_changes_nothing)
{
    bool failed = true;

    manager_open(KEPT, 0);
    manager_save();
    manager_save();
    for (uint64_t n = 0; failed; n++) {
        const int64_t counter = htstore_checkpoint_save_counter(world.checkpoint);
        const char *listed = manager_listed();
        hti_mem_test_fail(n, false);
        const int rc = manager_try_save(0, 0);
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert(rc == 0 || rc == HTSTORE_ENOMEM);
        ck_assert_str_eq(manager_others(), "");
        if (rc == 0)
            continue;
        ck_assert_int_eq(htstore_checkpoint_save_counter(world.checkpoint), counter);
        ck_assert_str_eq(manager_listed(), listed);
        ck_assert_ptr_nonnull(strstr(manager_files(), listed));
    }
    manager_save();
    ck_assert_str_eq(manager_files(), manager_listed());
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("managercuts");
    TCase *tcase = tcase_create("managercuts");

    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, a_cut_while_saving_and_sweeping_loses_nothing);
    tcase_add_test(tcase, a_cut_while_replacing_loses_nothing);
    tcase_add_test(tcase, a_cut_while_removing_and_pruning_loses_nothing);
    tcase_add_loop_test(tcase, a_cut_after_any_failure_loses_nothing, 0, 2);
    tcase_add_test(tcase, a_checkpoint_that_reads_back_damaged_is_taken_back);
    tcase_add_test(tcase, an_old_file_that_cannot_be_deleted_is_deleted_later);
    tcase_add_test(tcase, the_name_of_a_new_folder_is_durable_before_anything_in_it);
    tcase_add_test(tcase, a_newest_that_is_deleted_meanwhile_gives_way_to_a_newer_one);
    tcase_add_test(tcase, no_memory_during_a_save_changes_nothing);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return check_run(make_suite());
}
