/*
 * fuzz_catalog: records of the catalogue, over any bytes: as they are; with a checksum that is right; and as changes to valid
 * records (four bytes each: offset u16, kind, value). What is accepted is encoded again, and must give the same bytes.
 */
#include "catalog.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "samples.h"

#define ID UINT64_C(7)
#define MAX_SIZE ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void check_encoding(struct hti_kv_bytes value, int rc, struct hti_buf *buf)
{
    must(rc == 0 && buf->size == value.size && memcmp(buf->data, value.data, value.size) == 0);
    hti_buf_release(buf);
}

static bool try_store(struct hti_kv_bytes value)
{
    struct hti_store_record record;
    struct hti_buf buf;

    if (hti_catalog_decode_store(value, &record, NULL) != 0)
        return false;
    hti_buf_init(&buf);
    check_encoding(value, hti_catalog_encode_store(&record, &buf), &buf);
    return true;
}

static bool try_table(struct hti_kv_bytes value)
{
    struct hti_object_record record;
    struct hti_buf buf;

    if (hti_catalog_decode_object(ID, value, &record, NULL) != 0)
        return false;
    hti_buf_init(&buf);
    check_encoding(value, hti_catalog_encode_object(&record, &buf), &buf);
    hti_object_record_release(&record);
    return true;
}

static bool try_totals(struct hti_kv_bytes value)
{
    struct hti_totals_record record;
    struct hti_buf buf;

    if (hti_catalog_decode_totals(ID, value, &record, NULL) != 0)
        return false;
    hti_buf_init(&buf);
    check_encoding(value, hti_catalog_encode_totals(&record, &buf), &buf);
    return true;
}

static bool try_garbage(struct hti_kv_bytes value)
{
    struct hti_garbage_record record;
    struct hti_buf buf;

    if (hti_catalog_decode_garbage(ID, value, &record, NULL) != 0)
        return false;
    hti_buf_init(&buf);
    check_encoding(value, hti_catalog_encode_garbage(&record, &buf), &buf);
    return true;
}

/* Its key holds its name: made of what the record says, if that can be a name. */
static struct hti_kv_bytes entry_key(struct hti_kv_bytes value, uint8_t space[HTI_CATALOG_MAX_KEY_SIZE])
{
    const uint8_t *data = value.data;
    size_t size = value.size >= 28 ? hti_load_le32(data + 16) : 0;

    if (size > value.size - (value.size < 28 ? value.size : 28))
        size = 0;
    return hti_catalog_entry_key(ID, size ? (const char *)data + 20 : "", size, space);
}

static bool try_entry(struct hti_kv_bytes value)
{
    uint8_t space[HTI_CATALOG_MAX_KEY_SIZE];
    struct hti_entry_record record;
    struct hti_buf buf;

    if (hti_catalog_decode_entry(entry_key(value, space), value, &record, NULL) != 0)
        return false;
    hti_buf_init(&buf);
    check_encoding(value, hti_catalog_encode_entry(&record, &buf), &buf);
    return true;
}

static bool try_record(enum hti_record_kind kind, const uint8_t *data, size_t size)
{
    const struct hti_kv_bytes value = { data, size };

    switch (kind) {
    case HTI_CATALOG_STORE:
        return try_store(value);
    case HTI_CATALOG_OBJECT:
        return try_table(value);
    case HTI_CATALOG_TOTALS:
        return try_totals(value);
    case HTI_CATALOG_ENTRY:
        return try_entry(value);
    case HTI_CATALOG_GARBAGE:
        break;
    }
    return try_garbage(value);
}

static bool try_resealed(enum hti_record_kind kind, uint8_t *data, size_t size)
{
    uint8_t space[HTI_CATALOG_MAX_KEY_SIZE];
    struct hti_kv_bytes key;

    if (size < 8)
        return false;
    if (kind == HTI_CATALOG_ENTRY)
        key = entry_key((struct hti_kv_bytes){ data, size }, space);
    else
        key = hti_catalog_key(kind, kind == HTI_CATALOG_STORE ? 0 : ID, space);
    hti_store_le64(data + size - 8, hti_hash64(data, size - 8, hti_hash64(key.data, key.size, 0)));
    return try_record(kind, data, size);
}

static void try_bytes(const uint8_t *data, size_t size)
{
    enum hti_record_kind kind;
    uint64_t id;

    if (hti_catalog_decode_key((struct hti_kv_bytes){ data, size }, &kind, &id) == 0)
        must(kind == HTI_CATALOG_ENTRY || (size == HTI_CATALOG_KEY_SIZE && kind <= HTI_CATALOG_GARBAGE));
    for (int k = HTI_CATALOG_STORE; k <= HTI_CATALOG_ENTRY; k++) {
        uint8_t *copy = sample_copy(data, size);
        (void)try_record((enum hti_record_kind)k, copy, size);
        (void)try_resealed((enum hti_record_kind)k, copy, size);
        free(copy);
    }
}

static void encode_variable(struct hti_buf *buf)
{
    char name[] = "weights";
    struct hti_object_record variable = {
        .id = ID, .kind = HTSTORE_KIND_VARIABLE, .role = HTSTORE_LOSS, .value_dtype = HTSTORE_INT16
    };

    variable.name = name;
    variable.value_shape = (struct hti_shape){ 2, { 3, 4 } };
    must(hti_catalog_encode_object(&variable, buf) == 0);
}

static void encode_sample(unsigned which, struct hti_buf *buf)
{
    static const struct hti_entry_record entry = {
        .mapping = ID, .index = 2, .object = 5, .name = "key", .name_size = 3
    };
    static const struct hti_store_record store = { .applied_lsn = 9, .next_id = 5, .session = 2, .first_segment = 3 };
    static const struct hti_totals_record totals = { .id = ID, .database = 4, .n_rows = 100, .digest = { 1, 2 } };
    struct hti_object_record table = {
        .id = ID, .kind = HTSTORE_KIND_TABLE, .key_dtype = HTSTORE_STRING, .value_dtype = HTSTORE_STRING
    };
    uint8_t strings[] = { 1, 0, 0, 0, 2, 0, 0, 0, 'a', 'b', 'c' };
    char name[] = "words";

    table.name = name;
    table.value_shape = (struct hti_shape){ 2, { 2, 1 } };
    table.default_value = strings;
    table.default_size = sizeof strings;
    if (which == HTI_CATALOG_STORE)
        must(hti_catalog_encode_store(&store, buf) == 0);
    else if (which == HTI_CATALOG_TOTALS)
        must(hti_catalog_encode_totals(&totals, buf) == 0);
    else if (which == HTI_CATALOG_ENTRY)
        must(hti_catalog_encode_entry(&entry, buf) == 0);
    else
        must(hti_catalog_encode_object(&table, buf) == 0);
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

static void change_all(enum hti_record_kind kind, struct hti_buf *buf, const uint8_t *data, size_t size)
{
    must(try_record(kind, buf->data, buf->size));
    for (; size >= 4; data += 4, size -= 4)
        change(buf->data, buf->size - 8, data);
    (void)try_resealed(kind, buf->data, buf->size);
    hti_buf_release(buf);
}

static void try_changed(enum hti_record_kind kind, const uint8_t *data, size_t size)
{
    struct hti_buf buf;

    hti_buf_init(&buf);
    encode_sample(kind, &buf);
    change_all(kind, &buf, data, size);
}

static void try_changed_variable(const uint8_t *data, size_t size)
{
    struct hti_buf buf;

    hti_buf_init(&buf);
    encode_variable(&buf);
    change_all(HTI_CATALOG_OBJECT, &buf, data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MAX_SIZE)
        return 0;
    try_bytes(data, size);
    size = size < 12 ? size : 12;
    try_changed(HTI_CATALOG_STORE, data, size);
    try_changed(HTI_CATALOG_OBJECT, data, size);
    try_changed(HTI_CATALOG_TOTALS, data, size);
    try_changed(HTI_CATALOG_ENTRY, data, size);
    try_changed_variable(data, size);
    return 0;
}
