/* segment: one file of the journal: its name, header, and how records are found in it. Format: docs/journal-format.md. */
#ifndef HTI_SEGMENT_H
#define HTI_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "record.h"

#define HTI_SEGMENT_VERSION 1u
#define HTI_SEGMENT_DATA_OFFSET 4096u /* of the first record; the header has this space for itself */
#define HTI_SEGMENT_NAME_SIZE 32

void hti_segment_name(uint64_t number, char out[HTI_SEGMENT_NAME_SIZE]); /* "0000000000000001.htj" */

/* What ties records to a store and a segment: the seed of their header checksums. */
uint64_t hti_segment_binding(const uint8_t store_id[16], uint64_t number);

/*
 * Make a segment of `size` bytes: written with zeros under a temporary name, synced, renamed, folder synced, so that a
 * segment that is found always has an intact header. HTSTORE_ENOSPC leaves nothing behind.
 */
int hti_segment_create(int dir_fd, const char *dir_path, const uint8_t store_id[16], uint64_t number, uint64_t size,
                       int *fd, struct htstore_error *error);

/*
 * The same, with a list of records in front of the zeros, which keep their LSNs and durable LSNs: a segment that is found has all of
 * them. They fit.
 */
int hti_segment_create_with(int dir_fd, const char *dir_path, const uint8_t store_id[16], uint64_t number,
                            uint64_t size, struct hti_record *records, int *fd, struct htstore_error *error);

/* Numbers of all segments in the folder, ascending; *numbers is owned by the caller. Leftover temporary files are removed if `clean`. */
int hti_segment_list(int dir_fd, const char *dir_path, bool clean, uint64_t **numbers, size_t *n,
                     struct htstore_error *error);

/* Bytes of all segments in the folder "journal" of a store; 0 if it cannot be read. */
uint64_t hti_segment_folder_size(int store_dir_fd);

struct hti_segment {
    int fd;
    uint64_t number;
    uint64_t binding;
    uint64_t file_size;
    uint64_t offset; /* where the next record is expected */
    uint8_t *window; /* part of the file, so that small records cost no system call each; NULL: none yet */
    uint64_t window_offset;
    size_t window_size;
    char path[256];
};

/* Open to read. HTSTORE_ECORRUPT (header; cut short), HTSTORE_EVERSION, HTSTORE_EFORMAT (another store's), HTSTORE_EIO. */
int hti_segment_open(int dir_fd, const char *dir_path, const uint8_t store_id[16], uint64_t number,
                     struct hti_segment *segment, struct htstore_error *error);
/* The same without a look at the header, which may be damaged: only what the name and the caller say counts. */
int hti_segment_open_headless(int dir_fd, const char *dir_path, const uint8_t store_id[16], uint64_t number,
                              struct hti_segment *segment, struct htstore_error *error);
/* Whose segment is it? As hti_segment_open() for that store. */
int hti_segment_identify(int dir_fd, const char *dir_path, uint64_t number, uint8_t store_id[16],
                         struct htstore_error *error);
void hti_segment_close(struct hti_segment *segment);

/*
 * The record at segment->offset. 0: *header and, if `record` is not NULL, *record are set (owned by the caller) and the
 * offset moves on. 1: there is no intact record at this place (end, torn or damaged; the offset stays). Negative: HTSTORE_EIO, HTSTORE_ENOMEM.
 */
int hti_segment_read(struct hti_segment *segment, struct hti_record_header *header, struct hti_record **record,
                     struct htstore_error *error);
/*
 * Move to the next place behind the current one where an intact record *header* stands. 0 and the header (its payload may be bad), 1 if
 * there is none, negative: HTSTORE_EIO, HTSTORE_ENOMEM.
 */
int hti_segment_resync(struct hti_segment *segment, struct hti_record_header *header, struct htstore_error *error);

#endif
