/*
 * region: memory for large arrays: zeroed, aligned to cache lines, touched only where it is used, and on huge pages where
 * it is large and the system gives them.
 */
#ifndef HTI_REGION_H
#define HTI_REGION_H

#include <stddef.h>
#include <stdint.h>

#define HTI_REGION_ALIGNMENT 64u

/* Who owns it frees it with the same size. */
struct hti_region {
    void *data;
    size_t size; /* as asked for */
    size_t mapped; /* bytes that were mapped; 0: it comes from the heap */
    void *memory; /* of the heap */
};

enum hti_region_kind {
    HTI_REGION_DENSE = 0, /* all of it will be used */
    HTI_REGION_SPARSE = 1 /* address space of which the first part may be enough: no huge pages */
};

/* NULL data: no memory. A size of 0 gives a valid address. */
struct hti_region hti_region_new(size_t size, enum hti_region_kind kind);
void hti_region_free(struct hti_region *region); /* one without data does nothing */

void hti_region_forget(struct hti_region *region); /* the contents; what was mapped is given back until it is used */

#endif
