/* loopback.h - a small HTTP server on 127.0.0.1 for the engine's tests, one thread a connection.
 *
 * What it does is said by the path: "/size/100", "/slow/200", "/reset" ... It picks a free port, counts what it sees
 * and is stopped by loopback_stop, which waits for every thread. */
#ifndef CR_SPEC_LOOPBACK_H
#define CR_SPEC_LOOPBACK_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOPBACK_REQUEST_MAX ((size_t)1 << 20)

struct loopback_peer;

struct loopback {
  int listener;
  int port;
  SSL_CTX *tls;               /* NULL: plain */
  pthread_t acceptor;
  /* Pages of the test itself, asked first; may be NULL. 0: not its page, 1: the connection goes on, -1: it ends. */
  int (*pages)(struct loopback_peer *peer, const char *path, const char *request, size_t len);
  atomic_bool stopping;
  atomic_int open, connections, requests, most_open;
};

struct loopback_peer {
  struct loopback *server;
  int fd;
  SSL *ssl;
  int served;                 /* requests on this connection so far */
  bool head;                  /* the request is a HEAD: no body */
};

static bool loopback_send(struct loopback_peer *peer, const char *data, size_t len)
{
  while(len) {
    ssize_t sent = peer->ssl ? SSL_write(peer->ssl, data, (int)len) : send(peer->fd, data, len, MSG_NOSIGNAL);
    if(sent <= 0) {
      return false;
    }
    data += sent;
    len -= (size_t)sent;
  }
  return true;
}

static bool loopback_text(struct loopback_peer *peer, const char *text)
{
  return loopback_send(peer, text, strlen(text));
}

/* Sleeps in slices, so that a stop is never kept waiting. */
static void loopback_sleep(struct loopback_peer *peer, int ms)
{
  for(; ms > 0 && !atomic_load(&peer->server->stopping); ms -= 10) {
    struct pollfd fd = { peer->fd, POLLRDHUP, 0 };
    if(poll(&fd, 1, ms < 10 ? ms : 10) > 0) {
      return; /* the client went away */
    }
  }
}

static bool loopback_answer(struct loopback_peer *peer, int status, const char *more, const char *body, size_t len)
{
  char head[512];
  snprintf(head, sizeof head, "HTTP/1.1 %d Something\r\nContent-Length: %zu\r\nX-Served: %d\r\n%s\r\n", status, len,
           peer->served, more);
  len = peer->head ? 0 : len;
  /* In one piece: two would wait for each other's acknowledgement. */
  char *whole = malloc(strlen(head) + len);
  memcpy(whole, head, strlen(head));
  memcpy(whole + strlen(head), body, len);
  bool good = loopback_send(peer, whole, strlen(head) + len);
  free(whole);
  return good;
}

/* A closed connection with RST instead of FIN. */
static bool loopback_reset(struct loopback_peer *peer)
{
  struct linger linger = { 1, 0 };
  setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  return false;
}

static bool loopback_endless(struct loopback_peer *peer, const char *piece, int pause_ms)
{
  while(!atomic_load(&peer->server->stopping) && loopback_text(peer, piece)) {
    if(pause_ms) {
      loopback_sleep(peer, pause_ms);
    }
  }
  return false;
}

static bool loopback_sized(struct loopback_peer *peer, size_t len, bool chunked)
{
  char *body = malloc(len + 1), head[64];
  bool good;
  memset(body, 'x', len);
  if(chunked) {
    snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n", len);
    good = loopback_text(peer, head) && loopback_send(peer, body, len) &&
           loopback_text(peer, "\r\n0\r\nX-Trailer: not a header\r\n\r\n");
  } else {
    good = loopback_answer(peer, 200, "", body, len);
  }
  free(body);
  return good;
}

/* True: the connection goes on. */
static bool loopback_serve(struct loopback_peer *peer, const char *path, const char *request, size_t len)
{
  int number = strrchr(path, '/') ? atoi(strrchr(path, '/') + 1) : 0;
  int own = peer->server->pages ? peer->server->pages(peer, path, request, len) : 0;

  if(own) {
    return own > 0;
  }
  if(strncmp(path, "/echo", 5) == 0) {
    return loopback_answer(peer, 200, "X-Multi: a\r\nX-MULTI: b\r\n", request, len);
  }
  if(strncmp(path, "/size/", 6) == 0 || strncmp(path, "/chunked/", 9) == 0) {
    return loopback_sized(peer, (size_t)number, path[1] == 'c');
  }
  if(strncmp(path, "/slow/", 6) == 0) {
    loopback_sleep(peer, number);
    return loopback_answer(peer, 200, "", "slow", 4);
  }
  if(strncmp(path, "/status/", 8) == 0) {
    return loopback_answer(peer, number, number / 100 == 3 ? "Location: http://127.0.0.1:1/elsewhere\r\n" : "",
                           "status", 6);
  }
  if(strcmp(path, "/endless") == 0) {
    return loopback_text(peer, "HTTP/1.1 200 OK\r\n\r\n") && loopback_endless(peer, "0123456789abcdef", 0);
  }
  if(strcmp(path, "/drip") == 0) {
    return loopback_text(peer, "HTTP/1.1 200 OK\r\n\r\n") && loopback_endless(peer, ".", 20);
  }
  if(strcmp(path, "/headers") == 0) {
    return loopback_text(peer, "HTTP/1.1 200 OK\r\n") && loopback_endless(peer, "X-Again: and again\r\n", 0);
  }
  if(strcmp(path, "/truncated") == 0) {
    loopback_text(peer, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this");
    return false;
  }
  if(strcmp(path, "/reset") == 0) {
    return loopback_reset(peer);
  }
  if(strcmp(path, "/continue") == 0) {
    return loopback_text(peer, "HTTP/1.1 100 Continue\r\nX-Early: yes\r\n\r\n") &&
           loopback_answer(peer, 200, "", "late", 4);
  }
  if(strcmp(path, "/garbage") == 0) {
    return loopback_text(peer, "SMTP nonsense\r\n\r\n") && false;
  }
  if(strcmp(path, "/die-when-reused") == 0) {
    return peer->served > 1 ? false : loopback_answer(peer, 200, "", "first", 5);
  }
  return loopback_answer(peer, 404, "", "no such page", 12);
}

/* One request, head and body; 0 when the client is gone. */
static size_t loopback_read(struct loopback_peer *peer, char *out, size_t size)
{
  size_t len = 0, want = 0;
  for(;;) {
    ssize_t got = peer->ssl ? SSL_read(peer->ssl, out + len, (int)(size - len - 1))
                            : recv(peer->fd, out + len, size - len - 1, 0);
    if(got <= 0) {
      return 0;
    }
    len += (size_t)got;
    out[len] = '\0';
    if(out[0] < 'A' || out[0] > 'Z') {
      loopback_text(peer, "HTTP/1.1 400 Bad Request\r\n\r\n"); /* a TLS greeting, say */
      return 0;
    }
    char *end = strstr(out, "\r\n\r\n");
    if(end && !want) {
      char *length = strcasestr(out, "\r\ncontent-length:");
      want = (size_t)(end + 4 - out) + (length && length < end ? (size_t)atol(length + 17) : 0);
    }
    if(want && len >= want) {
      return len;
    }
    if(len + 1 >= size) {
      return 0;
    }
  }
}

/* The server's own writes must not end the program; the client's thread keeps the signal as any host has it. */
static void loopback_no_sigpipe(void)
{
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, NULL);
}

static void *loopback_connection(void *user)
{
  struct loopback_peer *peer = user;
  struct loopback *server = peer->server;
  char *request = malloc(LOOPBACK_REQUEST_MAX), path[256];
  size_t len;

  loopback_no_sigpipe();
  if(server->tls) {
    peer->ssl = SSL_new(server->tls);
    SSL_set_fd(peer->ssl, peer->fd);
    if(SSL_accept(peer->ssl) != 1) {
      goto done;
    }
  }
  while(!atomic_load(&server->stopping) && (len = loopback_read(peer, request, LOOPBACK_REQUEST_MAX))) {
    atomic_fetch_add(&server->requests, 1);
    peer->served++;
    peer->head = strncmp(request, "HEAD ", 5) == 0;
    if(sscanf(request, "%*s %255s", path) != 1 || !loopback_serve(peer, path, request, len)) {
      break;
    }
  }
done:
  SSL_free(peer->ssl);
  close(peer->fd);
  free(request);
  free(peer);
  atomic_fetch_sub(&server->open, 1);
  return NULL;
}

static void *loopback_accept(void *user)
{
  struct loopback *server = user;
  while(!atomic_load(&server->stopping)) {
    struct pollfd wait = { server->listener, POLLIN, 0 };
    if(poll(&wait, 1, 20) <= 0) {
      continue;
    }
    int fd = accept(server->listener, NULL, NULL);
    if(fd < 0) {
      continue;
    }
    struct loopback_peer *peer = calloc(1, sizeof *peer);
    struct timeval most = { 5, 0 };
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
    peer->server = server;
    peer->fd = fd;
    atomic_fetch_add(&server->connections, 1);
    int open = atomic_fetch_add(&server->open, 1) + 1;
    if(open > atomic_load(&server->most_open)) {
      atomic_store(&server->most_open, open);
    }
    pthread_t thread;
    if(pthread_create(&thread, NULL, loopback_connection, peer) == 0) {
      pthread_detach(thread);
    } else {
      close(fd);
      free(peer);
      atomic_fetch_sub(&server->open, 1);
    }
  }
  return NULL;
}

static bool loopback_start(struct loopback *server, SSL_CTX *tls)
{
  struct sockaddr_in address = { .sin_family = AF_INET };
  socklen_t size = sizeof address;

  memset(server, 0, sizeof *server);
  server->tls = tls;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if(server->listener < 0 || bind(server->listener, (struct sockaddr *)&address, size) < 0 ||
     listen(server->listener, 512) < 0 ||
     getsockname(server->listener, (struct sockaddr *)&address, &size) < 0) {
    return false;
  }
  server->port = ntohs(address.sin_port);
  return pthread_create(&server->acceptor, NULL, loopback_accept, server) == 0;
}

static inline void loopback_stop(struct loopback *server)
{
  atomic_store(&server->stopping, true);
  pthread_join(server->acceptor, NULL);
  close(server->listener);
  for(int i = 0; i < 1000 && atomic_load(&server->open) > 0; i++) {
    poll(NULL, 0, 10);
  }
}

/* A port on which nobody listens: bound for a moment, then given back. */
static inline int loopback_refused_port(void)
{
  struct sockaddr_in address = { .sin_family = AF_INET };
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM, 0), port = 1;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if(bind(fd, (struct sockaddr *)&address, size) == 0 && getsockname(fd, (struct sockaddr *)&address, &size) == 0) {
    port = ntohs(address.sin_port);
  }
  close(fd);
  return port;
}

#endif
