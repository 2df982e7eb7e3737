/*
 * world: two tables, a variable and a mapping that threads write while checkpoints are taken and restored; and threads that
 * report the line of their first wrong observation. Each test has an alarm: a deadlock ends it.
 */
#ifndef WORLD_H
#define WORLD_H

#include <pthread.h>
#include <stdatomic.h>

#include "api_objects.h"

#define N_WRITERS 4
#define N_KEYS 8 /* of each writer */
#define N_ROWS (N_WRITERS * N_KEYS)
#define COUNT_KEY 1000 /* plus the writer: how many batches it has made */
#define START 1000 /* under each key, in both tables */
#define N_ELEMENTS 20000 /* of the variable: several rows */

struct world {
    struct htstore_table *left, *right;
    struct htstore_variable *weights;
    struct htstore_mapping *models;
    struct htstore_checkpoint *checkpoint;
    _Atomic uint64_t acknowledged[N_WRITERS]; /* batches */
    _Atomic uint64_t n_assigned, n_made;
    _Atomic bool stop;
    _Atomic int wrong_line, wrong_result;
};
extern struct world w;

/* The checked fixture. */
void world_setup(void);
void world_teardown(void);
void world_make(void); /* opens the store, and makes all that is in it */
void world_reopen(void);

/* ---- in threads, which have no assertions ---- */

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            world_note(__LINE__, 0);                                                                                   \
    } while (0)
#define DONE(call) world_expect_done(__LINE__, (call))
void world_note(int line, int result);
void world_expect_done(int line, int result);
bool world_is_over(void); /* something went wrong, or nobody needs more */

void world_get(struct htstore_table *table, const int64_t *keys, int64_t *values, size_t n);
void world_put(struct htstore_table *table, const int64_t *keys, const int64_t *values, size_t n);
/* The same keys in both tables, by one batch. */
void world_put_both(const int64_t *keys, const int64_t *left, const int64_t *right, size_t n);
void world_assign_all(int64_t number); /* to all elements of the variable; one thread at a time */
/* The one number under all the first keys. */
int64_t world_read_version(struct htstore_table *table);
void world_acknowledged(uint64_t counts[N_WRITERS]);

/* ---- in the test ---- */

void world_check(void); /* that no thread found anything wrong */
int world_restore(const char *path); /* and forget the status */

struct crew {
    pthread_t threads[N_WRITERS + 4];
    int n;
};
void crew_begin(struct crew *crew, void *(*run)(void *argument), intptr_t argument);
void crew_join(struct crew *crew);
void crew_stop(struct crew *crew); /* tell them that it is over, join, check */

#endif
