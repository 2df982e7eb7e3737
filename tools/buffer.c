/* buffer: hides growth and the end of the program when memory runs out. */
#include "buffer.h"

#include "status.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void (*clean_up)(void);

static _Noreturn void end_without_memory(void)
{
    static const char text[] = "htstore: out of memory; give a smaller --batch, or free memory and start again\n";

    if (clean_up != NULL)
        clean_up();
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        _exit(STATUS_FAILED);
    _exit(STATUS_FAILED);
}

void memory_at_failure(void (*clean)(void))
{
    clean_up = clean;
}

void *memory_new(size_t n, size_t size)
{
    void *memory = calloc(n > 0 ? n : 1, size > 0 ? size : 1);

    if (memory == NULL)
        end_without_memory();
    return memory;
}

void *memory_resize(void *memory, size_t n, size_t size)
{
    void *resized = reallocarray(memory, n > 0 ? n : 1, size > 0 ? size : 1);

    if (resized == NULL)
        end_without_memory();
    return resized;
}

char *buffer_reserve(struct buffer *buffer, size_t n)
{
    size_t capacity = buffer->capacity;

    if (n > SIZE_MAX / 4 || buffer->size > SIZE_MAX / 4)
        end_without_memory();
    if (buffer->data == NULL || capacity - buffer->size < n) {
        if (capacity < 256)
            capacity = 256;
        while (capacity - buffer->size < n)
            capacity *= 2;
        buffer->data = memory_resize(buffer->data, capacity, 1);
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->size;
}

void buffer_append(struct buffer *buffer, const void *data, size_t size)
{
    if (size == 0)
        return;
    memcpy(buffer_reserve(buffer, size), data, size);
    buffer->size += size;
}

void buffer_add(struct buffer *buffer, char byte)
{
    *buffer_reserve(buffer, 1) = byte;
    buffer->size++;
}

void buffer_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_vprintf(struct buffer *buffer, const char *format, va_list arguments)
{
    char start[512];
    va_list again;
    int n;

    va_copy(again, arguments);
    n = vsnprintf(start, sizeof start, format, arguments);
    if (n >= (int)sizeof start) {
        (void)vsnprintf(buffer_reserve(buffer, (size_t)n + 1), (size_t)n + 1, format, again);
        buffer->size += (size_t)n;
    } else if (n > 0) {
        buffer_append(buffer, start, (size_t)n);
    }
    va_end(again);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    buffer_vprintf(buffer, format, arguments);
    va_end(arguments);
}

const char *buffer_string(struct buffer *buffer)
{
    *buffer_reserve(buffer, 1) = '\0';
    return buffer->data;
}

void buffer_release(struct buffer *buffer)
{
    free(buffer->data);
    memset(buffer, 0, sizeof *buffer);
}
