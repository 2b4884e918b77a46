/* holder_records.c - what an inventory keeps of a distribution, flat: one map and one list each.
 *
 * An account has thousands of them. The nested summary is turned into a record here, in place and without a
 * copy of any text, so that Lua makes two tables for a distribution and throws none away. The arena of the answer owns
 * everything. */
#include "call.h"

#include <string.h>

static const char *const fields[] = {
  "Id", "ARN", "Status", "DomainName", "Aliases", "Comment", "Enabled", "ViewerCertificate", "HttpVersion", "Staging",
  "ConnectionMode", NULL
};

static struct cr_node *child(struct cr_node *map, const char *name)
{
  for(struct cr_node *node = map->first; node; node = node->next) {
    if(cr_streq(node->name, name)) {
      return node;
    }
  }
  return NULL;
}

static void append(struct cr_node *map, struct cr_node *node)
{
  node->next = NULL;
  node->parent = map;
  if(map->last) {
    map->last->next = node;
  } else {
    map->first = node;
  }
  map->last = node;
  map->count++;
}

static bool has_text(const struct cr_node *node)
{
  return node && node->type == CR_NODE_TEXT && node->len;
}

/* The certificate in effect: the modern fields, else the deprecated pair of old answers. Renamed "reference". */
static struct cr_node *take_reference(struct cr_node *viewer, const char **store)
{
  struct cr_node *acm = child(viewer, "ACMCertificateArn"), *iam = child(viewer, "IAMCertificateId");
  struct cr_node *pair = child(viewer, "Certificate"), *source = child(viewer, "CertificateSource");

  if(has_text(acm)) {
    *store = "acm";
    return acm;
  }
  if(has_text(iam)) {
    *store = "iam";
    return iam;
  }
  if(has_text(pair) && source && (cr_streq(source->text, "acm") || cr_streq(source->text, "iam"))) {
    *store = source->text;
    return pair;
  }
  return NULL;
}

static int add_certificate(struct cr_tree *tree, struct cr_node *record, struct cr_node *viewer)
{
  static const char *const kept[] = {"SSLSupportMethod", "MinimumProtocolVersion"};
  const char *store = NULL;
  struct cr_node *found[3] = {take_reference(viewer, &store), child(viewer, kept[0]), child(viewer, kept[1])};

  for(size_t i = 0; i < 3; i++) {   /* after the look-ups: moving a node cuts its brothers off */
    if(found[i]) {
      append(record, found[i]);
    }
  }
  if(found[0]) {
    found[0]->name = "reference";
    return cr_add_text(tree, record, "store", store) ? 0 : -1;
  }
  return cr_add_bool(tree, record, "default_certificate", true) ? 0 : -1;
}

static int flatten(struct cr_tree *tree, struct cr_node *record)
{
  struct cr_node *node = record->first, *next, *viewer = NULL;

  record->first = record->last = NULL;
  record->count = 0;
  for(; node; node = next) {
    next = node->next;
    if(cr_streq(node->name, "ViewerCertificate")) {
      viewer = node;
      continue;
    }
    if(cr_streq(node->name, "Aliases")) {
      struct cr_node *items = child(node, "Items");
      if(!items) {
        items = node;   /* none: an empty list under the same name */
        items->first = items->last = NULL;
        items->count = 0;
      }
      node = items;
      node->type = CR_NODE_LIST;
      node->name = "Aliases";
    }
    append(record, node);
  }
  /* A summary without the element has no certificate of its own. */
  return viewer && viewer->type == CR_NODE_MAP ? add_certificate(tree, record, viewer)
                                               : cr_add_bool(tree, record, "default_certificate", true) ? 0 : -1;
}

static int shape(struct cr_tree *tree)
{
  const struct cr_node *items = cr_get_path(tree->root, "DistributionList/Items");

  for(struct cr_node *node = items ? items->first : NULL; node; node = node->next) {
    if(node->type == CR_NODE_MAP && flatten(tree, node) < 0) {
      return -1;
    }
  }
  return 0;
}

const struct cr_xml_view cr_inventory_view = {.under = "DistributionSummary", .names = fields, .shape = shape};
