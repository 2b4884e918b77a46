/* step.h - the re-entrant units of a rotation, as machines that compose calls.
 *
 * Every step can be run again at any point and ends in the same state: it reads AWS first, writes only what is
 * missing, and after a lost answer reads back instead of repeating. Parameters and results are MAPs. */
#ifndef CR_STEP_H
#define CR_STEP_H

#include "call.h"

/* One maker for every step. name: "import", "reimport", "swap", "policy", "settle", "verify", "retire". identity:
 * import and reimport only.
 * An unknown, missing or ill-typed parameter is an error of kind INPUT. A failed call keeps its code, status and
 * request id in the step's error.
 *
 * import  { store="acm"|"iam", name= (iam, or tag certrotate:name), path="/cloudfront/certrotate/" (iam),
 *           tags={k=v..}, attempted=bool (an earlier run may have imported: look longer),
 *           patience=seconds (30: how long a lost import is searched before importing again) }
 *      -> { reference=, store=, name=, arn=, adopted=bool, fingerprint= }
 *         finds its own earlier work by fingerprint (and tag or name), adopts it; never imports twice.
 *         A name taken by anything else fails CONFLICT "EntityAlreadyExists".
 * reimport { reference= (ACM ARN), from= (SHA-256 of the certificate to be replaced), attempted=bool (an earlier run may
 *           have written), patience=seconds (10: how long a lost write is looked for before it is sent again) }
 *      -> { reference=, changed=bool, writes=, fingerprint= }
 *         the identity's leaf and chain under the ARN; every holder gets them. fails CONFLICT "ForeignCertificate" when
 *         neither the old nor the new one is there.
 * swap    { Id= (a distribution's, or a tenant's: "dt_..."), from=, to=, or, for a distribution on the default
 *           certificate, instead of from: ssl_support_method=, minimum_protocol_version=; settle_patience=seconds (1800;
 *           IllegalUpdate),
 *           visible_patience=seconds (90; InvalidViewerCertificate soon after an import) }
 *      -> { Id=, changed=bool, ETag=, Status= ("" when nothing was written), reads=, writes= (accepted) }
 *         fails CONFLICT "ForeignCertificate" when it names neither.
 * policy  { Id=, from= (policy to detach, or ""), to= (policy to attach, or ""), settle_patience=seconds (1800) }
 *      -> as swap. Changes ContinuousDeploymentPolicyId of a primary distribution and nothing else.
 *         fails CONFLICT "ForeignPolicy" when it names neither; CONFLICT with AWS's code when the policy was deleted or
 *         is bound elsewhere (NoSuchContinuousDeploymentPolicy, ContinuousDeploymentPolicyInUse,
 *         StagingDistributionInUse).
 * settle  { Ids={..}, to=, poll=seconds (20), timeout=seconds (3600; 0: one look), listing=bool }
 *      -> { settled=bool (nothing left to wait for), holders={ {Id=,Status=,reference=}.. }, foreign={Id..} }
 *         a holder that does not name `to` any more is foreign and not waited for; one that was deleted has the
 *         Status "NoSuchDistribution" (and is foreign when `to` is given). Nothing settled in time is no error.
 * verify  { server_name=, host= (the same), port=443, fingerprint= (expected, or none), timeout=seconds (10; each),
 *           within=seconds (0), every=seconds (2) }; needs no account
 *      -> { fingerprint=, subject=, issuer=, names={..}, not_before=, not_after=, matches=bool (true when nothing is
 *           expected), trusted=bool, trust_message=, peer=, elapsed= }
 * retire  { reference=, changed={Id..}, keep_until=unix seconds, dry_run=bool, patience=seconds (1200) }
 *      -> { deleted=bool, already_gone=bool, facts={ {fact=, holds=bool, evidence=}.. } }
 *         facts: NoDistribution, NoTenant, NotInUse, Deployed, Imported, KeepTimeOver. Any that does not hold or is
 *         unknown: nothing deleted, fails POLICY "StillInUse"/"NotDeployed"/"AwsIssued"/"KeepTime"/"Unknown" with
 *         the result (its facts) filled beside the error; a dry run never fails for that. */
struct cr_machine *cr_step_new(const char *name, struct cr_account *account, const struct cr_node *params,
                               struct cr_identity *identity, struct cr_error *err);

#endif
