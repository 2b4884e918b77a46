/* bench_sign.c - what signing a 4 KiB PUT costs beside the hashing it cannot avoid.
 *
 * The floor is SHA-256 of the body, SHA-256 of the canonical request and one HMAC of the string to sign, with the
 * digest fetched and every context made beforehand. Both are measured in turns within one run, and the fastest round
 * of each counts: the machine may be busy with something else. */
#include "sigv4.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BODY 4096
#define ROUNDS 60
#define EACH 2000

static double now(void)
{
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

struct floor_state {
  EVP_MD *sha256;
  EVP_MD_CTX *work, *inner, *outer;
};

static int hash(struct floor_state *state, const void *data, size_t len, unsigned char out[32])
{
  return EVP_DigestInit_ex2(state->work, state->sha256, NULL) == 1 && EVP_DigestUpdate(state->work, data, len) == 1 &&
         EVP_DigestFinal_ex(state->work, out, NULL) == 1;
}

static int floor_once(struct floor_state *state, const char *body, const struct cr_signature *out,
                      unsigned char digest[32])
{
  return hash(state, body, BODY, digest) && hash(state, out->canonical_request.data, out->canonical_request.len, digest) &&
         EVP_MD_CTX_copy_ex(state->work, state->inner) == 1 &&
         EVP_DigestUpdate(state->work, out->string_to_sign.data, out->string_to_sign.len) == 1 &&
         EVP_DigestFinal_ex(state->work, digest, NULL) == 1 && EVP_MD_CTX_copy_ex(state->work, state->outer) == 1 &&
         EVP_DigestUpdate(state->work, digest, 32) == 1 && EVP_DigestFinal_ex(state->work, digest, NULL) == 1;
}

static int floor_init(struct floor_state *state)
{
  static const unsigned char key[64] = { 0x36 };
  state->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
  state->work = EVP_MD_CTX_new();
  state->inner = EVP_MD_CTX_new();
  state->outer = EVP_MD_CTX_new();
  return state->sha256 && state->work && state->inner && state->outer &&
         EVP_DigestInit_ex2(state->inner, state->sha256, NULL) == 1 && EVP_DigestUpdate(state->inner, key, 64) == 1 &&
         EVP_DigestInit_ex2(state->outer, state->sha256, NULL) == 1 && EVP_DigestUpdate(state->outer, key, 64) == 1;
}

int main(void)
{
  static char body[BODY];
  struct cr_header headers[] = { { "If-Match", "E2QWRUHAPOMQZL", 14 }, { "Content-Type", "text/xml", 8 } };
  struct cr_sign_request request;
  struct cr_signature out;
  struct cr_error err;
  struct floor_state state;
  unsigned char digest[32];
  double sign = 1e9, least = 1e9;

  memset(body, 'x', sizeof body);
  memset(&request, 0, sizeof request);
  request.method = "PUT";
  request.url = "https://cloudfront.amazonaws.com/2020-05-31/distribution/EDFDVBD6EXAMPLE/config";
  request.headers = headers;
  request.header_count = sizeof headers / sizeof headers[0];
  request.body = body;
  request.body_len = sizeof body;
  request.service = "cloudfront";
  request.region = "us-east-1";
  request.access_key_id = "AKIDEXAMPLE";
  request.secret_access_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
  request.time = 1768478400;
  request.normalize_path = request.double_encode = true;
  request.keys = cr_signing_keys_new();
  cr_signature_init(&out);
  if(!request.keys || !floor_init(&state) || cr_sigv4_sign(&request, &out, &err) < 0) {
    fprintf(stderr, "bench_sign: cannot begin\n");
    return 1;
  }
  for(int round = 0; round < ROUNDS; round++) {
    double begin = now(), middle, end;
    for(int i = 0; i < EACH; i++) {
      if(cr_sigv4_sign(&request, &out, &err) < 0) {
        fprintf(stderr, "bench_sign: %s\n", err.message);
        return 1;
      }
    }
    middle = now();
    for(int i = 0; i < EACH; i++) {
      if(!floor_once(&state, body, &out, digest)) {
        fprintf(stderr, "bench_sign: no SHA-256\n");
        return 1;
      }
    }
    end = now();
    sign = middle - begin < sign ? middle - begin : sign;
    least = end - middle < least ? end - middle : least;
  }
  printf("sign: %.2f us, floor: %.2f us, ratio %.2f\n", sign / EACH, least / EACH, sign / least);
  cr_signature_free(&out);
  cr_signing_keys_free(request.keys);
  EVP_MD_CTX_free(state.work);
  EVP_MD_CTX_free(state.inner);
  EVP_MD_CTX_free(state.outer);
  EVP_MD_free(state.sha256);
  return 0;
}
