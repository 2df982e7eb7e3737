/*
 * check_collisions: keys above 490 bytes are stored under a hash. The hash is cut to nothing here, so that keys that share
 * 490 bytes collide: the second one is refused, and neither is ever taken for the other.
 */
#include "api_util.h"

#include "codec.h"

static struct htstore_bytes words[4]; /* 0 to 2 collide; 3 does not */
static struct htstore_array all, one, other, apart;

static void make_word(size_t i, char fill, size_t size)
{
    char *data = api_alloc(size);
    memset(data, fill, size);
    data[size - 1] = (char)('0' + i);
    words[i] = (struct htstore_bytes){ .data = data, .size = size };
}

static void setup(void)
{
    api_setup();
    make_word(0, 'a', 600);
    make_word(1, 'a', 600);
    make_word(2, 'a', 491);
    make_word(3, 'b', 600);
    all = htstore_vector(HTSTORE_STRING, words, 4);
    one = htstore_vector(HTSTORE_STRING, &words[0], 1);
    other = htstore_vector(HTSTORE_STRING, &words[1], 1);
    apart = htstore_vector(HTSTORE_STRING, &words[3], 1);
    hti_codec_test_hash_mask(0);
}

static void teardown(void)
{
    api_teardown();
    hti_codec_test_hash_mask(~UINT64_C(0));
}

/* A table that holds the first word. */
static void begin(int variation)
{
    struct htstore_array value = api_array(HTSTORE_INT64, "[10]");
    api_begin(variation, HTSTORE_STRING, HTSTORE_INT64, "-1");
    OK(htstore_table_insert(api.table, &one, &value, 0, &api.error));
    api_settle();
}

static const char *look_up(const struct htstore_array *keys)
{
    struct htstore_array out = api_outputs(keys);
    OK(htstore_table_lookup(api.table, keys, NULL, &out, NULL, &api.error));
    return api_text(&out);
}

START_TEST(a_colliding_key_is_absent)
{
    uint8_t removed = 7;
    begin(_i);
    ck_assert_str_eq(look_up(&all), "[10 -1 -1 -1]");
    struct api_state before = api_state();
    OK(htstore_table_remove(api.table, &other, &removed, 0, &api.error));
    ck_assert_int_eq(removed, 0);
    SIZE_IS(1);
    ck_assert_str_eq(api_dump(api.table), before.rows);
    api_settle();
    ck_assert_str_eq(look_up(&all), "[10 -1 -1 -1]");
}
END_TEST

START_TEST(a_colliding_key_is_refused_by_every_insert)
{
    struct htstore_error *e = &api.error;
    struct htstore_array two = htstore_vector(HTSTORE_STRING, &words[2], 2); /* one that collides, one that does not */
    uint8_t flags[2];
    begin(_i);
    struct htstore_array values = api_values("[20 30]"), out = api_outputs(&two);
    struct api_state before = api_state();
    REFUSED(htstore_table_insert(api.table, &two, &values, 0, e), HTSTORE_ECONFLICT, "");
    ck_assert_int_eq(e->index, 0);
    REFUSED(htstore_table_insert_new(api.table, &two, &values, flags, 0, e), HTSTORE_ECONFLICT, "");
    REFUSED(htstore_table_find_or_insert(api.table, &two, &values, &out, flags, 0, e), HTSTORE_ECONFLICT, "");
    UNCHANGED(before);
    ck_assert(api_is_untouched(&out));
    ck_assert_str_eq(look_up(&all), "[10 -1 -1 -1]");
}
END_TEST

START_TEST(keys_that_collide_within_a_batch_are_refused)
{
    struct htstore_error *e = &api.error;
    struct htstore_array pair = htstore_vector(HTSTORE_STRING, &words[1], 2);
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "-1");
    struct htstore_array values = api_values("[20 30]");
    struct api_state before = api_state();
    REFUSED(htstore_table_insert(api.table, &pair, &values, 0, e), HTSTORE_ECONFLICT, "");
    ck_assert_int_eq(e->index, 1);
    REFUSED(htstore_table_insert_new(api.table, &pair, &values, NULL, 0, e), HTSTORE_ECONFLICT, "");
    REFUSED(htstore_table_import(api.table, &pair, &values, 0, e), HTSTORE_ECONFLICT, "");
    UNCHANGED(before);
}
END_TEST

START_TEST(a_key_takes_the_place_of_one_that_is_gone)
{
    begin(_i);
    struct htstore_array value = api_values("[20]");
    OK(htstore_table_remove(api.table, &one, NULL, 0, &api.error));
    api_settle();
    OK(htstore_table_insert(api.table, &other, &value, 0, &api.error));
    api_settle();
    ck_assert_str_eq(look_up(&all), "[-1 20 -1 -1]");
    OK(htstore_table_clear(api.table, 0, &api.error));
    OK(htstore_table_insert(api.table, &one, &value, 0, &api.error));
    api_settle();
    ck_assert_str_eq(look_up(&all), "[20 -1 -1 -1]");
    OK(htstore_table_import(api.table, &other, &value, 0, &api.error));
    OK(htstore_table_insert(api.table, &apart, &value, 0, &api.error));
    api_settle();
    ck_assert_str_eq(look_up(&all), "[-1 20 -1 20]");
    SIZE_IS(2);
}
END_TEST

START_TEST(batches_refuse_collisions_and_see_what_they_removed)
{
    struct htstore_batch *batch;
    struct htstore_error *e = &api.error;
    begin(_i);
    struct htstore_array value = api_values("[20]");
    struct api_state before = api_state();
    OK(htstore_batch_new(api.store, &batch, e));
    OK(htstore_batch_insert(batch, api.table, &apart, &value, e));
    int result = htstore_batch_insert(batch, api.table, &other, &value, e);
    if (result == 0)
        result = htstore_batch_commit(batch, 0, e);
    ck_assert_int_eq(result, HTSTORE_ECONFLICT);
    htstore_batch_reset(batch);
    ck_assert_str_eq(api_dump(api.table), before.rows);
    OK(htstore_batch_remove(batch, api.table, &one, e));
    OK(htstore_batch_insert(batch, api.table, &other, &value, e));
    OK(htstore_batch_commit(batch, 0, e));
    htstore_batch_free(batch);
    api_settle();
    ck_assert_str_eq(look_up(&all), "[-1 20 -1 -1]");
    SIZE_IS(1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("collisions");
    TCase *tests = tcase_create("collisions");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_loop_test(tests, a_colliding_key_is_absent, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, a_colliding_key_is_refused_by_every_insert, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, keys_that_collide_within_a_batch_are_refused, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, a_key_takes_the_place_of_one_that_is_gone, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, batches_refuse_collisions_and_see_what_they_removed, 0, API_N_VARIATIONS);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
