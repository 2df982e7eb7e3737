/* mdbwrite: the text that mdb_load and db_load read. */
#ifndef TOOLS_MDBWRITE_H
#define TOOLS_MDBWRITE_H

#include "buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mdbwrite {
    uint64_t map_size; /* for the LMDB environment that is made of the dump; the same in every section */
    bool is_bdb; /* for db_load: without words that it does not know */
};

#define MDBWRITE_MAX_KEY_SIZE 511 /* of LMDB as it is built everywhere; it has no empty keys either */

/* A map in which what fills `bytes` fits more than twice; 0: not known. */
uint64_t mdbwrite_map_size(uint64_t bytes);

/* Append the head of a section. */
void mdbwrite_begin(struct buffer *text, const struct mdbwrite *settings, const char *database);

/* Append a key or a value. */
void mdbwrite_bytes(struct buffer *text, const void *data, size_t size);

/* Append the end of a section: only when all its rows are written. */
void mdbwrite_end(struct buffer *text);

#endif
