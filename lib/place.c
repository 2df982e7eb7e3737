/* place: hides the temporary folder of a store that is built by other means than opening it. */
#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "create.h"
#include "file.h"
#include "mem.h"

#define MAX_LEVELS 4096 /* of folders */
#define ALLOW_FLAGS (HTSTORE_ALLOW_ANY_FILESYSTEM | HTSTORE_ALLOW_SHARED_FOLDER)

static int make_path(struct hti_place *place, const char *target, struct htstore_error *error)
{
    size_t size;

    if (snprintf(place->temporary, sizeof place->temporary, ".%s" HTI_CREATE_TMP_SUFFIX, place->name) >=
        (int)sizeof place->temporary)
        return hti_fail(error, HTSTORE_EINVAL, "%s: the name is too long", target);
    size = strlen(place->parent) + strlen(place->temporary) + 2;
    place->path = hti_mem_alloc(size);
    if (!place->path)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory to make a store");
    snprintf(place->path, size, "%s/%s", place->parent, place->temporary);
    return 0;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Is this folder that one, or inside of it? */
static bool is_inside(int folder_fd, int avoid_fd)
{
    struct stat avoided, st, above;
    bool found = false;
    int fd = openat(folder_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (fstat(avoid_fd, &avoided) != 0)
        memset(&avoided, 0, sizeof avoided);
    for (int i = 0; i < MAX_LEVELS && fd >= 0 && fstat(fd, &st) == 0; i++) {
        found = is_same(&avoided, &st);
        const int up = found ? -1 : openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
        const bool top = up < 0 || fstat(up, &above) != 0 || is_same(&st, &above);
        close(fd);
        fd = up;
        if (top)
            break;
    }
    if (fd >= 0)
        close(fd);
    return found;
}

int hti_place_choose(struct hti_place *place, const char *target, int avoid_fd, struct htstore_error *error)
{
    int rc;

    memset(place, 0, sizeof *place);
    place->parent_fd = place->fd = -1;
    rc = hti_path_split(target, &place->parent, &place->name, error);
    if (rc == 0)
        rc = make_path(place, target, error);
    if (rc == 0)
        rc = hti_folder_open(AT_FDCWD, place->parent, place->parent, &place->parent_fd, error);
    if (rc != 0)
        return rc;
    if (faccessat(place->parent_fd, place->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return hti_fail(error, HTSTORE_EEXIST, "%s: already exists", target);
    if (avoid_fd >= 0 && is_inside(place->parent_fd, avoid_fd))
        return hti_fail(error, HTSTORE_EINVAL, "%s: lies inside the damaged store, which is not to be touched", target);
    return hti_create_clear(place->parent_fd, place->temporary, target, error);
}

int hti_place_open(struct hti_place *place, const struct htstore_options *options, struct htstore **store,
                   struct htstore_error *error)
{
    struct htstore_options own = *options;
    int rc;

    own.size = sizeof own;
    own.flags = (own.flags & ALLOW_FLAGS) | HTSTORE_CREATE | HTSTORE_EXCLUSIVE;
    own.log = NULL;
    own.slow_reader = NULL;
    rc = htstore_open(place->path, &own, store, error);
    if (rc != 0)
        return rc;
    place->fd = fcntl((*store)->dir_fd, F_DUPFD_CLOEXEC, 0);
    return place->fd < 0 ? hti_file_fail(error, errno, place->path, "cannot keep the new store's folder") : 0;
}

int hti_place_publish(struct hti_place *place, struct htstore_error *error)
{
    return hti_create_publish(place->parent_fd, place->temporary, place->name, place->fd, place->path, error);
}

/* Unlocked by name rather than by closing: a forked child may share the open file. */
void hti_place_leave(struct hti_place *place, bool failed)
{
    if (place->fd >= 0) {
        flock(place->fd, LOCK_UN);
        close(place->fd);
    }
    if (failed && place->parent_fd >= 0)
        hti_create_clear(place->parent_fd, place->temporary, place->path, NULL); /* not if it is somebody else's now */
    if (place->parent_fd >= 0)
        close(place->parent_fd);
    hti_mem_free(place->path);
    hti_mem_free(place->parent);
    hti_mem_free(place->name);
}
