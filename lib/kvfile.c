/*
 * kvfile: hides the page format of LMDB 0.9 data files (lmdb.h and mdb.c of 0.9.24, data format version 1, 64 bit,
 * little-endian), read by pread alone. Every number from the file is compared with the file before it is used.
 */
#include "kvfile.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bytes.h"
#include "file.h"
#include "mem.h"

/* A page: number u64, pad u16, flags u16, lower u16, upper u16 (overflow: count u32), then the offsets of the nodes. */
#define PAGE_HEADER_SIZE 16
#define PAGE_BRANCH 0x01
#define PAGE_LEAF 0x02
#define PAGE_OVERFLOW 0x04
#define PAGE_META 0x08

/* A node: size lo u16, size hi u16, flags u16, key size u16, key, value. In a branch the first three are the child. */
#define NODE_HEADER_SIZE 8
#define NODE_BIGDATA 0x01
#define NODE_TREE 0x02

/* A tree record: pad u32, flags u16, depth u16, branch, leaf and overflow pages u64, entries u64, root u64. */
#define TREE_SIZE 48

/* A meta page: header, magic u32, version u32, address u64, map size u64, free list, main tree, last page, txn id. */
#define META_SIZE 152
#define META_MAGIC 0xBEEFC0DEu
#define META_SWAPPED_MAGIC 0xDEC0EFBEu
#define META_VERSION 1
#define META_FREE_OFFSET 40
#define META_MAIN_OFFSET 88
#define FREE_FLAG 0x08 /* integer keys */

#define MIN_PAGE_SIZE 512u
#define MAX_PAGE_SIZE 32768u
#define USUAL_PAGE_SIZE 4096u
#define MAX_MAP_SIZE (UINT64_C(1) << 47)
#define N_METAS 2
#define MAX_DEPTH 32
#define MAX_KEY_SIZE 511
#define MAX_VALUE_SIZE (300u << 20)
#define NO_PAGE UINT64_MAX
#define MAX_CHECKS 16

struct meta {
    uint32_t page_size;
    uint64_t map_size;
    uint64_t last_page;
    uint64_t txn_id;
    struct hti_kvfile_tree free_tree;
    struct hti_kvfile_tree main_tree;
};

/* What is wrong with a meta page. */
struct fault {
    int code; /* 0 = nothing */
    int sys_errno;
    uint64_t offset;
    const char *reason;
    bool of_trees; /* only the roots are wrong */
};

struct meta_pair {
    struct meta meta[N_METAS];
    struct fault fault[N_METAS];
    uint8_t raw[N_METAS][META_SIZE];
};

struct hti_kvfile {
    int fd; /* borrowed */
    char *path;
    struct meta meta;
    uint64_t n_pages; /* whole pages that are in the file and in use according to the meta */
};

/* A leaf entry, or a child of a branch. Pointers go into the page or the value buffer of the walk. */
struct node {
    const uint8_t *key;
    size_t key_size;
    const uint8_t *value;
    size_t value_size;
    size_t stored_size; /* bytes it takes on its page */
    uint64_t child;
    uint16_t flags;
};

struct walk {
    const struct hti_kvfile *file;
    /* Called for each intact node of a leaf; non-zero stops the walk. */
    int (*visit)(struct walk *walk, uint64_t page, const struct node *node);
    void *visitor;
    hti_kvfile_entry_fn entry;
    hti_kvfile_bad_fn bad; /* may be NULL */
    void *user;
    struct htstore_error *error;
    uint16_t depth;
    bool depth_told;
    int read_errno; /* of the last page that could not be read */
    uint8_t *visited; /* a bit for each page of the file */
    uint8_t *pages[MAX_DEPTH]; /* one page for each level, allocated when it is reached */
    uint8_t *value;
    size_t value_capacity;
};

/* ---- meta pages ---- */

static const char *check_tree(const struct hti_kvfile_tree *tree, uint64_t last_page)
{
    if (tree->depth > MAX_DEPTH)
        return "a tree is recorded as deeper than 32 levels";
    if ((tree->root == NO_PAGE) != (tree->depth == 0))
        return "the root and the depth of a tree do not fit together";
    if (tree->root != NO_PAGE && (tree->root < N_METAS || tree->root > last_page))
        return "the root of a tree is not a page of the file";
    return NULL;
}

static void decode_tree(const uint8_t *raw, struct hti_kvfile_tree *tree)
{
    tree->flags = hti_load_le16(raw + 4);
    tree->depth = hti_load_le16(raw + 6);
    tree->n_entries = hti_load_le64(raw + 32);
    tree->root = hti_load_le64(raw + 40);
}

static void set_fault(struct fault *fault, int code, uint64_t offset, const char *reason)
{
    fault->code = code;
    fault->offset = offset;
    fault->reason = reason;
}

/* Is this a meta page of LMDB at all, and of a version that we know? */
static void check_magic(const uint8_t *raw, struct fault *fault)
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
    return size >= MIN_PAGE_SIZE && size <= MAX_PAGE_SIZE && (size & (size - 1)) == 0;
}

/* The fields of a meta page whose magic is right. Offsets of faults count from the start of the page. */
static void check_meta(const uint8_t *raw, unsigned number, const struct meta *meta, struct fault *fault)
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
    else if (meta->last_page < N_METAS - 1 || meta->last_page >= meta->map_size / meta->page_size)
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

static void decode_meta(const uint8_t *raw, struct meta *meta)
{
    meta->map_size = hti_load_le64(raw + 32);
    meta->page_size = hti_load_le32(raw + META_FREE_OFFSET);
    decode_tree(raw + META_FREE_OFFSET, &meta->free_tree);
    decode_tree(raw + META_MAIN_OFFSET, &meta->main_tree);
    meta->last_page = hti_load_le64(raw + 136);
    meta->txn_id = hti_load_le64(raw + 144);
}

static void fault_short_meta(const uint8_t *raw, unsigned number, size_t size, struct fault *fault)
{
    if (number > 0 || (size >= 20 && hti_load_le32(raw + 16) == META_MAGIC))
        set_fault(fault, HTSTORE_ECORRUPT, size, "cut short");
    else
        set_fault(fault, HTSTORE_EFORMAT, 0, size == 0 ? "the file is empty" : "not an LMDB file");
}

static void read_meta(int fd, unsigned number, uint64_t offset, struct meta_pair *pair)
{
    struct fault *fault = &pair->fault[number];
    uint8_t *raw = pair->raw[number];
    size_t got;

    memset(fault, 0, sizeof *fault);
    memset(raw, 0, META_SIZE);
    fault->sys_errno = hti_file_read_at(fd, raw, META_SIZE, offset, &got);
    if (fault->sys_errno)
        set_fault(fault, HTSTORE_EIO, 0, "cannot be read");
    else if (got < META_SIZE)
        fault_short_meta(raw, number, got, fault);
    else
        check_magic(raw, fault);
    if (!fault->code) {
        decode_meta(raw, &pair->meta[number]);
        check_meta(raw, number, &pair->meta[number], fault);
    }
    /* Page 1 starts where the page size says: nothing else that looks like it counts. */
    if (!fault->code && number > 0 && pair->meta[number].page_size != offset)
        set_fault(fault, HTSTORE_ECORRUPT, 40, "the page size does not fit its place");
    fault->offset += offset;
}

/*
 * Read both metas. Where the second one lies depends on the page size, which a damaged first one does not tell: then
 * look for it at every possible place. The place proves its page size, so a first one that differs is wrong.
 */
static void read_metas(int fd, struct meta_pair *pair)
{
    read_meta(fd, 0, 0, pair);
    uint32_t usual = pair->fault[0].code ? USUAL_PAGE_SIZE : pair->meta[0].page_size;
    read_meta(fd, 1, usual, pair);
    for (uint32_t size = MIN_PAGE_SIZE; pair->fault[1].code && size <= MAX_PAGE_SIZE; size *= 2)
        read_meta(fd, 1, size, pair);
    if (pair->fault[1].code)
        read_meta(fd, 1, usual, pair);
    if (!pair->fault[0].code && !pair->fault[1].code && pair->meta[0].page_size != pair->meta[1].page_size)
        set_fault(&pair->fault[0], HTSTORE_ECORRUPT, 40, "the page size is not that of the other meta page");
}

/* As LMDB picks it: the first one if both are equal. */
static unsigned newest_of(const struct meta_pair *pair)
{
    return pair->meta[0].txn_id < pair->meta[1].txn_id;
}

static int fail_meta(const struct meta_pair *pair, unsigned number, int code, const char *path,
                     struct htstore_error *error)
{
    const struct fault *fault = &pair->fault[number];

    if (fault->sys_errno)
        return hti_file_fail(error, fault->sys_errno, path, "meta page %u cannot be read", number);
    if (code == HTSTORE_EFORMAT || code == HTSTORE_EVERSION)
        hti_fail(error, code, "%s", fault->reason);
    else
        hti_fail(error, code, "meta page %u: %s", number, fault->reason);
    hti_error_set_path(error, path, fault->offset);
    return code;
}

/* ---- walking ---- */

static int report_bad(const struct walk *walk, uint64_t page, const char *reason)
{
    if (walk->bad)
        walk->bad(walk->user, page, reason);
    return 0;
}

static bool has_pages(const struct hti_kvfile *file, uint64_t first, uint64_t count)
{
    return first >= N_METAS && first < file->n_pages && count <= file->n_pages - first;
}

/* False if one of them was reached before: then two places claim it, or the tree bites its tail. */
static bool claim_pages(const struct walk *walk, uint64_t first, uint64_t count)
{
    for (uint64_t page = first; page < first + count; page++) {
        uint8_t bit = (uint8_t)(1u << (page % 8));
        if (walk->visited[page / 8] & bit)
            return false;
        walk->visited[page / 8] |= bit;
    }
    return true;
}

/*
 * Read `size` bytes at the start of a page. 0, 1 = reported as bad, or negative. A bad sector costs its page only; any
 * other error says that nothing can be read.
 */
static int read_page(struct walk *walk, uint64_t page, void *data, size_t size)
{
    const struct hti_kvfile *file = walk->file;
    size_t got;
    int failed = hti_file_read_at(file->fd, data, size, page * file->meta.page_size, &got);

    if (failed == EIO) {
        walk->read_errno = failed;
        report_bad(walk, page, "it cannot be read");
        return 1;
    }
    if (failed) {
        hti_file_fail(walk->error, failed, file->path, "page %" PRIu64 " cannot be read", page);
        return HTSTORE_EIO;
    }
    if (got < size) {
        report_bad(walk, page, "the file ends before it");
        return 1;
    }
    return 0;
}

/* Why a page cannot be a branch or leaf, or NULL. */
static const char *check_page(const uint8_t *data, uint64_t page, uint32_t page_size)
{
    uint16_t flags = hti_load_le16(data + 10);
    uint16_t lower = hti_load_le16(data + 12);
    uint16_t upper = hti_load_le16(data + 14);

    if (hti_load_le64(data) != page)
        return "it bears the number of another page";
    if (flags != PAGE_BRANCH && flags != PAGE_LEAF)
        return "it is neither a branch nor a leaf";
    if (lower < PAGE_HEADER_SIZE || lower % 2 != 0 || lower > upper || upper > page_size)
        return "its bounds are impossible";
    return NULL;
}

static unsigned count_nodes(const uint8_t *data)
{
    return (unsigned)(hti_load_le16(data + 12) - PAGE_HEADER_SIZE) / 2;
}

/* Find node `i`, with its key, on a page that passed check_page(). */
static const char *find_node(const uint8_t *data, uint32_t page_size, unsigned i, struct node *node)
{
    uint32_t upper = hti_load_le16(data + 14);
    uint32_t offset = hti_load_le16(data + PAGE_HEADER_SIZE + 2 * i);

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

/* Find entry `i` of a leaf. */
static const char *find_entry(const uint8_t *data, uint32_t page_size, unsigned i, struct node *node)
{
    const char *fault = find_node(data, page_size, i, node);

    if (fault)
        return fault;
    if (node->flags != 0 && node->flags != NODE_BIGDATA && node->flags != NODE_TREE)
        return "an entry is of unknown kind";
    if (node->key_size == 0 || node->key_size > MAX_KEY_SIZE)
        return "a key has an impossible size";
    /* A big value lies on pages of its own; its place holds their number. */
    node->stored_size += node->flags == NODE_BIGDATA ? 8 : node->value_size;
    size_t room = page_size - (size_t)(node->key - NODE_HEADER_SIZE - data);
    return node->stored_size > room ? "a value lies outside of it" : NULL;
}

static int grow_value(struct walk *walk, size_t size)
{
    if (size <= walk->value_capacity)
        return 0;
    hti_mem_free(walk->value);
    walk->value_capacity = 0;
    walk->value = hti_mem_alloc(size);
    if (!walk->value)
        return hti_fail(walk->error, HTSTORE_ENOMEM, "no memory for a value of %zu bytes", size);
    walk->value_capacity = size;
    return 0;
}

/* Read the big value that `node` on `page` points to. 0, 1 = reported as bad, or negative. */
static int load_value(struct walk *walk, uint64_t page, struct node *node)
{
    const struct hti_kvfile *file = walk->file;
    uint64_t first = hti_load_le64(node->value);
    size_t size = PAGE_HEADER_SIZE + node->value_size;
    uint64_t n_pages = (size - 1) / file->meta.page_size + 1;
    uint8_t header[PAGE_HEADER_SIZE];

    if (node->value_size > MAX_VALUE_SIZE || !has_pages(file, first, n_pages)) {
        report_bad(walk, page, "a value lies outside the file");
        return 1;
    }
    int code = read_page(walk, first, header, sizeof header);
    if (code)
        return code;
    /* The count may exceed the need: a value that was shortened in place keeps its pages. */
    uint32_t count = hti_load_le32(header + 12);
    const char *fault = NULL;
    if (hti_load_le64(header) != first || hti_load_le16(header + 10) != PAGE_OVERFLOW)
        fault = "it is not the start of a value";
    else if (count < n_pages || count > file->meta.last_page + 1 - first)
        fault = "the value on it has a wrong number of pages";
    else if (!claim_pages(walk, first, n_pages))
        fault = "it is reached twice";
    if (fault) {
        report_bad(walk, first, fault);
        return 1;
    }
    code = grow_value(walk, size);
    if (!code)
        code = read_page(walk, first, walk->value, size);
    node->value = code ? NULL : walk->value + PAGE_HEADER_SIZE;
    return code;
}

/* Hand one entry of a leaf to the visitor, with its value if that lies elsewhere. */
static int visit_entry(struct walk *walk, uint64_t page, struct node *node)
{
    if (node->flags == NODE_BIGDATA) {
        int code = load_value(walk, page, node);
        if (code)
            return code > 0 ? 0 : code;
    }
    return walk->visit(walk, page, node);
}

static int walk_leaf(struct walk *walk, unsigned level, uint64_t page, const uint8_t *data)
{
    uint32_t page_size = walk->file->meta.page_size;
    unsigned n_nodes = count_nodes(data);
    bool told = false;
    /* Entries may not overlap: what they take in all is bounded by the page. */
    size_t room = page_size - hti_load_le16(data + 14);

    if (level + 1 != walk->depth && !walk->depth_told) {
        walk->depth_told = true;
        report_bad(walk, page, "its depth is not the recorded one");
    }
    if (n_nodes == 0)
        report_bad(walk, page, "it is an empty leaf");
    for (unsigned i = 0; i < n_nodes; i++) {
        struct node node;
        const char *fault = find_entry(data, page_size, i, &node);
        if (!fault && node.stored_size > room)
            fault = "its entries overlap";
        if (fault) {
            if (!told)
                report_bad(walk, page, fault);
            told = true;
            continue;
        }
        room -= node.stored_size;
        int code = visit_entry(walk, page, &node);
        if (code)
            return code;
    }
    return 0;
}

static int walk_page(struct walk *walk, unsigned level, uint64_t page);

static int walk_branch(struct walk *walk, unsigned level, uint64_t page, const uint8_t *data)
{
    unsigned n_nodes = count_nodes(data);
    bool told = false;

    if (n_nodes < 2)
        report_bad(walk, page, "it is a branch with fewer than two children");
    for (unsigned i = 0; i < n_nodes; i++) {
        struct node node;
        const char *fault = find_node(data, walk->file->meta.page_size, i, &node);
        if (fault) {
            if (!told)
                report_bad(walk, page, fault);
            told = true;
            continue;
        }
        int code = walk_page(walk, level + 1, node.child);
        if (code)
            return code;
    }
    return 0;
}

/* Recursive, at most MAX_DEPTH deep. 0, what visit() returned, or negative. */
static int walk_page(struct walk *walk, unsigned level, uint64_t page)
{
    uint32_t page_size = walk->file->meta.page_size;

    if (level >= MAX_DEPTH)
        return report_bad(walk, page, "it is deeper than 32 levels");
    if (!has_pages(walk->file, page, 1))
        return report_bad(walk, page, "it is not a page of the file");
    if (!claim_pages(walk, page, 1))
        return report_bad(walk, page, "it is reached twice");
    if (!walk->pages[level])
        walk->pages[level] = hti_mem_alloc(page_size);
    uint8_t *data = walk->pages[level];
    if (!data)
        return hti_fail(walk->error, HTSTORE_ENOMEM, "no memory for a page");
    int code = read_page(walk, page, data, page_size);
    if (code)
        return code > 0 ? 0 : code;
    const char *fault = check_page(data, page, page_size);
    if (fault)
        return report_bad(walk, page, fault);
    if (hti_load_le16(data + 10) == PAGE_BRANCH)
        return walk_branch(walk, level, page, data);
    return walk_leaf(walk, level, page, data);
}

/* Walk a tree with a `walk` whose file, visitor, bad, user and error are set. */
static int walk_tree(struct walk *walk, const struct hti_kvfile_tree *tree)
{
    if (tree->root == NO_PAGE)
        return 0;
    walk->depth = tree->depth;
    walk->visited = hti_mem_zalloc(walk->file->n_pages / 8 + 1);
    if (!walk->visited)
        return hti_fail(walk->error, HTSTORE_ENOMEM, "no memory for a walk over %" PRIu64 " pages",
                        walk->file->n_pages);
    int code = walk_page(walk, 0, tree->root);
    for (unsigned i = 0; i < MAX_DEPTH; i++)
        hti_mem_free(walk->pages[i]);
    hti_mem_free(walk->value);
    hti_mem_free(walk->visited);
    return code;
}

/* ---- the check before LMDB maps the file ---- */

/* Pages that the file lacks, and which of them the free list names. */
struct missing {
    uint64_t first;
    uint64_t count;
    uint64_t n_found;
    uint8_t *found; /* a bit for each */
    bool damaged; /* the free list itself is */
};

static void note_damage(void *user, uint64_t page, const char *reason)
{
    struct missing *missing = user;

    (void)page;
    (void)reason;
    missing->damaged = true;
}

/* A record of the free list: count, then so many page numbers, all u64. */
static int note_free_pages(struct walk *walk, uint64_t page, const struct node *node)
{
    struct missing *missing = walk->visitor;
    uint64_t count = node->value_size >= 8 ? hti_load_le64(node->value) : UINT64_MAX;

    (void)page;
    if (node->flags == NODE_TREE || count > node->value_size / 8 - 1) {
        missing->damaged = true;
        return 0;
    }
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t number = hti_load_le64(node->value + 8 * i);
        /* For a smaller number this wraps around to a huge one. */
        uint64_t index = number - missing->first;
        if (index >= missing->count)
            continue;
        uint8_t bit = (uint8_t)(1u << (index % 8));
        missing->n_found += !(missing->found[index / 8] & bit);
        missing->found[index / 8] |= bit;
    }
    return 0;
}

static int fail_truncated(uint64_t expected, uint64_t size, const char *path, struct htstore_error *error)
{
    hti_fail(error, HTSTORE_ECORRUPT, "the file is cut short: %" PRIu64 " bytes expected, %" PRIu64 " found", expected,
             size);
    hti_error_set_path(error, path, size);
    return HTSTORE_ECORRUPT;
}

/*
 * Pages at the end that were allocated and freed in one transaction were never written, and LMDB will not read them.
 * Any other missing page would be SIGBUS.
 */
static int check_length(const struct hti_kvfile *file, uint64_t size, struct htstore_error *error)
{
    uint64_t expected = (file->meta.last_page + 1) * file->meta.page_size;
    struct missing missing = { .first = file->n_pages };
    struct walk walk = { .file = file, .visit = note_free_pages, .bad = note_damage, .error = error };

    if (size >= expected)
        return 0;
    missing.count = file->meta.last_page + 1 - missing.first;
    /* The free list takes 8 bytes of the file for each page: this bounds the memory, too. */
    if (missing.count > size / 8)
        return fail_truncated(expected, size, file->path, error);
    missing.found = hti_mem_zalloc(missing.count / 8 + 1);
    if (!missing.found)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory to check the free list");
    walk.visitor = &missing;
    walk.user = &missing;
    int code = walk_tree(&walk, &file->meta.free_tree);
    hti_mem_free(missing.found);
    if (code)
        return code;
    if (walk.read_errno)
        return hti_file_fail(error, walk.read_errno, file->path, "the free list cannot be read");
    if (missing.damaged || missing.n_found != missing.count)
        return fail_truncated(expected, size, file->path, error);
    return 0;
}

static int check_root(const struct hti_kvfile *file, const struct hti_kvfile_tree *tree, const char *what,
                      struct htstore_error *error)
{
    uint8_t header[PAGE_HEADER_SIZE];
    uint64_t offset = tree->root * file->meta.page_size;
    size_t got;

    if (tree->root == NO_PAGE)
        return 0;
    int failed = hti_file_read_at(file->fd, header, sizeof header, offset, &got);
    if (failed)
        return hti_file_fail(error, failed, file->path, "the root page of the %s cannot be read", what);
    const char *fault = "the file ends before it";
    if (got == sizeof header)
        fault = check_page(header, tree->root, file->meta.page_size);
    if (!fault && hti_load_le16(header + 10) != (tree->depth > 1 ? PAGE_BRANCH : PAGE_LEAF))
        fault = "its kind does not fit the recorded depth";
    if (!fault)
        return 0;
    hti_fail(error, HTSTORE_ECORRUPT, "the root page %" PRIu64 " of the %s is damaged: %s", tree->root, what, fault);
    hti_error_set_path(error, file->path, offset);
    return HTSTORE_ECORRUPT;
}

static void fill_file(struct hti_kvfile *file, int fd, const struct meta *meta, uint64_t size)
{
    file->fd = fd;
    file->meta = *meta;
    file->n_pages = size / meta->page_size;
    if (file->n_pages > meta->last_page + 1)
        file->n_pages = meta->last_page + 1;
}

/*
 * When LMDB cannot write a meta page, it puts back the number of the transaction and of the last page, but not the trees:
 * the older meta may then tell of trees that never were. LMDB looks at the newest one only.
 */
static bool is_leftover(const struct meta_pair *pair, unsigned number)
{
    return pair->fault[number].of_trees && !pair->fault[!number].code && newest_of(pair) != number;
}

/* One look at the file; *pair tells the state that was seen. */
static int check_state(int fd, const char *path, struct meta_pair *pair, struct htstore_error *error)
{
    struct hti_kvfile file = { .path = (char *)(uintptr_t)path };
    const struct meta *newest = &pair->meta[0];
    uint64_t size;

    read_metas(fd, pair);
    /* Only now: a writer may be at work, and the file may have grown with the newer meta. */
    int failed = hti_file_size(fd, &size);
    if (failed)
        return hti_file_fail(error, failed, path, "cannot examine the file");
    if (pair->fault[0].code == HTSTORE_ECORRUPT && size < META_SIZE)
        return fail_truncated(N_METAS * MIN_PAGE_SIZE, size, path, error);
    if (pair->fault[0].code && !is_leftover(pair, 0))
        return fail_meta(pair, 0, pair->fault[1].code ? pair->fault[0].code : HTSTORE_ECORRUPT, path, error);
    if (pair->fault[1].code && size < N_METAS * newest->page_size)
        return fail_truncated((newest->last_page + 1) * newest->page_size, size, path, error);
    if (pair->fault[1].code && !is_leftover(pair, 1))
        return fail_meta(pair, 1, HTSTORE_ECORRUPT, path, error);

    fill_file(&file, fd, &pair->meta[newest_of(pair)], size);
    int code = check_length(&file, size, error);
    if (!code)
        code = check_root(&file, &file.meta.free_tree, "free list", error);
    return code ? code : check_root(&file, &file.meta.main_tree, "main tree", error);
}

int hti_kvfile_check(int fd, const char *path, struct htstore_error *error)
{
    struct htstore_error reason;
    struct meta_pair pair[2];
    int code = 0;

    /* What a writer changes under our eyes looks like damage. It is damage if the metas stay the same meanwhile. */
    for (unsigned i = 0; i < MAX_CHECKS; i++) {
        code = check_state(fd, path, &pair[i % 2], &reason);
        if (code != HTSTORE_ECORRUPT || (i > 0 && memcmp(pair[0].raw, pair[1].raw, sizeof pair[0].raw) == 0))
            break;
    }
    if (code)
        hti_error_copy(error, &reason);
    return code;
}

/* ---- an open file ---- */

int hti_kvfile_open(int fd, bool skip_newest, const char *path, struct hti_kvfile **file, struct htstore_error *error)
{
    struct meta_pair pair;
    uint64_t size;

    *file = NULL;
    read_metas(fd, &pair);
    int failed = hti_file_size(fd, &size);
    if (failed)
        return hti_file_fail(error, failed, path, "cannot examine the file");
    if (pair.fault[0].code && pair.fault[1].code)
        return fail_meta(&pair, 0, pair.fault[0].code, path, error);
    bool has_both = !pair.fault[0].code && !pair.fault[1].code;
    unsigned number = has_both ? newest_of(&pair) ^ (unsigned)skip_newest : pair.fault[0].code != 0;
    if (skip_newest && !has_both)
        return fail_meta(&pair, !number, HTSTORE_ECORRUPT, path, error);

    struct hti_kvfile *new_file = hti_mem_zalloc(sizeof *new_file);
    if (new_file)
        new_file->path = hti_mem_strdup(path);
    if (!new_file || !new_file->path) {
        hti_mem_free(new_file);
        return hti_fail(error, HTSTORE_ENOMEM, "no memory to read a data file");
    }
    fill_file(new_file, fd, &pair.meta[number], size);
    *file = new_file;
    return 0;
}

void hti_kvfile_close(struct hti_kvfile *file)
{
    if (!file)
        return;
    hti_mem_free(file->path);
    hti_mem_free(file);
}

uint64_t hti_kvfile_txn_id(const struct hti_kvfile *file)
{
    return file->meta.txn_id;
}

/* Take the record of a database apart. False if it cannot be one, which is reported. */
static bool load_tree(const struct walk *walk, uint64_t page, const struct node *node, struct hti_kvfile_tree *tree)
{
    const char *fault = "the record of a database has a wrong size";

    if (node->value_size == TREE_SIZE) {
        decode_tree(node->value, tree);
        fault = check_tree(tree, walk->file->meta.last_page);
    }
    if (fault)
        report_bad(walk, page, fault);
    return !fault;
}

struct search {
    const char *name;
    struct hti_kvfile_tree *tree;
};

/* 1 = found. */
static int match_tree(struct walk *walk, uint64_t page, const struct node *node)
{
    const struct search *search = walk->visitor;
    struct hti_kvfile_tree tree;

    if (node->flags != NODE_TREE || node->key_size != strlen(search->name) ||
        memcmp(node->key, search->name, node->key_size) != 0 || !load_tree(walk, page, node, &tree))
        return 0;
    *search->tree = tree;
    return 1;
}

int hti_kvfile_find_tree(struct hti_kvfile *file, const char *name, struct hti_kvfile_tree *tree, hti_kvfile_bad_fn bad,
                         void *user, struct htstore_error *error)
{
    struct search search = { .name = name, .tree = tree };
    struct walk walk = {
        .file = file, .visit = match_tree, .visitor = &search, .bad = bad, .user = user, .error = error
    };
    int code = walk_tree(&walk, &file->meta.main_tree);

    return code < 0 ? code : code == 0;
}

static int show_tree(struct walk *walk, uint64_t page, const struct node *node)
{
    const hti_kvfile_tree_fn *show = walk->visitor;
    struct hti_kvfile_tree tree;

    if (node->flags != NODE_TREE || !load_tree(walk, page, node, &tree))
        return 0;
    return (*show)(walk->user, node->key, node->key_size, &tree);
}

int hti_kvfile_list_trees(struct hti_kvfile *file, hti_kvfile_tree_fn tree, hti_kvfile_bad_fn bad, void *user,
                          struct htstore_error *error)
{
    struct walk walk = { .file = file, .visit = show_tree, .visitor = &tree, .bad = bad, .user = user, .error = error };

    return walk_tree(&walk, &file->meta.main_tree);
}

static int hand_out(struct walk *walk, uint64_t page, const struct node *node)
{
    if (node->flags == NODE_TREE)
        return report_bad(walk, page, "an entry is the record of a database");
    return walk->entry(walk->user, node->key, node->key_size, node->value, node->value_size);
}

int hti_kvfile_walk(struct hti_kvfile *file, const struct hti_kvfile_tree *tree, hti_kvfile_entry_fn entry,
                    hti_kvfile_bad_fn bad, void *user, struct htstore_error *error)
{
    struct walk walk = { .file = file, .visit = hand_out, .entry = entry, .bad = bad, .user = user, .error = error };

    assert(entry);
    return walk_tree(&walk, tree);
}
