"""Sanitize: make markup of others safe to store and show. Pure, and total on hostile input.

nh3 does the work, after a guard: nh3 is quadratic in depth, in attributes and in ampersands
(50,000 nested divs take it 4 s, 100,000 attributes 2 s, a million `&` 6 s).
"""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape

import nh3
from lxml import etree
from lxml import html as lxml_html

from service.articles.text import (
    normalized,
    paragraphs,
    plain_text,
    without_forbidden,
    without_scripts,
)

# Real articles stay under 40 levels, a few thousand tags and a few attributes a tag.
MAX_TRUSTED_TAGS = 400
"""So few cost nothing, however they are nested: nh3 walks 3 ns a level and tag."""
MAX_TAGS = 12_000
MAX_ATTRIBUTES = 20_000
"""Of one tag; about 0.1 s in nh3, and 0.4 s in lxml."""
MAX_AMPERSANDS = 100_000
"""0.1 s in nh3."""
MAX_CHARS_MADE = 2_000_000
"""Of markup that grows eightfold: a `<b>` left open is written again in each block after it."""

_TAGS = {
    "a", "abbr", "audio", "b", "blockquote", "br", "caption", "cite", "code", "col", "colgroup",
    "dd", "del", "details", "dfn", "div", "dl", "dt", "em", "figcaption", "figure", "h1", "h2",
    "h3", "h4", "h5", "h6", "hr", "i", "img", "ins", "kbd", "li", "mark", "ol", "p", "picture",
    "pre", "q", "rp", "rt", "ruby", "s", "samp", "small", "source", "span", "strong", "sub",
    "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "time", "tr", "track", "u",
    "ul", "var", "video", "wbr",
}  # fmt: skip
_ATTRIBUTES = {
    "*": {"dir", "lang", "title"},
    "a": {"href", "hreflang"},
    "audio": {"controls", "src"},
    "blockquote": {"cite"},
    "col": {"span"},
    "img": {"alt", "height", "src", "width"},
    "ol": {"start", "reversed"},
    "q": {"cite"},
    "source": {"src", "type"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
    "time": {"datetime"},
    "track": {"kind", "label", "src", "srclang"},
    "video": {"controls", "height", "poster", "src", "width"},
}
_CONTENT_TOO = {"script", "style", "iframe", "noscript", "object", "template", "form", "svg"}
_PIXEL = re.compile(r'<img\b(?=[^>]*\s(?:width|height)="[01](?:px)?")[^>]*>')
# In HTML, `<iframe/>` does not end: it and these would swallow the rest of an article, of which the
# writer thought in XML. The first two are left open, too.
_SUSPECT = re.compile("<(?:if|ob|sc|sty|no|te|form|ti|vi|au|IF|OB|SC|STY|NO|TE|FORM|TI|VI|AU)")
_OPENED = re.compile(r"<(/?)(iframe|object)\b[^<>]*>", re.IGNORECASE)
_SWALLOWING = re.compile(
    r"<((iframe|object|script|style|noscript|template|form|textarea|title|video|audio)\b[^<>]*)/>",
    re.IGNORECASE,
)
# No words, and nothing to see or hear.
_EMPTY = re.compile(r"(?:<(?!(?:img|audio|video|picture)\b)[^<>]*>|&nbsp;|\s)*")


def html(text: str, *, base_url: str = "") -> str:
    """Sanitised markup; URLs are absolute, or gone where there is no base to resolve them against.

    Markup too deep or with too many attributes to be worth the time keeps its words only.
    """
    text = _closed(without_forbidden(text))
    if not text.strip():
        return ""
    tamed = _tamed(text)
    clean = _cleaner(base_url).clean(tamed) if tamed else ""
    if tamed is None or (len(clean) > MAX_CHARS_MADE and len(clean) > 8 * len(text)):
        return paragraphs(plain_text(without_scripts(text)))
    # Character references are resolved now; characters that a dropped tag separated may compose.
    clean = normalized(clean)
    clean = (_PIXEL.sub("", clean) if "<img" in clean else clean).strip()
    return "" if _EMPTY.fullmatch(clean) else clean


def _closed(text: str) -> str:
    """The same without elements that swallow what follows them."""
    if not _SUSPECT.search(text):
        return text
    text = _SWALLOWING.sub(r"<\1></\2>", text)
    marks = [match.group(1) for match in _OPENED.finditer(text)]
    return _OPENED.sub("", text) if 2 * marks.count("/") < len(marks) else text


@lru_cache(maxsize=64)
def _cleaner(base_url: str) -> nh3.Cleaner:
    """Kept, for making one costs more than cleaning a short article; a feed has few bases."""
    if base_url[:8].lower().startswith(("http://", "https://")):
        try:
            return _cleaner_with(("rewrite_with_base", base_url))
        except ValueError:
            pass  # Without a usable base, relative URLs are dropped.
    return _cleaner_with("deny")


def _cleaner_with(relative: str | tuple[str, str]) -> nh3.Cleaner:
    return nh3.Cleaner(
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        clean_content_tags=_CONTENT_TOO,
        url_schemes={"http", "https", "mailto"},
        url_relative=relative,  # type: ignore[arg-type]  # a literal or a pair, as nh3 documents
        link_rel="noopener",
    )


def _tamed(text: str) -> str | None:
    """Markup that nh3 is quick with: as it is, or balanced; None if it is too much for that.

    Counting tags cannot tell how deep a tree is: `</div>` in a comment or an attribute closes
    nothing, `<div/>` opens one. So markup with many tags goes through lxml once, which takes linear
    time, gives up at 256 levels (libxml2's htmlMaxDepth) and writes each tag with its end.
    """
    tags = text.count("<")
    if tags > MAX_TAGS or text.count("&") > MAX_AMPERSANDS or has_huge_tag(text):
        return None
    if tags <= MAX_TRUSTED_TAGS:
        return text
    parser = lxml_html.HTMLParser(encoding="utf-8", no_network=True, huge_tree=False)
    try:
        root = lxml_html.document_fromstring(f"<body>{text}".encode(), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError):
        return None
    errors = parser.error_log
    if errors and errors[-1].type == etree.ErrorTypes.ERR_RESOURCE_LIMIT:
        return None
    body = root.find("body")
    if body is None:  # A frameset.
        return None
    pieces = [etree.tostring(part, encoding="unicode", method="html") for part in body]
    return escape(body.text or "", quote=False) + "".join(pieces)


def has_huge_tag(text: str) -> bool:
    """Whether one tag may have more than MAX_ATTRIBUTES: parsers compare each with each.

    Spaces, `/` and quotes separate attributes; inside a tag, `>` stands only in quotes.
    """
    if len(text) <= 2 * MAX_ATTRIBUTES or "<" not in text:
        return False
    return any(
        len(run) > 2 * MAX_ATTRIBUTES and sum(map(run.count, " \t\n\r\f\"'")) > MAX_ATTRIBUTES
        for run in text.replace("/", " ").split(">")
    )
