/*
 * Tests of snapread with files that were forged with care: every checksum, list, chain and sum is right, and only a
 * rule of the format is broken.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "check_util.h"
#include "frame.h"
#include "mem.h"
#include "snap_sample.h"
#include "snappart.h"
#include "snapread.h"
#include "snapwrite.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define MAX_BLOCKS 8u

static struct hti_snap_graph graph;
static struct snap_sample_block blocks[N_SNAP_BLOCKS];
static struct hti_buf record;
static struct hti_frame_encoder *encoder;

/* What a forger decides; all else follows from it. */
struct forgery {
    struct hti_snap_header header;
    uint64_t plain_hash_lie; /* added to that of the graph's part */
    unsigned n_blocks;
    struct hti_snap_block heads[MAX_BLOCKS]; /* offset, sizes and hashes of frame 0 are set on the way */
    uint64_t offset_lie; /* added to the offset in each entry */
    bool nodes_first; /* lists */
};
static struct forgery forgery;

static void set_up(void)
{
    ck_assert_int_eq(snap_sample_graph(&graph), 0);
    ck_assert_int_eq(snap_sample_blocks(blocks), 0);
    ck_assert_int_eq(hti_frame_encoder_new(&encoder), 0);
    hti_buf_init(&record);
    ck_assert_int_eq(hti_snap_graph_encode(&graph, &record, NULL), 0);
    forgery = (struct forgery){ .header = { .version = HTI_SNAP_VERSION,
                                            .lsn = SNAP_LSN,
                                            .id = hti_snap_graph_id(record.data, record.size),
                                            .graph_size = record.size,
                                            .n_nodes = N_SNAP_NODES,
                                            .n_parts = 1 },
                                .n_blocks = N_SNAP_BLOCKS };
    for (unsigned i = 0; i < N_SNAP_BLOCKS; i++)
        forgery.heads[i] = blocks[i].head;
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    hti_buf_release(&record);
    hti_frame_encoder_free(encoder);
    snap_sample_blocks_release(blocks);
    hti_snap_graph_release(&graph);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

/* --- forging --- */

static void append(struct hti_buf *out, const void *data, size_t size)
{
    ck_assert_int_eq(hti_buf_append(out, data, size), 0);
}

static void forge_start(struct hti_buf *out)
{
    uint8_t header[HTI_SNAP_HEADER_SIZE];
    struct hti_snap_part part;

    hti_snap_encode_header(&forgery.header, header);
    append(out, header, sizeof header);
    ck_assert_int_eq(hti_snap_part_write(encoder, &record, forgery.header.id, 0, out), 0);
    ck_assert(hti_snap_decode_part(out->data + HTI_SNAP_HEADER_SIZE, &part));
    part.plain_hash += forgery.plain_hash_lie;
    hti_snap_encode_part(&part, out->data + HTI_SNAP_HEADER_SIZE);
}

/* Every block has the frame of block 0: what is in it does not matter here. */
static void forge_block(struct hti_snap_block *head, struct hti_buf *out, struct hti_buf *entries)
{
    uint8_t bytes[HTI_SNAP_BLOCK_HEAD_SIZE], entry_bytes[HTI_SNAP_ENTRY_SIZE];
    const struct hti_buf *frame = &blocks[0].frame;
    struct hti_snap_block_entry entry;

    head->plain_size = blocks[0].head.plain_size;
    head->plain_hash = blocks[0].head.plain_hash;
    head->stored_size = (uint32_t)frame->size;
    head->stored_hash = hti_snap_hash(frame->data, frame->size);
    entry = (struct hti_snap_block_entry){ .offset = out->size + forgery.offset_lie,
                                           .node = head->node,
                                           .n_rows = head->n_rows,
                                           .plain_size = head->plain_size,
                                           .stored_size = head->stored_size };
    entry.head_checksum = hti_snap_encode_block(head, hti_snap_binding(forgery.header.id), bytes);
    hti_snap_encode_block_entry(&entry, entry_bytes);
    append(entries, entry_bytes, sizeof entry_bytes);
    append(out, bytes, sizeof bytes);
    append(out, frame->data, frame->size);
}

static void forge_nodes(struct hti_buf *entries)
{
    uint8_t bytes[HTI_SNAP_ENTRY_SIZE];

    for (uint32_t i = 0; i < N_SNAP_NODES; i++) {
        struct hti_snap_node_entry entry = { .digest = graph.nodes[i].digest };
        for (unsigned k = 0; k < forgery.n_blocks; k++) {
            entry.n_blocks += forgery.heads[k].node == i;
            entry.n_rows += forgery.heads[k].node == i ? forgery.heads[k].n_rows : 0;
        }
        hti_snap_encode_node_entry(&entry, bytes);
        append(entries, bytes, sizeof bytes);
    }
}

static uint64_t chain(const struct hti_buf *entries)
{
    uint64_t hash = 0;

    for (size_t at = 0; at < entries->size; at += HTI_SNAP_ENTRY_SIZE)
        hash = hti_snap_chain(hash, entries->data + at);
    return hash;
}

static void forge_list(enum hti_snap_list_kind kind, const struct hti_buf *entries, struct hti_buf *out)
{
    if (entries->size > 0)
        ck_assert_int_eq(hti_snap_encode_list(kind, 0, entries->data, (uint32_t)(entries->size / HTI_SNAP_ENTRY_SIZE),
                                              hti_snap_binding(forgery.header.id), out),
                         0);
}

static void forge_end(const struct hti_buf *block_entries, const struct hti_buf *node_entries, struct hti_buf *out)
{
    const struct hti_snap_header *header = &forgery.header;
    uint8_t footer_bytes[HTI_SNAP_FOOTER_SIZE], trailer_bytes[HTI_SNAP_TRAILER_SIZE];
    struct hti_snap_footer footer = { .lsn = header->lsn,
                                      .version = header->version,
                                      .graph_size = header->graph_size,
                                      .n_nodes = header->n_nodes,
                                      .n_blocks = forgery.n_blocks,
                                      .plain_size =
                                          header->graph_size + (uint64_t)forgery.n_blocks * blocks[0].head.plain_size,
                                      .lists_offset = out->size,
                                      .blocks_hash = chain(block_entries),
                                      .nodes_hash = chain(node_entries) };

    for (unsigned i = 0; i < forgery.n_blocks; i++)
        footer.n_rows += forgery.heads[i].n_rows;
    if (forgery.nodes_first)
        forge_list(HTI_SNAP_LIST_NODES, node_entries, out);
    forge_list(HTI_SNAP_LIST_BLOCKS, block_entries, out);
    if (!forgery.nodes_first)
        forge_list(HTI_SNAP_LIST_NODES, node_entries, out);
    footer.file_size = out->size + HTI_SNAP_FOOTER_SIZE + HTI_SNAP_TRAILER_SIZE;
    const struct hti_snap_trailer trailer = { footer.lists_offset,
                                              out->size + HTI_SNAP_FOOTER_SIZE - footer.lists_offset, header->id };
    hti_snap_encode_footer(&footer, hti_snap_binding(header->id), footer_bytes);
    append(out, footer_bytes, sizeof footer_bytes);
    hti_snap_encode_trailer(&trailer, trailer_bytes);
    append(out, trailer_bytes, sizeof trailer_bytes);
}

static int forge_file(void)
{
    struct hti_buf out, block_entries, node_entries;
    const int fd = memfd_create("snap", MFD_CLOEXEC);

    hti_buf_init(&out);
    hti_buf_init(&block_entries);
    hti_buf_init(&node_entries);
    forge_start(&out);
    for (unsigned i = 0; i < forgery.n_blocks; i++)
        forge_block(&forgery.heads[i], &out, &block_entries);
    forge_nodes(&node_entries);
    forge_end(&block_entries, &node_entries, &out);
    ck_assert_int_eq(pwrite(fd, out.data, out.size, 0), (ssize_t)out.size);
    hti_buf_release(&node_entries);
    hti_buf_release(&block_entries);
    hti_buf_release(&out);
    return fd;
}

/* --- reading --- */

static int read_in_order(int fd, struct htstore_error *error)
{
    struct hti_snapread *reader;
    struct hti_snap_block block;
    struct hti_buf frame;
    int rc = hti_snapread_open(fd, "s.snap", &reader, error);

    hti_buf_init(&frame);
    while (rc == 0)
        rc = hti_snapread_next(reader, &block, &frame, error);
    hti_buf_release(&frame);
    hti_snapread_close(reader);
    return rc == 1 ? 0 : rc;
}

static int load_index(int fd, struct htstore_error *error)
{
    struct hti_snapread *reader;
    int rc = hti_snapread_open(fd, "s.snap", &reader, error);

    rc = rc ? rc : hti_snapread_load_index(reader, error);
    hti_snapread_close(reader);
    return rc;
}

static int read_by_index(int fd, struct htstore_error *error)
{
    struct hti_snapread *reader;
    struct hti_snap_block block;
    struct hti_buf frame;
    int rc = hti_snapread_open(fd, "s.snap", &reader, error);

    hti_buf_init(&frame);
    rc = rc ? rc : hti_snapread_load_index(reader, error);
    for (uint64_t i = 0; rc == 0 && i < hti_snapread_footer(reader)->n_blocks; i++)
        rc = hti_snapread_block(reader, i, &block, &frame, error);
    hti_buf_release(&frame);
    hti_snapread_close(reader);
    return rc;
}

/* Read the forgery in order, load its index, and read it by that. The sentence of the first. */
static void expect(int in_order, int index, int by_index, const char *sentence)
{
    const int fd = forge_file();
    struct htstore_error error = { .code = 0 };

    const int rc = read_in_order(fd, &error);
    ck_assert_msg(rc == in_order, "in order: %d, %s", rc, error.message);
    if (sentence)
        ck_assert_msg(strstr(error.message, sentence) != NULL, "%s", error.message);
    ck_assert_int_eq(load_index(fd, &error), index);
    ck_assert_int_eq(read_by_index(fd, &error), by_index);
    close(fd);
}

#define BAD HTSTORE_ECORRUPT

START_TEST(without_a_lie_the_forgery_is_accepted)
{
    expect(0, 0, 0, NULL);
}
END_TEST

/* The index does not tell kinds: whoever reads blocks by number sees them in the heads. */
START_TEST(unknown_kinds_are_refused)
{
    forgery.heads[2].kind = 3;
    expect(BAD, 0, BAD, "checksum differs");
}
END_TEST

START_TEST(a_row_in_pieces_must_be_finished_before_the_next)
{
    forgery.heads[4].kind = HTI_SNAP_ROWS;
    expect(BAD, 0, 0, "does not follow");
}
END_TEST

START_TEST(a_row_in_pieces_must_be_finished_at_the_end)
{
    const struct hti_snap_block first = forgery.heads[3];

    forgery.heads[3] = forgery.heads[5];
    forgery.heads[3].number = 0;
    forgery.heads[5] = first;
    forgery.heads[5].number = 2;
    expect(BAD, 0, 0, "rows are missing");
}
END_TEST

START_TEST(nodes_must_ascend)
{
    const struct hti_snap_block counter = forgery.heads[2];

    forgery.heads[2] = forgery.heads[1];
    forgery.heads[1] = forgery.heads[0];
    forgery.heads[0] = counter;
    expect(BAD, BAD, BAD, NULL);
}
END_TEST

/* A piece without rows, of a node that is complete: no sum tells. */
START_TEST(no_block_follows_those_of_a_later_node)
{
    forgery.heads[forgery.n_blocks++] = (struct hti_snap_block){ .kind = HTI_SNAP_PIECE, .node = SNAP_T, .number = 2 };
    expect(BAD, BAD, BAD, "does not belong here");
}
END_TEST

START_TEST(numbers_must_count_from_0)
{
    forgery.heads[1].number = 2;
    expect(BAD, 0, BAD, "does not follow");
    forgery.heads[1].number = 0;
    forgery.heads[0].number = 1;
    expect(BAD, 0, BAD, "does not follow");
}
END_TEST

/* A piece without rows would not change any sum. */
START_TEST(only_nodes_with_contents_have_blocks)
{
    static const uint32_t nodes[] = { SNAP_WORDS, SNAP_INNER, N_SNAP_NODES, UINT32_MAX >> 9 };

    memmove(forgery.heads + 4, forgery.heads + 3, 3 * sizeof forgery.heads[0]);
    forgery.n_blocks++;
    for (size_t i = 0; i < COUNT(nodes); i++) {
        forgery.heads[3] = (struct hti_snap_block){ .kind = HTI_SNAP_PIECE, .node = nodes[i] };
        expect(BAD, BAD, BAD, "does not belong here");
    }
}
END_TEST

START_TEST(rows_must_be_those_of_the_graph)
{
    forgery.heads[0].n_rows = 3;
    expect(BAD, BAD, BAD, "more rows than the graph says");
    forgery.heads[0].n_rows = 1;
    expect(BAD, BAD, BAD, "rows are missing");
}
END_TEST

START_TEST(the_index_must_tell_where_blocks_are)
{
    forgery.offset_lie = 1;
    expect(BAD, BAD, BAD, "the footer");
    forgery.offset_lie = UINT64_C(1) << 63;
    expect(BAD, BAD, BAD, "the footer");
}
END_TEST

START_TEST(lists_must_be_in_order)
{
    forgery.nodes_first = true;
    expect(BAD, BAD, BAD, "at the wrong place");
}
END_TEST

START_TEST(the_id_must_be_that_of_the_graph)
{
    forgery.header.id.high ^= 1;
    expect(BAD, BAD, BAD, "does not fit the snapshot id");
}
END_TEST

START_TEST(the_graph_must_be_as_the_header_says)
{
    forgery.header.graph_size++;
    expect(BAD, BAD, BAD, "has not the size");
    forgery.header.graph_size--;
    forgery.header.n_nodes++;
    expect(BAD, BAD, BAD, "has not the nodes");
    forgery.header.n_nodes--;
    forgery.plain_hash_lie = 1;
    expect(BAD, BAD, BAD, "the graph of objects");
}
END_TEST

/* Lists that differ from what footer and blocks agree on. */
START_TEST(lists_must_be_what_the_footer_says)
{
    static const int64_t places[] = { -24, -24 - (int64_t)HTI_SNAP_LIST_OVERHEAD - 8 * (int64_t)HTI_SNAP_ENTRY_SIZE };
    const uint64_t binding = hti_snap_binding(forgery.header.id);

    for (size_t i = 0; i < COUNT(places); i++) {
        const int fd = forge_file();
        const int64_t size = lseek(fd, 0, SEEK_END);
        const int64_t end = size - (int64_t)(HTI_SNAP_FOOTER_SIZE + HTI_SNAP_TRAILER_SIZE) + places[i] + 16;
        const int64_t n = i ? N_SNAP_BLOCKS : N_SNAP_NODES;
        uint8_t list[HTI_SNAP_LIST_OVERHEAD + 8 * HTI_SNAP_ENTRY_SIZE];
        const size_t list_size = HTI_SNAP_LIST_OVERHEAD + (size_t)n * HTI_SNAP_ENTRY_SIZE;
        const int64_t start = end + 8 - (int64_t)list_size;
        ck_assert_int_eq(pread(fd, list, list_size, start), (ssize_t)list_size);
        ck_assert_uint_eq(hti_snap_list_size(list), list_size);
        list[list_size - 9] ^= 1; /* the last byte of the last entry */
        hti_store_le64(list + list_size - 8, hti_hash64(list, list_size - 8, binding));
        ck_assert_int_eq(pwrite(fd, list, list_size, start), (ssize_t)list_size);
        ck_assert_int_eq(read_in_order(fd, NULL), BAD);
        ck_assert_int_eq(load_index(fd, NULL), BAD);
        close(fd);
    }
}
END_TEST

/* --- heads by themselves --- */

START_TEST(heads_above_the_limits_are_not_decoded)
{
    uint8_t bytes[HTI_SNAP_BLOCK_HEAD_SIZE], start[24] = { 0 };
    struct hti_snap_block block = blocks[0].head, decoded;

    block.stored_size = HTI_SNAP_MAX_STORED;
    block.plain_size = HTI_SNAP_MAX_PLAIN;
    block.n_rows = HTI_SNAP_MAX_BLOCK_ROWS;
    hti_snap_encode_block(&block, 7, bytes);
    ck_assert(hti_snap_decode_block(bytes, 7, &decoded));
    block.stored_size++;
    hti_snap_encode_block(&block, 7, bytes);
    ck_assert(!hti_snap_decode_block(bytes, 7, &decoded));
    block.stored_size = 0;
    hti_snap_encode_block(&block, 7, bytes);
    ck_assert(!hti_snap_decode_block(bytes, 7, &decoded));
    hti_store_le32(start, HTI_SNAP_MAGIC_LIST);
    for (uint32_t n = HTI_SNAP_MAX_LIST_ENTRIES; n <= HTI_SNAP_MAX_LIST_ENTRIES + 1; n++) {
        hti_store_le32(start + 4, n * HTI_SNAP_ENTRY_SIZE + HTI_SNAP_LIST_OVERHEAD - 8);
        hti_store_le32(start + 12, n);
        ck_assert_uint_eq(hti_snap_list_size(start) > 0, n == HTI_SNAP_MAX_LIST_ENTRIES);
    }
    /* sizes that are right modulo 2^32 */
    hti_store_le32(start + 4, HTI_SNAP_LIST_OVERHEAD + HTI_SNAP_ENTRY_SIZE - 8);
    hti_store_le32(start + 12, (1u << 27) + 1);
    ck_assert_uint_eq(hti_snap_list_size(start), 0);
}
END_TEST

/* A head that promises more than the file has: refused without a byte of memory. */
START_TEST(no_memory_is_taken_for_what_the_file_does_not_hold)
{
    const int fd = forge_file();
    struct hti_snap_part part;
    struct hti_snap_block block = forgery.heads[0];
    uint8_t head[HTI_SNAP_BLOCK_HEAD_SIZE];
    struct hti_snapread *reader;
    struct hti_buf frame;

    ck_assert_int_eq(pread(fd, head, sizeof head, HTI_SNAP_HEADER_SIZE), (ssize_t)sizeof head);
    ck_assert(hti_snap_decode_part(head, &part));
    block.stored_size = HTI_SNAP_MAX_STORED;
    hti_snap_encode_block(&block, hti_snap_binding(part.id), head);
    ck_assert_int_eq(
        pwrite(fd, head, sizeof head, (off_t)(HTI_SNAP_HEADER_SIZE + HTI_SNAP_GRAPH_HEAD_SIZE + part.stored_size)),
        (ssize_t)sizeof head);
    hti_buf_init(&frame);
    ck_assert_int_eq(hti_snapread_open(fd, "s.snap", &reader, NULL), 0);
    hti_mem_test_fail(0, true);
    ck_assert_int_eq(hti_snapread_next(reader, &block, &frame, NULL), BAD);
    hti_mem_test_fail(UINT64_MAX, false);
    hti_snapread_close(reader);
    close(fd);
}
END_TEST

START_TEST(contents_are_compared_with_the_head)
{
    const int fd = forge_file();
    uint8_t *plain = malloc(blocks[0].plain.size);
    struct hti_snapread *reader;
    struct hti_snap_block block;
    struct htstore_error error;
    struct hti_buf frame;

    memcpy(plain, blocks[0].plain.data, blocks[0].plain.size);
    hti_buf_init(&frame);
    ck_assert_int_eq(hti_snapread_open(fd, "s.snap", &reader, NULL), 0);
    ck_assert_int_eq(hti_snapread_next(reader, &block, &frame, NULL), 0);
    ck_assert_int_eq(hti_snapread_verify(reader, &block, plain, block.plain_size, &error), 0);
    ck_assert_int_eq(hti_snapread_verify(reader, &block, plain, block.plain_size - 1, &error), BAD);
    plain[7] ^= 4;
    ck_assert_int_eq(hti_snapread_verify(reader, &block, plain, block.plain_size, &error), BAD);
    ck_assert_ptr_nonnull(strstr(error.message, "block 0 of (root).t at byte"));
    ck_assert_uint_eq(error.offset, block.offset);
    free(plain);
    hti_buf_release(&frame);
    hti_snapread_close(reader);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("snapforge");
    TCase *tests = tcase_create("forgeries");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, without_a_lie_the_forgery_is_accepted);
    tcase_add_test(tests, unknown_kinds_are_refused);
    tcase_add_test(tests, a_row_in_pieces_must_be_finished_before_the_next);
    tcase_add_test(tests, a_row_in_pieces_must_be_finished_at_the_end);
    tcase_add_test(tests, nodes_must_ascend);
    tcase_add_test(tests, no_block_follows_those_of_a_later_node);
    tcase_add_test(tests, numbers_must_count_from_0);
    tcase_add_test(tests, only_nodes_with_contents_have_blocks);
    tcase_add_test(tests, rows_must_be_those_of_the_graph);
    tcase_add_test(tests, the_index_must_tell_where_blocks_are);
    tcase_add_test(tests, lists_must_be_in_order);
    tcase_add_test(tests, the_id_must_be_that_of_the_graph);
    tcase_add_test(tests, the_graph_must_be_as_the_header_says);
    tcase_add_test(tests, lists_must_be_what_the_footer_says);
    tcase_add_test(tests, heads_above_the_limits_are_not_decoded);
    tcase_add_test(tests, no_memory_is_taken_for_what_the_file_does_not_hold);
    tcase_add_test(tests, contents_are_compared_with_the_head);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
