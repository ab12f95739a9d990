"""Clean: make what comes from outside fit to be kept and shown. Pure, and total on hostile input.

    html        sanitised markup with absolute URLs (nh3, after a guard: nh3 is quadratic in depth
                and in attributes: 50,000 nested divs take it 4 s, 100,000 attributes 2 s)
    plain_text  the words of sanitised markup, paragraph by paragraph
    line        one line of plain text, for titles and names
    url         an absolute http(s) URL, or nothing

Everything comes out as NFC, without control characters and lone surrogates: one of them in one
title breaks a whole XML feed.
"""

from __future__ import annotations

import re
import unicodedata
from html import escape, unescape
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import nh3

# Real articles stay under 40 levels and a few attributes a tag.
MAX_DEPTH = 200
MAX_ATTRIBUTES = 20_000
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
# C0 (but tab, newline, return), C1, lone surrogates and non-characters: no XML 1.0 text.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)[^>]*?(/?)>")
# What a title's markup may be: a name, not `5 < 6`.
_MARKUP = re.compile(r"</?[a-zA-Z][^<>]*>|<!--.*?-->", re.DOTALL)
_VOID = frozenset({"br", "hr", "img", "col", "source", "track", "wbr", "input", "meta", "link"})
_BLOCK_END = re.compile(
    r"</(?:p|div|h[1-6]|li|tr|blockquote|pre|figure|figcaption|dd|dt|table|ul|ol|dl)\s*>"
    r"|<(?:p|div|h[1-6]|li|hr|blockquote|pre|figure|table|ul|ol|dl)(?:\s[^>]*)?/?>"
)
_BREAK = re.compile(r"<br\s*/?>\s*")
_ANY_TAG = re.compile(r"<[^>]*>")
_SPACES = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r"\s*\n\s*\n\s*")
_PIXEL = re.compile(r'<img\b(?=[^>]*\s(?:width|height)="[01](?:px)?")[^>]*>')
_EMPTY = re.compile(r"(?:<(p|div|span)>\s*</\1>|\s)+")


def html(text: str, *, base_url: str = "") -> str:
    """Sanitised markup; URLs are absolute, or gone where there is no base to resolve them against.

    Markup too deep or with too many attributes to be worth the time keeps its words only.
    """
    text = characters(text)
    if not text.strip():
        return ""
    if _is_excessive(text):
        return paragraphs(plain_text(text))
    base = urlsplit(base_url)
    relative: str | tuple[str, str] = (
        ("rewrite_with_base", base_url) if base.scheme in ("http", "https") else "deny"
    )
    made = nh3.clean(
        text,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        clean_content_tags=_CONTENT_TOO,
        url_schemes={"http", "https", "mailto"},
        url_relative=relative,  # type: ignore[arg-type]  # a literal or a pair, as nh3 documents
        link_rel="noopener",
    )
    made = _PIXEL.sub("", made).strip()
    return "" if _EMPTY.fullmatch(made) else made


def _is_excessive(text: str) -> bool:
    if text.count("=") > MAX_ATTRIBUTES or len(text) > 20_000_000:
        return True
    # Most articles cannot be too deep: they have not that many tags.
    if text.count("<") <= MAX_DEPTH:
        return False
    depth = 0
    for match in _TAG.finditer(text):
        closing, name, void = match.groups()
        if closing:
            depth = max(0, depth - 1)
        elif not void and name.lower() not in _VOID:
            depth += 1
            if depth > MAX_DEPTH:
                return True
    # A tag that never ends is not seen above, and costs nh3 nothing.
    return False


def plain_text(markup: str) -> str:
    """The words: blocks apart by a blank line, `<br>` as a line break, other space as one space."""
    if "<" not in markup and "&" not in markup:
        return _tidy(markup)
    text = markup.replace("\n", " ")
    text = _BREAK.sub("\n", text)
    text = _BLOCK_END.sub("\n\n", text)
    return _tidy(unescape(_ANY_TAG.sub("", text)))


def _tidy(text: str) -> str:
    text = _SPACES.sub(" ", text)
    return _BLANK_LINES.sub("\n\n", text).strip()


def line(text: str) -> str:
    """One line of plain text. Titles come with markup and with entities escaped twice."""
    if "&" in text:
        text = unescape(text)
        # `Tom &amp;amp; Ann`, `&amp;quot;`: a second round, which leaves `AT&T` as it is.
        if "&" in text:
            text = unescape(text)
    if "<" in text:
        text = _MARKUP.sub("", text)
    return " ".join(characters(text).split())


def characters(text: str) -> str:
    """NFC, without what no XML document may hold."""
    if text.isascii() and text.isprintable():
        return text
    return unicodedata.normalize("NFC", _FORBIDDEN.sub("", text.replace("\r\n", "\n")))


def paragraphs(text: str) -> str:
    """Plain text as markup: a `<p>` for each paragraph."""
    parts = (" ".join(part.split()) for part in re.split(r"\n\s*\n", characters(text)))
    return "\n".join(f"<p>{escape(part, quote=False)}</p>" for part in parts if part)


def url(text: str, *, base_url: str = "") -> str:
    """An absolute http(s) URL without user name, in ASCII (RFC 3987 3.1); else empty."""
    text = "".join(text.split("\n")).strip()
    if not text or len(text) > MAX_URL_CHARS:
        return ""
    try:
        parts = urlsplit(urljoin(base_url, characters(text)))
        host = (parts.hostname or "").encode("idna").decode()
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # UnicodeError is one: a host that is none
        return ""
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
        return ""
    host = f"[{host}]" if ":" in host else host
    return urlunsplit(
        (
            parts.scheme,
            host + port,
            quote(parts.path, safe="/%:@!$&'()*+,;=~-._"),
            quote(parts.query, safe="/?%:@!$&'()*+,;=~-._"),
            quote(parts.fragment, safe="/?%:@!$&'()*+,;=~-._"),
        )
    )
