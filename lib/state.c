/* state: hides how open stores are found, forks noticed, handles told apart and tables listed. */
#include "state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "file.h"
#include "mem.h"
#include "text.h"
#include "varlayout.h"

#define MAX_CLOSED 1024 /* closed handles whose memory is kept, so that their use is noticed */

/* Open stores of the process. The guard page is emptied by the kernel in a forked child, so that a child is noticed. */
static pthread_mutex_t registry_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct htstore *registry;
static volatile uint8_t *guard_page;
static pid_t guard_pid; /* where the kernel cannot empty pages */

/* --- time, locks, log --- */

uint64_t hti_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000 + 1;
}

void hti_wait_until(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t deadline_ms)
{
    const struct timespec deadline = {
        .tv_sec = (time_t)(deadline_ms / 1000),
        .tv_nsec = (long)(deadline_ms % 1000 * 1000000),
    };
    pthread_cond_timedwait(cond, mutex, &deadline);
}

static int init_cond(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    int err = pthread_condattr_init(&attr);

    if (err == 0) {
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        err = pthread_cond_init(cond, &attr);
        pthread_condattr_destroy(&attr);
    }
    return err;
}

/* On Linux none of these can fail once memory for the store itself was there; an error is reported all the same. */
int hti_state_init(struct htstore *store, struct htstore_error *error)
{
    int err = pthread_mutex_init(&store->save_mutex, NULL);

    err = err ? err : pthread_mutex_init(&store->contents_mutex, NULL);
    err = err ? err : pthread_mutex_init(&store->flush_mutex, NULL);
    err = err ? err : pthread_mutex_init(&store->write_mutex, NULL);
    err = err ? err : pthread_mutex_init(&store->objects_mutex, NULL);
    err = err ? err : pthread_mutex_init(&store->view_mutex, NULL);
    err = err ? err : init_cond(&store->write_changed);
    err = err ? err : init_cond(&store->work);
    err = err ? err : init_cond(&store->warmed);
    err = err ? err : hti_section_init(&store->section);
    if (err != 0)
        return hti_file_fail(error, err, store->path, "cannot make the store's locks");
    store->queue_end = &store->queue;
    store->delta_end = &store->delta;
    store->closed_end = &store->closed;
    return 0;
}

static void free_closed(struct htstore *store)
{
    while (store->closed) {
        struct hti_handle *handle = store->closed;
        store->closed = handle->next_closed;
        hti_mem_free(handle);
    }
}

void hti_state_release(struct htstore *store)
{
    while (store->cores) {
        struct hti_core *core = store->cores;
        store->cores = core->next;
        hti_core_free(core);
    }
    free_closed(store);
    hti_record_free_list(store->delta);
    hti_record_free_list(store->frozen);
    hti_mem_free(store->garbage);
    hti_section_release(&store->section);
    pthread_cond_destroy(&store->warmed);
    pthread_cond_destroy(&store->work);
    pthread_cond_destroy(&store->write_changed);
    pthread_mutex_destroy(&store->view_mutex);
    pthread_mutex_destroy(&store->objects_mutex);
    pthread_mutex_destroy(&store->write_mutex);
    pthread_mutex_destroy(&store->flush_mutex);
    pthread_mutex_destroy(&store->contents_mutex);
    pthread_mutex_destroy(&store->save_mutex);
}

void hti_log(const struct htstore *store, int32_t level, const char *module, const char *format, ...)
{
    char message[sizeof((struct htstore_error *)0)->message + 256];
    va_list args;

    if (!store->options.log)
        return;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    store->options.log(store->options.log_user, level, module, message);
}

/* --- registry --- */

static void make_guard(void)
{
    const size_t size = (size_t)sysconf(_SC_PAGESIZE);
    void *page;

    if (guard_page || guard_pid)
        return;
    page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED && madvise(page, size, MADV_WIPEONFORK) == 0) {
        guard_page = page;
        *guard_page = 1;
        return;
    }
    if (page != MAP_FAILED)
        munmap(page, size);
    guard_pid = getpid();
}

static bool in_forked_child(void)
{
    return guard_page ? *guard_page == 0 : guard_pid != getpid();
}

bool hti_is_forked(const struct htstore *store)
{
    (void)store;
    return in_forked_child();
}

int hti_registry_add(struct htstore *store, struct htstore_error *error)
{
    int rc = 0;

    pthread_mutex_lock(&registry_mutex);
    make_guard();
    if (in_forked_child())
        rc = hti_fail(error, HTSTORE_EINVAL,
                      "this process was forked from one that used libhtstore; call exec before opening a store");
    for (const struct htstore *s = registry; s && rc == 0; s = s->next)
        if (s->device == store->device && s->inode == store->inode)
            rc = hti_fail(error, HTSTORE_EBUSY, "%s: already open in this process (%d)", store->path, (int)getpid());
    if (rc == 0) {
        store->next = registry;
        registry = store;
    }
    pthread_mutex_unlock(&registry_mutex);
    return rc;
}

void hti_registry_remove(struct htstore *store)
{
    pthread_mutex_lock(&registry_mutex);
    for (struct htstore **p = &registry; *p; p = &(*p)->next) {
        if (*p == store) {
            *p = store->next;
            break;
        }
    }
    pthread_mutex_unlock(&registry_mutex);
}

static bool is_registered(const struct htstore *store)
{
    const struct htstore *s;

    pthread_mutex_lock(&registry_mutex);
    for (s = registry; s && s != store; s = s->next)
        ;
    pthread_mutex_unlock(&registry_mutex);
    return s != NULL;
}

static int check_state(const struct htstore *store, bool write, struct htstore_error *error)
{
    if (!write)
        return 0;
    if (store->readonly)
        return hti_fail(error, HTSTORE_EREADONLY, "%s: the store is open for reading only", store->path);
    return hti_journal_poisoned(store->journal, error);
}

static int refuse_fork(struct htstore_error *error)
{
    return hti_fail(error, HTSTORE_EINVAL, "the store belongs to the parent process; a forked child must not use it");
}

int hti_check_store(const struct htstore *store, bool write, struct htstore_error *error)
{
    if (!store)
        return hti_fail(error, HTSTORE_EINVAL, "the store is NULL");
    if (in_forked_child())
        return refuse_fork(error);
    if (!is_registered(store))
        return hti_fail(error, HTSTORE_EINVAL, "this is not an open store");
    return check_state(store, write, error);
}

/* By enum htstore_kind. */
static const uint32_t MAGICS[] = { 0, HTI_MAGIC_TABLE, HTI_MAGIC_VARIABLE, HTI_MAGIC_MAPPING };
static const char *const KINDS[] = { "object", "table", "variable", "mapping" };

static int check_handle(const struct hti_handle *handle, uint32_t kind, bool write, struct htstore_error *error)
{
    if (!handle)
        return hti_fail(error, HTSTORE_EINVAL, "the %s is NULL", KINDS[kind]);
    if (in_forked_child())
        return refuse_fork(error);
    if (handle->magic != MAGICS[kind])
        return hti_fail(error, HTSTORE_EINVAL, "this is not an open %s", KINDS[kind]);
    return check_state(handle->store, write, error);
}

int hti_check_table(const struct htstore_table *table, bool write, struct htstore_error *error)
{
    return check_handle(table ? &table->handle : NULL, HTSTORE_KIND_TABLE, write, error);
}

int hti_check_variable(const struct htstore_variable *variable, bool write, struct htstore_error *error)
{
    return check_handle(variable ? &variable->handle : NULL, HTSTORE_KIND_VARIABLE, write, error);
}

int hti_check_mapping(const struct htstore_mapping *mapping, bool write, struct htstore_error *error)
{
    return check_handle(mapping ? &mapping->handle : NULL, HTSTORE_KIND_MAPPING, write, error);
}

bool hti_is_handle(const void *object)
{
    const struct hti_handle *handle = object;

    if (!handle || in_forked_child())
        return false;
    return handle->magic == HTI_MAGIC_TABLE || handle->magic == HTI_MAGIC_VARIABLE ||
           handle->magic == HTI_MAGIC_MAPPING;
}

pthread_mutex_t *hti_graph_mutex(struct htstore *store)
{
    return store->readonly ? &store->view_mutex : &store->flush_mutex;
}

/* --- objects --- */

static int init_table(struct hti_core *core)
{
    hti_row_type_init(&core->type, core->record.key_dtype, core->record.value_dtype,
                      hti_shape_count(&core->record.value_shape));
    core->default_elements =
        hti_mem_alloc_array((size_t)core->type.n_elements, htstore_dtype_size(core->type.value_dtype));
    if (!core->default_elements)
        return HTSTORE_ENOMEM;
    hti_codec_unpack_value(&core->type, core->record.default_value, core->record.default_size, core->default_elements);
    return 0;
}

struct hti_core *hti_core_new(struct hti_object_record *record)
{
    struct hti_core *core = hti_mem_zalloc(sizeof *core);

    if (!core)
        return NULL;
    core->record = *record;
    core->totals.id = core->record.id;
    if (record->kind == HTSTORE_KIND_VARIABLE)
        hti_varlayout_init(&core->type, record->value_dtype, hti_shape_count(&record->value_shape));
    else if (record->kind == HTSTORE_KIND_TABLE && init_table(core) != 0) {
        hti_mem_free(core);
        return NULL;
    }
    memset(record, 0, sizeof *record);
    return core;
}

const char *hti_core_label(const struct hti_core *core, char out[HTI_CORE_LABEL_SIZE])
{
    const char *kind = KINDS[core->record.kind];
    char name[HTI_CORE_LABEL_SIZE - 16];

    if (!core->record.name) {
        snprintf(out, HTI_CORE_LABEL_SIZE, "anonymous %s %llu", kind, (unsigned long long)core->record.id);
        return out;
    }
    hti_text_escape(name, sizeof name, core->record.name, strlen(core->record.name));
    snprintf(out, HTI_CORE_LABEL_SIZE, "%s %s", kind, name);
    return out;
}

void hti_core_free(struct hti_core *core)
{
    if (!core)
        return;
    hti_cache_free(core->rows);
    hti_cache_free(core->frozen);
    hti_cache_free(core->recent);
    hti_mem_free(core->warming);
    hti_members_release(&core->members);
    hti_object_record_release(&core->record);
    hti_mem_free(core->default_elements);
    hti_mem_free(core);
}

struct hti_core *hti_core_by_id(struct htstore *store, uint64_t id)
{
    struct hti_core *core = store->cores;

    while (core && (core->record.id != id || core->dropped))
        core = core->next;
    return core;
}

struct hti_core *hti_core_by_name(struct htstore *store, const char *name)
{
    struct hti_core *core = store->cores;

    while (core && (core->dropped || !core->record.name || strcmp(core->record.name, name) != 0))
        core = core->next;
    return core;
}

static uint64_t cache_memory(const struct hti_cache *cache)
{
    return cache ? hti_cache_bytes(cache) : 0;
}

uint64_t hti_core_bytes(const struct hti_core *core)
{
    return cache_memory(core->recent) + (core->resident || core->warming ? cache_memory(core->rows) : 0);
}

static uint64_t unflushed_bytes(const struct hti_core *core)
{
    return cache_memory(core->frozen) + (core->resident || core->warming ? 0 : cache_memory(core->rows));
}

uint64_t hti_core_memory(struct htstore *store, bool unflushed)
{
    uint64_t sum = 0;

    struct hti_section_line *line = hti_section_enter(&store->section);
    pthread_mutex_lock(&store->objects_mutex);
    for (const struct hti_core *core = store->cores; core; core = core->next)
        sum += hti_core_bytes(core) + (unflushed ? unflushed_bytes(core) : 0);
    pthread_mutex_unlock(&store->objects_mutex);
    hti_section_leave(line);
    return sum;
}

/* What a table gives up when it leaves its mode; freed when nobody can see it any more. */
struct given_up {
    struct hti_cache *rows, *recent;
    struct hti_warming *warming;
};

static void free_given_up(struct given_up *old)
{
    hti_cache_free(old->rows);
    hti_cache_free(old->recent);
    hti_mem_free(old->warming);
}

void hti_core_change_mode(struct htstore *store, struct hti_core *core, struct hti_cache *rows,
                          struct hti_cache *recent, bool resident)
{
    struct given_up old;

    pthread_mutex_lock(&store->write_mutex);
    hti_section_close(&store->section);
    old = (struct given_up){ core->rows, core->recent, core->warming };
    core->rows_cleared = core->rows_cleared && rows == old.rows && !resident;
    core->rows = rows;
    core->recent = recent;
    core->warming = NULL;
    core->resident = resident;
    core->version++;
    pthread_mutex_lock(&store->objects_mutex);
    const bool unpin = core->pinned && (resident || core->n_handles == 0);
    pthread_mutex_unlock(&store->objects_mutex);
    if (unpin) {
        hti_kv_release(store->kv, core->totals.database);
        core->pinned = false;
    }
    hti_section_open(&store->section);
    pthread_cond_broadcast(&store->warmed);
    pthread_mutex_unlock(&store->write_mutex);
    if (old.rows == rows)
        old.rows = NULL;
    if (old.recent == recent)
        old.recent = NULL;
    free_given_up(&old);
}

void hti_core_trim(struct htstore *store, struct hti_core *core)
{
    bool idle;

    pthread_mutex_lock(&store->objects_mutex);
    idle = core->n_handles == 0;
    pthread_mutex_unlock(&store->objects_mutex);
    if (!idle || core->frozen || core->last_lsn > atomic_load(&store->applied_lsn))
        return;
    if (core->rows || core->recent || core->warming || core->resident || core->pinned)
        hti_core_change_mode(store, core, NULL, NULL, false);
}

int hti_garbage_add(struct htstore *store, uint64_t database)
{
    uint64_t *more = hti_mem_realloc_array(store->garbage, store->n_garbage + 1, sizeof *more);

    if (!more)
        return HTSTORE_ENOMEM;
    more[store->n_garbage++] = database;
    store->garbage = more;
    return 0;
}

/* --- handles --- */

int hti_handle_new(struct hti_handle **out, struct htstore_error *error)
{
    *out = hti_mem_zalloc(sizeof **out);
    return *out ? 0 : hti_fail(error, HTSTORE_ENOMEM, "no memory for a handle");
}

void hti_handle_open(struct hti_handle *handle, struct htstore *store, struct hti_core *core)
{
    handle->magic = MAGICS[core->record.kind];
    handle->store = store;
    handle->core = core;
    pthread_mutex_lock(&store->objects_mutex);
    core->n_handles++;
    store->n_handles++;
    pthread_mutex_unlock(&store->objects_mutex);
}

void hti_handle_retire(struct hti_handle *handle)
{
    struct htstore *store = handle->store;

    handle->magic = HTI_MAGIC_CLOSED;
    handle->core = NULL;
    handle->next_closed = NULL;
    *store->closed_end = handle;
    store->closed_end = &handle->next_closed;
    store->n_handles--;
    if (++store->n_closed > MAX_CLOSED) {
        struct hti_handle *oldest = store->closed;
        store->closed = oldest->next_closed;
        store->n_closed--;
        hti_mem_free(oldest);
    }
}

void hti_handle_use(struct hti_handle *handle, int change)
{
    pthread_mutex_lock(&handle->store->objects_mutex);
    handle->n_users += (uint32_t)change;
    pthread_mutex_unlock(&handle->store->objects_mutex);
}

void hti_handle_count(struct htstore *store, int change)
{
    pthread_mutex_lock(&store->objects_mutex);
    store->n_handles += (uint64_t)(int64_t)change;
    pthread_mutex_unlock(&store->objects_mutex);
}

void hti_slow_enter(struct htstore *store, struct hti_slow *slow)
{
    pthread_mutex_lock(&store->objects_mutex);
    slow->since_ms = hti_now_ms();
    slow->previous = NULL;
    slow->next = store->slow;
    if (store->slow)
        store->slow->previous = slow;
    store->slow = slow;
    store->n_handles++;
    pthread_mutex_unlock(&store->objects_mutex);
}

void hti_slow_leave(struct htstore *store, struct hti_slow *slow)
{
    pthread_mutex_lock(&store->objects_mutex);
    if (slow->previous)
        slow->previous->next = slow->next;
    else
        store->slow = slow->next;
    if (slow->next)
        slow->next->previous = slow->previous;
    store->n_handles--;
    pthread_mutex_unlock(&store->objects_mutex);
}

uint64_t hti_slow_age_ms(struct htstore *store)
{
    uint64_t age = 0;

    pthread_mutex_lock(&store->objects_mutex);
    const uint64_t now = hti_now_ms();
    for (const struct hti_slow *slow = store->slow; slow; slow = slow->next)
        if (now - slow->since_ms > age)
            age = now - slow->since_ms;
    pthread_mutex_unlock(&store->objects_mutex);
    return age;
}
