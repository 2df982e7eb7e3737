/* salvage: writes what can still be read of a damaged store into a new one, for htstore_recover(). */
#ifndef HTI_SALVAGE_H
#define HTI_SALVAGE_H

#include "htstore.h"

#endif
