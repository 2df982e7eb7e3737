/*
 * checkpoint: saves a checkpoint of a store while another thread goes on writing to it.
 *
 *     checkpoint DIRECTORY [BATCHES]
 *
 * The writer adds batches of 100 rows, i -> i, to the table "log", each durable before the next. When BATCHES of them are
 * acknowledged, the checkpoint is saved, by the manager of the store's checkpoints; then the writer is stopped.
 */
#include <htstore.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>

#define BATCH_ROWS 100

struct writer {
    struct htstore_table *log;
    _Atomic int64_t n_batches; /* acknowledged */
    atomic_bool stop;
};

static noreturn void stop(const struct htstore_error *error)
{
    (void)fprintf(stderr, "checkpoint: %s\n", error->message);
    exit(1);
}

static void *write_batches(void *argument)
{
    struct writer *w = argument;
    struct htstore_error error;
    int64_t rows[BATCH_ROWS];
    const struct htstore_array array = htstore_vector(HTSTORE_INT64, rows, BATCH_ROWS);

    while (!atomic_load(&w->stop)) {
        for (int64_t i = 0; i < BATCH_ROWS; i++)
            rows[i] = atomic_load(&w->n_batches) * BATCH_ROWS + i;
        if (htstore_table_insert(w->log, &array, &array, 0, &error) < 0)
            stop(&error);
        atomic_fetch_add(&w->n_batches, 1);
    }
    return NULL;
}

static struct htstore_table *open_log(struct htstore *store)
{
    const int64_t none = -1;
    const struct htstore_schema schema = { .size = sizeof schema,
                                           .key_dtype = HTSTORE_INT64,
                                           .default_value = htstore_scalar(HTSTORE_INT64, &none) };
    struct htstore_error error;
    struct htstore_table *log;

    if (htstore_table_get_or_create(store, "log", &schema, &log, &error) < 0)
        stop(&error);
    return log;
}

static void save(struct htstore *store, struct writer *writer)
{
    struct htstore_error error;
    struct htstore_checkpoint *checkpoint;
    struct htstore_manager *manager;
    struct htstore_arena *arena;
    const char *path;

    if (htstore_checkpoint_new(store, NULL, &checkpoint, &error) < 0 ||
        htstore_manager_open(checkpoint, NULL, &manager, &error) < 0 || htstore_arena_new(&arena, &error) < 0)
        stop(&error);
    const int64_t before = atomic_load(&writer->n_batches);
    if (htstore_manager_save(manager, NULL, arena, &path, &error) < 0)
        stop(&error);
    (void)printf("%s %" PRId64 " %" PRId64 "\n", path, before, atomic_load(&writer->n_batches));
    htstore_arena_free(arena);
    htstore_manager_close(manager);
    if (htstore_checkpoint_close(checkpoint, &error) < 0)
        stop(&error);
}

int main(int argc, char **argv)
{
    const struct htstore_options options = { .size = sizeof options, .flags = HTSTORE_CREATE };
    const int64_t n_wanted = argc > 2 ? strtoll(argv[2], NULL, 10) : 100;
    struct htstore_error error;
    struct htstore *store;
    struct writer writer = { 0 };
    pthread_t thread;

    if (htstore_open(argc > 1 ? argv[1] : "checkpoint.store", &options, &store, &error) < 0)
        stop(&error);
    writer.log = open_log(store);
    if (pthread_create(&thread, NULL, write_batches, &writer) != 0)
        return 1;
    while (atomic_load(&writer.n_batches) < n_wanted) /* the writer has a head start */
        ;
    save(store, &writer);
    atomic_store(&writer.stop, true);
    (void)pthread_join(thread, NULL);
    if (htstore_table_close(writer.log, &error) < 0 || htstore_close(store, &error) < 0)
        stop(&error);
    return 0;
}
