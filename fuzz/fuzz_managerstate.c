/*
 * fuzz_managerstate: the state of a checkpoint manager, over any bytes: as they are; with a checksum that is right; and as
 * changes to a valid one (four bytes each: offset u16, kind, value). What is accepted is encoded again, and must give the
 * same bytes.
 */
#include "managerstate.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "hash.h"
#include "samples.h"

#define MAX_SIZE ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static bool try_state(const uint8_t *data, size_t size)
{
    struct hti_managerstate state;
    struct hti_buf buf;

    hti_managerstate_init(&state);
    if (hti_managerstate_decode(data, size, "", &state, NULL) != 0)
        return false;
    hti_buf_init(&buf);
    must(hti_managerstate_encode(&state, &buf, NULL) == 0);
    must(buf.size == size && memcmp(buf.data, data, size) == 0);
    hti_buf_release(&buf);
    hti_managerstate_release(&state);
    return true;
}

static bool try_resealed(uint8_t *data, size_t size)
{
    if (size < 8)
        return false;
    hti_store_le64(data + size - 8, hti_hash64(data, size - 8, 0));
    return try_state(data, size);
}

static void change(uint8_t *data, size_t size, const uint8_t *order)
{
    const size_t at = hti_load_le16(order) % size;

    switch (order[2] % 3) {
    case 0:
        data[at] = order[3];
        break;
    case 1:
        data[at] ^= (uint8_t)(1u << order[3] % 8);
        break;
    default:
        data[at] = (uint8_t)(data[at] + order[3]);
    }
}

static void try_changed(const uint8_t *data, size_t size)
{
    struct hti_managed entries[] = { { 2, 13610, HTI_MANAGED_DELETING },
                                     { 3, 14330, HTI_MANAGED_LISTED },
                                     { 4, 16130.5, HTI_MANAGED_SAVING } };
    const struct hti_managerstate state = { .last_preserved = 10000, .entries = entries, .n_entries = 3 };
    struct hti_buf buf;

    hti_buf_init(&buf);
    must(hti_managerstate_encode(&state, &buf, NULL) == 0);
    must(try_state(buf.data, buf.size));
    for (; size >= 4; data += 4, size -= 4)
        change(buf.data, buf.size - 8, data);
    (void)try_resealed(buf.data, buf.size);
    hti_buf_release(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MAX_SIZE)
        return 0;
    uint8_t *copy = sample_copy(data, size);
    (void)try_state(copy, size);
    (void)try_resealed(copy, size);
    free(copy);
    try_changed(data, size < 12 ? size : 12);
    return 0;
}
