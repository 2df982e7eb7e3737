/*
 * frame: the only user of libzstd. One frame in one piece, into memory of a size that is known before: nothing is streamed,
 * no dictionaries. Formats: RFC 8878, sections 3.1.1 (Zstandard frames) and 3.1.2 (skippable frames).
 */
#ifndef HTI_FRAME_H
#define HTI_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

/* Levels; up to the highest one, windows are at most 8 MiB. */
#define HTI_FRAME_MIN_LEVEL (-7)
#define HTI_FRAME_DEFAULT_LEVEL 1
#define HTI_FRAME_MAX_LEVEL 19
#define HTI_FRAME_MAX_WINDOW_LOG 23

/* Compresses; for one thread at a time. new: 0 or HTSTORE_ENOMEM, *encoder is then NULL. free: NULL is allowed. */
struct hti_frame_encoder;
int hti_frame_encoder_new(struct hti_frame_encoder **encoder);
void hti_frame_encoder_free(struct hti_frame_encoder *encoder);

/*
 * Append one frame that holds `size` bytes: with its content size and a checksum of the content. Equal input gives equal
 * bytes, whatever the encoder did before. Returns 0 or HTSTORE_ENOMEM; `out` is then as before.
 */
int hti_frame_encode(struct hti_frame_encoder *encoder, int level, const void *data, size_t size, struct hti_buf *out);

/* Decompresses; as above. */
struct hti_frame_decoder;
int hti_frame_decoder_new(struct hti_frame_decoder **decoder);
void hti_frame_decoder_free(struct hti_frame_decoder *decoder);

/*
 * Decompress the one frame that `data` consists of to exactly `plain_size` bytes at `plain`, a size that the caller has
 * bounded. 0, HTSTORE_ENOMEM, or HTSTORE_ECORRUPT: not a Zstandard frame, something before or behind it, damaged, another
 * size of the content. `plain` then holds anything.
 */
int hti_frame_decode(struct hti_frame_decoder *decoder, const void *data, size_t size, void *plain, size_t plain_size);

/* --- looking at frames --- */

enum hti_frame_kind { HTI_FRAME_ZSTANDARD = 1, HTI_FRAME_SKIPPABLE = 2 };

#define HTI_FRAME_MAX_HEAD_SIZE 18u
#define HTI_FRAME_SKIPPABLE_HEAD_SIZE 8u
#define HTI_FRAME_SKIPPABLE_MAGIC 0x184D2A50u /* plus the nibble */
#define HTI_FRAME_UNKNOWN_SIZE UINT64_MAX

struct hti_frame_head {
    enum hti_frame_kind kind;
    uint32_t head_size; /* bytes of the head itself */
    uint32_t nibble; /* skippable: 0 to 15 */
    uint64_t
        content_size; /* skippable: bytes behind the head; else bytes when decompressed, or HTI_FRAME_UNKNOWN_SIZE */
    uint64_t window_size; /* Zstandard: bytes */
    bool has_checksum; /* Zstandard */
};

/*
 * What frame begins here? `size` is what is at hand; HTI_FRAME_MAX_HEAD_SIZE are always enough. 0; HTSTORE_EFORMAT if no
 * frame begins here; HTSTORE_ECORRUPT if the head is cut off, uses a reserved bit, or asks for a dictionary.
 */
int hti_frame_parse_head(const void *data, size_t size, struct hti_frame_head *head);

/* Bytes of the whole frame, of either kind, that `data` begins with. 0, HTSTORE_EFORMAT, HTSTORE_ECORRUPT (or cut off). */
int hti_frame_find_size(const void *data, size_t size, size_t *frame_size);

/* Write the head of a skippable frame; `nibble` < 16. */
void hti_frame_store_skippable(uint8_t out[HTI_FRAME_SKIPPABLE_HEAD_SIZE], unsigned nibble, uint32_t content_size);

const char *hti_frame_version(void); /* of libzstd: "1.5.4" */

#endif
