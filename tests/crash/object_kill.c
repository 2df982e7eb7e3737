/*
 * object_kill: kills changes of mappings and variables, and random sequences of them, at many of their system calls
 * (strike.h). Each step is a list of operations; a rehearsal tells what the store looks like after each of them. After a kill
 * it must look as after the last one acknowledged, or the one after that; nothing anonymous and no database is left over.
 *
 *     object_kill [--points=N] [STEP]...      N kills of each step, at most; 0: at every system call
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hash.h"
#include "htstore.h"
#include "kv.h"
#include "kvwalk.h"
#include "strike.h"

#define MAX_OPS 100
#define N_ELEMENTS 20000 /* of "v": three rows, written as a batch */
#define N_LARGE 9000000 /* of "large": built beside the old value */
#define N_MAPPINGS 3
#define N_KEYS 25
#define N_DROPPED 3
#define MAX_ID 2000
#define MAX_POLLS 200000

/* How the store looks after so many operations; in memory that survives children. */
static struct rehearsal {
    uint64_t looks[MAX_OPS + 1];
} * rehearsal;

static struct world {
    struct htstore *store;
    struct htstore_mapping *mapping[N_MAPPINGS];
    struct htstore_variable *v, *large;
    struct htstore_table *t;
    struct htstore_arena *arena;
    struct htstore_error error;
    bool has_large;
} w;

static int64_t *elements; /* N_LARGE of them, when they are needed */

static void must(int rc, const char *what)
{
    strike_must(rc, what, w.error.message);
}

/* These may also be refused, always in the same way. */
static void may(int rc, const char *what)
{
    if (rc != HTSTORE_EEXIST && rc != HTSTORE_EREFERENCED && rc != HTSTORE_ENOTFOUND)
        must(rc, what);
}

/* ---- the store ---- */

static struct htstore_array numbers(int64_t first, size_t n)
{
    if (!elements && !(elements = malloc(N_LARGE * sizeof *elements)))
        abort();
    for (size_t i = 0; i < n; i++)
        elements[i] = first * 1000003 + (int64_t)i;
    return htstore_vector(HTSTORE_INT64, elements, n);
}

static void make_variable(const char *name, int64_t first, size_t n, struct htstore_variable **variable)
{
    struct htstore_variable_schema schema = { .size = sizeof schema, .initial_value = numbers(first, n) };
    must(htstore_variable_get_or_create(w.store, name, &schema, variable, &w.error), "variable");
}

static void open_world(const char *path)
{
    const struct htstore_options options = {
        .size = sizeof options,
        .flags = HTSTORE_CREATE | (strike_seed % 2 ? HTSTORE_NO_PRELOAD : 0), /* objects in memory, or not */
        .cache_bytes = strike_seed % 2 ? 4096 : 0,
        .map_size = UINT64_C(1) << 30,
        .segment_bytes = 64u << 10,
    };
    const struct htstore_schema schema = { .size = sizeof schema,
                                           .key_dtype = HTSTORE_INT64,
                                           .default_value = htstore_scalar(HTSTORE_INT64, &options.map_size) };
    char name[8];
    must(htstore_open(path, &options, &w.store, &w.error), "open");
    must(htstore_arena_new(&w.arena, &w.error), "arena");
    for (int i = 0; i < N_MAPPINGS; i++) {
        (void)snprintf(name, sizeof name, "m%d", i);
        must(htstore_mapping_get_or_create(w.store, name, NULL, &w.mapping[i], &w.error), "mapping");
    }
    must(htstore_table_get_or_create(w.store, "t", &schema, &w.t, &w.error), "table");
    make_variable("v", 1, N_ELEMENTS, &w.v);
    if (w.has_large)
        make_variable("large", 1, N_LARGE, &w.large);
}

static void close_world(void)
{
    for (int i = 0; i < N_MAPPINGS; i++)
        must(htstore_mapping_close(w.mapping[i], &w.error), "close");
    must(htstore_table_close(w.t, &w.error), "close");
    must(htstore_variable_close(w.v, &w.error), "close");
    must(htstore_variable_close(w.large, &w.error), "close");
    htstore_arena_free(w.arena);
    must(htstore_close(w.store, &w.error), "close of the store");
    w = (struct world){ .has_large = w.has_large };
}

/* ---- how it looks ---- */

struct look {
    uint64_t hash;
    uint64_t seen[MAX_ID];
    size_t n_seen;
};

static void add(struct look *look, const void *data, size_t size)
{
    look->hash = hti_hash64(data, size, look->hash);
}

static void add_object(struct look *look, uint64_t id);

static void add_items(struct look *look, struct htstore_mapping *mapping)
{
    const struct htstore_item *items;
    uint64_t n;
    must(htstore_mapping_items(mapping, w.arena, &items, &n, &w.error), "items");
    for (uint64_t i = 0; i < n; i++) {
        add(look, items[i].key.data, items[i].key.size + 1);
        add_object(look, items[i].id);
    }
}

static void add_rows(struct look *look, struct htstore_table *table)
{
    int64_t keys[20], values[20];
    const struct htstore_array in = htstore_vector(HTSTORE_INT64, keys, 20);
    struct htstore_array out = htstore_vector(HTSTORE_INT64, values, 20);
    for (int64_t i = 0; i < 20; i++)
        keys[i] = i;
    must(htstore_table_lookup(table, &in, NULL, &out, NULL, &w.error), "lookup");
    add(look, values, sizeof values);
}

static void add_value(struct look *look, struct htstore_variable *variable, size_t n)
{
    struct htstore_array out = numbers(0, 1);
    out.shape[0] = (int64_t)n;
    must(htstore_variable_read(variable, &out, &w.error), "read");
    add(look, elements, n * sizeof *elements);
}

/* An anonymous object looks like what is in it; a second look at it, like the place of the first. */
static void add_object(struct look *look, uint64_t id)
{
    struct htstore_object object;
    void *handle;
    for (size_t i = 0; i < look->n_seen; i++)
        if (look->seen[i] == id) {
            add(look, &i, sizeof i);
            return;
        }
    if (look->n_seen == MAX_ID)
        strike_condemn(ORACLE_CORRUPT, "there are too many objects");
    look->seen[look->n_seen++] = id;
    must(htstore_describe(w.store, id, w.arena, &object, &w.error), "describe");
    add(look, object.name ? object.name : "", object.name ? strlen(object.name) : 0);
    add(look, &object.kind, sizeof object.kind);
    add(look, &object.flags, sizeof object.flags);
    must(htstore_object_open(w.store, id, NULL, &handle, &w.error), "open of an object");
    if (object.kind == HTSTORE_KIND_MAPPING)
        add_items(look, handle);
    else if (object.kind == HTSTORE_KIND_TABLE)
        add_rows(look, handle);
    else
        add_value(look, handle, (size_t)object.n_rows);
    must(htstore_object_close(handle, &w.error), "close of an object");
}

static uint64_t take_look(bool *leftovers)
{
    static struct look look;
    const struct htstore_object *list;
    struct htstore_object object;
    uint64_t n, n_all = 0;
    look = (struct look){ .hash = 1 };
    must(htstore_list(w.store, w.arena, &list, &n, &w.error), "list");
    for (uint64_t i = 0; i < n; i++)
        add_object(&look, list[i].id);
    for (uint64_t id = 1; id <= MAX_ID; id++)
        n_all += htstore_describe(w.store, id, w.arena, &object, &w.error) == 0;
    *leftovers = n_all != look.n_seen;
    htstore_arena_reset(w.arena);
    return look.hash;
}

/* ---- databases in the file ---- */

static int count_database(void *user, const uint8_t *name, size_t name_size, const struct hti_kvpage_tree *tree)
{
    uint64_t number;
    (void)tree;
    *(unsigned *)user += hti_kv_parse_name((struct hti_kv_bytes){ name, name_size }, &number);
    return 0;
}

static void ignore_page(void *user, uint64_t page, const char *reason)
{
    (void)user;
    (void)page;
    (void)reason;
}

static unsigned count_databases(void)
{
    char path[FOLDER_PATH_SIZE + 32];
    struct hti_kvwalk *walk;
    unsigned n = 0;
    (void)snprintf(path, sizeof path, "%s/data.mdb", strike_path);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && hti_kvwalk_open(fd, false, path, &walk, NULL) == 0) {
        (void)hti_kvwalk_list_trees(walk, count_database, ignore_page, &n, NULL);
        hti_kvwalk_close(walk);
    }
    close(fd);
    return n;
}

/* One for the catalogue and one for each object with rows; the flusher's thread deletes the others. */
static void expect_databases(void)
{
    unsigned expected = 1, n = 0;
    struct htstore_object object;
    for (uint64_t id = 1; id <= MAX_ID; id++)
        if (htstore_describe(w.store, id, w.arena, &object, &w.error) == 0)
            expected += object.kind != HTSTORE_KIND_MAPPING && object.stored_bytes > 0;
    for (int i = 0; i < MAX_POLLS && (n = count_databases()) != expected; i++)
        sched_yield();
    if (n == expected)
        return;
    (void)fprintf(stderr, "%u databases instead of %u\n", n, expected);
    strike_condemn(ORACLE_CORRUPT, "a database is left over");
}

/* ---- operations: the k-th of a step ---- */

static struct htstore_bytes key_of(unsigned k, char space[16])
{
    (void)snprintf(space, 16, "k%u", k);
    return htstore_string(space);
}

static void op_put(unsigned k)
{
    char space[16];
    const struct htstore_bytes key = key_of(k, space);
    must(htstore_mapping_put(w.mapping[0], &key, k % 2 ? (void *)w.v : w.t, &w.error), "put");
}

static void op_update(unsigned k)
{
    static struct htstore_bytes large = { NULL, 60000 };
    char space[3][16];
    if (!large.data)
        large.data = memset(calloc(1, large.size), 'x', large.size);
    const struct htstore_entry entries[] = { { key_of(3 * k, space[0]), w.v },
                                             { key_of(3 * k + 1, space[1]), w.mapping[0] },
                                             { large, w.t },
                                             { key_of(3 * k + 2, space[2]), w.mapping[1] } };
    must(htstore_mapping_update(w.mapping[0], entries, 4, &w.error), "update");
}

/* A row of its own, not flushed, becomes durable with the put. */
static void op_put_anonymous(unsigned k)
{
    const int64_t one = 1, value = k + 77;
    const struct htstore_array in = htstore_scalar(HTSTORE_INT64, &one), out = htstore_scalar(HTSTORE_INT64, &value);
    struct htstore_table *table;
    char space[16];
    const struct htstore_bytes key = key_of(k, space);
    const struct htstore_schema schema = { .size = sizeof schema,
                                           .flags = HTSTORE_ANONYMOUS,
                                           .key_dtype = HTSTORE_INT64,
                                           .default_value = htstore_scalar(HTSTORE_INT64, &one) };
    must(htstore_table_create(w.store, NULL, &schema, &table, &w.error), "anonymous table");
    must(htstore_table_insert(table, &in, &out, HTSTORE_LAZY, &w.error), "insert");
    may(htstore_mapping_put(w.mapping[k % N_MAPPINGS], &key, table, &w.error), "put");
    must(htstore_table_close(table, &w.error), "close");
}

static void op_make_mapping(unsigned k)
{
    const struct htstore_entry entries[] = { { htstore_string("b"), w.v }, { htstore_string("a"), w.mapping[k % 3] } };
    struct htstore_mapping *made;
    char space[16];
    (void)key_of(k, space);
    must(htstore_mapping_create(w.store, space, NULL, entries, 2, &made, &w.error), "create");
    must(htstore_mapping_close(made, &w.error), "close");
}

static void op_make_variable(unsigned k)
{
    struct htstore_variable *made;
    char space[16];
    (void)key_of(k, space);
    make_variable(space, k, N_ELEMENTS, &made);
    must(htstore_variable_close(made, &w.error), "close");
}

static void op_make_or_drop_variable(unsigned k)
{
    char space[16];
    (void)key_of(k % N_DROPPED, space);
    if (htstore_variable_drop(w.store, space, &w.error) != 0)
        op_make_variable(k % N_DROPPED);
}

static void op_assign(unsigned k)
{
    const struct htstore_array value = numbers(k + 10, N_ELEMENTS);
    must(htstore_variable_assign(w.v, &value, &w.error), "assign");
}

static void op_assign_slice(unsigned k)
{
    const struct htstore_array value = numbers(k + 10, 9000);
    must(htstore_variable_assign_slice(w.v, 100 * k % 10000, &value, &w.error), "assign");
}

static void op_assign_large(unsigned k)
{
    const struct htstore_array value = numbers(k + 10, N_LARGE);
    must(htstore_variable_assign(w.large, &value, &w.error), "assign");
}

static void op_flag(unsigned k)
{
    struct htstore_mapping *mapping = w.mapping[k % N_MAPPINGS];
    must(htstore_mapping_set_trainable(mapping, !htstore_mapping_is_trainable(mapping), &w.error), "flag");
}

/* Two anonymous mappings that hold each other: made, and left. */
static void op_island(unsigned k)
{
    const struct htstore_mapping_schema schema = { .size = sizeof schema, .flags = HTSTORE_ANONYMOUS };
    struct htstore_entry entry = { htstore_string("x"), w.v };
    struct htstore_mapping *a, *b;
    const struct htstore_bytes key = htstore_string("y");
    (void)k;
    must(htstore_mapping_create(w.store, NULL, &schema, &entry, 1, &a, &w.error), "create");
    entry.object = a;
    must(htstore_mapping_create(w.store, NULL, &schema, &entry, 1, &b, &w.error), "create");
    must(htstore_mapping_put(a, &key, b, &w.error), "put");
    must(htstore_mapping_close(a, &w.error), "close");
    must(htstore_mapping_close(b, &w.error), "close");
}

static void op_insert(unsigned k)
{
    const int64_t key = k % 20, value = k;
    const struct htstore_array keys = htstore_scalar(HTSTORE_INT64, &key), in = htstore_scalar(HTSTORE_INT64, &value);
    must(htstore_table_insert(w.t, &keys, &in, HTSTORE_LAZY, &w.error), "insert");
}

/* Keys and objects at random: most are refused in the end. */
static void op_random_update(uint64_t random)
{
    void *const objects[] = { w.t, w.v, w.mapping[0], w.mapping[1] };
    struct htstore_entry entries[4];
    char space[4][16];
    const uint64_t n = 1 + random % 4;
    for (uint64_t i = 0; i < n; i++, random /= 100)
        entries[i] = (struct htstore_entry){ key_of((unsigned)(random % N_KEYS), space[i]), objects[random % 7 % 4] };
    may(htstore_mapping_update(w.mapping[random % N_MAPPINGS], entries, n, &w.error), "update");
}

static void op_random(unsigned k)
{
    static void (*const others[])(unsigned) = {
        op_put_anonymous, op_make_or_drop_variable, op_assign, op_assign_slice, op_flag, op_island, op_insert
    };
    uint64_t state = strike_seed * 1000 + k;
    const uint64_t random = oracle_random(&state);
    const struct htstore_bytes base = htstore_string("track");
    if (random % 16 < 7)
        others[random % 16](k);
    else if (random % 16 == 7)
        must(htstore_mapping_track(w.mapping[1], &base, w.t, NULL, NULL, &w.error), "track");
    else if (random % 16 == 8)
        must(htstore_flush(w.store, &w.error), "flush");
    else
        op_random_update(random / 16);
}

/* ---- steps ---- */

static void act(void (*op)(unsigned), unsigned n)
{
    open_world(strike_path);
    strike_begin();
    for (unsigned k = 0; k < n; k++) {
        op(k);
        strike_report->position = k + 1;
    }
    strike_end();
}

static void prepare(void (*op)(unsigned), unsigned n)
{
    char scratch[FOLDER_PATH_SIZE + 32];
    bool leftovers;
    (void)snprintf(scratch, sizeof scratch, "%s.rehearsal", strike_path);
    open_world(scratch);
    for (unsigned k = 0; k <= n; k++) {
        rehearsal->looks[k] = take_look(&leftovers);
        if (leftovers)
            strike_condemn(ORACLE_CORRUPT, "the rehearsal leaves something over");
        if (k < n)
            op(k);
    }
    close_world();
    if (!folder_remove(scratch))
        strike_condemn(ORACLE_OPENFAIL, "cannot remove the rehearsal");
    open_world(strike_path);
    close_world();
}

static void check(void)
{
    const uint64_t position = strike_report->position;
    bool leftovers;
    open_world(strike_path);
    const uint64_t look = take_look(&leftovers);
    if (leftovers)
        strike_condemn(ORACLE_CORRUPT, "objects that nothing reaches are left over");
    if (look != rehearsal->looks[position] && (strike_report->done || look != rehearsal->looks[position + 1])) {
        for (uint64_t k = 0; k < position; k++)
            if (look == rehearsal->looks[k])
                strike_condemn(ORACLE_LOST, "an older state");
        strike_condemn(ORACLE_CORRUPT, "a state that never was");
    }
    expect_databases();
    op_put_anonymous(90000); /* it goes on */
    close_world();
    open_world(strike_path);
    if (take_look(&leftovers) == look || leftovers)
        strike_condemn(ORACLE_LOST, "the put after recovery");
    close_world();
}

#define STEP(name, op, n)                                                                                              \
    static void prepare_##name(void)                                                                                   \
    {                                                                                                                  \
        prepare(op, n);                                                                                                \
    }                                                                                                                  \
    static void act_##name(void)                                                                                       \
    {                                                                                                                  \
        act(op, n);                                                                                                    \
    }

STEP(put, op_put, 2)
STEP(update, op_update, 1)
STEP(put_anonymous, op_put_anonymous, 2)
STEP(make_mapping, op_make_mapping, 1)
STEP(make_variable, op_make_variable, 1)
STEP(drop_variable, op_make_or_drop_variable, 6)
STEP(assign, op_assign, 2)
STEP(flag, op_flag, 2)
STEP(island, op_island, 1)
STEP(random, op_random, MAX_OPS)

static void prepare_large(void)
{
    w.has_large = true;
    prepare(op_assign_large, 1);
}

static void act_large(void)
{
    w.has_large = true;
    act(op_assign_large, 1);
}

static void check_large(void)
{
    w.has_large = true;
    check();
}

static const struct strike_step steps[] = {
    { "put", prepare_put, act_put, check, 0, false },
    { "update", prepare_update, act_update, check, 0, false },
    { "put-anonymous", prepare_put_anonymous, act_put_anonymous, check, 0, false },
    { "make-mapping", prepare_make_mapping, act_make_mapping, check, 0, false },
    { "make-variable", prepare_make_variable, act_make_variable, check, 0, false },
    { "drop-variable", prepare_drop_variable, act_drop_variable, check, 0, false },
    { "assign", prepare_assign, act_assign, check, 0, false },
    { "assign-large", prepare_large, act_large, check_large, 6, false },
    { "flag", prepare_flag, act_flag, check, 0, false },
    { "island", prepare_island, act_island, check, 0, false },
    { "random", prepare_random, act_random, check, 0, false },
};

static void begin(void)
{
}

int main(int argc, char **argv)
{
    rehearsal = mmap(NULL, sizeof *rehearsal, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (rehearsal == MAP_FAILED)
        return EXIT_FAILURE;
    return strike_main(argc, argv, steps, sizeof steps / sizeof *steps, begin);
}
