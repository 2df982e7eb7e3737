/* Tests of heap: items stay where they are and keep what they hold, and what was reserved cannot fail. */
#include "heap.h"

#include <inttypes.h>
#include <string.h>

#include "check_util.h"
#include "htstore.h"
#include "mem.h"
#include "samples.h"

#define MAX_ITEMS 4000

struct item {
    uint32_t reference;
    size_t size;
    uint8_t fill;
};

static struct hti_heap heap;
static struct item items[MAX_ITEMS];
static size_t n_items, unit;

static void set_up(void)
{
    sample_seed(5);
    n_items = 0;
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

static void begin(int variant)
{
    unit = variant ? 64 : 8;
    hti_heap_init(&heap, unit);
}

/* ---- items that know what they hold ---- */

static void add_item(size_t size)
{
    struct item *item = &items[n_items++];

    *item = (struct item){ .size = size, .fill = (uint8_t)sample_random() };
    item->reference = hti_heap_alloc(&heap, size);
    uint8_t *bytes = hti_heap_at(&heap, item->reference);
    if ((uintptr_t)bytes % unit != 0 || (size > HTI_HEAP_ITEM_MAX) != (item->reference >= HTI_HEAP_LARGE))
        ck_abort_msg("item %" PRIx32 " of %zu bytes lies at %p", item->reference, size, (void *)bytes);
    memset(bytes, item->fill, size);
}

static void check_item(const struct item *item)
{
    const uint8_t *bytes = hti_heap_at(&heap, item->reference);
    if (item->size > 0 && (bytes[0] != item->fill || memcmp(bytes, bytes + 1, item->size - 1) != 0))
        ck_abort_msg("an item of %zu bytes has changed", item->size);
}

static void check_items(void)
{
    for (size_t i = 0; i < n_items; i++)
        check_item(&items[i]);
}

static void free_item(size_t i)
{
    check_item(&items[i]);
    hti_heap_free(&heap, items[i].reference, items[i].size);
    items[i] = items[--n_items];
}

/* Small ones mostly, and some of every size. */
static size_t random_size(void)
{
    const size_t form = sample_below(10);
    return form < 6 ? sample_below(200) : form < 9 ? sample_below(5000) : sample_below(HTI_HEAP_ITEM_MAX + 1);
}

static uint64_t live_bytes(void)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n_items; i++)
        sum += hti_heap_rounded(&heap, items[i].size);
    return sum;
}

/* ---- tests ---- */

START_TEST(sizes_are_rounded_up_by_an_eighth_at_most)
{
    size_t before = 0;

    begin(_i);
    for (size_t size = 0; size <= HTI_HEAP_ITEM_MAX; size++) {
        const size_t rounded = hti_heap_rounded(&heap, size);
        const size_t least = size > 0 ? size : 1, most = least + unit - 1 + (size > 128 * unit ? size / 8 : 0);
        if (rounded < least || rounded < before || rounded > most || rounded > HTI_HEAP_ITEM_MAX || rounded % unit)
            ck_abort_msg("%zu bytes are rounded to %zu", size, rounded);
        before = rounded;
    }
    ck_assert_uint_eq(hti_heap_rounded(&heap, HTI_HEAP_ITEM_MAX + 1), 0);
    hti_heap_release(&heap);
}
END_TEST

START_TEST(items_keep_what_they_hold_while_others_come_and_go)
{
    begin(_i);
    for (int step = 0; step < 20000; step++) {
        if (n_items < MAX_ITEMS && sample_below(100) < 55) {
            const size_t size = random_size();
            ck_assert_int_eq(hti_heap_reserve(&heap, hti_heap_rounded(&heap, size)), 0);
            add_item(size);
        } else if (n_items > 0) {
            free_item(sample_below(n_items));
        }
        if (step % 1000 == 0) {
            check_items();
            ck_assert_uint_eq(heap.live_bytes, live_bytes());
        }
    }
    check_items();
    while (n_items > 0)
        free_item(n_items - 1);
    ck_assert_uint_eq(heap.live_bytes, 0);
    hti_heap_release(&heap);
}
END_TEST

/* For each class: its largest size, and the smallest one, which is one above that of the class before. */
START_TEST(a_place_that_is_free_is_used_for_all_sizes_of_its_class)
{
    size_t largest;

    begin(_i);
    ck_assert_int_eq(hti_heap_reserve(&heap, (uint64_t)16 << 20), 0);
    for (size_t smallest = 1; smallest <= HTI_HEAP_ITEM_MAX; smallest = largest + 1) {
        largest = hti_heap_rounded(&heap, smallest);
        const uint32_t a = hti_heap_alloc(&heap, smallest), b = hti_heap_alloc(&heap, largest);
        ck_assert_uint_ne(a, b);
        hti_heap_free(&heap, a, smallest);
        hti_heap_free(&heap, b, largest);
        const uint64_t bytes = hti_heap_bytes(&heap);
        ck_assert_uint_eq(hti_heap_alloc(&heap, smallest), b);
        ck_assert_uint_eq(hti_heap_alloc(&heap, largest), a);
        if (largest < HTI_HEAP_ITEM_MAX) {
            const uint32_t above = hti_heap_alloc(&heap, largest + 1);
            ck_assert(above != a && above != b);
            hti_heap_free(&heap, above, largest + 1);
        }
        ck_assert_uint_le(hti_heap_bytes(&heap), bytes + 2 * HTI_HEAP_ITEM_MAX);
    }
    hti_heap_release(&heap);
}
END_TEST

/* Takes items whose rounded sizes add up to what was reserved, of sizes that leave as much unused as possible. */
static void use_up(uint64_t left, unsigned mix)
{
    while (left > 0) {
        const size_t sizes[] = { random_size(), HTI_HEAP_ITEM_MAX, sample_below(3) ? HTI_HEAP_ITEM_MAX - unit + 1 : 1,
                                 HTI_HEAP_ITEM_MAX / 2 + 1, sample_below(HTI_HEAP_ITEM_MAX + 1) };
        size_t size = sizes[mix % 5];
        if (hti_heap_rounded(&heap, size) > left)
            size = unit;
        left -= hti_heap_rounded(&heap, size);
        memset(hti_heap_at(&heap, hti_heap_alloc(&heap, size)), 0xee, size);
    }
}

START_TEST(what_was_reserved_needs_no_memory_whatever_the_sizes)
{
    for (unsigned mix = 0; mix < 25; mix++) {
        begin(_i);
        for (int round = 0; round < 4; round++) {
            const uint64_t bytes = (1 + sample_below(5 * HTI_HEAP_CHUNK_SIZE / unit)) * unit;
            ck_assert_int_eq(hti_heap_reserve(&heap, bytes), 0);
            ck_assert(hti_heap_has_room(&heap, bytes));
            hti_mem_test_fail(0, true);
            use_up(bytes, round % 2 ? mix : mix / 5);
            ck_assert(!hti_mem_test_failed());
            hti_mem_test_fail(UINT64_MAX, false);
        }
        hti_heap_release(&heap);
    }
}
END_TEST

START_TEST(reserving_what_there_is_room_for_takes_no_memory)
{
    begin(_i);
    ck_assert(hti_heap_has_room(&heap, 0));
    ck_assert(!hti_heap_has_room(&heap, 1));
    ck_assert_int_eq(hti_heap_reserve(&heap, 1000000), 0);
    hti_mem_test_fail(0, true);
    ck_assert_int_eq(hti_heap_reserve(&heap, 1000000), 0);
    ck_assert_int_eq(hti_heap_reserve(&heap, 0), 0);
    ck_assert(!hti_mem_test_failed());
    hti_mem_test_fail(UINT64_MAX, false);
    hti_heap_release(&heap);
}
END_TEST

START_TEST(items_stay_where_they_are_when_room_is_made)
{
    void *places[100];

    begin(_i);
    ck_assert_int_eq(hti_heap_reserve(&heap, 100 * 64), 0);
    for (size_t i = 0; i < 100; i++) {
        add_item(1 + i % 64);
        places[i] = hti_heap_at(&heap, items[i].reference);
    }
    ck_assert_int_eq(hti_heap_reserve(&heap, 20 * HTI_HEAP_CHUNK_SIZE), 0);
    for (size_t i = 0; i < 100; i++)
        ck_assert_ptr_eq(hti_heap_at(&heap, items[i].reference), places[i]);
    check_items();
    hti_heap_release(&heap);
}
END_TEST

START_TEST(large_items_have_memory_of_their_own_which_they_give_back)
{
    static const size_t sizes[] = { HTI_HEAP_ITEM_MAX + 1, 100000, 300000, 100001, 3000000, 100000 };
    const size_t n = sizeof sizes / sizeof sizes[0];

    begin(_i);
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < n; i++)
            ck_assert_int_eq(hti_heap_reserve_large(&heap, sizes[i]), 0);
        const uint64_t bytes = hti_heap_bytes(&heap);
        hti_mem_test_fail(0, true);
        for (size_t i = 0; i < n; i++)
            add_item(sizes[(i * 5 + (size_t)round) % n]); /* not in the order of reservation */
        ck_assert(!hti_mem_test_failed());
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_uint_eq(hti_heap_bytes(&heap), bytes);
        check_items();
        while (n_items > 0)
            free_item(sample_below(n_items));
        ck_assert_uint_eq(hti_heap_bytes(&heap), 0);
        ck_assert_uint_le(heap.n_large, n);
    }
    hti_heap_release(&heap);
}
END_TEST

START_TEST(spares_are_dropped_and_items_in_use_are_not)
{
    begin(_i);
    for (int round = 0; round < 50; round++) {
        const size_t size = HTI_HEAP_ITEM_MAX + 1 + sample_below(3);
        ck_assert_int_eq(hti_heap_reserve_large(&heap, size), 0);
        ck_assert_int_eq(hti_heap_reserve_large(&heap, size + sample_below(2)), 0);
        add_item(size);
        if (sample_below(2))
            hti_heap_drop_spares(&heap);
        if (sample_below(2))
            free_item(sample_below(n_items));
    }
    hti_heap_drop_spares(&heap);
    hti_heap_drop_spares(&heap);
    check_items();
    ck_assert_uint_le(hti_heap_bytes(&heap), n_items * (HTI_HEAP_ITEM_MAX + 16));
    while (n_items > 0)
        free_item(0);
    ck_assert_uint_eq(hti_heap_bytes(&heap), 0);
    ck_assert_int_eq(hti_heap_reserve_large(&heap, 100000), 0); /* released with the heap */
    hti_heap_release(&heap);
}
END_TEST

START_TEST(clearing_keeps_room_and_large_items)
{
    begin(_i);
    hti_heap_clear(&heap);
    const uint64_t room = 5 * HTI_HEAP_CHUNK_SIZE;
    ck_assert_int_eq(hti_heap_reserve_large(&heap, 100000), 0);
    add_item(100000);
    for (int round = 0; round < 4; round++) {
        ck_assert_int_eq(hti_heap_reserve(&heap, room), 0);
        use_up(room, (unsigned)round);
        ck_assert_int_eq(hti_heap_reserve(&heap, unit), 0);
        hti_heap_free(&heap, hti_heap_alloc(&heap, 1), 1);
        ck_assert_uint_ge(hti_heap_bytes(&heap), room);
        hti_mem_test_fail(0, true);
        hti_heap_clear(&heap);
        ck_assert(hti_heap_has_room(&heap, room));
        ck_assert(!hti_mem_test_failed());
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_uint_lt(hti_heap_bytes(&heap), 110000);
        ck_assert_uint_eq(heap.live_bytes, 0);
        const uint64_t bytes = hti_heap_bytes(&heap);
        hti_heap_alloc(&heap, 1); /* of new room: places that were free before are forgotten */
        ck_assert_uint_eq(hti_heap_bytes(&heap), bytes + unit);
        check_items();
    }
    free_item(0);
    hti_heap_release(&heap);
}
END_TEST

/* Bytes are those of pages that were touched: an empty heap has none, however much was reserved. */
START_TEST(bytes_grow_with_what_is_used)
{
    begin(_i);
    ck_assert_uint_eq(hti_heap_bytes(&heap), 0);
    ck_assert_int_eq(hti_heap_reserve(&heap, 1000000), 0);
    ck_assert_uint_eq(hti_heap_bytes(&heap), 0);
    for (size_t i = 1; i <= 1000; i++) {
        hti_heap_alloc(&heap, 640);
        ck_assert_uint_eq(hti_heap_bytes(&heap), i * 640);
    }
    hti_heap_release(&heap);
    ck_assert_uint_eq(hti_heap_bytes(&heap), 0);
}
END_TEST

START_TEST(a_failed_reservation_leaves_the_heap_as_it_was)
{
    bool failed = true;

    begin(_i);
    ck_assert_int_eq(hti_heap_reserve(&heap, 6400), 0);
    for (int i = 0; i < 100; i++)
        add_item(64);
    for (uint64_t after = 0; failed; after++) {
        const uint64_t bytes = hti_heap_bytes(&heap);
        hti_mem_test_fail(after, true);
        const int rc = hti_heap_reserve(&heap, 5 * HTI_HEAP_CHUNK_SIZE);
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_int_eq(rc, failed ? HTSTORE_ENOMEM : 0);
        ck_assert(hti_heap_has_room(&heap, 5 * HTI_HEAP_CHUNK_SIZE) == !failed);
        ck_assert_uint_eq(hti_heap_bytes(&heap), bytes);
        check_items();
    }
    failed = true;
    for (uint64_t after = 0; failed; after++) {
        const uint64_t bytes = hti_heap_bytes(&heap);
        hti_mem_test_fail(after, true);
        const int rc = hti_heap_reserve_large(&heap, 200000);
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_int_eq(rc, failed ? HTSTORE_ENOMEM : 0);
        ck_assert(failed ? hti_heap_bytes(&heap) == bytes : hti_heap_bytes(&heap) >= bytes + 200000);
    }
    add_item(200000);
    check_items();
    hti_heap_release(&heap);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("heap");
    TCase *tests = tcase_create("heap");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, sizes_are_rounded_up_by_an_eighth_at_most, 0, 2);
    tcase_add_loop_test(tests, items_keep_what_they_hold_while_others_come_and_go, 0, 2);
    tcase_add_loop_test(tests, a_place_that_is_free_is_used_for_all_sizes_of_its_class, 0, 2);
    tcase_add_loop_test(tests, what_was_reserved_needs_no_memory_whatever_the_sizes, 0, 2);
    tcase_add_loop_test(tests, reserving_what_there_is_room_for_takes_no_memory, 0, 2);
    tcase_add_loop_test(tests, items_stay_where_they_are_when_room_is_made, 0, 2);
    tcase_add_loop_test(tests, large_items_have_memory_of_their_own_which_they_give_back, 0, 2);
    tcase_add_loop_test(tests, spares_are_dropped_and_items_in_use_are_not, 0, 2);
    tcase_add_loop_test(tests, clearing_keeps_room_and_large_items, 0, 2);
    tcase_add_loop_test(tests, bytes_grow_with_what_is_used, 0, 2);
    tcase_add_loop_test(tests, a_failed_reservation_leaves_the_heap_as_it_was, 0, 2);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
