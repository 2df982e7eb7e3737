/* managerfind: what is in a folder of checkpoints, and the newest of it that proves intact. */
#ifndef HTI_MANAGERFIND_H
#define HTI_MANAGERFIND_H

#include "htstore.h"

#endif
