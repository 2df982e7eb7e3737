/* Tests of radix: against a plain stable sort, on keys that are random and on keys that are meant to hurt. */
#include "radix.h"

#include <stdlib.h>
#include <string.h>

#include "check_util.h"
#include "samples.h"

#define MOST 200000u

static struct hti_radix_item *items, *scratch, *expected;
static const uint8_t places[MOST]; /* addresses in the order of arrival */

static void set_up(void)
{
    sample_seed(3);
    items = calloc(MOST, sizeof *items);
    scratch = calloc(MOST, sizeof *scratch);
    expected = calloc(MOST, sizeof *expected);
    ck_assert(items && scratch && expected);
}

static void tear_down(void)
{
    free(items);
    free(scratch);
    free(expected);
}

static int compare(const void *a, const void *b)
{
    const struct hti_radix_item *x = a, *y = b;

    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

static uint64_t random64(void)
{
    return sample_random() << 32 ^ sample_random();
}

/* Shapes of keys: how many bytes differ, where, and how often keys repeat. */
static uint64_t make_key(int shape, size_t i, size_t n)
{
    switch (shape) {
    case 0:
        return random64();
    case 1:
        return i; /* ascending */
    case 2:
        return n - i; /* descending */
    case 3:
        return 42; /* all equal */
    case 4:
        return random64() % 7; /* few keys, many times */
    case 5:
        return random64() << 56; /* only the highest byte */
    case 6:
        return random64() & 0xff00000000ff00ff; /* bytes in between are shared */
    case 7:
        return i % 2 ? UINT64_MAX - random64() % 3 : random64() % 3; /* both ends */
    case 8:
        return UINT64_C(1) << random64() % 64; /* every part is nearly all of it */
    case 9:
        return random64() >> random64() % 64;
    case 10:
        return i + 1 == n ? 0 : i; /* ascending but for the last */
    default:
        return random64() & 0x1ff; /* a highest bit in the middle of a byte */
    }
}
#define N_SHAPES 12

START_TEST(items_are_sorted_and_equal_ones_keep_their_order)
{
    static const size_t sizes[] = { 0, 1, 2, 31, 32, 33, 100, 1000, 32768, 32769, MOST };

    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        const size_t n = sizes[s];
        for (size_t i = 0; i < n; i++)
            expected[i] = items[i] = (struct hti_radix_item){ make_key(_i, i, n), &places[i] };
        qsort(expected, n, sizeof *expected, compare);
        hti_radix_sort(items, scratch, n);
        for (size_t i = 0; i < n; i++) {
            ck_assert_uint_eq(items[i].key, expected[i].key);
            ck_assert_ptr_eq(items[i].place, expected[i].place);
        }
    }
}
END_TEST

START_TEST(nothing_beside_the_items_is_touched)
{
    for (size_t n = 0; n < 200; n++) {
        for (size_t i = 0; i < n; i++)
            items[1 + i] = (struct hti_radix_item){ random64(), NULL };
        items[0].key = items[n + 1].key = scratch[0].key = scratch[n + 1].key = 77;
        hti_radix_sort(items + 1, scratch + 1, n);
        ck_assert(items[0].key == 77 && items[n + 1].key == 77 && scratch[0].key == 77 && scratch[n + 1].key == 77);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("radix");
    TCase *tests = tcase_create("radix");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, items_are_sorted_and_equal_ones_keep_their_order, 0, N_SHAPES);
    tcase_add_test(tests, nothing_beside_the_items_is_touched);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
