/*
 * fuzz_journal: reading of journal segments, over any bytes: as a whole file; as what follows an intact header; as payloads
 * of records whose checksums are right; and as changes to the payloads of valid records (four bytes each: offset u16,
 * kind, value), checksums made right again, so that mere chance gets past them.
 */
#include "segment.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "samples.h"

#define NUMBER 1u
#define MAX_SIZE ((size_t)1 << 20)
#define MAX_RECORDS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t store_id[16] = { 'f', 'u', 'z', 'z' };
static char folder[64];
static int folder_fd = -1, file_fd = -1;
static struct hti_row_type types[N_SAMPLE_TYPES];
static struct hti_record *samples[N_SAMPLE_TYPES]; /* one operation of each kind */

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void remove_folder(void)
{
    for (unsigned i = 0; i < N_SAMPLE_TYPES; i++)
        hti_record_free(samples[i]);
    (void)unlinkat(folder_fd, "0000000000000001.htj", 0);
    (void)rmdir(folder);
}

static void make_sample(unsigned i)
{
    struct sample_rows rows;
    struct hti_op_source source = { .table_id = i, .type = &types[i], .kind = HTI_OP_PUT };

    sample_rows_make(&rows, &types[i], 3, true);
    samples[i] = hti_record_new();
    must(samples[i] != NULL);
    source.n_rows = rows.n;
    source.keys = rows.keys;
    source.values = rows.values;
    must(hti_record_add(samples[i], &source, NULL) == 0);
    source.kind = HTI_OP_REMOVE;
    must(hti_record_add(samples[i], &source, NULL) == 0);
    source.kind = HTI_OP_CLEAR;
    source.n_rows = 0;
    must(hti_record_add(samples[i], &source, NULL) == 0);
    sample_rows_free(&rows);
}

/* In memory if possible: a disk makes this ten times as slow. */
static void make_folder(void)
{
    const char *const roots[] = { "/dev/shm", getenv("TMPDIR"), "/tmp" };

    for (unsigned i = 0; i < sizeof roots / sizeof *roots && folder_fd < 0; i++) {
        if (!roots[i] || snprintf(folder, sizeof folder, "%.40s/fuzz-XXXXXX", roots[i]) < 0 || !mkdtemp(folder))
            continue;
        folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    must(folder_fd >= 0);
}

/* Once: a folder with one segment, whose contents every run replaces. */
static void prepare(void)
{
    if (folder_fd >= 0)
        return;
    make_folder();
    must(hti_segment_create(folder_fd, folder, store_id, NUMBER, 4096, &file_fd, NULL) == 0);
    for (unsigned i = 0; i < N_SAMPLE_TYPES; i++) {
        sample_type(i, &types[i]);
        make_sample(i);
    }
    must(atexit(remove_folder) == 0);
}

static void write_at(uint64_t offset, const void *data, size_t size)
{
    must(pwrite(file_fd, data, size, (off_t)offset) == (ssize_t)size);
}

/* --- reading: touch everything, so that sanitizers see a wrong size --- */

static volatile uint64_t sink; /* or the compiler would not read what nobody uses */

static uint64_t touch_op(const struct hti_op *op)
{
    struct hti_row_walk rows;
    struct hti_row row;
    uint64_t sum = 0;

    for (hti_row_walk_init(&rows, op); hti_row_walk_next(&rows, &row);) {
        for (size_t i = 0; i < row.key_size; i++)
            sum += ((const uint8_t *)row.key)[i];
        for (size_t i = 0; i < row.value_size; i++)
            sum += ((const uint8_t *)row.value)[i];
    }
    for (unsigned i = 0; i < N_SAMPLE_TYPES; i++)
        sum += hti_op_is_valid(op, &types[i]);
    return sum;
}

static void touch_record(const struct hti_record *record)
{
    struct hti_op_walk ops;
    struct hti_op op;
    uint64_t sum = 0, n_rows = 0;
    int rc;

    hti_op_walk_init(&ops, record);
    while ((rc = hti_op_walk_next(&ops, &op)) == 0) {
        must(op.kind == HTI_OP_PUT || op.kind == HTI_OP_REMOVE || op.kind == HTI_OP_CLEAR);
        sum += touch_op(&op);
        n_rows += op.n_rows;
    }
    must(rc == 1 && n_rows == record->n_rows);
    sink += sum;
}

/* As recovery does. Returns how many records were found. */
static unsigned read_segment(bool must_open)
{
    struct hti_record_header header;
    struct hti_record *record;
    struct hti_segment segment;
    unsigned n = 0;
    int rc;

    rc = hti_segment_open(folder_fd, folder, store_id, NUMBER, &segment, NULL);
    must(rc == 0 || !must_open);
    if (rc != 0)
        return 0;
    while (rc == 0) {
        const uint64_t before = segment.offset;
        rc = hti_segment_read(&segment, &header, &record, NULL);
        if (rc == 0) {
            touch_record(record);
            hti_record_free(record);
            n++;
        } else if (rc == 1) {
            must(segment.offset == before);
            rc = hti_segment_resync(&segment, &header, NULL);
        }
        must(rc != 0 || (segment.offset > before && segment.offset % 8 == 0 && segment.offset <= segment.file_size));
    }
    must(rc == 1);
    hti_segment_close(&segment);
    return n;
}

/* --- writing --- */

static void read_raw(const uint8_t *data, size_t size)
{
    uint8_t header[64];

    must(pread(file_fd, header, sizeof header, 0) == (ssize_t)sizeof header);
    must(ftruncate(file_fd, 0) == 0);
    write_at(0, data, size);
    (void)read_segment(false);
    must(ftruncate(file_fd, 0) == 0);
    write_at(0, header, sizeof header);
    must(ftruncate(file_fd, HTI_SEGMENT_DATA_OFFSET) == 0);
}

static void read_behind_header(const uint8_t *data, size_t size)
{
    must(ftruncate(file_fd, HTI_SEGMENT_DATA_OFFSET) == 0);
    write_at(HTI_SEGMENT_DATA_OFFSET, data, size);
    (void)read_segment(true);
}

/* A record of any payload, with checksums that are right. Returns where the next one goes. */
static uint64_t write_record(uint64_t offset, uint64_t lsn, uint32_t n_ops, const uint8_t *payload, size_t size)
{
    const uint64_t binding = hti_segment_binding(store_id, NUMBER);
    uint8_t h[HTI_RECORD_HEADER_SIZE] = { 0 };

    hti_store_le32(h, HTI_RECORD_MAGIC);
    hti_store_le32(h + 4, HTI_RECORD_TYPE_BATCH);
    hti_store_le64(h + 8, lsn);
    hti_store_le64(h + 16, lsn - 1);
    hti_store_le64(h + 24, size);
    hti_store_le64(h + 32, hti_hash64(payload, size, 0));
    hti_store_le32(h + 40, n_ops);
    hti_store_le64(h + 56, hti_hash64(h, 56, binding));
    write_at(offset, h, sizeof h);
    write_at(offset + sizeof h, payload, size);
    return offset + sizeof h + (size + 7) / 8 * 8;
}

/* Records from the input: number of operations u8, size u16, payload. */
static void read_payloads(const uint8_t *data, size_t size)
{
    uint64_t offset = HTI_SEGMENT_DATA_OFFSET;

    must(ftruncate(file_fd, HTI_SEGMENT_DATA_OFFSET) == 0);
    for (unsigned n = 1; size >= 3 && n <= MAX_RECORDS; n++) {
        const size_t wanted = hti_load_le16(data + 1), left = size - 3, payload_size = wanted < left ? wanted : left;
        offset = write_record(offset, n, data[0] % 8, data + 3, payload_size);
        data += 3 + payload_size;
        size -= 3 + payload_size;
    }
    must(ftruncate(file_fd, (off_t)offset) == 0);
    (void)read_segment(true);
}

static void change(uint8_t *payload, size_t size, const uint8_t *order)
{
    const size_t at = hti_load_le16(order) % size;

    switch (order[2] % 4) {
    case 0:
        payload[at] = order[3];
        break;
    case 1:
        payload[at] ^= (uint8_t)(1u << order[3] % 8);
        break;
    case 2:
        payload[at] = (uint8_t)(payload[at] + order[3]);
        break;
    default: /* aim at the header of the first operation */
        payload[at % 40] = order[3];
    }
}

/* The samples, changed in one record after the other. Without a change all must be found. */
static void read_changed(const uint8_t *data, size_t size)
{
    uint64_t offset = HTI_SEGMENT_DATA_OFFSET;
    const bool is_changed = size >= 4;

    must(ftruncate(file_fd, HTI_SEGMENT_DATA_OFFSET) == 0);
    for (unsigned i = 0; i < N_SAMPLE_TYPES; i++) {
        const size_t payload_size = samples[i]->buf.size - HTI_RECORD_HEADER_SIZE;
        uint8_t *payload = sample_copy(samples[i]->buf.data + HTI_RECORD_HEADER_SIZE, payload_size);
        for (unsigned n = 0; n < 2 && size >= 4; n++, data += 4, size -= 4)
            change(payload, payload_size, data);
        offset = write_record(offset, i + 1, 3, payload, payload_size);
        free(payload);
    }
    must(ftruncate(file_fd, (off_t)offset) == 0);
    must(read_segment(true) == N_SAMPLE_TYPES || is_changed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > MAX_SIZE)
        return 0;
    prepare();
    read_raw(data, size);
    read_behind_header(data, size);
    read_payloads(data, size);
    read_changed(data, size);
    return 0;
}
