/* wreck_journal: hides how the segments of a damaged journal are read, and what proves that a record is missing. */
#include "wreck_journal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "mem.h"
#include "segment.h"

#define MIN_SKIP 4096u /* over what the disk does not give */
#define MAX_SKIP (1u << 20)

struct journal_walk {
    struct hti_wreck *wreck;
    int dir_fd;
    char path[256];
    uint8_t store_id[16];
    uint64_t *segments; /* numbers, ascending */
    size_t n_segments;
    hti_wreck_record_fn record; /* NULL while the headers are surveyed */
    void *user;
    int stopped; /* what it returned, if not 0 */
    struct htstore_error *error;

    uint64_t n_headers; /* intact ones in the current segment */
    uint64_t first; /* lowest LSN that is not in LMDB; UINT64_MAX: none */
    uint64_t proven; /* up to this LSN all records had been synced */
    uint64_t expected; /* the LSN that must come next */
};

/* --- segments --- */

/* A header that is damaged has nothing that the records need. 0, 1 = there is nothing to read, or negative. */
static int open_segment(struct journal_walk *j, uint64_t number, struct hti_segment *segment, bool *headless)
{
    struct htstore_error reason;
    int rc = hti_segment_open(j->dir_fd, j->path, j->store_id, number, segment, &reason);

    *headless = rc == HTSTORE_ECORRUPT || rc == HTSTORE_EIO;
    if (*headless)
        rc = hti_segment_open_headless(j->dir_fd, j->path, j->store_id, number, segment, &reason);
    if (rc == 0)
        return 0;
    if (rc == HTSTORE_EFORMAT || rc == HTSTORE_ENOTFOUND || rc == HTSTORE_EIO) {
        if (!j->record)
            hti_wreck_warn(j->wreck, "journal segment %llu is not used: %s", (unsigned long long)number,
                           reason.message);
        return 1;
    }
    hti_error_copy(j->error, &reason);
    return rc;
}

static void survey_header(struct journal_walk *j, const struct hti_record_header *header)
{
    const uint64_t applied = j->wreck->has_store ? j->wreck->store.applied_lsn : 0;

    j->n_headers++;
    if (header->lsn > applied && header->lsn < j->first)
        j->first = header->lsn;
    if (header->durable_lsn < header->lsn && header->durable_lsn > j->proven)
        j->proven = header->durable_lsn;
}

static void count_lost(struct journal_walk *j, uint64_t last)
{
    if (j->expected > last)
        return;
    j->wreck->found.n_lost_records += last - j->expected + 1;
    hti_wreck_warn(j->wreck, "journal: records %llu to %llu had been synced, and are missing or damaged",
                   (unsigned long long)j->expected, (unsigned long long)last);
    j->expected = last + 1;
}

/*
 * Behind the last record that is known to have been synced, one that is missing ends the journal: the tail is torn. A copy of one
 * that was shown is left out: it would undo what followed.
 */
static void show_record(struct journal_walk *j, const struct hti_record *record)
{
    if (record->lsn <= (j->wreck->has_store ? j->wreck->store.applied_lsn : 0))
        return;
    count_lost(j, record->lsn - 1 < j->proven ? record->lsn - 1 : j->proven);
    if (record->lsn != j->expected)
        return;
    j->expected++;
    j->stopped = j->record(j->user, record);
}

/* What stands at the segment's offset, or the next header behind it. 0, 1 = the end, or negative. */
static int visit_next(struct journal_walk *j, struct hti_segment *segment)
{
    struct hti_record_header header;
    struct hti_record *record = NULL;
    int rc = hti_segment_read(segment, &header, &record, j->error);

    if (rc == 1) {
        rc = hti_segment_resync(segment, &header, j->error);
        if (rc == 0 && !j->record)
            survey_header(j, &header);
        return rc;
    }
    if (rc == 0 && j->record)
        show_record(j, record);
    else if (rc == 0)
        survey_header(j, &header);
    hti_record_free(record);
    return rc;
}

static void skip_unreadable(struct journal_walk *j, struct hti_segment *segment, uint64_t *skip)
{
    if (!j->record && *skip == MIN_SKIP)
        hti_wreck_warn(j->wreck, "%s: cannot be read at byte %llu", segment->path, (unsigned long long)segment->offset);
    segment->offset += *skip;
    *skip = *skip < MAX_SKIP ? *skip * 2 : *skip;
}

static int visit_segment(struct journal_walk *j, struct hti_segment *segment)
{
    uint64_t skip = MIN_SKIP;
    int rc = 0;

    j->n_headers = 0;
    while (rc == 0 && j->stopped == 0) {
        rc = visit_next(j, segment);
        if (rc == HTSTORE_EIO) {
            skip_unreadable(j, segment, &skip);
            rc = 0;
        } else {
            skip = MIN_SKIP;
        }
    }
    return j->stopped ? j->stopped : rc == 1 ? 0 : rc;
}

static int visit_all(struct journal_walk *j)
{
    struct hti_segment segment;
    bool headless;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < j->n_segments; i++) {
        rc = open_segment(j, j->segments[i], &segment, &headless);
        if (rc == 0) {
            rc = visit_segment(j, &segment);
            hti_segment_close(&segment);
        }
        if (rc == 0 && headless && !j->record && j->n_headers == 0)
            hti_wreck_warn(j->wreck, "%s: its header is damaged, and no record of it is found", segment.path);
        else if (rc == 0 && headless && !j->record)
            hti_wreck_note(j->wreck, "%s: its header is damaged; the records are read all the same", segment.path);
        rc = rc == 1 ? 0 : rc;
    }
    return rc;
}

/* --- the folder --- */

/* Segments below the session's first one were used up when it began. */
static void drop_obsolete(struct journal_walk *j)
{
    size_t n = 0;

    while (j->wreck->has_store && n < j->n_segments && j->segments[n] < j->wreck->store.first_segment)
        n++;
    j->n_segments -= n;
    if (n > 0)
        memmove(j->segments, j->segments + n, j->n_segments * sizeof *j->segments);
}

/* 0, 1 = it cannot be read, or negative. */
static int open_journal(struct journal_walk *j)
{
    struct htstore_error reason;
    int rc = hti_folder_open(j->wreck->dir_fd, "journal", j->path, &j->dir_fd, &reason);

    if (rc == 0)
        rc = hti_segment_list(j->dir_fd, j->path, false, &j->segments, &j->n_segments, &reason);
    if (rc == 0) {
        drop_obsolete(j);
        return 0;
    }
    if (rc == HTSTORE_ENOTFOUND || rc == HTSTORE_EFORMAT || rc == HTSTORE_EIO) {
        hti_wreck_note(j->wreck, "%s: %s", j->path, reason.message);
        return 1;
    }
    hti_error_copy(j->error, &reason);
    return rc;
}

/* Records are bound to the store: without its id none of them can be told from garbage. */
static int find_store_id(struct journal_walk *j)
{
    int rc = 1;

    if (j->wreck->has_store) {
        memcpy(j->store_id, j->wreck->store.store_id, sizeof j->store_id);
        return 0;
    }
    for (size_t i = 0; i < j->n_segments && rc != 0; i++)
        rc = hti_segment_identify(j->dir_fd, j->path, j->segments[i], j->store_id, j->error);
    if (rc != 0 && j->n_segments > 0)
        hti_wreck_warn(j->wreck,
                       "the journal is not readable: neither the catalogue nor a segment tells the store's id");
    return rc == HTSTORE_ENOMEM || rc == HTSTORE_EVERSION ? rc : rc != 0;
}

static int walk_segments(struct journal_walk *j, hti_wreck_record_fn record)
{
    const struct hti_wreck *wreck = j->wreck;
    int rc = find_store_id(j);

    if (rc == 0)
        rc = visit_all(j);
    if (rc != 0)
        return rc == 1 ? 0 : rc;
    /* with an older store record, what is between it and the first one may be in LMDB */
    j->expected = wreck->store_is_exact ? wreck->store.applied_lsn + 1 : j->first;
    j->record = record;
    rc = visit_all(j);
    if (rc == 0)
        count_lost(j, j->proven);
    return rc;
}

int hti_wreck_journal_walk(struct hti_wreck *wreck, hti_wreck_record_fn record, void *user, struct htstore_error *error)
{
    struct journal_walk j = { .wreck = wreck, .dir_fd = -1, .user = user, .error = error, .first = UINT64_MAX };
    int rc;

    snprintf(j.path, sizeof j.path, "%.240s/journal", wreck->path);
    rc = open_journal(&j);
    if (rc == 0 && j.n_segments > 0)
        rc = walk_segments(&j, record);
    else if (rc >= 0 && !(wreck->has_store && wreck->store.clean))
        hti_wreck_warn(wreck, "the journal is missing, and the store was not closed: its last batches may be lost");
    if (j.dir_fd >= 0)
        close(j.dir_fd);
    hti_mem_free(j.segments);
    return rc < 0 ? rc : 0;
}
