/* recover: hides the reading of journals that a crash has left. */
#include "recover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "file.h"
#include "flush.h"
#include "lookup.h"
#include "mem.h"

/* The state of a scan. Until `stopped`, `next_lsn` is the record that must come; then it is the first that is missing. */
struct scan {
    uint64_t next_lsn;
    bool stopped;
    char path[256]; /* where the search for next_lsn failed last */
    uint64_t offset;
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

static int scan_segment(struct scan *s, struct hti_segment *segment)
{
    struct hti_record_header header;
    int rc;

    for (;;) {
        rc = hti_segment_read(segment, &header, NULL, s->error);
        if (rc == 0) {
            if (!s->stopped && header.lsn == s->next_lsn)
                s->next_lsn++;
            else if ((rc = consider(s, &header)) != 0)
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
    struct scan s = { .next_lsn = store->record.applied_lsn + 1, .error = error };
    char path[256];
    int rc;

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
    if (rc != 0)
        hti_recover_release(recovery);
    return rc;
}

void hti_recover_release(struct hti_recovery *recovery)
{
    hti_mem_free(recovery->segments);
    memset(recovery, 0, sizeof *recovery);
}

/* --- replay --- */

struct replay {
    struct htstore *store;
    uint64_t last_lsn;
    struct hti_record *list, **end;
    uint64_t bytes;
    const struct hti_core *core; /* of the operation before, which is often that of the next */
    struct htstore_error *error;
};

static const struct hti_core *core_of(struct replay *r, uint64_t id)
{
    if (!r->core || r->core->record.id != id)
        r->core = hti_core_by_id(r->store, id);
    return r->core;
}

static int check_record(struct replay *r, const struct hti_record *record)
{
    struct hti_op_walk ops;
    struct hti_op op;
    int rc;

    hti_op_walk_init(&ops, record);
    while ((rc = hti_op_walk_next(&ops, &op)) == 0) {
        const struct hti_core *core = core_of(r, op.table_id);
        if (!core || !hti_op_is_valid(&op, &core->type))
            break;
    }
    return rc == 1 ? 0
                   : hti_fail(r->error, HTSTORE_ECORRUPT, "record %llu of the journal does not fit the store's tables",
                              (unsigned long long)record->lsn);
}

static int flush_list(struct replay *r, uint64_t lsn)
{
    const int rc = r->list ? hti_flush_records(r->store, r->list, lsn, r->error) : 0;

    hti_record_free_list(r->list);
    r->list = NULL;
    r->end = &r->list;
    r->bytes = 0;
    return rc;
}

static int replay_record(struct replay *r, struct hti_record *record)
{
    int rc;

    if (record->lsn <= r->store->record.applied_lsn) {
        hti_record_free(record);
        return 0;
    }
    rc = check_record(r, record);
    if (rc != 0) {
        hti_record_free(record);
        return rc;
    }
    *r->end = record;
    r->end = &record->next;
    r->bytes += record->buf.size;
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

int hti_recover_replay(struct htstore *store, const struct hti_recovery *recovery, struct htstore_error *error)
{
    struct replay r = { .store = store, .last_lsn = recovery->last_lsn, .error = error };
    struct hti_segment segment;
    char path[256];
    int rc = 0;

    r.end = &r.list;
    journal_path(store, path, sizeof path);
    for (size_t i = recovery->n_obsolete; rc == 0 && i < recovery->n_segments; i++) {
        rc = hti_segment_open(store->journal_fd, path, store->record.store_id, recovery->segments[i], &segment, error);
        if (rc != 0)
            break;
        rc = replay_segment(&r, &segment);
        hti_segment_close(&segment);
    }
    if (rc == 0)
        rc = flush_list(&r, recovery->last_lsn);
    hti_record_free_list(r.list);
    for (struct hti_core *core = store->cores; core; core = core->next)
        core->n_rows = core->totals.n_rows;
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
