/* fake_aws.h - a small AWS in memory that answers requests, for tests of the steps: no sockets, no real clock.
 *
 * It keeps certificates (ACM and IAM) and distributions, enforces what matters to a rotation (ETags, one
 * certificate change at a time, references that exist, deletion refused while in use), can lag, and fails on
 * demand before or after the effect. It checks the client as well: a PUT that differs outside ViewerCertificate, a
 * listing without all key types, or an unsigned request is a failed check.
 * Everything is owned by struct fake and freed by fake_free. */
#ifndef CR_SPEC_FAKE_AWS_H
#define CR_SPEC_FAKE_AWS_H

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "check.h"
#include "identity.h"
#include "json_reader.h"
#include "step.h"
#include "xml.h"

#define FAKE_MAX 64
#define FAKE_LOG 2000
#define FAKE_START 1768478400    /* 2026-01-15T12:00:00Z */

/* What goes wrong with a request. */
enum fake_fault_kind {
  FAKE_LOSE_BEFORE,      /* no answer, nothing carried out */
  FAKE_LOSE_AFTER,       /* no answer, carried out */
  FAKE_ERROR,            /* status and code, nothing carried out */
  FAKE_ERROR_AFTER,      /* status and code, carried out all the same */
  FAKE_BODY              /* 200 with another body */
};

struct fake_fault {
  const char *operation; /* NULL: unused */
  int nth;               /* of that operation, from 1; 0: every one */
  enum fake_fault_kind kind;
  int status;
  const char *code, *message;   /* FAKE_BODY: the body is in message */
};

struct fake_certificate {
  char arn[128];
  char *pem, *chain;
  char fingerprint[65];
  char key_type[24];
  char type[20];
  int64_t not_after, created;
  int64_t visible_at;    /* to listings; monotonic ms */
  int64_t usable_at;     /* to CloudFront */
  char tag_key[8][64], tag_value[8][128];
  int tags;
  int64_t memory_until;  /* InUseBy and deletion remember a former use until then */
  const char *used_by;   /* somebody outside CloudFront */
  bool gone;
};

struct fake_server_certificate {
  char name[160], id[40], path[128];
  char *pem, *chain;
  int64_t visible_at, usable_at, memory_until;
  bool gone;
};

struct fake_distribution {
  char id[32];
  char *config, *old_config;   /* what a lagging listing still shows */
  char old_status[16];
  int version;
  int64_t changed_at, deployed_at;
  bool continuous, gone;
  bool statusless;             /* a tenant that is shown without its Status */
};

struct fake {
  int64_t mono_ms;
  struct fake_certificate acm[FAKE_MAX];
  struct fake_server_certificate iam[FAKE_MAX];
  struct fake_distribution cf[FAKE_MAX];
  int acm_count, iam_count, cf_count;
  int page;                    /* of every listing */
  int overlap;                 /* distributions repeated on the next page */
  int64_t propagation_ms, listing_lag_ms, visible_lag_ms, usable_lag_ms, memory_ms;
  bool policy_only;            /* an update may change ContinuousDeploymentPolicyId, and not ViewerCertificate */
  const char *tenant;          /* names this certificate */
  int tenant_pages;            /* empty pages before it */
  struct fake_fault faults[8];
  char log[FAKE_LOG][48];
  int requests;
  int imports, reimports, uploads, puts, deletes;   /* carried out */
  void (*before)(struct fake *fake, const char *operation, int nth);   /* somebody else at work */
  void (*pause)(void), (*resume)(void);   /* around what is the test's own and not the core's */
};

static inline void fake_init(struct fake *fake)
{
  memset(fake, 0, sizeof *fake);
  fake->mono_ms = 1000;
  fake->page = 3;
  fake->propagation_ms = 60000;
}

static inline void fake_free(struct fake *fake)
{
  for(int i = 0; i < FAKE_MAX; i++) {
    free(fake->acm[i].pem);
    free(fake->acm[i].chain);
    free(fake->iam[i].pem);
    free(fake->iam[i].chain);
    free(fake->cf[i].config);
    free(fake->cf[i].old_config);
  }
  memset(fake, 0, sizeof *fake);
}

static inline char *fake_print(const char *format, ...) CR_PRINTF(1, 2);
static inline char *fake_print(const char *format, ...)
{
  va_list args;
  va_start(args, format);
  int len = vsnprintf(NULL, 0, format, args);
  va_end(args);
  char *text = malloc((size_t)len + 1);
  va_start(args, format);
  vsnprintf(text, (size_t)len + 1, format, args);
  va_end(args);
  return text;
}

static inline int fake_count(const struct fake *fake, const char *operation)
{
  int count = 0;
  for(int i = 0; i < fake->requests && i < FAKE_LOG; i++) {
    count += strcmp(fake->log[i], operation) == 0;
  }
  return count;
}

static inline struct fake_fault *fake_fault(struct fake *fake, const char *operation, int nth,
                                            enum fake_fault_kind kind, int status, const char *code,
                                            const char *message)
{
  for(int i = 0; i < 8; i++) {
    if(!fake->faults[i].operation) {
      fake->faults[i] = (struct fake_fault){ operation, nth, kind, status, code, message };
      return &fake->faults[i];
    }
  }
  CHECK(!"room for another fault");
  return NULL;
}

/* --- what is in it ----------------------------------------------------------------------------------------- */

static inline struct fake_certificate *fake_acm_add(struct fake *fake, const char *pem, const char *chain)
{
  struct fake_certificate *made = &fake->acm[fake->acm_count++];
  struct cr_certificate parsed;
  struct cr_error err;
  snprintf(made->arn, sizeof made->arn,
           "arn:aws:acm:us-east-1:111122223333:certificate/%08d-2222-3333-4444-555555555555", fake->acm_count);
  made->pem = fake_print("%s", pem);
  made->chain = fake_print("%s", chain ? chain : "");
  CHECK(cr_certificate_parse(pem, strlen(pem), &parsed, &err) == 0);
  memcpy(made->fingerprint, parsed.fingerprint, sizeof made->fingerprint);
  memcpy(made->key_type, parsed.key_type, sizeof made->key_type);
  for(char *c = made->key_type; *c; c++) {
    if(*c == '_') {
      *c = '-';   /* as seen on the wire */
    }
  }
  made->not_after = parsed.not_after;
  made->created = FAKE_START + fake->mono_ms / 1000;
  snprintf(made->type, sizeof made->type, "IMPORTED");
  made->visible_at = fake->mono_ms + fake->visible_lag_ms;
  made->usable_at = fake->mono_ms + fake->usable_lag_ms;
  cr_certificate_free(&parsed);
  return made;
}

static inline struct fake_server_certificate *fake_iam_add(struct fake *fake, const char *name, const char *path,
                                                           const char *pem, const char *chain)
{
  struct fake_server_certificate *made = &fake->iam[fake->iam_count++];
  snprintf(made->name, sizeof made->name, "%s", name);
  snprintf(made->path, sizeof made->path, "%s", path);
  snprintf(made->id, sizeof made->id, "ASCAEXAMPLEEXAMPLE%03d", fake->iam_count);
  made->pem = fake_print("%s", pem);
  made->chain = fake_print("%s", chain ? chain : "");
  made->visible_at = fake->mono_ms + fake->visible_lag_ms;
  made->usable_at = fake->mono_ms + fake->usable_lag_ms;
  return made;
}

/* The fields that name `reference`, twins included, in an order the model does not have. */
static inline char *fake_viewer(const char *reference)
{
  if(!*reference) {
    return fake_print("<ViewerCertificate><CloudFrontDefaultCertificate>true</CloudFrontDefaultCertificate>"
                      "<MinimumProtocolVersion>TLSv1</MinimumProtocolVersion>"
                      "<CertificateSource>cloudfront</CertificateSource></ViewerCertificate>");
  }
  bool acm = strncmp(reference, "arn:", 4) == 0;
  const char *field = acm ? "ACMCertificateArn" : "IAMCertificateId";
  return fake_print("<ViewerCertificate><CertificateSource>%s</CertificateSource>"
                    "<CloudFrontDefaultCertificate>false</CloudFrontDefaultCertificate><%s>%s</%s>"
                    "<SSLSupportMethod>sni-only</SSLSupportMethod>"
                    "<MinimumProtocolVersion>TLSv1.2_2021</MinimumProtocolVersion>"
                    "<Certificate>%s</Certificate></ViewerCertificate>",
                    acm ? "acm" : "iam", field, reference, field, reference);
}

static inline char *fake_config(const char *id, const char *reference)
{
  char *viewer = fake_viewer(reference);
  char *config = fake_print("<?xml version=\"1.0\"?>\n<DistributionConfig "
                            "xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><CallerReference>ref-%s"
                            "</CallerReference><Aliases><Quantity>1</Quantity><Items><CNAME>%s.example.com</CNAME>"
                            "</Items></Aliases><Comment>a &amp; b <!-- kept --></Comment><Enabled>true</Enabled>%s"
                            "<HttpVersion>http2</HttpVersion><NotInventedYet a='1'/><Staging>false</Staging>"
                            "</DistributionConfig>", id, id, viewer);
  free(viewer);
  return config;
}

static inline struct fake_distribution *fake_cf_add(struct fake *fake, const char *id, const char *reference)
{
  struct fake_distribution *made = &fake->cf[fake->cf_count++];
  snprintf(made->id, sizeof made->id, "%s", id);
  made->config = fake_config(id, reference);
  made->version = 1;
  return made;
}

/* A distribution tenant: the same, but its document is what GetDistributionTenant answers, without its Status. */
#define FAKE_TENANT_REST "<Parameters><member><Name>p</Name><Value>v</Value></member></Parameters><New/>"
static inline struct fake_distribution *fake_tenant_add(struct fake *fake, const char *id, const char *reference)
{
  struct fake_distribution *tenant = fake_cf_add(fake, id, reference);
  free(tenant->config);
  tenant->config = fake_print("<Customizations><Certificate><Arn>%s</Arn></Certificate></Customizations>"
                              FAKE_TENANT_REST, reference);
  return tenant;
}

static inline struct fake_distribution *fake_cf_find(struct fake *fake, const char *id)
{
  for(int i = 0; i < fake->cf_count; i++) {
    if(strcmp(fake->cf[i].id, id) == 0 && !fake->cf[i].gone) {
      return &fake->cf[i];
    }
  }
  return NULL;
}

static inline const char *fake_status(const struct fake *fake, const struct fake_distribution *dist)
{
  return fake->mono_ms >= dist->deployed_at ? "Deployed" : "InProgress";
}

/* Anybody's change: a new configuration, a new version, propagating. */
static inline void fake_cf_change(struct fake *fake, struct fake_distribution *dist, char *config)
{
  snprintf(dist->old_status, sizeof dist->old_status, "%s", fake_status(fake, dist));
  free(dist->old_config);
  dist->old_config = dist->config;
  dist->config = config;
  dist->version++;
  dist->changed_at = fake->mono_ms;
  dist->deployed_at = fake->mono_ms + fake->propagation_ms;
}

static inline bool fake_names(const char *config, const char *reference)
{
  return strstr(config, reference) != NULL;
}

static inline int fake_users(const struct fake *fake, const char *reference)
{
  int count = 0;
  for(int i = 0; i < fake->cf_count; i++) {
    count += !fake->cf[i].gone && fake_names(fake->cf[i].config, reference);
  }
  return count;
}

/* --- answers ------------------------------------------------------------------------------------------------ */

static inline int fake_operation_service(const char *operation)
{
  static const char *const iam[] = { "UploadServerCertificate", "GetServerCertificate", "ListServerCertificates",
                                     "DeleteServerCertificate", NULL };
  static const char *const acm[] = { "ImportCertificate", "DescribeCertificate", "GetCertificate", "ListCertificates",
                                     "DeleteCertificate", "ListTagsForCertificate", NULL };
  for(int i = 0; iam[i]; i++) {
    if(strcmp(iam[i], operation) == 0) {
      return CR_IAM;
    }
  }
  for(int i = 0; acm[i]; i++) {
    if(strcmp(acm[i], operation) == 0) {
      return CR_ACM;
    }
  }
  return CR_CLOUDFRONT;
}

static inline void fake_error(struct cr_answer *answer, const char *operation, int status, const char *code,
                              const char *message)
{
  cr_buf_reset(&answer->body);
  cr_buf_reset(&answer->header_text);
  answer->sent = CR_SENT_ANSWERED;
  answer->status = status;
  cr_buf_adds(&answer->header_text, "x-amzn-requestid: 11112222-req\n");
  if(!code) {
    cr_buf_adds(&answer->body, "<html>not AWS</html>");
  } else if(fake_operation_service(operation) == CR_ACM) {
    cr_buf_addf(&answer->body, "{\"__type\":\"com.amazonaws.acm#%s\",\"message\":\"%s\"}", code, message);
  } else {
    cr_buf_addf(&answer->body, "<?xml version=\"1.0\"?>\n<ErrorResponse xmlns=\"http://x/\"><Error><Type>Sender</Type>"
                "<Code>%s</Code><Message>%s</Message></Error><RequestId>11112222-req</RequestId></ErrorResponse>",
                code, message);
  }
}

static inline void fake_json_text(struct cr_buf *out, const char *text)
{
  cr_buf_addc(out, '"');
  for(; *text; text++) {
    if(*text == '\n') {
      cr_buf_adds(out, "\\n");
    } else {
      cr_buf_addc(out, *text);
    }
  }
  cr_buf_addc(out, '"');
}

/* The value of a form field, decoded, allocated; NULL when absent. */
static inline char *fake_form(const char *body, const char *name)
{
  char *key = fake_print("&%s=", name), *all = fake_print("&%s", body), *found = strstr(all, key), *out = NULL;
  if(found) {
    const char *at = found + strlen(key);
    size_t len = 0;
    out = malloc(strlen(at) + 1);
    for(; *at && *at != '&'; at++) {
      unsigned byte = (unsigned char)*at;
      if(*at == '%') {
        CHECK(sscanf(at + 1, "%2x", &byte) == 1);
        at += 2;
      }
      out[len++] = (char)byte;
    }
    out[len] = '\0';
  }
  free(key);
  free(all);
  return out;
}

/* --- ACM ----------------------------------------------------------------------------------------------------- */

static inline struct fake_certificate *fake_acm_find(struct fake *fake, const char *arn)
{
  for(int i = 0; arn && i < fake->acm_count; i++) {
    if(strcmp(fake->acm[i].arn, arn) == 0 && !fake->acm[i].gone) {
      return &fake->acm[i];
    }
  }
  return NULL;
}

static inline char *fake_base64(const char *text)
{
  size_t len = text ? strlen(text) : 0, padding = 0;
  while(len && padding < 2 && text[len - 1 - padding] == '=') {
    padding++;
  }
  char *out = calloc(1, len + 1);
  int got = len ? EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text, (int)len) : 0;
  CHECK(got >= 0);
  out[got >= (int)padding ? got - (int)padding : 0] = '\0';
  return out;
}

/* New content under an ARN that is there. */
static inline void fake_acm_reimport(struct fake *fake, const char *arn, const struct cr_node *in, const char *pem,
                                     const char *chain, struct cr_answer *answer)
{
  struct fake_certificate *c = fake_acm_find(fake, arn);
  if(!c) {
    fake_error(answer, "ImportCertificate", 400, "ResourceNotFoundException", "Could not find certificate.");
  } else if(cr_get(in, "Tags")) {
    fake_error(answer, "ImportCertificate", 400, "ValidationException", "You can't update tags when you reimport.");
  } else {
    free(c->pem);
    free(c->chain);
    c->pem = fake_print("%s", pem);
    c->chain = fake_print("%s", chain);
    fake->reimports++;
    cr_buf_addf(&answer->body, "{\"CertificateArn\":\"%s\"}", c->arn);
  }
}

static inline void fake_acm_import(struct fake *fake, const struct cr_node *in, struct cr_answer *answer)
{
  char *pem = fake_base64(cr_get_text(in, "Certificate")), *chain = fake_base64(cr_get_text(in, "CertificateChain"));
  char *key = fake_base64(cr_get_text(in, "PrivateKey"));
  const char *arn = cr_get_text(in, "CertificateArn");
  CHECK(strstr(key, "BEGIN PRIVATE KEY") != NULL);
  if(arn) {
    fake_acm_reimport(fake, arn, in, pem, chain, answer);
    free(pem);
    free(chain);
    free(key);
    return;
  }
  struct fake_certificate *made = fake_acm_add(fake, pem, chain);
  const struct cr_node *tags = cr_get(in, "Tags");
  for(const struct cr_node *tag = tags ? tags->first : NULL; tag && made->tags < 8; tag = tag->next) {
    snprintf(made->tag_key[made->tags], sizeof made->tag_key[0], "%s", cr_get_text(tag, "Key"));
    snprintf(made->tag_value[made->tags++], sizeof made->tag_value[0], "%s", cr_get_text(tag, "Value"));
  }
  fake->imports++;
  cr_buf_addf(&answer->body, "{\"CertificateArn\":\"%s\"}", made->arn);
  free(pem);
  free(chain);
  free(key);
}

static inline void fake_acm_list(struct fake *fake, const struct cr_node *in, struct cr_answer *answer)
{
  const struct cr_node *types = cr_get_path(in, "Includes/keyTypes");
  const char *token = cr_get_text(in, "NextToken");
  int at = token ? atoi(token) : 0, shown = 0;
  CHECK(types && types->count == 7);
  cr_buf_adds(&answer->body, "{\"CertificateSummaryList\":[");
  for(; at < fake->acm_count && shown < fake->page; at++) {
    const struct fake_certificate *c = &fake->acm[at];
    if(!c->gone && fake->mono_ms >= c->visible_at) {
      cr_buf_addf(&answer->body, "%s{\"CertificateArn\":\"%s\",\"Type\":\"%s\",\"KeyAlgorithm\":\"%s\","
                  "\"NotAfter\":%lld.0,\"CreatedAt\":%lld.123}", shown ? "," : "", c->arn, c->type, c->key_type,
                  (long long)c->not_after, (long long)c->created);
      shown++;
    }
  }
  cr_buf_adds(&answer->body, "]");
  if(at < fake->acm_count) {
    cr_buf_addf(&answer->body, ",\"NextToken\":\"%d\"", at);
  }
  cr_buf_adds(&answer->body, "}");
}

static inline void fake_acm_describe(struct fake *fake, const struct fake_certificate *c, struct cr_answer *answer)
{
  bool first = true;
  cr_buf_addf(&answer->body, "{\"Certificate\":{\"CertificateArn\":\"%s\",\"Type\":\"%s\",\"InUseBy\":[", c->arn,
              c->type);
  for(int i = 0; i < fake->cf_count; i++) {
    const struct fake_distribution *d = &fake->cf[i];
    const char *remembered = fake->mono_ms < c->memory_until ? d->old_config : NULL;
    if(!d->gone && (fake_names(d->config, c->arn) || (remembered && fake_names(remembered, c->arn)))) {
      cr_buf_addf(&answer->body, "%s\"arn:aws:cloudfront::111122223333:distribution/%s\"", first ? "" : ",", d->id);
      first = false;
    }
  }
  if(c->used_by) {
    cr_buf_addf(&answer->body, "%s\"%s\"", first ? "" : ",", c->used_by);
  }
  cr_buf_adds(&answer->body, "]}}");
}

static inline void fake_acm_serve(struct fake *fake, const char *operation, const struct cr_request *request,
                                  struct cr_answer *answer)
{
  struct cr_tree tree;
  cr_tree_init(&tree, 1 << 20);
  CHECK(json_read(&tree, request->body, request->body_len) == 0);
  const struct cr_node *in = tree.root;
  struct fake_certificate *c = fake_acm_find(fake, cr_get_text(in, "CertificateArn"));
  if(strcmp(operation, "ImportCertificate") == 0) {
    fake_acm_import(fake, in, answer);
  } else if(strcmp(operation, "ListCertificates") == 0) {
    fake_acm_list(fake, in, answer);
  } else if(!c) {
    fake_error(answer, operation, 400, "ResourceNotFoundException", "Could not find certificate.");
  } else if(strcmp(operation, "GetCertificate") == 0) {
    cr_buf_adds(&answer->body, "{\"Certificate\":");
    fake_json_text(&answer->body, c->pem);
    if(*c->chain) {
      cr_buf_adds(&answer->body, ",\"CertificateChain\":");
      fake_json_text(&answer->body, c->chain);
    }
    cr_buf_adds(&answer->body, "}");
  } else if(strcmp(operation, "DescribeCertificate") == 0) {
    fake_acm_describe(fake, c, answer);
  } else if(strcmp(operation, "ListTagsForCertificate") == 0) {
    cr_buf_adds(&answer->body, "{\"Tags\":[");
    for(int i = 0; i < c->tags; i++) {
      cr_buf_addf(&answer->body, "%s{\"Key\":\"%s\",\"Value\":\"%s\"}", i ? "," : "", c->tag_key[i], c->tag_value[i]);
    }
    cr_buf_adds(&answer->body, "]}");
  } else if(strcmp(operation, "DeleteCertificate") == 0) {
    if(fake_users(fake, c->arn) || c->used_by || fake->mono_ms < c->memory_until || fake->tenant) {
      fake_error(answer, operation, 400, "ResourceInUseException", "Certificate is in use.");
    } else {
      c->gone = true;
      fake->deletes++;
    }
  } else {
    CHECK(!"a known ACM operation");
  }
  cr_tree_free(&tree);
}

/* --- IAM ----------------------------------------------------------------------------------------------------- */

static inline struct fake_server_certificate *fake_iam_find(struct fake *fake, const char *name)
{
  for(int i = 0; name && i < fake->iam_count; i++) {
    if(cr_strcasecmp(fake->iam[i].name, name) == 0 && !fake->iam[i].gone) {
      return &fake->iam[i];
    }
  }
  return NULL;
}

static inline void fake_iam_metadata(const struct fake_server_certificate *c, const char *element, struct cr_buf *out)
{
  cr_buf_addf(out, "<%s><Path>%s</Path><ServerCertificateName>%s</ServerCertificateName><ServerCertificateId>%s"
              "</ServerCertificateId><Arn>arn:aws:iam::111122223333:server-certificate%s%s</Arn></%s>",
              element, c->path, c->name, c->id, c->path, c->name, element);
}

static inline void fake_iam_list(struct fake *fake, const char *marker, struct cr_buf *out)
{
  int at = marker ? atoi(marker) : 0, shown = 0;
  cr_buf_adds(out, "<ServerCertificateMetadataList>");
  for(; at < fake->iam_count && shown < fake->page; at++) {
    if(!fake->iam[at].gone) {
      fake_iam_metadata(&fake->iam[at], "member", out);
      shown++;
    }
  }
  cr_buf_addf(out, "</ServerCertificateMetadataList><IsTruncated>%s</IsTruncated>",
              at < fake->iam_count ? "true" : "false");
  if(at < fake->iam_count) {
    cr_buf_addf(out, "<Marker>%d</Marker>", at);
  }
}

static inline void fake_iam_upload(struct fake *fake, const char *body, struct cr_answer *answer)
{
  char *name = fake_form(body, "ServerCertificateName"), *path = fake_form(body, "Path");
  char *pem = fake_form(body, "CertificateBody"), *chain = fake_form(body, "CertificateChain");
  char *key = fake_form(body, "PrivateKey");
  CHECK(name && path && pem && key && strstr(key, "BEGIN PRIVATE KEY"));
  if(fake_iam_find(fake, name)) {
    fake_error(answer, "UploadServerCertificate", 409, "EntityAlreadyExists", "The name exists.");
  } else {
    const struct fake_server_certificate *made = fake_iam_add(fake, name, path, pem, chain);
    fake->uploads++;
    fake_iam_metadata(made, "ServerCertificateMetadata", &answer->body);
  }
  free(name);
  free(path);
  free(pem);
  free(chain);
  free(key);
}

static inline void fake_iam_serve(struct fake *fake, const char *operation, const struct cr_request *request,
                                  struct cr_answer *answer)
{
  char *body = fake_print("%.*s", (int)request->body_len, request->body);
  char *name = fake_form(body, "ServerCertificateName"), *marker = fake_form(body, "Marker");
  struct fake_server_certificate *c = fake_iam_find(fake, name);
  char *open = fake_print("<%sResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><%sResult>", operation,
                          operation);
  cr_buf_adds(&answer->body, open);
  if(strcmp(operation, "UploadServerCertificate") == 0) {
    fake_iam_upload(fake, body, answer);
  } else if(strcmp(operation, "ListServerCertificates") == 0) {
    fake_iam_list(fake, marker, &answer->body);
  } else if(!c || (fake->mono_ms < c->visible_at && strcmp(operation, "GetServerCertificate") == 0)) {
    fake_error(answer, operation, 404, "NoSuchEntity", "The name does not exist.");
  } else if(strcmp(operation, "GetServerCertificate") == 0) {
    cr_buf_adds(&answer->body, "<ServerCertificate>");
    fake_iam_metadata(c, "ServerCertificateMetadata", &answer->body);
    cr_buf_addf(&answer->body, "<CertificateBody>%s</CertificateBody>", c->pem);
    if(*c->chain) {
      cr_buf_addf(&answer->body, "<CertificateChain>%s</CertificateChain>", c->chain);
    }
    cr_buf_adds(&answer->body, "</ServerCertificate>");
  } else if(strcmp(operation, "DeleteServerCertificate") == 0) {
    if(fake_users(fake, c->id) || fake->mono_ms < c->memory_until) {
      fake_error(answer, operation, 409, "DeleteConflict", "It is being used by CloudFront.");
    } else {
      c->gone = true;
      fake->deletes++;
    }
  } else {
    CHECK(!"a known IAM operation");
  }
  if(answer->status == 200) {
    cr_buf_addf(&answer->body, "</%sResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></%sResponse>",
                operation, operation);
  }
  free(body);
  free(name);
  free(marker);
  free(open);
}

/* --- CloudFront ---------------------------------------------------------------------------------------------- */

/* The element that attaches a policy, as these configurations write it; begin == end where it would be. */
static inline void fake_policy(const char *config, size_t len, size_t *begin, size_t *end)
{
  char *copy = fake_print("%.*s", (int)len, config);
  const char *from = strstr(copy, "<ContinuousDeploymentPolicyId"), *to = strstr(copy, "<Staging>");
  CHECK(to != NULL);
  *end = to ? (size_t)(to - copy) : 0;
  *begin = from ? (size_t)(from - copy) : *end;
  free(copy);
}

static inline void fake_region(const char *config, size_t len, size_t *begin, size_t *end)
{
  char *copy = fake_print("%.*s", (int)len, config);
  const char *from = strstr(copy, "<ViewerCertificate>"), *to = strstr(copy, "</ViewerCertificate>");
  CHECK(from && to);
  *begin = from ? (size_t)(from - copy) : 0;
  *end = to ? (size_t)(to - copy) + strlen("</ViewerCertificate>") : 0;
  free(copy);
}

/* Rule 1: outside the region nothing changes. */
static inline void fake_check_outside(const char *before, const char *after, size_t after_len, bool policy)
{
  size_t b1, e1, b2, e2, before_len = strlen(before);
  (policy ? fake_policy : fake_region)(before, before_len, &b1, &e1);
  (policy ? fake_policy : fake_region)(after, after_len, &b2, &e2);
  CHECK(b1 == b2 && memcmp(before, after, b1) == 0);
  CHECK(before_len - e1 == after_len - e2 && memcmp(before + e1, after + e2, before_len - e1) == 0);
}

/* Whether every certificate the configuration names exists and CloudFront has heard of it. */
static inline bool fake_knows(struct fake *fake, const char *config)
{
  for(int i = 0; i < fake->acm_count; i++) {
    if(fake_names(config, fake->acm[i].arn)) {
      return !fake->acm[i].gone && fake->mono_ms >= fake->acm[i].usable_at;
    }
  }
  for(int i = 0; i < fake->iam_count; i++) {
    if(fake_names(config, fake->iam[i].id)) {
      return !fake->iam[i].gone && fake->mono_ms >= fake->iam[i].usable_at;
    }
  }
  return false;
}

static inline void fake_remember(struct fake *fake, const char *config)
{
  for(int i = 0; i < fake->acm_count; i++) {
    if(fake_names(config, fake->acm[i].arn)) {
      fake->acm[i].memory_until = fake->mono_ms + fake->memory_ms;
    }
  }
  for(int i = 0; i < fake->iam_count; i++) {
    if(fake_names(config, fake->iam[i].id)) {
      fake->iam[i].memory_until = fake->mono_ms + fake->memory_ms;
    }
  }
}

static inline void fake_cf_show(const struct fake *fake, const struct fake_distribution *d, struct cr_answer *answer)
{
  const char *inner = strstr(d->config, "<DistributionConfig");
  cr_buf_addf(&answer->header_text, "etag: E%s%d\n", d->id, d->version);
  cr_buf_addf(&answer->body, "<Distribution xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Id>%s</Id>"
              "<Status>%s</Status>%s</Distribution>", d->id, fake_status(fake, d), inner);
}

static inline void fake_cf_update(struct fake *fake, struct fake_distribution *d, const struct cr_request *request,
                                  struct cr_answer *answer)
{
  char *etag = fake_print("E%s%d", d->id, d->version), *config;
  const char *given = NULL;
  for(size_t i = 0; i < request->header_count; i++) {
    if(cr_strcasecmp(request->headers[i].name, "If-Match") == 0) {
      given = request->headers[i].value;
    }
  }
  config = fake_print("%.*s", (int)request->body_len, request->body);
  if(!given) {
    fake_error(answer, "UpdateDistribution", 400, "InvalidIfMatchVersion", "The If-Match version is missing.");
  } else if(strcmp(given, etag) != 0) {
    fake_error(answer, "UpdateDistribution", 412, "PreconditionFailed", "The precondition failed.");
  } else if(d->continuous) {
    fake_error(answer, "UpdateDistribution", 400, "IllegalUpdate",
               "One or more fields updated are not supported for continuous deployment.");
  } else if(fake->mono_ms < d->deployed_at) {
    fake_error(answer, "UpdateDistribution", 400, "IllegalUpdate",
               "Only one viewer certificate change may be in progress at a time.");
  } else if(!fake_knows(fake, config)) {
    fake_error(answer, "UpdateDistribution", 400, "InvalidViewerCertificate",
               "The specified SSL certificate doesn't exist, isn't in us-east-1 region, isn't valid, or doesn't "
               "include a valid certificate chain.");
  } else {
    fake_check_outside(d->config, config, request->body_len, fake->policy_only);
    fake_remember(fake, d->config);
    fake_cf_change(fake, d, config);
    config = NULL;
    fake->puts++;
    fake_cf_show(fake, d, answer);
  }
  free(config);
  free(etag);
}

static inline void fake_cf_list(struct fake *fake, const char *url, struct cr_answer *answer)
{
  const char *found = strstr(url, "Marker=");
  int at = 0, count = 0;
  if(found) {
    const char *id = found + strlen("Marker=");
    while(at < fake->cf_count && strncmp(id, fake->cf[at].id, strcspn(id, "&")) != 0) {
      at++;
    }
    at = at + 1 - fake->overlap > 0 ? at + 1 - fake->overlap : 0;
  }
  int to = at + fake->page + (found ? fake->overlap : 0) < fake->cf_count
             ? at + fake->page + (found ? fake->overlap : 0) : fake->cf_count;
  bool more = to < fake->cf_count;
  for(int i = at; i < to; i++) {
    count += !fake->cf[i].gone && strncmp(fake->cf[i].id, "dt_", 3) != 0;
  }
  cr_buf_addf(&answer->body, "<DistributionList xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\">"
              "<MaxItems>100</MaxItems><IsTruncated>%s</IsTruncated><Quantity>%d</Quantity>", more ? "true" : "false",
              count);
  if(more) {
    cr_buf_addf(&answer->body, "<NextMarker>%s</NextMarker>", fake->cf[to - 1].id);
  }
  cr_buf_adds(&answer->body, count ? "<Items>" : "");
  for(int i = at; i < to; i++) {
    const struct fake_distribution *d = &fake->cf[i];
    bool old = d->old_config && fake->mono_ms < d->changed_at + fake->listing_lag_ms;
    const char *config = old ? d->old_config : d->config;
    size_t begin, end;
    if(d->gone || strncmp(d->id, "dt_", 3) == 0) {
      continue;
    }
    fake_region(config, strlen(config), &begin, &end);
    cr_buf_addf(&answer->body, "<DistributionSummary><Id>%s</Id><Status>%s</Status>%.*s<Enabled>true</Enabled>"
                "</DistributionSummary>", d->id, old ? d->old_status : fake_status(fake, d), (int)(end - begin),
                config + begin);
  }
  cr_buf_adds(&answer->body, count ? "</Items></DistributionList>" : "</DistributionList>");
}

static inline void fake_cf_tenants(struct fake *fake, const struct cr_request *request, struct cr_answer *answer)
{
  char *body = fake_print("%.*s", (int)request->body_len, request->body);
  char marker[32] = "";
  const char *found = strstr(body, "<Marker>");
  CHECK(strstr(body, "<CertificateArn>arn:") != NULL);
  if(found) {
    sscanf(found, "<Marker>%31[^<]", marker);
  }
  int page = marker[0] ? atoi(marker) : 0;
  cr_buf_adds(&answer->body, "<ListDistributionTenantsByCustomizationResult>");
  if(page < fake->tenant_pages) {
    cr_buf_addf(&answer->body, "<NextMarker>%d</NextMarker><DistributionTenantList/>", page + 1);
  } else if(fake->tenant && strstr(body, fake->tenant)) {
    cr_buf_adds(&answer->body, "<DistributionTenantList><DistributionTenantSummary><Id>dt_1</Id>"
                "</DistributionTenantSummary></DistributionTenantList>");
  } else {
    cr_buf_adds(&answer->body, "<DistributionTenantList/>");
  }
  cr_buf_adds(&answer->body, "</ListDistributionTenantsByCustomizationResult>");
  free(body);
}

static inline void fake_tenant_show(const struct fake *fake, const struct fake_distribution *d, struct cr_answer *answer)
{
  const char *status = fake_status(fake, d);
  cr_buf_addf(&answer->header_text, "etag: E%s%d\n", d->id, d->version);
  cr_buf_addf(&answer->body, "<DistributionTenant xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"><Id>%s</Id>"
              "%s%s%s%s</DistributionTenant>", d->id, d->config, d->statusless ? "" : "<Status>",
              d->statusless ? "" : status, d->statusless ? "" : "</Status>");
}

/* Takes the request only when it is what was read, with another certificate in it. */
static inline void fake_tenant_update(struct fake *fake, struct fake_distribution *d, const struct cr_request *request,
                                      const char *given, struct cr_answer *answer)
{
  static const char open[] = "<UpdateDistributionTenantRequest xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\">";
  static const char rest[] = "</Arn></Certificate></Customizations>" FAKE_TENANT_REST "</UpdateDistributionTenantRequest>";
  char *etag = fake_print("E%s%d", d->id, d->version), *body;
  body = fake_print("%.*s", (int)request->body_len, request->body);
  if(!given || strcmp(given, etag) != 0) {
    fake_error(answer, "UpdateDistributionTenant", given ? 412 : 400,
               given ? "PreconditionFailed" : "InvalidIfMatchVersion", "The If-Match version does not fit.");
  } else if(!fake_knows(fake, body)) {
    fake_error(answer, "UpdateDistributionTenant", 400, "InvalidArgument", "The certificate is not valid.");
  } else {
    CHECK(strncmp(body, open, sizeof open - 1) == 0);
    CHECK(strlen(body) > sizeof rest && strcmp(body + strlen(body) - (sizeof rest - 1), rest) == 0);
    body[strlen(body) - strlen("</UpdateDistributionTenantRequest>")] = '\0';
    fake_remember(fake, d->config);
    fake_cf_change(fake, d, fake_print("%s", body + sizeof open - 1));
    fake->puts++;
    fake_tenant_show(fake, d, answer);
  }
  free(body);
  free(etag);
}

static inline const char *fake_header(const struct cr_request *request, const char *name);

static inline void fake_cf_serve(struct fake *fake, const char *operation, const struct cr_request *request,
                                 struct cr_answer *answer)
{
  char id[64] = "";
  const char *found = strstr(request->url, "/distribution/"), *tenant = strstr(request->url, "/distribution-tenant/");
  if(found) {
    sscanf(found, "/distribution/%63[^/?]", id);
  } else if(tenant) {
    sscanf(tenant, "/distribution-tenant/%63[^/?]", id);
  }
  struct fake_distribution *d = fake_cf_find(fake, id);
  if(strcmp(operation, "ListDistributions") == 0) {
    fake_cf_list(fake, request->url, answer);
  } else if(strcmp(operation, "ListDistributionTenantsByCustomization") == 0) {
    fake_cf_tenants(fake, request, answer);
  } else if(tenant && !d) {
    fake_error(answer, operation, 404, "EntityNotFound", "The entity was not found.");
  } else if(strcmp(operation, "GetDistributionTenant") == 0) {
    fake_tenant_show(fake, d, answer);
  } else if(strcmp(operation, "UpdateDistributionTenant") == 0) {
    fake_tenant_update(fake, d, request, fake_header(request, "If-Match"), answer);
  } else if(!d) {
    fake_error(answer, operation, 404, "NoSuchDistribution", "The specified distribution does not exist.");
  } else if(strcmp(operation, "GetDistribution") == 0) {
    fake_cf_show(fake, d, answer);
  } else if(strcmp(operation, "GetDistributionConfig") == 0) {
    cr_buf_addf(&answer->header_text, "etag: E%s%d\n", d->id, d->version);
    cr_buf_adds(&answer->body, d->config);
  } else {
    fake_cf_update(fake, d, request, answer);
  }
}

/* --- requests ------------------------------------------------------------------------------------------------ */

static inline const char *fake_header(const struct cr_request *request, const char *name)
{
  for(size_t i = 0; i < request->header_count; i++) {
    if(cr_strcasecmp(request->headers[i].name, name) == 0) {
      return request->headers[i].value;
    }
  }
  return NULL;
}

static inline void fake_operation(const struct cr_request *request, char *out, size_t size)
{
  const char *target = fake_header(request, "X-Amz-Target");
  const char *path = strstr(request->url, "/2020-05-31/");
  out[0] = '\0';
  if(target) {
    snprintf(out, size, "%s", strchr(target, '.') + 1);
  } else if(!path) {
    CHECK(request->body_len > 7 && memcmp(request->body, "Action=", 7) == 0);
    snprintf(out, size, "%.*s", (int)strcspn(request->body + 7, "&"), request->body + 7);
  } else if(strstr(path, "/distribution-tenants-by-customization")) {
    snprintf(out, size, "ListDistributionTenantsByCustomization");
  } else if(strstr(path, "/distribution-tenant/")) {
    snprintf(out, size, "%sDistributionTenant", strcmp(request->method, "PUT") == 0 ? "Update" : "Get");
  } else if(strcmp(request->method, "PUT") == 0) {
    snprintf(out, size, "UpdateDistribution");
  } else if(strstr(path, "/config")) {
    snprintf(out, size, "GetDistributionConfig");
  } else {
    snprintf(out, size, strstr(path, "/distribution/") ? "GetDistribution" : "ListDistributions");
  }
}

static inline void fake_lost(struct cr_answer *answer)
{
  cr_buf_reset(&answer->body);
  cr_buf_reset(&answer->header_text);
  answer->status = 0;
  answer->sent = CR_SENT_UNKNOWN;
  cr_fail(&answer->error, CR_KIND_TRANSPORT, "CURLE_RECV_ERROR", "Connection reset by peer");
  answer->error.retryable = true;
}

/* Rule 8: the private key travels in two kinds of bodies, and nowhere else. */
static inline void fake_check_key(const char *operation, const struct cr_request *request)
{
  /* base64 of "PRIVATE KEY" at its three offsets, and as text in a form */
  static const char *const traces[] = { "PRIVATE", "UFJJVkFURSBLRV", "BSSVZBVEUgS0VZ", "QUklWQVRFIEtFW" };
  bool may = strcmp(operation, "ImportCertificate") == 0 || strcmp(operation, "UploadServerCertificate") == 0;
  for(size_t i = 0; i < sizeof traces / sizeof traces[0]; i++) {
    CHECK(strstr(request->url, traces[i]) == NULL);
    CHECK(may || request->body_len == 0 ||
          memmem(request->body, request->body_len, traces[i], strlen(traces[i])) == NULL);
    for(size_t h = 0; h < request->header_count; h++) {
      CHECK(strstr(request->headers[h].value, traces[i]) == NULL);
    }
  }
}

static inline void fake_serve(struct fake *fake, const struct cr_request *request, struct cr_answer *answer)
{
  char operation[48];
  fake_operation(request, operation, sizeof operation);
  CHECK(fake_header(request, "Authorization") != NULL);
  fake_check_key(operation, request);
  if(fake->requests < FAKE_LOG) {
    snprintf(fake->log[fake->requests], sizeof fake->log[0], "%s", operation);
  }
  fake->requests++;
  fake->mono_ms += 20;
  int nth = fake_count(fake, operation), service = fake_operation_service(operation);
  const struct fake_fault *fault = NULL;
  for(int i = 0; i < 8; i++) {
    const struct fake_fault *f = &fake->faults[i];
    if(f->operation && strcmp(f->operation, operation) == 0 && (f->nth == 0 || f->nth == nth)) {
      fault = f;
    }
  }
  if(fake->before) {
    fake->before(fake, operation, nth);
  }
  answer->sent = CR_SENT_ANSWERED;
  answer->status = 200;
  answer->elapsed_ms = 20;
  if(fault && (fault->kind == FAKE_ERROR || fault->kind == FAKE_BODY)) {
    if(fault->kind == FAKE_ERROR) {
      fake_error(answer, operation, fault->status, fault->code, fault->message ? fault->message : "as asked for");
    } else {
      cr_buf_adds(&answer->body, fault->message);
    }
    return;
  }
  if(!fault || fault->kind != FAKE_LOSE_BEFORE) {
    (service == CR_ACM ? fake_acm_serve : service == CR_IAM ? fake_iam_serve : fake_cf_serve)(fake, operation, request,
                                                                                             answer);
  }
  if(fault && fault->kind == FAKE_ERROR_AFTER) {
    fake_error(answer, operation, fault->status, fault->code, fault->message ? fault->message : "as asked for");
  } else if(fault) {
    fake_lost(answer);
  }
}

/* --- driving a machine --------------------------------------------------------------------------------------- */

static inline struct cr_moment fake_now(const struct fake *fake)
{
  return (struct cr_moment){ FAKE_START * 1000LL + fake->mono_ms, fake->mono_ms, 0.5 };
}

static inline void fake_own(struct fake *fake, bool begins)
{
  void (*told)(void) = begins ? fake->pause : fake->resume;
  if(told) {
    told();
  }
}

/* Runs to the end, or until `most` requests were carried out without telling the last answer (a crash): false. */
static inline bool fake_run(struct fake *fake, struct cr_machine *m, int most)
{
  for(int turns = 0; turns < 100000; turns++) {
    struct cr_moment now = fake_now(fake);
    struct cr_want want;
    memset(&want, 0, sizeof want);
    switch(m->class->next(m, &now, &want)) {
    case CR_NEED_SEND: {
      struct cr_answer answer;
      fake_own(fake, true);
      cr_answer_init(&answer);
      fake_serve(fake, want.request, &answer);
      fake_own(fake, false);
      if(most-- > 0) {
        now = fake_now(fake);
        if(want.request->sink && answer.status >= 200 && answer.status < 300) {
          /* in two pieces, as transfers come */
          size_t half = answer.body.len / 2;
          if(!want.request->sink->write(want.request->sink->user, cr_buf_str(&answer.body), half)) {
            want.request->sink->write(want.request->sink->user, cr_buf_str(&answer.body) + half,
                                      answer.body.len - half);
          }
          cr_buf_reset(&answer.body);
        }
        m->class->answered(m, &now, &answer);
      }
      cr_answer_free(&answer);
      if(most < 0) {
        return false;
      }
      break;
    }
    case CR_NEED_DECODE: {
      struct cr_error err;
      cr_fail(&err, CR_KIND_PARSE, "BadJson", "not JSON");
      fake_own(fake, true);
      int rc = json_read(want.into, want.json, want.json_len);
      fake_own(fake, false);
      m->class->decoded(m, rc ? &err : NULL);
      break;
    }
    case CR_NEED_RUN:
      CHECK(!"a program in a rotation");
      return true;
    case CR_NEED_WAIT:
      CHECK(want.until_mono_ms > now.mono_ms);
      fake->mono_ms = want.until_mono_ms;
      break;
    case CR_NEED_DONE:
    case CR_NEED_FAILED:
      return true;
    }
  }
  CHECK(!"an end within 100000 turns");
  return true;
}

static inline struct cr_account *fake_account(void)
{
  struct cr_error err;
  struct cr_account *account = cr_account_new(&err);
  CHECK(account != NULL);
  CHECK(cr_account_set_credentials(account, "AKIDEXAMPLE", "secret", NULL, 0, &err) == 0);
  CHECK(cr_account_set_endpoint(account, CR_ACM, "https://acm.test", "us-east-1", &err) == 0);
  CHECK(cr_account_set_endpoint(account, CR_IAM, "https://iam.test", "us-east-1", &err) == 0);
  CHECK(cr_account_set_endpoint(account, CR_CLOUDFRONT, "https://cloudfront.test", "us-east-1", &err) == 0);
  return account;
}

/* A step with parameters given as JSON. NULL and *err when it is refused. */
static inline struct cr_machine *fake_step(const char *name, struct cr_account *account, const char *json,
                                           struct cr_identity *identity, struct cr_error *err)
{
  struct cr_tree tree;
  cr_error_clear(err);
  cr_tree_init(&tree, 1 << 20);
  CHECK(json_read(&tree, json, strlen(json)) == 0);
  struct cr_machine *m = cr_step_new(name, account, tree.root, identity, err);
  cr_tree_free(&tree);
  return m;
}

static inline bool fake_done(struct cr_machine *m, const struct fake *fake)
{
  struct cr_moment now = fake_now(fake);
  struct cr_want want;
  enum cr_need need = m->class->next(m, &now, &want);
  if(need == CR_NEED_FAILED) {
    printf("# failed: %s %s: %s\n", m->error.operation, m->error.code, m->error.message);
  }
  return need == CR_NEED_DONE;
}

static inline void fake_check_failed(struct cr_machine *m, const struct fake *fake, const char *operation,
                                     enum cr_kind kind, const char *code)
{
  struct cr_moment now = fake_now(fake);
  struct cr_want want;
  CHECK(m->class->next(m, &now, &want) == CR_NEED_FAILED);
  CHECK(m->error.kind == kind);
  CHECK_STR(m->error.code, code);
  CHECK_STR(m->error.operation, operation);
  CHECK(m->error.message[0] != '\0');
}

#endif
