/*
 * budget: how much memory tables may take together (options.cache_bytes), and what becomes of those that do not fit.
 *
 * A table whose rows fit is resident. One that does not is bounded: of its rows as many are kept as its share allows, those
 * that were asked for lately. When growing tables exceed the budget, the largest one gives way.
 */
#ifndef HTI_BUDGET_H
#define HTI_BUDGET_H

#include "state.h"

/* Bytes of the budget that no table takes. */
uint64_t hti_budget_free(struct htstore *store);
/* Memory for recent rows of a table that is about to be bounded; NULL if there is none: it works without, only slower. */
struct hti_cache *hti_budget_recent(struct htstore *store, const struct hti_core *core, uint64_t estimate,
                                    uint64_t row_bytes);
/* Make a table bounded, or smaller, with so many bytes for recent rows. Codes as of hti_flush_locked(). With flush_mutex. */
int hti_budget_bound(struct htstore *store, struct hti_core *core, uint64_t bytes);
/* Make tables smaller until the budget suffices, or nothing more can be done. With flush_mutex; waits for writers. */
void hti_budget_balance(struct htstore *store);

#endif
