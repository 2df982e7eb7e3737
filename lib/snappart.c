/* snappart: hides how the graph record is cut, compressed and put together again. */
#include "snappart.h"

#include <assert.h>

#include "htstore.h"

#define GRAPH_LEVEL 3

uint32_t hti_snap_part_count(uint64_t record_size)
{
    return (uint32_t)((record_size - 1) / HTI_SNAP_GRAPH_PART + 1);
}

int hti_snap_part_write(struct hti_frame_encoder *encoder, const struct hti_buf *record, struct hti_hash128 id,
                        uint32_t number, struct hti_buf *out)
{
    const size_t at = (size_t)number * HTI_SNAP_GRAPH_PART, left = record->size - at, start = out->size;
    struct hti_snap_part part = { .id = id, .number = number, .n_parts = hti_snap_part_count(record->size) };
    int rc = hti_buf_reserve(out, HTI_SNAP_GRAPH_HEAD_SIZE);

    assert(at < record->size);
    if (rc != 0)
        return rc;
    part.plain_size = left < HTI_SNAP_GRAPH_PART ? (uint32_t)left : HTI_SNAP_GRAPH_PART;
    out->size += HTI_SNAP_GRAPH_HEAD_SIZE;
    rc = hti_frame_encode(encoder, GRAPH_LEVEL, record->data + at, part.plain_size, out);
    if (rc != 0) {
        out->size = start;
        return rc;
    }
    const uint8_t *frame = out->data + start + HTI_SNAP_GRAPH_HEAD_SIZE;
    part.stored_size = (uint32_t)(out->size - start - HTI_SNAP_GRAPH_HEAD_SIZE);
    part.plain_hash = hti_snap_hash(record->data + at, part.plain_size);
    part.stored_hash = hti_snap_hash(frame, part.stored_size);
    hti_snap_encode_part(&part, out->data + start);
    return 0;
}

int hti_snap_part_read(struct hti_frame_decoder *decoder, const struct hti_snap_part *part, const void *frame,
                       struct hti_buf *record)
{
    int rc;

    if (hti_snap_hash(frame, part->stored_size) != part->stored_hash)
        return HTSTORE_ECORRUPT;
    rc = hti_buf_reserve(record, part->plain_size);
    if (rc != 0)
        return rc;
    uint8_t *plain = record->data + record->size;
    rc = hti_frame_decode(decoder, frame, part->stored_size, plain, part->plain_size);
    if (rc != 0)
        return rc;
    if (hti_snap_hash(plain, part->plain_size) != part->plain_hash)
        return HTSTORE_ECORRUPT;
    record->size += part->plain_size;
    return 0;
}
