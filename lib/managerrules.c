/* managerrules: hides the rules by which checkpoints are numbered, kept and deleted. */
#include "managerrules.h"

#include <math.h>

#define SECONDS_OF_HOUR 3600.0
/* A state must have room for the checkpoint that is being saved, and for those whose deletion failed. */
#define MAX_LISTED (HTI_MANAGERSTATE_MAX / 2)

int hti_managerrules_check_limits(const struct hti_manager_limits *limits, struct htstore_error *error)
{
    if (limits->max_to_keep < 0)
        return hti_fail(error, HTSTORE_EINVAL, "max_to_keep is negative");
    if ((uint64_t)limits->max_to_keep > MAX_LISTED)
        return hti_fail(error, HTSTORE_EINVAL, "max_to_keep is above %zu", MAX_LISTED);
    if (isnan(limits->keep_every_n_hours) || limits->keep_every_n_hours < 0)
        return hti_fail(error, HTSTORE_EINVAL, "keep_every_n_hours is negative or NaN");
    return 0;
}

void hti_managerrules_begin(struct hti_managerstate *state, double now)
{
    state->n_entries = 0;
    state->last_preserved = now - 1;
}

bool hti_managerrules_reopen(struct hti_managerstate *state, double now)
{
    const bool went_back = now < state->last_preserved;
    size_t n = 0;

    if (went_back)
        state->last_preserved = now;
    for (size_t i = 0; i < state->n_entries; i++) {
        struct hti_managed entry = state->entries[i];
        if (entry.time > now)
            entry.time = now;
        if (entry.mark != HTI_MANAGED_LISTED || entry.time > state->last_preserved)
            state->entries[n++] = entry;
    }
    state->n_entries = n;
    return went_back;
}

/* What becomes of a checkpoint that leaves the list: true if its file is kept for good. */
static bool preserve(struct hti_managerstate *state, double time, const struct hti_manager_limits *limits)
{
    const double hours = limits->keep_every_n_hours;

    if (!(hours > 0) || !(time - SECONDS_OF_HOUR * hours >= state->last_preserved))
        return false;
    state->last_preserved = time;
    return true;
}

size_t hti_managerrules_sweep(struct hti_managerstate *state, const struct hti_manager_limits *limits)
{
    const size_t max = limits->max_to_keep > 0 ? (size_t)limits->max_to_keep : MAX_LISTED;
    const size_t n_listed = hti_managerstate_count(state, HTI_MANAGED_LISTED);
    const size_t n_leaving = n_listed > max ? n_listed - max : 0;
    size_t n = 0, n_left = 0;

    for (size_t i = 0; i < state->n_entries; i++) {
        struct hti_managed entry = state->entries[i];
        if (entry.mark == HTI_MANAGED_LISTED && n_left < n_leaving) {
            n_left++;
            if (limits->max_to_keep == 0 || preserve(state, entry.time, limits))
                continue;
            entry.mark = HTI_MANAGED_DELETING;
        }
        state->entries[n++] = entry;
    }
    state->n_entries = n;
    return n_left;
}

static bool is_taken(const struct hti_manager_numbering *numbering, int64_t number)
{
    size_t low = 0, high = numbering->n_taken;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (numbering->taken[middle] == number)
            return true;
        if (numbering->taken[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

int hti_managerrules_number(struct hti_manager_numbering *numbering, struct htstore_error *error)
{
    if (numbering->is_explicit && numbering->wanted < 0)
        return hti_fail(error, HTSTORE_EINVAL, "the number of a checkpoint is negative");
    if (numbering->counter == INT64_MAX)
        return hti_fail(error, HTSTORE_EINVAL, "the counter of saves is at its end");
    numbering->new_counter = numbering->counter + 1;
    numbering->replace = false;
    if (numbering->is_explicit) {
        numbering->number = numbering->wanted;
        numbering->replace = is_taken(numbering, numbering->number);
        return 0;
    }
    if (is_taken(numbering, numbering->new_counter)) {
        const int64_t highest = numbering->taken[numbering->n_taken - 1];
        if (highest == INT64_MAX)
            return hti_fail(error, HTSTORE_EEXIST, "the highest number of all is taken: no checkpoint can follow it");
        numbering->new_counter = highest + 1;
    }
    numbering->number = numbering->new_counter;
    return 0;
}

bool hti_managerrules_is_due(const struct hti_manager_schedule *schedule, int64_t step, bool ignore_interval)
{
    int64_t next;

    if (schedule->interval == 0 || !schedule->has_last)
        return true;
    if (step == schedule->last)
        return false;
    if (ignore_interval)
        return true;
    /* A next step that no counter reaches never comes. */
    return !__builtin_add_overflow(schedule->last, schedule->interval, &next) && step >= next;
}
