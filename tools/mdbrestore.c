/* mdbrestore: hides the order in which a store is made of a dump, its temporary folder, and how it gets its name. */
#include "mdbdump.h"

#include "dumpload.h"
#include "dumpschema.h"
#include "dumpwalk.h"
#include "lines.h"
#include "mdbread.h"
#include "progress.h"
#include "signals.h"
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct restore {
    struct tool *tool;
    struct mdbdump_options *options;
    struct htstore *store;
    struct lines lines;
    struct mdbread read;
    struct dump_objects objects;
    struct progress progress;
};

/* ---- the temporary folder ---- */

static struct buffer temporary; /* the folder beside the target; of size 0 if there is none */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)status;
    (void)type;
    (void)place;
    (void)remove(path);
    return 0;
}

static void remove_temporary(void)
{
    if (temporary.size > 0)
        (void)nftw(temporary.data, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    temporary.size = 0;
}

/* Bytes of the folder of a path, its last slash included; 0 for the current one. */
static size_t folder_size(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash == NULL ? 0 : (size_t)(slash - path) + 1;
}

static int make_temporary(const struct tool *tool, const char *target)
{
    size_t folder = folder_size(target);

    temporary.size = 0;
    buffer_append(&temporary, target, folder);
    buffer_printf(&temporary, ".%.200s.htstore-restore-XXXXXX", target + folder);
    buffer_string(&temporary);
    if (mkdtemp(temporary.data) != NULL) {
        memory_at_failure(remove_temporary);
        return STATUS_DONE;
    }
    temporary.size = 0;
    return tool_fail(tool, status_from_errno(errno), target, "cannot make a folder beside it: %s", strerror(errno));
}

static char *path_of_new_store(void)
{
    struct buffer path = { 0 };

    buffer_append(&path, temporary.data, temporary.size);
    buffer_text(&path, "/store");
    buffer_string(&path);
    return path.data;
}

static int sync_folder(const char *target)
{
    char *folder = folder_size(target) == 0 ? strdup(".") : strndup(target, folder_size(target));
    int fd = folder != NULL ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int error = 0;

    if (fd < 0 || (fsync(fd) != 0 && errno != EINVAL))
        error = errno;
    if (fd >= 0)
        close(fd);
    free(folder);
    return error;
}

/* A name that has appeared meanwhile is kept. */
static int publish(const struct tool *tool, const char *from, const char *target)
{
    struct stat status;
    int error = 0;

    if (renameat2(AT_FDCWD, from, AT_FDCWD, target, RENAME_NOREPLACE) != 0) {
        error = errno;
        if (error == EINVAL || error == ENOSYS) /* file systems without this flag */
            error = lstat(target, &status) == 0 ? EEXIST : rename(from, target) == 0 ? 0 : errno;
    }
    if (error == 0)
        error = sync_folder(target);
    if (error == 0)
        return STATUS_DONE;
    return tool_fail(tool, status_from_errno(error), target, "cannot give the new store its name: %s", strerror(error));
}

/* ---- messages ---- */

static int fail_line(struct restore *restore, int status, const char *reason)
{
    return tool_fail(restore->tool, status, restore->options->source, "line %" PRIu64 ": %s", restore->lines.number,
                     reason);
}

/* Why the text gave no row and no end. */
static int fail_text(struct restore *restore, enum mdbread_result result)
{
    struct tool *tool = restore->tool;

    if (result == MDBREAD_DAMAGED || result == MDBREAD_UNSUPPORTED)
        return fail_line(restore, result == MDBREAD_DAMAGED ? STATUS_DAMAGED : STATUS_TYPE, restore->read.why.data);
    if (restore->read.lines_result == LINES_INTERRUPTED)
        return STATUS_INTERRUPTED;
    if (restore->read.lines_result == LINES_TOO_LONG)
        return tool_fail(tool, STATUS_TYPE, restore->options->source, "line %" PRIu64 " is longer than 1 GiB",
                         restore->lines.number + 1);
    return tool_fail(tool, status_from_errno(restore->lines.error), restore->options->source, "cannot read it: %s",
                     strerror(restore->lines.error));
}

/* ---- records ---- */

static int read_record(struct restore *restore)
{
    struct htstore_bytes key = { restore->read.key.data, restore->read.key.size };
    struct htstore_bytes value = { restore->read.value.data, restore->read.value.size };
    struct buffer reason = { 0 };
    int result = dumpschema_read(&restore->objects, &key, &value, &reason);

    if (result != 0)
        result = fail_line(restore, result > 0 ? STATUS_TYPE : STATUS_DAMAGED, buffer_string(&reason));
    buffer_release(&reason);
    return result;
}

static bool is_section_of_records(const struct mdbread_header *header)
{
    return header->has_database && header->database.size == strlen(DUMPSCHEMA_SECTION) &&
           memcmp(header->database.data, DUMPSCHEMA_SECTION, header->database.size) == 0;
}

/* The first section. */
static int read_records(struct restore *restore)
{
    struct buffer reason = { 0 };
    enum mdbread_result result = mdbread_section(&restore->read);
    int status = STATUS_DONE;

    if (result == MDBREAD_END)
        return tool_fail(restore->tool, STATUS_TYPE, restore->options->source, "it is empty, no dump");
    if (result != MDBREAD_OK)
        return fail_text(restore, result);
    if (!is_section_of_records(&restore->read.header))
        return tool_fail(restore->tool, STATUS_TYPE, restore->options->source,
                         "the first section is not !htstore: no dump of a store; `htstore import --format=mdb` reads a "
                         "section into a table");
    if (!dumpschema_can_read())
        return tool_fail(restore->tool, STATUS_FAILED, restore->options->source,
                         "this program was built without jansson, so it cannot restore dumps; import their sections");
    while (status == STATUS_DONE && (result = mdbread_row(&restore->read)) == MDBREAD_OK)
        status = read_record(restore);
    if (status == STATUS_DONE && result != MDBREAD_END)
        status = fail_text(restore, result);
    if (status == STATUS_DONE && dumpschema_check(&restore->objects, &reason) != 0)
        status = fail_line(restore, STATUS_DAMAGED, buffer_string(&reason));
    buffer_release(&reason);
    return status;
}

static int create_objects(struct restore *restore)
{
    int status = STATUS_DONE;

    for (size_t i = 0; i < restore->objects.n && status == STATUS_DONE; i++)
        status = dumpload_create(restore->tool, restore->store, restore->objects.list[i]);
    return status;
}

/* ---- sections of rows ---- */

static int read_rows(struct restore *restore, struct dumpload *load, struct buffer *reason)
{
    enum mdbread_result result;
    int status = 0;

    while (status == 0 && (result = mdbread_row(&restore->read)) == MDBREAD_OK) {
        struct htstore_bytes key = { restore->read.key.data, restore->read.key.size };
        struct htstore_bytes value = { restore->read.value.data, restore->read.value.size };

        status = dumpload_row(load, &key, &value, reason);
        restore->options->n_rows++;
        progress_update(&restore->progress, restore->options->n_rows, restore->lines.consumed);
        if (signals_caught() != 0)
            return STATUS_INTERRUPTED;
    }
    if (status == 0 && result != MDBREAD_END)
        return fail_text(restore, result);
    return status == 0 ? dumpload_end(load, reason) : status;
}

static int read_section(struct restore *restore)
{
    struct dump_object *object =
        dumpschema_find_section(&restore->objects, buffer_string(&restore->read.header.database));
    struct dumpload load = { .tool = restore->tool, .store = restore->store, .object = object };
    struct buffer reason = { 0 };
    int status;

    if (mdbread_check(&restore->read) != MDBREAD_OK)
        return fail_text(restore, MDBREAD_UNSUPPORTED);
    if (object == NULL || object->is_read)
        return fail_line(restore, STATUS_DAMAGED,
                         object == NULL ? "no record belongs to this section" : "a second section of one name");
    object->is_read = true;
    status = read_rows(restore, &load, &reason);
    if (status < 0)
        status = fail_line(restore, STATUS_DAMAGED, buffer_string(&reason));
    dumpload_release(&load);
    buffer_release(&reason);
    return status;
}

static int read_sections(struct restore *restore)
{
    enum mdbread_result result;
    int status = STATUS_DONE;
    char shown[400];

    while (status == STATUS_DONE && (result = mdbread_section(&restore->read)) == MDBREAD_OK)
        status = read_section(restore);
    if (status == STATUS_DONE && result != MDBREAD_END)
        return fail_text(restore, result);
    for (size_t i = 0; i < restore->objects.n && status == STATUS_DONE; i++) {
        const struct dump_object *object = restore->objects.list[i];

        if (object->section != NULL && !object->is_read)
            status = tool_fail(restore->tool, STATUS_DAMAGED, restore->options->source, "the section of %s is missing",
                               dumpschema_show(object, shown));
    }
    return status;
}

/* ---- verifying ---- */

struct count {
    struct restore *restore;
    struct digest digest;
    uint64_t n_rows;
};

static int count_row(void *user, const struct htstore_bytes *key, const struct htstore_bytes *value, bool sized)
{
    struct count *count = user;

    digest_add(&count->digest, key, value, sized);
    count->n_rows++;
    progress_update(&count->restore->progress, count->n_rows, count->restore->lines.consumed);
    return STATUS_DONE;
}

/* The rows of the new object, as the library gives them. */
static int verify_object(struct restore *restore, const struct dump_object *object)
{
    struct count count = { .restore = restore };
    struct htstore_error error;
    bool same = true;
    char shown[400];
    int status;

    if (restore->options->verify == MDBDUMP_VERIFY_QUICK) {
        if (object->kind == HTSTORE_KIND_TABLE) {
            if (htstore_table_size(object->handle, &count.n_rows, &error) < 0)
                return tool_fail_library(restore->tool, object->name, &error);
            same = count.n_rows == object->n_rows;
        }
    } else {
        status = dumpwalk_run(restore->tool, object, count_row, &count);
        if (status != STATUS_DONE)
            return status;
        same = count.n_rows == object->n_rows && digest_equal(&count.digest, &object->digest);
    }
    return same ? STATUS_DONE
                : tool_fail(
                      restore->tool, STATUS_DAMAGED, restore->options->source,
                      "%s: the new store has other rows than the dump: a key is there twice, or not as it is stored",
                      dumpschema_show(object, shown));
}

static int verify(struct restore *restore)
{
    int status = STATUS_DONE;

    for (size_t i = 0; i < restore->objects.n && status == STATUS_DONE; i++) {
        if (restore->options->verify != MDBDUMP_VERIFY_NONE && restore->objects.list[i]->section != NULL)
            status = verify_object(restore, restore->objects.list[i]);
    }
    return status;
}

/* ---- the whole restore ---- */

static int fill_store(struct restore *restore)
{
    struct htstore_error error;
    int status = create_objects(restore);

    if (status == STATUS_DONE)
        status = read_sections(restore);
    if (status == STATUS_DONE)
        status = dumpload_link(restore->tool, &restore->objects);
    if (status == STATUS_DONE && htstore_flush(restore->store, &error) < 0)
        status = tool_fail_library(restore->tool, NULL, &error);
    if (status == STATUS_DONE)
        status = verify(restore);
    for (size_t i = 0; i < restore->objects.n; i++)
        (void)htstore_object_close(restore->objects.list[i]->handle, NULL);
    return status;
}

static int build_store(struct restore *restore, const char *path)
{
    struct htstore_options options = { .size = sizeof options, .durability = HTSTORE_LAZY };
    struct htstore_error error;
    int status;

    options.flags = HTSTORE_CREATE | HTSTORE_EXCLUSIVE | HTSTORE_NO_PRELOAD;
    options.log = tool_log;
    options.log_user = restore->tool;
    if (htstore_open(path, &options, &restore->store, &error) < 0)
        return tool_fail_library(restore->tool, NULL, &error);
    status = fill_store(restore);
    return tool_close(restore->tool, restore->store, status);
}

static int restore_to(struct restore *restore, const char *target)
{
    char *path;
    int status = read_records(restore);

    if (status == STATUS_DONE)
        status = make_temporary(restore->tool, target);
    if (status != STATUS_DONE)
        return status;
    path = path_of_new_store();
    status = build_store(restore, path);
    if (status == STATUS_DONE)
        status = publish(restore->tool, path, target);
    free(path);
    remove_temporary();
    return status;
}

int mdbdump_restore_store(struct tool *tool, int fd, const char *target, struct mdbdump_options *options)
{
    struct restore restore = { .tool = tool, .options = options };
    struct buffer name = { 0 };
    struct stat file;
    int status;

    buffer_text(&name, target);
    while (name.size > 1 && name.data[name.size - 1] == '/')
        name.size--;
    options->n_rows = options->n_objects = 0;
    if (lstat(buffer_string(&name), &file) == 0) {
        status = tool_fail(tool, STATUS_CONFLICT, target, "it exists; a dump is restored into a new store");
        buffer_release(&name);
        return status;
    }
    signals_catch();
    lines_open(&restore.lines, fd);
    mdbread_open(&restore.read, &restore.lines);
    progress_start(&restore.progress, tool, restore.lines.total);
    status = restore_to(&restore, name.data);
    progress_end(&restore.progress);
    options->n_objects = restore.objects.n;
    if (status == STATUS_INTERRUPTED) {
        tool->signal = signals_caught();
        tool_fail(tool, status, target, "interrupted; no store was made");
    }
    mdbread_close(&restore.read);
    lines_close(&restore.lines);
    dumpschema_release(&restore.objects);
    buffer_release(&name);
    return status;
}
