/* transfer_error.c - what a failed transfer means, in words that say what to do (see transfer.h).
 *
 * Whether the service can have seen the request decides if a write may be repeated; when in doubt it can. */
#include "transfer.h"
#include "uri.h"

#include <stdio.h>
#include <string.h>

static const char *name_of(CURLcode code, char *out, size_t size)
{
  switch(code) {
  case CURLE_UNSUPPORTED_PROTOCOL: return "CURLE_UNSUPPORTED_PROTOCOL";
  case CURLE_URL_MALFORMAT: return "CURLE_URL_MALFORMAT";
  case CURLE_COULDNT_RESOLVE_PROXY: return "CURLE_COULDNT_RESOLVE_PROXY";
  case CURLE_COULDNT_RESOLVE_HOST: return "CURLE_COULDNT_RESOLVE_HOST";
  case CURLE_COULDNT_CONNECT: return "CURLE_COULDNT_CONNECT";
  case CURLE_WEIRD_SERVER_REPLY: return "CURLE_WEIRD_SERVER_REPLY";
  case CURLE_PARTIAL_FILE: return "CURLE_PARTIAL_FILE";
  case CURLE_WRITE_ERROR: return "CURLE_WRITE_ERROR";
  case CURLE_OUT_OF_MEMORY: return "CURLE_OUT_OF_MEMORY";
  case CURLE_OPERATION_TIMEDOUT: return "CURLE_OPERATION_TIMEDOUT";
  case CURLE_SSL_CONNECT_ERROR: return "CURLE_SSL_CONNECT_ERROR";
  case CURLE_GOT_NOTHING: return "CURLE_GOT_NOTHING";
  case CURLE_SEND_ERROR: return "CURLE_SEND_ERROR";
  case CURLE_RECV_ERROR: return "CURLE_RECV_ERROR";
  case CURLE_SSL_CERTPROBLEM: return "CURLE_SSL_CERTPROBLEM";
  case CURLE_SSL_CIPHER: return "CURLE_SSL_CIPHER";
  case CURLE_PEER_FAILED_VERIFICATION: return "CURLE_PEER_FAILED_VERIFICATION";
  case CURLE_SSL_CACERT_BADFILE: return "CURLE_SSL_CACERT_BADFILE";
  case CURLE_PROXY: return "CURLE_PROXY";
  case CURLE_BAD_CONTENT_ENCODING: return "CURLE_BAD_CONTENT_ENCODING";
  default: break;
  }
  snprintf(out, size, "CURLE_%d", (int)code);
  return out;
}

/* "host:port" as dialled. */
static void target_of(const struct cr_transfer *transfer, char *out, size_t size)
{
  const struct cr_request *request = transfer->request;
  struct cr_url url;

  if(request->handshake_only && request->connect_to) {
    snprintf(out, size, "%s", request->connect_to);
  } else if(cr_url_parse(request->url, &url, NULL) == 0) {
    snprintf(out, size, "%.*s:%d", (int)url.host_len, url.host, url.port ? url.port : url.https ? 443 : 80);
  } else {
    snprintf(out, size, "the endpoint");
  }
}

/* libcurl's own words, or its general text for the code. */
static const char *detail(const struct cr_transfer *transfer, CURLcode code)
{
  return transfer->curl_message[0] ? transfer->curl_message : curl_easy_strerror(code);
}

static void explain_connect(const struct cr_transport *transport, struct cr_transfer *transfer, const char *name,
                            const char *target)
{
  long number = 0;
  const char *why;

  curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &number);
  why = number > 0 ? strerror((int)number) : "no address of it answers";
  cr_fail(&transfer->answer.error, CR_KIND_TRANSPORT, name, "cannot connect to %s%s: %s; check %s", target,
          transport->proxy && !transfer->request->no_proxy ? " (through the proxy)" : "", why,
          transfer->request->handshake_only ? "the address, the port and the network"
                                            : "--endpoint-url, the network and whether the service is up");
}

static void explain_timeout(struct cr_transfer *transfer, const char *name, const char *target)
{
  struct cr_error *err = &transfer->answer.error;
  curl_off_t connected = 0;

  curl_easy_getinfo(transfer->easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
  if(!connected) {
    cr_fail(err, CR_KIND_TIMEOUT, name,
            "no connection to %s within %.1f s; check the %s, the network and the firewall", target,
            (double)transfer->answer.elapsed_ms / 1000, transfer->request->handshake_only ? "address" : "endpoint");
  } else if(transfer->bytes_received) {
    cr_fail(err, CR_KIND_TIMEOUT, name, "the answer of %s stopped after %llu bytes; gave up after %.1f s", target,
            (unsigned long long)transfer->bytes_received, (double)transfer->answer.elapsed_ms / 1000);
  } else {
    cr_fail(err, CR_KIND_TIMEOUT, name, "no answer from %s within %.1f s", target,
            (double)transfer->answer.elapsed_ms / 1000);
  }
}

/* Our own callbacks ended the transfer. */
static void explain_refusal(struct cr_transfer *transfer, const char *name, const char *target)
{
  struct cr_error *err = &transfer->answer.error;

  if(transfer->too_large) {
    cr_fail(err, CR_KIND_PARSE, "AnswerTooLarge", "the answer of %s is larger than the limit of %zu bytes", target,
            transfer->max_body);
  } else if(transfer->head_too_large) {
    cr_fail(err, CR_KIND_PARSE, "AnswerTooLarge",
            "the headers of the answer of %s are larger than the limit of %zu bytes", target,
            transfer->answer.header_text.max);
  } else if(transfer->out_of_memory) {
    cr_fail_memory(err);
  } else {
    cr_fail(err, CR_KIND_PARSE, name, "the answer of %s cannot be used", target);
  }
}

static void explain_tls(const struct cr_transport *transport, struct cr_transfer *transfer, CURLcode code,
                        const char *name, const char *target)
{
  struct cr_error *err = &transfer->answer.error;

  if(code == CURLE_PEER_FAILED_VERIFICATION) {
    cr_fail(err, CR_KIND_TRANSPORT, name,
            "the TLS certificate of %s is not accepted: %s; if its CA is a private one, name the CA's file (ca_file, "
            "AWS_CA_BUNDLE)",
            target, detail(transfer, code));
  } else if(code == CURLE_SSL_CACERT_BADFILE) {
    cr_fail(err, CR_KIND_TRANSPORT, name, "the CA file %s cannot be used: %s (ca_file, AWS_CA_BUNDLE)",
            transport->ca_file ? transport->ca_file : "of the system", detail(transfer, code));
  } else {
    cr_fail(err, CR_KIND_TRANSPORT, name, "no TLS connection with %s: %s", target, detail(transfer, code));
  }
}

static void explain(const struct cr_transport *transport, struct cr_transfer *transfer, CURLcode code, const char *name,
                    const char *target)
{
  struct cr_error *err = &transfer->answer.error;

  switch(code) {
  case CURLE_COULDNT_RESOLVE_HOST:
    cr_fail(err, CR_KIND_TRANSPORT, name, "no address is known for %s; check the name%s", target,
            transfer->request->handshake_only ? " and the network" : ", the network and --endpoint-url");
    return;
  case CURLE_COULDNT_RESOLVE_PROXY:
    cr_fail(err, CR_KIND_TRANSPORT, name, "no address is known for the proxy; check HTTPS_PROXY and its relatives");
    return;
  case CURLE_COULDNT_CONNECT:
    explain_connect(transport, transfer, name, target);
    return;
  case CURLE_OPERATION_TIMEDOUT:
    explain_timeout(transfer, name, target);
    return;
  case CURLE_WRITE_ERROR:
    explain_refusal(transfer, name, target);
    return;
  case CURLE_OUT_OF_MEMORY:
    cr_fail_memory(err);
    return;
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_SSL_CACERT_BADFILE:
  case CURLE_SSL_CONNECT_ERROR:
  case CURLE_SSL_CERTPROBLEM:
  case CURLE_SSL_CIPHER:
    explain_tls(transport, transfer, code, name, target);
    return;
  case CURLE_GOT_NOTHING:
  case CURLE_SEND_ERROR:
  case CURLE_RECV_ERROR:
  case CURLE_PARTIAL_FILE:
    cr_fail(err, CR_KIND_TRANSPORT, name, "the connection to %s ended %s: %s", target,
            transfer->bytes_received ? "in the middle of the answer" : "before an answer came", detail(transfer, code));
    return;
  default:
    cr_fail(err, CR_KIND_TRANSPORT, name, "the transfer with %s failed: %s", target, detail(transfer, code));
  }
}

/* Whether trying again can help at all. */
static bool may_pass(const struct cr_transfer *transfer, CURLcode code)
{
  switch(code) {
  case CURLE_UNSUPPORTED_PROTOCOL:
  case CURLE_URL_MALFORMAT:
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_SSL_CACERT_BADFILE:
  case CURLE_SSL_CERTPROBLEM:
  case CURLE_SSL_CIPHER:
  case CURLE_OUT_OF_MEMORY:
    return false;
  case CURLE_WRITE_ERROR:
    return transfer->sink_failed;
  default:
    return true;
  }
}

void cr_transfer_explain(const struct cr_transport *transport, struct cr_transfer *transfer, CURLcode code)
{
  struct cr_answer *answer = &transfer->answer;
  char number[24], target[300];
  long sent = 0;

  target_of(transfer, target, sizeof target);
  explain(transport, transfer, code, name_of(code, number, sizeof number), target);
  answer->error.retryable = may_pass(transfer, code);
  curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &sent);
  answer->sent = sent > 0 || transfer->bytes_received ? CR_SENT_UNKNOWN : CR_SENT_NOTHING;
}
