/* schema: what a caller says an object is, checked, turned into a catalogue record, and compared with another. */
#ifndef HTI_SCHEMA_H
#define HTI_SCHEMA_H

#include "state.h"

/* HTSTORE_EINVAL, HTSTORE_ETYPE, HTSTORE_ESHAPE, HTSTORE_ENOMEM. The record (without id) is released by the caller. */
int hti_schema_check(const char *name, const struct htstore_schema *schema, struct hti_object_record *record,
                     struct htstore_error *error);
int hti_schema_check_variable(const char *name, const struct htstore_variable_schema *schema,
                              struct hti_object_record *record, struct htstore_error *error);
/* `schema` may be NULL. */
int hti_schema_check_mapping(const char *name, const struct htstore_mapping_schema *schema,
                             struct hti_object_record *record, struct htstore_error *error);
/* Two of one kind: HTSTORE_ECONFLICT, with the sentence of the first difference. */
int hti_schema_compare(const struct hti_object_record *wanted, const struct hti_object_record *stored,
                       struct htstore_error *error);
/* The sentence, and HTSTORE_ECONFLICT, for an object of another kind than the one wanted. */
int hti_schema_kinds_differ(uint32_t wanted, const struct hti_object_record *stored, struct htstore_error *error);

#endif
