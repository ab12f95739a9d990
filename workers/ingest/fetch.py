"""Fetch: one document over HTTP, within bounds. I/O only: callers decide what it means.

Bounds: FETCH_TIMEOUT_S for the whole fetch, FETCH_MAX_BYTES as sent and as decompressed,
MAX_REDIRECTS, and the caller's bound on bodies over LARGE_BYTES at once. A body that is cut off,
too large or wrongly encoded is a failure, never a shorter document: if the validators of such a
body were stored, its end would never be fetched.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from urllib.parse import urljoin, urlsplit

import aiohttp

from service.decoding import ACCEPTED, ResponseDecoder
from service.errors import FetchFailed
from service.http import may_share_secrets
from service.settings import Settings
from service.sources.transport import DIRECT, Transport
from workers.http_client import STRANGER, OutboundClient, Provenance, reason_of

ACCEPT = (
    "application/atom+xml, application/rss+xml, application/feed+json, application/rdf+xml;q=0.9, "
    "application/xml;q=0.8, text/xml;q=0.8, application/json;q=0.8, text/html;q=0.7, */*;q=0.5"
)
MAX_REDIRECTS = 8
# A larger body needs its caller's permit (`on_large`), which bounds the memory of all bodies.
LARGE_BYTES = 1_000_000
CHUNK_BYTES = 65_536
# The event loop gets a turn after so many bytes were decompressed.
TURN_BYTES = 1_000_000
# RFC 3229 as feeds use it: the answer may hold only what is new since the ETag.
A_IM = "feed"
_PERMANENT = frozenset({301, 308})
_REDIRECTS = _PERMANENT | {302, 303, 307}
# Statuses that ask the client to try again later: they do not mean that the URL is wrong.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
OnLarge = Callable[[], Awaitable[None]]


def user_agent(base_url: str, *, subscribers: int) -> str:
    """The User-Agent header: name, where to complain, and the number of subscribers, which
    publishers add up."""
    return f"dateline/{version('dateline')} (+{base_url}; {subscribers} subscribers)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The answer to a fetch: a document, or that it has not changed."""

    status: int
    """200, 226 (only what is new, RFC 3229) or 304."""
    url: str
    """Where it came from after redirects."""
    moved_to: str = ""
    """Where permanent redirects alone lead from the requested URL; empty if the first redirect was
    not permanent."""
    body: bytes
    """Decompressed; empty for 304."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the answer; their names are compared without case."""
    etag: str
    """Validators, byte-exact; empty if there are none."""
    last_modified: str

    @property
    def content_type(self) -> str:
        """The header, empty if there is none."""
        return self.headers.get("Content-Type", "")

    @property
    def links(self) -> tuple[str, ...]:
        """The values of all Link headers, in their order."""
        getall = getattr(self.headers, "getall", None)
        if getall is not None:
            return tuple(getall("Link", ()))
        return tuple(filter(None, [self.headers.get("Link")]))


class Refused(FetchFailed):
    """An answer that is neither a document nor a redirect."""

    def __init__(self, url: str, status: int, retry_after: str) -> None:
        wait = f", Retry-After: {retry_after[:80]}" if retry_after else ""
        lasting = 400 <= status < 500 and status not in _PASSING
        super().__init__(url, f"answered {status}{wait}", permanent=lasting)
        self.status = status
        self.retry_after = retry_after if status in (429, 503) else ""


async def fetch(
    client: OutboundClient,
    url: str,
    settings: Settings,
    *,
    provenance: Provenance = STRANGER,
    etag: str = "",
    last_modified: str = "",
    private: Mapping[str, str] | None = None,
    transport: Transport = DIRECT,
    on_large: OnLarge | None = None,
) -> Fetched:
    """The document at a URL, unless the validators still hold (then status 304, no body).

    Args:
        provenance: of the URL; redirects that lead elsewhere are a stranger's.
        private: headers for the URL's own host alone: redirects elsewhere go without.
        transport: how the requests are sent; its trust in certificates is for the same host alone.
        on_large: awaited once before a body grows over LARGE_BYTES.

    Raises:
        FetchFailed: with the reason; `permanent` if another attempt cannot help. Refused is one.
    """
    headers = {"Accept": ACCEPT, "Accept-Encoding": ACCEPTED}
    if etag:
        headers["If-None-Match"] = etag
        headers["A-IM"] = A_IM
    if last_modified:
        headers["If-Modified-Since"] = last_modified
    try:
        async with asyncio.timeout(settings.fetch_timeout_s):
            return await _follow(
                client, _without_fragment(url), provenance, headers, private or {}, settings,
                transport, on_large,
            )  # fmt: skip
    except TimeoutError as exc:
        raise FetchFailed(url, f"no complete answer in {settings.fetch_timeout_s:g} s") from exc
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        raise FetchFailed(url, reason_of(exc)) from exc


async def _follow(
    client: OutboundClient, url: str, provenance: Provenance, headers: dict[str, str],
    private: Mapping[str, str], settings: Settings, transport: Transport,
    on_large: OnLarge | None,
) -> Fetched:  # fmt: skip
    first, moved_to, permanent, visited = url, "", True, {url}
    while True:
        is_own = may_share_secrets(first, url)
        async with client.request(
            "GET",
            url,
            provenance=provenance,
            headers={**headers, **private} if is_own else headers,
            transport=transport if is_own else transport.elsewhere(),
        ) as response:
            if response.status not in _REDIRECTS:
                return await _take(response, url, moved_to, settings, on_large)
            url = _target(url, response.headers.get("Location", ""))
            permanent = permanent and response.status in _PERMANENT
        moved_to = url if permanent else moved_to
        if url in visited:
            raise FetchFailed(first, f"redirects in a circle, over {url}")
        visited.add(url)
        if len(visited) > MAX_REDIRECTS + 1:
            raise FetchFailed(first, f"more than {MAX_REDIRECTS} redirects")


def _target(url: str, location: str) -> str:
    target = _without_fragment(urljoin(url, location))
    parts = urlsplit(target)
    if parts.scheme not in ("http", "https") or not location or "@" in parts.netloc:
        raise FetchFailed(url, f"redirects to {location[:200]!r}, which is not an http(s) URL")
    return target


async def _take(
    response: aiohttp.ClientResponse, url: str, moved_to: str, settings: Settings,
    on_large: OnLarge | None,
) -> Fetched:  # fmt: skip
    headers = response.headers
    if response.status not in (200, 226, 304):
        raise Refused(url, response.status, headers.get("Retry-After", ""))
    body = b""
    if response.status != 304:
        body = await _read(response, url, settings.fetch_max_bytes, on_large)
    return Fetched(
        status=response.status,
        url=url,
        moved_to=moved_to,
        body=body,
        headers=headers,
        etag=_sendable(headers.get("ETag", "")),
        last_modified=_sendable(headers.get("Last-Modified", "")),
    )


def _sendable(validator: str) -> str:
    """A validator that can be sent back as it came, byte for byte; empty if it cannot."""
    # Bytes that are not UTF-8 come as lone surrogates, which neither headers nor JSON can carry.
    return validator if validator.isprintable() else ""


async def _read(
    response: aiohttp.ClientResponse, url: str, max_bytes: int, on_large: OnLarge | None
) -> bytes:
    decoder = ResponseDecoder(response.headers.get("Content-Encoding", ""))
    received, body, turn = 0, bytearray(), TURN_BYTES
    async for chunk in _chunks(response):
        received += len(chunk)
        for step in decoder.decode(chunk) if chunk else decoder.finish():
            body += step
            if received > max_bytes or len(body) > max_bytes:
                raise FetchFailed(url, f"is larger than {max_bytes} bytes (FETCH_MAX_BYTES)")
            if on_large is not None and len(body) > LARGE_BYTES:
                await on_large()
                on_large = None
            if len(body) > turn:
                turn += TURN_BYTES
                await asyncio.sleep(0)
    return bytes(body)


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The body as it comes, and an empty chunk at its end."""
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        yield chunk
    yield b""


def _without_fragment(url: str) -> str:
    return url.partition("#")[0]
