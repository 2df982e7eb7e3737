/*
 * kv_image: writes small LMDB 0.9 data files byte by byte, of any page size, without liblmdb: for tests and the fuzz target.
 * The format is that of lib/kvpage.c, which names its source.
 */
#ifndef KV_IMAGE_H
#define KV_IMAGE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"

#define KV_NO_PAGE UINT64_MAX
#define KV_BRANCH 0x01
#define KV_LEAF 0x02
#define KV_OVERFLOW 0x04
#define KV_META 0x08
#define KV_BIGDATA 0x01
#define KV_TREE 0x02

struct kv_image {
    uint8_t *data; /* owned; free() it */
    uint32_t page_size;
    uint64_t n_pages;
    size_t size;
};

static inline uint8_t *kv_page(const struct kv_image *image, uint64_t page)
{
    return image->data + page * image->page_size;
}

static inline void kv_init(struct kv_image *image, uint32_t page_size, uint64_t n_pages)
{
    image->page_size = page_size;
    image->n_pages = n_pages;
    image->size = (size_t)(n_pages * page_size);
    image->data = calloc(1, image->size);
    if (!image->data)
        abort();
}

/* Start an empty page, over what was there. */
static inline void kv_start_page(const struct kv_image *image, uint64_t page, uint16_t flags)
{
    uint8_t *data = kv_page(image, page);
    memset(data, 0, image->page_size);
    hti_store_le64(data, page);
    hti_store_le16(data + 10, flags);
    if (flags & (KV_BRANCH | KV_LEAF)) {
        hti_store_le16(data + 12, 16);
        hti_store_le16(data + 14, (uint16_t)image->page_size);
    }
}

/* Start a run of `count` pages with a value, of which as much is written as fits. */
static inline void kv_put_value(const struct kv_image *image, uint64_t page, uint32_t count, const char *value)
{
    kv_start_page(image, page, KV_OVERFLOW);
    hti_store_le32(kv_page(image, page) + 12, count);
    memcpy(kv_page(image, page) + 16, value, strlen(value));
}

/* A tree as it is recorded in a meta page or in the main tree. */
static inline void kv_put_tree(uint8_t raw[48], uint16_t flags, uint16_t depth, uint64_t n_entries, uint64_t root)
{
    memset(raw, 0, 48);
    hti_store_le16(raw + 4, flags);
    hti_store_le16(raw + 6, depth);
    hti_store_le64(raw + 32, n_entries);
    hti_store_le64(raw + 40, root);
}

/* A meta page whose two trees are empty. */
static inline void kv_put_meta(const struct kv_image *image, unsigned number, uint64_t txn_id)
{
    uint8_t *data = kv_page(image, number);
    kv_start_page(image, number, KV_META);
    hti_store_le32(data + 16, 0xBEEFC0DEu);
    hti_store_le32(data + 20, 1);
    hti_store_le64(data + 32, 64 * (uint64_t)image->size);
    kv_put_tree(data + 40, 0x08, 0, 0, KV_NO_PAGE);
    hti_store_le32(data + 40, image->page_size);
    kv_put_tree(data + 88, 0, 0, 0, KV_NO_PAGE);
    hti_store_le64(data + 136, image->n_pages - 1);
    hti_store_le64(data + 144, txn_id);
}

static inline void kv_set_main_root(const struct kv_image *image, unsigned number, uint16_t depth, uint64_t root)
{
    kv_put_tree(kv_page(image, number) + 88, 0, depth, 1, root);
}

static inline void kv_set_free_root(const struct kv_image *image, unsigned number, uint16_t depth, uint64_t root)
{
    kv_put_tree(kv_page(image, number) + 40, 0x08, depth, 1, root);
    hti_store_le32(kv_page(image, number) + 40, image->page_size);
}

/* Make room for a node of 8 + key + `stored` bytes at the end of a page; returns its first byte. */
static inline uint8_t *kv_add_node(const struct kv_image *image, uint64_t page, size_t key_size, size_t stored)
{
    uint8_t *data = kv_page(image, page);
    uint16_t lower = hti_load_le16(data + 12);
    size_t size = (8 + key_size + stored + 1) & ~(size_t)1;
    uint32_t upper = hti_load_le16(data + 14);
    if (size + lower + 2 > upper)
        abort();
    upper -= (uint32_t)size;
    hti_store_le16(data + lower, (uint16_t)upper);
    hti_store_le16(data + 12, (uint16_t)(lower + 2));
    hti_store_le16(data + 14, (uint16_t)upper);
    hti_store_le16(data + upper + 6, (uint16_t)key_size);
    return data + upper;
}

static inline void kv_add_entry(const struct kv_image *image, uint64_t page, uint16_t flags, const char *key,
                                const void *value, size_t value_size)
{
    uint8_t *node = kv_add_node(image, page, strlen(key), value_size);
    hti_store_le32(node, (uint32_t)value_size);
    hti_store_le16(node + 4, flags);
    memcpy(node + 8, key, strlen(key));
    memcpy(node + 8 + strlen(key), value, value_size);
}

static inline void kv_add_big_entry(const struct kv_image *image, uint64_t page, const char *key, uint32_t value_size,
                                    uint64_t first)
{
    uint8_t raw[8];
    hti_store_le64(raw, first);
    kv_add_entry(image, page, KV_BIGDATA, key, raw, sizeof raw);
    /* The node just added is the lowest one. */
    hti_store_le32(kv_page(image, page) + hti_load_le16(kv_page(image, page) + 14), value_size);
}

static inline void kv_add_tree(const struct kv_image *image, uint64_t page, const char *name, uint16_t depth,
                               uint64_t n_entries, uint64_t root)
{
    uint8_t raw[48];
    kv_put_tree(raw, 0, depth, n_entries, root);
    kv_add_entry(image, page, KV_TREE, name, raw, sizeof raw);
}

static inline void kv_add_child(const struct kv_image *image, uint64_t page, const char *key, uint64_t child)
{
    uint8_t *node = kv_add_node(image, page, strlen(key), 0);
    hti_store_le32(node, (uint32_t)child);
    hti_store_le16(node + 4, (uint16_t)(child >> 32));
    memcpy(node + 8, key, strlen(key));
}

/*
 * The sample: databases "rows" (a1, a2, b1, b2, big; two levels) and "more" (x), both metas on the same state, a free
 * list of one record. Pages: 2 main, 3 free list, 4 branch of "rows", 5 and 6 its leaves, 7 to 9 the big value, 10
 * "more", 11 free.
 */
#define KV_SAMPLE_PAGES 12
#define KV_SAMPLE_BIG "a value on pages of its own"

static inline void kv_init_sample(struct kv_image *image, uint32_t page_size)
{
    uint8_t free_record[16];
    kv_init(image, page_size, KV_SAMPLE_PAGES);
    for (unsigned i = 0; i < 2; i++) {
        kv_put_meta(image, i, 6 + i);
        kv_set_main_root(image, i, 1, 2);
        kv_set_free_root(image, i, 1, 3);
    }
    kv_start_page(image, 2, KV_LEAF);
    kv_add_tree(image, 2, "more", 1, 1, 10);
    kv_add_tree(image, 2, "rows", 2, 5, 4);
    kv_start_page(image, 3, KV_LEAF);
    hti_store_le64(free_record, 1);
    hti_store_le64(free_record + 8, 11);
    kv_add_entry(image, 3, 0, "\4\1\1\1\1\1\1\1", free_record, sizeof free_record);
    kv_start_page(image, 4, KV_BRANCH);
    kv_add_child(image, 4, "", 5);
    kv_add_child(image, 4, "b1", 6);
    kv_start_page(image, 5, KV_LEAF);
    kv_add_entry(image, 5, 0, "a1", "one", 3);
    kv_add_entry(image, 5, 0, "a2", "", 0);
    kv_start_page(image, 6, KV_LEAF);
    kv_add_entry(image, 6, 0, "b1", "three", 5);
    kv_add_entry(image, 6, 0, "b2", "four", 4);
    kv_add_big_entry(image, 6, "big", 2 * page_size + 1, 7);
    kv_put_value(image, 7, 3, KV_SAMPLE_BIG);
    kv_start_page(image, 10, KV_LEAF);
    kv_add_entry(image, 10, 0, "x", "y", 1);
}

#endif
