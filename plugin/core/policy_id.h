/* policy_id.h - the ContinuousDeploymentPolicyId of a distribution's configuration.
 *
 * The one element outside ViewerCertificate that a rotation may touch, and only when asked to: CloudFront refuses
 * certificate changes under a continuous-deployment policy (rule 1, its exception). Pure text in, text out:
 * everything outside that element stays byte for byte what CloudFront sent. */
#ifndef CR_POLICY_ID_H
#define CR_POLICY_ID_H

#include "viewer_certificate.h"

#define CR_POLICY_ID_MAX 128   /* AWS's are UUIDs */

struct cr_policy_id {
  char id[CR_POLICY_ID_MAX + 1];   /* "" where no policy is attached, or what is there is no id */
  bool odd;                        /* something is there that is no id */
  size_t begin, end;               /* the element's bytes; where there is none, both are where it belongs */
};

/* Whether it could be a policy's id: letters, digits, "-" and "_". "" is none. */
bool cr_policy_id_valid(const char *id);

/* config: a DistributionConfig document as received. Refuses what cr_viewer_certificate_read refuses, and documents
 * that name more than one policy. */
int cr_policy_id_read(const char *config, size_t len, struct cr_policy_id *out, struct cr_error *err);

/* Writes to `out` the same document naming the policy `to` where it named `from`; "" is no policy. *names says what was
 * found, as in cr_viewer_certificate_swap. An element that is missing is put where the model has it, before Staging. */
int cr_policy_id_change(const char *config, size_t len, const char *from, const char *to, struct cr_buf *out,
                        enum cr_names *names, struct cr_error *err);

#endif
