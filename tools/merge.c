/* merge: hides how a key that occurs twice in a batch is found. */
#include "merge.h"

#include <stdlib.h>
#include <string.h>

void merge_start(struct merge *merge, const struct rows *in, const struct fetch *old)
{
    size_t n_slots = 64;

    merge->in = in;
    merge->old = old;
    if (merge->out.layout == NULL)
        rows_init(&merge->out, in->layout, false);
    rows_clear(&merge->out);
    while (n_slots < 2 * in->n)
        n_slots *= 2;
    if (n_slots > merge->n_slots) {
        free(merge->slots);
        merge->slots = memory_new(n_slots, sizeof *merge->slots);
        merge->n_slots = n_slots;
    } else {
        memset(merge->slots, 0, merge->n_slots * sizeof *merge->slots);
    }
}

/* FNV-1a, 64 bits (draft-eastlake-fnv), with a last mix because the low bits choose the slot. */
static uint64_t hash_bytes(const void *data, size_t size)
{
    const unsigned char *p = data;
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ p[i]) * 0x100000001b3u;
    return hash ^ (hash >> 29);
}

static uint64_t hash_key(const struct rows_layout *layout, const void *key)
{
    struct htstore_bytes bytes;

    if (layout->key_dtype != HTSTORE_STRING)
        return hash_bytes(key, layout->key_size);
    memcpy(&bytes, key, sizeof bytes);
    return hash_bytes(bytes.data, bytes.size);
}

/* The slot that holds the key, or the free one where it belongs. */
static size_t *find_slot(const struct merge *merge, const void *key)
{
    const struct rows_layout *layout = merge->in->layout;
    size_t at = (size_t)hash_key(layout, key) & (merge->n_slots - 1);

    while (merge->slots[at] != 0 && !rows_equal(layout->key_dtype, 1, rows_key(&merge->out, merge->slots[at] - 1), key))
        at = (at + 1) & (merge->n_slots - 1);
    return &merge->slots[at];
}

static void write_row(struct merge *merge, size_t *slot, size_t i)
{
    const struct rows_layout *layout = merge->in->layout;
    size_t size = layout->width * layout->element_size;

    if (*slot == 0) {
        rows_append_row(&merge->out, merge->in, i);
        *slot = merge->out.n;
    } else if (size > 0) {
        memcpy(rows_value(&merge->out, *slot - 1), rows_value(merge->in, i), size);
    }
}

enum merge_outcome merge_row(struct merge *merge, size_t i, const void **present)
{
    const struct rows_layout *layout = merge->in->layout;
    size_t *slot = find_slot(merge, rows_key(merge->in, i));

    *present = NULL;
    if (*slot != 0)
        *present = rows_value(&merge->out, *slot - 1);
    else if (merge->old != NULL && merge->old->found[i] != 0)
        *present = fetch_value(merge->old, layout, i);
    if (*present == NULL) {
        write_row(merge, slot, i);
        return MERGE_INSERTED;
    }
    if (rows_equal(layout->value_dtype, layout->width, *present, rows_value(merge->in, i)))
        return MERGE_EQUAL;
    if (merge->policy == MERGE_ERROR)
        return MERGE_CONFLICT;
    if (merge->policy == MERGE_KEEP)
        return MERGE_KEPT;
    write_row(merge, slot, i);
    return MERGE_REPLACED;
}

void merge_release(struct merge *merge)
{
    rows_release(&merge->out);
    free(merge->slots);
    memset(merge, 0, sizeof *merge);
}
