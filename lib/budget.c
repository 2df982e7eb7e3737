/* budget: hides who gets how much memory, and how a table leaves it. */
#include "budget.h"

#include "commit.h"
#include "flush.h"

#define SMALL_TABLE ((uint64_t)16 << 10) /* bytes; a table that takes less is left alone */
#define MIN_RECENT ((uint64_t)4 << 10) /* bytes; less is not worth a search */

uint64_t hti_budget_free(struct htstore *store)
{
    const uint64_t used = hti_core_memory(store, false);
    return used < store->options.cache_bytes ? store->options.cache_bytes - used : 0;
}

/* What every table in use may have, however large the others are. */
static uint64_t fair_share(struct htstore *store)
{
    uint64_t n = 0;

    pthread_mutex_lock(&store->objects_mutex);
    for (const struct hti_core *core = store->cores; core; core = core->next)
        n += core->n_handles > 0 && core->record.kind != HTSTORE_KIND_MAPPING;
    pthread_mutex_unlock(&store->objects_mutex);
    return store->options.cache_bytes / (n + 1);
}

struct hti_cache *hti_budget_recent(struct htstore *store, const struct hti_core *core, uint64_t estimate,
                                    uint64_t row_bytes)
{
    const uint64_t free_bytes = hti_budget_free(store), fair = fair_share(store);
    uint64_t bytes = free_bytes > fair ? free_bytes : fair;
    struct hti_cache *recent;

    if (bytes > estimate)
        bytes = estimate;
    if (bytes < MIN_RECENT)
        bytes = MIN_RECENT;
    return hti_cache_new_bounded(&core->type, bytes, row_bytes, &recent) == 0 ? recent : NULL;
}

/* --- giving way --- */

static uint64_t bytes_of(struct htstore *store, const struct hti_core *core)
{
    struct hti_section_line *line = hti_section_enter(&store->section);
    const uint64_t bytes = hti_core_bytes(core);

    hti_section_leave(line);
    return bytes;
}

static struct hti_core *largest(struct htstore *store, uint64_t *bytes)
{
    struct hti_core *found = NULL;

    *bytes = 0;
    for (struct hti_core *core = store->cores; core; core = core->next) {
        const uint64_t own = bytes_of(store, core);
        if (own > *bytes) {
            *bytes = own;
            found = core;
        }
    }
    return found;
}

static int pin(struct htstore *store, struct hti_core *core)
{
    int rc;

    if (core->pinned || core->totals.database == 0)
        return 0;
    rc = hti_kv_acquire(store->kv, core->totals.database, false, NULL);
    if (rc != 0)
        return HTSTORE_EBUSY;
    hti_section_close(&store->section);
    core->pinned = true;
    hti_section_open(&store->section);
    return 0;
}

static void copy_rows(const struct hti_cache *rows, struct hti_cache *recent)
{
    struct hti_row row;
    uint64_t position = 0;

    while (rows && hti_cache_next(rows, &position, &row))
        hti_cache_fill(recent, &row);
}

static uint64_t row_bytes_of(struct htstore *store, const struct hti_core *core)
{
    struct hti_section_line *line = hti_section_enter(&store->section); /* readers change recent rows */
    const struct hti_cache *known = core->recent ? core->recent : core->rows;
    const uint64_t bytes = known ? hti_cache_mean_bytes(known) : 0;

    hti_section_leave(line);
    return bytes > 0 ? bytes : 64;
}

/* Nobody writes, everything is flushed: what a cache knows is what LMDB has. Bounded, or smaller if it is that already. */
static int shrink(struct htstore *store, struct hti_core *core, uint64_t bytes)
{
    const uint64_t row_bytes = row_bytes_of(store, core);
    struct hti_cache *recent;

    if (hti_cache_new_bounded(&core->type, bytes, row_bytes, &recent) != 0)
        return HTSTORE_ENOMEM;
    if (core->resident)
        copy_rows(core->rows, recent);
    hti_core_change_mode(store, core, NULL, recent, false);
    return 0;
}

int hti_budget_bound(struct htstore *store, struct hti_core *core, uint64_t bytes)
{
    int rc;

    hti_commit_block(store);
    rc = hti_flush_locked(store, NULL);
    if (rc == 0)
        rc = pin(store, core); /* after the flush, which may have made its database */
    if (rc == 0)
        rc = shrink(store, core, bytes);
    hti_commit_unblock(store);
    if (rc == 0)
        hti_log(store, HTSTORE_LOG_INFO, "budget", "table %llu keeps %llu bytes of rows in memory",
                (unsigned long long)core->record.id, (unsigned long long)bytes);
    return rc;
}

/* What the largest table may keep so that the budget suffices; never less than its share. 0: nothing is to be done. */
static uint64_t kept_of_largest(struct htstore *store, uint64_t used, struct hti_core **core)
{
    const uint64_t budget = store->options.cache_bytes, fair = fair_share(store);
    uint64_t bytes, keep;

    *core = largest(store, &bytes);
    if (!*core || bytes < SMALL_TABLE)
        return 0;
    keep = bytes > used - budget ? bytes - (used - budget) : 0;
    keep = keep > fair ? keep : fair;
    keep = keep > MIN_RECENT ? keep : MIN_RECENT;
    return keep < bytes ? keep : 0;
}

void hti_budget_balance(struct htstore *store)
{
    uint64_t used = hti_core_memory(store, false), before = UINT64_MAX;
    struct hti_core *core;

    while (used > store->options.cache_bytes && used < before) {
        const uint64_t keep = kept_of_largest(store, used, &core);
        if (keep == 0 || hti_budget_bound(store, core, keep) != 0)
            return;
        before = used;
        used = hti_core_memory(store, false);
    }
}
