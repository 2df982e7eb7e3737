/* manager_steps: saves, deletions and the opening of a checkpoint manager, to be killed in; steps of create_kill. */
#include <string.h>

#include "check_util.h"
#include "steps.h"

#define N_BATCHES 30
#define N_UNFLUSHED 10
#define KEPT 2

static struct htstore_checkpoint *checkpoint;
static struct htstore_manager *manager;
static struct htstore_arena *arena;

static struct htstore_error *error_of_store(void)
{
    return &opened_store()->error;
}

static void open_manager(int64_t max_to_keep)
{
    const struct htstore_manager_options options = { .size = sizeof options, .max_to_keep = max_to_keep };

    must(htstore_arena_new(&arena, error_of_store()), "arena");
    must(htstore_checkpoint_new(opened_store()->store, NULL, &checkpoint, error_of_store()), "checkpoint");
    must(htstore_manager_open(checkpoint, &options, &manager, error_of_store()), "manager");
}

static void close_manager(void)
{
    htstore_manager_close(manager);
    must(htstore_checkpoint_close(checkpoint, error_of_store()), "close of the checkpoint");
    must(oracle_close(opened_store()), "close");
    htstore_arena_free(arena);
}

static int save(void)
{
    return htstore_manager_save(manager, NULL, NULL, NULL, error_of_store());
}

/* Two checkpoints, 1 and 2. */
static void prepare(void)
{
    open_store(HTSTORE_CREATE);
    write_batches(N_BATCHES, HTSTORE_LAZY);
    open_manager(KEPT);
    must(save(), "save");
    write_batches(N_UNFLUSHED, HTSTORE_LAZY);
    must(save(), "save");
    close_manager();
}

static void do_save(void)
{
    open_store(0);
    write_batches(N_UNFLUSHED, HTSTORE_LAZY);
    open_manager(KEPT);
    strike_begin();
    end(save(), "save");
}

static void do_remove(void)
{
    open_store(0);
    open_manager(KEPT);
    strike_begin();
    end(htstore_manager_remove(manager, 1, error_of_store()), "remove");
}

static void do_prune(void)
{
    open_store(0);
    open_manager(1);
    strike_begin();
    end(htstore_manager_prune(manager, error_of_store()), "prune");
}

static void do_open(void)
{
    open_store(0);
    strike_begin();
    open_manager(KEPT);
    end(0, "open");
}

/* At least so many are listed, all of them whole, the newest has at least this number, and there is nothing else. */
static void check_checkpoints(uint64_t n_wanted, int64_t newest)
{
    const struct htstore_checkpoint_file *files;
    const char *latest;
    uint64_t n;

    open_store(0);
    open_manager(0);
    must(htstore_manager_list(manager, arena, &files, &n, error_of_store()), "list");
    if (n < n_wanted)
        strike_condemn(ORACLE_LOST, "checkpoints are gone");
    for (uint64_t i = 0; i < n; i++)
        if (!files[i].listed)
            strike_condemn(ORACLE_CORRUPT, "a checkpoint is there that nobody will delete");
    for (uint64_t i = 0; i < n; i++)
        if (!zstd_accepts(files[i].path))
            strike_condemn(ORACLE_CORRUPT, "zstd -t refuses a checkpoint");
    if (n == 0 || files[n - 1].number < newest)
        strike_condemn(ORACLE_LOST, "the newest checkpoint is gone");
    if (htstore_manager_latest(manager, arena, &latest, error_of_store()) != 0 ||
        strcmp(latest, files[n - 1].path) != 0)
        strike_condemn(ORACLE_CORRUPT, "the newest checkpoint is damaged");
    must(save(), "save after a kill");
    close_manager();
    check_contents(false);
}

static void check_saved(void)
{
    check_checkpoints(KEPT, strike_report->done ? 3 : 2);
}

static void check_removed(void)
{
    check_checkpoints(1, 2);
}

static void check_opened(void)
{
    check_checkpoints(KEPT, 2);
}

const struct strike_step manager_steps[] = {
    { "save", prepare, do_save, check_saved, 0, false },
    { "remove", prepare, do_remove, check_removed, 0, true },
    { "prune", prepare, do_prune, check_removed, 0, false },
    { "open-manager", prepare, do_open, check_opened, 0, false },
};
const unsigned n_manager_steps = sizeof manager_steps / sizeof *manager_steps;
