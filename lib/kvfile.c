/*
 * kvfile: hides what LMDB takes for granted when it maps a file, and how that is checked while a writer may be at work.
 */
#include "kvfile.h"

#include <inttypes.h>
#include <string.h>

#include "bytes.h"
#include "file.h"
#include "kvpage.h"
#include "kvwalk.h"
#include "mem.h"

#define MAX_CHECKS 16

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
static int note_free_pages(void *user, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    struct missing *missing = user;
    uint64_t count = value_size >= 8 ? hti_load_le64(value) : 0;

    (void)key;
    (void)key_size;
    if (value_size < 8 || count > value_size / 8 - 1) {
        missing->damaged = true;
        return 0;
    }
    for (uint64_t i = 1; i <= count; i++) {
        uint64_t number = hti_load_le64(value + 8 * i);
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
static int check_length(const struct hti_kvpage_file *file, uint64_t size, struct htstore_error *error)
{
    uint64_t expected = (file->meta.last_page + 1) * file->meta.page_size;
    struct missing missing = { .first = file->n_pages };
    struct hti_kvwalk walk = { .file = *file };

    if (size >= expected)
        return 0;
    missing.count = file->meta.last_page + 1 - missing.first;
    /* The free list takes 8 bytes of the file for each page: this bounds the memory, too. */
    if (missing.count > size / 8)
        return fail_truncated(expected, size, file->path, error);
    missing.found = hti_mem_zalloc(missing.count / 8 + 1);
    if (!missing.found)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory to check the free list");
    int code = hti_kvwalk_walk(&walk, &file->meta.free_tree, note_free_pages, note_damage, &missing, error);
    hti_mem_free(missing.found);
    if (code)
        return code;
    if (walk.read_errno)
        return hti_file_fail(error, walk.read_errno, file->path, "the free list cannot be read");
    if (missing.damaged || missing.n_found != missing.count)
        return fail_truncated(expected, size, file->path, error);
    return 0;
}

static int check_root(const struct hti_kvpage_file *file, const struct hti_kvpage_tree *tree, const char *what,
                      struct htstore_error *error)
{
    const char *fault;

    if (tree->root == HTI_KVPAGE_NONE)
        return 0;
    int failed = hti_kvpage_check_root(file, tree, &fault);
    if (failed)
        return hti_file_fail(error, failed, file->path, "the root page of the %s cannot be read", what);
    if (!fault)
        return 0;
    hti_fail(error, HTSTORE_ECORRUPT, "the root page %" PRIu64 " of the %s is damaged: %s", tree->root, what, fault);
    hti_error_set_path(error, file->path, tree->root * file->meta.page_size);
    return HTSTORE_ECORRUPT;
}

/*
 * When LMDB cannot write a meta page, it puts back the number of the transaction and of the last page, but not the trees:
 * the older meta may then tell of trees that never were. LMDB looks at the newest one only.
 */
static bool is_leftover(const struct hti_kvpage_metas *metas, unsigned number)
{
    return metas->fault[number].of_trees && !metas->fault[!number].code && hti_kvpage_newest(metas) != number;
}

/* One look at the file; *metas tells the state that was seen. */
static int check_state(int fd, const char *path, struct hti_kvpage_metas *metas, struct htstore_error *error)
{
    struct hti_kvpage_file file;
    const struct hti_kvpage_meta *newest = &metas->meta[0];
    uint64_t size;

    hti_kvpage_read_metas(fd, metas);
    /* Only now: a writer may be at work, and the file may have grown with the newer meta. */
    int failed = hti_file_size(fd, &size);
    if (failed)
        return hti_file_fail(error, failed, path, "cannot examine the file");
    if (metas->fault[0].code == HTSTORE_ECORRUPT && size < HTI_KVPAGE_META_SIZE)
        return fail_truncated(HTI_KVPAGE_N_METAS * HTI_KVPAGE_MIN_SIZE, size, path, error);
    if (metas->fault[0].code && !is_leftover(metas, 0))
        return hti_kvpage_fail_meta(metas, 0, metas->fault[1].code ? metas->fault[0].code : HTSTORE_ECORRUPT, path,
                                    error);
    if (metas->fault[1].code && size < HTI_KVPAGE_N_METAS * newest->page_size)
        return fail_truncated((newest->last_page + 1) * newest->page_size, size, path, error);
    if (metas->fault[1].code && !is_leftover(metas, 1))
        return hti_kvpage_fail_meta(metas, 1, HTSTORE_ECORRUPT, path, error);

    hti_kvpage_fill_file(&file, fd, path, &metas->meta[hti_kvpage_newest(metas)], size);
    int code = check_length(&file, size, error);
    if (!code)
        code = check_root(&file, &file.meta.free_tree, "free list", error);
    return code ? code : check_root(&file, &file.meta.main_tree, "main tree", error);
}

int hti_kvfile_check(int fd, const char *path, struct htstore_error *error)
{
    struct htstore_error reason;
    struct hti_kvpage_metas metas[2];
    int code = 0;

    /* What a writer changes under our eyes looks like damage. It is damage if the metas stay the same meanwhile. */
    for (unsigned i = 0; i < MAX_CHECKS; i++) {
        code = check_state(fd, path, &metas[i % 2], &reason);
        if (code != HTSTORE_ECORRUPT || (i > 0 && memcmp(metas[0].raw, metas[1].raw, sizeof metas[0].raw) == 0))
            break;
    }
    if (code)
        hti_error_copy(error, &reason);
    return code;
}
