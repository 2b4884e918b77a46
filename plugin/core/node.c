/* node.c - the bounded tree that XML, JSON, parameters and results share.
 *
 * Nodes and texts live in chunks owned by the tree, handed out front to back and never given back
 * singly. Walks follow the parent pointers instead of recursing, so depth costs no stack. */
#include "node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN 16
#define FIRST_CHUNK 512
#define LARGEST_CHUNK 65536

struct cr_chunk {
  struct cr_chunk *next;
  size_t used, size;
  char *adopted;           /* a block of somebody else's that the tree took over; its size is `used` */
};

/* The chunk's bytes follow its header, at the next aligned place, but where they are adopted. */
#define HEADER ((sizeof(struct cr_chunk) + ALIGN - 1) / ALIGN * ALIGN)

static char *chunk_data(struct cr_chunk *chunk)
{
  return (char *)chunk + HEADER;
}

void cr_tree_init(struct cr_tree *tree, size_t max_bytes)
{
  memset(tree, 0, sizeof *tree);
  tree->max_bytes = max_bytes;
}

void cr_tree_free(struct cr_tree *tree)
{
  struct cr_chunk *chunk = tree->chunks;
  while(chunk) {
    struct cr_chunk *next = chunk->next;
    cr_wipe(chunk->adopted ? chunk->adopted : chunk_data(chunk), chunk->used);
    free(chunk->adopted);
    free(chunk);
    chunk = next;
  }
  cr_tree_init(tree, tree->max_bytes);
}

void cr_tree_move(struct cr_tree *to, struct cr_tree *from)
{
  if(to == from) {
    return;
  }
  cr_tree_free(to);
  *to = *from;
  cr_tree_init(from, from->max_bytes);
}

/* A new chunk that holds at least `size` bytes. One made for a single large text goes behind the
 * current one, whose remaining room stays in use. */
static struct cr_chunk *add_chunk(struct cr_tree *tree, size_t size)
{
  size_t room = tree->chunks ? tree->chunks->size * 2 : FIRST_CHUNK;
  size_t left = tree->max_bytes - tree->bytes;
  struct cr_chunk *chunk;

  if(room > LARGEST_CHUNK) {
    room = LARGEST_CHUNK;
  }
  if(room > left) {
    room = left;
  }
  if(room < size) {
    room = size;
  }
  if(room > SIZE_MAX - HEADER) {
    return NULL;
  }
  chunk = malloc(HEADER + room);
  if(!chunk) {
    return NULL;
  }
  chunk->used = 0;
  chunk->size = room;
  chunk->adopted = NULL;
  if(tree->chunks && size > LARGEST_CHUNK / 2) {
    chunk->next = tree->chunks->next;
    tree->chunks->next = chunk;
  } else {
    chunk->next = tree->chunks;
    tree->chunks = chunk;
  }
  return chunk;
}

static void *take(struct cr_tree *tree, size_t size, size_t align)
{
  struct cr_chunk *chunk = tree->chunks;
  size_t at = 0;

  if(size > tree->max_bytes - tree->bytes) {
    return NULL;
  }
  if(chunk) {
    at = (chunk->used + align - 1) / align * align;
  }
  if(!chunk || at > chunk->size || size > chunk->size - at) {
    chunk = add_chunk(tree, size);
    if(!chunk) {
      return NULL;
    }
    at = 0;
  }
  chunk->used = at + size;
  tree->bytes += size;
  return chunk_data(chunk) + at;
}

void *cr_tree_alloc(struct cr_tree *tree, size_t size)
{
  void *data = take(tree, size ? size : 1, ALIGN);
  if(data) {
    memset(data, 0, size);
  }
  return data;
}

char *cr_tree_text(struct cr_tree *tree, const char *text, size_t len)
{
  char *copy = len < SIZE_MAX ? take(tree, len + 1, 1) : NULL;
  if(!copy) {
    return NULL;
  }
  if(len) {
    memcpy(copy, text, len);
  }
  copy[len] = '\0';
  return copy;
}

struct cr_node *cr_node_add(struct cr_tree *tree, struct cr_node *parent, const char *name, enum cr_node_type type)
{
  struct cr_node *node;
  const char *copy = NULL;

  if(!parent && tree->root) {
    return NULL; /* a tree has one root */
  }
  if(name) {
    copy = cr_tree_text(tree, name, strlen(name));
    if(!copy) {
      return NULL;
    }
  }
  node = cr_tree_alloc(tree, sizeof *node);
  if(!node) {
    return NULL;
  }
  node->type = type;
  node->name = copy;
  node->text = "";
  node->parent = parent;
  if(!parent) {
    tree->root = node;
    return node;
  }
  if(parent->last) {
    parent->last->next = node;
  } else {
    parent->first = node;
  }
  parent->last = node;
  parent->count++;
  return node;
}

/* A scalar: its text first, so that a failure leaves no half-made node in the tree. */
static struct cr_node *add_scalar(struct cr_tree *tree, struct cr_node *parent, const char *name,
                                  enum cr_node_type type, const char *text, size_t len)
{
  const char *copy = cr_tree_text(tree, text, len);
  struct cr_node *node = copy ? cr_node_add(tree, parent, name, type) : NULL;
  if(node) {
    node->text = copy;
    node->len = len;
  }
  return node;
}

struct cr_node *cr_add_textn(struct cr_tree *tree, struct cr_node *parent, const char *name, const char *text,
                             size_t len)
{
  return add_scalar(tree, parent, name, CR_NODE_TEXT, text, len);
}

struct cr_node *cr_add_text(struct cr_tree *tree, struct cr_node *parent, const char *name, const char *text)
{
  return add_scalar(tree, parent, name, CR_NODE_TEXT, text ? text : "", text ? strlen(text) : 0);
}

struct cr_node *cr_add_buf(struct cr_tree *tree, struct cr_node *parent, const char *name, struct cr_buf *buf)
{
  struct cr_chunk *chunk = NULL;
  struct cr_node *node;

  if(buf->data) {
    chunk = buf->cap <= tree->max_bytes - tree->bytes ? malloc(sizeof *chunk) : NULL;
    if(!chunk) {
      return NULL;
    }
    tree->bytes += buf->cap;
  }
  node = cr_node_add(tree, parent, name, CR_NODE_TEXT);
  if(!node) {
    tree->bytes -= chunk ? buf->cap : 0;
    free(chunk);
    return NULL;
  }
  if(chunk) { /* behind the node's own chunk, whose room stays in use */
    chunk->used = chunk->size = buf->cap;
    chunk->adopted = buf->data;
    chunk->next = tree->chunks->next;
    tree->chunks->next = chunk;
    node->text = buf->data;
    node->len = buf->len;
    buf->data = NULL; /* not wiped: it lives on in the tree */
    cr_buf_free(buf);
  }
  return node;
}

struct cr_node *cr_add_bool(struct cr_tree *tree, struct cr_node *parent, const char *name, bool truth)
{
  struct cr_node *node = add_scalar(tree, parent, name, CR_NODE_BOOL, truth ? "true" : "false", truth ? 4 : 5);
  if(node) {
    node->truth = truth;
  }
  return node;
}

struct cr_node *cr_add_int(struct cr_tree *tree, struct cr_node *parent, const char *name, int64_t number)
{
  char digits[24];
  int len = snprintf(digits, sizeof digits, "%lld", (long long)number);
  return add_scalar(tree, parent, name, CR_NODE_NUMBER, digits, (size_t)len);
}

/* One node without its children. The spans stay empty: they belong to another text. */
static struct cr_node *copy_one(struct cr_tree *tree, struct cr_node *parent, const char *name,
                                const struct cr_node *from)
{
  struct cr_node *node = add_scalar(tree, parent, name, from->type, from->text ? from->text : "", from->len);
  if(node) {
    node->truth = from->truth;
  }
  return node;
}

struct cr_node *cr_node_copy(struct cr_tree *tree, struct cr_node *parent, const char *name, const struct cr_node *from)
{
  const struct cr_node *source = from;
  struct cr_node *top, *copy;

  if(!from) {
    return NULL;
  }
  top = copy = copy_one(tree, parent, name ? name : from->name, from);
  while(copy) {
    if(source->first) {
      source = source->first;
      copy = copy_one(tree, copy, source->name, source);
      continue;
    }
    while(source != from && !source->next) {
      source = source->parent;
      copy = copy->parent;
    }
    if(source == from) {
      return top;
    }
    source = source->next;
    copy = copy_one(tree, copy->parent, source->name, source);
  }
  return NULL;
}

static const struct cr_node *find(const struct cr_node *map, const char *name, size_t len)
{
  const struct cr_node *child = map ? map->first : NULL;
  while(child) {
    if(child->name && strncmp(child->name, name, len) == 0 && child->name[len] == '\0') {
      return child;
    }
    child = child->next;
  }
  return NULL;
}

const struct cr_node *cr_get(const struct cr_node *map, const char *name)
{
  return find(map, name, strlen(name));
}

const struct cr_node *cr_get_path(const struct cr_node *map, const char *path)
{
  while(map && *path) {
    size_t len = strcspn(path, "/");
    map = find(map, path, len);
    path += len;
    if(*path == '/') {
      path++;
    }
  }
  return map;
}

const char *cr_get_text(const struct cr_node *map, const char *name)
{
  const struct cr_node *node = cr_get(map, name);
  if(!node || (node->type != CR_NODE_TEXT && node->type != CR_NODE_NUMBER && node->type != CR_NODE_BOOL)) {
    return NULL;
  }
  return node->text;
}

static bool is_blank(char c)
{
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_digit(char c)
{
  return c >= '0' && c <= '9';
}

/* A decimal number taken apart: [-]digits * 10^exponent. */
struct decimal {
  bool negative;
  uint64_t digits;
  int exponent;
};

static int clamp_add(int a, int b)
{
  int sum = a + b; /* both stay within +-200000: no overflow */
  return sum > 100000 ? 100000 : sum < -100000 ? -100000 : sum;
}

/* strtod() would follow the host's locale, so this is ours. The whole text has to be one number. */
static bool parse_decimal(const char *text, struct decimal *out)
{
  bool any = false, fraction = false;

  memset(out, 0, sizeof *out);
  while(is_blank(*text)) {
    text++;
  }
  if(*text == '-' || *text == '+') {
    out->negative = *text++ == '-';
  }
  for(; is_digit(*text) || (*text == '.' && !fraction); text++) {
    if(*text == '.') {
      fraction = true;
      continue;
    }
    any = true;
    if(out->digits <= (UINT64_MAX - 9) / 10) {
      out->digits = out->digits * 10 + (uint64_t)(*text - '0');
      out->exponent = clamp_add(out->exponent, fraction ? -1 : 0);
    } else { /* 19 digits are held: more make no difference to a double, and no int64 has more */
      out->exponent = clamp_add(out->exponent, fraction ? 0 : 1);
    }
  }
  if(any && (*text == 'e' || *text == 'E')) {
    int sign = 1, exponent = 0;
    text++;
    if(*text == '-' || *text == '+') {
      sign = *text++ == '-' ? -1 : 1;
    }
    if(!is_digit(*text)) {
      return false;
    }
    while(is_digit(*text)) {
      exponent = exponent < 10000 ? exponent * 10 + (*text - '0') : exponent;
      text++;
    }
    out->exponent = clamp_add(out->exponent, sign * exponent);
  }
  while(is_blank(*text)) {
    text++;
  }
  return any && *text == '\0';
}

int64_t cr_get_int(const struct cr_node *map, const char *name, int64_t fallback)
{
  const char *text = cr_get_text(map, name);
  struct decimal number;

  if(!text || !parse_decimal(text, &number)) {
    return fallback;
  }
  while(number.exponent < 0 && number.digits) {
    number.digits /= 10; /* towards zero: a fraction of a second is no second */
    number.exponent++;
  }
  while(number.exponent > 0 && number.digits) {
    if(number.digits > UINT64_MAX / 10) {
      return fallback;
    }
    number.digits *= 10;
    number.exponent--;
  }
  if(number.digits > (uint64_t)INT64_MAX) {
    return fallback;
  }
  return number.negative ? -(int64_t)number.digits : (int64_t)number.digits;
}

double cr_get_number(const struct cr_node *map, const char *name, double fallback)
{
  const char *text = cr_get_text(map, name);
  struct decimal number;
  long double value, power = 10.0L, scale = 1.0L;
  unsigned exponent;

  if(!text || !parse_decimal(text, &number)) {
    return fallback;
  }
  if(number.digits == 0) {
    return 0.0;
  }
  if(number.exponent > 400 || number.exponent < -400) {
    return number.exponent > 0 ? fallback : 0.0;
  }
  exponent = (unsigned)(number.exponent < 0 ? -number.exponent : number.exponent);
  for(; exponent; exponent >>= 1, power *= power) {
    if(exponent & 1) {
      scale *= power;
    }
  }
  value = number.exponent < 0 ? (long double)number.digits / scale : (long double)number.digits * scale;
  if(value > 1.7976931348623157e308L) {
    return fallback;
  }
  return (double)(number.negative ? -value : value);
}

bool cr_get_bool(const struct cr_node *map, const char *name, bool fallback)
{
  const struct cr_node *node = cr_get(map, name);
  if(node && node->type == CR_NODE_BOOL) {
    return node->truth;
  }
  if(node && node->type == CR_NODE_TEXT) {
    if(cr_streq(node->text, "true")) {
      return true;
    }
    if(cr_streq(node->text, "false")) {
      return false;
    }
  }
  return fallback;
}
