/* poller.h - one descriptor that tells when an engine has something to do.
 *
 * An epoll instance holds the sockets of all transfers, a timerfd and an eventfd, so a host watches a single descriptor
 * that stays the same for an engine's life. Knows nothing of curl. */
#ifndef CR_POLLER_H
#define CR_POLLER_H

#include "base.h"

struct cr_poller {
  int epoll, timer, event;
  int64_t armed_ms;         /* monotonic ms at which the timer fires; -1: not armed */
  bool woken;               /* the eventfd is readable */
};

struct cr_ready {
  int fd;
  bool readable, writable, failed;
};

#define CR_POLLER_CLOSED { -1, -1, -1, -1, false }
int cr_poller_open(struct cr_poller *poller, struct cr_error *err);
void cr_poller_close(struct cr_poller *poller);         /* may be called twice, and on one that never opened */

/* Watches fd for these; neither: forgets it. A descriptor that was closed or reused meanwhile is no error. */
void cr_poller_watch(struct cr_poller *poller, int fd, bool read, bool write);

/* Makes the descriptor readable in `in_ms` at the latest. An alarm that is set earlier stays: it costs one idle
 * wake-up instead of a system call for each transfer. in_ms 0: now, by the eventfd, for a timer that fires at once has
 * the hardware's programmed and interrupts; < 0: nothing is due. */
void cr_poller_arm(struct cr_poller *poller, int64_t in_ms);

/* What is ready now, without waiting; timer and eventfd are taken note of and not among it. At most `max`. */
int cr_poller_ready(struct cr_poller *poller, struct cr_ready *out, int max);

/* Until something is ready, `extra` (-1: none) is readable, a signal came, or timeout_ms (< 0: for ever) passed. */
void cr_poller_wait(struct cr_poller *poller, int64_t timeout_ms, int extra);

/* Real time, for what libcurl measures by itself. */
int64_t cr_monotonic_ms(void);

#endif
