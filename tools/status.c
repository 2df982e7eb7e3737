/* status: knows which exit status every outcome has. */
#include "status.h"

#include "htstore.h"

#include <errno.h>
#include <stddef.h>

int status_from_code(int code)
{
    if (code >= 0)
        return STATUS_DONE;
    switch (code) {
    case HTSTORE_EINVAL:
        return STATUS_USAGE;
    case HTSTORE_ENOTFOUND:
        return STATUS_MISSING;
    case HTSTORE_EEXIST:
    case HTSTORE_ECONFLICT:
    case HTSTORE_EREFERENCED:
        return STATUS_CONFLICT;
    case HTSTORE_ECORRUPT:
        return STATUS_DAMAGED;
    case HTSTORE_EBUSY:
        return STATUS_BUSY;
    case HTSTORE_ETYPE:
    case HTSTORE_ESHAPE:
    case HTSTORE_EFORMAT:
    case HTSTORE_EVERSION:
        return STATUS_TYPE;
    case HTSTORE_ENOSPC:
        return STATUS_SPACE;
    case HTSTORE_ECANCELED:
        return STATUS_INTERRUPTED;
    default: /* EIO, ENOMEM, EREADONLY, and what later libraries add */
        return STATUS_FAILED;
    }
}

int status_from_errno(int error)
{
    switch (error) {
    case 0:
        return STATUS_DONE;
    case ENOENT:
    case ENOTDIR:
        return STATUS_MISSING;
    case EEXIST:
        return STATUS_CONFLICT;
    case ENOSPC:
    case EDQUOT:
        return STATUS_SPACE;
    default:
        return STATUS_FAILED;
    }
}

const char *status_meaning(int status)
{
    switch (status) {
    case STATUS_DONE:
        return "done";
    case STATUS_FAILED:
        return "failed: an input or output error, no memory, or no permission to write";
    case STATUS_USAGE:
        return "wrong use: an option or argument that is wrong in itself";
    case STATUS_MISSING:
        return "not found: a store, table, key or file";
    case STATUS_CONFLICT:
        return "exists already, conflicts with what is there, or refused to overwrite or destroy";
    case STATUS_DAMAGED:
        return "damaged data found";
    case STATUS_BUSY:
        return "locked by another process, or busy";
    case STATUS_TYPE:
        return "wrong type, shape, kind of file or format version";
    case STATUS_SPACE:
        return "no space on the device";
    case STATUS_WARNINGS:
        return "finished, with warnings";
    case STATUS_INTERRUPTED:
        return "interrupted by a signal";
    default:
        return NULL;
    }
}
