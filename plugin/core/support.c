/* support.c - the operations of AWS Support (JSON 1.1, 2013-04-15; aws-reference 6.1).
 *
 * A table and its page size; owns no memory. Without a support plan every one of them fails with
 * SubscriptionRequiredException. Its parameters begin in lower case, as AWS has them. */
#include "operation.h"

/* JSON params are checked for `required` only; the place means nothing here. */
static const struct cr_param new_case[] = {
  { .name = "subject", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = "communicationBody", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = NULL },
};

/* The model asks for the body only; without a case AWS would not know where to put it. */
static const struct cr_param communication[] = {
  { .name = "caseId", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = "communicationBody", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = NULL },
};

static const struct cr_param by_case[] = {
  { .name = "caseId", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = NULL },
};

static const struct cr_param none[] = {
  { .name = NULL },
};

/* Of parameters and answers. */
static const char *const case_lists[] = { "caseIdList", "ccEmailAddresses", "cases", "communications", "attachmentSet",
                                          NULL };
static const char *const service_lists[] = { "serviceCodeList", "services", "categories", NULL };
static const char *const severity_lists[] = { "severityLevels", NULL };

static int list_in_large_pages(struct cr_tree *tree, struct cr_node *params, struct cr_error *err)
{
  return cr_default_int(tree, params, "maxResults", 100, err);
}

#define SUPPORT .service = CR_SUPPORT, .protocol = CR_JSON11
const struct cr_operation cr_support_operations[] = {
  { SUPPORT, .name = "DescribeServices", .params = none, .lists = service_lists, .idempotent = true },
  { SUPPORT, .name = "DescribeSeverityLevels", .params = none, .lists = severity_lists, .idempotent = true },
  { SUPPORT, .name = "DescribeCases", .params = none, .lists = case_lists, .idempotent = true,
    .prepare = list_in_large_pages },
  { SUPPORT, .name = "DescribeCommunications", .params = by_case, .lists = case_lists, .idempotent = true,
    .prepare = list_in_large_pages },
  /* No client token: a repeated one is a second case, or says the same twice. */
  { SUPPORT, .name = "CreateCase", .params = new_case, .lists = case_lists },
  { SUPPORT, .name = "AddCommunicationToCase", .params = communication, .lists = case_lists },
  { SUPPORT, .name = "ResolveCase", .params = by_case },
  { .name = NULL },
};
