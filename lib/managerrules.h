/*
 * managerrules: what a checkpoint manager decides: numbers, what is kept, what a reopened state means, whether a save is due.
 * No files, no clock. Sources: TensorFlow's CheckpointManager (checkpoint_management.py), as the header of the library says.
 */
#ifndef HTI_MANAGERRULES_H
#define HTI_MANAGERRULES_H

#include <stdbool.h>

#include "managerstate.h"

struct hti_manager_limits {
    int64_t max_to_keep; /* 0: all */
    double keep_every_n_hours; /* 0: off */
};

/* HTSTORE_EINVAL: negative, NaN, or more than a state can list. */
int hti_managerrules_check_limits(const struct hti_manager_limits *limits, struct htstore_error *error);

/* A folder without a state: nothing is listed. */
void hti_managerrules_begin(struct hti_managerstate *state, double now);

/*
 * Open with the state that was found: of the listed ones those younger than the last preserved stay, the others are kept
 * for good. True: the clock went back, so that no listed one is younger.
 */
bool hti_managerrules_reopen(struct hti_managerstate *state, double now);

/*
 * While more are listed than max_to_keep: the oldest leaves the list, to be deleted or kept for good. Also room in the
 * state: the oldest of too many are kept for good. Returns how many left the list.
 */
size_t hti_managerrules_sweep(struct hti_managerstate *state, const struct hti_manager_limits *limits);

/* Which number a new checkpoint gets. */
struct hti_manager_numbering {
    /* in */
    bool is_explicit;
    int64_t wanted; /* if explicit */
    int64_t counter; /* of saves so far */
    const int64_t *taken; /* numbers in the folder, ascending */
    size_t n_taken;
    /* out */
    int64_t number;
    int64_t new_counter;
    bool replace; /* the explicit number is taken */
};

/* HTSTORE_EINVAL (negative, or no counter left), HTSTORE_EEXIST (the last number of all is taken). */
int hti_managerrules_number(struct hti_manager_numbering *numbering, struct htstore_error *error);

struct hti_manager_schedule {
    int64_t interval; /* 0: every save is due */
    bool has_last;
    int64_t last; /* step of the last save */
};

/* `ignore_interval`: due though the interval has not passed; never twice for one step. */
bool hti_managerrules_is_due(const struct hti_manager_schedule *schedule, int64_t step, bool ignore_interval);

#endif
