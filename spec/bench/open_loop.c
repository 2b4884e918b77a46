/* open_loop.c - visitors who do not wait for each other: GET requests at fixed times over kept connections to
 * 127.0.0.1, each measured from the time it was due. A server that stands still delays everybody whose time comes
 * meanwhile, as it does in life; a client that waits for an answer before it asks again would not notice.
 *
 * usage: open_loop PORT PATH REQUESTS_A_SECOND SECONDS
 * Prints one latency a line, in microseconds. Ends with 1 when an answer is not a 200 or one never came. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 64
#define GRACE_NS INT64_C(10000000000) /* for the last answers */

struct visitor {
  int fd;
  bool busy;
  int64_t due;
  size_t length;
  char answer[4096];
};

static struct visitor visitors[CONNECTIONS];
static char request[512];
static int request_length;

static int64_t now_ns(void)
{
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void die(const char *what)
{
  fprintf(stderr, "open_loop: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void begin(struct visitor *visitor, int64_t due)
{
  visitor->busy = true;
  visitor->due = due;
  visitor->length = 0;
  if(send(visitor->fd, request, (size_t)request_length, MSG_NOSIGNAL) != request_length) {
    die("send");
  }
}

/* True when the answer is complete. */
static bool receive(struct visitor *visitor)
{
  ssize_t got = recv(visitor->fd, visitor->answer + visitor->length, sizeof visitor->answer - 1 - visitor->length, 0);
  const char *body, *length;

  if(got <= 0) {
    if(got < 0 && errno == EAGAIN) {
      return false;
    }
    die("recv");
  }
  visitor->length += (size_t)got;
  visitor->answer[visitor->length] = '\0';
  body = strstr(visitor->answer, "\r\n\r\n");
  if(!body) {
    return false;
  }
  length = strstr(visitor->answer, "Content-Length: ");
  if(strncmp(visitor->answer, "HTTP/1.1 200 ", 13) != 0 || !length || length > body) {
    fprintf(stderr, "open_loop: not a 200 with a Content-Length: %.60s\n", visitor->answer);
    exit(1);
  }
  return visitor->length >= (size_t)(body + 4 - visitor->answer) + strtoul(length + 16, NULL, 10);
}

static void connect_all(int epoll, int port)
{
  struct sockaddr_in address;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_port = htons((uint16_t)port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for(int i = 0; i < CONNECTIONS; i++) {
    struct epoll_event event = { .events = EPOLLIN, .data = { .ptr = &visitors[i] } };
    int on = 1;
    visitors[i].fd = socket(AF_INET, SOCK_STREAM, 0);
    if(visitors[i].fd < 0 || connect(visitors[i].fd, (struct sockaddr *)&address, sizeof address) < 0) {
      die("connect");
    }
    setsockopt(visitors[i].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    fcntl(visitors[i].fd, F_SETFL, O_NONBLOCK);
    if(epoll_ctl(epoll, EPOLL_CTL_ADD, visitors[i].fd, &event) < 0) {
      die("epoll_ctl");
    }
  }
}

static struct visitor *idle_one(void)
{
  for(int i = 0; i < CONNECTIONS; i++) {
    if(!visitors[i].busy) {
      return &visitors[i];
    }
  }
  return NULL;
}

static void set_timer(int timer, int64_t at)
{
  struct itimerspec when = { { 0, 0 }, { at / 1000000000, at % 1000000000 } };
  if(timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL) < 0) {
    die("timerfd_settime");
  }
}

int main(int argc, char **argv)
{
  struct sched_param priority = { .sched_priority = 2 };
  struct epoll_event ticks = { .events = EPOLLIN, .data = { .ptr = NULL } };
  int epoll = epoll_create1(0), timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  int64_t start, step, *latencies;
  long total, sent = 0, answered = 0;

  if(argc != 5) {
    fprintf(stderr, "usage: open_loop PORT PATH REQUESTS_A_SECOND SECONDS\n");
    return 2;
  }
  step = (int64_t)(1e9 / atof(argv[3]));
  total = (long)(atof(argv[3]) * atof(argv[4]));
  latencies = total > 0 ? malloc((size_t)total * sizeof *latencies) : NULL;
  request_length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", argv[2]);
  if(!latencies || epoll < 0 || timer < 0 || request_length >= (int)sizeof request ||
     epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &ticks) < 0) {
    die("cannot begin");
  }
  connect_all(epoll, atoi(argv[1]));
  /* Where it is allowed: what else the machine does is not to be measured. */
  (void)sched_setscheduler(0, SCHED_FIFO, &priority);

  start = now_ns() + step;
  set_timer(timer, start);
  while(answered < total) {
    struct epoll_event events[CONNECTIONS + 1];
    int count = epoll_wait(epoll, events, CONNECTIONS + 1, 1000);
    struct visitor *visitor;
    if(count < 0 && errno != EINTR) {
      die("epoll_wait");
    }
    for(int i = 0; i < count; i++) {
      visitor = events[i].data.ptr;
      if(visitor && receive(visitor)) {
        latencies[answered++] = now_ns() - visitor->due;
        visitor->busy = false;
      }
    }
    /* Whoever finds no connection free is late, and his time counts. */
    while(sent < total && start + sent * step <= now_ns() && (visitor = idle_one())) {
      begin(visitor, start + sent++ * step);
    }
    if(sent < total) {
      int64_t due = start + sent * step, soonest = now_ns() + 1;
      set_timer(timer, due > soonest ? due : now_ns() + (idle_one() ? 1 : 1000000));
    } else {
      uint64_t unused;
      (void)!read(timer, &unused, sizeof unused);
      if(now_ns() > start + total * step + GRACE_NS) {
        fprintf(stderr, "open_loop: %ld of %ld requests were never answered\n", total - answered, total);
        return 1;
      }
    }
  }
  for(long i = 0; i < total; i++) {
    printf("%.1f\n", (double)latencies[i] / 1000);
  }
  free(latencies);
  return 0;
}
