/* table: handles of tables: creating, opening, dropping and closing them. Everything here is public, in htstore.h. */
#ifndef HTI_TABLE_H
#define HTI_TABLE_H

#include "state.h"

#endif
