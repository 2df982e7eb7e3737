/* pump: hides the thread that copies into a pipe, and what ends it. */
#include "pump.h"

#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

int pump_open(struct pump *pump, int from)
{
    memset(pump, 0, sizeof *pump);
    pump->from = from;
    pump->pipe[0] = pump->pipe[1] = -1;
    while (pump->head_size < PUMP_HEAD_SIZE) {
        ssize_t n;

        if (signals_wait_readable(from) != 0)
            return EINTR;
        n = read(from, pump->head + pump->head_size, PUMP_HEAD_SIZE - pump->head_size);
        if (n < 0 && errno != EINTR)
            return errno;
        if (n == 0)
            return 0;
        if (n > 0)
            pump->head_size += (size_t)n;
    }
    return 0;
}

/* Returns false if the reader is gone. */
static bool write_all(const struct pump *pump, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = write(pump->pipe[1], data, size);

        if (n < 0 && errno != EINTR)
            return false;
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        }
    }
    return true;
}

/* Wait for input. Returns false if the reader is gone, or a signal was caught. */
static bool wait_for_input(const struct pump *pump)
{
    struct pollfd polled[3] = { { .fd = pump->from, .events = POLLIN },
                                { .fd = pump->pipe[1] },
                                { .fd = signals_wake_fd(), .events = POLLIN } };

    while (signals_caught() == 0) {
        if (poll(polled, 3, -1) < 0) {
            if (errno != EINTR)
                return false;
            continue;
        }
        return polled[1].revents == 0 && polled[2].revents == 0;
    }
    return false;
}

static void *copy(void *user)
{
    static char data[65536]; /* one pump a program */
    struct pump *pump = user;
    bool go_on = write_all(pump, pump->head, pump->head_size);

    while (go_on && wait_for_input(pump)) {
        ssize_t n = read(pump->from, data, sizeof data);

        if (n < 0 && errno != EINTR)
            pump->error = errno;
        if (n == 0 || pump->error != 0)
            break;
        if (n > 0)
            go_on = write_all(pump, data, (size_t)n);
    }
    close(pump->pipe[1]);
    return NULL;
}

int pump_start(struct pump *pump, int *fd)
{
    int error;

    if (pipe2(pump->pipe, O_CLOEXEC) != 0)
        return errno;
    error = pthread_create(&pump->thread, NULL, copy, pump);
    if (error != 0) {
        close(pump->pipe[0]);
        close(pump->pipe[1]);
        pump->pipe[0] = pump->pipe[1] = -1;
        return error;
    }
    *fd = pump->pipe[0];
    return 0;
}

int pump_end(struct pump *pump)
{
    if (pump->pipe[0] < 0)
        return 0;
    close(pump->pipe[0]);
    pthread_join(pump->thread, NULL);
    pump->pipe[0] = -1;
    return pump->error;
}
