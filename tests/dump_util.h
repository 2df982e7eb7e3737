/* dump_util: dumps and restores of whole stores, for tests; stands on api_util. */
#ifndef DUMP_UTIL_H
#define DUMP_UTIL_H

#include <stddef.h>

#include "../tools/mdbdump.h"
#include "../tools/tool.h"

/* The world of the running test; dump_setup() and api_teardown() are its checked fixture. Memory is that of api_alloc(). */
struct dump_world {
    struct tool tool;
    struct mdbdump_options options;
    char *said; /* stderr of the last call */
};
extern struct dump_world dump_world;

void dump_setup(void);

/* Messages go to memory between these two; what was said is then known. */
int dump_begin_messages(void);
void dump_end_messages(int saved);

/* Dump a store; returns the text, also that of a dump that failed. */
char *dump_text(const char *path, int expected, size_t *size);

/* Restore a text. Returns a status. */
int dump_restore(const char *text, size_t size, const char *target);

/* The contents of a file, with a NUL behind them. */
char *dump_read_file(const char *path, size_t *size);

#endif
