/* snapstore: hides where a new store is built, filled and verified before it gets its name. */
#include "snapstore.h"

#include <string.h>
#include <unistd.h>

#include "maker.h"
#include "snapread.h"
#include "snapsalvage.h"
#include "snapshot.h"
#include "store.h"

#define KNOWN_FLAGS (HTSTORE_SALVAGE | HTSTORE_VERIFY_NONE | HTSTORE_VERIFY_QUICK)

static int fill_whole(struct hti_maker *m, void *reader)
{
    const struct hti_unpack_options options = { .threads = m->options->threads,
                                                .phase = "restore",
                                                .progress = m->options->progress,
                                                .progress_user = m->options->progress_user,
                                                .ids = m->ids,
                                                .rows = hti_maker_take_rows,
                                                .end = hti_maker_end_rows,
                                                .user = m };

    return hti_unpack_all(reader, &options, m->error);
}

static int restore_whole(struct hti_maker *m, int fd, const char *path)
{
    struct hti_snapread *reader;
    int rc = hti_snapread_open(fd, path, &reader, m->error);

    if (rc != 0)
        return rc;
    m->saved = hti_snapread_graph(reader);
    rc = hti_maker_make(m, hti_snapread_header(reader)->lsn, fill_whole, reader);
    hti_snapread_close(reader);
    return rc;
}

/* --- the call --- */

static int check_arguments(const char *target, const struct htstore_snapshot_restore_options *options,
                           const struct htstore_snapshot_report *report,
                           struct htstore_snapshot_restore_options *complete, struct htstore_error *error)
{
    memset(complete, 0, sizeof *complete);
    if (!target || !*target)
        return hti_fail(error, HTSTORE_EINVAL, "the target is NULL or empty");
    if ((options && options->size == 0) || (report && report->size == 0))
        return hti_fail(error, HTSTORE_EINVAL, "the size of options or report is 0");
    if (options)
        memcpy(complete, options, options->size < sizeof *complete ? options->size : sizeof *complete);
    if (complete->flags & ~KNOWN_FLAGS)
        return hti_fail(error, HTSTORE_EINVAL, "unknown flags %x", complete->flags & ~KNOWN_FLAGS);
    return 0;
}

static int verify(struct hti_maker *m)
{
    const struct htstore_check_options options = {
        .size = sizeof options,
        .level = m->options->flags & HTSTORE_VERIFY_QUICK ? HTSTORE_CHECK_QUICK : HTSTORE_CHECK_FULL,
        .flags = m->store_options.flags & (HTSTORE_ALLOW_ANY_FILESYSTEM | HTSTORE_ALLOW_SHARED_FOLDER),
        .progress = m->options->progress,
        .progress_user = m->options->progress_user,
    };

    if (m->options->flags & HTSTORE_VERIFY_NONE)
        return 0;
    return htstore_check(m->place.path, &options, NULL, m->error);
}

static int restore_to(struct hti_maker *m, int fd, const char *path)
{
    int rc = m->options->flags & HTSTORE_SALVAGE ? hti_snapsalvage_restore(m, fd, path) : restore_whole(m, fd, path);

    if (rc == 0)
        rc = verify(m);
    return rc ? rc : hti_place_publish(&m->place, m->error);
}

int htstore_snapshot_restore(const char *path, int fd, const char *target,
                             const struct htstore_snapshot_restore_options *options,
                             struct htstore_snapshot_report *report, struct htstore_error *error)
{
    struct htstore_snapshot_restore_options complete;
    struct hti_maker m = { .options = &complete, .error = error };
    const bool own = path && strcmp(path, "-") != 0;
    bool building = false;
    int rc = check_arguments(target, options, report, &complete, error);

    if (rc == 0)
        rc = hti_store_options(complete.store, &m.store_options, error);
    if (rc == 0 && own)
        rc = hti_snapshot_open_path(path, &fd, error);
    if (rc != 0)
        return rc;
    rc = hti_place_choose(&m.place, target, -1, error);
    if (rc == 0) {
        building = true;
        rc = restore_to(&m, fd, own ? path : "(stream)");
    }
    hti_place_leave(&m.place, building && rc < 0);
    if (own)
        close(fd);
    if (rc == 0 && m.lossy)
        rc = 1;
    if (rc >= 0 && report) {
        m.report.size = report->size;
        memcpy(report, &m.report, report->size < sizeof m.report ? report->size : sizeof m.report);
    }
    return rc;
}
