"""Authorization: handlers that only the bearer of the API token may call."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Awaitable, Callable

from aiohttp import web

from service.web.request.keys import TOKEN

Authorized = Callable[[web.Request], Awaitable[web.StreamResponse]]


def authorized(handler: Authorized, *, scheme: str = "Bearer") -> Authorized:
    """The handler, for those who bear the token (RFC 6750); with scheme Basic for people whose
    browser asks them for it, as the password of any name (RFC 7617)."""

    async def check(request: web.Request) -> web.StreamResponse:
        # Headers are decoded so that bytes which are not UTF-8 become surrogates.
        token = _token(request, scheme).encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(token, request.app[TOKEN].encode()):
            raise web.HTTPUnauthorized(
                text=f"this needs the header Authorization: {scheme} with the API token",
                headers={"WWW-Authenticate": f'{scheme} realm="dateline"'},
            )
        return await handler(request)

    return check


def _token(request: web.Request, scheme: str) -> str:
    """What the header gives as the token; nothing if it is of another scheme."""
    named_scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if named_scheme.lower() != scheme.lower():
        return ""
    if scheme == "Bearer":
        return credentials.strip()
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""
