/* buffer.h - bytes that grow up to a hard maximum and wipe themselves.
 *
 * A failed append makes the buffer `failed` and later appends do nothing, so a
 * builder appends freely and checks once with cr_buf_check. Owner: whoever
 * called cr_buf_init must call cr_buf_free. */
#ifndef CR_BUFFER_H
#define CR_BUFFER_H

#include "base.h"

struct cr_buf {
  char *data;    /* NUL-terminated once anything was added, else NULL */
  size_t len;
  size_t cap;
  size_t max;    /* len never exceeds this */
  enum { CR_BUF_FINE, CR_BUF_NO_MEMORY, CR_BUF_TOO_LARGE } state;
};

void cr_buf_init(struct cr_buf *buf, size_t max);
void cr_buf_free(struct cr_buf *buf);                       /* wipes; may be called twice */
void cr_buf_reset(struct cr_buf *buf);                      /* empties, keeps and wipes the memory, forgets a failure */
void cr_buf_move(struct cr_buf *to, struct cr_buf *from);   /* `to` must be empty or initialised; `from` ends empty */
int cr_buf_reserve(struct cr_buf *buf, size_t more);        /* room for `more` bytes without another allocation */
int cr_buf_add(struct cr_buf *buf, const void *data, size_t len);
int cr_buf_adds(struct cr_buf *buf, const char *text);
int cr_buf_addc(struct cr_buf *buf, char c);
void cr_buf_cut(struct cr_buf *buf, size_t len);            /* shortens to len, wipes the rest; never lengthens */
int cr_buf_addf(struct cr_buf *buf, const char *format, ...) CR_PRINTF(2, 3);
const char *cr_buf_str(const struct cr_buf *buf);           /* "" when nothing was added */
/* 0, or -1 with *err: `what` names the thing for people ("answer", "request body"). */
int cr_buf_check(const struct cr_buf *buf, const char *what, struct cr_error *err);

#endif
