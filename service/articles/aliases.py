"""Aliases: other names by which an article of a source is known when its guid changes. Pure.

Publishers change guids (a new CMS, a corrected slug, http to https), and an edited headline must
not become a second article. What remains is the link, or the number in a K2 link. A link
alone is not enough, because some pages are rewritten in place every day: the date must be the same,
too, or the title where there is no date. Only the second entry shows that a guid that is not a URI
("N/A", "1") is used for several entries; then link, title and date together are the alias.

An alias joins only articles of one `source`: no feed can take over another's articles with it.
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
# A piece of text that the browser highlights (https://wicg.github.io/scroll-to-text-fragment/).
_TEXT_FRAGMENT = ":~:"
EXACT = b"="
"""Fingerprint of an alias of link, title and date; an article with a poor guid is looked up by it
first."""
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
    path = parts.path.rstrip("/")
    query = _untracked(parts.query) if parts.query else ""
    fragment = parts.fragment.partition(_TEXT_FRAGMENT)[0]
    if "=" in fragment:
        fragment = _untracked(fragment)
    return host + path + (f"?{query}" if query else "") + (f"#{fragment}" if fragment else "")


def _untracked(query: str) -> str:
    """The parameters in sorted order, without those that track where a visitor came from."""
    return urlencode(
        sorted(
            (name, value)
            for name, value in parse_qsl(query, keep_blank_values=True)
            if not _TRACKING.fullmatch(name.lower())
        )
    )


def aliases_of(
    draft: Draft, *, is_own_link: bool, exact: str = ""
) -> tuple[tuple[bytes, bytes], ...]:
    """(alias, fingerprint) of a draft, the most certain first.

    With an empty fingerprint, or EXACT, the alias is enough.

    Args:
        is_own_link: whether no other entry of its document has the same link.
        exact: guid, link, title and date, if they may have to identify it together once other
            entries have its guid, and no other entry of its document has the same.
    """
    aliases = []
    if exact:
        aliases.append((_digest(draft.source, "exact", exact), EXACT))
    number = _K2_ITEM.search(draft.url) if "#" not in draft.url else None
    if number and "/" not in draft.source:
        # Its source is a host, so the link is on that host (see identify).
        aliases.append((_digest(draft.source, "k2", number.group(1)), b""))
    if is_own_link and draft.url and urlsplit(draft.url).path.strip("/"):
        aliases.append((_digest(draft.source, "link", canonical(draft.url)), _fingerprint(draft)))
    return tuple(aliases)


def is_poor(guid: str) -> bool:
    """Whether several entries may share this guid: "N/A", a number, the site's address."""
    try:
        parts = urlsplit(guid)
    except ValueError:
        return True
    return not (parts.scheme and (parts.path.strip("/") or parts.query))


def _digest(source: str, kind: str, value: str) -> bytes:
    what = f"{source}\0{kind}\0{value}".encode()
    return _whose(source) + hashlib.blake2b(what, digest_size=ALIAS_BYTES - 2).digest()


@lru_cache(maxsize=64)
def _whose(source: str) -> bytes:
    return hashlib.blake2b(source.encode(), digest_size=2).digest()


def _fingerprint(draft: Draft) -> bytes:
    title = zlib.crc32(draft.title.casefold().encode())
    date = int(draft.published.timestamp()) & 0xFFFFFFFF if draft.published else 0
    return title.to_bytes(4, "big") + date.to_bytes(4, "big")
