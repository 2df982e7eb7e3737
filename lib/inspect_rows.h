/* inspect_rows: reads every row of every table and variable, and compares checksums, counts and digests. */
#ifndef HTI_INSPECT_ROWS_H
#define HTI_INSPECT_ROWS_H

#include "inspect.h"

/* Bad pages were told before. HTSTORE_ECANCELED, HTSTORE_EIO, HTSTORE_ENOMEM. */
int hti_inspect_rows_run(struct hti_inspect *check, struct htstore_error *error);

#endif
