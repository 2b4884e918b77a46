/* pem.h - the blocks of a PEM text, found and written without leaving a copy behind.
 *
 * OpenSSL's own reader keeps pieces of what it decodes in memory that it frees unwiped; private keys pass
 * through here instead. Nothing here touches OpenSSL's error queue. */
#ifndef CR_PEM_H
#define CR_PEM_H

#include "buffer.h"

/* One block, pointing into the text that was given. */
struct cr_pem_block {
  const char *label; size_t label_len;       /* "CERTIFICATE" */
  const char *headers; size_t headers_len;   /* "Proc-Type: ..." lines; empty in most blocks */
  const char *body; size_t body_len;         /* base64 with its line ends */
  size_t number;                             /* 1 for the first block of the text */
};

struct cr_pem_reader {
  const char *at, *end;
  size_t number;
};

void cr_pem_start(struct cr_pem_reader *reader, const char *text, size_t len);
/* 1: *block is the next one. 0: no more. -1: a block begins and does not end, or ends with another label. */
int cr_pem_next(struct cr_pem_reader *reader, struct cr_pem_block *block);
bool cr_pem_is(const struct cr_pem_block *block, const char *label);
/* The bytes of a block, in a buffer that was initialised. -1: not base64 (or the buffer failed). */
int cr_pem_decode(const struct cr_pem_block *block, struct cr_buf *der);
/* Appends a whole block. -1 when the buffer has failed. */
int cr_pem_encode(const char *label, const void *der, size_t len, struct cr_buf *out);

#endif
