/* segment: hides the header of journal files and the search for records in them. */
#include "segment.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "file.h"
#include "mem.h"

static const uint8_t MAGIC[8] = { 'H', 'T', 'J', 'S', 'E', 'G', '\r', '\n' };

#define HEADER_SIZE 64u
#define WINDOW_SIZE (1u << 20)
#define SLICE_SIZE ((uint64_t)4 << 20) /* some ms of a disk's time */
#define TEMPORARY_SUFFIX ".tmp"
#define MAX_VECTORS 256

void hti_segment_name(uint64_t number, char out[HTI_SEGMENT_NAME_SIZE])
{
    snprintf(out, HTI_SEGMENT_NAME_SIZE, "%016llx.htj", (unsigned long long)number);
}

uint64_t hti_segment_binding(const uint8_t store_id[16], uint64_t number)
{
    uint8_t both[24];

    memcpy(both, store_id, 16);
    hti_store_le64(both + 16, number);
    return hti_hash64(both, sizeof both, 0);
}

static void make_header(uint8_t *h, const uint8_t store_id[16], uint64_t number, uint64_t size)
{
    memset(h, 0, HEADER_SIZE);
    memcpy(h, MAGIC, sizeof MAGIC);
    hti_store_le32(h + 8, HTI_SEGMENT_VERSION);
    memcpy(h + 16, store_id, 16);
    hti_store_le64(h + 32, number);
    hti_store_le64(h + 40, size);
    hti_store_le64(h + 56, hti_hash64(h, 56, 0));
}

/* Many at a time; *at moves on. */
static int write_records(int fd, uint64_t binding, struct hti_record *records, uint64_t *at)
{
    struct iovec iov[MAX_VECTORS];
    int err = 0;

    for (struct hti_record *r = records; err == 0 && r;) {
        uint64_t size = 0;
        int n = 0;
        for (; r && n < MAX_VECTORS; r = r->next, n++) {
            hti_record_stamp(r, r->lsn, r->durable_lsn, binding);
            iov[n].iov_base = r->buf.data;
            iov[n].iov_len = r->buf.size;
            size += r->buf.size;
        }
        err = hti_file_writev_at(fd, iov, n, *at, NULL);
        *at += size;
    }
    return err;
}

/*
 * Zeros are really written: after fallocate alone a sync would still have to convert extents. In slices, each of which is synced, so
 * that the syncs of those who write to the segment before it do not wait for all of this one.
 */
static int write_zeros(int fd, uint64_t from, uint64_t size)
{
    int err = 0;

    for (uint64_t at = from; err == 0 && at < size; at += SLICE_SIZE) {
        const uint64_t left = size - at;
        err = hti_file_fill_zero(fd, at, left < SLICE_SIZE ? left : SLICE_SIZE);
        if (err == 0 && left > SLICE_SIZE)
            err = hti_file_datasync(fd);
    }
    return err;
}

static int write_segment(int fd, const uint8_t store_id[16], uint64_t number, uint64_t size, struct hti_record *records)
{
    uint8_t header[HEADER_SIZE];
    uint64_t at = records ? HTI_SEGMENT_DATA_OFFSET : 0;
    int err = records ? hti_file_fill_zero(fd, 0, at) : 0;

    if (err == 0)
        err = write_records(fd, hti_segment_binding(store_id, number), records, &at);
    if (err == 0)
        err = write_zeros(fd, at, size);
    if (err == 0) {
        make_header(header, store_id, number, size);
        err = hti_file_write_at(fd, header, sizeof header, 0);
    }
    return err ? err : hti_file_sync(fd);
}

int hti_segment_create(int dir_fd, const char *dir_path, const uint8_t store_id[16], uint64_t number, uint64_t size,
                       int *fd, struct htstore_error *error)
{
    return hti_segment_create_with(dir_fd, dir_path, store_id, number, size, NULL, fd, error);
}

int hti_segment_create_with(int dir_fd, const char *dir_path, const uint8_t store_id[16], uint64_t number,
                            uint64_t size, struct hti_record *records, int *fd, struct htstore_error *error)
{
    char name[HTI_SEGMENT_NAME_SIZE], temporary[HTI_SEGMENT_NAME_SIZE + 8];
    int rc, err;

    hti_segment_name(number, name);
    snprintf(temporary, sizeof temporary, "%s" TEMPORARY_SUFFIX, name);
    if (unlinkat(dir_fd, temporary, 0) != 0 && errno != ENOENT)
        return hti_file_fail(error, errno, dir_path, "cannot remove the leftover %s", temporary);
    rc = hti_file_open(dir_fd, temporary, O_RDWR | O_CREAT | O_EXCL, dir_path, fd, error);
    if (rc != 0)
        return rc;
    err = write_segment(*fd, store_id, number, size, records);
    if (err == 0)
        err = hti_file_rename_new(dir_fd, temporary, dir_fd, name);
    if (err == 0 && (err = hti_file_sync(dir_fd)) != 0)
        unlinkat(dir_fd, name, 0);
    if (err != 0) {
        close(*fd);
        *fd = -1;
        unlinkat(dir_fd, temporary, 0);
        return hti_file_fail(error, err, dir_path, "cannot make the journal segment %s of %llu bytes", name,
                             (unsigned long long)size);
    }
    return 0;
}

static bool parse_name(const char *name, uint64_t *number)
{
    char again[HTI_SEGMENT_NAME_SIZE];
    char *end;

    if (strlen(name) != 20)
        return false;
    *number = strtoull(name, &end, 16);
    hti_segment_name(*number, again);
    return strcmp(again, name) == 0;
}

static bool is_temporary(const char *name)
{
    const size_t n = strlen(name), suffix = strlen(TEMPORARY_SUFFIX);
    return n > suffix && strcmp(name + n - suffix, TEMPORARY_SUFFIX) == 0;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static int add_number(uint64_t **numbers, size_t *n, uint64_t number)
{
    uint64_t *more = hti_mem_realloc_array(*numbers, *n + 1, sizeof **numbers);

    if (!more)
        return ENOMEM;
    more[(*n)++] = number;
    *numbers = more;
    return 0;
}

static int read_names(DIR *dir, int dir_fd, bool clean, uint64_t **numbers, size_t *n)
{
    const struct dirent *entry;
    uint64_t number;
    int err = 0;

    for (errno = 0; err == 0 && (entry = readdir(dir)) != NULL; errno = 0) {
        if (parse_name(entry->d_name, &number))
            err = add_number(numbers, n, number);
        else if (clean && is_temporary(entry->d_name) && unlinkat(dir_fd, entry->d_name, 0) != 0)
            err = errno;
    }
    return err ? err : errno;
}

int hti_segment_list(int dir_fd, const char *dir_path, bool clean, uint64_t **numbers, size_t *n,
                     struct htstore_error *error)
{
    int fd, err;
    DIR *dir;
    int rc = hti_folder_open(dir_fd, ".", dir_path, &fd, error); /* a descriptor of its own: readdir moves it */

    *numbers = NULL;
    *n = 0;
    if (rc != 0)
        return rc;
    dir = fdopendir(fd);
    if (!dir) {
        err = errno;
        close(fd);
        return hti_file_fail(error, err, dir_path, "cannot read the folder");
    }
    err = read_names(dir, dir_fd, clean, numbers, n);
    closedir(dir);
    if (err != 0) {
        hti_mem_free(*numbers);
        *numbers = NULL;
        *n = 0;
        return hti_file_fail(error, err, dir_path, "cannot read the folder");
    }
    if (*n > 1)
        qsort(*numbers, *n, sizeof **numbers, compare_numbers);
    return 0;
}

static int fail_at(const struct hti_segment *segment, uint64_t offset, int code, const char *what,
                   struct htstore_error *error)
{
    hti_fail(error, code, "%s: %s", segment->path, what);
    hti_error_set_path(error, segment->path, offset);
    return code;
}

/* `store_id` NULL: any store will do. */
static int check_header(const struct hti_segment *segment, const uint8_t *h, const uint8_t *store_id,
                        struct htstore_error *error)
{
    if (memcmp(h, MAGIC, sizeof MAGIC) != 0 || hti_load_le64(h + 56) != hti_hash64(h, 56, 0))
        return fail_at(segment, 0, HTSTORE_ECORRUPT, "the header of this journal segment is damaged", error);
    if (hti_load_le32(h + 8) != HTI_SEGMENT_VERSION || hti_load_le32(h + 12) != 0)
        return fail_at(segment, 8, HTSTORE_EVERSION, "written by a newer version of libhtstore", error);
    if ((store_id && memcmp(h + 16, store_id, 16) != 0) || hti_load_le64(h + 32) != segment->number)
        return fail_at(segment, 16, HTSTORE_EFORMAT, "this journal segment belongs to another store or place", error);
    return 0;
}

static int read_some(struct hti_segment *segment, void *data, size_t size, uint64_t offset, size_t *got,
                     struct htstore_error *error)
{
    const int err = hti_file_read_at(segment->fd, data, size, offset, got);
    return err ? hti_file_fail(error, err, segment->path, "cannot read the journal") : 0;
}

int hti_segment_open_headless(int dir_fd, const char *dir_path, const uint8_t store_id[16], uint64_t number,
                              struct hti_segment *segment, struct htstore_error *error)
{
    char name[HTI_SEGMENT_NAME_SIZE];
    int rc, err;

    memset(segment, 0, sizeof *segment);
    segment->number = number;
    segment->binding = hti_segment_binding(store_id, number);
    segment->offset = HTI_SEGMENT_DATA_OFFSET;
    hti_segment_name(number, name);
    snprintf(segment->path, sizeof segment->path, "%.200s/%s", dir_path, name);
    rc = hti_file_open(dir_fd, name, O_RDONLY, segment->path, &segment->fd, error);
    if (rc != 0)
        return rc;
    err = hti_file_size(segment->fd, &segment->file_size);
    if (err != 0) {
        hti_segment_close(segment);
        return hti_file_fail(error, err, segment->path, "cannot read the journal");
    }
    return 0;
}

int hti_segment_open(int dir_fd, const char *dir_path, const uint8_t store_id[16], uint64_t number,
                     struct hti_segment *segment, struct htstore_error *error)
{
    uint8_t header[HEADER_SIZE] = { 0 };
    size_t got;
    int rc = hti_segment_open_headless(dir_fd, dir_path, store_id, number, segment, error);

    if (rc != 0)
        return rc;
    rc = read_some(segment, header, sizeof header, 0, &got, error);
    if (rc == 0)
        rc = check_header(segment, header, store_id, error);
    if (rc == 0 && segment->file_size < hti_load_le64(header + 40)) /* it had its whole size before it had its name */
        rc = fail_at(segment, segment->file_size, HTSTORE_ECORRUPT, "this journal segment was cut short", error);
    if (rc != 0)
        hti_segment_close(segment);
    return rc;
}

int hti_segment_identify(int dir_fd, const char *dir_path, uint64_t number, uint8_t store_id[16],
                         struct htstore_error *error)
{
    static const uint8_t nobody[16];
    uint8_t header[HEADER_SIZE] = { 0 };
    struct hti_segment segment;
    size_t got;
    int rc = hti_segment_open_headless(dir_fd, dir_path, nobody, number, &segment, error);

    if (rc != 0)
        return rc;
    rc = read_some(&segment, header, sizeof header, 0, &got, error);
    if (rc == 0)
        rc = check_header(&segment, header, NULL, error);
    if (rc == 0)
        memcpy(store_id, header + 16, 16);
    hti_segment_close(&segment);
    return rc;
}

void hti_segment_close(struct hti_segment *segment)
{
    if (segment->fd >= 0)
        close(segment->fd);
    segment->fd = -1;
    hti_mem_free(segment->window);
    segment->window = NULL;
    segment->window_size = 0;
}

static uint64_t bytes_left(const struct hti_segment *segment, uint64_t offset)
{
    return offset < segment->file_size ? segment->file_size - offset : 0;
}

static bool is_in_window(const struct hti_segment *segment, uint64_t offset, size_t size)
{
    return offset >= segment->window_offset && size <= segment->window_size &&
           offset - segment->window_offset <= segment->window_size - size;
}

/* `size` bytes of the file, at most WINDOW_SIZE; NULL if it ends before. A bad sector elsewhere in the window does not count. */
static int look_at(struct hti_segment *segment, uint64_t offset, size_t size, const uint8_t **data,
                   struct htstore_error *error)
{
    *data = NULL;
    if (!segment->window)
        segment->window = hti_mem_alloc(WINDOW_SIZE);
    if (!segment->window)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory to read the journal");
    if (!is_in_window(segment, offset, size)) {
        segment->window_offset = offset;
        segment->window_size = 0;
        int rc = read_some(segment, segment->window, WINDOW_SIZE, offset, &segment->window_size, NULL);
        if (rc != 0)
            rc = read_some(segment, segment->window, size, offset, &segment->window_size, error);
        if (rc != 0) {
            segment->window_size = 0;
            return rc;
        }
    }
    if (is_in_window(segment, offset, size))
        *data = segment->window + (offset - segment->window_offset);
    return 0;
}

/* A large payload, which does not fit the window. 1: it is not intact. */
static int read_large(struct hti_segment *segment, const struct hti_record_header *header, struct hti_record **record,
                      struct htstore_error *error)
{
    const size_t size = (size_t)header->payload_size;
    uint8_t *payload = hti_mem_alloc(size);
    size_t got;
    int rc;

    if (!payload)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a journal record of %zu bytes", size);
    rc = read_some(segment, payload, size, segment->offset + HTI_RECORD_HEADER_SIZE, &got, error);
    if (rc == 0)
        rc = got < size ? HTSTORE_ECORRUPT : hti_record_load(header, payload, record);
    hti_mem_free(payload);
    return rc;
}

/* Any payload. `record` NULL: look whether it is intact. */
static int read_payload(struct hti_segment *segment, const struct hti_record_header *header, struct hti_record **record,
                        struct htstore_error *error)
{
    const size_t size = (size_t)header->payload_size;
    struct hti_record *large = NULL;
    const uint8_t *payload;
    uint64_t n_rows;
    int rc;

    if (size > WINDOW_SIZE) {
        rc = read_large(segment, header, &large, error);
        if (rc == 0 && record)
            *record = large;
        else
            hti_record_free(large);
    } else {
        rc = look_at(segment, segment->offset + HTI_RECORD_HEADER_SIZE, size, &payload, error);
        if (rc != 0)
            return rc;
        if (!payload)
            return 1;
        rc = record ? hti_record_load(header, payload, record) : hti_record_verify(header, payload, &n_rows);
    }
    if (rc == HTSTORE_ENOMEM)
        hti_fail(error, rc, "no memory for a journal record of %zu bytes", size);
    return rc == HTSTORE_ECORRUPT ? 1 : rc;
}

int hti_segment_read(struct hti_segment *segment, struct hti_record_header *header, struct hti_record **record,
                     struct htstore_error *error)
{
    const uint8_t *bytes;
    int rc;

    if (bytes_left(segment, segment->offset) < HTI_RECORD_HEADER_SIZE)
        return 1;
    rc = look_at(segment, segment->offset, HTI_RECORD_HEADER_SIZE, &bytes, error);
    if (rc != 0)
        return rc;
    if (!bytes || !hti_record_parse_header(bytes, segment->binding, header) || header->type != HTI_RECORD_TYPE_BATCH ||
        header->payload_size > bytes_left(segment, segment->offset + HTI_RECORD_HEADER_SIZE))
        rc = 1;
    if (rc == 0)
        rc = read_payload(segment, header, record, error);
    if (rc == 0)
        segment->offset += HTI_RECORD_HEADER_SIZE + header->payload_size;
    else
        segment->window_size = 0; /* who tries again looks into the file again */
    return rc;
}

/* Look for a header in a window; returns its position, or `size` if there is none that lies in it whole. */
static size_t search_window(const uint8_t *window, size_t size, uint64_t binding, struct hti_record_header *header)
{
    for (size_t at = 0; at + HTI_RECORD_HEADER_SIZE <= size; at += 8)
        if (hti_load_le32(window + at) == HTI_RECORD_MAGIC && hti_record_parse_header(window + at, binding, header))
            return at;
    return size;
}

int hti_segment_resync(struct hti_segment *segment, struct hti_record_header *header, struct htstore_error *error)
{
    uint64_t offset = segment->offset + 8;
    const uint64_t left = bytes_left(segment, offset);
    const size_t window_size = left < WINDOW_SIZE ? (size_t)left : WINDOW_SIZE;
    uint8_t *window = hti_mem_alloc(window_size);
    int rc = 1;

    if (!window)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory to read the journal");
    while (bytes_left(segment, offset) >= HTI_RECORD_HEADER_SIZE) {
        size_t got;
        rc = read_some(segment, window, window_size, offset, &got, error);
        if (rc != 0)
            break;
        rc = 1;
        if (got < HTI_RECORD_HEADER_SIZE)
            break;
        const size_t at = search_window(window, got, segment->binding, header);
        if (at < got) {
            segment->offset = offset + at;
            rc = 0;
            break;
        }
        offset += got - got % 8 - (HTI_RECORD_HEADER_SIZE - 8); /* windows overlap by what a header may straddle */
    }
    hti_mem_free(window);
    return rc;
}

uint64_t hti_segment_folder_size(int store_dir_fd)
{
    char name[HTI_SEGMENT_NAME_SIZE];
    uint64_t *numbers, sum = 0;
    struct stat st;
    size_t n;
    int fd;

    if (hti_folder_open(store_dir_fd, "journal", "journal", &fd, NULL) != 0)
        return 0;
    if (hti_segment_list(fd, "journal", false, &numbers, &n, NULL) == 0) {
        for (size_t i = 0; i < n; i++) {
            hti_segment_name(numbers[i], name);
            if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                sum += (uint64_t)st.st_size;
        }
        hti_mem_free(numbers);
    }
    close(fd);
    return sum;
}
