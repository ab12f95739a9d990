"""Media: pictures, films, sounds and formulas in markup become plain HTML that every reader shows,
before it is sanitised. Pure.

    pictures  loaded by a script (data-src, srcset, noscript, <picture>) → <img> with a `src`
    frames    of players and other sites, <object>, <embed> → a link, with a picture if known
    formulas  MathML without its annotations, TeX where there is nothing else
    films     with a `src`

The work is done in the tree of the markup (tree.py); markup without any of these needs none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from itertools import zip_longest
from typing import Any
from urllib.parse import urljoin, urlsplit

from lxml import etree
from lxml import html as lxml_html

from service.articles.players import Shown, shown_in

# What markup has to contain for this module to have work, in lower case; looking for words is
# quicker than any pattern of them.
_SPECIAL = (
    b"<iframe", b"<object", b"<embed", b"<noscript", b"<picture", b"<math", b"katex",
    b"application/x-tex",
)  # fmt: skip
_DATA = re.compile(rb"data-[\w-]{0,40}?(?:src|original|lazy|url|image|file|echo)")
_SRC = re.compile(r"""\ssrc=["']([^"'\s]+)["']""")
# In this order: attributes with the address of a picture that a script loads later.
_LAZY = (
    "data-src", "data-lazy-src", "data-original", "data-lazy", "data-url", "data-actualsrc",
    "data-img-src", "data-image", "data-full-src", "data-hi-res-src", "data-echo", "data-cfsrc",
)  # fmt: skip
_LAZY_SETS = ("data-srcset", "data-lazy-srcset", "srcset")
_MORE = ("data-orig-file", "data-large-file", "data-medium-file", "data-orig-src")
_SIZE = re.compile(r"(\d{1,5}(?:\.\d{1,3})?)([wxh]),?")
_SIZE_AND_COMMA = re.compile(r"(\d[wxh]),")
MAX_WIDTH = 2_600
"""Width of a candidate of a srcset, in pixels: larger ones are for print."""
MAX_DENSITY = 3.0
MAX_SRCSET_CHARS = 20_000
# Names of files that stand for a picture until a script loads it; photographs have such names, too.
_PLACEHOLDER_WORD = re.compile(
    r"\b(?:blank|spacer|placeholder|pixel|transparent|lazy(?:load)?|loading|gr[ae]y|1x1|empty"
    r"|fallback)",
    re.IGNORECASE,
)
_PICTURE_ENDINGS = (".gif", ".png", ".svg", ".jpg", ".jpeg", ".webp")
_INLINE_SCHEMES = ("data:", "about:")
_NOT_IN_NAMES = re.compile(r"[^\w.-]")
# Types of sources of a <picture> that some readers cannot show: any other type comes first.
_MODERN = ("image/avif", "image/webp", "image/jxl", "image/heic")
_TEX = ("application/x-tex", "tex", "text/x-tex", "latex")


def has_media(markup: str) -> bool:
    """Whether `make_plain` has work in it; quick, and true too often."""
    # Bytes, of which lower() changes ASCII alone, ten times as fast.
    text = markup.encode("utf-8", "surrogatepass").lower()
    if any(map(text.__contains__, _SPECIAL)) or (b"data-" in text and _DATA.search(text)):
        return True
    # Most pictures with a `srcset` have a `src` of their own, too, and need nothing.
    return b"srcset" in text and not all(map(_has_source, _with_set(text)))


def _with_set(markup: bytes) -> Iterator[str]:
    """The tags that contain the word."""
    at, end = markup.find(b"srcset"), 0
    while at >= 0:
        start, end = markup.rfind(b"<", end, at), markup.find(b">", at)
        if start < 0 or end < 0:
            return
        yield markup[start:end].decode("utf-8", "surrogatepass").lower()
        at = markup.find(b"srcset", end)


def _has_source(image: str) -> bool:
    src = _SRC.search(image)
    return src is not None and not _is_placeholder(src.group(1))


def make_plain(body: Any, *, base_url: str = "") -> None:
    """Change the tree of markup, which is not sanitised, so that its media need no script and no
    frame.

    Args:
        base_url: what the addresses of frames are relative to.
    """
    for step in (_films, _pictures, _images, _noscripts, _objects, _formulas):
        step(body)
    for frame in [*body.iter("iframe", "embed")]:
        _link(frame, base_url)


def _films(body: Any) -> None:
    for element in body.iter("video", "audio", "source"):
        if not element.get("src") and (src := _lazy(element)):
            element.set("src", src)


def _pictures(body: Any) -> None:
    """`<picture>` becomes its image, with the best source if that has none of its own."""
    for picture in [*body.iter("picture")]:
        sources = [source for source in picture.iter("source") if _set(source)]
        sources.sort(key=lambda source: (source.get("type") or "").lower() in _MODERN)
        image = next(picture.iter("img"), None)
        if image is None and sources:
            image = etree.SubElement(picture, "img")
        if image is not None and sources and _is_placeholder(_source(image)):
            image.set("srcset", _set(sources[0]))
        for source in [*picture.iter("source")]:
            source.drop_tag()
        picture.drop_tag()


def _images(body: Any) -> None:
    for image in body.iter("img"):
        source = _source(image)
        if source and source != image.get("src"):
            image.set("src", source)


def _source(image: Any) -> str:
    """The address of the picture itself; one that looks like a placeholder's if all of them do."""
    addresses = [_largest(image.get(name) or "") for name in _LAZY_SETS[:2]]
    addresses += _values(image, _LAZY)
    addresses += [*_values(image, ("src",)), _largest(image.get("srcset") or "")]
    addresses += _values(image, _MORE)
    return _first_real(addresses) or next((a for a in addresses if not _is_inline(a)), "")


def picture_in(element: Any) -> str:
    """The address of the first picture that is an element or in it, as written; empty if there is
    none."""
    addresses = [_source(image) for image in element.iter("img", "source", "image")]
    return _first_real(addresses + _values(element, ("content", "poster", "url", "href")))


def _lazy(element: Any) -> str:
    return _first_real(_values(element, _LAZY))


def _first_real(addresses: list[str]) -> str:
    return next((address for address in addresses if not _is_placeholder(address)), "")


def _values(element: Any, names: tuple[str, ...]) -> list[str]:
    return [(element.get(name) or "").strip() for name in names]


def _set(element: Any) -> str:
    return str(next(filter(None, (element.get(name) for name in _LAZY_SETS)), ""))


def _largest(srcset: str) -> str:
    """The address of the largest candidate that is not larger than a screen; empty if there is
    none."""
    candidates = list(_candidates(srcset))
    sane = [
        (size, url)
        for url, size, unit in candidates
        if size <= (MAX_DENSITY if unit == "x" else MAX_WIDTH)
    ]
    if sane:
        return max(sane, key=lambda each: each[0])[1]
    return min(candidates, key=lambda each: each[1])[0] if candidates else ""


def _candidates(srcset: str) -> Iterator[tuple[str, float, str]]:
    """(URL, size, unit w, h or x) of each candidate (HTML, srcset attributes); a URL may contain
    commas, but not end with one."""
    words = _SIZE_AND_COMMA.sub(r"\1, ", srcset[:MAX_SRCSET_CHARS]).split()
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        if _SIZE.fullmatch(word) or _is_inline(word) or word == ",":
            continue
        size = None if word.endswith(",") else _SIZE.fullmatch(following)
        yield word.strip(","), float(size.group(1)) if size else 1.0, size.group(2) if size else "x"


def _is_placeholder(src: str) -> bool:
    """Whether this is no picture's own address, by its scheme or by the name of its file."""
    # In several steps, because a pattern for all of it would take quadratic time.
    name = _NOT_IN_NAMES.split(src.partition("?")[0])[-1]
    return _is_inline(src) or (
        name.lower().endswith(_PICTURE_ENDINGS) and _PLACEHOLDER_WORD.search(name) is not None
    )


def _is_inline(src: str) -> bool:
    return not src or src[:6].lower().startswith(_INLINE_SCHEMES)


def _noscripts(body: Any) -> None:
    """A picture that is only for readers without scripts replaces the placeholder before it."""
    for noscript in [*body.iter("noscript")]:
        before = noscript.getprevious()
        placeholder = None
        if before is not None and not (before.tail or "").strip():
            images = [before] if before.tag == "img" else [*before.iter("img")]
            placeholder = images[-1] if images else None
        has_picture = next(noscript.iter("img", "iframe", "video", "audio"), None) is not None
        if placeholder is not None and has_picture:
            if not _is_placeholder(placeholder.get("src") or ""):
                noscript.drop_tree()  # The same picture again.
                continue
            placeholder.drop_tree()
        if has_picture:
            noscript.drop_tag()
        else:
            noscript.drop_tree()


def _objects(body: Any) -> None:
    """`<object>` becomes what it has for readers that cannot show it, else a frame."""
    for thing in [*body.iter("object")]:
        inside = [*thing.iter("embed", "iframe")]
        for element in [*thing.iter("param", "noembed")]:
            if (element.get("name") or "").lower() in ("movie", "src") and not thing.get("data"):
                thing.set("data", element.get("value") or "")
            element.drop_tree()
        has_fallback = bool(thing.text_content().strip()) or thing.find(".//img") is not None
        if has_fallback:
            for element in inside:
                element.drop_tree()
        elif not inside and thing.get("data"):
            frame = etree.SubElement(thing, "iframe")
            frame.set("src", thing.get("data"))
        thing.drop_tag()


def _formulas(body: Any) -> None:
    if body.find(".//math") is not None:
        # The same formula once more, in boxes that need the styles of KaTeX.
        for boxes in body.xpath(".//*[contains(@class, 'katex-html')]"):
            boxes.drop_tree()
    for formula in [*body.iter("math")]:
        annotations = [*formula.iter("annotation", "annotation-xml")]
        written = (each for each in annotations if (each.get("encoding") or "").lower() in _TEX)
        tex = next((each.text or "" for each in written), formula.get("alttext") or "")
        for annotation in annotations:
            annotation.drop_tree()
        if not formula.text_content().strip() and tex.strip():
            _replace(formula, f"<code>{escape(tex.strip(), quote=False)}</code>")


def _link(frame: Any, base_url: str) -> None:
    """Replace a frame by a link to what it shows; one that shows nothing goes."""
    src = (frame.get("src") or "").strip()
    src = _lazy(frame) if _is_placeholder(src) else src
    is_pixel = {frame.get("width"), frame.get("height")} & {"0", "1", "0px", "1px"}
    shown = None if is_pixel or not src else _shown(src, base_url)
    if shown is None:
        frame.drop_tree()
        return
    title = " ".join((frame.get("title") or "").split()) or shown.label
    href, text = escape(shown.url), escape(title)
    picture = (
        f'<a href="{href}"><img src="{escape(shown.picture)}" alt="{text}"></a>'
        if shown.picture
        else ""
    )
    link = f'<a href="{href}">{text}</a>'
    parent = frame.getparent()
    if parent is not None and parent.tag == "figure":
        _replace(frame, f"{picture}<div>{link}</div>")
    else:
        _replace(frame, f"<figure>{picture}<figcaption>{link}</figcaption></figure>")


def _shown(src: str, base_url: str) -> Shown | None:
    try:
        address = urljoin(base_url or "https://", src)
        parts = urlsplit(address)
        return shown_in(address) if parts.scheme in ("http", "https") and parts.netloc else None
    except ValueError:
        return None


def _replace(element: Any, markup: str) -> None:
    for piece in lxml_html.fragments_fromstring(markup):
        element.addprevious(piece)
    element.drop_tree()
