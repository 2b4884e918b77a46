/* sigpipe.h - keeps a connection that broke from killing the host.
 *
 * libcurl before 7.87 writes TLS records without MSG_NOSIGNAL. Blocking the signal for the thread around its calls,
 * and eating the one they caused, changes nothing the host can see. */
#ifndef CR_SIGPIPE_H
#define CR_SIGPIPE_H

#include <signal.h>
#include <stdbool.h>

struct cr_sigpipe {
  bool active;       /* something to undo */
  sigset_t before;
};

void cr_sigpipe_block(struct cr_sigpipe *guard);
void cr_sigpipe_restore(struct cr_sigpipe *guard);

#endif
