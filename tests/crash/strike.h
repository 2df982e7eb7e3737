/*
 * strike: kills steps at system calls, and has what they leave checked. The step runs in a child whose main thread is traced;
 * it is killed where it enters or leaves a call. The library is only used in children, so that nothing of LMDB crosses a
 * fork.
 */
#ifndef STRIKE_H
#define STRIKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "folder.h"
#include "oracle.h"

#define STRIKE_SKIPPED 77
#define STRIKE_STORE "store" /* the folder of the store, in strike_folder */
#define STRIKE_FIRST_SEED 20 /* and the next one */

/* What the child tells, in memory that survives it. */
struct strike_report {
    volatile uint64_t position;
    volatile bool done; /* the step came to its end */
};
extern struct strike_report *strike_report;
extern char strike_folder[FOLDER_PATH_SIZE], strike_path[FOLDER_PATH_SIZE + 8]; /* of the store */
extern uint64_t strike_seed;

/* All three run in children of their own, and exit or return. */
struct strike_step {
    const char *name;
    void (*prepare)(void); /* what is there before */
    void (*act)(void); /* calls strike_begin() and ends with strike_end() */
    void (*check)(void); /* exits with a verdict; returns if all is well */
    unsigned max_points; /* kills, at most; 0: as many as are asked for */
    bool everywhere; /* kill at each call, however many there are */
};

/* main(): [--points=N] [STEP]...; `begin` is called first in each child. */
int strike_main(int argc, char **argv, const struct strike_step *steps, size_t n, void (*begin)(void));

/* ---- in children ---- */

void strike_must(int rc, const char *what, const char *message); /* or exit */
void strike_begin(void); /* from here on every system call of this thread is a point */
void strike_end(void) __attribute__((noreturn));
void strike_condemn(enum oracle_verdict verdict, const char *why) __attribute__((noreturn));

#endif
