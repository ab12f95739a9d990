"""Requests that were once answered with 5xx, by a page of aiohttp, or with control characters."""

from __future__ import annotations

_HOST = b" HTTP/1.1\r\nHost: news.example\r\n"
_END = b"Connection: close\r\n\r\n"
_TOKEN = b"Authorization: Bearer test-token\r\n"

REPLAYED = (
    b"GET /api/v1/sources" + _HOST + b"Authorization: Bearer \xff\r\n" + _END,
    b"GET /webhooks" + _HOST + b"Authorization: Basic \xff\r\n" + _END,
    b"GET /feeds/all.rss" + _HOST
    + b"If-Modified-Since: Fri, 22 Dec 99999999999999999999 16:41:07 GMT\r\n" + _END,
    b"GET /articles/x" + _HOST
    + b"If-Modified-Since: Fri, 99999999999999999999 Dec 2017 16:41:07 GMT\r\n" + _END,
    b"GET /static/style.css" + _HOST
    + b"If-Modified-Since: Fri, 99999999999999999999 Dec 2017 16:41:07 GMT\r\n" + _END,
    b"GET /api/v1/articles?since=0001-01-01T00:00:00Z" + _HOST + _END,
    b"GET /api/v1/articles?since=0001-01-01T00:00:00%2B14:00" + _HOST + _END,
    b"GET /feeds/all.rss?since=0001-01-01" + _HOST + _END,
    b"GET /feeds/all.rss?until=9999-12-31T23:59:59-14:00" + _HOST + _END,
    "GET /events?last-event-id=\u0661-\u0662".encode() + _HOST + _END,
    b"GET /events?last-event-id=%D9%A1-%D9%A2" + _HOST + _END,
    b"GET /feeds/all%00%1B%E2%80%AE.rss" + _HOST + _END,
    b"GET /news/all%00%1B%E2%80%AE" + _HOST + _END,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + _END,
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n",
    b"POST /api/v1/articles" + _HOST + _TOKEN
    + b"Content-Type: application/json; charset=\xff\r\nContent-Length: 2\r\n" + _END + b"{}",
    b"POST /nothing" + _HOST + b"Expect: \xff\r\n" + _END,
    b"GET / HTTP/1.0\r\nHost: news.example\r\nIf-None-Match: *\r\n\r\n",
)  # fmt: skip
