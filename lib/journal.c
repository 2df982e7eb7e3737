/* journal: hides segments, their preparation in the background, and what is durable. */
#include "journal.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "mem.h"
#include "segment.h"
#include "thread.h"

#define FIRST_SEGMENT_SIZE ((uint64_t)1 << 20)
#define MAX_VECTORS 256

/* A segment that has been filled, or the current one. */
struct piece {
    struct piece *next;
    uint64_t number;
    uint64_t size;
    uint64_t copied; /* bytes of the records that it was made with */
    uint64_t last_lsn; /* 0: no record yet */
};

/*
 * Lock order: sync_mutex before mutex. sync_mutex is held across fdatasync and across a switch of the segment, so that
 * a descriptor that is being synced is never closed. mutex guards the fields below it, never across a system call that
 * may wait for the disk.
 */
struct hti_journal {
    int dir_fd;
    char path[256];
    uint8_t store_id[16];
    uint64_t segment_bytes;

    /* of the appender (and, for fd, of whoever holds sync_mutex) */
    int fd;
    uint64_t binding;
    uint64_t offset;
    uint64_t next_lsn;

    _Atomic uint64_t written_lsn;
    _Atomic uint64_t durable_lsn;
    _Atomic uint64_t n_syncs;

    pthread_mutex_t sync_mutex;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t preparer;
    struct piece *oldest, *current; /* list from oldest to current */
    uint64_t next_number;
    uint64_t spare_size; /* 0: none wanted; else what the preparer shall make */
    bool preparing;
    int spare_fd; /* -1: none ready */
    struct piece *spare;
    bool stopping;
    _Atomic bool poisoned;
    struct htstore_error poison;
};

void hti_journal_poison(struct hti_journal *journal, const struct htstore_error *error)
{
    pthread_mutex_lock(&journal->mutex);
    if (!atomic_load(&journal->poisoned)) {
        journal->poison = *error;
        atomic_store(&journal->poisoned, true);
    }
    pthread_mutex_unlock(&journal->mutex);
}

int hti_journal_poisoned(struct hti_journal *journal, struct htstore_error *error)
{
    int code;

    if (!atomic_load(&journal->poisoned))
        return 0;
    pthread_mutex_lock(&journal->mutex);
    code = journal->poison.code;
    hti_error_copy(error, &journal->poison);
    pthread_mutex_unlock(&journal->mutex);
    return code;
}

static int poison_now(struct hti_journal *journal, int sys_errno, const char *what, struct htstore_error *error)
{
    struct htstore_error own;

    /* whatever the errno was: from here on the file's state is not known, so the class is I/O error (no retry) */
    hti_file_fail(&own, sys_errno, journal->path, "%s; the store takes no more writes until it is reopened", what);
    own.code = HTSTORE_EIO;
    hti_journal_poison(journal, &own);
    return hti_journal_poisoned(journal, error);
}

static struct piece *new_piece(uint64_t number, uint64_t size)
{
    struct piece *piece = hti_mem_zalloc(sizeof *piece);

    if (piece) {
        piece->number = number;
        piece->size = size;
    }
    return piece;
}

/* What make_segment() is to make. */
struct wanted {
    uint64_t number;
    uint64_t size;
    struct hti_record *records; /* that it begins with */
};

static int make_segment(struct hti_journal *journal, const struct wanted *wanted, int *fd, struct piece **piece,
                        struct htstore_error *error)
{
    struct htstore_error own;
    int rc;

    *fd = -1;
    *piece = new_piece(wanted->number, wanted->size);
    if (!*piece)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for a journal segment");
    rc = hti_segment_create_with(journal->dir_fd, journal->path, journal->store_id, wanted->number, wanted->size,
                                 wanted->records, fd, &own);
    if (rc == HTSTORE_EIO)
        hti_journal_poison(journal, &own); /* a sync that failed is not tried again, here neither */
    if (rc != 0) {
        hti_mem_free(*piece);
        *piece = NULL;
        hti_error_copy(error, &own);
    }
    return rc;
}

/* Prepares the next segment while the current one is being filled. Failures are left to the appender, who tries itself. */
static void *run_preparer(void *argument)
{
    struct hti_journal *journal = argument;

    pthread_mutex_lock(&journal->mutex);
    while (!journal->stopping) {
        if (journal->spare_size == 0) {
            pthread_cond_wait(&journal->changed, &journal->mutex);
            continue;
        }
        const struct wanted wanted = { .number = journal->next_number, .size = journal->spare_size };
        struct piece *piece;
        int fd;

        journal->preparing = true;
        pthread_mutex_unlock(&journal->mutex);
        const int rc = make_segment(journal, &wanted, &fd, &piece, NULL);
        pthread_mutex_lock(&journal->mutex);
        journal->preparing = false;
        journal->spare_size = 0;
        if (rc == 0) {
            journal->spare_fd = fd;
            journal->spare = piece;
            journal->next_number++;
        }
        pthread_cond_broadcast(&journal->changed);
    }
    pthread_mutex_unlock(&journal->mutex);
    return NULL;
}

static uint64_t size_after(const struct hti_journal *journal, const struct piece *piece)
{
    const uint64_t size = piece->size - piece->copied;

    return size * 2 < journal->segment_bytes ? size * 2 : journal->segment_bytes;
}

/* Half of the current segment is used: have the next one made. */
static void want_spare(struct hti_journal *journal)
{
    pthread_mutex_lock(&journal->mutex);
    if (!journal->spare && !journal->preparing && journal->spare_size == 0 &&
        journal->offset - journal->current->copied > (journal->current->size - journal->current->copied) / 2) {
        journal->spare_size = size_after(journal, journal->current);
        pthread_cond_broadcast(&journal->changed);
    }
    pthread_mutex_unlock(&journal->mutex);
}

static int init_locks(struct hti_journal *journal)
{
    int err = pthread_mutex_init(&journal->sync_mutex, NULL);

    if (err == 0 && (err = pthread_mutex_init(&journal->mutex, NULL)) != 0)
        pthread_mutex_destroy(&journal->sync_mutex);
    if (err == 0 && (err = pthread_cond_init(&journal->changed, NULL)) != 0) {
        pthread_mutex_destroy(&journal->mutex);
        pthread_mutex_destroy(&journal->sync_mutex);
    }
    return err;
}

static void destroy_locks(struct hti_journal *journal)
{
    pthread_cond_destroy(&journal->changed);
    pthread_mutex_destroy(&journal->mutex);
    pthread_mutex_destroy(&journal->sync_mutex);
}

static void set_up(struct hti_journal *journal, const struct hti_journal_options *options)
{
    journal->dir_fd = options->dir_fd;
    snprintf(journal->path, sizeof journal->path, "%s", options->path);
    memcpy(journal->store_id, options->store_id, sizeof journal->store_id);
    journal->segment_bytes = options->segment_bytes;
    journal->fd = -1;
    journal->spare_fd = -1;
    journal->binding = hti_segment_binding(options->store_id, options->first_segment);
    journal->offset = HTI_SEGMENT_DATA_OFFSET;
    journal->next_lsn = options->next_lsn;
    journal->next_number = options->first_segment + 1;
    atomic_init(&journal->written_lsn, options->next_lsn - 1);
    atomic_init(&journal->durable_lsn, options->next_lsn - 1);
}

/* The one that the journal begins with. */
static int make_first(struct hti_journal *journal, const struct hti_journal_options *options,
                      struct htstore_error *error)
{
    struct wanted wanted = { .number = options->first_segment, .records = options->records };
    uint64_t copied = 0;
    int rc;

    for (const struct hti_record *r = options->records; r; r = r->next)
        copied += hti_record_size(r);
    wanted.size = copied + (options->segment_bytes < FIRST_SEGMENT_SIZE ? options->segment_bytes : FIRST_SEGMENT_SIZE);
    rc = make_segment(journal, &wanted, &journal->fd, &journal->current, error);
    if (rc == 0 && copied > 0) {
        journal->current->copied = copied;
        journal->current->last_lsn = options->next_lsn - 1;
        journal->offset += copied;
    }
    return rc;
}

int hti_journal_open(const struct hti_journal_options *options, struct hti_journal **out, struct htstore_error *error)
{
    struct hti_journal *journal = hti_mem_zalloc(sizeof *journal);
    int rc, err;

    *out = NULL;
    if (!journal)
        return hti_fail(error, HTSTORE_ENOMEM, "no memory for the journal");
    set_up(journal, options);
    if (init_locks(journal) != 0) {
        hti_mem_free(journal);
        return hti_fail(error, HTSTORE_ENOMEM, "no locks for the journal");
    }
    rc = make_first(journal, options, error);
    if (rc == 0 && (err = hti_thread_start(&journal->preparer, "htstore-prepare", run_preparer, journal)) != 0) {
        rc = hti_file_fail(error, err, journal->path, "cannot start the journal's thread");
        close(journal->fd);
        hti_mem_free(journal->current);
    }
    if (rc != 0) {
        destroy_locks(journal);
        hti_mem_free(journal);
        return rc;
    }
    journal->oldest = journal->current;
    *out = journal;
    return 0;
}

static int unlink_segment(struct hti_journal *journal, uint64_t number)
{
    char name[HTI_SEGMENT_NAME_SIZE];

    hti_segment_name(number, name);
    return unlinkat(journal->dir_fd, name, 0) == 0 || errno == ENOENT ? 0 : errno;
}

static void discard_piece(struct hti_journal *journal, struct piece *piece, bool remove)
{
    if (piece && remove)
        unlink_segment(journal, piece->number);
    hti_mem_free(piece);
}

void hti_journal_close(struct hti_journal *journal, bool remove)
{
    if (!journal)
        return;
    pthread_mutex_lock(&journal->mutex);
    journal->stopping = true;
    pthread_cond_broadcast(&journal->changed);
    pthread_mutex_unlock(&journal->mutex);
    pthread_join(journal->preparer, NULL);

    close(journal->fd);
    if (journal->spare_fd >= 0)
        close(journal->spare_fd);
    /* oldest first: what a crash leaves has no gap */
    while (journal->oldest) {
        struct piece *piece = journal->oldest;
        journal->oldest = piece->next;
        discard_piece(journal, piece, remove);
    }
    discard_piece(journal, journal->spare, true);
    destroy_locks(journal);
    hti_mem_free(journal);
}

/* Take the prepared segment, or make one that holds at least `need` bytes of records. */
static int take_segment(struct hti_journal *journal, uint64_t need, int *fd, struct piece **piece,
                        struct htstore_error *error)
{
    uint64_t number, size;
    int rc;

    pthread_mutex_lock(&journal->mutex);
    while (journal->preparing || journal->spare_size != 0)
        pthread_cond_wait(&journal->changed, &journal->mutex);
    *fd = journal->spare_fd;
    *piece = journal->spare;
    journal->spare = NULL;
    journal->spare_fd = -1;
    number = journal->next_number;
    size = size_after(journal, journal->current);
    pthread_mutex_unlock(&journal->mutex);

    if (*piece && (*piece)->size - HTI_SEGMENT_DATA_OFFSET >= need)
        return 0;
    if (*piece) { /* too small for this record: its number is used again */
        close(*fd);
        number = (*piece)->number;
        discard_piece(journal, *piece, true);
    }
    if (size < need + HTI_SEGMENT_DATA_OFFSET)
        size = need + HTI_SEGMENT_DATA_OFFSET;
    rc = hti_journal_poisoned(journal, error); /* by the preparer */
    if (rc == 0)
        rc = make_segment(journal, &(struct wanted){ .number = number, .size = size }, fd, piece, error);
    pthread_mutex_lock(&journal->mutex);
    journal->next_number = rc == 0 ? number + 1 : number;
    pthread_mutex_unlock(&journal->mutex);
    return rc;
}

/* The old segment is synced before a record goes to the new one: a gap between segments is always damage. */
static int switch_segment(struct hti_journal *journal, uint64_t need, struct htstore_error *error)
{
    struct piece *piece;
    int fd, rc;

    rc = take_segment(journal, need, &fd, &piece, error);
    if (rc != 0)
        return rc;
    rc = hti_journal_sync(journal, atomic_load(&journal->written_lsn), error);
    if (rc != 0) {
        close(fd);
        discard_piece(journal, piece, true);
        return rc;
    }
    pthread_mutex_lock(&journal->sync_mutex);
    close(journal->fd);
    journal->fd = fd;
    pthread_mutex_unlock(&journal->sync_mutex);
    pthread_mutex_lock(&journal->mutex);
    journal->current->next = piece;
    journal->current = piece;
    pthread_mutex_unlock(&journal->mutex);
    journal->binding = hti_segment_binding(journal->store_id, piece->number);
    journal->offset = HTI_SEGMENT_DATA_OFFSET;
    return 0;
}

/* Stamp and write the records from `first` that fit into the current segment and one call. */
static int write_run(struct hti_journal *journal, struct hti_record *first, uint64_t *n_written,
                     struct htstore_error *error)
{
    struct iovec iov[MAX_VECTORS];
    const uint64_t durable = atomic_load(&journal->durable_lsn);
    uint64_t size = 0;
    int n = 0;

    for (struct hti_record *r = first; r && n < MAX_VECTORS; r = r->next, n++) {
        if (journal->offset + size + hti_record_size(r) > journal->current->size)
            break;
        hti_record_stamp(r, journal->next_lsn + (uint64_t)n, durable, journal->binding);
        iov[n].iov_base = r->buf.data;
        iov[n].iov_len = r->buf.size;
        size += r->buf.size;
    }
    assert(n > 0);
    const int err = hti_file_writev_at(journal->fd, iov, n, journal->offset, NULL);
    if (err != 0)
        return poison_now(journal, err, "cannot write the journal", error);
    journal->offset += size;
    journal->next_lsn += (uint64_t)n;
    pthread_mutex_lock(&journal->mutex);
    journal->current->last_lsn = journal->next_lsn - 1;
    pthread_mutex_unlock(&journal->mutex);
    atomic_store(&journal->written_lsn, journal->next_lsn - 1);
    *n_written += (uint64_t)n;
    return 0;
}

int hti_journal_append(struct hti_journal *journal, struct hti_record *list, uint64_t *n_written,
                       struct htstore_error *error)
{
    struct hti_record *record = list;
    int rc = hti_journal_poisoned(journal, error);

    *n_written = 0;
    while (rc == 0 && record) {
        uint64_t n = 0;
        if (journal->offset + hti_record_size(record) > journal->current->size)
            rc = switch_segment(journal, hti_record_size(record), error);
        if (rc == 0)
            rc = write_run(journal, record, &n, error);
        *n_written += n;
        for (; n > 0; n--)
            record = record->next;
    }
    if (rc == 0)
        want_spare(journal);
    return rc;
}

int hti_journal_sync(struct hti_journal *journal, uint64_t lsn, struct htstore_error *error)
{
    int rc, err;

    if (atomic_load(&journal->durable_lsn) >= lsn)
        return 0;
    pthread_mutex_lock(&journal->sync_mutex);
    rc = hti_journal_poisoned(journal, error);
    if (rc == 0 && atomic_load(&journal->durable_lsn) < lsn) {
        const uint64_t written = atomic_load(&journal->written_lsn);
        assert(written >= lsn);
        err = hti_file_datasync(journal->fd);
        if (err != 0)
            rc = poison_now(journal, err, "cannot sync the journal", error);
        else
            atomic_store(&journal->durable_lsn, written);
        atomic_fetch_add(&journal->n_syncs, 1);
    }
    pthread_mutex_unlock(&journal->sync_mutex);
    return rc;
}

uint64_t hti_journal_written_lsn(struct hti_journal *journal)
{
    return atomic_load(&journal->written_lsn);
}

uint64_t hti_journal_durable_lsn(struct hti_journal *journal)
{
    return atomic_load(&journal->durable_lsn);
}

int hti_journal_release(struct hti_journal *journal, uint64_t lsn, struct htstore_error *error)
{
    int err = 0;

    pthread_mutex_lock(&journal->mutex);
    while (err == 0 && journal->oldest != journal->current && journal->oldest->last_lsn <= lsn) {
        struct piece *piece = journal->oldest;
        pthread_mutex_unlock(&journal->mutex);
        err = unlink_segment(journal, piece->number);
        pthread_mutex_lock(&journal->mutex);
        if (err == 0) {
            journal->oldest = piece->next;
            hti_mem_free(piece);
        }
    }
    pthread_mutex_unlock(&journal->mutex);
    return err ? hti_file_fail(error, err, journal->path, "cannot delete an old journal segment") : 0;
}

void hti_journal_stats(struct hti_journal *journal, struct hti_journal_stats *stats)
{
    pthread_mutex_lock(&journal->mutex);
    stats->bytes = journal->spare ? journal->spare->size : 0;
    for (const struct piece *piece = journal->oldest; piece; piece = piece->next)
        stats->bytes += piece->size;
    stats->last_segment = journal->current->number;
    pthread_mutex_unlock(&journal->mutex);
    stats->syncs = atomic_load(&journal->n_syncs);
}
