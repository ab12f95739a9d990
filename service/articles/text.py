"""Text: the gate that every string of an article passes, and the words of markup. Pure, and total.

    normalized  any string in NFC and without what no XML or JSON document may hold
    plain_text  the words of sanitised markup, paragraph by paragraph
    line        one line of plain text, for titles and names
    paragraphs  plain text as markup

One forbidden character in one article would make a whole feed unreadable. Forbidden are C0 (except
tab and line breaks), DEL, C1, surrogates and the 66 non-characters of Unicode (XML 1.0 2.2;
Unicode 23.7).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from html import escape, unescape

MAX_LANGUAGE_CHARS = 35
"""What RFC 5646 4.4.1 asks every implementation to have room for."""

_NONCHARACTERS = "".join(map(chr, range(0xFFFE, 0x110000, 0x10000))) + "".join(
    map(chr, range(0xFFFF, 0x110000, 0x10000))
)
_FORBIDDEN = re.compile(
    f"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_NONCHARACTERS}]"
)
# C1 in XML is what somebody took from Windows-1252 for Latin-1; HTML reads it as this, too
# (https://html.spec.whatwg.org/#numeric-character-reference-end-state).
_MEANT = {chr(code): bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0)}
# Bytes that begin neither a forbidden character nor CR LF. Deleting them from the UTF-8 form is
# five times faster than searching with the pattern.
_HARMLESS = bytes({*range(256)} - {*range(32), 0x7F, 0xC2, 0xEF, *range(0xF0, 0xF5)} | {9, 10})
_SHORT = 64
"""Up to here `isprintable` is quicker still."""
# Well-formed by RFC 5646 2.1, but for languages of four to eight letters: none is registered, and
# what stands there in practice is the English name of a language.
_LANGUAGE = re.compile(
    r"(?:[a-z]{2,3}(?:-[a-z0-9]{1,8})*|[xi](?:-[a-z0-9]{1,8})+)", re.IGNORECASE | re.ASCII
)

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


def normalized(text: str) -> str:
    """The text in NFC and without forbidden characters; C1 becomes what was meant by it."""
    text = without_forbidden(text)
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def without_forbidden(text: str) -> str:
    """The same without a change of the Unicode form: identifiers are compared as they are spelled
    (RFC 4287 4.2.6.1)."""
    if _may_hold_forbidden(text):
        return _FORBIDDEN.sub(_meant, text).replace("\r\n", "\n")
    return text


def _may_hold_forbidden(text: str) -> bool:
    if len(text) <= _SHORT:
        return not text.isprintable()
    try:
        return bool(text.encode().translate(None, _HARMLESS))
    except UnicodeEncodeError:
        return True  # A surrogate.


def _meant(match: re.Match[str]) -> str:
    return _MEANT.get(match.group(), "")


@lru_cache(maxsize=1_024)
def language_tag(text: str) -> str:
    """A BCP 47 tag, empty if the text is none; `en_US.UTF-8` is `en-US`."""
    tag = re.split(r"[.@\s]", text.strip(), maxsplit=1)[0].replace("_", "-")
    is_tag = len(tag) <= MAX_LANGUAGE_CHARS and _LANGUAGE.fullmatch(tag)
    return tag if is_tag else ""


def without_scripts(markup: str) -> str:
    """Markup without script and style elements, whose text is not words."""
    return _SILENT.sub("", markup)


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
        text = _MARKUP.sub(_gap, _UNCLOSED_COMMENT.sub("", without_scripts(text)))
    return spaces(normalized(text))


def _gap(match: re.Match[str]) -> str:
    """`<p>One</p><p>Two</p>` is two words, `H<sub>2</sub>O` is one."""
    name = match.group(1)
    return "" if name is None or name.lower() in _INLINE else " "


def paragraphs(text: str) -> str:
    """Plain text as markup: a `<p>` for each paragraph."""
    parts = (" ".join(part.split()) for part in re.split(r"\n\s*\n", normalized(text)))
    return "\n".join(f"<p>{escape(part, quote=False)}</p>" for part in parts if part)
