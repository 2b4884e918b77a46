/* step_import.c - the new certificate into its store, once: found by fingerprint or name, else imported.
 *
 * Parameters and everything both stores share. The private key stays in the identity: calls put it into their
 * bodies themselves. Owns the candidates; texts point into step.params. */
#include "step_import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BASE_MAX 106                    /* of 128, less "-yyyymmdd-" and 12 digits of the fingerprint */
#define DEFAULT_PATH "/cloudfront/certrotate/"
#define BUSY_MAX 6                      /* 1, 2, 4, 8, 16, 16 seconds: ACM takes one import a second */
#define TAGS_MAX 48                     /* 50 less our two */

struct cr_import *cr_import_of(struct cr_step *step)
{
  return (struct cr_import *)step;
}

/* --- comparing ------------------------------------------------------------------------------------------ */

static bool same_certificate(const char *pem, size_t len, const char *fingerprint)
{
  struct cr_certificate certificate;
  struct cr_error err;
  if(cr_certificate_parse(pem, len, &certificate, &err)) {
    return false;
  }
  bool same = strcmp(certificate.fingerprint, fingerprint) == 0;
  cr_certificate_free(&certificate);
  return same;
}

/* The next PEM certificate at or after *at; moves *at behind it. */
static const char *next_block(const char **at, size_t *len)
{
  static const char begin[] = "-----BEGIN CERTIFICATE-----", end[] = "-----END CERTIFICATE-----";
  const char *from = strstr(*at, begin), *to = from ? strstr(from, end) : NULL;
  if(!to) {
    return NULL;
  }
  *at = to + sizeof end - 1;
  *len = (size_t)(*at - from);
  return from;
}

enum cr_compared cr_import_compare(const struct cr_identity *identity, const char *certificate, const char *chain)
{
  const char *at = certificate ? certificate : "";
  const char *leaf = cr_identity_leaf(identity)->fingerprint;
  size_t count = cr_identity_chain_count(identity), len = 0;
  const char *block = next_block(&at, &len);
  if(!block || !same_certificate(block, len, leaf)) {
    return CR_COMPARED_OTHER;
  }
  at = chain ? chain : "";
  for(size_t i = 0; i < count; i++) {
    block = next_block(&at, &len);
    if(!block || !same_certificate(block, len, cr_identity_chain_at(identity, i)->fingerprint)) {
      return CR_COMPARED_OTHER_CHAIN;
    }
  }
  return next_block(&at, &len) ? CR_COMPARED_OTHER_CHAIN : CR_COMPARED_SAME;
}

/* --- searching and losing ------------------------------------------------------------------------------- */

int64_t cr_import_pause(struct cr_import *import, const struct cr_moment *now)
{
  int64_t left = import->search_until - now->mono_ms;
  if(import->search_until == 0 || left <= 0) {
    return -1;
  }
  int64_t pause = cr_step_backoff(import->search_round++, 1000, 16000);
  return pause < left ? pause : left;
}

void cr_import_lost(struct cr_import *import, const struct cr_moment *now, const struct cr_error *failure)
{
  import->lost = *failure;
  import->step.machine.unsure = import->step.machine.unsure || failure->ambiguous;
  import->search_round = 0;
  import->search_until = now->mono_ms + import->patience_ms;
}

bool cr_import_busy(struct cr_import *import, const struct cr_moment *now, const struct cr_error *failure,
                    CR_STEP_THEN(then))
{
  if(!failure->retryable || failure->ambiguous || failure->kind != CR_KIND_SERVICE || import->busy_round >= BUSY_MAX) {
    return false;
  }
  import->tries--;   /* refused, so not one that may have been carried out */
  cr_step_wait(&import->step, now, cr_step_backoff(import->busy_round++, 1000, 16000), then);
  return true;
}

void cr_import_done(struct cr_import *import, const char *reference, const char *arn, bool adopted)
{
  struct cr_step *step = &import->step;
  struct cr_tree *tree = &step->machine.result;
  if(!reference || !*reference) {
    struct cr_error err;
    cr_fail(&err, CR_KIND_PARSE, "NoReference", "the store answered without naming the certificate");
    err.ambiguous = true;
    cr_step_fail(step, &err);
    return;
  }
  struct cr_node *root = cr_step_result(step);
  if(root) {
    cr_step_done(step, cr_add_text(tree, root, "reference", reference) &&
                         cr_add_text(tree, root, "store", import->store) &&
                         cr_add_text(tree, root, "name", import->name) && cr_add_text(tree, root, "arn", arn) &&
                         cr_add_bool(tree, root, "adopted", adopted) &&
                         cr_add_text(tree, root, "fingerprint", cr_identity_leaf(step->identity)->fingerprint));
  }
}

/* --- the name ------------------------------------------------------------------------------------------- */

/* <first name>-<yyyymmdd>-<fingerprint>: the same for the same certificate, another for every other one. Lower
 * case because IAM compares without regard to case. */
static void derive_name(struct cr_import *import)
{
  const struct cr_certificate *leaf = cr_identity_leaf(import->step.identity);
  const char *first = leaf->name_count > 0 ? leaf->names[0] : "certificate";
  char base[BASE_MAX + 1];
  size_t len = 0;
  time_t start = (time_t)leaf->not_before;
  struct tm day;
  for(; *first && len + 8 < sizeof base; first++) {
    char c = *first >= 'A' && *first <= 'Z' ? (char)(*first - 'A' + 'a') : *first;
    if(c == '*') {
      memcpy(base + len, "wildcard", 8);
      len += 8;
    } else if((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_') {
      base[len++] = c;
    } else {
      base[len++] = '-';
    }
  }
  base[len] = '\0';
  memset(&day, 0, sizeof day);
  gmtime_r(&start, &day);
  snprintf(import->name, sizeof import->name, "%.106s-%04u%02u%02u-%.12s", base,
           (unsigned)(day.tm_year + 1900) % 10000, (unsigned)(day.tm_mon + 1) % 100, (unsigned)day.tm_mday % 100,
           leaf->fingerprint);
}

/* --- parameters ----------------------------------------------------------------------------------------- */

static int check_name(const char *name, bool iam, struct cr_error *err)
{
  static const char legal[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+=,.@-";
  if(strlen(name) > CR_IMPORT_NAME_MAX || name[strspn(name, legal)] || (!iam && strchr(name, ','))) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter",
                   "import: 'name' may have up to %d letters, digits and _+=.@-%s", CR_IMPORT_NAME_MAX,
                   iam ? " and commas" : "");
  }
  return 0;
}

static int check_path(const char *path, struct cr_error *err)
{
  size_t len = strlen(path);
  for(size_t i = 0; i < len; i++) {
    if(path[i] <= 0x20 || path[i] >= 0x7F) {
      len = 0;
    }
  }
  if(len > 512 || strncmp(path, "/cloudfront/", 12) != 0 || path[len - 1] != '/') {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter",
                   "import: 'path' must begin with /cloudfront/ and end with /, or CloudFront cannot use it");
  }
  return 0;
}

static int check_tags(const struct cr_node *tags, struct cr_error *err)
{
  if(tags && tags->count > TAGS_MAX) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "import: at most %d tags", TAGS_MAX);
  }
  for(const struct cr_node *tag = tags ? tags->first : NULL; tag; tag = tag->next) {
    if(!tag->name || !*tag->name || strlen(tag->name) > 128 || tag->len > 256 ||
       strncmp(tag->name, "aws:", 4) == 0 || cr_streq(tag->name, "certrotate:fingerprint") ||
       cr_streq(tag->name, "certrotate:name")) {
      return cr_fail(err, CR_KIND_INPUT, "InvalidParameter",
                     "import: tag '%.128s' is too long, or its name is kept for AWS or certrotate",
                     tag->name ? tag->name : "");
    }
  }
  return 0;
}

static int init(struct cr_step *step, const struct cr_node *params, struct cr_error *err)
{
  struct cr_import *import = cr_import_of(step);
  const char *name = cr_get_text(params, "name"), *path = cr_get_text(params, "path");
  bool iam = cr_streq(cr_get_text(params, "store"), "iam");
  if(!iam && !cr_streq(cr_get_text(params, "store"), "acm")) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "import: 'store' must be \"acm\" or \"iam\"");
  }
  import->store = iam ? "iam" : "acm";
  import->path = path && *path ? path : DEFAULT_PATH;
  import->attempted = cr_get_bool(params, "attempted", false);
  import->patience_ms = cr_step_ms(params, "patience", 30);
  if(name && *name) {
    if(check_name(name, iam, err)) {
      return -1;
    }
    snprintf(import->name, sizeof import->name, "%s", name);
  } else {
    derive_name(import);
  }
  if(check_path(import->path, err) || check_tags(cr_get(params, "tags"), err)) {
    return -1;
  }
  return 0;
}

static void begin(struct cr_step *step, const struct cr_moment *now)
{
  if(cr_streq(cr_import_of(step)->store, "iam")) {
    cr_import_iam(step, now);
  } else {
    cr_import_acm(step, now);
  }
}

static void release(struct cr_step *step)
{
  struct cr_import *import = cr_import_of(step);
  for(size_t i = 0; i < import->count; i++) {
    free(import->candidates[i].arn);
  }
  free(import->candidates);
  free(import->token);
}

static const struct cr_step_param params[] = {
  { "store", CR_STEP_TEXT, true },
  { "name", CR_STEP_TEXT, false },
  { "path", CR_STEP_TEXT, false },
  { "tags", CR_STEP_MAP, false },
  { "attempted", CR_STEP_BOOL, false },
  { "patience", CR_STEP_NUMBER, false },
  { NULL, CR_STEP_TEXT, false },
};

const struct cr_step_kind cr_step_import = {
  .name = "import",
  .size = sizeof(struct cr_import),
  .account = true,
  .identity = true,
  .params = params,
  .init = init,
  .begin = begin,
  .release = release,
};
