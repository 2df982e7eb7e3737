/* group_portable: hides that group.h is compiled a second time, without vectors. */
#define HTI_GROUP_PORTABLE
#include "group.h"

#include "group_portable.h"

uint32_t group_portable_match(const uint8_t *group, uint8_t tag)
{
    return hti_group_match(group, tag);
}

uint32_t group_portable_empty(const uint8_t *group)
{
    return hti_group_empty(group);
}
