/* transfer.h - one request over one curl easy handle, and what it came to.
 *
 * Handles are kept and used again: an easy handle with its fixed options costs more to make than a call to send.
 * libcurl's callbacks live here and touch a transfer's own memory only. */
#ifndef CR_TRANSFER_H
#define CR_TRANSFER_H

#include "engine.h"
#include "probe.h"

#include <curl/curl.h>

/* What all transfers of an engine share. */
struct cr_transport {
  struct cr_engine_options options;    /* the texts below, with their defaults filled in */
  char *ca_file, *proxy, *no_proxy, *user_agent;
  CURLSH *share;                       /* TLS sessions */
  struct cr_roots *roots;              /* of connections and probes; read when the first one needs them */
  bool curl_roots;                     /* libcurl reads its own: it uses another TLS library, or two CA files (proxy) */
  int *sockets;                        /* of all connections */
  size_t socket_count, socket_cap;
  bool no_room;                        /* for one more of them: the transfer that wanted it fails for want of memory */
  struct cr_transfer *spare;
  size_t spare_count;
};

struct cr_transfer {
  struct cr_transfer *next;            /* while spare */
  CURL *easy;
  void *owner;                         /* the engine's */
  struct cr_transport *transport;
  const struct cr_request *request;    /* the machine's, for as long as the transfer is on its way */
  struct cr_answer answer;
  uint64_t bytes_received, bytes_sent;
  long connections;                    /* opened for this request */

  struct curl_slist *nodes;            /* headers, pointing into head */
  size_t node_cap;
  struct curl_slist *header_list;      /* its first, NULL when there are none */
  struct cr_buf head;
  struct curl_slist connect_to;
  char *connect_text;
  size_t max_body;
  size_t body_seen;
  bool head_done, too_large, head_too_large, sink_failed, out_of_memory;
  bool surplus;                        /* a connection used before had something to read before anything was asked */
  bool plain_allowed, unproxied;       /* what the handle is set to now */
  char curl_message[CURL_ERROR_SIZE];
};

/* Copies the options. 0 or -1; cr_transport_close is fine after either. */
int cr_transport_open(struct cr_transport *transport, const struct cr_engine_options *options, struct cr_error *err);
void cr_transport_close(struct cr_transport *transport);

/* A transfer ready for curl_multi_add_handle; request must stay until it is finished or released. NULL and *err
 * (kind INPUT: this request must not be sent) when it cannot be made. */
struct cr_transfer *cr_transfer_new(struct cr_transport *transport, const struct cr_request *request,
                                    struct cr_error *err);
/* Whether the roots must be read before the request can be sent. */
bool cr_transport_lacks_roots(const struct cr_transport *transport, const struct cr_request *request);
/* Whether a transfer that libcurl has ended was not sent for the connection's sake, and is now set to be sent on a new one:
 * its handle is to be taken out of the multi handle and added again. */
bool cr_transfer_again(struct cr_transfer *transfer, CURLcode code);
/* Fills transfer->answer after libcurl has ended it. now_unix: for the verification of a probed chain. */
void cr_transfer_finish(struct cr_transport *transport, struct cr_transfer *transfer, CURLcode code, int64_t now_unix);
/* Back to the spare ones, wiped. The handle must be out of the multi handle. */
void cr_transfer_release(struct cr_transport *transport, struct cr_transfer *transfer);
/* For good: the handle is closed. */
void cr_transfer_free(struct cr_transfer *transfer);

/* transfer_error.c: what a failed transfer means, in words that say what to do. Fills answer.sent and answer.error. */
void cr_transfer_explain(const struct cr_transport *transport, struct cr_transfer *transfer, CURLcode code);

#endif
