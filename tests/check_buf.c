/* Tests of buf: the growable buffer and the bounded reader. */
#include "buf.h"

#include <stdlib.h>
#include <string.h>

#include "check_util.h"
#include "htstore.h"
#include "mem.h"

static struct hti_buf buf;

static void set_up(void)
{
    hti_buf_init(&buf);
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    hti_buf_release(&buf);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

START_TEST(integers_are_appended_little_endian)
{
    static const uint8_t expected[] = { 0x01, 0x03, 0x02, 0x07, 0x06, 0x05, 0x04, 0x0F,
                                        0x0E, 0x0D, 0x0C, 0x0B, 0x0A, 0x09, 0x08 };
    ck_assert_int_eq(hti_buf_append_u8(&buf, 0x01), 0);
    ck_assert_int_eq(hti_buf_append_u16(&buf, 0x0203), 0);
    ck_assert_int_eq(hti_buf_append_u32(&buf, 0x04050607), 0);
    ck_assert_int_eq(hti_buf_append_u64(&buf, UINT64_C(0x08090A0B0C0D0E0F)), 0);
    ck_assert_uint_eq(buf.size, sizeof expected);
    ck_assert_mem_eq(buf.data, expected, sizeof expected);
}
END_TEST

START_TEST(appending_nothing_needs_no_memory)
{
    hti_mem_test_fail(0, true);
    ck_assert_int_eq(hti_buf_append(&buf, NULL, 0), 0);
    ck_assert_int_eq(hti_buf_reserve(&buf, 0), 0);
    ck_assert_ptr_null(buf.data);
    ck_assert_uint_eq(buf.size, 0);
}
END_TEST

START_TEST(growth_is_geometric_and_keeps_the_contents)
{
    unsigned n_growths = 0;
    for (uint32_t i = 0; i < 300000; i++) {
        size_t capacity = buf.capacity;
        ck_assert_int_eq(hti_buf_append_u8(&buf, (uint8_t)(i * 7)), 0);
        n_growths += buf.capacity != capacity;
        if (buf.size > buf.capacity)
            ck_abort_msg("size above capacity");
    }
    ck_assert_uint_le(n_growths, 30);
    for (uint32_t i = 0; i < 300000; i++)
        if (buf.data[i] != (uint8_t)(i * 7))
            ck_abort_msg("byte %u", i);
}
END_TEST

START_TEST(after_a_reserve_appends_do_not_allocate)
{
    uint8_t bytes[1000];
    memset(bytes, 'b', sizeof bytes);
    ck_assert_int_eq(hti_buf_append_u8(&buf, 1), 0);
    ck_assert_int_eq(hti_buf_reserve(&buf, 5000), 0);
    hti_mem_test_fail(0, true);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(hti_buf_append(&buf, bytes, sizeof bytes), 0);
    ck_assert_uint_eq(buf.size, 5001);
}
END_TEST

START_TEST(a_failed_append_leaves_the_buffer_as_it_was)
{
    static const uint8_t big[4096];
    ck_assert_int_eq(hti_buf_append(&buf, "kept", 4), 0);
    struct hti_buf before = buf;
    hti_mem_test_fail(0, true);
    ck_assert_int_eq(hti_buf_append(&buf, big, sizeof big), HTSTORE_ENOMEM);
    ck_assert_int_eq(hti_buf_reserve(&buf, 4096), HTSTORE_ENOMEM);
    ck_assert_mem_eq(&buf, &before, sizeof buf);
    ck_assert_mem_eq(buf.data, "kept", 4);
}
END_TEST

START_TEST(a_failed_first_append_leaves_an_empty_buffer)
{
    hti_mem_test_fail(0, true);
    ck_assert_int_eq(hti_buf_append_u8(&buf, 1), HTSTORE_ENOMEM);
    ck_assert_int_eq(hti_buf_append_u16(&buf, 1), HTSTORE_ENOMEM);
    ck_assert_int_eq(hti_buf_append_u32(&buf, 1), HTSTORE_ENOMEM);
    ck_assert_int_eq(hti_buf_append_u64(&buf, 1), HTSTORE_ENOMEM);
    ck_assert_ptr_null(buf.data);
    ck_assert_uint_eq(buf.size, 0);
    ck_assert_uint_eq(buf.capacity, 0);
}
END_TEST

START_TEST(a_size_that_overflows_is_no_memory)
{
    ck_assert_int_eq(hti_buf_append(&buf, "kept", 4), 0);
    struct hti_buf before = buf;
    ck_assert_int_eq(hti_buf_reserve(&buf, SIZE_MAX), HTSTORE_ENOMEM);
    ck_assert_int_eq(hti_buf_reserve(&buf, SIZE_MAX - 3), HTSTORE_ENOMEM);
    ck_assert_int_eq(hti_buf_reserve(&buf, SIZE_MAX - 4), HTSTORE_ENOMEM);
    ck_assert_int_eq(hti_buf_reserve(&buf, SIZE_MAX / 2), HTSTORE_ENOMEM);
    ck_assert_mem_eq(&buf, &before, sizeof buf);
}
END_TEST

START_TEST(a_released_buffer_can_be_used_again)
{
    ck_assert_int_eq(hti_buf_append_u32(&buf, 1), 0);
    hti_buf_release(&buf);
    ck_assert_ptr_null(buf.data);
    ck_assert_uint_eq(buf.capacity, 0);
    ck_assert_int_eq(hti_buf_append_u32(&buf, 2), 0);
    ck_assert_uint_eq(buf.size, 4);
    hti_buf_release(&buf);
    hti_buf_release(&buf);
}
END_TEST

START_TEST(the_reader_reads_what_the_buffer_wrote)
{
    ck_assert_int_eq(hti_buf_append_u8(&buf, 0xF1), 0);
    ck_assert_int_eq(hti_buf_append_u16(&buf, 0xF203), 0);
    ck_assert_int_eq(hti_buf_append_u32(&buf, 0xF4050607), 0);
    ck_assert_int_eq(hti_buf_append_u64(&buf, UINT64_C(0xF8090A0B0C0D0E0F)), 0);
    ck_assert_int_eq(hti_buf_append(&buf, "xyz", 3), 0);

    struct hti_reader reader;
    hti_reader_init(&reader, buf.data, buf.size);
    ck_assert_uint_eq(hti_reader_left(&reader), 18);
    ck_assert_uint_eq(hti_reader_u8(&reader), 0xF1);
    ck_assert_uint_eq(hti_reader_u16(&reader), 0xF203);
    ck_assert_uint_eq(hti_reader_u32(&reader), 0xF4050607);
    ck_assert_uint_eq(hti_reader_u64(&reader), UINT64_C(0xF8090A0B0C0D0E0F));
    ck_assert_uint_eq(hti_reader_left(&reader), 3);
    ck_assert_mem_eq(hti_reader_bytes(&reader, 3), "xyz", 3);
    ck_assert_uint_eq(hti_reader_left(&reader), 0);
    ck_assert_ptr_nonnull(hti_reader_bytes(&reader, 0));
    ck_assert(hti_reader_ok(&reader));
}
END_TEST

/* Read an item of `size` bytes: 1, 2, 4, 8 as integers, others as bytes. Returns whether it was more than nothing. */
static bool read_item(struct hti_reader *reader, size_t size)
{
    switch (size) {
    case 1:
        return hti_reader_u8(reader) != 0;
    case 2:
        return hti_reader_u16(reader) != 0;
    case 4:
        return hti_reader_u32(reader) != 0;
    case 8:
        return hti_reader_u64(reader) != 0;
    default:
        return hti_reader_bytes(reader, size) != NULL;
    }
}

START_TEST(reader_past_the_end_fails_for_good)
{
    static const size_t sizes[] = { 1, 2, 3, 4, 8, 9 };
    size_t size = sizes[_i];
    for (size_t have = 0; have <= size; have++) {
        uint8_t *bytes = malloc(have > 0 ? have : 1);
        ck_assert_ptr_nonnull(bytes);
        memset(bytes, 0xEE, have);
        struct hti_reader reader;
        hti_reader_init(&reader, bytes, have);
        ck_assert_int_eq(read_item(&reader, size), have == size);
        ck_assert_int_eq(hti_reader_ok(&reader), have == size);
        ck_assert(!read_item(&reader, 1));
        ck_assert(!hti_reader_ok(&reader));
        ck_assert(!read_item(&reader, 0));
        ck_assert_uint_eq(hti_reader_left(&reader), 0);
        free(bytes);
    }
}
END_TEST

START_TEST(a_failed_reader_yields_nothing_though_bytes_are_left)
{
    static const uint8_t bytes[] = { 9, 9, 9, 9, 9 };
    struct hti_reader reader;
    hti_reader_init(&reader, bytes, sizeof bytes);
    ck_assert_uint_eq(hti_reader_u64(&reader), 0);
    ck_assert_uint_eq(hti_reader_u8(&reader), 0);
    ck_assert_uint_eq(hti_reader_u16(&reader), 0);
    ck_assert_uint_eq(hti_reader_u32(&reader), 0);
    ck_assert_ptr_null(hti_reader_bytes(&reader, 1));
    ck_assert_uint_eq(hti_reader_left(&reader), 0);
    ck_assert(!hti_reader_ok(&reader));
}
END_TEST

START_TEST(a_hostile_size_does_not_wrap)
{
    static const uint8_t bytes[16];
    struct hti_reader reader;
    hti_reader_init(&reader, bytes, sizeof bytes);
    (void)hti_reader_u64(&reader);
    ck_assert_ptr_null(hti_reader_bytes(&reader, SIZE_MAX - 4));
    ck_assert(!hti_reader_ok(&reader));
}
END_TEST

START_TEST(a_reader_of_nothing_is_fine_until_it_is_read)
{
    struct hti_reader reader;
    hti_reader_init(&reader, NULL, 0);
    ck_assert_ptr_nonnull(hti_reader_bytes(&reader, 0));
    ck_assert(hti_reader_ok(&reader));
    ck_assert_uint_eq(hti_reader_u8(&reader), 0);
    ck_assert(!hti_reader_ok(&reader));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("buf");
    TCase *tcase = tcase_create("buf");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, integers_are_appended_little_endian);
    tcase_add_test(tcase, appending_nothing_needs_no_memory);
    tcase_add_test(tcase, growth_is_geometric_and_keeps_the_contents);
    tcase_add_test(tcase, after_a_reserve_appends_do_not_allocate);
    tcase_add_test(tcase, a_failed_append_leaves_the_buffer_as_it_was);
    tcase_add_test(tcase, a_failed_first_append_leaves_an_empty_buffer);
    tcase_add_test(tcase, a_size_that_overflows_is_no_memory);
    tcase_add_test(tcase, a_released_buffer_can_be_used_again);
    tcase_add_test(tcase, the_reader_reads_what_the_buffer_wrote);
    tcase_add_loop_test(tcase, reader_past_the_end_fails_for_good, 0, 6);
    tcase_add_test(tcase, a_failed_reader_yields_nothing_though_bytes_are_left);
    tcase_add_test(tcase, a_hostile_size_does_not_wrap);
    tcase_add_test(tcase, a_reader_of_nothing_is_fine_until_it_is_read);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
