/*
 * check_snapflip: a small snapshot with each byte changed in turn, and cut at each length: making a store of it, checking
 * it and restoring it all report the damage, and what was there stays.
 */
#include "checkpoint_util.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "snapread.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SHADOW 1 /* of terabytes: the address space cannot be limited */
#else
#define HAS_SHADOW 0
#endif

#define N_PARTS 4 /* of the bytes, each a test */
#define EXTRA_SPACE (UINT64_C(640) << 20) /* beside the map: far above what any file of this size may need */

static struct htstore_table *t, *u;
static struct htstore_variable *v;
static struct htstore_checkpoint *checkpoint;
static const char *path; /* of the damaged file */
static uint8_t *whole;
static size_t size;
static struct hti_snap_block blocks[16];
static const char *objects[16]; /* of the blocks */
static size_t n_blocks;

static void list_blocks(void)
{
    const struct htstore_snapshot_info info = info_of(path);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct hti_snapread *reader;
    struct hti_buf frame;
    hti_buf_init(&frame);
    OK(hti_snapread_open(fd, path, &reader, &api.error));
    for (n_blocks = 0; hti_snapread_next(reader, &blocks[n_blocks], &frame, &api.error) == 0; n_blocks++) {
        ck_assert_uint_lt(n_blocks, 15);
        objects[n_blocks] = info.objects[blocks[n_blocks].node].path;
    }
    hti_snapread_close(reader);
    hti_buf_release(&frame);
    close(fd);
}

/* The live rows are not those of the snapshot. */
static void setup(void)
{
    checkpoint_setup();
    struct htstore_mapping *m = new_mapping("m", 0);
    t = words_table("t", 0);
    u = words_table(NULL, 0);
    v = new_variable("v", HTSTORE_WEIGHT, 0, "7");
    words_table("x", HTSTORE_NO_CHECKPOINT);
    words_table("empty", 0);
    PUT(m, "u", u);
    PUT(m, "m", m);
    set_rows(t, "[a b]", "[1 2]");
    set_rows(u, "[c]", "[3]");
    checkpoint = root_names();
    path = save(checkpoint);
    set_rows(t, "[live]", "[5]");
    set_rows(u, "[live]", "[6]");
    set_number(v, 8);
    whole = read_whole(path, &size);
    list_blocks();
    ck_assert_uint_eq(n_blocks, 4);
    ck_assert_uint_gt(size, 700);
}

/* ---- what each use of a damaged file must do ---- */

static bool is_documented(int code)
{
    return code == HTSTORE_ECORRUPT || code == HTSTORE_EFORMAT || code == HTSTORE_EVERSION;
}

static void expect_damage(const char *what, size_t at, int rc)
{
    ck_assert_msg(is_documented(rc), "%s, byte %zu: %d: %s", what, at, rc, api.error.message);
    ck_assert_int_eq(api.error.code, rc);
    ck_assert_uint_gt(strlen(api.error.message), 0);
}

/* Of a damaged block the message names object and number. */
static void expect_block(const char *what, size_t at)
{
    char number[32];
    for (size_t i = 0; i < n_blocks; i++) {
        const uint64_t end = blocks[i].offset + HTI_SNAP_BLOCK_HEAD_SIZE + blocks[i].stored_size;
        if (at < blocks[i].offset + HTI_SNAP_BLOCK_HEAD_SIZE || at >= end)
            continue;
        (void)snprintf(number, sizeof number, "block %u of %s", blocks[i].number, objects[i]);
        ck_assert_msg(strstr(api.error.message, number) != NULL, "%s, byte %zu: not '%s' but '%s'", what, at, number,
                      api.error.message);
    }
}

static void try_restore(size_t at, bool in_place)
{
    const struct htstore_snapshot_options options = { .size = sizeof options, .threads = 1 };
    struct htstore_restore *status = (struct htstore_restore *)&api;
    api_spoil_error();
    const int rc = htstore_checkpoint_restore(checkpoint, path, &options, &status, &api.error);
    expect_damage("restore", at, rc);
    if (in_place)
        expect_block("restore", at);
    ck_assert_ptr_null(status);
    ROWS_ARE(t, "[live]", "[5]");
    ROWS_ARE(u, "[live]", "[6]");
    ck_assert_int_eq(number_of(v), 8);
    ck_assert_int_eq(htstore_checkpoint_save_counter(checkpoint), 1);
}

static void try_check(size_t at, bool in_place)
{
    const struct htstore_check_options options = { .size = sizeof options, .threads = 1 };
    api_spoil_error();
    expect_damage("check", at, htstore_check(path, &options, NULL, &api.error));
    if (in_place)
        expect_block("check", at);
}

static void try_new_store(size_t at, bool in_place)
{
    const struct htstore_snapshot_restore_options options = { .size = sizeof options,
                                                              .store = &api.options,
                                                              .threads = 1 };
    struct stat st;
    api_spoil_error();
    expect_damage("new store", at, htstore_snapshot_restore(path, -1, api_path("new"), &options, NULL, &api.error));
    if (in_place)
        expect_block("new store", at);
    ck_assert_int_ne(lstat(api_path("new"), &st), 0);
}

/* A pipe knows nothing of what comes: damage is found as it is met. */
static void try_pipe(size_t at, const void *data, size_t n)
{
    const struct htstore_snapshot_restore_options options = { .size = sizeof options,
                                                              .store = &api.options,
                                                              .threads = 1 };
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(write(ends[1], data, n), (ssize_t)n);
    close(ends[1]);
    api_spoil_error();
    expect_damage("pipe", at, htstore_snapshot_restore(NULL, ends[0], api_path("new"), &options, NULL, &api.error));
    close(ends[0]);
}

/* Some of what is intact may come back, or nothing: no crash, and no other code. */
static void try_salvage(size_t at)
{
    const struct htstore_snapshot_restore_options options = { .size = sizeof options,
                                                              .flags = HTSTORE_SALVAGE | HTSTORE_VERIFY_QUICK,
                                                              .store = &api.options };
    char *target = api_alloc(strlen(api.directory) + 32);
    (void)sprintf(target, "%s/s%zu", api.directory, at);
    const int rc = htstore_snapshot_restore(path, -1, target, &options, NULL, &api.error);
    ck_assert_msg(rc == 0 || rc == 1 || is_documented(rc), "salvage, byte %zu: %d: %s", at, rc, api.error.message);
}

static uint64_t used_space(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%llu", &pages), 1);
    ck_assert_int_eq(fclose(file), 0);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void limit_space(bool limited)
{
    struct rlimit limit;
    if (HAS_SHADOW)
        return;
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = limited ? used_space() + api.options.map_size + EXTRA_SPACE : limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
}

/* ---- the tests ---- */

START_TEST(every_flipped_byte_is_found)
{
    limit_space(true);
    for (size_t at = (size_t)_i; at < size; at += N_PARTS) {
        const uint8_t was = whole[at];
        whole[at] ^= (uint8_t)(1U << (at / N_PARTS % 8));
        write_whole(path, whole, size);
        try_restore(at, true);
        try_check(at, true);
        try_new_store(at, true);
        try_pipe(at, whole, size);
        if (at % 16 < N_PARTS)
            try_salvage(at);
        whole[at] = was;
    }
    limit_space(false);
}
END_TEST

START_TEST(every_cut_is_found)
{
    limit_space(true);
    for (size_t at = (size_t)_i; at < size; at += N_PARTS) {
        write_whole(path, whole, at);
        try_restore(at, false);
        try_check(at, false);
        try_new_store(at, false);
        try_pipe(at, whole, at);
        if (at % 16 < N_PARTS)
            try_salvage(at);
    }
    limit_space(false);
}
END_TEST

START_TEST(what_follows_the_end_is_found)
{
    uint8_t *longer = api_alloc(2 * size);
    memcpy(longer, whole, size);
    memcpy(longer + size, whole, size);
    const size_t sizes[] = { size + 1, size + 64, 2 * size };
    for (size_t i = 0; i < 3; i++) {
        write_whole(path, longer, sizes[i]);
        try_restore(sizes[i], false);
        try_check(sizes[i], false);
        try_new_store(sizes[i], false);
        try_pipe(sizes[i], longer, sizes[i]);
    }
}
END_TEST

START_TEST(the_intact_file_is_restored)
{
    const struct htstore_check_options options = { .size = sizeof options, .threads = 1 };
    struct htstore_check_report report = { .size = sizeof report };
    OK(htstore_check(path, &options, &report, &api.error));
    ck_assert_uint_eq(report.n_blocks, n_blocks);
    ck_assert_uint_eq(report.bytes, size);
    CONSUMED(restore(checkpoint, path));
    ROWS_ARE(t, "[a b]", "[1 2]");
    ck_assert_int_eq(number_of(v), 7);
    OK(htstore_snapshot_restore(path, -1, api_path("new"), NULL, NULL, &api.error));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("snapflip");
    TCase *tests = tcase_create("snapflip");
    tcase_add_checked_fixture(tests, setup, checkpoint_teardown);
    tcase_add_loop_test(tests, every_flipped_byte_is_found, 0, N_PARTS);
    tcase_add_loop_test(tests, every_cut_is_found, 0, N_PARTS);
    tcase_add_test(tests, what_follows_the_end_is_found);
    tcase_add_test(tests, the_intact_file_is_restored);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
