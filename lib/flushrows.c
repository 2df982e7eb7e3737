/* flushrows: hides how rows are searched, compared and counted, and how many pages that makes dirty. */
#include "flushrows.h"

#include <assert.h>
#include <string.h>

#include "fixedrows.h"

#define PAGES_PER_TABLE 16u /* branch pages, catalogue */

int hti_flushrows_begin(struct hti_flushrows *rows, struct hti_kv_write *write, struct htstore_error *error)
{
    struct hti_kv_bytes key;
    int rc;

    if (rows->totals.database == 0)
        return 0;
    rc = hti_kv_last_key(write, rows->totals.database, &key, error);
    if (rc < 0)
        return rc;
    rows->has_last = rc == 0;
    if (rc == 0) {
        memcpy(rows->last, key.data, key.size);
        rows->last_size = key.size;
    }
    return 0;
}

/* New leaves may be half full, appended ones are not. */
uint64_t hti_flushrows_pages(const struct hti_flushrows *rows)
{
    const uint64_t leaves = rows->n_spans + rows->new_bytes / (hti_kv_page_size(rows->kv) / 2);

    return leaves + leaves / 50 + rows->overflow_pages + PAGES_PER_TABLE;
}

/*
 * LMDB does not tell which page a row is on. Rows whose addresses lie less than a page apart are on two pages at most, since pages
 * do not overlap; so such spans, counted in the order of keys, are at least half of the pages.
 */
static void note_place(struct hti_flushrows *rows, const void *address)
{
    const uintptr_t at = (uintptr_t)address, size = hti_kv_page_size(rows->kv);

    if (rows->n_spans > 0 && at >= rows->low && at - rows->low < size) {
        if (at > rows->high)
            rows->high = at;
    } else if (rows->n_spans > 0 && at < rows->low && rows->high - at < size) {
        rows->low = at;
    } else {
        rows->low = rows->high = at;
        rows->n_spans++;
    }
}

/* Count and digest follow what the page holds: replaying is harmless, and a rotten row stays provable. */
static void forget_old(struct hti_flushrows *rows, struct hti_kv_bytes key, struct hti_kv_bytes old)
{
    uint8_t key_space[8];
    struct hti_row row;

    hti_codec_peek_row(&rows->table->core->type, key.data, key.size, old.data, old.size, key_space, &row);
    hti_digest_subtract(&rows->totals.digest, hti_hash_row(row.key, row.key_size, row.value, row.value_size));
    rows->totals.n_rows--;
}

static bool is_behind(const struct hti_flushrows *rows, struct hti_kv_bytes key)
{
    const size_t shorter = key.size < rows->last_size ? key.size : rows->last_size;
    const int order = rows->has_last ? memcmp(key.data, rows->last, shorter) : 1;

    return order > 0 || (order == 0 && key.size > rows->last_size);
}

/* `grows`: it may need a place of its own in a leaf that is full. */
static void count_new(struct hti_flushrows *rows, struct hti_hash128 hash, size_t key_size, size_t size, bool grows)
{
    hti_digest_add(&rows->totals.digest, hash);
    rows->totals.n_rows++;
    rows->overflow_pages += hti_kv_overflow_pages(rows->kv, key_size, size);
    rows->new_bytes += grows ? key_size + size + 10 : 0;
}

static int put_row(struct hti_flushrows *rows, struct hti_kv_write *write, struct hti_kv_bytes key,
                   struct hti_kv_bytes value, struct hti_hash128 hash, struct htstore_error *error)
{
    struct hti_kv_bytes stored;
    bool grows;
    int rc;

    rows->appending = rows->appending || is_behind(rows, key);
    if (rows->appending)
        rc = hti_kv_append(write, rows->totals.database, key, value, &stored, error);
    else
        rc = hti_kv_offer(write, rows->totals.database, key, value, &stored, error);
    grows = rc == 0 ? !rows->appending : rc == 1 && stored.size != value.size;
    if (rc == 1) {
        if (!grows && memcmp(stored.data, value.data, value.size) == 0)
            return 0;
        forget_old(rows, key, stored);
        rc = hti_kv_replace_found(write, key, value, &stored, error);
    }
    if (rc != 0)
        return rc;
    count_new(rows, hash, key.size, value.size, grows);
    note_place(rows, stored.data);
    return 0;
}

static int remove_row(struct hti_flushrows *rows, struct hti_kv_write *write, struct hti_kv_bytes key,
                      struct htstore_error *error)
{
    struct hti_kv_bytes old;
    int rc;

    if (rows->appending || is_behind(rows, key))
        return 0;
    rc = hti_kv_find(write, rows->totals.database, key, &old, error);
    if (rc != 0)
        return rc == 1 ? 0 : rc;
    forget_old(rows, key, old);
    note_place(rows, old.data);
    return hti_kv_remove_found(write, error);
}

/* --- many rows of small fixed width --- */

static bool are_small(const struct hti_flushrows *rows)
{
    return rows->table->is_fixed && rows->table->core->type.value_size <= HTI_FIXEDROWS_MAX_VALUE;
}

/* Values lie where their records came from, each in a line of its own: have the next ones fetched. */
static void prefetch(const struct hti_flushrows *rows, size_t at)
{
    for (size_t i = at; i < rows->table->end && i < at + HTI_FIXEDROWS_GROUP; i++)
        __builtin_prefetch(rows->run->items[i].place);
}

static int apply_group(struct hti_flushrows *rows, struct hti_kv_write *write, size_t *at, struct htstore_error *error)
{
    const struct hti_row_type *type = &rows->table->core->type;
    const size_t left = rows->table->end - *at, row_size = (size_t)type->value_size + 4;
    const uint32_t n = left < HTI_FIXEDROWS_GROUP ? (uint32_t)left : HTI_FIXEDROWS_GROUP;
    const struct hti_radix_item *items = rows->run->items + *at;
    struct hti_fixedrows_sealed sealed;
    int rc = 0;

    prefetch(rows, *at + n);
    hti_fixedrows_seal(type, rows->table->core->record.id, items, n, &sealed);
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        const struct hti_kv_bytes key = { sealed.keys + (size_t)i * 8, type->key_size };
        const struct hti_kv_bytes value = { sealed.rows + i * row_size, row_size };
        rc = items[i].place ? put_row(rows, write, key, value, sealed.hashes[i], error)
                            : remove_row(rows, write, key, error);
    }
    *at += n;
    return rc;
}

/* --- any rows --- */

static int make_space(struct hti_flushrows *rows, size_t size, struct htstore_error *error)
{
    rows->space->size = 0;
    if (hti_buf_reserve(rows->space, size) != 0)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory to flush");
    return 0;
}

static int apply_one(struct hti_flushrows *rows, struct hti_kv_write *write, size_t at, struct htstore_error *error)
{
    const struct hti_core *core = rows->table->core;
    uint8_t packed[8], space[HTI_STORED_KEY_MAX];
    struct hti_row row;
    int rc;

    hti_run_row(rows->run, rows->table, at, packed, &row);
    const struct hti_kv_bytes key = { space, hti_codec_store_key(&core->type, row.key, row.key_size, space) };
    if (!row.value)
        return remove_row(rows, write, key, error);
    const size_t size = hti_codec_stored_size(&core->type, &row);
    const struct hti_hash128 hash = hti_hash_row(row.key, row.key_size, row.value, row.value_size);
    rc = make_space(rows, size, error);
    if (rc != 0)
        return rc;
    hti_codec_store_row(&core->type, core->record.id, &row, hash, rows->space->data);
    return put_row(rows, write, key, (struct hti_kv_bytes){ rows->space->data, size }, hash, error);
}

int hti_flushrows_apply(struct hti_flushrows *rows, struct hti_kv_write *write, size_t *at, uint64_t max_pages,
                        struct htstore_error *error)
{
    const bool small = are_small(rows);
    int rc = 0;

    while (rc == 0 && *at < rows->table->end && hti_flushrows_pages(rows) < max_pages) {
        if (small)
            rc = apply_group(rows, write, at, error);
        else
            rc = apply_one(rows, write, (*at)++, error);
    }
    return rc;
}
