/* inspect_catalog: reads the catalogue of the state that is checked, record by record, and whether it fits the databases. */
#ifndef HTI_INSPECT_CATALOG_H
#define HTI_INSPECT_CATALOG_H

#include "inspect.h"

/* The store's record alone: has_store tells whether it is readable. HTSTORE_EVERSION, HTSTORE_EIO, HTSTORE_ENOMEM. */
int hti_inspect_catalog_peek(struct hti_inspect *check, struct htstore_error *error);
/*
 * Fill the lists of `check`. Bad pages are told if `tell_pages`; bad records always. The same errors, and HTSTORE_EFORMAT: this is
 * no store.
 */
int hti_inspect_catalog_read(struct hti_inspect *check, bool tell_pages, struct htstore_error *error);
/* Do the records fit each other and the databases? */
int hti_inspect_catalog_compare(struct hti_inspect *check, struct htstore_error *error);
void hti_inspect_catalog_release(struct hti_inspect *check);

#endif
