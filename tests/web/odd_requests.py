"""Requests of any bytes: made at random from a seed, around what the routes know.

Three of four parts of a request are plausible, so that the odd fourth gets past the first checks.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence

from service.web.routes import ROUTES

METHODS = sorted({route.method for route in ROUTES} | {"HEAD"})
PATHS = sorted({route.path for route in ROUTES} | {"/nothing"})
ODD_METHODS = ("OPTIONS", "TRACE", "CONNECT", "FOO", "get", "G\x00T", "\xff", "")
ODD_TEXTS = (
    b"", b" ", b"0", b"-1", b"1.5", b"1e400", b"NaN", b"true", b"null", b"9" * 20, b"9" * 5000,
    b"\xff", b"\x80abc", b"\xed\xa0\x80", b"\x00", b"\x1b[31mred", b"\x7f", b"\t", b"\xc2\x85",
    "\u202egnp".encode(), "\u0663".encode(), "\u00b2".encode(), "\u2460".encode(),
    "\u0661-\u0662".encode(), "\u0660000-\u06601-\u06601".encode(), "\ufeff".encode(),
    "\U0001f600".encode(), "e\u0301".encode(), "\uffff".encode(), b"a" * 5000, b"%00", b"%", b"%zz",
    b"%ED%A0%80", b"%FF", b"%0d%0aX: 1", b"%2e%2e%2f", b"../../etc/passwd", b"..", b".", b"//",
    b"\\", b"<b>", b"'\"", b"{}", b"[]", b",,,", b";;", b"=", b"*", b"W/", b'"', b'"\xff"', b"a:b",
    b"http://[", b"http://\xff/", b"http://h:99999/", b"http://a b/", b"file:///x", b"//x",
    b"0001-01-01T00:00:00Z", b"9999-12-31T23:59:59.999999Z", b"0001-01-01T00:00:00+14:00",
    b"9999-12-31T23:59:59-14:00", b"0001-01-01", b"9999-12-31", b"0000-00-00", b"1970-01-01",
    b"2017-12-22T16:41:07Z", b"2017-W01-1", b"20171222T000000Z", b"2017-12-22T24:00:00Z",
    b"2017-12-22T23:59:60Z", b"1-1", b"0-0", b"999999999999999-9999999999", b"$", b"9" * 15 + b"-0",
)  # fmt: skip
ODD_DATES = (
    b"Fri, 22 Dec 2017 16:41:07 GMT", b"Fri, 99999999999999999999 Dec 2017 16:41:07 GMT",
    b"Fri, 22 Dec 99999999999999999999 16:41:07 GMT", b"Fri, 22 Dec 0001 00:00:00 +1400",
    b"Fri, 22 Dec 2017 99999999999999999999:41:07 GMT", b"Fri, 31 Dec 9999 23:59:59 -1200",
    b"Fri, 22 Dec 2017 16:41:07 +99999999999999999999", b"22 Dec 2017", b"Dec", b",,", b"0 0 0 0 0",
    b"Fri, 01 Jan 0001 00:00:00 GMT", b"Fri, 01 Jan 0000 00:00:00 GMT", b"Fri Dec 22 16:41:07 0001",
    "Fri, \u0662\u0662 Dec 2017 16:41:07 GMT".encode(), b"\xff Dec 2017 16:41:07 GMT",
)  # fmt: skip
SEGMENTS = (
    b"all", b"media-center/coalition-news", b"all/2017", b"all/2017/12/22", b"views/harbour", b"x",
    b"all/9998/12/31", b"all/1970/1/1", b"all/0/0/0", b"all/2017/13/45", b"pages.xml",
    b"2017-12.xml",
)  # fmt: skip
EXTENSIONS = (b"", b".rss", b".atom", b".json", b".xml", b".RSS", b".", b".json.json", b".css")
PARAMETERS = {
    "category": (b"all", b"media-center"), "since": (b"2017-12-22", b"2017-12-22T00:00:00Z"),
    "until": (b"2017-12-23",), "limit": (b"5",), "lang": (b"en",), "q": (b"fog",),
    "author": (b"A",), "source": (b"s",), "tag": (b"t",), "any": (b"media-center",),
    "all": (b"media-center",), "none": (b"x",),
    "before": (b"1-" + b"0" * 8 + b"-0000" * 3 + b"-" + b"0" * 12,),
    "content": (b"summary", b"full"), "last-event-id": (b"1-1", b"0-0"), "next": (b"1",),
    "hub.mode": (b"subscribe", b"denied"), "hub.topic": (b"http://news.example/",),
    "hub.challenge": (b"c",), "hub.lease_seconds": (b"60",), "odd": (b"1",),
}  # fmt: skip
HEADERS: dict[str, tuple[bytes, ...]] = {
    "Accept": (b"*/*", b"text/html"), "Accept-Encoding": (b"gzip", b"br;q=0.5, *;q=nan", b"zstd"),
    "Accept-Language": (b"en",), "Accept-Charset": (b"utf-8",), "A-IM": (b"feed", b"feed;q=inf"),
    "If-None-Match": (b"*", b'"x"', b'W/"x-gzip", "y"'), "If-Match": (b"*",),
    "If-Modified-Since": ODD_DATES, "If-Unmodified-Since": ODD_DATES, "If-Range": ODD_DATES,
    "Range": (b"bytes=0-1", b"bytes=9-1", b"bytes=-" + b"9" * 30, b"bytes=0-0,1-1", b"x=1"),
    "Sec-Fetch-Dest": (b"document",), "Last-Event-ID": (b"1-1", b"0-0"), "TE": (b"trailers",),
    "Expect": (b"100-continue", b"100-Continue", b"200-ok"), "Origin": (b"http://x.example",),
    "Content-Encoding": (b"gzip", b"identity", b"br", b"x-gzip, gzip"), "Cookie": (b"a=b",),
    "Transfer-Encoding": (b"chunked", b"gzip, chunked", b"identity"), "Upgrade": (b"websocket",
    b"h2c"),
    "Connection": (b"close", b"keep-alive", b"upgrade", b"TE"), "Content-Length": (b"0", b"5",
    b"99999999999"),
    "X-Hub-Signature": (b"sha1=00", b"sha256=\xff"), "X-Forwarded-For": (b"1.2.3.4",),
    "Forwarded": (b"for=1",), "Referer": (b"x",), "User-Agent": (b"x",), "Trailer": (b"x",),
    "X-HTTP-Method-Override": (b"DELETE",), "Sec-WebSocket-Key": (b"x",),
}  # fmt: skip
MEDIA_TYPES = (
    b"application/json", b"application/json; charset=utf-8", b"application/x-ndjson", b"text/plain",
    b"application/x-www-form-urlencoded", b"multipart/form-data; boundary=x", b"text/x-opml",
    b"application/json; charset=utf-16", b"application/json; charset=\xff", b"text/xml; charset=x",
    b"application/json; charset=\"", b"/", b";", b"a/b/c", b"multipart/form-data",
)  # fmt: skip
CHARS = "\x00\x1b\x85\u202e\u2028\ufeff\ufffe\uffff\ufdd0\U0001ffff\U000e0001<&>\"']]>&#0;é\u0301"
FIELDS = {
    "/api/v1/articles": (
        "source", "guid", "url", "title", "summary", "content_html", "content_text", "authors",
        "categories", "tags", "language", "image", "enclosures", "attribution", "published",
        "raw_published", "updated", "id", "revision",
    ),
    "/api/v1/webhooks": (
        "url", "categories", "types", "view", "query", "name", "secret", "signature", "headers",
        "format", "batch", "rate", "timeout_s", "on_failure", "paused", "from", "event_id", "until",
        "since", "grace_s", "tags", "sources", "authors", "q", "content", "pace", "expires",
    ),
    "/api/v1/sources": (
        "url", "category", "categories", "mapping", "interval_s", "headers", "auth",
        "history", "paused", "user_agent", "cookies", "proxy", "tls_ca", "tls_fingerprint",
        "window", "summary_only", "full_text", "selector",
    ),
    "/api/v1/views": ("name", "title", "category", "query", "private"),
    "/api/v1/private-feeds": ("category", "view", "label"),
}  # fmt: skip
GOOD: dict[str, tuple[object, ...]] = {
    "url": ("http://h.example/1",), "title": ("One",), "guid": ("g",), "categories": (["A/B"],),
    "published": ("2017-12-22T16:41:07Z",), "name": ("harbour",), "query": ("q=fog",),
    "category": ("all", "Media Center"), "types": (["dateline.article.published.v1"],),
    "content_html": ("<p>Text.</p>",), "enclosures": ([{"url": "http://h/1", "length": 10**30}],),
    "from": ("now", "cursor", "2017-12-22T00:00:00Z"), "headers": ({"X-A": "b"},),
    "since": ("2017-12-22T00:00:00Z", "0001-01-01T00:00:00+14:00"), "mapping": ({"a": "b"},),
}  # fmt: skip
ODD_VALUES: tuple[object, ...] = (
    None, True, 0, -1, 1.5, 1e308, 10**18, -(2**63), "", " ", [], {}, [[]], [None], [{}], {"": ""},
    {"name": None}, [{"name": 1}], ["\x00"], CHARS, "\u0663", "x" * 5000,
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00", "http://[", "http://\uff0e/", "a/b/c/d/e/f", "/", ["/"], "\u202e",
    "<script>", "9" * 5000, {"a": {"b": {}}}, ["http://h/"] * 60, {"\u0130": "\u0130"},
)  # fmt: skip
ODD_BODIES = (
    b"", b" ", b"{", b"[", b"[" * 5000, b'{"a":' * 5000, b"nul", b"null", b"1", b'"x"', b"[1]",
    b"[[]]",
    b'{"title":NaN}', b'{"title":"\\ud800"}', b'{"title":"\xed\xa0\x80"}', b'{"title":"\xff"}',
    b'{"title":"a","title":"b","guid":1}', b'{"interval_s":' + b"9" * 400 + b"}", b"\xef\xbb\xbf{}",
    b'{"interval_s":1e999}', b'{"enclosures":[{"url":"http://h/","length":' + b"9" * 40 + b"}]}",
    b"\xff\xfe{\x00}\x00", b"a=b&c=%ff", b"hub.mode=subscribe&hub.topic=%ff&hub.callback=http://h",
    b"hub.mode=publish&hub.topic=%00", b"--x\r\n\r\n\r\n--x--", b"<opml/>", b"<opml",
    b"\x1f\x8b\x08",
    b'<opml version="2.0"><body><outline xmlUrl="http://[" text="&#0;"/></body></opml>',
    b"\x00" * 9,
    b'{"title":"One"}\n{"title":\n{"title":"Two"}', b"5\r\n{}   \r\n0\r\n\r\n",
    b"ffffffffffffffffff\r\n",
)  # fmt: skip


class RequestMaker:
    """Makes requests, the same for the same seed.

    Args:
        ids: ids and names that exist on the server, which paths may hold.
    """

    def __init__(self, seed: int, *, token: str, ids: Sequence[str]) -> None:
        self._random = random.Random(seed)
        self._token = token.encode()
        self._ids = [name.encode() for name in ids]

    def make(self) -> bytes:
        """Return the bytes of one request, head and body."""
        route = self._random.choice(PATHS)
        method = self._random.choice([r.method for r in ROUTES if r.path == route] or ["GET"])
        if self._is(0.15):
            method = self._random.choice((*METHODS, *ODD_METHODS))
        body = self._body(route) if method not in ("GET", "HEAD") or self._is(0.05) else b""
        version = b"HTTP/1.1" if self._is(0.95) else self._random.choice(
            (b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9.9", b"http/1.1", b"")
        )  # fmt: skip
        line = b" ".join([method.encode("latin-1"), self._target(route), version])
        return b"\r\n".join([line, *self._headers(body), b"", body])

    def _is(self, chance: float) -> bool:
        return self._random.random() < chance

    def _odd(self) -> bytes:
        if self._is(0.8):
            return self._random.choice(ODD_TEXTS)
        return self._random.randbytes(self._random.randrange(1, 40))

    def _escaped(self, value: bytes) -> bytes:
        """Mostly percent-encoded, so that it gets past the parser of request lines."""
        if self._is(0.1):
            return value
        return b"".join(b"%%%02X" % c if chr(c) not in "abc/.-019" else b"%c" % c for c in value)

    def _target(self, route: str) -> bytes:
        path = route.encode()
        for place in (b"{path:.+}", b"{name}", b"{id}"):
            if place in path:
                path = path.replace(place, self._place())
        if self._is(0.05):
            path += self._escaped(self._odd())
        names = list(PARAMETERS)
        pairs = []
        for _ in range(self._random.choice((0, 0, 1, 1, 2, 3))):
            name = self._random.choice(names)
            value = self._odd() if self._is(0.6) else self._random.choice(PARAMETERS[name])
            pair = self._escaped(name.encode()) if self._is(0.1) else name.encode()
            pairs += [pair + b"=" + self._escaped(value)] * (2 if self._is(0.1) else 1)
        return path + (b"?" + b"&".join(pairs) if pairs else b"")

    def _place(self) -> bytes:
        choice = self._random.random()
        if choice < 0.3:
            return self._random.choice(self._ids) + self._random.choice(
                (b"", b"", b".json", b".rss")
            )
        if choice < 0.6:
            return self._random.choice(SEGMENTS) + self._random.choice(EXTENSIONS)
        parts = [self._odd() for _ in range(self._random.choice((1, 1, 2, 4)))]
        return self._escaped(b"/".join(parts)) + self._random.choice(EXTENSIONS)

    def _headers(self, body: bytes) -> list[bytes]:
        lines = [b"Host: news.example"] if self._is(0.9) else [b"Host: " + self._odd()]
        if self._is(0.7):
            lines.append(b"Authorization: Bearer " + self._token)
        elif self._is(0.5):
            scheme = self._random.choice((b"Bearer ", b"Basic ", b"", b"\xff "))
            lines.append(b"Authorization: " + scheme + self._odd())
        for _ in range(self._random.choice((0, 0, 1, 2, 3))):
            name = self._random.choice(list(HEADERS))
            value = self._odd() if self._is(0.4) else self._random.choice(HEADERS[name])
            lines += [name.encode() + b": " + value] * (2 if self._is(0.05) else 1)
        if body:
            lines.append(b"Content-Length: %d" % len(body))
            media_type = MEDIA_TYPES[0] if self._is(0.6) else self._random.choice(MEDIA_TYPES)
            if self._is(0.95):
                lines.append(b"Content-Type: " + media_type)
        if self._is(0.02):
            lines.append(self._odd())
        return lines

    def _body(self, route: str) -> bytes:
        if self._is(0.25):
            return self._random.choice(ODD_BODIES)
        base = next((base for base in FIELDS if route.startswith(base)), "/api/v1/articles")
        document = {name: self._value(name) for name in self._names(base)}
        body = json.dumps([document, {}] if self._is(0.05) else document).encode()
        return gzip.compress(body) if self._is(0.03) else body

    def _names(self, base: str) -> list[str]:
        names = [
            name for name in FIELDS[base] if name in ("url", "title", "name") and self._is(0.8)
        ]
        return names + self._random.choices(FIELDS[base], k=self._random.choice((0, 1, 1, 2, 5)))

    def _value(self, name: str) -> object:
        if name in GOOD and self._is(0.5):
            return self._random.choice(GOOD[name])
        if self._is(0.2):
            return "".join(self._random.choices(CHARS, k=self._random.randrange(1, 12)))
        return self._random.choice(ODD_VALUES)
