"""Bodies: of requests, bounded before, while and after they are read; and of JSON answers.

aiohttp would unpack every coded body on the loop, for every path and before anybody looks at it:
1,516 bytes of brotli are 2.4 s of CPU. So HANDLER_OPTIONS turn that off.
Only what publishes takes a coded body, gzip alone, and unpacks it in a thread, after authorisation
and within bounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import hdrs, web

from service.decoding import Bomb, Decoder, Undecodable
from service.errors import InvalidInput
from service.web.request.keys import SETTINGS

LINGER_S = 2.0
"""How long a body that nobody wants is read on after its answer, so that its sender sees that."""
HANDLER_OPTIONS = {"auto_decompress": False, "lingering_time": LINGER_S}
"""Arguments of aiohttp's request handler."""
_GZIP = ("gzip", "x-gzip")


async def read_body(request: web.Request, *, max_bytes: int = 0, takes_gzip: bool = False) -> bytes:
    """The body, of at most so many bytes as sent and as unpacked (API_MAX_BYTES if it is 0).

    Raises:
        HTTPRequestEntityTooLarge, HTTPUnsupportedMediaType: before anything of it is read, if its
            head says so.
        InvalidInput: broken gzip.
        TimeoutError: it does not come.
    """
    settings = request.app[SETTINGS]
    max_bytes = max_bytes or settings.api_max_bytes
    check_length(request, max_bytes=max_bytes)
    given = ",".join(request.headers.getall(hdrs.CONTENT_ENCODING, [])).lower().split(",")
    codings = [coding.strip() for coding in given if coding.strip() not in ("", "identity")]
    if codings and not (takes_gzip and len(codings) == 1 and codings[0] in _GZIP):
        taken = "gzip or none" if takes_gzip else "none"
        raise web.HTTPUnsupportedMediaType(
            text=f"Content-Encoding {', '.join(codings)[:100]!r} is not taken here: {taken}",
            headers={hdrs.ACCEPT_ENCODING: "gzip" if takes_gzip else "identity"},
        )
    async with asyncio.timeout(settings.fetch_timeout_s):
        body = await request.clone(client_max_size=max_bytes).read()
    return await asyncio.to_thread(_unpacked, body, max_bytes) if codings else body


def check_length(request: web.BaseRequest, *, max_bytes: int) -> None:
    """Raise HTTPRequestEntityTooLarge if the head says that the body is larger."""
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
        raise InvalidInput("body", body[:20], "its gzip data has no end")
    return bytes(unpacked)


def _too_large(max_bytes: int) -> str:
    return f"a body of at most {max_bytes} bytes is taken here"


def json_response(
    value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """JSON, not to be kept by caches."""
    return web.json_bytes_response(
        value, status=status, headers={"Cache-Control": "no-store", **(headers or {})},
        dumps=orjson.dumps,
    )  # fmt: skip


async def read_object(request: web.Request) -> dict[str, Any]:
    """The body as a JSON object. Raises InvalidInput."""
    body = await read_body(request)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise InvalidInput("body", body[:80].decode("utf-8", "replace"), f"no JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise InvalidInput("body", value, "must be a JSON object")
    return value
