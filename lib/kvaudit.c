/*
 * kvaudit: hides how all trees of a file are walked with an account of every page, and which rules of LMDB's format its pages
 * must follow.
 */
#include "kvaudit.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "file.h"
#include "mem.h"
#include "text.h"

#define MAX_KEY_SIZE 511
#define FREE_KEY_SIZE 8
#define FREE_FLAGS 0x08
#define IGNORED_FREE_FLAGS 0x4000 /* LMDB keeps flags of its own call to open there: MDB_NOSUBDIR */
#define CHUNK_SIZE 4096
#define NAME_CAPACITY 80
#define PROGRESS_PAGES 1024

/* data NULL: there is no bound on this side. */
struct key {
    const uint8_t *data;
    size_t size;
};

enum kind { FREE_LIST, MAIN_TREE, NAMED_TREE };

/* One page on the way from the root. */
struct level {
    uint64_t page;
    uint8_t *data; /* allocated when it is reached */
    unsigned n_nodes;
    unsigned next;
    bool is_branch;
    bool told;
    struct key lower; /* of all keys below: in pages above this one, or in this one */
    struct key upper;
    struct key last; /* the one before the next */
};

struct tree {
    struct audit *audit;
    enum kind kind;
    const char *name;
    struct hti_kvpage_tree recorded;
    struct hti_kvpage_tree met; /* its counters alone */
    bool lossy; /* what lies below a bad page was not seen */
    unsigned n_levels;
    struct level levels[HTI_KVPAGE_MAX_DEPTH];
};

struct audit {
    const struct hti_kvpage_file *file;
    const struct hti_kvaudit_options *options;
    struct hti_kvaudit_totals *totals;
    struct htstore_error *error;
    uint64_t n_pages; /* that are accounted for */
    uint8_t *used; /* a bit for each */
    uint8_t *free;
    bool lossy;
    struct tree outer; /* free list, main tree */
    struct tree inner; /* a named one */
    char name[NAME_CAPACITY];
};

/* ---- findings ---- */

/* These return 0, or what the caller's function returned: then the audit stops. */

static int tell_pages(struct audit *audit, const struct tree *tree, uint64_t page, uint64_t n_pages, const char *reason)
{
    const struct hti_kvaudit_finding finding = {
        .tree = tree ? tree->name : NULL, .page = page, .n_pages = n_pages, .reason = reason
    };

    audit->totals->n_findings++;
    return audit->options->finding ? audit->options->finding(audit->options->user, &finding) : 0;
}

static int tell(struct tree *tree, uint64_t page, const char *reason)
{
    return tell_pages(tree->audit, tree, page, 1, reason);
}

static void note_loss(struct tree *tree)
{
    tree->lossy = true;
    tree->audit->lossy = true;
}

/* Something below is lost with it. */
static int tell_loss(struct tree *tree, uint64_t page, const char *reason)
{
    note_loss(tree);
    return tell(tree, page, reason);
}

/* Of the same page once: what follows may follow from it. */
static int tell_once(struct tree *tree, struct level *level, const char *reason)
{
    if (level->told)
        return 0;
    level->told = true;
    return tell(tree, level->page, reason);
}

static int report_progress(struct audit *audit)
{
    if (++audit->totals->n_read % PROGRESS_PAGES != 0 || !audit->options->progress)
        return 0;
    return audit->options->progress(audit->options->user, audit->totals->n_read, audit->file->n_pages);
}

/* ---- pages ---- */

static bool has_bit(const uint8_t *bits, uint64_t i)
{
    return bits[i / 8] >> (i % 8) & 1;
}

static void set_bit(uint8_t *bits, uint64_t i)
{
    bits[i / 8] = (uint8_t)(bits[i / 8] | 1u << (i % 8));
}

/* False if one of them was reached before. */
static bool claim_pages(struct audit *audit, uint64_t first, uint64_t count)
{
    bool are_new = true;

    for (uint64_t page = first; page < first + count; page++) {
        are_new = are_new && !has_bit(audit->used, page);
        set_bit(audit->used, page);
    }
    return are_new;
}

/* Read `size` bytes at `offset` of a page. *fault = why not, in words, or NULL. 0 or HTSTORE_EIO. */
static int read_bytes(const struct audit *audit, uint64_t page, uint64_t offset, void *data, size_t size,
                      const char **fault)
{
    const struct hti_kvpage_file *file = audit->file;
    size_t got;
    const int failed = hti_file_read_at(file->fd, data, size, page * file->meta.page_size + offset, &got);

    *fault = NULL;
    if (failed == EIO) {
        *fault = "it cannot be read";
    } else if (failed) {
        hti_file_fail(audit->error, failed, file->path, "page %" PRIu64 " cannot be read", page);
        return HTSTORE_EIO;
    } else if (got < size) {
        *fault = "the file ends before it";
    }
    return 0;
}

static const char *find_node(const struct audit *audit, const struct level *level, unsigned i,
                             struct hti_kvpage_node *node)
{
    const uint32_t page_size = audit->file->meta.page_size;

    return level->is_branch ? hti_kvpage_find_node(level->data, page_size, i, node)
                            : hti_kvpage_find_entry(level->data, page_size, i, node);
}

/* Read a page into a level. *fault = what is wrong, and nothing below can be seen. 0, HTSTORE_EIO or HTSTORE_ENOMEM. */
static int load_page(const struct tree *tree, struct level *level, uint64_t page, const char **fault)
{
    struct audit *audit = tree->audit;
    const uint32_t page_size = audit->file->meta.page_size;
    int rc;

    if (!level->data)
        level->data = hti_mem_alloc(page_size);
    if (!level->data)
        return hti_fail(audit->error, HTSTORE_ENOMEM, "no memory for a page");
    rc = read_bytes(audit, page, 0, level->data, page_size, fault);
    if (rc == 0 && !*fault)
        *fault = hti_kvpage_check(level->data, page, page_size);
    return rc;
}

static const char *check_place(struct tree *tree, uint64_t page)
{
    if (tree->n_levels >= HTI_KVPAGE_MAX_DEPTH)
        return "it is deeper than 32 levels";
    if (!hti_kvpage_has(tree->audit->file, page, 1))
        return "it is not a page of the file";
    if (!claim_pages(tree->audit, page, 1))
        return "it is reached twice";
    return NULL;
}

/* What is wrong with a page that can be read. */
static const char *check_page(const struct tree *tree, const struct level *level)
{
    const char *fault = hti_kvpage_check_filling(level->data, tree->audit->file->meta.page_size);

    if (fault)
        return fault;
    if (level->is_branch && level->n_nodes < 2)
        return "it is a branch with fewer than two children";
    if (!level->is_branch && level->n_nodes == 0)
        return "it is an empty leaf";
    if (!level->is_branch && tree->n_levels != tree->recorded.depth)
        return "its depth is not the recorded one";
    return NULL;
}

/* Go down to a page whose keys must lie between these. */
static int enter_page(struct tree *tree, uint64_t page, struct key lower, struct key upper)
{
    struct level *level = &tree->levels[tree->n_levels];
    const char *fault = check_place(tree, page);
    int rc;

    if (fault)
        return tell_loss(tree, page, fault);
    rc = report_progress(tree->audit);
    if (rc == 0)
        rc = load_page(tree, level, page, &fault);
    if (rc != 0)
        return rc;
    if (fault)
        return tell_loss(tree, page, fault);
    level->page = page;
    level->n_nodes = hti_kvpage_count_nodes(level->data);
    level->next = 0;
    level->is_branch = hti_kvpage_is_branch(level->data);
    level->told = false;
    level->lower = lower;
    level->upper = upper;
    level->last = (struct key){ .data = NULL };
    tree->met.n_branch_pages += level->is_branch;
    tree->met.n_leaf_pages += !level->is_branch;
    tree->n_levels++;
    fault = check_page(tree, level);
    return fault ? tell_once(tree, level, fault) : 0;
}

/* ---- keys ---- */

/* Keys of the free list are numbers of this machine's byte order: little-endian. */
static int compare_keys(const struct tree *tree, struct key a, struct key b)
{
    if (tree->kind == FREE_LIST && a.size == FREE_KEY_SIZE && b.size == FREE_KEY_SIZE) {
        const uint64_t x = hti_load_le64(a.data), y = hti_load_le64(b.data);
        return x < y ? -1 : x > y;
    }
    if (a.size >= 8 && b.size >= 8) { /* most keys differ there */
        const uint64_t x = hti_load_be64(a.data), y = hti_load_be64(b.data);
        if (x != y)
            return x < y ? -1 : 1;
    }
    const int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

/* The key of the node before `next`, which is not that of the first child. */
static const char *check_key(const struct tree *tree, const struct level *level, struct key key)
{
    if (key.size == 0 || key.size > MAX_KEY_SIZE || (tree->kind == FREE_LIST && key.size != FREE_KEY_SIZE))
        return "a key has an impossible size";
    if (level->last.data && compare_keys(tree, level->last, key) >= 0)
        return "its keys do not ascend";
    /* Only the first one: others are greater. A separator equal to it would leave nothing for the child on its left. */
    if (!level->last.data && level->lower.data && compare_keys(tree, level->lower, key) >= (level->is_branch ? 0 : 1))
        return "a key is below the bounds that its parent sets";
    if (level->upper.data && compare_keys(tree, key, level->upper) >= 0)
        return "a key is above the bounds that its parent sets";
    return NULL;
}

/* ---- values ---- */

/* The pages of a value that lies outside its leaf. *sound: it can be read. */
static int visit_value(struct tree *tree, struct level *level, const struct hti_kvpage_node *node, bool *sound)
{
    struct audit *audit = tree->audit;
    const struct hti_kvpage_file *file = audit->file;
    const uint64_t first = hti_load_le64(node->value);
    const uint64_t n_needed = (HTI_KVPAGE_HEADER_SIZE + (uint64_t)node->value_size - 1) / file->meta.page_size + 1;
    uint8_t header[HTI_KVPAGE_HEADER_SIZE];
    const char *fault;
    uint64_t count;
    int rc;

    *sound = false;
    if (!hti_kvpage_has(file, first, n_needed))
        return tell_loss(tree, level->page, "a value lies outside the file");
    rc = report_progress(audit);
    if (rc == 0)
        rc = read_bytes(audit, first, 0, header, sizeof header, &fault);
    if (rc != 0)
        return rc;
    if (!fault)
        fault = hti_kvpage_check_value(file, header, first, n_needed);
    if (fault)
        return tell_loss(tree, first, fault);
    /* More than are needed stay with a value that was replaced by a shorter one. */
    count = hti_load_le32(header + 12);
    if (!hti_kvpage_has(file, first, count))
        return tell_loss(tree, first, "the value on it lies outside the file");
    tree->met.n_overflow_pages += count;
    if (!claim_pages(audit, first, count))
        return tell_loss(tree, first, "the value on it has pages that are reached twice");
    *sound = true;
    return 0;
}

static const char *note_free_page(struct audit *audit, uint64_t number, uint64_t *before)
{
    if (number >= *before)
        return "the free pages in it do not descend";
    *before = number;
    if (number < HTI_KVPAGE_N_METAS || number > audit->file->meta.last_page)
        return "a free page in it is not one of the file";
    if (number >= audit->n_pages)
        return NULL;
    if (has_bit(audit->free, number))
        return "a free page in it is free twice";
    set_bit(audit->free, number);
    audit->totals->n_free++;
    return NULL;
}

/* Read some bytes of a value: in the leaf, or on the pages it points to. */
static int read_value(const struct audit *audit, const struct hti_kvpage_node *node, uint64_t offset, uint8_t *data,
                      size_t size, const char **fault)
{
    *fault = NULL;
    if (node->flags == HTI_KVPAGE_BIG)
        return read_bytes(audit, hti_load_le64(node->value), HTI_KVPAGE_HEADER_SIZE + offset, data, size, fault);
    memcpy(data, node->value + offset, size);
    return 0;
}

/* A record of the free list: key = transaction; count, then so many page numbers, all u64. */
static int visit_free_record(struct tree *tree, struct level *level, const struct hti_kvpage_node *node)
{
    struct audit *audit = tree->audit;
    uint8_t chunk[CHUNK_SIZE];
    uint64_t before = UINT64_MAX, count = 0;
    const char *fault = NULL;
    int rc;

    if (node->key_size == FREE_KEY_SIZE && hti_load_le64(node->key) > audit->file->meta.txn_id)
        fault = "it is of a transaction that is still to come";
    if (!fault && (node->value_size < 8 || node->value_size % 8 != 0))
        fault = "a record of the free list has a wrong size";
    if (fault)
        return tell_once(tree, level, fault);
    rc = read_value(audit, node, 0, chunk, 8, &fault);
    if (rc == 0 && !fault) {
        count = hti_load_le64(chunk);
        if (count > node->value_size / 8 - 1)
            fault = "a record of the free list has a wrong count";
    }
    for (uint64_t i = 0; rc == 0 && !fault && i < count; i++) {
        const uint64_t in_chunk = i % (CHUNK_SIZE / 8), left = count - i;
        if (in_chunk == 0)
            rc = read_value(audit, node, 8 + 8 * i, chunk, left < CHUNK_SIZE / 8 ? left * 8 : CHUNK_SIZE, &fault);
        if (rc == 0 && !fault)
            fault = note_free_page(audit, hti_load_le64(chunk + 8 * in_chunk), &before);
    }
    return fault ? tell_loss(tree, level->page, fault) : rc;
}

/* ---- trees ---- */

static int walk_tree(struct tree *tree);

static int visit_named_tree(struct tree *tree, struct level *level, const struct hti_kvpage_node *node)
{
    struct audit *audit = tree->audit;
    struct tree *inner = &audit->inner;
    const char *fault = "an entry of the main tree is no database";
    int rc;

    if (node->flags == HTI_KVPAGE_TREE)
        fault = hti_kvpage_load_tree(audit->file, node, &inner->recorded);
    if (!fault && inner->recorded.flags != 0)
        fault = "the record of a database has unknown flags";
    if (fault)
        return tell_loss(tree, level->page, fault);
    hti_text_escape(audit->name, sizeof audit->name, node->key, node->key_size);
    inner->name = audit->name;
    rc = walk_tree(inner);
    audit->totals->n_trees++;
    audit->totals->n_entries += inner->met.n_entries;
    return rc;
}

static int visit_entry(struct tree *tree, struct level *level, const struct hti_kvpage_node *node)
{
    bool sound = true;
    int rc = 0;

    tree->met.n_entries++;
    if (node->flags == HTI_KVPAGE_BIG)
        rc = visit_value(tree, level, node, &sound);
    if (rc != 0 || !sound)
        return rc;
    if (tree->kind == FREE_LIST)
        return node->flags == HTI_KVPAGE_TREE ? tell_once(tree, level, "an entry is the record of a database")
                                              : visit_free_record(tree, level, node);
    if (tree->kind == MAIN_TREE)
        return visit_named_tree(tree, level, node);
    return node->flags == HTI_KVPAGE_TREE ? tell_once(tree, level, "an entry is the record of a database") : 0;
}

/* The next node of a page: an entry, or a child to go down to. */
static int visit_node(struct tree *tree, struct level *level)
{
    const unsigned i = level->next++;
    struct hti_kvpage_node node, next;
    struct key upper = level->upper;
    const char *fault = find_node(tree->audit, level, i, &node);
    int rc = 0;

    if (fault) {
        note_loss(tree);
        return tell_once(tree, level, fault);
    }
    const struct key key = { node.key, node.key_size };
    if (level->is_branch && i == 0)
        fault = node.key_size > 0 ? "its first key is not empty" : NULL;
    else
        fault = check_key(tree, level, key);
    if (fault)
        rc = tell_once(tree, level, fault);
    if (!level->is_branch || i > 0)
        level->last = key;
    if (rc != 0 || !level->is_branch)
        return rc != 0 ? rc : visit_entry(tree, level, &node);
    if (level->next < level->n_nodes && !find_node(tree->audit, level, level->next, &next))
        upper = (struct key){ next.key, next.key_size };
    return enter_page(tree, node.child, i == 0 ? level->lower : key, upper);
}

/* Are the recorded counters those of the pages? */
static int check_counters(struct tree *tree)
{
    const struct hti_kvpage_tree *recorded = &tree->recorded, *met = &tree->met;
    const struct {
        const char *what;
        uint64_t recorded, met;
    } counters[] = { { "branch pages", recorded->n_branch_pages, met->n_branch_pages },
                     { "leaf pages", recorded->n_leaf_pages, met->n_leaf_pages },
                     { "pages of values", recorded->n_overflow_pages, met->n_overflow_pages },
                     { "entries", recorded->n_entries, met->n_entries } };
    char reason[120];
    int rc = 0;

    /* What was not seen cannot be counted. */
    for (unsigned i = 0; rc == 0 && !tree->lossy && i < sizeof counters / sizeof *counters; i++) {
        if (counters[i].recorded == counters[i].met)
            continue;
        snprintf(reason, sizeof reason, "%" PRIu64 " %s are recorded, %" PRIu64 " are there", counters[i].recorded,
                 counters[i].what, counters[i].met);
        rc = tell(tree, HTI_KVPAGE_NONE, reason);
    }
    return rc;
}

/* A tree whose record is known. 0, or what stops the audit. */
static int walk_tree(struct tree *tree)
{
    const struct key none = { .data = NULL };
    int rc = 0;

    memset(&tree->met, 0, sizeof tree->met);
    tree->lossy = false;
    tree->n_levels = 0;
    if (tree->recorded.root != HTI_KVPAGE_NONE)
        rc = enter_page(tree, tree->recorded.root, none, none);
    while (rc == 0 && tree->n_levels > 0) {
        struct level *level = &tree->levels[tree->n_levels - 1];
        if (level->next == level->n_nodes)
            tree->n_levels--;
        else
            rc = visit_node(tree, level);
    }
    return rc == 0 ? check_counters(tree) : rc;
}

static int walk_outer(struct audit *audit, enum kind kind, const struct hti_kvpage_tree *recorded, const char *name)
{
    audit->outer.kind = kind;
    audit->outer.recorded = *recorded;
    audit->outer.name = name;
    return walk_tree(&audit->outer);
}

/* ---- the account ---- */

static const char *judge_page(struct audit *audit, uint64_t page)
{
    const bool is_used = has_bit(audit->used, page), is_free = has_bit(audit->free, page);

    audit->totals->n_in_use += is_used;
    audit->totals->n_doubly_used += is_used && is_free;
    audit->totals->n_leaked += !is_used && !is_free;
    if (is_used)
        return is_free ? "in use and free" : NULL;
    if (is_free)
        return NULL;
    if (page >= audit->file->n_pages)
        return "the file ends before it, and it is not free";
    return audit->lossy ? "not reached, and not free: it may belong to what could not be read"
                        : "leaked: neither in a tree nor free";
}

/* Pages side by side with the same fault are one finding. */
static int close_account(struct audit *audit)
{
    const char *fault = NULL;
    uint64_t first = 0;
    int rc = 0;

    for (uint64_t page = 0; rc == 0 && page <= audit->n_pages; page++) {
        const char *next = page < audit->n_pages ? judge_page(audit, page) : NULL;
        if (next == fault)
            continue;
        if (fault)
            rc = tell_pages(audit, NULL, first, page - first, fault);
        fault = next;
        first = page;
    }
    return rc;
}

/*
 * Pages at the end that were never written are no loss if the free list names them. It takes 8 bytes of the file for each: this
 * bounds the memory.
 */
static int begin_account(struct audit *audit)
{
    const struct hti_kvpage_file *file = audit->file;
    const uint64_t n_missing = file->meta.last_page + 1 - file->n_pages;
    int rc = 0;

    audit->n_pages = file->meta.last_page + 1;
    if (n_missing > (file->n_pages + 1) * file->meta.page_size / 8) {
        audit->n_pages = file->n_pages;
        rc = tell_pages(audit, NULL, file->n_pages, n_missing, "the file ends before it, and it is not free");
    }
    if (audit->n_pages < HTI_KVPAGE_N_METAS)
        audit->n_pages = HTI_KVPAGE_N_METAS;
    audit->totals->n_pages = audit->n_pages;
    audit->totals->n_read = HTI_KVPAGE_N_METAS;
    audit->used = hti_mem_zalloc(audit->n_pages / 8 + 1);
    audit->free = hti_mem_zalloc(audit->n_pages / 8 + 1);
    if (!audit->used || !audit->free)
        return hti_fail(audit->error, HTSTORE_ENOMEM, "no memory for an audit of %" PRIu64 " pages", audit->n_pages);
    claim_pages(audit, 0, HTI_KVPAGE_N_METAS);
    if (rc == 0 && (file->meta.free_tree.flags & ~IGNORED_FREE_FLAGS) != FREE_FLAGS)
        rc = tell_pages(audit, NULL, file->meta.txn_id & 1, 1, "the free list has unknown flags");
    return rc;
}

int hti_kvaudit_run(const struct hti_kvpage_file *file, const struct hti_kvaudit_options *options,
                    struct hti_kvaudit_totals *totals, struct htstore_error *error)
{
    struct audit *audit = hti_mem_zalloc(sizeof *audit);
    int rc;

    memset(totals, 0, sizeof *totals);
    if (!audit)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for an audit");
    audit->file = file;
    audit->options = options;
    audit->totals = totals;
    audit->error = error;
    audit->outer.audit = audit;
    audit->inner.audit = audit;
    audit->inner.kind = NAMED_TREE;
    rc = begin_account(audit);
    if (rc == 0)
        rc = walk_outer(audit, FREE_LIST, &file->meta.free_tree, "the free list");
    if (rc == 0)
        rc = walk_outer(audit, MAIN_TREE, &file->meta.main_tree, "the main tree");
    if (rc == 0)
        rc = close_account(audit);
    for (unsigned i = 0; i < HTI_KVPAGE_MAX_DEPTH; i++) {
        hti_mem_free(audit->outer.levels[i].data);
        hti_mem_free(audit->inner.levels[i].data);
    }
    hti_mem_free(audit->used);
    hti_mem_free(audit->free);
    hti_mem_free(audit);
    return rc;
}
