/* wreck_entries: what mappings of a damaged store hold, and which objects names lead to. */
#ifndef HTI_WRECK_ENTRIES_H
#define HTI_WRECK_ENTRIES_H

#include "wreck.h"

/*
 * Sort the entries that were found, count and tell those that are missing, and drop those whose mapping or object is lost;
 * then mark the objects that a name leads to. HTSTORE_ENOMEM.
 */
int hti_wreck_entries_settle(struct hti_wreck *wreck, struct htstore_error *error);
/* The entries of a mapping, in order: the first, and their number. */
const struct hti_entry_record *hti_wreck_entries_of(const struct hti_wreck *wreck, uint64_t mapping, size_t *n);

#endif
