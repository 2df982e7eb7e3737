/* error: fills the caller's struct htstore_error; knows the text of every status code. */
#ifndef HTI_ERROR_H
#define HTI_ERROR_H

#include "htstore.h"

#define HTI_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/*
 * Fill `error` (may be NULL) with code and sentence: everything else is reset (errno 0, index -1, path empty).
 * A sentence that does not fit is cut at a UTF-8 character boundary. Returns `code`, so that callers can
 * `return hti_fail(...)`. Preserves errno.
 */
int hti_fail(struct htstore_error *error, int code, const char *format, ...) HTI_PRINTF(3, 4);

/* Add details to an error that hti_fail() has filled; `error` may be NULL. A long path is shortened at the front ("…"). */
void hti_error_set_errno(struct htstore_error *error, int sys_errno);
void hti_error_set_index(struct htstore_error *error, uint64_t index);
void hti_error_set_path(struct htstore_error *error, const char *path, uint64_t offset);

/* Copy one error to another; either may be NULL (then nothing happens). */
void hti_error_copy(struct htstore_error *to, const struct htstore_error *from);

#endif
