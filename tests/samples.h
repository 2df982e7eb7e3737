/* samples: random rows of every kind of table, as a caller has them and packed; for tests of what handles packed rows. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec.h"

/* Numbers that are equal from run to run. */
void sample_seed(uint64_t seed);
uint64_t sample_random(void);
size_t sample_below(size_t limit);

/* Types of tables: narrow, wide and odd ones, keys and values of fixed and variable size, values without elements. */
#define N_SAMPLE_TYPES 16
void sample_type(unsigned which, struct hti_row_type *type);

/* Rows of one type. All memory is malloc'ed in pieces of exactly the size needed, so that sanitizers see a wrong step. */
struct sample_rows {
    struct hti_row_type type;
    size_t n;
    void *keys; /* native elements, as a caller has them */
    void *values; /* native elements; never NULL */
    struct hti_row *rows; /* packed; value never NULL */
};

/* Make `n` random rows; equal keys may occur. With `long_keys` every fourth string key has more than 490 bytes. */
void sample_rows_make(struct sample_rows *rows, const struct hti_row_type *type, size_t n, bool long_keys);
void sample_rows_free(struct sample_rows *rows);

/* A copy in memory of exactly this size. */
uint8_t *sample_copy(const void *data, size_t size);

#endif
