/*
 * radix: hides the choice of digits. What does not fit a core's cache is first dealt out by the highest byte in which keys differ,
 * so that the passes over the other bytes, lowest first, stay in the cache. Bytes that all keys share cost nothing.
 */
#include "radix.h"

#include <stdbool.h>
#include <string.h>

#define N_DIGITS 256u
#define FEW 32u /* sorted by insertion */
#define CACHED 32768u /* items: half a MiB, and as much of scratch */

static void sort_few(struct hti_radix_item *items, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        const struct hti_radix_item item = items[i];
        size_t at = i;
        for (; at > 0 && items[at - 1].key > item.key; at--)
            items[at] = items[at - 1];
        items[at] = item;
    }
}

/* Bits in which keys differ; 0 if they ascend already. */
static uint64_t differing_bits(const struct hti_radix_item *items, size_t n)
{
    uint64_t bits = 0;
    bool ascend = true;

    for (size_t i = 1; i < n; i++) {
        bits |= items[i].key ^ items[0].key;
        ascend &= items[i - 1].key <= items[i].key;
    }
    return ascend ? 0 : bits;
}

/* Deal items out by 8 bits of their keys. starts: where each digit begins, and the end. */
static void deal(const struct hti_radix_item *items, struct hti_radix_item *out, size_t n, unsigned shift,
                 size_t starts[N_DIGITS + 1])
{
    size_t next[N_DIGITS] = { 0 }, at = 0;

    for (size_t i = 0; i < n; i++)
        next[items[i].key >> shift & 0xff]++;
    for (size_t digit = 0; digit < N_DIGITS; digit++) {
        const size_t count = next[digit];
        starts[digit] = next[digit] = at;
        at += count;
    }
    starts[N_DIGITS] = at;
    for (size_t i = 0; i < n; i++)
        out[next[items[i].key >> shift & 0xff]++] = items[i];
}

static void sort_cached(struct hti_radix_item *items, struct hti_radix_item *scratch, size_t n, uint64_t bits)
{
    struct hti_radix_item *from = items, *to = scratch;
    size_t starts[N_DIGITS + 1];

    for (unsigned shift = 0; shift < 64; shift += 8) {
        if ((bits >> shift & 0xff) == 0)
            continue;
        deal(from, to, n, shift, starts);
        struct hti_radix_item *swap = from;
        from = to;
        to = swap;
    }
    if (from != items)
        memcpy(items, from, n * sizeof *items);
}

void hti_radix_sort(struct hti_radix_item *items, struct hti_radix_item *scratch, size_t n)
{
    size_t starts[N_DIGITS + 1];
    uint64_t bits;

    if (n <= FEW) {
        sort_few(items, n);
        return;
    }
    bits = differing_bits(items, n);
    if (bits == 0)
        return;
    if (n <= CACHED) {
        sort_cached(items, scratch, n, bits);
        return;
    }
    /* the highest bit is among these 8: each part differs in lower ones only, so this goes at most 8 deep */
    const unsigned top = 63 - (unsigned)__builtin_clzll(bits), shift = top > 7 ? top - 7 : 0;
    deal(items, scratch, n, shift, starts);
    memcpy(items, scratch, n * sizeof *items);
    for (size_t digit = 0; digit < N_DIGITS; digit++)
        hti_radix_sort(items + starts[digit], scratch, starts[digit + 1] - starts[digit]);
}
