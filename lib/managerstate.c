/* managerstate: hides the bytes of a manager's state file and how it is replaced. */
#include "managerstate.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "file.h"
#include "hash.h"
#include "mem.h"

#define MAGIC 0x4d435448u /* "HTCM" */
#define FORMAT_VERSION 1u
#define HEAD_SIZE 24u
#define ENTRY_SIZE 24u
#define CHECKSUM_SIZE 8u
#define MIN_CAPACITY 16u

void hti_managerstate_init(struct hti_managerstate *state)
{
    *state = (struct hti_managerstate){ 0 };
}

void hti_managerstate_release(struct hti_managerstate *state)
{
    hti_mem_free(state->entries);
    hti_managerstate_init(state);
}

/* Room for n entries in all. */
static int reserve(struct hti_managerstate *state, size_t n, struct htstore_error *error)
{
    size_t capacity = state->capacity < MIN_CAPACITY ? MIN_CAPACITY : state->capacity;
    struct hti_managed *entries;

    if (n <= state->capacity)
        return 0;
    while (capacity < n)
        capacity += capacity / 2;
    entries = hti_mem_realloc_array(state->entries, capacity, sizeof *entries);
    if (!entries)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a list of %zu checkpoints", n);
    state->entries = entries;
    state->capacity = capacity;
    return 0;
}

int hti_managerstate_copy(const struct hti_managerstate *state, struct hti_managerstate *copy,
                          struct htstore_error *error)
{
    int rc = reserve(copy, state->n_entries, error);

    if (rc != 0)
        return rc;
    if (state->n_entries > 0)
        memcpy(copy->entries, state->entries, state->n_entries * sizeof *state->entries);
    copy->n_entries = state->n_entries;
    copy->last_preserved = state->last_preserved;
    return 0;
}

int hti_managerstate_append(struct hti_managerstate *state, const struct hti_managed *entry,
                            struct htstore_error *error)
{
    int rc = reserve(state, state->n_entries + 1, error);

    if (rc == 0)
        state->entries[state->n_entries++] = *entry;
    return rc;
}

struct hti_managed *hti_managerstate_find(const struct hti_managerstate *state, int64_t number)
{
    for (size_t i = 0; i < state->n_entries; i++)
        if (state->entries[i].number == number)
            return &state->entries[i];
    return NULL;
}

void hti_managerstate_remove(struct hti_managerstate *state, int64_t number)
{
    struct hti_managed *entry = hti_managerstate_find(state, number);

    if (!entry)
        return;
    const size_t after = state->n_entries - (size_t)(entry - state->entries) - 1;
    memmove(entry, entry + 1, after * sizeof *entry);
    state->n_entries--;
}

size_t hti_managerstate_count(const struct hti_managerstate *state, uint32_t mark)
{
    size_t n = 0;

    for (size_t i = 0; i < state->n_entries; i++)
        n += state->entries[i].mark == mark;
    return n;
}

/* --- bytes --- */

static uint64_t time_to_bits(double time)
{
    uint64_t bits;

    memcpy(&bits, &time, sizeof bits);
    return bits;
}

static double bits_to_time(uint64_t bits)
{
    double time;

    memcpy(&time, &bits, sizeof time);
    return time;
}

int hti_managerstate_encode(const struct hti_managerstate *state, struct hti_buf *buf, struct htstore_error *error)
{
    const size_t start = buf->size;

    if (state->n_entries > HTI_MANAGERSTATE_MAX)
        return hti_fail(error, HTSTORE_EINVAL, "more than %zu checkpoints are listed", HTI_MANAGERSTATE_MAX);
    if (hti_buf_reserve(buf, HEAD_SIZE + state->n_entries * ENTRY_SIZE + CHECKSUM_SIZE) != 0)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for the state of the checkpoints");
    /* There is room for all of it: none of these fails. */
    hti_buf_append_u32(buf, MAGIC);
    hti_buf_append_u32(buf, FORMAT_VERSION);
    hti_buf_append_u64(buf, time_to_bits(state->last_preserved));
    hti_buf_append_u32(buf, (uint32_t)state->n_entries);
    hti_buf_append_u32(buf, 0);
    for (size_t i = 0; i < state->n_entries; i++) {
        hti_buf_append_u64(buf, (uint64_t)state->entries[i].number);
        hti_buf_append_u64(buf, time_to_bits(state->entries[i].time));
        hti_buf_append_u32(buf, state->entries[i].mark);
        hti_buf_append_u32(buf, 0);
    }
    hti_buf_append_u64(buf, hti_hash64(buf->data + start, buf->size - start, 0));
    return 0;
}

static int damaged(struct htstore_error *error, const char *path, uint64_t offset, const char *what)
{
    hti_fail(error, HTSTORE_ECORRUPT, "damaged state of checkpoints: %s", what);
    hti_error_set_path(error, path, offset);
    return HTSTORE_ECORRUPT;
}

/* Magic and version come before the checksum: a newer version is told apart from damage. */
static int check_head(const uint8_t *data, size_t size, const char *path, struct htstore_error *error)
{
    int code = 0;

    if (size < 8 || hti_load_le32(data) != MAGIC)
        code = hti_fail(error, HTSTORE_EFORMAT, "not a state of checkpoints");
    else if (hti_load_le32(data + 4) > FORMAT_VERSION)
        code = hti_fail(error, HTSTORE_EVERSION, "state of checkpoints of version %u; this library knows %u",
                        hti_load_le32(data + 4), FORMAT_VERSION);
    if (code) {
        hti_error_set_path(error, path, 0);
        return code;
    }
    if (hti_load_le32(data + 4) != FORMAT_VERSION)
        return damaged(error, path, 4, "no such version");
    if (size < HEAD_SIZE + CHECKSUM_SIZE)
        return damaged(error, path, size, "the file is cut short");
    const uint32_t n = hti_load_le32(data + 16);
    if (n > HTI_MANAGERSTATE_MAX || size != HEAD_SIZE + (size_t)n * ENTRY_SIZE + CHECKSUM_SIZE)
        return damaged(error, path, 16, "the number of entries does not go with the size of the file");
    if (hti_hash64(data, size - CHECKSUM_SIZE, 0) != hti_load_le64(data + size - CHECKSUM_SIZE))
        return damaged(error, path, size - CHECKSUM_SIZE, "the checksum does not match");
    if (hti_load_le32(data + 20) != 0)
        return damaged(error, path, 20, "bytes that must be 0 are not");
    if (!isfinite(bits_to_time(hti_load_le64(data + 8))))
        return damaged(error, path, 8, "a time is not a number");
    return 0;
}

static const char *entry_fault(const uint8_t *data)
{
    const uint32_t mark = hti_load_le32(data + 16);

    if (hti_load_le64(data) > INT64_MAX)
        return "a number is negative";
    if (!isfinite(bits_to_time(hti_load_le64(data + 8))))
        return "a time is not a number";
    if (mark < HTI_MANAGED_LISTED || mark > HTI_MANAGED_SAVING)
        return "an entry has an unknown mark";
    return hti_load_le32(data + 20) != 0 ? "bytes that must be 0 are not" : NULL;
}

static int compare_numbers(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int check_unique(const struct hti_managerstate *state, const char *path, struct htstore_error *error)
{
    int64_t *numbers = hti_mem_alloc_array(state->n_entries, sizeof *numbers);
    int rc = 0;

    if (!numbers)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for the state of the checkpoints");
    for (size_t i = 0; i < state->n_entries; i++)
        numbers[i] = state->entries[i].number;
    qsort(numbers, state->n_entries, sizeof *numbers, compare_numbers);
    for (size_t i = 1; rc == 0 && i < state->n_entries; i++)
        if (numbers[i] == numbers[i - 1])
            rc = damaged(error, path, HEAD_SIZE, "a number occurs twice");
    hti_mem_free(numbers);
    return rc;
}

static int decode_entries(const uint8_t *data, size_t n, const char *path, struct hti_managerstate *state,
                          struct htstore_error *error)
{
    int rc = reserve(state, n, error);

    for (size_t i = 0; rc == 0 && i < n; i++) {
        const uint8_t *entry = data + HEAD_SIZE + i * ENTRY_SIZE;
        const char *fault = entry_fault(entry);
        if (fault)
            return damaged(error, path, HEAD_SIZE + i * ENTRY_SIZE, fault);
        state->entries[i] = (struct hti_managed){ .number = (int64_t)hti_load_le64(entry),
                                                  .time = bits_to_time(hti_load_le64(entry + 8)),
                                                  .mark = hti_load_le32(entry + 16) };
        state->n_entries++;
    }
    return rc ? rc : check_unique(state, path, error);
}

int hti_managerstate_decode(const void *data, size_t size, const char *path, struct hti_managerstate *state,
                            struct htstore_error *error)
{
    int rc = check_head(data, size, path, error);

    if (rc != 0)
        return rc;
    rc = decode_entries(data, hti_load_le32((const uint8_t *)data + 16), path, state, error);
    if (rc != 0)
        hti_managerstate_release(state);
    else
        state->last_preserved = bits_to_time(hti_load_le64((const uint8_t *)data + 8));
    return rc;
}

/* --- the file --- */

static int read_whole(int fd, const char *path, struct hti_buf *buf, struct htstore_error *error)
{
    uint64_t size;
    int err = hti_file_size(fd, &size);

    if (err)
        return hti_file_fail(error, err, path, "cannot examine the file");
    if (size > HEAD_SIZE + HTI_MANAGERSTATE_MAX * ENTRY_SIZE + CHECKSUM_SIZE)
        return damaged(error, path, 0, "the file is too large");
    if (hti_buf_reserve(buf, (size_t)size) != 0)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for the state of the checkpoints");
    err = hti_file_read_at(fd, buf->data, (size_t)size, 0, &buf->size);
    return err ? hti_file_fail(error, err, path, "cannot read the file") : 0;
}

int hti_managerstate_load(int folder_fd, const char *name, const char *path, struct hti_managerstate *state,
                          struct htstore_error *error)
{
    struct hti_buf buf;
    int fd, rc = hti_file_open(folder_fd, name, O_RDONLY, path, &fd, error);

    if (rc != 0)
        return rc;
    hti_buf_init(&buf);
    rc = read_whole(fd, path, &buf, error);
    if (rc == 0)
        rc = hti_managerstate_decode(buf.data, buf.size, path, state, error);
    hti_buf_release(&buf);
    close(fd);
    return rc;
}

static int write_temporary(int folder_fd, const char *name, const char *path, const struct hti_buf *buf,
                           struct htstore_error *error)
{
    int fd, err, rc;

    /* One of a crash may be in the way. */
    if (unlinkat(folder_fd, name, 0) != 0 && errno != ENOENT)
        return hti_file_fail(error, errno, path, "cannot remove a leftover of the state");
    rc = hti_file_open(folder_fd, name, O_WRONLY | O_CREAT | O_EXCL, path, &fd, error);
    if (rc != 0)
        return rc;
    err = hti_file_write_at(fd, buf->data, buf->size, 0);
    if (err == 0)
        err = hti_file_sync(fd);
    if (close(fd) != 0 && err == 0)
        err = errno;
    return err ? hti_file_fail(error, err, path, "cannot write the state of the checkpoints") : 0;
}

int hti_managerstate_store(int folder_fd, const char *name, const char *temporary, const char *path,
                           const struct hti_managerstate *state, struct htstore_error *error)
{
    struct hti_buf buf;
    int rc;

    hti_buf_init(&buf);
    rc = hti_managerstate_encode(state, &buf, error);
    if (rc == 0)
        rc = write_temporary(folder_fd, temporary, path, &buf, error);
    hti_buf_release(&buf);
    if (rc == 0 && renameat2(folder_fd, temporary, folder_fd, name, 0) != 0)
        rc = hti_file_fail(error, errno, path, "cannot replace the state of the checkpoints");
    if (rc != 0) {
        unlinkat(folder_fd, temporary, 0);
        return rc;
    }
    const int err = hti_file_sync(folder_fd);
    return err ? hti_file_fail(error, err, path, "cannot sync the folder of the checkpoints") : 0;
}
