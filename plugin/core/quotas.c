/* quotas.c - the operations of Service Quotas (JSON 1.1, 2019-06-24; aws-reference 6.2).
 *
 * A table and its page size; owns no memory. The signing name is "servicequotas". */
#include "operation.h"

/* JSON params are checked for `required` only; the place means nothing here. */
static const struct cr_param of_quota[] = {
  { .name = "ServiceCode", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = "QuotaCode", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = NULL },
};

static const struct cr_param of_service[] = {
  { .name = "ServiceCode", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = NULL },
};

static const struct cr_param increase[] = {
  { .name = "ServiceCode", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = "QuotaCode", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = "DesiredValue", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = NULL },
};

static const struct cr_param by_request[] = {
  { .name = "RequestId", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = NULL },
};

static const struct cr_param none[] = {
  { .name = NULL },
};

static const char *const quota_lists[] = { "Quotas", NULL };
static const char *const request_lists[] = { "RequestedQuotas", NULL };

/* The most it gives: a service's quotas then fit one page. */
static int list_in_large_pages(struct cr_tree *tree, struct cr_node *params, struct cr_error *err)
{
  return cr_default_int(tree, params, "MaxResults", 100, err);
}

#define QUOTAS .service = CR_QUOTAS, .protocol = CR_JSON11
const struct cr_operation cr_quotas_operations[] = {
  { QUOTAS, .name = "GetServiceQuota", .params = of_quota, .idempotent = true },
  { QUOTAS, .name = "GetAWSDefaultServiceQuota", .params = of_quota, .idempotent = true },
  { QUOTAS, .name = "ListServiceQuotas", .params = of_service, .lists = quota_lists, .idempotent = true,
    .prepare = list_in_large_pages },
  { QUOTAS, .name = "ListAWSDefaultServiceQuotas", .params = of_service, .lists = quota_lists, .idempotent = true,
    .prepare = list_in_large_pages },
  /* No client token: a repeated one is refused while the first is open, and is a second request once it is not. */
  { QUOTAS, .name = "RequestServiceQuotaIncrease", .params = increase },
  { QUOTAS, .name = "GetRequestedServiceQuotaChange", .params = by_request, .idempotent = true },
  { QUOTAS, .name = "ListRequestedServiceQuotaChangeHistory", .params = none, .lists = request_lists,
    .idempotent = true, .prepare = list_in_large_pages },
  { QUOTAS, .name = "ListRequestedServiceQuotaChangeHistoryByQuota", .params = of_quota, .lists = request_lists,
    .idempotent = true, .prepare = list_in_large_pages },
  { .name = NULL },
};
