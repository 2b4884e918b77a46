/* result.c - from an answer's tree to the result a caller sees (see result.h).
 *
 * Nodes are relinked, not copied; the one arena of the tree owns everything. */
#include "result.h"
#include "classify.h"
#include "request.h"

#include <stdio.h>
#include <string.h>

#define ETAG_MAX 512

/* <DistributionList/>, or a table that cjson could not tell from an empty list: a structure without members. */
static bool make_map(struct cr_node *node)
{
  if(node->type == CR_NODE_MAP) {
    return true;
  }
  if(node->count || (node->type != CR_NODE_LIST && node->type != CR_NODE_TEXT) ||
     node->text[strspn(node->text, " \t\r\n")]) {
    return false;
  }
  node->type = CR_NODE_MAP;
  node->text = "";
  node->len = 0;
  return true;
}

/* The query protocol wraps the answer: <Op>Response/<Op>Result. An operation without output has no Result. */
static struct cr_node *unwrap_query(const struct cr_operation *operation, struct cr_node *root)
{
  char name[96];
  struct cr_node *child = root->first;
  snprintf(name, sizeof name, "%sResult", operation->name);
  while(child && !cr_streq(child->name, name)) {
    child = child->next;
  }
  return child;
}

static int unexpected(const struct cr_node *root, struct cr_error *err)
{
  return cr_fail(err, CR_KIND_PARSE, "UnexpectedAnswer", "it is %s instead of the operation's result",
                 root->name ? "another document" : "a single value");
}

/* The document becomes the only member, under the name the row gives. */
static int wrap(const char *name, struct cr_tree *tree, struct cr_node *root, struct cr_error *err)
{
  struct cr_node *top;

  tree->root = NULL;
  top = cr_node_add(tree, NULL, NULL, CR_NODE_MAP);
  if(!top) {
    return cr_fail_memory(err);
  }
  if(root) {
    root->name = name;
    root->next = NULL;
    root->parent = top;
    top->first = top->last = root;
    top->count = 1;
  }
  return 0;
}

/* What stands in a row between other elements becomes a list, there also when it does not occur. */
static int gather(const char *name, struct cr_tree *tree, struct cr_node *root, struct cr_error *err)
{
  struct cr_node *child = root->first, *next, *list;

  root->first = root->last = NULL;
  root->count = 0;
  list = cr_node_add(tree, root, name, CR_NODE_LIST);
  if(!list) {
    return cr_fail_memory(err);
  }
  for(; child; child = next) {
    struct cr_node *parent = cr_streq(child->name, name) ? list : root;
    next = child->next;
    child->next = NULL;
    child->parent = parent;
    if(parent->last) {
      parent->last->next = child;
    } else {
      parent->first = child;
    }
    parent->last = child;
    parent->count++;
  }
  return 0;
}

static int add_date(struct cr_tree *tree, const struct cr_answer *answer, const char *header, const char *name,
                    struct cr_error *err)
{
  char text[64];
  int64_t seconds = cr_answer_header(answer, header, text, sizeof text) ? cr_parse_date(text) : -1;
  if(seconds < 0) {
    return 0;
  }
  return cr_add_int(tree, tree->root, name, seconds) ? 0 : cr_fail_memory(err);
}

static int add_extras(const struct cr_operation *operation, struct cr_tree *tree, struct cr_answer *answer,
                      struct cr_error *err)
{
  char etag[ETAG_MAX];

  if(operation->with_etag && cr_answer_header(answer, "etag", etag, sizeof etag) &&
     !cr_add_text(tree, tree->root, "ETag", etag)) {
    return cr_fail_memory(err);
  }
  if(operation->with_date && (add_date(tree, answer, "date", "Date", err) < 0 ||
                              add_date(tree, answer, "last-modified", "LastModified", err) < 0)) {
    return -1;
  }
  if(operation->with_body && !cr_add_buf(tree, tree->root, "Body", &answer->body)) {
    return cr_fail_memory(err);
  }
  return 0;
}

int cr_result_shape(const struct cr_operation *operation, struct cr_tree *tree, struct cr_answer *answer,
                    struct cr_error *err)
{
  struct cr_node *root = tree->root;

  if(root && operation->shape) {
    operation->shape(root);
  }
  if(root && operation->protocol == CR_JSON11 && cr_params_lists(operation, tree, err) < 0) {
    return -1;
  }
  if(root && operation->protocol == CR_QUERY) {
    size_t len = strlen(operation->name);
    if(!root->name || strncmp(root->name, operation->name, len) != 0 || strcmp(root->name + len, "Response") != 0) {
      return unexpected(root, err);
    }
    root = unwrap_query(operation, root);
  }
  if(root && operation->protocol == CR_REST_XML && operation->wrap && !cr_streq(root->name, operation->wrap)) {
    return unexpected(root, err);
  }
  if(root && !make_map(root)) {
    return unexpected(root, err);
  }
  if(operation->wrap || !root) {
    if(wrap(operation->wrap, tree, root, err) < 0) {
      return -1;
    }
  } else {
    tree->root = root;
    root->name = NULL;
    root->parent = root->next = NULL;
    if(operation->repeated && gather(operation->repeated, tree, root, err) < 0) {
      return -1;
    }
  }
  return add_extras(operation, tree, answer, err);
}
