/* snapscan: hides the search for intact frames in a damaged snapshot file. */
#include "snapscan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "mem.h"
#include "snapsource.h"

#define WINDOW_SIZE (64u << 10)
#define HEAD_SIZE 64u /* of all heads that the search looks for; the footer is larger */

struct hti_snapscan {
    struct hti_snap_source source;
    bool has_header;
    bool has_graph;
    bool has_footer;
    struct hti_snap_footer footer;
    uint64_t offset;
    uint64_t wasted; /* bytes of frames that were hashed in vain */
    bool any; /* a block was found */
    uint32_t node, number; /* of the last one */
    struct hti_buf window; /* bytes of the file, for the search */
    uint64_t window_offset;
};

/* --- search --- */

/*
 * Position of the first candidate for a frame of ours in the window: the magic numbers differ in their first byte only.
 */
static size_t search_window(const uint8_t *window, size_t size)
{
    static const uint8_t tail[3] = { 0x2A, 0x4D, 0x18 };
    size_t at = 0;

    while (at + 4 <= size) {
        const uint8_t *found = memmem(window + at + 1, size - at - 1, tail, sizeof tail);
        if (!found)
            break;
        at = (size_t)(found - window) - 1;
        if (window[at] >= (HTI_SNAP_MAGIC_GRAPH & 0xFF) && window[at] <= (HTI_SNAP_MAGIC_TRAILER & 0xFF))
            return at;
        at++;
    }
    return size;
}

/* Have the bytes from `offset` on in the window, at least 4 of them unless the file ends. */
static int fill_window(struct hti_snapscan *scan, uint64_t offset, struct htstore_error *error)
{
    size_t got;
    int rc;

    if (offset >= scan->window_offset && offset - scan->window_offset + 4 <= scan->window.size)
        return 0;
    rc = hti_snap_source_read(&scan->source, offset, scan->window.data, WINDOW_SIZE, &got, error);
    scan->window_offset = offset;
    scan->window.size = rc == 0 ? got : 0;
    return rc;
}

/* Move on to the next candidate at or behind *offset, at worst to the end of the file. */
static int search(struct hti_snapscan *scan, uint64_t *offset, struct htstore_error *error)
{
    while (*offset < scan->source.file_size) {
        const int rc = fill_window(scan, *offset, error);
        if (rc != 0)
            return rc;
        const size_t start = (size_t)(*offset - scan->window_offset), left = scan->window.size - start;
        const size_t at = search_window(scan->window.data + start, left);
        if (at < left) {
            *offset += at;
            return 0;
        }
        if (left < 4)
            break;
        *offset += left - 3; /* a magic number may straddle windows */
    }
    *offset = scan->source.file_size;
    return 0;
}

/*
 * Whoever prepared a file of heads that promise large frames gets no more than a few passes over it: then the search for
 * the graph ends, and damaged blocks are stepped over.
 */
static bool has_wasted_much(const struct hti_snapscan *scan)
{
    return scan->wasted / 4 > scan->source.file_size;
}

/* --- opening --- */

static bool read_trailer(struct hti_snapscan *scan, struct hti_snap_trailer *trailer)
{
    uint8_t bytes[HTI_SNAP_TRAILER_SIZE];
    size_t got;

    return scan->source.file_size >= sizeof bytes &&
           hti_snap_source_read(&scan->source, scan->source.file_size - sizeof bytes, bytes, sizeof bytes, &got,
                                NULL) == 0 &&
           got == sizeof bytes && hti_snap_decode_trailer(bytes, trailer);
}

static void set_id(struct hti_snapscan *scan, struct hti_hash128 id)
{
    scan->source.header.id = id;
    scan->source.binding = hti_snap_binding(id);
}

/* The footer repeats what the header says. */
static void read_footer(struct hti_snapscan *scan, const struct hti_snap_trailer *trailer)
{
    struct hti_snap_header *header = &scan->source.header;
    uint8_t bytes[HTI_SNAP_FOOTER_SIZE];
    size_t got;

    if (trailer->footer_size < sizeof bytes || !hti_snap_hash128_equal(trailer->id, header->id) ||
        hti_snap_source_read(&scan->source, trailer->footer_offset + trailer->footer_size - sizeof bytes, bytes,
                             sizeof bytes, &got, NULL) != 0 ||
        got < sizeof bytes || !hti_snap_decode_footer(bytes, scan->source.binding, &scan->footer))
        return;
    scan->has_footer = true;
    if (scan->has_header || scan->footer.version != HTI_SNAP_VERSION || scan->footer.incompatible != 0)
        return;
    header->version = scan->footer.version;
    header->flags = scan->footer.flags;
    header->compatible = scan->footer.compatible;
    header->lsn = scan->footer.lsn;
    header->graph_size = scan->footer.graph_size;
    header->n_nodes = (uint32_t)scan->footer.n_nodes;
    scan->has_header = true;
}

/* Find the first part of the graph, wherever it is, and read on from there. Its loss is no failure. */
static int find_graph(struct hti_snapscan *scan, bool has_id, struct htstore_error *error)
{
    uint8_t head[HTI_SNAP_GRAPH_HEAD_SIZE];
    struct hti_snap_part part;
    uint64_t offset = 0;
    size_t got;
    int rc = 0;

    for (; rc == 0 && !scan->has_graph && !has_wasted_much(scan); offset++) {
        rc = search(scan, &offset, error);
        rc = rc ? rc : hti_snap_source_read(&scan->source, offset, head, sizeof head, &got, error);
        if (rc != 0 || got < sizeof head)
            break;
        if (!hti_snap_decode_part(head, &part) || part.number != 0 ||
            (has_id && !hti_snap_hash128_equal(part.id, scan->source.header.id)))
            continue;
        set_id(scan, part.id);
        has_id = true;
        scan->source.header.n_parts = part.n_parts;
        uint64_t at = offset;
        rc = hti_snap_source_graph(&scan->source, &at, error);
        scan->has_graph = rc == 0;
        scan->wasted += rc == 0 ? 0 : at - offset;
        rc = rc == HTSTORE_ECORRUPT ? 0 : rc;
    }
    if (rc == 0 && !has_id) {
        rc = hti_fail(error, HTSTORE_EFORMAT, "%s: nothing of a snapshot is left", scan->source.path);
        hti_error_set_path(error, scan->source.path, 0);
    }
    return rc;
}

static int open_scan(struct hti_snapscan *scan, struct htstore_error *error)
{
    struct hti_snap_trailer trailer;
    struct htstore_error inner;
    uint64_t offset;
    bool has_trailer, has_id;
    int rc;

    if (!scan->source.seekable)
        return hti_fail(error, HTSTORE_EINVAL, "%s: only a regular file can be searched", scan->source.path);
    if (hti_buf_reserve(&scan->window, WINDOW_SIZE) != 0)
        return hti_snap_source_fail_memory(&scan->source, error);
    rc = hti_snap_source_header(&scan->source, &offset, &inner);
    if (rc != 0 && rc != HTSTORE_EFORMAT && rc != HTSTORE_ECORRUPT) {
        hti_error_copy(error, &inner);
        return rc;
    }
    scan->has_header = rc == 0;
    if (rc != 0)
        memset(&scan->source.header, 0, sizeof scan->source.header);
    has_trailer = read_trailer(scan, &trailer);
    has_id = scan->has_header || has_trailer;
    if (!scan->has_header && has_trailer)
        set_id(scan, trailer.id);
    rc = find_graph(scan, has_id, error);
    if (rc == 0 && has_trailer)
        read_footer(scan, &trailer);
    return rc;
}

int hti_snapscan_open(int fd, const char *path, struct hti_snapscan **out, struct htstore_error *error)
{
    struct hti_snapscan *scan = hti_mem_zalloc(sizeof *scan);
    int rc;

    *out = NULL;
    if (!scan)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory to read a snapshot");
    hti_buf_init(&scan->window);
    hti_snap_source_init(&scan->source, fd, path);
    rc = open_scan(scan, error);
    if (rc == 0)
        *out = scan;
    else
        hti_snapscan_close(scan);
    return rc;
}

void hti_snapscan_close(struct hti_snapscan *scan)
{
    if (!scan)
        return;
    hti_snap_source_release(&scan->source);
    hti_buf_release(&scan->window);
    hti_mem_free(scan);
}

const struct hti_snap_header *hti_snapscan_header(const struct hti_snapscan *scan)
{
    return scan->has_header ? &scan->source.header : NULL;
}

const struct hti_snap_graph *hti_snapscan_graph(const struct hti_snapscan *scan)
{
    return scan->has_graph ? &scan->source.graph : NULL;
}

bool hti_snapscan_promised(const struct hti_snapscan *scan, uint64_t *n_blocks)
{
    *n_blocks = scan->footer.n_blocks;
    return scan->has_footer;
}

/* --- frame by frame --- */

/* What stands at scan->offset. */
struct place {
    bool is_block;
    uint64_t size; /* of what is intact: 0 = nothing */
    uint64_t skip; /* bytes to step over before the search goes on, if it is damaged */
    char reason[256];
};

static void name_block(const struct hti_snapscan *scan, const struct hti_snap_block *block, const char *what,
                       struct place *place)
{
    char label[HTI_SNAP_LABEL_SIZE];

    snprintf(label, sizeof label, "node %" PRIu32, block->node);
    if (block->node < scan->source.graph.n_nodes)
        hti_snap_graph_label(&scan->source.graph, block->node, label);
    snprintf(place->reason, sizeof place->reason, "block %" PRIu32 " of %s: %s", block->number, label, what);
}

static bool is_in_order(const struct hti_snapscan *scan, const struct hti_snap_block *block)
{
    if (scan->has_graph && (block->node >= scan->source.graph.n_nodes ||
                            !(scan->source.graph.nodes[block->node].flags & HTI_SNAP_HAS_CONTENTS)))
        return false;
    return !scan->any || block->node > scan->node || (block->node == scan->node && block->number > scan->number);
}

/* A damaged frame is searched too, for what may have slid into it. */
static uint64_t step_over(struct hti_snapscan *scan, const struct hti_snap_block *block)
{
    scan->wasted += block->stored_size;
    return has_wasted_much(scan) ? HEAD_SIZE + (uint64_t)block->stored_size : HEAD_SIZE;
}

static int look_at_block(struct hti_snapscan *scan, struct hti_snap_block *block, struct hti_buf *frame,
                         struct place *place, struct htstore_error *error)
{
    const uint64_t left = scan->source.file_size - scan->offset - HEAD_SIZE;
    uint64_t offset = scan->offset + HEAD_SIZE;
    int rc;

    block->offset = scan->offset;
    place->skip = HEAD_SIZE;
    if (!is_in_order(scan, block)) {
        name_block(scan, block, "it is repeated, or at the wrong place", place);
        place->skip = block->stored_size <= left ? HEAD_SIZE + (uint64_t)block->stored_size : HEAD_SIZE;
        return 0;
    }
    if (block->stored_size > left) {
        name_block(scan, block, "it was cut short", place);
        return 0;
    }
    rc = hti_snap_source_fetch_buf(&scan->source, &offset, frame, block->stored_size, "a block", error);
    if (rc != 0)
        return rc;
    if (hti_snap_hash(frame->data, frame->size) != block->stored_hash) {
        name_block(scan, block, "checksum differs", place);
        place->skip = step_over(scan, block);
        return 0;
    }
    place->is_block = true;
    place->size = HEAD_SIZE + (uint64_t)block->stored_size;
    return 0;
}

/* Lists are believed where one is expected: verifying each that a search meets could take for ever. */
static int look_at_list(struct hti_snapscan *scan, const uint8_t *start, bool expected, struct hti_buf *space,
                        struct place *place, struct htstore_error *error)
{
    const uint32_t size = hti_snap_list_size(start);
    uint64_t offset = scan->offset;
    struct hti_snap_list list;
    int rc;

    if (!expected || size == 0 || size > scan->source.file_size - scan->offset)
        return 0;
    rc = hti_snap_source_fetch_buf(&scan->source, &offset, space, size, "the index", error);
    if (rc == 0 && hti_snap_decode_list(space->data, size, scan->source.binding, &list))
        place->size = size;
    return rc;
}

static int look_at_footer(struct hti_snapscan *scan, struct place *place, struct htstore_error *error)
{
    uint8_t bytes[HTI_SNAP_FOOTER_SIZE];
    struct hti_snap_footer footer;
    size_t got;
    const int rc = hti_snap_source_read(&scan->source, scan->offset, bytes, sizeof bytes, &got, error);

    if (rc == 0 && got == sizeof bytes && hti_snap_decode_footer(bytes, scan->source.binding, &footer))
        place->size = HTI_SNAP_FOOTER_SIZE;
    return rc;
}

static void look_at_header(struct hti_snapscan *scan, struct place *place)
{
    uint8_t bytes[HTI_SNAP_HEADER_SIZE];
    struct hti_snap_header header;
    size_t got;

    strcpy(place->reason, "the header is damaged");
    if (hti_snap_source_read(&scan->source, 0, bytes, sizeof bytes, &got, NULL) == 0 && got == sizeof bytes &&
        hti_load_le32(bytes) == HTI_SNAP_MAGIC_HEADER && hti_snap_decode_header(bytes, sizeof bytes, &header) == 0)
        place->size = HTI_SNAP_HEADER_SIZE;
}

static void look_at_part(struct hti_snapscan *scan, const uint8_t *start, struct place *place)
{
    struct hti_snap_part part;

    if (hti_snap_decode_part(start, &part) && hti_snap_hash128_equal(part.id, scan->source.header.id))
        place->size = HTI_SNAP_GRAPH_HEAD_SIZE + (scan->has_graph ? (uint64_t)part.stored_size : 0);
}

static int look(struct hti_snapscan *scan, bool expected, struct hti_snap_block *block, struct hti_buf *frame,
                struct place *place, struct htstore_error *error)
{
    uint8_t start[HEAD_SIZE];
    struct hti_snap_trailer trailer;
    size_t got;
    int rc;

    memset(place, 0, sizeof *place);
    place->skip = 1;
    strcpy(place->reason, "nothing intact");
    if (scan->offset == 0)
        look_at_header(scan, place);
    rc = place->size > 0 ? 0 : hti_snap_source_read(&scan->source, scan->offset, start, sizeof start, &got, error);
    if (rc != 0 || place->size > 0 || got < sizeof start)
        return rc;
    switch (hti_load_le32(start)) {
    case HTI_SNAP_MAGIC_GRAPH:
        look_at_part(scan, start, place);
        return 0;
    case HTI_SNAP_MAGIC_BLOCK:
        return hti_snap_decode_block(start, scan->source.binding, block)
                   ? look_at_block(scan, block, frame, place, error)
                   : 0;
    case HTI_SNAP_MAGIC_LIST:
        return look_at_list(scan, start, expected, frame, place, error);
    case HTI_SNAP_MAGIC_FOOTER:
        return look_at_footer(scan, place, error);
    case HTI_SNAP_MAGIC_TRAILER:
        if (hti_snap_decode_trailer(start, &trailer) && hti_snap_hash128_equal(trailer.id, scan->source.header.id))
            place->size = HTI_SNAP_TRAILER_SIZE;
        return 0;
    default:
        return 0;
    }
}

/* The gap before a block covers all that is damaged since the block before it; its reason is the first. */
static void widen(struct hti_snap_gap *gap, uint64_t start, uint64_t end, const char *reason)
{
    if (gap->size == 0) {
        gap->offset = start;
        snprintf(gap->reason, sizeof gap->reason, "%s", reason);
    }
    gap->size = end - gap->offset;
}

int hti_snapscan_next(struct hti_snapscan *scan, struct hti_snap_block *block, struct hti_buf *frame,
                      struct hti_snap_gap *gap, struct htstore_error *error)
{
    bool expected = true;
    struct place place;

    memset(gap, 0, sizeof *gap);
    while (scan->offset < scan->source.file_size) {
        const uint64_t start = scan->offset;
        int rc = look(scan, expected, block, frame, &place, error);
        if (rc != 0)
            return rc;
        expected = place.size > 0;
        scan->offset += place.size > 0 ? place.size : place.skip;
        if (place.is_block) {
            scan->any = true;
            scan->node = block->node;
            scan->number = block->number;
            return 0;
        }
        if (expected)
            continue;
        rc = search(scan, &scan->offset, error);
        if (rc != 0)
            return rc;
        widen(gap, start, scan->offset, place.reason);
    }
    return 1;
}
