/* inspect_journal: the segments and records of the journal, beside an owner that may be writing them. */
#ifndef HTI_INSPECT_JOURNAL_H
#define HTI_INSPECT_JOURNAL_H

#include "inspect.h"
#include "segment.h"

/*
 * What was found in the folder. It must be opened before the state that is checked is begun: whatever an owner deletes later
 * can still be read then, and nothing between the two is missing.
 */
struct hti_inspect_journal {
    struct hti_segment *segments;
    size_t n_segments;
    bool is_missing; /* no folder, or no segment of this session */
};

/* check->store tells whose they are. Damaged headers are findings. HTSTORE_EVERSION, HTSTORE_ENOMEM. */
int hti_inspect_journal_open(struct hti_inspect *check, struct hti_inspect_journal *journal,
                             struct htstore_error *error);
void hti_inspect_journal_close(struct hti_inspect_journal *journal);
/* Is it there, if the state says so? */
void hti_inspect_journal_compare(struct hti_inspect *check, const struct hti_inspect_journal *journal);
/* Every record. HTSTORE_ECANCELED, HTSTORE_ENOMEM. */
int hti_inspect_journal_run(struct hti_inspect *check, const struct hti_inspect_journal *journal,
                            struct htstore_error *error);

#endif
