/*
 * kvpage: metas and pages of an LMDB 0.9 data file, read by pread alone, without liblmdb, and what can be said of each
 * by itself. Never crashes on any bytes. Format: lmdb.h / mdb.c 0.9.24, data format version 1.
 */
#ifndef HTI_KVPAGE_H
#define HTI_KVPAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define HTI_KVPAGE_MIN_SIZE 512u
#define HTI_KVPAGE_HEADER_SIZE 16
#define HTI_KVPAGE_META_SIZE 152
#define HTI_KVPAGE_N_METAS 2
#define HTI_KVPAGE_MAX_DEPTH 32
#define HTI_KVPAGE_NONE UINT64_MAX

/* A tree as a meta page, or a record in the main tree, describes it. */
struct hti_kvpage_tree {
    uint64_t root; /* page number; HTI_KVPAGE_NONE = empty */
    uint64_t n_entries; /* as recorded, like the pages */
    uint64_t n_branch_pages;
    uint64_t n_leaf_pages;
    uint64_t n_overflow_pages; /* of big values */
    uint16_t depth;
    uint16_t flags;
};

struct hti_kvpage_meta {
    uint32_t page_size;
    uint64_t map_size;
    uint64_t last_page;
    uint64_t txn_id;
    struct hti_kvpage_tree free_tree;
    struct hti_kvpage_tree main_tree;
};

/* What is wrong with a meta page. */
struct hti_kvpage_fault {
    int code; /* 0 = nothing */
    int sys_errno;
    uint64_t offset;
    const char *reason;
    bool of_trees; /* only the roots are wrong */
};

struct hti_kvpage_metas {
    struct hti_kvpage_meta meta[HTI_KVPAGE_N_METAS]; /* each is valid if its fault is none, or of_trees */
    struct hti_kvpage_fault fault[HTI_KVPAGE_N_METAS];
    uint8_t raw[HTI_KVPAGE_N_METAS][HTI_KVPAGE_META_SIZE];
};

/* One state of a file. */
struct hti_kvpage_file {
    int fd; /* borrowed */
    const char *path; /* borrowed; for messages */
    struct hti_kvpage_meta meta;
    uint64_t n_pages; /* whole pages that are in the file and in use according to the meta */
};

/* Flags of the entries of a leaf; no entry has both. */
#define HTI_KVPAGE_BIG 0x01 /* the value is the number of the page where the real one begins */
#define HTI_KVPAGE_TREE 0x02 /* the value is the record of a database */

/* An entry of a leaf, or a child of a branch. Pointers go into the page. */
struct hti_kvpage_node {
    const uint8_t *key;
    size_t key_size;
    const uint8_t *value;
    size_t value_size;
    size_t stored_size; /* bytes it takes on its page */
    uint64_t child;
    uint16_t flags;
};

/*
 * Read both metas, and check every field of them. The faults tell HTSTORE_EFORMAT, HTSTORE_EVERSION, HTSTORE_ECORRUPT
 * or HTSTORE_EIO.
 */
void hti_kvpage_read_metas(int fd, struct hti_kvpage_metas *metas);
/* As LMDB picks it: the first one if both are equal. */
unsigned hti_kvpage_newest(const struct hti_kvpage_metas *metas);
/* Fail with the fault of a meta as `code`. Returns the code; that of its errno if it could not be read. */
int hti_kvpage_fail_meta(const struct hti_kvpage_metas *metas, unsigned number, int code, const char *path,
                         struct htstore_error *error);
/* The state that an intact meta tells, of a file of `size` bytes. */
void hti_kvpage_fill_file(struct hti_kvpage_file *file, int fd, const char *path, const struct hti_kvpage_meta *meta,
                          uint64_t size);

/* Are `count` pages from `first` on, and no meta among them, in the file? */
bool hti_kvpage_has(const struct hti_kvpage_file *file, uint64_t first, uint64_t count);
/* `size` bytes from the start of a page on. 0 or errno; *got < size at the end of the file. */
int hti_kvpage_read(const struct hti_kvpage_file *file, uint64_t page, void *data, size_t size, size_t *got);

/* These return what is wrong, in words ("its bounds are impossible"), or NULL. */

/* A branch or leaf. Its header is enough. */
const char *hti_kvpage_check(const uint8_t *data, uint64_t page, uint32_t page_size);
/* Do the entries of a page that passed fill its end, one behind the other? LMDB never leaves gaps. */
const char *hti_kvpage_check_filling(const uint8_t *data, uint32_t page_size);
/* The header of the first page of a big value that needs `n_pages`. */
const char *hti_kvpage_check_value(const struct hti_kvpage_file *file, const uint8_t *header, uint64_t first,
                                   uint64_t n_pages);
/* Find node `i`, with its key: all of a child. Or entry `i` of a leaf. On a page that passed hti_kvpage_check(). */
const char *hti_kvpage_find_node(const uint8_t *data, uint32_t page_size, unsigned i, struct hti_kvpage_node *node);
const char *hti_kvpage_find_entry(const uint8_t *data, uint32_t page_size, unsigned i, struct hti_kvpage_node *node);
/* Take the record of a database apart: an entry with HTI_KVPAGE_TREE. */
const char *hti_kvpage_load_tree(const struct hti_kvpage_file *file, const struct hti_kvpage_node *node,
                                 struct hti_kvpage_tree *tree);

/* The same, of bytes that came another way: only their size is checked. */
bool hti_kvpage_decode_tree(const void *data, size_t size, struct hti_kvpage_tree *tree);

/* Check the header of the root of a tree that is not empty. 0 or errno; *fault = what is wrong, in words, or NULL. */
int hti_kvpage_check_root(const struct hti_kvpage_file *file, const struct hti_kvpage_tree *tree, const char **fault);

/* Of a page that passed hti_kvpage_check(). */
bool hti_kvpage_is_branch(const uint8_t *data);
unsigned hti_kvpage_count_nodes(const uint8_t *data);
size_t hti_kvpage_nodes_size(const uint8_t *data, uint32_t page_size); /* what all of them take, with gaps */

#endif
