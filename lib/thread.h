/* thread: starts the library's own threads, which no signal of the program is delivered to. */
#ifndef HTI_THREAD_H
#define HTI_THREAD_H

#include <pthread.h>

/* As pthread_create() with default attributes: 0 or an errno value. `name` has at most 15 bytes. */
int hti_thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *argument);

#endif
