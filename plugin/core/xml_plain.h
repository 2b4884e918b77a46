/* xml_plain.h - which bytes of a complete document a view needs, found without a parser where the document is plain.
 *
 * Plain is what AWS writes: printable ASCII; attributes in the root's tag only; no comment, CDATA section or
 * processing instruction; no reference but the five entities. Such a document can be told well-formed by looking at
 * its tags, an order of magnitude faster than by parsing it. Whatever is not so simple is left to the parser. */
#ifndef CR_XML_PLAIN_H
#define CR_XML_PLAIN_H

#include "node.h"

#define CR_XML_PARTS_MAX 8

/* In the order of the document: what stands before the root's content, the children to be kept, the root's end. */
struct cr_xml_parts {
  size_t count;
  struct cr_span part[CR_XML_PARTS_MAX];
};

/* Of a document whose root's children called as one of `names` (local names, NULL-terminated) are all that is wanted.
 * True: what lies between the parts is well-formed and may be left out, the parts are still the parser's to judge.
 * False: parse all of it, to see what it is; `out` holds nothing of use then. */
bool cr_xml_plain(const char *data, size_t len, const char *const *names, struct cr_xml_parts *out);

#endif
