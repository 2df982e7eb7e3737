/*
 * Tests of the check of whole stores: nothing is found in sound ones, whoever is at work in them; every kind of damage is found
 * and named, and every byte that matters.
 */
#include "inspect_run.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bytes.h"
#include "catalog.h"
#include "codec.h"
#include "kv.h"
#include "mem.h"
#include "ruin.h"

#define N_FLIPS 250 /* in each of the loops */
#define PAGE RUIN_PAGE_SIZE

static struct hti_inspect_report report;
static char findings[20000]; /* "object: sentence\n" */
static uint64_t n_progress, cancel_at;

static void set_up(void)
{
    api_setup();
    memset(&report, 0, sizeof report);
    n_progress = cancel_at = 0;
}

static void note_finding(void *user, const struct hti_inspect_finding *finding)
{
    size_t used = strlen(findings);
    ck_assert_ptr_eq(user, &report);
    ck_assert_ptr_nonnull(strstr(finding->path, "damaged/"));
    if (finding->page != HTI_INSPECT_NONE)
        ck_assert_uint_ne(finding->offset, HTI_INSPECT_NONE);
    snprintf(findings + used, sizeof findings - used, "%s: %s\n", finding->object ? finding->object : "-",
             finding->sentence);
}

/* Put a byte of the journal right again when it is read for this time. */
static struct {
    const char *path;
    uint64_t offset;
    unsigned at; /* 0: never */
} repair;

static int note_progress(void *user, const char *step, uint64_t n_done, uint64_t n_total)
{
    if (strcmp(step, "journal") == 0 && repair.at > 0 && --repair.at == 0)
        ruin_spoil_at(repair.path, repair.offset, 1);
    ck_assert_ptr_eq(user, &report);
    ck_assert(*step && (n_total == 0 || n_done <= n_total));
    return ++n_progress == cancel_at;
}

static int run_at(const char *name, uint32_t level)
{
    const struct hti_inspect_options options = {
        .level = level, .finding = note_finding, .progress = note_progress, .user = &report
    };
    findings[0] = '\0';
    int rc = hti_inspect_run(api_path(name), &options, &report, &api.error);
    ck_assert(rc < 0 || rc == (report.n_findings > 0));
    return rc;
}

static int run(uint32_t level)
{
    return run_at("damaged", level);
}

#define SOUND(level)                                                                                                   \
    do {                                                                                                               \
        int result_ = run(level);                                                                                      \
        ck_assert_msg(result_ == 0, "result %d (%s):\n%s", result_, api.error.message, findings);                      \
    } while (0)
#define FOUND(level, words)                                                                                            \
    do {                                                                                                               \
        int result_ = run(level);                                                                                      \
        ck_assert_msg(result_ == 1, "result %d (%s)", result_, api.error.message);                                     \
        ck_assert_msg(strstr(findings, words), "no '%s' in:\n%s", words, findings);                                    \
    } while (0)

/* ---- stores ---- */

static void put_large_values(void)
{
    struct htstore_table *table = ruin_make_table("large", HTSTORE_STRING, HTSTORE_STRING, "\\e");
    for (unsigned i = 0; i < 8; i++) {
        char *text = api_alloc(30000);
        char key[16];
        memset(text, (int)('a' + i), 30000);
        snprintf(key, sizeof key, "large%u", i);
        struct htstore_bytes k = { key, strlen(key) }, v = { text, 1000 + 4000 * i };
        struct htstore_array keys = htstore_vector(HTSTORE_STRING, &k, 1),
                             values = htstore_vector(HTSTORE_STRING, &v, 1);
        OK(htstore_table_insert(table, &keys, &values, 0, &api.error));
    }
    ruin_close_table(table);
}

static void put_other_kinds(void)
{
    const struct htstore_mapping_schema mapping_schema = { .size = sizeof mapping_schema };
    struct htstore_variable_schema schema = { .size = sizeof schema };
    struct htstore_variable *numbers, *texts;
    struct htstore_mapping *mapping, *inner;
    schema.initial_value = api_numbered(HTSTORE_FLOAT32, "300,100", 5);
    OK(htstore_variable_create(api.store, "numbers", &schema, &numbers, &api.error));
    schema.initial_value = api_array(HTSTORE_STRING, "[brain salad surgery]");
    OK(htstore_variable_create(api.store, "texts", &schema, &texts, &api.error));
    const struct htstore_entry entries[] = { { { "numbers", 7 }, numbers }, { { "texts", 5 }, texts } };
    OK(htstore_mapping_create(api.store, "mapping", &mapping_schema, entries, 2, &mapping, &api.error));
    const struct htstore_mapping_schema anonymous = { .size = sizeof anonymous, .flags = HTSTORE_ANONYMOUS };
    OK(htstore_mapping_create(api.store, NULL, &anonymous, entries, 1, &inner, &api.error));
    const struct htstore_bytes key = { "inner", 5 };
    OK(htstore_mapping_put(mapping, &key, inner, &api.error));
    OK(htstore_variable_close(numbers, &api.error));
    OK(htstore_variable_close(texts, &api.error));
    OK(htstore_mapping_close(inner, &api.error));
    OK(htstore_mapping_close(mapping, &api.error));
}

/* As ruin_make_sound(), and with objects of other kinds, large values, a table that was cleared, and one that was dropped. */
static void make_all_kinds(void)
{
    ruin_make_sound();
    put_large_values();
    put_other_kinds();
    struct htstore_table *table = ruin_make_table("cleared", HTSTORE_INT64, HTSTORE_INT64, "0");
    ruin_add_rows(table, 0, 2000, HTSTORE_LAZY);
    OK(htstore_flush(api.store, &api.error));
    OK(htstore_table_clear(table, HTSTORE_LAZY, &api.error));
    ruin_add_rows(table, 7, 10, HTSTORE_LAZY);
    ruin_close_table(table);
    table = ruin_make_table("dropped", HTSTORE_INT64, HTSTORE_INT64, "0");
    ruin_add_rows(table, 0, 3000, HTSTORE_LAZY);
    OK(htstore_flush(api.store, &api.error));
    ruin_close_table(table);
    OK(htstore_table_drop(api.store, "dropped", &api.error));
    OK(htstore_flush(api.store, &api.error));
}

static void make_damaged(void)
{
    make_all_kinds();
    api_close_store();
    ruin_copy("sound", "damaged");
}

/* ---- sound stores ---- */

static const char *path_of(const char *name)
{
    static char path[300];
    snprintf(path, sizeof path, "damaged/%s", name);
    return api_path(path);
}

START_TEST(a_closed_store_is_sound_at_every_level)
{
    make_damaged();
    struct ruin_content before = ruin_load(ruin_data_path());
    SOUND(HTI_INSPECT_QUICK);
    ck_assert_uint_eq(report.n_objects, 8 + 4);
    ck_assert_uint_eq(report.n_unread, 2);
    uint64_t n_rows = report.n_rows;
    SOUND(HTI_INSPECT_FULL);
    ck_assert_uint_eq(report.n_rows, n_rows);
    /* Variables are rows, too. */
    ck_assert_uint_eq(report.n_rows, 3000 + 700 + 60 + 200 + 2 + 8 + 10 + 2 + 3);
    ck_assert_uint_gt(report.n_pages_read, 100);
    ck_assert_uint_gt(report.n_free_pages, 0);
    ck_assert_uint_eq(report.n_leaked_pages, 0);
    ck_assert(!report.owner_alive && !report.has_torn_tail);
    SOUND(HTI_INSPECT_DEEP);
    struct ruin_content after = ruin_load(ruin_data_path());
    ck_assert_uint_eq(after.size, before.size);
    ck_assert_mem_eq(after.data, before.data, before.size);
}
END_TEST

START_TEST(a_store_that_was_killed_is_sound_and_its_journal_is_read)
{
    ruin_make_sound();
    ruin_write_unflushed();
    ruin_kill();
    SOUND(HTI_INSPECT_FULL);
    ck_assert_uint_ge(report.n_segments, 1);
    ck_assert_uint_ge(report.n_records, 6);
    ck_assert_uint_eq(report.last_lsn, report.applied_lsn + 6);
    SOUND(HTI_INSPECT_QUICK);
    ck_assert_uint_eq(report.n_records, 0);
}
END_TEST

static uint64_t n_checkpoints;

static int look_at_checkpoints(struct hti_inspect *check, struct htstore_error *error)
{
    (void)error;
    ck_assert_str_eq(check->path, api_path("damaged"));
    n_checkpoints++;
    hti_inspect_tell_at(check, path_of("checkpoints"), 7, "checkpoint %d is not liked", 4711);
    return 0;
}

START_TEST(checkpoints_are_looked_at_by_who_knows_them)
{
    struct hti_inspect_options options = { .finding = note_finding,
                                           .user = &report,
                                           .checkpoints = look_at_checkpoints };
    make_damaged();
    OK(hti_inspect_run(api_path("damaged"), &options, &report, &api.error));
    ck_assert_uint_eq(n_checkpoints, 0);
    ck_assert_uint_eq(report.n_unread, 1);
    ck_assert_str_eq(report.unread[0], "checkpoints");
    options.level = HTI_INSPECT_DEEP;
    findings[0] = 0;
    ck_assert_int_eq(hti_inspect_run(api_path("damaged"), &options, &report, &api.error), 1);
    ck_assert_uint_eq(report.n_unread, 0);
    ck_assert_str_eq(findings, "-: checkpoint 4711 is not liked\n");
}
END_TEST

START_TEST(many_tables_are_sound)
{
    ruin_make_many();
    SOUND(HTI_INSPECT_FULL);
    ck_assert_uint_eq(report.n_objects, RUIN_N_MANY);
    ck_assert_uint_eq(report.n_rows, 3 * RUIN_N_MANY);
}
END_TEST

START_TEST(a_new_store_is_sound)
{
    (void)snprintf(api.path, sizeof api.path, "%s/damaged", api.directory);
    api_open_store();
    api_close_store();
    SOUND(HTI_INSPECT_FULL);
    ck_assert_uint_eq(report.n_objects, 0);
}
END_TEST

/* An owner that inserts, clears, drops and flushes until it is told to end. */
static void own_store(int fd)
{
    char go;
    struct htstore_options options = { .size = sizeof options, .flags = HTSTORE_CREATE, .flush_age_ms = 1 };
    options.segment_bytes = 64 << 10;
    options.delta_bytes = 64 << 10;
    (void)snprintf(api.path, sizeof api.path, "%s/damaged", api.directory);
    OK(htstore_open(api.path, &options, &api.store, &api.error));
    struct htstore_table *table = ruin_make_table("one", HTSTORE_INT64, HTSTORE_INT64, "0");
    ruin_add_rows(table, 0, 20000, HTSTORE_SYNC);
    ck_assert_int_eq(write(fd, "o", 1), 1);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (unsigned i = 0; read(fd, &go, 1) != 0; i++) {
        ruin_add_rows(table, i * 17 % 20000, 50, i % 3 ? HTSTORE_LAZY : HTSTORE_SYNC);
        if (i % 40 == 39) {
            struct htstore_table *other = ruin_make_table("other", HTSTORE_INT64, HTSTORE_INT64, "0");
            ruin_add_rows(other, 0, 500, HTSTORE_LAZY);
            OK(htstore_flush(api.store, &api.error));
            OK(htstore_table_clear(other, HTSTORE_LAZY, &api.error));
            ruin_close_table(other);
            OK(htstore_table_drop(api.store, "other", &api.error));
        }
        if (i % 50 == 0)
            api_forget();
    }
    ruin_close_table(table);
    OK(htstore_close(api.store, &api.error));
}

/* An owner that has written some batches, and flushes none of them, until it dies. */
static void own_idle_store(int fd)
{
    char go;
    struct htstore_options options = { .size = sizeof options, .flags = HTSTORE_CREATE, .flush_age_ms = 3600000 };
    (void)snprintf(api.path, sizeof api.path, "%s/damaged", api.directory);
    OK(htstore_open(api.path, &options, &api.store, &api.error));
    struct htstore_table *table = ruin_make_table("one", HTSTORE_INT64, HTSTORE_INT64, "0");
    for (unsigned i = 0; i < 5; i++)
        ruin_add_rows(table, i * 100, 100, HTSTORE_SYNC);
    ck_assert_int_eq(write(fd, "o", 1), 1);
    (void)!read(fd, &go, 1);
}

/* Start an owner of "damaged", and wait until it is ready. It ends when *fd is closed. */
static pid_t start_owner(void (*own)(int fd), int *fd)
{
    int fds[2];
    char ready;
    OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
    pid_t child = fork();
    if (child == 0) {
        close(fds[0]);
        own(fds[1]);
        _exit(0);
    }
    close(fds[1]);
    ck_assert_int_eq(read(fds[0], &ready, 1), 1);
    *fd = fds[0];
    return child;
}

static void end_owner(pid_t child, int fd)
{
    int status;
    close(fd);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}

/* A child may own a store only if this process has not opened any: with CK_FORK=no earlier tests have. */
static bool has_process_of_its_own(void)
{
    const char *fork_mode = getenv("CK_FORK");
    return !fork_mode || strcmp(fork_mode, "no") != 0;
}

START_TEST(a_store_is_sound_beside_an_owner_at_work)
{
    if (!has_process_of_its_own())
        return;
    int fd;
    pid_t child = start_owner(own_store, &fd);
    uint64_t first_lsn = 0, n_records = 0;
    /* Until the owner has flushed some times, and at least so often. */
    for (int i = 0; i < 40 || (report.applied_lsn < first_lsn + 100 && i < 5000); i++) {
        SOUND(i % 4 ? HTI_INSPECT_FULL : HTI_INSPECT_QUICK);
        ck_assert(report.owner_alive);
        n_records += report.n_records;
        first_lsn = i == 0 ? report.applied_lsn : first_lsn;
    }
    ck_assert_uint_gt(report.applied_lsn, first_lsn);
    ck_assert_uint_gt(n_records, 0);
    end_owner(child, fd);
    SOUND(HTI_INSPECT_FULL);
    ck_assert(!report.owner_alive);
}
END_TEST

/* What is written behind our back is there when we look again; what is damaged is not. */
START_TEST(a_record_that_an_owner_writes_meanwhile_is_not_taken_for_lost)
{
    int fd;
    if (!has_process_of_its_own())
        return;
    pid_t child = start_owner(own_idle_store, &fd);
    SOUND(HTI_INSPECT_FULL);
    ck_assert_uint_eq(report.n_records, 5);
    repair.path = ruin_segment_path(ruin_find_segment(false));
    repair.offset = 4096 + 2000;
    ruin_spoil_at(repair.path, repair.offset, 1);
    repair.at = 3;
    SOUND(HTI_INSPECT_FULL);
    ck_assert_uint_eq(repair.at, 0);
    ck_assert_uint_eq(report.n_records, 5);
    ruin_spoil_at(repair.path, repair.offset, 1);
    FOUND(HTI_INSPECT_FULL, "had been synced, and are missing or damaged");
    end_owner(child, fd);
    FOUND(HTI_INSPECT_FULL, "had been synced, and are missing or damaged");
}
END_TEST

START_TEST(a_store_that_this_process_has_open_is_refused)
{
    ruin_make_sound();
    ck_assert_int_eq(run_at("sound", HTI_INSPECT_FULL), HTSTORE_EBUSY);
    api_close_store();
}
END_TEST

START_TEST(what_is_no_store_is_an_error)
{
    ck_assert_int_eq(run_at("nothing", HTI_INSPECT_FULL), HTSTORE_ENOTFOUND);
    OK(mkdir(api_path("empty"), 0700));
    ck_assert_int_eq(run_at("empty", HTI_INSPECT_FULL), HTSTORE_EFORMAT);
    ruin_save(api_path("file"), "text", 4);
    ck_assert_int_eq(run_at("file", HTI_INSPECT_FULL), HTSTORE_EFORMAT);
}
END_TEST

START_TEST(a_check_stops_when_asked)
{
    ruin_make_sound();
    struct htstore_table *table = ruin_make_table("more", HTSTORE_INT64, HTSTORE_INT64, "0");
    ruin_add_rows(table, 0, 150000, HTSTORE_LAZY);
    ruin_close_table(table);
    OK(htstore_flush(api.store, &api.error));
    ruin_kill();
    SOUND(HTI_INSPECT_FULL);
    uint64_t n_all = n_progress;
    ck_assert_uint_ge(n_all, 4); /* pages, rows, segments */
    for (uint64_t i = 1; i <= n_all; i++) {
        n_progress = 0;
        cancel_at = i;
        ck_assert_int_eq(run(HTI_INSPECT_FULL), HTSTORE_ECANCELED);
        ck_assert_uint_eq(n_progress, i);
    }
}
END_TEST

START_TEST(every_lack_of_memory_is_a_clean_error)
{
    bool failed = true;
    make_all_kinds();
    ruin_write_unflushed();
    ruin_copy("sound", "damaged");
    api_close_store();
    for (uint64_t i = 0; failed; i += 1 + i / 100) {
        uint64_t live = hti_mem_test_live();
        hti_mem_test_fail(i, false);
        int rc = run(HTI_INSPECT_FULL);
        failed = hti_mem_test_failed();
        hti_mem_test_fail(UINT64_MAX, false);
        ck_assert_msg(rc == (failed ? HTSTORE_ENOMEM : 0), "result %d at %" PRIu64 ": %s%s", rc, i, api.error.message,
                      findings);
        ck_assert_uint_eq(hti_mem_test_live(), live);
    }
}
END_TEST

/* ---- one byte anywhere ---- */

/* What a byte of data.mdb means. */
enum { DEAD, LIVE, LOOSE }; /* LOOSE: another value may be as right: bounds in branches, what only the past needs */

#define MAX_GARBAGE 8

struct map {
    const struct hti_kvpage_file *file;
    const uint8_t *data;
    uint8_t *kinds;
    uint64_t garbage[MAX_GARBAGE]; /* databases whose rows nobody needs */
    size_t n_garbage;
    bool in_garbage;
};

static void mark(struct map *map, uint64_t offset, uint64_t size, uint8_t kind)
{
    memset(map->kinds + offset, kind, size);
}

static void mark_value(struct map *map, uint64_t first, size_t size)
{
    mark(map, first * PAGE, 8, LIVE);
    mark(map, first * PAGE + 10, 6 + size, LIVE);
}

static void mark_tree(struct map *map, const struct hti_kvpage_tree *tree);

static bool is_garbage(struct map *map, const struct hti_kvpage_node *node)
{
    uint64_t number;
    ck_assert(hti_kv_parse_name((struct hti_kv_bytes){ node->key, node->key_size }, &number));
    for (size_t i = 0; i < map->n_garbage; i++)
        if (map->garbage[i] == number)
            return true;
    return false;
}

static int take_garbage(void *user, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    struct map *map = user;
    (void)value;
    (void)value_size;
    if (key_size == HTI_CATALOG_KEY_SIZE && key[0] == HTI_CATALOG_GARBAGE && map->n_garbage < MAX_GARBAGE)
        map->garbage[map->n_garbage++] = hti_load_be64(key + 1);
    return 0;
}

static void mark_entry(struct map *map, uint64_t at, const struct hti_kvpage_node *node, bool is_free_list)
{
    mark(map, at, 8, LIVE);
    mark(map, at + 8, node->stored_size - 8, map->in_garbage ? LOOSE : LIVE);
    if (is_free_list)
        mark(map, at + 8, 8, LOOSE); /* when its pages may be used again */
    if (node->flags == HTI_KVPAGE_BIG)
        mark_value(map, hti_load_le64(node->value), node->value_size);
    if (node->flags == HTI_KVPAGE_TREE) {
        struct hti_kvpage_tree tree;
        ck_assert_ptr_null(hti_kvpage_load_tree(map->file, node, &tree));
        mark(map, at + 8 + node->key_size, 4, DEAD); /* padding */
        map->in_garbage = is_garbage(map, node);
        mark_tree(map, &tree);
        map->in_garbage = false;
    }
}

static void mark_page(struct map *map, uint64_t page, bool is_free_list)
{
    const uint8_t *data = map->data + page * PAGE;
    struct hti_kvpage_node node;
    ck_assert_ptr_null(hti_kvpage_check(data, page, PAGE));
    unsigned n_nodes = hti_kvpage_count_nodes(data);
    mark(map, page * PAGE, 8, LIVE);
    mark(map, page * PAGE + 10, 6 + 2 * n_nodes, LIVE);
    for (unsigned i = 0; i < n_nodes; i++) {
        if (!hti_kvpage_is_branch(data)) {
            ck_assert_ptr_null(hti_kvpage_find_entry(data, PAGE, i, &node));
            mark_entry(map, (uint64_t)(node.key - 8 - map->data), &node, is_free_list);
            continue;
        }
        ck_assert_ptr_null(hti_kvpage_find_node(data, PAGE, i, &node));
        mark(map, (uint64_t)(node.key - 8 - map->data), 6, LIVE);
        mark(map, (uint64_t)(node.key - 2 - map->data), 2 + node.key_size, LOOSE);
        mark_page(map, node.child, is_free_list);
    }
}

static void mark_tree(struct map *map, const struct hti_kvpage_tree *tree)
{
    if (tree->root != HTI_KVPAGE_NONE)
        mark_page(map, tree->root, tree->flags != 0);
}

/* Both metas are read before LMDB maps the file; of the older one only what is the same in both is needed. */
static void mark_metas(struct map *map, uint64_t newest)
{
    for (uint64_t i = 0; i < 2; i++) {
        uint64_t at = i * PAGE;
        mark(map, at, 152, i == newest ? LIVE : LOOSE);
        mark(map, at + 8, 2, DEAD); /* padding */
        mark(map, at + 12, 4, DEAD); /* bounds, of which a meta has none */
        mark(map, at + 32, 8, LOOSE); /* size of the map */
        mark(map, at + 44, 2, LOOSE); /* flags of the environment */
        mark(map, at + 88, 4, DEAD); /* padding */
    }
}

static uint8_t *map_file(const struct ruin_content *content)
{
    struct hti_kvwalk *walk;
    int fd = open(ruin_data_path(), O_RDONLY | O_CLOEXEC);
    OK(hti_kvwalk_open(fd, false, "data.mdb", &walk, &api.error));
    struct map map = { .file = &walk->file, .data = content->data, .kinds = calloc(1, content->size + PAGE) };
    struct hti_kvpage_tree catalog;
    OK(hti_kvwalk_find_tree(walk, "!catalog", &catalog, NULL, NULL, &api.error));
    OK(hti_kvwalk_walk(walk, &catalog, take_garbage, NULL, &map, &api.error));
    mark_tree(&map, &walk->file.meta.free_tree);
    mark_tree(&map, &walk->file.meta.main_tree);
    mark_metas(&map, hti_kvwalk_txn_id(walk) & 1);
    hti_kvwalk_close(walk);
    close(fd);
    return map.kinds;
}

/* splitmix64, by Sebastiano Vigna, public domain: prng.di.unimi.it/splitmix64.c */
static uint64_t next_random(uint64_t *state)
{
    *state += 0x9E3779B97F4A7C15u;
    uint64_t x = *state;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/* Every other one aims at headers and offsets. */
static uint64_t random_place(uint64_t *state, size_t size)
{
    uint64_t place = next_random(state) % size;
    return place % 2 ? place : place / PAGE * PAGE + next_random(state) % 160;
}

START_TEST(every_changed_byte_that_matters_is_found)
{
    uint64_t state = (uint64_t)_i + 1, n_live = 0, n_found = 0;
    make_damaged();
    struct ruin_content content = ruin_load(ruin_data_path());
    uint8_t *kinds = map_file(&content);
    SOUND(HTI_INSPECT_FULL);
    for (unsigned i = 0; i < N_FLIPS; i++) {
        uint64_t at = random_place(&state, content.size);
        uint8_t byte = content.data[at];
        do
            byte ^= (uint8_t)(next_random(&state) % 2 ? 1u << next_random(&state) % 8 : next_random(&state));
        while (byte == content.data[at]);
        ruin_write_at(ruin_data_path(), at, &byte, 1);
        int rc = run(HTI_INSPECT_FULL);
        n_live += kinds[at] == LIVE;
        n_found += rc != 0;
        ck_assert_msg(rc != 0 || kinds[at] != LIVE, "page %" PRIu64 ", byte %" PRIu64 ": %u instead of %u is not found",
                      at / PAGE, at % PAGE, byte, content.data[at]);
        ck_assert_msg(rc == 0 || kinds[at] != DEAD, "page %" PRIu64 ", byte %" PRIu64 " is no damage:\n%s", at / PAGE,
                      at % PAGE, findings);
        ck_assert_msg(rc >= 0 || at < 2 * PAGE, "byte %" PRIu64 ": %s", at, api.error.message);
        ruin_write_at(ruin_data_path(), at, &content.data[at], 1);
    }
    ck_assert_uint_gt(n_live, N_FLIPS / 4);
    ck_assert_uint_lt(n_live, N_FLIPS);
    ck_assert_uint_ge(n_found, n_live);
    SOUND(HTI_INSPECT_FULL);
    free(kinds);
}
END_TEST

START_TEST(every_changed_byte_of_the_journal_is_found)
{
    uint64_t state = 42, n_found = 0;
    ruin_make_sound();
    ruin_write_unflushed();
    ruin_kill();
    SOUND(HTI_INSPECT_FULL);
    const char *path = ruin_segment_path(ruin_find_segment(false));
    struct ruin_content content = ruin_load(path);
    /* Records end where only zeros follow. The last one may be a torn tail, if it is damaged: but it is told. */
    size_t end = content.size;
    while (end > 0 && content.data[end - 1] == 0)
        end--;
    for (unsigned i = 0; i < 300; i++) {
        uint64_t at = i % 3 ? 4096 + next_random(&state) % (end - 4096) : next_random(&state) % 64;
        uint8_t byte = (uint8_t)(content.data[at] ^ (1u << next_random(&state) % 8));
        ruin_write_at(path, at, &byte, 1);
        int rc = run(HTI_INSPECT_FULL);
        ck_assert_msg(rc >= 0 || at < 64, "byte %" PRIu64 ": %s", at, api.error.message);
        ck_assert_msg(rc != 0 || report.has_torn_tail || (at >= 48 && at < 56), "byte %" PRIu64, at);
        n_found += rc != 0;
        ruin_write_at(path, at, &content.data[at], 1);
    }
    ck_assert_uint_gt(n_found, 150);
    SOUND(HTI_INSPECT_FULL);
}
END_TEST

/* ---- one fault each: records and rows ---- */

/* What a fault works with: a transaction in "damaged", and what the catalogue says of table "ints" and mapping "mapping". */
static struct {
    struct hti_kv *kv;
    struct hti_kv_write *write;
    uint64_t mapping;
    struct hti_totals_record ints, words;
} scene;

static struct hti_kv_bytes read_record(enum hti_record_kind kind, uint64_t id)
{
    uint8_t key[HTI_CATALOG_KEY_SIZE];
    struct hti_kv_bytes value;
    OK(hti_kv_get(scene.write, HTI_KV_CATALOG, hti_catalog_key(kind, id, key), &value, &api.error));
    return value;
}

static struct hti_totals_record read_totals(uint64_t id)
{
    struct hti_totals_record totals;
    OK(hti_catalog_decode_totals(id, read_record(HTI_CATALOG_TOTALS, id), &totals, &api.error));
    return totals;
}

static void put_totals(struct hti_totals_record totals)
{
    OK(hti_catalog_put_totals(scene.write, &totals, &api.error));
}

static struct hti_store_record read_store(void)
{
    struct hti_store_record store;
    OK(hti_catalog_decode_store(read_record(HTI_CATALOG_STORE, 0), &store, &api.error));
    return store;
}

static void put_raw(uint64_t database, const void *key, size_t key_size, const void *value, size_t value_size)
{
    OK(hti_kv_put(scene.write, database, (struct hti_kv_bytes){ key, key_size },
                  (struct hti_kv_bytes){ value, value_size }, &api.error));
}

/* Row `n` of "ints", as it is stored. */
static struct hti_kv_bytes ints_row(uint64_t n, uint8_t key[8])
{
    struct hti_kv_bytes value;
    const struct htstore_array number = api_numbered(HTSTORE_INT64, "1", n);
    hti_store_be64(key, *(const uint64_t *)number.data ^ UINT64_C(1) << 63);
    OK(hti_kv_get(scene.write, scene.ints.database, (struct hti_kv_bytes){ key, 8 }, &value, &api.error));
    return value;
}

static void totals_missing(void)
{
    OK(hti_catalog_remove(scene.write, HTI_CATALOG_TOTALS, 1, &api.error));
}

static void description_missing(void)
{
    OK(hti_catalog_remove(scene.write, HTI_CATALOG_OBJECT, 1, &api.error));
}

static void store_missing(void)
{
    OK(hti_catalog_remove(scene.write, HTI_CATALOG_STORE, 0, &api.error));
}

static void record_damaged(void)
{
    uint8_t key[HTI_CATALOG_KEY_SIZE];
    struct hti_kv_bytes bytes = hti_catalog_key(HTI_CATALOG_TOTALS, 1, key);
    put_raw(HTI_KV_CATALOG, bytes.data, bytes.size, "not a record", 12);
}

static void key_unknown(void)
{
    put_raw(HTI_KV_CATALOG, "\11 a key", 7, "value", 5);
}

static void count_wrong(void)
{
    scene.ints.n_rows++;
    put_totals(scene.ints);
}

static void digest_wrong(void)
{
    scene.ints.digest.high ^= 1;
    put_totals(scene.ints);
}

static void database_shared(void)
{
    scene.words.database = scene.ints.database;
    put_totals(scene.words);
}

static void database_missing(void)
{
    OK(hti_kv_drop(scene.write, scene.ints.database, &api.error));
}

static void database_unclaimed(void)
{
    put_raw(0x99, "key", 3, "value", 5);
}

static void name_taken(void)
{
    struct hti_object_record record;
    OK(hti_catalog_decode_object(2, read_record(HTI_CATALOG_OBJECT, 2), &record, &api.error));
    record.name[0] = 'i', record.name[1] = 'n', record.name[2] = 't', record.name[3] = 's', record.name[4] = 0;
    OK(hti_catalog_put_object(scene.write, &record, &api.error));
    hti_object_record_release(&record);
}

static void number_not_given(void)
{
    struct hti_store_record store = read_store();
    store.next_id = 2;
    OK(hti_catalog_put_store(scene.write, &store, &api.error));
}

static void row_of_another_key(void)
{
    uint8_t from[8], to[8], copy[64];
    struct hti_kv_bytes row = ints_row(9, from);
    memcpy(copy, row.data, row.size);
    ints_row(20, to);
    put_raw(scene.ints.database, to, sizeof to, copy, row.size);
}

/* A row with a right checksum, that nobody wrote. */
static void row_made_up(void)
{
    const struct htstore_array number = api_numbered(HTSTORE_INT64, "1", 20);
    const uint8_t *key = number.data, value[8] = { 99 };
    const struct hti_row row = { key, 8, value, sizeof value };
    struct hti_row_type type;
    uint8_t stored_key[8], stored[64];
    hti_row_type_init(&type, HTSTORE_INT64, HTSTORE_INT64, 1);
    hti_codec_store_row(&type, 1, &row, hti_hash_row(key, 8, value, sizeof value), stored);
    ints_row(20, stored_key);
    put_raw(scene.ints.database, stored_key, 8, stored, hti_codec_stored_size(&type, &row));
}

static void row_missing(void)
{
    uint8_t key[8];
    ints_row(20, key);
    OK(hti_kv_remove(scene.write, scene.ints.database, (struct hti_kv_bytes){ key, 8 }, &api.error));
}

static void row_missing_and_not_counted(void)
{
    row_missing();
    scene.ints.n_rows--;
    put_totals(scene.ints);
}

static void entry_missing(void)
{
    const struct hti_entry_record entry = { .mapping = scene.mapping, .name = "texts", .name_size = 5 };
    OK(hti_catalog_remove_entry(scene.write, &entry, &api.error));
}

static void put_entry(uint64_t mapping, uint64_t index, uint64_t object, const char *name)
{
    const struct hti_entry_record entry = {
        .mapping = mapping, .index = index, .object = object, .name = name, .name_size = strlen(name)
    };
    OK(hti_catalog_put_entry(scene.write, &entry, &api.error));
}

static void entry_exchanged(void)
{
    entry_missing();
    put_entry(scene.mapping, 1, 1, "texts");
}

static void entry_of_nothing(void)
{
    entry_missing();
    put_entry(scene.mapping, 1, 77777, "texts");
}

static void entry_in_nothing(void)
{
    put_entry(1, 0, 2, "name");
}

static void mapping_with_database(void)
{
    struct hti_totals_record totals = read_totals(scene.mapping);
    totals.database = scene.ints.database;
    put_totals(totals);
}

static void journal_missing(void)
{
    struct hti_store_record store = read_store();
    store.clean = false;
    OK(hti_catalog_put_store(scene.write, &store, &api.error));
}

static const struct {
    void (*damage)(void);
    uint32_t level; /* that finds it, and all higher ones */
    const char *expected;
} faults[] = {
    { totals_missing, HTI_INSPECT_QUICK, "table ints: its totals are missing" },
    { description_missing, HTI_INSPECT_QUICK, "object number 1: its description is missing" },
    { store_missing, HTI_INSPECT_QUICK, "the catalogue: the record of the store is missing" },
    { record_damaged, HTI_INSPECT_QUICK, "the catalogue: " },
    { key_unknown, HTI_INSPECT_QUICK, "the catalogue: a record stands under an unknown key" },
    { count_wrong, HTI_INSPECT_QUICK, "table ints: 3001 rows are recorded, 3000 are in its database" },
    { digest_wrong, HTI_INSPECT_FULL, "table ints: its rows are not those that were written" },
    { database_shared, HTI_INSPECT_QUICK, "another one has the same database" },
    { database_missing, HTI_INSPECT_QUICK, "table ints: the database of its rows is missing" },
    { database_unclaimed, HTI_INSPECT_QUICK, "-: database t0000000000000099 with 1 rows is no object's" },
    { name_taken, HTI_INSPECT_QUICK, "table ints: another object has the same name" },
    { number_not_given, HTI_INSPECT_QUICK, "table words: its number was never given" },
    { row_of_another_key, HTI_INSPECT_FULL, "table ints: row " },
    { row_made_up, HTI_INSPECT_FULL, "table ints: its rows are not those that were written" },
    { row_missing, HTI_INSPECT_QUICK, "table ints: 3000 rows are recorded, 2999 are in its database" },
    { row_missing_and_not_counted, HTI_INSPECT_FULL, "table ints: its rows are not those that were written" },
    { entry_missing, HTI_INSPECT_QUICK, "mapping mapping: 3 entries are recorded, 2 are there" },
    { entry_exchanged, HTI_INSPECT_QUICK, "mapping mapping: its entries are not those that were written" },
    { entry_of_nothing, HTI_INSPECT_QUICK, "mapping mapping: an entry names object 77777, which does not exist" },
    { entry_in_nothing, HTI_INSPECT_QUICK, "the catalogue: an entry is of mapping 1, which does not exist" },
    { mapping_with_database, HTI_INSPECT_QUICK, "mapping mapping: it has a database" },
    { journal_missing, HTI_INSPECT_QUICK, "-: it is missing, and the store was not closed" },
};

static uint64_t find_mapping(void)
{
    for (uint64_t id = 1; id < 1000; id++) {
        uint8_t key[HTI_CATALOG_KEY_SIZE];
        struct hti_object_record record;
        struct hti_kv_bytes value;
        if (hti_kv_get(scene.write, HTI_KV_CATALOG, hti_catalog_key(HTI_CATALOG_OBJECT, id, key), &value, NULL) != 0)
            continue;
        OK(hti_catalog_decode_object(id, value, &record, &api.error));
        bool found = record.name && strcmp(record.name, "mapping") == 0;
        hti_object_record_release(&record);
        if (found)
            return id;
    }
    return 0;
}

/* Change "damaged" through LMDB, as a program with a fault would. */
static void edit(void (*change)(void))
{
    const struct hti_kv_options options = { .dir_fd = open(api_path("damaged"), O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                                            .path = "damaged",
                                            .map_size = 1 << 30,
                                            .max_pinned = 8,
                                            .max_readers = 8 };
    struct hti_kv_read *read;
    OK(hti_kv_open(&options, &scene.kv, &api.error));
    OK(hti_kv_acquire(scene.kv, HTI_KV_CATALOG, false, &api.error));
    OK(hti_kv_read_begin(scene.kv, false, &read, &api.error));
    OK(hti_catalog_get_totals(read, 1, &scene.ints, &api.error));
    OK(hti_catalog_get_totals(read, 2, &scene.words, &api.error));
    hti_kv_read_end(read);
    OK(hti_kv_acquire(scene.kv, scene.ints.database, false, &api.error));
    if (change == database_unclaimed || !change)
        OK(hti_kv_acquire(scene.kv, 0x99, true, &api.error));
    OK(hti_kv_begin(scene.kv, &scene.write, &api.error));
    scene.mapping = find_mapping();
    if (change)
        change();
    OK(hti_kv_commit(scene.write, &api.error));
    hti_kv_close(scene.kv);
    close(options.dir_fd);
}

START_TEST(every_fault_of_records_and_rows_is_found)
{
    make_damaged();
    edit(faults[_i].damage);
    FOUND(HTI_INSPECT_FULL, faults[_i].expected);
    FOUND(HTI_INSPECT_DEEP, faults[_i].expected);
    if (faults[_i].level == HTI_INSPECT_QUICK)
        FOUND(HTI_INSPECT_QUICK, faults[_i].expected);
    else
        SOUND(HTI_INSPECT_QUICK);
}
END_TEST

START_TEST(an_empty_database_that_a_flush_left_is_no_fault)
{
    make_damaged();
    edit(NULL);
    SOUND(HTI_INSPECT_FULL);
}
END_TEST

/* ---- one fault each: files ---- */

START_TEST(a_file_that_is_cut_short_is_told_with_both_sizes)
{
    make_damaged();
    struct ruin_content content = ruin_load(ruin_data_path());
    OK(truncate(ruin_data_path(), (off_t)(content.size / 2)));
    FOUND(HTI_INSPECT_QUICK, "the file is cut short");
    FOUND(HTI_INSPECT_FULL, "the file ends before it");
    OK(truncate(ruin_data_path(), 5000));
    FOUND(HTI_INSPECT_FULL, "");
    OK(truncate(ruin_data_path(), 0));
    FOUND(HTI_INSPECT_FULL, "the file is empty");
    ck_assert_uint_eq(report.n_unread, 3);
}
END_TEST

START_TEST(with_one_meta_the_state_before_is_read)
{
    make_damaged();
    uint64_t newest = ruin_newest_meta();
    ruin_spoil_at(ruin_data_path(), newest * PAGE, 100);
    FOUND(HTI_INSPECT_FULL, "");
    ck_assert_uint_eq(report.n_objects, 12);
    ck_assert_uint_gt(report.n_rows, 3000);
    ruin_spoil_at(ruin_data_path(), !newest * PAGE, 100);
    FOUND(HTI_INSPECT_FULL, "");
    ck_assert_uint_eq(report.n_rows, 0);
    ck_assert_uint_eq(report.n_unread, 3);
}
END_TEST

START_TEST(metas_that_do_not_follow_each_other_are_told)
{
    uint8_t raw[8];
    make_damaged();
    uint64_t older = !ruin_newest_meta();
    struct ruin_content content = ruin_load(ruin_data_path());
    hti_store_le64(raw, hti_load_le64(content.data + older * PAGE + 144) - 2);
    ruin_write_at(ruin_data_path(), older * PAGE + 144, raw, 8);
    FOUND(HTI_INSPECT_QUICK, "which do not follow each other");
}
END_TEST

START_TEST(damaged_pages_are_told_once_with_their_table)
{
    make_damaged();
    ruin_spoil_at(ruin_data_path(), ruin_find_bytes(ruin_data_path(), "key-000123", 10), 3);
    FOUND(HTI_INSPECT_FULL, "table words: ");
    ck_assert_uint_ge(report.n_damaged_rows, 1);
    SOUND(HTI_INSPECT_QUICK);
    ck_assert_uint_eq(report.n_unread, 2);
}
END_TEST

/* Two leaves of the catalogue that hold the same records: each object is told of twice. */
START_TEST(a_page_that_took_anothers_place_is_found)
{
    struct hti_kvpage_node first, second;
    uint8_t number[8];
    ruin_make_many();
    struct ruin_content content = ruin_load(ruin_data_path());
    const uint8_t *root = content.data + ruin_catalog_root(false) * PAGE;
    ck_assert(hti_kvpage_is_branch(root));
    ck_assert_ptr_null(hti_kvpage_find_node(root, PAGE, 0, &first));
    ck_assert_ptr_null(hti_kvpage_find_node(root, PAGE, 1, &second));
    ruin_write_at(ruin_data_path(), second.child * PAGE, content.data + first.child * PAGE, PAGE);
    hti_store_le64(number, second.child);
    ruin_write_at(ruin_data_path(), second.child * PAGE, number, 8);
    const uint64_t live = hti_mem_test_live();
    FOUND(HTI_INSPECT_QUICK, "another one of its number was there before");
    FOUND(HTI_INSPECT_FULL, "the catalogue: ");
    ck_assert_uint_eq(hti_mem_test_live(), live);
}
END_TEST

START_TEST(a_bad_sector_is_a_finding)
{
    struct stat status;
    make_damaged();
    OK(stat(ruin_data_path(), &status));
    off_t at = (off_t)ruin_find_bytes(ruin_data_path(), "key-000123", 10);
    ruin_bad_sector = (struct ruin_bad_sector){ status.st_ino, at, at + 1 };
    FOUND(HTI_INSPECT_FULL, "it cannot be read");
    ruin_bad_sector.inode = 0;
    SOUND(HTI_INSPECT_FULL);
}
END_TEST

static void make_killed(void)
{
    ruin_make_sound();
    ruin_write_unflushed();
    ruin_kill();
}

START_TEST(faults_of_segments_are_found)
{
    make_killed();
    const char *path = ruin_segment_path(ruin_find_segment(false));
    ruin_spoil_at(path, 3, 1);
    FOUND(HTI_INSPECT_QUICK, "-: ");
    FOUND(HTI_INSPECT_FULL, "-: ");
    ruin_spoil_at(path, 3, 1);
    SOUND(HTI_INSPECT_QUICK);
    OK(truncate(path, 5000));
    FOUND(HTI_INSPECT_QUICK, "-: ");
    ruin_remove("damaged/journal");
    FOUND(HTI_INSPECT_QUICK, "-: it is missing, and the store was not closed");
}
END_TEST

START_TEST(a_record_that_was_synced_and_is_damaged_is_found_and_the_ones_behind_it_are_read)
{
    make_killed();
    SOUND(HTI_INSPECT_FULL);
    uint64_t n_records = report.n_records;
    ruin_spoil_at(ruin_segment_path(ruin_find_segment(false)), 5000, 1);
    FOUND(HTI_INSPECT_FULL, "had been synced, and are missing or damaged");
    ck_assert_uint_ge(report.n_records, n_records - 2);
    SOUND(HTI_INSPECT_QUICK);
}
END_TEST

static void drop_ints(void)
{
    totals_missing();
    description_missing();
    database_missing();
}

START_TEST(a_record_of_a_table_that_is_not_there_is_found)
{
    make_killed();
    edit(drop_ints);
    FOUND(HTI_INSPECT_FULL, "does not fit the store's objects");
}
END_TEST

START_TEST(without_lock_files_a_store_is_checked_all_the_same)
{
    make_damaged();
    OK(unlink(path_of("lock.mdb")));
    OK(unlink(path_of("LOCK")));
    SOUND(HTI_INSPECT_FULL);
    ck_assert_int_ne(access(path_of("lock.mdb"), F_OK), 0);
    ck_assert_int_ne(access(path_of("LOCK"), F_OK), 0);
}
END_TEST

/* ---- suite ---- */

static TCase *make_case(Suite *suite, const char *name)
{
    TCase *tests = tcase_create(name);
    tcase_add_checked_fixture(tests, set_up, api_teardown);
    suite_add_tcase(suite, tests);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("inspect");
    TCase *tests = make_case(suite, "sound_stores");
    tcase_add_test(tests, a_closed_store_is_sound_at_every_level);
    tcase_add_test(tests, a_store_that_was_killed_is_sound_and_its_journal_is_read);
    tcase_add_test(tests, checkpoints_are_looked_at_by_who_knows_them);
    tcase_add_test(tests, many_tables_are_sound);
    tcase_add_test(tests, a_new_store_is_sound);
    tcase_add_test(tests, a_store_is_sound_beside_an_owner_at_work);
    tcase_add_test(tests, a_record_that_an_owner_writes_meanwhile_is_not_taken_for_lost);
    tcase_add_test(tests, a_store_that_this_process_has_open_is_refused);
    tcase_add_test(tests, what_is_no_store_is_an_error);
    tcase_add_test(tests, a_check_stops_when_asked);
    tcase_add_test(tests, every_lack_of_memory_is_a_clean_error);
    tests = make_case(suite, "faults");
    tcase_add_loop_test(tests, every_fault_of_records_and_rows_is_found, 0, (int)(sizeof faults / sizeof *faults));
    tcase_add_test(tests, an_empty_database_that_a_flush_left_is_no_fault);
    tcase_add_test(tests, a_file_that_is_cut_short_is_told_with_both_sizes);
    tcase_add_test(tests, with_one_meta_the_state_before_is_read);
    tcase_add_test(tests, metas_that_do_not_follow_each_other_are_told);
    tcase_add_test(tests, damaged_pages_are_told_once_with_their_table);
    tcase_add_test(tests, a_page_that_took_anothers_place_is_found);
    tcase_add_test(tests, a_bad_sector_is_a_finding);
    tcase_add_test(tests, faults_of_segments_are_found);
    tcase_add_test(tests, a_record_that_was_synced_and_is_damaged_is_found_and_the_ones_behind_it_are_read);
    tcase_add_test(tests, a_record_of_a_table_that_is_not_there_is_found);
    tcase_add_test(tests, without_lock_files_a_store_is_checked_all_the_same);
    tests = make_case(suite, "any_byte");
    tcase_add_loop_test(tests, every_changed_byte_that_matters_is_found, 0, 4);
    tcase_add_test(tests, every_changed_byte_of_the_journal_is_found);
    return check_run(suite);
}
