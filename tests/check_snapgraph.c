/* Tests of snapgraph: graphs come back as they were, and nothing that breaks a rule of the format is believed. */
#include "snapgraph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "check_util.h"
#include "mem.h"
#include "samples.h"
#include "snap_sample.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct hti_snap_graph sample;
static struct hti_buf record;

static void set_up(void)
{
    sample_seed(1);
    ck_assert_int_eq(snap_sample_graph(&sample), 0);
    hti_buf_init(&record);
    ck_assert_int_eq(hti_snap_graph_encode(&sample, &record, NULL), 0);
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    hti_buf_release(&record);
    hti_snap_graph_release(&sample);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

static void expect_equal(const struct hti_snap_graph *a, const struct hti_snap_graph *b)
{
    ck_assert_uint_eq(a->n_nodes, b->n_nodes);
    ck_assert_uint_eq(a->n_edges, b->n_edges);
    for (uint32_t i = 0; i < a->n_nodes; i++) {
        const struct hti_snap_node *x = &a->nodes[i], *y = &b->nodes[i];
        ck_assert(x->kind == y->kind && x->flags == y->flags && x->role == y->role && x->n_rows == y->n_rows);
        ck_assert(x->key_dtype == y->key_dtype && x->value_dtype == y->value_dtype);
        ck_assert(hti_shape_equal(&x->shape, &y->shape));
        ck_assert(x->digest.low == y->digest.low && x->digest.high == y->digest.high);
        ck_assert(x->parent == y->parent && x->n_edges == y->n_edges && x->via_edge == y->via_edge);
        ck_assert_uint_eq(x->default_size, y->default_size);
        ck_assert_mem_eq(hti_snap_graph_default(a, i), hti_snap_graph_default(b, i), (size_t)x->default_size);
    }
    for (uint64_t i = 0; i < a->n_edges; i++) {
        const struct hti_snap_edge *x = &a->edges[i], *y = &b->edges[i];
        ck_assert(x->child == y->child && x->name_size == y->name_size);
        ck_assert_mem_eq(hti_snap_graph_name(a, x), hti_snap_graph_name(b, y), x->name_size);
    }
}

START_TEST(a_graph_is_read_back)
{
    struct hti_snap_graph graph;
    struct hti_buf again;

    struct htstore_error error;
    ck_assert_msg(hti_snap_graph_decode(&graph, record.data, record.size, &error) == 0, "%s", error.message);
    expect_equal(&sample, &graph);
    hti_buf_init(&again);
    ck_assert_int_eq(hti_snap_graph_encode(&graph, &again, NULL), 0);
    ck_assert_uint_eq(again.size, record.size);
    ck_assert_mem_eq(again.data, record.data, record.size);
    hti_buf_release(&again);
    hti_snap_graph_release(&graph);
}
END_TEST

START_TEST(encoding_appends)
{
    struct hti_buf out;

    hti_buf_init(&out);
    ck_assert_int_eq(hti_buf_append(&out, "abc", 3), 0);
    ck_assert_int_eq(hti_snap_graph_encode(&sample, &out, NULL), 0);
    ck_assert_mem_eq(out.data, "abc", 3);
    ck_assert_mem_eq(out.data + 3, record.data, record.size);
    hti_buf_release(&out);
}
END_TEST

START_TEST(a_lone_mapping_is_a_graph_and_a_lone_table_is_none)
{
    const struct hti_snap_node mapping = { .kind = HTI_SNAP_MAPPING };
    struct hti_snap_graph graph, again;
    struct hti_buf out;
    uint32_t number;

    hti_buf_init(&out);
    hti_snap_graph_init(&graph);
    ck_assert_int_eq(hti_snap_graph_encode(&graph, &out, NULL), HTSTORE_EINVAL);
    ck_assert_int_eq(hti_snap_graph_add_node(&graph, &mapping, &number), 0);
    ck_assert_int_eq(hti_snap_graph_encode(&graph, &out, NULL), 0);
    ck_assert_int_eq(hti_snap_graph_decode(&again, out.data, out.size, NULL), 0);
    ck_assert_uint_eq(again.n_nodes, 1);
    graph.nodes[0] = sample.nodes[SNAP_EMPTY];
    ck_assert_int_eq(hti_snap_graph_encode(&graph, &out, NULL), HTSTORE_EINVAL);
    ck_assert_uint_eq(out.size, 24);
    hti_snap_graph_release(&again);
    hti_snap_graph_release(&graph);
    hti_buf_release(&out);
}
END_TEST

/* --- paths --- */

static const struct {
    uint32_t node;
    const char *path, *file_path, *label;
} paths[] = {
    { SNAP_ROOT, "(root)", "", "(root)" },
    { SNAP_M, "(root).m", "m", "(root).m" },
    { SNAP_T, "(root).t", "t", "(root).t" },
    { SNAP_COUNTER, "(root).save_counter", "save_counter", "(root).save_counter" },
    { SNAP_WORDS, "(root).m.", "m/", "(root).m." },
    { SNAP_INNER, "(root).m.\xC3\xA9", "m/\xC3\xA9", "(root).m.\xC3\xA9" },
    { SNAP_W, "(root).m.\xC3\xA9.w", "m/\xC3\xA9/w", "(root).m.\xC3\xA9.w" },
};

START_TEST(nodes_have_the_path_that_is_found_first)
{
    char label[HTI_SNAP_LABEL_SIZE];
    struct hti_buf path;

    hti_buf_init(&path);
    ck_assert_int_eq(hti_snap_graph_path(&sample, paths[_i].node, &path), 0);
    ck_assert_int_eq(hti_buf_append_u8(&path, 0), 0);
    ck_assert_str_eq((char *)path.data, paths[_i].path);
    path.size = 0;
    ck_assert_int_eq(hti_snap_graph_file_path(&sample, paths[_i].node, &path), 0);
    ck_assert_int_eq(hti_buf_append_u8(&path, 0), 0);
    ck_assert_str_eq((char *)path.data, paths[_i].file_path);
    hti_buf_release(&path);
    hti_snap_graph_label(&sample, paths[_i].node, label);
    ck_assert_str_eq(label, paths[_i].label);
}
END_TEST

/* A chain of mappings: root -> name -> name … */
static void make_chain(struct hti_snap_graph *graph, uint32_t depth, const char *name)
{
    const struct hti_snap_node mapping = { .kind = HTI_SNAP_MAPPING };
    uint32_t number;

    hti_snap_graph_init(graph);
    for (uint32_t i = 0; i <= depth; i++)
        ck_assert_int_eq(hti_snap_graph_add_node(graph, &mapping, &number), 0);
    for (uint32_t i = 0; i < depth; i++)
        ck_assert_int_eq(hti_snap_graph_add_edge(graph, i, name, strlen(name), i + 1), 0);
}

START_TEST(dots_and_slashes_in_names_are_escaped_in_file_paths)
{
    struct hti_snap_graph graph;
    struct hti_buf path;

    hti_buf_init(&path);
    make_chain(&graph, 2, "x.y/z");
    ck_assert_int_eq(hti_snap_graph_file_path(&graph, 2, &path), 0);
    ck_assert_int_eq(hti_buf_append_u8(&path, 0), 0);
    ck_assert_str_eq((char *)path.data, "x..y.Sz/x..y.Sz");
    hti_buf_release(&path);
    hti_snap_graph_release(&graph);
}
END_TEST

START_TEST(long_paths_are_shortened_in_messages_only)
{
    struct hti_snap_graph graph;
    char label[HTI_SNAP_LABEL_SIZE];
    struct hti_buf path;

    hti_buf_init(&path);
    make_chain(&graph, 1000, "level\n");
    hti_snap_graph_label(&graph, 1000, label);
    ck_assert_uint_lt(strlen(label), sizeof label);
    ck_assert_ptr_nonnull(strstr(label, "(root).…"));
    ck_assert_str_eq(label + strlen(label) - strlen(".level\\x0A"), ".level\\x0A");
    ck_assert_int_eq(hti_snap_graph_path(&graph, 1000, &path), 0);
    ck_assert_uint_eq(path.size, 6 + 1000 * 7);
    hti_buf_release(&path);
    hti_snap_graph_release(&graph);
}
END_TEST

/* Names of every size up to more than fits, at several depths: never over the end. */
START_TEST(labels_fit)
{
    char name[300], label[HTI_SNAP_LABEL_SIZE];
    struct hti_snap_graph graph;

    for (size_t size = 0; size < sizeof name; size++) {
        memset(name, 'n', size);
        name[size] = '\0';
        for (uint32_t depth = 1; depth < 6; depth++) {
            make_chain(&graph, depth, name);
            memset(label, 'X', sizeof label);
            hti_snap_graph_label(&graph, depth, label);
            ck_assert_uint_lt(strnlen(label, sizeof label), sizeof label);
            hti_snap_graph_release(&graph);
        }
    }
}
END_TEST

START_TEST(children_are_found_by_name)
{
    uint32_t child;

    ck_assert_int_eq(hti_snap_graph_find(&sample, SNAP_M, "", 0, &child), 0);
    ck_assert_uint_eq(child, SNAP_WORDS);
    ck_assert_int_eq(hti_snap_graph_find(&sample, SNAP_M, "x.y/z", 5, &child), 0);
    ck_assert_uint_eq(child, SNAP_T);
    ck_assert_int_eq(hti_snap_graph_find(&sample, SNAP_M, "x.y/", 4, &child), 1);
    ck_assert_int_eq(hti_snap_graph_find(&sample, SNAP_T, "", 0, &child), 1);
}
END_TEST

START_TEST(rows_of_nodes_have_types)
{
    struct hti_row_type type;

    hti_snap_node_row_type(&sample.nodes[SNAP_T], &type);
    ck_assert(type.key_dtype == HTSTORE_INT64 && type.value_dtype == HTSTORE_FLOAT32 && type.n_elements == 2);
    hti_snap_node_row_type(&sample.nodes[SNAP_W], &type);
    ck_assert(type.key_dtype == HTSTORE_UINT64 && type.value_dtype == HTSTORE_FLOAT32 && type.n_elements == 16375);
}
END_TEST

/* --- broken rules: one change each of the sample makes encoding refuse it, and decoding if it could be encoded --- */

static void set_unknown_table_flag(struct hti_snap_graph *g)
{
    g->nodes[SNAP_T].flags |= 0x20;
}
static void set_counter_flag_of_an_array(struct hti_snap_graph *g)
{
    g->nodes[SNAP_W].flags |= 0x10;
}
static void set_counter_flag_of_a_table(struct hti_snap_graph *g)
{
    g->nodes[SNAP_T].flags |= 0x10;
}
static void set_layer_of_table(struct hti_snap_graph *g)
{
    g->nodes[SNAP_T].flags |= HTI_SNAP_LAYER;
}
static void set_role_of_table(struct hti_snap_graph *g)
{
    g->nodes[SNAP_T].role = HTI_SNAP_WEIGHT;
}
static void set_float_key(struct hti_snap_graph *g)
{
    g->nodes[SNAP_T].key_dtype = HTSTORE_FLOAT16;
}
static void set_no_key(struct hti_snap_graph *g)
{
    g->nodes[SNAP_T].key_dtype = 0;
}
static void set_no_value(struct hti_snap_graph *g)
{
    g->nodes[SNAP_T].value_dtype = 0;
}
static void set_unknown_value(struct hti_snap_graph *g)
{
    g->nodes[SNAP_W].value_dtype = 77;
}
static void set_negative_shape(struct hti_snap_graph *g)
{
    g->nodes[SNAP_T].shape.dim[0] = -2;
}
static void set_huge_shape(struct hti_snap_graph *g)
{
    g->nodes[SNAP_W].shape.dim[0] = INT64_MAX;
}
static void set_other_shape(struct hti_snap_graph *g)
{
    g->nodes[SNAP_T].shape.dim[0] = 3; /* the default value has 2 */
}
static void set_rows_of_skipped(struct hti_snap_graph *g)
{
    g->nodes[SNAP_WORDS].n_rows = 1;
}
static void set_rows_of_variable(struct hti_snap_graph *g)
{
    g->nodes[SNAP_W].n_rows = 3;
}
static void set_digest_of_nothing(struct hti_snap_graph *g)
{
    g->nodes[SNAP_EMPTY].digest.high = 1;
}
static void set_variable_without_contents(struct hti_snap_graph *g)
{
    g->nodes[SNAP_W].flags = 0;
}
static void set_variable_without_role(struct hti_snap_graph *g)
{
    g->nodes[SNAP_W].role = 0;
}
static void set_unknown_role(struct hti_snap_graph *g)
{
    g->nodes[SNAP_W].role = 4;
}
static void set_key_of_variable(struct hti_snap_graph *g)
{
    g->nodes[SNAP_W].key_dtype = HTSTORE_UINT64;
}
static void set_unknown_mapping_flag(struct hti_snap_graph *g)
{
    g->nodes[SNAP_M].flags |= 0x10;
}
static void set_contents_of_mapping(struct hti_snap_graph *g)
{
    g->nodes[SNAP_M].flags |= HTI_SNAP_HAS_CONTENTS;
}
static void set_flags_of_root(struct hti_snap_graph *g)
{
    g->nodes[SNAP_ROOT].flags = HTI_SNAP_LAYER;
}
static void set_second_root(struct hti_snap_graph *g)
{
    g->nodes[SNAP_INNER].kind = HTI_SNAP_ROOT;
    g->nodes[SNAP_INNER].flags = 0;
}
static void set_unknown_kind(struct hti_snap_graph *g)
{
    g->nodes[SNAP_M].kind = 5;
}
static void set_no_kind(struct hti_snap_graph *g)
{
    g->nodes[SNAP_M].kind = 0;
}
static void set_parent_table(struct hti_snap_graph *g)
{
    g->nodes[SNAP_M] = g->nodes[SNAP_EMPTY];
    g->nodes[SNAP_M].n_edges = 4;
    g->nodes[SNAP_M].first_edge = 3;
}
static void set_edge_to_root(struct hti_snap_graph *g)
{
    g->edges[5].child = SNAP_ROOT;
}
static void set_wrong_order(struct hti_snap_graph *g)
{
    g->edges[0].child = SNAP_T;
    g->edges[1].child = SNAP_M;
}
static void set_edge_outside(struct hti_snap_graph *g)
{
    g->edges[8].child = N_SNAP_NODES;
}
static void set_orphan(struct hti_snap_graph *g)
{
    g->edges[8].child = SNAP_W;
}
static void set_invalid_name(struct hti_snap_graph *g)
{
    g->text.data[g->edges[0].name_offset] = 0xFF;
}
static void set_nul_name(struct hti_snap_graph *g)
{
    g->text.data[g->edges[0].name_offset] = 0;
}
static void set_equal_names(struct hti_snap_graph *g)
{
    g->edges[1].name_offset = g->edges[0].name_offset;
}
static void set_equal_empty_names(struct hti_snap_graph *g)
{
    g->edges[6].name_size = 0;
}

typedef void (*break_fn)(struct hti_snap_graph *graph);
static const break_fn breakers[] = {
    set_unknown_table_flag,
    set_counter_flag_of_an_array,
    set_counter_flag_of_a_table,
    set_layer_of_table,
    set_role_of_table,
    set_float_key,
    set_no_key,
    set_no_value,
    set_unknown_value,
    set_negative_shape,
    set_huge_shape,
    set_other_shape,
    set_rows_of_skipped,
    set_rows_of_variable,
    set_digest_of_nothing,
    set_variable_without_contents,
    set_variable_without_role,
    set_unknown_role,
    set_key_of_variable,
    set_unknown_mapping_flag,
    set_contents_of_mapping,
    set_flags_of_root,
    set_second_root,
    set_unknown_kind,
    set_no_kind,
    set_parent_table,
    set_edge_to_root,
    set_wrong_order,
    set_edge_outside,
    set_orphan,
    set_invalid_name,
    set_nul_name,
    set_equal_names,
    set_equal_empty_names,
};

START_TEST(a_graph_that_breaks_a_rule_is_not_encoded)
{
    struct htstore_error error;
    struct hti_buf out;

    hti_buf_init(&out);
    breakers[_i](&sample);
    ck_assert_int_eq(hti_snap_graph_encode(&sample, &out, &error), HTSTORE_EINVAL);
    ck_assert_ptr_nonnull(strstr(error.message, "of the graph of objects"));
    ck_assert_uint_eq(out.size, 0);
    hti_buf_release(&out);
}
END_TEST

/* --- bytes: where the fields of the sample's record are --- */

#define AT_ROOT 16u
#define AT_ROOT_EDGES (AT_ROOT + 8)
#define AT_M (AT_ROOT_EDGES + 3 * 8 + 1 + 1 + 12)
#define AT_M_EDGES (AT_M + 8)
#define AT_T (AT_M_EDGES + 4 * 8 + 0 + 5 + 4 + 2)

static int decode_changed(size_t at, uint64_t value, size_t size)
{
    uint8_t *copy = sample_copy(record.data, record.size);
    struct hti_snap_graph graph;
    struct htstore_error error;

    for (size_t i = 0; i < size; i++)
        copy[at + i] = (uint8_t)(value >> 8 * i);
    const int rc = hti_snap_graph_decode(&graph, copy, record.size, &error);
    if (rc != 0) {
        ck_assert_int_eq(error.code, rc);
        ck_assert_uint_eq(graph.n_nodes, 0);
    }
    hti_snap_graph_release(&graph);
    free(copy);
    return rc;
}

START_TEST(bytes_that_break_a_rule_are_refused)
{
    static const struct {
        size_t at;
        uint64_t value;
        size_t size;
    } cases[] = {
        { 0, 'X', 1 }, /* magic */
        { 4, 0, 4 }, /* nodes */
        { 4, N_SNAP_NODES - 1, 4 },
        { 4, N_SNAP_NODES + 1, 4 },
        { 4, UINT32_MAX, 4 },
        { 8, 8, 8 }, /* edges */
        { 8, UINT64_MAX, 8 },
        { AT_ROOT, HTI_SNAP_VARIABLE, 1 },
        { AT_ROOT + 2, 0xFFFF, 2 }, /* flags */
        { AT_ROOT + 4, UINT32_MAX, 4 }, /* edges of the root */
        { AT_ROOT_EDGES, 2, 4 }, /* child */
        { AT_ROOT_EDGES, UINT32_MAX, 4 },
        { AT_ROOT_EDGES + 4, UINT32_MAX, 4 }, /* size of the name */
        { AT_ROOT_EDGES + 8, 0xFF, 1 }, /* the name */
        { AT_ROOT_EDGES + 8, 't', 1 }, /* twice */
        { AT_M_EDGES, 0, 4 }, /* a list holds nothing that leads back to it */
        { AT_T + 8, UINT32_MAX, 4 }, /* dtype */
        { AT_T + 16, 9, 4 }, /* rank */
        { AT_T + 16, UINT32_MAX, 4 },
        { AT_T + 20, UINT64_MAX, 8 }, /* dimension */
        { AT_T + 20, INT64_MAX, 8 },
        { AT_T + 52, UINT64_MAX, 8 }, /* size of the default value */
        { AT_T + 52, 7, 8 },
    };

    ck_assert_uint_eq(record.data[AT_M], HTI_SNAP_MAPPING);
    ck_assert_uint_eq(record.data[AT_T], HTI_SNAP_TABLE);
    ck_assert_uint_eq(hti_load_le64(record.data + AT_T + 52), 8);
    for (size_t i = 0; i < COUNT(cases); i++)
        ck_assert_msg(decode_changed(cases[i].at, cases[i].value, cases[i].size) == HTSTORE_ECORRUPT, "case %zu", i);
    ck_assert_int_eq(decode_changed(AT_ROOT_EDGES + 8, 'x', 1), 0); /* another name is fine */
    ck_assert_int_eq(decode_changed(AT_T + 28, UINT64_C(1) << 60, 8), 0); /* as many rows as it likes */
    ck_assert_int_eq(decode_changed(AT_M_EDGES, SNAP_M, 4), HTSTORE_ECORRUPT); /* nodes 4 to 7 get other numbers */
    ck_assert_int_eq(decode_changed(AT_M_EDGES + 8, SNAP_COUNTER, 4), 0); /* old children may be met again */
}
END_TEST

START_TEST(a_record_that_is_cut_or_grown_is_refused)
{
    struct hti_snap_graph graph;

    for (size_t size = 0; size < record.size; size++) {
        uint8_t *copy = sample_copy(record.data, size);
        ck_assert_int_eq(hti_snap_graph_decode(&graph, copy, size, NULL), HTSTORE_ECORRUPT);
        free(copy);
    }
    ck_assert_int_eq(hti_buf_append_u8(&record, 0), 0);
    ck_assert_int_eq(hti_snap_graph_decode(&graph, record.data, record.size, NULL), HTSTORE_ECORRUPT);
}
END_TEST

START_TEST(random_damage_is_harmless)
{
    for (int round = 0; round < 20000; round++) {
        uint8_t *copy = sample_copy(record.data, record.size);
        struct hti_snap_graph graph;
        struct hti_buf again;
        for (size_t n = 1 + sample_below(3); n > 0; n--)
            copy[sample_below(record.size)] = (uint8_t)sample_random();
        if (hti_snap_graph_decode(&graph, copy, record.size, NULL) == 0) {
            hti_buf_init(&again);
            ck_assert_int_eq(hti_snap_graph_encode(&graph, &again, NULL), 0);
            ck_assert_uint_eq(again.size, record.size);
            ck_assert_mem_eq(again.data, copy, record.size);
            hti_buf_release(&again);
        }
        hti_snap_graph_release(&graph);
        free(copy);
    }
}
END_TEST

/* A short record that announces as much as a file can hold: refused before memory is taken for it. */
START_TEST(counts_are_bounded_by_the_bytes_that_are_there)
{
    uint8_t bytes[64] = { 'H', 'T', 'S', 'G' };
    struct hti_snap_graph graph;

    hti_store_le32(bytes + 4, HTI_SNAP_MAX_NODES);
    hti_mem_test_fail(0, true);
    ck_assert_int_eq(hti_snap_graph_decode(&graph, bytes, sizeof bytes, NULL), HTSTORE_ECORRUPT);
    hti_store_le32(bytes + 4, 1);
    hti_store_le64(bytes + 8, UINT64_MAX);
    ck_assert_int_eq(hti_snap_graph_decode(&graph, bytes, sizeof bytes, NULL), HTSTORE_ECORRUPT);
    hti_mem_test_fail(UINT64_MAX, false);
}
END_TEST

START_TEST(names_above_the_limit_are_refused)
{
    const struct hti_snap_node mapping = { .kind = HTI_SNAP_MAPPING };
    static char name[HTSTORE_MAX_NAME_SIZE + 1];
    struct hti_snap_graph graph, again;
    struct hti_buf out;
    uint32_t number;

    memset(name, 'n', sizeof name);
    hti_buf_init(&out);
    hti_snap_graph_init(&graph);
    ck_assert_int_eq(hti_snap_graph_add_node(&graph, &mapping, &number), 0);
    ck_assert_int_eq(hti_snap_graph_add_edge(&graph, 0, name, HTSTORE_MAX_NAME_SIZE, 0), 0);
    ck_assert_int_eq(hti_snap_graph_encode(&graph, &out, NULL), 0);
    ck_assert_int_eq(hti_snap_graph_decode(&again, out.data, out.size, NULL), 0);
    hti_snap_graph_release(&again);
    ck_assert_int_eq(hti_buf_append_u8(&out, 'n'), 0);
    hti_store_le32(out.data + 16 + 8 + 4, HTSTORE_MAX_NAME_SIZE + 1);
    ck_assert_int_eq(hti_snap_graph_decode(&again, out.data, out.size, NULL), HTSTORE_ECORRUPT);
    hti_buf_release(&out);
    hti_snap_graph_release(&graph);
}
END_TEST

START_TEST(cycles_are_legal)
{
    const struct hti_snap_node mapping = { .kind = HTI_SNAP_MAPPING };
    struct hti_snap_graph graph, again;
    struct hti_buf out;
    uint32_t number;

    hti_buf_init(&out);
    hti_snap_graph_init(&graph);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(hti_snap_graph_add_node(&graph, &mapping, &number), 0);
    ck_assert_int_eq(hti_snap_graph_add_edge(&graph, 0, "self", 4, 0), 0);
    ck_assert_int_eq(hti_snap_graph_add_edge(&graph, 0, "a", 1, 1), 0);
    ck_assert_int_eq(hti_snap_graph_add_edge(&graph, 1, "b", 1, 2), 0);
    ck_assert_int_eq(hti_snap_graph_add_edge(&graph, 2, "up", 2, 1), 0);
    ck_assert_int_eq(hti_snap_graph_add_edge(&graph, 2, "top", 3, 0), 0);
    ck_assert_int_eq(hti_snap_graph_encode(&graph, &out, NULL), 0);
    ck_assert_int_eq(hti_snap_graph_decode(&again, out.data, out.size, NULL), 0);
    expect_equal(&graph, &again);
    out.size = 0;
    ck_assert_int_eq(hti_snap_graph_path(&again, 2, &out), 0);
    ck_assert_uint_eq(out.size, 10);
    ck_assert_mem_eq(out.data, "(root).a.b", 10);
    hti_buf_release(&out);
    hti_snap_graph_release(&again);
    hti_snap_graph_release(&graph);
}
END_TEST

START_TEST(edges_are_added_in_order_only)
{
    uint32_t number;
    const struct hti_snap_node mapping = { .kind = HTI_SNAP_MAPPING };

    ck_assert_int_eq(hti_snap_graph_add_edge(&sample, SNAP_M, "late", 4, SNAP_T), HTSTORE_EINVAL);
    ck_assert_int_eq(hti_snap_graph_add_edge(&sample, N_SNAP_NODES, "x", 1, SNAP_T), HTSTORE_EINVAL);
    ck_assert_int_eq(hti_snap_graph_add_edge(&sample, SNAP_INNER, "x", 1, N_SNAP_NODES), HTSTORE_EINVAL);
    ck_assert_int_eq(hti_snap_graph_add_edge(&sample, SNAP_INNER, "x", HTSTORE_MAX_NAME_SIZE + 1, SNAP_T),
                     HTSTORE_EINVAL);
    ck_assert_int_eq(hti_snap_graph_add_node(&sample, &mapping, &number), 0);
    ck_assert_int_eq(hti_snap_graph_add_edge(&sample, SNAP_INNER, "more", 4, number), 0);
}
END_TEST

START_TEST(without_memory_nothing_leaks)
{
    struct hti_snap_graph graph;
    struct hti_buf out;
    bool failed = true;

    for (uint64_t after = 0; failed; after++) {
        hti_buf_init(&out);
        hti_mem_test_fail(after, true);
        int rc = snap_sample_graph(&graph);
        if (rc == 0)
            rc = hti_snap_graph_encode(&graph, &out, NULL);
        hti_snap_graph_release(&graph);
        if (rc == 0)
            rc = hti_snap_graph_decode(&graph, out.data, out.size, NULL);
        if (rc == 0)
            rc = hti_snap_graph_path(&graph, SNAP_W, &out);
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_int_eq(rc, failed ? HTSTORE_ENOMEM : 0);
        hti_snap_graph_release(&graph);
        hti_buf_release(&out);
    }
}
END_TEST

/* 60,000 names in one mapping, two of them equal: found without comparing each with each. */
START_TEST(equal_names_are_found_among_many)
{
    struct hti_snap_graph graph;
    const struct hti_snap_node mapping = { .kind = HTI_SNAP_MAPPING };
    struct hti_buf out;
    uint32_t number;
    char name[16];

    hti_buf_init(&out);
    hti_snap_graph_init(&graph);
    ck_assert_int_eq(hti_snap_graph_add_node(&graph, &mapping, &number), 0);
    for (unsigned i = 0; i < 60000; i++) {
        const int size = snprintf(name, sizeof name, "%u", i * 7919 % 60000);
        ck_assert_int_eq(hti_snap_graph_add_edge(&graph, 0, name, (size_t)size, 0), 0);
    }
    ck_assert_int_eq(hti_snap_graph_encode(&graph, &out, NULL), 0);
    ck_assert_int_eq(hti_snap_graph_add_edge(&graph, 0, "59999", 5, 0), 0);
    ck_assert_int_eq(hti_snap_graph_encode(&graph, &out, NULL), HTSTORE_EINVAL);
    hti_buf_release(&out);
    hti_snap_graph_release(&graph);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("snapgraph");
    TCase *tests = tcase_create("graphs");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_graph_is_read_back);
    tcase_add_test(tests, encoding_appends);
    tcase_add_test(tests, a_lone_mapping_is_a_graph_and_a_lone_table_is_none);
    tcase_add_loop_test(tests, nodes_have_the_path_that_is_found_first, 0, (int)COUNT(paths));
    tcase_add_test(tests, dots_and_slashes_in_names_are_escaped_in_file_paths);
    tcase_add_test(tests, long_paths_are_shortened_in_messages_only);
    tcase_add_test(tests, labels_fit);
    tcase_add_test(tests, children_are_found_by_name);
    tcase_add_test(tests, rows_of_nodes_have_types);
    tcase_add_loop_test(tests, a_graph_that_breaks_a_rule_is_not_encoded, 0, (int)COUNT(breakers));
    tcase_add_test(tests, bytes_that_break_a_rule_are_refused);
    tcase_add_test(tests, a_record_that_is_cut_or_grown_is_refused);
    tcase_add_test(tests, random_damage_is_harmless);
    tcase_add_test(tests, counts_are_bounded_by_the_bytes_that_are_there);
    tcase_add_test(tests, names_above_the_limit_are_refused);
    tcase_add_test(tests, cycles_are_legal);
    tcase_add_test(tests, edges_are_added_in_order_only);
    tcase_add_test(tests, without_memory_nothing_leaks);
    tcase_add_test(tests, equal_names_are_found_among_many);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
