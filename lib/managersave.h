/* managersave: what changes a folder of checkpoints: save, remove, prune. */
#ifndef HTI_MANAGERSAVE_H
#define HTI_MANAGERSAVE_H

#include "htstore.h"

#endif
