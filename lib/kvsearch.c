/* kvsearch: hides how searches in pages take turns. Page layout: mdb.c of LMDB 0.9.24, struct MDB_page and MDB_node. */
#include "kvsearch.h"

#include <string.h>

#include "bytes.h"

#define MAGIC 0xBEEFC0DEu
#define MAGIC_OFFSET 16 /* in a meta page */
#define NODE_HEADER 8u
#define FLAGS_OFFSET 10 /* in a page's header */
#define OVERFLOW_PAGE 0x04u
#define LINE 64u

/* A key on its way down. */
struct descent {
    struct hti_kvsearch_key *key;
    const uint8_t *page;
    uint64_t number; /* of the page */
    unsigned low, high; /* the first entry that is greater lies in [low, high] */
    unsigned depth;
    bool begun; /* the page's header was looked at */
    bool leaf;
};

bool hti_kvsearch_init(struct hti_kvsearch *search, const void *entry, uint32_t page_size, uint64_t n_pages,
                       const struct hti_kvpage_tree *tree)
{
    const uintptr_t address = (uintptr_t)entry;
    const uint8_t *page = (const uint8_t *)entry - address % page_size;
    const uint64_t number = hti_load_le64(page);

    if (tree->flags != 0 || number < HTI_KVPAGE_N_METAS || number >= n_pages ||
        hti_kvpage_check(page, number, page_size) != NULL || number > (uintptr_t)page / page_size)
        return false;
    search->map = page - number * page_size;
    search->n_pages = n_pages;
    search->page_size = page_size;
    search->root = tree->root;
    return hti_load_le32(search->map + MAGIC_OFFSET) == MAGIC;
}

static void go_to(const struct hti_kvsearch *s, struct descent *d, uint64_t number)
{
    d->number = number;
    d->begun = false;
    d->page = NULL;
    if (number < HTI_KVPAGE_N_METAS || number >= s->n_pages)
        return; /* noticed when its turn comes */
    d->page = s->map + number * s->page_size;
    for (unsigned at = 0; at < 4 * LINE; at += LINE) /* the header, and where most entries are listed */
        __builtin_prefetch(d->page + at);
}

/* Entry i of a page that passed hti_kvpage_check(), with its key inside the page; NULL: it is not. */
static const uint8_t *node_at(const struct hti_kvsearch *s, const struct descent *d, unsigned i)
{
    const uint32_t offset = hti_load_le16(d->page + HTI_KVPAGE_HEADER_SIZE + 2 * i);

    if (offset < HTI_KVPAGE_HEADER_SIZE || offset > s->page_size - NODE_HEADER)
        return NULL;
    const uint8_t *node = d->page + offset;
    return hti_load_le16(node + 6) <= s->page_size - NODE_HEADER - offset ? node : NULL;
}

static void fetch_middle(const struct descent *d, uint32_t page_size)
{
    const uint32_t offset = hti_load_le16(d->page + HTI_KVPAGE_HEADER_SIZE + 2 * ((d->low + d->high) / 2));

    if (offset < page_size)
        __builtin_prefetch(d->page + offset);
}

static int compare(const struct hti_kvsearch_key *key, const uint8_t *node)
{
    const size_t size = hti_load_le16(node + 6), n = size < key->key_size ? size : key->key_size;
    int order;

    if (size == 8 && key->key_size == 8) {
        const uint64_t a = hti_load_be64(key->key), b = hti_load_be64(node + NODE_HEADER);
        return (a > b) - (a < b);
    }
    order = n > 0 ? memcmp(key->key, node + NODE_HEADER, n) : 0;
    return order != 0 ? order : (key->key_size > size) - (key->key_size < size);
}

/* 1: goes on; else the result. The first entry of a branch has no key: it stands for all that is less. */
static int begin_page(const struct hti_kvsearch *s, struct descent *d)
{
    if (!d->page || ++d->depth > HTI_KVPAGE_MAX_DEPTH || hti_kvpage_check(d->page, d->number, s->page_size) != NULL)
        return -1;
    d->leaf = !hti_kvpage_is_branch(d->page);
    d->low = d->leaf ? 0 : 1;
    d->high = hti_kvpage_count_nodes(d->page);
    d->begun = true;
    if (d->high < d->low || d->high == 0)
        return -1;
    if (d->low < d->high)
        fetch_middle(d, s->page_size);
    return 1;
}

static int take_big(const struct hti_kvsearch *s, struct hti_kvsearch_key *key, const uint8_t *place, size_t size)
{
    const uint64_t first = hti_load_le64(place), n = (HTI_KVPAGE_HEADER_SIZE + (uint64_t)size - 1) / s->page_size + 1;

    if (first < HTI_KVPAGE_N_METAS || first >= s->n_pages || n > s->n_pages - first)
        return -1;
    const uint8_t *page = s->map + first * s->page_size;
    if (hti_load_le64(page) != first || !(hti_load_le16(page + FLAGS_OFFSET) & OVERFLOW_PAGE))
        return -1;
    key->value = page + HTI_KVPAGE_HEADER_SIZE;
    key->value_size = size;
    return 0;
}

static int take_value(const struct hti_kvsearch *s, const struct descent *d, const uint8_t *node)
{
    const size_t size = hti_load_le16(node) | (size_t)hti_load_le16(node + 2) << 16;
    const unsigned flags = hti_load_le16(node + 4);
    const uint8_t *value = node + NODE_HEADER + hti_load_le16(node + 6);
    const size_t left = (size_t)(d->page + s->page_size - value);

    if (flags == HTI_KVPAGE_BIG)
        return left >= 8 ? take_big(s, d->key, value, size) : -1;
    if (flags != 0 || size > left)
        return -1;
    d->key->value = value;
    d->key->value_size = size;
    return 0;
}

/* The search on this page has ended: down to a child, or it is absent. */
static int end_page(const struct hti_kvsearch *s, struct descent *d, unsigned child)
{
    const uint8_t *node = d->leaf ? NULL : node_at(s, d, child);

    if (d->leaf)
        return HTI_KVSEARCH_ABSENT;
    if (!node)
        return -1;
    go_to(s, d,
          hti_load_le16(node) | (uint64_t)hti_load_le16(node + 2) << 16 | (uint64_t)hti_load_le16(node + 4) << 32);
    return 3;
}

/* One step of a key: 0 found, HTI_KVSEARCH_ABSENT, -1 wrong, 3 goes on. */
static int step(const struct hti_kvsearch *s, struct descent *d)
{
    if (!d->begun)
        return begin_page(s, d) < 0 ? -1 : 3;
    if (d->low == d->high)
        return end_page(s, d, d->low - 1);
    const unsigned middle = (d->low + d->high) / 2;
    const uint8_t *node = node_at(s, d, middle);
    if (!node)
        return -1;
    const int order = compare(d->key, node);
    if (order == 0)
        return d->leaf ? take_value(s, d, node) : end_page(s, d, middle);
    if (order < 0)
        d->high = middle;
    else
        d->low = middle + 1;
    if (d->low == d->high)
        return end_page(s, d, d->low - 1);
    fetch_middle(d, s->page_size);
    return 3;
}

static void find_group(const struct hti_kvsearch *s, struct hti_kvsearch_key *keys, unsigned n)
{
    struct descent descents[HTI_KVSEARCH_KEYS];
    unsigned n_left = n;

    for (unsigned i = 0; i < n; i++) {
        descents[i] = (struct descent){ .key = &keys[i] };
        go_to(s, &descents[i], s->root);
    }
    while (n_left > 0) {
        for (unsigned i = 0; i < n_left;) {
            const int result = step(s, &descents[i]);
            if (result == 3) {
                i++;
                continue;
            }
            descents[i].key->result = result < 0 ? HTI_KVSEARCH_ASK : (enum hti_kvsearch_result)result;
            descents[i] = descents[--n_left];
        }
    }
}

void hti_kvsearch_find(const struct hti_kvsearch *search, struct hti_kvsearch_key *keys, unsigned n)
{
    for (unsigned i = 0; search->root == HTI_KVPAGE_NONE && i < n; i++)
        keys[i].result = HTI_KVSEARCH_ABSENT;
    for (unsigned at = 0; search->root != HTI_KVPAGE_NONE && at < n; at += HTI_KVSEARCH_KEYS)
        find_group(search, keys + at, n - at < HTI_KVSEARCH_KEYS ? n - at : HTI_KVSEARCH_KEYS);
}
