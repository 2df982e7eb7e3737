/* object: how names and numbers lead to objects of any kind, and how long objects live. */
#ifndef HTI_OBJECT_H
#define HTI_OBJECT_H

#include "state.h"

enum hti_open_mode { HTI_OPEN_CREATE, HTI_OPEN_EXISTING, HTI_OPEN_OR_CREATE };

/* What is asked for. */
struct hti_opening {
    const char *name; /* checked; NULL: anonymous, to be created */
    uint32_t kind;
    enum hti_open_mode mode;
    struct hti_object_record *record; /* wanted, without id; NULL: any will do. Its memory is taken if it is created */
    /* Makes the object, with flush_mutex; NULL: one without contents. */
    int (*make)(struct htstore *store, struct hti_object_record *record, void *user, struct hti_core **core,
                struct htstore_error *error);
    void *user;
};

/* Open or create by name. HTSTORE_EEXIST, HTSTORE_ENOTFOUND, HTSTORE_ECONFLICT, HTSTORE_EREADONLY, or as hti_load_table() and hti_structure_create(). */
int hti_object_open(struct htstore *store, const struct hti_opening *opening, void **handle,
                    struct htstore_error *error);
/* A handle of a known object. With the graph's mutex. As hti_load_table(). */
int hti_object_open_core(struct htstore *store, struct hti_core *core, void **handle, struct htstore_error *error);
/* Remove a named object without handles. */
int hti_object_drop(struct htstore *store, const char *name, uint32_t kind, struct htstore_error *error);
/* Close a checked handle; HTSTORE_EBUSY if it has users. */
int hti_object_close(struct hti_handle *handle, struct htstore_error *error);
/* HTSTORE_ENOTFOUND if a reader's object is gone. With the graph's mutex or the section. */
int hti_object_check_alive(const struct hti_core *core, struct htstore_error *error);

#endif
