/* snapwrite: hides the buffer in front of a file or pipe, and the order of what is written to it. */
#include "snapwrite.h"

#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "file.h"
#include "frame.h"
#include "mem.h"
#include "snappart.h"
#include "snaptally.h"

#define BUFFER_SIZE (256u << 10)

struct hti_snapwrite {
    int fd;
    bool ended;
    int status; /* of the first call that failed */
    struct htstore_error error; /* the same */
    char path[256];
    const struct hti_snap_graph *graph; /* borrowed */
    struct hti_snap_header header;
    uint64_t binding;
    uint64_t size; /* written and buffered */
    struct hti_buf buffer;
    struct hti_snap_tally tally;
};

static int no_memory(struct hti_snapwrite *writer)
{
    return hti_fail(&writer->error, HTSTORE_ENOMEM, "no memory to write a snapshot");
}

/* Send what is buffered, and then `size` bytes more. */
static int flush_with(struct hti_snapwrite *writer, const void *data, size_t size)
{
    struct iovec iov[2] = { { writer->buffer.data, writer->buffer.size }, { (void *)(uintptr_t)data, size } };
    const int err = hti_file_stream_writev(writer->fd, iov, 2);

    writer->buffer.size = 0;
    return err ? hti_file_fail(&writer->error, err, writer->path, "cannot write the snapshot") : 0;
}

static int emit(struct hti_snapwrite *writer, const void *data, size_t size)
{
    writer->size += size;
    if (size > BUFFER_SIZE - writer->buffer.size)
        return flush_with(writer, data, size);
    return hti_buf_append(&writer->buffer, data, size) == 0 ? 0 : no_memory(writer); /* there is room: cannot fail */
}

/* --- header and graph --- */

static int write_parts(struct hti_snapwrite *writer, const struct hti_buf *record)
{
    struct hti_frame_encoder *encoder;
    struct hti_buf part;
    int rc = hti_frame_encoder_new(&encoder);

    hti_buf_init(&part);
    for (uint32_t i = 0; rc == 0 && i < writer->header.n_parts; i++) {
        part.size = 0;
        rc = hti_snap_part_write(encoder, record, writer->header.id, i, &part);
        if (rc == 0 && (rc = emit(writer, part.data, part.size)) != 0)
            break;
    }
    if (rc == HTSTORE_ENOMEM)
        no_memory(writer);
    hti_frame_encoder_free(encoder);
    hti_buf_release(&part);
    return rc;
}

static int write_start(struct hti_snapwrite *writer)
{
    struct hti_snap_header *header = &writer->header;
    uint8_t bytes[HTI_SNAP_HEADER_SIZE];
    struct hti_buf record;
    int rc;

    hti_buf_init(&record);
    rc = hti_snap_graph_encode(writer->graph, &record, &writer->error);
    if (rc == 0) {
        header->id = hti_snap_graph_id(record.data, record.size);
        header->graph_size = record.size;
        header->n_nodes = writer->graph->n_nodes;
        header->n_parts = hti_snap_part_count(record.size);
        writer->binding = hti_snap_binding(header->id);
        hti_snap_encode_header(header, bytes);
        rc = emit(writer, bytes, sizeof bytes);
    }
    rc = rc ? rc : write_parts(writer, &record);
    hti_buf_release(&record);
    return rc;
}

int hti_snapwrite_begin(int fd, const char *path, const struct hti_snap_graph *graph, uint64_t lsn, uint32_t flags,
                        struct hti_snapwrite **out, struct htstore_error *error)
{
    struct hti_snapwrite *writer = hti_mem_zalloc(sizeof *writer);
    int rc;

    *out = NULL;
    if (!writer)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory to write a snapshot");
    writer->fd = fd;
    writer->graph = graph;
    writer->header = (struct hti_snap_header){ .version = HTI_SNAP_VERSION, .flags = flags, .lsn = lsn };
    snprintf(writer->path, sizeof writer->path, "%s", path);
    hti_buf_init(&writer->buffer);
    hti_snap_tally_init(&writer->tally, graph, 0, 0, true);
    rc = hti_buf_reserve(&writer->buffer, BUFFER_SIZE) == 0 ? write_start(writer) : no_memory(writer);
    if (rc != 0) {
        hti_error_copy(error, &writer->error);
        hti_snapwrite_free(writer);
        return rc;
    }
    writer->tally.offset = writer->size;
    writer->tally.plain_size = writer->header.graph_size;
    *out = writer;
    return 0;
}

void hti_snapwrite_free(struct hti_snapwrite *writer)
{
    if (!writer)
        return;
    hti_snap_tally_release(&writer->tally);
    hti_buf_release(&writer->buffer);
    hti_mem_free(writer);
}

/* --- blocks --- */

static int fail_tally(struct hti_snapwrite *writer, int rc, uint32_t node, const char *wrong)
{
    char label[HTI_SNAP_LABEL_SIZE] = "?";

    if (rc == HTSTORE_ENOMEM)
        return no_memory(writer);
    if (node < writer->graph->n_nodes)
        hti_snap_graph_label(writer->graph, node, label);
    return hti_fail(&writer->error, rc, "%s: the rows of %s cannot be saved: %s", writer->path, label, wrong);
}

static int write_block(struct hti_snapwrite *writer, const struct hti_snap_block *given, const void *frame)
{
    struct hti_snap_block block = *given;
    uint8_t head[HTI_SNAP_BLOCK_HEAD_SIZE];
    const char *wrong = NULL;
    int rc;

    if (writer->ended || !hti_snap_block_is_valid(&block))
        return hti_fail(&writer->error, HTSTORE_EINVAL, "this is no block of a snapshot");
    block.offset = writer->size;
    block.stored_hash = hti_snap_hash(frame, block.stored_size);
    rc = hti_snap_tally_add(&writer->tally, &block, hti_snap_encode_block(&block, writer->binding, head), &wrong);
    if (rc != 0)
        return fail_tally(writer, rc, writer->tally.node, wrong);
    rc = emit(writer, head, sizeof head);
    return rc ? rc : emit(writer, frame, block.stored_size);
}

/* The first failure is that of all later calls. */
static int conclude(struct hti_snapwrite *writer, int rc, struct htstore_error *error)
{
    writer->status = rc;
    if (rc != 0)
        hti_error_copy(error, &writer->error);
    return rc;
}

int hti_snapwrite_block(struct hti_snapwrite *writer, const struct hti_snap_block *block, const void *frame,
                        struct htstore_error *error)
{
    return conclude(writer, writer->status ? writer->status : write_block(writer, block, frame), error);
}

/* --- end --- */

static int write_lists(struct hti_snapwrite *writer, enum hti_snap_list_kind kind, const struct hti_buf *entries)
{
    const uint64_t n = entries->size / HTI_SNAP_ENTRY_SIZE;
    struct hti_buf list;
    int rc = 0;

    hti_buf_init(&list);
    for (uint64_t first = 0; rc == 0 && first < n; first += HTI_SNAP_MAX_LIST_ENTRIES) {
        const uint64_t left = n - first;
        const uint32_t size = left < HTI_SNAP_MAX_LIST_ENTRIES ? (uint32_t)left : HTI_SNAP_MAX_LIST_ENTRIES;
        list.size = 0;
        rc = hti_snap_encode_list(kind, first, entries->data + first * HTI_SNAP_ENTRY_SIZE, size, writer->binding,
                                  &list);
        rc = rc ? no_memory(writer) : emit(writer, list.data, list.size);
    }
    hti_buf_release(&list);
    return rc;
}

static int write_end(struct hti_snapwrite *writer)
{
    uint8_t footer_bytes[HTI_SNAP_FOOTER_SIZE], trailer_bytes[HTI_SNAP_TRAILER_SIZE];
    struct hti_snap_footer footer;
    struct hti_snap_trailer trailer;
    const char *wrong = NULL;
    int rc = hti_snap_tally_finish(&writer->tally, &wrong);

    if (rc != 0)
        return fail_tally(writer, rc, writer->tally.node, wrong);
    hti_snap_tally_footer(&writer->tally, &writer->header, &footer);
    trailer.id = writer->header.id;
    trailer.footer_offset = footer.lists_offset;
    trailer.footer_size = hti_snap_tally_lists_size(&writer->tally) + HTI_SNAP_FOOTER_SIZE;
    footer.file_size = trailer.footer_offset + trailer.footer_size + HTI_SNAP_TRAILER_SIZE;
    hti_snap_encode_footer(&footer, writer->binding, footer_bytes);
    hti_snap_encode_trailer(&trailer, trailer_bytes);
    rc = write_lists(writer, HTI_SNAP_LIST_BLOCKS, &writer->tally.blocks);
    rc = rc ? rc : write_lists(writer, HTI_SNAP_LIST_NODES, &writer->tally.nodes);
    rc = rc ? rc : emit(writer, footer_bytes, sizeof footer_bytes);
    rc = rc ? rc : emit(writer, trailer_bytes, sizeof trailer_bytes);
    return rc ? rc : flush_with(writer, NULL, 0);
}

int hti_snapwrite_end(struct hti_snapwrite *writer, struct htstore_error *error)
{
    int rc = writer->status;

    if (rc == 0 && writer->ended)
        rc = hti_fail(&writer->error, HTSTORE_EINVAL, "this snapshot is complete");
    else if (rc == 0)
        rc = write_end(writer);
    writer->ended = true;
    return conclude(writer, rc, error);
}

uint64_t hti_snapwrite_size(const struct hti_snapwrite *writer)
{
    return writer->size;
}

uint64_t hti_snapwrite_plain_size(const struct hti_snapwrite *writer)
{
    return writer->tally.plain_size;
}

struct hti_hash128 hti_snapwrite_id(const struct hti_snapwrite *writer)
{
    return writer->header.id;
}
