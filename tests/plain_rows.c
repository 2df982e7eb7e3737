/* plain_rows: hides how keys and values come from numbers, and numbers from keys. */
#include "plain_rows.h"

#include <stdlib.h>
#include <string.h>

#define POOL_SIZE ((size_t)64 << 20)
#define MIX UINT64_C(0x9E3779B97F4A7C15)
#define UNMIX UINT64_C(0xF1DE83E19937733D) /* MIX * UNMIX = 1 modulo 2^64 */
#define LONG_KEY 520

const struct plain_kind plain_kinds[N_PLAIN_KINDS] = {
    { "numbers", HTSTORE_INT64, HTSTORE_INT64, 1, 100000, 3000 },
    { "points", HTSTORE_INT32, HTSTORE_FLOAT32, 3, 30000, 3000 },
    { "words", HTSTORE_STRING, HTSTORE_INT64, 1, 20000, 3000 },
    { "names", HTSTORE_INT64, HTSTORE_STRING, 1, 10000, 1000 },
    { "vectors", HTSTORE_INT64, HTSTORE_FLOAT32, 64, 5000, 300 },
    { "images", HTSTORE_INT64, HTSTORE_UINT8, 70000, 12, 3 }, /* rows with memory of their own */
};

/* ---- chance ---- */

static uint64_t random_state;

static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9); /* splitmix64 */
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

void plain_seed(uint64_t seed)
{
    random_state = seed;
}

uint64_t plain_random(void)
{
    return mix(random_state += MIX);
}

size_t plain_pick(size_t limit)
{
    return (size_t)(plain_random() % limit);
}

/* ---- memory ---- */

static uint8_t *pool;
static size_t pool_used;

void *plain_alloc(size_t size)
{
    if (!pool)
        pool = malloc(POOL_SIZE);
    if (!pool || size > POOL_SIZE - 16 - pool_used)
        abort();
    uint8_t *memory = pool + pool_used;
    pool_used += (size + 15) / 16 * 16;
    return memory;
}

void plain_reset(void)
{
    pool_used = 0;
}

void plain_release(void)
{
    free(pool);
    pool = NULL;
    pool_used = 0;
}

/* ---- keys ---- */

/* Ten digits; before them, by the number, nothing, some bytes, or so many that the key is a long one. */
static struct htstore_bytes make_word(size_t number)
{
    const size_t prefix = number % 20 == 7 ? LONG_KEY : number % 4 == 0 ? number % 30 : 0;
    uint8_t *bytes = plain_alloc(prefix + 10);

    memset(bytes, 'k', prefix);
    for (size_t i = prefix + 10, rest = number; i > prefix; i--, rest /= 10)
        bytes[i - 1] = (uint8_t)('0' + rest % 10);
    return (struct htstore_bytes){ .data = bytes, .size = prefix + 10 };
}

static void make_key(const struct plain_kind *kind, size_t number, void *element)
{
    const uint64_t mixed = number * MIX;
    const uint32_t lower = (uint32_t)mixed;

    if (kind->key_dtype == HTSTORE_STRING) {
        const struct htstore_bytes word = make_word(number);
        memcpy(element, &word, sizeof word);
    } else if (kind->key_dtype == HTSTORE_INT32) {
        memcpy(element, &lower, sizeof lower);
    } else {
        memcpy(element, &mixed, sizeof mixed);
    }
}

size_t plain_number(const struct plain_kind *kind, const struct htstore_array *keys, size_t i)
{
    const size_t size = htstore_dtype_size(kind->key_dtype);
    const uint8_t *element = (const uint8_t *)keys->data + i * size;
    uint64_t mixed = 0;
    size_t number = 0;

    if (kind->key_dtype == HTSTORE_STRING) {
        struct htstore_bytes word, own;
        memcpy(&word, element, sizeof word);
        for (size_t k = word.size < 10 ? 0 : word.size - 10; k < word.size; k++)
            number = number * 10 + ((const uint8_t *)word.data)[k] - '0';
        own = make_word(number);
        return own.size == word.size && memcmp(own.data, word.data, word.size) == 0 ? number : SIZE_MAX;
    }
    memcpy(&mixed, element, size);
    number = kind->key_dtype == HTSTORE_INT32 ? (uint32_t)(mixed * UNMIX) : (size_t)(mixed * UNMIX);
    return number < kind->n_keys ? number : SIZE_MAX;
}

struct htstore_array plain_keys(const struct plain_kind *kind, const size_t *numbers, size_t n)
{
    const size_t size = htstore_dtype_size(kind->key_dtype);
    uint8_t *elements = plain_alloc(n * size);

    for (size_t i = 0; i < n; i++)
        make_key(kind, numbers[i], elements + i * size);
    return htstore_vector(kind->key_dtype, elements, n);
}

/* ---- values ---- */

static size_t value_size(const struct plain_kind *kind)
{
    return kind->n_elements * htstore_dtype_size(kind->value_dtype);
}

/* Of up to 300 bytes, one in 200 of up to 9000. */
static struct htstore_bytes make_text(uint64_t source)
{
    const size_t size = source % 200 == 0 ? source / 200 % 9000 : source / 200 % 300;
    uint8_t *bytes = plain_alloc(size + 8);

    for (size_t i = 0; i < size; i += 8) {
        const uint64_t word = mix(source + i);
        memcpy(bytes + i, &word, sizeof word);
    }
    return (struct htstore_bytes){ .data = bytes, .size = size };
}

static void make_value(const struct plain_kind *kind, size_t number, uint64_t version, void *out)
{
    const uint64_t source = mix(version <= PLAIN_SHARED ? version : number * MIX + version);

    if (kind->value_dtype == HTSTORE_STRING) {
        const struct htstore_bytes text = make_text(source);
        memcpy(out, &text, sizeof text);
    } else if (kind->value_dtype == HTSTORE_FLOAT32) {
        for (uint32_t i = 0; i < kind->n_elements; i++) {
            const float element = (float)((source + i * MIX) >> 40);
            memcpy((uint8_t *)out + i * sizeof element, &element, sizeof element);
        }
    } else if (kind->value_dtype == HTSTORE_INT64) {
        memcpy(out, &source, sizeof source);
    } else {
        memset(out, (int)(source & 0xff), kind->n_elements);
        memcpy(out, &source, sizeof source);
        memcpy((uint8_t *)out + kind->n_elements - sizeof source, &source, sizeof source);
    }
}

static struct htstore_array shaped(const struct plain_kind *kind, struct htstore_array array)
{
    if (kind->n_elements != 1)
        array.shape[array.rank++] = kind->n_elements;
    return array;
}

struct htstore_array plain_values(const struct plain_kind *kind, const size_t *numbers, const uint64_t *versions,
                                  size_t n)
{
    struct htstore_array values = plain_room(kind, n, NULL);

    for (size_t i = 0; i < n; i++)
        make_value(kind, numbers[i], versions[i], (uint8_t *)values.data + i * value_size(kind));
    return values;
}

struct htstore_array plain_shared(const struct plain_kind *kind, uint64_t version)
{
    void *elements = plain_alloc(value_size(kind));

    make_value(kind, 0, version, elements);
    return shaped(kind, htstore_scalar(kind->value_dtype, elements));
}

struct htstore_array plain_room(const struct plain_kind *kind, size_t n, struct htstore_arena *arena)
{
    struct htstore_array room = htstore_vector(kind->value_dtype, plain_alloc(n * value_size(kind)), n);

    room.arena = arena;
    return shaped(kind, room);
}

bool plain_is_value(const struct plain_kind *kind, const struct htstore_array *values, size_t i, size_t number,
                    uint64_t version)
{
    const size_t size = value_size(kind), mark = pool_used;
    const uint8_t *row = (const uint8_t *)values->data + i * size;
    void *expected = plain_alloc(size);
    bool equal;

    make_value(kind, number, version, expected);
    if (kind->value_dtype == HTSTORE_STRING) {
        struct htstore_bytes a, b;
        memcpy(&a, row, sizeof a);
        memcpy(&b, expected, sizeof b);
        equal = a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
    } else {
        equal = memcmp(row, expected, size) == 0;
    }
    pool_used = mark;
    return equal;
}
