/* tenant.c - a distribution tenant as received, made into the request that changes its certificate.
 *
 * Stands on the reader and the cutter of viewer_certificate_*.c. The tree of one call is owned and freed by that call;
 * `out` belongs to the caller. */
#include "tenant.h"

#include <string.h>

#include "viewer_certificate_private.h"

static const char answer_root[] = "DistributionTenant", request_root[] = "UpdateDistributionTenantRequest";

/* Of the answer only: what the request must not hold. */
static const char *const read_only[] = {
  "Id", "Name", "Arn", "Tags", "CreatedTime", "LastModifiedTime", "Status", NULL,
};

bool cr_is_tenant(const char *id)
{
  return strncmp(id, "dt_", 3) == 0 && id[3] != '\0';
}

static bool is_read_only(const struct cr_region *region, const struct cr_node *node, const char *const *names)
{
  for(size_t i = 0; names[i]; i++) {
    if(cr_streq(node->name, names[i])) {
      return cr_region_same_namespace(region, node, region->tree.root);
    }
  }
  return false;
}

/* The element that names the certificate into region->element, NULL when there is none; region->odd when it cannot be
 * told. region->tree is to be freed whatever the result. */
static int locate(struct cr_region *region, const char *tenant, size_t len, struct cr_error *err)
{
  static const char *const kept[] = {
    "Id", "Name", "Arn", "Tags", "CreatedTime", "LastModifiedTime", "Status", "Domains", "Customizations", NULL,
  };
  static const char *const path[] = {"Customizations", "Certificate", "Arn"};
  static const struct cr_xml_view view = {.names = kept};
  const struct cr_node *at;

  if(cr_region_parse(region, &view, tenant, len, err) < 0) {
    return -1;
  }
  at = region->tree.root;
  if(!cr_streq(at->name, answer_root) || at->inner.begin == at->outer.end) {
    return cr_fail(err, CR_KIND_PARSE, "NoTenant", "this is not a distribution tenant but %s", at->name);
  }
  for(size_t i = 0; i < sizeof path / sizeof path[0] && at; i++) {
    size_t count = 0;
    at = cr_region_child_of(region, at, path[i], &count);
    region->odd = region->odd || count > 1;
  }
  region->element = at;
  region->odd = region->odd || (at && at->type != CR_NODE_TEXT);
  return 0;
}

static struct cr_piece value_of(const struct cr_region *region)
{
  const struct cr_node *node = region->element;
  return cr_piece_trim((struct cr_piece){node ? node->text : "", node && node->type == CR_NODE_TEXT ? node->len : 0});
}

/* The bytes [*done, node) and then none of node's. */
static void leave_out(struct cr_buf *out, const struct cr_region *region, const struct cr_node *node, size_t *done)
{
  cr_buf_add(out, region->config + *done, node->outer.begin - *done);
  *done = node->outer.end;
}

static void put_domains(struct cr_buf *out, const struct cr_region *region, const struct cr_node *domains, size_t *done)
{
  static const char *const status[] = {"Status", NULL};
  for(const struct cr_node *member = domains->first; member; member = member->next) {
    for(const struct cr_node *node = member->first; node; node = node->next) {
      if(is_read_only(region, node, status)) {
        leave_out(out, region, node, done);
      }
    }
  }
}

static void put_request(struct cr_buf *out, const struct cr_region *region, const char *to)
{
  const struct cr_node *root = region->tree.root, *customizations = region->element->parent->parent;
  struct cr_piece tag = cr_region_start_tag(region, root), lead = cr_region_lead(region, root);
  size_t done, end = root->inner.end + 2 + lead.len; /* past "</" and the prefix */

  cr_buf_add(out, region->config, root->outer.begin);
  cr_buf_add(out, tag.at, 1 + lead.len);
  cr_buf_adds(out, request_root);
  done = root->outer.begin + 1 + cr_tag_name_length(tag.at + 1, tag.len - 1);
  for(const struct cr_node *node = root->first; node; node = node->next) {
    if(is_read_only(region, node, read_only)) {
      leave_out(out, region, node, &done);
    } else if(node == customizations) {
      leave_out(out, region, region->element, &done);
      cr_region_put_field(out, region, region->element, "Arn", to);
    } else if(cr_streq(node->name, "Domains") && cr_region_same_namespace(region, node, root)) {
      put_domains(out, region, node, &done);
    }
  }
  cr_buf_add(out, region->config + done, end - done);
  cr_buf_adds(out, request_root);
  end += strlen(answer_root);
  cr_buf_add(out, region->config + end, region->len - end);
}

int cr_tenant_swap(const char *tenant, size_t len, const char *from, const char *to, struct cr_buf *out,
                   enum cr_names *names, struct cr_error *err)
{
  struct cr_region region;
  int rc;

  *names = CR_NAMES_OTHER;
  if(cr_store_of(from) != CR_STORE_ACM || cr_store_of(to) != CR_STORE_ACM) {
    return cr_fail(err, CR_KIND_INPUT, "IamOnMultiTenant",
                   "distribution tenants take ACM certificates only, not %s; use --store acm",
                   cr_store_of(from) != CR_STORE_ACM ? from : to);
  }
  rc = locate(&region, tenant, len, err);
  if(rc == 0 && !region.odd) {
    struct cr_piece now = value_of(&region);
    if(cr_piece_is(now, to)) {
      *names = CR_NAMES_NEW;
    } else if(cr_piece_is(now, from)) {
      *names = CR_NAMES_OLD;
      put_request(out, &region, to);
      rc = cr_buf_check(out, "edited tenant", err);
      if(rc < 0) {
        cr_buf_reset(out);
      }
    }
  }
  cr_tree_free(&region.tree);
  return rc;
}

int cr_tenant_read(const char *tenant, size_t len, char *reference, size_t size, struct cr_error *err)
{
  struct cr_region region;
  struct cr_piece now;
  int rc = locate(&region, tenant, len, err);

  reference[0] = '\0';
  if(rc == 0) {
    now = value_of(&region);
    if(now.len && now.len < size) {
      memcpy(reference, now.at, now.len);
      reference[now.len] = '\0';
    }
  }
  cr_tree_free(&region.tree);
  return rc;
}
