/* Tests of snapwrite and snapread: snapshots come back through files and pipes, and no damage goes unnoticed. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "check_util.h"
#include "frame.h"
#include "mem.h"
#include "snap_sample.h"
#include "snapread.h"
#include "snapwrite.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define PATH "s.snap"

static struct hti_snap_graph graph;
static struct snap_sample_block blocks[N_SNAP_BLOCKS];
static struct hti_frame_decoder *decoder;
static uint8_t *image; /* the sample file */
static size_t image_size;
static uint64_t offsets[N_SNAP_BLOCKS + 1]; /* of its blocks; the last: of the lists */
static uint64_t binding;

/* Files in memory are regular files. */
static int make_file(const void *data, size_t size)
{
    const int fd = memfd_create("snap", MFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, data, size, 0), (ssize_t)size);
    return fd;
}

static uint8_t *read_image(int fd, size_t *size)
{
    struct stat status;

    ck_assert_int_eq(fstat(fd, &status), 0);
    *size = (size_t)status.st_size;
    uint8_t *data = malloc(*size + 1);
    ck_assert_ptr_nonnull(data);
    ck_assert_int_eq(pread(fd, data, *size, 0), (ssize_t)*size);
    return data;
}

static void find_offsets(void)
{
    struct hti_snap_part part;
    uint64_t at = HTI_SNAP_HEADER_SIZE;

    ck_assert(hti_snap_decode_part(image + at, &part));
    binding = hti_snap_binding(part.id);
    at += HTI_SNAP_GRAPH_HEAD_SIZE + part.stored_size;
    for (unsigned i = 0; i < N_SNAP_BLOCKS; i++) {
        offsets[i] = at;
        at += HTI_SNAP_BLOCK_HEAD_SIZE + blocks[i].head.stored_size;
    }
    offsets[N_SNAP_BLOCKS] = at;
}

static void set_up(void)
{
    struct htstore_error error;
    const int fd = make_file("", 0);

    ck_assert_int_eq(snap_sample_graph(&graph), 0);
    ck_assert_int_eq(snap_sample_blocks(blocks), 0);
    ck_assert_int_eq(hti_frame_decoder_new(&decoder), 0);
    ck_assert_msg(snap_sample_write(fd, &error) == 0, "%s", error.message);
    image = read_image(fd, &image_size);
    find_offsets();
    close(fd);
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    free(image);
    hti_frame_decoder_free(decoder);
    snap_sample_blocks_release(blocks);
    hti_snap_graph_release(&graph);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

/* --- reading all of a snapshot --- */

/* Decompress a block and compare it with what was written. Returns the status of the verification. */
static int check_payload(const struct hti_snapread *reader, const struct hti_snap_block *block,
                         const struct hti_buf *frame, unsigned which, struct htstore_error *error)
{
    uint8_t *plain = malloc(block->plain_size);
    int rc = hti_frame_decode(decoder, frame->data, frame->size, plain, block->plain_size);

    if (rc != 0)
        rc = hti_snapread_fail_block(reader, block, "it cannot be decompressed", error);
    rc = rc ? rc : hti_snapread_verify(reader, block, plain, block->plain_size, error);
    if (rc == 0 && which < N_SNAP_BLOCKS) {
        ck_assert_uint_eq(block->plain_size, blocks[which].plain.size);
        ck_assert_mem_eq(plain, blocks[which].plain.data, block->plain_size);
    }
    free(plain);
    return rc;
}

static int read_in_order(struct hti_snapread *reader, unsigned *n, struct htstore_error *error)
{
    struct hti_snap_block block;
    struct hti_buf frame;
    int rc = 0;

    hti_buf_init(&frame);
    for (*n = 0; rc == 0; (*n)++) {
        rc = hti_snapread_next(reader, &block, &frame, error);
        if (rc != 0)
            break;
        rc = check_payload(reader, &block, &frame, *n, error);
    }
    hti_buf_release(&frame);
    return rc == 1 ? 0 : rc;
}

static int read_by_index(struct hti_snapread *reader, unsigned *n, struct htstore_error *error)
{
    struct hti_snap_block block;
    struct hti_buf frame;
    int rc = hti_snapread_load_index(reader, error);

    hti_buf_init(&frame);
    *n = 0;
    for (uint64_t i = 0; rc == 0 && i < hti_snapread_footer(reader)->n_blocks; i++) {
        rc = hti_snapread_block(reader, i, &block, &frame, error);
        rc = rc ? rc : check_payload(reader, &block, &frame, (unsigned)i, error);
        *n += rc == 0;
    }
    hti_buf_release(&frame);
    return rc;
}

enum way { FILE_IN_ORDER, FILE_BY_INDEX, PIPE, N_WAYS };

static int read_fd(int fd, enum way way, unsigned *n, struct htstore_error *error)
{
    struct hti_snapread *reader;
    int rc = hti_snapread_open(fd, PATH, &reader, error);

    *n = 0;
    if (rc != 0) {
        ck_assert_ptr_null(reader);
        return rc;
    }
    ck_assert_int_eq(hti_snapread_is_seekable(reader), way != PIPE);
    rc = way == FILE_BY_INDEX ? read_by_index(reader, n, error) : read_in_order(reader, n, error);
    hti_snapread_close(reader);
    return rc;
}

/* Read bytes: as a file, or through a pipe, into which all of them must fit. */
static int read_bytes(const uint8_t *data, size_t size, enum way way, unsigned *n, struct htstore_error *error)
{
    int fds[2], fd, rc;

    if (way == PIPE) {
        ck_assert_int_eq(pipe(fds), 0);
        ck_assert_uint_lt(size, 60000);
        ck_assert_int_eq(write(fds[1], data, size), (ssize_t)size);
        close(fds[1]);
        fd = fds[0];
    } else {
        fd = make_file(data, size);
    }
    rc = read_fd(fd, way, n, error);
    close(fd);
    return rc;
}

START_TEST(a_snapshot_is_read_back)
{
    struct htstore_error error;
    unsigned n;

    ck_assert_msg(read_bytes(image, image_size, (enum way)_i, &n, &error) == 0, "%s", error.message);
    ck_assert_uint_eq(n, N_SNAP_BLOCKS);
}
END_TEST

START_TEST(header_graph_and_footer_are_read_back)
{
    const int fd = make_file(image, image_size);
    struct hti_snapread *reader;
    uint64_t first, n_of_node;
    unsigned n;

    ck_assert_int_eq(hti_snapread_open(fd, PATH, &reader, NULL), 0);
    ck_assert_uint_eq(hti_snapread_header(reader)->lsn, SNAP_LSN);
    ck_assert_uint_eq(hti_snapread_header(reader)->n_nodes, N_SNAP_NODES);
    ck_assert_uint_eq(hti_snapread_graph(reader)->n_nodes, N_SNAP_NODES);
    ck_assert_uint_eq(hti_snapread_graph(reader)->nodes[SNAP_T].n_rows, 3);
    ck_assert_ptr_null(hti_snapread_footer(reader));
    ck_assert_int_eq(read_in_order(reader, &n, NULL), 0);
    ck_assert_int_eq(read_in_order(reader, &n, NULL), 0); /* stays at the end */
    ck_assert_uint_eq(n, 0);
    ck_assert_uint_eq(hti_snapread_position(reader), image_size);
    ck_assert_uint_eq(hti_snapread_footer(reader)->n_rows, 6);
    ck_assert_int_eq(hti_snapread_load_index(reader, NULL), 0);
    ck_assert_int_eq(hti_snapread_load_index(reader, NULL), 0);
    hti_snapread_node_blocks(reader, SNAP_W, &first, &n_of_node);
    ck_assert(first == 3 && n_of_node == 3);
    hti_snapread_node_blocks(reader, SNAP_T, &first, &n_of_node);
    ck_assert(first == 0 && n_of_node == 2);
    hti_snapread_node_blocks(reader, SNAP_EMPTY, &first, &n_of_node);
    ck_assert(first == 6 && n_of_node == 0);
    hti_snapread_node_blocks(reader, SNAP_ROOT, &first, &n_of_node);
    ck_assert_uint_eq(n_of_node, 0);
    ck_assert_uint_eq(hti_snapread_footer(reader)->file_size, image_size);
    hti_snapread_close(reader);
    close(fd);
}
END_TEST

START_TEST(the_index_of_a_pipe_is_refused)
{
    struct hti_snapread *reader;
    struct htstore_error error;
    int fds[2];

    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(write(fds[1], image, image_size), (ssize_t)image_size);
    ck_assert_int_eq(hti_snapread_open(fds[0], PATH, &reader, &error), 0);
    ck_assert_int_eq(hti_snapread_load_index(reader, &error), HTSTORE_EINVAL);
    hti_snapread_close(reader);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

START_TEST(equal_contents_give_equal_bytes)
{
    const int fd = make_file("", 0);
    size_t size;

    ck_assert_int_eq(snap_sample_write(fd, NULL), 0);
    uint8_t *again = read_image(fd, &size);
    ck_assert_uint_eq(size, image_size);
    ck_assert_mem_eq(again, image, size);
    free(again);
    close(fd);
}
END_TEST

/* --- pipes with a writer at the other end --- */

struct big {
    uint32_t n_blocks;
    int fd;
    int rc;
};

/* A table of one-row blocks: more of them than one list of the index takes. */
static int write_big(int fd, uint32_t n_blocks, struct htstore_error *error)
{
    struct hti_snap_node node = graph.nodes[SNAP_EMPTY];
    const struct hti_snap_node root = { .kind = HTI_SNAP_MAPPING };
    struct hti_snap_block block = blocks[2].head;
    const uint8_t number[8] = { 0 };
    struct hti_snapwrite *writer;
    struct hti_snap_graph big;
    uint32_t n;
    int rc;

    node.n_rows = n_blocks;
    hti_snap_graph_init(&big);
    ck_assert_int_eq(hti_snap_graph_add_node(&big, &root, &n), 0);
    ck_assert_int_eq(hti_snap_graph_add_node(&big, &node, &n), 0);
    ck_assert_int_eq(hti_snap_graph_set_default(&big, 1, number, sizeof number), 0);
    ck_assert_int_eq(hti_snap_graph_add_edge(&big, 0, "big", 3, 1), 0);
    rc = hti_snapwrite_begin(fd, PATH, &big, 7, 0, &writer, error);
    block.node = 1;
    for (uint32_t i = 0; rc == 0 && i < n_blocks; i++) {
        block.number = i;
        rc = hti_snapwrite_block(writer, &block, blocks[2].frame.data, error);
    }
    rc = rc ? rc : hti_snapwrite_end(writer, error);
    hti_snapwrite_free(writer);
    hti_snap_graph_release(&big);
    return rc;
}

static void *run_writer(void *user)
{
    struct big *big = user;

    big->rc = write_big(big->fd, big->n_blocks, NULL);
    close(big->fd);
    return NULL;
}

static unsigned count_blocks(int fd, struct htstore_error *error)
{
    struct hti_snapread *reader;
    struct hti_snap_block block;
    struct hti_buf frame;
    unsigned n = 0;
    int rc;

    hti_buf_init(&frame);
    ck_assert_msg(hti_snapread_open(fd, PATH, &reader, error) == 0, "%s", error->message);
    while ((rc = hti_snapread_next(reader, &block, &frame, error)) == 0)
        n++;
    ck_assert_msg(rc == 1, "%s", error->message);
    hti_buf_release(&frame);
    hti_snapread_close(reader);
    return n;
}

START_TEST(a_long_snapshot_goes_through_a_pipe)
{
    struct htstore_error error;
    struct big big = { .n_blocks = 40000 };
    pthread_t thread;
    int fds[2];

    ck_assert_int_eq(pipe2(fds, _i ? O_NONBLOCK : 0), 0);
    big.fd = fds[1];
    ck_assert_int_eq(pthread_create(&thread, NULL, run_writer, &big), 0);
    ck_assert_uint_eq(count_blocks(fds[0], &error), big.n_blocks);
    pthread_join(thread, NULL);
    ck_assert_int_eq(big.rc, 0);
    close(fds[0]);
}
END_TEST

START_TEST(an_index_of_several_parts_is_loaded)
{
    const int fd = make_file("", 0);
    struct hti_snapread *reader;
    struct htstore_error error;
    struct hti_snap_block block;
    struct hti_buf frame;
    uint64_t first, n;

    hti_buf_init(&frame);
    ck_assert_int_eq(write_big(fd, 70000, &error), 0);
    ck_assert_int_eq(hti_snapread_open(fd, PATH, &reader, &error), 0);
    ck_assert_msg(hti_snapread_load_index(reader, &error) == 0, "%s", error.message);
    hti_snapread_node_blocks(reader, 1, &first, &n);
    ck_assert(first == 0 && n == 70000);
    ck_assert_int_eq(hti_snapread_block(reader, 69999, &block, &frame, &error), 0);
    ck_assert_uint_eq(block.number, 69999);
    hti_buf_release(&frame);
    hti_snapread_close(reader);
    close(fd);
}
END_TEST

/* 160 names of 65,535 bytes: more than one part of the graph record takes. */
START_TEST(a_graph_of_several_parts_is_read_back)
{
    const struct hti_snap_node mapping = { .kind = HTI_SNAP_MAPPING };
    static char name[HTSTORE_MAX_NAME_SIZE];
    const int fd = make_file("", 0);
    struct hti_snapwrite *writer;
    struct hti_snap_graph large;
    struct htstore_error error;
    unsigned n_blocks;
    uint32_t n;

    hti_snap_graph_init(&large);
    ck_assert_int_eq(hti_snap_graph_add_node(&large, &mapping, &n), 0);
    for (unsigned i = 0; i < 160; i++) {
        memset(name, 'a' + (int)(i % 26), sizeof name);
        name[0] = (char)('0' + i / 26);
        ck_assert_int_eq(hti_snap_graph_add_edge(&large, 0, name, sizeof name, 0), 0);
    }
    ck_assert_int_eq(hti_snapwrite_begin(fd, PATH, &large, 1, 0, &writer, &error), 0);
    ck_assert_int_eq(hti_snapwrite_end(writer, &error), 0);
    ck_assert_uint_gt(hti_snapwrite_plain_size(writer), HTI_SNAP_GRAPH_PART);
    hti_snapwrite_free(writer);
    hti_snap_graph_release(&large);
    ck_assert_msg(read_fd(fd, FILE_IN_ORDER, &n_blocks, &error) == 0, "%s", error.message);
    ck_assert_msg(read_fd(fd, FILE_BY_INDEX, &n_blocks, &error) == 0, "%s", error.message);
    close(fd);
}
END_TEST

/* --- damage --- */

static bool is_refusal(int rc, size_t at)
{
    return rc == HTSTORE_ECORRUPT || (rc == HTSTORE_EFORMAT && at < 16);
}

START_TEST(any_changed_byte_is_noticed)
{
    static const uint8_t changes[] = { 0x01, 0x80, 0xFF };
    struct htstore_error error;
    unsigned n;

    for (size_t at = 0; at < image_size; at++) {
        const uint8_t change = changes[at % COUNT(changes)];
        image[at] ^= change;
        const int rc = read_bytes(image, image_size, (enum way)_i, &n, &error);
        ck_assert_msg(is_refusal(rc, at), "byte %zu: %d", at, rc);
        ck_assert_int_eq(error.code, rc);
        ck_assert_str_eq(error.path, PATH);
        image[at] ^= change;
    }
}
END_TEST

START_TEST(a_file_cut_at_any_place_is_noticed)
{
    struct htstore_error error;
    unsigned n;

    for (size_t size = 0; size < image_size; size++) {
        const int rc = read_bytes(image, size, (enum way)_i, &n, &error);
        ck_assert_msg(is_refusal(rc, size), "cut to %zu: %d", size, rc);
        ck_assert_uint_le(error.offset, size);
    }
}
END_TEST

START_TEST(anything_behind_the_end_is_noticed)
{
    uint8_t *longer = malloc(image_size + 64);
    unsigned n;

    memcpy(longer, image, image_size);
    memcpy(longer + image_size, image + image_size - 64, 64);
    ck_assert_int_eq(read_bytes(longer, image_size + 1, (enum way)_i, &n, NULL), HTSTORE_ECORRUPT);
    ck_assert_int_eq(read_bytes(longer, image_size + 64, (enum way)_i, &n, NULL), HTSTORE_ECORRUPT);
    free(longer);
}
END_TEST

START_TEST(messages_name_file_block_table_and_place)
{
    struct htstore_error error;
    char expected[200];
    unsigned n;

    image[offsets[4] + HTI_SNAP_BLOCK_HEAD_SIZE + 9] ^= 1;
    ck_assert_int_eq(read_bytes(image, image_size, (enum way)_i, &n, &error), HTSTORE_ECORRUPT);
    snprintf(expected, sizeof expected, "s.snap: block 1 of (root).m.\xC3\xA9.w at byte %llu: checksum differs",
             (unsigned long long)offsets[4]);
    ck_assert_str_eq(error.message, expected);
    ck_assert_uint_eq(error.offset, offsets[4]);
    ck_assert_uint_eq(n, 4);
}
END_TEST

START_TEST(a_failure_stays)
{
    const int fd = make_file(image, offsets[1]);
    struct hti_snapread *reader;
    struct htstore_error error;
    struct hti_snap_block block;
    struct hti_buf frame;

    hti_buf_init(&frame);
    ck_assert_int_eq(hti_snapread_open(fd, PATH, &reader, NULL), 0);
    ck_assert_int_eq(hti_snapread_next(reader, &block, &frame, NULL), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(hti_snapread_next(reader, &block, &frame, &error), HTSTORE_ECORRUPT);
        ck_assert_uint_eq(error.offset, offsets[1]);
    }
    hti_buf_release(&frame);
    hti_snapread_close(reader);
    close(fd);
}
END_TEST

/* --- pieces that are intact each, and wrong together --- */

static size_t block_size(unsigned i)
{
    return (size_t)(offsets[i + 1] - offsets[i]);
}

/* Write the file with the blocks in this order; the rest as it is. */
static int read_arranged(const unsigned *order, size_t n_order, enum way way)
{
    uint8_t *data = malloc(2 * image_size);
    size_t size = (size_t)offsets[0];
    struct htstore_error error;
    unsigned n;

    memcpy(data, image, size);
    for (size_t i = 0; i < n_order; i++) {
        memcpy(data + size, image + offsets[order[i]], block_size(order[i]));
        size += block_size(order[i]);
    }
    memcpy(data + size, image + offsets[N_SNAP_BLOCKS], image_size - (size_t)offsets[N_SNAP_BLOCKS]);
    size += image_size - (size_t)offsets[N_SNAP_BLOCKS];
    const int rc = read_bytes(data, size, way, &n, &error);
    free(data);
    return rc;
}

START_TEST(missing_repeated_and_swapped_blocks_are_noticed)
{
    static const unsigned orders[][8] = {
        { 6, 0, 1, 2, 3, 4, 5 },    { 5, 1, 2, 3, 4, 5 },    { 5, 0, 1, 2, 3, 4 },    { 5, 0, 1, 3, 4, 5 },
        { 7, 0, 0, 1, 2, 3, 4, 5 }, { 6, 1, 0, 2, 3, 4, 5 }, { 6, 0, 2, 1, 3, 4, 5 }, { 6, 0, 1, 2, 4, 3, 5 },
        { 6, 0, 1, 2, 3, 5, 4 },    { 6, 0, 0, 2, 3, 4, 5 }, { 6, 0, 1, 1, 3, 4, 5 }, { 0 },
    };

    for (size_t i = 0; i < COUNT(orders); i++)
        ck_assert_int_eq(read_arranged(orders[i] + 1, orders[i][0], (enum way)_i), i ? HTSTORE_ECORRUPT : 0);
}
END_TEST

/* The same file of another snapshot: every part of it that is put into ours is refused. */
START_TEST(parts_of_another_snapshot_are_noticed)
{
    const int fd = make_file("", 0);
    size_t other_size;
    unsigned n;

    /* other contents, so another id; all sizes are the same */
    graph.nodes[SNAP_T].digest.low ^= UINT64_C(0x0101010101010101);
    struct hti_snapwrite *writer;
    ck_assert_int_eq(hti_snapwrite_begin(fd, PATH, &graph, SNAP_LSN, 0, &writer, NULL), 0);
    for (unsigned i = 0; i < N_SNAP_BLOCKS; i++)
        ck_assert_int_eq(hti_snapwrite_block(writer, &blocks[i].head, blocks[i].frame.data, NULL), 0);
    ck_assert_int_eq(hti_snapwrite_end(writer, NULL), 0);
    hti_snapwrite_free(writer);
    uint8_t *other = read_image(fd, &other_size);
    ck_assert_uint_eq(other_size, image_size);
    const uint64_t lists = offsets[N_SNAP_BLOCKS];
    const uint64_t borders[] = { 0,          96,    offsets[0],  offsets[1],        offsets[1] + 64, offsets[2],
                                 offsets[3], lists, lists + 224, lists + 224 + 288, image_size - 64, image_size };
    for (size_t i = 0; i + 1 < COUNT(borders); i++) {
        const size_t at = (size_t)borders[i], size = (size_t)(borders[i + 1] - borders[i]);
        uint8_t *mixed = malloc(image_size);
        memcpy(mixed, image, image_size);
        memcpy(mixed + at, other + at, size);
        const int rc = read_bytes(mixed, image_size, (enum way)_i, &n, NULL);
        /* the frame alone may be exchanged: it is the same */
        ck_assert_msg(rc == (borders[i] == offsets[1] + 64 ? 0 : HTSTORE_ECORRUPT), "part %zu: %d", i, rc);
        free(mixed);
    }
    free(other);
    close(fd);
}
END_TEST

START_TEST(a_header_with_another_lsn_is_noticed)
{
    struct hti_snap_header header;
    unsigned n;

    ck_assert_int_eq(hti_snap_decode_header(image, HTI_SNAP_HEADER_SIZE, &header), 0);
    header.lsn++;
    hti_snap_encode_header(&header, image);
    ck_assert_int_eq(read_bytes(image, image_size, (enum way)_i, &n, NULL), HTSTORE_ECORRUPT);
}
END_TEST

/* --- lies with right checksums --- */

static void lie_kind(struct hti_snap_block *b)
{
    b->kind = 3;
}
static void lie_piece(struct hti_snap_block *b)
{
    b->kind = HTI_SNAP_PIECE;
    b->n_rows = 0;
}
static void lie_node(struct hti_snap_block *b)
{
    b->node = UINT32_MAX;
}
static void lie_node_outside(struct hti_snap_block *b)
{
    b->node = N_SNAP_NODES;
}
static void lie_mapping(struct hti_snap_block *b)
{
    b->node = SNAP_M;
}
static void lie_no_contents(struct hti_snap_block *b)
{
    b->node = SNAP_WORDS;
}
static void lie_number(struct hti_snap_block *b)
{
    b->number++;
}
static void lie_no_rows(struct hti_snap_block *b)
{
    b->n_rows = 0;
}
static void lie_more_rows(struct hti_snap_block *b)
{
    b->n_rows = 4;
}
static void lie_all_rows(struct hti_snap_block *b)
{
    b->n_rows = UINT32_MAX;
}
static void lie_plain(struct hti_snap_block *b)
{
    b->plain_size++;
}
static void lie_huge_plain(struct hti_snap_block *b)
{
    b->plain_size = UINT32_MAX;
}
static void lie_stored(struct hti_snap_block *b)
{
    b->stored_size--;
}
static void lie_large_stored(struct hti_snap_block *b)
{
    b->stored_size = HTI_SNAP_MAX_STORED;
}
static void lie_huge_stored(struct hti_snap_block *b)
{
    b->stored_size = UINT32_MAX;
}
static void lie_hash(struct hti_snap_block *b)
{
    b->plain_hash++;
}

typedef void (*lie_fn)(struct hti_snap_block *block);
static const lie_fn lies[] = {
    lie_kind,   lie_piece,        lie_node,        lie_node_outside, lie_mapping, lie_no_contents,
    lie_number, lie_no_rows,      lie_more_rows,   lie_all_rows,     lie_plain,   lie_huge_plain,
    lie_stored, lie_large_stored, lie_huge_stored, lie_hash,
};

START_TEST(hostile_heads_are_refused)
{
    struct hti_snap_block block;
    unsigned n;

    ck_assert(hti_snap_decode_block(image + offsets[0], binding, &block));
    for (int way = 0; way < N_WAYS; way++) {
        uint8_t *copy = malloc(image_size);
        struct hti_snap_block changed = block;
        memcpy(copy, image, image_size);
        lies[_i](&changed);
        hti_snap_encode_block(&changed, binding, copy + offsets[0]);
        ck_assert_int_eq(read_bytes(copy, image_size, (enum way)way, &n, NULL), HTSTORE_ECORRUPT);
        free(copy);
    }
}
END_TEST

/* Where the lists, the footer and the trailer of the sample are. */
static size_t blocks_list(void)
{
    return (size_t)offsets[N_SNAP_BLOCKS];
}
static size_t nodes_list(void)
{
    return blocks_list() + HTI_SNAP_LIST_OVERHEAD + N_SNAP_BLOCKS * HTI_SNAP_ENTRY_SIZE;
}
static size_t footer_at(void)
{
    return nodes_list() + HTI_SNAP_LIST_OVERHEAD + N_SNAP_NODES * HTI_SNAP_ENTRY_SIZE;
}

/* Change a field of a frame and make its checksum right again. */
static void change_sealed(uint8_t *data, size_t frame, size_t size, size_t field, uint64_t value)
{
    hti_store_le64(data + frame + field, value);
    hti_store_le64(data + frame + size, hti_hash64(data + frame, size, binding));
}

/* Make footer and all consistent with changed lists, as far as a liar can. */
static void rehash_lists(uint8_t *data)
{
    struct hti_snap_footer footer;
    uint64_t blocks_hash = 0, nodes_hash = 0;

    for (unsigned i = 0; i < N_SNAP_BLOCKS; i++)
        blocks_hash = hti_snap_chain(blocks_hash, data + blocks_list() + 24 + i * HTI_SNAP_ENTRY_SIZE);
    for (unsigned i = 0; i < N_SNAP_NODES; i++)
        nodes_hash = hti_snap_chain(nodes_hash, data + nodes_list() + 24 + i * HTI_SNAP_ENTRY_SIZE);
    ck_assert(hti_snap_decode_footer(data + footer_at(), binding, &footer));
    footer.blocks_hash = blocks_hash;
    footer.nodes_hash = nodes_hash;
    hti_snap_encode_footer(&footer, binding, data + footer_at());
}

START_TEST(hostile_indexes_are_refused)
{
    static const struct {
        int list; /* 0 blocks, 1 nodes */
        size_t field; /* behind the frame's start */
        uint64_t value;
    } changes[] = {
        { 0, 24, UINT64_MAX }, /* offset */
        { 0, 24, 0 },
        { 0, 24, UINT64_C(1) << 60 },
        { 0, 24 + 8, UINT32_MAX }, /* node */
        { 0, 24 + 8, SNAP_T | UINT64_C(1) << 60 }, /* rows */
        { 0, 24 + 16, UINT64_MAX }, /* sizes */
        { 0, 24 + 24, 0 }, /* checksum of the head */
        { 0, 24 + 32, 0 },
        { 0, 8, HTI_SNAP_LIST_NODES | UINT64_C(6) << 32 }, /* kind, entries */
        { 0, 8, HTI_SNAP_LIST_BLOCKS | UINT64_C(5) << 32 },
        { 0, 8, HTI_SNAP_LIST_BLOCKS | UINT64_C(0) << 32 },
        { 0, 8, HTI_SNAP_LIST_BLOCKS | UINT64_C(0xFFFFFFFF) << 32 },
        { 0, 8, 3 | UINT64_C(6) << 32 },
        { 0, 16, 1 }, /* first */
        { 0, 16, UINT64_MAX },
        { 1, 8, HTI_SNAP_LIST_BLOCKS | UINT64_C(8) << 32 },
        { 1, 24, 1 }, /* blocks of the root */
        { 1, 24 + 2 * 32 + 8, 4 }, /* rows of a table */
        { 1, 24 + 2 * 32 + 16, 5 }, /* its digest */
    };

    for (size_t i = 0; i < COUNT(changes); i++) {
        const size_t frame = changes[i].list ? nodes_list() : blocks_list();
        const size_t n = changes[i].list ? N_SNAP_NODES : N_SNAP_BLOCKS;
        uint8_t *copy = malloc(image_size);
        unsigned got;
        memcpy(copy, image, image_size);
        change_sealed(copy, frame, 24 + n * HTI_SNAP_ENTRY_SIZE, changes[i].field, changes[i].value);
        rehash_lists(copy);
        const int rc = read_bytes(copy, image_size, (enum way)_i, &got, NULL);
        ck_assert_msg(rc == HTSTORE_ECORRUPT, "case %zu: %d", i, rc);
        free(copy);
    }
}
END_TEST

START_TEST(footers_and_trailers_that_lie_are_refused)
{
    for (size_t field = 8; field < 112; field += 8) { /* up to the reserved one */
        uint8_t *copy = malloc(image_size);
        unsigned n;
        memcpy(copy, image, image_size);
        change_sealed(copy, footer_at(), 120, field, hti_load_le64(copy + footer_at() + field) + 1);
        ck_assert_int_eq(read_bytes(copy, image_size, (enum way)_i, &n, NULL), HTSTORE_ECORRUPT);
        memcpy(copy, image, image_size);
        if (field < 24) {
            change_sealed(copy, image_size - 64, 48, field, UINT64_MAX);
            ck_assert_int_eq(read_bytes(copy, image_size, (enum way)_i, &n, NULL), HTSTORE_ECORRUPT);
        }
        free(copy);
    }
}
END_TEST

START_TEST(newer_formats_are_told_apart_from_damage)
{
    struct hti_snap_header header;
    struct htstore_error error;
    unsigned n;

    ck_assert_int_eq(hti_snap_decode_header(image, HTI_SNAP_HEADER_SIZE, &header), 0);
    header.version = 2;
    hti_snap_encode_header(&header, image);
    ck_assert_int_eq(read_bytes(image, image_size, (enum way)_i, &n, &error), HTSTORE_EVERSION);
    ck_assert_ptr_nonnull(strstr(error.message, "format 2"));
    header.version = HTI_SNAP_VERSION;
    header.incompatible = 8;
    hti_snap_encode_header(&header, image);
    ck_assert_int_eq(read_bytes(image, image_size, (enum way)_i, &n, &error), HTSTORE_EVERSION);
    ck_assert_ptr_nonnull(strstr(error.message, "features 8"));
    image[24] ^= 1;
    ck_assert_int_eq(read_bytes(image, image_size, (enum way)_i, &n, &error), HTSTORE_ECORRUPT);
}
END_TEST

/* A later version may have a longer header: what counts stays where it is. */
START_TEST(a_longer_header_of_a_newer_format_is_understood_so_far)
{
    uint8_t header[200] = { 0 };
    unsigned n;

    memcpy(header, image, 40);
    hti_store_le32(header + 4, sizeof header - 8);
    hti_store_le32(header + 16, 9);
    hti_store_le64(header + sizeof header - 8, hti_hash64(header, sizeof header - 8, 0));
    ck_assert_int_eq(read_bytes(header, sizeof header, (enum way)_i, &n, NULL), HTSTORE_EVERSION);
    header[100] ^= 1;
    ck_assert_int_eq(read_bytes(header, sizeof header, (enum way)_i, &n, NULL), HTSTORE_ECORRUPT);
}
END_TEST

/* Features that a reader need not know: in header and footer alike. */
START_TEST(compatible_features_are_ignored)
{
    struct hti_snap_header header;
    struct hti_snap_footer footer;
    unsigned n;

    ck_assert_int_eq(hti_snap_decode_header(image, HTI_SNAP_HEADER_SIZE, &header), 0);
    ck_assert(hti_snap_decode_footer(image + footer_at(), binding, &footer));
    header.compatible = footer.compatible = 6;
    hti_snap_encode_header(&header, image);
    hti_snap_encode_footer(&footer, binding, image + footer_at());
    ck_assert_int_eq(read_bytes(image, image_size, (enum way)_i, &n, NULL), 0);
}
END_TEST

START_TEST(other_files_are_no_snapshots)
{
    static const char *const others[] = { "", "x", "HTJSEG\r\n", "\x28\xB5\x2F\xFD and so on and on",
                                          "\x58\x2A\x4D\x18\x58\0\0\0HTSNAP\n\n, almost" };
    struct htstore_error error;
    unsigned n;

    for (size_t i = 0; i < COUNT(others); i++) {
        const size_t size = i == 4 ? 24 : strlen(others[i]);
        ck_assert_int_eq(read_bytes((const uint8_t *)others[i], size, (enum way)_i, &n, &error), HTSTORE_EFORMAT);
        ck_assert_ptr_nonnull(strstr(error.message, "no snapshot"));
    }
}
END_TEST

/* --- writing --- */

static struct hti_snapwrite *begin(int fd)
{
    struct hti_snapwrite *writer;

    ck_assert_int_eq(hti_snapwrite_begin(fd, PATH, &graph, SNAP_LSN, 0, &writer, NULL), 0);
    return writer;
}

START_TEST(blocks_at_the_wrong_place_are_not_written)
{
    static const struct {
        unsigned n_good, bad;
        int code;
    } cases[] = { { 0, 1, HTSTORE_ECORRUPT }, { 1, 0, HTSTORE_ECORRUPT }, { 1, 2, HTSTORE_ECORRUPT },
                  { 2, 3, HTSTORE_ECORRUPT }, { 4, 5, HTSTORE_ECORRUPT }, { 6, 0, HTSTORE_ECORRUPT } };
    struct htstore_error error;

    for (size_t i = 0; i < COUNT(cases); i++) {
        const int fd = make_file("", 0);
        struct hti_snapwrite *writer = begin(fd);
        for (unsigned k = 0; k < cases[i].n_good; k++)
            ck_assert_int_eq(hti_snapwrite_block(writer, &blocks[k].head, blocks[k].frame.data, NULL), 0);
        const struct snap_sample_block *bad = &blocks[cases[i].bad];
        ck_assert_int_eq(hti_snapwrite_block(writer, &bad->head, bad->frame.data, &error), cases[i].code);
        memset(&error, 0, sizeof error);
        ck_assert_int_eq(hti_snapwrite_end(writer, &error), cases[i].code); /* the first error stays */
        ck_assert_int_eq(error.code, cases[i].code);
        hti_snapwrite_free(writer);
        close(fd);
    }
}
END_TEST

START_TEST(a_file_without_all_rows_is_not_finished)
{
    for (unsigned n = 0; n < N_SNAP_BLOCKS; n++) {
        const int fd = make_file("", 0);
        struct hti_snapwrite *writer = begin(fd);
        struct htstore_error error;
        for (unsigned k = 0; k < n; k++)
            ck_assert_int_eq(hti_snapwrite_block(writer, &blocks[k].head, blocks[k].frame.data, NULL), 0);
        ck_assert_int_eq(hti_snapwrite_end(writer, &error), HTSTORE_ECORRUPT);
        ck_assert_ptr_nonnull(strstr(error.message, n < 2 ? "(root).t" : n < 3 ? "save_counter" : ".w"));
        hti_snapwrite_free(writer);
        close(fd);
    }
}
END_TEST

START_TEST(a_complete_file_takes_no_more)
{
    const int fd = make_file("", 0);
    struct hti_snapwrite *writer = begin(fd);

    for (unsigned k = 0; k < N_SNAP_BLOCKS; k++)
        ck_assert_int_eq(hti_snapwrite_block(writer, &blocks[k].head, blocks[k].frame.data, NULL), 0);
    ck_assert_int_eq(hti_snapwrite_end(writer, NULL), 0);
    ck_assert_uint_eq(hti_snapwrite_size(writer), image_size);
    ck_assert_int_eq(hti_snapwrite_end(writer, NULL), HTSTORE_EINVAL);
    hti_snapwrite_free(writer);
    writer = begin(fd);
    for (unsigned k = 0; k < N_SNAP_BLOCKS; k++)
        ck_assert_int_eq(hti_snapwrite_block(writer, &blocks[k].head, blocks[k].frame.data, NULL), 0);
    ck_assert_int_eq(hti_snapwrite_end(writer, NULL), 0);
    ck_assert_int_eq(hti_snapwrite_block(writer, &blocks[0].head, blocks[0].frame.data, NULL), HTSTORE_EINVAL);
    hti_snapwrite_free(writer);
    writer = begin(fd);
    struct hti_snap_block head = blocks[0].head;
    head.plain_size = HTI_SNAP_MAX_PLAIN + 1;
    ck_assert_int_eq(hti_snapwrite_block(writer, &head, blocks[0].frame.data, NULL), HTSTORE_EINVAL);
    hti_snapwrite_free(writer);
    close(fd);
}
END_TEST

START_TEST(a_broken_graph_is_not_written)
{
    struct hti_snapwrite *writer;
    struct htstore_error error;

    graph.nodes[SNAP_T].key_dtype = 99;
    ck_assert_int_eq(hti_snapwrite_begin(-1, PATH, &graph, 1, 0, &writer, &error), HTSTORE_EINVAL);
    ck_assert_ptr_null(writer);
}
END_TEST

START_TEST(a_full_device_is_reported)
{
    const int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    struct htstore_error error;

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(snap_sample_write(fd, &error), HTSTORE_ENOSPC);
    ck_assert_int_eq(error.sys_errno, ENOSPC);
    ck_assert_str_eq(error.path, "sample.snap");
    ck_assert_int_eq(write_big(fd, 40000, &error), HTSTORE_ENOSPC);
    close(fd);
}
END_TEST

START_TEST(a_reader_that_went_away_is_reported)
{
    struct htstore_error error;
    int fds[2];

    signal(SIGPIPE, SIG_IGN);
    ck_assert_int_eq(pipe(fds), 0);
    close(fds[0]);
    ck_assert_int_eq(snap_sample_write(fds[1], &error), HTSTORE_EIO);
    ck_assert_int_eq(error.sys_errno, EPIPE);
    ck_assert_int_eq(write_big(fds[1], 40000, &error), HTSTORE_EIO);
    close(fds[1]);
}
END_TEST

START_TEST(a_failed_write_stays)
{
    struct hti_snap_node *node = &graph.nodes[SNAP_T];
    const int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    struct hti_snap_block head = blocks[0].head;
    struct hti_snapwrite *writer;
    struct htstore_error error;
    int rc = 0;

    node->n_rows = 1000000;
    writer = begin(fd);
    head.n_rows = 1;
    for (; rc == 0; head.number++)
        rc = hti_snapwrite_block(writer, &head, blocks[0].frame.data, NULL);
    ck_assert_int_eq(rc, HTSTORE_ENOSPC);
    ck_assert_int_eq(dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), fd), fd); /* there is room now, too late */
    ck_assert_int_eq(hti_snapwrite_block(writer, &head, blocks[0].frame.data, &error), HTSTORE_ENOSPC);
    ck_assert_int_eq(error.sys_errno, ENOSPC);
    ck_assert_int_eq(hti_snapwrite_end(writer, &error), HTSTORE_ENOSPC);
    hti_snapwrite_free(writer);
    close(fd);
}
END_TEST

START_TEST(a_descriptor_that_cannot_be_read_is_reported)
{
    struct hti_snapread *reader;
    struct htstore_error error;
    const int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

    ck_assert_int_eq(hti_snapread_open(fd, PATH, &reader, &error), HTSTORE_EIO);
    ck_assert_int_eq(error.sys_errno, EBADF);
    ck_assert_ptr_null(reader);
    close(fd);
}
END_TEST

/* --- memory --- */

START_TEST(without_memory_nothing_leaks)
{
    bool failed = true;

    for (uint64_t after = 0; failed; after++) {
        const int fd = make_file("", 0);
        struct htstore_error error;
        unsigned n;
        hti_mem_test_fail(after, true);
        int rc = snap_sample_write(fd, &error);
        for (int way = 0; rc == 0 && way < PIPE; way++)
            rc = read_fd(fd, (enum way)way, &n, &error);
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_int_eq(rc, failed ? HTSTORE_ENOMEM : 0);
        close(fd);
    }
}
END_TEST

/* --- stock zstd --- */

START_TEST(zstd_accepts_and_decompresses_the_file)
{
    char *directory = check_tmpdir();
    char path[4096], plain_path[4096], command[16000];
    struct hti_buf plain;

    if (system("zstd --version >/dev/null 2>&1") != 0) {
        puts("SKIP: zstd is not installed");
        check_tmpdir_remove(directory);
        return;
    }
    snprintf(path, sizeof path, "%s/s.snap.zst", directory);
    snprintf(plain_path, sizeof plain_path, "%s/plain", directory);
    hti_buf_init(&plain);
    ck_assert_int_eq(hti_snap_graph_encode(&graph, &plain, NULL), 0);
    for (unsigned i = 0; i < N_SNAP_BLOCKS; i++)
        ck_assert_int_eq(hti_buf_append(&plain, blocks[i].plain.data, blocks[i].plain.size), 0);
    FILE *file = fopen(path, "wb");
    ck_assert(file && fwrite(image, 1, image_size, file) == image_size && fclose(file) == 0);
    file = fopen(plain_path, "wb");
    ck_assert(file && fwrite(plain.data, 1, plain.size, file) == plain.size && fclose(file) == 0);
    hti_buf_release(&plain);
    snprintf(command, sizeof command, "zstd -q -t '%s' && zstd -q -dc '%s' | cmp - '%s'", path, path, plain_path);
    ck_assert_int_eq(system(command), 0);
    check_tmpdir_remove(directory);
}
END_TEST

static void add_reading_tests(TCase *tests)
{
    tcase_add_loop_test(tests, a_snapshot_is_read_back, 0, N_WAYS);
    tcase_add_test(tests, header_graph_and_footer_are_read_back);
    tcase_add_test(tests, the_index_of_a_pipe_is_refused);
    tcase_add_test(tests, equal_contents_give_equal_bytes);
    tcase_add_loop_test(tests, a_long_snapshot_goes_through_a_pipe, 0, 2);
    tcase_add_test(tests, an_index_of_several_parts_is_loaded);
    tcase_add_test(tests, a_graph_of_several_parts_is_read_back);
    tcase_add_test(tests, zstd_accepts_and_decompresses_the_file);
}

static void add_damage_tests(TCase *tests)
{
    tcase_add_loop_test(tests, any_changed_byte_is_noticed, 0, N_WAYS);
    tcase_add_loop_test(tests, a_file_cut_at_any_place_is_noticed, 0, N_WAYS);
    tcase_add_loop_test(tests, anything_behind_the_end_is_noticed, 0, N_WAYS);
    tcase_add_loop_test(tests, messages_name_file_block_table_and_place, 0, N_WAYS);
    tcase_add_test(tests, a_failure_stays);
    tcase_add_loop_test(tests, missing_repeated_and_swapped_blocks_are_noticed, 0, N_WAYS);
    tcase_add_loop_test(tests, parts_of_another_snapshot_are_noticed, 0, N_WAYS);
    tcase_add_loop_test(tests, a_header_with_another_lsn_is_noticed, 0, N_WAYS);
    tcase_add_loop_test(tests, hostile_heads_are_refused, 0, (int)COUNT(lies));
    tcase_add_loop_test(tests, hostile_indexes_are_refused, 0, N_WAYS);
    tcase_add_loop_test(tests, footers_and_trailers_that_lie_are_refused, 0, N_WAYS);
    tcase_add_loop_test(tests, newer_formats_are_told_apart_from_damage, 0, N_WAYS);
    tcase_add_loop_test(tests, a_longer_header_of_a_newer_format_is_understood_so_far, 0, N_WAYS);
    tcase_add_loop_test(tests, compatible_features_are_ignored, 0, N_WAYS);
    tcase_add_loop_test(tests, other_files_are_no_snapshots, 0, N_WAYS);
}

static void add_writing_tests(TCase *tests)
{
    tcase_add_test(tests, blocks_at_the_wrong_place_are_not_written);
    tcase_add_test(tests, a_file_without_all_rows_is_not_finished);
    tcase_add_test(tests, a_complete_file_takes_no_more);
    tcase_add_test(tests, a_broken_graph_is_not_written);
    tcase_add_test(tests, a_full_device_is_reported);
    tcase_add_test(tests, a_reader_that_went_away_is_reported);
    tcase_add_test(tests, a_failed_write_stays);
    tcase_add_test(tests, a_descriptor_that_cannot_be_read_is_reported);
    tcase_add_test(tests, without_memory_nothing_leaks);
}

int main(void)
{
    Suite *suite = suite_create("snapfile");
    TCase *reading = tcase_create("reading"), *damage = tcase_create("damage"), *writing = tcase_create("writing");

    tcase_add_checked_fixture(reading, set_up, tear_down);
    add_reading_tests(reading);
    suite_add_tcase(suite, reading);
    tcase_add_checked_fixture(damage, set_up, tear_down);
    add_damage_tests(damage);
    suite_add_tcase(suite, damage);
    tcase_add_checked_fixture(writing, set_up, tear_down);
    add_writing_tests(writing);
    suite_add_tcase(suite, writing);
    return check_run(suite);
}
