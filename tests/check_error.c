/* Tests of error: what a refusal looks like to the caller. */
#include "error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check_util.h"
#include "text.h"

static struct htstore_error make_garbage(void)
{
    struct htstore_error error;
    memset(&error, 0xAB, sizeof error);
    return error;
}

START_TEST(fail_fills_code_and_sentence_and_resets_the_rest)
{
    struct htstore_error error = make_garbage();
    static const uint64_t zero[4];

    ck_assert_int_eq(hti_fail(&error, HTSTORE_ESHAPE, "rank %d of %s", 9, "keys"), HTSTORE_ESHAPE);

    ck_assert_int_eq(error.code, HTSTORE_ESHAPE);
    ck_assert_str_eq(error.message, "rank 9 of keys");
    ck_assert_int_eq(error.sys_errno, 0);
    ck_assert_int_eq(error.index, -1);
    ck_assert_uint_eq(error.offset, 0);
    ck_assert_str_eq(error.path, "");
    ck_assert_mem_eq(error.reserved, zero, sizeof zero);
}
END_TEST

START_TEST(fail_without_an_error_struct_returns_the_code)
{
    ck_assert_int_eq(hti_fail(NULL, HTSTORE_EIO, "%s", "unheard"), HTSTORE_EIO);
    hti_error_set_errno(NULL, EIO);
    hti_error_set_index(NULL, 1);
    hti_error_set_path(NULL, "a", 1);
}
END_TEST

START_TEST(fail_preserves_errno)
{
    struct htstore_error error;
    errno = ENOSPC;
    hti_fail(&error, HTSTORE_EIO, "%d %s %f", 1, "two", 3.0);
    ck_assert_int_eq(errno, ENOSPC);
}
END_TEST

START_TEST(fail_may_quote_the_old_contents_of_the_same_struct)
{
    struct htstore_error error;
    hti_fail(&error, HTSTORE_EIO, "first");
    hti_error_set_path(&error, "/a/b", 3);
    hti_fail(&error, HTSTORE_ECORRUPT, "second after %s in %s", error.message, error.path);
    ck_assert_str_eq(error.message, "second after first in /a/b");
    ck_assert_str_eq(error.path, "");
}
END_TEST

START_TEST(a_sentence_that_just_fits_is_kept_whole)
{
    struct htstore_error error;
    char sentence[sizeof error.message];
    memset(sentence, 'x', sizeof sentence - 1);
    sentence[sizeof sentence - 1] = '\0';
    hti_fail(&error, HTSTORE_EINVAL, "%s", sentence);
    ck_assert_str_eq(error.message, sentence);

    memcpy(sentence + sizeof sentence - 3, "\xC3\xA9", 2);
    hti_fail(&error, HTSTORE_EINVAL, "%s", sentence);
    ck_assert_str_eq(error.message, sentence);
}
END_TEST

/* Text of 1200 bytes: `shift` letters, then one character again and again. */
static char *make_long_text(const char *character, size_t shift)
{
    char *text = calloc(1, 1300);
    ck_assert_ptr_nonnull(text);
    memset(text, 'x', shift);
    for (size_t size = shift; size < 1200; size += strlen(character))
        strcpy(text + size, character);
    return text;
}

static const char *const characters[] = { "a", "\xC3\xA9", "\xE2\x80\xA6", "\xF0\x9F\x98\x80" };

START_TEST(a_long_sentence_is_cut_between_characters)
{
    for (size_t shift = 0; shift < 4; shift++) {
        struct htstore_error error;
        char *text = make_long_text(characters[_i], shift);
        hti_fail(&error, HTSTORE_EINVAL, "%s", text);

        size_t size = strlen(error.message);
        ck_assert_uint_gt(size + strlen(characters[_i]), sizeof error.message - 1);
        ck_assert(hti_text_is_valid(error.message, size));
        ck_assert_mem_eq(error.message, text, size);
        free(text);
    }
}
END_TEST

START_TEST(bytes_that_are_not_text_are_cut_without_harm)
{
    struct htstore_error error;
    char bytes[600];
    memset(bytes, 0x80, sizeof bytes - 1);
    bytes[sizeof bytes - 1] = '\0';
    hti_fail(&error, HTSTORE_EINVAL, "%s", bytes);
    ck_assert_uint_eq(strlen(error.message), sizeof error.message - 1);
    hti_error_set_path(&error, bytes, 0);
    ck_assert_uint_lt(strlen(error.path), sizeof error.path);
}
END_TEST

START_TEST(details_are_added_to_a_filled_error)
{
    struct htstore_error error;
    hti_fail(&error, HTSTORE_EIO, "sentence");
    hti_error_set_errno(&error, ENOENT);
    hti_error_set_index(&error, 17);
    hti_error_set_path(&error, "/store/data.mdb", 4096);
    ck_assert_int_eq(error.sys_errno, ENOENT);
    ck_assert_int_eq(error.index, 17);
    ck_assert_str_eq(error.path, "/store/data.mdb");
    ck_assert_uint_eq(error.offset, 4096);
    ck_assert_str_eq(error.message, "sentence");
    ck_assert_int_eq(error.code, HTSTORE_EIO);
}
END_TEST

START_TEST(an_index_never_becomes_negative)
{
    struct htstore_error error;
    hti_fail(&error, HTSTORE_EINVAL, "sentence");
    hti_error_set_index(&error, UINT64_MAX);
    ck_assert_int_eq(error.index, INT64_MAX);
}
END_TEST

START_TEST(a_path_that_just_fits_is_kept_whole)
{
    struct htstore_error error = make_garbage();
    char path[sizeof error.path];
    memset(path, 'p', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    hti_error_set_path(&error, path, 0);
    ck_assert_str_eq(error.path, path);
    hti_error_set_path(&error, NULL, 5);
    ck_assert_str_eq(error.path, "");
    ck_assert_uint_eq(error.offset, 5);
}
END_TEST

START_TEST(a_long_path_loses_its_front_between_characters)
{
    for (size_t shift = 0; shift < 4; shift++) {
        struct htstore_error error = make_garbage();
        char *path = make_long_text(characters[_i], 0);
        memset(path + strlen(path), 'x', shift);
        hti_error_set_path(&error, path, 0);

        size_t size = strlen(error.path);
        ck_assert_uint_lt(size, sizeof error.path);
        ck_assert_uint_gt(size + strlen(characters[_i]), sizeof error.path - 1);
        ck_assert(hti_text_is_valid(error.path, size));
        ck_assert_mem_eq(error.path, "\xE2\x80\xA6", 3);
        ck_assert_str_eq(error.path + 3, path + strlen(path) - (size - 3));
        free(path);
    }
}
END_TEST

START_TEST(a_path_one_byte_too_long_is_shortened)
{
    struct htstore_error error = make_garbage();
    char path[sizeof error.path + 1];
    for (size_t i = 0; i < sizeof path - 1; i++)
        path[i] = (char)('a' + i % 26);
    path[sizeof path - 1] = '\0';
    hti_error_set_path(&error, path, 0);
    ck_assert_uint_eq(strlen(error.path), sizeof error.path - 1);
    ck_assert_str_eq(error.path + 3, path + 4);
}
END_TEST

START_TEST(copy_takes_everything_and_ignores_null)
{
    struct htstore_error from, to = make_garbage();
    hti_fail(&from, HTSTORE_EIO, "sentence");
    hti_error_set_path(&from, "/x", 9);
    hti_error_copy(&to, &from);
    ck_assert_mem_eq(&to, &from, sizeof to);
    hti_error_copy(&to, NULL);
    hti_error_copy(NULL, &from);
    hti_error_copy(&to, &to);
    ck_assert_mem_eq(&to, &from, sizeof to);
}
END_TEST

START_TEST(every_status_has_a_text_of_its_own)
{
    const char *unknown = htstore_strerror(1);
    ck_assert_str_eq(htstore_strerror(0), "success");
    for (int code = 0; code >= HTSTORE_ECANCELED; code--) {
        ck_assert_str_ne(htstore_strerror(code), unknown);
        for (int other = 0; other > code; other--)
            ck_assert_str_ne(htstore_strerror(code), htstore_strerror(other));
    }
    ck_assert_str_eq(htstore_strerror(HTSTORE_ECANCELED - 1), unknown);
    ck_assert_str_eq(htstore_strerror(INT32_MIN), unknown);
}
END_TEST

START_TEST(the_version_number_is_that_of_the_text)
{
    unsigned major, minor, patch;
    ck_assert_int_eq(sscanf(htstore_version(), "%u.%u.%u", &major, &minor, &patch), 3);
    ck_assert_uint_eq(htstore_version_number(), major * 10000 + minor * 100 + patch);
    ck_assert_str_eq(htstore_version(), HTSTORE_VERSION);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("error");
    TCase *tcase = tcase_create("error");
    tcase_add_test(tcase, fail_fills_code_and_sentence_and_resets_the_rest);
    tcase_add_test(tcase, fail_without_an_error_struct_returns_the_code);
    tcase_add_test(tcase, fail_preserves_errno);
    tcase_add_test(tcase, fail_may_quote_the_old_contents_of_the_same_struct);
    tcase_add_test(tcase, a_sentence_that_just_fits_is_kept_whole);
    tcase_add_loop_test(tcase, a_long_sentence_is_cut_between_characters, 0, 4);
    tcase_add_test(tcase, bytes_that_are_not_text_are_cut_without_harm);
    tcase_add_test(tcase, details_are_added_to_a_filled_error);
    tcase_add_test(tcase, an_index_never_becomes_negative);
    tcase_add_test(tcase, a_path_that_just_fits_is_kept_whole);
    tcase_add_loop_test(tcase, a_long_path_loses_its_front_between_characters, 0, 4);
    tcase_add_test(tcase, a_path_one_byte_too_long_is_shortened);
    tcase_add_test(tcase, copy_takes_everything_and_ignores_null);
    tcase_add_test(tcase, every_status_has_a_text_of_its_own);
    tcase_add_test(tcase, the_version_number_is_that_of_the_text);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
