"""Duplicates: when two URLs lead to one article. Pure."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode, urlsplit

_TRACKING = re.compile(r"utm_.*|fbclid|gclid|mc_cid|mc_eid|igshid")


def canonical(url: str) -> str:
    """The URL without what does not tell one article from another."""
    parts = urlsplit(url)
    host = parts.netloc.lower().removesuffix(":443").removesuffix(":80").removeprefix("www.")
    query = sorted(
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if not _TRACKING.fullmatch(name.lower())
    )
    return f"{host}{parts.path.rstrip('/')}" + (f"?{urlencode(query)}" if query else "")
