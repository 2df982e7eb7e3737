/* store: opens, recovers and closes a store; its public functions. */
#ifndef HTI_STORE_H
#define HTI_STORE_H

#include "state.h"

/* Check an options struct and fill in defaults. HTSTORE_EINVAL. */
int hti_store_options(const struct htstore_options *given, struct htstore_options *options,
                      struct htstore_error *error);

#endif
