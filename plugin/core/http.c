/* http.c - a plain request of any URL as a machine: unsigned, sent once, whatever the status (see call.h).
 *
 * For metadata endpoints and the simulator's own pages. Owns copies of everything; a body or an answer may hold
 * credentials and is wiped. */
#include "call.h"
#include "uri.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PARAMS_MAX ((size_t)16 << 20)
#define RESULT_MAX ((size_t)64 << 20)
#define SECONDS_MAX 86400.0

struct http {
  struct cr_machine machine;
  struct cr_tree params;
  struct cr_header *headers;
  struct cr_request request;
  enum cr_need state;                /* SEND until answered, then DONE or FAILED */
  struct cr_attempt attempt;
  bool attempt_told;
};

static struct http *of(struct cr_machine *m)
{
  return (struct http *)m;
}

static enum cr_need next(struct cr_machine *m, const struct cr_moment *now, struct cr_want *want)
{
  struct http *http = of(m);
  (void)now;
  if(http->state == CR_NEED_SEND) {
    want->request = &http->request;
  }
  return http->state;
}

/* "name: value" lines into a map; a name that comes again is joined by a comma, as HTTP allows. */
static int add_headers(struct cr_tree *tree, struct cr_node *map, const struct cr_answer *answer)
{
  const char *line = cr_buf_str(&answer->header_text);

  while(*line) {
    size_t len = strcspn(line, "\n"), name_len = strcspn(line, ":\n");
    char name[128];
    if(name_len && name_len < len && name_len < sizeof name) {
      const char *value = line + name_len + 1 + strspn(line + name_len + 1, " \t");
      size_t value_len = (size_t)(line + len - value);
      struct cr_node *old = map->first;
      memcpy(name, line, name_len);
      name[name_len] = '\0';
      while(old && !cr_streq(old->name, name)) {
        old = old->next;
      }
      if(!old) {
        if(!cr_add_textn(tree, map, name, value, value_len)) {
          return -1;
        }
      } else {
        char *joined = cr_tree_alloc(tree, old->len + 2 + value_len + 1);
        if(!joined) {
          return -1;
        }
        memcpy(joined, old->text, old->len);
        memcpy(joined + old->len, ", ", 2);
        memcpy(joined + old->len + 2, value, value_len);
        old->text = joined;
        old->len += 2 + value_len;
      }
    }
    line += len + (line[len] == '\n');
  }
  return 0;
}

static int make_result(struct http *http, const struct cr_answer *answer)
{
  struct cr_tree *tree = &http->machine.result;
  struct cr_node *root = cr_node_add(tree, NULL, NULL, CR_NODE_MAP), *headers;

  if(!root || !cr_add_int(tree, root, "status", answer->status)) {
    return -1;
  }
  headers = cr_node_add(tree, root, "headers", CR_NODE_MAP);
  if(!headers || add_headers(tree, headers, answer) < 0) {
    return -1;
  }
  return cr_add_textn(tree, root, "body", cr_buf_str(&answer->body), answer->body.len) ? 0 : -1;
}

static void answered(struct cr_machine *m, const struct cr_moment *now, struct cr_answer *answer)
{
  struct http *http = of(m);
  (void)now;

  http->attempt.status = answer->status;
  http->attempt.elapsed_ms = answer->elapsed_ms;
  http->attempt_told = false;
  if(answer->sent != CR_SENT_ANSWERED) {
    m->error = answer->error;
    m->error.ambiguous = answer->sent == CR_SENT_UNKNOWN && strcmp(http->request.method, "GET") != 0;
    http->state = CR_NEED_FAILED;
  } else if(make_result(http, answer) < 0) {
    cr_tree_free(&m->result);
    cr_fail_memory(&m->error);
    http->state = CR_NEED_FAILED;
  } else {
    http->state = CR_NEED_DONE;
  }
  memcpy(http->attempt.code, m->error.code, sizeof http->attempt.code);
  memcpy(m->error.operation, m->operation, sizeof m->error.operation);
}

static void decoded(struct cr_machine *m, const struct cr_error *failure)
{
  (void)m;
  (void)failure;
}

static void destroy(struct cr_machine *m)
{
  struct http *http = of(m);
  cr_tree_free(&m->result);
  cr_tree_free(&http->params);
  free(http->headers);
  free(http);
}

static bool attempt(struct cr_machine *m, struct cr_attempt *out)
{
  struct http *http = of(m);
  if(http->attempt_told) {
    return false;
  }
  *out = http->attempt;
  http->attempt_told = true;
  return true;
}

static const struct cr_machine_class http_class = {
  .name = "http",
  .next = next,
  .answered = answered,
  .decoded = decoded,
  .destroy = destroy,
  .attempt = attempt,
};

static int bad(struct cr_error *err, const char *what)
{
  return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "http: %s", what);
}

/* A line end in a name or value would be a header of its own. */
static bool is_clean(const char *text, size_t len)
{
  for(size_t i = 0; i < len; i++) {
    if(((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7F) {
      return false;
    }
  }
  return true;
}

/* Either a map, or a list of { name, value } pairs. */
static int set_headers(struct http *http, const struct cr_node *list, struct cr_error *err)
{
  size_t count = 0;

  if(!list || !list->count) {
    return 0;
  }
  if(list->type != CR_NODE_MAP && list->type != CR_NODE_LIST) {
    return bad(err, "headers must be a map or a list of name and value pairs");
  }
  http->headers = calloc(list->count, sizeof *http->headers);
  if(!http->headers) {
    return cr_fail_memory(err);
  }
  for(const struct cr_node *node = list->first; node; node = node->next) {
    const struct cr_node *value = list->type == CR_NODE_MAP ? node : node->last;
    const char *name = list->type == CR_NODE_MAP ? node->name : node->first ? node->first->text : NULL;
    if(!name || !*name || strpbrk(name, ": \t") || !is_clean(name, strlen(name)) || !value || value->first ||
       (list->type == CR_NODE_LIST && node->count != 2) || !is_clean(value->text, value->len)) {
      return bad(err, "a header is no name and value, or contains a line end");
    }
    http->headers[count].name = name;
    http->headers[count].value = value->text;
    http->headers[count].value_len = value->len;
    count++;
  }
  http->request.headers = http->headers;
  http->request.header_count = count;
  return 0;
}

static int milliseconds(const struct cr_node *params, const char *name, int64_t *out, struct cr_error *err)
{
  double seconds = cr_get_number(params, name, 0);
  if(cr_get(params, name) && !(seconds > 0 && seconds <= SECONDS_MAX)) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "http: %s must be a number of seconds between 0 and a day",
                   name);
  }
  *out = (int64_t)(seconds * 1000);
  if(seconds > 0 && *out == 0) {
    *out = 1;
  }
  return 0;
}

static int set_up(struct http *http, const struct cr_node *params, struct cr_error *err)
{
  struct cr_request *request = &http->request;
  const struct cr_node *copy = params ? cr_node_copy(&http->params, NULL, NULL, params) : NULL, *body;
  int64_t max_body = cr_get_int(copy, "max_body", 0);
  struct cr_url url;

  if(params && !copy) {
    return cr_fail_memory(err);
  }
  request->url = cr_get_text(copy, "url");
  if(!request->url) {
    return bad(err, "url is missing");
  }
  if(cr_url_parse(request->url, &url, err) < 0) {
    return -1;
  }
  request->method = cr_get_text(copy, "method");
  if(!request->method) {
    request->method = "GET";
  }
  if(!*request->method || request->method[strspn(request->method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")]) {
    return bad(err, "method must be a word in capitals");
  }
  request->once = strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0;
  body = cr_get(copy, "body");
  if(body && body->type != CR_NODE_NULL) {
    if(body->type != CR_NODE_TEXT) {
      return bad(err, "body must be a string");
    }
    request->body = body->text;
    request->body_len = body->len;
  }
  if(max_body < 0) {
    return bad(err, "max_body must not be negative");
  }
  request->max_body = (size_t)max_body;
  request->no_proxy = cr_get_bool(copy, "no_proxy", false);
  if(milliseconds(copy, "timeout", &request->total_timeout_ms, err) < 0 ||
     milliseconds(copy, "connect_timeout", &request->connect_timeout_ms, err) < 0) {
    return -1;
  }
  return set_headers(http, cr_get(copy, "headers"), err);
}

struct cr_machine *cr_http_new(const struct cr_node *params, struct cr_error *err)
{
  struct http *http = calloc(1, sizeof *http);

  if(!http) {
    cr_fail_memory(err);
    return NULL;
  }
  http->machine.class = &http_class;
  http->state = CR_NEED_SEND;
  http->attempt_told = true;
  cr_tree_init(&http->machine.result, RESULT_MAX);
  cr_tree_init(&http->params, PARAMS_MAX);
  if(set_up(http, params, err) < 0) {
    destroy(&http->machine);
    return NULL;
  }
  snprintf(http->machine.operation, sizeof http->machine.operation, "http:%s", http->request.method);
  memcpy(http->attempt.operation, http->machine.operation, sizeof http->attempt.operation);
  http->attempt.attempt = 1;
  return &http->machine;
}
