/* check_append_only: reliability.md F25: once a put has returned, its key names that object for good, whoever asks. */
#include "api_objects.h"
#include "api_peer.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_THREADS 4
#define N_CALLS 2500 /* of each thread */
#define N_KEYS 250
#define N_OBJECTS 5
#define MAX_ENTRIES 6

static struct peer reader;

static struct htstore_mapping *mapping;
static void *objects[N_OBJECTS];
static uint64_t ids[N_OBJECTS];
static char keys[N_KEYS][8];
static _Atomic uint64_t known[N_KEYS]; /* what a call that succeeded, or a lookup, told of a key; 0: nothing yet */
static atomic_bool stop;

struct worker {
    pthread_t thread;
    unsigned number, seed;
    unsigned n_added, n_refused;
    char trouble[256]; /* empty: none */
    struct htstore_error error;
};

static unsigned next_random(struct worker *w)
{
    w->seed = w->seed * 1103515245u + 12345u;
    return w->seed >> 8;
}

/* What is known of a key never changes. */
static void learn(struct worker *w, unsigned key, uint64_t id)
{
    uint64_t before = 0;
    if (!atomic_compare_exchange_strong(&known[key], &before, id) && before != id)
        (void)snprintf(w->trouble, sizeof w->trouble, "key %u named object %ju and then %ju", key, (uintmax_t)before,
                       (uintmax_t)id);
}

static void look(struct worker *w, unsigned key)
{
    const struct htstore_bytes bytes = htstore_string(keys[key]);
    const bool was_known = atomic_load(&known[key]) != 0;
    void *object;
    const int result = htstore_mapping_get(mapping, &bytes, NULL, &object, &w->error);
    if (result == 0) {
        learn(w, key, htstore_object_id(object));
        htstore_object_close(object, NULL);
    } else if (result != 1 || was_known) {
        (void)snprintf(w->trouble, sizeof w->trouble, "key %u: get gave %d", key, result);
    }
}

static void put_one(struct worker *w)
{
    const unsigned key = next_random(w) % N_KEYS, object = next_random(w) % N_OBJECTS;
    const struct htstore_bytes bytes = htstore_string(keys[key]);
    const int result = htstore_mapping_put(mapping, &bytes, objects[object], &w->error);
    if (result == 0)
        learn(w, key, ids[object]);
    else if (result != HTSTORE_EEXIST || atomic_load(&known[key]) == ids[object])
        (void)snprintf(w->trouble, sizeof w->trouble, "key %u: put gave %d: %.150s", key, result, w->error.message);
    w->n_added += result == 0;
    w->n_refused += result != 0;
    look(w, key);
}

/* Several shared keys, and one of this call alone that tells whether any of it was done. */
static void update_some(struct worker *w, unsigned call)
{
    struct htstore_entry entries[MAX_ENTRIES + 1];
    unsigned key[MAX_ENTRIES], object[MAX_ENTRIES], n = 1 + next_random(w) % MAX_ENTRIES;
    const unsigned place = next_random(w) % (n + 1);
    char own[24];
    (void)snprintf(own, sizeof own, "own-%u-%u", w->number, call);
    for (unsigned i = 0; i < n; i++) {
        key[i] = next_random(w) % N_KEYS;
        object[i] = next_random(w) % 8 ? 0 : next_random(w) % N_OBJECTS;
        entries[i + (i >= place)] = (struct htstore_entry){ htstore_string(keys[key[i]]), objects[object[i]] };
    }
    entries[place] = (struct htstore_entry){ htstore_string(own), objects[0] };
    const int result = htstore_mapping_update(mapping, entries, n + 1, &w->error);
    const struct htstore_bytes own_key = htstore_string(own);
    if (htstore_mapping_contains(mapping, &own_key, NULL) != (result == 0) || (result != 0 && result != HTSTORE_EEXIST))
        (void)snprintf(w->trouble, sizeof w->trouble, "update gave %d: %.150s", result, w->error.message);
    for (unsigned i = 0; result == 0 && i < n; i++)
        learn(w, key[i], ids[object[i]]);
    w->n_added += result == 0;
    w->n_refused += result != 0;
}

static void *work(void *argument)
{
    struct worker *w = argument;
    for (unsigned call = 0; call < N_CALLS && !w->trouble[0]; call++) {
        if (next_random(w) % 25 == 0)
            update_some(w, call);
        else
            put_one(w);
    }
    return NULL;
}

/* Each listing begins with the one before it: entries are only added, behind the others. */
static void *watch(void *argument)
{
    struct worker *w = argument;
    struct htstore_arena *arena;
    uint64_t before[64], n_before = 0;
    if (htstore_arena_new(&arena, &w->error) != 0)
        return NULL;
    while (!atomic_load(&stop) && !w->trouble[0]) {
        const struct htstore_item *items;
        uint64_t n;
        if (htstore_mapping_items(mapping, arena, &items, &n, &w->error) != 0 || n < n_before)
            (void)snprintf(w->trouble, sizeof w->trouble, "items: %ju after %ju", (uintmax_t)n, (uintmax_t)n_before);
        for (uint64_t i = 0; i < n_before && i < 64; i++)
            if (items[i].id != before[i])
                (void)snprintf(w->trouble, sizeof w->trouble, "item %ju changed", (uintmax_t)i);
        for (n_before = 0; n_before < n && n_before < 64; n_before++)
            before[n_before] = items[n_before].id;
        htstore_arena_reset(arena);
    }
    htstore_arena_free(arena);
    return NULL;
}

static void make_objects(void)
{
    mapping = new_mapping("m", 0);
    for (int i = 0; i < N_OBJECTS; i++) {
        objects[i] = i % 2 ? (void *)new_mapping(NULL, 0) : (void *)new_table(NULL);
        ids[i] = htstore_object_id(objects[i]);
    }
    for (unsigned i = 0; i < N_KEYS; i++)
        (void)snprintf(keys[i], sizeof keys[i], "k%u", i);
}

/* The listing of the other process so far: whole entries, each as first seen. */
static void follow(char *seen, size_t room)
{
    const int result = atoi(peer_ask(&reader, "refresh"));
    ck_assert_msg(result == 0 || result == 1 || result == HTSTORE_EBUSY, "%s", reader.answer);
    const char *now = peer_ask(&reader, "mkeys");
    const size_t size = strlen(seen);
    ck_assert_msg(strncmp(now, seen, size) == 0 && (size == 0 || now[size] == ' ' || !now[size]),
                  "a reader saw\n%s\nand then\n%s", seen, now);
    (void)snprintf(seen, room, "%s", now);
}

static void expect_known(void)
{
    for (unsigned i = 0; i < N_KEYS; i++)
        ck_assert_uint_eq(id_under(mapping, keys[i]), atomic_load(&known[i]));
}

START_TEST(no_key_ever_names_two_objects)
{
    struct worker workers[N_THREADS + 1];
    static char seen[32768];
    unsigned n_refused = 0;
    make_objects();
    ck_assert_str_eq(peer_start(&reader, "rx"), "0");
    ck_assert_str_eq(peer_ask(&reader, "mapping m"), "0");
    memset(workers, 0, sizeof workers);
    atomic_store(&stop, false);
    for (unsigned i = 0; i <= N_THREADS; i++) {
        workers[i].number = workers[i].seed = i + 1;
        ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, i < N_THREADS ? work : watch, &workers[i]), 0);
    }
    for (int i = 0; i < 50; i++)
        follow(seen, sizeof seen);
    for (unsigned i = 0; i <= N_THREADS; i++) {
        atomic_store(&stop, i == N_THREADS);
        ck_assert_int_eq(pthread_join(workers[i].thread, NULL), 0);
        ck_assert_msg(!workers[i].trouble[0], "%s", workers[i].trouble);
        n_refused += workers[i].n_refused;
    }
    ck_assert_uint_gt(n_refused, N_CALLS); /* else there was no conflict to speak of */
    expect_known();
    OK(htstore_flush(api.store, &api.error));
    follow(seen, sizeof seen);
    ck_assert_str_eq(peer_ask(&reader, "close"), "0");
    objects_reopen();
    mapping = get_mapping("m");
    expect_known();
}
END_TEST

static void teardown(void)
{
    peer_finish(&reader, SIGKILL);
    objects_teardown();
}

int main(void)
{
    Suite *suite = suite_create("append_only");
    TCase *tests = tcase_create("append_only");
    tcase_add_checked_fixture(tests, objects_setup, teardown);
    tcase_add_test(tests, no_key_ever_names_two_objects);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
