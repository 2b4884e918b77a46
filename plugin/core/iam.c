/* iam.c - IAM's server certificates (Query, 2010-05-08; aws-reference 3).
 *
 * A table and how its answers are shaped; owns no memory. */
#include "operation.h"

/* Query params are checked for `required` only; the place means nothing here. */
static const struct cr_param by_name[] = {
  { .name = "ServerCertificateName", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = NULL },
};

static const struct cr_param tagging[] = {
  { .name = "ServerCertificateName", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = "Tags", .place = CR_IN_BODY_TEXT, .required = true },
  { .name = NULL },
};

static const struct cr_param none[] = {
  { .name = NULL },
};

static const char *const tag_lists[] = { "Tags", NULL };

/* Sorted. */
static const struct cr_shape shapes[] = {
  { "IsTruncated", CR_SHAPE_BOOL },
  { "ServerCertificateMetadataList", CR_SHAPE_LIST },
  { "Tags", CR_SHAPE_LIST },
};

static void shape(struct cr_node *root)
{
  cr_shape_by_name(root, shapes, sizeof shapes / sizeof shapes[0]);
}

/* <entry><key>Users</key><value>27</value></entry> becomes Users = 27. The texts stay where they are: one arena
 * holds the whole answer. */
static void shape_entry(struct cr_node *entry)
{
  const struct cr_node *key = cr_get(entry, "key"), *value = cr_get(entry, "value");
  if(!key || !value || key->type != CR_NODE_TEXT || value->type != CR_NODE_TEXT) {
    return;
  }
  entry->name = key->text;
  entry->type = CR_NODE_NUMBER;
  entry->text = value->text;
  entry->len = value->len;
  entry->first = entry->last = NULL;
  entry->count = 0;
}

/* SummaryMap is the only thing in this answer that is not text. */
static void shape_summary(struct cr_node *root)
{
  struct cr_node *map = cr_child(cr_child(root, "GetAccountSummaryResult"), "SummaryMap");
  if(map && map->type == CR_NODE_TEXT) {
    map->type = CR_NODE_MAP;   /* empty */
    map->text = "";
    map->len = 0;
  }
  for(struct cr_node *entry = map ? map->first : NULL; entry; entry = entry->next) {
    shape_entry(entry);
  }
}

/* AWS's own default page is 100; the most it gives is 1000. */
static int list_in_large_pages(struct cr_tree *tree, struct cr_node *params, struct cr_error *err)
{
  return cr_default_int(tree, params, "MaxItems", 1000, err);
}

#define IAM .service = CR_IAM, .protocol = CR_QUERY
const struct cr_operation cr_iam_operations[] = {
  { IAM, .name = "UploadServerCertificate", .params = by_name, .lists = tag_lists, .identity = true, .shape = shape },
  { IAM, .name = "GetServerCertificate", .params = by_name, .idempotent = true, .shape = shape },
  { IAM, .name = "ListServerCertificates", .params = none, .idempotent = true, .shape = shape,
    .prepare = list_in_large_pages },
  { IAM, .name = "UpdateServerCertificate", .params = by_name },
  /* By name, which somebody else may take as soon as it is free: never repeated blindly. */
  { IAM, .name = "DeleteServerCertificate", .params = by_name },
  { IAM, .name = "TagServerCertificate", .params = tagging, .lists = tag_lists, .idempotent = true },
  { IAM, .name = "ListServerCertificateTags", .params = by_name, .idempotent = true, .shape = shape,
    .prepare = list_in_large_pages },
  { IAM, .name = "GetAccountSummary", .params = none, .idempotent = true, .shape = shape_summary },
  { .name = NULL },
};
