/*
 * snapsource: a file or pipe with a snapshot: reading from it, failing with the place, and what every snapshot starts
 * with.
 */
#ifndef HTI_SNAPSOURCE_H
#define HTI_SNAPSOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "error.h"
#include "snapformat.h"
#include "snapgraph.h"

struct hti_snap_source {
    int fd; /* borrowed */
    bool seekable; /* a regular file, read by pread() from its first byte; else read(), and offsets only tell places */
    uint64_t file_size; /* seekable */
    char path[256];
    struct hti_snap_header header;
    uint64_t binding;
    struct hti_snap_graph graph;
};

void hti_snap_source_init(struct hti_snap_source *source, int fd, const char *path);
void hti_snap_source_release(struct hti_snap_source *source);

/* HTSTORE_ECORRUPT: "PATH: THING at byte OFFSET: WHAT". */
int hti_snap_source_fail(const struct hti_snap_source *source, const char *thing, uint64_t offset, const char *what,
                         struct htstore_error *error);
int hti_snap_source_fail_memory(const struct hti_snap_source *source, struct htstore_error *error);

/* 0, *got < size at the end; or as hti_file_fail(). */
int hti_snap_source_read(const struct hti_snap_source *source, uint64_t offset, void *data, size_t size, size_t *got,
                         struct htstore_error *error);
/* Read all of `size` bytes and move *offset on; HTSTORE_ECORRUPT if the file ends before. */
int hti_snap_source_fetch(const struct hti_snap_source *source, uint64_t *offset, void *data, size_t size,
                          const char *thing, struct htstore_error *error);
/* The same into a buffer, in place of what it held. No memory is taken for what a file does not hold. */
int hti_snap_source_fetch_buf(const struct hti_snap_source *source, uint64_t *offset, struct hti_buf *buf, size_t size,
                              const char *thing, struct htstore_error *error);

/*
 * Read the header: source->header and binding; *offset is set behind it. HTSTORE_EFORMAT, HTSTORE_EVERSION,
 * HTSTORE_ECORRUPT, or as read.
 */
int hti_snap_source_header(struct hti_snap_source *source, uint64_t *offset, struct htstore_error *error);
/*
 * Read the graph at *offset, and move on. id and n_parts of the header must be set; graph_size and n_nodes of 0 are not
 * compared. HTSTORE_ECORRUPT, HTSTORE_ENOMEM, or as read; source->graph is then empty.
 */
int hti_snap_source_graph(struct hti_snap_source *source, uint64_t *offset, struct htstore_error *error);

bool hti_snap_hash128_equal(struct hti_hash128 a, struct hti_hash128 b);

#endif
