/* call.h - one operation of one service as a machine: sign, send, classify, retry.
 *
 * Standard retry mode (aws-reference 8.1): max_attempts in all, full jitter, the account's retry bucket;
 * credentials that are over are waited for (renewal.h), and those AWS refuses as over are replaced once;
 * throttling told apart from transient errors by code; Retry-After honoured; clock skew corrected once per call;
 * redirects are errors; every status >= 400 is an error with AWS's code and request id. Our deviations, on purpose:
 * LimitExceededException is not retried; a call that is not idempotent is not repeated after an
 * answer was lost or a 5xx came: it fails with error.ambiguous and its owner reads back. */
#ifndef CR_CALL_H
#define CR_CALL_H

#include "account.h"
#include "identity.h"
#include "machine.h"
#include "xml.h"

enum cr_protocol { CR_REST_XML, CR_QUERY, CR_JSON11 };

/* A parameter of REST-XML that does not travel in a body. */
enum cr_place {
  CR_IN_PATH,
  CR_IN_QUERY,
  CR_IN_HEADER,
  CR_IN_BODY_TEXT,
  CR_NOT_SENT              /* a known name, but `prepare` makes something else of it */
};
struct cr_param {
  const char *name;        /* AWS's spelling: "Id", "IfMatch", "Marker" */
  enum cr_place place;
  const char *wire;        /* query or header name on the wire; NULL: same as name */
  bool required;
};

/* One AWS operation. A new one is a new row in its service's table (acm.c, iam.c, cloudfront.c). */
struct cr_operation {
  enum cr_service service;
  enum cr_protocol protocol;
  const char *name;                 /* "GetDistributionConfig" */
  const char *method;               /* REST-XML */
  const char *path;                 /* REST-XML: "/2020-05-31/distribution/{Id}/config" */
  const struct cr_param *params;    /* REST-XML; ends with name NULL. Others: checked for `required` only */
  const char *const *lists;         /* names that are lists even when empty or single (JSON, query), NULL-terminated */
  bool idempotent;                  /* may be sent again blindly */
  bool anonymous;                   /* is sent unsigned: what it carries is the proof */
  bool identity;                    /* body carries certificate, chain and key of the identity */
  bool with_etag;                   /* result gets ETag */
  bool with_body;                   /* result gets Body: the answer as received (configurations) */
  bool bytes;                       /* the answer is no document: nothing of it is parsed */
  bool with_date;                   /* result gets Date and, where the answer has it, LastModified: Unix seconds by the
                                     * service's clock */
  const char *repeated;             /* an element that is repeated right under the root: becomes a list of that name */
  const char *wrap;                 /* result becomes { <wrap> = parsed root } e.g. "DistributionConfig"; NULL: root's
                                     * children */
  bool quiet;                       /* success may have an empty body (DeleteCertificate); elsewhere that is a truncated
                                     * answer */
  /* Turns XML's texts into lists, numbers and booleans by name. NULL for JSON.
   * Called once on the parsed root, before anything is wrapped or unwrapped; changes nodes in place. */
  void (*shape)(struct cr_node *root);
  /* Completes the call's own copy of the parameters (a MAP) before they are checked and encoded: defaults, bodies
   * made from several parameters. NULL: nothing to do. 0, or -1 with *err. */
  int (*prepare)(struct cr_tree *tree, struct cr_node *params, struct cr_error *err);
};

const struct cr_operation *cr_operation_find(const char *service, const char *name);  /* NULL: unknown */
const struct cr_operation *cr_operation_at(size_t index);                             /* NULL past the end */
bool cr_operation_writes(const struct cr_operation *operation);   /* false: it only looks */

/* params: a MAP in AWS's spelling, copied; may be NULL. identity: for operations that carry one, else NULL.
 * view: which part of the answer to keep, static storage, or NULL. deadline_ms: how long the call and its retries
 * may take in all, 0 for none. NULL and *err (kind INPUT names the parameter) on misuse or lack of memory. */
struct cr_machine *cr_call_new(struct cr_account *account, const struct cr_operation *operation,
                               const struct cr_node *params, struct cr_identity *identity,
                               const struct cr_xml_view *view, int64_t deadline_ms, struct cr_error *err);

/* The same with parameters that are already in a tree of their own, whose root is the MAP: taken over, not copied.
 * *params is empty afterwards; where NULL is returned it may not be, and stays the caller's to free. */
struct cr_machine *cr_call_take(struct cr_account *account, const struct cr_operation *operation,
                                struct cr_tree *params, struct cr_identity *identity,
                                const struct cr_xml_view *view, int64_t deadline_ms, struct cr_error *err);

/* No view of the answer at all: operations whose result carries Body (configurations) are handed over as bytes, for an
 * owner that reads them itself. What such bytes are worth is the owner's to find out. */
extern const struct cr_xml_view cr_bytes_view;

/* ListDistributions as flat records, for Lua's inventory: { Id, ARN, Status, DomainName, Aliases = list, Comment,
 * Enabled, HttpVersion, Staging, ConnectionMode, SSLSupportMethod, MinimumProtocolVersion, reference, store } as far
 * as AWS gave them; default_certificate = true instead of the last two where there is none. */
extern const struct cr_xml_view cr_inventory_view;

/* The steps' view of ListDistributions: the same, nested as AWS has it. */
extern const struct cr_xml_view cr_holders_view;

/* What the last attempt was, for traces; false when none since the last asking. Works on calls and steps. */
bool cr_machine_attempt(struct cr_machine *m, struct cr_attempt *out);

/* An unsigned request of any URL, without retries: metadata endpoints, the simulator's own pages.
 * params: { url=, method=, headers={ {name,value}.. } or map, body=, timeout=seconds, connect_timeout=, max_body=,
 * no_proxy= };
 * result { status=, headers={..}, body= }: any status is a result here. */
struct cr_machine *cr_http_new(const struct cr_node *params, struct cr_error *err);

/* A program of this machine, run once without a shell (process.h says how).
 * params: { arguments={ program, .. }, timeout=seconds (60), max_output=bytes (64 KiB) };
 * result { output=, errors= (the beginning), status= (exit code), signal= (that ended it) }, neither of the last two
 * when the host took note of its end before us. Not started, too slow, too talkative: an error, and it is killed. */
struct cr_machine *cr_program_new(const struct cr_node *params, struct cr_error *err);

#endif
