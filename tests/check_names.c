/* check_names: semantics.md 1.2 to 1.4: names, schemas, create, open, get or create, drop, and anonymous tables. */
#include "api_util.h"

#include <stdio.h>

static struct htstore_table *const GARBAGE = (struct htstore_table *)&api;

static struct htstore_schema plain_schema(void)
{
    return api_schema(HTSTORE_INT64, "-1", HTSTORE_INT64);
}

static struct htstore_table *create(const char *name)
{
    struct htstore_schema schema = plain_schema();
    struct htstore_table *table = NULL;
    OK(htstore_table_create(api.store, name, &schema, &table, &api.error));
    ck_assert_ptr_nonnull(table);
    return table;
}

static void close_table(struct htstore_table *table)
{
    OK(htstore_table_close(table, &api.error));
}

/* ---- names ---- */

/* All four calls that take a name refuse this one. */
static void refuse_name(const char *name, int code)
{
    struct htstore_schema schema = plain_schema();
    struct htstore_table *table = GARBAGE;
    REFUSED(htstore_table_create(api.store, name, &schema, &table, &api.error), code, "");
    ck_assert_ptr_null(table);
    table = GARBAGE;
    REFUSED(htstore_table_get_or_create(api.store, name, &schema, &table, &api.error), code, "");
    ck_assert_ptr_null(table);
    table = GARBAGE;
    REFUSED(htstore_table_open(api.store, name, NULL, &table, &api.error), code, "");
    ck_assert_ptr_null(table);
    REFUSED(htstore_table_drop(api.store, name, &api.error), code, "");
}

static char *long_name(size_t size)
{
    char *name = api_alloc(size + 1);
    memset(name, 'n', size);
    return name;
}

START_TEST(names_that_are_no_names_are_refused)
{
    static const char *const not_text[] = {
        "\xff",         "a\xff",        "\x80",         "\xc0\x80",         "\xc1\xbf",         "\xe0\x80\x80",
        "\xe0\x9f\xbf", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80",
        "\xe2\x82",     "x\xc3",        "\xe2\x28\xa1"
    };
    api_open_store();
    struct api_state before = api_state();
    refuse_name(NULL, HTSTORE_EINVAL);
    refuse_name("", HTSTORE_EINVAL);
    refuse_name(long_name(HTSTORE_MAX_NAME_SIZE + 1), HTSTORE_EINVAL);
    for (size_t i = 0; i < sizeof not_text / sizeof not_text[0]; i++)
        refuse_name(not_text[i], HTSTORE_ETYPE);
    UNCHANGED(before);
}
END_TEST

START_TEST(names_of_every_kind_are_kept)
{
    const char *names[] = { "a",
                            "A",
                            "a/b",
                            "../x",
                            ".",
                            " ",
                            "\n\t\x1b[0m",
                            "caf\xc3\xa9",
                            "cafe\xcc\x81",
                            "\x7f",
                            "\xf4\x8f\xbf\xbf",
                            "\xed\x9f\xbf",
                            "\xee\x80\x80",
                            "data.mdb",
                            "t1",
                            "t1 ",
                            long_name(HTSTORE_MAX_NAME_SIZE),
                            long_name(HTSTORE_MAX_NAME_SIZE - 1),
                            long_name(511) };
    enum { N = sizeof names / sizeof names[0] };
    api_open_store();
    for (size_t i = 0; i < N; i++) {
        api.table = create(names[i]);
        struct htstore_array key = api_keys("1"), value = htstore_scalar(HTSTORE_INT64, &(int64_t){ (int64_t)i });
        OK(htstore_table_insert(api.table, &key, &value, HTSTORE_LAZY, &api.error));
        ck_assert_str_eq(htstore_table_name(api.table), names[i]);
        close_table(api.table);
    }
    api.table = NULL;
    api_reopen();
    ck_assert_uint_eq(api_stats().n_tables, N);
    for (size_t i = 0; i < N; i++) {
        OK(htstore_table_open(api.store, names[i], NULL, &api.table, &api.error));
        struct htstore_array key = api_keys("1"), out = api_outputs(&key);
        OK(htstore_table_lookup(api.table, &key, NULL, &out, NULL, &api.error));
        ck_assert_int_eq(*(const int64_t *)out.data, (int64_t)i);
        ck_assert_str_eq(htstore_table_name(api.table), names[i]);
        close_table(api.table);
        api.table = NULL;
        OK(htstore_table_drop(api.store, names[i], &api.error));
    }
    ck_assert_uint_eq(api_stats().n_tables, 0);
}
END_TEST

START_TEST(names_in_messages_are_escaped)
{
    struct htstore_table *table;
    api_open_store();
    close_table(create("a\x1b[31m\nb"));
    struct htstore_schema schema = plain_schema();
    REFUSED(htstore_table_create(api.store, "a\x1b[31m\nb", &schema, &table, &api.error), HTSTORE_EEXIST, "");
    REFUSED(htstore_table_open(api.store, "\x07\r", NULL, &table, &api.error), HTSTORE_ENOTFOUND, "");
    ck_assert_ptr_null(strchr(api.error.message, '\x07'));
    REFUSED(htstore_table_open(api.store, long_name(HTSTORE_MAX_NAME_SIZE), NULL, &table, &api.error),
            HTSTORE_ENOTFOUND, "");
}
END_TEST

/* ---- create, open, get or create, drop ---- */

START_TEST(a_used_name_is_not_created_again)
{
    struct htstore_table *other = GARBAGE;
    api_open_store();
    api.table = create("t1");
    INSERT("1", "10");
    struct api_state before = api_state();
    struct htstore_schema same = plain_schema(), strings = api_schema(HTSTORE_STRING, "x", HTSTORE_STRING);
    REFUSED(htstore_table_create(api.store, "t1", &same, &other, &api.error), HTSTORE_EEXIST, "t1");
    ck_assert_ptr_null(other);
    REFUSED(htstore_table_create(api.store, "t1", &strings, &other, &api.error), HTSTORE_EEXIST, "t1");
    UNCHANGED(before);
    GET_IS("1", "10");
}
END_TEST

START_TEST(an_absent_name_is_created_but_not_opened_or_dropped)
{
    struct htstore_table *table = GARBAGE;
    struct htstore_schema schema = plain_schema();
    api_open_store();
    REFUSED(htstore_table_open(api.store, "t1", NULL, &table, &api.error), HTSTORE_ENOTFOUND, "t1");
    ck_assert_ptr_null(table);
    REFUSED(htstore_table_open(api.store, "t1", &schema, &table, &api.error), HTSTORE_ENOTFOUND, "t1");
    REFUSED(htstore_table_drop(api.store, "t1", &api.error), HTSTORE_ENOTFOUND, "t1");
    OK(htstore_table_get_or_create(api.store, "t1", &schema, &api.table, &api.error));
    SIZE_IS(0);
    INSERT("1", "10");
    OK(htstore_table_get_or_create(api.store, "t1", &schema, &table, &api.error));
    ck_assert_uint_eq(api_size(table), 1);
    ck_assert_uint_eq(htstore_table_id(table), htstore_table_id(api.table));
    close_table(table);
    ck_assert_uint_eq(api_stats().n_tables, 1);
}
END_TEST

START_TEST(drop_removes_a_table_for_good)
{
    struct htstore_schema strings = api_schema(HTSTORE_STRING, "x", HTSTORE_STRING);
    api_open_store();
    api.name = "t1";
    api.table = create("t1");
    uint64_t id = htstore_table_id(api.table);
    INSERT("[1 2 3]", "[1 2 3]");
    if (_i)
        OK(htstore_flush(api.store, &api.error));
    REFUSED(htstore_table_drop(api.store, "t1", &api.error), HTSTORE_EBUSY, "");
    GET_IS("[1 2 3]", "[1 2 3]");
    close_table(api.table);
    OK(htstore_table_drop(api.store, "t1", &api.error));
    REFUSED(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error), HTSTORE_ENOTFOUND, "t1");
    ck_assert_uint_eq(api_stats().n_tables, 0);
    ck_assert_uint_eq(api_stats().n_rows, 0);
    api_reopen();
    REFUSED(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error), HTSTORE_ENOTFOUND, "t1");
    OK(htstore_table_create(api.store, "t1", &strings, &api.table, &api.error));
    ck_assert_uint_gt(htstore_table_id(api.table), id);
    SIZE_IS(0);
    INSERT("1", "one");
    api_reopen();
    EXPORT_IS("[1]", "[one]");
}
END_TEST

START_TEST(tables_are_durable_when_created_and_dropped)
{
    api.options.durability = HTSTORE_LAZY;
    api_open_store();
    api.table = create("t1");
    ck_assert_uint_eq(api_stats().durable_lsn, api_stats().visible_lsn);
    INSERT("1", "1");
    close_table(create("t2"));
    ck_assert_uint_eq(api_stats().durable_lsn, api_stats().visible_lsn);
    INSERT("2", "2");
    OK(htstore_table_drop(api.store, "t2", &api.error));
    ck_assert_uint_eq(api_stats().durable_lsn, api_stats().visible_lsn);
}
END_TEST

START_TEST(open_handles_keep_the_store_open)
{
    api_open_store();
    struct htstore_table *table = create("t1");
    REFUSED(htstore_close(api.store, &api.error), HTSTORE_EBUSY, "");
    ck_assert_uint_eq(api_size(table), 0);
    ck_assert_uint_eq(api_stats().open_handles, 1);
    close_table(table);
    OK(htstore_table_close(NULL, &api.error));
    OK(htstore_close(api.store, &api.error));
    OK(htstore_close(NULL, &api.error));
    api.store = NULL;
}
END_TEST

START_TEST(many_tables_live_side_by_side)
{
    enum { N = 200 };
    struct htstore_table *tables[N];
    char name[32];
    api.options.max_open_tables = 8;
    api_open_store();
    for (int i = 0; i < N; i++) {
        (void)snprintf(name, sizeof name, "table%d", i);
        tables[i] = create(name);
        struct htstore_array key = htstore_scalar(HTSTORE_INT64, &(int64_t){ i });
        OK(htstore_table_insert(tables[i], &key, &key, HTSTORE_LAZY, &api.error));
    }
    OK(htstore_flush(api.store, &api.error));
    for (int i = 0; i < N; i++) {
        api.table = tables[i];
        char text[16];
        (void)snprintf(text, sizeof text, "[%d]", i);
        EXPORT_IS(text, text);
        close_table(tables[i]);
    }
    api.table = NULL;
    api_reopen();
    ck_assert_uint_eq(api_stats().n_tables, N);
    ck_assert_uint_eq(api_stats().n_rows, N);
}
END_TEST

/* Open tables that are not in memory take a database each; what could be opened must also be written and flushed. */
START_TEST(tables_that_could_be_opened_can_be_replaced_and_flushed)
{
    enum { N = 12 };
    struct htstore_table *tables[N];
    char name[32];
    int n = 0;
    api.options.max_open_tables = 8;
    api.options.flags |= HTSTORE_NO_PRELOAD;
    api_open_store();
    struct htstore_array keys = api_array(HTSTORE_INT64, "[1 2]");
    for (int i = 0; i < N; i++) {
        (void)snprintf(name, sizeof name, "table%d", i);
        struct htstore_table *table = create(name);
        OK(htstore_table_insert(table, &keys, &keys, HTSTORE_LAZY, &api.error));
        close_table(table);
    }
    api_reopen();
    for (; n < N; n++) {
        (void)snprintf(name, sizeof name, "table%d", n);
        int result = htstore_table_open(api.store, name, NULL, &tables[n], &api.error);
        if (result != 0) {
            ck_assert_msg(result == HTSTORE_EBUSY && n >= 6, "table %d: %d: %s", n, result, api.error.message);
            break;
        }
    }
    struct htstore_array values = api_array(HTSTORE_INT64, "[10 20]");
    for (int i = 0; i < n; i++)
        OK(htstore_table_import(tables[i], &keys, &values, HTSTORE_LAZY, &api.error));
    OK(htstore_flush(api.store, &api.error));
    for (int i = 0; i < n; i++) {
        api.table = tables[i];
        EXPORT_IS("[1 2]", "[10 20]");
        close_table(tables[i]);
    }
    api.table = NULL;
}
END_TEST

/* ---- schemas ---- */

static void conflict(struct htstore_schema schema, const char *text)
{
    struct htstore_table *table = GARBAGE;
    REFUSED(htstore_table_open(api.store, "t1", &schema, &table, &api.error), HTSTORE_ECONFLICT, text);
    ck_assert_ptr_null(table);
    table = GARBAGE;
    REFUSED(htstore_table_get_or_create(api.store, "t1", &schema, &table, &api.error), HTSTORE_ECONFLICT, text);
    ck_assert_ptr_null(table);
    ck_assert_ptr_nonnull(strstr(api.error.message, "for table t1"));
}

START_TEST(the_first_difference_of_schemas_gives_the_message)
{
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-1");
    if (_i)
        api_reopen();
    conflict(api_schema(HTSTORE_INT64, "a", HTSTORE_STRING),
             "Conflicting key/value dtypes int64->string with int64-int64 for table t1");
    struct htstore_schema all = api_schema(HTSTORE_STRING, "[1 2]", HTSTORE_INT32);
    all.flags = HTSTORE_NO_CHECKPOINT;
    conflict(all, "Conflicting key/value dtypes string->int32 with int64-int64 for table t1");
    struct htstore_schema shape = api_schema(HTSTORE_INT64, "[1 2]", HTSTORE_INT64);
    shape.flags = HTSTORE_NO_CHECKPOINT;
    conflict(shape, "Conflicting value shapes [2] with [] for table t1");
    struct htstore_schema value = api_schema(HTSTORE_INT64, "-2", HTSTORE_INT64);
    value.flags = HTSTORE_NO_CHECKPOINT;
    conflict(value, "Conflicting default values");
    struct htstore_schema flag = plain_schema();
    flag.flags = HTSTORE_NO_CHECKPOINT;
    conflict(flag, "Conflicting checkpoint flags");
    ck_assert_uint_eq(api_stats().open_handles, 1);
}
END_TEST

START_TEST(shapes_of_one_element_differ_from_scalars)
{
    api_open_store();
    api_begin_table("t1", HTSTORE_STRING, HTSTORE_STRING, "[[a b]]");
    conflict(api_schema(HTSTORE_STRING, "[a b]", HTSTORE_STRING),
             "Conflicting value shapes [2] with [1,2] for table t1");
    conflict(api_schema(HTSTORE_STRING, "[[a][b]]", HTSTORE_STRING),
             "Conflicting value shapes [2,1] with [1,2] for table t1");
    conflict(api_schema(HTSTORE_STRING, "[[a \\e]]", HTSTORE_STRING), "Conflicting default values");
    conflict(api_schema(HTSTORE_STRING, "[[ab \\e]]", HTSTORE_STRING), "Conflicting default values");
    conflict(api_schema(HTSTORE_STRING, "[[a b\\0]]", HTSTORE_STRING), "Conflicting default values");
}
END_TEST

START_TEST(defaults_are_compared_bit_by_bit)
{
    static const uint32_t nans[] = { 0x7fc00000, 0x7fc00001 };
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_INT8 };
    struct htstore_table *table;
    api_open_store();
    schema.default_value = htstore_scalar(HTSTORE_FLOAT32, &nans[0]);
    OK(htstore_table_create(api.store, "t1", &schema, &api.table, &api.error));
    api.name = "t1";
    api_reopen();
    OK(htstore_table_open(api.store, "t1", &schema, &table, &api.error));
    close_table(table);
    schema.default_value.data = (void *)(uintptr_t)&nans[1];
    conflict(schema, "Conflicting default values");
    close_table(api.table);
    api.table = NULL;
    OK(htstore_table_drop(api.store, "t1", &api.error));
    api_begin_table("t1", HTSTORE_INT8, HTSTORE_FLOAT64, "0");
    conflict(api_schema(HTSTORE_INT8, "-0", HTSTORE_FLOAT64), "Conflicting default values");
}
END_TEST

START_TEST(a_handle_tells_its_schema)
{
    struct htstore_schema made = api_schema(HTSTORE_STRING, "[[a \\e][\\0 d]]", HTSTORE_STRING), got;
    made.flags = HTSTORE_NO_CHECKPOINT;
    made.value_dtype = 0;
    api_open_store();
    OK(htstore_table_create(api.store, "t1", &made, &api.table, &api.error));
    api.name = "t1";
    for (int i = 0; i < 2; i++) {
        memset(&got, 0, sizeof got);
        got.size = sizeof got;
        OK(htstore_table_schema(api.table, &got, &api.error));
        ck_assert_uint_eq(got.flags, HTSTORE_NO_CHECKPOINT);
        ck_assert_uint_eq(got.key_dtype, HTSTORE_STRING);
        ck_assert_uint_eq(got.value_dtype, HTSTORE_STRING);
        ck_assert(api_equal(&got.default_value, &made.default_value));
        ck_assert_uint_ge(htstore_table_id(api.table), 1);
        ck_assert_str_eq(htstore_table_name(api.table), "t1");
        api_reopen();
    }
    got.size = 0;
    REFUSED(htstore_table_schema(api.table, &got, &api.error), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_schema(api.table, NULL, &api.error), HTSTORE_EINVAL, "");
    REFUSED(htstore_table_schema(NULL, &got, &api.error), HTSTORE_EINVAL, "");
}
END_TEST

/* Create and get-or-create refuse this schema. */
static void refuse_schema(struct htstore_schema schema, int code, const char *text)
{
    struct htstore_table *table = GARBAGE;
    REFUSED(htstore_table_create(api.store, "t1", &schema, &table, &api.error), code, text);
    ck_assert_ptr_null(table);
    table = GARBAGE;
    REFUSED(htstore_table_get_or_create(api.store, "t1", &schema, &table, &api.error), code, text);
    ck_assert_ptr_null(table);
}

START_TEST(wrong_schemas_are_refused)
{
    struct htstore_schema s;
    struct htstore_table *table = GARBAGE;
    api_open_store();
    struct api_state before = api_state();
    REFUSED(htstore_table_create(api.store, "t1", NULL, &table, &api.error), HTSTORE_EINVAL, "");
    ck_assert_ptr_null(table);
    s = plain_schema();
    s.size = 0;
    refuse_schema(s, HTSTORE_EINVAL, "");
    s = plain_schema();
    s.flags = 0x04;
    refuse_schema(s, HTSTORE_EINVAL, "");
    s = plain_schema();
    memset(&s.default_value, 0, sizeof s.default_value);
    s.value_dtype = 0;
    refuse_schema(s, HTSTORE_EINVAL, "");
    s = plain_schema();
    s.default_value.data = NULL;
    refuse_schema(s, HTSTORE_EINVAL, "");
    s = plain_schema();
    s.value_dtype = HTSTORE_INT32;
    refuse_schema(s, HTSTORE_ETYPE, "Default value must be type int32 but got int64");
    s = api_schema(HTSTORE_INT64, "2", HTSTORE_BOOL);
    refuse_schema(s, HTSTORE_EINVAL, "");
    s = plain_schema();
    s.default_value.rank = HTSTORE_MAX_RANK + 1;
    refuse_schema(s, HTSTORE_ESHAPE, "");
    s = plain_schema();
    s.default_value = api_shaped(HTSTORE_INT64, "2,-1", s.default_value.data);
    refuse_schema(s, HTSTORE_ESHAPE, "");
    s = plain_schema();
    s.default_value = api_shaped(HTSTORE_INT64, "4294967296,4294967296", s.default_value.data);
    refuse_schema(s, HTSTORE_ESHAPE, "");
    UNCHANGED(before);
}
END_TEST

/* Unknown numbers are wrong in themselves: semantics.md 1.11. */
START_TEST(unknown_dtypes_of_schemas_are_refused)
{
    static const uint32_t unknown[] = { 0, HTSTORE_STRING + 1, 77, UINT32_MAX };
    struct htstore_schema s;
    api_open_store();
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        s = plain_schema();
        s.key_dtype = unknown[i];
        refuse_schema(s, HTSTORE_EINVAL, "dtype");
        if (!unknown[i])
            continue;
        s = plain_schema();
        s.value_dtype = unknown[i];
        s.default_value.dtype = unknown[i];
        refuse_schema(s, HTSTORE_EINVAL, "dtype");
    }
    ck_assert_uint_eq(api_stats().n_tables, 0);
}
END_TEST

/* ---- anonymous tables ---- */

START_TEST(anonymous_tables_have_no_name)
{
    struct htstore_schema anonymous = plain_schema(), named = plain_schema();
    struct htstore_table *first = GARBAGE, *second;
    anonymous.flags = HTSTORE_ANONYMOUS;
    api_open_store();
    REFUSED(htstore_table_create(api.store, "t1", &anonymous, &first, &api.error), HTSTORE_EINVAL, "");
    ck_assert_ptr_null(first);
    REFUSED(htstore_table_create(api.store, NULL, &named, &first, &api.error), HTSTORE_EINVAL, "");
    OK(htstore_table_create(api.store, NULL, &anonymous, &first, &api.error));
    OK(htstore_table_create(api.store, NULL, &anonymous, &second, &api.error));
    ck_assert_ptr_null(htstore_table_name(first));
    ck_assert_uint_ne(htstore_table_id(first), htstore_table_id(second));
    ck_assert_uint_eq(api_stats().n_tables, 2);
    struct htstore_array key = api_array(HTSTORE_INT64, "1");
    OK(htstore_table_insert(first, &key, &key, 0, &api.error));
    ck_assert_uint_eq(api_size(first), 1);
    ck_assert_uint_eq(api_size(second), 0);
    close_table(first);
    close_table(second);
}
END_TEST

START_TEST(an_anonymous_table_is_gone_after_its_last_close)
{
    struct htstore_schema schema = plain_schema();
    schema.flags = HTSTORE_ANONYMOUS;
    api_open_store();
    close_table(create("kept"));
    OK(htstore_table_create(api.store, NULL, &schema, &api.table, &api.error));
    INSERT("[1 2]", "[10 20]");
    if (_i)
        OK(htstore_flush(api.store, &api.error));
    REFUSED(htstore_close(api.store, &api.error), HTSTORE_EBUSY, "");
    GET_IS("[1 2]", "[10 20]");
    ck_assert_uint_eq(api_stats().n_tables, 2);
    close_table(api.table);
    api.table = NULL;
    ck_assert_uint_eq(api_stats().n_tables, 1);
    ck_assert_uint_eq(api_stats().n_rows, 0);
    api_reopen();
    ck_assert_uint_eq(api_stats().n_tables, 1);
}
END_TEST

/* ---- list ---- */

START_TEST(list_shows_named_objects_in_order)
{
    static const char *const names[] = { "b", "a", "ab", "\xc3\xa9", "Z" };
    static const char *const sorted[] = { "Z", "a", "ab", "b", "\xc3\xa9" };
    const struct htstore_object *objects = NULL;
    uint64_t n = 77;
    struct htstore_schema schema = plain_schema();
    api_open_store();
    OK(htstore_list(api.store, api.arena, &objects, &n, &api.error));
    ck_assert_uint_eq(n, 0);
    for (size_t i = 0; i < 5; i++)
        close_table(create(names[i]));
    schema = api_schema(HTSTORE_STRING, "[[1 2 3]]", HTSTORE_FLOAT32);
    schema.flags = HTSTORE_NO_CHECKPOINT;
    OK(htstore_table_create(api.store, "\xc3\xaa", &schema, &api.table, &api.error));
    INSERT("[x y]", "[[[1 2 3]][[4 5 6]]]");
    uint64_t id = htstore_table_id(api.table);
    OK(htstore_list(api.store, api.arena, &objects, &n, &api.error));
    ck_assert_uint_eq(n, 6);
    for (size_t i = 0; i < 5; i++) {
        ck_assert_str_eq(objects[i].name, sorted[i]);
        ck_assert_uint_eq(objects[i].n_rows, 0);
        ck_assert_uint_eq(objects[i].kind, HTSTORE_KIND_TABLE);
        ck_assert_uint_eq(objects[i].flags, 0);
    }
    const struct htstore_object *last = &objects[5];
    ck_assert_str_eq(last->name, "\xc3\xaa");
    ck_assert_uint_eq(last->id, id);
    ck_assert_uint_eq(last->flags, HTSTORE_NO_CHECKPOINT);
    ck_assert_uint_eq(last->key_dtype, HTSTORE_STRING);
    ck_assert_uint_eq(last->value_dtype, HTSTORE_FLOAT32);
    ck_assert_uint_eq(last->value_rank, 2);
    ck_assert_int_eq(last->value_shape[0], 1);
    ck_assert_int_eq(last->value_shape[1], 3);
    ck_assert_uint_eq(last->n_rows, 2);
}
END_TEST

static void add_schema_tests(TCase *tests)
{
    tcase_add_loop_test(tests, the_first_difference_of_schemas_gives_the_message, 0, 2);
    tcase_add_test(tests, shapes_of_one_element_differ_from_scalars);
    tcase_add_test(tests, defaults_are_compared_bit_by_bit);
    tcase_add_test(tests, a_handle_tells_its_schema);
    tcase_add_test(tests, wrong_schemas_are_refused);
    tcase_add_test(tests, unknown_dtypes_of_schemas_are_refused);
}

int main(void)
{
    Suite *suite = suite_create("names");
    TCase *tests = tcase_create("names");
    tcase_add_checked_fixture(tests, api_setup, api_teardown);
    tcase_add_test(tests, names_that_are_no_names_are_refused);
    tcase_add_test(tests, names_of_every_kind_are_kept);
    tcase_add_test(tests, names_in_messages_are_escaped);
    tcase_add_test(tests, a_used_name_is_not_created_again);
    tcase_add_test(tests, an_absent_name_is_created_but_not_opened_or_dropped);
    tcase_add_loop_test(tests, drop_removes_a_table_for_good, 0, 2);
    tcase_add_test(tests, tables_are_durable_when_created_and_dropped);
    tcase_add_test(tests, open_handles_keep_the_store_open);
    tcase_add_test(tests, many_tables_live_side_by_side);
    tcase_add_test(tests, tables_that_could_be_opened_can_be_replaced_and_flushed);
    add_schema_tests(tests);
    tcase_add_test(tests, anonymous_tables_have_no_name);
    tcase_add_loop_test(tests, an_anonymous_table_is_gone_after_its_last_close, 0, 2);
    tcase_add_test(tests, list_shows_named_objects_in_order);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
