"""Page selectors: which part of its page is the text of an article, in CSS or XPath. Pure."""

from __future__ import annotations

from functools import lru_cache

from cssselect import HTMLTranslator, SelectorError
from lxml import etree

from service.errors import InvalidInput

MAX_CHARS = 500


@lru_cache(maxsize=1_024)
def compiled_selector(text: str) -> etree.XPath:
    """A function from a page's tree to what a selector matches: XPath if it begins with `/` or `(`,
    else CSS. Raises InvalidInput."""
    try:
        path = text if text.startswith(("/", "(")) else HTMLTranslator().css_to_xpath(text)
        # Without the regular expressions of EXSLT, which may take forever.
        selector = etree.XPath(path, regexp=False, smart_strings=False)
        # Some faults show only when it is used.
        selector(etree.Element("html"))
    except (SelectorError, etree.XPathError, ValueError) as exc:
        raise InvalidInput("selector", text, f"is not a CSS selector or XPath: {exc}") from exc
    return selector


def checked_selector(value: object) -> str:
    """A selector; empty for none. Raises InvalidInput."""
    text = "" if value is None else value
    if not isinstance(text, str) or len(text) > MAX_CHARS:
        raise InvalidInput("selector", value, f"must be a text of at most {MAX_CHARS} characters")
    if text.strip():
        compiled_selector(text.strip())
    return text.strip()
