/* planes: hides how a column of fixed width is laid out, and how its coding is chosen. */
#include "planes.h"

#include <assert.h>
#include <endian.h>
#include <stdbool.h>
#include <string.h>

#include "htstore.h"
#include "shuffle.h"

#define MAX_WIDTH HTI_SHUFFLE_MAX_WIDTH

/* --- choose --- */

#define RUN 64u
#define N_RUNS 16u
#define MAX_SAMPLE (RUN * N_RUNS)
#define ONE_BIT 256u /* costs are in 1/256 bit */
#define N_DISTINCT_BITS 8192u

/* log2 of n > 0, linear between powers of two: in integers, so that every machine chooses the same. */
static uint32_t approximate_log2(uint32_t n)
{
    const uint32_t log = 31u - (uint32_t)__builtin_clz(n);
    return log * ONE_BIT + (uint32_t)(((uint64_t)n << 8) >> log) - ONE_BIT;
}

/* Cost of a plane for a coder that gives each byte value its ideal number of bits (order 0). */
static uint32_t cost_of_plane(const uint8_t *plane, uint32_t n)
{
    uint16_t counts[256] = { 0 };
    uint32_t cost = 0;
    for (uint32_t i = 0; i < n; i++)
        counts[plane[i]]++;
    if (counts[plane[0]] == n)
        return 0;
    const uint32_t log_n = approximate_log2(n);
    for (unsigned v = 0; v < 256; v++)
        if (counts[v] > 0)
            cost += counts[v] * (log_n - approximate_log2(counts[v]));
    return cost;
}

/* Elements that the estimate looks at: all but the first, or runs of neighbours all over the column. */
struct sample {
    const uint8_t *elements; /* of the column */
    size_t stride; /* elements from the start of a run to that of the next */
    uint32_t n_runs, run; /* elements of a run */
    unsigned width;
};

static struct sample take_sample(const uint8_t *elements, size_t n, unsigned width)
{
    struct sample sample = { .elements = elements + width, .n_runs = 1, .run = (uint32_t)(n - 1), .width = width };
    if (n > MAX_SAMPLE) {
        sample.n_runs = N_RUNS;
        sample.run = RUN;
        sample.stride = (n - 1 - RUN) / (N_RUNS - 1);
    }
    return sample;
}

static uint32_t cost_of_planes(const struct sample *sample, unsigned deltas)
{
    uint8_t bytes[MAX_WIDTH][MAX_SAMPLE];
    const struct hti_shuffle_form form = { sample->width, deltas };
    uint32_t cost = 0;
    for (uint32_t i = 0; i < sample->n_runs; i++) {
        uint8_t *planes[MAX_WIDTH];
        for (unsigned j = 0; j < MAX_WIDTH; j++)
            planes[j] = bytes[j] + (size_t)i * sample->run;
        hti_shuffle_split(form, sample->elements + i * sample->stride * sample->width, sample->run, planes);
    }
    for (unsigned j = 0; j < sample->width; j++)
        cost += cost_of_plane(bytes[j], sample->n_runs * sample->run);
    return cost;
}

/* About how many different elements of 8 bytes there are; too few if hashes collide. */
static uint32_t count_distinct(const struct sample *sample)
{
    uint8_t seen[N_DISTINCT_BITS / 8] = { 0 };
    uint32_t n = 0;
    for (uint32_t i = 0; i < sample->n_runs; i++) {
        const uint8_t *element = sample->elements + i * sample->stride * 8;
        for (uint32_t k = 0; k < sample->run; k++, element += 8) {
            uint64_t hash;
            memcpy(&hash, element, sizeof hash);
            hash = htole64(hash) * UINT64_C(0x9E3779B97F4A7C15) >> 51;
            n += !(seen[hash / 8] >> hash % 8 & 1);
            seen[hash / 8] = (uint8_t)(seen[hash / 8] | 1u << hash % 8);
        }
    }
    return n;
}

/*
 * Few different elements of 8 random bytes each: Zstandard finds them as matches, at the price of an offset and lengths; split
 * into planes, each byte would cost. Shorter elements are below its shortest match.
 */
static bool is_better_plain(const struct sample *sample, uint32_t cost)
{
    const uint32_t n = sample->n_runs * sample->run;
    if (sample->width < 8 || n < RUN || cost / n < 16 * ONE_BIT)
        return false;
    const uint32_t n_distinct = count_distinct(sample);
    return n_distinct < n / 8 && cost / n > approximate_log2(n_distinct) + 8 * ONE_BIT;
}

enum hti_coding hti_planes_choose(const uint8_t *elements, size_t n, unsigned width)
{
    if (n == 0)
        return HTI_CODING_PLAIN;
    if (width == 1 || n == 1)
        return HTI_CODING_PLANES;
    const struct sample sample = take_sample(elements, n, width);
    const uint32_t planes = cost_of_planes(&sample, 0);
    const uint32_t deltas = cost_of_planes(&sample, 1);
    const bool deltas_win = deltas < planes - planes / 8;
    if (is_better_plain(&sample, deltas_win ? deltas : planes))
        return HTI_CODING_PLAIN;
    return deltas_win ? HTI_CODING_DELTAS : HTI_CODING_PLANES;
}

/* --- encode --- */

/* Room for all is reserved; n numbers. */
static void put_planes(struct hti_shuffle_form form, const uint8_t *elements, size_t n, struct hti_buf *out)
{
    uint8_t *planes[MAX_WIDTH] = { NULL };
    uint8_t lowest[MAX_WIDTH], *one[MAX_WIDTH];
    if (n == 0)
        return;
    const unsigned varying = hti_shuffle_varying(form, elements, n);
    for (unsigned j = 0; j < MAX_WIDTH; j++)
        one[j] = &lowest[j];
    hti_shuffle_split(form, elements, 1, one);
    out->data[out->size++] = (uint8_t)varying;
    for (unsigned j = 0; j < form.width; j++) {
        if (varying >> j & 1) {
            planes[j] = out->data + out->size;
            out->size += n;
        } else {
            out->data[out->size++] = lowest[j];
        }
    }
    hti_shuffle_split(form, elements, n, planes);
}

int hti_planes_encode(enum hti_coding coding, const uint8_t *elements, size_t n, unsigned width, struct hti_buf *out)
{
    assert(n > 0 || coding == HTI_CODING_PLAIN);
    assert(coding <= HTI_CODING_PLANES || (coding == HTI_CODING_DELTAS && width > 1));
    if (hti_buf_reserve(out, n * width + 1 + 2 * MAX_WIDTH) != 0)
        return HTSTORE_ENOMEM;
    if (coding == HTI_CODING_PLAIN)
        return hti_buf_append(out, elements, n * width);
    if (coding == HTI_CODING_PLANES) {
        put_planes((struct hti_shuffle_form){ width, 0 }, elements, n, out);
        return HTSTORE_OK;
    }
    (void)hti_buf_append(out, elements, width); /* there is room */
    put_planes((struct hti_shuffle_form){ width, 1 }, elements + width, n - 1, out);
    return HTSTORE_OK;
}

/* --- decode --- */

static int get_planes(struct hti_shuffle_form form, struct hti_reader *in, size_t n, uint8_t *elements)
{
    const uint8_t *planes[MAX_WIDTH] = { NULL };
    uint8_t constants[MAX_WIDTH] = { 0 };
    if (n == 0)
        return HTSTORE_OK;
    const unsigned varying = hti_reader_u8(in);
    if (varying >> form.width != 0)
        return HTSTORE_ECORRUPT;
    for (unsigned j = 0; j < form.width; j++) {
        if (varying >> j & 1)
            planes[j] = hti_reader_bytes(in, n);
        else
            constants[j] = hti_reader_u8(in);
    }
    if (!hti_reader_ok(in))
        return HTSTORE_ECORRUPT;
    hti_shuffle_join(form, planes, constants, n, elements);
    return HTSTORE_OK;
}

static int get_plain(struct hti_reader *in, size_t size, uint8_t *elements)
{
    const uint8_t *bytes = hti_reader_bytes(in, size);
    if (!bytes)
        return HTSTORE_ECORRUPT;
    if (size > 0)
        memcpy(elements, bytes, size);
    return HTSTORE_OK;
}

int hti_planes_decode(unsigned coding, struct hti_reader *in, size_t n, unsigned width, uint8_t *elements)
{
    if (coding == HTI_CODING_PLAIN)
        return get_plain(in, n * width, elements);
    if (n > 0 && coding == HTI_CODING_PLANES)
        return get_planes((struct hti_shuffle_form){ width, 0 }, in, n, elements);
    if (n == 0 || coding != HTI_CODING_DELTAS || width == 1)
        return HTSTORE_ECORRUPT;
    if (get_plain(in, width, elements) != 0)
        return HTSTORE_ECORRUPT;
    return get_planes((struct hti_shuffle_form){ width, 1 }, in, n - 1, elements + width);
}
