/*
 * create_kill: kills the creation of a store at every system call, and other steps (recovery, writes, flush, close,
 * making and dropping a table, those of a manager of checkpoints) at many of theirs: afterwards the state is the one before or the one after.
 *
 *     create_kill [--points=N] [STEP]...      N kills of each step but creation, at most; 0: at every system call
 *
 * The step runs in a child whose main thread is traced; it is killed where it enters or leaves a call. The library is
 * only used in children, so that nothing of LMDB crosses a fork.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "folder.h"
#include "segment.h"
#include "steps.h"

#define SEED 20 /* tables in memory; 21: not */
#define SHORT_POINTS 25
#define N_BATCHES 40 /* in the store before a step */
#define N_UNFLUSHED 12 /* written before a step that flushes */
#define N_WRITTEN 60 /* by the step that writes */
#define HANG_SECONDS 120
#define SKIPPED 77
#define STORE "store"
#define LEFTOVER "." STORE ".htstore-tmp"
#define N_EXTRA_ROWS 50

/* What the child tells, in memory that survives it. */
static struct report {
    volatile uint64_t position;
    volatile bool done;
} * report;

static char root[FOLDER_PATH_SIZE - 64], base[FOLDER_PATH_SIZE], work[FOLDER_PATH_SIZE],
    store_path[FOLDER_PATH_SIZE + 8];
static struct oracle oracle;
static struct oracle_store s;
static uint64_t seed;

/* ---- in children ---- */

struct oracle_store *opened_store(void)
{
    return &s;
}

bool was_done(void)
{
    return report->done;
}

static void give_up(const char *what)
{
    (void)fprintf(stderr, "create_kill: %s: %s\n", what, s.error.message);
    _exit(ORACLE_OPENFAIL);
}

void must(int rc, const char *what)
{
    if (rc != 0)
        give_up(what);
}

static struct htstore_options options(uint32_t flags)
{
    struct htstore_options o = oracle_options(seed, HTSTORE_SYNC);
    o.flags |= flags;
    return o;
}

void open_store(uint32_t flags)
{
    const struct htstore_options o = options(flags);
    must(oracle_open(&s, store_path, &o), "open");
}

void write_batches(uint64_t n, uint32_t durability)
{
    for (; n > 0; n--) {
        must(oracle_write(&s, &oracle, durability), "write");
        report->position = oracle.position;
    }
}

/* From here on every system call of this thread is a point. */
void begin(void)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(SKIPPED);
    raise(SIGSTOP);
}

void end(int rc, const char *what)
{
    must(rc, what);
    report->done = true;
    _exit(EXIT_SUCCESS);
}

/* ---- steps: what is there before, and what is done ---- */

static void prepare_nothing(void)
{
}

static void prepare_closed(void)
{
    open_store(HTSTORE_CREATE);
    write_batches(N_BATCHES, HTSTORE_LAZY);
    must(oracle_close(&s), "close");
}

static void prepare_crashed(void)
{
    open_store(HTSTORE_CREATE);
    write_batches(N_BATCHES, HTSTORE_LAZY);
}

/* Nothing goes to LMDB behind our back, and no segment away. */
static void open_unflushed(void)
{
    struct htstore_options o = options(HTSTORE_CREATE);

    o.delta_bytes = 0;
    o.flush_age_ms = UINT32_MAX;
    must(oracle_open(&s, store_path, &o), "open");
}

/* The end of a record as a torn write leaves it: what was there before, zeros. */
static void tear(const struct hti_segment *segment)
{
    static const uint8_t zeros[64];
    const int fd = open(segment->path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || pwrite(fd, zeros, sizeof zeros, (off_t)(segment->offset - sizeof zeros)) != (ssize_t)sizeof zeros)
        give_up("tear");
    close(fd);
}

/* Tear the last record: it never was. */
static void prepare_torn(void)
{
    struct htstore_stats stats = { .size = sizeof stats };
    struct hti_record_header header;
    struct hti_segment segment;
    char folder[FOLDER_PATH_SIZE + 16];
    uint64_t *numbers, last = 0;
    size_t n;
    int fd;

    open_unflushed();
    write_batches(N_BATCHES, HTSTORE_LAZY);
    must(htstore_stats(s.store, &stats, &s.error), "stats");
    (void)snprintf(folder, sizeof folder, "%s/journal", store_path);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(hti_segment_list(fd, folder, false, &numbers, &n, &s.error), "journal");
    for (size_t i = 0; i < n; i++) {
        must(hti_segment_open(fd, folder, stats.store_id, numbers[i], &segment, &s.error), "segment");
        while (hti_segment_read(&segment, &header, NULL, &s.error) == 0)
            last = header.lsn;
        if (last == stats.visible_lsn) {
            tear(&segment);
            break;
        }
        hti_segment_close(&segment);
    }
    report->position--;
}

static void prepare_extra(void)
{
    const struct htstore_schema schema = oracle_schema(0);
    int64_t numbers[N_EXTRA_ROWS];
    const struct htstore_array rows = htstore_vector(HTSTORE_INT64, numbers, N_EXTRA_ROWS);
    struct htstore_table *extra;

    open_store(HTSTORE_CREATE);
    write_batches(N_BATCHES, HTSTORE_LAZY);
    must(htstore_table_create(s.store, "extra", &schema, &extra, &s.error), "create");
    for (int64_t i = 0; i < N_EXTRA_ROWS; i++)
        numbers[i] = i;
    must(htstore_table_insert(extra, &rows, &rows, 0, &s.error), "insert");
    must(htstore_table_close(extra, &s.error), "close");
    must(oracle_close(&s), "close");
}

static void do_create(void)
{
    const struct htstore_options o = options(HTSTORE_CREATE | HTSTORE_EXCLUSIVE);

    begin();
    end(htstore_open(store_path, &o, &s.store, &s.error), "create");
}

static void do_open(void)
{
    const struct htstore_options o = options(0);

    begin();
    end(htstore_open(store_path, &o, &s.store, &s.error), "open");
}

static void do_write(void)
{
    open_store(0);
    begin();
    write_batches(N_WRITTEN, HTSTORE_SYNC);
    end(0, "write");
}

static void do_flush(void)
{
    open_store(0);
    write_batches(N_UNFLUSHED, HTSTORE_LAZY);
    begin();
    end(htstore_flush(s.store, &s.error), "flush");
}

static void do_close(void)
{
    open_store(0);
    write_batches(N_UNFLUSHED, HTSTORE_LAZY);
    begin();
    end(oracle_close(&s), "close");
}

static void do_make_table(void)
{
    const struct htstore_schema schema = oracle_schema(0);
    struct htstore_table *extra;

    open_store(0);
    write_batches(N_UNFLUSHED, HTSTORE_LAZY);
    begin();
    end(htstore_table_create(s.store, "extra", &schema, &extra, &s.error), "create");
}

static void do_drop_table(void)
{
    open_store(0);
    write_batches(N_UNFLUSHED, HTSTORE_LAZY);
    begin();
    end(htstore_table_drop(s.store, "extra", &s.error), "drop");
}

/* ---- checks after a kill, also in children: a verdict is their exit status ---- */

void condemn(enum oracle_verdict verdict, const char *why)
{
    (void)fprintf(stderr, "create_kill: %s: %s\n", oracle_verdict_name(verdict), why);
    _exit((int)verdict);
}

static void expect_only(const char *name, const char *other)
{
    if (folder_count_others(work, name, other) != 0)
        condemn(ORACLE_CORRUPT, "creation leaves something else behind");
}

static void expect_rows(const char *name, uint64_t n)
{
    struct htstore_table *table;
    uint64_t size;

    must(htstore_table_open(s.store, name, NULL, &table, &s.error), "open of a table");
    must(htstore_table_size(table, &size, &s.error), "size");
    if (size != n)
        condemn(ORACLE_PARTIAL, "the table has another number of rows");
    must(htstore_table_close(table, &s.error), "close of a table");
}

static void use_new_store(uint32_t flags)
{
    const struct htstore_options o = options(flags);
    struct htstore_stats stats = { .size = sizeof stats };
    char why[512];

    must(htstore_open(store_path, &o, &s.store, &s.error), "open of what creation left");
    must(htstore_stats(s.store, &stats, &s.error), "stats");
    if (stats.n_tables != 0 || stats.visible_lsn != 0)
        condemn(ORACLE_CORRUPT, "a new store is not empty");
    if (oracle_probe(&s, 1, why) != ORACLE_OK)
        condemn(ORACLE_OPENFAIL, why);
    must(htstore_close(s.store, &s.error), "close");
    must(htstore_open(store_path, &o, &s.store, &s.error), "open again");
    expect_rows("probe", 1);
    must(htstore_close(s.store, &s.error), "close again");
}

static void check_created(void)
{
    if (access(store_path, F_OK) == 0) {
        expect_only(STORE, NULL);
        use_new_store(0);
    } else if (report->done) {
        condemn(ORACLE_LOST, "the new store is gone");
    } else {
        expect_only(LEFTOVER, NULL);
        use_new_store(HTSTORE_CREATE);
    }
    expect_only(STORE, NULL);
}

/* `spare`: one batch more than acknowledged may be there. */
void check_contents(bool spare)
{
    const struct htstore_options o = options(0);
    const uint64_t position = report->position;
    char why[512];
    enum oracle_verdict verdict;

    oracle_init(&oracle, seed, position);
    verdict = oracle_verify(store_path, &o, &oracle, false, why);
    if (verdict != ORACLE_OK)
        condemn(verdict, why);
    if (!spare && oracle.position != position)
        condemn(ORACLE_CORRUPT, "a batch appeared from nowhere");
}

static void check_same(void)
{
    check_contents(false);
}

static void check_written(void)
{
    check_contents(!report->done);
}

static bool has_extra(void)
{
    struct htstore_table *extra;
    int rc;

    open_store(0);
    rc = htstore_table_open(s.store, "extra", NULL, &extra, &s.error);
    if (rc != 0 && rc != HTSTORE_ENOTFOUND)
        give_up("open of a table");
    must(htstore_table_close(extra, &s.error), "close of a table");
    return rc == 0;
}

static void check_made_table(void)
{
    if (has_extra())
        expect_rows("extra", 0);
    else if (report->done)
        condemn(ORACLE_LOST, "the new table is gone");
    must(oracle_close(&s), "close");
    check_contents(false);
}

static void check_dropped_table(void)
{
    if (has_extra()) {
        expect_rows("extra", N_EXTRA_ROWS);
        if (report->done)
            condemn(ORACLE_LOST, "the dropped table is back");
    }
    must(oracle_close(&s), "close");
    check_contents(false);
}

static const struct step steps[] = {
    { "create", prepare_nothing, do_create, check_created, true },
    { "recover", prepare_crashed, do_open, check_same, false },
    { "recover-torn", prepare_torn, do_open, check_same, false },
    { "open-closed", prepare_closed, do_open, check_same, false },
    { "write", prepare_closed, do_write, check_written, false },
    { "flush", prepare_closed, do_flush, check_same, false },
    { "close", prepare_closed, do_close, check_same, false },
    { "make-table", prepare_closed, do_make_table, check_made_table, false },
    { "drop-table", prepare_extra, do_drop_table, check_dropped_table, false },
};
#define N_STEPS (sizeof steps / sizeof *steps)

/* ---- the parent ---- */

static void die(const char *what)
{
    (void)fprintf(stderr, "create_kill: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static int await(pid_t pid)
{
    int status;

    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            die("waitpid");
    return status;
}

static pid_t start(void (*function)(void))
{
    const pid_t pid = fork();

    if (pid < 0)
        die("fork");
    if (pid == 0) {
        alarm(HANG_SECONDS);
        oracle_init(&oracle, seed, report->position);
        function();
        _exit(EXIT_SUCCESS);
    }
    return pid;
}

static bool call(void (*function)(void))
{
    const int status = await(start(function));

    if (WIFSIGNALED(status))
        (void)fprintf(stderr, "create_kill: %s: signal %d\n", oracle_verdict_name(ORACLE_CRASH), WTERMSIG(status));
    return status == 0;
}

/* Let the child go on to its next entry to or exit from a call. False: it has ended, with *status. */
static bool go_on(pid_t pid, int *status)
{
    int signal_number = 0;

    for (;;) {
        if (ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)signal_number) != 0)
            die("ptrace");
        *status = await(pid);
        if (!WIFSTOPPED(*status))
            return false;
        if (WSTOPSIG(*status) == (SIGTRAP | 0x80))
            return true;
        signal_number = WSTOPSIG(*status);
    }
}

/* Run the step and kill it at the stop of that number, from 1; 0: never. *n_stops: how many there were. */
static int run_step(const struct step *step, unsigned stop, unsigned *n_stops)
{
    pid_t pid;
    int status;

    *n_stops = 0;
    report->done = false;
    pid = start(step->act);
    status = await(pid);
    if (!WIFSTOPPED(status))
        return status;
    if (ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) != 0)
        die("ptrace");
    while (go_on(pid, &status)) {
        ++*n_stops;
        if (*n_stops != stop)
            continue;
        kill(pid, SIGKILL);
        while (!WIFSIGNALED(status) && !WIFEXITED(status))
            status = await(pid);
        break;
    }
    return status;
}

static void make_work(void)
{
    if (!folder_remove(work) || !folder_copy(base, work))
        die("copy");
}

static bool strike(const struct step *step, unsigned stop, uint64_t position)
{
    unsigned n;

    make_work();
    report->position = position;
    run_step(step, stop, &n);
    if (n < stop)
        return true; /* a thread took over what was left to do */
    if (call(step->check))
        return true;
    (void)fprintf(stderr, "create_kill: step %s, seed %ju, killed at stop %u of system calls; see %s\n", step->name,
                  (uintmax_t)seed, stop, root);
    return false;
}

/* EXIT_SUCCESS, EXIT_FAILURE, or SKIPPED: no tracing here. */
static int sweep(const struct step *step, unsigned points)
{
    unsigned total, stride = 1, n = 0;
    uint64_t position;
    int status;

    if (!folder_remove(base) || mkdir(base, 0700) != 0)
        die(base);
    (void)snprintf(store_path, sizeof store_path, "%s/" STORE, base);
    report->position = 0;
    if (!call(step->prepare)) {
        (void)fprintf(stderr, "create_kill: step %s, seed %ju, cannot be prepared\n", step->name, (uintmax_t)seed);
        return EXIT_FAILURE;
    }
    position = report->position;
    (void)snprintf(store_path, sizeof store_path, "%s/" STORE, work);
    make_work();
    status = run_step(step, 0, &total);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        return SKIPPED;
    if (status != 0 || total == 0 || !call(step->check)) {
        (void)fprintf(stderr, "create_kill: step %s, seed %ju, fails without a kill; see %s\n", step->name,
                      (uintmax_t)seed, root);
        return EXIT_FAILURE;
    }
    if (!step->everywhere && points > 0 && total > points)
        stride = (total + points - 1) / points | 1; /* odd: entries and exits in turn */
    for (unsigned stop = 1; stop <= total; stop += stride, n++)
        if (!strike(step, stop, position))
            return EXIT_FAILURE;
    printf("%-13s seed %ju: %u stops of system calls, killed at %u\n", step->name, (uintmax_t)seed, total, n);
    (void)fflush(stdout);
    return EXIT_SUCCESS;
}

static int sweep_table(const struct step *table, size_t n, unsigned points, char **names, int n_names)
{
    int result = EXIT_SUCCESS;

    for (size_t i = 0; i < n && result == EXIT_SUCCESS; i++) {
        bool wanted = n_names == 0;
        for (int k = 0; k < n_names; k++)
            wanted = wanted || strcmp(names[k], table[i].name) == 0;
        for (seed = SEED; wanted && result == EXIT_SUCCESS && seed < SEED + 2; seed++)
            if (seed == SEED || !table[i].everywhere)
                result = sweep(&table[i], points);
    }
    return result;
}

int main(int argc, char **argv)
{
    static const struct option names[] = { { "points", required_argument, NULL, 'p' }, { 0 } };
    unsigned points = SHORT_POINTS;
    int result;

    while ((result = getopt_long(argc, argv, "", names, NULL)) >= 0) {
        if (result != 'p')
            return EXIT_FAILURE;
        points = (unsigned)strtoul(optarg, NULL, 10);
    }
    report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (report == MAP_FAILED || !folder_make(base))
        die("temporary folder");
    (void)snprintf(root, sizeof root, "%.4000s", base);
    (void)snprintf(base, sizeof base, "%s/base", root);
    (void)snprintf(work, sizeof work, "%s/work", root);
    result = sweep_table(steps, N_STEPS, points, argv + optind, argc - optind);
    if (result == EXIT_SUCCESS)
        result = sweep_table(manager_steps, n_manager_steps, points, argv + optind, argc - optind);
    if (result == SKIPPED)
        puts("SKIP: children cannot be traced here");
    if (result != EXIT_FAILURE && !folder_remove(root))
        die(root);
    return result;
}
