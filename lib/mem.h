/* mem: the only user of malloc; overflow-checked sizes; a test hook fails the nth allocation. */
#ifndef HTI_MEM_H
#define HTI_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All return NULL on overflow or lack of memory; a size of 0 yields a valid unique pointer. Free with hti_mem_free(). */
void *hti_mem_alloc(size_t size);
void *hti_mem_zalloc(size_t size);
void *hti_mem_alloc_array(size_t n, size_t item_size);
void *hti_mem_zalloc_array(size_t n, size_t item_size);
void *hti_mem_realloc_array(void *old, size_t n, size_t item_size); /* old stays valid if NULL is returned */
void *hti_mem_dup(const void *data, size_t size);
char *hti_mem_strdup(const char *text);
void hti_mem_free(void *memory); /* NULL is allowed */

/*
 * For memory that comes from elsewhere (region): count it as an allocation, which the hook may fail (false), or as freed.
 */
bool hti_mem_count(bool allocated);

/*
 * Tests: from now on let `after` allocations of this process succeed, then fail one (sticky: all following).
 * UINT64_MAX switches the hook off. Thread-safe (atomics).
 */
void hti_mem_test_fail(uint64_t after, bool sticky);
bool hti_mem_test_failed(void); /* did the hook fail an allocation since it was set? */
uint64_t hti_mem_test_live(void); /* allocations not yet freed: for leak checks in tests */

#endif
