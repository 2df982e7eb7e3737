/* radix: numbers in ascending order, stably, without a comparison function. */
#ifndef HTI_RADIX_H
#define HTI_RADIX_H

#include <stddef.h>
#include <stdint.h>

struct hti_radix_item {
    uint64_t key;
    const void *place; /* goes with it */
};

/* Items of equal keys keep their order. `scratch` has room for n items; what it holds afterwards is of no use. */
void hti_radix_sort(struct hti_radix_item *items, struct hti_radix_item *scratch, size_t n);

#endif
