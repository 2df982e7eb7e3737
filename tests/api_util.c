/* api_util: hides how the store of a test is made, settled and compared. */
#include "api_util.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SMALL_SEGMENT (64u << 10)
#define SMALL_CACHE 4096
#define MAP_SIZE (UINT64_C(1) << 30) /* Valgrind has no room for the default */
#define ROOM_BYTE 0xA5

const struct api_variation api_variations[API_N_VARIATIONS] = {
    { "named", false, false, API_PLAIN },
    { "anonymous", true, false, API_PLAIN },
    { "named, flushed", false, false, API_FLUSHED },
    { "anonymous, flushed", true, false, API_FLUSHED },
    { "named, reopened", false, false, API_REOPENED },
    { "named, small memory", false, true, API_PLAIN },
    { "anonymous, small memory", true, true, API_PLAIN },
    { "named, small memory, flushed", false, true, API_FLUSHED },
    { "anonymous, small memory, flushed", true, true, API_FLUSHED },
    { "named, small memory, reopened", false, true, API_REOPENED },
};

struct api_world api;

void api_fail(const char *file, int line, const char *format, ...)
{
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ck_abort_msg("%s:%d (%s): %s", file, line, api.variation ? api.variation->name : "-", text);
}

/* ---- the world ---- */

void api_setup(void)
{
    memset(&api, 0, sizeof api);
    api.directory = check_tmpdir();
    (void)snprintf(api.path, sizeof api.path, "%s/store", api.directory);
    api.options.size = sizeof api.options;
    api.options.flags = HTSTORE_CREATE;
    api.options.segment_bytes = SMALL_SEGMENT;
    api.options.map_size = MAP_SIZE;
    OK(htstore_arena_new(&api.arena, &api.error));
}

void api_teardown(void)
{
    api_close_store();
    htstore_arena_free(api.arena);
    check_tmpdir_remove(api.directory);
    api_forget();
    memset(&api, 0, sizeof api);
}

const char *api_path(const char *name)
{
    size_t size = strlen(api.directory) + strlen(name) + 2;
    char *path = api_alloc(size);
    (void)snprintf(path, size, "%s/%s", api.directory, name);
    return path;
}

void api_open_store(void)
{
    OK(htstore_open(api.path, &api.options, &api.store, &api.error));
    ck_assert_ptr_nonnull(api.store);
}

void api_close_store(void)
{
    if (api.table)
        OK(htstore_table_close(api.table, &api.error));
    api.table = NULL;
    if (api.store)
        OK(htstore_close(api.store, &api.error));
    api.store = NULL;
}

void api_reopen(void)
{
    bool had_table = api.table && api.name;
    api_close_store();
    api_open_store();
    if (had_table)
        OK(htstore_table_open(api.store, api.name, NULL, &api.table, &api.error));
}

void api_settle(void)
{
    if (!api.variation || api.variation->phase == API_PLAIN)
        return;
    if (api.variation->phase == API_FLUSHED)
        OK(htstore_flush(api.store, &api.error));
    else
        api_reopen();
}

struct htstore_schema api_schema(uint32_t key_dtype, const char *default_value, uint32_t value_dtype)
{
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = key_dtype, .value_dtype = value_dtype };
    schema.default_value = api_array(value_dtype, default_value);
    return schema;
}

void api_begin_table(const char *name, uint32_t key_dtype, uint32_t value_dtype, const char *default_value)
{
    struct htstore_schema schema = api_schema(key_dtype, default_value, value_dtype);
    if (!name)
        schema.flags |= HTSTORE_ANONYMOUS;
    api.name = name;
    OK(htstore_table_create(api.store, name, &schema, &api.table, &api.error));
    ck_assert_ptr_nonnull(api.table);
}

void api_begin(int variation, uint32_t key_dtype, uint32_t value_dtype, const char *default_value)
{
    ck_assert_int_lt(variation, API_N_VARIATIONS);
    api.variation = &api_variations[variation];
    if (api.variation->small_memory) {
        api.options.flags |= HTSTORE_NO_PRELOAD;
        api.options.cache_bytes = SMALL_CACHE;
    }
    api_open_store();
    api_begin_table(api.variation->anonymous ? NULL : "t1", key_dtype, value_dtype, default_value);
}

struct htstore_stats api_stats(void)
{
    struct htstore_stats stats = { .size = sizeof stats };
    OK(htstore_stats(api.store, &stats, &api.error));
    return stats;
}

uint64_t api_size(struct htstore_table *table)
{
    uint64_t size = UINT64_MAX;
    OK(htstore_table_size(table, &size, &api.error));
    return size;
}

const char *api_dump(struct htstore_table *table)
{
    struct htstore_arena *arena;
    struct htstore_array keys, values;
    OK(htstore_arena_new(&arena, &api.error));
    OK(htstore_table_export(table, arena, &keys, &values, &api.error));
    ck_assert_uint_eq(keys.rank, 1);
    ck_assert_uint_ge(values.rank, 1);
    ck_assert_int_eq(keys.shape[0], values.shape[0]);
    const char *text = api_pairs(&keys, &values);
    htstore_arena_free(arena);
    return text;
}

struct api_state api_state(void)
{
    struct htstore_stats stats = api_stats();
    struct api_state state = { .lsn = stats.visible_lsn, .n_tables = stats.n_tables, .n_handles = stats.open_handles };
    if (api.table) {
        state.size = api_size(api.table);
        state.rows = api_dump(api.table);
    }
    return state;
}

/* ---- expectations ---- */

void api_ok(const char *file, int line, const char *call, int result)
{
    if (result != 0)
        api_fail(file, line, "%s gave %d: %s", call, result, api.error.message);
}

void api_spoil_error(void)
{
    memset(&api.error, 0x5A, sizeof api.error);
}

void api_refused(const char *file, int line, int result, int code, const char *text)
{
    static const uint64_t zeros[4];
    const struct htstore_error *e = &api.error;
    if (result >= 0)
        api_fail(file, line, "expected %d (%s), got %d", code, text, result);
    if (!memchr(e->message, '\0', sizeof e->message) || !memchr(e->path, '\0', sizeof e->path))
        api_fail(file, line, "result %d: the error was not filled", result);
    if (result != code)
        api_fail(file, line, "expected %d (%s), got %d: %s", code, text, result, e->message);
    if (e->code != code)
        api_fail(file, line, "error.code is %d, the result was %d", e->code, result);
    if (!e->message[0] || strpbrk(e->message, "\n\r\t\x1b"))
        api_fail(file, line, "not a sentence: '%s'", e->message);
    if (!strstr(e->message, text))
        api_fail(file, line, "expected '%s', got '%s'", text, e->message);
    if (e->index < -1 || memcmp(e->reserved, zeros, sizeof zeros) != 0)
        api_fail(file, line, "index or reserved fields were not set");
}

void api_unchanged(const char *file, int line, struct api_state before)
{
    struct api_state now = api_state();
    if (now.lsn != before.lsn)
        api_fail(file, line, "the LSN went from %ju to %ju", (uintmax_t)before.lsn, (uintmax_t)now.lsn);
    if (now.n_tables != before.n_tables || now.n_handles != before.n_handles)
        api_fail(file, line, "tables or handles: now %ju and %ju, before %ju and %ju", (uintmax_t)now.n_tables,
                 (uintmax_t)now.n_handles, (uintmax_t)before.n_tables, (uintmax_t)before.n_handles);
    if (now.size != before.size || (now.rows && strcmp(now.rows, before.rows) != 0))
        api_fail(file, line, "%ju rows were:\n%snow %ju:\n%s", (uintmax_t)before.size, before.rows, (uintmax_t)now.size,
                 now.rows);
}

/* ---- steps on the table ---- */

struct htstore_array api_keys(const char *text)
{
    return api_array(htstore_table_key_dtype(api.table), text);
}

struct htstore_array api_values(const char *text)
{
    return api_array(htstore_table_value_dtype(api.table), text);
}

struct htstore_array api_outputs(const struct htstore_array *keys)
{
    struct htstore_schema schema = { .size = sizeof schema };
    OK(htstore_table_schema(api.table, &schema, &api.error));
    struct htstore_array out = api_room(htstore_table_value_dtype(api.table), keys, api_shape(&schema.default_value));
    out.arena = api.arena;
    return out;
}

bool api_is_untouched(const struct htstore_array *output)
{
    const uint8_t *bytes = output->data;
    size_t size = api_count(output) * htstore_dtype_size(output->dtype);
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != ROOM_BYTE)
            return false;
    return true;
}

const char *api_flags(const uint8_t *flags, size_t n)
{
    struct htstore_array array = htstore_vector(HTSTORE_UINT8, flags, n);
    return api_text(&array);
}

void api_insert(const char *file, int line, const char *keys_text, const char *values_text)
{
    struct htstore_array keys = api_keys(keys_text), values = api_values(values_text);
    api_ok(file, line, "insert", htstore_table_insert(api.table, &keys, &values, 0, &api.error));
    api_settle();
}

void api_remove(const char *file, int line, const char *keys_text)
{
    struct htstore_array keys = api_keys(keys_text);
    api_ok(file, line, "remove", htstore_table_remove(api.table, &keys, NULL, 0, &api.error));
    api_settle();
}

void api_size_is(const char *file, int line, uint64_t size)
{
    uint64_t got = api_size(api.table);
    if (got != size)
        api_fail(file, line, "size is %ju, not %ju", (uintmax_t)got, (uintmax_t)size);
}

void api_get_is(const char *file, int line, const char *keys_text, const char *defaults_text, const char *values_text,
                const char *found_text)
{
    struct htstore_array keys = api_keys(keys_text), defaults, out = api_outputs(&keys);
    if (defaults_text)
        defaults = api_values(defaults_text);
    size_t n = api_count(&keys);
    uint8_t *found = api_alloc(n + 1);
    int result = htstore_table_lookup(api.table, &keys, defaults_text ? &defaults : NULL, &out, found, &api.error);
    api_ok(file, line, "lookup", result);
    const char *got = api_text(&out), *got_found = api_flags(found, n);
    if (strcmp(got, values_text) != 0)
        api_fail(file, line, "lookup of %s gave %s, not %s", keys_text, got, values_text);
    if (found_text && strcmp(got_found, found_text) != 0)
        api_fail(file, line, "found flags of %s are %s, not %s", keys_text, got_found, found_text);
}

void api_export_is(const char *file, int line, const char *keys_text, const char *values_text)
{
    struct htstore_array keys = api_keys(keys_text), values = api_values(values_text);
    const char *expected = api_pairs(&keys, &values), *got = api_dump(api.table);
    if (strcmp(got, expected) != 0)
        api_fail(file, line, "export gave\n%sinstead of\n%s", got, expected);
    if (api_size(api.table) != api_count(&keys))
        api_fail(file, line, "size is not the number of exported rows");
}

/* ---- other processes ---- */

/* What a child tells its parent. */
struct verdict {
    int line;
    char message[sizeof api.error.message];
};

void api_run_in_child(int (*function)(void))
{
    int ends[2], status;
    struct verdict verdict = { .line = -1 };
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        verdict.line = function();
        memcpy(verdict.message, api.error.message, sizeof verdict.message);
        if (write(ends[1], &verdict, sizeof verdict) == sizeof verdict)
            kill(getpid(), SIGKILL); /* a plain exit would report the parent's memory as leaks */
        _exit(EXIT_FAILURE);
    }
    ck_assert_int_gt(pid, 0);
    close(ends[1]);
    ssize_t size = read(ends[0], &verdict, sizeof verdict);
    close(ends[0]);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(size == sizeof verdict && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
                  "the child ended with status %#x", (unsigned)status);
    ck_assert_msg(verdict.line == 0, "in the child, line %d; last message: %s", verdict.line, verdict.message);
}
