/* base.c - errors as values, wiping, and text helpers that do not depend on the locale.
 *
 * Includes nothing but libc. What cr_strdup and cr_memdup return belongs to the caller. */
#include "base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Cuts an incomplete UTF-8 sequence off the end, which truncation may leave behind. */
static void trim_utf8(char *text)
{
  size_t len = strlen(text), back = 0;
  while(back < 4 && back < len) {
    unsigned char c = (unsigned char)text[len - 1 - back];
    if((c & 0xC0) != 0x80) {
      size_t want = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
      if(want > back + 1) {
        text[len - 1 - back] = '\0';
      }
      return;
    }
    back++;
  }
}

int cr_fail(struct cr_error *err, enum cr_kind kind, const char *code, const char *format, ...)
{
  struct cr_error fresh;
  va_list args;
  int written;

  if(!err) {
    return -1;
  }
  /* Made aside: the arguments may point into *err, when one error explains another. */
  memset(&fresh, 0, sizeof fresh);
  fresh.kind = kind;
  snprintf(fresh.code, sizeof fresh.code, "%s", code ? code : "");
  va_start(args, format);
  written = vsnprintf(fresh.message, sizeof fresh.message, format, args);
  va_end(args);
  if(written < 0) {
    snprintf(fresh.message, sizeof fresh.message, "%s", fresh.code);
  } else if((size_t)written >= sizeof fresh.message) {
    trim_utf8(fresh.message);
  }
  for(char *c = fresh.message; *c; c++) {
    if((unsigned char)*c < 0x20 || *c == 0x7F) {
      *c = ' ';
    }
  }
  *err = fresh;
  return -1;
}

int cr_fail_memory(struct cr_error *err)
{
  return cr_fail(err, CR_KIND_MEMORY, "OutOfMemory", "out of memory");
}

void cr_error_clear(struct cr_error *err)
{
  if(err) {
    memset(err, 0, sizeof *err);
  }
}

const char *cr_kind_name(enum cr_kind kind)
{
  switch(kind) {
  case CR_KIND_NONE: return "none";
  case CR_KIND_INPUT: return "input";
  case CR_KIND_CREDENTIALS: return "credentials";
  case CR_KIND_TRANSPORT: return "transport";
  case CR_KIND_TIMEOUT: return "timeout";
  case CR_KIND_SERVICE: return "service";
  case CR_KIND_PARSE: return "parse";
  case CR_KIND_CONFLICT: return "conflict";
  case CR_KIND_POLICY: return "policy";
  case CR_KIND_CANCELLED: return "cancelled";
  case CR_KIND_MEMORY: return "memory";
  }
  return "unknown";
}

void cr_wipe(void *data, size_t len)
{
  if(data && len) {
    explicit_bzero(data, len);
  }
}

char *cr_memdup(const void *data, size_t len)
{
  char *copy = len < SIZE_MAX ? malloc(len + 1) : NULL;
  if(copy) {
    if(len) {
      memcpy(copy, data, len);
    }
    copy[len] = '\0';
  }
  return copy;
}

char *cr_strdup(const char *text)
{
  return text ? cr_memdup(text, strlen(text)) : NULL;
}

static int lower(int c)
{
  return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

int cr_strcasecmp(const char *a, const char *b)
{
  const unsigned char *x = (const unsigned char *)a, *y = (const unsigned char *)b;
  while(*x && lower(*x) == lower(*y)) {
    x++;
    y++;
  }
  return lower(*x) - lower(*y);
}

bool cr_streq(const char *a, const char *b)
{
  return a && b && strcmp(a, b) == 0;
}
