/* Tests of the tool's parts that need no store: exit statuses, escapes, JSON, columns, conflicts. */
#include "../tools/buffer.h"
#include "../tools/escape.h"
#include "../tools/json.h"
#include "../tools/merge.h"
#include "../tools/path.h"
#include "../tools/retain.h"
#include "../tools/rows.h"
#include "../tools/status.h"
#include "../tools/tool.h"
#include "../tools/tsv.h"

#include "htstore.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "check_util.h"

/* ---- status ---- */

START_TEST(every_code_of_the_library_has_its_exit_status)
{
    static const struct {
        int code, status;
    } expected[] = {
        { HTSTORE_OK, 0 },
        { 1, 0 },
        { HTSTORE_EINVAL, 2 },
        { HTSTORE_ETYPE, 7 },
        { HTSTORE_ESHAPE, 7 },
        { HTSTORE_EEXIST, 4 },
        { HTSTORE_ENOTFOUND, 3 },
        { HTSTORE_ECONFLICT, 4 },
        { HTSTORE_EBUSY, 6 },
        { HTSTORE_EREFERENCED, 4 },
        { HTSTORE_EREADONLY, 1 },
        { HTSTORE_EFORMAT, 7 },
        { HTSTORE_EVERSION, 7 },
        { HTSTORE_ECORRUPT, 5 },
        { HTSTORE_EIO, 1 },
        { HTSTORE_ENOSPC, 8 },
        { HTSTORE_ENOMEM, 1 },
        { HTSTORE_ECANCELED, 130 },
        { -17, 1 },
        { INT_MIN, 1 },
    };

    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        ck_assert_msg(status_from_code(expected[i].code) == expected[i].status, "code %d has status %d",
                      expected[i].code, status_from_code(expected[i].code));
}
END_TEST

START_TEST(every_exit_status_has_a_meaning)
{
    static const int statuses[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 130 };

    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        ck_assert_ptr_nonnull(status_meaning(statuses[i]));
    ck_assert_ptr_null(status_meaning(9));
}
END_TEST

START_TEST(a_full_device_has_its_own_status)
{
    ck_assert_int_eq(status_from_errno(ENOSPC), 8);
    ck_assert_int_eq(status_from_errno(EDQUOT), 8);
    ck_assert_int_eq(status_from_errno(ENOENT), 3);
    ck_assert_int_eq(status_from_errno(EEXIST), 4);
    ck_assert_int_eq(status_from_errno(EIO), 1);
    ck_assert_int_eq(status_from_errno(0), 0);
}
END_TEST

/* ---- escape ---- */

static void expect_escaped(const void *data, size_t size, const char *expected)
{
    struct buffer text = { 0 };
    char bytes[2048];
    size_t n = 0;

    escape_bytes(&text, data, size);
    ck_assert_str_eq(buffer_string(&text), expected);
    ck_assert_int_eq(escape_read(text.data, text.size, bytes, &n), 0);
    ck_assert_uint_eq(n, size);
    ck_assert_mem_eq(bytes, data, size);
    buffer_release(&text);
}

START_TEST(bytes_survive_escaping)
{
    unsigned char all[256];
    struct buffer text = { 0 };
    char bytes[256];
    size_t n = 0;

    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (unsigned char)i;
    escape_bytes(&text, all, sizeof all);
    ck_assert_ptr_null(memchr(text.data, '\n', text.size));
    ck_assert_ptr_null(memchr(text.data, '\t', text.size));
    ck_assert_int_eq(escape_read(text.data, text.size, bytes, &n), 0);
    ck_assert_uint_eq(n, sizeof all);
    ck_assert_mem_eq(bytes, all, sizeof all);
    buffer_release(&text);
}
END_TEST

START_TEST(only_controls_and_bytes_that_are_not_text_are_escaped)
{
    expect_escaped("", 0, "");
    expect_escaped("plain text", 10, "plain text");
    expect_escaped("a\\b\tc\nd\re", 9, "a\\\\b\\tc\\nd\\re");
    expect_escaped("\0\1\x7f", 3, "\\x00\\x01\\x7f");
    expect_escaped("naïve €😀", 14, "naïve €😀");
    expect_escaped("\xff", 1, "\\xff");
    expect_escaped("\xc0\x80", 2, "\\xc0\\x80"); /* overlong */
    expect_escaped("\xe0\x9f\xbf", 3, "\\xe0\\x9f\\xbf"); /* overlong */
    expect_escaped("\xed\xa0\x80", 3, "\\xed\\xa0\\x80"); /* surrogate */
    expect_escaped("\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80"); /* above U+10FFFF */
    expect_escaped("\xf0\x8f\xbf\xbf", 4, "\\xf0\\x8f\\xbf\\xbf"); /* overlong */
    expect_escaped("\xe2\x82", 2, "\\xe2\\x82"); /* cut off */
    expect_escaped("\xf4\x8f\xbf\xbf", 4, "\xf4\x8f\xbf\xbf");
}
END_TEST

START_TEST(a_backslash_that_starts_no_escape_is_refused)
{
    static const char *const texts[] = { "\\", "a\\", "\\q", "\\x", "\\x1", "\\xg0", "\\x0g", "\\N", "\\0", "\\\\\\" };
    char bytes[16];
    size_t n;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        ck_assert_msg(escape_read(texts[i], strlen(texts[i]), bytes, &n) < 0, "%s was read", texts[i]);
}
END_TEST

START_TEST(names_are_read_as_they_are_printed)
{
    static const char *const names[] = {
        "words", "a/b", "/", "back\\slash", "tab\tnew\n", "ü", "a\\/b", "//", "", "\\e"
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct buffer typed = { 0 }, name = { 0 };
        size_t length;

        escape_name(&typed, names[i]);
        ck_assert_int_eq(escape_read_name(buffer_string(&typed), &name, &length), 0);
        ck_assert_uint_eq(length, typed.size);
        ck_assert_str_eq(buffer_string(&name), names[i]);
        buffer_release(&typed);
        buffer_release(&name);
    }
}
END_TEST

START_TEST(a_name_ends_at_a_slash_and_other_escapes_are_refused)
{
    static const char *const refused[] = { "", "/", "/a", "a\\q", "a\\", "a\\x00", "\\ea", "a\\e" };
    struct buffer name = { 0 };
    size_t length;

    ck_assert_int_eq(escape_read_name("ab/c", &name, &length), 0);
    ck_assert_uint_eq(length, 2);
    ck_assert_str_eq(buffer_string(&name), "ab");
    name.size = 0;
    ck_assert_int_eq(escape_read_name("\\e/c", &name, &length), 0);
    ck_assert_uint_eq(length, 2);
    ck_assert_uint_eq(name.size, 0);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        ck_assert_msg(escape_read_name(refused[i], &name, &length) < 0, "\"%s\" was read", refused[i]);
    buffer_release(&name);
}
END_TEST

/* ---- paths ---- */

START_TEST(a_path_is_names_joined_by_slashes)
{
    static const struct tool tool;
    struct buffer typed = { 0 };
    struct path path;

    ck_assert_int_eq(path_read(&tool, "a/\\e/b\\/c/\\\\", &path), STATUS_DONE);
    ck_assert_uint_eq(path.n, 4);
    ck_assert_str_eq(path.names[0], "a");
    ck_assert_str_eq(path.names[1], "");
    ck_assert_str_eq(path.names[2], "b/c");
    ck_assert_str_eq(path.names[3], "\\");
    ck_assert(!path.ends_with_slash);
    path_write(&typed, &path, path.n);
    ck_assert_str_eq(buffer_string(&typed), "a/\\e/b\\/c/\\\\");
    path_release(&path);
    ck_assert_int_eq(path_read(&tool, "a/b/", &path), STATUS_DONE);
    ck_assert_uint_eq(path.n, 2);
    ck_assert(path.ends_with_slash);
    path_release(&path);
    buffer_release(&typed);
}
END_TEST

/* ---- what is kept ---- */

static void expect_kept(const struct retain_rule *rule, size_t n, const double *times, const char *expected)
{
    bool keep[8];
    char kept[9] = "";

    retain_plan(rule, times, n, keep);
    for (size_t i = 0; i < n; i++)
        kept[i] = keep[i] ? 'k' : '-';
    ck_assert_str_eq(kept, expected);
}

START_TEST(the_newest_and_one_for_each_span_are_kept)
{
    static const double hours[] = { 0, 3600, 7200, 10800, 14400, 18000, 21600, 25200 };

    expect_kept(&(struct retain_rule){ 0, 0 }, 8, hours, "kkkkkkkk");
    expect_kept(&(struct retain_rule){ 3, 0 }, 8, hours, "-----kkk");
    expect_kept(&(struct retain_rule){ 9, 0 }, 8, hours, "kkkkkkkk");
    expect_kept(&(struct retain_rule){ 0, 7200 }, 8, hours, "k-k-k-kk");
    expect_kept(&(struct retain_rule){ 2, 10800 }, 8, hours, "k--k--kk");
    expect_kept(&(struct retain_rule){ 1, 1e9 }, 8, hours, "k------k");
    expect_kept(&(struct retain_rule){ 1, 0 }, 1, hours, "k");
    expect_kept(&(struct retain_rule){ 1, 0 }, 0, hours, "");
}
END_TEST

START_TEST(what_was_kept_is_kept_again)
{
    static const double times[] = { 0, 1, 5, 9, 10, 11, 19, 30 };
    const struct retain_rule rule = { 2, 5 };
    double left[8];
    bool keep[8];
    size_t n = 0;

    retain_plan(&rule, times, 8, keep);
    for (size_t i = 0; i < 8; i++) {
        if (keep[i])
            left[n++] = times[i];
    }
    ck_assert_uint_lt(n, 8);
    retain_plan(&rule, left, n, keep);
    for (size_t i = 0; i < n; i++)
        ck_assert(keep[i]);
}
END_TEST

START_TEST(spans_of_time_have_a_unit)
{
    static const char *const refused[] = { "", "6", "h", "-1h", "0h", "6x", "6 h", "nanh", "infh", "6hh", "1e99d" };
    double seconds;

    ck_assert_int_eq(retain_parse_span("90m", &seconds), 0);
    ck_assert_double_eq(seconds, 5400);
    ck_assert_int_eq(retain_parse_span("1.5d", &seconds), 0);
    ck_assert_double_eq(seconds, 129600);
    ck_assert_int_eq(retain_parse_span("2w", &seconds), 0);
    ck_assert_double_eq(seconds, 1209600);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
        ck_assert_msg(retain_parse_span(refused[i], &seconds) < 0, "\"%s\" was read", refused[i]);
}
END_TEST

START_TEST(long_keys_are_shortened_for_messages)
{
    char shown[ESCAPE_SHOWN_SIZE], key[1000];

    memset(key, 'k', sizeof key);
    escape_show(shown, key, sizeof key);
    ck_assert_uint_lt(strlen(shown), 80);
    ck_assert_ptr_nonnull(strstr(shown, "…\""));
    memset(key, 0xff, sizeof key);
    escape_show(shown, key, sizeof key);
    ck_assert_uint_lt(strlen(shown), ESCAPE_SHOWN_SIZE - 1);
    ck_assert_str_eq(escape_show(shown, "a\"b", 3), "\"a\"b\"");
}
END_TEST

START_TEST(sizes_have_iec_units)
{
    char text[32];

    ck_assert_str_eq(escape_size(text, 0), "0 B");
    ck_assert_str_eq(escape_size(text, 1023), "1023 B");
    ck_assert_str_eq(escape_size(text, 1024), "1.0 KiB");
    ck_assert_str_eq(escape_size(text, 1610612736), "1.5 GiB");
    ck_assert_str_eq(escape_size(text, UINT64_MAX), "16.0 EiB");
}
END_TEST

/* ---- json ---- */

static void expect_json_bytes(const void *data, size_t size, const char *expected)
{
    struct buffer text = { 0 };
    struct json json = { &text, false };

    json_bytes(&json, data, size);
    ck_assert_str_eq(buffer_string(&text), expected);
    buffer_release(&text);
}

START_TEST(bytes_are_strings_or_base64)
{
    expect_json_bytes("", 0, "\"\"");
    expect_json_bytes("a\"b\\c/", 6, "\"a\\\"b\\\\c/\"");
    expect_json_bytes("\b\t\n\v\f\r\0\x1f", 8, "\"\\b\\t\\n\\u000b\\f\\r\\u0000\\u001f\"");
    expect_json_bytes("é😀", 6, "\"é😀\"");
    expect_json_bytes("\xff", 1, "{\"base64\":\"/w==\"}");
    expect_json_bytes("\xff\xfe", 2, "{\"base64\":\"//4=\"}");
    expect_json_bytes("\xff\xfe\xfd", 3, "{\"base64\":\"//79\"}");
    expect_json_bytes("a\xff\0b", 4, "{\"base64\":\"Yf8AYg==\"}");
    expect_json_bytes("\xed\xa0\x80", 3, "{\"base64\":\"7aCA\"}");
}
END_TEST

static void expect_json_element(uint32_t dtype, const void *element, const char *expected)
{
    struct buffer text = { 0 };
    struct json json = { &text, false };

    json_element(&json, dtype, element);
    ck_assert_str_eq(buffer_string(&text), expected);
    buffer_release(&text);
}

START_TEST(numbers_that_json_cannot_hold_are_strings)
{
    uint64_t large = (uint64_t)INT64_MAX + 1, fits = INT64_MAX;
    int64_t least = INT64_MIN;
    float nan_value = NAN, infinite = -INFINITY, single = 0.1f;
    uint8_t yes = 1;

    expect_json_element(HTSTORE_UINT64, &large, "\"9223372036854775808\"");
    expect_json_element(HTSTORE_UINT64, &fits, "9223372036854775807");
    expect_json_element(HTSTORE_INT64, &least, "-9223372036854775808");
    expect_json_element(HTSTORE_FLOAT32, &nan_value, "\"NaN\"");
    expect_json_element(HTSTORE_FLOAT32, &infinite, "\"-Infinity\"");
    expect_json_element(HTSTORE_FLOAT32, &single, "0.1");
    expect_json_element(HTSTORE_BOOL, &yes, "true");
}
END_TEST

START_TEST(vectors_are_nested_arrays)
{
    static const int32_t elements[] = { 1, 2, 3, 4, 5, 6 };
    static const int64_t shape[] = { 2, 3 }, empty[] = { 2, 0 };
    struct buffer text = { 0 };
    struct json json = { &text, false };

    json_value(&json, HTSTORE_INT32, 2, shape, elements);
    json_value(&json, HTSTORE_INT32, 2, empty, NULL);
    json_value(&json, HTSTORE_INT32, 0, NULL, elements);
    ck_assert_str_eq(buffer_string(&text), "[[1,2,3],[4,5,6]],[[],[]],1");
    buffer_release(&text);
}
END_TEST

/* ---- tsv ---- */

static int split(const struct tsv_format *format, struct tsv_record *record, const char *line)
{
    struct buffer reason = { 0 };
    int result = tsv_split(format, record, htstore_string(line), 41, &reason);

    ck_assert_int_eq(result == 0, reason.size == 0);
    buffer_release(&reason);
    return result;
}

static void expect_bytes(struct htstore_bytes bytes, const char *expected)
{
    ck_assert_uint_eq(bytes.size, strlen(expected));
    ck_assert_mem_eq(bytes.data, expected, bytes.size);
}

static const struct tsv_format two_values = {
    .escapes = true, .exact = true, .delimiter = '\t', .key_column = 0, .first_column = 1, .last_column = 2
};

START_TEST(a_line_is_a_key_and_its_elements)
{
    struct tsv_record record = { 0 };

    ck_assert_int_eq(split(&two_values, &record, "k\\ty\ta\\\\\t"), 0);
    expect_bytes(record.key, "k\ty");
    ck_assert_uint_eq(record.n_values, 2);
    expect_bytes(record.values[0], "a\\");
    expect_bytes(record.values[1], "");
    tsv_release(&record);
}
END_TEST

START_TEST(missing_and_extra_columns_refuse_the_line)
{
    struct tsv_record record = { 0 };
    struct tsv_format loose = two_values;

    ck_assert_int_lt(split(&two_values, &record, "k\ta"), 0);
    ck_assert_int_lt(split(&two_values, &record, "k\ta\tb\tc"), 0);
    ck_assert_int_lt(split(&two_values, &record, ""), 0);
    ck_assert_int_lt(split(&two_values, &record, "k\ta\tb\\"), 0);
    loose.exact = false;
    ck_assert_int_eq(split(&loose, &record, "k\ta\tb\tc"), 0);
    ck_assert_uint_eq(record.n_values, 2);
    loose.escapes = false;
    ck_assert_int_eq(split(&loose, &record, "k\ta\tb\\"), 0);
    expect_bytes(record.values[1], "b\\");
    tsv_release(&record);
}
END_TEST

START_TEST(whole_lines_and_their_numbers_are_sources)
{
    struct tsv_format format = {
        .drop_cr = true, .delimiter = ',', .key = TSV_WHOLE, .value = TSV_LINE, .line_offset = 1
    };
    struct tsv_record record = { 0 };

    ck_assert_int_eq(split(&format, &record, "a,b\\\r"), 0);
    expect_bytes(record.key, "a,b\\");
    expect_bytes(record.values[0], "42");
    format.key = TSV_LINE;
    format.value = TSV_COLUMN;
    format.first_column = format.last_column = 1;
    ck_assert_int_eq(split(&format, &record, "a,b\r\r"), 0);
    expect_bytes(record.key, "42");
    expect_bytes(record.values[0], "b\r");
    tsv_release(&record);
}
END_TEST

/* ---- merge ---- */

static const struct rows_layout words = { .key_dtype = HTSTORE_STRING,
                                          .value_dtype = HTSTORE_INT32,
                                          .width = 1,
                                          .key_size = sizeof(struct htstore_bytes),
                                          .element_size = 4 };

static void add_row(struct rows *rows, const char *key, const char *value)
{
    struct htstore_bytes key_bytes = htstore_string(key), value_bytes = htstore_string(value);
    size_t at;

    ck_assert_int_eq(rows_append(rows, &key_bytes, &value_bytes, &at), ROWS_OK);
}

static int32_t written(const struct merge *merge, size_t i)
{
    int32_t value;

    memcpy(&value, rows_value(&merge->out, i), sizeof value);
    return value;
}

/* Rows a=1 a=1 a=2 b=3 meet a table that holds b=4. */
static void merge_four(struct merge *merge, enum merge_policy policy, enum merge_outcome outcomes[4])
{
    static uint8_t found[4] = { 0, 0, 0, 1 };
    static int32_t old_values[4] = { 0, 0, 0, 4 };
    static struct fetch old;
    static struct rows rows;
    const void *present;

    old = (struct fetch){ .capacity = 4, .found = found, .values = old_values };
    rows_init(&rows, &words, false);
    add_row(&rows, "a", "1");
    add_row(&rows, "a", "1");
    add_row(&rows, "a", "2");
    add_row(&rows, "b", "3");
    merge->policy = policy;
    merge_start(merge, &rows, &old);
    for (size_t i = 0; i < 4; i++)
        outcomes[i] = merge_row(merge, i, &present);
    rows_release(&rows);
}

START_TEST(a_conflict_is_another_value_in_the_table_or_earlier_in_the_batch)
{
    struct merge merge = { 0 };
    enum merge_outcome outcomes[4];

    merge_four(&merge, MERGE_ERROR, outcomes);
    ck_assert_int_eq(outcomes[0], MERGE_INSERTED);
    ck_assert_int_eq(outcomes[1], MERGE_EQUAL);
    ck_assert_int_eq(outcomes[2], MERGE_CONFLICT);
    ck_assert_int_eq(outcomes[3], MERGE_CONFLICT);
    ck_assert_uint_eq(merge.out.n, 1);
    ck_assert_int_eq(written(&merge, 0), 1);
    merge_release(&merge);
}
END_TEST

START_TEST(keep_leaves_what_was_first)
{
    struct merge merge = { 0 };
    enum merge_outcome outcomes[4];

    merge_four(&merge, MERGE_KEEP, outcomes);
    ck_assert_int_eq(outcomes[2], MERGE_KEPT);
    ck_assert_int_eq(outcomes[3], MERGE_KEPT);
    ck_assert_uint_eq(merge.out.n, 1);
    ck_assert_int_eq(written(&merge, 0), 1);
    merge_release(&merge);
}
END_TEST

START_TEST(replace_writes_what_came_last_once)
{
    struct merge merge = { 0 };
    enum merge_outcome outcomes[4];

    merge_four(&merge, MERGE_REPLACE, outcomes);
    ck_assert_int_eq(outcomes[2], MERGE_REPLACED);
    ck_assert_int_eq(outcomes[3], MERGE_REPLACED);
    ck_assert_uint_eq(merge.out.n, 2);
    ck_assert_int_eq(written(&merge, 0), 2);
    ck_assert_int_eq(written(&merge, 1), 3);
    merge_release(&merge);
}
END_TEST

/* ---- rows ---- */

START_TEST(nan_is_no_key_and_minus_zero_is_zero)
{
    static const struct rows_layout floats = {
        .key_dtype = HTSTORE_FLOAT64, .value_dtype = HTSTORE_INT32, .width = 1, .key_size = 8, .element_size = 4
    };
    struct htstore_bytes nan_key = htstore_string("nan"), zero = htstore_string("-0"), one = htstore_string("1");
    struct rows rows;
    size_t at;
    double key;

    rows_init(&rows, &floats, false);
    ck_assert_int_eq(rows_append(&rows, &nan_key, &one, &at), ROWS_NAN_KEY);
    ck_assert_uint_eq(rows.n, 0);
    ck_assert_int_eq(rows_append(&rows, &zero, &one, &at), ROWS_OK);
    memcpy(&key, rows_key(&rows, 0), sizeof key);
    ck_assert(!signbit(key));
    ck_assert_int_eq(rows_append(&rows, &one, &nan_key, &at), ROWS_SYNTAX);
    ck_assert_uint_eq(at, 1);
    ck_assert_uint_eq(rows.n, 1);
    rows_release(&rows);
}
END_TEST

START_TEST(strings_stay_where_they_are_while_rows_are_added)
{
    char text[64];
    struct rows rows;

    rows_init(&rows, &words, false);
    for (int i = 0; i < 5000; i++) {
        snprintf(text, sizeof text, "key %d of a batch", i);
        add_row(&rows, text, "1");
    }
    for (size_t i = 0; i < rows.n; i++) {
        struct htstore_bytes bytes;

        memcpy(&bytes, rows_key(&rows, i), sizeof bytes);
        snprintf(text, sizeof text, "key %zu of a batch", i);
        expect_bytes(bytes, text);
    }
    rows_release(&rows);
}
END_TEST

static TCase *add_case(Suite *suite, const char *name)
{
    TCase *test_case = tcase_create(name);

    suite_add_tcase(suite, test_case);
    return test_case;
}

int main(void)
{
    Suite *suite = suite_create("tools");
    TCase *statuses = add_case(suite, "status"), *escapes = add_case(suite, "escape"), *json = add_case(suite, "json"),
          *tsv = add_case(suite, "tsv"), *batches = add_case(suite, "batches");

    tcase_add_test(statuses, every_code_of_the_library_has_its_exit_status);
    tcase_add_test(statuses, every_exit_status_has_a_meaning);
    tcase_add_test(statuses, a_full_device_has_its_own_status);
    tcase_add_test(escapes, bytes_survive_escaping);
    tcase_add_test(escapes, only_controls_and_bytes_that_are_not_text_are_escaped);
    tcase_add_test(escapes, a_backslash_that_starts_no_escape_is_refused);
    tcase_add_test(escapes, names_are_read_as_they_are_printed);
    tcase_add_test(escapes, a_name_ends_at_a_slash_and_other_escapes_are_refused);
    tcase_add_test(escapes, a_path_is_names_joined_by_slashes);
    tcase_add_test(escapes, the_newest_and_one_for_each_span_are_kept);
    tcase_add_test(escapes, what_was_kept_is_kept_again);
    tcase_add_test(escapes, spans_of_time_have_a_unit);
    tcase_add_test(escapes, long_keys_are_shortened_for_messages);
    tcase_add_test(escapes, sizes_have_iec_units);
    tcase_add_test(json, bytes_are_strings_or_base64);
    tcase_add_test(json, numbers_that_json_cannot_hold_are_strings);
    tcase_add_test(json, vectors_are_nested_arrays);
    tcase_add_test(tsv, a_line_is_a_key_and_its_elements);
    tcase_add_test(tsv, missing_and_extra_columns_refuse_the_line);
    tcase_add_test(tsv, whole_lines_and_their_numbers_are_sources);
    tcase_add_test(batches, a_conflict_is_another_value_in_the_table_or_earlier_in_the_batch);
    tcase_add_test(batches, keep_leaves_what_was_first);
    tcase_add_test(batches, replace_writes_what_came_last_once);
    tcase_add_test(batches, nan_is_no_key_and_minus_zero_is_zero);
    tcase_add_test(batches, strings_stay_where_they_are_while_rows_are_added);
    return check_run(suite);
}
