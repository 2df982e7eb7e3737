/* Tests of dumps that go through mdb_load and mdb_dump; skipped where these are not installed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../tools/dumpschema.h"

#include "api_util.h"
#include "dump_sample.h"
#include "dump_util.h"

/* Run a command on a file or folder; its output goes through what stands behind. */
static void run(const char *command, const char *name, const char *behind, const char *file)
{
    char line[1024];

    ck_assert_int_lt(snprintf(line, sizeof line, "%s '%s' %s '%s'", command, name, behind, file), (int)sizeof line);
    ck_assert_msg(system(line) == 0, "failed: %s", line);
}

/* Make an LMDB environment of a dump of the sample. */
static const char *load_sample(void)
{
    const char *environment = api_path("environment"), *file = api_path("out.dump");
    size_t size;

    dump_sample_make(api.path, false);
    (void)dump_text(api.path, 0, &size);
    ck_assert_str_eq(dump_world.said, "");
    ck_assert_int_eq(mkdir(environment, 0700), 0);
    run("mdb_load -f", file, "2>/dev/null", environment);
    return environment;
}

START_TEST(mdb_load_and_mdb_dump_keep_everything)
{
    const char *environment = load_sample(), *file = api_path("again.dump"), *target = api_path("target");
    const char *first;
    size_t size;
    char *text;

    run("mdb_dump -a", environment, ">", file);
    text = dump_read_file(file, &size);
    first = strstr(text, "database=");
    ck_assert_msg(first != NULL && strncmp(first, "database=!htstore\n", 18) == 0, "!htstore is not the first section");
    ck_assert_msg(dump_restore(text, size, target) == 0, "%s", dump_world.said);
    ck_assert_str_eq(dump_sample_text(target), dump_sample_text(api.path));
}
END_TEST

START_TEST(what_mdb_dump_prints_is_read_right_or_refused)
{
    /* 0.9.24 and older leave backslashes bare, which cannot always be told apart */
    const char *environment = load_sample(), *file = api_path("again.dump"), *target = api_path("target");
    size_t size;
    char *text;
    int status;

    run("mdb_dump -p -a", environment, ">", file);
    text = dump_read_file(file, &size);
    status = dump_restore(text, size, target);
    if (status == 0)
        ck_assert_str_eq(dump_sample_text(target), dump_sample_text(api.path));
    else
        ck_assert_msg(status == STATUS_DAMAGED && strstr(dump_world.said, "before 0.9.25") != NULL, "%s",
                      dump_world.said);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mdbload");
    TCase *stock = tcase_create("stock");

    if (!dumpschema_can_read()) {
        puts("SKIP: built without jansson");
        return 77;
    }
    if (system("command -v mdb_load >/dev/null && command -v mdb_dump >/dev/null") != 0) {
        puts("SKIP: lmdb-utils are not installed");
        return 77;
    }
    tcase_add_checked_fixture(stock, dump_setup, api_teardown);
    tcase_add_test(stock, mdb_load_and_mdb_dump_keep_everything);
    tcase_add_test(stock, what_mdb_dump_prints_is_read_right_or_refused);
    suite_add_tcase(suite, stock);
    return check_run(suite);
}
