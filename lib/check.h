/* check: is a store, or a snapshot, whole? Public, in htstore.h. */
#ifndef HTI_CHECK_H
#define HTI_CHECK_H

#include "htstore.h"

#endif
