/* wreck_entries: hides how entries of two states of the catalogue become one list, and what is known to be missing in it. */
#include "wreck_entries.h"

#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "text.h"

#define KEY_TEXT_SIZE 96

static int no_memory(struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_ENOMEM, "no memory to recover the store");
}

/* --- one list --- */

static int compare_names(const struct hti_entry_record *a, const struct hti_entry_record *b)
{
    const size_t n = a->name_size < b->name_size ? a->name_size : b->name_size;
    const int order = memcmp(a->name, b->name, n);

    return order ? order : (a->name_size > b->name_size) - (a->name_size < b->name_size);
}

static int compare_entries(const void *a, const void *b)
{
    const struct hti_entry_record *x = a, *y = b;

    if (x->mapping != y->mapping)
        return x->mapping < y->mapping ? -1 : 1;
    if (x->index != y->index)
        return x->index < y->index ? -1 : 1;
    return compare_names(x, y);
}

/* An entry never changes: what both states tell is the same. */
static void drop_twins(struct hti_wreck *wreck)
{
    size_t n = 0;

    for (size_t i = 0; i < wreck->n_entries; i++) {
        if (n > 0 && compare_entries(&wreck->entries[n - 1], &wreck->entries[i]) == 0)
            hti_mem_free((char *)(uintptr_t)wreck->entries[i].name);
        else
            wreck->entries[n++] = wreck->entries[i];
    }
    wreck->n_entries = n;
}

static size_t place_of(const struct hti_wreck *wreck, uint64_t mapping)
{
    size_t low = 0, high = wreck->n_entries;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (wreck->entries[middle].mapping < mapping)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct hti_entry_record *hti_wreck_entries_of(const struct hti_wreck *wreck, uint64_t mapping, size_t *n)
{
    const size_t first = place_of(wreck, mapping);
    const size_t end = mapping == UINT64_MAX ? wreck->n_entries : place_of(wreck, mapping + 1);

    *n = end - first;
    return wreck->entries ? &wreck->entries[first] : NULL;
}

/* --- what is missing --- */

/* Are these the entries that the catalogue promises? */
static void judge_mapping(struct hti_wreck *wreck, const struct hti_wreck_table *mapping)
{
    char label[HTI_WRECK_LABEL_SIZE];
    struct hti_hash128 digest = { 0 };
    size_t n;
    const struct hti_entry_record *entries = hti_wreck_entries_of(wreck, mapping->id, &n);
    const struct hti_totals_record *totals = &mapping->totals;

    hti_wreck_label(mapping, label);
    for (size_t i = 0; i < n; i++)
        hti_digest_add(&digest, hti_catalog_entry_hash(&entries[i]));
    if (!mapping->has_totals) {
        hti_wreck_warn(wreck, "%s: its totals are missing or damaged: entries may be missing", label);
    } else if (n < totals->n_rows) {
        wreck->found.n_lost_entries += totals->n_rows - n;
        hti_wreck_warn(wreck, "%s: %llu of %llu entries readable: the keys of the others are free now", label,
                       (unsigned long long)n, (unsigned long long)totals->n_rows);
    } else if (mapping->totals_state == 0 &&
               (n > totals->n_rows || digest.low != totals->digest.low || digest.high != totals->digest.high)) {
        hti_wreck_warn(wreck, "%s: its entries are not those that the catalogue counts", label);
    }
}

static void tell_lost(struct hti_wreck *wreck, const struct hti_entry_record *entry, bool has_mapping)
{
    char key[KEY_TEXT_SIZE];

    hti_text_escape(key, sizeof key, entry->name, entry->name_size);
    if (wreck->found.n_lost_entries++ < HTI_WRECK_MAX_TOLD)
        hti_wreck_warn(wreck, "the entry '%s' of mapping number %llu is lost: object number %llu is not readable", key,
                       (unsigned long long)entry->mapping,
                       (unsigned long long)(has_mapping ? entry->object : entry->mapping));
}

/* Drop entries of lost mappings, and of lost objects. Whoever nobody knew is counted as lost. */
static int drop_lost(struct hti_wreck *wreck, struct htstore_error *error)
{
    const uint64_t before = wreck->found.n_lost_entries;
    size_t n = 0;

    for (size_t i = 0; i < wreck->n_entries; i++) {
        const struct hti_entry_record entry = wreck->entries[i];
        const struct hti_wreck_table *table = hti_wreck_table(wreck, entry.mapping);
        const bool has_mapping = table && table->has_record && table->record.kind == HTSTORE_KIND_MAPPING;
        table = table ? hti_wreck_table(wreck, entry.object) : NULL;
        if (!table) {
            memmove(&wreck->entries[n], &wreck->entries[i], (wreck->n_entries - i) * sizeof *wreck->entries);
            wreck->n_entries -= i - n;
            return no_memory(error);
        }
        if (has_mapping && table->has_record) {
            wreck->entries[n++] = entry;
            continue;
        }
        tell_lost(wreck, &entry, has_mapping);
        hti_mem_free((char *)(uintptr_t)entry.name);
    }
    wreck->n_entries = n;
    if (wreck->found.n_lost_entries - before > HTI_WRECK_MAX_TOLD)
        hti_wreck_warn(wreck, "%llu entries lost in all", (unsigned long long)wreck->found.n_lost_entries);
    return 0;
}

/* --- what names lead to --- */

static int mark_reached(struct hti_wreck *wreck, struct htstore_error *error)
{
    struct hti_wreck_table **stack = hti_mem_alloc_array(wreck->n_tables, sizeof(struct hti_wreck_table *));
    size_t n = 0, n_entries;

    if (!stack)
        return no_memory(error);
    for (size_t i = 0; i < wreck->n_tables; i++) {
        struct hti_wreck_table *table = &wreck->tables[i];
        table->reached = table->has_record && table->record.name && !table->replaced;
        if (table->reached)
            stack[n++] = table;
    }
    while (n > 0) {
        const struct hti_entry_record *entries = hti_wreck_entries_of(wreck, stack[--n]->id, &n_entries);
        for (size_t i = 0; i < n_entries; i++) {
            struct hti_wreck_table *table = hti_wreck_table(wreck, entries[i].object); /* known: none is added */
            if (!table->reached)
                stack[n++] = table;
            table->reached = true;
        }
    }
    hti_mem_free(stack);
    return 0;
}

int hti_wreck_entries_settle(struct hti_wreck *wreck, struct htstore_error *error)
{
    int rc;

    if (wreck->n_entries > 1)
        qsort(wreck->entries, wreck->n_entries, sizeof *wreck->entries, compare_entries);
    drop_twins(wreck);
    for (size_t i = 0; i < wreck->n_tables; i++)
        if (wreck->tables[i].has_record && wreck->tables[i].record.kind == HTSTORE_KIND_MAPPING)
            judge_mapping(wreck, &wreck->tables[i]);
    rc = drop_lost(wreck, error);
    return rc ? rc : mark_reached(wreck, error);
}
