/*
 * section: a lock for many readers and a writer that comes seldom: readers share no written cache line, so that a reader
 * pays one locked instruction on a line of its own, and two readers do not slow each other down.
 *
 * Writers go first: once one is waiting, readers that come later wait for it. Not recursive. Beside the lock each reader
 * line has room for counters, so that statistics need no shared line either.
 */
#ifndef HTI_SECTION_H
#define HTI_SECTION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HTI_SECTION_LINES 64u /* threads above that share lines */
#define HTI_SECTION_LINE_SIZE 64u

struct hti_section_line {
    _Atomic uint64_t n_readers; /* inside, on this line */
    _Atomic uint64_t n_hits, n_misses, n_reads; /* counters of the store's lookups: hti_section_note() */
    uint8_t rest[HTI_SECTION_LINE_SIZE - 32]; /* of a cache line */
};

struct hti_section {
    struct hti_section_line *lines; /* each on a cache line */
    void *memory; /* that holds the lines */
    pthread_mutex_t writer; /* held by the writer; readers that find the section closed wait for it */
    uint8_t gap[HTI_SECTION_LINE_SIZE]; /* between what writers change often and what readers look at */
    _Atomic uint32_t closed; /* a writer is inside or waits for the readers to leave */
};

int hti_section_init(struct hti_section *section); /* 0 or an errno value */
void hti_section_release(struct hti_section *section);

/* The line of the calling thread, to be given back to hti_section_leave(). */
struct hti_section_line *hti_section_enter(struct hti_section *section);
/* The same, or NULL if a writer is there: for who holds what the readers inside may wait for. */
struct hti_section_line *hti_section_try_enter(struct hti_section *section);
void hti_section_leave(struct hti_section_line *line);

void hti_section_close(struct hti_section *section); /* alone in the section */
bool hti_section_try_close(struct hti_section *section); /* false: another writer is there */
void hti_section_open(struct hti_section *section);

/* Keys that were found, that were absent, and those of both that LMDB was asked for. */
struct hti_section_counts {
    uint64_t n_hits, n_misses, n_reads;
};
/* Add to the counters, on the line of the calling thread; and their sums over all lines. */
void hti_section_note(struct hti_section *section, struct hti_section_counts counts);
struct hti_section_counts hti_section_count(struct hti_section *section);

#endif
