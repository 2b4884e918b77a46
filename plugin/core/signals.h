/* signals.h - SIGINT and SIGTERM as something to read instead of the end of the process.
 *
 * A signalfd and the thread's mask: no handler, no global state. The signals are blocked for the calling thread
 * and for threads and programs it starts meanwhile; so open it before threads are started (libcurl's resolver
 * starts some), on the thread that closes it. Two at once: close in reverse order. */
#ifndef CR_SIGNALS_H
#define CR_SIGNALS_H

#include "base.h"

struct cr_signals;

struct cr_signals *cr_signals_open(struct cr_error *err);
int cr_signals_fd(const struct cr_signals *signals);
/* "INT", "TERM", or NULL when none came; never blocks. */
const char *cr_signals_take(struct cr_signals *signals);
/* Gives the signals their old effect back; one that nobody took has it now. NULL is fine. */
void cr_signals_close(struct cr_signals *signals);

#endif
