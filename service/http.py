"""HTTP: checks of URLs and headers from clients, and parsers of response headers. Pure.

Sources: RFC 9110 (dates, Retry-After), RFC 8288 (Link).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, urljoin, urlsplit

from service.errors import InvalidInput

MAX_URL_CHARS = 2_000
MAX_HEADERS = 20
MAX_HEADER_CHARS = 4_000
# Python refuses to read a number of more than 4,300 digits, and takes long for fewer.
MAX_DIGITS = 19
# RFC 9110 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Headers that the HTTP client sets itself: a fixed value would break the request.
_FRAMING = frozenset(
    {
        "accept-encoding", "connection", "content-length", "cookie", "expect", "host", "te",
        "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


# Schemes that browsers and podcast apps open a reader with: `feed://host/…`, `feed:https://host/…`.
_READER_SCHEME = re.compile(r"(?:feed|rss|itpc|pcast|podcast):(?!\d)(?://)?", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:(?!\d)", re.IGNORECASE)
# `example.org/feed`, `localhost:8080`, `[::1]/feed`
_HOST = re.compile(
    r"(?://)?((?:[^\s/@]+@)?(?:[^\s/@]+\.[^\s/@]+|localhost|[^\s/@]+:\d+|\[[^\s/]+)(?:[/?].*)?)"
)


def pasted_url(value: object) -> tuple[object, str]:
    """The http(s) URL that a person means who pastes an address, and the `name:password` in it.

    What has no scheme, or one that only opens a reader, is http: sites redirect it to https, and
    a permanent redirect is kept. Anything else is returned as it is, for `checked_url` to refuse.

    Returns:
        (the URL, the user name and password or an empty string).
    """
    if not isinstance(value, str):
        return value, ""
    text = value.strip().strip("<>\"'").strip()
    if match := _READER_SCHEME.match(text):
        text = text[match.end() :]
    if not _SCHEME.match(text) and (host := _HOST.fullmatch(text)):
        text = f"http://{host.group(1)}"
    scheme, separator, rest = text.partition("://")
    netloc = re.split(r"[/?#]", rest, maxsplit=1)[0]
    user, at, _ = netloc.rpartition("@")
    if not separator or not at:
        return text, ""
    name, _, password = user.partition(":")
    return f"{scheme}://{rest[len(user) + 1 :]}", f"{unquote(name)}:{unquote(password)}"


def checked_url(value: object, *, field: str = "url", instead: str = "") -> str:
    """Check an http(s) URL; returns it without spaces around it and without a fragment.

    Args:
        field: its name in error texts.
        instead: the field that a client should use instead of a user name in the URL.

    Raises:
        InvalidInput: it is not a URL, is too long, or has a user name.
    """
    scheme, _, rest = value.strip().partition("://") if isinstance(value, str) else ("", "", "")
    if scheme.lower() not in ("http", "https"):
        raise InvalidInput(field, value, "must be an http:// or https:// URL")
    url = f"{scheme.lower()}://{rest.partition('#')[0]}"
    if len(url) > MAX_URL_CHARS or any(c.isspace() or not c.isprintable() for c in url):
        raise InvalidInput(field, url, f"no spaces, and at most {MAX_URL_CHARS} characters")
    try:
        parts = urlsplit(url)
        has_host = parts.hostname and (parts.port is None or parts.port)
    except ValueError as exc:
        raise InvalidInput(field, url, f"is not a URL: {exc}") from exc
    if not has_host:
        raise InvalidInput(field, url, "names no host")
    if "@" in parts.netloc:
        # The value is a secret: it is not repeated.
        hint = f": give {instead} instead" if instead else ""
        raise InvalidInput(field, parts.hostname, f"no user name in a URL{hint}")
    return url


def checked_headers(value: object, *, ours: Collection[str]) -> dict[str, str]:
    """Check headers that are to be sent with requests.

    Args:
        ours: lower-case names of headers that we set, besides those that frame the request.

    Raises:
        InvalidInput: a header is forbidden or malformed; the text never has its value, a secret.
    """
    if not isinstance(value, dict) or len(value) > MAX_HEADERS:
        raise InvalidInput("headers", "…", f"must be an object of at most {MAX_HEADERS} headers")
    for name, text in value.items():
        if not is_token(name) or name.lower() in _FRAMING or name.lower() in ours:
            raise InvalidInput("headers", name, "is not a header that can be set")
        if not isinstance(text, str) or len(text) > MAX_HEADER_CHARS or not text.isprintable():
            raise InvalidInput("headers", name, f"one line of at most {MAX_HEADER_CHARS}")
    return value


def is_token(text: object) -> bool:
    """Whether a text is a token (RFC 9110 5.6.2), such as the name of a header or cookie."""
    return isinstance(text, str) and bool(_TOKEN.fullmatch(text))


def host_of(url: str) -> str:
    """Host and port of a URL: `example.org`, `example.org:8080`; see `without_default_port`."""
    return without_default_port(urlsplit(url).netloc).rpartition("@")[2]


def may_share_secrets(first: str, second: str) -> bool:
    """Whether what is secret for one URL may be sent to another: to the same host, but not without
    TLS what was given with TLS."""
    is_downgrade = first.startswith("https:") and not second.startswith("https:")
    return host_of(first) == host_of(second) and not is_downgrade


def without_default_port(netloc: str) -> str:
    """The host in lower case, without `:443` or `:80`: http and https of a host are one site."""
    return netloc.lower().removesuffix(":443").removesuffix(":80")


def retry_after_s(header: str, now: datetime) -> float | None:
    """Seconds to wait by a Retry-After header (RFC 9110 10.2.3: seconds or a date); None if it is
    malformed."""
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(header[:9])
    moment = http_date(header)
    return None if moment is None else max(0.0, (moment - now).total_seconds())


def http_date(text: str) -> datetime | None:
    """Parse an HTTP date (RFC 9110 5.6.7) in any format in use; None if it is not a date."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_LINK = re.compile(r"<([^<>]*)>((?:\s*;\s*[\w*]+\s*(?:=\s*(?:\"[^\"]*\"|[^\s;,\"]*))?)*)")
_REL = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]+))", re.IGNORECASE)


def link(url: str, *, rel: str, media_type: str = "") -> str:
    """One value of a Link header (RFC 8288); join several by `, `."""
    return f'<{url}>; rel="{rel}"' + (f'; type="{media_type}"' if media_type else "")


def whole_number(name: str, text: str, *, low: int, high: int) -> int:
    """Parse a query parameter that is a number in ASCII digits.

    Raises:
        InvalidInput: it is not a number from `low` to `high`.
    """
    is_number = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
    if not is_number or not low <= int(text) <= high:
        raise InvalidInput(name, text, f"must be a number from {low} to {high}")
    return int(text)


def links(headers: Iterable[str], *, base_url: str) -> tuple[str, str]:
    """The absolute URLs (hub, topic) in Link headers (RFC 8288); '' for one that is missing."""
    targets = link_targets(headers, base_url=base_url)
    return targets.get("hub", ""), targets.get("self", "")


def older_document(headers: Iterable[str], *, base_url: str) -> str:
    """The document with older entries that Link headers name (RFC 5005); empty if none does."""
    targets = link_targets(headers, base_url=base_url)
    return targets.get("next") or targets.get("prev-archive") or ""


def link_targets(headers: Iterable[str], *, base_url: str) -> dict[str, str]:
    """Relation → absolute URL of its first link in Link headers (RFC 8288)."""
    targets: dict[str, str] = {}
    for target, parameters in (match for value in headers for match in _LINK.findall(value)):
        rel = _REL.search(parameters)
        for name in (rel.group(1) or rel.group(2) or "").lower().split() if rel else ():
            targets.setdefault(name, urljoin(base_url, target.strip()))
    return targets
