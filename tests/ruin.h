/*
 * ruin: stores to damage, ways to damage them, and what htstore_recover() makes of them. A program that uses this replaces
 * pread() for all that is linked into it. Names are those of folders and files in the directory of the test: "sound" is a
 * store, "damaged" what is recovered, "saved" the new store.
 */
#ifndef RUIN_H
#define RUIN_H

#include <sys/types.h>

#include "api_util.h"

#define RUIN_PAGE_SIZE 4096

/* From now on pread() fails where it touches these bytes of that file. */
struct ruin_bad_sector {
    ino_t inode; /* 0: none */
    off_t begin, end;
};
extern struct ruin_bad_sector ruin_bad_sector;

/* ---- files ---- */

struct ruin_content {
    uint8_t *data;
    size_t size;
};
struct ruin_content ruin_load(const char *path);
void ruin_save(const char *path, const void *data, size_t size);
void ruin_write_at(const char *path, uint64_t offset, const void *data, size_t size);
void ruin_spoil_at(const char *path, uint64_t offset, size_t size); /* change all these bytes */
uint64_t ruin_find_bytes(const char *path, const void *bytes, size_t size);
const char *ruin_folder_text(const char *path); /* a line for each file in it: name, mode, size, hash */
void ruin_copy(const char *from, const char *to);
void ruin_remove(const char *name);
bool ruin_exists(const char *name);

/* ---- stores ---- */

#define RUIN_MAX_TABLES 160

/* What a store holds. */
struct ruin_image {
    size_t n;
    uint64_t n_rows;
    struct {
        const char *name;
        const char *rows; /* as api_dump() */
        uint64_t n_rows;
    } tables[RUIN_MAX_TABLES];
};
struct ruin_image *ruin_image_of(struct htstore *store); /* takes a flush */
struct ruin_image *ruin_image_at(const char *name);
size_t ruin_find_table(const struct ruin_image *image, const char *name);
void ruin_same_table(const struct ruin_image *expected, const struct ruin_image *found, const char *name);
void ruin_same_image(const struct ruin_image *expected, const struct ruin_image *found);
/* Nothing is found that was not written. */
void ruin_part_of_image(const struct ruin_image *expected, const struct ruin_image *found);

struct htstore_table *ruin_make_table(const char *name, uint32_t key_dtype, uint32_t value_dtype, const char *value);
void ruin_close_table(struct htstore_table *table);
/* Rows number `first` to `first + n - 1`, for fixed-width tables and for those of two texts. */
void ruin_add_rows(struct htstore_table *table, uint64_t first, unsigned n, uint32_t durability);
void ruin_add_texts(struct htstore_table *table, unsigned first, unsigned n, size_t key_size);

/*
 * "sound", open as api.store: "ints" (id 1, 3000 rows), "words" (700 rows, text "one-000123" in row 123), "long" (60 keys of 700
 * bytes), "floats", "bools", "empty". Everything was flushed at once.
 */
void ruin_make_sound(void);
void ruin_write_unflushed(void); /* six batches with every kind of operation on it */
/* Closed, and copied to "damaged". */
struct ruin_image *ruin_make_damaged(void);
#define RUIN_N_MANY                                                                                                    \
    120 /* tables t000…, of three rows each, in a catalogue of many pages; every tenth was cleared once */
struct ruin_image *ruin_make_many(void);
/* What a killed process leaves of the open store, as "damaged"; then what the store held. */
struct ruin_image *ruin_kill(void);

/* ---- recovery ---- */

/*
 * Recover "damaged" to "saved", and check what holds for every call: the old store stays as it was, a result of 1 and a
 * warning go together, a failure leaves nothing.
 */
int ruin_recover(void);
extern struct htstore_recovery ruin_report;
extern const struct htstore_recovery ruin_untouched; /* what ruin_report is before a call */
extern size_t ruin_n_lines; /* of the log of the last call */
const char *ruin_log_text(void);
bool ruin_log_has(int32_t level, const char *words); /* a line with these words */
struct ruin_image *ruin_image_of_saved(void); /* has what the report says */

#define RECOVERED(expected)                                                                                            \
    do {                                                                                                               \
        int result_ = ruin_recover();                                                                                  \
        ck_assert_msg(result_ == (expected), "result %d (%s):\n%s", result_, api.error.message, ruin_log_text());      \
    } while (0)
#define WARNED(words)                                                                                                  \
    ck_assert_msg(ruin_log_has(HTSTORE_LOG_WARNING, words), "no warning '%s' in:\n%s", words, ruin_log_text())

/* ---- places in "damaged" ---- */

const char *ruin_data_path(void);
uint64_t ruin_newest_meta(void); /* page number */
uint64_t ruin_main_root(uint64_t meta); /* page of the main tree's root */
uint64_t ruin_catalog_root(bool older); /* page of the catalogue's root, after the last transaction or before it */
/* The value of that key in a page, if it is a leaf that has one. Free pages may still look like leaves. */
uint8_t *ruin_find_entry(uint8_t *page, const void *key, size_t key_size);
/* Spoil all leaves that hold this key, old copies of them too. */
void ruin_spoil_leaves(const void *key, size_t key_size);
void ruin_spoil_catalog_leaf(uint8_t kind, uint8_t id); /* those that hold this record of the catalogue */

/* Segments of the journal: the first one is where the batches since the last open begin. */
uint64_t ruin_find_segment(bool last);
uint64_t ruin_segment_number(void); /* of the first one */
const char *ruin_segment_path(uint64_t number);

#endif
