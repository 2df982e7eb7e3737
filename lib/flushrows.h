/*
 * flushrows: the sorted rows of one table, put into a transaction: each row costs one search near the one before it. Row count and
 * digest follow what the pages hold, so that doing it again is harmless.
 */
#ifndef HTI_FLUSHROWS_H
#define HTI_FLUSHROWS_H

#include "buf.h"
#include "run.h"

/* A table within one transaction. */
struct hti_flushrows {
    const struct hti_kv *kv;
    const struct hti_run *run;
    const struct hti_run_table *table;
    struct hti_totals_record totals; /* as they will be */
    struct hti_buf *space; /* for a stored row; shared */
    bool appending; /* what comes is greater than all that is there */
    bool has_last;
    uint8_t last[HTI_KV_MAX_KEY_SIZE]; /* greatest key there when the transaction began */
    size_t last_size;
    uint64_t n_spans; /* of addresses, shorter than a page, in which rows were put: see flushrows.c */
    uintptr_t low, high; /* the last one */
    uint64_t new_bytes, overflow_pages;
};

/* Look at the end of the table's database. rows->totals.database is 0 if it has none, which is for tables without rows. */
int hti_flushrows_begin(struct hti_flushrows *rows, struct hti_kv_write *write, struct htstore_error *error);
/*
 * Put and remove rows from *at on, which moves on, until the table's end or until the transaction has about `max_pages` pages of
 * this table. As hti_kv_put().
 */
int hti_flushrows_apply(struct hti_flushrows *rows, struct hti_kv_write *write, size_t *at, uint64_t max_pages,
                        struct htstore_error *error);
/* Pages that it has changed or made in this transaction. There may be twice as many, but not more. */
uint64_t hti_flushrows_pages(const struct hti_flushrows *rows);

#endif
