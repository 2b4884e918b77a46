/* json.h - writing JSON. Reading it is lua-cjson's work, above the core. */
#ifndef CR_JSON_H
#define CR_JSON_H

#include "buffer.h"
#include "node.h"

/* The node as JSON text: maps, lists, text, numbers, true/false, null. Invalid UTF-8 is an error. */
int cr_json_write(struct cr_buf *out, const struct cr_node *node, struct cr_error *err);
/* A quoted JSON string. */
int cr_json_string(struct cr_buf *out, const char *text, size_t len);
/* Base64 of data, in quotes, without a Lua string or a second copy in between. */
int cr_json_base64(struct cr_buf *out, const void *data, size_t len);

#endif
