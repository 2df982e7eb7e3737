/*
 * crash_kill: kills a writer at random moments, and checks after each kill that the store holds exactly what was
 * acknowledged, at most with the one batch that was under way.
 *
 *     crash_kill [--points=N] [--mode=sync|interval|lazy|mixed|all] [--seed=N] [--jobs=N]
 *     crash_kill verify STORE SEED POSITION MODE      look at a store that a failed run has left
 *
 * Writer and verifier are this program again, started anew: nothing of LMDB crosses a fork. The writer tells each
 * batch by one write(2) to a pipe, outside of everything that the kill may disturb.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "folder.h"
#include "oracle_store.h"

#define SHORT_POINTS 60
#define MAX_KILLS_OF_A_STORE 12
#define MAX_BATCHES_OF_A_RUN 80
#define MAX_RECOVERY_KILLS 3
#define REHEARSAL_BATCHES 3000
#define HANG_SECONDS 120
#define STARTED INT64_C(-1) /* told before the store is opened; after that, positions */

enum mode { SYNC, INTERVAL, LAZY, MIXED, N_MODES };
static const char *const mode_names[N_MODES] = { "sync", "interval", "lazy", "mixed" };

static struct htstore_options options_of(enum mode mode, uint64_t seed)
{
    static const uint32_t durabilities[N_MODES] = { HTSTORE_SYNC, HTSTORE_INTERVAL, HTSTORE_LAZY, HTSTORE_INTERVAL };
    return oracle_options(seed, durabilities[mode]);
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- the writer ---- */

static void tell(int64_t position)
{
    if (write(STDOUT_FILENO, &position, sizeof position) != (ssize_t)sizeof position)
        _exit(EXIT_FAILURE);
}

static int complain(const struct oracle_store *s, const char *call, uint64_t position)
{
    (void)fprintf(stderr, "writer: %s after batch %ju: %s\n", call, (uintmax_t)position, s->error.message);
    return EXIT_FAILURE;
}

static uint32_t flags_of(enum mode mode, const struct oracle *oracle)
{
    struct oracle_plan plan;

    oracle_make_plan(oracle->seed, oracle->position + 1, &plan);
    return mode == MIXED ? plan.durability : 0;
}

static int run_writer(const char *path, struct oracle *oracle, uint64_t n_batches, enum mode mode)
{
    struct htstore_options options = options_of(mode, oracle->seed);
    struct oracle_store s;

    options.flags |= HTSTORE_CREATE;
    tell(STARTED);
    if (oracle_open(&s, path, &options) != 0)
        return complain(&s, "open", oracle->position);
    tell((int64_t)oracle->position);
    for (; n_batches > 0; n_batches--) {
        if (oracle_write(&s, oracle, flags_of(mode, oracle)) != 0)
            return complain(&s, "write", oracle->position);
        tell((int64_t)oracle->position);
        if (oracle_disturb(&s, oracle) != 0)
            return complain(&s, "flush, sync or a table", oracle->position);
    }
    return oracle_close(&s) == 0 ? EXIT_SUCCESS : complain(&s, "close", oracle->position);
}

static int run_verifier(const char *path, struct oracle *oracle, enum mode mode, bool crash)
{
    const struct htstore_options options = options_of(mode, oracle->seed);
    char why[512] = "";
    const enum oracle_verdict verdict = oracle_verify(path, &options, oracle, crash, why);

    tell((int64_t)oracle->position);
    if (verdict != ORACLE_OK)
        (void)fprintf(stderr, "%s: %s\n", oracle_verdict_name(verdict), why);
    return (int)verdict;
}

static bool has_seen_all(const struct htstore_stats *stats)
{
    return stats->flushes > 10 && stats->flush_transactions > stats->flushes && stats->map_growths > 0;
}

/* Without a kill: does the workload do all that a kill should hit? */
static int run_rehearsal(const char *path, struct oracle *oracle)
{
    struct htstore_options options = options_of(LAZY, oracle->seed);
    struct htstore_stats stats = { .size = sizeof stats };
    struct oracle_store s;

    options.flags |= HTSTORE_CREATE;
    if (oracle_open(&s, path, &options) != 0)
        return complain(&s, "open", 0);
    while (!has_seen_all(&stats) && oracle->position < REHEARSAL_BATCHES)
        if (oracle_write(&s, oracle, 0) != 0 || oracle_disturb(&s, oracle) != 0 ||
            htstore_stats(s.store, &stats, &s.error) != 0)
            return complain(&s, "write", oracle->position);
    if (oracle_close(&s) != 0)
        return complain(&s, "close", oracle->position);
    if (has_seen_all(&stats))
        return EXIT_SUCCESS;
    (void)fprintf(stderr, "the workload is too small: %ju flushes, %ju transactions, %ju growths of the map\n",
                  (uintmax_t)stats.flushes, (uintmax_t)stats.flush_transactions, (uintmax_t)stats.map_growths);
    return EXIT_FAILURE;
}

/* ---- processes ---- */

struct child {
    pid_t pid;
    int from; /* what it tells */
    uint64_t started_us;
};

static void die(const char *what)
{
    (void)fprintf(stderr, "crash_kill: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

/* This program, with these arguments up to NULL. Its stdout is the pipe. */
static struct child start(const char *role, ...)
{
    char *arguments[8] = { (char *)(uintptr_t) "crash_kill", (char *)(uintptr_t)role };
    int fds[2], n = 2;
    struct child child;
    va_list list;

    va_start(list, role);
    while (n < 7 && (arguments[n] = va_arg(list, char *)) != NULL)
        n++;
    va_end(list);
    if (pipe2(fds, O_CLOEXEC) != 0)
        die("pipe");
    child.started_us = now_us();
    child.pid = fork();
    if (child.pid < 0)
        die("fork");
    if (child.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (dup2(fds[1], STDOUT_FILENO) >= 0)
            execv("/proc/self/exe", arguments);
        _exit(127);
    }
    close(fds[1]);
    child.from = fds[0];
    return child;
}

/* The next position; false when there is none any more. */
static bool hear(const struct child *child, int64_t *position)
{
    ssize_t n;

    do
        n = read(child->from, position, sizeof *position);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof *position;
}

static int reap(struct child *child)
{
    int status;

    close(child->from);
    while (waitpid(child->pid, &status, 0) < 0)
        if (errno != EINTR)
            die("waitpid");
    return status;
}

/* Short times are spun away: sleeping is too coarse. */
static void pause_us(uint64_t us)
{
    const uint64_t until = now_us() + us;

    if (us > 300)
        nanosleep(&(struct timespec){ .tv_nsec = (long)(us - 200) % 1000000000 * 1000 }, NULL);
    while (now_us() < until)
        ;
}

/* ---- one store ---- */

struct run {
    enum mode mode;
    uint64_t points;
    uint64_t random;
    char root[FOLDER_PATH_SIZE - 64]; /* private to the run */
    char store[FOLDER_PATH_SIZE], image[FOLDER_PATH_SIZE];
    uint64_t seed; /* of the store */
    uint64_t position;
    bool exists; /* it was opened once, so that it must be there */
    uint64_t open_us, verify_us; /* how long these take, lately */
    uint64_t n_stores, n_in_open, n_in_batches, n_at_end, n_unhurt, n_recoveries;
};

static uint64_t below(struct run *run, uint64_t n)
{
    return oracle_random(&run->random) % n;
}

static const char *decimal(char out[24], uint64_t number)
{
    (void)snprintf(out, 24, "%ju", (uintmax_t)number);
    return out;
}

static bool fail(const struct run *run, enum oracle_verdict verdict, const char *what)
{
    (void)fprintf(stderr,
                  "crash_kill: %s: %s (mode %s, seed %ju, position %ju)\nthe store before it was opened: %s\n"
                  "look at a copy of it: crash_kill verify COPY %ju %ju %s\n",
                  oracle_verdict_name(verdict), what, mode_names[run->mode], (uintmax_t)run->seed,
                  (uintmax_t)run->position, run->image, (uintmax_t)run->seed, (uintmax_t)run->position,
                  mode_names[run->mode]);
    return false;
}

static enum oracle_verdict verdict_of(int status)
{
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGALRM ? ORACLE_HANG : ORACLE_CRASH;
    return WEXITSTATUS(status) <= ORACLE_HANG ? (enum oracle_verdict)WEXITSTATUS(status) : ORACLE_CRASH;
}

/* How long after the last thing heard the kill comes: anywhere in an open, or soon after a batch. */
static uint64_t choose_pause(struct run *run, bool in_open)
{
    return in_open ? below(run, run->open_us + 100) : below(run, (uint64_t)1 << below(run, 14));
}

static void count_kill(struct run *run, int64_t heard, uint64_t last)
{
    if (heard == STARTED)
        run->n_in_open++;
    else if ((uint64_t)heard < last)
        run->n_in_batches++;
    else
        run->n_at_end++;
}

/* Start a writer and kill it. False: it failed by itself. */
static bool kill_writer(struct run *run)
{
    char seed[24], position[24], n_text[24];
    const uint64_t n = 1 + below(run, MAX_BATCHES_OF_A_RUN), last = run->position + n;
    const bool in_open = below(run, 4) == 0;
    const int64_t wanted = in_open ? STARTED : (int64_t)(run->position + below(run, n + 1));
    struct child child = start("writer", run->store, decimal(seed, run->seed), decimal(position, run->position),
                               mode_names[run->mode], decimal(n_text, n), (char *)NULL);
    int64_t heard = STARTED, next;
    uint64_t started_us = 0;
    bool alive;

    while ((alive = hear(&child, &next))) {
        if (next == STARTED)
            started_us = now_us();
        else if (heard == STARTED)
            run->open_us = (run->open_us * 3 + now_us() - started_us) / 4;
        heard = next;
        if (heard >= wanted)
            break;
    }
    if (alive)
        pause_us(choose_pause(run, in_open));
    kill(child.pid, SIGKILL);
    while (hear(&child, &next))
        heard = next;
    const int status = reap(&child);
    if (heard != STARTED) {
        run->position = (uint64_t)heard;
        run->exists = true;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        run->n_unhurt++;
    else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        count_kill(run, heard, last);
    else
        return fail(run, WIFEXITED(status) ? ORACLE_OPENFAIL : verdict_of(status), "the writer ended by itself");
    return true;
}

static struct child start_verifier(const struct run *run, bool crash)
{
    char seed[24], position[24];

    return start("verify", run->store, decimal(seed, run->seed), decimal(position, run->position),
                 mode_names[run->mode], crash ? "crash" : (char *)NULL, (char *)NULL);
}

/* A kill in the middle of recovering from a kill. */
static void kill_verifier(struct run *run)
{
    struct child child = start_verifier(run, true);

    pause_us(below(run, run->verify_us + 100));
    kill(child.pid, SIGKILL);
    reap(&child);
    run->n_recoveries++;
}

static bool verify(struct run *run)
{
    struct child child = start_verifier(run, below(run, 2));
    int64_t position = (int64_t)run->position;

    hear(&child, &position);
    const int status = reap(&child);
    run->verify_us = (run->verify_us * 3 + now_us() - child.started_us) / 4;
    if (status != 0)
        return fail(run, verdict_of(status), "the store is not what it was");
    run->position = (uint64_t)position;
    return true;
}

static bool strike(struct run *run)
{
    if (!kill_writer(run))
        return false;
    if (access(run->store, F_OK) != 0)
        return !run->exists || fail(run, ORACLE_LOST, "the store is gone");
    if (!folder_remove(run->image) || !folder_copy(run->store, run->image))
        die(run->image);
    if (below(run, 3) == 0)
        for (uint64_t n = 1 + below(run, MAX_RECOVERY_KILLS); n > 0; n--)
            kill_verifier(run);
    return verify(run);
}

static bool use_store(struct run *run)
{
    run->n_stores++;
    run->seed = below(run, UINT32_MAX);
    run->position = 0;
    run->exists = false;
    for (uint64_t n = 1 + below(run, MAX_KILLS_OF_A_STORE); n > 0; n--)
        if (!strike(run))
            return false;
    if (!folder_remove(run->store))
        die(run->store);
    return true;
}

/* ---- one mode ---- */

static int run_mode(enum mode mode, uint64_t points, uint64_t seed)
{
    struct run run = { .mode = mode, .points = points, .random = seed + mode, .open_us = 5000, .verify_us = 20000 };
    const uint64_t begin = now_us();
    bool good = true;

    if (!folder_make(run.image))
        die("temporary folder");
    (void)snprintf(run.root, sizeof run.root, "%.4000s", run.image);
    (void)snprintf(run.store, sizeof run.store, "%s/store", run.root);
    (void)snprintf(run.image, sizeof run.image, "%s/image", run.root);
    while (good && run.n_in_open + run.n_in_batches + run.n_at_end < points)
        good = use_store(&run);
    if (good && !folder_remove(run.root))
        die(run.root);
    printf("%-8s %s: %ju stores, killed %ju times while opening, %ju in batches, %ju at the end, %ju in recoveries; "
           "%ju s\n",
           mode_names[mode], good ? "good" : "BAD", (uintmax_t)run.n_stores, (uintmax_t)run.n_in_open,
           (uintmax_t)run.n_in_batches, (uintmax_t)run.n_at_end, (uintmax_t)run.n_recoveries,
           (uintmax_t)((now_us() - begin) / 1000000));
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool rehearse(uint64_t seed)
{
    char root[FOLDER_PATH_SIZE], store[FOLDER_PATH_SIZE + 8], text[24];
    struct child child;

    if (!folder_make(root))
        die("temporary folder");
    (void)snprintf(store, sizeof store, "%s/store", root);
    child = start("rehearse", store, decimal(text, seed), "0", "sync", (char *)NULL);
    const int status = reap(&child);
    folder_remove(root);
    return status == 0;
}

/* Each mode in a process of its own, `jobs` at a time. */
static int run_modes(const bool wanted[N_MODES], uint64_t points, uint64_t seed, unsigned jobs)
{
    int status, result = EXIT_SUCCESS;
    unsigned running = 0;

    for (enum mode mode = 0; mode < N_MODES || running > 0;) {
        if (mode < N_MODES && running < jobs) {
            const pid_t pid = wanted[mode] ? fork() : 1;
            if (pid < 0)
                die("fork");
            if (pid == 0)
                exit(run_mode(mode, points, seed));
            running += wanted[mode];
            mode++;
            continue;
        }
        if (wait(&status) < 0)
            die("wait");
        running--;
        if (status != 0)
            result = EXIT_FAILURE;
    }
    return result;
}

/* ---- arguments ---- */

static int find_mode(const char *name)
{
    for (int mode = 0; mode < N_MODES; mode++)
        if (strcmp(mode_names[mode], name) == 0)
            return mode;
    (void)fprintf(stderr, "crash_kill: no mode '%s'\n", name);
    exit(EXIT_FAILURE);
}

static void choose_modes(const char *name, bool wanted[N_MODES])
{
    const bool all = strcmp(name, "all") == 0;
    const int chosen = all ? N_MODES : find_mode(name);

    for (int mode = 0; mode < N_MODES; mode++)
        wanted[mode] = all || mode == chosen;
}

static int play_role(int argc, char **argv)
{
    static struct oracle oracle;
    const enum mode mode = (enum mode)find_mode(argv[5]);

    alarm(HANG_SECONDS);
    oracle_init(&oracle, strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
    if (strcmp(argv[1], "writer") == 0 && argc == 7)
        return run_writer(argv[2], &oracle, strtoull(argv[6], NULL, 10), mode);
    if (strcmp(argv[1], "rehearse") == 0)
        return run_rehearsal(argv[2], &oracle);
    const int status = run_verifier(argv[2], &oracle, mode, argc == 7);
    if (argc == 7)
        _exit(status); /* with the store open */
    return status;
}

int main(int argc, char **argv)
{
    static const struct option names[] = { { "points", required_argument, NULL, 'p' },
                                           { "mode", required_argument, NULL, 'm' },
                                           { "seed", required_argument, NULL, 's' },
                                           { "jobs", required_argument, NULL, 'j' },
                                           { 0 } };
    uint64_t points = SHORT_POINTS, seed = now_us() * 1000003 % 1000000007;
    bool wanted[N_MODES] = { true, true, true, true };
    unsigned jobs = 1;

    if (argc >= 6 && argv[1][0] != '-')
        return play_role(argc, argv);
    for (int c; (c = getopt_long(argc, argv, "", names, NULL)) >= 0;) {
        if (c == 'p')
            points = strtoull(optarg, NULL, 10);
        else if (c == 's')
            seed = strtoull(optarg, NULL, 10);
        else if (c == 'j')
            jobs = (unsigned)strtoul(optarg, NULL, 10);
        else if (c != 'm')
            return EXIT_FAILURE;
        else
            choose_modes(optarg, wanted);
    }
    printf("crash_kill --points=%ju --seed=%ju\n", (uintmax_t)points, (uintmax_t)seed);
    (void)fflush(stdout);
    return rehearse(seed) ? run_modes(wanted, points, seed, jobs ? jobs : 1) : EXIT_FAILURE;
}
