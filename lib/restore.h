/* restore: contents from a snapshot into a live store: all at once for what is there, and later for what is still missing. */
#ifndef HTI_RESTORE_H
#define HTI_RESTORE_H

#include "binding.h"
#include "checkpoint.h"
#include "snapread.h"
#include "structure.h"

#define HTI_MAGIC_RESTORE 0x74737272u

struct htstore_restore {
    struct hti_waiting waiting; /* first: told of additions as long as keys are missing */
    uint32_t magic;
    struct htstore_checkpoint *checkpoint;
    struct htstore *store;
    int fd; /* of the file, open as long as keys are missing; -1 */
    char path[256]; /* for messages */
    struct hti_snapread *reader; /* NULL: nothing was to be restored */
    struct hti_snapread *index; /* for what comes later: opened when it is needed */
    uint32_t threads;
    struct hti_binding binding;
    bool registered; /* in store->waiting */
    bool loading; /* flush_mutex: what is added meanwhile is bound, and loaded with all else */
    bool asserted, partial_expected;
    /* of an addition under way */
    struct hti_binding before; /* what the binding was */
    bool changed;
    struct hti_switch *switches; /* the list of the change, ours */
    struct hti_build *builds;
    size_t n_builds;
};

int hti_restore_check(const struct htstore_restore *restore, struct htstore_error *error);
/* The end of a status: nothing waits any more. */
void hti_restore_close(struct htstore_restore *restore);

#endif
