/* group_portable: the groups of group.h as processors without vectors look at them. */
#ifndef GROUP_PORTABLE_H
#define GROUP_PORTABLE_H

#include <stdint.h>

uint32_t group_portable_match(const uint8_t *group, uint8_t tag);
uint32_t group_portable_empty(const uint8_t *group);

#endif
