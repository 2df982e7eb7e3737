/* region: hides where large arrays come from. */
#include "region.h"

#include <string.h>
#include <sys/mman.h>

#include "mem.h"

#define SMALL_SIZE ((size_t)256 << 10) /* below: from the heap */
#define HUGE_PAGE ((size_t)2 << 20) /* of x86-64, and of arm64 with 4 KiB pages; elsewhere only an alignment */

static size_t round_up(size_t size, size_t unit)
{
    return (size + unit - 1) / unit * unit;
}

static struct hti_region from_heap(size_t size)
{
    struct hti_region region = { .size = size };

    region.memory = hti_mem_zalloc(size + HTI_REGION_ALIGNMENT);
    if (region.memory)
        region.data = (void *)round_up((uintptr_t)region.memory, HTI_REGION_ALIGNMENT);
    return region;
}

/* Map more than is needed, and give back what lies before and behind the aligned part. */
static void *map_aligned(size_t size, size_t alignment, int flags)
{
    const size_t whole = size + alignment;
    uint8_t *start = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

    if (start == MAP_FAILED)
        return NULL;
    uint8_t *data = (uint8_t *)round_up((uintptr_t)start, alignment);
    if (data > start)
        munmap(start, (size_t)(data - start));
    if (data + size < start + whole)
        munmap(data + size, (size_t)(start + whole - (data + size)));
    return data;
}

struct hti_region hti_region_new(size_t size, enum hti_region_kind kind)
{
    const size_t unit = kind == HTI_REGION_DENSE ? HUGE_PAGE : 4096;
    struct hti_region region = { .size = size };

    if (size < SMALL_SIZE)
        return from_heap(size);
    if (size > SIZE_MAX / 2 || !hti_mem_count(true))
        return region;
    region.mapped = round_up(size, size < HUGE_PAGE ? 4096 : unit);
    region.data = map_aligned(region.mapped, unit, kind == HTI_REGION_SPARSE ? MAP_NORESERVE : 0);
    if (!region.data) {
        hti_mem_count(false);
        return region;
    }
    if (kind == HTI_REGION_DENSE && size >= HUGE_PAGE)
        madvise(region.data, region.mapped, MADV_HUGEPAGE); /* without them it is only slower */
    return region;
}

void hti_region_free(struct hti_region *region)
{
    if (region->mapped > 0 && region->data) {
        munmap(region->data, region->mapped);
        hti_mem_count(false);
    } else {
        hti_mem_free(region->memory);
    }
    memset(region, 0, sizeof *region);
}

void hti_region_forget(struct hti_region *region)
{
    if (region->mapped > 0)
        madvise(region->data, region->mapped, MADV_DONTNEED); /* if that fails the pages stay: no harm */
}
