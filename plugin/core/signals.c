/* signals.c - SIGINT and SIGTERM as something to read instead of the end of the process.
 *
 * Plain Linux: signalfd. A struct cr_signals owns its descriptor and remembers which signals it blocked itself. */
#include "signals.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct cr_signals {
  int fd;
  sigset_t blocked;   /* by us: those that were blocked before stay so */
};

static const int watched[] = {SIGINT, SIGTERM};

struct cr_signals *cr_signals_open(struct cr_error *err)
{
  struct cr_signals *signals = calloc(1, sizeof *signals);
  sigset_t wanted, before;
  char text[128];
  int failed;

  if(!signals) {
    cr_fail_memory(err);
    return NULL;
  }
  sigemptyset(&wanted);
  sigemptyset(&signals->blocked);
  for(size_t i = 0; i < sizeof watched / sizeof *watched; i++) {
    sigaddset(&wanted, watched[i]);
  }
  signals->fd = signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC);
  if(signals->fd < 0) {
    failed = errno;
    goto fail;
  }
  failed = pthread_sigmask(SIG_BLOCK, &wanted, &before);
  if(failed) {
    goto fail;
  }
  for(size_t i = 0; i < sizeof watched / sizeof *watched; i++) {
    if(!sigismember(&before, watched[i])) {
      sigaddset(&signals->blocked, watched[i]);
    }
  }
  return signals;
fail:
  cr_fail(err, CR_KIND_INPUT, "NoSignals", "cannot watch for signals: %s", strerror_r(failed, text, sizeof text));
  if(signals->fd >= 0) {
    close(signals->fd);
  }
  free(signals);
  return NULL;
}

int cr_signals_fd(const struct cr_signals *signals)
{
  return signals->fd;
}

const char *cr_signals_take(struct cr_signals *signals)
{
  struct signalfd_siginfo info;
  ssize_t n;

  do {
    n = read(signals->fd, &info, sizeof info);
  } while(n < 0 && errno == EINTR);
  if(n != (ssize_t)sizeof info) {
    return NULL;
  }
  return info.ssi_signo == SIGINT ? "INT" : "TERM";
}

void cr_signals_close(struct cr_signals *signals)
{
  if(signals) {
    close(signals->fd);
    pthread_sigmask(SIG_UNBLOCK, &signals->blocked, NULL);
    free(signals);
  }
}
