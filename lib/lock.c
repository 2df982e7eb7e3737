/* lock: hides how a store is kept to one owner: two OFD locks on LOCK, flock on the folder, and the text in LOCK. */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "file.h"

#define LOCK_NAME "LOCK"
#define LOCK_MAGIC "htstore-lock 1\n"
#define MAX_LOCK_SIZE 512
#define OPEN_BYTE 0
#define OWNER_BYTE 1
#define MIN_READER_WAIT_MS 1000
#define CLOSING_WAIT_MS 10000
#define MAX_PAUSE_MS 50
#define MAX_REPLACED 16
#define BOOT_ID_SIZE 37 /* with the NUL */
#define SINCE_SIZE 21 /* with the NUL */

/* Who holds, or held, the store. Numbers are 0 and texts empty where unknown. */
struct holder {
    uint64_t pid;
    uint64_t pid_namespace;
    char boot_id[BOOT_ID_SIZE];
    char since[SINCE_SIZE];
    bool owned;
};

/* One attempt to lock. 0 = done, 1 = LOCK was replaced meanwhile, HTSTORE_EBUSY = worth another try later. */
typedef int (*attempt_fn)(struct hti_lock *lock, const char *path, struct htstore_error *error);

static uint64_t now_ms(void)
{
    struct timespec now = { 0 };

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Sleep for *pause_ms, not past the deadline, and let the next pause be longer. False if the deadline is over. */
static bool pause_before(uint64_t deadline_ms, uint64_t *pause_ms)
{
    uint64_t now = now_ms();

    if (now >= deadline_ms)
        return false;
    uint64_t left = deadline_ms - now;
    uint64_t pause = *pause_ms < left ? *pause_ms : left;
    struct timespec duration = { .tv_sec = 0, .tv_nsec = (long)(pause * 1000000) };
    nanosleep(&duration, NULL);
    *pause_ms = *pause_ms * 2 < MAX_PAUSE_MS ? *pause_ms * 2 : MAX_PAUSE_MS;
    return true;
}

/* 0 or errno; EAGAIN if another open description holds the byte. */
static int lock_byte(int fd, short type, off_t byte)
{
    struct flock range = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    int result;

    do
        result = fcntl(fd, F_OFD_SETLK, &range);
    while (result < 0 && errno == EINTR);
    if (result == 0)
        return 0;
    return errno == EACCES ? EAGAIN : errno;
}

static bool is_byte_held(int fd, off_t byte)
{
    struct flock range = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

    return fcntl(fd, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK;
}

static uint64_t own_pid_namespace(void)
{
    struct stat status;

    return stat("/proc/self/ns/pid", &status) == 0 ? (uint64_t)status.st_ino : 0;
}

static bool is_boot_id(const char *text)
{
    return strlen(text) == BOOT_ID_SIZE - 1 && strspn(text, "0123456789abcdef-") == BOOT_ID_SIZE - 1;
}

/* Empty where /proc does not tell. */
static void read_boot_id(char boot_id[BOOT_ID_SIZE])
{
    size_t got = 0;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

    if (fd >= 0) {
        hti_file_read_at(fd, boot_id, BOOT_ID_SIZE - 1, 0, &got);
        close(fd);
    }
    boot_id[got] = '\0';
    if (!is_boot_id(boot_id))
        boot_id[0] = '\0';
}

static void format_time(char since[SINCE_SIZE])
{
    struct tm parts;
    time_t now = time(NULL);

    if (!gmtime_r(&now, &parts) || strftime(since, SINCE_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts) != SINCE_SIZE - 1)
        strcpy(since, "1970-01-01T00:00:00Z");
}

/* Copy the value of the line "name value" to `value`. False if there is none or it does not fit. */
static bool find_field(const char *text, const char *name, char *value, size_t capacity)
{
    size_t name_size = strlen(name);
    const char *end;

    for (const char *line = text; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        if (strncmp(line, name, name_size) != 0 || line[name_size] != ' ')
            continue;
        const char *start = line + name_size + 1;
        size_t size = (size_t)(end - start);
        if (size >= capacity)
            return false;
        memcpy(value, start, size);
        value[size] = '\0';
        return true;
    }
    return false;
}

/* A decimal number; 0 if the line is missing or no number. */
static uint64_t find_number(const char *text, const char *name)
{
    char digits[20];
    uint64_t number = 0;

    if (!find_field(text, name, digits, sizeof digits))
        return 0;
    for (const char *c = digits; *c; c++) {
        if (*c < '0' || *c > '9')
            return 0;
        number = number * 10 + (uint64_t)(*c - '0');
    }
    return number;
}

/* False if LOCK cannot be read or is no text of ours. Nothing unprintable gets into *holder. */
static bool read_holder(int fd, struct holder *holder)
{
    char text[MAX_LOCK_SIZE + 1];
    char state[8];
    size_t size;

    memset(holder, 0, sizeof *holder);
    if (hti_file_read_at(fd, text, MAX_LOCK_SIZE, 0, &size))
        return false;
    text[size] = '\0';
    if (strncmp(text, LOCK_MAGIC, strlen(LOCK_MAGIC)) != 0)
        return false;
    holder->pid = find_number(text, "pid");
    holder->pid_namespace = find_number(text, "pidns");
    holder->owned = find_field(text, "state", state, sizeof state) && strcmp(state, "owned") == 0;
    if (!find_field(text, "boot", holder->boot_id, sizeof holder->boot_id) || !is_boot_id(holder->boot_id))
        holder->boot_id[0] = '\0';
    if (!find_field(text, "since", holder->since, sizeof holder->since))
        return false;
    return holder->pid > 0 && holder->pid <= INT32_MAX && strlen(holder->since) == SINCE_SIZE - 1 &&
           strspn(holder->since, "0123456789-:TZ") == SINCE_SIZE - 1;
}

static int write_holder(int fd, const struct holder *holder)
{
    char text[MAX_LOCK_SIZE];
    int size = snprintf(text, sizeof text,
                        LOCK_MAGIC "pid %" PRIu64 "\nboot %s\npidns %" PRIu64 "\nsince %s\nstate %s\n", holder->pid,
                        holder->boot_id, holder->pid_namespace, holder->since, holder->owned ? "owned" : "closed");

    if (size < 0 || (size_t)size >= sizeof text)
        return EIO;
    int failed = hti_file_write_at(fd, text, (size_t)size, 0);
    if (failed)
        return failed;
    return ftruncate(fd, size) == 0 ? 0 : errno;
}

static int write_own_name(int fd)
{
    struct holder self = { .pid = (uint64_t)getpid(), .owned = true };

    self.pid_namespace = own_pid_namespace();
    read_boot_id(self.boot_id);
    format_time(self.since);
    return write_holder(fd, &self);
}

/* The owner that LOCK names, if its text was written by one that lives in this boot of the machine. */
static bool find_live_owner(int fd, struct holder *holder)
{
    char boot_id[BOOT_ID_SIZE];

    if (!is_byte_held(fd, OWNER_BYTE) || !read_holder(fd, holder) || !holder->owned)
        return false;
    read_boot_id(boot_id);
    return !boot_id[0] || !holder->boot_id[0] || strcmp(boot_id, holder->boot_id) == 0;
}

static bool is_foreign(const struct holder *holder)
{
    uint64_t own = own_pid_namespace();

    return own && holder->pid_namespace && own != holder->pid_namespace;
}

static int fail_busy(int fd, const char *path, struct htstore_error *error)
{
    struct holder holder;
    const char *remark = "";

    if (!find_live_owner(fd, &holder)) {
        hti_fail(error, HTSTORE_EBUSY, "the store is locked by another process");
    } else {
        if (is_foreign(&holder))
            remark = ", which runs in another pid namespace";
        else if (kill((pid_t)holder.pid, 0) < 0 && errno == ESRCH)
            remark = ", which has ended: a child of it may hold the lock";
        hti_fail(error, HTSTORE_EBUSY, "the store is locked by process %" PRIu64 " since %s%s", holder.pid,
                 holder.since, remark);
    }
    hti_error_set_path(error, path, 0);
    return HTSTORE_EBUSY;
}

/* The status for a lock call that failed: a conflict names the holder. */
static int fail_locking(int fd, int sys_errno, const char *path, struct htstore_error *error)
{
    if (sys_errno == EAGAIN)
        return fail_busy(fd, path, error);
    return hti_file_fail(error, sys_errno, path, "cannot lock the store");
}

static int open_lock_file(struct hti_lock *lock, int flags, const char *path, struct htstore_error *error)
{
    char lock_path[4096];

    if (snprintf(lock_path, sizeof lock_path, "%s/" LOCK_NAME, path) < 0)
        lock_path[0] = '\0';
    return hti_file_open(lock->dir_fd, LOCK_NAME, flags, lock_path, &lock->fd, error);
}

/* Is LOCK, by name, still the file that is open? */
static bool is_same_file(const struct hti_lock *lock)
{
    struct stat by_fd, by_name;

    return fstat(lock->fd, &by_fd) == 0 && fstatat(lock->dir_fd, LOCK_NAME, &by_name, AT_SYMLINK_NOFOLLOW) == 0 &&
           by_fd.st_dev == by_name.st_dev && by_fd.st_ino == by_name.st_ino;
}

/* Unlock by name rather than by closing: a forked child may share the open file, and would keep the locks. */
static void close_lock_file(struct hti_lock *lock)
{
    if (lock->fd >= 0) {
        lock_byte(lock->fd, F_UNLCK, OPEN_BYTE);
        lock_byte(lock->fd, F_UNLCK, OWNER_BYTE);
        close(lock->fd);
    }
    lock->fd = -1;
    lock->opening = false;
}

/*
 * Byte 0 comes before byte 1, so that byte 1 is never held by someone who may still fail while a reader holds byte 0:
 * then the text in LOCK is that of the one who holds byte 1. The folder comes last: a conflict there means that LOCK
 * was replaced under a living owner.
 */
static int lock_all(const struct hti_lock *lock, const char *path, struct htstore_error *error)
{
    /* Known to be hopeless: do not get in the way of readers by taking byte 0. */
    int failed = is_byte_held(lock->fd, OWNER_BYTE) ? EAGAIN : 0;

    if (!failed)
        failed = lock_byte(lock->fd, F_WRLCK, OPEN_BYTE);
    if (!failed)
        failed = lock_byte(lock->fd, F_WRLCK, OWNER_BYTE);
    if (!failed && flock(lock->dir_fd, LOCK_EX | LOCK_NB) < 0)
        failed = errno;
    return failed ? fail_locking(lock->fd, failed, path, error) : 0;
}

static int attempt_owner(struct hti_lock *lock, const char *path, struct htstore_error *error)
{
    int code = open_lock_file(lock, O_RDWR | O_CREAT, path, error);

    if (code)
        return code;
    code = lock_all(lock, path, error);
    if (code) {
        close_lock_file(lock);
        return code;
    }
    if (!is_same_file(lock)) {
        code = 1;
    } else {
        int failed = write_own_name(lock->fd);
        if (!failed)
            return 0;
        code = hti_file_fail(error, failed, path, "cannot write LOCK");
    }
    flock(lock->dir_fd, LOCK_UN);
    close_lock_file(lock);
    return code;
}

static int attempt_reader(struct hti_lock *lock, const char *path, struct htstore_error *error)
{
    struct htstore_error reason;
    int code = open_lock_file(lock, O_RDONLY, path, &reason);

    if (code == HTSTORE_ENOTFOUND)
        return 0;
    if (code) {
        hti_error_copy(error, &reason);
        return code;
    }
    int failed = lock_byte(lock->fd, F_RDLCK, OPEN_BYTE);
    if (failed)
        code = fail_locking(lock->fd, failed, path, error);
    else if (!is_same_file(lock))
        code = 1;
    if (code)
        close_lock_file(lock);
    return code;
}

static int attempt_until_stable(struct hti_lock *lock, attempt_fn attempt, const char *path,
                                struct htstore_error *error)
{
    for (int i = 0; i < MAX_REPLACED; i++) {
        int code = attempt(lock, path, error);
        if (code <= 0)
            return code;
    }
    hti_fail(error, HTSTORE_EBUSY, "LOCK is replaced again and again");
    hti_error_set_path(error, path, 0);
    return HTSTORE_EBUSY;
}

static int wait_for(struct hti_lock *lock, attempt_fn attempt, const char *path, uint32_t timeout_ms,
                    struct htstore_error *error)
{
    struct htstore_error reason;
    uint64_t deadline = now_ms() + timeout_ms;
    uint64_t pause = 1;
    int code;

    do
        code = attempt_until_stable(lock, attempt, path, &reason);
    while (code == HTSTORE_EBUSY && pause_before(deadline, &pause));
    if (code)
        hti_error_copy(error, &reason);
    return code;
}

int hti_lock_owner(struct hti_lock *lock, int dir_fd, const char *path, uint32_t timeout_ms,
                   struct htstore_error *error)
{
    *lock = (struct hti_lock){ .dir_fd = dir_fd, .fd = -1 };
    int code = wait_for(lock, attempt_owner, path, timeout_ms, error);
    lock->owner = code == 0;
    lock->opening = code == 0;
    return code;
}

int hti_lock_reader(struct hti_lock *lock, int dir_fd, const char *path, uint32_t timeout_ms, bool *owner_alive,
                    struct htstore_error *error)
{
    struct holder holder;

    *lock = (struct hti_lock){ .dir_fd = dir_fd, .fd = -1 };
    *owner_alive = false;
    int code =
        wait_for(lock, attempt_reader, path, timeout_ms > MIN_READER_WAIT_MS ? timeout_ms : MIN_READER_WAIT_MS, error);
    if (code || lock->fd < 0)
        return code;
    lock->opening = true;
    if (!is_byte_held(lock->fd, OWNER_BYTE))
        return 0;
    /* An owner that LOCK does not name may be in another namespace: not worth the risk. */
    if (!find_live_owner(lock->fd, &holder) || is_foreign(&holder)) {
        code = fail_busy(lock->fd, path, error);
        close_lock_file(lock);
        return code;
    }
    *owner_alive = true;
    return 0;
}

int hti_lock_refuse(const struct hti_lock *lock, const char *path, struct htstore_error *error)
{
    return fail_busy(lock->fd, path, error);
}

bool hti_lock_owner_alive(const struct hti_lock *lock)
{
    if (lock->owner)
        return true;
    if (lock->fd >= 0)
        return is_byte_held(lock->fd, OWNER_BYTE);
    /* There was no LOCK when the reader came; an owner may have made one since. */
    struct hti_lock now = { .dir_fd = lock->dir_fd, .fd = -1 };
    if (open_lock_file(&now, O_RDONLY, "", NULL))
        return false;
    bool alive = is_byte_held(now.fd, OWNER_BYTE);
    close(now.fd);
    return alive;
}

uint64_t hti_lock_owner_pid(const struct hti_lock *lock)
{
    struct holder holder;

    if (lock->owner)
        return (uint64_t)getpid();
    return lock->fd >= 0 && find_live_owner(lock->fd, &holder) ? holder.pid : 0;
}

void hti_lock_opened(struct hti_lock *lock)
{
    if (lock->opening)
        lock_byte(lock->fd, F_UNLCK, OPEN_BYTE);
    lock->opening = false;
}

int hti_lock_closing(struct hti_lock *lock)
{
    uint64_t deadline = now_ms() + CLOSING_WAIT_MS;
    uint64_t pause = 1;
    int failed;

    if (lock->fd < 0 || lock->opening)
        return 0;
    do
        failed = lock_byte(lock->fd, lock->owner ? F_WRLCK : F_RDLCK, OPEN_BYTE);
    while (failed == EAGAIN && pause_before(deadline, &pause));
    lock->opening = !failed;
    return failed;
}

void hti_lock_release(struct hti_lock *lock)
{
    struct holder self;

    if (lock->fd < 0)
        return;
    if (lock->owner) {
        if (read_holder(lock->fd, &self)) {
            self.owned = false;
            write_holder(lock->fd, &self);
        }
        flock(lock->dir_fd, LOCK_UN);
    }
    close_lock_file(lock);
    lock->owner = false;
}
