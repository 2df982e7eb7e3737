/* Tests of hash: the values on disk are fixed, the values in memory are keyed. */
#include "hash.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A second, inlined copy of the algorithm: it does not share code with the library under test. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "check_util.h"

#define ROW_SEED UINT64_C(0x68747374726f7731)
#define INPUT_SIZE 4096

static uint8_t input[INPUT_SIZE];

/* What getrandom() does in this test. */
static enum { RANDOM_REAL, RANDOM_BROKEN_OFF, RANDOM_REFUSED, RANDOM_REFUSED_LATER } random_mode;

static void set_up(void)
{
    random_mode = RANDOM_REAL;
    for (size_t i = 0; i < INPUT_SIZE; i++)
        input[i] = (uint8_t)(i * 131 + i / 256 + 7);
}

static bool equal(struct hti_hash128 a, struct hti_hash128 b)
{
    return a.low == b.low && a.high == b.high;
}

static void expect_hash128(struct hti_hash128 hash, uint64_t high, uint64_t low)
{
    ck_assert_msg(hash.high == high && hash.low == low, "got %016llx %016llx", (unsigned long long)hash.high,
                  (unsigned long long)hash.low);
}

static const struct {
    size_t size;
    uint64_t seed, hash;
} vectors64[] = {
    { 0, UINT64_C(0x0000000000000000), UINT64_C(0x2D06800538D394C2) },
    { 1, UINT64_C(0x0000000000000001), UINT64_C(0x0A187BF012ECA100) },
    { 3, UINT64_C(0x0123456789ABCDEF), UINT64_C(0x911F06F10DDB4CD2) },
    { 4, UINT64_C(0x0000000000000000), UINT64_C(0x5C4C63133443D03F) },
    { 8, UINT64_C(0x0000000000000001), UINT64_C(0xD1129F0BF6E39A1D) },
    { 9, UINT64_C(0x0123456789ABCDEF), UINT64_C(0x6CCFF5BE3CC44EC4) },
    { 16, UINT64_C(0x0000000000000000), UINT64_C(0x86ABF6BACCEA0858) },
    { 17, UINT64_C(0x0000000000000001), UINT64_C(0x426160E58ECD06D5) },
    { 128, UINT64_C(0x0123456789ABCDEF), UINT64_C(0x357BE72A285CD85E) },
    { 129, UINT64_C(0x0000000000000000), UINT64_C(0x1648BDC3DB49D1A2) },
    { 240, UINT64_C(0x0000000000000001), UINT64_C(0x2D3A9751EDA787AE) },
    { 241, UINT64_C(0x0123456789ABCDEF), UINT64_C(0x4CBAE25B11E4B16B) },
    { 256, UINT64_C(0x0000000000000000), UINT64_C(0xB15E550733C5DFAC) },
    { 511, UINT64_C(0x0000000000000001), UINT64_C(0xA7B25986D12D6032) },
    { 512, UINT64_C(0x0123456789ABCDEF), UINT64_C(0x39394977CA5B8169) },
    { 513, UINT64_C(0x0000000000000000), UINT64_C(0xFE6DDAFD86B24138) },
    { 1024, UINT64_C(0x0000000000000001), UINT64_C(0x5755A3680F42A6F1) },
    { 1025, UINT64_C(0x0123456789ABCDEF), UINT64_C(0x626F064F5CF277BB) },
    { 4096, UINT64_C(0x0000000000000000), UINT64_C(0x3460AF104D0739AA) },
};

START_TEST(hash64_has_its_fixed_values)
{
    uint64_t hash = hti_hash64(input, vectors64[_i].size, vectors64[_i].seed);
    ck_assert_msg(hash == vectors64[_i].hash, "got %016llx", (unsigned long long)hash);
}
END_TEST

static const struct {
    size_t size;
    uint64_t high, low;
} vectors128[] = {
    { 0, UINT64_C(0x99AA06D3014798D8), UINT64_C(0x6001C324468D497F) },
    { 1, UINT64_C(0x495B62073EF70CA4), UINT64_C(0x4C5CCA45D0F4811F) },
    { 3, UINT64_C(0x390CDC5B4A895DD7), UINT64_C(0x6E3E2670E61106AC) },
    { 4, UINT64_C(0xAA6E2F274640A3F4), UINT64_C(0x3D668AF6F2A44D77) },
    { 8, UINT64_C(0x6A86A3BDA6AF4E3D), UINT64_C(0x61DDBE7F31A6100D) },
    { 9, UINT64_C(0x664C7CA18AFD6255), UINT64_C(0x8C7B67FD458A936B) },
    { 16, UINT64_C(0x7F9A218B0425449A), UINT64_C(0xE2CE54A7C19C730D) },
    { 17, UINT64_C(0x66FC23F6439DBD77), UINT64_C(0x8D96EF110FCDEBB4) },
    { 128, UINT64_C(0xAEC730751478556C), UINT64_C(0xFF361DEC1385710A) },
    { 129, UINT64_C(0x98CD36CCBB557926), UINT64_C(0x4545B3A09738E31A) },
    { 240, UINT64_C(0x5293E17BF553903D), UINT64_C(0x3F2C53E72293711F) },
    { 241, UINT64_C(0xB53840FE3FEDF161), UINT64_C(0x956CAE592C67279E) },
    { 256, UINT64_C(0xD0D2829A226D0EDB), UINT64_C(0xB15E550733C5DFAC) },
    { 511, UINT64_C(0x64CC659B548105DF), UINT64_C(0xA4066D4C39B9F350) },
    { 512, UINT64_C(0xD4640D40AF9107C3), UINT64_C(0x304495C2D7CF0B22) },
    { 513, UINT64_C(0xEC18308C5DDF83D6), UINT64_C(0xFE6DDAFD86B24138) },
    { 1024, UINT64_C(0xDF45C3BD75ACEC8C), UINT64_C(0xEA76DDA06D735AC5) },
    { 1025, UINT64_C(0xAA3E7BD7062A0570), UINT64_C(0xBADEB1907FB9A31E) },
    { 4096, UINT64_C(0x564B7E0F58679B7D), UINT64_C(0x3460AF104D0739AA) },
};

START_TEST(hash128_has_its_fixed_values)
{
    expect_hash128(hti_hash128(input, vectors128[_i].size), vectors128[_i].high, vectors128[_i].low);
}
END_TEST

static const struct {
    size_t key_size, value_size;
    uint64_t high, low;
    uint32_t checksum; /* for table 42 */
} vectors_row[] = {
    { 0, 0, UINT64_C(0x0FF1192A2D92F967), UINT64_C(0xA2C25F03BC3081AB), 0xE98572AC },
    { 0, 4, UINT64_C(0xF0A930A2F145EDD8), UINT64_C(0x59B9ACE078714CF0), 0xC6DEBEC0 },
    { 1, 0, UINT64_C(0xE84AABF7091B4577), UINT64_C(0xA69836A1C2DD53B0), 0x38330DC3 },
    { 1, 1, UINT64_C(0x678BF61588A935E6), UINT64_C(0x8F45BA88E282A25C), 0x04DAF56D },
    { 2, 8, UINT64_C(0xA9A16C222927FA58), UINT64_C(0x7CB7EA376D6DB8AD), 0x1FFB69C6 },
    { 4, 12, UINT64_C(0xE955E380B213008E), UINT64_C(0x1E6DB59F3A591249), 0x870690D0 },
    { 8, 8, UINT64_C(0x6082D48094564DE8), UINT64_C(0xCC79D6074E33A829), 0x22A3784F },
    { 8, 120, UINT64_C(0x8B271CA76BCC2464), UINT64_C(0xFDB34C024679069C), 0x33A536C3 },
    { 8, 500, UINT64_C(0xD161BF9CF9AB57AE), UINT64_C(0x8A5B47D79E4D0A27), 0xDF350AAF },
    { 8, 501, UINT64_C(0xE99037DF4C81148B), UINT64_C(0x6B8973D49F9D1211), 0x64C87EAA },
    { 8, 2048, UINT64_C(0xDFCA860A9A6E62BF), UINT64_C(0x0656A2C5E7C8B2E8), 0xF4783A7B },
    { 20, 8, UINT64_C(0x883C438C8E8F3C66), UINT64_C(0x016E8633CDE1249B), 0x9C5451B0 },
    { 490, 8, UINT64_C(0x2740CE6CD1AC0AA3), UINT64_C(0xCAD3F66F24BD55B8), 0xA816B132 },
    { 491, 17, UINT64_C(0x497B6DA4B34B84D8), UINT64_C(0x1C9DD6A1FCCBC137), 0xCBF220D4 },
    { 600, 0, UINT64_C(0xCAB6E6A60AEF4881), UINT64_C(0xDF8EB5CF10DF393E), 0x11E6E60C },
    { 8, 232, UINT64_C(0x2B8617D8D8343BD6), UINT64_C(0x55BF6523D3D76210), 0xF937042B },
    { 3000, 1000, UINT64_C(0xEF4F30F356DF5922), UINT64_C(0x28188E6620492339), 0x39EFDC88 },
};

START_TEST(row_hash_and_checksum_have_their_fixed_values)
{
    struct hti_hash128 hash =
        hti_hash_row(input, vectors_row[_i].key_size, input + vectors_row[_i].key_size, vectors_row[_i].value_size);
    expect_hash128(hash, vectors_row[_i].high, vectors_row[_i].low);
    ck_assert_uint_eq(hti_hash_row_checksum(hash, 42), vectors_row[_i].checksum);
}
END_TEST

START_TEST(hash_of_nothing_is_the_published_one)
{
    ck_assert_uint_eq(hti_hash64(NULL, 0, 0), UINT64_C(0x2D06800538D394C2));
    expect_hash128(hti_hash128(NULL, 0), UINT64_C(0x99AA06D3014798D8), UINT64_C(0x6001C324468D497F));
}
END_TEST

static struct hti_hash128 hash_gathered_row(size_t key_size, size_t value_size)
{
    uint8_t row[4 + INPUT_SIZE];
    for (int i = 0; i < 4; i++)
        row[i] = (uint8_t)(key_size >> (8 * i));
    memcpy(row + 4, input, key_size + value_size);
    XXH128_hash_t hash = XXH3_128bits_withSeed(row, 4 + key_size + value_size, ROW_SEED);
    return (struct hti_hash128){ .low = hash.low64, .high = hash.high64 };
}

START_TEST(rows_hash_the_same_in_one_piece_and_in_several)
{
    static const size_t key_sizes[] = { 0, 1, 8, 490, 500, 507, 508, 509, 512, 1000 };
    size_t key_size = key_sizes[_i];
    for (size_t value_size = 0; value_size < 1100; value_size++) {
        struct hti_hash128 hash = hti_hash_row(input, key_size, input + key_size, value_size);
        if (!equal(hash, hash_gathered_row(key_size, value_size)))
            ck_abort_msg("key of %zu bytes, value of %zu", key_size, value_size);
    }
}
END_TEST

START_TEST(a_row_of_no_bytes_may_have_no_pointers)
{
    ck_assert(equal(hti_hash_row(NULL, 0, NULL, 0), hash_gathered_row(0, 0)));
    ck_assert(equal(hti_hash_row(input, 600, NULL, 0), hash_gathered_row(600, 0)));
    ck_assert(equal(hti_hash_row(NULL, 0, input, 600), hash_gathered_row(0, 600)));
}
END_TEST

START_TEST(the_border_of_key_and_value_counts)
{
    ck_assert(!equal(hti_hash_row("ab", 2, "c", 1), hti_hash_row("a", 1, "bc", 2)));
    ck_assert(!equal(hti_hash_row("", 0, "abc", 3), hti_hash_row("abc", 3, "", 0)));
    ck_assert(!equal(hti_hash_row(input, 600, input + 600, 1), hti_hash_row(input, 599, input + 599, 2)));
}
END_TEST

START_TEST(the_checksum_depends_on_the_table)
{
    struct hti_hash128 hash = hti_hash_row("key", 3, "value", 5);
    for (uint64_t id = 1; id < 1000; id++)
        ck_assert_uint_ne(hti_hash_row_checksum(hash, id), hti_hash_row_checksum(hash, id + 1));
}
END_TEST

START_TEST(the_checksum_depends_on_all_bits_of_the_hash)
{
    const struct hti_hash128 hash = hti_hash_row("key", 3, "value", 5);
    uint32_t checksum = hti_hash_row_checksum(hash, 1);
    for (int bit = 0; bit < 64; bit++) {
        struct hti_hash128 low = hash, high = hash;
        low.low ^= UINT64_C(1) << bit;
        high.high ^= UINT64_C(1) << bit;
        ck_assert_uint_ne(hti_hash_row_checksum(low, 1), checksum);
        ck_assert_uint_ne(hti_hash_row_checksum(high, 1), checksum);
    }
}
END_TEST

START_TEST(the_digest_does_not_depend_on_the_order)
{
    struct hti_hash128 up = { 0, 0 }, down = { 0, 0 };
    for (size_t i = 0; i < 1000; i++) {
        hti_digest_add(&up, hti_hash128(input, i));
        hti_digest_add(&down, hti_hash128(input, 999 - i));
    }
    ck_assert(equal(up, down));
    for (size_t i = 0; i < 1000; i++)
        hti_digest_subtract(&up, hti_hash128(input, (i * 7) % 1000));
    expect_hash128(up, 0, 0);
}
END_TEST

START_TEST(the_digest_carries_and_borrows)
{
    struct hti_hash128 digest = { .low = UINT64_MAX, .high = 5 };
    struct hti_hash128 one = { .low = 1, .high = 0 };
    struct hti_hash128 all = { .low = UINT64_MAX, .high = UINT64_MAX };
    hti_digest_add(&digest, one);
    expect_hash128(digest, 6, 0);
    hti_digest_subtract(&digest, one);
    expect_hash128(digest, 5, UINT64_MAX);
    hti_digest_add(&digest, all);
    expect_hash128(digest, 5, UINT64_MAX - 1);
    hti_digest_subtract(&digest, all);
    expect_hash128(digest, 5, UINT64_MAX);
    hti_digest_add(&all, one);
    expect_hash128(all, 0, 0);
}
END_TEST

START_TEST(two_equal_rows_do_not_cancel_out)
{
    struct hti_hash128 digest = { 0, 0 };
    hti_digest_add(&digest, hti_hash128("row", 3));
    hti_digest_add(&digest, hti_hash128("row", 3));
    ck_assert(digest.low != 0 && digest.high != 0);
}
END_TEST

START_TEST(keyed_hashes_depend_on_the_secret)
{
    struct hti_hash_secret a, b;
    hti_hash_random(&a, sizeof a);
    b = a;
    for (size_t size = 0; size <= 1024; size = size * 2 + 1) {
        ck_assert_uint_eq(hti_hash_keyed(&a, input, size), hti_hash_keyed(&b, input, size));
        ck_assert_uint_eq(hti_hash_keyed(&a, input, size),
                          XXH3_64bits_withSecret(input, size, a.bytes, sizeof a.bytes));
    }
    hti_hash_random(&b, sizeof b);
    for (size_t size = 0; size <= 1024; size = size * 2 + 1)
        ck_assert_uint_ne(hti_hash_keyed(&a, input, size), hti_hash_keyed(&b, input, size));
}
END_TEST

static unsigned n_random_calls;

/* Takes the place of the C library's. */
ssize_t getrandom(void *out, size_t size, unsigned flags)
{
    n_random_calls++;
    if (random_mode == RANDOM_REAL)
        return (ssize_t)syscall(SYS_getrandom, out, size, flags);
    if (random_mode == RANDOM_REFUSED || (random_mode == RANDOM_REFUSED_LATER && n_random_calls > 1)) {
        errno = ENOSYS;
        return -1;
    }
    if (n_random_calls % 3 == 0) {
        errno = EINTR;
        return -1;
    }
    size = size < 5 ? size : 5;
    memset(out, (int)n_random_calls, size);
    return (ssize_t)size;
}

/* Every byte of a piece of `size` bytes must take several values, its neighbours must stay. */
static void expect_random_bytes(size_t size)
{
    uint8_t seen_different[64] = { 0 };
    uint8_t first[64], next[64];
    memset(first, 0x11, sizeof first);
    hti_hash_random(first, size);
    for (int round = 0; round < 16; round++) {
        memset(next, 0x11, sizeof next);
        hti_hash_random(next, size);
        for (size_t i = 0; i < size; i++)
            seen_different[i] |= next[i] != first[i];
        for (size_t i = size; i < sizeof next; i++)
            ck_assert_uint_eq(next[i], 0x11);
    }
    for (size_t i = 0; i < size; i++)
        ck_assert_uint_eq(seen_different[i], 1);
}

START_TEST(random_bytes_differ_with_and_without_the_system)
{
    static const size_t sizes[] = { 0, 1, 7, 8, 9, 16, 33, 63 };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        n_random_calls = 0;
        random_mode = _i == 0 ? RANDOM_REAL : RANDOM_REFUSED;
        expect_random_bytes(sizes[i]);
        if (sizes[i] > 0)
            ck_assert_uint_gt(n_random_calls, 0);
    }
}
END_TEST

START_TEST(random_bytes_of_the_system_are_fetched_to_the_last)
{
    static const uint8_t expected[] = { 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 5, 5, 5 };
    uint8_t out[sizeof expected];
    random_mode = RANDOM_BROKEN_OFF;
    n_random_calls = 0;
    hti_hash_random(out, sizeof out);
    ck_assert_mem_eq(out, expected, sizeof out);
}
END_TEST

START_TEST(the_rest_comes_from_elsewhere_if_the_system_gives_up)
{
    uint8_t out[5 + 64] = { 0 };
    random_mode = RANDOM_REFUSED_LATER;
    n_random_calls = 0;
    hti_hash_random(out, sizeof out);
    ck_assert_mem_eq(out, "\1\1\1\1\1", 5);
    for (size_t i = 0; i < 64; i += 8)
        for (size_t j = 0; j < i; j += 8)
            ck_assert_mem_ne(out + 5 + i, out + 5 + j, 8);
}
END_TEST

static const int n_vectors64 = sizeof vectors64 / sizeof vectors64[0];
static const int n_vectors128 = sizeof vectors128 / sizeof vectors128[0];
static const int n_vectors_row = sizeof vectors_row / sizeof vectors_row[0];

int main(void)
{
    Suite *suite = suite_create("hash");
    TCase *tcase = tcase_create("hash");
    tcase_add_checked_fixture(tcase, set_up, NULL);
    tcase_add_loop_test(tcase, hash64_has_its_fixed_values, 0, n_vectors64);
    tcase_add_loop_test(tcase, hash128_has_its_fixed_values, 0, n_vectors128);
    tcase_add_loop_test(tcase, row_hash_and_checksum_have_their_fixed_values, 0, n_vectors_row);
    tcase_add_test(tcase, hash_of_nothing_is_the_published_one);
    tcase_add_loop_test(tcase, rows_hash_the_same_in_one_piece_and_in_several, 0, 10);
    tcase_add_test(tcase, a_row_of_no_bytes_may_have_no_pointers);
    tcase_add_test(tcase, the_border_of_key_and_value_counts);
    tcase_add_test(tcase, the_checksum_depends_on_the_table);
    tcase_add_test(tcase, the_checksum_depends_on_all_bits_of_the_hash);
    tcase_add_test(tcase, the_digest_does_not_depend_on_the_order);
    tcase_add_test(tcase, the_digest_carries_and_borrows);
    tcase_add_test(tcase, two_equal_rows_do_not_cancel_out);
    tcase_add_test(tcase, keyed_hashes_depend_on_the_secret);
    tcase_add_loop_test(tcase, random_bytes_differ_with_and_without_the_system, 0, 2);
    tcase_add_test(tcase, random_bytes_of_the_system_are_fetched_to_the_last);
    tcase_add_test(tcase, the_rest_comes_from_elsewhere_if_the_system_gives_up);
    suite_add_tcase(suite, tcase);
    return check_run(suite);
}
