/*
 * oracle: what a store must hold after batch k of a workload, and how to tell. Everything follows from a seed: keys
 * are a bijection of a counter, values a function of key, seed and version, where the version is the number of the
 * batch that wrote them; so every row that a store returns says where it comes from.
 */
#ifndef ORACLE_H
#define ORACLE_H

#include <stdbool.h>
#include <stdint.h>

#include "htstore.h"

#define ORACLE_N_TABLES 6
#define ORACLE_N_KEYS 1000 /* of each table */
#define ORACLE_MAX_ROWS 20 /* of one operation */
#define ORACLE_ABSENT 0u
#define ORACLE_BAD UINT32_MAX /* the version of a value that no batch has written */

enum oracle_verdict {
    ORACLE_OK,
    ORACLE_LOST, /* an older state: something acknowledged is missing */
    ORACLE_PARTIAL, /* part of a batch */
    ORACLE_CORRUPT, /* anything else that was never there */
    ORACLE_OPENFAIL, /* a call that must succeed fails */
    ORACLE_CRASH,
    ORACLE_HANG
};
const char *oracle_verdict_name(enum oracle_verdict verdict);

enum oracle_kind { ORACLE_INSERT, ORACLE_INSERT_NEW, ORACLE_REMOVE, ORACLE_CLEAR };

struct oracle_op {
    enum oracle_kind kind;
    uint32_t table;
    uint32_t n_rows;
    uint32_t keys[ORACLE_MAX_ROWS]; /* numbers, below ORACLE_N_KEYS; may repeat */
};

/* Batch k: one operation, or two on different tables as one step; and what is done after it. */
struct oracle_plan {
    uint32_t n_ops;
    struct oracle_op ops[2];
    uint32_t durability; /* one of the four, at random; for workloads that mix them */
    bool flush, sync, restructure;
};
void oracle_make_plan(uint64_t seed, uint64_t batch, struct oracle_plan *plan);

/* The contents after batch `position`. */
struct oracle {
    uint64_t seed;
    uint64_t position;
    uint32_t versions[ORACLE_N_TABLES][ORACLE_N_KEYS]; /* ORACLE_ABSENT: no such row */
};
void oracle_init(struct oracle *oracle, uint64_t seed, uint64_t position);
void oracle_advance(struct oracle *oracle);

/* Of a random sequence: the next number; splitmix64 (Steele, Lea, Flood 2014). */
uint64_t oracle_random(uint64_t *state);

/* ---- rows ---- */

const char *oracle_table_name(uint32_t table);
struct htstore_schema oracle_schema(uint32_t table);

/* Arrays of these keys, and of their values in that version; valid until the next call for such a column. */
struct htstore_array oracle_keys(uint64_t seed, uint32_t table, const uint32_t *keys, uint32_t n);
struct htstore_array oracle_values(uint64_t seed, uint32_t table, const uint32_t *keys, uint32_t n, uint32_t version);
/* Room for the values of n keys. */
struct htstore_array oracle_room(uint32_t table, uint32_t n, struct htstore_arena *arena);

/* The number of key i of an array that a store returned; ORACLE_N_KEYS if it is none of ours. */
uint32_t oracle_read_key(uint64_t seed, uint32_t table, const struct htstore_array *keys, uint64_t i);
/* The version of value i of an array, which belongs to that key, or ORACLE_BAD. */
uint32_t oracle_read_version(uint64_t seed, uint32_t table, uint32_t key, const struct htstore_array *values,
                             uint64_t i);

#endif
