/* step_import_acm.c - import into ACM, which has no client token: every import makes a new certificate.
 *
 * So ACM is searched first: listed by what a summary shows, then compared byte for byte (fingerprints of leaf and
 * chain). After a lost answer the search is repeated until it would have shown up, before importing again. */
#include "step_import.h"

#include <stdlib.h>
#include <string.h>

#define PAGES_MAX 10000
#define SAME_SECONDS 1              /* NotAfter travels as a fraction of seconds */

static void search(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                   const struct cr_error *failure);
static void fetch_next(struct cr_import *import, const struct cr_moment *now);

/* --- importing ------------------------------------------------------------------------------------------ */

static void imported(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                     const struct cr_error *failure)
{
  struct cr_import *import = cr_import_of(step);
  const char *arn = cr_get_text(answer, "CertificateArn");
  if(!failure) {
    cr_import_done(import, arn, arn, false);
  } else if(failure->ambiguous) {
    cr_import_lost(import, now, failure);
    search(step, now, NULL, NULL);
  } else if(!cr_import_busy(import, now, failure, search)) {
    cr_step_fail_cause(step, failure, NULL);
  }
}

static bool add_tag(struct cr_tree *tree, struct cr_node *list, const char *key, const char *value)
{
  struct cr_node *tag = cr_node_add(tree, list, NULL, CR_NODE_MAP);
  return tag && cr_add_text(tree, tag, "Key", key) && cr_add_text(tree, tag, "Value", value);
}

static void send_import(struct cr_import *import)
{
  struct cr_step *step = &import->step;
  struct cr_tree *tree = &step->call_params;
  struct cr_node *params = cr_step_params(step);
  struct cr_node *list = params ? cr_node_add(tree, params, "Tags", CR_NODE_LIST) : NULL;
  const struct cr_node *given = cr_get(step->params.root, "tags");
  bool fine = list && add_tag(tree, list, "certrotate:fingerprint", cr_identity_leaf(step->identity)->fingerprint) &&
              add_tag(tree, list, "certrotate:name", import->name);
  for(const struct cr_node *tag = given ? given->first : NULL; fine && tag; tag = tag->next) {
    fine = add_tag(tree, list, tag->name, tag->text);
  }
  if(!fine) {
    cr_step_fail_memory(step);
    return;
  }
  import->tries++;
  cr_step_send(step, imported, "acm", "ImportCertificate", NULL, true);
}

/* --- choosing ------------------------------------------------------------------------------------------- */

/* Of several that hold the same certificates: ours by tag, then the oldest, then by ARN; the same one every time. */
static bool better(const struct cr_candidate *a, const struct cr_candidate *b)
{
  if(a->tagged != b->tagged) {
    return a->tagged;
  }
  if(a->created != b->created) {
    return a->created < b->created;
  }
  return strcmp(a->arn, b->arn) < 0;
}

static void choose(struct cr_import *import)
{
  const struct cr_candidate *best = NULL;
  for(size_t i = 0; i < import->count; i++) {
    const struct cr_candidate *candidate = &import->candidates[i];
    if(candidate->same && (!best || better(candidate, best))) {
      best = candidate;
    }
  }
  cr_import_done(import, best->arn, best->arn, true);
}

static void tag_next(struct cr_import *import);

static void have_tags(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                      const struct cr_error *failure)
{
  struct cr_import *import = cr_import_of(step);
  struct cr_candidate *candidate = &import->candidates[import->cursor++];
  const struct cr_node *tags = cr_get(answer, "Tags");
  (void)now, (void)failure;   /* unreadable tags only mean that age decides */
  for(const struct cr_node *tag = tags ? tags->first : NULL; tag; tag = tag->next) {
    candidate->tagged = candidate->tagged ||
                        (cr_streq(cr_get_text(tag, "Key"), "certrotate:fingerprint") &&
                         cr_streq(cr_get_text(tag, "Value"), cr_identity_leaf(step->identity)->fingerprint));
  }
  tag_next(import);
}

static void tag_next(struct cr_import *import)
{
  while(import->cursor < import->count && !import->candidates[import->cursor].same) {
    import->cursor++;
  }
  if(import->cursor == import->count) {
    choose(import);
    return;
  }
  cr_step_call(&import->step, have_tags, "acm", "ListTagsForCertificate", "CertificateArn",
               import->candidates[import->cursor].arn, (char *)NULL);
}

/* Every candidate has been compared. */
static void compared_all(struct cr_import *import, const struct cr_moment *now)
{
  size_t same = 0;
  for(size_t i = 0; i < import->count; i++) {
    same += import->candidates[i].same;
  }
  if(same == 1) {
    choose(import);
    return;
  }
  if(same > 1) {
    import->cursor = 0;
    tag_next(import);
    return;
  }
  int64_t pause = cr_import_pause(import, now);
  if(pause >= 0) {
    cr_step_wait(&import->step, now, pause, search);
  } else if(import->tries >= CR_IMPORT_TRIES) {
    cr_step_fail_cause(&import->step, &import->lost, NULL);
  } else {
    send_import(import);
  }
}

/* --- searching ------------------------------------------------------------------------------------------ */

static void have_certificate(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                             const struct cr_error *failure)
{
  struct cr_import *import = cr_import_of(step);
  struct cr_candidate *candidate = &import->candidates[import->cursor++];
  if(failure && !cr_step_code(failure, "ResourceNotFound")) {
    cr_step_fail_cause(step, failure, NULL);   /* it might be ours: never import on a guess */
    return;
  }
  candidate->same = !failure && cr_import_compare(step->identity, cr_get_text(answer, "Certificate"),
                                                  cr_get_text(answer, "CertificateChain")) == CR_COMPARED_SAME;
  fetch_next(import, now);
}

static void fetch_next(struct cr_import *import, const struct cr_moment *now)
{
  if(import->cursor == import->count) {
    compared_all(import, now);
    return;
  }
  cr_step_call(&import->step, have_certificate, "acm", "GetCertificate", "CertificateArn",
               import->candidates[import->cursor].arn, (char *)NULL);
}

/* "RSA-2048" has been seen for RSA_2048. */
static bool same_algorithm(const char *a, const char *b)
{
  for(; *a && *b; a++, b++) {
    if((*a == '-' ? '_' : *a) != (*b == '-' ? '_' : *b)) {
      return false;
    }
  }
  return *a == *b;
}

/* What a summary shows must fit; what it does not show cannot rule it out. */
static bool plausible(const struct cr_import *import, const struct cr_node *summary)
{
  const struct cr_certificate *leaf = cr_identity_leaf(import->step.identity);
  const char *type = cr_get_text(summary, "Type"), *algorithm = cr_get_text(summary, "KeyAlgorithm");
  bool known = strncmp(leaf->key_type, "RSA_", 4) == 0 || strncmp(leaf->key_type, "EC_", 3) == 0;
  int64_t not_after = cr_get_int(summary, "NotAfter", leaf->not_after);
  return (!type || strcmp(type, "IMPORTED") == 0) &&
         (!algorithm || !known || same_algorithm(algorithm, leaf->key_type)) &&
         not_after >= leaf->not_after - SAME_SECONDS && not_after <= leaf->not_after + SAME_SECONDS;
}

/* 0, or -1 without memory. */
static int add_candidate(struct cr_import *import, const struct cr_node *summary)
{
  const char *arn = cr_get_text(summary, "CertificateArn");
  for(size_t i = 0; i < import->count; i++) {
    if(strcmp(import->candidates[i].arn, arn) == 0) {
      return 0;   /* pages may overlap */
    }
  }
  if(import->count == import->capacity) {
    size_t capacity = import->capacity ? import->capacity * 2 : 8;
    struct cr_candidate *grown = realloc(import->candidates, capacity * sizeof *grown);
    if(!grown) {
      return -1;
    }
    import->candidates = grown;
    import->capacity = capacity;
  }
  struct cr_candidate *candidate = &import->candidates[import->count];
  memset(candidate, 0, sizeof *candidate);
  candidate->created = cr_get_int(summary, "CreatedAt", cr_get_int(summary, "ImportedAt", 0));
  candidate->arn = cr_strdup(arn);
  if(!candidate->arn) {
    return -1;
  }
  import->count++;
  return 0;
}

static void list_page(struct cr_import *import);

/* Anything else says nothing of what is there. */
static bool is_listing(const struct cr_node *summaries)
{
  const struct cr_node *summary = summaries && summaries->type == CR_NODE_LIST ? summaries->first : NULL;
  while(summary && cr_get_text(summary, "CertificateArn")) {
    summary = summary->next;
  }
  return summaries && summaries->type == CR_NODE_LIST && !summary;
}

static void have_page(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                      const struct cr_error *failure)
{
  struct cr_import *import = cr_import_of(step);
  const struct cr_node *summaries = cr_get(answer, "CertificateSummaryList");
  const char *token = cr_get_text(answer, "NextToken");
  if(failure) {
    cr_step_fail_cause(step, failure, NULL);
    return;
  }
  if(!is_listing(summaries)) {
    struct cr_error err;
    cr_fail(&err, CR_KIND_PARSE, "NoListing",
            "ACM's answer holds no list of certificates: whether this one is there already is not known");
    cr_step_fail(step, &err);
    return;
  }
  for(const struct cr_node *summary = summaries->first; summary; summary = summary->next) {
    if(plausible(import, summary) && add_candidate(import, summary)) {
      cr_step_fail_memory(step);
      return;
    }
  }
  if(token && *token) {
    char *copy = cr_strdup(token);
    if(!copy || cr_streq(token, import->token) || ++import->pages >= PAGES_MAX) {
      struct cr_error err;
      free(copy);
      cr_fail(&err, CR_KIND_PARSE, "EndlessListing", "ACM's listing of certificates does not end");
      cr_step_fail(step, &err);
      return;
    }
    free(import->token);
    import->token = copy;
    list_page(import);
    return;
  }
  import->cursor = 0;
  fetch_next(import, now);
}

static void list_page(struct cr_import *import)
{
  struct cr_step *step = &import->step;
  struct cr_node *params = cr_step_params(step);
  if(!params || (import->token && !cr_add_text(&step->call_params, params, "NextToken", import->token))) {
    cr_step_fail_memory(step);
    return;
  }
  cr_step_send(step, have_page, "acm", "ListCertificates", NULL, false);
}

static void search(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                   const struct cr_error *failure)
{
  struct cr_import *import = cr_import_of(step);
  (void)now, (void)answer, (void)failure;
  for(size_t i = 0; i < import->count; i++) {
    free(import->candidates[i].arn);
  }
  import->count = 0;
  import->cursor = 0;
  import->pages = 0;
  free(import->token);
  import->token = NULL;
  list_page(import);
}

void cr_import_acm(struct cr_step *step, const struct cr_moment *now)
{
  struct cr_import *import = cr_import_of(step);
  if(import->attempted) {
    import->search_until = now->mono_ms + import->patience_ms;
  }
  search(step, now, NULL, NULL);
}
