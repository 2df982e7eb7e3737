/* ruin: hides how stores are made, spoiled and compared, and which bytes of their files are which. */
#include "ruin.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bytes.h"
#include "file.h"
#include "hash.h"
#include "kvwalk.h"
#include "mem.h"
#include "segment.h"

#define MAX_LOG 200

extern char **environ;

/* ---- a bad sector: pread() of the library fails where it touches these bytes of this file ---- */

struct ruin_bad_sector ruin_bad_sector;

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    struct stat status;
    if (ruin_bad_sector.inode && fstat(fd, &status) == 0 && status.st_ino == ruin_bad_sector.inode &&
        offset < ruin_bad_sector.end && offset + (off_t)size > ruin_bad_sector.begin) {
        errno = EIO;
        return -1;
    }
    return (ssize_t)syscall(SYS_pread64, fd, data, size, offset);
}

/* ---- files ---- */

struct ruin_content ruin_load(const char *path)
{
    struct ruin_content c;
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_msg(fd >= 0, "cannot open %s", path);
    ck_assert_int_eq(fstat(fd, &status), 0);
    c.size = (size_t)status.st_size;
    c.data = api_alloc(c.size + 1);
    ck_assert_int_eq(read(fd, c.data, c.size), (ssize_t)c.size);
    close(fd);
    return c;
}

void ruin_save(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, size), (ssize_t)size);
    close(fd);
}

void ruin_write_at(const char *path, uint64_t offset, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, data, size, (off_t)offset), (ssize_t)size);
    close(fd);
}

void ruin_spoil_at(const char *path, uint64_t offset, size_t size)
{
    struct ruin_content c = ruin_load(path);
    ck_assert_uint_le(offset + size, c.size);
    for (size_t i = 0; i < size; i++)
        c.data[offset + i] ^= 0x5A;
    ruin_write_at(path, offset, c.data + offset, size);
}

/* A line for each name in a folder and below it: name, kind, size, hash of the contents. */
static void describe_folder(const char *path, char *text, size_t capacity)
{
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    ck_assert_int_ge(n, 0);
    for (int i = 0; i < n; i++) {
        char name[512];
        struct stat status;
        size_t used = strlen(text);
        (void)snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        ck_assert_int_eq(lstat(name, &status), 0);
        if (S_ISDIR(status.st_mode) && entries[i]->d_name[0] != '.')
            describe_folder(name, text, capacity);
        if (S_ISREG(status.st_mode)) {
            struct ruin_content c = ruin_load(name);
            (void)snprintf(text + used, capacity - used, "%s %o %zu %" PRIx64 "\n", name, status.st_mode, c.size,
                           hti_hash64(c.data, c.size, 0));
        }
        free(entries[i]);
    }
    free(entries);
}

const char *ruin_folder_text(const char *path)
{
    char *text = api_alloc(1 << 16);
    describe_folder(path, text, 1 << 16);
    return text;
}

void ruin_copy(const char *from, const char *to)
{
    char script[] = "rm -rf -- \"$2\" && cp -a -- \"$1\" \"$2\"";
    char *one = (char *)(uintptr_t)api_path(from), *two = (char *)(uintptr_t)api_path(to);
    char shell[] = "sh", flag[] = "-c";
    char *arguments[] = { shell, flag, script, shell, one, two, NULL };
    pid_t pid;
    int status;
    ck_assert_int_eq(posix_spawn(&pid, "/bin/sh", NULL, NULL, arguments, environ), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

void ruin_remove(const char *name)
{
    ck_assert_int_eq(hti_folder_remove(AT_FDCWD, api_path(name)), 0);
}

bool ruin_exists(const char *name)
{
    struct stat status;
    return lstat(api_path(name), &status) == 0;
}

/* ---- log ---- */

static struct {
    int32_t level[MAX_LOG];
    char text[MAX_LOG][1100];
} lines;
size_t ruin_n_lines;

static void note_line(void *user, int32_t level, const char *module, const char *message)
{
    ck_assert_ptr_eq(user, &lines);
    ck_assert_str_eq(module, "salvage");
    if (ruin_n_lines == MAX_LOG)
        return;
    lines.level[ruin_n_lines] = level;
    (void)snprintf(lines.text[ruin_n_lines++], sizeof lines.text[0], "%s", message);
}

const char *ruin_log_text(void)
{
    char *text = api_alloc(sizeof lines.text), *end = text;
    for (size_t i = 0; i < ruin_n_lines; i++)
        end = stpcpy(stpcpy(end, lines.text[i]), "\n");
    return text;
}

/* A line of that level with these words. */
bool ruin_log_has(int32_t level, const char *words)
{
    for (size_t i = 0; i < ruin_n_lines; i++)
        if (lines.level[i] == level && strstr(lines.text[i], words))
            return true;
    return false;
}

static bool has_warnings(void)
{
    for (size_t i = 0; i < ruin_n_lines; i++)
        if (lines.level[i] == HTSTORE_LOG_WARNING)
            return true;
    return false;
}

/* ---- stores ---- */

/* Of an open store; takes a flush. */
struct ruin_image *ruin_image_of(struct htstore *store)
{
    struct ruin_image *image = api_alloc(sizeof *image);
    const struct htstore_object *objects;
    uint64_t n;
    OK(htstore_list(store, api.arena, &objects, &n, &api.error));
    ck_assert_uint_le(n, RUIN_MAX_TABLES);
    for (image->n = 0; image->n < n; image->n++) {
        struct htstore_table *table;
        size_t i = image->n, size = strlen(objects[i].name) + 1;
        OK(htstore_table_open(store, objects[i].name, NULL, &table, &api.error));
        image->tables[i].name = memcpy(api_alloc(size), objects[i].name, size);
        image->tables[i].rows = api_dump(table);
        image->tables[i].n_rows = api_size(table);
        image->n_rows += image->tables[i].n_rows;
        OK(htstore_table_close(table, &api.error));
    }
    return image;
}

struct ruin_image *ruin_image_at(const char *name)
{
    struct htstore *store;
    OK(htstore_open(api_path(name), NULL, &store, &api.error));
    struct ruin_image *image = ruin_image_of(store);
    OK(htstore_close(store, &api.error));
    return image;
}

size_t ruin_find_table(const struct ruin_image *image, const char *name)
{
    size_t i = 0;
    while (i < image->n && strcmp(image->tables[i].name, name) != 0)
        i++;
    return i;
}

/* Every line of `part` is a line of `whole`; both are sorted. */
static bool is_part(const char *part, const char *whole)
{
    while (*part) {
        size_t size = strcspn(part, "\n") + 1;
        while (*whole && strncmp(part, whole, size) != 0)
            whole += strcspn(whole, "\n") + 1;
        if (!*whole)
            return false;
        part += size;
    }
    return true;
}

void ruin_same_table(const struct ruin_image *expected, const struct ruin_image *found, const char *name)
{
    size_t i = ruin_find_table(expected, name), j = ruin_find_table(found, name);
    ck_assert_msg(i < expected->n && j < found->n, "table %s is missing", name);
    ck_assert_msg(strcmp(expected->tables[i].rows, found->tables[j].rows) == 0,
                  "table %s differs: %ju rows, %ju rows\n%s", name, (uintmax_t)expected->tables[i].n_rows,
                  (uintmax_t)found->tables[j].n_rows, ruin_log_text());
}

void ruin_same_image(const struct ruin_image *expected, const struct ruin_image *found)
{
    ck_assert_uint_eq(expected->n, found->n);
    for (size_t i = 0; i < expected->n; i++)
        ruin_same_table(expected, found, expected->tables[i].name);
}

/* Nothing is found that was not written. */
void ruin_part_of_image(const struct ruin_image *expected, const struct ruin_image *found)
{
    for (size_t j = 0; j < found->n; j++) {
        size_t i = ruin_find_table(expected, found->tables[j].name);
        ck_assert_msg(i < expected->n, "there was no table %s", found->tables[j].name);
        ck_assert_msg(is_part(found->tables[j].rows, expected->tables[i].rows), "table %s has rows of its own",
                      found->tables[j].name);
    }
}

struct htstore_table *ruin_make_table(const char *name, uint32_t key_dtype, uint32_t value_dtype, const char *value)
{
    struct htstore_schema schema = api_schema(key_dtype, value, value_dtype);
    struct htstore_table *table;
    OK(htstore_table_create(api.store, name, &schema, &table, &api.error));
    return table;
}

/* Rows number `first` to `first + n - 1`. */
void ruin_add_rows(struct htstore_table *table, uint64_t first, unsigned n, uint32_t durability)
{
    struct htstore_schema schema = { .size = sizeof schema };
    char count[16], shape[64];
    OK(htstore_table_schema(table, &schema, &api.error));
    const char *row = api_shape(&schema.default_value);
    (void)snprintf(count, sizeof count, "%u", n);
    (void)snprintf(shape, sizeof shape, "%u%s%s", n, *row ? "," : "", row);
    struct htstore_array keys = api_numbered(htstore_table_key_dtype(table), count, first);
    struct htstore_array values = api_numbered(htstore_table_value_dtype(table), shape, 1000 + first * 3);
    OK(htstore_table_insert(table, &keys, &values, durability, &api.error));
}

void ruin_close_table(struct htstore_table *table)
{
    OK(htstore_table_close(table, &api.error));
}

/* A text that tells its number, and is found in files. */
static struct htstore_bytes numbered_text(const char *prefix, unsigned i, size_t size)
{
    char *text = api_alloc(size + 1);
    memset(text, '.', size);
    text[snprintf(text, size, "%s-%06u", prefix, i)] = '.';
    return (struct htstore_bytes){ text, size };
}

void ruin_add_texts(struct htstore_table *table, unsigned first, unsigned n, size_t key_size)
{
    struct htstore_bytes *keys = api_alloc(n * sizeof *keys), *values = api_alloc(2 * n * sizeof *values);
    for (unsigned i = 0; i < n; i++) {
        unsigned number = first + i;
        keys[i] = numbered_text("key", number, key_size);
        values[2 * i] = numbered_text("one", number, 20 + number % 7);
        values[2 * i + 1] = numbered_text("two", number, number % 50 == 0 ? 6000 : 30);
    }
    struct htstore_array k = htstore_vector(HTSTORE_STRING, keys, n), v = htstore_matrix(HTSTORE_STRING, values, n, 2);
    OK(htstore_table_insert(table, &k, &v, 0, &api.error));
}

/* "sound": several tables, everything flushed at once. api.store is open. */
void ruin_make_sound(void)
{
    (void)snprintf(api.path, sizeof api.path, "%s/sound", api.directory);
    api.options.flush_age_ms = 3600000; /* not by itself */
    api_open_store();
    struct htstore_table *table = ruin_make_table("ints", HTSTORE_INT64, HTSTORE_INT64, "-1");
    ruin_add_rows(table, 0, 3000, 0);
    ruin_close_table(table);
    table = ruin_make_table("words", HTSTORE_STRING, HTSTORE_STRING, "[a b]");
    ruin_add_texts(table, 0, 700, 16);
    ruin_close_table(table);
    table = ruin_make_table("long", HTSTORE_STRING, HTSTORE_STRING, "[\\e \\e]");
    ruin_add_texts(table, 0, 60, 700);
    ruin_close_table(table);
    table = ruin_make_table("floats", HTSTORE_FLOAT64, HTSTORE_FLOAT32, "[0 0 0]");
    ruin_add_rows(table, 0, 200, 0);
    ruin_close_table(table);
    table = ruin_make_table("bools", HTSTORE_BOOL, HTSTORE_BOOL, "0");
    ruin_add_rows(table, 0, 2, 0);
    ruin_close_table(table);
    ruin_close_table(ruin_make_table("empty", HTSTORE_INT32, HTSTORE_INT8, "7"));
    OK(htstore_flush(api.store, &api.error));
}

/* "sound", closed; a copy of it as "damaged". */
struct ruin_image *ruin_make_damaged(void)
{
    ruin_make_sound();
    struct ruin_image *image = ruin_image_of(api.store);
    api_close_store();
    ruin_copy("sound", "damaged");
    return image;
}

/* What a killed process leaves of the open store, as "damaged"; then what it held. */
struct ruin_image *ruin_kill(void)
{
    ruin_copy("sound", "damaged");
    struct ruin_image *image = ruin_image_of(api.store);
    api_close_store();
    return image;
}

/* Every kind of operation, after the last flush. */
void ruin_write_unflushed(void)
{
    struct htstore_table *ints, *words, *bools;
    struct htstore_batch *batch;
    struct htstore_array keys = api_numbered(HTSTORE_INT64, "50", 20);
    OK(htstore_table_open(api.store, "ints", NULL, &ints, &api.error));
    OK(htstore_table_open(api.store, "words", NULL, &words, &api.error));
    OK(htstore_table_open(api.store, "bools", NULL, &bools, &api.error));
    ruin_add_rows(ints, 2900, 300, HTSTORE_LAZY);
    OK(htstore_table_remove(ints, &keys, NULL, HTSTORE_SYNC, &api.error));
    ruin_add_texts(words, 650, 100, 16);
    OK(htstore_table_clear(words, HTSTORE_LAZY, &api.error));
    ruin_add_texts(words, 10, 30, 16);
    OK(htstore_batch_new(api.store, &batch, &api.error));
    struct htstore_array flags = api_array(HTSTORE_BOOL, "[0 1]"), one = api_array(HTSTORE_BOOL, "[1 1]");
    struct htstore_array key = api_array(HTSTORE_INT64, "5"), value = api_array(HTSTORE_INT64, "555");
    OK(htstore_batch_clear(batch, bools, &api.error));
    OK(htstore_batch_insert(batch, bools, &flags, &one, &api.error));
    OK(htstore_batch_insert(batch, ints, &key, &value, &api.error));
    OK(htstore_batch_commit(batch, HTSTORE_LAZY, &api.error));
    htstore_batch_free(batch);
    ruin_close_table(ints);
    ruin_close_table(words);
    ruin_close_table(bools);
}

/* "damaged": tables t000 … of three rows each, every tenth cleared and filled again. */
struct ruin_image *ruin_make_many(void)
{
    (void)snprintf(api.path, sizeof api.path, "%s/sound", api.directory);
    api_open_store();
    for (unsigned i = 0; i < RUIN_N_MANY; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "t%03u-with-a-name-that-takes-some-room-on-its-page", i);
        struct htstore_table *table = ruin_make_table(name, HTSTORE_INT64, HTSTORE_INT64, "0");
        ruin_add_rows(table, i, 3, HTSTORE_LAZY);
        if (i % 10 == 0) {
            OK(htstore_flush(api.store, &api.error));
            OK(htstore_table_clear(table, HTSTORE_LAZY, &api.error));
            ruin_add_rows(table, i + 500, 3, HTSTORE_LAZY);
        }
        ruin_close_table(table);
    }
    OK(htstore_flush(api.store, &api.error));
    struct ruin_image *image = ruin_image_of(api.store);
    api_close_store();
    ruin_copy("sound", "damaged");
    return image;
}

/* ---- recovery ---- */

struct htstore_recovery ruin_report;
const struct htstore_recovery ruin_untouched = { .size = sizeof ruin_untouched, .n_rows = 77 };

/* What holds for every call: the old store stays as it was, a loss is told, a failure leaves nothing. */
int ruin_recover(void)
{
    struct htstore_options options = { .size = sizeof options, .log = note_line, .log_user = &lines };
    const char *before = ruin_folder_text(api_path("damaged"));
    ruin_n_lines = 0;
    ruin_report = ruin_untouched;
    int result = htstore_recover(api_path("damaged"), api_path("saved"), &options, &ruin_report, &api.error);
    ck_assert_str_eq(ruin_folder_text(api_path("damaged")), before);
    ck_assert_msg(result <= 1, "result %d", result);
    ck_assert(!ruin_exists(".saved.htstore-tmp"));
    if (result < 0) {
        ck_assert(!ruin_exists("saved"));
        ck_assert_int_eq(memcmp(&ruin_report, &ruin_untouched, sizeof ruin_report), 0);
        return result;
    }
    ck_assert_msg(has_warnings() == (result == 1), "result %d with the log:\n%s", result, ruin_log_text());
    ck_assert_uint_eq(ruin_report.size, sizeof ruin_report);
    ck_assert_uint_eq(ruin_report.reserved, 0);
    uint64_t n_bad = ruin_report.n_lost_tables + ruin_report.n_damaged_tables + ruin_report.n_damaged_pages +
                     ruin_report.n_damaged_rows + ruin_report.n_lost_records;
    ck_assert_msg(result == 1 || n_bad == 0, "nothing lost, but:\n%s", ruin_log_text());
    return result;
}

/* The new store, which has what the report says. */
struct ruin_image *ruin_image_of_saved(void)
{
    struct ruin_image *image = ruin_image_at("saved");
    ck_assert_uint_eq(image->n, ruin_report.n_tables);
    ck_assert_uint_eq(image->n_rows, ruin_report.n_rows);
    return image;
}

/* ---- places in data.mdb ---- */

const char *ruin_data_path(void)
{
    return api_path("damaged/data.mdb");
}

/* The root page of the catalogue, in the state after the last transaction or before it. */
uint64_t ruin_catalog_root(bool older)
{
    struct hti_kvwalk *file;
    struct hti_kvpage_tree tree;
    int fd = open(ruin_data_path(), O_RDONLY | O_CLOEXEC);
    OK(hti_kvwalk_open(fd, older, "data.mdb", &file, &api.error));
    OK(hti_kvwalk_find_tree(file, "!catalog", &tree, NULL, NULL, &api.error));
    hti_kvwalk_close(file);
    close(fd);
    ck_assert_uint_ne(tree.root, UINT64_MAX);
    return tree.root;
}

/* The page of the newest meta, and of its main tree's root. */
uint64_t ruin_newest_meta(void)
{
    struct ruin_content c = ruin_load(ruin_data_path());
    return hti_load_le64(c.data + RUIN_PAGE_SIZE + 144) > hti_load_le64(c.data + 144);
}

uint64_t ruin_main_root(uint64_t meta)
{
    return hti_load_le64(ruin_load(ruin_data_path()).data + meta * RUIN_PAGE_SIZE + 128);
}

/* The value of that key in a page, if it is a leaf that has one. Free pages may still look like leaves. */
uint8_t *ruin_find_entry(uint8_t *page, const void *key, size_t key_size)
{
    unsigned n = hti_load_le16(page + 10) == 2 ? (hti_load_le16(page + 12) - 16u) / 2 : 0;
    for (unsigned i = 0; i < n && i < RUIN_PAGE_SIZE / 2 - 8; i++) {
        uint16_t offset = hti_load_le16(page + 16 + 2 * (size_t)i);
        if (offset + 8 + key_size < RUIN_PAGE_SIZE && hti_load_le16(page + offset + 6) == key_size &&
            memcmp(page + offset + 8, key, key_size) == 0)
            return page + offset + 8 + key_size;
    }
    return NULL;
}

/* Spoil all leaves that hold this key, old copies of them too. */
void ruin_spoil_leaves(const void *key, size_t key_size)
{
    struct ruin_content c = ruin_load(ruin_data_path());
    unsigned n = 0;
    for (size_t page = 2; page < c.size / RUIN_PAGE_SIZE; page++) {
        if (!ruin_find_entry(c.data + page * RUIN_PAGE_SIZE, key, key_size))
            continue;
        ruin_spoil_at(ruin_data_path(), page * RUIN_PAGE_SIZE, RUIN_PAGE_SIZE);
        n++;
    }
    ck_assert_uint_gt(n, 0);
}

uint64_t ruin_find_bytes(const char *path, const void *bytes, size_t size)
{
    struct ruin_content c = ruin_load(path);
    const uint8_t *found = memmem(c.data, c.size, bytes, size);
    ck_assert_ptr_nonnull(found);
    return (uint64_t)(found - c.data);
}

/* Spoil the leaves that hold this record of the catalogue. */
void ruin_spoil_catalog_leaf(uint8_t kind, uint8_t id)
{
    uint8_t key[9] = { kind, 0, 0, 0, 0, 0, 0, 0, id };
    ruin_spoil_leaves(key, sizeof key);
}

/* ---- places in the journal ---- */

uint64_t ruin_find_segment(bool last)
{
    uint64_t *numbers, number = 0;
    size_t n;
    int fd = open(api_path("damaged/journal"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    OK(hti_segment_list(fd, "journal", false, &numbers, &n, &api.error));
    ck_assert_uint_gt(n, 0);
    number = numbers[last ? n - 1 : 0];
    hti_mem_free(numbers);
    close(fd);
    return number;
}

/* Where the batches since the last open begin. */
uint64_t ruin_segment_number(void)
{
    return ruin_find_segment(false);
}

const char *ruin_segment_path(uint64_t number)
{
    char name[64];
    int size = snprintf(name, sizeof name, "damaged/journal/");
    hti_segment_name(number, name + size);
    return api_path(name);
}
