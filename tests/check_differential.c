/*
 * check_differential: long sequences of random operations on tables that grow and shrink, against a model that knows which
 * version of its value each key has (plain_rows). Everything goes through the public API; the memory for tables, the memory
 * for unflushed rows and much else changes whenever the store is opened.
 *
 * --steps=N and --seed=N, or HTSTORE_DIFFERENTIAL_STEPS and HTSTORE_DIFFERENTIAL_SEED, choose the sequence and its length.
 */
#include "api_util.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plain_model.h"

#define N_SEEDS 2
#define N_STEPS 30000
#define MAX_OPERATIONS 5

static uint64_t seed, step, n_steps;

static bool one_in(size_t n)
{
    return plain_pick(n) == 0;
}

static void fail_step(int line, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fail_step(int line, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ck_abort_msg("line %d, step %" PRIu64 ": %s; rerun: tests/check_differential --seed=%" PRIu64 " --steps=%" PRIu64,
                 line, step, text, seed, step + 1);
}

#define EXPECT(condition, ...)                                                                                         \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fail_step(__LINE__, __VA_ARGS__);                                                                          \
    } while (0)
#define DONE(call) expect_done(__LINE__, (call))

static void expect_done(int line, int result)
{
    if (result != 0)
        fail_step(line, "result %d: %s", result, api.error.message);
}

static struct plain_table tables[N_PLAIN_KINDS];
static struct plain_sample sample;
static uint8_t flags[PLAIN_MAX_ROWS];

static struct htstore_table *handle_of(const struct plain_table *t)
{
    return t->handles[plain_pick(t->n_handles)];
}

static uint32_t any_mode(void)
{
    return one_in(200) ? HTSTORE_SYNC : one_in(3) ? HTSTORE_DEFAULT_DURABILITY : HTSTORE_LAZY - (uint32_t)one_in(4);
}

static void expect_value(int line, const struct htstore_array *out, size_t i, uint64_t version)
{
    const size_t number = sample.numbers[i];

    if (!plain_is_value(sample.table->kind, out, i, number, version))
        fail_step(line, "table %s, row %zu of %zu, key %zu: not version %" PRIu64, sample.table->kind->name, i,
                  sample.n, number, version);
}

/* ---- operations on one table ---- */

static void do_lookup(struct plain_table *t)
{
    const bool with_found = !one_in(4);
    struct htstore_array one, *defaults;

    plain_sample(&sample, t, true);
    const uint64_t shared = plain_defaults(&sample, &one, &defaults);
    struct htstore_array out = plain_room(t->kind, sample.n, api.arena);
    plain_bend(&sample, defaults, &out);
    DONE(htstore_table_lookup(handle_of(t), &sample.keys, defaults, &out, with_found ? flags : NULL, &api.error));
    for (size_t i = 0; i < sample.n; i++) {
        const uint64_t version = plain_version(t, sample.numbers[i]);
        EXPECT(!with_found || flags[i] == (version != 0), "table %s, key %zu: found is %d", t->kind->name,
               sample.numbers[i], flags[i]);
        expect_value(__LINE__, &out, i, version ? version : shared ? shared : sample.versions[i]);
    }
}

static void do_insert(struct plain_table *t)
{
    plain_sample(&sample, t, false);
    DONE(htstore_table_insert(handle_of(t), &sample.keys, &sample.values, any_mode(), &api.error));
    for (size_t i = 0; i < sample.n; i++)
        plain_set(t, sample.numbers[i], sample.versions[i]);
}

static void do_remove(struct plain_table *t)
{
    plain_sample(&sample, t, false);
    DONE(htstore_table_remove(handle_of(t), &sample.keys, flags, any_mode(), &api.error));
    for (size_t i = 0; i < sample.n; i++) {
        EXPECT(flags[i] == (t->version_of[sample.numbers[i]] != 0), "removed[%zu] is %d", i, flags[i]);
        plain_set(t, sample.numbers[i], 0);
    }
}

static void insert_or_remove(struct plain_table *t)
{
    if (one_in(3) != t->shrinks)
        do_remove(t);
    else
        do_insert(t);
}

/* Applies the rows whose keys are absent; stops at the first one that is not if `all`. Returns where it stopped. */
static size_t apply_new(const struct plain_sample *s, bool all)
{
    size_t i = 0;

    for (; i < s->n; i++) {
        const bool absent = s->table->version_of[s->numbers[i]] == 0;
        if (absent)
            plain_set(s->table, s->numbers[i], s->versions[i]);
        else if (all)
            break;
    }
    return i;
}

static void do_insert_new(struct plain_table *t)
{
    struct plain_sample *s = &sample;
    const bool all = one_in(2);

    plain_sample(s, t, false);
    if (all)
        plain_cut(s, 10); /* lest all be refused */
    plain_begin();
    const size_t refused = apply_new(s, all);
    const uint32_t mode = any_mode() | (all ? HTSTORE_ALL_OR_NOTHING : 0);
    const int result = htstore_table_insert_new(handle_of(t), &s->keys, &s->values, flags, mode, &api.error);
    if (refused < s->n) {
        EXPECT(result == HTSTORE_EEXIST, "insert_new gave %d", result);
        EXPECT(api.error.index == (int64_t)refused, "index %" PRId64 ", not %zu", api.error.index, refused);
    } else {
        DONE(result);
        for (size_t i = 0; i < s->n; i++)
            EXPECT(flags[i] == (t->version_of[s->numbers[i]] == s->versions[i]), "inserted[%zu] is %d", i, flags[i]);
    }
    plain_end(refused < s->n);
}

static void do_find_or_insert(struct plain_table *t)
{
    struct htstore_array one, *candidates;

    plain_sample(&sample, t, false);
    const uint64_t shared = plain_defaults(&sample, &one, &candidates);
    struct htstore_array out = plain_room(t->kind, sample.n, api.arena);
    plain_bend(&sample, candidates, &out);
    DONE(htstore_table_find_or_insert(handle_of(t), &sample.keys, candidates, &out, flags, any_mode(), &api.error));
    for (size_t i = 0; i < sample.n; i++) {
        const uint64_t version = t->version_of[sample.numbers[i]];
        EXPECT(flags[i] == (version != 0), "found[%zu] is %d", i, flags[i]);
        if (version == 0)
            plain_set(t, sample.numbers[i], shared ? shared : sample.versions[i]);
        expect_value(__LINE__, &out, i, t->version_of[sample.numbers[i]]);
    }
}

static void do_import(struct plain_table *t)
{
    plain_sample(&sample, t, false);
    DONE(htstore_table_import(handle_of(t), &sample.keys, &sample.values, any_mode(), &api.error));
    plain_forget(t);
    for (size_t i = 0; i < sample.n; i++)
        plain_set(t, sample.numbers[i], sample.versions[i]);
}

static void do_clear(struct plain_table *t)
{
    DONE(htstore_table_clear(handle_of(t), any_mode(), &api.error));
    plain_forget(t);
}

static void do_export(struct plain_table *t)
{
    const size_t n_keys = t->kind->n_keys;
    uint8_t *seen = calloc(n_keys, 1);
    struct htstore_cursor *cursor;
    struct htstore_array keys, values;
    uint64_t n = 0;
    int result;

    if (!seen)
        abort();
    DONE(htstore_cursor_open(handle_of(t), &cursor, &api.error));
    EXPECT(htstore_cursor_count(cursor) == t->n_rows, "count of the cursor is not %" PRIu64, t->n_rows);
    const uint64_t block = 1 + plain_pick(4000);
    while ((result = htstore_cursor_next(cursor, block, api.arena, &keys, &values, &api.error)) == 0) {
        for (size_t i = 0; i < (size_t)keys.shape[0]; i++, n++) {
            const size_t number = plain_number(t->kind, &keys, i);
            EXPECT(number < n_keys && !seen[number] && t->version_of[number] != 0, "export shows key %zu", number);
            EXPECT(plain_is_value(t->kind, &values, i, number, t->version_of[number]), "export of key %zu", number);
            seen[number] = 1;
        }
        htstore_arena_reset(api.arena);
        plain_reset();
    }
    EXPECT(result == 1, "cursor gave %d: %s", result, api.error.message);
    EXPECT(n == t->n_rows, "export has %" PRIu64 " rows, not %" PRIu64, n, t->n_rows);
    htstore_cursor_close(cursor);
    free(seen);
}

/* ---- batches of two tables ---- */

/* Adds one random operation, and applies it to the model; returns whether the batch is refused there, and where. */
static bool add_operation(struct htstore_batch *batch, struct plain_table *t, size_t *refused)
{
    struct plain_sample *s = &sample;
    const size_t verb = plain_pick(50);

    plain_sample(s, t, false);
    if (verb == 0) {
        DONE(htstore_batch_clear(batch, handle_of(t), &api.error));
        plain_forget(t);
    } else if (verb <= 15) {
        DONE(htstore_batch_remove(batch, handle_of(t), &s->keys, &api.error));
        for (size_t i = 0; i < s->n; i++)
            plain_set(t, s->numbers[i], 0);
    } else if (verb <= 20) {
        DONE(htstore_batch_insert_new(batch, handle_of(t), &s->keys, &s->values, &api.error));
        *refused = apply_new(s, true);
        return *refused < s->n;
    } else {
        DONE(htstore_batch_insert(batch, handle_of(t), &s->keys, &s->values, &api.error));
        for (size_t i = 0; i < s->n; i++)
            plain_set(t, s->numbers[i], s->versions[i]);
    }
    return false;
}

static void do_batch(struct plain_table *t)
{
    struct plain_table *const pair[2] = { t, &tables[plain_pick(N_PLAIN_KINDS)] };
    struct htstore_batch *batch;
    size_t index = 0, other;
    bool refused = false;

    DONE(htstore_batch_new(api.store, &batch, &api.error));
    plain_begin();
    for (size_t n = plain_pick(MAX_OPERATIONS); n > 0; n--)
        if (add_operation(batch, pair[n % 2], refused ? &other : &index))
            refused = true;
    const int result = htstore_batch_commit(batch, any_mode(), &api.error);
    if (refused) {
        EXPECT(result == HTSTORE_EEXIST, "commit gave %d", result);
        EXPECT(api.error.index == (int64_t)index, "index %" PRId64 ", not %zu", api.error.index, index);
    } else {
        DONE(result);
    }
    plain_end(refused);
    htstore_batch_free(batch);
}

/* ---- the store ---- */

static void open_table(struct plain_table *t)
{
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = t->kind->key_dtype };

    schema.default_value = plain_shared(t->kind, 1);
    DONE(htstore_table_get_or_create(api.store, t->kind->name, &schema, &t->handles[t->n_handles++], &api.error));
}

static void close_handles(struct plain_table *t, size_t n_left)
{
    while (t->n_handles > n_left)
        DONE(htstore_table_close(t->handles[--t->n_handles], &api.error));
}

/* Often the last handle goes, and the table comes back. */
static void change_handles(struct plain_table *t)
{
    if (t->n_handles < PLAIN_MAX_HANDLES && one_in(2))
        open_table(t);
    else
        close_handles(t, plain_pick(t->n_handles));
    if (t->n_handles == 0)
        open_table(t);
}

static void drop_table(struct plain_table *t)
{
    close_handles(t, 0);
    DONE(htstore_table_drop(api.store, t->kind->name, &api.error));
    plain_forget(t);
    open_table(t);
}

/* From a few pages to more than there are rows. */
static void open_store(void)
{
    static const uint64_t cache_sizes[] = { 64u << 10, 64u << 10, 200u << 10, 1u << 20, 8u << 20, 0 };

    api.options.flags = HTSTORE_CREATE | (one_in(2) ? HTSTORE_NO_PRELOAD : 0);
    api.options.cache_bytes = cache_sizes[plain_pick(6)];
    api.options.durability = (uint32_t)plain_pick(4);
    api.options.delta_bytes = 64u << 10 << 2 * plain_pick(5);
    api.options.segment_bytes = 64u << 10 << 2 * plain_pick(4);
    api.options.max_open_tables = one_in(2) ? 12 : 0;
    DONE(htstore_open(api.path, &api.options, &api.store, &api.error));
    for (size_t i = 0; i < N_PLAIN_KINDS; i++)
        open_table(&tables[i]);
}

static uint64_t n_flushes, n_opens, most_rows; /* of a run: lest it test nothing */

static void close_store(void)
{
    const struct htstore_stats stats = api_stats();

    n_flushes += stats.flushes;
    n_opens++;
    for (size_t i = 0; i < N_PLAIN_KINDS; i++)
        close_handles(&tables[i], 0);
    DONE(htstore_close(api.store, &api.error));
    api.store = NULL;
}

static void reopen(struct plain_table *unused)
{
    (void)unused;
    close_store();
    open_store();
}

static void flush(struct plain_table *unused)
{
    (void)unused;
    DONE(htstore_flush(api.store, &api.error));
}

static void sync_store(struct plain_table *unused)
{
    (void)unused;
    DONE(htstore_sync(api.store, &api.error));
}

static void change_window(struct plain_table *t)
{
    plain_window(t);
}

/* ---- the run ---- */

static const struct {
    void (*run)(struct plain_table *table);
    unsigned weight;
} actions[] = {
    { do_lookup, 800 },     { insert_or_remove, 800 }, { do_insert_new, 120 }, { do_find_or_insert, 120 },
    { do_batch, 80 },       { do_export, 1 },          { do_import, 1 },       { do_clear, 1 },
    { change_handles, 12 }, { drop_table, 1 },         { reopen, 2 },          { flush, 4 },
    { sync_store, 4 },      { change_window, 10 },
};
#define N_ACTIONS (sizeof actions / sizeof actions[0])

static void run_step(void)
{
    struct plain_table *t = &tables[plain_pick(N_PLAIN_KINDS)];
    uint64_t size = UINT64_MAX;
    size_t total = 0, i = 0;

    if (t->kind->n_keys < 100 && !one_in(8)) /* large rows: less often */
        t = &tables[0];
    for (size_t a = 0; a < N_ACTIONS; a++)
        total += actions[a].weight;
    for (size_t at = plain_pick(total); at >= actions[i].weight; i++)
        at -= actions[i].weight;
    actions[i].run(t);
    DONE(htstore_table_size(handle_of(t), &size, &api.error));
    EXPECT(size == t->n_rows, "size of %s is %" PRIu64 ", not %" PRIu64, t->kind->name, size, t->n_rows);
    most_rows = size > most_rows ? size : most_rows;
    htstore_arena_reset(api.arena);
    plain_reset();
}

static uint64_t chosen(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

START_TEST(the_store_does_what_the_model_does)
{
    seed = chosen("HTSTORE_DIFFERENTIAL_SEED", (uint64_t)_i + 1);
    n_steps = chosen("HTSTORE_DIFFERENTIAL_STEPS", N_STEPS);
    plain_seed(seed);
    step = n_flushes = n_opens = most_rows = 0;
    for (size_t i = 0; i < N_PLAIN_KINDS; i++)
        plain_table_init(&tables[i], &plain_kinds[i]);
    open_store();
    for (step = 0; step < n_steps; step++)
        run_step();
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < N_PLAIN_KINDS; i++)
            do_export(&tables[i]);
        reopen(NULL);
    }
    close_store();
    for (size_t i = 0; i < N_PLAIN_KINDS; i++)
        plain_table_release(&tables[i]);
    plain_release();
    EXPECT(n_steps < N_STEPS || (n_flushes > 100 && n_opens > 10 && most_rows > 10000),
           "only %" PRIu64 " flushes, %" PRIu64 " openings, %" PRIu64 " rows at most", n_flushes, n_opens, most_rows);
}
END_TEST

/* A row of more than 64 KiB has memory of its own, which is set aside before it is known that the old one can be used. */
START_TEST(large_rows_that_are_replaced_take_no_more_memory)
{
    const struct plain_kind *kind = &plain_kinds[N_PLAIN_KINDS - 1];
    uint64_t before = 0;

    api.options.delta_bytes = 64u << 20;
    plain_seed(1);
    plain_table_init(&tables[0], kind);
    DONE(htstore_open(api.path, &api.options, &api.store, &api.error));
    open_table(&tables[0]);
    for (uint64_t version = 1; version <= 100; version++) {
        const size_t number = version % 3;
        const struct htstore_array keys = plain_keys(kind, &number, 1),
                                   values = plain_values(kind, &number, &version, 1);
        DONE(htstore_table_insert(tables[0].handles[0], &keys, &values, HTSTORE_LAZY, &api.error));
        if (version == 10)
            before = api_stats().cache_bytes;
        plain_reset();
    }
    EXPECT(api_stats().cache_bytes <= before, "%" PRIu64 " bytes became %" PRIu64, before, api_stats().cache_bytes);
    close_store();
    plain_table_release(&tables[0]);
    plain_release();
}
END_TEST

/* Into the environment, from where the test takes it. */
static bool take_argument(const char *argument)
{
    if (strncmp(argument, "--steps=", 8) == 0)
        return setenv("HTSTORE_DIFFERENTIAL_STEPS", argument + 8, 1) == 0;
    if (strncmp(argument, "--seed=", 7) == 0)
        return setenv("HTSTORE_DIFFERENTIAL_SEED", argument + 7, 1) == 0;
    return false;
}

int main(int argc, char **argv)
{
    Suite *suite = suite_create("differential");
    TCase *tests = tcase_create("differential");

    for (int i = 1; i < argc; i++)
        if (!take_argument(argv[i])) {
            (void)fprintf(stderr, "usage: check_differential [--steps=N] [--seed=N]\n");
            return 99;
        }
    const bool one_seed = getenv("HTSTORE_DIFFERENTIAL_SEED") != NULL;
    if (chosen("HTSTORE_DIFFERENTIAL_STEPS", N_STEPS) > N_STEPS)
        tcase_set_timeout(tests, 0);
    tcase_add_checked_fixture(tests, api_setup, api_teardown);
    tcase_add_loop_test(tests, the_store_does_what_the_model_does, 0, one_seed ? 1 : N_SEEDS);
    if (!one_seed)
        tcase_add_test(tests, large_rows_that_are_replaced_take_no_more_memory);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
