/*
 * open_store: another process for check_processes: opens a store and obeys commands, a line each; each answer is one line.
 *
 *     open_store PATH [r][c][x]   r: read-only; c: create store and table; x: without the table
 *     put KEY VALUE, get KEY, size, lsn, flush, sync, refresh, anonymous, descriptors PATH, run N, fill N, drop, close
 *     mapping NAME, mput KEY OBJECT, mkeys, mtrainable 0|1, assign VALUE, read, islands
 *
 * The first answer is the result of opening. The table is "t1", int64 -> int64, default -1; LAZY is how it writes.
 * "run" makes N batches, each of which gives keys 0 to 99 one number, and flushes now and then; "fill" puts
 * keys 0 to N - 1 with themselves as values, and flushes; "drop" makes t1 anew. "mapping" makes or opens the mapping that the
 * "m" commands are about; OBJECT is the name of a mapping, "-" a new anonymous one. "assign" makes or changes the variable "v",
 * int64, 10,000 equal elements. "islands" makes two anonymous mappings that hold each other and a table.
 */
#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "htstore.h"

#define MAX_LINE 8192
#define N_RUN_KEYS 100
#define N_ELEMENTS 10000

static struct htstore *store;
static struct htstore_table *table;
static struct htstore_mapping *mapping;
static struct htstore_error error;

static void answer(int result)
{
    if (result < 0)
        printf("%d %s\n", result, error.message);
    else
        printf("%d\n", result);
}

static struct htstore_schema make_schema(void)
{
    static const int64_t minus_one = -1;
    struct htstore_schema schema = { .size = sizeof schema, .key_dtype = HTSTORE_INT64 };
    schema.default_value = htstore_scalar(HTSTORE_INT64, &minus_one);
    return schema;
}

static int open_all(const char *path, const char *mode)
{
    struct htstore_options options = {
        .size = sizeof options, .durability = HTSTORE_LAZY, .segment_bytes = 64u << 10, .map_size = 1u << 30
    };
    struct htstore_schema schema = make_schema();
    if (strchr(mode, 'r'))
        options.flags |= HTSTORE_READONLY;
    if (strchr(mode, 'c'))
        options.flags |= HTSTORE_CREATE;
    int result = htstore_open(path, &options, &store, &error);
    if (result != 0 || strchr(mode, 'x'))
        return result;
    return strchr(mode, 'c') ? htstore_table_get_or_create(store, "t1", &schema, &table, &error)
                             : htstore_table_open(store, "t1", NULL, &table, &error);
}

static void put_row(const char *arguments)
{
    int64_t key, value;
    if (sscanf(arguments, "%" SCNd64 " %" SCNd64, &key, &value) != 2)
        exit(EXIT_FAILURE);
    struct htstore_array k = htstore_scalar(HTSTORE_INT64, &key), v = htstore_scalar(HTSTORE_INT64, &value);
    answer(htstore_table_insert(table, &k, &v, 0, &error));
}

static void get_row(const char *arguments)
{
    int64_t key = strtoll(arguments, NULL, 10), value = 0;
    struct htstore_array k = htstore_scalar(HTSTORE_INT64, &key), v = htstore_scalar(HTSTORE_INT64, &value);
    int result = htstore_table_lookup(table, &k, NULL, &v, NULL, &error);
    if (result == 0)
        printf("%" PRId64 "\n", value);
    else
        answer(result);
}

static void tell_size(void)
{
    uint64_t size = 0;
    int result = htstore_table_size(table, &size, &error);
    if (result == 0)
        printf("%" PRIu64 "\n", size);
    else
        answer(result);
}

static void tell_lsn(void)
{
    struct htstore_stats stats = { .size = sizeof stats };
    int result = htstore_stats(store, &stats, &error);
    if (result == 0)
        printf("%" PRIu64 "\n", stats.visible_lsn);
    else
        answer(result);
}

static void make_anonymous(void)
{
    struct htstore_schema schema = make_schema();
    struct htstore_table *anonymous;
    schema.flags = HTSTORE_ANONYMOUS;
    int result = htstore_table_create(store, NULL, &schema, &anonymous, &error);
    if (result == 0) {
        struct htstore_array k = htstore_scalar(HTSTORE_INT64, &(int64_t){ 1 });
        result = htstore_table_insert(anonymous, &k, &k, HTSTORE_SYNC, &error);
    }
    answer(result);
}

/* How many of our descriptors are of files under that folder? */
static void count_descriptors(const char *folder)
{
    int n = 0;
    char target[PATH_MAX + 1], link[64];
    DIR *list = opendir("/proc/self/fd");
    for (const struct dirent *entry; list && (entry = readdir(list));) {
        (void)snprintf(link, sizeof link, "/proc/self/fd/%.20s", entry->d_name);
        ssize_t size = readlink(link, target, PATH_MAX);
        target[size > 0 ? size : 0] = '\0';
        n += strncmp(target, folder, strlen(folder)) == 0;
    }
    if (list)
        closedir(list);
    printf("%d\n", n);
}

static int put_equal_values(int64_t value)
{
    int64_t keys[N_RUN_KEYS], values[N_RUN_KEYS];
    for (int64_t i = 0; i < N_RUN_KEYS; i++) {
        keys[i] = i;
        values[i] = value;
    }
    struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, N_RUN_KEYS);
    struct htstore_array v = htstore_vector(HTSTORE_INT64, values, N_RUN_KEYS);
    return htstore_table_insert(table, &k, &v, 0, &error);
}

static void run_batches(const char *arguments)
{
    int64_t n = strtoll(arguments, NULL, 10);
    int result = 0;
    for (int64_t i = 1; i <= n && result == 0; i++) {
        result = put_equal_values(i);
        if (result == 0 && i % 7 == 0)
            result = htstore_flush(store, &error);
    }
    answer(result);
}

static void fill_table(const char *arguments)
{
    size_t n = strtoull(arguments, NULL, 10);
    int64_t *keys = malloc((n + 1) * sizeof *keys);
    if (!keys)
        exit(EXIT_FAILURE);
    for (size_t i = 0; i < n; i++)
        keys[i] = (int64_t)i;
    struct htstore_array k = htstore_vector(HTSTORE_INT64, keys, n);
    int result = htstore_table_insert(table, &k, &k, 0, &error);
    free(keys);
    answer(result ? result : htstore_flush(store, &error));
}

static void drop_table(void)
{
    struct htstore_schema schema = make_schema();
    int result = htstore_table_close(table, &error);
    if (result == 0)
        result = htstore_table_drop(store, "t1", &error);
    if (result == 0)
        result = htstore_table_create(store, "t1", &schema, &table, &error);
    answer(result);
}

static void open_mapping(const char *name)
{
    int result = htstore_mapping_close(mapping, &error);
    mapping = NULL;
    if (result == 0)
        result = htstore_mapping_open(store, name, NULL, &mapping, &error);
    if (result == HTSTORE_ENOTFOUND)
        result = htstore_mapping_create(store, name, NULL, NULL, 0, &mapping, &error);
    answer(result);
}

static void put_entry(char *arguments)
{
    const struct htstore_mapping_schema schema = { .size = sizeof schema, .flags = HTSTORE_ANONYMOUS };
    struct htstore_mapping *object;
    char *name = strchr(arguments, ' ');
    if (!name)
        exit(EXIT_FAILURE);
    *name++ = '\0';
    const struct htstore_bytes key = htstore_string(arguments);
    int result = strcmp(name, "-") == 0 ? htstore_mapping_create(store, NULL, &schema, NULL, 0, &object, &error)
                                        : htstore_mapping_open(store, name, NULL, &object, &error);
    if (result == 0) {
        result = htstore_mapping_put(mapping, &key, object, &error);
        htstore_mapping_close(object, NULL);
    }
    answer(result);
}

/* "KEY=NUMBER KEY=NUMBER" */
static void tell_keys(void)
{
    const struct htstore_item *items = NULL;
    struct htstore_arena *arena;
    uint64_t n = 0;
    int result = htstore_arena_new(&arena, &error);
    if (result == 0)
        result = htstore_mapping_items(mapping, arena, &items, &n, &error);
    for (uint64_t i = 0; i < n; i++)
        printf("%s%s=%" PRIu64, i ? " " : "", (const char *)items[i].key.data, items[i].id);
    if (result == 0)
        printf("\n");
    else
        answer(result);
    htstore_arena_free(arena);
}

static void assign_value(const char *arguments)
{
    static int64_t elements[N_ELEMENTS];
    struct htstore_variable_schema schema = { .size = sizeof schema };
    struct htstore_variable *variable;
    for (size_t i = 0; i < N_ELEMENTS; i++)
        elements[i] = strtoll(arguments, NULL, 10);
    schema.initial_value = htstore_vector(HTSTORE_INT64, elements, N_ELEMENTS);
    int result = htstore_variable_get_or_create(store, "v", &schema, &variable, &error);
    if (result == 0) {
        result = htstore_variable_assign(variable, &schema.initial_value, &error);
        htstore_variable_close(variable, NULL);
    }
    answer(result);
}

static void read_value(void)
{
    static int64_t elements[N_ELEMENTS];
    struct htstore_array out = htstore_vector(HTSTORE_INT64, elements, N_ELEMENTS);
    struct htstore_variable *variable;
    int result = htstore_variable_open(store, "v", NULL, &variable, &error);
    if (result == 0) {
        result = htstore_variable_read(variable, &out, &error);
        htstore_variable_close(variable, NULL);
    }
    if (result != 0) {
        answer(result);
        return;
    }
    for (size_t i = 1; i < N_ELEMENTS; i++)
        if (elements[i] != elements[0])
            printf("torn ");
    printf("%" PRId64 "\n", elements[0]);
}

static void make_islands(void)
{
    const struct htstore_mapping_schema schema = { .size = sizeof schema, .flags = HTSTORE_ANONYMOUS };
    const struct htstore_bytes key = htstore_string("other");
    struct htstore_entry entry = { htstore_string("t"), table };
    struct htstore_mapping *a, *b;
    int result = htstore_mapping_create(store, NULL, &schema, &entry, 1, &a, &error);
    entry.object = a;
    if (result == 0)
        result = htstore_mapping_create(store, NULL, &schema, &entry, 1, &b, &error);
    if (result == 0)
        result = htstore_mapping_put(a, &key, b, &error);
    answer(result);
}

static void close_all(void)
{
    int result = htstore_table_close(table, &error);
    if (result == 0)
        result = htstore_mapping_close(mapping, &error);
    if (result == 0)
        result = htstore_close(store, &error);
    answer(result);
}

static bool obey_for_objects(const char *verb, char *arguments)
{
    if (strcmp(verb, "mapping") == 0)
        open_mapping(arguments);
    else if (strcmp(verb, "mput") == 0)
        put_entry(arguments);
    else if (strcmp(verb, "mkeys") == 0)
        tell_keys();
    else if (strcmp(verb, "mtrainable") == 0)
        answer(htstore_mapping_set_trainable(mapping, *arguments == '1', &error));
    else if (strcmp(verb, "assign") == 0)
        assign_value(arguments);
    else if (strcmp(verb, "read") == 0)
        read_value();
    else if (strcmp(verb, "islands") == 0)
        make_islands();
    else
        return false;
    return true;
}

static void obey(const char *verb, char *arguments)
{
    if (strcmp(verb, "put") == 0)
        put_row(arguments);
    else if (strcmp(verb, "get") == 0)
        get_row(arguments);
    else if (strcmp(verb, "size") == 0)
        tell_size();
    else if (strcmp(verb, "lsn") == 0)
        tell_lsn();
    else if (strcmp(verb, "flush") == 0)
        answer(htstore_flush(store, &error));
    else if (strcmp(verb, "sync") == 0)
        answer(htstore_sync(store, &error));
    else if (strcmp(verb, "refresh") == 0)
        answer(htstore_refresh(store, &error));
    else if (strcmp(verb, "anonymous") == 0)
        make_anonymous();
    else if (strcmp(verb, "descriptors") == 0)
        count_descriptors(arguments);
    else if (strcmp(verb, "run") == 0)
        run_batches(arguments);
    else if (strcmp(verb, "fill") == 0)
        fill_table(arguments);
    else if (strcmp(verb, "drop") == 0)
        drop_table();
    else if (strcmp(verb, "close") == 0)
        close_all();
    else if (!obey_for_objects(verb, arguments))
        exit(EXIT_FAILURE);
}

int main(int argc, char **argv)
{
    char line[MAX_LINE];
    if (argc < 2)
        return EXIT_FAILURE;
    (void)setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    answer(open_all(argv[1], argc > 2 ? argv[2] : ""));
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        char *arguments = line + strcspn(line, " ");
        if (*arguments)
            *arguments++ = '\0';
        obey(line, arguments);
    }
    return EXIT_SUCCESS;
}
