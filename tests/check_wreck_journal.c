/* check_wreck_journal: recovery of stores whose journal is damaged: records, segments, and what proves a loss. */
#include "ruin.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "hash.h"
#include "mem.h"
#include "segment.h"

/* ---- damage in the journal ---- */

#define N_RECORDS 9

/* A killed store with N_RECORDS batches of one row; every one is synced if asked for. */
static void make_journal(uint32_t durability)
{
    ruin_make_sound();
    api_reopen();
    struct htstore_table *table;
    OK(htstore_table_open(api.store, "ints", NULL, &table, &api.error));
    for (unsigned i = 0; i < N_RECORDS; i++)
        ruin_add_rows(table, 10000 + i, 1, durability);
    ruin_close_table(table);
    ruin_copy("sound", "damaged");
    api_close_store();
}

/* Where record `index` of the segment begins; *size is what it takes. */
static uint64_t record_place(uint64_t number, unsigned index, uint64_t *size)
{
    struct ruin_content c = ruin_load(ruin_segment_path(number));
    struct hti_record_header header;
    struct hti_segment segment;
    uint64_t offset = 0;
    int fd = open(api_path("damaged/journal"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    OK(hti_segment_open(fd, "journal", c.data + 16, number, &segment, &api.error));
    for (unsigned i = 0; i <= index; i++) {
        offset = segment.offset;
        OK(hti_segment_read(&segment, &header, NULL, &api.error));
    }
    *size = segment.offset - offset;
    hti_segment_close(&segment);
    close(fd);
    return offset;
}

/* `part` 0: the header, 1: the payload, 2: all of it. */
static void spoil_record(uint64_t number, unsigned index, int part)
{
    uint64_t size, offset = record_place(number, index, &size);
    if (part == 0)
        ruin_spoil_at(ruin_segment_path(number), offset + 8, 3);
    else if (part == 1)
        ruin_spoil_at(ruin_segment_path(number), offset + HTI_RECORD_HEADER_SIZE + 45, 1);
    else
        ruin_spoil_at(ruin_segment_path(number), offset, size);
}

static bool has_row(const struct ruin_image *image, unsigned number)
{
    char text[16];
    (void)snprintf(text, sizeof text, "1");
    struct htstore_array key = api_numbered(HTSTORE_INT64, text, number);
    struct htstore_array one = api_row(&key, 0);
    char line[64];
    (void)snprintf(line, sizeof line, "\n%s=", api_text(&one));
    return strstr(image->tables[ruin_find_table(image, "ints")].rows, line) != NULL;
}

START_TEST(a_damaged_record_that_was_synced_is_the_only_one_lost)
{
    struct htstore *store;
    make_journal(HTSTORE_SYNC);
    spoil_record(ruin_segment_number(), 4, _i);
    ruin_copy("damaged", "again");
    REFUSED(htstore_open(api_path("again"), NULL, &store, &api.error), HTSTORE_ECORRUPT, "journal is damaged");
    RECOVERED(1);
    struct ruin_image *image = ruin_image_of_saved();
    ck_assert_uint_eq(ruin_report.n_lost_records, 1);
    ck_assert_uint_eq(ruin_report.n_records, N_RECORDS - 1);
    for (unsigned i = 0; i < N_RECORDS; i++)
        ck_assert_int_eq(has_row(image, 10000 + i), i != 4);
    ck_assert_uint_eq(ruin_report.n_damaged_tables + ruin_report.n_damaged_pages, 0);
    WARNED("had been synced");
}
END_TEST

START_TEST(several_gaps_are_counted)
{
    make_journal(HTSTORE_SYNC);
    spoil_record(ruin_segment_number(), 6, 1);
    spoil_record(ruin_segment_number(), 3, 2);
    spoil_record(ruin_segment_number(), 2, 1);
    spoil_record(ruin_segment_number(), 0, 0);
    RECOVERED(1);
    ruin_image_of_saved();
    ck_assert_uint_eq(ruin_report.n_lost_records, 4);
    ck_assert_uint_eq(ruin_report.n_records, N_RECORDS - 4);
}
END_TEST

/* A tear is handled as htstore_open() handles it. */
START_TEST(a_torn_tail_is_no_loss)
{
    make_journal(_i == 0 ? HTSTORE_SYNC : HTSTORE_LAZY);
    spoil_record(ruin_segment_number(), _i == 0 ? N_RECORDS - 1 : 3, 1);
    ruin_copy("damaged", "again");
    struct ruin_image *opened = ruin_image_at("again");
    RECOVERED(0);
    struct ruin_image *saved = ruin_image_of_saved();
    ruin_same_image(opened, saved);
    ck_assert_uint_eq(ruin_report.n_records, _i == 0 ? N_RECORDS - 1 : 3);
    ck_assert_int_eq(has_row(saved, 10000 + N_RECORDS - 1), 0);
}
END_TEST

START_TEST(a_damaged_segment_header_costs_nothing)
{
    struct htstore *store;
    ruin_make_sound();
    api_reopen();
    ruin_write_unflushed();
    struct ruin_image *image = ruin_kill();
    ruin_spoil_at(ruin_segment_path(ruin_segment_number()), 0, 64);
    ruin_copy("damaged", "again");
    REFUSED(htstore_open(api_path("again"), NULL, &store, &api.error), HTSTORE_ECORRUPT, "header");
    RECOVERED(0);
    ruin_same_image(image, ruin_image_of_saved());
    ck_assert(ruin_log_has(HTSTORE_LOG_INFO, "its header is damaged; the records are read all the same"));
}
END_TEST

START_TEST(a_segment_of_garbage_is_told)
{
    make_journal(HTSTORE_SYNC);
    ruin_spoil_at(ruin_segment_path(ruin_segment_number()), 0, 64 << 10);
    RECOVERED(1);
    ruin_image_of_saved();
    WARNED("its header is damaged, and no record of it is found");
    ck_assert_uint_eq(ruin_report.n_records, 0);
}
END_TEST

START_TEST(a_segment_of_another_store_is_not_used)
{
    make_journal(HTSTORE_SYNC);
    struct ruin_content c = ruin_load(ruin_segment_path(ruin_segment_number()));
    c.data[20] ^= 1;
    hti_store_le64(c.data + 56, hti_hash64(c.data, 56, 0));
    ruin_save(ruin_segment_path(ruin_segment_number()), c.data, c.size);
    RECOVERED(1);
    ruin_image_of_saved();
    WARNED("belongs to another store");
    ck_assert_uint_eq(ruin_report.n_records, 0);
}
END_TEST

START_TEST(a_missing_segment_is_counted)
{
    ruin_make_sound();
    api_close_store();
    api.options.delta_bytes = 16 << 20;
    api_open_store();
    struct htstore_table *table;
    OK(htstore_table_open(api.store, "long", NULL, &table, &api.error));
    for (unsigned i = 0; i < 30; i++)
        ruin_add_texts(table, i * 10, 10, 700);
    ruin_close_table(table);
    struct ruin_image *image = ruin_kill();
    uint64_t first = ruin_find_segment(false);
    ck_assert_uint_ge(ruin_find_segment(true), first + 3);
    ck_assert_int_eq(unlink(ruin_segment_path(first + 1)), 0);
    RECOVERED(1);
    ruin_part_of_image(image, ruin_image_of_saved());
    ck_assert_uint_gt(ruin_report.n_lost_records, 0);
    ck_assert_uint_eq(ruin_report.n_lost_records + ruin_report.n_records, 30);
}
END_TEST

START_TEST(a_missing_journal_is_a_loss_unless_the_store_was_closed)
{
    make_journal(HTSTORE_SYNC);
    ruin_remove("damaged/journal");
    RECOVERED(1);
    ruin_image_of_saved();
    WARNED("the journal is missing");
    ruin_remove("saved");
    ruin_copy("sound", "damaged");
    ruin_remove("damaged/journal");
    RECOVERED(0);
    ruin_image_of_saved();
}
END_TEST

/* A power cut can bring back segments that the last open had used up and deleted. */
START_TEST(segments_of_earlier_sessions_are_not_read)
{
    make_journal(HTSTORE_LAZY);
    spoil_record(ruin_segment_number(), 3, 1);
    ruin_copy("damaged", "sound");
    struct ruin_content stale = ruin_load(ruin_segment_path(ruin_segment_number()));
    uint64_t stale_number = ruin_segment_number();
    api_open_store();
    OK(htstore_flush(api.store, &api.error));
    struct htstore_table *table;
    OK(htstore_table_open(api.store, "ints", NULL, &table, &api.error));
    for (unsigned i = 0; i < 3; i++)
        ruin_add_rows(table, 20000 + i, 1, HTSTORE_SYNC);
    ruin_close_table(table);
    struct ruin_image *image = ruin_kill();
    ruin_save(ruin_segment_path(stale_number), stale.data, stale.size);
    RECOVERED(0);
    ruin_same_image(image, ruin_image_of_saved());
    ck_assert_uint_eq(ruin_report.n_records, 3);
}
END_TEST

/* A second segment that begins with the first record of the first one. */
static void add_copy(uint64_t number)
{
    struct ruin_content c = ruin_load(ruin_segment_path(number));
    struct hti_record_header header;
    struct hti_segment segment;
    struct hti_record *record;
    int file, fd = open(api_path("damaged/journal"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    OK(hti_segment_open(fd, "journal", c.data + 16, number, &segment, &api.error));
    OK(hti_segment_read(&segment, &header, &record, &api.error));
    OK(hti_segment_create_with(fd, "journal", c.data + 16, number + 7, 65536, record, &file, &api.error));
    hti_record_free(record);
    hti_segment_close(&segment);
    close(file);
    close(fd);
}

/* A recovery was killed before it deleted what it had copied, and the copies have rotted but for the first. */
START_TEST(a_copy_does_not_undo_what_followed_it)
{
    struct htstore_table *table;

    ruin_make_sound();
    api_reopen();
    OK(htstore_table_open(api.store, "ints", NULL, &table, &api.error));
    ruin_add_rows(table, 20000, 1, HTSTORE_SYNC);
    OK(htstore_table_clear(table, HTSTORE_SYNC, &api.error));
    ruin_close_table(table);
    struct ruin_image *image = ruin_kill();
    add_copy(ruin_segment_number());
    RECOVERED(0);
    ruin_same_image(image, ruin_image_of_saved());
    ck_assert_uint_eq(ruin_report.n_records, 2);
}
END_TEST

START_TEST(a_bad_sector_in_the_journal_costs_its_records_only)
{
    struct stat status;
    make_journal(HTSTORE_SYNC);
    uint64_t size, offset = record_place(ruin_segment_number(), 4, &size);
    ck_assert_int_eq(stat(ruin_segment_path(ruin_segment_number()), &status), 0);
    ruin_bad_sector.begin = (off_t)(_i == 0 ? offset + 64 : 0);
    ruin_bad_sector.end = ruin_bad_sector.begin + 8;
    ruin_bad_sector.inode = status.st_ino;
    ruin_report = ruin_untouched;
    int result = htstore_recover(api_path("damaged"), api_path("saved"), NULL, &ruin_report, &api.error);
    ruin_bad_sector.inode = 0;
    ck_assert_int_eq(result, _i == 0);
    ck_assert_uint_ge(ruin_report.n_records, _i == 0 ? 4 : N_RECORDS);
}
END_TEST

START_TEST(operations_on_lost_tables_are_left_out)
{
    ruin_make_many();
    (void)snprintf(api.path, sizeof api.path, "%s/sound", api.directory);
    api_open_store();
    const struct htstore_object *objects;
    uint64_t n;
    OK(htstore_list(api.store, api.arena, &objects, &n, &api.error));
    for (uint64_t i = 0; i < 2 * n; i++) {
        struct htstore_table *table;
        if (i == n)
            OK(htstore_flush(api.store, &api.error));
        OK(htstore_table_open(api.store, objects[i % n].name, NULL, &table, &api.error));
        ruin_add_rows(table, 900 + i / n, 2, HTSTORE_SYNC);
        ruin_close_table(table);
    }
    struct ruin_image *image = ruin_kill();
    ruin_spoil_catalog_leaf(1, 59);
    RECOVERED(1);
    struct ruin_image *saved = ruin_image_of_saved();
    ck_assert_uint_gt(ruin_report.n_lost_tables, 0);
    ck_assert_uint_ge(ruin_report.n_records, saved->n); /* more if the segment before is still there */
    ck_assert_uint_eq(ruin_report.n_lost_records, 0);
    for (size_t i = 0; i < saved->n; i++)
        ruin_same_table(image, saved, saved->tables[i].name);
}
END_TEST

/* Append a record of one row of a table to the journal. */
static void append_record(uint64_t table_id, uint32_t value_dtype, uint64_t durable_lsn)
{
    struct ruin_content c = ruin_load(ruin_segment_path(ruin_segment_number()));
    uint64_t key = 123456789, value = 5, size, place = record_place(ruin_segment_number(), N_RECORDS - 1, &size);
    struct hti_row row = { &key, sizeof key, &value, htstore_dtype_size(value_dtype) };
    struct hti_record *record = hti_record_new();
    struct hti_op_builder builder;
    struct hti_row_type type;
    hti_row_type_init(&type, HTSTORE_INT64, value_dtype, 1);
    hti_op_builder_init(&builder, table_id, &type, HTI_OP_PUT);
    ck_assert_int_eq(hti_op_builder_row(&builder, &row), 0);
    OK(hti_op_builder_finish(&builder, record, &api.error));
    hti_op_builder_release(&builder);
    hti_record_seal(record);
    hti_record_stamp(record, hti_load_le64(c.data + place + 8) + 1, durable_lsn,
                     hti_segment_binding(c.data + 16, ruin_segment_number()));
    ruin_write_at(ruin_segment_path(ruin_segment_number()), place + size, record->buf.data, record->buf.size);
    hti_record_free(record);
}

START_TEST(a_record_that_does_not_fit_its_table_is_lost)
{
    make_journal(HTSTORE_SYNC);
    append_record(1, HTSTORE_INT32, 0);
    RECOVERED(1);
    ruin_image_of_saved();
    ck_assert_uint_eq(ruin_report.n_lost_records, 1);
    ck_assert_uint_eq(ruin_report.n_records, N_RECORDS);
    WARNED("does not fit the tables");
}
END_TEST

START_TEST(a_table_that_only_the_journal_knows_is_lost)
{
    make_journal(HTSTORE_SYNC);
    append_record(777, HTSTORE_INT64, 0);
    RECOVERED(1);
    ruin_image_of_saved();
    ck_assert_uint_eq(ruin_report.n_lost_tables, 1);
    ck_assert_uint_eq(ruin_report.n_records, N_RECORDS);
    WARNED("object number 777 is lost");
}
END_TEST

START_TEST(a_record_cannot_prove_what_comes_after_it)
{
    make_journal(HTSTORE_SYNC);
    append_record(1, HTSTORE_INT64, UINT64_C(1) << 60);
    RECOVERED(0);
    ruin_image_of_saved();
    ck_assert_uint_eq(ruin_report.n_lost_records, 0);
    ck_assert_uint_eq(ruin_report.n_records, N_RECORDS + 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wreck_journal");
    TCase *tests = tcase_create("wreck_journal");
    tcase_add_checked_fixture(tests, api_setup, api_teardown);
    tcase_add_loop_test(tests, a_damaged_record_that_was_synced_is_the_only_one_lost, 0, 3);
    tcase_add_test(tests, several_gaps_are_counted);
    tcase_add_loop_test(tests, a_torn_tail_is_no_loss, 0, 2);
    tcase_add_test(tests, a_damaged_segment_header_costs_nothing);
    tcase_add_test(tests, a_segment_of_garbage_is_told);
    tcase_add_test(tests, a_segment_of_another_store_is_not_used);
    tcase_add_test(tests, a_missing_segment_is_counted);
    tcase_add_test(tests, a_missing_journal_is_a_loss_unless_the_store_was_closed);
    tcase_add_test(tests, segments_of_earlier_sessions_are_not_read);
    tcase_add_test(tests, a_copy_does_not_undo_what_followed_it);
    tcase_add_loop_test(tests, a_bad_sector_in_the_journal_costs_its_records_only, 0, 2);
    tcase_add_test(tests, operations_on_lost_tables_are_left_out);
    tcase_add_test(tests, a_record_that_does_not_fit_its_table_is_lost);
    tcase_add_test(tests, a_table_that_only_the_journal_knows_is_lost);
    tcase_add_test(tests, a_record_cannot_prove_what_comes_after_it);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
