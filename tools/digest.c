/* digest: hides XXH3-128 (xxHash 0.8, doc/xxhash_spec.md). */
#include "digest.h"

#include "buffer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#define SEED UINT64_C(0x68747374726f7731)

static XXH3_state_t *state; /* one for the program, which has one thread that hashes */

static void little_endian(unsigned char bytes[4], size_t size)
{
    for (int i = 0; i < 4; i++)
        bytes[i] = (unsigned char)(size >> 8 * i);
}

static void start(void)
{
    if (state == NULL)
        state = XXH3_createState();
    if (state == NULL)
        (void)memory_resize(NULL, SIZE_MAX / 2, 1); /* says that there is no memory */
    (void)XXH3_128bits_reset_withSeed(state, SEED);
}

void digest_add(struct digest *digest, const struct htstore_bytes *key, const struct htstore_bytes *value, bool sized)
{
    unsigned char key_size[4], value_size[4];
    XXH128_hash_t hash;
    uint64_t low;

    little_endian(key_size, key->size);
    little_endian(value_size, value->size);
    start();
    (void)XXH3_128bits_update(state, key_size, sizeof key_size);
    if (key->size > 0)
        (void)XXH3_128bits_update(state, key->data, key->size);
    if (sized)
        (void)XXH3_128bits_update(state, value_size, sizeof value_size);
    if (value->size > 0)
        (void)XXH3_128bits_update(state, value->data, value->size);
    hash = XXH3_128bits_digest(state);
    low = digest->low + hash.low64;
    digest->high += hash.high64 + (low < digest->low ? 1 : 0);
    digest->low = low;
}

void digest_print(const struct digest *digest, char text[DIGEST_TEXT_SIZE])
{
    (void)snprintf(text, DIGEST_TEXT_SIZE, "%016" PRIx64 "%016" PRIx64, digest->high, digest->low);
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return a->low == b->low && a->high == b->high;
}
