/* inspect_rows: hides what is compared of a row and of all rows of an object. */
#include "inspect_rows.h"

#include <inttypes.h>

#include "fixedrows.h"

#define MAX_TOLD 100 /* damaged rows of an object that are told one by one */
#define PROGRESS_ROWS 65536

struct row_sum {
    const char *label; /* of the object */
    uint64_t n_rows;
    uint64_t n_damaged;
    struct hti_hash128 digest;
    bool has_bad_pages;
    struct hti_columns columns; /* of a leaf */
};

static void note_page(void *user, uint64_t page, const char *reason)
{
    struct row_sum *sum = user;

    (void)page;
    (void)reason;
    sum->has_bad_pages = true;
}

static void check_row(struct hti_inspect *check, const struct hti_inspect_object *object,
                      const struct hti_kvwalk_entry *entry, struct row_sum *sum)
{
    uint8_t key_space[8];
    struct hti_row row;
    struct hti_hash128 hash;

    sum->n_rows++;
    if (hti_codec_load_row(&object->type, object->id, entry->key, entry->key_size, entry->value, entry->value_size,
                           key_space, &row, &hash) == 0) {
        hti_digest_add(&sum->digest, hash);
        return;
    }
    if (sum->n_damaged++ < MAX_TOLD)
        hti_inspect_tell(check, sum->label, entry->value_page ? entry->value_page : entry->page,
                         "row %" PRIu64 " in the order of keys is damaged", sum->n_rows);
}

static void compare_totals(struct hti_inspect *check, const struct hti_inspect_object *object,
                           const struct row_sum *sum)
{
    const struct hti_totals_record *totals = &object->totals;

    check->report->n_damaged_rows += sum->n_damaged;
    if (sum->n_damaged > MAX_TOLD)
        hti_inspect_tell(check, sum->label, HTI_INSPECT_NONE, "%" PRIu64 " rows are damaged in all", sum->n_damaged);
    /* With pages or rows missing, these cannot be right. */
    if (sum->has_bad_pages || sum->n_damaged > 0)
        return;
    if (sum->n_rows != totals->n_rows)
        hti_inspect_tell(check, sum->label, HTI_INSPECT_NONE, "%" PRIu64 " rows are recorded, %" PRIu64 " are there",
                         totals->n_rows, sum->n_rows);
    else if (sum->digest.low != totals->digest.low || sum->digest.high != totals->digest.high)
        hti_inspect_tell(check, sum->label, HTI_INSPECT_NONE,
                         "its rows are not those that were written: their digest differs");
}

/*
 * Many rows at once: the leaf at hand, if all of it is sound. 0, 1 = no more; 2 = it is to be read row by row, which tells
 * what is wrong; or negative.
 */
static int check_leaf(struct hti_inspect *check, const struct hti_inspect_object *object,
                      struct hti_kvwalk_cursor *cursor, struct row_sum *sum, struct htstore_error *error)
{
    struct hti_hash128 digest = sum->digest;
    struct hti_fixedrows_leaf leaf;
    struct hti_kvwalk_leaf page;
    int rc = hti_kvwalk_cursor_leaf(cursor, &page, error);

    if (rc != 0)
        return rc;
    if (!hti_fixedrows_of_leaf(&object->type, &page, check->walk->file.meta.page_size, &leaf))
        return 2;
    hti_columns_reset(&sum->columns, &object->type);
    rc = hti_fixedrows_load(object->id, &leaf, &sum->columns, &digest);
    if (rc == HTSTORE_ENOMEM)
        return hti_fail(error, rc, "no memory to check rows");
    if (rc != 0)
        return 2;
    sum->digest = digest;
    sum->n_rows += leaf.n_rows;
    hti_kvwalk_cursor_skip_leaf(cursor);
    return 0;
}

/* The next row, or a leaf full of them. 0, 1 = no more, or negative. */
static int check_next(struct hti_inspect *check, const struct hti_inspect_object *object,
                      struct hti_kvwalk_cursor *cursor, struct row_sum *sum, struct htstore_error *error)
{
    struct hti_kvwalk_entry entry;
    int rc = 2;

    if (hti_fixedrows_fit(&object->type))
        rc = check_leaf(check, object, cursor, sum, error);
    if (rc != 2)
        return rc;
    rc = hti_kvwalk_cursor_next(cursor, &entry, error);
    if (rc == 0)
        check_row(check, object, &entry, sum);
    return rc;
}

static int read_rows(struct hti_inspect *check, const struct hti_inspect_object *object, struct row_sum *sum,
                     struct htstore_error *error)
{
    const struct hti_inspect_database *database = hti_inspect_find_database(check, object->totals.database);
    const struct hti_kvwalk_options options = { .bad = note_page, .user = sum };
    const uint64_t n_all = check->report->n_rows;
    struct hti_kvwalk_cursor *cursor;
    uint64_t told = 0;
    int rc;

    if (!database)
        return 0;
    hti_columns_init(&sum->columns);
    rc = hti_kvwalk_cursor_open(check->walk, &database->tree, &options, &cursor, error);
    while (rc == 0 && (rc = check_next(check, object, cursor, sum, error)) == 0) {
        if (sum->n_rows - told < PROGRESS_ROWS)
            continue;
        told = sum->n_rows;
        rc = hti_inspect_progress(check, "rows", n_all + sum->n_rows, 0, error);
    }
    hti_columns_release(&sum->columns);
    hti_kvwalk_cursor_close(cursor);
    return rc == 1 ? 0 : rc;
}

int hti_inspect_rows_run(struct hti_inspect *check, struct htstore_error *error)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < check->n_objects; i++) {
        const struct hti_inspect_object *object = &check->objects[i];
        char label[HTI_INSPECT_LABEL_SIZE];
        struct row_sum sum = { .label = label };
        /* Without either of them nothing can be compared, which was told. */
        if (!object->has_record || !object->has_totals || object->record.kind == HTSTORE_KIND_MAPPING)
            continue;
        hti_inspect_label(object, label);
        rc = read_rows(check, object, &sum, error);
        if (rc == 0 && (object->totals.database == 0 || hti_inspect_find_database(check, object->totals.database)))
            compare_totals(check, object, &sum);
        check->report->n_rows += sum.n_rows;
    }
    return rc;
}
