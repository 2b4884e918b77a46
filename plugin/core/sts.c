/* sts.c - who the credentials belong to (Query, 2011-06-15; aws-reference 7). Owns no memory. */
#include "operation.h"

static const struct cr_param none[] = {
  { .name = NULL },
};

const struct cr_operation cr_sts_operations[] = {
  { .service = CR_STS, .protocol = CR_QUERY, .name = "GetCallerIdentity", .params = none, .idempotent = true },
  { .name = NULL },
};
