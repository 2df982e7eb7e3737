/* Tests of kvsearch: it finds what LMDB finds, and survives any bytes. */
#include "kvsearch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "check_util.h"
#include "kv.h"
#include "mem.h"
#include "samples.h"

#define MAP_SIZE ((uint64_t)64 << 20)
#define ROWS 1u /* a database */
#define N_ASKED 100u
#define MAX_KEY 506u
#define PAGE 4096u

static char *directory;
static int dir_fd = -1;
static struct hti_kv *kv;
static struct htstore_error error;

static void set_up(void)
{
    sample_seed(7);
    directory = check_tmpdir();
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct hti_kv_options options = {
        .dir_fd = dir_fd, .path = directory, .map_size = MAP_SIZE, .max_pinned = 4, .max_readers = 126
    };
    ck_assert_int_eq(hti_kv_open(&options, &kv, &error), 0);
    ck_assert_int_eq(hti_kv_acquire(kv, ROWS, true, &error), 0);
}

static void tear_down(void)
{
    hti_kv_close(kv);
    close(dir_fd);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
    check_tmpdir_remove(directory);
}

/* Kinds of keys: 0: of 8 bytes; 1: of 4; 2: strings of many sizes, some of which begin alike. */
static size_t make_key(int kind, uint64_t i, uint8_t key[MAX_KEY])
{
    if (kind == 0) {
        hti_store_be64(key, i * UINT64_C(0x9E3779B97F4A7C15));
        return 8;
    }
    if (kind == 1) {
        hti_store_be64(key, i << 32);
        return 4;
    }
    const size_t size = 1 + i % 5 + i % 11 * 20;
    memset(key, 'k', size);
    hti_store_be64(key + (size > 60 ? 50 : 0), i * UINT64_C(0x9E3779B97F4A7C15));
    return size + 8 < MAX_KEY ? size + 8 : MAX_KEY;
}

/* Rows of even numbers; some values are too large for a page. */
static void fill(int kind, uint64_t n)
{
    static uint8_t value[10000];
    struct hti_kv_write *write;
    uint8_t key[MAX_KEY];

    ck_assert_int_eq(hti_kv_begin(kv, &write, &error), 0);
    for (uint64_t i = 0; i < 2 * n; i += 2) {
        const size_t size = i % 100 == 0 ? sizeof value : 1 + i % 60;
        memset(value, (int)(i % 251), size);
        const struct hti_kv_bytes k = { key, make_key(kind, i, key) }, v = { value, size };
        ck_assert_int_eq(hti_kv_put(write, ROWS, k, v, &error), 0);
    }
    ck_assert_int_eq(hti_kv_commit(write, &error), 0);
}

static void ask(const struct hti_kvsearch *search, int kind, uint64_t first, unsigned n, struct hti_kvsearch_key *keys)
{
    static uint8_t bytes[N_ASKED][MAX_KEY];

    for (unsigned k = 0; k < n; k++) {
        keys[k] = (struct hti_kvsearch_key){ .key = bytes[k], .result = HTI_KVSEARCH_ASK };
        keys[k].key_size = make_key(kind, first + k, bytes[k]);
    }
    hti_kvsearch_find(search, keys, n);
}

static void compare_with_lmdb(struct hti_kv_read *read, const struct hti_kvsearch_key *key)
{
    struct hti_kv_bytes value;
    const int rc = hti_kv_read_get(read, ROWS, (struct hti_kv_bytes){ key->key, key->key_size }, &value, &error);

    ck_assert_int_eq(key->result, rc == 0 ? HTI_KVSEARCH_FOUND : HTI_KVSEARCH_ABSENT);
    if (rc == 0) {
        ck_assert_ptr_eq(key->value, value.data);
        ck_assert_uint_eq(key->value_size, value.size);
    }
}

START_TEST(it_finds_what_lmdb_finds)
{
    static const uint64_t counts[] = { 1, 2, 30, 300, 20000 };
    struct hti_kvsearch_key keys[N_ASKED];
    struct hti_kvsearch search;
    struct hti_kv_read *read;

    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        fill(_i, counts[c]);
        ck_assert_int_eq(hti_kv_read_begin(kv, false, &read, &error), 0);
        ck_assert_int_eq(hti_kv_read_search(read, ROWS, &search, &error), 0);
        for (uint64_t first = 0; first < 2 * counts[c] + 50; first += 1 + sample_below(counts[c] / 20 + 1)) {
            const unsigned n = 1 + (unsigned)sample_below(N_ASKED);
            ask(&search, _i, first, n, keys);
            for (unsigned k = 0; k < n; k++)
                compare_with_lmdb(read, &keys[k]);
        }
        hti_kv_read_end(read);
    }
}
END_TEST

START_TEST(an_empty_table_has_no_keys_and_a_missing_one_cannot_be_searched)
{
    struct hti_kvsearch_key keys[3];
    struct hti_kvsearch search;
    struct hti_kv_read *read;

    ck_assert_int_eq(hti_kv_read_begin(kv, false, &read, &error), 0);
    ck_assert_int_eq(hti_kv_read_search(read, ROWS, &search, &error), 0);
    ask(&search, 0, 0, 3, keys);
    for (int k = 0; k < 3; k++)
        ck_assert_int_eq(keys[k].result, HTI_KVSEARCH_ABSENT);
    ck_assert_int_eq(hti_kv_read_search(read, 77, &search, &error), 1);
    hti_kv_read_end(read);
}
END_TEST

static uint8_t *copy_file(uint64_t *n_pages)
{
    char path[300];
    struct stat st;
    uint8_t *bytes;

    (void)snprintf(path, sizeof path, "%s/data.mdb", directory);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &st), 0);
    *n_pages = (uint64_t)st.st_size / PAGE;
    bytes = aligned_alloc(PAGE, *n_pages * PAGE);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(pread(fd, bytes, *n_pages * PAGE, 0), (ssize_t)(*n_pages * PAGE));
    close(fd);
    return bytes;
}

/* Values that it gives are inside the pages; the sanitizers see whatever else it reads. */
static void expect_inside(const struct hti_kvsearch *search, const struct hti_kvsearch_key *keys, unsigned n)
{
    const uint8_t *end = search->map + search->n_pages * PAGE;

    for (unsigned k = 0; k < n; k++) {
        if (keys[k].result != HTI_KVSEARCH_FOUND)
            continue;
        ck_assert(keys[k].value >= search->map && keys[k].value <= end);
        ck_assert_uint_le(keys[k].value_size, (size_t)(end - keys[k].value));
    }
}

START_TEST(damaged_pages_do_no_harm)
{
    struct hti_kvsearch_key keys[N_ASKED];
    struct hti_kvsearch search;
    struct hti_kv_read *read;
    uint64_t n_pages, n_asks = 0;

    fill(_i, 3000);
    ck_assert_int_eq(hti_kv_read_begin(kv, false, &read, &error), 0);
    ck_assert_int_eq(hti_kv_read_search(read, ROWS, &search, &error), 0);
    hti_kv_read_end(read);
    uint8_t *intact = copy_file(&n_pages),
            *bytes = malloc(n_pages * PAGE); /* not at a multiple of a page: all the same */
    ck_assert_ptr_nonnull(bytes);
    search.map = bytes;
    search.n_pages = n_pages;
    for (int round = 0; round < 300; round++) {
        memcpy(bytes, intact, n_pages * PAGE);
        for (int i = 0; i < 400; i++) /* headers and lists of entries more often than the rest */
            bytes[sample_below(n_pages) * PAGE + sample_below(i % 2 ? 60 : PAGE)] = (uint8_t)sample_random();
        ask(&search, _i, sample_below(6000), N_ASKED, keys);
        expect_inside(&search, keys, N_ASKED);
        for (unsigned k = 0; k < N_ASKED; k++)
            n_asks += keys[k].result == HTI_KVSEARCH_ASK;
    }
    ck_assert_uint_gt(n_asks, 100); /* it notices */
    search.root = n_pages; /* beyond the end */
    ask(&search, _i, 0, 1, keys);
    ck_assert_int_eq(keys[0].result, HTI_KVSEARCH_ASK);
    free(bytes);
    free(intact);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kvsearch");
    TCase *tests = tcase_create("kvsearch");

    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, it_finds_what_lmdb_finds, 0, 3);
    tcase_add_test(tests, an_empty_table_has_no_keys_and_a_missing_one_cannot_be_searched);
    tcase_add_loop_test(tests, damaged_pages_do_no_harm, 0, 3);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
