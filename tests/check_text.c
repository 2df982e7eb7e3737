/* Tests of text: which bytes are text, and how bytes look in messages. */
#include "text.h"

#include <stdint.h>
#include <string.h>

#include "check_util.h"

/* Encode `code` in a form of `size` bytes, also where that form is forbidden. */
static void encode(uint32_t code, size_t size, uint8_t out[4])
{
    static const uint8_t lead[5] = { 0, 0x00, 0xC0, 0xE0, 0xF0 };
    for (size_t i = size - 1; i > 0; i--) {
        out[i] = (uint8_t)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    out[0] = (uint8_t)(lead[size] | code);
}

static size_t shortest_form(uint32_t code)
{
    return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

START_TEST(text_is_exactly_the_shortest_form_of_every_scalar_value)
{
    uint8_t bytes[4];
    for (uint32_t code = 0; code < 0x200000; code++) {
        bool is_scalar = code != 0 && code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF);
        for (size_t size = shortest_form(code); size <= 4; size++) {
            encode(code, size, bytes);
            if (hti_text_is_valid(bytes, size) != (is_scalar && size == shortest_form(code)))
                ck_abort_msg("U+%X in %zu bytes", code, size);
        }
    }
}
END_TEST

START_TEST(a_truncated_or_broken_character_is_not_text)
{
    for (uint32_t code = 0x80; code <= 0x10FFFF; code += 97) {
        if (code >= 0xD800 && code <= 0xDFFF)
            continue;
        uint8_t bytes[5] = { 0 };
        size_t size = shortest_form(code);
        encode(code, size, bytes);
        bytes[size] = 'a';
        ck_assert(hti_text_is_valid(bytes, size + 1));
        for (size_t cut = 1; cut < size; cut++)
            ck_assert(!hti_text_is_valid(bytes, cut));
        for (size_t at = 1; at < size; at++) {
            uint8_t good = bytes[at];
            bytes[at] = 'a';
            ck_assert(!hti_text_is_valid(bytes, size + 1));
            bytes[at] = 0xC3;
            ck_assert(!hti_text_is_valid(bytes, size + 1));
            bytes[at] = good;
        }
    }
}
END_TEST

START_TEST(single_bytes_above_ascii_and_nul_are_not_text)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t bytes[3] = { 'a', (uint8_t)byte, 'b' };
        ck_assert_int_eq(hti_text_is_valid(bytes, 3), byte > 0 && byte < 0x80);
    }
}
END_TEST

START_TEST(nothing_is_text)
{
    ck_assert(hti_text_is_valid("", 0));
    ck_assert(hti_text_is_valid(NULL, 0));
}
END_TEST

static void expect_escaped(const void *data, size_t size, const char *expected)
{
    char out[200];
    memset(out, '#', sizeof out);
    hti_text_escape(out, sizeof out, data, size);
    ck_assert_str_eq(out, expected);
}

START_TEST(printable_text_stays)
{
    expect_escaped("", 0, "");
    expect_escaped(NULL, 0, "");
    expect_escaped("plain 'text' ~", 14, "plain 'text' ~");
    expect_escaped("\xC2\xA0\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 11, "\xC2\xA0\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
}
END_TEST

START_TEST(controls_and_bytes_that_are_not_text_are_escaped)
{
    expect_escaped("a\0b", 3, "a\\x00b");
    expect_escaped("\n\x1F\x7F", 3, "\\x0A\\x1F\\x7F");
    expect_escaped("\xC2\x80\xC2\x9F", 4, "\\xC2\\x80\\xC2\\x9F");
    expect_escaped("\xFF\xC0\xAF", 3, "\\xFF\\xC0\\xAF");
    expect_escaped("\xE2\x82", 2, "\\xE2\\x82");
    expect_escaped("\xED\xA0\x80z", 4, "\\xED\\xA0\\x80z");
    expect_escaped("\xE2\xC3\xA9", 3, "\\xE2\xC3\xA9");
}
END_TEST

START_TEST(a_backslash_is_doubled)
{
    expect_escaped("\\x00", 4, "\\\\x00");
}
END_TEST

static const char sample[] = "a\\\xC3\xA9\n\xE2\x82\xAC\xFF\xF0\x9F\x98\x80z\xC2\x85q";
static const char *const sample_tokens[] = {
    "a", "\\\\", "\xC3\xA9", "\\x0A", "\xE2\x82\xAC", "\\xFF", "\xF0\x9F\x98\x80", "z", "\\xC2", "\\x85", "q"
};
#define N_SAMPLE_TOKENS (sizeof sample_tokens / sizeof sample_tokens[0])
#define ELLIPSIS "\xE2\x80\xA6"

/* The most tokens that fit together with an ellipsis. */
static void cut_sample(char *out, size_t room)
{
    size_t size = 0;
    out[0] = '\0';
    for (size_t i = 0; i < N_SAMPLE_TOKENS; i++) {
        size += strlen(sample_tokens[i]);
        if (size + strlen(ELLIPSIS) > room)
            break;
        strcat(out, sample_tokens[i]);
    }
    strcat(out, ELLIPSIS);
}

START_TEST(what_does_not_fit_is_cut_at_a_boundary_and_ends_with_an_ellipsis)
{
    char whole[200];
    hti_text_escape(whole, sizeof whole, sample, sizeof sample - 1);
    for (size_t capacity = 8; capacity <= strlen(whole) + 2; capacity++) {
        char out[200];
        char expected[200];
        memset(out, '#', sizeof out);
        hti_text_escape(out, capacity, sample, sizeof sample - 1);
        if (capacity > strlen(whole))
            strcpy(expected, whole);
        else
            cut_sample(expected, capacity - 1);
        ck_assert_str_eq(out, expected);
        for (size_t i = capacity; i < sizeof out; i++)
            ck_assert_int_eq(out[i], '#');
    }
}
END_TEST

START_TEST(any_bytes_become_text)
{
    for (unsigned first = 0; first < 256; first++) {
        for (unsigned second = 0; second < 256; second++) {
            uint8_t bytes[8] = {
                'x', (uint8_t)first, (uint8_t)second, (uint8_t)(first ^ second), 0x80, 'y', 0xF4, 0x8F
            };
            char out[24];
            hti_text_escape(out, sizeof out, bytes, sizeof bytes);
            ck_assert(hti_text_is_valid(out, strlen(out)));
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("text");
    TCase *tcase = tcase_create("text");
    tcase_add_test(tcase, text_is_exactly_the_shortest_form_of_every_scalar_value);
    tcase_add_test(tcase, a_truncated_or_broken_character_is_not_text);
    tcase_add_test(tcase, single_bytes_above_ascii_and_nul_are_not_text);
    tcase_add_test(tcase, nothing_is_text);
    tcase_add_test(tcase, printable_text_stays);
    tcase_add_test(tcase, controls_and_bytes_that_are_not_text_are_escaped);
    tcase_add_test(tcase, a_backslash_is_doubled);
    tcase_add_test(tcase, what_does_not_fit_is_cut_at_a_boundary_and_ends_with_an_ellipsis);
    tcase_add_test(tcase, any_bytes_become_text);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
