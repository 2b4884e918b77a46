/* viewer_certificate.c - what a configuration's ViewerCertificate names, and whether that is to be changed.
 *
 * Includes viewer_certificate_private.h only, whose files do the finding and the cutting. The tree of one call is
 * owned and freed by that call; `out` belongs to the caller. */
#include "viewer_certificate_private.h"

#include <string.h>

enum cr_store cr_store_of(const char *reference)
{
  size_t len = strlen(reference), partition;
  bool word = true;

  for(size_t i = 0; i < len; i++) {
    char c = reference[i];
    if(c <= 0x20 || c >= 0x7F) {
      return CR_STORE_NONE;
    }
    word = word && ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_');
  }
  if(word) {
    return len >= 16 && len <= 32 ? CR_STORE_IAM : CR_STORE_NONE;
  }
  if(len > 2048 || strncmp(reference, "arn:", 4) != 0) {
    return CR_STORE_NONE;
  }
  partition = strcspn(reference + 4, ":");
  return partition && strncmp(reference + 4 + partition, ":acm:", 5) == 0 ? CR_STORE_ACM : CR_STORE_NONE;
}

const char *cr_store_word(enum cr_store store)
{
  return store == CR_STORE_ACM ? "acm" : "iam";
}

/* Copies a value where it fits, else leaves "". */
static bool copy_value(char *to, size_t size, struct cr_piece value)
{
  if(value.len >= size) {
    to[0] = '\0';
    return false;
  }
  if(value.len) {
    memcpy(to, value.at, value.len);
  }
  to[value.len] = '\0';
  return true;
}

/* What the deprecated pair says alone, or beside the modern field that filled *out. */
static void weigh_pair(const struct cr_region *region, struct cr_viewer_certificate *out)
{
  struct cr_piece twin = region->value[CR_FIELD_TWIN], source = region->value[CR_FIELD_SOURCE];

  if(!out->reference[0] && twin.len) {
    out->disagree = out->disagree || !copy_value(out->reference, sizeof out->reference, twin);
    out->store = cr_store_of(out->reference);
  } else if(twin.len && !cr_piece_is(twin, out->reference)) {
    out->disagree = true;
  }
  if(!source.len) {
    return;
  }
  if(cr_piece_is(source, "cloudfront")) {
    out->default_certificate = true;
    return;
  }
  if(out->reference[0] && out->store == CR_STORE_NONE) { /* a shape not known to us: the source decides */
    out->store = cr_piece_is(source, "acm") ? CR_STORE_ACM : CR_STORE_IAM;
  }
  if(out->store == CR_STORE_NONE || !cr_piece_is(source, cr_store_word(out->store))) {
    out->disagree = true; /* another store, an unknown word, or a source of nothing */
  }
}

static void weigh(const struct cr_region *region, struct cr_viewer_certificate *out)
{
  struct cr_piece iam = region->value[CR_FIELD_IAM], acm = region->value[CR_FIELD_ACM];
  struct cr_piece by_default = region->value[CR_FIELD_DEFAULT];
  enum cr_store shape;

  memset(out, 0, sizeof *out);
  out->begin = region->element->outer.begin;
  out->end = region->element->outer.end;
  out->disagree = region->odd || (iam.len && acm.len);
  out->default_certificate = cr_piece_is(by_default, "true") || cr_piece_is(by_default, "1");
  copy_value(out->ssl_support_method, sizeof out->ssl_support_method, region->value[CR_FIELD_METHOD]);
  copy_value(out->minimum_protocol_version, sizeof out->minimum_protocol_version, region->value[CR_FIELD_PROTOCOL]);
  if(acm.len || iam.len) {
    out->store = acm.len ? CR_STORE_ACM : CR_STORE_IAM;
    if(!copy_value(out->reference, sizeof out->reference, acm.len ? acm : iam)) {
      out->disagree = true; /* longer than any reference: names nothing we know */
    }
    shape = cr_store_of(out->reference);
    if(shape != CR_STORE_NONE && shape != out->store) {
      out->disagree = true; /* an ARN where an id belongs, or the reverse */
    }
  }
  weigh_pair(region, out);
  if(out->default_certificate && out->reference[0]) {
    out->disagree = true;
  }
}

int cr_viewer_certificate_read(const char *config, size_t len, struct cr_viewer_certificate *out, struct cr_error *err)
{
  struct cr_region region;
  int rc = cr_region_locate(&region, config, len, err);
  if(rc == 0) {
    weigh(&region, out);
  } else {
    memset(out, 0, sizeof *out);
  }
  cr_tree_free(&region.tree);
  return rc;
}

static int check_reference(const char *reference, const char *which, struct cr_error *err)
{
  if(reference && cr_store_of(reference) != CR_STORE_NONE) {
    return 0;
  }
  return cr_fail(err, CR_KIND_INPUT, "InvalidReference",
                 "%s certificate is neither an ACM ARN (arn:aws:acm:...) nor an IAM server-certificate id: %s", which,
                 reference ? reference : "");
}

int cr_viewer_certificate_swap(const char *config, size_t len, const char *from, const char *to, struct cr_buf *out,
                               enum cr_names *names, struct cr_error *err)
{
  struct cr_region region;
  struct cr_viewer_certificate now;
  int rc;

  *names = CR_NAMES_OTHER;
  if(check_reference(from, "the old", err) < 0 || check_reference(to, "the new", err) < 0) {
    return -1;
  }
  rc = cr_region_locate(&region, config, len, err);
  if(rc == 0) {
    weigh(&region, &now);
    if(now.disagree || now.default_certificate) {
      *names = CR_NAMES_OTHER;
    } else if(cr_streq(now.reference, to)) {
      *names = CR_NAMES_NEW;
    } else if(cr_streq(now.reference, from)) {
      *names = CR_NAMES_OLD;
      cr_region_edit(&region, cr_store_of(to), to, out);
      rc = cr_buf_check(out, "edited configuration", err);
      if(rc < 0) {
        cr_buf_reset(out);
      }
    }
  }
  cr_tree_free(&region.tree);
  return rc;
}

/* A word that needs no escaping and that AWS may know: sni-only, TLSv1.2_2021. */
static bool is_word(const char *text)
{
  size_t len = text ? strlen(text) : 0;
  for(size_t i = 0; i < len; i++) {
    char c = text[i];
    if(!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || strchr("-_.", c))) {
      return false;
    }
  }
  return len > 0 && len < 32;
}

int cr_viewer_certificate_attach(const char *config, size_t len, const char *to, const char *method,
                                 const char *protocol, struct cr_buf *out, enum cr_names *names, struct cr_error *err)
{
  struct cr_region region;
  struct cr_viewer_certificate now;
  int rc;

  *names = CR_NAMES_OTHER;
  if(check_reference(to, "the new", err) < 0) {
    return -1;
  }
  if(!is_word(method) || !is_word(protocol)) {
    return cr_fail(err, CR_KIND_INPUT, "InvalidParameter", "'%.40s' is no %s",
                   !is_word(method) ? method : protocol, !is_word(method) ? "SSLSupportMethod" : "MinimumProtocolVersion");
  }
  rc = cr_region_locate(&region, config, len, err);
  if(rc == 0) {
    weigh(&region, &now);
    if(!now.disagree && cr_streq(now.reference, to)) {
      *names = CR_NAMES_NEW;
    } else if(!now.disagree && now.default_certificate) {
      *names = CR_NAMES_OLD;
      cr_region_attach(&region, to, method, protocol, out);
      rc = cr_buf_check(out, "edited configuration", err);
      if(rc < 0) {
        cr_buf_reset(out);
      }
    }
  }
  cr_tree_free(&region.tree);
  return rc;
}
