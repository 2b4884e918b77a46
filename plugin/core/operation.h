/* operation.h - the tables of operations, and what their rows share.
 *
 * Private to the service files (acm.c, iam.c, cloudfront.c, …) and operation.c; everybody else asks
 * cr_operation_find and cr_operation_at of call.h. */
#ifndef CR_OPERATION_H
#define CR_OPERATION_H

#include "call.h"

/* Each ends with a row whose name is NULL. */
extern const struct cr_operation cr_acm_operations[];
extern const struct cr_operation cr_iam_operations[];
extern const struct cr_operation cr_cloudfront_operations[];
extern const struct cr_operation cr_sts_operations[];
extern const struct cr_operation cr_quotas_operations[];
extern const struct cr_operation cr_support_operations[];
extern const struct cr_operation cr_s3_operations[];

/* Where a bucket of S3 is, behind this endpoint: appends the URL up to the key's slash. 0, or -1 with *err: no bucket's
 * name. */
int cr_s3_locate(struct cr_buf *url, const char *endpoint, const char *bucket, struct cr_error *err);

/* XML knows only text. What is a list, a number or a boolean follows from an element's name in AWS's model, never
 * from how its text looks: a tag whose value is "true" stays text. */
enum cr_shape_kind { CR_SHAPE_LIST, CR_SHAPE_NUMBER, CR_SHAPE_BOOL };
struct cr_shape {
  const char *name;
  enum cr_shape_kind kind;
};

/* Shapes a node and all below it, in place. shapes: sorted by name (strcmp). Text that does not fit its kind (a
 * value AWS has not invented yet) stays text. */
void cr_shape_by_name(struct cr_node *root, const struct cr_shape *shapes, size_t count);

/* Helpers of `prepare`. The child to change, or NULL. */
struct cr_node *cr_child(struct cr_node *map, const char *name);
/* Adds a number the caller left out. 0 or -1. */
int cr_default_int(struct cr_tree *tree, struct cr_node *params, const char *name, int64_t number,
                   struct cr_error *err);

#endif
