/*
 * shuffle: hides how bytes are transposed. With SSE2 it goes in tiles of 128 bytes: to interleave the first half of a tile with
 * the second rotates the bits of every byte's index to the left by one. An index is (element, byte of it); as many
 * rotations as an index has bits for the element make it (byte, element), and as many as for the byte bring it back.
 */
#include "shuffle.h"

#include <string.h>

#include "bytes.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define TILE_SIZE 128u
#define N_REGISTERS 8u
#define LOG_TILE_SIZE 7u

static uint64_t load_number(const uint8_t *in, unsigned width)
{
    switch (width) {
    case 1:
        return in[0];
    case 2:
        return hti_load_le16(in);
    case 4:
        return hti_load_le32(in);
    default:
        return hti_load_le64(in);
    }
}

static void store_number(uint8_t *out, unsigned width, uint64_t number)
{
    switch (width) {
    case 1:
        out[0] = (uint8_t)number;
        break;
    case 2:
        hti_store_le16(out, (uint16_t)number);
        break;
    case 4:
        hti_store_le32(out, (uint32_t)number);
        break;
    default:
        hti_store_le64(out, number);
        break;
    }
}

/* The number that element i stands for; the bytes above its width are anything. */
static uint64_t number_at(struct hti_shuffle_form form, const uint8_t *elements, size_t i)
{
    const uint8_t *place = elements + i * form.width;
    const uint64_t number = load_number(place, form.width);
    return form.deltas ? number - load_number(place - form.width, form.width) : number;
}

/* Elements [from, n), one by one. */
static void split_plainly(struct hti_shuffle_form form, const uint8_t *elements, size_t from, size_t n,
                          uint8_t *const *planes)
{
    for (size_t i = from; i < n; i++) {
        const uint64_t number = number_at(form, elements, i);
        for (unsigned j = 0; j < form.width; j++)
            if (planes[j])
                planes[j][i] = (uint8_t)(number >> 8 * j);
    }
}

static void join_plainly(unsigned width, const uint8_t *const *planes, const uint8_t *constants, size_t from, size_t n,
                         uint8_t *elements)
{
    for (size_t i = from; i < n; i++)
        for (unsigned j = 0; j < width; j++)
            elements[i * width + j] = planes[j] ? planes[j][i] : constants[j];
}

static uint64_t find_differences_plainly(struct hti_shuffle_form form, const uint8_t *elements, size_t from, size_t n)
{
    const uint64_t first = number_at(form, elements, 0);
    uint64_t differences = 0;
    for (size_t i = from; i < n; i++)
        differences |= number_at(form, elements, i) ^ first;
    return differences;
}

#ifdef __SSE2__

static inline unsigned log_of(unsigned width)
{
    return (unsigned)__builtin_ctz(width);
}

static inline __m128i load16(const uint8_t *in)
{
    return _mm_loadu_si128((const __m128i *)(const void *)in);
}

static inline void store16(uint8_t *out, __m128i bytes)
{
    _mm_storeu_si128((__m128i *)(void *)out, bytes);
}

static inline __m128i subtract(unsigned width, __m128i a, __m128i b)
{
    switch (width) {
    case 1:
        return _mm_sub_epi8(a, b);
    case 2:
        return _mm_sub_epi16(a, b);
    case 4:
        return _mm_sub_epi32(a, b);
    default:
        return _mm_sub_epi64(a, b);
    }
}

/* 16 bytes of numbers. */
static inline __m128i load_numbers(struct hti_shuffle_form form, const uint8_t *in)
{
    const __m128i numbers = load16(in);
    return form.deltas ? subtract(form.width, numbers, load16(in - form.width)) : numbers;
}

static inline void interleave(__m128i r[N_REGISTERS])
{
    const __m128i r0 = r[0], r1 = r[1], r2 = r[2], r3 = r[3];
    const __m128i r4 = r[4], r5 = r[5], r6 = r[6], r7 = r[7];
    r[0] = _mm_unpacklo_epi8(r0, r4);
    r[1] = _mm_unpackhi_epi8(r0, r4);
    r[2] = _mm_unpacklo_epi8(r1, r5);
    r[3] = _mm_unpackhi_epi8(r1, r5);
    r[4] = _mm_unpacklo_epi8(r2, r6);
    r[5] = _mm_unpackhi_epi8(r2, r6);
    r[6] = _mm_unpacklo_epi8(r3, r7);
    r[7] = _mm_unpackhi_epi8(r3, r7);
}

/* Whole tiles from the start; returns the number of elements that they hold. Plane j is a run of 8 / width registers. */
static inline size_t split_tiles(struct hti_shuffle_form form, const uint8_t *elements, size_t n,
                                 uint8_t *const *planes)
{
    const size_t per_tile = TILE_SIZE / form.width, per_plane = N_REGISTERS / form.width;
    size_t i = 0;
    for (; n - i >= per_tile; i += per_tile, elements += TILE_SIZE) {
        __m128i r[N_REGISTERS];
        for (unsigned k = 0; k < N_REGISTERS; k++)
            r[k] = load_numbers(form, elements + (size_t)16 * k);
        for (unsigned round = log_of(form.width); round < LOG_TILE_SIZE; round++)
            interleave(r);
        for (unsigned k = 0; k < N_REGISTERS; k++)
            if (planes[k / per_plane])
                store16(planes[k / per_plane] + i + 16 * (k % per_plane), r[k]);
    }
    return i;
}

static inline size_t join_tiles(unsigned width, const uint8_t *const *planes, const uint8_t *constants, size_t n,
                                uint8_t *elements)
{
    const size_t per_tile = TILE_SIZE / width, per_plane = N_REGISTERS / width;
    size_t i = 0;
    for (; n - i >= per_tile; i += per_tile, elements += TILE_SIZE) {
        __m128i r[N_REGISTERS];
        for (unsigned k = 0; k < N_REGISTERS; k++) {
            const uint8_t *plane = planes[k / per_plane];
            r[k] = plane ? load16(plane + i + 16 * (k % per_plane)) : _mm_set1_epi8((char)constants[k / per_plane]);
        }
        for (unsigned round = 0; round < log_of(width); round++)
            interleave(r);
        for (unsigned k = 0; k < N_REGISTERS; k++)
            store16(elements + (size_t)16 * k, r[k]);
    }
    return i;
}

static inline uint64_t find_differences(struct hti_shuffle_form form, const uint8_t *elements, size_t n)
{
    const size_t per_step = 16 / form.width;
    uint64_t first = number_at(form, elements, 0) & (UINT64_MAX >> (64 - 8 * form.width));
    for (unsigned width = form.width; width < 8; width *= 2)
        first |= first << 8 * width;
    const __m128i pattern = _mm_set1_epi64x((long long)first);
    __m128i differences = _mm_setzero_si128();
    size_t i = 0;
    for (; n - i >= per_step; i += per_step)
        differences = _mm_or_si128(differences, _mm_xor_si128(load_numbers(form, elements + i * form.width), pattern));
    uint8_t bytes[16];
    store16(bytes, differences);
    uint64_t folded = find_differences_plainly(form, elements, i, n);
    for (unsigned j = 0; j < 16; j += form.width)
        folded |= load_number(bytes + j, form.width);
    return folded;
}

#else

static inline size_t split_tiles(struct hti_shuffle_form form, const uint8_t *elements, size_t n,
                                 uint8_t *const *planes)
{
    (void)form, (void)elements, (void)n, (void)planes;
    return 0;
}

static inline size_t join_tiles(unsigned width, const uint8_t *const *planes, const uint8_t *constants, size_t n,
                                uint8_t *elements)
{
    (void)width, (void)planes, (void)constants, (void)n, (void)elements;
    return 0;
}

static inline uint64_t find_differences(struct hti_shuffle_form form, const uint8_t *elements, size_t n)
{
    return find_differences_plainly(form, elements, 0, n);
}

#endif

/* The loops are inlined once for each form, so that widths are constants in them. */

static uint64_t differences_of(struct hti_shuffle_form form, const uint8_t *elements, size_t n)
{
    switch (form.width * 2 + form.deltas) {
    case 17:
        return find_differences((struct hti_shuffle_form){ 8, 1 }, elements, n);
    case 16:
        return find_differences((struct hti_shuffle_form){ 8, 0 }, elements, n);
    case 9:
        return find_differences((struct hti_shuffle_form){ 4, 1 }, elements, n);
    case 8:
        return find_differences((struct hti_shuffle_form){ 4, 0 }, elements, n);
    default:
        return find_differences(form, elements, n);
    }
}

unsigned hti_shuffle_varying(struct hti_shuffle_form form, const uint8_t *elements, size_t n)
{
    const uint64_t differences = differences_of(form, elements, n);
    unsigned varying = 0;
    for (unsigned j = 0; j < form.width; j++)
        if (differences >> 8 * j & 0xFF)
            varying |= 1u << j;
    return varying;
}

void hti_shuffle_split(struct hti_shuffle_form form, const uint8_t *elements, size_t n, uint8_t *const *planes)
{
    size_t done = 0;
    switch (form.width * 2 + form.deltas) {
    case 17:
        done = split_tiles((struct hti_shuffle_form){ 8, 1 }, elements, n, planes);
        break;
    case 16:
        done = split_tiles((struct hti_shuffle_form){ 8, 0 }, elements, n, planes);
        break;
    case 9:
        done = split_tiles((struct hti_shuffle_form){ 4, 1 }, elements, n, planes);
        break;
    case 8:
        done = split_tiles((struct hti_shuffle_form){ 4, 0 }, elements, n, planes);
        break;
    case 2: /* one plane: the elements themselves */
        if (planes[0])
            memcpy(planes[0], elements, n);
        return;
    default:
        done = split_tiles(form, elements, n, planes);
    }
    split_plainly(form, elements, done, n, planes);
}

/* Numbers that are differences to elements. */
static void sum_up(unsigned width, size_t n, uint8_t *elements)
{
    uint64_t sum = load_number(elements - width, width);
    if (width == 8) {
        for (size_t i = 0; i < n; i++) {
            sum += hti_load_le64(elements + i * 8);
            hti_store_le64(elements + i * 8, sum);
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        sum += load_number(elements + i * width, width);
        store_number(elements + i * width, width, sum);
    }
}

void hti_shuffle_join(struct hti_shuffle_form form, const uint8_t *const *planes, const uint8_t *constants, size_t n,
                      uint8_t *elements)
{
    size_t done;
    switch (form.width) {
    case 8:
        done = join_tiles(8, planes, constants, n, elements);
        break;
    case 4:
        done = join_tiles(4, planes, constants, n, elements);
        break;
    case 2:
        done = join_tiles(2, planes, constants, n, elements);
        break;
    default:
        done = join_tiles(1, planes, constants, n, elements);
    }
    join_plainly(form.width, planes, constants, done, n, elements);
    if (form.deltas)
        sum_up(form.width, n, elements);
}
