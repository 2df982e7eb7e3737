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

int hti_lookup_from(const struct hti_core *core, const struct hti_lookup_source *source, const void *key,
                    size_t key_size, enum hti_found *found, const void **value, size_t *value_size,
                    struct htstore_error *error)
{
    struct hti_kv_bytes stored_bytes;
    uint8_t stored_key[HTI_STORED_KEY_MAX], key_space[8];
    char label[HTI_CORE_LABEL_SIZE];
    const size_t stored_size = hti_codec_store_key(&core->type, key, key_size, stored_key);
    struct hti_kv_bytes stored;
    struct hti_hash128 hash;
    struct hti_row row;
    int rc;

    *found = HTI_FOUND_ABSENT;
    if (source->database == 0)
        return 0;
    stored_bytes = (struct hti_kv_bytes){ stored_key, stored_size };
    rc = source->cursor ? hti_kv_cursor_get(source->cursor, stored_bytes, &stored, error)
                        : hti_kv_read_get(source->read, source->database, stored_bytes, &stored, error);
    if (rc != 0)
        return rc == 1 ? 0 : rc;
    rc = hti_codec_load_row(&core->type, core->record.id, stored_key, stored_size, stored.data, stored.size, key_space,
                            &row, &hash);
    if (rc != 0)
        return hti_fail(error, HTSTORE_ECORRUPT, "%s: a row is damaged: its checksum differs",
                        hti_core_label(core, label));
    if (row.key_size != key_size || memcmp(row.key, key, key_size) != 0) {
        *found = HTI_FOUND_COLLISION;
        return 0;
    }
    *found = HTI_FOUND_PRESENT;
    *value = row.value;
    *value_size = row.value_size;
    return 0;
}

int hti_lookup_stored(const struct hti_core *core, struct hti_kv_read *read, uint64_t database, const void *key,
                      size_t key_size, enum hti_found *found, const void **value, size_t *value_size,
                      struct htstore_error *error)
{
    const struct hti_lookup_source source = { .read = read, .database = database };
    return hti_lookup_from(core, &source, key, key_size, found, value, value_size, error);
}
