/* place: where a store takes shape that nobody is to see before it is whole: a folder beside its target, renamed at the end. */
#ifndef HTI_PLACE_H
#define HTI_PLACE_H

#include <limits.h>

#include "state.h"

struct hti_place {
    char *parent, *name; /* of the target */
    char *path; /* of the temporary folder */
    char temporary[NAME_MAX + 1];
    int parent_fd;
    int fd; /* of the temporary folder, once it is made */
};

/*
 * Choose the place, and clear what an interrupted call left there. HTSTORE_EEXIST (the target exists), HTSTORE_EBUSY (somebody is at
 * work there), HTSTORE_ENOTFOUND (no parent folder), HTSTORE_EINVAL (also: it would lie in the folder `avoid_fd`; -1: none), HTSTORE_EIO,
 * HTSTORE_ENOMEM. To be left in any case.
 */
int hti_place_choose(struct hti_place *place, const char *target, int avoid_fd, struct htstore_error *error);
/* Create and open a store there, with sizes and permissions of `options` (complete, store.h) and without callbacks. */
int hti_place_open(struct hti_place *place, const struct htstore_options *options, struct htstore **store,
                   struct htstore_error *error);
/* Put the closed store into place, durably. As hti_create_publish(). */
int hti_place_publish(struct hti_place *place, struct htstore_error *error);
/* The end; with `failed`, what is there is removed. */
void hti_place_leave(struct hti_place *place, bool failed);

#endif
