/* check_checkpoint: saving and restoring whole graphs: cases C and M of semantics.md section 4, and 3.1 and 3.2. */
#include "checkpoint_util.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How the loops of the conformance cases differ. */
#define N_WAYS 4
static bool is_anonymous(int way)
{
    return way & 1;
}

static void begin_way(int way)
{
    if (way & 2)
        checkpoint_small_memory();
}

static const char *name_for(int way, const char *name)
{
    return is_anonymous(way) ? NULL : name;
}

static struct htstore_variable *float_variable(const char *name, const char *value)
{
    struct htstore_variable_schema schema = { .size = sizeof schema, .flags = name ? 0 : HTSTORE_ANONYMOUS };
    struct htstore_variable *variable;
    schema.initial_value = api_array(HTSTORE_FLOAT32, value);
    OK(htstore_variable_create(api.store, name, &schema, &variable, &api.error));
    return objects_keep(variable);
}

static float float_of(struct htstore_variable *variable)
{
    float value = 0;
    struct htstore_array out = htstore_scalar(HTSTORE_FLOAT32, &value);
    OK(htstore_variable_read(variable, &out, &api.error));
    return value;
}

static void lookup_is(struct htstore_table *table, const char *keys, const char *values)
{
    const struct htstore_array k = api_array(HTSTORE_STRING, keys);
    struct htstore_array out = api_room(HTSTORE_INT64, &k, "");
    OK(htstore_table_lookup(table, &k, NULL, &out, NULL, &api.error));
    ck_assert_str_eq(api_text(&out), values);
}

/* ---- conformance ---- */

static void run_c03(int way, bool list)
{
    struct htstore_variable *v0 = float_variable(name_for(way, "v0"), "10.0");
    struct htstore_variable *v1 = float_variable(name_for(way, "v1"), "20.0");
    struct htstore_table *t = words_table(name_for(way, "t1"), 0);
    ck_assert_uint_eq(api_size(t), 0);
    set_rows(t, "[b c d]", "[0 1 2]");
    ck_assert_uint_eq(api_size(t), 3);
    const char *path = save(list ? root_list("[table v0 v1]", t, v0, v1) : root_names());

    checkpoint_fresh_store("other");
    v0 = float_variable(name_for(way, "v0"), "-1.0");
    v1 = float_variable(name_for(way, "v1"), "-1.0");
    t = words_table(name_for(way, "t1"), 0);
    set_rows(t, "[a c]", "[12 24]");
    ck_assert_uint_eq(api_size(t), 2);
    struct htstore_restore *status = restore(list ? root_list("[table v0 v1]", t, v0, v1) : root_names(), path);
    CONSUMED(status);
    ck_assert(float_of(v0) == 10.0F && float_of(v1) == 20.0F);
    ck_assert_uint_eq(api_size(t), 3);
    lookup_is(t, "[a b c d e]", "[-1 0 1 2 -1]");
    ROWS_ARE(t, "[b c d]", "[0 1 2]");
}

START_TEST(test_C03_root_namespace)
{
    begin_way(_i * 2);
    run_c03(_i * 2, false);
}
END_TEST

START_TEST(test_C05_list_of_objects)
{
    begin_way(_i);
    run_c03(_i, true);
}
END_TEST

/* What M30 to M34 save, and the store that they restore into; the table A under "a", B under "b". */
static const char *save_m(int way)
{
    begin_way(way);
    struct htstore_mapping *m = new_mapping(name_for(way, "m"), 0);
    struct htstore_table *a = words_table(name_for(way, "A"), 0), *b = words_table(name_for(way, "B"), 0);
    set_rows(a, "[b c]", "[0 1]");
    set_rows(b, "[x]", "[9]");
    PUT(m, "a", a);
    PUT(m, "b", b);
    const char *path = save(root_list("[m]", m));
    checkpoint_fresh_store("other");
    return path;
}

static struct htstore_table *other_table(int way, const char *name)
{
    struct htstore_table *t = words_table(name_for(way, name), 0);
    set_rows(t, "[b z]", "[7 8]");
    return t;
}

START_TEST(test_M30_matching_keys_are_replaced)
{
    const char *path = save_m(_i);
    struct htstore_mapping *m = new_mapping(name_for(_i, "m"), 0);
    struct htstore_table *a = other_table(_i, "A"), *b = other_table(_i, "B");
    PUT(m, "a", a);
    PUT(m, "b", b);
    struct htstore_restore *status = restore(root_list("[m]", m), path);
    ROWS_ARE(a, "[b c]", "[0 1]");
    ROWS_ARE(b, "[x]", "[9]");
    CONSUMED(status);
    MATCHED(status);
    ck_assert_str_eq(unmatched(status), " | ");
    ck_assert_int_eq(release(status), 0);
}
END_TEST

START_TEST(test_M31_contents_wait_for_a_put)
{
    const char *path = save_m(_i);
    struct htstore_mapping *m = new_mapping(name_for(_i, "m"), 0);
    struct htstore_restore *status = restore(root_list("[m]", m), path);
    ck_assert_uint_eq(htstore_mapping_size(m), 0);
    struct htstore_table *a = other_table(_i, "A");
    ROWS_ARE(a, "[b z]", "[7 8]");
    PUT(m, "a", a);
    ROWS_ARE(a, "[b c]", "[0 1]");
    ck_assert_int_eq(release(status), 1);
    if (is_anonymous(_i))
        return;
    objects_forget(a);
    OK(htstore_table_close(a, &api.error));
    checkpoint_close_all();
    objects_reopen();
    OK(htstore_table_open(api.store, "A", NULL, &api.table, &api.error));
    ROWS_ARE(api.table, "[b c]", "[0 1]");
}
END_TEST

START_TEST(test_M32_assertions_follow_the_puts)
{
    const char *path = save_m(_i);
    struct htstore_mapping *m = new_mapping(name_for(_i, "m"), 0);
    struct htstore_restore *status = restore(root_list("[m]", m), path);
    PUT(m, "a", other_table(_i, "A"));
    MATCHED(status);
    NOT_CONSUMED(status, HTSTORE_ENOTFOUND, "Unresolved object in checkpoint (root).m.b");
    ck_assert_str_eq(unmatched(status), "(root).m.b | ");
    struct htstore_table *b = other_table(_i, "B");
    PUT(m, "b", b);
    ROWS_ARE(b, "[x]", "[9]");
    MATCHED(status);
    CONSUMED(status);
    ck_assert_int_eq(release(status), 0);
}
END_TEST

START_TEST(test_M33_an_extra_key_is_untouched)
{
    const char *path = save_m(_i);
    struct htstore_mapping *m = new_mapping(name_for(_i, "m"), 0);
    struct htstore_table *c = other_table(_i, "C");
    PUT(m, "a", other_table(_i, "A"));
    PUT(m, "b", other_table(_i, "B"));
    PUT(m, "c", c);
    struct htstore_restore *status = restore(root_list("[m]", m), path);
    ROWS_ARE(c, "[b z]", "[7 8]");
    NOT_MATCHED(status, HTSTORE_ENOTFOUND, "Found 1 objects that were not bound to checkpointed values: (root).m.c");
    NOT_CONSUMED(status, HTSTORE_ENOTFOUND, "Found 1 objects");
    ck_assert_str_eq(unmatched(status), " | (root).m.c");
    ck_assert_int_eq(release(status), 1);
}
END_TEST

START_TEST(test_M33_an_extra_mapping_does_not_count)
{
    const char *path = save_m(_i);
    struct htstore_mapping *m = new_mapping(name_for(_i, "m"), 0);
    PUT(m, "a", other_table(_i, "A"));
    PUT(m, "b", other_table(_i, "B"));
    PUT(m, "c", new_mapping(name_for(_i, "C"), 0));
    struct htstore_restore *status = restore(root_list("[m]", m), path);
    MATCHED(status);
    CONSUMED(status);
    KEYS_ARE(m, "a b c");
}
END_TEST

static const char *save_shared(int way)
{
    begin_way(way);
    struct htstore_mapping *m = new_mapping(name_for(way, "m"), 0);
    struct htstore_table *a = words_table(name_for(way, "A"), 0);
    set_rows(a, "[b c]", "[0 1]");
    PUT(m, "a", a);
    PUT(m, "b", a);
    const char *path = save(root_list("[m]", m));
    ck_assert_str_eq(paths_in(path), "(root) (root).m (root).save_counter (root).m.a");
    checkpoint_fresh_store("other");
    return path;
}

START_TEST(test_M34_a_shared_table_into_a_shared_table)
{
    const char *path = save_shared(_i);
    struct htstore_mapping *m = new_mapping(name_for(_i, "m"), 0);
    struct htstore_table *a = other_table(_i, "A");
    PUT(m, "a", a);
    PUT(m, "b", a);
    struct htstore_restore *status = restore(root_list("[m]", m), path);
    ROWS_ARE(a, "[b c]", "[0 1]");
    MATCHED(status);
    CONSUMED(status);
}
END_TEST

START_TEST(test_M34_a_shared_table_into_two_tables)
{
    const char *path = save_shared(_i);
    struct htstore_mapping *m = new_mapping(name_for(_i, "m"), 0);
    struct htstore_table *a = other_table(_i, "A"), *b = other_table(_i, "B");
    PUT(m, "a", a);
    PUT(m, "b", b);
    struct htstore_restore *status = restore(root_list("[m]", m), path);
    ROWS_ARE(a, "[b c]", "[0 1]");
    ROWS_ARE(b, "[b z]", "[7 8]");
    NOT_MATCHED(status, HTSTORE_ECONFLICT, "Inconsistent references when loading the checkpoint");
    NOT_CONSUMED(status, HTSTORE_ECONFLICT, "Inconsistent references when loading the checkpoint");
    ck_assert_int_eq(release(status), 1);
}
END_TEST

/* ---- the graph ---- */

START_TEST(nodes_are_numbered_breadth_first)
{
    struct htstore_mapping *m = new_mapping("m", 0), *n = new_mapping("n", 0);
    PUT(m, "z", n);
    PUT(m, "a", words_table(NULL, 0));
    PUT(n, "q", words_table(NULL, 0));
    PUT(n, "b", words_table(NULL, 0));
    PUT(n, "back", m);
    PUT(m, "self", m);
    ck_assert_str_eq(paths_in(write_as(root_mapping(m), "w")), "(root) (root).z (root).a (root).z.q (root).z.b");
    ck_assert_str_eq(paths_in(write_as(root_list("[y x]", m, n), "l")),
                     "(root) (root).x (root).y (root).x.q (root).x.b (root).y.a");
    const struct htstore_snapshot_info info = info_of(api_path("l"));
    ck_assert_uint_eq(info.n_objects, 6);
    ck_assert_int_eq(info.save_counter, -1);
    ck_assert_str_eq(info.objects[1].object.name, "x");
    ck_assert_ptr_null(info.objects[3].object.name);
    ck_assert_uint_eq(info.objects[2].object.n_rows, 3);
}
END_TEST

START_TEST(a_cycle_through_the_root_is_restored)
{
    struct htstore_mapping *m = new_mapping("m", 0), *n = new_mapping("n", 0);
    struct htstore_table *t = words_table("t", 0);
    PUT(m, "n", n);
    PUT(n, "m", m);
    PUT(n, "t", t);
    set_rows(t, "[a]", "[1]");
    struct htstore_checkpoint *checkpoint = root_mapping(m);
    const char *path = save(checkpoint);
    ck_assert_str_eq(paths_in(path), "(root) (root).n (root).save_counter (root).n.t");
    set_rows(t, "[b]", "[2]");
    CONSUMED(restore(checkpoint, path));
    ROWS_ARE(t, "[a]", "[1]");
}
END_TEST

START_TEST(pairs_are_added_to_a_root_mapping)
{
    struct htstore_mapping *m = new_mapping("m", 0);
    struct htstore_table *a = words_table("a", 0), *b = words_table("b", 0);
    struct htstore_checkpoint *checkpoint, *none = (struct htstore_checkpoint *)&api;
    PUT(m, "a", a);
    checkpoint = root_both(m, "extra", b);
    set_rows(b, "[x]", "[1]");
    const char *path = save(checkpoint);
    ck_assert_str_eq(paths_in(path), "(root) (root).a (root).extra (root).save_counter");
    set_rows(b, "[]", "[]");
    CONSUMED(restore(checkpoint, path));
    ROWS_ARE(b, "[x]", "[1]");
    ck_assert_str_eq(paths_in(write_as(root_both(m, "a", a), "same")), "(root) (root).a");

    const struct htstore_entry taken = { bytes_of("a"), b };
    const struct htstore_checkpoint_options options = {
        .size = sizeof options, .root = m, .entries = &taken, .n_entries = 1
    };
    REFUSED(htstore_checkpoint_new(api.store, &options, &none, &api.error), HTSTORE_EEXIST, "'a'");
    ck_assert_ptr_null(none);
    PUT(m, "extra", a);
    REFUSED(htstore_checkpoint_write(checkpoint, api_path("late"), NULL, &api.error), HTSTORE_EEXIST, "'extra'");
    ck_assert_int_ne(access(api_path("late"), F_OK), 0);
}
END_TEST

START_TEST(a_list_is_checked)
{
    struct htstore_table *a = words_table("a", 0), *b = words_table("b", 0);
    struct htstore_checkpoint *none = (struct htstore_checkpoint *)&api;
    struct htstore_entry entries[] = { { bytes_of("k"), a }, { bytes_of("k"), b } };
    struct htstore_checkpoint_options options = { .size = sizeof options, .entries = entries, .n_entries = 2 };
    REFUSED(htstore_checkpoint_new(api.store, &options, &none, &api.error), HTSTORE_EEXIST, "'k'");
    ck_assert_ptr_null(none);
    entries[1].object = a;
    OK(htstore_checkpoint_new(api.store, &options, &none, &api.error));
    ck_assert_str_eq(paths_in(write_as(none, "once")), "(root) (root).k");
    OK(htstore_checkpoint_close(none, &api.error));
    entries[1].key = (struct htstore_bytes){ "\xFF", 1 };
    REFUSED(htstore_checkpoint_new(api.store, &options, &none, &api.error), HTSTORE_ETYPE, "string keys");
    entries[1] = (struct htstore_entry){ bytes_of("x"), api.arena };
    REFUSED(htstore_checkpoint_new(api.store, &options, &none, &api.error), HTSTORE_EINVAL, "Only objects");
    options.size = 0;
    REFUSED(htstore_checkpoint_new(api.store, &options, &none, &api.error), HTSTORE_EINVAL, "size");
    REFUSED(htstore_checkpoint_new(api.store, NULL, NULL, &api.error), HTSTORE_EINVAL, "NULL");
}
END_TEST

/* ---- the save counter, and the forms of saving ---- */

static int64_t counter_of(struct htstore_checkpoint *checkpoint)
{
    return htstore_checkpoint_save_counter(checkpoint);
}

START_TEST(save_counts_and_write_does_not)
{
    struct htstore_table *t = words_table("t", 0);
    struct htstore_checkpoint *checkpoint = root_names();
    set_rows(t, "[a]", "[1]");
    ck_assert_int_eq(counter_of(checkpoint), 0);
    ck_assert_str_eq(save(checkpoint), api_path("c-1"));
    ck_assert_str_eq(save(checkpoint), api_path("c-2"));
    ck_assert_int_eq(counter_of(checkpoint), 2);
    const char *written = write_as(checkpoint, "w");
    ck_assert_int_eq(counter_of(checkpoint), 2);
    ck_assert_str_eq(paths_in(api_path("c-1")), "(root) (root).t (root).save_counter");
    ck_assert_str_eq(paths_in(written), "(root) (root).t");
    ck_assert_int_eq(info_of(api_path("c-2")).save_counter, 2);
    ck_assert_int_eq(info_of(written).save_counter, -1);

    struct htstore_restore *status;
    OK(htstore_checkpoint_read(checkpoint, api_path("c-1"), NULL, &status, &api.error));
    CONSUMED(status);
    ck_assert_int_eq(htstore_restore_release(status), 0);
    ck_assert_int_eq(counter_of(checkpoint), 2);
    CONSUMED(restore(checkpoint, written));
    ck_assert_int_eq(counter_of(checkpoint), 2);
    CONSUMED(restore(checkpoint, api_path("c-1")));
    ck_assert_int_eq(counter_of(checkpoint), 1);
    ck_assert_int_eq(counter_of(root_names()), 0);
    ck_assert_int_eq(counter_of(NULL), -1);
}
END_TEST

START_TEST(a_key_of_the_root_hides_the_save_counter)
{
    struct htstore_mapping *m = new_mapping("m", 0);
    struct htstore_variable *own = new_variable(NULL, HTSTORE_WEIGHT, 0, "77");
    PUT(m, "save_counter", own);
    PUT(m, "t", words_table(NULL, 0));
    struct htstore_checkpoint *checkpoint = root_mapping(m);
    const char *path = save(checkpoint);
    ck_assert_str_eq(paths_in(path), "(root) (root).save_counter (root).t");
    ck_assert_int_eq(info_of(path).save_counter, -1);
    ck_assert_int_eq(counter_of(checkpoint), 1);
    set_number(own, 5);
    CONSUMED(restore(checkpoint, path));
    ck_assert_int_eq(number_of(own), 77);
    ck_assert_int_eq(counter_of(checkpoint), 1);
}
END_TEST

/* Names in the directory of the test. */
static bool nothing_beside(const char *name)
{
    char temporary[64];
    (void)snprintf(temporary, sizeof temporary, ".%s.tmp", name);
    return access(api_path(name), F_OK) != 0 && access(api_path(temporary), F_OK) != 0;
}

START_TEST(a_save_that_fails_leaves_nothing)
{
    struct htstore_checkpoint *checkpoint = root_names();
    set_rows(words_table("t", 0), "[a]", "[1]");
    const char *path = (const char *)&api;
    write_whole(api_path("c-1"), "mine", 4);
    REFUSED(htstore_checkpoint_save(checkpoint, api_path("c"), NULL, api.arena, &path, &api.error), HTSTORE_EEXIST,
            "already exists");
    ck_assert_int_eq(counter_of(checkpoint), 0);
    ck_assert_ptr_eq(path, (const char *)&api);
    REFUSED(htstore_checkpoint_write(checkpoint, api_path("no/w"), NULL, &api.error), HTSTORE_ENOTFOUND, "no");
    REFUSED(htstore_checkpoint_write(checkpoint, "", NULL, &api.error), HTSTORE_EINVAL, "path");
    REFUSED(htstore_checkpoint_write(checkpoint, NULL, NULL, &api.error), HTSTORE_EINVAL, "path");
    REFUSED(htstore_checkpoint_save(checkpoint, NULL, NULL, NULL, NULL, &api.error), HTSTORE_EINVAL, "prefix");
    const struct htstore_snapshot_options replace = { .size = sizeof replace, .flags = HTSTORE_REPLACE };
    OK(htstore_checkpoint_save(checkpoint, api_path("c"), &replace, NULL, NULL, &api.error));
    ck_assert_int_eq(info_of(api_path("c-1")).save_counter, 1);
    ZSTD_ACCEPTS(api_path("c-1"));
    const struct htstore_snapshot_options unknown = { .size = sizeof unknown, .flags = 0x100 };
    REFUSED(htstore_checkpoint_write(checkpoint, api_path("w"), &unknown, &api.error), HTSTORE_EINVAL, "flags");
    ck_assert(nothing_beside("w") && nothing_beside("c-2"));
}
END_TEST

static int stop_at_once(void *user, const char *phase, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    ck_assert_ptr_nonnull(phase);
    return --*(int *)user < 0;
}

START_TEST(a_save_can_be_stopped)
{
    int left = _i;
    struct htstore_checkpoint *checkpoint = root_names();
    const struct htstore_snapshot_options options = { .size = sizeof options,
                                                      .progress = stop_at_once,
                                                      .progress_user = &left };
    set_rows(words_table("t", 0), "[a]", "[1]");
    REFUSED(htstore_checkpoint_save(checkpoint, api_path("c"), &options, NULL, NULL, &api.error), HTSTORE_ECANCELED,
            "stopped");
    ck_assert(nothing_beside("c-1"));
    ck_assert_int_eq(counter_of(checkpoint), 0);
}
END_TEST

static void *read_pipe(void *arg)
{
    const int fd = *(int *)arg;
    static uint8_t data[1 << 20];
    size_t size = 0;
    ssize_t n;
    while ((n = read(fd, data + size, sizeof data - size)) > 0)
        size += (size_t)n;
    write_whole(api_path("piped"), data, size);
    return NULL;
}

START_TEST(a_pipe_gets_what_a_file_gets)
{
    int ends[2];
    pthread_t thread;
    set_rows(words_table("t", 0), "[a b]", "[1 2]");
    struct htstore_checkpoint *checkpoint = root_names();
    const char *path = write_as(checkpoint, "w");
    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, read_pipe, &ends[0]), 0);
    OK(htstore_checkpoint_write_fd(checkpoint, ends[1], NULL, &api.error));
    close(ends[1]);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    close(ends[0]);
    ck_assert(files_equal(path, api_path("piped")));
    ck_assert_int_eq(counter_of(checkpoint), 0);

    ck_assert_int_eq(pipe(ends), 0);
    close(ends[0]);
    ck_assert(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
    REFUSED(htstore_checkpoint_write_fd(checkpoint, ends[1], NULL, &api.error), HTSTORE_EIO, "");
    ck_assert_int_eq(api.error.sys_errno, EPIPE);
    close(ends[1]);
}
END_TEST

#define N_SAVERS 4
#define N_SAVES 5

static void *save_some(void *checkpoint)
{
    for (int i = 0; i < N_SAVES; i++) {
        struct htstore_error error;
        if (htstore_checkpoint_save(checkpoint, api.path, NULL, NULL, NULL, &error) != 0)
            return "a save failed";
    }
    return NULL;
}

START_TEST(saves_of_several_threads_get_different_numbers)
{
    pthread_t threads[N_SAVERS];
    set_rows(words_table("t", 0), "[a b]", "[1 2]");
    struct htstore_checkpoint *checkpoint = root_names();
    for (int i = 0; i < N_SAVERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, save_some, checkpoint), 0);
    for (int i = 0; i < N_SAVERS; i++) {
        void *result;
        ck_assert_int_eq(pthread_join(threads[i], &result), 0);
        ck_assert_msg(!result, "%s", (const char *)result);
    }
    ck_assert_int_eq(counter_of(checkpoint), N_SAVERS * N_SAVES);
    for (int i = 1; i <= N_SAVERS * N_SAVES; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "store-%d", i);
        ck_assert_int_eq(info_of(api_path(name)).save_counter, i);
        OK(htstore_check(api_path(name), NULL, NULL, &api.error));
    }
}
END_TEST

START_TEST(equal_states_give_equal_files)
{
    set_rows(words_table("t", 0), "[a b]", "[1 2]");
    struct htstore_checkpoint *checkpoint = root_names();
    ck_assert(files_equal(write_as(checkpoint, "one"), write_as(checkpoint, "two")));
}
END_TEST

START_TEST(a_refused_overwrite_changes_nothing_that_is_saved)
{
    struct htstore_mapping *m = new_mapping("m", 0);
    struct htstore_table *kept = words_table(NULL, 0), *refused = words_table(NULL, 0);
    set_rows(kept, "[a b]", "[1 2]");
    set_rows(refused, "[c]", "[3]");
    PUT(m, "key", kept);
    struct htstore_checkpoint *checkpoint = root_mapping(m);
    const char *before = write_as(checkpoint, "before");
    const struct htstore_bytes key = bytes_of("key");
    REFUSED(htstore_mapping_put(m, &key, refused, &api.error), HTSTORE_EEXIST, "append-only");
    ck_assert(files_equal(before, write_as(checkpoint, "after")));
    const struct htstore_entry both[] = { { .key = bytes_of("new"), .object = refused },
                                          { .key = bytes_of("key"), .object = refused } };
    REFUSED(htstore_mapping_update(m, both, 2, &api.error), HTSTORE_EEXIST, "append-only");
    ck_assert(files_equal(before, write_as(checkpoint, "later")));
}
END_TEST

START_TEST(a_read_only_store_is_written_and_not_restored)
{
    struct htstore_restore *status = (struct htstore_restore *)&api;
    set_rows(words_table("t", 0), "[a b]", "[1 2]");
    const char *path = write_as(root_names(), "owned");
    checkpoint_close_all();
    objects_close();
    api_close_store();
    api.options.flags = HTSTORE_READONLY;
    api_open_store();
    struct htstore_checkpoint *checkpoint = root_names();
    ck_assert(files_equal(path, write_as(checkpoint, "viewed")));
    REFUSED(htstore_checkpoint_save(checkpoint, api_path("c"), NULL, NULL, NULL, &api.error), HTSTORE_EREADONLY, "");
    REFUSED(htstore_checkpoint_restore(checkpoint, path, NULL, &status, &api.error), HTSTORE_EREADONLY, "");
    ck_assert_ptr_null(status);
    ck_assert_int_eq(counter_of(checkpoint), 0);
}
END_TEST

START_TEST(what_was_acknowledged_is_saved)
{
    struct htstore_table *t = words_table("t", 0);
    const struct htstore_array key = api_array(HTSTORE_STRING, "[lazy]"), value = api_array(HTSTORE_INT64, "[3]");
    OK(htstore_table_insert(t, &key, &value, HTSTORE_LAZY, &api.error));
    struct htstore_checkpoint *checkpoint = root_names();
    const char *path = save(checkpoint);
    ck_assert_uint_eq(info_of(path).objects[1].object.n_rows, 1);
    ck_assert_uint_eq(info_of(path).lsn, api_stats().visible_lsn);
    set_rows(t, "[]", "[]");
    CONSUMED(restore(checkpoint, path));
    ROWS_ARE(t, "[lazy]", "[3]");
}
END_TEST

/* ---- contents of every kind ---- */

START_TEST(large_rows_long_keys_and_empty_tables)
{
    begin_way(_i * 2);
    struct htstore_table *t, *empty = words_table("empty", 0);
    struct htstore_schema schema = api_schema(HTSTORE_STRING, "-", HTSTORE_STRING);
    OK(htstore_table_create(api.store, "t", &schema, &t, &api.error));
    objects_keep(t);
    const struct htstore_bytes keys[] = { long_key('a', 490), long_key('a', 491),     long_key('a', 5000),
                                          bytes_of(""),       long_key('b', 2000000), bytes_of("large value") };
    const struct htstore_bytes values[] = { bytes_of("1"),    bytes_of(""),  long_key('v', 3000000),
                                            bytes_of("a\0b"), bytes_of("x"), long_key('w', 1 << 20) };
    const struct htstore_array k = htstore_vector(HTSTORE_STRING, keys, 6),
                               v = htstore_vector(HTSTORE_STRING, values, 6);
    OK(htstore_table_insert(t, &k, &v, 0, &api.error));
    const char *before = api_dump(t);
    struct htstore_checkpoint *checkpoint = root_names();
    const char *path = save(checkpoint);
    ck_assert_uint_gt(info_of(path).objects[2].n_blocks, 5);
    OK(htstore_check(path, NULL, NULL, &api.error));
    OK(htstore_table_clear(t, 0, &api.error));
    set_rows(empty, "[x]", "[1]");
    CONSUMED(restore(checkpoint, path));
    ck_assert_str_eq(api_dump(t), before);
    ck_assert_uint_eq(api_size(empty), 0);
    ck_assert(files_equal(write_as(checkpoint, "one"), write_as(checkpoint, "two")));
    checkpoint_close_all();
    objects_reopen();
    OK(htstore_table_open(api.store, "t", NULL, &api.table, &api.error));
    ck_assert_str_eq(api_dump(api.table), before);
}
END_TEST

START_TEST(string_variables_and_many_elements)
{
    struct htstore_variable *words, *numbers;
    struct htstore_variable_schema schema = { .size = sizeof schema };
    schema.initial_value = api_array(HTSTORE_STRING, "[one \\e \\0]");
    OK(htstore_variable_create(api.store, "words", &schema, &words, &api.error));
    objects_keep(words);
    schema.initial_value = api_numbered(HTSTORE_FLOAT64, "300,100", 5);
    OK(htstore_variable_create(api.store, "numbers", &schema, &numbers, &api.error));
    objects_keep(numbers);
    struct htstore_checkpoint *checkpoint = root_names();
    const char *path = save(checkpoint);
    const struct htstore_array text = api_array(HTSTORE_STRING, "[1 2 3]"),
                               other = api_numbered(HTSTORE_FLOAT64, "300,100", 9);
    OK(htstore_variable_assign(words, &text, &api.error));
    OK(htstore_variable_assign(numbers, &other, &api.error));
    CONSUMED(restore(checkpoint, path));
    struct htstore_bytes texts[3];
    struct htstore_array out = htstore_vector(HTSTORE_STRING, texts, 3);
    out.arena = api.arena;
    OK(htstore_variable_read(words, &out, &api.error));
    ck_assert_str_eq(api_text(&out), "[one \\e \\0]");
    struct htstore_array got = schema.initial_value;
    got.data = api_alloc(api_count(&got) * sizeof(double));
    OK(htstore_variable_read(numbers, &got, &api.error));
    ck_assert(api_equal(&got, &schema.initial_value));
}
END_TEST

START_TEST(an_empty_store_is_saved_and_restored)
{
    struct htstore_checkpoint *checkpoint = root_names();
    const char *path = save(checkpoint), *bare = write_as(checkpoint, "bare");
    ck_assert_str_eq(paths_in(path), "(root) (root).save_counter");
    ck_assert_str_eq(paths_in(bare), "(root)");
    OK(htstore_check(bare, NULL, NULL, &api.error));
    struct htstore_restore *status = restore(checkpoint, path);
    MATCHED(status);
    CONSUMED(status);
    OK(htstore_restore_assert_nontrivial_match(status, &api.error));
    CONSUMED(restore(checkpoint, bare));
}
END_TEST

START_TEST(tables_without_checkpoint_are_saved_as_schemas)
{
    struct htstore_table *t = words_table("t", HTSTORE_NO_CHECKPOINT), *u = words_table("u", 0);
    set_rows(t, "[a]", "[1]");
    set_rows(u, "[b]", "[2]");
    struct htstore_checkpoint *checkpoint = root_names();
    const char *path = save(checkpoint);
    const struct htstore_snapshot_info info = info_of(path);
    ck_assert_uint_eq(info.objects[1].has_contents, 0);
    ck_assert_uint_eq(info.objects[1].object.flags, HTSTORE_NO_CHECKPOINT);
    ck_assert_uint_eq(info.objects[2].has_contents, 1);
    set_rows(t, "[x]", "[9]");
    struct htstore_restore *status = restore(checkpoint, path);
    ROWS_ARE(t, "[x]", "[9]");
    CONSUMED(status);

    const struct htstore_snapshot_options all = { .size = sizeof all, .flags = HTSTORE_ALL_CONTENTS };
    OK(htstore_checkpoint_write(checkpoint, api_path("all"), &all, &api.error));
    ZSTD_ACCEPTS(api_path("all"));
    ck_assert_uint_eq(info_of(api_path("all")).objects[1].object.n_rows, 1);
    set_rows(t, "[y]", "[10]");
    status = restore(checkpoint, api_path("all"));
    ROWS_ARE(t, "[y]", "[10]");
    MATCHED(status);
    NOT_CONSUMED(status, HTSTORE_ENOTFOUND, "Unused attributes in these objects: (root).t");
    ck_assert_int_eq(release(status), 0);
}
END_TEST

START_TEST(an_open_cursor_sees_nothing_of_a_restore)
{
    begin_way(_i * 2);
    struct htstore_table *t = words_table("t", 0);
    struct htstore_cursor *cursor;
    struct htstore_array keys, values;
    set_rows(t, "[a b c]", "[1 2 3]");
    struct htstore_checkpoint *checkpoint = root_names();
    const char *path = save(checkpoint);
    set_rows(t, "[x y z]", "[7 8 9]");
    OK(htstore_cursor_open(t, &cursor, &api.error));
    CONSUMED(restore(checkpoint, path));
    ROWS_ARE(t, "[a b c]", "[1 2 3]");
    OK(htstore_flush(api.store, &api.error));
    OK(htstore_cursor_next(cursor, 10, api.arena, &keys, &values, &api.error));
    ck_assert_str_eq(api_pairs(&keys, &values), "x=7\ny=8\nz=9\n");
    ck_assert_int_eq(htstore_cursor_next(cursor, 10, api.arena, &keys, &values, &api.error), 1);
    htstore_cursor_close(cursor);
}
END_TEST

START_TEST(changes_after_a_restore_stay)
{
    begin_way(_i * 2);
    struct htstore_table *t = words_table("t", 0);
    set_rows(t, "[a b]", "[1 2]");
    struct htstore_checkpoint *checkpoint = root_names();
    const char *path = save(checkpoint);
    set_rows(t, "[c]", "[3]");
    CONSUMED(restore(checkpoint, path));
    const struct htstore_array key = api_array(HTSTORE_STRING, "[b d]"), value = api_array(HTSTORE_INT64, "[20 40]");
    OK(htstore_table_insert(t, &key, &value, 0, &api.error));
    ROWS_ARE(t, "[a b d]", "[1 20 40]");
    uint64_t n;
    OK(htstore_compare_cache(api.store, &n, &api.error));
    checkpoint_close_all();
    objects_reopen();
    OK(htstore_table_open(api.store, "t", NULL, &api.table, &api.error));
    ROWS_ARE(api.table, "[a b d]", "[1 20 40]");
    api_close_store();
    OK(htstore_check(api.path, NULL, NULL, &api.error));
    api_open_store();
}
END_TEST

/* ---- handles ---- */

START_TEST(what_is_open_keeps_others_open)
{
    struct htstore_checkpoint *checkpoint = root_names();
    const char *path = save(checkpoint);
    REFUSED(htstore_close(api.store, &api.error), HTSTORE_EBUSY, "");
    struct htstore_restore *status = restore(checkpoint, path);
    REFUSED(htstore_checkpoint_close(checkpoint, &api.error), HTSTORE_EBUSY, "restore");
    REFUSED(htstore_close(api.store, &api.error), HTSTORE_EBUSY, "");
    ck_assert_int_eq(release(status), 0);
    close_checkpoint(checkpoint);
    ck_assert_uint_eq(api_stats().open_handles, 0);
    ck_assert_int_eq(htstore_restore_release(NULL), 0);
    htstore_restore_expect_partial(NULL);
    OK(htstore_checkpoint_close(NULL, &api.error));
    REFUSED(htstore_checkpoint_write(NULL, path, NULL, &api.error), HTSTORE_EINVAL, "NULL");
    REFUSED(htstore_restore_assert_consumed(NULL, &api.error), HTSTORE_EINVAL, "NULL");
}
END_TEST

static void add_conformance(TCase *tests)
{
    tcase_add_loop_test(tests, test_C03_root_namespace, 0, 2);
    tcase_add_loop_test(tests, test_C05_list_of_objects, 0, N_WAYS);
    tcase_add_loop_test(tests, test_M30_matching_keys_are_replaced, 0, N_WAYS);
    tcase_add_loop_test(tests, test_M31_contents_wait_for_a_put, 0, N_WAYS);
    tcase_add_loop_test(tests, test_M32_assertions_follow_the_puts, 0, N_WAYS);
    tcase_add_loop_test(tests, test_M33_an_extra_key_is_untouched, 0, N_WAYS);
    tcase_add_loop_test(tests, test_M33_an_extra_mapping_does_not_count, 0, N_WAYS);
    tcase_add_loop_test(tests, test_M34_a_shared_table_into_a_shared_table, 0, N_WAYS);
    tcase_add_loop_test(tests, test_M34_a_shared_table_into_two_tables, 0, N_WAYS);
}

static void add_saving(TCase *tests)
{
    tcase_add_test(tests, nodes_are_numbered_breadth_first);
    tcase_add_test(tests, a_cycle_through_the_root_is_restored);
    tcase_add_test(tests, pairs_are_added_to_a_root_mapping);
    tcase_add_test(tests, a_list_is_checked);
    tcase_add_test(tests, save_counts_and_write_does_not);
    tcase_add_test(tests, a_key_of_the_root_hides_the_save_counter);
    tcase_add_test(tests, a_save_that_fails_leaves_nothing);
    tcase_add_loop_test(tests, a_save_can_be_stopped, 0, 2);
    tcase_add_test(tests, a_pipe_gets_what_a_file_gets);
    tcase_add_test(tests, saves_of_several_threads_get_different_numbers);
    tcase_add_test(tests, equal_states_give_equal_files);
    tcase_add_test(tests, a_refused_overwrite_changes_nothing_that_is_saved);
    tcase_add_test(tests, a_read_only_store_is_written_and_not_restored);
    tcase_add_test(tests, what_was_acknowledged_is_saved);
    tcase_add_loop_test(tests, large_rows_long_keys_and_empty_tables, 0, 2);
    tcase_add_test(tests, string_variables_and_many_elements);
    tcase_add_test(tests, an_empty_store_is_saved_and_restored);
    tcase_add_test(tests, tables_without_checkpoint_are_saved_as_schemas);
    tcase_add_loop_test(tests, an_open_cursor_sees_nothing_of_a_restore, 0, 2);
    tcase_add_loop_test(tests, changes_after_a_restore_stay, 0, 2);
    tcase_add_test(tests, what_is_open_keeps_others_open);
}

int main(void)
{
    Suite *suite = suite_create("checkpoint");
    TCase *conformance = tcase_create("conformance"), *saving = tcase_create("saving");
    tcase_add_checked_fixture(conformance, checkpoint_setup, checkpoint_teardown);
    tcase_add_checked_fixture(saving, checkpoint_setup, checkpoint_teardown);
    add_conformance(conformance);
    add_saving(saving);
    suite_add_tcase(suite, conformance);
    suite_add_tcase(suite, saving);
    return check_run(suite);
}
