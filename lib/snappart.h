/*
 * snappart: the graph record of a snapshot as a row of Zstandard frames, each behind its head. Layout:
 * docs/snapshot-format.md.
 */
#ifndef HTI_SNAPPART_H
#define HTI_SNAPPART_H

#include <stdint.h>

#include "buf.h"
#include "frame.h"
#include "snapformat.h"

uint32_t hti_snap_part_count(uint64_t record_size); /* record_size >= 1 */

/* Append head and frame of part `number` of a graph record. 0 or HTSTORE_ENOMEM. */
int hti_snap_part_write(struct hti_frame_encoder *encoder, const struct hti_buf *record, struct hti_hash128 id,
                        uint32_t number, struct hti_buf *out);

/*
 * Verify and decompress a frame of part->stored_size bytes, and append what it holds to the record. 0, HTSTORE_ENOMEM,
 * HTSTORE_ECORRUPT; the record is then as before.
 */
int hti_snap_part_read(struct hti_frame_decoder *decoder, const struct hti_snap_part *part, const void *frame,
                       struct hti_buf *record);

#endif
