/* strike: hides how children are traced, killed and judged. */
#include "strike.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHORT_POINTS 25
#define HANG_SECONDS 120

struct strike_report *strike_report;
char strike_folder[FOLDER_PATH_SIZE], strike_path[FOLDER_PATH_SIZE + 8];
uint64_t strike_seed;

static char root[FOLDER_PATH_SIZE - 64], base[FOLDER_PATH_SIZE];
static void (*begin_child)(void);

/* ---- in children ---- */

void strike_must(int rc, const char *what, const char *message)
{
    if (rc == 0)
        return;
    (void)fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, message);
    _exit(ORACLE_OPENFAIL);
}

void strike_begin(void)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(STRIKE_SKIPPED);
    raise(SIGSTOP);
}

void strike_end(void)
{
    strike_report->done = true;
    _exit(EXIT_SUCCESS);
}

void strike_condemn(enum oracle_verdict verdict, const char *why)
{
    (void)fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, oracle_verdict_name(verdict), why);
    _exit((int)verdict);
}

/* ---- the parent ---- */

static void die(const char *what)
{
    (void)fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
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
        begin_child();
        function();
        _exit(EXIT_SUCCESS);
    }
    return pid;
}

static bool call(void (*function)(void))
{
    const int status = await(start(function));

    if (WIFSIGNALED(status))
        (void)fprintf(stderr, "%s: %s: signal %d\n", program_invocation_short_name, oracle_verdict_name(ORACLE_CRASH),
                      WTERMSIG(status));
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
static int run_step(const struct strike_step *step, unsigned stop, unsigned *n_stops)
{
    pid_t pid;
    int status;

    *n_stops = 0;
    strike_report->done = false;
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
    if (!folder_remove(strike_folder) || !folder_copy(base, strike_folder))
        die("copy");
}

static bool strike(const struct strike_step *step, unsigned stop, uint64_t position)
{
    unsigned n;

    make_work();
    strike_report->position = position;
    run_step(step, stop, &n);
    if (n < stop)
        return true; /* a thread took over what was left to do */
    if (call(step->check))
        return true;
    (void)fprintf(stderr, "%s: step %s, seed %ju, killed at stop %u of system calls; see %s\n",
                  program_invocation_short_name, step->name, (uintmax_t)strike_seed, stop, root);
    return false;
}

/* EXIT_SUCCESS, EXIT_FAILURE, or STRIKE_SKIPPED: no tracing here. */
static int sweep(const struct strike_step *step, unsigned points)
{
    unsigned total, stride = 1, n = 0;
    uint64_t position;
    int status;

    if (!folder_remove(base) || mkdir(base, 0700) != 0)
        die(base);
    (void)snprintf(strike_path, sizeof strike_path, "%s/" STRIKE_STORE, base);
    strike_report->position = 0;
    if (!call(step->prepare)) {
        (void)fprintf(stderr, "%s: step %s, seed %ju, cannot be prepared\n", program_invocation_short_name, step->name,
                      (uintmax_t)strike_seed);
        return EXIT_FAILURE;
    }
    position = strike_report->position;
    (void)snprintf(strike_path, sizeof strike_path, "%s/" STRIKE_STORE, strike_folder);
    make_work();
    status = run_step(step, 0, &total);
    if (WIFEXITED(status) && WEXITSTATUS(status) == STRIKE_SKIPPED)
        return STRIKE_SKIPPED;
    if (status != 0 || total == 0 || !call(step->check)) {
        (void)fprintf(stderr, "%s: step %s, seed %ju, fails without a kill; see %s\n", program_invocation_short_name,
                      step->name, (uintmax_t)strike_seed, root);
        return EXIT_FAILURE;
    }
    if (step->max_points > 0 && (points == 0 || points > step->max_points))
        points = step->max_points;
    if (!step->everywhere && points > 0 && total > points)
        stride = (total + points - 1) / points | 1; /* odd: entries and exits in turn */
    for (unsigned stop = 1; stop <= total; stop += stride, n++)
        if (!strike(step, stop, position))
            return EXIT_FAILURE;
    printf("%-13s seed %ju: %u stops of system calls, killed at %u\n", step->name, (uintmax_t)strike_seed, total, n);
    (void)fflush(stdout);
    return EXIT_SUCCESS;
}

static int sweep_steps(const struct strike_step *steps, size_t n_steps, unsigned points, char **names, int n_names)
{
    int result = EXIT_SUCCESS;

    for (size_t i = 0; i < n_steps && result == EXIT_SUCCESS; i++) {
        bool wanted = n_names == 0;
        for (int k = 0; k < n_names; k++)
            wanted = wanted || strcmp(names[k], steps[i].name) == 0;
        for (strike_seed = STRIKE_FIRST_SEED; wanted && result == EXIT_SUCCESS && strike_seed < STRIKE_FIRST_SEED + 2;
             strike_seed++)
            if (strike_seed == STRIKE_FIRST_SEED || !steps[i].everywhere)
                result = sweep(&steps[i], points);
    }
    return result;
}

int strike_main(int argc, char **argv, const struct strike_step *steps, size_t n, void (*begin)(void))
{
    static const struct option names[] = { { "points", required_argument, NULL, 'p' }, { 0 } };
    unsigned points = SHORT_POINTS;
    int result;

    begin_child = begin;
    while ((result = getopt_long(argc, argv, "", names, NULL)) >= 0) {
        if (result != 'p')
            return EXIT_FAILURE;
        points = (unsigned)strtoul(optarg, NULL, 10);
    }
    strike_report = mmap(NULL, sizeof *strike_report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (strike_report == MAP_FAILED || !folder_make(base))
        die("temporary folder");
    (void)snprintf(root, sizeof root, "%.4000s", base);
    (void)snprintf(base, sizeof base, "%s/base", root);
    (void)snprintf(strike_folder, sizeof strike_folder, "%s/work", root);
    result = sweep_steps(steps, n, points, argv + optind, argc - optind);
    if (result == STRIKE_SKIPPED)
        puts("SKIP: children cannot be traced here");
    if (result != EXIT_FAILURE && !folder_remove(root))
        die(root);
    return result;
}
