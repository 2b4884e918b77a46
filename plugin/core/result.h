/* result.h - from an answer's tree to the result a caller sees. Pure; works in place. */
#ifndef CR_RESULT_H
#define CR_RESULT_H

#include "call.h"

/* tree: the parsed document of a 2xx answer, or empty (204, an operation without output). Unwraps the query protocol's
 * Response and Result, wraps and shapes as the row says, adds ETag and Body, which takes the answer's over. 0, or -1 with *err. */
int cr_result_shape(const struct cr_operation *operation, struct cr_tree *tree, struct cr_answer *answer,
                    struct cr_error *err);

#endif
