"""/api/v1/tokens: manage, as the CLI does."""

from __future__ import annotations

import contextlib
import logging

from aiohttp import web

from service.errors import Unavailable
from service.manage import tokens
from service.web.request.body import json_response, read_object
from service.web.request.keys import CALLER, CLOCK, SETTINGS, STORE, TOKENS

logger = logging.getLogger(__name__)


async def add_token(request: web.Request) -> web.StreamResponse:
    """POST: 201 with the token's text, this once."""
    store, settings = request.app[STORE], request.app[SETTINGS]
    fields = await read_object(request)
    added = await tokens.add(store, fields, settings, now=request.app[CLOCK]())
    extra = {"token": added["name"], "scope": added["scope"], "by": request[CALLER].name}
    logger.info("a token was added", extra=extra)
    return json_response(added, status=201)


async def list_tokens(request: web.Request) -> web.StreamResponse:
    """GET: all of them, without their texts."""
    return json_response(await tokens.all_public(request.app[STORE]))


async def revoke_token(request: web.Request) -> web.StreamResponse:
    """DELETE: 204; this server refuses it from now on, others within seconds."""
    store, settings = request.app[STORE], request.app[SETTINGS]
    token_id = request.match_info["id"]
    revoked = await tokens.revoke(store, token_id, settings, now=request.app[CLOCK]())
    logger.info("a token was revoked", extra={"token": revoked.name, "by": request[CALLER].name})
    with contextlib.suppress(Unavailable):
        await request.app[TOKENS].load()
    return web.Response(status=204)
