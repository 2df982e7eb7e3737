/* Tests of catalog: what is written is read back, and of what is damaged, cut, foreign or newer nothing is believed. */
#include "catalog.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "check_util.h"
#include "mem.h"
#include "samples.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define ID UINT64_C(0x0102030405060708)

static void set_up(void)
{
    sample_seed(1);
}

static void tear_down(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

static const struct hti_store_record sample_store = {
    .store_id = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 },
    .applied_lsn = 1000,
    .next_id = 17,
    .session = 3,
    .first_segment = 9,
};

static const struct hti_totals_record sample_totals = {
    .id = ID, .database = 5, .n_rows = UINT64_C(1) << 40, .digest = { 0x1111111111111111, 0x2222222222222222 }
};

/* Objects of many kinds: the default value of each table is well-formed for its type. The first four are tables. */
static const struct hti_object_record sample_objects[] = {
    { .id = ID,
      .kind = HTSTORE_KIND_TABLE,
      .name = "words",
      .key_dtype = HTSTORE_STRING,
      .value_dtype = HTSTORE_INT64,
      .default_value = (uint8_t[]){ 1, 2, 3, 4, 5, 6, 7, 8 },
      .default_size = 8 },
    { .id = ID,
      .kind = HTSTORE_KIND_TABLE,
      .name = "caf\xC3\xA9/x",
      .flags = HTSTORE_NO_CHECKPOINT,
      .key_dtype = HTSTORE_FLOAT64,
      .value_dtype = HTSTORE_STRING,
      .value_shape = { 2, { 2, 1 } },
      .default_value = (uint8_t[]){ 1, 0, 0, 0, 2, 0, 0, 0, 'a', 'b', 'c' },
      .default_size = 11 },
    { .id = ID,
      .kind = HTSTORE_KIND_TABLE,
      .flags = HTSTORE_ANONYMOUS,
      .key_dtype = HTSTORE_BOOL,
      .value_dtype = HTSTORE_BOOL,
      .value_shape = { 8, { 1, 1, 1, 1, 1, 1, 1, 3 } },
      .default_value = (uint8_t[]){ 1, 0, 1 },
      .default_size = 3 },
    { .id = ID,
      .kind = HTSTORE_KIND_TABLE,
      .name = "empty values",
      .key_dtype = HTSTORE_UINT8,
      .value_dtype = HTSTORE_FLOAT16,
      .value_shape = { 2, { 0, INT64_MAX } },
      .default_value = (uint8_t[]){ 0 },
      .default_size = 0 },
    { .id = ID,
      .kind = HTSTORE_KIND_VARIABLE,
      .name = "weights",
      .flags = HTSTORE_NOT_TRAINABLE,
      .role = HTSTORE_WEIGHT,
      .value_dtype = HTSTORE_BFLOAT16,
      .value_shape = { 3, { 4, 0, 2 } } },
    { .id = ID,
      .kind = HTSTORE_KIND_VARIABLE,
      .flags = HTSTORE_ANONYMOUS,
      .role = HTSTORE_UPDATE,
      .value_dtype = HTSTORE_STRING },
    { .id = ID, .kind = HTSTORE_KIND_MAPPING, .name = "m", .flags = HTSTORE_LAYER | HTSTORE_NOT_TRAINABLE },
    { .id = ID, .kind = HTSTORE_KIND_MAPPING, .flags = HTSTORE_ANONYMOUS },
};

static const struct hti_entry_record sample_entry = {
    .mapping = ID, .index = 3, .object = 77, .name = "key", .name_size = 3
};

static struct hti_kv_bytes bytes_of(const struct hti_buf *buf)
{
    return (struct hti_kv_bytes){ buf->data, buf->size };
}

/* --- decoding any of them, as one function --- */

static int decode(enum hti_record_kind kind, uint64_t id, struct hti_kv_bytes value, struct htstore_error *error)
{
    struct hti_store_record store;
    struct hti_totals_record totals;
    struct hti_garbage_record garbage;
    struct hti_object_record table;
    struct hti_entry_record entry;
    uint8_t space[HTI_CATALOG_MAX_KEY_SIZE];
    int rc;

    switch (kind) {
    case HTI_CATALOG_STORE:
        return hti_catalog_decode_store(value, &store, error);
    case HTI_CATALOG_TOTALS:
        return hti_catalog_decode_totals(id, value, &totals, error);
    case HTI_CATALOG_GARBAGE:
        return hti_catalog_decode_garbage(id, value, &garbage, error);
    case HTI_CATALOG_ENTRY:
        return hti_catalog_decode_entry(hti_catalog_entry_key(id, "key", 3, space), value, &entry, error);
    case HTI_CATALOG_OBJECT:
        break;
    }
    rc = hti_catalog_decode_object(id, value, &table, error);
    if (rc == 0)
        hti_object_record_release(&table);
    else
        ck_assert(!table.name && !table.default_value);
    return rc;
}

/* From memory of exactly that size, at an odd address as LMDB gives it. */
static int decode_copy(enum hti_record_kind kind, uint64_t id, const uint8_t *data, size_t size,
                       struct htstore_error *error)
{
    uint8_t *copy = malloc(size + 1);
    int rc;

    ck_assert_ptr_nonnull(copy);
    memcpy(copy + 1, data, size);
    rc = decode(kind, id, (struct hti_kv_bytes){ copy + 1, size }, error);
    free(copy);
    return rc;
}

#define FIRST_OBJECT 4 /* behind samples of the other kinds */
#define N_SAMPLES (FIRST_OBJECT + (int)COUNT(sample_objects))

/* One of the samples, encoded. */
static enum hti_record_kind encode_sample(int i, struct hti_buf *buf)
{
    const struct hti_garbage_record garbage = { .database = ID };

    hti_buf_init(buf);
    if (i == 0) {
        ck_assert_int_eq(hti_catalog_encode_store(&sample_store, buf), 0);
        return HTI_CATALOG_STORE;
    }
    if (i == 1) {
        ck_assert_int_eq(hti_catalog_encode_totals(&sample_totals, buf), 0);
        return HTI_CATALOG_TOTALS;
    }
    if (i == 2) {
        ck_assert_int_eq(hti_catalog_encode_garbage(&garbage, buf), 0);
        return HTI_CATALOG_GARBAGE;
    }
    if (i == 3) {
        ck_assert_int_eq(hti_catalog_encode_entry(&sample_entry, buf), 0);
        return HTI_CATALOG_ENTRY;
    }
    ck_assert_int_eq(hti_catalog_encode_object(&sample_objects[i - FIRST_OBJECT], buf), 0);
    return HTI_CATALOG_OBJECT;
}

/* Make the checksum right again after a change. */
static void reseal(enum hti_record_kind kind, uint64_t id, uint8_t *data, size_t size)
{
    uint8_t space[HTI_CATALOG_MAX_KEY_SIZE];
    const struct hti_kv_bytes key = kind == HTI_CATALOG_ENTRY
                                        ? hti_catalog_entry_key(id, "key", 3, space)
                                        : hti_catalog_key(kind, kind == HTI_CATALOG_STORE ? 0 : id, space);

    hti_store_le64(data + size - 8, hti_hash64(data, size - 8, hti_hash64(key.data, key.size, 0)));
}

/* --- keys --- */

START_TEST(keys_order_records_by_kind_and_number)
{
    uint8_t a[HTI_CATALOG_KEY_SIZE], b[HTI_CATALOG_KEY_SIZE];
    enum hti_record_kind kind;
    uint64_t id;

    for (int k = HTI_CATALOG_STORE; k <= HTI_CATALOG_GARBAGE; k++) {
        struct hti_kv_bytes key = hti_catalog_key((enum hti_record_kind)k, ID, a);
        ck_assert_uint_eq(key.size, HTI_CATALOG_KEY_SIZE);
        ck_assert_int_eq(hti_catalog_decode_key(key, &kind, &id), 0);
        ck_assert_int_eq(kind, k);
        ck_assert_uint_eq(id, ID);
    }
    hti_catalog_key(HTI_CATALOG_OBJECT, 255, a);
    hti_catalog_key(HTI_CATALOG_OBJECT, 256, b);
    ck_assert_int_lt(memcmp(a, b, sizeof a), 0);
    hti_catalog_key(HTI_CATALOG_OBJECT, UINT64_MAX, a);
    hti_catalog_key(HTI_CATALOG_TOTALS, 0, b);
    ck_assert_int_lt(memcmp(a, b, sizeof a), 0);
}
END_TEST

START_TEST(keys_that_are_none_are_refused)
{
    static const uint8_t bytes[10] = { HTI_CATALOG_ENTRY + 1, 0 }, right[10] = { 0 };
    enum hti_record_kind kind;
    uint64_t id;

    ck_assert_int_eq(hti_catalog_decode_key((struct hti_kv_bytes){ bytes, 9 }, &kind, &id), HTSTORE_ECORRUPT);
    for (size_t size = 0; size <= 10; size++)
        ck_assert_int_eq(hti_catalog_decode_key((struct hti_kv_bytes){ right, size }, &kind, &id),
                         size == 9 ? 0 : HTSTORE_ECORRUPT);
}
END_TEST

/* --- round trips --- */

START_TEST(a_store_record_is_read_back)
{
    struct hti_store_record read;
    struct hti_buf buf;

    for (int i = 0; i < 4; i++) {
        struct hti_store_record record = sample_store;
        record.clean = i & 1;
        record.flushing = i & 2;
        hti_buf_init(&buf);
        ck_assert_int_eq(hti_catalog_encode_store(&record, &buf), 0);
        ck_assert_int_eq(hti_catalog_decode_store(bytes_of(&buf), &read, NULL), 0);
        ck_assert_mem_eq(read.store_id, record.store_id, 16);
        ck_assert_uint_eq(read.applied_lsn, record.applied_lsn);
        ck_assert_uint_eq(read.next_id, record.next_id);
        ck_assert_uint_eq(read.session, record.session);
        ck_assert_uint_eq(read.first_segment, record.first_segment);
        ck_assert(read.clean == record.clean);
        ck_assert(read.flushing == record.flushing);
        hti_buf_release(&buf);
    }
}
END_TEST

START_TEST(an_object_record_is_read_back)
{
    const struct hti_object_record *record = &sample_objects[_i];
    struct hti_object_record read;
    struct hti_buf buf;

    hti_buf_init(&buf);
    ck_assert_int_eq(hti_catalog_encode_object(record, &buf), 0);
    ck_assert_int_eq(hti_catalog_decode_object(ID, bytes_of(&buf), &read, NULL), 0);
    ck_assert_uint_eq(read.id, ID);
    ck_assert_uint_eq(read.kind, record->kind);
    ck_assert_uint_eq(read.flags, record->flags);
    ck_assert_uint_eq(read.role, record->role);
    ck_assert_uint_eq(read.key_dtype, record->key_dtype);
    ck_assert_uint_eq(read.value_dtype, record->value_dtype);
    ck_assert(hti_shape_equal(&read.value_shape, &record->value_shape));
    ck_assert_uint_eq(read.default_size, record->default_size);
    ck_assert(read.default_size == 0 || memcmp(read.default_value, record->default_value, read.default_size) == 0);
    if (record->name)
        ck_assert_str_eq(read.name, record->name);
    else
        ck_assert_ptr_null(read.name);
    hti_object_record_release(&read);
    ck_assert_ptr_null(read.name);
    hti_object_record_release(&read);
    hti_buf_release(&buf);
}
END_TEST

START_TEST(a_name_of_the_longest_size_is_read_back)
{
    struct hti_object_record record = sample_objects[0], read;
    static char name[HTSTORE_MAX_NAME_SIZE + 2];
    struct hti_buf buf;

    memset(name, 'n', HTSTORE_MAX_NAME_SIZE);
    record.name = name;
    hti_buf_init(&buf);
    ck_assert_int_eq(hti_catalog_encode_object(&record, &buf), 0);
    ck_assert_int_eq(hti_catalog_decode_object(ID, bytes_of(&buf), &read, NULL), 0);
    ck_assert_str_eq(read.name, name);
    hti_object_record_release(&read);
    name[HTSTORE_MAX_NAME_SIZE] = 'n';
    buf.size = 0;
    ck_assert_int_eq(hti_catalog_encode_object(&record, &buf), 0);
    ck_assert_int_eq(hti_catalog_decode_object(ID, bytes_of(&buf), &read, NULL), HTSTORE_ECORRUPT);
    hti_buf_release(&buf);
}
END_TEST

START_TEST(totals_and_garbage_are_read_back)
{
    struct hti_totals_record totals;
    struct hti_garbage_record garbage = { .database = ID };
    struct hti_buf buf;

    hti_buf_init(&buf);
    ck_assert_int_eq(hti_catalog_encode_totals(&sample_totals, &buf), 0);
    ck_assert_int_eq(hti_catalog_decode_totals(ID, bytes_of(&buf), &totals, NULL), 0);
    ck_assert_uint_eq(totals.id, ID);
    ck_assert_uint_eq(totals.database, sample_totals.database);
    ck_assert_uint_eq(totals.n_rows, sample_totals.n_rows);
    ck_assert_uint_eq(totals.digest.low, sample_totals.digest.low);
    ck_assert_uint_eq(totals.digest.high, sample_totals.digest.high);
    buf.size = 0;
    ck_assert_int_eq(hti_catalog_encode_garbage(&garbage, &buf), 0);
    garbage.database = 0;
    ck_assert_int_eq(hti_catalog_decode_garbage(ID, bytes_of(&buf), &garbage, NULL), 0);
    ck_assert_uint_eq(garbage.database, ID);
    hti_buf_release(&buf);
}
END_TEST

START_TEST(entries_of_any_name_are_read_back)
{
    static const size_t sizes[] = { 0, 1, 479, 480, 481, 65535 };
    uint8_t space[HTI_CATALOG_MAX_KEY_SIZE], other[HTI_CATALOG_MAX_KEY_SIZE];
    struct hti_entry_record record = sample_entry, read;
    static char name[65537];
    struct hti_buf buf;

    memset(name, 'n', sizeof name);
    record.name = name;
    for (size_t i = 0; i < COUNT(sizes); i++) {
        record.name_size = sizes[i];
        const struct hti_kv_bytes key = hti_catalog_entry_key(ID, name, sizes[i], space);
        ck_assert_uint_le(key.size, HTI_KV_MAX_KEY_SIZE);
        hti_buf_init(&buf);
        ck_assert_int_eq(hti_catalog_encode_entry(&record, &buf), 0);
        ck_assert_int_eq(hti_catalog_decode_entry(key, bytes_of(&buf), &read, NULL), 0);
        ck_assert(read.mapping == ID && read.index == 3 && read.object == 77 && read.name_size == sizes[i]);
        ck_assert(sizes[i] == 0 || memcmp(read.name, name, sizes[i]) == 0);
        for (size_t k = 0; k < COUNT(sizes); k++) /* under the key of another name it is none */
            if (k != i)
                ck_assert_int_eq(hti_catalog_decode_entry(hti_catalog_entry_key(ID, name, sizes[k], other),
                                                          bytes_of(&buf), &read, NULL),
                                 HTSTORE_ECORRUPT);
        ck_assert_int_eq(
            hti_catalog_decode_entry(hti_catalog_entry_key(ID + 1, name, sizes[i], other), bytes_of(&buf), &read, NULL),
            HTSTORE_ECORRUPT);
        hti_buf_release(&buf);
    }
}
END_TEST

START_TEST(entries_that_are_none_are_refused)
{
    static const struct {
        const char *name;
        size_t size;
    } bad[] = { { "\xFF", 1 }, { "a\0b", 3 }, { "\xED\xA0\x80", 3 } };
    static char name[65536];
    uint8_t space[HTI_CATALOG_MAX_KEY_SIZE];
    struct hti_entry_record record = sample_entry, read;
    struct hti_buf buf;

    memset(name, 'n', sizeof name);
    for (size_t i = 0; i <= COUNT(bad); i++) {
        record.name = i < COUNT(bad) ? bad[i].name : name; /* the last one is too long */
        record.name_size = i < COUNT(bad) ? bad[i].size : sizeof name;
        hti_buf_init(&buf);
        ck_assert_int_eq(hti_catalog_encode_entry(&record, &buf), 0);
        ck_assert_int_eq(hti_catalog_decode_entry(hti_catalog_entry_key(ID, record.name, record.name_size, space),
                                                  bytes_of(&buf), &read, NULL),
                         HTSTORE_ECORRUPT);
        hti_buf_release(&buf);
    }
}
END_TEST

START_TEST(encoding_appends)
{
    struct hti_buf buf, alone;
    enum hti_record_kind kind = encode_sample(_i, &alone);
    const struct hti_garbage_record garbage = { .database = ID };

    hti_buf_init(&buf);
    ck_assert_int_eq(hti_buf_append(&buf, "before", 6), 0);
    ck_assert_int_eq(kind == HTI_CATALOG_STORE     ? hti_catalog_encode_store(&sample_store, &buf)
                     : kind == HTI_CATALOG_TOTALS  ? hti_catalog_encode_totals(&sample_totals, &buf)
                     : kind == HTI_CATALOG_GARBAGE ? hti_catalog_encode_garbage(&garbage, &buf)
                     : kind == HTI_CATALOG_ENTRY   ? hti_catalog_encode_entry(&sample_entry, &buf)
                                                 : hti_catalog_encode_object(&sample_objects[_i - FIRST_OBJECT], &buf),
                     0);
    ck_assert_uint_eq(buf.size, 6 + alone.size);
    ck_assert_mem_eq(buf.data + 6, alone.data, alone.size);
    hti_buf_release(&buf);
    hti_buf_release(&alone);
}
END_TEST

/* --- damage --- */

START_TEST(a_record_with_any_changed_bit_is_refused)
{
    struct htstore_error error;
    struct hti_buf buf;
    const enum hti_record_kind kind = encode_sample(_i, &buf);

    ck_assert_int_eq(decode_copy(kind, ID, buf.data, buf.size, &error), 0);
    for (size_t bit = 0; bit < buf.size * 8; bit++) {
        buf.data[bit / 8] = (uint8_t)(buf.data[bit / 8] ^ 1u << bit % 8);
        const int rc = decode_copy(kind, ID, buf.data, buf.size, &error);
        /* a version that became greater is one that is newer: where its checksum stands is not known */
        const bool newer = kind == HTI_CATALOG_STORE && bit / 8 >= 4 && bit / 8 < 8 && hti_load_le32(buf.data + 4) > 1;
        ck_assert_msg(rc == (newer ? HTSTORE_EVERSION : HTSTORE_ECORRUPT), "bit %zu of byte %zu: %d", bit % 8, bit / 8,
                      rc);
        ck_assert_int_eq(error.code, rc);
        buf.data[bit / 8] = (uint8_t)(buf.data[bit / 8] ^ 1u << bit % 8);
    }
    hti_buf_release(&buf);
}
END_TEST

START_TEST(a_record_cut_or_grown_is_refused)
{
    struct hti_buf buf;
    const enum hti_record_kind kind = encode_sample(_i, &buf);
    const size_t size = buf.size;

    for (size_t cut = 0; cut < size; cut++) {
        ck_assert_int_eq(decode_copy(kind, ID, buf.data, cut, NULL), HTSTORE_ECORRUPT);
        if (cut < 8)
            continue;
        uint8_t *copy = sample_copy(buf.data, cut);
        reseal(kind, ID, copy, cut); /* also if the checksum is right */
        const int rc = decode_copy(kind, ID, copy, cut, NULL);
        ck_assert(kind == HTI_CATALOG_STORE ? rc < 0 : rc == HTSTORE_ECORRUPT); /* a store's may lack its version */
        free(copy);
    }
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(hti_buf_append_u8(&buf, 0), 0);
        ck_assert_int_eq(decode_copy(kind, ID, buf.data, buf.size, NULL), HTSTORE_ECORRUPT);
        uint8_t *copy = sample_copy(buf.data, buf.size);
        reseal(kind, ID, copy, buf.size);
        ck_assert_int_eq(decode_copy(kind, ID, copy, buf.size, NULL), HTSTORE_ECORRUPT);
        free(copy);
    }
    hti_buf_release(&buf);
}
END_TEST

START_TEST(a_record_under_another_key_is_refused)
{
    struct hti_buf buf;
    const enum hti_record_kind kind = encode_sample(_i, &buf);

    for (int k = HTI_CATALOG_STORE; k <= HTI_CATALOG_ENTRY; k++)
        if (k != (int)kind)
            ck_assert_int_eq(decode_copy((enum hti_record_kind)k, ID, buf.data, buf.size, NULL), HTSTORE_ECORRUPT);
    if (kind != HTI_CATALOG_STORE)
        for (unsigned bit = 0; bit < 64; bit++)
            ck_assert_int_eq(decode_copy(kind, ID ^ UINT64_C(1) << bit, buf.data, buf.size, NULL), HTSTORE_ECORRUPT);
    hti_buf_release(&buf);
}
END_TEST

/* --- versions --- */

static int decode_changed_store(size_t at, uint64_t value, size_t size, struct htstore_error *error)
{
    struct hti_buf buf;
    uint8_t bytes[8];
    int rc;

    encode_sample(0, &buf);
    hti_store_le64(bytes, value);
    memcpy(buf.data + at, bytes, size);
    reseal(HTI_CATALOG_STORE, 0, buf.data, buf.size);
    rc = decode_copy(HTI_CATALOG_STORE, 0, buf.data, buf.size, error);
    hti_buf_release(&buf);
    return rc;
}

START_TEST(a_newer_store_is_told_apart_from_damage)
{
    struct htstore_error error;

    ck_assert_int_eq(decode_changed_store(4, 1, 4, &error), 0);
    ck_assert_int_eq(decode_changed_store(4, 2, 4, &error), HTSTORE_EVERSION);
    ck_assert_int_eq(decode_changed_store(4, UINT32_MAX, 4, &error), HTSTORE_EVERSION);
    ck_assert_int_eq(decode_changed_store(4, 0, 4, &error), HTSTORE_EVERSION);
    for (unsigned bit = 0; bit < 64; bit++) {
        ck_assert_int_eq(decode_changed_store(8, UINT64_C(1) << bit, 8, &error), HTSTORE_EVERSION);
        ck_assert_int_eq(decode_changed_store(16, UINT64_C(1) << bit, 8, &error), HTSTORE_EVERSION);
    }
    ck_assert_int_eq(decode_changed_store(0, 0, 4, &error), HTSTORE_EFORMAT);

    /* whatever a newer one looks like behind its version */
    static const uint8_t newer[] = { 'H', 'T', 'S', 'T', 2, 0, 0, 0, 99 };
    ck_assert_int_eq(decode_copy(HTI_CATALOG_STORE, 0, newer, sizeof newer, &error), HTSTORE_EVERSION);
    ck_assert_int_eq(decode_copy(HTI_CATALOG_STORE, 0, newer, 8, &error), HTSTORE_EVERSION);
    ck_assert_int_eq(decode_copy(HTI_CATALOG_STORE, 0, newer, 7, &error), HTSTORE_ECORRUPT);
}
END_TEST

START_TEST(unknown_flags_of_a_store_are_refused)
{
    struct hti_buf buf;
    size_t at;

    encode_sample(0, &buf);
    at = buf.size - 12;
    hti_buf_release(&buf);
    for (uint64_t flags = 0; flags < 8; flags++)
        ck_assert_int_eq(decode_changed_store(at, flags, 4, NULL), 0);
    for (unsigned bit = 3; bit < 32; bit++)
        ck_assert_int_eq(decode_changed_store(at, UINT64_C(1) << bit, 4, NULL), HTSTORE_ECORRUPT);
}
END_TEST

/* --- hostile tables: the checksum is right, what it covers is not --- */

enum { AT_KIND = 0, AT_FLAGS = 4, AT_KEY = 8, AT_VALUE = 12, AT_RANK = 16, AT_DIM = 20 };

static int decode_changed_table(int sample, size_t at, uint64_t value, size_t size)
{
    struct hti_buf buf;
    uint8_t bytes[8];
    int rc;

    encode_sample(FIRST_OBJECT + sample, &buf);
    ck_assert_uint_le(at + size, buf.size - 8);
    hti_store_le64(bytes, value);
    memcpy(buf.data + at, bytes, size);
    reseal(HTI_CATALOG_OBJECT, ID, buf.data, buf.size);
    rc = decode_copy(HTI_CATALOG_OBJECT, ID, buf.data, buf.size, NULL);
    hti_buf_release(&buf);
    return rc;
}

START_TEST(kinds_flags_and_dtypes_that_are_none_are_refused)
{
    static const uint64_t kinds[] = { 0, 2, 3, 255, UINT32_MAX }, dtypes[] = { 0, 15, 255, UINT32_MAX };

    for (size_t i = 0; i < COUNT(kinds); i++)
        ck_assert_int_eq(decode_changed_table(0, AT_KIND, kinds[i], 4), HTSTORE_ECORRUPT);
    for (size_t i = 0; i < COUNT(dtypes); i++) {
        ck_assert_int_eq(decode_changed_table(0, AT_KEY, dtypes[i], 4), HTSTORE_ECORRUPT);
        ck_assert_int_eq(decode_changed_table(0, AT_VALUE, dtypes[i], 4), HTSTORE_ECORRUPT);
    }
    ck_assert_int_eq(decode_changed_table(0, AT_KEY, HTSTORE_FLOAT16, 4), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode_changed_table(0, AT_KEY, HTSTORE_INT8, 4), 0);
    for (unsigned bit = 0; bit < 32; bit++) {
        const uint32_t flag = UINT32_C(1) << bit;
        const int rc = decode_changed_table(0, AT_FLAGS, flag, 4);
        ck_assert_int_eq(rc, flag == HTSTORE_NO_CHECKPOINT ? 0 : HTSTORE_ECORRUPT); /* a name and anonymous: neither */
    }
    ck_assert_int_eq(decode_changed_table(2, AT_FLAGS, 0, 4), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode_changed_table(2, AT_FLAGS, HTSTORE_ANONYMOUS | HTSTORE_NO_CHECKPOINT, 4), 0);
}
END_TEST

START_TEST(kinds_flags_and_roles_go_together)
{
    enum { VARIABLE = 4, MAPPING = 6, AT_ROLE = 8 };
    for (unsigned bit = 0; bit < 32; bit++) {
        const uint32_t flag = UINT32_C(1) << bit;
        ck_assert_int_eq(decode_changed_table(VARIABLE, 4, flag, 4),
                         flag == HTSTORE_NOT_TRAINABLE ? 0 : HTSTORE_ECORRUPT);
        ck_assert_int_eq(decode_changed_table(MAPPING, 4, flag, 4),
                         flag == HTSTORE_NOT_TRAINABLE || flag == HTSTORE_LAYER ? 0 : HTSTORE_ECORRUPT);
    }
    for (uint64_t role = 0; role < 6; role++)
        ck_assert_int_eq(decode_changed_table(VARIABLE, AT_ROLE, role, 4),
                         role >= 1 && role <= 3 ? 0 : HTSTORE_ECORRUPT);
    for (uint64_t dtype = 0; dtype < 20; dtype++)
        ck_assert_int_eq(decode_changed_table(VARIABLE, 12, dtype, 4),
                         dtype >= 1 && dtype <= 14 ? 0 : HTSTORE_ECORRUPT);
    for (uint64_t kind = 0; kind < 6; kind++) {
        if (kind != HTSTORE_KIND_MAPPING)
            ck_assert_int_eq(decode_changed_table(MAPPING, 0, kind, 4), HTSTORE_ECORRUPT);
        if (kind != HTSTORE_KIND_VARIABLE)
            ck_assert_int_eq(decode_changed_table(VARIABLE, 0, kind, 4), HTSTORE_ECORRUPT);
    }
}
END_TEST

START_TEST(hostile_shapes_are_refused)
{
    static const uint64_t ranks[] = { 1, 3, 4, 8, 9, 100, 0x7FFFFFFF, 0x80000000, UINT32_MAX };
    static const uint64_t dims[] = { 0,
                                     1,
                                     3,
                                     UINT32_MAX,
                                     UINT64_C(1) << 32,
                                     UINT64_C(1) << 60,
                                     INT64_MAX,
                                     UINT64_C(1) << 63,
                                     UINT64_MAX,
                                     UINT64_MAX / 2 };

    for (size_t i = 0; i < COUNT(ranks); i++)
        ck_assert_int_eq(decode_changed_table(1, AT_RANK, ranks[i], 4), HTSTORE_ECORRUPT);
    for (size_t i = 0; i < COUNT(dims); i++)
        ck_assert_int_eq(decode_changed_table(1, AT_DIM, dims[i], 8), HTSTORE_ECORRUPT);
    for (size_t i = 0; i < COUNT(dims); i++)
        if (dims[i] != 1)
            ck_assert_int_eq(decode_changed_table(1, AT_DIM + 8, dims[i], 8), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode_changed_table(3, AT_DIM, 1, 8), HTSTORE_ECORRUPT); /* [1, 2^63 - 1] */
    ck_assert_int_eq(decode_changed_table(3, AT_DIM + 8, UINT64_MAX, 8), HTSTORE_ECORRUPT);
}
END_TEST

START_TEST(hostile_lengths_are_refused)
{
    static const uint64_t sizes[] = { 0,
                                      1,
                                      4,
                                      6,
                                      100,
                                      65535,
                                      65536,
                                      0x7FFFFFFF,
                                      0x80000000,
                                      0xFFFFFFFF,
                                      UINT64_C(1) << 32,
                                      (UINT64_C(1) << 32) + 8,
                                      INT64_MAX,
                                      UINT64_C(1) << 63,
                                      UINT64_MAX,
                                      UINT64_MAX - 7 };
    const size_t at_name = AT_DIM, at_default = AT_DIM + 4 + 5;

    for (size_t i = 0; i < COUNT(sizes); i++) {
        ck_assert_int_eq(decode_changed_table(0, at_name, (uint32_t)sizes[i], 4), HTSTORE_ECORRUPT);
        ck_assert_int_eq(decode_changed_table(0, at_default, sizes[i], 8), HTSTORE_ECORRUPT);
    }
    ck_assert_int_eq(decode_changed_table(0, at_name, 5, 4), 0);
    ck_assert_int_eq(decode_changed_table(0, at_default, 8, 8), 0);
}
END_TEST

START_TEST(names_that_are_no_text_are_refused)
{
    static const char *const bad[] = { "\xFFords", "wor\xC3z", "w\0rds", "\xED\xA0\x80xx", "wordz" };

    for (size_t i = 0; i < COUNT(bad); i++) {
        uint64_t bytes = 0;
        for (unsigned k = 0; k < 5; k++)
            bytes |= (uint64_t)(uint8_t)bad[i][k] << 8 * k;
        ck_assert_int_eq(decode_changed_table(0, AT_DIM + 4, bytes, 5), i + 1 == COUNT(bad) ? 0 : HTSTORE_ECORRUPT);
    }
}
END_TEST

START_TEST(default_values_that_are_none_are_refused)
{
    const size_t at_default = AT_DIM + 16 + 4 + 7 + 8, at_bools = AT_DIM + 64 + 4 + 8;

    ck_assert_int_eq(decode_changed_table(1, at_default, 2, 4), HTSTORE_ECORRUPT); /* sizes that do not add up */
    ck_assert_int_eq(decode_changed_table(1, at_default, UINT32_MAX, 4), HTSTORE_ECORRUPT);
    ck_assert_int_eq(decode_changed_table(2, at_bools + 1, 1, 1), 0);
    ck_assert_int_eq(decode_changed_table(2, at_bools + 1, 2, 1), HTSTORE_ECORRUPT);
}
END_TEST

/* Any damage with a right checksum: decoded or refused, but never a step outside. */
START_TEST(random_damage_with_a_right_checksum_is_harmless)
{
    struct hti_buf buf;
    const enum hti_record_kind kind = encode_sample(_i, &buf);

    for (int round = 0; round < 5000; round++) {
        uint8_t *copy = sample_copy(buf.data, buf.size);
        for (size_t n = 1 + sample_below(3); n > 0 && buf.size > 8; n--) {
            const size_t at = sample_below(buf.size - 8);
            copy[at] = (uint8_t)(sample_below(2) ? sample_random() : copy[at] ^ 1u << sample_below(8));
        }
        reseal(kind, ID, copy, buf.size);
        decode_copy(kind, ID, copy, buf.size, NULL);
        free(copy);
    }
    hti_buf_release(&buf);
}
END_TEST

/* --- memory --- */

START_TEST(without_memory_nothing_leaks)
{
    struct hti_buf buf, out;
    const enum hti_record_kind kind = encode_sample(_i, &buf);
    bool failed = true;

    for (uint64_t after = 0; failed; after++) {
        hti_mem_test_fail(after, true);
        const int rc = decode(kind, ID, bytes_of(&buf), NULL);
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_int_eq(rc, failed ? HTSTORE_ENOMEM : 0);
    }
    hti_buf_init(&out);
    hti_mem_test_fail(0, true);
    ck_assert_int_eq(hti_catalog_encode_store(&sample_store, &out), HTSTORE_ENOMEM);
    ck_assert_int_eq(hti_catalog_encode_object(&sample_objects[0], &out), HTSTORE_ENOMEM);
    ck_assert_int_eq(hti_catalog_encode_totals(&sample_totals, &out), HTSTORE_ENOMEM);
    hti_mem_test_fail(UINT64_MAX, false);
    hti_buf_release(&out);
    hti_buf_release(&buf);
}
END_TEST

/* --- in LMDB --- */

static char *directory;
static int dir_fd;
static struct hti_kv *kv;

static void set_up_kv(void)
{
    directory = check_tmpdir();
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const struct hti_kv_options options = {
        .dir_fd = dir_fd, .path = directory, .map_size = 1 << 20, .max_pinned = 4, .max_readers = 126
    };
    ck_assert_int_eq(hti_kv_open(&options, &kv, NULL), 0);
    ck_assert_int_eq(hti_kv_acquire(kv, HTI_KV_CATALOG, true, NULL), 0);
}

static void tear_down_kv(void)
{
    hti_mem_test_fail(UINT64_MAX, false);
    hti_kv_close(kv);
    close(dir_fd);
    check_tmpdir_remove(directory);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

static void put_all(void)
{
    struct hti_garbage_record garbage = { .database = 99 };
    struct hti_kv_write *write;

    ck_assert_int_eq(hti_kv_begin(kv, &write, NULL), 0);
    ck_assert_int_eq(hti_catalog_put_garbage(write, &garbage, NULL), 0);
    ck_assert_int_eq(hti_catalog_put_totals(write, &sample_totals, NULL), 0);
    ck_assert_int_eq(hti_catalog_put_object(write, &sample_objects[1], NULL), 0);
    ck_assert_int_eq(hti_catalog_put_store(write, &sample_store, NULL), 0);
    ck_assert_int_eq(hti_kv_commit(write, NULL), 0);
}

START_TEST(records_are_put_and_found_under_their_keys)
{
    static const struct {
        enum hti_record_kind kind;
        uint64_t id;
    } expected[] = {
        { HTI_CATALOG_STORE, 0 }, { HTI_CATALOG_OBJECT, ID }, { HTI_CATALOG_TOTALS, ID }, { HTI_CATALOG_GARBAGE, 99 }
    };
    struct hti_kv_bytes key, value;
    struct hti_store_record store;
    struct hti_kv_cursor *cursor;
    struct hti_kv_read *read;
    enum hti_record_kind kind;
    uint64_t id;

    put_all();
    put_all(); /* again: replaced */
    ck_assert_int_eq(hti_kv_read_begin(kv, false, &read, NULL), 0);
    ck_assert_int_eq(hti_catalog_get_store(read, &store, NULL), 0);
    ck_assert_uint_eq(store.applied_lsn, sample_store.applied_lsn);
    ck_assert_int_eq(hti_kv_cursor_open(read, HTI_KV_CATALOG, &cursor, NULL), 0);
    for (size_t i = 0; i < COUNT(expected); i++) {
        ck_assert_int_eq(hti_kv_cursor_next(cursor, &key, &value, NULL), 0);
        ck_assert_int_eq(hti_catalog_decode_key(key, &kind, &id), 0);
        ck_assert_int_eq(kind, expected[i].kind);
        ck_assert_uint_eq(id, expected[i].id);
        ck_assert_int_eq(decode(kind, id, value, NULL), 0);
    }
    ck_assert_int_eq(hti_kv_cursor_next(cursor, &key, &value, NULL), 1);
    hti_kv_cursor_close(cursor);
    hti_kv_read_end(read);
}
END_TEST

START_TEST(a_missing_store_record_means_that_it_is_no_store)
{
    struct hti_store_record store;
    struct htstore_error error;
    struct hti_kv_write *write;
    struct hti_kv_read *read;

    ck_assert_int_eq(hti_kv_read_begin(kv, false, &read, NULL), 0);
    ck_assert_int_eq(hti_catalog_get_store(read, &store, &error), HTSTORE_EFORMAT);
    hti_kv_read_end(read);
    put_all();
    ck_assert_int_eq(hti_kv_begin(kv, &write, NULL), 0);
    ck_assert_int_eq(hti_catalog_remove(write, HTI_CATALOG_STORE, 0, NULL), 0);
    ck_assert_int_eq(hti_catalog_remove(write, HTI_CATALOG_STORE, 0, NULL), 0); /* absent: fine */
    ck_assert_int_eq(hti_kv_commit(write, NULL), 0);
    ck_assert_int_eq(hti_kv_read_begin(kv, false, &read, NULL), 0);
    ck_assert_int_eq(hti_catalog_get_store(read, &store, &error), HTSTORE_EFORMAT);
    hti_kv_read_end(read);
}
END_TEST

START_TEST(a_put_without_memory_can_be_repeated)
{
    struct htstore_error error;
    struct hti_kv_write *write;

    ck_assert_int_eq(hti_kv_begin(kv, &write, NULL), 0);
    hti_mem_test_fail(0, true);
    ck_assert_int_eq(hti_catalog_put_store(write, &sample_store, &error), HTSTORE_ENOMEM);
    ck_assert_int_eq(hti_catalog_put_object(write, &sample_objects[0], &error), HTSTORE_ENOMEM);
    hti_mem_test_fail(UINT64_MAX, false);
    hti_kv_abort(write);
    put_all();
}
END_TEST

/* --- names --- */

START_TEST(names_are_checked)
{
    static char longest[HTSTORE_MAX_NAME_SIZE + 2];
    struct htstore_error error;

    memset(longest, 'n', HTSTORE_MAX_NAME_SIZE);
    ck_assert_int_eq(hti_catalog_check_name("words", &error), 0);
    ck_assert_int_eq(hti_catalog_check_name("\xC3\xA9", &error), 0);
    ck_assert_int_eq(hti_catalog_check_name(longest, &error), 0);
    longest[HTSTORE_MAX_NAME_SIZE] = 'n';
    ck_assert_int_eq(hti_catalog_check_name(longest, &error), HTSTORE_EINVAL);
    ck_assert_int_eq(hti_catalog_check_name("", &error), HTSTORE_EINVAL);
    ck_assert_int_eq(hti_catalog_check_name(NULL, &error), HTSTORE_EINVAL);
    ck_assert_int_eq(hti_catalog_check_name("\xFF", &error), HTSTORE_ETYPE);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("catalog");
    TCase *tests = tcase_create("records"), *stored = tcase_create("in LMDB");

    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, keys_order_records_by_kind_and_number);
    tcase_add_test(tests, keys_that_are_none_are_refused);
    tcase_add_test(tests, a_store_record_is_read_back);
    tcase_add_loop_test(tests, an_object_record_is_read_back, 0, (int)COUNT(sample_objects));
    tcase_add_test(tests, a_name_of_the_longest_size_is_read_back);
    tcase_add_test(tests, totals_and_garbage_are_read_back);
    tcase_add_test(tests, entries_of_any_name_are_read_back);
    tcase_add_test(tests, entries_that_are_none_are_refused);
    tcase_add_test(tests, kinds_flags_and_roles_go_together);
    tcase_add_loop_test(tests, encoding_appends, 0, N_SAMPLES);
    tcase_add_loop_test(tests, a_record_with_any_changed_bit_is_refused, 0, N_SAMPLES);
    tcase_add_loop_test(tests, a_record_cut_or_grown_is_refused, 0, N_SAMPLES);
    tcase_add_loop_test(tests, a_record_under_another_key_is_refused, 0, N_SAMPLES);
    tcase_add_test(tests, a_newer_store_is_told_apart_from_damage);
    tcase_add_test(tests, unknown_flags_of_a_store_are_refused);
    tcase_add_test(tests, kinds_flags_and_dtypes_that_are_none_are_refused);
    tcase_add_test(tests, hostile_shapes_are_refused);
    tcase_add_test(tests, hostile_lengths_are_refused);
    tcase_add_test(tests, names_that_are_no_text_are_refused);
    tcase_add_test(tests, default_values_that_are_none_are_refused);
    tcase_add_loop_test(tests, random_damage_with_a_right_checksum_is_harmless, 0, N_SAMPLES);
    tcase_add_loop_test(tests, without_memory_nothing_leaks, 0, N_SAMPLES);
    tcase_add_test(tests, names_are_checked);
    suite_add_tcase(suite, tests);

    tcase_add_checked_fixture(stored, set_up_kv, tear_down_kv);
    tcase_add_test(stored, records_are_put_and_found_under_their_keys);
    tcase_add_test(stored, a_missing_store_record_means_that_it_is_no_store);
    tcase_add_test(stored, a_put_without_memory_can_be_repeated);
    suite_add_tcase(suite, stored);
    return check_run(suite);
}
