/* plain_model: hides how versions are kept, and which rows are worked on. */
#include "plain_model.h"

#include <stdlib.h>
#include <string.h>

static uint64_t last_version = PLAIN_SHARED;

/* What a refused batch would have changed. */
struct change {
    struct plain_table *table;
    size_t number;
    uint64_t version;
};
static struct change *changes;
static size_t n_changes, max_changes;
static bool keep_changes;

void plain_table_init(struct plain_table *table, const struct plain_kind *kind)
{
    memset(table, 0, sizeof *table);
    table->kind = kind;
    table->version_of = calloc(kind->n_keys, sizeof *table->version_of);
    if (!table->version_of)
        abort();
    plain_window(table);
}

void plain_table_release(struct plain_table *table)
{
    free(table->version_of);
    free(changes);
    changes = NULL;
    max_changes = 0;
}

uint64_t plain_version(const struct plain_table *table, size_t number)
{
    return number < table->kind->n_keys ? table->version_of[number] : 0;
}

void plain_set(struct plain_table *table, size_t number, uint64_t version)
{
    uint64_t *own = &table->version_of[number];

    if (keep_changes && n_changes == max_changes) {
        max_changes = max_changes * 2 + 1000;
        changes = realloc(changes, max_changes * sizeof *changes);
        if (!changes)
            abort();
    }
    if (keep_changes)
        changes[n_changes++] = (struct change){ table, number, *own };
    table->n_rows += (uint64_t)(version != 0) - (uint64_t)(*own != 0);
    *own = version;
}

void plain_forget(struct plain_table *table)
{
    for (size_t i = 0; table->n_rows > 0 && i < table->kind->n_keys; i++)
        if (table->version_of[i] != 0)
            plain_set(table, i, 0);
}

void plain_begin(void)
{
    keep_changes = true;
    n_changes = 0;
}

void plain_end(bool undo)
{
    keep_changes = false;
    while (undo && n_changes > 0) {
        const struct change *c = &changes[--n_changes];
        plain_set(c->table, c->number, c->version);
    }
}

static bool one_in(size_t n)
{
    return plain_pick(n) == 0;
}

void plain_window(struct plain_table *table)
{
    size_t most = table->kind->n_keys;

    while (most > 8 && !one_in(3))
        most = most * 2 / 3;
    table->window = 1 + plain_pick(most);
    table->first = plain_pick(table->kind->n_keys - table->window + 1);
    table->shrinks = one_in(3);
}

/* ---- samples ---- */

static size_t pick_size(const struct plain_kind *kind)
{
    static const size_t sizes[] = { 2, 2, 2, 2, 17, 17, 17, 150, 400, PLAIN_MAX_ROWS + 1 };
    size_t size = sizes[plain_pick(10)];

    if (size > 400 && !one_in(4))
        size = 40;
    size = plain_pick(size);
    return size < kind->max_batch ? size : kind->max_batch;
}

void plain_sample(struct plain_sample *s, struct plain_table *table, bool reading)
{
    const struct plain_kind *kind = table->kind;
    const bool everywhere = reading && one_in(2);

    s->table = table;
    s->n = pick_size(kind);
    for (size_t i = 0; i < s->n; i++) {
        s->numbers[i] =
            everywhere ? plain_pick(kind->n_keys + kind->n_keys / 4 + 1) : table->first + plain_pick(table->window);
        s->versions[i] = ++last_version;
    }
    s->keys = plain_keys(kind, s->numbers, s->n);
    s->values = plain_values(kind, s->numbers, s->versions, s->n);
}

void plain_cut(struct plain_sample *s, size_t n)
{
    if (s->n > n)
        s->n = n;
    s->keys.shape[0] = s->values.shape[0] = (int64_t)s->n;
}

uint64_t plain_defaults(const struct plain_sample *s, struct htstore_array *one, struct htstore_array **defaults)
{
    const uint64_t version = 1 + plain_pick(PLAIN_SHARED);

    if (one_in(3)) {
        *one = s->values;
        *defaults = one;
        return 0;
    }
    *one = plain_shared(s->table->kind, version);
    *defaults = version == 1 ? NULL : one;
    return version;
}

/* [n, ...] becomes [n / 2, 2, ...], or [...] if n is 1. */
static void bend(struct htstore_array *array, size_t n)
{
    if (n == 1) {
        array->rank--;
        memmove(array->shape, array->shape + 1, array->rank * sizeof array->shape[0]);
        return;
    }
    memmove(array->shape + 1, array->shape, array->rank * sizeof array->shape[0]);
    array->rank++;
    array->shape[0] = (int64_t)n / 2;
    array->shape[1] = 2;
}

void plain_bend(struct plain_sample *s, struct htstore_array *defaults, struct htstore_array *out)
{
    const bool by_row = defaults && defaults->data == s->values.data;

    if (s->n == 0 || (s->n != 1 && s->n % 2 != 0) || !one_in(3))
        return;
    bend(&s->keys, s->n);
    bend(&s->values, s->n);
    bend(out, s->n);
    if (by_row)
        bend(defaults, s->n);
}
