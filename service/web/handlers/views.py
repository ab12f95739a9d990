"""/api/v1/views: add, list, replace and remove views, as the CLI does."""

from __future__ import annotations

from aiohttp import web

from service.errors import InvalidInput
from service.manage import views
from service.web.request.body import json_response, read_object
from service.web.request.keys import CLOCK, SETTINGS, STORE


async def add_view(request: web.Request) -> web.StreamResponse:
    """POST: 201 with the new view; 400 if the name is taken."""
    store, settings = request.app[STORE], request.app[SETTINGS]
    view, _ = await views.put(store, await read_object(request), now=request.app[CLOCK]())
    return json_response(await views.to_public(store, view, settings), status=201)


async def put_view(request: web.Request) -> web.StreamResponse:
    """PUT: 201 if the view is new, 200 if it replaces the one of that name."""
    store, settings = request.app[STORE], request.app[SETTINGS]
    name = request.match_info["name"]
    fields = {"name": name, **await read_object(request)}
    if fields["name"] != name:
        raise InvalidInput("name", fields["name"], f"is not the {name!r} of the URL")
    view, is_new = await views.put(store, fields, now=request.app[CLOCK](), replace=True)
    shown = await views.to_public(store, view, settings)
    return json_response(shown, status=201 if is_new else 200)


async def list_views(request: web.Request) -> web.StreamResponse:
    """GET: all views, public and private."""
    return json_response(await views.all_public(request.app[STORE], request.app[SETTINGS]))


async def show_view(request: web.Request) -> web.StreamResponse:
    """GET: one view; 404 for an unknown name."""
    store = request.app[STORE]
    view = await views.find(store, request.match_info["name"])
    return json_response(await views.to_public(store, view, request.app[SETTINGS]))


async def remove_view(request: web.Request) -> web.StreamResponse:
    """DELETE: remove a view and its private feeds; 400 while a webhook follows it."""
    await views.remove(request.app[STORE], request.match_info["name"])
    return web.Response(status=204)
