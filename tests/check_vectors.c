/*
 * Tests of the pages of formats in docs/: every block that is fenced as ```vector NAME holds the bytes that the library writes,
 * in hexadecimal, with comments behind #. A format that changes, or a page that lies, fails here.
 */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "block.h"
#include "bytes.h"
#include "catalog.h"
#include "check_util.h"
#include "managerstate.h"
#include "piece.h"
#include "record.h"
#include "segment.h"
#include "snapformat.h"
#include "snapgraph.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define MAX_VECTOR 4096u
#define SEGMENT_NUMBER 42u
#define TABLE_ID 5u
#define LONG_KEY_SIZE 491u

struct vector {
    uint8_t bytes[MAX_VECTOR];
    size_t size;
};

static const char *const pages[] = { "checkpoint-folder.md", "journal-format.md", "snapshot-blocks.md",
                                     "snapshot-format.md", "store-format.md" };
static const uint8_t store_id[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

static void add(struct vector *v, const void *data, size_t size)
{
    ck_assert_uint_le(v->size + size, MAX_VECTOR);
    memcpy(v->bytes + v->size, data, size);
    v->size += size;
}

static void set_buf(struct vector *v, struct hti_buf *buf)
{
    v->size = 0;
    add(v, buf->data, buf->size);
    hti_buf_release(buf);
}

/* --- what the pages describe --- */

/* The parts of the record: each operation alone, so that it can be shown alone. */
static void add_op(struct hti_record *record, int which)
{
    static const int64_t numbers[] = { 1, -1 }, values[] = { 42, 43 };
    static const struct htstore_bytes words[] = { { "hello", 5 }, { "", 0 } }, texts[] = { { "world", 5 }, { "x", 1 } };
    struct hti_row_type numeric, textual;

    hti_row_type_init(&numeric, HTSTORE_INT64, HTSTORE_INT64, 1);
    hti_row_type_init(&textual, HTSTORE_STRING, HTSTORE_STRING, 1);
    const struct hti_op_source sources[] = {
        { TABLE_ID, &numeric, HTI_OP_PUT, 2, numbers, values, false },
        { TABLE_ID + 1, &textual, HTI_OP_PUT, 2, words, texts, false },
        { TABLE_ID + 1, &textual, HTI_OP_REMOVE, 1, words, NULL, false },
        { TABLE_ID, &numeric, HTI_OP_CLEAR, 0, NULL, NULL, false },
    };
    ck_assert_int_eq(hti_record_add(record, &sources[which], NULL), 0);
}

static struct hti_record *whole_record(void)
{
    struct hti_record *record = hti_record_new();

    ck_assert_ptr_nonnull(record);
    for (int i = 0; i < 4; i++)
        add_op(record, i);
    hti_record_seal(record);
    hti_record_stamp(record, 7, 5, hti_segment_binding(store_id, SEGMENT_NUMBER));
    return record;
}

static void make_op(struct vector *v, int which)
{
    struct hti_record *record = hti_record_new();

    ck_assert_ptr_nonnull(record);
    add_op(record, which);
    add(v, record->buf.data + HTI_RECORD_HEADER_SIZE, record->buf.size - HTI_RECORD_HEADER_SIZE);
    hti_record_free(record);
}

static void make_record_header(struct vector *v, int which)
{
    struct hti_record *record = whole_record();

    (void)which;
    add(v, record->buf.data, HTI_RECORD_HEADER_SIZE);
    hti_record_free(record);
}

static void make_segment_header(struct vector *v, int which)
{
    char *directory = check_tmpdir();
    const int dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd;

    (void)which;
    ck_assert_int_ge(dir_fd, 0);
    ck_assert_int_eq(hti_segment_create(dir_fd, directory, store_id, SEGMENT_NUMBER, 65536, &fd, NULL), 0);
    v->size = 64;
    ck_assert_int_eq(pread(fd, v->bytes, v->size, 0), 64);
    close(fd);
    close(dir_fd);
    check_tmpdir_remove(directory);
}

static void make_binding(struct vector *v, int which)
{
    uint8_t bytes[8];

    (void)which;
    hti_store_le64(bytes, hti_segment_binding(store_id, SEGMENT_NUMBER));
    add(v, bytes, sizeof bytes);
}

static void make_catalog_key(struct vector *v, int kind)
{
    uint8_t key[HTI_CATALOG_KEY_SIZE];

    hti_catalog_key((enum hti_record_kind)kind, kind == HTI_CATALOG_STORE ? 0 : TABLE_ID, key);
    add(v, key, sizeof key);
}

static const struct hti_store_record store_record = { .store_id = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
                                                                    15 },
                                                      .applied_lsn = 7,
                                                      .next_id = 9,
                                                      .session = 3,
                                                      .first_segment = SEGMENT_NUMBER,
                                                      .clean = true };
static const struct hti_totals_record totals_record = {
    .id = TABLE_ID, .database = 8, .n_rows = 2, .digest = { 0x1122334455667788, 0x99AABBCCDDEEFF00 }
};
static uint8_t default_value[] = { 0, 0, 0, 0, 0, 0, 0x80, 0x3F };
static char table_name[] = "words";
static const struct hti_object_record table_record = { .id = TABLE_ID,
                                                       .kind = HTSTORE_KIND_TABLE,
                                                       .name = table_name,
                                                       .key_dtype = HTSTORE_STRING,
                                                       .value_dtype = HTSTORE_FLOAT32,
                                                       .value_shape = { 1, { 2 } },
                                                       .default_value = default_value,
                                                       .default_size = sizeof default_value };

static char variable_name[] = "bias", mapping_name[] = "dense";
static const struct hti_object_record variable_record = { .id = TABLE_ID,
                                                          .kind = HTSTORE_KIND_VARIABLE,
                                                          .flags = HTSTORE_NOT_TRAINABLE,
                                                          .role = HTSTORE_WEIGHT,
                                                          .name = variable_name,
                                                          .value_dtype = HTSTORE_FLOAT32,
                                                          .value_shape = { 1, { 2 } } };
static const struct hti_object_record mapping_record = {
    .id = TABLE_ID, .kind = HTSTORE_KIND_MAPPING, .flags = HTSTORE_LAYER, .name = mapping_name
};
static const struct hti_entry_record entry_record = {
    .mapping = TABLE_ID, .index = 2, .object = 7, .name = "bias", .name_size = 4
};

static void make_entry_key(struct vector *v, int which)
{
    uint8_t space[HTI_CATALOG_MAX_KEY_SIZE];
    const struct hti_kv_bytes key =
        hti_catalog_entry_key(entry_record.mapping, entry_record.name, entry_record.name_size, space);

    (void)which;
    add(v, key.data, key.size);
}

static void make_object(struct vector *v, int kind)
{
    struct hti_buf buf;

    hti_buf_init(&buf);
    ck_assert_int_eq(
        hti_catalog_encode_object(kind == HTSTORE_KIND_VARIABLE ? &variable_record : &mapping_record, &buf), 0);
    set_buf(v, &buf);
}

static void make_entry(struct vector *v, int which)
{
    struct hti_buf buf;

    (void)which;
    hti_buf_init(&buf);
    ck_assert_int_eq(hti_catalog_encode_entry(&entry_record, &buf), 0);
    set_buf(v, &buf);
}

static void make_catalog_record(struct vector *v, int kind)
{
    const struct hti_garbage_record garbage = { .database = TABLE_ID };
    struct hti_buf buf;
    int rc;

    hti_buf_init(&buf);
    if (kind == HTI_CATALOG_STORE)
        rc = hti_catalog_encode_store(&store_record, &buf);
    else if (kind == HTI_CATALOG_OBJECT)
        rc = hti_catalog_encode_object(&table_record, &buf);
    else if (kind == HTI_CATALOG_TOTALS)
        rc = hti_catalog_encode_totals(&totals_record, &buf);
    else
        rc = hti_catalog_encode_garbage(&garbage, &buf);
    ck_assert_int_eq(rc, 0);
    set_buf(v, &buf);
}

/* Native elements of each dtype, and their keys. */
static const struct {
    uint32_t dtype;
    union {
        int64_t i64;
        uint16_t u16;
        int8_t i8;
        uint8_t u8;
        float f32;
        double f64;
    } element;
} keys[] = {
    { HTSTORE_INT64, { .i64 = -1 } },     { HTSTORE_INT8, { .i8 = 5 } },        { HTSTORE_UINT16, { .u16 = 300 } },
    { HTSTORE_BOOL, { .u8 = 1 } },        { HTSTORE_FLOAT32, { .f32 = 1.5f } }, { HTSTORE_FLOAT64, { .f64 = -1.5 } },
    { HTSTORE_FLOAT64, { .f64 = -0.0 } },
};

static void make_key(struct vector *v, int which)
{
    uint8_t packed[8], stored[HTI_STORED_KEY_MAX];
    struct hti_row_type type;

    hti_row_type_init(&type, keys[which].dtype, HTSTORE_INT8, 1);
    hti_codec_pack_key(&type, &keys[which].element, packed);
    add(v, stored, hti_codec_store_key(&type, packed, type.key_size, stored));
}

static const struct htstore_bytes string_keys[] = { { "", 0 }, { "hello", 5 }, { "a\0b", 3 } };

static void make_string_key(struct vector *v, int which)
{
    uint8_t stored[HTI_STORED_KEY_MAX];
    struct hti_row_type type;

    hti_row_type_init(&type, HTSTORE_STRING, HTSTORE_INT8, 1);
    add(v, stored, hti_codec_store_key(&type, string_keys[which].data, string_keys[which].size, stored));
}

static void make_long_key_tail(struct vector *v, int which)
{
    uint8_t key[LONG_KEY_SIZE], stored[HTI_STORED_KEY_MAX];
    struct hti_row_type type;

    (void)which;
    memset(key, 'k', sizeof key);
    hti_row_type_init(&type, HTSTORE_STRING, HTSTORE_INT8, 1);
    ck_assert_uint_eq(hti_codec_store_key(&type, key, sizeof key, stored), HTI_STORED_KEY_MAX);
    ck_assert_mem_eq(stored, key, 490);
    add(v, stored + 490, 16);
}

/* The rows of the digest: int64 1 -> 42 and -1 -> 43; and one of strings. */
static struct hti_row sample_row(int which, struct hti_row_type *type)
{
    static uint8_t numbers[2][8], values[2][8];
    static const uint8_t text[] = { 5, 0, 0, 0, 'w', 'o', 'r', 'l', 'd' };

    if (which == 2) {
        hti_row_type_init(type, HTSTORE_STRING, HTSTORE_STRING, 1);
        return (struct hti_row){ "hello", 5, text, sizeof text };
    }
    hti_row_type_init(type, HTSTORE_INT64, HTSTORE_INT64, 1);
    hti_store_le64(numbers[which], which ? UINT64_MAX : 1);
    hti_store_le64(values[which], which ? 43 : 42);
    return (struct hti_row){ numbers[which], 8, values[which], 8 };
}

static void make_row(struct vector *v, int which)
{
    struct hti_row_type type;
    const struct hti_row row = sample_row(which, &type);

    v->size = hti_codec_stored_size(&type, &row);
    hti_codec_store_row(&type, which == 2 ? TABLE_ID + 1 : TABLE_ID, &row,
                        hti_hash_row(row.key, row.key_size, row.value, row.value_size), v->bytes);
}

/* The head of the row, and what follows its key. */
static void make_long_row(struct vector *v, int which)
{
    static uint8_t key[LONG_KEY_SIZE];
    struct hti_row_type type;
    const struct hti_row row = { key, sizeof key, "\x2A", 1 };
    uint8_t stored[LONG_KEY_SIZE + 100];

    (void)which;
    memset(key, 'k', sizeof key);
    hti_row_type_init(&type, HTSTORE_STRING, HTSTORE_INT8, 1);
    ck_assert_uint_eq(hti_codec_stored_size(&type, &row), 4 + LONG_KEY_SIZE + 1 + 4);
    hti_codec_store_row(&type, TABLE_ID, &row, hti_hash_row(key, sizeof key, "\x2A", 1), stored);
    add(v, stored, 4);
    ck_assert_mem_eq(stored + 4, key, sizeof key);
    add(v, stored + 4 + LONG_KEY_SIZE, 5);
}

static void add_hash(struct vector *v, struct hti_hash128 hash)
{
    uint8_t bytes[16];

    hti_store_le64(bytes, hash.low);
    hti_store_le64(bytes + 8, hash.high);
    add(v, bytes, sizeof bytes);
}

static void make_entry_hash(struct vector *v, int which)
{
    (void)which;
    add_hash(v, hti_catalog_entry_hash(&entry_record));
}

static void make_row_hash(struct vector *v, int which)
{
    struct hti_row_type type;
    const struct hti_row row = sample_row(which, &type);

    add_hash(v, hti_hash_row(row.key, row.key_size, row.value, row.value_size));
}

static void make_digest(struct vector *v, int which)
{
    struct hti_hash128 digest = { 0, 0 };
    struct hti_row_type type;

    (void)which;
    for (int i = 0; i < 2; i++) {
        const struct hti_row row = sample_row(i, &type);
        hti_digest_add(&digest, hti_hash_row(row.key, row.key_size, row.value, row.value_size));
    }
    add_hash(v, digest);
}

/* Rows of the blocks: their columns. */
static void gather_block(struct hti_columns *columns, int which)
{
    static const uint8_t numbers[][8] = { { 0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF }, { 3 }, { 0x2C, 1 } };
    static const uint8_t steps[][8] = { { 0xE8, 3 }, { 0xF2, 3 }, { 0xFC, 3 } };
    static const uint8_t pairs[][4] = { { 7, 0, 9, 0 }, { 8, 0, 9, 0 }, { 7, 0, 6, 0 } };
    static const char *const words[] = { "apple", "apples", "applet" }, *const short_words[] = { "a", "bc", "" };
    static const uint8_t texts[][7] = { { 1, 0, 0, 0, 'r' }, { 0 }, { 3, 0, 0, 0, 'o', 'a', 'k' } };
    static const struct {
        uint32_t key_dtype, value_dtype;
        uint64_t n_elements;
    } types[] = { { HTSTORE_INT64, HTSTORE_UINT16, 2 },
                  { HTSTORE_STRING, HTSTORE_STRING, 1 },
                  { HTSTORE_STRING, HTSTORE_FLOAT32, 0 },
                  { HTSTORE_INT64, HTSTORE_UINT16, 2 } };
    struct hti_row_type type;

    hti_row_type_init(&type, types[which].key_dtype, types[which].value_dtype, types[which].n_elements);
    hti_columns_reset(columns, &type);
    for (size_t i = 0; i < 3; i++) {
        const struct hti_row rows[] = { { numbers[i], 8, pairs[i], 4 },
                                        { words[i], strlen(words[i]), texts[i], 4u + texts[i][0] },
                                        { short_words[i], strlen(short_words[i]), "", 0 },
                                        { steps[i], 8, pairs[i], 4 } };
        ck_assert_int_eq(hti_columns_append(columns, &rows[which]), 0);
    }
}

static void make_block(struct vector *v, int which)
{
    struct hti_columns columns;
    struct hti_block_space space;
    struct hti_buf buf;

    hti_columns_init(&columns);
    hti_block_space_init(&space);
    hti_buf_init(&buf);
    gather_block(&columns, which);
    ck_assert_int_eq(hti_block_encode(&columns, &space, &buf), 0);
    set_buf(v, &buf);
    hti_block_space_release(&space);
    hti_columns_release(&columns);
}

/* The last piece of "key" -> the bytes 0, 1, 2, ... 255, 0, 1, ..., 1 MiB of them. */
static void make_piece(struct vector *v, int which)
{
    static uint8_t value[1u << 20];
    const struct hti_row row = { "key", 3, value, sizeof value };
    struct hti_buf buf;

    (void)which;
    for (size_t i = 0; i < sizeof value; i++)
        value[i] = (uint8_t)i;
    hti_buf_init(&buf);
    ck_assert_uint_eq(hti_piece_count(&row), 2);
    ck_assert_int_eq(hti_piece_encode(&row, 1, &buf), 0);
    set_buf(v, &buf);
}

/* --- snapshots --- */

/* (root) -> t, m; m -> t, v. */
static void make_sample_graph(struct hti_snap_graph *graph)
{
    static const struct hti_snap_node nodes[] = { { .kind = HTI_SNAP_ROOT },
                                                  { .kind = HTI_SNAP_TABLE,
                                                    .flags = HTI_SNAP_HAS_CONTENTS,
                                                    .key_dtype = HTSTORE_STRING,
                                                    .value_dtype = HTSTORE_FLOAT32,
                                                    .shape = { 1, { 2 } },
                                                    .n_rows = 2,
                                                    .digest = { 0x1122334455667788, 0x99AABBCCDDEEFF00 } },
                                                  { .kind = HTI_SNAP_MAPPING, .flags = HTI_SNAP_LAYER },
                                                  { .kind = HTI_SNAP_VARIABLE,
                                                    .flags = HTI_SNAP_HAS_CONTENTS | HTI_SNAP_NOT_TRAINABLE,
                                                    .role = HTI_SNAP_WEIGHT,
                                                    .value_dtype = HTSTORE_INT64,
                                                    .n_rows = 1,
                                                    .digest = { 1, 2 } } };
    uint32_t number;

    hti_snap_graph_init(graph);
    for (size_t i = 0; i < COUNT(nodes); i++)
        ck_assert_int_eq(hti_snap_graph_add_node(graph, &nodes[i], &number), 0);
    ck_assert_int_eq(hti_snap_graph_set_default(graph, 1, default_value, sizeof default_value), 0);
    ck_assert_int_eq(hti_snap_graph_add_edge(graph, 0, "t", 1, 1), 0);
    ck_assert_int_eq(hti_snap_graph_add_edge(graph, 0, "m", 1, 2), 0);
    ck_assert_int_eq(hti_snap_graph_add_edge(graph, 2, "t", 1, 1), 0);
    ck_assert_int_eq(hti_snap_graph_add_edge(graph, 2, "v", 1, 3), 0);
}

static void make_graph_record(struct vector *v, int which)
{
    struct hti_snap_graph graph;
    struct hti_buf record;

    (void)which;
    make_sample_graph(&graph);
    hti_buf_init(&record);
    ck_assert_int_eq(hti_snap_graph_encode(&graph, &record, NULL), 0);
    hti_snap_graph_release(&graph);
    set_buf(v, &record);
}

static struct hti_hash128 sample_id(void)
{
    struct vector record = { .size = 0 };

    make_graph_record(&record, 0);
    return hti_snap_graph_id(record.bytes, record.size);
}

static void make_snapshot_id(struct vector *v, int which)
{
    (void)which;
    add_hash(v, sample_id());
}

static void make_snapshot_binding(struct vector *v, int which)
{
    uint8_t bytes[8];

    (void)which;
    hti_store_le64(bytes, hti_snap_binding(sample_id()));
    add(v, bytes, sizeof bytes);
}

/* Blocks of the sample: frames of 100 and 50 bytes behind a graph of 120. */
static const struct hti_snap_block sample_blocks[] = {
    { HTI_SNAP_ROWS, 1, 0, 2, 60, 100, 0x1111111111111111, 0x2222222222222222, 280 },
    { HTI_SNAP_ROWS, 3, 0, 1, 34, 50, 0x3333333333333333, 0x4444444444444444, 444 },
};
#define SAMPLE_LISTS_OFFSET 558u

static struct hti_snap_header sample_header(void)
{
    struct vector record = { .size = 0 };

    make_graph_record(&record, 0);
    return (struct hti_snap_header){
        .version = HTI_SNAP_VERSION, .lsn = 42, .id = sample_id(), .graph_size = record.size, .n_nodes = 4, .n_parts = 1
    };
}

static void make_snapshot_header(struct vector *v, int which)
{
    const struct hti_snap_header header = sample_header();

    (void)which;
    v->size = HTI_SNAP_HEADER_SIZE;
    hti_snap_encode_header(&header, v->bytes);
}

static void make_graph_head(struct vector *v, int which)
{
    struct vector record = { .size = 0 };
    struct hti_snap_part part = { .id = sample_id(), .n_parts = 1, .stored_size = 120 };

    (void)which;
    make_graph_record(&record, 0);
    part.plain_size = (uint32_t)record.size;
    part.plain_hash = hti_snap_hash(record.bytes, record.size);
    part.stored_hash = 0x5555555555555555;
    v->size = HTI_SNAP_GRAPH_HEAD_SIZE;
    hti_snap_encode_part(&part, v->bytes);
}

static uint64_t make_head(struct vector *v, int which)
{
    v->size = HTI_SNAP_BLOCK_HEAD_SIZE;
    return hti_snap_encode_block(&sample_blocks[which], hti_snap_binding(sample_id()), v->bytes);
}

static void make_block_head(struct vector *v, int which)
{
    make_head(v, which);
}

static unsigned make_entries(enum hti_snap_list_kind kind, uint8_t entries[4 * HTI_SNAP_ENTRY_SIZE])
{
    static const struct hti_snap_node_entry nodes[] = {
        { 0 }, { 1, 2, { 0x1122334455667788, 0x99AABBCCDDEEFF00 } }, { 0 }, { 1, 1, { 1, 2 } }
    };
    struct vector head;

    if (kind == HTI_SNAP_LIST_NODES) {
        for (unsigned i = 0; i < 4; i++)
            hti_snap_encode_node_entry(&nodes[i], entries + (size_t)i * HTI_SNAP_ENTRY_SIZE);
        return 4;
    }
    for (int i = 0; i < 2; i++) {
        const struct hti_snap_block *b = &sample_blocks[i];
        const struct hti_snap_block_entry entry = { b->offset,     b->node,        b->n_rows,
                                                    b->plain_size, b->stored_size, make_head(&head, i) };
        hti_snap_encode_block_entry(&entry, entries + (size_t)i * HTI_SNAP_ENTRY_SIZE);
    }
    return 2;
}

static void make_list(struct vector *v, int kind)
{
    uint8_t entries[4 * HTI_SNAP_ENTRY_SIZE];
    const unsigned n = make_entries((enum hti_snap_list_kind)kind, entries);
    struct hti_buf out;

    hti_buf_init(&out);
    ck_assert_int_eq(
        hti_snap_encode_list((enum hti_snap_list_kind)kind, 0, entries, n, hti_snap_binding(sample_id()), &out), 0);
    set_buf(v, &out);
}

static uint64_t chain_of(enum hti_snap_list_kind kind)
{
    uint8_t entries[4 * HTI_SNAP_ENTRY_SIZE];
    const unsigned n = make_entries(kind, entries);
    uint64_t chain = 0;

    for (unsigned i = 0; i < n; i++)
        chain = hti_snap_chain(chain, entries + (size_t)i * HTI_SNAP_ENTRY_SIZE);
    return chain;
}

#define SAMPLE_FOOTER_SIZE (2 * HTI_SNAP_LIST_OVERHEAD + 6 * HTI_SNAP_ENTRY_SIZE + HTI_SNAP_FOOTER_SIZE)

static void make_footer(struct vector *v, int which)
{
    const struct hti_snap_header header = sample_header();
    const struct hti_snap_footer footer = { .lsn = header.lsn,
                                            .version = header.version,
                                            .graph_size = header.graph_size,
                                            .n_nodes = 4,
                                            .n_blocks = 2,
                                            .n_rows = 3,
                                            .plain_size = header.graph_size + 60 + 34,
                                            .lists_offset = SAMPLE_LISTS_OFFSET,
                                            .blocks_hash = chain_of(HTI_SNAP_LIST_BLOCKS),
                                            .nodes_hash = chain_of(HTI_SNAP_LIST_NODES),
                                            .file_size =
                                                SAMPLE_LISTS_OFFSET + SAMPLE_FOOTER_SIZE + HTI_SNAP_TRAILER_SIZE };

    (void)which;
    v->size = HTI_SNAP_FOOTER_SIZE;
    hti_snap_encode_footer(&footer, hti_snap_binding(header.id), v->bytes);
}

static void make_trailer(struct vector *v, int which)
{
    const struct hti_snap_trailer trailer = { SAMPLE_LISTS_OFFSET, SAMPLE_FOOTER_SIZE, sample_id() };

    (void)which;
    v->size = HTI_SNAP_TRAILER_SIZE;
    hti_snap_encode_trailer(&trailer, v->bytes);
}

static void make_manager_state(struct vector *v, int which)
{
    struct hti_managed entries[] = { { 2, 13610, HTI_MANAGED_DELETING }, { 3, 14330, HTI_MANAGED_LISTED } };
    const struct hti_managerstate state = { .last_preserved = 10000, .entries = entries, .n_entries = 2 };
    struct hti_buf buf;

    (void)which;
    hti_buf_init(&buf);
    ck_assert_int_eq(hti_managerstate_encode(&state, &buf, NULL), 0);
    set_buf(v, &buf);
}

static const struct {
    const char *name;
    void (*make)(struct vector *v, int which);
    int which;
} vectors[] = {
    { "segment-header", make_segment_header, 0 },
    { "binding", make_binding, 0 },
    { "record-header", make_record_header, 0 },
    { "put-numbers", make_op, 0 },
    { "put-strings", make_op, 1 },
    { "remove-strings", make_op, 2 },
    { "clear", make_op, 3 },
    { "catalog-key-store", make_catalog_key, HTI_CATALOG_STORE },
    { "catalog-key-table", make_catalog_key, HTI_CATALOG_OBJECT },
    { "catalog-key-totals", make_catalog_key, HTI_CATALOG_TOTALS },
    { "catalog-key-garbage", make_catalog_key, HTI_CATALOG_GARBAGE },
    { "catalog-key-entry", make_entry_key, 0 },
    { "catalog-store", make_catalog_record, HTI_CATALOG_STORE },
    { "catalog-table", make_catalog_record, HTI_CATALOG_OBJECT },
    { "catalog-variable", make_object, HTSTORE_KIND_VARIABLE },
    { "catalog-mapping", make_object, HTSTORE_KIND_MAPPING },
    { "catalog-entry", make_entry, 0 },
    { "entry-hash", make_entry_hash, 0 },
    { "catalog-totals", make_catalog_record, HTI_CATALOG_TOTALS },
    { "catalog-garbage", make_catalog_record, HTI_CATALOG_GARBAGE },
    { "key-int64-minus-1", make_key, 0 },
    { "key-int8-5", make_key, 1 },
    { "key-uint16-300", make_key, 2 },
    { "key-bool-true", make_key, 3 },
    { "key-float32-1.5", make_key, 4 },
    { "key-float64-minus-1.5", make_key, 5 },
    { "key-float64-minus-0", make_key, 6 },
    { "key-string-empty", make_string_key, 0 },
    { "key-string-hello", make_string_key, 1 },
    { "key-string-with-nul", make_string_key, 2 },
    { "key-long-tail", make_long_key_tail, 0 },
    { "row-number", make_row, 0 },
    { "row-string", make_row, 2 },
    { "row-long", make_long_row, 0 },
    { "row-hash", make_row_hash, 0 },
    { "digest", make_digest, 0 },
    { "manager-state", make_manager_state, 0 },
    { "block-numbers", make_block, 0 },
    { "block-strings", make_block, 1 },
    { "block-no-values", make_block, 2 },
    { "block-deltas", make_block, 3 },
    { "piece-last", make_piece, 0 },
    { "snapshot-graph", make_graph_record, 0 },
    { "snapshot-id", make_snapshot_id, 0 },
    { "snapshot-binding", make_snapshot_binding, 0 },
    { "snapshot-header", make_snapshot_header, 0 },
    { "snapshot-graph-head", make_graph_head, 0 },
    { "snapshot-block-head", make_block_head, 0 },
    { "snapshot-list-blocks", make_list, HTI_SNAP_LIST_BLOCKS },
    { "snapshot-list-nodes", make_list, HTI_SNAP_LIST_NODES },
    { "snapshot-footer", make_footer, 0 },
    { "snapshot-trailer", make_trailer, 0 },
};

/* --- the pages --- */

static FILE *open_page(const char *name)
{
    const char *root = getenv("top_srcdir");
    char path[4096];
    FILE *file;

    snprintf(path, sizeof path, "%s/docs/%s", root ? root : ".", name);
    file = fopen(path, "r");
    ck_assert_msg(file != NULL, "cannot open %s (top_srcdir says where the sources are)", path);
    return file;
}

static int digit_value(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *found = strchr(digits, c);

    ck_assert_msg(c != '\0' && found != NULL, "%c is no hexadecimal digit in lower case", c);
    return (int)(found - digits);
}

/* Bytes of a line up to a comment. */
static void add_line(struct vector *v, const char *line)
{
    while (*line && *line != '#') {
        if (isspace((unsigned char)*line)) {
            line++;
            continue;
        }
        ck_assert_msg(line[1] != '\0', "half a byte");
        const uint8_t byte = (uint8_t)(digit_value(line[0]) << 4 | digit_value(line[1]));
        add(v, &byte, 1);
        line += 2;
    }
}

typedef void (*vector_fn)(void *user, const char *name, const struct vector *v);

static void read_page(const char *page, vector_fn fn, void *user)
{
    static const char fence[] = "```vector ";
    FILE *file = open_page(page);
    char line[1024], name[64] = "";
    struct vector v = { .size = 0 };

    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        if (name[0] && strcmp(line, "```") == 0) {
            fn(user, name, &v);
            name[0] = '\0';
        } else if (name[0]) {
            add_line(&v, line);
        } else if (strncmp(line, fence, sizeof fence - 1) == 0) {
            snprintf(name, sizeof name, "%.60s", line + sizeof fence - 1);
            v.size = 0;
        }
    }
    fclose(file);
    ck_assert_msg(!name[0], "%s: the block %s has no end", page, name);
}

static void format_hex(char *out, size_t capacity, const struct vector *v)
{
    size_t size = 0;

    out[0] = '\0';
    for (size_t i = 0; i < v->size && size + 4 < capacity; i++)
        size += (size_t)snprintf(out + size, capacity - size, "%02x ", v->bytes[i]);
}

struct wanted {
    const char *name;
    struct vector v;
    unsigned n_found;
};

static void take_wanted(void *user, const char *name, const struct vector *v)
{
    struct wanted *w = user;

    if (strcmp(name, w->name) == 0) {
        w->v = *v;
        w->n_found++;
    }
}

static void find_vector(const char *name, struct vector *v)
{
    struct wanted w = { .name = name };

    for (size_t i = 0; i < COUNT(pages); i++)
        read_page(pages[i], take_wanted, &w);
    ck_assert_msg(w.n_found == 1, "vector %s is %s", name, w.n_found ? "there twice" : "missing");
    *v = w.v;
}

START_TEST(the_pages_tell_the_bytes_that_are_written)
{
    static char expected_text[4 * MAX_VECTOR], text[4 * MAX_VECTOR];
    struct vector documented, written = { .size = 0 };

    vectors[_i].make(&written, vectors[_i].which);
    find_vector(vectors[_i].name, &documented);
    format_hex(expected_text, sizeof expected_text, &documented);
    format_hex(text, sizeof text, &written);
    ck_assert_msg(strcmp(expected_text, text) == 0, "%s\ndocumented: %s\nwritten:    %s", vectors[_i].name,
                  expected_text, text);
}
END_TEST

static void expect_known(void *user, const char *name, const struct vector *v)
{
    bool known = false;

    (void)user;
    (void)v;
    for (size_t i = 0; i < COUNT(vectors); i++)
        known = known || strcmp(vectors[i].name, name) == 0;
    ck_assert_msg(known, "no test knows the vector %s", name);
}

START_TEST(every_vector_of_the_pages_is_tested)
{
    for (size_t i = 0; i < COUNT(pages); i++)
        read_page(pages[i], expect_known, NULL);
}
END_TEST

/* --- the other way: the bytes of the pages are understood --- */

START_TEST(the_record_of_the_page_is_read)
{
    static const char *const parts[] = { "put-numbers", "put-strings", "remove-strings", "clear" };
    static const uint32_t kinds[] = { HTI_OP_PUT, HTI_OP_PUT, HTI_OP_REMOVE, HTI_OP_CLEAR };
    struct vector header_bytes, part, payload = { .size = 0 };
    struct hti_record_header header;
    struct hti_record *record;
    struct hti_op_walk walk;
    struct hti_op op;

    find_vector("record-header", &header_bytes);
    ck_assert(hti_record_parse_header(header_bytes.bytes, hti_segment_binding(store_id, SEGMENT_NUMBER), &header));
    for (size_t i = 0; i < COUNT(parts); i++) {
        find_vector(parts[i], &part);
        add(&payload, part.bytes, part.size);
    }
    ck_assert_uint_eq(header.payload_size, payload.size);
    ck_assert_int_eq(hti_record_load(&header, payload.bytes, &record), 0);
    ck_assert_uint_eq(record->lsn, 7);
    hti_op_walk_init(&walk, record);
    for (size_t i = 0; i < COUNT(kinds); i++) {
        ck_assert_int_eq(hti_op_walk_next(&walk, &op), 0);
        ck_assert_uint_eq(op.kind, kinds[i]);
    }
    ck_assert_int_eq(hti_op_walk_next(&walk, &op), 1);
    hti_record_free(record);
}
END_TEST

START_TEST(the_catalogue_of_the_page_is_read)
{
    struct hti_store_record store;
    struct hti_object_record table;
    struct hti_totals_record totals;
    struct hti_garbage_record garbage;
    struct vector v;

    find_vector("catalog-store", &v);
    ck_assert_int_eq(hti_catalog_decode_store((struct hti_kv_bytes){ v.bytes, v.size }, &store, NULL), 0);
    ck_assert(store.clean && !store.flushing && store.applied_lsn == 7 && store.first_segment == SEGMENT_NUMBER);
    find_vector("catalog-table", &v);
    ck_assert_int_eq(hti_catalog_decode_object(TABLE_ID, (struct hti_kv_bytes){ v.bytes, v.size }, &table, NULL), 0);
    ck_assert_str_eq(table.name, "words");
    hti_object_record_release(&table);
    find_vector("catalog-totals", &v);
    ck_assert_int_eq(hti_catalog_decode_totals(TABLE_ID, (struct hti_kv_bytes){ v.bytes, v.size }, &totals, NULL), 0);
    ck_assert_uint_eq(totals.database, 8);
    find_vector("catalog-garbage", &v);
    ck_assert_int_eq(hti_catalog_decode_garbage(TABLE_ID, (struct hti_kv_bytes){ v.bytes, v.size }, &garbage, NULL), 0);
}
END_TEST

START_TEST(the_rows_of_the_page_are_read)
{
    static const char *const row_names[] = { "row-number", NULL, "row-string" };
    struct hti_row_type type;
    struct vector row;
    struct hti_row read;
    struct hti_hash128 hash;
    uint8_t space[8];

    for (int i = 0; i < 3; i += 2) {
        const struct hti_row expected = sample_row(i, &type);
        uint8_t stored_key[HTI_STORED_KEY_MAX];
        const size_t key_size = hti_codec_store_key(&type, expected.key, expected.key_size, stored_key);
        find_vector(row_names[i], &row);
        ck_assert_int_eq(hti_codec_load_row(&type, i == 2 ? TABLE_ID + 1 : TABLE_ID, stored_key, key_size, row.bytes,
                                            row.size, space, &read, &hash),
                         0);
        ck_assert_uint_eq(read.value_size, expected.value_size);
        ck_assert_mem_eq(read.value, expected.value, read.value_size);
    }
}
END_TEST

START_TEST(the_blocks_of_the_page_are_read)
{
    static const char *const names[] = { "block-numbers", "block-strings", "block-no-values", "block-deltas" };
    struct hti_columns columns, expected;
    struct hti_block_space space;
    struct vector v;

    hti_columns_init(&columns);
    hti_columns_init(&expected);
    hti_block_space_init(&space);
    for (int i = 0; i < 4; i++) {
        gather_block(&expected, i);
        find_vector(names[i], &v);
        ck_assert_int_eq(hti_block_decode(&expected.type, v.bytes, v.size, &space, &columns), 0);
        ck_assert_uint_eq(columns.n_rows, 3);
        ck_assert_uint_eq(columns.keys.size, expected.keys.size);
        ck_assert_mem_eq(columns.keys.data, expected.keys.data, expected.keys.size);
        ck_assert_uint_eq(columns.values.size, expected.values.size);
        if (expected.values.size > 0)
            ck_assert_mem_eq(columns.values.data, expected.values.data, expected.values.size);
    }
    hti_block_space_release(&space);
    hti_columns_release(&expected);
    hti_columns_release(&columns);
}
END_TEST

START_TEST(the_piece_of_the_page_is_read)
{
    struct hti_row_type type;
    struct hti_piece piece;
    struct vector v;

    find_vector("piece-last", &v);
    hti_row_type_init(&type, HTSTORE_STRING, HTSTORE_UINT8, 1u << 20);
    ck_assert_int_eq(hti_piece_decode(&type, v.bytes, v.size, &piece), 0);
    ck_assert_uint_eq(piece.offset, 1u << 20);
    ck_assert_uint_eq(piece.size, 3);
    ck_assert_mem_eq(piece.bytes, "\xFD\xFE\xFF", 3);
}
END_TEST

START_TEST(the_snapshot_of_the_page_is_read)
{
    struct vector v, id;
    struct hti_snap_graph graph;
    struct hti_snap_header header;
    struct hti_snap_part part;
    struct hti_snap_block block;
    struct hti_snap_list list;
    struct hti_snap_footer footer;
    struct hti_snap_trailer trailer;
    uint32_t size;

    find_vector("snapshot-graph", &v);
    ck_assert_int_eq(hti_snap_graph_decode(&graph, v.bytes, v.size, NULL), 0);
    ck_assert(graph.n_nodes == 4 && graph.n_edges == 4 && graph.nodes[3].parent == 2);
    hti_snap_graph_release(&graph);
    find_vector("snapshot-header", &v);
    ck_assert_int_eq(hti_snap_header_size(v.bytes, &size), 0);
    ck_assert_int_eq(hti_snap_decode_header(v.bytes, size, &header), 0);
    find_vector("snapshot-id", &id);
    ck_assert_uint_eq(header.id.low, hti_load_le64(id.bytes));
    find_vector("snapshot-graph-head", &v);
    ck_assert(hti_snap_decode_part(v.bytes, &part) && part.plain_size == header.graph_size);
    const uint64_t binding = hti_snap_binding(header.id);
    find_vector("snapshot-block-head", &v);
    ck_assert(hti_snap_decode_block(v.bytes, binding, &block) && block.n_rows == 2);
    find_vector("snapshot-list-blocks", &v);
    ck_assert(hti_snap_decode_list(v.bytes, (uint32_t)v.size, binding, &list) && list.n_entries == 2);
    find_vector("snapshot-list-nodes", &v);
    ck_assert(hti_snap_decode_list(v.bytes, (uint32_t)v.size, binding, &list) && list.n_entries == 4);
    find_vector("snapshot-footer", &v);
    ck_assert(hti_snap_decode_footer(v.bytes, binding, &footer) && footer.n_rows == 3);
    find_vector("snapshot-trailer", &v);
    ck_assert(hti_snap_decode_trailer(v.bytes, &trailer) && trailer.footer_offset == footer.lists_offset);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("vectors");
    TCase *tests = tcase_create("vectors");

    tcase_add_loop_test(tests, the_pages_tell_the_bytes_that_are_written, 0, (int)COUNT(vectors));
    tcase_add_test(tests, every_vector_of_the_pages_is_tested);
    tcase_add_test(tests, the_record_of_the_page_is_read);
    tcase_add_test(tests, the_catalogue_of_the_page_is_read);
    tcase_add_test(tests, the_rows_of_the_page_are_read);
    tcase_add_test(tests, the_blocks_of_the_page_are_read);
    tcase_add_test(tests, the_piece_of_the_page_is_read);
    tcase_add_test(tests, the_snapshot_of_the_page_is_read);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
