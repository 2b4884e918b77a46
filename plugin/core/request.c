/* request.c - operation rows and parameters into URLs, headers and bodies (see request.h).
 *
 * Sources: aws-reference 1.5, 2.1, 3.1, 4.1. Everything is built in the draft, which the caller owns. */
#include "request.h"
#include "json.h"
#include "operation.h"
#include "uri.h"

#include <stdio.h>
#include <string.h>

#define URL_MAX ((size_t)64 << 10)
#define BODY_MAX ((size_t)16 << 20)  /* ACM takes a chain of 2 MiB, which grows by a third in base64 */

void cr_draft_init(struct cr_draft *draft)
{
  memset(draft, 0, sizeof *draft);
  cr_buf_init(&draft->url, URL_MAX);
  cr_buf_init(&draft->body, BODY_MAX);
}

void cr_draft_free(struct cr_draft *draft)
{
  cr_buf_free(&draft->url);
  cr_buf_free(&draft->body);
}

static bool is_scalar(const struct cr_node *node)
{
  return node->type == CR_NODE_TEXT || node->type == CR_NODE_NUMBER || node->type == CR_NODE_BOOL;
}

/* ---- parameters ---- */

static bool is_list_name(const struct cr_operation *operation, const char *name)
{
  for(const char *const *list = operation->lists; name && list && *list; list++) {
    if(strcmp(*list, name) == 0) {
      return true;
    }
  }
  return false;
}

static int wrap_scalar(struct cr_tree *tree, struct cr_node *node, struct cr_error *err)
{
  struct cr_node scalar = *node, *child;
  node->type = CR_NODE_LIST;
  node->text = "";
  node->len = 0;
  child = cr_node_add(tree, node, NULL, scalar.type);
  if(!child) {
    return cr_fail_memory(err);
  }
  child->text = scalar.text;
  child->len = scalar.len;
  child->truth = scalar.truth;
  return 0;
}

int cr_params_lists(const struct cr_operation *operation, struct cr_tree *tree, struct cr_error *err)
{
  struct cr_node *node = operation->lists ? tree->root : NULL;
  while(node) {
    if(is_list_name(operation, node->name)) {
      if(node->type == CR_NODE_MAP && !node->count) {
        node->type = CR_NODE_LIST;
      } else if(is_scalar(node) && wrap_scalar(tree, node, err) < 0) {
        return -1;
      }
    }
    if(node->first) {
      node = node->first;
      continue;
    }
    while(node && !node->next) {
      node = node->parent;
    }
    node = node ? node->next : NULL;
  }
  return 0;
}

static const struct cr_param *find_param(const struct cr_operation *operation, const char *name)
{
  for(const struct cr_param *param = operation->params; param && param->name; param++) {
    if(cr_streq(param->name, name)) {
      return param;
    }
  }
  return NULL;
}

static int check_names(const struct cr_operation *operation, const struct cr_node *params, struct cr_error *err)
{
  static const char *const from_identity[] = { "Certificate", "CertificateBody", "PrivateKey", "CertificateChain" };

  for(const struct cr_node *node = params->first; node; node = node->next) {
    if(!node->name) {
      return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "%s: parameters are given by name", operation->name);
    }
    if(operation->protocol == CR_REST_XML && !find_param(operation, node->name)) {
      return cr_fail(err, CR_KIND_INPUT, "UnknownParameter", "%s has no parameter \"%.100s\"", operation->name,
                     node->name);
    }
    for(size_t i = 0; operation->identity && i < sizeof from_identity / sizeof from_identity[0]; i++) {
      if(strcmp(node->name, from_identity[i]) == 0) {
        return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "%s: %s comes from the identity, leave it out",
                       operation->name, node->name);
      }
    }
  }
  return 0;
}

static int check_required(const struct cr_operation *operation, const struct cr_node *params, struct cr_error *err)
{
  for(const struct cr_param *param = operation->params; param && param->name; param++) {
    const struct cr_node *node = cr_get(params, param->name);
    bool empty = !node || node->type == CR_NODE_NULL || (node->type == CR_NODE_TEXT && !node->len);
    if(param->required && empty) {
      return cr_fail(err, CR_KIND_INPUT, "MissingParameter", "%s needs the parameter %s", operation->name, param->name);
    }
    if(node && operation->protocol == CR_REST_XML && param->place != CR_NOT_SENT && !is_scalar(node) &&
       !(param->place == CR_IN_QUERY && node->type == CR_NODE_LIST)) {
      return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "%s: %s must be a text or a number", operation->name,
                     param->name);
    }
  }
  return 0;
}

int cr_params_complete(const struct cr_operation *operation, struct cr_tree *tree, struct cr_error *err)
{
  struct cr_node *params = tree->root;

  if(params->type != CR_NODE_MAP) {
    if(params->count || is_scalar(params)) {
      return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "%s: parameters are given by name", operation->name);
    }
    params->type = CR_NODE_MAP; /* an empty table may have come as a list */
  }
  if(cr_params_lists(operation, tree, err) < 0 || (operation->prepare && operation->prepare(tree, params, err) < 0)) {
    return -1;
  }
  return check_names(operation, params, err) < 0 ? -1 : check_required(operation, params, err);
}

/* ---- URL and headers ---- */

static void add_header(struct cr_draft *draft, const char *name, const char *value, size_t len)
{
  struct cr_header *header = &draft->headers[draft->header_count++];
  header->name = name;
  header->value = value;
  header->value_len = len;
}

static bool is_header_value(const struct cr_node *node)
{
  for(size_t i = 0; i < node->len; i++) {
    unsigned char c = (unsigned char)node->text[i];
    if((c < 0x20 && c != '\t') || c == 0x7F) {
      return false;
    }
  }
  return true;
}

/* "/distribution/{Id}/config"; "{Key+}" keeps slashes. */
static int add_path(struct cr_buf *url, const struct cr_operation *operation, const struct cr_node *params,
                    struct cr_error *err)
{
  const char *at = operation->path;

  while(*at) {
    size_t plain = strcspn(at, "{");
    char name[64];
    cr_buf_add(url, at, plain);
    at += plain;
    if(*at == '{') {
      size_t len = strcspn(at, "}") - 1;
      bool keep = len && at[len] == '+';
      const char *value;
      snprintf(name, sizeof name, "%.*s", (int)(len - keep), at + 1);
      value = cr_get_text(params, name);
      if(!value || !*value) {
        return cr_fail(err, CR_KIND_INPUT, "MissingParameter", "%s needs the parameter %s", operation->name, name);
      }
      if(strcmp(value, ".") == 0 || strcmp(value, "..") == 0) {
        /* Dots cannot be encoded, and as a path segment they would name another resource. */
        return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "%s: %s must not be \"%s\"", operation->name, name,
                       value);
      }
      cr_uri_encode(url, value, strlen(value), keep);
      at += len + 2;
    }
  }
  return 0;
}

static void add_query(struct cr_buf *url, bool *first, const char *name, const struct cr_node *value)
{
  cr_buf_addc(url, *first ? '?' : '&');
  *first = false;
  cr_uri_encode(url, name, strlen(name), false);
  cr_buf_addc(url, '=');
  cr_uri_encode(url, value->text, value->len, false);
}

static int rest_head(struct cr_draft *draft, const struct cr_operation *operation, const struct cr_node *params,
                     struct cr_error *err)
{
  bool first = !strchr(operation->path, '?'), body = false, typed = false;

  draft->method = operation->method;
  if(add_path(&draft->url, operation, params, err) < 0) {
    return -1;
  }
  for(const struct cr_param *param = operation->params; param && param->name; param++) {
    const struct cr_node *node = cr_get(params, param->name);
    const char *wire = param->wire ? param->wire : param->name;
    if(!node || node->type == CR_NODE_NULL) {
      continue;
    }
    if(param->place == CR_IN_QUERY && node->type == CR_NODE_LIST) {
      for(const struct cr_node *item = node->first; item; item = item->next) {
        add_query(&draft->url, &first, wire, item);
      }
    } else if(param->place == CR_IN_QUERY) {
      add_query(&draft->url, &first, wire, node);
    } else if(param->place == CR_IN_BODY_TEXT) {
      body = true;
    } else if(param->place == CR_IN_HEADER) {
      if(!is_header_value(node) || draft->header_count >= CR_DRAFT_HEADERS - 1) {
        return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "%s: %s contains a line end or a control character",
                       operation->name, param->name);
      }
      typed = typed || cr_strcasecmp(wire, "content-type") == 0;
      add_header(draft, wire, node->text, node->len);
    }
  }
  if(body && !typed) {
    add_header(draft, "Content-Type", "application/xml", strlen("application/xml"));
  }
  return 0;
}

static const char *target_prefix(enum cr_service service)
{
  switch(service) {
  case CR_ACM: return "CertificateManager";
  case CR_SUPPORT: return "AWSSupport_20130415";
  case CR_QUOTAS: return "ServiceQuotasV20190624";
  default: return NULL;
  }
}

static const char *query_version(enum cr_service service)
{
  return service == CR_STS ? "2011-06-15" : "2010-05-08";
}

int cr_draft_head(struct cr_draft *draft, const struct cr_operation *operation, const struct cr_endpoint *endpoint,
                  const struct cr_node *params, struct cr_error *err)
{
  static const char form[] = "application/x-www-form-urlencoded; charset=utf-8", json[] = "application/x-amz-json-1.1";
  const char *prefix;

  cr_buf_reset(&draft->url);
  draft->header_count = 0;
  if(!endpoint->url) {
    return cr_fail(err, CR_KIND_INPUT, "NoEndpoint", "the account has no endpoint for the service %s",
                   cr_service_name(operation->service));
  }
  if(operation->service == CR_S3) {
    if(cr_s3_locate(&draft->url, endpoint->url, cr_get_text(params, "Bucket"), err) < 0) {
      return -1;
    }
  } else {
    cr_buf_adds(&draft->url, endpoint->url);
  }
  switch(operation->protocol) {
  case CR_REST_XML:
    if(rest_head(draft, operation, params, err) < 0) {
      return -1;
    }
    break;
  case CR_QUERY:
    draft->method = "POST";
    cr_buf_addc(&draft->url, '/');
    add_header(draft, "Content-Type", form, sizeof form - 1);
    break;
  case CR_JSON11:
    prefix = target_prefix(operation->service);
    if(!prefix) {
      return cr_fail(err, CR_KIND_INPUT, "UnknownService", "the service %s does not speak JSON",
                     cr_service_name(operation->service));
    }
    draft->method = "POST";
    cr_buf_addc(&draft->url, '/');
    snprintf(draft->target, sizeof draft->target, "%s.%s", prefix, operation->name);
    add_header(draft, "Content-Type", json, sizeof json - 1);
    add_header(draft, "X-Amz-Target", draft->target, strlen(draft->target));
    break;
  }
  return cr_buf_check(&draft->url, "URL", err);
}

/* ---- bodies ---- */

#define PREFIX_MAX 512

static void form_pair(struct cr_buf *body, const char *name, const char *value, size_t len)
{
  cr_buf_addc(body, '&');
  cr_uri_encode_form(body, name, strlen(name));
  cr_buf_addc(body, '=');
  cr_uri_encode_form(body, value, len);
}

/* "Tags.member.1.Key" of a node below params, written from the root down. */
static int form_name(const struct cr_node *node, const struct cr_node *params, char *out, size_t size)
{
  const struct cr_node *chain[16];
  size_t depth = 0, len = 0;

  for(; node != params; node = node->parent) {
    if(depth == sizeof chain / sizeof chain[0]) {
      return -1;
    }
    chain[depth++] = node;
  }
  while(depth--) {
    const struct cr_node *at = chain[depth];
    const char *dot = len ? "." : "";
    int added;
    if(at->parent->type == CR_NODE_LIST) {
      size_t place = 1;
      for(const struct cr_node *each = at->parent->first; each != at; each = each->next) {
        place++;
      }
      added = snprintf(out + len, size - len, "%smember.%zu", dot, place);
    } else {
      added = snprintf(out + len, size - len, "%s%s", dot, at->name ? at->name : "");
    }
    if(added < 0 || (size_t)added >= size - len) {
      return -1;
    }
    len += (size_t)added;
  }
  return 0;
}

static int form_body(struct cr_draft *draft, const struct cr_operation *operation, const struct cr_node *params,
                     struct cr_error *err)
{
  char name[PREFIX_MAX];
  const struct cr_node *node = params->first;

  cr_buf_addf(&draft->body, "Action=%s&Version=%s", operation->name, query_version(operation->service));
  while(node) {
    if(is_scalar(node)) {
      if(form_name(node, params, name, sizeof name) < 0) {
        return cr_fail(err, CR_KIND_INPUT, "InvalidParameter",
                       "%s: a parameter is nested too deep or its name is too long", operation->name);
      }
      form_pair(&draft->body, name, node->text, node->len);
    }
    if(node->first) {
      node = node->first;
      continue;
    }
    while(node != params && !node->next) {
      node = node->parent;
    }
    node = node == params ? NULL : node->next;
  }
  return 0;
}

static int json_body(struct cr_draft *draft, const struct cr_node *params, struct cr_error *err)
{
  if(!params->count) {
    cr_buf_adds(&draft->body, "{}");
    return 0;
  }
  return cr_json_write(&draft->body, params, err);
}

/* The unencrypted key exists in this function and in the body, and is wiped in both. */
static int add_identity(struct cr_draft *draft, const struct cr_operation *operation,
                        const struct cr_identity *identity, struct cr_error *err)
{
  const char *certificate = cr_identity_certificate_pem(identity), *chain = cr_identity_chain_pem(identity);
  struct cr_buf *body = &draft->body, key;
  int rc = -1;

  cr_buf_init(&key, (size_t)64 << 10);
  if(cr_identity_private_key_pem(identity, &key, err) < 0) {
    goto done;
  }
  if(operation->protocol == CR_JSON11) {
    cr_buf_cut(body, body->len - 1); /* the closing brace comes again */
    cr_buf_adds(body, body->len > 1 ? ",\"Certificate\":" : "\"Certificate\":");
    cr_json_base64(body, certificate, strlen(certificate));
    cr_buf_adds(body, ",\"PrivateKey\":");
    cr_json_base64(body, key.data, key.len);
    if(*chain) {
      cr_buf_adds(body, ",\"CertificateChain\":");
      cr_json_base64(body, chain, strlen(chain));
    }
    cr_buf_addc(body, '}');
  } else {
    form_pair(body, "CertificateBody", certificate, strlen(certificate));
    form_pair(body, "PrivateKey", key.data, key.len);
    if(*chain) {
      form_pair(body, "CertificateChain", chain, strlen(chain));
    }
  }
  rc = 0;

done:
  cr_buf_free(&key);
  return rc;
}

int cr_draft_body(struct cr_draft *draft, const struct cr_operation *operation, const struct cr_node *params,
                  const struct cr_identity *identity, struct cr_error *err)
{
  int rc = 0;

  cr_buf_reset(&draft->body);
  switch(operation->protocol) {
  case CR_REST_XML: /* the text of one parameter, where it is: a configuration need not be copied */
    draft->content = NULL;
    draft->content_len = 0;
    for(const struct cr_param *param = operation->params; param && param->name; param++) {
      const struct cr_node *node = param->place == CR_IN_BODY_TEXT ? cr_get(params, param->name) : NULL;
      if(node) {
        draft->content = node->text;
        draft->content_len = node->len;
      }
    }
    return 0;
  case CR_QUERY:
    rc = form_body(draft, operation, params, err);
    break;
  case CR_JSON11:
    rc = json_body(draft, params, err);
    break;
  }
  if(rc == 0 && operation->identity) {
    rc = add_identity(draft, operation, identity, err);
  }
  draft->content = draft->body.data;
  draft->content_len = draft->body.len;
  return rc < 0 ? -1 : cr_buf_check(&draft->body, "request body", err);
}
