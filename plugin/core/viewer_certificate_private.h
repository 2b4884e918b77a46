/* viewer_certificate_private.h - what the files behind viewer_certificate.h, policy_id.h and tenant.h share;
 * nobody else includes it.
 *
 * viewer_certificate_region.c   where ViewerCertificate and its fields lie, namespaces and encodings considered
 * viewer_certificate.c          what they name, and the two public functions
 * viewer_certificate_edit.c     the same bytes with another name in them
 * policy_id.c                   the same for the other element a rotation may touch
 * tenant.c                      the same for distribution tenants */
#ifndef CR_VIEWER_CERTIFICATE_PRIVATE_H
#define CR_VIEWER_CERTIFICATE_PRIVATE_H

#include "node.h"
#include "viewer_certificate.h"
#include "xml.h"

enum cr_field {
  CR_FIELD_DEFAULT,
  CR_FIELD_IAM,
  CR_FIELD_ACM,
  CR_FIELD_METHOD,
  CR_FIELD_PROTOCOL,
  CR_FIELD_TWIN,      /* Certificate, deprecated */
  CR_FIELD_SOURCE,    /* CertificateSource, deprecated */
  CR_FIELD_COUNT
};
extern const char *const cr_field_names[CR_FIELD_COUNT];

/* Some bytes of the configuration, or of a text in the tree. */
struct cr_piece {
  const char *at;
  size_t len;
};

bool cr_is_space(char c);                                       /* what XML calls white space */
struct cr_piece cr_piece_trim(struct cr_piece piece);
bool cr_piece_is(struct cr_piece piece, const char *text);

struct cr_region {
  const char *config;                            /* the caller's, as received */
  size_t len;
  struct cr_tree tree;
  const struct cr_node *element;                 /* ViewerCertificate */
  const struct cr_node *field[CR_FIELD_COUNT];   /* the first of each, or NULL */
  struct cr_piece value[CR_FIELD_COUNT];         /* decoded, without the white space around it */
  bool odd;                                      /* a field that names a certificate is repeated or holds elements */
};

/* viewer_certificate_region.c: region->tree is to be freed whatever the result. */
int cr_region_locate(struct cr_region *region, const char *config, size_t len, struct cr_error *err);
/* The part of it that needs no ViewerCertificate: the children of the root that the view names become nodes. The view
 * must outlive the call. */
int cr_region_parse(struct cr_region *region, const struct cr_xml_view *view, const char *config, size_t len,
                    struct cr_error *err);
/* The first child of the root with this local name in the root's namespace, and how many there are. */
const struct cr_node *cr_region_child(const struct cr_region *region, const char *name, size_t *count);
/* The same of any element's children; the namespace is the root's. */
const struct cr_node *cr_region_child_of(const struct cr_region *region, const struct cr_node *parent, const char *name,
                                         size_t *count);
/* True when an element and its ancestor are in one namespace. */
bool cr_region_same_namespace(const struct cr_region *region, const struct cr_node *a, const struct cr_node *b);
struct cr_piece cr_region_start_tag(const struct cr_region *region, const struct cr_node *node);
/* The prefix of an element's name with its colon: "cf:" of "cf:Id", empty of "Id". */
struct cr_piece cr_region_lead(const struct cr_region *region, const struct cr_node *node);
/* Length of the name at the front, as it follows "<" or "</". */
size_t cr_tag_name_length(const char *at, size_t len);

/* viewer_certificate_edit.c: appends the document naming `to`, a reference to something in `store`. A failed append is
 * found by cr_buf_check. */
void cr_region_edit(const struct cr_region *region, enum cr_store store, const char *to, struct cr_buf *out);
/* The same for a region on the default certificate, which has no way of serving one yet: SSLSupportMethod and
 * MinimumProtocolVersion are given. */
void cr_region_attach(const struct cr_region *region, const char *to, const char *method, const char *protocol,
                      struct cr_buf *out);
/* Appends one element as it stands but for its local name and its character data; "<A/>" is opened. */
void cr_region_put_field(struct cr_buf *out, const struct cr_region *region, const struct cr_node *node,
                         const char *name, const char *value);

/* "acm" or "iam" */
const char *cr_store_word(enum cr_store store);

#endif
