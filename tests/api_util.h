/*
 * api_util: what the tests of the public API share: a store with one table to work in, steps that say in one line what is
 * done and expected, and expected refusals. Names and dtypes are those of semantics.md.
 */
#ifndef API_UTIL_H
#define API_UTIL_H

#include <stdbool.h>
#include <stdint.h>

#include "api_array.h"
#include "check_util.h"
#include "htstore.h"

/* What happens after each writing step, before the next check. */
enum api_phase { API_PLAIN, API_FLUSHED, API_REOPENED };

/* How the tests of a loop differ. */
struct api_variation {
    const char *name;
    bool anonymous;
    bool small_memory; /* without preload, and next to no memory for tables */
    enum api_phase phase;
};
#define API_N_VARIATIONS 10
extern const struct api_variation api_variations[API_N_VARIATIONS];

/* The world of the running test; api_setup() and api_teardown() are its checked fixture. */
struct api_world {
    char *directory; /* private to the test */
    char path[256]; /* of the store, in it */
    struct htstore_options options; /* for api_open_store(); set to small sizes, HTSTORE_CREATE and SYNC */
    struct htstore *store;
    struct htstore_table *table;
    struct htstore_arena *arena; /* for outputs */
    struct htstore_error error; /* of the last call */
    const struct api_variation *variation;
    const char *name; /* of the table; NULL = anonymous */
};
extern struct api_world api;

void api_setup(void);
void api_teardown(void); /* closes what is open */

/* A path in the directory of the test, in memory of api_alloc(). */
const char *api_path(const char *name);

void api_open_store(void); /* api.path with api.options */
void api_close_store(void); /* the table too */
void api_reopen(void); /* both, and the table again if it has a name */
void api_settle(void); /* what the variation wants after a write */

/* A schema; `default_value` as api_array() reads it. */
struct htstore_schema api_schema(uint32_t key_dtype, const char *default_value, uint32_t value_dtype);

/* Open the store, and make the table "t1", or an anonymous one, as api.table. */
void api_begin(int variation, uint32_t key_dtype, uint32_t value_dtype, const char *default_value);
void api_begin_table(const char *name, uint32_t key_dtype, uint32_t value_dtype, const char *default_value);

struct htstore_stats api_stats(void);
uint64_t api_size(struct htstore_table *table);

/* All rows, as api_pairs() shows them. */
const char *api_dump(struct htstore_table *table);

/* Everything that a refused call must leave as it was. */
struct api_state {
    uint64_t lsn, n_tables, n_handles, size;
    const char *rows;
};
struct api_state api_state(void); /* of api.store and api.table, which may be NULL */

/* ---- steps; each names its line when it fails ---- */

#define API_HERE __FILE__, __LINE__

/* The call gives 0. Its error argument is &api.error. */
#define OK(call) api_ok(API_HERE, #call, (call))
/* The call gives `code`, and a sentence that contains `text`. Its error argument is &api.error. */
#define REFUSED(call, code, text) (api_spoil_error(), api_refused(API_HERE, (call), code, text))
/* Nothing is different from that state. */
#define UNCHANGED(state) api_unchanged(API_HERE, state)

/* On api.table; arguments are texts for api_array(). Writing steps settle. */
#define INSERT(keys, values) api_insert(API_HERE, keys, values)
#define REMOVE(keys) api_remove(API_HERE, keys)
#define SIZE_IS(n) api_size_is(API_HERE, n)
#define GET_IS(keys, values) api_get_is(API_HERE, keys, NULL, values, NULL)
#define GET_OR_IS(keys, defaults, values, found) api_get_is(API_HERE, keys, defaults, values, found)
/* The whole table: keys in the order of their texts, values in the order of these keys. */
#define EXPORT_IS(keys, values) api_export_is(API_HERE, keys, values)

void api_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
void api_ok(const char *file, int line, const char *call, int result);
void api_spoil_error(void);
void api_refused(const char *file, int line, int result, int code, const char *text);
void api_unchanged(const char *file, int line, struct api_state before);
void api_insert(const char *file, int line, const char *keys, const char *values);
void api_remove(const char *file, int line, const char *keys);
void api_size_is(const char *file, int line, uint64_t size);
void api_get_is(const char *file, int line, const char *keys, const char *defaults, const char *values,
                const char *found);
void api_export_is(const char *file, int line, const char *keys, const char *values);

/* Run this in a forked child; it gives 0 or the number of the line at fault. */
void api_run_in_child(int (*function)(void));

/* ---- arrays for api.table ---- */

struct htstore_array api_keys(const char *text);
struct htstore_array api_values(const char *text);
/* Room for the values of these keys, with api.arena. */
struct htstore_array api_outputs(const struct htstore_array *keys);
/* Are all bytes of an output still as api_room() made them? */
bool api_is_untouched(const struct htstore_array *output);
/* Flags as "[1 0 1]". */
const char *api_flags(const uint8_t *flags, size_t n);

#endif
