/* folder: hides the walk through a tree of files. */
#include "folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_OPEN_FOLDERS 16

bool folder_make(char path[FOLDER_PATH_SIZE])
{
    const char *root = getenv("TMPDIR");

    (void)snprintf(path, FOLDER_PATH_SIZE, "%s/crash-XXXXXX", root && root[0] ? root : "/tmp");
    return mkdtemp(path) != NULL;
}

static bool copy_bytes(int from, int to)
{
    char block[64 * 1024];
    ssize_t n;

    while ((n = read(from, block, sizeof block)) > 0)
        if (write(to, block, (size_t)n) != n)
            return false;
    return n == 0;
}

static bool copy_file(const char *from, const char *to)
{
    const int in = open(from, O_RDONLY | O_CLOEXEC);
    const int out = in < 0 ? -1 : open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool done = out >= 0 && copy_bytes(in, out);

    if (in >= 0)
        close(in);
    if (out >= 0 && close(out) != 0)
        done = false;
    return done;
}

static bool copy_entry(const char *from, const char *to, const char *name)
{
    char source[FOLDER_PATH_SIZE], target[FOLDER_PATH_SIZE];
    struct stat status;

    if (snprintf(source, sizeof source, "%s/%s", from, name) >= FOLDER_PATH_SIZE ||
        snprintf(target, sizeof target, "%s/%s", to, name) >= FOLDER_PATH_SIZE) {
        errno = ENAMETOOLONG;
        return false;
    }
    if (lstat(source, &status) != 0)
        return false;
    return S_ISDIR(status.st_mode) ? folder_copy(source, target) : copy_file(source, target);
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

bool folder_copy(const char *from, const char *to)
{
    DIR *folder = opendir(from);
    bool done = folder && mkdir(to, 0700) == 0;

    for (const struct dirent *entry; done && (entry = readdir(folder)) != NULL;)
        if (!is_dots(entry->d_name))
            done = copy_entry(from, to, entry->d_name);
    if (folder)
        closedir(folder);
    return done;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

bool folder_remove(const char *path)
{
    return nftw(path, remove_entry, MAX_OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT;
}

int folder_count_others(const char *path, const char *name, const char *other)
{
    DIR *folder = opendir(path);
    int n = 0;

    if (!folder)
        return -1;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;)
        n += !is_dots(entry->d_name) && !(name && strcmp(entry->d_name, name) == 0) &&
             !(other && strcmp(entry->d_name, other) == 0);
    closedir(folder);
    return n;
}
