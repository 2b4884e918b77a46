/* xml.h - expat into bounded nodes with byte offsets, parsed as it arrives.
 *
 * No DTD, hence no entities but the five and character references; depth, bytes and
 * nodes are limited. Names lose their namespace prefix. Runs inside libcurl's write
 * callback: touches nothing but its own memory. */
#ifndef CR_XML_H
#define CR_XML_H

#include "buffer.h"
#include "node.h"

#define CR_XML_DEPTH_MAX 64

/* Which parts become nodes. NULL keeps all. Below the element `under` (e.g. "DistributionSummary"; NULL: the root)
 * only the children named in `names` (NULL-terminated) are kept, with all that is in them; the rest is passed over
 * without making nodes. Everything above `under` is kept. The strings must outlive the parser. */
struct cr_xml_view {
  const char *under;
  const char *const *names;
  bool first;   /* the first such child is all that is wanted: what follows it is not parsed, nor checked */
  int (*shape)(struct cr_tree *tree);   /* for calls: works over a complete result; -1 for lack of memory */
};

struct cr_xml;
/* NULL for lack of memory. tree must be empty and outlive the parser; the root element becomes tree->root.
 * An element without child elements is TEXT (character data joined, CDATA included), else MAP; character data
 * beside child elements is dropped. After a failure the tree holds what came before it and is freed as always. */
struct cr_xml *cr_xml_new(struct cr_tree *tree, const struct cr_xml_view *view);
/* PARSE "XmlMalformed", "XmlDoctype", "XmlTooDeep"; MEMORY "TooLarge" when the tree is full, or "OutOfMemory".
 * A failed parser stays failed and repeats its error. */
int cr_xml_feed(struct cr_xml *xml, const char *data, size_t len, struct cr_error *err);
/* As cr_xml_feed, and PARSE "XmlTruncated" (retryable) when the document has not ended. */
int cr_xml_finish(struct cr_xml *xml, struct cr_error *err);
void cr_xml_free(struct cr_xml *xml);

/* All at once. With a view of the root's children, a document of the plain kind is given to expat without what the
 * view passes over (xml_plain.h); tree, offsets and errors are the same. */
int cr_xml_parse(struct cr_tree *tree, const struct cr_xml_view *view, const char *data, size_t len,
                 struct cr_error *err);
/* Character data escaped for element content or an attribute value. -1 when the buffer is full, and, with nothing
 * added, when the text holds a control character: XML has no way to write those. */
int cr_xml_escape(struct cr_buf *out, const char *text, size_t len);

#endif
