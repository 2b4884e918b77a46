/* classify.c - AWS's error answers and what to do about them, as pure functions (see classify.h).
 *
 * The tables are the SDKs' (aws-reference 8.1), minus LimitExceededException: that is ACM's quota, and no waiting
 * helps against it. Temporary trees live and die inside a function. */
#include "classify.h"
#include "xml.h"

#include <stdio.h>
#include <string.h>

#define ERROR_TREE_MAX ((size_t)256 << 10)
#define RETRY_AFTER_MAX_MS 300000

static bool is_one_of(const char *code, const char *const *list)
{
  for(; *list; list++) {
    if(strcmp(code, *list) == 0) {
      return true;
    }
  }
  return false;
}

enum cr_trouble cr_classify(enum cr_service service, int status, const char *code)
{
  static const char *const throttling[] = {
    "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottledException", "TooManyRequestsException",
    "ProvisionedThroughputExceededException", "TransactionInProgressException", "RequestLimitExceeded",
    "BandwidthLimitExceeded", "RequestThrottled", "SlowDown", "PriorRequestNotComplete", "EC2ThrottledException", NULL
  };
  static const char *const transient[] = { "RequestTimeout", "RequestTimeoutException", NULL };
  static const char *const skew[] = {
    "AuthFailure", "InvalidSignatureException", "RequestExpired", "RequestInTheFuture", "RequestTimeTooSkewed",
    "SignatureDoesNotMatch", NULL
  };

  if(status == 429 || is_one_of(code, throttling)) {
    return CR_TROUBLE_THROTTLED;
  }
  if(is_one_of(code, skew)) {
    return CR_TROUBLE_SKEW;
  }
  if(service == CR_IAM && strcmp(code, "ConcurrentModification") == 0) {
    return CR_TROUBLE_REFUSED;
  }
  /* Another conditional write to the same key was under way: this one was not carried out. */
  if(service == CR_S3 && (strcmp(code, "ConditionalRequestConflict") == 0 || strcmp(code, "OperationAborted") == 0)) {
    return CR_TROUBLE_REFUSED;
  }
  if(service == CR_STS && strcmp(code, "IDPCommunicationError") == 0) {
    return CR_TROUBLE_REFUSED;
  }
  if(status == 500 || status == 502 || status == 503 || status == 504 || is_one_of(code, transient)) {
    return CR_TROUBLE_TRANSIENT;
  }
  return CR_TROUBLE_PERMANENT;
}

static enum cr_kind kind_of(const char *code)
{
  static const char *const credentials[] = {
    "InvalidClientTokenId", "UnrecognizedClientException", "ExpiredToken", "ExpiredTokenException",
    "MissingAuthenticationToken", "MissingAuthenticationTokenException", "IncompleteSignature",
    "IncompleteSignatureException", "SignatureDoesNotMatch", "InvalidSignatureException", "AuthFailure",
    "InvalidAccessKeyId", "InvalidToken", "TokenRefreshRequired", "RequestExpired", "InvalidIdentityToken", NULL
  };
  return is_one_of(code, credentials) ? CR_KIND_CREDENTIALS : CR_KIND_SERVICE;
}

/* ---- error bodies ---- */

void cr_read_request_id(const struct cr_answer *answer, char *out, size_t size)
{
  if(!cr_answer_header(answer, "x-amzn-requestid", out, size)) {
    cr_answer_header(answer, "x-amz-request-id", out, size); /* S3 */
  }
}

/* A signature that does not match is answered with the canonical request, the session token in it: what follows
 * the first sentences is dropped. */
static size_t safe_length(const char *message, enum cr_kind kind)
{
  static const char *const tails[] = { "The Canonical String", "The String-to-Sign", "\n" };
  size_t len = strlen(message);
  for(size_t i = 0; kind == CR_KIND_CREDENTIALS && i < sizeof tails / sizeof tails[0]; i++) {
    const char *found = strstr(message, tails[i]);
    if(found && (size_t)(found - message) < len) {
      len = (size_t)(found - message);
    }
  }
  while(len && strchr(" \t\r\n", message[len - 1])) {
    len--;
  }
  return len;
}

/* "com.amazonaws.acm#ResourceInUseException:http://..." is ResourceInUseException. */
static void bare_code(const char *text, char *out, size_t size)
{
  const char *hash = strrchr(text, '#');
  const char *begin = hash ? hash + 1 : text;
  size_t len = strcspn(begin, ": \t");
  if(len >= size) {
    len = size - 1;
  }
  memcpy(out, begin, len);
  out[len] = '\0';
}

static void fill(const struct cr_answer *answer, const char *code, const char *message, const char *request_id,
                 struct cr_error *err)
{
  char bare[sizeof err->code] = "", id[sizeof err->request_id] = "", location[200];

  bare_code(code ? code : "", bare, sizeof bare);
  message = message ? message + strspn(message, " \t\r\n") : "";
  snprintf(id, sizeof id, "%s", request_id ? request_id : "");
  if(!id[0]) {
    cr_read_request_id(answer, id, sizeof id);
  }
  if(bare[0] && *message) {
    enum cr_kind kind = kind_of(bare);
    cr_fail(err, kind, bare, "%.*s", (int)safe_length(message, kind), message);
  } else if(bare[0]) {
    cr_fail(err, kind_of(bare), bare, "the service answered %s (HTTP %d) without a message", bare, answer->status);
  } else {
    snprintf(bare, sizeof bare, "HTTP%d", answer->status);
    if(answer->status < 400) {
      cr_answer_header(answer, "location", location, sizeof location);
      cr_fail(err, CR_KIND_SERVICE, bare,
              "HTTP %d: the endpoint redirects%s%s, which is never followed: check --endpoint-url and the region",
              answer->status, location[0] ? " to " : "", location);
    } else {
      cr_fail(err, CR_KIND_SERVICE, bare,
              "HTTP %d without AWS's error body: a proxy, a load balancer or another server may have answered",
              answer->status);
    }
  }
  err->status = answer->status;
  memcpy(err->request_id, id, sizeof id);
}

/* S3 says which region a bucket is in, in the body or in a header, but not in words. */
static void add_region(const struct cr_answer *answer, const struct cr_node *error, struct cr_error *err)
{
  char header[40] = "";
  const char *region = cr_get_text(error, "Region");
  size_t len = strlen(err->message);

  if(!is_one_of(err->code, (const char *const[]){ "PermanentRedirect", "TemporaryRedirect",
                                                 "AuthorizationHeaderMalformed", NULL })) {
    return;
  }
  if(!region && cr_answer_header(answer, "x-amz-bucket-region", header, sizeof header)) {
    region = header;
  }
  if(region && *region && strlen(region) < sizeof header &&
     strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(region)) {
    snprintf(err->message + len, sizeof err->message - len, " (the bucket is in the region %s)", region);
  }
}

/* <ErrorResponse><Error>..</Error><RequestId/></ErrorResponse>, or S3's bare <Error>. */
void cr_read_xml_error(const struct cr_answer *answer, struct cr_error *err, int64_t *server_ms)
{
  struct cr_tree tree;
  const struct cr_node *error = NULL;
  const char *id = NULL, *time;
  struct cr_error unread;

  cr_tree_init(&tree, ERROR_TREE_MAX);
  cr_error_clear(&unread);
  if(answer->body.len && cr_xml_parse(&tree, NULL, answer->body.data, answer->body.len, &unread) == 0) {
    error = cr_streq(tree.root->name, "Error") ? tree.root : cr_get(tree.root, "Error");
    if(!error) {
      error = cr_get_path(tree.root, "Errors/Error");
    }
    id = cr_get_text(tree.root, "RequestId");
    id = id ? id : cr_get_text(tree.root, "RequestID");
  }
  time = cr_get_text(error, "ServerTime");
  *server_ms = time ? cr_parse_date(time) : -1;
  *server_ms = *server_ms < 0 ? cr_server_time_ms(answer) : *server_ms * 1000;
  fill(answer, cr_get_text(error, "Code"), cr_get_text(error, "Message"), id, err);
  if(unread.kind == CR_KIND_MEMORY) {
    /* What the service said is not known: no proxy is to blame. */
    err->kind = unread.kind;
    memcpy(err->code, unread.code, sizeof err->code);
    memcpy(err->message, unread.message, sizeof err->message);
  }
  add_region(answer, error, err);
  cr_tree_free(&tree);
}

void cr_read_json_error(const struct cr_answer *answer, const struct cr_node *root, struct cr_error *err,
                        int64_t *server_ms)
{
  char type[160] = "";
  const char *code, *message;

  code = cr_get_text(root, "__type");
  if(!code || !*code) {
    code = cr_get_text(root, "code");
  }
  if((!code || !*code) && cr_answer_header(answer, "x-amzn-errortype", type, sizeof type)) {
    code = type;
  }
  message = cr_get_text(root, "message");
  if(!message) {
    message = cr_get_text(root, "Message");
  }
  *server_ms = cr_server_time_ms(answer);
  fill(answer, code, message, NULL, err);
}

/* ---- dates ---- */

/* Reads `count` digits; -1 when they are none. */
static int digits(const char **at, int count)
{
  int value = 0;
  while(count--) {
    if(**at < '0' || **at > '9') {
      return -1;
    }
    value = value * 10 + (*(*at)++ - '0');
  }
  return value;
}

static bool skip(const char **at, const char *text)
{
  size_t len = strlen(text);
  if(strncmp(*at, text, len) != 0) {
    return false;
  }
  *at += len;
  return true;
}

static int month(const char **at)
{
  static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
  for(int i = 0; i < 12; i++) {
    if(strncmp(*at, names + 3 * i, 3) == 0) {
      *at += 3;
      return i + 1;
    }
  }
  return -1;
}

struct date {
  int year, month, day, hour, minute, second;
};

static bool clock_time(const char **at, struct date *date)
{
  date->hour = digits(at, 2);
  if(!skip(at, ":")) {
    return false;
  }
  date->minute = digits(at, 2);
  if(!skip(at, ":")) {
    return false;
  }
  date->second = digits(at, 2);
  return true;
}

/* Days since 1970-01-01 of the Gregorian calendar, years counted from March so that the leap day comes last. */
static int64_t to_unix(const struct date *date)
{
  int year = date->year - (date->month <= 2), era = year / 400, of_era = year % 400;
  int of_year = (153 * (date->month + (date->month > 2 ? -3 : 9)) + 2) / 5 + date->day - 1;
  int64_t days = (int64_t)era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;

  if(date->year < 1970 || date->month < 1 || date->month > 12 || date->day < 1 || date->day > 31 || date->hour < 0 ||
     date->hour > 23 || date->minute < 0 || date->minute > 59 || date->second < 0 || date->second > 60) {
    return -1;
  }
  return days * 86400 + date->hour * 3600 + date->minute * 60 + date->second;
}

static bool parse_iso(const char *at, struct date *date)
{
  date->year = digits(&at, 4);
  if(!skip(&at, "-")) {
    return false;
  }
  date->month = digits(&at, 2);
  if(!skip(&at, "-")) {
    return false;
  }
  date->day = digits(&at, 2);
  if(!skip(&at, "T") || !clock_time(&at, date)) {
    return false;
  }
  if(*at == '.') {
    at++;
    at += strspn(at, "0123456789");
  }
  return cr_streq(at, "Z");
}

/* "15 Jan 2026 12:00:00 GMT" or RFC 850's "15-Jan-26 12:00:00 GMT", after the day's name and comma. */
static bool parse_http(const char *at, struct date *date)
{
  bool old;
  date->day = digits(&at, 2);
  old = *at == '-';
  if(!skip(&at, old ? "-" : " ")) {
    return false;
  }
  date->month = month(&at);
  if(!skip(&at, old ? "-" : " ")) {
    return false;
  }
  date->year = digits(&at, old ? 2 : 4);
  if(old && date->year >= 0) {
    date->year += date->year < 70 ? 2000 : 1900;
  }
  return skip(&at, " ") && clock_time(&at, date) && (cr_streq(at, " GMT") || cr_streq(at, " UTC"));
}

/* asctime(): "Jan 15 12:00:00 2026", after the day's name. */
static bool parse_asctime(const char *at, struct date *date)
{
  date->month = month(&at);
  if(!skip(&at, " ")) {
    return false;
  }
  date->day = skip(&at, " ") ? digits(&at, 1) : digits(&at, 2);
  if(!skip(&at, " ") || !clock_time(&at, date) || !skip(&at, " ")) {
    return false;
  }
  date->year = digits(&at, 4);
  return *at == '\0';
}

int64_t cr_parse_date(const char *text)
{
  struct date date;
  const char *comma = strchr(text, ',');
  bool good;

  memset(&date, 0, sizeof date);
  if(comma) {
    good = comma[1] == ' ' && parse_http(comma + 2, &date);
  } else if(*text >= '0' && *text <= '9') {
    good = parse_iso(text, &date);
  } else {
    good = strlen(text) > 4 && text[3] == ' ' && parse_asctime(text + 4, &date);
  }
  return good ? to_unix(&date) : -1;
}

int64_t cr_server_time_ms(const struct cr_answer *answer)
{
  char text[64];
  int64_t seconds = cr_answer_header(answer, "date", text, sizeof text) ? cr_parse_date(text) : -1;
  return seconds < 0 ? -1 : seconds * 1000;
}

/* ---- patience ---- */

int64_t cr_retry_after_ms(const struct cr_answer *answer, int64_t now_ms)
{
  char text[64];
  int64_t wait = 0, date;

  if(!cr_answer_header(answer, "retry-after", text, sizeof text) || !text[0]) {
    return 0;
  }
  if(text[strspn(text, "0123456789")] == '\0') {
    for(const char *c = text; *c && wait < RETRY_AFTER_MAX_MS; c++) {
      wait = wait * 10 + (*c - '0');
    }
    wait *= 1000;
  } else {
    date = cr_parse_date(text);
    wait = date < 0 ? 0 : date * 1000 - now_ms;
  }
  return wait < 0 ? 0 : wait > RETRY_AFTER_MAX_MS ? RETRY_AFTER_MAX_MS : wait;
}

int64_t cr_retry_delay_ms(int retry, double random)
{
  int64_t most = retry < 0 ? 1000 : retry > 4 ? 20000 : (int64_t)1000 << retry;
  return (int64_t)(random * (double)most);
}
