/*
 * snapformat: the skippable frames of a snapshot file as bytes. Layout: docs/snapshot-format.md.
 *
 * All decoders look at exactly the size of their frame and believe nothing without its checksum, which is bound to the
 * snapshot id by its seed.
 */
#ifndef HTI_SNAPFORMAT_H
#define HTI_SNAPFORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "hash.h"

#define HTI_SNAP_VERSION 1u
#define HTI_SNAP_MAX_PLAIN (9u << 20) /* bytes of the contents of one Zstandard frame */
#define HTI_SNAP_MAX_STORED (HTI_SNAP_MAX_PLAIN + (64u << 10)) /* bytes of the frame itself */
#define HTI_SNAP_MAX_BLOCK_ROWS 65536u
#define HTI_SNAP_MAX_BLOCKS (UINT64_C(1) << 32) /* of a file */
#define HTI_SNAP_GRAPH_PART (8u << 20) /* plain bytes of each part of the graph but the last */

/* Sizes of the frames, magic number and size field included. */
#define HTI_SNAP_HEADER_SIZE 96u
#define HTI_SNAP_GRAPH_HEAD_SIZE 64u
#define HTI_SNAP_BLOCK_HEAD_SIZE 64u
#define HTI_SNAP_LIST_OVERHEAD 32u /* of a list frame without its entries */
#define HTI_SNAP_FOOTER_SIZE 128u
#define HTI_SNAP_TRAILER_SIZE 64u
#define HTI_SNAP_MAX_HEADER_SIZE 4096u /* of any version */

/* Magic numbers of the skippable frames. */
#define HTI_SNAP_MAGIC_HEADER 0x184D2A58u
#define HTI_SNAP_MAGIC_GRAPH 0x184D2A59u
#define HTI_SNAP_MAGIC_BLOCK 0x184D2A5Au
#define HTI_SNAP_MAGIC_LIST 0x184D2A5Bu
#define HTI_SNAP_MAGIC_FOOTER 0x184D2A5Cu
#define HTI_SNAP_MAGIC_TRAILER 0x184D2A5Du

struct hti_snap_header {
    uint32_t version;
    uint32_t flags; /* the caller's; kept, not interpreted */
    uint64_t incompatible; /* features */
    uint64_t compatible;
    uint64_t lsn; /* of the saved state */
    struct hti_hash128 id;
    uint64_t graph_size; /* bytes of the plain graph record */
    uint32_t n_nodes;
    uint32_t n_parts; /* of the graph record */
};

struct hti_snap_part { /* head of a part of the graph record */
    struct hti_hash128 id;
    uint32_t number; /* from 0 */
    uint32_t n_parts;
    uint32_t plain_size;
    uint32_t stored_size;
    uint64_t plain_hash; /* XXH3-64 */
    uint64_t stored_hash; /* XXH3-64 of the Zstandard frame */
};

/* The first byte of the payload has the same value: block.h, piece.h. */
enum hti_snap_block_kind {
    HTI_SNAP_ROWS = 1, /* n_rows >= 1 whole rows */
    HTI_SNAP_PIECE = 2 /* a part of a row that is larger than a block: n_rows is 1 in its last piece, else 0 */
};

/* Head of a block: a Zstandard frame with rows of one node. */
struct hti_snap_block {
    uint32_t kind; /* enum hti_snap_block_kind */
    uint32_t node;
    uint32_t number; /* within the node, from 0 */
    uint32_t n_rows;
    uint32_t plain_size;
    uint32_t stored_size;
    uint64_t plain_hash; /* hti_snap_hash() of the plain payload */
    uint64_t stored_hash; /* of the Zstandard frame; the writer sets it */
    /* not stored */
    uint64_t offset; /* of the head in the file; set by writer and reader */
};

/* Lists before the footer: entries of 32 bytes. */
#define HTI_SNAP_ENTRY_SIZE 32u
#define HTI_SNAP_MAX_LIST_ENTRIES 32768u
enum hti_snap_list_kind { HTI_SNAP_LIST_BLOCKS = 1, HTI_SNAP_LIST_NODES = 2 };

struct hti_snap_block_entry {
    uint64_t offset; /* of the head */
    uint32_t node;
    uint32_t n_rows;
    uint32_t plain_size;
    uint32_t stored_size;
    uint64_t head_checksum;
};

struct hti_snap_node_entry {
    uint64_t n_blocks;
    uint64_t n_rows;
    struct hti_hash128 digest;
};

struct hti_snap_footer {
    uint64_t lsn; /* this and the next four: as in the header */
    uint32_t version;
    uint32_t flags;
    uint64_t incompatible;
    uint64_t compatible;
    uint64_t graph_size;
    uint64_t n_nodes;
    uint64_t n_blocks;
    uint64_t n_rows;
    uint64_t plain_size; /* of all Zstandard frames: what `zstd -dc` yields */
    uint64_t lists_offset; /* of the first list */
    uint64_t blocks_hash; /* chain over the entries of all blocks, in order */
    uint64_t nodes_hash; /* chain over the entries of all nodes */
    uint64_t file_size;
};

struct hti_snap_trailer {
    uint64_t footer_offset; /* of the lists and the footer, which end where the trailer starts */
    uint64_t footer_size;
    struct hti_hash128 id;
};

/* XXH3-64, seed 0: of plain and stored bytes. */
uint64_t hti_snap_hash(const void *data, size_t size);
/* The seed of all checksums of one snapshot: XXH3-64 of its id. */
uint64_t hti_snap_binding(struct hti_hash128 id);

void hti_snap_encode_header(const struct hti_snap_header *header, uint8_t out[HTI_SNAP_HEADER_SIZE]);
void hti_snap_encode_part(const struct hti_snap_part *part, uint8_t out[HTI_SNAP_GRAPH_HEAD_SIZE]);
/* Returns the checksum of the head. */
uint64_t hti_snap_encode_block(const struct hti_snap_block *block, uint64_t binding,
                               uint8_t out[HTI_SNAP_BLOCK_HEAD_SIZE]);
void hti_snap_encode_footer(const struct hti_snap_footer *footer, uint64_t binding, uint8_t out[HTI_SNAP_FOOTER_SIZE]);
void hti_snap_encode_trailer(const struct hti_snap_trailer *trailer, uint8_t out[HTI_SNAP_TRAILER_SIZE]);
void hti_snap_encode_block_entry(const struct hti_snap_block_entry *entry, uint8_t out[HTI_SNAP_ENTRY_SIZE]);
void hti_snap_encode_node_entry(const struct hti_snap_node_entry *entry, uint8_t out[HTI_SNAP_ENTRY_SIZE]);
/*
 * Append a list frame: 1 to HTI_SNAP_MAX_LIST_ENTRIES entries, the first of them number `first` of all. HTSTORE_ENOMEM.
 */
int hti_snap_encode_list(enum hti_snap_list_kind kind, uint64_t first, const uint8_t *entries, uint32_t n,
                         uint64_t binding, struct hti_buf *out);
/* The next link of a chain of entries; starts from 0. */
uint64_t hti_snap_chain(uint64_t chain, const uint8_t entry[HTI_SNAP_ENTRY_SIZE]);

/*
 * The size of the header frame, from its first 16 bytes. 0; HTSTORE_EFORMAT (no magic), HTSTORE_ECORRUPT (out of
 * range).
 */
int hti_snap_header_size(const uint8_t start[16], uint32_t *size);
/*
 * Decode a header of hti_snap_header_size() bytes. 0; HTSTORE_ECORRUPT, HTSTORE_EVERSION (intact, but
 * of a newer version or with features unknown here: only `version` and the masks are set).
 */
int hti_snap_decode_header(const uint8_t *data, uint32_t size, struct hti_snap_header *header);
/* These return false for anything that is not intact or breaks a limit of the format. */
bool hti_snap_decode_part(const uint8_t data[HTI_SNAP_GRAPH_HEAD_SIZE], struct hti_snap_part *part);
bool hti_snap_decode_block(const uint8_t data[HTI_SNAP_BLOCK_HEAD_SIZE], uint64_t binding,
                           struct hti_snap_block *block);
bool hti_snap_decode_footer(const uint8_t data[HTI_SNAP_FOOTER_SIZE], uint64_t binding, struct hti_snap_footer *footer);
bool hti_snap_decode_trailer(const uint8_t data[HTI_SNAP_TRAILER_SIZE], struct hti_snap_trailer *trailer);
void hti_snap_decode_block_entry(const uint8_t data[HTI_SNAP_ENTRY_SIZE], struct hti_snap_block_entry *entry);
void hti_snap_decode_node_entry(const uint8_t data[HTI_SNAP_ENTRY_SIZE], struct hti_snap_node_entry *entry);

/* A list: its size from its first 24 bytes (0 if it is none or out of range), then the whole of it. */
struct hti_snap_list {
    uint32_t kind;
    uint32_t n_entries;
    uint64_t first;
    const uint8_t *entries; /* borrowed */
};
uint32_t hti_snap_list_size(const uint8_t start[24]);
bool hti_snap_decode_list(const uint8_t *data, uint32_t size, uint64_t binding, struct hti_snap_list *list);

/* Are kind, node, row count and sizes in range? */
bool hti_snap_block_is_valid(const struct hti_snap_block *block);
/* The checksum that an intact block head has. */
uint64_t hti_snap_head_checksum(const uint8_t data[HTI_SNAP_BLOCK_HEAD_SIZE]);

#endif
