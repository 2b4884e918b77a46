/* step.h - the re-entrant units of a rotation, as machines that compose calls.
 *
 * Every step can be run again at any point and ends in the same state: it reads AWS first, writes only what is
 * missing, and after a lost answer reads back instead of repeating. Parameters and results are MAPs. */
#ifndef CR_STEP_H
#define CR_STEP_H

#include "call.h"

/* One maker for every step. name: "import", "swap", "settle", "verify", "retire". identity: import only.
 *
 * import  { store="acm"|"iam", name= (iam, or tag certrotate:name), path="/cloudfront/certrotate/" (iam),
 *           tags={k=v..}, attempted=bool (an earlier run may have imported: look longer), patience=seconds }
 *      -> { reference=, store=, name=, arn=, adopted=bool, fingerprint= }
 *         finds its own earlier work by fingerprint (and tag or name), adopts it; never imports twice.
 * swap    { Id=, from=, to=, settle_patience=seconds (IllegalUpdate), visible_patience=seconds }
 *      -> { Id=, changed=bool, ETag=, Status=, reads=, writes= }
 *         fails CONFLICT "ForeignCertificate" when it names neither.
 * settle  { Ids={..}, to=, poll=seconds, timeout=seconds, listing=bool }
 *      -> { settled=bool, holders={ {Id=,Status=,reference=}.. }, foreign={Id..} }
 * verify  { server_name=, host=, port=443, fingerprint= (expected, or none), timeout=seconds, within=seconds, every=seconds }
 *      -> { fingerprint=, subject=, issuer=, names={..}, not_before=, not_after=, matches=bool, trusted=bool, trust_message=, peer=, elapsed= }
 * retire  { reference=, changed={Id..}, keep_until=unix seconds, dry_run=bool, patience=seconds }
 *      -> { deleted=bool, already_gone=bool, facts={ {fact=, holds=bool, evidence=}.. } }
 *         any fact that does not hold or is unknown: nothing deleted, fails POLICY "StillInUse"/"Unknown"/"KeepTime"/"NotDeployed";
 *         a dry run never fails for that. */
struct cr_machine *cr_step_new(const char *name, struct cr_account *account, const struct cr_node *params,
                               struct cr_identity *identity, struct cr_error *err);

#endif
