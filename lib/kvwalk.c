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
/* So much of a value, and so many leaves that lie side by side, are read with one call. */
#define MAX_PART_SIZE (64u << 10)
#define MAX_RUN_SIZE (256u << 10)
#define MAX_RUN_PAGES 64
#define MAX_META_READS 16

/* One page on the way from the root to the entry at hand. */
struct level {
    uint64_t page;
    const uint8_t *data; /* in `own`, or a leaf in the run */
    uint8_t *own; /* allocated when it is reached */
    unsigned n_nodes;
    unsigned next;
    unsigned single_until; /* children before this one are read one by one */
    size_t room; /* of a leaf: entries may not overlap, so what they take in all is bounded by the page */
    bool is_branch;
    bool told;
};

struct hti_kvwalk_cursor {
    struct hti_kvwalk *walk;
    struct hti_kvwalk_options options;
    struct hti_kvpage_tree tree;
    struct htstore_error *error; /* of the call in progress */
    bool begun;
    bool depth_told;
    uint8_t *visited; /* a bit for each page of the file */
    uint8_t *run; /* pages read with one call */
    uint64_t run_first;
    uint64_t run_count;
    uint8_t *value;
    size_t value_capacity;
    unsigned n_levels;
    struct level levels[HTI_KVPAGE_MAX_DEPTH];
};

/* 1 = go on without it, or HTSTORE_ECORRUPT. */
static int tell_bad(const struct hti_kvwalk_cursor *cursor, uint64_t page, const char *reason)
{
    const struct hti_kvpage_file *file = &cursor->walk->file;

    if (cursor->options.bad) {
        cursor->options.bad(cursor->options.user, page, reason);
        return 1;
    }
    hti_fail(cursor->error, HTSTORE_ECORRUPT, "page %" PRIu64 " is damaged: %s", page, reason);
    hti_error_set_path(cursor->error, file->path, page * file->meta.page_size);
    return HTSTORE_ECORRUPT;
}

/* False if it was marked before. */
static bool mark_page(struct hti_kvwalk_cursor *cursor, uint64_t page)
{
    const uint8_t bit = (uint8_t)(1u << (page % 8));
    const bool is_new = !(cursor->visited[page / 8] & bit);

    cursor->visited[page / 8] |= bit;
    return is_new;
}

/*
 * 0, HTSTORE_ENOMEM, or 1 if one of the pages was reached before: then two places claim it, or the tree bites its tail. The
 * map is made for the second page: most trees of many stores have one.
 */
static int claim_pages(struct hti_kvwalk_cursor *cursor, uint64_t first, uint64_t count)
{
    const struct hti_kvpage_file *file = &cursor->walk->file;

    if (!cursor->visited) {
        cursor->visited = hti_mem_zalloc(file->n_pages / 8 + 1);
        if (!cursor->visited)
            return hti_fail(cursor->error, HTSTORE_ENOMEM, "no memory for a walk over %" PRIu64 " pages",
                            file->n_pages);
        mark_page(cursor, cursor->tree.root);
    }
    for (uint64_t page = first; page < first + count; page++)
        if (!mark_page(cursor, page))
            return 1;
    return 0;
}

/*
 * Read `size` bytes at `offset` of a page. 0, 1 = told as bad, or negative. A bad sector costs its page only; any other
 * error says that nothing can be read.
 */
static int read_page(struct hti_kvwalk_cursor *cursor, uint64_t page, size_t offset, void *data, size_t size)
{
    const struct hti_kvpage_file *file = &cursor->walk->file;
    size_t got;
    const int failed = hti_file_read_at(file->fd, data, size, page * file->meta.page_size + offset, &got);

    if (failed == EIO) {
        cursor->walk->read_errno = failed;
        if (cursor->options.bad)
            return tell_bad(cursor, page, "it cannot be read");
    }
    if (failed) {
        hti_file_fail(cursor->error, failed, file->path, "page %" PRIu64 " cannot be read", page);
        return HTSTORE_EIO;
    }
    return got < size ? tell_bad(cursor, page, "the file ends before it") : 0;
}

/* ---- values ---- */

/* Make room for `size` bytes, and keep what is there. */
static int grow_value(struct hti_kvwalk_cursor *cursor, size_t size)
{
    uint8_t *more;

    if (size <= cursor->value_capacity)
        return 0;
    more = hti_mem_realloc_array(cursor->value, size, 1);
    if (!more)
        return hti_fail(cursor->error, HTSTORE_ENOMEM, "no memory for a value of %zu bytes", size);
    cursor->value = more;
    cursor->value_capacity = size;
    return 0;
}

/* Read the beginning of a value, and check and claim its pages. 0, 1 = told as bad, or negative. */
static int begin_value(struct hti_kvwalk_cursor *cursor, uint64_t first, size_t size, size_t part)
{
    const struct hti_kvpage_file *file = &cursor->walk->file;
    const uint64_t n_pages = (size - 1) / file->meta.page_size + 1;
    const char *fault;
    int rc = grow_value(cursor, part);

    if (rc == 0)
        rc = read_page(cursor, first, 0, cursor->value, part);
    if (rc != 0)
        return rc;
    fault = hti_kvpage_check_value(file, cursor->value, first, n_pages);
    if (fault)
        return tell_bad(cursor, first, fault);
    rc = claim_pages(cursor, first, n_pages);
    return rc == 1 ? tell_bad(cursor, first, "it is reached twice") : rc;
}

/* Fill the value of an entry of a leaf that points to it. 0, 1 = told as bad, or negative. */
static int load_value(struct hti_kvwalk_cursor *cursor, uint64_t page, const struct hti_kvpage_node *node,
                      struct hti_kvwalk_entry *entry)
{
    const struct hti_kvpage_file *file = &cursor->walk->file;
    const uint64_t first = hti_load_le64(node->value);
    const size_t size = HTI_KVPAGE_HEADER_SIZE + node->value_size;
    const bool is_wanted = cursor->options.max_value == 0 || node->value_size <= cursor->options.max_value;
    const size_t wanted = is_wanted ? size : HTI_KVPAGE_HEADER_SIZE;
    const size_t part = wanted < MAX_PART_SIZE ? wanted : MAX_PART_SIZE;
    int rc;

    if (node->value_size > MAX_VALUE_SIZE || !hti_kvpage_has(file, first, (size - 1) / file->meta.page_size + 1))
        return tell_bad(cursor, page, "a value lies outside the file");
    rc = begin_value(cursor, first, size, part);
    if (rc == 0)
        rc = grow_value(cursor, wanted);
    if (rc == 0 && wanted > part)
        rc = read_page(cursor, first, part, cursor->value + part, wanted - part);
    if (rc != 0)
        return rc;
    entry->value = is_wanted ? cursor->value + HTI_KVPAGE_HEADER_SIZE : NULL;
    entry->value_page = first;
    return 0;
}

/* ---- pages ---- */

/* Of this page and its right siblings: how many lie side by side, and may be read with one call? */
static uint64_t measure_run(const struct hti_kvwalk_cursor *cursor, const struct level *branch, uint64_t first)
{
    const struct hti_kvpage_file *file = &cursor->walk->file;
    const uint64_t most = MAX_RUN_SIZE / file->meta.page_size;
    struct hti_kvpage_node node;
    uint64_t count = 1;

    for (unsigned i = branch->next; i < branch->n_nodes && count < MAX_RUN_PAGES && count < most; i++, count++)
        if (hti_kvpage_find_node(branch->data, file->meta.page_size, i, &node) || node.child != first + count ||
            !hti_kvpage_has(file, first, count + 1))
            break;
    return count;
}

/*
 * Where a run holds a page; *found is NULL if it must be read alone, which tells what is wrong. Runs are read at one level only,
 * so that what lies in one stays until its siblings are done. 0 or HTSTORE_ENOMEM.
 */
static int find_in_run(struct hti_kvwalk_cursor *cursor, uint64_t page, const uint8_t **found)
{
    const struct hti_kvpage_file *file = &cursor->walk->file;
    struct level *branch = cursor->n_levels > 0 ? &cursor->levels[cursor->n_levels - 1] : NULL;
    size_t got;

    *found = NULL;
    if (page - cursor->run_first < cursor->run_count)
        *found = cursor->run + (page - cursor->run_first) * file->meta.page_size;
    if (*found || !branch || cursor->n_levels + 1 != cursor->tree.depth || branch->next <= branch->single_until)
        return 0;
    const uint64_t count = measure_run(cursor, branch, page);
    branch->single_until = branch->next + (unsigned)count - 1;
    if (count < 2)
        return 0;
    cursor->run_count = 0;
    if (!cursor->run)
        cursor->run = hti_mem_alloc(MAX_RUN_SIZE);
    if (!cursor->run)
        return hti_fail(cursor->error, HTSTORE_ENOMEM, "no memory for pages");
    if (hti_kvpage_read(file, page, cursor->run, count * file->meta.page_size, &got) != 0)
        return 0;
    cursor->run_first = page;
    cursor->run_count = got / file->meta.page_size;
    if (cursor->run_count > 0)
        *found = cursor->run;
    return 0;
}

/* Read a page for a level of its own. 0, 1 = told as bad, or negative. */
static int load_page(struct hti_kvwalk_cursor *cursor, struct level *level, uint64_t page)
{
    const uint32_t page_size = cursor->walk->file.meta.page_size;
    const uint8_t *found;
    const char *fault;
    int rc = find_in_run(cursor, page, &found);

    if (rc != 0)
        return rc;
    if (!found && !level->own) {
        level->own = hti_mem_alloc(page_size);
        if (!level->own)
            return hti_fail(cursor->error, HTSTORE_ENOMEM, "no memory for a page");
    }
    if (!found) {
        rc = read_page(cursor, page, 0, level->own, page_size);
        if (rc != 0)
            return rc;
    }
    level->data = found ? found : level->own;
    fault = hti_kvpage_check(level->data, page, page_size);
    return fault ? tell_bad(cursor, page, fault) : 0;
}

/* What is odd about a page as a whole, though all in it may be right. 1 or negative. */
static int check_level(struct hti_kvwalk_cursor *cursor, const struct level *level)
{
    if (level->is_branch)
        return level->n_nodes < 2 ? tell_bad(cursor, level->page, "it is a branch with fewer than two children") : 1;
    if (cursor->n_levels != cursor->tree.depth && !cursor->depth_told) {
        cursor->depth_told = true;
        const int rc = tell_bad(cursor, level->page, "its depth is not the recorded one");
        if (rc < 0)
            return rc;
    }
    return level->n_nodes == 0 ? tell_bad(cursor, level->page, "it is an empty leaf") : 1;
}

/* Go down to a page. 1 = done, or told as bad; or negative. */
static int enter_page(struct hti_kvwalk_cursor *cursor, uint64_t page)
{
    const struct hti_kvpage_file *file = &cursor->walk->file;
    struct level *level = &cursor->levels[cursor->n_levels];
    int rc;

    if (cursor->n_levels >= HTI_KVPAGE_MAX_DEPTH)
        return tell_bad(cursor, page, "it is deeper than 32 levels");
    if (!hti_kvpage_has(file, page, 1))
        return tell_bad(cursor, page, "it is not a page of the file");
    rc = cursor->n_levels > 0 ? claim_pages(cursor, page, 1) : 0;
    if (rc == 1)
        return tell_bad(cursor, page, "it is reached twice");
    if (rc == 0)
        rc = load_page(cursor, level, page);
    if (rc != 0)
        return rc;
    level->page = page;
    level->n_nodes = hti_kvpage_count_nodes(level->data);
    level->next = 0;
    level->single_until = 0;
    level->room = hti_kvpage_nodes_size(level->data, file->meta.page_size);
    level->is_branch = hti_kvpage_is_branch(level->data);
    level->told = false;
    cursor->n_levels++;
    return check_level(cursor, level);
}

/* A page tells of its bad nodes once. */
static int tell_node(const struct hti_kvwalk_cursor *cursor, struct level *level, const char *fault)
{
    if (level->told)
        return 1;
    level->told = true;
    return tell_bad(cursor, level->page, fault);
}

static int next_child(struct hti_kvwalk_cursor *cursor, struct level *level)
{
    struct hti_kvpage_node node;
    const char *fault = hti_kvpage_find_node(level->data, cursor->walk->file.meta.page_size, level->next++, &node);

    return fault ? tell_node(cursor, level, fault) : enter_page(cursor, node.child);
}

/* 0, 1 = it is bad, which is told, or negative. */
static int next_entry(struct hti_kvwalk_cursor *cursor, struct level *level, struct hti_kvwalk_entry *entry)
{
    struct hti_kvpage_node node;
    const char *fault = hti_kvpage_find_entry(level->data, cursor->walk->file.meta.page_size, level->next++, &node);

    if (!fault && node.stored_size > level->room)
        fault = "its entries overlap";
    if (fault)
        return tell_node(cursor, level, fault);
    level->room -= node.stored_size;
    entry->key = node.key;
    entry->key_size = node.key_size;
    entry->value = node.value;
    entry->value_size = node.value_size;
    entry->value_page = 0;
    entry->page = level->page;
    entry->is_tree = node.flags == HTI_KVPAGE_TREE;
    if (node.flags == HTI_KVPAGE_BIG)
        return load_value(cursor, level->page, &node, entry);
    if (entry->is_tree && !cursor->options.trees)
        return tell_bad(cursor, level->page, "an entry is the record of a database");
    return 0;
}

int hti_kvwalk_cursor_open(struct hti_kvwalk *walk, const struct hti_kvpage_tree *tree,
                           const struct hti_kvwalk_options *options, struct hti_kvwalk_cursor **cursor,
                           struct htstore_error *error)
{
    struct hti_kvwalk_cursor *new_cursor = hti_mem_zalloc(sizeof *new_cursor);

    *cursor = NULL;
    if (!new_cursor)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a walk");
    walk->read_errno = 0;
    new_cursor->walk = walk;
    new_cursor->tree = *tree;
    if (options)
        new_cursor->options = *options;
    *cursor = new_cursor;
    return 0;
}

/* Go down to the next leaf that has entries left, or stay on it. 0, 1 = no more, or negative. */
static int reach_leaf(struct hti_kvwalk_cursor *cursor)
{
    int rc = 1;

    if (!cursor->begun) {
        cursor->begun = true;
        rc = cursor->tree.root == HTI_KVPAGE_NONE ? 1 : enter_page(cursor, cursor->tree.root);
    }
    while (rc == 1 && cursor->n_levels > 0) {
        struct level *level = &cursor->levels[cursor->n_levels - 1];
        if (level->next == level->n_nodes)
            cursor->n_levels--;
        else if (level->is_branch)
            rc = next_child(cursor, level);
        else
            return 0;
    }
    return rc;
}

int hti_kvwalk_cursor_next(struct hti_kvwalk_cursor *cursor, struct hti_kvwalk_entry *entry,
                           struct htstore_error *error)
{
    int rc;

    cursor->error = error;
    do {
        rc = reach_leaf(cursor);
        if (rc != 0)
            break;
        rc = next_entry(cursor, &cursor->levels[cursor->n_levels - 1], entry);
    } while (rc == 1);
    if (rc < 0)
        cursor->n_levels = 0;
    return rc;
}

int hti_kvwalk_cursor_leaf(struct hti_kvwalk_cursor *cursor, struct hti_kvwalk_leaf *leaf, struct htstore_error *error)
{
    int rc;

    cursor->error = error;
    rc = reach_leaf(cursor);
    if (rc < 0)
        cursor->n_levels = 0;
    if (rc != 0)
        return rc;
    const struct level *level = &cursor->levels[cursor->n_levels - 1];
    *leaf = (struct hti_kvwalk_leaf){ .data = level->data, .first = level->next, .n_entries = level->n_nodes };
    return 0;
}

void hti_kvwalk_cursor_skip_leaf(struct hti_kvwalk_cursor *cursor)
{
    struct level *level = &cursor->levels[cursor->n_levels - 1];

    level->next = level->n_nodes;
}

void hti_kvwalk_cursor_close(struct hti_kvwalk_cursor *cursor)
{
    if (!cursor)
        return;
    for (unsigned i = 0; i < HTI_KVPAGE_MAX_DEPTH; i++)
        hti_mem_free(cursor->levels[i].own);
    hti_mem_free(cursor->value);
    hti_mem_free(cursor->run);
    hti_mem_free(cursor->visited);
    hti_mem_free(cursor);
}

/* ---- files ---- */

static int make_walk(int fd, const char *path, const struct hti_kvpage_meta *meta, struct hti_kvwalk **walk,
                     struct htstore_error *error)
{
    struct hti_kvwalk *new_walk;
    uint64_t size;
    /* After the metas: a writer may be at work, and the file may have grown with the newer one. */
    const int failed = hti_file_size(fd, &size);

    if (failed)
        return hti_file_fail(error, failed, path, "cannot examine the file");
    new_walk = hti_mem_zalloc(sizeof *new_walk);
    if (new_walk)
        new_walk->path = hti_mem_strdup(path);
    if (!new_walk || !new_walk->path) {
        hti_mem_free(new_walk);
        return hti_fail(error, HTSTORE_ENOMEM, "no memory to read a data file");
    }
    hti_kvpage_fill_file(&new_walk->file, fd, new_walk->path, meta, size);
    *walk = new_walk;
    return 0;
}

int hti_kvwalk_open(int fd, bool skip_newest, const char *path, struct hti_kvwalk **walk, struct htstore_error *error)
{
    struct hti_kvpage_metas metas;

    *walk = NULL;
    hti_kvpage_read_metas(fd, &metas);
    if (metas.fault[0].code && metas.fault[1].code)
        return hti_kvpage_fail_meta(&metas, 0, metas.fault[0].code, path, error);
    bool has_both = !metas.fault[0].code && !metas.fault[1].code;
    unsigned number = has_both ? hti_kvpage_newest(&metas) ^ (unsigned)skip_newest : metas.fault[0].code != 0;
    if (skip_newest && !has_both)
        return hti_kvpage_fail_meta(&metas, !number, HTSTORE_ECORRUPT, path, error);
    return make_walk(fd, path, &metas.meta[number], walk, error);
}

int hti_kvwalk_open_at(int fd, uint64_t txn_id, const char *path, struct hti_kvwalk **walk, struct htstore_error *error)
{
    struct hti_kvpage_metas metas[2];
    const unsigned number = txn_id & 1;
    unsigned i;

    *walk = NULL;
    hti_kvpage_read_metas(fd, &metas[0]);
    /* A meta may be half of the old and half of the new one while a writer commits. */
    for (i = 1; i < MAX_META_READS; i++) {
        hti_kvpage_read_metas(fd, &metas[i % 2]);
        if (memcmp(metas[0].raw, metas[1].raw, sizeof metas[0].raw) == 0)
            break;
    }
    if (metas[0].fault[number].code && i < MAX_META_READS)
        return hti_kvpage_fail_meta(&metas[0], number, metas[0].fault[number].code, path, error);
    if (i == MAX_META_READS || metas[0].meta[number].txn_id != txn_id)
        return 1;
    return make_walk(fd, path, &metas[0].meta[number], walk, error);
}

int hti_kvwalk_read_value(struct hti_kvwalk *walk, uint64_t page, uint64_t offset, void *data, size_t size,
                          struct htstore_error *error)
{
    const struct hti_kvpage_file *file = &walk->file;
    const uint64_t skipped = HTI_KVPAGE_HEADER_SIZE + offset;
    size_t got;
    int failed;

    if (offset > MAX_VALUE_SIZE || size > MAX_VALUE_SIZE ||
        !hti_kvpage_has(file, page, (skipped + size + file->meta.page_size - 1) / file->meta.page_size)) {
        hti_fail(error, HTSTORE_ECORRUPT, "a value on page %" PRIu64 " lies outside the file", page);
        hti_error_set_path(error, file->path, page * file->meta.page_size);
        return HTSTORE_ECORRUPT;
    }
    failed = hti_file_read_at(file->fd, data, size, page * file->meta.page_size + skipped, &got);
    if (failed) {
        hti_file_fail(error, failed, file->path, "the value on page %" PRIu64 " cannot be read", page);
        return HTSTORE_EIO;
    }
    if (got == size)
        return 0;
    hti_fail(error, HTSTORE_ECORRUPT, "the file ends in the value on page %" PRIu64, page);
    hti_error_set_path(error, file->path, page * file->meta.page_size);
    return HTSTORE_ECORRUPT;
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

/* ---- walks with callbacks ---- */

static void ignore_bad(void *user, uint64_t page, const char *reason)
{
    (void)user;
    (void)page;
    (void)reason;
}

/* A walk that goes on where something is bad. */
static int open_lenient(struct hti_kvwalk *walk, const struct hti_kvpage_tree *tree, struct hti_kvwalk_options options,
                        struct hti_kvwalk_cursor **cursor, struct htstore_error *error)
{
    if (!options.bad)
        options.bad = ignore_bad;
    return hti_kvwalk_cursor_open(walk, tree, &options, cursor, error);
}

/* The next database of the main tree. 0, 1 = no more, or negative. */
static int next_tree(struct hti_kvwalk_cursor *cursor, struct hti_kvwalk_entry *entry, struct hti_kvpage_tree *tree,
                     struct htstore_error *error)
{
    int rc;

    while ((rc = hti_kvwalk_cursor_next(cursor, entry, error)) == 0) {
        const struct hti_kvpage_node node = { .value = entry->value, .value_size = entry->value_size };
        if (!entry->is_tree)
            continue;
        const char *fault = hti_kvpage_load_tree(&cursor->walk->file, &node, tree);
        if (!fault)
            return 0;
        cursor->options.bad(cursor->options.user, entry->page, fault);
    }
    return rc;
}

int hti_kvwalk_find_tree(struct hti_kvwalk *walk, const char *name, struct hti_kvpage_tree *tree, hti_kvwalk_bad_fn bad,
                         void *user, struct htstore_error *error)
{
    const struct hti_kvwalk_options options = { .bad = bad, .user = user, .trees = true };
    struct hti_kvwalk_cursor *cursor;
    struct hti_kvwalk_entry entry;
    struct hti_kvpage_tree found;
    int rc = open_lenient(walk, &walk->file.meta.main_tree, options, &cursor, error);

    while (rc == 0 && (rc = next_tree(cursor, &entry, &found, error)) == 0)
        if (entry.key_size == strlen(name) && memcmp(entry.key, name, entry.key_size) == 0)
            break;
    hti_kvwalk_cursor_close(cursor);
    if (rc == 0)
        *tree = found;
    return rc;
}

int hti_kvwalk_list_trees(struct hti_kvwalk *walk, hti_kvwalk_tree_fn tree, hti_kvwalk_bad_fn bad, void *user,
                          struct htstore_error *error)
{
    const struct hti_kvwalk_options options = { .bad = bad, .user = user, .trees = true };
    struct hti_kvwalk_cursor *cursor;
    struct hti_kvwalk_entry entry;
    struct hti_kvpage_tree found;
    int answer = 0;
    int rc = open_lenient(walk, &walk->file.meta.main_tree, options, &cursor, error);

    while (rc == 0 && answer == 0 && (rc = next_tree(cursor, &entry, &found, error)) == 0)
        answer = tree(user, entry.key, entry.key_size, &found);
    hti_kvwalk_cursor_close(cursor);
    return rc < 0 ? rc : answer;
}

int hti_kvwalk_walk(struct hti_kvwalk *walk, const struct hti_kvpage_tree *tree, hti_kvwalk_entry_fn entry,
                    hti_kvwalk_bad_fn bad, void *user, struct htstore_error *error)
{
    const struct hti_kvwalk_options options = { .bad = bad, .user = user };
    struct hti_kvwalk_cursor *cursor;
    struct hti_kvwalk_entry next;
    int answer = 0;
    int rc = open_lenient(walk, tree, options, &cursor, error);

    assert(entry);
    while (rc == 0 && answer == 0 && (rc = hti_kvwalk_cursor_next(cursor, &next, error)) == 0)
        answer = entry(user, next.key, next.key_size, next.value, next.value_size);
    hti_kvwalk_cursor_close(cursor);
    return rc < 0 ? rc : answer;
}
