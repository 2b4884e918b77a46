/* poller.c - epoll, a timerfd and an eventfd behind one descriptor (see poller.h).
 *
 * System calls only. Owns the three descriptors; the sockets belong to libcurl. */
#include "poller.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define BATCH 64

int64_t cr_monotonic_ms(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int add_own(const struct cr_poller *poller, int fd)
{
  struct epoll_event event;

  memset(&event, 0, sizeof event);
  event.events = EPOLLIN;
  event.data.fd = fd;
  return epoll_ctl(poller->epoll, EPOLL_CTL_ADD, fd, &event);
}

int cr_poller_open(struct cr_poller *poller, struct cr_error *err)
{
  *poller = (struct cr_poller)CR_POLLER_CLOSED;
  poller->epoll = epoll_create1(EPOLL_CLOEXEC);
  if(poller->epoll < 0) {
    goto fail;
  }
  poller->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  if(poller->timer < 0) {
    goto fail;
  }
  poller->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if(poller->event < 0 || add_own(poller, poller->timer) < 0 || add_own(poller, poller->event) < 0) {
    goto fail;
  }
  return 0;

fail:
  cr_fail(err, CR_KIND_TRANSPORT, "NoDescriptor", "cannot make a descriptor to wait on: %s", strerror(errno));
  cr_poller_close(poller);
  return -1;
}

void cr_poller_close(struct cr_poller *poller)
{
  if(poller->timer >= 0) {
    close(poller->timer);
  }
  if(poller->event >= 0) {
    close(poller->event);
  }
  if(poller->epoll >= 0) {
    close(poller->epoll);
  }
  *poller = (struct cr_poller)CR_POLLER_CLOSED;
}

void cr_poller_watch(struct cr_poller *poller, int fd, bool read, bool write)
{
  struct epoll_event event;

  memset(&event, 0, sizeof event);
  event.data.fd = fd;
  event.events = (read ? EPOLLIN : 0u) | (write ? EPOLLOUT : 0u);
  if(!event.events) {
    epoll_ctl(poller->epoll, EPOLL_CTL_DEL, fd, &event);
    return;
  }
  /* Mostly new; the kernel forgets a closed socket by itself, and a number used again is no error. */
  if(epoll_ctl(poller->epoll, EPOLL_CTL_ADD, fd, &event) < 0 && errno == EEXIST) {
    epoll_ctl(poller->epoll, EPOLL_CTL_MOD, fd, &event);
  }
}

void cr_poller_arm(struct cr_poller *poller, int64_t in_ms)
{
  const uint64_t one = 1;
  struct itimerspec at;
  int64_t due;

  if(in_ms < 0 || poller->woken) {
    return;
  }
  if(in_ms == 0) {
    poller->woken = write(poller->event, &one, sizeof one) > 0;
    return;
  }
  due = cr_monotonic_ms() + in_ms;
  if(poller->armed_ms >= 0 && poller->armed_ms <= due) {
    return;
  }
  memset(&at, 0, sizeof at);
  at.it_value.tv_sec = (time_t)(in_ms / 1000);
  at.it_value.tv_nsec = (long)(in_ms % 1000) * 1000000;
  if(timerfd_settime(poller->timer, 0, &at, NULL) == 0) {
    poller->armed_ms = due;
  }
}

int cr_poller_ready(struct cr_poller *poller, struct cr_ready *out, int max)
{
  struct epoll_event events[BATCH];
  int count = epoll_wait(poller->epoll, events, max < BATCH ? max : BATCH, 0), kept = 0;

  for(int i = 0; i < count; i++) {
    uint64_t times;
    if(events[i].data.fd == poller->timer) {
      if(read(poller->timer, &times, sizeof times) > 0) {
        poller->armed_ms = -1;
      }
      continue;
    }
    if(events[i].data.fd == poller->event) {
      if(read(poller->event, &times, sizeof times) > 0) {
        poller->woken = false;
      }
      continue;
    }
    out[kept].fd = events[i].data.fd;
    out[kept].readable = (events[i].events & (EPOLLIN | EPOLLHUP)) != 0;
    out[kept].writable = (events[i].events & EPOLLOUT) != 0;
    out[kept].failed = (events[i].events & EPOLLERR) != 0;
    kept++;
  }
  return kept;
}

void cr_poller_wait(struct cr_poller *poller, int64_t timeout_ms, int extra)
{
  struct pollfd fds[2];
  struct timespec left;

  memset(fds, 0, sizeof fds);
  fds[0].fd = poller->epoll;
  fds[0].events = POLLIN;
  fds[1].fd = extra;
  fds[1].events = POLLIN;
  left.tv_sec = (time_t)(timeout_ms / 1000);
  left.tv_nsec = (long)(timeout_ms % 1000) * 1000000;
  ppoll(fds, extra >= 0 ? 2 : 1, timeout_ms >= 0 ? &left : NULL, NULL);
}
