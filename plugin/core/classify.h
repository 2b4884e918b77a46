/* classify.h - what an answer means: AWS's error bodies read, and whether to try again.
 *
 * Pure functions over texts and numbers (aws-reference 1.6, 1.7, 2.1, 3.1, 4.1, 8.1): no clock, no I/O, no state. */
#ifndef CR_CLASSIFY_H
#define CR_CLASSIFY_H

#include "account.h"
#include "machine.h"

/* Why a call did not succeed, as far as repeating it goes. */
enum cr_trouble {
  CR_TROUBLE_PERMANENT,    /* repeating it changes nothing */
  CR_TROUBLE_THROTTLED,    /* refused for its rate: not carried out */
  CR_TROUBLE_REFUSED,      /* refused for the moment (a concurrent change): not carried out */
  CR_TROUBLE_TRANSIENT,    /* the service failed, or the answer was lost: may have been carried out */
  CR_TROUBLE_SKEW          /* a code that a wrong clock causes (and a wrong secret): not carried out */
};
enum cr_trouble cr_classify(enum cr_service service, int status, const char *code);

/* Fills kind, code, message, status and request id of *err from an answer with status >= 300. An answer without AWS's
 * body gives code "HTTP503" and a message that says so. *server_ms: the server's clock as the answer tells it
 * (S3's ServerTime, else the Date header), -1 when it does not. */
void cr_read_xml_error(const struct cr_answer *answer, struct cr_error *err, int64_t *server_ms);
/* root: the decoded body, NULL when there was none or it was not JSON. */
void cr_read_json_error(const struct cr_answer *answer, const struct cr_node *root, struct cr_error *err,
                        int64_t *server_ms);
/* x-amzn-RequestId and its relatives; "" when there is none. */
void cr_read_request_id(const struct cr_answer *answer, char *out, size_t size);

/* "Thu, 15 Jan 2026 12:00:00 GMT" to Unix seconds whatever the locale; the two older forms of HTTP dates and
 * ISO 8601 ("2026-01-15T12:00:00Z", S3's ServerTime) too. -1 when it is none of them. */
int64_t cr_parse_date(const char *text);
/* The Date header of an answer in Unix ms, -1 when there is none. */
int64_t cr_server_time_ms(const struct cr_answer *answer);

/* Milliseconds a Retry-After header asks for, 0 when there is none, never more than 300 s. now_ms: the server's
 * clock as known. */
int64_t cr_retry_after_ms(const struct cr_answer *answer, int64_t now_ms);

/* Full jitter: random in [0, 1) times min(2^retry seconds, 20 s); retry counts from 0. */
int64_t cr_retry_delay_ms(int retry, double random);

/* Differences below this are no wrong clock. */
#define CR_SKEW_MS 300000

#endif
