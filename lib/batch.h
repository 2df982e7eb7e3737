/* batch: several operations as one step. Everything here is public, in htstore.h. */
#ifndef HTI_BATCH_H
#define HTI_BATCH_H

#include "state.h"

#endif
