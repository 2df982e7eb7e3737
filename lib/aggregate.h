/* aggregate: layers, weights, losses and updates below a mapping, for htstore_mapping_walk(). */
#ifndef HTI_AGGREGATE_H
#define HTI_AGGREGATE_H

#include "htstore.h"

#endif
