/* Tests of shuffle: against the plain definition, for every width, size and address. */
#include "shuffle.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "check_util.h"
#include "samples.h"

#define MAX_N 300u
#define MAX_WIDTH 8u

static const struct hti_shuffle_form forms[] = { { 1, 0 }, { 2, 0 }, { 4, 0 }, { 8, 0 },
                                                 { 1, 1 }, { 2, 1 }, { 4, 1 }, { 8, 1 } };
#define N_FORMS 8

/* Elements at an odd address; the one before the first belongs to them. */
struct column {
    uint8_t *memory;
    uint8_t *elements;
    uint8_t expected[MAX_WIDTH][MAX_N];
};

static void make_column(struct column *column, struct hti_shuffle_form form, size_t n, unsigned n_varying)
{
    const size_t size = (n + 1) * form.width;
    column->memory = malloc(size + 1);
    ck_assert_ptr_nonnull(column->memory);
    column->elements = column->memory + 1 + form.width;
    memset(column->memory, 7, size + 1);
    for (size_t i = 0; i < size; i++)
        if (i % form.width < n_varying)
            column->memory[1 + i] = (uint8_t)sample_random();
    for (size_t i = 0; i < n; i++) {
        unsigned borrow = 0;
        for (unsigned j = 0; j < form.width; j++) {
            const uint8_t *element = column->elements + i * form.width;
            const unsigned before = form.deltas ? (element - form.width)[j] + borrow : 0;
            const unsigned byte = element[j];
            column->expected[j][i] = (uint8_t)(byte - before);
            borrow = before > byte;
        }
    }
}

static bool varies(const uint8_t *plane, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (plane[i] != plane[0])
            return true;
    return false;
}

/* Planes in memory of exactly their size. Those not in `wanted` are left out. */
static void check_split(const struct column *column, struct hti_shuffle_form form, size_t n, unsigned wanted)
{
    uint8_t *planes[MAX_WIDTH] = { NULL };
    for (unsigned j = 0; j < form.width; j++)
        if (wanted >> j & 1)
            planes[j] = sample_copy(column->memory, n);
    hti_shuffle_split(form, column->elements, n, planes);
    for (unsigned j = 0; j < form.width; j++) {
        if (planes[j])
            ck_assert_mem_eq(planes[j], column->expected[j], n);
        free(planes[j]);
    }
}

static void check_join(const struct column *column, struct hti_shuffle_form form, size_t n, unsigned varying)
{
    const size_t size = (n + 1) * form.width;
    const uint8_t *planes[MAX_WIDTH] = { NULL };
    uint8_t constants[MAX_WIDTH], *joined = malloc(size);
    ck_assert_ptr_nonnull(joined);
    memcpy(joined, column->elements - form.width, form.width);
    for (unsigned j = 0; j < form.width; j++) {
        constants[j] = column->expected[j][0];
        if (varying >> j & 1)
            planes[j] = sample_copy(column->expected[j], n);
    }
    hti_shuffle_join(form, planes, constants, n, joined + form.width);
    ck_assert_mem_eq(joined + form.width, column->elements, n * form.width);
    for (unsigned j = 0; j < form.width; j++)
        free((void *)(uintptr_t)planes[j]);
    free(joined);
}

START_TEST(planes_are_those_of_the_definition)
{
    const struct hti_shuffle_form form = forms[_i];
    struct column column;
    sample_seed(3);
    for (size_t n = 1; n <= MAX_N; n++) {
        const unsigned n_varying = (unsigned)sample_below(form.width + 1), all = (1u << form.width) - 1;
        make_column(&column, form, n, n_varying);
        unsigned expected = 0;
        for (unsigned j = 0; j < form.width; j++)
            expected |= (unsigned)varies(column.expected[j], n) << j;
        ck_assert_uint_eq(hti_shuffle_varying(form, column.elements, n), expected);
        check_split(&column, form, n, all);
        check_split(&column, form, n, (unsigned)sample_below(all + 1));
        check_join(&column, form, n, all);
        check_join(&column, form, n, expected);
        free(column.memory);
    }
}
END_TEST

/* A single byte anywhere must be seen. */
START_TEST(every_byte_counts)
{
    const struct hti_shuffle_form form = forms[_i % N_FORMS];
    const size_t n = _i < N_FORMS ? 33 : 17;
    uint8_t memory[34 * MAX_WIDTH], *elements = memory + form.width;
    for (size_t at = 0; at < n * form.width; at++) {
        memset(memory, 0, sizeof memory);
        elements[at] = 1;
        const unsigned varying = hti_shuffle_varying(form, elements, n);
        ck_assert_msg(varying >> at % form.width & 1, "width %u, deltas %u, byte %zu: %x", form.width, form.deltas, at,
                      varying);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shuffle");
    TCase *tests = tcase_create("shuffle");
    tcase_add_loop_test(tests, planes_are_those_of_the_definition, 0, N_FORMS);
    tcase_add_loop_test(tests, every_byte_counts, 0, 2 * N_FORMS);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
