"""Sanitize: make markup of others safe to store and show. Pure, and total on hostile input.

nh3 does the work, after a guard: nh3 is quadratic in depth, in attributes and in ampersands
(50,000 nested divs take it 4 s, 100,000 attributes 2 s, a million `&` 6 s).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape, unescape
from urllib.parse import unquote

import nh3

from service.articles import media, urls
from service.articles.text import (
    normalized_markup,
    paragraphs,
    plain_text,
    without_forbidden,
    without_lost_references,
    without_scripts,
)
from service.articles.tree import body_of, markup_of

# Real articles stay under 40 levels, a few thousand tags and a few attributes a tag.
MAX_TRUSTED_TAGS = 400
"""This many cost nothing, however they are nested: nh3 walks 3 ns a level and tag."""
MAX_TAGS = 12_000
MAX_ATTRIBUTES = 20_000
"""Attributes of one tag: about 0.1 s in nh3, and 0.4 s in lxml."""
_SHORT_RUN = 500
"""Characters between two `>`, up to which attributes cost nothing."""
_PLAIN_TAG = re.compile(
    r"[a-zA-Z/][^\s\"'<>=]*+"
    r"(?:\s++[^\s\"'<>=/]++(?:\s*+=\s*+(?:\"[^\"]*+\"|'[^']*+'|[^\s\"'<>=]++))?+)*+\s*+/?"
)
"""What is between `<` and `>`, if every parser ends the tag there."""
MAX_AMPERSANDS = 100_000
"""0.1 s in nh3."""
MAX_CHARS_MADE = 2_000_000
"""Limit of what is left of markup that grows eightfold: a `<b>` that is left open is written again
in each block after it."""

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
    "a": {"href", "hreflang", "name"},
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
_SUSPECT = re.compile("<(?:if|ob|sc|sty|no|te|form|ti|vi|au)", re.IGNORECASE)
_OPENED = re.compile(r"<(/?)(iframe|object)\b[^<>]*>", re.IGNORECASE)
_SWALLOWING = re.compile(
    r"<((iframe|object|script|style|noscript|template|form|textarea|title|video|audio)\b[^<>]*)/>",
    re.IGNORECASE,
)
# Around markup that was escaped twice; in HTML it is a comment up to the first `>`.
_CDATA = re.compile(r"<!\[CDATA\[(.*?)(?:\]\]>|\Z)", re.DOTALL)
# HTML drops a line break there, so that it must be written twice.
_FIRST_LINE = re.compile("(<pre(?: [^<>]*)?>)\n")
_PARTS = re.compile(
    "(</?)(?:address|article|aside|center|dialog|fieldset|footer|header|hgroup|main|menu|nav|search"
    "|section)(?=[ >])"
)
_OPENING = re.compile("(<[a-z][a-z0-9]*+)( [^<>]*>)")
_ID = re.compile(' (?:id|name)="([^"]*)"')
_FRAGMENT = re.compile(' href="[^"#]*#([^"]+)"')
_CITE = re.compile('(<(?:blockquote|q)(?: [^<>]*?)?) cite="([^"]*)"')
_LATE = 'loading="lazy" decoding="async" referrerpolicy="no-referrer"'
# No words, and nothing to see or hear.
_EMPTY = re.compile(r"(?:<(?!(?:img|audio|video|picture)\b)[^<>]*>|&nbsp;|\s)*")


@dataclass(frozen=True, slots=True)
class Markup:
    """What is to be sanitised."""

    text: str
    base_url: str = ""
    """What its URLs are relative to; without a base to resolve them against, they are removed."""
    id_prefix: Callable[[], str] = str
    """Returns what is put before each id that a link names, because pages show many articles; other
    ids are removed."""


def html(text: str, *, base_url: str = "", id_prefix: Callable[[], str] = str) -> str:
    """Sanitised markup with absolute URLs; see `Markup`.

    Markup too deep or with too many attributes to be worth the time keeps its words only.
    """
    return html_of_all([Markup(text, base_url, id_prefix)])[0]


def html_of_all(markups: Sequence[Markup]) -> list[str]:
    """The sanitised markup of each.

    All go through one step before the first goes through the next: nh3's code and ours displace one
    another from the caches of a processor, which costs an eighth of the time of composing.
    """
    texts = [_prepared(markup.text) for markup in markups]
    tamed = [_tamed(text, markup.base_url) for text, markup in zip(texts, markups, strict=True)]
    cleaned = [
        _clean(each, markup.base_url) if each else ""
        for each, markup in zip(tamed, markups, strict=True)
    ]
    return [
        _finished(clean, markup)
        if each is not None and (len(clean) <= MAX_CHARS_MADE or len(clean) <= 8 * len(text))
        else paragraphs(plain_text(without_scripts(text)))
        for text, each, clean, markup in zip(texts, tamed, cleaned, markups, strict=True)
    ]


def _prepared(text: str) -> str:
    """The markup as HTML parsers read what its writer meant; empty if it has nothing but space."""
    text = without_lost_references(without_forbidden(text))
    text = _closed(_CDATA.sub(r"\1", text) if "<![CDATA[" in text else text)
    return "" if text.isspace() else text


def _finished(clean: str, markup: Markup) -> str:
    """What nh3 returned, without what it does not know, and empty if there is nothing to see."""
    # Character references are resolved now; characters that a dropped tag separated may compose.
    clean = _PARTS.sub(r"\1div", normalized_markup(clean))
    if ' id="' in clean or ' name="' in clean:
        clean = _with_ids(clean, markup.id_prefix())
    if ' cite="' in clean:
        # nh3 does not know that this is a URL.
        clean = _CITE.sub(lambda match: _with_cite(match, markup.base_url), clean)
    if "<pre" in clean:
        clean = _FIRST_LINE.sub("\\1\n\n", clean)
    if "<img" in clean:
        clean = _with_late_images(_PIXEL.sub("", clean))
    return "" if _EMPTY.fullmatch(clean) else clean.strip()


def _with_cite(match: re.Match[str], base_url: str) -> str:
    cited = urls.url(unescape(match.group(2)), base_url=base_url)
    return f'{match.group(1)} cite="{escape(cited)}"' if cited else match.group(1)


def _with_ids(markup: str, prefix: str) -> str:
    """The markup with those ids and names that its links name, as prefixed ids."""
    targets = {unquote(name) for name in _FRAGMENT.findall(markup)}

    def id_of(name: str) -> str:
        own = name.removeprefix(prefix)
        return f' id="{prefix}{own}"' if {own, name} & targets else ""

    def with_id(tag: re.Match[str]) -> str:
        ids = [id_of(name) for name in _ID.findall(tag.group(2))]
        return f"{tag.group(1)}{next(filter(None, ids), '')}{_ID.sub('', tag.group(2))}"

    return _OPENING.sub(with_id, markup)


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
    return _OPENED.sub(_ended, text) if 2 * marks.count("/") < len(marks) else text


def _ended(tag: re.Match[str]) -> str:
    return "" if tag.group(1) else f"{tag.group()}</{tag.group(2)}>"


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


def _tamed(text: str, base_url: str) -> str | None:
    """Markup that nh3 is quick with, and whose media are plain; None if it is too much for that.

    Counting tags cannot tell how deep a tree is: `</div>` in a comment or an attribute closes
    nothing, `<div/>` opens one. So markup with many tags is written anew from its tree, which takes
    linear time and gives up at 256 levels.
    """
    tags = text.count("<")
    if tags > MAX_TAGS or text.count("&") > MAX_AMPERSANDS or has_huge_tag(text):
        return None
    has_media, is_trusted = media.has_media(text), tags <= MAX_TRUSTED_TAGS
    if is_trusted and not has_media:
        return text
    body = body_of(text)
    if body is None:
        return text if is_trusted else None
    if has_media:
        media.make_plain(body, base_url=base_url)
    return markup_of(body)


def has_huge_tag(text: str) -> bool:
    """Whether tags may have so many attributes that to compare each of a tag with each, as parsers
    do, takes longer than for MAX_ATTRIBUTES of one tag.

    Spaces, `/` and quotes separate attributes; inside a tag, `>` stands only in quotes.
    """
    if len(text) <= 2 * MAX_ATTRIBUTES or "<" not in text:
        return False
    runs = text.split(">")
    return _are_huge(runs) and _are_huge(_without_words(runs))


def _are_huge(runs: Iterable[str]) -> bool:
    long_runs = (run.replace("/", " ") for run in runs if len(run) > _SHORT_RUN)
    comparisons = sum(sum(map(run.count, " \t\n\r\f\"'")) ** 2 for run in long_runs)
    return comparisons > MAX_ATTRIBUTES**2


def _without_words(runs: Iterable[str]) -> Iterator[str]:
    """Each run up to a `>` without the words before its tag; whole from the first tag on that
    parsers may read in different ways, because its quotes may go on behind the `>`."""
    is_sure = True
    for run in runs:
        _, angle, tag = run.partition("<")
        yield angle + tag if is_sure else run
        is_sure = is_sure and (not angle or _PLAIN_TAG.fullmatch(tag) is not None)
