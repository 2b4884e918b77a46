/* xml.h - expat into bounded nodes with byte offsets, parsed as it arrives.
 *
 * No DTD, hence no entities but the five and character references; depth, bytes and
 * nodes are limited. Names lose their namespace prefix. Runs inside libcurl's write
 * callback: touches nothing but its own memory. */
#ifndef CR_XML_H
#define CR_XML_H

#include "buffer.h"
#include "node.h"

/* Which parts become nodes. NULL keeps all. Below the element `under` (e.g. "DistributionSummary") only the
 * children named in `names` (NULL-terminated) are kept, with all that is in them; the rest is passed over
 * without making nodes. Everything above `under` is kept. */
struct cr_xml_view {
  const char *under;
  const char *const *names;
};

struct cr_xml;
/* tree must be empty and outlive the parser; the root element becomes tree->root.
 * An element without child elements is TEXT (character data joined, CDATA included), else MAP. */
struct cr_xml *cr_xml_new(struct cr_tree *tree, const struct cr_xml_view *view);
int cr_xml_feed(struct cr_xml *xml, const char *data, size_t len, struct cr_error *err);
int cr_xml_finish(struct cr_xml *xml, struct cr_error *err);
void cr_xml_free(struct cr_xml *xml);

/* All at once. */
int cr_xml_parse(struct cr_tree *tree, const struct cr_xml_view *view, const char *data, size_t len, struct cr_error *err);
/* Character data escaped for element content or an attribute value. */
int cr_xml_escape(struct cr_buf *out, const char *text, size_t len);

#endif
