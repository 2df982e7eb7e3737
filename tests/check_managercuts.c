/*
 * Tests of checkpoint managers under power cuts and I/O errors. Every change of the folder is recorded; then the power is
 * cut after each of them, and every state that the disk may be in is built and opened. A name is durable when the folder was
 * synced after it changed, the bytes of a file when that file was synced; of changes that were not synced any subset may be
 * there. The same with each system call failing, once or for good.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "crash/folder.h"
#include "hash.h"
#include "manager.h"
#include "manager_util.h"
#include "mem.h"
#include "snapshot.h"

#define MAX_EVENTS 400
#define MAX_NAMES 24
#define MAX_STATES 4000
#define MAX_LATER 12
#define NAME_SIZE 64
#define FOREIGN "ckpt-0" /* a checkpoint that is not the manager's */
#define KEPT 2 /* max_to_keep */

/* ---- the recorder ---- */

enum event_kind { CREATE, RENAME, UNLINK, SYNC_FILE, SYNC_FOLDER };

struct event {
    enum event_kind kind;
    char name[NAME_SIZE], to[NAME_SIZE];
    int file; /* CREATE, RENAME, SYNC_FILE */
    void *data; /* SYNC_FILE: what is durable from here on */
    size_t size;
    /* what must hold from here on */
    uint64_t n_made; /* checkpoints that must be there at least, if KEPT allows */
    int64_t newest; /* number that the newest has at least */
};

struct entry {
    char name[NAME_SIZE];
    int file;
};

static struct event events[MAX_EVENTS];
static unsigned n_events, n_before; /* those before: what was durable when it began */
static struct entry first[MAX_NAMES]; /* names before the first event */
static unsigned n_first;
static ino_t inodes[MAX_EVENTS]; /* of files, by their numbers; the last one counts */
static int n_files;
static ino_t folder_inode;
static bool recording, replaying;
static uint64_t n_made;
static int64_t newest;
static uint64_t known[MAX_STATES];
static unsigned n_known;

static bool damaging; /* every new checkpoint, as soon as it has its name */

/* Which call fails, of those on the folder and what is in it. */
static struct {
    unsigned n_calls, at; /* from 1; 0: none */
    bool for_good, only_deletions; /* of checkpoints */
    int sys_errno;
} fault;

static int file_of(ino_t inode)
{
    for (int i = n_files; i-- > 0;)
        if (inodes[i] == inode)
            return i;
    return -1;
}

static ino_t inode_of(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 ? status.st_ino : 0;
}

static bool is_folder(int fd)
{
    return recording && inode_of(fd) == folder_inode;
}

static struct event *add_event(enum event_kind kind, const char *name)
{
    ck_assert_uint_lt(n_events, MAX_EVENTS);
    struct event *event = &events[n_events++];
    memset(event, 0, sizeof *event);
    event->kind = kind;
    event->n_made = n_made;
    event->newest = newest;
    (void)snprintf(event->name, sizeof event->name, "%s", name);
    return event;
}

static bool fails(bool deletion)
{
    if (fault.only_deletions && !deletion)
        return false;
    fault.n_calls++;
    if (fault.at == 0 || (fault.for_good ? fault.n_calls < fault.at : fault.n_calls != fault.at))
        return false;
    errno = fault.sys_errno;
    return true;
}

int openat(int dir_fd, const char *name, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    const mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;
    va_end(args);
    const bool creates = (flags & O_CREAT) && is_folder(dir_fd);
    if (creates && fails(false))
        return -1;
    const int fd = (int)syscall(SYS_openat, dir_fd, name, flags, mode);
    if (fd >= 0 && creates) {
        inodes[n_files] = inode_of(fd);
        add_event(CREATE, name)->file = n_files++;
    }
    return fd;
}

ssize_t pwritev(int fd, const struct iovec *iov, int n_iov, off_t offset)
{
    if (recording && file_of(inode_of(fd)) >= 0 && fails(false))
        return -1;
    return syscall(SYS_pwritev, fd, iov, n_iov, (long)offset, (long)((uint64_t)offset >> 32));
}

static void note_sync(int fd)
{
    struct stat status;
    char path[64];
    const int file = file_of(inode_of(fd));

    if (is_folder(fd)) {
        (void)add_event(SYNC_FOLDER, "");
    } else if (file >= 0 && fstat(fd, &status) == 0) {
        struct event *event = add_event(SYNC_FILE, "");
        event->file = file;
        event->size = (size_t)status.st_size;
        event->data = malloc(event->size + 1);
        /* the descriptor may be for writing only */
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        const int readable = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
        ck_assert_int_eq(pread(readable, event->data, event->size, 0), status.st_size);
        close(readable);
    }
}

static int sync_file(int fd, long call)
{
    if (replaying)
        return 0;
    const bool ours = recording && (is_folder(fd) || file_of(inode_of(fd)) >= 0);
    if (ours && fails(false))
        return -1;
    const int rc = (int)syscall(call, fd);
    if (rc == 0 && ours)
        note_sync(fd);
    return rc;
}

int fsync(int fd)
{
    return sync_file(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_file(fd, SYS_fdatasync);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    struct stat status;
    const bool ours = is_folder(from_fd);

    if (ours && fails(false))
        return -1;
    if (ours)
        ck_assert_int_eq(fstatat(from_fd, from, &status, AT_SYMLINK_NOFOLLOW), 0);
    const int rc = (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
    if (rc == 0 && ours) {
        struct event *event = add_event(RENAME, from);
        event->file = file_of(status.st_ino);
        (void)snprintf(event->to, sizeof event->to, "%s", to);
    }
    if (damaging && strncmp(to, "ckpt-", 5) == 0)
        manager_damage(strtoll(to + 5, NULL, 10));
    return rc;
}

int unlinkat(int fd, const char *name, int flags)
{
    const bool ours = is_folder(fd);

    if (ours && fails(strncmp(name, "ckpt-", 5) == 0))
        return -1;
    const int rc = (int)syscall(SYS_unlinkat, fd, name, flags);
    if (rc == 0 && ours)
        (void)add_event(UNLINK, name);
    return rc;
}

/* What is there now is durable. */
static void start_recording(void)
{
    const struct dirent *found;
    struct stat status;
    DIR *listing = opendir(world.folder);

    ck_assert_ptr_nonnull(listing);
    ck_assert_int_eq(fstat(dirfd(listing), &status), 0);
    folder_inode = status.st_ino;
    recording = true;
    while ((found = readdir(listing)) != NULL) {
        const int fd = (int)syscall(SYS_openat, dirfd(listing), found->d_name, O_RDONLY | O_CLOEXEC, 0);
        if (found->d_name[0] != '.' || strlen(found->d_name) > 2) {
            ck_assert_uint_lt(n_first, MAX_NAMES);
            inodes[n_files] = inode_of(fd);
            (void)snprintf(first[n_first].name, NAME_SIZE, "%.63s", found->d_name);
            first[n_first++].file = n_files++;
            note_sync(fd);
        }
        close(fd);
    }
    closedir(listing);
    n_before = n_events;
}

static void stop_recording(void)
{
    recording = false;
    for (unsigned i = 0; i < n_events; i++)
        free(events[i].data);
    n_events = n_before = n_first = 0;
    n_files = 0;
    memset(&fault, 0, sizeof fault);
}

/* ---- the states of the disk ---- */

struct disk {
    struct entry entries[MAX_NAMES];
    unsigned n;
};

static void drop_name(struct disk *disk, const char *name)
{
    for (unsigned i = 0; i < disk->n; i++)
        if (strcmp(disk->entries[i].name, name) == 0)
            disk->entries[i--] = disk->entries[--disk->n];
}

static void set_name(struct disk *disk, const char *name, int file)
{
    drop_name(disk, name);
    ck_assert_uint_lt(disk->n, MAX_NAMES);
    (void)snprintf(disk->entries[disk->n].name, NAME_SIZE, "%s", name);
    disk->entries[disk->n++].file = file;
}

static void apply(struct disk *disk, const struct event *event)
{
    if (event->kind == CREATE)
        set_name(disk, event->name, event->file);
    else if (event->kind == UNLINK || event->kind == RENAME)
        drop_name(disk, event->name);
    if (event->kind == RENAME)
        set_name(disk, event->to, event->file);
}

/* What is durable of a file after so many events; NULL: nothing. */
static const struct event *durable_bytes(int file, unsigned n)
{
    while (n-- > 0)
        if (events[n].kind == SYNC_FILE && events[n].file == file)
            return &events[n];
    return NULL;
}

static void build(const struct disk *disk, unsigned n, const char *path)
{
    ck_assert_int_eq(mkdir(path, 0700), 0);
    for (unsigned i = 0; i < disk->n; i++) {
        char name[600];
        const struct event *bytes = durable_bytes(disk->entries[i].file, n);
        (void)snprintf(name, sizeof name, "%s/%s", path, disk->entries[i].name);
        const int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        ck_assert_int_ge(fd, 0);
        if (bytes)
            ck_assert_int_eq(write(fd, bytes->data, bytes->size), (ssize_t)bytes->size);
        close(fd);
    }
}

static uint64_t count_valid(const char *path, const struct disk *disk)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    uint64_t lsn, n = 0;

    for (unsigned i = 0; i < disk->n; i++)
        if (strncmp(disk->entries[i].name, "ckpt-", 5) == 0 && strcmp(disk->entries[i].name, FOREIGN) != 0)
            n += hti_snapshot_verify(fd, disk->entries[i].name, path, 1, &lsn, NULL) == 0;
    close(fd);
    return n;
}

static char *describe(const struct disk *disk, unsigned n)
{
    static char text[4096];
    size_t size = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < disk->n; i++)
        size += (size_t)snprintf(text + size, sizeof text - size, " %s#%d%s", disk->entries[i].name,
                                 disk->entries[i].file, durable_bytes(disk->entries[i].file, n) ? "" : "(lost)");
    return text;
}

/* The manager of the world works elsewhere for a while. */
static void check_opening(const char *path, uint64_t n_wanted, int64_t newest_wanted, const char *what)
{
    const struct htstore_checkpoint_file *files;
    struct htstore_manager_options options = world.options;
    struct htstore_manager *manager;
    struct htstore_arena *arena;
    const char *latest;
    uint64_t n, n_listed = 0;

    options.folder = path;
    OK(htstore_arena_new(&arena, &api.error));
    for (int again = 0; again < 2; again++) {
        ck_assert_msg(htstore_manager_open(world.checkpoint, &options, &manager, &api.error) == 0, "%s: %s", what,
                      api.error.message);
        OK(htstore_manager_list(manager, arena, &files, &n, &api.error));
        n_listed = 0;
        for (uint64_t i = 0; i < n; i++) {
            n_listed += files[i].listed;
            ck_assert_msg(files[i].listed || files[i].number == 0, "nobody will delete %s: %s", files[i].path, what);
        }
        ck_assert_msg(n_listed >= n_wanted, "%d listed: %s", (int)n_listed, what);
        ck_assert_uint_eq(hti_managerstate_count(&manager->state, HTI_MANAGED_LISTED), n_listed);
        OK(htstore_manager_latest(manager, arena, &latest, &api.error));
        ck_assert_msg(strtoll(strrchr(latest, '-') + 1, NULL, 10) >= newest_wanted, "latest %s: %s", latest, what);
        htstore_manager_close(manager);
    }
    htstore_arena_free(arena);
}

/* Has this state been looked at, with the same expectations? */
static bool is_known(const char *what, const struct event *last)
{
    const uint64_t hash =
        hti_hash64(what, strlen(what), (last ? last->n_made : 0) * 1000003 + (uint64_t)(last ? last->newest : 0));

    for (unsigned i = 0; i < n_known; i++)
        if (known[i] == hash)
            return true;
    ck_assert_uint_lt(n_known, MAX_STATES);
    known[n_known++] = hash;
    return false;
}

static void check_state(const struct disk *disk, unsigned n)
{
    static unsigned number;
    char path[512], what[4600];
    const struct event *last = n ? &events[n - 1] : NULL;
    const uint64_t made = last ? last->n_made : 0, wanted = made < KEPT ? made : KEPT;

    if (is_known(describe(disk, n), last))
        return;
    (void)snprintf(path, sizeof path, "%s/cut-%u", api.directory, number++);
    (void)snprintf(what, sizeof what, "after %u events, fault %u:%s", n, fault.at, describe(disk, n));
    build(disk, n, path);
    ck_assert_msg(count_valid(path, disk) >= wanted, "fewer than %d intact: %s", (int)wanted, what);
    check_opening(path, wanted, last ? last->newest : 0, what);
    ck_assert(folder_remove(path));
}

/* Cut the power after so many events: everything up to the last sync of the folder, and any of what came later. */
static void cut_after(unsigned n)
{
    unsigned synced = n, later[MAX_LATER], n_later = 0;

    while (synced > 0 && events[synced - 1].kind != SYNC_FOLDER)
        synced--;
    for (unsigned i = synced; i < n; i++) {
        if (events[i].kind == SYNC_FILE)
            continue;
        ck_assert_uint_lt(n_later, MAX_LATER);
        later[n_later++] = i;
    }
    for (unsigned subset = 0; subset < 1u << n_later; subset++) {
        struct disk disk = { .n = n_first };
        memcpy(disk.entries, first, sizeof first);
        for (unsigned i = 0; i < synced; i++)
            apply(&disk, &events[i]);
        for (unsigned i = 0; i < n_later; i++)
            if (subset >> i & 1)
                apply(&disk, &events[later[i]]);
        check_state(&disk, n);
    }
}

/* Whatever is deleted: the durable state says so already. */
static void check_deletion(unsigned at)
{
    struct hti_managerstate state;
    const struct event *bytes = NULL;
    unsigned synced = at;

    while (synced > 0 && events[synced - 1].kind != SYNC_FOLDER)
        synced--;
    for (unsigned i = synced; !bytes && i-- > 0;)
        if (events[i].kind == RENAME && strcmp(events[i].to, "ckpt.state") == 0)
            bytes = durable_bytes(events[i].file, at);
    ck_assert_ptr_nonnull(bytes);
    hti_managerstate_init(&state);
    OK(hti_managerstate_decode(bytes->data, bytes->size, "", &state, &api.error));
    const struct hti_managed *entry = hti_managerstate_find(&state, strtoll(events[at].name + 5, NULL, 10));
    ck_assert_msg(entry && entry->mark == HTI_MANAGED_DELETING, "%s is deleted too early", events[at].name);
    hti_managerstate_release(&state);
}

static void check_all_cuts(void)
{
    const int64_t counter = htstore_checkpoint_save_counter(world.checkpoint);

    recording = false;
    for (unsigned i = 0; fault.at == 0 && i < n_events; i++)
        if (events[i].kind == UNLINK && strncmp(events[i].name, "ckpt-", 5) == 0)
            check_deletion(i);
    replaying = true;
    for (unsigned n = n_before; n <= n_events; n++)
        cut_after(n);
    replaying = false;
    ck_assert_int_eq(htstore_checkpoint_save_counter(world.checkpoint), counter);
}

/* ---- work ---- */

/* A save, of which nothing is expected before it has returned. */
static int record_save(uint32_t flags, int64_t number)
{
    if (flags & HTSTORE_EXPLICIT_NUMBER)
        newest = 0;
    const int rc = manager_try_save(flags, number);

    if (rc == 0) {
        n_made++;
        newest = flags & HTSTORE_EXPLICIT_NUMBER ? 0 : htstore_checkpoint_save_counter(world.checkpoint);
        /* The world outside has seen it: from here on it counts. */
        (void)add_event(SYNC_FILE, "");
        events[n_events - 1].file = -2;
    }
    return rc;
}

static void begin(int n_saves)
{
    n_known = 0;
    n_made = 0;
    newest = 0;
    world.now = 10;
    manager_open(KEPT, 0);
    manager_save_as(1);
    ck_assert_int_eq(rename(manager_path("ckpt-1"), manager_path(FOREIGN)), 0);
    for (int i = 0; i < n_saves; i++)
        manager_save_as(2 + i);
    n_made = (uint64_t)n_saves;
    newest = n_saves ? 1 + n_saves : 0;
    start_recording();
}

START_TEST(a_cut_while_saving_and_sweeping_loses_nothing)
{
    begin(0);
    for (int i = 0; i < 5; i++)
        OK(record_save(0, 0));
    check_all_cuts();
    stop_recording();
}
END_TEST

START_TEST(a_cut_while_replacing_loses_nothing)
{
    begin(2);
    OK(record_save(HTSTORE_EXPLICIT_NUMBER, 2));
    OK(record_save(HTSTORE_EXPLICIT_NUMBER, 2));
    OK(record_save(HTSTORE_EXPLICIT_NUMBER, 9));
    check_all_cuts();
    stop_recording();
}
END_TEST

START_TEST(a_cut_while_removing_and_pruning_loses_nothing)
{
    world.now = 10;
    begin(2);
    OK(record_save(0, 0));
    n_made = 1;
    newest = 0;
    OK(htstore_manager_remove(world.manager, 3, &api.error));
    OK(record_save(0, 0));
    n_made = 1;
    newest = 0;
    recording = false; /* another manager, with a smaller limit: opening changes nothing */
    manager_close();
    world.options.max_to_keep = 1;
    OK(manager_try_open());
    recording = true;
    OK(htstore_manager_prune(world.manager, &api.error));
    world.options.max_to_keep = KEPT;
    check_all_cuts();
    stop_recording();
}
END_TEST

/* The same again, with a call that fails; whatever comes of it, nothing is lost, and the next save works. */
static bool survive_fault(unsigned at, bool for_good, int sys_errno)
{
    const int64_t counter = htstore_checkpoint_save_counter(world.checkpoint);
    const char *listed = manager_listed();

    fault.n_calls = 0;
    fault.at = at;
    fault.for_good = for_good;
    fault.sys_errno = sys_errno;
    const int rc = record_save(0, 0);
    const bool struck = fault.n_calls >= at;
    fault.at = 0;
    if (rc != 0) {
        ck_assert_int_eq(rc, sys_errno == ENOSPC ? HTSTORE_ENOSPC : HTSTORE_EIO);
        ck_assert_int_eq(htstore_checkpoint_save_counter(world.checkpoint), counter);
        recording = false;
        ck_assert_str_eq(manager_listed(), listed);
        if (!for_good)
            ck_assert_str_eq(manager_others(), "");
        recording = true;
    }
    OK(record_save(0, 0));
    OK(record_save(0, 0));
    recording = false;
    ck_assert_uint_eq(hti_managerstate_count(&world.manager->state, HTI_MANAGED_LISTED), KEPT);
    ck_assert_uint_eq(world.manager->state.n_entries, KEPT);
    ck_assert_str_eq(manager_others(), "");
    recording = true;
    fault.at = at; /* for messages */
    return struck;
}

START_TEST(a_cut_after_any_failure_loses_nothing)
{
    static const struct {
        bool for_good;
        int sys_errno;
    } kinds[] = { { false, EIO }, { true, ENOSPC } };
    bool struck = true;
    unsigned at;

    for (at = 1; struck; at++) {
        begin(2);
        struck = survive_fault(at, kinds[_i].for_good, kinds[_i].sys_errno);
        check_all_cuts();
        stop_recording();
        manager_close();
        ck_assert(folder_remove(world.folder));
    }
    ck_assert_uint_gt(at, 20);
}
END_TEST

START_TEST(a_checkpoint_that_reads_back_damaged_is_taken_back)
{
    manager_open(KEPT, 0);
    manager_save();
    manager_save();
    damaging = true;
    ck_assert_int_eq(manager_try_save(0, 0), HTSTORE_ECORRUPT);
    FILES_ARE("1 2");
    LISTED_IS("1 2");
    ck_assert_int_eq(htstore_checkpoint_save_counter(world.checkpoint), 2);
    /* What has been replaced is lost; nothing else is. */
    ck_assert_int_eq(manager_try_save(HTSTORE_EXPLICIT_NUMBER, 2), HTSTORE_ECORRUPT);
    damaging = false;
    FILES_ARE("1 2");
    LISTED_IS("1 2");
    ck_assert_int_eq(manager_latest(), 1);
    ck_assert_int_eq(htstore_checkpoint_save_counter(world.checkpoint), 2);
    manager_save();
    LISTED_IS("2 3");
}
END_TEST

START_TEST(an_old_file_that_cannot_be_deleted_is_deleted_later)
{
    begin(2);
    fault.sys_errno = EPERM;
    fault.for_good = true;
    fault.only_deletions = true;
    fault.at = 1;
    OK(manager_try_save(0, 0));
    const int64_t number = htstore_checkpoint_save_counter(world.checkpoint);
    ck_assert_ptr_nonnull(strstr(world.log, "not all deleted yet"));
    FILES_ARE("0 2 3 4");
    LISTED_IS("3 4");
    ck_assert_int_eq(number, 4);
    ck_assert_int_eq(htstore_manager_remove(world.manager, 3, &api.error), HTSTORE_EREADONLY);
    FILES_ARE("0 2 3 4");
    LISTED_IS("4");
    OK(manager_try_save(HTSTORE_EXPLICIT_NUMBER, 3));
    LISTED_IS("4 3");
    fault.at = 0;
    OK(htstore_manager_remove(world.manager, 2, &api.error));
    FILES_ARE("0 3 4");
    stop_recording();
}
END_TEST

START_TEST(no_memory_during_a_save_changes_nothing)
{
    bool failed = true;

    manager_open(KEPT, 0);
    manager_save();
    manager_save();
    for (uint64_t n = 0; failed; n++) {
        const int64_t counter = htstore_checkpoint_save_counter(world.checkpoint);
        const char *listed = manager_listed();
        hti_mem_test_fail(n, false);
        const int rc = manager_try_save(0, 0);
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert(rc == 0 || rc == HTSTORE_ENOMEM);
        ck_assert_str_eq(manager_others(), "");
        if (rc == 0)
            continue;
        ck_assert_int_eq(htstore_checkpoint_save_counter(world.checkpoint), counter);
        ck_assert_str_eq(manager_listed(), listed);
        ck_assert_ptr_nonnull(strstr(manager_files(), listed));
    }
    manager_save();
    ck_assert_str_eq(manager_files(), manager_listed());
}
END_TEST

static Suite *make_suite(void)
{
    Suite *suite = suite_create("managercuts");
    TCase *tcase = tcase_create("managercuts");

    tcase_add_checked_fixture(tcase, manager_setup, manager_teardown);
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, a_cut_while_saving_and_sweeping_loses_nothing);
    tcase_add_test(tcase, a_cut_while_replacing_loses_nothing);
    tcase_add_test(tcase, a_cut_while_removing_and_pruning_loses_nothing);
    tcase_add_test(tcase, a_checkpoint_that_reads_back_damaged_is_taken_back);
    tcase_add_test(tcase, an_old_file_that_cannot_be_deleted_is_deleted_later);
    tcase_add_test(tcase, no_memory_during_a_save_changes_nothing);
    tcase_add_loop_test(tcase, a_cut_after_any_failure_loses_nothing, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}

int main(void)
{
    return check_run(make_suite());
}
