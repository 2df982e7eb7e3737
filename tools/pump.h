/* pump: standard input whose first bytes can be seen before somebody else reads all of it from a descriptor. */
#ifndef TOOLS_PUMP_H
#define TOOLS_PUMP_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#define PUMP_HEAD_SIZE 64

struct pump {
    int from;
    int pipe[2]; /* read end for the reader; -1: not started */
    char head[PUMP_HEAD_SIZE];
    size_t head_size;
    int error; /* errno of a failed read; valid after pump_end() */
    pthread_t thread;
};

/* Read the first bytes. Returns 0 or an errno; EINTR after a signal that was caught. */
int pump_open(struct pump *pump, int from);

/* From now on all bytes, the first ones too, come out of *fd; a signal that is caught ends them. Returns 0 or an errno. */
int pump_start(struct pump *pump, int *fd);

/* Close *fd and wait for the thread. Returns pump->error. */
int pump_end(struct pump *pump);

#endif
