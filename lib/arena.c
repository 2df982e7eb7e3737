/* arena: hides the chunks from which pieces are cut. */
#include "arena.h"

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "mem.h"

#define MAGIC UINT64_C(0x68746172656e6131) /* "htarena1" */
#define ALIGNMENT ((size_t)16)
#define FIRST_CHUNK_SIZE ((size_t)4 << 10)
#define MAX_CHUNK_SIZE ((size_t)1 << 20)
#define BIG_SIZE (MAX_CHUNK_SIZE / 4) /* pieces from here on get a chunk of their own */
#define KEPT_SIZE ((size_t)1 << 20) /* of all chunks that a reset keeps */

struct chunk {
    struct chunk *next;
    size_t size; /* of the whole allocation */
    size_t used; /* from its start; the next piece begins here */
};

struct htstore_arena {
    uint64_t magic;
    struct chunk *current; /* pieces are cut from the first; the others are full or belong to one piece */
    struct chunk *spare; /* kept by a reset, empty */
    size_t next_size;
};

/* The offset of the first piece: malloc may align to less than 16 bytes. */
static size_t first_offset(const struct chunk *chunk)
{
    uintptr_t end = (uintptr_t)(chunk + 1);
    return sizeof *chunk + (size_t)(-end & (ALIGNMENT - 1));
}

static void free_chunks(struct chunk *chunk)
{
    while (chunk) {
        struct chunk *next = chunk->next;
        hti_mem_free(chunk);
        chunk = next;
    }
}

static struct chunk *new_chunk(size_t size)
{
    struct chunk *chunk = hti_mem_alloc(size);
    if (!chunk)
        return NULL;
    *chunk = (struct chunk){ .size = size };
    chunk->used = first_offset(chunk);
    return chunk;
}

/* Unlink a spare chunk with room for `size` bytes; NULL if there is none. */
static struct chunk *take_spare(struct htstore_arena *arena, size_t size)
{
    for (struct chunk **link = &arena->spare; *link; link = &(*link)->next) {
        struct chunk *chunk = *link;
        if (size <= chunk->size - chunk->used) {
            *link = chunk->next;
            return chunk;
        }
    }
    return NULL;
}

static void *cut_piece(struct chunk *chunk, size_t size)
{
    void *piece = (uint8_t *)chunk + chunk->used;
    chunk->used += size;
    return piece;
}

/* A piece that the current chunk has no room for. `size` is a multiple of the alignment. */
static void *alloc_from_other_chunk(struct htstore_arena *arena, size_t size)
{
    size_t needed;
    if (__builtin_add_overflow(size, sizeof(struct chunk) + ALIGNMENT, &needed) || needed > PTRDIFF_MAX)
        return NULL;
    struct chunk *chunk = take_spare(arena, size);
    if (!chunk) {
        size_t usual_size = size >= BIG_SIZE ? 0 : arena->next_size;
        chunk = new_chunk(needed > usual_size ? needed : usual_size);
        if (!chunk)
            return NULL;
        if (arena->next_size < MAX_CHUNK_SIZE)
            arena->next_size *= 2;
    }
    if (size >= BIG_SIZE && arena->current) {
        chunk->next = arena->current->next;
        arena->current->next = chunk;
    } else {
        chunk->next = arena->current;
        arena->current = chunk;
    }
    return cut_piece(chunk, size);
}

void *hti_arena_alloc(struct htstore_arena *arena, size_t n, size_t item_size)
{
    size_t size;
    if (__builtin_mul_overflow(n, item_size, &size) || size > PTRDIFF_MAX)
        return NULL;
    size = size > 0 ? (size + ALIGNMENT - 1) & ~(ALIGNMENT - 1) : ALIGNMENT;
    struct chunk *chunk = arena->current;
    if (chunk && size <= chunk->size - chunk->used)
        return cut_piece(chunk, size);
    return alloc_from_other_chunk(arena, size);
}

bool hti_arena_is_valid(const struct htstore_arena *arena)
{
    return arena && arena->magic == MAGIC;
}

int htstore_arena_new(struct htstore_arena **arena, struct htstore_error *error)
{
    if (!arena)
        return hti_fail(error, HTSTORE_EINVAL, "arena is NULL");
    *arena = NULL;
    struct htstore_arena *made = hti_mem_zalloc(sizeof *made);
    if (!made)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for an arena");
    made->magic = MAGIC;
    made->next_size = FIRST_CHUNK_SIZE;
    *arena = made;
    return HTSTORE_OK;
}

void htstore_arena_reset(struct htstore_arena *arena)
{
    if (!hti_arena_is_valid(arena))
        return;
    struct chunk *lists[] = { arena->current, arena->spare };
    size_t kept_size = 0;
    arena->current = NULL;
    arena->spare = NULL;
    for (size_t i = 0; i < 2; i++) {
        for (struct chunk *chunk = lists[i], *next; chunk; chunk = next) {
            next = chunk->next;
            if (chunk->size > KEPT_SIZE - kept_size) {
                hti_mem_free(chunk);
                continue;
            }
            kept_size += chunk->size;
            chunk->used = first_offset(chunk);
            chunk->next = arena->spare;
            arena->spare = chunk;
        }
    }
}

void htstore_arena_free(struct htstore_arena *arena)
{
    if (!hti_arena_is_valid(arena))
        return;
    arena->magic = 0;
    free_chunks(arena->current);
    free_chunks(arena->spare);
    hti_mem_free(arena);
}
