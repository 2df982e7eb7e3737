/*
 * kvwalk: hides how a walk stays safe on damaged trees: no page is taken twice, no level is deeper than the format
 * allows, and what a page says is used only as far as kvpage found it sound.
 */
#include "kvwalk.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "bytes.h"
#include "file.h"
#include "mem.h"

#define MAX_VALUE_SIZE (300u << 20)

struct walk {
    struct hti_kvwalk *source;
    /* Called for each intact node of a leaf, its value in the page or in `value` below; non-zero stops the walk. */
    int (*visit)(struct walk *walk, uint64_t page, const struct hti_kvpage_node *node);
    void *visitor;
    hti_kvwalk_entry_fn entry;
    hti_kvwalk_bad_fn bad; /* may be NULL */
    void *user;
    struct htstore_error *error;
    uint16_t depth;
    bool depth_told;
    uint8_t *visited; /* a bit for each page of the file */
    uint8_t *pages[HTI_KVPAGE_MAX_DEPTH]; /* one page for each level, allocated when it is reached */
    uint8_t *value;
    size_t value_capacity;
};

static int report_bad(const struct walk *walk, uint64_t page, const char *reason)
{
    if (walk->bad)
        walk->bad(walk->user, page, reason);
    return 0;
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
    const struct hti_kvpage_file *file = &walk->source->file;
    size_t got;
    int failed = hti_kvpage_read(file, page, data, size, &got);

    if (failed == EIO) {
        walk->source->read_errno = failed;
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
static int load_value(struct walk *walk, uint64_t page, struct hti_kvpage_node *node)
{
    const struct hti_kvpage_file *file = &walk->source->file;
    uint64_t first = hti_load_le64(node->value);
    size_t size = HTI_KVPAGE_HEADER_SIZE + node->value_size;
    uint64_t n_pages = (size - 1) / file->meta.page_size + 1;
    uint8_t header[HTI_KVPAGE_HEADER_SIZE];

    if (node->value_size > MAX_VALUE_SIZE || !hti_kvpage_has(file, first, n_pages)) {
        report_bad(walk, page, "a value lies outside the file");
        return 1;
    }
    int code = read_page(walk, first, header, sizeof header);
    if (code)
        return code;
    const char *fault = hti_kvpage_check_value(file, header, first, n_pages);
    if (!fault && !claim_pages(walk, first, n_pages))
        fault = "it is reached twice";
    if (fault) {
        report_bad(walk, first, fault);
        return 1;
    }
    code = grow_value(walk, size);
    if (!code)
        code = read_page(walk, first, walk->value, size);
    node->value = code ? NULL : walk->value + HTI_KVPAGE_HEADER_SIZE;
    return code;
}

/* Hand one entry of a leaf to the visitor, with its value if that lies elsewhere. */
static int visit_entry(struct walk *walk, uint64_t page, struct hti_kvpage_node *node)
{
    if (node->flags == HTI_KVPAGE_BIG) {
        int code = load_value(walk, page, node);
        if (code)
            return code > 0 ? 0 : code;
    }
    return walk->visit(walk, page, node);
}

static int walk_leaf(struct walk *walk, unsigned level, uint64_t page, const uint8_t *data)
{
    uint32_t page_size = walk->source->file.meta.page_size;
    unsigned n_nodes = hti_kvpage_count_nodes(data);
    bool told = false;
    /* Entries may not overlap: what they take in all is bounded by the page. */
    size_t room = hti_kvpage_nodes_size(data, page_size);

    if (level + 1 != walk->depth && !walk->depth_told) {
        walk->depth_told = true;
        report_bad(walk, page, "its depth is not the recorded one");
    }
    if (n_nodes == 0)
        report_bad(walk, page, "it is an empty leaf");
    for (unsigned i = 0; i < n_nodes; i++) {
        struct hti_kvpage_node node;
        const char *fault = hti_kvpage_find_entry(data, page_size, i, &node);
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
    unsigned n_nodes = hti_kvpage_count_nodes(data);
    bool told = false;

    if (n_nodes < 2)
        report_bad(walk, page, "it is a branch with fewer than two children");
    for (unsigned i = 0; i < n_nodes; i++) {
        struct hti_kvpage_node node;
        const char *fault = hti_kvpage_find_node(data, walk->source->file.meta.page_size, i, &node);
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

/* Recursive, at most HTI_KVPAGE_MAX_DEPTH deep. 0, what visit() returned, or negative. */
static int walk_page(struct walk *walk, unsigned level, uint64_t page)
{
    uint32_t page_size = walk->source->file.meta.page_size;

    if (level >= HTI_KVPAGE_MAX_DEPTH)
        return report_bad(walk, page, "it is deeper than 32 levels");
    if (!hti_kvpage_has(&walk->source->file, page, 1))
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
    const char *fault = hti_kvpage_check(data, page, page_size);
    if (fault)
        return report_bad(walk, page, fault);
    if (hti_kvpage_is_branch(data))
        return walk_branch(walk, level, page, data);
    return walk_leaf(walk, level, page, data);
}

/* Walk a tree with a `walk` whose source, visitor, bad, user and error are set. */
static int walk_tree(struct walk *walk, const struct hti_kvpage_tree *tree)
{
    walk->source->read_errno = 0;
    if (tree->root == HTI_KVPAGE_NONE)
        return 0;
    walk->depth = tree->depth;
    walk->visited = hti_mem_zalloc(walk->source->file.n_pages / 8 + 1);
    if (!walk->visited)
        return hti_fail(walk->error, HTSTORE_ENOMEM, "no memory for a walk over %" PRIu64 " pages",
                        walk->source->file.n_pages);
    int code = walk_page(walk, 0, tree->root);
    for (unsigned i = 0; i < HTI_KVPAGE_MAX_DEPTH; i++)
        hti_mem_free(walk->pages[i]);
    hti_mem_free(walk->value);
    hti_mem_free(walk->visited);
    return code;
}

int hti_kvwalk_open(int fd, bool skip_newest, const char *path, struct hti_kvwalk **walk, struct htstore_error *error)
{
    struct hti_kvpage_metas metas;
    uint64_t size;

    *walk = NULL;
    hti_kvpage_read_metas(fd, &metas);
    int failed = hti_file_size(fd, &size);
    if (failed)
        return hti_file_fail(error, failed, path, "cannot examine the file");
    if (metas.fault[0].code && metas.fault[1].code)
        return hti_kvpage_fail_meta(&metas, 0, metas.fault[0].code, path, error);
    bool has_both = !metas.fault[0].code && !metas.fault[1].code;
    unsigned number = has_both ? hti_kvpage_newest(&metas) ^ (unsigned)skip_newest : metas.fault[0].code != 0;
    if (skip_newest && !has_both)
        return hti_kvpage_fail_meta(&metas, !number, HTSTORE_ECORRUPT, path, error);

    struct hti_kvwalk *new_walk = hti_mem_zalloc(sizeof *new_walk);
    if (new_walk)
        new_walk->path = hti_mem_strdup(path);
    if (!new_walk || !new_walk->path) {
        hti_mem_free(new_walk);
        return hti_fail(error, HTSTORE_ENOMEM, "no memory to read a data file");
    }
    hti_kvpage_fill_file(&new_walk->file, fd, new_walk->path, &metas.meta[number], size);
    *walk = new_walk;
    return 0;
}

void hti_kvwalk_close(struct hti_kvwalk *walk)
{
    if (!walk)
        return;
    hti_mem_free(walk->path);
    hti_mem_free(walk);
}

uint64_t hti_kvwalk_txn_id(const struct hti_kvwalk *walk)
{
    return walk->file.meta.txn_id;
}

/* Take the record of a database apart. False if it cannot be one, which is reported. */
static bool load_tree(const struct walk *walk, uint64_t page, const struct hti_kvpage_node *node,
                      struct hti_kvpage_tree *tree)
{
    const char *fault = hti_kvpage_load_tree(&walk->source->file, node, tree);

    if (fault)
        report_bad(walk, page, fault);
    return !fault;
}

struct search {
    const char *name;
    struct hti_kvpage_tree *tree;
};

/* 1 = found. */
static int match_tree(struct walk *walk, uint64_t page, const struct hti_kvpage_node *node)
{
    const struct search *search = walk->visitor;
    struct hti_kvpage_tree tree;

    if (node->flags != HTI_KVPAGE_TREE || node->key_size != strlen(search->name) ||
        memcmp(node->key, search->name, node->key_size) != 0 || !load_tree(walk, page, node, &tree))
        return 0;
    *search->tree = tree;
    return 1;
}

int hti_kvwalk_find_tree(struct hti_kvwalk *walk, const char *name, struct hti_kvpage_tree *tree, hti_kvwalk_bad_fn bad,
                         void *user, struct htstore_error *error)
{
    struct search search = { .name = name, .tree = tree };
    struct walk run = {
        .source = walk, .visit = match_tree, .visitor = &search, .bad = bad, .user = user, .error = error
    };
    int code = walk_tree(&run, &walk->file.meta.main_tree);

    return code < 0 ? code : code == 0;
}

static int show_tree(struct walk *walk, uint64_t page, const struct hti_kvpage_node *node)
{
    const hti_kvwalk_tree_fn *show = walk->visitor;
    struct hti_kvpage_tree tree;

    if (node->flags != HTI_KVPAGE_TREE || !load_tree(walk, page, node, &tree))
        return 0;
    return (*show)(walk->user, node->key, node->key_size, &tree);
}

int hti_kvwalk_list_trees(struct hti_kvwalk *walk, hti_kvwalk_tree_fn tree, hti_kvwalk_bad_fn bad, void *user,
                          struct htstore_error *error)
{
    struct walk run = {
        .source = walk, .visit = show_tree, .visitor = &tree, .bad = bad, .user = user, .error = error
    };

    return walk_tree(&run, &walk->file.meta.main_tree);
}

static int hand_out(struct walk *walk, uint64_t page, const struct hti_kvpage_node *node)
{
    if (node->flags == HTI_KVPAGE_TREE)
        return report_bad(walk, page, "an entry is the record of a database");
    return walk->entry(walk->user, node->key, node->key_size, node->value, node->value_size);
}

int hti_kvwalk_walk(struct hti_kvwalk *walk, const struct hti_kvpage_tree *tree, hti_kvwalk_entry_fn entry,
                    hti_kvwalk_bad_fn bad, void *user, struct htstore_error *error)
{
    struct walk run = { .source = walk, .visit = hand_out, .entry = entry, .bad = bad, .user = user, .error = error };

    assert(entry);
    return walk_tree(&run, tree);
}
