/*
 * check_instant: checkpoints are of one instant, and restores one step, while threads write, read, make and drop objects.
 * Each test has an alarm: a deadlock ends it.
 */
#include "api_objects.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "build.h"
#include "bytes.h"
#include "snapshot.h"
#include "unpack.h"

#define N_WRITERS 4
#define N_KEYS 8 /* of each writer */
#define N_ROWS (N_WRITERS * N_KEYS)
#define COUNT_KEY 1000 /* plus the writer: how many batches it has made */
#define START 1000 /* under each key, in both tables */
#define N_CHECKPOINTS 200
#define N_ELEMENTS 20000 /* of the variable: several rows */
#define ALARM_SECONDS 240

static struct world {
    struct htstore_table *left, *right;
    struct htstore_variable *weights;
    struct htstore_mapping *models;
    struct htstore_checkpoint *checkpoint;
    _Atomic uint64_t acknowledged[N_WRITERS]; /* batches */
    _Atomic uint64_t n_assigned, n_made;
    _Atomic bool stop;
    _Atomic int wrong_line, wrong_result;
} w;

static void note(int line, int result)
{
    int none = 0;
    if (atomic_compare_exchange_strong(&w.wrong_line, &none, line))
        atomic_store(&w.wrong_result, result);
}

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            note(__LINE__, 0);                                                                                         \
    } while (0)
#define DONE(call) expect_done(__LINE__, (call))

static void expect_done(int line, int result)
{
    if (result != 0)
        note(line, result);
}

static bool is_over(void)
{
    return atomic_load(&w.stop) || atomic_load(&w.wrong_line) != 0;
}

static void check_wrong(void)
{
    ck_assert_msg(!w.wrong_line, "line %d of a thread, result %d", w.wrong_line, w.wrong_result);
}

static void setup(void)
{
    alarm(ALARM_SECONDS);
    api_setup();
    memset(&w, 0, sizeof w);
    api.options.durability = HTSTORE_LAZY;
    api.options.delta_bytes = 256u << 10;
    api.options.segment_bytes = 256u << 10;
}

static void teardown(void)
{
    htstore_checkpoint_close(w.checkpoint, NULL);
    objects_teardown();
    alarm(0);
}

/* ---- rows ---- */

static void get(struct htstore_table *table, const int64_t *keys, int64_t *values, size_t n)
{
    const struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, n);
    struct htstore_array v = htstore_vector(HTSTORE_INT64, values, n);
    DONE(htstore_table_lookup(table, &k, NULL, &v, NULL, NULL));
}

static void put(struct htstore_table *table, const int64_t *keys, const int64_t *values, size_t n)
{
    const struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, n);
    const struct htstore_array v = htstore_vector(HTSTORE_INT64, values, n);
    DONE(htstore_table_insert(table, &k, &v, 0, NULL));
}

/* The same rows, or these two sets, in both tables by one batch. */
static void put_both(const int64_t *keys, const int64_t *left, const int64_t *right, size_t n)
{
    const struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, n);
    const struct htstore_array l = htstore_vector(HTSTORE_INT64, left, n), r = htstore_vector(HTSTORE_INT64, right, n);
    struct htstore_batch *batch;

    DONE(htstore_batch_new(api.store, &batch, NULL));
    DONE(htstore_batch_insert(batch, w.left, &k, &l, NULL));
    DONE(htstore_batch_insert(batch, w.right, &k, &r, NULL));
    DONE(htstore_batch_commit(batch, 0, NULL));
    htstore_batch_free(batch);
}

static void assign_all(int64_t number)
{
    static int64_t elements[N_ELEMENTS]; /* of one thread */
    const struct htstore_array value = htstore_vector(HTSTORE_INT64, elements, N_ELEMENTS);

    for (size_t i = 0; i < N_ELEMENTS; i++)
        elements[i] = number;
    DONE(htstore_variable_assign(w.weights, &value, NULL));
}

static void make_world(void)
{
    static const int64_t zeros[N_ELEMENTS];
    struct htstore_variable_schema schema = { .size = sizeof schema };
    int64_t keys[N_ROWS], values[N_ROWS];

    api_open_store();
    w.left = new_table("left");
    w.right = new_table("right");
    w.models = new_mapping("models", 0);
    schema.initial_value = htstore_vector(HTSTORE_INT64, zeros, N_ELEMENTS);
    OK(htstore_variable_create(api.store, "weights", &schema, &w.weights, &api.error));
    objects_keep(w.weights);
    for (int64_t i = 0; i < N_ROWS; i++) {
        keys[i] = i;
        values[i] = START;
    }
    put_both(keys, values, values, N_ROWS);
    OK(htstore_checkpoint_new(api.store, NULL, &w.checkpoint, &api.error));
}

static void reopen_world(void)
{
    OK(htstore_checkpoint_close(w.checkpoint, &api.error));
    objects_close();
    api_close_store();
    api_open_store();
    OK(htstore_table_open(api.store, "left", NULL, &w.left, &api.error));
    OK(htstore_table_open(api.store, "right", NULL, &w.right, &api.error));
    OK(htstore_variable_open(api.store, "weights", NULL, &w.weights, &api.error));
    objects_keep(w.left);
    objects_keep(w.right);
    objects_keep(w.weights);
    OK(htstore_checkpoint_new(api.store, NULL, &w.checkpoint, &api.error));
}

/* ---- threads ---- */

/* Move from left to right or back, rows of this writer alone; and count the batch in both. */
static void *move_numbers(void *argument)
{
    const int64_t writer = (int64_t)(intptr_t)argument;
    int64_t keys[N_KEYS + 1], left[N_KEYS + 1], right[N_KEYS + 1];

    for (int64_t i = 0; i < N_KEYS; i++) {
        keys[i] = writer * N_KEYS + i;
        left[i] = right[i] = START;
    }
    keys[N_KEYS] = COUNT_KEY + writer;
    for (int64_t n = 1; !is_over(); n++) {
        const int64_t at = n % N_KEYS, amount = n % 2 ? n % 97 : -(n % 89);
        left[at] -= amount;
        right[at] += amount;
        left[N_KEYS] = right[N_KEYS] = n;
        put_both(keys, left, right, N_KEYS + 1);
        atomic_store(&w.acknowledged[writer], (uint64_t)n);
    }
    return NULL;
}

static void *assign_weights(void *argument)
{
    (void)argument;
    for (int64_t n = 1; !is_over(); n++) {
        assign_all(n);
        atomic_store(&w.n_assigned, (uint64_t)n);
    }
    return NULL;
}

/* Each model that is in the mapping has its row, for that came first. */
static void *make_models(void *argument)
{
    const int64_t none = -1; /* api_schema() is for one thread alone */
    char name[32];

    (void)argument;
    for (int64_t n = 1; !is_over(); n++) {
        struct htstore_schema schema = { .size = sizeof schema,
                                         .key_dtype = HTSTORE_INT64,
                                         .default_value = htstore_scalar(HTSTORE_INT64, &none) };
        struct htstore_table *table;
        struct htstore_bytes key = { name, (size_t)snprintf(name, sizeof name, "m%d", (int)n) };
        if (n < 100)
            schema.flags = HTSTORE_ANONYMOUS;
        DONE(htstore_table_create(api.store, n < 100 ? NULL : "passing", &schema, &table, NULL));
        put(table, &n, &n, 1);
        if (n < 100)
            DONE(htstore_mapping_put(w.models, &key, table, NULL));
        DONE(htstore_table_close(table, NULL));
        if (n >= 100)
            DONE(htstore_table_drop(api.store, "passing", NULL));
        if (n < 100)
            atomic_store(&w.n_made, (uint64_t)n);
    }
    return NULL;
}

struct crew {
    pthread_t threads[N_WRITERS + 4];
    int n;
};

static void begin(struct crew *crew, void *(*run)(void *argument), intptr_t argument)
{
    ck_assert_int_eq(pthread_create(&crew->threads[crew->n++], NULL, run, (void *)argument), 0);
}

static void join(struct crew *crew)
{
    while (crew->n > 0)
        ck_assert_int_eq(pthread_join(crew->threads[--crew->n], NULL), 0);
}

static void stop(struct crew *crew)
{
    atomic_store(&w.stop, true);
    join(crew);
    atomic_store(&w.stop, false);
    check_wrong();
}

/* ---- reading a file without a store ---- */

struct contents {
    const struct hti_snap_graph *graph;
    uint32_t left, right, weights, models;
    int64_t sums[2], counts[2][N_WRITERS];
    int64_t weight; /* of all elements */
    uint64_t n_models, n_model_rows;
};

static uint32_t child(const struct hti_snap_graph *graph, uint32_t node, const char *name)
{
    const struct hti_snap_edge *edges = hti_snap_graph_edges(graph, node);

    for (uint32_t i = 0; i < graph->nodes[node].n_edges; i++)
        if (edges[i].name_size == strlen(name) &&
            memcmp(hti_snap_graph_name(graph, &edges[i]), name, edges[i].name_size) == 0)
            return edges[i].child;
    ck_abort_msg("no %s in the snapshot", name);
}

static void take_number(struct contents *c, int side, int64_t key, int64_t value)
{
    if (key < COUNT_KEY)
        c->sums[side] += value;
    else
        c->counts[side][key - COUNT_KEY] = value;
}

static void take_elements(struct contents *c, uint64_t row, const uint8_t *value, size_t n)
{
    for (size_t i = 0; i < n && row * n + i < N_ELEMENTS; i++) {
        const int64_t element = (int64_t)hti_load_le64(value + 8 * i);
        ck_assert_msg(c->weight == -1 || c->weight == element, "the variable is of two assignments");
        c->weight = element;
    }
}

static int take_rows(void *user, const struct hti_unpacked *rows, struct htstore_error *error)
{
    struct contents *c = user;
    const uint8_t *at = rows->stored, *end = at + rows->stored_size;
    struct hti_unpacked_row stored;
    struct hti_row_type type;
    struct hti_hash128 hash;
    struct hti_row row;
    uint8_t space[8];

    (void)error;
    hti_snap_node_row_type(&c->graph->nodes[rows->node], &type);
    while (hti_unpacked_next(&at, end, &stored)) {
        ck_assert_int_eq(hti_codec_load_row(&type, 1, stored.key, stored.key_size, stored.value, stored.value_size,
                                            space, &row, &hash),
                         0);
        const int64_t key = (int64_t)hti_load_le64(row.key);
        if (rows->node == c->weights)
            take_elements(c, (uint64_t)key, row.value, row.value_size / 8);
        else if (rows->node == c->left || rows->node == c->right)
            take_number(c, rows->node == c->right, key, (int64_t)hti_load_le64(row.value));
        else if (c->graph->nodes[rows->node].parent == c->models)
            c->n_model_rows++;
    }
    return 0;
}

static void read_file(const char *path, struct contents *c)
{
    struct hti_snapread *reader;
    uint64_t *ids;
    int fd;

    memset(c, 0, sizeof *c);
    OK(hti_snapshot_open(AT_FDCWD, path, path, &fd, &reader, &api.error));
    c->graph = hti_snapread_graph(reader);
    c->left = child(c->graph, 0, "left");
    c->right = child(c->graph, 0, "right");
    c->weights = child(c->graph, 0, "weights");
    c->models = child(c->graph, 0, "models");
    c->n_models = c->graph->nodes[c->models].n_edges;
    c->weight = -1;
    ids = calloc(c->graph->n_nodes, sizeof *ids);
    for (uint32_t i = 0; i < c->graph->n_nodes; i++)
        ids[i] = 1;
    const struct hti_unpack_options options = { .threads = 1, .ids = ids, .rows = take_rows, .user = c };
    OK(hti_unpack_all(reader, &options, &api.error));
    free(ids);
    hti_snapread_close(reader);
    close(fd);
}

/* ---- one instant ---- */

static void note_acknowledged(uint64_t counts[N_WRITERS])
{
    for (int i = 0; i < N_WRITERS; i++)
        counts[i] = atomic_load(&w.acknowledged[i]);
}

/* What was acknowledged before the call is there; what had not even begun after it is not. */
static void check_contents(const struct contents *c, const uint64_t before[N_WRITERS], const uint64_t after[N_WRITERS])
{
    ck_assert_int_eq(c->sums[0] + c->sums[1], (int64_t)2 * START * N_ROWS);
    for (int i = 0; i < N_WRITERS; i++) {
        ck_assert_int_eq(c->counts[0][i], c->counts[1][i]);
        ck_assert_uint_ge((uint64_t)c->counts[0][i], before[i]);
        ck_assert_uint_le((uint64_t)c->counts[0][i], after[i] + 1);
    }
}

/* Also with a library's eyes: in another store. */
static void check_restored(const char *path, const struct contents *c)
{
    const struct htstore_snapshot_restore_options options = { .size = sizeof options, .flags = HTSTORE_VERIFY_QUICK };
    const struct htstore_options reading = { .size = sizeof reading, .flags = HTSTORE_READONLY };
    const char *copy = api_path("copy");
    struct htstore_table *tables[2];
    struct htstore *store;
    int64_t keys[N_ROWS], values[N_ROWS], sum = 0;

    OK(htstore_snapshot_restore(path, -1, copy, &options, NULL, &api.error));
    OK(htstore_open(copy, &reading, &store, &api.error));
    for (int64_t i = 0; i < N_ROWS; i++)
        keys[i] = i;
    for (int side = 0; side < 2; side++) {
        OK(htstore_table_open(store, side ? "right" : "left", NULL, &tables[side], &api.error));
        get(tables[side], keys, values, N_ROWS);
        for (int i = 0; i < N_ROWS; i++)
            sum += values[i];
        OK(htstore_table_close(tables[side], &api.error));
    }
    ck_assert_int_eq(sum, c->sums[0] + c->sums[1]);
    OK(htstore_close(store, &api.error));
    char command[600];
    (void)snprintf(command, sizeof command, "rm -r '%s'", copy);
    ck_assert_int_eq(system(command), 0);
}

static void save_once(int i)
{
    uint64_t before[N_WRITERS], after[N_WRITERS];
    const uint64_t assigned = atomic_load(&w.n_assigned), made = atomic_load(&w.n_made);
    struct contents c;
    const char *path;

    note_acknowledged(before);
    OK(htstore_checkpoint_save(w.checkpoint, api_path("ckpt"), NULL, api.arena, &path, &api.error));
    note_acknowledged(after);
    read_file(path, &c);
    check_contents(&c, before, after);
    ck_assert_uint_ge((uint64_t)c.weight, assigned);
    ck_assert_uint_le((uint64_t)c.weight, atomic_load(&w.n_assigned) + 1);
    ck_assert_uint_ge(c.n_models, made);
    ck_assert_uint_eq(c.n_model_rows, c.n_models);
    if (i % 40 == 39)
        check_restored(path, &c);
    ck_assert_int_eq(unlink(path), 0);
}

START_TEST(every_checkpoint_is_of_one_instant)
{
    struct crew crew = { .n = 0 };

    make_world();
    for (intptr_t i = 0; i < N_WRITERS; i++)
        begin(&crew, move_numbers, i);
    begin(&crew, assign_weights, 0);
    begin(&crew, make_models, 0);
    for (int i = 0; i < N_CHECKPOINTS; i++)
        save_once(i);
    stop(&crew);
    ck_assert_int_eq(htstore_checkpoint_save_counter(w.checkpoint), N_CHECKPOINTS);
}
END_TEST

/* ---- writers go on ---- */

struct pause {
    uint64_t at_first[N_WRITERS]; /* acknowledged at the first call, when the instant has been */
    unsigned n;
};

static int wait_for_writers(void *user, const char *phase, uint64_t done, uint64_t total)
{
    struct pause *pause = user;
    uint64_t now[N_WRITERS];
    bool enough;

    (void)phase;
    (void)done;
    (void)total;
    if (pause->n++ == 0)
        note_acknowledged(pause->at_first);
    do {
        enough = true;
        note_acknowledged(now);
        for (int i = 0; i < N_WRITERS; i++)
            enough = enough && now[i] >= pause->at_first[i] + 100;
    } while (!enough && !is_over());
    return 0;
}

START_TEST(writers_go_on_while_a_save_runs)
{
    struct crew crew = { .n = 0 };
    struct pause pause = { .n = 0 };
    const struct htstore_snapshot_options options = { .size = sizeof options,
                                                      .progress = wait_for_writers,
                                                      .progress_user = &pause };
    uint64_t before[N_WRITERS];
    struct contents c;

    make_world();
    for (intptr_t i = 0; i < N_WRITERS; i++)
        begin(&crew, move_numbers, i);
    note_acknowledged(before);
    OK(htstore_checkpoint_write(w.checkpoint, api_path("file"), &options, &api.error));
    stop(&crew);
    ck_assert_uint_gt(pause.n, 0);
    read_file(api_path("file"), &c);
    check_contents(&c, before, pause.at_first);
}
END_TEST

/* ---- saves take turns ---- */

#define N_SAVES 15

static void *save_many(void *argument)
{
    char prefix[300];

    (void)snprintf(prefix, sizeof prefix, "%s/ckpt", api.directory);
    (void)argument;
    for (int i = 0; i < N_SAVES; i++)
        DONE(htstore_checkpoint_save(w.checkpoint, prefix, NULL, NULL, NULL, NULL));
    return NULL;
}

START_TEST(saves_of_many_threads_take_one_number_each)
{
    struct crew crew = { .n = 0 };
    char name[32];

    make_world();
    for (int i = 0; i < N_WRITERS; i++)
        begin(&crew, save_many, 0);
    join(&crew);
    check_wrong();
    ck_assert_int_eq(htstore_checkpoint_save_counter(w.checkpoint), N_SAVES * N_WRITERS);
    for (int i = 1; i <= N_SAVES * N_WRITERS; i++) {
        (void)snprintf(name, sizeof name, "ckpt-%d", i);
        OK(hti_snapshot_verify(AT_FDCWD, api_path(name), ".", 1, NULL, &api.error));
    }
}
END_TEST

static int save_the_same(void *user, const char *phase, uint64_t done, uint64_t total)
{
    struct htstore_checkpoint *other = user;
    const struct htstore_snapshot_options options = { .size = sizeof options, .flags = HTSTORE_REPLACE };

    (void)phase;
    (void)done;
    (void)total;
    EXPECT(htstore_checkpoint_write(other, api_path("file"), &options, NULL) == HTSTORE_EBUSY);
    return 0;
}

START_TEST(a_save_does_not_take_the_file_of_another_store)
{
    struct htstore_options options;
    struct htstore_snapshot_options slow = { .size = sizeof slow, .progress = save_the_same };
    struct htstore_checkpoint *other;
    struct htstore *store;

    make_world();
    options = api.options;
    OK(htstore_open(api_path("other"), &options, &store, &api.error));
    OK(htstore_checkpoint_new(store, NULL, &other, &api.error));
    slow.progress_user = other;
    OK(htstore_checkpoint_write(w.checkpoint, api_path("file"), &slow, &api.error));
    OK(hti_snapshot_verify(AT_FDCWD, api_path("file"), ".", 1, NULL, &api.error));
    check_wrong();
    OK(htstore_checkpoint_close(other, &api.error));
    OK(htstore_close(store, &api.error));
}
END_TEST

/* ---- restores are one step ---- */

#define N_VERSIONS 25

static const char *version_path(int version)
{
    char name[32];
    (void)snprintf(name, sizeof name, "version-%d", version);
    return api_path(name);
}

static void write_versions(void)
{
    int64_t keys[N_ROWS], values[N_ROWS];

    for (int version = 0; version <= N_VERSIONS; version++) {
        for (int64_t i = 0; i < N_ROWS; i++) {
            keys[i] = i;
            values[i] = version;
        }
        put_both(keys, values, values, N_ROWS);
        assign_all(version);
        OK(htstore_checkpoint_write(w.checkpoint, version_path(version), NULL, &api.error));
    }
}

static int restore(const char *path)
{
    struct htstore_restore *status;
    const int rc = htstore_checkpoint_restore(w.checkpoint, path, NULL, &status, &api.error);

    if (rc == 0)
        htstore_restore_release(status);
    return rc;
}

static int64_t read_weights(void)
{
    static _Thread_local int64_t elements[N_ELEMENTS];
    struct htstore_array value = htstore_vector(HTSTORE_INT64, elements, N_ELEMENTS);

    DONE(htstore_variable_read(w.weights, &value, NULL));
    for (size_t i = 1; i < N_ELEMENTS; i++)
        EXPECT(elements[i] == elements[0]);
    return elements[0];
}

static int64_t read_version(struct htstore_table *table)
{
    int64_t keys[N_ROWS], values[N_ROWS];

    for (int64_t i = 0; i < N_ROWS; i++)
        keys[i] = i;
    get(table, keys, values, N_ROWS);
    for (int i = 1; i < N_ROWS; i++)
        EXPECT(values[i] == values[0]);
    return values[0];
}

/* Whoever reads the objects in turn never sees one go back behind another: they all switch at once. */
static void *read_versions(void *argument)
{
    int64_t last = 0;

    (void)argument;
    for (int i = 0; !is_over(); i++) {
        const int64_t version = i % 7 == 6 ? read_weights() : read_version(i % 2 ? w.right : w.left);
        EXPECT(version >= last);
        last = version;
    }
    return NULL;
}

START_TEST(a_restore_switches_all_objects_in_one_step)
{
    struct crew crew = { .n = 0 };

    if (_i) {
        api.options.flags |= HTSTORE_NO_PRELOAD;
        api.options.cache_bytes = 4096;
    }
    make_world();
    write_versions();
    if (_i)
        reopen_world();
    ck_assert_int_eq(restore(version_path(0)), 0);
    for (int i = 0; i < 3; i++)
        begin(&crew, read_versions, 0);
    for (int version = 1; version <= N_VERSIONS; version++)
        ck_assert_int_eq(restore(version_path(version)), 0);
    stop(&crew);
    ck_assert_int_eq(read_version(w.left), N_VERSIONS);
}
END_TEST

/* ---- one place among all changes ---- */

#define N_ROUNDS 30
#define N_AFTER 20 /* batches of each writer after the restore, at least */
#define MAX_BATCHES 3000 /* of a writer in a round */
#define OWN_KEY 1000000

static struct {
    _Atomic unsigned n_begun, n_done; /* restores */
    int64_t base; /* counts of this round begin above it */
    int64_t n_batches[N_WRITERS]; /* of this round */
} round_;

static int64_t count_in(struct htstore_table *table, int64_t writer)
{
    const int64_t key = COUNT_KEY + writer;
    int64_t value = -2;

    get(table, &key, &value, 1);
    return value;
}

/* Each batch also leaves a row of its own. While no restore runs, what this thread wrote last is there. */
static void *count_up(void *argument)
{
    const int64_t writer = (int64_t)(intptr_t)argument;
    const unsigned n_done = (unsigned)(round_.base / MAX_BATCHES);
    int n_after = 0;

    round_.n_batches[writer] = 0;
    for (int64_t n = round_.base + 1; n < round_.base + MAX_BATCHES && n_after < N_AFTER && !is_over(); n++) {
        n_after += atomic_load(&round_.n_done) > n_done;
        const unsigned done = atomic_load(&round_.n_done), begun = atomic_load(&round_.n_begun);
        const int64_t keys[2] = { COUNT_KEY + writer, OWN_KEY + writer * MAX_BATCHES + n - round_.base - 1 };
        const int64_t values[2] = { n, n };
        put_both(keys, values, values, 2);
        round_.n_batches[writer]++;
        atomic_store(&w.acknowledged[writer], (uint64_t)n);
        const int64_t seen = count_in(n % 2 ? w.left : w.right, writer);
        EXPECT(seen == n || seen == 0);
        if (begun == done && atomic_load(&round_.n_begun) == begun)
            EXPECT(seen == n);
    }
    return NULL;
}

/* What was acknowledged before the restore began is gone when it is done. */
static void restore_among_writers(const char *path)
{
    uint64_t before[N_WRITERS];

    atomic_fetch_add(&round_.n_begun, 1);
    note_acknowledged(before);
    ck_assert_int_eq(restore(path), 0);
    for (int i = 0; i < N_WRITERS; i++) {
        const int64_t left = count_in(w.left, i);
        ck_assert(left == 0 || (uint64_t)left > before[i]);
    }
    atomic_fetch_add(&round_.n_done, 1);
}

/* In both tables alike: what came before the restore is gone, what came after it is there, and nothing lies between. */
static void check_writer(int64_t writer)
{
    static int64_t keys[MAX_BATCHES], left[MAX_BATCHES], right[MAX_BATCHES];
    const int64_t count = count_in(w.left, writer), n = round_.n_batches[writer];

    for (int64_t i = 0; i < n; i++)
        keys[i] = OWN_KEY + writer * MAX_BATCHES + i;
    get(w.left, keys, left, (size_t)n);
    get(w.right, keys, right, (size_t)n);
    ck_assert_int_eq(memcmp(left, right, (size_t)n * sizeof *left), 0);
    ck_assert_int_eq(count, count_in(w.right, writer));
    ck_assert_int_eq(count, left[n - 1] == -1 ? 0 : round_.base + n);
    for (int64_t i = 1; i < n; i++)
        ck_assert(left[i - 1] == -1 || left[i] != -1);
}

static void check_round(uint64_t sizes[2])
{
    for (int64_t i = 0; i < N_WRITERS; i++)
        check_writer(i);
    sizes[0] = api_size(w.left);
    sizes[1] = api_size(w.right);
}

START_TEST(a_restore_has_one_place_among_all_changes)
{
    struct crew crew = { .n = 0 };
    uint64_t sizes[2];
    const int64_t none = 0;

    if (_i) {
        api.options.flags |= HTSTORE_NO_PRELOAD;
        api.options.cache_bytes = 4096;
        api.options.delta_bytes = 64u << 10;
    }
    memset(&round_, 0, sizeof round_);
    make_world();
    for (int64_t i = 0; i < N_WRITERS; i++) {
        const int64_t key = COUNT_KEY + i;
        put_both(&key, &none, &none, 1);
    }
    OK(htstore_checkpoint_write(w.checkpoint, api_path("file"), NULL, &api.error));
    for (int i = 0; i < N_ROUNDS; i++) {
        round_.base = (int64_t)i * MAX_BATCHES;
        for (intptr_t k = 0; k < N_WRITERS; k++)
            begin(&crew, count_up, k);
        restore_among_writers(api_path("file"));
        join(&crew);
        check_wrong();
        check_round(sizes);
        reopen_world();
        ck_assert_uint_eq(api_size(w.left), sizes[0]); /* on disk too */
        ck_assert_uint_eq(api_size(w.right), sizes[1]);
        check_round(sizes);
    }
    check_wrong();
}
END_TEST

/* ---- additions while a restore loads ---- */

struct adder {
    struct htstore_mapping *root;
    struct htstore_table *late;
    unsigned n;
};

/* From another thread, as the callback's own must not call into the store. */
static void *add_late(void *argument)
{
    struct adder *adder = argument;
    const struct htstore_bytes key = bytes_of("late");

    DONE(htstore_mapping_put(adder->root, &key, adder->late, NULL));
    EXPECT(read_version(w.left) == 7); /* the restore is not over */
    return NULL;
}

static int add_while_loading(void *user, const char *phase, uint64_t done, uint64_t total)
{
    struct adder *adder = user;
    pthread_t thread;

    (void)phase;
    (void)done;
    (void)total;
    if (adder->n++ > 0)
        return 0;
    EXPECT(pthread_create(&thread, NULL, add_late, adder) == 0);
    EXPECT(pthread_join(thread, NULL) == 0);
    return 0;
}

static int add_and_cancel(void *user, const char *phase, uint64_t done, uint64_t total)
{
    struct adder *adder = user;
    if (adder->n > 0)
        return 1;
    return add_while_loading(user, phase, done, total);
}

static void fill(struct htstore_table *table, int64_t number)
{
    int64_t keys[N_ROWS], values[N_ROWS];

    for (int64_t i = 0; i < N_ROWS; i++) {
        keys[i] = i;
        values[i] = number;
    }
    put(table, keys, values, N_ROWS);
}

/* A file whose root has "early" with 3 and "late" with 4; and a live root with "early" alone, of 7. */
static void begin_late(struct adder *adder)
{
    struct htstore_mapping *full;
    struct htstore_checkpoint_options options = { .size = sizeof options };
    struct htstore_checkpoint *saver;

    api_open_store();
    w.left = new_table("early");
    adder->late = new_table("late");
    adder->n = 0;
    fill(w.left, 3);
    fill(adder->late, 4);
    full = new_mapping("full", 0);
    PUT(full, "early", w.left);
    PUT(full, "late", adder->late);
    options.root = full;
    OK(htstore_checkpoint_new(api.store, &options, &saver, &api.error));
    OK(htstore_checkpoint_write(saver, api_path("file"), NULL, &api.error));
    OK(htstore_checkpoint_close(saver, &api.error));
    fill(w.left, 7);
    fill(adder->late, 8);
    adder->root = new_mapping("root", 0);
    PUT(adder->root, "early", w.left);
    options.root = adder->root;
    OK(htstore_checkpoint_new(api.store, &options, &w.checkpoint, &api.error));
}

START_TEST(what_is_added_while_a_restore_loads_is_restored_with_all_else)
{
    struct adder adder;
    struct htstore_snapshot_options options = { .size = sizeof options,
                                                .progress = add_while_loading,
                                                .progress_user = &adder };
    struct htstore_restore *status;

    begin_late(&adder);
    OK(htstore_checkpoint_restore(w.checkpoint, api_path("file"), &options, &status, &api.error));
    check_wrong();
    ck_assert_int_eq(read_version(w.left), 3);
    ck_assert_int_eq(read_version(adder.late), 4);
    OK(htstore_restore_assert_consumed(status, &api.error));
    ck_assert_int_eq(htstore_restore_release(status), 0);
}
END_TEST

START_TEST(a_restore_that_fails_leaves_what_was_added_meanwhile)
{
    struct adder adder;
    struct htstore_snapshot_options options = { .size = sizeof options,
                                                .progress = add_and_cancel,
                                                .progress_user = &adder };
    struct htstore_restore *status;

    begin_late(&adder);
    REFUSED(htstore_checkpoint_restore(w.checkpoint, api_path("file"), &options, &status, &api.error),
            HTSTORE_ECANCELED, "");
    check_wrong();
    ck_assert_int_eq(read_version(w.left), 7);
    ck_assert_int_eq(read_version(adder.late), 8);
    KEYS_ARE(adder.root, "early late");
}
END_TEST

/* ---- nobody waits for ever ---- */

#define N_BLOBS 40

/* Rows that fill the memory for unflushed ones again and again. */
static void *press(void *argument)
{
    const int64_t writer = (int64_t)(intptr_t)argument;
    int64_t keys[64], values[64];

    for (int64_t n = 0; n < N_BLOBS && !is_over(); n++) {
        for (int64_t i = 0; i < 64; i++) {
            keys[i] = COUNT_KEY + (n * 64 + i) * N_WRITERS + writer;
            values[i] = n;
        }
        put_both(keys, values, values, 64);
    }
    return NULL;
}

static void *find_or_insert(void *argument)
{
    const int64_t writer = (int64_t)(intptr_t)argument;
    int64_t values[16], keys[16];
    uint8_t found[16];
    const struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, 16);

    for (int64_t n = 0; n < 3 * N_BLOBS && !is_over(); n++) {
        struct htstore_array v = htstore_vector(HTSTORE_INT64, values, 16);
        for (int64_t i = 0; i < 16; i++)
            keys[i] = 100000 + n * 8 + i;
        DONE(htstore_table_find_or_insert(n % 2 ? w.left : w.right, &k, &k, &v, found, 0, NULL));
        for (int i = 0; i < 16; i++)
            EXPECT(values[i] == keys[i]);
        if (n % 10 == 9)
            DONE(htstore_table_remove(writer ? w.left : w.right, &k, found, 0, NULL));
    }
    return NULL;
}

static void *assign_slices(void *argument)
{
    int64_t elements[100] = { 0 };
    const struct htstore_array value = htstore_vector(HTSTORE_INT64, elements, 100);

    (void)argument;
    for (int64_t n = 0; n < N_BLOBS && !is_over(); n++)
        DONE(htstore_variable_assign_slice(w.weights, n * 100 % (N_ELEMENTS - 100), &value, NULL));
    return NULL;
}

static void *walk_slowly(void *argument)
{
    struct htstore_arena *arena;
    struct htstore_array k, v;

    (void)argument;
    DONE(htstore_arena_new(&arena, NULL));
    while (!is_over()) {
        struct htstore_cursor *cursor;
        int rc;
        DONE(htstore_cursor_open(w.left, &cursor, NULL));
        do {
            rc = htstore_cursor_next(cursor, 50, arena, &k, &v, NULL);
            EXPECT(rc >= 0);
            htstore_arena_reset(arena);
        } while (rc == 0 && !is_over());
        htstore_cursor_close(cursor);
    }
    htstore_arena_free(arena);
    return NULL;
}

static void *restore_often(void *argument)
{
    char path[300];

    (void)argument;
    (void)snprintf(path, sizeof path, "%s/file", api.directory);
    for (int i = 0; i < 15 && !is_over(); i++) {
        struct htstore_restore *status;
        DONE(htstore_checkpoint_restore(w.checkpoint, path, NULL, &status, NULL));
        if (!is_over())
            htstore_restore_release(status);
        DONE(htstore_flush(api.store, NULL));
    }
    return NULL;
}

START_TEST(writers_restores_cursors_and_flushes_never_wait_for_ever)
{
    struct crew crew = { .n = 0 }, cursor = { .n = 0 };

    if (_i) {
        api.options.flags |= HTSTORE_NO_PRELOAD;
        api.options.cache_bytes = 4096;
    }
    api.options.delta_bytes = 64u << 10;
    api.options.segment_bytes = 64u << 10;
    make_world();
    OK(htstore_checkpoint_write(w.checkpoint, api_path("file"), NULL, &api.error));
    begin(&cursor, walk_slowly, 0);
    for (intptr_t i = 0; i < 2; i++) {
        begin(&crew, press, i);
        begin(&crew, find_or_insert, i);
        begin(&crew, restore_often, i);
    }
    begin(&crew, assign_slices, 0);
    join(&crew);
    stop(&cursor);
    ck_assert_int_eq(restore(api_path("file")), 0);
    ck_assert_int_eq(read_version(w.left), START);
    ck_assert_uint_eq(api_size(w.left), N_ROWS);
    htstore_checkpoint_close(w.checkpoint, NULL);
    w.checkpoint = NULL;
    objects_reopen();
}
END_TEST

/* Without this, only a flusher that is lucky gets the lock while contents are built. */
START_TEST(a_build_flushes_for_writers_that_wait)
{
    enum { N_TEXTS = 60, TEXT_SIZE = 1 << 20 }; /* two transactions */
    struct htstore_schema schema = api_schema(HTSTORE_INT64, "''", HTSTORE_STRING);
    struct htstore_table *texts;
    struct hti_build build;
    char *value = calloc(1, TEXT_SIZE + 4);

    api.options.flush_age_ms = UINT32_MAX;
    api_open_store();
    w.left = new_table("left");
    OK(htstore_table_create(api.store, "texts", &schema, &texts, &api.error));
    objects_keep(texts);
    fill(w.left, 1);
    pthread_mutex_lock(&api.store->write_mutex);
    api.store->n_waiting++; /* nobody who wakes the flusher */
    pthread_mutex_unlock(&api.store->write_mutex);
    hti_store_le32((uint8_t *)value, TEXT_SIZE);
    hti_build_init(&build, api.store, &texts->handle.core->type, 1, true);
    for (uint64_t i = 0; i < N_TEXTS; i++) {
        uint8_t key[8];
        hti_store_le64(key, i);
        const struct hti_row row = { key, 8, value, TEXT_SIZE + 4 };
        OK(hti_build_row(&build, &row, &api.error));
        if (i == 0)
            fill(w.left, 2);
    }
    ck_assert_uint_eq(atomic_load(&api.store->applied_lsn), atomic_load(&api.store->visible_lsn));
    pthread_mutex_lock(&api.store->write_mutex);
    api.store->n_waiting--;
    pthread_mutex_unlock(&api.store->write_mutex);
    hti_build_abort(&build);
    hti_build_release(&build);
    free(value);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("instant");
    TCase *tests = tcase_create("instant");
    tcase_set_timeout(tests, 0); /* the alarm, which also works without a fork */
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, every_checkpoint_is_of_one_instant);
    tcase_add_test(tests, writers_go_on_while_a_save_runs);
    tcase_add_test(tests, saves_of_many_threads_take_one_number_each);
    tcase_add_test(tests, a_save_does_not_take_the_file_of_another_store);
    tcase_add_loop_test(tests, a_restore_switches_all_objects_in_one_step, 0, 2);
    tcase_add_loop_test(tests, a_restore_has_one_place_among_all_changes, 0, 2);
    tcase_add_test(tests, what_is_added_while_a_restore_loads_is_restored_with_all_else);
    tcase_add_test(tests, a_restore_that_fails_leaves_what_was_added_meanwhile);
    tcase_add_loop_test(tests, writers_restores_cursors_and_flushes_never_wait_for_ever, 0, 2);
    tcase_add_test(tests, a_build_flushes_for_writers_that_wait);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
