/* dump_sample: a store with everything that a store can hold, and the text of all that a store holds, to compare two. */
#ifndef DUMP_SAMPLE_H
#define DUMP_SAMPLE_H

#include <stdbool.h>

/*
 * Make the store; it must not exist. `with_all`: also what LMDB cannot hold, an empty key and one above 511 bytes. Memory is
 * that of api_alloc().
 */
void dump_sample_make(const char *path, bool with_all);

/*
 * All that is reached from the names of a store: kinds, schemas, rows in order, entries in order. Objects are called by the
 * first path to them, so stores are equal if their texts are. In memory of api_alloc().
 */
const char *dump_sample_text(const char *path);

#endif
