"""Links: a bad one costs itself, not the entry or the page that it stands in. Pure."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit


def absolute(base: str, link: str) -> str:
    """The link, resolved against the base; the base if the link is empty or cannot be read."""
    return resolved(base, link) or base


def resolved(base: str, link: str) -> str:
    """The link, resolved against the base; empty if it is empty or cannot be read."""
    link = link.strip()
    if not link:
        return ""
    try:
        # `http://[x`: brackets that hold no IPv6 address. `urljoin` does not look without a base.
        urlsplit(link)
        return urljoin(base, link)
    except ValueError:
        return ""


def web_url(base: str, link: str) -> str:
    """The link, resolved against the base; empty if that is no http(s) URL."""
    found = resolved(base, link)
    return found if is_web(found) else ""


def is_web(link: str) -> bool:
    """Whether it is an http(s) URL."""
    return link.startswith(("http://", "https://"))
