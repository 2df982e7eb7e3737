/* modify: the calls that write one table. Everything else here is public, in htstore.h. */
#ifndef HTI_MODIFY_H
#define HTI_MODIFY_H

#include "outputs.h"
#include "resolve.h"

/* Durability and options of a call. HTSTORE_EINVAL for an unknown flag. */
int hti_modify_flags(uint32_t flags, uint32_t allowed, uint32_t *durability, struct htstore_error *error);

/* Is the outcome of such an operation known only when it is resolved: keys above 490 bytes, tables that are not in memory? */
bool hti_modify_is_conditional(const struct htstore_table *table, uint32_t kind, const struct hti_arguments *arguments);

/* Add an operation on a table to a record. */
int hti_modify_add(struct hti_record *record, const struct htstore_table *table, uint32_t kind,
                   const struct hti_arguments *arguments, struct htstore_error *error);

#endif
