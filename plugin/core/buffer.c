/* buffer.c - bytes that grow up to a hard maximum and wipe themselves.
 *
 * Never realloc: it may leave a copy of what was inside behind. The owner of a
 * buffer is whoever initialised it. */
#include "buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 64

void cr_buf_init(struct cr_buf *buf, size_t max)
{
  memset(buf, 0, sizeof *buf);
  buf->max = max < SIZE_MAX / 2 ? max : SIZE_MAX / 2; /* so that max + 1 cannot overflow */
}

void cr_buf_free(struct cr_buf *buf)
{
  size_t max = buf->max;
  if(buf->data) {
    cr_wipe(buf->data, buf->cap);
    free(buf->data);
  }
  cr_buf_init(buf, max);
}

void cr_buf_reset(struct cr_buf *buf)
{
  if(buf->data) {
    cr_wipe(buf->data, buf->len);
    buf->data[0] = '\0';
  }
  buf->len = 0;
  buf->state = CR_BUF_FINE;
}

void cr_buf_move(struct cr_buf *to, struct cr_buf *from)
{
  if(to == from) {
    return;
  }
  cr_buf_free(to);
  *to = *from;
  cr_buf_init(from, from->max);
}

/* Makes room for `more` bytes and a NUL. The memory given up is left in *old (NULL when none was), still
 * readable, since what is about to be appended may lie in it; the caller passes it to discard(). */
static int reserve(struct cr_buf *buf, size_t more, char **old, size_t *old_cap)
{
  size_t cap;
  char *data;

  *old = NULL;
  *old_cap = 0;
  if(buf->state != CR_BUF_FINE) {
    return -1;
  }
  if(more > buf->max - buf->len) {
    buf->state = CR_BUF_TOO_LARGE;
    return -1;
  }
  if(buf->len + more < buf->cap) {
    return 0;
  }
  cap = buf->cap < FIRST_CAP ? FIRST_CAP : buf->cap;
  while(cap <= buf->len + more) {
    cap = cap > SIZE_MAX / 2 ? SIZE_MAX : cap * 2;
  }
  if(cap > buf->max + 1) {
    cap = buf->max + 1;
  }
  data = malloc(cap);
  if(!data) {
    buf->state = CR_BUF_NO_MEMORY;
    return -1;
  }
  if(buf->len) {
    memcpy(data, buf->data, buf->len);
  }
  data[buf->len] = '\0';
  *old = buf->data;
  *old_cap = buf->cap;
  buf->data = data;
  buf->cap = cap;
  return 0;
}

static void discard(char *old, size_t old_cap)
{
  if(old) {
    cr_wipe(old, old_cap);
    free(old);
  }
}

int cr_buf_reserve(struct cr_buf *buf, size_t more)
{
  char *old;
  size_t old_cap;
  int rc = reserve(buf, more, &old, &old_cap);
  discard(old, old_cap);
  return rc;
}

void cr_buf_cut(struct cr_buf *buf, size_t len)
{
  if(len < buf->len) {
    cr_wipe(buf->data + len, buf->len - len);
    buf->len = len;
  }
}

int cr_buf_add(struct cr_buf *buf, const void *data, size_t len)
{
  char *old;
  size_t old_cap;

  if(buf->state == CR_BUF_FINE && len < buf->cap - buf->len && len) { /* cap <= max + 1: the limit holds */
    memmove(buf->data + buf->len, data, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return 0;
  }
  if(reserve(buf, len, &old, &old_cap) < 0) {
    return -1;
  }
  if(len) {
    memmove(buf->data + buf->len, data, len);
    buf->len += len;
  }
  buf->data[buf->len] = '\0';
  discard(old, old_cap);
  return 0;
}

int cr_buf_adds(struct cr_buf *buf, const char *text)
{
  return text ? cr_buf_add(buf, text, strlen(text)) : 0;
}

int cr_buf_addc(struct cr_buf *buf, char c)
{
  if(buf->state == CR_BUF_FINE && buf->len + 1 < buf->cap) {
    buf->data[buf->len++] = c;
    buf->data[buf->len] = '\0';
    return 0;
  }
  return cr_buf_add(buf, &c, 1);
}

int cr_buf_addf(struct cr_buf *buf, const char *format, ...)
{
  va_list args, again;
  char *old = NULL;
  size_t old_cap = 0;
  int len, rc = -1;

  if(buf->state != CR_BUF_FINE) {
    return -1;
  }
  va_start(args, format);
  va_copy(again, args);
  len = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if(len < 0) {
    buf->state = CR_BUF_NO_MEMORY; /* glibc's only reason with the formats used here */
  } else if(reserve(buf, (size_t)len, &old, &old_cap) == 0) {
    vsnprintf(buf->data + buf->len, (size_t)len + 1, format, again);
    buf->len += (size_t)len;
    rc = 0;
  }
  va_end(again);
  discard(old, old_cap);
  return rc;
}

const char *cr_buf_str(const struct cr_buf *buf)
{
  return buf->data ? buf->data : "";
}

int cr_buf_check(const struct cr_buf *buf, const char *what, struct cr_error *err)
{
  switch(buf->state) {
  case CR_BUF_FINE:
    return 0;
  case CR_BUF_TOO_LARGE:
    return cr_fail(err, CR_KIND_MEMORY, "TooLarge", "the %s is larger than the limit of %zu bytes", what, buf->max);
  case CR_BUF_NO_MEMORY:
    break;
  }
  return cr_fail_memory(err);
}
