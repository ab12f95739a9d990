"""Authorization: what a handler needs, and whether the token of a request covers it.

A header without a token is answered 401, as is a token that is unknown or has expired; one whose
scope does not cover the request 403, naming the scope (RFC 6750 3.1).
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from service.errors import InvalidInput, ScopeMissing
from service.tokens.token import Scope, Token
from service.web.request.client_address import client_network
from service.web.request.keys import CALLER, CLOCK, TOKENS
from service.web.serving.costly_reads import Client

Authorized = Callable[[web.Request], Awaitable[web.StreamResponse]]


def needs_read(handler: Authorized, *, scheme: str = "Bearer") -> Authorized:
    """The handler, for tokens that read what strangers may not."""
    return _needs(Scope.READ, handler, scheme)


def needs_publish(handler: Authorized) -> Authorized:
    """The handler, for tokens that publish; it checks their bounds (`Token.check_article`)."""
    return _needs(Scope.PUBLISH, handler, "Bearer")


def needs_admin(handler: Authorized) -> Authorized:
    """The handler, for tokens that change settings."""
    return _needs(Scope.ADMIN, handler, "Bearer")


def _needs(scope: Scope, handler: Authorized, scheme: str) -> Authorized:
    """The handler, for tokens of this scope.

    Scheme Bearer takes the token itself (RFC 6750). Basic is for people whose browser asks them for
    it: the token is the password, with any name (RFC 7617).
    """

    async def check(request: web.Request) -> web.StreamResponse:
        token = await _token(request, scheme)
        if not token.allows(scope):
            raise ScopeMissing(scope)
        request.app[TOKENS].note_use(token)
        request[CALLER] = token
        return await handler(request)

    return check


async def _token(request: web.Request, scheme: str) -> Token:
    """The token that a request came with, in force. Raises HTTPUnauthorized."""
    text = _text(request, scheme)
    if not text:
        detail = f"this needs the header Authorization: {scheme} with an API token"
        raise _unauthorized(detail, scheme)
    token = await request.app[TOKENS].find(text)
    if token is None:
        raise _unauthorized(
            "the API token is not known: it may have been revoked", scheme, is_invalid=True
        )
    if token.has_expired(request.app[CLOCK]()):
        raise _unauthorized(f"the API token expired at {token.expires}", scheme, is_invalid=True)
    return token


def limited_client(request: web.Request) -> Client:
    """Return the network for which the costly reads of a public path are counted; None for a
    request with a token in force, which has no limit."""
    credentials = request.headers.get(hdrs.AUTHORIZATION, "")
    scheme, _, text = credentials.partition(" ")
    if scheme.lower() == "bearer":
        # Not `find`, which reads Redis for an unknown token: here it would cost strangers nothing.
        token = request.app[TOKENS].held(text.strip())
        if token and not token.has_expired(request.app[CLOCK]()):
            return None
    return client_network(request)


def _unauthorized(detail: str, scheme: str, *, is_invalid: bool = False) -> web.HTTPUnauthorized:
    challenge = f'{scheme} realm="dateline"'
    if is_invalid and scheme == "Bearer":
        challenge += ', error="invalid_token"'
    return web.HTTPUnauthorized(text=detail, headers={hdrs.WWW_AUTHENTICATE: challenge})


def _text(request: web.Request, scheme: str) -> str:
    """The token in the header; empty if there is none, or another scheme.

    Raises:
        InvalidInput: there are several headers; which one counts is not ours to guess.
    """
    headers = request.headers.getall(hdrs.AUTHORIZATION, [])
    if len(headers) > 1:
        raise InvalidInput(hdrs.AUTHORIZATION, "…", f"is there {len(headers)} times")
    name, _, credentials = "".join(headers).partition(" ")
    if name.lower() != scheme.lower():
        return ""
    if scheme == "Bearer":
        return credentials.strip()
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return ""
