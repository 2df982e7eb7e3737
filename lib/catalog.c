/* catalog: hides the byte layout of the records that describe a store. */
#include "catalog.h"

#include <string.h>

#include "bytes.h"
#include "codec.h"
#include "mem.h"
#include "text.h"

#define STORE_MAGIC 0x54535448u /* "HTST" */
#define FLAG_CLEAN 1u
#define FLAG_FLUSHING 2u
#define FLAG_INCOMPLETE 4u
#define NAME_DIGEST_SIZE 16

/* What a record of each kind may hold, by enum htstore_kind. */
static const uint32_t KNOWN_FLAGS[] = { 0, HTSTORE_NO_CHECKPOINT | HTSTORE_ANONYMOUS,
                                        HTSTORE_ANONYMOUS | HTSTORE_NOT_TRAINABLE,
                                        HTSTORE_ANONYMOUS | HTSTORE_LAYER | HTSTORE_NOT_TRAINABLE };

void hti_object_record_release(struct hti_object_record *record)
{
    hti_mem_free(record->name);
    hti_mem_free(record->default_value);
    memset(record, 0, sizeof *record);
}

struct hti_kv_bytes hti_catalog_key(enum hti_record_kind kind, uint64_t id, uint8_t space[HTI_CATALOG_KEY_SIZE])
{
    space[0] = (uint8_t)kind;
    hti_store_be64(space + 1, id);
    return (struct hti_kv_bytes){ space, HTI_CATALOG_KEY_SIZE };
}

/* As with the keys of rows: a short name ends with a NUL, a long one with the hash of all of it. */
struct hti_kv_bytes hti_catalog_entry_key(uint64_t mapping, const char *name, size_t name_size,
                                          uint8_t space[HTI_CATALOG_MAX_KEY_SIZE])
{
    const size_t head = name_size <= HTI_CATALOG_SHORT_NAME_MAX ? name_size : HTI_CATALOG_SHORT_NAME_MAX;
    uint8_t *at = space + HTI_CATALOG_KEY_SIZE + head;

    hti_catalog_key(HTI_CATALOG_ENTRY, mapping, space);
    if (head > 0)
        memcpy(space + HTI_CATALOG_KEY_SIZE, name, head);
    if (head == name_size) {
        *at = 0;
        return (struct hti_kv_bytes){ space, HTI_CATALOG_KEY_SIZE + head + 1 };
    }
    const struct hti_hash128 hash = hti_hash128(name, name_size);
    hti_store_be64(at, hash.high);
    hti_store_be64(at + 8, hash.low);
    return (struct hti_kv_bytes){ space, HTI_CATALOG_KEY_SIZE + head + NAME_DIGEST_SIZE };
}

struct hti_hash128 hti_catalog_entry_hash(const struct hti_entry_record *record)
{
    uint8_t value[16];

    hti_store_le64(value, record->index);
    hti_store_le64(value + 8, record->object);
    return hti_hash_row(record->name, record->name_size, value, sizeof value);
}

int hti_catalog_decode_key(struct hti_kv_bytes key, enum hti_record_kind *kind, uint64_t *id)
{
    const uint8_t *bytes = key.data;
    bool fits;

    if (key.size < HTI_CATALOG_KEY_SIZE || bytes[0] > HTI_CATALOG_ENTRY)
        return HTSTORE_ECORRUPT;
    fits = bytes[0] == HTI_CATALOG_ENTRY ? key.size > HTI_CATALOG_KEY_SIZE && key.size <= HTI_CATALOG_MAX_KEY_SIZE
                                         : key.size == HTI_CATALOG_KEY_SIZE;
    if (!fits)
        return HTSTORE_ECORRUPT;
    *kind = (enum hti_record_kind)bytes[0];
    *id = hti_load_be64(bytes + 1);
    return 0;
}

/* The checksum covers the record's bytes from `start`, and by its seed the key they stand under. */
static uint64_t checksum(struct hti_kv_bytes key, const uint8_t *data, size_t size)
{
    return hti_hash64(data, size, hti_hash64(key.data, key.size, 0));
}

static int seal_under(struct hti_kv_bytes key, struct hti_buf *out, size_t start)
{
    const uint64_t sum =
        out->size > start ? checksum(key, out->data + start, out->size - start) : checksum(key, NULL, 0);

    return hti_buf_append_u64(out, sum);
}

static int seal(enum hti_record_kind kind, uint64_t id, struct hti_buf *out, size_t start)
{
    uint8_t space[HTI_CATALOG_KEY_SIZE];

    return seal_under(hti_catalog_key(kind, id, space), out, start);
}

static int open_under(struct hti_kv_bytes key, uint64_t id, struct hti_kv_bytes value, struct hti_reader *reader,
                      struct htstore_error *error)
{
    static const char *const NAMES[] = { "store", "object", "totals", "garbage", "entry" };
    const uint8_t *data = value.data;

    if (value.size < 8 || hti_load_le64(data + value.size - 8) != checksum(key, data, value.size - 8))
        return hti_fail(error, HTSTORE_ECORRUPT, "the %s record %llu of the catalogue is damaged",
                        NAMES[*(const uint8_t *)key.data], (unsigned long long)id);
    hti_reader_init(reader, data, value.size - 8);
    return 0;
}

static int open_record(enum hti_record_kind kind, uint64_t id, struct hti_kv_bytes value, struct hti_reader *reader,
                       struct htstore_error *error)
{
    uint8_t space[HTI_CATALOG_KEY_SIZE];

    return open_under(hti_catalog_key(kind, id, space), id, value, reader, error);
}

static int malformed(uint64_t id, struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_ECORRUPT, "record %llu of the catalogue is malformed", (unsigned long long)id);
}

/* --- store --- */

int hti_catalog_encode_store(const struct hti_store_record *record, struct hti_buf *out)
{
    const size_t start = out->size;
    const uint32_t flags = (record->clean ? FLAG_CLEAN : 0) | (record->flushing ? FLAG_FLUSHING : 0) |
                           (record->incomplete ? FLAG_INCOMPLETE : 0);
    int rc = hti_buf_append_u32(out, STORE_MAGIC);

    rc = rc ? rc : hti_buf_append_u32(out, HTI_STORE_VERSION);
    rc = rc ? rc : hti_buf_append_u64(out, 0); /* incompatible features */
    rc = rc ? rc : hti_buf_append_u64(out, 0); /* features that only writers must know */
    rc = rc ? rc : hti_buf_append(out, record->store_id, sizeof record->store_id);
    rc = rc ? rc : hti_buf_append_u64(out, record->applied_lsn);
    rc = rc ? rc : hti_buf_append_u64(out, record->next_id);
    rc = rc ? rc : hti_buf_append_u64(out, record->session);
    rc = rc ? rc : hti_buf_append_u64(out, record->first_segment);
    rc = rc ? rc : hti_buf_append_u32(out, flags);
    return rc ? rc : seal(HTI_CATALOG_STORE, 0, out, start);
}

static int check_version(struct hti_reader *reader, struct htstore_error *error)
{
    const uint32_t version = hti_reader_u32(reader);
    const uint64_t incompatible = hti_reader_u64(reader), writers = hti_reader_u64(reader);

    if (version != HTI_STORE_VERSION || incompatible != 0)
        return hti_fail(error, HTSTORE_EVERSION,
                        "the store has format %u with features %llx; this library knows format %u only", version,
                        (unsigned long long)incompatible, HTI_STORE_VERSION);
    if (writers != 0)
        return hti_fail(error, HTSTORE_EVERSION, "the store uses features %llx that this library does not know",
                        (unsigned long long)writers);
    return 0;
}

int hti_catalog_decode_store(struct hti_kv_bytes value, struct hti_store_record *record, struct htstore_error *error)
{
    struct hti_reader reader;
    const uint8_t *id;
    uint32_t flags;
    int rc;

    /* the version comes first: a newer format may have another layout and place of the checksum */
    if (value.size >= 8 && hti_load_le32(value.data) == STORE_MAGIC &&
        hti_load_le32((const uint8_t *)value.data + 4) > HTI_STORE_VERSION)
        return hti_fail(error, HTSTORE_EVERSION, "the store has format %u; this library knows format %u only",
                        hti_load_le32((const uint8_t *)value.data + 4), HTI_STORE_VERSION);
    rc = open_record(HTI_CATALOG_STORE, 0, value, &reader, error);
    if (rc != 0)
        return rc;
    if (hti_reader_u32(&reader) != STORE_MAGIC)
        return hti_fail(error, HTSTORE_EFORMAT, "not a libhtstore catalogue");
    rc = check_version(&reader, error);
    if (rc != 0)
        return rc;
    memset(record, 0, sizeof *record);
    id = hti_reader_bytes(&reader, sizeof record->store_id);
    record->applied_lsn = hti_reader_u64(&reader);
    record->next_id = hti_reader_u64(&reader);
    record->session = hti_reader_u64(&reader);
    record->first_segment = hti_reader_u64(&reader);
    flags = hti_reader_u32(&reader);
    if (!hti_reader_ok(&reader) || hti_reader_left(&reader) != 0 ||
        (flags & ~(FLAG_CLEAN | FLAG_FLUSHING | FLAG_INCOMPLETE)) || !id)
        return malformed(0, error);
    memcpy(record->store_id, id, sizeof record->store_id);
    record->clean = flags & FLAG_CLEAN;
    record->flushing = flags & FLAG_FLUSHING;
    record->incomplete = flags & FLAG_INCOMPLETE;
    return 0;
}

/* --- objects --- */

static int encode_values(const struct hti_object_record *record, struct hti_buf *out)
{
    int rc = hti_buf_append_u32(out, record->value_dtype);

    rc = rc ? rc : hti_buf_append_u32(out, record->value_shape.rank);
    for (uint32_t i = 0; rc == 0 && i < record->value_shape.rank; i++)
        rc = hti_buf_append_u64(out, (uint64_t)record->value_shape.dim[i]);
    return rc;
}

static int encode_name(const struct hti_object_record *record, struct hti_buf *out)
{
    const size_t size = record->name ? strlen(record->name) : 0;
    const int rc = hti_buf_append_u32(out, (uint32_t)size);

    return rc ? rc : hti_buf_append(out, record->name, size);
}

int hti_catalog_encode_object(const struct hti_object_record *record, struct hti_buf *out)
{
    const size_t start = out->size;
    int rc = hti_buf_append_u32(out, record->kind);

    rc = rc ? rc : hti_buf_append_u32(out, record->flags);
    if (record->kind == HTSTORE_KIND_TABLE)
        rc = rc ? rc : hti_buf_append_u32(out, record->key_dtype);
    if (record->kind == HTSTORE_KIND_VARIABLE)
        rc = rc ? rc : hti_buf_append_u32(out, record->role);
    if (record->kind != HTSTORE_KIND_MAPPING)
        rc = rc ? rc : encode_values(record, out);
    rc = rc ? rc : encode_name(record, out);
    if (record->kind == HTSTORE_KIND_TABLE) {
        rc = rc ? rc : hti_buf_append_u64(out, record->default_size);
        rc = rc ? rc : hti_buf_append(out, record->default_value, record->default_size);
    }
    return rc ? rc : seal(HTI_CATALOG_OBJECT, record->id, out, start);
}

static bool read_values(struct hti_reader *reader, struct hti_object_record *record)
{
    struct htstore_array view;

    record->value_dtype = hti_reader_u32(reader);
    if (!hti_dtype_is_valid(record->value_dtype))
        return false;
    view = htstore_scalar(record->value_dtype, NULL);
    view.rank = hti_reader_u32(reader);
    if (view.rank > HTSTORE_MAX_RANK)
        return false;
    for (uint32_t i = 0; i < view.rank; i++)
        view.shape[i] = (int64_t)hti_reader_u64(reader);
    return hti_shape_of(&view, &record->value_shape, NULL) == 0;
}

static int read_name(struct hti_reader *reader, struct hti_object_record *record)
{
    const uint32_t size = hti_reader_u32(reader);
    const uint8_t *bytes = hti_reader_bytes(reader, size);
    const bool anonymous = record->flags & HTSTORE_ANONYMOUS;

    if (!bytes || size > HTSTORE_MAX_NAME_SIZE || anonymous != (size == 0) || !hti_text_is_valid(bytes, size))
        return HTSTORE_ECORRUPT;
    if (anonymous)
        return 0;
    record->name = hti_mem_alloc(size + 1);
    if (!record->name)
        return HTSTORE_ENOMEM;
    memcpy(record->name, bytes, size);
    record->name[size] = 0;
    return 0;
}

static int read_default(struct hti_reader *reader, struct hti_object_record *record)
{
    const uint64_t size = hti_reader_u64(reader);
    struct hti_row_type type;
    const uint8_t *bytes;

    if (size > hti_reader_left(reader))
        return HTSTORE_ECORRUPT;
    bytes = hti_reader_bytes(reader, (size_t)size);
    hti_row_type_init(&type, record->key_dtype, record->value_dtype, hti_shape_count(&record->value_shape));
    if (!bytes || !hti_codec_value_is_valid(&type, bytes, (size_t)size))
        return HTSTORE_ECORRUPT;
    record->default_value = hti_mem_dup(bytes, (size_t)size);
    record->default_size = (size_t)size;
    return record->default_value ? 0 : HTSTORE_ENOMEM;
}

/* What stands before the name, by kind. */
static bool read_schema(struct hti_reader *reader, struct hti_object_record *record)
{
    record->kind = hti_reader_u32(reader);
    record->flags = hti_reader_u32(reader);
    if (record->kind < HTSTORE_KIND_TABLE || record->kind > HTSTORE_KIND_MAPPING ||
        (record->flags & ~KNOWN_FLAGS[record->kind]))
        return false;
    if (record->kind == HTSTORE_KIND_MAPPING)
        return true;
    if (record->kind == HTSTORE_KIND_TABLE) {
        record->key_dtype = hti_reader_u32(reader);
        if (!hti_dtype_is_valid(record->key_dtype) || !hti_dtype_is_key(record->key_dtype))
            return false;
    } else {
        record->role = hti_reader_u32(reader);
        if (record->role < HTSTORE_WEIGHT || record->role > HTSTORE_UPDATE)
            return false;
    }
    return read_values(reader, record);
}

int hti_catalog_decode_object(uint64_t id, struct hti_kv_bytes value, struct hti_object_record *record,
                              struct htstore_error *error)
{
    struct hti_reader reader;
    int rc = open_record(HTI_CATALOG_OBJECT, id, value, &reader, error);

    memset(record, 0, sizeof *record);
    if (rc != 0)
        return rc;
    record->id = id;
    if (!read_schema(&reader, record))
        return malformed(id, error);
    rc = read_name(&reader, record);
    if (rc == 0 && record->kind == HTSTORE_KIND_TABLE)
        rc = read_default(&reader, record);
    if (rc == 0 && (!hti_reader_ok(&reader) || hti_reader_left(&reader) != 0))
        rc = HTSTORE_ECORRUPT;
    if (rc != 0)
        hti_object_record_release(record);
    if (rc == HTSTORE_ENOMEM)
        return hti_fail(error, rc, "no memory for the catalogue");
    return rc ? malformed(id, error) : 0;
}

int hti_catalog_encode_totals(const struct hti_totals_record *record, struct hti_buf *out)
{
    const size_t start = out->size;
    int rc = hti_buf_append_u64(out, record->database);

    rc = rc ? rc : hti_buf_append_u64(out, record->n_rows);
    rc = rc ? rc : hti_buf_append_u64(out, record->digest.low);
    rc = rc ? rc : hti_buf_append_u64(out, record->digest.high);
    return rc ? rc : seal(HTI_CATALOG_TOTALS, record->id, out, start);
}

int hti_catalog_decode_totals(uint64_t id, struct hti_kv_bytes value, struct hti_totals_record *record,
                              struct htstore_error *error)
{
    struct hti_reader reader;
    const int rc = open_record(HTI_CATALOG_TOTALS, id, value, &reader, error);

    if (rc != 0)
        return rc;
    record->id = id;
    record->database = hti_reader_u64(&reader);
    record->n_rows = hti_reader_u64(&reader);
    record->digest.low = hti_reader_u64(&reader);
    record->digest.high = hti_reader_u64(&reader);
    return hti_reader_ok(&reader) && hti_reader_left(&reader) == 0 ? 0 : malformed(id, error);
}

int hti_catalog_encode_garbage(const struct hti_garbage_record *record, struct hti_buf *out)
{
    return seal(HTI_CATALOG_GARBAGE, record->database, out, out->size);
}

int hti_catalog_decode_garbage(uint64_t id, struct hti_kv_bytes value, struct hti_garbage_record *record,
                               struct htstore_error *error)
{
    struct hti_reader reader;
    const int rc = open_record(HTI_CATALOG_GARBAGE, id, value, &reader, error);

    if (rc != 0)
        return rc;
    record->database = id;
    return hti_reader_left(&reader) == 0 ? 0 : malformed(id, error);
}

int hti_catalog_encode_entry(const struct hti_entry_record *record, struct hti_buf *out)
{
    uint8_t space[HTI_CATALOG_MAX_KEY_SIZE];
    const size_t start = out->size;
    int rc = hti_buf_append_u64(out, record->index);

    rc = rc ? rc : hti_buf_append_u64(out, record->object);
    rc = rc ? rc : hti_buf_append_u32(out, (uint32_t)record->name_size);
    rc = rc ? rc : hti_buf_append(out, record->name, record->name_size);
    return rc ? rc
              : seal_under(hti_catalog_entry_key(record->mapping, record->name, record->name_size, space), out, start);
}

int hti_catalog_decode_entry(struct hti_kv_bytes key, struct hti_kv_bytes value, struct hti_entry_record *record,
                             struct htstore_error *error)
{
    uint8_t space[HTI_CATALOG_MAX_KEY_SIZE];
    enum hti_record_kind kind;
    struct hti_reader reader;
    struct hti_kv_bytes own;
    int rc;

    memset(record, 0, sizeof *record);
    if (hti_catalog_decode_key(key, &kind, &record->mapping) != 0 || kind != HTI_CATALOG_ENTRY)
        return hti_fail(error, HTSTORE_ECORRUPT, "the catalogue holds an entry under a key of another kind");
    rc = open_under(key, record->mapping, value, &reader, error);
    if (rc != 0)
        return rc;
    record->index = hti_reader_u64(&reader);
    record->object = hti_reader_u64(&reader);
    record->name_size = hti_reader_u32(&reader);
    record->name = (const char *)hti_reader_bytes(&reader, record->name_size);
    if (!record->name || !hti_reader_ok(&reader) || hti_reader_left(&reader) != 0 ||
        record->name_size > HTSTORE_MAX_NAME_SIZE || !hti_text_is_valid(record->name, record->name_size))
        return malformed(record->mapping, error);
    own = hti_catalog_entry_key(record->mapping, record->name, record->name_size, space);
    if (own.size != key.size || memcmp(own.data, key.data, own.size) != 0)
        return malformed(record->mapping, error);
    return 0;
}

/* --- in transactions --- */

static int put(struct hti_kv_write *write, enum hti_record_kind kind, uint64_t id, struct hti_buf *buf, int rc,
               struct htstore_error *error)
{
    uint8_t space[HTI_CATALOG_KEY_SIZE];

    if (rc != 0)
        rc = hti_fail(error, rc, "no memory for the catalogue");
    else
        rc = hti_kv_put(write, HTI_KV_CATALOG, hti_catalog_key(kind, id, space),
                        (struct hti_kv_bytes){ buf->data, buf->size }, error);
    hti_buf_release(buf);
    return rc;
}

int hti_catalog_put_store(struct hti_kv_write *write, const struct hti_store_record *record,
                          struct htstore_error *error)
{
    struct hti_buf buf;
    hti_buf_init(&buf);
    return put(write, HTI_CATALOG_STORE, 0, &buf, hti_catalog_encode_store(record, &buf), error);
}

int hti_catalog_put_object(struct hti_kv_write *write, const struct hti_object_record *record,
                           struct htstore_error *error)
{
    struct hti_buf buf;
    hti_buf_init(&buf);
    return put(write, HTI_CATALOG_OBJECT, record->id, &buf, hti_catalog_encode_object(record, &buf), error);
}

int hti_catalog_put_totals(struct hti_kv_write *write, const struct hti_totals_record *record,
                           struct htstore_error *error)
{
    struct hti_buf buf;
    hti_buf_init(&buf);
    return put(write, HTI_CATALOG_TOTALS, record->id, &buf, hti_catalog_encode_totals(record, &buf), error);
}

int hti_catalog_put_garbage(struct hti_kv_write *write, const struct hti_garbage_record *record,
                            struct htstore_error *error)
{
    struct hti_buf buf;
    hti_buf_init(&buf);
    return put(write, HTI_CATALOG_GARBAGE, record->database, &buf, hti_catalog_encode_garbage(record, &buf), error);
}

int hti_catalog_put_entry(struct hti_kv_write *write, const struct hti_entry_record *record,
                          struct htstore_error *error)
{
    uint8_t space[HTI_CATALOG_MAX_KEY_SIZE];
    const struct hti_kv_bytes key = hti_catalog_entry_key(record->mapping, record->name, record->name_size, space);
    struct hti_buf buf;
    int rc;

    hti_buf_init(&buf);
    if (hti_catalog_encode_entry(record, &buf) != 0)
        rc = hti_fail(error, HTSTORE_ENOMEM, "no memory for the catalogue");
    else
        rc = hti_kv_put_new(write, HTI_KV_CATALOG, key, (struct hti_kv_bytes){ buf.data, buf.size }, error);
    hti_buf_release(&buf);
    if (rc == 1)
        return hti_fail(error, HTSTORE_ECONFLICT,
                        "the key has the same stored form as another long key of the mapping");
    return rc;
}

int hti_catalog_remove_entry(struct hti_kv_write *write, const struct hti_entry_record *record,
                             struct htstore_error *error)
{
    uint8_t space[HTI_CATALOG_MAX_KEY_SIZE];
    const struct hti_kv_bytes key = hti_catalog_entry_key(record->mapping, record->name, record->name_size, space);
    const int rc = hti_kv_remove(write, HTI_KV_CATALOG, key, error);

    return rc == 1 ? 0 : rc;
}

int hti_catalog_remove(struct hti_kv_write *write, enum hti_record_kind kind, uint64_t id, struct htstore_error *error)
{
    uint8_t space[HTI_CATALOG_KEY_SIZE];
    const int rc = hti_kv_remove(write, HTI_KV_CATALOG, hti_catalog_key(kind, id, space), error);

    return rc == 1 ? 0 : rc;
}

int hti_catalog_get_store(struct hti_kv_read *read, struct hti_store_record *record, struct htstore_error *error)
{
    uint8_t space[HTI_CATALOG_KEY_SIZE];
    struct hti_kv_bytes value;
    const int rc = hti_kv_read_get(read, HTI_KV_CATALOG, hti_catalog_key(HTI_CATALOG_STORE, 0, space), &value, error);

    if (rc == 1)
        return hti_fail(error, HTSTORE_EFORMAT, "data.mdb has no libhtstore catalogue");
    return rc ? rc : hti_catalog_decode_store(value, record, error);
}

int hti_catalog_get_totals(struct hti_kv_read *read, uint64_t id, struct hti_totals_record *record,
                           struct htstore_error *error)
{
    uint8_t space[HTI_CATALOG_KEY_SIZE];
    struct hti_kv_bytes value;
    const int rc = hti_kv_read_get(read, HTI_KV_CATALOG, hti_catalog_key(HTI_CATALOG_TOTALS, id, space), &value, error);

    return rc ? rc : hti_catalog_decode_totals(id, value, record, error);
}

int hti_catalog_check_key(const struct htstore_bytes *key, struct htstore_error *error)
{
    char shown[128];

    if (!key || (!key->data && key->size > 0))
        return hti_fail(error, HTSTORE_EINVAL, "the key is NULL");
    if (!hti_text_is_valid(key->data, key->size)) {
        hti_text_escape(shown, sizeof shown, key->data, key->size);
        return hti_fail(error, HTSTORE_ETYPE, "Mapping accepts only string keys, but got a key %s", shown);
    }
    if (key->size > HTSTORE_MAX_NAME_SIZE)
        return hti_fail(error, HTSTORE_EINVAL, "the key is longer than %d bytes", HTSTORE_MAX_NAME_SIZE);
    return 0;
}

int hti_catalog_check_name(const char *name, struct htstore_error *error)
{
    size_t size;

    if (!name)
        return hti_fail(error, HTSTORE_EINVAL, "a name is required, or the anonymous flag");
    size = strnlen(name, HTSTORE_MAX_NAME_SIZE + 1);
    if (size == 0)
        return hti_fail(error, HTSTORE_EINVAL, "the name is empty");
    if (size > HTSTORE_MAX_NAME_SIZE)
        return hti_fail(error, HTSTORE_EINVAL, "the name is longer than %d bytes", HTSTORE_MAX_NAME_SIZE);
    if (!hti_text_is_valid(name, size))
        return hti_fail(error, HTSTORE_ETYPE, "the name is not valid UTF-8");
    return 0;
}
