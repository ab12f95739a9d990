"""Fetch: one document over HTTP, bounded in everything. I/O only: what it means is for others.

Bounds: FETCH_TIMEOUT_S for all of it, FETCH_MAX_BYTES as sent and as decompressed, MAX_REDIRECTS.
A body that is cut, too large or wrongly coded is a failure, never a shorter document: validators of
such a body must not be kept, or its end is never seen (facts on pollers).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit, urlunsplit

import aiohttp

from service.errors import FetchFailed
from service.settings import Settings

USER_AGENT = "dateline/0.1 (feed reader)"
ACCEPT = (
    "application/atom+xml, application/rss+xml, application/feed+json, application/rdf+xml;q=0.9, "
    "application/xml;q=0.8, text/xml;q=0.8, application/json;q=0.8, text/html;q=0.7, */*;q=0.5"
)
MAX_REDIRECTS = 8
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Statuses that say "come back later", by themselves no fault of the URL.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What came back."""

    status: int
    """200 or 304."""
    url: str
    """Where it came from after redirects."""
    body: bytes
    """Decompressed; empty for 304."""
    content_type: str
    etag: str
    """Validators, byte-exact; empty if there are none."""
    last_modified: str


class RateLimited(FetchFailed):
    """429 or 503 with Retry-After."""

    def __init__(self, url: str, status: int, retry_after: str) -> None:
        super().__init__(url, f"answered {status}, Retry-After: {retry_after or 'not given'}")
        self.retry_after = retry_after


async def fetch(
    client: aiohttp.ClientSession,
    url: str,
    settings: Settings,
    *,
    etag: str = "",
    last_modified: str = "",
) -> Fetched:
    """The document at a URL, unless the validators still hold (then status 304, no body).

    Raises:
        FetchFailed: with the reason; `permanent` if asking again is no use. RateLimited is one.
    """
    headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
    if etag:
        headers["If-None-Match"] = etag
    if last_modified:
        headers["If-Modified-Since"] = last_modified
    try:
        async with asyncio.timeout(settings.fetch_timeout_s):
            return await _follow(client, _without_fragment(url), headers, settings.fetch_max_bytes)
    except TimeoutError as exc:
        raise FetchFailed(url, f"no whole answer in {settings.fetch_timeout_s:g} s") from exc
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        raise FetchFailed(url, str(exc) or type(exc).__name__) from exc


async def _follow(
    client: aiohttp.ClientSession, url: str, headers: dict[str, str], max_bytes: int
) -> Fetched:
    for _ in range(MAX_REDIRECTS + 1):
        async with client.get(url, headers=headers, allow_redirects=False) as response:
            if response.status not in _REDIRECTS:
                return await _take(response, url, max_bytes)
            url = _target(url, response.headers.get("Location", ""))
    raise FetchFailed(url, f"more than {MAX_REDIRECTS} redirects")


def _target(url: str, location: str) -> str:
    target = _without_fragment(urljoin(url, location))
    parts = urlsplit(target)
    if parts.scheme not in ("http", "https") or not location or "@" in parts.netloc:
        raise FetchFailed(url, f"redirects to {location!r}, which is no http(s) URL")
    return target


async def _take(response: aiohttp.ClientResponse, url: str, max_bytes: int) -> Fetched:
    if response.status in (429, 503):
        raise RateLimited(url, response.status, response.headers.get("Retry-After", ""))
    if response.status not in (200, 304):
        permanent = 400 <= response.status < 500 and response.status not in _PASSING
        raise FetchFailed(url, f"answered {response.status}", permanent=permanent)
    body = b"" if response.status == 304 else await _read(response, url, max_bytes)
    return Fetched(
        status=response.status,
        url=url,
        body=body,
        content_type=response.headers.get("Content-Type", ""),
        etag=response.headers.get("ETag", ""),
        last_modified=response.headers.get("Last-Modified", ""),
    )


async def _read(response: aiohttp.ClientResponse, url: str, max_bytes: int) -> bytes:
    coding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip", "x-gzip", ""):
        raise FetchFailed(url, f"is coded as {coding!r}, which was not asked for")
    decode, is_whole = _decoder("gzip" in coding, max_bytes)
    received, decoded = 0, bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        received += len(chunk)
        decoded += decode(chunk)
        if received > max_bytes or len(decoded) > max_bytes:
            raise FetchFailed(url, f"is larger than {max_bytes} bytes (FETCH_MAX_BYTES)")
    if not is_whole():
        raise FetchFailed(url, "ends in the middle of its gzip data")
    return bytes(decoded)


def _decoder(gzipped: bool, max_bytes: int) -> tuple[Callable[[bytes], bytes], Callable[[], bool]]:
    """(decode a chunk, whether the end was seen); a bomb gives one byte too many, not more."""
    if not gzipped:
        return bytes, lambda: True
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def decode(chunk: bytes) -> bytes:
        try:
            return inflater.decompress(chunk, max_bytes + 1)
        except zlib.error as exc:
            raise ValueError(f"has broken gzip data: {exc}") from exc

    return decode, lambda: inflater.eof


def _without_fragment(url: str) -> str:
    return urlunsplit(urlsplit(url)._replace(fragment=""))
