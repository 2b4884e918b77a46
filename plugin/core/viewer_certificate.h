/* viewer_certificate.h - the one region of a distribution's configuration that a rotation touches.
 *
 * Pure text in, text out: everything outside ViewerCertificate stays byte for byte what CloudFront sent
 * (design: "The swap, exactly"). */
#ifndef CR_VIEWER_CERTIFICATE_H
#define CR_VIEWER_CERTIFICATE_H

#include "buffer.h"

enum cr_store { CR_STORE_NONE, CR_STORE_ACM, CR_STORE_IAM };
/* ACM for "arn:...:acm:...", IAM for a server certificate id (16 to 32 word characters, "ASCA..."), else NONE. */
enum cr_store cr_store_of(const char *reference);

enum cr_names {            /* what the region names */
  CR_NAMES_OTHER,          /* neither: a third certificate, or the default one, or fields that disagree */
  CR_NAMES_OLD,
  CR_NAMES_NEW
};

struct cr_viewer_certificate {
  char reference[2049];           /* ACM ARN or IAM id in effect; "" for the default certificate */
  enum cr_store store;
  bool default_certificate;
  bool disagree;                  /* modern field and deprecated twins name different things */
  char ssl_support_method[32];
  char minimum_protocol_version[32];
  size_t begin, end;              /* bytes of <ViewerCertificate>...</ViewerCertificate> in the input */
};

/* config: a DistributionConfig document as received. Refuses documents without exactly one ViewerCertificate
 * directly below the root, DTDs, and encodings that do not contain ASCII. */
int cr_viewer_certificate_read(const char *config, size_t len, struct cr_viewer_certificate *out, struct cr_error *err);

/* Writes to `out` the same document naming `to` where it named `from`. *names says what was found:
 * OLD: out is the edited document. NEW: nothing to do, out stays empty. OTHER: out stays empty.
 * `from` and `to` are ACM ARNs or IAM ids, of one store or not. */
int cr_viewer_certificate_swap(const char *config, size_t len, const char *from, const char *to,
                               struct cr_buf *out, enum cr_names *names, struct cr_error *err);

/* For a configuration on the default certificate: writes the same document naming `to`, served by `method`
 * (SSLSupportMethod) with at least `protocol` (MinimumProtocolVersion). *names: OLD: it was on the default certificate,
 * out is the edited document. NEW: it names `to` already. OTHER: it names another certificate. */
int cr_viewer_certificate_attach(const char *config, size_t len, const char *to, const char *method,
                                 const char *protocol, struct cr_buf *out, enum cr_names *names, struct cr_error *err);

#endif
