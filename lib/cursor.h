/* cursor: walks a table at one instant. Everything here is public, in htstore.h. */
#ifndef HTI_CURSOR_H
#define HTI_CURSOR_H

#include "state.h"

#endif
