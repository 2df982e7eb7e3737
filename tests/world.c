/* world: hides how the threads of a test tell what went wrong, and what the objects are made of. */
#include "world.h"

#include <string.h>
#include <unistd.h>

#define ALARM_SECONDS 240

struct world w;

void world_note(int line, int result)
{
    int none = 0;
    if (atomic_compare_exchange_strong(&w.wrong_line, &none, line))
        atomic_store(&w.wrong_result, result);
}

void world_expect_done(int line, int result)
{
    if (result != 0)
        world_note(line, result);
}

bool world_is_over(void)
{
    return atomic_load(&w.stop) || atomic_load(&w.wrong_line) != 0;
}

void world_check(void)
{
    ck_assert_msg(!w.wrong_line, "line %d of a thread, result %d", w.wrong_line, w.wrong_result);
}

void world_setup(void)
{
    alarm(ALARM_SECONDS);
    api_setup();
    memset(&w, 0, sizeof w);
    api.options.durability = HTSTORE_LAZY;
    api.options.delta_bytes = 256u << 10;
    api.options.segment_bytes = 256u << 10;
}

void world_teardown(void)
{
    htstore_checkpoint_close(w.checkpoint, NULL);
    objects_teardown();
    alarm(0);
}

/* ---- rows ---- */

void world_get(struct htstore_table *table, const int64_t *keys, int64_t *values, size_t n)
{
    const struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, n);
    struct htstore_array v = htstore_vector(HTSTORE_INT64, values, n);
    DONE(htstore_table_lookup(table, &k, NULL, &v, NULL, NULL));
}

void world_put(struct htstore_table *table, const int64_t *keys, const int64_t *values, size_t n)
{
    const struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, n);
    const struct htstore_array v = htstore_vector(HTSTORE_INT64, values, n);
    DONE(htstore_table_insert(table, &k, &v, 0, NULL));
}

/* The same rows, or these two sets, in both tables by one batch. */
void world_put_both(const int64_t *keys, const int64_t *left, const int64_t *right, size_t n)
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

void world_assign_all(int64_t number)
{
    static int64_t elements[N_ELEMENTS]; /* of one thread */
    const struct htstore_array value = htstore_vector(HTSTORE_INT64, elements, N_ELEMENTS);

    for (size_t i = 0; i < N_ELEMENTS; i++)
        elements[i] = number;
    DONE(htstore_variable_assign(w.weights, &value, NULL));
}

void world_make(void)
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
    world_put_both(keys, values, values, N_ROWS);
    OK(htstore_checkpoint_new(api.store, NULL, &w.checkpoint, &api.error));
}

void world_reopen(void)
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

void crew_begin(struct crew *crew, void *(*run)(void *argument), intptr_t argument)
{
    ck_assert_int_eq(pthread_create(&crew->threads[crew->n++], NULL, run, (void *)argument), 0);
}

void crew_join(struct crew *crew)
{
    while (crew->n > 0)
        ck_assert_int_eq(pthread_join(crew->threads[--crew->n], NULL), 0);
}

void crew_stop(struct crew *crew)
{
    atomic_store(&w.stop, true);
    crew_join(crew);
    atomic_store(&w.stop, false);
    world_check();
}

/* ---- what many tests do ---- */

void world_acknowledged(uint64_t counts[N_WRITERS])
{
    for (int i = 0; i < N_WRITERS; i++)
        counts[i] = atomic_load(&w.acknowledged[i]);
}

int world_restore(const char *path)
{
    struct htstore_restore *status;
    const int rc = htstore_checkpoint_restore(w.checkpoint, path, NULL, &status, &api.error);

    if (rc == 0)
        htstore_restore_release(status);
    return rc;
}
int64_t world_read_version(struct htstore_table *table)
{
    int64_t keys[N_ROWS], values[N_ROWS];

    for (int64_t i = 0; i < N_ROWS; i++)
        keys[i] = i;
    world_get(table, keys, values, N_ROWS);
    for (int i = 1; i < N_ROWS; i++)
        EXPECT(values[i] == values[0]);
    return values[0];
}
