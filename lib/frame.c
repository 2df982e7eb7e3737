/* frame: hides libzstd and its error codes. */
#include "frame.h"

#include <assert.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "bytes.h"
#include "htstore.h"
#include "mem.h"

#define SKIPPABLE_MASK 0xFFFFFFF0u
#define DICTIONARY_BITS 3u
#define CHECKSUM_BIT 4u
#define RESERVED_BIT 8u
#define SINGLE_SEGMENT_BIT 32u

struct hti_frame_encoder {
    ZSTD_CCtx *context;
};

struct hti_frame_decoder {
    ZSTD_DCtx *context;
};

static bool is_no_memory(size_t result)
{
    return ZSTD_getErrorCode(result) == ZSTD_error_memory_allocation;
}

/* --- compress --- */

static bool set_up_encoder(ZSTD_CCtx *context)
{
    return !ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 1)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1));
}

int hti_frame_encoder_new(struct hti_frame_encoder **out)
{
    *out = NULL;
    struct hti_frame_encoder *encoder = hti_mem_zalloc(sizeof *encoder);
    if (!encoder)
        return HTSTORE_ENOMEM;
    encoder->context = ZSTD_createCCtx();
    if (!encoder->context || !set_up_encoder(encoder->context)) {
        hti_frame_encoder_free(encoder);
        return HTSTORE_ENOMEM;
    }
    *out = encoder;
    return HTSTORE_OK;
}

void hti_frame_encoder_free(struct hti_frame_encoder *encoder)
{
    if (!encoder)
        return;
    (void)ZSTD_freeCCtx(encoder->context);
    hti_mem_free(encoder);
}

int hti_frame_encode(struct hti_frame_encoder *encoder, int level, const void *data, size_t size, struct hti_buf *out)
{
    assert(level >= HTI_FRAME_MIN_LEVEL && level <= HTI_FRAME_MAX_LEVEL);
    if (size > PTRDIFF_MAX || hti_buf_reserve(out, ZSTD_compressBound(size)) != 0)
        return HTSTORE_ENOMEM;
    size_t result = ZSTD_CCtx_setParameter(encoder->context, ZSTD_c_compressionLevel, level);
    if (!ZSTD_isError(result))
        result = ZSTD_compress2(encoder->context, out->data + out->size, out->capacity - out->size, data, size);
    if (ZSTD_isError(result))
        return HTSTORE_ENOMEM; /* parameters and room are right: nothing else can be missing */
    out->size += result;
    return HTSTORE_OK;
}

/* --- decompress --- */

int hti_frame_decoder_new(struct hti_frame_decoder **out)
{
    *out = NULL;
    struct hti_frame_decoder *decoder = hti_mem_zalloc(sizeof *decoder);
    if (!decoder)
        return HTSTORE_ENOMEM;
    decoder->context = ZSTD_createDCtx();
    if (!decoder->context ||
        ZSTD_isError(ZSTD_DCtx_setParameter(decoder->context, ZSTD_d_windowLogMax, HTI_FRAME_MAX_WINDOW_LOG))) {
        hti_frame_decoder_free(decoder);
        return HTSTORE_ENOMEM;
    }
    *out = decoder;
    return HTSTORE_OK;
}

void hti_frame_decoder_free(struct hti_frame_decoder *decoder)
{
    if (!decoder)
        return;
    (void)ZSTD_freeDCtx(decoder->context);
    hti_mem_free(decoder);
}

int hti_frame_decode(struct hti_frame_decoder *decoder, const void *data, size_t size, void *plain, size_t plain_size)
{
    struct hti_frame_head head;
    if (hti_frame_parse_head(data, size, &head) != 0 || head.kind != HTI_FRAME_ZSTANDARD)
        return HTSTORE_ECORRUPT;
    /* libzstd would decompress several frames one after the other, and skip skippable ones */
    size_t result = ZSTD_findFrameCompressedSize(data, size);
    if (ZSTD_isError(result) || result != size)
        return HTSTORE_ECORRUPT;
    result = ZSTD_decompressDCtx(decoder->context, plain, plain_size, data, size);
    if (ZSTD_isError(result))
        return is_no_memory(result) ? HTSTORE_ENOMEM : HTSTORE_ECORRUPT;
    return result == plain_size ? HTSTORE_OK : HTSTORE_ECORRUPT;
}

/* --- looking at frames --- */

/* A window descriptor: five bits of exponent, three of mantissa. */
static uint64_t window_of(uint8_t descriptor)
{
    uint64_t base = UINT64_C(1) << (10 + (descriptor >> 3));
    return base + base / 8 * (descriptor & 7);
}

/* The field of the content size has 0 (or 1), 2, 4 or 8 bytes; in the form of 2 bytes, 256 is taken off. */
static uint64_t read_content_size(struct hti_reader *reader, uint8_t descriptor)
{
    switch (descriptor >> 6) {
    case 0:
        return descriptor & SINGLE_SEGMENT_BIT ? hti_reader_u8(reader) : HTI_FRAME_UNKNOWN_SIZE;
    case 1:
        return UINT64_C(256) + hti_reader_u16(reader);
    case 2:
        return hti_reader_u32(reader);
    default:
        return hti_reader_u64(reader);
    }
}

static bool parse_zstandard(struct hti_reader *reader, struct hti_frame_head *head)
{
    const uint8_t descriptor = hti_reader_u8(reader);
    if (descriptor & (RESERVED_BIT | DICTIONARY_BITS))
        return false;
    head->kind = HTI_FRAME_ZSTANDARD;
    head->has_checksum = descriptor & CHECKSUM_BIT;
    if (!(descriptor & SINGLE_SEGMENT_BIT))
        head->window_size = window_of(hti_reader_u8(reader));
    head->content_size = read_content_size(reader, descriptor);
    if (descriptor & SINGLE_SEGMENT_BIT)
        head->window_size = head->content_size;
    return true;
}

int hti_frame_parse_head(const void *data, size_t size, struct hti_frame_head *out)
{
    struct hti_frame_head head = { .kind = HTI_FRAME_SKIPPABLE };
    struct hti_reader reader;
    hti_reader_init(&reader, data, size);
    const uint32_t magic = hti_reader_u32(&reader);
    if (!hti_reader_ok(&reader))
        return HTSTORE_ECORRUPT;
    if ((magic & SKIPPABLE_MASK) == HTI_FRAME_SKIPPABLE_MAGIC) {
        head.nibble = magic & ~SKIPPABLE_MASK;
        head.content_size = hti_reader_u32(&reader);
    } else if (magic != ZSTD_MAGICNUMBER) {
        return HTSTORE_EFORMAT;
    } else if (!parse_zstandard(&reader, &head)) {
        return HTSTORE_ECORRUPT;
    }
    if (!hti_reader_ok(&reader))
        return HTSTORE_ECORRUPT;
    head.head_size = (uint32_t)reader.position;
    *out = head;
    return HTSTORE_OK;
}

int hti_frame_find_size(const void *data, size_t size, size_t *frame_size)
{
    struct hti_frame_head head;
    int status = hti_frame_parse_head(data, size, &head);
    if (status != 0)
        return status;
    if (head.kind == HTI_FRAME_SKIPPABLE) {
        if (head.content_size > size - head.head_size)
            return HTSTORE_ECORRUPT;
        *frame_size = head.head_size + (size_t)head.content_size;
        return HTSTORE_OK;
    }
    size_t result = ZSTD_findFrameCompressedSize(data, size);
    if (ZSTD_isError(result))
        return HTSTORE_ECORRUPT;
    *frame_size = result;
    return HTSTORE_OK;
}

void hti_frame_store_skippable(uint8_t out[HTI_FRAME_SKIPPABLE_HEAD_SIZE], unsigned nibble, uint32_t content_size)
{
    assert(nibble < 16);
    hti_store_le32(out, HTI_FRAME_SKIPPABLE_MAGIC + nibble);
    hti_store_le32(out + 4, content_size);
}

const char *hti_frame_version(void)
{
    return ZSTD_versionString();
}
