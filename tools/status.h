/* status: the exit statuses of htstore, and the one place where codes of the library become exit statuses. */
#ifndef TOOLS_STATUS_H
#define TOOLS_STATUS_H

/* Stable: scripts compare them. New ones may be added, so scripts treat an unknown one as a failure. */
enum status {
    STATUS_DONE = 0,
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,
    STATUS_MISSING = 3,
    STATUS_CONFLICT = 4,
    STATUS_DAMAGED = 5,
    STATUS_BUSY = 6,
    STATUS_TYPE = 7,
    STATUS_SPACE = 8,
    STATUS_WARNINGS = 10,
    STATUS_INTERRUPTED = 130
};

/* The exit status for a value that a function of the library returned; a negative one that is unknown is a failure. */
int status_from_code(int code);

/* The exit status for an errno of a file that the tool itself reads or writes. */
int status_from_errno(int error);

/* What an exit status means, in a few words; NULL if there is no such status. */
const char *status_meaning(int status);

#endif
