/* inspect_run: a check of a whole store, beside a running owner if need be: what is looked at, in which order. */
#ifndef HTI_INSPECT_RUN_H
#define HTI_INSPECT_RUN_H

#include "inspect.h"

/*
 * Check a store, as far as options->level asks. Changes and makes nothing. 0 = nothing is wrong with what was read, 1 = there are
 * findings; or an error of the check itself: HTSTORE_ENOTFOUND, HTSTORE_EFORMAT (no store), HTSTORE_EVERSION, HTSTORE_EINVAL (unsafe folder
 * or file system), HTSTORE_EBUSY (open in this process; an owner that cannot be read beside), HTSTORE_ECANCELED, HTSTORE_EIO,
 * HTSTORE_ENOMEM. *report is filled in any case.
 */
int hti_inspect_run(const char *path, const struct hti_inspect_options *options, struct hti_inspect_report *report,
                    struct htstore_error *error);

#endif
