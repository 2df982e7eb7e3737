/* check_wreck: recovery of stores whose data.mdb is damaged: rows, pages, meta pages, the catalogue. */
#include "ruin.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "catalog.h"
#include "kvwalk.h"

/* ---- damage in data.mdb ---- */

START_TEST(a_spoiled_leaf_costs_its_rows_only)
{
    struct ruin_image *image = ruin_make_damaged();
    uint64_t at = ruin_find_bytes(ruin_data_path(), "one-000123", 10);
    ruin_spoil_at(ruin_data_path(), at / RUIN_PAGE_SIZE * RUIN_PAGE_SIZE, RUIN_PAGE_SIZE);
    RECOVERED(1);
    struct ruin_image *saved = ruin_image_of_saved();
    for (size_t i = 0; i < image->n; i++)
        if (strcmp(image->tables[i].name, "words") != 0)
            ruin_same_table(image, saved, image->tables[i].name);
    ruin_part_of_image(image, saved);
    ck_assert_uint_eq(ruin_report.n_tables, 6);
    ck_assert_uint_eq(ruin_report.n_damaged_tables, 1);
    ck_assert_uint_eq(ruin_report.n_damaged_pages, 1);
    ck_assert_uint_eq(ruin_report.n_lost_tables + ruin_report.n_lost_records + ruin_report.n_damaged_rows, 0);
    uint64_t lost = image->n_rows - saved->n_rows;
    ck_assert_msg(lost > 3 && lost < 60, "%ju rows lost", (uintmax_t)lost);
    char words[100];
    (void)snprintf(words, sizeof words, "table words: %ju of 700 rows readable", (uintmax_t)(700 - lost));
    WARNED(words);
}
END_TEST

START_TEST(a_changed_row_is_the_only_one_missing)
{
    struct ruin_image *image = ruin_make_damaged();
    uint64_t at = ruin_find_bytes(ruin_data_path(), "one-000123", 10);
    ruin_spoil_at(ruin_data_path(), at + 12, 1);
    RECOVERED(1);
    struct ruin_image *saved = ruin_image_of_saved();
    ruin_part_of_image(image, saved);
    ck_assert_uint_eq(saved->n_rows, image->n_rows - 1);
    size_t i = ruin_find_table(saved, "words");
    ck_assert_ptr_nonnull(strstr(image->tables[i].rows, "key-000123"));
    ck_assert_ptr_null(strstr(saved->tables[i].rows, "key-000123"));
    ck_assert_uint_eq(ruin_report.n_damaged_rows, 1);
    ck_assert_uint_eq(ruin_report.n_damaged_tables, 1);
    ck_assert_uint_eq(ruin_report.n_damaged_pages, 0);
    WARNED("table words: the row of key key-000123");
    WARNED("table words: 699 of 700 rows readable");
    ck_assert_ptr_null(strstr(ruin_log_text(), "one-"));
}
END_TEST

START_TEST(a_damaged_row_that_the_journal_writes_again_is_there)
{
    ruin_make_sound();
    struct htstore_table *table;
    OK(htstore_table_open(api.store, "words", NULL, &table, &api.error));
    ruin_add_texts(table, 123, 1, 16);
    ruin_close_table(table);
    struct ruin_image *image = ruin_kill();
    ruin_spoil_at(ruin_data_path(), ruin_find_bytes(ruin_data_path(), "one-000123", 10) + 12, 1);
    RECOVERED(1);
    ruin_same_image(image, ruin_image_of_saved());
    ck_assert_uint_eq(ruin_report.n_damaged_rows, 1);
}
END_TEST

START_TEST(keys_of_every_kind_are_named_in_the_log)
{
    static const struct {
        uint32_t dtype;
        const char *key, *words;
    } cases[] = {
        { HTSTORE_INT8, "-5", "key -5 " },
        { HTSTORE_INT64, "-5000000000", "key -5000000000 " },
        { HTSTORE_UINT64, "18446744073709551615", "key 18446744073709551615 " },
        { HTSTORE_BOOL, "1", "key 1 " },
        { HTSTORE_FLOAT32, "-2.5", "key -2.5 " },
        { HTSTORE_FLOAT64, "0.125", "key 0.125 " },
        { HTSTORE_STRING, "tab\tulator", "key tab\\x09ulator " },
    };
    (void)snprintf(api.path, sizeof api.path, "%s/damaged", api.directory);
    api_open_store();
    struct htstore_bytes bytes = htstore_string("tab\tulator");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "t%zu", i);
        struct htstore_table *table = ruin_make_table(name, cases[i].dtype, HTSTORE_STRING, "\\e");
        struct htstore_bytes text = htstore_string("find-me.");
        struct htstore_array key = htstore_scalar(HTSTORE_STRING, &bytes),
                             value = htstore_scalar(HTSTORE_STRING, &text);
        if (cases[i].dtype != HTSTORE_STRING)
            key = api_array(cases[i].dtype, cases[i].key);
        OK(htstore_table_insert(table, &key, &value, 0, &api.error));
        ruin_close_table(table);
    }
    api_close_store();
    struct ruin_content c = ruin_load(ruin_data_path());
    for (uint8_t *at = c.data; (at = memmem(at, (size_t)(c.data + c.size - at), "find-me.", 8)) != NULL;)
        at[5] = '!';
    ruin_save(ruin_data_path(), c.data, c.size);
    RECOVERED(1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        WARNED(cases[i].words);
    ck_assert_uint_eq(ruin_report.n_damaged_rows, sizeof cases / sizeof cases[0]);
    ck_assert_uint_eq(ruin_report.n_rows, 0);
}
END_TEST

START_TEST(many_damaged_rows_do_not_flood_the_log)
{
    ruin_make_damaged();
    struct ruin_content c = ruin_load(ruin_data_path());
    for (uint8_t *at = c.data; (at = memmem(at, (size_t)(c.data + c.size - at), "one-", 4)) != NULL;)
        at[1] = '!';
    ruin_save(ruin_data_path(), c.data, c.size);
    RECOVERED(1);
    ck_assert_uint_eq(ruin_report.n_damaged_rows, 760);
    ck_assert_uint_eq(ruin_report.n_damaged_tables, 2);
    ck_assert_uint_lt(ruin_n_lines, 12);
    WARNED("table words: 700 damaged rows in all");
    WARNED("table words: 0 of 700 rows readable");
}
END_TEST

START_TEST(many_damaged_pages_do_not_flood_the_log)
{
    ruin_make_damaged();
    for (unsigned i = 0; i < 700; i += 100) {
        char key[17];
        (void)snprintf(key, sizeof key, "key-%06u......", i);
        ruin_spoil_leaves(key, sizeof key);
    }
    RECOVERED(1);
    ruin_image_of_saved();
    ck_assert_uint_eq(ruin_report.n_damaged_pages, 7);
    ck_assert_uint_eq(ruin_report.n_damaged_tables, 1);
    ck_assert_uint_lt(ruin_n_lines, 8);
    WARNED("table words: 7 damaged pages in all");
}
END_TEST

START_TEST(the_catalogue_before_the_last_transaction_fills_gaps)
{
    struct ruin_image *image = ruin_make_damaged();
    ruin_spoil_at(ruin_data_path(), ruin_catalog_root(false) * RUIN_PAGE_SIZE, RUIN_PAGE_SIZE);
    RECOVERED(1);
    ruin_same_image(image, ruin_image_of_saved());
    ck_assert_uint_eq(ruin_report.n_damaged_pages, 1);
    ck_assert_uint_eq(ruin_report.n_lost_tables + ruin_report.n_damaged_tables + ruin_report.n_lost_records, 0);
}
END_TEST

START_TEST(the_state_before_the_last_transaction_is_used_when_the_newest_is_gone)
{
    struct ruin_image *image = ruin_make_damaged();
    ruin_spoil_at(ruin_data_path(), ruin_main_root(ruin_newest_meta()) * RUIN_PAGE_SIZE, RUIN_PAGE_SIZE);
    RECOVERED(1);
    ruin_same_image(image, ruin_image_of_saved());
    WARNED("the catalogue of the last transaction is not found");
    WARNED("its rows are those before the last transaction");
}
END_TEST

START_TEST(the_journal_makes_up_for_a_lost_transaction)
{
    ruin_make_sound();
    api_reopen();
    struct htstore_table *table;
    OK(htstore_table_open(api.store, "ints", NULL, &table, &api.error));
    for (unsigned i = 0; i < 6; i++)
        ruin_add_rows(table, 2990 + i * 10, 10, HTSTORE_LAZY);
    ruin_close_table(table);
    OK(htstore_flush(api.store, &api.error));
    struct ruin_image *image = ruin_kill();
    ruin_spoil_at(ruin_data_path(), ruin_main_root(ruin_newest_meta()) * RUIN_PAGE_SIZE, RUIN_PAGE_SIZE);
    RECOVERED(1);
    ruin_same_image(image, ruin_image_of_saved());
    ck_assert_uint_eq(ruin_report.n_records, 6);
    ck_assert_uint_eq(ruin_report.n_lost_records, 0);
}
END_TEST

START_TEST(both_catalogues_gone_is_too_much)
{
    ruin_make_damaged();
    uint64_t newest = ruin_catalog_root(false), older = ruin_catalog_root(true);
    ck_assert_uint_ne(newest, older);
    ruin_spoil_at(ruin_data_path(), newest * RUIN_PAGE_SIZE, RUIN_PAGE_SIZE);
    ruin_spoil_at(ruin_data_path(), older * RUIN_PAGE_SIZE, RUIN_PAGE_SIZE);
    RECOVERED(HTSTORE_ECORRUPT);
    ck_assert_ptr_nonnull(strstr(api.error.message, "nothing can be recovered"));
}
END_TEST

START_TEST(both_main_trees_gone_are_too_much)
{
    ruin_make_damaged();
    uint64_t newest = ruin_main_root(ruin_newest_meta()), older = ruin_main_root(!ruin_newest_meta());
    ck_assert_uint_ne(newest, older);
    ruin_spoil_at(ruin_data_path(), newest * RUIN_PAGE_SIZE, RUIN_PAGE_SIZE);
    ruin_spoil_at(ruin_data_path(), older * RUIN_PAGE_SIZE, RUIN_PAGE_SIZE);
    RECOVERED(HTSTORE_ECORRUPT);
}
END_TEST

#define N_BIG 30

/* Killed: N_BIG batches, a flush as the last transaction, which freed all but one segment, and three more batches. */
static struct ruin_image *make_flushed(void)
{
    ruin_make_sound();
    api_reopen();
    struct htstore_table *long_keys, *ints;
    OK(htstore_table_open(api.store, "long", NULL, &long_keys, &api.error));
    OK(htstore_table_open(api.store, "ints", NULL, &ints, &api.error));
    for (unsigned i = 0; i < N_BIG; i++)
        ruin_add_texts(long_keys, 60 + i * 10, 10, 700);
    OK(htstore_flush(api.store, &api.error));
    for (unsigned i = 0; i < 3; i++)
        ruin_add_rows(ints, 5000 + i, 1, HTSTORE_SYNC);
    ruin_close_table(long_keys);
    ruin_close_table(ints);
    return ruin_kill();
}

START_TEST(what_the_last_catalogue_had_applied_is_not_lost_with_it)
{
    struct ruin_image *image = make_flushed();
    ruin_spoil_at(ruin_data_path(), ruin_catalog_root(false) * RUIN_PAGE_SIZE, RUIN_PAGE_SIZE);
    RECOVERED(1);
    ruin_same_image(image, ruin_image_of_saved());
    ck_assert_uint_eq(ruin_report.n_lost_records + ruin_report.n_damaged_tables, 0);
    ck_assert_uint_ge(ruin_report.n_records, 3);
    ck_assert_uint_lt(ruin_report.n_records, N_BIG);
}
END_TEST

START_TEST(what_neither_the_older_state_nor_the_journal_has_is_counted)
{
    struct ruin_image *image = make_flushed();
    ruin_spoil_at(ruin_data_path(), ruin_main_root(ruin_newest_meta()) * RUIN_PAGE_SIZE, RUIN_PAGE_SIZE);
    RECOVERED(1);
    ruin_part_of_image(image, ruin_image_of_saved());
    ck_assert_uint_gt(ruin_report.n_lost_records, 10);
    ck_assert_uint_eq(ruin_report.n_lost_records + ruin_report.n_records, N_BIG + 3);
}
END_TEST

START_TEST(one_meta_page_is_enough)
{
    struct ruin_image *image = ruin_make_damaged();
    uint64_t meta = _i == 0 ? ruin_newest_meta() : !ruin_newest_meta();
    ruin_spoil_at(ruin_data_path(), meta * RUIN_PAGE_SIZE + 16, 120);
    RECOVERED(1);
    ruin_same_image(image, ruin_image_of_saved());
    ck_assert_uint_eq(ruin_report.n_damaged_pages, 1);
    WARNED("what the last transaction wrote may be missing");
}
END_TEST

START_TEST(without_meta_pages_nothing_is_found)
{
    ruin_make_damaged();
    for (uint64_t meta = 0; meta < 2; meta++)
        ruin_write_at(ruin_data_path(), meta * RUIN_PAGE_SIZE + 128, "\x01\0\0\0\0\0\0\0", 8);
    RECOVERED(HTSTORE_ECORRUPT);
    ruin_spoil_at(ruin_data_path(), 0, 2 * RUIN_PAGE_SIZE);
    RECOVERED(HTSTORE_EFORMAT);
}
END_TEST

START_TEST(a_truncated_file_gives_what_is_left)
{
    ruin_make_sound();
    ruin_write_unflushed();
    struct ruin_image *image = ruin_kill();
    struct ruin_content c = ruin_load(ruin_data_path());
    unsigned n_saved = 0;
    for (size_t i = 1; i <= 16; i++) {
        ck_assert_int_eq(truncate(ruin_data_path(), (off_t)(c.size * i / 16)), 0);
        int result = ruin_recover();
        ck_assert_msg(result == (i == 16 ? 0 : 1) || result == HTSTORE_ECORRUPT, "%zu/16: %d %s\n%s", i, result,
                      api.error.message, ruin_log_text());
        ruin_save(ruin_data_path(), c.data, c.size);
        if (result < 0)
            continue;
        ruin_part_of_image(image, ruin_image_of_saved());
        ck_assert(ruin_log_has(HTSTORE_LOG_INFO, "cut short") || i == 16);
        n_saved++;
        ruin_remove("saved");
    }
    ck_assert_uint_gt(n_saved, 0);
}
END_TEST

START_TEST(a_bad_sector_costs_its_page_only)
{
    struct ruin_image *image = ruin_make_damaged();
    struct stat status;
    uint64_t at = ruin_find_bytes(ruin_data_path(), "one-000123", 10);
    ck_assert_int_eq(stat(ruin_data_path(), &status), 0);
    const char *before = ruin_folder_text(api_path("damaged"));
    ruin_bad_sector.begin = (off_t)(at / 512 * 512);
    ruin_bad_sector.end = ruin_bad_sector.begin + 512;
    ruin_bad_sector.inode = status.st_ino;
    ruin_report = ruin_untouched;
    ck_assert_int_eq(htstore_recover(api_path("damaged"), api_path("saved"), NULL, &ruin_report, &api.error), 1);
    ruin_bad_sector.inode = 0;
    ck_assert_str_eq(ruin_folder_text(api_path("damaged")), before);
    ck_assert_uint_eq(ruin_report.n_damaged_pages, 1);
    ck_assert_uint_gt(ruin_report.n_rows, image->n_rows - 60);
    ruin_part_of_image(image, ruin_image_of_saved());
}
END_TEST

/* ---- a catalogue of many pages ---- */

/* The name of the last database of rows. */
static int take_name(void *user, const uint8_t *name, size_t size, const struct hti_kvpage_tree *tree)
{
    char *text = user;
    if (size == 17 && tree->n_entries == 3)
        memcpy(text, name, size);
    return 0;
}

static void name_database(char name[18])
{
    struct hti_kvwalk *file;
    int fd = open(ruin_data_path(), O_RDONLY | O_CLOEXEC);
    memset(name, 0, 18);
    OK(hti_kvwalk_open(fd, false, "data.mdb", &file, &api.error));
    OK(hti_kvwalk_list_trees(file, take_name, NULL, name, &api.error));
    ck_assert_uint_eq(strlen(name), 17);
    hti_kvwalk_close(file);
    close(fd);
}

START_TEST(tables_whose_description_is_gone_are_lost_and_the_others_whole)
{
    struct ruin_image *image = ruin_make_many();
    ruin_spoil_catalog_leaf(1, 59);
    RECOVERED(1);
    struct ruin_image *saved = ruin_image_of_saved();
    ck_assert_msg(saved->n > RUIN_N_MANY / 4 && saved->n < RUIN_N_MANY, "%zu tables are left", saved->n);
    ck_assert_uint_eq(ruin_report.n_lost_tables, RUIN_N_MANY - saved->n);
    for (size_t i = 0; i < saved->n; i++)
        ruin_same_table(image, saved, saved->tables[i].name);
    ck_assert_uint_eq(ruin_report.n_damaged_tables, 0);
    ck_assert_uint_ge(ruin_report.n_damaged_pages, 1); /* 2 if the state before had an older copy of the page */
    WARNED("is lost: its description is missing or damaged");
    WARNED("records are readable");
}
END_TEST

START_TEST(rows_are_found_without_totals)
{
    struct ruin_image *image = ruin_make_many();
    ruin_spoil_catalog_leaf(2, 59);
    RECOVERED(1);
    ruin_same_image(image, ruin_image_of_saved());
    ck_assert_uint_eq(ruin_report.n_lost_tables, 0);
    ck_assert_uint_eq(ruin_report.n_damaged_tables, 0);
    ck_assert_uint_ge(ruin_report.n_damaged_pages, 1);
}
END_TEST

/* The leaf of a tree, below this page, that has the key; 0: none. */
static uint64_t leaf_with(uint64_t page, const void *key, size_t key_size)
{
    uint8_t *data = ruin_load(ruin_data_path()).data + page * RUIN_PAGE_SIZE;
    unsigned n = (hti_load_le16(data + 12) - 16u) / 2;
    uint64_t found = 0;
    if (hti_load_le16(data + 10) == 2)
        return ruin_find_entry(data, key, key_size) ? page : 0;
    for (unsigned i = 0; i < n && !found; i++)
        found = leaf_with(hti_load_le32(data + hti_load_le16(data + 16 + 2 * (size_t)i)), key, key_size);
    return found;
}

/* A cleared table whose old rows are still in the file. The last transaction has cleared it. */
static struct ruin_image *make_cleared(uint8_t totals_key[9])
{
    struct htstore_cursor *cursor;
    struct htstore_table *cleared, *walked;
    ruin_make_many();
    api.options.flush_age_ms = 3600000;
    api_open_store();
    OK(htstore_table_open(api.store, "t051-with-a-name-that-takes-some-room-on-its-page", NULL, &cleared, &api.error));
    OK(htstore_table_open(api.store, "t052-with-a-name-that-takes-some-room-on-its-page", NULL, &walked, &api.error));
    OK(htstore_cursor_open(walked, &cursor, &api.error)); /* keeps old pages from being used again */
    OK(htstore_table_clear(cleared, 0, &api.error));
    OK(htstore_flush(api.store, &api.error));
    memset(totals_key, 0, 9);
    totals_key[0] = 2;
    hti_store_be64(totals_key + 1, htstore_table_id(cleared));
    ruin_copy("sound", "damaged");
    htstore_cursor_close(cursor);
    ruin_close_table(cleared);
    ruin_close_table(walked);
    struct ruin_image *image = ruin_image_of(api.store);
    api_close_store();
    return image;
}

START_TEST(cleared_rows_do_not_come_back)
{
    uint8_t key[9];
    struct ruin_image *image = make_cleared(key);
    if (_i == 0) /* all that is known of totals */
        ruin_spoil_leaves(key, sizeof key);
    else /* what the last transaction wrote */
        ruin_spoil_at(ruin_data_path(), leaf_with(ruin_catalog_root(false), key, sizeof key) * RUIN_PAGE_SIZE,
                      RUIN_PAGE_SIZE);
    RECOVERED(1);
    ruin_same_image(image, ruin_image_of_saved());
    ck_assert_uint_eq(ruin_report.n_damaged_tables, 1);
    WARNED(_i == 0 ? "table t051-with-a-name-that-takes-some-room-on-its-page: its totals are missing"
                   : "table t051-with-a-name-that-takes-some-room-on-its-page: 0 of 3 rows readable");
}
END_TEST

START_TEST(databases_that_the_main_tree_has_lost_are_told)
{
    char name[18];
    struct ruin_image *image = ruin_make_many();
    name_database(name);
    ruin_spoil_leaves(name, 17);
    RECOVERED(1);
    struct ruin_image *saved = ruin_image_of_saved();
    ruin_part_of_image(image, saved);
    ck_assert_uint_eq(saved->n, RUIN_N_MANY);
    ck_assert_uint_gt(ruin_report.n_damaged_tables, 10);
    ck_assert_uint_eq(ruin_report.n_rows, (RUIN_N_MANY - ruin_report.n_damaged_tables) * 3);
    WARNED(": 0 of 3 rows readable");
}
END_TEST

/* The store's own record: 9 zero bytes are its key, "HTST" is how it begins. */
static void spoil_store_record(size_t offset, uint8_t value)
{
    struct ruin_content c = ruin_load(ruin_data_path());
    uint8_t *at = c.data;
    unsigned n = 0;
    for (; (at = memmem(at, (size_t)(c.data + c.size - at), "HTST", 4)) != NULL; at += 4, n++)
        at[offset] = value;
    ck_assert_uint_gt(n, 0);
    ruin_save(ruin_data_path(), c.data, c.size);
}

START_TEST(without_the_stores_record_the_whole_journal_is_applied)
{
    ruin_make_sound();
    ruin_write_unflushed();
    struct ruin_image *image = ruin_kill();
    spoil_store_record(30, 0x77);
    RECOVERED(1);
    ruin_same_image(image, ruin_image_of_saved());
    WARNED("the store record 0 of the catalogue is damaged");
    WARNED("all of its journal counts");
    ck_assert_uint_eq(ruin_report.n_lost_records + ruin_report.n_damaged_tables + ruin_report.n_lost_tables, 0);
}
END_TEST

START_TEST(a_store_of_a_newer_version_is_refused)
{
    ruin_make_damaged();
    spoil_store_record(4, 2);
    RECOVERED(HTSTORE_EVERSION);
}
END_TEST

START_TEST(rows_of_other_tables_are_not_taken)
{
    struct ruin_image *image = ruin_make_many();
    char name[18];
    name_database(name);
    /* its record in the main tree becomes that of the first database on the same page */
    struct ruin_content c = ruin_load(ruin_data_path());
    for (size_t page = 2; page < c.size / RUIN_PAGE_SIZE; page++) {
        uint8_t *data = c.data + page * RUIN_PAGE_SIZE, *record = ruin_find_entry(data, name, 17);
        if (!record)
            continue;
        uint8_t *other = data + hti_load_le16(data + 16) + 8 + 17;
        if (other != record && memcmp(other - 17, "t00000", 6) == 0)
            memcpy(record, other, 48);
    }
    ruin_save(ruin_data_path(), c.data, c.size);
    RECOVERED(1);
    ruin_part_of_image(image, ruin_image_of_saved());
    ck_assert_uint_eq(ruin_report.n_damaged_tables, 1);
    ck_assert_uint_eq(ruin_report.n_damaged_rows, 3);
    ck_assert_uint_eq(ruin_report.n_rows, (RUIN_N_MANY - 1) * 3);
}
END_TEST

/* ---- catalogues that no library wrote ---- */

static void change_catalog(int (*change)(struct hti_kv_write *write, struct htstore_error *error))
{
    int fd = open(api_path("damaged"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct hti_kv_options options = {
        .dir_fd = fd, .path = "damaged", .map_size = 1 << 24, .max_pinned = 8, .max_readers = 126
    };
    struct hti_kv_write *write;
    struct hti_kv *kv;
    OK(hti_kv_open(&options, &kv, &api.error));
    OK(hti_kv_acquire(kv, HTI_KV_CATALOG, false, &api.error));
    OK(hti_kv_begin(kv, &write, &api.error));
    OK(change(write, &api.error));
    OK(hti_kv_commit(write, &api.error));
    hti_kv_close(kv);
    close(fd);
}

static int put_twin(struct hti_kv_write *write, struct htstore_error *error)
{
    char name[] = "ints";
    uint8_t zero[8] = { 0 };
    struct hti_object_record twin = { .id = 1000,
                                      .kind = HTSTORE_KIND_TABLE,
                                      .name = name,
                                      .key_dtype = HTSTORE_INT64,
                                      .value_dtype = HTSTORE_INT64,
                                      .default_value = zero,
                                      .default_size = sizeof zero };
    struct hti_totals_record totals = { .id = 1000 };
    int result = hti_catalog_put_object(write, &twin, error);
    return result ? result : hti_catalog_put_totals(write, &totals, error);
}

START_TEST(of_two_tables_of_one_name_the_later_counts)
{
    struct ruin_image *image = ruin_make_damaged();
    change_catalog(put_twin);
    RECOVERED(0);
    struct ruin_image *saved = ruin_image_of_saved();
    ck_assert_uint_eq(saved->n, 6);
    ck_assert_uint_eq(saved->tables[ruin_find_table(saved, "ints")].n_rows, 0);
    ruin_same_table(image, saved, "words");
    ck_assert(ruin_log_has(HTSTORE_LOG_INFO, "table ints is not recovered: a later object has its name"));
}
END_TEST

static int change_digest(struct hti_kv_write *write, struct htstore_error *error)
{
    uint8_t space[HTI_CATALOG_KEY_SIZE];
    struct hti_totals_record totals;
    struct hti_kv_bytes value;
    OK(hti_kv_get(write, HTI_KV_CATALOG, hti_catalog_key(HTI_CATALOG_TOTALS, 1, space), &value, error));
    OK(hti_catalog_decode_totals(1, value, &totals, error));
    totals.digest.low++;
    return hti_catalog_put_totals(write, &totals, error);
}

START_TEST(rows_that_do_not_make_up_the_digest_are_told)
{
    struct ruin_image *image = ruin_make_damaged();
    change_catalog(change_digest);
    RECOVERED(1);
    ruin_same_image(image, ruin_image_of_saved());
    ck_assert_uint_eq(ruin_report.n_damaged_tables, 1);
    WARNED("table ints: rows were lost or altered");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wreck");
    TCase *tests = tcase_create("wreck");
    tcase_add_checked_fixture(tests, api_setup, api_teardown);
    tcase_add_test(tests, a_spoiled_leaf_costs_its_rows_only);
    tcase_add_test(tests, a_changed_row_is_the_only_one_missing);
    tcase_add_test(tests, a_damaged_row_that_the_journal_writes_again_is_there);
    tcase_add_test(tests, keys_of_every_kind_are_named_in_the_log);
    tcase_add_test(tests, many_damaged_rows_do_not_flood_the_log);
    tcase_add_test(tests, many_damaged_pages_do_not_flood_the_log);
    tcase_add_test(tests, the_catalogue_before_the_last_transaction_fills_gaps);
    tcase_add_test(tests, the_state_before_the_last_transaction_is_used_when_the_newest_is_gone);
    tcase_add_test(tests, the_journal_makes_up_for_a_lost_transaction);
    tcase_add_test(tests, both_catalogues_gone_is_too_much);
    tcase_add_test(tests, both_main_trees_gone_are_too_much);
    tcase_add_test(tests, what_the_last_catalogue_had_applied_is_not_lost_with_it);
    tcase_add_test(tests, what_neither_the_older_state_nor_the_journal_has_is_counted);
    tcase_add_loop_test(tests, one_meta_page_is_enough, 0, 2);
    tcase_add_test(tests, without_meta_pages_nothing_is_found);
    tcase_add_test(tests, a_truncated_file_gives_what_is_left);
    tcase_add_test(tests, a_bad_sector_costs_its_page_only);
    tcase_add_test(tests, tables_whose_description_is_gone_are_lost_and_the_others_whole);
    tcase_add_test(tests, rows_are_found_without_totals);
    tcase_add_loop_test(tests, cleared_rows_do_not_come_back, 0, 2);
    tcase_add_test(tests, databases_that_the_main_tree_has_lost_are_told);
    tcase_add_test(tests, without_the_stores_record_the_whole_journal_is_applied);
    tcase_add_test(tests, a_store_of_a_newer_version_is_refused);
    tcase_add_test(tests, rows_of_other_tables_are_not_taken);
    tcase_add_test(tests, of_two_tables_of_one_name_the_later_counts);
    tcase_add_test(tests, rows_that_do_not_make_up_the_digest_are_told);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
