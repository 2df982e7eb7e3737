/*
 * manager: a checkpoint manager as such: its options, its state in memory and on disk, opening after a crash.
 * The order in which things happen on disk, and what a cut leaves, is in docs/checkpoint-folder.md.
 */
#ifndef HTI_MANAGER_H
#define HTI_MANAGER_H

#include <pthread.h>

#include "checkpoint.h"
#include "managerfolder.h"
#include "managerrules.h"
#include "managerstate.h"
#include "state.h"

#define HTI_MAGIC_MANAGER 0x676d6874u

struct htstore_manager {
    uint32_t magic;
    struct htstore_checkpoint *checkpoint;
    struct htstore *store;
    struct hti_managerfolder folder;
    struct hti_manager_limits limits;
    int64_t interval;
    const int64_t *step;
    htstore_clock_fn clock;
    void *clock_user;

    pthread_mutex_t
        turn; /* saves, deletions, restores: one at a time. Outermost: held across disk work and callbacks */
    pthread_mutex_t mutex; /* what follows, for a moment; who has `turn` alone changes it, and reads without */
    struct hti_managerstate state;
    bool dirty; /* `turn`: the state file may be another one */
    bool untidy; /* `turn`: a failed save may have left a temporary file */
    bool has_last_step;
    int64_t last_step; /* of the last save or restore */
};

/* HTSTORE_EINVAL: NULL, closed, or in a forked child. `change` asks also for HTSTORE_EREADONLY. */
int hti_manager_check(const struct htstore_manager *manager, bool change, struct htstore_error *error);
/* HTSTORE_EINVAL: the clock gives no time. */
int hti_manager_now(const struct htstore_manager *manager, double *now, struct htstore_error *error);
/* The step counter now; 0 without one. */
int64_t hti_manager_step(const struct htstore_manager *manager);
void hti_manager_set_last_step(struct htstore_manager *manager, int64_t step);

/* All of these with `turn`. */

/* Make this state durable; the one in memory stays. After a failure the manager is dirty. */
int hti_manager_write(struct htstore_manager *manager, const struct hti_managerstate *state,
                      struct htstore_error *error);
/* Take it over as the state in memory; *next becomes empty. */
void hti_manager_install(struct htstore_manager *manager, struct hti_managerstate *next);
/*
 * Bring the disk in line with the memory: write the state if the manager is dirty, then delete the files marked so, and
 * write the state without them. What fails is done again by the next call.
 */
int hti_manager_settle(struct htstore_manager *manager, struct htstore_error *error);
/* The same where the caller has a success to report: failures go to the log. */
void hti_manager_settle_quietly(struct htstore_manager *manager);
/* Delete temporary files that are left over; failures go to the log. */
void hti_manager_clean(struct htstore_manager *manager);
/* List the folder, and take checkpoints off the list that are gone. Free *files with hti_mem_free(). */
int hti_manager_scan(struct htstore_manager *manager, struct hti_managerfile **files, size_t *n,
                     struct htstore_error *error);

/* Any thread. Verify a checkpoint, block by block. */
int hti_manager_verify(const struct htstore_manager *manager, int64_t number, uint32_t threads, uint64_t *lsn,
                       struct htstore_error *error);

#endif
