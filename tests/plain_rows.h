/*
 * plain_rows: rows made of numbers, for models of tables: the key of number i, and the value that the key has in version v.
 * A model need only know which version each number has.
 */
#ifndef PLAIN_ROWS_H
#define PLAIN_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "htstore.h"

struct plain_kind {
    const char *name;
    uint32_t key_dtype, value_dtype;
    uint32_t n_elements; /* of a value; 1: a scalar */
    size_t n_keys; /* numbers below are used; those from there on are never present */
    size_t max_batch;
};

#define N_PLAIN_KINDS 6
extern const struct plain_kind plain_kinds[N_PLAIN_KINDS];

/* Numbers that are equal from run to run. */
void plain_seed(uint64_t seed);
uint64_t plain_random(void);
size_t plain_pick(size_t limit);

/* Memory until the next reset. */
void *plain_alloc(size_t size);
void plain_reset(void);
void plain_release(void);

/* Versions up to this one are the same value for all numbers: for defaults. */
#define PLAIN_SHARED 8u

/* The keys of these numbers, shape [n]; and the values that they have in these versions, which are not 0, shape [n] ++ S. */
struct htstore_array plain_keys(const struct plain_kind *kind, const size_t *numbers, size_t n);
struct htstore_array plain_values(const struct plain_kind *kind, const size_t *numbers, const uint64_t *versions,
                                  size_t n);
struct htstore_array plain_shared(const struct plain_kind *kind, uint64_t version); /* up to PLAIN_SHARED; shape S */
struct htstore_array plain_room(const struct plain_kind *kind, size_t n, struct htstore_arena *arena);

/* Is row i of an output the value of this number in this version? */
bool plain_is_value(const struct plain_kind *kind, const struct htstore_array *values, size_t i, size_t number,
                    uint64_t version);
/* Which number has this key? SIZE_MAX: none. */
size_t plain_number(const struct plain_kind *kind, const struct htstore_array *keys, size_t i);

#endif
