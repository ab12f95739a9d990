"""Links: one that cannot be read costs itself, not the entry or page that it stands in. Pure."""

from __future__ import annotations

from urllib.parse import urljoin


def absolute(base: str, link: str) -> str:
    """The link, resolved against the base; the base if the link is empty or cannot be resolved."""
    try:
        return urljoin(base, link.strip())
    except ValueError:
        # `http://[x`: brackets that hold no IPv6 address.
        return base


def resolved(base: str, link: str) -> str:
    """The same for links that name something themselves; empty if that cannot be told."""
    link = link.strip()
    try:
        return urljoin(base, link) if link else ""
    except ValueError:
        return ""
