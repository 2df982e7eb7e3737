/* snapformat: hides where the fields of the skippable frames of a snapshot are, and what may stand in them. */
#include "snapformat.h"

#include <assert.h>
#include <string.h>

#include "bytes.h"
#include "snapgraph.h"

static const uint8_t HEADER_MAGIC[8] = { 'H', 'T', 'S', 'N', 'A', 'P', '\r', '\n' };
static const uint8_t TRAILER_MAGIC[8] = { 'H', 'T', 'S', 'N', 'A', 'P', 'E', '\n' };

#define SKIPPABLE_HEAD_SIZE 8u
#define MIN_HEADER_SIZE 48u /* what every version has: up to the masks, and the checksum */

uint64_t hti_snap_hash(const void *data, size_t size)
{
    return hti_hash64(data, size, 0);
}

static void store_hash128(uint8_t *out, struct hti_hash128 hash)
{
    hti_store_le64(out, hash.low);
    hti_store_le64(out + 8, hash.high);
}

static struct hti_hash128 load_hash128(const uint8_t *data)
{
    return (struct hti_hash128){ hti_load_le64(data), hti_load_le64(data + 8) };
}

uint64_t hti_snap_binding(struct hti_hash128 id)
{
    uint8_t bytes[16];

    store_hash128(bytes, id);
    return hti_hash64(bytes, sizeof bytes, 0);
}

static void begin_frame(uint8_t *out, uint32_t magic, uint32_t size)
{
    memset(out, 0, size);
    hti_store_le32(out, magic);
    hti_store_le32(out + 4, size - SKIPPABLE_HEAD_SIZE);
}

static bool is_frame(const uint8_t *data, uint32_t magic, uint32_t size)
{
    return hti_load_le32(data) == magic && hti_load_le32(data + 4) == size - SKIPPABLE_HEAD_SIZE;
}

/* The checksum of all bytes before `at`, where it is stored. */
static uint64_t seal(uint8_t *frame, size_t at, uint64_t seed)
{
    const uint64_t sum = hti_hash64(frame, at, seed);

    hti_store_le64(frame + at, sum);
    return sum;
}

static bool is_sealed(const uint8_t *frame, size_t at, uint64_t seed)
{
    return hti_load_le64(frame + at) == hti_hash64(frame, at, seed);
}

static bool are_sizes_valid(uint32_t plain_size, uint32_t stored_size)
{
    return plain_size >= 1 && plain_size <= HTI_SNAP_MAX_PLAIN && stored_size >= 1 &&
           stored_size <= HTI_SNAP_MAX_STORED;
}

/* --- header --- */

void hti_snap_encode_header(const struct hti_snap_header *header, uint8_t out[HTI_SNAP_HEADER_SIZE])
{
    begin_frame(out, HTI_SNAP_MAGIC_HEADER, HTI_SNAP_HEADER_SIZE);
    memcpy(out + 8, HEADER_MAGIC, sizeof HEADER_MAGIC);
    hti_store_le32(out + 16, header->version);
    hti_store_le32(out + 20, header->flags);
    hti_store_le64(out + 24, header->incompatible);
    hti_store_le64(out + 32, header->compatible);
    hti_store_le64(out + 40, header->lsn);
    store_hash128(out + 48, header->id);
    hti_store_le64(out + 64, header->graph_size);
    hti_store_le32(out + 72, header->n_nodes);
    hti_store_le32(out + 76, header->n_parts);
    seal(out, 88, 0);
}

int hti_snap_header_size(const uint8_t start[16], uint32_t *size)
{
    const uint32_t content = hti_load_le32(start + 4);

    if (hti_load_le32(start) != HTI_SNAP_MAGIC_HEADER || memcmp(start + 8, HEADER_MAGIC, sizeof HEADER_MAGIC) != 0)
        return HTSTORE_EFORMAT;
    if (content < MIN_HEADER_SIZE - SKIPPABLE_HEAD_SIZE || content > HTI_SNAP_MAX_HEADER_SIZE - SKIPPABLE_HEAD_SIZE)
        return HTSTORE_ECORRUPT;
    *size = content + SKIPPABLE_HEAD_SIZE;
    return 0;
}

int hti_snap_decode_header(const uint8_t *data, uint32_t size, struct hti_snap_header *header)
{
    assert(size >= MIN_HEADER_SIZE);
    if (!is_sealed(data, size - 8, 0))
        return HTSTORE_ECORRUPT;
    memset(header, 0, sizeof *header);
    header->version = hti_load_le32(data + 16);
    header->flags = hti_load_le32(data + 20);
    header->incompatible = hti_load_le64(data + 24);
    header->compatible = hti_load_le64(data + 32);
    if (header->version != HTI_SNAP_VERSION || header->incompatible != 0)
        return HTSTORE_EVERSION;
    if (size != HTI_SNAP_HEADER_SIZE)
        return HTSTORE_ECORRUPT;
    header->lsn = hti_load_le64(data + 40);
    header->id = load_hash128(data + 48);
    header->graph_size = hti_load_le64(data + 64);
    header->n_nodes = hti_load_le32(data + 72);
    header->n_parts = hti_load_le32(data + 76);
    if (header->graph_size == 0 || header->graph_size > HTI_SNAP_MAX_GRAPH || header->n_nodes == 0 ||
        header->n_nodes > HTI_SNAP_MAX_NODES || header->n_parts != (header->graph_size - 1) / HTI_SNAP_GRAPH_PART + 1)
        return HTSTORE_ECORRUPT;
    return 0;
}

/* --- heads --- */

void hti_snap_encode_part(const struct hti_snap_part *part, uint8_t out[HTI_SNAP_GRAPH_HEAD_SIZE])
{
    begin_frame(out, HTI_SNAP_MAGIC_GRAPH, HTI_SNAP_GRAPH_HEAD_SIZE);
    store_hash128(out + 8, part->id);
    hti_store_le32(out + 24, part->number);
    hti_store_le32(out + 28, part->n_parts);
    hti_store_le32(out + 32, part->plain_size);
    hti_store_le32(out + 36, part->stored_size);
    hti_store_le64(out + 40, part->plain_hash);
    hti_store_le64(out + 48, part->stored_hash);
    seal(out, 56, hti_snap_binding(part->id));
}

bool hti_snap_decode_part(const uint8_t data[HTI_SNAP_GRAPH_HEAD_SIZE], struct hti_snap_part *part)
{
    *part = (struct hti_snap_part){ .id = load_hash128(data + 8),
                                    .number = hti_load_le32(data + 24),
                                    .n_parts = hti_load_le32(data + 28),
                                    .plain_size = hti_load_le32(data + 32),
                                    .stored_size = hti_load_le32(data + 36),
                                    .plain_hash = hti_load_le64(data + 40),
                                    .stored_hash = hti_load_le64(data + 48) };
    return is_frame(data, HTI_SNAP_MAGIC_GRAPH, HTI_SNAP_GRAPH_HEAD_SIZE) &&
           is_sealed(data, 56, hti_snap_binding(part->id)) && part->number < part->n_parts &&
           part->n_parts <= HTI_SNAP_MAX_GRAPH / HTI_SNAP_GRAPH_PART && part->plain_size <= HTI_SNAP_GRAPH_PART &&
           are_sizes_valid(part->plain_size, part->stored_size);
}

uint64_t hti_snap_encode_block(const struct hti_snap_block *block, uint64_t binding,
                               uint8_t out[HTI_SNAP_BLOCK_HEAD_SIZE])
{
    begin_frame(out, HTI_SNAP_MAGIC_BLOCK, HTI_SNAP_BLOCK_HEAD_SIZE);
    hti_store_le32(out + 8, block->kind);
    hti_store_le32(out + 12, block->node);
    hti_store_le32(out + 16, block->number);
    hti_store_le32(out + 20, block->n_rows);
    hti_store_le32(out + 24, block->plain_size);
    hti_store_le32(out + 28, block->stored_size);
    hti_store_le64(out + 32, block->plain_hash);
    hti_store_le64(out + 40, block->stored_hash);
    return seal(out, 56, binding);
}

bool hti_snap_block_is_valid(const struct hti_snap_block *block)
{
    if (block->node >= HTI_SNAP_MAX_NODES || !are_sizes_valid(block->plain_size, block->stored_size))
        return false;
    if (block->kind == HTI_SNAP_ROWS)
        return block->n_rows >= 1 && block->n_rows <= HTI_SNAP_MAX_BLOCK_ROWS;
    return block->kind == HTI_SNAP_PIECE && block->n_rows <= 1;
}

bool hti_snap_decode_block(const uint8_t data[HTI_SNAP_BLOCK_HEAD_SIZE], uint64_t binding, struct hti_snap_block *block)
{
    *block = (struct hti_snap_block){ .kind = hti_load_le32(data + 8),
                                      .node = hti_load_le32(data + 12),
                                      .number = hti_load_le32(data + 16),
                                      .n_rows = hti_load_le32(data + 20),
                                      .plain_size = hti_load_le32(data + 24),
                                      .stored_size = hti_load_le32(data + 28),
                                      .plain_hash = hti_load_le64(data + 32),
                                      .stored_hash = hti_load_le64(data + 40) };
    return is_frame(data, HTI_SNAP_MAGIC_BLOCK, HTI_SNAP_BLOCK_HEAD_SIZE) && is_sealed(data, 56, binding) &&
           hti_snap_block_is_valid(block);
}

uint64_t hti_snap_head_checksum(const uint8_t data[HTI_SNAP_BLOCK_HEAD_SIZE])
{
    return hti_load_le64(data + 56);
}

/* --- lists --- */

void hti_snap_encode_block_entry(const struct hti_snap_block_entry *entry, uint8_t out[HTI_SNAP_ENTRY_SIZE])
{
    hti_store_le64(out, entry->offset);
    hti_store_le32(out + 8, entry->node);
    hti_store_le32(out + 12, entry->n_rows);
    hti_store_le32(out + 16, entry->plain_size);
    hti_store_le32(out + 20, entry->stored_size);
    hti_store_le64(out + 24, entry->head_checksum);
}

void hti_snap_decode_block_entry(const uint8_t data[HTI_SNAP_ENTRY_SIZE], struct hti_snap_block_entry *entry)
{
    entry->offset = hti_load_le64(data);
    entry->node = hti_load_le32(data + 8);
    entry->n_rows = hti_load_le32(data + 12);
    entry->plain_size = hti_load_le32(data + 16);
    entry->stored_size = hti_load_le32(data + 20);
    entry->head_checksum = hti_load_le64(data + 24);
}

void hti_snap_encode_node_entry(const struct hti_snap_node_entry *entry, uint8_t out[HTI_SNAP_ENTRY_SIZE])
{
    hti_store_le64(out, entry->n_blocks);
    hti_store_le64(out + 8, entry->n_rows);
    store_hash128(out + 16, entry->digest);
}

void hti_snap_decode_node_entry(const uint8_t data[HTI_SNAP_ENTRY_SIZE], struct hti_snap_node_entry *entry)
{
    entry->n_blocks = hti_load_le64(data);
    entry->n_rows = hti_load_le64(data + 8);
    entry->digest = load_hash128(data + 16);
}

uint64_t hti_snap_chain(uint64_t chain, const uint8_t entry[HTI_SNAP_ENTRY_SIZE])
{
    return hti_hash64(entry, HTI_SNAP_ENTRY_SIZE, chain);
}

int hti_snap_encode_list(enum hti_snap_list_kind kind, uint64_t first, const uint8_t *entries, uint32_t n,
                         uint64_t binding, struct hti_buf *out)
{
    const size_t entries_size = (size_t)n * HTI_SNAP_ENTRY_SIZE, size = entries_size + HTI_SNAP_LIST_OVERHEAD;

    assert(n >= 1 && n <= HTI_SNAP_MAX_LIST_ENTRIES);
    if (hti_buf_reserve(out, size) != 0)
        return HTSTORE_ENOMEM;
    uint8_t *frame = out->data + out->size;
    begin_frame(frame, HTI_SNAP_MAGIC_LIST, (uint32_t)size);
    hti_store_le32(frame + 8, (uint32_t)kind);
    hti_store_le32(frame + 12, n);
    hti_store_le64(frame + 16, first);
    memcpy(frame + 24, entries, entries_size);
    seal(frame, size - 8, binding);
    out->size += size;
    return 0;
}

uint32_t hti_snap_list_size(const uint8_t start[24])
{
    const uint32_t n = hti_load_le32(start + 12);
    const uint32_t size = n * HTI_SNAP_ENTRY_SIZE + HTI_SNAP_LIST_OVERHEAD;

    if (n < 1 || n > HTI_SNAP_MAX_LIST_ENTRIES || !is_frame(start, HTI_SNAP_MAGIC_LIST, size))
        return 0;
    return size;
}

bool hti_snap_decode_list(const uint8_t *data, uint32_t size, uint64_t binding, struct hti_snap_list *list)
{
    *list = (struct hti_snap_list){ .kind = hti_load_le32(data + 8),
                                    .n_entries = hti_load_le32(data + 12),
                                    .first = hti_load_le64(data + 16),
                                    .entries = data + 24 };
    return hti_snap_list_size(data) == size && is_sealed(data, size - 8, binding) &&
           (list->kind == HTI_SNAP_LIST_BLOCKS || list->kind == HTI_SNAP_LIST_NODES);
}

/* --- footer and trailer --- */

void hti_snap_encode_footer(const struct hti_snap_footer *footer, uint64_t binding, uint8_t out[HTI_SNAP_FOOTER_SIZE])
{
    begin_frame(out, HTI_SNAP_MAGIC_FOOTER, HTI_SNAP_FOOTER_SIZE);
    hti_store_le64(out + 8, footer->lsn);
    hti_store_le32(out + 16, footer->version);
    hti_store_le32(out + 20, footer->flags);
    hti_store_le64(out + 24, footer->incompatible);
    hti_store_le64(out + 32, footer->compatible);
    hti_store_le64(out + 40, footer->graph_size);
    hti_store_le64(out + 48, footer->n_nodes);
    hti_store_le64(out + 56, footer->n_blocks);
    hti_store_le64(out + 64, footer->n_rows);
    hti_store_le64(out + 72, footer->plain_size);
    hti_store_le64(out + 80, footer->lists_offset);
    hti_store_le64(out + 88, footer->blocks_hash);
    hti_store_le64(out + 96, footer->nodes_hash);
    hti_store_le64(out + 104, footer->file_size);
    seal(out, 120, binding);
}

bool hti_snap_decode_footer(const uint8_t data[HTI_SNAP_FOOTER_SIZE], uint64_t binding, struct hti_snap_footer *footer)
{
    *footer = (struct hti_snap_footer){ .lsn = hti_load_le64(data + 8),
                                        .version = hti_load_le32(data + 16),
                                        .flags = hti_load_le32(data + 20),
                                        .incompatible = hti_load_le64(data + 24),
                                        .compatible = hti_load_le64(data + 32),
                                        .graph_size = hti_load_le64(data + 40),
                                        .n_nodes = hti_load_le64(data + 48),
                                        .n_blocks = hti_load_le64(data + 56),
                                        .n_rows = hti_load_le64(data + 64),
                                        .plain_size = hti_load_le64(data + 72),
                                        .lists_offset = hti_load_le64(data + 80),
                                        .blocks_hash = hti_load_le64(data + 88),
                                        .nodes_hash = hti_load_le64(data + 96),
                                        .file_size = hti_load_le64(data + 104) };
    return is_frame(data, HTI_SNAP_MAGIC_FOOTER, HTI_SNAP_FOOTER_SIZE) && is_sealed(data, 120, binding) &&
           footer->n_nodes <= HTI_SNAP_MAX_NODES && footer->n_blocks <= HTI_SNAP_MAX_BLOCKS;
}

void hti_snap_encode_trailer(const struct hti_snap_trailer *trailer, uint8_t out[HTI_SNAP_TRAILER_SIZE])
{
    begin_frame(out, HTI_SNAP_MAGIC_TRAILER, HTI_SNAP_TRAILER_SIZE);
    hti_store_le64(out + 8, trailer->footer_offset);
    hti_store_le64(out + 16, trailer->footer_size);
    store_hash128(out + 24, trailer->id);
    seal(out, 48, hti_snap_binding(trailer->id));
    memcpy(out + 56, TRAILER_MAGIC, sizeof TRAILER_MAGIC);
}

bool hti_snap_decode_trailer(const uint8_t data[HTI_SNAP_TRAILER_SIZE], struct hti_snap_trailer *trailer)
{
    *trailer = (struct hti_snap_trailer){ .footer_offset = hti_load_le64(data + 8),
                                          .footer_size = hti_load_le64(data + 16),
                                          .id = load_hash128(data + 24) };
    return is_frame(data, HTI_SNAP_MAGIC_TRAILER, HTI_SNAP_TRAILER_SIZE) &&
           is_sealed(data, 48, hti_snap_binding(trailer->id)) &&
           memcmp(data + 56, TRAILER_MAGIC, sizeof TRAILER_MAGIC) == 0;
}
