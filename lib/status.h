/* status: what a restore matched, asked later. */
#ifndef HTI_STATUS_H
#define HTI_STATUS_H

#include <stdbool.h>

#include "htstore.h"

#endif
