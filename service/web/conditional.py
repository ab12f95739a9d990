"""Conditional requests and content coding: RFC 9110 sections 8.8, 12.5.3 and 13. Pure.

An entity tag here is `"{hash}"` for the plain bytes and `"{hash}-{coding}"` for coded ones. Any of
them validates the content, and so does what proxies make of them (`W/`, `-gzip`, `;br` endings).
"""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

_TAG = re.compile(r'(?:W/)?"([^"]*)"')
# What we and proxies (Apache mod_deflate, nginx, Varnish) put behind a tag for a coding.
_SUFFIX = re.compile(r"[-;](?:gzip|br|zstd|deflate|df|gz)$")


def is_not_modified(
    *, if_none_match: str | None, if_modified_since: str | None, tag: str, changed_s: int
) -> bool:
    """Whether a GET or HEAD is answered with 304.

    Args:
        if_none_match: the header; wins over the date if it is there (13.1.3).
        if_modified_since: the header; a date that cannot be read is ignored.
        tag: hash of the content, without quotes and coding.
        changed_s: Last-Modified in seconds since the epoch.
    """
    if if_none_match is not None:
        return _matches(if_none_match, tag)
    if if_modified_since is None:
        return False
    try:
        since = parsedate_to_datetime(if_modified_since)
    except (ValueError, TypeError):
        return False
    return since.timestamp() >= changed_s


def _matches(header: str, tag: str) -> bool:
    header = header.strip()
    if header == "*":
        return True
    # Readers exist that send the tag without its quotes.
    given = _TAG.findall(header) or [part.strip() for part in header.split(",")]
    return any(_SUFFIX.sub("", candidate) == tag for candidate in given)


def choose_coding(accept_encoding: str, available: tuple[str, ...]) -> str:
    """The first of `available` (best first) that the client takes; `identity` if none."""
    if not accept_encoding:
        return "identity"
    qualities = {}
    for part in accept_encoding.lower().split(","):
        name, _, parameters = part.partition(";")
        qualities[name.strip()] = _quality(parameters)
    anything = qualities.get("*", 0.0)
    for coding in available:
        if qualities.get(coding, anything) > 0:
            return coding
    return "identity"


def _quality(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
