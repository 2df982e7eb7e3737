/*
 * create_kill: kills the creation of a store at every system call, and other steps (recovery, writes, flush, close,
 * making and dropping a table, saves and restores, those of a manager) at many of theirs (strike.h): afterwards the state is the one before or the one after.
 *
 *     create_kill [--points=N] [STEP]...      N kills of each step but creation, at most; 0: at every system call
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"
#include "oracle_store.h"
#include "segment.h"
#include "steps.h"

#define N_BATCHES 40 /* in the store before a step */
#define N_UNFLUSHED 12 /* written before a step that flushes */
#define N_WRITTEN 60 /* by the step that writes */
#define LEFTOVER "." STRIKE_STORE ".htstore-tmp"
#define N_EXTRA_ROWS 50

static struct oracle oracle;
static struct oracle_store s;

/* ---- in children ---- */

struct oracle_store *opened_store(void)
{
    return &s;
}

void must(int rc, const char *what)
{
    strike_must(rc, what, s.error.message);
}

static void give_up(const char *what)
{
    must(HTSTORE_EIO, what);
}

static struct htstore_options options(uint32_t flags)
{
    struct htstore_options o = oracle_options(strike_seed, HTSTORE_SYNC);
    o.flags |= flags;
    return o;
}

void open_store(uint32_t flags)
{
    const struct htstore_options o = options(flags);
    must(oracle_open(&s, strike_path, &o), "open");
}

void write_batches(uint64_t n, uint32_t durability)
{
    for (; n > 0; n--) {
        must(oracle_write(&s, &oracle, durability), "write");
        strike_report->position = oracle.position;
    }
}

void end(int rc, const char *what)
{
    must(rc, what);
    strike_end();
}

/* ---- steps: what is there before, and what is done ---- */

static void prepare_nothing(void)
{
}

static void prepare_closed(void)
{
    open_store(HTSTORE_CREATE);
    write_batches(N_BATCHES, HTSTORE_LAZY);
    must(oracle_close(&s), "close");
}

static void prepare_crashed(void)
{
    open_store(HTSTORE_CREATE);
    write_batches(N_BATCHES, HTSTORE_LAZY);
}

/* Nothing goes to LMDB behind our back, and no segment away. */
static void open_unflushed(void)
{
    struct htstore_options o = options(HTSTORE_CREATE);

    o.delta_bytes = 0;
    o.flush_age_ms = UINT32_MAX;
    o.cache_bytes = 0; /* a table that outgrows its memory would be flushed */
    must(oracle_open(&s, strike_path, &o), "open");
}

/* The end of a record as a torn write leaves it: what was there before, zeros. */
static void tear(const struct hti_segment *segment)
{
    static const uint8_t zeros[64];
    const int fd = open(segment->path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || pwrite(fd, zeros, sizeof zeros, (off_t)(segment->offset - sizeof zeros)) != (ssize_t)sizeof zeros)
        give_up("tear");
    close(fd);
}

/* Tear the last record: it never was. */
static void prepare_torn(void)
{
    struct htstore_stats stats = { .size = sizeof stats };
    struct hti_record_header header;
    struct hti_segment segment;
    char folder[FOLDER_PATH_SIZE + 16];
    uint64_t *numbers, last = 0;
    size_t n;
    int fd;

    open_unflushed();
    write_batches(N_BATCHES, HTSTORE_LAZY);
    must(htstore_stats(s.store, &stats, &s.error), "stats");
    (void)snprintf(folder, sizeof folder, "%s/journal", strike_path);
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(hti_segment_list(fd, folder, false, &numbers, &n, &s.error), "journal");
    for (size_t i = 0; i < n; i++) {
        must(hti_segment_open(fd, folder, stats.store_id, numbers[i], &segment, &s.error), "segment");
        while (hti_segment_read(&segment, &header, NULL, &s.error) == 0)
            last = header.lsn;
        if (last == stats.visible_lsn) {
            tear(&segment);
            break;
        }
        hti_segment_close(&segment);
    }
    strike_report->position--;
}

static void prepare_extra(void)
{
    const struct htstore_schema schema = oracle_schema(0);
    int64_t numbers[N_EXTRA_ROWS];
    const struct htstore_array rows = htstore_vector(HTSTORE_INT64, numbers, N_EXTRA_ROWS);
    struct htstore_table *extra;

    open_store(HTSTORE_CREATE);
    write_batches(N_BATCHES, HTSTORE_LAZY);
    must(htstore_table_create(s.store, "extra", &schema, &extra, &s.error), "create");
    for (int64_t i = 0; i < N_EXTRA_ROWS; i++)
        numbers[i] = i;
    must(htstore_table_insert(extra, &rows, &rows, 0, &s.error), "insert");
    must(htstore_table_close(extra, &s.error), "close");
    must(oracle_close(&s), "close");
}

static void do_create(void)
{
    const struct htstore_options o = options(HTSTORE_CREATE | HTSTORE_EXCLUSIVE);

    strike_begin();
    end(htstore_open(strike_path, &o, &s.store, &s.error), "create");
}

static void do_open(void)
{
    const struct htstore_options o = options(0);

    strike_begin();
    end(htstore_open(strike_path, &o, &s.store, &s.error), "open");
}

static void do_write(void)
{
    open_store(0);
    strike_begin();
    write_batches(N_WRITTEN, HTSTORE_SYNC);
    end(0, "write");
}

static void do_flush(void)
{
    open_store(0);
    write_batches(N_UNFLUSHED, HTSTORE_LAZY);
    strike_begin();
    end(htstore_flush(s.store, &s.error), "flush");
}

static void do_close(void)
{
    open_store(0);
    write_batches(N_UNFLUSHED, HTSTORE_LAZY);
    strike_begin();
    end(oracle_close(&s), "close");
}

static void do_make_table(void)
{
    const struct htstore_schema schema = oracle_schema(0);
    struct htstore_table *extra;

    open_store(0);
    write_batches(N_UNFLUSHED, HTSTORE_LAZY);
    strike_begin();
    end(htstore_table_create(s.store, "extra", &schema, &extra, &s.error), "create");
}

static void do_drop_table(void)
{
    open_store(0);
    write_batches(N_UNFLUSHED, HTSTORE_LAZY);
    strike_begin();
    end(htstore_table_drop(s.store, "extra", &s.error), "drop");
}

/* ---- checks after a kill, also in children: a verdict is their exit status ---- */

static void expect_only(const char *name, const char *other)
{
    if (folder_count_others(strike_folder, name, other) != 0)
        strike_condemn(ORACLE_CORRUPT, "creation leaves something else behind");
}

static void expect_rows(const char *name, uint64_t n)
{
    struct htstore_table *table;
    uint64_t size;

    must(htstore_table_open(s.store, name, NULL, &table, &s.error), "open of a table");
    must(htstore_table_size(table, &size, &s.error), "size");
    if (size != n)
        strike_condemn(ORACLE_PARTIAL, "the table has another number of rows");
    must(htstore_table_close(table, &s.error), "close of a table");
}

static void use_new_store(uint32_t flags)
{
    const struct htstore_options o = options(flags);
    struct htstore_stats stats = { .size = sizeof stats };
    char why[512];

    must(htstore_open(strike_path, &o, &s.store, &s.error), "open of what creation left");
    must(htstore_stats(s.store, &stats, &s.error), "stats");
    if (stats.n_tables != 0 || stats.visible_lsn != 0)
        strike_condemn(ORACLE_CORRUPT, "a new store is not empty");
    if (oracle_probe(&s, 1, why) != ORACLE_OK)
        strike_condemn(ORACLE_OPENFAIL, why);
    must(htstore_close(s.store, &s.error), "close");
    must(htstore_open(strike_path, &o, &s.store, &s.error), "open again");
    expect_rows("probe", 1);
    must(htstore_close(s.store, &s.error), "close again");
}

static void check_created(void)
{
    if (access(strike_path, F_OK) == 0) {
        expect_only(STRIKE_STORE, NULL);
        use_new_store(0);
    } else if (strike_report->done) {
        strike_condemn(ORACLE_LOST, "the new store is gone");
    } else {
        expect_only(LEFTOVER, NULL);
        use_new_store(HTSTORE_CREATE);
    }
    expect_only(STRIKE_STORE, NULL);
}

/* `spare`: one batch more than acknowledged may be there. */
void check_contents(bool spare)
{
    const struct htstore_options o = options(0);
    const uint64_t position = strike_report->position;
    char why[512];
    enum oracle_verdict verdict;

    oracle_init(&oracle, strike_seed, position);
    verdict = oracle_verify(strike_path, &o, &oracle, false, why);
    if (verdict != ORACLE_OK)
        strike_condemn(verdict, why);
    if (!spare && oracle.position != position)
        strike_condemn(ORACLE_CORRUPT, "a batch appeared from nowhere");
}

static void check_same(void)
{
    check_contents(false);
}

static void check_written(void)
{
    check_contents(!strike_report->done);
}

static bool has_extra(void)
{
    struct htstore_table *extra;
    int rc;

    open_store(0);
    rc = htstore_table_open(s.store, "extra", NULL, &extra, &s.error);
    if (rc != 0 && rc != HTSTORE_ENOTFOUND)
        give_up("open of a table");
    must(htstore_table_close(extra, &s.error), "close of a table");
    return rc == 0;
}

static void check_made_table(void)
{
    if (has_extra())
        expect_rows("extra", 0);
    else if (strike_report->done)
        strike_condemn(ORACLE_LOST, "the new table is gone");
    must(oracle_close(&s), "close");
    check_contents(false);
}

static void check_dropped_table(void)
{
    if (has_extra()) {
        expect_rows("extra", N_EXTRA_ROWS);
        if (strike_report->done)
            strike_condemn(ORACLE_LOST, "the dropped table is back");
    }
    must(oracle_close(&s), "close");
    check_contents(false);
}

static const struct strike_step steps[] = {
    { "create", prepare_nothing, do_create, check_created, 0, true },
    { "recover", prepare_crashed, do_open, check_same, 0, false },
    { "recover-torn", prepare_torn, do_open, check_same, 0, false },
    { "open-closed", prepare_closed, do_open, check_same, 0, false },
    { "write", prepare_closed, do_write, check_written, 0, false },
    { "flush", prepare_closed, do_flush, check_same, 0, false },
    { "close", prepare_closed, do_close, check_same, 0, false },
    { "make-table", prepare_closed, do_make_table, check_made_table, 0, false },
    { "drop-table", prepare_extra, do_drop_table, check_dropped_table, 0, false },
};
#define N_STEPS (sizeof steps / sizeof *steps)

static void begin(void)
{
    oracle_init(&oracle, strike_seed, strike_report->position); /* seed 20: tables in memory; 21: not */
}

int main(int argc, char **argv)
{
    struct strike_step all[N_STEPS + 16];
    size_t n = 0;

    for (size_t i = 0; i < N_STEPS; i++)
        all[n++] = steps[i];
    for (size_t i = 0; i < n_manager_steps && n < sizeof all / sizeof *all; i++)
        all[n++] = manager_steps[i];
    for (size_t i = 0; i < n_checkpoint_steps && n < sizeof all / sizeof *all; i++)
        all[n++] = checkpoint_steps[i];
    return strike_main(argc, argv, all, n, begin);
}
