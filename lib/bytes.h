/* bytes: loads and stores of integers at any address, little-endian (files) and big-endian (ordered keys). */
#ifndef HTI_BYTES_H
#define HTI_BYTES_H

#include <stdint.h>

static inline uint16_t hti_load_le16(const void *p)
{
    const uint8_t *b = p;
    return (uint16_t)(b[0] | (unsigned)b[1] << 8);
}

static inline uint32_t hti_load_le32(const void *p)
{
    const uint8_t *b = p;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t hti_load_le64(const void *p)
{
    const uint8_t *b = p;
    return (uint64_t)hti_load_le32(b) | (uint64_t)hti_load_le32(b + 4) << 32;
}

static inline void hti_store_le16(void *p, uint16_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
}

static inline void hti_store_le32(void *p, uint32_t v)
{
    uint8_t *b = p;
    b[0] = (uint8_t)v;
    b[1] = (uint8_t)(v >> 8);
    b[2] = (uint8_t)(v >> 16);
    b[3] = (uint8_t)(v >> 24);
}

static inline void hti_store_le64(void *p, uint64_t v)
{
    uint8_t *b = p;
    hti_store_le32(b, (uint32_t)v);
    hti_store_le32(b + 4, (uint32_t)(v >> 32));
}

static inline uint64_t hti_load_be64(const void *p)
{
    const uint8_t *b = p;
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | b[i];
    return v;
}

static inline void hti_store_be64(void *p, uint64_t v)
{
    uint8_t *b = p;
    for (int i = 0; i < 8; i++)
        b[i] = (uint8_t)(v >> (56 - 8 * i));
}

#endif
