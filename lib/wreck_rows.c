/* wreck_rows: hides how the database of a table is found without the catalogue's word, and what a row must prove. */
#include "wreck_rows.h"

#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "text.h"

#define MAX_PROBED_ROWS 16
#define KEY_TEXT_SIZE 96

/* Where the rows of a table are. */
struct source {
    const struct hti_kvpage_tree *tree; /* NULL: nowhere */
    unsigned state;
};

static const struct hti_wreck_database *find_database(const struct hti_wreck_state *state, uint64_t number)
{
    for (size_t i = 0; i < state->n_databases; i++)
        if (state->databases[i].number == number)
            return &state->databases[i];
    return NULL;
}

struct probe {
    const struct hti_wreck_table *table;
    unsigned n_left;
};

/* 1: a row of this table; 2: enough. */
static int probe_row(void *user, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    struct probe *p = user;
    uint8_t key_space[8];
    struct hti_hash128 hash;
    struct hti_row row;

    if (hti_codec_load_row(&p->table->type, p->table->id, key, key_size, value, value_size, key_space, &row, &hash) ==
        0)
        return 1;
    return --p->n_left == 0 ? 2 : 0;
}

/*
 * The checksum of a row tells its table. Of several databases the one with the highest number is the last: the others are
 * from before a clear.
 */
static int probe_databases(const struct hti_wreck *wreck, const struct hti_wreck_table *table, struct source *source,
                           struct htstore_error *error)
{
    const struct hti_wreck_state *newest = &wreck->states[0];
    uint64_t best = 0;

    for (size_t i = 0; i < newest->n_databases; i++) {
        const struct hti_wreck_database *d = &newest->databases[i];
        struct probe p = { table, MAX_PROBED_ROWS };
        if (d->number <= best || d->claimed)
            continue;
        const int rc = hti_kvwalk_walk(newest->file, &d->tree, probe_row, NULL, &p, error);
        if (rc < 0)
            return rc;
        if (rc == 1) {
            best = d->number;
            *source = (struct source){ &d->tree, 0 };
        }
    }
    return 0;
}

static int find_rows(const struct hti_wreck *wreck, const struct hti_wreck_table *table, struct source *source,
                     struct htstore_error *error)
{
    *source = (struct source){ NULL, 0 };
    if (!table->has_totals || table->totals_state != 0) {
        const int rc = probe_databases(wreck, table, source, error);
        if (rc != 0 || source->tree || !table->has_totals)
            return rc;
    }
    for (unsigned i = 0; i < HTI_WRECK_STATES && !source->tree; i++) {
        const struct hti_wreck_database *d = find_database(&wreck->states[i], table->totals.database);
        if (d && i != table->totals_state && d->claimed)
            return 0; /* meanwhile it is garbage */
        if (d)
            *source = (struct source){ &d->tree, i };
    }
    return 0;
}

struct row_walk {
    struct hti_wreck_damage damage;
    const struct hti_wreck_table *table;
    const char *label;
    hti_wreck_row_fn row;
    void *user;
    uint64_t n_rows;
    uint64_t n_damaged;
    struct hti_hash128 digest;
};

static void show_number(const struct hti_row_type *type, const uint8_t *key, char out[KEY_TEXT_SIZE])
{
    uint8_t bytes[8] = { 0 };
    float f;
    double d;

    memcpy(bytes, key, type->key_size);
    const uint64_t n = hti_load_le64(bytes);
    if (type->key_dtype == HTSTORE_FLOAT32) {
        memcpy(&f, &(uint32_t){ (uint32_t)n }, sizeof f);
        snprintf(out, KEY_TEXT_SIZE, "%.9g", (double)f);
    } else if (type->key_dtype == HTSTORE_FLOAT64) {
        memcpy(&d, &n, sizeof d);
        snprintf(out, KEY_TEXT_SIZE, "%.17g", d);
    } else if (type->key_dtype <= HTSTORE_INT64) {
        const unsigned unused = 64 - 8 * type->key_size;
        snprintf(out, KEY_TEXT_SIZE, "%lld", (long long)((int64_t)(n << unused) >> unused));
    } else {
        snprintf(out, KEY_TEXT_SIZE, "%llu", (unsigned long long)n);
    }
}

static void tell_bad_row(const struct row_walk *w, struct hti_kv_bytes key, struct hti_kv_bytes value)
{
    const struct hti_row_type *type = &w->table->type;
    char text[KEY_TEXT_SIZE];
    uint8_t key_space[8];
    struct hti_row row;

    hti_codec_peek_row(type, key.data, key.size, value.data, value.size, key_space, &row);
    if (type->key_size != 0 && row.key_size == type->key_size)
        show_number(type, row.key, text);
    else
        hti_text_escape(text, sizeof text, row.key, row.key_size);
    hti_wreck_warn(w->damage.wreck, "%s: the row of key %s is damaged: its checksum differs", w->label, text);
}

static int take_row(void *user, const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size)
{
    struct row_walk *w = user;
    uint8_t key_space[8];
    struct hti_hash128 hash;
    struct hti_row row;

    if (hti_codec_load_row(&w->table->type, w->table->id, key, key_size, value, value_size, key_space, &row, &hash) !=
        0) {
        if (w->n_damaged++ < HTI_WRECK_MAX_TOLD)
            tell_bad_row(w, (struct hti_kv_bytes){ key, key_size }, (struct hti_kv_bytes){ value, value_size });
        return 0;
    }
    hti_digest_add(&w->digest, hash);
    w->n_rows++;
    return w->row(w->user, &row);
}

/* Are these the rows that the catalogue promises? */
static void judge_rows(const struct row_walk *w, const struct source *source)
{
    const struct hti_totals_record *totals = &w->table->totals;
    const bool comparable = w->table->has_totals && (!source->tree || w->table->totals_state == source->state);
    const uint64_t expected = comparable ? totals->n_rows : source->tree ? source->tree->n_entries : 0;
    const bool altered = comparable && (w->digest.low != totals->digest.low || w->digest.high != totals->digest.high);

    hti_wreck_tell_pages(&w->damage);
    w->damage.wreck->found.n_damaged_rows += w->n_damaged;
    if (w->n_damaged > HTI_WRECK_MAX_TOLD)
        hti_wreck_warn(w->damage.wreck, "%s: %llu damaged rows in all", w->label, (unsigned long long)w->n_damaged);
    if (!source->tree && !w->table->has_totals)
        hti_wreck_warn(w->damage.wreck, "%s: its totals are missing or damaged, and no rows of it are found", w->label);
    else if (w->n_rows != expected || w->n_damaged > 0 || w->damage.n_pages > 0)
        hti_wreck_warn(w->damage.wreck, "%s: %llu of %llu rows readable", w->label, (unsigned long long)w->n_rows,
                       (unsigned long long)expected);
    else if (altered)
        hti_wreck_warn(w->damage.wreck, "%s: rows were lost or altered: the digest differs from the catalogue's",
                       w->label);
    else if (source->state != 0)
        hti_wreck_warn(w->damage.wreck, "%s: its rows are those before the last transaction", w->label);
    else
        return;
    w->damage.wreck->found.n_damaged_tables++;
}

int hti_wreck_rows_walk(struct hti_wreck *wreck, const struct hti_wreck_table *table, hti_wreck_row_fn row, void *user,
                        struct htstore_error *error)
{
    char label[HTI_WRECK_LABEL_SIZE];
    struct row_walk w = {
        .damage = { .wreck = wreck, .what = label }, .table = table, .label = label, .row = row, .user = user
    };
    struct source source;
    int rc;

    hti_wreck_label(table, label);
    rc = find_rows(wreck, table, &source, error);
    if (rc == 0 && source.tree)
        rc = hti_kvwalk_walk(wreck->states[source.state].file, source.tree, take_row, hti_wreck_note_page, &w, error);
    if (rc == 0)
        judge_rows(&w, &source);
    return rc;
}
