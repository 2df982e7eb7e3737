/* schema: what a caller says a table is, checked, turned into a catalogue record, and compared with another. */
#ifndef HTI_SCHEMA_H
#define HTI_SCHEMA_H

#include "state.h"

/* HTSTORE_EINVAL, HTSTORE_ETYPE, HTSTORE_ESHAPE, HTSTORE_ENOMEM. The record (without id) is released by the caller. */
int hti_schema_check(const char *name, const struct htstore_schema *schema, struct hti_table_record *record,
                     struct htstore_error *error);
/* HTSTORE_ECONFLICT, with the sentence of the first difference. */
int hti_schema_compare(const struct hti_table_record *wanted, const struct hti_table_record *stored,
                       struct htstore_error *error);

#endif
