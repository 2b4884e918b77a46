/* sigv4_canonical.c - the canonical request: path, query and headers as AWS reads them, whatever their spelling.
 *
 * Pure. Texts belong to the request and to struct cr_signature, what is in between to the scratch buffer. */
#include "sigv4_private.h"
#include "uri.h"

#include <stdlib.h>
#include <string.h>

#define ON_STACK 24 /* headers or query pairs sorted without an allocation */

/* ---- path and query ---- */

/* Resolves "." and "..", drops empty segments, keeps a trailing slash. */
static void normalize_path(struct cr_buf *out, const char *path, size_t len)
{
  const char *at = path, *end = path + len;

  cr_buf_addc(out, '/');
  while(at < end && out->state == CR_BUF_FINE) {
    const char *slash = memchr(at, '/', (size_t)(end - at));
    size_t segment = (size_t)((slash ? slash : end) - at);
    if(segment == 2 && at[0] == '.' && at[1] == '.') {
      size_t back = out->len;
      while(back > 1 && out->data[back - 1] != '/') {
        back--;
      }
      cr_buf_cut(out, back > 1 ? back - 1 : 1);
    } else if(segment && !(segment == 1 && *at == '.')) {
      if(out->len > 1) {
        cr_buf_addc(out, '/');
      }
      cr_buf_add(out, at, segment);
    }
    at += segment + 1;
  }
  if(len && path[len - 1] == '/' && out->len > 1) {
    cr_buf_addc(out, '/');
  }
}

static bool is_normal(const char *path, size_t len)
{
  for(size_t i = 0; i + 1 < len; i++) {
    if(path[i] == '/' && (path[i + 1] == '/' || path[i + 1] == '.')) {
      return false;
    }
  }
  return true;
}

static int add_path(const struct cr_sign_request *request, const struct cr_url *url, struct cr_buf *scratch,
                    struct cr_buf *out, struct cr_error *err)
{
  const char *path = url->path_len ? url->path : "/";
  size_t len = url->path_len ? url->path_len : 1;

  if(request->normalize_path && !is_normal(path, len)) {
    cr_buf_reset(scratch);
    normalize_path(scratch, path, len);
    if(cr_buf_check(scratch, "URL", err) < 0) {
      return -1;
    }
    path = cr_buf_str(scratch);
    len = scratch->len;
  }
  if(request->double_encode) {
    cr_uri_encode(out, path, len, true);
  } else {
    cr_buf_add(out, path, len);
  }
  return 0;
}

static int hex_value(char c)
{
  if(c >= '0' && c <= '9') {
    return c - '0';
  }
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* A name or value as AWS encodes it, however the URL spelled it: "%7e" and "~" are one thing. */
static void add_query_part(struct cr_buf *out, const char *text, size_t len)
{
  size_t i = 0;
  while(i < len) {
    const char *percent = memchr(text + i, '%', len - i);
    size_t run = percent ? (size_t)(percent - text) : len;
    cr_uri_encode(out, text + i, run - i, false);
    i = run;
    if(i < len) {
      int high = i + 2 < len ? hex_value(text[i + 1]) : -1, low = i + 2 < len ? hex_value(text[i + 2]) : -1;
      char c = high >= 0 && low >= 0 ? (char)(high * 16 + low) : '%';
      cr_uri_encode(out, &c, 1, false);
      i += high >= 0 && low >= 0 ? 3 : 1;
    }
  }
}

/* A pair of the query as encoded in the scratch buffer; `text` is filled once that has stopped growing. */
struct pair {
  const char *text;
  size_t begin, name_len, value_len; /* name and value stand side by side */
};

static int compare_bytes(const char *a, size_t a_len, const char *b, size_t b_len)
{
  int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
  return order ? order : (a_len > b_len) - (a_len < b_len);
}

/* By name, then by value: not by the joined text, in which '=' would come between. */
static int compare_pairs(const void *left, const void *right)
{
  const struct pair *a = left, *b = right;
  int order = compare_bytes(a->text, a->name_len, b->text, b->name_len);
  return order ? order : compare_bytes(a->text + a->name_len, a->value_len, b->text + b->name_len, b->value_len);
}

/* Every piece between two '&' is a pair, an empty one too: it is signed as "=", as botocore signs it. */
static int add_query(const struct cr_url *url, struct cr_buf *scratch, struct cr_buf *out, struct cr_error *err)
{
  struct pair stack[ON_STACK], *pairs = stack;
  const char *at = url->query, *end = url->query + url->query_len;
  size_t count = 1;
  int rc;

  if(url->query_len == 0) {
    return 0;
  }
  for(size_t i = 0; i < url->query_len; i++) {
    count += url->query[i] == '&';
  }
  if(count > ON_STACK) {
    pairs = calloc(count, sizeof *pairs);
    if(!pairs) {
      return cr_fail_memory(err);
    }
  }
  cr_buf_reset(scratch);
  for(size_t i = 0; i < count; i++) {
    const char *amp = memchr(at, '&', (size_t)(end - at)), *stop = amp ? amp : end;
    const char *equals = memchr(at, '=', (size_t)(stop - at)), *name_end = equals ? equals : stop;
    pairs[i].begin = scratch->len;
    add_query_part(scratch, at, (size_t)(name_end - at));
    pairs[i].name_len = scratch->len - pairs[i].begin;
    if(equals) {
      add_query_part(scratch, equals + 1, (size_t)(stop - equals - 1));
    }
    pairs[i].value_len = scratch->len - pairs[i].begin - pairs[i].name_len;
    at = amp ? amp + 1 : end;
  }
  for(size_t i = 0; i < count; i++) {
    pairs[i].text = cr_buf_str(scratch) + pairs[i].begin;
  }
  rc = cr_buf_check(scratch, "URL", err);
  if(rc == 0) {
    qsort(pairs, count, sizeof *pairs, compare_pairs);
  }
  for(size_t i = 0; rc == 0 && i < count; i++) {
    if(i) {
      cr_buf_addc(out, '&');
    }
    cr_buf_add(out, pairs[i].text, pairs[i].name_len);
    cr_buf_addc(out, '=');
    cr_buf_add(out, pairs[i].text + pairs[i].name_len, pairs[i].value_len);
  }
  if(pairs != stack) {
    free(pairs);
  }
  return rc;
}

/* ---- headers ---- */

/* Headers that proxies and transports change on the way. */
static bool is_never_signed(const char *name)
{
  static const char *const list[] = {
    "connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
    "transfer-encoding", "upgrade", "user-agent", "x-amzn-trace-id"
  };
  for(size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
    if(cr_is_named(name, list[i])) {
      return true;
    }
  }
  return false;
}

struct item {
  const char *name, *value;
  size_t value_len, order;
};

static int compare_items(const void *left, const void *right)
{
  const struct item *a = left, *b = right;
  int order = cr_strcasecmp(a->name, b->name);
  return order ? order : (a->order > b->order) - (a->order < b->order);
}

static void add_item(struct item *items, size_t *count, const char *name, const char *value, size_t len)
{
  items[*count].name = name;
  items[*count].value = value;
  items[*count].value_len = len;
  items[*count].order = *count;
  (*count)++;
}

/* The given headers that are signed, and ours; sorted, repeated names in order of appearance.
 * `host` receives the URL's host and must live as long as the items. */
static size_t collect(const struct cr_sign_request *request, const struct cr_url *url, const struct cr_signature *out,
                      struct cr_buf *host, struct item *items)
{
  size_t count = 0;
  bool has_host = false;

  for(size_t i = 0; i < request->header_count; i++) {
    const struct cr_header *header = &request->headers[i];
    if(!is_never_signed(header->name)) {
      has_host = has_host || cr_is_named(header->name, "host");
      add_item(items, &count, header->name, header->value, header->value_len);
    }
  }
  if(!has_host) {
    cr_buf_reset(host);
    cr_url_host(url, host);
    add_item(items, &count, "host", cr_buf_str(host), host->len);
  }
  if(out->add_content_sha256) {
    add_item(items, &count, "x-amz-content-sha256", out->payload_hash, strlen(out->payload_hash));
  }
  add_item(items, &count, "x-amz-date", out->amz_date, strlen(out->amz_date));
  if(out->add_security_token && !request->omit_session_token) {
    add_item(items, &count, "x-amz-security-token", request->session_token, strlen(request->session_token));
  }
  if(count > ON_STACK) {
    qsort(items, count, sizeof *items, compare_items);
  } else {
    /* Few and mostly in order: cheaper than qsort. */
    for(size_t i = 1; i < count; i++) {
      struct item item = items[i];
      size_t at = i;
      for(; at > 0 && compare_items(&items[at - 1], &item) > 0; at--) {
        items[at] = items[at - 1];
      }
      items[at] = item;
    }
  }
  return count;
}

static void add_lower(struct cr_buf *out, const char *text)
{
  size_t begin = out->len;
  if(cr_buf_adds(out, text) == 0) {
    for(char *c = out->data + begin; *c; c++) {
      if(*c >= 'A' && *c <= 'Z') {
        *c = (char)(*c + ('a' - 'A'));
      }
    }
  }
}

/* Trimmed, runs of blanks squeezed to one space, inside quotes too. Checked values have no other control bytes. */
static void add_value(struct cr_buf *out, const char *value, size_t len)
{
  size_t i = 0;
  bool first = true;
  while(i < len) {
    size_t run;
    while(i < len && (unsigned char)value[i] <= ' ') {
      i++;
    }
    run = i;
    while(i < len && (unsigned char)value[i] > ' ') {
      i++;
    }
    if(i > run) {
      if(!first) {
        cr_buf_addc(out, ' ');
      }
      first = false;
      cr_buf_add(out, value + run, i - run);
    }
  }
}

/* "name:value\n" for every name, an empty line, "name;name". */
static void add_headers(struct cr_buf *out, const struct item *items, size_t count, size_t *signed_begin)
{
  for(size_t i = 0; i < count; i++) {
    if(i && cr_strcasecmp(items[i].name, items[i - 1].name) == 0) {
      cr_buf_addc(out, ',');
    } else {
      if(i) {
        cr_buf_addc(out, '\n');
      }
      add_lower(out, items[i].name);
      cr_buf_addc(out, ':');
    }
    add_value(out, items[i].value, items[i].value_len);
  }
  cr_buf_add(out, "\n\n", 2);
  *signed_begin = out->len;
  for(size_t i = 0; i < count; i++) {
    if(i && cr_strcasecmp(items[i].name, items[i - 1].name) == 0) {
      continue;
    }
    if(i) {
      cr_buf_addc(out, ';');
    }
    add_lower(out, items[i].name);
  }
}

/* ---- the whole ---- */

int cr_sigv4_canonical_request(const struct cr_sign_request *request, struct cr_buf *scratch, struct cr_signature *out,
                               struct cr_signed_list *list, struct cr_error *err)
{
  struct cr_buf *text = &out->canonical_request;
  struct item stack[ON_STACK + 4], *items = stack;
  struct cr_url url;
  size_t count;
  int rc = -1;

  if(cr_url_parse(request->url, &url, err) < 0) {
    return -1;
  }
  if(request->header_count > ON_STACK) {
    items = calloc(request->header_count + 4, sizeof *items);
    if(!items) {
      return cr_fail_memory(err);
    }
  }
  cr_buf_reserve(text, 768);
  cr_buf_adds(text, request->method);
  cr_buf_addc(text, '\n');
  if(add_path(request, &url, scratch, text, err) < 0) {
    goto done;
  }
  cr_buf_addc(text, '\n');
  if(add_query(&url, scratch, text, err) < 0) {
    goto done;
  }
  cr_buf_addc(text, '\n');
  count = collect(request, &url, out, scratch, items);
  add_headers(text, items, count, &list->begin);
  list->end = text->len;
  cr_buf_addc(text, '\n');
  cr_buf_adds(text, out->payload_hash);
  rc = cr_buf_check(scratch, "host name", err) < 0 ? -1 : cr_buf_check(text, "canonical request", err);
done:
  if(items != stack) {
    free(items);
  }
  return rc;
}
