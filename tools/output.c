/* output: hides temporary names and the order of write, sync and rename. */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DRAIN_SIZE 65536

static struct output *unfinished; /* outputs with a temporary file */

static void forget(struct output *output)
{
    for (struct output **at = &unfinished; *at != NULL; at = &(*at)->next) {
        if (*at == output) {
            *at = output->next;
            break;
        }
    }
    free(output->path);
    free(output->temporary);
    buffer_release(&output->pending);
    output->path = NULL;
    output->temporary = NULL;
    output->fd = -1;
}

void output_stdout(struct output *output)
{
    memset(output, 0, sizeof *output);
    output->fd = STDOUT_FILENO;
}

/* The folder of a path, with its last slash; empty for the current one. */
static size_t folder_size(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? 0 : (size_t)(slash - path) + 1;
}

static char *temporary_name(const char *path)
{
    struct buffer name = { 0 };
    size_t folder = folder_size(path);

    buffer_append(&name, path, folder);
    buffer_printf(&name, ".%.200s.%ld.tmp", path + folder, (long)getpid());
    buffer_string(&name);
    return name.data;
}

int output_create(struct output *output, const char *path, bool replace)
{
    struct stat status;
    bool exists = stat(path, &status) == 0;
    int error;

    memset(output, 0, sizeof *output);
    output->fd = -1;
    if (exists && S_ISDIR(status.st_mode))
        return EISDIR;
    if (exists && S_ISREG(status.st_mode) && !replace)
        return EEXIST;
    output->replace = replace;
    if (exists && !S_ISREG(status.st_mode)) {
        output->fd = open(path, O_WRONLY | O_CLOEXEC);
        error = errno;
    } else {
        output->temporary = temporary_name(path);
        output->fd = open(output->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        error = errno;
    }
    output->path = strdup(path);
    if (output->fd < 0 || output->path == NULL) {
        forget(output);
        return error;
    }
    if (output->temporary != NULL) {
        output->next = unfinished;
        unfinished = output;
        memory_at_failure(output_abandon_all);
    }
    return 0;
}

static int write_pending(struct output *output)
{
    size_t done = 0;

    while (output->error == 0 && done < output->pending.size) {
        ssize_t n = write(output->fd, output->pending.data + done, output->pending.size - done);

        if (n < 0 && errno != EINTR)
            output->error = errno;
        if (n > 0)
            done += (size_t)n;
    }
    output->size += done;
    output->pending.size = 0;
    return output->error;
}

int output_drain(struct output *output)
{
    if (output->pending.size < DRAIN_SIZE)
        return output->error;
    return write_pending(output);
}

/* Without `replace` a file that has appeared meanwhile is kept. */
static int publish(const struct output *output)
{
    if (!output->replace) {
        if (renameat2(AT_FDCWD, output->temporary, AT_FDCWD, output->path, RENAME_NOREPLACE) == 0)
            return 0;
        if (errno != EINVAL && errno != ENOSYS) /* file systems without this flag */
            return errno;
    }
    return rename(output->temporary, output->path) == 0 ? 0 : errno;
}

static int sync_folder(const char *path)
{
    size_t size = folder_size(path);
    char *folder = size == 0 ? strdup(".") : strndup(path, size);
    int error = 0;
    int fd;

    if (folder == NULL)
        return ENOMEM;
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
        error = errno;
    if (fd >= 0)
        close(fd);
    free(folder);
    return error;
}

int output_finish(struct output *output)
{
    int error = write_pending(output);

    if (error == 0 && output->temporary != NULL && fsync(output->fd) != 0)
        error = errno;
    if (output->fd >= 0 && close(output->fd) != 0 && error == 0)
        error = errno;
    output->fd = -1;
    if (error == 0 && output->temporary != NULL)
        error = publish(output);
    if (error == 0 && output->temporary != NULL) {
        free(output->temporary);
        output->temporary = NULL;
        error = sync_folder(output->path);
    }
    if (error != 0 && output->temporary != NULL)
        unlink(output->temporary);
    forget(output);
    output->error = error;
    return error;
}

void output_abandon(struct output *output)
{
    if (output->temporary != NULL)
        unlink(output->temporary);
    if (output->path != NULL && output->fd >= 0)
        close(output->fd);
    forget(output);
}

void output_abandon_all(void)
{
    for (const struct output *output = unfinished; output != NULL; output = output->next) {
        if (output->temporary != NULL)
            unlink(output->temporary);
    }
}
