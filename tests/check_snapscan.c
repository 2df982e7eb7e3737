/* Tests of snapscan: of a damaged snapshot, exactly the intact blocks are found, and what is between them is told. */
#include "snapscan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "check_util.h"
#include "mem.h"
#include "snap_sample.h"

#define PATH "s.snap"
#define HEAD 64u
#define MAX_SIZE 8192u

static struct snap_sample_block blocks[N_SNAP_BLOCKS];
static uint8_t image[MAX_SIZE]; /* the sample file */
static size_t image_size;
static uint64_t offsets[N_SNAP_BLOCKS + 1]; /* of its blocks; the last: of the lists */
static uint64_t binding;

static void set_up(void)
{
    const int fd = memfd_create("snap", MFD_CLOEXEC);
    struct hti_snap_part part;

    ck_assert_int_eq(snap_sample_blocks(blocks), 0);
    ck_assert_int_eq(snap_sample_write(fd, NULL), 0);
    const ssize_t got = pread(fd, image, sizeof image, 0);
    ck_assert_int_gt(got, 0);
    image_size = (size_t)got;
    close(fd);
    ck_assert(hti_snap_decode_part(image + HTI_SNAP_HEADER_SIZE, &part));
    binding = hti_snap_binding(part.id);
    offsets[0] = HTI_SNAP_HEADER_SIZE + HEAD + part.stored_size;
    for (unsigned i = 0; i < N_SNAP_BLOCKS; i++)
        offsets[i + 1] = offsets[i] + HEAD + blocks[i].head.stored_size;
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    snap_sample_blocks_release(blocks);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

struct found {
    unsigned blocks; /* bit i: block i was found, and is as it was written */
    unsigned n_gaps;
    struct hti_snap_gap gaps[16];
    bool has_header, has_graph, has_footer;
    uint64_t lsn, n_promised;
};

static unsigned identify(const struct hti_snap_block *block, const struct hti_buf *frame)
{
    for (unsigned i = 0; i < N_SNAP_BLOCKS; i++) {
        const struct hti_snap_block *head = &blocks[i].head;
        if (head->node != block->node || head->number != block->number)
            continue;
        ck_assert(head->kind == block->kind && head->n_rows == block->n_rows);
        ck_assert_uint_eq(frame->size, blocks[i].frame.size);
        ck_assert_mem_eq(frame->data, blocks[i].frame.data, frame->size);
        return i;
    }
    ck_abort_msg("block %u of node %u was never written", block->number, block->node);
    return 0;
}

static void note_gap(struct found *found, const struct hti_snap_gap *gap)
{
    if (gap->size == 0)
        return;
    ck_assert_uint_gt(strlen(gap->reason), 0);
    found->gaps[found->n_gaps++ % 16] = *gap;
}

static int scan_fd(int fd, struct found *found, struct htstore_error *error)
{
    struct hti_snapscan *scan;
    struct hti_snap_block block;
    struct hti_snap_gap gap;
    struct hti_buf frame;
    int rc = hti_snapscan_open(fd, PATH, &scan, error);

    memset(found, 0, sizeof *found);
    if (rc != 0)
        return rc;
    found->has_header = hti_snapscan_header(scan) != NULL;
    found->lsn = found->has_header ? hti_snapscan_header(scan)->lsn : 0;
    found->has_graph = hti_snapscan_graph(scan) != NULL;
    found->has_footer = hti_snapscan_promised(scan, &found->n_promised);
    hti_buf_init(&frame);
    while ((rc = hti_snapscan_next(scan, &block, &frame, &gap, error)) == 0) {
        note_gap(found, &gap);
        const unsigned which = identify(&block, &frame);
        ck_assert(!(found->blocks & 1u << which));
        found->blocks |= 1u << which;
    }
    if (rc == 1)
        note_gap(found, &gap);
    hti_buf_release(&frame);
    hti_snapscan_close(scan);
    return rc == 1 ? 0 : rc;
}

static int scan_bytes(const uint8_t *data, size_t size, struct found *found)
{
    const int fd = memfd_create("snap", MFD_CLOEXEC);
    struct htstore_error error;

    ck_assert_int_eq(pwrite(fd, data, size, 0), (ssize_t)size);
    const int rc = scan_fd(fd, found, &error);
    if (rc != 0)
        ck_assert_int_eq(error.code, rc);
    close(fd);
    return rc;
}

#define ALL ((1u << N_SNAP_BLOCKS) - 1)

START_TEST(all_of_an_intact_file_is_found)
{
    struct found found;

    ck_assert_int_eq(scan_bytes(image, image_size, &found), 0);
    ck_assert_uint_eq(found.blocks, ALL);
    ck_assert_uint_eq(found.n_gaps, 0);
    ck_assert(found.has_header && found.has_graph && found.has_footer);
    ck_assert_uint_eq(found.lsn, SNAP_LSN);
    ck_assert_uint_eq(found.n_promised, N_SNAP_BLOCKS);
}
END_TEST

/* Which block holds that byte; N_SNAP_BLOCKS: none. */
static unsigned block_at(size_t at)
{
    for (unsigned i = 0; i < N_SNAP_BLOCKS; i++)
        if (at >= offsets[i] && at < offsets[i + 1])
            return i;
    return N_SNAP_BLOCKS;
}

START_TEST(one_changed_byte_costs_one_block_at_most)
{
    struct found found;

    for (size_t at = 0; at < image_size; at++) {
        const unsigned hit = block_at(at);
        image[at] ^= 0x41;
        ck_assert_int_eq(scan_bytes(image, image_size, &found), 0);
        ck_assert_uint_eq(found.blocks, hit < N_SNAP_BLOCKS ? ALL & ~(1u << hit) : ALL);
        ck_assert_msg(found.n_gaps == 1, "byte %zu: %u gaps", at, found.n_gaps);
        ck_assert_uint_le(found.gaps[0].offset, at);
        ck_assert_uint_gt(found.gaps[0].offset + found.gaps[0].size, at);
        ck_assert(found.has_header && found.lsn == SNAP_LSN);
        ck_assert_int_eq(found.has_graph, at < HTI_SNAP_HEADER_SIZE || at >= offsets[0]);
        image[at] ^= 0x41;
    }
}
END_TEST

START_TEST(gaps_are_the_damaged_blocks_and_name_them)
{
    struct found found;

    image[offsets[1] + HEAD + 5] ^= 1;
    image[offsets[4] + HEAD + 5] ^= 1;
    ck_assert_int_eq(scan_bytes(image, image_size, &found), 0);
    ck_assert_uint_eq(found.blocks, ALL & ~(1u << 1 | 1u << 4));
    ck_assert_uint_eq(found.n_gaps, 2);
    ck_assert_uint_eq(found.gaps[0].offset, offsets[1]);
    ck_assert_uint_eq(found.gaps[0].size, offsets[2] - offsets[1]);
    ck_assert_str_eq(found.gaps[0].reason, "block 1 of (root).t: checksum differs");
    ck_assert_uint_eq(found.gaps[1].offset, offsets[4]);
    ck_assert_uint_eq(found.gaps[1].size, offsets[5] - offsets[4]);
    ck_assert_str_eq(found.gaps[1].reason, "block 1 of (root).m.\xC3\xA9.w: checksum differs");
}
END_TEST

START_TEST(a_cut_file_gives_the_blocks_before_the_cut)
{
    struct found found;

    for (size_t size = 0; size < image_size; size++) {
        unsigned expected = 0;
        for (unsigned i = 0; i < N_SNAP_BLOCKS; i++)
            expected |= size >= offsets[i + 1] ? 1u << i : 0;
        const int rc = scan_bytes(image, size, &found);
        ck_assert_int_eq(rc, size < HTI_SNAP_HEADER_SIZE ? HTSTORE_EFORMAT : 0);
        ck_assert_uint_eq(found.blocks, expected);
        ck_assert(!found.has_footer);
    }
}
END_TEST

START_TEST(a_file_that_lost_its_start_gives_the_blocks_behind_it)
{
    struct found found;

    for (size_t start = 0; start + HTI_SNAP_TRAILER_SIZE <= image_size; start++) {
        unsigned expected = 0;
        for (unsigned i = 0; i < N_SNAP_BLOCKS; i++)
            expected |= start <= offsets[i] ? 1u << i : 0;
        ck_assert_int_eq(scan_bytes(image + start, image_size - start, &found), 0);
        ck_assert_uint_eq(found.blocks, expected);
        ck_assert_int_eq(found.has_graph, start <= HTI_SNAP_HEADER_SIZE);
    }
}
END_TEST

static size_t copy_with(uint8_t *out, size_t at, size_t n_removed, const void *inserted, size_t n_inserted)
{
    memcpy(out, image, at);
    memcpy(out + at, inserted, n_inserted);
    memcpy(out + at + n_inserted, image + at + n_removed, image_size - at - n_removed);
    return image_size - n_removed + n_inserted;
}

START_TEST(bytes_that_were_lost_or_added_do_not_hide_later_blocks)
{
    static const char junk[] = "junk\x5A\x2A\x4D\x18\x5A\x2A\x4D\x18*M\x18";
    uint8_t changed[MAX_SIZE + 64];
    struct found found;

    for (unsigned i = 0; i < N_SNAP_BLOCKS; i++) {
        const size_t middle = (size_t)offsets[i] + HEAD + 3;
        size_t size = copy_with(changed, middle, 5, junk, 0);
        ck_assert_int_eq(scan_bytes(changed, size, &found), 0);
        ck_assert_uint_eq(found.blocks, ALL & ~(1u << i));
        size = copy_with(changed, middle, 0, junk, sizeof junk);
        ck_assert_int_eq(scan_bytes(changed, size, &found), 0);
        ck_assert_uint_eq(found.blocks, ALL & ~(1u << i));
        size = copy_with(changed, (size_t)offsets[i], 0, junk, sizeof junk); /* between blocks: nothing is lost */
        ck_assert_int_eq(scan_bytes(changed, size, &found), 0);
        ck_assert_uint_eq(found.blocks, ALL);
        ck_assert_uint_eq(found.n_gaps, 1);
        ck_assert_uint_eq(found.gaps[0].size, sizeof junk);
    }
}
END_TEST

START_TEST(repeated_blocks_are_found_once)
{
    uint8_t changed[MAX_SIZE + 1024];
    struct found found;
    const size_t size =
        copy_with(changed, (size_t)offsets[2], 0, image + offsets[0], (size_t)(offsets[2] - offsets[0]));

    ck_assert_int_eq(scan_bytes(changed, size, &found), 0);
    ck_assert_uint_eq(found.blocks, ALL);
    ck_assert_uint_eq(found.n_gaps, 1);
    ck_assert_uint_eq(found.gaps[0].offset, offsets[2]);
    ck_assert_uint_eq(found.gaps[0].size, offsets[2] - offsets[0]);
    ck_assert_ptr_nonnull(strstr(found.gaps[0].reason, "repeated"));
}
END_TEST

START_TEST(blocks_of_another_snapshot_are_not_taken)
{
    struct hti_snap_block block;
    struct found found;

    ck_assert(hti_snap_decode_block(image + offsets[2], binding, &block));
    hti_snap_encode_block(&block, binding + 1, image + offsets[2]);
    ck_assert_int_eq(scan_bytes(image, image_size, &found), 0);
    ck_assert_uint_eq(found.blocks, ALL & ~(1u << 2));
}
END_TEST

START_TEST(without_header_the_footer_tells_the_lsn_and_without_both_nobody)
{
    struct found found;

    image[40] ^= 1;
    ck_assert_int_eq(scan_bytes(image, image_size, &found), 0);
    ck_assert(found.has_header && found.lsn == SNAP_LSN && found.has_graph);
    ck_assert_str_eq(found.gaps[0].reason, "the header is damaged");
    ck_assert_int_eq(scan_bytes(image, image_size - 1, &found), 0); /* the graph still has the id */
    ck_assert(!found.has_header && !found.has_footer && found.has_graph);
    ck_assert_uint_eq(found.blocks, ALL);
    image[HTI_SNAP_HEADER_SIZE + 30] ^= 1;
    ck_assert_int_eq(scan_bytes(image, image_size, &found), 0); /* only the trailer has it */
    ck_assert(found.has_header && !found.has_graph);
    ck_assert_uint_eq(found.blocks, ALL);
    ck_assert_int_eq(scan_bytes(image, image_size - 1, &found), HTSTORE_EFORMAT);
}
END_TEST

START_TEST(a_newer_format_is_not_searched)
{
    struct hti_snap_header header;
    struct found found;

    ck_assert_int_eq(hti_snap_decode_header(image, HTI_SNAP_HEADER_SIZE, &header), 0);
    header.version = 2;
    hti_snap_encode_header(&header, image);
    ck_assert_int_eq(scan_bytes(image, image_size, &found), HTSTORE_EVERSION);
}
END_TEST

START_TEST(only_regular_files_are_searched)
{
    struct found found;
    int fds[2];

    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(scan_fd(fds[0], &found, NULL), HTSTORE_EINVAL);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

/* Heads by the thousand, each of which promises as much as there can be: searched in a few passes. */
START_TEST(a_file_of_blocks_that_promise_much_is_searched_quickly)
{
    const size_t n = 150000, size = (size_t)offsets[0] + n * HEAD;
    uint8_t *data = malloc(size);
    struct hti_snap_block block = blocks[0].head;
    struct found found;

    memcpy(data, image, (size_t)offsets[0]);
    for (size_t i = 0; i < n; i++) {
        const size_t left = (n - i - 1) * HEAD;
        block.number = (uint32_t)i;
        block.stored_size = left < HTI_SNAP_MAX_STORED ? (uint32_t)left : HTI_SNAP_MAX_STORED;
        hti_snap_encode_block(&block, binding, data + offsets[0] + i * HEAD);
    }
    ck_assert_int_eq(scan_bytes(data, size, &found), 0);
    ck_assert_uint_eq(found.blocks, 0);
    ck_assert_uint_eq(found.n_gaps, 1);
    free(data);
}
END_TEST

START_TEST(a_file_of_lists_that_promise_much_is_searched_quickly)
{
    const size_t n = 500000, size = (size_t)offsets[0] + n * 24;
    uint8_t *data = malloc(size);
    struct found found;

    memcpy(data, image, (size_t)offsets[0]);
    for (size_t i = 0; i < n; i++) {
        uint8_t *list = data + offsets[0] + i * 24;
        memset(list, 0, 24);
        hti_store_le32(list, HTI_SNAP_MAGIC_LIST);
        hti_store_le32(list + 4, HTI_SNAP_MAX_LIST_ENTRIES * HTI_SNAP_ENTRY_SIZE + HTI_SNAP_LIST_OVERHEAD - 8);
        hti_store_le32(list + 8, HTI_SNAP_LIST_BLOCKS);
        hti_store_le32(list + 12, HTI_SNAP_MAX_LIST_ENTRIES);
    }
    ck_assert_int_eq(scan_bytes(data, size, &found), 0);
    ck_assert_uint_eq(found.blocks, 0);
    free(data);
}
END_TEST

START_TEST(a_file_of_graphs_that_promise_much_is_searched_quickly)
{
    const size_t n = 150000, size = n * HEAD;
    uint8_t *data = malloc(size);
    struct hti_snap_part part;
    struct found found;

    ck_assert(hti_snap_decode_part(image + HTI_SNAP_HEADER_SIZE, &part));
    for (size_t i = 0; i < n; i++) {
        const size_t left = (n - i - 1) * HEAD;
        part.stored_size = left < HTI_SNAP_MAX_STORED ? (uint32_t)left : HTI_SNAP_MAX_STORED;
        hti_snap_encode_part(&part, data + i * HEAD);
    }
    ck_assert_int_eq(scan_bytes(data, size, &found), 0);
    ck_assert(!found.has_graph);
    free(data);
}
END_TEST

/* Nothing but magic numbers: each is looked at, none costs more than that. */
START_TEST(a_file_of_magic_numbers_is_searched_quickly)
{
    const size_t size = (size_t)offsets[0] + (1u << 20);
    uint8_t *data = malloc(size);
    struct found found;

    memcpy(data, image, (size_t)offsets[0]);
    for (size_t at = (size_t)offsets[0]; at + 4 <= size; at += 4)
        hti_store_le32(data + at, HTI_SNAP_MAGIC_BLOCK);
    ck_assert_int_eq(scan_bytes(data, size, &found), 0);
    ck_assert(found.blocks == 0 && found.n_gaps == 1);
    data[HTI_SNAP_HEADER_SIZE] ^= 1;
    ck_assert_int_eq(scan_bytes(data, size, &found), 0);
    ck_assert(!found.has_graph);
    free(data);
}
END_TEST

/* A block whose head lies across the border of two windows of the search. */
START_TEST(heads_are_found_wherever_they_lie)
{
    static uint8_t data[(64 << 10) + MAX_SIZE];
    const size_t start = (size_t)offsets[0];
    struct found found;

    for (size_t n = (64 << 10) - start - 80; n <= (64 << 10) - start + 8; n++) {
        memcpy(data, image, start);
        memset(data + start, 0x2A, n);
        memcpy(data + start + n, image + start, image_size - start);
        ck_assert_int_eq(scan_bytes(data, image_size + n, &found), 0);
        ck_assert_uint_eq(found.blocks, ALL);
    }
}
END_TEST

START_TEST(without_memory_nothing_leaks)
{
    const int fd = memfd_create("snap", MFD_CLOEXEC);
    bool failed = true;

    ck_assert_int_eq(pwrite(fd, image, image_size, 0), (ssize_t)image_size);
    for (uint64_t after = 0; failed; after++) {
        struct htstore_error error;
        struct found found;
        hti_mem_test_fail(after, true);
        const int rc = scan_fd(fd, &found, &error);
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_int_eq(rc, failed ? HTSTORE_ENOMEM : 0);
    }
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("snapscan");
    TCase *tests = tcase_create("salvage");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, all_of_an_intact_file_is_found);
    tcase_add_test(tests, one_changed_byte_costs_one_block_at_most);
    tcase_add_test(tests, gaps_are_the_damaged_blocks_and_name_them);
    tcase_add_test(tests, a_cut_file_gives_the_blocks_before_the_cut);
    tcase_add_test(tests, a_file_that_lost_its_start_gives_the_blocks_behind_it);
    tcase_add_test(tests, bytes_that_were_lost_or_added_do_not_hide_later_blocks);
    tcase_add_test(tests, repeated_blocks_are_found_once);
    tcase_add_test(tests, blocks_of_another_snapshot_are_not_taken);
    tcase_add_test(tests, without_header_the_footer_tells_the_lsn_and_without_both_nobody);
    tcase_add_test(tests, a_newer_format_is_not_searched);
    tcase_add_test(tests, only_regular_files_are_searched);
    tcase_add_test(tests, a_file_of_blocks_that_promise_much_is_searched_quickly);
    tcase_add_test(tests, a_file_of_lists_that_promise_much_is_searched_quickly);
    tcase_add_test(tests, a_file_of_graphs_that_promise_much_is_searched_quickly);
    tcase_add_test(tests, a_file_of_magic_numbers_is_searched_quickly);
    tcase_add_test(tests, heads_are_found_wherever_they_lie);
    tcase_add_test(tests, without_memory_nothing_leaks);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
