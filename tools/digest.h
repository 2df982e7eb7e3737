/* digest: the sum of the hashes of rows, as docs/store-format.md defines it: equal for equal rows in any order. */
#ifndef TOOLS_DIGEST_H
#define TOOLS_DIGEST_H

#include "htstore.h"

#include <stdbool.h>
#include <stdint.h>

#define DIGEST_TEXT_SIZE 33

/* Initialise with { 0 }. */
struct digest {
    uint64_t low, high;
};

/* Add a row of packed bytes. `sized`: the value is one string, whose size is hashed before it. */
void digest_add(struct digest *digest, const struct htstore_bytes *key, const struct htstore_bytes *value, bool sized);

/* As 32 hexadecimal digits, high half first. */
void digest_print(const struct digest *digest, char text[DIGEST_TEXT_SIZE]);

bool digest_equal(const struct digest *a, const struct digest *b);

#endif
