/* account.c - credentials and endpoints of one account, wiped when the last reference goes.
 *
 * Everything here is a copy owned by the account. Checks are made when a value comes in, so that
 * a stray line end in a credentials file is reported there and not as a refused signature. */
#include "account.h"
#include "uri.h"

#include <stdlib.h>
#include <string.h>

/* Standard mode of the SDKs: aws-reference section 8.1. */
#define RETRY_TOKENS 500
#define MAX_ATTEMPTS 3

static const char *const service_names[CR_SERVICE_COUNT] = {
  "acm", "iam", "cloudfront", "sts", "support", "servicequotas", "s3"
};

int cr_service_by_name(const char *name)
{
  for(int i = 0; i < CR_SERVICE_COUNT; i++) {
    if(cr_streq(name, service_names[i])) {
      return i;
    }
  }
  return -1;
}

const char *cr_service_name(enum cr_service service)
{
  return (unsigned)service < CR_SERVICE_COUNT ? service_names[service] : "unknown";
}

static void free_secret(char **text)
{
  if(*text) {
    cr_wipe(*text, strlen(*text));
    free(*text);
    *text = NULL;
  }
}

struct cr_account *cr_account_new(struct cr_error *err)
{
  struct cr_account *account = calloc(1, sizeof *account);
  if(!account) {
    cr_fail_memory(err);
    return NULL;
  }
  account->keys = cr_signing_keys_new();
  if(!account->keys) {
    free(account);
    cr_fail_memory(err);
    return NULL;
  }
  account->references = 1;
  account->retry_tokens = RETRY_TOKENS;
  account->max_attempts = MAX_ATTEMPTS;
  for(int i = 0; i < CR_SERVICE_COUNT; i++) {
    cr_pace_init(&account->paces[i][0]);
    cr_pace_init(&account->paces[i][1]);
  }
  return account;
}

struct cr_account *cr_account_ref(struct cr_account *account)
{
  if(account) {
    account->references++;
  }
  return account;
}

void cr_account_unref(struct cr_account *account)
{
  if(!account || --account->references > 0) {
    return;
  }
  free_secret(&account->access_key_id);
  free_secret(&account->secret_access_key);
  free_secret(&account->session_token);
  for(int i = 0; i < CR_SERVICE_COUNT; i++) {
    free(account->endpoints[i].url);
    free(account->endpoints[i].region);
  }
  cr_signing_keys_free(account->keys);
  cr_wipe(account, sizeof *account);
  free(account);
}

static bool is_visible(const char *text)
{
  for(; *text; text++) {
    if((unsigned char)*text <= 0x20 || (unsigned char)*text >= 0x7F) {
      return false;
    }
  }
  return true;
}

/* Copies into *to; an absent or empty text becomes NULL. */
static int copy_credential(char **to, const char *text, const char *what, struct cr_error *err)
{
  if(!text || !*text) {
    return 0;
  }
  if(!is_visible(text)) {
    return cr_fail(err, CR_KIND_CREDENTIALS, "InvalidCredentials",
                   "the %s contains a blank, a line end or another character no such value has: "
                   "check where it was copied from",
                   what);
  }
  *to = cr_strdup(text);
  return *to ? 0 : cr_fail_memory(err);
}

int cr_account_set_credentials(struct cr_account *account, const char *access_key_id, const char *secret_access_key,
                               const char *session_token, int64_t expires_at, struct cr_error *err)
{
  char *id = NULL, *secret = NULL, *token = NULL;

  if(access_key_id) {
    if(copy_credential(&id, access_key_id, "access key id", err) < 0 ||
       copy_credential(&secret, secret_access_key, "secret access key", err) < 0 ||
       copy_credential(&token, session_token, "session token", err) < 0) {
      goto fail;
    }
    if(!id || !secret) {
      cr_fail(err, CR_KIND_CREDENTIALS, "IncompleteCredentials", "the %s is empty: give both halves of the key pair",
              id ? "secret access key" : "access key id");
      goto fail;
    }
  }
  free_secret(&account->access_key_id);
  free_secret(&account->secret_access_key);
  free_secret(&account->session_token);
  cr_signing_keys_forget(account->keys);
  account->access_key_id = id;
  account->secret_access_key = secret;
  account->session_token = token;
  account->expires_at = id ? expires_at : 0;
  return 0;

fail:
  free_secret(&id);
  free_secret(&secret);
  free_secret(&token);
  return -1;
}

/* Expiry is told in AWS's time. */
static int64_t aws_seconds(const struct cr_account *account, const struct cr_moment *now)
{
  return (now->unix_ms + account->clock_offset_ms) / 1000;
}

bool cr_account_ready(struct cr_account *account, const struct cr_moment *now)
{
  return cr_renewal_check(&account->renewal, !account->access_key_id, aws_seconds(account, now));
}

bool cr_account_usable(const struct cr_account *account, const struct cr_moment *now)
{
  return cr_renewal_usable(&account->renewal, !account->access_key_id, aws_seconds(account, now));
}

/* The URL as calls build on it: host in lower case, as it is signed and must be sent; no trailing slash. */
static char *normal_url(const char *text, struct cr_error *err)
{
  struct cr_url url;
  size_t len;
  char *copy;

  if(cr_url_parse(text, &url, err) < 0) {
    return NULL;
  }
  if(url.query_len) {
    cr_fail(err, CR_KIND_INPUT, "InvalidEndpoint", "the endpoint \"%.200s\" must not have a query", text);
    return NULL;
  }
  len = (size_t)(url.path - text) + url.path_len;
  while(len > (size_t)(url.path - text) && text[len - 1] == '/') {
    len--;
  }
  copy = cr_memdup(text, len);
  if(!copy) {
    cr_fail_memory(err);
    return NULL;
  }
  for(char *c = copy; c < copy + (url.path - text); c++) {
    if(*c >= 'A' && *c <= 'Z') {
      *c = (char)(*c + ('a' - 'A'));
    }
  }
  return copy;
}

int cr_account_set_endpoint(struct cr_account *account, enum cr_service service, const char *url, const char *region,
                            struct cr_error *err)
{
  struct cr_endpoint *endpoint;
  char *new_url = NULL, *new_region = NULL;

  if((unsigned)service >= CR_SERVICE_COUNT) {
    return cr_fail(err, CR_KIND_INPUT, "UnknownService", "there is no service number %d", (int)service);
  }
  if(!region || !*region || !is_visible(region) || strchr(region, '/')) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidRegion", "the signing region of %s is missing or not a region's name",
                   cr_service_name(service));
  }
  if(!url || !*url) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidEndpoint", "the endpoint of %s is missing", cr_service_name(service));
  }
  new_url = normal_url(url, err);
  if(!new_url) {
    return -1;
  }
  new_region = cr_strdup(region);
  if(!new_region) {
    free(new_url);
    return cr_fail_memory(err);
  }
  endpoint = &account->endpoints[service];
  free(endpoint->url);
  free(endpoint->region);
  endpoint->url = new_url;
  endpoint->region = new_region;
  return 0;
}
