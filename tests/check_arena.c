/* Tests of arena: pieces, and what a reset keeps. */
#include "arena.h"

#include <stdint.h>
#include <string.h>

#include "check_util.h"
#include "mem.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

static struct htstore_arena *arena;

static void set_up(void)
{
    ck_assert_int_eq(htstore_arena_new(&arena, NULL), 0);
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    htstore_arena_free(arena);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

/* Sizes from small to more than a chunk, in no regular order. */
static size_t size_of_piece(uint32_t i)
{
    static const size_t sizes[] = { 1, 16,  17,  0,        100,     4000,      5 * KIB,       8,  70 * KIB,
                                    3, 333, 255, 20 * KIB, 9 * KIB, 256 * KIB, 256 * KIB - 1, 31, 2 * MIB };
    return sizes[i % (sizeof sizes / sizeof sizes[0])];
}

#define N_PIECES 90

static void expect_pieces_apart(void)
{
    uint8_t *pieces[N_PIECES];
    for (uint32_t i = 0; i < N_PIECES; i++) {
        pieces[i] = hti_arena_alloc(arena, size_of_piece(i), 1);
        ck_assert_ptr_nonnull(pieces[i]);
        ck_assert_uint_eq((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)i, size_of_piece(i));
    }
    for (uint32_t i = 0; i < N_PIECES; i++)
        for (size_t at = 0; at < size_of_piece(i); at++)
            if (pieces[i][at] != (uint8_t)i)
                ck_abort_msg("piece %u is overwritten at %zu", i, at);
}

START_TEST(pieces_are_aligned_and_apart)
{
    expect_pieces_apart();
    htstore_arena_reset(arena);
    expect_pieces_apart();
}
END_TEST

START_TEST(a_size_of_zero_yields_a_pointer)
{
    ck_assert_ptr_nonnull(hti_arena_alloc(arena, 0, 8));
    ck_assert_ptr_nonnull(hti_arena_alloc(arena, 8, 0));
}
END_TEST

START_TEST(sizes_that_overflow_are_refused)
{
    ck_assert_ptr_null(hti_arena_alloc(arena, SIZE_MAX, 2));
    ck_assert_ptr_null(hti_arena_alloc(arena, SIZE_MAX / 8 + 2, 8));
    for (size_t less = 0; less < 32; less++) {
        ck_assert_ptr_null(hti_arena_alloc(arena, SIZE_MAX - less, 1));
        ck_assert_ptr_null(hti_arena_alloc(arena, SIZE_MAX / 2 - less, 1));
    }
    ck_assert_ptr_nonnull(hti_arena_alloc(arena, 10, 10));
}
END_TEST

START_TEST(small_pieces_share_chunks)
{
    uint64_t live = hti_mem_test_live();
    for (int i = 0; i < 100000; i++)
        ck_assert_ptr_nonnull(hti_arena_alloc(arena, 16, 1));
    ck_assert_uint_le(hti_mem_test_live() - live, 12);
}
END_TEST

START_TEST(a_big_piece_does_not_waste_the_current_chunk)
{
    uint8_t *before = hti_arena_alloc(arena, 16, 1);
    ck_assert_ptr_nonnull(hti_arena_alloc(arena, 300 * KIB, 1));
    ck_assert_ptr_eq(hti_arena_alloc(arena, 16, 1), before + 16);
}
END_TEST

START_TEST(reset_gives_big_memory_back)
{
    uint64_t live = hti_mem_test_live();
    for (int i = 0; i < 4; i++)
        ck_assert_ptr_nonnull(hti_arena_alloc(arena, 2 * MIB, 1));
    htstore_arena_reset(arena);
    ck_assert_uint_eq(hti_mem_test_live(), live);
}
END_TEST

START_TEST(reset_keeps_small_memory_for_reuse)
{
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 400; i++)
            ck_assert_ptr_nonnull(hti_arena_alloc(arena, 100, 1));
        htstore_arena_reset(arena);
        hti_mem_test_fail(0, true);
    }
}
END_TEST

START_TEST(a_kept_chunk_is_not_used_for_more_than_it_holds)
{
    ck_assert_ptr_nonnull(hti_arena_alloc(arena, 16, 1));
    htstore_arena_reset(arena);
    hti_mem_test_fail(0, true);
    ck_assert_ptr_null(hti_arena_alloc(arena, 100 * KIB, 1));
    ck_assert_ptr_null(hti_arena_alloc(arena, 4 * KIB, 1));
    ck_assert_ptr_nonnull(hti_arena_alloc(arena, 2 * KIB, 1));
}
END_TEST

START_TEST(reset_keeps_at_most_a_mebibyte)
{
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 64; i++)
            ck_assert_ptr_nonnull(hti_arena_alloc(arena, 100 * KIB, 1));
        htstore_arena_reset(arena);
        hti_mem_test_fail(0, true);
        size_t kept = 0;
        while (hti_arena_alloc(arena, KIB, 1))
            kept += KIB;
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_uint_le(kept, MIB);
        ck_assert_uint_ge(kept, MIB / 2);
        htstore_arena_reset(arena);
    }
}
END_TEST

START_TEST(reset_twice_and_reset_of_an_empty_arena_do_nothing)
{
    htstore_arena_reset(arena);
    ck_assert_ptr_nonnull(hti_arena_alloc(arena, 1, 1));
    uint64_t live = hti_mem_test_live();
    htstore_arena_reset(arena);
    htstore_arena_reset(arena);
    ck_assert_uint_eq(hti_mem_test_live(), live);
}
END_TEST

START_TEST(lack_of_memory_leaves_the_arena_usable)
{
    uint8_t *first = hti_arena_alloc(arena, 16, 1);
    memset(first, 7, 16);
    hti_mem_test_fail(0, true);
    ck_assert_ptr_null(hti_arena_alloc(arena, 100 * KIB, 1));
    ck_assert_ptr_null(hti_arena_alloc(arena, MIB, 1));
    ck_assert_ptr_nonnull(hti_arena_alloc(arena, 16, 1));
    hti_mem_test_fail(UINT64_MAX, false);
    ck_assert_ptr_nonnull(hti_arena_alloc(arena, 100 * KIB, 1));
    ck_assert_uint_eq(first[15], 7);
}
END_TEST

START_TEST(new_without_memory_gives_null_and_says_so)
{
    struct htstore_arena *other = arena;
    struct htstore_error error;
    hti_mem_test_fail(0, false);
    ck_assert_int_eq(htstore_arena_new(&other, &error), HTSTORE_ENOMEM);
    ck_assert_ptr_null(other);
    ck_assert_int_eq(error.code, HTSTORE_ENOMEM);
    ck_assert_str_ne(error.message, "");
}
END_TEST

START_TEST(bad_handles_are_recognized)
{
    uint64_t other[16] = { 0 };
    struct htstore_arena *bad = (void *)other;
    struct htstore_error error;
    ck_assert(hti_arena_is_valid(arena));
    ck_assert(!hti_arena_is_valid(NULL));
    ck_assert(!hti_arena_is_valid(bad));
    htstore_arena_reset(NULL);
    htstore_arena_free(NULL);
    memset(other, 0x5A, sizeof other);
    htstore_arena_reset(bad);
    htstore_arena_free(bad);
    ck_assert_int_eq(htstore_arena_new(NULL, &error), HTSTORE_EINVAL);
    ck_assert_int_eq(error.code, HTSTORE_EINVAL);
    ck_assert_int_eq(htstore_arena_new(NULL, NULL), HTSTORE_EINVAL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("arena");
    TCase *tcase = tcase_create("arena");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, pieces_are_aligned_and_apart);
    tcase_add_test(tcase, a_size_of_zero_yields_a_pointer);
    tcase_add_test(tcase, sizes_that_overflow_are_refused);
    tcase_add_test(tcase, small_pieces_share_chunks);
    tcase_add_test(tcase, a_big_piece_does_not_waste_the_current_chunk);
    tcase_add_test(tcase, reset_gives_big_memory_back);
    tcase_add_test(tcase, reset_keeps_small_memory_for_reuse);
    tcase_add_test(tcase, a_kept_chunk_is_not_used_for_more_than_it_holds);
    tcase_add_test(tcase, reset_keeps_at_most_a_mebibyte);
    tcase_add_test(tcase, reset_twice_and_reset_of_an_empty_arena_do_nothing);
    tcase_add_test(tcase, lack_of_memory_leaves_the_arena_usable);
    tcase_add_test(tcase, new_without_memory_gives_null_and_says_so);
    tcase_add_test(tcase, bad_handles_are_recognized);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
