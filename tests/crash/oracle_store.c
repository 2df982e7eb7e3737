/* oracle_store: hides the calls that write a batch, and how contents that differ are judged. */
#include "oracle_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALLEST (64u << 10)
#define SMALLEST_MAP (1u << 20)
#define MAX_TABLES 8 /* open at once: half of them go into one transaction, so that a flush takes several */
#define N_ANONYMOUS_ROWS 10
#define WHY_SIZE 512

struct htstore_options oracle_options(uint64_t seed, uint32_t durability)
{
    struct htstore_options options = {
        .size = sizeof options,
        .durability = durability,
        .interval_ms = 5,
        .max_open_tables = MAX_TABLES,
        .map_size = SMALLEST_MAP,
        .delta_bytes = SMALLEST,
        .segment_bytes = SMALLEST,
    };

    if (seed % 3 == 0) {
        options.flags |= HTSTORE_NO_PRELOAD;
        options.cache_bytes = 4096;
    }
    return options;
}

/* ---- open and close ---- */

static int open_table(struct oracle_store *s, uint32_t table, bool create)
{
    const struct htstore_schema schema = oracle_schema(table);
    const char *name = oracle_table_name(table);
    int rc;

    if (create)
        return htstore_table_get_or_create(s->store, name, &schema, &s->tables[table], &s->error);
    rc = htstore_table_open(s->store, name, &schema, &s->tables[table], &s->error);
    return rc == HTSTORE_ENOTFOUND ? 0 : rc;
}

int oracle_open(struct oracle_store *s, const char *path, const struct htstore_options *options)
{
    int rc;

    memset(s, 0, sizeof *s);
    rc = htstore_open(path, options, &s->store, &s->error);
    for (uint32_t t = 0; rc == 0 && t < ORACLE_N_TABLES; t++)
        rc = open_table(s, t, options->flags & HTSTORE_CREATE);
    return rc;
}

int oracle_close(struct oracle_store *s)
{
    int rc = htstore_table_close(s->anonymous, &s->error);

    s->anonymous = NULL;
    for (uint32_t t = 0; rc == 0 && t < ORACLE_N_TABLES; t++) {
        rc = htstore_table_close(s->tables[t], &s->error);
        s->tables[t] = NULL;
    }
    return rc ? rc : htstore_close(s->store, &s->error);
}

/* ---- writing ---- */

static int write_single(struct oracle_store *s, uint64_t seed, const struct oracle_op *op, uint32_t version,
                        uint32_t flags)
{
    struct htstore_table *table = s->tables[op->table];
    const struct htstore_array keys = oracle_keys(seed, op->table, op->keys, op->n_rows);
    const struct htstore_array values = oracle_values(seed, op->table, op->keys, op->n_rows, version);

    switch (op->kind) {
    case ORACLE_INSERT:
        return htstore_table_insert(table, &keys, &values, flags, &s->error);
    case ORACLE_INSERT_NEW:
        return htstore_table_insert_new(table, &keys, &values, NULL, flags, &s->error);
    case ORACLE_REMOVE:
        return htstore_table_remove(table, &keys, NULL, flags, &s->error);
    case ORACLE_CLEAR:
    default:
        return htstore_table_clear(table, flags, &s->error);
    }
}

static int add_to_batch(struct oracle_store *s, struct htstore_batch *batch, uint64_t seed, const struct oracle_op *op,
                        uint32_t version)
{
    struct htstore_table *table = s->tables[op->table];
    const struct htstore_array keys = oracle_keys(seed, op->table, op->keys, op->n_rows);
    const struct htstore_array values = oracle_values(seed, op->table, op->keys, op->n_rows, version);

    if (op->kind == ORACLE_CLEAR)
        return htstore_batch_clear(batch, table, &s->error);
    return op->kind == ORACLE_REMOVE ? htstore_batch_remove(batch, table, &keys, &s->error)
                                     : htstore_batch_insert(batch, table, &keys, &values, &s->error);
}

static int write_batch(struct oracle_store *s, uint64_t seed, const struct oracle_plan *plan, uint32_t version,
                       uint32_t flags)
{
    struct htstore_batch *batch;
    int rc = htstore_batch_new(s->store, &batch, &s->error);

    for (uint32_t i = 0; rc == 0 && i < plan->n_ops; i++)
        rc = add_to_batch(s, batch, seed, &plan->ops[i], version);
    if (rc == 0)
        rc = htstore_batch_commit(batch, flags, &s->error);
    htstore_batch_free(batch);
    return rc;
}

int oracle_write(struct oracle_store *s, struct oracle *oracle, uint32_t flags)
{
    const uint32_t version = (uint32_t)oracle->position + 1;
    struct oracle_plan plan;
    int rc;

    oracle_make_plan(oracle->seed, version, &plan);
    rc = plan.n_ops == 1 ? write_single(s, oracle->seed, &plan.ops[0], version, flags)
                         : write_batch(s, oracle->seed, &plan, version, flags);
    if (rc == 0)
        oracle_advance(oracle);
    return rc;
}

/* ---- beside the batches ---- */

static int insert_numbers(struct oracle_store *s, struct htstore_table *table, int64_t first)
{
    int64_t numbers[N_ANONYMOUS_ROWS];
    const struct htstore_array rows = htstore_vector(HTSTORE_INT64, numbers, N_ANONYMOUS_ROWS);

    for (int64_t i = 0; i < N_ANONYMOUS_ROWS; i++)
        numbers[i] = first + i;
    return htstore_table_insert(table, &rows, &rows, 0, &s->error);
}

/* A table is dropped with its rows, and made anew. */
static int restructure(struct oracle_store *s, int64_t number)
{
    const struct htstore_schema schema = oracle_schema(0);
    struct htstore_table *table;
    int rc = htstore_table_drop(s->store, "scratch", &s->error);

    if (rc == HTSTORE_ENOTFOUND || rc == 0)
        rc = htstore_table_create(s->store, "scratch", &schema, &table, &s->error);
    if (rc == 0)
        rc = insert_numbers(s, table, number);
    return rc ? rc : htstore_table_close(table, &s->error);
}

static int use_anonymous(struct oracle_store *s, int64_t number)
{
    struct htstore_schema schema = oracle_schema(0);
    int rc = 0;

    schema.flags |= HTSTORE_ANONYMOUS;
    if (!s->anonymous)
        rc = htstore_table_create(s->store, NULL, &schema, &s->anonymous, &s->error);
    return rc ? rc : insert_numbers(s, s->anonymous, number);
}

int oracle_disturb(struct oracle_store *s, const struct oracle *oracle)
{
    const int64_t number = (int64_t)oracle->position * N_ANONYMOUS_ROWS;
    struct oracle_plan plan;
    int rc = 0;

    oracle_make_plan(oracle->seed, oracle->position, &plan);
    if (oracle->position % 8 == 0)
        rc = use_anonymous(s, number);
    if (rc == 0 && plan.restructure)
        rc = restructure(s, number);
    if (rc == 0 && plan.sync)
        rc = htstore_sync(s->store, &s->error);
    if (rc == 0 && plan.flush)
        rc = htstore_flush(s->store, &s->error);
    return rc;
}

/* ---- reading ---- */

typedef uint32_t contents[ORACLE_N_TABLES][ORACLE_N_KEYS];

static enum oracle_verdict fail(char *why, enum oracle_verdict verdict, uint32_t table, const char *what,
                                int64_t number)
{
    (void)snprintf(why, WHY_SIZE, "table %s: %s (%jd)", oracle_table_name(table), what, (intmax_t)number);
    return verdict;
}

static enum oracle_verdict fail_call(char *why, const struct oracle_store *s, const char *call)
{
    (void)snprintf(why, WHY_SIZE, "%s: %.400s", call, s->error.message);
    return ORACLE_OPENFAIL;
}

static enum oracle_verdict look_up(struct oracle_store *s, uint64_t seed, uint32_t t, struct htstore_arena *arena,
                                   uint32_t versions[ORACLE_N_KEYS], char *why)
{
    uint32_t numbers[ORACLE_N_KEYS];
    uint8_t found[ORACLE_N_KEYS];

    for (uint32_t i = 0; i < ORACLE_N_KEYS; i++)
        numbers[i] = i;
    const struct htstore_array keys = oracle_keys(seed, t, numbers, ORACLE_N_KEYS);
    struct htstore_array values = oracle_room(t, ORACLE_N_KEYS, arena);
    if (htstore_table_lookup(s->tables[t], &keys, NULL, &values, found, &s->error) != 0)
        return fail_call(why, s, "lookup");
    for (uint32_t i = 0; i < ORACLE_N_KEYS; i++) {
        versions[i] = found[i] ? oracle_read_version(seed, t, i, &values, i) : ORACLE_ABSENT;
        if (versions[i] == ORACLE_BAD || (found[i] && versions[i] == ORACLE_ABSENT))
            return fail(why, ORACLE_CORRUPT, t, "lookup gives a value that was never written for key", i);
    }
    return ORACLE_OK;
}

/* Size and export must say the same as the lookups. */
static enum oracle_verdict compare_export(struct oracle_store *s, uint64_t seed, uint32_t t,
                                          struct htstore_arena *arena, const uint32_t versions[ORACLE_N_KEYS],
                                          char *why)
{
    bool seen[ORACLE_N_KEYS] = { false };
    struct htstore_array keys, values;
    uint64_t size, n = 0;

    for (uint32_t i = 0; i < ORACLE_N_KEYS; i++)
        n += versions[i] != ORACLE_ABSENT;
    if (htstore_table_size(s->tables[t], &size, &s->error) != 0)
        return fail_call(why, s, "size");
    if (size != n)
        return fail(why, ORACLE_CORRUPT, t, "the size is not the number of keys that are found", (int64_t)(size - n));
    if (htstore_table_export(s->tables[t], arena, &keys, &values, &s->error) != 0)
        return fail_call(why, s, "export");
    if (keys.shape[0] != (int64_t)n || values.shape[0] != (int64_t)n)
        return fail(why, ORACLE_CORRUPT, t, "the export has not as many rows as the size says", keys.shape[0]);
    for (uint64_t i = 0; i < n; i++) {
        const uint32_t key = oracle_read_key(seed, t, &keys, i);
        if (key == ORACLE_N_KEYS || seen[key])
            return fail(why, ORACLE_CORRUPT, t, "the export has a foreign key, or one twice, in row", (int64_t)i);
        seen[key] = true;
        if (oracle_read_version(seed, t, key, &values, i) != versions[key])
            return fail(why, ORACLE_CORRUPT, t, "export and lookup differ for key", key);
    }
    return ORACLE_OK;
}

static enum oracle_verdict read_contents(struct oracle_store *s, uint64_t seed, contents found, char *why)
{
    struct htstore_arena *arena;
    enum oracle_verdict verdict = ORACLE_OK;

    memset(found, 0, sizeof(contents));
    if (htstore_arena_new(&arena, &s->error) != 0)
        return fail_call(why, s, "arena");
    for (uint32_t t = 0; verdict == ORACLE_OK && t < ORACLE_N_TABLES; t++) {
        if (!s->tables[t])
            continue;
        htstore_arena_reset(arena);
        verdict = look_up(s, seed, t, arena, found[t], why);
        if (verdict == ORACLE_OK)
            verdict = compare_export(s, seed, t, arena, (const uint32_t *)found[t], why);
    }
    htstore_arena_free(arena);
    return verdict;
}

/* ---- judging ---- */

static bool is_same(const struct oracle *oracle, contents found)
{
    return memcmp(oracle->versions, found, sizeof oracle->versions) == 0;
}

static void describe(const struct oracle *oracle, contents found, char *why)
{
    for (uint32_t t = 0; t < ORACLE_N_TABLES; t++)
        for (uint32_t i = 0; i < ORACLE_N_KEYS; i++)
            if (oracle->versions[t][i] != found[t][i]) {
                (void)snprintf(why, WHY_SIZE, "table %s, key %u: version %u instead of %u of batch %ju",
                               oracle_table_name(t), i, found[t][i], oracle->versions[t][i],
                               (uintmax_t)oracle->position);
                return;
            }
}

/* The contents are none of the two that are allowed. Are they an older state, or between the two? */
static enum oracle_verdict judge(const struct oracle *acknowledged, const struct oracle *next, contents found,
                                 char *why)
{
    struct oracle *older = malloc(sizeof *older);
    bool lost = false, between = true;

    describe(acknowledged, found, why);
    if (!older)
        return ORACLE_CORRUPT;
    oracle_init(older, acknowledged->seed, 0);
    for (; !lost && older->position < acknowledged->position; oracle_advance(older))
        lost = is_same(older, found);
    free(older);
    for (uint32_t t = 0; t < ORACLE_N_TABLES; t++)
        for (uint32_t i = 0; i < ORACLE_N_KEYS; i++)
            between = between && (found[t][i] == acknowledged->versions[t][i] || found[t][i] == next->versions[t][i]);
    return lost ? ORACLE_LOST : between ? ORACLE_PARTIAL : ORACLE_CORRUPT;
}

enum oracle_verdict oracle_check(struct oracle_store *s, struct oracle *oracle, char why[WHY_SIZE])
{
    static contents found;
    static struct oracle next;
    const enum oracle_verdict verdict = read_contents(s, oracle->seed, found, why);

    if (verdict != ORACLE_OK)
        return verdict;
    if (is_same(oracle, found))
        return ORACLE_OK;
    next = *oracle;
    oracle_advance(&next);
    if (!is_same(&next, found))
        return judge(oracle, &next, found, why);
    *oracle = next;
    return ORACLE_OK;
}

enum oracle_verdict oracle_probe(struct oracle_store *s, int64_t number, char why[WHY_SIZE])
{
    const struct htstore_schema schema = oracle_schema(0);
    const struct htstore_array key = htstore_scalar(HTSTORE_INT64, &number);
    int64_t result = 0;
    struct htstore_array value = htstore_scalar(HTSTORE_INT64, &result);
    struct htstore_table *table;

    if (htstore_table_get_or_create(s->store, "probe", &schema, &table, &s->error) != 0)
        return fail_call(why, s, "create after recovery");
    if (htstore_table_insert(table, &key, &key, 0, &s->error) != 0)
        return fail_call(why, s, "insert after recovery");
    if (htstore_table_lookup(table, &key, NULL, &value, NULL, &s->error) != 0 || result != number)
        return fail_call(why, s, "lookup after recovery");
    return htstore_table_close(table, &s->error) == 0 ? ORACLE_OK : fail_call(why, s, "close of a table");
}

/* The tables are ours, "scratch" and "probe": anonymous ones of a killed process are gone. */
static enum oracle_verdict check_tables(struct oracle_store *s, char *why)
{
    struct htstore_stats stats = { .size = sizeof stats };
    struct htstore_arena *arena;
    const struct htstore_object *objects;
    uint64_t n = 0;
    int rc = htstore_arena_new(&arena, &s->error);

    if (rc == 0)
        rc = htstore_list(s->store, arena, &objects, &n, &s->error);
    if (rc == 0)
        rc = htstore_stats(s->store, &stats, &s->error);
    htstore_arena_free(arena);
    if (rc != 0)
        return fail_call(why, s, "list");
    if (n == stats.n_tables && n <= ORACLE_N_TABLES + 2)
        return ORACLE_OK;
    (void)snprintf(why, WHY_SIZE, "%ju tables, but %ju names", (uintmax_t)stats.n_tables, (uintmax_t)n);
    return ORACLE_CORRUPT;
}

enum oracle_verdict oracle_verify(const char *path, const struct htstore_options *options, struct oracle *oracle,
                                  bool crash, char why[WHY_SIZE])
{
    struct oracle_store s;
    enum oracle_verdict verdict;

    if (oracle_open(&s, path, options) != 0)
        return fail_call(why, &s, "open");
    verdict = check_tables(&s, why);
    if (verdict == ORACLE_OK)
        verdict = oracle_check(&s, oracle, why);
    if (verdict == ORACLE_OK)
        verdict = oracle_probe(&s, (int64_t)oracle->position + 1, why);
    if (verdict != ORACLE_OK)
        return verdict;
    if (oracle_close(&s) != 0)
        return fail_call(why, &s, "close");
    const uint64_t position = oracle->position;
    if (oracle_open(&s, path, options) != 0)
        return fail_call(why, &s, "open again");
    verdict = oracle_check(&s, oracle, why);
    if (verdict == ORACLE_OK && oracle->position != position) {
        (void)snprintf(why, WHY_SIZE, "a batch appeared after a clean close");
        verdict = ORACLE_CORRUPT;
    }
    if (verdict == ORACLE_OK && !crash && oracle_close(&s) != 0)
        verdict = fail_call(why, &s, "close again");
    return verdict;
}
