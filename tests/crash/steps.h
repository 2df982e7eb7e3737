/* steps: what create_kill and the steps in other files share. All but the tables is for children of create_kill. */
#ifndef STEPS_H
#define STEPS_H

#include "oracle_store.h"
#include "strike.h"

extern const struct strike_step manager_steps[]; /* manager_steps.c */
extern const unsigned n_manager_steps;
extern const struct strike_step checkpoint_steps[]; /* checkpoint_steps.c */
extern const unsigned n_checkpoint_steps;

struct oracle_store *opened_store(void);
void must(int rc, const char *what);
void open_store(uint32_t flags);
void write_batches(uint64_t n, uint32_t durability);
void end(int rc, const char *what); /* does not return */
/* The rows are those acknowledged; `spare`: one batch more may be there. */
void check_contents(bool spare);

#endif
