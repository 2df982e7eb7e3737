/* check_instant: checkpoints are of one instant, and take turns, while threads write, make and drop objects. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "snapshot.h"
#include "unpack.h"
#include "world.h"

#define N_CHECKPOINTS 200

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
    for (int64_t n = 1; !world_is_over(); n++) {
        const int64_t at = n % N_KEYS, amount = n % 2 ? n % 97 : -(n % 89);
        left[at] -= amount;
        right[at] += amount;
        left[N_KEYS] = right[N_KEYS] = n;
        world_put_both(keys, left, right, N_KEYS + 1);
        atomic_store(&w.acknowledged[writer], (uint64_t)n);
    }
    return NULL;
}

static void *assign_weights(void *argument)
{
    (void)argument;
    for (int64_t n = 1; !world_is_over(); n++) {
        world_assign_all(n);
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
    for (int64_t n = 1; !world_is_over(); n++) {
        struct htstore_schema schema = { .size = sizeof schema,
                                         .key_dtype = HTSTORE_INT64,
                                         .default_value = htstore_scalar(HTSTORE_INT64, &none) };
        struct htstore_table *table;
        struct htstore_bytes key = { name, (size_t)snprintf(name, sizeof name, "m%d", (int)n) };
        if (n < 100)
            schema.flags = HTSTORE_ANONYMOUS;
        DONE(htstore_table_create(api.store, n < 100 ? NULL : "passing", &schema, &table, NULL));
        world_put(table, &n, &n, 1);
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
        world_get(tables[side], keys, values, N_ROWS);
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

    world_acknowledged(before);
    OK(htstore_checkpoint_save(w.checkpoint, api_path("ckpt"), NULL, api.arena, &path, &api.error));
    world_acknowledged(after);
    ZSTD_ACCEPTS(path);
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

    world_make();
    for (intptr_t i = 0; i < N_WRITERS; i++)
        crew_begin(&crew, move_numbers, i);
    crew_begin(&crew, assign_weights, 0);
    crew_begin(&crew, make_models, 0);
    for (int i = 0; i < N_CHECKPOINTS; i++)
        save_once(i);
    crew_stop(&crew);
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
        world_acknowledged(pause->at_first);
    do {
        enough = true;
        world_acknowledged(now);
        for (int i = 0; i < N_WRITERS; i++)
            enough = enough && now[i] >= pause->at_first[i] + 100;
    } while (!enough && !world_is_over());
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

    world_make();
    for (intptr_t i = 0; i < N_WRITERS; i++)
        crew_begin(&crew, move_numbers, i);
    world_acknowledged(before);
    OK(htstore_checkpoint_write(w.checkpoint, api_path("file"), &options, &api.error));
    crew_stop(&crew);
    ZSTD_ACCEPTS(api_path("file"));
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

    world_make();
    for (int i = 0; i < N_WRITERS; i++)
        crew_begin(&crew, save_many, 0);
    crew_join(&crew);
    world_check();
    ck_assert_int_eq(htstore_checkpoint_save_counter(w.checkpoint), N_SAVES * N_WRITERS);
    for (int i = 1; i <= N_SAVES * N_WRITERS; i++) {
        (void)snprintf(name, sizeof name, "ckpt-%d", i);
        OK(hti_snapshot_verify(AT_FDCWD, api_path(name), ".", 1, NULL, &api.error));
        ZSTD_ACCEPTS(api_path(name));
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

    world_make();
    options = api.options;
    OK(htstore_open(api_path("other"), &options, &store, &api.error));
    OK(htstore_checkpoint_new(store, NULL, &other, &api.error));
    slow.progress_user = other;
    OK(htstore_checkpoint_write(w.checkpoint, api_path("file"), &slow, &api.error));
    OK(hti_snapshot_verify(AT_FDCWD, api_path("file"), ".", 1, NULL, &api.error));
    ZSTD_ACCEPTS(api_path("file"));
    world_check();
    OK(htstore_checkpoint_close(other, &api.error));
    OK(htstore_close(store, &api.error));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("instant");
    TCase *tests = tcase_create("instant");
    tcase_set_timeout(tests, 0); /* the alarm, which also works without a fork */
    tcase_add_checked_fixture(tests, world_setup, world_teardown);
    tcase_add_test(tests, every_checkpoint_is_of_one_instant);
    tcase_add_test(tests, writers_go_on_while_a_save_runs);
    tcase_add_test(tests, saves_of_many_threads_take_one_number_each);
    tcase_add_test(tests, a_save_does_not_take_the_file_of_another_store);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
