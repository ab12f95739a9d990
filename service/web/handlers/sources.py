"""/api/v1/sources: add, list, change, refresh and remove sources, as the CLI does."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from service.manage import previews, sources
from service.web.request.body import json_response, media_type, read_body, read_object
from service.web.request.keys import CLOCK, SETTINGS, STORE
from service.web.request.paging import check_length, part_response, part_wanted


async def add_source(request: web.Request) -> web.StreamResponse:
    """POST: 201 with the new source; 200 with the existing one of the same URL. An OPML document
    adds all of its feeds: 200 with the result for each."""
    store, now = request.app[STORE], request.app[CLOCK]()
    if any(word in media_type(request) for word in ("opml", "xml")):
        return json_response(await sources.add_all(store, await read_body(request), now=now))
    source, added = await sources.add(store, await read_object(request), now=now)
    return json_response(source.to_public(), status=201 if added else 200)


async def preview_source(request: web.Request) -> web.StreamResponse:
    """POST: 200 with the articles that a source of these fields would bring; nothing is kept."""
    fields = await read_object(request)
    store, settings = request.app[STORE], request.app[SETTINGS]
    now = request.app[CLOCK]()
    return json_response(await previews.preview(store, fields, settings=settings, now=now))


async def list_sources(request: web.Request) -> web.StreamResponse:
    """GET: sources without the state of their polls; all, or with `limit` a part."""
    store, part = request.app[STORE], part_wanted(request)
    if part is None:
        check_length(await store.sources.count())
        return json_response(await sources.with_categories(store, await store.sources.all()))
    listed, last = await store.sources.part(after=part.after, limit=part.limit)
    shown = await sources.with_categories(store, listed)
    return part_response(request, "sources", shown, last=last)


async def export_sources(request: web.Request) -> web.StreamResponse:
    """GET: all sources as an OPML document, which `add_source` accepts."""
    headers = {"Cache-Control": "no-store", "Content-Type": "text/x-opml; charset=utf-8"}
    parts = sources.exported_parts(request.app[STORE])
    first = await anext(parts)

    async def body() -> AsyncIterator[bytes]:
        yield first
        async for part in parts:
            yield part

    return web.Response(body=body(), headers=headers)


async def show_source(request: web.Request) -> web.StreamResponse:
    """GET: one source with the state of its polls; 404 for an unknown id."""
    store = request.app[STORE]
    source = await sources.find(store, request.match_info["id"])
    return json_response(await sources.to_public(store, source, now=request.app[CLOCK]()))


async def change_source(request: web.Request) -> web.StreamResponse:
    """PATCH: change the named fields (RFC 7396, but `mapping` and `headers` are replaced whole)."""
    fields = await read_object(request)
    store, source_id = request.app[STORE], request.match_info["id"]
    source = await sources.change(store, source_id, fields, now=request.app[CLOCK]())
    return json_response(source.to_public())


async def refresh_source(request: web.Request) -> web.StreamResponse:
    """POST: 202; the source becomes due now."""
    store, source_id = request.app[STORE], request.match_info["id"]
    source = await sources.refresh(store, source_id, now=request.app[CLOCK]())
    return json_response(source.to_public(), status=202)


async def remove_source(request: web.Request) -> web.StreamResponse:
    """DELETE: remove a source; its articles stay."""
    await sources.remove(request.app[STORE], request.match_info["id"])
    return web.Response(status=204)
