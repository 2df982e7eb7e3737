/* diff: two snapshots or stores, compared object by object. Public, in htstore.h. */
#ifndef HTI_DIFF_H
#define HTI_DIFF_H

#include "htstore.h"

#endif
