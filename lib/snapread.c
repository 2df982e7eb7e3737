/* snapread: hides how a snapshot is taken apart: from a pipe in one pass, or from a file by its index. */
#include "snapread.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "mem.h"
#include "snapsource.h"
#include "snaptally.h"

#define START_SIZE 64u /* the least that follows the graph at any place: a block head, a list, the trailer */

struct hti_snapread {
    struct hti_snap_source source;
    uint64_t offset; /* of what is read next, in order */
    uint64_t data_offset; /* of the first block */
    struct hti_snap_tally tally; /* of the blocks read in order */
    int status; /* of the last call of next: 1 at the end; a failure stays */
    struct htstore_error error; /* the same */
    bool has_index;
    bool has_footer;
    struct hti_buf index; /* block entries */
    struct hti_snap_footer footer;
};

int hti_snapread_fail_block(const struct hti_snapread *reader, const struct hti_snap_block *block, const char *what,
                            struct htstore_error *error)
{
    char label[HTI_SNAP_LABEL_SIZE] = "?", thing[HTI_SNAP_LABEL_SIZE + 32];

    if (block->node < reader->source.graph.n_nodes)
        hti_snap_graph_label(&reader->source.graph, block->node, label);
    snprintf(thing, sizeof thing, "block %" PRIu32 " of %s", block->number, label);
    return hti_snap_source_fail(&reader->source, thing, block->offset, what, error);
}

int hti_snapread_fail_node(const struct hti_snapread *reader, uint32_t node, const char *what,
                           struct htstore_error *error)
{
    char label[HTI_SNAP_LABEL_SIZE];

    hti_snap_graph_label(&reader->source.graph, node, label);
    hti_fail(error, HTSTORE_ECORRUPT, "%s: %s: %s", reader->source.path, label, what);
    hti_error_set_path(error, reader->source.path, 0);
    return HTSTORE_ECORRUPT;
}

int hti_snapread_open(int fd, const char *path, struct hti_snapread **out, struct htstore_error *error)
{
    struct hti_snapread *reader = hti_mem_zalloc(sizeof *reader);
    int rc;

    *out = NULL;
    if (!reader)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory to read a snapshot");
    hti_snap_source_init(&reader->source, fd, path);
    hti_buf_init(&reader->index);
    rc = hti_snap_source_header(&reader->source, &reader->offset, error);
    rc = rc ? rc : hti_snap_source_graph(&reader->source, &reader->offset, error);
    hti_snap_tally_init(&reader->tally, &reader->source.graph, reader->offset, reader->source.header.graph_size, false);
    if (rc != 0) {
        hti_snapread_close(reader);
        return rc;
    }
    reader->data_offset = reader->offset;
    *out = reader;
    return 0;
}

void hti_snapread_close(struct hti_snapread *reader)
{
    if (!reader)
        return;
    hti_snap_source_release(&reader->source);
    hti_snap_tally_release(&reader->tally);
    hti_buf_release(&reader->index);
    hti_mem_free(reader);
}

const struct hti_snap_header *hti_snapread_header(const struct hti_snapread *reader)
{
    return &reader->source.header;
}

const struct hti_snap_graph *hti_snapread_graph(const struct hti_snapread *reader)
{
    return &reader->source.graph;
}

bool hti_snapread_is_seekable(const struct hti_snapread *reader)
{
    return reader->source.seekable;
}

uint64_t hti_snapread_position(const struct hti_snapread *reader)
{
    return reader->offset;
}

const struct hti_snap_footer *hti_snapread_footer(const struct hti_snapread *reader)
{
    return reader->has_footer ? &reader->footer : NULL;
}

/* --- the end of the file: lists, footer, trailer --- */

/* What the lists say, while they are read. */
struct lists {
    uint64_t n[3]; /* entries so far, by kind */
    uint64_t hash[3];
    struct hti_buf list; /* one frame */
    struct hti_buf *index; /* takes the entries of blocks; NULL: nobody */
};

static int take_list(const struct hti_snapread *reader, struct lists *lists, uint64_t offset,
                     struct htstore_error *error)
{
    struct hti_snap_list list;

    if (!hti_snap_decode_list(lists->list.data, (uint32_t)lists->list.size, reader->source.binding, &list))
        return hti_snap_source_fail(&reader->source, "the index", offset, "checksum differs", error);
    if (list.first != lists->n[list.kind] || (list.kind == HTI_SNAP_LIST_BLOCKS && lists->n[HTI_SNAP_LIST_NODES] > 0))
        return hti_snap_source_fail(&reader->source, "the index", offset,
                                    "a part of it is missing, or at the wrong place", error);
    for (uint32_t i = 0; i < list.n_entries; i++)
        lists->hash[list.kind] = hti_snap_chain(lists->hash[list.kind], list.entries + (size_t)i * HTI_SNAP_ENTRY_SIZE);
    lists->n[list.kind] += list.n_entries;
    if (!lists->index || list.kind != HTI_SNAP_LIST_BLOCKS)
        return 0;
    return hti_buf_append(lists->index, list.entries, (size_t)list.n_entries * HTI_SNAP_ENTRY_SIZE) == 0
               ? 0
               : hti_snap_source_fail_memory(&reader->source, error);
}

/*
 * Reads lists from *offset; `start` holds START_SIZE bytes that were read already, and at the end the next that are no
 * list.
 */
static int read_lists(const struct hti_snapread *reader, uint64_t *offset, uint8_t *start, struct lists *lists,
                      struct htstore_error *error)
{
    for (;;) {
        const uint64_t at = *offset - START_SIZE;
        const uint32_t size = hti_snap_list_size(start);
        int rc;
        if (hti_load_le32(start) != HTI_SNAP_MAGIC_LIST)
            return 0;
        if (size == 0)
            return hti_snap_source_fail(&reader->source, "the index", at, "it has an impossible size", error);
        rc = hti_snap_source_fetch_buf(&reader->source, offset, &lists->list, size - START_SIZE, "the index", error);
        if (rc == 0 && hti_buf_reserve(&lists->list, START_SIZE) != 0)
            rc = hti_snap_source_fail_memory(&reader->source, error);
        if (rc != 0)
            return rc;
        memmove(lists->list.data + START_SIZE, lists->list.data, size - START_SIZE);
        memcpy(lists->list.data, start, START_SIZE);
        lists->list.size = size;
        rc = take_list(reader, lists, at, error);
        rc = rc ? rc : hti_snap_source_fetch(&reader->source, offset, start, START_SIZE, "the index", error);
        if (rc != 0)
            return rc;
    }
}

/* The footer must be exactly what the tally says, and the lists hold exactly its entries. */
static int check_footer(const struct hti_snapread *reader, const struct hti_snap_tally *tally,
                        const struct lists *lists, const struct hti_snap_footer *footer)
{
    uint8_t wanted[HTI_SNAP_FOOTER_SIZE], found[HTI_SNAP_FOOTER_SIZE];
    struct hti_snap_footer expected;

    hti_snap_tally_footer(tally, &reader->source.header, &expected);
    expected.file_size =
        tally->offset + hti_snap_tally_lists_size(tally) + HTI_SNAP_FOOTER_SIZE + HTI_SNAP_TRAILER_SIZE;
    hti_snap_encode_footer(&expected, reader->source.binding, wanted);
    hti_snap_encode_footer(footer, reader->source.binding, found);
    return memcmp(wanted, found, sizeof wanted) == 0 && lists->n[HTI_SNAP_LIST_BLOCKS] == tally->n_blocks &&
           lists->n[HTI_SNAP_LIST_NODES] == tally->graph->n_nodes &&
           lists->hash[HTI_SNAP_LIST_BLOCKS] == tally->blocks_hash &&
           lists->hash[HTI_SNAP_LIST_NODES] == tally->nodes_hash;
}

static int read_footer(const struct hti_snapread *reader, uint64_t *offset, const uint8_t *start,
                       struct hti_snap_footer *footer, struct htstore_error *error)
{
    uint8_t bytes[HTI_SNAP_FOOTER_SIZE];
    const uint64_t at = *offset - START_SIZE;
    int rc;

    memcpy(bytes, start, START_SIZE);
    rc = hti_snap_source_fetch(&reader->source, offset, bytes + START_SIZE, sizeof bytes - START_SIZE, "the footer",
                               error);
    if (rc == 0 && !hti_snap_decode_footer(bytes, reader->source.binding, footer))
        rc = hti_snap_source_fail(&reader->source, "the footer", at, "checksum differs", error);
    return rc;
}

static int check_trailer(const struct hti_snapread *reader, uint64_t offset, const uint8_t *bytes,
                         const struct hti_snap_footer *footer, struct htstore_error *error)
{
    struct hti_snap_trailer trailer;

    if (!hti_snap_decode_trailer(bytes, &trailer))
        return hti_snap_source_fail(&reader->source, "the trailer", offset, "checksum differs", error);
    if (!hti_snap_hash128_equal(trailer.id, reader->source.header.id) ||
        trailer.footer_offset != footer->lists_offset || trailer.footer_size != offset - footer->lists_offset ||
        footer->file_size != offset + HTI_SNAP_TRAILER_SIZE)
        return hti_snap_source_fail(&reader->source, "the trailer", offset, "it belongs to another snapshot", error);
    return 0;
}

static int read_trailer(const struct hti_snapread *reader, uint64_t *offset, const struct hti_snap_footer *footer,
                        struct htstore_error *error)
{
    uint8_t bytes[HTI_SNAP_TRAILER_SIZE];
    const uint64_t at = *offset;
    size_t got;
    int rc = hti_snap_source_fetch(&reader->source, offset, bytes, sizeof bytes, "the trailer", error);

    rc = rc ? rc : check_trailer(reader, at, bytes, footer, error);
    rc = rc ? rc : hti_snap_source_read(&reader->source, *offset, bytes, 1, &got, error);
    if (rc == 0 && got != 0)
        rc = hti_snap_source_fail(&reader->source, "the end", *offset, "something follows it", error);
    return rc;
}

/* From the first list to the last byte; `start` holds the first START_SIZE bytes. `lists` is released by the caller. */
static int read_end(struct hti_snapread *reader, uint64_t *offset, uint8_t *start, struct lists *lists,
                    struct htstore_error *error)
{
    int rc = read_lists(reader, offset, start, lists, error);

    rc = rc ? rc : read_footer(reader, offset, start, &reader->footer, error);
    return rc ? rc : read_trailer(reader, offset, &reader->footer, error);
}

/* --- blocks in order --- */

/* No more blocks: finish the tally and compare it with the end of the file. */
static int finish(struct hti_snapread *reader, uint8_t *start, struct htstore_error *error)
{
    const uint64_t at = reader->offset - START_SIZE;
    struct lists lists = { .index = NULL };
    char label[HTI_SNAP_LABEL_SIZE];
    const char *wrong = NULL;
    int rc = hti_snap_tally_finish(&reader->tally, &wrong);

    if (rc != 0) {
        hti_snap_graph_label(&reader->source.graph, reader->tally.node, label);
        return rc == HTSTORE_ENOMEM ? hti_snap_source_fail_memory(&reader->source, error)
                                    : hti_snap_source_fail(&reader->source, label, at, wrong, error);
    }
    hti_buf_init(&lists.list);
    rc = read_end(reader, &reader->offset, start, &lists, error);
    if (rc == 0 && !check_footer(reader, &reader->tally, &lists, &reader->footer))
        rc = hti_snap_source_fail(&reader->source, "the footer", at, "it does not tell what the file holds", error);
    hti_buf_release(&lists.list);
    reader->has_footer = reader->has_footer || rc == 0;
    return rc ? rc : 1;
}

static int fetch_frame(const struct hti_snapread *reader, uint64_t *offset, const struct hti_snap_block *block,
                       struct hti_buf *frame, struct htstore_error *error)
{
    struct htstore_error inner = { .code = 0 };
    const int rc = hti_snap_source_fetch_buf(&reader->source, offset, frame, block->stored_size, "the frame", &inner);

    if (rc == HTSTORE_ECORRUPT)
        return hti_snapread_fail_block(reader, block, "the file ends in it: it was cut short", error);
    hti_error_copy(rc ? error : NULL, &inner);
    if (rc == 0 && hti_snap_hash(frame->data, frame->size) != block->stored_hash)
        return hti_snapread_fail_block(reader, block, "checksum differs", error);
    return rc;
}

static int read_next(struct hti_snapread *reader, struct hti_snap_block *block, struct hti_buf *frame,
                     struct htstore_error *error)
{
    const uint64_t at = reader->offset;
    uint8_t start[START_SIZE];
    const char *wrong = NULL;
    int rc;

    rc = hti_snap_source_fetch(&reader->source, &reader->offset, start, sizeof start, "a block", error);
    if (rc != 0)
        return rc;
    if (hti_load_le32(start) == HTI_SNAP_MAGIC_LIST)
        return finish(reader, start, error);
    if (!hti_snap_decode_block(start, reader->source.binding, block))
        return hti_snap_source_fail(&reader->source, "the head of a block", at, "checksum differs", error);
    block->offset = at;
    rc = hti_snap_tally_add(&reader->tally, block, hti_snap_head_checksum(start), &wrong);
    if (rc != 0)
        return rc == HTSTORE_ENOMEM ? hti_snap_source_fail_memory(&reader->source, error)
                                    : hti_snapread_fail_block(reader, block, wrong, error);
    return fetch_frame(reader, &reader->offset, block, frame, error);
}

int hti_snapread_next(struct hti_snapread *reader, struct hti_snap_block *block, struct hti_buf *frame,
                      struct htstore_error *error)
{
    if (reader->status == 0)
        reader->status = read_next(reader, block, frame, &reader->error);
    if (reader->status < 0)
        hti_error_copy(error, &reader->error);
    return reader->status;
}

int hti_snapread_verify(const struct hti_snapread *reader, const struct hti_snap_block *block, const void *plain,
                        size_t size, struct htstore_error *error)
{
    if (size != block->plain_size || hti_snap_hash(plain, size) != block->plain_hash)
        return hti_snapread_fail_block(reader, block, "checksum of its contents differs", error);
    return 0;
}

/* --- blocks by number --- */

static uint64_t index_count(const struct hti_snapread *reader)
{
    return reader->index.size / HTI_SNAP_ENTRY_SIZE;
}

static void get_entry(const struct hti_snapread *reader, uint64_t i, struct hti_snap_block_entry *entry)
{
    hti_snap_decode_block_entry(reader->index.data + i * HTI_SNAP_ENTRY_SIZE, entry);
}

/* Go over the index as if its blocks were read. */
static int tally_index(const struct hti_snapread *reader, struct hti_snap_tally *tally, struct htstore_error *error)
{
    struct hti_snap_block_entry entry = { .offset = reader->data_offset };
    const char *wrong = NULL;
    int rc = 0;

    for (uint64_t i = 0; rc == 0 && i < index_count(reader); i++) {
        get_entry(reader, i, &entry);
        rc = hti_snap_tally_add_entry(tally, &entry, &wrong);
    }
    rc = rc ? rc : hti_snap_tally_finish(tally, &wrong);
    if (rc == HTSTORE_ENOMEM)
        return hti_snap_source_fail_memory(&reader->source, error);
    return rc ? hti_snap_source_fail(&reader->source, "the index", tally->offset, wrong, error) : 0;
}

static int find_lists(const struct hti_snapread *reader, uint64_t *offset, struct htstore_error *error)
{
    uint8_t bytes[HTI_SNAP_TRAILER_SIZE];
    struct hti_snap_trailer trailer;
    uint64_t at = reader->source.file_size - HTI_SNAP_TRAILER_SIZE;
    int rc;

    if (reader->source.file_size < HTI_SNAP_TRAILER_SIZE)
        at = 0;
    const uint64_t start = at;
    rc = hti_snap_source_fetch(&reader->source, &at, bytes, sizeof bytes, "the trailer", error);
    if (rc != 0)
        return rc;
    if (!hti_snap_decode_trailer(bytes, &trailer) || trailer.footer_offset > start ||
        trailer.footer_size != start - trailer.footer_offset || trailer.footer_offset < reader->data_offset)
        return hti_snap_source_fail(&reader->source, "the trailer", start,
                                    "checksum differs, or the file was cut short", error);
    *offset = trailer.footer_offset;
    return 0;
}

static int load_index(struct hti_snapread *reader, struct hti_snap_tally *tally, struct lists *lists,
                      struct htstore_error *error)
{
    uint8_t start[START_SIZE];
    uint64_t offset, footer_at;
    int rc = find_lists(reader, &offset, error);

    footer_at = offset;
    rc = rc ? rc : hti_snap_source_fetch(&reader->source, &offset, start, sizeof start, "the index", error);
    rc = rc ? rc : read_end(reader, &offset, start, lists, error);
    rc = rc ? rc : tally_index(reader, tally, error);
    if (rc == 0 && !check_footer(reader, tally, lists, &reader->footer))
        rc = hti_snap_source_fail(&reader->source, "the footer", footer_at, "it does not tell what the file holds",
                                  error);
    return rc;
}

int hti_snapread_load_index(struct hti_snapread *reader, struct htstore_error *error)
{
    struct lists lists = { .index = &reader->index };
    struct hti_snap_tally tally;
    int rc;

    if (reader->has_index)
        return 0;
    if (!reader->source.seekable)
        return hti_fail(error, HTSTORE_EINVAL, "%s: the index of a pipe cannot be loaded", reader->source.path);
    hti_buf_init(&lists.list);
    reader->index.size = 0;
    hti_snap_tally_init(&tally, &reader->source.graph, reader->data_offset, reader->source.header.graph_size, false);
    rc = load_index(reader, &tally, &lists, error);
    reader->has_index = rc == 0;
    reader->has_footer = reader->has_footer || rc == 0;
    hti_snap_tally_release(&tally);
    hti_buf_release(&lists.list);
    return rc;
}

/* The first entry of that node or a later one. */
static uint64_t lower_bound(const struct hti_snapread *reader, uint32_t node)
{
    uint64_t low = 0, high = index_count(reader);
    struct hti_snap_block_entry entry;

    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        get_entry(reader, middle, &entry);
        if (entry.node < node)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void hti_snapread_node_blocks(const struct hti_snapread *reader, uint32_t node, uint64_t *first, uint64_t *n)
{
    assert(reader->has_index);
    *first = lower_bound(reader, node);
    *n = lower_bound(reader, node + 1) - *first;
}

uint64_t hti_snapread_blocks_size(const struct hti_snapread *reader, uint64_t first, uint64_t n)
{
    struct hti_snap_block_entry entry;
    uint64_t size = 0;

    for (uint64_t i = first; i < first + n; i++) {
        get_entry(reader, i, &entry);
        size += HTI_SNAP_BLOCK_HEAD_SIZE + entry.stored_size;
    }
    return size;
}

int hti_snapread_block(const struct hti_snapread *reader, uint64_t index, struct hti_snap_block *block,
                       struct hti_buf *frame, struct htstore_error *error)
{
    uint8_t head[HTI_SNAP_BLOCK_HEAD_SIZE];
    struct hti_snap_block_entry entry;
    uint64_t offset;
    int rc;

    assert(reader->has_index && index < index_count(reader));
    get_entry(reader, index, &entry);
    offset = entry.offset;
    rc = hti_snap_source_fetch(&reader->source, &offset, head, sizeof head, "the head of a block", error);
    if (rc != 0)
        return rc;
    if (!hti_snap_decode_block(head, reader->source.binding, block) ||
        hti_snap_head_checksum(head) != entry.head_checksum || block->number != index - lower_bound(reader, entry.node))
        return hti_snap_source_fail(&reader->source, "the head of a block", entry.offset, "checksum differs", error);
    block->offset = entry.offset;
    return fetch_frame(reader, &offset, block, frame, error);
}
