/* sts.c - who the credentials belong to, and those of a role (Query, 2011-06-15; aws-reference 7.4, 7.5).
 *
 * Assuming a role changes nothing that lasts, so both may be sent again. Owns no memory. */
#include "operation.h"

static const struct cr_param none[] = {
  { .name = NULL },
};

static const struct cr_param assume_role[] = {
  { .name = "RoleArn", .required = true },
  { .name = "RoleSessionName", .required = true },
  { .name = NULL },
};

static const struct cr_param assume_role_with_web_identity[] = {
  { .name = "RoleArn", .required = true },
  { .name = "RoleSessionName", .required = true },
  { .name = "WebIdentityToken", .required = true },
  { .name = NULL },
};

static const char *const lists[] = { "PolicyArns", "Tags", "TransitiveTagKeys", NULL };

/* `PackedPolicySize` is the one number of these answers. */
static void shape(struct cr_node *root)
{
  static const struct cr_shape shapes[] = { { "PackedPolicySize", CR_SHAPE_NUMBER } };
  cr_shape_by_name(root, shapes, sizeof shapes / sizeof shapes[0]);
}

const struct cr_operation cr_sts_operations[] = {
  { .service = CR_STS, .protocol = CR_QUERY, .name = "GetCallerIdentity", .params = none, .idempotent = true },
  { .service = CR_STS, .protocol = CR_QUERY, .name = "AssumeRole", .params = assume_role, .lists = lists,
    .idempotent = true, .shape = shape },
  { .service = CR_STS, .protocol = CR_QUERY, .name = "AssumeRoleWithWebIdentity",
    .params = assume_role_with_web_identity, .lists = lists, .idempotent = true, .anonymous = true, .shape = shape },
  { .name = NULL },
};
