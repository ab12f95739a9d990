"""Fields of XML feeds, by table: `prefix:name` → elements, whatever prefixes a feed has. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from html import escape
from itertools import islice
from typing import Any, TypeAlias

from service.articles.article import Enclosure
from service.articles.text import paragraphs

BASE = "{http://www.w3.org/XML/1998/namespace}base"
LANG = "{http://www.w3.org/XML/1998/namespace}lang"
# Namespace → its usual prefix, "" for RSS's own. Other namespaces (georss, slash, creativeCommons,
# …) contain nothing that an article has a field for, and are ignored.
_PREFIXES = {
    "": "", "http://www.w3.org/2005/Atom": "atom", "http://purl.org/atom/ns#": "atom",
    "http://blogs.law.harvard.edu/tech/rss": "", "http://purl.org/rss/1.0/": "",
    "http://my.netscape.com/rdf/simple/0.9/": "", "http://channel.netscape.com/rdf/simple/0.9/": "",
    "http://backend.userland.com/rss2": "", "http://backend.userland.com/rss": "",
    "http://backend.userland.com/rss091": "", "http://backend.userland.com/rss092": "",
    "http://backend.userland.com/rss093": "", "http://purl.org/net/rss1.1#": "",
    "http://purl.org/dc/elements/1.1/": "dc", "http://purl.org/dc/elements/1.0/": "dc",
    "http://purl.org/dc/terms/": "dcterms",
    "http://purl.org/rss/1.0/modules/content/": "content",
    "http://purl.org/rss/1.0/modules/syndication/": "sy",
    "http://search.yahoo.com/mrss/": "media",
    "http://www.itunes.com/dtds/podcast-1.0.dtd": "itunes",
    "http://www.w3.org/1999/xhtml": "xhtml",
    "http://rssnamespace.org/feedburner/ext/1.0": "feedburner",
    "http://www.google.com/schemas/play-podcasts/1.0": "googleplay",
    "https://podcastindex.org/namespace/1.0": "podcast",
    "https://github.com/Podcastindex-org/podcast-namespace/blob/main/docs/1.0.md": "podcast",
}  # fmt: skip
# Prefix → its first namespace above: what a prefix means in a feed that does not declare it.
NAMESPACES = {prefix: uri for uri, prefix in reversed(_PREFIXES.items()) if prefix} | {
    "rss": "http://backend.userland.com/rss2",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
}


def _without_slips(namespace: str) -> str:
    """A namespace without what feeds write differently: https, capitals, the last sign."""
    return namespace.lower().replace("https://", "http://", 1).rstrip("/#")


_PREFIXES_BY_NAME = {_without_slips(uri): prefix for uri, prefix in _PREFIXES.items()}
_CARRIERS = ("enclosure", "atom:link", "media:content", "media:group")
# `desk@x.example (A. Tern)`, `A. Tern (desk@x.example)`, `A. Tern <desk@x.example>`.
MAX_AUTHOR_CHARS = 400
"""In longer ones no address is looked for, which takes quadratic time."""
MAX_PICTURES = 50
"""Pictures of Media RSS that are shown after a text: as many as an article may have files."""
_AUTHOR_PATTERNS = (
    re.compile(r"\S+@\S+\s+\((.+)\)"),
    re.compile(r"([^<(]+?)\s*[<(]\S+@\S+[>)]"),
)
_PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".avif", ".svg")
_SIZES = frozenset({
    "w", "h", "width", "height", "size", "resize", "fit", "crop", "quality", "q", "dpr", "auto",
    "format", "fm", "imwidth", "scale",
})  # fmt: skip
# Separators of groups of three digits.
_SEPARATOR = re.compile(r"(?<=\d)[,. '\u00a0\u202f](?=\d{3}(?:\D|$))")
Fields: TypeAlias = dict[str, list[Any]]


def fields_of(element: Any) -> Fields:
    """The children of an element by `prefix:name`, in their order; RSS names in lower case."""
    fields: Fields = {}
    for child in element:
        name = _name(child.tag)
        if not name:
            continue
        if name in fields:
            fields[name].append(child)
        else:
            fields[name] = [child]
    return fields


@lru_cache(maxsize=1_024)
def _name(tag: Any) -> str:
    """`prefix:name` of a tag; empty if its namespace is unknown."""
    if not isinstance(tag, str):
        return ""
    namespace, _, local = tag.rpartition("}")
    prefix = _PREFIXES_BY_NAME.get(_without_slips(namespace[1:]))
    if prefix is None:
        return ""
    return f"{prefix}:{local}" if prefix else local.lower()


def local_name(element: Any) -> str:
    """The name of an element without its namespace; in a tree that was recovered from broken XML a
    prefix may be a part of the name, and `etree.QName` raises for it."""
    return str(element.tag).rpartition("}")[2].rpartition(":")[2]


def rename(element: Any, name: str) -> None:
    """Give an element another name; it keeps its own if XML allows the other one nowhere, as in a
    tree that was recovered."""
    with suppress(ValueError):
        element.tag = name


def is_atom(namespace: str) -> bool:
    """Whether a namespace is one of Atom's."""
    return _PREFIXES_BY_NAME.get(_without_slips(namespace)) == "atom"


def inner_text(element: Any) -> str:
    """All text in an element, without white space at its ends."""
    # Nearly all have one text and nothing else.
    return (("".join(element.itertext()) if len(element) else element.text) or "").strip()


def text(fields: Fields, name: str) -> str:
    """The text of the first element of this name; empty if there is none."""
    elements = fields.get(name)
    return inner_text(elements[0]) if elements else ""


def texts(fields: Fields, name: str) -> list[str]:
    """The text of every element of this name that is not empty."""
    return [content for element in fields.get(name, ()) if (content := inner_text(element))]


def first(fields: Fields, *names: str) -> str:
    """The first text under any of the names, in their order."""
    for name in names:
        for element in _media(fields, name) if name.startswith("media:") else fields.get(name, ()):
            if content := inner_text(element):
                return content
    return ""


def linked(links: list[Any], rel: str) -> str:
    """href of the first atom:link of a relation (RFC 4287 4.2.7.2); empty if there is none."""
    for link in links:
        href = link.get("href")
        if href and rel in relations(link):
            return str(href).strip()
    return ""


def relations(link: Any) -> list[str]:
    """Names of a link's relations; IANA's names may be written as URLs."""
    names = (link.get("rel") or "alternate").lower().split()
    return [name.rpartition("/relation/")[2] for name in names]


def described(fields: Fields) -> str:
    """The description of Media RSS as markup; empty if there is none. It is plain unless it says
    that it is HTML (Media RSS 1.5.1, media:description)."""
    for element in _media(fields, "media:description"):
        content = inner_text(element)
        return content if element.get("type", "plain").lower() == "html" else paragraphs(content)
    return ""


def authors(fields: Fields) -> tuple[str, ...]:
    """Names of an entry's or feed's authors, each once; empty if there are none."""
    contents = [*texts(fields, "dc:creator"), *texts(fields, "dc:author"), *texts(fields, "author")]
    names = [_author(name) for name in contents]
    for person in fields.get("atom:author", ()):
        names += list(_person(person))
    for field in ("itunes:author", "googleplay:author", "dc:contributor"):
        names = names or texts(fields, field)
    return tuple(dict.fromkeys(filter(None, names)))


def _author(content: str) -> str:
    for pattern in _AUTHOR_PATTERNS if len(content) <= MAX_AUTHOR_CHARS else ():
        if match := pattern.fullmatch(content):
            return match.group(1).strip()
    return content


def _person(person: Any) -> Iterator[str]:
    for tag in ("{*}name", "{*}email"):
        element = person.find(tag)
        if element is not None and (name := inner_text(element)):
            yield name
            return
    if not len(person):
        # A bare name, as in RSS; in Atom it is an error that occurs.
        yield _author(inner_text(person))


def image(fields: Fields) -> str:
    """URL of the picture that represents an entry; empty if there is none."""
    for name in ("media:thumbnail", "media:content", "itunes:image"):
        for element in _media(fields, name):
            is_image = "image" in (element.get("medium") or element.get("type") or "image")
            url = element.get("url") or element.get("href")
            if url and is_image:
                return str(url)
    for element in fields.get("enclosure", ()):
        if (element.get("type") or "").startswith("image/"):
            return str(element.get("url") or "")
    # Apple's first way to name a cover.
    return linked(fields.get("itunes:link", []), "image")


def with_pictures(markup: str, fields: Fields) -> str:
    """The text, with the pictures of Media RSS that it does not show itself after it."""
    shown = "".join(
        _figure(url, description)
        for url, description in islice(_pictures(fields).items(), MAX_PICTURES)
        if not _is_shown(url, markup)
    )
    return markup + shown


def _pictures(fields: Fields) -> dict[str, str]:
    """URL → description. Of one picture in several sizes, which share a group or a path, the widest
    counts."""
    widest: dict[object, tuple[int, str, str]] = {}
    carriers = [(element, None) for element in fields.get("media:content", ())]
    for group in fields.get("media:group", ()):
        carriers += [(element, group) for element in fields_of(group).get("media:content", ())]
    for element, group in carriers:
        url = (element.get("url") or "").strip()
        kind = element.get("medium") or element.get("type") or ""
        if url and kind.startswith("image"):
            same = _without_size(url) if group is None else group
            inside = fields_of(element)
            description = text(inside, "media:description") or text(inside, "media:title")
            size = (number(element.get("width")), url, description)
            widest[same] = max(widest.get(same, size), size, key=lambda each: each[0])
    return {url: description for _, url, description in widest.values()}


def _figure(url: str, description: str) -> str:
    image = f'<img src="{escape(url)}" alt="{escape(description)}">'
    caption = f"<figcaption>{escape(description)}</figcaption>" if description else ""
    return f"<figure>{image}{caption}</figure>"


def _is_shown(url: str, markup: str) -> bool:
    """Whether a text has this picture, perhaps in another size or from another host."""
    name = _without_size(url).rsplit("/", 1)[-1] or url
    return name in markup or escape(name) in markup


def _without_size(url: str) -> str:
    """What is the same in the URLs of one picture in several sizes: of a file its path, of what a
    program answers also the parameters, without those of sizes."""
    path, _, query = url.partition("?")
    if path.lower().endswith(_PICTURE_ENDINGS) or not query:
        return path
    parameters = [p for p in query.split("&") if p.partition("=")[0].lower() not in _SIZES]
    return f"{path}?{'&'.join(parameters)}" if parameters else path


def _media(fields: Fields, name: str) -> list[Any]:
    """Elements of Media RSS of this name, including those in a group."""
    elements = fields.get(name, [])
    for group in fields.get("media:group", ()):
        elements = [*elements, *fields_of(group).get(name, ())]
    return elements


def enclosures(fields: Fields) -> tuple[Enclosure, ...]:
    """Enclosures of RSS, and contents of Media RSS except pictures; each URL once."""
    if fields.keys().isdisjoint(_CARRIERS):
        return ()
    elements = [*fields.get("enclosure", ())]
    elements += [link for link in fields.get("atom:link", ()) if "enclosure" in relations(link)]
    elements += [
        element
        for element in _media(fields, "media:content")
        if (element.get("medium") or element.get("type") or "image").partition("/")[0]
        in ("audio", "video", "application")
    ]
    # FeedBurner counts downloads by its own links, and names the original link of the first file.
    origin = text(fields, "feedburner:origEnclosureLink")
    urls = [element.get("url") or element.get("href") or "" for element in elements]
    urls[:1] = [origin or url for url in urls[:1]]
    files = map(enclosure, elements, urls)
    return tuple({file.url: file for file in files if file.url}.values())


def enclosure(element: Any, url: str) -> Enclosure:
    """One file; a length that is not a number is 0."""
    length = element.get("length") or element.get("fileSize")
    return Enclosure(url=url, type=element.get("type", ""), length=number(length))


def number(text: str | None) -> int:
    """A whole number of bytes, minutes, …, also `62,447,386`; 0 if the text is not one."""
    digits = _SEPARATOR.sub("", (text or "").strip())
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 16 else 0
