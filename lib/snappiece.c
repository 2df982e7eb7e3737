/* snappiece: hides how the graph record is cut, compressed and put together again. */
#include "snappiece.h"

#include <assert.h>

#include "htstore.h"

#define GRAPH_LEVEL 3

uint32_t hti_snap_piece_count(uint64_t record_size)
{
    return (uint32_t)((record_size - 1) / HTI_SNAP_GRAPH_PIECE + 1);
}

int hti_snap_piece_write(struct hti_frame_encoder *encoder, const struct hti_buf *record, struct hti_hash128 id,
                         uint32_t number, struct hti_buf *out)
{
    const size_t at = (size_t)number * HTI_SNAP_GRAPH_PIECE, left = record->size - at, start = out->size;
    struct hti_snap_piece piece = { .id = id, .number = number, .n_pieces = hti_snap_piece_count(record->size) };
    int rc = hti_buf_reserve(out, HTI_SNAP_GRAPH_HEAD_SIZE);

    assert(at < record->size);
    if (rc != 0)
        return rc;
    piece.plain_size = left < HTI_SNAP_GRAPH_PIECE ? (uint32_t)left : HTI_SNAP_GRAPH_PIECE;
    out->size += HTI_SNAP_GRAPH_HEAD_SIZE;
    rc = hti_frame_encode(encoder, GRAPH_LEVEL, record->data + at, piece.plain_size, out);
    if (rc != 0) {
        out->size = start;
        return rc;
    }
    const uint8_t *frame = out->data + start + HTI_SNAP_GRAPH_HEAD_SIZE;
    piece.stored_size = (uint32_t)(out->size - start - HTI_SNAP_GRAPH_HEAD_SIZE);
    piece.plain_hash = hti_snap_hash(record->data + at, piece.plain_size);
    piece.stored_hash = hti_snap_hash(frame, piece.stored_size);
    hti_snap_encode_piece(&piece, out->data + start);
    return 0;
}

int hti_snap_piece_read(struct hti_frame_decoder *decoder, const struct hti_snap_piece *piece, const void *frame,
                        struct hti_buf *record)
{
    int rc;

    if (hti_snap_hash(frame, piece->stored_size) != piece->stored_hash)
        return HTSTORE_ECORRUPT;
    rc = hti_buf_reserve(record, piece->plain_size);
    if (rc != 0)
        return rc;
    uint8_t *plain = record->data + record->size;
    rc = hti_frame_decode(decoder, frame, piece->stored_size, plain, piece->plain_size);
    if (rc != 0)
        return rc;
    if (hti_snap_hash(plain, piece->plain_size) != piece->plain_hash)
        return HTSTORE_ECORRUPT;
    record->size += piece->plain_size;
    return 0;
}
