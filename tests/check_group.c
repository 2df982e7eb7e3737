/* Tests of group: what is found in one step is what a plain loop finds, with vectors and without. */
#include "group.h"

#include "check_util.h"
#include "group_portable.h"
#include "samples.h"

#define N_ROUNDS 4000

struct probes {
    uint32_t (*match)(const uint8_t *group, uint8_t tag);
    uint32_t (*empty)(const uint8_t *group);
};

static uint32_t native_match(const uint8_t *group, uint8_t tag)
{
    return hti_group_match(group, tag);
}

static uint32_t native_empty(const uint8_t *group)
{
    return hti_group_empty(group);
}

#define N_PROBES 2
static const struct probes probes[N_PROBES] = { { native_match, native_empty },
                                                { group_portable_match, group_portable_empty } };

static uint32_t plain_match(const uint8_t *group, uint8_t tag)
{
    uint32_t slots = 0;
    for (unsigned i = 0; i < HTI_GROUP_SLOTS; i++)
        slots |= (uint32_t)(group[i] == tag) << i;
    return slots;
}

/* Quicker than an assertion, of which there would be millions. */
static void expect(uint32_t slots, uint32_t expected)
{
    if (slots != expected)
        ck_abort_msg("slots %04x, not %04x", slots, expected);
}

static void set_up(void)
{
    sample_seed(3);
}

/* Each byte is one of a few, so that equal ones and those that differ in one bit stand side by side. */
static void fill_group(uint8_t *group, bool valid)
{
    const uint8_t some = (uint8_t)sample_random();

    for (unsigned i = 0; i < HTI_GROUP_SIZE; i++) {
        const size_t form = sample_below(5);
        group[i] = form == 0   ? 0
                   : form == 1 ? (uint8_t)sample_random()
                   : form == 2 ? some
                   : form == 3 ? (uint8_t)(some ^ 1u << sample_below(8))
                               : (uint8_t)(some + 1);
        if (valid && i < HTI_GROUP_SLOTS && group[i] != 0)
            group[i] |= 0x80;
    }
}

START_TEST(a_match_is_what_a_plain_loop_finds)
{
    _Alignas(16) uint8_t group[HTI_GROUP_SIZE];

    for (int round = 0; round < N_ROUNDS; round++) {
        fill_group(group, false);
        for (unsigned tag = 0; tag < 256; tag++)
            expect(probes[_i].match(group, (uint8_t)tag), plain_match(group, (uint8_t)tag));
    }
}
END_TEST

START_TEST(the_empty_slots_are_what_a_plain_loop_finds)
{
    _Alignas(16) uint8_t group[HTI_GROUP_SIZE];

    for (int round = 0; round < 100 * N_ROUNDS; round++) {
        fill_group(group, true);
        expect(probes[_i].empty(group), plain_match(group, 0));
    }
}
END_TEST

START_TEST(every_tag_is_found_at_every_slot_and_nowhere_else)
{
    _Alignas(16) uint8_t group[HTI_GROUP_SIZE];

    for (unsigned tag = 0; tag < 256; tag++)
        for (unsigned others = 0; others < 256; others++)
            for (unsigned i = 0; i < HTI_GROUP_SIZE; i++) {
                memset(group, (int)others, sizeof group);
                group[i] = (uint8_t)tag;
                const uint32_t expected = others == tag ? HTI_GROUP_MASK : (1u << i) & HTI_GROUP_MASK;
                expect(probes[_i].match(group, (uint8_t)tag), expected);
            }
}
END_TEST

START_TEST(the_byte_of_keys_that_passed_is_no_slot)
{
    _Alignas(16) uint8_t group[HTI_GROUP_SIZE];

    for (unsigned passed = 0; passed < 256; passed++) {
        memset(group, 0x80, sizeof group);
        group[HTI_GROUP_PASSED] = (uint8_t)passed;
        expect(probes[_i].empty(group), 0);
        expect(probes[_i].match(group, (uint8_t)passed), passed == 0x80 ? HTI_GROUP_MASK : 0);
        memset(group, 0, HTI_GROUP_SLOTS);
        expect(probes[_i].empty(group), HTI_GROUP_MASK);
    }
}
END_TEST

START_TEST(tags_have_eight_kinds_of_equal_size)
{
    unsigned counts[8] = { 0 };

    for (unsigned tag = 0x80; tag < 0x100; tag++) {
        const uint8_t bit = hti_group_bit((uint8_t)tag);
        ck_assert(bit != 0 && (bit & (bit - 1)) == 0);
        counts[__builtin_ctz(bit)]++;
    }
    for (unsigned i = 0; i < 8; i++)
        ck_assert_uint_eq(counts[i], 16);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("group");
    TCase *tests = tcase_create("group");

    tcase_add_checked_fixture(tests, set_up, NULL);
    tcase_add_loop_test(tests, a_match_is_what_a_plain_loop_finds, 0, N_PROBES);
    tcase_add_loop_test(tests, the_empty_slots_are_what_a_plain_loop_finds, 0, N_PROBES);
    tcase_add_loop_test(tests, every_tag_is_found_at_every_slot_and_nowhere_else, 0, N_PROBES);
    tcase_add_loop_test(tests, the_byte_of_keys_that_passed_is_no_slot, 0, N_PROBES);
    tcase_add_test(tests, tags_have_eight_kinds_of_equal_size);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
