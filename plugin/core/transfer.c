/* transfer.c - one request over one curl easy handle (see transfer.h).
 *
 * Includes libcurl and nothing of OpenSSL. What a transfer holds may be a private key or a token on its way: every
 * buffer is wiped before the handle is used again. */
#include "transfer.h"
#include "uri.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX ((size_t)256 << 10)
#define RESERVE_MAX ((size_t)1 << 20)
#define SPARE_MAX 64
#define NO_EXPECT ((size_t)512 << 10)      /* libcurl asks above 1 MiB */
#define KEEP_BODY ((size_t)256 << 10)    /* larger memory of an answer is given back */
#define LOW_SPEED_SECONDS 30

/* ---- what arrives: called by libcurl ---- */

static size_t content_length(const char *value)
{
  size_t length = 0;
  while(*value == ' ' || *value == '\t') {
    value++;
  }
  for(; *value >= '0' && *value <= '9'; value++) {
    if(length > SIZE_MAX / 20) {
      return SIZE_MAX;
    }
    length = length * 10 + (size_t)(*value - '0');
  }
  return length;
}

static void begin_answer(struct cr_transfer *transfer, const char *line, size_t len)
{
  const char *space = memchr(line, ' ', len);
  int status = 0;
  for(int i = 1; space && i <= 3 && space + i < line + len && space[i] >= '0' && space[i] <= '9'; i++) {
    status = status * 10 + (space[i] - '0');
  }
  transfer->answer.status = status;
  transfer->head_done = false;
  cr_buf_reset(&transfer->answer.header_text);
}

/* The announced length decides how much memory is taken at once, and whether the answer is refused unread. */
static bool announce(struct cr_transfer *transfer, size_t length)
{
  struct cr_answer *answer = &transfer->answer;
  if(length > transfer->max_body) {
    transfer->too_large = true;
    return false;
  }
  if(!transfer->request->sink && answer->status >= 200) {
    cr_buf_reserve(&answer->body, length < RESERVE_MAX ? length : RESERVE_MAX);
  }
  return true;
}

static size_t on_header(char *data, size_t size, size_t count, void *user)
{
  struct cr_transfer *transfer = user;
  struct cr_buf *text = &transfer->answer.header_text;
  size_t len = size * count, begin = text->len, name_len;

  transfer->bytes_received += len;
  if(len > 5 && memcmp(data, "HTTP/", 5) == 0) {
    begin_answer(transfer, data, len);
    return len;
  }
  if(transfer->head_done) {
    return len; /* trailers */
  }
  while(len && (data[len - 1] == '\r' || data[len - 1] == '\n')) {
    len--;
  }
  if(!len) {
    transfer->head_done = transfer->answer.status >= 200;
    return size * count;
  }
  cr_buf_add(text, data, len);
  if(cr_buf_addc(text, '\n') < 0) {
    transfer->out_of_memory = text->state == CR_BUF_NO_MEMORY;
    transfer->head_too_large = !transfer->out_of_memory;
    return 0;
  }
  for(name_len = 0; name_len < len && data[name_len] != ':'; name_len++) {
    char *c = &text->data[begin + name_len];
    if(*c >= 'A' && *c <= 'Z') {
      *c = (char)(*c + ('a' - 'A'));
    }
  }
  if(name_len == 14 && memcmp(text->data + begin, "content-length", 14) == 0 &&
     !announce(transfer, content_length(text->data + begin + 15))) {
    return 0;
  }
  return size * count;
}

static size_t on_body(char *data, size_t size, size_t count, void *user)
{
  struct cr_transfer *transfer = user;
  struct cr_answer *answer = &transfer->answer;
  const struct cr_sink *sink = transfer->request->sink;
  size_t len = size * count;

  transfer->bytes_received += len;
  transfer->body_seen += len;
  if(transfer->body_seen > transfer->max_body) {
    transfer->too_large = true;
    return 0;
  }
  if(sink && answer->status >= 200 && answer->status < 300) {
    if(sink->write(sink->user, data, len) < 0) {
      transfer->sink_failed = true;
      return 0;
    }
    return len;
  }
  if(cr_buf_add(&answer->body, data, len) < 0) {
    transfer->out_of_memory = answer->body.state == CR_BUF_NO_MEMORY;
    transfer->too_large = !transfer->out_of_memory;
    return 0;
  }
  return len;
}

/* Sockets that programs started meanwhile (os.execute) do not inherit. They are remembered: see on_ready. */
static curl_socket_t on_socket(void *user, curlsocktype purpose, struct curl_sockaddr *address)
{
  struct cr_transport *transport = user;
  int fd;
  (void)purpose;

  if(transport->socket_count == transport->socket_cap) {
    size_t cap = transport->socket_cap ? transport->socket_cap * 2 : 16;
    int *grown = realloc(transport->sockets, cap * sizeof *grown);
    transport->no_room = transport->no_room || !grown;
    if(!grown) {
      return CURL_SOCKET_BAD;
    }
    transport->sockets = grown;
    transport->socket_cap = cap;
  }
  fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  if(fd >= 0) {
    transport->sockets[transport->socket_count++] = fd;
  }
  return fd;
}

static int on_close(void *user, curl_socket_t fd)
{
  struct cr_transport *transport = user;

  for(size_t i = 0; i < transport->socket_count; i++) {
    if(transport->sockets[i] == fd) {
      transport->sockets[i] = transport->sockets[--transport->socket_count];
      break;
    }
  }
  return close(fd);
}

/* The socket of a connection. libcurl tells a callback only its ports. */
static int socket_of(const struct cr_transport *transport, int local_port)
{
  for(size_t i = 0; i < transport->socket_count; i++) {
    union {
      struct sockaddr any;
      struct sockaddr_in v4;
      struct sockaddr_in6 v6;
    } address;
    socklen_t len = sizeof address;
    memset(&address, 0, sizeof address);
    if(getsockname(transport->sockets[i], &address.any, &len) == 0 &&
       ntohs(address.any.sa_family == AF_INET6 ? address.v6.sin6_port : address.v4.sin_port) == local_port) {
      return transport->sockets[i];
    }
  }
  return -1;
}

/* Between two requests of HTTP/1.1 a server has nothing to say. What is there to be read on a connection used before is
 * an answer too many, which would be taken for the answer to this request, or the connection's end: neither is a
 * connection to send on. libcurl looks at that itself, for TLS only in later versions than the oldest we take. */
static int on_ready(void *user, char *peer, char *local, int peer_port, int local_port)
{
  struct cr_transfer *transfer = user;
  long opened = 0;
  (void)peer, (void)local, (void)peer_port;

  /* On a new one TLS may have sent tickets already. */
  if(curl_easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &opened) == CURLE_OK && opened == 0) {
    struct pollfd waiting = { .fd = socket_of(transfer->transport, local_port), .events = POLLIN };
    transfer->surplus = waiting.fd >= 0 && poll(&waiting, 1, 0) > 0;
  }
  return transfer->surplus ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

bool cr_transfer_again(struct cr_transfer *transfer, CURLcode code)
{
  bool again = code == CURLE_ABORTED_BY_CALLBACK && transfer->surplus;

  transfer->surplus = false;
  return again && curl_easy_setopt(transfer->easy, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK;
}

/* ---- what all share ---- */

static char *copy_option(const char *text, bool *failed)
{
  char *copy = text && *text ? cr_strdup(text) : NULL;
  *failed = *failed || (text && *text && !copy);
  return copy;
}

/* Only then can a connection be given an OpenSSL store. */
static bool is_openssl(void)
{
  const char *library = curl_version_info(CURLVERSION_NOW)->ssl_version;
  return library && strncmp(library, "OpenSSL/", 8) == 0;
}

int cr_transport_open(struct cr_transport *transport, const struct cr_engine_options *options, struct cr_error *err)
{
  struct cr_engine_options *own = &transport->options;
  bool failed = false;

  memset(transport, 0, sizeof *transport);
  if(options) {
    *own = *options;
  }
  transport->ca_file = copy_option(own->ca_file, &failed);
  transport->proxy = copy_option(own->proxy, &failed);
  transport->no_proxy = copy_option(own->no_proxy, &failed);
  transport->user_agent = copy_option(own->user_agent ? own->user_agent : "certrotate/" CR_VERSION, &failed);
  transport->share = curl_share_init();
  transport->roots = cr_roots_new(transport->ca_file ? transport->ca_file : curl_version_info(CURLVERSION_NOW)->cainfo);
  if(failed || !transport->share || !transport->roots) {
    return cr_fail_memory(err);
  }
  transport->curl_roots = !is_openssl() || (transport->proxy && strncasecmp(transport->proxy, "https:", 6) == 0);
  own->ca_file = transport->ca_file;
  own->proxy = transport->proxy;
  own->no_proxy = transport->no_proxy;
  own->user_agent = transport->user_agent;
  own->max_connections = own->max_connections > 0 ? own->max_connections : 64;
  own->max_host_connections = own->max_host_connections > 0 ? own->max_host_connections : 16;
  own->connect_timeout_ms = own->connect_timeout_ms > 0 ? own->connect_timeout_ms : 10000;
  own->total_timeout_ms = own->total_timeout_ms > 0 ? own->total_timeout_ms : 60000;
  own->max_body = own->max_body ? own->max_body : (size_t)32 << 20;
  if(transport->user_agent && transport->user_agent[strcspn(transport->user_agent, "\r\n")]) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidUserAgent", "the user agent contains a line end");
  }
  if(transport->ca_file && access(transport->ca_file, R_OK) < 0) {
    return cr_fail(err, CR_KIND_INPUT, "CaFileUnreadable",
                   "the CA file \"%s\" cannot be read: check the path (ca_file, AWS_CA_BUNDLE)", transport->ca_file);
  }
  if(own->trust && cr_roots_add(transport->roots, own->trust, err) != 0) {
    return -1;
  }
  own->trust = NULL; /* the caller's text */
  curl_share_setopt(transport->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
  return 0;
}

void cr_transport_close(struct cr_transport *transport)
{
  while(transport->spare) {
    struct cr_transfer *transfer = transport->spare;
    transport->spare = transfer->next;
    cr_transfer_free(transfer);
  }
  curl_share_cleanup(transport->share);
  cr_roots_free(transport->roots);
  if(transport->proxy) {
    cr_wipe(transport->proxy, strlen(transport->proxy)); /* a password may be in it */
  }
  free(transport->ca_file);
  free(transport->proxy);
  free(transport->no_proxy);
  free(transport->user_agent);
  free(transport->sockets);
  memset(transport, 0, sizeof *transport);
}

/* ---- handles ---- */

static CURLcode on_tls(CURL *easy, void *context, void *roots)
{
  (void)easy;
  cr_roots_apply(roots, context);
  return CURLE_OK;
}

#define SET(option, value) (code = code != CURLE_OK ? code : curl_easy_setopt(easy, (option), (value)))

/* What never changes for a handle. */
static CURLcode set_fixed(const struct cr_transport *transport, struct cr_transfer *transfer)
{
  CURL *easy = transfer->easy;
  CURLcode code = CURLE_OK;

  SET(CURLOPT_PRIVATE, transfer);
  SET(CURLOPT_ERRORBUFFER, transfer->curl_message);
  SET(CURLOPT_NOSIGNAL, 1L);
  SET(CURLOPT_NOPROGRESS, 1L);
  SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  SET(CURLOPT_FOLLOWLOCATION, 0L);
  SET(CURLOPT_PATH_AS_IS, 1L); /* what is sent is what was signed */
  SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
  SET(CURLOPT_PROTOCOLS_STR, transport->options.allow_http ? "http,https" : "https");
  SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  SET(CURLOPT_CAPATH, NULL); /* with a folder libcurl parses every CA certificate for every connection */
  if(!transport->curl_roots) {
    SET(CURLOPT_CAINFO, NULL);
    SET(CURLOPT_SSL_CTX_FUNCTION, on_tls);
    SET(CURLOPT_SSL_CTX_DATA, transport->roots);
  } else if(transport->ca_file) {
    SET(CURLOPT_CAINFO, transport->ca_file);
  }
  SET(CURLOPT_SSL_VERIFYPEER, 1L);
  SET(CURLOPT_SSL_VERIFYHOST, 2L);
  SET(CURLOPT_SHARE, transport->share);
  SET(CURLOPT_USERAGENT, transport->user_agent);
  SET(CURLOPT_PROXY, transport->proxy ? transport->proxy : "");
  SET(CURLOPT_NOPROXY, transport->no_proxy ? transport->no_proxy : "");
  SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  SET(CURLOPT_UPLOAD_BUFFERSIZE, 16384L); /* one TLS record; the default is taken and given back for every body */
  SET(CURLOPT_LOW_SPEED_LIMIT, 1L);
  SET(CURLOPT_LOW_SPEED_TIME, (long)LOW_SPEED_SECONDS);
  SET(CURLOPT_HEADERFUNCTION, on_header);
  SET(CURLOPT_HEADERDATA, transfer);
  SET(CURLOPT_WRITEFUNCTION, on_body);
  SET(CURLOPT_WRITEDATA, transfer);
  SET(CURLOPT_OPENSOCKETFUNCTION, on_socket);
  SET(CURLOPT_OPENSOCKETDATA, transfer->transport);
  SET(CURLOPT_CLOSESOCKETFUNCTION, on_close);
  SET(CURLOPT_CLOSESOCKETDATA, transfer->transport);
  SET(CURLOPT_PREREQFUNCTION, on_ready);
  SET(CURLOPT_PREREQDATA, transfer);
#if LIBCURL_VERSION_NUM >= 0x075700
  SET(CURLOPT_QUICK_EXIT, 1L); /* never wait for a name lookup when a handle is closed */
#endif
  return code;
}

static struct cr_transfer *make(struct cr_transport *transport)
{
  struct cr_transfer *transfer = calloc(1, sizeof *transfer);

  if(!transfer) {
    return NULL;
  }
  transfer->transport = transport;
  cr_answer_init(&transfer->answer);
  cr_buf_init(&transfer->head, HEAD_MAX);
  transfer->easy = curl_easy_init();
  transfer->plain_allowed = transport->options.allow_http;
  if(!transfer->easy || set_fixed(transport, transfer) != CURLE_OK) {
    cr_transfer_free(transfer);
    return NULL;
  }
  return transfer;
}

void cr_transfer_free(struct cr_transfer *transfer)
{
  if(transfer) {
    curl_easy_cleanup(transfer->easy);
    cr_answer_free(&transfer->answer);
    cr_buf_free(&transfer->head);
    free(transfer->nodes);
    free(transfer->connect_text);
    free(transfer);
  }
}

void cr_transfer_release(struct cr_transport *transport, struct cr_transfer *transfer)
{
  struct cr_answer *answer = &transfer->answer;

  /* A probe's handle keeps a connection and options no other request should meet. */
  if(transport->spare_count >= SPARE_MAX || transfer->connect_text || !transfer->easy) {
    cr_transfer_free(transfer);
    return;
  }
  if(answer->body.cap > KEEP_BODY) {
    cr_buf_free(&answer->body);
  }
  cr_buf_reset(&answer->body);
  cr_buf_reset(&answer->header_text);
  cr_buf_reset(&transfer->head);
  cr_error_clear(&answer->error);
  transfer->request = NULL;
  transfer->owner = NULL;
  transfer->next = transport->spare;
  transport->spare = transfer;
  transport->spare_count++;
}

/* ---- requests ---- */

/* libcurl reads the list and never changes it: nodes are ours and point into one text. */
static int set_headers(struct cr_transfer *transfer, const struct cr_request *request)
{
  struct cr_buf *head = &transfer->head;
  size_t count = request->header_count + 2, used = 0, at = 0;
  bool typed = false;

  if(count > transfer->node_cap) {
    struct curl_slist *nodes = calloc(count, sizeof *nodes);
    if(!nodes) {
      return -1;
    }
    free(transfer->nodes);
    transfer->nodes = nodes;
    transfer->node_cap = count;
  }
  cr_buf_reset(head);
  for(size_t i = 0; i < request->header_count; i++) {
    const struct cr_header *header = &request->headers[i];
    typed = typed || cr_strcasecmp(header->name, "content-type") == 0;
    cr_buf_adds(head, header->name);
    if(header->value_len) {
      cr_buf_add(head, ": ", 2);
      cr_buf_add(head, header->value, header->value_len);
    } else {
      cr_buf_addc(head, ';'); /* libcurl's way to write an empty value */
    }
    cr_buf_addc(head, '\0');
  }
  if(request->body_len > NO_EXPECT) {
    cr_buf_add(head, "Expect:", sizeof "Expect:"); /* no question before a large body */
  }
  if(!typed) {
    cr_buf_add(head, "Content-Type:", sizeof "Content-Type:"); /* none, instead of libcurl's own for a POST */
  }
  if(head->state != CR_BUF_FINE) {
    return -1;
  }
  for(used = 0; at < head->len; used++) {
    transfer->nodes[used].data = head->data + at;
    transfer->nodes[used].next = &transfer->nodes[used + 1];
    at += strlen(head->data + at) + 1;
  }
  if(used) {
    transfer->nodes[used - 1].next = NULL;
  }
  transfer->header_list = used ? transfer->nodes : NULL;
  return 0;
}

static CURLcode set_method(CURL *easy, const struct cr_request *request)
{
  CURLcode code = CURLE_OK;
  bool get = strcmp(request->method, "GET") == 0, head = strcmp(request->method, "HEAD") == 0;
  bool post = strcmp(request->method, "POST") == 0, put = strcmp(request->method, "PUT") == 0;
  bool body = request->body_len || post || put;

  if(body) {
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
    SET(CURLOPT_POSTFIELDS, request->body_len ? request->body : "");
  } else if(head) {
    SET(CURLOPT_NOBODY, 1L);
  } else {
    SET(CURLOPT_HTTPGET, 1L);
  }
  SET(CURLOPT_CUSTOMREQUEST, (body && post) || (!body && (get || head)) ? NULL : request->method);
  return code;
}

static int64_t least(int64_t a, int64_t b)
{
  return a < b ? a : b;
}

static CURLcode set_times(const struct cr_transport *transport, CURL *easy, const struct cr_request *request)
{
  CURLcode code = CURLE_OK;
  int64_t most = request->within_ms > 0 ? request->within_ms : INT32_MAX;
  int64_t total = request->total_timeout_ms > 0 ? request->total_timeout_ms : transport->options.total_timeout_ms;
  int64_t connect = request->connect_timeout_ms > 0 ? request->connect_timeout_ms
                                                    : transport->options.connect_timeout_ms;

  SET(CURLOPT_TIMEOUT_MS, (long)least(total, most));
  SET(CURLOPT_CONNECTTIMEOUT_MS, (long)least(connect, most));
  return code;
}

/* A new connection whose certificates are looked at, not judged: judging comes afterwards, as a result. */
static CURLcode set_probe(struct cr_transfer *transfer, const struct cr_request *request)
{
  CURL *easy = transfer->easy;
  CURLcode code = CURLE_OK;
  size_t len = request->connect_to ? strlen(request->connect_to) : 0;

  transfer->connect_text = malloc(len + 3);
  if(!transfer->connect_text) {
    return CURLE_OUT_OF_MEMORY;
  }
  memcpy(transfer->connect_text, "::", 3);
  if(len) {
    memcpy(transfer->connect_text + 2, request->connect_to, len + 1);
    transfer->connect_to.data = transfer->connect_text;
    SET(CURLOPT_CONNECT_TO, &transfer->connect_to);
  }
  SET(CURLOPT_CONNECT_ONLY, 1L);
  SET(CURLOPT_CERTINFO, 1L);
  SET(CURLOPT_SSL_VERIFYPEER, 0L);
  SET(CURLOPT_SSL_VERIFYHOST, 0L);
  SET(CURLOPT_CAINFO, NULL);
  SET(CURLOPT_SSL_SESSIONID_CACHE, 0L); /* a resumed session would show an old certificate */
  SET(CURLOPT_SHARE, NULL);
  SET(CURLOPT_FRESH_CONNECT, 1L);
  SET(CURLOPT_FORBID_REUSE, 1L);
  SET(CURLOPT_HTTPGET, 1L);
  return code;
}

static CURLcode set_request(const struct cr_transport *transport, struct cr_transfer *transfer,
                            const struct cr_request *request)
{
  CURL *easy = transfer->easy;
  CURLcode code = set_times(transport, easy, request);
  bool plain = transport->options.allow_http || request->no_proxy;

  SET(CURLOPT_URL, request->url);
  if(plain != transfer->plain_allowed) {
    SET(CURLOPT_PROTOCOLS_STR, plain ? "http,https" : "https");
    transfer->plain_allowed = plain;
  }
  if(request->no_proxy != transfer->unproxied) {
    SET(CURLOPT_PROXY, transport->proxy && !request->no_proxy ? transport->proxy : "");
    transfer->unproxied = request->no_proxy;
  }
  if(code == CURLE_OK && request->handshake_only) {
    return set_probe(transfer, request);
  }
  SET(CURLOPT_FRESH_CONNECT, request->once ? 1L : 0L);
  SET(CURLOPT_HTTPHEADER, transfer->header_list);
  return code == CURLE_OK ? set_method(easy, request) : code;
}

static int check(const struct cr_transport *transport, const struct cr_request *request, struct cr_error *err)
{
  struct cr_url url;

  if(cr_url_parse(request->url, &url, err) < 0) {
    return -1;
  }
  if(!url.https && !transport->options.allow_http && !request->no_proxy) {
    return cr_fail(err, CR_KIND_INPUT, "PlainHttp",
                   "\"%.200s\" is not encrypted: use an https:// URL, or allow plain http for this client (allow_http)",
                   request->url);
  }
  if(!url.https && request->handshake_only) {
    return cr_fail(err, CR_KIND_INPUT, "PlainHttp", "there is no TLS handshake with \"%.200s\"", request->url);
  }
  return 0;
}

bool cr_transport_lacks_roots(const struct cr_transport *transport, const struct cr_request *request)
{
  return !cr_roots_read_all(transport->roots) && (request->handshake_only || !transport->curl_roots) &&
         strncasecmp(request->url, "https:", 6) == 0;
}

struct cr_transfer *cr_transfer_new(struct cr_transport *transport, const struct cr_request *request,
                                    struct cr_error *err)
{
  struct cr_transfer *transfer = request->handshake_only ? NULL : transport->spare;
  CURLcode code;

  if(check(transport, request, err) < 0) {
    return NULL;
  }
  if(transfer) {
    transport->spare = transfer->next;
    transport->spare_count--;
  } else {
    transfer = make(transport);
  }
  if(!transfer) {
    cr_fail_memory(err);
    return NULL;
  }
  transfer->request = request;
  transfer->max_body = request->max_body ? request->max_body : transport->options.max_body;
  transfer->answer.body.max = transfer->max_body;
  transfer->answer.status = 0;
  transfer->body_seen = 0;
  transfer->bytes_received = transfer->bytes_sent = 0;
  transfer->connections = 0;
  transfer->head_done = transfer->too_large = transfer->head_too_large = false;
  transfer->sink_failed = transfer->out_of_memory = transfer->surplus = false;
  transfer->curl_message[0] = '\0';
  code = set_headers(transfer, request) < 0 ? CURLE_OUT_OF_MEMORY : set_request(transport, transfer, request);
  if(code != CURLE_OK) {
    cr_fail(err, code == CURLE_OUT_OF_MEMORY ? CR_KIND_MEMORY : CR_KIND_INPUT, "BadRequest",
            "libcurl does not take the request: %s", curl_easy_strerror(code));
    cr_transfer_free(transfer);
    return NULL;
  }
  return transfer;
}

/* ---- what it came to ---- */

/* CURLINFO_CERTINFO: one list a certificate, the PEM in "Cert:...". */
static int collect_certificates(struct cr_transfer *transfer)
{
  struct curl_certinfo *info = NULL;

  if(curl_easy_getinfo(transfer->easy, CURLINFO_CERTINFO, &info) != CURLE_OK || !info) {
    return -1;
  }
  for(int i = 0; i < info->num_of_certs; i++) {
    for(const struct curl_slist *line = info->certinfo[i]; line; line = line->next) {
      if(strncmp(line->data, "Cert:", 5) == 0) {
        cr_buf_adds(&transfer->answer.certificates, line->data + 5);
        cr_buf_addc(&transfer->answer.certificates, '\n');
      }
    }
  }
  return transfer->answer.certificates.len && transfer->answer.certificates.state == CR_BUF_FINE ? 0 : -1;
}

static void judge(struct cr_transport *transport, struct cr_transfer *transfer, int64_t now_unix)
{
  struct cr_answer *answer = &transfer->answer;
  struct cr_error *err = &answer->error;
  struct cr_url url;
  char host[256];
  bool literal;

  answer->sent = CR_SENT_UNKNOWN;
  if(collect_certificates(transfer) < 0) {
    cr_fail(err, CR_KIND_TRANSPORT, "NoCertificate", "the server showed no certificate");
    return;
  }
  if(cr_url_parse(transfer->request->url, &url, err) < 0) {
    return;
  }
  literal = url.host[0] == '[';
  snprintf(host, sizeof host, "%.*s", (int)(url.host_len - (literal ? 2 : 0)), url.host + literal);
  if(cr_probe_verify(transport->roots, answer->certificates.data, answer->certificates.len, host, now_unix,
                     &answer->verify_result, answer->verify_message, sizeof answer->verify_message, err) == 0) {
    answer->sent = CR_SENT_ANSWERED;
  }
}

void cr_transfer_finish(struct cr_transport *transport, struct cr_transfer *transfer, CURLcode code, int64_t now_unix)
{
  struct cr_answer *answer = &transfer->answer;
  CURL *easy = transfer->easy;
  curl_off_t total = 0, uploaded = 0;
  long request_size = 0, port = 0;
  char *address = NULL;

  curl_easy_getinfo(easy, CURLINFO_TOTAL_TIME_T, &total);
  curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
  curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &request_size);
  curl_easy_getinfo(easy, CURLINFO_NUM_CONNECTS, &transfer->connections);
  answer->elapsed_ms = (int64_t)(total / 1000);
  transfer->bytes_sent = (uint64_t)request_size + (uint64_t)uploaded;
  if(curl_easy_getinfo(easy, CURLINFO_PRIMARY_IP, &address) == CURLE_OK && address &&
     curl_easy_getinfo(easy, CURLINFO_PRIMARY_PORT, &port) == CURLE_OK) {
    snprintf(answer->peer, sizeof answer->peer, strchr(address, ':') ? "[%s]:%ld" : "%s:%ld", address, port);
  }
  if(code != CURLE_OK) {
    cr_transfer_explain(transport, transfer, code);
    if(transport->no_room) {
      cr_fail_memory(&answer->error);
    }
  } else if(transfer->request->handshake_only) {
    judge(transport, transfer, now_unix);
  } else {
    answer->sent = CR_SENT_ANSWERED;
  }
  transport->no_room = false;
}
