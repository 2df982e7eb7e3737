/* managed: hides how a folder of checkpoints is opened, and how it is read without a manager. */
#include "managed.h"

#include "number.h"
#include "path.h"
#include "tool.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEFAULT_FOLDER "checkpoints"
#define DEFAULT_PREFIX "ckpt"

static const char *prefix_of(const struct managed *managed)
{
    return managed->prefix_argument != NULL ? managed->prefix_argument : DEFAULT_PREFIX;
}

static void write_folder(const struct managed *managed, const struct tool *tool, struct buffer *text)
{
    if (managed->folder_argument != NULL)
        buffer_text(text, managed->folder_argument);
    else
        buffer_printf(text, "%s/" DEFAULT_FOLDER, tool->store);
}

void managed_path(const struct managed *managed, const struct tool *tool, int64_t number, struct buffer *path)
{
    write_folder(managed, tool, path);
    buffer_printf(path, "/%s-%" PRId64, prefix_of(managed), number);
}

bool managed_number(const char *argument, int64_t *number)
{
    size_t size = strlen(argument);

    return strspn(argument, "0123456789") == size && number_parse(HTSTORE_INT64, argument, size, number) == NUMBER_OK;
}

/* ---- with a manager ---- */

static int open_checkpoint(struct managed *managed, const struct tool *tool, const char *root)
{
    struct htstore_checkpoint_options options = { .size = sizeof options };
    struct htstore_entry entry = { .key = { "", 0 } };
    struct htstore_error error;
    struct path path = { 0 };
    uint32_t kind = 0;
    int status = STATUS_DONE;

    if (root != NULL) {
        status = path_read(tool, root, &path);
        if (status == STATUS_DONE)
            status = path_open(tool, managed->store, &path, &kind, &managed->root);
    }
    if (status == STATUS_DONE && kind == HTSTORE_KIND_MAPPING) {
        options.root = managed->root;
    } else if (status == STATUS_DONE && root != NULL) {
        entry.key = path_key(&path, path.n - 1);
        entry.object = managed->root;
        options.entries = &entry;
        options.n_entries = 1;
    }
    if (status == STATUS_DONE && htstore_checkpoint_new(managed->store, &options, &managed->checkpoint, &error) < 0)
        status = tool_fail_library(tool, root, &error);
    path_release(&path);
    return status;
}

static int open_manager(struct managed *managed, const struct tool *tool, struct htstore_error *error)
{
    struct htstore_manager_options options = { .size = sizeof options };
    int result;

    options.folder = buffer_string(&managed->folder);
    options.prefix = prefix_of(managed);
    result = htstore_manager_open(managed->checkpoint, &options, &managed->manager, error);
    if (result > 0)
        tool_warn(tool, buffer_string(&managed->folder), "the clock went back since the last checkpoint");
    return result;
}

int managed_open(struct managed *managed, const struct tool *tool, const char *root)
{
    struct htstore_error error;
    int status = tool_open(tool, HTSTORE_NO_PRELOAD, &managed->store);

    write_folder(managed, tool, &managed->folder);
    if (status == STATUS_DONE && htstore_arena_new(&managed->arena, &error) < 0)
        status = tool_fail_library(tool, NULL, &error);
    if (status == STATUS_DONE)
        status = open_checkpoint(managed, tool, root);
    if (status == STATUS_DONE && open_manager(managed, tool, &error) < 0)
        status = tool_fail_library(tool, NULL, &error);
    return status == STATUS_DONE ? managed_list(managed, tool) : status;
}

/* ---- without one ---- */

static int compare_files(const void *a, const void *b)
{
    const struct htstore_checkpoint_file *first = a, *second = b;

    return (first->number > second->number) - (first->number < second->number);
}

/* The number in a name PREFIX-N; false for other names. */
static bool number_in_name(const char *name, const char *prefix, int64_t *number)
{
    size_t size = strlen(prefix);

    return strncmp(name, prefix, size) == 0 && name[size] == '-' && name[size + 1] != '\0' &&
           managed_number(name + size + 1, number);
}

static void describe_file(struct managed *managed, const struct tool *tool, int64_t number,
                          struct htstore_checkpoint_file *file)
{
    struct htstore_snapshot_info info = { .size = sizeof info };
    struct buffer path = { 0 };
    struct stat status;

    memset(file, 0, sizeof *file);
    managed_path(managed, tool, number, &path);
    file->path = buffer_string(&path); /* freed with the list */
    file->number = number;
    if (stat(file->path, &status) == 0) {
        file->bytes = (uint64_t)status.st_size;
        file->time = (double)status.st_mtim.tv_sec + (double)status.st_mtim.tv_nsec / 1e9;
    }
    if (htstore_snapshot_info(file->path, managed->arena, &info, NULL) == 0)
        file->lsn = info.lsn;
}

static int scan_folder(struct managed *managed, const struct tool *tool)
{
    struct htstore_checkpoint_file *files = NULL;
    const struct dirent *entry;
    DIR *folder = opendir(buffer_string(&managed->folder));
    uint64_t n = 0;

    if (folder == NULL && errno == ENOENT)
        return STATUS_DONE;
    if (folder == NULL)
        return tool_fail(tool, status_from_errno(errno), managed->folder.data, "cannot list it: %s", strerror(errno));
    while ((entry = readdir(folder)) != NULL) {
        int64_t number;

        if (!number_in_name(entry->d_name, prefix_of(managed), &number))
            continue;
        files = memory_resize(files, n + 1, sizeof *files);
        describe_file(managed, tool, number, &files[n++]);
    }
    closedir(folder);
    if (n > 0)
        qsort(files, n, sizeof *files, compare_files);
    managed->files = files;
    managed->n_files = n;
    return STATUS_DONE;
}

int managed_look(struct managed *managed, const struct tool *tool)
{
    struct htstore_error error;
    struct stat folder;
    int result, status = tool_open(tool, HTSTORE_READONLY | HTSTORE_NO_PRELOAD, &managed->store);

    write_folder(managed, tool, &managed->folder);
    if (status == STATUS_DONE && htstore_arena_new(&managed->arena, &error) < 0)
        status = tool_fail_library(tool, NULL, &error);
    if (status != STATUS_DONE || stat(buffer_string(&managed->folder), &folder) != 0)
        return status; /* a manager would make the folder */
    status = open_checkpoint(managed, tool, NULL);
    if (status != STATUS_DONE)
        return status;
    result = open_manager(managed, tool, &error);
    if (result >= 0)
        return managed_list(managed, tool);
    if (result != HTSTORE_EBUSY && result != HTSTORE_EREADONLY)
        return tool_fail_library(tool, NULL, &error);
    return scan_folder(managed, tool);
}

/* ---- both ---- */

int managed_list(struct managed *managed, const struct tool *tool)
{
    struct htstore_error error;

    htstore_arena_reset(managed->arena);
    managed->n_files = 0;
    if (htstore_manager_list(managed->manager, managed->arena, &managed->files, &managed->n_files, &error) == 0)
        return STATUS_DONE;
    return tool_fail_library(tool, NULL, &error);
}

int managed_close(struct managed *managed, const struct tool *tool, int status)
{
    if (managed->manager == NULL) {
        for (uint64_t i = 0; i < managed->n_files; i++)
            free((char *)(uintptr_t)managed->files[i].path);
        free((void *)(uintptr_t)managed->files);
    }
    htstore_manager_close(managed->manager);
    htstore_checkpoint_close(managed->checkpoint, NULL);
    htstore_object_close(managed->root, NULL);
    htstore_arena_free(managed->arena);
    buffer_release(&managed->folder);
    return managed->store != NULL ? tool_close(tool, managed->store, status) : status;
}
