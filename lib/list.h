/* list: what objects a store holds, for htstore_list(). */
#ifndef HTI_LIST_H
#define HTI_LIST_H

#include "htstore.h"

#endif
