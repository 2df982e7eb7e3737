/* arena: memory of outputs, handed out in pieces and released all at once. */
#ifndef HTI_ARENA_H
#define HTI_ARENA_H

#include <stdbool.h>

#include "htstore.h"

/*
 * n * item_size bytes, 16-byte aligned, valid until reset or free. NULL on overflow or lack of memory. A size of 0 yields
 * a valid pointer.
 */
void *hti_arena_alloc(struct htstore_arena *arena, size_t n, size_t item_size);

/* Is it an arena that has not been freed (a magic number in its first word)? NULL: no. */
bool hti_arena_is_valid(const struct htstore_arena *arena);

#endif
