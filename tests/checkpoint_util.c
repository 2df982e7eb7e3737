/* checkpoint_util: hides which checkpoint objects and statuses a test has open. */
#include "checkpoint_util.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_KEPT 64

static struct htstore_checkpoint *checkpoints[MAX_KEPT];
static struct htstore_restore *statuses[MAX_KEPT];
static size_t n_checkpoints, n_statuses;

void checkpoint_close_all(void)
{
    while (n_statuses > 0)
        htstore_restore_release(statuses[--n_statuses]);
    while (n_checkpoints > 0)
        OK(htstore_checkpoint_close(checkpoints[--n_checkpoints], &api.error));
}

void checkpoint_setup(void)
{
    n_checkpoints = n_statuses = 0;
    objects_setup();
}

void checkpoint_teardown(void)
{
    checkpoint_close_all();
    objects_teardown();
}

void checkpoint_fresh_store(const char *name)
{
    checkpoint_close_all();
    objects_close();
    api_close_store();
    (void)snprintf(api.path, sizeof api.path, "%s", api_path(name));
    api_open_store();
}

void checkpoint_small_memory(void)
{
    api.options.flags |= HTSTORE_NO_PRELOAD;
    api.options.cache_bytes = 4096;
    objects_reopen();
}

/* ---- checkpoint objects ---- */

static struct htstore_checkpoint *new_checkpoint(const struct htstore_checkpoint_options *options)
{
    struct htstore_checkpoint *checkpoint;
    ck_assert_uint_lt(n_checkpoints, MAX_KEPT);
    OK(htstore_checkpoint_new(api.store, options, &checkpoint, &api.error));
    return checkpoints[n_checkpoints++] = checkpoint;
}

struct htstore_checkpoint *root_names(void)
{
    return new_checkpoint(NULL);
}

struct htstore_checkpoint *root_mapping(struct htstore_mapping *mapping)
{
    const struct htstore_checkpoint_options options = { .size = sizeof options, .root = mapping };
    return new_checkpoint(&options);
}

struct htstore_checkpoint *root_list(const char *names, ...)
{
    struct htstore_checkpoint_options options = { .size = sizeof options };
    struct htstore_entry entries[16];
    const struct htstore_array keys = api_array(HTSTORE_STRING, names);
    va_list objects;
    va_start(objects, names);
    for (; options.n_entries < api_count(&keys); options.n_entries++) {
        ck_assert_uint_lt(options.n_entries, 16);
        entries[options.n_entries].key = ((struct htstore_bytes *)keys.data)[options.n_entries];
        entries[options.n_entries].object = va_arg(objects, void *);
    }
    va_end(objects);
    options.entries = entries;
    return new_checkpoint(&options);
}

struct htstore_checkpoint *root_both(struct htstore_mapping *mapping, const char *name, const void *object)
{
    const struct htstore_entry entry = { htstore_string(name), object };
    const struct htstore_checkpoint_options options = {
        .size = sizeof options, .root = mapping, .entries = &entry, .n_entries = 1
    };
    return new_checkpoint(&options);
}

void close_checkpoint(struct htstore_checkpoint *checkpoint)
{
    for (size_t i = 0; i < n_checkpoints; i++)
        if (checkpoints[i] == checkpoint)
            checkpoints[i] = checkpoints[--n_checkpoints];
    OK(htstore_checkpoint_close(checkpoint, &api.error));
}

/* ---- saving and restoring ---- */

const char *save(struct htstore_checkpoint *checkpoint)
{
    const char *path;
    OK(htstore_checkpoint_save(checkpoint, api_path("c"), NULL, api.arena, &path, &api.error));
    ZSTD_ACCEPTS(path);
    char *copy = api_alloc(strlen(path) + 1);
    return strcpy(copy, path);
}

const char *write_as(struct htstore_checkpoint *checkpoint, const char *name)
{
    const char *path = api_path(name);
    OK(htstore_checkpoint_write(checkpoint, path, NULL, &api.error));
    ZSTD_ACCEPTS(path);
    return path;
}

struct htstore_restore *restore(struct htstore_checkpoint *checkpoint, const char *path)
{
    struct htstore_restore *status;
    ck_assert_uint_lt(n_statuses, MAX_KEPT);
    OK(htstore_checkpoint_restore(checkpoint, path, NULL, &status, &api.error));
    ck_assert_ptr_nonnull(status);
    return statuses[n_statuses++] = status;
}

int release(struct htstore_restore *status)
{
    for (size_t i = 0; i < n_statuses; i++)
        if (statuses[i] == status)
            statuses[i] = statuses[--n_statuses];
    return htstore_restore_release(status);
}

/* ---- what there is ---- */

struct htstore_snapshot_info info_of(const char *path)
{
    struct htstore_snapshot_info info = { .size = sizeof info };
    OK(htstore_snapshot_info(path, api.arena, &info, &api.error));
    return info;
}

static const char *join(const char *const *texts, uint64_t n)
{
    size_t size = 1;
    for (uint64_t i = 0; i < n; i++)
        size += strlen(texts[i]) + 1;
    char *joined = api_alloc(size), *end = joined;
    for (uint64_t i = 0; i < n; i++) {
        end = stpcpy(end, i ? " " : "");
        end = stpcpy(end, texts[i]);
    }
    return joined;
}

const char *paths_in(const char *path)
{
    const struct htstore_snapshot_info info = info_of(path);
    const char **texts = api_alloc((size_t)info.n_objects * sizeof *texts);
    for (uint64_t i = 0; i < info.n_objects; i++)
        texts[i] = info.objects[i].path;
    return join(texts, info.n_objects);
}

const char *unmatched(struct htstore_restore *status)
{
    const char *const *saved, *const *live;
    uint64_t n_saved, n_live;
    OK(htstore_restore_unmatched(status, api.arena, &saved, &n_saved, &live, &n_live, &api.error));
    const char *texts[] = { join(saved, n_saved), "|", join(live, n_live) };
    return join(texts, 3);
}

struct htstore_table *words_table(const char *name, uint32_t flags)
{
    struct htstore_schema schema = api_schema(HTSTORE_STRING, "-1", HTSTORE_INT64);
    struct htstore_table *table;
    schema.flags = flags | (name ? 0 : HTSTORE_ANONYMOUS);
    OK(htstore_table_create(api.store, name, &schema, &table, &api.error));
    return objects_keep(table);
}

void set_rows(struct htstore_table *table, const char *keys, const char *values)
{
    const struct htstore_array k = api_array(htstore_table_key_dtype(table), keys);
    const struct htstore_array v = api_array(htstore_table_value_dtype(table), values);
    OK(htstore_table_import(table, &k, &v, 0, &api.error));
}

void rows_are(const char *file, int line, struct htstore_table *table, const char *keys, const char *values)
{
    const struct htstore_array k = api_array(htstore_table_key_dtype(table), keys);
    const struct htstore_array v = api_array(htstore_table_value_dtype(table), values);
    const char *expected = api_pairs(&k, &v), *got = api_dump(table);
    if (strcmp(got, expected) != 0)
        api_fail(file, line, "the table holds\n%sinstead of\n%s", got, expected);
    if (api_size(table) != api_count(&k))
        api_fail(file, line, "size is %ju, not %zu", (uintmax_t)api_size(table), api_count(&k));
}

/* ---- files ---- */

void *read_whole(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    void *data = api_alloc(*size + 1);
    ck_assert_uint_eq(fread(data, 1, *size, file), *size);
    ck_assert_int_eq(fclose(file), 0);
    return data;
}

void write_whole(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

bool files_equal(const char *a, const char *b)
{
    size_t n, m;
    const void *x = read_whole(a, &n), *y = read_whole(b, &m);
    return n == m && memcmp(x, y, n) == 0;
}
