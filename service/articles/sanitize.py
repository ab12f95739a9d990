"""Sanitize: make markup of others safe to store and show. Pure, and total on hostile input.

nh3 does the work, after a guard: nh3 is quadratic in depth, in attributes and in ampersands
(50,000 nested divs take it 4 s, 100,000 attributes 2 s, a million `&` 6 s).
"""

from __future__ import annotations

import re
import threading
from html import escape
from urllib.parse import unquote

import nh3
from lxml import etree
from lxml import html as lxml_html

from service.articles import urls
from service.articles.media import with_plain_media
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
    # Parts of a page, which become <div>.
    "address", "article", "aside", "center", "dialog", "fieldset", "footer", "header", "hgroup",
    "main", "menu", "nav", "search", "section",
    # MathML Core, without what may contain HTML again.
    "math", "maction", "menclose", "merror", "mfrac", "mi", "mmultiscripts", "mn", "mo", "mover",
    "mpadded", "mphantom", "mprescripts", "mroot", "mrow", "ms", "mspace", "msqrt", "mstyle",
    "msub", "msubsup", "msup", "mtable", "mtd", "mtext", "mtr", "munder", "munderover",
    "semantics",
}  # fmt: skip
_ATTRIBUTES = {
    "*": {"dir", "id", "lang", "title"},
    "a": {"href", "hreflang"},
    "audio": {"controls", "src"},
    "blockquote": {"cite"},
    "col": {"span"},
    "img": {"alt", "height", "src", "width"},
    "math": {"display"},
    "mo": {"fence", "form", "stretchy"},
    "mtd": {"columnspan", "rowspan"},
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
# Images that count readers, and those whose address was not safe.
_PIXEL = re.compile(r'<img\b(?:(?=[^>]*\s(?:width|height)="[01](?:px)?")|(?![^>]*\ssrc="))[^>]*>')
# In HTML, `<iframe/>` does not end: it and these would swallow the rest of an article, of which the
# writer thought in XML. The first two are left open, too.
_SUSPECT = re.compile("<(?:if|ob|sc|sty|no|te|form|ti|vi|au|IF|OB|SC|STY|NO|TE|FORM|TI|VI|AU)")
_OPENED = re.compile(r"<(/?)(iframe|object)\b[^<>]*>", re.IGNORECASE)
_SWALLOWING = re.compile(
    r"<((iframe|object|script|style|noscript|template|form|textarea|title|video|audio)\b[^<>]*)/>",
    re.IGNORECASE,
)
_PARTS = re.compile(
    "(</?)(?:address|article|aside|center|dialog|fieldset|footer|header|hgroup|main|menu|nav|search"
    "|section)(?=[ >])"
)
_OPENING = re.compile("<[a-z][^<>]*>")
_ID = re.compile(' id="([^"]*)"')
_FRAGMENT = re.compile(' href="[^"#]*#([^"]+)"')
_LATE = 'loading="lazy" decoding="async" referrerpolicy="no-referrer"'
# No words, and nothing to see or hear.
_EMPTY = re.compile(r"(?:<(?!(?:img|audio|video|picture)\b)[^<>]*>|&nbsp;|\s)*")


def html(text: str, *, base_url: str = "", id_prefix: str = "") -> str:
    """Sanitised markup; URLs are absolute, or gone where there is no base to resolve them against.

    Markup too deep or with too many attributes to be worth the time keeps its words only.

    Args:
        id_prefix: put before each id that a link names, because pages show many articles; other
            ids are removed.
    """
    text = _closed(without_forbidden(text))
    if not text.strip():
        return ""
    tamed = _tamed(text)
    clean = _clean(with_plain_media(tamed, base_url=base_url), base_url) if tamed else ""
    if tamed is None or (len(clean) > MAX_CHARS_MADE and len(clean) > 8 * len(text)):
        return paragraphs(plain_text(without_scripts(text)))
    # Character references are resolved now; characters that a dropped tag separated may compose.
    clean = _PARTS.sub(r"\1div", normalized(clean))
    if ' id="' in clean:
        clean = _with_ids(clean, id_prefix)
    if "<img" in clean:
        clean = _with_late_images(_PIXEL.sub("", clean))
    return "" if _EMPTY.fullmatch(clean) else clean.strip()


def _with_ids(markup: str, prefix: str) -> str:
    """The markup with those ids that its links name, prefixed."""
    named = {unquote(name) for name in _FRAGMENT.findall(markup)}

    def attribute(match: re.Match[str]) -> str:
        own = match.group(1).removeprefix(prefix)
        return f' id="{prefix}{own}"' if {own, match.group(1)} & named else ""

    return _OPENING.sub(lambda tag: _ID.sub(attribute, tag.group()), markup)


def _with_late_images(markup: str) -> str:
    """The markup with images that load when they are seen; the first one is seen at once."""
    head, first, rest = markup.partition("<img ")
    return head + first + rest.replace("<img ", f"<img {_LATE} ")


def _closed(text: str) -> str:
    """The same without elements that swallow what follows them."""
    if not _SUSPECT.search(text):
        return text
    text = _SWALLOWING.sub(r"<\1></\2>", text)
    marks = [match.group(1) for match in _OPENED.finditer(text)]
    return _OPENED.sub("", text) if 2 * marks.count("/") < len(marks) else text


def _clean(markup: str, base_url: str) -> str:
    _base.url = base_url
    return _CLEANER.clean(markup)


def _resolved(link: str) -> str | None:
    return urls.url(link, base_url=_base.url) or None


# The base that relative URLs are resolved against, which is another one for each article: to make
# a cleaner costs more than to clean a short article.
_base = threading.local()
_CLEANER = nh3.Cleaner(
    tags=_TAGS,
    attributes=_ATTRIBUTES,
    clean_content_tags=_CONTENT_TOO,
    url_schemes={"http", "https", "mailto"},
    url_relative=_resolved,
    link_rel="noopener",
    set_tag_attribute_values={"audio": {"controls": ""}, "video": {"controls": ""}},
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
