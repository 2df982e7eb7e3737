/* compare: what tables in memory hold against what LMDB holds. Public, in htstore.h. */
#ifndef HTI_COMPARE_H
#define HTI_COMPARE_H

#include "htstore.h"

#endif
