/* buffer: byte buffers that grow, and memory that is there or ends the program. */
#ifndef TOOLS_BUFFER_H
#define TOOLS_BUFFER_H

#include <stdarg.h>
#include <stddef.h>

/* Zeroed elements. Never NULL: without memory the program says so and ends with status 1. The caller frees them. */
void *memory_new(size_t n, size_t size);

/* As realloc() of n elements; new ones are not set. Never NULL, for n = 0 either. */
void *memory_resize(void *memory, size_t n, size_t size);

/* What to do before the program ends for want of memory: remove partial output. */
void memory_at_failure(void (*clean)(void));

/* Initialise with { 0 }. */
struct buffer {
    char *data;
    size_t size;
    size_t capacity;
};

/* Room for n more bytes behind data[size]. */
char *buffer_reserve(struct buffer *buffer, size_t n);

void buffer_append(struct buffer *buffer, const void *data, size_t size);
void buffer_add(struct buffer *buffer, char byte);
void buffer_text(struct buffer *buffer, const char *text);
void buffer_printf(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

void buffer_vprintf(struct buffer *buffer, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0), nonnull(2)));

/* The contents with a NUL behind them, which does not count as contents. */
const char *buffer_string(struct buffer *buffer);

void buffer_release(struct buffer *buffer);

#endif
