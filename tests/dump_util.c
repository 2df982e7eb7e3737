/* dump_util: hides the tool that dumps and restores, and where its messages go. */
#include "dump_util.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api_util.h"

static const struct command command = { .name = "test" };
struct dump_world dump_world;

void dump_setup(void)
{
    api_setup();
    memset(&dump_world, 0, sizeof dump_world);
    dump_world.tool.command = &command;
    dump_world.tool.progress = TOOL_PROGRESS_OFF;
    dump_world.tool.store = "the store";
    dump_world.options.source = "the dump";
}

int dump_begin_messages(void)
{
    int fd = memfd_create("messages", MFD_CLOEXEC), saved = dup(STDERR_FILENO);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
    close(fd);
    return saved;
}

void dump_end_messages(int saved)
{
    off_t size = lseek(STDERR_FILENO, 0, SEEK_END);

    ck_assert_int_ge(size, 0);
    dump_world.said = api_alloc((size_t)size + 1);
    ck_assert_int_eq(pread(STDERR_FILENO, dump_world.said, (size_t)size, 0), size);
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    close(saved);
}

char *dump_read_file(const char *path, size_t *size)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *data;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &status), 0);
    *size = (size_t)status.st_size;
    data = api_alloc(*size + 1);
    ck_assert_int_eq(read(fd, data, *size), status.st_size);
    close(fd);
    return data;
}

char *dump_text(const char *path, int expected, size_t *size)
{
    struct htstore_options open_options = { .size = sizeof open_options,
                                            .flags = HTSTORE_READONLY | HTSTORE_NO_PRELOAD };
    const char *file = api_path("out.dump");
    struct output output;
    struct htstore *store;
    int saved, status;

    ck_assert_int_eq(htstore_open(path, &open_options, &store, &api.error), 0);
    (void)unlink(file);
    ck_assert_int_eq(output_create(&output, file, false), 0);
    saved = dump_begin_messages();
    status = mdbdump_write_store(&dump_world.tool, store, &output, &dump_world.options);
    dump_end_messages(saved);
    ck_assert_msg(status == expected, "status %d: %s", status, dump_world.said);
    ck_assert_int_eq(output_finish(&output), 0);
    ck_assert_int_eq(htstore_close(store, &api.error), 0);
    return dump_read_file(file, size);
}

int dump_restore(const char *text, size_t size, const char *target)
{
    int fd = memfd_create("text", MFD_CLOEXEC), saved, status;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, size), (ssize_t)size);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    saved = dump_begin_messages();
    status = mdbdump_restore_store(&dump_world.tool, fd, target, &dump_world.options);
    dump_end_messages(saved);
    close(fd);
    return status;
}
