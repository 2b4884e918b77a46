/* tenant.h - the one name a rotation changes in a distribution tenant: Customizations/Certificate/Arn.
 *
 * Pure text in, text out. What GetDistributionTenant answers is not what UpdateDistributionTenant takes: the request is
 * the answer without what only CloudFront sets (Id, Name, Arn, Tags, the times, Status, and the Status of each domain),
 * under another root. Everything else goes back byte for byte, elements not invented yet included: whether CloudFront
 * keeps or clears what an update leaves out is not documented. */
#ifndef CR_TENANT_H
#define CR_TENANT_H

#include "viewer_certificate.h"

/* "dt_...": how CloudFront names tenants. Distributions have capitals and digits. */
bool cr_is_tenant(const char *id);

/* As cr_viewer_certificate_swap: *names says what was found. tenant: a DistributionTenant document as received; `out`
 * gets an UpdateDistributionTenantRequest. `to` must be an ACM ARN: tenants take no other certificates. */
int cr_tenant_swap(const char *tenant, size_t len, const char *from, const char *to, struct cr_buf *out,
                   enum cr_names *names, struct cr_error *err);

/* The ARN it names; "" when it lives off its distribution's certificate. `size` bytes with the NUL. */
int cr_tenant_read(const char *tenant, size_t len, char *reference, size_t size, struct cr_error *err);

#endif
