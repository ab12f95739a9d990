"""Request bodies, limited in size before, while and after they are read; JSON responses.

By default aiohttp decompresses every body on the event loop, for every path and before its handler
runs: 1,516 bytes of brotli are 2.4 s of CPU. HANDLER_OPTIONS turn that off. Only the handler that
publishes articles accepts a compressed body, gzip alone, and decompresses it in a thread, after
authorization and up to a limit.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import HttpVersion11, hdrs, web

from service.articles.json_text import decode_json
from service.decoding import Bomb, Decoder, Undecodable
from service.errors import InvalidInput
from service.web.request.keys import INVITED, SETTINGS

LINGER_S = 2.0
"""How long the rest of a refused body is read, so that its sender can receive the response."""
HANDLER_OPTIONS = {"auto_decompress": False, "lingering_time": LINGER_S}
"""Arguments of aiohttp's RequestHandler."""
_GZIP = ("gzip", "x-gzip")
_JSON = (
    "application/json", "text/json", "application/octet-stream",
    "application/x-www-form-urlencoded",
)  # fmt: skip
_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^";]*)', re.IGNORECASE)
_UTF_8 = ("utf-8", "utf8", "us-ascii", "ascii")


async def read_body(request: web.Request, *, max_bytes: int = 0, takes_gzip: bool = False) -> bytes:
    """The decompressed body, empty if the request has none.

    Args:
        max_bytes: limit of the body as sent and as decompressed; API_MAX_BYTES if it is 0.
        takes_gzip: whether `Content-Encoding: gzip` is accepted.

    Raises:
        HTTPRequestEntityTooLarge, HTTPUnsupportedMediaType: before any of the body is read if its
            headers are sufficient to decide.
        InvalidInput: the gzip data is broken.
        TimeoutError: the body did not arrive in time.
    """
    settings = request.app[SETTINGS]
    max_bytes = max_bytes or settings.api_max_bytes
    check_length(request, max_bytes=max_bytes)
    header = ",".join(request.headers.getall(hdrs.CONTENT_ENCODING, [])).lower()
    names = [name.strip() for name in header.split(",")]
    codings = [name for name in names if name not in ("", "identity")]
    if codings and not (takes_gzip and len(codings) == 1 and codings[0] in _GZIP):
        accepted = "gzip or none" if takes_gzip else "none"
        shown = ", ".join(codings)[:100]
        raise web.HTTPUnsupportedMediaType(
            text=f"Content-Encoding {shown!r} is not accepted here: use {accepted}",
            headers={hdrs.ACCEPT_ENCODING: "gzip" if takes_gzip else "identity"},
        )
    if is_invitation_awaited(request):
        await _invite(request)
    async with asyncio.timeout(settings.body_timeout_s):
        body = await request.clone(client_max_size=max_bytes).read()
    return await asyncio.to_thread(_unpacked, body, max_bytes) if codings else body


def is_invitation_awaited(request: web.BaseRequest) -> bool:
    """Whether a body is held back until `Expect: 100-continue` is answered."""
    expectation = request.headers.get(hdrs.EXPECT, "").lower()
    return (
        expectation == "100-continue"
        and request.version >= HttpVersion11
        and request.body_exists
        and not request.get(INVITED)
    )


async def _invite(request: web.Request) -> None:
    """Answer 100: the body is wanted, after all that its head can be refused for."""
    request[INVITED] = True
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    # This is not the response yet: nothing must find that its head was sent.
    request.writer.output_size = 0
    await request.writer.drain()


def check_length(request: web.BaseRequest, *, max_bytes: int) -> None:
    """Raise HTTPRequestEntityTooLarge if Content-Length is larger."""
    if (request.content_length or 0) > max_bytes:
        raise web.HTTPRequestEntityTooLarge(max_bytes, text=_too_large(max_bytes))


def _unpacked(body: bytes, max_bytes: int) -> bytes:
    decoder, unpacked = Decoder(_GZIP[0]), bytearray()
    try:
        for step in decoder.decode(body):
            unpacked += step
            if len(unpacked) > max_bytes:
                raise web.HTTPRequestEntityTooLarge(max_bytes, text=_too_large(max_bytes))
    except Bomb as exc:
        raise web.HTTPRequestEntityTooLarge(max_bytes, text=f"the body {exc}") from exc
    except Undecodable as exc:
        raise InvalidInput("body", body[:20], f"{exc}") from exc
    if not decoder.is_whole:
        raise InvalidInput("body", body[:20], "the gzip data is incomplete")
    return bytes(unpacked)


def _too_large(max_bytes: int) -> str:
    return f"the body must be at most {max_bytes} bytes"


def json_response(
    value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A JSON response that caches must not store."""
    return web.json_bytes_response(
        value, status=status, headers={"Cache-Control": "no-store", **(headers or {})},
        dumps=orjson.dumps,
    )  # fmt: skip


def media_type(request: web.BaseRequest) -> str:
    """The media type of the body, in lower case; application/octet-stream if none is named."""
    named = request.headers.get(hdrs.CONTENT_TYPE, "").partition(";")[0].strip().lower()
    return named or "application/octet-stream"


def check_json(request: web.BaseRequest, *, also: Sequence[str] = ()) -> None:
    """Raise HTTPUnsupportedMediaType unless a body can be JSON in UTF-8 (RFC 8259 8.1): by its
    media type, or because it has none.

    text/plain and multipart are refused: a page of another site can have a browser send JSON in a
    form of the first. A missing type, application/octet-stream and x-www-form-urlencoded are what
    programs send that set nothing (`curl -d`); a browser's form of the last is never JSON, as it
    encodes braces and contains `=`.

    Args:
        also: other media types that the handler accepts.
    """
    named = media_type(request)
    if not (named in _JSON or named.endswith("+json") or named in also):
        accepted = " or ".join((_JSON[0], *also[:1]))
        raise web.HTTPUnsupportedMediaType(
            text=f"Content-Type {named[:100]!r} is not accepted here: use {accepted}"
        )
    charset = _CHARSET.search(request.headers.get(hdrs.CONTENT_TYPE, ""))
    if charset and charset[1].strip().lower() not in _UTF_8:
        raise web.HTTPUnsupportedMediaType(text=f"charset {charset[1][:100]!r}: JSON is UTF-8")


async def read_object(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object. Raises InvalidInput if it is anything else."""
    check_json(request)
    body = await read_body(request)
    try:
        value = decode_json(body)
    except orjson.JSONDecodeError as exc:
        start = body[:80].decode("utf-8", "replace")
        raise InvalidInput("body", start, f"is not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise InvalidInput("body", value, "must be a JSON object")
    return value
