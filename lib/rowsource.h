/* rowsource: the rows of one object, one by one in stored order, from a snapshot or from a state of a store. Verified. */
#ifndef HTI_ROWSOURCE_H
#define HTI_ROWSOURCE_H

#include "instant.h"
#include "snapread.h"

struct hti_rowsource;

/* Of a node of a snapshot whose index is loaded; of a node of an instant. Both must outlive it. HTSTORE_ENOMEM. */
int hti_rowsource_of_snapshot(struct hti_snapread *reader, uint32_t node, struct hti_rowsource **source,
                              struct htstore_error *error);
int hti_rowsource_of_instant(struct hti_instant *instant, uint32_t node, struct hti_rowsource **source,
                             struct htstore_error *error);
void hti_rowsource_close(struct hti_rowsource *source); /* NULL does nothing */

/* A row, valid until the next call. */
struct hti_sourced_row {
    struct hti_row row;
    uint8_t key[HTI_STORED_KEY_MAX]; /* stored */
    size_t key_size;
};
/* 0; 1 = no more; HTSTORE_ECORRUPT, HTSTORE_EIO, HTSTORE_ENOMEM. */
int hti_rowsource_next(struct hti_rowsource *source, struct hti_sourced_row *row, struct htstore_error *error);

/* By stored key, as rows are in order. */
int hti_rowsource_compare(const struct hti_sourced_row *a, const struct hti_sourced_row *b);

#endif
