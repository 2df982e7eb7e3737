/* mem: hides malloc, the overflow checks and the counters behind the test hook. */
#include "mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Allocations that still succeed; UINT64_MAX: no limit. */
static _Atomic uint64_t n_allowed = UINT64_MAX;
static _Atomic bool fails_for_good;
static _Atomic bool has_failed;
static _Atomic uint64_t n_live;

/* Count one allocation against the hook. Returns whether it must fail. */
static bool count_against_hook(void)
{
    uint64_t left = atomic_load_explicit(&n_allowed, memory_order_relaxed);
    while (left != UINT64_MAX) {
        uint64_t next = left > 0 ? left - 1 : atomic_load(&fails_for_good) ? 0 : UINT64_MAX;
        if (!atomic_compare_exchange_weak(&n_allowed, &left, next))
            continue;
        if (left == 0)
            atomic_store(&has_failed, true);
        return left == 0;
    }
    return false;
}

static void *count_live(void *memory)
{
    if (memory)
        atomic_fetch_add_explicit(&n_live, 1, memory_order_relaxed);
    return memory;
}

static size_t at_least_one(size_t size)
{
    return size > 0 ? size : 1;
}

void *hti_mem_alloc(size_t size)
{
    if (count_against_hook())
        return NULL;
    return count_live(malloc(at_least_one(size)));
}

void *hti_mem_zalloc(size_t size)
{
    if (count_against_hook())
        return NULL;
    return count_live(calloc(1, at_least_one(size)));
}

void *hti_mem_alloc_array(size_t n, size_t item_size)
{
    size_t size;
    if (__builtin_mul_overflow(n, item_size, &size))
        return NULL;
    return hti_mem_alloc(size);
}

void *hti_mem_zalloc_array(size_t n, size_t item_size)
{
    size_t size;
    if (__builtin_mul_overflow(n, item_size, &size))
        return NULL;
    return hti_mem_zalloc(size);
}

void *hti_mem_realloc_array(void *old, size_t n, size_t item_size)
{
    size_t size;
    if (!old)
        return hti_mem_alloc_array(n, item_size);
    if (__builtin_mul_overflow(n, item_size, &size) || count_against_hook())
        return NULL;
    return realloc(old, at_least_one(size));
}

void *hti_mem_dup(const void *data, size_t size)
{
    void *copy = hti_mem_alloc(size);
    if (copy && size > 0)
        memcpy(copy, data, size);
    return copy;
}

char *hti_mem_strdup(const char *text)
{
    return hti_mem_dup(text, strlen(text) + 1);
}

void hti_mem_free(void *memory)
{
    if (!memory)
        return;
    atomic_fetch_sub_explicit(&n_live, 1, memory_order_relaxed);
    free(memory);
}

bool hti_mem_count(bool allocated)
{
    if (allocated && count_against_hook())
        return false;
    atomic_fetch_add_explicit(&n_live, allocated ? 1 : UINT64_MAX, memory_order_relaxed);
    return true;
}

void hti_mem_test_fail(uint64_t after, bool sticky)
{
    atomic_store(&n_allowed, UINT64_MAX);
    atomic_store(&has_failed, false);
    atomic_store(&fails_for_good, sticky);
    atomic_store(&n_allowed, after);
}

bool hti_mem_test_failed(void)
{
    return atomic_load(&has_failed);
}

uint64_t hti_mem_test_live(void)
{
    return atomic_load(&n_live);
}
