/* check_snapstore: stores made of snapshots, what snapshots say of themselves, salvage of damaged ones, comparisons. */
#include "checkpoint_util.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache.h"
#include "object.h"
#include "snapread.h"
#include "snapwrite.h"

/* ---- a store with something of everything ---- */

static struct htstore_table *wide_table(const char *name, size_t n_rows, size_t size)
{
    struct htstore_schema schema = api_schema(HTSTORE_INT64, "-", HTSTORE_STRING);
    struct htstore_table *table;
    OK(htstore_table_create(api.store, name, &schema, &table, &api.error));
    struct htstore_bytes *values = api_alloc(n_rows * sizeof *values);
    int64_t *keys = api_alloc(n_rows * sizeof *keys);
    for (size_t i = 0; i < n_rows; i++) {
        keys[i] = (int64_t)i * 3;
        values[i] = long_key((char)('a' + i % 26), size + i);
    }
    const struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, n_rows);
    const struct htstore_array v = htstore_vector(HTSTORE_STRING, values, n_rows);
    OK(htstore_table_insert(table, &k, &v, 0, &api.error));
    return objects_keep(table);
}

/* 70 rows of 50,000 bytes: two blocks. */
static void new_words_variable(const char *name)
{
    struct htstore_variable_schema schema = { .size = sizeof schema };
    struct htstore_bytes words[70];
    struct htstore_variable *variable;
    for (size_t i = 0; i < 70; i++)
        words[i] = long_key((char)('A' + i % 26), 50000);
    schema.initial_value = htstore_vector(HTSTORE_STRING, words, 70);
    OK(htstore_variable_create(api.store, name, &schema, &variable, &api.error));
    objects_keep(variable);
}

static void make_everything(void)
{
    struct htstore_mapping *m = new_mapping("m", HTSTORE_LAYER | HTSTORE_NOT_TRAINABLE), *n = new_mapping(NULL, 0);
    struct htstore_table *t = words_table("t", 0), *hidden = words_table(NULL, 0);
    set_rows(t, "[a b c]", "[1 2 3]");
    set_rows(hidden, "[h]", "[4]");
    PUT(m, "t", t);
    PUT(m, "n", n);
    PUT(n, "hidden", hidden);
    PUT(n, "m", m);
    PUT(n, "n", n);
    PUT(m, "", words_table(NULL, HTSTORE_NO_CHECKPOINT));
    new_variable("v", HTSTORE_LOSS, HTSTORE_NOT_TRAINABLE, "[[1 2][3 4]]");
    new_words_variable("w");
    words_table("empty", 0);
    wide_table("wide", 50, 100000);
    wide_table("large", 3, 2500000);
}

/* A snapshot of everything, written without a number. The store is closed. */
static const char *snapshot_of_everything(void)
{
    const struct htstore_snapshot_options all = { .size = sizeof all, .flags = HTSTORE_ALL_CONTENTS };
    make_everything();
    const char *path = api_path("snap");
    OK(htstore_checkpoint_write(root_names(), path, &all, &api.error));
    ZSTD_ACCEPTS(path);
    checkpoint_close_all();
    objects_close();
    api_close_store();
    return path;
}

static struct htstore_snapshot_report last;

static int make_store(const char *path, const char *target, uint32_t flags)
{
    const struct htstore_snapshot_restore_options options = { .size = sizeof options,
                                                              .flags = flags,
                                                              .store = &api.options };
    last = (struct htstore_snapshot_report){ .size = sizeof last };
    return htstore_snapshot_restore(path, -1, target, &options, &last, &api.error);
}

static void open_at(const char *path)
{
    (void)snprintf(api.path, sizeof api.path, "%s", path);
    api_open_store();
}

/* What a snapshot of the store at that path looks like. */
static const char *snapshot_again(const char *store, const char *name)
{
    const struct htstore_snapshot_options all = { .size = sizeof all, .flags = HTSTORE_ALL_CONTENTS };
    open_at(store);
    const char *path = api_path(name);
    OK(htstore_checkpoint_write(root_names(), path, &all, &api.error));
    ZSTD_ACCEPTS(path);
    checkpoint_close_all();
    objects_close();
    api_close_store();
    return path;
}

/* Names in the test's directory that begin so. */
static bool is_left(const char *name)
{
    struct stat st;
    char temporary[64];
    (void)snprintf(temporary, sizeof temporary, ".%s.htstore-tmp", name);
    return lstat(api_path(name), &st) == 0 || lstat(api_path(temporary), &st) == 0;
}

/* ---- whole snapshots ---- */

START_TEST(a_round_trip_gives_the_same_bytes)
{
    static const uint32_t flags[] = { 0, HTSTORE_VERIFY_NONE, HTSTORE_VERIFY_QUICK, HTSTORE_SALVAGE };
    const char *path = snapshot_of_everything(), *target = api_path("target");
    OK(make_store(path, target, flags[_i]));
    ck_assert_uint_eq(last.n_objects, 10);
    ck_assert_uint_eq(last.n_rows, info_of(path).n_rows);
    ck_assert(last.n_lost_blocks == 0 && last.n_lost_rows == 0 && last.n_damaged_objects == 0);
    OK(htstore_check(target, NULL, NULL, &api.error));
    ck_assert(files_equal(path, snapshot_again(target, "again")));
    open_at(target);
    struct htstore_mapping *m = get_mapping("m");
    KEYS_ARE(m, "t n -");
    ck_assert(htstore_mapping_is_layer(m) && !htstore_mapping_is_trainable(m));
    struct htstore_table *t;
    OK(htstore_table_open(api.store, "t", NULL, &t, &api.error));
    objects_keep(t);
    ck_assert_uint_eq(id_under(m, "t"), htstore_object_id(t));
    struct htstore_mapping *n = get_by_id(id_under(m, "n"));
    ck_assert_uint_eq(id_under(n, "m"), htstore_object_id(m));
    ck_assert_uint_eq(id_under(n, "n"), htstore_object_id(n));
    ck_assert_ptr_null(htstore_mapping_name(n));
    set_rows(t, "[new]", "[7]");
    ROWS_ARE(t, "[new]", "[7]");
}
END_TEST

struct feeder {
    const char *path;
    int fd;
};

static void *feed(void *arg)
{
    const struct feeder *feeder = arg;
    const int in = open(feeder->path, O_RDONLY | O_CLOEXEC);
    static char data[65536];
    ssize_t n;
    while ((n = read(in, data, sizeof data)) > 0)
        if (write(feeder->fd, data, (size_t)n) != n)
            break;
    close(in);
    close(feeder->fd);
    return NULL;
}

START_TEST(a_snapshot_may_come_from_a_pipe)
{
    const char *path = snapshot_of_everything();
    pthread_t thread;
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    struct feeder feeder = { path, ends[1] };
    ck_assert_int_eq(pthread_create(&thread, NULL, feed, &feeder), 0);
    OK(htstore_snapshot_restore(_i ? "-" : NULL, ends[0], api_path("target"), NULL, NULL, &api.error));
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    close(ends[0]);
    ck_assert(files_equal(path, snapshot_again(api_path("target"), "again")));
}
END_TEST

START_TEST(a_root_mapping_becomes_a_mapping)
{
    struct htstore_mapping *m = new_mapping("old", HTSTORE_LAYER);
    struct htstore_table *t = words_table(NULL, 0);
    set_rows(t, "[a]", "[1]");
    PUT(m, "t", t);
    PUT(m, "self", m);
    const char *path = write_as(root_mapping(m), "w");
    checkpoint_close_all();
    objects_close();
    api_close_store();
    OK(make_store(path, api_path("target"), 0));
    open_at(api_path("target"));
    m = get_mapping("root");
    KEYS_ARE(m, "t self");
    ck_assert(htstore_mapping_is_layer(m));
    ck_assert_uint_eq(id_under(m, "self"), htstore_object_id(m));
    ROWS_ARE(get_by_id(id_under(m, "t")), "[a]", "[1]");
    ck_assert(files_equal(path, write_as(root_mapping(m), "again")));
}
END_TEST

START_TEST(a_list_becomes_names_if_it_can)
{
    struct htstore_table *t = words_table("t", 0);
    set_rows(t, "[a]", "[1]");
    const char *path = _i ? write_as(root_list("[x y]", t, t), "w") : save(root_list("[x]", t));
    checkpoint_close_all();
    objects_close();
    api_close_store();
    OK(make_store(path, api_path("target"), 0));
    open_at(api_path("target"));
    if (_i) {
        struct htstore_mapping *m = get_mapping("root");
        KEYS_ARE(m, "x y");
        ck_assert_uint_eq(id_under(m, "x"), id_under(m, "y"));
    } else {
        OK(htstore_table_open(api.store, "x", NULL, &api.table, &api.error));
        ROWS_ARE(api.table, "[a]", "[1]");
        ck_assert_uint_eq(api_stats().n_tables, 1);
    }
}
END_TEST

START_TEST(the_new_store_counts_on)
{
    struct htstore_table *t = words_table("t", 0);
    for (int i = 0; i < 5; i++)
        set_rows(t, "[a]", "[1]");
    const uint64_t lsn = api_stats().visible_lsn;
    const char *path = save(root_names());
    checkpoint_close_all();
    objects_close();
    api_close_store();
    OK(make_store(path, api_path("target"), 0));
    open_at(api_path("target"));
    ck_assert_uint_eq(api_stats().visible_lsn, lsn);
    OK(htstore_table_open(api.store, "t", NULL, &api.table, &api.error));
    set_rows(api.table, "[b]", "[2]");
    ck_assert_uint_eq(api_stats().visible_lsn, lsn + 1);
    api_reopen();
    OK(htstore_table_open(api.store, "t", NULL, &api.table, &api.error));
    ROWS_ARE(api.table, "[b]", "[2]");
}
END_TEST

START_TEST(wrong_arguments_make_nothing)
{
    set_rows(words_table("t", 0), "[a]", "[1]");
    const char *path = write_as(root_names(), "w"), *target = api_path("target");
    struct htstore_snapshot_restore_options options = { .size = sizeof options, .flags = 0x80 };
    REFUSED(htstore_snapshot_restore(path, -1, target, &options, NULL, &api.error), HTSTORE_EINVAL, "flags");
    options.flags = 0;
    options.size = 0;
    REFUSED(htstore_snapshot_restore(path, -1, target, &options, NULL, &api.error), HTSTORE_EINVAL, "size");
    REFUSED(make_store(path, "", 0), HTSTORE_EINVAL, "target");
    REFUSED(make_store(path, NULL, 0), HTSTORE_EINVAL, "target");
    REFUSED(make_store(api_path("none"), target, 0), HTSTORE_ENOTFOUND, "");
    REFUSED(make_store(api.path, target, 0), HTSTORE_EFORMAT, "regular");
    REFUSED(make_store(path, api_path("no/target"), 0), HTSTORE_ENOTFOUND, "");
    REFUSED(make_store(path, api.path, 0), HTSTORE_EEXIST, "already exists");
    REFUSED(htstore_snapshot_restore(NULL, -1, target, NULL, NULL, &api.error), HTSTORE_EIO, "");
    write_whole(target, "a file", 6);
    REFUSED(make_store(path, target, 0), HTSTORE_EEXIST, "already exists");
    ck_assert_int_eq(unlink(target), 0);
    ck_assert(!is_left("target"));
}
END_TEST

static int stop_at(void *user, const char *phase, uint64_t done, uint64_t total)
{
    (void)phase;
    (void)done;
    (void)total;
    return (*(int *)user)-- == 0;
}

static const uint32_t ways_to_stop[] = { 0, HTSTORE_SALVAGE | HTSTORE_VERIFY_NONE };

START_TEST(a_callback_stops_it_and_nothing_is_left)
{
    const char *path = snapshot_of_everything();
    int calls = 0;
    for (int at = 0;; at++) {
        int left = at;
        const struct htstore_snapshot_restore_options options = {
            .size = sizeof options, .flags = ways_to_stop[_i], .progress = stop_at, .progress_user = &left
        };
        const int rc = htstore_snapshot_restore(path, -1, api_path("target"), &options, NULL, &api.error);
        if (rc == 0)
            break;
        ck_assert_msg(rc == HTSTORE_ECANCELED, "%d: %s", rc, api.error.message);
        ck_assert(!is_left("target"));
        calls++;
    }
    ck_assert_int_gt(calls, 8); /* each block, and then the verification */
}
END_TEST

/* ---- many objects ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SHADOW 1 /* of terabytes: the address space cannot be limited */
#else
#define HAS_SHADOW 0
#endif
#define N_MAPPINGS 20000u
#define ROOM ((rlim_t)512 << 20) /* beside the map: 10 KiB a mapping and more */

/* A root, one mapping in it, and so many others that nothing holds. */
static void begin_graph(struct hti_snap_graph *graph)
{
    const struct hti_snap_node root = { .kind = HTI_SNAP_ROOT }, mapping = { .kind = HTI_SNAP_MAPPING };
    uint32_t number;
    hti_snap_graph_init(graph);
    OK(hti_snap_graph_add_node(graph, &root, &number));
    for (uint32_t i = 0; i <= N_MAPPINGS; i++)
        OK(hti_snap_graph_add_node(graph, &mapping, &number));
    OK(hti_snap_graph_add_edge(graph, 0, "m", 1, 1));
}

static const char *write_graph(struct hti_snap_graph *graph)
{
    const char *path = api_path("many");
    const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    struct hti_snapwrite *writer;
    OK(hti_snapwrite_begin(fd, path, graph, 1, 0, &writer, &api.error));
    OK(hti_snapwrite_end(writer, &api.error));
    hti_snapwrite_free(writer);
    hti_snap_graph_release(graph);
    close(fd);
    ZSTD_ACCEPTS(path);
    return path;
}

/* A mapping of so many mappings, each of which holds the first one. */
static const char *snapshot_of_mappings(void)
{
    struct hti_snap_graph graph;
    char name[16];
    begin_graph(&graph);
    for (uint32_t i = 0; i < N_MAPPINGS; i++) {
        (void)snprintf(name, sizeof name, "%u", i);
        OK(hti_snap_graph_add_edge(&graph, 1, name, strlen(name), i + 2));
    }
    for (uint32_t i = 0; i < N_MAPPINGS; i++)
        OK(hti_snap_graph_add_edge(&graph, i + 2, "up", 2, 1));
    return write_graph(&graph);
}

/* Each holds the next one, under a long name. */
static const char *snapshot_of_a_chain(void)
{
    struct hti_snap_graph graph;
    char name[101];
    memset(name, 'n', sizeof name);
    begin_graph(&graph);
    for (uint32_t i = 0; i < N_MAPPINGS; i++)
        OK(hti_snap_graph_add_edge(&graph, i + 1, name, sizeof name, i + 2));
    return write_graph(&graph);
}

static void limit_space(rlim_t room)
{
    unsigned long long pages = 0;
    struct rlimit limit;
    FILE *file = fopen("/proc/self/statm", "r");
    if (HAS_SHADOW || !file)
        return;
    ck_assert_int_eq(fscanf(file, "%llu", &pages), 1);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = room ? pages * (rlim_t)sysconf(_SC_PAGESIZE) + api.options.map_size + room : limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
}

START_TEST(mappings_take_room_for_their_own_entries_only)
{
    const char *path = snapshot_of_mappings();
    limit_space(ROOM);
    const int rc = make_store(path, api_path("target"), 0);
    limit_space(0);
    ck_assert_msg(rc == 0, "%d: %s", rc, api.error.message);
    ck_assert_uint_eq(last.n_objects, N_MAPPINGS + 1);
    open_at(api_path("target"));
    struct htstore_mapping *m = get_mapping("m");
    ck_assert_uint_eq(htstore_mapping_size(m), N_MAPPINGS);
    ck_assert_uint_ne(id_under(m, "0"), id_under(m, "19999"));
}
END_TEST

START_TEST(paths_of_a_deep_graph_are_shortened)
{
    struct htstore_snapshot_info info = { .size = sizeof info };
    const char *path = snapshot_of_a_chain();
    limit_space(ROOM);
    const int rc = htstore_snapshot_info(path, api.arena, &info, &api.error);
    limit_space(0);
    ck_assert_msg(rc == 0, "%d: %s", rc, api.error.message);
    ck_assert_uint_eq(info.n_objects, N_MAPPINGS + 2);
    ck_assert_uint_eq(strlen(info.objects[100].path), strlen("(root).m") + 99 * 102);
    ck_assert_ptr_null(strstr(info.objects[100].path, "…"));
    ck_assert_ptr_nonnull(strstr(info.objects[N_MAPPINGS].path, "(root).…."));
}
END_TEST

/* ---- what a snapshot says ---- */

START_TEST(info_tells_what_there_is)
{
    struct htstore_snapshot_info info = { .size = sizeof info };
    const char *path = snapshot_of_everything();
    struct stat st;
    ck_assert_int_eq(stat(path, &st), 0);
    OK(htstore_snapshot_info(path, api.arena, &info, &api.error));
    ck_assert_uint_eq(info.bytes, (uint64_t)st.st_size);
    ck_assert_uint_eq(info.version, 1);
    ck_assert_uint_eq(info.n_objects, 11);
    ck_assert_int_eq(info.save_counter, -1);
    ck_assert_str_eq(paths_in(path), "(root) (root).empty (root).large (root).m (root).t (root).v (root).w (root).wide "
                                     "(root).m.n (root).m. (root).m.n.hidden");
    uint64_t rows = 0, blocks = 0;
    for (uint64_t i = 0; i < info.n_objects; i++) {
        const struct htstore_snapshot_object *o = &info.objects[i];
        ck_assert_uint_eq(o->object.id, i);
        rows += o->has_contents && o->object.kind == HTSTORE_KIND_TABLE ? o->object.n_rows : 0;
        blocks += o->n_blocks;
        ck_assert((o->bytes > 0) == (o->n_blocks > 0));
    }
    ck_assert_uint_eq(rows + 71, info.n_rows); /* the variables' */
    ck_assert_uint_eq(blocks, info.n_blocks);
    const struct htstore_object *v = &info.objects[5].object;
    ck_assert(v->kind == HTSTORE_KIND_VARIABLE && v->role == HTSTORE_LOSS && v->flags == HTSTORE_NOT_TRAINABLE);
    ck_assert(v->value_rank == 2 && v->value_shape[1] == 2 && v->n_rows == 4 && v->value_dtype == HTSTORE_INT64);
    ck_assert_uint_eq(info.objects[3].object.flags, HTSTORE_LAYER | HTSTORE_NOT_TRAINABLE);
    ck_assert_uint_eq(info.objects[3].object.n_rows, 3);
    ck_assert_uint_eq(info.objects[0].object.kind, 0);
}
END_TEST

START_TEST(contents_have_the_names_that_tensorflow_gives_them)
{
    struct htstore_mapping *m = new_mapping("m", 0);
    PUT(m, "x.y/z", m);
    PUT(m, "a.b/c", words_table(NULL, 0));
    PUT(m, "no", words_table(NULL, HTSTORE_NO_CHECKPOINT));
    PUT(m, "v", new_variable(NULL, HTSTORE_WEIGHT, 0, "7"));
    const struct htstore_snapshot_info info = info_of(save(root_names()));
    static const char *const expected[][2] = { { NULL, NULL },
                                               { NULL, NULL },
                                               { "save_counter/.ATTRIBUTES/VARIABLE_VALUE", NULL },
                                               { "m/a..b.Sc/.ATTRIBUTES/table-keys",
                                                 "m/a..b.Sc/.ATTRIBUTES/table-values" },
                                               { NULL, NULL },
                                               { "m/v/.ATTRIBUTES/VARIABLE_VALUE", NULL } };
    ck_assert_uint_eq(info.n_objects, 6);
    for (uint64_t i = 0; i < info.n_objects; i++)
        for (int k = 0; k < 2; k++)
            ck_assert_pstr_eq(info.objects[i].entries[k], expected[i][k]);
}
END_TEST

START_TEST(info_refuses_what_is_no_snapshot)
{
    struct htstore_snapshot_info info = { .size = sizeof info }, none = { .size = 0 };
    const char *path = write_as(root_names(), "w");
    write_whole(api_path("text"), "a text that is long enough to be a header of something, or so one would think", 78);
    write_whole(api_path("nothing"), "", 0);
    REFUSED(htstore_snapshot_info(api_path("text"), api.arena, &info, &api.error), HTSTORE_EFORMAT, "");
    REFUSED(htstore_snapshot_info(api_path("nothing"), api.arena, &info, &api.error), HTSTORE_EFORMAT, "");
    REFUSED(htstore_snapshot_info(api_path("none"), api.arena, &info, &api.error), HTSTORE_ENOTFOUND, "");
    REFUSED(htstore_snapshot_info(api.path, api.arena, &info, &api.error), HTSTORE_EFORMAT, "");
    REFUSED(htstore_snapshot_info(NULL, api.arena, &info, &api.error), HTSTORE_EINVAL, "");
    REFUSED(htstore_snapshot_info(path, NULL, &info, &api.error), HTSTORE_EINVAL, "");
    REFUSED(htstore_snapshot_info(path, api.arena, &none, &api.error), HTSTORE_EINVAL, "");
    ck_assert_uint_eq(info.n_objects, 0);
}
END_TEST

/* ---- salvage ---- */

static struct hti_snap_block blocks[64];
static size_t n_blocks;

static void list_blocks(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct hti_snapread *reader;
    struct hti_buf frame;
    hti_buf_init(&frame);
    n_blocks = 0;
    OK(hti_snapread_open(fd, path, &reader, &api.error));
    while (hti_snapread_next(reader, &blocks[n_blocks], &frame, &api.error) == 0)
        ck_assert_uint_lt(++n_blocks, 64);
    hti_snapread_close(reader);
    hti_buf_release(&frame);
    close(fd);
    ck_assert_uint_gt(n_blocks, 8);
}

/* A copy of the snapshot with one byte flipped. */
static const char *flip(const char *path, uint64_t offset)
{
    size_t size;
    uint8_t *data = read_whole(path, &size);
    ck_assert_uint_lt(offset, size);
    data[offset] ^= 0x20;
    write_whole(api_path("damaged"), data, size);
    return api_path("damaged");
}

/* Rows that are lost with a block: for a piece, the row that it is of. */
static uint64_t rows_of(size_t i)
{
    return blocks[i].kind == HTI_SNAP_PIECE ? 1 : blocks[i].n_rows;
}

static char log_text[8192];

static void take_log(void *user, int32_t level, const char *module, const char *message)
{
    (void)user;
    ck_assert_int_eq(level, HTSTORE_LOG_WARNING);
    ck_assert_str_eq(module, "restore");
    (void)snprintf(log_text + strlen(log_text), sizeof log_text - strlen(log_text), "%s\n", message);
}

/* The target differs from the snapshot in so many rows of one object. */
static void expect_missing(const char *path, const char *target, const char *object, uint64_t n)
{
    const struct htstore_difference *list;
    uint64_t count, found = 0;
    const int rc = htstore_diff(path, target, NULL, api.arena, &list, &count, &api.error);
    ck_assert_msg(rc == (n > 0), "%d: %s", rc, api.error.message);
    for (uint64_t i = 0; i < count; i++) {
        const bool here = strcmp(list[i].path, object) == 0;
        ck_assert_msg(list[i].change == (here && n > 0 ? HTSTORE_CHANGED : HTSTORE_SAME), "%s: %u", list[i].path,
                      list[i].change);
        ck_assert_uint_eq(list[i].kind == HTSTORE_KIND_VARIABLE ? list[i].n_changed : list[i].n_removed, here ? n : 0);
        ck_assert_uint_eq(list[i].n_added + list[i].n_removed + list[i].n_changed, here ? n : 0);
        found += here;
    }
    ck_assert_uint_eq(found, 1);
}

static void salvage_without(const char *path, size_t i, uint64_t offset)
{
    const struct htstore_snapshot_info info = info_of(path);
    const char *object = info.objects[blocks[i].node].path, *damaged = flip(path, offset);
    char target[32];
    (void)snprintf(target, sizeof target, "t%ju", (uintmax_t)offset);
    REFUSED(make_store(damaged, api_path(target), 0), HTSTORE_ECORRUPT, "");
    ck_assert(!is_left(target));
    log_text[0] = 0;
    const int rc = make_store(damaged, api_path(target), HTSTORE_SALVAGE);
    ck_assert_msg(rc == 1, "%s, block %u: %d: %s", object, blocks[i].number, rc, api.error.message);
    ck_assert_uint_eq(last.n_lost_rows, rows_of(i));
    ck_assert_uint_eq(last.n_damaged_objects, 1);
    ck_assert_uint_eq(last.n_lost_blocks, 1);
    ck_assert_uint_eq(last.n_rows, info.n_rows - rows_of(i));
    ck_assert_ptr_nonnull(strstr(log_text, object));
    ck_assert_ptr_nonnull(strstr(log_text, "are lost"));
    OK(htstore_check(api_path(target), NULL, NULL, &api.error));
    expect_missing(path, api_path(target), object, rows_of(i));
}

START_TEST(salvage_returns_the_rows_of_intact_blocks)
{
    const char *path = snapshot_of_everything();
    api.options.log = take_log;
    list_blocks(path);
    for (size_t i = 0; i < n_blocks; i++) {
        const uint64_t head = blocks[i].offset;
        salvage_without(path, i, _i ? head + 20 : head + HTI_SNAP_BLOCK_HEAD_SIZE + blocks[i].stored_size / 2);
    }
}
END_TEST

/* The second of two blocks of the strings, and the only one of the numbers. */
START_TEST(lost_elements_of_variables_are_zeros_and_empty)
{
    const char *path = snapshot_of_everything();
    list_blocks(path);
    uint64_t last_of_w = 0, of_v = 0, first_lost = 0;
    for (size_t i = 0; i < n_blocks; i++) {
        of_v = blocks[i].node == 5 ? blocks[i].offset : of_v;
        if (blocks[i].node != 6)
            continue;
        last_of_w = blocks[i].offset;
        first_lost += last_of_w && blocks[i].number == 0 ? blocks[i].n_rows : 0;
    }
    ck_assert_int_eq(make_store(flip(flip(path, of_v + 20), last_of_w + 20), api_path("target"), HTSTORE_SALVAGE), 1);
    ck_assert_uint_eq(last.n_lost_rows, 1 + 70 - first_lost);
    ck_assert_uint_eq(last.n_damaged_objects, 2);
    open_at(api_path("target"));
    struct htstore_bytes words[70];
    struct htstore_array out = htstore_vector(HTSTORE_STRING, words, 70);
    out.arena = api.arena;
    OK(htstore_variable_read(get_variable("w"), &out, &api.error));
    for (size_t i = 0; i < 70; i++)
        ck_assert_uint_eq(words[i].size, i < first_lost ? 50000 : 0);
    int64_t numbers[4] = { 1, 1, 1, 1 };
    out = htstore_matrix(HTSTORE_INT64, numbers, 2, 2);
    OK(htstore_variable_read(get_variable("v"), &out, &api.error));
    ck_assert(numbers[0] == 0 && numbers[3] == 0);
    save(root_names());
}
END_TEST

START_TEST(lost_blocks_are_counted_one_by_one)
{
    const char *damaged = snapshot_of_everything();
    uint64_t n = 0, rows = 0;
    list_blocks(damaged);
    for (size_t i = 0; i < n_blocks; i++) {
        if (blocks[i].kind == HTI_SNAP_PIECE || blocks[i].node != 7)
            continue;
        damaged = flip(damaged, blocks[i].offset + 20);
        rows += blocks[i].n_rows;
        if (++n == 2)
            break;
    }
    ck_assert_uint_eq(n, 2);
    ck_assert_int_eq(make_store(damaged, api_path("target"), HTSTORE_SALVAGE), 1);
    ck_assert_uint_eq(last.n_lost_blocks, 2);
    ck_assert_uint_eq(last.n_lost_rows, rows);
    ck_assert_uint_eq(last.n_damaged_objects, 1);
}
END_TEST

/* Everything behind the blocks, and the header. */
START_TEST(salvage_needs_neither_header_nor_index)
{
    const char *path = snapshot_of_everything();
    api.options.log = take_log;
    list_blocks(path);
    size_t size;
    read_whole(path, &size);
    const struct hti_snap_block *end = &blocks[n_blocks - 1];
    const uint64_t behind = end->offset + HTI_SNAP_BLOCK_HEAD_SIZE + end->stored_size;
    const uint64_t places[] = { 0,
                                9,
                                50,
                                behind,
                                behind + 20,
                                size - HTI_SNAP_TRAILER_SIZE - HTI_SNAP_FOOTER_SIZE + 30,
                                size - HTI_SNAP_TRAILER_SIZE + 30,
                                size - 1 };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char target[32];
        (void)snprintf(target, sizeof target, "t%zu", i);
        const int rc = make_store(flip(path, places[i]), api_path(target), HTSTORE_SALVAGE);
        ck_assert_msg(rc == 1, "byte %ju: %d: %s", (uintmax_t)places[i], rc, api.error.message);
        ck_assert(last.n_lost_rows == 0 && last.n_damaged_objects == 0 && last.n_lost_blocks == 0);
        expect_missing(path, api_path(target), "(root).t", 0);
    }
}
END_TEST

START_TEST(salvage_of_a_file_that_was_cut)
{
    const char *path = snapshot_of_everything();
    list_blocks(path);
    size_t size;
    const uint8_t *data = read_whole(path, &size);
    for (size_t i = 0; i <= n_blocks; i++) {
        const struct hti_snap_block *last_one = &blocks[n_blocks - 1];
        const uint64_t at =
            i < n_blocks ? blocks[i].offset : last_one->offset + HTI_SNAP_BLOCK_HEAD_SIZE + last_one->stored_size;
        uint64_t rows = 0;
        char target[32];
        (void)snprintf(target, sizeof target, "t%zu", i);
        write_whole(api_path("damaged"), data, (size_t)at);
        for (size_t k = 0; k < i; k++)
            rows += blocks[k].n_rows;
        const int rc = make_store(api_path("damaged"), api_path(target), HTSTORE_SALVAGE);
        ck_assert_msg(rc == (i < n_blocks), "%zu blocks: %d: %s", i, rc, api.error.message);
        ck_assert_uint_eq(last.n_rows, rows);
        ck_assert_uint_eq(last.n_lost_rows, info_of(path).n_rows - rows);
    }
}
END_TEST

START_TEST(without_the_graph_nothing_is_salvaged)
{
    const char *path = snapshot_of_everything(),
               *damaged = flip(path, HTI_SNAP_HEADER_SIZE + HTI_SNAP_GRAPH_HEAD_SIZE + 30);
    REFUSED(make_store(damaged, api_path("target"), HTSTORE_SALVAGE), HTSTORE_ECORRUPT, "description of its objects");
    ck_assert(!is_left("target"));
    write_whole(api_path("text"), "just text", 9);
    REFUSED(make_store(api_path("text"), api_path("target"), HTSTORE_SALVAGE), HTSTORE_EFORMAT, "");
}
END_TEST

/* ---- the cache ---- */

START_TEST(memory_and_lmdb_are_compared)
{
    struct htstore_table *t = words_table("t", 0);
    uint64_t n = 99;
    set_rows(t, "[a b c]", "[1 2 3]");
    words_table("empty", 0);
    OK(htstore_compare_cache(api.store, &n, &api.error));
    ck_assert_uint_eq(n, 2);
    OK(htstore_compare_cache(api.store, NULL, &api.error));
    struct hti_core *core = ((struct hti_handle *)(void *)t)->core;
    const void *value;
    size_t size;
    const uint8_t key[] = { 'b' };
    ck_assert_int_eq(hti_cache_find(core->rows, key, 1, &value, &size), HTI_CACHE_PRESENT);
    uint8_t *planted = (uint8_t *)(uintptr_t)value;
    *planted ^= 1;
    n = 99;
    REFUSED(htstore_compare_cache(api.store, &n, &api.error), HTSTORE_ECORRUPT, "table t");
    ck_assert_uint_eq(n, 99);
    *planted ^= 1;
    OK(htstore_compare_cache(api.store, NULL, &api.error));
    REFUSED(htstore_compare_cache(NULL, NULL, &api.error), HTSTORE_EINVAL, "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("snapstore");
    TCase *tests = tcase_create("snapstore");
    tcase_add_checked_fixture(tests, checkpoint_setup, checkpoint_teardown);
    tcase_add_loop_test(tests, a_round_trip_gives_the_same_bytes, 0, 4);
    tcase_add_loop_test(tests, a_snapshot_may_come_from_a_pipe, 0, 2);
    tcase_add_test(tests, a_root_mapping_becomes_a_mapping);
    tcase_add_loop_test(tests, a_list_becomes_names_if_it_can, 0, 2);
    tcase_add_test(tests, the_new_store_counts_on);
    tcase_add_test(tests, wrong_arguments_make_nothing);
    tcase_add_loop_test(tests, a_callback_stops_it_and_nothing_is_left, 0, 2);
    tcase_add_test(tests, mappings_take_room_for_their_own_entries_only);
    tcase_add_test(tests, paths_of_a_deep_graph_are_shortened);
    tcase_add_test(tests, info_tells_what_there_is);
    tcase_add_test(tests, contents_have_the_names_that_tensorflow_gives_them);
    tcase_add_test(tests, info_refuses_what_is_no_snapshot);
    tcase_add_loop_test(tests, salvage_returns_the_rows_of_intact_blocks, 0, 2);
    tcase_add_test(tests, lost_elements_of_variables_are_zeros_and_empty);
    tcase_add_test(tests, lost_blocks_are_counted_one_by_one);
    tcase_add_test(tests, salvage_needs_neither_header_nor_index);
    tcase_add_test(tests, salvage_of_a_file_that_was_cut);
    tcase_add_test(tests, without_the_graph_nothing_is_salvaged);
    tcase_add_test(tests, memory_and_lmdb_are_compared);
    suite_add_tcase(suite, tests);
    return check_run(suite);
}
