/* Tests of dumps of whole stores: all comes back; what is damaged is refused, with its line, and leaves nothing. */
#include "../tools/dumpschema.h"
#include "../tools/mdbdump.h"

#include "../tools/signals.h"

#include "htstore.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api_util.h"
#include "dump_sample.h"
#include "dump_util.h"

static unsigned count_files(void)
{
    DIR *folder = opendir(api.directory);
    unsigned n = 0;

    ck_assert_ptr_nonnull(folder);
    while (readdir(folder) != NULL)
        n++;
    closedir(folder);
    return n;
}

/* The text is refused with that status and words, and nothing is left beside the target. */
static void expect_refused(const char *text, int status, const char *words)
{
    unsigned n = count_files();
    int got = dump_restore(text, strlen(text), api_path("target"));

    ck_assert_msg(got == status, "status %d, expected %d: %s", got, status, dump_world.said);
    ck_assert_msg(strstr(dump_world.said, words) != NULL, "not said: %s; but: %s", words, dump_world.said);
    ck_assert_uint_eq(count_files(), n);
}

/* ---- a small dump, to be changed ---- */

static char *small_dump(void)
{
    size_t size;
    char *text;

    api_open_store();
    api_begin_table("words", HTSTORE_STRING, HTSTORE_INT64, "-1");
    INSERT("[apple pear plum]", "[1 2 3]");
    htstore_table_close(api.table, NULL);
    api_begin_table("bits", HTSTORE_INT8, HTSTORE_BOOL, "0");
    INSERT("[1 2]", "[0 1]");
    api_close_store();
    text = dump_text(api.path, 0, &size);
    ck_assert_uint_eq(strlen(text), size);
    return text;
}

/* The text with its first `from` made `to`. */
static char *changed(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    char *copy = api_alloc(strlen(text) + strlen(to) + 1);

    ck_assert_msg(at != NULL, "\"%s\" is not in the dump", from);
    memcpy(copy, text, (size_t)(at - text));
    (void)strcpy(copy + (at - text), to);
    (void)strcat(copy, at + strlen(from));
    return copy;
}

static const char *hex(const char *text)
{
    char *digits = api_alloc(2 * strlen(text) + 1);

    for (size_t i = 0; text[i] != '\0'; i++)
        (void)sprintf(digits + 2 * i, "%02x", (unsigned char)text[i]);
    return digits;
}

/* ---- whole stores ---- */

START_TEST(everything_that_a_store_holds_comes_back)
{
    const char *target = api_path("target");
    const char *before;
    size_t size;
    char *text;

    dump_sample_make(api.path, true);
    before = dump_sample_text(api.path);
    text = dump_text(api.path, 0, &size);
    ck_assert_msg(dump_restore(text, size, target) == 0, "%s", dump_world.said);
    ck_assert_str_eq(dump_world.said, "");
    ck_assert_str_eq(dump_sample_text(target), before);
}
END_TEST

START_TEST(a_restored_store_dumps_to_a_restorable_dump_again)
{
    size_t size, again;
    char *text;

    dump_sample_make(api.path, true);
    text = dump_text(api.path, 0, &size);
    ck_assert_int_eq(dump_restore(text, size, api_path("one")), 0);
    text = dump_text(api_path("one"), 0, &again);
    ck_assert_int_eq(dump_restore(text, again, api_path("two")), 0);
    ck_assert_str_eq(dump_sample_text(api_path("two")), dump_sample_text(api.path));
}
END_TEST

START_TEST(an_empty_store_comes_back)
{
    size_t size;
    char *text;

    api_open_store();
    api_close_store();
    text = dump_text(api.path, 0, &size);
    ck_assert_msg(dump_restore(text, size, api_path("target")) == 0, "%s", dump_world.said);
    ck_assert_str_eq(dump_sample_text(api_path("target")), "");
}
END_TEST

START_TEST(a_dump_begins_with_the_records_and_has_one_map_size)
{
    static const char start[] = "VERSION=3\nformat=bytevalue\ndatabase=!htstore\ntype=btree\nmapsize=67108864\n"
                                "maxreaders=126\ndb_pagesize=4096\nHEADER=END\n";
    const char *text = small_dump();
    unsigned n = 0;

    ck_assert(strncmp(text, start, strlen(start)) == 0);
    ck_assert(mdbdump_is_dump(text, strlen(text)));
    for (const char *at = text; (at = strstr(at, "mapsize=67108864\n")) != NULL; at++)
        n++;
    ck_assert_uint_eq(n, 3);
    ck_assert_ptr_null(strstr(text, "mapaddr"));
}
END_TEST

START_TEST(a_dump_for_db_load_has_no_words_of_lmdb)
{
    const char *text;

    dump_world.options.is_bdb = true;
    text = small_dump();
    ck_assert_ptr_null(strstr(text, "mapsize"));
    ck_assert_ptr_null(strstr(text, "maxreaders"));
    ck_assert_int_eq(dump_restore(text, strlen(text), api_path("target")), 0);
}
END_TEST

START_TEST(keys_that_lmdb_cannot_hold_are_counted)
{
    size_t size;

    dump_sample_make(api.path, true);
    (void)dump_text(api.path, 0, &size);
    ck_assert_msg(strstr(dump_world.said, "2 keys are empty or longer than 511 bytes") != NULL, "%s", dump_world.said);
}
END_TEST

START_TEST(a_store_that_is_written_is_not_dumped)
{
    struct output output;
    int saved;

    api_open_store();
    ck_assert_int_eq(output_create(&output, api_path("out"), false), 0);
    saved = dump_begin_messages();
    ck_assert_int_eq(mdbdump_write_store(&dump_world.tool, api.store, &output, &dump_world.options), STATUS_FAILED);
    dump_end_messages(saved);
    output_abandon(&output);
}
END_TEST

START_TEST(a_dump_of_damaged_rows_has_no_end)
{
    const char *file;
    size_t size;
    char *data, *at;
    int fd;

    api_open_store();
    api_begin_table("words", HTSTORE_STRING, HTSTORE_STRING, "\\e");
    INSERT("[apple pear]", "[remarkable words]");
    api_close_store();
    file = strcat(strcpy(api_alloc(300), api.path), "/data.mdb");
    data = dump_read_file(file, &size);
    at = memmem(data, size, "remarkable", 10);
    ck_assert_ptr_nonnull(at);
    fd = open(file, O_WRONLY | O_CLOEXEC);
    for (; at != NULL; at = memmem(at + 1, size - (size_t)(at + 1 - data), "remarkable", 10))
        ck_assert_int_eq(pwrite(fd, "R", 1, at - data), 1);
    close(fd);
    data = dump_text(api.path, STATUS_DAMAGED, &size);
    ck_assert_ptr_null(memmem(data, size, "DATA=END", 8));
    ck_assert_ptr_nonnull(strstr(dump_world.said, "words"));
}
END_TEST

/* ---- refusals ---- */

START_TEST(a_target_that_exists_is_kept)
{
    const char *text = small_dump();

    ck_assert_int_eq(dump_restore(text, strlen(text), api.directory), STATUS_CONFLICT);
    ck_assert_int_eq(dump_restore(text, strlen(text), api.path), STATUS_CONFLICT);
}
END_TEST

START_TEST(what_is_no_dump_of_a_store_is_refused)
{
    expect_refused("", STATUS_TYPE, "it is empty");
    expect_refused("hello\n", STATUS_DAMAGED, "line 1: \"hello\" where VERSION=3 is expected");
    expect_refused("VERSION=3\nformat=bytevalue\ndatabase=a\nHEADER=END\nDATA=END\n", STATUS_TYPE, "not !htstore");
    expect_refused("VERSION=3\nformat=bytevalue\nHEADER=END\nDATA=END\n", STATUS_TYPE, "not !htstore");
    expect_refused("VERSION=3\nformat=bytevalue\ndatabase=!htstore\nHEADER=END\nDATA=END\n", STATUS_DAMAGED,
                   "line 5: the record of the store is missing");
}
END_TEST

START_TEST(a_dump_that_is_cut_anywhere_is_refused)
{
    const char *text = small_dump();
    size_t size = strlen(text);
    unsigned n = 0;

    /* the last LF may be missing */
    for (size_t i = 10; i<size - 1; i += i> size - 120 ? 1 : 61, n++) {
        int status = dump_restore(text, i, api_path("target"));

        ck_assert_msg(status == STATUS_DAMAGED || status == STATUS_TYPE, "cut at %zu: status %d", i, status);
        ck_assert_int_ne(access(api_path("target"), F_OK), 0);
    }
    ck_assert_uint_gt(n, 100);
    ck_assert_int_eq(dump_restore(text, size - 1, api_path("target")), 0);
}
END_TEST

START_TEST(changed_rows_are_found_by_the_digest)
{
    const char *text = small_dump();

    expect_refused(changed(text, " 0200000000000000\n", " 0200000000000001\n"), STATUS_DAMAGED, "another digest");
    expect_refused(changed(text, " 6170706c65\n", " 6170706c66\n"), STATUS_DAMAGED, "another digest");
}
END_TEST

START_TEST(lost_and_added_rows_are_found_by_their_number)
{
    const char *text = small_dump();

    expect_refused(changed(text, " 70656172\n 0200000000000000\n", ""), STATUS_DAMAGED,
                   "table \"words\" has 2 rows here, its record says 3");
    expect_refused(changed(text, " 70656172\n", " 70656173\n 0200000000000000\n 70656172\n"), STATUS_DAMAGED,
                   "has 4 rows here");
}
END_TEST

START_TEST(a_row_that_does_not_fit_is_named_by_its_line)
{
    const char *text = small_dump();
    const char *row = strstr(text, " 0200000000000000\n");
    char words[80];
    unsigned line = 1;

    for (const char *at = text; at < row; at++)
        line += *at == '\n';
    (void)snprintf(words, sizeof words, "line %u: the value has 7 bytes, 1 of int64 have 8", line);
    expect_refused(changed(text, " 0200000000000000\n", " 02000000000000\n"), STATUS_DAMAGED, words);
}
END_TEST

START_TEST(sections_and_records_belong_together)
{
    const char *text = small_dump();
    const char *bits = strstr(text, "VERSION=3\nformat=bytevalue\ndatabase=bits");

    ck_assert_ptr_nonnull(bits);
    expect_refused(changed(text, "database=bits", "database=bytes"), STATUS_DAMAGED,
                   "no record belongs to this section");
    expect_refused(changed(text, bits, ""), STATUS_DAMAGED, "the section of table \"bits\" is missing");
    expect_refused(strcat(strcpy(api_alloc(2 * strlen(text) + 1), text), bits), STATUS_DAMAGED, "a second section");
    expect_refused(changed(text, "database=bits\ntype=btree\n", "database=bits\ndupsort=1\n"), STATUS_TYPE,
                   "dupsort=1");
}
END_TEST

START_TEST(records_must_be_whole)
{
    const char *text = small_dump();

    expect_refused(changed(text, hex("\"objects\":2"), hex("\"objects\":3")), STATUS_DAMAGED,
                   "there are records of 2 objects, the store has 3");
    expect_refused(changed(text, hex("\"format\":1"), hex("\"format\":2")), STATUS_TYPE,
                   "format 2 of the dump is newer than this program");
    expect_refused(changed(text, hex("\"words\""), hex("\"bits\"")), STATUS_DAMAGED, "of another object");
    expect_refused(changed(text, hex("\"kind\":\"table\""), hex("\"kind\":\"chair\"")), STATUS_DAMAGED, "\"kind\"");
    expect_refused(changed(text, hex("\"shape\":[]"), hex("\"shape\":[-1]")), STATUS_DAMAGED, "\"shape\"");
    expect_refused(changed(text, hex("\"shape\":[]"), hex("\"shape\":[4611686018427387904]")), STATUS_DAMAGED, "line ");
    expect_refused(changed(text, hex("\"shape\":[]"), hex("\"shape\":[1000000]")), STATUS_DAMAGED,
                   "its default value is none");
    expect_refused(changed(text, hex("\"key_dtype\":\"string\""), hex("\"key_dtype\":\"float16\"")), STATUS_DAMAGED,
                   "float16");
    expect_refused(changed(text, hex("{\"base64\":\"//////////8=\"}"), hex("{\"base64\":\"//////////9=\"}")),
                   STATUS_DAMAGED, "its \"default\" is not base64");
    expect_refused(changed(text, hex("\"digest\":\""), hex("\"digest\":\"x")), STATUS_DAMAGED, "\"digest\"");
    expect_refused(changed(text, hex("\"section\":\"words\""), hex("\"section\":\"!htstore\"")), STATUS_DAMAGED,
                   "a section of rows");
    expect_refused(changed(text, hex("{\"id\":"), hex("[\"id\":")), STATUS_DAMAGED, "the value is no JSON object");
    expect_refused(changed(text, hex("object/0"), hex("abject/0")), STATUS_DAMAGED, "the key is that of no record");
    expect_refused(changed(text, hex("\"name\":\"words\","), ""), STATUS_DAMAGED, "is anonymous and in no mapping");
}
END_TEST

START_TEST(an_interrupted_restore_leaves_nothing)
{
    const char *text = small_dump();
    unsigned n = count_files();

    signals_catch();
    ck_assert_int_eq(raise(SIGTERM), 0);
    ck_assert_int_eq(dump_restore(text, strlen(text), api_path("target")), STATUS_INTERRUPTED);
    ck_assert_int_eq(dump_world.tool.signal, SIGTERM);
    ck_assert_uint_eq(count_files(), n);
}
END_TEST

START_TEST(an_interrupted_dump_has_no_end)
{
    size_t size;
    char *text;

    dump_sample_make(api.path, false);
    signals_catch();
    ck_assert_int_eq(raise(SIGTERM), 0);
    text = dump_text(api.path, STATUS_INTERRUPTED, &size);
    ck_assert_ptr_null(memmem(text, size, "DATA=END", 8));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mdbdump");
    TCase *whole = tcase_create("whole"), *refused = tcase_create("refused");

    if (!dumpschema_can_read()) {
        puts("SKIP: built without jansson");
        return 77;
    }
    tcase_add_checked_fixture(whole, dump_setup, api_teardown);
    tcase_add_checked_fixture(refused, dump_setup, api_teardown);
    tcase_add_test(whole, everything_that_a_store_holds_comes_back);
    tcase_add_test(whole, a_restored_store_dumps_to_a_restorable_dump_again);
    tcase_add_test(whole, an_empty_store_comes_back);
    tcase_add_test(whole, a_dump_begins_with_the_records_and_has_one_map_size);
    tcase_add_test(whole, a_dump_for_db_load_has_no_words_of_lmdb);
    tcase_add_test(whole, keys_that_lmdb_cannot_hold_are_counted);
    tcase_add_test(whole, a_store_that_is_written_is_not_dumped);
    tcase_add_test(whole, a_dump_of_damaged_rows_has_no_end);
    tcase_add_test(refused, a_target_that_exists_is_kept);
    tcase_add_test(refused, what_is_no_dump_of_a_store_is_refused);
    tcase_add_test(refused, a_dump_that_is_cut_anywhere_is_refused);
    tcase_add_test(refused, changed_rows_are_found_by_the_digest);
    tcase_add_test(refused, lost_and_added_rows_are_found_by_their_number);
    tcase_add_test(refused, a_row_that_does_not_fit_is_named_by_its_line);
    tcase_add_test(refused, sections_and_records_belong_together);
    tcase_add_test(refused, records_must_be_whole);
    tcase_add_test(refused, an_interrupted_restore_leaves_nothing);
    tcase_add_test(refused, an_interrupted_dump_has_no_end);
    suite_add_tcase(suite, whole);
    suite_add_tcase(suite, refused);
    return check_run(suite);
}
