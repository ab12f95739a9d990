"""/api/v1/private-feeds: manage, as the CLI does."""

from __future__ import annotations

from aiohttp import web

from service.manage import private_feeds
from service.web.request.body import json_response, read_object
from service.web.request.keys import CLOCK, SETTINGS, STORE


async def add_private(request: web.Request) -> web.StreamResponse:
    """POST: 201 with the URL, this once."""
    store, settings = request.app[STORE], request.app[SETTINGS]
    fields = await read_object(request)
    made = await private_feeds.add_private(store, fields, settings, now=request.app[CLOCK]())
    return json_response(made, status=201)


async def list_private(request: web.Request) -> web.StreamResponse:
    """GET: all of them, without their URLs."""
    return json_response(await private_feeds.all_public(request.app[STORE]))


async def revoke_private(request: web.Request) -> web.StreamResponse:
    """DELETE: its address leads nowhere from now on."""
    await private_feeds.revoke(request.app[STORE], request.match_info["id"])
    return web.Response(status=204)
