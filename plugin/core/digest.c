/* digest.c - over OpenSSL's one-shot digest (see digest.h). */
#include "digest.h"

#include <openssl/err.h>
#include <openssl/evp.h>

int cr_sha1_hex(const void *data, size_t len, char out[CR_SHA1_HEX + 1])
{
  static const char digits[] = "0123456789abcdef";
  unsigned char hash[CR_SHA1_HEX / 2];

  if(EVP_Digest(data, len, hash, NULL, EVP_sha1(), NULL) != 1) {
    ERR_clear_error();
    return -1;
  }
  for(size_t i = 0; i < sizeof hash; i++) {
    out[2 * i] = digits[hash[i] >> 4];
    out[2 * i + 1] = digits[hash[i] & 15];
  }
  out[CR_SHA1_HEX] = '\0';
  return 0;
}
