/*
 * fuzz_snapshot: the container of snapshots, over any bytes: as a graph record; as a file; and as changes to a valid
 * file (four bytes each: offset u16, kind, value), whose checksums are made right again. A file is read in order, by
 * its index, through a pipe and by the search for intact blocks, and all must agree.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "snap_sample.h"
#include "snapread.h"
#include "snapscan.h"

#define MAX_PIPE_SIZE 60000u
#define MAX_SIZE ((size_t)1 << 20)
#define MAX_CHANGES 4u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, const uint8_t **data);

static void must(bool condition)
{
    if (!condition)
        abort();
}

/* --- the valid file --- */

static uint8_t image[8192];
static size_t image_size;
static size_t places[4 + N_SNAP_BLOCKS]; /* of graph, blocks, two lists, footer */
static size_t n_places;
static uint64_t binding;

static int make_file(const uint8_t *data, size_t size)
{
    const int fd = memfd_create("snap", MFD_CLOEXEC);

    must(fd >= 0 && pwrite(fd, data, size, 0) == (ssize_t)size);
    return fd;
}

static void make_image(void)
{
    struct hti_snap_part part;
    struct hti_snap_block block;

    if (image_size > 0)
        return;
    const int fd = make_file((const uint8_t *)"", 0);
    must(snap_sample_write(fd, NULL) == 0);
    const ssize_t got = pread(fd, image, sizeof image, 0);
    close(fd);
    must(got > 0 && hti_snap_decode_part(image + HTI_SNAP_HEADER_SIZE, &part));
    image_size = (size_t)got;
    binding = hti_snap_binding(part.id);
    places[n_places++] = HTI_SNAP_HEADER_SIZE;
    places[n_places++] = HTI_SNAP_HEADER_SIZE + HTI_SNAP_GRAPH_HEAD_SIZE + part.stored_size;
    while (hti_snap_decode_block(image + places[n_places - 1], binding, &block)) {
        places[n_places] = places[n_places - 1] + HTI_SNAP_BLOCK_HEAD_SIZE + block.stored_size;
        n_places++;
    }
    places[n_places] = places[n_places - 1] + hti_snap_list_size(image + places[n_places - 1]);
    n_places++;
    places[n_places] = places[n_places - 1] + hti_snap_list_size(image + places[n_places - 1]);
    n_places++;
    must(n_places == 4 + N_SNAP_BLOCKS && places[n_places - 1] == image_size - 64 - HTI_SNAP_FOOTER_SIZE);
}

/* --- reading in all ways --- */

static int read_in_order(int fd, uint64_t *n)
{
    struct hti_snapread *reader;
    struct hti_snap_block block;
    struct htstore_error error;
    struct hti_buf frame;
    int rc = hti_snapread_open(fd, "s.snap", &reader, &error);

    *n = 0;
    hti_buf_init(&frame);
    while (rc == 0) {
        rc = hti_snapread_next(reader, &block, &frame, &error);
        *n += rc == 0;
    }
    must(rc == 1 || (error.code == rc && rc != HTSTORE_EIO && rc != HTSTORE_EINVAL));
    hti_buf_release(&frame);
    hti_snapread_close(reader);
    return rc;
}

static int read_by_index(int fd)
{
    struct hti_snapread *reader;
    struct hti_snap_block block;
    struct hti_buf frame;
    int rc = hti_snapread_open(fd, "s.snap", &reader, NULL);

    hti_buf_init(&frame);
    rc = rc ? rc : hti_snapread_load_index(reader, NULL);
    for (uint64_t i = 0; rc == 0 && i < hti_snapread_footer(reader)->n_blocks; i++)
        rc = hti_snapread_block(reader, i, &block, &frame, NULL);
    hti_buf_release(&frame);
    hti_snapread_close(reader);
    return rc;
}

static void read_pipe(const uint8_t *data, size_t size, int expected)
{
    int fds[2];
    uint64_t n;

    if (size > MAX_PIPE_SIZE)
        return;
    must(pipe(fds) == 0 && write(fds[1], data, size) == (ssize_t)size);
    close(fds[1]);
    must(read_in_order(fds[0], &n) == expected);
    close(fds[0]);
}

/* Returns the number of blocks; *n_gaps of gaps. */
static uint64_t scan(int fd, unsigned *n_gaps)
{
    struct hti_snapscan *scanner;
    struct hti_snap_block block;
    struct hti_snap_gap gap;
    struct hti_buf frame;
    uint64_t n = 0;
    int rc = hti_snapscan_open(fd, "s.snap", &scanner, NULL);

    *n_gaps = 0;
    hti_buf_init(&frame);
    while (rc == 0) {
        rc = hti_snapscan_next(scanner, &block, &frame, &gap, NULL);
        must(rc == 0 || rc == 1);
        n += rc == 0;
        *n_gaps += gap.size > 0;
    }
    hti_buf_release(&frame);
    hti_snapscan_close(scanner);
    return n;
}

static void try_file(const uint8_t *data, size_t size)
{
    const int fd = make_file(data, size);
    uint64_t n;
    unsigned n_gaps;
    const int rc = read_in_order(fd, &n), indexed = read_by_index(fd);
    const uint64_t found = scan(fd, &n_gaps);

    must(rc != 1 || (indexed == 0 && found == n && n_gaps == 0));
    must(rc == HTSTORE_EVERSION || found >= n || n_gaps > 0);
    read_pipe(data, size, rc);
    close(fd);
}

/* --- changes --- */

static void change(uint8_t *data, size_t size, const uint8_t *order)
{
    static const uint32_t extremes[] = { 0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 8 };
    const size_t at = hti_load_le16(order) % size;

    switch (order[2] % 4) {
    case 0:
        data[at] = order[3];
        break;
    case 1:
        data[at] ^= (uint8_t)(1u << order[3] % 8);
        break;
    case 2:
        data[at] = (uint8_t)(data[at] + order[3]);
        break;
    default:
        if (size - at >= 4)
            memcpy(data + at, &extremes[order[3] % 6], 4);
    }
}

static void seal(uint8_t *frame, size_t at, uint64_t seed)
{
    hti_store_le64(frame + at, hti_hash64(frame, at, seed));
}

static uint64_t chain(const uint8_t *list, unsigned n)
{
    uint64_t hash = 0;

    for (unsigned i = 0; i < n; i++)
        hash = hti_snap_chain(hash, list + 24 + (size_t)i * HTI_SNAP_ENTRY_SIZE);
    return hash;
}

/* All checksums as they would be, had the writer meant it so. */
static void seal_all(uint8_t *file, bool stored_too)
{
    const size_t blocks_list = places[1 + N_SNAP_BLOCKS], nodes_list = places[2 + N_SNAP_BLOCKS];
    uint8_t *footer = file + places[3 + N_SNAP_BLOCKS];

    seal(file, 88, 0);
    seal(file + places[0], 56, binding);
    for (unsigned i = 0; i < N_SNAP_BLOCKS; i++) {
        uint8_t *head = file + places[1 + i];
        if (stored_too)
            hti_store_le64(head + 40, hti_snap_hash(head + 64, places[2 + i] - places[1 + i] - 64));
        seal(head, 56, binding);
        hti_store_le64(file + blocks_list + 24 + (size_t)i * HTI_SNAP_ENTRY_SIZE + 24, hti_snap_head_checksum(head));
    }
    seal(file + blocks_list, nodes_list - blocks_list - 8, binding);
    seal(file + nodes_list, places[3 + N_SNAP_BLOCKS] - nodes_list - 8, binding);
    hti_store_le64(footer + 88, chain(file + blocks_list, N_SNAP_BLOCKS));
    hti_store_le64(footer + 96, chain(file + nodes_list, N_SNAP_NODES));
    seal(footer, 120, binding);
    seal(file + image_size - 64, 48, binding);
}

static void try_changed(const uint8_t *data, size_t size)
{
    uint8_t *copy;
    unsigned n = 0;

    if (size < 4)
        return;
    copy = malloc(image_size);
    must(copy != NULL);
    memcpy(copy, image, image_size);
    for (; size >= 4 && n < MAX_CHANGES; data += 4, size -= 4, n++)
        change(copy, image_size, data);
    seal_all(copy, size % 2);
    try_file(copy, image_size);
    free(copy);
}

/* --- graphs --- */

static void try_record(const uint8_t *data, size_t size)
{
    char label[HTI_SNAP_LABEL_SIZE];
    struct hti_snap_graph graph;
    struct hti_buf again;

    if (hti_snap_graph_decode(&graph, data, size, NULL) != 0)
        return;
    hti_buf_init(&again);
    must(hti_snap_graph_encode(&graph, &again, NULL) == 0);
    must(again.size == size && memcmp(again.data, data, size) == 0);
    for (uint32_t i = 0; i < graph.n_nodes && i < 16; i++) {
        again.size = 0;
        hti_snap_graph_label(&graph, graph.n_nodes - 1 - i, label);
        must(strlen(label) < sizeof label && hti_snap_graph_path(&graph, graph.n_nodes - 1 - i, &again) == 0);
    }
    hti_buf_release(&again);
    hti_snap_graph_release(&graph);
}

static void try_changed_record(const uint8_t *data, size_t size)
{
    struct hti_snap_graph graph;
    struct hti_buf record;
    unsigned n = 0;

    hti_buf_init(&record);
    must(snap_sample_graph(&graph) == 0 && hti_snap_graph_encode(&graph, &record, NULL) == 0);
    hti_snap_graph_release(&graph);
    for (; size >= 4 && n < MAX_CHANGES; data += 4, size -= 4, n++)
        change(record.data, record.size, data);
    try_record(record.data, record.size);
    hti_buf_release(&record);
}

/* --- seeds: the file, the record of its graph, and one change in each of its parts --- */

static size_t seed_record(const uint8_t **data)
{
    static uint8_t bytes[sizeof image];
    struct hti_snap_graph graph;
    struct hti_buf record;

    hti_buf_init(&record);
    must(snap_sample_graph(&graph) == 0 && hti_snap_graph_encode(&graph, &record, NULL) == 0);
    hti_snap_graph_release(&graph);
    const size_t size = record.size;
    must(size <= sizeof bytes);
    memcpy(bytes, record.data, size);
    hti_buf_release(&record);
    *data = bytes;
    return size;
}

/* Behind the magic number and the size of each part: the header, what `places` knows, and the trailer. */
static size_t seed_change(unsigned part, const uint8_t **data)
{
    static uint8_t order[5];
    const size_t at = part == 0 ? 8 : part <= n_places ? places[part - 1] + 12 : image_size - 64 + 16;

    hti_store_le16(order, (uint16_t)at);
    order[2] = 2;
    order[3] = 1;
    *data = order;
    return part > n_places + 1 ? 0 : sizeof order;
}

size_t fuzz_seed(unsigned i, const uint8_t **data)
{
    make_image();
    switch (i) {
    case 0:
        *data = image;
        return image_size;
    case 1:
        return seed_record(data);
    default:
        return seed_change(i - 2, data);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MAX_SIZE)
        return 0;
    make_image();
    try_record(data, size);
    try_changed_record(data, size);
    try_file(data, size);
    try_changed(data, size);
    return 0;
}
