/*
 * group: 16 bytes that describe 15 slots of a hash table, looked at in one step.
 *
 * Bytes 0 to 14 are tags: 0 = the slot is empty, else 0x80 with 7 bits of the key's hash. Byte 15 tells of keys that wanted
 * this group or one before it and had to move on: a bit for each of eight kinds of tags (the idea of
 * boost::unordered_flat_map). A search goes on only while the bit of its tag is set; deletion leaves no tombstones.
 *
 * SSE2 is part of x86-64 and NEON of arm64, so nothing has to be chosen at run time; elsewhere words of 64 bits do.
 */
#ifndef HTI_GROUP_H
#define HTI_GROUP_H

#include <stdint.h>
#include <string.h>

#include "bytes.h"

#if defined(__SSE2__) && !defined(HTI_GROUP_PORTABLE)
#include <emmintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__) && !defined(HTI_GROUP_PORTABLE)
#include <arm_neon.h>
#endif

#define HTI_GROUP_SIZE 16u
#define HTI_GROUP_SLOTS 15u
#define HTI_GROUP_MASK 0x7fffu /* a bit for each slot */
#define HTI_GROUP_PASSED 15u /* the byte for keys that moved on */

static inline uint8_t hti_group_bit(uint8_t tag)
{
    return (uint8_t)(1u << (tag & 7u));
}

/* The slots whose tag is `tag` (not 0): bit i for slot i. */
static inline uint32_t hti_group_match(const uint8_t *group, uint8_t tag);
/* The slots that are empty. */
static inline uint32_t hti_group_empty(const uint8_t *group);

#if defined(__SSE2__) && !defined(HTI_GROUP_PORTABLE)

static inline uint32_t hti_group_match(const uint8_t *group, uint8_t tag)
{
    const __m128i tags = _mm_load_si128((const __m128i *)(const void *)group);
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8((char)tag))) & HTI_GROUP_MASK;
}

static inline uint32_t hti_group_empty(const uint8_t *group)
{
    const __m128i tags = _mm_load_si128((const __m128i *)(const void *)group);
    return ~(uint32_t)_mm_movemask_epi8(tags) & HTI_GROUP_MASK;
}

#elif defined(__ARM_NEON) && defined(__aarch64__) && !defined(HTI_GROUP_PORTABLE)

/* Each byte of `lanes` is 0 or 0xff. */
static inline uint32_t hti_group_bits(uint8x16_t lanes)
{
    static const uint8_t WEIGHTS[16] = { 1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128 };
    const uint8x16_t bits = vandq_u8(lanes, vld1q_u8(WEIGHTS));
    return (uint32_t)vaddv_u8(vget_low_u8(bits)) | (uint32_t)vaddv_u8(vget_high_u8(bits)) << 8;
}

static inline uint32_t hti_group_match(const uint8_t *group, uint8_t tag)
{
    return hti_group_bits(vceqq_u8(vld1q_u8(group), vdupq_n_u8(tag))) & HTI_GROUP_MASK;
}

static inline uint32_t hti_group_empty(const uint8_t *group)
{
    return hti_group_bits(vceqq_u8(vld1q_u8(group), vdupq_n_u8(0))) & HTI_GROUP_MASK;
}

#else

/* Bit i is set if byte i of `word` has its top bit set; all other bits of `word` are 0. */
static inline uint32_t hti_group_gather(uint64_t word)
{
    return (uint32_t)(((word >> 7) * UINT64_C(0x0102040810204080)) >> 56);
}

/* The top bit of every byte of `word` that is 0. Exact: no carry goes from one byte to the next. */
static inline uint64_t hti_group_zeros(uint64_t word)
{
    const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
    return ~(((word & low) + low) | word | low);
}

static inline uint32_t hti_group_match(const uint8_t *group, uint8_t tag)
{
    const uint64_t tags = tag * UINT64_C(0x0101010101010101);
    const uint32_t first = hti_group_gather(hti_group_zeros(hti_load_le64(group) ^ tags));
    return (first | hti_group_gather(hti_group_zeros(hti_load_le64(group + 8) ^ tags)) << 8) & HTI_GROUP_MASK;
}

static inline uint32_t hti_group_empty(const uint8_t *group)
{
    const uint32_t first = hti_group_gather(hti_group_zeros(hti_load_le64(group)));
    return (first | hti_group_gather(hti_group_zeros(hti_load_le64(group + 8))) << 8) & HTI_GROUP_MASK;
}

#endif

#endif
