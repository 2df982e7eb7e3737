/* members: the entries of a mapping in memory, in the order of their puts and by name. Only ever added to. */
#ifndef HTI_MEMBERS_H
#define HTI_MEMBERS_H

#include <stddef.h>
#include <stdint.h>

struct hti_core;

struct hti_member {
    char *name; /* NUL-terminated */
    size_t name_size;
    struct hti_core *core; /* borrowed: what an entry names is never deleted before the mapping */
};

/* Zeros are an empty one. Not synchronised. */
struct hti_members {
    struct hti_member *list;
    uint64_t n;
    uint64_t capacity; /* of the list */
    uint64_t *slots; /* index + 1 in the list, 0 = free; open addressing */
    uint64_t n_slots; /* a power of two, or 0 */
    uint64_t seed;
};

void hti_members_release(struct hti_members *members);
/* Room for `n` more, so that adding them cannot fail. HTSTORE_ENOMEM. */
int hti_members_reserve(struct hti_members *members, uint64_t n);
/* Add one whose name is not there yet; takes the name. */
void hti_members_add(struct hti_members *members, char *name, size_t name_size, struct hti_core *core);
/* NULL: there is none. Any bytes will do as a name. */
const struct hti_member *hti_members_find(const struct hti_members *members, const void *name, size_t name_size);

#endif
