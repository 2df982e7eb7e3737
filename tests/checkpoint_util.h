/*
 * checkpoint_util: checkpoint objects, saves and restores for the tests of the public API. What is made here is closed by
 * its teardown, statuses first.
 */
#ifndef CHECKPOINT_UTIL_H
#define CHECKPOINT_UTIL_H

#include "api_objects.h"

/* The checked fixture; includes that of api_objects. */
void checkpoint_setup(void);
void checkpoint_teardown(void);
void checkpoint_close_all(void); /* statuses and checkpoint objects */
void checkpoint_fresh_store(const char *name); /* close everything, and open another store, made if need be */
void checkpoint_small_memory(void); /* no table stays in memory; the store is opened again */

/* Checkpoint objects. The list is "a b c", and an object for each name. */
struct htstore_checkpoint *root_names(void);
struct htstore_checkpoint *root_mapping(struct htstore_mapping *mapping);
struct htstore_checkpoint *root_list(const char *names, ...);
struct htstore_checkpoint *root_both(struct htstore_mapping *mapping, const char *name, const void *object);

/* Paths are in memory of api_alloc(). */
const char *save(struct htstore_checkpoint *checkpoint); /* to "c-N" */
const char *write_as(struct htstore_checkpoint *checkpoint, const char *name);
struct htstore_restore *restore(struct htstore_checkpoint *checkpoint, const char *path);
int release(struct htstore_restore *status); /* what htstore_restore_release() gives */
void close_checkpoint(struct htstore_checkpoint *checkpoint);

/* What a file says of itself; memory of api.arena. Paths of its objects as "(root) (root).a". */
struct htstore_snapshot_info info_of(const char *path);
const char *paths_in(const char *path);

/* Unmatched paths of both sides, as "saved… | live…". */
const char *unmatched(struct htstore_restore *status);

/* string -> int64, default -1. `flags` as in a schema; `name` NULL: anonymous. */
struct htstore_table *words_table(const char *name, uint32_t flags);
/* The whole contents of a table, as api_array() reads them. */
void set_rows(struct htstore_table *table, const char *keys, const char *values);
#define ROWS_ARE(table, keys, values) rows_are(API_HERE, table, keys, values)
void rows_are(const char *file, int line, struct htstore_table *table, const char *keys, const char *values);

/* Whole files. */
void *read_whole(const char *path, size_t *size); /* memory of api_alloc() */
void write_whole(const char *path, const void *data, size_t size);
bool files_equal(const char *a, const char *b);

#define MATCHED(status) OK(htstore_restore_assert_existing_objects_matched(status, &api.error))
#define CONSUMED(status) OK(htstore_restore_assert_consumed(status, &api.error))
#define NOT_MATCHED(status, code, text)                                                                                \
    REFUSED(htstore_restore_assert_existing_objects_matched(status, &api.error), code, text)
#define NOT_CONSUMED(status, code, text) REFUSED(htstore_restore_assert_consumed(status, &api.error), code, text)

#endif
