/* manager_util: what the tests of checkpoint managers share: a store with a table, a manager with a clock, its folder. */
#ifndef MANAGER_UTIL_H
#define MANAGER_UTIL_H

#include "api_util.h"

struct manager_world {
    struct htstore_checkpoint *checkpoint;
    struct htstore_manager *manager;
    struct htstore_manager_options options; /* of the next opening; with the clock below */
    double now;
    int64_t step;
    char folder[300]; /* the default one */
    char log[8192]; /* lines of the store's log */
    const char *path; /* of the last save */
    struct htstore_restore *status;
};
extern struct manager_world world;

void manager_setup(void); /* a store with a table "t1" of int64, and a checkpoint object; the folder is empty */
void manager_teardown(void);

int manager_try_open(void); /* with world.options */
void manager_open(int64_t max_to_keep, double hours);
void manager_close(void);
void manager_reopen(void);

int manager_try_save(uint32_t flags, int64_t number);
void manager_save(void);
void manager_save_as(int64_t number);
void manager_write_row(void); /* so that the next checkpoint has another LSN */

/* "2 3": numbers that are listed, oldest first; those that are not, in their order; those whose files are there. */
const char *manager_listed(void);
const char *manager_unlisted(void);
const char *manager_files(void);
const char *manager_others(void); /* names in the folder that are neither checkpoints nor the state */
double manager_time_of(int64_t number); /* -1: it is not there */
/* The number at the end of the path of the newest; -1: none; or the code. */
int64_t manager_latest(void);

const char *manager_path(const char *name); /* in the folder; memory of api.arena */
void manager_damage(int64_t number); /* flips a bit in the middle */
void manager_copy_file(const char *from, const char *to);
void manager_write_file(const char *name, const void *data, size_t size);

#define LISTED_IS(text) ck_assert_str_eq(manager_listed(), text)
#define FILES_ARE(text) ck_assert_str_eq(manager_files(), text)

#endif
