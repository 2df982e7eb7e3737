/*
 * fixedrows: hides that rows are taken in groups: first the bytes to be hashed, one row behind the other, then all hashes.
 * Hashing a row just written would wait for its stores. Entries of leaves as in kvpage.c: u32 value size, u16 flags, u16
 * key size, key, value.
 */
#include "fixedrows.h"

#include <string.h>

#include "bytes.h"
#include "htstore.h"
#include "rowhash.h"

#define GROUP 64u
#define SIZE_SIZE 4u
#define CHECKSUM_SIZE 4u
#define NODE_HEAD_SIZE 8u
#define MAX_IMAGE (SIZE_SIZE + 8u + HTI_FIXEDROWS_MAX_VALUE)

/* Sizes of key and value; constants in the code for the usual ones. */
struct widths {
    size_t key, value;
    uint64_t sign; /* bit that is flipped in stored keys */
};

/* Rows as they are hashed: u32 key size, key, value. */
struct group {
    uint8_t images[GROUP * MAX_IMAGE];
    struct hti_hash128 hashes[GROUP];
    uint32_t checksums[GROUP];
};

struct kept {
    uint32_t n_rows, start, page_size;
};

bool hti_fixedrows_fit(const struct hti_row_type *type)
{
    return type->key_dtype >= HTSTORE_INT8 && type->key_dtype <= HTSTORE_UINT64 && type->key_size > 0 &&
           type->value_is_fixed && type->value_dtype != HTSTORE_BOOL && type->value_size > 0 &&
           type->value_size <= HTI_FIXEDROWS_MAX_VALUE;
}

size_t hti_fixedrows_entry_size(const struct hti_row_type *type)
{
    return (NODE_HEAD_SIZE + type->key_size + type->value_size + CHECKSUM_SIZE + 1) & ~(size_t)1;
}

bool hti_fixedrows_of_leaf(const struct hti_row_type *type, const struct hti_kvwalk_leaf *page, uint32_t page_size,
                           struct hti_fixedrows_leaf *leaf)
{
    const size_t size = hti_kvpage_nodes_size(page->data, page_size);

    *leaf = (struct hti_fixedrows_leaf){ .n_rows = page->n_entries,
                                         .start = page_size - (uint32_t)size,
                                         .page_size = page_size,
                                         .slots = page->data + HTI_KVPAGE_HEADER_SIZE,
                                         .entries = page->data + page_size - size };
    return page->first == 0 && size == page->n_entries * hti_fixedrows_entry_size(type);
}

static struct widths widths_of(const struct hti_row_type *type)
{
    const bool is_signed = type->key_dtype <= HTSTORE_INT64;

    return (struct widths){ .key = type->key_size,
                            .value = type->value_size,
                            .sign = is_signed ? UINT64_C(1) << (8 * type->key_size - 1) : 0 };
}

int hti_fixedrows_keep(const struct hti_fixedrows_leaf *leaf, struct hti_buf *buf)
{
    const struct kept kept = { leaf->n_rows, leaf->start, leaf->page_size };
    const size_t slots_size = 2 * (size_t)leaf->n_rows, entries_size = leaf->page_size - leaf->start;
    uint8_t *at;

    if (hti_buf_reserve(buf, sizeof kept + slots_size + entries_size) != 0)
        return HTSTORE_ENOMEM;
    at = buf->data + buf->size;
    memcpy(at, &kept, sizeof kept);
    memcpy(at + sizeof kept, leaf->slots, slots_size);
    memcpy(at + sizeof kept + slots_size, leaf->entries, entries_size);
    buf->size += sizeof kept + slots_size + entries_size;
    return 0;
}

bool hti_fixedrows_next(const uint8_t **at, const uint8_t *end, struct hti_fixedrows_leaf *leaf)
{
    struct kept kept;

    if (*at >= end)
        return false;
    memcpy(&kept, *at, sizeof kept);
    leaf->n_rows = kept.n_rows;
    leaf->start = kept.start;
    leaf->page_size = kept.page_size;
    leaf->slots = *at + sizeof kept;
    leaf->entries = leaf->slots + 2 * (size_t)kept.n_rows;
    *at = leaf->entries + (kept.page_size - kept.start);
    return true;
}

/* --- numbers --- */

static inline uint64_t load_number(const uint8_t *p, size_t width)
{
    uint64_t v = 0;

    memcpy(&v, p, width);
    return le64toh(v);
}

static inline void store_number(uint8_t *p, uint64_t v, size_t width)
{
    v = htole64(v);
    memcpy(p, &v, width);
}

/* Between the number and its ordered big-endian bytes, read as a little-endian number. */
static inline uint64_t swap_key(uint64_t v, size_t width)
{
    return __builtin_bswap64(v) >> (64 - 8 * width);
}

/* --- from leaves --- */

/* The images of some rows of a leaf, and their stored checksums. False: an entry is not as it must be. */
static inline __attribute__((always_inline)) bool gather_leaf(const struct hti_fixedrows_leaf *leaf, uint32_t first,
                                                              uint32_t n, struct widths w, struct group *group)
{
    const uint64_t head = (w.value + CHECKSUM_SIZE) | (uint64_t)w.key << 48;
    const size_t entry_size = NODE_HEAD_SIZE + w.key + w.value + CHECKSUM_SIZE;
    const uint32_t last = leaf->page_size - (uint32_t)entry_size;
    const size_t image_size = SIZE_SIZE + w.key + w.value;
    bool good = leaf->page_size >= entry_size;

    for (uint32_t i = 0; i < n && good; i++) {
        const uint32_t offset = hti_load_le16(leaf->slots + 2 * (size_t)(first + i));
        uint8_t *image = group->images + i * image_size;
        if (offset < leaf->start || offset > last)
            return false;
        const uint8_t *entry = leaf->entries + (offset - leaf->start);
        const uint8_t *key = entry + NODE_HEAD_SIZE;
        good = hti_load_le64(entry) == head;
        hti_store_le32(image, (uint32_t)w.key);
        store_number(image + SIZE_SIZE, swap_key(load_number(key, w.key), w.key) ^ w.sign, w.key);
        memcpy(image + SIZE_SIZE + w.key, key + w.key, w.value);
        group->checksums[i] = hti_load_le32(key + w.key + w.value);
    }
    return good;
}

static bool verify_group(uint64_t table_id, const struct group *group, uint32_t n, struct hti_hash128 *digest)
{
    uint32_t differ = 0;

    for (uint32_t i = 0; i < n; i++) {
        differ |= group->checksums[i] ^ hti_hash_row_checksum(group->hashes[i], table_id);
        hti_digest_add(digest, group->hashes[i]);
    }
    return differ == 0;
}

/* Room is reserved. */
static inline __attribute__((always_inline)) void append_images(const struct group *group, uint32_t n, struct widths w,
                                                                struct hti_columns *columns)
{
    uint8_t *key = columns->keys.data + columns->keys.size, *value = columns->values.data + columns->values.size;
    const uint8_t *image = group->images;

    for (uint32_t i = 0; i < n; i++) {
        memcpy(key, image + SIZE_SIZE, w.key);
        memcpy(value, image + SIZE_SIZE + w.key, w.value);
        key += w.key;
        value += w.value;
        image += SIZE_SIZE + w.key + w.value;
    }
    columns->keys.size += n * w.key;
    columns->values.size += n * w.value;
    columns->n_rows += n;
}

static inline __attribute__((always_inline)) int load_leaf(uint64_t table_id, const struct hti_fixedrows_leaf *leaf,
                                                           struct widths w, struct hti_columns *columns,
                                                           struct hti_hash128 *digest)
{
    struct group group;

    for (uint32_t first = 0, n; first < leaf->n_rows; first += n) {
        n = leaf->n_rows - first < GROUP ? leaf->n_rows - first : GROUP;
        if (!gather_leaf(leaf, first, n, w, &group))
            return HTSTORE_ECORRUPT;
        hti_rowhash_many(group.images, SIZE_SIZE + w.key + w.value, n, group.hashes);
        if (!verify_group(table_id, &group, n, digest))
            return HTSTORE_ECORRUPT;
        append_images(&group, n, w, columns);
    }
    return 0;
}

int hti_fixedrows_load(uint64_t table_id, const struct hti_fixedrows_leaf *leaf, struct hti_columns *columns,
                       struct hti_hash128 *digest)
{
    const struct widths w = widths_of(&columns->type);

    if (hti_buf_reserve(&columns->keys, leaf->n_rows * w.key) != 0 ||
        hti_buf_reserve(&columns->values, leaf->n_rows * w.value) != 0)
        return HTSTORE_ENOMEM;
    if (w.key == 8 && w.value == 8)
        return load_leaf(table_id, leaf, (struct widths){ 8, 8, w.sign }, columns, digest);
    if (w.key == 8 && w.value == 4)
        return load_leaf(table_id, leaf, (struct widths){ 8, 4, w.sign }, columns, digest);
    return load_leaf(table_id, leaf, w, columns, digest);
}

/* --- to stored rows --- */

static inline __attribute__((always_inline)) void gather_columns(const struct hti_columns *columns, uint32_t first,
                                                                 uint32_t n, struct widths w, struct group *group)
{
    const uint8_t *key = columns->keys.data + first * w.key, *value = columns->values.data + first * w.value;
    uint8_t *image = group->images;

    for (uint32_t i = 0; i < n; i++) {
        hti_store_le32(image, (uint32_t)w.key);
        memcpy(image + SIZE_SIZE, key, w.key);
        memcpy(image + SIZE_SIZE + w.key, value, w.value);
        key += w.key;
        value += w.value;
        image += SIZE_SIZE + w.key + w.value;
    }
}

static inline __attribute__((always_inline)) bool keys_ascend(const struct hti_columns *columns, struct widths w)
{
    const uint8_t *key = columns->keys.data;
    uint64_t before = load_number(key, w.key) ^ w.sign;
    bool ascend = true;

    for (uint32_t i = 1; i < columns->n_rows; i++) {
        const uint64_t number = load_number(key + i * w.key, w.key) ^ w.sign;
        ascend &= before < number;
        before = number;
    }
    return ascend;
}

/* Room is there. */
static inline __attribute__((always_inline)) void put_stored(uint64_t table_id, const struct group *group, uint32_t n,
                                                             struct widths w, uint8_t *at)
{
    const uint8_t *image = group->images;

    for (uint32_t i = 0; i < n; i++) {
        uint8_t *stored = at + HTI_FIXEDROWS_HEAD_SIZE;
        hti_store_le32(at, (uint32_t)w.key);
        hti_store_le32(at + 4, (uint32_t)(w.value + CHECKSUM_SIZE));
        store_number(stored, swap_key(load_number(image + SIZE_SIZE, w.key) ^ w.sign, w.key), w.key);
        memcpy(stored + w.key, image + SIZE_SIZE + w.key, w.value);
        hti_store_le32(stored + w.key + w.value, hti_hash_row_checksum(group->hashes[i], table_id));
        at = stored + w.key + w.value + CHECKSUM_SIZE;
        image += SIZE_SIZE + w.key + w.value;
    }
}

static inline __attribute__((always_inline)) int store_columns(uint64_t table_id, const struct hti_columns *columns,
                                                               struct widths w, uint8_t *at, struct hti_hash128 *digest)
{
    const size_t stored_size = HTI_FIXEDROWS_HEAD_SIZE + w.key + w.value + CHECKSUM_SIZE;
    struct group group;

    if (!keys_ascend(columns, w))
        return 1;
    for (uint32_t first = 0, n; first < columns->n_rows; first += n) {
        n = columns->n_rows - first < GROUP ? columns->n_rows - first : GROUP;
        gather_columns(columns, first, n, w, &group);
        hti_rowhash_many(group.images, SIZE_SIZE + w.key + w.value, n, group.hashes);
        for (uint32_t i = 0; i < n; i++)
            hti_digest_add(digest, group.hashes[i]);
        if (table_id != 0)
            put_stored(table_id, &group, n, w, at + first * stored_size);
    }
    return 0;
}

int hti_fixedrows_store(uint64_t table_id, const struct hti_columns *columns, struct hti_buf *buf,
                        struct hti_hash128 *digest)
{
    const struct widths w = widths_of(&columns->type);
    const size_t row_size = HTI_FIXEDROWS_HEAD_SIZE + w.key + w.value + CHECKSUM_SIZE;
    const size_t size = table_id != 0 ? columns->n_rows * row_size : 0;
    uint8_t *at;
    int rc;

    if (columns->n_rows == 0)
        return 0;
    if (hti_buf_reserve(buf, size) != 0)
        return HTSTORE_ENOMEM;
    at = size > 0 ? buf->data + buf->size : NULL;
    if (w.key == 8 && w.value == 8)
        rc = store_columns(table_id, columns, (struct widths){ 8, 8, w.sign }, at, digest);
    else if (w.key == 8 && w.value == 4)
        rc = store_columns(table_id, columns, (struct widths){ 8, 4, w.sign }, at, digest);
    else
        rc = store_columns(table_id, columns, w, at, digest);
    if (rc == 0)
        buf->size += size;
    return rc;
}

/* --- one by one, in any order of memory --- */

static inline __attribute__((always_inline)) void gather_items(const struct hti_row_type *type,
                                                               const struct hti_radix_item *items, uint32_t n,
                                                               struct widths w, bool integers, uint8_t *image)
{
    for (uint32_t i = 0; i < n; i++, image += SIZE_SIZE + w.key + w.value) {
        uint8_t *key = image + SIZE_SIZE;
        hti_store_le32(image, (uint32_t)w.key);
        if (integers)
            store_number(key, (items[i].key >> (64 - 8 * w.key)) ^ w.sign, w.key);
        else
            hti_codec_key_of_order(type, items[i].key, key);
        if (items[i].place)
            memcpy(key + w.key, items[i].place, w.value);
        else
            memset(key + w.key, 0, w.value);
    }
}

static inline __attribute__((always_inline)) void seal_items(const struct hti_row_type *type, uint64_t table_id,
                                                             const struct hti_radix_item *items, uint32_t n,
                                                             struct widths w, bool integers,
                                                             struct hti_fixedrows_sealed *sealed)
{
    const uint8_t *value = sealed->images + SIZE_SIZE + w.key;
    uint8_t *row = sealed->rows;

    gather_items(type, items, n, w, integers, sealed->images);
    hti_rowhash_many(sealed->images, SIZE_SIZE + w.key + w.value, n, sealed->hashes);
    for (uint32_t i = 0; i < n; i++) {
        hti_store_be64(sealed->keys + i * 8, items[i].key);
        memcpy(row, value, w.value);
        hti_store_le32(row + w.value, hti_hash_row_checksum(sealed->hashes[i], table_id));
        row += w.value + CHECKSUM_SIZE;
        value += SIZE_SIZE + w.key + w.value;
    }
}

void hti_fixedrows_seal(const struct hti_row_type *type, uint64_t table_id, const struct hti_radix_item *items,
                        uint32_t n, struct hti_fixedrows_sealed *sealed)
{
    const bool integers = type->key_dtype >= HTSTORE_INT8 && type->key_dtype <= HTSTORE_UINT64;
    const struct widths w = widths_of(type);

    if (integers && w.key == 8 && w.value == 8)
        seal_items(type, table_id, items, n, (struct widths){ 8, 8, w.sign }, true, sealed);
    else if (integers && w.key == 8 && w.value == 4)
        seal_items(type, table_id, items, n, (struct widths){ 8, 4, w.sign }, true, sealed);
    else
        seal_items(type, table_id, items, n, w, integers, sealed);
}
