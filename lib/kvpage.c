/*
 * kvpage: hides the page format of LMDB 0.9 data files (lmdb.h and mdb.c of 0.9.24, data format version 1, 64 bit,
 * little-endian). Every number from the file is compared with the file before it is used.
 */
#include "kvpage.h"

#include <string.h>

#include "bytes.h"
#include "file.h"

/* A page: number u64, pad u16, flags u16, lower u16, upper u16 (overflow: count u32), then the offsets of the nodes. */
#define PAGE_BRANCH 0x01
#define PAGE_LEAF 0x02
#define PAGE_OVERFLOW 0x04
#define PAGE_META 0x08

/* A node: size lo u16, size hi u16, flags u16, key size u16, key, value. In a branch the first three are the child. */
#define NODE_HEADER_SIZE 8

/* A tree record: pad u32, flags u16, depth u16, branch, leaf and overflow pages u64, entries u64, root u64. */
#define TREE_SIZE 48

/* A meta page: header, magic u32, version u32, address u64, map size u64, free list, main tree, last page, txn id. */
#define META_MAGIC 0xBEEFC0DEu
#define META_SWAPPED_MAGIC 0xDEC0EFBEu
#define META_VERSION 1
#define META_FREE_OFFSET 40
#define META_MAIN_OFFSET 88
#define FREE_FLAG 0x08 /* integer keys */

#define MAX_PAGE_SIZE 32768u
#define USUAL_PAGE_SIZE 4096u
#define MAX_MAP_SIZE (UINT64_C(1) << 47)
#define MAX_KEY_SIZE 511

/* ---- meta pages ---- */

static const char *check_tree(const struct hti_kvpage_tree *tree, uint64_t last_page)
{
    if (tree->depth > HTI_KVPAGE_MAX_DEPTH)
        return "a tree is recorded as deeper than 32 levels";
    if ((tree->root == HTI_KVPAGE_NONE) != (tree->depth == 0))
        return "the root and the depth of a tree do not fit together";
    if (tree->root != HTI_KVPAGE_NONE && (tree->root < HTI_KVPAGE_N_METAS || tree->root > last_page))
        return "the root of a tree is not a page of the file";
    return NULL;
}

static void decode_tree(const uint8_t *raw, struct hti_kvpage_tree *tree)
{
    tree->flags = hti_load_le16(raw + 4);
    tree->depth = hti_load_le16(raw + 6);
    tree->n_branch_pages = hti_load_le64(raw + 8);
    tree->n_leaf_pages = hti_load_le64(raw + 16);
    tree->n_overflow_pages = hti_load_le64(raw + 24);
    tree->n_entries = hti_load_le64(raw + 32);
    tree->root = hti_load_le64(raw + 40);
}

static void set_fault(struct hti_kvpage_fault *fault, int code, uint64_t offset, const char *reason)
{
    fault->code = code;
    fault->offset = offset;
    fault->reason = reason;
}

/* Is this a meta page of LMDB at all, and of a version that we know? */
static void check_magic(const uint8_t *raw, struct hti_kvpage_fault *fault)
{
    if (hti_load_le32(raw + 16) == META_MAGIC) {
        if (hti_load_le32(raw + 20) != META_VERSION)
            set_fault(fault, HTSTORE_EVERSION, 20, "another version of the LMDB data format");
    } else if (hti_load_le32(raw + 24) == META_MAGIC) {
        set_fault(fault, HTSTORE_EVERSION, 24, "written by LMDB 1.0 or newer, this library reads files of LMDB 0.9");
    } else if (hti_load_le32(raw + 16) == META_SWAPPED_MAGIC) {
        set_fault(fault, HTSTORE_EFORMAT, 16, "an LMDB file of a machine with the other byte order");
    } else if (hti_load_le32(raw + 12) == META_MAGIC) {
        set_fault(fault, HTSTORE_EFORMAT, 12, "an LMDB file of a 32-bit machine");
    } else {
        set_fault(fault, HTSTORE_EFORMAT, 0, "not an LMDB file");
    }
}

static bool is_page_size(uint32_t size)
{
    return size >= HTI_KVPAGE_MIN_SIZE && size <= MAX_PAGE_SIZE && (size & (size - 1)) == 0;
}

/* The fields of a meta page whose magic is right. Offsets of faults count from the start of the page. */
static void check_meta(const uint8_t *raw, unsigned number, const struct hti_kvpage_meta *meta,
                       struct hti_kvpage_fault *fault)
{
    const char *free_fault = check_tree(&meta->free_tree, meta->last_page);
    const char *main_fault = check_tree(&meta->main_tree, meta->last_page);

    if (hti_load_le64(raw) != number)
        set_fault(fault, HTSTORE_ECORRUPT, 0, "wrong page number");
    else if (hti_load_le16(raw + 10) != PAGE_META)
        set_fault(fault, HTSTORE_ECORRUPT, 10, "not marked as a meta page");
    else if (hti_load_le64(raw + 24) != 0)
        set_fault(fault, HTSTORE_ECORRUPT, 24, "asks for a fixed address");
    else if (!is_page_size(meta->page_size))
        set_fault(fault, HTSTORE_ECORRUPT, 40, "impossible page size");
    else if (meta->map_size >= MAX_MAP_SIZE)
        set_fault(fault, HTSTORE_ECORRUPT, 32, "impossible map size");
    else if (meta->last_page < HTI_KVPAGE_N_METAS - 1 || meta->last_page >= meta->map_size / meta->page_size)
        set_fault(fault, HTSTORE_ECORRUPT, 136, "the last page is outside the map");
    else if (!(meta->free_tree.flags & FREE_FLAG))
        set_fault(fault, HTSTORE_ECORRUPT, 44, "wrong flags of the free list");
    else if (meta->main_tree.flags != 0)
        set_fault(fault, HTSTORE_ECORRUPT, 92, "wrong flags of the main tree");
    else if (meta->txn_id != 0 && (meta->txn_id & 1) != number)
        set_fault(fault, HTSTORE_ECORRUPT, 144, "the transaction does not belong on this page");
    else if (free_fault)
        set_fault(fault, HTSTORE_ECORRUPT, 80, free_fault);
    else if (main_fault)
        set_fault(fault, HTSTORE_ECORRUPT, 128, main_fault);
    fault->of_trees = fault->code != 0 && (fault->reason == free_fault || fault->reason == main_fault);
}

static void decode_meta(const uint8_t *raw, struct hti_kvpage_meta *meta)
{
    meta->map_size = hti_load_le64(raw + 32);
    meta->page_size = hti_load_le32(raw + META_FREE_OFFSET);
    decode_tree(raw + META_FREE_OFFSET, &meta->free_tree);
    decode_tree(raw + META_MAIN_OFFSET, &meta->main_tree);
    meta->last_page = hti_load_le64(raw + 136);
    meta->txn_id = hti_load_le64(raw + 144);
}

static void fault_short_meta(const uint8_t *raw, unsigned number, size_t size, struct hti_kvpage_fault *fault)
{
    if (number > 0 || (size >= 20 && hti_load_le32(raw + 16) == META_MAGIC))
        set_fault(fault, HTSTORE_ECORRUPT, size, "cut short");
    else
        set_fault(fault, HTSTORE_EFORMAT, 0, size == 0 ? "the file is empty" : "not an LMDB file");
}

static void read_meta(int fd, unsigned number, uint64_t offset, struct hti_kvpage_metas *metas)
{
    struct hti_kvpage_fault *fault = &metas->fault[number];
    uint8_t *raw = metas->raw[number];
    size_t got;

    memset(fault, 0, sizeof *fault);
    memset(raw, 0, HTI_KVPAGE_META_SIZE);
    fault->sys_errno = hti_file_read_at(fd, raw, HTI_KVPAGE_META_SIZE, offset, &got);
    if (fault->sys_errno)
        set_fault(fault, HTSTORE_EIO, 0, "cannot be read");
    else if (got < HTI_KVPAGE_META_SIZE)
        fault_short_meta(raw, number, got, fault);
    else
        check_magic(raw, fault);
    if (!fault->code) {
        decode_meta(raw, &metas->meta[number]);
        check_meta(raw, number, &metas->meta[number], fault);
    }
    /* Page 1 starts where the page size says: nothing else that looks like it counts. */
    if (!fault->code && number > 0 && metas->meta[number].page_size != offset)
        set_fault(fault, HTSTORE_ECORRUPT, 40, "the page size does not fit its place");
    fault->offset += offset;
}

/*
 * Read both metas. Where the second one lies depends on the page size, which a damaged first one does not tell: then
 * look for it at every possible place. The place proves its page size, so a first one that differs is wrong.
 */
void hti_kvpage_read_metas(int fd, struct hti_kvpage_metas *metas)
{
    read_meta(fd, 0, 0, metas);
    uint32_t usual = metas->fault[0].code ? USUAL_PAGE_SIZE : metas->meta[0].page_size;
    read_meta(fd, 1, usual, metas);
    for (uint32_t size = HTI_KVPAGE_MIN_SIZE; metas->fault[1].code && size <= MAX_PAGE_SIZE; size *= 2)
        read_meta(fd, 1, size, metas);
    if (metas->fault[1].code)
        read_meta(fd, 1, usual, metas);
    if (!metas->fault[0].code && !metas->fault[1].code && metas->meta[0].page_size != metas->meta[1].page_size)
        set_fault(&metas->fault[0], HTSTORE_ECORRUPT, 40, "the page size is not that of the other meta page");
}

unsigned hti_kvpage_newest(const struct hti_kvpage_metas *metas)
{
    return metas->meta[0].txn_id < metas->meta[1].txn_id;
}

int hti_kvpage_fail_meta(const struct hti_kvpage_metas *metas, unsigned number, int code, const char *path,
                         struct htstore_error *error)
{
    const struct hti_kvpage_fault *fault = &metas->fault[number];

    if (fault->sys_errno)
        return hti_file_fail(error, fault->sys_errno, path, "meta page %u cannot be read", number);
    if (code == HTSTORE_EFORMAT || code == HTSTORE_EVERSION)
        hti_fail(error, code, "%s", fault->reason);
    else
        hti_fail(error, code, "meta page %u: %s", number, fault->reason);
    hti_error_set_path(error, path, fault->offset);
    return code;
}

/* ---- pages ---- */

void hti_kvpage_fill_file(struct hti_kvpage_file *file, int fd, const char *path, const struct hti_kvpage_meta *meta,
                          uint64_t size)
{
    file->fd = fd;
    file->path = path;
    file->meta = *meta;
    file->n_pages = size / meta->page_size;
    if (file->n_pages > meta->last_page + 1)
        file->n_pages = meta->last_page + 1;
}

bool hti_kvpage_has(const struct hti_kvpage_file *file, uint64_t first, uint64_t count)
{
    return first >= HTI_KVPAGE_N_METAS && first < file->n_pages && count <= file->n_pages - first;
}

int hti_kvpage_read(const struct hti_kvpage_file *file, uint64_t page, void *data, size_t size, size_t *got)
{
    return hti_file_read_at(file->fd, data, size, page * file->meta.page_size, got);
}

const char *hti_kvpage_check(const uint8_t *data, uint64_t page, uint32_t page_size)
{
    uint16_t flags = hti_load_le16(data + 10);
    uint16_t lower = hti_load_le16(data + 12);
    uint16_t upper = hti_load_le16(data + 14);

    if (hti_load_le64(data) != page)
        return "it bears the number of another page";
    if (flags != PAGE_BRANCH && flags != PAGE_LEAF)
        return "it is neither a branch nor a leaf";
    if (lower < HTI_KVPAGE_HEADER_SIZE || lower % 2 != 0 || lower > upper || upper > page_size)
        return "its bounds are impossible";
    return NULL;
}

const char *hti_kvpage_check_value(const struct hti_kvpage_file *file, const uint8_t *header, uint64_t first,
                                   uint64_t n_pages)
{
    /* The count may exceed the need: a value that was shortened in place keeps its pages. */
    uint32_t count = hti_load_le32(header + 12);

    if (hti_load_le64(header) != first || hti_load_le16(header + 10) != PAGE_OVERFLOW)
        return "it is not the start of a value";
    if (count < n_pages || count > file->meta.last_page + 1 - first)
        return "the value on it has a wrong number of pages";
    return NULL;
}

bool hti_kvpage_is_branch(const uint8_t *data)
{
    return hti_load_le16(data + 10) == PAGE_BRANCH;
}

size_t hti_kvpage_nodes_size(const uint8_t *data, uint32_t page_size)
{
    return page_size - hti_load_le16(data + 14);
}

unsigned hti_kvpage_count_nodes(const uint8_t *data)
{
    return (unsigned)(hti_load_le16(data + 12) - HTI_KVPAGE_HEADER_SIZE) / 2;
}

const char *hti_kvpage_find_node(const uint8_t *data, uint32_t page_size, unsigned i, struct hti_kvpage_node *node)
{
    uint32_t upper = hti_load_le16(data + 14);
    uint32_t offset = hti_load_le16(data + HTI_KVPAGE_HEADER_SIZE + 2 * i);

    if (offset < upper || offset % 2 != 0 || offset + NODE_HEADER_SIZE > page_size)
        return "an entry lies outside of it";
    const uint8_t *raw = data + offset;
    node->flags = hti_load_le16(raw + 4);
    node->key = raw + NODE_HEADER_SIZE;
    node->key_size = hti_load_le16(raw + 6);
    node->value_size = hti_load_le32(raw);
    node->child = hti_load_le32(raw) | (uint64_t)node->flags << 32;
    node->stored_size = NODE_HEADER_SIZE + node->key_size;
    if (node->stored_size > page_size - offset)
        return "a key lies outside of it";
    node->value = node->key + node->key_size;
    return NULL;
}

const char *hti_kvpage_find_entry(const uint8_t *data, uint32_t page_size, unsigned i, struct hti_kvpage_node *node)
{
    const char *fault = hti_kvpage_find_node(data, page_size, i, node);

    if (fault)
        return fault;
    if (node->flags != 0 && node->flags != HTI_KVPAGE_BIG && node->flags != HTI_KVPAGE_TREE)
        return "an entry is of unknown kind";
    if (node->key_size == 0 || node->key_size > MAX_KEY_SIZE)
        return "a key has an impossible size";
    /* A big value lies on pages of its own; its place holds their number. */
    node->stored_size += node->flags == HTI_KVPAGE_BIG ? 8 : node->value_size;
    size_t room = page_size - (size_t)(node->key - NODE_HEADER_SIZE - data);
    return node->stored_size > room ? "a value lies outside of it" : NULL;
}

static bool is_start(const uint8_t *starts, size_t at)
{
    return starts[at / 16] >> (at / 2 % 8) & 1;
}

/* Behind the last of the entries that lie one behind the other from `at` on, so many of them. */
static size_t skip_entries(const uint8_t *data, uint32_t page_size, size_t at, const uint8_t *starts, unsigned *count)
{
    for (*count = 0; at < page_size && is_start(starts, at); ++*count) {
        const uint8_t *raw = data + at;
        size_t size = NODE_HEADER_SIZE + (size_t)hti_load_le16(raw + 6);
        if (!hti_kvpage_is_branch(data))
            size += hti_load_le16(raw + 4) == HTI_KVPAGE_BIG ? 8 : hti_load_le32(raw);
        at += (size + 1) & ~(size_t)1;
    }
    return at;
}

const char *hti_kvpage_check_filling(const uint8_t *data, uint32_t page_size)
{
    uint8_t starts[MAX_PAGE_SIZE / 2 / 8]; /* a bit for each even offset */
    unsigned n_nodes = hti_kvpage_count_nodes(data), n_found;
    struct hti_kvpage_node node;

    memset(starts, 0, page_size / 16);
    for (unsigned i = 0; i < n_nodes; i++) {
        const char *fault = hti_kvpage_is_branch(data) ? hti_kvpage_find_node(data, page_size, i, &node)
                                                       : hti_kvpage_find_entry(data, page_size, i, &node);
        if (fault)
            return fault;
        size_t at = (size_t)(node.key - data) - NODE_HEADER_SIZE;
        starts[at / 16] = (uint8_t)(starts[at / 16] | 1u << (at / 2 % 8));
    }
    /* Each start is that of a sound entry. With one that comes twice, or overlaps, fewer are found than there are. */
    size_t end = skip_entries(data, page_size, hti_load_le16(data + 14), starts, &n_found);
    return end != page_size || n_found != n_nodes ? "its entries overlap, or leave gaps" : NULL;
}

const char *hti_kvpage_load_tree(const struct hti_kvpage_file *file, const struct hti_kvpage_node *node,
                                 struct hti_kvpage_tree *tree)
{
    if (node->value_size != TREE_SIZE)
        return "the record of a database has a wrong size";
    decode_tree(node->value, tree);
    return check_tree(tree, file->meta.last_page);
}

bool hti_kvpage_decode_tree(const void *data, size_t size, struct hti_kvpage_tree *tree)
{
    if (size != TREE_SIZE)
        return false;
    decode_tree(data, tree);
    return true;
}

int hti_kvpage_check_root(const struct hti_kvpage_file *file, const struct hti_kvpage_tree *tree, const char **fault)
{
    uint8_t header[HTI_KVPAGE_HEADER_SIZE];
    size_t got;
    int failed = hti_kvpage_read(file, tree->root, header, sizeof header, &got);

    *fault = NULL;
    if (failed)
        return failed;
    if (got < sizeof header)
        *fault = "the file ends before it";
    else
        *fault = hti_kvpage_check(header, tree->root, file->meta.page_size);
    if (!*fault && hti_kvpage_is_branch(header) != (tree->depth > 1))
        *fault = "its kind does not fit the recorded depth";
    return 0;
}
