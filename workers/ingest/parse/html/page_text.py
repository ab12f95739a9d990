"""Page text: the article on its own page, for feeds that cut their texts. Pure."""

from __future__ import annotations

import re
from typing import Any

from lxml.html import HtmlElement

from service.errors import ParseFailed
from service.sources.selector import WrongSelector, compiled
from workers.ingest.parse.html import k2
from workers.ingest.parse.html.page import decoded_html, main_content, tree_of
from workers.ingest.parse.html.readability import extracted

_HEADING = re.compile(r"^\s*<h1>[^<]*</h1>\s*")
_NOISE = ".//script|.//style|.//form|.//nav"


def page_text(body: bytes, *, url: str, content_type: str, selector: str = "") -> str:
    """Markup of the article on a page.

    Args:
        selector: CSS or XPath (`service/sources/selector.py`) of the article. Empty:
            an extractor finds it.

    Raises:
        ParseFailed: it is not a page, or has no article.
    """
    if not body.lstrip().startswith(b"<") and "html" not in content_type.lower():
        raise ParseFailed("is not a page")
    text = decoded_html(body, content_type)
    root = tree_of(text)
    if selector:
        markup = _selected(root, selector)
        if not markup:
            raise ParseFailed(f"has nothing that {selector[:80]!r} matches")
        return markup
    # The title is a field of its own.
    markup = _HEADING.sub("", extracted(text, url=url)) or main_content(root) or ""
    if not markup:
        raise ParseFailed("has no text that stands out")
    return markup


def _selected(root: Any, selector: str) -> str:
    try:
        elements = compiled(selector).values(root)
    except WrongSelector as exc:
        raise ParseFailed(f"is not what {selector[:80]!r} can be used on: {exc}") from exc
    pieces = []
    for element in elements:
        if isinstance(element, HtmlElement):
            for noise in element.xpath(_NOISE):
                noise.drop_tree()
            pieces.append(k2.inner_html(element))
    return "\n".join(piece for piece in pieces if piece.strip())
