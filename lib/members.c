/* members: hides the table of hashes by which a mapping finds its entries. */
#include "members.h"

#include <assert.h>
#include <string.h>

#include "hash.h"
#include "htstore.h"
#include "mem.h"

#define FIRST_CAPACITY 8u

void hti_members_release(struct hti_members *members)
{
    for (uint64_t i = 0; i < members->n; i++)
        hti_mem_free(members->list[i].name);
    hti_mem_free(members->list);
    hti_mem_free(members->slots);
    memset(members, 0, sizeof *members);
}

/* The slot of that name, or the free one where it would stand. */
static uint64_t find_slot(const struct hti_members *members, const void *name, size_t name_size)
{
    const uint64_t mask = members->n_slots - 1;
    uint64_t at = hti_hash64(name, name_size, members->seed) & mask;

    while (members->slots[at] != 0) {
        const struct hti_member *member = &members->list[members->slots[at] - 1];
        if (member->name_size == name_size && memcmp(member->name, name, name_size) == 0)
            break;
        at = (at + 1) & mask;
    }
    return at;
}

/* Twice as many slots as the list can hold, at least. */
static int grow_slots(struct hti_members *members, uint64_t capacity)
{
    struct hti_members more = { .list = members->list, .n_slots = 2 * FIRST_CAPACITY };

    while (more.n_slots < 2 * capacity)
        more.n_slots *= 2;
    more.slots = hti_mem_zalloc_array((size_t)more.n_slots, sizeof *more.slots);
    if (!more.slots)
        return HTSTORE_ENOMEM;
    hti_hash_random(&more.seed, sizeof more.seed);
    for (uint64_t i = 0; i < members->n; i++)
        more.slots[find_slot(&more, members->list[i].name, members->list[i].name_size)] = i + 1;
    hti_mem_free(members->slots);
    members->slots = more.slots;
    members->n_slots = more.n_slots;
    members->seed = more.seed;
    return 0;
}

int hti_members_reserve(struct hti_members *members, uint64_t n)
{
    const uint64_t wanted = members->n + n;
    uint64_t capacity = members->capacity ? members->capacity : FIRST_CAPACITY;
    struct hti_member *more;

    if (wanted <= members->capacity)
        return 0;
    while (capacity < wanted)
        capacity *= 2;
    more = hti_mem_realloc_array(members->list, (size_t)capacity, sizeof *more);
    if (!more)
        return HTSTORE_ENOMEM;
    members->list = more;
    if (grow_slots(members, capacity) != 0)
        return HTSTORE_ENOMEM;
    members->capacity = capacity;
    return 0;
}

void hti_members_add(struct hti_members *members, char *name, size_t name_size, struct hti_core *core)
{
    const uint64_t at = find_slot(members, name, name_size);

    assert(members->n < members->capacity && members->slots[at] == 0);
    members->list[members->n] = (struct hti_member){ name, name_size, core };
    members->slots[at] = ++members->n;
}

const struct hti_member *hti_members_find(const struct hti_members *members, const void *name, size_t name_size)
{
    uint64_t index;

    if (members->n == 0)
        return NULL;
    index = members->slots[find_slot(members, name_size ? name : "", name_size)];
    return index ? &members->list[index - 1] : NULL;
}
