/* policy_id.c - finds and changes the one element that attaches a continuous-deployment policy.
 *
 * Stands on the reader and the cutter of viewer_certificate_*.c. The tree of one call is owned and freed by that call;
 * `out` belongs to the caller. */
#include "viewer_certificate_private.h"
#include "policy_id.h"

#include <string.h>

static const char element[] = "ContinuousDeploymentPolicyId";

bool cr_policy_id_valid(const char *id)
{
  size_t len = strlen(id);

  for(size_t i = 0; i < len; i++) {
    char c = id[i];
    if(!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '_')) {
      return false;
    }
  }
  return len > 0 && len <= CR_POLICY_ID_MAX;
}

/* Where the element would stand: in front of Staging, else at the root's end. */
static size_t place(const struct cr_region *region)
{
  size_t count;
  const struct cr_node *next = cr_region_child(region, "Staging", &count);
  return next ? next->outer.begin : region->tree.root->inner.end;
}

static void weigh(const struct cr_region *region, struct cr_policy_id *out)
{
  const struct cr_node *node = region->element;

  memset(out, 0, sizeof *out);
  out->begin = node ? node->outer.begin : place(region);
  out->end = node ? node->outer.end : out->begin;
  if(node) {
    struct cr_piece value = cr_piece_trim((struct cr_piece){node->text, node->type == CR_NODE_TEXT ? node->len : 0});
    if(value.len && value.len < sizeof out->id) {
      memcpy(out->id, value.at, value.len);
    }
    out->odd = node->type != CR_NODE_TEXT || (value.len && !cr_policy_id_valid(out->id));
    if(out->odd) {
      out->id[0] = '\0';
    }
  }
}

/* region->tree is to be freed whatever the result; region->element is NULL when there is none. */
static int locate(struct cr_region *region, const char *config, size_t len, struct cr_error *err)
{
  static const char *const only[] = {element, "Staging", NULL};
  static const struct cr_xml_view view = {.names = only};
  const struct cr_node *root;
  size_t found = 0;

  if(cr_region_parse(region, &view, config, len, err) < 0) {
    return -1;
  }
  root = region->tree.root;
  if(!cr_streq(root->name, "DistributionConfig") || root->inner.begin == root->outer.end) {
    return cr_fail(err, CR_KIND_PARSE, "NoConfiguration", "this is not a distribution's configuration but %s",
                   root->name);
  }
  region->element = cr_region_child(region, element, &found);
  if(found > 1) {
    return cr_fail(err, CR_KIND_PARSE, "ManyPolicyIds",
                   "the configuration holds %zu %s elements; which one counts cannot be told", found, element);
  }
  return 0;
}

int cr_policy_id_read(const char *config, size_t len, struct cr_policy_id *out, struct cr_error *err)
{
  struct cr_region region;
  int rc = locate(&region, config, len, err);
  if(rc == 0) {
    weigh(&region, out);
  } else {
    memset(out, 0, sizeof *out);
  }
  cr_tree_free(&region.tree);
  return rc;
}

/* A new element, its prefix that of the root, which is in scope wherever its children stand. */
static void put_new(struct cr_buf *out, const struct cr_region *region, const char *id)
{
  struct cr_piece lead = cr_region_lead(region, region->tree.root);
  cr_buf_addc(out, '<');
  cr_buf_add(out, lead.at, lead.len);
  cr_buf_addf(out, "%s>%s</", element, id);
  cr_buf_add(out, lead.at, lead.len);
  cr_buf_addf(out, "%s>", element);
}

int cr_policy_id_change(const char *config, size_t len, const char *from, const char *to, struct cr_buf *out,
                        enum cr_names *names, struct cr_error *err)
{
  struct cr_region region;
  struct cr_policy_id now;
  int rc;

  *names = CR_NAMES_OTHER;
  if((*from && !cr_policy_id_valid(from)) || (*to && !cr_policy_id_valid(to))) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidPolicyId", "'%.40s' is no continuous-deployment policy's id",
                   *from && !cr_policy_id_valid(from) ? from : to);
  }
  rc = locate(&region, config, len, err);
  if(rc == 0) {
    weigh(&region, &now);
    if(now.odd) {
      *names = CR_NAMES_OTHER;
    } else if(cr_streq(now.id, to)) {
      *names = CR_NAMES_NEW;
    } else if(cr_streq(now.id, from)) {
      *names = CR_NAMES_OLD;
      cr_buf_add(out, config, now.begin);
      if(region.element) {
        cr_region_put_field(out, &region, region.element, element, to);
      } else {
        put_new(out, &region, to);
      }
      cr_buf_add(out, config + now.end, len - now.end);
      rc = cr_buf_check(out, "edited configuration", err);
      if(rc < 0) {
        cr_buf_reset(out);
      }
    }
  }
  cr_tree_free(&region.tree);
  return rc;
}
