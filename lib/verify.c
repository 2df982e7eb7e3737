/* verify: hides what a path is, and how the findings of its parts become one verdict. */
#include "verify.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"
#include "inspect_run.h"
#include "mem.h"
#include "snapshot.h"
#include "store.h"
#include "unpack.h"

#define ALLOW_FLAGS (HTSTORE_ALLOW_ANY_FILESYSTEM | HTSTORE_ALLOW_SHARED_FOLDER)
#define FOLDER "checkpoints"

struct check {
    struct htstore_check_options options;
    struct htstore_check_report report;
    const char *path;
    struct htstore_error first; /* finding */
    struct htstore_error *error;
};

/* --- findings --- */

static void tell(struct check *c, struct htstore_finding *finding)
{
    finding->size = sizeof *finding;
    if (finding->is_damage && c->report.n_findings++ == 0) {
        hti_fail(&c->first, HTSTORE_ECORRUPT, "%s%s%s: %s", finding->path, finding->object ? ": " : "",
                 finding->object ? finding->object : "", finding->message);
        hti_error_set_path(&c->first, finding->path, finding->offset);
    }
    if (!finding->is_damage)
        c->report.n_unread++;
    if (c->options.finding)
        c->options.finding(c->options.finding_user, finding);
}

static void take_finding(void *user, const struct hti_inspect_finding *found)
{
    struct htstore_finding finding = { .is_damage = 1,
                                       .path = found->path,
                                       .object = found->object,
                                       .offset = found->offset == HTI_INSPECT_NONE ? 0 : found->offset,
                                       .message = found->sentence };

    tell(user, &finding);
}

static int take_progress(void *user, const char *step, uint64_t n_done, uint64_t n_total)
{
    const struct check *c = user;

    return c->options.progress ? c->options.progress(c->options.progress_user, step, n_done, n_total) : 0;
}

static void tell_unread(struct check *c, const char *path, const char *message)
{
    struct htstore_finding finding = { .path = path, .message = message };

    tell(c, &finding);
}

/* --- snapshots --- */

static bool is_damage(int code)
{
    return code == HTSTORE_ECORRUPT || code == HTSTORE_EFORMAT;
}

/* Of what could not be verified: damage is a finding, anything else ends the check. */
static int note_failure(struct check *c, const char *path, int rc, const struct htstore_error *reason)
{
    struct htstore_finding finding = {
        .is_damage = 1, .path = path, .offset = reason->offset, .message = reason->message
    };

    if (!is_damage(rc)) {
        hti_error_copy(c->error, reason);
        return rc;
    }
    tell(c, &finding);
    return 0;
}

static void count_snapshot(struct check *c, struct hti_snapread *reader, bool decoded)
{
    const struct hti_snap_footer *footer = hti_snapread_footer(reader);

    c->report.n_snapshots++;
    if (!footer)
        return;
    c->report.n_blocks += footer->n_blocks;
    c->report.n_rows += decoded ? footer->n_rows : 0;
    c->report.bytes += footer->file_size;
}

static int read_snapshot(struct check *c, struct hti_snapread *reader, struct htstore_error *reason)
{
    const struct hti_unpack_options options = { .threads = c->options.threads,
                                                .phase = "check",
                                                .progress = c->options.progress,
                                                .progress_user = c->options.progress_user };
    int rc = hti_snapread_load_index(reader, reason);

    if (rc == 0 && c->options.level != HTSTORE_CHECK_QUICK)
        rc = hti_unpack_all(reader, &options, reason);
    return rc;
}

static int check_snapshot(struct check *c, int folder_fd, const char *name, const char *path)
{
    struct hti_snapread *reader;
    struct htstore_error reason;
    int fd, rc = hti_snapshot_open(folder_fd, name, path, &fd, &reader, &reason);

    if (rc == HTSTORE_ENOTFOUND || (rc == HTSTORE_EFORMAT && folder_fd == AT_FDCWD)) {
        hti_error_copy(c->error, &reason);
        return rc;
    }
    if (rc != 0)
        return note_failure(c, path, rc, &reason);
    rc = read_snapshot(c, reader, &reason);
    count_snapshot(c, reader, c->options.level != HTSTORE_CHECK_QUICK);
    c->report.lsn = hti_snapread_header(reader)->lsn > c->report.lsn && folder_fd == AT_FDCWD
                        ? hti_snapread_header(reader)->lsn
                        : c->report.lsn;
    if (folder_fd == AT_FDCWD)
        c->report.n_objects = hti_snapread_graph(reader)->n_nodes;
    hti_snapread_close(reader);
    close(fd);
    if (rc == 0 && c->options.level == HTSTORE_CHECK_QUICK)
        tell_unread(c, path, "structure only; blocks were not decoded");
    return rc ? note_failure(c, path, rc, &reason) : 0;
}

/* --- the checkpoints of a store --- */

static bool is_checkpoint_name(const char *name)
{
    const char *dash = strrchr(name, '-');

    return name[0] != '.' && dash && dash[1] != 0 && strspn(dash + 1, "0123456789") == strlen(dash + 1);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct names {
    char **list;
    size_t n, capacity;
};

static void release_names(struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        hti_mem_free(names->list[i]);
    hti_mem_free(names->list);
}

static int add_name(struct names *names, const char *name)
{
    if (names->n == names->capacity) {
        char **more = hti_mem_realloc_array(names->list, names->capacity * 2 + 16, sizeof *more);
        if (!more)
            return HTSTORE_ENOMEM;
        names->list = more;
        names->capacity = names->capacity * 2 + 16;
    }
    names->list[names->n] = hti_mem_strdup(name);
    return names->list[names->n] && ++names->n ? 0 : HTSTORE_ENOMEM;
}

static int list_names(int folder_fd, struct names *names)
{
    const int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;
    int rc = 0;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return HTSTORE_EIO;
    }
    while (rc == 0 && (entry = readdir(dir)))
        if (is_checkpoint_name(entry->d_name))
            rc = add_name(names, entry->d_name);
    closedir(dir);
    if (names->n > 1)
        qsort(names->list, names->n, sizeof *names->list, compare_texts);
    return rc;
}

static int check_checkpoints(struct hti_inspect *inspect, struct htstore_error *error)
{
    struct check *c = inspect->options->user;
    char folder[PATH_MAX], path[PATH_MAX];
    struct names names = { 0 };
    int fd, rc;

    snprintf(folder, sizeof folder, "%s/%s", c->path, FOLDER);
    rc = hti_folder_open(AT_FDCWD, folder, folder, &fd, NULL);
    if (rc == HTSTORE_ENOTFOUND)
        return 0;
    if (rc == 0) {
        rc = list_names(fd, &names);
        for (size_t i = 0; rc == 0 && i < names.n; i++) {
            snprintf(path, sizeof path, "%.2000s/%s", folder, names.list[i]);
            rc = check_snapshot(c, fd, names.list[i], path);
        }
        close(fd);
    } else {
        rc = hti_fail(c->error, rc, "%s: cannot be opened", folder);
    }
    release_names(&names);
    (void)error; /* it is the one in the check */
    return rc == HTSTORE_ENOMEM ? hti_fail(c->error, rc, "no memory to check") : rc;
}

/* --- stores --- */

static uint32_t inspect_level(uint32_t level)
{
    return level == HTSTORE_CHECK_QUICK  ? HTI_INSPECT_QUICK
           : level == HTSTORE_CHECK_DEEP ? HTI_INSPECT_DEEP
                                         : HTI_INSPECT_FULL;
}

/* Whoever reads all pages reads the file. */
static uint64_t data_size(const struct check *c)
{
    char path[PATH_MAX];
    struct stat st;

    snprintf(path, sizeof path, "%s/data.mdb", c->path);
    return c->options.level != HTSTORE_CHECK_QUICK && stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void take_report(struct check *c, const struct hti_inspect_report *r)
{
    c->report.bytes += data_size(c);
    c->report.lsn = r->applied_lsn;
    c->report.n_objects = r->n_objects;
    c->report.n_rows += c->options.level == HTSTORE_CHECK_QUICK ? 0 : r->n_rows;
    c->report.n_pages = r->n_pages_read;
    c->report.n_free_pages = r->n_free_pages;
    c->report.n_records = r->n_records;
    for (uint32_t i = 0; i < r->n_unread; i++)
        tell_unread(c, c->path, r->unread[i]);
}

static int check_store(struct check *c)
{
    struct hti_inspect_report report;
    const struct hti_inspect_options options = { .level = inspect_level(c->options.level),
                                                 .flags = c->options.flags,
                                                 .lock_timeout_ms = c->options.lock_timeout_ms,
                                                 .finding = take_finding,
                                                 .progress = take_progress,
                                                 .checkpoints = check_checkpoints,
                                                 .user = c };
    int rc = hti_inspect_run(c->path, &options, &report, c->error);

    if (rc < 0)
        return rc;
    take_report(c, &report);
    return 0;
}

/* --- the call --- */

static int check_options(const struct htstore_check_options *options, const struct htstore_check_report *report,
                         struct htstore_check_options *complete, struct htstore_error *error)
{
    memset(complete, 0, sizeof *complete);
    if ((options && options->size == 0) || (report && report->size == 0))
        return hti_fail(error, HTSTORE_EINVAL, "the size of options or report is 0");
    if (options)
        memcpy(complete, options, options->size < sizeof *complete ? options->size : sizeof *complete);
    if (complete->level == 0)
        complete->level = HTSTORE_CHECK_FULL;
    if (complete->level > HTSTORE_CHECK_DEEP || (complete->flags & ~ALLOW_FLAGS))
        return hti_fail(error, HTSTORE_EINVAL, "unknown level or flags");
    return 0;
}

int htstore_check(const char *path, const struct htstore_check_options *options, struct htstore_check_report *report,
                  struct htstore_error *error)
{
    struct check c = { .path = path, .error = error };
    struct stat st;
    int rc = check_options(options, report, &c.options, error);

    if (rc == 0 && (!path || !*path))
        rc = hti_fail(error, HTSTORE_EINVAL, "the path is NULL or empty");
    if (rc != 0)
        return rc;
    if (stat(path, &st) != 0)
        return hti_file_fail(error, errno, path, "cannot be examined");
    rc = S_ISDIR(st.st_mode) ? check_store(&c) : check_snapshot(&c, AT_FDCWD, path, path);
    if (rc != 0)
        return rc;
    c.report.level = c.options.level;
    if (report) {
        c.report.size = report->size;
        memcpy(report, &c.report, report->size < sizeof c.report ? report->size : sizeof c.report);
    }
    if (c.report.n_findings > 0)
        hti_error_copy(error, &c.first);
    return c.report.n_findings > 0 ? HTSTORE_ECORRUPT : 0;
}
