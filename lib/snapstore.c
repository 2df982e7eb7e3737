/*
 * snapstore: hides how the objects of a snapshot become those of a new store: rows are appended in order, and all objects
 * with their names and entries appear in one transaction.
 */
#include "snapstore.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "block.h"
#include "build.h"
#include "frame.h"
#include "mem.h"
#include "piece.h"
#include "place.h"
#include "save.h"
#include "snapscan.h"
#include "snapshot.h"
#include "store.h"
#include "structure.h"
#include "unpack.h"
#include "varlayout.h"

#define KNOWN_FLAGS (HTSTORE_SALVAGE | HTSTORE_VERIFY_NONE | HTSTORE_VERIFY_QUICK)
#define EMPTY_STRING_SIZE 4u /* packed */
#define ROOT_NAME "root" /* of a root that cannot be the namespace itself */

/* A store that takes shape. */
struct maker {
    const struct htstore_snapshot_restore_options *options;
    struct htstore_options store_options;
    const struct hti_snap_graph *saved;
    struct hti_place place;
    struct htstore *store;
    uint64_t *ids; /* of the new objects, by node; 0: none */
    struct hti_core **cores; /* the same */
    struct hti_build *builds; /* the same */
    bool *built;
    const char **names; /* NUL-terminated; NULL: anonymous */
    bool root_is_object; /* node 0 is a mapping of the new store */
    uint32_t counter_node;
    bool lossy;
    uint64_t n_filled; /* rows that are not the snapshot's */
    struct htstore_snapshot_report report;
    struct htstore_error *error;
};

static int no_memory(struct maker *m)
{
    return hti_fail(m->error, HTSTORE_ENOMEM, "no memory to restore");
}

static void warn(struct maker *m, const char *format, ...) HTI_PRINTF(2, 3);

static void warn(struct maker *m, const char *format, ...)
{
    const struct htstore_options *o = &m->store_options;
    char message[sizeof((struct htstore_error *)0)->message];
    va_list args;

    m->lossy = true;
    if (!o->log)
        return;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    o->log(o->log_user, HTSTORE_LOG_WARNING, "restore", message);
}

/* --- objects --- */

/* Can every edge of the root be a name: not empty, and one for each object? The save counter needs none. */
static bool is_namespace(const struct maker *m)
{
    const struct hti_snap_graph *g = m->saved;
    const struct hti_snap_edge *edges = hti_snap_graph_edges(g, 0);
    bool fits = g->nodes[0].kind == HTI_SNAP_ROOT;

    for (uint32_t i = 0; fits && i < g->nodes[0].n_edges; i++) {
        fits = edges[i].name_size > 0 && edges[i].child != 0;
        if (fits && m->names[edges[i].child])
            fits = false;
        if (fits)
            m->names[edges[i].child] = "";
    }
    memset((void *)m->names, 0, g->n_nodes * sizeof *m->names);
    return fits;
}

static int copy_name(struct maker *m, const struct hti_snap_edge *edge)
{
    char *name = hti_mem_alloc((size_t)edge->name_size + 1);

    if (!name)
        return no_memory(m);
    if (edge->name_size > 0)
        memcpy(name, hti_snap_graph_name(m->saved, edge), edge->name_size);
    name[edge->name_size] = 0;
    m->names[edge->child] = name;
    return 0;
}

static int name_objects(struct maker *m)
{
    const struct hti_snap_edge *edges = hti_snap_graph_edges(m->saved, 0);
    int rc = 0;

    m->root_is_object = !is_namespace(m);
    if (m->root_is_object) {
        m->names[0] = hti_mem_strdup(ROOT_NAME);
        return m->names[0] ? 0 : no_memory(m);
    }
    for (uint32_t i = 0; rc == 0 && i < m->saved->nodes[0].n_edges; i++)
        if (edges[i].child != m->counter_node)
            rc = copy_name(m, &edges[i]);
    return rc;
}

static bool is_object(const struct maker *m, uint32_t node)
{
    return node != m->counter_node && (node != 0 || m->root_is_object);
}

static int make_record(struct maker *m, uint32_t number, struct hti_object_record *record)
{
    const struct hti_snap_node *node = &m->saved->nodes[number];
    const uint8_t *value = hti_snap_graph_default(m->saved, number);

    memset(record, 0, sizeof *record);
    record->id = m->ids[number];
    record->kind = node->kind == HTI_SNAP_ROOT ? HTSTORE_KIND_MAPPING : node->kind;
    record->flags = m->names[number] ? 0 : HTSTORE_ANONYMOUS;
    if (node->flags & HTI_SNAP_NO_CHECKPOINT)
        record->flags |= HTSTORE_NO_CHECKPOINT;
    if (node->flags & HTI_SNAP_LAYER)
        record->flags |= HTSTORE_LAYER;
    if (node->flags & HTI_SNAP_NOT_TRAINABLE)
        record->flags |= HTSTORE_NOT_TRAINABLE;
    record->role = node->role;
    record->key_dtype = node->key_dtype;
    record->value_dtype = node->value_dtype;
    record->value_shape = node->shape;
    if (m->names[number])
        record->name = hti_mem_strdup(m->names[number]);
    if (record->kind == HTSTORE_KIND_TABLE) {
        record->default_value = hti_mem_dup(value, (size_t)node->default_size);
        record->default_size = (size_t)node->default_size;
    }
    if ((m->names[number] && !record->name) || (record->kind == HTSTORE_KIND_TABLE && !record->default_value)) {
        hti_object_record_release(record);
        return no_memory(m);
    }
    return 0;
}

static int make_core(struct maker *m, uint32_t node)
{
    struct hti_object_record record;
    int rc = make_record(m, node, &record);

    if (rc != 0)
        return rc;
    m->cores[node] = hti_core_new(&record);
    if (!m->cores[node]) {
        hti_object_record_release(&record);
        return no_memory(m);
    }
    hti_build_init(&m->builds[node], m->store, &m->cores[node]->type, m->ids[node], true);
    return 0;
}

static int make_cores(struct maker *m)
{
    int rc = 0;

    pthread_mutex_lock(&m->store->flush_mutex);
    for (uint32_t i = 0; i < m->saved->n_nodes; i++)
        if (is_object(m, i))
            m->ids[i] = hti_structure_new_id(m->store);
    pthread_mutex_unlock(&m->store->flush_mutex);
    for (uint32_t i = 0; rc == 0 && i < m->saved->n_nodes; i++)
        if (is_object(m, i))
            rc = make_core(m, i);
    return rc;
}

/* --- rows --- */

static int take_rows(void *user, const struct hti_unpacked *rows, struct htstore_error *error)
{
    struct maker *m = user;
    struct hti_build *build = &m->builds[rows->node];
    const uint8_t *at = rows->stored, *end = at + rows->stored_size;
    struct hti_unpacked_row row;
    int rc = 0;

    while (rc == 0 && hti_unpacked_next(&at, end, &row))
        rc = hti_build_stored(build, (struct hti_kv_bytes){ row.key, row.key_size },
                              (struct hti_kv_bytes){ row.value, row.value_size }, error);
    hti_digest_add(&build->totals.digest, rows->digest);
    return rc;
}

static int end_rows(void *user, uint32_t node, struct htstore_error *error)
{
    struct maker *m = user;
    const int rc = hti_build_finish(&m->builds[node], error);

    if (rc == 0) {
        m->built[node] = true;
        m->cores[node]->totals = m->builds[node].totals;
    }
    return rc;
}

static int read_all(struct maker *m, struct hti_snapread *reader)
{
    const struct hti_unpack_options options = { .threads = m->options->threads,
                                                .phase = "restore",
                                                .progress = m->options->progress,
                                                .progress_user = m->options->progress_user,
                                                .ids = m->ids,
                                                .rows = take_rows,
                                                .end = end_rows,
                                                .user = m };

    return hti_unpack_all(reader, &options, m->error);
}

/* --- everything visible at once --- */

static int list_additions(struct maker *m, struct hti_addition **list, size_t *n)
{
    const struct hti_snap_graph *g = m->saved;

    *n = 0;
    *list = hti_mem_zalloc_array((size_t)g->n_edges + 1, sizeof **list);
    if (!*list)
        return no_memory(m);
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const struct hti_snap_edge *edges = hti_snap_graph_edges(g, i);
        if (!m->cores[i])
            continue;
        for (uint32_t k = 0; k < g->nodes[i].n_edges; k++)
            if (m->cores[edges[k].child])
                (*list)[(*n)++] = (struct hti_addition){ .mapping = m->cores[i],
                                                         .name = (const char *)hti_snap_graph_name(g, &edges[k]),
                                                         .name_size = edges[k].name_size,
                                                         .object = m->cores[edges[k].child] };
    }
    return 0;
}

static int show_objects(struct maker *m, uint64_t lsn)
{
    struct hti_change change = { 0 };
    struct hti_core **created = hti_mem_alloc_array(m->saved->n_nodes, sizeof *created);
    int rc = created ? list_additions(m, &change.additions, &change.n_additions) : no_memory(m);

    for (uint32_t i = 0; rc == 0 && i < m->saved->n_nodes; i++)
        if (m->cores[i])
            created[change.n_created++] = m->cores[i];
    change.created = created;
    pthread_mutex_lock(&m->store->flush_mutex);
    m->store->record.incomplete = m->lossy;
    if (rc == 0)
        rc = hti_structure_commit(m->store, &change, m->error);
    if (rc == 0) { /* the new store goes on counting where the saved one stood: nothing was written to it yet */
        m->store->record.applied_lsn = lsn;
        m->report.n_objects = change.n_created;
        m->report.n_rows -= m->n_filled; /* of those that are counted below */
    }
    pthread_mutex_unlock(&m->store->flush_mutex);
    for (uint32_t i = 0; rc == 0 && i < m->saved->n_nodes; i++) {
        if (m->cores[i] && m->saved->nodes[i].flags & HTI_SNAP_HAS_CONTENTS)
            m->report.n_rows += m->cores[i]->totals.n_rows;
        m->cores[i] = NULL; /* the store's */
    }
    hti_mem_free(change.additions);
    hti_mem_free(created);
    return rc;
}

static void release_maker(struct maker *m)
{
    for (uint32_t i = 0; m->saved && i < m->saved->n_nodes; i++) {
        if (m->names)
            hti_mem_free((char *)(uintptr_t)m->names[i]);
        if (m->cores)
            hti_core_free(m->cores[i]);
    }
    hti_mem_free(m->ids);
    hti_mem_free(m->cores);
    hti_mem_free(m->builds);
    hti_mem_free(m->built);
    hti_mem_free((void *)m->names);
}

static void abort_builds(struct maker *m)
{
    for (uint32_t i = 0; m->builds && i < m->saved->n_nodes; i++) {
        if (!m->builds[i].store)
            continue;
        if (!m->built[i])
            hti_build_abort(&m->builds[i]);
        hti_build_release(&m->builds[i]);
    }
}

static int close_store(struct maker *m, int rc)
{
    struct htstore_error reason;
    int closed;

    if (!m->store)
        return rc;
    closed = htstore_close(m->store, &reason);
    m->store = NULL;
    if (rc == 0 && closed != 0)
        hti_error_copy(m->error, &reason);
    return rc ? rc : closed;
}

static int allocate(struct maker *m)
{
    const uint32_t n = m->saved->n_nodes;

    m->ids = hti_mem_zalloc_array(n, sizeof *m->ids);
    m->cores = hti_mem_zalloc_array(n, sizeof(struct hti_core *));
    m->builds = hti_mem_zalloc_array(n, sizeof *m->builds);
    m->built = hti_mem_zalloc_array(n, sizeof *m->built);
    m->names = hti_mem_zalloc_array(n, sizeof(const char *));
    return m->ids && m->cores && m->builds && m->built && m->names ? 0 : no_memory(m);
}

/* Nobody sees the store yet: what it holds is synced once, when all is there. */
static int defer_syncs(struct maker *m, bool defer)
{
    int rc;

    pthread_mutex_lock(&m->store->flush_mutex);
    rc = hti_kv_defer_syncs(m->store->kv, defer, m->error);
    pthread_mutex_unlock(&m->store->flush_mutex);
    return rc;
}

/* Rows come from `fill`: the whole snapshot, or what is intact of it. */
static int make_store(struct maker *m, uint64_t lsn, int (*fill)(struct maker *m, void *source), void *source)
{
    int rc = allocate(m);

    m->counter_node = hti_snapshot_counter_node(m->saved);
    if (rc == 0)
        rc = name_objects(m);
    if (rc == 0)
        rc = hti_place_open(&m->place, &m->store_options, &m->store, m->error);
    if (rc == 0)
        rc = make_cores(m);
    if (rc == 0)
        rc = defer_syncs(m, true);
    if (rc == 0)
        rc = fill(m, source);
    if (m->store)
        abort_builds(m);
    if (rc == 0)
        rc = defer_syncs(m, false);
    if (rc == 0)
        rc = show_objects(m, lsn);
    rc = close_store(m, rc);
    release_maker(m);
    return rc;
}

static int fill_whole(struct maker *m, void *reader)
{
    return read_all(m, reader);
}

/* --- salvage --- */

struct salvage {
    struct hti_snapscan *scan;
    struct hti_frame_decoder *decoder;
    struct hti_block_space space;
    struct hti_columns columns;
    struct hti_piece_joint joint;
    struct hti_buf frame, plain;
    bool joining;
    uint32_t joined_node;
    /* the node whose blocks come */
    uint32_t node;
    uint32_t next_number; /* of its blocks */
    uint64_t n_rows, n_lost_blocks;
    uint8_t last_key[HTI_STORED_KEY_MAX];
    size_t last_size;
};

static void leave_out(struct maker *m, const struct hti_snap_block *block, const char *why)
{
    char label[HTI_SNAP_LABEL_SIZE];

    hti_snap_graph_label(m->saved, block->node, label);
    warn(m, "block %u of %s at byte %llu is lost: %s", block->number, label, (unsigned long long)block->offset, why);
}

static void lose_block(struct maker *m, struct salvage *s, const struct hti_snap_block *block, const char *why)
{
    s->n_lost_blocks++;
    leave_out(m, block, why);
}

static int decode_block(struct maker *m, struct salvage *s, const struct hti_snap_block *block)
{
    int rc;

    s->plain.size = 0;
    if (hti_buf_reserve(&s->plain, block->plain_size) != 0)
        return no_memory(m);
    rc = hti_frame_decode(s->decoder, s->frame.data, s->frame.size, s->plain.data, block->plain_size);
    s->plain.size = block->plain_size;
    if (rc == HTSTORE_ENOMEM)
        return no_memory(m);
    if (rc != 0 || hti_snap_hash(s->plain.data, s->plain.size) != block->plain_hash) {
        lose_block(m, s, block, "its contents are damaged");
        return 1;
    }
    return 0;
}

static bool comes_next(struct salvage *s, const uint8_t *key, size_t size)
{
    const size_t n = s->last_size < size ? s->last_size : size;
    const int order = s->last_size > 0 ? memcmp(s->last_key, key, n) : -1;
    const bool next = order < 0 || (order == 0 && s->last_size < size);

    if (next) {
        memcpy(s->last_key, key, size);
        s->last_size = size;
    }
    return next;
}

/* A variable has all its rows, or cannot be read: zeros and empty strings stand for those that are lost. */
static int fill_up(struct maker *m, struct salvage *s, uint64_t n_rows)
{
    static const uint8_t ZEROS[HTI_VARLAYOUT_ROW_SIZE];
    const struct hti_row_type *type = m->builds[s->node].type;
    uint8_t key[8];
    const struct hti_row row = { key, sizeof key, ZEROS, type->value_is_fixed ? type->value_size : EMPTY_STRING_SIZE };
    int rc = 0;

    if (m->saved->nodes[s->node].kind != HTI_SNAP_VARIABLE)
        return 0;
    while (rc == 0 && m->builds[s->node].totals.n_rows < n_rows) {
        const uint64_t number = m->builds[s->node].totals.n_rows;
        hti_codec_pack_key(type, &number, key);
        rc = hti_build_row(&m->builds[s->node], &row, m->error);
        m->n_filled++;
    }
    return rc;
}

static bool is_in_range(const struct maker *m, const struct salvage *s, const struct hti_row *row, uint64_t *number)
{
    const struct hti_snap_node *node = &m->saved->nodes[s->node];

    *number = 0;
    if (node->kind != HTI_SNAP_VARIABLE)
        return true;
    hti_codec_unpack_key(m->builds[s->node].type, row->key, number);
    return *number < node->n_rows;
}

static int salvage_row(struct maker *m, struct salvage *s, const struct hti_row *row)
{
    uint8_t key[HTI_STORED_KEY_MAX];
    const size_t size = hti_codec_store_key(m->builds[s->node].type, row->key, row->key_size, key);
    uint64_t number;
    int rc;

    if (!is_in_range(m, s, row, &number) || !comes_next(s, key, size))
        return 0; /* it was there already */
    rc = fill_up(m, s, number);
    s->n_rows++;
    return rc ? rc : hti_build_row(&m->builds[s->node], row, m->error);
}

static int salvage_rows(struct maker *m, struct salvage *s, const struct hti_snap_block *block)
{
    struct hti_columns_walk walk;
    struct hti_row row;
    int rc = hti_block_decode(m->builds[block->node].type, s->plain.data, s->plain.size, &s->space, &s->columns);

    if (rc == HTSTORE_ENOMEM)
        return no_memory(m);
    if (rc != 0 || s->columns.n_rows != block->n_rows) {
        lose_block(m, s, block, "its contents are malformed");
        return 0;
    }
    hti_columns_walk_init(&walk, &s->columns);
    while (rc == 0 && hti_columns_walk_next(&walk, &row))
        rc = salvage_row(m, s, &row);
    return rc;
}

static int salvage_piece(struct maker *m, struct salvage *s, const struct hti_snap_block *block)
{
    const struct hti_row_type *type = m->builds[block->node].type;
    struct hti_piece piece;
    struct hti_row row;
    int rc = hti_piece_decode(type, s->plain.data, s->plain.size, &piece);

    if (rc == 0 && piece.offset == 0)
        hti_piece_joint_begin(&s->joint);
    if (rc == 0 && piece.offset != 0 && !(s->joining && s->joined_node == block->node))
        rc = HTSTORE_ECORRUPT;
    if (rc == 0)
        rc = hti_piece_joint_next(&s->joint, type, &piece, &row);
    s->joining = rc == 1;
    s->joined_node = block->node;
    if (rc == HTSTORE_ENOMEM)
        return no_memory(m);
    if (rc < 0) {
        leave_out(m, block, "other pieces of its row are lost");
        return 0;
    }
    return rc == 1 ? 0 : salvage_row(m, s, &row);
}

/* What an object lacks, now that all its blocks were there. */
static void count_losses(struct maker *m, struct salvage *s)
{
    const uint64_t promised = m->saved->nodes[s->node].n_rows;
    char label[HTI_SNAP_LABEL_SIZE];

    if (s->n_rows < promised) {
        hti_snap_graph_label(m->saved, s->node, label);
        m->report.n_damaged_objects++;
        m->report.n_lost_rows += promised - s->n_rows;
        warn(m, "%s: %llu of %llu rows are lost", label, (unsigned long long)(promised - s->n_rows),
             (unsigned long long)promised);
    }
    m->report.n_lost_blocks += s->n_rows < promised && s->n_lost_blocks == 0 ? 1 : s->n_lost_blocks;
}

/* Finish all nodes before this one: a build keeps flush_mutex from its first row to its end. */
static int advance(struct maker *m, struct salvage *s, uint32_t node)
{
    int rc = 0;

    while (rc == 0 && s->node < node) {
        if (m->cores[s->node] && (m->saved->nodes[s->node].flags & HTI_SNAP_HAS_CONTENTS)) {
            count_losses(m, s);
            rc = fill_up(m, s, m->saved->nodes[s->node].n_rows);
            if (rc == 0)
                rc = end_rows(m, s->node, m->error);
        }
        s->node++;
        s->next_number = 0;
        s->n_rows = s->n_lost_blocks = 0;
        s->last_size = 0;
    }
    return rc;
}

static int salvage_block(struct maker *m, struct salvage *s, const struct hti_snap_block *block)
{
    int rc;

    if (block->node >= m->saved->n_nodes || !m->cores[block->node] ||
        !(m->saved->nodes[block->node].flags & HTI_SNAP_HAS_CONTENTS))
        return 0; /* the save counter */
    rc = advance(m, s, block->node);
    if (rc != 0)
        return rc;
    s->n_lost_blocks += block->number - s->next_number;
    s->next_number = block->number + 1;
    rc = decode_block(m, s, block);
    if (rc != 0)
        return rc == 1 ? 0 : rc;
    return block->kind == HTI_SNAP_PIECE ? salvage_piece(m, s, block) : salvage_rows(m, s, block);
}

static int salvage_blocks(struct maker *m, struct salvage *s)
{
    struct hti_snap_block block;
    struct hti_snap_gap gap;
    int rc;

    do {
        rc = hti_snapscan_next(s->scan, &block, &s->frame, &gap, m->error);
        if (rc >= 0 && gap.size > 0)
            warn(m, "%llu bytes at byte %llu cannot be read: %s", (unsigned long long)gap.size,
                 (unsigned long long)gap.offset, gap.reason);
        if (rc == 0)
            rc = salvage_block(m, s, &block);
    } while (rc == 0);
    return rc == 1 ? advance(m, s, m->saved->n_nodes) : rc;
}

static int fill_salvaged(struct maker *m, void *source)
{
    struct salvage s = { .scan = source };
    int rc = hti_frame_decoder_new(&s.decoder);

    hti_block_space_init(&s.space);
    hti_columns_init(&s.columns);
    hti_piece_joint_init(&s.joint);
    hti_buf_init(&s.frame);
    hti_buf_init(&s.plain);
    rc = rc ? no_memory(m) : salvage_blocks(m, &s);
    hti_frame_decoder_free(s.decoder);
    hti_block_space_release(&s.space);
    hti_columns_release(&s.columns);
    hti_piece_joint_release(&s.joint);
    hti_buf_release(&s.frame);
    hti_buf_release(&s.plain);
    return rc;
}

static int restore_salvaged(struct maker *m, int fd, const char *path)
{
    const struct hti_snap_header *header;
    struct hti_snapscan *scan;
    int rc = hti_snapscan_open(fd, path, &scan, m->error);

    if (rc != 0)
        return rc;
    m->saved = hti_snapscan_graph(scan);
    header = hti_snapscan_header(scan);
    if (!header)
        warn(m, "the header is damaged: the LSN of the state is lost");
    if (!m->saved)
        rc = hti_fail(m->error, HTSTORE_ECORRUPT,
                      "%s: the description of its objects is damaged: without it no block can be read", path);
    else
        rc = make_store(m, header ? header->lsn : 0, fill_salvaged, scan);
    hti_snapscan_close(scan);
    return rc;
}

static int restore_whole(struct maker *m, int fd, const char *path)
{
    struct hti_snapread *reader;
    int rc = hti_snapread_open(fd, path, &reader, m->error);

    if (rc != 0)
        return rc;
    m->saved = hti_snapread_graph(reader);
    rc = make_store(m, hti_snapread_header(reader)->lsn, fill_whole, reader);
    hti_snapread_close(reader);
    return rc;
}

/* --- the call --- */

static int check_arguments(const char *target, const struct htstore_snapshot_restore_options *options,
                           const struct htstore_snapshot_report *report,
                           struct htstore_snapshot_restore_options *complete, struct htstore_error *error)
{
    memset(complete, 0, sizeof *complete);
    if (!target || !*target)
        return hti_fail(error, HTSTORE_EINVAL, "the target is NULL or empty");
    if ((options && options->size == 0) || (report && report->size == 0))
        return hti_fail(error, HTSTORE_EINVAL, "the size of options or report is 0");
    if (options)
        memcpy(complete, options, options->size < sizeof *complete ? options->size : sizeof *complete);
    if (complete->flags & ~KNOWN_FLAGS)
        return hti_fail(error, HTSTORE_EINVAL, "unknown flags %x", complete->flags & ~KNOWN_FLAGS);
    return 0;
}

static int verify(struct maker *m)
{
    const struct htstore_check_options options = {
        .size = sizeof options,
        .level = m->options->flags & HTSTORE_VERIFY_QUICK ? HTSTORE_CHECK_QUICK : HTSTORE_CHECK_FULL,
        .flags = m->store_options.flags & (HTSTORE_ALLOW_ANY_FILESYSTEM | HTSTORE_ALLOW_SHARED_FOLDER),
        .progress = m->options->progress,
        .progress_user = m->options->progress_user,
    };

    if (m->options->flags & HTSTORE_VERIFY_NONE)
        return 0;
    return htstore_check(m->place.path, &options, NULL, m->error);
}

static int restore_to(struct maker *m, int fd, const char *path)
{
    int rc = m->options->flags & HTSTORE_SALVAGE ? restore_salvaged(m, fd, path) : restore_whole(m, fd, path);

    if (rc == 0)
        rc = verify(m);
    return rc ? rc : hti_place_publish(&m->place, m->error);
}

int htstore_snapshot_restore(const char *path, int fd, const char *target,
                             const struct htstore_snapshot_restore_options *options,
                             struct htstore_snapshot_report *report, struct htstore_error *error)
{
    struct htstore_snapshot_restore_options complete;
    struct maker m = { .options = &complete, .error = error };
    const bool own = path && strcmp(path, "-") != 0;
    bool building = false;
    int rc = check_arguments(target, options, report, &complete, error);

    if (rc == 0)
        rc = hti_store_options(complete.store, &m.store_options, error);
    if (rc == 0 && own)
        rc = hti_snapshot_open_path(path, &fd, error);
    if (rc != 0)
        return rc;
    rc = hti_place_choose(&m.place, target, -1, error);
    if (rc == 0) {
        building = true;
        rc = restore_to(&m, fd, own ? path : "(stream)");
    }
    hti_place_leave(&m.place, building && rc < 0);
    if (own)
        close(fd);
    if (rc == 0 && m.lossy)
        rc = 1;
    if (rc >= 0 && report) {
        m.report.size = report->size;
        memcpy(report, &m.report, report->size < sizeof m.report ? report->size : sizeof m.report);
    }
    return rc;
}
