/* array: prints the value of a variable. */
#ifndef TOOLS_ARRAY_H
#define TOOLS_ARRAY_H

#include "htstore.h"

#include <stdint.h>

struct tool;

/*
 * Print all elements, row-major: a line for each index of the first dimension if there are two or more, else one line; with
 * --json one document. Returns 0 or a status, with a message.
 */
int array_write_variable(struct tool *tool, struct htstore_variable *variable, uint64_t lsn);

#endif
