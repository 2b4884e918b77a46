/* node.h - a bounded tree of named values: what XML and JSON become, and what parameters and results are.
 *
 * One arena owns every node and text of a tree; cr_tree_free wipes and frees it whole.
 * A map may hold one name several times (XML does); cr_get returns the first. */
#ifndef CR_NODE_H
#define CR_NODE_H

#include "buffer.h"

enum cr_node_type {
  CR_NODE_NULL,
  CR_NODE_BOOL,
  CR_NODE_NUMBER,   /* text holds the digits */
  CR_NODE_TEXT,
  CR_NODE_LIST,     /* children without names (XML lists keep the element's name) */
  CR_NODE_MAP
};

struct cr_span {
  size_t begin, end; /* bytes [begin, end) */
};

struct cr_node {
  enum cr_node_type type;
  bool truth;              /* CR_NODE_BOOL */
  const char *name;        /* NULL in lists; XML: the local name */
  const char *text;        /* TEXT, NUMBER, BOOL: NUL-terminated; "" otherwise */
  size_t len;
  struct cr_node *parent, *first, *last, *next;
  size_t count;            /* children */
  struct cr_span outer;    /* XML only: "<A>..</A>" */
  struct cr_span inner;    /* XML only: what is between the tags; empty and at outer.end for "<A/>" */
};

struct cr_tree {
  struct cr_node *root;    /* NULL while empty */
  struct cr_chunk *chunks;
  size_t bytes, max_bytes;
};

void cr_tree_init(struct cr_tree *tree, size_t max_bytes);
void cr_tree_free(struct cr_tree *tree);                       /* wipes */
void cr_tree_move(struct cr_tree *to, struct cr_tree *from);   /* frees what `to` held */
void *cr_tree_alloc(struct cr_tree *tree, size_t size);        /* zeroed, aligned; NULL past the limit */
char *cr_tree_text(struct cr_tree *tree, const char *text, size_t len);

/* Adds a child to a LIST or MAP (parent NULL: the root). name is copied; NULL on lack of memory. */
struct cr_node *cr_node_add(struct cr_tree *tree, struct cr_node *parent, const char *name, enum cr_node_type type);
/* Each returns the new node or NULL. */
struct cr_node *cr_add_text(struct cr_tree *tree, struct cr_node *parent, const char *name, const char *text);
struct cr_node *cr_add_textn(struct cr_tree *tree, struct cr_node *parent, const char *name, const char *text,
                             size_t len);
/* A text that is the buffer's own memory, taken over instead of copied: *buf is empty afterwards. NULL on lack of memory
 * or past the limit, and then *buf is as it was. */
struct cr_node *cr_add_buf(struct cr_tree *tree, struct cr_node *parent, const char *name, struct cr_buf *buf);
struct cr_node *cr_add_bool(struct cr_tree *tree, struct cr_node *parent, const char *name, bool truth);
struct cr_node *cr_add_int(struct cr_tree *tree, struct cr_node *parent, const char *name, int64_t number);
/* Deep copy of `from` (and its name, unless `name` is given) under parent of another tree. */
struct cr_node *cr_node_copy(struct cr_tree *tree, struct cr_node *parent, const char *name,
                             const struct cr_node *from);

/* Reading; all accept NULL and answer NULL, the fallback or "". */
const struct cr_node *cr_get(const struct cr_node *map, const char *name);
const struct cr_node *cr_get_path(const struct cr_node *map, const char *path); /* "Distribution/Status" */
const char *cr_get_text(const struct cr_node *map, const char *name);           /* NULL when absent or not a scalar */
int64_t cr_get_int(const struct cr_node *map, const char *name, int64_t fallback); /* takes "3", "3.0", "1.7e9" */
double cr_get_number(const struct cr_node *map, const char *name, double fallback);
bool cr_get_bool(const struct cr_node *map, const char *name, bool fallback);   /* BOOL, or text "true"/"false" */

#endif
