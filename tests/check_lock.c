/* Tests of lock: one owner, whatever happens to LOCK; readers beside it; who is named. */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check_util.h"
#include "mem.h"

#define N_ELEMENTS(array) ((int)(sizeof(array) / sizeof *(array)))

/* Lines of LOCK. */
#define HEAD "htstore-lock 1\n"
#define PID "pid 1\n"
#define SINCE "since 2026-03-01T10:00:00Z\n"
#define STATE "state owned\n"

static char *directory;
static int dir_fd, other_dir_fd;
static struct hti_lock lock, other;
static struct htstore_error error;

/* What the system calls below do. They take the place of those of the C library; time passes only in nanosleep(). */
static struct {
    uint64_t slept_ns;
    uint64_t longest_ns;
    unsigned n_sleeps;
    void (*on_sleep)(void);
    void (*on_flock)(void);
    unsigned n_flocks;
    void (*on_lock)(void); /* before every OFD lock */
    unsigned n_locks;
    int write_errno;
    int lock_errno;
} hooks;

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    uint64_t ns = (uint64_t)now->tv_nsec + hooks.slept_ns;
    now->tv_sec += (time_t)(ns / 1000000000);
    now->tv_nsec = (long)(ns % 1000000000);
    return result;
}

int nanosleep(const struct timespec *duration, struct timespec *left)
{
    uint64_t ns = (uint64_t)duration->tv_sec * 1000000000 + (uint64_t)duration->tv_nsec;
    (void)left;
    hooks.slept_ns += ns;
    hooks.n_sleeps++;
    if (ns > hooks.longest_ns)
        hooks.longest_ns = ns;
    if (hooks.on_sleep)
        hooks.on_sleep();
    return 0;
}

int flock(int fd, int operation)
{
    if (operation != LOCK_UN) {
        hooks.n_flocks++;
        if (hooks.on_flock)
            hooks.on_flock();
    }
    return (int)syscall(SYS_flock, fd, operation);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n_iov, off_t offset)
{
    if (hooks.write_errno) {
        errno = hooks.write_errno;
        return -1;
    }
    return syscall(SYS_pwritev, fd, iov, n_iov, offset, 0);
}

int fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    long argument = va_arg(args, long);
    va_end(args);
    if (command == F_OFD_SETLK && ((const struct flock *)argument)->l_type != F_UNLCK)
        hooks.n_locks++;
    if (command == F_OFD_SETLK && hooks.on_lock)
        hooks.on_lock();
    if (command == F_OFD_SETLK && hooks.lock_errno) {
        errno = hooks.lock_errno;
        return -1;
    }
    return (int)syscall(SYS_fcntl, fd, command, argument);
}

static void set_up(void)
{
    memset(&hooks, 0, sizeof hooks);
    memset(&error, 0, sizeof error);
    directory = check_tmpdir();
    dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    other_dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(dir_fd, 0);
    ck_assert_int_ge(other_dir_fd, 0);
    lock.fd = other.fd = -1;
}

static void tear_down(void)
{
    memset(&hooks, 0, sizeof hooks);
    hti_lock_release(&lock);
    hti_lock_release(&other);
    close(dir_fd);
    close(other_dir_fd);
    check_tmpdir_remove(directory);
    ck_assert_uint_eq(hti_mem_test_live(), 0);
}

static void own(void)
{
    ck_assert_msg(hti_lock_owner(&lock, dir_fd, directory, 0, &error) == 0, "%s", error.message);
    ck_assert_int_ge(lock.fd, 0);
    ck_assert(lock.owner && lock.opening);
}

static int try_to_own(uint32_t timeout_ms)
{
    int code = hti_lock_owner(&other, other_dir_fd, directory, timeout_ms, &error);
    if (code) {
        ck_assert_int_eq(other.fd, -1);
        ck_assert(!other.owner && !other.opening);
        ck_assert_int_eq(error.code, code);
    }
    return code;
}

static int try_to_read(bool *owner_alive)
{
    return hti_lock_reader(&other, other_dir_fd, directory, 0, owner_alive, &error);
}

static void expect_busy(const char *sentence)
{
    ck_assert_int_eq(try_to_own(0), HTSTORE_EBUSY);
    ck_assert_msg(strstr(error.message, sentence) != NULL, "\"%s\" is not in \"%s\"", sentence, error.message);
    ck_assert_str_eq(error.path, directory);
}

static void expect_unnamed_holder(void)
{
    expect_busy("locked by another process");
    ck_assert_ptr_null(strstr(error.message, "since"));
}

static void read_text(char text[600])
{
    int fd = openat(dir_fd, "LOCK", O_RDONLY | O_CLOEXEC);
    ssize_t size = read(fd, text, 599);
    ck_assert_int_ge(size, 0);
    text[size] = '\0';
    close(fd);
}

/* Change the text of LOCK in place, as its holder would. */
static void write_text(const char *text, size_t size)
{
    int fd = openat(dir_fd, "LOCK", O_WRONLY | O_TRUNC | O_CLOEXEC);
    ck_assert_int_eq(write(fd, text, size), (ssize_t)size);
    close(fd);
}

/* Replace the value of one line. */
static void rewrite_line(const char *name, const char *value)
{
    char text[600], changed[1200];
    read_text(text);
    char *start = strstr(text, name);
    ck_assert_ptr_nonnull(start);
    start += strlen(name);
    const char *end = strchr(start, '\n');
    int size = snprintf(changed, sizeof changed, "%.*s%s%s", (int)(start - text), text, value, end);
    write_text(changed, (size_t)size);
}

/* A child that owns the store until it is killed, or told to release it, and then to end, by a byte each. */
struct holder {
    pid_t pid;
    int orders;
};

static void obey(int orders, int answers)
{
    char byte = 'l';
    int own_dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (hti_lock_owner(&lock, own_dir, directory, 0, NULL) != 0 || write(answers, &byte, 1) != 1)
        _exit(1);
    if (read(orders, &byte, 1) != 1)
        _exit(1);
    hti_lock_release(&lock);
    _exit(read(orders, &byte, 1) >= 0 ? 0 : 1);
}

static struct holder start_holder(void)
{
    int orders[2], answers[2];
    char byte;
    ck_assert_int_eq(pipe2(orders, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(answers, O_CLOEXEC), 0);
    struct holder holder = { fork(), orders[1] };
    ck_assert_int_ge(holder.pid, 0);
    if (holder.pid == 0) {
        close(orders[1]);
        obey(orders[0], answers[1]);
    }
    close(orders[0]);
    close(answers[1]);
    ck_assert_int_eq(read(answers[0], &byte, 1), 1);
    close(answers[0]);
    return holder;
}

static void end_holder(struct holder *holder, int signal_number)
{
    int status;
    if (signal_number)
        kill(holder->pid, signal_number);
    close(holder->orders);
    ck_assert_int_eq(waitpid(holder->pid, &status, 0), holder->pid);
}

static void expect_named(pid_t pid)
{
    char sentence[64];
    snprintf(sentence, sizeof sentence, "locked by process %d since ", (int)pid);
    expect_busy(sentence);
}

START_TEST(a_second_owner_of_the_same_process_is_refused_and_told_who)
{
    own();
    expect_named(getpid());
    hti_lock_opened(&lock);
    ck_assert(!lock.opening);
    expect_named(getpid());
    hti_lock_release(&lock);
    ck_assert_int_eq(lock.fd, -1);
    ck_assert_int_eq(try_to_own(0), 0);
}
END_TEST

START_TEST(an_owner_of_another_process_is_named)
{
    struct holder holder = start_holder();
    expect_named(holder.pid);
    end_holder(&holder, SIGKILL);
}
END_TEST

START_TEST(a_killed_owner_holds_nothing)
{
    char text[600];
    struct holder holder = start_holder();
    expect_named(holder.pid);
    end_holder(&holder, SIGKILL);
    read_text(text);
    ck_assert_ptr_nonnull(strstr(text, "state owned\n"));
    ck_assert_int_eq(try_to_own(0), 0);
}
END_TEST

START_TEST(an_owner_that_only_its_child_keeps_alive_is_said_to_have_ended)
{
    int pids[2], orders[2], status;
    pid_t grandchild;
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    ck_assert_int_eq(pipe2(pids, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(orders, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        close(orders[1]);
        if (hti_lock_owner(&lock, open(directory, O_RDONLY), directory, 0, NULL) != 0)
            _exit(1);
        grandchild = fork();
        if (grandchild == 0)
            _exit(read(orders[0], &grandchild, 1) >= 0 ? 0 : 1);
        _exit(write(pids[1], &grandchild, sizeof grandchild) > 0 ? 0 : 1);
    }
    ck_assert_int_eq(read(pids[0], &grandchild, sizeof grandchild), sizeof grandchild);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    expect_named(child);
    ck_assert_ptr_nonnull(strstr(error.message, "has ended"));
    close(orders[1]);
    ck_assert_int_eq(waitpid(grandchild, &status, 0), grandchild);
    ck_assert_int_eq(try_to_own(0), 0);
    close(orders[0]);
    close(pids[0]);
    close(pids[1]);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}
END_TEST

START_TEST(release_frees_the_store_even_if_a_forked_child_lives_on)
{
    int orders[2], status;
    char byte;
    ck_assert_int_eq(pipe2(orders, O_CLOEXEC), 0);
    own();
    pid_t child = fork();
    if (child == 0) {
        close(orders[1]);
        _exit(read(orders[0], &byte, 1) >= 0 ? 0 : 1);
    }
    hti_lock_release(&lock);
    ck_assert_int_eq(try_to_own(0), 0);
    close(orders[1]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    close(orders[0]);
}
END_TEST

START_TEST(deleting_lock_lets_no_second_owner_in)
{
    own();
    hti_lock_opened(&lock);
    ck_assert_int_eq(unlinkat(dir_fd, "LOCK", 0), 0);
    expect_unnamed_holder();
    expect_unnamed_holder();
    hti_lock_release(&lock);
    ck_assert_int_eq(try_to_own(0), 0);
}
END_TEST

START_TEST(replacing_lock_lets_no_second_owner_in)
{
    own();
    hti_lock_opened(&lock);
    close(openat(dir_fd, "new", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    ck_assert_int_eq(renameat(dir_fd, "new", dir_fd, "LOCK"), 0);
    expect_unnamed_holder();
    /* Even if it names somebody: nobody holds it. */
    write_text(HEAD PID SINCE STATE, strlen(HEAD PID SINCE STATE));
    expect_unnamed_holder();
    hti_lock_release(&lock);
    ck_assert_int_eq(try_to_own(0), 0);
}
END_TEST

START_TEST(trying_in_vain_does_not_get_in_the_way_of_readers)
{
    own();
    hti_lock_opened(&lock);
    hooks.n_locks = 0;
    ck_assert_int_eq(try_to_own(0), HTSTORE_EBUSY);
    ck_assert_uint_eq(hooks.n_locks, 0);
}
END_TEST

START_TEST(a_dead_owner_is_not_named_for_a_reader_that_opens)
{
    bool alive;
    struct holder holder = start_holder();
    end_holder(&holder, SIGKILL);
    ck_assert_int_eq(hti_lock_reader(&lock, dir_fd, directory, 0, &alive, &error), 0);
    ck_assert(!alive);
    expect_unnamed_holder();
}
END_TEST

static void replace_lock_once(void)
{
    hooks.on_flock = NULL;
    unlinkat(dir_fd, "LOCK", 0);
}

START_TEST(a_lock_file_replaced_while_it_is_locked_is_locked_again)
{
    hooks.on_flock = replace_lock_once;
    own();
    ck_assert_uint_eq(hooks.n_flocks, 2);
    expect_named(getpid());
}
END_TEST

static void replace_lock(void)
{
    unlinkat(dir_fd, "LOCK", 0);
}

START_TEST(a_lock_file_that_is_replaced_for_ever_is_given_up)
{
    hooks.on_flock = replace_lock;
    expect_busy("replaced");
    hooks.on_flock = NULL;
    own();
}
END_TEST

static struct holder waited_for;

static void tell_holder_once(void)
{
    if (hooks.n_sleeps == 3)
        ck_assert_int_eq(write(waited_for.orders, "r", 1), 1);
    /* From here on nothing but the other process makes a difference: let it run. */
    if (hooks.n_sleeps >= 3) {
        hooks.slept_ns = 0;
        sched_yield();
    }
}

START_TEST(waiting_ends_when_the_holder_releases)
{
    waited_for = start_holder();
    hooks.on_sleep = tell_holder_once;
    ck_assert_int_eq(try_to_own(60000), 0);
    ck_assert_uint_ge(hooks.n_sleeps, 3);
    ck_assert(other.owner && other.opening);
    end_holder(&waited_for, 0);
}
END_TEST

START_TEST(waiting_takes_as_long_as_asked_in_short_pauses)
{
    own();
    ck_assert_int_eq(try_to_own(0), HTSTORE_EBUSY);
    ck_assert_uint_eq(hooks.n_sleeps, 0);
    ck_assert_int_eq(try_to_own(2500), HTSTORE_EBUSY);
    ck_assert_uint_le(hooks.slept_ns, UINT64_C(2501000000));
    ck_assert_uint_ge(hooks.slept_ns, UINT64_C(2000000000));
    ck_assert_uint_le(hooks.longest_ns, 50000000);
    ck_assert_uint_le(hooks.n_sleeps, 70);
}
END_TEST

START_TEST(lock_tells_who_and_since_when)
{
    char text[600], expected[600], boot[64], before[32], after[32];
    struct stat status;
    time_t now = time(NULL);
    int fd = openat(dir_fd, "LOCK", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    memset(text, 'x', sizeof text);
    ck_assert_int_eq(write(fd, text, sizeof text), sizeof text);
    close(fd);
    strftime(before, sizeof before, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
    own();
    now = time(NULL);
    strftime(after, sizeof after, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%60s", boot), 1);
    fclose(file);
    ck_assert_int_eq(stat("/proc/self/ns/pid", &status), 0);

    read_text(text);
    char *since = strstr(text, "since ");
    ck_assert_ptr_nonnull(since);
    ck_assert_int_ge(strncmp(since + 6, before, 20), 0);
    ck_assert_int_le(strncmp(since + 6, after, 20), 0);
    snprintf(expected, sizeof expected, "htstore-lock 1\npid %d\nboot %s\npidns %ju\nsince %.20s\nstate owned\n",
             (int)getpid(), boot, (uintmax_t)status.st_ino, since + 6);
    ck_assert_str_eq(text, expected);

    hti_lock_release(&lock);
    strcpy(strstr(expected, "owned"), "closed\n");
    read_text(text);
    ck_assert_str_eq(text, expected);
}
END_TEST

START_TEST(lock_has_mode_0600_whatever_the_umask)
{
    static const mode_t umasks[] = { 0, 022, 077, 0777 };
    for (int i = 0; i < N_ELEMENTS(umasks); i++) {
        struct stat status;
        mode_t old = umask(umasks[i]);
        int code = hti_lock_owner(&lock, dir_fd, directory, 0, &error);
        umask(old);
        ck_assert_int_eq(code, 0);
        ck_assert_int_eq(fstatat(dir_fd, "LOCK", &status, AT_SYMLINK_NOFOLLOW), 0);
        ck_assert_uint_eq(status.st_mode, S_IFREG | 0600);
        hti_lock_release(&lock);
        ck_assert_int_eq(unlinkat(dir_fd, "LOCK", 0), 0);
    }
}
END_TEST

static void make_link(void)
{
    ck_assert_int_eq(symlinkat("elsewhere", dir_fd, "LOCK"), 0);
}

static void make_link_to_file(void)
{
    close(openat(dir_fd, "elsewhere", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    make_link();
}

static void make_fifo(void)
{
    ck_assert_int_eq(mkfifoat(dir_fd, "LOCK", 0600), 0);
}

static void make_folder(void)
{
    ck_assert_int_eq(mkdirat(dir_fd, "LOCK", 0700), 0);
}

static void make_hard_link(void)
{
    close(openat(dir_fd, "elsewhere", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    ck_assert_int_eq(linkat(dir_fd, "elsewhere", dir_fd, "LOCK", 0), 0);
}

static void (*const odd_locks[])(void) = { make_link, make_link_to_file, make_fifo, make_folder, make_hard_link };

START_TEST(a_lock_that_is_no_plain_file_is_refused)
{
    char lock_path[300];
    bool alive = true;
    odd_locks[_i]();
    ck_assert_int_eq(try_to_own(1000), HTSTORE_EFORMAT);
    snprintf(lock_path, sizeof lock_path, "%s/LOCK", directory);
    ck_assert_str_eq(error.path, lock_path);
    ck_assert_int_eq(try_to_read(&alive), HTSTORE_EFORMAT);
    ck_assert(!alive);
    ck_assert_uint_eq(hooks.n_sleeps, 0);
    if (odd_locks[_i] == make_link)
        ck_assert_int_eq(faccessat(dir_fd, "elsewhere", F_OK, 0), -1);
}
END_TEST

START_TEST(a_failure_to_write_lock_leaves_nothing_locked)
{
    hooks.write_errno = ENOSPC;
    ck_assert_int_eq(try_to_own(1000), HTSTORE_ENOSPC);
    ck_assert_int_eq(error.sys_errno, ENOSPC);
    hooks.write_errno = 0;
    own();
}
END_TEST

START_TEST(a_system_without_locks_is_an_error_and_not_a_conflict)
{
    bool alive;
    own();
    hti_lock_opened(&lock);
    hti_lock_release(&lock);
    hooks.lock_errno = ENOLCK;
    ck_assert_int_eq(try_to_own(1000), HTSTORE_ENOMEM);
    ck_assert_int_eq(try_to_read(&alive), HTSTORE_ENOMEM);
    hooks.lock_errno = EINVAL;
    ck_assert_int_eq(try_to_own(1000), HTSTORE_EIO);
    ck_assert_uint_eq(hooks.n_sleeps, 0);
}
END_TEST

START_TEST(a_holder_in_another_pid_namespace_is_said_to_be_there)
{
    bool alive;
    own();
    rewrite_line("pidns ", "17");
    expect_named(getpid());
    ck_assert_ptr_nonnull(strstr(error.message, "another pid namespace"));
    hti_lock_opened(&lock);
    ck_assert_int_eq(try_to_read(&alive), HTSTORE_EBUSY);
    ck_assert_ptr_nonnull(strstr(error.message, "another pid namespace"));
    ck_assert_int_eq(other.fd, -1);
    ck_assert(!alive);
    rewrite_line("pidns ", "0");
    ck_assert_int_eq(try_to_read(&alive), 0);
    ck_assert(alive);
}
END_TEST

START_TEST(a_text_of_an_earlier_boot_names_nobody)
{
    own();
    rewrite_line("boot ", "00000000-0000-0000-0000-000000000000");
    expect_unnamed_holder();
}
END_TEST

START_TEST(a_text_that_is_not_ours_names_nobody)
{
    static const char *const texts[] = {
        "",
        "\n",
        "garbage",
        HEAD,
        HEAD PID SINCE,
        HEAD PID STATE,
        HEAD SINCE STATE,
        PID SINCE STATE,
        HEAD PID SINCE "state closed\n",
        HEAD PID SINCE "state owned",
        HEAD PID SINCE "state owned and more\n",
        HEAD "pid 0\n" SINCE STATE,
        HEAD "pid -1\n" SINCE STATE,
        HEAD "pid 1x\n" SINCE STATE,
        HEAD "pid \n" SINCE STATE,
        HEAD "pid 2147483648\n" SINCE STATE,
        HEAD "pid 99999999999999999999999\n" SINCE STATE,
        HEAD PID "since 2026-03-01T10:00:00\n" STATE,
        HEAD PID "since \033[31m-3-01T10:00:00Z\n" STATE,
        HEAD PID "since 2026-03-01T10:00:00Z2026-03-01T10:00:00Z\n" STATE,
        "htstore-lock 2\n" PID SINCE STATE,
    };
    bool alive;
    own();
    hti_lock_opened(&lock);
    write_text(HEAD PID SINCE STATE, strlen(HEAD PID SINCE STATE));
    expect_busy("locked by process 1 since 2026-03-01T10:00:00Z");
    for (int i = 0; i < N_ELEMENTS(texts); i++) {
        write_text(texts[i], strlen(texts[i]));
        expect_unnamed_holder();
        /* Who knows where it runs? */
        ck_assert_int_eq(try_to_read(&alive), HTSTORE_EBUSY);
    }
}
END_TEST

START_TEST(a_text_of_any_size_and_bytes_is_read_safely)
{
    char text[4096];
    own();
    memset(text, 'x', sizeof text);
    memcpy(text, HEAD, strlen(HEAD));
    write_text(text, sizeof text);
    expect_unnamed_holder();
    for (size_t size = 500; size < 520; size++) {
        write_text(text, size);
        expect_unnamed_holder();
    }
    memset(text, 0, sizeof text);
    write_text(text, sizeof text);
    expect_unnamed_holder();
    for (unsigned i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 37 + i / 256);
    write_text(text, sizeof text);
    expect_unnamed_holder();
}
END_TEST

START_TEST(a_reader_opens_beside_an_owner)
{
    bool alive = false;
    own();
    hti_lock_opened(&lock);
    ck_assert_int_eq(try_to_read(&alive), 0);
    ck_assert(alive);
    ck_assert(other.opening && !other.owner);
    ck_assert(hti_lock_owner_alive(&other));
    hti_lock_opened(&other);
    ck_assert(hti_lock_owner_alive(&other));
    ck_assert(hti_lock_owner_alive(&lock));
    hti_lock_release(&lock);
    ck_assert(!hti_lock_owner_alive(&other));
}
END_TEST

START_TEST(a_reader_waits_at_least_a_second_for_an_owner_that_opens)
{
    bool alive = true;
    char sentence[64];
    own();
    snprintf(sentence, sizeof sentence, "locked by process %d since ", (int)getpid());
    ck_assert_int_eq(try_to_read(&alive), HTSTORE_EBUSY);
    ck_assert(!alive);
    ck_assert_int_eq(other.fd, -1);
    ck_assert_ptr_nonnull(strstr(error.message, sentence));
    ck_assert_uint_ge(hooks.slept_ns, 900000000);
    ck_assert_uint_le(hooks.slept_ns, 1001000000);
}
END_TEST

static void open_owner(void)
{
    hti_lock_opened(&lock);
}

START_TEST(a_reader_gets_in_when_the_owner_has_opened)
{
    bool alive = false;
    own();
    hooks.on_sleep = open_owner;
    ck_assert_int_eq(try_to_read(&alive), 0);
    ck_assert_uint_eq(hooks.n_sleeps, 1);
    ck_assert(alive);
}
END_TEST

START_TEST(a_reader_without_owner_finds_none)
{
    bool alive = true;
    own();
    hti_lock_release(&lock);
    ck_assert_int_eq(try_to_read(&alive), 0);
    ck_assert(!alive);
    ck_assert(!hti_lock_owner_alive(&other));
}
END_TEST

START_TEST(a_reader_that_opens_keeps_owners_out_and_other_readers_not)
{
    struct hti_lock third;
    bool alive;
    own();
    hti_lock_release(&lock);
    ck_assert_int_eq(try_to_read(&alive), 0);
    ck_assert_int_eq(hti_lock_reader(&third, dir_fd, directory, 0, &alive, &error), 0);
    ck_assert_uint_eq(hooks.n_sleeps, 0);
    ck_assert_int_eq(hti_lock_owner(&lock, dir_fd, directory, 300, &error), HTSTORE_EBUSY);
    ck_assert_ptr_nonnull(strstr(error.message, "locked by another process"));
    /* The owner that tried in vain is none. */
    ck_assert(!hti_lock_owner_alive(&other));
    hti_lock_opened(&third);
    ck_assert_int_eq(hti_lock_owner(&lock, dir_fd, directory, 0, &error), HTSTORE_EBUSY);
    hti_lock_release(&other);
    ck_assert_int_eq(hti_lock_owner(&lock, dir_fd, directory, 0, &error), 0);
    ck_assert(hti_lock_owner_alive(&third));
    hti_lock_release(&third);
    expect_named(getpid());
}
END_TEST

START_TEST(a_reader_without_lock_makes_none_and_sees_an_owner_that_comes)
{
    bool alive = true;
    ck_assert_int_eq(try_to_read(&alive), 0);
    ck_assert(!alive);
    ck_assert_int_eq(other.fd, -1);
    ck_assert_int_eq(faccessat(dir_fd, "LOCK", F_OK, 0), -1);
    hti_lock_opened(&other);
    ck_assert_int_eq(hti_lock_closing(&other), 0);
    ck_assert(!hti_lock_owner_alive(&other));
    own();
    ck_assert(hti_lock_owner_alive(&other));
    hti_lock_release(&lock);
    ck_assert(!hti_lock_owner_alive(&other));
}
END_TEST

static void delete_lock_once(void)
{
    hooks.on_lock = NULL;
    unlinkat(dir_fd, "LOCK", 0);
}

START_TEST(a_reader_whose_lock_file_is_deleted_meanwhile_tries_again)
{
    bool alive = true;
    own();
    hti_lock_release(&lock);
    hooks.on_lock = delete_lock_once;
    ck_assert_int_eq(try_to_read(&alive), 0);
    ck_assert_ptr_null(hooks.on_lock);
    ck_assert_int_eq(other.fd, -1);
    ck_assert(!alive);
}
END_TEST

START_TEST(closing_keeps_readers_out_again)
{
    bool alive;
    own();
    hti_lock_opened(&lock);
    ck_assert_int_eq(hti_lock_closing(&lock), 0);
    ck_assert(lock.opening);
    ck_assert_int_eq(hti_lock_closing(&lock), 0);
    ck_assert_int_eq(try_to_read(&alive), HTSTORE_EBUSY);
    hti_lock_release(&lock);
    ck_assert_int_eq(try_to_read(&alive), 0);
}
END_TEST

static void open_reader(void)
{
    if (hooks.n_sleeps == 5)
        hti_lock_opened(&other);
}

START_TEST(closing_waits_for_readers_that_open_but_not_for_ever)
{
    bool alive;
    own();
    hti_lock_opened(&lock);
    ck_assert_int_eq(try_to_read(&alive), 0);
    hooks.on_sleep = open_reader;
    ck_assert_int_eq(hti_lock_closing(&lock), 0);
    ck_assert_uint_eq(hooks.n_sleeps, 5);
    hti_lock_opened(&lock);
    ck_assert_int_eq(hti_lock_closing(&other), 0);
    hooks.on_sleep = NULL;
    hooks.slept_ns = 0;
    ck_assert_int_eq(hti_lock_closing(&lock), EAGAIN);
    ck_assert(!lock.opening);
    ck_assert_uint_ge(hooks.slept_ns, UINT64_C(9900000000));
    ck_assert_uint_le(hooks.slept_ns, UINT64_C(10010000000));
}
END_TEST

static TCase *make_case(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    suite_add_tcase(suite, tests);
    return tests;
}

static void add_owners(TCase *tests)
{
    tcase_add_test(tests, a_second_owner_of_the_same_process_is_refused_and_told_who);
    tcase_add_test(tests, an_owner_of_another_process_is_named);
    tcase_add_test(tests, a_killed_owner_holds_nothing);
    tcase_add_test(tests, an_owner_that_only_its_child_keeps_alive_is_said_to_have_ended);
    tcase_add_test(tests, release_frees_the_store_even_if_a_forked_child_lives_on);
    tcase_add_test(tests, deleting_lock_lets_no_second_owner_in);
    tcase_add_test(tests, replacing_lock_lets_no_second_owner_in);
    tcase_add_test(tests, a_lock_file_replaced_while_it_is_locked_is_locked_again);
    tcase_add_test(tests, a_lock_file_that_is_replaced_for_ever_is_given_up);
    tcase_add_test(tests, trying_in_vain_does_not_get_in_the_way_of_readers);
    tcase_add_test(tests, a_dead_owner_is_not_named_for_a_reader_that_opens);
    tcase_add_test(tests, waiting_ends_when_the_holder_releases);
    tcase_add_test(tests, waiting_takes_as_long_as_asked_in_short_pauses);
}

static void add_lock_file(TCase *tests)
{
    tcase_add_test(tests, lock_tells_who_and_since_when);
    tcase_add_test(tests, lock_has_mode_0600_whatever_the_umask);
    tcase_add_loop_test(tests, a_lock_that_is_no_plain_file_is_refused, 0, N_ELEMENTS(odd_locks));
    tcase_add_test(tests, a_failure_to_write_lock_leaves_nothing_locked);
    tcase_add_test(tests, a_system_without_locks_is_an_error_and_not_a_conflict);
    tcase_add_test(tests, a_holder_in_another_pid_namespace_is_said_to_be_there);
    tcase_add_test(tests, a_text_of_an_earlier_boot_names_nobody);
    tcase_add_test(tests, a_text_that_is_not_ours_names_nobody);
    tcase_add_test(tests, a_text_of_any_size_and_bytes_is_read_safely);
}

static void add_readers(TCase *tests)
{
    tcase_add_test(tests, a_reader_opens_beside_an_owner);
    tcase_add_test(tests, a_reader_waits_at_least_a_second_for_an_owner_that_opens);
    tcase_add_test(tests, a_reader_gets_in_when_the_owner_has_opened);
    tcase_add_test(tests, a_reader_without_owner_finds_none);
    tcase_add_test(tests, a_reader_that_opens_keeps_owners_out_and_other_readers_not);
    tcase_add_test(tests, a_reader_without_lock_makes_none_and_sees_an_owner_that_comes);
    tcase_add_test(tests, a_reader_whose_lock_file_is_deleted_meanwhile_tries_again);
    tcase_add_test(tests, closing_keeps_readers_out_again);
    tcase_add_test(tests, closing_waits_for_readers_that_open_but_not_for_ever);
}

int main(void)
{
    Suite *suite = suite_create("lock");
    add_owners(make_case(suite, "owners"));
    add_lock_file(make_case(suite, "lock_file"));
    add_readers(make_case(suite, "readers"));
    return check_run(suite);
}
