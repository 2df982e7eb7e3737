/* check_salvage: htstore_recover() writes all that is readable of a damaged store, says what is lost, and touches nothing. */
#include "api_util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bytes.h"
#include "faults.h"
#include "file.h"
#include "hash.h"
#include "kvwalk.h"
#include "mem.h"
#include "segment.h"

#define PAGE_SIZE 4096
#define MAX_TABLES 160
#define MAX_LOG 200
#define N_FLIPS 150

extern char **environ;

/* ---- a bad sector: pread() of the library fails where it touches these bytes of this file ---- */

static struct {
    ino_t inode; /* 0: none */
    off_t begin, end;
} bad_sector;

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    struct stat status;
    if (bad_sector.inode && fstat(fd, &status) == 0 && status.st_ino == bad_sector.inode && offset < bad_sector.end &&
        offset + (off_t)size > bad_sector.begin) {
        errno = EIO;
        return -1;
    }
    return (ssize_t)syscall(SYS_pread64, fd, data, size, offset);
}

/* ---- files ---- */

struct content {
    uint8_t *data;
    size_t size;
};

static struct content load_file(const char *path)
{
    struct content c;
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

static void save_file(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, data, size), (ssize_t)size);
    close(fd);
}

static void write_at(const char *path, uint64_t offset, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, data, size, (off_t)offset), (ssize_t)size);
    close(fd);
}

static void spoil_at(const char *path, uint64_t offset, size_t size)
{
    struct content c = load_file(path);
    ck_assert_uint_le(offset + size, c.size);
    for (size_t i = 0; i < size; i++)
        c.data[offset + i] ^= 0x5A;
    write_at(path, offset, c.data + offset, size);
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
            struct content c = load_file(name);
            (void)snprintf(text + used, capacity - used, "%s %o %zu %" PRIx64 "\n", name, status.st_mode, c.size,
                           hti_hash64(c.data, c.size, 0));
        }
        free(entries[i]);
    }
    free(entries);
}

static const char *folder_text(const char *path)
{
    char *text = api_alloc(1 << 16);
    describe_folder(path, text, 1 << 16);
    return text;
}

static void copy_folder(const char *from, const char *to)
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

static void remove_folder(const char *name)
{
    ck_assert_int_eq(hti_folder_remove(AT_FDCWD, api_path(name)), 0);
}

static bool exists(const char *name)
{
    struct stat status;
    return lstat(api_path(name), &status) == 0;
}

/* ---- log ---- */

static struct {
    int32_t level[MAX_LOG];
    char text[MAX_LOG][1100];
    size_t n;
} lines;

static void note_line(void *user, int32_t level, const char *module, const char *message)
{
    ck_assert_ptr_eq(user, &lines);
    ck_assert_str_eq(module, "salvage");
    if (lines.n == MAX_LOG)
        return;
    lines.level[lines.n] = level;
    (void)snprintf(lines.text[lines.n++], sizeof lines.text[0], "%s", message);
}

static const char *log_text(void)
{
    char *text = api_alloc(sizeof lines.text), *end = text;
    for (size_t i = 0; i < lines.n; i++)
        end = stpcpy(stpcpy(end, lines.text[i]), "\n");
    return text;
}

/* A line of that level with these words. */
static bool log_has(int32_t level, const char *words)
{
    for (size_t i = 0; i < lines.n; i++)
        if (lines.level[i] == level && strstr(lines.text[i], words))
            return true;
    return false;
}

#define WARNED(words) ck_assert_msg(log_has(HTSTORE_LOG_WARNING, words), "no warning '%s' in:\n%s", words, log_text())

static bool has_warnings(void)
{
    for (size_t i = 0; i < lines.n; i++)
        if (lines.level[i] == HTSTORE_LOG_WARNING)
            return true;
    return false;
}

/* ---- stores ---- */

/* What a store holds. */
struct image {
    size_t n;
    uint64_t n_rows;
    struct {
        const char *name;
        const char *rows; /* as api_dump() */
        uint64_t n_rows;
    } tables[MAX_TABLES];
};

/* Of an open store; takes a flush. */
static struct image *image_of(struct htstore *store)
{
    struct image *image = api_alloc(sizeof *image);
    const struct htstore_object *objects;
    uint64_t n;
    OK(htstore_list(store, api.arena, &objects, &n, &api.error));
    ck_assert_uint_le(n, MAX_TABLES);
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

static struct image *image_at(const char *name)
{
    struct htstore *store;
    OK(htstore_open(api_path(name), NULL, &store, &api.error));
    struct image *image = image_of(store);
    OK(htstore_close(store, &api.error));
    return image;
}

static size_t find_table(const struct image *image, const char *name)
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

static void same_table(const struct image *expected, const struct image *found, const char *name)
{
    size_t i = find_table(expected, name), j = find_table(found, name);
    ck_assert_msg(i < expected->n && j < found->n, "table %s is missing", name);
    ck_assert_msg(strcmp(expected->tables[i].rows, found->tables[j].rows) == 0,
                  "table %s differs: %ju rows, %ju rows\n%s", name, (uintmax_t)expected->tables[i].n_rows,
                  (uintmax_t)found->tables[j].n_rows, log_text());
}

static void same_image(const struct image *expected, const struct image *found)
{
    ck_assert_uint_eq(expected->n, found->n);
    for (size_t i = 0; i < expected->n; i++)
        same_table(expected, found, expected->tables[i].name);
}

/* Nothing is found that was not written. */
static void part_of_image(const struct image *expected, const struct image *found)
{
    for (size_t j = 0; j < found->n; j++) {
        size_t i = find_table(expected, found->tables[j].name);
        ck_assert_msg(i < expected->n, "there was no table %s", found->tables[j].name);
        ck_assert_msg(is_part(found->tables[j].rows, expected->tables[i].rows), "table %s has rows of its own",
                      found->tables[j].name);
    }
}

static struct htstore_table *make_table(const char *name, uint32_t key_dtype, uint32_t value_dtype, const char *value)
{
    struct htstore_schema schema = api_schema(key_dtype, value, value_dtype);
    struct htstore_table *table;
    OK(htstore_table_create(api.store, name, &schema, &table, &api.error));
    return table;
}

/* Rows number `first` to `first + n - 1`. */
static void add_rows(struct htstore_table *table, uint64_t first, unsigned n, uint32_t durability)
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

static void close_table(struct htstore_table *table)
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

static void add_texts(struct htstore_table *table, unsigned first, unsigned n, size_t key_size)
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
static void make_sound(void)
{
    (void)snprintf(api.path, sizeof api.path, "%s/sound", api.directory);
    api.options.durability = HTSTORE_SYNC;
    api_open_store();
    struct htstore_table *table = make_table("ints", HTSTORE_INT64, HTSTORE_INT64, "-1");
    add_rows(table, 0, 3000, 0);
    close_table(table);
    table = make_table("words", HTSTORE_STRING, HTSTORE_STRING, "[a b]");
    add_texts(table, 0, 700, 16);
    close_table(table);
    table = make_table("long", HTSTORE_STRING, HTSTORE_STRING, "[\\e \\e]");
    add_texts(table, 0, 60, 700);
    close_table(table);
    table = make_table("floats", HTSTORE_FLOAT64, HTSTORE_FLOAT32, "[0 0 0]");
    add_rows(table, 0, 200, 0);
    close_table(table);
    table = make_table("bools", HTSTORE_BOOL, HTSTORE_BOOL, "0");
    add_rows(table, 0, 2, 0);
    close_table(table);
    close_table(make_table("empty", HTSTORE_INT32, HTSTORE_INT8, "7"));
    OK(htstore_flush(api.store, &api.error));
}

/* "sound", closed; a copy of it as "damaged". */
static struct image *make_damaged(void)
{
    make_sound();
    struct image *image = image_of(api.store);
    api_close_store();
    copy_folder("sound", "damaged");
    return image;
}

/* What a killed process leaves of the open store, as "damaged"; then what it held. */
static struct image *kill_store(void)
{
    copy_folder("sound", "damaged");
    struct image *image = image_of(api.store);
    api_close_store();
    return image;
}

/* ---- recovery ---- */

static struct htstore_recovery report;
static const struct htstore_recovery untouched = { .size = sizeof untouched, .n_rows = 77 };

/* What holds for every call: the old store stays as it was, a loss is told, a failure leaves nothing. */
static int recover(void)
{
    struct htstore_options options = { .size = sizeof options, .log = note_line, .log_user = &lines };
    const char *before = folder_text(api_path("damaged"));
    lines.n = 0;
    report = untouched;
    int result = htstore_recover(api_path("damaged"), api_path("saved"), &options, &report, &api.error);
    ck_assert_str_eq(folder_text(api_path("damaged")), before);
    ck_assert_msg(result <= 1, "result %d", result);
    ck_assert(!exists(".saved.htstore-tmp"));
    if (result < 0) {
        ck_assert(!exists("saved"));
        ck_assert_int_eq(memcmp(&report, &untouched, sizeof report), 0);
        return result;
    }
    ck_assert_msg(has_warnings() == (result == 1), "result %d with the log:\n%s", result, log_text());
    ck_assert_uint_eq(report.size, sizeof report);
    ck_assert_uint_eq(report.reserved, 0);
    uint64_t n_bad = report.n_lost_tables + report.n_damaged_tables + report.n_damaged_pages + report.n_damaged_rows +
                     report.n_lost_records;
    ck_assert_msg(result == 1 || n_bad == 0, "nothing lost, but:\n%s", log_text());
    return result;
}

/* The new store, which has what the report says. */
static struct image *image_of_saved(void)
{
    struct image *image = image_at("saved");
    ck_assert_uint_eq(image->n, report.n_tables);
    ck_assert_uint_eq(image->n_rows, report.n_rows);
    return image;
}

#define RECOVERED(expected)                                                                                            \
    do {                                                                                                               \
        int result_ = recover();                                                                                       \
        ck_assert_msg(result_ == (expected), "result %d (%s):\n%s", result_, api.error.message, log_text());           \
    } while (0)

/* ---- places in data.mdb ---- */

static const char *data_path(void)
{
    return api_path("damaged/data.mdb");
}

/* The root page of the catalogue, in the state after the last transaction or before it. */
static uint64_t catalog_root(bool older)
{
    struct hti_kvwalk *file;
    struct hti_kvpage_tree tree;
    int fd = open(data_path(), O_RDONLY | O_CLOEXEC);
    OK(hti_kvwalk_open(fd, older, "data.mdb", &file, &api.error));
    OK(hti_kvwalk_find_tree(file, "!catalog", &tree, NULL, NULL, &api.error));
    hti_kvwalk_close(file);
    close(fd);
    ck_assert_uint_ne(tree.root, UINT64_MAX);
    return tree.root;
}

/* The page of the newest meta, and of its main tree's root. */
static uint64_t newest_meta(void)
{
    struct content c = load_file(data_path());
    return hti_load_le64(c.data + PAGE_SIZE + 144) > hti_load_le64(c.data + 144);
}

static uint64_t main_root(uint64_t meta)
{
    return hti_load_le64(load_file(data_path()).data + meta * PAGE_SIZE + 128);
}

/* The value of that key in a page, if it is a leaf that has one. Free pages may still look like leaves. */
static uint8_t *find_entry(uint8_t *page, const void *key, size_t key_size)
{
    unsigned n = hti_load_le16(page + 10) == 2 ? (hti_load_le16(page + 12) - 16u) / 2 : 0;
    for (unsigned i = 0; i < n && i < PAGE_SIZE / 2 - 8; i++) {
        uint16_t offset = hti_load_le16(page + 16 + 2 * (size_t)i);
        if (offset + 8 + key_size < PAGE_SIZE && hti_load_le16(page + offset + 6) == key_size &&
            memcmp(page + offset + 8, key, key_size) == 0)
            return page + offset + 8 + key_size;
    }
    return NULL;
}

/* Spoil all leaves that hold this key, old copies of them too. */
static void spoil_leaves_with(const void *key, size_t key_size)
{
    struct content c = load_file(data_path());
    unsigned n = 0;
    for (size_t page = 2; page < c.size / PAGE_SIZE; page++) {
        if (!find_entry(c.data + page * PAGE_SIZE, key, key_size))
            continue;
        spoil_at(data_path(), page * PAGE_SIZE, PAGE_SIZE);
        n++;
    }
    ck_assert_uint_gt(n, 0);
}

static uint64_t find_bytes(const char *path, const void *bytes, size_t size)
{
    struct content c = load_file(path);
    const uint8_t *found = memmem(c.data, c.size, bytes, size);
    ck_assert_ptr_nonnull(found);
    return (uint64_t)(found - c.data);
}

/* ---- whole stores ---- */

START_TEST(a_closed_store_is_copied_whole)
{
    struct image *image = make_damaged();
    RECOVERED(0);
    same_image(image, image_of_saved());
    ck_assert_uint_eq(report.n_tables, 6);
    ck_assert_uint_eq(report.n_rows, image->n_rows);
    ck_assert_uint_eq(report.n_records, 0);
    ck_assert_uint_eq(lines.n, 0);
}
END_TEST

START_TEST(the_new_store_takes_writes_and_has_the_old_schemas)
{
    struct htstore_schema schema = { .size = sizeof schema };
    struct htstore *old, *new;
    struct htstore_table *table;
    struct htstore_stats stats[2] = { { .size = sizeof stats[0] }, { .size = sizeof stats[0] } };
    make_damaged();
    RECOVERED(0);
    OK(htstore_open(api_path("damaged"), NULL, &old, &api.error));
    OK(htstore_open(api_path("saved"), NULL, &new, &api.error));
    OK(htstore_stats(old, &stats[0], &api.error));
    OK(htstore_stats(new, &stats[1], &api.error));
    ck_assert_int_ne(memcmp(stats[0].store_id, stats[1].store_id, sizeof stats[0].store_id), 0);
    OK(htstore_table_open(old, "words", NULL, &table, &api.error));
    OK(htstore_table_schema(table, &schema, &api.error));
    struct htstore_table *copy;
    OK(htstore_table_open(new, "words", &schema, &copy, &api.error));
    uint64_t size = api_size(table);
    ck_assert_uint_eq(api_size(copy), size);
    add_texts(copy, 5000, 10, 16);
    ck_assert_uint_eq(api_size(copy), size + 10);
    close_table(copy);
    close_table(table);
    OK(htstore_close(old, &api.error));
    OK(htstore_close(new, &api.error));
    OK(htstore_open(api_path("saved"), NULL, &new, &api.error));
    OK(htstore_table_open(new, "words", NULL, &copy, &api.error));
    ck_assert_uint_eq(api_size(copy), size + 10);
    close_table(copy);
    OK(htstore_close(new, &api.error));
}
END_TEST

START_TEST(defaults_will_do)
{
    make_damaged();
    OK(htstore_recover(api_path("damaged"), api_path("saved"), NULL, NULL, NULL));
    ck_assert_uint_eq(image_at("saved")->n, 6);
}
END_TEST

START_TEST(a_short_report_is_filled_as_far_as_it_goes)
{
    make_damaged();
    report = untouched;
    report.size = offsetof(struct htstore_recovery, n_rows);
    OK(htstore_recover(api_path("damaged"), api_path("saved"), NULL, &report, &api.error));
    ck_assert_uint_eq(report.size, offsetof(struct htstore_recovery, n_rows));
    ck_assert_uint_eq(report.n_tables, 6);
    ck_assert_uint_eq(report.n_rows, 77);
}
END_TEST

/* Every kind of operation, after the last flush. */
static void write_unflushed(void)
{
    struct htstore_table *ints, *words, *bools;
    struct htstore_batch *batch;
    struct htstore_array keys = api_numbered(HTSTORE_INT64, "50", 20);
    OK(htstore_table_open(api.store, "ints", NULL, &ints, &api.error));
    OK(htstore_table_open(api.store, "words", NULL, &words, &api.error));
    OK(htstore_table_open(api.store, "bools", NULL, &bools, &api.error));
    add_rows(ints, 2900, 300, HTSTORE_LAZY);
    OK(htstore_table_remove(ints, &keys, NULL, HTSTORE_SYNC, &api.error));
    add_texts(words, 650, 100, 16);
    OK(htstore_table_clear(words, HTSTORE_LAZY, &api.error));
    add_texts(words, 10, 30, 16);
    OK(htstore_batch_new(api.store, &batch, &api.error));
    struct htstore_array flags = api_array(HTSTORE_BOOL, "[0 1]"), one = api_array(HTSTORE_BOOL, "[1 1]");
    struct htstore_array key = api_array(HTSTORE_INT64, "5"), value = api_array(HTSTORE_INT64, "555");
    OK(htstore_batch_clear(batch, bools, &api.error));
    OK(htstore_batch_insert(batch, bools, &flags, &one, &api.error));
    OK(htstore_batch_insert(batch, ints, &key, &value, &api.error));
    OK(htstore_batch_commit(batch, HTSTORE_LAZY, &api.error));
    htstore_batch_free(batch);
    close_table(ints);
    close_table(words);
    close_table(bools);
}

START_TEST(what_only_the_journal_holds_is_recovered)
{
    make_sound();
    write_unflushed();
    struct image *image = kill_store();
    RECOVERED(0);
    same_image(image, image_of_saved());
    ck_assert_uint_eq(report.n_records, 6);
    ck_assert_uint_eq(report.n_lost_records, 0);
}
END_TEST

START_TEST(segments_are_read_in_order)
{
    make_sound();
    api_close_store();
    api.options.delta_bytes = 16 << 20;
    api_open_store();
    struct htstore_table *table;
    OK(htstore_table_open(api.store, "long", NULL, &table, &api.error));
    for (unsigned i = 0; i < 40; i++)
        add_texts(table, i * 3, 10, 700);
    close_table(table);
    struct image *image = kill_store();
    ck_assert(exists("damaged/journal/0000000000000005.htj"));
    RECOVERED(0);
    same_image(image, image_of_saved());
    ck_assert_uint_eq(report.n_records, 40);
}
END_TEST

START_TEST(anonymous_tables_end_with_their_process)
{
    make_sound();
    struct htstore_schema schema = api_schema(HTSTORE_INT64, "0", HTSTORE_INT64);
    schema.flags = HTSTORE_ANONYMOUS;
    OK(htstore_table_create(api.store, NULL, &schema, &api.table, &api.error));
    add_rows(api.table, 0, 10, 0);
    OK(htstore_flush(api.store, &api.error));
    add_rows(api.table, 10, 10, 0);
    struct image *image = kill_store();
    RECOVERED(0);
    same_image(image, image_of_saved());
    ck_assert_uint_eq(report.n_tables, 6);
    ck_assert(log_has(HTSTORE_LOG_INFO, "anonymous table"));
}
END_TEST

/* ---- a process that ends in the middle ---- */

static int end_now(const char *verb)
{
    (void)verb;
    _exit(33);
}

static void end_at_first_line(void *user, int32_t level, const char *module, const char *message)
{
    (void)user;
    (void)level;
    (void)module;
    end_now(message);
}

/* What this program does when it is run as another process: see main(). */
static int act(const char *verb, const char *path, const char *target)
{
    struct htstore_options options = { .size = sizeof options, .flags = HTSTORE_CREATE, .segment_bytes = 64 << 10 };
    if (strcmp(verb, "recover") == 0) {
        options.log = end_at_first_line;
        return htstore_recover(path, target, &options, NULL, NULL);
    }
    int64_t keys[100], values[100], zero = 0;
    struct htstore *store;
    struct htstore_table *table;
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_INT64 };
    schema.default_value = htstore_scalar(HTSTORE_INT64, &zero);
    for (int64_t i = 0; i < 100; i++) {
        keys[i] = i;
        values[i] = i * i;
    }
    struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, 100), v = htstore_vector(HTSTORE_INT64, values, 100);
    if (htstore_open(path, &options, &store, NULL) != 0 ||
        htstore_table_create(store, "t", &schema, &table, NULL) != 0 ||
        htstore_table_insert(table, &k, &v, HTSTORE_SYNC, NULL) != 0 ||
        htstore_table_insert(table, &k, &k, HTSTORE_LAZY, NULL) != 0)
        return 1;
    return end_now(verb);
}

static void run_self(const char *verb, const char *name, const char *target)
{
    char self[] = "/proc/self/exe", act_flag[] = "--act";
    char *path = (char *)(uintptr_t)api_path(name), *to = (char *)(uintptr_t)api_path(target);
    char *arguments[] = { self, act_flag, (char *)(uintptr_t)verb, path, to, NULL };
    pid_t pid;
    int status;
    ck_assert_int_eq(posix_spawn(&pid, self, NULL, NULL, arguments, environ), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 33, "%s ended with status %x", verb, status);
}

START_TEST(a_killed_process_loses_nothing)
{
    run_self("write", "damaged", "");
    RECOVERED(0);
    struct image *image = image_of_saved();
    ck_assert_uint_eq(image->n_rows, 100);
    ck_assert_ptr_nonnull(strstr(image->tables[0].rows, "\n99=99\n"));
    ck_assert_uint_eq(report.n_records, 2);
}
END_TEST

START_TEST(an_interrupted_recovery_leaves_no_store_and_can_be_repeated)
{
    struct image *image = make_damaged();
    uint64_t at = find_bytes(data_path(), "two-000123", 10);
    spoil_at(data_path(), at, 1);
    run_self("recover", "damaged", "saved");
    ck_assert(!exists("saved"));
    ck_assert(exists(".saved.htstore-tmp"));
    RECOVERED(1);
    same_table(image, image_of_saved(), "ints");
}
END_TEST

/* ---- damage in data.mdb ---- */

START_TEST(a_spoiled_leaf_costs_its_rows_only)
{
    struct image *image = make_damaged();
    uint64_t at = find_bytes(data_path(), "one-000123", 10);
    spoil_at(data_path(), at / PAGE_SIZE * PAGE_SIZE, PAGE_SIZE);
    RECOVERED(1);
    struct image *saved = image_of_saved();
    for (size_t i = 0; i < image->n; i++)
        if (strcmp(image->tables[i].name, "words") != 0)
            same_table(image, saved, image->tables[i].name);
    part_of_image(image, saved);
    ck_assert_uint_eq(report.n_tables, 6);
    ck_assert_uint_eq(report.n_damaged_tables, 1);
    ck_assert_uint_eq(report.n_damaged_pages, 1);
    ck_assert_uint_eq(report.n_lost_tables + report.n_lost_records + report.n_damaged_rows, 0);
    uint64_t lost = image->n_rows - saved->n_rows;
    ck_assert_msg(lost > 3 && lost < 60, "%ju rows lost", (uintmax_t)lost);
    char words[100];
    (void)snprintf(words, sizeof words, "table words: %ju of 700 rows readable", (uintmax_t)(700 - lost));
    WARNED(words);
}
END_TEST

START_TEST(a_changed_row_is_the_only_one_missing)
{
    struct image *image = make_damaged();
    uint64_t at = find_bytes(data_path(), "one-000123", 10);
    spoil_at(data_path(), at + 12, 1);
    RECOVERED(1);
    struct image *saved = image_of_saved();
    part_of_image(image, saved);
    ck_assert_uint_eq(saved->n_rows, image->n_rows - 1);
    size_t i = find_table(saved, "words");
    ck_assert_ptr_nonnull(strstr(image->tables[i].rows, "key-000123"));
    ck_assert_ptr_null(strstr(saved->tables[i].rows, "key-000123"));
    ck_assert_uint_eq(report.n_damaged_rows, 1);
    ck_assert_uint_eq(report.n_damaged_tables, 1);
    ck_assert_uint_eq(report.n_damaged_pages, 0);
    WARNED("table words: the row of key key-000123");
    WARNED("table words: 699 of 700 rows readable");
    ck_assert_ptr_null(strstr(log_text(), "one-"));
}
END_TEST

START_TEST(a_damaged_row_that_the_journal_writes_again_is_there)
{
    make_sound();
    struct htstore_table *table;
    OK(htstore_table_open(api.store, "words", NULL, &table, &api.error));
    add_texts(table, 123, 1, 16);
    close_table(table);
    struct image *image = kill_store();
    spoil_at(data_path(), find_bytes(data_path(), "one-000123", 10) + 12, 1);
    RECOVERED(1);
    same_image(image, image_of_saved());
    ck_assert_uint_eq(report.n_damaged_rows, 1);
}
END_TEST

START_TEST(keys_of_every_kind_are_named_in_the_log)
{
    static const struct {
        uint32_t dtype;
        const char *key, *words;
    } cases[] = {
        { HTSTORE_INT8, "-5", "key -5 " },
        { HTSTORE_INT64, "-5000000000", "key -5000000000 " },
        { HTSTORE_UINT64, "18446744073709551615", "key 18446744073709551615 " },
        { HTSTORE_BOOL, "1", "key 1 " },
        { HTSTORE_FLOAT32, "-2.5", "key -2.5 " },
        { HTSTORE_FLOAT64, "0.125", "key 0.125 " },
        { HTSTORE_STRING, "tab\tulator", "key tab\\x09ulator " },
    };
    (void)snprintf(api.path, sizeof api.path, "%s/damaged", api.directory);
    api_open_store();
    struct htstore_bytes bytes = htstore_string("tab\tulator");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "t%zu", i);
        struct htstore_table *table = make_table(name, cases[i].dtype, HTSTORE_STRING, "\\e");
        struct htstore_bytes text = htstore_string("find-me.");
        struct htstore_array key = htstore_scalar(HTSTORE_STRING, &bytes),
                             value = htstore_scalar(HTSTORE_STRING, &text);
        if (cases[i].dtype != HTSTORE_STRING)
            key = api_array(cases[i].dtype, cases[i].key);
        OK(htstore_table_insert(table, &key, &value, 0, &api.error));
        close_table(table);
    }
    api_close_store();
    struct content c = load_file(data_path());
    for (uint8_t *at = c.data; (at = memmem(at, (size_t)(c.data + c.size - at), "find-me.", 8)) != NULL;)
        at[5] = '!';
    save_file(data_path(), c.data, c.size);
    RECOVERED(1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        WARNED(cases[i].words);
    ck_assert_uint_eq(report.n_damaged_rows, sizeof cases / sizeof cases[0]);
    ck_assert_uint_eq(report.n_rows, 0);
}
END_TEST

START_TEST(many_damaged_rows_do_not_flood_the_log)
{
    make_damaged();
    struct content c = load_file(data_path());
    for (uint8_t *at = c.data; (at = memmem(at, (size_t)(c.data + c.size - at), "one-", 4)) != NULL;)
        at[1] = '!';
    save_file(data_path(), c.data, c.size);
    RECOVERED(1);
    ck_assert_uint_eq(report.n_damaged_rows, 760);
    ck_assert_uint_eq(report.n_damaged_tables, 2);
    ck_assert_uint_lt(lines.n, 12);
    WARNED("table words: 700 damaged rows in all");
    WARNED("table words: 0 of 700 rows readable");
}
END_TEST

START_TEST(the_catalogue_before_the_last_transaction_fills_gaps)
{
    struct image *image = make_damaged();
    spoil_at(data_path(), catalog_root(false) * PAGE_SIZE, PAGE_SIZE);
    RECOVERED(1);
    same_image(image, image_of_saved());
    ck_assert_uint_eq(report.n_damaged_pages, 1);
    ck_assert_uint_eq(report.n_lost_tables + report.n_damaged_tables + report.n_lost_records, 0);
}
END_TEST

START_TEST(the_state_before_the_last_transaction_is_used_when_the_newest_is_gone)
{
    struct image *image = make_damaged();
    spoil_at(data_path(), main_root(newest_meta()) * PAGE_SIZE, PAGE_SIZE);
    RECOVERED(1);
    same_image(image, image_of_saved());
    WARNED("the catalogue of the last transaction is not found");
    WARNED("its rows are those before the last transaction");
}
END_TEST

START_TEST(the_journal_makes_up_for_a_lost_transaction)
{
    make_sound();
    api_reopen();
    struct htstore_table *table;
    OK(htstore_table_open(api.store, "ints", NULL, &table, &api.error));
    for (unsigned i = 0; i < 6; i++)
        add_rows(table, 2990 + i * 10, 10, HTSTORE_LAZY);
    close_table(table);
    OK(htstore_flush(api.store, &api.error));
    struct image *image = kill_store();
    spoil_at(data_path(), main_root(newest_meta()) * PAGE_SIZE, PAGE_SIZE);
    RECOVERED(1);
    same_image(image, image_of_saved());
    ck_assert_uint_eq(report.n_records, 6);
    ck_assert_uint_eq(report.n_lost_records, 0);
}
END_TEST

START_TEST(both_catalogues_gone_is_too_much)
{
    make_damaged();
    uint64_t newest = catalog_root(false), older = catalog_root(true);
    ck_assert_uint_ne(newest, older);
    spoil_at(data_path(), newest * PAGE_SIZE, PAGE_SIZE);
    spoil_at(data_path(), older * PAGE_SIZE, PAGE_SIZE);
    RECOVERED(HTSTORE_ECORRUPT);
    ck_assert_ptr_nonnull(strstr(api.error.message, "nothing can be recovered"));
}
END_TEST

START_TEST(one_meta_page_is_enough)
{
    struct image *image = make_damaged();
    uint64_t meta = _i == 0 ? newest_meta() : !newest_meta();
    spoil_at(data_path(), meta * PAGE_SIZE + 16, 120);
    RECOVERED(1);
    same_image(image, image_of_saved());
    ck_assert_uint_eq(report.n_damaged_pages, 1);
    WARNED("what the last transaction wrote may be missing");
}
END_TEST

START_TEST(without_meta_pages_nothing_is_found)
{
    make_damaged();
    for (uint64_t meta = 0; meta < 2; meta++)
        write_at(data_path(), meta * PAGE_SIZE + 128, "\x01\0\0\0\0\0\0\0", 8);
    RECOVERED(HTSTORE_ECORRUPT);
    spoil_at(data_path(), 0, 2 * PAGE_SIZE);
    RECOVERED(HTSTORE_EFORMAT);
}
END_TEST

START_TEST(a_truncated_file_gives_what_is_left)
{
    make_sound();
    write_unflushed();
    struct image *image = kill_store();
    struct content c = load_file(data_path());
    unsigned n_saved = 0;
    for (size_t i = 1; i <= 16; i++) {
        ck_assert_int_eq(truncate(data_path(), (off_t)(c.size * i / 16)), 0);
        int result = recover();
        ck_assert_msg(result == (i == 16 ? 0 : 1) || result == HTSTORE_ECORRUPT, "%zu/16: %d %s\n%s", i, result,
                      api.error.message, log_text());
        save_file(data_path(), c.data, c.size);
        if (result < 0)
            continue;
        part_of_image(image, image_of_saved());
        ck_assert(log_has(HTSTORE_LOG_INFO, "cut short") || i == 16);
        n_saved++;
        remove_folder("saved");
    }
    ck_assert_uint_gt(n_saved, 0);
}
END_TEST

START_TEST(a_bad_sector_costs_its_page_only)
{
    struct image *image = make_damaged();
    struct stat status;
    uint64_t at = find_bytes(data_path(), "one-000123", 10);
    ck_assert_int_eq(stat(data_path(), &status), 0);
    const char *before = folder_text(api_path("damaged"));
    bad_sector.begin = (off_t)(at / 512 * 512);
    bad_sector.end = bad_sector.begin + 512;
    bad_sector.inode = status.st_ino;
    report = untouched;
    ck_assert_int_eq(htstore_recover(api_path("damaged"), api_path("saved"), NULL, &report, &api.error), 1);
    bad_sector.inode = 0;
    ck_assert_str_eq(folder_text(api_path("damaged")), before);
    ck_assert_uint_eq(report.n_damaged_pages, 1);
    ck_assert_uint_gt(report.n_rows, image->n_rows - 60);
    part_of_image(image, image_of_saved());
}
END_TEST

/* ---- a catalogue of many pages ---- */

#define N_MANY 120

/* "damaged": tables t000 … of three rows each, every tenth cleared and filled again. */
static struct image *make_many(void)
{
    (void)snprintf(api.path, sizeof api.path, "%s/sound", api.directory);
    api_open_store();
    for (unsigned i = 0; i < N_MANY; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "t%03u-with-a-name-that-takes-some-room-on-its-page", i);
        struct htstore_table *table = make_table(name, HTSTORE_INT64, HTSTORE_INT64, "0");
        add_rows(table, i, 3, HTSTORE_LAZY);
        if (i % 10 == 0) {
            OK(htstore_flush(api.store, &api.error));
            OK(htstore_table_clear(table, HTSTORE_LAZY, &api.error));
            add_rows(table, i + 500, 3, HTSTORE_LAZY);
        }
        close_table(table);
    }
    OK(htstore_flush(api.store, &api.error));
    struct image *image = image_of(api.store);
    api_close_store();
    copy_folder("sound", "damaged");
    return image;
}

/* The name of the last database of rows. */
static int take_name(void *user, const uint8_t *name, size_t size, const struct hti_kvpage_tree *tree)
{
    char *text = user;
    if (size == 17 && tree->n_entries == 3)
        memcpy(text, name, size);
    return 0;
}

static void name_database(char name[18])
{
    struct hti_kvwalk *file;
    int fd = open(data_path(), O_RDONLY | O_CLOEXEC);
    memset(name, 0, 18);
    OK(hti_kvwalk_open(fd, false, "data.mdb", &file, &api.error));
    OK(hti_kvwalk_list_trees(file, take_name, NULL, name, &api.error));
    ck_assert_uint_eq(strlen(name), 17);
    hti_kvwalk_close(file);
    close(fd);
}

/* Spoil the leaves that hold this record of the catalogue. */
static void spoil_catalog_leaf(uint8_t kind, uint8_t id)
{
    uint8_t key[9] = { kind, 0, 0, 0, 0, 0, 0, 0, id };
    spoil_leaves_with(key, sizeof key);
}

START_TEST(tables_whose_description_is_gone_are_lost_and_the_others_whole)
{
    struct image *image = make_many();
    spoil_catalog_leaf(1, 60);
    RECOVERED(1);
    struct image *saved = image_of_saved();
    ck_assert_msg(saved->n > N_MANY / 4 && saved->n < N_MANY, "%zu tables are left", saved->n);
    ck_assert_uint_eq(report.n_lost_tables, N_MANY - saved->n);
    for (size_t i = 0; i < saved->n; i++)
        same_table(image, saved, saved->tables[i].name);
    ck_assert_uint_eq(report.n_damaged_tables, 0);
    WARNED("is lost: its description is missing or damaged");
    WARNED("records are readable");
}
END_TEST

START_TEST(rows_are_found_without_totals)
{
    struct image *image = make_many();
    spoil_catalog_leaf(2, 60);
    RECOVERED(1);
    same_image(image, image_of_saved());
    ck_assert_uint_eq(report.n_lost_tables, 0);
    ck_assert_uint_eq(report.n_damaged_tables, 0);
}
END_TEST

START_TEST(databases_that_the_main_tree_has_lost_are_told)
{
    char name[18];
    struct image *image = make_many();
    name_database(name);
    spoil_leaves_with(name, 17);
    RECOVERED(1);
    struct image *saved = image_of_saved();
    part_of_image(image, saved);
    ck_assert_uint_eq(saved->n, N_MANY);
    ck_assert_uint_gt(report.n_damaged_tables, 10);
    ck_assert_uint_eq(report.n_rows, (N_MANY - report.n_damaged_tables) * 3);
    WARNED(": 0 of 3 rows readable");
}
END_TEST

/* The store's own record: 9 zero bytes are its key, "HTST" is how it begins. */
static void spoil_store_record(size_t offset, uint8_t value)
{
    struct content c = load_file(data_path());
    uint8_t *at = c.data;
    unsigned n = 0;
    for (; (at = memmem(at, (size_t)(c.data + c.size - at), "HTST", 4)) != NULL; at += 4, n++)
        at[offset] = value;
    ck_assert_uint_gt(n, 0);
    save_file(data_path(), c.data, c.size);
}

START_TEST(without_the_stores_record_the_whole_journal_is_applied)
{
    make_sound();
    write_unflushed();
    struct image *image = kill_store();
    spoil_store_record(30, 0x77);
    RECOVERED(1);
    same_image(image, image_of_saved());
    WARNED("the store record 0 of the catalogue is damaged");
    WARNED("all of its journal counts");
    ck_assert_uint_eq(report.n_lost_records + report.n_damaged_tables + report.n_lost_tables, 0);
}
END_TEST

START_TEST(a_store_of_a_newer_version_is_refused)
{
    make_damaged();
    spoil_store_record(4, 2);
    RECOVERED(HTSTORE_EVERSION);
}
END_TEST

START_TEST(rows_of_other_tables_are_not_taken)
{
    struct image *image = make_many();
    char name[18];
    name_database(name);
    /* its record in the main tree becomes that of the first database on the same page */
    struct content c = load_file(data_path());
    for (size_t page = 2; page < c.size / PAGE_SIZE; page++) {
        uint8_t *data = c.data + page * PAGE_SIZE, *record = find_entry(data, name, 17);
        if (!record)
            continue;
        uint8_t *other = data + hti_load_le16(data + 16) + 8 + 17;
        if (other != record && memcmp(other - 17, "t00000", 6) == 0)
            memcpy(record, other, 48);
    }
    save_file(data_path(), c.data, c.size);
    RECOVERED(1);
    part_of_image(image, image_of_saved());
    ck_assert_uint_eq(report.n_damaged_tables, 1);
    ck_assert_uint_eq(report.n_damaged_rows, 3);
    ck_assert_uint_eq(report.n_rows, (N_MANY - 1) * 3);
}
END_TEST

/* ---- damage in the journal ---- */

#define N_RECORDS 9

/* A killed store with N_RECORDS batches of one row; every one is synced if asked for. */
static void make_journal(uint32_t durability)
{
    make_sound();
    api_reopen();
    struct htstore_table *table;
    OK(htstore_table_open(api.store, "ints", NULL, &table, &api.error));
    for (unsigned i = 0; i < N_RECORDS; i++)
        add_rows(table, 10000 + i, 1, durability);
    close_table(table);
    copy_folder("sound", "damaged");
    api_close_store();
}

static uint64_t find_segment(bool last)
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
static uint64_t segment_number(void)
{
    return find_segment(false);
}

static const char *segment_path(uint64_t number)
{
    char name[64];
    int size = snprintf(name, sizeof name, "damaged/journal/");
    hti_segment_name(number, name + size);
    return api_path(name);
}

/* Where record `index` of the segment begins; *size is what it takes. */
static uint64_t record_place(uint64_t number, unsigned index, uint64_t *size)
{
    struct content c = load_file(segment_path(number));
    struct hti_record_header header;
    struct hti_segment segment;
    uint64_t offset = 0;
    int fd = open(api_path("damaged/journal"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    OK(hti_segment_open(fd, "journal", c.data + 16, number, &segment, &api.error));
    for (unsigned i = 0; i <= index; i++) {
        offset = segment.offset;
        OK(hti_segment_read(&segment, &header, NULL, &api.error));
    }
    *size = segment.offset - offset;
    hti_segment_close(&segment);
    close(fd);
    return offset;
}

/* `part` 0: the header, 1: the payload, 2: all of it. */
static void spoil_record(uint64_t number, unsigned index, int part)
{
    uint64_t size, offset = record_place(number, index, &size);
    if (part == 0)
        spoil_at(segment_path(number), offset + 8, 3);
    else if (part == 1)
        spoil_at(segment_path(number), offset + HTI_RECORD_HEADER_SIZE + 45, 1);
    else
        spoil_at(segment_path(number), offset, size);
}

static bool has_row(const struct image *image, unsigned number)
{
    char text[16];
    (void)snprintf(text, sizeof text, "1");
    struct htstore_array key = api_numbered(HTSTORE_INT64, text, number);
    struct htstore_array one = api_row(&key, 0);
    char line[64];
    (void)snprintf(line, sizeof line, "\n%s=", api_text(&one));
    return strstr(image->tables[find_table(image, "ints")].rows, line) != NULL;
}

START_TEST(a_damaged_record_that_was_synced_is_the_only_one_lost)
{
    struct htstore *store;
    make_journal(HTSTORE_SYNC);
    spoil_record(segment_number(), 4, _i);
    copy_folder("damaged", "again");
    REFUSED(htstore_open(api_path("again"), NULL, &store, &api.error), HTSTORE_ECORRUPT, "journal is damaged");
    RECOVERED(1);
    struct image *image = image_of_saved();
    ck_assert_uint_eq(report.n_lost_records, 1);
    ck_assert_uint_eq(report.n_records, N_RECORDS - 1);
    for (unsigned i = 0; i < N_RECORDS; i++)
        ck_assert_int_eq(has_row(image, 10000 + i), i != 4);
    ck_assert_uint_eq(report.n_damaged_tables + report.n_damaged_pages, 0);
    WARNED("had been synced");
}
END_TEST

START_TEST(several_gaps_are_counted)
{
    make_journal(HTSTORE_SYNC);
    spoil_record(segment_number(), 6, 1);
    spoil_record(segment_number(), 3, 2);
    spoil_record(segment_number(), 2, 1);
    spoil_record(segment_number(), 0, 0);
    RECOVERED(1);
    image_of_saved();
    ck_assert_uint_eq(report.n_lost_records, 4);
    ck_assert_uint_eq(report.n_records, N_RECORDS - 4);
}
END_TEST

/* A tear is handled as htstore_open() handles it. */
START_TEST(a_torn_tail_is_no_loss)
{
    make_journal(_i == 0 ? HTSTORE_SYNC : HTSTORE_LAZY);
    spoil_record(segment_number(), _i == 0 ? N_RECORDS - 1 : 3, 1);
    copy_folder("damaged", "again");
    struct image *opened = image_at("again");
    RECOVERED(0);
    struct image *saved = image_of_saved();
    same_image(opened, saved);
    ck_assert_uint_eq(report.n_records, _i == 0 ? N_RECORDS - 1 : 3);
    ck_assert_int_eq(has_row(saved, 10000 + N_RECORDS - 1), 0);
}
END_TEST

START_TEST(a_damaged_segment_header_costs_nothing)
{
    struct htstore *store;
    make_sound();
    api_reopen();
    write_unflushed();
    struct image *image = kill_store();
    spoil_at(segment_path(segment_number()), 0, 64);
    copy_folder("damaged", "again");
    REFUSED(htstore_open(api_path("again"), NULL, &store, &api.error), HTSTORE_ECORRUPT, "header");
    RECOVERED(0);
    same_image(image, image_of_saved());
    ck_assert(log_has(HTSTORE_LOG_INFO, "its header is damaged; the records are read all the same"));
}
END_TEST

START_TEST(a_segment_of_garbage_is_told)
{
    make_journal(HTSTORE_SYNC);
    spoil_at(segment_path(segment_number()), 0, 64 << 10);
    RECOVERED(1);
    image_of_saved();
    WARNED("its header is damaged, and no record of it is found");
    ck_assert_uint_eq(report.n_records, 0);
}
END_TEST

START_TEST(a_segment_of_another_store_is_not_used)
{
    make_journal(HTSTORE_SYNC);
    struct content c = load_file(segment_path(segment_number()));
    c.data[20] ^= 1;
    hti_store_le64(c.data + 56, hti_hash64(c.data, 56, 0));
    save_file(segment_path(segment_number()), c.data, c.size);
    RECOVERED(1);
    image_of_saved();
    WARNED("belongs to another store");
    ck_assert_uint_eq(report.n_records, 0);
}
END_TEST

START_TEST(a_missing_segment_is_counted)
{
    make_sound();
    api_close_store();
    api.options.delta_bytes = 16 << 20;
    api_open_store();
    struct htstore_table *table;
    OK(htstore_table_open(api.store, "long", NULL, &table, &api.error));
    for (unsigned i = 0; i < 30; i++)
        add_texts(table, i * 10, 10, 700);
    close_table(table);
    struct image *image = kill_store();
    uint64_t first = find_segment(false);
    ck_assert_uint_ge(find_segment(true), first + 3);
    ck_assert_int_eq(unlink(segment_path(first + 1)), 0);
    RECOVERED(1);
    part_of_image(image, image_of_saved());
    ck_assert_uint_gt(report.n_lost_records, 0);
    ck_assert_uint_eq(report.n_lost_records + report.n_records, 30);
}
END_TEST

START_TEST(a_missing_journal_is_a_loss_unless_the_store_was_closed)
{
    make_journal(HTSTORE_SYNC);
    remove_folder("damaged/journal");
    RECOVERED(1);
    image_of_saved();
    WARNED("the journal is missing");
    remove_folder("saved");
    copy_folder("sound", "damaged");
    remove_folder("damaged/journal");
    RECOVERED(0);
    image_of_saved();
}
END_TEST

/* A power cut can bring back segments that the last open had used up and deleted. */
START_TEST(segments_of_earlier_sessions_are_not_read)
{
    make_journal(HTSTORE_LAZY);
    spoil_record(segment_number(), 3, 1);
    copy_folder("damaged", "sound");
    struct content stale = load_file(segment_path(segment_number()));
    uint64_t stale_number = segment_number();
    api_open_store();
    struct htstore_table *table;
    OK(htstore_table_open(api.store, "ints", NULL, &table, &api.error));
    for (unsigned i = 0; i < 3; i++)
        add_rows(table, 20000 + i, 1, HTSTORE_SYNC);
    close_table(table);
    struct image *image = kill_store();
    save_file(segment_path(stale_number), stale.data, stale.size);
    RECOVERED(0);
    same_image(image, image_of_saved());
    ck_assert_uint_eq(report.n_records, 3);
}
END_TEST

START_TEST(a_bad_sector_in_the_journal_costs_its_records_only)
{
    struct stat status;
    make_journal(HTSTORE_SYNC);
    uint64_t size, offset = record_place(segment_number(), 4, &size);
    ck_assert_int_eq(stat(segment_path(segment_number()), &status), 0);
    bad_sector.begin = (off_t)(_i == 0 ? offset + 64 : 0);
    bad_sector.end = bad_sector.begin + 8;
    bad_sector.inode = status.st_ino;
    report = untouched;
    int result = htstore_recover(api_path("damaged"), api_path("saved"), NULL, &report, &api.error);
    bad_sector.inode = 0;
    ck_assert_int_eq(result, _i == 0);
    ck_assert_uint_ge(report.n_records, _i == 0 ? 4 : N_RECORDS);
}
END_TEST

START_TEST(operations_on_lost_tables_are_left_out)
{
    make_many();
    (void)snprintf(api.path, sizeof api.path, "%s/sound", api.directory);
    api_open_store();
    const struct htstore_object *objects;
    uint64_t n;
    OK(htstore_list(api.store, api.arena, &objects, &n, &api.error));
    for (uint64_t i = 0; i < n; i++) {
        struct htstore_table *table;
        OK(htstore_table_open(api.store, objects[i].name, NULL, &table, &api.error));
        add_rows(table, 900, 2, HTSTORE_SYNC);
        close_table(table);
    }
    struct image *image = kill_store();
    spoil_catalog_leaf(1, 60);
    RECOVERED(1);
    struct image *saved = image_of_saved();
    ck_assert_uint_gt(report.n_lost_tables, 0);
    ck_assert_uint_eq(report.n_records, saved->n);
    ck_assert_uint_eq(report.n_lost_records, 0);
    for (size_t i = 0; i < saved->n; i++)
        same_table(image, saved, saved->tables[i].name);
}
END_TEST

/* ---- who may recover what, and where to ---- */

START_TEST(wrong_arguments_are_refused)
{
    struct htstore_options options = { .size = 0 };
    make_damaged();
    const char *from = api_path("damaged"), *to = api_path("saved");
    REFUSED(htstore_recover(NULL, to, NULL, NULL, &api.error), HTSTORE_EINVAL, "path");
    REFUSED(htstore_recover("", to, NULL, NULL, &api.error), HTSTORE_EINVAL, "path");
    REFUSED(htstore_recover(from, NULL, NULL, NULL, &api.error), HTSTORE_EINVAL, "path");
    REFUSED(htstore_recover(from, "", NULL, NULL, &api.error), HTSTORE_EINVAL, "path");
    REFUSED(htstore_recover(from, to, &options, NULL, &api.error), HTSTORE_EINVAL, "size is 0");
    report.size = 0;
    REFUSED(htstore_recover(from, to, NULL, &report, &api.error), HTSTORE_EINVAL, "size is 0");
    REFUSED(htstore_recover(from, api_path("none/saved"), NULL, NULL, &api.error), HTSTORE_ENOTFOUND, "");
    REFUSED(htstore_recover(from, api_path("."), NULL, NULL, &api.error), HTSTORE_EINVAL, "");
    ck_assert(!exists("saved"));
}
END_TEST

START_TEST(a_source_that_is_no_store_is_refused)
{
    struct htstore_options options = { .size = sizeof options };
    REFUSED(htstore_recover(api_path("none"), api_path("saved"), &options, NULL, &api.error), HTSTORE_ENOTFOUND, "");
    save_file(api_path("file"), "hello", 5);
    REFUSED(htstore_recover(api_path("file"), api_path("saved"), &options, NULL, &api.error), HTSTORE_EFORMAT, "");
    ck_assert_int_eq(mkdir(api_path("folder"), 0700), 0);
    REFUSED(htstore_recover(api_path("folder"), api_path("saved"), &options, NULL, &api.error), HTSTORE_EFORMAT, "");
    save_file(api_path("folder/data.mdb"), "hello", 5);
    REFUSED(htstore_recover(api_path("folder"), api_path("saved"), &options, NULL, &api.error), HTSTORE_EFORMAT, "");
    ck_assert(!exists("saved"));
}
END_TEST

START_TEST(a_target_that_exists_is_left_alone)
{
    make_damaged();
    save_file(api_path("saved"), "mine", 4);
    REFUSED(htstore_recover(api_path("damaged"), api_path("saved"), NULL, NULL, &api.error), HTSTORE_EEXIST, "exists");
    ck_assert_uint_eq(load_file(api_path("saved")).size, 4);
    ck_assert_int_eq(symlink("/nonexistent", api_path("link")), 0);
    REFUSED(htstore_recover(api_path("damaged"), api_path("link"), NULL, NULL, &api.error), HTSTORE_EEXIST, "exists");
}
END_TEST

START_TEST(nothing_is_written_into_the_old_store)
{
    make_damaged();
    const char *before = folder_text(api_path("damaged"));
    REFUSED(htstore_recover(api_path("damaged"), api_path("damaged/new"), NULL, NULL, &api.error), HTSTORE_EINVAL,
            "inside");
    REFUSED(htstore_recover(api_path("damaged"), api_path("damaged/journal/new"), NULL, NULL, &api.error),
            HTSTORE_EINVAL, "inside");
    ck_assert_str_eq(folder_text(api_path("damaged")), before);
    ck_assert(!exists("damaged/.new.htstore-tmp"));
}
END_TEST

START_TEST(an_owned_store_is_busy)
{
    make_sound();
    const char *from = api_path("sound"), *to = api_path("saved");
    char pid[32];
    (void)snprintf(pid, sizeof pid, "process %d ", (int)getpid());
    REFUSED(htstore_recover(from, to, NULL, NULL, &api.error), HTSTORE_EBUSY, pid);
    ck_assert_int_eq(unlink(api_path("sound/LOCK")), 0);
    REFUSED(htstore_recover(from, to, NULL, NULL, &api.error), HTSTORE_EBUSY, "");
    ck_assert(!exists("saved"));
    api_close_store();
    OK(htstore_recover(from, to, NULL, NULL, &api.error));
}
END_TEST

static void try_to_own(void *user, int32_t level, const char *module, const char *message)
{
    int *code = user;
    struct htstore *store;
    (void)level;
    (void)module;
    (void)message;
    *code = htstore_open(api_path("damaged"), NULL, &store, NULL);
}

START_TEST(nobody_can_own_the_store_meanwhile)
{
    int code = 1;
    struct htstore_options options = { .size = sizeof options, .log = try_to_own, .log_user = &code };
    make_damaged();
    if (_i == 1)
        ck_assert_int_eq(unlink(api_path("damaged/LOCK")), 0);
    spoil_at(data_path(), find_bytes(data_path(), "one-000123", 10), 1);
    const char *before = folder_text(api_path("damaged"));
    ck_assert_int_eq(htstore_recover(api_path("damaged"), api_path("saved"), &options, NULL, &api.error), 1);
    ck_assert_int_eq(code, HTSTORE_EBUSY);
    if (_i == 0)
        ck_assert_str_eq(folder_text(api_path("damaged")), before);
    struct htstore *store;
    OK(htstore_open(api_path("damaged"), NULL, &store, &api.error));
    OK(htstore_close(store, &api.error));
}
END_TEST

START_TEST(a_recovery_under_way_to_the_same_place_is_not_disturbed)
{
    make_damaged();
    ck_assert_int_eq(mkdir(api_path(".saved.htstore-tmp"), 0700), 0);
    save_file(api_path(".saved.htstore-tmp/data.mdb"), "half", 4);
    int fd = open(api_path(".saved.htstore-tmp"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_eq(flock(fd, LOCK_EX), 0);
    REFUSED(htstore_recover(api_path("damaged"), api_path("saved"), NULL, NULL, &api.error), HTSTORE_EBUSY, "");
    ck_assert(exists(".saved.htstore-tmp/data.mdb"));
    close(fd);
    RECOVERED(0);
}
END_TEST

START_TEST(unsafe_folders_need_their_flag)
{
    struct htstore_options options = { .size = sizeof options };
    make_damaged();
    ck_assert_int_eq(chmod(api_path("damaged"), 0770), 0);
    REFUSED(htstore_recover(api_path("damaged"), api_path("saved"), &options, NULL, &api.error), HTSTORE_EINVAL, "");
    options.flags = HTSTORE_ALLOW_SHARED_FOLDER;
    OK(htstore_recover(api_path("damaged"), api_path("saved"), &options, NULL, &api.error));
}
END_TEST

START_TEST(the_parent_of_the_target_must_be_writable)
{
    if (geteuid() == 0)
        return; /* nothing is forbidden to root */
    make_damaged();
    ck_assert_int_eq(mkdir(api_path("closed"), 0500), 0);
    REFUSED(htstore_recover(api_path("damaged"), api_path("closed/saved"), NULL, NULL, &api.error), HTSTORE_EREADONLY,
            "");
}
END_TEST

/* ---- everything that may happen ---- */

static uint64_t random_state;

static uint64_t random_number(void)
{
    random_state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = random_state;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* A small store with a journal: the older it is, the less its rows are worth to the test. */
static struct image *make_small(void)
{
    (void)snprintf(api.path, sizeof api.path, "%s/sound", api.directory);
    api_open_store();
    struct htstore_table *ints = make_table("ints", HTSTORE_INT64, HTSTORE_INT64, "-1");
    add_rows(ints, 0, 300, 0);
    struct htstore_table *words = make_table("words", HTSTORE_STRING, HTSTORE_STRING, "[a b]");
    add_texts(words, 0, 60, 16);
    close_table(words);
    OK(htstore_flush(api.store, &api.error));
    for (unsigned i = 0; i < 8; i++)
        add_rows(ints, 300 + i * 5, 5, HTSTORE_SYNC);
    close_table(ints);
    return kill_store();
}

/* Rows are functions of their keys and never removed: what is found must be part of what was written. */
START_TEST(whatever_bytes_change_no_row_is_invented)
{
    struct image *image = make_small();
    struct content data = load_file(data_path()), journal = load_file(segment_path(segment_number()));
    const char *path = segment_path(segment_number());
    unsigned n_saved = 0;
    random_state = (uint64_t)_i * 1000 + 1;
    for (unsigned run = 0; run < N_FLIPS; run++) {
        struct content *file = run % 4 == 3 ? &journal : &data;
        struct content changed = { api_alloc(file->size), file->size };
        memcpy(changed.data, file->data, file->size);
        size_t limit = file == &journal && file->size > 8192 ? 8192 : file->size;
        for (uint64_t n = 1 + random_number() % 6; n > 0; n--)
            changed.data[random_number() % limit] ^= (uint8_t)(1u << random_number() % 8);
        save_file(file == &journal ? path : data_path(), changed.data, changed.size);
        int result = recover();
        ck_assert_msg(result >= 0 || result == HTSTORE_ECORRUPT || result == HTSTORE_EFORMAT ||
                          result == HTSTORE_EVERSION,
                      "run %u: %d %s", run, result, api.error.message);
        if (result >= 0) {
            struct image *saved = image_of_saved();
            part_of_image(image, saved);
            ck_assert_msg(result == 1 || file == &journal || saved->n_rows == image->n_rows, "run %u: rows are missing",
                          run);
            n_saved++;
            remove_folder("saved");
        }
        save_file(data_path(), data.data, data.size);
        save_file(path, journal.data, journal.size);
    }
    ck_assert_uint_gt(n_saved, N_FLIPS / 2);
}
END_TEST

/* Fail every allocation, once or for good. */
START_TEST(without_memory_nothing_is_left_behind)
{
    make_small();
    spoil_at(data_path(), catalog_root(false) * PAGE_SIZE, PAGE_SIZE);
    int result = 0;
    uint64_t n;
    for (n = 0; n < 5000; n++) {
        uint64_t live = hti_mem_test_live();
        hti_mem_test_fail(n, _i == 1);
        result = htstore_recover(api_path("damaged"), api_path("saved"), NULL, NULL, &api.error);
        bool failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_msg(hti_mem_test_live() == live, "allocation %ju: something is not freed", (uintmax_t)n);
        ck_assert(!exists(".saved.htstore-tmp"));
        if (!failed)
            break;
        ck_assert_msg(result == HTSTORE_ENOMEM, "allocation %ju: %d %s", (uintmax_t)n, result, api.error.message);
        ck_assert_int_eq(api.error.code, HTSTORE_ENOMEM);
        ck_assert(!exists("saved"));
    }
    ck_assert_int_eq(result, 1);
    ck_assert_uint_gt(n, 50);
    ck_assert_uint_eq(image_at("saved")->n, 2);
}
END_TEST

/* Each write, sync and rename fails once. */
START_TEST(a_failing_disk_leaves_no_store)
{
    static const int errnos[] = { EIO, ENOSPC };
    static const enum fault_call calls[] = { FAULT_WRITE, FAULT_SYNC, FAULT_DATASYNC, FAULT_RENAME };
    enum fault_call call = calls[_i % 4];
    int sys_errno = errnos[_i / 4], result = 1;
    struct image *image = make_small();
    unsigned n;
    for (n = 0; n < 1000; n++) {
        report = untouched;
        fault_clear();
        fault_set(call, n, sys_errno, 0);
        result = htstore_recover(api_path("damaged"), api_path("saved"), NULL, &report, &api.error);
        bool struck = fault_count(call) > n;
        fault_clear();
        ck_assert(!exists(".saved.htstore-tmp"));
        if (!struck)
            break;
        ck_assert_msg(result <= 0, "call %u: %d", n, result);
        if (result == 0) {
            same_image(image, image_of_saved());
            remove_folder("saved");
            continue;
        }
        ck_assert_msg(result == HTSTORE_EIO || result == HTSTORE_ENOSPC, "call %u: %d %s", n, result,
                      api.error.message);
        ck_assert_int_eq(api.error.code, result);
        ck_assert_msg(!exists("saved"), "call %u: there is a store", n);
    }
    ck_assert_int_eq(result, 0);
    if (call != FAULT_DATASYNC) /* those are LMDB's, which a test sees only if its functions are exported */
        ck_assert_uint_gt(n, 0);
    same_image(image, image_of_saved());
}
END_TEST

static void add_tests(TCase *tests)
{
    tcase_add_test(tests, a_closed_store_is_copied_whole);
    tcase_add_test(tests, the_new_store_takes_writes_and_has_the_old_schemas);
    tcase_add_test(tests, defaults_will_do);
    tcase_add_test(tests, a_short_report_is_filled_as_far_as_it_goes);
    tcase_add_test(tests, what_only_the_journal_holds_is_recovered);
    tcase_add_test(tests, segments_are_read_in_order);
    tcase_add_test(tests, anonymous_tables_end_with_their_process);
    tcase_add_test(tests, a_killed_process_loses_nothing);
    tcase_add_test(tests, an_interrupted_recovery_leaves_no_store_and_can_be_repeated);
    tcase_add_test(tests, wrong_arguments_are_refused);
    tcase_add_test(tests, a_source_that_is_no_store_is_refused);
    tcase_add_test(tests, a_target_that_exists_is_left_alone);
    tcase_add_test(tests, nothing_is_written_into_the_old_store);
    tcase_add_test(tests, an_owned_store_is_busy);
    tcase_add_loop_test(tests, nobody_can_own_the_store_meanwhile, 0, 2);
    tcase_add_test(tests, a_recovery_under_way_to_the_same_place_is_not_disturbed);
    tcase_add_test(tests, unsafe_folders_need_their_flag);
    tcase_add_test(tests, the_parent_of_the_target_must_be_writable);
}

static void add_data_tests(TCase *tests)
{
    tcase_add_test(tests, a_spoiled_leaf_costs_its_rows_only);
    tcase_add_test(tests, a_changed_row_is_the_only_one_missing);
    tcase_add_test(tests, a_damaged_row_that_the_journal_writes_again_is_there);
    tcase_add_test(tests, keys_of_every_kind_are_named_in_the_log);
    tcase_add_test(tests, many_damaged_rows_do_not_flood_the_log);
    tcase_add_test(tests, the_catalogue_before_the_last_transaction_fills_gaps);
    tcase_add_test(tests, the_state_before_the_last_transaction_is_used_when_the_newest_is_gone);
    tcase_add_test(tests, the_journal_makes_up_for_a_lost_transaction);
    tcase_add_test(tests, both_catalogues_gone_is_too_much);
    tcase_add_loop_test(tests, one_meta_page_is_enough, 0, 2);
    tcase_add_test(tests, without_meta_pages_nothing_is_found);
    tcase_add_test(tests, a_truncated_file_gives_what_is_left);
    tcase_add_test(tests, a_bad_sector_costs_its_page_only);
    tcase_add_test(tests, tables_whose_description_is_gone_are_lost_and_the_others_whole);
    tcase_add_test(tests, rows_are_found_without_totals);
    tcase_add_test(tests, databases_that_the_main_tree_has_lost_are_told);
    tcase_add_test(tests, without_the_stores_record_the_whole_journal_is_applied);
    tcase_add_test(tests, a_store_of_a_newer_version_is_refused);
    tcase_add_test(tests, rows_of_other_tables_are_not_taken);
}

static void add_journal_tests(TCase *tests)
{
    tcase_add_loop_test(tests, a_damaged_record_that_was_synced_is_the_only_one_lost, 0, 3);
    tcase_add_test(tests, several_gaps_are_counted);
    tcase_add_loop_test(tests, a_torn_tail_is_no_loss, 0, 2);
    tcase_add_test(tests, a_damaged_segment_header_costs_nothing);
    tcase_add_test(tests, a_segment_of_garbage_is_told);
    tcase_add_test(tests, a_segment_of_another_store_is_not_used);
    tcase_add_test(tests, a_missing_segment_is_counted);
    tcase_add_test(tests, a_missing_journal_is_a_loss_unless_the_store_was_closed);
    tcase_add_test(tests, segments_of_earlier_sessions_are_not_read);
    tcase_add_loop_test(tests, a_bad_sector_in_the_journal_costs_its_records_only, 0, 2);
    tcase_add_test(tests, operations_on_lost_tables_are_left_out);
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "--act") == 0)
        return act(argv[2], argv[3], argv[4]);
    Suite *suite = suite_create("salvage");
    TCase *tests = tcase_create("salvage"), *data = tcase_create("data"), *journal = tcase_create("journal");
    TCase *hard = tcase_create("hard");
    TCase *cases[] = { tests, data, journal, hard };
    add_tests(tests);
    add_data_tests(data);
    add_journal_tests(journal);
    tcase_add_loop_test(hard, whatever_bytes_change_no_row_is_invented, 0, 2);
    tcase_add_loop_test(hard, a_failing_disk_leaves_no_store, 0, 8);
    tcase_add_loop_test(hard, without_memory_nothing_is_left_behind, 0, 2);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tcase_add_checked_fixture(cases[i], api_setup, api_teardown);
        suite_add_tcase(suite, cases[i]);
    }
    return check_run(suite);
}
