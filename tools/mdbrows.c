/* mdbrows: hides sections that are passed over. */
#include "mdbrows.h"

#include "escape.h"

#include <string.h>

#define MAX_NAMES_SIZE 400 /* bytes of names that a message shows */

void mdbrows_open(struct mdbrows *rows, const struct mdbrows_settings *settings, struct lines *lines)
{
    memset(rows, 0, sizeof *rows);
    rows->settings = settings;
    mdbread_open(&rows->read, lines);
}

void mdbrows_close(struct mdbrows *rows)
{
    mdbread_close(&rows->read);
    buffer_release(&rows->names);
}

static bool is_wanted(const struct mdbrows *rows)
{
    const struct mdbread_header *header = &rows->read.header;
    const char *name = rows->settings->database;

    if (name == NULL)
        return true;
    return header->has_database && header->database.size == strlen(name) &&
           memcmp(header->database.data, name, header->database.size) == 0;
}

static void note_name(struct mdbrows *rows)
{
    const struct mdbread_header *header = &rows->read.header;
    char shown[ESCAPE_SHOWN_SIZE];

    if (rows->names.size > MAX_NAMES_SIZE)
        return;
    buffer_text(&rows->names, rows->names.size == 0 ? "" : ", ");
    if (header->has_database)
        buffer_text(&rows->names, escape_show(shown, header->database.data, header->database.size));
    else
        buffer_text(&rows->names, "one without a name");
}

static enum mdbread_result refuse_name(struct mdbrows *rows)
{
    struct mdbread *read = &rows->read;
    char shown[ESCAPE_SHOWN_SIZE];

    read->why.size = 0;
    if (rows->settings->database == NULL) {
        buffer_text(&read->why, "the input is empty, no dump");
    } else {
        rows->is_missing = true;
        buffer_printf(&read->why, "no section has the name %s; there are: ",
                      escape_show(shown, rows->settings->database, strlen(rows->settings->database)));
        buffer_text(&read->why, rows->names.size > 0 ? buffer_string(&rows->names) : "none");
    }
    buffer_string(&read->why);
    return MDBREAD_UNSUPPORTED;
}

/* Stand at the first row of the section. */
static enum mdbread_result find(struct mdbrows *rows)
{
    enum mdbread_result result;

    for (;;) {
        result = mdbread_section(&rows->read);
        if (result == MDBREAD_END)
            return refuse_name(rows);
        if (result != MDBREAD_OK)
            return result;
        if (is_wanted(rows))
            return mdbread_check(&rows->read);
        note_name(rows);
        do
            result = mdbread_row(&rows->read);
        while (result == MDBREAD_OK);
        if (result != MDBREAD_END)
            return result;
    }
}

enum mdbread_result mdbrows_next(struct mdbrows *rows)
{
    enum mdbread_result result = MDBREAD_OK;
    struct htstore_bytes line;

    if (!rows->is_found)
        result = find(rows);
    rows->is_found = true;
    if (result == MDBREAD_OK)
        result = mdbread_row(&rows->read);
    if (result == MDBREAD_END && rows->settings->database == NULL)
        rows->has_more = lines_next(rows->read.lines, &line) == LINES_LINE;
    return result;
}
