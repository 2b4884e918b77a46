/* step_retire_facts.c - who still names the certificate, asked afresh: every page or it does not count.
 *
 * Each function gathers one fact and goes on to the next, whatever came out: a dry run shows them all. */
#include "step_retire.h"
#include "tenant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGES_MAX 100000
#define IDS_SHOWN 4

static void next_changed(struct cr_retire *retire, const struct cr_moment *now);
static void ask_tenants(struct cr_retire *retire, const struct cr_moment *now);

/* --- paging --------------------------------------------------------------------------------------------- */

int cr_retire_next_page(struct cr_retire *retire, bool truncated, const char *marker)
{
  retire->pages++;
  if(!truncated) {
    return 0;
  }
  if(!marker || !*marker || cr_streq(marker, retire->marker) || retire->pages >= PAGES_MAX) {
    return -1;
  }
  char *copy = cr_strdup(marker);
  if(!copy) {
    return -2;
  }
  free(retire->marker);
  retire->marker = copy;
  return 1;
}

static void first_page(struct cr_retire *retire)
{
  free(retire->marker);
  retire->marker = NULL;
  retire->pages = 0;
}

void cr_retire_forget_listing(struct cr_retire *retire)
{
  for(size_t i = 0; i < retire->listed_count; i++) {
    free(retire->listed[i].id);
  }
  retire->listed_count = 0;
  first_page(retire);
}

/* --- the distributions ---------------------------------------------------------------------------------- */

/* 0; -1 without memory. */
static int add_listed(struct cr_retire *retire, const char *id, bool names)
{
  if(retire->listed_count == retire->listed_capacity) {
    size_t capacity = retire->listed_capacity ? retire->listed_capacity * 2 : 128;
    struct cr_listed *grown = realloc(retire->listed, capacity * sizeof *grown);
    if(!grown) {
      return -1;
    }
    retire->listed = grown;
    retire->listed_capacity = capacity;
  }
  char *copy = cr_strdup(id);
  if(!copy) {
    return -1;
  }
  retire->listed[retire->listed_count].id = copy;
  retire->listed[retire->listed_count].names = names;
  retire->listed_count++;
  return 0;
}

static int by_id(const void *a, const void *b)
{
  const struct cr_listed *x = a, *y = b;
  return strcmp(x->id, y->id);
}

static bool was_changed(const struct cr_retire *retire, const char *id)
{
  for(const struct cr_node *each = retire->changed ? retire->changed->first : NULL; each; each = each->next) {
    if(strcmp(each->text, id) == 0) {
      return true;
    }
  }
  return false;
}

/* The listing is complete: pages may overlap, so a distribution counts once, and names it if any page says so. */
static void listed_all(struct cr_retire *retire)
{
  char ids[256] = "";
  size_t total = 0, naming = 0, len = 0;
  bool only_changed = true;
  if(retire->listed_count > 0) {
    qsort(retire->listed, retire->listed_count, sizeof *retire->listed, by_id);
  }
  for(size_t i = 0; i < retire->listed_count;) {
    const char *id = retire->listed[i].id;
    bool names = false;
    for(; i < retire->listed_count && strcmp(retire->listed[i].id, id) == 0; i++) {
      names = names || retire->listed[i].names;
    }
    total++;
    if(names) {
      only_changed = only_changed && was_changed(retire, id);
      if(naming++ < IDS_SHOWN && len < sizeof ids) {
        len += (size_t)snprintf(ids + len, sizeof ids - len, "%s%.60s", len ? ", " : "", id);
      }
    }
  }
  if(naming == 0) {
    cr_retire_fact(retire, CR_FACT_NO_DISTRIBUTION, true, "none of %zu distributions names it (complete listing)",
                   total);
  } else {
    cr_retire_fact(retire, CR_FACT_NO_DISTRIBUTION, false, "named by %zu of %zu distributions: %s%s", naming, total,
                   ids, naming > IDS_SHOWN ? ", ..." : "");
    /* All of them were changed by us: perhaps the listing lags. Asking each of them tells. */
    retire->facts[CR_FACT_NO_DISTRIBUTION].may_pass = only_changed;
  }
}

static void list_page(struct cr_retire *retire);

/* What makes a page unfit to prove anything; NULL when it is fine. */
static const char *unfit_page(const struct cr_node *list, const struct cr_node *items)
{
  const struct cr_node *truncated = cr_get(list, "IsTruncated");
  if(!list || !truncated || truncated->type != CR_NODE_BOOL) {
    return "the listing does not say whether it is complete";
  }
  if(cr_get_int(list, "Quantity", -1) != (int64_t)(items ? items->count : 0)) {
    return "a page of the listing holds another number of distributions than it says";
  }
  for(const struct cr_node *item = items ? items->first : NULL; item; item = item->next) {
    const struct cr_node *viewer = cr_get(item, "ViewerCertificate");
    const char *id = cr_get_text(item, "Id");
    if(!id || !*id || !viewer || viewer->type != CR_NODE_MAP) {
      return "the listing does not show the certificate of every distribution";
    }
  }
  return NULL;
}

static void have_page(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                      const struct cr_error *failure)
{
  struct cr_retire *retire = cr_retire_of(step);
  const struct cr_node *list = cr_get(answer, "DistributionList"), *items = cr_get(list, "Items");
  const char *unfit = failure ? NULL : unfit_page(list, items);
  if(failure) {
    cr_retire_unknown(retire, CR_FACT_NO_DISTRIBUTION, failure);
  } else if(unfit) {
    cr_retire_unclear(retire, CR_FACT_NO_DISTRIBUTION, unfit);
  } else {
    for(const struct cr_node *item = items ? items->first : NULL; item; item = item->next) {
      bool names = cr_step_mentions(cr_get(item, "ViewerCertificate"), retire->reference);
      if(add_listed(retire, cr_get_text(item, "Id"), names)) {
        cr_step_fail_memory(step);
        return;
      }
    }
    switch(cr_retire_next_page(retire, cr_get_bool(list, "IsTruncated", true), cr_get_text(list, "NextMarker"))) {
    case 1:
      list_page(retire);
      return;
    case 0:
      listed_all(retire);
      break;
    case -1:
      cr_retire_unclear(retire, CR_FACT_NO_DISTRIBUTION, "the listing says that there is more, but not where");
      break;
    default:
      cr_step_fail_memory(step);
      return;
    }
  }
  retire->next_changed = retire->changed ? retire->changed->first : NULL;
  next_changed(retire, now);
}

static void list_page(struct cr_retire *retire)
{
  struct cr_step *step = &retire->step;
  struct cr_node *params = cr_step_params(step);
  if(!params || (retire->marker && !cr_add_text(&step->call_params, params, "Marker", retire->marker))) {
    cr_step_fail_memory(step);
    return;
  }
  cr_step_send(step, have_page, "cloudfront", "ListDistributions", &cr_holders_view, false);
}

void cr_retire_gather(struct cr_retire *retire, const struct cr_moment *now)
{
  (void)now;
  cr_retire_forget_listing(retire);
  retire->changed_count = retire->pending = retire->naming = 0;
  list_page(retire);
}

/* --- the changed ones ----------------------------------------------------------------------------------- */

static void asked_all(struct cr_retire *retire, const struct cr_moment *now)
{
  if(retire->pending > 0) {
    cr_retire_fact(retire, CR_FACT_DEPLOYED, false, "%zu of %zu changed holders are not Deployed yet: %s%s",
                   retire->pending, retire->changed_count, retire->first_pending, retire->pending > 1 ? ", ..." : "");
  } else if(retire->facts[CR_FACT_DEPLOYED].evidence[0] == '\0') {
    cr_retire_fact(retire, CR_FACT_DEPLOYED, true, "%zu changed holders are Deployed", retire->changed_count);
  }
  if(retire->naming > 0) {
    /* The holder itself outranks a listing. */
    cr_retire_fact(retire, CR_FACT_NO_DISTRIBUTION, false, "named by %zu changed holders: %s%s", retire->naming,
                   retire->first_naming, retire->naming > 1 ? ", ..." : "");
  }
  ask_tenants(retire, now);
}

static void have_changed(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                         const struct cr_error *failure)
{
  struct cr_retire *retire = cr_retire_of(step);
  const char *id = retire->next_changed->text;
  bool tenant = cr_is_tenant(id);
  const struct cr_node *found = cr_get(answer, tenant ? "DistributionTenant" : "Distribution");
  const struct cr_node *viewer = tenant ? found : cr_get_path(found, "DistributionConfig/ViewerCertificate");
  const char *status = cr_get_text(found, "Status");
  retire->next_changed = retire->next_changed->next;
  retire->changed_count++;
  if(failure && cr_step_code(failure, tenant ? "EntityNotFound" : "NoSuchDistribution")) {
    /* deleted meanwhile: uses nothing */
  } else if(failure) {
    cr_retire_unknown(retire, CR_FACT_DEPLOYED, failure);
    retire->next_changed = NULL;   /* one unknown is enough */
  } else if(!viewer || viewer->type != CR_NODE_MAP) {
    cr_retire_unclear(retire, CR_FACT_DEPLOYED, "a holder was shown without its certificate");
    retire->next_changed = NULL;
  } else {
    bool deployed = status ? strcmp(status, "Deployed") == 0 : tenant; /* a tenant's is optional */
    bool names = tenant ? cr_streq(cr_get_text(cr_get_path(found, "Customizations/Certificate"), "Arn"),
                                   retire->reference)
                        : cr_step_mentions(viewer, retire->reference);
    if(!deployed && retire->pending++ == 0) {
      snprintf(retire->first_pending, sizeof retire->first_pending, "%s", id);
    }
    if(names && retire->naming++ == 0) {
      snprintf(retire->first_naming, sizeof retire->first_naming, "%s", id);
    }
  }
  next_changed(retire, now);
}

static void next_changed(struct cr_retire *retire, const struct cr_moment *now)
{
  if(!retire->next_changed) {
    asked_all(retire, now);
    return;
  }
  bool tenant = cr_is_tenant(retire->next_changed->text);
  cr_step_call(&retire->step, have_changed, "cloudfront", tenant ? "GetDistributionTenant" : "GetDistribution",
               tenant ? "Identifier" : "Id", retire->next_changed->text, (char *)NULL);
}

/* --- tenants -------------------------------------------------------------------------------------------- */

static void tenant_page(struct cr_retire *retire);

/* The endpoint does not know the operation at all: a partition or an emulation without tenants. A 404 without an error
 * code of AWS's kind may come from anything on the way, and proves nothing. */
static bool no_such_operation(const struct cr_error *failure)
{
  return cr_step_code(failure, "InvalidAction") || cr_step_code(failure, "UnknownOperation") ||
         (failure->status == 404 && !cr_step_code(failure, "EntityNotFound") && !cr_step_code(failure, "HTTP404"));
}

static void have_tenants(struct cr_step *step, const struct cr_moment *now, const struct cr_node *answer,
                         const struct cr_error *failure)
{
  struct cr_retire *retire = cr_retire_of(step);
  const struct cr_node *list = cr_get(answer, "DistributionTenantList"), *first = list ? list->first : NULL;
  const char *marker = cr_get_text(answer, "NextMarker");
  if(failure && no_such_operation(failure)) {
    cr_retire_fact(retire, CR_FACT_NO_TENANT, true, "this endpoint has no distribution tenants (it answered %s)",
                   failure->code);
  } else if(failure) {
    cr_retire_unknown(retire, CR_FACT_NO_TENANT, failure);
  } else if(list && list->type != CR_NODE_LIST) {
    cr_retire_unclear(retire, CR_FACT_NO_TENANT, "the answer about distribution tenants is not a list");
  } else if(first) {
    const char *id = cr_get_text(first, "Id");
    cr_retire_fact(retire, CR_FACT_NO_TENANT, false, "named by distribution tenants: %.64s%s", id ? id : "?",
                   list->count > 1 || (marker && *marker) ? ", ..." : "");
  } else {
    switch(cr_retire_next_page(retire, marker && *marker, marker)) {
    case 1:
      tenant_page(retire);
      return;
    case 0:
      cr_retire_fact(retire, CR_FACT_NO_TENANT, true, "no distribution tenant names it");
      break;
    case -1:
      cr_retire_unclear(retire, CR_FACT_NO_TENANT, "the listing of distribution tenants does not end");
      break;
    default:
      cr_step_fail_memory(step);
      return;
    }
  }
  cr_retire_decide(retire, now);
}

static void tenant_page(struct cr_retire *retire)
{
  if(retire->marker) {
    cr_step_call(&retire->step, have_tenants, "cloudfront", "ListDistributionTenantsByCustomization", "CertificateArn",
                 retire->reference, "Marker", retire->marker, (char *)NULL);
  } else {
    cr_step_call(&retire->step, have_tenants, "cloudfront", "ListDistributionTenantsByCustomization", "CertificateArn",
                 retire->reference, (char *)NULL);
  }
}

static void ask_tenants(struct cr_retire *retire, const struct cr_moment *now)
{
  if(retire->store != CR_STORE_ACM) {
    cr_retire_fact(retire, CR_FACT_NO_TENANT, true, "distribution tenants cannot use IAM certificates");
    cr_retire_decide(retire, now);
    return;
  }
  first_page(retire);
  tenant_page(retire);
}
