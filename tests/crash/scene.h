/*
 * scene: a store with known rows, for tests of what happens after a crash. Batch k puts one row, key k, into table
 * "t". What leaves a crash behind is done by an actor: a function of the test, run in another process, which ends
 * without closing anything.
 */
#ifndef SCENE_H
#define SCENE_H

#include <stdint.h>

#include "check_util.h"
#include "htstore.h"
#include "mishap.h"

#define SCENE_MAX_RECORDS 256

/* The world of the running test; scene_setup() and scene_teardown() are its checked fixture. */
struct scene {
    char *directory; /* private to the test */
    char path[256]; /* of the store */
    char copy[256]; /* of a copy */
    uint32_t value_size; /* of each row; default 8 */
    uint32_t flags; /* for actors: how they write */
    uint32_t number; /* for actors: whatever the test means by it */
    struct htstore_options options;
    struct htstore *store;
    struct htstore_table *table;
    struct htstore_error error;
};
extern struct scene scene;

void scene_setup(void);
void scene_teardown(void);

/* ---- the store in this process ---- */

int scene_try_open(const char *path); /* what htstore_open() gives; the table is made, unless opening fails */
void scene_open(const char *path);
void scene_close(void);
int scene_put(uint64_t k, uint32_t flags);
void scene_put_range(uint64_t first, uint64_t last, uint32_t flags); /* must succeed */
void scene_expect(uint64_t n); /* the open store holds rows 1 to n and nothing else */
struct htstore_stats scene_stats(void);

/* ---- actors: no libcheck in their process. They may use scene_open(), _put(), _put_range() and _must(). ---- */

struct scene_actor {
    const char *name;
    void (*act)(void);
};

/* For main(): runs the suite; or, when started for that, one of the actors. */
int scene_main(int argc, char **argv, const struct scene_actor *actors, Suite *(*make_suite)(void));

/* Let that actor act in a new process, with this scene. True if it came to its end, false if a mishap ended it. */
bool scene_crash(const char *actor);
/* The call must have given 0; otherwise the test, or the actor, fails. */
void scene_must(int rc, const char *what);

/* ---- the files ---- */

struct scene_record {
    char path[320]; /* of the segment */
    uint64_t segment;
    uint64_t lsn, durable_lsn;
    uint64_t offset, size;
};

/* The records in the journal of the store at `path`; returns their number. */
unsigned scene_records(const char *path, struct scene_record records[SCENE_MAX_RECORDS]);

/* scene.copy becomes a fresh copy of scene.path. */
void scene_make_copy(void);
/* Are data.mdb and the journal of both byte for byte the same? */
void scene_expect_same_files(void);
/* A path below the copy; a few of them are valid at a time. */
const char *scene_file(const char *name);

void scene_read(const char *path, uint64_t offset, void *data, size_t size);
void scene_write(const char *path, uint64_t offset, const void *data, size_t size);
void scene_flip(const char *path, uint64_t offset, uint8_t mask);

#endif
