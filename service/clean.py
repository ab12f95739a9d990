"""Clean: make what comes from outside fit to be kept and shown. Pure, and total on hostile input.

    html        sanitised markup with absolute URLs (nh3, after a guard: nh3 is quadratic in depth,
                in attributes and in ampersands: 50,000 nested divs take it 4 s, 100,000 attributes
                2 s, a million `&` 6 s)
    plain_text  the words of sanitised markup, paragraph by paragraph
    line        one line of plain text, for titles and names
    url         an absolute http(s) URL, or nothing

Everything comes out as NFC and without what no XML document may hold (service/text.py).
"""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape, unescape
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import nh3
from lxml import etree
from lxml import html as lxml_html

from service.text import normalized, without_forbidden

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
MAX_URL_CHARS = 4_000

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
# A title's markup is a name in brackets, not `5 < 6`. Here and below no bracket is inside another:
# a pattern that looks for an end from every start takes quadratic time on text without ends.
_MARKUP = re.compile(r"</?([a-zA-Z][a-zA-Z0-9]*)[^<>]*>|<!--(?:(?!<!--).)*?-->", re.DOTALL)
_INLINE = {
    "a", "abbr", "b", "bdi", "cite", "code", "del", "dfn", "em", "font", "i", "ins", "kbd", "mark",
    "q", "s", "samp", "small", "span", "strong", "sub", "sup", "time", "u", "var", "wbr",
}  # fmt: skip
_SILENT = re.compile(
    r"<(script|style)\b(?:(?!<(?:script|style)\b).)*?</\1\s*>", re.DOTALL | re.IGNORECASE
)
_UNCLOSED_COMMENT = re.compile(r"<!--(?!.*-->).*", re.DOTALL)
_TAG = re.compile(r"<(/?[a-zA-Z][a-zA-Z0-9]*)[^<>]*>|<!--(?:(?!<!--).)*?-->", re.DOTALL)
_BLOCKS = {
    "blockquote", "caption", "dd", "details", "div", "dl", "dt", "figcaption", "figure", "h1", "h2",
    "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "summary", "table", "tr", "ul",
}  # fmt: skip
# What stands in plain text for a tag; nothing for all others.
_GAPS = {"br": "\n", "/td": " ", "/th": " "} | {
    tag: "\n\n" for name in _BLOCKS for tag in (name, f"/{name}")
}
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
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|[0-9a-f:.]*:[0-9a-f:.]*")
# Nine of ten URLs are as they should be.
_PLAIN_URL = re.compile(
    r"https?://(?:[a-z0-9-]{1,63}\.)+[a-z]{2,63}(?:/[A-Za-z0-9/:@!$&'()*+,;=~._-]*)?"
    r"(?:\?[A-Za-z0-9/?:@!$&'()*+,;=~._-]+)?"
)
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def html(text: str, *, base_url: str = "") -> str:
    """Sanitised markup; URLs are absolute, or gone where there is no base to resolve them against.

    Markup too deep or with too many attributes to be worth the time keeps its words only.
    """
    text = _closed(without_forbidden(text))
    if not text.strip():
        return ""
    tamed = _tamed(text)
    made = _cleaner(base_url).clean(tamed) if tamed else ""
    if tamed is None or (len(made) > MAX_CHARS_MADE and len(made) > 8 * len(text)):
        return paragraphs(plain_text(_SILENT.sub("", text)))
    # References have become characters, and what a dropped tag kept apart may compose now.
    made = normalized(made)
    made = (_PIXEL.sub("", made) if "<img" in made else made).strip()
    return "" if _EMPTY.fullmatch(made) else made


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
            pass  # A base that is no URL is none.
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

    Attributes are told apart by space, `/` or quotes; a tag has no `>` but in quotes.
    """
    if len(text) <= 2 * MAX_ATTRIBUTES or "<" not in text:
        return False
    return any(
        len(run) > 2 * MAX_ATTRIBUTES and sum(map(run.count, " \t\n\r\f\"'")) > MAX_ATTRIBUTES
        for run in text.replace("/", " ").split(">")
    )


def plain_text(markup: str) -> str:
    """The words: blocks apart by a blank line, `<br>` as a line break, other space as one space."""
    text = markup.replace("\n", " ")
    if "<" in text:
        parts = _TAG.split(text)
        # Every second part is the name of a tag, or None for a comment.
        parts[1::2] = [_GAPS.get(name, "") for name in parts[1::2]]
        text = "".join(parts)
    if "&" in text:
        text = _unescaped(text)
    text = text.replace("\xa0", " ")
    if text.replace("\n", "").isprintable():
        # There is no white space in it but these two.
        text = _single(text).replace(" \n", "\n").replace("\n ", "\n")
    else:
        text = "\n".join([" ".join(line.split()) if line else "" for line in text.split("\n")])
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip()


def _unescaped(text: str) -> str:
    """`unescape`, quicker for what nh3 writes."""
    few = text.replace("&nbsp;", " ").replace("&lt;", "<").replace("&gt;", ">")
    if few.count("&") > few.count("&amp;"):
        return unescape(text)
    return few.replace("&amp;", "&")


def spaces(text: str) -> str:
    """The text with one space for each run of white space, and none at its ends."""
    flat = text.replace("\n", " ").replace("\xa0", " ")
    return _single(flat).strip() if flat.isprintable() else " ".join(text.split())


def _single(text: str) -> str:
    while "  " in text:
        text = text.replace("  ", " ")
    return text


def line(text: str) -> str:
    """One line of plain text. Titles come with markup and with entities escaped twice."""
    if text.isprintable() and not ("&" in text or "<" in text or "  " in text):
        # Most of them.
        return normalized(text.strip())
    if "&" in text:
        text = unescape(text)
        # `Tom &amp;amp; Ann`, `&amp;quot;`: a second round, which leaves `AT&T` as it is.
        if "&" in text:
            text = unescape(text)
    if "<" in text:
        text = _MARKUP.sub(_gap, _UNCLOSED_COMMENT.sub("", _SILENT.sub("", text)))
    return spaces(normalized(text))


def _gap(match: re.Match[str]) -> str:
    """`<p>One</p><p>Two</p>` is two words, `H<sub>2</sub>O` is one."""
    name = match.group(1)
    return "" if name is None or name.lower() in _INLINE else " "


def paragraphs(text: str) -> str:
    """Plain text as markup: a `<p>` for each paragraph."""
    parts = (" ".join(part.split()) for part in re.split(r"\n\s*\n", normalized(text)))
    return "\n".join(f"<p>{escape(part, quote=False)}</p>" for part in parts if part)


def url(text: str, *, base_url: str = "") -> str:
    """An absolute http(s) URL without user name, in ASCII (RFC 3987 3.1); else empty."""
    text = text.strip()
    if not text or len(text) > MAX_URL_CHARS:
        return ""
    if _PLAIN_URL.fullmatch(text):
        return text
    try:
        # It takes tabs and line breaks out, as browsers do.
        parts = urlsplit(urljoin(base_url, normalized(text)))
        host = parts.hostname or ""
        if len(host) > 63 or not host.isascii():
            host = host.encode("idna").decode()
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # UnicodeError is one: a host that is none
        return ""
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or "@" in parts.netloc:
        return ""
    host = f"[{host}]" if ":" in host else host
    return urlunsplit(
        (
            parts.scheme,
            host + port,
            _encoded(parts.path, "/%:@!$&'()*+,;=~-._"),
            _encoded(parts.query, "/?%:@!$&'()*+,;=~-._"),
            _encoded(parts.fragment, "/?%:@!$&'()*+,;=~-._"),
        )
    )


def _encoded(part: str, safe: str) -> str:
    return quote(_BARE_PERCENT.sub("%25", part) if "%" in part else part, safe=safe)
