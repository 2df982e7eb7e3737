/* section: hides how the writer makes sure that no reader is left, and how threads come to lines. */
#include "section.h"

#include <errno.h>
#include <sched.h>
#include <time.h>

#include "mem.h"

#define SPINS 64 /* looks at a line before the processor is given away */
#define YIELDS 256 /* of those before the writer sleeps between two looks */

int hti_section_init(struct hti_section *section)
{
    section->memory = hti_mem_zalloc((HTI_SECTION_LINES + 1) * sizeof *section->lines);
    if (!section->memory)
        return ENOMEM;
    const uintptr_t address = (uintptr_t)section->memory + HTI_SECTION_LINE_SIZE - 1;
    section->lines = (void *)(address - address % HTI_SECTION_LINE_SIZE);
    atomic_store(&section->closed, 0);
    return pthread_mutex_init(&section->writer, NULL);
}

void hti_section_release(struct hti_section *section)
{
    pthread_mutex_destroy(&section->writer);
    hti_mem_free(section->memory);
}

/* Threads are numbered as they come, so that the first 64 have a line each, in every store. */
static uint32_t line_number(void)
{
    static _Atomic uint32_t n_threads;
    static _Thread_local uint32_t number; /* 0: none yet */

    if (number == 0)
        number = atomic_fetch_add_explicit(&n_threads, 1, memory_order_relaxed) % HTI_SECTION_LINES + 1;
    return number - 1;
}

/*
 * The increment and the load of `closed`, and in hti_section_close() the store and the loads of the counts, are all
 * sequentially consistent: of a reader and a writer that come together at least one sees the other.
 */
struct hti_section_line *hti_section_try_enter(struct hti_section *section)
{
    struct hti_section_line *line = &section->lines[line_number()];

    atomic_fetch_add(&line->n_readers, 1);
    if (atomic_load(&section->closed) == 0)
        return line;
    atomic_fetch_sub(&line->n_readers, 1);
    return NULL;
}

struct hti_section_line *hti_section_enter(struct hti_section *section)
{
    struct hti_section_line *line = hti_section_try_enter(section);

    if (line)
        return line;
    line = &section->lines[line_number()];
    pthread_mutex_lock(&section->writer);
    atomic_fetch_add(&line->n_readers, 1); /* no writer is inside, and none can close before this count is seen */
    pthread_mutex_unlock(&section->writer);
    return line;
}

void hti_section_leave(struct hti_section_line *line)
{
    atomic_fetch_sub_explicit(&line->n_readers, 1, memory_order_release);
}

static void pause_between_looks(unsigned n_looks)
{
    const struct timespec pause = { .tv_nsec = 20000 };

    if (n_looks < SPINS)
        return;
    if (n_looks < SPINS + YIELDS)
        sched_yield();
    else
        nanosleep(&pause, NULL);
}

/* With `writer`. */
static void keep_readers_out(struct hti_section *section)
{
    atomic_store(&section->closed, 1);
    for (uint32_t i = 0; i < HTI_SECTION_LINES; i++)
        for (unsigned n = 0; atomic_load(&section->lines[i].n_readers) != 0; n++)
            pause_between_looks(n);
}

void hti_section_close(struct hti_section *section)
{
    pthread_mutex_lock(&section->writer);
    keep_readers_out(section);
}

bool hti_section_try_close(struct hti_section *section)
{
    if (pthread_mutex_trylock(&section->writer) != 0)
        return false;
    keep_readers_out(section);
    return true;
}

void hti_section_open(struct hti_section *section)
{
    atomic_store_explicit(&section->closed, 0, memory_order_release);
    pthread_mutex_unlock(&section->writer);
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    if (n > 0)
        atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

void hti_section_note(struct hti_section *section, struct hti_section_counts counts)
{
    struct hti_section_line *line = &section->lines[line_number()];

    add(&line->n_hits, counts.n_hits);
    add(&line->n_misses, counts.n_misses);
    add(&line->n_reads, counts.n_reads);
}

struct hti_section_counts hti_section_count(struct hti_section *section)
{
    struct hti_section_counts sum = { 0 };

    for (uint32_t i = 0; i < HTI_SECTION_LINES; i++) {
        const struct hti_section_line *line = &section->lines[i];
        sum.n_hits += atomic_load_explicit(&line->n_hits, memory_order_relaxed);
        sum.n_misses += atomic_load_explicit(&line->n_misses, memory_order_relaxed);
        sum.n_reads += atomic_load_explicit(&line->n_reads, memory_order_relaxed);
    }
    return sum;
}
