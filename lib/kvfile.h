/* kvfile: the check of an LMDB 0.9 data file before LMDB maps it. Reads by pread alone. Never crashes on any bytes. */
#ifndef HTI_KVFILE_H
#define HTI_KVFILE_H

#include "error.h"

/*
 * Is it safe to let LMDB map this file? Both metas are checked, the roots of the newest one, and that the file is as long as it
 * says (missing pages must be in its free list). 0, or HTSTORE_EFORMAT (not an LMDB file; empty; other byte
 * order), HTSTORE_EVERSION (LMDB 1.0 or another data version), HTSTORE_ECORRUPT (truncated, damaged: offset set, expected and
 * actual size in the sentence), HTSTORE_EIO. `path` is for messages.
 */
int hti_kvfile_check(int fd, const char *path, struct htstore_error *error);

#endif
