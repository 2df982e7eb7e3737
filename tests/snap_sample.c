/* snap_sample: hides the building of sample graphs and files. */
#include "snap_sample.h"

#include <string.h>

#include "frame.h"
#include "snapwrite.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct hti_snap_node nodes[] = {
    [SNAP_ROOT] = { .kind = HTI_SNAP_ROOT },
    [SNAP_M] = { .kind = HTI_SNAP_MAPPING, .flags = HTI_SNAP_LAYER },
    [SNAP_T] = { .kind = HTI_SNAP_TABLE,
                 .flags = HTI_SNAP_HAS_CONTENTS,
                 .key_dtype = HTSTORE_INT64,
                 .value_dtype = HTSTORE_FLOAT32,
                 .shape = { 1, { 2 } },
                 .n_rows = 3,
                 .digest = { 0x1122334455667788, 0x99AABBCCDDEEFF00 } },
    [SNAP_COUNTER] = { .kind = HTI_SNAP_VARIABLE,
                       .flags = HTI_SNAP_HAS_CONTENTS | HTI_SNAP_NOT_TRAINABLE,
                       .role = HTI_SNAP_UPDATE,
                       .value_dtype = HTSTORE_INT64,
                       .n_rows = 1,
                       .digest = { 1, 2 } },
    [SNAP_WORDS] = { .kind = HTI_SNAP_TABLE,
                     .flags = HTI_SNAP_NO_CHECKPOINT,
                     .key_dtype = HTSTORE_STRING,
                     .value_dtype = HTSTORE_STRING },
    [SNAP_INNER] = { .kind = HTI_SNAP_MAPPING, .flags = HTI_SNAP_NOT_TRAINABLE },
    [SNAP_W] = { .kind = HTI_SNAP_VARIABLE,
                 .flags = HTI_SNAP_HAS_CONTENTS,
                 .role = HTI_SNAP_WEIGHT,
                 .value_dtype = HTSTORE_FLOAT32,
                 .shape = { 2, { 5, 4000 } },
                 .n_rows = 2,
                 .digest = { 3, 4 } },
    [SNAP_EMPTY] = { .kind = HTI_SNAP_TABLE,
                     .flags = HTI_SNAP_HAS_CONTENTS,
                     .key_dtype = HTSTORE_UINT8,
                     .value_dtype = HTSTORE_INT64 },
};

static const struct {
    uint32_t parent;
    const char *name;
    uint32_t size;
    uint32_t child;
} edges[] = {
    { SNAP_ROOT, "m", 1, SNAP_M },
    { SNAP_ROOT, "t", 1, SNAP_T },
    { SNAP_ROOT, "save_counter", 12, SNAP_COUNTER },
    { SNAP_M, "", 0, SNAP_WORDS },
    { SNAP_M, "x.y/z", 5, SNAP_T },
    { SNAP_M, "self", 4, SNAP_M },
    { SNAP_M, "\xC3\xA9", 2, SNAP_INNER },
    { SNAP_INNER, "w", 1, SNAP_W },
    { SNAP_INNER, "e", 1, SNAP_EMPTY },
};

int snap_sample_graph(struct hti_snap_graph *graph)
{
    static const uint8_t floats[] = { 0, 0, 0, 0, 0, 0, 0x80, 0x3F }, word[] = { 1, 0, 0, 0, '-' }, number[8] = { 255 };
    uint32_t ignored;
    int rc = 0;

    hti_snap_graph_init(graph);
    for (size_t i = 0; rc == 0 && i < COUNT(nodes); i++)
        rc = hti_snap_graph_add_node(graph, &nodes[i], &ignored);
    rc = rc ? rc : hti_snap_graph_set_default(graph, SNAP_T, floats, sizeof floats);
    rc = rc ? rc : hti_snap_graph_set_default(graph, SNAP_WORDS, word, sizeof word);
    rc = rc ? rc : hti_snap_graph_set_default(graph, SNAP_EMPTY, number, sizeof number);
    for (size_t i = 0; rc == 0 && i < COUNT(edges); i++)
        rc = hti_snap_graph_add_edge(graph, edges[i].parent, edges[i].name, edges[i].size, edges[i].child);
    if (rc != 0)
        hti_snap_graph_release(graph);
    return rc;
}

static const struct hti_snap_block heads[N_SNAP_BLOCKS] = {
    { .kind = HTI_SNAP_ROWS, .node = SNAP_T, .number = 0, .n_rows = 2, .plain_size = 300 },
    { .kind = HTI_SNAP_ROWS, .node = SNAP_T, .number = 1, .n_rows = 1, .plain_size = 40 },
    { .kind = HTI_SNAP_ROWS, .node = SNAP_COUNTER, .number = 0, .n_rows = 1, .plain_size = 1 },
    { .kind = HTI_SNAP_PIECE, .node = SNAP_W, .number = 0, .n_rows = 0, .plain_size = 200 },
    { .kind = HTI_SNAP_PIECE, .node = SNAP_W, .number = 1, .n_rows = 1, .plain_size = 100 },
    { .kind = HTI_SNAP_ROWS, .node = SNAP_W, .number = 2, .n_rows = 1, .plain_size = 150 },
};

static int fill_block(struct hti_frame_encoder *encoder, struct snap_sample_block *block, unsigned which)
{
    const size_t size = block->head.plain_size;
    int rc = hti_buf_reserve(&block->plain, size);

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < size; i++)
        block->plain.data[i] = (uint8_t)(i * i / 7 + which);
    block->plain.size = size;
    rc = hti_frame_encode(encoder, 1, block->plain.data, size, &block->frame);
    block->head.stored_size = (uint32_t)block->frame.size;
    block->head.plain_hash = hti_snap_hash(block->plain.data, size);
    return rc;
}

int snap_sample_blocks(struct snap_sample_block blocks[N_SNAP_BLOCKS])
{
    struct hti_frame_encoder *encoder;
    int rc;

    memset(blocks, 0, N_SNAP_BLOCKS * sizeof *blocks);
    rc = hti_frame_encoder_new(&encoder);
    for (unsigned i = 0; rc == 0 && i < N_SNAP_BLOCKS; i++) {
        blocks[i].head = heads[i];
        rc = fill_block(encoder, &blocks[i], i);
    }
    hti_frame_encoder_free(encoder);
    if (rc != 0)
        snap_sample_blocks_release(blocks);
    return rc;
}

void snap_sample_blocks_release(struct snap_sample_block blocks[N_SNAP_BLOCKS])
{
    for (unsigned i = 0; i < N_SNAP_BLOCKS; i++) {
        hti_buf_release(&blocks[i].plain);
        hti_buf_release(&blocks[i].frame);
    }
}

static int write_file(int fd, const struct hti_snap_graph *graph, const struct snap_sample_block *blocks,
                      struct htstore_error *error)
{
    struct hti_snapwrite *writer;
    int rc = hti_snapwrite_begin(fd, "sample.snap", graph, SNAP_LSN, 0, &writer, error);

    for (unsigned i = 0; rc == 0 && i < N_SNAP_BLOCKS; i++)
        rc = hti_snapwrite_block(writer, &blocks[i].head, blocks[i].frame.data, error);
    rc = rc ? rc : hti_snapwrite_end(writer, error);
    hti_snapwrite_free(writer);
    return rc;
}

int snap_sample_write(int fd, struct htstore_error *error)
{
    struct snap_sample_block blocks[N_SNAP_BLOCKS];
    struct hti_snap_graph graph;
    int rc = snap_sample_graph(&graph);

    if (rc != 0)
        return rc;
    rc = snap_sample_blocks(blocks);
    if (rc == 0) {
        rc = write_file(fd, &graph, blocks, error);
        snap_sample_blocks_release(blocks);
    }
    hti_snap_graph_release(&graph);
    return rc;
}
