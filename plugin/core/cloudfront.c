/* cloudfront.c - the operations of CloudFront (REST-XML, 2020-05-31; aws-reference 2 and appendix C).
 *
 * A table, how its answers are shaped, and what an inventory keeps of a listing; owns no memory. */
#include "operation.h"

#define VERSION "/2020-05-31"
#define NAMESPACE "http://cloudfront.amazonaws.com/doc/2020-05-31/"
#define REQUEST_MAX 16384   /* a certificate's name and a marker */

static const struct cr_param listing[] = {
  { .name = "Marker", .place = CR_IN_QUERY },
  { .name = "MaxItems", .place = CR_IN_QUERY },
  { .name = NULL },
};

static const struct cr_param by_id[] = {
  { .name = "Id", .place = CR_IN_PATH, .required = true },
  { .name = NULL },
};

static const struct cr_param by_resource[] = {
  { .name = "Resource", .place = CR_IN_QUERY, .required = true },
  { .name = NULL },
};

static const struct cr_param update[] = {
  { .name = "Id", .place = CR_IN_PATH, .required = true },
  { .name = "IfMatch", .place = CR_IN_HEADER, .wire = "If-Match", .required = true },
  { .name = "DistributionConfig", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = NULL },
};

static const struct cr_param by_identifier[] = {
  { .name = "Identifier", .place = CR_IN_PATH, .required = true },
  { .name = NULL },
};

static const struct cr_param update_tenant[] = {
  { .name = "Id", .place = CR_IN_PATH, .required = true },
  { .name = "IfMatch", .place = CR_IN_HEADER, .wire = "If-Match", .required = true },
  { .name = "UpdateDistributionTenantRequest", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = NULL },
};

static const struct cr_param tenants[] = {
  { .name = "Marker", .place = CR_NOT_SENT },
  { .name = "MaxItems", .place = CR_NOT_SENT },
  { .name = "Body", .place = CR_IN_BODY_TEXT },
  { .name = NULL },
};

static const struct cr_param tenants_by_customization[] = {
  { .name = "CertificateArn", .place = CR_NOT_SENT },
  { .name = "WebACLArn", .place = CR_NOT_SENT },
  { .name = "Marker", .place = CR_NOT_SENT },
  { .name = "MaxItems", .place = CR_NOT_SENT },
  { .name = "Body", .place = CR_IN_BODY_TEXT },
  { .name = NULL },
};

/* Sorted. Lists are `Items` in the classic structures and bare in the tenants' ones. */
static const struct cr_shape shapes[] = {
  { "AdvertiseTrustStoreCaNames", CR_SHAPE_BOOL },
  { "AliasICPRecordals", CR_SHAPE_LIST },
  { "CloudFrontDefaultCertificate", CR_SHAPE_BOOL },
  { "Compress", CR_SHAPE_BOOL },
  { "ConnectionAttempts", CR_SHAPE_NUMBER },
  { "ConnectionTimeout", CR_SHAPE_NUMBER },
  { "DefaultTTL", CR_SHAPE_NUMBER },
  { "DistributionTenantList", CR_SHAPE_LIST },
  { "Domains", CR_SHAPE_LIST },
  { "Enabled", CR_SHAPE_BOOL },
  { "ErrorCachingMinTTL", CR_SHAPE_NUMBER },
  { "ErrorCode", CR_SHAPE_NUMBER },
  { "HTTPPort", CR_SHAPE_NUMBER },
  { "HTTPSPort", CR_SHAPE_NUMBER },
  { "IdleTTL", CR_SHAPE_NUMBER },
  { "IgnoreCertificateExpiry", CR_SHAPE_BOOL },
  { "InProgressInvalidationBatches", CR_SHAPE_NUMBER },
  { "IncludeBody", CR_SHAPE_BOOL },
  { "IncludeCookies", CR_SHAPE_BOOL },
  { "Ipv6Enabled", CR_SHAPE_BOOL },
  { "IsDefault", CR_SHAPE_BOOL },
  { "IsIPV6Enabled", CR_SHAPE_BOOL },
  { "IsTruncated", CR_SHAPE_BOOL },
  { "Items", CR_SHAPE_LIST },
  { "Locations", CR_SHAPE_LIST },
  { "MaxItems", CR_SHAPE_NUMBER },
  { "MaxTTL", CR_SHAPE_NUMBER },
  { "MaximumTTL", CR_SHAPE_NUMBER },
  { "MinTTL", CR_SHAPE_NUMBER },
  { "OriginKeepaliveTimeout", CR_SHAPE_NUMBER },
  { "OriginReadTimeout", CR_SHAPE_NUMBER },
  { "ParameterDefinitions", CR_SHAPE_LIST },
  { "Parameters", CR_SHAPE_LIST },
  { "Quantity", CR_SHAPE_NUMBER },
  { "QueryString", CR_SHAPE_BOOL },
  { "Required", CR_SHAPE_BOOL },
  { "ResponseCompletionTimeout", CR_SHAPE_NUMBER },
  { "SmoothStreaming", CR_SHAPE_BOOL },
  { "Staging", CR_SHAPE_BOOL },
  { "StatusCode", CR_SHAPE_NUMBER },
  { "Weight", CR_SHAPE_NUMBER },
};

static void shape(struct cr_node *root)
{
  cr_shape_by_name(root, shapes, sizeof shapes / sizeof shapes[0]);
}

static const char *const holder_fields[] = {
  "Id", "ARN", "Status", "LastModifiedTime", "DomainName", "Aliases", "Comment", "Enabled", "ViewerCertificate",
  "HttpVersion", "Staging", "ConnectionMode", NULL,
};
const struct cr_xml_view cr_holders_view = { .under = "DistributionSummary", .names = holder_fields };

/* The page size AWS documents, said aloud so that a changed default does not change our paging. */
static int list_by_the_hundred(struct cr_tree *tree, struct cr_node *params, struct cr_error *err)
{
  return cr_default_int(tree, params, "MaxItems", 100, err);
}

/* The listings of tenants take filter, marker and size in a body. Element order is the model's. */
static int tenants_body(struct cr_tree *tree, struct cr_node *params, const char *operation, struct cr_error *err)
{
  static const char *const members[] = { "WebACLArn", "CertificateArn", "Marker", "MaxItems" };
  struct cr_buf body;
  int result = -1;
  cr_buf_init(&body, REQUEST_MAX);
  if(cr_get(params, "Body")) {
    cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "%s: Body is made of the other parameters, leave it out", operation);
    goto end;
  }
  if(cr_default_int(tree, params, "MaxItems", 100, err)) {
    goto end;
  }
  cr_buf_addf(&body, "<%sRequest xmlns=\"" NAMESPACE "\">", operation);
  for(size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
    const struct cr_node *member = cr_get(params, members[i]);
    if(cr_get_text(params, members[i])) {
      cr_buf_addf(&body, "<%s>", members[i]);
      cr_xml_escape(&body, member->text, member->len);
      cr_buf_addf(&body, "</%s>", members[i]);
    }
  }
  cr_buf_addf(&body, "</%sRequest>", operation);
  if(cr_buf_check(&body, "request", err)) {
    goto end;
  }
  if(!cr_add_textn(tree, params, "Body", body.data, body.len)) {
    cr_fail_memory(err);
    goto end;
  }
  result = 0;
end:
  cr_buf_free(&body);
  return result;
}

static int all_tenants(struct cr_tree *tree, struct cr_node *params, struct cr_error *err)
{
  return tenants_body(tree, params, "ListDistributionTenants", err);
}

static int tenants_by(struct cr_tree *tree, struct cr_node *params, struct cr_error *err)
{
  if(!cr_get(params, "Body") && !cr_get_text(params, "CertificateArn") == !cr_get_text(params, "WebACLArn")) {
    return cr_fail(err, CR_KIND_INPUT, "MissingParameter",
                   "ListDistributionTenantsByCustomization: give either CertificateArn or WebACLArn");
  }
  return tenants_body(tree, params, "ListDistributionTenantsByCustomization", err);
}

#define CLOUDFRONT .service = CR_CLOUDFRONT, .protocol = CR_REST_XML, .shape = shape
const struct cr_operation cr_cloudfront_operations[] = {
  { CLOUDFRONT, .name = "ListDistributions", .method = "GET", .path = VERSION "/distribution", .params = listing,
    .idempotent = true, .wrap = "DistributionList", .prepare = list_by_the_hundred },
  { CLOUDFRONT, .name = "GetDistribution", .method = "GET", .path = VERSION "/distribution/{Id}", .params = by_id,
    .idempotent = true, .with_etag = true, .wrap = "Distribution" },
  { CLOUDFRONT, .name = "GetDistributionConfig", .method = "GET", .path = VERSION "/distribution/{Id}/config",
    .params = by_id, .idempotent = true, .with_etag = true, .with_body = true, .wrap = "DistributionConfig" },
  /* If-Match makes a repetition harmless, but its 412 would hide our own success: the owner reads back instead. */
  { CLOUDFRONT, .name = "UpdateDistribution", .method = "PUT", .path = VERSION "/distribution/{Id}/config",
    .params = update, .with_etag = true, .wrap = "Distribution" },
  { CLOUDFRONT, .name = "ListDistributionTenantsByCustomization", .method = "POST",
    .path = VERSION "/distribution-tenants-by-customization", .params = tenants_by_customization, .idempotent = true,
    .prepare = tenants_by },
  { CLOUDFRONT, .name = "ListDistributionTenants", .method = "POST", .path = VERSION "/distribution-tenants",
    .params = tenants, .idempotent = true, .prepare = all_tenants },
  { CLOUDFRONT, .name = "GetDistributionTenant", .method = "GET", .path = VERSION "/distribution-tenant/{Identifier}",
    .params = by_identifier, .idempotent = true, .with_etag = true, .with_body = true, .wrap = "DistributionTenant" },
  /* As UpdateDistribution: the owner reads back instead of repeating. */
  { CLOUDFRONT, .name = "UpdateDistributionTenant", .method = "PUT", .path = VERSION "/distribution-tenant/{Id}",
    .params = update_tenant, .with_etag = true, .wrap = "DistributionTenant" },
  { CLOUDFRONT, .name = "GetContinuousDeploymentPolicy", .method = "GET",
    .path = VERSION "/continuous-deployment-policy/{Id}", .params = by_id, .idempotent = true, .with_etag = true,
    .wrap = "ContinuousDeploymentPolicy" },
  { CLOUDFRONT, .name = "ListContinuousDeploymentPolicies", .method = "GET",
    .path = VERSION "/continuous-deployment-policy", .params = listing, .idempotent = true,
    .wrap = "ContinuousDeploymentPolicyList", .prepare = list_by_the_hundred },
  { CLOUDFRONT, .name = "ListTagsForResource", .method = "GET", .path = VERSION "/tagging", .params = by_resource,
    .idempotent = true, .wrap = "Tags" },
  { .name = NULL },
};
