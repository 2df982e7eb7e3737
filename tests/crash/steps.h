/* steps: what create_kill and the steps in other files share. All but the tables is for children of create_kill. */
#ifndef STEPS_H
#define STEPS_H

#include "oracle_store.h"

struct step {
    const char *name;
    void (*prepare)(void); /* what is there before */
    void (*act)(void); /* calls begin() and end() */
    void (*check)(void); /* after a kill, or after the end */
    bool everywhere; /* kill at each call, however many there are */
};

extern const struct step manager_steps[]; /* manager_steps.c */
extern const unsigned n_manager_steps;

struct oracle_store *opened_store(void);
void must(int rc, const char *what);
void open_store(uint32_t flags);
void write_batches(uint64_t n, uint32_t durability);
void begin(void); /* from here on every system call of this thread is a point */
void end(int rc, const char *what); /* does not return */
bool was_done(void); /* of the step: it came to its end */
void condemn(enum oracle_verdict verdict, const char *why); /* does not return */
/* The rows are those acknowledged; `spare`: one batch more may be there. */
void check_contents(bool spare);

#endif
