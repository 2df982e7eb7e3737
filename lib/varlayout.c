/* varlayout: hides how many elements of a variable share a row. */
#include "varlayout.h"

#include <assert.h>

#include "dtype.h"

uint64_t hti_varlayout_row_elements(uint32_t dtype, uint64_t n_elements)
{
    assert(hti_dtype_is_valid(dtype));
    if (n_elements == 0 || dtype == HTSTORE_STRING)
        return n_elements == 0 ? 0 : 1;
    const uint64_t most = HTI_VARLAYOUT_ROW_SIZE / hti_dtype_packed_size(dtype);
    return n_elements < most ? n_elements : most;
}

uint64_t hti_varlayout_rows(uint32_t dtype, uint64_t n_elements)
{
    const uint64_t per_row = hti_varlayout_row_elements(dtype, n_elements);

    return per_row == 0 ? 0 : n_elements / per_row + (n_elements % per_row != 0);
}

void hti_varlayout_init(struct hti_row_type *type, uint32_t dtype, uint64_t n_elements)
{
    hti_row_type_init(type, HTSTORE_UINT64, dtype, hti_varlayout_row_elements(dtype, n_elements));
}
