/*
 * make_variables: variables for tests of the command line, which cannot make any itself.
 *
 *     make_variables STORE
 *
 * In the root namespace: matrix (float32[2,3]), text (a string), vector (int64[4]), empty (int8[0]), words (string[2,2]), big
 * (int32[1000,700], element i is i), and the mapping model, in which "w" is the matrix and "loss" an anonymous variable.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "htstore.h"

#define N_ROWS 1000
#define N_COLUMNS 700

static struct htstore *store;

static void need(int result, const struct htstore_error *error)
{
    if (result < 0) {
        fprintf(stderr, "make_variables: %s\n", error->message);
        exit(1);
    }
}

static struct htstore_variable *make(const char *name, uint32_t role, const struct htstore_array *value)
{
    struct htstore_variable_schema schema = { .size = sizeof schema, .role = role, .initial_value = *value };
    struct htstore_variable *variable;
    struct htstore_error error;

    schema.flags = name == NULL ? HTSTORE_ANONYMOUS : 0;
    need(htstore_variable_create(store, name, &schema, &variable, &error), &error);
    return variable;
}

static void make_and_close(const char *name, struct htstore_array value)
{
    struct htstore_variable *variable = make(name, HTSTORE_WEIGHT, &value);

    htstore_variable_close(variable, NULL);
}

static void make_big(void)
{
    static int32_t elements[N_ROWS * N_COLUMNS];

    for (int32_t i = 0; i < N_ROWS * N_COLUMNS; i++)
        elements[i] = i;
    make_and_close("big", htstore_matrix(HTSTORE_INT32, elements, N_ROWS, N_COLUMNS));
}

static void make_model(void)
{
    const float elements[] = { 0, 1, 2.5f, -3, NAN, INFINITY };
    const double zero = 0;
    const struct htstore_array value = htstore_matrix(HTSTORE_FLOAT32, elements, 2, 3);
    const struct htstore_array loss_value = htstore_scalar(HTSTORE_FLOAT64, &zero);
    const struct htstore_mapping_schema schema = { .size = sizeof schema, .flags = HTSTORE_LAYER };
    struct htstore_variable *matrix = make("matrix", HTSTORE_WEIGHT, &value);
    struct htstore_variable *loss = make(NULL, HTSTORE_LOSS, &loss_value);
    const struct htstore_entry entries[] = { { htstore_string("w"), matrix }, { htstore_string("loss"), loss } };
    struct htstore_mapping *model;
    struct htstore_error error;

    need(htstore_mapping_create(store, "model", &schema, entries, 2, &model, &error), &error);
    htstore_mapping_close(model, NULL);
    htstore_variable_close(loss, NULL);
    htstore_variable_close(matrix, NULL);
}

int main(int argc, char **argv)
{
    const struct htstore_options options = { .size = sizeof options, .flags = HTSTORE_CREATE };
    const struct htstore_bytes text = htstore_string("tab\there");
    const struct htstore_bytes words[] = { htstore_string("a"), htstore_string(""), htstore_string("c\\"),
                                           htstore_string("d") };
    const int64_t numbers[] = { 1, -2, 3, INT64_MAX };
    struct htstore_error error;

    if (argc != 2)
        return 2;
    need(htstore_open(argv[1], &options, &store, &error), &error);
    make_model();
    make_big();
    make_and_close("text", htstore_scalar(HTSTORE_STRING, &text));
    make_and_close("words", htstore_matrix(HTSTORE_STRING, words, 2, 2));
    make_and_close("vector", htstore_vector(HTSTORE_INT64, numbers, 4));
    make_and_close("empty", htstore_vector(HTSTORE_INT8, NULL, 0));
    need(htstore_close(store, &error), &error);
    return 0;
}
