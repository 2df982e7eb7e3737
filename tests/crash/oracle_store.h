/* oracle_store: carries out the batches of the oracle on a store, and compares a store with it. */
#ifndef ORACLE_STORE_H
#define ORACLE_STORE_H

#include "oracle.h"

struct oracle_store {
    struct htstore *store;
    struct htstore_table *tables[ORACLE_N_TABLES]; /* NULL: it does not exist */
    struct htstore_table *anonymous; /* of the writer; no crash may leave it behind */
    struct htstore_error error; /* of the last call that failed */
};

/* The smallest sizes that a store takes; the seed decides whether tables are held in memory. */
struct htstore_options oracle_options(uint64_t seed, uint32_t durability);

/* Open the store and its tables. HTSTORE_CREATE makes what is missing; without it missing tables are left out. */
int oracle_open(struct oracle_store *s, const char *path, const struct htstore_options *options);
int oracle_close(struct oracle_store *s);

/* Carry out the next batch with these flags; only if it succeeds, the oracle moves on. */
int oracle_write(struct oracle_store *s, struct oracle *oracle, uint32_t flags);
/* What the plan of the batch written last wants beside it: flush, sync, tables made and dropped, anonymous rows. */
int oracle_disturb(struct oracle_store *s, const struct oracle *oracle);

/*
 * Compare size, lookups of all keys, and an export of each table with the oracle, which stands at the last batch that
 * was acknowledged; one more may be there. Moves the oracle to the batch that was found. `why` says what is wrong.
 */
enum oracle_verdict oracle_check(struct oracle_store *s, struct oracle *oracle, char why[512]);
/* The store takes a write, also one of a new table, and gives it back. */
enum oracle_verdict oracle_probe(struct oracle_store *s, int64_t number, char why[512]);

/* Open, check, probe, close, open, check. With `crash` the store stays open at the end. */
enum oracle_verdict oracle_verify(const char *path, const struct htstore_options *options, struct oracle *oracle,
                                  bool crash, char why[512]);

#endif
