/* manager_util: hides the world in which managers are tested. */
#include "manager_util.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"

#define PREFIX "ckpt-"
#define MAX_FILES 100

struct manager_world world;

static double read_clock(void *user)
{
    return *(const double *)user;
}

static void keep_log(void *user, int32_t level, const char *module, const char *message)
{
    const size_t size = strlen(world.log);

    (void)user;
    (void)level;
    if (strcmp(module, "manager") == 0)
        (void)snprintf(world.log + size, sizeof world.log - size, "%s\n", message);
}

void manager_setup(void)
{
    api_setup();
    memset(&world, 0, sizeof world);
    api.options.log = keep_log;
    api_open_store();
    api_begin_table("t1", HTSTORE_INT64, HTSTORE_INT64, "-1");
    OK(htstore_checkpoint_new(api.store, NULL, &world.checkpoint, &api.error));
    world.options =
        (struct htstore_manager_options){ .size = sizeof world.options, .clock = read_clock, .clock_user = &world.now };
    (void)snprintf(world.folder, sizeof world.folder, "%s/checkpoints", api.path);
}

void manager_teardown(void)
{
    manager_close();
    (void)htstore_restore_release(world.status);
    OK(htstore_checkpoint_close(world.checkpoint, &api.error));
    api_teardown();
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

int manager_try_open(void)
{
    ck_assert_ptr_null(world.manager);
    return htstore_manager_open(world.checkpoint, &world.options, &world.manager, &api.error);
}

void manager_open(int64_t max_to_keep, double hours)
{
    world.options.max_to_keep = max_to_keep;
    world.options.keep_every_n_hours = hours;
    OK(manager_try_open());
}

void manager_close(void)
{
    htstore_manager_close(world.manager);
    world.manager = NULL;
}

void manager_reopen(void)
{
    manager_close();
    OK(manager_try_open());
}

int manager_try_save(uint32_t flags, int64_t number)
{
    const struct htstore_manager_save_options options = { .size = sizeof options, .flags = flags, .number = number };
    return htstore_manager_save(world.manager, &options, api.arena, &world.path, &api.error);
}

void manager_save(void)
{
    OK(manager_try_save(0, 0));
    ZSTD_ACCEPTS(world.path);
}

void manager_save_as(int64_t number)
{
    OK(manager_try_save(HTSTORE_EXPLICIT_NUMBER, number));
    ZSTD_ACCEPTS(world.path);
}

void manager_write_row(void)
{
    static int64_t number;
    const struct htstore_array row = htstore_vector(HTSTORE_INT64, &number, 1);

    number++;
    OK(htstore_table_insert(api.table, &row, &row, HTSTORE_LAZY, &api.error));
}

static char *add_number(char *text, int64_t number)
{
    const size_t size = strlen(text) + 24;
    char *longer = api_alloc(size);
    (void)snprintf(longer, size, "%s%s%lld", text, text[0] ? " " : "", (long long)number);
    return longer;
}

static const char *numbers(uint32_t listed)
{
    const struct htstore_checkpoint_file *files;
    uint64_t n;
    char *text = api_alloc(1);

    text[0] = '\0';
    OK(htstore_manager_list(world.manager, api.arena, &files, &n, &api.error));
    for (uint64_t i = 0; i < n; i++)
        if (files[i].listed == listed)
            text = add_number(text, files[i].number);
    return text;
}

double manager_time_of(int64_t number)
{
    const struct htstore_checkpoint_file *files;
    uint64_t n;

    OK(htstore_manager_list(world.manager, api.arena, &files, &n, &api.error));
    for (uint64_t i = 0; i < n; i++)
        if (files[i].number == number)
            return files[i].time;
    return -1;
}

const char *manager_listed(void)
{
    return numbers(1);
}

const char *manager_unlisted(void)
{
    return numbers(0);
}

static int compare(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Names of the folder; those that look like checkpoints as numbers. */
static void read_folder(char **others, char **files)
{
    int64_t found[MAX_FILES];
    size_t n = 0;
    const struct dirent *entry;
    DIR *listing = opendir(world.folder);

    *others = api_alloc(1);
    *files = api_alloc(1);
    **others = **files = '\0';
    for (; listing && (entry = readdir(listing)) != NULL;) {
        const char *name = entry->d_name;
        if (strncmp(name, PREFIX, strlen(PREFIX)) == 0 && n < MAX_FILES) {
            found[n++] = strtoll(name + strlen(PREFIX), NULL, 10);
        } else if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && strcmp(name, "ckpt.state") != 0) {
            char *longer = api_alloc(strlen(*others) + strlen(name) + 2);
            (void)sprintf(longer, "%s%s%s", *others, **others ? " " : "", name);
            *others = longer;
        }
    }
    if (listing)
        closedir(listing);
    qsort(found, n, sizeof *found, compare);
    for (size_t i = 0; i < n; i++)
        *files = add_number(*files, found[i]);
}

const char *manager_files(void)
{
    char *others, *files;
    read_folder(&others, &files);
    return files;
}

const char *manager_others(void)
{
    char *others, *files;
    read_folder(&others, &files);
    return others;
}

int64_t manager_latest(void)
{
    const char *path = "unset";
    const int rc = htstore_manager_latest(world.manager, api.arena, &path, &api.error);

    if (rc < 0)
        return rc - 100;
    if (rc == 1) {
        ck_assert_ptr_null(path);
        return -1;
    }
    ck_assert_int_eq(strncmp(path, world.folder, strlen(world.folder)), 0);
    return strtoll(path + strlen(world.folder) + 1 + strlen(PREFIX), NULL, 10);
}

const char *manager_path(const char *name)
{
    const size_t size = strlen(world.folder) + strlen(name) + 2;
    char *path = api_alloc(size);
    (void)snprintf(path, size, "%s/%s", world.folder, name);
    return path;
}

void manager_damage(int64_t number)
{
    char name[64];
    struct stat status;
    uint8_t byte;

    (void)snprintf(name, sizeof name, PREFIX "%lld", (long long)number);
    const int fd = open(manager_path(name), O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &status), 0);
    ck_assert_int_eq(pread(fd, &byte, 1, status.st_size / 2), 1);
    byte ^= 0x10;
    ck_assert_int_eq(pwrite(fd, &byte, 1, status.st_size / 2), 1);
    close(fd);
}

void manager_write_file(const char *name, const void *data, size_t size)
{
    const int fd = open(manager_path(name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, size), (ssize_t)size);
    close(fd);
}

void manager_copy_file(const char *from, const char *to)
{
    struct stat status;
    const int fd = open(manager_path(from), O_RDONLY | O_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fstat(fd, &status), 0);
    char *data = api_alloc((size_t)status.st_size);
    ck_assert_int_eq(read(fd, data, (size_t)status.st_size), status.st_size);
    close(fd);
    manager_write_file(to, data, (size_t)status.st_size);
}
