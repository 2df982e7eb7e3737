/* thread: hides the signal mask of the library's threads. */
#include "thread.h"

#include <signal.h>

int hti_thread_start(pthread_t *thread, const char *name, void *(*run)(void *), void *argument)
{
    static const int OWN_FAULTS[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT };
    sigset_t all, before;
    int err;

    sigfillset(&all);
    for (size_t i = 0; i < sizeof OWN_FAULTS / sizeof *OWN_FAULTS; i++)
        sigdelset(&all, OWN_FAULTS[i]);
    err = pthread_sigmask(SIG_SETMASK, &all, &before);
    if (err != 0)
        return err;
    err = pthread_create(thread, NULL, run, argument);
    if (err == 0)
        pthread_setname_np(*thread, name);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}
