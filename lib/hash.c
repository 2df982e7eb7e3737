/* hash: hides libxxhash (XXH3 of xxHash 0.8, specified in its doc/xxhash_spec.md) and the source of random bytes. */
#include "hash.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include "bytes.h"
#include "mem.h"

/* Rows of at most this size are gathered and hashed in one call: several times faster than feeding them in pieces. */
#define SMALL_ROW_SIZE 512
#define KEY_SIZE_SIZE 4

static struct hti_hash128 from_xxh(XXH128_hash_t hash)
{
    return (struct hti_hash128){ .low = hash.low64, .high = hash.high64 };
}

uint64_t hti_hash64(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

struct hti_hash128 hti_hash128(const void *data, size_t size)
{
    return from_xxh(XXH3_128bits(data, size));
}

static struct hti_hash128 hash_row_in_pieces(const void *key, size_t key_size, const void *value, size_t value_size)
{
    uint8_t head[KEY_SIZE_SIZE];
    hti_store_le32(head, (uint32_t)key_size);
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    (void)XXH3_128bits_reset_withSeed(&state, HTI_HASH_ROW_SEED);
    (void)XXH3_128bits_update(&state, head, sizeof head);
    if (key_size > 0)
        (void)XXH3_128bits_update(&state, key, key_size);
    if (value_size > 0)
        (void)XXH3_128bits_update(&state, value, value_size);
    return from_xxh(XXH3_128bits_digest(&state));
}

struct hti_hash128 hti_hash_row(const void *key, size_t key_size, const void *value, size_t value_size)
{
    const size_t room = SMALL_ROW_SIZE - KEY_SIZE_SIZE;
    if (key_size > room || value_size > room - key_size)
        return hash_row_in_pieces(key, key_size, value, value_size);

    uint8_t row[SMALL_ROW_SIZE];
    hti_store_le32(row, (uint32_t)key_size);
    if (key_size > 0)
        memcpy(row + KEY_SIZE_SIZE, key, key_size);
    if (value_size > 0)
        memcpy(row + KEY_SIZE_SIZE + key_size, value, value_size);
    return from_xxh(XXH3_128bits_withSeed(row, KEY_SIZE_SIZE + key_size + value_size, HTI_HASH_ROW_SEED));
}

struct hti_row_hasher {
    XXH3_state_t *state;
};

struct hti_row_hasher *hti_row_hasher_new(size_t key_size)
{
    struct hti_row_hasher *hasher = hti_mem_alloc(sizeof *hasher);
    uint8_t head[KEY_SIZE_SIZE];

    if (!hasher)
        return NULL;
    hasher->state = XXH3_createState();
    if (!hasher->state) {
        hti_mem_free(hasher);
        return NULL;
    }
    hti_store_le32(head, (uint32_t)key_size);
    (void)XXH3_128bits_reset_withSeed(hasher->state, HTI_HASH_ROW_SEED);
    (void)XXH3_128bits_update(hasher->state, head, sizeof head);
    return hasher;
}

void hti_row_hasher_add(struct hti_row_hasher *hasher, const void *data, size_t size)
{
    if (size > 0)
        (void)XXH3_128bits_update(hasher->state, data, size);
}

struct hti_hash128 hti_row_hasher_result(const struct hti_row_hasher *hasher)
{
    return from_xxh(XXH3_128bits_digest(hasher->state));
}

void hti_row_hasher_free(struct hti_row_hasher *hasher)
{
    if (!hasher)
        return;
    (void)XXH3_freeState(hasher->state);
    hti_mem_free(hasher);
}

void hti_digest_subtract(struct hti_hash128 *digest, struct hti_hash128 row)
{
    bool borrow = digest->low < row.low;
    digest->low -= row.low;
    digest->high -= row.high + borrow;
}

/* Not secret, only different each time: for systems that refuse getrandom(). */
static void fill_from_clock(uint8_t *out, size_t size)
{
    struct {
        struct timespec real, monotonic;
        const void *stack, *code, *destination;
        uint64_t pid, counter;
    } mix;
    memset(&mix, 0, sizeof mix);
    (void)clock_gettime(CLOCK_REALTIME, &mix.real);
    (void)clock_gettime(CLOCK_MONOTONIC, &mix.monotonic);
    mix.stack = &mix;
    mix.code = (const void *)(uintptr_t)&fill_from_clock;
    mix.destination = out;
    mix.pid = (uint64_t)getpid();
    while (size > 0) {
        uint8_t word[8];
        size_t piece = size < sizeof word ? size : sizeof word;
        mix.counter++;
        hti_store_le64(word, XXH3_64bits_withSeed(&mix, sizeof mix, mix.counter));
        memcpy(out, word, piece);
        out += piece;
        size -= piece;
    }
}

void hti_hash_random(void *out, size_t size)
{
    uint8_t *next = out;
    while (size > 0) {
        ssize_t got = getrandom(next, size, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            fill_from_clock(next, size);
            return;
        }
        next += got;
        size -= (size_t)got;
    }
}

uint64_t hti_hash_keyed(const struct hti_hash_secret *secret, const void *data, size_t size)
{
    return XXH3_64bits_withSecret(data, size, secret->bytes, sizeof secret->bytes);
}

unsigned hti_hash_version(void)
{
    return XXH_versionNumber();
}
