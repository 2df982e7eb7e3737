/* verify: is a store, or a snapshot, whole? Public, in htstore.h. */
#ifndef HTI_VERIFY_H
#define HTI_VERIFY_H

#include "htstore.h"

#endif
