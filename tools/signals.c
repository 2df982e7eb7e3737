/* signals: hides handlers and the pipe that wakes a waiting read. */
#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t caught;
static int wake[2] = { -1, -1 }; /* written by the handler: a signal between a check and a wait is not lost */

static void note_signal(int number)
{
    int saved = errno;

    caught = number;
    if (write(wake[1], "", 1) < 0)
        errno = saved;
    errno = saved;
}

void signals_ignore_pipe(void)
{
    signal(SIGPIPE, SIG_IGN);
}

void signals_catch(void)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };

    if (wake[0] < 0 && pipe2(wake, O_CLOEXEC | O_NONBLOCK) != 0)
        return; /* without the pipe the default action stays: the program ends at once */
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct sigaction action, old;

        memset(&action, 0, sizeof action);
        action.sa_handler = note_signal;
        action.sa_flags = (int)SA_RESETHAND;
        sigemptyset(&action.sa_mask);
        if (sigaction(numbers[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(numbers[i], &action, NULL);
    }
}

int signals_caught(void)
{
    return caught;
}

int signals_wake_fd(void)
{
    return wake[0];
}

int signals_wait_readable(int fd)
{
    struct pollfd polled[2] = { { .fd = fd, .events = POLLIN }, { .fd = wake[0], .events = POLLIN } };

    while (caught == 0) {
        if (poll(polled, 2, -1) < 0 && errno == EINTR)
            continue;
        if (polled[1].revents == 0)
            return 0;
    }
    return 1;
}

void signals_raise(int number)
{
    sigset_t set;

    signal(number, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    raise(number);
}
