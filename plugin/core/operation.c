/* operation.c - finding a row of the operation tables, and shaping XML by the names in AWS's models.
 *
 * Includes nothing above the call's contract; owns no memory. */
#include "operation.h"

#include <string.h>

static const struct cr_operation *const tables[] = {
  cr_acm_operations,
  cr_iam_operations,
  cr_cloudfront_operations,
  cr_sts_operations,
  cr_quotas_operations,
  cr_support_operations,
  cr_s3_operations,
};
#define TABLE_COUNT (sizeof tables / sizeof tables[0])

const struct cr_operation *cr_operation_at(size_t index)
{
  for(size_t i = 0; i < TABLE_COUNT; i++) {
    for(const struct cr_operation *row = tables[i]; row->name; row++) {
      if(index == 0) {
        return row;
      }
      index--;
    }
  }
  return NULL;
}

const struct cr_operation *cr_operation_find(const char *service, const char *name)
{
  if(!service || !name) {
    return NULL;
  }
  for(size_t i = 0; i < TABLE_COUNT; i++) {
    for(const struct cr_operation *row = tables[i]; row->name; row++) {
      if(strcmp(row->name, name) == 0 && cr_streq(cr_service_name(row->service), service)) {
        return row;
      }
    }
  }
  return NULL;
}

/* AWS names what only looks by one of these. */
bool cr_operation_writes(const struct cr_operation *operation)
{
  static const char *const looks[] = { "Get", "List", "Describe", "Head" };
  for(size_t i = 0; i < sizeof looks / sizeof looks[0]; i++) {
    if(strncmp(operation->name, looks[i], strlen(looks[i])) == 0) {
      return false;
    }
  }
  return true;
}

static bool digits(const char **at)
{
  const char *start = *at;
  while(**at >= '0' && **at <= '9') {
    (*at)++;
  }
  return *at != start;
}

/* What xs:int, xs:long and xs:float look like on AWS's wire. */
static bool looks_numeric(const char *text)
{
  const char *at = text;
  if(*at == '-' || *at == '+') {
    at++;
  }
  if(!digits(&at)) {
    return false;
  }
  if(*at == '.') {
    at++;
    if(!digits(&at)) {
      return false;
    }
  }
  if(*at == 'e' || *at == 'E') {
    at++;
    if(*at == '-' || *at == '+') {
      at++;
    }
    if(!digits(&at)) {
      return false;
    }
  }
  return *at == '\0';
}

static bool blank(const char *text)
{
  return text[strspn(text, " \t\r\n")] == '\0';
}

static void shape_one(struct cr_node *node, enum cr_shape_kind kind)
{
  switch(kind) {
  case CR_SHAPE_LIST:
    /* An empty list arrives as an element without children, which is text to the parser. */
    if(node->type == CR_NODE_MAP) {
      node->type = CR_NODE_LIST;
    } else if(node->type == CR_NODE_TEXT && blank(node->text)) {
      node->type = CR_NODE_LIST;
      node->text = "";
      node->len = 0;
    }
    break;
  case CR_SHAPE_NUMBER:
    if(node->type == CR_NODE_TEXT && looks_numeric(node->text)) {
      node->type = CR_NODE_NUMBER;
    }
    break;
  case CR_SHAPE_BOOL:
    if(node->type == CR_NODE_TEXT && (strcmp(node->text, "true") == 0 || strcmp(node->text, "false") == 0)) {
      node->type = CR_NODE_BOOL;
      node->truth = node->text[0] == 't';
    }
    break;
  }
}

static const struct cr_shape *find_shape(const char *name, const struct cr_shape *shapes, size_t count)
{
  size_t low = 0, high = count;
  while(low < high) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(name, shapes[middle].name);
    if(order == 0) {
      return &shapes[middle];
    }
    if(order < 0) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return NULL;
}

void cr_shape_by_name(struct cr_node *root, const struct cr_shape *shapes, size_t count)
{
  struct cr_node *node = root;
  while(node) {
    const struct cr_shape *shape = node->name ? find_shape(node->name, shapes, count) : NULL;
    if(shape) {
      shape_one(node, shape->kind);
    }
    if(node->first) {
      node = node->first;
      continue;
    }
    while(node != root && !node->next) {
      node = node->parent;
    }
    node = node == root ? NULL : node->next;
  }
}

struct cr_node *cr_child(struct cr_node *map, const char *name)
{
  for(struct cr_node *child = map ? map->first : NULL; child; child = child->next) {
    if(cr_streq(child->name, name)) {
      return child;
    }
  }
  return NULL;
}

int cr_default_int(struct cr_tree *tree, struct cr_node *params, const char *name, int64_t number,
                   struct cr_error *err)
{
  if(cr_get(params, name)) {
    return 0;
  }
  return cr_add_int(tree, params, name, number) ? 0 : cr_fail_memory(err);
}
