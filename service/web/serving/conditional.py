"""Conditional requests and content coding: RFC 9110 sections 8.8, 12.5.3 and 13; deltas: RFC 3229.
Pure.

An entity tag here is `"{hash}"` for the plain bytes and `"{hash}-{coding}"` for coded ones. Any of
them validates the content, and so does what proxies make of them (`W/`, `-gzip`, `;br` endings).
"""

from __future__ import annotations

import re
from collections.abc import Container
from email.utils import parsedate_to_datetime
from functools import lru_cache

_TAG = re.compile(r'(?:W/)?"([^"]*)"')
# What we and proxies (Apache mod_deflate, nginx, Varnish) put behind a tag for a coding.
_SUFFIX = re.compile(r"[-;](?:gzip|br|zstd|deflate|df|gz)$")


def is_not_modified(
    *, if_none_match: str | None, if_modified_since: str | None, etag: str, changed_s: int
) -> bool:
    """Whether a GET or HEAD is answered with 304.

    Args:
        if_none_match: the header; wins over the date if it is there (13.1.3).
        if_modified_since: the header; a date that cannot be read is ignored.
        etag: hash of the content, without quotes and coding.
        changed_s: Last-Modified in seconds since the epoch.
    """
    if if_none_match is not None:
        given = _tags(if_none_match)
        return etag in given or "*" in given
    if if_modified_since is None:
        return False
    try:
        since = parsedate_to_datetime(if_modified_since)
    except (ValueError, TypeError):
        return False
    return since.timestamp() >= changed_s


def delta_base(a_im: str, if_none_match: str, known: Container[str]) -> str:
    """The version that a client has and wants the difference to; empty if there is none.

    Args:
        a_im: the header; `feed` must be in it (RFC 3229 10.5.3).
        known: hashes of the versions that a difference can be made to.
    """
    if not _is_wanted("feed", a_im):
        return ""
    return next((etag for etag in _tags(if_none_match) if etag in known), "")


def _tags(header: str) -> list[str]:
    """The hashes in an If-None-Match."""
    header = header.strip()
    # Readers exist that send the tag without its quotes.
    given = _TAG.findall(header) or [part.strip() for part in header.split(",")]
    return [_SUFFIX.sub("", candidate) for candidate in given]


@lru_cache(maxsize=1_000)
def choose_coding(accept_encoding: str, available: tuple[str, ...]) -> str:
    """The one of `available` (best first) that the client likes best; `identity` if none."""
    if not accept_encoding:
        return "identity"
    qualities = _qualities(accept_encoding)
    anything = qualities.get("*", 0.0)
    best = max(available, key=lambda coding: qualities.get(coding, anything), default="identity")
    return best if qualities.get(best, anything) > 0 else "identity"


def _is_wanted(name: str, header: str) -> bool:
    return _qualities(header).get(name, 0.0) > 0


def _qualities(header: str) -> dict[str, float]:
    found = {}
    for part in header.lower().split(","):
        name, _, parameters = part.partition(";")
        found[name.strip()] = _quality(parameters)
    return found


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
