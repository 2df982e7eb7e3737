/* read: hides how a batch of keys is answered from one state: memory first, then one read transaction for the rest. */
#include "read.h"

#include <string.h>

#include "flush.h"
#include "lookup.h"
#include "mem.h"
#include "outputs.h"
#include "probe.h"
#include "view.h"
#include "warm.h"

#define SOME_KEYS 256u
#define MIN_SEARCHED 8u /* so many keys or more are looked for side by side */
#define MAX_KEPT ((size_t)4 << 20) /* bytes of rows that one call remembers */

struct batch {
    const struct hti_core *core;
    const struct hti_arguments *arguments;
    const void *default_elements;
    size_t default_stride; /* 0: one row for all */
    struct htstore_array *out; /* NULL: `put` takes the rows, and all must be there */
    hti_read_row_fn put;
    void *user;
    uint8_t *found;
    uint64_t *misses; /* flat indices of keys that LMDB must be asked for */
    uint64_t n_misses;
    uint64_t n_hits;
    uint64_t database;
    uint64_t version; /* of the table's contents, when memory was asked */
    bool remembers; /* what LMDB says is to be kept */
    struct hti_buf kept; /* of each of `misses` in turn: a struct kept, the value */
    struct htstore_error *error;
};

/* What LMDB said of a key. */
struct kept {
    uint64_t miss; /* index in `misses` */
    uint64_t value_size;
    bool present;
};

static int fail_row(const struct batch *b, int rc)
{
    char label[HTI_CORE_LABEL_SIZE];

    if (rc == HTSTORE_ENOMEM)
        return hti_fail(b->error, rc, "no memory for the values");
    return rc ? hti_fail(b->error, rc, "%s: a row is damaged", hti_core_label(b->core, label)) : 0;
}

static int answer(struct batch *b, uint64_t i, enum hti_found found, const void *value, size_t value_size)
{
    const bool present = found == HTI_FOUND_PRESENT;
    char label[HTI_CORE_LABEL_SIZE];

    if (!b->out && present)
        return fail_row(b, b->put(b->user, i, value, value_size));
    if (!b->out)
        return hti_fail(b->error, HTSTORE_ECORRUPT, "%s: row %llu is missing", hti_core_label(b->core, label),
                        (unsigned long long)i);
    if (b->found)
        b->found[i] = present;
    if (present) {
        b->n_hits++;
        return fail_row(b, hti_output_value(&b->core->type, value, value_size, b->out, i));
    }
    const uint8_t *row = b->default_elements;
    return fail_row(b, hti_output_elements(&b->core->type, row + i * b->default_stride, b->out, i));
}

static int make_misses(struct batch *b)
{
    if (!b->misses)
        b->misses = hti_mem_alloc_array((size_t)b->arguments->n_rows, sizeof *b->misses);
    return b->misses ? 0 : fail_row(b, HTSTORE_ENOMEM);
}

static int note_miss(struct batch *b, uint64_t i)
{
    const int rc = make_misses(b);

    if (rc == 0)
        b->misses[b->n_misses++] = i;
    return rc;
}

static int ask_key(struct batch *b, uint64_t i)
{
    const void *value = NULL;
    size_t key_size, value_size = 0;
    uint8_t space[8];
    const void *key = hti_input_key(&b->core->type, b->arguments->keys, i, space, &key_size);
    const enum hti_found found = hti_lookup_memory(b->core, key, key_size, &value, &value_size);

    return found == HTI_FOUND_ASK ? note_miss(b, i) : answer(b, i, found, value, value_size);
}

/* The cache that is asked first. */
static const struct hti_cache *first_level(const struct hti_core *core)
{
    return core->recent ? core->recent : core->rows;
}

/* Are the caller's rows packed rows as they stand, so that they can be copied without a look at each? */
static bool are_rows_packed(const struct batch *b)
{
    return first_level(b->core) && b->out && b->core->type.n_elements > 0 &&
           hti_codec_values_are_native(&b->core->type);
}

/* Keys [first, first + n), packed at `keys`. What the main cache does not know goes to the other levels. */
static int ask_rows(struct batch *b, const void *keys, uint64_t first, uint64_t n)
{
    const size_t size = hti_output_row_size(&b->core->type);
    const uint64_t n_before = b->n_misses;
    struct hti_probe probe = {
        .keys = keys,
        .n = n,
        .values = (uint8_t *)b->out->data + first * size,
        .defaults = (const uint8_t *)b->default_elements + first * b->default_stride,
        .default_stride = b->default_stride,
        .found = b->found ? b->found + first : NULL,
    };
    const struct hti_cache *cache = first_level(b->core);
    int rc = hti_cache_kind(cache) == HTI_CACHE_COMPLETE ? 0 : make_misses(b);

    if (rc != 0)
        return rc;
    probe.misses = b->misses ? b->misses + n_before : NULL;
    hti_probe_rows(cache, &probe);
    b->n_hits += probe.n_present;
    for (uint64_t m = 0; rc == 0 && m < probe.n_misses; m++)
        rc = ask_key(b, first + probe.misses[m]); /* puts what remains where it has been read already */
    return rc;
}

/* Floats are made canonical first, some at a time. */
static int ask_float_rows(struct batch *b)
{
    const struct hti_row_type *type = &b->core->type;
    uint8_t keys[SOME_KEYS * 8];
    int rc = 0;

    for (uint64_t first = 0; rc == 0 && first < b->arguments->n_rows; first += SOME_KEYS) {
        const uint64_t left = b->arguments->n_rows - first, n = left < SOME_KEYS ? left : SOME_KEYS;
        for (uint64_t i = 0; i < n; i++)
            hti_codec_pack_key(type, (const uint8_t *)b->arguments->keys->data + (first + i) * type->key_size,
                               keys + i * type->key_size);
        rc = ask_rows(b, keys, first, n);
    }
    return rc;
}

static int ask_memory(struct batch *b)
{
    int rc = 0;

    if (are_rows_packed(b) && hti_codec_keys_are_native(&b->core->type))
        return ask_rows(b, b->arguments->keys->data, 0, b->arguments->n_rows);
    if (are_rows_packed(b))
        return ask_float_rows(b);
    for (uint64_t i = 0; rc == 0 && i < b->arguments->n_rows; i++)
        rc = ask_key(b, i);
    return rc;
}

/* Without memory, or beyond some MiB, the rest is not kept. */
static void keep(struct batch *b, uint64_t miss, enum hti_found found, const void *value, size_t size)
{
    const struct kept kept = { miss, found == HTI_FOUND_PRESENT ? size : 0, found == HTI_FOUND_PRESENT };
    const size_t before = b->kept.size;

    if (found == HTI_FOUND_COLLISION) /* the row of the other key would be hidden */
        return;
    if (before + size > MAX_KEPT || hti_buf_append(&b->kept, &kept, sizeof kept) != 0 ||
        hti_buf_append(&b->kept, value, (size_t)kept.value_size) != 0) {
        b->kept.size = before;
        b->remembers = false;
    }
}

/* Misses [first, first + n), side by side if the map can be searched. */
static int ask_some(struct batch *b, const struct hti_kvsearch *search, struct hti_kv_read *read, uint64_t first,
                    unsigned n)
{
    struct hti_lookup_key keys[HTI_LOOKUP_KEYS];
    uint8_t spaces[HTI_LOOKUP_KEYS][8];
    int rc = 0;

    memset(keys, 0, sizeof keys);
    for (unsigned k = 0; k < n; k++)
        keys[k].key =
            hti_input_key(&b->core->type, b->arguments->keys, b->misses[first + k], spaces[k], &keys[k].key_size);
    if (search)
        rc = hti_lookup_many(b->core, search, read, b->database, keys, n, b->error);
    for (unsigned k = 0; rc == 0 && k < n; k++) {
        if (!search)
            rc = hti_lookup_stored(b->core, read, b->database, keys[k].key, keys[k].key_size, &keys[k].found,
                                   &keys[k].value, &keys[k].value_size, b->error);
        if (rc == 0)
            rc = answer(b, b->misses[first + k], keys[k].found, keys[k].value, keys[k].value_size);
        if (rc == 0 && b->remembers)
            keep(b, first + k, keys[k].found, keys[k].value, keys[k].value_size);
    }
    return rc;
}

static int ask_lmdb(struct batch *b, struct hti_kv_read *read)
{
    struct hti_kvsearch search;
    bool searches = false;
    int rc = 0;

    if (b->n_misses >= MIN_SEARCHED && b->database != 0) {
        rc = hti_kv_read_search(read, b->database, &search, b->error);
        searches = rc == 0;
        rc = rc == 1 ? 0 : rc;
    }
    for (uint64_t m = 0; rc == 0 && m < b->n_misses; m += HTI_LOOKUP_KEYS) {
        const uint64_t left = b->n_misses - m;
        rc = ask_some(b, searches ? &search : NULL, read, m,
                      (unsigned)(left < HTI_LOOKUP_KEYS ? left : HTI_LOOKUP_KEYS));
    }
    return rc;
}

static void remember_all(const struct batch *b, struct hti_cache *recent)
{
    uint8_t space[8];
    struct kept kept;
    struct hti_row row;

    for (size_t at = 0; at < b->kept.size; at += sizeof kept + (size_t)kept.value_size) {
        memcpy(&kept, b->kept.data + at, sizeof kept);
        row.key = hti_input_key(&b->core->type, b->arguments->keys, b->misses[kept.miss], space, &row.key_size);
        row.value = kept.present ? b->kept.data + at + sizeof kept : NULL;
        row.value_size = (size_t)kept.value_size;
        hti_cache_fill(recent, &row);
    }
}

/*
 * What LMDB said is remembered, unless something was written since memory was asked: the row might be an old one by now.
 * If another writer is at work, it is left for the next time. No read transaction may be open: readers in the section may
 * wait for one, who in turn waits until those that are open have ended.
 */
static void remember(struct htstore *store, const struct batch *b)
{
    const struct hti_core *core = b->core;

    if (b->kept.size == 0 || !hti_section_try_close(&store->section))
        return;
    if (core->recent && core->version == b->version)
        remember_all(b, core->recent);
    hti_section_open(&store->section);
}

static int fail_damaged(const struct hti_core *core, struct htstore_error *error)
{
    char label[HTI_CORE_LABEL_SIZE];
    return hti_fail(error, HTSTORE_ECORRUPT, "%s is damaged: rows were lost or altered", hti_core_label(core, label));
}

/*
 * The read transaction begins inside the section: what memory says and what LMDB says then belong to one state. LMDB is
 * read outside it, so that writers do not wait for the disk.
 */
static int ask_section(struct htstore *store, struct batch *b, struct hti_kv_read **read)
{
    struct hti_section_line *line = hti_section_enter(&store->section);
    int rc = b->core->damaged ? fail_damaged(b->core, b->error) : ask_memory(b);

    if (rc == 0 && b->n_misses > 0) {
        b->database = b->core->totals.database;
        b->version = b->core->version;
        b->remembers = b->core->recent != NULL;
        rc = hti_kv_read_begin(store->kv, false, read, b->error);
    }
    hti_section_leave(line);
    return rc;
}

static int look_up_owned(struct htstore *store, struct batch *b)
{
    struct hti_kv_read *read = NULL;
    int rc = ask_section(store, b, &read);

    if (rc == 0 && b->n_misses > 0)
        rc = ask_lmdb(b, read);
    hti_kv_read_end(read);
    if (rc == 0)
        remember(store, b);
    hti_buf_release(&b->kept);
    return rc;
}

static int check_not_dropped(struct htstore *store, const struct hti_core *core, struct htstore_error *error)
{
    char label[HTI_CORE_LABEL_SIZE];
    bool dropped;

    pthread_mutex_lock(&store->objects_mutex);
    dropped = core->dropped;
    pthread_mutex_unlock(&store->objects_mutex);
    return dropped
               ? hti_fail(error, HTSTORE_ENOTFOUND, "%s was dropped by the store's owner", hti_core_label(core, label))
               : 0;
}

static int look_up_viewed(struct htstore *store, struct batch *b)
{
    struct hti_kv_read *read;
    int rc;

    pthread_mutex_lock(&store->view_mutex);
    rc = check_not_dropped(store, b->core, b->error);
    if (rc == 0)
        rc = hti_view_read(store, &read, b->error);
    b->database = b->core->totals.database;
    for (uint64_t i = 0; rc == 0 && i < b->arguments->n_rows; i++)
        rc = note_miss(b, i);
    if (rc == 0)
        rc = ask_lmdb(b, read);
    pthread_mutex_unlock(&store->view_mutex);
    return rc;
}

int htstore_table_lookup(struct htstore_table *table, const struct htstore_array *keys,
                         const struct htstore_array *defaults, struct htstore_array *values, uint8_t *found,
                         struct htstore_error *error)
{
    struct hti_arguments arguments = {
        .keys = keys, .defaults = defaults, .outputs = values, .defaults_optional = true
    };
    struct batch b = { .arguments = &arguments, .out = values, .found = found, .error = error };
    struct htstore *store;
    int rc = hti_check_table(table, false, error);

    if (rc == 0 && !values)
        rc = hti_fail(error, HTSTORE_EINVAL, "values is NULL");
    if (rc == 0)
        rc = hti_arguments_check(table, &arguments, error);
    if (rc != 0 || arguments.n_rows == 0)
        return rc;
    store = table->handle.store;
    b.core = table->handle.core;
    b.default_elements = defaults ? defaults->data : table->handle.core->default_elements;
    b.default_stride = arguments.shared_default ? 0 : hti_output_row_size(&table->handle.core->type);
    rc = store->readonly ? look_up_viewed(store, &b) : look_up_owned(store, &b);
    hti_mem_free(b.misses);
    if (rc == 0)
        hti_section_note(&store->section,
                         (struct hti_section_counts){ b.n_hits, arguments.n_rows - b.n_hits, b.n_misses });
    return rc;
}

int hti_read_rows(struct htstore *store, const struct hti_core *core, const struct htstore_array *keys,
                  hti_read_row_fn put, void *user, struct htstore_error *error)
{
    const struct hti_arguments arguments = { .keys = keys, .n_rows = (uint64_t)keys->shape[0] };
    struct batch b = { .core = core, .arguments = &arguments, .put = put, .user = user, .error = error };
    const int rc = store->readonly ? look_up_viewed(store, &b) : look_up_owned(store, &b);

    hti_mem_free(b.misses);
    return rc;
}

int htstore_table_warm(struct htstore_table *table, struct htstore_error *error)
{
    struct htstore *store;
    struct hti_core *core;
    int rc = hti_check_table(table, false, error);

    if (rc != 0)
        return rc;
    store = table->handle.store;
    core = table->handle.core;
    if (store->readonly)
        return 1;
    hti_warm_wait(store, core);
    struct hti_section_line *line = hti_section_enter(&store->section);
    const bool damaged = core->damaged, resident = core->resident;
    hti_section_leave(line);
    if (damaged)
        return fail_damaged(core, error);
    return resident ? 0 : 1;
}

int htstore_table_size(struct htstore_table *table, uint64_t *size, struct htstore_error *error)
{
    struct htstore *store;
    int rc = hti_check_table(table, false, error);

    if (rc != 0)
        return rc;
    if (!size)
        return hti_fail(error, HTSTORE_EINVAL, "the place for the size is NULL");
    store = table->handle.store;
    if (store->readonly)
        rc = check_not_dropped(store, table->handle.core, error);
    if (rc == 0)
        rc = hti_flush_count(store, table->handle.core, error);
    if (rc != 0)
        return rc;
    struct hti_section_line *line = hti_section_enter(&store->section);
    *size = table->handle.core->n_rows;
    hti_section_leave(line);
    return 0;
}
