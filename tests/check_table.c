/* check_table: semantics.md 1.5 to 1.9 beyond the cases of section 4: what each operation on a table does and reports. */
#include "api_util.h"

/* ---- helpers: one call each, its outputs as text ---- */

static const char *insert_new(const char *keys_text, const char *values_text)
{
    struct htstore_array keys = api_keys(keys_text), values = api_values(values_text);
    size_t n = api_count(&keys);
    uint8_t *inserted = api_alloc(n + 1);
    memset(inserted, 7, n);
    OK(htstore_table_insert_new(api.table, &keys, &values, inserted, 0, &api.error));
    api_settle();
    return api_flags(inserted, n);
}

static int insert_all_new(const char *keys_text, const char *values_text, uint8_t *inserted)
{
    struct htstore_array keys = api_keys(keys_text), values = api_values(values_text);
    return htstore_table_insert_new(api.table, &keys, &values, inserted, HTSTORE_ALL_OR_NOTHING, &api.error);
}

/* "values found" */
static const char *find_or_insert(const char *keys_text, const char *candidates_text)
{
    struct htstore_array keys = api_keys(keys_text), candidates, out = api_outputs(&keys);
    size_t n = api_count(&keys);
    uint8_t *found = api_alloc(n + 1);
    if (candidates_text)
        candidates = api_values(candidates_text);
    OK(htstore_table_find_or_insert(api.table, &keys, candidates_text ? &candidates : NULL, &out, found, 0,
                                    &api.error));
    const char *values = api_text(&out), *flags = api_flags(found, n);
    char *text = api_alloc(strlen(values) + strlen(flags) + 2);
    api_settle();
    return strcat(strcat(strcpy(text, values), " "), flags);
}

static const char *remove_keys(const char *keys_text)
{
    struct htstore_array keys = api_keys(keys_text);
    size_t n = api_count(&keys);
    uint8_t *removed = api_alloc(n + 1);
    memset(removed, 7, n);
    OK(htstore_table_remove(api.table, &keys, removed, 0, &api.error));
    api_settle();
    return api_flags(removed, n);
}

static void import_rows(const char *keys_text, const char *values_text)
{
    struct htstore_array keys = api_keys(keys_text), values = api_values(values_text);
    OK(htstore_table_import(api.table, &keys, &values, 0, &api.error));
    api_settle();
}

static void clear_table(void)
{
    OK(htstore_table_clear(api.table, 0, &api.error));
    api_settle();
}

/* ---- insert_new ---- */

START_TEST(insert_new_never_overwrites)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "-1");
    INSERT("[a b]", "[1 2]");
    ck_assert_str_eq(insert_new("[b c a d]", "[20 30 10 40]"), "[0 1 0 1]");
    SIZE_IS(4);
    GET_IS("[a b c d]", "[1 2 30 40]");
    ck_assert_str_eq(insert_new("[a b]", "[9 9]"), "[0 0]");
    GET_IS("[a b c d]", "[1 2 30 40]");
    REMOVE("b");
    ck_assert_str_eq(insert_new("[a b]", "[9 8]"), "[0 1]");
    EXPORT_IS("[a b c d]", "[1 8 30 40]");
}
END_TEST

START_TEST(insert_new_keeps_the_first_of_equal_keys)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "-1");
    ck_assert_str_eq(insert_new("[[x y][x x]]", "[[1 2][3 1]]"), "[1 1 0 0]");
    SIZE_IS(2);
    EXPORT_IS("[x y]", "[1 2]");
    ck_assert_str_eq(insert_new("z", "5"), "[1]");
    struct htstore_array keys = api_keys("[z w]"), values = api_values("[6 7]");
    OK(htstore_table_insert_new(api.table, &keys, &values, NULL, 0, &api.error));
    api_settle();
    EXPORT_IS("[w x y z]", "[7 1 2 5]");
}
END_TEST

START_TEST(all_or_nothing_refuses_present_and_repeated_keys)
{
    uint8_t inserted[4] = { 7, 7, 7, 7 };
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "-1");
    INSERT("[a b]", "[1 2]");
    struct api_state before = api_state();
    REFUSED(insert_all_new("[x y b a]", "[1 2 3 4]", inserted), HTSTORE_EEXIST, "");
    ck_assert_int_eq(api.error.index, 2);
    REFUSED(insert_all_new("[a]", "[1]", inserted), HTSTORE_EEXIST, "");
    ck_assert_int_eq(api.error.index, 0);
    REFUSED(insert_all_new("[x y y x]", "[1 2 2 1]", inserted), HTSTORE_EEXIST, "");
    ck_assert_int_eq(api.error.index, 2);
    REFUSED(insert_all_new("[[x y][x a]]", "[[1 2][3 4]]", NULL), HTSTORE_EEXIST, "");
    ck_assert_int_eq(api.error.index, 2);
    REFUSED(insert_all_new("b", "2", NULL), HTSTORE_EEXIST, "");
    UNCHANGED(before);
    ck_assert_int_eq(inserted[0] + inserted[1] + inserted[2] + inserted[3], 28);
    OK(insert_all_new("[x y]", "[3 4]", inserted));
    ck_assert_int_eq(inserted[0] + inserted[1] + inserted[2], 9);
    api_settle();
    EXPORT_IS("[a b x y]", "[1 2 3 4]");
    OK(insert_all_new("[]", "[]", NULL));
    SIZE_IS(4);
}
END_TEST

/* ---- find_or_insert ---- */

START_TEST(find_or_insert_takes_every_form_of_candidates)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "[-1 -2]");
    INSERT("[a b]", "[[1 1][2 2]]");
    ck_assert_str_eq(find_or_insert("[b n]", NULL), "[[2 2][-1 -2]] [1 0]");
    ck_assert_str_eq(find_or_insert("[a o p]", "[7 8]"), "[[1 1][7 8][7 8]] [1 0 0]");
    ck_assert_str_eq(find_or_insert("[[a q][r b]]", "[[[5 5][6 6]][[7 7][8 8]]]"),
                     "[[[1 1][6 6]][[7 7][2 2]]] [1 0 0 1]");
    ck_assert_str_eq(find_or_insert("s", "[9 9]"), "[9 9] [0]");
    ck_assert_str_eq(find_or_insert("s", "[3 3]"), "[9 9] [1]");
    SIZE_IS(8);
    EXPORT_IS("[a b n o p q r s]", "[[1 1][2 2][-1 -2][7 8][7 8][6 6][7 7][9 9]]");
}
END_TEST

START_TEST(find_or_insert_finds_what_it_inserted_before_in_the_batch)
{
    api_begin(_i, HTSTORE_INT32, HTSTORE_STRING, "none");
    ck_assert_str_eq(find_or_insert("[5 6 5 5]", "[a b c d]"), "[a b a a] [0 0 1 1]");
    SIZE_IS(2);
    ck_assert_str_eq(find_or_insert("[6 5 7 7]", "[x x \\e y]"), "[b a \\e \\e] [1 1 0 1]");
    EXPORT_IS("[5 6 7]", "[a b \\e]");
    struct htstore_array keys = api_keys("[8 5]"), out = api_outputs(&keys);
    OK(htstore_table_find_or_insert(api.table, &keys, NULL, &out, NULL, 0, &api.error));
    ck_assert_str_eq(api_text(&out), "[none a]");
}
END_TEST

START_TEST(find_or_insert_checks_candidates_like_defaults)
{
    struct htstore_error *e = &api.error;
    uint8_t found[4] = { 7, 7, 7, 7 };
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "[-1 -1]");
    struct htstore_array keys = api_keys("[[a b][c d]]"), out = api_outputs(&keys);
    struct htstore_array flat = api_values("[[1 2][3 4][5 6][7 8]]"), wide = api_values("[1 2 3]");
    struct htstore_array strings = api_array(HTSTORE_STRING, "[x y]");
    struct api_state before = api_state();
    REFUSED(htstore_table_find_or_insert(api.table, &keys, &flat, &out, found, 0, e), HTSTORE_ESHAPE,
            "Expected shape [2] or [2,2,2] for default value, got [4,2]");
    REFUSED(htstore_table_find_or_insert(api.table, &keys, &wide, &out, found, 0, e), HTSTORE_ESHAPE,
            "Expected shape [2] or [2,2,2] for default value, got [3]");
    REFUSED(htstore_table_find_or_insert(api.table, &keys, &strings, &out, found, 0, e), HTSTORE_ETYPE,
            "Default value must be type int64 but got string");
    ck_assert(api_is_untouched(&out));
    ck_assert_int_eq(found[0] + found[3], 14);
    UNCHANGED(before);
}
END_TEST

/* ---- lookup ---- */

START_TEST(lookup_takes_every_form_of_defaults_and_keeps_none)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "[-1 -2]");
    INSERT("[a b]", "[[1 1][2 2]]");
    struct api_state before = api_state();
    GET_OR_IS("[a x]", NULL, "[[1 1][-1 -2]]", "[1 0]");
    GET_OR_IS("[x a x]", "[7 8]", "[[7 8][1 1][7 8]]", "[0 1 0]");
    GET_OR_IS("[[x a][b y]]", "[[[1 2][3 4]][[5 6][7 8]]]", "[[[1 2][1 1]][[2 2][7 8]]]", "[0 1 1 0]");
    GET_OR_IS("x", "[7 8]", "[7 8]", "[0]");
    GET_OR_IS("a", "[7 8]", "[1 1]", "[1]");
    GET_OR_IS("[a a x a x]", NULL, "[[1 1][1 1][-1 -2][1 1][-1 -2]]", "[1 1 0 1 0]");
    UNCHANGED(before);
    SIZE_IS(2);
}
END_TEST

START_TEST(defaults_of_strings_are_copied)
{
    api_begin(_i, HTSTORE_INT8, HTSTORE_STRING, "stored");
    INSERT("[1]", "[one]");
    GET_OR_IS("[1 2 3]", "[x y \\e]", "[one y \\e]", "[1 0 0]");
    GET_OR_IS("[1 2 3]", "z", "[one z z]", "[1 0 0]");
    struct htstore_array keys = api_keys("[9]"), out = api_outputs(&keys);
    char word[] = "word";
    struct htstore_bytes bytes = htstore_string(word);
    struct htstore_array row = htstore_scalar(HTSTORE_STRING, &bytes);
    OK(htstore_table_lookup(api.table, &keys, &row, &out, NULL, &api.error));
    word[0] = 'W';
    ck_assert_str_eq(api_text(&out), "[word]");
}
END_TEST

START_TEST(a_default_row_for_each_key_wins_over_a_shared_reading_only_by_shape)
{
    api_begin(_i, HTSTORE_INT32, HTSTORE_INT32, "-1");
    GET_OR_IS("[1 2]", "[5 6]", "[5 6]", "[0 0]");
    GET_OR_IS("[1 2]", "5", "[5 5]", "[0 0]");
    GET_OR_IS("[]", "5", "[]", "[]");
    GET_OR_IS("[]", "[]", "[]", "[]");
    GET_OR_IS("3", "5", "5", "[0]");
}
END_TEST

START_TEST(outputs_must_have_the_type_and_shape_of_the_result)
{
    struct htstore_error *e = &api.error;
    api_begin(_i, HTSTORE_INT32, HTSTORE_INT32, "[-1 -1]");
    struct htstore_array keys = api_keys("[1 2 3]"), one = api_keys("1");
    struct htstore_array flat = api_room(HTSTORE_INT32, &one, "6"), other = api_room(HTSTORE_INT64, &keys, "2");
    struct api_state before = api_state();
    REFUSED(htstore_table_lookup(api.table, &keys, NULL, &flat, NULL, e), HTSTORE_ESHAPE,
            "Expected shape [3,2] for value, got [6]");
    REFUSED(htstore_table_lookup(api.table, &keys, NULL, &other, NULL, e), HTSTORE_ETYPE,
            "Value must be type int32 but got int64");
    REFUSED(htstore_table_find_or_insert(api.table, &keys, NULL, &flat, NULL, 0, e), HTSTORE_ESHAPE,
            "Expected shape [3,2] for value, got [6]");
    REFUSED(htstore_table_find_or_insert(api.table, &keys, NULL, &other, NULL, 0, e), HTSTORE_ETYPE,
            "Value must be type int32 but got int64");
    ck_assert(api_is_untouched(&flat) && api_is_untouched(&other));
    UNCHANGED(before);
}
END_TEST

/* ---- remove, clear, import, empty batches ---- */

START_TEST(remove_reports_the_first_of_equal_keys)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "-1");
    INSERT("[a b c]", "[1 2 3]");
    ck_assert_str_eq(remove_keys("[x a a b x]"), "[0 1 0 1 0]");
    SIZE_IS(1);
    ck_assert_str_eq(remove_keys("[[a b]]"), "[0 0]");
    ck_assert_str_eq(remove_keys("c"), "[1]");
    SIZE_IS(0);
    EXPORT_IS("[]", "[]");
    GET_IS("[a b c]", "[-1 -1 -1]");
    INSERT("[c]", "[9]");
    EXPORT_IS("[c]", "[9]");
}
END_TEST

START_TEST(clear_removes_all_rows_and_keeps_the_schema)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "[-1 -1]");
    INSERT("[a b]", "[[1 2][3 4]]");
    clear_table();
    SIZE_IS(0);
    GET_OR_IS("[a b]", NULL, "[[-1 -1][-1 -1]]", "[0 0]");
    EXPORT_IS("[]", "[]");
    clear_table();
    INSERT("[b c]", "[[5 6][7 8]]");
    GET_OR_IS("[a b c]", NULL, "[[-1 -1][5 6][7 8]]", "[0 1 1]");
    SIZE_IS(2);
    ck_assert_str_eq(insert_new("[a b]", "[[0 0][0 0]]"), "[1 0]");
    EXPORT_IS("[a b c]", "[[0 0][5 6][7 8]]");
}
END_TEST

START_TEST(import_of_wrong_rows_keeps_the_old_ones)
{
    struct htstore_error *e = &api.error;
    api_begin(_i, HTSTORE_STRING, HTSTORE_BOOL, "0");
    INSERT("[a b]", "[1 0]");
    struct htstore_array keys = api_keys("[x y]"), bad = api_values("[1 2]"), few = api_values("[1]");
    struct htstore_array wrong = api_array(HTSTORE_UINT8, "[1 1]");
    struct api_state before = api_state();
    REFUSED(htstore_table_import(api.table, &keys, &bad, 0, e), HTSTORE_EINVAL, "");
    ck_assert_int_eq(e->index, 1);
    REFUSED(htstore_table_import(api.table, &keys, &few, 0, e), HTSTORE_ESHAPE,
            "Expected shape [2] for value, got [1]");
    REFUSED(htstore_table_import(api.table, &keys, &wrong, 0, e), HTSTORE_ETYPE,
            "Value must be type bool but got uint8");
    UNCHANGED(before);
}
END_TEST

START_TEST(import_of_no_rows_is_clear)
{
    api_begin(_i, HTSTORE_INT64, HTSTORE_INT64, "-1");
    INSERT("[1 2 3]", "[1 2 3]");
    import_rows("[]", "[]");
    SIZE_IS(0);
    EXPORT_IS("[]", "[]");
    import_rows("[5 6]", "[50 60]");
    EXPORT_IS("[5 6]", "[50 60]");
    import_rows("[[6 7][7 8]]", "[[1 2][3 4]]");
    EXPORT_IS("[6 7 8]", "[1 3 4]");
    import_rows("4", "40");
    EXPORT_IS("[4]", "[40]");
}
END_TEST

/* Every call with keys of that shape, which has a dimension of 0, and no data. */
static void call_with_no_rows(const char *shape, const char *value_shape)
{
    struct htstore_error *e = &api.error;
    struct htstore_array keys = api_shaped(HTSTORE_STRING, shape, NULL);
    struct htstore_array values = api_shaped(HTSTORE_INT64, value_shape, NULL);
    OK(htstore_table_insert(api.table, &keys, &values, 0, e));
    OK(htstore_table_insert_new(api.table, &keys, &values, NULL, 0, e));
    OK(htstore_table_insert_new(api.table, &keys, &values, NULL, HTSTORE_ALL_OR_NOTHING, e));
    OK(htstore_table_find_or_insert(api.table, &keys, NULL, &values, NULL, 0, e));
    OK(htstore_table_find_or_insert(api.table, &keys, &values, &values, NULL, 0, e));
    OK(htstore_table_lookup(api.table, &keys, NULL, &values, NULL, e));
    OK(htstore_table_lookup(api.table, &keys, &values, &values, NULL, e));
    OK(htstore_table_remove(api.table, &keys, NULL, 0, e));
    api_settle();
}

START_TEST(empty_batches_do_nothing)
{
    api_begin(_i, HTSTORE_STRING, HTSTORE_INT64, "[-1 -1]");
    INSERT("[a b]", "[[1 2][3 4]]");
    const char *rows = api_dump(api.table);
    call_with_no_rows("0", "0,2");
    call_with_no_rows("2,0", "2,0,2");
    call_with_no_rows("0,3", "0,3,2");
    SIZE_IS(2);
    ck_assert_str_eq(api_dump(api.table), rows);
}
END_TEST

START_TEST(empty_batches_are_checked_like_others)
{
    struct htstore_error *e = &api.error;
    api_open_store();
    api_begin_table("t1", HTSTORE_STRING, HTSTORE_INT64, "[-1 -1]");
    struct htstore_array keys = api_shaped(HTSTORE_STRING, "0", NULL), numbers = api_shaped(HTSTORE_INT64, "0", NULL);
    struct htstore_array good = api_shaped(HTSTORE_INT64, "0,2", NULL), wide = api_shaped(HTSTORE_INT64, "0,3", NULL);
    REFUSED(htstore_table_insert(api.table, &keys, &wide, 0, e), HTSTORE_ESHAPE,
            "Expected shape [0,2] for value, got [0,3]");
    REFUSED(htstore_table_insert(api.table, &keys, &numbers, 0, e), HTSTORE_ESHAPE,
            "Expected shape [0,2] for value, got [0]");
    REFUSED(htstore_table_insert(api.table, &numbers, &good, 0, e), HTSTORE_ETYPE,
            "Key must be type string but got int64");
    REFUSED(htstore_table_lookup(api.table, &keys, &wide, &good, NULL, e), HTSTORE_ESHAPE,
            "Expected shape [2] or [0,2] for default value, got [0,3]");
    REFUSED(htstore_table_lookup(api.table, &keys, NULL, &wide, NULL, e), HTSTORE_ESHAPE, "Expected shape [0,2]");
    REFUSED(htstore_table_remove(api.table, &numbers, NULL, 0, e), HTSTORE_ETYPE,
            "Key must be type string but got int64");
    REFUSED(htstore_table_import(api.table, &keys, &wide, 0, e), HTSTORE_ESHAPE, "Expected shape [0,2]");
}
END_TEST

/* ---- handles and modes ---- */

START_TEST(all_handles_of_a_table_show_the_same_contents)
{
    struct htstore_table *second, *first;
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-1");
    first = api.table;
    struct htstore_schema same = api_schema(HTSTORE_INT64, "-1", HTSTORE_INT64);
    OK(htstore_table_get_or_create(api.store, "t1", &same, &second, &api.error));
    ck_assert_str_eq(htstore_table_name(second), "t1");
    INSERT("[1 2]", "[10 20]");
    api.table = second;
    GET_IS("[1 2]", "[10 20]");
    REMOVE("1");
    INSERT("3", "30");
    api.table = first;
    EXPORT_IS("[2 3]", "[20 30]");
    OK(htstore_table_close(second, &api.error));
    GET_IS("[1 2 3]", "[-1 20 30]");
}
END_TEST

START_TEST(each_call_may_choose_its_durability)
{
    struct htstore_array keys, values;
    api.options.durability = (uint32_t)_i;
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-1");
    keys = api_keys("[1 2]");
    values = api_values("[10 20]");
    for (uint32_t mode = 0; mode <= HTSTORE_LAZY; mode++) {
        OK(htstore_table_insert(api.table, &keys, &values, mode, &api.error));
        struct htstore_stats stats = api_stats();
        ck_assert_uint_ge(stats.visible_lsn, stats.durable_lsn);
        ck_assert_uint_ge(stats.visible_lsn, stats.applied_lsn);
        if (mode == HTSTORE_SYNC || (mode == 0 && _i <= HTSTORE_SYNC))
            ck_assert_uint_eq(stats.durable_lsn, stats.visible_lsn);
        OK(htstore_table_remove(api.table, &keys, NULL, mode, &api.error));
        SIZE_IS(0);
        OK(htstore_table_insert_new(api.table, &keys, &values, NULL, mode | HTSTORE_ALL_OR_NOTHING, &api.error));
        SIZE_IS(2);
        OK(htstore_table_clear(api.table, mode, &api.error));
        SIZE_IS(0);
    }
    OK(htstore_table_insert(api.table, &keys, &values, HTSTORE_LAZY, &api.error));
    OK(htstore_sync(api.store, &api.error));
    ck_assert_uint_eq(api_stats().durable_lsn, api_stats().visible_lsn);
    OK(htstore_table_insert(api.table, &keys, &values, HTSTORE_LAZY, &api.error));
    OK(htstore_flush(api.store, &api.error));
    ck_assert_uint_eq(api_stats().applied_lsn, api_stats().visible_lsn);
    ck_assert_uint_eq(api_stats().durable_lsn, api_stats().visible_lsn);
    OK(htstore_table_insert(api.table, &keys, &keys, HTSTORE_LAZY, &api.error));
    api_reopen();
    EXPORT_IS("[1 2]", "[1 2]");
}
END_TEST

START_TEST(stats_count_what_happens)
{
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-1");
    struct htstore_stats before = api_stats();
    INSERT("[1 2 3]", "[1 2 3]");
    GET_IS("[1 2 7 8 9]", "[1 2 -1 -1 -1]");
    OK(htstore_flush(api.store, &api.error));
    struct htstore_stats after = api_stats();
    ck_assert_uint_eq(after.lookup_hits - before.lookup_hits, 2);
    ck_assert_uint_eq(after.lookup_misses - before.lookup_misses, 3);
    ck_assert_uint_eq(after.batches - before.batches, 1);
    ck_assert_uint_eq(after.visible_lsn - before.visible_lsn, 1);
    ck_assert_uint_ge(after.flushes - before.flushes, 1);
    ck_assert_uint_eq(after.n_rows, 3);
    ck_assert_uint_eq(after.n_tables, 1);
    ck_assert_uint_eq(after.open_handles, 1);
    ck_assert_uint_eq(after.delta_rows, 0);
    ck_assert_uint_eq(after.readonly, 0);
    ck_assert_uint_ge(after.map_size, after.data_bytes);
}
END_TEST

START_TEST(stats_write_no_more_than_their_size)
{
    struct htstore_stats stats;
    api_open_store();
    memset(&stats, 0x5A, sizeof stats);
    stats.size = offsetof(struct htstore_stats, durable_lsn);
    OK(htstore_stats(api.store, &stats, &api.error));
    ck_assert_uint_eq(stats.durable_lsn, UINT64_C(0x5A5A5A5A5A5A5A5A));
    ck_assert_uint_eq(stats.size, offsetof(struct htstore_stats, durable_lsn));
    ck_assert_uint_ne(stats.visible_lsn, UINT64_C(0x5A5A5A5A5A5A5A5A));
    stats.size = 0;
    REFUSED(htstore_stats(api.store, &stats, &api.error), HTSTORE_EINVAL, "");
    REFUSED(htstore_stats(api.store, NULL, &api.error), HTSTORE_EINVAL, "");
}
END_TEST

START_TEST(the_map_grows_by_itself)
{
    enum { N = 40000 };
    static int64_t keys[N], values[N][16];
    for (int64_t i = 0; i < N; i++) {
        keys[i] = i * INT64_C(0x1234567);
        for (int64_t j = 0; j < 16; j++)
            values[i][j] = i + j;
    }
    api.options.map_size = 1u << 20;
    api.options.delta_bytes = 64u << 10;
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "[0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0]");
    for (size_t i = 0; i < N; i += 1000) {
        struct htstore_array k = htstore_vector(HTSTORE_INT64, keys + i, 1000);
        struct htstore_array v = htstore_matrix(HTSTORE_INT64, values + i, 1000, 16);
        OK(htstore_table_insert(api.table, &k, &v, HTSTORE_LAZY, &api.error));
    }
    OK(htstore_flush(api.store, &api.error));
    struct htstore_stats stats = api_stats();
    ck_assert_uint_ge(stats.map_growths, 1);
    ck_assert_uint_ge(stats.map_size, sizeof values);
    SIZE_IS(N);
    api_reopen();
    SIZE_IS(N);
    struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, N), out = api_outputs(&k);
    OK(htstore_table_lookup(api.table, &k, NULL, &out, NULL, &api.error));
    ck_assert_mem_eq(out.data, values, sizeof values);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("table");
    TCase *tests = tcase_create("operations");
    tcase_add_checked_fixture(tests, api_setup, api_teardown);
    tcase_add_loop_test(tests, insert_new_never_overwrites, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, insert_new_keeps_the_first_of_equal_keys, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, all_or_nothing_refuses_present_and_repeated_keys, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, find_or_insert_takes_every_form_of_candidates, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, find_or_insert_finds_what_it_inserted_before_in_the_batch, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, find_or_insert_checks_candidates_like_defaults, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, lookup_takes_every_form_of_defaults_and_keeps_none, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, defaults_of_strings_are_copied, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, a_default_row_for_each_key_wins_over_a_shared_reading_only_by_shape, 0,
                        API_N_VARIATIONS);
    tcase_add_loop_test(tests, outputs_must_have_the_type_and_shape_of_the_result, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, remove_reports_the_first_of_equal_keys, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, clear_removes_all_rows_and_keeps_the_schema, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, import_of_wrong_rows_keeps_the_old_ones, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, import_of_no_rows_is_clear, 0, API_N_VARIATIONS);
    tcase_add_loop_test(tests, empty_batches_do_nothing, 0, API_N_VARIATIONS);
    tcase_add_test(tests, empty_batches_are_checked_like_others);
    tcase_add_test(tests, all_handles_of_a_table_show_the_same_contents);
    tcase_add_loop_test(tests, each_call_may_choose_its_durability, 0, HTSTORE_LAZY + 1);
    tcase_add_test(tests, stats_count_what_happens);
    tcase_add_test(tests, stats_write_no_more_than_their_size);
    tcase_add_test(tests, the_map_grows_by_itself);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
