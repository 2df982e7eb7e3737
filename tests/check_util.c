/* check_util: hides how suites are run and where temporary directories are. */
#include "check_util.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_STATUS 50
#define MAX_OPEN_DIRECTORIES 16

/* The directory of the whole run: removed by the parent process, also when a test has crashed. */
static char *run_directory;

static char *make_directory(const char *parent)
{
    size_t size = strlen(parent) + sizeof "/check-XXXXXX";
    char *path = malloc(size);
    if (!path)
        return NULL;
    (void)snprintf(path, size, "%s/check-XXXXXX", parent);
    if (!mkdtemp(path)) {
        free(path);
        return NULL;
    }
    return path;
}

static const char *temporary_root(void)
{
    const char *root = getenv("TMPDIR");
    return root && root[0] ? root : "/tmp";
}

/* Tests may have taken permissions away. */
static int open_up_directory(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)walk;
    if (type == FTW_D || type == FTW_DNR)
        (void)chmod(path, S_IRWXU);
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    (void)remove(path);
    return 0;
}

int check_run(Suite *suite)
{
    run_directory = make_directory(temporary_root());
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int n_failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    check_tmpdir_remove(run_directory);
    run_directory = NULL;
    return n_failed < MAX_STATUS ? n_failed : MAX_STATUS;
}

char *check_tmpdir(void)
{
    char *path = make_directory(run_directory ? run_directory : temporary_root());
    ck_assert_msg(path != NULL, "cannot make a temporary directory");
    return path;
}

void check_tmpdir_remove(char *directory)
{
    if (!directory)
        return;
    (void)nftw(directory, open_up_directory, MAX_OPEN_DIRECTORIES, FTW_PHYS);
    (void)nftw(directory, remove_entry, MAX_OPEN_DIRECTORIES, FTW_DEPTH | FTW_PHYS);
    free(directory);
}

bool zstd_accepts(const char *path)
{
    char command[FILENAME_MAX];
    int status;

    (void)snprintf(command, sizeof command, "exec zstd -q -t '%s'", path);
    status = system(command); /* NOLINT(cert-env33-c): a path of our own */
    return WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 127);
}
