"""URLs: any text to an absolute http(s) URL in ASCII, or to ''. Pure, never raises."""

from __future__ import annotations

import re
from functools import lru_cache
from mimetypes import MimeTypes
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import idna

from service.articles.text import normalized

MAX_URL_CHARS = 4_000
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|[0-9a-f:.]*:[0-9a-f:.]*")
# Nine of ten URLs need no change: this pattern recognises them.
_PLAIN_URL = re.compile(
    r"https?://(?:[a-z0-9-]{1,63}\.)+[a-z]{2,63}(?:/[A-Za-z0-9/:@!$&'()*+,;=~._-]*)?"
    r"(?:\?[A-Za-z0-9/?:@!$&'()*+,;=~._-]+)?"
)
# So are paths that start at the root of the site; dots may stand for another path.
_PLAIN_PATH = re.compile(
    r"/(?![/.])(?:[A-Za-z0-9:@!$&'()*+,;=~_-]|\.(?![./?]|$)|/(?!\.))*"
    r"(?:\?[A-Za-z0-9/?:@!$&'()*+,;=~._-]+)?"
)
_UNKNOWN = "application/octet-stream"
# Without the files of the machine, which differ.
_TYPES = MimeTypes()
# Sound and film, which Python's table lacks or does not name as directories of podcasts do.
_TYPES_OF_ENDINGS = {
    "mp3": "audio/mpeg", "m4a": "audio/x-m4a", "m4b": "audio/x-m4b", "aac": "audio/aac",
    "ogg": "audio/ogg", "oga": "audio/ogg", "opus": "audio/ogg", "flac": "audio/flac",
    "wav": "audio/wav", "weba": "audio/webm", "mp4": "video/mp4", "m4v": "video/x-m4v",
    "webm": "video/webm", "ogv": "video/ogg", "mkv": "video/x-matroska", "mov": "video/quicktime",
    "vtt": "text/vtt", "srt": "application/x-subrip", "webp": "image/webp", "avif": "image/avif",
    "epub": "application/epub+zip",
}  # fmt: skip
_TYPES_MEANT = {
    "audio/mp3": "audio/mpeg", "audio/x-mp3": "audio/mpeg", "audio/mpeg3": "audio/mpeg",
    "audio/x-mpeg": "audio/mpeg", "audio/mpg": "audio/mpeg", "image/jpg": "image/jpeg",
}  # fmt: skip
_BARE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def url(text: str, *, base_url: str = "") -> str:
    """The text as an absolute http(s) URL in ASCII (RFC 3987 3.1); '' if it is not one or has a
    user name."""
    text = text.strip()
    if not text or len(text) > MAX_URL_CHARS:
        return ""
    if _PLAIN_URL.fullmatch(text):
        return text
    if base_url and _PLAIN_PATH.fullmatch(text) and (root := _plain_root(base_url)):
        return root + text
    try:
        # urlsplit removes tabs and line breaks, as browsers do.
        parts = urlsplit(urljoin(base_url, normalized(text)))
        host = parts.hostname or ""
        if len(host) > 63 or not host.isascii():
            host = _ascii_host(host)
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


@lru_cache(maxsize=256)
def _plain_root(base_url: str) -> str:
    """Scheme and authority of a URL that needs no change; empty for another one."""
    root = "/".join(base_url.partition("?")[0].split("/", 3)[:3])
    return root if _PLAIN_URL.fullmatch(base_url) else ""


def _ascii_host(host: str) -> str:
    """The host as browsers look it up (UTS 46): `straße` is not `strasse`. Emoji, which no registry
    but some sites allow, by the rules of 2003. Raises UnicodeError."""
    try:
        return idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        return host.encode("idna").decode()


def media_type(url: str, named: str) -> str:
    """The media type of a file: as it is named, unless that says nothing; then by the ending of
    the path."""
    named = _TYPES_MEANT.get(named.lower(), named)
    if "/" in named and named != _UNKNOWN:
        return named
    ending = urlsplit(url).path.rpartition("/")[2].rpartition(".")[2].lower()
    return _TYPES_OF_ENDINGS.get(ending) or _TYPES.guess_type(f"x.{ending}")[0] or _UNKNOWN


def _encoded(part: str, safe: str) -> str:
    return quote(_BARE_PERCENT.sub("%25", part) if "%" in part else part, safe=safe)
