"""Prepared responses: everything about a response that does not depend on the request.

A page is hashed once per version, and compressed once per version and coding, when a client first
requests that coding. A response for a hot page is one write of bytes that are assembled once per
second, because of the Date header. Requests that need other headers (HTTP/1.0, Connection: close)
get an ordinary aiohttp response with the same headers.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from email.utils import formatdate
from functools import lru_cache
from html import escape

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from service.feeds.page import etag_of
from service.web.serving.codings import CODINGS, quick
from service.web.serving.conditional import choose_coding, delta_base, is_not_modified

# A smaller body fits in one packet without compression.
MIN_CODED_BYTES = 1_000
SERVER = "dateline"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; img-src * data:; media-src *; style-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""For everything that a browser shows: HTML, and XML, whose elements may be of XHTML or SVG."""
_REASONS = {200: "OK", 226: "IM Used", 304: "Not Modified"}
# Browsers render elements of the HTML namespace as HTML inside any XML document.
_NOTE = (
    '<p xmlns="http://www.w3.org/1999/xhtml">This is a feed: subscribe by giving its address to a '
    'feed reader, or <a href="{}">read it as a page</a>.</p>'
)
_FIRST_TAG = re.compile(rb"<(?:channel|feed)\b[^>]*>")
# Headers that a 304 repeats (RFC 9110 15.4.5), and those that scripts in browsers need on it.
_ON_304 = ("ETag", "Cache-Control", "Vary", "Link", "Access-Control-")


def add_common_headers(headers: MutableMapping[str, str]) -> None:
    """Add the headers of every response; those that are set stay.

    `Server` is set always, to a name without the versions of Python and aiohttp.
    """
    headers["Server"] = SERVER
    headers.setdefault("X-Content-Type-Options", "nosniff")
    if any(word in headers.get("Content-Type", "") for word in ("xml", "opml")):
        headers.setdefault("Content-Security-Policy", CONTENT_SECURITY_POLICY)


@lru_cache(maxsize=2)
def _date(second: int) -> bytes:
    return f"Date: {formatdate(second, usegmt=True)}\r\n\r\n".encode()


class PreparedResponse(web.StreamResponse):
    """One response for any number of concurrent requests: it stores no state of a request."""

    def __init__(
        self, status: int, headers: Mapping[str, str], body: bytes, *, changed_s: int = 0
    ) -> None:
        super().__init__(status=status, headers=headers)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._head = f"HTTP/1.1 {status} {_REASONS[status]}\r\n{lines}".encode()
        self._changed_s = changed_s
        self._bytes = body
        self._second = 0
        self._whole = b""

    @property
    def keep_alive(self) -> bool:
        """Always true: requests whose connection is to close get an ordinary response."""
        return True

    @property
    def coded(self) -> bytes:
        """The body in its content coding; empty for HEAD and 304."""
        return self._bytes

    def whole(self) -> bytes:
        """The head, with the current Date, and the body; assembled once per second."""
        second = int(time.time())
        if second != self._second:
            changed = "".join(f"{n}: {v}\r\n" for n, v in self.changed(second).items())
            self._whole = b"".join([self._head, changed.encode(), _date(second), self._bytes])
            self._second = second
        return self._whole

    def plain(self) -> web.Response:
        """The same as an ordinary response, for a connection that needs other words in the head:
        of HTTP/1.0, or one that is closed after it."""
        headers = {**self.headers, **self.changed(int(time.time()))}
        # A 304 has few headers, and what is answered before routing gets no others.
        add_common_headers(headers)
        return web.Response(status=self.status, headers=headers, body=self._bytes or None)

    def changed(self, second: int) -> dict[str, str]:
        """The Last-Modified header, never ahead of the Date (RFC 9110 8.8.2.1)."""
        if not 0 < self._changed_s <= second:
            return {}
        return {"Last-Modified": formatdate(self._changed_s, usegmt=True)}

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Send head and body in one write."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has closed the connection")
        transport.write(self.whole())
        await request.writer.drain()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: `prepare` has sent the whole response."""


class PreparedPage:
    """All responses that one version of a page can give.

    Args:
        body: the bytes of the page; hashing them is CPU work, 0.2 ms for 400 kB.
        headers: headers of the 200 response, without validators, coding and length.
        changed_ms: Last-Modified in ms; 0 if the page has none. A time in the future is not sent.
        etag: hash of the body; computed here if it is empty.
        previous_etags: hashes of earlier versions from which a difference can be made.
        twin_url: URL of the same page as HTML, if this is XML that browsers do not show.
        status: 226 for a difference; its `etag` is that of the version that it produces.
    """

    def __init__(
        self,
        body: bytes,
        *,
        headers: Mapping[str, str],
        changed_ms: int = 0,
        etag: str = "",
        previous_etags: Iterable[str] = (),
        twin_url: str = "",
        status: int = 200,
    ) -> None:
        self.body = body
        self.etag = etag or etag_of(body)
        self.changed_s = changed_ms // 1000
        self.codings = CODINGS if len(body) >= MIN_CODED_BYTES else ()
        self.previous_etags = frozenset(previous_etags)
        self.deltas: dict[str, PreparedPage] = {}
        """Hash of an earlier version → the difference from it; this page if there is none."""
        self.difference: Callable[[str], Awaitable[PreparedPage | None]] | None = None
        """Computes the difference from the version with this hash; None if there is none."""
        self._twin_url = twin_url
        self._readable: PreparedPage | None = None
        self._status = status
        self._headers = headers
        self._answers: dict[tuple[str, bool], PreparedResponse] = {}
        self._best: set[str] = set()
        """Codings in which the body is as small as it can be."""
        self._not_modified = {
            coding: self._make_304(coding) for coding in ("identity", *self.codings)
        }

    @property
    def size(self) -> int:
        """Upper bound of its memory in bytes: the body, its codings, and the last full response; of
        its other forms, too, once they are made."""
        others = [page for page in (self._readable, *self.deltas.values()) if page]
        return 3 * len(self.body) + 4_000 + sum(page.size for page in others if page is not self)

    def answer(self, request: web.BaseRequest) -> web.StreamResponse | None:
        """The response to a GET or HEAD; None if `make_answer` must prepare it first."""
        coding = choose_coding(request.headers.get("Accept-Encoding", ""), self.codings)
        if self._is_for_people(request):
            return self._readable.answer(request) if self._readable else None
        if self._is_current(request):
            ready = self._not_modified[coding]
        else:
            base = self.delta_base(request)
            source = self.deltas.get(base) if base else self
            if source is None:
                return None
            is_head = request.method == "HEAD"
            response = source._answers.get((source._coding(coding), is_head))
            if response is None:
                return None
            ready = response
        return ready if request.version >= (1, 1) and request.keep_alive else ready.plain()

    def make_answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Prepare the response if necessary: CPU work, milliseconds for a large body."""
        if self._is_for_people(request):
            self._readable = self._readable or self._make_readable()
            return self._readable.make_answer(request)
        coding = choose_coding(request.headers.get("Accept-Encoding", ""), self.codings)
        source = self.deltas.get(self.delta_base(request), self)
        source.make(source._coding(coding))
        answer = self.answer(request)
        assert answer is not None  # noqa: S101 -- make() has prepared this coding
        return answer

    def make(self, coding: str) -> None:
        """Compress the body, and prepare the responses to GET and HEAD in this coding."""
        if (coding, False) in self._answers:
            return
        self._put(coding, quick(coding, self.body))

    def replace(self, coding: str, coded: bytes) -> None:
        """Answer with this form of the same body from now on, if it is smaller than the present
        one, whose validators it keeps."""
        self._best.add(coding)
        if len(coded) < len(self._answers[coding, False].coded):
            self._put(coding, coded)

    def _put(self, coding: str, coded: bytes) -> None:
        headers = {**self._all_headers(coding), "Content-Length": str(len(coded))}
        self._answers[coding, True] = self._ready(self._status, headers, b"")
        self._answers[coding, False] = self._ready(self._status, headers, coded)

    @property
    def prepared_codings(self) -> tuple[str, ...]:
        """Codings that clients have requested, `identity` included, in that order."""
        return tuple(coding for coding, head in self._answers if not head)

    @property
    def quick_codings(self) -> tuple[str, ...]:
        """Codings that clients have requested and that were made quickly, not as small as can
        be."""
        made = {coding for coding, _ in list(self._answers)} - self._best
        return tuple(coding for coding in self.codings if coding in made)

    def delta_base(self, request: web.BaseRequest) -> str:
        """Hash of the earlier version that the client has, if it accepts a difference from it;
        otherwise empty."""
        headers = request.headers
        if not self.previous_etags or "A-IM" not in headers or request.method != "GET":
            return ""
        return delta_base(headers["A-IM"], headers.get("If-None-Match", ""), self.previous_etags)

    def _is_for_people(self, request: web.BaseRequest) -> bool:
        """Whether a person opens the feed in a browser (W3C Fetch Metadata)."""
        return bool(self._twin_url) and request.headers.get("Sec-Fetch-Dest") == "document"

    def _make_readable(self) -> PreparedPage:
        """The feed as application/xml, the type for which browsers apply its stylesheet."""
        note = _NOTE.format(escape(self._twin_url)).encode()
        body = _FIRST_TAG.sub(lambda match: match.group() + note, self.body, count=1)
        headers = {
            "Content-Type": "application/xml; charset=utf-8",
            # Not for shared caches: feed readers must not get this variant.
            "Cache-Control": "private, max-age=60",
            "Link": self._headers.get("Link", ""),
        }
        return PreparedPage(body, headers=headers, changed_ms=1000 * self.changed_s)

    def _coding(self, preferred: str) -> str:
        return preferred if preferred in self.codings else "identity"

    def _is_current(self, request: web.BaseRequest) -> bool:
        """Whether the client already has this version."""
        headers = request.headers
        return is_not_modified(
            if_none_match=headers.get("If-None-Match"),
            if_modified_since=headers.get("If-Modified-Since"),
            etag=self.etag,
            changed_s=self.changed_s,
        )

    def _make_304(self, coding: str) -> PreparedResponse:
        full = self._all_headers(coding)
        return self._ready(304, {n: v for n, v in full.items() if n.startswith(_ON_304)}, b"")

    def _ready(self, status: int, headers: Mapping[str, str], body: bytes) -> PreparedResponse:
        return PreparedResponse(status, headers, body, changed_s=self.changed_s)

    def _all_headers(self, coding: str) -> dict[str, str]:
        headers = {**self._headers}
        add_common_headers(headers)
        headers["ETag"] = f'"{self.etag}"' if coding == "identity" else f'"{self.etag}-{coding}"'
        headers["Vary"] = "Accept-Encoding"
        if coding != "identity":
            headers["Content-Encoding"] = coding
        return headers


def closing(response: web.StreamResponse) -> web.StreamResponse:
    """The same answer, after which the connection is closed."""
    plain = response.plain() if isinstance(response, PreparedResponse) else response
    plain.force_close()
    return plain
