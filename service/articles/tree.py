"""Tree: markup as a tree of lxml and back, for what no pattern can decide. Pure.

It takes linear time, if `sanitize.has_huge_tag` finds no tag of too many attributes.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

from lxml import etree
from lxml import html as lxml_html

from service.articles.text import without_forbidden

_REFERENCE = re.compile(r"&#(?:[xX]0*+([0-9a-fA-F]{1,6})|0*+([0-9]{1,7}));?")
_VOID = ("embed", "source", "track", "wbr")


def movable(markup: str) -> str:
    """The markup without forbidden characters and references to them: lxml reads them, and then
    refuses to move the text that they are in."""
    markup = without_forbidden(markup)
    return _REFERENCE.sub(_allowed, markup) if "&#" in markup else markup


def _allowed(reference: re.Match[str]) -> str:
    hexadecimal, decimal = reference.groups()
    number = int(hexadecimal, 16) if hexadecimal else int(decimal)
    return reference.group() if number > 0x10FFFF or without_forbidden(chr(number)) else ""


def body_of(markup: str) -> Any | None:
    """The `<body>` around the markup; None if it is over 256 levels deep (libxml2's htmlMaxDepth),
    or a frameset."""
    parser = lxml_html.HTMLParser(encoding="utf-8", no_network=True, huge_tree=False)
    try:
        root = lxml_html.document_fromstring(
            f"<body>{movable(markup)}".encode("utf-8", "replace"), parser=parser
        )
    except (etree.ParserError, etree.XMLSyntaxError):
        return None
    errors = parser.error_log
    if errors and errors[-1].type == etree.ErrorTypes.ERR_RESOURCE_LIMIT:
        return None
    body = root.find("body")
    if body is not None:
        _end_void(body)
    return body


def _end_void(body: Any) -> None:
    """Move what follows a void element that libxml2 does not know out of it."""
    for element in [*body.iter(*_VOID)]:
        for child in reversed(element):
            element.addnext(child)
        element.tail, element.text = (element.text or "") + (element.tail or ""), None


def markup_of(body: Any) -> str:
    """The markup of what is in a `<body>`, each tag with its end."""
    pieces = [etree.tostring(part, encoding="unicode", method="html") for part in body]
    return escape(body.text or "", quote=False) + "".join(pieces)
