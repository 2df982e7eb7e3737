/* mdbread: the text that mdb_dump and db_dump write: sections of header lines, then keys and values in turn. */
#ifndef TOOLS_MDBREAD_H
#define TOOLS_MDBREAD_H

#include "buffer.h"
#include "htstore.h"
#include "lines.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum mdbread_result {
    MDBREAD_OK = 0,
    MDBREAD_END, /* of the section, or of the file */
    MDBREAD_DAMAGED, /* the text breaks the grammar: reason in `why` */
    MDBREAD_UNSUPPORTED, /* another format or version: reason in `why` */
    MDBREAD_STOPPED /* the lines say why: see `lines_result` */
};

/* The head of a section. */
struct mdbread_header {
    struct buffer database; /* without a NUL behind it; see buffer_string() */
    bool has_database; /* false: the main database */
    bool is_print; /* format=print */
    bool integer_keys; /* keys are unsigned integers in the byte order of the machine that wrote them */
    const char *several; /* the word that says that keys have several values; NULL: none */
    const char *bad_type; /* a type without keys, "recno" or "queue"; NULL: keys and values */
};

/* Initialise with mdbread_open(). */
struct mdbread {
    struct lines *lines;
    struct mdbread_header header;
    bool is_dos; /* the line read last ends in CR: worth a word in a reason */
    bool is_ambiguous; /* a \xx was read, which mdb_dump before 0.9.25 also wrote for a backslash and two digits */
    enum lines_result lines_result;
    struct buffer key, value; /* decoded */
    struct buffer why; /* a sentence without its end; the line is lines->number */
};

/* What to say once if is_ambiguous. */
#define MDBREAD_AMBIGUOUS                                                                                              \
    "format=print: a backslash and two hexadecimal digits are read as a byte; mdb_dump before 0.9.25 also wrote them " \
    "for "                                                                                                             \
    "data that holds a backslash"

/* Borrows the lines, which stand at the start. */
void mdbread_open(struct mdbread *read, struct lines *lines);

/* Read the header of the next section; the one before must have been read to its end. MDBREAD_END: there is none. */
enum mdbread_result mdbread_section(struct mdbread *read);

/* Whether the section can be read as one value a key. MDBREAD_OK or MDBREAD_UNSUPPORTED. */
enum mdbread_result mdbread_check(struct mdbread *read);

/* Read the next key and its value. MDBREAD_END: DATA=END was read. */
enum mdbread_result mdbread_row(struct mdbread *read);

void mdbread_close(struct mdbread *read);

/* Does a file that starts so hold such text? `size` may be less than is needed to tell: then false. */
bool mdbread_is_dump(const void *data, size_t size);

#endif
