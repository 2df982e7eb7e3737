/* oracle: hides how a seed becomes keys, values and batches. */
#include "oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GAMMA 0x9E3779B97F4A7C15u
#define LONG_KEY_SIZE 600 /* longer than what LMDB takes */
#define MAX_VALUE_SIZE 8192
#define VECTOR_SIZE 3

enum value_kind { INTEGERS, TEXTS, VECTORS };

static const struct {
    const char *name;
    uint32_t key_dtype;
    enum value_kind value_kind;
} tables[ORACLE_N_TABLES] = {
    { "counts", HTSTORE_INT64, INTEGERS }, { "words", HTSTORE_STRING, INTEGERS }, { "texts", HTSTORE_INT64, TEXTS },
    { "vectors", HTSTORE_INT64, VECTORS }, { "phrases", HTSTORE_STRING, TEXTS },  { "sums", HTSTORE_INT64, INTEGERS },
};

const char *oracle_verdict_name(enum oracle_verdict verdict)
{
    static const char *const names[] = { "OK", "LOST", "PARTIAL", "CORRUPT", "OPENFAIL", "CRASH", "HANG" };
    return names[verdict];
}

/* ---- numbers ---- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

static uint64_t unmix(uint64_t x)
{
    x = (x ^ (x >> 31) ^ (x >> 62)) * 0x319642B2D24D8EC3u;
    x = (x ^ (x >> 27) ^ (x >> 54)) * 0x96DE1B173F119089u;
    return x ^ (x >> 30) ^ (x >> 60);
}

uint64_t oracle_random(uint64_t *state)
{
    *state += GAMMA;
    return mix(*state);
}

static uint32_t below(uint64_t *state, uint32_t n)
{
    return (uint32_t)(oracle_random(state) % n);
}

/* ---- batches ---- */

static enum oracle_kind choose_kind(uint64_t *state, bool alone)
{
    const uint32_t dice = below(state, 100);

    if (dice < 2)
        return ORACLE_CLEAR;
    if (dice < 22)
        return ORACLE_REMOVE;
    return alone && dice < 40 ? ORACLE_INSERT_NEW : ORACLE_INSERT;
}

static void plan_op(uint64_t *state, uint64_t batch, bool alone, struct oracle_op *op)
{
    const uint32_t range = batch < ORACLE_N_KEYS / 4 - 8 ? (uint32_t)batch * 4 + 8 : ORACLE_N_KEYS;

    op->kind = choose_kind(state, alone);
    op->n_rows = op->kind == ORACLE_CLEAR ? 0 : 1 + below(state, below(state, 4) ? 8 : ORACLE_MAX_ROWS);
    for (uint32_t i = 0; i < op->n_rows; i++)
        op->keys[i] = below(state, range);
}

void oracle_make_plan(uint64_t seed, uint64_t batch, struct oracle_plan *plan)
{
    uint64_t state = mix(seed + GAMMA) ^ batch;

    memset(plan, 0, sizeof *plan);
    plan->n_ops = 1 + (below(&state, 4) == 0);
    for (uint32_t i = 0; i < plan->n_ops; i++)
        plan_op(&state, batch, plan->n_ops == 1, &plan->ops[i]);
    plan->ops[0].table = below(&state, ORACLE_N_TABLES);
    plan->ops[1].table = (plan->ops[0].table + 1 + below(&state, ORACLE_N_TABLES - 1)) % ORACLE_N_TABLES;
    plan->durability = below(&state, 4);
    plan->flush = below(&state, 25) == 0;
    plan->sync = below(&state, 15) == 0;
    plan->restructure = below(&state, 20) == 0;
}

/* ---- the model ---- */

void oracle_init(struct oracle *oracle, uint64_t seed, uint64_t position)
{
    memset(oracle, 0, sizeof *oracle);
    oracle->seed = seed;
    while (oracle->position < position)
        oracle_advance(oracle);
}

static void apply(struct oracle *oracle, const struct oracle_op *op)
{
    uint32_t *versions = oracle->versions[op->table];

    if (op->kind == ORACLE_CLEAR)
        memset(versions, 0, sizeof oracle->versions[op->table]);
    for (uint32_t i = 0; i < op->n_rows; i++) {
        uint32_t *version = &versions[op->keys[i]];
        if (op->kind == ORACLE_REMOVE)
            *version = ORACLE_ABSENT;
        else if (op->kind == ORACLE_INSERT || *version == ORACLE_ABSENT)
            *version = (uint32_t)oracle->position;
    }
}

void oracle_advance(struct oracle *oracle)
{
    struct oracle_plan plan;

    oracle->position++;
    oracle_make_plan(oracle->seed, oracle->position, &plan);
    for (uint32_t i = 0; i < plan.n_ops; i++)
        apply(oracle, &plan.ops[i]);
}

/* ---- keys ---- */

const char *oracle_table_name(uint32_t table)
{
    return tables[table].name;
}

static uint64_t key_base(uint64_t seed, uint32_t table)
{
    return mix(seed ^ (table + 1) * GAMMA);
}

/* Sixteen digits and a tail of some length; the first key is the empty one, a few are long. */
static struct htstore_bytes make_text_key(uint64_t seed, uint32_t table, uint32_t key, char *out)
{
    const size_t tail = key % 97 == 13 ? LONG_KEY_SIZE : key * 7 % 40;
    struct htstore_bytes bytes = { out, 0 };

    if (key == 0)
        return bytes;
    (void)sprintf(out, "%016jx", (uintmax_t)mix(key_base(seed, table) + key));
    for (bytes.size = 16; bytes.size < 16 + tail; bytes.size++)
        out[bytes.size] = (char)('a' + bytes.size % 26);
    return bytes;
}

struct htstore_array oracle_keys(uint64_t seed, uint32_t table, const uint32_t *keys, uint32_t n)
{
    static char space[ORACLE_N_KEYS][LONG_KEY_SIZE + 32];
    static struct htstore_bytes strings[ORACLE_N_KEYS];
    static int64_t integers[ORACLE_N_KEYS];
    const bool is_text = tables[table].key_dtype == HTSTORE_STRING;

    for (uint32_t i = 0; i < n; i++) {
        if (is_text)
            strings[i] = make_text_key(seed, table, keys[i], space[i]);
        else
            integers[i] = (int64_t)mix(key_base(seed, table) + keys[i]);
    }
    return is_text ? htstore_vector(HTSTORE_STRING, strings, n) : htstore_vector(HTSTORE_INT64, integers, n);
}

static uint32_t find_key(uint64_t seed, uint32_t table, uint64_t mixed)
{
    const uint64_t key = unmix(mixed) - key_base(seed, table);
    return key < ORACLE_N_KEYS ? (uint32_t)key : ORACLE_N_KEYS;
}

static uint32_t read_text_key(uint64_t seed, uint32_t table, struct htstore_bytes bytes)
{
    char digits[17], again[LONG_KEY_SIZE + 32];

    if (bytes.size == 0)
        return 0;
    if (bytes.size < 16)
        return ORACLE_N_KEYS;
    memcpy(digits, bytes.data, 16);
    digits[16] = '\0';
    const uint32_t key = find_key(seed, table, strtoull(digits, NULL, 16));
    if (key == 0 || key == ORACLE_N_KEYS)
        return ORACLE_N_KEYS;
    const struct htstore_bytes expected = make_text_key(seed, table, key, again);
    return expected.size == bytes.size && memcmp(again, bytes.data, bytes.size) == 0 ? key : ORACLE_N_KEYS;
}

uint32_t oracle_read_key(uint64_t seed, uint32_t table, const struct htstore_array *keys, uint64_t i)
{
    if (tables[table].key_dtype == HTSTORE_STRING)
        return read_text_key(seed, table, ((const struct htstore_bytes *)keys->data)[i]);
    return find_key(seed, table, (uint64_t)((const int64_t *)keys->data)[i]);
}

/* ---- values ---- */

static uint64_t fingerprint(uint64_t seed, uint32_t table, uint32_t key, uint32_t version)
{
    return mix(mix(key_base(seed, table) + key) + version * GAMMA);
}

static int64_t make_integer(uint64_t print, uint32_t version)
{
    return (int64_t)((uint64_t)version << 32 | (print & UINT32_MAX));
}

/* The version, the fingerprint, and a tail of some length; one in three needs pages of its own. */
static size_t make_text(uint64_t print, uint32_t version, char *out)
{
    const size_t size = 16 + (size_t)(print % 3 ? print % 251 : 2000 + print % 6000);
    const uint64_t wide = version;

    memcpy(out, &wide, sizeof wide);
    memcpy(out + 8, &print, sizeof print);
    for (size_t i = 16; i < size; i++)
        out[i] = (char)(print + i * i);
    return size;
}

static void make_vector(uint64_t print, uint32_t version, float out[VECTOR_SIZE])
{
    out[0] = (float)(version & 0xffffff);
    out[1] = (float)(print & 0xffffff);
    out[2] = (float)(print >> 24 & 0xffffff);
}

struct htstore_array oracle_values(uint64_t seed, uint32_t table, const uint32_t *keys, uint32_t n, uint32_t version)
{
    static char space[ORACLE_MAX_ROWS][MAX_VALUE_SIZE];
    static struct htstore_bytes strings[ORACLE_MAX_ROWS];
    static int64_t integers[ORACLE_MAX_ROWS];
    static float vectors[ORACLE_MAX_ROWS][VECTOR_SIZE];

    for (uint32_t i = 0; i < n; i++) {
        const uint64_t print = fingerprint(seed, table, keys[i], version);
        integers[i] = make_integer(print, version);
        make_vector(print, version, vectors[i]);
        if (tables[table].value_kind == TEXTS)
            strings[i] = (struct htstore_bytes){ space[i], make_text(print, version, space[i]) };
    }
    if (tables[table].value_kind == INTEGERS)
        return htstore_vector(HTSTORE_INT64, integers, n);
    return tables[table].value_kind == TEXTS ? htstore_vector(HTSTORE_STRING, strings, n)
                                             : htstore_matrix(HTSTORE_FLOAT32, vectors, n, VECTOR_SIZE);
}

struct htstore_array oracle_room(uint32_t table, uint32_t n, struct htstore_arena *arena)
{
    static struct htstore_bytes strings[ORACLE_N_KEYS];
    static int64_t integers[ORACLE_N_KEYS];
    static float vectors[ORACLE_N_KEYS][VECTOR_SIZE];
    struct htstore_array room = htstore_matrix(HTSTORE_FLOAT32, vectors, n, VECTOR_SIZE);

    if (tables[table].value_kind == INTEGERS)
        room = htstore_vector(HTSTORE_INT64, integers, n);
    else if (tables[table].value_kind == TEXTS)
        room = htstore_vector(HTSTORE_STRING, strings, n);
    room.arena = arena;
    return room;
}

static uint32_t read_text(uint64_t seed, uint32_t table, uint32_t key, struct htstore_bytes bytes)
{
    char again[MAX_VALUE_SIZE];
    uint64_t version;

    if (bytes.size < 16)
        return ORACLE_BAD;
    memcpy(&version, bytes.data, sizeof version);
    if (version >= ORACLE_BAD)
        return ORACLE_BAD;
    const size_t size = make_text(fingerprint(seed, table, key, (uint32_t)version), (uint32_t)version, again);
    return size == bytes.size && memcmp(again, bytes.data, size) == 0 ? (uint32_t)version : ORACLE_BAD;
}

static uint32_t read_vector(uint64_t seed, uint32_t table, uint32_t key, const float *vector)
{
    float again[VECTOR_SIZE];

    if (!(vector[0] >= 0 && vector[0] <= 0xffffff))
        return ORACLE_BAD;
    const uint32_t version = (uint32_t)vector[0];
    make_vector(fingerprint(seed, table, key, version), version, again);
    return memcmp(again, vector, sizeof again) == 0 ? version : ORACLE_BAD;
}

uint32_t oracle_read_version(uint64_t seed, uint32_t table, uint32_t key, const struct htstore_array *values,
                             uint64_t i)
{
    if (tables[table].value_kind == TEXTS)
        return read_text(seed, table, key, ((const struct htstore_bytes *)values->data)[i]);
    if (tables[table].value_kind == VECTORS)
        return read_vector(seed, table, key, (const float *)values->data + i * VECTOR_SIZE);
    const int64_t integer = ((const int64_t *)values->data)[i];
    const uint32_t version = (uint32_t)((uint64_t)integer >> 32);
    return integer == make_integer(fingerprint(seed, table, key, version), version) ? version : ORACLE_BAD;
}

struct htstore_schema oracle_schema(uint32_t table)
{
    static const int64_t integer = -1;
    static const float vector[VECTOR_SIZE] = { -1, -1, -1 };
    static const struct htstore_bytes text = { "-", 1 };
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = tables[table].key_dtype };

    if (tables[table].value_kind == INTEGERS)
        schema.default_value = htstore_scalar(HTSTORE_INT64, &integer);
    else if (tables[table].value_kind == TEXTS)
        schema.default_value = htstore_scalar(HTSTORE_STRING, &text);
    else
        schema.default_value = htstore_vector(HTSTORE_FLOAT32, vector, VECTOR_SIZE);
    return schema;
}
