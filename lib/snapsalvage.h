/* snapsalvage: a new store of what is intact of a damaged snapshot. */
#ifndef HTI_SNAPSALVAGE_H
#define HTI_SNAPSALVAGE_H

#include "maker.h"

/*
 * Make the store of every intact block; the maker's report and log tell what is lost. HTSTORE_ECORRUPT (the description of the objects
 * is lost), or as hti_snapscan_open() and hti_maker_make().
 */
int hti_snapsalvage_restore(struct hti_maker *m, int fd, const char *path);

#endif
