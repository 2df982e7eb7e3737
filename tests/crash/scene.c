/* scene: hides how stores of tests are made, looked at and damaged. */
#include "scene.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "folder.h"
#include "mem.h"
#include "segment.h"

#define MAX_VALUE_SIZE 65536
#define NEVER_MS 3600000
#define FINISHED 3 /* exit status of an actor that no mishap has ended */

struct scene scene;
static bool in_actor;

void scene_setup(void)
{
    memset(&scene, 0, sizeof scene);
    scene.directory = check_tmpdir();
    (void)snprintf(scene.path, sizeof scene.path, "%s/store", scene.directory);
    (void)snprintf(scene.copy, sizeof scene.copy, "%s/copy", scene.directory);
    scene.value_size = 8;
    scene.options = (struct htstore_options){
        .size = sizeof scene.options,
        .flags = HTSTORE_CREATE,
        .map_size = 64u << 20, /* valgrind has no room for the default */
        .segment_bytes = 64u << 10,
        .flush_age_ms = NEVER_MS,
        .interval_ms = NEVER_MS,
    };
    mishap_skip_syncs(true);
}

void scene_teardown(void)
{
    mishap_set(NULL);
    if (scene.table)
        htstore_table_close(scene.table, NULL);
    htstore_close(scene.store, NULL);
    check_tmpdir_remove(scene.directory);
}

/* ---- rows ---- */

static struct htstore_bytes make_value(uint64_t k, uint8_t space[MAX_VALUE_SIZE])
{
    const uint32_t size = scene.value_size;

    for (uint32_t i = 0; i < size; i++)
        space[i] = (uint8_t)(i < 8 ? k >> i * 8 : k + i * 7);
    return (struct htstore_bytes){ space, size };
}

int scene_put(uint64_t k, uint32_t flags)
{
    static uint8_t space[MAX_VALUE_SIZE];
    const struct htstore_bytes value = make_value(k, space);
    const struct htstore_array keys = htstore_vector(HTSTORE_UINT64, &k, 1);
    const struct htstore_array values = htstore_vector(HTSTORE_STRING, &value, 1);

    return htstore_table_insert(scene.table, &keys, &values, flags, &scene.error);
}

void scene_put_range(uint64_t first, uint64_t last, uint32_t flags)
{
    for (uint64_t k = first; k <= last; k++)
        scene_must(scene_put(k, flags), "insert");
}

void scene_expect(uint64_t n)
{
    uint8_t space[MAX_VALUE_SIZE];
    struct htstore_arena *arena;
    struct htstore_array keys, values;
    uint64_t size;

    ck_assert_int_eq(htstore_table_size(scene.table, &size, &scene.error), 0);
    ck_assert_msg(size == n, "%ju rows instead of %ju", (uintmax_t)size, (uintmax_t)n);
    ck_assert_int_eq(htstore_arena_new(&arena, NULL), 0);
    for (uint64_t k = 1; k <= n + 1; k++) {
        struct htstore_bytes got, expected = make_value(k, space);
        uint8_t found;
        keys = htstore_scalar(HTSTORE_UINT64, &k);
        values = htstore_scalar(HTSTORE_STRING, &got);
        values.arena = arena;
        ck_assert_int_eq(htstore_table_lookup(scene.table, &keys, NULL, &values, &found, &scene.error), 0);
        ck_assert_msg(found == (k <= n), "row %ju of %ju: found is %d", (uintmax_t)k, (uintmax_t)n, found);
        ck_assert(!found || (got.size == expected.size && memcmp(got.data, expected.data, got.size) == 0));
    }
    const int rc = htstore_table_export(scene.table, arena, &keys, &values, &scene.error);
    ck_assert_msg(rc == 0 || rc == HTSTORE_EIO, "export: %s", scene.error.message); /* EIO: the store is poisoned */
    ck_assert(rc != 0 || keys.shape[0] == (int64_t)n);
    htstore_arena_free(arena);
}

struct htstore_stats scene_stats(void)
{
    struct htstore_stats stats = { .size = sizeof stats };
    ck_assert_int_eq(htstore_stats(scene.store, &stats, &scene.error), 0);
    return stats;
}

/* ---- open and close ---- */

int scene_try_open(const char *path)
{
    static const struct htstore_bytes nothing = { "", 0 };
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_UINT64 };
    int rc = htstore_open(path, &scene.options, &scene.store, &scene.error);

    schema.default_value = htstore_scalar(HTSTORE_STRING, &nothing);
    return rc ? rc : htstore_table_get_or_create(scene.store, "t", &schema, &scene.table, &scene.error);
}

void scene_open(const char *path)
{
    scene_must(scene_try_open(path), "open");
}

void scene_close(void)
{
    ck_assert_int_eq(htstore_table_close(scene.table, &scene.error), 0);
    scene.table = NULL;
    ck_assert_msg(htstore_close(scene.store, &scene.error) == 0, "close: %s", scene.error.message);
    scene.store = NULL;
}

/* ---- actors ---- */

void scene_must(int rc, const char *what)
{
    if (rc == 0)
        return;
    if (in_actor) {
        (void)fprintf(stderr, "%s: %s\n", what, scene.error.message);
        _exit(EXIT_FAILURE);
    }
    ck_abort_msg("%s: %s", what, scene.error.message);
}

static void act(const struct scene_actor *actors, const char *name, const char *scene_file_path)
{
    const int fd = open(scene_file_path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || read(fd, &scene, sizeof scene) != (ssize_t)sizeof scene)
        _exit(EXIT_FAILURE);
    close(fd);
    in_actor = true;
    mishap_skip_syncs(true);
    for (; actors->name; actors++)
        if (strcmp(actors->name, name) == 0) {
            actors->act();
            _exit(FINISHED);
        }
    _exit(EXIT_FAILURE);
}

int scene_main(int argc, char **argv, const struct scene_actor *actors, Suite *(*make_suite)(void))
{
    if (argc == 3)
        act(actors, argv[1], argv[2]);
    return check_run(make_suite());
}

/* The scene goes to the other process as it is; no store is open, so that it holds no pointer that matters there. */
static void save_scene(char path[300])
{
    (void)snprintf(path, 300, "%s/scene", scene.directory);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert(fd >= 0 && write(fd, &scene, sizeof scene) == (ssize_t)sizeof scene && close(fd) == 0);
}

bool scene_crash(const char *actor)
{
    char self[4096], path[300];
    int status;

    ck_assert_ptr_null(scene.store);
    save_scene(path);
    const ssize_t size = readlink("/proc/self/exe", self, sizeof self - 1);
    ck_assert_int_gt(size, 0);
    self[size] = '\0';
    const pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        execl(self, self, actor, path, (char *)NULL);
        _exit(EXIT_FAILURE);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && (WEXITSTATUS(status) == FINISHED || WEXITSTATUS(status) == EXIT_SUCCESS),
                  "%s ended with %x", actor, (unsigned)status);
    return WEXITSTATUS(status) == FINISHED;
}

/* ---- files ---- */

void scene_read(const char *path, uint64_t offset, void *data, size_t size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_msg(fd >= 0 && pread(fd, data, size, (off_t)offset) == (ssize_t)size, "cannot read %s", path);
    close(fd);
}

void scene_write(const char *path, uint64_t offset, const void *data, size_t size)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_msg(fd >= 0 && pwrite(fd, data, size, (off_t)offset) == (ssize_t)size, "cannot write %s", path);
    close(fd);
}

void scene_flip(const char *path, uint64_t offset, uint8_t mask)
{
    uint8_t byte;

    scene_read(path, offset, &byte, 1);
    byte ^= mask;
    scene_write(path, offset, &byte, 1);
}

static void add_records(struct hti_segment *segment, struct scene_record records[SCENE_MAX_RECORDS], unsigned *n)
{
    struct hti_record_header header;

    for (uint64_t offset = segment->offset; hti_segment_read(segment, &header, NULL, NULL) == 0;
         offset = segment->offset) {
        struct scene_record *record = &records[(*n)++];
        ck_assert_uint_le(*n, SCENE_MAX_RECORDS);
        (void)snprintf(record->path, sizeof record->path, "%s", segment->path);
        record->segment = segment->number;
        record->lsn = header.lsn;
        record->durable_lsn = header.durable_lsn;
        record->offset = offset;
        record->size = segment->offset - offset;
    }
}

unsigned scene_records(const char *path, struct scene_record records[SCENE_MAX_RECORDS])
{
    char folder[300], file[340];
    uint8_t store_id[16];
    struct hti_segment segment;
    uint64_t *numbers;
    size_t n_segments;
    unsigned n = 0;

    (void)snprintf(folder, sizeof folder, "%s/journal", path);
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(hti_segment_list(fd, folder, false, &numbers, &n_segments, NULL), 0);
    for (size_t i = 0; i < n_segments; i++) {
        char name[HTI_SEGMENT_NAME_SIZE];
        hti_segment_name(numbers[i], name);
        (void)snprintf(file, sizeof file, "%s/%s", folder, name);
        scene_read(file, 16, store_id, sizeof store_id);
        ck_assert_int_eq(hti_segment_open(fd, folder, store_id, numbers[i], &segment, NULL), 0);
        add_records(&segment, records, &n);
        hti_segment_close(&segment);
    }
    hti_mem_free(numbers);
    close(fd);
    return n;
}

void scene_make_copy(void)
{
    ck_assert(folder_remove(scene.copy) && folder_copy(scene.path, scene.copy));
}

const char *scene_file(const char *name)
{
    static char paths[4][600];
    static unsigned next;
    char *path = paths[next++ % 4];

    (void)snprintf(path, sizeof paths[0], "%s/%s", scene.copy, name);
    return path;
}

static void expect_same_file(const char *one, const char *other)
{
    struct stat a, b;

    ck_assert_msg(stat(one, &a) == 0 && stat(other, &b) == 0 && a.st_size == b.st_size, "%s: another size", other);
    uint8_t *x = malloc((size_t)a.st_size + 1), *y = malloc((size_t)a.st_size + 1);
    ck_assert(x && y);
    scene_read(one, 0, x, (size_t)a.st_size);
    scene_read(other, 0, y, (size_t)a.st_size);
    ck_assert_msg(memcmp(x, y, (size_t)a.st_size) == 0, "%s: other contents", other);
    free(x);
    free(y);
}

void scene_expect_same_files(void)
{
    char one[600], other[600];
    struct dirent **names;

    (void)snprintf(one, sizeof one, "%s/journal", scene.path);
    (void)snprintf(other, sizeof other, "%s/journal", scene.copy);
    const int n = scandir(one, &names, NULL, alphasort);
    ck_assert_int_gt(n, 2);
    ck_assert_int_eq(folder_count_others(other, NULL, NULL), n - 2);
    for (int i = 0; i < n; i++) {
        (void)snprintf(one, sizeof one, "%s/journal/%.200s", scene.path, names[i]->d_name);
        (void)snprintf(other, sizeof other, "%s/journal/%.200s", scene.copy, names[i]->d_name);
        if (names[i]->d_name[0] != '.')
            expect_same_file(one, other);
        free(names[i]);
    }
    free(names);
    (void)snprintf(one, sizeof one, "%s/data.mdb", scene.path);
    (void)snprintf(other, sizeof other, "%s/data.mdb", scene.copy);
    expect_same_file(one, other);
}
