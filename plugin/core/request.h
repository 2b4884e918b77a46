/* request.h - how an operation's row and its parameters become an HTTP request, not yet signed.
 *
 * REST-XML puts parameters into the path, the query, headers and the body; the query protocol flattens them into a
 * form (`Tags.member.1.Key`); JSON 1.1 writes them as they are. Pure. */
#ifndef CR_REQUEST_H
#define CR_REQUEST_H

#include "call.h"

#define CR_DRAFT_HEADERS 12

struct cr_draft {
  const char *method;
  struct cr_buf url;
  struct cr_buf body;                /* key material for operations with an identity: wiped by cr_buf_reset and _free */
  const char *content;               /* what is sent: `body`, or a parameter's own text; NULL: nothing */
  size_t content_len;
  char target[96];                   /* X-Amz-Target */
  struct cr_header headers[CR_DRAFT_HEADERS];   /* values belong to the parameters, to `target`, or are static */
  size_t header_count;
};

void cr_draft_init(struct cr_draft *draft);
void cr_draft_free(struct cr_draft *draft);

/* Completes (the row's `prepare`, lists) and checks the call's own copy of the parameters, a MAP: what is required is
 * there, and REST-XML knows every name. 0, or -1 with kind INPUT naming the parameter. */
int cr_params_complete(const struct cr_operation *operation, struct cr_tree *tree, struct cr_error *err);
/* Makes an empty MAP or a single value under the row's `lists` a LIST, in a tree of either direction. 0 or -1. */
int cr_params_lists(const struct cr_operation *operation, struct cr_tree *tree, struct cr_error *err);

/* Method, URL and headers. params must outlive the draft. */
int cr_draft_head(struct cr_draft *draft, const struct cr_operation *operation, const struct cr_endpoint *endpoint,
                  const struct cr_node *params, struct cr_error *err);
/* The body, anew, as draft->content. params must outlive it. identity: for rows that carry one; the key goes from it straight into the body. */
int cr_draft_body(struct cr_draft *draft, const struct cr_operation *operation, const struct cr_node *params,
                  const struct cr_identity *identity, struct cr_error *err);

#endif
