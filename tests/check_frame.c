/* Tests of frame: independent Zstandard frames, skippable frames, and what is refused. */
#include "frame.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "check_util.h"
#include "htstore.h"
#include "mem.h"
#include "samples.h"

#define DATA_SIZE 300000u

static struct hti_frame_encoder *encoder;
static struct hti_frame_decoder *decoder;
static struct hti_buf frame;
static uint8_t data[DATA_SIZE], plain[DATA_SIZE + 1];

static void set_up(void)
{
    sample_seed(7);
    for (size_t i = 0; i < DATA_SIZE; i++)
        data[i] = (uint8_t)sample_below(i % 100 < 50 ? 4 : 256);
    hti_buf_init(&frame);
    ck_assert_int_eq(hti_frame_encoder_new(&encoder), 0);
    ck_assert_int_eq(hti_frame_decoder_new(&decoder), 0);
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    hti_frame_encoder_free(encoder);
    hti_frame_decoder_free(decoder);
    hti_buf_release(&frame);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

static void encode(int level, size_t size)
{
    frame.size = 0;
    ck_assert_int_eq(hti_frame_encode(encoder, level, data, size, &frame), 0);
}

/* In memory of exactly that size, so that sanitizers see a step too far. */
static int decode(const uint8_t *bytes, size_t size, size_t plain_size)
{
    uint8_t *copy = sample_copy(bytes, size), *out = sample_copy(plain, plain_size);
    int status = hti_frame_decode(decoder, copy, size, out, plain_size);
    if (status == 0)
        memcpy(plain, out, plain_size);
    free(copy);
    free(out);
    return status;
}

START_TEST(what_was_encoded_is_decoded)
{
    static const size_t sizes[] = { 0, 1, 255, 256, 65791, 65792, DATA_SIZE };
    static const int levels[] = { HTI_FRAME_MIN_LEVEL, -1, 1, 3, HTI_FRAME_MAX_LEVEL };
    const size_t size = sizes[_i / 5];
    encode(levels[_i % 5], size);
    memset(plain, 0xEE, sizeof plain);
    ck_assert_int_eq(decode(frame.data, frame.size, size), 0);
    ck_assert(memcmp(plain, data, size) == 0);
    ck_assert_uint_eq(plain[size], 0xEE);
}
END_TEST

START_TEST(equal_input_gives_equal_bytes)
{
    struct hti_buf first;
    encode(3, 5000);
    first = frame;
    hti_buf_init(&frame);
    encode(19, 70000);
    encode(-5, 100);
    encode(3, 5000);
    ck_assert_uint_eq(frame.size, first.size);
    ck_assert_mem_eq(frame.data, first.data, first.size);
    hti_buf_release(&first);
}
END_TEST

START_TEST(frames_are_appended)
{
    size_t first_size, found;
    encode(1, 1000);
    first_size = frame.size;
    ck_assert_int_eq(hti_frame_encode(encoder, 1, data + 1000, 500, &frame), 0);
    ck_assert_int_eq(hti_frame_find_size(frame.data, frame.size, &found), 0);
    ck_assert_uint_eq(found, first_size);
    ck_assert_int_eq(hti_frame_find_size(frame.data + found, frame.size - found, &found), 0);
    ck_assert_uint_eq(found, frame.size - first_size);
    ck_assert_int_eq(decode(frame.data + first_size, found, 500), 0);
    ck_assert_mem_eq(plain, data + 1000, 500);
}
END_TEST

START_TEST(the_head_tells_size_and_checksum)
{
    static const size_t sizes[] = { 0, 1, 255, 256, 65791, 65792, DATA_SIZE };
    struct hti_frame_head head;
    encode(1, sizes[_i]);
    ck_assert_int_eq(hti_frame_parse_head(frame.data, frame.size < 18 ? frame.size : 18, &head), 0);
    ck_assert_int_eq(head.kind, HTI_FRAME_ZSTANDARD);
    ck_assert_uint_eq(head.content_size, sizes[_i]);
    ck_assert_uint_ge(head.window_size, sizes[_i]);
    ck_assert(head.has_checksum);
    for (size_t size = 0; size < head.head_size; size++) {
        uint8_t *cut = sample_copy(frame.data, size);
        ck_assert_int_eq(hti_frame_parse_head(cut, size, &head), HTSTORE_ECORRUPT);
        free(cut);
    }
}
END_TEST

/* Descriptors by RFC 8878, 3.1.1.1: content size flag, single segment, reserved, checksum, dictionary. */
START_TEST(every_form_of_head_is_read)
{
    static const struct {
        uint8_t bytes[14];
        int status;
        uint32_t head_size;
        uint64_t content_size, window_size;
    } heads[] = {
        { { 0x00, 0x00 }, 0, 6, HTI_FRAME_UNKNOWN_SIZE, 1024 },
        { { 0x00, 0x0B }, 0, 6, HTI_FRAME_UNKNOWN_SIZE, 2048 + 256 * 3 },
        { { 0x04, 0x68 }, 0, 6, HTI_FRAME_UNKNOWN_SIZE, 1 << 23 },
        { { 0x00, 0xFF }, 0, 6, HTI_FRAME_UNKNOWN_SIZE, UINT64_C(15) << 38 },
        { { 0x20, 0x07 }, 0, 6, 7, 7 },
        { { 0x40, 0x00, 0x01, 0x02 }, 0, 8, 0x0201 + 256, 1024 },
        { { 0x60, 0xFF, 0xFF }, 0, 7, 65791, 65791 },
        { { 0xA0, 0x01, 0x02, 0x03, 0x04 }, 0, 9, 0x04030201, 0x04030201 },
        { { 0xC0, 0x00, 1, 2, 3, 4, 5, 6, 7, 8 }, 0, 14, UINT64_C(0x0807060504030201), 1024 },
        { { 0x28, 0x07 }, HTSTORE_ECORRUPT, 0, 0, 0 }, /* reserved */
        { { 0x21, 0x07 }, HTSTORE_ECORRUPT, 0, 0, 0 }, /* dictionary */
        { { 0x23, 0x07 }, HTSTORE_ECORRUPT, 0, 0, 0 },
    };
    uint8_t bytes[18] = { 0x28, 0xB5, 0x2F, 0xFD };
    struct hti_frame_head head;
    memcpy(bytes + 4, heads[_i].bytes, 14);
    ck_assert_int_eq(hti_frame_parse_head(bytes, sizeof bytes, &head), heads[_i].status);
    if (heads[_i].status != 0)
        return;
    ck_assert_uint_eq(head.head_size, heads[_i].head_size);
    ck_assert_uint_eq(head.content_size, heads[_i].content_size);
    ck_assert_uint_eq(head.window_size, heads[_i].window_size);
    ck_assert_int_eq(head.has_checksum, (heads[_i].bytes[0] & 4) != 0);
}
END_TEST

START_TEST(skippable_heads_are_written_and_read)
{
    uint8_t bytes[8];
    struct hti_frame_head head;
    hti_frame_store_skippable(bytes, (unsigned)_i, 0xA1B2C3D4u);
    ck_assert_uint_eq(hti_load_le32(bytes), 0x184D2A50u + (unsigned)_i);
    ck_assert_int_eq(hti_frame_parse_head(bytes, 8, &head), 0);
    ck_assert_int_eq(head.kind, HTI_FRAME_SKIPPABLE);
    ck_assert_uint_eq(head.nibble, (unsigned)_i);
    ck_assert_uint_eq(head.head_size, 8);
    ck_assert_uint_eq(head.content_size, 0xA1B2C3D4u);
    for (size_t size = 0; size < 8; size++)
        ck_assert_int_eq(hti_frame_parse_head(bytes, size, &head), HTSTORE_ECORRUPT);
}
END_TEST

START_TEST(the_size_of_a_skippable_frame_is_found)
{
    uint8_t bytes[8 + 5] = { 0 };
    size_t size = 0;
    hti_frame_store_skippable(bytes, 3, 5);
    ck_assert_int_eq(hti_frame_find_size(bytes, sizeof bytes, &size), 0);
    ck_assert_uint_eq(size, 13);
    ck_assert_int_eq(hti_frame_find_size(bytes, sizeof bytes - 1, &size), HTSTORE_ECORRUPT);
    hti_frame_store_skippable(bytes, 3, UINT32_MAX);
    ck_assert_int_eq(hti_frame_find_size(bytes, sizeof bytes, &size), HTSTORE_ECORRUPT);
}
END_TEST

START_TEST(other_bytes_are_no_frame)
{
    static const uint32_t magics[] = { 0, 0x184D2A4F, 0x184D2A60, 0xFD2FB527, 0xFD2FB529, 0xFFFFFFFF };
    uint8_t bytes[32] = { 0 };
    struct hti_frame_head head;
    size_t size;
    hti_store_le32(bytes, magics[_i]);
    ck_assert_int_eq(hti_frame_parse_head(bytes, sizeof bytes, &head), HTSTORE_EFORMAT);
    ck_assert_int_eq(hti_frame_find_size(bytes, sizeof bytes, &size), HTSTORE_EFORMAT);
    ck_assert_int_eq(decode(bytes, sizeof bytes, 8), HTSTORE_ECORRUPT);
}
END_TEST

START_TEST(another_size_of_the_content_is_refused)
{
    encode(1, 1000);
    ck_assert_int_eq(decode(frame.data, frame.size, 999), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode(frame.data, frame.size, 1001), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode(frame.data, frame.size, 0), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode(frame.data, frame.size, 1000), 0);
}
END_TEST

/* One block of three raw bytes, in a frame that does not tell its size. */
START_TEST(an_unknown_size_of_the_content_is_still_exact)
{
    static const uint8_t bytes[] = { 0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x00, 0x19, 0x00, 0x00, 'a', 'b', 'c' };
    struct hti_frame_head head;
    ck_assert_int_eq(hti_frame_parse_head(bytes, sizeof bytes, &head), 0);
    ck_assert_uint_eq(head.content_size, HTI_FRAME_UNKNOWN_SIZE);
    ck_assert_int_eq(decode(bytes, sizeof bytes, 3), 0);
    ck_assert_mem_eq(plain, "abc", 3);
    ck_assert_int_eq(decode(bytes, sizeof bytes, 2), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode(bytes, sizeof bytes, 4), HTSTORE_ECORRUPT);
}
END_TEST

START_TEST(only_one_frame_is_decoded)
{
    encode(1, 10);
    const size_t size = frame.size;
    uint8_t skippable[8];
    hti_frame_store_skippable(skippable, 0, 0);
    ck_assert_int_eq(decode(skippable, 8, 0), HTSTORE_ECORRUPT);
    ck_assert_int_eq(hti_buf_append(&frame, skippable, 8), 0);
    ck_assert_int_eq(decode(frame.data, frame.size, 10), HTSTORE_ECORRUPT);
    frame.size = size;
    ck_assert_int_eq(hti_buf_append_u8(&frame, 0), 0);
    ck_assert_int_eq(decode(frame.data, frame.size, 10), HTSTORE_ECORRUPT);
    frame.size = size;
    ck_assert_int_eq(hti_frame_encode(encoder, 1, data, 0, &frame), 0);
    ck_assert_int_eq(decode(frame.data, frame.size, 10), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode(frame.data, size, 10), 0);
}
END_TEST

START_TEST(damage_is_found)
{
    encode(1, 400);
    for (size_t at = 0; at < frame.size; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            frame.data[at] = (uint8_t)(frame.data[at] ^ 1u << bit);
            if (decode(frame.data, frame.size, 400) == 0 && memcmp(plain, data, 400) != 0)
                ck_abort_msg("bit %u of byte %zu", bit, at);
            frame.data[at] = (uint8_t)(frame.data[at] ^ 1u << bit);
        }
    for (size_t size = 0; size < frame.size; size++)
        ck_assert_int_eq(decode(frame.data, size, 400), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode(frame.data, frame.size, 400), 0);
}
END_TEST

START_TEST(failing_allocations_leave_nothing)
{
    struct hti_frame_encoder *other_encoder = encoder;
    struct hti_frame_decoder *other_decoder = decoder;
    const uint64_t live = hti_mem_test_live();
    hti_mem_test_fail(0, true);
    ck_assert_int_eq(hti_frame_encoder_new(&other_encoder), HTSTORE_ENOMEM);
    ck_assert_ptr_null(other_encoder);
    ck_assert_int_eq(hti_frame_decoder_new(&other_decoder), HTSTORE_ENOMEM);
    ck_assert_ptr_null(other_decoder);
    ck_assert_int_eq(hti_frame_encode(encoder, 1, data, 100, &frame), HTSTORE_ENOMEM);
    ck_assert_ptr_null(frame.data);
    hti_mem_test_fail(UINT64_MAX, false);
    ck_assert_uint_eq(hti_mem_test_live(), live);
    hti_frame_encoder_free(NULL);
    hti_frame_decoder_free(NULL);
}
END_TEST

START_TEST(the_version_is_that_of_the_library)
{
    unsigned major, minor, release;
    ck_assert_int_eq(sscanf(hti_frame_version(), "%u.%u.%u", &major, &minor, &release), 3);
    ck_assert_uint_ge(major * 10000 + minor * 100 + release, 10400);
    ck_assert_ptr_nonnull(strstr(htstore_build_info(), hti_frame_version()));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("frame");
    TCase *tests = tcase_create("frame");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, what_was_encoded_is_decoded, 0, 7 * 5);
    tcase_add_test(tests, equal_input_gives_equal_bytes);
    tcase_add_test(tests, frames_are_appended);
    tcase_add_loop_test(tests, the_head_tells_size_and_checksum, 0, 7);
    tcase_add_loop_test(tests, every_form_of_head_is_read, 0, 12);
    tcase_add_loop_test(tests, skippable_heads_are_written_and_read, 0, 16);
    tcase_add_test(tests, the_size_of_a_skippable_frame_is_found);
    tcase_add_loop_test(tests, other_bytes_are_no_frame, 0, 6);
    tcase_add_test(tests, another_size_of_the_content_is_refused);
    tcase_add_test(tests, an_unknown_size_of_the_content_is_still_exact);
    tcase_add_test(tests, only_one_frame_is_decoded);
    tcase_add_test(tests, damage_is_found);
    tcase_add_test(tests, failing_allocations_leave_nothing);
    tcase_add_test(tests, the_version_is_that_of_the_library);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
