/* lines: hides blocks of input and where lines end in them. */
#include "lines.h"

#include "buffer.h"
#include "signals.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK_SIZE 262144

void lines_open(struct lines *lines, int fd)
{
    struct stat status;

    memset(lines, 0, sizeof *lines);
    lines->fd = fd;
    lines->waits = true;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
        lines->waits = false;
        lines->total = (uint64_t)status.st_size;
    }
}

static void make_room(struct lines *lines)
{
    if (lines->start > 0) {
        memmove(lines->data, lines->data + lines->start, lines->end - lines->start);
        lines->end -= lines->start;
        lines->start = 0;
    }
    if (lines->capacity - lines->end < BLOCK_SIZE) {
        lines->capacity = lines->capacity == 0 ? 2u * BLOCK_SIZE : 2 * lines->capacity;
        lines->data = memory_resize(lines->data, lines->capacity, 1);
    }
}

static enum lines_result read_block(struct lines *lines)
{
    ssize_t n;

    make_room(lines);
    do {
        if (signals_caught() != 0 || (lines->waits && signals_wait_readable(lines->fd) != 0))
            return LINES_INTERRUPTED;
        n = read(lines->fd, lines->data + lines->end, lines->capacity - lines->end);
    } while (n < 0 && (errno == EINTR || errno == EAGAIN));
    if (n < 0) {
        lines->error = errno;
        return LINES_FAILED;
    }
    lines->end += (size_t)n;
    lines->at_end = n == 0;
    return LINES_LINE;
}

static enum lines_result take(struct lines *lines, size_t size, size_t end_size, struct htstore_bytes *line)
{
    line->data = lines->data + lines->start;
    line->size = size;
    lines->start += size + end_size;
    lines->consumed += size + end_size;
    lines->number++;
    return LINES_LINE;
}

enum lines_result lines_next(struct lines *lines, struct htstore_bytes *line)
{
    size_t searched = 0;

    for (;;) {
        size_t size = lines->end - lines->start;
        enum lines_result result;

        if (size > searched) {
            const char *from = lines->data + lines->start;
            const char *end = memchr(from + searched, '\n', size - searched);

            if (end != NULL)
                return take(lines, (size_t)(end - from), 1, line);
            searched = size;
        }
        if (size > LINES_MAX_SIZE)
            return LINES_TOO_LONG;
        if (lines->at_end)
            return size > 0 ? take(lines, size, 0, line) : LINES_END;
        result = read_block(lines);
        if (result != LINES_LINE)
            return result;
    }
}

void lines_close(struct lines *lines)
{
    free(lines->data);
    lines->data = NULL;
}
