/* heap: hides how items are placed, which sizes share free places, and where large items live. */
#include "heap.h"

#include <assert.h>
#include <string.h>

#include "bytes.h"
#include "htstore.h"

#define EXACT_UNITS 128u /* items up to so many units have a class for each size; above, eight for each doubling */
#define MAX_LARGE (UINT32_MAX - HTI_HEAP_LARGE)
#define FIRST_CHUNKS 4u /* not on huge pages: most tables are small */

void hti_heap_init(struct hti_heap *heap, size_t unit)
{
    memset(heap, 0, sizeof *heap);
    heap->unit_shift = unit == 64 ? 6 : 3;
    heap->limit = UINT64_MAX;
}

static struct hti_region *chunk_at(const struct hti_heap *heap, uint32_t i)
{
    return (struct hti_region *)heap->chunk_index.data + i;
}

static struct hti_region *large_at(const struct hti_heap *heap, uint32_t i)
{
    return (struct hti_region *)heap->large_index.data + i;
}

void hti_heap_release(struct hti_heap *heap)
{
    for (uint32_t i = 0; i < heap->n_chunks; i++)
        hti_region_free(chunk_at(heap, i));
    for (uint32_t i = 0; i < heap->n_large; i++)
        hti_region_free(large_at(heap, i)); /* free places have no memory */
    hti_region_free(&heap->chunk_index);
    hti_region_free(&heap->large_index);
    memset(heap, 0, sizeof *heap);
}

/* --- sizes --- */

static unsigned log2_of(uint32_t n)
{
    return 31u - (unsigned)__builtin_clz(n);
}

/* The class of a size in units, and the units that its items have. */
static unsigned class_of(uint32_t units, uint32_t *rounded)
{
    if (units <= EXACT_UNITS) {
        *rounded = units;
        return units;
    }
    const unsigned step_shift = log2_of(units - 1) - 3; /* 8 steps from one power of two to the next */
    const uint32_t steps = (units - 1) >> step_shift; /* 8 to 15 */
    *rounded = (steps + 1) << step_shift;
    return EXACT_UNITS + 1 + (step_shift - (log2_of(EXACT_UNITS) - 3)) * 8 + (steps - 8);
}

static uint32_t units_of(const struct hti_heap *heap, size_t size)
{
    const size_t unit = (size_t)1 << heap->unit_shift;
    return size > 0 ? (uint32_t)((size + unit - 1) >> heap->unit_shift) : 1;
}

size_t hti_heap_rounded(const struct hti_heap *heap, size_t size)
{
    uint32_t rounded;

    if (size > HTI_HEAP_ITEM_MAX)
        return 0;
    class_of(units_of(heap, size), &rounded);
    return (size_t)rounded << heap->unit_shift;
}

/* --- room --- */

/* Whatever the sizes, at most one item's worth of a chunk stays unused at its end. */
#define CHUNK_ROOM (HTI_HEAP_CHUNK_SIZE - HTI_HEAP_ITEM_MAX)

bool hti_heap_has_room(const struct hti_heap *heap, uint64_t bytes)
{
    uint64_t room = 0;

    if (heap->n_chunks > 0) {
        room = (uint64_t)(heap->n_chunks - 1 - heap->chunk) * CHUNK_ROOM;
        room += heap->used < CHUNK_ROOM ? CHUNK_ROOM - heap->used : 0;
    }
    return bytes <= room;
}

/* The index is address space: it never moves, so that readers need not be kept out. */
static int make_index(struct hti_region *index, uint64_t n)
{
    if (!index->data)
        *index = hti_region_new((size_t)n * sizeof(struct hti_region), HTI_REGION_SPARSE);
    return index->data ? 0 : HTSTORE_ENOMEM;
}

static uint64_t max_chunks(const struct hti_heap *heap)
{
    const uint64_t most = (uint64_t)HTI_HEAP_LARGE << heap->unit_shift >> HTI_HEAP_CHUNK_SHIFT;
    return most < 65536 ? most : 65536;
}

static int add_chunk(struct hti_heap *heap)
{
    struct hti_region chunk;

    if (heap->n_chunks >= max_chunks(heap) || make_index(&heap->chunk_index, max_chunks(heap)) != 0)
        return HTSTORE_ENOMEM;
    chunk = hti_region_new(HTI_HEAP_CHUNK_SIZE, heap->n_chunks < FIRST_CHUNKS ? HTI_REGION_SPARSE : HTI_REGION_DENSE);
    if (!chunk.data)
        return HTSTORE_ENOMEM;
    *chunk_at(heap, heap->n_chunks++) = chunk;
    return 0;
}

int hti_heap_reserve(struct hti_heap *heap, uint64_t bytes)
{
    while (!hti_heap_has_room(heap, bytes))
        if (add_chunk(heap) != 0)
            return HTSTORE_ENOMEM;
    return 0;
}

bool hti_heap_make(struct hti_heap *heap, size_t size)
{
    uint32_t units;

    if (size > HTI_HEAP_ITEM_MAX)
        return false;
    if (heap->free_items[class_of(units_of(heap, size), &units)] != 0)
        return true;
    const size_t bytes = (size_t)units << heap->unit_shift;
    if ((uint64_t)heap->chunk * HTI_HEAP_CHUNK_SIZE + heap->used + bytes > heap->limit)
        return false;
    const uint32_t chunk = heap->used + bytes > HTI_HEAP_CHUNK_SIZE ? heap->chunk + 1 : heap->chunk;
    return chunk < heap->n_chunks || add_chunk(heap) == 0;
}

/* Free places are linked through the sizes of their regions, spares through `mapped` of a second region: kept apart. */
int hti_heap_reserve_large(struct hti_heap *heap, size_t size)
{
    struct hti_region memory;
    uint32_t number;

    if (make_index(&heap->large_index, MAX_LARGE) != 0)
        return HTSTORE_ENOMEM;
    if (heap->free_large == 0 && heap->n_large >= MAX_LARGE)
        return HTSTORE_ENOMEM;
    memory = hti_region_new(size + sizeof(uint64_t), HTI_REGION_SPARSE); /* the link lies behind the item */
    if (!memory.data)
        return HTSTORE_ENOMEM;
    if (heap->free_large != 0) {
        number = heap->free_large - 1;
        heap->free_large = (uint32_t)large_at(heap, number)->size;
    } else {
        number = heap->n_large++;
    }
    hti_store_le64((uint8_t *)memory.data + size, heap->spares);
    *large_at(heap, number) = memory;
    heap->spares = number + 1;
    heap->large_bytes += memory.size;
    return 0;
}

static void free_large(struct hti_heap *heap, uint32_t number)
{
    struct hti_region *place = large_at(heap, number);

    heap->large_bytes -= place->size;
    hti_region_free(place);
    place->size = heap->free_large;
    heap->free_large = number + 1;
}

static uint32_t link_of(const struct hti_region *spare)
{
    return (uint32_t)hti_load_le64((const uint8_t *)spare->data + spare->size - sizeof(uint64_t));
}

void hti_heap_drop_spares(struct hti_heap *heap)
{
    while (heap->spares != 0) {
        const uint32_t number = heap->spares - 1;
        heap->spares = link_of(large_at(heap, number));
        free_large(heap, number);
    }
}

/* --- items --- */

static uint32_t take_spare(struct hti_heap *heap, size_t size)
{
    uint32_t before = 0;

    for (uint32_t at = heap->spares; at != 0; at = link_of(large_at(heap, at - 1))) {
        struct hti_region *spare = large_at(heap, at - 1);
        if (spare->size == size + sizeof(uint64_t)) {
            const uint32_t next = link_of(spare);
            if (before == 0)
                heap->spares = next;
            else
                hti_store_le64((uint8_t *)large_at(heap, before - 1)->data + large_at(heap, before - 1)->size -
                                   sizeof(uint64_t),
                               next);
            return HTI_HEAP_LARGE + at - 1;
        }
        before = at;
    }
    assert(false && "room was reserved");
    return 0;
}

uint32_t hti_heap_alloc(struct hti_heap *heap, size_t size)
{
    uint32_t units, item;

    if (size > HTI_HEAP_ITEM_MAX)
        return take_spare(heap, size);
    const unsigned class = class_of(units_of(heap, size), &units);
    const size_t bytes = (size_t)units << heap->unit_shift;
    heap->live_bytes += bytes;
    if (heap->free_items[class] != 0) {
        item = heap->free_items[class] - 1;
        heap->free_items[class] = hti_load_le32(hti_heap_at(heap, item));
        return item;
    }
    if (heap->used + bytes > HTI_HEAP_CHUNK_SIZE) {
        heap->chunk++;
        heap->used = 0;
    }
    assert(heap->chunk < heap->n_chunks);
    item = (uint32_t)((((uint64_t)heap->chunk << HTI_HEAP_CHUNK_SHIFT) + heap->used) >> heap->unit_shift);
    heap->used += bytes;
    return item;
}

void hti_heap_free(struct hti_heap *heap, uint32_t item, size_t size)
{
    uint32_t units;

    if (item >= HTI_HEAP_LARGE) {
        free_large(heap, item - HTI_HEAP_LARGE);
        return;
    }
    const unsigned class = class_of(units_of(heap, size), &units);
    heap->live_bytes -= (uint64_t)units << heap->unit_shift;
    hti_store_le32(hti_heap_at(heap, item), heap->free_items[class]);
    heap->free_items[class] = item + 1;
}

void hti_heap_clear(struct hti_heap *heap)
{
    if (heap->n_chunks == 0)
        return;
    /* Reservations stay: as many chunks as there are, though the system gets their pages back. */
    for (uint32_t i = 0; i <= heap->chunk; i++)
        hti_region_forget(chunk_at(heap, i));
    heap->chunk = 0;
    heap->used = 0;
    heap->live_bytes = 0;
    memset(heap->free_items, 0, sizeof heap->free_items);
}

/*
 * What has been touched: pages are not there before, except on huge pages. Looks at nothing that hti_heap_reserve() changes
 * but what is atomic.
 */
uint64_t hti_heap_bytes(const struct hti_heap *heap)
{
    const uint64_t last = heap->chunk < FIRST_CHUNKS ? heap->used : HTI_HEAP_CHUNK_SIZE;

    return (uint64_t)heap->chunk * HTI_HEAP_CHUNK_SIZE + last + atomic_load(&heap->large_bytes);
}
