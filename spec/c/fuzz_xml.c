/* fuzz_xml.c - libFuzzer over the XML reader and the edit of a distribution's configuration.
 *
 * First byte: which view, and in which pieces the rest is fed. The rest is a document. Whatever it is, one feed and
 * many have to agree; and where it is a configuration that names a certificate, the swap has to change nothing
 * outside ViewerCertificate, name the new one afterwards, and lead back. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "viewer_certificate.h"
#include "xml.h"

#define REQUIRE(condition) \
  do { \
    if(!(condition)) { \
      abort(); \
    } \
  } while(0)

#define ACM_NEW "arn:aws:acm:us-east-1:111122223333:certificate/new"
#define IAM_NEW "ASCANEWNEWNEWNEWNEWNE"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same_tree(const struct cr_node *a, const struct cr_node *b)
{
  if(a->type != b->type || strcmp(a->name, b->name) != 0 || a->len != b->len || memcmp(a->text, b->text, a->len) != 0 ||
     memcmp(&a->outer, &b->outer, sizeof a->outer) != 0 || memcmp(&a->inner, &b->inner, sizeof a->inner) != 0 ||
     a->count != b->count) {
    return false;
  }
  for(a = a->first, b = b->first; a; a = a->next, b = b->next) {
    if(!same_tree(a, b)) { /* as deep as CR_XML_DEPTH_MAX */
      return false;
    }
  }
  return true;
}

static void check_parse(const struct cr_xml_view *view, const char *text, size_t len, size_t piece)
{
  struct cr_tree whole, pieces;
  struct cr_xml *xml;
  struct cr_error err, other;
  int rc, rc_pieces = 0;

  cr_error_clear(&err);
  cr_error_clear(&other);
  cr_tree_init(&whole, 1 << 20);
  cr_tree_init(&pieces, 1 << 20);
  rc = cr_xml_parse(&whole, view, text, len, &err);
  xml = cr_xml_new(&pieces, view);
  REQUIRE(xml);
  for(size_t at = 0; at < len && rc_pieces == 0; at += piece) {
    rc_pieces = cr_xml_feed(xml, text + at, len - at < piece ? len - at : piece, &other);
  }
  if(rc_pieces == 0) {
    rc_pieces = cr_xml_finish(xml, &other);
  }
  cr_xml_free(xml);
  REQUIRE(rc == rc_pieces);
  if(rc == 0) {
    REQUIRE(same_tree(whole.root, pieces.root));
    REQUIRE(whole.root->outer.end <= len);
  } else {
    REQUIRE(err.kind == CR_KIND_PARSE || err.kind == CR_KIND_MEMORY);
    REQUIRE(err.message[0] && err.code[0]);
  }
  cr_tree_free(&whole);
  cr_tree_free(&pieces);
}

/* Swaps from what the document names to `to` and back. */
static void check_swap(const char *text, size_t len, const struct cr_viewer_certificate *before, const char *to)
{
  struct cr_viewer_certificate after;
  struct cr_buf out, back;
  enum cr_names names;
  size_t tail = len - before->end;

  cr_buf_init(&out, 1 << 22);
  cr_buf_init(&back, 1 << 22);
  REQUIRE(cr_viewer_certificate_swap(text, len, before->reference, to, &out, &names, NULL) == 0);
  REQUIRE(names == CR_NAMES_OLD && out.len > tail);
  REQUIRE(memcmp(out.data, text, before->begin) == 0);
  REQUIRE(memcmp(out.data + out.len - tail, text + before->end, tail) == 0);
  REQUIRE(cr_viewer_certificate_read(out.data, out.len, &after, NULL) == 0);
  REQUIRE(!after.disagree && !after.default_certificate && strcmp(after.reference, to) == 0);
  REQUIRE(after.store == cr_store_of(to));
  REQUIRE(strcmp(after.ssl_support_method, before->ssl_support_method) == 0);
  REQUIRE(strcmp(after.minimum_protocol_version, before->minimum_protocol_version) == 0);
  REQUIRE(cr_viewer_certificate_swap(out.data, out.len, before->reference, to, &back, &names, NULL) == 0);
  REQUIRE(names == CR_NAMES_NEW && back.len == 0);
  REQUIRE(cr_viewer_certificate_swap(out.data, out.len, to, before->reference, &back, &names, NULL) == 0);
  REQUIRE(names == CR_NAMES_OLD);
  REQUIRE(cr_viewer_certificate_read(back.data, back.len, &after, NULL) == 0);
  REQUIRE(!after.disagree && after.store == before->store && strcmp(after.reference, before->reference) == 0);
  cr_buf_free(&out);
  cr_buf_free(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
  static const char *const names[] = {"Id", "ViewerCertificate", "Items", NULL};
  static const struct cr_xml_view views[] = {{.under = NULL}, {.names = names}, {.names = names, .first = true},
                                             {.under = "DistributionSummary", .names = names}};
  struct cr_viewer_certificate now;
  char *text;
  size_t len;

  if(size < 2) {
    return 0;
  }
  len = size - 1;
  text = malloc(len); /* exactly as long as the document: a read past its end is caught */
  REQUIRE(text);
  memcpy(text, data + 1, len);
  check_parse(&views[data[0] % 3], text, len, 1 + data[0] / 3);
  if(cr_viewer_certificate_read(text, len, &now, NULL) == 0) {
    struct cr_buf out;
    enum cr_names found;
    REQUIRE(now.begin < now.end && now.end <= len && text[now.begin] == '<' && text[now.end - 1] == '>');
    cr_buf_init(&out, 1 << 22);
    if(!now.disagree && !now.default_certificate && cr_store_of(now.reference) != CR_STORE_NONE) {
      if(strcmp(now.reference, ACM_NEW) != 0) {
        check_swap(text, len, &now, ACM_NEW);
      }
      if(strcmp(now.reference, IAM_NEW) != 0) {
        check_swap(text, len, &now, IAM_NEW);
      }
    } else {
      REQUIRE(cr_viewer_certificate_swap(text, len, ACM_NEW, IAM_NEW, &out, &found, NULL) == 0);
      REQUIRE(found == CR_NAMES_OTHER && out.len == 0);
    }
    cr_buf_free(&out);
  }
  free(text);
  return 0;
}
