/* signals: interruption at places of our choice. */
#ifndef TOOLS_SIGNALS_H
#define TOOLS_SIGNALS_H

/* Ignore SIGPIPE: writing to a closed pipe is then an ordinary error. */
void signals_ignore_pipe(void);

/*
 * From now on SIGINT, SIGTERM and SIGHUP are only noted; a second one ends the program at once. Those that were ignored
 * when the program started stay ignored (nohup, background jobs).
 */
void signals_catch(void);

/* The signal that was noted, or 0. */
int signals_caught(void);

/* A descriptor that can be read when a signal was noted, to be polled; -1 before signals_catch(). */
int signals_wake_fd(void);

/* Wait until `fd` can be read or is at its end: 0; 1 if a signal was noted before. */
int signals_wait_readable(int fd);

/* Restore the default action of `number` and raise it, so that the parent sees why this program ended. */
void signals_raise(int number);

#endif
