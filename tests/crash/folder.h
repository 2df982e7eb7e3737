/* folder: whole folders: a private one, copies, removal. */
#ifndef FOLDER_H
#define FOLDER_H

#include <stdbool.h>
#include <stddef.h>

#define FOLDER_PATH_SIZE 4096

/* Make an empty folder under $TMPDIR or /tmp. False: errno says why. */
bool folder_make(char path[FOLDER_PATH_SIZE]);

/* Copy files and folders; `to` must not exist. False: errno says why. */
bool folder_copy(const char *from, const char *to);

/* Remove it with all that is in it; a missing one is no error. */
bool folder_remove(const char *path);

/* How many entries, beside those two names (which may be NULL), are in the folder? -1: errno says why. */
int folder_count_others(const char *path, const char *name, const char *other);

#endif
