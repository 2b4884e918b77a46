/* step_settle.c - waits until every changed holder is Deployed, and notices when somebody else changes one.
 *
 * Looks holder by holder, or at whole pages of the listing for a large fleet. A listing may lag behind: what it says
 * is believed only when it shows the new certificate Deployed; anything else is asked of the holder itself.
 * Owns the table of holders; ids point into step.params. */
#include "step_private.h"
#include "tenant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGES_MAX 100000

struct holder {
  const char *id;
  char *reference;       /* owned; NULL until seen */
  char status[24];       /* as last seen: "InProgress", "Deployed", "NoSuchDistribution"; "" when never */
  bool final;            /* Deployed, foreign or gone: not looked at any more */
  bool foreign;
  bool ask;              /* to be asked itself in this round */
  bool listed;           /* seen in this round's listing */
};

struct settle {
  struct cr_step step;
  const char *to;        /* NULL: any certificate */
  bool listing;
  int64_t poll_ms, timeout_ms;
  int64_t deadline;      /* monotonic */
  struct holder *holders;
  struct holder **by_id; /* the same, sorted */
  size_t count, cursor;
  char *marker;          /* of the page asked for; NULL: the first */
  int pages;
};

static struct settle *settle_of(struct cr_step *step)
{
  return (struct settle *)step;
}

static void ask_next(struct settle *settle, const struct cr_moment *now);
static void look(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                 const struct cr_error *failure);

/* --- the end of a round --------------------------------------------------------------------------------- */

static bool all_final(const struct settle *settle)
{
  for(size_t i = 0; i < settle->count; i++) {
    if(!settle->holders[i].final) {
      return false;
    }
  }
  return true;
}

static void finish(struct settle *settle, bool settled)
{
  struct cr_tree *tree = &settle->step.machine.result;
  struct cr_node *root = cr_step_result(&settle->step);
  if(!root) {
    return;
  }
  struct cr_node *list, *foreign;
  bool fine = cr_add_bool(tree, root, "settled", settled) != NULL;
  list = cr_node_add(tree, root, "holders", CR_NODE_LIST);
  foreign = cr_node_add(tree, root, "foreign", CR_NODE_LIST);
  fine = fine && list && foreign;
  for(size_t i = 0; fine && i < settle->count; i++) {
    const struct holder *holder = &settle->holders[i];
    struct cr_node *item = cr_node_add(tree, list, NULL, CR_NODE_MAP);
    fine = item && cr_add_text(tree, item, "Id", holder->id) && cr_add_text(tree, item, "Status", holder->status) &&
           cr_add_text(tree, item, "reference", holder->reference) &&
           (!holder->foreign || cr_add_text(tree, foreign, NULL, holder->id));
  }
  cr_step_done(&settle->step, fine);
}

static void end_round(struct settle *settle, const struct cr_moment *now)
{
  int64_t left = settle->deadline - now->mono_ms;
  if(all_final(settle)) {
    finish(settle, true);
  } else if(left <= 0) {
    finish(settle, false);
  } else {
    cr_step_wait(&settle->step, now, settle->poll_ms < left ? settle->poll_ms : left, look);
  }
}

/* --- what was seen of one holder ------------------------------------------------------------------------ */

/* What was said of it. 0, or -1 without memory. */
static int note(struct settle *settle, struct holder *holder, const char *status, const char *reference)
{
  if(!cr_streq(holder->reference, reference)) {
    char *copy = cr_strdup(reference);
    if(!copy) {
      return -1;
    }
    free(holder->reference);
    holder->reference = copy;
  }
  snprintf(holder->status, sizeof holder->status, "%s", status ? status : "");
  holder->foreign = settle->to && strcmp(reference, settle->to) != 0;
  holder->final = holder->foreign || strcmp(holder->status, "Deployed") == 0;
  return 0;
}

static void asked(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                  const struct cr_error *failure)
{
  struct settle *settle = settle_of(step);
  struct holder *holder = &settle->holders[settle->cursor++];
  bool tenant = cr_is_tenant(holder->id);
  const char *gone = tenant ? "EntityNotFound" : "NoSuchDistribution";
  holder->ask = false;
  if(failure && cr_step_code(failure, gone)) {
    /* Deleted meanwhile: nothing left to wait for, and certainly not the certificate we gave it. */
    snprintf(holder->status, sizeof holder->status, "%s", gone);
    free(holder->reference);
    holder->reference = NULL;
    holder->foreign = settle->to != NULL;
    holder->final = true;
  } else if(failure && !failure->retryable) {
    cr_step_fail_cause(step, failure, holder->id);
    return;
  } else if(!failure) {
    const struct cr_node *found = cr_get(answer, tenant ? "DistributionTenant" : "Distribution");
    const char *status = cr_get_text(found, "Status");
    const char *reference = tenant ? cr_get_text(cr_get_path(found, "Customizations/Certificate"), "Arn")
                                   : cr_step_reference(cr_get_path(found, "DistributionConfig/ViewerCertificate"));
    /* A tenant's Status is optional; one that has none cannot be waited for, what viewers are served tells the rest. */
    status = tenant && found && !status ? "Deployed" : status;
    if(note(settle, holder, status, reference ? reference : "")) {
      cr_step_fail_memory(step);
      return;
    }
  }
  ask_next(settle, now);
}

/* Of a whole configuration only the certificate is looked at. */
static const char *const certificate_only[] = { "ViewerCertificate", NULL };
static const struct cr_xml_view certificate_view = { .under = "DistributionConfig", .names = certificate_only };

static void ask_next(struct settle *settle, const struct cr_moment *now)
{
  struct cr_step *step = &settle->step;
  struct cr_node *params;

  while(settle->cursor < settle->count && !settle->holders[settle->cursor].ask) {
    settle->cursor++;
  }
  if(settle->cursor == settle->count) {
    end_round(settle, now);
    return;
  }
  const char *id = settle->holders[settle->cursor].id;
  bool tenant = cr_is_tenant(id);
  params = cr_step_params(step);
  if(!params || !cr_add_text(&step->call_params, params, tenant ? "Identifier" : "Id", id)) {
    cr_step_fail_memory(step);
    return;
  }
  if(tenant) {
    cr_step_send(step, asked, "cloudfront", "GetDistributionTenant", NULL, false);
  } else {
    cr_step_send(step, asked, "cloudfront", "GetDistribution", &certificate_view, false);
  }
}

/* --- the listing ---------------------------------------------------------------------------------------- */

static int by_id(const void *a, const void *b)
{
  const struct holder *const *x = a, *const *y = b;
  return strcmp((*x)->id, (*y)->id);
}

static int id_order(const void *key, const void *item)
{
  const struct holder *const *holder = item;
  return strcmp(key, (*holder)->id);
}

static int note_page(struct settle *settle, const struct cr_node *items)
{
  for(const struct cr_node *item = items ? items->first : NULL; item; item = item->next) {
    const char *id = cr_get_text(item, "Id"), *status = cr_get_text(item, "Status");
    struct holder **found = id ? bsearch(id, settle->by_id, settle->count, sizeof *found, id_order) : NULL;
    struct holder *holder = found ? *found : NULL;
    if(!holder || holder->final) {
      continue;
    }
    if(note(settle, holder, status, cr_step_reference(cr_get(item, "ViewerCertificate")))) {
      return -1;
    }
    holder->listed = true;
    /* Not to be believed alone: an old page shows the state before our own write. */
    holder->ask = holder->foreign || (holder->final && !settle->to);
    holder->final = holder->final && !holder->ask;
    holder->foreign = holder->foreign && !holder->ask;
  }
  return 0;
}

static void next_page(struct settle *settle);

static void have_page(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                      const struct cr_error *failure)
{
  struct settle *settle = settle_of(step);
  const struct cr_node *list = cr_get(answer, "DistributionList");
  const char *marker = cr_get_text(list, "NextMarker");
  if(failure && !failure->retryable) {
    cr_step_fail_cause(step, failure, NULL);
    return;
  }
  if(failure) {
    end_round(settle, now);   /* nothing learned this time */
    return;
  }
  if(note_page(settle, cr_get(list, "Items"))) {
    cr_step_fail_memory(step);
    return;
  }
  if(cr_get_bool(list, "IsTruncated", false) && marker && *marker && !cr_streq(marker, settle->marker) &&
     ++settle->pages < PAGES_MAX) {
    char *copy = cr_strdup(marker);
    if(!copy) {
      cr_step_fail_memory(step);
      return;
    }
    free(settle->marker);
    settle->marker = copy;
    next_page(settle);
    return;
  }
  for(size_t i = 0; i < settle->count; i++) {
    struct holder *holder = &settle->holders[i];
    holder->ask = holder->ask || (!holder->final && !holder->listed);
  }
  settle->cursor = 0;
  ask_next(settle, now);
}

static void next_page(struct settle *settle)
{
  struct cr_step *step = &settle->step;
  struct cr_node *params = cr_step_params(step);
  if(!params || (settle->marker && !cr_add_text(&step->call_params, params, "Marker", settle->marker))) {
    cr_step_fail_memory(step);
    return;
  }
  cr_step_send(step, have_page, "cloudfront", "ListDistributions", &cr_holders_view, false);
}

/* --- rounds --------------------------------------------------------------------------------------------- */

static void look(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                 const struct cr_error *failure)
{
  struct settle *settle = settle_of(step);
  (void)answer, (void)failure;
  for(size_t i = 0; i < settle->count; i++) {
    settle->holders[i].listed = false;
    settle->holders[i].ask = !settle->listing && !settle->holders[i].final;
  }
  if(settle->listing) {
    free(settle->marker);
    settle->marker = NULL;
    settle->pages = 0;
    next_page(settle);
  } else {
    settle->cursor = 0;
    ask_next(settle, now);
  }
}

static void begin(struct cr_step *step, const struct cr_moment *now)
{
  struct settle *settle = settle_of(step);
  settle->deadline = now->mono_ms + settle->timeout_ms;
  if(settle->count == 0) {
    finish(settle, true);
    return;
  }
  look(step, now, NULL, NULL);
}

static int init(struct cr_step *step, const struct cr_node *params, struct cr_error *err)
{
  struct settle *settle = settle_of(step);
  const struct cr_node *ids = cr_get(params, "Ids");
  settle->to = cr_get_text(params, "to");
  settle->listing = cr_get_bool(params, "listing", false);
  settle->poll_ms = cr_step_ms(params, "poll", 20);
  settle->timeout_ms = cr_step_ms(params, "timeout", 3600);
  if(settle->poll_ms < 50) {
    settle->poll_ms = 50;   /* a pause of nothing would spin */
  }
  if(settle->to && cr_store_of(settle->to) == CR_STORE_NONE) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter",
                   "settle: 'to' must be an ACM certificate ARN or an IAM server certificate id");
  }
  settle->holders = calloc(ids->count + 1, sizeof *settle->holders);
  settle->by_id = calloc(ids->count + 1, sizeof *settle->by_id);
  if(!settle->holders || !settle->by_id) {
    return cr_fail_memory(err);
  }
  for(const struct cr_node *id = ids->first; id; id = id->next) {
    if(id->len == 0) {
      return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "settle: 'Ids' holds an empty id");
    }
    settle->holders[settle->count].id = id->text;
    settle->by_id[settle->count] = &settle->holders[settle->count];
    settle->count++;
  }
  qsort(settle->by_id, settle->count, sizeof *settle->by_id, by_id);
  for(size_t i = 1; i < settle->count; i++) {
    if(strcmp(settle->by_id[i - 1]->id, settle->by_id[i]->id) == 0) {
      return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "settle: 'Ids' names %s twice", settle->by_id[i]->id);
    }
  }
  return 0;
}

static void release(struct cr_step *step)
{
  struct settle *settle = settle_of(step);
  for(size_t i = 0; i < settle->count; i++) {
    free(settle->holders[i].reference);
  }
  free(settle->holders);
  free(settle->by_id);
  free(settle->marker);
}

static const struct cr_step_param params[] = {
  { "Ids", CR_STEP_TEXTS, true },
  { "to", CR_STEP_TEXT, false },
  { "poll", CR_STEP_NUMBER, false },
  { "timeout", CR_STEP_NUMBER, false },
  { "listing", CR_STEP_BOOL, false },
  { NULL, CR_STEP_TEXT, false },
};

const struct cr_step_kind cr_step_settle = {
  .name = "settle",
  .size = sizeof(struct settle),
  .account = true,
  .params = params,
  .init = init,
  .begin = begin,
  .release = release,
};
