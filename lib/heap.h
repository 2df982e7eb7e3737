/*
 * heap: many items of bytes in few large pieces of memory, each named by 32 bits; for a hash table whose slots must be
 * small. Items do not move. An allocation for which room was reserved cannot fail.
 *
 * Not synchronised; but hti_heap_reserve() changes nothing that hti_heap_at() reads, so that items may be read meanwhile.
 */
#ifndef HTI_HEAP_H
#define HTI_HEAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "region.h"

#define HTI_HEAP_CHUNK_SHIFT 21 /* chunks of 2 MiB */
#define HTI_HEAP_CHUNK_SIZE ((size_t)1 << HTI_HEAP_CHUNK_SHIFT)
#define HTI_HEAP_ITEM_MAX ((size_t)64 << 10) /* larger items have memory of their own */
#define HTI_HEAP_LARGE UINT32_C(0xfff00000) /* references from here on name such items */
#define HTI_HEAP_CLASSES 180u

struct hti_heap {
    unsigned unit_shift; /* log2 of the unit in which references count, bytes */
    struct hti_region chunk_index, large_index; /* struct hti_region each, of chunks and of large items */
    uint32_t n_chunks, n_large; /* made */
    uint32_t chunk; /* the one that is being filled */
    size_t used; /* of it, bytes */
    uint32_t free_items[HTI_HEAP_CLASSES]; /* reference + 1 of the first free item of a size; 0: none */
    uint32_t free_large; /* number + 1 of the first free place of large_index */
    uint32_t spares; /* number + 1 of the first large item that was reserved; 0: none */
    uint64_t live_bytes; /* of items, rounded as they are */
    uint64_t limit; /* bytes of chunks that hti_heap_make() may fill */
    _Atomic uint64_t large_bytes; /* told while more is being reserved */
};

/* `unit`: 8 or 64 bytes, also the alignment of items. The largest sum of chunks is 2^32 units. */
void hti_heap_init(struct hti_heap *heap, size_t unit);
void hti_heap_release(struct hti_heap *heap);

/* What an item takes of the room that hti_heap_reserve() makes; 0 for large items, which are reserved one by one. */
size_t hti_heap_rounded(const struct hti_heap *heap, size_t size);
bool hti_heap_has_room(const struct hti_heap *heap, uint64_t bytes);
/* Room for items whose rounded sizes add up to `bytes`, all reservations taken together. HTSTORE_ENOMEM. */
int hti_heap_reserve(struct hti_heap *heap, uint64_t bytes);
int hti_heap_reserve_large(struct hti_heap *heap, size_t size); /* one item of exactly that size */
void hti_heap_drop_spares(struct hti_heap *heap); /* large items that were reserved and not used */

/* For a heap of limited size: is there a place for this item now? Makes a chunk if the limit allows it. */
bool hti_heap_make(struct hti_heap *heap, size_t size);

uint32_t hti_heap_alloc(struct hti_heap *heap, size_t size);
void hti_heap_free(struct hti_heap *heap, uint32_t item, size_t size);
void hti_heap_clear(struct hti_heap *heap); /* forgets all items but large ones; room stays */
uint64_t hti_heap_bytes(const struct hti_heap *heap); /* memory held */

static inline void *hti_heap_at(const struct hti_heap *heap, uint32_t item)
{
    if (item >= HTI_HEAP_LARGE)
        return ((const struct hti_region *)heap->large_index.data)[item - HTI_HEAP_LARGE].data;
    const struct hti_region *chunks = heap->chunk_index.data;
    const uint64_t at = (uint64_t)item << heap->unit_shift;
    return (uint8_t *)chunks[at >> HTI_HEAP_CHUNK_SHIFT].data + (at & (HTI_HEAP_CHUNK_SIZE - 1));
}

#endif
