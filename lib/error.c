/* error: hides how sentences and paths are cut to the fixed room of struct htstore_error. */
#include "error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define ELLIPSIS "\xE2\x80\xA6"
#define ELLIPSIS_SIZE (sizeof ELLIPSIS - 1)

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

/* Bytes of the UTF-8 character that starts with `c`. */
static size_t character_size(char c)
{
    unsigned char first = (unsigned char)c;
    if (first >= 0xF0)
        return 4;
    if (first >= 0xE0)
        return 3;
    return first >= 0xC0 ? 2 : 1;
}

/* Drop the last character of a text that was cut in its middle. */
static void drop_partial_character(char *text, size_t size)
{
    size_t start = size;
    for (int i = 0; i < 4 && start > 0; i++) {
        start--;
        if (!is_continuation(text[start]))
            break;
    }
    if (start < size && start + character_size(text[start]) > size)
        text[start] = '\0';
}

int hti_fail(struct htstore_error *error, int code, const char *format, ...)
{
    if (!error)
        return code;
    int saved_errno = errno;
    char message[sizeof error->message];
    va_list args;
    va_start(args, format);
    int size = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (size < 0)
        message[0] = '\0';
    else if ((size_t)size >= sizeof message)
        drop_partial_character(message, sizeof message - 1);

    /* Only now: the arguments may point into the old contents. */
    memset(error, 0, sizeof *error);
    error->code = code;
    error->index = -1;
    strcpy(error->message, message);
    errno = saved_errno;
    return code;
}

void hti_error_set_errno(struct htstore_error *error, int sys_errno)
{
    if (error)
        error->sys_errno = sys_errno;
}

void hti_error_set_index(struct htstore_error *error, uint64_t index)
{
    if (error)
        error->index = index <= INT64_MAX ? (int64_t)index : INT64_MAX;
}

void hti_error_set_path(struct htstore_error *error, const char *path, uint64_t offset)
{
    if (!error)
        return;
    error->offset = offset;
    size_t size = path ? strlen(path) : 0;
    if (size < sizeof error->path) {
        if (size > 0)
            memmove(error->path, path, size);
        memset(error->path + size, 0, sizeof error->path - size);
        return;
    }
    size_t room = sizeof error->path - 1 - ELLIPSIS_SIZE;
    const char *tail = path + (size - room);
    for (int i = 0; i < 3 && is_continuation(*tail); i++)
        tail++;
    memcpy(error->path, ELLIPSIS, ELLIPSIS_SIZE);
    strcpy(error->path + ELLIPSIS_SIZE, tail);
}

void hti_error_copy(struct htstore_error *to, const struct htstore_error *from)
{
    if (to && from && to != from)
        *to = *from;
}

const char *htstore_strerror(int code)
{
    switch (code) {
    case HTSTORE_OK:
        return "success";
    case HTSTORE_EINVAL:
        return "invalid argument";
    case HTSTORE_ETYPE:
        return "wrong type";
    case HTSTORE_ESHAPE:
        return "wrong shape";
    case HTSTORE_EEXIST:
        return "already exists";
    case HTSTORE_ENOTFOUND:
        return "not found";
    case HTSTORE_ECONFLICT:
        return "conflict with what exists";
    case HTSTORE_EBUSY:
        return "busy";
    case HTSTORE_EREFERENCED:
        return "still referenced";
    case HTSTORE_EREADONLY:
        return "read-only";
    case HTSTORE_EFORMAT:
        return "not a file of this library";
    case HTSTORE_EVERSION:
        return "format newer than this library";
    case HTSTORE_ECORRUPT:
        return "damaged data";
    case HTSTORE_EIO:
        return "input/output error";
    case HTSTORE_ENOSPC:
        return "no space left";
    case HTSTORE_ENOMEM:
        return "out of memory";
    case HTSTORE_ECANCELED:
        return "canceled";
    default:
        return "unknown status code";
    }
}

const char *htstore_version(void)
{
    return HTSTORE_VERSION;
}

uint32_t htstore_version_number(void)
{
    return HTSTORE_VERSION_MAJOR * 10000u + HTSTORE_VERSION_MINOR * 100u + HTSTORE_VERSION_PATCH;
}
