"""Conditional requests and content coding: RFC 9110 sections 8.8, 12.5.3 and 13; deltas: RFC 3229.
Pure.

An entity tag here is `"{hash}"` for the plain bytes and `"{hash}-{coding}"` for coded ones. Any of
them validates the content, and so does what proxies make of them (`W/`, `-gzip`, `;br` endings).
"""

from __future__ import annotations

import re
from collections.abc import Container
from functools import lru_cache

from service.http import http_date

_ETAG = re.compile(r'(?:W/)?"([^"]*)"')
# What we and proxies (Apache mod_deflate, nginx, Varnish) append to an entity tag for a coding.
_SUFFIX = re.compile(r"[-;](?:gzip|br|zstd|deflate|df|gz)$")


def is_not_modified(
    *, if_none_match: str | None, if_modified_since: str | None, etag: str, changed_s: int
) -> bool:
    """Whether a GET or HEAD is answered with 304.

    Args:
        if_none_match: the header; wins over the date if it is there (13.1.3).
        if_modified_since: the header; a date that cannot be read is ignored.
        etag: hash of the content, without quotes and coding.
        changed_s: Last-Modified in seconds since the epoch; 0 for a page without, which a date does
            not validate.
    """
    if if_none_match is not None:
        etags = _etags(if_none_match)
        return etag in etags or "*" in etags
    if if_modified_since is None:
        return False
    since = http_date(if_modified_since)
    return changed_s > 0 and since is not None and since.timestamp() >= changed_s


def delta_base(a_im: str, if_none_match: str, known: Container[str]) -> str:
    """Hash of the version that a client has, if it accepts a difference from it; otherwise empty.

    Args:
        a_im: the header; it must name `feed` (RFC 3229 10.5.3).
        known: hashes of the versions from which a difference can be made.
    """
    if not _is_accepted("feed", a_im):
        return ""
    return next((etag for etag in _etags(if_none_match) if etag in known), "")


def _etags(header: str) -> list[str]:
    """The hashes in an If-None-Match, without codings."""
    header = header.strip()
    # Some feed readers send the entity tag without its quotes.
    etags = _ETAG.findall(header) or [etag.strip() for etag in header.split(",")]
    return [_SUFFIX.sub("", etag) for etag in etags]


@lru_cache(maxsize=1_000)
def choose_coding(accept_encoding: str, available: tuple[str, ...]) -> str:
    """The coding that the client prefers, of `available` (ours, the preferred one first);
    `identity` if it accepts none of them."""
    if not accept_encoding:
        return "identity"
    qualities = _qualities(accept_encoding)
    default = qualities.get("*", 0.0)
    best = max(available, key=lambda coding: qualities.get(coding, default), default="identity")
    return best if qualities.get(best, default) > 0 else "identity"


def _is_accepted(name: str, header: str) -> bool:
    return _qualities(header).get(name, 0.0) > 0


def _qualities(header: str) -> dict[str, float]:
    qualities = {}
    for item in header.lower().split(","):
        name, _, parameters = item.partition(";")
        qualities[name.strip()] = _quality(parameters)
    return qualities


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
