"""Fields of XML feeds, by table: `prefix:name` → elements, whatever prefixes a feed has. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeAlias

from service.articles.article import Enclosure

BASE = "{http://www.w3.org/XML/1998/namespace}base"
LANG = "{http://www.w3.org/XML/1998/namespace}lang"
# Namespaces by the prefix that everybody knows; RSS's own are "". Others (georss, creativeCommons,
# slash, …) say nothing that an article has a place for, and are passed over.
_PREFIXES = {
    "": "", "http://www.w3.org/2005/Atom": "atom", "http://purl.org/atom/ns#": "atom",
    "https://www.w3.org/2005/Atom": "atom", "http://blogs.law.harvard.edu/tech/rss": "",
    "http://purl.org/rss/1.0/": "", "http://my.netscape.com/rdf/simple/0.9/": "",
    "http://backend.userland.com/rss2": "", "http://channel.netscape.com/rdf/simple/0.9/": "",
    "http://backend.userland.com/rss": "", "http://backend.userland.com/rss091": "",
    "http://backend.userland.com/rss092": "", "http://backend.userland.com/rss093": "",
    "http://purl.org/net/rss1.1#": "", "http://purl.org/rss/1.0": "",
    "http://purl.org/dc/elements/1.1/": "dc", "http://purl.org/dc/elements/1.0/": "dc",
    "http://purl.org/dc/terms/": "dcterms",
    "http://purl.org/rss/1.0/modules/content/": "content",
    "http://purl.org/rss/1.0/modules/syndication/": "sy",
    "http://search.yahoo.com/mrss/": "media", "http://search.yahoo.com/mrss": "media",
    "http://www.itunes.com/dtds/podcast-1.0.dtd": "itunes",
    "http://www.itunes.com/DTDs/PodCast-1.0.dtd": "itunes",
    "http://www.w3.org/1999/xhtml": "xhtml",
    "http://rssnamespace.org/feedburner/ext/1.0": "feedburner",
    "http://www.google.com/schemas/play-podcasts/1.0": "googleplay",
}  # fmt: skip
# The other way round, the first of each: what a prefix means in a feed that does not declare it.
NAMESPACES = {prefix: uri for uri, prefix in reversed(_PREFIXES.items()) if prefix} | {
    "rss": "http://backend.userland.com/rss2",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
}
_CARRIERS = ("enclosure", "media:content", "media:group")
# `desk@x.example (A. Tern)`, `A. Tern (desk@x.example)`, `A. Tern <desk@x.example>`.
_AUTHOR_FORMS = (
    re.compile(r"\S+@\S+\s+\((.+)\)"),
    re.compile(r"([^<(]+?)\s*[<(]\S+@\S+[>)]"),
)
Fields: TypeAlias = dict[str, list[Any]]


def fields_of(element: Any) -> Fields:
    """The children; names of RSS in lower case."""
    found: Fields = {}
    for child in element:
        name = _name(child.tag)
        if not name:
            continue
        if name in found:
            found[name].append(child)
        else:
            found[name] = [child]
    return found


@lru_cache(maxsize=1_024)
def _name(tag: Any) -> str:
    """`prefix:name` of a tag, empty for what is not ours."""
    if not isinstance(tag, str):
        return ""
    namespace, _, local = tag.rpartition("}")
    prefix = _PREFIXES.get(namespace[1:])
    if prefix is None:
        return ""
    return f"{prefix}:{local}" if prefix else local.lower()


def is_atom(namespace: str) -> bool:
    """Whether a namespace is one of Atom's."""
    return _PREFIXES.get(namespace) == "atom"


def inner_text(element: Any) -> str:
    """All text in an element, without white space at its ends."""
    # Nearly all have one text and nothing else.
    return (("".join(element.itertext()) if len(element) else element.text) or "").strip()


def text(fields: Fields, name: str) -> str:
    """Of the first element of this name; empty if there is none."""
    elements = fields.get(name)
    return inner_text(elements[0]) if elements else ""


def texts(fields: Fields, name: str) -> list[str]:
    """Of every element of this name that has one."""
    return [found for element in fields.get(name, ()) if (found := inner_text(element))]


def first(fields: Fields, *names: str) -> str:
    """The first text under any of the names, in their order."""
    for name in names:
        for element in _media(fields, name) if name.startswith("media:") else fields.get(name, ()):
            if found := inner_text(element):
                return found
    return ""


def linked(links: list[Any], rel: str) -> str:
    """href of the first atom:link of a relation (RFC 4287 4.2.7.2); empty if there is none."""
    for link in links:
        href = link.get("href")
        if href and rel in relations(link):
            return str(href).strip()
    return ""


def relations(link: Any) -> list[str]:
    """Names of a link's relations; those of IANA may be spelt as URLs."""
    found = (link.get("rel") or "alternate").lower().split()
    return [name.rpartition("/relation/")[2] for name in found]


def authors(fields: Fields) -> tuple[str, ...]:
    """Names, each once."""
    given = [*texts(fields, "dc:creator"), *texts(fields, "dc:author"), *texts(fields, "author")]
    found = [_author(name) for name in given]
    for person in fields.get("atom:author", ()):
        found += list(_person(person))
    for name in ("itunes:author", "googleplay:author", "dc:contributor"):
        found = found or texts(fields, name)
    return tuple(dict.fromkeys(filter(None, found)))


def _author(given: str) -> str:
    for form in _AUTHOR_FORMS:
        if match := form.fullmatch(given):
            return match.group(1).strip()
    return given


def _person(person: Any) -> Iterator[str]:
    for part in ("{*}name", "{*}email"):
        found = person.find(part)
        if found is not None and (name := inner_text(found)):
            yield name
            return
    if not len(person):
        # In RSS, and in Atom by those who did not read it, a bare name.
        yield _author(inner_text(person))


def image(fields: Fields) -> str:
    """URL of the picture that stands for an entry; empty if there is none."""
    for name in ("media:thumbnail", "media:content", "itunes:image"):
        for element in _media(fields, name):
            is_image = "image" in (element.get("medium") or element.get("type") or "image")
            found = element.get("url") or element.get("href")
            if found and is_image:
                return str(found)
    for element in fields.get("enclosure", ()):
        if (element.get("type") or "").startswith("image/"):
            return str(element.get("url") or "")
    return ""


def _media(fields: Fields, name: str) -> list[Any]:
    """Elements of Media RSS, which may stand in a group."""
    found = fields.get(name, [])
    for group in fields.get("media:group", ()):
        found = [*found, *fields_of(group).get(name, ())]
    return found


def enclosures(fields: Fields) -> tuple[Enclosure, ...]:
    """Of RSS, and of Media RSS what is no picture."""
    if fields.keys().isdisjoint(_CARRIERS):
        return ()
    found = [*fields.get("enclosure", ())]
    found += [
        element
        for element in _media(fields, "media:content")
        if (element.get("medium") or element.get("type") or "image").partition("/")[0]
        in ("audio", "video", "application")
    ]
    # FeedBurner counts downloads by links of its own, and says what was there before.
    origin = text(fields, "feedburner:origEnclosureLink")
    urls = [origin or element.get("url") or "" for element in found[:1]]
    urls += [element.get("url") or "" for element in found[1:]]
    made = map(enclosure, found, urls)
    return tuple({made.url: made for made in made if made.url}.values())


def enclosure(element: Any, url: str) -> Enclosure:
    """One file; a length that is no number is 0."""
    length = element.get("length") or element.get("fileSize")
    return Enclosure(url=url, type=element.get("type", ""), length=number(length))


def number(given: str | None) -> int:
    """A number of bytes, minutes, …; 0 if it is none."""
    given = (given or "").strip()
    return int(given) if given.isascii() and given.isdigit() and len(given) < 16 else 0
