"""URLs: any text to an absolute http(s) URL in ASCII, or to ''. Pure, never raises."""

from __future__ import annotations

import re
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from service.articles.text import normalized

MAX_URL_CHARS = 4_000
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|[0-9a-f:.]*:[0-9a-f:.]*")
# Nine of ten URLs need no change: this pattern recognises them.
_PLAIN_URL = re.compile(
    r"https?://(?:[a-z0-9-]{1,63}\.)+[a-z]{2,63}(?:/[A-Za-z0-9/:@!$&'()*+,;=~._-]*)?"
    r"(?:\?[A-Za-z0-9/?:@!$&'()*+,;=~._-]+)?"
)
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def url(text: str, *, base_url: str = "") -> str:
    """The text as an absolute http(s) URL in ASCII (RFC 3987 3.1); '' if it is not one or has a
    user name."""
    text = text.strip()
    if not text or len(text) > MAX_URL_CHARS:
        return ""
    if _PLAIN_URL.fullmatch(text):
        return text
    try:
        # urlsplit removes tabs and line breaks, as browsers do.
        parts = urlsplit(urljoin(base_url, normalized(text)))
        host = parts.hostname or ""
        if len(host) > 63 or not host.isascii():
            host = host.encode("idna").decode()
        port = f":{parts.port}" if parts.port else ""
    except ValueError:  # UnicodeError is a subclass: an invalid host
        return ""
    if parts.scheme not in ("http", "https") or not _HOST.fullmatch(host) or "@" in parts.netloc:
        return ""
    host = f"[{host}]" if ":" in host else host
    return urlunsplit(
        (
            parts.scheme,
            host + port,
            _encoded(parts.path, "/%:@!$&'()*+,;=~-._"),
            _encoded(parts.query, "/?%:@!$&'()*+,;=~-._"),
            _encoded(parts.fragment, "/?%:@!$&'()*+,;=~-._"),
        )
    )


def _encoded(part: str, safe: str) -> str:
    return quote(_BARE_PERCENT.sub("%25", part) if "%" in part else part, safe=safe)
