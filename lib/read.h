/* read: lookup and size. Everything here is public, in htstore.h. */
#ifndef HTI_READ_H
#define HTI_READ_H

#include "state.h"

#endif
