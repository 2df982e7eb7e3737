/* Tests of region: zeroed and aligned memory of every size, and what the system gets back. */
#include "region.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "check_util.h"
#include "mem.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define HUGE_PAGE (2 * MIB)

static const size_t sizes[] = { 0,         1,       63,          64,      65,          1000,    256 * KIB - 1,
                                256 * KIB, MIB + 1, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 3 * MIB, 5 * MIB + 7,
                                8 * MIB };
#define N_SIZES ((int)(sizeof sizes / sizeof sizes[0]))

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

static bool is_full_of(const struct hti_region *region, uint8_t fill)
{
    const uint8_t *bytes = region->data;
    return region->size == 0 || (bytes[0] == fill && memcmp(bytes, bytes + 1, region->size - 1) == 0);
}

static void check_region(size_t size, enum hti_region_kind kind)
{
    struct hti_region region = hti_region_new(size, kind);

    ck_assert_ptr_nonnull(region.data);
    ck_assert_uint_eq(region.size, size);
    ck_assert_uint_eq((uintptr_t)region.data % HTI_REGION_ALIGNMENT, 0);
    if (kind == HTI_REGION_DENSE && size >= HUGE_PAGE)
        ck_assert_uint_eq((uintptr_t)region.data % HUGE_PAGE, 0);
    ck_assert(region.mapped == 0 || region.mapped >= size);
    ck_assert(is_full_of(&region, 0));
    memset(region.data, 0xa5, size);
    hti_region_forget(&region);
    if (region.mapped > 0)
        ck_assert(is_full_of(&region, 0));
    memset(region.data, 0x5a, size);
    ck_assert_uint_eq(hti_mem_test_live(), 1);
    hti_region_free(&region);
    ck_assert_ptr_null(region.data);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

START_TEST(memory_is_zeroed_and_aligned_whatever_the_size)
{
    for (int round = 0; round < 3; round++) { /* memory that is used again is zeroed as well */
        check_region(sizes[_i], HTI_REGION_DENSE);
        check_region(sizes[_i], HTI_REGION_SPARSE);
    }
}
END_TEST

START_TEST(regions_do_not_overlap)
{
    struct hti_region regions[2 * N_SIZES];

    for (int i = 0; i < 2 * N_SIZES; i++) {
        regions[i] = hti_region_new(sizes[i / 2], i % 2 ? HTI_REGION_SPARSE : HTI_REGION_DENSE);
        ck_assert_ptr_nonnull(regions[i].data);
        memset(regions[i].data, i + 1, regions[i].size);
    }
    for (int i = 0; i < 2 * N_SIZES; i++) {
        ck_assert(is_full_of(&regions[i], (uint8_t)(i + 1)));
        hti_region_free(&regions[i]);
    }
}
END_TEST

START_TEST(without_memory_there_is_no_data)
{
    hti_mem_test_fail(0, false);
    struct hti_region region = hti_region_new(sizes[_i], HTI_REGION_DENSE);
    ck_assert(hti_mem_test_failed());
    ck_assert_ptr_null(region.data);
    hti_region_free(&region);
    hti_region_free(&region);
}
END_TEST

START_TEST(sizes_that_no_machine_has_are_refused)
{
    static const size_t too_large[] = { SIZE_MAX, SIZE_MAX - 63, SIZE_MAX / 2 + 1, SIZE_MAX / 2, SIZE_MAX / 4 };

    for (size_t i = 0; i < sizeof too_large / sizeof too_large[0]; i++) {
        struct hti_region region = hti_region_new(too_large[i], i % 2 ? HTI_REGION_SPARSE : HTI_REGION_DENSE);
        ck_assert_ptr_null(region.data);
        hti_region_free(&region);
        ck_assert_uint_eq(hti_mem_test_live(), 0);
    }
}
END_TEST

static size_t address_space(void)
{
    size_t n_pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%zu", &n_pages), 1);
    (void)fclose(file);
    return n_pages * 4096;
}

START_TEST(nothing_stays_mapped_that_was_freed)
{
    struct hti_region first = hti_region_new(5 * MIB, HTI_REGION_DENSE);
    const size_t before = address_space();

    hti_region_free(&first);
    for (size_t i = 0; i < 200; i++) {
        struct hti_region region = hti_region_new((3 + i % 5) * MIB + 4096 * i, HTI_REGION_DENSE);
        hti_region_free(&region);
    }
    ck_assert_uint_lt(address_space(), before + 20 * MIB);
}
END_TEST

START_TEST(of_a_sparse_region_only_what_is_used_takes_memory)
{
    static unsigned char resident[KIB * MIB / 4096];
    struct hti_region region = hti_region_new(KIB * MIB, HTI_REGION_SPARSE);
    size_t n = 0;

    ck_assert_ptr_nonnull(region.data);
    ((uint8_t *)region.data)[0] = 1;
    ((uint8_t *)region.data)[region.size - 1] = 1;
    ck_assert_int_eq(mincore(region.data, region.size, resident), 0);
    for (size_t i = 0; i < sizeof resident; i++)
        n += resident[i] & 1;
    ck_assert_uint_eq(n, 2);
    hti_region_free(&region);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("region");
    TCase *tests = tcase_create("region");

    tcase_add_checked_fixture(tests, NULL, tear_down);
    tcase_add_loop_test(tests, memory_is_zeroed_and_aligned_whatever_the_size, 0, N_SIZES);
    tcase_add_test(tests, regions_do_not_overlap);
    tcase_add_loop_test(tests, without_memory_there_is_no_data, 0, N_SIZES);
    tcase_add_test(tests, sizes_that_no_machine_has_are_refused);
    tcase_add_test(tests, nothing_stays_mapped_that_was_freed);
    tcase_add_test(tests, of_a_sparse_region_only_what_is_used_takes_memory);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
