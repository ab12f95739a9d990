"""/api/v1/private-feeds: add, list and revoke private feeds, as the CLI does."""

from __future__ import annotations

from aiohttp import web

from service.manage import private_feeds
from service.web.request.body import json_response, read_object
from service.web.request.keys import CLOCK, SETTINGS, STORE


async def add_private(request: web.Request) -> web.StreamResponse:
    """POST: 201 with the URL of the new feed, which is never shown again."""
    store, settings = request.app[STORE], request.app[SETTINGS]
    fields = await read_object(request)
    feed = await private_feeds.add_private(store, fields, settings, now=request.app[CLOCK]())
    return json_response(feed, status=201)


async def list_private(request: web.Request) -> web.StreamResponse:
    """GET: all private feeds, without their URLs."""
    return json_response(await private_feeds.all_public(request.app[STORE]))


async def revoke_private(request: web.Request) -> web.StreamResponse:
    """DELETE: revoke the URL of a feed: from now on it is answered with 404."""
    await private_feeds.revoke(request.app[STORE], request.match_info["id"])
    return web.Response(status=204)
