/* uri.h - percent-encoding as AWS does it, and taking a URL apart. Pure. */
#ifndef CR_URI_H
#define CR_URI_H

#include "buffer.h"

/* Everything outside A-Z a-z 0-9 - . _ ~ becomes %XX, upper-case digits; '/' survives when keep_slash. */
int cr_uri_encode(struct cr_buf *out, const char *text, size_t len, bool keep_slash);
/* application/x-www-form-urlencoded value: as cr_uri_encode, never '+' for a blank. */
int cr_uri_encode_form(struct cr_buf *out, const char *text, size_t len);

struct cr_url {
  const char *scheme; size_t scheme_len;
  const char *host; size_t host_len;     /* brackets of an IPv6 literal kept */
  int port;                              /* 0: none given */
  const char *path; size_t path_len;     /* may be empty */
  const char *query; size_t query_len;   /* without '?'; may be empty */
  bool https;
};

/* Points into `text`, which must outlive *url. Refuses user info, other schemes than http and https,
 * control bytes, and ports out of range; a fragment is cut off. */
int cr_url_parse(const char *text, struct cr_url *url, struct cr_error *err);
/* "host" or "host:port" when the port is not the scheme's own: what Host carries and what is signed. */
int cr_url_host(const struct cr_url *url, struct cr_buf *out);

#endif
