/* digest.h - SHA-1 where somebody else's file format asks for it (the AWS CLI's token cache), nowhere else. */
#ifndef CR_DIGEST_H
#define CR_DIGEST_H

#include "base.h"

#define CR_SHA1_HEX 40

/* 0 or -1 (OpenSSL refuses it). */
int cr_sha1_hex(const void *data, size_t len, char out[CR_SHA1_HEX + 1]);

#endif
