/* check_util: what every test program shares: running one suite, and a private temporary directory. */
#ifndef CHECK_UTIL_H
#define CHECK_UTIL_H

#include <check.h>
#include <stdbool.h>

/*
 * Run the suite with CK_NORMAL and free it. Returns the exit status of the program: the number of failed tests, at most
 * 50, so that it never means "skipped" (77) or "error" (99) to Automake. Directories that tests left are removed.
 */
int check_run(Suite *suite);

/* Make an empty directory for this test alone, under $TMPDIR or /tmp. Free it with check_tmpdir_remove(). */
char *check_tmpdir(void);

/* Remove the directory with all that is in it, and free the name. NULL does nothing. */
void check_tmpdir_remove(char *directory);

/*
 * Does the program zstd find a snapshot whole? For every one that a test writes. Also true where zstd is not installed:
 * then this shows nothing.
 */
bool zstd_accepts(const char *path);
#define ZSTD_ACCEPTS(path) ck_assert_msg(zstd_accepts(path), "zstd -t refuses %s", path)

#endif
