/*
 * words: gives each word a number that stays the same for ever, the heart of a vocabulary.
 *
 *     words [DIRECTORY [WORD...]]
 */
#include <htstore.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void stop(const struct htstore_error *error)
{
    (void)fprintf(stderr, "words: %s\n", error->message);
    exit(1);
}

/* Look the word up, and give it the next free number if it is new: one atomic step, durable on return. */
static int64_t number_of(struct htstore_table *table, const char *text)
{
    struct htstore_error error;
    struct htstore_bytes word = htstore_string(text);
    uint64_t n_words;
    int64_t number = 0;

    if (htstore_table_size(table, &n_words, &error) < 0)
        stop(&error);
    int64_t next = (int64_t)n_words;
    struct htstore_array keys = htstore_vector(HTSTORE_STRING, &word, 1);
    struct htstore_array candidates = htstore_vector(HTSTORE_INT64, &next, 1);
    struct htstore_array values = htstore_vector(HTSTORE_INT64, &number, 1);
    if (htstore_table_find_or_insert(table, &keys, &candidates, &values, NULL, 0, &error) < 0)
        stop(&error);
    return number;
}

int main(int argc, char **argv)
{
    struct htstore_error error;
    struct htstore *store;
    struct htstore_table *table;
    int64_t unknown = -1;
    struct htstore_options options = { .size = sizeof options, .flags = HTSTORE_CREATE };
    struct htstore_schema schema = {
        .size = sizeof schema,
        .key_dtype = HTSTORE_STRING,
        .default_value = htstore_scalar(HTSTORE_INT64, &unknown),
    };
    const char *some[] = { "apple", "pear", "apple", "plum" };
    const char *const *words = argc > 2 ? (const char *const *)argv + 2 : some;
    int n_words = argc > 2 ? argc - 2 : 4;

    if (htstore_open(argc > 1 ? argv[1] : "words.store", &options, &store, &error) < 0 ||
        htstore_table_get_or_create(store, "words", &schema, &table, &error) < 0)
        stop(&error);
    for (int i = 0; i < n_words; i++)
        (void)printf("%s %" PRId64 "\n", words[i], number_of(table, words[i]));
    if (htstore_table_close(table, &error) < 0 || htstore_close(store, &error) < 0)
        stop(&error);
    return 0;
}
