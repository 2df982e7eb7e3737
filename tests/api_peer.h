/* api_peer: another process that runs open_store, for tests of several processes and one store. */
#ifndef API_PEER_H
#define API_PEER_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct peer {
    pid_t pid; /* 0 = none */
    FILE *to, *from;
    char answer[32768];
};

/* Where open_store is; memory of api_alloc(). */
const char *peer_program(void);
void peer_start_as(struct peer *peer, const char *program, const char *path, const char *mode, uid_t user);
const char *peer_start(struct peer *peer, const char *mode); /* on api.path; returns what opening gave */
bool peer_has_answered(struct peer *peer);
const char *peer_answer(struct peer *peer);
void peer_tell(struct peer *peer, const char *command);
const char *peer_ask(struct peer *peer, const char *command);
int peer_finish(struct peer *peer, int signal_number); /* returns the wait status */

#endif
