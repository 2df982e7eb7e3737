/* snap_sample: hides the building of sample graphs. */
#include "snap_sample.h"

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
