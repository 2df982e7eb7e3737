/* check_aggregates: semantics.md 2.4: layers, weights, losses and updates below a mapping. */
#include "api_objects.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- by hand ---- */

START_TEST(layers_are_listed_and_not_entered)
{
    struct htstore_mapping *root = new_mapping("root", HTSTORE_LAYER), *plain = new_mapping("plain", 0);
    struct htstore_mapping *a = new_mapping("a", HTSTORE_LAYER), *b = new_mapping("b", HTSTORE_LAYER);
    struct htstore_mapping *inner = new_mapping("inner", HTSTORE_LAYER);
    LISTS(root, HTSTORE_LAYERS, "");
    PUT(root, "z", b);
    PUT(root, "p", plain);
    PUT(root, "a", a);
    PUT(root, "again", a);
    PUT(root, "t", new_table("t"));
    PUT(plain, "i", inner);
    PUT(plain, "root", root); /* a cycle */
    PUT(a, "hidden", new_mapping("hidden", HTSTORE_LAYER));
    PUT(b, "b", b);
    LISTS(root, HTSTORE_LAYERS, "a inner b"); /* by keys: a, again, p, t, z */
    LISTS(plain, HTSTORE_LAYERS, "inner root");
    LISTS(a, HTSTORE_LAYERS, "hidden");
    LISTS(b, HTSTORE_LAYERS, "");
}
END_TEST

START_TEST(keys_are_in_the_order_of_their_bytes)
{
    struct htstore_mapping *root = new_mapping("root", 0);
    static const char *const keys[] = { "\xc3\xa9", "ab", "a", "", "b", "A" };
    for (size_t i = 0; i < 6; i++)
        PUT(root, keys[i], new_mapping(keys[i][0] ? keys[i] : "empty", HTSTORE_LAYER));
    LISTS(root, HTSTORE_LAYERS, "empty A a ab b \xc3\xa9");
}
END_TEST

START_TEST(losses_and_updates_are_those_of_layers)
{
    struct htstore_mapping *root = new_mapping("root", 0), *l = new_mapping("l", HTSTORE_LAYER);
    struct htstore_mapping *n = new_mapping("n", 0), *deep = new_mapping("deep", HTSTORE_LAYER);
    PUT(root, "x", new_variable("root_loss", HTSTORE_LOSS, 0, "1"));
    PUT(root, "n", n);
    PUT(root, "l", l);
    PUT(l, "2", new_variable("l2", HTSTORE_LOSS, HTSTORE_NOT_TRAINABLE, "1"));
    PUT(l, "1", new_variable("l1", HTSTORE_LOSS, 0, "1"));
    PUT(l, "0", get_variable("l2"));
    PUT(l, "u", new_variable("u", HTSTORE_UPDATE, 0, "1"));
    PUT(l, "w", new_variable("w", HTSTORE_WEIGHT, 0, "1"));
    PUT(l, "deep", deep);
    PUT(n, "d", deep);
    PUT(n, "x", new_variable("n_loss", HTSTORE_LOSS, 0, "1"));
    PUT(deep, "x", new_variable("deep_loss", HTSTORE_LOSS, 0, "1"));
    PUT(deep, "y", new_variable("deep_update", HTSTORE_UPDATE, 0, "1"));
    PUT(deep, "up", root);
    LISTS(root, HTSTORE_LOSSES, "l2 l1 deep_loss");
    LISTS(root, HTSTORE_UPDATES, "u deep_update");
    LISTS(l, HTSTORE_LOSSES, "l2 l1 deep_loss");
    LISTS(n, HTSTORE_LOSSES, "deep_loss l2 l1"); /* from n: d, which leads up to root, and down to l */
    LISTS(root, HTSTORE_WEIGHTS, "w");
    OK(htstore_mapping_set_trainable(l, 0, &api.error));
    LISTS(root, HTSTORE_LOSSES, "l2 l1 deep_loss");
}
END_TEST

START_TEST(subs_come_before_the_weights_of_a_mapping)
{
    struct htstore_mapping *m = new_mapping("m", 0), *s = new_mapping("s", HTSTORE_LAYER), *r = new_mapping("r", 0);
    PUT(m, "v", new_variable("v1", 0, 0, "1"));
    PUT(m, "s", s);
    PUT(m, "f", new_variable("f1", 0, HTSTORE_NOT_TRAINABLE, "1"));
    PUT(m, "r", r);
    PUT(s, "v", new_variable("v2", 0, 0, "1"));
    PUT(s, "f", new_variable("f2", 0, HTSTORE_NOT_TRAINABLE, "1"));
    PUT(r, "v", new_variable("v3", 0, 0, "1"));
    PUT(r, "shared", get_variable("v1"));
    LISTS(m, HTSTORE_TRAINABLE_WEIGHTS, "v3 v1 v2");
    LISTS(m, HTSTORE_NON_TRAINABLE_WEIGHTS, "f2 f1");
    LISTS(m, HTSTORE_WEIGHTS, "v3 v1 v2 f2 f1");
    OK(htstore_mapping_set_trainable(s, 0, &api.error));
    LISTS(m, HTSTORE_TRAINABLE_WEIGHTS, "v3 v1");
    LISTS(m, HTSTORE_NON_TRAINABLE_WEIGHTS, "v2 f2 f1");
    OK(htstore_mapping_set_trainable(m, 0, &api.error));
    LISTS(m, HTSTORE_TRAINABLE_WEIGHTS, "");
    LISTS(m, HTSTORE_NON_TRAINABLE_WEIGHTS, "v3 v1 v2 f2 f1");
    LISTS(s, HTSTORE_WEIGHTS, "v2 f2");
    objects_reopen();
    LISTS(get_mapping("m"), HTSTORE_NON_TRAINABLE_WEIGHTS, "v3 v1 v2 f2 f1");
}
END_TEST

START_TEST(a_weight_that_is_trainable_by_one_way_is_in_one_list)
{
    struct htstore_mapping *m = new_mapping("m", 0), *a = new_mapping("a", 0), *b = new_mapping("b", 0);
    struct htstore_variable *v = new_variable("v", 0, 0, "1");
    PUT(m, "a", a);
    PUT(m, "b", b);
    PUT(a, "v", v);
    PUT(b, "v", v);
    OK(htstore_mapping_set_trainable(a, 0, &api.error));
    LISTS(m, HTSTORE_TRAINABLE_WEIGHTS, "v");
    LISTS(m, HTSTORE_NON_TRAINABLE_WEIGHTS, "");
    LISTS(m, HTSTORE_WEIGHTS, "v");
}
END_TEST

/* ---- against the words of the rules, on random graphs ---- */

#define N_MAPPINGS 8
#define N_VARIABLES 10
#define N_ENTRIES 40
#define N_OBJECTS (N_MAPPINGS + N_VARIABLES)

struct graph {
    struct htstore_mapping *mapping[N_MAPPINGS];
    struct htstore_variable *variable[N_VARIABLES];
    struct model {
        bool is_mapping, layer, trainable;
        uint32_t role;
        uint64_t id;
        struct {
            unsigned key; /* also its place in the order of keys */
            unsigned object;
        } entries[N_ENTRIES];
        size_t n_entries;
    } model[N_OBJECTS];
};

struct list {
    uint64_t ids[N_OBJECTS];
    size_t n;
    bool done[2][N_OBJECTS]; /* mappings expanded, by T and by N */
};

static void add_once(struct list *list, uint64_t id)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->ids[i] == id)
            return;
    list->ids[list->n++] = id;
}

static unsigned random_below(unsigned n)
{
    return (unsigned)rand() % n;
}

static void make_graph(struct graph *g)
{
    memset(g, 0, sizeof *g);
    for (unsigned i = 0; i < N_OBJECTS; i++) {
        struct model *m = &g->model[i];
        m->is_mapping = i < N_MAPPINGS;
        m->trainable = random_below(3) != 0;
        m->layer = random_below(2);
        m->role = 1 + random_below(3);
        const uint32_t flags = m->trainable ? 0 : HTSTORE_NOT_TRAINABLE;
        if (m->is_mapping)
            g->mapping[i] = new_mapping(NULL, flags | (m->layer ? HTSTORE_LAYER : 0));
        else
            g->variable[i - N_MAPPINGS] = new_variable(NULL, m->role, flags, "0");
        m->id = htstore_object_id(m->is_mapping ? (void *)g->mapping[i] : g->variable[i - N_MAPPINGS]);
    }
    for (unsigned i = 0; i < N_ENTRIES; i++) {
        const unsigned from = random_below(N_MAPPINGS), to = random_below(N_OBJECTS), key = random_below(100);
        struct model *m = &g->model[from];
        char text[8];
        (void)snprintf(text, sizeof text, "%02u", key);
        const int rc = objects_put(g->mapping[from], text,
                                   to < N_MAPPINGS ? (void *)g->mapping[to] : g->variable[to - N_MAPPINGS]);
        if (rc != 0 || htstore_mapping_size(g->mapping[from]) == m->n_entries)
            continue; /* the key is used */
        m->entries[m->n_entries].key = key;
        m->entries[m->n_entries++].object = to;
    }
}

/* The next sub in key order at or after *key; N_OBJECTS: none. */
static unsigned next_sub(const struct graph *g, unsigned mapping, unsigned *key)
{
    const struct model *m = &g->model[mapping];
    unsigned best = N_OBJECTS, at = 100;
    for (size_t i = 0; i < m->n_entries; i++)
        if (m->entries[i].object < N_MAPPINGS && m->entries[i].key >= *key && m->entries[i].key < at) {
            at = m->entries[i].key;
            best = m->entries[i].object;
        }
    *key = at + 1;
    return best;
}

#define FOR_SUBS(g, m, s) for (unsigned key_ = 0, s; (s = next_sub(g, m, &key_)) < N_OBJECTS;)

static void add_direct(const struct graph *g, unsigned m, uint32_t role, int trainable, struct list *out)
{
    for (size_t i = 0; i < g->model[m].n_entries; i++) {
        const struct model *v = &g->model[g->model[m].entries[i].object];
        if (!v->is_mapping && v->role == role && (trainable < 0 || v->trainable == trainable))
            add_once(out, v->id);
    }
}

static void model_t(const struct graph *g, unsigned m, struct list *out)
{
    if (out->done[0][m] || !g->model[m].trainable)
        return;
    out->done[0][m] = true;
    FOR_SUBS(g, m, s)
    model_t(g, s, out);
    add_direct(g, m, HTSTORE_WEIGHT, 1, out);
}

static void model_n(const struct graph *g, unsigned m, struct list *out)
{
    if (out->done[1][m])
        return;
    out->done[1][m] = true;
    if (!g->model[m].trainable) {
        FOR_SUBS(g, m, s)
        model_t(g, s, out);
        add_direct(g, m, HTSTORE_WEIGHT, 1, out);
    }
    FOR_SUBS(g, m, s)
    model_n(g, s, out);
    add_direct(g, m, HTSTORE_WEIGHT, 0, out);
}

static void model_layers(const struct graph *g, unsigned m, struct list *out)
{
    FOR_SUBS(g, m, s)
    {
        if (out->done[0][s])
            continue;
        out->done[0][s] = true;
        if (g->model[s].layer)
            add_once(out, g->model[s].id);
        else
            model_layers(g, s, out);
    }
}

static void model_role(const struct graph *g, unsigned m, uint32_t role, struct list *out)
{
    if (out->done[0][m])
        return;
    out->done[0][m] = true;
    if (g->model[m].layer)
        add_direct(g, m, role, -1, out);
    FOR_SUBS(g, m, s)
    model_role(g, s, role, out);
}

static void model_walk(const struct graph *g, unsigned m, uint32_t aggregate, struct list *out)
{
    struct list trainable = { .n = 0 }, others = { .n = 0 };
    memset(out, 0, sizeof *out);
    out->done[0][m] = aggregate == HTSTORE_LAYERS;
    model_t(g, m, &trainable);
    model_n(g, m, &others);
    if (aggregate == HTSTORE_LAYERS)
        model_layers(g, m, out);
    else if (aggregate >= HTSTORE_LOSSES)
        model_role(g, m, aggregate == HTSTORE_LOSSES ? HTSTORE_LOSS : HTSTORE_UPDATE, out);
    if (aggregate == HTSTORE_TRAINABLE_WEIGHTS || aggregate == HTSTORE_WEIGHTS)
        for (size_t i = 0; i < trainable.n; i++)
            add_once(out, trainable.ids[i]);
    if (aggregate != HTSTORE_NON_TRAINABLE_WEIGHTS && aggregate != HTSTORE_WEIGHTS)
        return;
    for (size_t i = 0; i < others.n; i++) {
        struct list once = trainable;
        add_once(&once, others.ids[i]);
        if (once.n > trainable.n)
            add_once(out, others.ids[i]);
    }
}

static const char *show(const uint64_t *ids, size_t n)
{
    const struct htstore_array array = htstore_vector(HTSTORE_UINT64, ids, n);
    return api_text(&array);
}

START_TEST(walks_of_random_graphs_follow_the_rules)
{
    struct graph g;
    struct list expected;
    const uint64_t *ids;
    uint64_t n;
    srand((unsigned)_i + 1);
    for (int round = 0; round < 25; round++) {
        make_graph(&g);
        for (unsigned m = 0; m < N_MAPPINGS; m++)
            for (uint32_t aggregate = HTSTORE_LAYERS; aggregate <= HTSTORE_UPDATES; aggregate++) {
                OK(htstore_mapping_walk(g.mapping[m], aggregate, api.arena, &ids, &n, &api.error));
                model_walk(&g, m, aggregate, &expected);
                ck_assert_msg(strcmp(show(ids, (size_t)n), show(expected.ids, expected.n)) == 0,
                              "graph %d, mapping %u, aggregate %u: %s instead of %s", round, m, aggregate,
                              show(ids, (size_t)n), show(expected.ids, expected.n));
            }
        objects_close();
        htstore_arena_reset(api.arena);
    }
    ck_assert_uint_eq(api_stats().n_tables, 0);
}
END_TEST

/* ---- deep graphs ---- */

/* Both in a thread of little stack: no walk may recurse. */
#define SMALL_STACK (128u << 10)
#define DEPTH 4000

struct deep {
    struct htstore_mapping *top;
    uint64_t n[HTSTORE_UPDATES + 1];
    int result;
    struct htstore_error error;
};

static void *walk_deep(void *argument)
{
    struct deep *deep = argument;
    struct htstore_arena *arena;
    const uint64_t *ids;
    deep->result = htstore_arena_new(&arena, &deep->error);
    for (uint32_t a = HTSTORE_LAYERS; deep->result == 0 && a <= HTSTORE_UPDATES; a++)
        deep->result = htstore_mapping_walk(deep->top, a, arena, &ids, &deep->n[a], &deep->error);
    htstore_arena_free(arena);
    if (deep->result == 0)
        deep->result = htstore_mapping_close(deep->top, &deep->error);
    return NULL;
}

/* A chain of mappings, each a layer in the next, the last one under a key of the first: one weight and one loss each. */
START_TEST(a_deep_graph_needs_no_stack)
{
    struct htstore_mapping_schema schema = { .size = sizeof schema, .flags = HTSTORE_ANONYMOUS | HTSTORE_LAYER };
    struct htstore_variable *w = new_variable("w", HTSTORE_WEIGHT, 0, "1"),
                            *l = new_variable("l", HTSTORE_LOSS, 0, "1");
    struct htstore_mapping *bottom, *below, *next;
    struct deep deep = { 0 };
    pthread_attr_t attributes;
    pthread_t thread;
    OK(htstore_mapping_create(api.store, NULL, &schema, NULL, 0, &bottom, &api.error));
    below = bottom;
    for (int i = 1; i < DEPTH; i++) {
        const struct htstore_entry entries[] = { { bytes_of("w"), w }, { bytes_of("m"), below }, { bytes_of("l"), l } };
        OK(htstore_mapping_create(api.store, NULL, &schema, entries, 3, &next, &api.error));
        if (below != bottom)
            OK(htstore_mapping_close(below, &api.error));
        below = next;
    }
    PUT(bottom, "top", below);
    OK(htstore_mapping_close(bottom, &api.error));
    deep.top = below;
    ck_assert_int_eq(pthread_attr_init(&attributes), 0);
    ck_assert_int_eq(pthread_attr_setstacksize(&attributes, SMALL_STACK), 0);
    ck_assert_int_eq(pthread_create(&thread, &attributes, walk_deep, &deep), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attributes);
    ck_assert_msg(deep.result == 0, "%s", deep.error.message);
    ck_assert_uint_eq(deep.n[HTSTORE_LAYERS], 1);
    ck_assert_uint_eq(deep.n[HTSTORE_WEIGHTS], 1);
    ck_assert_uint_eq(deep.n[HTSTORE_LOSSES], 1);
    objects_reopen();
    ck_assert_uint_eq(object_count(), 2); /* the chain was a cycle that nobody reached any more */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("aggregates");
    TCase *tests = tcase_create("aggregates");
    tcase_add_checked_fixture(tests, objects_setup, objects_teardown);
    tcase_add_test(tests, layers_are_listed_and_not_entered);
    tcase_add_test(tests, keys_are_in_the_order_of_their_bytes);
    tcase_add_test(tests, losses_and_updates_are_those_of_layers);
    tcase_add_test(tests, subs_come_before_the_weights_of_a_mapping);
    tcase_add_test(tests, a_weight_that_is_trainable_by_one_way_is_in_one_list);
    tcase_add_loop_test(tests, walks_of_random_graphs_follow_the_rules, 0, 4);
    tcase_add_test(tests, a_deep_graph_needs_no_stack);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
