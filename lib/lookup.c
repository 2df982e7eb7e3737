/* lookup: hides which levels of a table are asked for a key, and in which order. */
#include "lookup.h"

#include <string.h>

static enum hti_found from_cache(enum hti_cache_state state)
{
    switch (state) {
    case HTI_CACHE_PRESENT:
        return HTI_FOUND_PRESENT;
    case HTI_CACHE_ABSENT:
        return HTI_FOUND_ABSENT;
    case HTI_CACHE_COLLISION:
        return HTI_FOUND_COLLISION;
    case HTI_CACHE_MISS:
        break;
    }
    return HTI_FOUND_ASK;
}

enum hti_found hti_lookup_memory(const struct hti_core *core, const void *key, size_t key_size, const void **value,
                                 size_t *value_size)
{
    enum hti_found found = HTI_FOUND_ASK;

    if (core->recent) /* all it knows is as of now, whatever the levels below say */
        found = from_cache(hti_cache_find(core->recent, key, key_size, value, value_size));
    return found != HTI_FOUND_ASK ? found : hti_lookup_written(core, key, key_size, value, value_size);
}

enum hti_found hti_lookup_written(const struct hti_core *core, const void *key, size_t key_size, const void **value,
                                  size_t *value_size)
{
    enum hti_found found = HTI_FOUND_ASK;

    if (core->rows)
        found = from_cache(hti_cache_find(core->rows, key, key_size, value, value_size));
    if (found != HTI_FOUND_ASK)
        return found;
    if (core->resident || core->rows_cleared)
        return HTI_FOUND_ABSENT;
    if (core->frozen)
        found = from_cache(hti_cache_find(core->frozen, key, key_size, value, value_size));
    if (found == HTI_FOUND_ASK && core->frozen_cleared) /* perhaps with nothing after it */
        found = HTI_FOUND_ABSENT;
    return found;
}

/* Verify a row that was found under the stored form of a key, and see whether it is that key's. */
static int take_row(const struct hti_core *core, struct hti_kv_bytes stored_key, struct hti_kv_bytes stored,
                    struct hti_lookup_key *key, struct htstore_error *error)
{
    char label[HTI_CORE_LABEL_SIZE];
    struct hti_hash128 hash;
    uint8_t key_space[8];
    struct hti_row row;

    if (hti_codec_load_row(&core->type, core->record.id, stored_key.data, stored_key.size, stored.data, stored.size,
                           key_space, &row, &hash) != 0)
        return hti_fail(error, HTSTORE_ECORRUPT, "%s: a row is damaged: its checksum differs",
                        hti_core_label(core, label));
    if (row.key_size != key->key_size || memcmp(row.key, key->key, row.key_size) != 0) {
        key->found = HTI_FOUND_COLLISION;
        return 0;
    }
    key->found = HTI_FOUND_PRESENT;
    key->value = row.value;
    key->value_size = row.value_size;
    return 0;
}

static int look_up_one(const struct hti_core *core, struct hti_kv_read *read, uint64_t database,
                       struct hti_lookup_key *key, struct htstore_error *error)
{
    uint8_t space[HTI_STORED_KEY_MAX];
    const struct hti_kv_bytes stored_key = { space, hti_codec_store_key(&core->type, key->key, key->key_size, space) };
    struct hti_kv_bytes stored;
    int rc;

    key->found = HTI_FOUND_ABSENT;
    if (database == 0)
        return 0;
    rc = hti_kv_read_get(read, database, stored_key, &stored, error);
    if (rc != 0)
        return rc == 1 ? 0 : rc;
    return take_row(core, stored_key, stored, key, error);
}

int hti_lookup_stored(const struct hti_core *core, struct hti_kv_read *read, uint64_t database, const void *key,
                      size_t key_size, enum hti_found *found, const void **value, size_t *value_size,
                      struct htstore_error *error)
{
    struct hti_lookup_key one = { .key = key, .key_size = key_size };
    const int rc = look_up_one(core, read, database, &one, error);

    *found = one.found;
    if (rc == 0 && one.found == HTI_FOUND_PRESENT) {
        *value = one.value;
        *value_size = one.value_size;
    }
    return rc;
}

int hti_lookup_many(const struct hti_core *core, const struct hti_kvsearch *search, struct hti_kv_read *read,
                    uint64_t database, struct hti_lookup_key *keys, unsigned n, struct htstore_error *error)
{
    uint8_t spaces[HTI_LOOKUP_KEYS][HTI_STORED_KEY_MAX];
    struct hti_kvsearch_key asked[HTI_LOOKUP_KEYS];
    int rc = 0;

    for (unsigned i = 0; i < n; i++) {
        asked[i].key = spaces[i];
        asked[i].key_size = hti_codec_store_key(&core->type, keys[i].key, keys[i].key_size, spaces[i]);
    }
    hti_kvsearch_find(search, asked, n);
    for (unsigned i = 0; rc == 0 && i < n; i++) {
        const struct hti_kv_bytes stored_key = { asked[i].key, asked[i].key_size };
        const struct hti_kv_bytes stored = { asked[i].value, asked[i].value_size };
        keys[i].found = HTI_FOUND_ABSENT;
        if (asked[i].result == HTI_KVSEARCH_FOUND)
            rc = take_row(core, stored_key, stored, &keys[i], error);
        else if (asked[i].result == HTI_KVSEARCH_ASK)
            rc = look_up_one(core, read, database, &keys[i], error);
    }
    return rc;
}
