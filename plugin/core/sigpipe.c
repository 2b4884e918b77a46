/* sigpipe.c - see sigpipe.h. Touches the calling thread's signal mask only; owns nothing. */
#include "sigpipe.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

void cr_sigpipe_block(struct cr_sigpipe *guard)
{
  sigset_t pipe, pending;

  guard->active = false;
  /* One that waits already is not ours to eat: then it is blocked, and nothing can happen. */
  if(sigpending(&pending) < 0 || sigismember(&pending, SIGPIPE)) {
    return;
  }
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  guard->active = pthread_sigmask(SIG_BLOCK, &pipe, &guard->before) == 0;
}

void cr_sigpipe_restore(struct cr_sigpipe *guard)
{
  const struct timespec no_time = { 0, 0 };
  sigset_t pipe, pending;

  if(!guard->active) {
    return;
  }
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  if(sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE)) {
    while(sigtimedwait(&pipe, NULL, &no_time) < 0 && errno == EINTR) {
    }
  }
  pthread_sigmask(SIG_SETMASK, &guard->before, NULL);
  guard->active = false;
}
