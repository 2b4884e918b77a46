/* acm.c - the operations of AWS Certificate Manager (JSON 1.1, 2015-12-08; aws-reference 4).
 *
 * A table and the one thing AWS's own default gets wrong for us; owns no memory. */
#include "operation.h"

/* JSON params are checked for `required` only; the place means nothing here. */
static const struct cr_param by_arn[] = {
  { .name = "CertificateArn", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = NULL },
};

static const struct cr_param tagging[] = {
  { .name = "CertificateArn", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = "Tags", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = NULL },
};

static const struct cr_param none[] = {
  { .name = NULL },
};

/* Of parameters and answers. */
static const char *const tag_lists[] = { "Tags", NULL };
static const char *const listing_lists[] = {
  "CertificateStatuses", "keyTypes", "keyUsage", "extendedKeyUsage", "CertificateKeyPairOrigins",
  "CertificateSummaryList", "SubjectAlternativeNameSummaries", "KeyUsages", "ExtendedKeyUsages", NULL,
};
static const char *const description_lists[] = {
  "InUseBy", "SubjectAlternativeNames", "KeyUsages", "ExtendedKeyUsages", "DomainValidationOptions", NULL,
};

static const char *const key_types[] = {
  "RSA_1024", "RSA_2048", "RSA_3072", "RSA_4096", "EC_prime256v1", "EC_secp384r1", "EC_secp521r1",
};

/* Without keyTypes ACM lists RSA_1024 and RSA_2048 only, and every other certificate is invisible. */
static int list_every_key_type(struct cr_tree *tree, struct cr_node *params, struct cr_error *err)
{
  if(cr_default_int(tree, params, "MaxItems", 1000, err)) {
    return -1;
  }
  struct cr_node *includes = cr_child(params, "Includes");
  if(!includes) {
    includes = cr_node_add(tree, params, "Includes", CR_NODE_MAP);
    if(!includes) {
      return cr_fail_memory(err);
    }
  } else if(includes->count == 0) {
    includes->type = CR_NODE_MAP;   /* an empty Lua table may have come as a list */
  } else if(includes->type != CR_NODE_MAP) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "ListCertificates: Includes must be a map");
  }
  struct cr_node *types = cr_child(includes, "keyTypes");
  if(!types) {
    types = cr_node_add(tree, includes, "keyTypes", CR_NODE_LIST);
    if(!types) {
      return cr_fail_memory(err);
    }
  } else if(types->count > 0) {
    return 0;
  } else {
    types->type = CR_NODE_LIST;
  }
  for(size_t i = 0; i < sizeof key_types / sizeof key_types[0]; i++) {
    if(!cr_add_text(tree, types, NULL, key_types[i])) {
      return cr_fail_memory(err);
    }
  }
  return 0;
}

#define ACM .service = CR_ACM, .protocol = CR_JSON11
const struct cr_operation cr_acm_operations[] = {
  /* No client token: a repeated import is a second certificate. */
  { ACM, .name = "ImportCertificate", .params = none, .lists = tag_lists, .identity = true },
  { ACM, .name = "DescribeCertificate", .params = by_arn, .lists = description_lists, .idempotent = true },
  { ACM, .name = "GetCertificate", .params = by_arn, .idempotent = true },
  { ACM, .name = "ListCertificates", .params = none, .lists = listing_lists, .idempotent = true,
    .prepare = list_every_key_type },
  /* A repeated delete would answer ResourceNotFoundException for our own success. */
  { ACM, .name = "DeleteCertificate", .params = by_arn, .quiet = true },
  { ACM, .name = "AddTagsToCertificate", .params = tagging, .lists = tag_lists, .idempotent = true,
    .quiet = true },
  { ACM, .name = "ListTagsForCertificate", .params = by_arn, .lists = tag_lists, .idempotent = true },
  { .name = NULL },
};
