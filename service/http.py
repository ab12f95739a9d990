"""HTTP: rules for URLs and headers that others give, and for what their answers say. Pure.

Sources: RFC 9110 (dates, Retry-After), RFC 8288 (Link).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

from service.errors import InvalidInput

MAX_URL_CHARS = 2_000
MAX_HEADERS = 20
MAX_HEADER_CHARS = 4_000
# RFC 9110 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What makes the request: a fixed value would break it.
_FRAMING = frozenset(
    {
        "accept-encoding", "connection", "content-length", "cookie", "expect", "host", "te",
        "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


def checked_url(value: object, *, field: str = "url", instead: str = "") -> str:
    """An http(s) URL without a fragment.

    Args:
        field: what to call it in errors.
        instead: what to give in the place of a user name in the URL.

    Raises:
        InvalidInput.
    """
    scheme, _, rest = value.strip().partition("://") if isinstance(value, str) else ("", "", "")
    if scheme.lower() not in ("http", "https"):
        raise InvalidInput(field, value, "must be an http:// or https:// URL")
    url = f"{scheme.lower()}://{rest.partition('#')[0]}"
    if len(url) > MAX_URL_CHARS or any(c.isspace() or not c.isprintable() for c in url):
        raise InvalidInput(field, url, f"no spaces, and at most {MAX_URL_CHARS} characters")
    try:
        parts = urlsplit(url)
        named = parts.hostname and (parts.port is None or parts.port)
    except ValueError as exc:
        raise InvalidInput(field, url, f"is not a URL: {exc}") from exc
    if not named:
        raise InvalidInput(field, url, "names no host")
    if "@" in parts.netloc:
        # The value is a secret: it is not repeated.
        hint = f": give {instead} instead" if instead else ""
        raise InvalidInput(field, parts.hostname, f"no user name in a URL{hint}")
    return url


def checked_headers(value: object, *, ours: Collection[str]) -> dict[str, str]:
    """Headers to be sent with requests; their values are secrets and never repeated.

    Args:
        ours: lower-case names of those that we set, beside those that frame the request.

    Raises:
        InvalidInput.
    """
    if not isinstance(value, dict) or len(value) > MAX_HEADERS:
        raise InvalidInput("headers", "…", f"must be an object of at most {MAX_HEADERS} headers")
    for name, text in value.items():
        is_token = isinstance(name, str) and _TOKEN.fullmatch(name)
        if not is_token or name.lower() in _FRAMING or name.lower() in ours:
            raise InvalidInput("headers", name, "is not a header that can be set")
        if not isinstance(text, str) or len(text) > MAX_HEADER_CHARS or not text.isprintable():
            raise InvalidInput("headers", name, f"one line of at most {MAX_HEADER_CHARS}")
    return value


def host_of(url: str) -> str:
    """`example.org`, `example.org:8080`: see `without_default_port`; no user name."""
    return without_default_port(urlsplit(url).netloc).rpartition("@")[2]


def without_default_port(netloc: str) -> str:
    """Lower case, without `:443` and `:80`: http and https of one host are one site."""
    return netloc.lower().removesuffix(":443").removesuffix(":80")


def retry_after_s(header: str, now: datetime) -> float | None:
    """Seconds that a Retry-After asks for (RFC 9110 10.2.3: seconds or a date), else None."""
    header = header.strip()
    if header.isascii() and header.isdigit():
        return float(header[:9])
    moment = http_date(header)
    return None if moment is None else max(0.0, (moment - now).total_seconds())


def http_date(text: str) -> datetime | None:
    """A date of HTTP (RFC 9110 5.6.7) in any form that occurs; None if it is not a date."""
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_LINK = re.compile(r"<([^<>]*)>((?:\s*;\s*[\w*]+\s*(?:=\s*(?:\"[^\"]*\"|[^\s;,\"]*))?)*)")
_REL = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]+))", re.IGNORECASE)


def link(url: str, *, rel: str, media_type: str = "") -> str:
    """One value of a Link header (RFC 8288); several are joined by `, `."""
    return f'<{url}>; rel="{rel}"' + (f'; type="{media_type}"' if media_type else "")


def whole_number(name: str, text: str, *, low: int, high: int) -> int:
    """A number of a query parameter, in ASCII digits.

    Raises:
        InvalidInput: it is something else, or out of bounds.
    """
    if not text.isascii() or not text.isdigit() or not low <= int(text[:19]) <= high:
        raise InvalidInput(name, text, f"must be a number from {low} to {high}")
    return int(text)


def links(headers: Iterable[str], *, base_url: str) -> tuple[str, str]:
    """(hub, topic) that Link headers name (RFC 8288), absolute; empty if they do not."""
    targets: dict[str, str] = {}
    for target, parameters in (match for value in headers for match in _LINK.findall(value)):
        rel = _REL.search(parameters)
        for name in (rel.group(1) or rel.group(2) or "").lower().split() if rel else ():
            targets.setdefault(name, urljoin(base_url, target.strip()))
    return targets.get("hub", ""), targets.get("self", "")
