"""Aliases: other names by which an article of a source is known when its guid changes. Pure.

Publishers change guids (a new CMS, a corrected slug, http to https), and an edited headline must
not become a second article. What remains is one of these:

    the link, or the number in a K2 link. A link alone is not enough, because some pages are
    rewritten in place every day: the date must be the same, too, or the title where there is none
    title and date to the second: the slug of the link was corrected
    everything but the parameters of the link: a session id, a token of each request
    the guid, of an article that came under another guid before (storage/aliases.py)

Only the second entry shows that a guid that is not a URI ("N/A", "1") is used for several entries;
then link, title and date together are the alias.

An alias joins only articles of one `source`: no feed can take over another's articles with it. And
none joins an entry to the article of another entry of its document.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from functools import lru_cache
from urllib.parse import parse_qsl, urlencode, urlsplit

from service.articles.article import Draft
from service.http import without_default_port

# K2: /x/item/1412-slug, where the slug changes with the title and the number does not.
_K2_ITEM = re.compile(r"/item/(\d{1,12})-")
_TRACKING = re.compile(r"utm_.*|fbclid|gclid|mc_cid|mc_eid|igshid|xtor|at_.*")
# Sessions in the parameters of a path segment (RFC 3986 3.3), `;jsessionid=…`, and in those of a
# query. `SAME` finds others by their effect.
_PATH_SESSION = re.compile(r";(?:jsessionid|phpsessid|session_?id)=[^;/]*", re.I)
_SESSION = re.compile(r"jsessionid|phpsessid|aspsessionid.*|session_?id")
# Nearly every link has a path that is not empty, and so have most guids.
_WITH_PATH = re.compile(r"https?://[A-Za-z0-9.-]+/[A-Za-z0-9]")
_PARAMETERS = re.compile(r";[^/]*")
_PICTURE = re.compile(r'\bsrc="([^"?#;]*)')
# A piece of text that the browser highlights (https://wicg.github.io/scroll-to-text-fragment/).
_TEXT_FRAGMENT = ":~:"
EXACT = b"="
"""Fingerprint of an alias of link, title and date; an article with a poor guid is looked up by it
also if its id is known."""
SAME = b"~"
"""Fingerprint of an alias of everything but the parameters of the link: what is found by it has not
changed."""
ALIAS_BYTES = 10
"""Two of the source, so that its aliases are stored together, and eight of the alias."""


@lru_cache(maxsize=4_096)
def canonical(url: str) -> str:
    """The URL without the parts that do not distinguish articles.

    The fragment is kept: the entries of a changelog or a live report differ only in it.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    host = without_default_port(parts.netloc).removeprefix("www.")
    path = _PATH_SESSION.sub("", parts.path).rstrip("/")
    query = _untracked(parts.query) if parts.query else ""
    fragment = parts.fragment.partition(_TEXT_FRAGMENT)[0]
    if "=" in fragment:
        fragment = _untracked(fragment)
    return host + path + (f"?{query}" if query else "") + (f"#{fragment}" if fragment else "")


def _untracked(query: str) -> str:
    """The parameters in sorted order, without those that track a visitor."""
    return urlencode(
        sorted(
            (name, value)
            for name, value in parse_qsl(query, keep_blank_values=True)
            if not _TRACKING.fullmatch(name.lower()) and not _SESSION.fullmatch(name.lower())
        )
    )


def aliases_of(
    draft: Draft,
    *,
    is_own_link: bool,
    is_own_title: bool = False,
    exact: str = "",
    link: str = "",
) -> tuple[tuple[bytes, bytes], ...]:
    """(alias, fingerprint) of a draft, the most certain first.

    With an empty fingerprint, EXACT or SAME, the alias is enough.

    Args:
        is_own_link: whether no other entry of its document has the same link.
        is_own_title: whether no other one has the same title and date, or the same path.
        exact: guid, link, title and date, if they may have to identify it together once other
            entries have its guid, and no other entry of its document has the same.
        link: as its document writes it; it may be relative.
    """
    aliases = []
    # A guid that the publisher wrote would decide: only the publisher knows what is one article.
    has_no_guid = is_own_title and bool(draft.url) and draft.guid in (draft.url, link)
    if has_no_guid and ("?" in draft.url or ";" in draft.url):
        aliases.append((_digest(draft.source, "same", _without_parameters(draft)), SAME))
    if exact:
        aliases.append((_digest(draft.source, "exact", exact), EXACT))
    number = _K2_ITEM.search(draft.url) if "#" not in draft.url else None
    if number and "/" not in draft.source:
        # Its source is a host, so the link is on that host (see identify).
        aliases.append((_digest(draft.source, "k2", number.group(1)), b""))
    if is_own_link and _has_path(draft.url):
        aliases.append((_digest(draft.source, "link", canonical(draft.url)), _fingerprint(draft)))
    if has_no_guid and draft.published and ":" in draft.raw_published:
        words = f"{draft.title.casefold()}\0{int(draft.published.timestamp())}"
        aliases.append((_digest(draft.source, "title", words), b""))
    return tuple(aliases)


def _has_path(url: str) -> bool:
    return bool(_WITH_PATH.match(url) or urlsplit(url).path.strip("/"))


def stem(url: str) -> str:
    """The URL without all its parameters and its fragment."""
    parts = urlsplit(url.partition("?")[0].partition("#")[0])
    return without_default_port(parts.netloc) + _PARAMETERS.sub("", parts.path)


def _without_parameters(draft: Draft) -> str:
    """What is shown of an article, without the parameters of all addresses in it."""
    pictures = _PICTURE.findall(draft.content_html)
    files = [stem(url) for url in (draft.url, draft.image, *(e.url for e in draft.enclosures))]
    date = draft.published.isoformat() if draft.published else draft.raw_published
    return "\0".join([draft.content_hash, date, *files, *pictures])


def is_poor(guid: str) -> bool:
    """Whether several entries may share this guid: "N/A", a number, the site's address."""
    if _WITH_PATH.match(guid):
        return False
    try:
        parts = urlsplit(guid)
    except ValueError:
        return True
    return not (parts.scheme and (parts.path.strip("/") or parts.query))


def _digest(source: str, kind: str, value: str) -> bytes:
    what = f"{source}\0{kind}\0{value}".encode()
    return source_part(source) + hashlib.blake2b(what, digest_size=ALIAS_BYTES - 2).digest()


@lru_cache(maxsize=64)
def source_part(source: str) -> bytes:
    """The bytes with which all aliases of a source begin."""
    return hashlib.blake2b(source.encode(), digest_size=2).digest()


def _fingerprint(draft: Draft) -> bytes:
    title = zlib.crc32(draft.title.casefold().encode())
    date = int(draft.published.timestamp()) & 0xFFFFFFFF if draft.published else 0
    return title.to_bytes(4, "big") + date.to_bytes(4, "big")
