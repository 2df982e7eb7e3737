/* Tests of the grammar of dumps: every rule, every refusal with its line; and of rows as packed bytes. */
#include "../tools/buffer.h"
#include "../tools/digest.h"
#include "../tools/lines.h"
#include "../tools/mdbread.h"
#include "../tools/mdbrows.h"
#include "../tools/mdbwrite.h"
#include "../tools/packed.h"
#include "../tools/rows.h"

#include "htstore.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check_util.h"

#define HEAD "VERSION=3\nformat=bytevalue\ntype=btree\nHEADER=END\n"
#define PRINT "VERSION=3\nformat=print\ntype=btree\nHEADER=END\n"
#define END "DATA=END\n"

/* ---- reading text ---- */

static struct lines lines;
static struct mdbread reading;

static void open_text(const char *text)
{
    int fd = memfd_create("dump", MFD_CLOEXEC);
    size_t size = strlen(text);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, size), (ssize_t)size);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    lines_open(&lines, fd);
    mdbread_open(&reading, &lines);
}

static void close_text(void)
{
    mdbread_close(&reading);
    lines_close(&lines);
    close(lines.fd);
}

/* All sections as "name{key=value;…}", their bytes in hexadecimal; stops at the first refusal. */
static enum mdbread_result read_all(struct buffer *seen)
{
    enum mdbread_result result = mdbread_section(&reading);

    while (result == MDBREAD_OK) {
        buffer_text(seen, reading.header.has_database ? buffer_string(&reading.header.database) : "-");
        buffer_add(seen, '{');
        result = mdbread_check(&reading);
        if (result != MDBREAD_OK)
            return result;
        while ((result = mdbread_row(&reading)) == MDBREAD_OK) {
            for (size_t i = 0; i < reading.key.size; i++)
                buffer_printf(seen, "%02x", (unsigned char)reading.key.data[i]);
            buffer_add(seen, '=');
            for (size_t i = 0; i < reading.value.size; i++)
                buffer_printf(seen, "%02x", (unsigned char)reading.value.data[i]);
            buffer_add(seen, ';');
        }
        if (result != MDBREAD_END)
            return result;
        buffer_add(seen, '}');
        result = mdbread_section(&reading);
    }
    return result;
}

static void expect_read(const char *text, const char *expected)
{
    struct buffer seen = { 0 };
    enum mdbread_result result;

    open_text(text);
    result = read_all(&seen);
    ck_assert_msg(result == MDBREAD_END, "line %" PRIu64 ": %s", lines.number, buffer_string(&reading.why));
    ck_assert_str_eq(buffer_string(&seen), expected);
    buffer_release(&seen);
    close_text();
}

static void expect_refused(const char *text, enum mdbread_result expected, uint64_t line, const char *why)
{
    struct buffer seen = { 0 };
    enum mdbread_result result;

    open_text(text);
    result = read_all(&seen);
    ck_assert_msg(result == expected, "%s: result %d, expected %d", text, result, expected);
    ck_assert_msg(strstr(buffer_string(&reading.why), why) != NULL, "%s: \"%s\" does not say \"%s\"", text,
                  reading.why.data, why);
    ck_assert_msg(lines.number == line, "%s: line %" PRIu64 ", expected %" PRIu64, text, lines.number, line);
    buffer_release(&seen);
    close_text();
}

START_TEST(rows_are_pairs_of_lines)
{
    expect_read(HEAD END, "-{}");
    expect_read(HEAD " 00\n ff\n 6162\n \n" END, "-{00=ff;6162=;}");
    expect_read(HEAD " \n 01\n" END, "-{=01;}");
}
END_TEST

START_TEST(hexadecimal_digits_of_both_cases_are_read)
{
    expect_read(HEAD " aBcD\n EFef\n" END, "-{abcd=efef;}");
}
END_TEST

START_TEST(the_last_line_needs_no_line_feed)
{
    expect_read(HEAD " 00\n 01\nDATA=END", "-{00=01;}");
}
END_TEST

START_TEST(sections_follow_each_other)
{
    expect_read("VERSION=3\nformat=bytevalue\ndatabase=a b\ntype=btree\nHEADER=END\n 00\n 01\n" END
                "VERSION=3\nformat=print\ndatabase=\ntype=btree\nHEADER=END\n x\n \\0a\n" END,
                "a b{00=01;}{78=0a;}");
}
END_TEST

START_TEST(headers_of_all_writers_are_read)
{
    /* mdb_dump 0.9.24, then 1.0 with FIXEDMAP and words of a later one, then db_dump 5.3 of a hash */
    expect_read("VERSION=3\nformat=bytevalue\ndatabase=t\ntype=btree\nmapsize=1048576\nmaxreaders=126\n"
                "db_pagesize=4096\nHEADER=END\n" END,
                "t{}");
    expect_read("VERSION=3\nformat=bytevalue\ntype=btree\nmapsize=1048576\nmapaddr=0x7f0000000000\nmaxreaders=126\n"
                "future=word\nintegerkey=1\ndupsort=0\nreversekey=1\ndb_pagesize=65536\nHEADER=END\n" END,
                "-{}");
    expect_read("VERSION=3\nformat=print\ndatabase=names\ntype=hash\nh_nelem=4\nchksum=1\ndb_pagesize=4096\n"
                "HEADER=END\n k\n v\n" END,
                "names{6b=76;}");
}
END_TEST

START_TEST(printed_text_has_two_escapes)
{
    expect_read(PRINT " a\\\\b\n \\00\\fFz\n" END, "-{615c62=00ff7a;}");
    expect_read(PRINT " \\5c41\n \n" END, "-{5c3431=;}");
    expect_refused(PRINT " a\\b\n x\n" END, MDBREAD_DAMAGED, 5, "column 3");
    expect_refused(PRINT " x\n a\\\n" END, MDBREAD_DAMAGED, 6, "before 0.9.25, dump again without -p");
    expect_refused(PRINT " x\n \\4\n" END, MDBREAD_DAMAGED, 6, "dump again without -p");
    expect_refused(PRINT " x\n \\4g\n" END, MDBREAD_DAMAGED, 6, "dump again without -p");
}
END_TEST

START_TEST(an_escape_that_could_be_data_is_noticed)
{
    struct buffer seen = { 0 };

    open_text(PRINT " a\\\\\n b\n" END);
    ck_assert_int_eq(read_all(&seen), MDBREAD_END);
    ck_assert(!reading.is_ambiguous);
    close_text();
    open_text(PRINT " a\\0a\n b\n" END);
    ck_assert_int_eq(read_all(&seen), MDBREAD_END);
    ck_assert(reading.is_ambiguous);
    close_text();
    buffer_release(&seen);
}
END_TEST

START_TEST(several_values_a_key_are_refused)
{
    static const char *const words[] = { "duplicates", "dupsort", "dupfixed", "integerdup", "reversedup" };
    char text[200];

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        (void)snprintf(text, sizeof text, "VERSION=3\nformat=bytevalue\n%s=1\nHEADER=END\n" END, words[i]);
        expect_refused(text, MDBREAD_UNSUPPORTED, 4, "=1: several values a key");
        (void)snprintf(text, sizeof text, "VERSION=3\nformat=bytevalue\n%s=0\nHEADER=END\n" END, words[i]);
        expect_read(text, "-{}");
    }
    expect_refused("VERSION=3\nformat=bytevalue\ndupsort=yes\nHEADER=END\n" END, MDBREAD_DAMAGED, 3, "0 or 1");
}
END_TEST

START_TEST(types_with_record_numbers_are_refused)
{
    expect_refused("VERSION=3\nformat=bytevalue\ntype=recno\nHEADER=END\n" END, MDBREAD_UNSUPPORTED, 4, "type=recno");
    expect_refused("VERSION=3\nformat=bytevalue\ntype=queue\nHEADER=END\n" END, MDBREAD_UNSUPPORTED, 4, "type=queue");
    expect_refused("VERSION=3\nformat=bytevalue\ntype=heap\nHEADER=END\n" END, MDBREAD_UNSUPPORTED, 3, "\"heap\"");
}
END_TEST

START_TEST(what_is_no_header_is_refused)
{
    expect_refused("hello\n", MDBREAD_DAMAGED, 1, "\"hello\" where VERSION=3 is expected");
    expect_refused("VERSION=4\n", MDBREAD_UNSUPPORTED, 1, "VERSION=4");
    expect_refused("VERSION=3\nHEADER=END\n" END, MDBREAD_DAMAGED, 2, "no format=");
    expect_refused("VERSION=3\nformat=xml\n", MDBREAD_UNSUPPORTED, 2, "format=\"xml\"");
    expect_refused("VERSION=3\nformat=bytevalue\nnothing\nHEADER=END\n", MDBREAD_DAMAGED, 3, "WORD=VALUE");
    expect_refused("VERSION=3\nformat=bytevalue\n=x\nHEADER=END\n", MDBREAD_DAMAGED, 3, "WORD=VALUE");
    expect_refused("VERSION=3\nformat=bytevalue\n\nHEADER=END\n", MDBREAD_DAMAGED, 3, "WORD=VALUE");
    expect_refused("VERSION=3\nformat=bytevalue\ndatabase=a\ndatabase=b\nHEADER=END\n", MDBREAD_DAMAGED, 4, "twice");
    expect_refused("VERSION=3\nVERSION=3\n", MDBREAD_DAMAGED, 2, "twice");
    expect_refused("VERSION=3\nformat=bytevalue\nDATA=END\n", MDBREAD_DAMAGED, 3, "HEADER=END");
    expect_refused("VERSION=3\nformat=bytevalue\n", MDBREAD_DAMAGED, 2, "without HEADER=END");
    expect_refused("VERSION=3\r\nformat=bytevalue\r\n", MDBREAD_DAMAGED, 1, "CR LF");
}
END_TEST

START_TEST(data_that_is_cut_off_is_refused)
{
    expect_refused(HEAD, MDBREAD_DAMAGED, 4, "without DATA=END");
    expect_refused(HEAD " 00\n 01\n", MDBREAD_DAMAGED, 6, "without DATA=END");
    expect_refused(HEAD " 00\n", MDBREAD_DAMAGED, 5, "without the value of the last key");
    expect_refused(HEAD " 00\n" END, MDBREAD_DAMAGED, 6, "the value of a key is expected");
    expect_refused(HEAD " 00\n 01\nDATA=EN", MDBREAD_DAMAGED, 7, "DATA=END");
    expect_refused(HEAD " 00\n 0", MDBREAD_DAMAGED, 6, "odd number");
}
END_TEST

START_TEST(data_that_is_no_hexadecimal_text_is_refused)
{
    expect_refused(HEAD " 000\n 01\n" END, MDBREAD_DAMAGED, 5, "an odd number of hexadecimal digits: 3");
    expect_refused(HEAD " 00\n 0g\n" END, MDBREAD_DAMAGED, 6, "\"g\" in column 3");
    expect_refused(HEAD " 00 01\n 01\n" END, MDBREAD_DAMAGED, 5, "\" \" in column 4");
    expect_refused(HEAD "00\n 01\n" END, MDBREAD_DAMAGED, 5, "a space and data");
    expect_refused(HEAD "\n 01\n" END, MDBREAD_DAMAGED, 5, "a space and data");
    expect_refused(HEAD " 00\r\n 01\r\n" END, MDBREAD_DAMAGED, 5, "CR LF");
    expect_refused(HEAD " 00\n 01\n" END "\n", MDBREAD_DAMAGED, 8, "VERSION=3");
}
END_TEST

START_TEST(a_dump_is_known_by_its_first_bytes)
{
    ck_assert(mdbread_is_dump("VERSION=3\n", 10));
    ck_assert(!mdbread_is_dump("VERSION=", 8));
    ck_assert(!mdbread_is_dump("", 0));
    ck_assert(!mdbread_is_dump("HTSNAP\0\0\0\0\0\0", 12));
}
END_TEST

/* ---- sections by name ---- */

#define SECTION(name, key) "VERSION=3\nformat=bytevalue\ndatabase=" name "\ntype=btree\nHEADER=END\n " key "\n 00\n" END

static void expect_section(const char *text, const char *database, char key, bool has_more)
{
    struct mdbrows_settings settings = { database, false };
    struct mdbrows rows;

    open_text(text);
    mdbrows_open(&rows, &settings, &lines);
    ck_assert_int_eq(mdbrows_next(&rows), MDBREAD_OK);
    ck_assert_int_eq(rows.read.key.data[0], key);
    ck_assert_int_eq(mdbrows_next(&rows), MDBREAD_END);
    ck_assert_int_eq(rows.has_more, has_more);
    mdbrows_close(&rows);
    close_text();
}

START_TEST(a_section_is_picked_by_its_name)
{
    static const char text[] = SECTION("a", "0a") SECTION("b", "0b") SECTION("ab", "0c");

    expect_section(text, "a", 10, false);
    expect_section(text, "b", 11, false);
    expect_section(text, "ab", 12, false);
    expect_section(text, NULL, 10, true);
    expect_section(SECTION("a", "0a"), NULL, 10, false);
}
END_TEST

START_TEST(a_section_that_is_not_there_is_named_with_those_that_are)
{
    struct mdbrows_settings settings = { "c", false };
    struct mdbrows rows;

    open_text(SECTION("a", "0a") HEAD END);
    mdbrows_open(&rows, &settings, &lines);
    ck_assert_int_eq(mdbrows_next(&rows), MDBREAD_UNSUPPORTED);
    ck_assert_str_eq(rows.read.why.data, "no section has the name \"c\"; there are: \"a\", one without a name");
    mdbrows_close(&rows);
    close_text();
}
END_TEST

START_TEST(only_the_section_that_is_read_must_have_one_value_a_key)
{
    expect_section("VERSION=3\nformat=bytevalue\ndatabase=d\ndupsort=1\nHEADER=END\n 01\n 02\n" END SECTION("a", "0a"),
                   "a", 10, false);
}
END_TEST

/* ---- writing ---- */

START_TEST(a_section_is_written_as_mdb_load_and_db_load_want_it)
{
    struct mdbwrite settings = { 1048576, false };
    struct buffer text = { 0 };

    mdbwrite_begin(&text, &settings, "words");
    mdbwrite_bytes(&text, "\x00\xfe", 2);
    mdbwrite_bytes(&text, NULL, 0);
    mdbwrite_end(&text);
    ck_assert_str_eq(buffer_string(&text), "VERSION=3\nformat=bytevalue\ndatabase=words\ntype=btree\nmapsize=1048576\n"
                                           "maxreaders=126\ndb_pagesize=4096\nHEADER=END\n 00fe\n \n" END);
    text.size = 0;
    settings.is_bdb = true;
    mdbwrite_begin(&text, &settings, "words");
    ck_assert_str_eq(buffer_string(&text), "VERSION=3\nformat=bytevalue\ndatabase=words\ntype=btree\ndb_pagesize=4096\n"
                                           "HEADER=END\n");
    buffer_release(&text);
}
END_TEST

START_TEST(a_map_has_room_for_twice_the_bytes)
{
    for (unsigned shift = 0; shift < 60; shift++) {
        uint64_t bytes = UINT64_C(1) << shift;

        ck_assert_uint_ge(mdbwrite_map_size(bytes), 2 * bytes);
        ck_assert_uint_eq(mdbwrite_map_size(bytes) % 1048576, 0);
    }
    ck_assert_uint_ge(mdbwrite_map_size(0), UINT64_C(1) << 40);
}
END_TEST

/* ---- rows ---- */

static struct rows_layout layout_of(uint32_t key, uint32_t value, uint32_t rank, size_t width)
{
    struct rows_layout layout = { .key_dtype = key, .value_dtype = value, .value_rank = rank, .width = width };

    layout.key_size = htstore_dtype_size(key);
    layout.element_size = htstore_dtype_size(value);
    layout.value_shape[0] = (int64_t)width;
    return layout;
}

/* Read one row, pack it again, and compare. */
static void expect_same(const struct rows_layout *layout, struct htstore_bytes key, struct htstore_bytes value)
{
    struct rows rows;
    struct packed_order order = { false, false };
    struct buffer packed = { 0 }, reason = { 0 };

    rows_init(&rows, layout, false);
    ck_assert_msg(packed_read(&rows, &order, &key, &value, &reason) == 0, "%s", buffer_string(&reason));
    packed_append(&packed, layout->key_dtype, 1, rows_key(&rows, 0), false);
    ck_assert_uint_eq(packed.size, key.size);
    ck_assert(key.size == 0 || memcmp(packed.data, key.data, key.size) == 0);
    packed.size = 0;
    packed_append(&packed, layout->value_dtype, layout->width, rows_value(&rows, 0), packed_has_sizes(layout));
    ck_assert_uint_eq(packed.size, value.size);
    ck_assert(value.size == 0 || memcmp(packed.data, value.data, value.size) == 0);
    buffer_release(&packed);
    buffer_release(&reason);
    rows_release(&rows);
}

static void expect_row_refused(const struct rows_layout *layout, struct packed_order order, struct htstore_bytes key,
                               struct htstore_bytes value, const char *why)
{
    struct rows rows;
    struct buffer reason = { 0 };

    rows_init(&rows, layout, false);
    ck_assert_int_eq(packed_read(&rows, &order, &key, &value, &reason), -1);
    ck_assert_msg(strstr(buffer_string(&reason), why) != NULL, "\"%s\" does not say \"%s\"", reason.data, why);
    ck_assert_uint_eq(rows.n, 0);
    ck_assert_uint_eq(rows.bytes, 0);
    buffer_release(&reason);
    rows_release(&rows);
}

#define BYTES(text) ((struct htstore_bytes){ text, sizeof text - 1 })
static const struct packed_order little = { false, false }, big = { true, false }, integers = { false, true };

START_TEST(rows_of_every_kind_survive_packing)
{
    struct rows_layout numbers = layout_of(HTSTORE_INT32, HTSTORE_UINT16, 1, 2);
    struct rows_layout text = layout_of(HTSTORE_STRING, HTSTORE_STRING, 0, 1);
    struct rows_layout texts = layout_of(HTSTORE_STRING, HTSTORE_STRING, 1, 3);
    struct rows_layout one_text = layout_of(HTSTORE_STRING, HTSTORE_STRING, 1, 1);
    struct rows_layout nothing = layout_of(HTSTORE_BOOL, HTSTORE_FLOAT64, 1, 0);

    expect_same(&numbers, BYTES("\x01\x02\x03\x04"), BYTES("\x05\x06\x07\x08"));
    expect_same(&text, BYTES(""), BYTES("a\0\xff"));
    expect_same(&text, BYTES("key"), BYTES(""));
    expect_same(&texts, BYTES("k"), BYTES("\x01\0\0\0\0\0\0\0\x02\0\0\0abc"));
    expect_same(&one_text, BYTES("k"), BYTES("\x01\0\0\0a"));
    expect_same(&nothing, BYTES("\x01"), BYTES(""));
}
END_TEST

START_TEST(bytes_that_are_no_row_are_refused)
{
    struct rows_layout numbers = layout_of(HTSTORE_INT32, HTSTORE_UINT16, 1, 2);
    struct rows_layout bools = layout_of(HTSTORE_BOOL, HTSTORE_BOOL, 0, 1);
    struct rows_layout texts = layout_of(HTSTORE_STRING, HTSTORE_STRING, 1, 2);
    struct rows_layout floats = layout_of(HTSTORE_FLOAT32, HTSTORE_FLOAT32, 0, 1);

    expect_row_refused(&numbers, little, BYTES("\x01\x02\x03"), BYTES("\1\1\1\1"), "the key has 3 bytes, int32 has 4");
    expect_row_refused(&numbers, little, BYTES("\x01\x02\x03\x04"), BYTES("\1\1\1"), "the value has 3 bytes");
    expect_row_refused(&numbers, little, BYTES("\x01\x02\x03\x04"), BYTES("\1\1\1\1\1"), "the value has 5 bytes");
    expect_row_refused(&bools, little, BYTES("\x02"), BYTES("\1"), "key has the byte 2");
    expect_row_refused(&bools, little, BYTES("\x01"), BYTES("\xff"), "value has the byte 255");
    expect_row_refused(&floats, little, BYTES("\0\0\xc0\x7f"), BYTES("\0\0\xc0\x7f"), "nan");
    expect_row_refused(&texts, little, BYTES("k"), BYTES("\1\0\0\0"), "the sizes of 2 strings have 8");
    expect_row_refused(&texts, little, BYTES("k"), BYTES("\1\0\0\0\1\0\0\0a"), "string 1 of the value has 1 bytes, 0");
    expect_row_refused(&texts, little, BYTES("k"), BYTES("\1\0\0\0\0\0\0\0ab"), "1 bytes are left");
    expect_row_refused(&texts, little, BYTES("k"), BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"), "are left");
}
END_TEST

START_TEST(numbers_of_the_other_byte_order_are_turned)
{
    struct rows_layout layout = layout_of(HTSTORE_INT32, HTSTORE_UINT16, 1, 2);
    struct htstore_bytes key = BYTES("\0\0\1\2"), value = BYTES("\1\2\3\4");
    struct buffer reason = { 0 };
    struct rows rows;
    int32_t number;
    uint16_t numbers[2];

    rows_init(&rows, &layout, false);
    ck_assert_int_eq(packed_read(&rows, &big, &key, &value, &reason), 0);
    memcpy(&number, rows_key(&rows, 0), sizeof number);
    memcpy(numbers, rows_value(&rows, 0), sizeof numbers);
    ck_assert_int_eq(number, 0x102);
    ck_assert_uint_eq(numbers[0], 0x102);
    ck_assert_uint_eq(numbers[1], 0x304);
    rows_release(&rows);
}
END_TEST

START_TEST(integer_keys_are_unsigned)
{
    struct rows_layout unsigned_keys = layout_of(HTSTORE_UINT32, HTSTORE_BOOL, 0, 1);
    struct rows_layout signed_keys = layout_of(HTSTORE_INT32, HTSTORE_BOOL, 0, 1);
    struct rows_layout small = layout_of(HTSTORE_UINT16, HTSTORE_BOOL, 0, 1);
    struct htstore_bytes large = BYTES("\xff\xff\xff\xff"), fits = BYTES("\xff\xff\xff\x7f"), value = BYTES("\1");
    struct buffer reason = { 0 };
    struct rows rows;

    expect_row_refused(&signed_keys, integers, large, value, "out of the range of int32");
    expect_row_refused(&small, integers, BYTES("\1\2"), value, "4 or 8 bytes, not uint16");
    rows_init(&rows, &unsigned_keys, false);
    ck_assert_int_eq(packed_read(&rows, &integers, &large, &value, &reason), 0);
    rows_release(&rows);
    rows_init(&rows, &signed_keys, false);
    ck_assert_int_eq(packed_read(&rows, &integers, &fits, &value, &reason), 0);
    rows_release(&rows);
}
END_TEST

/* ---- digest ---- */

START_TEST(the_digest_is_that_of_the_store_format)
{
    /* The vectors "row-hash" and "digest" of docs/store-format.md: 1 -> 42 and -1 -> 43. */
    int64_t keys[] = { 1, -1 }, values[] = { 42, 43 };
    struct digest digest = { 0, 0 };
    char text[DIGEST_TEXT_SIZE];

    for (size_t i = 0; i < 2; i++) {
        struct htstore_bytes key = { &keys[i], 8 }, value = { &values[i], 8 };

        digest_add(&digest, &key, &value, false);
        digest_print(&digest, text);
        ck_assert_str_eq(text, i == 0 ? "bfb085bef824945cead40529cbeb1692" : "1214fd62ee89a21c9892059c31c9900d");
    }
}
END_TEST

START_TEST(a_digest_does_not_depend_on_the_order_of_rows)
{
    struct htstore_bytes keys[] = { BYTES("a"), BYTES("b"), BYTES("") }, value = BYTES("v");
    struct digest forward = { 0, 0 }, backward = { 0, 0 }, other = { 0, 0 };

    for (size_t i = 0; i < 3; i++) {
        digest_add(&forward, &keys[i], &value, true);
        digest_add(&backward, &keys[2 - i], &value, true);
        digest_add(&other, &keys[i], &value, false);
    }
    ck_assert(digest_equal(&forward, &backward));
    ck_assert(!digest_equal(&forward, &other));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mdbread");
    TCase *grammar = tcase_create("grammar"), *rows = tcase_create("rows");

    tcase_add_test(grammar, rows_are_pairs_of_lines);
    tcase_add_test(grammar, hexadecimal_digits_of_both_cases_are_read);
    tcase_add_test(grammar, the_last_line_needs_no_line_feed);
    tcase_add_test(grammar, sections_follow_each_other);
    tcase_add_test(grammar, headers_of_all_writers_are_read);
    tcase_add_test(grammar, printed_text_has_two_escapes);
    tcase_add_test(grammar, an_escape_that_could_be_data_is_noticed);
    tcase_add_test(grammar, several_values_a_key_are_refused);
    tcase_add_test(grammar, types_with_record_numbers_are_refused);
    tcase_add_test(grammar, what_is_no_header_is_refused);
    tcase_add_test(grammar, data_that_is_cut_off_is_refused);
    tcase_add_test(grammar, data_that_is_no_hexadecimal_text_is_refused);
    tcase_add_test(grammar, a_dump_is_known_by_its_first_bytes);
    tcase_add_test(grammar, a_section_is_picked_by_its_name);
    tcase_add_test(grammar, a_section_that_is_not_there_is_named_with_those_that_are);
    tcase_add_test(grammar, only_the_section_that_is_read_must_have_one_value_a_key);
    tcase_add_test(grammar, a_section_is_written_as_mdb_load_and_db_load_want_it);
    tcase_add_test(grammar, a_map_has_room_for_twice_the_bytes);
    tcase_add_test(rows, rows_of_every_kind_survive_packing);
    tcase_add_test(rows, bytes_that_are_no_row_are_refused);
    tcase_add_test(rows, numbers_of_the_other_byte_order_are_turned);
    tcase_add_test(rows, integer_keys_are_unsigned);
    tcase_add_test(rows, the_digest_is_that_of_the_store_format);
    tcase_add_test(rows, a_digest_does_not_depend_on_the_order_of_rows);
    suite_add_tcase(suite, grammar);
    suite_add_tcase(suite, rows);
    return check_run(suite);
}
