/* recover: hides the reading of journals that a crash has left. */
#include "recover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commit.h"
#include "file.h"
#include "flush.h"
#include "mem.h"

/* The state of a scan. Until `stopped`, `next_lsn` is the record that must come; then it is the first that is missing. */
struct scan {
    uint64_t next_lsn;
    bool stopped;
    char path[256]; /* where the search for next_lsn failed last */
    uint64_t offset;
    bool listing; /* the records are kept: there are few */
    uint64_t max_bytes; /* of them */
    struct hti_record *list, **end;
    uint64_t bytes;
    struct htstore_error *error;
};

static int is_damage(struct scan *s, uint64_t lsn)
{
    hti_fail(
        s->error, HTSTORE_ECORRUPT,
        "%s: the journal is damaged at byte %llu: record %llu is missing or unreadable, but record %llu says that it "
        "had been synced; `htstore recover` writes what is readable to a new store",
        s->path, (unsigned long long)s->offset, (unsigned long long)s->next_lsn, (unsigned long long)lsn);
    hti_error_set_path(s->error, s->path, s->offset);
    return HTSTORE_ECORRUPT;
}

static void fail_here(struct scan *s, const struct hti_segment *segment)
{
    if (s->stopped)
        return;
    snprintf(s->path, sizeof s->path, "%s", segment->path);
    s->offset = segment->offset;
}

/*
 * A header was found whose LSN is not the next one. If it knows that the next one had been synced, that one is lost;
 * otherwise both belong to a tail that was being written, and nothing from the next one on counts.
 */
static int consider(struct scan *s, const struct hti_record_header *header)
{
    if (header->lsn <= s->next_lsn)
        return 0;
    if (header->durable_lsn >= s->next_lsn)
        return is_damage(s, header->lsn);
    s->stopped = true;
    return 0;
}

static void stop_listing(struct scan *s)
{
    hti_record_free_list(s->list);
    s->list = NULL;
    s->listing = false;
}

/* The record that must come, if it is listed. */
static void take(struct scan *s, struct hti_record *record)
{
    s->next_lsn++;
    if (!record)
        return;
    *s->end = record;
    s->end = &record->next;
    s->bytes += record->buf.size;
    if (s->bytes >= s->max_bytes)
        stop_listing(s);
}

static int scan_segment(struct scan *s, struct hti_segment *segment)
{
    struct hti_record_header header;
    int rc;

    for (;;) {
        struct hti_record *record = NULL;
        rc = hti_segment_read(segment, &header, s->listing ? &record : NULL, s->error);
        if (rc == 0) {
            if (!s->stopped && header.lsn == s->next_lsn) {
                take(s, record);
                continue;
            }
            hti_record_free(record);
            if ((rc = consider(s, &header)) != 0)
                return rc;
            continue;
        }
        if (rc < 0)
            return rc;
        fail_here(s, segment);
        rc = hti_segment_resync(segment, &header, s->error);
        if (rc != 0)
            return rc == 1 ? 0 : rc;
        rc = consider(s, &header);
        if (rc != 0)
            return rc;
    }
}

static int scan_all(struct htstore *store, struct hti_recovery *recovery, const char *path, struct scan *s)
{
    struct hti_segment segment;
    int rc = 0;

    for (size_t i = recovery->n_obsolete; rc == 0 && i < recovery->n_segments; i++) {
        rc = hti_segment_open(store->journal_fd, path, store->record.store_id, recovery->segments[i], &segment,
                              s->error);
        if (rc != 0)
            break;
        if (s->offset == 0)
            fail_here(s, &segment);
        rc = scan_segment(s, &segment);
        hti_segment_close(&segment);
    }
    return rc;
}

static void journal_path(const struct htstore *store, char *out, size_t capacity)
{
    snprintf(out, capacity, "%.240s/journal", store->path);
}

static int is_missing(struct scan *s)
{
    hti_fail(
        s->error, HTSTORE_ECORRUPT,
        "%s: the journal is missing, and the store was not closed; `htstore recover` writes what is readable to a new "
        "store",
        s->path);
    hti_error_set_path(s->error, s->path, 0);
    return HTSTORE_ECORRUPT;
}

int hti_recover_scan(struct htstore *store, struct hti_recovery *recovery, struct htstore_error *error)
{
    struct scan s = { .next_lsn = store->record.applied_lsn + 1, .listing = true, .error = error };
    char path[256];
    int rc;

    s.end = &s.list;
    s.max_bytes = store->options.delta_bytes;
    memset(recovery, 0, sizeof *recovery);
    journal_path(store, path, sizeof path);
    memcpy(s.path, path, sizeof s.path);
    rc = hti_segment_list(store->journal_fd, path, true, &recovery->segments, &recovery->n_segments, error);
    if (rc != 0)
        return rc;
    while (recovery->n_obsolete < recovery->n_segments &&
           recovery->segments[recovery->n_obsolete] < store->record.first_segment)
        recovery->n_obsolete++;
    if (recovery->n_obsolete == recovery->n_segments && !store->record.clean)
        rc = is_missing(&s);
    if (rc == 0)
        rc = scan_all(store, recovery, path, &s);
    recovery->last_lsn = s.next_lsn - 1;
    recovery->list = s.list;
    recovery->is_listed = s.listing;
    if (rc != 0)
        hti_recover_release(recovery);
    return rc;
}

void hti_recover_release(struct hti_recovery *recovery)
{
    hti_mem_free(recovery->segments);
    hti_record_free_list(recovery->list);
    memset(recovery, 0, sizeof *recovery);
}

/* --- replay --- */

struct replay {
    struct htstore *store;
    uint64_t next_lsn, last_lsn;
    struct hti_record *list, **end;
    uint64_t bytes;
    uint64_t n_rows; /* of the list, not applied yet */
    struct hti_core *core; /* of the operation before, which is often that of the next */
    struct htstore_error *error;
};

static struct hti_core *core_of(struct replay *r, uint64_t id)
{
    if (!r->core || r->core->record.id != id)
        r->core = hti_core_by_id(r->store, id);
    return r->core;
}

static int misfit(struct replay *r, const struct hti_record *record)
{
    return hti_fail(r->error, HTSTORE_ECORRUPT, "record %llu of the journal does not fit the store's tables",
                    (unsigned long long)record->lsn);
}

static int check_record(struct replay *r, const struct hti_record *record)
{
    struct hti_op_walk ops;
    struct hti_op op;
    int rc;

    hti_op_walk_init(&ops, record);
    while ((rc = hti_op_walk_next(&ops, &op)) == 0) {
        const struct hti_core *core = core_of(r, op.table_id);
        if (!core || core->record.kind == HTSTORE_KIND_MAPPING || !hti_op_is_valid(&op, &core->type))
            break;
    }
    return rc == 1 ? 0 : misfit(r, record);
}

static void clear_list(struct replay *r)
{
    hti_record_free_list(r->list);
    r->list = NULL;
    r->end = &r->list;
    r->bytes = 0;
    r->n_rows = 0;
}

/* The list exceeds what the delta may hold. */
static int flush_list(struct replay *r, uint64_t lsn)
{
    const int rc = hti_flush_records(r->store, r->list, lsn, r->error);

    clear_list(r);
    return rc;
}

/* A recovery that a crash has ended may have left copies behind the records that they were made of. */
static int replay_record(struct replay *r, struct hti_record *record)
{
    int rc;

    record->next = NULL;
    if (record->lsn != r->next_lsn) {
        hti_record_free(record);
        return 0;
    }
    rc = check_record(r, record);
    if (rc != 0) {
        hti_record_free(record);
        return rc;
    }
    r->next_lsn++;
    *r->end = record;
    r->end = &record->next;
    r->bytes += record->buf.size;
    r->n_rows += record->n_rows;
    atomic_fetch_add(&r->store->n_replayed, 1);
    return r->bytes >= r->store->options.delta_bytes ? flush_list(r, record->lsn) : 0;
}

static int replay_segment(struct replay *r, struct hti_segment *segment)
{
    struct hti_record_header header;
    struct hti_record *record;
    int rc;

    for (;;) {
        rc = hti_segment_read(segment, &header, &record, r->error);
        if (rc == 1) {
            rc = hti_segment_resync(segment, &header, r->error);
            if (rc != 0)
                return rc == 1 ? 0 : rc;
            continue;
        }
        if (rc != 0)
            return rc;
        if (header.lsn > r->last_lsn) {
            hti_record_free(record);
            return 0;
        }
        rc = replay_record(r, record);
        if (rc != 0)
            return rc;
    }
}

static int replay_segments(struct replay *r, const struct hti_recovery *recovery)
{
    struct htstore *store = r->store;
    struct hti_segment segment;
    char path[256];
    int rc = 0;

    journal_path(store, path, sizeof path);
    for (size_t i = recovery->n_obsolete; rc == 0 && i < recovery->n_segments; i++) {
        rc = hti_segment_open(store->journal_fd, path, store->record.store_id, recovery->segments[i], &segment,
                              r->error);
        if (rc != 0)
            break;
        rc = replay_segment(r, &segment);
        hti_segment_close(&segment);
    }
    return rc;
}

static int replay_list(struct replay *r, struct hti_recovery *recovery)
{
    int rc = 0;

    while (rc == 0 && recovery->list) {
        struct hti_record *record = recovery->list;
        recovery->list = record->next;
        rc = replay_record(r, record);
    }
    return rc;
}

/* --- the rest of it as the delta --- */

static int apply_record(struct replay *r, const struct hti_record *record)
{
    struct hti_op_walk ops;
    struct hti_op op;
    int rc = 0;

    hti_op_walk_init(&ops, record);
    while (rc == 0 && hti_op_walk_next(&ops, &op) == 0)
        rc = hti_commit_replay(r->store, core_of(r, op.table_id), &op, record->lsn, r->n_rows);
    r->n_rows -= record->n_rows;
    if (rc == HTSTORE_ENOMEM)
        return hti_fail(r->error, rc, "no memory for what the journal holds");
    return rc ? misfit(r, record) : 0;
}

/* Where nothing counts that LMDB has, the number of rows is known. */
static void count_rows(struct htstore *store)
{
    for (struct hti_core *core = store->cores; core; core = core->next) {
        const bool is_all = core->rows_cleared || core->totals.n_rows == 0;
        core->n_rows = is_all && core->rows ? hti_cache_present(core->rows) : 0;
        if (core->last_lsn == 0)
            core->n_rows = core->totals.n_rows;
        core->uncounted = core->last_lsn != 0 && !is_all;
    }
}

/* Nobody else is in the store yet. */
static int make_delta(struct replay *r)
{
    struct htstore *store = r->store;
    int rc = 0;

    for (const struct hti_record *record = r->list; rc == 0 && record; record = record->next) {
        store->delta_rows += record->n_rows;
        store->delta_lsn = record->lsn;
        rc = apply_record(r, record);
    }
    count_rows(store);
    if (r->list) {
        store->delta = r->list;
        store->delta_end = r->end;
        store->delta_bytes = r->bytes;
        store->delta_since_ms = hti_now_ms();
        store->replayed = true;
    }
    return rc;
}

int hti_recover_replay(struct htstore *store, struct hti_recovery *recovery, struct htstore_error *error)
{
    struct replay r = { .store = store, .last_lsn = recovery->last_lsn, .error = error };
    int rc;

    r.next_lsn = store->record.applied_lsn + 1;
    r.end = &r.list;
    rc = recovery->is_listed ? replay_list(&r, recovery) : replay_segments(&r, recovery);
    if (rc == 0)
        return make_delta(&r);
    clear_list(&r);
    return rc;
}

int hti_recover_delete(struct htstore *store, const struct hti_recovery *recovery, struct htstore_error *error)
{
    char name[HTI_SEGMENT_NAME_SIZE];

    for (size_t i = 0; i < recovery->n_segments; i++) {
        hti_segment_name(recovery->segments[i], name);
        if (unlinkat(store->journal_fd, name, 0) != 0 && errno != ENOENT)
            return hti_file_fail(error, errno, store->path, "cannot delete the journal segment %s", name);
    }
    return 0;
}
