/* mapping: append-only mappings; and the checks that others who add entries share. */
#ifndef HTI_MAPPING_H
#define HTI_MAPPING_H

#include "state.h"

/* Is the key text, and the object an open one of this store? HTSTORE_ETYPE, HTSTORE_EINVAL. */
int hti_mapping_check_entry(const struct htstore *store, const struct htstore_entry *entry,
                            struct htstore_error *error);
/* The sentence, and HTSTORE_EEXIST, for a key that names another object already. */
int hti_mapping_refuse_overwrite(const struct htstore_bytes *key, const struct hti_core *wanted,
                                 const struct hti_core *present, struct htstore_error *error);

#endif
