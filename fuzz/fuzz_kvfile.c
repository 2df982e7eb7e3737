/*
 * fuzz_kvfile: the check before LMDB maps a file, the page walker and the audit, over any bytes: once as a whole file, and once as
 * changes to a small valid one (four bytes each: offset u16, kind, value), so that mere chance gets past the metas. And searches in
 * the pages of that.
 */
#include "kvfile.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kv_image.h"
#include "kvaudit.h"
#include "kvsearch.h"
#include "kvwalk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sum {
    uint64_t n_entries;
    uint64_t n_bad;
    uint64_t bytes;
};

/* Touches every byte, so that sanitizers see a wrong size. */
static int take_entry(void *user, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    struct sum *sum = user;
    if (key_size == 0 || key_size > 511)
        abort();
    for (size_t i = 0; i < key_size; i++)
        sum->bytes += key[i];
    for (size_t i = 0; i < value_size; i++)
        sum->bytes += value[i];
    sum->n_entries++;
    return 0;
}

static void take_bad(void *user, uint64_t page, const char *reason)
{
    struct sum *sum = user;
    (void)page;
    sum->n_bad += reason[0] != '\0';
}

static int take_finding(void *user, const struct hti_kvaudit_finding *finding)
{
    struct sum *sum = user;
    sum->n_bad += finding->reason[0] != '\0';
    return 0;
}

static void audit_file(const struct hti_kvpage_file *file)
{
    struct sum sum = { 0, 0, 0 };
    const struct hti_kvaudit_options options = { .finding = take_finding, .user = &sum };
    struct hti_kvaudit_totals totals;
    if (hti_kvaudit_run(file, &options, &totals, NULL) == 0 && totals.n_findings != sum.n_bad)
        abort();
}

static void read_trees(int fd, bool skip_newest, struct sum *sum)
{
    static const char *const names[] = { "rows", "more", "nothing" };
    struct hti_kvwalk *file;
    struct hti_kvpage_tree tree;
    if (hti_kvwalk_open(fd, skip_newest, "memory", &file, NULL) != 0)
        return;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (hti_kvwalk_find_tree(file, names[i], &tree, take_bad, sum, NULL) == 0)
            (void)hti_kvwalk_walk(file, &tree, take_entry, take_bad, sum, NULL);
    audit_file(&file->file);
    hti_kvwalk_close(file);
}

/* The result of the check, and what both snapshots hold. */
static int read_file(const uint8_t *data, size_t size, struct sum *sum)
{
    int fd = memfd_create("fuzz_kvfile", MFD_CLOEXEC);
    if (fd < 0 || (size > 0 && write(fd, data, size) != (ssize_t)size))
        abort();
    int code = hti_kvfile_check(fd, "memory", NULL);
    read_trees(fd, false, sum);
    read_trees(fd, true, sum);
    close(fd);
    return code;
}

/* Searches that begin at every page, as if it were a root, for keys of the input. */
static void search_pages(const struct kv_image *image, const uint8_t *data, size_t size, struct sum *sum)
{
    struct hti_kvsearch search = { .map = image->data, .page_size = image->page_size };
    struct hti_kvsearch_key keys[HTI_KVSEARCH_KEYS + 1];
    const unsigned n = sizeof keys / sizeof *keys;

    search.n_pages = image->n_pages;
    for (search.root = 0; search.root <= search.n_pages; search.root++) {
        for (unsigned k = 0; k < n; k++) {
            const size_t from = size > 0 ? k % size : 0, left = size - from;
            keys[k] = (struct hti_kvsearch_key){ .key = data + from, .key_size = left < k % 9 ? left : k % 9 };
        }
        hti_kvsearch_find(&search, keys, n);
        for (unsigned k = 0; k < n; k++)
            for (size_t i = 0; keys[k].result == HTI_KVSEARCH_FOUND && i < keys[k].value_size; i++)
                sum->bytes += keys[k].value[i];
    }
}

static void change(const struct kv_image *image, const uint8_t *order)
{
    size_t offset = hti_load_le16(order) % image->size;
    switch (order[2] % 4) {
    case 0:
        image->data[offset] = order[3];
        break;
    case 1:
        image->data[offset] ^= (uint8_t)(1u << order[3] % 8);
        break;
    case 2:
        image->data[offset] = (uint8_t)(image->data[offset] + order[3]);
        break;
    default:
        /* Aim at the headers and offsets, where the structure is. */
        image->data[offset / image->page_size * image->page_size + offset % 32] = order[3];
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kv_image image;
    struct sum sum = { 0, 0, 0 };
    static bool is_sound;

    (void)read_file(data, size, &sum);
    kv_init_sample(&image, 512);
    if (!is_sound) {
        struct sum all = { 0, 0, 0 };
        if (read_file(image.data, image.size, &all) != 0 || all.n_entries != 12 || all.n_bad != 0)
            abort();
        is_sound = true;
    }
    for (size_t i = 0; i + 4 <= size && i < 64; i += 4)
        change(&image, data + i);
    (void)read_file(image.data, image.size, &sum);
    search_pages(&image, data, size, &sum);
    free(image.data);
    return 0;
}
