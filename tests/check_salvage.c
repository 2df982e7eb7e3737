/* check_salvage: htstore_recover() of whole stores, its arguments and places, and everything that may happen on the way. */
#include "ruin.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults.h"
#include "mem.h"

#define N_FLIPS 150

extern char **environ;

/* ---- whole stores ---- */

START_TEST(a_closed_store_is_copied_whole)
{
    struct ruin_image *image = ruin_make_damaged();
    RECOVERED(0);
    ruin_same_image(image, ruin_image_of_saved());
    ck_assert_uint_eq(ruin_report.n_tables, 6);
    ck_assert_uint_eq(ruin_report.n_rows, image->n_rows);
    ck_assert_uint_eq(ruin_report.n_records, 0);
    ck_assert_uint_eq(ruin_n_lines, 0);
}
END_TEST

START_TEST(the_new_store_takes_writes_and_has_the_old_schemas)
{
    struct htstore_schema schema = { .size = sizeof schema };
    struct htstore *old, *new;
    struct htstore_table *table;
    struct htstore_stats stats[2] = { { .size = sizeof stats[0] }, { .size = sizeof stats[0] } };
    ruin_make_damaged();
    RECOVERED(0);
    OK(htstore_open(api_path("damaged"), NULL, &old, &api.error));
    OK(htstore_open(api_path("saved"), NULL, &new, &api.error));
    OK(htstore_stats(old, &stats[0], &api.error));
    OK(htstore_stats(new, &stats[1], &api.error));
    ck_assert_int_ne(memcmp(stats[0].store_id, stats[1].store_id, sizeof stats[0].store_id), 0);
    OK(htstore_table_open(old, "words", NULL, &table, &api.error));
    OK(htstore_table_schema(table, &schema, &api.error));
    struct htstore_table *copy;
    OK(htstore_table_open(new, "words", &schema, &copy, &api.error));
    uint64_t size = api_size(table);
    ck_assert_uint_eq(api_size(copy), size);
    ruin_add_texts(copy, 5000, 10, 16);
    ck_assert_uint_eq(api_size(copy), size + 10);
    ruin_close_table(copy);
    ruin_close_table(table);
    OK(htstore_close(old, &api.error));
    OK(htstore_close(new, &api.error));
    OK(htstore_open(api_path("saved"), NULL, &new, &api.error));
    OK(htstore_table_open(new, "words", NULL, &copy, &api.error));
    ck_assert_uint_eq(api_size(copy), size + 10);
    ruin_close_table(copy);
    OK(htstore_close(new, &api.error));
}
END_TEST

START_TEST(defaults_will_do)
{
    ruin_make_damaged();
    OK(htstore_recover(api_path("damaged"), api_path("saved"), NULL, NULL, NULL));
    ck_assert_uint_eq(ruin_image_at("saved")->n, 6);
}
END_TEST

START_TEST(a_short_report_is_filled_as_far_as_it_goes)
{
    ruin_make_damaged();
    ruin_report = ruin_untouched;
    ruin_report.size = offsetof(struct htstore_recovery, n_rows);
    OK(htstore_recover(api_path("damaged"), api_path("saved"), NULL, &ruin_report, &api.error));
    ck_assert_uint_eq(ruin_report.size, offsetof(struct htstore_recovery, n_rows));
    ck_assert_uint_eq(ruin_report.n_tables, 6);
    ck_assert_uint_eq(ruin_report.n_rows, 77);
}
END_TEST

START_TEST(what_only_the_journal_holds_is_recovered)
{
    ruin_make_sound();
    ruin_write_unflushed();
    struct ruin_image *image = ruin_kill();
    RECOVERED(0);
    ruin_same_image(image, ruin_image_of_saved());
    ck_assert_uint_eq(ruin_report.n_records, 6);
    ck_assert_uint_eq(ruin_report.n_lost_records, 0);
}
END_TEST

START_TEST(segments_are_read_in_order)
{
    ruin_make_sound();
    api_close_store();
    api.options.delta_bytes = 16 << 20;
    api_open_store();
    struct htstore_table *table;
    OK(htstore_table_open(api.store, "long", NULL, &table, &api.error));
    for (unsigned i = 0; i < 40; i++)
        ruin_add_texts(table, i * 3, 10, 700);
    ruin_close_table(table);
    struct ruin_image *image = ruin_kill();
    ck_assert(ruin_exists("damaged/journal/0000000000000005.htj"));
    RECOVERED(0);
    ruin_same_image(image, ruin_image_of_saved());
    ck_assert_uint_eq(ruin_report.n_records, 40);
}
END_TEST

START_TEST(anonymous_tables_end_with_their_process)
{
    ruin_make_sound();
    struct htstore_schema schema = api_schema(HTSTORE_INT64, "0", HTSTORE_INT64);
    schema.flags = HTSTORE_ANONYMOUS;
    OK(htstore_table_create(api.store, NULL, &schema, &api.table, &api.error));
    ruin_add_rows(api.table, 0, 10, 0);
    OK(htstore_flush(api.store, &api.error));
    ruin_add_rows(api.table, 10, 10, 0);
    struct ruin_image *image = ruin_kill();
    RECOVERED(0);
    ruin_same_image(image, ruin_image_of_saved());
    ck_assert_uint_eq(ruin_report.n_tables, 6);
    ck_assert(ruin_log_has(HTSTORE_LOG_INFO, "anonymous table"));
}
END_TEST

/* ---- a process that ends in the middle ---- */

static int end_now(const char *verb)
{
    (void)verb;
    _exit(33);
}

static void end_at_first_line(void *user, int32_t level, const char *module, const char *message)
{
    (void)user;
    (void)level;
    (void)module;
    end_now(message);
}

/* What this program does when it is run as another process: see main(). */
static int act(const char *verb, const char *path, const char *target)
{
    struct htstore_options options = { .size = sizeof options, .flags = HTSTORE_CREATE, .segment_bytes = 64 << 10 };
    if (strcmp(verb, "recover") == 0) {
        options.log = end_at_first_line;
        return htstore_recover(path, target, &options, NULL, NULL);
    }
    int64_t keys[100], values[100], zero = 0;
    struct htstore *store;
    struct htstore_table *table;
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_INT64 };
    schema.default_value = htstore_scalar(HTSTORE_INT64, &zero);
    for (int64_t i = 0; i < 100; i++) {
        keys[i] = i;
        values[i] = i * i;
    }
    struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, 100), v = htstore_vector(HTSTORE_INT64, values, 100);
    if (htstore_open(path, &options, &store, NULL) != 0 ||
        htstore_table_create(store, "t", &schema, &table, NULL) != 0 ||
        htstore_table_insert(table, &k, &v, HTSTORE_SYNC, NULL) != 0 ||
        htstore_table_insert(table, &k, &k, HTSTORE_LAZY, NULL) != 0)
        return 1;
    return end_now(verb);
}

static void run_self(const char *verb, const char *name, const char *target)
{
    char self[] = "/proc/self/exe", act_flag[] = "--act";
    char *path = (char *)(uintptr_t)api_path(name), *to = (char *)(uintptr_t)api_path(target);
    char *arguments[] = { self, act_flag, (char *)(uintptr_t)verb, path, to, NULL };
    pid_t pid;
    int status;
    ck_assert_int_eq(posix_spawn(&pid, self, NULL, NULL, arguments, environ), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 33, "%s ended with status %x", verb, status);
}

START_TEST(a_killed_process_loses_nothing)
{
    run_self("write", "damaged", "");
    RECOVERED(0);
    struct ruin_image *image = ruin_image_of_saved();
    ck_assert_uint_eq(image->n_rows, 100);
    ck_assert_ptr_nonnull(strstr(image->tables[0].rows, "\n99=99\n"));
    ck_assert_uint_eq(ruin_report.n_records, 2);
}
END_TEST

START_TEST(an_interrupted_recovery_leaves_no_store_and_can_be_repeated)
{
    struct ruin_image *image = ruin_make_damaged();
    uint64_t at = ruin_find_bytes(ruin_data_path(), "two-000123", 10);
    ruin_spoil_at(ruin_data_path(), at, 1);
    run_self("recover", "damaged", "saved");
    ck_assert(!ruin_exists("saved"));
    ck_assert(ruin_exists(".saved.htstore-tmp"));
    RECOVERED(1);
    ruin_same_table(image, ruin_image_of_saved(), "ints");
}
END_TEST

/* ---- who may recover what, and where to ---- */

START_TEST(wrong_arguments_are_refused)
{
    struct htstore_options options = { .size = 0 };
    ruin_make_damaged();
    const char *from = api_path("damaged"), *to = api_path("saved");
    REFUSED(htstore_recover(NULL, to, NULL, NULL, &api.error), HTSTORE_EINVAL, "path");
    REFUSED(htstore_recover("", to, NULL, NULL, &api.error), HTSTORE_EINVAL, "path");
    REFUSED(htstore_recover(from, NULL, NULL, NULL, &api.error), HTSTORE_EINVAL, "path");
    REFUSED(htstore_recover(from, "", NULL, NULL, &api.error), HTSTORE_EINVAL, "path");
    REFUSED(htstore_recover(from, to, &options, NULL, &api.error), HTSTORE_EINVAL, "size is 0");
    ruin_report.size = 0;
    REFUSED(htstore_recover(from, to, NULL, &ruin_report, &api.error), HTSTORE_EINVAL, "size is 0");
    REFUSED(htstore_recover(from, api_path("none/saved"), NULL, NULL, &api.error), HTSTORE_ENOTFOUND, "");
    REFUSED(htstore_recover(from, api_path("."), NULL, NULL, &api.error), HTSTORE_EINVAL, "");
    ck_assert(!ruin_exists("saved"));
}
END_TEST

START_TEST(a_source_that_is_no_store_is_refused)
{
    struct htstore_options options = { .size = sizeof options };
    REFUSED(htstore_recover(api_path("none"), api_path("saved"), &options, NULL, &api.error), HTSTORE_ENOTFOUND, "");
    ruin_save(api_path("file"), "hello", 5);
    REFUSED(htstore_recover(api_path("file"), api_path("saved"), &options, NULL, &api.error), HTSTORE_EFORMAT, "");
    ck_assert_int_eq(mkdir(api_path("folder"), 0700), 0);
    REFUSED(htstore_recover(api_path("folder"), api_path("saved"), &options, NULL, &api.error), HTSTORE_EFORMAT, "");
    ruin_save(api_path("folder/data.mdb"), "hello", 5);
    REFUSED(htstore_recover(api_path("folder"), api_path("saved"), &options, NULL, &api.error), HTSTORE_EFORMAT, "");
    ck_assert(!ruin_exists("saved"));
}
END_TEST

START_TEST(a_target_that_exists_is_left_alone)
{
    ruin_make_damaged();
    ruin_save(api_path("saved"), "mine", 4);
    REFUSED(htstore_recover(api_path("damaged"), api_path("saved"), NULL, NULL, &api.error), HTSTORE_EEXIST, "exists");
    ck_assert_uint_eq(ruin_load(api_path("saved")).size, 4);
    ck_assert_int_eq(symlink("/nonexistent", api_path("link")), 0);
    REFUSED(htstore_recover(api_path("damaged"), api_path("link"), NULL, NULL, &api.error), HTSTORE_EEXIST, "exists");
}
END_TEST

START_TEST(nothing_is_written_into_the_old_store)
{
    ruin_make_damaged();
    const char *before = ruin_folder_text(api_path("damaged"));
    REFUSED(htstore_recover(api_path("damaged"), api_path("damaged/new"), NULL, NULL, &api.error), HTSTORE_EINVAL,
            "inside");
    REFUSED(htstore_recover(api_path("damaged"), api_path("damaged/journal/new"), NULL, NULL, &api.error),
            HTSTORE_EINVAL, "inside");
    ck_assert_str_eq(ruin_folder_text(api_path("damaged")), before);
    ck_assert(!ruin_exists("damaged/.new.htstore-tmp"));
}
END_TEST

START_TEST(an_owned_store_is_busy)
{
    ruin_make_sound();
    const char *from = api_path("sound"), *to = api_path("saved");
    char pid[32];
    (void)snprintf(pid, sizeof pid, "process %d ", (int)getpid());
    REFUSED(htstore_recover(from, to, NULL, NULL, &api.error), HTSTORE_EBUSY, pid);
    ck_assert_int_eq(unlink(api_path("sound/LOCK")), 0);
    REFUSED(htstore_recover(from, to, NULL, NULL, &api.error), HTSTORE_EBUSY, "");
    ck_assert(!ruin_exists("saved"));
    api_close_store();
    OK(htstore_recover(from, to, NULL, NULL, &api.error));
}
END_TEST

static void try_to_own(void *user, int32_t level, const char *module, const char *message)
{
    int *code = user;
    struct htstore *store;
    (void)level;
    (void)module;
    (void)message;
    *code = htstore_open(api_path("damaged"), NULL, &store, NULL);
}

START_TEST(nobody_can_own_the_store_meanwhile)
{
    int code = 1;
    struct htstore_options options = { .size = sizeof options, .log = try_to_own, .log_user = &code };
    ruin_make_damaged();
    if (_i == 1)
        ck_assert_int_eq(unlink(api_path("damaged/LOCK")), 0);
    ruin_spoil_at(ruin_data_path(), ruin_find_bytes(ruin_data_path(), "one-000123", 10), 1);
    const char *before = ruin_folder_text(api_path("damaged"));
    ck_assert_int_eq(htstore_recover(api_path("damaged"), api_path("saved"), &options, NULL, &api.error), 1);
    ck_assert_int_eq(code, HTSTORE_EBUSY);
    if (_i == 0)
        ck_assert_str_eq(ruin_folder_text(api_path("damaged")), before);
    struct htstore *store;
    OK(htstore_open(api_path("damaged"), NULL, &store, &api.error));
    OK(htstore_close(store, &api.error));
}
END_TEST

START_TEST(a_recovery_under_way_to_the_same_place_is_not_disturbed)
{
    ruin_make_damaged();
    ck_assert_int_eq(mkdir(api_path(".saved.htstore-tmp"), 0700), 0);
    ruin_save(api_path(".saved.htstore-tmp/data.mdb"), "half", 4);
    int fd = open(api_path(".saved.htstore-tmp"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    REFUSED(htstore_recover(api_path("damaged"), api_path("saved"), NULL, NULL, &api.error), HTSTORE_EBUSY, "");
    ck_assert(ruin_exists(".saved.htstore-tmp/data.mdb"));
    close(fd);
    RECOVERED(0);
}
END_TEST

START_TEST(unsafe_folders_need_their_flag)
{
    struct htstore_options options = { .size = sizeof options };
    ruin_make_damaged();
    ck_assert_int_eq(chmod(api_path("damaged"), 0770), 0);
    REFUSED(htstore_recover(api_path("damaged"), api_path("saved"), &options, NULL, &api.error), HTSTORE_EINVAL, "");
    options.flags = HTSTORE_ALLOW_SHARED_FOLDER;
    OK(htstore_recover(api_path("damaged"), api_path("saved"), &options, NULL, &api.error));
}
END_TEST

START_TEST(the_parent_of_the_target_must_be_writable)
{
    if (geteuid() == 0)
        return; /* nothing is forbidden to root */
    ruin_make_damaged();
    ck_assert_int_eq(mkdir(api_path("closed"), 0500), 0);
    REFUSED(htstore_recover(api_path("damaged"), api_path("closed/saved"), NULL, NULL, &api.error), HTSTORE_EREADONLY,
            "");
}
END_TEST

/* ---- everything that may happen ---- */

static uint64_t random_state;

static uint64_t random_number(void)
{
    random_state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = random_state;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* A small store with a journal: the older it is, the less its rows are worth to the test. */
static struct ruin_image *make_small(void)
{
    (void)snprintf(api.path, sizeof api.path, "%s/sound", api.directory);
    api_open_store();
    struct htstore_table *ints = ruin_make_table("ints", HTSTORE_INT64, HTSTORE_INT64, "-1");
    ruin_add_rows(ints, 0, 300, 0);
    struct htstore_table *words = ruin_make_table("words", HTSTORE_STRING, HTSTORE_STRING, "[a b]");
    ruin_add_texts(words, 0, 60, 16);
    ruin_close_table(words);
    OK(htstore_flush(api.store, &api.error));
    for (unsigned i = 0; i < 8; i++)
        ruin_add_rows(ints, 300 + i * 5, 5, HTSTORE_SYNC);
    ruin_close_table(ints);
    return ruin_kill();
}

/* Rows are functions of their keys and never removed: what is found must be part of what was written. */
START_TEST(whatever_bytes_change_no_row_is_invented)
{
    struct ruin_image *image = make_small();
    struct ruin_content data = ruin_load(ruin_data_path()),
                        journal = ruin_load(ruin_segment_path(ruin_segment_number()));
    const char *path = ruin_segment_path(ruin_segment_number());
    unsigned n_saved = 0;
    random_state = (uint64_t)_i * 1000 + 1;
    for (unsigned run = 0; run < N_FLIPS; run++) {
        struct ruin_content *file = run % 4 == 3 ? &journal : &data;
        struct ruin_content changed = { api_alloc(file->size), file->size };
        memcpy(changed.data, file->data, file->size);
        size_t limit = file == &journal && file->size > 8192 ? 8192 : file->size;
        for (uint64_t n = 1 + random_number() % 6; n > 0; n--)
            changed.data[random_number() % limit] ^= (uint8_t)(1u << random_number() % 8);
        ruin_save(file == &journal ? path : ruin_data_path(), changed.data, changed.size);
        int result = ruin_recover();
        ck_assert_msg(result >= 0 || result == HTSTORE_ECORRUPT || result == HTSTORE_EFORMAT ||
                          result == HTSTORE_EVERSION,
                      "run %u: %d %s", run, result, api.error.message);
        if (result >= 0) {
            struct ruin_image *saved = ruin_image_of_saved();
            ruin_part_of_image(image, saved);
            ck_assert_msg(result == 1 || file == &journal || saved->n_rows == image->n_rows, "run %u: rows are missing",
                          run);
            n_saved++;
            ruin_remove("saved");
        }
        ruin_save(ruin_data_path(), data.data, data.size);
        ruin_save(path, journal.data, journal.size);
    }
    ck_assert_uint_gt(n_saved, N_FLIPS / 2);
}
END_TEST

/* Fail every allocation, once or for good. */
START_TEST(without_memory_nothing_is_left_behind)
{
    make_small();
    ruin_spoil_at(ruin_data_path(), ruin_catalog_root(false) * RUIN_PAGE_SIZE, RUIN_PAGE_SIZE);
    int result = 0;
    uint64_t n;
    for (n = 0; n < 5000; n++) {
        uint64_t live = hti_mem_test_live();
        hti_mem_test_fail(n, _i == 1);
        result = htstore_recover(api_path("damaged"), api_path("saved"), NULL, NULL, &api.error);
        bool failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_msg(hti_mem_test_live() == live, "allocation %ju: something is not freed", (uintmax_t)n);
        ck_assert(!ruin_exists(".saved.htstore-tmp"));
        if (!failed)
            break;
        /* once: a thread of the new store may have met it, such as the one that makes the next segment, and gone on */
        if (result == 1 && _i == 0 && ruin_image_at("saved")->n == 2) {
            ruin_remove("saved");
            continue;
        }
        ck_assert_msg(result == HTSTORE_ENOMEM, "allocation %ju: %d %s", (uintmax_t)n, result, api.error.message);
        ck_assert_int_eq(api.error.code, HTSTORE_ENOMEM);
        ck_assert(!ruin_exists("saved"));
    }
    ck_assert_int_eq(result, 1);
    ck_assert_uint_gt(n, 50);
    ck_assert_uint_eq(ruin_image_at("saved")->n, 2);
}
END_TEST

/* Each write, sync and rename fails once. */
START_TEST(a_failing_disk_leaves_no_store)
{
    static const int errnos[] = { EIO, ENOSPC };
    static const enum fault_call calls[] = { FAULT_WRITE, FAULT_SYNC, FAULT_DATASYNC, FAULT_RENAME };
    enum fault_call call = calls[_i % 4];
    int sys_errno = errnos[_i / 4], result = 1;
    struct ruin_image *image = make_small();
    unsigned n;
    for (n = 0; n < 1000; n++) {
        ruin_report = ruin_untouched;
        fault_clear();
        fault_set(call, n, sys_errno, 0);
        result = htstore_recover(api_path("damaged"), api_path("saved"), NULL, &ruin_report, &api.error);
        bool struck = fault_count(call) > n;
        fault_clear();
        ck_assert(!ruin_exists(".saved.htstore-tmp"));
        if (!struck)
            break;
        ck_assert_msg(result <= 0, "call %u: %d", n, result);
        if (result == 0) {
            ruin_same_image(image, ruin_image_of_saved());
            ruin_remove("saved");
            continue;
        }
        ck_assert_msg(result == HTSTORE_EIO || result == HTSTORE_ENOSPC, "call %u: %d %s", n, result,
                      api.error.message);
        ck_assert_int_eq(api.error.code, result);
        ck_assert_msg(!ruin_exists("saved"), "call %u: there is a store", n);
    }
    ck_assert_int_eq(result, 0);
    if (call != FAULT_DATASYNC) /* those are LMDB's, which a test sees only if its functions are exported */
        ck_assert_uint_gt(n, 0);
    ruin_same_image(image, ruin_image_of_saved());
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, a_closed_store_is_copied_whole);
    tcase_add_test(tests, the_new_store_takes_writes_and_has_the_old_schemas);
    tcase_add_test(tests, defaults_will_do);
    tcase_add_test(tests, a_short_report_is_filled_as_far_as_it_goes);
    tcase_add_test(tests, what_only_the_journal_holds_is_recovered);
    tcase_add_test(tests, segments_are_read_in_order);
    tcase_add_test(tests, anonymous_tables_end_with_their_process);
    tcase_add_test(tests, a_killed_process_loses_nothing);
    tcase_add_test(tests, an_interrupted_recovery_leaves_no_store_and_can_be_repeated);
    tcase_add_test(tests, wrong_arguments_are_refused);
    tcase_add_test(tests, a_source_that_is_no_store_is_refused);
    tcase_add_test(tests, a_target_that_exists_is_left_alone);
    tcase_add_test(tests, nothing_is_written_into_the_old_store);
    tcase_add_test(tests, an_owned_store_is_busy);
    tcase_add_loop_test(tests, nobody_can_own_the_store_meanwhile, 0, 2);
    tcase_add_test(tests, a_recovery_under_way_to_the_same_place_is_not_disturbed);
    tcase_add_test(tests, unsafe_folders_need_their_flag);
    tcase_add_test(tests, the_parent_of_the_target_must_be_writable);
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "--act") == 0)
        return act(argv[2], argv[3], argv[4]);
    Suite *suite = suite_create("salvage");
    TCase *tests = tcase_create("salvage"), *hard = tcase_create("hard");
    TCase *cases[] = { tests, hard };
    add_tests(tests);
    tcase_add_loop_test(hard, whatever_bytes_change_no_row_is_invented, 0, 2);
    tcase_add_loop_test(hard, a_failing_disk_leaves_no_store, 0, 8);
    tcase_add_loop_test(hard, without_memory_nothing_is_left_behind, 0, 2);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tcase_add_checked_fixture(cases[i], api_setup, api_teardown);
        suite_add_tcase(suite, cases[i]);
    }
    return check_run(suite);
}
