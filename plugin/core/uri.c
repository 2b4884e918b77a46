/* uri.c - percent-encoding and URLs. Pure; what a parsed URL points to belongs to the caller's text. */
#include "uri.h"

#include <string.h>

/* RFC 3986 unreserved characters, one bit each: "-.0-9", "A-Z_", "a-z~". */
static bool is_unreserved(unsigned char c)
{
  static const uint32_t set[8] = { 0, 0x03FF6000, 0x87FFFFFE, 0x47FFFFFE, 0, 0, 0, 0 };
  return set[c >> 5] >> (c & 31) & 1;
}

int cr_uri_encode(struct cr_buf *out, const char *text, size_t len, bool keep_slash)
{
  static const char hex[] = "0123456789ABCDEF";
  char slash = keep_slash ? '/' : 'a'; /* a character that survives anyway */
  size_t i = 0;

  while(i < len) {
    size_t run = i;
    while(run < len && (is_unreserved((unsigned char)text[run]) || text[run] == slash)) {
      run++;
    }
    cr_buf_add(out, text + i, run - i);
    for(i = run; i < len && !is_unreserved((unsigned char)text[i]) && text[i] != slash; i++) {
      char escape[3];
      escape[0] = '%';
      escape[1] = hex[(unsigned char)text[i] >> 4];
      escape[2] = hex[(unsigned char)text[i] & 15];
      cr_buf_add(out, escape, sizeof escape);
    }
  }
  return out->state == CR_BUF_FINE ? 0 : -1;
}

int cr_uri_encode_form(struct cr_buf *out, const char *text, size_t len)
{
  return cr_uri_encode(out, text, len, false);
}

static int refuse(const char *text, const char *why, struct cr_error *err)
{
  /* A URL with user info in it holds a password: it is not repeated. */
  if(strchr(text, '@')) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidUrl", "the URL %s", why);
  }
  return cr_fail(err, CR_KIND_INPUT, "InvalidUrl", "the URL \"%.200s\" %s", text, why);
}

static bool is_host_char(char c, bool literal)
{
  if((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == '.') {
    return true;
  }
  if(literal) {
    return c == ':';
  }
  return (c >= 'g' && c <= 'z') || (c >= 'G' && c <= 'Z') || c == '-' || c == '_';
}

/* "host[:port]" between begin and end. */
static int parse_authority(const char *text, const char *begin, const char *end, struct cr_url *url,
                           struct cr_error *err)
{
  const char *at = begin;
  bool literal = begin < end && *begin == '[';

  if(memchr(begin, '@', (size_t)(end - begin))) {
    return refuse(text, "must not contain a user name or password", err);
  }
  if(literal) {
    at++;
  }
  while(at < end && is_host_char(*at, literal)) {
    at++;
  }
  if(literal) {
    if(at == end || *at != ']' || at == begin + 1) {
      return refuse(text, "has a malformed IPv6 address", err);
    }
    at++;
  }
  url->host = begin;
  url->host_len = (size_t)(at - begin);
  if(url->host_len == 0) {
    return refuse(text, "has no host name", err);
  }
  if(at < end && *at == ':') {
    for(at++; at < end && *at >= '0' && *at <= '9' && url->port <= 65535; at++) {
      url->port = url->port * 10 + (*at - '0');
    }
    if(url->port > 65535 || (url->port == 0 && at[-1] != ':')) {
      return refuse(text, "has a port out of range (1 to 65535)", err);
    }
  }
  return at == end ? 0 : refuse(text, "has a character no host name or port contains", err);
}

int cr_url_parse(const char *text, struct cr_url *url, struct cr_error *err)
{
  const char *at = text, *end, *mark;

  memset(url, 0, sizeof *url);
  while((unsigned char)*at >= 0x20 && *at != 0x7F) {
    at++;
  }
  if(*at) {
    return refuse(text, "contains a control character", err);
  }
  end = at;
  url->scheme = text;
  if(strncasecmp(text, "https://", 8) == 0) {
    url->scheme_len = 5;
    url->https = true;
  } else if(strncasecmp(text, "http://", 7) == 0) {
    url->scheme_len = 4;
  } else {
    return refuse(text, "must begin with https:// or http://", err);
  }
  url->path = text + url->scheme_len + 3;
  mark = memchr(url->path, '#', (size_t)(end - url->path));
  end = mark ? mark : end;
  at = url->path;
  while(url->path < end && *url->path != '/' && *url->path != '?') {
    url->path++;
  }
  if(parse_authority(text, at, url->path, url, err) < 0) {
    return -1;
  }
  mark = memchr(url->path, '?', (size_t)(end - url->path));
  url->path_len = (size_t)((mark ? mark : end) - url->path);
  url->query = mark ? mark + 1 : end;
  url->query_len = (size_t)(end - url->query);
  return 0;
}

int cr_url_host(const struct cr_url *url, struct cr_buf *out)
{
  size_t begin = out->len;
  if(cr_buf_add(out, url->host, url->host_len) < 0) {
    return -1;
  }
  for(char *c = out->data + begin; *c; c++) {
    if(*c >= 'A' && *c <= 'Z') {
      *c = (char)(*c + ('a' - 'A'));
    }
  }
  if(url->port && url->port != (url->https ? 443 : 80)) {
    cr_buf_addf(out, ":%d", url->port);
  }
  return out->state == CR_BUF_FINE ? 0 : -1;
}
