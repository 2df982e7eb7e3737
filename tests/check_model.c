/*
 * check_model: random operations on a store and on a plain model of it, compared after every step.
 *
 * HTSTORE_MODEL_SEED and HTSTORE_MODEL_STEPS in the environment choose the sequence and its length.
 */
#include "api_util.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define N_SEEDS 4
#define N_STEPS 2000
#define MAX_ROWS 600
#define MAX_HANDLES 3
#define MAX_OPERATIONS 5
#define LONG_PREFIX 600
#define ABSENT (-1)

/* ---- chance ---- */

static uint64_t seed, random_state, step, n_steps;

static uint64_t next_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9E3779B97F4A7C15); /* splitmix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static size_t pick(size_t n)
{
    return (size_t)(next_random() % n);
}

static bool one_in(size_t n)
{
    return pick(n) == 0;
}

static void fail_model(int line, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fail_model(int line, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ck_abort_msg("line %d, step %" PRIu64 ": %s; rerun: HTSTORE_MODEL_SEED=%" PRIu64 " HTSTORE_MODEL_STEPS=%" PRIu64
                 " tests/check_model",
                 line, step, text, seed, step + 1);
}

#define EXPECT(condition, ...)                                                                                         \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fail_model(__LINE__, __VA_ARGS__);                                                                         \
    } while (0)
#define DONE(call) expect_done(__LINE__, (call))

static void expect_done(int line, int result)
{
    if (result != 0)
        fail_model(line, "result %d: %s", result, api.error.message);
}

/* ---- tables: keys and rows by number, and which row each key has ---- */

struct kind {
    const char *name; /* NULL = anonymous */
    uint32_t key_dtype, value_dtype;
    const char *shape;
    size_t n_keys, n_rows;
};

static const struct kind kinds[] = {
    { "numbers", HTSTORE_INT64, HTSTORE_INT64, "", 600, 50 },
    { "words", HTSTORE_STRING, HTSTORE_STRING, "", 300, 40 },
    { "bytes", HTSTORE_INT8, HTSTORE_FLOAT32, "3", 256, 40 },
    { "floats", HTSTORE_FLOAT64, HTSTORE_INT16, "2,2", 200, 40 },
    { "set", HTSTORE_STRING, HTSTORE_UINT8, "0", 200, 2 },
    { NULL, HTSTORE_UINT32, HTSTORE_STRING, "2", 200, 40 },
    { "wide", HTSTORE_UINT16, HTSTORE_UINT64, "500", 600, 10 },
};
#define N_TABLES (sizeof kinds / sizeof kinds[0])

struct model {
    const struct kind *kind;
    struct htstore_array keys; /* shape [n_keys] */
    struct htstore_array rows; /* shape [n_rows] ++ value shape; row 0 is the default */
    struct htstore_table *handles[MAX_HANDLES];
    size_t n_handles;
    int row_of[MAX_ROWS]; /* number of the row under each key, or ABSENT */
};

static struct model tables[N_TABLES];

/* Some long keys that differ behind 600 equal bytes, and values of up to some KiB. */
static void vary_strings(struct htstore_array *array, size_t longest, uint8_t fill)
{
    struct htstore_bytes *elements = array->data;
    for (size_t i = 3; i < api_count(array); i += 4) {
        size_t prefix = i % 8 == 3 ? longest : i % longest;
        uint8_t *data = api_alloc(prefix + elements[i].size + 1);
        memset(data, fill, prefix);
        memcpy(data + prefix, elements[i].data, elements[i].size);
        elements[i] = (struct htstore_bytes){ .data = data, .size = prefix + elements[i].size };
    }
}

static void make_model(struct model *t, const struct kind *kind)
{
    char shape[40];
    memset(t, 0, sizeof *t);
    t->kind = kind;
    (void)snprintf(shape, sizeof shape, "%zu", kind->n_keys);
    t->keys = api_numbered(kind->key_dtype, shape, 0);
    if (kind->key_dtype == HTSTORE_STRING)
        vary_strings(&t->keys, LONG_PREFIX, 'k');
    (void)snprintf(shape, sizeof shape, "%zu%s%s", kind->n_rows, *kind->shape ? "," : "", kind->shape);
    t->rows = api_numbered(kind->value_dtype, shape, 20);
    if (kind->value_dtype == HTSTORE_STRING)
        vary_strings(&t->rows, 5000, 'v');
    for (size_t i = 0; i < MAX_ROWS; i++)
        t->row_of[i] = ABSENT;
}

static size_t model_size(const struct model *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->kind->n_keys; i++)
        n += t->row_of[i] != ABSENT;
    return n;
}

static struct htstore_table *handle_of(const struct model *t)
{
    return t->handles[pick(t->n_handles)];
}

static void open_table(struct model *t)
{
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = t->kind->key_dtype };
    schema.default_value = api_row(&t->rows, 0);
    if (!t->kind->name) {
        schema.flags = HTSTORE_ANONYMOUS;
        DONE(htstore_table_create(api.store, NULL, &schema, &t->handles[0], &api.error));
    } else if (one_in(2)) {
        DONE(htstore_table_get_or_create(api.store, t->kind->name, &schema, &t->handles[t->n_handles], &api.error));
    } else {
        int result = htstore_table_open(api.store, t->kind->name, &schema, &t->handles[t->n_handles], &api.error);
        if (result == HTSTORE_ENOTFOUND)
            result = htstore_table_create(api.store, t->kind->name, &schema, &t->handles[t->n_handles], &api.error);
        DONE(result);
    }
    t->n_handles++;
}

/* ---- rows that an operation works on ---- */

struct sample {
    struct model *table;
    size_t n;
    int key[MAX_ROWS], row[MAX_ROWS]; /* numbers */
    struct htstore_array keys, values;
};

static void gather(struct htstore_array *out, const struct htstore_array *from, const int *numbers, size_t n)
{
    struct htstore_array row = api_row(from, 0);
    size_t size = api_count(&row) * htstore_dtype_size(from->dtype);
    for (size_t i = 0; i < n; i++)
        memcpy((uint8_t *)out->data + i * size, (const uint8_t *)from->data + (size_t)numbers[i] * size, size);
}

static struct htstore_array with_keys_shape(const struct sample *s, const struct htstore_array *rows)
{
    struct htstore_array array = s->keys;
    array.dtype = rows->dtype;
    for (uint32_t d = 1; d < rows->rank; d++)
        array.shape[array.rank++] = rows->shape[d];
    struct htstore_array row = api_row(rows, 0);
    array.data = malloc(s->n * api_count(&row) * htstore_dtype_size(rows->dtype) + 1);
    ck_assert_ptr_nonnull(array.data);
    return array;
}

static void make_sample(struct sample *s, struct model *t)
{
    s->table = t;
    s->n = one_in(20) ? pick(MAX_ROWS) : pick(30);
    for (size_t i = 0; i < s->n; i++) {
        s->key[i] = (int)pick(t->kind->n_keys);
        s->row[i] = (int)pick(t->kind->n_rows);
    }
    s->keys = htstore_vector(t->kind->key_dtype, NULL, s->n);
    if (s->n == 1 && one_in(2))
        s->keys.rank = 0;
    else if (s->n % 2 == 0 && one_in(3))
        s->keys = htstore_matrix(t->kind->key_dtype, NULL, s->n / 2, 2);
    s->keys.data = malloc(s->n * htstore_dtype_size(t->kind->key_dtype) + 1);
    ck_assert_ptr_nonnull(s->keys.data);
    gather(&s->keys, &t->keys, s->key, s->n);
    s->values = with_keys_shape(s, &t->rows);
    gather(&s->values, &t->rows, s->row, s->n);
}

static void free_sample(struct sample *s)
{
    free(s->keys.data);
    free(s->values.data);
}

static void expect_row(int line, const struct model *t, const struct htstore_array *got, size_t i, int number)
{
    struct htstore_array row = api_row(&t->rows, 0);
    size_t n = api_count(&row);
    for (size_t j = 0; j < n; j++)
        if (!api_element_equal(got, i * n + j, &t->rows, (size_t)number * n + j))
            fail_model(line, "table %s, row %zu: not row %d", t->kind->name ? t->kind->name : "-", i, number);
}

static uint32_t any_mode(void)
{
    return one_in(4) ? (uint32_t)(1 + pick(3)) : one_in(2) ? HTSTORE_LAZY : HTSTORE_DEFAULT_DURABILITY;
}

/* Defaults or candidates: none, one row for all, or a row for each key. Sets s->row to what holds. */
static struct htstore_array *choose_defaults(struct sample *s, struct htstore_array *one)
{
    size_t form = pick(3);
    if (form == 2)
        return &s->values;
    int number = form == 1 ? (int)pick(s->table->kind->n_rows) : 0;
    *one = api_row(&s->table->rows, (size_t)number);
    for (size_t i = 0; i < s->n; i++)
        s->row[i] = number;
    return form == 1 ? one : NULL;
}

/* ---- operations on one table ---- */

/* More than the first map holds. */
static void fill_table(struct model *t)
{
    struct sample s = { .table = t, .n = t->kind->n_keys };
    for (size_t i = 0; i < s.n; i++) {
        s.key[i] = (int)i;
        s.row[i] = t->row_of[i] = (int)pick(t->kind->n_rows);
    }
    s.keys = t->keys;
    s.values = with_keys_shape(&s, &t->rows);
    gather(&s.values, &t->rows, s.row, s.n);
    DONE(htstore_table_insert(handle_of(t), &s.keys, &s.values, any_mode(), &api.error));
    free(s.values.data);
}

static void do_insert(struct model *t)
{
    struct sample s;
    make_sample(&s, t);
    DONE(htstore_table_insert(handle_of(t), &s.keys, &s.values, any_mode(), &api.error));
    for (size_t i = 0; i < s.n; i++)
        t->row_of[s.key[i]] = s.row[i];
    free_sample(&s);
}

/* The first row whose key is present, or came before; n if there is none. */
static size_t first_refused(const struct sample *s, const int *row_of)
{
    size_t i = 0;
    for (; i < s->n && row_of[s->key[i]] == ABSENT; i++)
        for (size_t j = 0; j < i; j++)
            if (s->key[j] == s->key[i])
                return i;
    return i;
}

static void do_insert_new(struct model *t)
{
    struct sample s;
    uint8_t inserted[MAX_ROWS];
    uint32_t flags = any_mode() | (one_in(2) ? HTSTORE_ALL_OR_NOTHING : 0);
    make_sample(&s, t);
    size_t refused = flags & HTSTORE_ALL_OR_NOTHING ? first_refused(&s, t->row_of) : s.n;
    int result = htstore_table_insert_new(handle_of(t), &s.keys, &s.values, inserted, flags, &api.error);
    if (refused < s.n) {
        EXPECT(result == HTSTORE_EEXIST, "insert_new gave %d", result);
        EXPECT(api.error.index == (int64_t)refused, "index %" PRId64 ", not %zu", api.error.index, refused);
    } else {
        DONE(result);
        for (size_t i = 0; i < s.n; i++) {
            bool absent = t->row_of[s.key[i]] == ABSENT;
            EXPECT(inserted[i] == absent, "inserted[%zu] is %d", i, inserted[i]);
            if (absent)
                t->row_of[s.key[i]] = s.row[i];
        }
    }
    free_sample(&s);
}

static void do_find_or_insert(struct model *t)
{
    struct sample s;
    struct htstore_array one, *candidates, out;
    uint8_t found[MAX_ROWS];
    make_sample(&s, t);
    candidates = choose_defaults(&s, &one);
    out = with_keys_shape(&s, &t->rows);
    out.arena = api.arena;
    DONE(htstore_table_find_or_insert(handle_of(t), &s.keys, candidates, &out, found, any_mode(), &api.error));
    for (size_t i = 0; i < s.n; i++) {
        int *row = &t->row_of[s.key[i]];
        EXPECT(found[i] == (*row != ABSENT), "found[%zu] is %d", i, found[i]);
        if (*row == ABSENT)
            *row = s.row[i];
        expect_row(__LINE__, t, &out, i, *row);
    }
    free(out.data);
    free_sample(&s);
}

static void do_lookup(struct model *t)
{
    struct sample s;
    struct htstore_array one, *defaults, out;
    uint8_t found[MAX_ROWS];
    make_sample(&s, t);
    defaults = choose_defaults(&s, &one);
    out = with_keys_shape(&s, &t->rows);
    out.arena = api.arena;
    DONE(htstore_table_lookup(handle_of(t), &s.keys, defaults, &out, found, &api.error));
    for (size_t i = 0; i < s.n; i++) {
        int row = t->row_of[s.key[i]];
        EXPECT(found[i] == (row != ABSENT), "found[%zu] is %d", i, found[i]);
        expect_row(__LINE__, t, &out, i, row == ABSENT ? s.row[i] : row);
    }
    free(out.data);
    free_sample(&s);
}

static void do_remove(struct model *t)
{
    struct sample s;
    uint8_t removed[MAX_ROWS];
    make_sample(&s, t);
    DONE(htstore_table_remove(handle_of(t), &s.keys, removed, any_mode(), &api.error));
    for (size_t i = 0; i < s.n; i++) {
        EXPECT(removed[i] == (t->row_of[s.key[i]] != ABSENT), "removed[%zu] is %d", i, removed[i]);
        t->row_of[s.key[i]] = ABSENT;
    }
    free_sample(&s);
}

static void forget_rows(struct model *t)
{
    for (size_t i = 0; i < MAX_ROWS; i++)
        t->row_of[i] = ABSENT;
}

static void do_clear(struct model *t)
{
    DONE(htstore_table_clear(handle_of(t), any_mode(), &api.error));
    forget_rows(t);
}

static void do_import(struct model *t)
{
    struct sample s;
    make_sample(&s, t);
    DONE(htstore_table_import(handle_of(t), &s.keys, &s.values, any_mode(), &api.error));
    forget_rows(t);
    for (size_t i = 0; i < s.n; i++)
        t->row_of[s.key[i]] = s.row[i];
    free_sample(&s);
}

/* ---- exports and cursors ---- */

struct walk {
    const struct model *table;
    struct htstore_cursor *cursor;
    int row_of[MAX_ROWS]; /* when it was opened */
    size_t size;
};

static uint64_t large_map; /* while a cursor is held, a small one could not grow */
static struct walk held; /* a cursor that stays open for some steps; cursor NULL = none */

static void open_walk(struct walk *w, const struct model *t)
{
    DONE(htstore_cursor_open(handle_of(t), &w->cursor, &api.error));
    w->table = t;
    w->size = model_size(t);
    memcpy(w->row_of, t->row_of, sizeof w->row_of);
    EXPECT(htstore_cursor_count(w->cursor) == w->size, "count of the cursor is not %zu", w->size);
}

static void expect_walk(struct walk *w)
{
    const struct model *t = w->table;
    struct htstore_array keys, values;
    size_t n = 0;
    int result;
    while ((result = htstore_cursor_next(w->cursor, 1 + pick(400), api.arena, &keys, &values, &api.error)) == 0) {
        for (size_t i = 0; i < api_count(&keys); i++, n++) {
            size_t number = 0;
            while (number < t->kind->n_keys && !api_element_equal(&keys, i, &t->keys, number))
                number++;
            EXPECT(number < t->kind->n_keys && w->row_of[number] != ABSENT, "export shows key %zu", number);
            expect_row(__LINE__, t, &values, i, w->row_of[number]);
            w->row_of[number] = ABSENT;
        }
    }
    EXPECT(result == 1, "cursor gave %d: %s", result, api.error.message);
    EXPECT(n == w->size, "export has %zu rows, not %zu", n, w->size);
    htstore_cursor_close(w->cursor);
    w->cursor = NULL;
}

static void do_export(struct model *t)
{
    struct walk w;
    open_walk(&w, t);
    expect_walk(&w);
}

static void hold_cursor(struct model *t)
{
    if (held.cursor)
        expect_walk(&held);
    else if (api.options.map_size == large_map)
        open_walk(&held, t);
}

/* ---- batches of several tables ---- */

/* Adds one random operation, and applies it to the trial; returns whether the batch is refused there, with the index. */
static bool add_operation(struct htstore_batch *batch, int trial[N_TABLES][MAX_ROWS], int64_t *index)
{
    size_t which = pick(N_TABLES), verb = pick(8);
    struct model *t = &tables[which];
    int *row_of = trial[which];
    struct sample s;
    bool refused = false;
    make_sample(&s, t);
    if (verb == 0) {
        DONE(htstore_batch_clear(batch, handle_of(t), &api.error));
        for (size_t i = 0; i < MAX_ROWS; i++)
            row_of[i] = ABSENT;
    } else if (verb <= 2) {
        DONE(htstore_batch_remove(batch, handle_of(t), &s.keys, &api.error));
        for (size_t i = 0; i < s.n; i++)
            row_of[s.key[i]] = ABSENT;
    } else if (verb == 3) {
        DONE(htstore_batch_insert_new(batch, handle_of(t), &s.keys, &s.values, &api.error));
        *index = (int64_t)first_refused(&s, row_of);
        refused = *index < (int64_t)s.n;
    } else {
        DONE(htstore_batch_insert(batch, handle_of(t), &s.keys, &s.values, &api.error));
    }
    for (size_t i = 0; verb > 2 && i < s.n; i++)
        row_of[s.key[i]] = s.row[i];
    free_sample(&s);
    return refused;
}

static void do_batch(struct model *unused)
{
    int trial[N_TABLES][MAX_ROWS];
    struct htstore_batch *batch;
    bool refused = false;
    int64_t index = -1, other;
    (void)unused;
    for (size_t i = 0; i < N_TABLES; i++)
        memcpy(trial[i], tables[i].row_of, sizeof trial[i]);
    DONE(htstore_batch_new(api.store, &batch, &api.error));
    for (size_t n = pick(MAX_OPERATIONS); n > 0; n--)
        refused |= add_operation(batch, trial, refused ? &other : &index);
    int result = htstore_batch_commit(batch, any_mode(), &api.error);
    if (refused) {
        EXPECT(result == HTSTORE_EEXIST, "commit gave %d", result);
        EXPECT(api.error.index == index, "index %" PRId64 ", not %" PRId64, api.error.index, index);
    } else {
        DONE(result);
        for (size_t i = 0; i < N_TABLES; i++)
            memcpy(tables[i].row_of, trial[i], sizeof trial[i]);
    }
    htstore_batch_free(batch);
}

/* ---- the store ---- */

static void close_handle(struct model *t, size_t i)
{
    DONE(htstore_table_close(t->handles[i], &api.error));
    t->handles[i] = t->handles[--t->n_handles];
}

static void change_handles(struct model *t)
{
    if (!t->kind->name)
        return;
    if (t->n_handles < MAX_HANDLES && one_in(2))
        open_table(t);
    else if (t->n_handles > 1 && !held.cursor)
        close_handle(t, pick(t->n_handles));
}

static void drop_table(struct model *t)
{
    if (held.cursor)
        return;
    while (t->n_handles)
        close_handle(t, 0);
    if (t->kind->name)
        DONE(htstore_table_drop(api.store, t->kind->name, &api.error));
    forget_rows(t);
    open_table(t);
}

static void open_store(bool small_map)
{
    api.options.flags = HTSTORE_CREATE | (one_in(2) ? HTSTORE_NO_PRELOAD : 0);
    api.options.cache_bytes = one_in(3) ? 1u << pick(20) : 0;
    api.options.map_size = small_map ? 1u << 20 : large_map;
    api.options.durability = (uint32_t)pick(4);
    api.options.delta_bytes = 64u << 10 << pick(3);
    api.options.segment_bytes = 64u << 10 << pick(2);
    api.options.max_open_tables = one_in(2) ? 20 : 0;
    DONE(htstore_open(api.path, &api.options, &api.store, &api.error));
    for (size_t i = 0; i < N_TABLES; i++)
        open_table(&tables[i]);
}

/* What must have happened in a long run, lest it test nothing. */
static uint64_t n_growths, n_flushes, most_segments;

static void count_events(void)
{
    struct htstore_stats stats = api_stats();
    uint64_t n_segments = stats.journal_bytes / api.options.segment_bytes;
    n_growths += stats.map_growths;
    n_flushes += stats.flushes;
    most_segments = n_segments > most_segments ? n_segments : most_segments;
}

static void close_store(void)
{
    if (held.cursor)
        expect_walk(&held);
    count_events();
    for (size_t i = 0; i < N_TABLES; i++) {
        while (tables[i].n_handles)
            close_handle(&tables[i], 0);
        if (!tables[i].kind->name)
            forget_rows(&tables[i]);
    }
    DONE(htstore_close(api.store, &api.error));
    api.store = NULL;
}

static void reopen(struct model *unused)
{
    (void)unused;
    close_store();
    open_store(one_in(2));
}

static void flush(struct model *unused)
{
    (void)unused;
    DONE(htstore_flush(api.store, &api.error));
}

static void sync_store(struct model *unused)
{
    (void)unused;
    DONE(htstore_sync(api.store, &api.error));
    struct htstore_stats stats = api_stats();
    EXPECT(stats.durable_lsn == stats.visible_lsn, "sync left LSNs behind");
}

/* ---- the run ---- */

static const struct {
    void (*run)(struct model *table);
    unsigned weight;
} actions[] = {
    { do_insert, 30 }, { do_lookup, 30 }, { do_remove, 15 },  { do_insert_new, 12 }, { do_find_or_insert, 12 },
    { do_batch, 12 },  { do_export, 3 },  { hold_cursor, 3 }, { change_handles, 4 }, { sync_store, 3 },
    { flush, 2 },      { do_clear, 1 },   { do_import, 2 },   { drop_table, 1 },     { reopen, 2 },
};
#define N_ACTIONS (sizeof actions / sizeof actions[0])

static void run_step(void)
{
    size_t total = 0, i = 0;
    for (size_t a = 0; a < N_ACTIONS; a++)
        total += actions[a].weight;
    struct model *t = &tables[pick(N_TABLES)];
    for (size_t at = pick(total); at >= actions[i].weight; i++)
        at -= actions[i].weight;
    actions[i].run(t);
    uint64_t size = UINT64_MAX;
    DONE(htstore_table_size(handle_of(t), &size, &api.error));
    EXPECT(size == model_size(t), "size of %s is %" PRIu64 ", not %zu", t->kind->name ? t->kind->name : "-", size,
           model_size(t));
    htstore_arena_reset(api.arena);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

START_TEST(the_store_does_what_the_model_does)
{
    random_state = seed = from_environment("HTSTORE_MODEL_SEED", (uint64_t)_i + 1);
    n_steps = from_environment("HTSTORE_MODEL_STEPS", N_STEPS);
    memset(&held, 0, sizeof held);
    large_map = api.options.map_size;
    for (size_t i = 0; i < N_TABLES; i++)
        make_model(&tables[i], &kinds[i]);
    step = n_growths = n_flushes = most_segments = 0;
    open_store(true);
    for (size_t i = 0; i < N_TABLES; i++)
        fill_table(&tables[i]);
    flush(NULL);
    for (step = 0; step < n_steps; step++)
        run_step();
    for (size_t i = 0; i < N_TABLES; i++)
        do_export(&tables[i]);
    reopen(NULL);
    for (size_t i = 0; i < N_TABLES; i++)
        do_export(&tables[i]);
    close_store();
    EXPECT(n_steps < N_STEPS || (n_growths > 0 && n_flushes > 100 && most_segments > 1),
           "only %" PRIu64 " growths, %" PRIu64 " flushes, %" PRIu64 " segments", n_growths, n_flushes, most_segments);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("model");
    TCase *tests = tcase_create("model");
    bool one_seed = getenv("HTSTORE_MODEL_SEED") != NULL;
    tcase_add_checked_fixture(tests, api_setup, api_teardown);
    tcase_add_loop_test(tests, the_store_does_what_the_model_does, 0, one_seed ? 1 : N_SEEDS);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
