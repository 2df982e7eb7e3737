/* check_options: options of htstore_open: their ranges and defaults; and the texts that belong to no object. */
#include "api_util.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

static void refuse_options(struct htstore_options options)
{
    struct htstore *store = (struct htstore *)&api;
    REFUSED(htstore_open(api.path, &options, &store, &api.error), HTSTORE_EINVAL, "");
    ck_assert_ptr_null(store);
}

struct number {
    size_t offset;
    bool wide; /* uint64_t, not uint32_t */
    uint64_t value;
};
#define FIELD(name, value)                                                                                             \
    {                                                                                                                  \
        offsetof(struct htstore_options, name), sizeof(((struct htstore_options *)0)->name) == 8, value                \
    }

static struct htstore_options with_number(const struct number *number)
{
    struct htstore_options options = api.options;
    uint32_t narrow = (uint32_t)number->value;
    if (number->wide)
        memcpy((uint8_t *)&options + number->offset, &number->value, sizeof number->value);
    else
        memcpy((uint8_t *)&options + number->offset, &narrow, sizeof narrow);
    return options;
}

START_TEST(options_out_of_range_are_refused)
{
    static const struct number bad[] = { FIELD(size, 0),
                                         FIELD(durability, 4),
                                         FIELD(durability, UINT32_MAX),
                                         FIELD(interval_ms, 1),
                                         FIELD(interval_ms, 3600001),
                                         FIELD(max_open_tables, 7),
                                         FIELD(max_open_tables, 4097),
                                         FIELD(delta_bytes, (64u << 10) - 1),
                                         FIELD(segment_bytes, (64u << 10) - 1),
                                         FIELD(segment_bytes, (1u << 30) + 1),
                                         FIELD(flags, HTSTORE_CREATE | 0x40),
                                         FIELD(flags, HTSTORE_CREATE | 0x80000000) };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refuse_options(with_number(&bad[i]));
    api.options.flags = 0;
    REFUSED(htstore_open(api.path, &api.options, &api.store, &api.error), HTSTORE_ENOTFOUND, "");
}
END_TEST

START_TEST(options_at_their_limits_are_accepted)
{
    static const struct number fine[] = { FIELD(durability, HTSTORE_LAZY), FIELD(interval_ms, 2),
                                          FIELD(interval_ms, 3600000),     FIELD(max_open_tables, 8),
                                          FIELD(max_open_tables, 4096),    FIELD(delta_bytes, 64u << 10),
                                          FIELD(segment_bytes, 64u << 10), FIELD(map_size, 1u << 20),
                                          FIELD(cache_bytes, 1),           FIELD(flush_age_ms, 1),
                                          FIELD(slow_reader_ms, 1) };
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-1");
    INSERT("[1 2]", "[10 20]");
    for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++) {
        api.options = with_number(&fine[i]);
        api_reopen();
        INSERT("[2 3]", "[20 30]");
        EXPORT_IS("[1 2 3]", "[10 20 30]");
    }
}
END_TEST

START_TEST(relative_paths_hold_after_a_change_of_folder)
{
    struct htstore *other;
    int old = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(old, 0);
    ck_assert_int_eq(chdir(api.directory), 0);
    strcpy(api.path, _i ? "./store/" : "store");
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-1");
    ck_assert_int_eq(fchdir(old), 0);
    for (int i = 0; i < 20; i++) {
        INSERT("[1 2]", "[10 20]");
        OK(htstore_flush(api.store, &api.error));
    }
    api_close_store();
    OK(htstore_open(api_path("store"), &api.options, &other, &api.error));
    OK(htstore_table_open(other, "t1", NULL, &api.table, &api.error));
    EXPORT_IS("[1 2]", "[10 20]");
    OK(htstore_table_close(api.table, &api.error));
    api.table = NULL;
    OK(htstore_close(other, &api.error));
    close(old);
}
END_TEST

START_TEST(no_options_are_the_defaults)
{
    const char *preloaded = getenv("LD_PRELOAD");
    if (preloaded && strstr(preloaded, "valgrind"))
        return; /* it has no room for the default map */
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-1");
    INSERT("[1 2]", "[10 20]");
    api_close_store();
    OK(htstore_open(api.path, NULL, &api.store, &api.error));
    OK(htstore_table_open(api.store, "t1", NULL, &api.table, &api.error));
    EXPORT_IS("[1 2]", "[10 20]");
    INSERT("3", "30");
    SIZE_IS(3);
}
END_TEST

/* ---- texts ---- */

START_TEST(every_code_has_its_own_text)
{
    for (int a = HTSTORE_ECANCELED; a <= HTSTORE_OK; a++) {
        ck_assert_ptr_nonnull(htstore_strerror(a));
        for (int b = a + 1; b <= HTSTORE_OK; b++)
            ck_assert_str_ne(htstore_strerror(a), htstore_strerror(b));
    }
    ck_assert_ptr_nonnull(htstore_strerror(HTSTORE_ECANCELED - 1));
    ck_assert_ptr_nonnull(htstore_strerror(1));
    ck_assert_ptr_nonnull(htstore_strerror(INT32_MIN));
    ck_assert_str_eq(htstore_version(), HTSTORE_VERSION);
    ck_assert_uint_eq(htstore_version_number(),
                      HTSTORE_VERSION_MAJOR * 10000 + HTSTORE_VERSION_MINOR * 100 + HTSTORE_VERSION_PATCH);
    ck_assert_ptr_nonnull(strcasestr(htstore_build_info(), "lmdb"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *tests = tcase_create("options");
    tcase_add_checked_fixture(tests, api_setup, api_teardown);
    tcase_add_test(tests, options_out_of_range_are_refused);
    tcase_add_test(tests, options_at_their_limits_are_accepted);
    tcase_add_loop_test(tests, relative_paths_hold_after_a_change_of_folder, 0, 2);
    tcase_add_test(tests, no_options_are_the_defaults);
    tcase_add_test(tests, every_code_has_its_own_text);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
