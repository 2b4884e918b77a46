/* call.c - one operation of one service as a machine (see call.h for the rules it keeps).
 *
 * Owns its copy of the parameters, the draft of the request with its body, and what came of the last attempt; shares
 * the account and the identity by reference. Everything is wiped when it goes. */
#include "call.h"
#include "classify.h"
#include "request.h"
#include "result.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARAMS_MAX ((size_t)16 << 20)
#define RESULT_MAX ((size_t)128 << 20)   /* a tree is several times its text; the answer itself is bounded before */
#define ERROR_TREE_MAX ((size_t)1 << 20)
#define PATIENCE_MS 120000               /* with throttling, when the caller set no deadline */
#define COST_RETRY 5
#define COST_TIMEOUT 10
#define TOKENS_MAX 500
#define SECRET_PART 12                   /* so many characters of a secret are no chance */
#define SECRET_REST 4
#define AWAIT_MS 3600000                 /* woken when there are credentials; meanwhile asking again is harmless */

enum state { SENDING, AWAITING, DECODING_RESULT, DECODING_ERROR, WAITING, DONE, FAILED };

struct call {
  struct cr_machine machine;
  struct cr_account *account;
  const struct cr_operation *operation;
  struct cr_identity *identity;
  const struct cr_xml_view *view;
  struct cr_tree params;
  struct cr_draft draft;
  struct cr_signature signature;
  struct cr_request request;
  enum state state;

  bool started;
  int64_t deadline_ms;               /* for the whole call, 0: none */
  int64_t started_mono_ms;
  int64_t until_mono_ms;             /* WAITING */
  int64_t signed_offset_ms;          /* the clock offset the attempt on its way was signed with */
  int64_t signed_unix_ms;            /* and when, by this machine's clock */
  int attempts, throttles, transients;
  double last_cost;                  /* what the latest retry took from the account's bucket */
  bool skew_corrected;
  uint64_t signed_given;             /* which of the account's credentials the attempt on its way was signed with */
  uint64_t awaited_failed;           /* AWAITING: renewals that had failed when the waiting began */
  bool credentials_replaced;         /* AWS refused them once in this call */
  struct cr_pace_place place;        /* in the account's queue for this kind of call */
  int64_t throttled_mono_ms;         /* when it was first refused for its rate */

  struct cr_sink sink;
  struct cr_xml *xml;                /* parses a 2xx answer as it arrives */
  bool xml_failed;
  struct cr_error xml_error;
  struct cr_answer answer;           /* kept while a JSON body is decoded */
  struct cr_tree error_tree;         /* a decoded JSON error body */
  bool decoded, decode_failed;
  struct cr_error decode_error;

  bool attempt_told;
  struct cr_attempt attempt;
};

static struct call *of(struct cr_machine *m)
{
  return (struct call *)m;
}

/* ---- sending ---- */

/* Runs inside libcurl: touches the parser and the tree, nothing else. */
static int feed(void *user, const char *data, size_t len)
{
  struct call *call = user;
  if(!call->xml) {
    call->xml = cr_xml_new(&call->machine.result, call->view);
    if(!call->xml) {
      call->xml_failed = true;
      return cr_fail_memory(&call->xml_error);
    }
  }
  if(cr_xml_feed(call->xml, data, len, &call->xml_error) < 0) {
    call->xml_failed = true;
    return -1;
  }
  return 0;
}

static void forget_answer(struct call *call)
{
  cr_xml_free(call->xml);
  call->xml = NULL;
  call->xml_failed = false;
  cr_error_clear(&call->xml_error);
  cr_tree_free(&call->machine.result);
  cr_tree_free(&call->error_tree);
  cr_answer_free(&call->answer);
  call->decoded = call->decode_failed = false;
}

static int add_signature(struct call *call, const struct cr_moment *now, struct cr_error *err)
{
  const struct cr_account *account = call->account;
  struct cr_signature *out = &call->signature;
  struct cr_draft *draft = &call->draft;
  struct cr_header *headers = draft->headers;
  bool s3 = call->operation->service == CR_S3;
  struct cr_sign_request sign = {
    .method = draft->method, .url = draft->url.data, .headers = headers, .header_count = draft->header_count,
    .body = call->request.body, .body_len = call->request.body_len,
    .service = cr_service_name(call->operation->service), .region = account->endpoints[call->operation->service].region,
    .access_key_id = account->access_key_id, .secret_access_key = account->secret_access_key,
    .session_token = account->session_token, .time = (now->unix_ms + account->clock_offset_ms) / 1000,
    .normalize_path = !s3, .double_encode = !s3, .sign_body = s3, .keys = account->keys
  };
  size_t count = draft->header_count;

  if(count + 4 > CR_DRAFT_HEADERS) {
    return cr_fail(err, CR_KIND_INPUT, "TooManyHeaders", "%s: too many header parameters", call->operation->name);
  }
  if(cr_sigv4_sign(&sign, out, err) < 0) {
    return -1;
  }
  headers[count++] = (struct cr_header){ "X-Amz-Date", out->amz_date, strlen(out->amz_date) };
  if(out->add_content_sha256) {
    headers[count++] = (struct cr_header){ "X-Amz-Content-SHA256", out->payload_hash, strlen(out->payload_hash) };
  }
  if(out->add_security_token) {
    headers[count++] = (struct cr_header){ "X-Amz-Security-Token", account->session_token,
                                           strlen(account->session_token) };
  }
  headers[count++] = (struct cr_header){ "Authorization", out->authorization.data, out->authorization.len };
  call->request.header_count = count;
  return 0;
}

/* A PUT that carries If-Match may be repeated by libcurl itself: the second one is refused. */
static bool has_precondition(const struct cr_draft *draft)
{
  for(size_t i = 0; i < draft->header_count; i++) {
    if(cr_strcasecmp(draft->headers[i].name, "if-match") == 0) {
      return true;
    }
  }
  return false;
}

/* Draws the request anew: endpoint, credentials and clock are those of this moment. */
static int draw(struct call *call, const struct cr_moment *now, struct cr_error *err)
{
  const struct cr_operation *operation = call->operation;
  struct cr_request *request = &call->request;

  if(cr_draft_head(&call->draft, operation, &call->account->endpoints[operation->service], call->params.root,
                   err) < 0) {
    return -1;
  }
  if(operation->identity && !call->draft.body.len &&
     cr_draft_body(&call->draft, operation, call->params.root, call->identity, err) < 0) {
    return -1;
  }
  request->method = call->draft.method;
  request->url = call->draft.url.data;
  request->headers = call->draft.headers;
  request->header_count = call->draft.header_count;
  request->body = call->draft.content;
  request->body_len = call->draft.content_len;
  request->once = !operation->idempotent && !has_precondition(&call->draft);
  request->sink = operation->protocol != CR_JSON11 && !operation->with_body ? &call->sink : NULL;
  request->within_ms = 0;
  if(call->deadline_ms) {
    request->within_ms = call->started_mono_ms + call->deadline_ms - now->mono_ms;
  }
  call->signed_offset_ms = call->account->clock_offset_ms;
  call->signed_unix_ms = now->unix_ms;
  call->signed_given = call->account->renewal.given;
  return call->account->access_key_id && !operation->anonymous ? add_signature(call, now, err) : 0;
}

/* ---- ends ---- */

static void fail(struct call *call)
{
  struct cr_error *err = &call->machine.error;
  /* Where it is another's, AssumeRole's say, this call was never sent. */
  if(!err->operation[0]) {
    memcpy(err->operation, call->machine.operation, sizeof err->operation);
  }
  cr_tree_free(&call->machine.result);
  cr_buf_free(&call->draft.body);
  cr_pace_leave(&call->place);
  call->state = FAILED;
}

/* Appends to the message what people need to know beside it. */
static void remark(struct cr_error *err, const char *text)
{
  size_t len = strlen(err->message);
  snprintf(err->message + len, sizeof err->message - len, "%s", text);
}

/* Before the first attempt came back, or because a wait took longer than asked for. */
static void fail_deadline(struct call *call)
{
  struct cr_error *err = &call->machine.error;
  if(err->kind == CR_KIND_NONE) {
    cr_fail(err, CR_KIND_TIMEOUT, "DeadlineExceeded", "not done within the time limit of %" PRId64 " ms",
            call->deadline_ms);
    err->retryable = true;
  }
  fail(call);
}

/* Where a text begins to repeat a secret: whole, a good part of it (a token is longer than a message), or what the
 * end of the text left of it. NULL: nowhere. */
static char *find_secret(char *text, const char *secret)
{
  for(; secret && *secret && *text; text++) {
    size_t same = 0;
    while(secret[same] && text[same] == secret[same]) {
      same++;
    }
    if(!secret[same] || same >= SECRET_PART || (same >= SECRET_REST && !text[same])) {
      return text;
    }
  }
  return NULL;
}

/* A message never repeats a secret, whatever a server put into it. */
static void redact(const struct call *call, struct cr_error *err)
{
  const char *secrets[] = { call->account->session_token, call->account->secret_access_key,
                            cr_get_text(call->params.root, "WebIdentityToken"),
                            cr_get_text(call->params.root, "TokenCode") };
  for(size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
    char *found = find_secret(err->message, secrets[i]);
    if(found) {
      *found = '\0';
      remark(err, "[...]");
    }
  }
}

/* ---- retries ---- */

/* Waits for the next attempt, or fails with the error at hand when patience ends before it. */
static void wait_or_fail(struct call *call, const struct cr_moment *now, int64_t delay_ms)
{
  struct cr_error *err = &call->machine.error;
  int64_t spent = now->mono_ms - call->started_mono_ms;

  if(call->deadline_ms && spent + delay_ms >= call->deadline_ms) {
    char text[96];
    snprintf(text, sizeof text, " (gave up after %d attempt%s: the time limit of %" PRId64 " s is reached)",
             call->attempts, call->attempts == 1 ? "" : "s", call->deadline_ms / 1000);
    remark(err, text);
    fail(call);
    return;
  }
  call->until_mono_ms = now->mono_ms + delay_ms;
  call->state = WAITING;
}

static void give_up(struct call *call)
{
  if(call->attempts > 1) {
    char text[48];
    snprintf(text, sizeof text, " (after %d attempts)", call->attempts);
    remark(&call->machine.error, text);
  }
  fail(call);
}

static int64_t later(int64_t a, int64_t b)
{
  return a > b ? a : b;
}

/* Being throttled is the service's pace, not a failure: attempts beyond the usual number go on while there is time,
 * and they take nothing from the account's bucket. When the next one goes the pace says, which has just been lowered;
 * what a call waits for its turn is no part of its patience. */
static void retry_throttled(struct call *call, const struct cr_moment *now, int64_t retry_after)
{
  int64_t limit = call->deadline_ms ? call->deadline_ms : PATIENCE_MS;

  call->machine.error.retryable = true;
  if(call->throttles++ == 0) {
    call->throttled_mono_ms = now->mono_ms;
  }
  if(call->throttles >= call->account->max_attempts &&
     now->mono_ms - call->throttled_mono_ms + retry_after >= limit) {
    give_up(call);
    return;
  }
  wait_or_fail(call, now, retry_after);
}

/* not_carried_out: the service cannot have done it, so even a write may go again. */
static void retry_transient(struct call *call, const struct cr_moment *now, int64_t retry_after, bool not_carried_out)
{
  struct cr_error *err = &call->machine.error;
  double cost = err->kind == CR_KIND_TIMEOUT ? COST_TIMEOUT : COST_RETRY;

  err->retryable = true;
  if(!call->operation->idempotent && !not_carried_out) {
    err->ambiguous = true;
    remark(err, "; it may have taken effect all the same");
    fail(call);
    return;
  }
  if(call->transients + 1 >= call->account->max_attempts || call->account->retry_tokens < cost) {
    give_up(call);
    return;
  }
  call->account->retry_tokens -= cost;
  call->last_cost = cost;
  wait_or_fail(call, now, later(cr_retry_delay_ms(call->transients++, now->random), retry_after));
}

/* True when the clock was wrong for this attempt: the account now knows better. */
static bool learn_clock(struct call *call, const struct cr_moment *now, int64_t server_ms)
{
  int64_t difference;

  if(server_ms < 0) {
    return false;
  }
  difference = server_ms - (now->unix_ms + call->signed_offset_ms);
  if(difference < CR_SKEW_MS && difference > -CR_SKEW_MS) {
    return false;
  }
  call->account->clock_offset_ms = server_ms - now->unix_ms;
  return true;
}

/* The clock jumped between signing and the answer: the machine slept, or its time was set. */
static bool has_jumped(const struct call *call, const struct cr_moment *now)
{
  int64_t passed = now->unix_ms - call->signed_unix_ms;
  return passed >= CR_SKEW_MS || passed <= -CR_SKEW_MS;
}

static void retry_skew(struct call *call, const struct cr_moment *now, int64_t server_ms)
{
  struct cr_error *err = &call->machine.error;
  bool learned = learn_clock(call, now, server_ms);

  if((learned || has_jumped(call, now)) && !call->skew_corrected) {
    call->skew_corrected = true;
    wait_or_fail(call, now, 0);
    return;
  }
  if(strcmp(err->code, "SignatureDoesNotMatch") == 0 || strcmp(err->code, "InvalidSignatureException") == 0) {
    remark(err, learned ? "; the clock of this machine is wrong"
                        : "; check the secret access key and the signing region");
  }
  fail(call);
}

/* The credentials are over, or AWS knows them no more: nothing was carried out, and with new ones it may go again. */
static bool replace_credentials(struct call *call)
{
  static const char *const codes[] = { "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId",
                                       "UnrecognizedClientException" };
  struct cr_renewal *renewal = &call->account->renewal;

  if(!renewal->possible || call->credentials_replaced || call->operation->anonymous) {
    return false;
  }
  for(size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
    if(strcmp(call->machine.error.code, codes[i]) == 0) {
      cr_renewal_reject(renewal, call->signed_given);
      call->credentials_replaced = true;
      call->state = SENDING;
      return true;
    }
  }
  return false;
}

static void tell_attempt(struct call *call, const struct cr_answer *answer, const struct cr_error *err, bool throttled)
{
  struct cr_attempt *attempt = &call->attempt;
  memset(attempt, 0, sizeof *attempt);
  memcpy(attempt->operation, call->machine.operation, sizeof attempt->operation);
  attempt->attempt = call->attempts;
  attempt->status = answer->status;
  attempt->elapsed_ms = answer->elapsed_ms;
  attempt->throttled = throttled;
  if(err) {
    memcpy(attempt->code, err->code, sizeof attempt->code);
    memcpy(attempt->request_id, err->request_id, sizeof attempt->request_id);
  } else {
    cr_read_request_id(answer, attempt->request_id, sizeof attempt->request_id);
  }
  call->attempt_told = false;
}

/* An answer with AWS's error in machine.error: again, or the end. */
static void answered_error(struct call *call, const struct cr_moment *now, int64_t server_ms)
{
  struct cr_error *err = &call->machine.error;
  enum cr_trouble trouble = cr_classify(call->operation->service, err->status, err->code);
  int64_t retry_after = cr_retry_after_ms(&call->answer, now->unix_ms + call->account->clock_offset_ms);

  redact(call, err);
  tell_attempt(call, &call->answer, err, trouble == CR_TROUBLE_THROTTLED);
  cr_pace_tell(&call->place, now->mono_ms, trouble == CR_TROUBLE_THROTTLED ? CR_PACE_REFUSED : CR_PACE_ACCEPTED,
               retry_after, call->answer.elapsed_ms);
  switch(trouble) {
  case CR_TROUBLE_THROTTLED:
    retry_throttled(call, now, retry_after);
    return;
  case CR_TROUBLE_SKEW:
    retry_skew(call, now, server_ms);
    return;
  case CR_TROUBLE_TRANSIENT:
  case CR_TROUBLE_REFUSED:
    retry_transient(call, now, retry_after, trouble == CR_TROUBLE_REFUSED);
    return;
  case CR_TROUBLE_PERMANENT:
    break;
  }
  if(replace_credentials(call)) {
    return;
  }
  if(err->status >= 500 && !call->operation->idempotent) {
    err->ambiguous = true;
  }
  fail(call);
}

/* A 2xx that is not what AWS sends: cut off on the way, or not AWS's at all. */
static void answered_garbage(struct call *call, const struct cr_moment *now, const struct cr_error *why)
{
  struct cr_error *err = &call->machine.error;
  bool memory = why->kind == CR_KIND_MEMORY;
  char message[sizeof why->message];

  memcpy(message, why->message, sizeof message);
  cr_fail(err, memory ? CR_KIND_MEMORY : CR_KIND_PARSE, why->code[0] ? why->code : "BadAnswer",
          "the answer cannot be used: %s", message);
  err->status = call->answer.status;
  cr_read_request_id(&call->answer, err->request_id, sizeof err->request_id);
  tell_attempt(call, &call->answer, err, false);
  if(memory) {
    err->ambiguous = !call->operation->idempotent;
    fail(call);
    return;
  }
  retry_transient(call, now, 0, false);
}

static void no_answer(struct call *call, const struct cr_moment *now, const struct cr_answer *answer)
{
  struct cr_error *err = &call->machine.error;
  bool nothing = answer->sent == CR_SENT_NOTHING;

  if(call->xml_failed) {
    answered_garbage(call, now, &call->xml_error); /* our own parser ended the transfer */
    return;
  }
  *err = answer->error;
  err->status = answer->status;
  tell_attempt(call, answer, err, false);
  if(!err->retryable) {
    err->ambiguous = !nothing && !call->operation->idempotent;
    fail(call);
    return;
  }
  retry_transient(call, now, 0, nothing);
}

/* ---- success ---- */

static void succeed(struct call *call, const struct cr_moment *now)
{
  struct cr_account *account = call->account;

  tell_attempt(call, &call->answer, NULL, false);
  learn_clock(call, now, cr_server_time_ms(&call->answer));
  account->retry_tokens += call->last_cost > 0 ? call->last_cost : 1;
  if(account->retry_tokens > TOKENS_MAX) {
    account->retry_tokens = TOKENS_MAX;
  }
  cr_error_clear(&call->machine.error);
  cr_answer_free(&call->answer);
  cr_buf_free(&call->draft.body);
  call->state = DONE;
}

const struct cr_xml_view cr_bytes_view = { .under = NULL };

static void answered_xml(struct call *call, const struct cr_moment *now)
{
  struct cr_error why;
  int rc = 0;

  cr_error_clear(&why);
  if(call->answer.body.len && call->view != &cr_bytes_view) {
    feed(call, call->answer.body.data, call->answer.body.len);
  }
  if(call->xml_failed) {
    why = call->xml_error;
    rc = -1;
  } else if(call->xml) {
    rc = cr_xml_finish(call->xml, &why);
  } else if(!call->operation->quiet && !call->answer.body.len) {
    rc = cr_fail(&why, CR_KIND_PARSE, "EmptyAnswer", "it is empty");
  }
  cr_xml_free(call->xml);
  call->xml = NULL;
  if(rc == 0) {
    rc = cr_result_shape(call->operation, &call->machine.result, &call->answer, &why);
  }
  if(rc == 0 && call->view && call->view->shape && call->view->shape(&call->machine.result) < 0) {
    rc = cr_fail_memory(&why);
  }
  if(rc < 0) {
    answered_garbage(call, now, &why);
    return;
  }
  succeed(call, now);
}

static void answered_json(struct call *call, const struct cr_moment *now)
{
  struct cr_error why;

  cr_error_clear(&why);
  if(call->decode_failed) {
    why = call->decode_error;
  } else if(!call->answer.body.len && !call->operation->quiet) {
    cr_fail(&why, CR_KIND_PARSE, "EmptyAnswer", "it is empty");
  } else if(cr_result_shape(call->operation, &call->machine.result, &call->answer, &why) == 0) {
    succeed(call, now);
    return;
  }
  answered_garbage(call, now, &why);
}

static void answered_json_error(struct call *call, const struct cr_moment *now)
{
  int64_t server_ms;
  cr_read_json_error(&call->answer, call->decode_failed ? NULL : call->error_tree.root, &call->machine.error,
                     &server_ms);
  answered_error(call, now, server_ms);
}

static void keep(struct cr_answer *to, struct cr_answer *from)
{
  cr_buf_move(&to->body, &from->body);
  cr_buf_move(&to->header_text, &from->header_text);
  to->status = from->status;
  to->elapsed_ms = from->elapsed_ms;
  to->sent = from->sent;
}

static void answered(struct cr_machine *m, const struct cr_moment *now, struct cr_answer *answer)
{
  struct call *call = of(m);
  bool json = call->operation->protocol == CR_JSON11, good = answer->status >= 200 && answer->status < 300;
  int64_t server_ms;

  if(call->state != SENDING) {
    return;
  }
  call->attempts++;
  cr_error_clear(&m->error);
  if(call->operation->identity) {
    cr_buf_free(&call->draft.body); /* the key lives no longer than an attempt */
  }
  keep(&call->answer, answer);
  if(answer->sent != CR_SENT_ANSWERED || good) {
    cr_pace_tell(&call->place, now->mono_ms, good ? CR_PACE_ACCEPTED : CR_PACE_UNKNOWN, 0, answer->elapsed_ms);
  }
  if(answer->sent != CR_SENT_ANSWERED) {
    no_answer(call, now, answer);
  } else if(json && call->answer.body.len) {
    call->state = good ? DECODING_RESULT : DECODING_ERROR;
  } else if(json) {
    (good ? answered_json : answered_json_error)(call, now);
  } else if(good) {
    answered_xml(call, now);
  } else {
    cr_read_xml_error(&call->answer, &m->error, &server_ms);
    answered_error(call, now, server_ms);
  }
}

/* ---- the machine ---- */

/* Comes without a clock, so what it means is worked out by the next asking. */
static void decoded(struct cr_machine *m, const struct cr_error *failure)
{
  struct call *call = of(m);

  if(call->state != DECODING_RESULT && call->state != DECODING_ERROR) {
    return;
  }
  call->decoded = true;
  call->decode_failed = failure != NULL;
  if(failure) {
    call->decode_error = *failure;
  }
}

/* Whether the request may be signed now. If not, the call waits for new credentials, or has failed for want of them. */
static bool may_sign(struct call *call, const struct cr_moment *now)
{
  struct cr_account *account = call->account;
  struct cr_error *err = &call->machine.error;
  bool waited = call->state == AWAITING;

  /* Told before anything is asked for: whoever is refused does not start the next try. */
  if(waited && account->renewal.failed != call->awaited_failed && !cr_account_usable(account, now)) {
    *err = account->renewal.failure;
    fail(call);
    return false;
  }
  if(call->operation->anonymous || cr_account_ready(account, now)) {
    call->state = SENDING;
    return true;
  }
  if(!waited) {
    call->awaited_failed = account->renewal.failed;
    call->state = AWAITING;
  }
  call->until_mono_ms = now->mono_ms + AWAIT_MS;
  if(call->deadline_ms && call->started_mono_ms + call->deadline_ms < call->until_mono_ms) {
    call->until_mono_ms = call->started_mono_ms + call->deadline_ms;
  }
  return false;
}

/* Whether it may be sent now; if not, it waits its turn. */
static bool has_turn(struct call *call, const struct cr_moment *now)
{
  struct cr_pace *pace = &call->account->paces[call->operation->service][cr_operation_writes(call->operation)];
  int64_t until;

  if(cr_pace_take(pace, &call->place, now->mono_ms, call->throttles > 0, &until)) {
    return true;
  }
  call->until_mono_ms = until;
  if(call->deadline_ms && call->started_mono_ms + call->deadline_ms < until) {
    call->until_mono_ms = call->started_mono_ms + call->deadline_ms;
  }
  call->state = WAITING;
  return false;
}

/* Moves on as far as the clock, the credentials, the pace and what was decoded allow. */
static void advance(struct call *call, const struct cr_moment *now)
{
  if(!call->started) {
    call->started = true;
    call->started_mono_ms = now->mono_ms;
  }
  if(call->decoded) {
    call->decoded = false;
    (call->state == DECODING_RESULT ? answered_json : answered_json_error)(call, now);
  }
  if(call->state == WAITING && now->mono_ms >= call->until_mono_ms) {
    call->state = SENDING;
  }
  if(call->state != SENDING && call->state != AWAITING) {
    return;
  }
  if(call->deadline_ms && now->mono_ms - call->started_mono_ms >= call->deadline_ms) {
    fail_deadline(call);
    return;
  }
  if(!may_sign(call, now)) {
    cr_pace_leave(&call->place);
    return;
  }
  if(!has_turn(call, now)) {
    return;
  }
  forget_answer(call);
  if(draw(call, now, &call->machine.error) < 0) {
    fail(call);
  }
}

static enum cr_need next(struct cr_machine *m, const struct cr_moment *now, struct cr_want *want)
{
  struct call *call = of(m);

  advance(call, now);
  switch(call->state) {
  case SENDING:
    want->request = &call->request;
    return CR_NEED_SEND;
  case DECODING_RESULT:
  case DECODING_ERROR:
    want->json = call->answer.body.data;
    want->json_len = call->answer.body.len;
    want->into = call->state == DECODING_RESULT ? &m->result : &call->error_tree;
    return CR_NEED_DECODE;
  case AWAITING:
  case WAITING:
    want->until_mono_ms = call->until_mono_ms;
    return CR_NEED_WAIT;
  case DONE:
    return CR_NEED_DONE;
  case FAILED:
    break;
  }
  return CR_NEED_FAILED;
}

static bool attempt(struct cr_machine *m, struct cr_attempt *out)
{
  struct call *call = of(m);

  if(call->attempt_told) {
    return false;
  }
  *out = call->attempt;
  call->attempt_told = true;
  return true;
}

static void destroy(struct cr_machine *m)
{
  struct call *call = of(m);

  forget_answer(call);
  cr_pace_leave(&call->place);
  cr_tree_free(&call->params);
  cr_draft_free(&call->draft);
  cr_signature_free(&call->signature);
  cr_identity_unref(call->identity);
  cr_account_unref(call->account);
  cr_wipe(call, sizeof *call);
  free(call);
}

static const struct cr_machine_class call_class = {
  .name = "call",
  .next = next,
  .answered = answered,
  .decoded = decoded,
  .destroy = destroy,
  .attempt = attempt,
};

static int set_up(struct call *call, struct cr_error *err)
{
  if(cr_params_complete(call->operation, &call->params, err) < 0) {
    return -1;
  }
  /* Checked now, while the caller can still be told; drawn again for each attempt. */
  if(cr_draft_head(&call->draft, call->operation, &call->account->endpoints[call->operation->service],
                   call->params.root, err) < 0) {
    return -1;
  }
  return call->operation->identity ? 0 : cr_draft_body(&call->draft, call->operation, call->params.root, NULL, err);
}

static void name_operation(const struct cr_operation *operation, char *out, size_t size)
{
  snprintf(out, size, "%s:%s", cr_service_name(operation->service), operation->name);
}

struct cr_machine *cr_call_take(struct cr_account *account, const struct cr_operation *operation,
                                struct cr_tree *params, struct cr_identity *identity,
                                const struct cr_xml_view *view, int64_t deadline_ms, struct cr_error *err)
{
  struct call *call;

  if(!operation->identity != !identity) {
    cr_fail(err, CR_KIND_INPUT, identity ? "UnexpectedIdentity" : "MissingIdentity", identity ?
            "%s takes no identity" : "%s needs an identity: the certificate and its key", operation->name);
    if(err) {
      name_operation(operation, err->operation, sizeof err->operation);
    }
    return NULL;
  }
  call = calloc(1, sizeof *call);
  if(!call) {
    cr_fail_memory(err);
    return NULL;
  }
  call->machine.class = &call_class;
  name_operation(operation, call->machine.operation, sizeof call->machine.operation);
  cr_tree_init(&call->machine.result, RESULT_MAX);
  cr_tree_init(&call->error_tree, ERROR_TREE_MAX);
  cr_tree_move(&call->params, params);
  cr_draft_init(&call->draft);
  cr_signature_init(&call->signature);
  cr_answer_init(&call->answer);
  call->account = cr_account_ref(account);
  call->identity = cr_identity_ref(identity);
  call->operation = operation;
  call->view = operation->bytes ? &cr_bytes_view : view;
  call->deadline_ms = deadline_ms;
  call->attempt_told = true;
  call->sink.write = feed;
  call->sink.user = call;
  if(set_up(call, err) < 0) {
    if(err) {
      memcpy(err->operation, call->machine.operation, sizeof err->operation);
    }
    destroy(&call->machine);
    return NULL;
  }
  return &call->machine;
}

struct cr_machine *cr_call_new(struct cr_account *account, const struct cr_operation *operation,
                               const struct cr_node *params, struct cr_identity *identity,
                               const struct cr_xml_view *view, int64_t deadline_ms, struct cr_error *err)
{
  struct cr_tree copy;
  struct cr_machine *m = NULL;

  cr_tree_init(&copy, PARAMS_MAX);
  if(params ? !cr_node_copy(&copy, NULL, NULL, params) : !cr_node_add(&copy, NULL, NULL, CR_NODE_MAP)) {
    cr_fail_memory(err);
    if(err) {
      name_operation(operation, err->operation, sizeof err->operation);
    }
  } else {
    m = cr_call_take(account, operation, &copy, identity, view, deadline_ms, err);
  }
  cr_tree_free(&copy);
  return m;
}
