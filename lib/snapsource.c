/* snapsource: hides whether a snapshot comes from a file or a pipe, and how it starts. */
#include "snapsource.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "file.h"
#include "frame.h"
#include "snappart.h"

static const char GRAPH[] = "the graph of objects";

void hti_snap_source_init(struct hti_snap_source *source, int fd, const char *path)
{
    struct stat status;

    memset(source, 0, sizeof *source);
    source->fd = fd;
    snprintf(source->path, sizeof source->path, "%s", path);
    hti_snap_graph_init(&source->graph);
    source->seekable = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    source->file_size = source->seekable ? (uint64_t)status.st_size : 0;
}

void hti_snap_source_release(struct hti_snap_source *source)
{
    hti_snap_graph_release(&source->graph);
}

int hti_snap_source_fail(const struct hti_snap_source *source, const char *thing, uint64_t offset, const char *what,
                         struct htstore_error *error)
{
    hti_fail(error, HTSTORE_ECORRUPT, "%s: %s at byte %" PRIu64 ": %s", source->path, thing, offset, what);
    hti_error_set_path(error, source->path, offset);
    return HTSTORE_ECORRUPT;
}

int hti_snap_source_fail_memory(const struct hti_snap_source *source, struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_ENOMEM, "%s: no memory to read a snapshot", source->path);
}

int hti_snap_source_read(const struct hti_snap_source *source, uint64_t offset, void *data, size_t size, size_t *got,
                         struct htstore_error *error)
{
    const int err = source->seekable ? hti_file_read_at(source->fd, data, size, offset, got)
                                     : hti_file_stream_read(source->fd, data, size, got);

    return err ? hti_file_fail(error, err, source->path, "cannot read the snapshot") : 0;
}

/* Read all of `size` bytes at *offset and move on. */
int hti_snap_source_fetch(const struct hti_snap_source *source, uint64_t *offset, void *data, size_t size,
                          const char *thing, struct htstore_error *error)
{
    size_t got;
    const int rc = hti_snap_source_read(source, *offset, data, size, &got, error);

    if (rc != 0)
        return rc;
    if (got < size)
        return hti_snap_source_fail(source, thing, *offset, "the file ends in it: it was cut short", error);
    *offset += size;
    return 0;
}

/* Can a file hold so many more bytes? Asked before memory is taken for them. */
static bool is_there(const struct hti_snap_source *source, uint64_t offset, uint64_t size)
{
    return !source->seekable || (offset <= source->file_size && size <= source->file_size - offset);
}

/* Fetch into a buffer, in place of what it held. */
int hti_snap_source_fetch_buf(const struct hti_snap_source *source, uint64_t *offset, struct hti_buf *buf, size_t size,
                              const char *thing, struct htstore_error *error)
{
    int rc;

    buf->size = 0;
    if (!is_there(source, *offset, size))
        return hti_snap_source_fail(source, thing, *offset, "the file ends before it: it was cut short", error);
    if (hti_buf_reserve(buf, size) != 0)
        return hti_snap_source_fail_memory(source, error);
    rc = hti_snap_source_fetch(source, offset, buf->data, size, thing, error);
    buf->size = rc == 0 ? size : 0;
    return rc;
}

/* --- header and graph --- */

static int fail_header(const struct hti_snap_source *source, int rc, struct htstore_error *error)
{
    if (rc == HTSTORE_EFORMAT)
        hti_fail(error, rc, "%s: this is no snapshot of libhtstore", source->path);
    else if (rc == HTSTORE_EVERSION)
        hti_fail(error, rc, "%s: the snapshot has format %" PRIu32 " with features %" PRIx64 "; this library knows %u",
                 source->path, source->header.version, source->header.incompatible, HTI_SNAP_VERSION);
    else
        return hti_snap_source_fail(source, "the header", 0, "checksum differs", error);
    hti_error_set_path(error, source->path, 0);
    return rc;
}

int hti_snap_source_header(struct hti_snap_source *source, uint64_t *offset, struct htstore_error *error)
{
    uint8_t bytes[HTI_SNAP_MAX_HEADER_SIZE];
    uint32_t size = 0;
    size_t got;
    int rc = hti_snap_source_read(source, 0, bytes, 16, &got, error);

    if (rc != 0)
        return rc;
    rc = got == 16 ? hti_snap_header_size(bytes, &size) : HTSTORE_EFORMAT;
    if (rc != 0)
        return fail_header(source, rc, error);
    *offset = 16;
    rc = hti_snap_source_fetch(source, offset, bytes + 16, size - 16, "the header", error);
    if (rc != 0)
        return rc;
    rc = hti_snap_decode_header(bytes, size, &source->header);
    if (rc != 0)
        return fail_header(source, rc, error);
    source->binding = hti_snap_binding(source->header.id);
    return 0;
}

bool hti_snap_hash128_equal(struct hti_hash128 a, struct hti_hash128 b)
{
    return a.low == b.low && a.high == b.high;
}

/* A part of another place or snapshot is intact in itself. Only the last one is smaller than the others. */
static bool is_expected_part(const struct hti_snap_source *source, const struct hti_snap_part *part, uint32_t number)
{
    return hti_snap_hash128_equal(part->id, source->header.id) && part->number == number &&
           part->n_parts == source->header.n_parts &&
           (number + 1 == part->n_parts || part->plain_size == HTI_SNAP_GRAPH_PART);
}

static int read_part(const struct hti_snap_source *source, struct hti_frame_decoder *decoder, uint32_t number,
                     uint64_t *offset, struct hti_buf *record, struct htstore_error *error)
{
    const uint64_t start = *offset;
    uint8_t head[HTI_SNAP_GRAPH_HEAD_SIZE];
    struct hti_snap_part part;
    struct hti_buf frame;
    int rc = hti_snap_source_fetch(source, offset, head, sizeof head, GRAPH, error);

    if (rc != 0)
        return rc;
    if (!hti_snap_decode_part(head, &part) || !is_expected_part(source, &part, number))
        return hti_snap_source_fail(source, GRAPH, start, "checksum differs, or it is that of another snapshot", error);
    hti_buf_init(&frame);
    rc = hti_snap_source_fetch_buf(source, offset, &frame, part.stored_size, GRAPH, error);
    if (rc == 0) {
        rc = hti_snap_part_read(decoder, &part, frame.data, record);
        if (rc == HTSTORE_ENOMEM)
            hti_snap_source_fail_memory(source, error);
        else if (rc != 0)
            hti_snap_source_fail(source, GRAPH, start, "checksum differs", error);
    }
    hti_buf_release(&frame);
    return rc;
}

static const char *check_record(const struct hti_snap_source *source, const struct hti_buf *record)
{
    const struct hti_snap_header *header = &source->header;

    if (!hti_snap_hash128_equal(hti_snap_graph_id(record->data, record->size), header->id))
        return "it does not fit the snapshot id";
    if (header->graph_size != 0 && header->graph_size != record->size)
        return "it has not the size that the header says";
    return NULL;
}

static int decode_graph(struct hti_snap_source *source, const struct hti_buf *record, uint64_t start,
                        struct htstore_error *error)
{
    const char *wrong = check_record(source, record);
    struct htstore_error inner;
    int rc;

    if (wrong)
        return hti_snap_source_fail(source, GRAPH, start, wrong, error);
    rc = hti_snap_graph_decode(&source->graph, record->data, record->size, &inner);
    if (rc == HTSTORE_ENOMEM)
        return hti_snap_source_fail_memory(source, error);
    if (rc != 0)
        return hti_snap_source_fail(source, GRAPH, start, inner.message, error);
    if (source->header.n_nodes != 0 && source->graph.n_nodes != source->header.n_nodes) {
        hti_snap_graph_release(&source->graph);
        return hti_snap_source_fail(source, GRAPH, start, "it has not the nodes that the header says", error);
    }
    return 0;
}

int hti_snap_source_graph(struct hti_snap_source *source, uint64_t *offset, struct htstore_error *error)
{
    const uint64_t start = *offset;
    struct hti_frame_decoder *decoder;
    struct hti_buf record;
    int rc = 0;

    if (hti_frame_decoder_new(&decoder) != 0)
        return hti_snap_source_fail_memory(source, error);
    hti_buf_init(&record);
    for (uint32_t i = 0; rc == 0 && i < source->header.n_parts; i++)
        rc = read_part(source, decoder, i, offset, &record, error);
    rc = rc ? rc : decode_graph(source, &record, start, error);
    hti_frame_decoder_free(decoder);
    hti_buf_release(&record);
    return rc;
}
