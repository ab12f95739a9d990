"""Text: cleans every string of an article, and converts markup to plain text. Pure, and total.

    normalized  any string in NFC, without the characters that XML and JSON forbid; markup by
                normalized_markup
    plain_text  sanitised markup → text, paragraph by paragraph
    Plain       marks a text of which its parser knows that it is plain
    line        text, with markup and entities unless it is Plain → one line of plain text
    paragraphs  plain text → markup

One forbidden character in one article would make a whole feed unreadable. Forbidden are C0 (except
tab and line breaks), DEL, C1, surrogates and the 66 non-characters of Unicode (XML 1.0 2.2;
Unicode 23.7).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from html import escape, unescape

MAX_LANGUAGE_CHARS = 35
"""The length that RFC 5646 4.4.1 requires every implementation to support."""

_NONCHARACTERS = "".join(map(chr, range(0xFFFE, 0x110000, 0x10000))) + "".join(
    map(chr, range(0xFFFF, 0x110000, 0x10000))
)
_FORBIDDEN = re.compile(
    f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_NONCHARACTERS}]"
)
# C1 characters in XML come from Windows-1252 text that was declared as Latin-1; HTML parsers decode
# them so, too (https://html.spec.whatwg.org/#numeric-character-reference-end-state).
_MEANT = {chr(code): bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0)}
# Bytes that begin neither a forbidden character nor CR LF. Deleting them from the UTF-8 form is
# five times faster than searching with the pattern.
_HARMLESS = bytes({*range(256)} - {*range(32), 0x7F, 0xC2, 0xEF, *range(0xF0, 0xF5)} | {9, 10})
MAX_MARKS = 30
# What most texts are written in has no marks; a text without such a run needs no closer look.
_NOT_MARKS = (
    "\x00-\u02ff\u0370-\u0482\u048a-\u0590\u05d0-\u060f\u0620-\u064a\u0e01-\u0e37\u0e3f-\u0e47"
    "\u1e00-\u20cf\u2100-\u2cee\u3040-\u3098\u309b-\u9fff\uac00-\ud7ff\uff00-\uffff"
)
_MAYBE_MARKS = re.compile(f"[^{_NOT_MARKS}][^{_NOT_MARKS}]{{{MAX_MARKS}}}")
MAX_CHARS_ABOUT_REFERENCES = 10_000
"""Of a line that may be about references to control characters; a second for two million."""
_SOLIDUS, _SOLIDUS_REFERENCE = "\u0338", "&#824;"
_SHORT = 64
"""Characters up to which `isprintable` is faster still."""
# What programs write for a value that they lack, some also in place of a region. `nan` in lower
# case is Min Nan Chinese.
_SLIP = re.compile(r"(?:^|-)(?:NaN|(?i:null|none|undefined))(?:-.*)?$")
_UNDETERMINED = "und"
# Languages that were registered before they had a code of two or three letters (RFC 5646 3.1.7).
_CODES_NOW = {
    "art-lojban": "jbo", "en-gb-oed": "en-GB-oxendict", "i-ami": "ami", "i-bnn": "bnn",
    "i-hak": "hak", "i-klingon": "tlh", "i-lux": "lb", "i-navajo": "nv", "i-pwn": "pwn",
    "i-tao": "tao", "i-tay": "tay", "i-tsu": "tsu", "no-bok": "nb", "no-nyn": "nn",
    "zh-guoyu": "cmn", "zh-hakka": "hak", "zh-min-nan": "nan", "zh-xiang": "hsn",
}  # fmt: skip
# Well-formed by RFC 5646 2.1, except languages of four to eight letters: none is registered, and in
# practice such a value is the English name of a language.
_LANGUAGE = re.compile(
    r"(?:[a-z]{2,3}(?:-[a-z0-9]{1,8})*|[xi](?:-[a-z0-9]{1,8})+)", re.IGNORECASE | re.ASCII
)

# A title's markup is a name in brackets, not `5 < 6`. Here and below no bracket is inside another,
# and a name is never shortened (`*+`): a pattern that looks for an end from every start, or from
# every end of a name, takes quadratic time on text without ends.
_MARKUP = re.compile(r"</?([a-zA-Z][a-zA-Z0-9]*+)[^<>]*>|<!--(?:(?!<!--).)*?-->", re.DOTALL)
_INLINE = {
    "a", "abbr", "b", "bdi", "cite", "code", "del", "dfn", "em", "font", "i", "ins", "kbd", "mark",
    "q", "s", "samp", "small", "span", "strong", "sub", "sup", "time", "u", "var", "wbr",
}  # fmt: skip
_INLINE_PAIR = re.compile(
    rf"<({'|'.join(sorted(_INLINE - {'wbr'}))})(?:\s[^<>]*)?>([^<>]*)</\1\s*>", re.IGNORECASE
)
_REFERENCE = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_NUMERIC = re.compile(r"&#(?:([0-9]+)|[xX]([0-9a-fA-F]+));?", re.ASCII)
_BRACKETED = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*+)([^<>]*)>")
_TAG_START = re.compile(r"<[A-Za-z/!]")
_VOID = {"br", "hr", "wbr", "p"}
# Elements of HTML besides the inline ones; nothing else in brackets is markup.
_ELEMENTS = {
    "address", "area", "article", "aside", "audio", "base", "big", "blockquote", "body", "br",
    "button", "canvas", "caption", "center", "col", "colgroup", "data", "datalist", "dd", "details",
    "dialog", "dir", "div", "dl", "dt", "embed", "fieldset", "figcaption", "figure", "footer",
    "form", "frame", "frameset", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hgroup",
    "hr", "html", "iframe", "img", "input", "label", "legend", "li", "link", "main", "map",
    "marquee", "menu", "meta", "meter", "nav", "nobr", "noscript", "object", "ol", "optgroup",
    "option", "output", "p", "param", "picture", "pre", "progress", "rp", "rt", "ruby", "script",
    "search", "section", "select", "slot", "source", "strike", "style", "summary", "svg", "table",
    "tbody", "td", "template", "textarea", "tfoot", "th", "thead", "title", "tr", "track", "tt",
    "ul", "video",
}  # fmt: skip
_SILENT = re.compile(
    r"<(script|style)\b(?:(?!<(?:script|style)\b).)*?</\1\s*>", re.DOTALL | re.IGNORECASE
)
_TAG = re.compile(r"<(/?[a-zA-Z][a-zA-Z0-9]*+)[^<>]*>|<!--(?:(?!<!--).)*?-->", re.DOTALL)
_BLOCKS = {
    "blockquote", "caption", "dd", "details", "div", "dl", "dt", "figcaption", "figure", "h1", "h2",
    "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "summary", "table", "tr", "ul",
}  # fmt: skip
# White space that replaces a tag in plain text; other tags are replaced by nothing.
_GAPS = {"br": "\n", "/td": " ", "/th": " "} | {
    tag: "\n\n" for name in _BLOCKS for tag in (name, f"/{name}")
}


class Plain(str):
    """A text in which `<` and `&` are characters, because its format says so or its document shows
    it. Any other title, name or summary may be markup."""

    __slots__ = ()


def normalized(text: str) -> str:
    """The text in NFC, without forbidden characters; C1 is decoded as Windows-1252."""
    if len(text) <= _SHORT and text.isascii() and text.isprintable():
        return text
    text = without_forbidden(text)
    return text if text.isascii() else unicodedata.normalize("NFC", _stream_safe(text))


def _stream_safe(text: str) -> str:
    """The text with at most MAX_MARKS combining marks in a row (UAX 15, Stream-Safe Text Format):
    to put them in order takes quadratic time."""
    if len(text) <= MAX_MARKS or not _MAYBE_MARKS.search(text):
        return text
    return _many_marks().sub("\\g<0>\u034f", text)


@cache
def _many_marks() -> re.Pattern[str]:
    """MAX_MARKS combining marks, which another one follows."""
    marks = "".join(c for c in map(chr, range(0x300, 0x1F000)) if unicodedata.combining(c))
    # The first one alone: a pattern that begins with a set is searched for ten times as fast.
    return re.compile(f"[{marks}][{marks}]{{{MAX_MARKS - 1}}}(?=[{marks}])")


def normalized_markup(markup: str) -> str:
    """Markup in NFC, as `normalized`; once it is so, `normalized` does not change it.

    A solidus that is combined with `>` would be another character, and the tag would not end there.
    """
    if _SOLIDUS not in markup:
        return normalized(markup)
    pieces = ">".join(normalized(piece) for piece in markup.split(">"))
    return pieces.replace(_SOLIDUS, _SOLIDUS_REFERENCE)


def without_forbidden(text: str) -> str:
    """`normalized` without NFC, for identifiers: they are compared character by character
    (RFC 4287 4.2.6.1)."""
    if _is_suspect(text):
        return _FORBIDDEN.sub(_meant, text).replace("\r\n", "\n")
    return text


def _is_suspect(text: str) -> bool:
    if len(text) <= _SHORT:
        return not text.isprintable()
    try:
        return may_hold_forbidden(text.encode())
    except UnicodeEncodeError:
        return True  # A surrogate.


def may_hold_forbidden(text: bytes) -> bool:
    """Whether a text in UTF-8 may contain a forbidden character; quick, and never wrongly False."""
    return bool(text.translate(None, _HARMLESS))


def _meant(match: re.Match[str]) -> str:
    return _MEANT.get(match.group(), "")


@lru_cache(maxsize=1_024)
def language_tag(text: str) -> str:
    """The text as a BCP 47 tag; empty if it is not one, or says that there is none. `en_US.UTF-8`
    becomes `en-US`, and `en-null` is `en`."""
    tag = re.split(r"[.@\s]", text.strip(), maxsplit=1)[0].replace("_", "-")
    if len(tag) > MAX_LANGUAGE_CHARS:
        return ""
    tag = _SLIP.sub("", tag)
    tag = _CODES_NOW.get(tag.lower(), tag)
    return tag if _LANGUAGE.fullmatch(tag) and tag.lower() != _UNDETERMINED else ""


def without_scripts(markup: str) -> str:
    """Markup without script and style elements, whose text is code."""
    return _SILENT.sub("", markup)


def plain_text(markup: str) -> str:
    """Sanitised markup as text: a blank line between blocks, a line break for `<br>`, one space for
    any other white space."""
    text = markup.replace("\n", " ")
    if "<" in text:
        pieces = _TAG.split(text)
        # Every second piece is the name of a tag, or None for a comment.
        pieces[1::2] = [_GAPS.get(name, "") for name in pieces[1::2]]
        text = "".join(pieces)
    if "&" in text:
        text = _unescaped(text)
    text = text.replace("\xa0", " ")
    if text.replace("\n", "").isprintable():
        # The only white space in it is spaces and line breaks.
        text = _single(text).replace(" \n", "\n").replace("\n ", "\n")
    else:
        text = "\n".join([" ".join(line.split()) if line else "" for line in text.split("\n")])
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip()


def _unescaped(text: str) -> str:
    """`unescape`, faster for the few entities that nh3 writes."""
    few = text.replace("&nbsp;", " ").replace("&lt;", "<").replace("&gt;", ">")
    if few.count("&") > few.count("&amp;"):
        return unescape(text)
    return few.replace("&amp;", "&")


def spaces(text: str) -> str:
    """Replace each run of white space by one space, and remove it at both ends."""
    flat = text.replace("\n", " ").replace("\xa0", " ")
    return _single(flat).strip() if flat.isprintable() else " ".join(text.split())


def _single(text: str) -> str:
    while "  " in text:
        text = text.replace("  ", " ")
    return text


def without_lost_references(text: str) -> str:
    """Markup without references to NUL, surrogates and what is beyond Unicode: HTML parsers make
    U+FFFD of them, which tells a reader that something is lost where nothing was."""
    return _NUMERIC.sub(_unless_lost, text) if "&#" in text else text


def _unless_lost(match: re.Match[str]) -> str:
    digits = (match.group(1) or match.group(2)).lstrip("0")
    code = int(digits[:8] or "0", 10 if match.group(1) else 16)
    return match.group() if 0 < code < 0xD800 or 0xE000 <= code < 0x110000 else ""


def _resolved(text: str) -> str:
    return unescape(without_lost_references(text))


def _resolved_again(text: str) -> str:
    """A text whose references were escaped twice. Nobody escapes one to a control character: that
    is what the text is about."""
    text = without_lost_references(text)
    is_short = len(text) <= MAX_CHARS_ABOUT_REFERENCES
    return unescape(_NUMERIC.sub(_literal_if_empty, text) if is_short and "&#" in text else text)


def _literal_if_empty(match: re.Match[str]) -> str:
    reference = match.group()
    return reference if unescape(reference) else f"&amp;{reference[1:]}"


def line(text: str) -> str:
    """One line of plain text. Feed titles have markup, and entities that are escaped twice."""
    if isinstance(text, Plain) or not ("&" in text or "<" in text):
        return normalized(text.strip()) if _is_line(text) else spaces(normalized(text))
    # What is markup after its entities are resolved was escaped to be shown; a pair of inline tags
    # was escaped twice by mistake.
    text = _resolved(_without_markup(text))
    # `Tom &amp;amp; Ann`, `&amp;quot;`: a second round, which leaves `AT&T` as it is.
    text = _resolved_again(text) if "&" in text else text
    text = _INLINE_PAIR.sub(r"\2", text) if "<" in text else text
    return spaces(normalized(text))


def _is_line(text: str) -> bool:
    return text.isprintable() and "  " not in text


def markup_balance(texts: Iterable[str]) -> int:
    """Whether the titles of one document are markup, by the evidence of all: if it is positive.
    Character references, end tags, attributes and comments speak for it; against it speak names in
    brackets that are no markup, such as `Vec<u8>` or a `<picture>` that nothing ends."""
    balance = 0
    for text in texts:
        if "<" in text or "&" in text:
            tags = [match.groups() for match in _BRACKETED.finditer(text)]
            ended = {name.lower() for slash, name, _ in tags if slash}
            is_real = [
                name.lower() in _INLINE | _ELEMENTS
                and (name.lower() in ended or name.lower() in _VOID or "=" in rest)
                for _, name, rest in tags
            ]
            balance += any(is_real) or "<!--" in text or bool(_REFERENCE.search(text))
            balance -= not all(is_real)
    return balance


def _without_markup(text: str) -> str:
    if "<" not in text:
        return text
    text = without_scripts(text)
    unclosed = text.find("<!--", text.rfind("-->") + 1)
    return _MARKUP.sub(_gap, text if unclosed < 0 else text[:unclosed])


def _gap(match: re.Match[str]) -> str:
    """A space for a block, nothing for inline markup: `<p>One</p><p>Two</p>`, `H<sub>2</sub>O`.
    What HTML does not have stays: `Vec<u8>`."""
    name = match.group(1)
    if name is None or name.lower() in _INLINE:
        return ""
    return " " if name.lower() in _ELEMENTS else match.group()


def paragraphs(text: str) -> str:
    """Plain text as markup: a `<p>` for each paragraph, and its lines as they are."""
    blocks = re.split(r"\n[^\S\n]*\n\s*", normalized(text).replace("\r", "\n"))
    lines = ([spaces(line) for line in block.split("\n")] for block in blocks)
    markup = "\n".join(
        f"<p>{'<br>'.join(escape(line, quote=False) for line in block if line)}</p>"
        for block in lines
        if any(block)
    )
    return markup.replace(_SOLIDUS, _SOLIDUS_REFERENCE)


def with_lines(text: str) -> str:
    """Markup for a text that is called markup: if it has lines and no tag, they are its lines."""
    if "\n" not in text or _TAG_START.search(text):
        return text
    return paragraphs(_resolved(text))
