"""Links: a bad link is ignored, and its entry or page is still read. Pure."""

from __future__ import annotations

import re
from urllib.parse import urljoin, urlsplit

# Most links need no resolving: without a step that may be `.` or `..`, and without a fragment.
_ABSOLUTE = re.compile(
    r"https?://[a-z0-9.-]+(?:/[A-Za-z0-9_~%+,=-]+(?:\.[A-Za-z0-9_~%+,=-]+)*)*/?"
    r"(?:\?[A-Za-z0-9_&=%+,.~-]+)?"
)


def absolute(base: str, link: str) -> str:
    """The link, resolved against the base; the base if the link is empty or cannot be read."""
    return resolved(base, link) or base


def resolved(base: str, link: str) -> str:
    """The link, resolved against the base; empty if it is empty or cannot be read."""
    link = link.strip()
    if not link or _ABSOLUTE.fullmatch(link):
        return link
    try:
        # `http://[x`: brackets without an IPv6 address, which `urljoin` ignores without a base.
        urlsplit(link)
        return urljoin(base, link)
    except ValueError:
        return ""


def web_url(base: str, link: str) -> str:
    """The link, resolved against the base; empty if that is not an http(s) URL."""
    target = resolved(base, link)
    return target if is_web(target) else ""


def is_web(link: str) -> bool:
    """Whether a link is an absolute http(s) URL."""
    return link.startswith(("http://", "https://"))
