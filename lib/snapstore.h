/* snapstore: a new store made of a snapshot. Public, in htstore.h. */
#ifndef HTI_SNAPSTORE_H
#define HTI_SNAPSTORE_H

#include "htstore.h"

#endif
