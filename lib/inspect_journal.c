/* inspect_journal: hides how damage is told from a torn tail and from a tail that is just being written. */
#include "inspect_journal.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "mem.h"

#define MAX_RETRIES 100

struct scan {
    struct hti_inspect *check;
    const struct hti_inspect_journal *journal;
    struct htstore_error *error;
    size_t segment; /* that is read */
    bool begun;
    uint64_t next_lsn; /* that must come; 0 = not known */
    bool stopped; /* it did not come: what follows is a tail, if nothing shows that it had been synced */
    bool failing; /* since the last record, something was no record */
    size_t fail_segment; /* where that began */
    uint64_t fail_offset;
    unsigned n_retries;
};

/* --- segments --- */

/* 0, 1 = it cannot be used, or negative. */
static int open_segment(struct hti_inspect *check, int dir_fd, uint64_t number, struct hti_segment *segment,
                        struct htstore_error *error)
{
    char path[HTI_SEGMENT_NAME_SIZE + 256], name[HTI_SEGMENT_NAME_SIZE];
    struct htstore_error reason;
    const int rc = hti_segment_open(dir_fd, check->journal_path, check->store.store_id, number, segment, &reason);

    if (rc == 0)
        return 0;
    if (rc == HTSTORE_EVERSION || rc == HTSTORE_ENOMEM) {
        hti_error_copy(error, &reason);
        return rc;
    }
    /* an owner deletes what it has flushed */
    if (rc == HTSTORE_ENOTFOUND)
        return 1;
    hti_segment_name(number, name);
    snprintf(path, sizeof path, "%s/%s", check->journal_path, name);
    hti_inspect_tell_at(check, path, 0, "%s", reason.message);
    return 1;
}

static int open_segments(struct hti_inspect *check, struct hti_inspect_journal *journal, int dir_fd,
                         struct htstore_error *error)
{
    uint64_t *numbers;
    size_t n;
    int rc = hti_segment_list(dir_fd, check->journal_path, false, &numbers, &n, error);

    if (rc != 0)
        return rc;
    journal->segments = hti_mem_alloc_array(n + 1, sizeof *journal->segments);
    if (!journal->segments)
        rc = hti_fail(error, HTSTORE_ENOMEM, "no memory to read the journal");
    journal->is_missing = true;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        /* those of sessions that ended were used up when the next one began */
        if (numbers[i] < check->store.first_segment)
            continue;
        journal->is_missing = false;
        rc = open_segment(check, dir_fd, numbers[i], &journal->segments[journal->n_segments], error);
        if (rc == 0)
            journal->n_segments++;
        rc = rc == 1 ? 0 : rc;
    }
    hti_mem_free(numbers);
    return rc;
}

int hti_inspect_journal_open(struct hti_inspect *check, struct hti_inspect_journal *journal,
                             struct htstore_error *error)
{
    struct htstore_error reason;
    int dir_fd, rc;

    memset(journal, 0, sizeof *journal);
    rc = hti_folder_open(check->dir_fd, "journal", check->journal_path, &dir_fd, &reason);
    if (rc == HTSTORE_ENOMEM) {
        hti_error_copy(error, &reason);
        return rc;
    }
    if (rc != 0) {
        journal->is_missing = true;
        hti_inspect_tell_at(check, check->journal_path, HTI_INSPECT_NONE, "%s", reason.message);
        return 0;
    }
    rc = open_segments(check, journal, dir_fd, error);
    close(dir_fd);
    if (rc != 0)
        hti_inspect_journal_close(journal);
    check->report->n_segments = journal->n_segments;
    return rc;
}

void hti_inspect_journal_close(struct hti_inspect_journal *journal)
{
    for (size_t i = 0; i < journal->n_segments; i++)
        hti_segment_close(&journal->segments[i]);
    hti_mem_free(journal->segments);
    memset(journal, 0, sizeof *journal);
}

void hti_inspect_journal_compare(struct hti_inspect *check, const struct hti_inspect_journal *journal)
{
    if (journal->is_missing && check->has_store && !check->store.clean)
        hti_inspect_tell_at(check, check->journal_path, HTI_INSPECT_NONE,
                            "it is missing, and the store was not closed: its last batches may be lost");
}

/* --- records --- */

static void check_operations(struct scan *s, const struct hti_segment *segment, const struct hti_record *record)
{
    struct hti_inspect *check = s->check;
    struct hti_op_walk ops;
    struct hti_op op;
    int rc;

    /* Tables of older ones may be gone. */
    if (record->lsn <= check->store.applied_lsn || !check->is_whole)
        return;
    hti_op_walk_init(&ops, record);
    while ((rc = hti_op_walk_next(&ops, &op)) == 0) {
        const struct hti_inspect_object *object = hti_inspect_find_object(check, op.table_id);
        if (!object && check->report->owner_alive)
            continue; /* made after the state that is checked: its number may have been given before */
        if (!object || !object->has_record || object->record.kind == HTSTORE_KIND_MAPPING ||
            !hti_op_is_valid(&op, &object->type))
            break;
    }
    if (rc != 1)
        hti_inspect_tell_at(check, segment->path, segment->offset,
                            "record %" PRIu64 " does not fit the store's objects", record->lsn);
}

static void tell_lost(struct scan *s, const struct hti_record_header *header)
{
    const struct hti_inspect_journal *journal = s->journal;
    const uint64_t last = header->lsn - 1 < header->durable_lsn ? header->lsn - 1 : header->durable_lsn;

    hti_inspect_tell_at(s->check, journal->segments[s->fail_segment].path, s->fail_offset,
                        "records %" PRIu64 " to %" PRIu64 " had been synced, and are missing or damaged", s->next_lsn,
                        last);
    s->next_lsn = 0;
    s->stopped = s->failing = false;
}

static void note_failure(struct scan *s, const struct hti_segment *segment)
{
    if (s->failing)
        return;
    s->failing = true;
    s->fail_segment = s->segment;
    s->fail_offset = segment->offset;
}

/*
 * An intact header whose LSN is not the next one. If it knows that the next one had been synced, that one is lost, or was
 * written behind our back: then it is there now. What LMDB has need not have been synced here. 0, or 1 = read again from where
 * it was missing.
 */
static int consider(struct scan *s, const struct hti_record_header *header)
{
    const uint64_t applied = s->check->store.applied_lsn;

    if (s->next_lsn <= applied && header->lsn > s->next_lsn && header->durable_lsn < s->next_lsn)
        s->next_lsn = header->lsn <= applied ? header->lsn : applied + 1;
    if (s->next_lsn == 0 || header->lsn <= s->next_lsn)
        return 0;
    if (header->durable_lsn < s->next_lsn) {
        s->stopped = true;
        return 0;
    }
    if (s->check->report->owner_alive && s->n_retries++ < MAX_RETRIES)
        return 1;
    tell_lost(s, header);
    return 0;
}

/* The first LSN is not known: those that LMDB has may be deleted. But a header with something before it was not the first. */
static void begin_lsns(struct scan *s, uint64_t lsn)
{
    const uint64_t applied = s->check->store.applied_lsn;

    if (s->begun)
        return;
    s->begun = true;
    s->next_lsn = lsn <= applied ? lsn : applied + 1;
}

/* A record that can be read. 0, or 1 = read again. */
static int take_record(struct scan *s, const struct hti_segment *segment, const struct hti_record_header *header,
                       const struct hti_record *record)
{
    begin_lsns(s, header->lsn);
    if (header->lsn != s->next_lsn && consider(s, header) == 1)
        return 1;
    if (s->next_lsn == 0)
        s->next_lsn = header->lsn;
    if (s->stopped || header->lsn != s->next_lsn)
        return 0;
    s->next_lsn++;
    s->failing = false;
    s->check->report->n_records++;
    check_operations(s, segment, record);
    return 0;
}

/* 0, 1 = read again from where something was missing, or negative. */
static int scan_segment(struct scan *s, struct hti_segment *segment)
{
    struct hti_record_header header;
    struct hti_record *record = NULL;
    int rc;

    for (;;) {
        rc = hti_segment_read(segment, &header, &record, s->error);
        if (rc == 0) {
            rc = take_record(s, segment, &header, record);
            hti_record_free(record);
            record = NULL;
        } else if (rc == 1) {
            note_failure(s, segment);
            rc = hti_segment_resync(segment, &header, s->error);
            if (rc == 1)
                return 0;
            if (rc != 0)
                return rc;
            begin_lsns(s, header.lsn - 1);
            rc = consider(s, &header);
        }
        if (rc != 0)
            return rc;
    }
}

/* Where the next record is missing: is there something all the same? */
static void look_at_tail(struct scan *s)
{
    const struct hti_inspect_journal *journal = s->journal;
    static const uint8_t zeros[HTI_RECORD_HEADER_SIZE];
    uint8_t tail[HTI_RECORD_HEADER_SIZE];
    size_t got;

    s->check->report->has_torn_tail = s->stopped;
    if (s->failing &&
        hti_file_read_at(journal->segments[s->fail_segment].fd, tail, sizeof tail, s->fail_offset, &got) == 0 &&
        memcmp(tail, zeros, got) != 0)
        s->check->report->has_torn_tail = true;
}

/* A sector that cannot be read costs the rest of its segment. */
static void tell_unreadable(struct scan *s, const struct hti_segment *segment, const struct htstore_error *reason)
{
    hti_inspect_tell_at(s->check, segment->path, segment->offset, "%s", reason->message);
    s->next_lsn = 0;
    s->stopped = false;
}

int hti_inspect_journal_run(struct hti_inspect *check, const struct hti_inspect_journal *journal,
                            struct htstore_error *error)
{
    struct htstore_error reason;
    struct scan s = { .check = check, .journal = journal, .error = &reason, .fail_offset = HTI_SEGMENT_DATA_OFFSET };
    int rc = 0;

    while (rc == 0 && s.segment < journal->n_segments) {
        struct hti_segment *segment = &journal->segments[s.segment];
        rc = hti_inspect_progress(check, "journal", s.segment, journal->n_segments, error);
        if (rc != 0)
            return rc;
        rc = scan_segment(&s, segment);
        if (rc == HTSTORE_EIO) {
            tell_unreadable(&s, segment, &reason);
            rc = 0;
        } else if (rc == 1) {
            s.segment = s.fail_segment;
            journal->segments[s.segment].offset = s.fail_offset;
            for (size_t i = s.segment + 1; i < journal->n_segments; i++)
                journal->segments[i].offset = HTI_SEGMENT_DATA_OFFSET;
            s.stopped = s.failing = false;
            rc = 0;
            continue;
        }
        s.segment++;
    }
    if (rc != 0)
        hti_error_copy(error, &reason);
    look_at_tail(&s);
    check->report->last_lsn = s.next_lsn ? s.next_lsn - 1 : check->store.applied_lsn;
    return rc;
}
