/* variable: named arrays; public, in htstore.h. A variable's elements are rows of a table of their own (varlayout.h). */
#ifndef HTI_VARIABLE_H
#define HTI_VARIABLE_H

#include "htstore.h"

#endif
